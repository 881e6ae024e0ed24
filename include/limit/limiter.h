/*
 * limiter - the one question of the gate: may this request, of this caller, under this tier?
 *
 * In memory the answer is there at once. With a store (Redis) permits are leased ahead, so nearly always too; when
 * there is none left the request waits for the store, at most store_timeout, and never while the store is known to be
 * away: then this process counts alone (when_store_fails: local) or admits nobody without a permit (deny).
 * Threads: one tg_limiter per process, for all; one tg_limit_worker per worker, its thread only.
 */
#pragma once
#include "io/resolve.h"
#include "limit/charge.h"
#include "limit/local.h"

struct tg_limiter;
struct tg_limit_worker;

struct tg_limiter *tg_limiter_new(size_t max_keys);
void tg_limiter_free(struct tg_limiter *l);              /* after its workers; NULL is fine */

/* `resolver` is the worker's. Counts in memory until bound. */
struct tg_limit_worker *tg_limit_worker_new(struct tg_limiter *l, struct tg_worker *w, struct tg_resolver *resolver);
/* Gives back the permits it holds, if the store answers at once; who waits is not called. NULL is fine. */
void tg_limit_worker_free(struct tg_limit_worker *lw);
/*
 * The store of a new configuration; `settings` live as long as they are bound. The same store keeps its link and its
 * permits; who waits for another one has `done` called, to ask again. Called when the configuration is bound to the
 * worker, from its thread and loop.
 */
void tg_limit_worker_bind(struct tg_limit_worker *lw, const struct tg_limit_settings *settings);

struct tg_limit_ask {                                    /* one request's question; in the exchange, zero at first */
    const struct tg_tier *tier;
    struct tg_limit_caller caller;
    int64_t wall_ms;
    void (*done)(void *arg);                             /* from the loop, never from inside tg_limit_charge */
    void *arg;
    struct tg_limit_wait *wait;                          /* private: NULL: it does not wait */
};
/*
 * Counts one request. True: *out is the answer. False: `done` will be called, and asking again then gives the answer
 * (true); until then the ask stays where it is, and its slices stay valid.
 */
bool tg_limit_charge(struct tg_limit_worker *lw, struct tg_limit_ask *ask, struct tg_charge *out);
void tg_limit_cancel(struct tg_limit_worker *lw, struct tg_limit_ask *ask); /* no call any more; idempotent */
/*
 * Counts one request that is answered whatever the count is (a 400, a 404): never waits; out->admitted says whether it
 * was within the limit, as far as is known here.
 */
void tg_limit_note(struct tg_limit_worker *lw, const struct tg_limit_ask *ask, struct tg_charge *out);
/* Whether one more would be admitted, as far as is known here; counts nothing, never waits. */
bool tg_limit_has_room(struct tg_limit_worker *lw, const struct tg_limit_ask *ask);

/* For metrics and readiness; of the whole process. */
struct tg_limit_state {
    struct tg_local_state local;
    bool store_used;                                     /* a configuration with a store is bound */
    unsigned links, links_up;                            /* of the workers */
};
void tg_limiter_state(const struct tg_limiter *l, struct tg_limit_state *out);
void tg_limiter_describe(struct tg_limiter *l, struct tg_buf *out); /* one line a store, for readiness */
