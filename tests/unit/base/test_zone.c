/*
 * zone - against the C library's reader, which is another one: every zone of the system, rules made at random; files
 * that break the rules of RFC 9636; names that lead elsewhere.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/zone.h"
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "/usr/share/zoneinfo/"
#define YEAR_S INT64_C(31556952)

/* What the C library says about the zone that TZ names. */
static int32_t libc_offset(int64_t utc_s)
{
    time_t t = (time_t)utc_s;
    struct tm tm;

    assert_non_null(localtime_r(&t, &tm));
    return (int32_t)tm.tm_gmtoff;
}

static void use_libc(const char *tz)
{
    assert_int_equal(setenv("TZ", tz, 1), 0);
    tzset();
}

static void same_at(const struct tg_zone *zone, const char *what, int64_t utc_s)
{
    int32_t got = tg_zone_offset_s(zone, utc_s), want = libc_offset(utc_s);
    char text[TG_TIME_TEXT];

    tg_clock_format(utc_s * 1000, text);
    if (got != want)
        fail_msg("%s at %s: %d, the C library says %d", what, text, got, want);
}

/* Every `step_s` seconds; where the offset changes, the second before and after the change, too. */
static void same_between(const struct tg_zone *zone, const char *what, int64_t from_s, int64_t to_s, int64_t step_s)
{
    int32_t last = tg_zone_offset_s(zone, from_s);

    for (int64_t t = from_s; t < to_s; t += step_s) {
        int32_t now = tg_zone_offset_s(zone, t);
        int64_t low = t - step_s, high = t;

        same_at(zone, what, t);
        while (now != last && high - low > 1) {
            int64_t middle = low + (high - low) / 2;

            if (tg_zone_offset_s(zone, middle) == last)
                low = middle;
            else
                high = middle;
        }
        if (now != last) {
            same_at(zone, what, low);
            same_at(zone, what, high);
        }
        last = now;
    }
}

/* ---- the zones of the system ---- */
static int zones_seen;

static int one_zone(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    struct tg_arena arena;
    const struct tg_zone *zone;
    struct tg_err err = {0};
    char tz[512];

    (void)st;
    if (kind == FTW_D && at->level == 1 && (strstr(path, "/posix") || strstr(path, "/right")))
        return FTW_SKIP_SUBTREE;
    if (kind != FTW_F || strchr(path + at->base, '.') || strcmp(path + at->base, "leapseconds") == 0)
        return FTW_CONTINUE;
    tg_arena_init(&arena, NULL, 0);
    if (tg_zone_load(tg_slice_str(path + strlen(FOLDER)), &arena, &zone, &err) != TG_OK)
        fail_msg("%s: %s", path, err.text);
    snprintf(tz, sizeof(tz), ":%s", path);
    use_libc(tz);
    same_between(zone, path, -70 * YEAR_S, 230 * YEAR_S, 40 * 86400);
    same_between(zone, path, 40 * YEAR_S, 43 * YEAR_S, 6 * 3600);
    same_between(zone, path, 130 * YEAR_S, 131 * YEAR_S, 6 * 3600);
    tg_arena_fini(&arena);
    zones_seen++;
    return FTW_CONTINUE;
}

static void zones_of_the_system(void **state)
{
    (void)state;
    assert_int_equal(nftw(FOLDER, one_zone, 8, FTW_PHYS | FTW_ACTIONRETVAL), 0);
    if (zones_seen < 200)
        fail_msg("only %d zones: is tzdata installed?", zones_seen);
}

/* ---- files made here ---- */
static void put32(struct tg_buf *b, uint32_t n)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        tg_buf_addc(b, (char)(n >> shift));
}

static void put_header(struct tg_buf *b, char version, uint32_t leaps, uint32_t times, uint32_t types, uint32_t chars)
{
    tg_buf_add(b, "TZif", 4);
    tg_buf_addc(b, version);
    for (int i = 0; i < 15; i++)
        tg_buf_addc(b, 0);
    put32(b, 0);
    put32(b, 0);
    put32(b, leaps);
    put32(b, times);
    put32(b, types);
    put32(b, chars);
}

/* One type at that offset, no change, and the rule. */
static void file_of_rule(struct tg_buf *b, const char *rule)
{
    put_header(b, '3', 0, 0, 1, 4);
    put32(b, 0);
    tg_buf_add(b, "\0\0LMT\0", 6);
    put_header(b, '3', 0, 0, 1, 4);
    put32(b, 0);
    tg_buf_add(b, "\0\0LMT\0", 6);
    tg_buf_addf(b, "\n%s\n", rule);
}

static const struct tg_zone *zone_of_rule(const char *rule, struct tg_arena *arena)
{
    const struct tg_zone *zone = NULL;
    struct tg_buf file = {0};
    struct tg_err err = {0};

    file_of_rule(&file, rule);
    if (tg_zone_read(tg_buf_slice(&file), arena, &zone, &err) != TG_OK)
        zone = NULL;
    tg_buf_fini(&file);
    return zone;
}

static void same_rule(const char *rule)
{
    struct tg_arena arena;
    const struct tg_zone *zone;

    tg_arena_init(&arena, NULL, 0);
    zone = zone_of_rule(rule, &arena);
    if (!zone)
        fail_msg("%s: not taken", rule);
    use_libc(rule);
    same_between(zone, rule, 30 * YEAR_S, 36 * YEAR_S, 5 * 86400);
    same_between(zone, rule, 128 * YEAR_S, 132 * YEAR_S, 5 * 86400);
    tg_arena_fini(&arena);
}

static void rules_written(void **state)
{
    static const char *const rules[] = {
        "UTC0",
        "<+03>-3",
        "<-0330>3:30",
        "<+0545>-5:45:30",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "IST-1GMT0,M10.5.0,M3.5.0/1",                    /* winter has the other offset */
        "EET-2EEST,M3.4.4/50,M10.4.4/50",                /* hours of the days after */
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",               /* hours of the day before */
        "<+11>-11<+12>,M10.1.0,M4.1.0/3",                /* south of the equator */
        "AAA3BBB,J60/2,J300/2",                          /* never February 29 */
        "AAA3BBB,59/2,299/2",                            /* February 29 is counted */
        "AAA3BBB1:30:15,J59/1:02:03,J304/4:05:06",
        "<A+1>+3<B-1>-4,M2.5.6/0,M9.5.1/0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        same_rule(rules[i]);
}

static unsigned long random_state = 20260301;

static int random_below(int n)
{
    random_state = random_state * 6364136223846793005UL + 1442695040888963407UL;
    return (int)((random_state >> 33) % (unsigned long)n);
}

/* Between `first` and `last` month, away from the turn of the year, where the C library looks at one year only. */
static void add_random_day(struct tg_buf *b, int first, int months)
{
    int month = first + random_below(months);

    switch (random_below(3)) {
    case 0: tg_buf_addf(b, ",M%d.%d.%d", month, 1 + random_below(5), random_below(7)); break;
    case 1: tg_buf_addf(b, ",J%d", (month - 1) * 30 + 1 + random_below(29)); break;
    default: tg_buf_addf(b, ",%d", (month - 1) * 30 + random_below(29)); break;
    }
    if (random_below(2))
        tg_buf_addf(b, "/%d:%02d", random_below(200) - 100, random_below(60));
}

static void rules_at_random(void **state)
{
    struct tg_buf rule = {0};

    (void)state;
    for (int i = 0; i < 400; i++) {
        bool north = random_below(2);

        rule.len = 0;
        tg_buf_addf(&rule, "<S%d>%d:%02d<D%d>%d:%02d", 10 + i, random_below(25) - 12, random_below(60), 10 + i,
                    random_below(25) - 12, random_below(60));
        add_random_day(&rule, north ? 2 : 8, 4);
        add_random_day(&rule, north ? 8 : 2, 4);
        same_rule(tg_buf_cstr(&rule));
    }
    tg_buf_fini(&rule);
}

/* By the words of RFC 9636 §3.3.2, where readers differ. */
static void summer_all_the_year(void **state)
{
    struct tg_arena arena;
    const struct tg_zone *zone;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    zone = zone_of_rule("XXX3EDT4,0/0,J365/23", &arena);
    assert_non_null(zone);
    for (int64_t t = 50 * YEAR_S; t < 52 * YEAR_S; t += 1800)
        assert_int_equal(tg_zone_offset_s(zone, t), -4 * 3600);
    for (int64_t y = 2020; y < 2030; y++) {
        int64_t turn = tg_days_of_date(y, 1, 1) * 86400 + 3 * 3600;

        for (int64_t t = turn - 7300; t < turn + 7300; t += 100)
            assert_int_equal(tg_zone_offset_s(zone, t), -4 * 3600);
    }
    tg_arena_fini(&arena);
}

static void rules_refused(void **state)
{
    static const char *const rules[] = {
        "U0", "UTC", "UTC25", "<+3-3", "UTC0 ", "UTC0x", "AAA3BBB", "AAA3BBB,M3.2.0", "AAA3BBB,M13.1.0,M11.1.0",
        "AAA3BBB,M3.6.0,M11.1.0", "AAA3BBB,M3.0.0,M11.1.0", "AAA3BBB,M3.1.7,M11.1.0", "AAA3BBB,J0,J300",
        "AAA3BBB,J366,J300", "AAA3BBB,366,300", "AAA3BBB,J1/168,J300", "AAA3BBB,J1/2:60,J300", "AAA3BBB,J1/-,J300",
        "AAA3BBB,J60,J300,", "AAA3BBB;J60,J300", "AAA3:BBB", "AAA3BBB,Jx,J300", "AAA99999999999999999999",
    };
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        if (zone_of_rule(rules[i], &arena))
            fail_msg("\"%s\" was taken", rules[i]);
    }
    assert_non_null(zone_of_rule("", &arena));           /* nobody knows: as it is now */
    tg_arena_fini(&arena);
}

/* Version 1: 32 bits, no rule; the last change holds for ever. */
static void first_version(void **state)
{
    struct tg_buf file = {0};
    struct tg_arena arena;
    const struct tg_zone *zone;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    put_header(&file, 0, 0, 2, 2, 8);
    put32(&file, (uint32_t)-1000);
    put32(&file, 1000);
    tg_buf_add(&file, "\1\0", 2);
    put32(&file, 3600);
    tg_buf_add(&file, "\0\0", 2);
    put32(&file, 7200);
    tg_buf_add(&file, "\1\4AAA\0BBB\0", 10);
    assert_int_equal(tg_zone_read(tg_buf_slice(&file), &arena, &zone, NULL), TG_OK);
    assert_int_equal(tg_zone_offset_s(zone, INT64_MIN), 3600);
    assert_int_equal(tg_zone_offset_s(zone, -1001), 3600);
    assert_int_equal(tg_zone_offset_s(zone, -1000), 7200);
    assert_int_equal(tg_zone_offset_s(zone, 999), 7200);
    assert_int_equal(tg_zone_offset_s(zone, 1000), 3600);
    assert_int_equal(tg_zone_offset_s(zone, INT64_MAX), 3600);
    tg_buf_fini(&file);
    tg_arena_fini(&arena);
}

/* ---- files that are not usable ---- */
static enum tg_status read_at(struct tg_slice content, struct tg_err *err)
{
    struct tg_arena arena;
    const struct tg_zone *zone;
    char *exact = malloc(content.len ? content.len : 1); /* so that a sanitizer sees a read behind the end */
    enum tg_status st;

    memcpy(exact, content.ptr, content.len);
    tg_arena_init(&arena, NULL, 0);
    st = tg_zone_read(tg_slice(exact, content.len), &arena, &zone, err);
    if (st == TG_OK)
        tg_zone_offset_s(zone, 1800000000);
    tg_arena_fini(&arena);
    free(exact);
    return st;
}

static void cut_anywhere(void **state)
{
    struct tg_buf file = {0};
    struct tg_err err;

    (void)state;
    assert_int_equal(tg_file_read(FOLDER "Europe/Prague", 1 << 20, &file, NULL), TG_OK);
    for (size_t len = 0; len < file.len; len++) {
        err = (struct tg_err){0};
        assert_int_equal(read_at(tg_slice(file.data, len), &err), TG_BAD_INPUT);
        assert_true(err.text[0] != '\0');
    }
    tg_buf_fini(&file);
}

/* Every octet another one: nothing breaks, whatever it means. */
static void any_octet(void **state)
{
    static const char other[] = {0, 1, 0x7f, (char)0x80, (char)0xff};
    struct tg_buf file = {0};

    (void)state;
    assert_int_equal(tg_file_read(FOLDER "Europe/Prague", 1 << 20, &file, NULL), TG_OK);
    for (size_t i = 0; i < file.len; i++) {
        char was = file.data[i];

        for (size_t k = 0; k < sizeof(other); k++) {
            struct tg_arena arena;
            const struct tg_zone *zone;

            file.data[i] = other[k];
            tg_arena_init(&arena, NULL, 0);
            if (tg_zone_read(tg_buf_slice(&file), &arena, &zone, NULL) == TG_OK)
                for (int64_t t = -100; t < 300; t++)
                    tg_zone_offset_s(zone, t * YEAR_S);
            tg_arena_fini(&arena);
        }
        file.data[i] = was;
    }
    tg_buf_fini(&file);
}

/* Counts whose product overflows 32 bits; leap seconds; no types; changes out of order; a type that is not there. */
static void counts_that_lie(void **state)
{
    static const struct {
        const char *why;
        uint32_t leaps, times, types, chars;
    } cases[] = {
        {"more times than octets", 0, 0xffffffffu, 1, 4}, {"more types", 0, 0, 256, 4},
        {"types over 256", 0, 0, 0xffffffffu, 4},         {"no type", 0, 0, 0, 4},
        {"no names", 0, 0, 1, 0},                         {"leap seconds", 1, 0, 1, 4},
        {"overflowing to a fit", 0, 0x33333334u, 1, 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf file = {0};
        struct tg_err err = {0};

        put_header(&file, 0, cases[i].leaps, cases[i].times, cases[i].types, cases[i].chars);
        put32(&file, 3600);
        tg_buf_add(&file, "\0\0LMT\0", 6);
        if (read_at(tg_buf_slice(&file), &err) != TG_BAD_INPUT)
            fail_msg("%s was taken", cases[i].why);
        tg_buf_fini(&file);
    }
}

static void changes_out_of_order(void **state)
{
    for (int what = 0; what < 4; what++) {
        struct tg_buf file = {0};

        (void)state;
        put_header(&file, 0, 0, 2, 1, 4);
        put32(&file, 1000);
        put32(&file, what == 1 ? 1000 : 2000);
        tg_buf_addc(&file, 0);
        tg_buf_addc(&file, what == 2);
        put32(&file, what == 3 ? 200000 : 3600);
        tg_buf_add(&file, "\0\0LMT\0", 6);
        assert_int_equal(read_at(tg_buf_slice(&file), NULL), what == 0 ? TG_OK : TG_BAD_INPUT);
        tg_buf_fini(&file);
    }
}

/* ---- names ---- */
static void names(void **state)
{
    static const struct {
        const char *name;
        enum tg_status want;
    } cases[] = {
        {"Europe/Prague", TG_OK}, {"UTC", TG_OK}, {"America/Argentina/Buenos_Aires", TG_OK}, {"Etc/GMT+5", TG_OK},
        {"", TG_NOT_FOUND}, {"/etc/localtime", TG_NOT_FOUND}, {"../zoneinfo/UTC", TG_NOT_FOUND},
        {"Europe/../UTC", TG_NOT_FOUND}, {"Europe//Prague", TG_NOT_FOUND}, {"Europe/Prague/", TG_NOT_FOUND},
        {"Europe", TG_NOT_FOUND}, {"Europe/Atlantis", TG_NOT_FOUND}, {"europe/prague", TG_NOT_FOUND},
        {"./UTC", TG_NOT_FOUND}, {"Europe/Prague\n", TG_NOT_FOUND}, {"zone.tab", TG_NOT_FOUND},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct tg_zone *zone, *again;
        struct tg_arena arena;
        struct tg_err err = {0};

        tg_arena_init(&arena, NULL, 0);
        if (tg_zone_load(tg_slice_str(cases[i].name), &arena, &zone, &err) != cases[i].want ||
            tg_zone_get(tg_slice_str(cases[i].name), &zone, &err) != cases[i].want)
            fail_msg("\"%s\": %s", cases[i].name, err.text);
        if (cases[i].want == TG_OK) {
            assert_int_equal(tg_zone_get(tg_slice_str(cases[i].name), &again, NULL), TG_OK);
            assert_ptr_equal(zone, again);
        } else {
            assert_true(err.text[0] != '\0');
        }
        tg_arena_fini(&arena);
    }
    assert_int_equal(tg_zone_get(tg_slice("Europe/Prague\0x", 15), &(const struct tg_zone *){0}, NULL), TG_NOT_FOUND);
}

/* $TZDIR is where files are looked for; a file that was replaced is read again, and the zone read before stays good. */
static void replaced_files(void **state)
{
    char folder[] = "/tmp/tollgate-zone-XXXXXX", path[64];
    const struct tg_zone *first, *second;
    struct tg_buf file = {0};

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/Here", folder);
    setenv("TZDIR", folder, 1);
    file_of_rule(&file, "<+01>-1");
    assert_int_equal(tg_file_replace(path, tg_buf_slice(&file), 0644, NULL), TG_OK);
    assert_int_equal(tg_zone_get(TG_S("Here"), &first, NULL), TG_OK);
    assert_int_equal(tg_zone_offset_s(first, 0), 3600);
    file.len = 0;
    file_of_rule(&file, "<+02>-2");
    assert_int_equal(tg_file_replace(path, tg_buf_slice(&file), 0644, NULL), TG_OK);
    assert_int_equal(tg_zone_get(TG_S("Here"), &second, NULL), TG_OK);
    assert_ptr_equal(second, first);                     /* just looked at */
    assert_int_equal(poll(NULL, 0, 1050), 0);
    assert_int_equal(tg_zone_get(TG_S("Here"), &second, NULL), TG_OK);
    assert_int_equal(tg_zone_offset_s(second, 0), 7200);
    assert_ptr_equal(tg_zone_kept(TG_S("Here")), second);
    assert_int_equal(tg_zone_offset_s(first, 0), 3600);
    assert_int_equal(tg_zone_get(TG_S("Europe/Prague"), &second, NULL), TG_NOT_FOUND);
    assert_int_equal(tg_zone_get(TG_S("UTC"), &second, NULL), TG_OK);
    unsetenv("TZDIR");
    unlink(path);
    rmdir(folder);
    tg_buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones_of_the_system), cmocka_unit_test(rules_written),
        cmocka_unit_test(rules_at_random),     cmocka_unit_test(summer_all_the_year),
        cmocka_unit_test(rules_refused),       cmocka_unit_test(first_version),
        cmocka_unit_test(cut_anywhere),        cmocka_unit_test(any_octet),
        cmocka_unit_test(counts_that_lie),     cmocka_unit_test(changes_out_of_order),
        cmocka_unit_test(names),               cmocka_unit_test(replaced_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
