/*
 * tiers - who counts against what: the `rate_limits` section, a route's own, and which tier a request belongs to.
 *
 * The first tier whose `when` holds; the last ordinary one has no `when`. "unauthenticated" is reserved for requests
 * without a valid identity, counted by client address or by route. A tier has one to four windows; a request is
 * admitted when every one of them has room. Immutable after reading; memory from the arena. Threads: any.
 */
#pragma once
#include "base/setting.h"
#include "policy/ppl.h"

#define TG_TIER_WINDOWS 4
#define TG_WINDOW_MAX_S 86400u
#define TG_LIMIT_MAX 2147483647u                         /* requests in a window: what a counter holds */
#define TG_SLIDING_LIMIT_MAX 16777214u                   /* in a sliding one, whose counters are smaller */
#define TG_STORE_PREFIX_MAX 64u

enum tg_limit_by { TG_BY_SUBJECT, TG_BY_CLAIM, TG_BY_ADDRESS, TG_BY_ROUTE };
const char *tg_limit_by_name(enum tg_limit_by by);       /* "subject", "claim", "address", "route" */

struct tg_window {                                       /* one of a tier's */
    /* In RateLimit-Policy and the log: the tier's name; of several windows "authenticated-1s", "authenticated-1m". */
    struct tg_slice name;
    uint32_t limit;                                      /* requests per window; 1 .. TG_LIMIT_MAX */
    uint32_t length_s;                                   /* whole seconds, 1 .. TG_WINDOW_MAX_S */
    bool sliding;                                        /* else aligned to the epoch: minute-aligned for 1m */
    bool shadow;                                         /* counted, logged, never applied */
    bool sliding_said, shadow_said;                      /* by the tier itself: no section above it has a say */
    struct tg_slice claim;                               /* limit_claim: its number is the limit; empty: none ... */
    uint64_t claim_hash;
    uint32_t ceiling;                                    /* ... but never above this */
    uint64_t salt;                                       /* keys of tiers, routes and windows never meet; stays over a
                                                            reload that changes a limit; of this process */
    struct tg_slice path;                                /* the same for every tollgate: "route/tier/60/fixed", with "/"
                                                            of names escaped; for names of counters in a store */
};
struct tg_tier {
    struct tg_slice name;
    const struct tg_program *when;                       /* NULL: always */
    enum tg_limit_by by;
    struct tg_slice by_claim;                            /* BY_CLAIM: its name; who lacks it counts by subject */
    uint64_t by_claim_hash;
    const struct tg_window *windows;
    size_t window_count;                                 /* 1 .. TG_TIER_WINDOWS, the shortest first */
    struct tg_slice policy_field;                        /* RateLimit-Policy, ready; empty when a claim has a say */
};
struct tg_tiers {
    bool off;                                            /* rate_limits: off: nothing is counted, nothing told */
    bool section_sliding, section_shadow;                /* algorithm and mode of the section, for windows that say
                                                            none of their own */
    const struct tg_tier *items;                         /* in order, unauthenticated excluded */
    size_t count;
    struct tg_tier unauthenticated;                      /* by address or route */
};

enum tg_x_ratelimit { TG_X_RATELIMIT_EPOCH, TG_X_RATELIMIT_DELTA, TG_X_RATELIMIT_OFF };
struct tg_limit_settings {                               /* what is said once, for all routes */
    int x_ratelimit;                                     /* enum tg_x_ratelimit: what X-RateLimit-Reset is */
    bool ratelimit_fields;                               /* RateLimit and RateLimit-Policy too */
    bool upstream_stricter;                              /* upstream_x_ratelimit: its X-RateLimit-* win then */
    uint64_t max_keys;                                   /* counters in memory; read at start only */
    /* store */
    struct tg_slice store;                               /* redis://..., rediss://..., unix://...; empty: memory. May
                                                            hold a password: never logged as it is */
    struct tg_slice store_password, store_secret;        /* also from the files; empty: none */
    struct tg_slice store_ca_file;                       /* rediss: whom to trust; empty: the system's */
    struct tg_slice store_prefix;                        /* of every name in the store */
    int64_t store_timeout_ms;                            /* the longest a request waits for the store */
    bool store_fails_deny;                               /* when_store_fails: deny; else local */
};

/*
 * The general section. `node`: the rate_limits value; NULL: the three default tiers; the text "off" or false: off.
 * `settings` may be NULL (nobody asks).
 */
bool tg_tiers_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_tiers *out,
                   struct tg_limit_settings *settings, struct tg_problems *problems);
/*
 * A route's own `rate_limits`: off, or {mode, algorithm, tiers}. What it does not say is `general`'s: without ordinary
 * tiers of its own the general ones and their counters (which the route's mode may put in shadow, or out of it),
 * without an unauthenticated tier the general one. Tiers written there count apart from all others. While the general
 * limits are off both kinds must be written. `where`: "routes[2].rate_limits"; `route`: its name.
 */
bool tg_tiers_read_route(const struct tg_tree *tree, const cJSON *node, const char *where, struct tg_slice route,
                         const struct tg_tiers *general, struct tg_arena *arena, struct tg_tiers *out,
                         struct tg_problems *problems);
/* The tier of an identity. Never NULL unless off. */
const struct tg_tier *tg_tiers_pick(const struct tg_tiers *tiers, const struct tg_facts *facts);
/*
 * The limit of this window for a caller with these claims (NULL: none): the claim's whole number, not above the
 * ceiling; the window's own limit when the claim is absent or no whole number from 0 up. *from_claim (may be NULL):
 * whether the claim said it. 0 admits nobody.
 */
uint32_t tg_window_limit(const struct tg_window *window, const struct tg_claims *claims, bool *from_claim);
/* Whether every window of it is in shadow mode. */
bool tg_tier_is_shadow(const struct tg_tier *tier);
/* "authenticated 50/1s 1000/1m by subject, unauthenticated 100/1m by address": for the start-up line. */
void tg_tiers_describe(const struct tg_tiers *tiers, struct tg_buf *out);
void tg_window_describe(const struct tg_window *window, struct tg_buf *out); /* "1000/1m", "50/1s sliding" */
void tg_window_length_describe(uint32_t length_s, struct tg_buf *out); /* "1m", "90s", "24h" */

extern const struct tg_setting tg_rate_limit_settings[], tg_tier_settings[], tg_window_settings[],
    tg_route_limit_settings[];
extern const size_t tg_rate_limit_setting_count, tg_tier_setting_count, tg_window_setting_count,
    tg_route_limit_setting_count;
