/*
 * clock - the calendar is computed here: the C library's takes a lock for the time zone.
 */
#include "base/clock.h"
#include <time.h>

#define DAY_MS INT64_C(86400000)
#define FIRST_MS INT64_C(-62167219200000)                /* 0000-01-01T00:00:00.000Z */
#define LAST_MS INT64_C(253402300799999)                 /* 9999-12-31T23:59:59.999Z */

static int64_t fixed_wall_ms = -1;

static int64_t now_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t tg_clock_wall_ms(void)
{
    int64_t fixed = __atomic_load_n(&fixed_wall_ms, __ATOMIC_RELAXED);

    return fixed >= 0 ? fixed : now_ns(CLOCK_REALTIME) / 1000000;
}

int64_t tg_clock_wall_us(void)
{
    int64_t fixed = __atomic_load_n(&fixed_wall_ms, __ATOMIC_RELAXED);

    return fixed >= 0 ? fixed * 1000 : now_ns(CLOCK_REALTIME) / 1000;
}

int64_t tg_clock_mono_ms(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t tg_clock_mono_us(void)
{
    return now_ns(CLOCK_MONOTONIC) / 1000;
}

void tg_clock_set_wall_ms(int64_t ms)
{
    __atomic_store_n(&fixed_wall_ms, ms, __ATOMIC_RELAXED);
}

/* Years run from March here, so that the leap day is the last of its year. 146097 days are 400 years. */
int64_t tg_days_of_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

void tg_date_of_days(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t m = (5 * doy + 2) / 153;

    *day = doy - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = yoe + era * 400 + (*month <= 2);
}

static void put(char *at, int digits, int64_t value)
{
    while (digits--) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void tg_clock_format(int64_t wall_ms, char out[TG_TIME_TEXT])
{
    int64_t ms = wall_ms < FIRST_MS ? FIRST_MS : wall_ms > LAST_MS ? LAST_MS : wall_ms;
    int64_t of_day = (ms % DAY_MS + DAY_MS) % DAY_MS;
    int64_t year, month, day;

    tg_date_of_days((ms - of_day) / DAY_MS, &year, &month, &day);
    memcpy(out, "0000-00-00T00:00:00.000Z", TG_TIME_TEXT);
    put(out, 4, year);
    put(out + 5, 2, month);
    put(out + 8, 2, day);
    put(out + 11, 2, of_day / 3600000);
    put(out + 14, 2, of_day / 60000 % 60);
    put(out + 17, 2, of_day / 1000 % 60);
    put(out + 20, 3, of_day % 1000);
}

void tg_clock_add_s(struct tg_buf *out, int64_t wall_s)
{
    char text[TG_TIME_TEXT];

    tg_clock_format(wall_s < FIRST_MS / 1000 ? FIRST_MS : wall_s > LAST_MS / 1000 ? LAST_MS : wall_s * 1000, text);
    tg_buf_addf(out, "%.19sZ", text);
}

/* Exactly `digits` digits at the start of *s, then `after` (NUL: nothing); moves *s behind them. */
static bool take(struct tg_slice *s, size_t digits, char after, int64_t *out)
{
    size_t len = digits + (after != '\0');
    uint64_t n;

    if (s->len < len || !tg_slice_to_u64(tg_slice(s->ptr, digits), &n) || (after && s->ptr[digits] != after))
        return false;
    s->ptr += len;
    s->len -= len;
    *out = (int64_t)n;
    return true;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : days[month - 1];
}

static bool take_fraction(struct tg_slice *s, int64_t *ms)
{
    size_t digits = 0;

    *ms = 0;
    if (s->len == 0 || s->ptr[0] != '.')
        return true;
    for (size_t i = 1; i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9'; i++, digits++)
        if (digits < 3)
            *ms += (s->ptr[i] - '0') * (digits == 0 ? 100 : digits == 1 ? 10 : 1);
    s->ptr += digits + 1;
    s->len -= digits + 1;
    return digits > 0;
}

/* "Z" or "+hh:mm", nothing after it. */
static bool take_offset(struct tg_slice *s, int64_t *minutes)
{
    int64_t hours, mins, sign;

    *minutes = 0;
    if (s->len == 1)
        return s->ptr[0] == 'Z' || s->ptr[0] == 'z';
    if (s->len != 6 || (s->ptr[0] != '+' && s->ptr[0] != '-'))
        return false;
    sign = s->ptr[0] == '-' ? -1 : 1;
    s->ptr++;
    s->len--;
    if (!take(s, 2, ':', &hours) || !take(s, 2, '\0', &mins) || hours > 23 || mins > 59)
        return false;
    *minutes = sign * (hours * 60 + mins);
    return true;
}

bool tg_clock_parse(struct tg_slice text, int64_t *wall_ms)
{
    int64_t year, month, day, hour, minute, second, ms, offset, seconds;

    if (!take(&text, 4, '-', &year) || !take(&text, 2, '-', &month) || !take(&text, 2, '\0', &day) || text.len == 0 ||
        (text.ptr[0] != 'T' && text.ptr[0] != 't'))
        return false;
    text.ptr++;
    text.len--;
    if (!take(&text, 2, ':', &hour) || !take(&text, 2, ':', &minute) || !take(&text, 2, '\0', &second) ||
        !take_fraction(&text, &ms) || !take_offset(&text, &offset))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    seconds = tg_days_of_date(year, month, day) * 86400 + hour * 3600 + (minute - offset) * 60 + second;
    if (second == 60 && seconds % 86400 != 0)            /* a leap second ends a UTC day */
        return false;
    *wall_ms = seconds * 1000 + ms;
    return true;
}
