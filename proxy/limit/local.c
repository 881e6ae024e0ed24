/*
 * local - the arithmetic of windows on top of the shared table.
 *
 * A key is never a subject's or an address's own text but a hash of it and of the tier, so the table holds 16 bytes a
 * caller however long names are.
 */
#include "limit/local.h"
#include "base/hash.h"
#include <stdlib.h>

struct tg_limiter {
    struct tg_shard *table;
};

struct tg_limiter *tg_limiter_new(size_t max_keys)
{
    struct tg_limiter *l = TG_NEW(struct tg_limiter);

    l->table = tg_shard_new(max_keys);
    return l;
}

void tg_limiter_free(struct tg_limiter *l)
{
    if (!l)
        return;
    tg_shard_free(l->table);
    free(l);
}

static void charge(struct tg_limiter *l, const struct tg_tier *tier, uint64_t key, int64_t wall_ms, bool look,
                   struct tg_charge *out)
{
    int64_t now_ms = wall_ms > 0 ? wall_ms : 0;          /* a clock before 1970 is no reason to let everybody in */
    int64_t window = now_ms / 1000 / tier->window_s;
    struct tg_shard_window w = {(uint32_t)((window + 1) * tier->window_s), tier->window_s, (uint32_t)(now_ms / 1000)};
    uint32_t used = 0;

    bool counted = tg_shard_take(l->table, key ? key : 1, &w, tier->limit, look ? 0 : 1, &used);
    bool admitted = counted && (!look || used < tier->limit); /* looking: whether one more would be */

    *out = (struct tg_charge){
        .tier = tier,
        .admitted = admitted,
        .limit = tier->limit,
        .remaining = admitted && used < tier->limit ? tier->limit - used : 0,
        .reset_s = (window + 1) * tier->window_s,
    };
    out->retry_after_s = (uint32_t)((out->reset_s * 1000 - now_ms + 999) / 1000);
}

void tg_limiter_subject(struct tg_limiter *l, const struct tg_tier *tier, uint64_t identity_key, int64_t wall_ms,
                        bool look, struct tg_charge *out)
{
    if (!tier) {
        *out = (struct tg_charge){.admitted = true};
        return;
    }
    charge(l, tier, tg_hash2(tier->salt, identity_key), wall_ms, look, out);
}

void tg_limiter_address(struct tg_limiter *l, const struct tg_tier *tier, const struct tg_ip *ip, int64_t wall_ms,
                        bool look, struct tg_charge *out)
{
    uint8_t id[9] = {ip->family};                        /* family 0 (a unix socket): one bucket for all of them */

    if (!tier) {
        *out = (struct tg_charge){.admitted = true};
        return;
    }
    /* One IPv6 host commonly owns a whole /64: counting single addresses would be no limit at all. */
    if (ip->family == 4)
        memcpy(id + 1, ip->bytes, 4);
    else if (ip->family == 6)
        memcpy(id + 1, ip->bytes, 8);
    charge(l, tier, tg_hash2(tier->salt, tg_hash(id, sizeof(id))), wall_ms, look, out);
}

size_t tg_limiter_keys(const struct tg_limiter *l)
{
    return tg_shard_keys(l->table);
}
