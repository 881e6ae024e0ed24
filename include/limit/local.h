/*
 * local - counters of this process, exact across workers (base/shard), and what a counter tells the client.
 *
 * Windows are fixed and aligned to the epoch (minute-aligned for 1m). IPv6 addresses count by /64. Threads: any.
 */
#pragma once
#include "base/ip.h"
#include "base/shard.h"
#include "limit/tiers.h"

struct tg_limiter;

struct tg_charge {
    const struct tg_tier *tier;                          /* NULL: no limit in force, no fields */
    bool admitted;                                       /* false: over the limit, in shadow mode too */
    uint32_t limit, remaining;
    int64_t reset_s;                                     /* epoch seconds when the window ends */
    uint32_t retry_after_s;                              /* ceil(reset - now), at least 1 */
};

struct tg_limiter *tg_limiter_new(size_t max_keys);
void tg_limiter_free(struct tg_limiter *l);
/* Counts one request, or with `look` only looks (admitted: whether one more would be). */
void tg_limiter_subject(struct tg_limiter *l, const struct tg_tier *tier, uint64_t identity_key, int64_t wall_ms,
                        bool look, struct tg_charge *out);
void tg_limiter_address(struct tg_limiter *l, const struct tg_tier *tier, const struct tg_ip *ip, int64_t wall_ms,
                        bool look, struct tg_charge *out);
size_t tg_limiter_keys(const struct tg_limiter *l);
