/*
 * introspect_settings - `introspection` of an identity provider.
 */
#include "introspect_internal.h"
#include "base/json.h"

struct section {                                         /* as the settings table fills it */
    struct tg_slice url, client_id, client_secret_file, private_key_file, key_id;
    int auth_method, use;
    bool accept_opaque;
    int64_t ttl_ms, negative_ttl_ms, timeout_ms;
    uint64_t rate;
};

#define ROW(name, kind, member, dflt, min, max, choices, flags, help) \
    TG_SETTING(struct section, member, name, TG_SET_##kind, dflt, min, max, choices, flags, help)
const struct tg_setting tg_introspection_rows[] = {
    ROW("url", STRING, url, NULL, 0, 0, NULL, 0,
        "where tokens are asked about; absent: introspection_endpoint of the provider's discovery document"),
    ROW("client_id", STRING, client_id, NULL, 0, 0, NULL, 0,
        "tollgate's own id at the provider; a key file of ZITADEL says it by itself"),
    ROW("client_secret_file", PATH, client_secret_file, NULL, 0, 0, NULL, 0,
        "tollgate's own secret there, read each time"),
    ROW("private_key_file", FILE, private_key_file, NULL, 0, 0, NULL, 0,
        "instead of a secret: a private key in PEM, or a key file of ZITADEL (private_key_jwt)"),
    ROW("key_id", STRING, key_id, NULL, 0, 0, NULL, 0,
        "the provider's name for that key; absent: as its file says, else the thumbprint"),
    ROW("auth_method", ENUM, auth_method, "basic", 0, 0, "basic|post", 0, "how the client secret is sent"),
    ROW("for", ENUM, use, "opaque", 0, 0, "opaque|always", 0,
        "which tokens are asked about: opaque ones; always: signed ones too, after they were verified"),
    ROW("accept_opaque", BOOL, accept_opaque, "true", 0, 0, NULL, 0,
        "take opaque tokens; their `aud` may prove nothing (a personal access token of ZITADEL names who asks)"),
    ROW("ttl", DURATION, ttl_ms, "30s", 0, 300000, NULL, 0,
        "how long an active token is not asked about again, so how late its revocation may be seen; never beyond its "
        "expiry"),
    ROW("negative_ttl", DURATION, negative_ttl_ms, "5s", 0, 10000, NULL, 0,
        "how long an inactive token is not asked about again"),
    ROW("timeout", DURATION, timeout_ms, "5s", 100, 60000, NULL, 0, "for one answer, connecting included"),
    ROW("rate", COUNT, rate, "20", 1, 10000, NULL, 0,
        "questions a second about tokens that are neither signed nor were active lately"),
};
const size_t tg_introspection_row_count = ARRAY_LEN(tg_introspection_rows);

static void check_url(const struct tg_section *r, const struct tg_provider *p, struct tg_slice url)
{
    char *text = tg_slice_dup(url.len ? url : p->issuer);
    struct tg_err err;

    if (!url.len && memchr(p->issuer.ptr, '?', p->issuer.len))
        tg_section_problem(r, "url", "needed, for discovery needs an issuer without a query");
    else if (tg_fetch_check_url(text, p->allow_http, &err) != TG_OK && url.len)
        tg_section_problem(r, "url", tg_err_text(&err));
    else if (!url.len && tg_fetch_check_url(text, p->allow_http, &err) != TG_OK)
        tg_section_problem(r, "url", "needed, for the issuer is no URL that has a discovery document");
    free(text);
}

bool tg_introspection_settings_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                                    const struct tg_provider *p, struct tg_arena *arena,
                                    struct tg_introspection_settings *out, struct tg_problems *problems)
{
    struct tg_section r = {tree, node, where, arena, problems};
    size_t errors = problems->errors;
    struct section s = {0};

    *out = (struct tg_introspection_settings){.client = {.method = TG_CLIENT_NONE}};
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "%s: a mapping of settings is needed", where);
        return false;
    }
    if (!tg_settings_read(tg_introspection_rows, tg_introspection_row_count, tree, node, where, false, arena, &s,
                          problems))
        return false;
    *out = (struct tg_introspection_settings){
        .url = s.url, .always = s.use == 1, .accept_opaque = s.accept_opaque, .ttl_ms = s.ttl_ms,
        .negative_ttl_ms = s.negative_ttl_ms, .timeout_ms = s.timeout_ms, .rate = s.rate};
    check_url(&r, p, s.url);
    if (!out->always && !out->accept_opaque)
        tg_section_problem(&r, "accept_opaque", "with `for: opaque` nothing would be asked; take `for: always`");
    tg_client_auth_read(&(struct tg_client_auth_text){.client_id = s.client_id, .key_id = s.key_id,
                                                      .client_secret_file = s.client_secret_file,
                                                      .private_key_file = s.private_key_file,
                                                      .method = s.auth_method},
                        tree, node, where, arena, &out->client, problems);
    return problems->errors == errors;
}

void tg_introspection_settings_fini(struct tg_introspection_settings *s)
{
    if (s)
        tg_client_auth_fini(&s->client);
}
