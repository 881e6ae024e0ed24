/*
 * wheel - never early, at most one turn and 50 ms late, whatever is set, moved and cleared and from wherever.
 *
 * Time is simulated: the wheel is told what time it is, and `wake` stands for the loop's timer.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "io/wheel.h"
#include <stdio.h>

#define MANY 3000

static struct tg_wheel wheel;
static int64_t now_ms;
static bool awake;

static void wake(struct tg_wheel *w, bool needed)
{
    if (needed && !awake)
        w->done_ms = now_ms;
    awake = needed;
}

static void begin(int64_t start_ms)
{
    now_ms = start_ms;
    awake = false;
    tg_wheel_init(&wheel, now_ms, wake);
}

static void advance(int64_t ms)
{
    now_ms += ms;
    if (awake)
        tg_wheel_run(&wheel, now_ms);
}

struct alarm {
    struct tg_deadline d;                                /* first: the callback gets a pointer to it */
    int64_t want_ms, set_ms, rang_ms;                    /* of the naive model; 0: not */
    unsigned rung;
    void (*then)(struct alarm *a);
    struct alarm *other;
};

static void ring(struct tg_deadline *d)
{
    struct alarm *a = (struct alarm *)(void *)d;

    if (d->at_ms != 0 || a->want_ms == 0 || now_ms < a->want_ms)
        fail_msg("rang at %jd, wanted %jd", (intmax_t)now_ms, (intmax_t)a->want_ms);
    a->want_ms = 0;
    a->rang_ms = now_ms;
    a->rung++;
    if (a->then)
        a->then(a);
}

static void set(struct alarm *a, int64_t at_ms)
{
    a->d.expired = ring;
    a->want_ms = at_ms > 0 ? at_ms : 1;
    a->set_ms = now_ms;
    tg_deadline_set(&wheel, &a->d, at_ms);
    assert_true(awake);
}

static void clear(struct alarm *a)
{
    a->want_ms = 0;
    tg_deadline_clear(&wheel, &a->d);
}

/* Whatever waits, after a turn at now_ms, may not have waited 50 ms too long. */
static void check(const struct alarm *a, size_t n)
{
    size_t waiting = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t from = a[i].want_ms > a[i].set_ms ? a[i].want_ms : a[i].set_ms;

        if (a[i].want_ms == 0)
            continue;
        waiting++;
        if (from + TG_WHEEL_TICK_MS <= now_ms)
            fail_msg("alarm %zu wanted %jd, set %jd, still silent at %jd", i, (intmax_t)a[i].want_ms,
                     (intmax_t)a[i].set_ms, (intmax_t)now_ms);
    }
    assert_int_equal(wheel.count, waiting);
    assert_int_equal(awake, waiting > 0);
}

static void one_at_a_time(void **state)
{
    (void)state;
    static const struct { const char *why; int64_t start_ms, in_ms; } cases[] = {
        {"now", 1000, 0},
        {"in the past", 100000, -5000},
        {"before time began", 1000, -2000},
        {"next millisecond", 1000, 1},
        {"just before a tick", 1000, 49},
        {"on a tick", 1000, 50},
        {"just after a tick", 1000, 51},
        {"started between ticks", 1049, 1},
        {"one slot short of a turn of the wheel", 1000, 50 * (TG_WHEEL_SLOTS - 1)},
        {"exactly one turn of the wheel", 1000, 50 * TG_WHEEL_SLOTS},
        {"several turns", 1234, 50 * TG_WHEEL_SLOTS * 3 + 7},
        {"after a month of uptime", 2592000123, 60000},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct alarm a = {0};

        begin(cases[i].start_ms);
        set(&a, now_ms + cases[i].in_ms);
        for (int64_t end = now_ms + 100000; a.rung == 0 && now_ms < end;)
            advance(1);
        int64_t at = cases[i].start_ms + (cases[i].in_ms > 0 ? cases[i].in_ms : 0);
        if (a.rung != 1 || a.rang_ms < at || a.rang_ms > at + TG_WHEEL_TICK_MS)
            fail_msg("%s: rang at +%jd", cases[i].why, (intmax_t)(a.rang_ms - cases[i].start_ms));
        check(&a, 1);
    }
}

/* "Again in 60 s" a thousand times costs stores only, and the last word counts. */
static void moved_lazily(void **state)
{
    (void)state;
    struct alarm a = {0};

    begin(5000);
    set(&a, now_ms + 1000);
    for (int i = 0; i < 1000; i++) {
        advance(37);
        set(&a, now_ms + 1000);
    }
    assert_int_equal(a.rung, 0);
    set(&a, now_ms + 300000);                            /* far later */
    advance(20);
    set(&a, now_ms + 200);                               /* and sooner again: before where it is filed */
    int64_t at = now_ms + 200;
    while (a.rung == 0 && now_ms < at + 1000)
        advance(10);
    assert_in_range(a.rang_ms, at, at + 60);
    set(&a, now_ms + 100);
    clear(&a);
    clear(&a);                                           /* twice is fine, and so is never set */
    clear(&(struct alarm){0});
    advance(1000);
    assert_int_equal(a.rung, 1);
    assert_false(awake);
    /* A long sleep without anything to do leaves no debt of slots to look at. */
    advance(1000000);
    set(&a, now_ms + 100);
    advance(90);
    assert_int_equal(a.rung, 1);
    advance(70);
    assert_int_equal(a.rung, 2);
}

static void clear_other(struct alarm *a)
{
    clear(a->other);
}

static void set_other(struct alarm *a)
{
    set(a->other, now_ms - 1);
}

static void set_self(struct alarm *a)
{
    if (a->rung < 100)
        set(a, now_ms + (a->rung % 3 ? 0 : 60));
}

static void from_callbacks(void **state)
{
    (void)state;
    struct alarm a[4];

    memset(a, 0, sizeof(a));
    begin(1000);
    /* Two of one slot that clear each other: whoever comes first wins. */
    a[0].then = a[1].then = clear_other;
    a[0].other = &a[1];
    a[1].other = &a[0];
    set(&a[0], 1010);
    set(&a[1], 1011);
    advance(200);
    assert_int_equal(a[0].rung + a[1].rung, 1);
    check(a, 4);

    /* Set for the past while its slot is being looked at: the next turn, not this one for ever. */
    a[2].then = set_other;
    a[2].other = &a[3];
    set(&a[2], now_ms + 10);
    advance(100);
    advance(50);
    assert_int_equal(a[2].rung, 1);
    assert_int_equal(a[3].rung, 1);
    check(a, 4);

    memset(a, 0, sizeof(a));
    a[0].then = set_self;
    set(&a[0], now_ms + 10);
    for (int i = 0; i < 400; i++) {
        advance(50);
        check(a, 4);
    }
    assert_int_equal(a[0].rung, 100);
    assert_false(awake);
}

/* The callback may free its deadline. */
static void ring_and_free(struct tg_deadline *d)
{
    free(d);
}

static void freed_in_its_callback(void **state)
{
    (void)state;
    begin(1000);
    for (int i = 0; i < 100; i++) {
        struct tg_deadline *d = TG_NEW(struct tg_deadline);

        d->expired = ring_and_free;
        tg_deadline_set(&wheel, d, now_ms + i % 7);
    }
    advance(200);
    assert_int_equal(wheel.count, 0);
}

static uint64_t random_bits(void)
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static void touch_another(struct alarm *a)
{
    if (random_bits() % 2)
        set(a->other, now_ms + (int64_t)(random_bits() % 40000));
    else
        clear(a->other);
}

static void thousands_at_random(void **state)
{
    (void)state;
    struct alarm *all = TG_NEW_ARRAY(struct alarm, MANY);

    begin(123456);
    for (size_t i = 0; i < MANY; i++) {
        all[i].then = i % 5 ? NULL : touch_another;
        all[i].other = &all[random_bits() % MANY];
    }
    for (int step = 0; step < 3000; step++) {
        for (int k = 0; k < 30; k++) {
            struct alarm *a = &all[random_bits() % MANY];

            switch (random_bits() % 8) {
            case 0:
                clear(a);
                break;
            case 1:
                set(a, now_ms - (int64_t)(random_bits() % 100));
                break;
            case 2:
                set(a, now_ms + (int64_t)(random_bits() % 200000));
                break;
            default:
                set(a, now_ms + (int64_t)(random_bits() % 5000));
            }
        }
        /* Ticks come late now and then, and once in a while the process stood still. */
        advance(random_bits() % 200 ? 1 + (int64_t)(random_bits() % 130) : (int64_t)(random_bits() % 90000));
        check(all, MANY);
    }
    for (size_t i = 0; i < MANY; i++)
        clear(&all[i]);
    assert_int_equal(wheel.count, 0);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_at_a_time),         cmocka_unit_test(moved_lazily),
        cmocka_unit_test(from_callbacks),        cmocka_unit_test(freed_in_its_callback),
        cmocka_unit_test(thousands_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
