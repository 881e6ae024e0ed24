/*
 * shard - exactly the limit is admitted, whatever the number of threads; a flood frees nobody who was stopped.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/hash.h"
#include "base/shard.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MANY 512
#define MAX_THREADS 4
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SHADOW 16                                        /* memory that the sanitizer keeps of ours */
#else
#define SHADOW 1
#endif

/* Window number `n` of one minute, one second into it. */
static bool take(struct tg_shard *t, uint64_t key, uint32_t n, uint32_t limit, uint32_t cost, uint32_t *used)
{
    struct tg_shard_window w = {(n + 1) * 60, 60, n * 60 + 1};
    struct tg_shard_count count;
    bool ok = tg_shard_take(t, key, &w, limit, cost, &count);

    *used = count.used;
    return ok;
}

static size_t keys_at(const struct tg_shard *t, uint32_t n)
{
    struct tg_shard_state s;

    tg_shard_state(t, (n * INT64_C(60) + 1) * 1000, &s);
    return s.keys;
}

/* A key with nothing regular about it, as tg_hash gives them, the same in every run. */
static uint64_t key_of(uint64_t n)
{
    return tg_siphash13(1, 2, &n, sizeof(n)) | 1;
}

static void one_key(void **state)
{
    (void)state;
    struct tg_shard *t = tg_shard_new(1);
    static const struct { const char *why; uint32_t window, limit, cost; bool ok; uint32_t used; } steps[] = {
        {"a look at an unknown key", 7, 3, 0, true, 0},
        {"no room at all", 7, 0, 1, false, 0},
        {"a look where there is no room", 7, 0, 0, false, 0},
        {"dearer than the limit", 7, 3, 4, false, 0},
        {"first", 7, 3, 1, true, 1},
        {"would pass", 7, 3, 3, false, 1},
        {"exactly", 7, 3, 2, true, 3},
        {"full", 7, 3, 1, false, 3},
        {"a look when full", 7, 3, 0, false, 3},
        {"raised limit", 7, 5, 1, true, 4},
        {"lowered limit", 7, 2, 1, false, 4},
        {"next window", 8, 3, 1, true, 1},
        {"a clock read just before", 7, 3, 1, true, 2},
        {"and the window is still the later one", 8, 3, 1, true, 3},
        {"a clock set back", 5, 3, 1, true, 1},
        {"a cost that overflows 32 bits", 5, UINT32_MAX, UINT32_MAX, false, 1},
        {"a huge cost", 5, UINT32_MAX, 1u << 27, true, (1u << 27) + 1},
        {"the last window", UINT32_MAX, 3, 1, true, 1},
        {"after it the first", 0, 3, 3, true, 3},
    };

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        uint32_t used = 99;

        if (take(t, key_of(1), steps[i].window, steps[i].limit, steps[i].cost, &used) != steps[i].ok ||
            used != steps[i].used)
            fail_msg("%s: used %u", steps[i].why, used);
    }
    assert_int_equal(keys_at(t, 0), 1);
    assert_int_equal(keys_at(t, 2), 0);                  /* its window is past: it is not in use */
    tg_shard_free(t);
    tg_shard_free(NULL);
}

#define LARGEST 2147483647u

/* Up to the last request that a count can hold. */
static void the_largest_limit(void **state)
{
    static const uint32_t limits[] = {(1u << 28) - 2, 1u << 28, 1000000000, LARGEST - 1, LARGEST};
    struct tg_shard *t = tg_shard_new(1024);
    uint32_t used;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        uint64_t key = key_of(i);

        assert_true(take(t, key, 9, limits[i], limits[i] - 2, &used));
        for (uint32_t left = 2; left > 0; left--) {
            assert_true(take(t, key, 9, limits[i], 0, &used));
            assert_int_equal(used, limits[i] - left);
            assert_true(take(t, key, 9, limits[i], 1, &used));
            assert_int_equal(used, limits[i] - left + 1);
        }
        for (uint32_t cost = 0; cost < 2; cost++) {
            assert_false(take(t, key, 9, limits[i], cost, &used));
            assert_int_equal(used, limits[i]);
        }
        assert_false(take(t, key, 9, limits[i], UINT32_MAX, &used));
        assert_true(take(t, key, 10, limits[i], 1, &used));
        assert_int_equal(used, 1);
    }
    assert_true(take(t, key_of(77), 9, UINT32_MAX, LARGEST, &used)); /* what is more is taken as that */
    assert_false(take(t, key_of(77), 9, UINT32_MAX, 1, &used));
    for (uint64_t i = 0; i < 20000; i++) {               /* whoever owned the slot, all bits of the clock set */
        struct tg_shard_window w = {(1u << 29) - 1, 1, (1u << 29) - 2}, before = {w.until_s - 1000, 1, w.now_s - 1000};
        struct tg_shard_count c;

        if (i < 19968) {
            tg_shard_take(t, key_of(1000 + i), &before, LARGEST, 1, &c);
            continue;
        }
        assert_true(tg_shard_take(t, key_of(1000 + i), &w, LARGEST, LARGEST, &c));
        assert_false(tg_shard_take(t, key_of(1000 + i), &w, LARGEST, 1, &c));
    }
    tg_shard_free(t);
}

/* The clock may say any year; the ends told are of its own time, and ticks that came round let nobody in twice. */
static void any_year(void **state)
{
    static const uint64_t starts[] = {0, 1u << 29, UINT32_MAX - 200, 2147483647, 4294967295u, 1ull << 33, 1ull << 40};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct tg_shard *t = tg_shard_new(1024);
        struct tg_shard_count c;

        for (uint64_t now = starts[i]; now < starts[i] + 300; now++) {
            struct tg_shard_window w = {(now / 60 + 1) * 60, 60, now};
            uint32_t used = now == starts[i] || now % 60 == 0 ? 0 : c.used;

            assert_int_equal(tg_shard_take(t, key_of(1), &w, 40, 1, &c), used < 40);
            assert_int_equal(c.used, used < 40 ? used + 1 : 40);
            assert_int_equal(c.reset_ms, w.until_s * 1000);
        }
        tg_shard_free(t);
    }
}

/* A worker that was stopped after it looked at the clock, and goes on windows later, starts nothing anew. */
static void a_late_worker(void **state)
{
    static const struct { uint32_t length, late; bool current; } cases[] = {
        {1, 0, true}, {1, 2, true}, {1, 10, true}, {1, 11, false}, {3, 9, true}, {3, 12, false}, {10, 10, true},
        {10, 20, false}, {60, 60, true}, {60, 120, false}, {86400, 86400, true}, {86400, 172800, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_shard *t = tg_shard_new(1024);
        uint64_t now = 86400 * 20000ull;
        struct tg_shard_window w = {now + cases[i].length, cases[i].length, now}, late = w;
        struct tg_shard_count c;

        late.now_s -= cases[i].late;
        late.until_s -= cases[i].late;
        assert_true(tg_shard_take(t, key_of(1), &w, 2, 2, &c));
        assert_int_equal(tg_shard_take(t, key_of(1), &late, 2, 1, &c), !cases[i].current);
        assert_int_equal(c.reset_ms, (cases[i].current ? w.until_s : late.until_s) * 1000);
        assert_int_equal(tg_shard_take(t, key_of(1), &w, 2, 1, &c), !cases[i].current);
        tg_shard_free(t);
    }
}

struct job {
    struct tg_shard *t;
    pthread_barrier_t *start;
    unsigned seed, keys, limit, rounds;
    _Atomic uint32_t *admitted;                          /* per key */
};

/* Each thread tries every key limit times and more, in an order of its own. */
static void *take_all(void *arg)
{
    struct job *job = arg;
    uint32_t used;

    pthread_barrier_wait(job->start);
    for (unsigned round = 0; round < job->rounds; round++)
        for (unsigned i = 0; i < job->keys; i++) {
            unsigned k = (i * 167 + job->seed * 31) % job->keys;

            if (take(job->t, key_of(k), 3, job->limit, 1, &used)) {
                assert_in_range(used, 1, job->limit);
                atomic_fetch_add(&job->admitted[k], 1);
            }
        }
    return NULL;
}

static void run_threads(unsigned threads, unsigned keys, unsigned limit, unsigned rounds)
{
    static _Atomic uint32_t admitted[MANY];
    struct tg_shard *t = tg_shard_new(65536);            /* so that no set is full */
    pthread_barrier_t start;
    pthread_t ids[MAX_THREADS];
    struct job jobs[MAX_THREADS];

    for (unsigned k = 0; k < keys; k++)
        admitted[k] = 0;
    pthread_barrier_init(&start, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct job){t, &start, i, keys, limit, rounds, admitted};
        assert_int_equal(pthread_create(&ids[i], NULL, take_all, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    for (unsigned k = 0; k < keys; k++)
        assert_int_equal(admitted[k], limit);
    assert_int_equal(keys_at(t, 3), keys);
    pthread_barrier_destroy(&start);
    tg_shard_free(t);
}

static void threads_admit_exactly_the_limit(void **state)
{
    (void)state;
    for (unsigned threads = 2; threads <= MAX_THREADS; threads += 2) {
        run_threads(threads, 1, 10000, 10000);
        run_threads(threads, 1, 1, 100);
        run_threads(threads, MANY, 100, 100);
        run_threads(threads, MANY, 7, 20);
    }
}

static void a_flood_frees_nobody(void **state)
{
    (void)state;
    struct tg_shard *t = tg_shard_new(1024);
    uint32_t used;
    unsigned stopped[64], n = 0;

    for (unsigned k = 0; k < ARRAY_LEN(stopped); k++) {  /* by count, and by a refusal before the count is reached */
        for (int i = 0; i < 5; i++)
            take(t, key_of(k), 9, 5, 1, &used);
        stopped[n++] = k;
    }
    assert_true(take(t, key_of(1000), 9, 5, 3, &used));
    assert_false(take(t, key_of(1000), 9, 5, 3, &used));
    for (uint64_t i = 0; i < 200000; i++)
        take(t, key_of(10000 + i), 9, 5, 1, &used);
    assert_in_range(keys_at(t, 9), 1, 1024);
    for (unsigned k = 0; k < n; k++) {
        assert_false(take(t, key_of(stopped[k]), 9, 5, 1, &used));
        assert_int_equal(used, 5);
    }
    assert_true(take(t, key_of(1000), 9, 5, 0, &used));
    assert_int_equal(used, 3);
    for (unsigned k = 0; k < n; k++)                     /* and the next window is theirs, and everybody's */
        assert_true(take(t, key_of(stopped[k]), 10, 5, 1, &used));
    tg_shard_free(t);
}

static void the_busier_entry_survives(void **state)
{
    (void)state;
    struct tg_shard *t = tg_shard_new(1024);
    uint32_t used;

    for (unsigned k = 0; k < 50; k++)
        for (int i = 0; i < 20; i++)
            take(t, key_of(k), 9, 100, 1, &used);
    for (uint64_t i = 0; i < 200000; i++)
        take(t, key_of(10000 + i), 9, 100, 1, &used);
    for (unsigned k = 0; k < 50; k++) {
        assert_true(take(t, key_of(k), 9, 100, 0, &used));
        assert_int_equal(used, 20);
    }
    tg_shard_free(t);
}

static void all_full_then_newcomers_share(void **state)
{
    (void)state;
    struct tg_shard *t = tg_shard_new(1024);
    struct tg_shard_state before, after;
    uint32_t used, admitted = 0;

    for (uint64_t i = 0; i < 50000; i++)                 /* every slot at its limit */
        take(t, key_of(i), 9, 1, 1, &used);
    assert_int_equal(keys_at(t, 9), 1024);
    tg_shard_state(t, 9 * 60000, &before);
    assert_int_equal(before.evicted, 0);                 /* all were at their limit */
    assert_int_equal(before.together, 50000 - 1024);
    for (uint64_t i = 100000; i < 200000; i++)
        admitted += take(t, key_of(i), 9, 3, 1, &used);
    assert_in_range(admitted, 1, 3 * 1024 / 32);         /* three for each group, not for each newcomer */
    tg_shard_state(t, 9 * 60000, &after);
    assert_int_equal(after.together - before.together, 100000);
    assert_false(take(t, key_of(200001), 9, 3, 0, &used)); /* a look tells the same */
    assert_true(take(t, key_of(200001), 10, 3, 1, &used) || used);
    assert_true(take(t, key_of(200001), 12, 3, 1, &used));
    tg_shard_free(t);
}

static void *flood(void *arg)
{
    struct job *job = arg;
    uint32_t used;

    pthread_barrier_wait(job->start);
    for (uint64_t i = 0; i < job->rounds; i++)
        take(job->t, key_of(1000000 + job->seed * 10000000ull + i), 3, 50, 1, &used);
    return NULL;
}

/* Slots change hands while others count on them. */
static void stopped_keys_stay_so_amid_threads(void **state)
{
    (void)state;
    static _Atomic uint32_t admitted[MANY];
    struct tg_shard *t = tg_shard_new(1024);
    pthread_barrier_t start;
    pthread_t ids[MAX_THREADS];
    struct job jobs[MAX_THREADS];
    uint32_t used;

    for (unsigned i = 0; i < 49; i++)                    /* high enough to keep its slot from the beginning */
        for (unsigned k = 0; k < 16; k++)
            take(t, key_of(k), 3, 100, 1, &used);
    pthread_barrier_init(&start, NULL, MAX_THREADS);
    for (unsigned i = 0; i < MAX_THREADS; i++) {
        jobs[i] = (struct job){t, &start, i, 16, 100, i < 2 ? 100000 : 3000, admitted};
        assert_int_equal(pthread_create(&ids[i], NULL, i < 2 ? flood : take_all, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < MAX_THREADS; i++)
        pthread_join(ids[i], NULL);
    for (unsigned k = 0; k < 16; k++)
        assert_int_equal(admitted[k], 51);
    assert_in_range(keys_at(t, 3), 16, 1024);
    pthread_barrier_destroy(&start);
    tg_shard_free(t);
}

static size_t resident_kib(void)
{
    size_t total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f) {
        if (fscanf(f, "%zu %zu", &total, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return resident * 4;
}

static void memory_is_touched_when_used(void **state)
{
    (void)state;
    size_t before = resident_kib();
    struct tg_shard *t = tg_shard_new((size_t)1 << 26);  /* a gibibyte of slots */
    uint32_t used;

    for (uint64_t i = 0; i < 100; i++)
        take(t, key_of(i), 9, 5, 1, &used);
    assert_in_range(resident_kib() - before, 0, 32 * 1024);
    tg_shard_free(t);
}

/* A counter of a long window is not taken for past by those of a short one. */
static void windows_of_two_lengths(void **state)
{
    struct tg_shard *t = tg_shard_new(1024);
    struct tg_shard_window day = {86400 * 20000u, 86400, 86400 * 19999u + 7},
                           second = {86400 * 19999u + 8, 1, 86400 * 19999u + 7};
    struct tg_shard_count c;

    (void)state;
    assert_true(tg_shard_take(t, key_of(1), &day, 1, 1, &c));
    for (uint64_t i = 10; i < 100010; i++)
        tg_shard_take(t, key_of(i), &second, 100, 1, &c);
    assert_false(tg_shard_take(t, key_of(1), &day, 1, 1, &c));
    tg_shard_free(t);
}

/* Newcomers of a blocked table cannot start each other's count anew by asking for windows of different lengths. */
static void together_with_two_lengths(void **state)
{
    struct tg_shard *t = tg_shard_new(1024);
    struct tg_shard_window minute = {6060, 60, 6001}, short_one = {6030, 30, 6001}, then = {6060, 30, 6031};
    struct tg_shard_count c;
    unsigned admitted = 0;

    (void)state;
    for (uint64_t i = 0; i < 50000; i++)
        tg_shard_take(t, key_of(i), &minute, 1, 1, &c);
    for (unsigned i = 0; i < 100; i++) {
        admitted += tg_shard_take(t, key_of(100000), &minute, 5, 1, &c);
        admitted += tg_shard_take(t, key_of(100000), &short_one, 5, 1, &c);
    }
    assert_in_range(admitted, 1, 5);
    assert_int_equal(c.reset_ms, 6060000);               /* the end of what it is counted with */
    assert_false(tg_shard_take(t, key_of(100000), &then, 5, 0, &c));
    minute.now_s = 6059;                                 /* its last second: no count of its own */
    assert_false(tg_shard_take(t, key_of(100000), &minute, 5, 0, &c));
    then.now_s = 6060;
    then.until_s = 6090;
    assert_true(tg_shard_take(t, key_of(100000), &then, 5, 0, &c));
    tg_shard_free(t);
}

static void given_back(void **state)
{
    struct tg_shard *t = tg_shard_new(1024);
    struct tg_shard_window w = {6060, 60, 6001}, next = {6120, 60, 6061};
    struct tg_shard_count first, second, look;

    (void)state;
    tg_shard_take(t, key_of(1), &w, 2, 1, &first);
    tg_shard_take(t, key_of(1), &w, 2, 1, &second);
    assert_false(tg_shard_take(t, key_of(1), &w, 2, 0, &look));
    tg_shard_give(t, &second, 1);
    assert_true(tg_shard_take(t, key_of(1), &w, 2, 0, &look));
    assert_int_equal(look.used, 1);
    tg_shard_give(t, &look, 1);                          /* who looked has the word too, and may give what it took */
    assert_true(tg_shard_take(t, key_of(1), &next, 2, 2, &second));
    tg_shard_give(t, &first, 1);                         /* of a window that is past: not of this one */
    assert_false(tg_shard_take(t, key_of(1), &next, 2, 0, &look));
    assert_false(tg_shard_take(t, key_of(2), &w, 0, 1, &look)); /* never stored */
    tg_shard_give(t, &look, 1);
    tg_shard_free(t);
}

/* The slot went to another key, whose count is not touched. */
static void given_back_too_late(void **state)
{
    struct tg_shard *t = tg_shard_new(1024);
    struct tg_shard_window w = {6060, 60, 6001};
    struct tg_shard_count first, c;

    (void)state;
    tg_shard_take(t, key_of(1), &w, 100, 1, &first);
    for (uint64_t i = 10; i < 60000; i++)
        tg_shard_take(t, key_of(i), &w, 2, 2, &c);       /* all at their limit */
    tg_shard_give(t, &first, 1);
    for (uint64_t i = 10; i < 60000; i++)
        assert_false(tg_shard_take(t, key_of(i), &w, 2, 0, &c));
    tg_shard_free(t);
}

/* Nor may one be freed who was stopped below its limit: it asked for more, or its limit went down. */
static void a_refusal_is_remembered(void **state)
{
    struct tg_shard *t = tg_shard_new(1024);
    uint32_t used;

    (void)state;
    take(t, key_of(1), 9, 5, 2, &used);
    assert_false(take(t, key_of(1), 9, 5, 4, &used));
    take(t, key_of(2), 9, 5, 2, &used);
    assert_false(take(t, key_of(2), 9, 1, 0, &used));
    take(t, key_of(3), 9, 5, 2, &used);
    for (uint64_t i = 0; i < 100000; i++)                /* all of them busier */
        take(t, key_of(10000 + i), 9, 50, 20, &used);
    for (unsigned k = 1; k <= 3; k++) {
        take(t, key_of(k), 9, 5, 0, &used);
        assert_int_equal(used, k < 3 ? 2 : 0);
    }
    tg_shard_free(t);
}

/* Three slots a key: nobody is forgotten, and no more memory than promised. */
static void a_million_keys(void **state)
{
    enum { KEYS = 1000000 };
    size_t before = resident_kib();
    struct tg_shard *t = tg_shard_new(3 * (size_t)KEYS);
    struct tg_shard_state s;
    uint32_t used;

    (void)state;
    for (uint64_t i = 0; i < KEYS; i++)
        take(t, key_of(i), 9, 5, 1 + (uint32_t)(i & 1), &used);
    assert_in_range(resident_kib() - before, 40 * 1024, SHADOW * 64 * 1024);
    for (uint64_t i = 0; i < KEYS; i++) {
        take(t, key_of(i), 9, 5, 0, &used);
        if (used != 1 + (i & 1))
            fail_msg("key %u: %u", (unsigned)i, used);
    }
    tg_shard_state(t, 9 * 60000, &s);
    assert_int_equal(s.evicted, 0);
    assert_int_equal(s.together, 0);
    assert_in_range(s.keys, 970000, 1030000);            /* of a sample */
    tg_shard_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_two_lengths), cmocka_unit_test(the_largest_limit),
        cmocka_unit_test(any_year), cmocka_unit_test(a_late_worker),
        cmocka_unit_test(one_key), cmocka_unit_test(threads_admit_exactly_the_limit),
        cmocka_unit_test(a_flood_frees_nobody), cmocka_unit_test(the_busier_entry_survives),
        cmocka_unit_test(all_full_then_newcomers_share), cmocka_unit_test(stopped_keys_stay_so_amid_threads),
        cmocka_unit_test(memory_is_touched_when_used), cmocka_unit_test(together_with_two_lengths),
        cmocka_unit_test(given_back), cmocka_unit_test(given_back_too_late),
        cmocka_unit_test(a_refusal_is_remembered), cmocka_unit_test(a_million_keys)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
