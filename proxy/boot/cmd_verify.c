/*
 * cmd_verify - one token: what it says, and the rule it meets or breaks.
 *
 * Neither the token nor its signature is ever printed. Keys of a remote provider are fetched as a
 * running tollgate does.
 */
#include "boot/commands.h"
#include "base/file.h"
#include "base/json.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "fetched_keys.h"
#include "token_check.h"
#include <stdio.h>

#define KEYS_BYTES ((size_t)1 << 20)

enum { OPT_PROVIDER = TG_OPT_FIRST_OWN, OPT_JWKS, OPT_ALG, OPT_ISSUER, OPT_AUDIENCE, OPT_LEEWAY, OPT_SIGNATURE_ONLY };
static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    {OPT_PROVIDER, 'p', "provider", "NAME", "provider of the configuration; else the one whose issuer the token names"},
    {OPT_JWKS, 'j', "jwks", "FILE", "instead of a configuration: a JWK set, or a public key in PEM"},
    {OPT_ALG, 'a', "alg", "A,B", "with --jwks: algorithms allowed; RS256,ES256,EdDSA when not said"},
    {OPT_ISSUER, 'i', "issuer", "URL", "with --jwks: the iss wanted"},
    {OPT_AUDIENCE, 0, "audience", "AUD", "with --jwks: an aud wanted; several times: one of them"},
    {OPT_LEEWAY, 0, "leeway", "DURATION", "with --jwks: clock difference forgiven; 0s when not said"},
    {OPT_SIGNATURE_ONLY, 0, "signature-only", NULL, "look at form and signature only; the payload may be any bytes"},
};
static const struct tg_usage usage = {
    .command = "verify",
    .line = "[-c FILE [--provider NAME] | --jwks FILE --alg A,B] [TOKEN | -]",
    .about = "Prints a token's header and claims and every rule it meets, up to the one it breaks. Ends with 0 when\n"
             "it is good, else with 1. The token comes as argument or, better, on standard input (-): arguments can\n"
             "be seen by other users of the machine. Keys of a remote provider are fetched.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples =
        "  tollgate mint ... | tollgate verify -c tollgate.yaml -\n"
        "  tollgate verify --jwks keys.json --alg RS256 --issuer https://idp.example.com --audience my-api - < token",
};

struct verifying {
    struct tg_options o;
    const char *config, *provider_name, *jwks_file, *alg_list, *token;
    bool signature_only;
    struct tg_slice audiences[TG_OPTIONS_MAX];
    struct tg_jwt_rules rules;
    /* from here on: what to verify with */
    struct tg_settings settings;
    struct tg_jwks *own;                                 /* of --jwks, or fetched */
    const struct tg_jwks *keys;
    tg_algs algs;
    const char *name;                                    /* of the provider; NULL: --jwks */
};

/* ---- the command line ---- */

static bool take_option(struct verifying *v, int id, const char *value)
{
    int64_t leeway_ms;

    switch (id) {
    case TG_OPT_CONFIG: v->config = value; break;
    case OPT_PROVIDER: v->provider_name = value; break;
    case OPT_JWKS: v->jwks_file = value; break;
    case OPT_ALG: v->alg_list = value; break;
    case OPT_ISSUER: v->rules.issuer = tg_slice_str(value); break;
    case OPT_SIGNATURE_ONLY: v->signature_only = true; break;
    case OPT_AUDIENCE:
        if (v->rules.audience_count == ARRAY_LEN(v->audiences)) {
            v->o.code = tg_usage_error(&usage, "too many --audience");
            return false;
        }
        v->audiences[v->rules.audience_count++] = tg_slice_str(value);
        break;
    case OPT_LEEWAY:
        if (!tg_duration_parse(tg_slice_str(value), &leeway_ms) || leeway_ms > 86400000) {
            v->o.code = tg_usage_error(&usage, "--leeway is a duration of at most a day, as in 30s");
            return false;
        }
        v->rules.leeway_s = leeway_ms / 1000;
    }
    return true;
}

static bool read_options(struct verifying *v, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&v->o, &usage, argc, argv);
    while ((id = tg_options_next(&v->o, &value)) != TG_OPT_END)
        if (id == TG_OPT_EXIT || !take_option(v, id, value))
            return false;
    if (tg_options_extra(&v->o, 1))
        return false;
    v->rules.audiences = v->audiences;
    v->token = v->o.operand < argc ? argv[v->o.operand] : "-";
    if (v->jwks_file && (v->config || v->provider_name))
        v->o.code = tg_usage_error(&usage, "--jwks stands instead of a configuration: leave out -c and --provider");
    else if (!v->jwks_file && (v->alg_list || v->rules.issuer.ptr || v->rules.audience_count > 0))
        v->o.code = tg_usage_error(&usage, "--alg, --issuer and --audience go with --jwks; a provider has its own");
    else
        return true;
    return false;
}

/* ---- what to verify with ---- */

/* Unknown, `none`, or a mix that would let a public key be taken for a secret: nothing verifies. */
static bool read_algs(struct verifying *v)
{
    struct tg_slice rest = tg_slice_str(v->alg_list), name;
    enum tg_alg alg;
    bool more = true;

    if (!v->alg_list) {
        v->algs = TG_ALGS_DEFAULT;
        return true;
    }
    while (more) {
        more = tg_slice_cut(rest, ',', &name, &rest);
        name = tg_slice_trim(name);
        if (!tg_alg_parse(name, &alg)) {
            tg_complain(0, "nothing verifies: \"%.*s\" is no algorithm to verify with",
                        name.len > 40 ? 40 : (int)name.len,
                        name.ptr);
            return false;
        }
        v->algs |= TG_ALG_BIT(alg);
    }
    if ((v->algs & TG_ALGS_HMAC) && (v->algs & ~TG_ALGS_HMAC)) {
        tg_complain(0, "nothing verifies: HS256, HS384 and HS512 cannot be mixed with other algorithms");
        return false;
    }
    return true;
}

static int read_own_keys(struct verifying *v)
{
    struct tg_buf text = {0};
    struct tg_err err;
    enum tg_status st = tg_file_read(v->jwks_file, KEYS_BYTES, &text, &err);
    const char *reason;

    if (st != TG_OK) {
        tg_buf_fini(&text);
        return tg_complain(TG_EXIT_USAGE, "%s", err.text);
    }
    if (tg_slice_starts_with(tg_buf_slice(&text), TG_S("-----BEGIN ")))
        st = tg_jwks_from_pem(tg_buf_slice(&text), &v->own, &err);
    else
        st = tg_jwks_parse(tg_buf_slice(&text), (v->algs & TG_ALGS_HMAC) != 0, &v->own, &err);
    tg_buf_fini(&text);
    if (st != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "nothing verifies: %s: %s", v->jwks_file, err.text);
    for (size_t i = 0; i < 8 && (reason = tg_jwks_skip_reason(v->own, i)); i++)
        fprintf(stderr, "warning: %s: skipped %s\n", v->jwks_file, reason);
    if (tg_jwks_count(v->own) == 0)
        return tg_complain(TG_EXIT_FAILURE, "nothing verifies: %s holds no usable key", v->jwks_file);
    v->keys = v->own;
    return TG_EXIT_OK;
}

static bool load_settings(struct verifying *v)
{
    struct tg_problems problems = {0};
    bool ok = tg_settings_load(tg_settings_path(v->config), &v->settings, &problems);

    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
    return ok;
}

static int unknown_provider(const struct tg_providers *providers, struct tg_slice issuer, const char *name)
{
    const char *names[TG_PROVIDERS_MAX], *near;
    struct tg_arena arena;

    if (!name)
        return tg_complain(TG_EXIT_FAILURE, "no configured provider has the token's issuer%s%.*s%s (RFC 7519 §4.1.1)",
                           issuer.ptr ? " \"" : "; it names none", issuer.len > 120 ? 120 : (int)issuer.len,
                           issuer.ptr ? issuer.ptr : "", issuer.ptr ? "\"" : "");
    tg_arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < providers->count; i++)
        names[i] = tg_arena_str(&arena, providers->items[i].name);
    near = tg_nearest(name, names, providers->count);
    tg_complain(TG_EXIT_USAGE, "there is no identity provider \"%.60s\"%s%s%s", name, near ? "; did you mean \"" : "",
                near ? near : "", near ? "\"?" : "");
    tg_arena_fini(&arena);
    return TG_EXIT_USAGE;
}

/* The provider named, or the one of the token's issuer. */
static int choose_provider(struct verifying *v, const cJSON *claims)
{
    const struct tg_providers *providers = &v->settings.config->providers;
    const struct tg_provider *found = NULL;
    struct tg_slice issuer = {0};
    struct tg_err err = {0};

    tg_json_str(tg_json_get(claims, "iss"), &issuer);
    for (size_t i = 0; i < providers->count && !found; i++)
        if (v->provider_name ? tg_slice_eq(providers->items[i].name, tg_slice_str(v->provider_name))
                             : issuer.ptr && tg_slice_eq(providers->items[i].issuer, issuer))
            found = &providers->items[i];
    if (!found)
        return unknown_provider(providers, issuer, v->provider_name);
    if (found->pats)
        return tg_complain(TG_EXIT_FAILURE, "personal access tokens are not signed: only the running process knows "
                           "them, and `tollgate token list` tells which there are");
    if (tg_fetched_keys(found, &v->own, &err) != TG_OK)
        return tg_complain(TG_EXIT_FAILURE, "%s", err.text);
    v->keys = v->own;
    v->algs = found->algs;
    v->rules = found->rules;
    v->name = tg_arena_str(&v->settings.config->arena, found->name);
    return TG_EXIT_OK;
}

/* ---- telling ---- */

/* One member a line; numbers as they were written. */
static void add_pretty(struct tg_buf *out, const char *title, const cJSON *node)
{
    const cJSON *member;

    tg_buf_addf(out, "%s\n{", title);
    cJSON_ArrayForEach(member, node) {
        tg_buf_adds(out, member == node->child ? "\n  " : ",\n  ");
        tg_json_add_string(out, tg_slice_str(member->string));
        tg_buf_adds(out, ": ");
        tg_json_print(out, member);
    }
    tg_buf_adds(out, "\n}\n\n");
}

static void add_time(struct tg_buf *out, const struct token_check *c, const char *claim, int64_t now_s)
{
    const cJSON *node = tg_json_get(c->claims, claim);
    double apart;

    if (!cJSON_IsNumber(node) || node->valuedouble < 0 || node->valuedouble > 253402300799.0)
        return;
    apart = node->valuedouble - (double)now_s;
    tg_buf_addf(out, "%s ", claim);
    tg_clock_add_s(out, (int64_t)node->valuedouble);
    tg_buf_addf(out, ", %.0f s %s", apart < 0 ? -apart : apart, apart < 0 ? "ago" : "from now");
}

/* What was found, in a few words behind the name of a rule. */
static void add_found(struct tg_buf *out, const struct verifying *v, const struct token_check *c, enum token_step step,
                      int64_t now_s)
{
    switch (step) {
    case TOKEN_ALGORITHM: tg_buf_addf(out, "%s, allowed here", tg_alg_name(c->jws.alg)); break;
    case TOKEN_KEY: tg_buf_adds(out, c->jws.kid.ptr ? "known by its kid" : "the only one that fits"); break;
    case TOKEN_ISSUER: tg_buf_adds(out, v->rules.issuer.len ? "exactly the one wanted" : "any: none is wanted"); break;
    case TOKEN_AUDIENCE:
        tg_buf_adds(out, v->rules.audience_count ? "one that is wanted" : "any: none is wanted");
        break;
    case TOKEN_SUBJECT: tg_buf_adds(out, "there"); break;
    case TOKEN_TYPE: tg_buf_adds(out, c->jws.typ.ptr ? "that of a JWT" : "not said"); break;
    case TOKEN_EXPIRES: add_time(out, c, "exp", now_s); break;
    case TOKEN_NOT_BEFORE: add_time(out, c, "nbf", now_s); break;
    case TOKEN_ISSUED: add_time(out, c, "iat", now_s); break;
    case TOKEN_LIFETIME: tg_buf_addf(out, "at most %lld s", (long long)v->rules.max_lifetime_s); break;
    case TOKEN_AGE: tg_buf_addf(out, "at most %lld s", (long long)v->rules.max_age_s); break;
    case TOKEN_REQUIRED:
    case TOKEN_FORM:
    case TOKEN_PAYLOAD:
    case TOKEN_SIGNATURE:
    case TOKEN_TIMES:
    case TOKEN_DONE: break;
    }
}

static void add_step(struct tg_buf *out, const struct verifying *v, const struct token_check *c, enum token_step step,
                     int64_t now_s)
{
    struct tg_buf found = {0};
    bool is_broken = step == c->broken;

    if (is_broken)
        tg_buf_addf(&found, "%s%s", c->err.text, step >= TOKEN_EXPIRES ? ": " : "");
    if (!is_broken || step >= TOKEN_EXPIRES)
        add_found(&found, v, c, step, now_s);
    tg_buf_addf(out, "  %-7s %-11s %s%s(%s)\n", is_broken ? "BROKEN" : "ok", token_step_name(step), tg_buf_cstr(&found),
                found.len ? " " : "", token_step_rule(step));
    tg_buf_fini(&found);
}

/* What a provider may ask beside, and this one does not. */
static bool is_asked(const struct verifying *v, enum token_step step)
{
    switch (step) {
    case TOKEN_PAYLOAD: return !v->signature_only;
    case TOKEN_REQUIRED: return v->rules.required_claim_count > 0;
    case TOKEN_LIFETIME: return v->rules.max_lifetime_s > 0;
    case TOKEN_AGE: return v->rules.max_age_s > 0;
    default: return true;
    }
}

static int report(const struct verifying *v, const struct token_check *c, int64_t now_s)
{
    struct tg_buf out = {0};
    enum token_step last = v->signature_only ? TOKEN_SIGNATURE : TOKEN_AGE;
    int code;

    if (c->jws.header)
        add_pretty(&out, "header", c->jws.header);
    if (c->claims)
        add_pretty(&out, c->broken > TOKEN_SIGNATURE ? "claims" : "claims (not vouched for)", c->claims);
    if (v->name)
        tg_buf_addf(&out, "rules of provider %s\n", v->name);
    else
        tg_buf_adds(&out, "rules\n");
    for (enum token_step step = TOKEN_FORM; step <= last && step <= c->broken; step++)
        if (is_asked(v, step))
            add_step(&out, v, c, step, now_s);
    if (c->broken == TOKEN_DONE)
        tg_buf_adds(&out, v->signature_only ? "\nthe signature is good\n" : "\nthe token is good\n");
    else
        tg_buf_addf(&out, "\nthe token is refused: %s\n", c->err.text);
    code = tg_put_out(&out);
    return c->broken == TOKEN_DONE ? code : TG_EXIT_FAILURE;
}

static int verify(struct verifying *v)
{
    int64_t now_s = tg_clock_wall_ms() / 1000;
    struct token_check c = {0};
    struct tg_buf token = {0};
    struct tg_arena arena;
    struct tg_err err;
    int code = TG_EXIT_OK;

    tg_arena_init(&arena, NULL, 0);
    if (token_read(v->token, &token, &err) != TG_OK) {
        code = tg_complain(err.status == TG_IO ? TG_EXIT_USAGE : TG_EXIT_FAILURE, "%s", err.text);
        goto out;
    }
    if (token_check_open(&c, tg_buf_slice(&token), v->signature_only, &arena)) {
        if (!v->keys)
            code = choose_provider(v, c.claims);
        if (code == TG_EXIT_OK && token_check_signature(&c, v->keys, v->algs) && !v->signature_only)
            token_check_claims(&c, &v->rules, now_s);
    }
    if (code == TG_EXIT_OK)
        code = report(v, &c, now_s);
out:
    token_check_fini(&c);
    tg_arena_fini(&arena);
    tg_buf_wipe(&token);
    return code;
}

int tg_cmd_verify(int argc, char **argv)
{
    struct verifying v = {0};
    int code;

    if (!read_options(&v, argc, argv))
        return v.o.code;
    if (!v.jwks_file)
        code = load_settings(&v) ? TG_EXIT_OK : TG_EXIT_CONFIG;
    else
        code = read_algs(&v) ? read_own_keys(&v) : TG_EXIT_FAILURE;
    if (code == TG_EXIT_OK)
        code = verify(&v);
    tg_jwks_unref(v.own);
    tg_settings_fini(&v.settings);
    return code;
}
