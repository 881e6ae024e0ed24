/*
 * wheel - a hashed timing wheel whose entries are moved lazily.
 *
 * An entry is filed under the slot of its deadline. Setting it later leaves it where it is: when that slot comes by,
 * the entry is found early and filed anew. So the usual "again in 60 s" of every request is one store.
 */
#include "io/wheel.h"

static int64_t tick_of(int64_t ms)
{
    return ms / TG_WHEEL_TICK_MS;
}

static void file_entry(struct tg_wheel *wheel, struct tg_deadline *d)
{
    /* One tick later than exact, so that it is never early; not before the next slot to be looked at. */
    int64_t tick = tick_of(d->at_ms) + 1;

    if (tick <= tick_of(wheel->done_ms))
        tick = tick_of(wheel->done_ms) + 1;
    if (tick - tick_of(wheel->done_ms) >= TG_WHEEL_SLOTS)
        tick = tick_of(wheel->done_ms) + TG_WHEEL_SLOTS - 1; /* far away: seen early, filed again */
    struct tg_deadline **slot = &wheel->slots[tick % TG_WHEEL_SLOTS];

    d->slot_ms = tick * TG_WHEEL_TICK_MS;
    d->next = *slot;
    d->prev = slot;
    if (d->next)
        d->next->prev = &d->next;
    *slot = d;
}

static void unfile_entry(struct tg_deadline *d)
{
    *d->prev = d->next;
    if (d->next)
        d->next->prev = d->prev;
    d->next = NULL;
    d->prev = NULL;
}

void tg_wheel_init(struct tg_wheel *wheel, int64_t now_ms, void (*wake)(struct tg_wheel *wheel, bool needed))
{
    memset(wheel, 0, sizeof(*wheel));
    wheel->done_ms = now_ms;
    wheel->wake = wake;
}

void tg_deadline_set(struct tg_wheel *wheel, struct tg_deadline *d, int64_t at_ms)
{
    d->at_ms = at_ms > 0 ? at_ms : 1;
    if (d->prev) {
        if (d->at_ms >= d->slot_ms - TG_WHEEL_TICK_MS)
            return;                                      /* later than filed: the wheel will find out */
        unfile_entry(d);
        file_entry(wheel, d);
        return;
    }
    if (wheel->count++ == 0 && wheel->wake)
        wheel->wake(wheel, true);                        /* first: it brings done_ms up to date */
    file_entry(wheel, d);
}

void tg_deadline_clear(struct tg_wheel *wheel, struct tg_deadline *d)
{
    d->at_ms = 0;
    if (!d->prev)
        return;
    unfile_entry(d);
    wheel->count--;                                      /* the tick stops by itself when it finds nothing */
}

static void run_slot(struct tg_wheel *wheel, size_t index, int64_t now_ms)
{
    struct tg_deadline *due = wheel->slots[index];

    /* Taken off as one list, since callbacks set and clear deadlines of this very slot. */
    wheel->slots[index] = NULL;
    if (due)
        due->prev = &due;
    while (due) {
        struct tg_deadline *d = due;

        unfile_entry(d);
        if (d->at_ms > now_ms) {
            file_entry(wheel, d);
            continue;
        }
        wheel->count--;
        d->at_ms = 0;
        d->expired(d);
    }
}

void tg_wheel_run(struct tg_wheel *wheel, int64_t now_ms)
{
    int64_t from = tick_of(wheel->done_ms) + 1;
    int64_t to = tick_of(now_ms);

    if (to - from >= TG_WHEEL_SLOTS)
        from = to - TG_WHEEL_SLOTS + 1;
    for (int64_t tick = from; tick <= to; tick++) {
        wheel->done_ms = tick * TG_WHEEL_TICK_MS;
        run_slot(wheel, (size_t)(tick % TG_WHEEL_SLOTS), now_ms);
    }
    if (wheel->count == 0 && wheel->wake)
        wheel->wake(wheel, false);
}
