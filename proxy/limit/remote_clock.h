/*
 * remote_clock - what time it is at the store, as an interval that holds the truth.
 *
 * The store tells its time t in an answer to what was sent at s and answered at a (our monotonic clock): when t was
 * read our clock showed something in [s, a], so the store is ahead of it by something in [t - a, t - s]. Intervals of
 * several answers are cut with each other, and grow by what two clocks may drift apart meanwhile (500 ppm each way,
 * the most that NTP slews). An answer that does not fit says that one of the two was set: it alone counts from then on.
 * Pure: values only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define TG_STORE_DRIFT_PPM 500

struct tg_store_clock {
    bool known;
    int64_t low_us, high_us;                             /* store minus monotonic, at `at_us` */
    int64_t at_us;
    uint32_t steps;                                      /* how often it was set; the first time too */
};
struct tg_store_time { int64_t low_us, high_us; };       /* microseconds since 1970, by the store */

void tg_store_clock_learn(struct tg_store_clock *c, int64_t sent_us, int64_t answered_us, int64_t store_us);
struct tg_store_time tg_store_clock_at(const struct tg_store_clock *c, int64_t mono_us);
