/*
 * authn - the verifier of a worker: cache, then the token's own way; and the way of signed ones: provider by `iss`,
 * signature, claims.
 *
 * What costs a signature is looked up first by the token's SHA-256. Of a token that is not there nothing is said before
 * its signature was checked: junk does not learn whether it was expired or for another audience. Refused tokens are not
 * kept: a table anyone can fill would be worth little to the honest and much to the others. Only one that was withdrawn
 * is: it was vouched for, and to find that out again costs the same each time.
 */
#include "authn_internal.h"
#include "auth/managers.h"
#include "base/json.h"

#define CLAIM_BYTES_PER_ENTRY ((size_t)4096)             /* on average, over all entries of a cache */
#define ARENA_BYTES 8192                                 /* a usual token, decoded */

/* ---- keys of a provider, as this worker sees them ---- */

static size_t index_of(const struct tg_authn *a, const struct tg_provider *p)
{
    return (size_t)(p - a->providers->items);
}

static const struct tg_jwks *keys_of(struct tg_authn *a, const struct tg_provider *p, uint64_t *generation)
{
    struct tg_key_view *view = &a->views[index_of(a, p)];

    *generation = 0;
    if (p->local)
        return p->local;
    if (!p->source)
        return NULL;
    tg_key_view_update(p->source, view);
    *generation = view->generation;
    return view->set;
}

/* An answer about an opaque token ends by the clock alone. */
static uint64_t generation_of(void *arg, const struct tg_identity *id)
{
    struct tg_authn *a = arg;
    uint64_t generation = 0;

    if (id->kind == TG_IDENTITY_SIGNED)
        keys_of(a, id->provider, &generation);
    else if (id->kind == TG_IDENTITY_PAT)
        generation = tg_pat_generation(a->pats);
    return generation;
}

/* ---- making and freeing ---- */

static struct tg_series *series(enum tg_metric_kind kind, const char *name, const char *help)
{
    return tg_metric_series(tg_metric_family(kind, name, help, ""), NULL);
}

static void take_services(struct tg_authn *a, const struct tg_auth_services *services)
{
    const struct tg_provider *first;

    for (size_t i = 0; i < a->providers->count; i++) {
        a->opaque |= (uint64_t)tg_providers_of_opaque(a->providers, UINT64_C(1) << i, &first) << i;
        if (a->providers->items[i].pats)
            a->pat_provider = &a->providers->items[i];
    }
    if (a->pat_provider && services->pats) {
        a->pats = services->pats;
        a->pat_view = tg_pat_view_new(services->pats, a->worker);
    }
    a->revocations = services->revocations;
}

struct tg_authn *tg_authn_new(struct tg_worker *w, const struct tg_providers *providers,
                              const struct tg_auth_services *services, size_t cache_entries)
{
    struct tg_authn *a = TG_NEW(struct tg_authn);

    tg_assert(providers->count <= TG_PROVIDERS_MAX);
    a->worker = w;
    a->providers = providers;
    a->views = TG_NEW_ARRAY(struct tg_key_view, providers->count + 1);
    a->cache = tg_token_cache_new(cache_entries, cache_entries * CLAIM_BYTES_PER_ENTRY, generation_of, a);
    a->hits = series(TG_COUNTER, "tollgate_token_cache_hits_total", "Tokens found among those verified a moment ago.");
    a->misses = series(TG_COUNTER, "tollgate_token_cache_misses_total", "Tokens that had to be verified.");
    a->entries = series(TG_GAUGE, "tollgate_token_cache_entries", "Verified tokens kept, all workers together.");
    take_services(a, services);
    return a;
}

static void count_entries(struct tg_authn *a)
{
    size_t now = tg_token_cache_count(a->cache);

    tg_metric_add(a->entries, a->worker->index + 1, (int64_t)now - (int64_t)a->counted);
    a->counted = now;
}

void tg_authn_free(struct tg_authn *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < TG_WAITER_BUCKETS; i++)
        tg_assert(!a->waiters[i]);
    tg_metric_add(a->entries, a->worker->index + 1, -(int64_t)a->counted);
    tg_token_cache_free(a->cache);
    for (size_t i = 0; i < a->providers->count; i++)
        tg_key_view_fini(&a->views[i]);
    if (a->pat_view)
        tg_pat_view_free(a->pat_view);
    tg_revoked_view_fini(&a->revoked);
    free(a->views);
    free(a);
}

/* ---- whom a route takes, and who was withdrawn ---- */

bool tg_authn_allows(const struct tg_authn *a, const struct tg_provider *p, uint64_t allowed)
{
    return allowed >> index_of(a, p) & 1;
}

/* A token that another route put into the cache is as good here as if it had come here first. */
static const char *trouble_here(const struct tg_authn *a, const struct tg_identity *id,
                                const struct tg_authn_request *r)
{
    if (!tg_authn_allows(a, id->provider, r->allowed))
        return "provider";
    if (id->kind == TG_IDENTITY_INTROSPECTED &&
        (!r->accept_opaque || (r->allowed & a->opaque) != UINT64_C(1) << index_of(a, id->provider)))
        return "opaque";
    return NULL;
}

/* `stamp`: which set it was looked up in last: one that was not in a set is not in it later. */
static bool is_withdrawn(struct tg_authn *a, const struct tg_identity *id, int64_t now_s, uint64_t *stamp)
{
    if (!a->revocations)
        return false;
    tg_revoked_view_update(a->revocations, &a->revoked);
    if (*stamp == a->revoked.version)
        return false;
    if (tg_is_revoked(&a->revoked, id, now_s))
        return true;
    *stamp = a->revoked.version;
    return false;
}

/* ---- the end of every way ---- */

static int64_t sum(int64_t a, int64_t b)
{
    return a > INT64_MAX - b ? INT64_MAX : a + b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

enum tg_authn_result tg_authn_accept(const struct tg_asking *q, enum tg_identity_kind kind, const struct tg_provider *p,
                                     cJSON *claims, uint64_t generation, int64_t exp_s, int64_t until_s)
{
    const struct tg_identity *id = tg_identity_new(kind, p, claims, exp_s, q->digest);
    const struct tg_jwt_rules *rules = &p->rules;
    uint64_t stamp = TG_TOKEN_CACHE_NEW;

    if (!id)
        return tg_authn_say(q, TG_AUTHN_INVALID, "payload");
    until_s = least(until_s, sum(exp_s, rules->leeway_s));
    if (rules->max_age_s && id->iat_s >= 0)
        until_s = least(until_s, id->iat_s + rules->max_age_s + rules->leeway_s);
    if (until_s > q->now_s) {
        tg_token_cache_put(q->a->cache, q->digest, id, generation, until_s, tg_identity_bytes(id));
        count_entries(q->a);
    }
    if (is_withdrawn(q->a, id, q->now_s, &stamp)) {
        tg_identity_unref(id);
        return tg_authn_say(q, TG_AUTHN_INVALID, "revoked");
    }
    *q->out = id;
    return TG_AUTHN_OK;
}

/* ---- signed tokens ---- */

static const struct tg_provider *provider_of(const struct tg_authn *a, const cJSON *claims)
{
    const struct tg_provider *p = NULL;
    struct tg_slice issuer;

    if (tg_json_str(tg_json_get(claims, "iss"), &issuer))
        p = tg_providers_of_issuer(a->providers, issuer);
    return p && !p->pats ? p : NULL;                     /* what tollgate gives out itself is never signed */
}

/* TG_AUTHN_WAIT: the key is not known; the caller decides whether to wait. */
static enum tg_authn_result check_signature(const struct tg_asking *q, const struct tg_provider *p,
                                            const struct tg_jws *jws, uint64_t *generation)
{
    const struct tg_jwks *keys = q->a->asked = keys_of(q->a, p, generation);

    if (!keys)
        return tg_authn_say(q, TG_AUTHN_UNAVAILABLE, "no-keys");
    switch (tg_jws_verify(jws, keys, p->algs, NULL)) {
    case TG_OK:
        return TG_AUTHN_OK;
    case TG_NOT_FOUND:
        return tg_authn_say(q, TG_AUTHN_WAIT, "unknown-kid");
    case TG_BAD_INPUT:
        return tg_authn_say(q, TG_AUTHN_INVALID, "algorithm");
    default:
        return tg_authn_say(q, TG_AUTHN_INVALID, "signature");
    }
}

/* As check_signature; an unknown key is asked for once. */
static enum tg_authn_result check_with_fresh_keys(const struct tg_asking *q, const struct tg_provider *p,
                                                  const struct tg_jws *jws, uint64_t *generation)
{
    enum tg_authn_result result = check_signature(q, p, jws, generation);

    if (result == TG_AUTHN_WAIT && !(q->waited.kinds & TG_WAITED_KEYS) && p->source) {
        if (tg_authn_wait_keys(q, p, jws->kid.ptr ? jws->kid : TG_S("")))
            return TG_AUTHN_WAIT;
        result = check_signature(q, p, jws, generation); /* others may have waited, and keys come, just now */
    }
    return result == TG_AUTHN_WAIT ? TG_AUTHN_INVALID : result;
}

/* Its signature is good. *claims: NULL from when they are the identity's. */
static enum tg_authn_result check_claims(const struct tg_asking *q, const struct tg_provider *p,
                                         const struct tg_jws *jws, uint64_t generation, cJSON **claims)
{
    int64_t exp_s = 0, until_s = INT64_MAX;
    enum tg_jwt_fault fault = tg_jwt_check(*claims, jws->typ, &p->rules, q->now_s, &exp_s, NULL);
    cJSON *checked = *claims;

    if (fault != TG_JWT_OK)
        return tg_authn_say(q, fault == TG_JWT_EXPIRED ? TG_AUTHN_EXPIRED : TG_AUTHN_INVALID,
                            tg_jwt_fault_name(fault));
    if (p->introspection && p->introspection->always) {
        enum tg_authn_result result = tg_authn_confirm(q, p, checked, &exp_s, &until_s);

        if (result != TG_AUTHN_OK)
            return result;
    }
    *claims = NULL;
    return tg_authn_accept(q, TG_IDENTITY_SIGNED, p, checked, generation, exp_s, until_s);
}

static enum tg_authn_result verify_signed(const struct tg_asking *q, const struct tg_jws *jws)
{
    const struct tg_provider *p;
    cJSON *claims = NULL;
    enum tg_authn_result result;
    uint64_t generation;

    if (tg_jwt_claims(jws->payload, &claims, NULL) != TG_OK)
        return tg_authn_say(q, TG_AUTHN_INVALID, "payload");
    if (!(p = provider_of(q->a, claims)))
        result = tg_authn_say(q, TG_AUTHN_INVALID, "issuer");
    else if (!tg_authn_allows(q->a, p, q->request->allowed))
        result = tg_authn_say(q, TG_AUTHN_INVALID, "provider");
    else if ((result = check_with_fresh_keys(q, p, jws, &generation)) == TG_AUTHN_OK)
        result = check_claims(q, p, jws, generation, &claims);
    cJSON_Delete(claims);
    return result;
}

/*
 * Whether a token that cannot be taken apart was meant to be a signed one: three parts, and the first is the beginning
 * of a JSON object. It may be a good token of somebody else, so it is shown to nobody.
 */
static bool looks_signed(struct tg_slice token)
{
    char start[64];                                      /* of the header, in either alphabet of base64 */
    uint8_t text[sizeof(start)];
    struct tg_slice head, rest, body;
    size_t n = 0, len, i = 0;

    if (!tg_slice_cut(token, '.', &head, &rest) || !tg_slice_cut(rest, '.', &body, &rest) ||
        memchr(rest.ptr, '.', rest.len))
        return false;
    for (; n < head.len && n < sizeof(start) && head.ptr[n] != '=' && head.ptr[n] != '~'; n++)
        start[n] = head.ptr[n] == '+' ? '-' : (char)(head.ptr[n] == '/' ? '_' : head.ptr[n]);
    while (n % 4)
        start[n++] = 'A';                                /* a whole group: a part of one has several spellings */
    if (!tg_base64url_decode(tg_slice(start, n), text, &len))
        return false;
    while (i < len && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r'))
        i++;
    return i < len && text[i] == '{';
}

/* ---- any token ---- */

static enum tg_authn_result verify_anew(const struct tg_asking *q)
{
    _Alignas(16) char block[ARENA_BYTES];
    struct tg_slice token = q->request->token;
    struct tg_arena arena;
    struct tg_jws jws = {0};
    enum tg_authn_result result;

    if (q->a->pat_provider && tg_pat_has_prefix(token))
        return tg_authn_verify_pat(q);
    if (tg_api_token_is_wellformed(token))               /* of the management API alone; no provider is shown it */
        return tg_authn_say(q, TG_AUTHN_INVALID, "api-token");
    tg_arena_init(&arena, block, sizeof(block));
    if (tg_jws_split(token, &arena, &jws, NULL) == TG_OK) {
        result = verify_signed(q, &jws);
        tg_jws_fini(&jws);
    } else if (looks_signed(token)) {
        result = tg_authn_say(q, TG_AUTHN_INVALID, "malformed");
    } else {
        result = tg_authn_verify_opaque(q);
    }
    tg_arena_fini(&arena);
    return result;
}

/* Whom this request has waited for. Asked again by somebody who was not told: it waits for nobody any more. */
static struct tg_waited waited_of(const struct tg_authn *a, const struct tg_authn_request *r)
{
    if (!r->again)
        return (struct tg_waited){0};
    if (a->told.times > 0 && a->told.arg == r->arg)
        return a->told;
    return (struct tg_waited){r->arg, TG_WAITED_KEYS | TG_WAITED_ANSWER | TG_WAITED_STORE, TG_WAITS_MAX};
}

static enum tg_authn_result accept_known(struct tg_authn *a, const struct tg_identity *id,
                                         const struct tg_authn_request *r, uint64_t *stamp,
                                         const struct tg_identity **out, const char **reason)
{
    const char *trouble = trouble_here(a, id, r);
    uint64_t generation;

    if (!trouble && id->kind == TG_IDENTITY_SIGNED)
        a->asked = keys_of(a, id->provider, &generation);
    if (!trouble && is_withdrawn(a, id, r->now_ms / 1000, stamp))
        trouble = "revoked";
    if (trouble) {
        *reason = trouble;
        return TG_AUTHN_INVALID;
    }
    if (id->kind == TG_IDENTITY_PAT)
        tg_pat_view_used(a->pat_view, id->digest, r->now_ms);
    *out = tg_identity_ref(id);
    return TG_AUTHN_OK;
}

enum tg_authn_result tg_authn_verify(struct tg_authn *a, const struct tg_authn_request *r,
                                     const struct tg_identity **out, const char **reason)
{
    unsigned cell = a->worker->index + 1;
    uint8_t digest[TG_SHA256_LEN];
    const struct tg_identity *id;
    uint64_t *stamp;

    *reason = "ok";
    a->asked = NULL;
    tg_sha256(r->token, digest);
    id = tg_token_cache_get(a->cache, digest, r->now_ms / 1000, &stamp);
    if (id) {
        tg_metric_add(a->hits, cell, 1);
        return accept_known(a, id, r, stamp, out, reason);
    }
    if (!r->again)
        tg_metric_add(a->misses, cell, 1);

    const struct tg_asking q = {a, r, digest, r->now_ms / 1000, waited_of(a, r), out, reason};

    return verify_anew(&q);
}

const char *tg_authn_key_set(const struct tg_authn *a)
{
    static const char none[TG_JWKS_DIGEST];

    return a->asked ? tg_jwks_digest(a->asked) : none;
}
