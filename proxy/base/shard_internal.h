/*
 * shard_internal - the table of slots that both kinds of counters share.
 *
 * A slot begins with its key and its state; the state says until when the entry is in use (29 bits, in ticks of the
 * table), whether it reached its limit (1), which owner of the slot it is of (3, a number that moves), and its count
 * (31, of which a kind may use some otherwise). Ticks come round, those of seconds after 17 years, those of tenths
 * after 20 months: they are compared by their distance, and an entry left alone for so long, to the day, is taken for
 * one in use, which nobody but its own caller can notice, and only until its window ends. Who counts reads the state,
 * then the key again: the state was this key's. Who gives a slot away marks the state BUSY, writes the key, then the
 * new state with the next owner: a compare-and-swap prepared for the former owner fails.
 */
#pragma once
#include "base/shard.h"
#include <pthread.h>
#include <stdatomic.h>

#define SHARD_WAYS 8
#define SHARD_SETS 4                                     /* of a group */
#define SHARD_CELLS 11
#define SHARD_BUSY UINT64_MAX                            /* no state: there is no owner 7 */
#define SHARD_WHEN_BITS 29
#define SHARD_WHEN_MAX ((1u << SHARD_WHEN_BITS) - 1)
#define SHARD_FULL (UINT64_C(1) << 34)
#define SHARD_OWNER_BIT (UINT64_C(1) << 31)
#define SHARD_OWNER (7 * SHARD_OWNER_BIT)                /* 0 to 6; moves when the slot changes hands */
#define SHARD_LATE_S 10                                  /* a worker may be stopped after it looked at the clock */

struct shard_slot {
    _Atomic uint64_t key;                                /* 0: never used */
    _Atomic uint64_t state;
    _Atomic uint32_t cells[];                            /* sliding: SHARD_CELLS of them */
};
struct shard_charge {
    uint64_t key;
    int64_t until_ms;                                    /* when this request counts no more */
    uint32_t now, until;                                 /* ticks, as many bits of them as there are; until: as above */
    uint32_t length;                                     /* of a window: seconds; of a step: tenths */
    uint64_t step;                                       /* sliding: its number since 1970 */
    uint32_t limit, cost;
    /* the answer */
    uint32_t used;
    bool ok, together;
    _Atomic uint64_t *word;
    uint64_t state;                                      /* what the word became */
    int64_t reset_ms;
};
enum shard_outcome {
    SHARD_COUNTED,
    SHARD_GONE,                                          /* the slot is not, or no longer, that key's */
    SHARD_ANEW,                                          /* it is, but nothing in it counts any more */
};
struct shard_rule {                                      /* how a kind of slot counts */
    size_t stride;
    uint64_t count_mask;
    unsigned tick_ms;
    uint32_t span;                                       /* ticks an entry can be in use, and some */
    enum shard_outcome (*count)(struct shard_slot *slot, struct shard_charge *c);
    /* Fills in the rest of a BUSY slot for its first count; returns its state. `owner`: those bits of it. */
    uint64_t (*start)(struct shard_slot *slot, uint64_t owner, struct shard_charge *c);
};
struct tg_shard {
    char *slots;
    size_t sets;                                         /* a multiple of SHARD_SETS */
    const struct shard_rule *rule;
    _Atomic uint64_t *together;                          /* states by group and class, as those of slots */
    struct shard_stripe *stripes;
    _Atomic uint8_t *touched;                            /* by page of slots: whether one was ever used */
    size_t pages;
    _Atomic uint64_t evicted, counted_together;
};

struct tg_shard *shard_new(const struct shard_rule *rule, size_t slots);
/* The key was not counted in a slot of its own set: under the lock, wherever it is or may be. */
void shard_settle(struct tg_shard *t, size_t set, struct shard_charge *c);
void shard_give_slide(const struct tg_shard_count *taken, uint32_t cost);

static inline uint32_t shard_until(uint64_t state)
{
    return (uint32_t)(state >> (64 - SHARD_WHEN_BITS));
}

static inline uint64_t shard_state(uint32_t until)
{
    return (uint64_t)until << (64 - SHARD_WHEN_BITS);
}

/* By how many ticks `a` is after `b`; less than nothing: before. */
static inline int32_t shard_ahead(uint32_t a, uint32_t b)
{
    return (int32_t)((a - b) << (32 - SHARD_WHEN_BITS)) >> (32 - SHARD_WHEN_BITS);
}

/* When the state of the answer ends. */
static inline int64_t shard_end_ms(unsigned tick_ms, const struct shard_charge *c)
{
    return c->until_ms + (int64_t)shard_ahead(shard_until(c->state), c->until) * tick_ms;
}

/* Whether the slot still counts for somebody. An end too far ahead is one from before the clock was set back. */
static inline bool shard_in_use(const struct tg_shard *t, uint64_t state, uint32_t now)
{
    return ((shard_until(state) - now - 1) & SHARD_WHEN_MAX) < t->rule->span;
}

static inline size_t shard_set(const struct tg_shard *t, uint64_t key)
{
    return (size_t)((unsigned __int128)(key * 0x9e3779b97f4a7c15u) * t->sets >> 64);
}

static inline struct shard_slot *shard_slot_at(char *set, size_t stride, unsigned way)
{
    return (struct shard_slot *)(void *)(set + stride * way);
}

static inline struct shard_slot *shard_find(char *set, size_t stride, uint64_t key)
{
    for (unsigned i = 0; i < SHARD_WAYS; i++) {
        struct shard_slot *slot = shard_slot_at(set, stride, i);

        if (atomic_load_explicit(&slot->key, memory_order_relaxed) == key)
            return slot;
    }
    return NULL;
}
