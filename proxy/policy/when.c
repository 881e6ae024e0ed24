/*
 * when - the criteria about time: date and day_of_week in UTC, time_of_day in a zone of its own.
 *
 * All bounds are strict: neither `after` nor `before` itself is within. A range over midnight is two criteria.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/setting.h"
#include "base/zone.h"
#include "internal.h"
#include <stdio.h>

#define DAY_MS  INT64_C(86400000)
#define HOUR_NS INT64_C(3600000000000)

struct tg_when {
    enum tg_when_kind kind;
    bool has_after, has_before;
    int64_t after, before;                               /* DATE: ms since 1970; CLOCK: ns since midnight */
    unsigned days;                                       /* DAY: bit 0 is Sunday */
    const struct tg_zone *zone;                          /* CLOCK */
    struct tg_slice zone_name;
};

/* ---- an instant: ISO 8601, in UTC unless it says an offset ---- */
static bool has_offset(struct tg_slice s)
{
    char last = s.ptr[s.len - 1];

    if (last == 'Z' || last == 'z')
        return true;
    for (size_t i = 11; i < s.len; i++) {                /* behind the date, whose dashes are none */
        if (s.ptr[i] == '+' || s.ptr[i] == '-')
            return true;
    }
    return false;
}

/* 2026-03-01, 2026-03-01T08:00, 2026-03-01T08:00:00.5, each of the latter two with Z or an offset: made RFC 3339. */
static bool read_instant(struct tg_slice s, int64_t *ms)
{
    char text[64];
    int len;

    if (s.len < 10 || s.len > 40 || memchr(s.ptr, '\0', s.len))
        return false;
    if (s.len == 10) {
        len = snprintf(text, sizeof(text), TG_S_FMT "T00:00:00Z", TG_S_ARG(s));
    } else {
        bool seconds = s.len > 16 && s.ptr[16] == ':';
        size_t head = s.len < 16 ? s.len : 16;

        len = snprintf(text, sizeof(text), "%.*s%s%.*s%s", (int)head, s.ptr, seconds ? "" : ":00",
                       (int)(s.len - head), s.ptr + head, has_offset(s) ? "" : "Z");
    }
    return tg_clock_parse(tg_slice(text, (size_t)len), ms);
}

/* ---- a time of day ---- */
static bool take_digits(struct tg_slice *s, size_t least, size_t most, int64_t max, int64_t *out)
{
    size_t count = 0;

    *out = 0;
    while (count < s->len && count < most && s->ptr[count] >= '0' && s->ptr[count] <= '9')
        *out = *out * 10 + (s->ptr[count++] - '0');
    *s = tg_slice(s->ptr + count, s->len - count);
    return count >= least && *out <= max;
}

static bool take_char(struct tg_slice *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c)
        return false;
    *s = tg_slice(s->ptr + 1, s->len - 1);
    return true;
}

/* Of a second, up to nine digits. */
static bool take_fraction(struct tg_slice *s, int64_t *ns)
{
    size_t before;

    if (!take_char(s, '.'))
        return true;
    before = s->len;
    if (!take_digits(s, 1, 9, INT64_MAX, ns))
        return false;
    for (size_t digits = before - s->len; digits < 9; digits++)
        *ns *= 10;
    return true;
}

/* 3:04 PM, 3:04PM, 3 PM, 3PM */
static bool read_half_day(struct tg_slice s, bool pm, int64_t *ns)
{
    int64_t hours, minutes = 0;

    if (s.len > 0 && s.ptr[s.len - 1] == ' ')
        s.len--;
    if (!take_digits(&s, 1, 2, 12, &hours) || hours == 0)
        return false;
    if (take_char(&s, ':') && !take_digits(&s, 2, 2, 59, &minutes))
        return false;
    *ns = (hours % 12 + (pm ? 12 : 0)) * HOUR_NS + minutes * (HOUR_NS / 60);
    return s.len == 0;
}

/* 15:04, 15:04:05, 15:04:05.999999999 */
static bool read_full_day(struct tg_slice s, int64_t *ns)
{
    int64_t hours, minutes, seconds = 0, fraction = 0;

    if (!take_digits(&s, 1, 2, 23, &hours) || !take_char(&s, ':') || !take_digits(&s, 2, 2, 59, &minutes))
        return false;
    if (take_char(&s, ':') && (!take_digits(&s, 2, 2, 59, &seconds) || !take_fraction(&s, &fraction)))
        return false;
    *ns = hours * HOUR_NS + minutes * (HOUR_NS / 60) + seconds * (HOUR_NS / 3600) + fraction;
    return s.len == 0;
}

static bool read_clock(struct tg_slice s, int64_t *ns)
{
    struct tg_slice end = s.len < 2 ? TG_S("") : tg_slice(s.ptr + s.len - 2, 2);
    bool pm = tg_slice_eq_nocase(end, TG_S("PM"));

    if (pm || tg_slice_eq_nocase(end, TG_S("AM")))
        return read_half_day(tg_slice(s.ptr, s.len - 2), pm, ns);
    return read_full_day(s, ns);
}

/* ---- days ---- */
static const char *const days[] = {"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};
static const char *const short_days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

/* 0: Sunday; -1: no day. */
static int day_of(struct tg_slice word)
{
    for (int i = 0; i < 7; i++) {
        if (tg_slice_eq_nocase(word, tg_slice_str(days[i])) || tg_slice_eq_nocase(word, tg_slice_str(short_days[i])))
            return i;
    }
    return -1;
}

/* One day or a range of them, which may go over the end of the week. False: `wrong` is what is no day. */
static bool read_days(struct tg_slice item, unsigned *set, struct tg_slice *wrong)
{
    struct tg_slice first, last;
    bool range = tg_slice_cut(item, '-', &first, &last);
    int from, to;

    first = tg_slice_trim(first);
    last = range ? tg_slice_trim(last) : first;
    from = day_of(first);
    to = day_of(last);
    if (from < 0 || to < 0) {
        *wrong = from < 0 ? first : last;
        return false;
    }
    for (int day = from;; day = (day + 1) % 7) {
        *set |= 1u << day;
        if (day == to)
            return true;
    }
}

static bool read_week(struct tg_slice text, unsigned *set, struct tg_slice *wrong)
{
    struct tg_slice item, rest = text;
    bool more = true;

    *set = 0;
    if (tg_slice_eq(tg_slice_trim(text), TG_S("*"))) {
        *set = 0x7f;
        return true;
    }
    while (more) {
        more = tg_slice_cut(rest, ',', &item, &rest);
        if (!read_days(item, set, wrong))
            return false;
    }
    return true;
}

/* ---- as written: errors ---- */
static const char *nearest_day(const char *word)
{
    const char *names[14];
    char lower[TG_SHOWN];
    size_t len = 0;

    for (size_t i = 0; i < 7; i++) {
        names[i] = days[i];
        names[7 + i] = short_days[i];
    }
    for (; word[len] && len < sizeof(lower) - 1; len++)
        lower[len] = word[len] >= 'A' && word[len] <= 'Z' ? (char)(word[len] + 32) : word[len];
    lower[len] = '\0';
    return tg_nearest(lower, names, ARRAY_LEN(names));
}

#define DAYS_EXPECTED "days as in mon-fri, in \"sat, sun\", or *"

static void check_days(struct tg_parse *p, const cJSON *data)
{
    struct tg_slice wrong;
    char shown[TG_SHOWN], *word;
    const char *near;
    unsigned set;

    if (!cJSON_IsString(data)) {
        tg_parse_problem(p, data, false, "expected " DAYS_EXPECTED ", as one text, not %s", tg_kind_of(data));
        return;
    }
    if (read_week(tg_slice_str(data->valuestring), &set, &wrong))
        return;
    if (wrong.len == 0) {
        tg_parse_problem(p, data, false, "a day is missing (expected " DAYS_EXPECTED ")");
        return;
    }
    word = tg_slice_dup(wrong);
    near = nearest_day(word);
    tg_parse_problem(p, data, false, "\"%s\" is not a day of the week%s%s%s (expected " DAYS_EXPECTED ")",
                     tg_shown(word, shown), near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    free(word);
}

static void check_bound(struct tg_parse *p, const struct tg_criterion *row, const cJSON *member)
{
    const char *expected = row->when == TG_WHEN_DATE
                               ? "expected a date as 2026-03-01 or 2026-03-01T08:00:00, in UTC unless an offset follows"
                               : "expected a time as 15:04, 15:04:05 or 3:04 PM";
    struct tg_slice text;
    char shown[TG_SHOWN];
    int64_t ignored;

    if (!tg_json_str(member, &text))
        tg_parse_problem(p, member, false, "%s, not %s", expected, tg_kind_of(member));
    else if (row->when == TG_WHEN_DATE ? !read_instant(text, &ignored) : !read_clock(text, &ignored))
        tg_parse_problem(p, member, false, "\"%s\" is not a %s (%s)", tg_shown(member->valuestring, shown),
                         row->when == TG_WHEN_DATE ? "date" : "time of day", expected);
}

static void check_zone(struct tg_parse *p, const cJSON *member)
{
    const struct tg_zone *zone;
    struct tg_slice name;
    struct tg_err err = {0};
    char shown[TG_SHOWN];
    enum tg_status st;

    if (!tg_json_str(member, &name)) {
        tg_parse_problem(p, member, false, "expected the name of a time zone, as Europe/Prague, not %s",
                         tg_kind_of(member));
        return;
    }
    st = tg_zone_get(name, &zone, &err);
    if (st == TG_NOT_FOUND && name.len > 0 && strchr("+-0123456789", name.ptr[0]))
        tg_parse_problem(p, member, false, "\"%s\" is not the name of a time zone, such as Europe/Prague; a fixed "
                         "offset has one too: Etc/GMT-2 is two hours ahead of UTC", tg_shown(name.ptr, shown));
    else if (st != TG_OK)
        tg_parse_problem(p, member, false, "\"%s\": %s", tg_shown(name.ptr, shown), err.text);
}

void tg_when_check(struct tg_parse *p, const struct tg_criterion *row, const cJSON *data)
{
    static const char *const names[] = {"after", "before", "timezone"};
    bool clock = row->when == TG_WHEN_CLOCK;
    const char *expected = clock ? "timezone, after or before" : "after or before";
    const cJSON *member;

    if (row->when == TG_WHEN_DAY) {
        check_days(p, data);
        return;
    }
    if (!cJSON_IsObject(data)) {
        tg_parse_problem(p, data, false, "expected a mapping with %s, not %s",
                         clock ? "timezone, after and before" : "after and before", tg_kind_of(data));
        return;
    }
    cJSON_ArrayForEach(member, data) {
        bool zone = clock && strcmp(member->string, "timezone") == 0;

        if (!zone && strcmp(member->string, "after") != 0 && strcmp(member->string, "before") != 0) {
            tg_parse_unknown_key(p, member, "known here", names, clock ? 3 : 2, expected);
            continue;
        }
        p->operator = member->string;
        if (zone)
            check_zone(p, member);
        else
            check_bound(p, row, member);
        p->operator = NULL;
    }
    if (clock && !tg_json_get(data, "timezone"))
        tg_parse_problem(p, data, false, "`timezone` is missing: whose clock, as Europe/Prague or UTC");
}

/* ---- what it means ---- */
static bool read_bound(enum tg_when_kind kind, const cJSON *data, const char *name, int64_t *out)
{
    struct tg_slice text;
    bool ok;

    if (!tg_json_str(tg_json_get(data, name), &text))
        return false;
    ok = kind == TG_WHEN_DATE ? read_instant(text, out) : read_clock(text, out);
    tg_assert(ok);                                       /* the parser looked at it */
    return true;
}

const struct tg_when *tg_when_make(struct tg_arena *arena, const struct tg_criterion *row, const cJSON *data)
{
    struct tg_when *when = TG_ARENA_NEW(arena, struct tg_when);
    struct tg_slice wrong;

    when->kind = row->when;
    if (row->when == TG_WHEN_DAY) {
        bool ok = read_week(tg_slice_str(data->valuestring), &when->days, &wrong);
        tg_assert(ok);
        return when;
    }
    when->has_after = read_bound(row->when, data, "after", &when->after);
    when->has_before = read_bound(row->when, data, "before", &when->before);
    if (row->when == TG_WHEN_CLOCK) {
        tg_json_str(tg_json_get(data, "timezone"), &when->zone_name);
        when->zone = tg_zone_kept(when->zone_name);      /* the parser got it */
    }
    return when;
}

/* Rounded down, also before 1970. */
static int64_t day_number(int64_t ms) { return (ms - (ms % DAY_MS + DAY_MS) % DAY_MS) / DAY_MS; }
static int weekday(int64_t ms) { return (int)((day_number(ms) % 7 + 11) % 7); } /* 1970-01-01 was a Thursday */

static int64_t local_ms(const struct tg_when *when, int64_t wall_ms)
{
    int64_t utc_s = day_number(wall_ms) * 86400 + (wall_ms - day_number(wall_ms) * DAY_MS) / 1000;

    return wall_ms + (int64_t)tg_zone_offset_s(when->zone, utc_s) * 1000;
}

bool tg_when_holds(const struct tg_when *when, int64_t wall_ms)
{
    int64_t now = wall_ms;

    if (when->kind == TG_WHEN_DAY)
        return when->days >> weekday(wall_ms) & 1;
    if (when->kind == TG_WHEN_CLOCK) {
        now = local_ms(when, wall_ms);
        now = (now - day_number(now) * DAY_MS) * 1000000;
    }
    return (!when->has_after || now > when->after) && (!when->has_before || now < when->before);
}

void tg_when_saw(const struct tg_when *when, int64_t wall_ms, struct tg_buf *out)
{
    char text[TG_TIME_TEXT];
    int32_t offset_s;

    if (when->kind != TG_WHEN_CLOCK) {
        tg_clock_format(wall_ms, text);
        if (when->kind == TG_WHEN_DAY)
            tg_buf_addf(out, "%s, ", short_days[weekday(wall_ms)]);
        tg_buf_adds(out, text);
        return;
    }
    tg_clock_format(local_ms(when, wall_ms), text);
    offset_s = (int32_t)((local_ms(when, wall_ms) - wall_ms) / 1000);
    tg_buf_addf(out, "%.12s in " TG_S_FMT " (UTC%c%02d:%02d)", text + 11, TG_S_ARG(when->zone_name),
                offset_s < 0 ? '-' : '+', abs(offset_s) / 3600, abs(offset_s) / 60 % 60);
}

/* ---- legal, and probably not meant ---- */
bool tg_when_apart(const struct tg_when *a, const struct tg_when *b)
{
    if (a->kind != b->kind || (a->kind == TG_WHEN_CLOCK && !tg_slice_eq(a->zone_name, b->zone_name)))
        return false;
    if (a->kind == TG_WHEN_DAY)
        return (a->days & b->days) == 0;
    return (a->has_after && b->has_before && a->after >= b->before) ||
           (b->has_after && a->has_before && b->after >= a->before);
}

void tg_when_warn(struct tg_parse *p, const struct tg_criterion *row, const cJSON *data)
{
    int64_t after, before;

    if (row->when == TG_WHEN_DAY)
        return;
    if (!tg_json_get(data, "after") && !tg_json_get(data, "before")) {
        tg_parse_warning(p, data, "neither `after` nor `before`: it states no condition and is always true");
        return;
    }
    if (!read_bound(row->when, data, "after", &after) || !read_bound(row->when, data, "before", &before) ||
        after < before)
        return;
    if (row->when == TG_WHEN_DATE)
        tg_parse_warning(p, data, "never true: `after` is not earlier than `before`");
    else
        tg_parse_warning(p, data,
                         "never true: no time of a day is later than `after` and earlier than `before`; a range over "
                         "midnight is two criteria under `or`, one with `after`, one with `before`");
}

/* ---- the reference ---- */
void tg_when_describe(struct tg_buf *out)
{
    tg_buf_adds(out,
        "All bounds are strict: neither `after` nor `before` itself is within. A mapping may have one of them, or\n"
        "both.\n"
        "\n"
        "| criterion | takes |\n"
        "|---|---|\n"
        "| `date` | a mapping with `after`, `before`: ISO 8601 as `2026-03-01T08:00:00`, `2026-03-01T08:00` or "
        "`2026-03-01` (its midnight), in UTC unless `Z` or an offset as `+02:00` follows |\n"
        "| `day_of_week` | a text: days separated by commas, ranges with a dash (`mon-wed,fri`; `fri-mon` goes over "
        "the end of the week), `*` for every day; English names or their first three letters, in any case |\n"
        "| `time_of_day` | a mapping with `timezone` (IANA, as `Europe/Prague` or `UTC`; required) and `after`, "
        "`before`: `15:04`, `15:04:05`, `15:04:05.999999999`, `3:04 PM`, `3:04PM`, `3 PM` or `3PM` |\n"
        "\n"
        "A range over midnight is two criteria under `or`, one with `after: \"22:00\"`, one with `before: \"6:00\"`.\n"
        "Zones are read from the system's files (package tzdata) when a policy is.\n");
}
