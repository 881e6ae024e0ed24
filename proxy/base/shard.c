/*
 * shard - sets of eight slots, counted on by compare-and-swap, given away under a lock.
 *
 * A state is: end of its window (32 bits), reached its limit (1), generation (3), count (28). Who counts reads the
 * state, then the key again: the state was this key's. Who gives a slot away marks the state BUSY, writes the key, then
 * the new state with the next generation: a compare-and-swap prepared for the former owner fails. For its own key an
 * entry is current in its own window and in the one before: a worker may have looked at the clock just before another.
 * Any other difference means that the window is past or that the clock was set back; either way counting starts anew.
 * For others an entry is in use until its window ends; windows of every length share the table.
 */
#include "base/shard.h"
#include "base/err.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WAYS 8
#define MIN_KEYS 1024
#define MAX_KEYS ((size_t)1 << 36)
#define STRIPES 256                                      /* locks; a set uses one of them */
#define COUNT_MAX ((1u << 28) - 2)
#define BUSY UINT64_MAX                                  /* no state: its count is above COUNT_MAX */

struct slot {
    _Atomic uint64_t key;                                /* 0: never used */
    _Atomic uint64_t state;
};
struct set {
    struct slot slots[WAYS];
};
struct stripe {
    _Alignas(64) pthread_mutex_t lock;
};
struct tg_shard {
    struct set *sets;
    _Atomic uint64_t *overflow;                          /* one state per set */
    unsigned set_bits;
    _Atomic size_t keys;
    struct stripe *stripes;
};
struct charge {
    uint64_t key;
    struct tg_shard_window window;
    uint32_t limit, cost;
    uint32_t used;                                       /* the answer */
    bool ok;
};

static uint32_t until_of(uint64_t state)
{
    return (uint32_t)(state >> 32);
}

static uint32_t count_of(uint64_t state)
{
    return (uint32_t)state & ((1u << 28) - 1);
}

static bool is_full(uint64_t state)
{
    return state >> 31 & 1;
}

static unsigned generation_of(uint64_t state)
{
    return (unsigned)(state >> 28) & 7;
}

static uint64_t pack(uint32_t until, bool full, unsigned generation, uint32_t count)
{
    return (uint64_t)until << 32 | (uint64_t)full << 31 | (uint64_t)(generation & 7) << 28 | count;
}

static bool is_current(uint64_t state, const struct tg_shard_window *w)
{
    uint32_t ahead = until_of(state) - w->until_s;

    return ahead == 0 || ahead == w->length_s;
}

/* Whether the slot still counts for somebody. An end too far ahead is one from before the clock was set back. */
static bool in_use(uint64_t state, const struct tg_shard_window *w)
{
    return until_of(state) - w->now_s - 1 < 2 * TG_SHARD_WINDOW_MAX_S;
}

static void *map_zeroed(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

static size_t set_count(const struct tg_shard *t)
{
    return (size_t)1 << t->set_bits;
}

struct tg_shard *tg_shard_new(size_t max_keys)
{
    struct tg_shard *t = TG_NEW(struct tg_shard);

    max_keys = max_keys < MIN_KEYS ? MIN_KEYS : max_keys > MAX_KEYS ? MAX_KEYS : max_keys;
    while (set_count(t) * WAYS < max_keys)
        t->set_bits++;
    t->sets = map_zeroed(set_count(t) * sizeof(struct set));
    t->overflow = map_zeroed(set_count(t) * sizeof(uint64_t));
    t->stripes = map_zeroed(STRIPES * sizeof(struct stripe));
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&t->stripes[i].lock, NULL);
    return t;
}

void tg_shard_free(struct tg_shard *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&t->stripes[i].lock);
    munmap(t->stripes, STRIPES * sizeof(struct stripe));
    munmap(t->overflow, set_count(t) * sizeof(uint64_t));
    munmap(t->sets, set_count(t) * sizeof(struct set));
    free(t);
}

/* What `state` becomes by this charge; the same when nothing changes. Fills in the answer. */
static uint64_t charged(uint64_t state, struct charge *c)
{
    bool current = is_current(state, &c->window);
    uint32_t until = current ? until_of(state) : c->window.until_s;
    uint32_t count = current ? count_of(state) : 0;

    c->used = count;
    if (c->cost == 0) {
        c->ok = count < c->limit;
        return state;
    }
    c->ok = (uint64_t)count + c->cost <= c->limit;
    if (!c->ok)                                          /* who was refused must not start anew by losing the slot */
        return current ? state | (uint64_t)1 << 31 : state;
    c->used = count + c->cost;
    return pack(until, c->used >= c->limit, generation_of(state), c->used);
}

static void count_overflow(_Atomic uint64_t *state, struct charge *c)
{
    uint64_t seen = atomic_load_explicit(state, memory_order_relaxed);
    uint64_t next;

    do {
        next = charged(seen, c);
    } while (next != seen && !atomic_compare_exchange_weak_explicit(state, &seen, next, memory_order_relaxed,
                                                                    memory_order_relaxed));
}

/* False when the slot is not, or no longer, that key's. */
static bool count_slot(struct slot *slot, struct charge *c)
{
    uint64_t seen = atomic_load_explicit(&slot->state, memory_order_acquire);
    uint64_t next;

    do {
        if (seen == BUSY || atomic_load_explicit(&slot->key, memory_order_relaxed) != c->key)
            return false;
        next = charged(seen, c);
    } while (next != seen && !atomic_compare_exchange_weak_explicit(&slot->state, &seen, next, memory_order_acq_rel,
                                                                    memory_order_acquire));
    return true;
}

static struct slot *find(struct set *set, uint64_t key)
{
    for (int i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&set->slots[i].key, memory_order_relaxed) == key)
            return &set->slots[i];
    return NULL;
}

/* The slot a newcomer may have: unused, else of a past window, else the lowest count below its limit; NULL: none. */
static struct slot *pick_victim(struct set *set, const struct tg_shard_window *window, uint64_t *state)
{
    struct slot *best = NULL;
    uint64_t best_rank = UINT64_MAX;

    for (int i = 0; i < WAYS; i++) {
        struct slot *slot = &set->slots[i];
        uint64_t s = atomic_load_explicit(&slot->state, memory_order_acquire);
        uint64_t rank;

        if (atomic_load_explicit(&slot->key, memory_order_relaxed) == 0)
            rank = 0;
        else if (!in_use(s, window))
            rank = 1;
        else if (!is_full(s))
            rank = 2 + (uint64_t)count_of(s);
        else
            continue;
        if (rank < best_rank) {
            best_rank = rank;
            best = slot;
            *state = s;
        }
    }
    return best;
}

/* The key has no slot; the caller holds the set's lock. */
static void count_newcomer(struct tg_shard *t, size_t index, struct charge *c)
{
    struct set *set = &t->sets[index];
    uint64_t state = 0;
    struct slot *slot;

    /* It fails when somebody counted on that slot meanwhile: then another may be the lowest. */
    do {
        slot = pick_victim(set, &c->window, &state);
        if (!slot) {
            count_overflow(&t->overflow[index], c);
            return;
        }
        c->used = 0;
        c->ok = c->cost == 0 ? c->limit > 0 : c->cost <= c->limit;
        if (!c->ok || c->cost == 0)
            return;
    } while (!atomic_compare_exchange_strong_explicit(&slot->state, &state, BUSY, memory_order_acq_rel,
                                                      memory_order_acquire));
    if (atomic_load_explicit(&slot->key, memory_order_relaxed) == 0)
        atomic_fetch_add_explicit(&t->keys, 1, memory_order_relaxed);
    atomic_store_explicit(&slot->key, c->key, memory_order_release);
    c->used = c->cost;
    atomic_store_explicit(&slot->state, pack(c->window.until_s, c->cost >= c->limit, generation_of(state) + 1, c->cost),
                          memory_order_release);
}

bool tg_shard_take(struct tg_shard *t, uint64_t key, const struct tg_shard_window *window, uint32_t limit,
                   uint32_t cost, uint32_t *used)
{
    struct charge c = {.key = key ? key : 1, .window = *window, .limit = limit < COUNT_MAX ? limit : COUNT_MAX,
                       .cost = cost};
    size_t index = (size_t)((c.key * 0x9e3779b97f4a7c15u) >> (64 - t->set_bits));
    struct slot *slot = find(&t->sets[index], c.key);

    if (!slot || !count_slot(slot, &c)) {
        pthread_mutex_t *lock = &t->stripes[index % STRIPES].lock;

        pthread_mutex_lock(lock);
        slot = find(&t->sets[index], c.key);
        if (!slot || !count_slot(slot, &c))
            count_newcomer(t, index, &c);
        pthread_mutex_unlock(lock);
    }
    *used = c.used;
    return c.ok;
}

size_t tg_shard_keys(const struct tg_shard *t)
{
    return atomic_load_explicit(&t->keys, memory_order_relaxed);
}
