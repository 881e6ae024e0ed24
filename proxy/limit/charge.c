/*
 * charge - from what each window said to the one story told of a request.
 */
#include "limit/charge.h"

#define STORE_AGAIN_MS 5000                              /* when it is worth to ask again while nobody can count */

const char *tg_counter_name(enum tg_counter counter)
{
    static const char *const names[] = {"none", "memory", "redis", "local"};

    return names[counter];
}

static bool is_told_rather(const struct tg_charge_window *a, const struct tg_charge_window *b)
{
    if (a->full != b->full)
        return a->full;
    if (!a->full && a->remaining != b->remaining)
        return a->remaining < b->remaining;
    return a->reset_ms > b->reset_ms;
}

/* Windows in shadow mode have a say only among themselves. */
static bool has_applied_window(const struct tg_charge *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (!c->windows[i].window->shadow)
            return true;
    return false;
}

static unsigned pick_telling(const struct tg_charge *c)
{
    bool applied = has_applied_window(c);
    unsigned best = TG_TIER_WINDOWS;

    for (unsigned i = 0; i < c->count; i++)
        if ((!applied || !c->windows[i].window->shadow) &&
            (best == TG_TIER_WINDOWS || is_told_rather(&c->windows[i], &c->windows[best])))
            best = i;
    return best;
}

/* Of several windows: whether all that are applied had room, and which is told of. */
static bool judge_all(struct tg_charge *c)
{
    bool admitted = true;

    for (unsigned i = 0; i < c->count; i++) {
        const struct tg_charge_window *w = &c->windows[i];

        c->shadow_full = c->shadow_full || (w->full && w->window->shadow);
        admitted = admitted && (!w->full || w->window->shadow);
    }
    c->telling = c->count ? (uint8_t)pick_telling(c) : 0;
    return admitted;
}

static bool judge_one(struct tg_charge *c)
{
    const struct tg_charge_window *w = &c->windows[0];

    c->telling = 0;
    if (!w->full)
        return true;
    c->shadow_full = w->window->shadow;
    return c->shadow_full;
}

static void tell(struct tg_charge *c, const struct tg_charge_window *w, int64_t now_ms)
{
    int64_t wait_ms = w->reset_ms - now_ms;

    c->limit = w->limit;
    c->remaining = c->admitted ? w->remaining : 0;
    c->reset_s = (int64_t)((uint64_t)(w->reset_ms + 999) / 1000);
    c->retry_after_s = wait_ms > 1000 ? (uint32_t)((uint64_t)(wait_ms + 999) / 1000) : 1;
}

/* What is left nobody knows, and none of it can be had: until the store is back, not until the window ends. */
static void tell_none(struct tg_charge *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct tg_charge_window *w = &c->windows[i];

        if (w->window->shadow)
            continue;
        w->remaining = 0;
        if (w->reset_ms > c->at_ms + STORE_AGAIN_MS)
            w->reset_ms = c->at_ms + STORE_AGAIN_MS;
    }
}

void tg_charge_settle(struct tg_charge *c, int64_t wall_ms)
{
    c->shadow_full = false;
    c->at_ms = wall_ms > 0 ? wall_ms : 0;
    if (c->failed)
        tell_none(c);
    c->admitted = (c->count == 1 ? judge_one(c) : judge_all(c)) && !c->failed;
    if (c->count) {
        tell(c, &c->windows[c->telling], c->at_ms);
        return;
    }
    c->limit = c->remaining = 0;
    c->reset_s = 0;
    c->retry_after_s = 1;
}
