/*
 * authn - the verifier of a worker: cache, provider by `iss`, signature, claims; and who waits for keys.
 *
 * What costs a signature is looked up first by the token's SHA-256. Of a token that is not there nothing is said before
 * its signature was checked: junk does not learn whether it was expired or for another audience. Refused tokens are not
 * kept: a table anyone can fill would be worth little to the honest and much to the others.
 */
#include "auth/authn.h"
#include "auth/token_cache.h"
#include "base/json.h"
#include "base/metric.h"
#include <stdlib.h>

#define CLAIM_BYTES_PER_ENTRY ((size_t)4096)             /* on average, over all entries of a cache */
#define ARENA_BYTES 8192                                 /* a usual token, decoded */

struct waiter {                                          /* one request that waits for fresh keys */
    struct waiter *next, **prev;                         /* prev NULL: not in a list any more */
    struct tg_key_source *source;
    void (*done)(void *arg);                             /* NULL: cancelled after it was posted */
    void *arg;
};
struct tg_authn {
    struct tg_worker *worker;
    const struct tg_providers *providers;
    struct tg_key_view *views;                           /* one per provider; unused for local keys */
    struct tg_token_cache *cache;
    size_t counted;                                      /* entries as the gauge knows them */
    struct tg_series *hits, *misses, *entries;
    const struct tg_jwks *asked;                         /* in the last call; NULL: none */
    struct waiter *waiters;
};

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

static uint64_t generation_of(void *arg, const struct tg_provider *p)
{
    uint64_t generation;

    keys_of(arg, p, &generation);
    return generation;
}

/* ---- making and freeing ---- */

static struct tg_series *series(enum tg_metric_kind kind, const char *name, const char *help)
{
    return tg_metric_series(tg_metric_family(kind, name, help, ""), NULL);
}

struct tg_authn *tg_authn_new(struct tg_worker *w, const struct tg_providers *providers, size_t cache_entries)
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
    tg_assert(!a->waiters);
    tg_metric_add(a->entries, a->worker->index + 1, -(int64_t)a->counted);
    tg_token_cache_free(a->cache);
    for (size_t i = 0; i < a->providers->count; i++)
        tg_key_view_fini(&a->views[i]);
    free(a->views);
    free(a);
}

/* ---- waiting ---- */

static void unlink_waiter(struct waiter *waiter)
{
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    *waiter->prev = waiter->next;
    waiter->prev = NULL;
}

static void keys_came(struct tg_worker *w, void *arg)
{
    struct waiter *waiter = arg;

    (void)w;
    if (waiter->prev)
        unlink_waiter(waiter);
    if (waiter->done)
        waiter->done(waiter->arg);
    free(waiter);
}

/* False: it makes no sense to wait. */
static bool wait_for_keys(struct tg_authn *a, const struct tg_provider *p, void (*done)(void *arg), void *arg)
{
    struct waiter *waiter = TG_NEW(struct waiter);

    waiter->source = p->source;
    waiter->done = done;
    waiter->arg = arg;
    if (!tg_key_source_refetch(p->source, a->worker, keys_came, waiter)) {
        free(waiter);
        return false;
    }
    waiter->next = a->waiters;
    waiter->prev = &a->waiters;
    if (waiter->next)
        waiter->next->prev = &waiter->next;
    a->waiters = waiter;
    return true;
}

void tg_authn_cancel(struct tg_authn *a, void *arg)
{
    struct waiter *waiter = a->waiters;

    while (waiter && waiter->arg != arg)
        waiter = waiter->next;
    if (!waiter)
        return;
    unlink_waiter(waiter);
    if (tg_key_source_forget(waiter->source, waiter))
        free(waiter);
    else
        waiter->done = NULL;                             /* posted already: keys_came frees it */
}

/* ---- verifying ---- */

static enum tg_authn_result refuse(const char **reason, const char *word)
{
    *reason = word;
    return TG_AUTHN_INVALID;
}

static const struct tg_provider *provider_of(const struct tg_authn *a, const cJSON *claims)
{
    struct tg_slice issuer;

    return tg_json_str(tg_json_get(claims, "iss"), &issuer) ? tg_providers_of_issuer(a->providers, issuer) : NULL;
}

static bool is_allowed(const struct tg_authn *a, const struct tg_provider *p, uint64_t allowed)
{
    return allowed >> index_of(a, p) & 1;
}

/* TG_AUTHN_WAIT: the key is not known; the caller decides whether to wait. */
static enum tg_authn_result check_signature(struct tg_authn *a, const struct tg_provider *p, const struct tg_jws *jws,
                                            uint64_t *generation, const char **reason)
{
    const struct tg_jwks *keys = a->asked = keys_of(a, p, generation);

    if (!keys) {
        *reason = "no-keys";
        return TG_AUTHN_UNAVAILABLE;
    }
    switch (tg_jws_verify(jws, keys, p->algs, NULL)) {
    case TG_OK:
        return TG_AUTHN_OK;
    case TG_NOT_FOUND:
        *reason = "unknown-kid";
        return TG_AUTHN_WAIT;
    case TG_BAD_INPUT:
        return refuse(reason, "algorithm");
    default:
        return refuse(reason, "signature");
    }
}

/* As check_signature; an unknown key is asked for once. */
static enum tg_authn_result check_with_fresh_keys(struct tg_authn *a, const struct tg_provider *p,
                                                  const struct tg_jws *jws,
                                                  bool again, void (*done)(void *arg), void *arg, uint64_t *generation,
                                                  const char **reason)
{
    enum tg_authn_result result = check_signature(a, p, jws, generation, reason);

    if (result == TG_AUTHN_WAIT && !again && p->source) {
        if (wait_for_keys(a, p, done, arg))
            return TG_AUTHN_WAIT;
        result = check_signature(a, p, jws, generation, reason); /* others may have waited, and keys come, just now */
    }
    return result == TG_AUTHN_WAIT ? TG_AUTHN_INVALID : result;
}

static enum tg_authn_result accept(struct tg_authn *a, const struct tg_provider *p, cJSON *claims,
                                   const uint8_t digest[TG_SHA256_LEN], uint64_t generation, int64_t exp_s,
                                   const struct tg_identity **out, const char **reason)
{
    struct tg_claims *flat = tg_claims_new(claims);

    if (!flat)
        return refuse(reason, "payload");                /* names that grow beyond all bounds when flattened */
    const struct tg_identity *id = tg_identity_new(p, flat, exp_s, digest);
    int64_t leeway_s = p->rules.leeway_s;
    int64_t until_s = exp_s > INT64_MAX - leeway_s ? INT64_MAX : exp_s + leeway_s;

    tg_token_cache_put(a->cache, digest, id, generation, until_s, tg_identity_bytes(id));
    count_entries(a);
    *out = id;
    return TG_AUTHN_OK;
}

static enum tg_authn_result verify_anew(struct tg_authn *a, struct tg_slice token, const uint8_t digest[TG_SHA256_LEN],
                                        uint64_t allowed, int64_t now_s, bool again, void (*done)(void *arg), void *arg,
                                        const struct tg_identity **out, const char **reason)
{
    _Alignas(16) char block[ARENA_BYTES];
    struct tg_arena arena;
    struct tg_jws jws = {0};
    const struct tg_provider *p;
    cJSON *claims = NULL;
    enum tg_authn_result result;
    enum tg_jwt_fault fault;
    uint64_t generation;
    int64_t exp_s = 0;

    tg_arena_init(&arena, block, sizeof(block));
    if (tg_jws_split(token, &arena, &jws, NULL) != TG_OK) {
        tg_arena_fini(&arena);
        return refuse(reason, "malformed");
    }
    if (tg_jwt_claims(jws.payload, &claims, NULL) != TG_OK)
        result = refuse(reason, "payload");
    else if (!(p = provider_of(a, claims)))
        result = refuse(reason, "issuer");
    else if (!is_allowed(a, p, allowed))
        result = refuse(reason, "provider");
    else if ((result = check_with_fresh_keys(a, p, &jws, again, done, arg, &generation, reason)) == TG_AUTHN_OK) {
        fault = tg_jwt_check(claims, jws.typ, &p->rules, now_s, &exp_s, NULL);
        if (fault == TG_JWT_OK) {
            result = accept(a, p, claims, digest, generation, exp_s, out, reason);
            claims = NULL;                               /* the identity's now */
        } else {
            *reason = tg_jwt_fault_name(fault);
            result = fault == TG_JWT_EXPIRED ? TG_AUTHN_EXPIRED : TG_AUTHN_INVALID;
        }
    }
    cJSON_Delete(claims);
    tg_jws_fini(&jws);
    tg_arena_fini(&arena);
    return result;
}

enum tg_authn_result tg_authn_verify(struct tg_authn *a, struct tg_slice token, uint64_t allowed, int64_t now_ms,
                                     bool again,
                                     void (*done)(void *arg), void *arg, const struct tg_identity **out,
                                     const char **reason)
{
    unsigned cell = a->worker->index + 1;
    int64_t now_s = now_ms / 1000;
    uint8_t digest[TG_SHA256_LEN];
    const struct tg_identity *id;
    uint64_t generation;

    *reason = "ok";
    a->asked = NULL;
    tg_sha256(token, digest);
    id = tg_token_cache_get(a->cache, digest, now_s);
    if (!id) {
        if (!again)
            tg_metric_add(a->misses, cell, 1);
        return verify_anew(a, token, digest, allowed, now_s, again, done, arg, out, reason);
    }
    tg_metric_add(a->hits, cell, 1);
    if (!is_allowed(a, id->provider, allowed))
        return refuse(reason, "provider");
    a->asked = keys_of(a, id->provider, &generation);
    *out = tg_identity_ref(id);
    return TG_AUTHN_OK;
}

const char *tg_authn_key_set(const struct tg_authn *a)
{
    static const char none[TG_JWKS_DIGEST];

    return a->asked ? tg_jwks_digest(a->asked) : none;
}
