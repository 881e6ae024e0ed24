/*
 * digest - published vectors, strict base64, and threads that come and go.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/digest.h"
#include <pthread.h>
#include <stdlib.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void expect_hex(const uint8_t got[TG_SHA256_LEN], const char *want)
{
    char text[2 * TG_SHA256_LEN + 1];

    tg_hex(got, TG_SHA256_LEN, text);
    assert_string_equal(text, want);
}

static void sha256(void **state)
{
    (void)state;
    static const struct { struct tg_slice in; const char *want; } cases[] = { /* FIPS 180 examples */
        {{NULL, 0}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {TG_S_INIT("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {TG_S_INIT("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };

    for (int again = 0; again < 2; again++)              /* the context is used again */
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            uint8_t out[TG_SHA256_LEN];

            tg_sha256(cases[i].in, out);
            expect_hex(out, cases[i].want);
        }
}

static void hmac(void **state)
{
    (void)state;
    uint8_t out[TG_SHA256_LEN];
    char long_key[131];

    memset(long_key, 0xaa, sizeof(long_key));
    tg_hmac_sha256(TG_S("Jefe"), TG_S("what do ya want for nothing?"), out); /* RFC 4231 §4.3 */
    expect_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    tg_hmac_sha256(tg_slice(long_key, sizeof(long_key)),
                   TG_S("Test Using Larger Than Block-Size Key - Hash Key First"), out); /* §4.7 */
    expect_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    tg_hmac_sha256((struct tg_slice){0}, (struct tg_slice){0}, out);
    expect_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void *hash_in_thread(void *arg)
{
    uint8_t out[TG_SHA256_LEN];
    char id[37];

    for (int i = 0; i < 300; i++) {
        tg_sha256(TG_S("abc"), out);
        tg_uuid(id);
    }
    memcpy(arg, out, sizeof(out));
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {           /* the leak checker sees contexts that are not freed */
        pthread_t t[4];
        uint8_t out[4][TG_SHA256_LEN];

        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&t[i], NULL, hash_in_thread, out[i]), 0);
        for (int i = 0; i < 4; i++) {
            pthread_join(t[i], NULL);
            expect_hex(out[i], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        }
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void uuids(void **state)
{
    (void)state;
    static char ids[2000][37];                           /* over several fillings of the pool */

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        tg_uuid(ids[i]);
        assert_int_equal(strlen(ids[i]), 36);
        assert_int_equal(strspn(ids[i], "0123456789abcdef-"), 36);
        assert_int_equal(ids[i][14], '4');
        assert_non_null(strchr("89ab", ids[i][19]));
        assert_true(ids[i][8] == '-' && ids[i][13] == '-' && ids[i][18] == '-' && ids[i][23] == '-');
    }
    qsort(ids, ARRAY_LEN(ids), sizeof(ids[0]), by_text);
    for (size_t i = 1; i < ARRAY_LEN(ids); i++)
        assert_string_not_equal(ids[i], ids[i - 1]);
}

static void equal(void **state)
{
    (void)state;
    assert_true(tg_equal_ct(TG_S("abc"), TG_S("abc")));
    assert_false(tg_equal_ct(TG_S("abc"), TG_S("abd")) || tg_equal_ct(TG_S("abc"), TG_S("ab")));
    assert_true(tg_equal_ct((struct tg_slice){0}, TG_S("")));
}

typedef bool decoder(struct tg_slice in, uint8_t *out, size_t *out_len);

static void base64(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        decoder *decode;
        struct tg_slice in;
        bool ok;
        struct tg_slice want;
    } cases[] = {
        {"empty", tg_base64url_decode, TG_S_INIT(""), true, TG_S_INIT("")},
        {"one byte", tg_base64url_decode, TG_S_INIT("Zg"), true, TG_S_INIT("f")},
        {"two bytes", tg_base64url_decode, TG_S_INIT("Zm8"), true, TG_S_INIT("fo")},
        {"three bytes", tg_base64url_decode, TG_S_INIT("Zm9v"), true, TG_S_INIT("foo")},
        {"62 and 63", tg_base64url_decode, TG_S_INIT("-_-_"), true, TG_S_INIT("\xfb\xff\xbf")},
        {"the other alphabet", tg_base64url_decode, TG_S_INIT("+/+/"), false, {0}},
        {"one character too many", tg_base64url_decode, TG_S_INIT("Zm9vZ"), false, {0}},
        {"unused bits set", tg_base64url_decode, TG_S_INIT("Zh"), false, {0}},
        {"unused bits set", tg_base64url_decode, TG_S_INIT("Zm9"), false, {0}},
        {"padding", tg_base64url_decode, TG_S_INIT("Zg=="), false, {0}},
        {"blank", tg_base64url_decode, TG_S_INIT("Zm 9"), false, {0}},
        {"line end", tg_base64url_decode, TG_S_INIT("Zm9v\n"), false, {0}},
        {"NUL", tg_base64url_decode, TG_S_INIT("Zg\0\0"), false, {0}},
        {"high bytes", tg_base64url_decode, TG_S_INIT("\xff\xff\xff\xff"), false, {0}},
        {"padded", tg_base64_decode, TG_S_INIT("Zg=="), true, TG_S_INIT("f")},
        {"padded", tg_base64_decode, TG_S_INIT("Zm8="), true, TG_S_INIT("fo")},
        {"empty", tg_base64_decode, TG_S_INIT(""), true, TG_S_INIT("")},
        {"padding missing", tg_base64_decode, TG_S_INIT("Zg"), false, {0}},
        {"padding short", tg_base64_decode, TG_S_INIT("Zg="), false, {0}},
        {"padding alone", tg_base64_decode, TG_S_INIT("===="), false, {0}},
        {"padding alone", tg_base64_decode, TG_S_INIT("=="), false, {0}},
        {"padding of three", tg_base64_decode, TG_S_INIT("Z==="), false, {0}},
        {"padding inside", tg_base64_decode, TG_S_INIT("Zg==Zg=="), false, {0}},
        {"unused bits set", tg_base64_decode, TG_S_INIT("Zh=="), false, {0}},
        {"the other alphabet", tg_base64_decode, TG_S_INIT("-_-_"), false, {0}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t *out = malloc(cases[i].in.len * 3 / 4 + 1); /* exactly what the header asks for, ASan watches */
        size_t len = 0;

        if (cases[i].decode(cases[i].in, out, &len) != cases[i].ok ||
            (cases[i].ok && !tg_slice_eq(tg_slice((char *)out, len), cases[i].want)))
            fail_msg("%s: %.*s", cases[i].why, TG_S_ARG(cases[i].in));
        free(out);
    }
}

static void base64_there_and_back(void **state)
{
    (void)state;
    uint8_t bytes[100], back[100];

    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct tg_buf url = {0}, std = {0};
        struct tg_slice in = tg_slice((char *)bytes, len);
        size_t n;

        tg_random(bytes, len);
        tg_base64url_encode(in, &url);
        tg_base64_encode(in, &std);
        assert_true(tg_base64url_decode(tg_buf_slice(&url), back, &n) && n == len && memcmp(back, bytes, n) == 0);
        assert_true(tg_base64_decode(tg_buf_slice(&std), back, &n) && n == len && memcmp(back, bytes, n) == 0);
        assert_int_equal(std.len, (len + 2) / 3 * 4);
        tg_buf_fini(&url);
        tg_buf_fini(&std);
    }
}

static void jitter(void **state)
{
    bool moves = false;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t ms = tg_with_jitter(1000);

        assert_true(ms > 900 && ms <= 1000);
        moves = moves || ms != tg_with_jitter(1000);
    }
    assert_true(moves);
}

static void hex_digits(void **state)
{
    static const char digits[] = "0123456789abcdef", upper[] = "ABCDEF";

    (void)state;
    for (int i = 0; i < 16; i++)
        assert_int_equal(tg_hex_digit(digits[i]), i);
    for (int i = 0; i < 6; i++)
        assert_int_equal(tg_hex_digit(upper[i]), 10 + i);
    for (const char *c = "/:@G`g \xff"; *c; c++)
        assert_int_equal(tg_hex_digit(*c), -1);
    assert_int_equal(tg_hex_digit('\0'), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256), cmocka_unit_test(hmac),  cmocka_unit_test(threads), cmocka_unit_test(uuids),
        cmocka_unit_test(equal),  cmocka_unit_test(base64), cmocka_unit_test(base64_there_and_back),
        cmocka_unit_test(jitter), cmocka_unit_test(hex_digits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
