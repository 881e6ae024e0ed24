/*
 * test_fields - the rate-limit fields as text, and when an upstream's own are stricter.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "limit/fields.h"
#include <stdlib.h>

#define NOW_S INT64_C(1767225600)                        /* 2026-01-01T00:00:00Z */
#define NOW_MS (NOW_S * 1000)

#define CHECK(why, cond) \
    do { \
        if (!(cond)) \
            fail_msg("%s: not so: %s", (why), #cond); \
    } while (0)

static const struct tg_window one[] = {{.name = TG_S_INIT("gold"), .limit = 1000, .length_s = 60}};
static const struct tg_window three[] = {
    {.name = TG_S_INIT("gold-1s"), .limit = 50, .length_s = 1},
    {.name = TG_S_INIT("gold-1m"), .limit = 1000, .length_s = 60, .shadow = true},
    {.name = TG_S_INIT("gold-24h"), .limit = TG_LIMIT_MAX, .length_s = 86400, .sliding = true},
};
static const struct tg_window quiet[] = {
    {.name = TG_S_INIT("gold-1s"), .limit = 50, .length_s = 1, .shadow = true},
    {.name = TG_S_INIT("gold-1m"), .limit = 1000, .length_s = 60, .shadow = true},
};

/* A charge of the tier in which window i has left[i] left and ends in_ms[i] from now. */
static struct tg_charge charge_of(const struct tg_tier *tier, const uint32_t *left, const int64_t *in_ms,
                                  size_t telling)
{
    struct tg_charge c = {.tier = tier, .admitted = true, .count = (uint8_t)tier->window_count,
                          .telling = (uint8_t)telling};

    for (size_t i = 0; i < tier->window_count; i++)
        c.windows[i] = (struct tg_charge_window){.window = &tier->windows[i], .limit = tier->windows[i].limit,
                                                 .remaining = left[i], .reset_ms = NOW_MS + in_ms[i]};
    c.limit = c.windows[telling].limit;
    c.remaining = left[telling];
    c.reset_s = (c.windows[telling].reset_ms + 999) / 1000;
    c.retry_after_s = (uint32_t)((in_ms[telling] + 999) / 1000);
    return c;
}

static const struct {
    const char *why;
    const struct tg_window *windows;
    size_t count, telling;
    uint32_t left[3];
    int64_t in_ms[3];
    int x;
    bool fields;
    const char *limit, *remaining, *reset, *ratelimit, *policy;
} told[] = {
    {"one window", one, 1, 0, {998}, {37000}, TG_X_RATELIMIT_EPOCH, true, "1000", "998", "1767225637",
     "\"gold\";r=998;t=37", "\"gold\";q=1000;w=60"},
    {"seconds are rounded up", one, 1, 0, {0}, {36001}, TG_X_RATELIMIT_DELTA, true, "1000", "0", "37",
     "\"gold\";r=0;t=37", "\"gold\";q=1000;w=60"},
    {"a whole number stays", one, 1, 0, {0}, {36000}, TG_X_RATELIMIT_DELTA, true, "1000", "0", "36",
     "\"gold\";r=0;t=36", "\"gold\";q=1000;w=60"},
    {"an answer after the window", one, 1, 0, {7}, {-2500}, TG_X_RATELIMIT_DELTA, true, "1000", "7", "0",
     "\"gold\";r=7;t=0", "\"gold\";q=1000;w=60"},
    {"no X-RateLimit", one, 1, 0, {998}, {37000}, TG_X_RATELIMIT_OFF, true, NULL, NULL, NULL, "\"gold\";r=998;t=37",
     "\"gold\";q=1000;w=60"},
    {"X-RateLimit alone", one, 1, 0, {998}, {37000}, TG_X_RATELIMIT_EPOCH, false, "1000", "998", "1767225637", NULL,
     NULL},
    {"nothing", one, 1, 0, {998}, {37000}, TG_X_RATELIMIT_OFF, false, NULL, NULL, NULL, NULL, NULL},
    {"an item for each applied window", three, 3, 2, {49, 0, 3}, {400, 20000, 8640001}, TG_X_RATELIMIT_DELTA, true,
     "2147483647", "3", "8641", "\"gold-1s\";r=49;t=1, \"gold-24h\";r=3;t=8641",
     "\"gold-1s\";q=50;w=1, \"gold-24h\";q=2147483647;w=86400"},
    {"shadow windows when there are no others", quiet, 2, 0, {0, 12}, {400, 20000}, TG_X_RATELIMIT_EPOCH, true, "50",
     "0", "1767225601", "\"gold-1s\";r=0;t=1, \"gold-1m\";r=12;t=20", "\"gold-1s\";q=50;w=1, \"gold-1m\";q=1000;w=60"},
};

static bool is_text(struct tg_slice got, const char *want)
{
    return want ? got.ptr && tg_slice_eq(got, tg_slice_str(want)) : got.ptr == NULL;
}

static void fields_of_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        struct tg_tier tier = {.name = TG_S("gold"), .windows = told[i].windows, .window_count = told[i].count};
        struct tg_limit_settings settings = {.x_ratelimit = told[i].x, .ratelimit_fields = told[i].fields};
        struct tg_charge charge = charge_of(&tier, told[i].left, told[i].in_ms, told[i].telling);
        struct tg_slice out[TG_LIMIT_FIELD_COUNT];
        struct tg_buf policy = {0};
        struct tg_arena arena;

        tg_arena_init(&arena, NULL, 0);
        tg_limit_policy_field(&tier, &policy);
        /* Once made for the answer, once ready at the tier: the same. */
        for (int ready = 0; ready < 2; ready++) {
            if (ready)
                tier.policy_field = tg_buf_slice(&policy);
            tg_limit_fields(&charge, &settings, NOW_MS, &arena, out);
            CHECK(told[i].why, is_text(out[TG_LIMIT_FIELD_X_LIMIT], told[i].limit));
            CHECK(told[i].why, is_text(out[TG_LIMIT_FIELD_X_REMAINING], told[i].remaining));
            CHECK(told[i].why, is_text(out[TG_LIMIT_FIELD_X_RESET], told[i].reset));
            CHECK(told[i].why, is_text(out[TG_LIMIT_FIELD_RATELIMIT], told[i].ratelimit));
            CHECK(told[i].why, is_text(out[TG_LIMIT_FIELD_POLICY], told[i].policy));
        }
        tg_buf_fini(&policy);
        tg_arena_fini(&arena);
    }
}

/* The limit that a claim said is the one that is told. */
static void limit_of_the_caller(void **state)
{
    struct tg_tier tier = {.name = TG_S("gold"), .windows = one, .window_count = 1};
    struct tg_limit_settings settings = {.ratelimit_fields = true};
    struct tg_charge charge = charge_of(&tier, (uint32_t[]){4}, (int64_t[]){1000}, 0);
    struct tg_slice out[TG_LIMIT_FIELD_COUNT];
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    charge.limit = charge.windows[0].limit = 5;
    tg_limit_fields(&charge, &settings, NOW_MS, &arena, out);
    assert_true(is_text(out[TG_LIMIT_FIELD_X_LIMIT], "5"));
    assert_true(is_text(out[TG_LIMIT_FIELD_POLICY], "\"gold\";q=5;w=60"));
    tg_arena_fini(&arena);
}

/* Names and numbers as long as they get. */
static void longest(void **state)
{
    char name[91];
    struct tg_window windows[TG_TIER_WINDOWS];
    struct tg_tier tier = {.name = TG_S("n"), .windows = windows, .window_count = TG_TIER_WINDOWS};
    struct tg_limit_settings settings = {.ratelimit_fields = true};
    uint32_t left[TG_TIER_WINDOWS];
    int64_t in_ms[TG_TIER_WINDOWS];
    struct tg_slice out[TG_LIMIT_FIELD_COUNT];
    struct tg_arena arena;

    (void)state;
    memset(name, 'n', sizeof(name));
    for (size_t i = 0; i < TG_TIER_WINDOWS; i++) {
        windows[i] = (struct tg_window){.name = tg_slice(name, sizeof(name)), .limit = UINT32_MAX,
                                        .length_s = UINT32_MAX};
        left[i] = UINT32_MAX;
        in_ms[i] = INT64_MAX / 4;
    }
    struct tg_charge charge = charge_of(&tier, left, in_ms, 3);

    charge.reset_s = INT64_MAX;
    tg_arena_init(&arena, NULL, 0);
    tg_limit_fields(&charge, &settings, NOW_MS, &arena, out); /* in bounds, says the sanitizer */
    assert_int_equal(out[TG_LIMIT_FIELD_X_RESET].len, 19);
    assert_int_equal(out[TG_LIMIT_FIELD_RATELIMIT].len, 4 * (91 + 2 + 3 + 10 + 3 + 16) + 3 * 2);
    tg_arena_fini(&arena);
}

/* ---- an upstream's own ---- */

static const struct {
    const char *why, *limit, *remaining, *reset;
    bool stricter;                                       /* than 100 left */
} theirs[] = {
    {"less left, a time to come", "500", "99", "1767225660", true},
    {"less left, seconds", "500", "0", "30", true},
    {"seconds of a day", "500", "0", "86400", true},
    {"now", "500", "0", "0", true},
    {"as much left", "500", "100", "30", false},
    {"more left", "500", "101", "30", false},
    {"a time gone by", "500", "1", "1767225600", false},
    {"a year and more ahead", "500", "1", "1799999999", false},
    {"neither a time nor seconds of a day", "500", "1", "86401", false},
    {"milliseconds", "500", "1", "1767225660000", false},
    {"more left than the limit", "5", "6", "30", false},
    {"no limit", NULL, "1", "30", false},
    {"no remaining", "500", NULL, "30", false},
    {"no reset", "500", "1", NULL, false},
    {"a sign", "500", "-1", "30", false},
    {"a fraction", "500", "1.0", "30", false},
    {"blanks", "500", " 1", "30", false},
    {"a list", "500, 500;w=60", "1", "30", false},
    {"a date", "500", "1", "Thu, 01 Jan 2026 00:01:00 GMT", false},
    {"beyond all numbers", "9999999999999999999999", "1", "30", false},
    {"empty", "500", "", "30", false},
};

static struct tg_slice maybe(const char *text)
{
    return text ? tg_slice_str(text) : tg_slice(NULL, 0);
}

static void upstreams_x_ratelimit(void **state)
{
    struct tg_charge ours = {.admitted = true, .limit = 1000, .remaining = 100};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(theirs); i++)
        CHECK(theirs[i].why, tg_limit_upstream_x_stricter(&ours, maybe(theirs[i].limit), maybe(theirs[i].remaining),
                                                          maybe(theirs[i].reset), NOW_MS) == theirs[i].stricter);
}

static const struct {
    const char *why, *value;
    bool stricter;                                       /* than 100 left */
} lists[] = {
    {"one item", "\"a\";r=99;t=5", true},
    {"r alone", "\"a\";r=0", true},
    {"other parameters", "\"a\";t=5;pk=:cHsdsRa894==:;r=99;x;y=?1;z=tok/en:x;d=1.5;n=-3;s=\"q\\\"\";at=@17", true},
    {"blanks where they may be", "  \"a\"; r=99 \t,\t \"b\";r=200  ", true},
    {"the least counts", "\"a\";r=500, \"b\";r=99", true},
    {"as much", "\"a\";r=100", false},
    {"more", "\"a\";r=101, \"b\";r=500", false},
    {"given twice, the last", "\"a\";r=5;r=500", false},
    {"given twice, the last is less", "\"a\";r=500;r=5", true},
    {"an escape", "\"a\\\\b\";r=5", true},
    {"empty", "", false},
    {"no r", "\"a\";t=5", false},
    {"one of them without r", "\"a\";r=5, \"b\";t=5", false},
    {"a token", "a;r=5", false},
    {"the form before draft 7", "limit=100, remaining=5, reset=5", false},
    {"an inner list", "(\"a\";r=5)", false},
    {"negative", "\"a\";r=-1", false},
    {"a fraction", "\"a\";r=1.0", false},
    {"a string", "\"a\";r=\"5\"", false},
    {"no value", "\"a\";r", false},
    {"too many digits", "\"a\";r=1000000000000000", false},
    {"as many as there may be", "\"a\";r=000000000000005", true},
    {"a blank before =", "\"a\";r =5", false},
    {"a tab behind ;", "\"a\";\tr=5", false},
    {"an upper-case key", "\"a\";R=5;r=5", false},
    {"nothing behind ;", "\"a\";", false},
    {"a comma at the end", "\"a\";r=5,", false},
    {"a comma at the start", ",\"a\";r=5", false},
    {"no comma", "\"a\";r=5 \"b\";r=5", false},
    {"something behind", "\"a\";r=5 x", false},
    {"an open string", "\"a;r=5", false},
    {"a control in a string", "\"a\x01\";r=5", false},
    {"UTF-8 in a string", "\"\xc3\xbc\";r=5", false},
    {"another escape", "\"\\a\";r=5", false},
    {"an open byte sequence", "\"a\";pk=:cHs;r=5", false},
    {"a boolean that is none", "\"a\";b=?2;r=5", false},
    {"a decimal too long", "\"a\";d=1.2345;r=5", false},
    {"a point and nothing", "\"a\";d=1.;r=5", false},
    {"a display string", "\"a\";x=%\"f%c3%bc\";r=5", false},
    {"a sign alone", "\"a\";n=-;r=5", false},
};

static void upstreams_ratelimit(void **state)
{
    struct tg_charge ours = {.admitted = true, .limit = 1000, .remaining = 100};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct tg_slice value = tg_slice_str(lists[i].value);

        CHECK(lists[i].why, tg_limit_upstream_ratelimit_stricter(&ours, value) == lists[i].stricter);
        /* Any beginning of it is read in bounds; whether it is a list is another matter. */
        for (size_t cut = 0; cut < value.len; cut++) {
            char *copy = tg_alloc(cut ? cut : 1);

            memcpy(copy, value.ptr, cut);
            tg_limit_upstream_ratelimit_stricter(&ours, tg_slice(copy, cut));
            free(copy);
        }
    }
    assert_false(tg_limit_upstream_ratelimit_stricter(&ours, tg_slice(NULL, 0)));
    assert_false(tg_limit_upstream_ratelimit_stricter(&ours, tg_slice("\"a\0\";r=5", 9)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_an_answer),   cmocka_unit_test(limit_of_the_caller), cmocka_unit_test(longest),
        cmocka_unit_test(upstreams_x_ratelimit), cmocka_unit_test(upstreams_ratelimit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
