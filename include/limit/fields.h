/*
 * fields - the rate-limit fields of an answer, from one charge: X-RateLimit-* and those of
 * draft-ietf-httpapi-ratelimit-headers-10 (RateLimit, RateLimit-Policy: RFC 9651 Lists of Strings with parameters).
 *
 * All of them say the same: Limit, Remaining and Reset are the telling window's; RateLimit has one item a window that
 * is applied. Threads: any.
 */
#pragma once
#include "base/arena.h"
#include "limit/charge.h"

enum tg_limit_field {
    TG_LIMIT_FIELD_X_LIMIT, TG_LIMIT_FIELD_X_REMAINING, TG_LIMIT_FIELD_X_RESET, TG_LIMIT_FIELD_RATELIMIT,
    TG_LIMIT_FIELD_POLICY, TG_LIMIT_FIELD_COUNT
};
/* The values, ptr NULL where the settings want none; in the arena, the tier's memory, or constant. */
void tg_limit_fields(const struct tg_charge *charge, const struct tg_limit_settings *settings, int64_t wall_ms,
                     struct tg_arena *arena, struct tg_slice out[static TG_LIMIT_FIELD_COUNT]);
/* RateLimit-Policy of a tier whose limits are no claim's: for tg_tier.policy_field. */
void tg_limit_policy_field(const struct tg_tier *tier, struct tg_buf *out);

/*
 * Whether the upstream's own say less is left than ours, so that ours would promise too much. Anything that cannot be
 * read for certain (not a number, missing, given twice, a Reset that is neither a time to come nor a number of seconds
 * within a day) is not stricter: ours replaces it.
 */
bool tg_limit_upstream_x_stricter(const struct tg_charge *ours, const struct tg_slice limit,
                                  const struct tg_slice remaining, const struct tg_slice reset, int64_t wall_ms);
bool tg_limit_upstream_ratelimit_stricter(const struct tg_charge *ours, const struct tg_slice ratelimit);
