/*
 * remote_clock - intervals of the store's time, cut and widened.
 */
#include "remote_clock.h"

static int64_t drift_us(const struct tg_store_clock *c, int64_t mono_us)
{
    int64_t age_us = mono_us > c->at_us ? mono_us - c->at_us : 0;

    return (age_us * TG_STORE_DRIFT_PPM + 999999) / 1000000;
}

void tg_store_clock_learn(struct tg_store_clock *c, int64_t sent_us, int64_t answered_us, int64_t store_us)
{
    int64_t low = store_us - answered_us, high = store_us - sent_us;
    int64_t drift = drift_us(c, answered_us);
    int64_t old_low = c->low_us - drift, old_high = c->high_us + drift;

    if (c->known && old_low <= high && low <= old_high) {
        c->low_us = low > old_low ? low : old_low;
        c->high_us = high < old_high ? high : old_high;
    } else {
        c->steps++;
        c->low_us = low;
        c->high_us = high;
    }
    c->known = true;
    if (answered_us > c->at_us)
        c->at_us = answered_us;
}

struct tg_store_time tg_store_clock_at(const struct tg_store_clock *c, int64_t mono_us)
{
    int64_t drift = drift_us(c, mono_us);

    return (struct tg_store_time){mono_us + c->low_us - drift, mono_us + c->high_us + drift};
}
