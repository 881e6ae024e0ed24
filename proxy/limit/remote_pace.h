/*
 * remote_pace - how many permits to ask for, and when: pure arithmetic.
 *
 * What it is after: a key with 40 or more requests a window at this process costs less than one command for 20 of them,
 * and permits that nobody uses here do not stay here for long. Times in microseconds.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define TG_PACE_COLD 64                                  /* asked for when nothing is known of a key */
#define TG_PACE_BUSY 40                                  /* requests in a window that make a key a busy one */
#define TG_PACE_PER_COMMAND 20

struct tg_pace {                                         /* one key in one window, or in one step of a sliding one */
    uint32_t limit;
    int64_t span_us, elapsed_us;                         /* of the window: length, and how much of it is over */
    uint32_t used, former;                               /* here, in this one and in the one before */
    uint32_t permits, last_grant;
    uint32_t waiting;                                    /* requests that wait for permits now */
    uint32_t requests, commands;                         /* in this window, refused ones too */
    bool sliding;                                        /* permits are for one step only */
};

/* How many to ask for; at least 1. */
uint32_t tg_pace_want(const struct tg_pace *p);
/* How many of them are nearly certain to be used: the store may hand out these even if it is more than half of what is
 * left. */
uint32_t tg_pace_sure(const struct tg_pace *p, uint32_t want);
/* Whether to ask now, before the permits in hand run out. */
bool tg_pace_asks_ahead(const struct tg_pace *p);
/* Whether to ask for permits of the next window now; `spread` (any number, of the key) keeps keys apart. */
bool tg_pace_asks_next(const struct tg_pace *p, uint32_t spread);
/* After how long without a request what is not used goes back. `gap_us`: between requests, on average so far. */
int64_t tg_pace_idle_us(const struct tg_pace *p, int64_t gap_us);
/* When nothing was left: after how long to ask whether others gave something back. `times`: asked so far. */
int64_t tg_pace_retry_us(const struct tg_pace *p, unsigned times);
