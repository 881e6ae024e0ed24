/*
 * alarm - one exact timer, to the millisecond; for the few that the wheel's 50 ms are too coarse for.
 *
 * Each costs the loop a place in its heap, so none is kept per request. Threads: one worker.
 */
#pragma once
#include "io/worker.h"

struct tg_alarm;

/* Calls run(arg) from the loop when it goes off. */
struct tg_alarm *tg_alarm_new(struct tg_worker *w, void (*run)(void *arg), void *arg);
void tg_alarm_free(struct tg_alarm *a);                  /* no call any more; NULL is fine */
/* Sets or moves; once. `delay_us` not above 0: at the next turn of the loop. */
void tg_alarm_set(struct tg_alarm *a, int64_t delay_us);
void tg_alarm_clear(struct tg_alarm *a);
bool tg_alarm_is_set(const struct tg_alarm *a);
