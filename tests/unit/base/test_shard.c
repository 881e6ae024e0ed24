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

/* A key with nothing regular about it, as tg_hash gives them, the same in every run. */
/* Window number `n` of one minute, one second into it. */
static bool take(struct tg_shard *t, uint64_t key, uint32_t n, uint32_t limit, uint32_t cost, uint32_t *used)
{
    struct tg_shard_window w = {(n + 1) * 60, 60, n * 60 + 1};

    return tg_shard_take(t, key, &w, limit, cost, used);
}

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
    assert_int_equal(tg_shard_keys(t), 1);
    tg_shard_free(t);
    tg_shard_free(NULL);
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
    assert_int_equal(tg_shard_keys(t), keys);
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
    assert_in_range(tg_shard_keys(t), 1, 1024);
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
    uint32_t used, admitted = 0;

    for (uint64_t i = 0; i < 50000; i++)                 /* every slot at its limit */
        take(t, key_of(i), 9, 1, 1, &used);
    assert_int_equal(tg_shard_keys(t), 1024);
    for (uint64_t i = 100000; i < 200000; i++)
        admitted += take(t, key_of(i), 9, 3, 1, &used);
    assert_in_range(admitted, 1, 3 * 1024 / 8);          /* three for each set, not for each newcomer */
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
    assert_in_range(tg_shard_keys(t), 16, 1024);
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
    uint32_t used;

    (void)state;
    assert_true(tg_shard_take(t, key_of(1), &day, 1, 1, &used));
    for (uint64_t i = 10; i < 100010; i++)
        tg_shard_take(t, key_of(i), &second, 100, 1, &used);
    assert_false(tg_shard_take(t, key_of(1), &day, 1, 1, &used));
    tg_shard_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_two_lengths),
        cmocka_unit_test(one_key), cmocka_unit_test(threads_admit_exactly_the_limit),
        cmocka_unit_test(a_flood_frees_nobody), cmocka_unit_test(the_busier_entry_survives),
        cmocka_unit_test(all_full_then_newcomers_share), cmocka_unit_test(stopped_keys_stay_so_amid_threads),
        cmocka_unit_test(memory_is_touched_when_used)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
