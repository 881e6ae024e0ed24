/*
 * credential_settings - `upstream_auth` of a route, and the rules between its settings that a table cannot say.
 */
#include "credential_internal.h"
#include "base/json.h"
#include "io/tls.h"
#include <sys/stat.h>

struct section {                                         /* as the settings table fills it */
    struct tg_slice token_file, token_url, issuer, client_id, client_secret_file, private_key_file, key_id;
    struct tg_slice resource, audience, ca_file, proxy;
    struct tg_strings scopes;
    int grant, auth_method;
    bool allow_http;
    int64_t timeout_ms;
};
enum { GRANT_CLIENT, GRANT_JWT };

#define ROW(name, kind, member, dflt, min, max, choices, help) \
    TG_SETTING(struct section, member, name, TG_SET_##kind, dflt, min, max, choices, 0, help)
const struct tg_setting tg_credential_rows[] = {
    ROW("token_file", PATH, token_file, NULL, 0, 0, NULL,
        "a token that lasts (a personal access token of the service); read anew within two seconds of a change"),
    ROW("grant", ENUM, grant, NULL, 0, 0, "client_credentials|jwt_bearer",
        "how a token is asked for instead; jwt_bearer is the private-key JWT of ZITADEL's service users"),
    ROW("token_url", STRING, token_url, NULL, 0, 0, NULL, "where; absent: as the issuer's discovery document says"),
    ROW("issuer", STRING, issuer, NULL, 0, 0, NULL,
        "the server's issuer, which assertions are made for; absent: the origin of token_url"),
    ROW("client_id", STRING, client_id, NULL, 0, 0, NULL, "who asks; a key file of ZITADEL says it by itself"),
    ROW("client_secret_file", PATH, client_secret_file, NULL, 0, 0, NULL, "its secret, read each time"),
    ROW("private_key_file", FILE, private_key_file, NULL, 0, 0, NULL,
        "its private key instead: PEM, or a key file of ZITADEL"),
    ROW("key_id", STRING, key_id, NULL, 0, 0, NULL, "`kid` of the key; absent: of the file, or its thumbprint"),
    ROW("auth_method", ENUM, auth_method, "basic", 0, 0, "basic|post", "how the secret is sent"),
    ROW("scopes", STRINGS, scopes, NULL, 0, 0, NULL, "scopes to ask for; ZITADEL needs openid among them"),
    ROW("resource", STRING, resource, NULL, 0, 0, NULL, "the service the token is for (RFC 8707)"),
    ROW("audience", STRING, audience, NULL, 0, 0, NULL, "the same for servers with a parameter of that name"),
    ROW("ca_file", FILE, ca_file, NULL, 0, 0, NULL,
        "certificates that sign the server's TLS certificate; absent: $SSL_CERT_FILE, else the system's"),
    ROW("proxy", STRING, proxy, NULL, 0, 0, NULL, "proxy URL for asking; the environment is not looked at"),
    ROW("allow_http", BOOL, allow_http, "false", 0, 0, NULL, "ask over plain http at other hosts than loopback"),
    ROW("timeout", DURATION, timeout_ms, "10s", 100, 60000, NULL, "for one answer, connecting included"),
};
const size_t tg_credential_row_count = ARRAY_LEN(tg_credential_rows);

/* With a NUL behind it. */
static struct tg_slice keep(const struct tg_section *r, struct tg_slice s)
{
    return s.len ? tg_slice_str(tg_arena_str(r->arena, s)) : (struct tg_slice){NULL, 0};
}

static void warn_readable(const struct tg_section *r, const char *setting, struct tg_slice path)
{
    const cJSON *node = tg_json_get(r->node, setting);
    struct stat st;

    if (path.len && stat(tg_arena_str(r->arena, path), &st) == 0 && (st.st_mode & S_IROTH))
        tg_warning_at(r->problems, r->tree, node ? node : r->node, "%s.%s: everybody may read that file",
                      r->where, setting);
}

/* ---- a token file ---- */

static void read_file(const struct tg_section *r, const struct section *s, struct tg_credential_settings *out)
{
    const cJSON *other;
    struct tg_err err;

    out->kind = TG_CREDENTIAL_FILE;
    out->token_file = keep(r, s->token_file);
    cJSON_ArrayForEach(other, r->node)
        if (strcmp(other->string, "token_file") != 0)
            tg_section_problem(r, other->string, "with token_file nobody is asked for a token");
    if (tg_credential_file_read(out->token_file.ptr, NULL, &err) != TG_OK)
        tg_section_problem(r, "token_file", tg_err_text(&err));
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
    struct tg_tls_client_settings trust = {.ca_file = file.ptr};
    struct tg_tls_client *client = NULL;
    struct tg_err err;

    if (file.len && tg_tls_client_new(&trust, &client, &err) != TG_OK)
        tg_section_problem(r, "ca_file", tg_err_text(&err));
    tg_tls_client_unref(client);
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

bool tg_credential_settings_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                                 struct tg_arena *arena, struct tg_credential_settings *out,
                                 struct tg_problems *problems)
{
    struct tg_section r = {tree, node, where, arena, problems};
    size_t errors = problems->errors;
    struct section s = {0};

    *out = (struct tg_credential_settings){0};
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "%s: a mapping of settings is needed", where);
        return false;
    }
    if (!tg_settings_read(tg_credential_rows, tg_credential_row_count, tree, node, where, false, arena, &s, problems))
        return false;
    if (s.token_file.len)
        read_file(&r, &s, out);
    else if (tg_json_get(node, "grant"))
        read_grant(&r, &s, out);
    else
        tg_section_problem(&r, "grant", "it or token_file is needed: where the token comes from");
    return problems->errors == errors;
}

void tg_credential_settings_fini(struct tg_credential_settings *s)
{
    tg_client_auth_fini(&s->client);
    tg_service_key_unref(s->key);
    s->key = NULL;
}
