/*
 * management_settings - the section `management`: where the API listens, who may use it, what it may be told.
 */
#include "admin/management.h"
#include "base/file.h"
#include "base/json.h"
#include "http/uri.h"
#include "io/listener.h"
#include "webhooks.h"
#include <ctype.h>

#define HOUR_MS INT64_C(3600000)
#define ID_MAX 64
#define NAME_MAX_OCTETS 128
#define SECRET_OCTETS 16                                 /* fewer can be guessed */
#define LIMIT_MAX INT64_C(1000000)

struct section {                                         /* as the table fills it */
    struct tg_slice address, url, certificate_file, certificate_key_file;
    const cJSON *organization, *operators, *limits, *webhooks, *hook;
    struct tg_strings clusters;
    int64_t id_token_ms;
    bool accept_bare_token;
    struct tg_set_rules rules;
};
#define ROW(name, kind, member, dflt, min, max, help) \
    TG_SETTING(struct section, member, name, TG_SET_##kind, dflt, min, max, NULL, 0, help)
const struct tg_setting tg_management_rows[] = {
    ROW("address", STRING, address, "127.0.0.1:9091", 0, 0, "where to listen: address:port or unix:/path"),
    ROW("url", STRING, url, NULL, 0, 0, "how clients name the API, the audience of its tokens; absent: from address"),
    ROW("certificate_file", FILE, certificate_file, NULL, 0, 0, "certificate and its chain, in PEM: TLS"),
    ROW("certificate_key_file", FILE, certificate_key_file, NULL, 0, 0, "its private key; nobody else may read it"),
    ROW("organization", NODE, organization, NULL, 0, 0, "id and name of the one organization there is"),
    ROW("clusters", STRINGS, clusters, "[default]", 0, 0, "names of the namespaces below the organization's own"),
    ROW("operators", NODE, operators, NULL, 0, 0, "who may use it by a key of his own, without an API user"),
    ROW("id_token_lifetime", DURATION, id_token_ms, "1h", 60000, HOUR_MS,
        "of what an API user's token is exchanged for"),
    ROW("accept_bare_token", BOOL, accept_bare_token, "true", 0, 0, "take `Authorization: JWT` without a scheme"),
    ROW("allowed_upstreams", STRINGS, rules.allowed_upstreams, NULL, 0, 0,
        "where `to` of its routes may lead: networks, host names, *.suffix, with :port when only that; absent: "
        "loopback"),
    ROW("allow_tls_skip_verify", BOOL, rules.allow_tls_skip_verify, "false", 0, 0,
        "its routes may switch off the verification of upstream certificates"),
    ROW("limits", NODE, limits, NULL, 0, 0, "how often the API may be asked"),
    ROW("webhooks", NODE, webhooks, NULL, 0, 0, "where webhooks may go"),
    ROW("revocation_hook", NODE, hook, NULL, 0, 0, "who may tell that foreign tokens are withdrawn"),
};
const size_t tg_management_row_count = ARRAY_LEN(tg_management_rows);
#undef ROW

#define ROW(name, kind, member, dflt, min, max, help) \
    TG_SETTING(struct tg_management_settings, member, name, TG_SET_##kind, dflt, min, max, NULL, 0, help)
const struct tg_setting tg_management_organization_rows[] = {
    ROW("id", STRING, organization_id, NULL, 0, 0, "absent: a UUID, made at the first start and kept"),
    ROW("name", STRING, organization_name, "tollgate", 0, 0, "as it is shown"),
};
const size_t tg_management_organization_row_count = ARRAY_LEN(tg_management_organization_rows);

const struct tg_setting tg_management_limit_rows[] = {
    ROW("authenticated", COUNT, authenticated_limit, "1000", 1, LIMIT_MAX, "requests a minute of one caller"),
    ROW("unauthenticated", COUNT, unauthenticated_limit, "100", 1, LIMIT_MAX,
        "requests a minute of one address without a valid credential, those of health and openapi.json too"),
};
const size_t tg_management_limit_row_count = ARRAY_LEN(tg_management_limit_rows);

const struct tg_setting tg_management_webhook_rows[] = {
    ROW("allowed_networks", STRINGS, webhook_networks, "[]", 0, 0,
        "private networks or host names that webhooks may go to, over http too"),
};
const size_t tg_management_webhook_row_count = ARRAY_LEN(tg_management_webhook_rows);
#undef ROW

struct hook_text {
    struct tg_slice secret, secret_file;
};
const struct tg_setting tg_management_hook_rows[] = {
    TG_SETTING(struct hook_text, secret, "secret", TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_SECRET,
               "what its requests are signed with (X-Zero-Signature)"),
    TG_SETTING(struct hook_text, secret_file, "secret_file", TG_SET_FILE, NULL, 0, 0, NULL, 0, "the same in a file"),
};
const size_t tg_management_hook_row_count = ARRAY_LEN(tg_management_hook_rows);

/* ---- reading ---- */

struct reading {
    const struct tg_tree *tree;
    const cJSON *node;
    struct tg_arena *arena;
    struct tg_problems *problems;
    struct tg_management_settings *out;
};

static const cJSON *at(const struct reading *r, const char *name)
{
    const cJSON *node = tg_json_get(r->node, name);

    return node ? node : r->node;
}

static void complain(const struct reading *r, const char *name, const char *sentence)
{
    tg_problem_at(r->problems, r->tree, at(r, name), "management.%s: %s", name, sentence);
}

/* A mapping inside the section, or its defaults; false: it is no mapping. */
static bool read_inner(const struct reading *r, const char *name, const cJSON *node, const struct tg_setting *rows,
                       size_t count, void *out)
{
    char where[48] = "management.";

    if (cJSON_IsNull(node))
        node = NULL;
    if (node && !cJSON_IsObject(node)) {
        complain(r, name, "a mapping of settings is needed");
        return false;
    }
    strncat(where, name, sizeof(where) - strlen(where) - 1);
    return tg_settings_read(rows, count, r->tree, node, where, false, r->arena, out, r->problems);
}

/* ---- where it listens ---- */

static bool is_wildcard(struct tg_slice text)
{
    return tg_slice_starts_with(text, TG_S(":")) || tg_slice_starts_with(text, TG_S("0.0.0.0:")) ||
           tg_slice_starts_with(text, TG_S("[::]:"));
}

static void read_url(const struct reading *r, const struct section *s, bool tls)
{
    struct tg_slice url = s->url;
    struct tg_url parts;
    struct tg_err err;

    if (!url.len && (is_wildcard(s->address) || tg_slice_starts_with(s->address, TG_S("unix:")))) {
        complain(r, "url", "needed, since the address is no name that clients use: their tokens must say it");
        return;
    }
    if (!url.len)
        url = tg_arena_printf(r->arena, "http%s://" TG_S_FMT, tls ? "s" : "", TG_S_ARG(s->address));
    while (url.len && url.ptr[url.len - 1] == '/')
        url.len--;
    if (tg_url_parse(url, false, &parts, &err) != TG_OK)
        complain(r, "url", err.text);
    else if (parts.query.ptr)
        complain(r, "url", "a query has no place in it");
    r->out->url = tg_slice_str(tg_arena_str(r->arena, url));
}

static void read_address(const struct reading *r, const struct section *s, bool tls)
{
    struct tg_listen_address address;
    struct tg_err err;

    r->out->address = s->address;
    if (tg_listen_parse(s->address, &address, &err) != TG_OK)
        complain(r, "address", err.text);
    else if (!tls && !tg_listen_is_loopback(&address))
        tg_warning_at(r->problems, r->tree, at(r, "address"), "management.address: other hosts reach it, and without "
                      "certificate_file tokens cross the network in the clear");
}

static void read_certificate(const struct reading *r, const struct section *s)
{
    struct tg_err err = {0};

    if (!s->certificate_file.ptr && !s->certificate_key_file.ptr)
        return;
    if (!s->certificate_file.ptr || !s->certificate_key_file.ptr) {
        complain(r, s->certificate_file.ptr ? "certificate_file" : "certificate_key_file",
                 "certificate_file and certificate_key_file go together");
        return;
    }
    r->out->certificate_file = s->certificate_file;
    r->out->certificate_key_file = s->certificate_key_file;
    r->out->tls = tg_tls_server_new();
    if (tg_tls_server_add(r->out->tls, s->certificate_file.ptr, s->certificate_key_file.ptr, &err) != TG_OK)
        complain(r, strstr(err.text, s->certificate_file.ptr) ? "certificate_file" : "certificate_key_file", err.text);
}

/* ---- what it is called ---- */

static bool is_id(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && !strchr("-_", s.ptr[i]))
            return false;
    return s.len <= ID_MAX;
}

static void read_names(const struct reading *r, const struct section *s)
{
    struct tg_management_settings *o = r->out;

    if (read_inner(r, "organization", s->organization, tg_management_organization_rows,
                   tg_management_organization_row_count, o) &&
        !is_id(o->organization_id))
        complain(r, "organization", "its id stands in paths: at most 64 letters, digits, - and _");
    if (!o->organization_name.len || o->organization_name.len > NAME_MAX_OCTETS)
        complain(r, "organization", "its name must have 1 to 128 octets");
    o->clusters = s->clusters;
    if (!s->clusters.count)
        complain(r, "clusters", "there must be one at least");
    for (size_t i = 0; i < s->clusters.count; i++) {
        if (!s->clusters.items[i].len || s->clusters.items[i].len > NAME_MAX_OCTETS)
            complain(r, "clusters", "a name must have 1 to 128 octets");
        for (size_t k = 0; k < i; k++)
            if (tg_slice_eq(s->clusters.items[i], s->clusters.items[k]))
                complain(r, "clusters", "two have the same name");
    }
}

/* ---- webhooks ---- */

static void read_webhooks(const struct reading *r, const cJSON *node)
{
    const struct tg_strings *list = &r->out->webhook_networks;
    const cJSON *member = tg_json_get(node, "allowed_networks");
    const cJSON *item = cJSON_IsArray(member) ? member->child : member;

    if (!read_inner(r, "webhooks", node, tg_management_webhook_rows, tg_management_webhook_row_count, r->out))
        return;
    for (size_t i = 0; i < list->count; i++, item = item ? item->next : NULL)
        if (!webhook_network_is_good(list->items[i]))
            tg_problem_at(r->problems, r->tree, item ? item : node, "management.webhooks.allowed_networks: must be a "
                          "network (10.0.0.0/8), an address or a host name");
}

/* ---- the hook's secret ---- */

static void read_secret_file(const struct reading *r, struct tg_slice path, struct tg_slice *out)
{
    struct tg_buf text = {0};
    struct tg_err err = {0};

    if (tg_file_read_secret(path.ptr, &text, &err) == TG_OK)
        *out = tg_arena_dup(r->arena, tg_buf_slice(&text));
    else
        complain(r, "revocation_hook", err.text);
    if (out->ptr && tg_file_is_open_to_all(path.ptr))
        tg_warning_at(r->problems, r->tree, at(r, "revocation_hook"),
                      "management.revocation_hook.secret_file: everybody may read that file");
    tg_buf_wipe(&text);
}

static void read_hook(const struct reading *r, const cJSON *node)
{
    struct hook_text text = {0};
    struct tg_slice *secret = &r->out->revocation_secret;

    if (!node || cJSON_IsNull(node) ||
        !read_inner(r, "revocation_hook", node, tg_management_hook_rows, tg_management_hook_row_count, &text))
        return;
    if (!!text.secret.ptr == !!text.secret_file.ptr) {
        complain(r, "revocation_hook", "secret_file is needed, or secret, not both");
        return;
    }
    *secret = text.secret;
    if (text.secret_file.ptr)
        read_secret_file(r, text.secret_file, secret);
    else if (!secret->len)
        complain(r, "revocation_hook", "the secret must not be empty");
    if (secret->len && secret->len < SECRET_OCTETS)
        tg_warning_at(r->problems, r->tree, at(r, "revocation_hook"),
                      "management.revocation_hook: the secret is shorter than %d octets, so it may be guessed",
                      SECRET_OCTETS);
}

bool tg_management_settings_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                                 struct tg_management_settings *out, struct tg_problems *problems)
{
    struct reading r = {tree, node, arena, problems, out};
    size_t errors = problems->errors;
    struct section s = {0};

    *out = (struct tg_management_settings){.set = true};
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "management: a mapping of settings is needed ({} takes the defaults)");
        return false;
    }
    tg_settings_read(tg_management_rows, tg_management_row_count, tree, node, "management", false, arena, &s, problems);
    bool tls = s.certificate_file.ptr || s.certificate_key_file.ptr;

    out->id_token_ms = s.id_token_ms;
    out->accept_bare_token = s.accept_bare_token;
    out->rules = s.rules;
    read_address(&r, &s, tls);
    read_url(&r, &s, tls);
    read_certificate(&r, &s);
    read_names(&r, &s);
    if (s.operators && !cJSON_IsNull(s.operators))
        tg_operators_read(tree, s.operators, arena, &out->operators, problems);
    tg_set_rules_check(tree, node, "management", &out->rules, problems);
    read_inner(&r, "limits", s.limits, tg_management_limit_rows, tg_management_limit_row_count, out);
    read_webhooks(&r, s.webhooks);
    read_hook(&r, s.hook);
    return problems->errors == errors;
}

void tg_management_settings_fini(struct tg_management_settings *s)
{
    tg_tls_server_unref(s->tls);
    s->tls = NULL;
    tg_operators_fini(&s->operators);
}
