/*
 * shard_slide - counting in sliding windows: eleven steps, each a tenth of the window.
 *
 * A request of step k counts in steps k .. k+10, so any span of a window's length, which meets eleven steps at most,
 * holds no more than was counted at once. A cell is a tag, the low five bits of its step's number and the owner of the
 * slot that it is of, and the requests of that step; the state is when the entry is in use no more (the end of step
 * k+10, in tenths of a second: 29 bits), reached its limit (1), owner (3), version (7), and the count of all cells that
 * live in step k (24). The decision is made on the state alone. The cell is counted up before it and down after it, so
 * that whoever adds up the cells for a new step finds all that was admitted, perhaps also what is about to be refused:
 * that errs to fewer, until the next step. Lest a state that went down and up again be taken for the same, it changes
 * its version when it goes down.
 */
#include "shard_internal.h"

#define COUNT_MASK ((UINT64_C(1) << 24) - 1)
#define COUNT_MAX ((1u << 24) - 2)
#define VERSION (UINT64_C(127) << 24)
#define VERSION_ONE (UINT64_C(1) << 24)
#define STRIDE 64
#define LIVE_STEPS 10                                    /* after its own */
#define TAG_STEP (1u << 27)                              /* from a step's tag to the next one's */

/* Of a cell of `step` for the owner in `state`: what a former owner's charge leaves behind, or undoes, is not ours. */
static uint32_t tag_of(uint64_t state, uint64_t step)
{
    return (uint32_t)step * TAG_STEP | (uint32_t)((state & SHARD_OWNER) / SHARD_OWNER_BIT) << 24;
}

static uint32_t requests_of(uint32_t cell, uint32_t tag)
{
    return (cell ^ tag) <= COUNT_MASK ? cell ^ tag : 0;
}

static _Atomic uint32_t *cell_at(struct shard_slot *slot, uint64_t step)
{
    return &slot->cells[step % SHARD_CELLS];
}

/* What of the owner in `state` lives in `step`, the oldest first. */
static uint32_t read_cells(struct shard_slot *slot, uint64_t state, uint64_t step, uint32_t out[SHARD_CELLS])
{
    unsigned cell = (unsigned)((step + 1) % SHARD_CELLS); /* of step - 10 */
    uint32_t tag = tag_of(state, step - LIVE_STEPS);
    uint64_t sum = 0;

    for (unsigned i = 0; i < SHARD_CELLS; i++) {
        out[i] = requests_of(atomic_load_explicit(&slot->cells[cell], memory_order_acquire), tag);
        sum += out[i];
        tag += TAG_STEP;
        cell = cell + 1 < SHARD_CELLS ? cell + 1 : 0;
    }
    return sum < COUNT_MAX ? (uint32_t)sum : COUNT_MAX;
}

/* By how many steps the entry is ahead of the request. */
static int32_t steps_ahead(uint64_t state, const struct shard_charge *c)
{
    return shard_ahead(shard_until(state), c->until) / (int32_t)c->length;
}

/* Whether an entry so far ahead is one from before the clock was set back. */
static bool is_set_back(int32_t ahead, uint32_t length)
{
    return ahead > LIVE_STEPS && (uint32_t)ahead * length > SHARD_LATE_S * 10;
}

/* Whether it is the same entry in the same step, whatever was counted meanwhile. */
static bool is_same(uint64_t a, uint64_t b)
{
    return a != SHARD_BUSY && !shard_until(a ^ b) && !((a ^ b) & (SHARD_OWNER | VERSION));
}

/*
 * Adds to the cell of `step` as long as the entry is as it was `seen`: a cell read before that was checked is this
 * step's or a dead one, which it replaces.
 */
static bool add_to_cell(struct shard_slot *slot, uint64_t seen, uint64_t step, uint32_t cost)
{
    _Atomic uint32_t *cell = cell_at(slot, step);
    uint32_t was = atomic_load_explicit(cell, memory_order_acquire), tag = tag_of(seen, step), next;

    do {
        uint32_t count = requests_of(was, tag);

        if (!is_same(atomic_load_explicit(&slot->state, memory_order_acquire), seen))
            return false;
        next = tag | (cost < COUNT_MAX - count ? count + cost : COUNT_MAX);
    } while (!atomic_compare_exchange_weak_explicit(cell, &was, next, memory_order_acq_rel, memory_order_acquire));
    return true;
}

static void take_from_cell(struct shard_slot *slot, uint64_t state, uint64_t step, uint32_t cost)
{
    _Atomic uint32_t *cell = cell_at(slot, step);
    uint32_t was = atomic_load_explicit(cell, memory_order_relaxed);

    do {
        if (requests_of(was, tag_of(state, step)) < cost)
            return;
    } while (!atomic_compare_exchange_weak_explicit(cell, &was, was - cost, memory_order_acq_rel,
                                                    memory_order_relaxed));
}

/* Cells that are dead now would seem alive again after 352 steps. */
static void clear_dead_cells(struct shard_slot *slot, uint64_t state, uint64_t step)
{
    for (unsigned i = 0; i < SHARD_CELLS && i <= step; i++) { /* before the first step there is none */
        uint64_t at = step - i;
        _Atomic uint32_t *cell = cell_at(slot, at);
        uint32_t was = atomic_load_explicit(cell, memory_order_acquire);

        if (was != 0 && requests_of(was, tag_of(state, at)) == 0 &&
            is_same(atomic_load_explicit(&slot->state, memory_order_acquire), state))
            atomic_compare_exchange_strong_explicit(cell, &was, 0, memory_order_acq_rel, memory_order_relaxed);
    }
}

/* When there is more to be had: see tg_shard_slide. */
static int64_t reset_ms(struct shard_slot *slot, uint64_t state, uint64_t step, const struct shard_charge *c)
{
    int64_t step_ms = (int64_t)c->length * 100;
    uint32_t cells[SHARD_CELLS], left = read_cells(slot, state, step, cells);

    if (!c->ok && (uint64_t)left + (c->cost ? c->cost : 1) <= c->limit)
        return ((int64_t)step + 1) * step_ms;            /* refused for what the next step will not find */
    for (unsigned i = 0; i < SHARD_CELLS; i++) {
        left -= cells[i] < left ? cells[i] : left;
        if (cells[i] && (c->ok || (uint64_t)left + (c->cost ? c->cost : 1) <= c->limit))
            return ((int64_t)step + i + 1) * step_ms;
    }
    return ((int64_t)step + SHARD_CELLS) * step_ms;
}

static void answer(struct shard_slot *slot, uint64_t step, uint64_t state, struct shard_charge *c)
{
    c->state = state;
    c->step = step;
    c->word = &slot->state;
    c->reset_ms = reset_ms(slot, state, step, c);
}

static uint64_t with_count(uint64_t state, uint32_t count, uint32_t limit)
{
    state &= ~(COUNT_MASK | SHARD_FULL);
    return state | count | (count >= limit ? SHARD_FULL : 0);
}

static bool exchange(struct shard_slot *slot, uint64_t *seen, uint64_t next)
{
    return atomic_compare_exchange_strong_explicit(&slot->state, seen, next, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* Moves the entry on to `step`, where less of it lives. */
static bool move_on(struct shard_slot *slot, uint64_t *seen, uint64_t step, const struct shard_charge *c)
{
    uint32_t cells[SHARD_CELLS], sum = read_cells(slot, *seen, step, cells);
    uint64_t next = with_count((*seen & (SHARD_OWNER | VERSION)) | shard_state(c->until), sum, c->limit);

    if (!exchange(slot, seen, next))
        return false;
    clear_dead_cells(slot, next, step);
    *seen = next;
    return true;
}

/* The entry is in `step`. False: it changed, look again. */
static bool count_in_step(struct shard_slot *slot, uint64_t seen, uint64_t step, struct shard_charge *c)
{
    uint32_t count = (uint32_t)(seen & COUNT_MASK);
    uint64_t first = seen, next = seen;

    c->used = count;
    c->ok = (uint64_t)count + (c->cost ? c->cost : 1) <= c->limit;
    if (!c->ok)                                          /* who has no room must not start anew by losing the slot */
        next = seen | SHARD_FULL;
    if (!c->ok || c->cost == 0) {
        if (next != seen && !exchange(slot, &seen, next))
            return false;
        answer(slot, step, next, c);
        return true;
    }
    if (!add_to_cell(slot, seen, step, c->cost))
        return false;
    do {
        count = (uint32_t)(seen & COUNT_MASK);
        if (!is_same(seen, first) || (uint64_t)count + c->cost > c->limit) {
            take_from_cell(slot, first, step, c->cost);
            return false;
        }
        next = with_count(seen, count + c->cost, c->limit);
    } while (!exchange(slot, &seen, next));
    c->used = count + c->cost;
    answer(slot, step, next, c);
    return true;
}

/* A look at an entry of an earlier step: what of it will live now. */
static void look_ahead(struct shard_slot *slot, uint64_t seen, struct shard_charge *c)
{
    uint32_t cells[SHARD_CELLS];

    c->used = read_cells(slot, seen, c->step, cells);
    c->ok = c->used < c->limit;
    answer(slot, c->step, seen, c);
}

static enum shard_outcome count_slide(struct shard_slot *slot, struct shard_charge *c)
{
    uint64_t seen;
    int32_t ahead;

    do {
        seen = atomic_load_explicit(&slot->state, memory_order_acquire);
        if (seen == SHARD_BUSY || atomic_load_explicit(&slot->key, memory_order_relaxed) != c->key)
            return SHARD_GONE;
        ahead = steps_ahead(seen, c);
        if (is_set_back(ahead, c->length) || ahead < -LIVE_STEPS) /* or nothing of it lives */
            return SHARD_ANEW;
        if (ahead < 0 && c->cost == 0) {
            look_ahead(slot, seen, c);
            return SHARD_COUNTED;
        }
        if (ahead < 0 && !move_on(slot, &seen, c->step, c))
            continue;
        if (count_in_step(slot, seen, c->step + (uint64_t)(ahead > 0 ? ahead : 0), c))
            return SHARD_COUNTED;
    } while (true);
}

static uint64_t start_slide(struct shard_slot *slot, uint64_t owner, struct shard_charge *c)
{
    for (unsigned i = 0; i < SHARD_CELLS; i++)
        atomic_store_explicit(&slot->cells[i], 0, memory_order_relaxed);
    atomic_store_explicit(cell_at(slot, c->step), tag_of(owner, c->step) | c->cost, memory_order_relaxed);
    c->reset_ms = c->until_ms;
    return with_count(shard_state(c->until) | owner, c->cost, c->limit);
}

static const struct shard_rule sliding = {
    .stride = STRIDE, .count_mask = COUNT_MASK, .tick_ms = 100, .span = 22 * TG_SHARD_WINDOW_MAX_S,
    .count = count_slide, .start = start_slide,
};

struct tg_shard *tg_shard_new_sliding(size_t slots)
{
    return shard_new(&sliding, slots);
}

bool tg_shard_slide(struct tg_shard *t, uint64_t key, uint32_t length_s, int64_t now_ms, uint32_t limit, uint32_t cost,
                    struct tg_shard_count *out)
{
    uint64_t step = (uint64_t)(now_ms > 0 ? now_ms : 0) / (length_s * 100);
    struct shard_charge c = {.key = key ? key : 1, .length = length_s, .step = step, .cost = cost,
                             .now = (uint32_t)((now_ms > 0 ? now_ms : 0) / 100),
                             .limit = limit < COUNT_MAX ? limit : COUNT_MAX};
    size_t set = shard_set(t, c.key);
    struct shard_slot *slot = shard_find(t->slots + set * STRIDE * SHARD_WAYS, STRIDE, c.key);

    c.until = (uint32_t)((step + SHARD_CELLS) * length_s); /* a step is as many tenths as the window has seconds */
    c.until_ms = (int64_t)((step + SHARD_CELLS) * length_s * 100);
    if (!slot || count_slide(slot, &c) != SHARD_COUNTED)
        shard_settle(t, set, &c);
    *out = (struct tg_shard_count){.used = c.used, .reset_ms = c.reset_ms, .word = c.word, .mark = c.state,
                                   .step = c.step, .length = length_s, .together = c.together};
    return c.ok;
}

/*
 * The state first: added up in between, the cell still holds what is given back, and errs to fewer. A step that is no
 * longer alive has nothing to give back to.
 */
void shard_give_slide(const struct tg_shard_count *taken, uint32_t cost)
{
    _Atomic uint64_t *word = taken->word;
    struct shard_slot *slot = (struct shard_slot *)(void *)((char *)word - offsetof(struct shard_slot, state));
    uint64_t seen = atomic_load_explicit(word, memory_order_acquire), next;

    do {
        if (seen == SHARD_BUSY || ((seen ^ taken->mark) & SHARD_OWNER) || (seen & COUNT_MASK) < cost ||
            shard_ahead(shard_until(seen), shard_until(taken->mark)) > LIVE_STEPS * (int32_t)taken->length ||
            requests_of(atomic_load_explicit(cell_at(slot, taken->step), memory_order_relaxed),
                        tag_of(seen, taken->step)) < cost)
            return;
        next = (seen & ~(SHARD_FULL | VERSION)) | ((seen + VERSION_ONE) & VERSION);
        next -= cost;
    } while (!atomic_compare_exchange_weak_explicit(word, &seen, next, memory_order_acq_rel, memory_order_acquire));
    take_from_cell(slot, taken->mark, taken->step, cost);
}
