/*
 * cluster - turns by weight, spread evenly; those that failed are passed over.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "upstream/cluster.h"
#include <stdio.h>

static struct tg_pool *pool;

static struct tg_cluster *cluster_of(const uint32_t *weights, size_t n)
{
    struct tg_cluster *c = tg_cluster_new();

    for (size_t i = 0; i < n; i++) {
        char text[48];
        struct tg_url url;

        snprintf(text, sizeof(text), "http://10.0.0.%zu:80", i + 1);
        assert_int_equal(tg_url_parse(tg_slice_str(text), false, &url, NULL), TG_OK);
        tg_cluster_add(c, tg_pool_endpoint(pool, &url, NULL, TG_S("")), weights[i]);
    }
    return c;
}

static void smooth(void **state)
{
    (void)state;
    static const struct { const char *why; uint32_t weights[4]; size_t n; const char *want; } cases[] = {
        {"alone", {1}, 1, "aaaa"},
        {"alone, whatever its weight", {0}, 1, "aaaa"},
        {"in turn", {1, 1, 1}, 3, "abcabcabc"},
        {"equal weights are equal", {5, 5}, 2, "abab"},
        {"three to one, not in a row", {3, 1}, 2, "aabaaaba"},
        {"nginx's own example", {5, 1, 1}, 3, "aabacaaaabacaa"},
        {"none for nothing", {1, 0}, 2, "aaaa"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_cluster *c = cluster_of(cases[i].weights, cases[i].n);
        char got[32] = {0};

        for (size_t k = 0; k < strlen(cases[i].want); k++)
            got[k] = (char)('a' + tg_cluster_next(c, 0));
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s, wanted %s", cases[i].why, got, cases[i].want);
        tg_cluster_free(c);
    }
    tg_cluster_free(NULL);
    struct tg_cluster *none = tg_cluster_new();
    assert_int_equal(tg_cluster_next(none, 0), -1);
    tg_cluster_free(none);
}

/* Over whole rounds everybody gets exactly their share, and nobody waits much longer than that. */
static void shares_are_exact(void **state)
{
    (void)state;
    static const uint32_t weights[] = {7, 1, 4, 13, 2};
    struct tg_cluster *c = cluster_of(weights, ARRAY_LEN(weights));
    unsigned taken[ARRAY_LEN(weights)] = {0}, last[ARRAY_LEN(weights)] = {0};
    uint32_t sum = 27;

    for (unsigned turn = 1; turn <= sum * 50; turn++) {
        int i = tg_cluster_next(c, 0);

        assert_in_range(i, 0, ARRAY_LEN(weights) - 1);
        assert_non_null(tg_cluster_at(c, i));
        taken[i]++;
        assert_true(turn - last[i] <= 2 * (sum / weights[i] + 1));
        last[i] = turn;
        if (turn % sum == 0) {
            for (size_t k = 0; k < ARRAY_LEN(weights); k++)
                assert_int_equal(taken[k], weights[k] * (turn / sum));
        }
    }
    tg_cluster_free(c);
}

static void tried_are_passed_over(void **state)
{
    (void)state;
    static const uint32_t weights[] = {5, 1, 1};
    struct tg_cluster *c = cluster_of(weights, 3);
    static const uint32_t one[] = {1};
    struct tg_cluster *alone = cluster_of(one, 1);

    for (int round = 0; round < 100; round++) {
        uint64_t tried = 0;

        for (int k = 0; k < 3; k++) {
            int i = tg_cluster_next(c, tried);

            assert_in_range(i, 0, 2);
            assert_int_equal(tried >> i & 1, 0);
            tried |= 1u << i;
        }
        assert_int_equal(tg_cluster_next(c, tried), -1);
    }
    assert_int_equal(tg_cluster_next(alone, 1), -1);
    assert_int_equal(tg_cluster_next(alone, 0), 0);
    tg_cluster_free(c);
    tg_cluster_free(alone);
}

/* More than a word has bits: all are used, and those beyond cannot be marked. */
static void more_than_64(void **state)
{
    (void)state;
    uint32_t weights[100];
    bool seen[100] = {false};

    for (size_t i = 0; i < 100; i++)
        weights[i] = 1;
    struct tg_cluster *c = cluster_of(weights, 100);
    for (int k = 0; k < 100; k++) {
        int i = tg_cluster_next(c, 0);

        assert_in_range(i, 0, 99);
        seen[i] = true;
    }
    for (size_t i = 0; i < 100; i++)
        assert_true(seen[i]);
    assert_in_range(tg_cluster_next(c, UINT64_MAX), 64, 99);
    tg_cluster_free(c);
}

static int setup(void **state)
{
    (void)state;
    pool = tg_pool_new(NULL, NULL);                      /* nothing is connected here */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_pool_free(pool);                                  /* asserts that no endpoint is left */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smooth),
        cmocka_unit_test(shares_are_exact),
        cmocka_unit_test(tried_are_passed_over),
        cmocka_unit_test(more_than_64),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
