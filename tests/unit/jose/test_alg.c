/* test_alg - names of algorithms. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "jose/alg.h"

static void names_and_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TG_ALG_COUNT; i++) {
        const char *name = tg_alg_name((enum tg_alg)i);
        enum tg_alg alg = TG_ALG_COUNT;

        assert_true(tg_alg_parse(tg_slice_str(name), &alg));
        assert_int_equal(alg, i);
        for (size_t cut = 0; cut < strlen(name); cut++) /* a part is no name */
            assert_false(tg_alg_parse(tg_slice(name, cut), &alg));
    }
    assert_string_equal(tg_alg_name(TG_ALG_COUNT), "none");
}

static void refused(void **state)
{
    static const char *const bad[] = {"", "none", "None", "nOnE", "none ", " none", "null", "rs256", "Rs256", "RS256 ",
                                      "RS1", "ES256K", "ES521", "Ed448", "eddsa", "ed25519", "HS1", "dir", "RSA-OAEP",
                                      "A128KW"};
    enum tg_alg alg;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (tg_alg_parse(tg_slice_str(bad[i]), &alg))
            fail_msg("\"%s\" was taken", bad[i]);
    }
    assert_false(tg_alg_parse(TG_S("RS256\0"), &alg));   /* RFC 7515 §4.1.1: compared whole */
}

static void rfc9864(void **state)
{
    enum tg_alg alg;

    (void)state;
    assert_true(tg_alg_parse(TG_S("Ed25519"), &alg));
    assert_int_equal(alg, TG_ALG_EdDSA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_and_back), cmocka_unit_test(refused),
                                       cmocka_unit_test(rfc9864)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
