/*
 * buf - slices at their edges, and buffers that grow by any step.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/buf.h"
#include <stdlib.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void comparing(void **state)
{
    (void)state;
    struct tg_slice none = {0}, abc = TG_S("abc");

    assert_true(tg_slice_eq(none, TG_S("")));
    assert_true(tg_slice_eq_nocase(TG_S("Content-TYPE"), TG_S("content-type")));
    assert_false(tg_slice_eq_nocase(TG_S("@"), TG_S("`")));   /* differ by the case bit, are no letters */
    assert_false(tg_slice_eq_nocase(TG_S("["), TG_S("{")));
    assert_false(tg_slice_eq_nocase(TG_S("\xc4"), TG_S("\xe4"))); /* ASCII only */
    assert_false(tg_slice_eq_nocase(TG_S("ab"), abc));
    assert_true(tg_slice_starts_with(abc, none) && tg_slice_ends_with(abc, none) && tg_slice_contains(abc, none));
    assert_true(tg_slice_starts_with(none, none) && tg_slice_ends_with(none, none) && tg_slice_contains(none, none));
    assert_true(tg_slice_starts_with(abc, TG_S("ab")) && tg_slice_ends_with(abc, TG_S("bc")));
    assert_true(tg_slice_contains(abc, TG_S("b")) && tg_slice_contains(abc, abc));
    assert_false(tg_slice_starts_with(abc, TG_S("abcd")) || tg_slice_ends_with(abc, TG_S("xabc")) ||
                 tg_slice_contains(abc, TG_S("ac")) || tg_slice_contains(none, abc));
}

static void order(void **state)
{
    (void)state;
    static const struct tg_slice sorted[] = {{NULL, 0}, TG_S_INIT("\0"), TG_S_INIT("a"), TG_S_INIT("a\0"),
                                             TG_S_INIT("ab"), TG_S_INIT("b"), TG_S_INIT("\x80"), TG_S_INIT("\xff")};

    for (size_t i = 0; i < ARRAY_LEN(sorted); i++)
        for (size_t j = 0; j < ARRAY_LEN(sorted); j++) {
            int got = tg_slice_cmp(sorted[i], sorted[j]);

            assert_int_equal((got > 0) - (got < 0), (i > j) - (i < j));
        }
}

static void trimming_and_cutting(void **state)
{
    (void)state;
    struct tg_slice head, rest;

    assert_true(tg_slice_eq(tg_slice_trim(TG_S(" \t a b\t ")), TG_S("a b")));
    assert_int_equal(tg_slice_trim(TG_S(" \t ")).len, 0);
    assert_int_equal(tg_slice_trim((struct tg_slice){0}).len, 0);
    assert_true(tg_slice_eq(tg_slice_trim(TG_S("\r\n")), TG_S("\r\n")));   /* only SP and HTAB */
    assert_true(tg_slice_cut(TG_S("a,b,c"), ',', &head, &rest));
    assert_true(tg_slice_eq(head, TG_S("a")) && tg_slice_eq(rest, TG_S("b,c")));
    assert_true(tg_slice_cut(TG_S(","), ',', &head, &rest));
    assert_true(head.len == 0 && rest.len == 0);
    assert_false(tg_slice_cut(TG_S("abc"), ',', &head, &rest));
    assert_true(tg_slice_eq(head, TG_S("abc")) && rest.len == 0);
    assert_false(tg_slice_cut((struct tg_slice){0}, ',', &head, &rest));
}

static void numbers(void **state)
{
    (void)state;
    static const struct { struct tg_slice text; bool ok; uint64_t value; } cases[] = {
        {TG_S_INIT("0"), true, 0},
        {TG_S_INIT("007"), true, 7},
        {TG_S_INIT("18446744073709551615"), true, UINT64_MAX},
        {TG_S_INIT("18446744073709551616"), false, 0},
        {TG_S_INIT("99999999999999999999999"), false, 0},
        {TG_S_INIT(""), false, 0},
        {TG_S_INIT("+1"), false, 0},
        {TG_S_INIT("-1"), false, 0},
        {TG_S_INIT(" 1"), false, 0},
        {TG_S_INIT("1\0"), false, 0},
        {TG_S_INIT("0x1"), false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t n = 42;

        assert_int_equal(tg_slice_to_u64(cases[i].text, &n), cases[i].ok);
        assert_true(n == (cases[i].ok ? cases[i].value : 42));
    }
}

static void growing(void **state)
{
    (void)state;
    char pattern[997];

    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)i;
    for (size_t step = 1; step < 200; step += 13) {
        struct tg_buf b = {0};

        for (size_t at = 0; at < sizeof(pattern); at += step)
            tg_buf_add(&b, pattern + at, at + step < sizeof(pattern) ? step : sizeof(pattern) - at);
        assert_int_equal(b.len, sizeof(pattern));
        assert_memory_equal(b.data, pattern, sizeof(pattern));
        tg_buf_drop(&b, 500);
        assert_memory_equal(b.data, pattern + 500, sizeof(pattern) - 500);
        tg_buf_drop(&b, b.len);
        assert_int_equal(b.len, 0);
        tg_buf_fini(&b);
        assert_null(b.data);
    }
}

static void text(void **state)
{
    (void)state;
    struct tg_buf b = {0};
    char *copy;

    assert_string_equal(tg_buf_cstr(&b), "");
    tg_buf_add(&b, NULL, 0);
    tg_buf_adds(&b, "a");
    tg_buf_addc(&b, 'b');
    tg_buf_add_slice(&b, TG_S("c"));
    tg_buf_addf(&b, "%d%s", 4, "");
    assert_string_equal(tg_buf_cstr(&b), "abc4");
    for (int n = 55; n < 75; n++) {                      /* around its first size */
        struct tg_buf f = {0};

        tg_buf_addf(&f, "%0*d", n, 7);
        assert_int_equal(f.len, n);
        assert_int_equal(tg_buf_cstr(&f)[n - 1], '7');
        tg_buf_fini(&f);
    }
    copy = tg_slice_dup(tg_buf_slice(&b));
    assert_string_equal(copy, "abc4");
    free(copy);
    free(tg_slice_dup((struct tg_slice){0}));
    free(tg_alloc(0));
    tg_buf_fini(&b);
}

static void wiping(void **state)
{
    struct tg_buf b = {0};

    (void)state;
    tg_buf_wipe(&b);                                     /* of nothing */
    tg_buf_adds(&b, "a secret");
    tg_buf_wipe(&b);
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
    tg_buf_adds(&b, "the next");                         /* usable again */
    assert_string_equal(tg_buf_cstr(&b), "the next");
    tg_buf_wipe(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(comparing), cmocka_unit_test(order),
                                       cmocka_unit_test(trimming_and_cutting), cmocka_unit_test(numbers),
                                       cmocka_unit_test(growing), cmocka_unit_test(text), cmocka_unit_test(wiping)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
