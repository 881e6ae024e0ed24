/*
 * api_limit - two windows over the counters of limit/local.
 */
#include "api_limit.h"
#include "base/hash.h"
#include "limit/local.h"
#include <stdatomic.h>

#define MAX_KEYS 16384                                   /* callers and addresses a minute that are all kept apart */
#define WINDOW_S 60
#define ADDRESS_SALT UINT64_C(0x61646472657373)
#define CALLER_SALT UINT64_C(0x63616c6c6572)

struct api_limits {
    struct tg_local_limits *counters;
    atomic_uint authenticated, unauthenticated;
};

struct api_limits *api_limits_new(void)
{
    struct api_limits *l = TG_NEW(struct api_limits);

    l->counters = tg_local_limits_new(MAX_KEYS);
    return l;
}

void api_limits_free(struct api_limits *l)
{
    if (!l)
        return;
    tg_local_limits_free(l->counters);
    free(l);
}

static unsigned bounded(uint64_t limit)
{
    return limit > TG_LIMIT_MAX ? TG_LIMIT_MAX : (unsigned)limit;
}

void api_limits_bind(struct api_limits *l, uint64_t authenticated, uint64_t unauthenticated)
{
    atomic_store(&l->authenticated, bounded(authenticated));
    atomic_store(&l->unauthenticated, bounded(unauthenticated));
}

static void count(struct api_limits *l, uint64_t key, unsigned limit, int64_t wall_ms, bool look, struct api_quota *out)
{
    static const struct tg_window window = {.length_s = WINDOW_S};
    struct tg_charge_window said;

    out->admitted = tg_local_count(l->counters, &window, key ? key : 1, limit, wall_ms, look ? 0 : 1, &said);
    out->limit = limit;
    out->remaining = out->admitted ? said.remaining : 0;
    out->reset_s = (said.reset_ms + 999) / 1000;
    int64_t left_ms = said.reset_ms - wall_ms;
    out->retry_after_s = left_ms > 1000 ? (uint32_t)((left_ms + 999) / 1000) : 1;
}

/* One IPv6 host commonly owns a whole /64. A unix socket's clients are one. */
void api_limit_address(struct api_limits *l, const struct tg_ip *ip, int64_t wall_ms, bool look, struct api_quota *out)
{
    uint64_t key = tg_hash2(ADDRESS_SALT + ip->family, tg_hash(ip->bytes, ip->family == 4 ? 4 : ip->family ? 8 : 0));

    count(l, key, atomic_load(&l->unauthenticated), wall_ms, look, out);
}

void api_limit_caller(struct api_limits *l, struct tg_slice id, int64_t wall_ms, bool look, struct api_quota *out)
{
    count(l, tg_hash2(CALLER_SALT, tg_hash_slice(id)), atomic_load(&l->authenticated), wall_ms, look, out);
}

size_t api_limit_fields(const struct api_quota *quota, struct tg_arena *arena,
                        struct tg_field out[static API_LIMIT_FIELDS])
{
    out[0] = (struct tg_field){TG_S("X-RateLimit-Limit"), tg_arena_printf(arena, "%u", quota->limit),
                               TG_FIELD_X_RATELIMIT_LIMIT};
    out[1] = (struct tg_field){TG_S("X-RateLimit-Remaining"), tg_arena_printf(arena, "%u", quota->remaining),
                               TG_FIELD_X_RATELIMIT_REMAINING};
    out[2] = (struct tg_field){TG_S("X-RateLimit-Reset"), tg_arena_printf(arena, "%lld", (long long)quota->reset_s),
                               TG_FIELD_X_RATELIMIT_RESET};
    return API_LIMIT_FIELDS;
}
