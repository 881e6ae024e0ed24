/*
 * keys - remote key sets: discovery, fetch, refresh ahead of time, refetch on an unknown kid, bounded staleness.
 *
 * One tg_keys per process, on the control worker. A source is fetched at start, then by Cache-Control (60 s to 1 h,
 * with jitter; 5 min when not said); a failure keeps the last good set (retry with back-off 1 s to 60 s; to 4 s while
 * there is no set at all, so that a provider that comes back is noticed at once); after max_stale without a good fetch
 * the set is withdrawn. A good answer without any usable key is obeyed: all keys are withdrawn. An unknown kid asks for
 * a refetch at most every 10 s for all kids together, and not again within a minute when the answer did not bring it:
 * one client with an old token does not use up what a new key's first token needs. The last good sets are kept in
 * state_dir (when given) and used at start when the provider is away.
 */
#pragma once
#include "auth/providers.h"
#include "io/fetch.h"

struct tg_keys;

struct tg_keys *tg_keys_new(struct tg_worker *control, struct tg_fetcher *fetcher, const char *state_dir);
void tg_keys_free(struct tg_keys *keys);                 /* on the control thread */
/*
 * Gives every remote provider its source, old ones kept when issuer, URL and CA are the same. Control thread. The
 * providers hold a reference until tg_providers_fini; a source nobody refers to is not fetched any more.
 */
void tg_keys_bind(struct tg_keys *keys, struct tg_providers *providers);

/* ---- any thread ---- */
struct tg_key_view {                                     /* a worker's view of one source */
    struct tg_jwks *set;                                 /* NULL: no usable keys now */
    uint64_t version;                                    /* moves with every publication */
    uint64_t generation;                                 /* moves only when a key vanished or changed */
};
/* Brings the view up to date; costs one atomic load when nothing changed. Zeroed view: first time. */
void tg_key_view_update(struct tg_key_source *source, struct tg_key_view *view);
void tg_key_view_fini(struct tg_key_view *view);
/*
 * Asks for fresh keys because `kid` (empty: none named) is unknown. False: asked for less than 10 s ago and answered,
 * or known to be absent, so there is no hope. True: a fetch runs; `done(arg)` will be posted to `w` when it ended (well
 * or not), once.
 */
bool tg_key_source_refetch_for(struct tg_key_source *source, struct tg_slice kid, struct tg_worker *w,
                               void (*done)(struct tg_worker *w, void *arg), void *arg);
/* Takes such a request back. True: `done` of that arg will not be called; false: it was posted already. */
bool tg_key_source_forget(struct tg_key_source *source, const void *arg);
bool tg_keys_ready(struct tg_keys *keys);                /* every source has usable keys */
/* One line a source, for readiness: keys, their age, when they are asked for next, what fails how often. */
void tg_keys_describe(struct tg_keys *keys, struct tg_buf *out);
