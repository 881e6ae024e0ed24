/*
 * shard - counting in fixed windows: one state says it all.
 *
 * A state is: end of its window in seconds (29 bits), reached its limit (1), owner (3), count (31). For its own key an
 * entry is current in its own window, in the one before, and in those of ten seconds before: a worker may have looked
 * at the clock before another, and been stopped then. Any other difference means that the window is past or that the
 * clock was set back; either way counting starts anew. For others an entry is in use until its window ends.
 */
#include "shard_internal.h"

#define COUNT_MASK ((UINT64_C(1) << 31) - 1)
#define COUNT_MAX ((1u << 31) - 1)
#define STRIDE 16

/* What `state` becomes by this charge; the same when nothing changes. Fills in the answer. */
static inline uint64_t charged(uint64_t state, struct shard_charge *c)
{
    uint32_t ahead = (shard_until(state) - c->until) & SHARD_WHEN_MAX;
    bool current = ahead <= c->length || ahead <= SHARD_LATE_S;
    uint32_t count = current ? (uint32_t)(state & COUNT_MASK) : 0;
    uint64_t kept = current ? state : shard_state(c->until) | (state & SHARD_OWNER);

    c->reset_ms = c->until_ms + (current ? ahead * INT64_C(1000) : 0);
    c->used = count;
    c->ok = (uint64_t)count + (c->cost ? c->cost : 1) <= c->limit;
    if (c->cost == 0 || !c->ok) {                        /* who has no room must not start anew by losing the slot */
        c->state = kept;
        return current && !c->ok ? state | SHARD_FULL : state;
    }
    c->used = count + c->cost;
    kept &= ~(COUNT_MASK | SHARD_FULL);
    c->state = kept | c->used | (c->used >= c->limit ? SHARD_FULL : 0);
    return c->state;
}

static inline enum shard_outcome count_fixed(struct shard_slot *slot, struct shard_charge *c)
{
    uint64_t seen = atomic_load_explicit(&slot->state, memory_order_acquire);
    uint64_t next;

    do {
        if (seen == SHARD_BUSY || atomic_load_explicit(&slot->key, memory_order_relaxed) != c->key)
            return SHARD_GONE;
        next = charged(seen, c);
    } while (next != seen && !atomic_compare_exchange_weak_explicit(&slot->state, &seen, next, memory_order_acq_rel,
                                                                    memory_order_acquire));
    c->word = &slot->state;
    return SHARD_COUNTED;
}

static uint64_t start_fixed(struct shard_slot *slot, uint64_t owner, struct shard_charge *c)
{
    (void)slot;
    c->state = shard_state(c->until) | owner | c->cost | (c->cost >= c->limit ? SHARD_FULL : 0);
    c->reset_ms = c->until_ms;
    return c->state;
}

static const struct shard_rule fixed = {
    .stride = STRIDE, .count_mask = COUNT_MASK, .tick_ms = 1000, .span = 2 * TG_SHARD_WINDOW_MAX_S,
    .count = count_fixed, .start = start_fixed,
};

struct tg_shard *tg_shard_new(size_t slots)
{
    return shard_new(&fixed, slots);
}

bool tg_shard_take(struct tg_shard *t, uint64_t key, const struct tg_shard_window *window, uint32_t limit,
                   uint32_t cost, struct tg_shard_count *out)
{
    struct shard_charge c = {.key = key ? key : 1, .until_ms = (int64_t)window->until_s * 1000,
                             .now = (uint32_t)window->now_s, .until = (uint32_t)window->until_s,
                             .length = window->length_s, .limit = limit < COUNT_MAX ? limit : COUNT_MAX,
                             .cost = cost};
    size_t set = shard_set(t, c.key);
    struct shard_slot *slot = shard_find(t->slots + set * STRIDE * SHARD_WAYS, STRIDE, c.key);

    if (!slot || count_fixed(slot, &c) != SHARD_COUNTED)
        shard_settle(t, set, &c);
    out->used = c.used;
    out->reset_ms = c.reset_ms;
    out->word = c.word;
    out->mark = c.state;
    out->together = c.together;
    return c.ok;
}

static void give_fixed(const struct tg_shard_count *taken, uint32_t cost)
{
    _Atomic uint64_t *word = taken->word;
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

    do {
        if (seen == SHARD_BUSY || shard_until(seen ^ taken->mark) || ((seen ^ taken->mark) & SHARD_OWNER) ||
            (seen & COUNT_MASK) < cost)
            return;
    } while (!atomic_compare_exchange_weak_explicit(word, &seen, (seen & ~SHARD_FULL) - cost, memory_order_acq_rel,
                                                    memory_order_relaxed));
}

void tg_shard_give(struct tg_shard *t, const struct tg_shard_count *taken, uint32_t cost)
{
    if (!taken->word)
        return;
    if (t->rule == &fixed || taken->together)            /* those are of one form in both tables */
        give_fixed(taken, cost);
    else
        shard_give_slide(taken, cost);
}
