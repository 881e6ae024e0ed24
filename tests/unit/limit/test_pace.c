/* pace - how much is asked and when, by numbers; and the laws that hold for all of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../proxy/limit/remote_clock.h"
#include "../../../proxy/limit/remote_pace.h"

#define S INT64_C(1000000)

static uint64_t seed = 7;
static uint32_t any(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void wants(void **state)
{
    static const struct { const char *why; struct tg_pace p; uint32_t want, sure; } cases[] = {
        {"cold", {.limit = 1000, .span_us = 60 * S}, 64, 0},
        {"cold, and all of it is less", {.limit = 10, .span_us = 60 * S}, 10, 0},
        {"an eighth of what it was", {.limit = 10000, .span_us = 60 * S, .former = 8000}, 1000, 1000},
        {"slow: little more than it was", {.limit = 1000, .span_us = 60 * S, .former = 40}, 54, 40},
        {"a burst doubles", {.limit = 10000, .span_us = 60 * S, .elapsed_us = 1000, .used = 500}, 499, 499},
        {"those who wait", {.limit = 10000, .span_us = 60 * S, .waiting = 300}, 300, 300},
        {"a step", {.limit = 1000, .span_us = S, .former = 20, .sliding = true}, 27, 20},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t want = tg_pace_want(&cases[i].p);

        if (want != cases[i].want || tg_pace_sure(&cases[i].p, want) != cases[i].sure)
            fail_msg("%s: %u, %u", cases[i].why, want, tg_pace_sure(&cases[i].p, want));
    }
}

/*
 * A key alone at its store, requests evenly or at once, from 40 a window to many: under one command for 20 of them, in
 * each of five windows, whatever it was before.
 */
static void under_one_command_for_twenty(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        uint32_t rate = TG_PACE_BUSY + any(round % 10 ? 500 : 50000);
        uint32_t limit = rate * 2 + 128 + any(1000000);
        int64_t span = (1 + any(60)) * S;
        bool burst = any(4) == 0;
        uint32_t former = any(2) ? any(TG_PACE_BUSY) : 0, next = 0;

        for (unsigned window = 0; window < 5; window++) {
            struct tg_pace p = {.limit = limit, .span_us = span, .former = former, .permits = next, .last_grant = next};
            uint32_t granted = next;
            unsigned commands = next > 0;                /* the one that asked for it */
            bool asked_next = false;

            next = 0;
            for (uint32_t i = 0; i < rate; i++) {
                p.elapsed_us = burst ? (int64_t)i : span * i / rate;
                if (p.permits == 0 || (i > 0 && granted < limit && tg_pace_asks_ahead(&p))) {
                    uint32_t want = tg_pace_want(&p), left = limit - granted, half = (left + 1) / 2;
                    uint32_t sure = tg_pace_sure(&p, want), given = half > sure ? half : sure;

                    given = given < want ? given : want;
                    p.last_grant = given < left ? given : left;
                    p.permits += p.last_grant;
                    granted += p.last_grant;
                    commands++;
                }
                assert_true(p.permits > 0);
                p.permits--;
                p.used++;
                if (!asked_next && tg_pace_asks_next(&p, round)) {
                    struct tg_pace n = {.limit = limit, .span_us = span, .former = p.used > former ? p.used : former};

                    asked_next = true;
                    next = tg_pace_want(&n);
                }
            }
            if (commands * TG_PACE_PER_COMMAND >= rate)
                fail_msg("%u requests, window %u of %lld s: %u commands", rate, window, (long long)(span / S),
                         commands);
            former = p.used;
        }
    }
}

static void idle_and_again(void **state)
{
    struct tg_pace p = {.span_us = 60 * S, .requests = 1};

    (void)state;
    assert_int_equal(tg_pace_idle_us(&p, 0), 2 * S);
    assert_int_equal(tg_pace_idle_us(&p, 3 * S), 12 * S);
    p = (struct tg_pace){.span_us = S, .requests = 100, .commands = 1};
    assert_int_equal(tg_pace_idle_us(&p, 0), 250000);
    p.span_us = 60 * S;
    assert_int_equal(tg_pace_retry_us(&p, 0), 3 * S);
    assert_int_equal(tg_pace_retry_us(&p, 9), 3 * S);    /* many are refused */
    p.requests = 30;
    assert_int_equal(tg_pace_retry_us(&p, 1), 6 * S);
    assert_int_equal(tg_pace_retry_us(&p, 9), 48 * S);
}

/* ---- the clock ---- */

/* Whatever the delays of answers: the truth is in the interval, and it is narrower than the quickest answer's delay. */
static void the_truth_is_inside(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct tg_store_clock c = {0};
        int64_t mono = 1000 * S, offset = 1795000000 * S + any(1000000000), least = INT64_MAX;

        for (unsigned i = 0; i < 200; i++) {
            int64_t there = any(3000), back = any(3000);

            mono += any(500000);
            tg_store_clock_learn(&c, mono, mono + there + back, mono + there + offset);
            least = there + back < least ? there + back : least;
            mono += there + back;
            struct tg_store_time t = tg_store_clock_at(&c, mono);
            assert_true(t.low_us <= mono + offset && mono + offset <= t.high_us);
            assert_true(t.high_us - t.low_us <= 6000 + 2);
        }
        assert_int_equal(c.steps, 1);
    }
}

static void a_drift_is_no_step(void **state)
{
    struct tg_store_clock c = {0};
    int64_t mono = 0, store = 1795000000 * S;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {                /* 400 ppm fast, an answer in 200 us each second */
        tg_store_clock_learn(&c, mono, mono + 200, store + 100);
        mono += S;
        store += S + 400;
        struct tg_store_time t = tg_store_clock_at(&c, mono);
        assert_true(t.low_us <= store && store <= t.high_us);
    }
    assert_int_equal(c.steps, 1);
    tg_store_clock_learn(&c, mono, mono + 200, store + 5 * S);
    assert_int_equal(c.steps, 2);
    struct tg_store_time t = tg_store_clock_at(&c, mono + 200);
    assert_true(t.low_us <= store + 5 * S + 200 && store + 5 * S <= t.high_us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wants),
        cmocka_unit_test(under_one_command_for_twenty),
        cmocka_unit_test(idle_and_again),
        cmocka_unit_test(the_truth_is_inside),
        cmocka_unit_test(a_drift_is_no_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
