/*
 * local - windows counted in the shared tables.
 *
 * A key is never a subject's or an address's own text but a hash of it and of the window, so the tables hold the same
 * few octets a caller however long names are.
 */
#include "limit/local.h"
#include "base/clock.h"
#include "base/shard.h"
#include <stdlib.h>

#define SLOTS_PER_KEY 3                                  /* then every key finds one: see base/shard */
#define SLOT_OCTETS 16
#define SLIDING_SLOT_OCTETS 64

struct tg_local_limits {
    struct tg_shard *fixed, *sliding;                    /* memory of theirs that is not used is not taken */
};

struct tg_local_limits *tg_local_limits_new(size_t max_keys)
{
    struct tg_local_limits *l = TG_NEW(struct tg_local_limits);

    l->fixed = tg_shard_new(max_keys * SLOTS_PER_KEY);
    l->sliding = tg_shard_new_sliding(max_keys * SLOTS_PER_KEY * SLOT_OCTETS / SLIDING_SLOT_OCTETS);
    return l;
}

void tg_local_limits_free(struct tg_local_limits *l)
{
    if (!l)
        return;
    tg_shard_free(l->fixed);
    tg_shard_free(l->sliding);
    free(l);
}

static bool take_fixed(struct tg_local_limits *l, const struct tg_window *w, uint64_t key, uint32_t limit,
                       int64_t now_ms, uint32_t cost, struct tg_shard_count *count)
{
    uint64_t now_s = (uint64_t)now_ms / 1000;
    struct tg_shard_window window = {(now_s / w->length_s + 1) * w->length_s, w->length_s, now_s};

    return tg_shard_take(l->fixed, key, &window, limit, cost, count);
}

/* Counts in one window and says how it stands; for *count see tg_shard_give. */
static inline bool take(struct tg_local_limits *l, const struct tg_window *w, uint64_t key_hash, uint32_t limit,
                        int64_t now_ms, uint32_t cost, struct tg_charge_window *out, struct tg_shard_count *count)
{
    uint64_t key = w->salt ^ key_hash;                   /* both are hashes with a seed that nobody knows */
    bool ok = w->sliding ? tg_shard_slide(l->sliding, key, w->length_s, now_ms, limit, cost, count)
                         : take_fixed(l, w, key, limit, now_ms, cost, count);

    out->window = w;
    out->limit = limit;
    out->remaining = count->used < limit ? limit - count->used : 0;
    out->full = !ok;
    out->reset_ms = count->reset_ms;
    return ok;
}

static void give(struct tg_local_limits *l, struct tg_charge_window *out, const struct tg_shard_count *count)
{
    tg_shard_give(out->window->sliding ? l->sliding : l->fixed, count, 1);
    out->remaining++;
}

static uint32_t limit_of(const struct tg_window *window, const struct tg_claims *claims)
{
    return window->claim.ptr ? tg_window_limit(window, claims, NULL) : window->limit;
}

/* Looks into every window: whether all that are applied have room. */
static bool look_at_all(struct tg_local_limits *l, const struct tg_limit_key *key, const struct tg_claims *claims,
                        int64_t now_ms, struct tg_charge *out)
{
    struct tg_shard_count count;
    bool room = true;

    for (unsigned i = 0; i < out->count; i++) {
        const struct tg_window *w = &out->tier->windows[i];
        bool ok = take(l, w, key->hash, limit_of(w, claims), now_ms, 0, &out->windows[i], &count);

        room = room && (ok || w->shadow);
    }
    return room;
}

/*
 * Takes one of every window, of those in shadow mode as far as they have it; or of none, when one that is applied was
 * filled since it was looked at.
 */
static void take_of_all(struct tg_local_limits *l, const struct tg_limit_key *key, int64_t now_ms,
                        struct tg_charge *out)
{
    struct tg_shard_count counts[TG_TIER_WINDOWS];

    for (unsigned i = 0; i < out->count; i++) {
        const struct tg_window *w = &out->tier->windows[i];

        if (take(l, w, key->hash, out->windows[i].limit, now_ms, 1, &out->windows[i], &counts[i]) || w->shadow)
            continue;
        while (i-- > 0)
            if (!out->windows[i].full)
                give(l, &out->windows[i], &counts[i]);
        return;
    }
}

void tg_local_charge(struct tg_local_limits *l, const struct tg_tier *tier, const struct tg_limit_key *key,
                     const struct tg_claims *claims, int64_t wall_ms, bool look, struct tg_charge *out)
{
    int64_t now_ms = wall_ms > 0 ? wall_ms : 0;          /* a clock before 1970 is no reason to let everybody in */
    struct tg_shard_count count;

    out->tier = tier;
    out->failed = false;
    out->counter = TG_COUNTER_MEMORY;
    out->by = (uint8_t)key->by;
    out->count = (uint8_t)tier->window_count;
    if (out->count == 1 && !look)
        take(l, tier->windows, key->hash, limit_of(tier->windows, claims), now_ms, 1, out->windows, &count);
    else if (look_at_all(l, key, claims, now_ms, out) && !look)
        take_of_all(l, key, now_ms, out);
    tg_charge_settle(out, now_ms);
}

bool tg_local_count(struct tg_local_limits *l, const struct tg_window *window, uint64_t key_hash, uint32_t limit,
                    int64_t wall_ms, uint32_t cost, struct tg_charge_window *out)
{
    struct tg_shard_count count;

    return take(l, window, key_hash, limit, wall_ms > 0 ? wall_ms : 0, cost, out, &count);
}

void tg_local_state(const struct tg_local_limits *l, struct tg_local_state *out)
{
    int64_t now_ms = tg_clock_wall_ms();
    struct tg_shard_state fixed, sliding;

    tg_shard_state(l->fixed, now_ms, &fixed);
    tg_shard_state(l->sliding, now_ms, &sliding);
    *out = (struct tg_local_state){fixed.keys, sliding.keys, fixed.evicted + sliding.evicted,
                                   fixed.together + sliding.together};
}
