/*
 * shard, sliding - no span of a window's length holds more than the limit; told from a plain count of every request.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/hash.h"
#include "base/shard.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define NOW_MS INT64_C(1767225600000)
#define MAX_THREADS 4

static uint64_t key_of(uint64_t n)
{
    return tg_siphash13(1, 2, &n, sizeof(n)) | 1;
}

static bool slide(struct tg_shard *t, uint64_t n, uint32_t length_s, int64_t ms, uint32_t limit, uint32_t cost,
                  uint32_t *used)
{
    struct tg_shard_count c;
    bool ok = tg_shard_slide(t, key_of(n), length_s, ms, limit, cost, &c);

    *used = c.used;
    return ok;
}

static void one_key(void **state)
{
    static const struct { const char *why; int64_t ms; uint32_t limit, cost; bool ok; uint32_t used; int64_t reset; }
    steps[] = {                                          /* a window of 10 s, steps of 1 s */
        {"a look at an unknown key", 0, 3, 0, true, 0, 11000},
        {"no room at all", 0, 0, 1, false, 0, 11000},
        {"dearer than the limit", 0, 3, 4, false, 0, 11000},
        {"first", 999, 3, 1, true, 1, 11000},
        {"second, a step later", 1000, 3, 1, true, 2, 11000},
        {"would pass", 1999, 3, 2, false, 2, 11000},
        {"exactly", 5000, 3, 1, true, 3, 11000},
        {"full: when the first falls out", 5000, 3, 1, false, 3, 11000},
        {"two more: when the second does, too", 5000, 3, 2, false, 3, 12000},
        {"the last moment of the first", 10999, 3, 1, false, 3, 11000},
        {"a look", 11000, 3, 0, true, 2, 12000},
        {"the first is gone", 11000, 3, 1, true, 3, 12000},
        {"and only the first", 11000, 3, 1, false, 3, 12000},
        {"a clock read just before", 10000, 3, 1, false, 3, 12000},
        {"lowered limit: two must go", 11000, 2, 1, false, 3, 16000},
        {"a look when lowered", 11000, 2, 0, false, 3, 16000},
        {"raised limit", 11000, 5, 2, true, 5, 12000},
        {"all gone but the youngest", 21999, 5, 0, true, 3, 22000},
        {"all gone", 22000, 5, 0, true, 0, 33000},
        {"and counted anew", 22000, 5, 1, true, 1, 33000},
        {"a clock set back", 4000, 5, 1, true, 1, 15000},
        {"and from there on", 4500, 5, 1, true, 2, 15000},
        {"a clock set ahead", 864000000, 5, 5, true, 5, 864011000},
    };
    struct tg_shard *t = tg_shard_new_sliding(1);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct tg_shard_count c;
        bool ok = tg_shard_slide(t, key_of(1), 10, NOW_MS + steps[i].ms, steps[i].limit, steps[i].cost, &c);

        if (ok != steps[i].ok || c.used != steps[i].used || c.reset_ms != NOW_MS + steps[i].reset)
            fail_msg("%s: %d, used %u, reset %lld", steps[i].why, ok, c.used, (long long)(c.reset_ms - NOW_MS));
    }
    tg_shard_free(t);
}

/* ---- the law, against a list of every request that was admitted ---- */

#define MANY 20000

static uint64_t seed = 7;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* Of `n` admitted at `times`, ascending, those whose step is less than eleven before that of `ms`. */
static uint32_t alive_at(const int64_t *times, size_t n, int64_t ms, int64_t step_ms)
{
    uint32_t alive = 0;

    while (n > 0 && times[n - 1] / step_ms > ms / step_ms - 11) {
        alive++;
        n--;
    }
    return alive;
}

static void no_span_holds_more(const int64_t *times, size_t n, uint32_t limit, int64_t length_ms)
{
    for (size_t i = limit; i < n; i++)                   /* from one to the limit-th after it is more than a window */
        assert_true(times[i] - times[i - limit] > length_ms);
}

static void every_span(void **state)
{
    static int64_t times[MANY];

    (void)state;
    for (int run = 0; run < 60; run++) {
        struct tg_shard *t = tg_shard_new_sliding(1024);
        uint32_t length_s = 1 + random_below(run % 2 ? 3 : 200), limit = 1 + random_below(40);
        int64_t ms = NOW_MS + random_below(100000000), step_ms = length_s * INT64_C(100);
        uint32_t pace = 1 + random_below(length_s * 400);
        size_t n = 0;

        for (int i = 0; i < 3000; i++) {
            uint32_t alive, used;
            bool ok;

            ms += random_below(8) ? random_below(pace) : random_below(length_s * 1500);
            alive = alive_at(times, n, ms, step_ms);
            ok = slide(t, 5, length_s, ms, limit, 1, &used);
            assert_int_equal(ok, alive < limit);
            assert_int_equal(used, alive + ok);
            if (ok)
                times[n++] = ms;
        }
        no_span_holds_more(times, n, limit, length_s * INT64_C(1000));
        tg_shard_free(t);
    }
}

/* Every 5.5 steps: cells that are never written over, until their step's number comes round after 2816 steps. */
static void numbers_that_come_round(void **state)
{
    struct tg_shard *t = tg_shard_new_sliding(1024);
    uint32_t used;

    (void)state;
    assert_true(slide(t, 1, 10, NOW_MS + 3000, 100, 50, &used));
    for (int64_t ms = 5500; ms < 6000000; ms += 5500) {
        assert_true(slide(t, 1, 10, NOW_MS + ms, 100, 1, &used));
        assert_true(used <= 3 || ms < 15000);
    }
    tg_shard_free(t);
}

static void given_back(void **state)
{
    struct tg_shard *t = tg_shard_new_sliding(1024);
    struct tg_shard_count first, second, c;

    (void)state;
    tg_shard_slide(t, key_of(1), 10, NOW_MS, 2, 1, &first);
    tg_shard_slide(t, key_of(1), 10, NOW_MS + 3000, 2, 1, &second);
    tg_shard_give(t, &first, 1);                         /* of a step that is past but alive */
    assert_true(tg_shard_slide(t, key_of(1), 10, NOW_MS + 3000, 2, 0, &c));
    assert_int_equal(c.used, 1);
    assert_int_equal(c.reset_ms, NOW_MS + 14000);
    tg_shard_give(t, &second, 1);
    assert_true(tg_shard_slide(t, key_of(1), 10, NOW_MS + 4000, 2, 2, &c)); /* and it stays so in the next step */
    tg_shard_give(t, &first, 1);                         /* nothing is there of it */
    tg_shard_give(t, &second, 1);
    assert_false(tg_shard_slide(t, key_of(1), 10, NOW_MS + 4000, 2, 0, &c));
    assert_true(tg_shard_slide(t, key_of(1), 10, NOW_MS + 40000, 2, 2, &second));
    tg_shard_give(t, &c, 1);                             /* of an entry that has begun anew since */
    assert_false(tg_shard_slide(t, key_of(1), 10, NOW_MS + 40000, 2, 0, &c));
    tg_shard_free(t);
}

static void a_flood_frees_nobody(void **state)
{
    struct tg_shard *t = tg_shard_new_sliding(1024);
    uint32_t used;

    (void)state;
    for (uint64_t k = 0; k < 64; k++)
        slide(t, k, 60, NOW_MS, 5, 5, &used);
    for (uint64_t i = 0; i < 100000; i++)
        slide(t, 1000 + i, 60, NOW_MS + 1000, 5, 1, &used);
    for (uint64_t k = 0; k < 64; k++)
        assert_false(slide(t, k, 60, NOW_MS + 65000, 5, 1, &used));
    for (uint64_t k = 0; k < 64; k++)
        assert_true(slide(t, k, 60, NOW_MS + 66000, 5, 1, &used));
    tg_shard_free(t);
}

/* Who was stopped below its limit, because the limit went down, is not freed either. */
static void a_refusal_is_remembered(void **state)
{
    struct tg_shard *t = tg_shard_new_sliding(1024);
    uint32_t used;

    (void)state;
    for (uint64_t k = 1; k <= 3; k++)
        slide(t, k, 60, NOW_MS, 5, 2, &used);
    assert_false(slide(t, 1, 60, NOW_MS, 2, 1, &used));
    assert_false(slide(t, 2, 60, NOW_MS, 1, 0, &used));
    for (uint64_t i = 0; i < 100000; i++)                /* all of them busier */
        slide(t, 10000 + i, 60, NOW_MS, 50, 20, &used);
    for (uint64_t k = 1; k <= 3; k++) {
        slide(t, k, 60, NOW_MS, 5, 0, &used);
        assert_int_equal(used, k < 3 ? 2 : 0);
    }
    tg_shard_free(t);
}

/* Up to the last request that a cell can hold; what is more is taken as that. */
static void the_largest_limit(void **state)
{
    enum { LARGEST = 16777214 };
    static const uint32_t limits[] = {LARGEST - 1, LARGEST, LARGEST + 1, UINT32_MAX};
    struct tg_shard *t = tg_shard_new_sliding(1024);
    uint32_t used;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        uint32_t limit = limits[i] < LARGEST ? limits[i] : LARGEST;

        assert_true(slide(t, i, 10, NOW_MS, limits[i], limit - 2, &used));
        assert_true(slide(t, i, 10, NOW_MS + 1000, limits[i], 1, &used));
        assert_false(slide(t, i, 10, NOW_MS + 2000, limits[i], 2, &used));
        assert_true(slide(t, i, 10, NOW_MS + 2000, limits[i], 1, &used));
        assert_false(slide(t, i, 10, NOW_MS + 3000, limits[i], 1, &used));
        assert_false(slide(t, i, 10, NOW_MS + 3000, limits[i], UINT32_MAX, &used));
        assert_int_equal(used, limit);
        assert_true(slide(t, i, 10, NOW_MS + 11000, limits[i], limit - 2, &used));
        assert_int_equal(used, limit);
    }
    tg_shard_free(t);
}

/* The clock may say any year: ticks and numbers of steps come round somewhere in it. */
static void any_year(void **state)
{
    static const int64_t starts_s[] = {0, (1 << 29) / 10 - 20, (1 << 29) / 5 - 20, 429496729 - 20, 2147483647,
                                       INT64_C(1) << 33, INT64_C(1) << 40};
    static const uint32_t lengths_s[] = {1, 7, 60, 86400};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(starts_s) * ARRAY_LEN(lengths_s); i++) {
        static int64_t times[MANY];
        struct tg_shard *t = tg_shard_new_sliding(1024);
        uint32_t length_s = lengths_s[i % ARRAY_LEN(lengths_s)];
        int64_t step_ms = length_s * INT64_C(100), start = starts_s[i / ARRAY_LEN(lengths_s)] * 1000;
        size_t n = 0;

        for (int64_t ms = start; ms < start + 400 * step_ms; ms += step_ms / 4 + 1) {
            uint32_t alive = alive_at(times, n, ms, step_ms);
            struct tg_shard_count c;

            assert_int_equal(tg_shard_slide(t, key_of(1), length_s, ms, 30, 1, &c), alive < 30);
            assert_true(c.reset_ms > ms && c.reset_ms <= ms + 11 * step_ms && c.reset_ms % step_ms == 0);
            if (alive < 30)
                times[n++] = ms;
        }
        tg_shard_free(t);
    }
}

/* A worker that was stopped after it looked at the clock, and goes on windows later, starts nothing anew. */
static void a_late_worker(void **state)
{
    static const struct { uint32_t length_s; int64_t late_ms; bool current; } cases[] = {
        {1, 100, true}, {1, 2000, true}, {1, 10000, true}, {1, 10200, false}, {3, 9900, true}, {3, 10800, false},
        {10, 10000, true}, {10, 12000, false}, {60, 60000, true}, {60, 72000, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_shard *t = tg_shard_new_sliding(1024);
        uint32_t used;

        assert_true(slide(t, 1, cases[i].length_s, NOW_MS, 2, 2, &used));
        assert_int_equal(slide(t, 1, cases[i].length_s, NOW_MS - cases[i].late_ms, 2, 1, &used), !cases[i].current);
        assert_int_equal(slide(t, 1, cases[i].length_s, NOW_MS, 2, 1, &used), !cases[i].current);
        tg_shard_free(t);
    }
}

/* Every slot blocked: newcomers share one count, and still no span holds more than the limit of any of them. */
static void newcomers_share(void **state)
{
    static int64_t times[MANY];
    struct tg_shard *t = tg_shard_new_sliding(1024);
    size_t n = 0;

    (void)state;
    for (uint64_t i = 0; i < 60000; i++) {
        struct tg_shard_count c;

        tg_shard_slide(t, key_of(i), 86400, NOW_MS, 1, 1, &c);
    }
    for (int64_t ms = NOW_MS; ms < NOW_MS + 100000; ms += 50) {
        struct tg_shard_count c;

        if (tg_shard_slide(t, key_of(100000), 5, ms, 10, 1, &c)) {
            times[n++] = ms;
            assert_int_equal(c.reset_ms % 500, 0);
        } else {
            struct tg_shard_count look;

            assert_false(tg_shard_slide(t, key_of(100000), 5, c.reset_ms - 1, 10, 0, &look));
            assert_true(tg_shard_slide(t, key_of(100000), 5, c.reset_ms, 10, 0, &look));
        }
        assert_true(c.reset_ms > ms && c.reset_ms <= ms + 5500);
    }
    assert_in_range(n, 100, 200);
    no_span_holds_more(times, n, 10, 5000);
    tg_shard_free(t);
}

/* ---- threads ---- */

struct job {
    struct tg_shard *t;
    pthread_barrier_t *start;
    unsigned seed, keys, limit, rounds;
    _Atomic int64_t *clock;                              /* of each thread: its step */
    _Atomic uint32_t *admitted;                          /* per key, or per step */
};

static void *take_all(void *arg)
{
    struct job *job = arg;
    uint32_t used;

    pthread_barrier_wait(job->start);
    for (unsigned i = 0; i < job->rounds; i++) {
        unsigned k = (i * 167 + job->seed * 31) % job->keys;

        if (slide(job->t, k, 60, NOW_MS + 7, job->limit, 1, &used)) {
            assert_in_range(used, 1, job->limit);
            atomic_fetch_add(&job->admitted[k], 1);
        }
    }
    return NULL;
}

static void run_threads(unsigned threads, void *(*body)(void *), struct job job)
{
    pthread_barrier_t start;
    pthread_t ids[MAX_THREADS];
    struct job jobs[MAX_THREADS];

    pthread_barrier_init(&start, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = job;
        jobs[i].start = &start;
        jobs[i].seed = i;
        assert_int_equal(pthread_create(&ids[i], NULL, body, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&start);
}

static void threads_admit_exactly_the_limit(void **state)
{
    static _Atomic uint32_t admitted[64];
    static const struct { unsigned keys, limit, rounds; } cases[] = {{1, 10000, 20000}, {1, 1, 1000}, {64, 100, 20000}};

    (void)state;
    for (unsigned threads = 2; threads <= MAX_THREADS; threads += 2)
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct tg_shard *t = tg_shard_new_sliding(4096);

            memset(admitted, 0, sizeof(admitted));
            run_threads(threads, take_all, (struct job){.t = t, .keys = cases[i].keys, .limit = cases[i].limit,
                                                        .rounds = cases[i].rounds, .admitted = admitted});
            for (unsigned k = 0; k < cases[i].keys; k++)
                assert_int_equal(admitted[k], cases[i].limit);
            tg_shard_free(t);
        }
}

#define STEPS 150
#define PER_STEP 500                                     /* calls of a thread in a step */
#define LAG 3                                            /* steps that one may be behind another */

static void wait_for_others(struct job *job, int64_t step)
{
    atomic_store(&job->clock[job->seed], step);
    for (unsigned i = 0; i < MAX_THREADS; i++)
        while (atomic_load(&job->clock[i]) < step - LAG)
            sched_yield();
}

/* Each with a clock of its own; some give back what they took. */
static void *take_while_time_passes(void *arg)
{
    struct job *job = arg;
    struct tg_shard_count c;

    pthread_barrier_wait(job->start);
    for (int64_t step = 0; step < STEPS; step++) {
        wait_for_others(job, step);
        for (unsigned i = 0; i < PER_STEP; i++) {
            if (!tg_shard_slide(job->t, key_of(1), 10, NOW_MS + step * 1000, job->limit, 1, &c))
                continue;
            if (job->rounds && i % 5 == 0)
                tg_shard_give(job->t, &c, 1);
            else
                atomic_fetch_add(&job->admitted[c.step - NOW_MS / 1000], 1);
        }
    }
    atomic_store(&job->clock[job->seed], INT64_MAX);
    return NULL;
}

/* Who is behind is counted in the step that the entry is in: in no eleven of those is more than the limit. */
static void time_passes_amid_threads(void **state)
{
    static _Atomic uint32_t admitted[STEPS];
    static const uint32_t limits[] = {3000, 11, 15000};

    (void)state;
    for (unsigned run = 0; run < 2 * ARRAY_LEN(limits); run++) {
        struct tg_shard *t = tg_shard_new_sliding(1024);
        uint32_t limit = limits[run / 2], sum = 0;
        _Atomic int64_t clock[MAX_THREADS] = {0};
        uint64_t total = 0;

        memset(admitted, 0, sizeof(admitted));
        run_threads(MAX_THREADS, take_while_time_passes,
                    (struct job){.t = t, .limit = limit, .rounds = run % 2, .clock = clock, .admitted = admitted});
        for (unsigned step = 0; step < STEPS; step++) {
            sum += admitted[step] - (step >= 11 ? admitted[step - 11] : 0);
            total += admitted[step];
            if (sum > limit)
                fail_msg("eleven steps to %u: %u of %u", step, sum, limit);
        }
        assert_true(total >= (uint64_t)limit * (STEPS / 11) * 9 / 10); /* and it is not because of a few races less */
        tg_shard_free(t);
    }
}

static void *flood(void *arg)
{
    struct job *job = arg;
    uint32_t used;

    pthread_barrier_wait(job->start);
    for (uint64_t i = 0; i < job->rounds; i++)           /* slots change hands, and their windows' lengths */
        slide(job->t, 1000 + job->seed * 10000000ull + i, 1 + (uint32_t)i % 50, NOW_MS + 7, 50, 1, &used);
    return NULL;
}

static void *flood_or_take(void *arg)
{
    struct job job = *(struct job *)arg;

    if (job.seed < 2) {
        job.rounds = 40000;
        return flood(&job);
    }
    return take_all(&job);
}

static void slots_change_hands_amid_threads(void **state)
{
    static _Atomic uint32_t admitted[16];
    struct tg_shard *t = tg_shard_new_sliding(1024);
    uint32_t used;

    (void)state;
    for (unsigned k = 0; k < 16; k++)                    /* high enough to keep its slot from the beginning */
        assert_true(slide(t, k, 60, NOW_MS, 100, 49, &used));
    run_threads(MAX_THREADS, flood_or_take,
                (struct job){.t = t, .keys = 16, .limit = 100, .rounds = 20000, .admitted = admitted});
    for (unsigned k = 0; k < 16; k++)
        assert_int_equal(admitted[k], 51);
    tg_shard_free(t);
}

static void keys_in_use(void **state)
{
    struct tg_shard *t = tg_shard_new_sliding(1 << 20);
    struct tg_shard_state s;
    uint32_t used;

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        slide(t, i, i < 400 ? 10 : 100, NOW_MS, 5, 1, &used);
    tg_shard_state(t, NOW_MS, &s);
    assert_int_equal(s.keys, 1000);
    tg_shard_state(t, NOW_MS + 11000, &s);
    assert_int_equal(s.keys, 600);
    tg_shard_state(t, NOW_MS + 110000, &s);
    assert_int_equal(s.keys, 0);
    tg_shard_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_key),
        cmocka_unit_test(every_span),
        cmocka_unit_test(numbers_that_come_round),
        cmocka_unit_test(given_back),
        cmocka_unit_test(a_flood_frees_nobody),
        cmocka_unit_test(a_refusal_is_remembered),
        cmocka_unit_test(the_largest_limit),
        cmocka_unit_test(any_year),
        cmocka_unit_test(a_late_worker),
        cmocka_unit_test(newcomers_share),
        cmocka_unit_test(threads_admit_exactly_the_limit),
        cmocka_unit_test(time_passes_amid_threads),
        cmocka_unit_test(slots_change_hands_amid_threads),
        cmocka_unit_test(keys_in_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
