/*
 * hash - vectors (made with OpenSSL's SIPHASH, c-rounds 1, d-rounds 3), and a seed that is drawn.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/hash.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void vectors(void **state)
{
    (void)state;
    static const struct { size_t len; uint64_t want; } cases[] = { /* key 00..0f, input 00 01 02 .. */
        {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {7, 0xd3927d989bb11140},
        {8, 0x369095118d299a8e},  {15, 0xd320d86d2a519956}, {31, 0x2370dd1f8c21d1bc},
    };
    char in[64];

    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)i;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(tg_siphash13(0x0706050403020100, 0x0f0e0d0c0b0a0908, in, cases[i].len) == cases[i].want);
}

static void every_byte_and_length_counts(void **state)
{
    (void)state;
    char in[40] = {0};

    tg_hash_init();
    tg_hash_init();
    for (size_t len = 0; len < sizeof(in); len++) {
        uint64_t h = tg_hash(in, len);

        assert_true(h == tg_hash_slice(tg_slice(in, len)));
        assert_true(h != tg_hash(in, len + 1));          /* zeros are not padding */
        for (size_t i = 0; i < len; i++) {
            in[i] ^= 1;
            assert_true(h != tg_hash(in, len));
            in[i] ^= 1;
        }
    }
    assert_true(tg_hash(NULL, 0) == tg_hash("", 0));
    assert_true(tg_hash2(1, 2) != tg_hash2(2, 1));
    assert_true(tg_hash2(1, 2) == tg_hash((uint64_t[]){1, 2}, 16));
    assert_true(tg_hash("abc", 3) != tg_siphash13(0, 0, "abc", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors), cmocka_unit_test(every_byte_and_length_counts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
