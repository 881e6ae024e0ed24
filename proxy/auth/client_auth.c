/*
 * client_auth - see auth/client_auth.h.
 */
#include "auth/client_auth.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "internal.h"
#include <stdatomic.h>

#define KEY_FILE_BYTES ((size_t)1 << 20)
#define ASSERTION_AGO_S 5                                /* servers forgive a clock ahead of theirs by a second only */
#define ASSERTION_LIFE_S 300
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

/* ---- forms ---- */

static void add_encoded(struct tg_buf *out, struct tg_slice text)
{
    static const char hex[] = "0123456789ABCDEF";

    tg_buf_reserve(out, 3 * text.len + 1);               /* at once: growing would leave a copy of a secret behind */
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
            c == '_' || c == '*') {
            tg_buf_addc(out, (char)c);
        } else if (c == ' ') {
            tg_buf_addc(out, '+');
        } else {
            tg_buf_addc(out, '%');
            tg_buf_addc(out, hex[c >> 4]);
            tg_buf_addc(out, hex[c & 15]);
        }
    }
}

void tg_form_add(struct tg_buf *form, const char *name, struct tg_slice value)
{
    tg_buf_reserve(form, strlen(name) + 3 * value.len + 3);
    if (form->len)
        tg_buf_addc(form, '&');
    add_encoded(form, tg_slice_str(name));
    tg_buf_addc(form, '=');
    add_encoded(form, value);
}

/* ---- key files ---- */

static struct tg_service_key *key_ref(struct tg_service_key *key)
{
    atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

void tg_service_key_unref(struct tg_service_key *key)
{
    if (!key || atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) > 1)
        return;
    tg_signer_free(key->signer);
    free((char *)(uintptr_t)key->id.ptr);
    free(key);
}

/* The algorithm goes with the kind of the key; an RSA key signs RS256, which every server takes. */
static enum tg_status load_signer(struct tg_slice pem, struct tg_slice key_id, struct tg_signer **out,
                                  struct tg_err *err)
{
    static const enum tg_alg algs[] = {TG_ALG_RS256, TG_ALG_ES256, TG_ALG_ES384, TG_ALG_ES512, TG_ALG_EdDSA};
    enum tg_status st = TG_BAD_INPUT;
    struct tg_err first = {0}, why;

    for (size_t i = 0; i < ARRAY_LEN(algs) && st != TG_OK; i++)
        st = tg_signer_load(algs[i], pem, key_id, out, i ? &why : &first);
    return st == TG_OK ? st : tg_fail(err, TG_BAD_INPUT, "%s", tg_err_text(&first));
}

/*
 * {type, keyId, key, userId | clientId}: `type` says which of the two ids is meant; without it the one that is there.
 */
static enum tg_status take_json(const cJSON *root, struct tg_slice key_id, struct tg_service_key *key,
                                struct tg_err *err)
{
    struct tg_slice type = {NULL, 0}, id, said_key_id, pem;
    const cJSON *user = tg_json_get(root, "userId"), *client = tg_json_get(root, "clientId");
    bool app;

    tg_json_str(tg_json_get(root, "type"), &type);
    app = tg_slice_eq(type, TG_S("application")) || (!type.ptr && client);
    if (type.ptr && !app && !tg_slice_eq(type, TG_S("serviceaccount")))
        return tg_fail(err, TG_BAD_INPUT, "its `type` is neither `serviceaccount` nor `application`");
    if (!tg_json_str(tg_json_get(root, "key"), &pem) || !tg_json_str(tg_json_get(root, "keyId"), &said_key_id) ||
        said_key_id.len == 0)
        return tg_fail(err, TG_BAD_INPUT, "it has no `key` or no `keyId`");
    if (!tg_json_str(app ? client : user, &id) || id.len == 0)
        return tg_fail(err, TG_BAD_INPUT, "it has no `%s`", app ? "clientId" : "userId");
    key->id.ptr = tg_slice_dup(id);
    key->id.len = id.len;
    return load_signer(pem, key_id.len ? key_id : said_key_id, &key->signer, err);
}

static void wipe_json(cJSON *root)
{
    cJSON *key = cJSON_GetObjectItemCaseSensitive(root, "key");

    if (cJSON_IsString(key))
        explicit_bzero(key->valuestring, strlen(key->valuestring));
    cJSON_Delete(root);
}

enum tg_status tg_service_key_load(const char *file, struct tg_slice key_id, struct tg_service_key **out,
                                   struct tg_err *err)
{
    struct tg_service_key *key;
    struct tg_buf text = {0};
    cJSON *root = NULL;
    struct tg_err why = {0};
    enum tg_status st = tg_file_read(file, KEY_FILE_BYTES, &text, err);

    if (st != TG_OK)
        return st;
    key = TG_NEW(struct tg_service_key);
    key->refs = 1;
    if (tg_slice_starts_with(tg_slice_trim(tg_buf_slice(&text)), TG_S("{"))) {
        st = tg_json_parse(tg_buf_slice(&text), NULL, &root, &why);
        if (st == TG_OK)
            st = take_json(root, key_id, key, &why);
        wipe_json(root);
    } else {
        st = load_signer(tg_buf_slice(&text), key_id, &key->signer, &why);
    }
    tg_buf_wipe(&text);
    if (st == TG_OK) {
        *out = key;
        return TG_OK;
    }
    tg_service_key_unref(key);
    return tg_fail(err, st, "%s: %s", file, tg_err_text(&why));
}

enum tg_status tg_service_key_assert(const struct tg_service_key *key, struct tg_slice id, struct tg_slice audience,
                                     int64_t now_s, struct tg_buf *out, struct tg_err *err)
{
    struct tg_buf claims = {0};
    char jti[37];
    enum tg_status st;

    tg_uuid(jti);
    tg_buf_adds(&claims, "{\"iss\":");
    tg_json_add_string(&claims, id);
    tg_buf_adds(&claims, ",\"sub\":");
    tg_json_add_string(&claims, id);
    tg_buf_adds(&claims, ",\"aud\":");
    tg_json_add_string(&claims, audience);
    tg_buf_addf(&claims, ",\"iat\":%lld,\"exp\":%lld,\"jti\":\"%s\"}", (long long)(now_s - ASSERTION_AGO_S),
                (long long)(now_s - ASSERTION_AGO_S + ASSERTION_LIFE_S), jti);
    st = tg_signer_sign(key->signer, tg_buf_slice(&claims), "JWT", out, err);
    tg_buf_fini(&claims);
    return st;
}

/* ---- settings ---- */

static bool read_key(const struct tg_section *r, const struct tg_client_auth_text *text, const char *file,
                     struct tg_client_auth *out)
{
    struct tg_err err = {0};

    out->method = TG_CLIENT_PRIVATE_KEY;
    if (tg_json_get(r->node, "auth_method"))
        return tg_section_problem(r, "auth_method",
                                  "it says how a client secret is sent; with private_key_file there is none");
    if (tg_service_key_load(file, text->key_id, &out->key, &err) != TG_OK)
        return tg_section_problem(r, "private_key_file", tg_err_text(&err));
    if (!out->client_id.len)
        out->client_id = tg_arena_dup(r->arena, out->key->id);
    if (!out->client_id.len)
        return tg_section_problem(r, "client_id", "needed, for the key file does not say it");
    return true;
}

static bool read_secret(const struct tg_section *r, const struct tg_client_auth_text *text, const char *file,
                        struct tg_client_auth *out)
{
    struct tg_buf secret = {0};
    struct tg_err err = {0};
    enum tg_status st;

    out->method = text->method == 1 ? TG_CLIENT_POST : TG_CLIENT_BASIC;
    if (text->key_id.len)
        return tg_section_problem(r, "key_id", "it goes with private_key_file");
    if (!out->client_id.len)
        return tg_section_problem(r, "client_id", "needed with client_secret_file");
    st = tg_file_read_secret(file, &secret, &err);       /* looked at now, so that a mistake is found at the start */
    tg_buf_wipe(&secret);
    return st == TG_OK ? true : tg_section_problem(r, "client_secret_file", tg_err_text(&err));
}

bool tg_client_auth_read(const struct tg_client_auth_text *text, const struct tg_tree *tree, const cJSON *node,
                         const char *where, struct tg_arena *arena, struct tg_client_auth *out,
                         struct tg_problems *problems)
{
    struct tg_section r = {tree, node, where, arena, problems};

    *out = (struct tg_client_auth){.method = TG_CLIENT_NONE, .client_id = text->client_id};
    if (text->client_secret_file.len && text->private_key_file.len)
        return tg_section_problem(&r, "private_key_file", "there is client_secret_file already; one of the two only");
    if (text->private_key_file.len)
        return read_key(&r, text, tg_arena_str(arena, text->private_key_file), out);
    if (!text->client_secret_file.len)
        return tg_section_problem(&r, "client_secret_file",
                                  "needed, or private_key_file: how tollgate shows who it is");
    out->secret_file.ptr = tg_arena_str(arena, text->client_secret_file);
    out->secret_file.len = text->client_secret_file.len;
    return read_secret(&r, text, out->secret_file.ptr, out);
}

void tg_client_auth_copy(const struct tg_client_auth *from, struct tg_arena *arena, struct tg_client_auth *out)
{
    *out = (struct tg_client_auth){.method = from->method, .client_id = tg_arena_dup(arena, from->client_id)};
    if (from->secret_file.len)
        out->secret_file = tg_slice_str(tg_arena_str(arena, from->secret_file));
    out->key = from->key ? key_ref(from->key) : NULL;
}

void tg_client_auth_fini(struct tg_client_auth *c)
{
    tg_service_key_unref(c->key);
    c->key = NULL;
}

/* ---- showing ---- */

/* RFC 6749 §2.3.1: each half is form-encoded, then both in base64. */
static void add_basic(struct tg_slice id, struct tg_slice secret, struct tg_buf *line)
{
    struct tg_buf pair = {0};

    tg_buf_reserve(&pair, 3 * (id.len + secret.len) + 4);
    add_encoded(&pair, id);
    tg_buf_addc(&pair, ':');
    add_encoded(&pair, secret);
    tg_buf_reserve(line, 2 * pair.len + 64);
    tg_buf_adds(line, "Authorization: Basic ");
    tg_base64_encode(tg_buf_slice(&pair), line);
    tg_buf_cstr(line);
    tg_buf_wipe(&pair);
}

static enum tg_status apply_secret(const struct tg_client_auth *c, struct tg_buf *form, struct tg_buf *line,
                                   struct tg_err *err)
{
    struct tg_buf secret = {0};
    char *file = tg_slice_dup(c->secret_file);
    enum tg_status st = tg_file_read_secret(file, &secret, err);

    free(file);
    if (st == TG_OK && c->method == TG_CLIENT_BASIC) {
        add_basic(c->client_id, tg_buf_slice(&secret), line);
    } else if (st == TG_OK) {
        tg_form_add(form, "client_id", c->client_id);
        tg_form_add(form, "client_secret", tg_buf_slice(&secret));
    }
    tg_buf_wipe(&secret);
    return st;
}

static enum tg_status apply_key(const struct tg_client_auth *c, struct tg_slice audience, int64_t now_s,
                                struct tg_buf *form, struct tg_err *err)
{
    struct tg_buf assertion = {0};
    enum tg_status st = tg_service_key_assert(c->key, c->client_id, audience, now_s, &assertion, err);

    if (st == TG_OK) {
        tg_form_add(form, "client_id", c->client_id);
        tg_form_add(form, "client_assertion_type", TG_S(ASSERTION_TYPE));
        tg_form_add(form, "client_assertion", tg_buf_slice(&assertion));
    }
    tg_buf_wipe(&assertion);
    return st;
}

enum tg_status tg_client_auth_apply(const struct tg_client_auth *c, struct tg_slice audience, int64_t now_s,
                                    struct tg_buf *form, struct tg_buf *line, struct tg_err *err)
{
    if (c->method == TG_CLIENT_NONE)
        return TG_OK;
    if (c->method == TG_CLIENT_PRIVATE_KEY)
        return apply_key(c, audience, now_s, form, err);
    return apply_secret(c, form, line, err);
}
