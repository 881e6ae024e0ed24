/*
 * shard_table - slots in sets of eight and groups of four sets, given away under a lock.
 *
 * Of a million keys in three million slots a few hundred find their set taken, but none a whole group. A key that lives
 * beside its set is found without the lock too.
 */
#include "shard_internal.h"
#include "base/err.h"
#include <stdlib.h>
#include <sys/mman.h>

#define MIN_SLOTS 1024
#define MAX_SLOTS ((size_t)1 << 36)
#define STRIPES 256                                      /* locks; a group uses one of them */
#define CLASSES 4                                        /* of windows' lengths, so that a second waits for no day */
#define PAGE 4096
#define SAMPLE 1024                                      /* pages looked at to tell how many slots are in use */

struct shard_stripe {
    _Alignas(64) pthread_mutex_t lock;
};

static void *map_zeroed(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

static size_t set_bytes(const struct tg_shard *t)
{
    return t->rule->stride * SHARD_WAYS;
}

static size_t together_bytes(const struct tg_shard *t)
{
    return t->sets / SHARD_SETS * CLASSES * sizeof(uint64_t);
}

struct tg_shard *shard_new(const struct shard_rule *rule, size_t slots)
{
    struct tg_shard *t = TG_NEW(struct tg_shard);
    size_t group = (size_t)SHARD_SETS * SHARD_WAYS;

    slots = slots < MIN_SLOTS ? MIN_SLOTS : slots > MAX_SLOTS ? MAX_SLOTS : slots;
    t->rule = rule;
    t->sets = (slots + group - 1) / group * SHARD_SETS;
    t->slots = map_zeroed(t->sets * set_bytes(t));
    t->together = map_zeroed(together_bytes(t));
    t->pages = (t->sets * set_bytes(t) + PAGE - 1) / PAGE;
    t->touched = map_zeroed(t->pages);
    t->stripes = map_zeroed(STRIPES * sizeof(struct shard_stripe));
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
    munmap(t->stripes, STRIPES * sizeof(struct shard_stripe));
    munmap(t->touched, t->pages);
    munmap(t->together, together_bytes(t));
    munmap(t->slots, t->sets * set_bytes(t));
    free(t);
}

/* The n-th set of a group, its own first. */
static char *set_of_group(const struct tg_shard *t, size_t set, unsigned n)
{
    return t->slots + (set ^ n) * set_bytes(t);
}

static struct shard_slot *find_in_group(const struct tg_shard *t, size_t set, uint64_t key)
{
    struct shard_slot *slot = NULL;

    for (unsigned n = 0; n < SHARD_SETS && !slot; n++)
        slot = shard_find(set_of_group(t, set, n), t->rule->stride, key);
    return slot;
}

/* ---- together ---- */

static unsigned class_of(const struct shard_charge *c)
{
    return c->length <= 10 ? 0 : c->length <= 600 ? 1 : c->length <= 36000 ? 2 : 3;
}

/*
 * Newcomers that found every slot blocked are one caller. What is counted for them all ends together, when the last of
 * it would: too late for some, but never more than the limit for any, whatever their windows.
 */
static uint64_t charged_together(const struct tg_shard *t, uint64_t state, struct shard_charge *c)
{
    bool runs = shard_in_use(t, state, c->now);
    uint32_t count = runs ? (uint32_t)(state & t->rule->count_mask) : 0;
    uint32_t until = runs && shard_ahead(shard_until(state), c->until) > 0 ? shard_until(state) : c->until;

    c->used = count;
    c->ok = c->cost == 0 ? count < c->limit : (uint64_t)count + c->cost <= c->limit;
    if (c->cost == 0 || !c->ok) {
        c->state = runs ? state : shard_state(c->until);
        return state;
    }
    c->used = count + c->cost;
    c->state = shard_state(until) | c->used;
    return c->state;
}

static void count_together(struct tg_shard *t, size_t set, struct shard_charge *c)
{
    _Atomic uint64_t *word = &t->together[set / SHARD_SETS * CLASSES + class_of(c)];
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    uint64_t next;

    do {
        next = charged_together(t, seen, c);
    } while (next != seen &&
             !atomic_compare_exchange_weak_explicit(word, &seen, next, memory_order_relaxed, memory_order_relaxed));
    c->together = true;
    c->word = word;
    c->reset_ms = shard_end_ms(t->rule->tick_ms, c);
    if (c->cost)
        atomic_fetch_add_explicit(&t->counted_together, 1, memory_order_relaxed);
}

/* ---- making room ---- */

enum { UNUSED, PAST, IN_USE };                           /* ranks; the count is added to the last */

static uint64_t rank_of(const struct tg_shard *t, const struct shard_slot *slot, uint64_t state, uint32_t now)
{
    if (atomic_load_explicit(&slot->key, memory_order_relaxed) == 0)
        return UNUSED;
    if (!shard_in_use(t, state, now))
        return PAST;
    return state & SHARD_FULL ? UINT64_MAX : IN_USE + (state & t->rule->count_mask);
}

/* The best of one set, when better than what the others had. */
static void pick_from_set(const struct tg_shard *t, char *set, uint32_t now, struct shard_slot **best, uint64_t *rank,
                          uint64_t *state)
{
    for (unsigned i = 0; i < SHARD_WAYS; i++) {
        struct shard_slot *slot = shard_slot_at(set, t->rule->stride, i);
        uint64_t s = atomic_load_explicit(&slot->state, memory_order_acquire);
        uint64_t r = rank_of(t, slot, s, now);

        if (r < *rank) {
            *best = slot;
            *rank = r;
            *state = s;
        }
    }
}

/* The slot a newcomer may have: a free one of its set, of the group; else the lowest count of them all; NULL: none. */
static struct shard_slot *pick_victim(const struct tg_shard *t, size_t set, uint32_t now, uint64_t *rank,
                                      uint64_t *state)
{
    struct shard_slot *best = NULL;

    *rank = UINT64_MAX;
    for (unsigned n = 0; n < SHARD_SETS && *rank >= IN_USE; n++)
        pick_from_set(t, set_of_group(t, set, n), now, &best, rank, state);
    return best;
}

/* Whether nothing is to be stored: who only looks, or asks for more than there ever is, needs no slot. */
static bool is_answered_without(const struct tg_shard *t, struct shard_charge *c)
{
    c->used = 0;
    c->ok = c->cost == 0 ? c->limit > 0 : c->cost <= c->limit;
    c->state = shard_state(c->until);
    c->reset_ms = shard_end_ms(t->rule->tick_ms, c);
    return !c->ok || c->cost == 0;
}

static uint64_t next_owner(uint64_t state)
{
    uint64_t owner = (state + SHARD_OWNER_BIT) & SHARD_OWNER;

    return owner == SHARD_OWNER ? 0 : owner;
}

static void occupy(struct tg_shard *t, struct shard_slot *slot, uint64_t state, struct shard_charge *c)
{
    uint64_t owner = next_owner(state);

    if (atomic_load_explicit(&slot->key, memory_order_relaxed) == 0)
        atomic_store_explicit(&t->touched[((char *)slot - t->slots) / PAGE], 1, memory_order_relaxed);
    atomic_store_explicit(&slot->key, c->key, memory_order_release);
    c->used = c->cost;
    c->word = &slot->state;
    c->state = t->rule->start(slot, owner, c);
    atomic_store_explicit(&slot->state, c->state, memory_order_release);
}

static bool claim_slot(struct shard_slot *slot, uint64_t *state)
{
    return atomic_compare_exchange_strong_explicit(&slot->state, state, SHARD_BUSY, memory_order_acq_rel,
                                                   memory_order_acquire);
}

static void count_newcomer(struct tg_shard *t, size_t set, struct shard_charge *c)
{
    struct shard_slot *slot;
    uint64_t rank, state = 0;

    /* It fails when somebody counted on that slot meanwhile: then another may be the lowest. */
    do {
        slot = pick_victim(t, set, c->now, &rank, &state);
        if (!slot) {
            count_together(t, set, c);
            return;
        }
        if (is_answered_without(t, c))
            return;
    } while (!claim_slot(slot, &state));
    if (rank >= IN_USE)
        atomic_fetch_add_explicit(&t->evicted, 1, memory_order_relaxed);
    occupy(t, slot, state, c);
}

/* False when somebody else counted in it after all. */
static bool start_anew(struct tg_shard *t, struct shard_slot *slot, struct shard_charge *c)
{
    uint64_t state = atomic_load_explicit(&slot->state, memory_order_acquire);

    if (is_answered_without(t, c))
        return true;
    if (t->rule->count(slot, c) == SHARD_COUNTED)
        return true;
    if (!claim_slot(slot, &state))
        return false;
    occupy(t, slot, state, c);
    return true;
}

static void settle_locked(struct tg_shard *t, size_t set, struct shard_charge *c)
{
    for (;;) {
        struct shard_slot *slot = find_in_group(t, set, c->key);
        enum shard_outcome outcome = slot ? t->rule->count(slot, c) : SHARD_GONE;

        if (outcome == SHARD_COUNTED)
            return;
        if (outcome == SHARD_GONE) {                     /* slots change hands under this lock only */
            count_newcomer(t, set, c);
            return;
        }
        if (start_anew(t, slot, c))
            return;
    }
}

void shard_settle(struct tg_shard *t, size_t set, struct shard_charge *c)
{
    pthread_mutex_t *lock = &t->stripes[set / SHARD_SETS % STRIPES].lock;
    struct shard_slot *slot = find_in_group(t, set, c->key);

    if (slot && t->rule->count(slot, c) == SHARD_COUNTED)
        return;
    pthread_mutex_lock(lock);
    settle_locked(t, set, c);
    pthread_mutex_unlock(lock);
}

/* ---- state ---- */

static size_t used_of_page(const struct tg_shard *t, size_t page, uint32_t now)
{
    size_t bytes = t->sets * set_bytes(t), end = (page + 1) * PAGE < bytes ? (page + 1) * PAGE : bytes, n = 0;

    for (size_t at = page * PAGE; at < end; at += t->rule->stride) {
        const struct shard_slot *slot = (const void *)(t->slots + at);

        n += atomic_load_explicit(&slot->key, memory_order_relaxed) != 0 &&
             shard_in_use(t, atomic_load_explicit(&slot->state, memory_order_relaxed), now);
    }
    return n;
}

void tg_shard_state(const struct tg_shard *t, int64_t now_ms, struct tg_shard_state *out)
{
    uint32_t now = (uint32_t)((now_ms > 0 ? now_ms : 0) / t->rule->tick_ms);
    size_t touched = 0, every, looked = 0, used = 0;

    for (size_t i = 0; i < t->pages; i++)
        touched += atomic_load_explicit(&t->touched[i], memory_order_relaxed);
    every = touched / SAMPLE + 1;
    for (size_t i = 0, n = 0; i < t->pages; i++)
        if (atomic_load_explicit(&t->touched[i], memory_order_relaxed) && n++ % every == 0) {
            used += used_of_page(t, i, now);
            looked++;
        }
    *out = (struct tg_shard_state){
        .keys = looked ? used * touched / looked : 0,
        .evicted = atomic_load_explicit(&t->evicted, memory_order_relaxed),
        .together = atomic_load_explicit(&t->counted_together, memory_order_relaxed),
    };
}
