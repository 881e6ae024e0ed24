/*
 * remote_pace - see remote_pace.h.
 *
 * A grant lasts for an eighth of a window at the key's rate, so that a busy key asks about eight times a window however
 * busy it is; a slow one gets 64 at first, and later little more than it used in the window before, but never less than
 * a key of 40 requests needs, so that one that grows to them costs one command too. The rate is the better of two:
 * the former window's, and this one's so far, taken for no shorter than an eighth of a window, so that a burst at the
 * beginning at most doubles what is asked.
 */
#include "remote_pace.h"

#define PARTS 8                                          /* of a window, one grant each */
#define AHEAD_PART 4                                     /* of the last grant: what is left when more is asked for */
#define NEXT_PART 10                                     /* of a window: the last one, in which the next one is asked */
#define NEXT_MAX_US 2000000
#define IDLE_PART 30
#define RETRY_PART 20
#define LEAST_US 250000

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }
static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* Requests a window, as expected. */
static uint64_t rate(const struct tg_pace *p)
{
    uint64_t elapsed = (uint64_t)later(p->elapsed_us, p->span_us / PARTS + 1);

    return most(p->former, (uint64_t)p->used * (uint64_t)p->span_us / elapsed);
}

/* A step is short and begins with nothing: enough for all of it. */
static uint64_t want_of_step(const struct tg_pace *p)
{
    if (p->former == 0)
        return most(TG_PACE_COLD / 8, p->used);
    return most((uint64_t)p->former * 5 / 4 + 2 > p->used ? (uint64_t)p->former * 5 / 4 + 2 - p->used : 0,
                p->used / 2 + 2);
}

static uint64_t want_of_window(const struct tg_pace *p)
{
    uint64_t floor = TG_PACE_COLD;

    if (p->former)                                       /* known: little more than that, or than a busy one's least */
        floor = least(floor, most(p->former, TG_PACE_BUSY) * 5 / 4 + 4);
    return most(floor, rate(p) / PARTS);
}

uint32_t tg_pace_want(const struct tg_pace *p)
{
    uint64_t want = p->sliding ? want_of_step(p) : want_of_window(p);

    want = most(most(want, p->waiting), 1);
    return (uint32_t)least(want, p->limit ? p->limit : 1);
}

uint32_t tg_pace_sure(const struct tg_pace *p, uint32_t want)
{
    uint64_t rest = p->former > p->used ? p->former - p->used : 0;

    return (uint32_t)least(want, most(most(rest, 2 * (uint64_t)p->used), p->waiting));
}

bool tg_pace_asks_ahead(const struct tg_pace *p)
{
    int64_t left_us = p->span_us - p->elapsed_us;
    uint64_t elapsed = (uint64_t)later(p->elapsed_us, p->span_us / 64 + 1);

    if (p->permits > p->last_grant / AHEAD_PART || left_us <= 0)
        return false;
    /* What is in hand may well do until the end of the window. */
    return (uint64_t)p->used * (uint64_t)left_us / elapsed > p->permits;
}

bool tg_pace_asks_next(const struct tg_pace *p, uint32_t spread)
{
    int64_t part = p->span_us / NEXT_PART;
    int64_t left_us = p->span_us - p->elapsed_us;

    if (p->sliding || p->used < TG_PACE_BUSY)
        return false;
    if (part > NEXT_MAX_US)
        part = NEXT_MAX_US;
    return left_us > 0 && left_us <= part / 4 + part * 3 / 4 * (int64_t)(spread % 256) / 255;
}

int64_t tg_pace_idle_us(const struct tg_pace *p, int64_t gap_us)
{
    int64_t idle = later(later(LEAST_US, p->span_us / IDLE_PART), 4 * gap_us);

    /* To give back costs a command now and another one when the key comes again. */
    if (p->requests > 1 && (p->commands + 2) * (uint64_t)TG_PACE_PER_COMMAND > p->requests)
        idle *= 2;
    return idle;
}

int64_t tg_pace_retry_us(const struct tg_pace *p, unsigned times)
{
    int64_t retry = later(LEAST_US, p->span_us / RETRY_PART);

    if ((p->commands + 1) * (uint64_t)TG_PACE_PER_COMMAND < p->requests)
        return retry;                                    /* so many are refused that asking costs nothing */
    return retry << (times < 4 ? times : 4);
}
