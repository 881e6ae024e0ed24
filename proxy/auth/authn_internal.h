/*
 * authn_internal - what the files of the verifier share.
 */
#pragma once
#include "auth/authn.h"
#include "auth/introspect.h"
#include "auth/pat.h"
#include "auth/revoked.h"
#include "auth/token_cache.h"
#include "base/metric.h"
#include <stdlib.h>

/* Whom a request has waited for; it waits for keys and for an answer once at most. */
enum { TG_WAITED_KEYS = 1, TG_WAITED_ANSWER = 2, TG_WAITED_STORE = 4 };
#define TG_WAITS_MAX 4                                   /* a store that changes all the time: then 503 */
#define TG_WAITER_BUCKETS 64

struct tg_waited {
    const void *arg;                                     /* of the request */
    unsigned kinds, times;
};
struct tg_authn_waiter;

struct tg_authn {
    struct tg_worker *worker;
    const struct tg_providers *providers;
    struct tg_key_view *views;                           /* one per provider; unused for local keys */
    struct tg_token_cache *cache;
    size_t counted;                                      /* entries as the gauge knows them */
    struct tg_series *hits, *misses, *entries;
    const struct tg_jwks *asked;                         /* in the last call; NULL: none */
    struct tg_authn_waiter *waiters[TG_WAITER_BUCKETS];  /* by their arg: thousands may go away together */
    struct tg_waited told;                               /* whose `done` was called last */
    uint64_t opaque;                                     /* bits of the providers that take opaque tokens */
    const struct tg_provider *pat_provider;              /* NULL: personal access tokens are off */
    const struct tg_pats *pats;                          /* NULL: off, or not to be had */
    struct tg_pat_view *pat_view;
    struct tg_revocations *revocations;                  /* NULL: none */
    struct tg_revoked_view revoked;
};

/* One call of tg_authn_verify about a token that is in no cache. */
struct tg_asking {
    struct tg_authn *a;
    const struct tg_authn_request *request;
    const uint8_t *digest;
    int64_t now_s;
    struct tg_waited waited;
    const struct tg_identity **out;
    const char **reason;
};

static inline enum tg_authn_result tg_authn_say(const struct tg_asking *q, enum tg_authn_result result,
                                                const char *word)
{
    *q->reason = word;
    return result;
}

/* ---- authn.c ---- */
bool tg_authn_allows(const struct tg_authn *a, const struct tg_provider *p, uint64_t allowed);
/*
 * The end of every way: claims that are vouched for (taken over) become an identity, which is kept while `generation`
 * holds and `until_s` is not reached, and refused when it was withdrawn.
 */
enum tg_authn_result tg_authn_accept(const struct tg_asking *q, enum tg_identity_kind kind, const struct tg_provider *p,
                                     cJSON *claims, uint64_t generation, int64_t exp_s, int64_t until_s);

/* ---- authn_ask.c: whoever else has to be asked ---- */
/* A signed token's claims with what its provider says of it now: *claims and *exp_s are changed. */
enum tg_authn_result tg_authn_confirm(const struct tg_asking *q, const struct tg_provider *p, cJSON *claims,
                                      int64_t *exp_s, int64_t *until_s);
enum tg_authn_result tg_authn_verify_opaque(const struct tg_asking *q);
enum tg_authn_result tg_authn_verify_pat(const struct tg_asking *q);

/* ---- authn_wait.c ---- */
/* Each: false, and nobody waits: it makes no sense, or it was done before. *refused: why the provider is not asked. */
bool tg_authn_wait_keys(const struct tg_asking *q, const struct tg_provider *p, struct tg_slice kid);
bool tg_authn_wait_answer(const struct tg_asking *q, struct tg_introspection *i, enum tg_vouched vouched,
                          enum tg_introspect_asking *refused);
bool tg_authn_wait_store(const struct tg_asking *q);
