/*
 * explain_token - whose token it is: form, issuer, route, signature and claims, as on a request.
 *
 * Keys of a remote provider are fetched, but only once a token of its issuer is to be verified. No token is told.
 */
#include "auth/authn.h"
#include "auth/bound.h"
#include "auth/introspect.h"
#include "auth/managers.h"
#include "auth/pat.h"
#include "auth/revoked.h"
#include "base/clock.h"
#include "base/json.h"
#include "explain.h"
#include "fetched_keys.h"
#include "token_check.h"
#include "token_words.h"

#define CREDENTIALS 4                                    /* more of them are as wrong as these */

struct asking {
    struct explain_result *r;
    struct tg_arena *arena;
    struct tg_claims **out;
    enum tg_credential_kind scheme;                      /* as it was sent; NONE: not said */
};

static const struct tg_provider *provider_of(const struct explain_result *r, const cJSON *claims)
{
    const struct tg_provider *p;
    struct tg_slice issuer;

    if (!tg_json_str(tg_json_get(claims, "iss"), &issuer))
        return NULL;
    p = tg_providers_of_issuer(&r->config->providers, issuer);
    return p && !p->pats ? p : NULL;                     /* what tollgate gives out itself is never signed */
}

static bool is_allowed(const struct explain_result *r, const struct tg_provider *p)
{
    return r->route->providers >> (p - r->config->providers.items) & 1;
}

static void refuse(const struct asking *a, enum tg_refusal refusal, struct tg_slice why)
{
    explain_stop(a->r, refusal, NULL);
    a->r->token_problem = tg_arena_dup(a->arena, why);
    if (a->r->status == 401)
        a->r->stopped = tg_arena_printf(a->arena, "the token is refused: " TG_S_FMT, TG_S_ARG(why)).ptr;
}

/* Which key, whose, and until when. */
static void tell_verified(const struct asking *a, const struct token_check *c, const struct tg_provider *p)
{
    char until[TG_TIME_TEXT];
    struct tg_buf text = {0};

    tg_clock_format(c->exp_s * 1000, until);
    tg_buf_addf(&text, "%s signature", tg_alg_name(c->jws.alg));
    if (c->jws.kid.len > 0) {
        tg_buf_adds(&text, " by key ");
        tg_buf_add_slice(&text, c->jws.kid);
    }
    tg_buf_adds(&text, ", keys ");
    if (p->local)
        tg_buf_adds(&text, "from the configuration");
    else if (p->jwks_url.len > 0)
        tg_buf_add_slice(&text, p->jwks_url);
    else
        tg_buf_adds(&text, "by discovery at the issuer");
    tg_buf_addf(&text, ", expires %s", until);
    if (p->introspection && p->introspection->always)
        tg_buf_adds(&text, "; the running process asks the provider, too (introspection: for: always)");
    a->r->verified = tg_arena_dup(a->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
}

/* ---- what is asked beside the claims ---- */

struct tg_slice explain_possession(const struct tg_route *route)
{
    switch (route->possession) {
    case TG_POSSESSION_ANY: return TG_S("the route takes only tokens that are bound to a key (proof_of_possession)");
    case TG_POSSESSION_DPOP:
        return TG_S("the route takes only tokens that are bound to a DPoP key (proof_of_possession)");
    case TG_POSSESSION_MTLS:
        return TG_S("the route takes only tokens that are bound to a client certificate (proof_of_possession)");
    default: return (struct tg_slice){NULL, 0};
    }
}

static void refuse_word(const struct asking *a, const char *name)
{
    const struct token_word *word = token_word_find(tg_slice_str(name));

    refuse(a, TG_REFUSE_INVALID, tg_slice_str(word ? word->means : name));
}

/* By what the token says of its key; the proof itself is one request's, and there is none. */
static void check_bound(const struct asking *a, const struct tg_identity *id)
{
    struct explain_result *r = a->r;
    struct tg_bound_request request = {.identity = id, .scheme = a->scheme, .certificate = r->request->certificate,
                                       .demanded = (enum tg_possession)r->route->possession};
    const char *reason;

    if (a->scheme == TG_CREDENTIAL_NONE)                 /* --token: sent as it has to be */
        request.scheme = id->jkt.len > 0 ? TG_CREDENTIAL_DPOP : TG_CREDENTIAL_BEARER;
    r->dpop = request.scheme == TG_CREDENTIAL_DPOP || id->jkt.len > 0;
    if (tg_bound_check(NULL, &request, &reason) == TG_BOUND_INVALID)
        refuse_word(a, reason);
    else if (id->jkt.len > 0)
        r->bound = TG_S("to a DPoP key: a request needs a fresh proof by it, which is not looked at here");
    else if (id->x5t.len > 0)
        r->bound = TG_S("to the client's certificate, which is the one shown");
}

/* A feed that cannot be read is the matter of `check`. */
static bool is_withdrawn(const struct asking *a, const struct tg_identity *id)
{
    struct tg_revocations *all;
    struct tg_revoked_view view = {0};
    bool found;

    if (a->r->config->revoked_tokens_file.len == 0)
        return false;
    all = tg_revocations_new();
    found = tg_revocations_bind(all, a->r->config->revoked_tokens_file, &(struct tg_err){0}) == TG_OK;
    tg_revoked_view_update(all, &view);
    found = found && tg_is_revoked(&view, id, a->r->request->wall_ms / 1000);
    tg_revoked_view_fini(&view);
    tg_revocations_free(all);
    return found;
}

/* As whom the verified claims make its bearer known. */
static void identify(const struct asking *a, const struct token_check *c, const struct tg_provider *p)
{
    static const uint8_t no_digest[TG_SHA256_LEN];
    const struct tg_identity *id = tg_identity_new(TG_IDENTITY_SIGNED, p, cJSON_Duplicate(c->claims, true), c->exp_s,
                                                   no_digest);

    if (!id) {
        refuse(a, TG_REFUSE_INVALID, TG_S("its claims are too large, or its cnf is none that is known"));
        return;
    }
    if (is_withdrawn(a, id))
        refuse_word(a, "revoked");
    else
        check_bound(a, id);
    tg_identity_unref(id);
    if (a->r->token_problem.ptr)
        return;
    *a->out = tg_claims_new(tg_identity_claims(p, cJSON_Duplicate(c->claims, true)));
    a->r->identity_from = "token";
    tell_verified(a, c, p);
}

/* ---- tokens that keys alone do not settle ---- */

/* Only the running process can tell. */
static void leave_open(const struct asking *a, struct tg_slice why)
{
    a->r->unjudged = tg_arena_str(a->arena, why);
    a->r->stopped = "what becomes of the request hangs on what the token is";
}

static void tell_pat(const struct asking *a, struct tg_slice token)
{
    const struct tg_provider *p = tg_providers_of_issuer(&a->r->config->providers, TG_S(TG_PAT_ISSUER));

    if (!tg_pat_is_wellformed(token))
        refuse_word(a, "pat-malformed");
    else if (!p || !is_allowed(a->r, p))
        refuse_word(a, "provider");
    else
        leave_open(a, TG_S("a personal access token can only be judged by the running process; give its owner's "
                           "claims instead (--claims, with \"iss\": \"" TG_PAT_ISSUER "\"), as `tollgate token "
                           "list` shows them"));
}

static void tell_opaque(const struct asking *a, const char *form)
{
    const struct explain_result *r = a->r;
    const struct tg_provider *p = NULL;
    size_t count = tg_providers_of_opaque(&r->config->providers, r->route->providers, &p);

    if (!r->route->accept_opaque || count == 0)
        refuse(a, TG_REFUSE_INVALID, tg_arena_printf(a->arena, "%s, and the route takes no opaque tokens "
                                                     "(accept_opaque)", form));
    else if (count > 1)
        refuse(a, TG_REFUSE_INVALID, tg_arena_printf(a->arena, "%s; of several providers that could be asked what it "
                                                     "is, none is (identity_providers of the route)", form));
    else
        leave_open(a, tg_arena_printf(a->arena, "an opaque token can only be judged by provider " TG_S_FMT ", which "
                                      "the running process asks; give the claims of its answer instead (--claims, "
                                      "with \"iss\": \"" TG_S_FMT "\")", TG_S_ARG(p->name), TG_S_ARG(p->issuer)));
}

/* ---- any token ---- */

static void verify_signed(const struct asking *a, struct token_check *c)
{
    struct explain_result *r = a->r;
    const struct tg_provider *p = provider_of(r, c->claims);
    struct tg_jwks *keys = NULL;
    struct tg_err err = {0};

    if (!p)
        refuse(a, TG_REFUSE_INVALID, TG_S("no configured provider has its issuer"));
    else if (!is_allowed(r, p))
        refuse(a, TG_REFUSE_INVALID, tg_arena_printf(a->arena, "the route does not take tokens of provider " TG_S_FMT,
                                                     TG_S_ARG(p->name)));
    else if (tg_fetched_keys(p, &keys, &err) != TG_OK)
        refuse(a, TG_REFUSE_NO_KEYS, tg_slice_str(err.text));
    else if (!token_check_signature(c, keys, p->algs) ||
             !token_check_claims(c, &p->rules, r->request->wall_ms / 1000))
        refuse(a, c->broken == TOKEN_EXPIRES ? TG_REFUSE_EXPIRED : TG_REFUSE_INVALID,
               tg_arena_printf(a->arena, "%s (%s)", c->err.text, token_step_rule(c->broken)));
    else
        identify(a, c, p);
    if (p)
        r->provider = p->name;
    tg_jwks_unref(keys);
}

static void verify(const struct asking *a, struct tg_slice token)
{
    struct token_check c;

    if (a->r->config->pats && tg_pat_has_prefix(token)) {
        tell_pat(a, token);
        return;
    }
    if (tg_api_token_is_wellformed(token)) {
        refuse_word(a, "api-token");
        return;
    }
    if (token_check_open(&c, token, false, a->arena))
        verify_signed(a, &c);
    else if (c.opaque)
        tell_opaque(a, c.err.text);
    else
        refuse(a, TG_REFUSE_INVALID, tg_slice_str(c.err.text));
    token_check_fini(&c);
}

void explain_token(struct explain_result *r, struct tg_slice token, struct tg_arena *arena, struct tg_claims **out)
{
    struct asking a = {r, arena, out, TG_CREDENTIAL_NONE};
    const struct tg_head *h = &r->request->head;
    struct tg_slice values[CREDENTIALS];
    struct tg_credential credential;
    size_t count = 0;

    *out = NULL;
    if (token.ptr)
        values[count++] = tg_arena_printf(arena, "Bearer " TG_S_FMT, TG_S_ARG(token));
    for (unsigned i = 0; i < h->field_count && count < CREDENTIALS; i++)
        if (h->fields[i].id == TG_FIELD_AUTHORIZATION)
            values[count++] = h->fields[i].value;
    tg_credential_classify(values, count, r->request->query, r->config->bounds.token, &credential);
    if (credential.kind == TG_CREDENTIAL_MALFORMED)
        refuse(&a, TG_REFUSE_CREDENTIAL, tg_slice_str(credential.what));
    if (credential.kind != TG_CREDENTIAL_BEARER && credential.kind != TG_CREDENTIAL_DPOP)
        return;
    if (!token.ptr)
        a.scheme = credential.kind;
    r->dpop = a.scheme == TG_CREDENTIAL_DPOP;
    verify(&a, credential.token);
}
