/*
 * clock - RFC 3339 both ways, and a wall clock that stands still.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include <time.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static const struct { const char *why, *text; bool ok; int64_t ms; } cases[] = {
    {"the epoch", "1970-01-01T00:00:00Z", true, 0},
    {"§5.8 fraction", "1985-04-12T23:20:50.52Z", true, 482196050520},
    {"§5.8 offset", "1996-12-19T16:39:57-08:00", true, 851042397000},
    {"§5.8 leap second", "1990-12-31T23:59:60Z", true, 662688000000},
    {"§5.8 leap second with offset", "1990-12-31T15:59:60-08:00", true, 662688000000},
    {"a leap second ends a day", "1990-12-31T12:00:60Z", false, 0},
    {"microseconds are cut", "2026-11-21T10:00:00.123999Z", true, 1795255200123},
    {"lower case", "2026-11-21t10:00:00z", true, 1795255200000},
    {"offset over midnight", "2026-11-22T00:30:00+14:30", true, 1795255200000},
    {"leap day", "2024-02-29T00:00:00Z", true, 1709164800000},
    {"no leap day", "2023-02-29T00:00:00Z", false, 0},
    {"1900 had none", "1900-02-29T00:00:00Z", false, 0},
    {"2000 had one", "2000-02-29T00:00:00Z", true, 951782400000},
    {"before the epoch", "1969-12-31T23:59:59.999Z", true, -1},
    {"year 0", "0000-01-01T00:00:00Z", true, -62167219200000},
    {"month 0", "2026-00-01T00:00:00Z", false, 0},
    {"month 13", "2026-13-01T00:00:00Z", false, 0},
    {"day 0", "2026-01-00T00:00:00Z", false, 0},
    {"day 31 of 30", "2026-04-31T00:00:00Z", false, 0},
    {"hour 24", "2026-01-01T24:00:00Z", false, 0},
    {"minute 60", "2026-01-01T00:60:00Z", false, 0},
    {"second 61", "2026-01-01T00:00:61Z", false, 0},
    {"no zone", "2026-01-01T00:00:00", false, 0},
    {"empty fraction", "2026-01-01T00:00:00.Z", false, 0},
    {"blank instead of T", "2026-01-01 00:00:00Z", false, 0},
    {"offset without colon", "2026-01-01T00:00:00+0100", false, 0},
    {"offset of a day", "2026-01-01T00:00:00+24:00", false, 0},
    {"something behind", "2026-01-01T00:00:00Z ", false, 0},
    {"something behind an offset", "2026-01-01T00:00:00+01:00Z", false, 0},
    {"short year", "26-01-01T00:00:00Z", false, 0},
    {"sign", "-026-01-01T00:00:00Z", false, 0},
    {"date alone", "2026-01-01", false, 0},
    {"nothing", "", false, 0},
};

static void parsing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_slice text = tg_slice_str(cases[i].text);
        int64_t ms = 42;

        if (tg_clock_parse(text, &ms) != cases[i].ok || ms != (cases[i].ok ? cases[i].ms : 42))
            fail_msg("%s: %s gave %lld", cases[i].why, cases[i].text, (long long)ms);
        for (size_t cut = 0; cases[i].ok && cut < text.len; cut++)
            assert_false(tg_clock_parse(tg_slice(text.ptr, cut), &ms)); /* a part is never whole */
    }
}

static void there_and_back(void **state)
{
    (void)state;
    for (int64_t ms = -62167219200000; ms <= 253402300799999; ms += 7919 * INT64_C(86400000) / 7 + 12345) {
        char text[TG_TIME_TEXT];
        int64_t back;
        time_t seconds = (time_t)((ms - (ms % 1000 + 1000) % 1000) / 1000);
        struct tm tm;
        char want[32];

        tg_clock_format(ms, text);
        assert_int_equal(strlen(text), 24);
        assert_true(tg_clock_parse(tg_slice_str(text), &back));
        assert_true(back == ms);
        strftime(want, sizeof(want), "%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm)); /* %Y does not pad */
        assert_memory_equal(text + 5, want, strlen(want));
    }
}

static void beyond_the_calendar(void **state)
{
    (void)state;
    char text[TG_TIME_TEXT];

    tg_clock_format(INT64_MIN, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
    tg_clock_format(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void whole_seconds(void **state)
{
    static const struct { int64_t s; const char *text; } seconds[] = {
        {0, "1970-01-01T00:00:00Z"}, {1795255200, "2026-11-21T10:00:00Z"}, {-1, "1969-12-31T23:59:59Z"},
        {INT64_MAX, "9999-12-31T23:59:59Z"}, {INT64_MIN, "0000-01-01T00:00:00Z"},
    };
    struct tg_buf out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        out.len = 0;
        tg_clock_add_s(&out, seconds[i].s);
        assert_string_equal(tg_buf_cstr(&out), seconds[i].text);
    }
    tg_buf_fini(&out);
}

static void setting(void **state)
{
    (void)state;
    int64_t real = tg_clock_wall_ms(), mono = tg_clock_mono_us();

    tg_clock_set_wall_ms(0);
    assert_int_equal(tg_clock_wall_ms(), 0);
    tg_clock_set_wall_ms(1795255200000);
    assert_true(tg_clock_wall_ms() == 1795255200000);
    tg_clock_set_wall_ms(-1);
    assert_true(tg_clock_wall_ms() >= real);
    assert_true(tg_clock_mono_us() >= mono && tg_clock_mono_ms() >= mono / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsing), cmocka_unit_test(there_and_back),
                                       cmocka_unit_test(beyond_the_calendar), cmocka_unit_test(whole_seconds),
                                       cmocka_unit_test(setting)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
