/*
 * tiers - who counts against what: the `rate_limits` section, and which tier a request belongs to.
 *
 * The first tier whose `when` holds; the last ordinary one has no `when`. "unauthenticated" is reserved for requests
 * without a valid identity, counted by client address. Immutable after reading; memory from the arena.
 */
#pragma once
#include "base/setting.h"
#include "policy/ppl.h"

struct tg_tier {
    struct tg_slice name;
    uint32_t limit;                                      /* requests per window; 1 .. 2^31-1 */
    uint32_t window_s;                                   /* whole seconds, 1 .. 86400 */
    const struct tg_program *when;                       /* NULL: always */
    uint64_t salt;                                       /* hash of the name: keys of tiers never meet */
};
struct tg_tiers {
    bool off;                                            /* rate_limits: off */
    bool shadow;                                         /* mode: shadow: counted and told, never refused */
    const struct tg_tier *items;                         /* in order, unauthenticated excluded */
    size_t count;
    struct tg_tier unauthenticated;
};

/* `node`: the rate_limits value; NULL: the three default tiers; the text "off" or false: off. */
bool tg_tiers_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_tiers *out,
                   struct tg_problems *problems);
/* The tier of an identity. Never NULL unless off. */
const struct tg_tier *tg_tiers_pick(const struct tg_tiers *tiers, const struct tg_facts *facts);
/* "authenticated 1000/1m, unauthenticated 100/1m": for the start-up line. */
void tg_tiers_describe(const struct tg_tiers *tiers, struct tg_buf *out);

extern const struct tg_setting tg_rate_limit_settings[], tg_tier_settings[];
extern const size_t tg_rate_limit_setting_count, tg_tier_setting_count;
