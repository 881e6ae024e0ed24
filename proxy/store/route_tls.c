/*
 * route_tls - TLS to the service of a route: whom to trust, which name to expect, which certificate to show.
 *
 * What is wrong with a file or a key is found here, when the configuration is read, not at the first request.
 */
#include "base/digest.h"
#include "internal.h"

#define PEM_START "-----BEGIN "
#define NAME_MAX_BYTES 253

static const char no_verification[] = "whoever answers is believed: the requests, tokens included, can be read and "
                                      "changed on their way; a private authority is named by tls_custom_ca_file";

/* ---- the texts ---- */

/* base64 as people wrap it, without its white space. */
static struct tg_slice unwrap(struct tg_slice text, struct tg_arena *arena)
{
    char *bare = tg_arena_raw(arena, text.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != ' ' && text.ptr[i] != '\n' && text.ptr[i] != '\r' && text.ptr[i] != '\t')
            bare[n++] = text.ptr[i];
    return tg_slice(bare, n);
}

/* The PEM text in a setting that is base64 of it; messages do not show it, as it may be a key. */
static void read_pem(const struct route_reader *r, const char *name, struct tg_slice text, struct tg_slice *out)
{
    struct tg_slice bare;
    uint8_t *pem;
    size_t len;

    if (!text.ptr)
        return;
    if (tg_slice_starts_with(tg_slice_trim(text), TG_S(PEM_START))) {
        route_problem(r, name, "is base64 of PEM; PEM itself goes into a file: %s_file", name);
        return;
    }
    bare = unwrap(text, r->arena);
    pem = tg_arena_raw(r->arena, bare.len + 4);
    if (!tg_base64_decode(bare, pem, &len) || len == 0)
        route_problem(r, name, "is not base64");
    else if (!memmem(pem, len, PEM_START, strlen(PEM_START)))
        route_problem(r, name, "is base64, but not of PEM");
    else
        *out = tg_slice((const char *)pem, len);
}

static void refuse_both(const struct route_reader *r, const char *name, struct tg_slice text, struct tg_slice file)
{
    if (text.ptr && file.ptr)
        route_problem(r, name, "cannot be together with %s_file", name);
}

static void read_trust(const struct route_reader *r, const struct route_text *text, struct tg_tls_client_settings *out)
{
    const char *ca = text->tls_ca.ptr ? "tls_custom_ca" : "tls_custom_ca_file";

    refuse_both(r, "tls_custom_ca", text->tls_ca, text->tls_ca_file);
    read_pem(r, "tls_custom_ca", text->tls_ca, &out->ca_pem);
    out->ca_file = text->tls_ca_file.ptr;
    out->skip_verify = text->tls_skip_verify;
    if (text->tls_skip_verify && (text->tls_ca.ptr || text->tls_ca_file.ptr))
        route_problem(r, "tls_skip_verify", "cannot be together with %s: nothing would be verified by it", ca);
}

static void read_identity(const struct route_reader *r, const struct route_text *text,
                          struct tg_tls_client_settings *out)
{
    bool inline_cert = text->tls_cert.ptr, inline_key = text->tls_key.ptr;
    bool file_cert = text->tls_cert_file.ptr, file_key = text->tls_key_file.ptr;

    refuse_both(r, "tls_client_cert", text->tls_cert, text->tls_cert_file);
    refuse_both(r, "tls_client_key", text->tls_key, text->tls_key_file);
    if ((inline_cert || file_cert) && !inline_key && !file_key)
        route_problem(r, inline_cert ? "tls_client_cert" : "tls_client_cert_file", "needs its private key: %s",
                      inline_cert ? "tls_client_key" : "tls_client_key_file");
    else if ((inline_key || file_key) && !inline_cert && !file_cert)
        route_problem(r, inline_key ? "tls_client_key" : "tls_client_key_file", "needs its certificate: %s",
                      inline_key ? "tls_client_cert" : "tls_client_cert_file");
    else if (inline_cert != inline_key)
        route_problem(r, inline_key ? "tls_client_key" : "tls_client_key_file",
                      "goes with %s: let both be files or neither", inline_key ? "tls_client_cert"
                                                                              : "tls_client_cert_file");
    read_pem(r, "tls_client_cert", text->tls_cert, &out->certificate_pem);
    read_pem(r, "tls_client_key", text->tls_key, &out->key_pem);
    out->certificate_file = text->tls_cert_file.ptr;
    out->key_file = text->tls_key_file.ptr;
}

/* ---- the name ---- */

/* A DNS name or an address, folded into `out`; what a certificate can be for. */
static bool fold_name(struct tg_slice text, struct tg_arena *arena, struct tg_slice *out)
{
    char buf[HOST_MAX + 1];
    struct tg_slice folded;
    struct tg_ip ip;
    bool ok = text.len > 0;

    if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = tg_slice(text.ptr + 1, text.len - 2);
    if (!ok || !host_fold(text, buf, &folded) || folded.len == 0 || folded.len > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < folded.len && ok; i++)
        ok = (folded.ptr[i] >= 'a' && folded.ptr[i] <= 'z') || (folded.ptr[i] >= '0' && folded.ptr[i] <= '9') ||
             folded.ptr[i] == '.' || folded.ptr[i] == '-' || folded.ptr[i] == '_';
    if (!ok && !tg_ip_parse(folded, &ip))
        return false;
    *out = tg_arena_dup(arena, folded);
    return true;
}

static void read_name(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    const char *setting = text->tls_name.ptr ? "tls_upstream_server_name" : "tls_server_name";
    struct tg_slice said = text->tls_name.ptr ? text->tls_name : text->tls_old_name, name = {0};

    if (text->tls_name.ptr && text->tls_old_name.ptr)
        route_problem(r, "tls_server_name", "is the old name of tls_upstream_server_name: give only that");
    if (said.ptr && !fold_name(said, r->arena, &name))
        route_problem(r, setting, "must be a host name or an address, without a port");
    for (size_t i = 0; i < out->target_count; i++) {
        struct tg_target *target = &out->targets[i];

        if (!target->url.tls)
            continue;
        target->tls_name = name;
        if (!said.ptr && !fold_name(target->url.host, r->arena, &target->tls_name))
            route_problem(r, "to", "\"" TG_S_FMT "\" is no name that a certificate can be for",
                          TG_S_ARG(target->url.host));
    }
}

/* ---- the client ---- */

static bool same_text(const char *a, const char *b) { return a == b || (a && b && strcmp(a, b) == 0); }

static bool same_settings(const struct tg_tls_client_settings *a, const struct tg_tls_client_settings *b)
{
    return same_text(a->ca_file, b->ca_file) && same_text(a->certificate_file, b->certificate_file) &&
           same_text(a->key_file, b->key_file) && tg_slice_eq(a->ca_pem, b->ca_pem) &&
           tg_slice_eq(a->certificate_pem, b->certificate_pem) && tg_slice_eq(a->key_pem, b->key_pem) &&
           a->skip_verify == b->skip_verify;
}

static bool is_about(const char *words, const char *file)
{
    size_t len = file ? strlen(file) : 0;

    return file && strncmp(words, file, len) == 0 && words[len] == ':';
}

/* The setting that a sentence of tg_tls_client_new is about, which begins with a file. */
static const char *culprit(const struct tg_tls_client_settings *s, const char *words)
{
    bool key = is_about(words, s->key_file);

    if (key && !(s->certificate_file && strstr(words + strlen(s->key_file), s->certificate_file)))
        return "tls_client_key_file";                    /* else the two do not belong together */
    if (key || is_about(words, s->certificate_file))
        return "tls_client_cert_file";
    if (is_about(words, "tls_client_cert") || is_about(words, "tls_client_key"))
        return "tls_client_cert";
    return s->ca_file ? "tls_custom_ca_file" : s->ca_pem.ptr ? "tls_custom_ca" : "to";
}

/* A new reference, or NULL with a problem. Routes with the same settings share one. */
static struct tg_tls_client *client_for(const struct route_reader *r, const struct tg_tls_client_settings *settings)
{
    struct tls_clients *known = r->tls;
    struct tg_tls_client *client = NULL;
    struct tg_err err = {0};

    for (size_t i = 0; known && i < known->count; i++)
        if (same_settings(&known->items[i].settings, settings))
            return tg_tls_client_ref(known->items[i].client);
    enum tg_status st = tg_tls_client_new(settings, &client, &err);

    if (st != TG_OK) {
        route_problem(r, culprit(settings, tg_err_text(&err)), "%s", tg_err_text(&err));
        return NULL;
    }
    if (known) {
        known->items = tg_realloc(known->items, (known->count + 1) * sizeof(*known->items));
        known->items[known->count].settings = *settings; /* what it points to is the arena's */
        known->items[known->count++].client = tg_tls_client_ref(client);
    }
    return client;
}

void tls_clients_fini(struct tls_clients *clients)
{
    for (size_t i = 0; i < clients->count; i++)
        tg_tls_client_unref(clients->items[i].client);
    free(clients->items);
    *clients = (struct tls_clients){0};
}

/* ---- all of it ---- */

/* The first setting that is about TLS; NULL: none is there. */
static const char *first_said(const struct route_text *text)
{
    const struct { struct tg_slice text; const char *name; } all[] = {
        {text->tls_name, "tls_upstream_server_name"}, {text->tls_old_name, "tls_server_name"},
        {text->tls_ca_file, "tls_custom_ca_file"},    {text->tls_ca, "tls_custom_ca"},
        {text->tls_cert_file, "tls_client_cert_file"}, {text->tls_cert, "tls_client_cert"},
        {text->tls_key_file, "tls_client_key_file"},  {text->tls_key, "tls_client_key"},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (all[i].text.ptr)
            return all[i].name;
    return text->tls_skip_verify ? "tls_skip_verify" : NULL;
}

static bool any_https(const struct tg_route *route)
{
    for (size_t i = 0; i < route->target_count; i++)
        if (route->targets[i].url.tls)
            return true;
    return false;
}

void route_read_tls(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    struct tg_tls_client_settings settings = {0};
    struct tg_tls_client *client;
    const char *said = first_said(text);
    size_t errors = r->problems->errors;
    bool needed = any_https(out);

    if (!said && !needed)
        return;
    read_name(r, text, out);
    read_trust(r, text, &settings);
    read_identity(r, text, &settings);
    if (r->problems->errors != errors)
        return;
    client = client_for(r, &settings);                   /* also when none needs it: its errors are the user's */
    if (client && !needed && out->target_count > 0)
        route_warning(r, said, "has no effect: no URL in `to` starts with https://");
    if (!client || !needed) {
        tg_tls_client_unref(client);
        return;
    }
    out->tls = client;
    out->tls_skip_verify = text->tls_skip_verify;
    if (text->tls_skip_verify)
        route_warning(r, "tls_skip_verify", "%s", no_verification);
}
