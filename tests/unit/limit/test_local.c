/*
 * test_local - exact counting across threads, window edges, addresses, and what the client is told.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "limit/local.h"
#include <pthread.h>
#include <stdatomic.h>

#define NOW_MS INT64_C(1767225600000)                    /* 2026-01-01T00:00:00Z, the start of a minute */

static struct tg_tier tier(const char *name, uint32_t limit, uint32_t window_s)
{
    struct tg_tier t = {.name = tg_slice_str(name), .limit = limit, .window_s = window_s};

    for (const char *p = name; *p; p++)
        t.salt = t.salt * 131 + (unsigned char)*p;
    return t;
}

static struct tg_ip ip(const char *text)
{
    struct tg_ip out;

    assert_true(tg_ip_parse(tg_slice_str(text), &out));
    return out;
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 5000
#define SUBJECTS 7

struct counting {
    struct tg_limiter *limiter;
    struct tg_tier tier;
    _Atomic unsigned admitted[SUBJECTS];
    _Atomic unsigned told[SUBJECTS][1001];               /* how often each Remaining was told with an admission */
};

static void *count_many(void *arg)
{
    struct counting *c = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned who = i % SUBJECTS;
        struct tg_charge charge;

        tg_limiter_subject(c->limiter, &c->tier, who + 1, NOW_MS + 1234, false, &charge);
        if (!charge.admitted)
            continue;
        atomic_fetch_add(&c->admitted[who], 1);
        atomic_fetch_add(&c->told[who][charge.remaining], 1);
    }
    return NULL;
}

static void threads_count_exactly(void **state)
{
    static struct counting c;
    const uint32_t limits[] = {1, 2, 100, 1000};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
        pthread_t threads[THREADS];

        memset(&c, 0, sizeof(c));
        c.limiter = tg_limiter_new(1024);
        c.tier = tier("authenticated", limits[k], 60);
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, count_many, &c), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (unsigned who = 0; who < SUBJECTS; who++) {
            assert_int_equal(c.admitted[who], limits[k]);
            for (unsigned left = 0; left < limits[k]; left++)
                assert_int_equal(c.told[who][left], 1);  /* every Remaining was told to exactly one request */
        }
        tg_limiter_free(c.limiter);
    }
}

/* ---- windows ---- */

static void window_edges(void **state)
{
    static const struct {
        const char *why;
        int64_t ms;
        uint32_t window_s;
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
        struct tg_limiter *l = tg_limiter_new(1024);
        struct tg_tier t = tier("t", 1, cases[i].window_s);
        struct tg_charge first, second;

        tg_limiter_subject(l, &t, 1, cases[i].ms, false, &first);
        tg_limiter_subject(l, &t, 1, cases[i].ms, false, &second);
        if (!first.admitted || second.admitted || second.reset_s != cases[i].reset_s ||
            second.retry_after_s != cases[i].retry_s || first.reset_s != second.reset_s)
            fail_msg("%s: reset %lld, retry %u", cases[i].why, (long long)second.reset_s, second.retry_after_s);
        tg_limiter_free(l);
    }
}

static void a_new_window_starts_anew(void **state)
{
    struct tg_limiter *l = tg_limiter_new(1024);
    struct tg_tier t = tier("t", 3, 60);
    struct tg_charge c;

    (void)state;
    for (int window = 0; window < 50; window++)
        for (int i = 0; i < 5; i++) {
            tg_limiter_subject(l, &t, 9, NOW_MS + window * 60000 + i, false, &c);
            assert_int_equal(c.admitted, i < 3);
            assert_int_equal(c.remaining, i < 3 ? 2 - i : 0);
        }
    tg_limiter_free(l);
}

static void looking_counts_nothing(void **state)
{
    struct tg_limiter *l = tg_limiter_new(1024);
    struct tg_tier t = tier("t", 2, 60);
    struct tg_charge c;

    (void)state;
    for (int i = 0; i < 10; i++) {
        tg_limiter_subject(l, &t, 5, NOW_MS, true, &c);
        assert_true(c.admitted);
        assert_int_equal(c.remaining, 2);
    }
    assert_int_equal(tg_limiter_keys(l), 0);
    tg_limiter_subject(l, &t, 5, NOW_MS, false, &c);
    tg_limiter_subject(l, &t, 5, NOW_MS, true, &c);
    assert_true(c.admitted);
    assert_int_equal(c.remaining, 1);
    tg_limiter_subject(l, &t, 5, NOW_MS, false, &c);
    tg_limiter_subject(l, &t, 5, NOW_MS, true, &c);
    assert_false(c.admitted);
    assert_int_equal(c.remaining, 0);
    tg_limiter_free(l);
}

/* ---- who ---- */

static void addresses(void **state)
{
    static const struct { const char *why, *a, *b; bool same; } cases[] = {
        {"one IPv4 address",          "192.0.2.1",     "192.0.2.1",            true},
        {"IPv4 counts by address",    "192.0.2.1",     "192.0.2.2",            false},
        {"mapped is IPv4",            "192.0.2.1",     "::ffff:192.0.2.1",     true},
        {"IPv6 counts by /64",        "2001:db8::1",   "2001:db8::ffff:1:2",   true},
        {"the last bit of the /64",   "2001:db8::1",   "2001:db8:0:1::1",      false},
        {"IPv6 hosts of two nets",    "2001:db8:1::1", "2001:db8:2::1",        false},
        {"families never meet",       "192.0.2.1",     "c000:201::",           false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_limiter *l = tg_limiter_new(1024);
        struct tg_tier t = tier("unauthenticated", 1, 60);
        struct tg_ip a = ip(cases[i].a), b = ip(cases[i].b);
        struct tg_charge c;

        tg_limiter_address(l, &t, &a, NOW_MS, false, &c);
        assert_true(c.admitted);
        tg_limiter_address(l, &t, &b, NOW_MS, false, &c);
        if (c.admitted == cases[i].same)
            fail_msg("%s: %s and %s", cases[i].why, cases[i].a, cases[i].b);
        tg_limiter_free(l);
    }
}

static void unknown_addresses_share_a_bucket(void **state)
{
    struct tg_limiter *l = tg_limiter_new(1024);
    struct tg_tier t = tier("unauthenticated", 1, 60);
    struct tg_ip none = {0}, junk = {.family = 0, .bytes = {1, 2, 3}};
    struct tg_charge c;

    (void)state;
    tg_limiter_address(l, &t, &none, NOW_MS, false, &c);
    assert_true(c.admitted);
    tg_limiter_address(l, &t, &junk, NOW_MS, false, &c);
    assert_false(c.admitted);
    tg_limiter_free(l);
}

static void tiers_never_meet(void **state)
{
    struct tg_limiter *l = tg_limiter_new(1024);
    struct tg_tier a = tier("a", 1, 60), b = tier("b", 1, 60);
    struct tg_charge c;

    (void)state;
    tg_limiter_subject(l, &a, 1, NOW_MS, false, &c);
    assert_ptr_equal(c.tier, &a);
    tg_limiter_subject(l, &b, 1, NOW_MS, false, &c);
    assert_true(c.admitted);
    tg_limiter_subject(l, &a, 1, NOW_MS, false, &c);
    assert_false(c.admitted);
    tg_limiter_free(l);
}

static void no_tier_is_no_limit(void **state)
{
    struct tg_limiter *l = tg_limiter_new(1024);
    struct tg_ip none = {0};
    struct tg_charge c;

    (void)state;
    tg_limiter_subject(l, NULL, 1, NOW_MS, false, &c);
    assert_true(c.admitted && !c.tier);
    tg_limiter_address(l, NULL, &none, NOW_MS, true, &c);
    assert_true(c.admitted && !c.tier);
    tg_limiter_free(l);
    tg_limiter_free(NULL);
}

/* A million addresses neither grow the table nor free one who is over the limit. */
static void a_flood_of_addresses(void **state)
{
    struct tg_limiter *l = tg_limiter_new(4096);
    struct tg_tier t = tier("unauthenticated", 3, 60);
    struct tg_ip abuser = ip("192.0.2.1"), other = {.family = 6, .bytes = {0x20, 1}};
    struct tg_charge c;

    (void)state;
    for (int i = 0; i < 4; i++)
        tg_limiter_address(l, &t, &abuser, NOW_MS, false, &c);
    assert_false(c.admitted);
    for (uint32_t i = 0; i < 1000000; i++) {
        memcpy(other.bytes + 2, &i, sizeof(i));
        tg_limiter_address(l, &t, &other, NOW_MS, false, &c);
    }
    assert_true(tg_limiter_keys(l) <= 4096);
    tg_limiter_address(l, &t, &abuser, NOW_MS, false, &c);
    assert_false(c.admitted);
    tg_limiter_free(l);
}

/* ---- the law: what is told agrees with itself and with a plain count ---- */

static uint32_t random_below(uint64_t *seed, uint32_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % n;
}

static void fields_agree(void **state)
{
    uint64_t seed = 42;

    (void)state;
    for (int run = 0; run < 200; run++) {
        struct tg_limiter *l = tg_limiter_new(1024);
        struct tg_tier t = tier("t", 1 + random_below(&seed, 20), 1 + random_below(&seed, 120));
        int64_t now_ms = NOW_MS + random_below(&seed, 100000000), window = -1;
        uint32_t count = 0;

        for (int i = 0; i < 200; i++) {
            bool look = random_below(&seed, 4) == 0;
            struct tg_charge c;

            now_ms += random_below(&seed, t.window_s * 100);
            if (now_ms / 1000 / t.window_s != window) {
                window = now_ms / 1000 / t.window_s;
                count = 0;
            }
            tg_limiter_subject(l, &t, 77, now_ms, look, &c);
            assert_int_equal(c.admitted, count < t.limit);
            count += c.admitted && !look;
            assert_int_equal(c.limit, t.limit);
            assert_int_equal(c.remaining, t.limit - count);
            assert_true(c.admitted || c.remaining == 0);
            assert_int_equal(c.reset_s % t.window_s, 0);
            assert_true(c.reset_s * 1000 > now_ms && (c.reset_s - t.window_s) * 1000 <= now_ms);
            assert_true(c.retry_after_s >= 1 && c.retry_after_s <= t.window_s);
            assert_true(now_ms + (int64_t)c.retry_after_s * 1000 >= c.reset_s * 1000); /* it is not too early then */
            assert_true(now_ms + ((int64_t)c.retry_after_s - 1) * 1000 < c.reset_s * 1000);
        }
        tg_limiter_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_count_exactly),
        cmocka_unit_test(window_edges),
        cmocka_unit_test(a_new_window_starts_anew),
        cmocka_unit_test(looking_counts_nothing),
        cmocka_unit_test(addresses),
        cmocka_unit_test(unknown_addresses_share_a_bucket),
        cmocka_unit_test(tiers_never_meet),
        cmocka_unit_test(no_tier_is_no_limit),
        cmocka_unit_test(a_flood_of_addresses),
        cmocka_unit_test(fields_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
