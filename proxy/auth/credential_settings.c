/*
 * credential_settings - `upstream_auth` of a route and `credential` of a control plane, and the rules between their
 * settings that a table cannot say.
 */
#include "credential_internal.h"
#include "base/file.h"
#include "base/json.h"
#include "io/tls.h"

struct section {                                         /* as the settings table fills it */
    struct tg_slice token_file, token_url, issuer, client_id, client_secret_file, private_key_file, key_id;
    struct tg_slice resource, audience, ca_file, proxy;
    struct tg_slice api_user_token_file, api_user_token; /* of a control plane's alone */
    struct tg_strings scopes;
    int grant, auth_method;
    bool allow_http;
    int64_t timeout_ms;
};
enum { GRANT_CLIENT, GRANT_JWT };

#define ROW(name, kind, member, dflt, min, max, choices, help) \
    TG_SETTING(struct section, member, name, TG_SET_##kind, dflt, min, max, choices, 0, help)
#define GRANT_ROWS \
    ROW("grant", ENUM, grant, NULL, 0, 0, "client_credentials|jwt_bearer", \
        "how a token is asked for instead; jwt_bearer is the private-key JWT of ZITADEL's service users"), \
    ROW("token_url", STRING, token_url, NULL, 0, 0, NULL, "where; absent: as the issuer's discovery document says"), \
    ROW("issuer", STRING, issuer, NULL, 0, 0, NULL, \
        "the server's issuer, which assertions are made for; absent: the origin of token_url"), \
    ROW("client_id", STRING, client_id, NULL, 0, 0, NULL, "who asks; a key file of ZITADEL says it by itself"), \
    ROW("client_secret_file", PATH, client_secret_file, NULL, 0, 0, NULL, "its secret, read each time"), \
    ROW("private_key_file", FILE, private_key_file, NULL, 0, 0, NULL, \
        "its private key instead: PEM, or a key file of ZITADEL"), \
    ROW("key_id", STRING, key_id, NULL, 0, 0, NULL, "`kid` of the key; absent: of the file, or its thumbprint"), \
    ROW("auth_method", ENUM, auth_method, "basic", 0, 0, "basic|post", "how the secret is sent"), \
    ROW("scopes", STRINGS, scopes, NULL, 0, 0, NULL, "scopes to ask for; ZITADEL needs openid among them"), \
    ROW("resource", STRING, resource, NULL, 0, 0, NULL, "the service the token is for (RFC 8707)"), \
    ROW("audience", STRING, audience, NULL, 0, 0, NULL, "the same for servers with a parameter of that name"), \
    ROW("ca_file", FILE, ca_file, NULL, 0, 0, NULL, \
        "certificates that sign the server's TLS certificate; absent: $SSL_CERT_FILE, else the system's"), \
    ROW("proxy", STRING, proxy, NULL, 0, 0, NULL, "proxy URL for asking; the environment is not looked at"), \
    ROW("allow_http", BOOL, allow_http, "false", 0, 0, NULL, "ask over plain http at other hosts than loopback"), \
    ROW("timeout", DURATION, timeout_ms, "10s", 100, 60000, NULL, "for one answer, connecting included")
const struct tg_setting tg_credential_rows[] = {
    ROW("token_file", PATH, token_file, NULL, 0, 0, NULL,
        "a token that lasts (a personal access token of the service); read anew within two seconds of a change"),
    GRANT_ROWS,
};
const size_t tg_credential_row_count = ARRAY_LEN(tg_credential_rows);

const struct tg_setting tg_home_credential_rows[] = {
    ROW("api_user_token_file", PATH, api_user_token_file, NULL, 0, 0, NULL,
        "the lasting token of an API user of the control plane, which is exchanged for ID tokens at token_url; absent: "
        "at /token below its url"),
    TG_SETTING(struct section, api_user_token, "api_user_token", TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_SECRET,
               "the same token itself: ${VARIABLE}"),
    ROW("token_file", PATH, token_file, NULL, 0, 0, NULL,
        "a token that lasts and is sent as it is; read anew within two seconds of a change"),
    GRANT_ROWS,
};
const size_t tg_home_credential_row_count = ARRAY_LEN(tg_home_credential_rows);

/* With a NUL behind it. */
static struct tg_slice keep(const struct tg_section *r, struct tg_slice s)
{
    return s.len ? tg_slice_str(tg_arena_str(r->arena, s)) : (struct tg_slice){NULL, 0};
}

static void warn_readable(const struct tg_section *r, const char *setting, struct tg_slice path)
{
    const cJSON *node = tg_json_get(r->node, setting);

    if (path.len && tg_file_is_open_to_all(tg_arena_str(r->arena, path)))
        tg_warning_at(r->problems, r->tree, node ? node : r->node, "%s.%s: everybody may read that file",
                      r->where, setting);
}

/* ---- a token file ---- */

static void read_file(const struct tg_section *r, const struct section *s, struct tg_credential_settings *out)
{
    struct tg_buf token = {0};
    const cJSON *other;
    struct tg_err err;

    out->kind = TG_CREDENTIAL_FILE;
    out->token_file = keep(r, s->token_file);
    cJSON_ArrayForEach(other, r->node)
        if (strcmp(other->string, "token_file") != 0)
            tg_section_problem(r, other->string, "with token_file nobody is asked for a token");
    if (tg_credential_token_read(out->token_file.ptr, &token, &err) != TG_OK)
        tg_section_problem(r, "token_file", tg_err_text(&err));
    tg_buf_wipe(&token);
    warn_readable(r, "token_file", s->token_file);
}

/* ---- a grant ---- */

static void check_url(const struct tg_section *r, const char *setting, struct tg_slice url, bool allow_http)
{
    struct tg_err err;

    if (url.len && tg_fetch_check_url(url.ptr, allow_http, &err) != TG_OK)
        tg_section_problem(r, setting, tg_err_text(&err));
}

static void check_ca_file(const struct tg_section *r, struct tg_slice file)
{
    struct tg_err err;

    if (tg_tls_check_ca_file(file.ptr, &err) != TG_OK)
        tg_section_problem(r, "ca_file", tg_err_text(&err));
}

static struct tg_slice join_scopes(const struct tg_section *r, const struct tg_strings *scopes)
{
    struct tg_buf text = {0};
    struct tg_slice kept;

    for (size_t i = 0; i < scopes->count; i++) {
        if (!tg_is_scope(scopes->items[i]))
            tg_section_problem(r, "scopes", "each is one word of visible ASCII, without quotes");
        if (i > 0)
            tg_buf_addc(&text, ' ');
        tg_buf_add_slice(&text, scopes->items[i]);
    }
    kept = keep(r, tg_buf_slice(&text));
    tg_buf_fini(&text);
    return kept;
}

static void read_who(const struct tg_section *r, const struct section *s, struct tg_credential_settings *out)
{
    struct tg_client_auth_text text = {s->client_id, s->client_secret_file, s->private_key_file, s->key_id,
                                       s->auth_method};

    if (s->grant == GRANT_JWT && !s->private_key_file.len) {
        tg_section_problem(r, "private_key_file", "needed: jwt_bearer shows a JWT that it signs");
        return;
    }
    if (!tg_client_auth_read(&text, r->tree, r->node, r->where, r->arena, &out->client, r->problems))
        return;
    warn_readable(r, "client_secret_file", s->client_secret_file);
    warn_readable(r, "private_key_file", s->private_key_file);
    if (s->grant == GRANT_JWT) {                         /* the assertion alone says who asks */
        out->key = out->client.key;
        out->client.key = NULL;
        out->client.method = TG_CLIENT_NONE;
    }
}

static void read_grant(const struct tg_section *r, const struct section *s, struct tg_credential_settings *out)
{
    out->kind = s->grant == GRANT_JWT ? TG_CREDENTIAL_JWT_GRANT : TG_CREDENTIAL_CLIENT;
    out->token_url = keep(r, s->token_url);
    out->issuer = keep(r, s->issuer);
    out->resource = keep(r, s->resource);
    out->audience = keep(r, s->audience);
    out->ca_file = keep(r, s->ca_file);
    out->proxy = keep(r, s->proxy);
    out->allow_http = s->allow_http;
    out->timeout_ms = s->timeout_ms;
    out->scope = join_scopes(r, &s->scopes);
    if (!out->token_url.len && !out->issuer.len)
        tg_section_problem(r, "issuer", "it or token_url is needed: where a token is asked for");
    check_url(r, "token_url", out->token_url, out->allow_http);
    check_url(r, "issuer", out->issuer, out->allow_http);
    check_ca_file(r, out->ca_file);
    read_who(r, s, out);
}

/* ---- an API user of a control plane ---- */

static const char *const api_user_settings[] = {"api_user_token_file", "api_user_token", "token_url", "ca_file",
                                                "proxy", "allow_http", "timeout"};

static void check_api_user_token(const struct tg_section *r, const struct section *s)
{
    struct tg_buf token = {0};
    const char *fault;
    struct tg_err err;

    if (s->api_user_token_file.len) {
        if (tg_credential_token_read(tg_arena_str(r->arena, s->api_user_token_file), &token, &err) != TG_OK)
            tg_section_problem(r, "api_user_token_file", tg_err_text(&err));
        warn_readable(r, "api_user_token_file", s->api_user_token_file);
        tg_buf_wipe(&token);
    } else if ((fault = tg_credential_token_fault(s->api_user_token))) {
        tg_section_problem(r, "api_user_token", fault);
    }
    if (s->api_user_token_file.len && s->api_user_token.len)
        tg_section_problem(r, "api_user_token", "it or api_user_token_file, not both");
}

static void check_api_user_members(const struct tg_section *r)
{
    const cJSON *member;

    cJSON_ArrayForEach(member, r->node) {
        size_t i = 0;

        while (i < ARRAY_LEN(api_user_settings) && strcmp(member->string, api_user_settings[i]) != 0)
            i++;
        if (i == ARRAY_LEN(api_user_settings))
            tg_section_problem(r, member->string, "an API user has no use for it");
    }
}

/* BASE/token; a slash at the end of BASE is not doubled. */
static struct tg_slice token_url_of(const struct tg_section *r, struct tg_slice base)
{
    struct tg_buf url = {0};
    struct tg_slice kept;

    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    if (base.len)
        tg_buf_addf(&url, TG_S_FMT "/token", TG_S_ARG(base));
    kept = keep(r, tg_buf_slice(&url));
    tg_buf_fini(&url);
    return kept;
}

static void read_api_user(const struct tg_section *r, const struct section *s, const struct tg_credential_home *home,
                          struct tg_credential_settings *out)
{
    out->kind = TG_CREDENTIAL_API_USER;
    out->client.method = TG_CLIENT_NONE;
    out->token_file = keep(r, s->api_user_token_file);
    out->api_user_token = keep(r, s->api_user_token);
    out->token_url = s->token_url.len ? keep(r, s->token_url) : token_url_of(r, home->url);
    out->ca_file = keep(r, s->ca_file.len ? s->ca_file : home->ca_file);
    out->proxy = keep(r, s->proxy.len ? s->proxy : home->proxy);
    out->allow_http = tg_json_get(r->node, "allow_http") ? s->allow_http : home->allow_http;
    out->timeout_ms = s->timeout_ms;
    check_api_user_token(r, s);
    check_api_user_members(r);
    if (!out->token_url.len)
        tg_section_problem(r, "token_url", "needed: where the API user's token is exchanged");
    if (s->token_url.len)                                /* else the url it is made of was looked at */
        check_url(r, "token_url", out->token_url, out->allow_http);
    if (s->ca_file.len)
        check_ca_file(r, out->ca_file);
}

/* ---- the section ---- */

/* `home` NULL: of a route. */
static bool read_section(const struct tg_section *r, const struct tg_credential_home *home,
                         struct tg_credential_settings *out)
{
    const struct tg_setting *rows = home ? tg_home_credential_rows : tg_credential_rows;
    size_t row_count = home ? tg_home_credential_row_count : tg_credential_row_count;
    size_t errors = r->problems->errors;
    struct section s = {0};

    *out = (struct tg_credential_settings){.control_plane = home != NULL};
    if (!cJSON_IsObject(r->node)) {
        tg_problem_at(r->problems, r->tree, r->node, "%s: a mapping of settings is needed", r->where);
        return false;
    }
    if (!tg_settings_read(rows, row_count, r->tree, r->node, r->where, false, r->arena, &s, r->problems))
        return false;
    if (s.api_user_token_file.len || s.api_user_token.len)
        read_api_user(r, &s, home, out);
    else if (s.token_file.len)
        read_file(r, &s, out);
    else if (tg_json_get(r->node, "grant"))
        read_grant(r, &s, out);
    else
        tg_section_problem(r, "grant",
                           home ? "it, token_file or api_user_token_file is needed: where the token comes from"
                                : "it or token_file is needed: where the token comes from");
    return r->problems->errors == errors;
}

bool tg_credential_settings_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                                 struct tg_arena *arena, struct tg_credential_settings *out,
                                 struct tg_problems *problems)
{
    struct tg_section r = {tree, node, where, arena, problems};

    return read_section(&r, NULL, out);
}

bool tg_home_credential_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                             const struct tg_credential_home *home, struct tg_arena *arena,
                             struct tg_credential_settings *out, struct tg_problems *problems)
{
    struct tg_section r = {tree, node, where, arena, problems};

    return read_section(&r, home, out);
}

void tg_credential_settings_fini(struct tg_credential_settings *s)
{
    tg_client_auth_fini(&s->client);
    tg_service_key_unref(s->key);
    s->key = NULL;
}
