/* introspection: the table of answers and the budget, by times that are passed in. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/introspect_internal.h"
#include <stdio.h>

#define NOW INT64_C(1800000000000)
#define OWNER 1

static const struct tg_answer_limits small = {
    .parts = 1, .active = 4, .active_bytes = 1 << 20, .inactive = 3, .remembered = 2, .shown = 1024,
};
static struct tg_answers *table;

static const uint8_t *digest(unsigned n)
{
    static uint8_t d[8][TG_SHA256_LEN];
    static unsigned at;
    uint8_t *out = d[at++ % 8];

    tg_sha256(tg_slice((char *)&n, sizeof(n)), out);
    return out;
}

static int reset(void **state)
{
    (void)state;
    table = tg_answers_new(&small);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    tg_answers_unref(table);
    return 0;
}

static enum tg_introspect_state look(unsigned n, int64_t now_ms, bool asked)
{
    struct tg_introspection_answer *answer = NULL;
    enum tg_introspect_state state = tg_answers_look(table, OWNER, digest(n), now_ms, asked, &answer);

    assert_int_equal(state == TG_INTROSPECT_ACTIVE, answer != NULL);
    tg_introspection_answer_unref(answer);
    return state;
}

static void active(unsigned n, int64_t known_ms, int64_t until_ms)
{
    struct tg_introspection_answer *answer = tg_answer_new(TG_S("{\"sub\":\"a\"}"), INT64_MAX, until_ms);

    tg_answers_put_active(table, OWNER, digest(n), answer, known_ms, known_ms);
}

static void inactive(unsigned n, int64_t known_ms, int64_t until_ms)
{
    tg_answers_put_inactive(table, OWNER, digest(n), known_ms, until_ms, known_ms);
}

static void times(void **state)
{
    (void)state;
    assert_int_equal(look(1, NOW, false), TG_INTROSPECT_UNKNOWN);
    active(1, NOW, NOW + 30000);
    inactive(2, NOW, NOW + 5000);
    assert_int_equal(look(1, NOW, false), TG_INTROSPECT_ACTIVE);
    assert_int_equal(look(1, NOW + 29999, false), TG_INTROSPECT_ACTIVE);
    assert_int_equal(look(1, NOW + 30000, false), TG_INTROSPECT_UNKNOWN);
    assert_int_equal(look(2, NOW + 4999, false), TG_INTROSPECT_INACTIVE);
    assert_int_equal(look(2, NOW + 5000, false), TG_INTROSPECT_UNKNOWN);
    assert_int_equal(look(1, NOW - 3600000, false), TG_INTROSPECT_UNKNOWN); /* the clock was set back */
    assert_int_equal(tg_answers_look(table, OWNER + 1, digest(1), NOW, false, NULL), TG_INTROSPECT_UNKNOWN);
}

static void not_kept(void **state)
{
    (void)state;
    active(1, NOW, NOW);
    inactive(2, NOW, NOW);
    tg_answers_put_failed(table, OWNER, digest(3), NOW);
    for (unsigned n = 1; n <= 3; n++)
        assert_int_equal(look(n, NOW, false), TG_INTROSPECT_UNKNOWN);
    assert_int_equal(look(1, NOW + 1, true), TG_INTROSPECT_ACTIVE); /* who waited for it */
    assert_int_equal(look(2, NOW + 1, true), TG_INTROSPECT_INACTIVE);
    assert_int_equal(look(3, NOW + 1, true), TG_INTROSPECT_FAILED);
    for (unsigned n = 1; n <= 3; n++)
        assert_int_equal(look(n, NOW + TG_ANSWER_GRACE_MS, true), TG_INTROSPECT_UNKNOWN);
}

static void trouble_says_nothing(void **state)
{
    (void)state;
    active(1, NOW, NOW + 30000);
    tg_answers_put_failed(table, OWNER, digest(1), NOW + 31000);
    assert_int_equal(look(1, NOW + 31000, true), TG_INTROSPECT_FAILED);
    assert_int_equal(look(1, NOW + 31000, false), TG_INTROSPECT_UNKNOWN);
    assert_true(tg_answers_was_active(table, OWNER, digest(1), NOW + 31000));
    active(2, NOW, NOW + 30000);
    tg_answers_put_failed(table, OWNER, digest(2), NOW + 1000);
    assert_int_equal(look(2, NOW + 1000, false), TG_INTROSPECT_ACTIVE); /* what was said still stands */
}

static void recently_active(void **state)
{
    (void)state;
    active(1, NOW, NOW + 30000);
    assert_true(tg_answers_was_active(table, OWNER, digest(1), NOW + 60000));
    assert_false(tg_answers_was_active(table, OWNER, digest(2), NOW));
    assert_false(tg_answers_was_active(table, OWNER + 1, digest(1), NOW));
    tg_answers_sweep(table, NOW + 60000);
    assert_int_equal(tg_answers_count(table), 0);        /* its claims are gone */
    assert_int_equal(look(1, NOW + 1000, true), TG_INTROSPECT_UNKNOWN);
    assert_true(tg_answers_was_active(table, OWNER, digest(1), NOW + 60000));
    assert_false(tg_answers_was_active(table, OWNER, digest(1), NOW + TG_ANSWER_REMEMBERED_MS));
    inactive(1, NOW + 61000, NOW + 66000);               /* revoked: no privilege any more */
    assert_false(tg_answers_was_active(table, OWNER, digest(1), NOW + 61000));
}

static void bounds(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 5; n++)
        active(n, NOW, NOW + 30000);
    assert_int_equal(tg_answers_count(table), 4);
    assert_int_equal(look(1, NOW, false), TG_INTROSPECT_UNKNOWN); /* the least recently used */
    assert_true(tg_answers_was_active(table, OWNER, digest(1), NOW)); /* remembered all the same */
    assert_int_equal(look(2, NOW, false), TG_INTROSPECT_ACTIVE);
    active(6, NOW, NOW + 30000);
    assert_int_equal(look(2, NOW, false), TG_INTROSPECT_ACTIVE); /* it was used */
    assert_int_equal(look(3, NOW, false), TG_INTROSPECT_UNKNOWN);
    for (unsigned n = 100; n < 200; n++)                 /* junk pushes out junk only */
        inactive(n, NOW, NOW + 5000);
    assert_int_equal(tg_answers_count(table), 4 + 3);
    assert_int_equal(look(2, NOW, false), TG_INTROSPECT_ACTIVE);
    assert_int_equal(look(100, NOW, false), TG_INTROSPECT_UNKNOWN);
    assert_int_equal(look(199, NOW, false), TG_INTROSPECT_INACTIVE);
    active(7, NOW, NOW + 30000);
    active(8, NOW, NOW + 30000);                         /* two more to remember, so the first is forgotten */
    assert_false(tg_answers_was_active(table, OWNER, digest(1), NOW));
}

static void octets(void **state)
{
    struct tg_answer_limits limits = small;
    char text[1000];

    (void)state;
    memset(text, ' ', sizeof(text));
    tg_answers_unref(table);
    limits.active_bytes = 2600;
    table = tg_answers_new(&limits);
    for (unsigned n = 1; n <= 3; n++)
        tg_answers_put_active(table, OWNER, digest(n), tg_answer_new(tg_slice(text, sizeof(text)), 0, NOW + 1000), NOW,
                              NOW);
    assert_int_equal(tg_answers_count(table), 2);
    assert_int_equal(look(1, NOW, false), TG_INTROSPECT_UNKNOWN);
    assert_int_equal(look(3, NOW, false), TG_INTROSPECT_ACTIVE);
}

static void changes(void **state)
{
    (void)state;
    active(1, NOW, NOW + 30000);
    inactive(1, NOW + 1, NOW + 5000);
    assert_int_equal(look(1, NOW + 1, false), TG_INTROSPECT_INACTIVE);
    assert_int_equal(tg_answers_count(table), 1);
    active(1, NOW + 2, NOW + 30000);
    assert_int_equal(look(1, NOW + 2, false), TG_INTROSPECT_ACTIVE);
    assert_int_equal(tg_answers_count(table), 1);
    tg_answers_sweep(table, NOW + 2);
    assert_int_equal(tg_answers_count(table), 1);
    tg_answers_sweep(table, NOW + 2 + TG_ANSWER_REMEMBERED_MS);
    assert_int_equal(look(1, NOW + 2, true), TG_INTROSPECT_UNKNOWN);
    assert_false(tg_answers_was_active(table, OWNER, digest(1), NOW + 2));
}

static void shown(void **state)
{
    (void)state;
    assert_int_equal(tg_answers_shown(table, OWNER, digest(1), 1000), 1);
    assert_int_equal(tg_answers_shown(table, OWNER, digest(1), 1001), 2);
    assert_int_equal(tg_answers_shown(table, OWNER, digest(1), 1001), 3);
    assert_int_equal(tg_answers_shown(table, OWNER + 1, digest(1), 1001), 1);
    tg_answers_shown_junk(table, OWNER, digest(1), 1002);
    assert_int_equal(tg_answers_shown(table, OWNER, digest(1), 1003), 1); /* known to be nothing */
    assert_int_equal(tg_answers_shown(table, OWNER, digest(1), 1003 + 600), 1);
}

#define MANY 100                                         /* times that a token was shown */

static unsigned taken(struct tg_budget *b, unsigned shown, int64_t from_ms, int64_t to_ms, int64_t step_ms)
{
    unsigned n = 0;

    for (int64_t t = from_ms; t < to_ms; t += step_ms)
        n += tg_budget_take(b, shown, t);
    return n;
}

static void budget(void **state)
{
    struct tg_budget b;

    (void)state;
    tg_budget_init(&b, 20, 1000);
    assert_int_equal(taken(&b, 1, 1000, 11001, 1), 20 + 150); /* a burst, then three quarters of the rate */
    assert_int_equal(taken(&b, 2, 11001, 11002, 1), 1);
    tg_budget_init(&b, 20, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(tg_budget_take(&b, 1, 0), i < 20);
    for (int i = 0; i < 100; i++)                        /* what newcomers cannot take */
        assert_int_equal(tg_budget_take(&b, MANY, 0), i < 40);
    assert_false(tg_budget_take(&b, MANY, 66));
    assert_true(tg_budget_take(&b, MANY, 67));           /* by then one of the newcomers' */
    tg_budget_init(&b, 1, 0);
    assert_true(tg_budget_take(&b, 1, 0));
    assert_false(tg_budget_take(&b, 1, 1333));
    assert_true(tg_budget_take(&b, 1, 1334));
    assert_true(tg_budget_take(&b, 1, INT64_C(1) << 60));
    assert_false(tg_budget_take(&b, 1, 1));          /* time does not go back; if it did, nothing is won */
    tg_budget_init(&b, 10000, 0);
    tg_budget_set_rate(&b, 1);
    assert_int_equal(taken(&b, MANY, 0, 10, 1), 3);
}

/* Both kinds together never pass the rate for long, and newcomers however many leave room for others. */
static void budget_under_flood(void **state)
{
    unsigned junk = 0, good = 0, again = 0;
    struct tg_budget b;

    (void)state;
    tg_budget_init(&b, 20, 0);
    for (int64_t t = 0; t < 10000; t++) {
        for (int i = 0; i < 3; i++)
            junk += tg_budget_take(&b, 1, t);
        for (int i = 0; t == 1000 && i < 20; i++)        /* 20 callers at once, each for the second time */
            good += tg_budget_take(&b, 2, t);
    }
    assert_int_equal(good, 20);
    assert_in_range(junk, 165, 20 + 150);
    for (int64_t t = 10000; t < 110000; t++) {
        junk += tg_budget_take(&b, 1, t);
        again += tg_budget_take(&b, 2, t);
    }
    assert_in_range(junk + good + again, 110 * 20 - 60, 110 * 20 + 60);
}

/* Junk that is shown again and again is shown less often than what somebody calls with. */
static void budget_under_repeated_flood(void **state)
{
    unsigned junk = 0, good = 0;
    struct tg_budget b;

    (void)state;
    tg_budget_init(&b, 20, 0);
    for (int64_t t = 0; t < 10000; t++)
        junk += tg_budget_take(&b, 2, t);
    assert_in_range(junk, 150, 60 + 200);
    for (unsigned i = 0; i < 20; i++) {                  /* 20 callers at once, each until it has a turn */
        unsigned times = 1;

        while (!tg_budget_take(&b, times, 10000) && times < 10)
            times++;
        good += times < 10;
    }
    assert_int_equal(good, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(times), TEST(not_kept), TEST(trouble_says_nothing), TEST(recently_active), TEST(bounds), TEST(octets),
        TEST(changes), TEST(shown), TEST(budget), TEST(budget_under_flood),
        TEST(budget_under_repeated_flood),
    };

    return cmocka_run_group_tests_name("introspect_cache", tests, NULL, NULL);
}
