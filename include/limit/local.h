/*
 * local - counters of this process, exact across workers (base/shard).
 *
 * A request takes one of each window or of none: a window that is full is found by looking before anything is taken,
 * and what was taken is given back when another worker was faster. So never more than the limit is admitted; at the
 * edge one request may be refused for another that is refused too. Threads: any, lock-free.
 */
#pragma once
#include "limit/charge.h"

struct tg_local_limits;

/*
 * `max_keys`: counters of fixed windows that are all kept, at 48 octets of memory each; beyond them the least valuable
 * go. Those of sliding windows, when there are any, get as much memory again, which keeps a quarter as many. Memory is
 * taken as it is used.
 */
struct tg_local_limits *tg_local_limits_new(size_t max_keys);
void tg_local_limits_free(struct tg_local_limits *l);    /* NULL is fine */
/*
 * Counts one request, or with `look` only looks (admitted: whether one more would be). Fills in all of *out. `wall_ms`
 * before 1970 is 1970.
 */
void tg_local_charge(struct tg_local_limits *l, const struct tg_tier *tier, const struct tg_limit_key *key,
                     const struct tg_claims *claims, int64_t wall_ms, bool look, struct tg_charge *out);
/* One window, `cost` requests at once; 0 looks. */
bool tg_local_count(struct tg_local_limits *l, const struct tg_window *window, uint64_t key_hash, uint32_t limit,
                    int64_t wall_ms, uint32_t cost, struct tg_charge_window *out);

struct tg_local_state {
    size_t fixed_keys, sliding_keys;                     /* in use, about */
    uint64_t evicted, overflowed;                        /* keys that lost their counter; requests counted together */
};
void tg_local_state(const struct tg_local_limits *l, struct tg_local_state *out);
