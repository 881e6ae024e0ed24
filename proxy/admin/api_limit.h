/*
 * api_limit - how often the management API may be asked: by caller, and by address without a valid credential.
 *
 * Fixed windows of a minute, aligned. Counted apart from the data plane. Threads: any.
 */
#pragma once
#include "base/arena.h"
#include "base/ip.h"
#include "http/message.h"

struct api_limits;

struct api_limits *api_limits_new(void);
void api_limits_free(struct api_limits *l);              /* NULL is fine */
void api_limits_bind(struct api_limits *l, uint64_t authenticated, uint64_t unauthenticated); /* a minute */

struct api_quota {
    bool admitted;
    uint32_t limit, remaining;
    int64_t reset_s;                                     /* epoch seconds */
    uint32_t retry_after_s;                              /* until then, at least 1 */
};
/* Counts one request, or with `look` only says how it stands (admitted: one more would be). */
void api_limit_address(struct api_limits *l, const struct tg_ip *ip, int64_t wall_ms, bool look, struct api_quota *out);
void api_limit_caller(struct api_limits *l, struct tg_slice id, int64_t wall_ms, bool look, struct api_quota *out);
/* X-RateLimit-Limit, -Remaining, -Reset, in the arena; returns how many: 3. */
#define API_LIMIT_FIELDS 3
size_t api_limit_fields(const struct api_quota *quota, struct tg_arena *arena,
                        struct tg_field out[static API_LIMIT_FIELDS]);
