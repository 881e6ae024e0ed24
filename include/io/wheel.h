/*
 * wheel - deadlines by the thousand at the price of a store.
 *
 * A hashed timing wheel, driven by one timer of the loop that runs only while something waits. Moving a deadline later
 * only writes the new time; the wheel finds out when the old slot comes by. Granularity 50 ms, never early.
 * Threads: one wheel per worker, its thread only.
 */
#pragma once
#include "base/buf.h"

#define TG_WHEEL_SLOTS 512
#define TG_WHEEL_TICK_MS 50

struct tg_deadline {
    struct tg_deadline *next, **prev;                    /* private */
    int64_t at_ms;                                       /* monotonic; 0: not set */
    int64_t slot_ms;                                     /* private: where it is filed */
    void (*expired)(struct tg_deadline *d);
};
struct tg_wheel {
    struct tg_deadline *slots[TG_WHEEL_SLOTS];
    int64_t done_ms;                                     /* everything up to here was looked at */
    size_t count;
    void (*wake)(struct tg_wheel *wheel, bool needed);   /* told when the wheel starts and stops being needed */
};

void tg_wheel_init(struct tg_wheel *wheel, int64_t now_ms, void (*wake)(struct tg_wheel *wheel, bool needed));
/* Sets or moves; at_ms in the past expires at the next turn. */
void tg_deadline_set(struct tg_wheel *wheel, struct tg_deadline *d, int64_t at_ms);
void tg_deadline_clear(struct tg_wheel *wheel, struct tg_deadline *d); /* also when not set */
/* Will not expire until set again. A store: unlike a cleared one it stays known to the wheel, so clear it before its
 * memory goes. */
static inline void tg_deadline_rest(struct tg_deadline *d)
{
    if (d->prev)
        d->at_ms = INT64_MAX;
}
/* Calls `expired` of what is due; such a deadline is cleared before its call. */
void tg_wheel_run(struct tg_wheel *wheel, int64_t now_ms);
