/*
 * tiers_internal - what the files that read `rate_limits` share.
 */
#pragma once
#include "limit/tiers.h"

#define UNAUTHENTICATED "unauthenticated"
#define CLAIM_BYTES 256                                  /* of the name of a claim */
#define ALGORITHMS "fixed|sliding"
#define MODES "enforce|shadow"
enum { ALGORITHM_FIXED, ALGORITHM_SLIDING };             /* as a setting of those choices says them */
enum { MODE_ENFORCE, MODE_SHADOW };

struct tier_rule {                                       /* how windows count that say nothing themselves */
    bool sliding, sliding_said, shadow, shadow_said;     /* said: by the tier or the window */
};
struct tier_reading {
    const struct tg_tree *tree;
    const char *where;                                   /* "rate_limits", "routes[2].rate_limits" */
    struct tg_slice route;                               /* whose name is in the counters' names; empty: no one's */
    struct tier_rule rule;                               /* of the section */
    struct tg_arena *arena;
    struct tg_problems *problems;
};

bool tiers_is_mapping(const struct tier_reading *r, const cJSON *node, const char *where); /* false: and told */
bool tiers_says(const cJSON *node, const char *name);    /* whether a member is given, and not null */
/* The value of a member, for the place in a message; `node` itself when it is absent. */
const cJSON *tiers_at(const cJSON *node, const char *name);

/*
 * The list of a section into items, count and, when the list has one, unauthenticated (then true). Ordinary tiers are
 * needed when `needs_ordinary`.
 */
bool tiers_read_list(const struct tier_reading *r, const cJSON *list, bool needs_ordinary, struct tg_tiers *out);
void tiers_default_ordinary(const struct tier_reading *r, struct tg_tiers *out);
void tiers_default_unauthenticated(const struct tier_reading *r, struct tg_tiers *out);

/* ---- tiers_window.c: windows of a tier, and the names their counters have ---- */
struct window_text {                                     /* as written; of a tier with one window its own members */
    uint64_t limit, ceiling;
    int64_t length_ms;
    struct tg_slice claim;
    int algorithm, mode;
};
/* The rows of a window, which a tier with one window has too: there `prefix` leads to its struct window_text. */
#define TIER_WINDOW_ROWS(type, prefix, flags) \
    TG_SETTING(type, prefix limit, "limit", TG_SET_COUNT, NULL, 1, TG_LIMIT_MAX, NULL, flags, \
               "requests in a window"), \
    TG_SETTING(type, prefix length_ms, "window", TG_SET_DURATION, "1m", 1000, TG_WINDOW_MAX_S * INT64_C(1000), NULL, \
               0, "how long a window is: whole seconds, aligned to the clock when the algorithm is fixed"), \
    TG_SETTING(type, prefix claim, "limit_claim", TG_SET_STRING, NULL, 0, 0, NULL, 0, \
               "a claim whose number is the limit; needs limit_ceiling"), \
    TG_SETTING(type, prefix ceiling, "limit_ceiling", TG_SET_COUNT, NULL, 1, TG_LIMIT_MAX, NULL, 0, \
               "the most that limit_claim can give"), \
    TG_SETTING(type, prefix algorithm, "algorithm", TG_SET_ENUM, NULL, 0, 0, ALGORITHMS, 0, \
               "as rate_limits.algorithm, for this one"), \
    TG_SETTING(type, prefix mode, "mode", TG_SET_ENUM, NULL, 0, 0, MODES, 0, \
               "as rate_limits.mode, for this one")
/*
 * The windows of the tier `out`, which has a name: of `list` when `node` says `windows`, else the one that `text` says.
 */
void tiers_read_windows(const struct tier_reading *r, const char *where, const cJSON *node,
                        const struct window_text *text, const cJSON *list, struct tg_tier *out);
/* Gives the tier these windows, which are in order, and all that follows from them. */
void tiers_finish(const struct tier_reading *r, struct tg_tier *tier, struct tg_window *windows, size_t count);
/* A copy of `from` as it is under another section's rule: its counters stay its own. `node`: for the place. */
struct tg_tier tiers_under(const struct tier_reading *r, const struct tg_tier *from, const cJSON *node);

/* ---- tiers_warn.c: what is legal and probably not meant ---- */
void tiers_warn(const struct tier_reading *r, const struct tg_tier *tier, const cJSON *node, const char *where);

/* ---- tiers_store.c: where the counters are ---- */
struct store_text {                                      /* of the general section, as written */
    struct tg_slice store, prefix, password, password_file, secret, secret_file, ca_file;
    int64_t timeout_ms;
    int fails;
};
/* `node`: the section. */
void tiers_read_store(const struct tier_reading *r, const cJSON *node, const struct store_text *text,
                      struct tg_limit_settings *out);
