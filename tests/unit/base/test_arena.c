/*
 * arena - alignment, growth, and that what was given stays where it is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/arena.h"
#include <stdalign.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void every_size_is_aligned_and_apart(void **state)
{
    (void)state;
    static const size_t firsts[] = {0, 16, 256, 4096, 4000};
    alignas(16) static char first[4096];

    for (size_t f = 0; f < ARRAY_LEN(firsts); f++) {
        struct tg_arena a;
        unsigned char *given[300];

        tg_arena_init(&a, firsts[f] ? first : NULL, firsts[f]);
        for (size_t n = 0; n < ARRAY_LEN(given); n++) {
            given[n] = tg_arena_raw(&a, n * 7);
            assert_non_null(given[n]);
            assert_int_equal((uintptr_t)given[n] & 15, 0);
            if (n)
                assert_ptr_not_equal(given[n], given[n - 1]);
            memset(given[n], (int)(n & 0xff), n * 7);
        }
        for (size_t n = 0; n < ARRAY_LEN(given); n++)
            for (size_t i = 0; i < n * 7; i++)
                assert_int_equal(given[n][i], n & 0xff);
        tg_arena_fini(&a);
        assert_null(a.pos);
    }
}

static void small_needs_stay_in_the_first_block(void **state)
{
    (void)state;
    alignas(16) char first[256];
    struct tg_arena a;

    tg_arena_init(&a, first, sizeof(first));
    for (int round = 0; round < 3; round++) {
        assert_ptr_equal(tg_arena_raw(&a, 100), first);
        assert_null(a.blocks);
        memset(tg_arena_raw(&a, 100000), 1, 100000);     /* more than the block: a block of its own */
        assert_ptr_equal(tg_arena_raw(&a, 16), first + 112);
        tg_arena_reset(&a);
        assert_null(a.blocks);
    }
    tg_arena_fini(&a);
    tg_arena_fini(&a);                                   /* twice is fine */
    tg_arena_fini(NULL);
}

static void alloc_is_zeroed_after_reset(void **state)
{
    (void)state;
    alignas(16) char first[64];
    struct tg_arena a;

    memset(first, 0xaa, sizeof(first));
    tg_arena_init(&a, first, sizeof(first));
    for (int i = 0; i < 2; i++) {
        char *p = tg_arena_alloc(&a, 64);

        for (int k = 0; k < 64; k++)
            assert_int_equal(p[k], 0);
        memset(p, 0xbb, 64);
        tg_arena_reset(&a);
    }
    assert_int_equal(TG_ARENA_ARRAY(&a, uint32_t, 9)[8], 0);
    tg_arena_fini(&a);
}

static void text(void **state)
{
    (void)state;
    struct tg_arena a;
    char big[5000];

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    tg_arena_init(&a, NULL, 0);
    assert_string_equal(tg_arena_str(&a, TG_S("abc")), "abc");
    assert_string_equal(tg_arena_str(&a, tg_slice(NULL, 0)), "");
    assert_true(tg_slice_eq(tg_arena_dup(&a, TG_S("a\0b")), TG_S("a\0b")));
    assert_true(tg_slice_eq(tg_arena_printf(&a, "%d-%s", 7, "x"), TG_S("7-x")));
    assert_int_equal(tg_arena_printf(&a, "%s", "").len, 0);
    for (size_t cut = 250; cut < 262; cut++)             /* around the size of its first try */
        assert_true(tg_slice_eq(tg_arena_printf(&a, "%.*s", (int)cut, big), tg_slice(big, cut)));
    assert_true(tg_slice_eq(tg_arena_printf(&a, "%s", big), tg_slice_str(big)));
    tg_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_is_aligned_and_apart), cmocka_unit_test(small_needs_stay_in_the_first_block),
        cmocka_unit_test(alloc_is_zeroed_after_reset), cmocka_unit_test(text)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
