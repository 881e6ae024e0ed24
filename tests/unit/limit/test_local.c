/*
 * test_local - exact counting across threads, one window and several, and that all that is told agrees.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/claims.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/json.h"
#include "limit/local.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define NOW_MS INT64_C(1767225600000)                    /* 2026-01-01T00:00:00Z, the start of a minute */
#define FIXED false
#define SLIDING true

static struct tg_window window(uint32_t limit, uint32_t length_s, bool sliding)
{
    return (struct tg_window){.name = TG_S("w"), .limit = limit, .length_s = length_s, .sliding = sliding,
                              .salt = tg_hash2(length_s, sliding)};
}

static struct tg_tier tier_of(const struct tg_window *windows, size_t count)
{
    return (struct tg_tier){.name = TG_S("t"), .windows = windows, .window_count = count};
}

static struct tg_charge charge(struct tg_local_limits *l, const struct tg_tier *tier, uint64_t who, int64_t ms,
                               bool look)
{
    struct tg_limit_key key = {who, TG_BY_SUBJECT};
    struct tg_charge c;

    memset(&c, 0xff, sizeof(c));
    tg_local_charge(l, tier, &key, NULL, ms, look, &c);
    assert_ptr_equal(c.tier, tier);
    assert_int_equal(c.counter, TG_COUNTER_MEMORY);
    assert_int_equal(c.count, tier->window_count);
    assert_false(c.failed);
    return c;
}

/* ---- threads ---- */

#define THREADS 4
#define REQUESTS 200000                                  /* of each thread */
#define SUBJECTS 3
#define MOST 60000

struct counting {
    struct tg_local_limits *l;
    struct tg_tier tier;
    unsigned subjects, requests;
    _Atomic unsigned admitted[SUBJECTS];
    _Atomic unsigned char told[SUBJECTS][MOST];          /* how often each Remaining was told with an admission */
};

static void *count_many(void *arg)
{
    struct counting *c = arg;

    for (unsigned i = 0; i < c->requests; i++) {
        unsigned who = i % c->subjects;
        struct tg_charge got = charge(c->l, &c->tier, who + 1, NOW_MS + 1234, false);

        if (!got.admitted)
            continue;
        atomic_fetch_add(&c->admitted[who], 1);
        atomic_fetch_add(&c->told[who][got.remaining], 1);
    }
    return NULL;
}

static struct counting counted;

/* Every subject is to get exactly `limit`. */
static void count_in_threads(int threads, const struct tg_window *windows, size_t count, unsigned subjects,
                             uint32_t limit)
{
    pthread_t ids[THREADS];

    memset(&counted, 0, sizeof(counted));
    counted.l = tg_local_limits_new(1024);
    counted.tier = tier_of(windows, count);
    counted.subjects = subjects;
    counted.requests = count == 1 ? REQUESTS : REQUESTS / 5;
    for (int i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, count_many, &counted), 0);
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    for (unsigned who = 0; who < subjects; who++)
        assert_int_equal(counted.admitted[who], limit);
}

static void threads_count_exactly(void **state)
{
    static const uint32_t limits[] = {1, 100, MOST};

    (void)state;
    for (int threads = 2; threads <= THREADS; threads += 2)
        for (unsigned i = 0; i < 2 * ARRAY_LEN(limits); i++) {
            uint32_t limit = limits[i / 2];
            struct tg_window w = window(limit, 60, i % 2);
            unsigned subjects = limit == MOST ? 1 : SUBJECTS;

            count_in_threads(threads, &w, 1, subjects, limit);
            for (unsigned who = 0; who < subjects; who++)
                for (unsigned left = 0; left < limit; left++)
                    assert_int_equal(counted.told[who][left], 1); /* each Remaining to exactly one request */
            tg_local_limits_free(counted.l);
        }
}

/* What was taken of the first windows is given back when the last is full, and nothing else is. */
static void threads_take_of_all_or_none(void **state)
{
    static const uint32_t orders[][3] = {{9000, 7000, 5000}, {5000, 7000, 9000}, {5000, 5000, 5000},
                                         {7000, 5000, 9000}};

    (void)state;
    for (int threads = 2; threads <= THREADS; threads += 2)
        for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
            struct tg_window w[] = {window(100, 1, FIXED), window(orders[i][0], 60, FIXED),
                                    window(orders[i][1], 600, SLIDING), window(orders[i][2], 3600, FIXED)};
            struct tg_charge c;

            w[0].shadow = true;
            count_in_threads(threads, w, 4, SUBJECTS, 5000);
            c = charge(counted.l, &counted.tier, 1, NOW_MS + 1234, true);
            for (unsigned k = 0; k < 3; k++)
                assert_int_equal(c.windows[k + 1].remaining, orders[i][k] - 5000);
            assert_int_equal(c.windows[0].remaining, 0); /* what was not taken of it is not given back to it */
            tg_local_limits_free(counted.l);
        }
}

/* ---- windows ---- */

static void window_edges(void **state)
{
    static const struct {
        const char *why;
        int64_t ms;
        uint32_t length_s;
        int64_t reset_s;
        uint32_t retry_s;
    } cases[] = {
        {"the first millisecond",            NOW_MS,         60,    1767225660, 60},
        {"one later: rounded up",            NOW_MS + 1,     60,    1767225660, 60},
        {"a second later",                   NOW_MS + 1000,  60,    1767225660, 59},
        {"just before a whole second",       NOW_MS + 59000, 60,    1767225660, 1},
        {"the last millisecond: at least 1", NOW_MS + 59999, 60,    1767225660, 1},
        {"the next window",                  NOW_MS + 60000, 60,    1767225720, 60},
        {"windows of a second",              NOW_MS + 500,   1,     1767225601, 1},
        {"windows of a day",                 NOW_MS + 500,   86400, 1767312000, 86400},
        {"windows that divide no minute",    NOW_MS + 2500,  7,     1767225607, 5},
        {"1970",                             0,              60,    60,         60},
        {"a clock before 1970",              -5000,          60,    60,         60},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_local_limits *l = tg_local_limits_new(1024);
        struct tg_window w = window(1, cases[i].length_s, FIXED);
        struct tg_tier t = tier_of(&w, 1);
        struct tg_charge first = charge(l, &t, 1, cases[i].ms, false), second = charge(l, &t, 1, cases[i].ms, false);

        if (!first.admitted || second.admitted || second.reset_s != cases[i].reset_s ||
            second.retry_after_s != cases[i].retry_s || first.reset_s != second.reset_s)
            fail_msg("%s: reset %lld, retry %u", cases[i].why, (long long)second.reset_s, second.retry_after_s);
        tg_local_limits_free(l);
    }
}

/* Two workers look at the clock around the end of a window; the one that looked first counts last. */
static void around_the_end(void **state)
{
    struct tg_local_limits *l = tg_local_limits_new(1024);
    struct tg_window w[] = {window(3, 60, FIXED), window(3, 60, SLIDING)};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct tg_tier t = tier_of(&w[i], 1);
        int64_t reset_s = NOW_MS / 1000 + (i ? 126 : 120);
        struct tg_charge c;

        assert_int_equal(charge(l, &t, 1, NOW_MS + 60000, false).remaining, 2);
        c = charge(l, &t, 1, NOW_MS + 59999, false);     /* in the window of the other, and that one is told */
        assert_true(c.admitted && c.remaining == 1 && c.reset_s == reset_s && c.retry_after_s == reset_s - 1767225659);
        assert_int_equal(charge(l, &t, 1, NOW_MS + 60000, false).remaining, 0);
        c = charge(l, &t, 1, NOW_MS + 59999, false);
        assert_true(!c.admitted && c.reset_s == reset_s);
    }
    tg_local_limits_free(l);
}

static void a_clock_set_back(void **state)
{
    struct tg_local_limits *l = tg_local_limits_new(1024);
    struct tg_window w[] = {window(2, 60, FIXED), window(2, 60, SLIDING)};
    static const struct { int64_t back_ms; bool admitted; } cases[] = {{59999, false}, {180000, true},
                                                                       {86400000, true}};

    (void)state;
    for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct tg_tier t = tier_of(&w[i % 2], 1);
        int64_t then_ms = NOW_MS + 59999 - cases[i / 2].back_ms;
        struct tg_charge c;

        charge(l, &t, 10 + i, NOW_MS + 59999, false);
        charge(l, &t, 10 + i, NOW_MS + 59999, false);
        c = charge(l, &t, 10 + i, then_ms, false);       /* by less than a window: it still counts */
        assert_int_equal(c.admitted, cases[i / 2].admitted);
        assert_true(c.retry_after_s <= 126);             /* nobody waits for the former time to come again */
        if (!c.admitted)
            continue;
        assert_true(charge(l, &t, 10 + i, then_ms, false).admitted);
        assert_false(charge(l, &t, 10 + i, then_ms, false).admitted);
    }
    tg_local_limits_free(l);
}

static void looking_counts_nothing(void **state)
{
    struct tg_local_limits *l = tg_local_limits_new(1024);
    struct tg_window w[] = {window(2, 60, FIXED), window(3, 600, SLIDING)};
    struct tg_tier t = tier_of(w, 2);
    struct tg_local_state s;
    struct tg_charge c;

    (void)state;
    tg_clock_set_wall_ms(NOW_MS);
    for (int i = 0; i < 10; i++) {
        c = charge(l, &t, 5, NOW_MS, true);
        assert_true(c.admitted && c.remaining == 2 && c.windows[1].remaining == 3);
    }
    tg_local_state(l, &s);
    assert_true(s.fixed_keys == 0 && s.sliding_keys == 0 && s.evicted == 0 && s.overflowed == 0);
    charge(l, &t, 5, NOW_MS, false);
    tg_local_state(l, &s);
    assert_true(s.fixed_keys == 1 && s.sliding_keys == 1);
    c = charge(l, &t, 5, NOW_MS, true);
    assert_true(c.admitted && c.remaining == 1);
    charge(l, &t, 5, NOW_MS, false);
    c = charge(l, &t, 5, NOW_MS, true);
    assert_true(!c.admitted && c.remaining == 0 && c.windows[0].full && !c.windows[1].full);
    tg_clock_set_wall_ms(-1);
    tg_local_limits_free(l);
}

/* ---- limits that change, and those that a claim sets ---- */

static void another_limit_keeps_the_count(void **state)
{
    (void)state;
    for (unsigned sliding = 0; sliding < 2; sliding++) {
        struct tg_local_limits *l = tg_local_limits_new(1024);
        struct tg_window w = window(5, 60, sliding);
        struct tg_tier t = tier_of(&w, 1);

        for (int i = 0; i < 5; i++)
            assert_true(charge(l, &t, 1, NOW_MS, false).admitted);
        w.limit = 7;
        assert_int_equal(charge(l, &t, 1, NOW_MS, false).remaining, 1);
        w.limit = 3;
        assert_false(charge(l, &t, 1, NOW_MS, false).admitted);
        w.limit = 7;
        assert_true(charge(l, &t, 1, NOW_MS, false).admitted);
        assert_false(charge(l, &t, 1, NOW_MS, false).admitted);
        tg_local_limits_free(l);
    }
}

static struct tg_claims *claims_of(const char *json)
{
    struct tg_err err = {0};
    cJSON *object = NULL;

    assert_int_equal(tg_json_parse(tg_slice_str(json), NULL, &object, &err), TG_OK);
    return tg_claims_new(object);
}

/* Told exactly up to the largest, at any time the clock may say. */
static void the_largest_limits(void **state)
{
    static const int64_t clocks_ms[] = {-5, 0, 2147483647999, 4294967295999, 4294967296000, 253402300799999};

    (void)state;
    for (unsigned i = 0; i < 2 * ARRAY_LEN(clocks_ms); i++) {
        struct tg_local_limits *l = tg_local_limits_new(1024);
        uint32_t limit = i % 2 ? TG_SLIDING_LIMIT_MAX : TG_LIMIT_MAX;
        struct tg_window w = window(limit, TG_WINDOW_MAX_S, i % 2);
        struct tg_tier t = tier_of(&w, 1);
        int64_t ms = clocks_ms[i / 2], now_ms = ms > 0 ? ms : 0;
        struct tg_charge_window one;
        struct tg_charge c;

        assert_true(tg_local_count(l, &w, 1, limit, ms, limit - 1, &one));
        c = charge(l, &t, 1, ms, false);
        assert_true(c.admitted && c.limit == limit && c.remaining == 0);
        c = charge(l, &t, 1, ms, false);
        assert_false(c.admitted);
        assert_true(c.reset_s * 1000 > now_ms && c.reset_s * 1000 <= now_ms + TG_WINDOW_MAX_S * INT64_C(1100) + 999);
        assert_int_equal(c.retry_after_s, c.reset_s - now_ms / 1000);
        assert_true(charge(l, &t, 1, c.reset_s * 1000, false).admitted);
        tg_local_limits_free(l);
    }
}

static void limits_of_claims(void **state)
{
    static const struct { const char *claims; uint32_t limit; } cases[] = {
        {"{\"quota\":2}", 2}, {"{\"quota\":90}", 9}, {"{\"quota\":0}", 0}, {"{}", 4},
    };

    (void)state;
    for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct tg_local_limits *l = tg_local_limits_new(1024);
        struct tg_window w = window(4, 60, i % 2);
        struct tg_tier t = tier_of(&w, 1);
        struct tg_claims *claims = claims_of(cases[i / 2].claims);
        struct tg_limit_key key = {1, TG_BY_SUBJECT};
        struct tg_charge c;
        uint32_t admitted = 0;

        w.claim = TG_S("quota");
        w.claim_hash = tg_hash_slice(w.claim);
        w.ceiling = 9;
        for (int k = 0; k < 20; k++) {
            tg_local_charge(l, &t, &key, claims, NOW_MS, false, &c);
            assert_int_equal(c.limit, cases[i / 2].limit);
            admitted += c.admitted;
        }
        assert_int_equal(admitted, cases[i / 2].limit);
        assert_true(!c.admitted && c.remaining == 0 && c.reset_s > NOW_MS / 1000);
        tg_claims_free(claims);
        tg_local_limits_free(l);
    }
}

/* ---- one window of it, for others ---- */

static void one_window(void **state)
{
    struct tg_local_limits *l = tg_local_limits_new(1024);
    struct tg_window w = window(10, 60, FIXED);
    struct tg_charge_window got;

    (void)state;
    assert_true(tg_local_count(l, &w, 3, 10, NOW_MS, 0, &got));
    assert_true(got.remaining == 10 && !got.full && got.window == &w && got.limit == 10);
    assert_true(tg_local_count(l, &w, 3, 10, NOW_MS, 7, &got));
    assert_true(got.remaining == 3 && got.reset_ms == NOW_MS + 60000);
    assert_false(tg_local_count(l, &w, 3, 10, NOW_MS, 4, &got));
    assert_true(got.full && got.remaining == 3);
    assert_true(tg_local_count(l, &w, 3, 10, NOW_MS, 3, &got));
    assert_false(tg_local_count(l, &w, 3, 10, NOW_MS - 1, 0, &got)); /* the window before: this one's */
    assert_true(tg_local_count(l, &w, 3, 10, -5, 1, &got));
    assert_int_equal(got.reset_ms, 60000);
    tg_local_limits_free(l);
    tg_local_limits_free(NULL);
}

/* ---- many keys ---- */

/* A million addresses neither grow the table nor free one who is over the limit. */
static void a_flood(void **state)
{
    (void)state;
    for (unsigned sliding = 0; sliding < 2; sliding++) {
        struct tg_local_limits *l = tg_local_limits_new(4096);
        struct tg_window w = window(3, 60, sliding);
        struct tg_tier t = tier_of(&w, 1);
        struct tg_local_state s;

        tg_clock_set_wall_ms(NOW_MS);
        for (int i = 0; i < 4; i++)
            charge(l, &t, 1, NOW_MS, false);
        for (uint64_t i = 0; i < 300000; i++)
            charge(l, &t, 1000 + i, NOW_MS, false);
        tg_local_state(l, &s);
        assert_in_range(s.fixed_keys + s.sliding_keys, 3000, 4096 * 3);
        assert_in_range(s.evicted, 280000, 300000);
        assert_false(charge(l, &t, 1, NOW_MS, false).admitted);
        for (uint64_t i = 0; i < 100000; i++)            /* now every slot is blocked */
            for (int k = 0; k < 3; k++)
                charge(l, &t, 1000000 + i, NOW_MS, false);
        tg_local_state(l, &s);
        assert_true(s.overflowed > 0);
        assert_false(charge(l, &t, 1, NOW_MS, false).admitted);
        tg_clock_set_wall_ms(-1);
        tg_local_limits_free(l);
    }
}

static void every_key_is_remembered(void **state)
{
    enum { KEYS = 200000 };
    struct tg_local_limits *l = tg_local_limits_new(KEYS);
    struct tg_window w[] = {window(9, 60, FIXED), window(9, 60, SLIDING)};
    struct tg_local_state s;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct tg_tier t = tier_of(&w[i], 1);
        uint64_t keys = i ? KEYS / 4 : KEYS;             /* sliding ones are four times as large */

        for (uint64_t k = 0; k < keys; k++)
            assert_int_equal(charge(l, &t, k, NOW_MS, false).remaining, 8);
        for (uint64_t k = 0; k < keys; k++)
            assert_int_equal(charge(l, &t, k, NOW_MS + 1, false).remaining, 7);
    }
    tg_local_state(l, &s);
    assert_true(s.evicted == 0 && s.overflowed == 0);
    tg_local_limits_free(l);
}

/* ---- the law: what is told agrees with itself and with a plain list of what was admitted ---- */

static uint64_t seed = 42;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

#define LONGEST 2000
struct model {                                           /* of one window */
    const struct tg_window *w;
    int64_t times[LONGEST];                              /* of what it counted, ascending */
    size_t count;
};

static int64_t step_ms(const struct tg_window *w)
{
    return w->sliding ? w->length_s * INT64_C(100) : w->length_s * INT64_C(1000);
}

/* Until when a request of `ms` counts. */
static int64_t counts_until(const struct tg_window *w, int64_t ms)
{
    return (ms / step_ms(w) + (w->sliding ? 11 : 1)) * step_ms(w);
}

static uint32_t alive_at(const struct model *m, int64_t ms)
{
    size_t n = m->count;

    while (n > 0 && counts_until(m->w, m->times[n - 1]) > ms)
        n--;
    return (uint32_t)(m->count - n);
}

/* When there is more to be had than at `ms`; when full, room for one. */
static int64_t more_at(const struct model *m, int64_t ms, bool full)
{
    uint32_t alive = alive_at(m, ms);

    for (size_t i = m->count - alive; i < m->count; i++) {
        int64_t end_ms = counts_until(m->w, m->times[i]);

        if (!full || alive_at(m, end_ms) < m->w->limit)
            return end_ms;
    }
    return counts_until(m->w, ms);
}

static void expect_window(const struct model *m, const struct tg_charge_window *got, int64_t ms, bool full)
{
    assert_ptr_equal(got->window, m->w);
    assert_int_equal(got->limit, m->w->limit);
    assert_int_equal(got->remaining, m->w->limit - alive_at(m, ms));
    assert_int_equal(got->full, full);
    assert_int_equal(got->reset_ms, more_at(m, ms, full));
}

/* Of all windows that are told of, none says worse: fewer left, or if full later. */
static void expect_telling(const struct tg_charge *c, int64_t ms)
{
    const struct tg_charge_window *told = &c->windows[c->telling];
    bool applied = false;

    for (unsigned i = 0; i < c->count; i++)
        applied = applied || !c->windows[i].window->shadow;
    assert_true(!applied || !told->window->shadow);
    for (unsigned i = 0; i < c->count; i++) {
        const struct tg_charge_window *w = &c->windows[i];

        if (applied && w->window->shadow)
            continue;
        assert_true(!w->full || told->full);
        assert_true(told->full ? !w->full || w->reset_ms <= told->reset_ms : w->remaining >= told->remaining);
    }
    assert_int_equal(c->limit, told->limit);
    assert_int_equal(c->remaining, c->admitted ? told->remaining : 0);
    assert_int_equal(c->reset_s, (told->reset_ms + 999) / 1000);
    assert_true(told->reset_ms > ms && c->retry_after_s >= 1);
    assert_true(ms + c->retry_after_s * INT64_C(1000) >= told->reset_ms);      /* it is not too early then */
    assert_true(ms + (c->retry_after_s - INT64_C(1)) * 1000 < told->reset_ms); /* a second less may be */
}

static struct tg_charge request(struct tg_local_limits *l, const struct tg_tier *t, struct model *models, int64_t ms,
                                bool look)
{
    struct tg_charge c = charge(l, t, 77, ms, look);
    bool full[TG_TIER_WINDOWS], admitted = true, shadow_full = false;

    for (unsigned i = 0; i < t->window_count; i++) {
        full[i] = alive_at(&models[i], ms) >= models[i].w->limit;
        admitted = admitted && (!full[i] || models[i].w->shadow);
        shadow_full = shadow_full || (full[i] && models[i].w->shadow);
    }
    assert_int_equal(c.admitted, admitted);
    assert_int_equal(c.shadow_full, shadow_full);
    for (unsigned i = 0; i < t->window_count; i++) {
        if (admitted && !look && !full[i])               /* of all or none; of a shadow as long as it has some */
            models[i].times[models[i].count++] = ms;
        expect_window(&models[i], &c.windows[i], ms, full[i]);
    }
    expect_telling(&c, ms);
    return c;
}

/* Remaining means that many more now, and Retry-After that one is admitted then and none before the telling's end. */
static int promise_kept(struct tg_local_limits *l, const struct tg_tier *t, struct model *models,
                        const struct tg_charge *c, int64_t ms)
{
    if (c->admitted) {
        for (uint32_t i = 0; i < c->remaining; i++)
            assert_true(request(l, t, models, ms, false).admitted);
        assert_int_equal(request(l, t, models, ms, false).admitted, tg_tier_is_shadow(t));
        return (int)c->remaining + 1;
    }
    assert_true(charge(l, t, 77, ms + c->retry_after_s * INT64_C(1000), true).admitted);
    assert_true(charge(l, t, 77, c->windows[c->telling].reset_ms, true).admitted);
    assert_false(charge(l, t, 77, c->windows[c->telling].reset_ms - 1, true).admitted);
    return 0;
}

static void random_tier(struct tg_window *windows, struct tg_tier *t, int run)
{
    static const uint32_t lengths[] = {1, 2, 7, 10, 60, 3600};
    size_t count = run % 4 < 2 ? 1 : 2 + random_below(3);
    unsigned first = random_below((uint32_t)(ARRAY_LEN(lengths) - count + 1));

    for (size_t i = 0; i < count; i++) {
        bool sliding = (count == 1 ? (unsigned)run % 2 : random_below(2)) == 1;

        windows[i] = window(1 + random_below(8u << (2 * i)), lengths[first + i], sliding);
        windows[i].shadow = random_below(5) == 0;
    }
    *t = tier_of(windows, count);
}

static void all_that_is_told_agrees(void **state)
{
    static struct model models[TG_TIER_WINDOWS];
    unsigned refused = 0, admitted = 0;

    (void)state;
    for (int run = 0; run < 400; run++) {
        struct tg_local_limits *l = tg_local_limits_new(1024);
        struct tg_window windows[TG_TIER_WINDOWS];
        int64_t ms = NOW_MS + random_below(100000000);
        uint32_t pace;
        struct tg_tier t;

        random_tier(windows, &t, run);
        pace = 1 + random_below(windows[random_below((uint32_t)t.window_count)].length_s * 500);
        for (size_t i = 0; i < t.window_count; i++)
            models[i] = (struct model){.w = &windows[i]};
        for (int i = 0; i < 300; i++) {
            struct tg_charge c;

            ms += random_below(20) ? random_below(pace) : random_below(windows[0].length_s * 2500);
            c = request(l, &t, models, ms, random_below(4) == 0);
            refused += !c.admitted;
            admitted += c.admitted;
            if (!c.admitted || (c.remaining < 20 && random_below(10) == 0))
                i += promise_kept(l, &t, models, &c, ms);
        }
        tg_local_limits_free(l);
    }
    assert_true(refused > 10000 && admitted > 10000);    /* it was not all of one kind */
}

/* No span of a window's length holds more than the limit, in a tier with others, by the millisecond. */
static void sliding_in_every_span(void **state)
{
    static struct model models[TG_TIER_WINDOWS];
    struct tg_window w[] = {window(5, 1, FIXED), window(20, 10, SLIDING), window(60, 60, SLIDING)};
    struct tg_tier t = tier_of(w, 3);
    struct tg_local_limits *l = tg_local_limits_new(1024);
    int64_t ms = NOW_MS;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        models[i] = (struct model){.w = &w[i]};
    while (models[0].count < LONGEST) {
        ms += 1 + random_below(random_below(300) ? 400 : 90000);
        request(l, &t, models, ms, false);
    }
    for (size_t k = 1; k < 3; k++)
        for (size_t i = w[k].limit; i < models[k].count; i++)
            assert_true(models[k].times[i] - models[k].times[i - w[k].limit] > w[k].length_s * INT64_C(1000));
    tg_local_limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_count_exactly),
        cmocka_unit_test(threads_take_of_all_or_none),
        cmocka_unit_test(window_edges),
        cmocka_unit_test(around_the_end),
        cmocka_unit_test(a_clock_set_back),
        cmocka_unit_test(looking_counts_nothing),
        cmocka_unit_test(another_limit_keeps_the_count),
        cmocka_unit_test(the_largest_limits),
        cmocka_unit_test(limits_of_claims),
        cmocka_unit_test(one_window),
        cmocka_unit_test(a_flood),
        cmocka_unit_test(every_key_is_remembered),
        cmocka_unit_test(all_that_is_told_agrees),
        cmocka_unit_test(sliding_in_every_span),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
