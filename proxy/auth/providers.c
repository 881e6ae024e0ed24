/*
 * providers - one table of settings, and the rules between them that a table cannot say.
 */
#include "auth/providers.h"
#include "internal.h"
#include "auth/introspect.h"
#include "auth/pat.h"
#include "base/file.h"
#include "base/json.h"
#include "io/fetch.h"
#include "io/tls.h"

#define NAME_BYTES 128
#define CONFIGURED_MAX (TG_PROVIDERS_MAX - 1)            /* one is tollgate itself */

#define ROW(name, kind, member, dflt, min, max, choices, flags, help) \
    TG_SETTING(struct tg_provider_section, member, name, TG_SET_##kind, dflt, min, max, choices, flags, help)
const struct tg_setting tg_provider_settings[] = {
    ROW("issuer", STRING, issuer, NULL, 0, 0, NULL, TG_SET_REQUIRED,
        "the exact `iss` of its tokens; its keys are found by OpenID discovery unless given here"),
    ROW("audiences", STRINGS, audiences, NULL, 0, 0, NULL, TG_SET_REQUIRED, "one of them must be in a token's `aud`"),
    ROW("supported_algs", STRINGS, algs, NULL, 0, 0, NULL, 0,
        "signature algorithms taken; RS256, ES256 and EdDSA when absent; HS* alone, with a local secret only"),
    ROW("jwks_url", STRING, jwks_url, NULL, 0, 0, NULL, 0, "where the JWK set is, instead of discovery"),
    ROW("jwks_file", FILE, jwks_file, NULL, 0, 0, NULL, 0, "a JWK set in a file"),
    ROW("jwks", NODE, jwks, NULL, 0, 0, NULL, 0, "a JWK set written here"),
    ROW("public_key_file", FILE, public_key_file, NULL, 0, 0, NULL, 0,
        "a public key or certificate in PEM; during a rotation both, one after the other"),
    ROW("secret_file", FILE, secret_file, NULL, 0, 0, NULL, 0,
        "the shared secret of HS*, at least 32 bytes; during a rotation give both as oct keys of a jwks_file"),
    ROW("ca_file", FILE, ca_file, NULL, 0, 0, NULL, 0,
        "certificates that sign the provider's TLS certificate; absent: $SSL_CERT_FILE, else the system's"),
    ROW("token_file", PATH, token_file, NULL, 0, 0, NULL, 0, "bearer token sent when asking for keys, read each time"),
    ROW("proxy", STRING, proxy, NULL, 0, 0, NULL, 0,
        "proxy URL for asking the provider; the environment is not looked at"),
    ROW("timeout", DURATION, timeout_ms, "10s", 100, 60000, NULL, 0,
        "for one answer of the provider, connecting included"),
    ROW("allow_http", BOOL, allow_http, "false", 0, 0, NULL, 0,
        "take keys over plain http from other hosts than loopback"),
    ROW("leeway", DURATION, leeway_ms, "30s", 0, 300000, NULL, 0, "clock difference forgiven in exp, nbf and iat"),
    ROW("token_use", ENUM, token_use, "any", 0, 0, "any|access|id", 0, "kind of token taken"),
    ROW("profile", ENUM, profile, "any", 0, 0, "any|rfc9068", 0,
        "rfc9068: typ at+jwt, client_id, iat and jti are required, for issuers that keep to it"),
    ROW("required_claims", STRINGS, required_claims, NULL, 0, 0, NULL, 0, "claims that a token must have, not null"),
    ROW("required_scopes", STRINGS, required_scopes, NULL, 0, 0, NULL, 0,
        "scopes that a token must have been granted, else 403"),
    ROW("max_lifetime", DURATION, max_lifetime_ms, "none", 0, INT64_C(366) * 86400000, NULL, 0,
        "from iat to exp; a token that was made for longer is refused"),
    ROW("max_age", DURATION, max_age_ms, "none", 0, INT64_C(366) * 86400000, NULL, 0,
        "since iat; an older token is refused, whatever its exp"),
    ROW("groups_claim", STRING, groups_claim, "groups", 0, 0, NULL, 0,
        "claim that lists the caller's groups; ZITADEL's role objects are read as ROLE and ROLE@ORGANISATION"),
    ROW("max_stale", DURATION, max_stale_ms, "24h", 60000, INT64_C(90) * 86400000, NULL, 0,
        "how long keys serve while they cannot be refreshed"),
    ROW("introspection", NODE, introspection, NULL, 0, 0, NULL, 0, "ask the provider about tokens (RFC 7662)"),
};
const size_t tg_provider_setting_count = ARRAY_LEN(tg_provider_settings);

/* Problems stand at the setting they are about, or at the provider when it is absent. */
static const cJSON *at(const struct tg_provider_reading *r, const char *setting)
{
    const cJSON *node = tg_json_get(r->node, setting);

    return node ? node : r->node;
}

/* ---- algorithms ---- */

static void unknown_alg(const struct tg_provider_reading *r, struct tg_slice name)
{
#define X(a) #a,
    static const char *const names[] = {TG_ALGS(X)};
#undef X
    char *word = tg_slice_dup(name);
    const char *near = tg_nearest(word, names, ARRAY_LEN(names));

    if (tg_slice_eq_nocase(name, TG_S("none")))
        tg_problem_at(r->problems, r->tree, at(r, "supported_algs"),
                      TG_S_FMT ".supported_algs: `none` is never taken: it means unsigned", TG_S_ARG(r->where));
    else
        tg_problem_at(r->problems, r->tree, at(r, "supported_algs"),
                      TG_S_FMT ".supported_algs: `%s` is no known algorithm%s%s%s", TG_S_ARG(r->where), word,
                      near ? ", did you mean `" : "", near ? near : "", near ? "`?" : "");
    free(word);
}

static void read_algs(const struct tg_provider_reading *r, const struct tg_provider_section *s, struct tg_provider *p)
{
    enum tg_alg alg;

    p->algs = s->algs.set ? 0 : TG_ALGS_DEFAULT;
    for (size_t i = 0; i < s->algs.count; i++) {
        if (tg_alg_parse(s->algs.items[i], &alg))
            p->algs |= TG_ALG_BIT(alg);
        else
            unknown_alg(r, s->algs.items[i]);
    }
    if (s->algs.set && s->algs.count == 0)
        tg_problem_at(r->problems, r->tree, at(r, "supported_algs"),
                      TG_S_FMT ".supported_algs: the list is empty, so no token could be verified", TG_S_ARG(r->where));
    /* A public key taken for an HMAC secret is the classic forgery: the two kinds never meet in one provider. */
    if ((p->algs & TG_ALGS_HMAC) && (p->algs & ~TG_ALGS_HMAC))
        tg_problem_at(r->problems, r->tree, at(r, "supported_algs"),
                      TG_S_FMT ".supported_algs: HS256, HS384 and HS512 cannot be mixed with other algorithms",
                      TG_S_ARG(r->where));
}

/* ---- where the keys come from ---- */

static const char *const key_settings[] = {"jwks_url", "jwks_file", "jwks", "public_key_file", "secret_file"};
static const char *const remote_settings[] = {"ca_file", "proxy", "token_file", "timeout", "max_stale"};
#define OF_EVERY_EXCHANGE 2                              /* the first of them: of introspection too */

static void check_url(const struct tg_provider_reading *r, const char *setting, struct tg_slice url, bool allow_http)
{
    struct tg_err err;

    if (tg_fetch_check_url(tg_arena_str(r->arena, url), allow_http, &err) != TG_OK)
        tg_problem_at(r->problems, r->tree, at(r, setting), TG_S_FMT ".%s: %s", TG_S_ARG(r->where), setting,
                      tg_err_text(&err));
}

/* Read as TLS reads it: a key, or a certificate in another form than PEM, is found before the first fetch. */
static void check_ca_file(const struct tg_provider_reading *r, const struct tg_provider *p)
{
    struct tg_err err;

    if (tg_tls_check_ca_file(tg_arena_str(r->arena, p->ca_file), &err) != TG_OK)
        tg_problem_at(r->problems, r->tree, at(r, "ca_file"), TG_S_FMT ".ca_file: %s", TG_S_ARG(r->where),
                      tg_err_text(&err));
}

static void check_remote(const struct tg_provider_reading *r, const struct tg_provider *p)
{
    if (!p->discovery)
        check_url(r, "jwks_url", p->jwks_url, p->allow_http);
    else if (memchr(p->issuer.ptr, '?', p->issuer.len))
        tg_problem_at(r->problems, r->tree, at(r, "issuer"),
                      TG_S_FMT ".issuer: discovery needs an issuer without a query; give its keys by jwks_url",
                      TG_S_ARG(r->where));
    else
        check_url(r, "issuer", p->issuer, p->allow_http);
    if (p->algs & TG_ALGS_HMAC)
        tg_problem_at(r->problems, r->tree, at(r, "supported_algs"),
                      TG_S_FMT ".supported_algs: HS* needs a local secret_file or jwks_file; a secret is never fetched",
                      TG_S_ARG(r->where));
}

static void check_way(const struct tg_provider_reading *r, const struct tg_provider *p)
{
    if (p->proxy.len && !tg_slice_starts_with(p->proxy, TG_S("http://")) &&
        !tg_slice_starts_with(p->proxy, TG_S("https://")))
        tg_problem_at(r->problems, r->tree, at(r, "proxy"), TG_S_FMT ".proxy: not an http or https URL",
                      TG_S_ARG(r->where));
    if (p->ca_file.len)
        check_ca_file(r, p);
}

static void read_key_source(const struct tg_provider_reading *r, const struct tg_provider_section *s,
                            struct tg_provider *p)
{
    const char *given = NULL;

    for (size_t i = 0; i < ARRAY_LEN(key_settings); i++) {
        const cJSON *node = tg_json_get(r->node, key_settings[i]);

        if (!node || cJSON_IsNull(node))
            continue;
        if (given) {
            tg_problem_at(r->problems, r->tree, node, TG_S_FMT ".%s: keys are given by %s already; one source only",
                          TG_S_ARG(r->where), key_settings[i], given);
            return;
        }
        given = key_settings[i];
    }
    p->discovery = !given;
    if (!given || strcmp(given, "jwks_url") == 0 || s->introspection)
        check_way(r, p);
    if (!given || strcmp(given, "jwks_url") == 0) {
        check_remote(r, p);
        return;
    }
    for (size_t i = s->introspection ? OF_EVERY_EXCHANGE : 0; i < ARRAY_LEN(remote_settings); i++)
        if (tg_json_get(r->node, remote_settings[i]))
            tg_problem_at(r->problems, r->tree, at(r, remote_settings[i]),
                          TG_S_FMT ".%s: the keys are local (%s), so nothing is fetched", TG_S_ARG(r->where),
                          remote_settings[i], given);
    p->local = tg_provider_local_keys(r, s, p->algs);
}

/* ---- one provider, all providers ---- */

static void check_name(const struct tg_provider_reading *r, struct tg_slice name)
{
    bool bad = name.len == 0 || name.len > NAME_BYTES;

    for (size_t i = 0; i < name.len && !bad; i++)
        bad = name.ptr[i] == '/' || (unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == 0x7f;
    if (bad)
        tg_problem_at_key(r->problems, r->tree, r->node,
                          "identity_providers: a provider's name: 1 to %d characters, no `/`, no space", NAME_BYTES);
}

static void check_issuer(const struct tg_provider_reading *r, const struct tg_providers *before, struct tg_slice issuer)
{
    if (tg_slice_eq(issuer, TG_S(TG_PAT_ISSUER)))
        tg_problem_at(r->problems, r->tree, at(r, "issuer"),
                      TG_S_FMT ".issuer: that is tollgate itself, for its personal access tokens", TG_S_ARG(r->where));
    for (size_t i = 0; i < before->count; i++)
        if (tg_slice_eq(before->items[i].issuer, issuer))
            tg_problem_at(r->problems, r->tree, at(r, "issuer"),
                          TG_S_FMT ".issuer: provider `" TG_S_FMT "` has the same issuer; it must name one provider",
                          TG_S_ARG(r->where), TG_S_ARG(before->items[i].name));
}

/* Times of tokens are whole seconds; half of one would become none, and that means any. */
static void check_whole_seconds(const struct tg_provider_reading *r, const char *setting, int64_t ms)
{
    if (ms % 1000)
        tg_problem_at(r->problems, r->tree, at(r, setting), TG_S_FMT ".%s: whole seconds only", TG_S_ARG(r->where),
                      setting);
}

static bool is_not_empty(struct tg_slice s)
{
    return s.len > 0;
}

static void check_each(const struct tg_provider_reading *r, const char *setting, const struct tg_strings *list,
                       bool (*is_good)(struct tg_slice s), const char *rule)
{
    bool bad = false;

    for (size_t i = 0; i < list->count; i++)
        bad = bad || !is_good(list->items[i]);
    if (bad)
        tg_problem_at(r->problems, r->tree, at(r, setting), TG_S_FMT ".%s: %s", TG_S_ARG(r->where), setting, rule);
}

static const struct tg_strings *copy_strings(struct tg_arena *arena, const struct tg_strings *list)
{
    struct tg_strings *copy = TG_ARENA_NEW(arena, struct tg_strings);

    *copy = *list;
    return copy;
}

static void read_rules(const struct tg_provider_reading *r, const struct tg_provider_section *s, struct tg_provider *p)
{
    p->rules = (struct tg_jwt_rules){
        .issuer = s->issuer,
        .audiences = s->audiences.items,
        .audience_count = s->audiences.count,
        .leeway_s = s->leeway_ms / 1000,
        .token_use = (enum tg_token_use)s->token_use,
        .rfc9068 = s->profile == 1,
        .required_claims = s->required_claims.items,
        .required_claim_count = s->required_claims.count,
        .max_lifetime_s = s->max_lifetime_ms / 1000,
        .max_age_s = s->max_age_ms / 1000,
    };
    p->required_scopes = copy_strings(r->arena, &s->required_scopes);
    check_each(r, "audiences", &s->audiences, is_not_empty, "none of them may be empty");
    check_each(r, "required_claims", &s->required_claims, is_not_empty, "none of them may be empty");
    check_each(r, "required_scopes", &s->required_scopes, tg_is_scope,
               "each is one word of RFC 6749 §3.3, with neither space nor quotes in it");
    check_whole_seconds(r, "max_lifetime", s->max_lifetime_ms);
    check_whole_seconds(r, "max_age", s->max_age_ms);
    if (p->rules.rfc9068 && p->rules.token_use == TG_USE_ID)
        tg_problem_at(r->problems, r->tree, at(r, "profile"),
                      TG_S_FMT ".profile: rfc9068 is for access tokens, and token_use wants ID tokens",
                      TG_S_ARG(r->where));
}

static void read_introspection(const struct tg_provider_reading *r, const cJSON *node, struct tg_provider *p)
{
    struct tg_introspection_settings *s = TG_ARENA_NEW(r->arena, struct tg_introspection_settings);
    const char *where = tg_arena_printf(r->arena, TG_S_FMT ".introspection", TG_S_ARG(r->where)).ptr;

    p->introspection = s;                                /* with errors in it too: it is to be finished */
    tg_introspection_settings_read(r->tree, node, where, p, r->arena, s, r->problems);
}

static void read_provider(const struct tg_provider_reading *r, const struct tg_providers *before, struct tg_provider *p)
{
    struct tg_provider_section s = {0};

    check_name(r, p->name);
    if (!cJSON_IsObject(r->node)) {
        tg_problem_at(r->problems, r->tree, r->node, TG_S_FMT ": a mapping of settings is needed", TG_S_ARG(r->where));
        return;
    }
    if (!tg_settings_read(tg_provider_settings, tg_provider_setting_count, r->tree, r->node, r->where.ptr, false,
                          r->arena, &s,
                          r->problems))
        return;
    p->issuer = s.issuer;
    p->jwks_url = s.jwks_url;
    p->ca_file = s.ca_file;
    p->token_file = s.token_file;
    p->proxy = s.proxy;
    p->allow_http = s.allow_http;
    p->groups_claim = s.groups_claim;
    p->max_stale_ms = s.max_stale_ms;
    p->timeout_ms = s.timeout_ms;
    read_rules(r, &s, p);
    check_issuer(r, before, s.issuer);
    read_algs(r, &s, p);
    read_key_source(r, &s, p);
    if (s.introspection && !cJSON_IsNull(s.introspection))
        read_introspection(r, s.introspection, p);
}

static const struct tg_strings none;

bool tg_providers_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_providers *out,
                       struct tg_problems *problems)
{
    size_t errors = problems->errors, count = 0;
    const cJSON *child;

    memset(out, 0, sizeof(*out));
    if (!node || cJSON_IsNull(node))
        return true;
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node,
                      "identity_providers: a mapping of provider names to their settings is needed");
        return false;
    }
    count = (size_t)cJSON_GetArraySize(node);
    if (count > CONFIGURED_MAX) {
        tg_problem_at(problems, tree, node, "identity_providers: at most %d providers are possible", CONFIGURED_MAX);
        count = CONFIGURED_MAX;
    }
    out->items = TG_ARENA_ARRAY(arena, struct tg_provider, count);
    cJSON_ArrayForEach(child, node)
    {
        struct tg_provider *p = &out->items[out->count];
        struct tg_provider_reading r = {tree, child, arena, problems, {NULL, 0}};

        if (out->count == count)
            break;
        r.where.ptr = tg_arena_str(arena, tg_arena_printf(arena, "identity_providers.%s", child->string));
        r.where.len = strlen(r.where.ptr);
        p->name = tg_arena_dup(arena, tg_slice_str(child->string));
        p->required_scopes = &none;
        read_provider(&r, out, p);
        out->count++;
    }
    return problems->errors == errors;
}

void tg_providers_add_pats(struct tg_providers *p, struct tg_arena *arena)
{
    struct tg_provider *items = TG_ARENA_ARRAY(arena, struct tg_provider, p->count + 1), *own = &items[p->count];

    tg_assert(p->count < TG_PROVIDERS_MAX);
    if (p->count)
        memcpy(items, p->items, p->count * sizeof(*items));
    own->name = TG_S(TG_PAT_PROVIDER);
    own->issuer = own->rules.issuer = TG_S(TG_PAT_ISSUER);
    own->pats = true;
    own->groups_claim = TG_S("groups");
    own->required_scopes = &none;
    tg_assert(tg_jwks_parse(TG_S("{\"keys\":[]}"), false, &own->local, NULL) == TG_OK); /* nobody fetches any */
    p->items = items;
    p->count++;
}

size_t tg_providers_of_opaque(const struct tg_providers *p, uint64_t allowed, const struct tg_provider **first)
{
    size_t count = 0;

    *first = NULL;
    for (size_t i = 0; i < p->count; i++) {
        const struct tg_introspection_settings *asks = p->items[i].introspection;

        if (!(allowed >> i & 1) || !asks || !asks->accept_opaque)
            continue;
        if (count++ == 0)
            *first = &p->items[i];
    }
    return count;
}

void tg_providers_fini(struct tg_providers *p)
{
    for (size_t i = 0; i < p->count; i++) {
        tg_jwks_unref(p->items[i].local);
        p->items[i].local = NULL;
        if (p->items[i].source)
            p->items[i].release(p->items[i].source);
        p->items[i].source = NULL;
        if (p->items[i].asked)
            p->items[i].release_asked(p->items[i].asked);
        p->items[i].asked = NULL;
        tg_introspection_settings_fini((struct tg_introspection_settings *)(uintptr_t)p->items[i].introspection);
        p->items[i].introspection = NULL;
    }
}

int tg_providers_find(const struct tg_providers *p, struct tg_slice name)
{
    for (size_t i = 0; i < p->count; i++)
        if (tg_slice_eq(p->items[i].name, name))
            return (int)i;
    return -1;
}

const struct tg_provider *tg_providers_of_issuer(const struct tg_providers *p, struct tg_slice issuer)
{
    for (size_t i = 0; i < p->count; i++)
        if (tg_slice_eq(p->items[i].issuer, issuer))
            return &p->items[i];
    return NULL;
}
