/*
 * zone - IANA time zones from TZif files (RFC 9636), version 1 and later.
 *
 * A file lists the instants at which the offset changes and ends with a rule in the form of POSIX's TZ, which holds
 * from the last of them on. Every count in a file is checked against its length before anything is read by it.
 */
#include "zone_internal.h"
#include "base/clock.h"

#define DAY_S      86400
#define OFFSET_MIN (-89999)                              /* RFC 9636 §3.2, what utoff should not exceed */
#define OFFSET_MAX 93599
#define FAR        ((int64_t)1 << 55)                    /* a thousand million years */

/* A day of each year and a time in it, as in "M3.5.0/2". */
struct yearly {
    enum { YEARLY_JULIAN, YEARLY_DAY, YEARLY_WEEKDAY } kind; /* Jn, n, Mm.w.d */
    int64_t month, week, day;
    int32_t time_s;
};
struct tg_zone {
    const int64_t *times;                                /* ascending */
    const uint8_t *types;                                /* of the time from each on */
    size_t count;
    const int32_t *offsets;                              /* of each type */
    int32_t first_s, last_s;                             /* before the first, from the last on without a rule */
    bool has_rule, has_summer;
    int32_t standard_s, summer_s;
    struct yearly summer, winter;                        /* when either begins */
};

/* ---- the rule ---- */
static bool take_number(struct tg_slice *s, size_t max_digits, int64_t max, int64_t *out)
{
    size_t digits = 0;

    *out = 0;
    while (digits < s->len && digits < max_digits && s->ptr[digits] >= '0' && s->ptr[digits] <= '9')
        *out = *out * 10 + (s->ptr[digits++] - '0');
    *s = tg_slice(s->ptr + digits, s->len - digits);
    return digits > 0 && *out <= max;
}

static bool take_char(struct tg_slice *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = tg_slice(s->ptr + 1, s->len - 1);
    return true;
}

/* [+-]h[hh][:mm[:ss]] */
static bool take_time(struct tg_slice *s, int64_t max_hours, int32_t *out)
{
    int64_t hours, minutes = 0, seconds = 0;
    bool minus = take_char(s, '-');

    if (!minus)
        take_char(s, '+');
    if (!take_number(s, 3, max_hours, &hours))
        return false;
    if (take_char(s, ':')) {
        if (!take_number(s, 2, 59, &minutes) || (take_char(s, ':') && !take_number(s, 2, 59, &seconds)))
            return false;
    }
    *out = (int32_t)(hours * 3600 + minutes * 60 + seconds) * (minus ? -1 : 1);
    return true;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* The name is needed by nobody here, but what follows it is. */
static bool skip_name(struct tg_slice *s)
{
    bool quoted = take_char(s, '<');
    size_t len = 0;

    while (len < s->len && (is_letter(s->ptr[len]) || (quoted && strchr("0123456789+-", s->ptr[len]) && s->ptr[len])))
        len++;
    *s = tg_slice(s->ptr + len, s->len - len);
    return len >= 3 && (!quoted || take_char(s, '>'));
}

static bool take_yearly(struct tg_slice *s, struct yearly *out)
{
    bool ok;

    *out = (struct yearly){.time_s = 7200};
    if (take_char(s, 'M')) {
        out->kind = YEARLY_WEEKDAY;
        ok = take_number(s, 2, 12, &out->month) && take_char(s, '.') && take_number(s, 1, 5, &out->week) &&
             take_char(s, '.') && take_number(s, 1, 6, &out->day) && out->month > 0 && out->week > 0;
    } else if (take_char(s, 'J')) {
        out->kind = YEARLY_JULIAN;
        ok = take_number(s, 3, 365, &out->day) && out->day > 0;
    } else {
        out->kind = YEARLY_DAY;
        ok = take_number(s, 3, 365, &out->day);
    }
    return ok && (!take_char(s, '/') || take_time(s, 167, &out->time_s));
}

/* std offset [dst [offset] , start , end]; offsets there are what is added to local time. */
static bool read_rule(struct tg_slice s, struct tg_zone *zone)
{
    if (!skip_name(&s) || !take_time(&s, 24, &zone->standard_s))
        return false;
    zone->standard_s = -zone->standard_s;
    zone->summer_s = zone->standard_s + 3600;
    zone->has_rule = true;
    if (s.len == 0)
        return true;
    zone->has_summer = true;
    if (!skip_name(&s))
        return false;
    if (s.len > 0 && s.ptr[0] != ',') {
        if (!take_time(&s, 24, &zone->summer_s))
            return false;
        zone->summer_s = -zone->summer_s;
    }
    return take_char(&s, ',') && take_yearly(&s, &zone->summer) && take_char(&s, ',') &&
           take_yearly(&s, &zone->winter) && s.len == 0;
}

static bool is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

/* The local midnight of that day of the year, plus its time: seconds as if local time were UTC. */
static int64_t yearly_local(const struct yearly *y, int64_t year)
{
    int64_t day = tg_days_of_date(year, 1, 1);

    switch (y->kind) {
    case YEARLY_JULIAN:                                  /* February 29 is never counted */
        day += y->day - 1 + (is_leap(year) && y->day >= 60);
        break;
    case YEARLY_DAY:
        day += y->day;
        break;
    case YEARLY_WEEKDAY: {
        int64_t next = y->month == 12 ? tg_days_of_date(year + 1, 1, 1) : tg_days_of_date(year, y->month + 1, 1);
        int64_t weekday;

        day = tg_days_of_date(year, y->month, 1);
        weekday = ((day + 4) % 7 + 7) % 7;               /* 1970-01-01 was a Thursday */
        day += (y->day - weekday + 7) % 7 + 7 * (y->week - 1);
        while (day >= next)                              /* week 5 is the last one */
            day -= 7;
        break;
    }
    }
    return day * DAY_S + y->time_s;
}

/* The last change that is not after the instant tells. Summer wins a tie: it may last all the year. */
static int32_t rule_offset(const struct tg_zone *zone, int64_t utc_s)
{
    int64_t year, month, day, latest = INT64_MIN;
    int64_t local = utc_s + zone->standard_s;
    int32_t offset = zone->standard_s;

    if (!zone->has_summer)
        return offset;
    tg_date_of_days((local - (local % DAY_S + DAY_S) % DAY_S) / DAY_S, &year, &month, &day);
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t summer = yearly_local(&zone->summer, y) - zone->standard_s;
        int64_t winter = yearly_local(&zone->winter, y) - zone->summer_s;

        if (winter <= utc_s && winter > latest) {
            latest = winter;
            offset = zone->standard_s;
        }
        if (summer <= utc_s && summer >= latest) {
            latest = summer;
            offset = zone->summer_s;
        }
    }
    return offset;
}

/* ---- the file ---- */
struct counts {
    uint32_t ut_flags, std_flags, leaps, times, types, chars;
};

static const uint8_t *take_octets(struct tg_slice *in, size_t len)
{
    const char *at = in->ptr;

    if (in->len < len)
        return NULL;
    *in = tg_slice(in->ptr + len, in->len - len);
    return (const uint8_t *)at;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t get_signed(const uint8_t *p, size_t width)
{
    if (width == 4)
        return (int32_t)get32(p);
    return (int64_t)((uint64_t)get32(p) << 32 | get32(p + 4));
}

static bool take_header(struct tg_slice *in, uint8_t *version, struct counts *c)
{
    const uint8_t *p = take_octets(in, 44);

    if (!p || memcmp(p, "TZif", 4) != 0)
        return false;
    *version = p[4];
    *c = (struct counts){get32(p + 20), get32(p + 24), get32(p + 28), get32(p + 32), get32(p + 36), get32(p + 40)};
    return true;
}

/* In 64 bits, so that no counts overflow. */
static uint64_t body_size(const struct counts *c, size_t width)
{
    return (uint64_t)c->times * (width + 1) + (uint64_t)c->types * 6 + c->chars + (uint64_t)c->leaps * (width + 4) +
           c->std_flags + c->ut_flags;
}

static bool read_types(struct tg_slice *in, const struct counts *c, struct tg_arena *arena, struct tg_zone *zone)
{
    int32_t *offsets = TG_ARENA_ARRAY(arena, int32_t, c->types);
    const uint8_t *p = take_octets(in, (size_t)c->types * 6);

    for (uint32_t i = 0; i < c->types; i++, p += 6) {
        offsets[i] = (int32_t)get32(p);
        if (offsets[i] < OFFSET_MIN || offsets[i] > OFFSET_MAX || p[4] > 1 || p[5] >= c->chars)
            return false;
    }
    zone->offsets = offsets;
    zone->first_s = offsets[0];
    zone->last_s = zone->count ? offsets[zone->types[zone->count - 1]] : offsets[0];
    return true;
}

/* All of `in` that this body needs is there. */
static bool read_body(struct tg_slice *in, const struct counts *c, size_t width, struct tg_arena *arena,
                      struct tg_zone *zone)
{
    int64_t *times = TG_ARENA_ARRAY(arena, int64_t, c->times);
    uint8_t *types = tg_arena_raw(arena, c->times);
    const uint8_t *p = take_octets(in, c->times * width);

    for (uint32_t i = 0; i < c->times; i++, p += width) {
        times[i] = get_signed(p, width);
        if (i > 0 && times[i] <= times[i - 1])
            return false;
    }
    p = take_octets(in, c->times);
    for (uint32_t i = 0; i < c->times; i++) {
        types[i] = p[i];
        if (types[i] >= c->types)
            return false;
    }
    zone->times = times;
    zone->types = types;
    zone->count = c->times;
    if (!read_types(in, c, arena, zone))
        return false;
    take_octets(in, c->chars + (size_t)c->std_flags + c->ut_flags);
    return true;
}

static bool counts_fit(const struct counts *c)
{
    return c->types > 0 && c->types <= 256 && c->chars > 0 && (c->std_flags == 0 || c->std_flags == c->types) &&
           (c->ut_flags == 0 || c->ut_flags == c->types);
}

/* "\n", the rule, "\n"; an empty rule: nobody knows what comes. */
static bool read_footer(struct tg_slice in, struct tg_zone *zone)
{
    if (in.len < 2 || in.ptr[0] != '\n' || in.ptr[in.len - 1] != '\n')
        return false;
    return in.len == 2 || read_rule(tg_slice(in.ptr + 1, in.len - 2), zone);
}

enum tg_status tg_zone_read(struct tg_slice content, struct tg_arena *arena, const struct tg_zone **out,
                            struct tg_err *err)
{
    struct tg_zone *zone = TG_ARENA_NEW(arena, struct tg_zone);
    struct tg_slice in = content;
    struct counts c;
    uint8_t version;
    size_t width = 4;

    if (content.len > TG_ZONE_BYTES)
        return tg_fail(err, TG_BAD_INPUT, "larger than a zone's file may be");
    if (!take_header(&in, &version, &c))
        return tg_fail(err, TG_BAD_INPUT, "not a zone's file: it does not begin as one");
    if (version >= '2') {                                /* the same again, with longer numbers, follows */
        if (body_size(&c, 4) > in.len || !take_octets(&in, (size_t)body_size(&c, 4)) ||
            !take_header(&in, &version, &c) || version < '2')
            return tg_fail(err, TG_BAD_INPUT, "not a zone's file: its second part is missing");
        width = 8;
    } else if (version != 0) {
        return tg_fail(err, TG_BAD_INPUT, "not a zone's file: its version is unknown");
    }
    if (c.leaps > 0)
        return tg_fail(err, TG_BAD_INPUT, "this zone's file counts leap seconds, which clocks do not");
    if (!counts_fit(&c) || body_size(&c, width) > in.len)
        return tg_fail(err, TG_BAD_INPUT, "not a zone's file: its counts do not fit its length");
    if (!read_body(&in, &c, width, arena, zone))
        return tg_fail(err, TG_BAD_INPUT, "not a zone's file: a value is out of its range");
    if (width == 8 && !read_footer(in, zone))
        return tg_fail(err, TG_BAD_INPUT, "not a zone's file: it does not end in a rule for the years to come");
    *out = zone;
    return TG_OK;
}

const struct tg_zone tg_zone_utc = {.first_s = 0};

int32_t tg_zone_offset_s(const struct tg_zone *zone, int64_t utc_s)
{
    size_t low = 0, high = zone->count;

    utc_s = utc_s < -FAR ? -FAR : utc_s > FAR ? FAR : utc_s;
    if (zone->has_rule && (zone->count == 0 || utc_s >= zone->times[zone->count - 1]))
        return rule_offset(zone, utc_s);
    while (low < high) {                                 /* the first change after the instant */
        size_t middle = low + (high - low) / 2;

        if (zone->times[middle] > utc_s)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == 0)
        return zone->first_s;
    return low == zone->count ? zone->last_s : zone->offsets[zone->types[low - 1]];
}
