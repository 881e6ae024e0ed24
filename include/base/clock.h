/*
 * clock - wall and monotonic time, which a test can set.
 *
 * Wall time is for tokens, windows and logs; monotonic time for deadlines. Engines take a time as an argument and do
 * not read these.
 */
#pragma once
#include "base/buf.h"

int64_t tg_clock_wall_ms(void);                          /* milliseconds since 1970, UTC */
int64_t tg_clock_wall_us(void);                          /* the same in microseconds */
int64_t tg_clock_mono_ms(void);                          /* milliseconds since some start, never backwards */
int64_t tg_clock_mono_us(void);
/* From now on wall time is `ms` (and stands still) until set again; negative: the real clock. For tests. */
void tg_clock_set_wall_ms(int64_t ms);

/* RFC 3339 in UTC with milliseconds, "2026-11-21T10:00:00.000Z"; writes 24 characters and a NUL. */
#define TG_TIME_TEXT 25
void tg_clock_format(int64_t wall_ms, char out[TG_TIME_TEXT]);
void tg_clock_add_s(struct tg_buf *out, int64_t wall_s); /* the same in whole seconds, "2026-11-21T10:00:00Z" */
/* RFC 3339 with any offset and optional fraction. */
bool tg_clock_parse(struct tg_slice text, int64_t *wall_ms);

/* Days from 1970-01-01 to a date (months and days from 1) and back; the Gregorian calendar in all times. */
int64_t tg_days_of_date(int64_t year, int64_t month, int64_t day);
void tg_date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day);
