/*
 * explain_token - whose token it is: form, issuer, route, signature and claims, as on a request.
 *
 * Keys of a remote provider are fetched, but only once a token of its issuer is to be verified. No token is told.
 */
#include "auth/authn.h"
#include "base/clock.h"
#include "base/json.h"
#include "explain.h"
#include "fetched_keys.h"
#include "token_check.h"

#define CREDENTIALS 4                                    /* more of them are as wrong as these */

struct asking {
    struct explain_result *r;
    struct tg_arena *arena;
    struct tg_claims **out;
};

static const struct tg_provider *provider_of(const struct explain_result *r, const cJSON *claims)
{
    struct tg_slice issuer;

    if (!tg_json_str(tg_json_get(claims, "iss"), &issuer))
        return NULL;
    return tg_providers_of_issuer(&r->config->providers, issuer);
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
    a->r->verified = tg_arena_dup(a->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
}

static void verify(const struct asking *a, struct tg_slice token)
{
    struct explain_result *r = a->r;
    const struct tg_provider *p = NULL;
    struct tg_jwks *keys = NULL;
    struct tg_err err = {0};
    struct token_check c;

    if (!token_check_open(&c, token, false, a->arena))
        refuse(a, TG_REFUSE_INVALID, tg_slice_str(c.err.text));
    else if (!(p = provider_of(r, c.claims)))
        refuse(a, TG_REFUSE_INVALID, TG_S("no configured provider has its issuer"));
    else if (!is_allowed(r, p))
        refuse(a, TG_REFUSE_INVALID, tg_arena_printf(a->arena, "the route does not take tokens of provider " TG_S_FMT,
                                                     TG_S_ARG(p->name)));
    else if (tg_fetched_keys(p, &keys, &err) != TG_OK)
        refuse(a, TG_REFUSE_NO_KEYS, tg_slice_str(err.text));
    else if (!token_check_signature(&c, keys, p->algs) ||
             !token_check_claims(&c, &p->rules, r->request->wall_ms / 1000))
        refuse(a, c.broken == TOKEN_EXPIRES ? TG_REFUSE_EXPIRED : TG_REFUSE_INVALID,
               tg_arena_printf(a->arena, "%s (%s)", c.err.text, token_step_rule(c.broken)));
    else if (!(*a->out = tg_claims_new(cJSON_Duplicate(c.claims, true))))
        refuse(a, TG_REFUSE_INVALID, TG_S("its claims are too large"));
    else
        r->identity_from = "token";
    if (*a->out)
        tell_verified(a, &c, p);
    if (p)
        r->provider = p->name;
    tg_jwks_unref(keys);
    token_check_fini(&c);
}

void explain_token(struct explain_result *r, struct tg_slice token, struct tg_arena *arena, struct tg_claims **out)
{
    const struct asking a = {r, arena, out};
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
    else if (credential.kind == TG_CREDENTIAL_BEARER)
        verify(&a, credential.token);
}
