/* credential_answer: what a token endpoint may say, and that nothing of it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "../../../proxy/auth/credential_internal.h"

#define YEAR_S (INT64_C(365) * 86400)

static const struct {
    const char *why, *body;
    const char *value;                                   /* NULL: refused */
    int64_t life_s;
} cases[] = {
    {"RFC 6749 §5.1", "{\"access_token\":\"abc\",\"token_type\":\"Bearer\",\"expires_in\":3600}", "Bearer abc", 3600},
    {"other members", "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":1,\"id_token\":\"x\"}",
     "Bearer a", 1},
    {"§7.1 the type has no case", "{\"access_token\":\"a\",\"token_type\":\"bEARER\",\"expires_in\":5}", "Bearer a", 5},
    {"life not said", "{\"access_token\":\"a\",\"token_type\":\"bearer\"}", "Bearer a", -1},
    {"life null", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":null}", "Bearer a", -1},
    {"life as text", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":\"3599\"}", "Bearer a", 3599},
    {"life with a point", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":3599.0}", "Bearer a", 3599},
    {"life without end", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":1e300}", "Bearer a", YEAR_S},
    {"beyond int64", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":9223372036854775808}",
     "Bearer a", YEAR_S},
    {"beyond 64 bits, as text",
     "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":\"99999999999999999999\"}", "Bearer a", YEAR_S},
    {"life over", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":0}", NULL, 0},
    {"life negative", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":-5}", NULL, 0},
    {"life no number", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":\"soon\"}", NULL, 0},
    {"life empty", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":\"\"}", NULL, 0},
    {"life a truth", "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":true}", NULL, 0},
    {"no type", "{\"access_token\":\"a\",\"expires_in\":5}", NULL, 0},
    {"another type", "{\"access_token\":\"a\",\"token_type\":\"DPoP\",\"expires_in\":5}", NULL, 0},
    {"type no text", "{\"access_token\":\"a\",\"token_type\":7,\"expires_in\":5}", NULL, 0},
    {"no token", "{\"token_type\":\"bearer\",\"expires_in\":5}", NULL, 0},
    {"token no text", "{\"access_token\":{},\"token_type\":\"bearer\"}", NULL, 0},
    {"token empty", "{\"access_token\":\"\",\"token_type\":\"bearer\"}", NULL, 0},
    {"token with a space", "{\"access_token\":\"a b\",\"token_type\":\"bearer\"}", NULL, 0},
    {"token ends the line", "{\"access_token\":\"a\\r\\nX: y\",\"token_type\":\"bearer\"}", NULL, 0},
    {"token beyond ASCII", "{\"access_token\":\"\xc3\xa9\",\"token_type\":\"bearer\"}", NULL, 0},
    {"token with DEL", "{\"access_token\":\"a\x7f\",\"token_type\":\"bearer\"}", NULL, 0},
    {"a member twice", "{\"access_token\":\"a\",\"access_token\":\"b\",\"token_type\":\"bearer\"}", NULL, 0},
    {"a list", "[]", NULL, 0},
    {"form, as one service once answered", "access_token=a&token_type=bearer", NULL, 0},
    {"nothing", "", NULL, 0},
};

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_credential_answer got = {0};
        struct tg_err err = {0};
        enum tg_status st = tg_credential_answer_read(tg_slice_str(cases[i].body), &got, &err);

        if ((st == TG_OK) != (cases[i].value != NULL))
            fail_msg("%s: %s", cases[i].why, tg_err_text(&err));
        if (st != TG_OK) {
            assert_null(got.text);
            assert_true(err.text[0] != '\0');
            continue;
        }
        if (!tg_slice_eq(tg_slice(got.text->value, got.text->len), tg_slice_str(cases[i].value)) ||
            got.life_s != cases[i].life_s)
            fail_msg("%s: %lld", cases[i].why, (long long)got.life_s);
        tg_credential_text_unref(got.text);
    }
}

/* Whatever a server says, no part of it is told. */
static void sentences_hold_nothing_of_the_answer(void **state)
{
    static const char *const bodies[] = {
        "{\"access_token\":\"s3cret\",\"token_type\":\"s3cret\"}",
        "{\"access_token\":\"s3cret s3cret\",\"token_type\":\"bearer\"}",
        "{\"access_token\":\"s3cret\",\"token_type\":\"bearer\",\"expires_in\":\"s3cret\"}",
        "s3cret", "{\"s3cret\":1,\"s3cret\":2}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct tg_credential_answer got = {0};
        struct tg_err err = {0};

        assert_int_not_equal(tg_credential_answer_read(tg_slice_str(bodies[i]), &got, &err), TG_OK);
        assert_null(strstr(err.text, "s3cret"));
    }
}

static void long_tokens(void **state)
{
    struct tg_buf token = {0};

    (void)state;
    for (size_t i = 0; i < 16384; i++)
        tg_buf_addc(&token, 'a');
    assert_null(tg_credential_token_fault(tg_buf_slice(&token)));
    tg_buf_addc(&token, 'a');
    assert_non_null(tg_credential_token_fault(tg_buf_slice(&token)));
    tg_buf_fini(&token);
}

static void error_words(void **state)
{
    (void)state;
    assert_string_equal(tg_credential_answer_error(TG_S("{\"error\":\"invalid_grant\"}")), "invalid_grant");
    assert_string_equal(tg_credential_answer_error(TG_S("{\"error\":\"invalid_client\",\"error_description\":\"x\"}")),
                        "invalid_client");
    assert_string_equal(tg_credential_answer_error(TG_S("{\"error\":\"the assertion eyJ... is bad\"}")), "");
    assert_string_equal(tg_credential_answer_error(TG_S("{\"error\":{\"code\":401}}")), "");
    assert_string_equal(tg_credential_answer_error(TG_S("<html>")), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(sentences_hold_nothing_of_the_answer),
        cmocka_unit_test(long_tokens),
        cmocka_unit_test(error_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
