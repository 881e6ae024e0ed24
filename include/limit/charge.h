/*
 * charge - what the counters said of one request, and the one story that is told of it.
 *
 * A tier's windows are counted one by one; the client is told of one of them (`telling`): of a refused request the full
 * window that ends last, so that waiting for it is enough; else the one with the fewest requests left, of those the one
 * that ends last. Windows in shadow mode are told of only when the tier has no others. Pure: no clock, no store.
 */
#pragma once
#include "base/ip.h"
#include "limit/tiers.h"

enum tg_counter {                                        /* who counted */
    TG_COUNTER_NONE,
    TG_COUNTER_MEMORY,                                   /* of this process, for all its workers */
    TG_COUNTER_REDIS,                                    /* shared with others, by permits on lease */
    TG_COUNTER_LOCAL,                                    /* the store is away: this process on its own */
};
const char *tg_counter_name(enum tg_counter counter);    /* "none", "memory", "redis", "local" */

struct tg_charge_window {
    const struct tg_window *window;
    uint32_t limit;                                      /* for this caller: see tg_window_limit */
    uint32_t remaining;                                  /* how many more would be admitted now */
    bool full;                                           /* this request was one too many */
    /*
     * Epoch milliseconds when there is more to be had. Fixed: the end of the window. Sliding: when the oldest counted
     * requests fall out; when full, when one more would be admitted.
     */
    int64_t reset_ms;
};
struct tg_charge {
    const struct tg_tier *tier;                          /* NULL: no limit in force, no fields */
    bool admitted;                                       /* false: to be refused (with `failed`: 503, else 429) */
    bool shadow_full;                                    /* a window in shadow mode was full */
    bool failed;                                         /* the store is away and when_store_fails is deny: none are
                                                            left, for a moment */
    uint8_t counter;                                     /* enum tg_counter */
    uint8_t by;                                          /* enum tg_limit_by: what it was counted by in fact */
    uint8_t count, telling;
    struct tg_charge_window windows[TG_TIER_WINDOWS];    /* as in the tier */
    /* the telling window's */
    uint32_t limit, remaining;                           /* remaining 0 when refused */
    int64_t reset_s;                                     /* epoch seconds, rounded up */
    uint32_t retry_after_s;                              /* ceil(reset - now), at least 1 ... */
    int64_t at_ms;                                       /* ... and the now it was told at, epoch milliseconds */
};

/* Fills in all that follows from tier, windows and `failed`. */
void tg_charge_settle(struct tg_charge *charge, int64_t wall_ms);

/* ---- whose counter it is ---- */

struct tg_limit_caller {                                 /* borrowed; as much of it as is known */
    uint64_t identity_key;                               /* hash of issuer and subject; 0: no identity */
    struct tg_slice issuer, subject;
    const struct tg_claims *claims;                      /* NULL: none */
    struct tg_ip ip;                                     /* IPv6 counts by /64; family 0 (a unix socket): all as one */
    struct tg_slice route;                               /* name; empty: none */
};
struct tg_limit_key {
    uint64_t hash;                                       /* of tg_hash: in this process only; never 0 */
    enum tg_limit_by by;                                 /* subject when the tier's claim is absent or no scalar */
};
void tg_limit_key_of(const struct tg_tier *tier, const struct tg_limit_caller *caller, struct tg_limit_key *out);
/*
 * The key as octets that are the same in every tollgate, each part with its length before it: to be digested with a
 * secret for a store. Not to be shown.
 */
void tg_limit_key_text(const struct tg_tier *tier, const struct tg_limit_caller *caller, struct tg_buf *out);
