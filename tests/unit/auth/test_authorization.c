/* authorization: RFC 6750 §2.1 and §3.1, RFC 9449 §7.1, and contracts on two credentials at once. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/authn.h"
#include "base/err.h"
#include <stdlib.h>

#define NONE TG_CREDENTIAL_NONE
#define BAD TG_CREDENTIAL_MALFORMED
#define BEARER TG_CREDENTIAL_BEARER
#define DPOP TG_CREDENTIAL_DPOP

static const struct {
    const char *why, *value, *query;
    enum tg_credential_kind want;
    const char *token;
} cases[] = {
    {"plain", "Bearer abc.def-ghi_~+/", "", BEARER, "abc.def-ghi_~+/"},
    {"scheme without case", "bEaReR abc", "", BEARER, "abc"},
    {"padding at the end", "Bearer abc==", "", BEARER, "abc=="},
    {"several spaces", "Bearer    abc", "", BEARER, "abc"},
    {"space around the value", "  Bearer abc \t", "", BEARER, "abc"},
    {"exactly the limit", "Bearer 0123456789abcdef", "", BEARER, "0123456789abcdef"},
    {"over the limit", "Bearer 0123456789abcdefg", "", BAD, NULL},
    {"no value", "Bearer", "", BAD, NULL},
    {"spaces for a value", "Bearer   ", "", BAD, NULL},
    {"padding alone", "Bearer ==", "", BAD, NULL},
    {"padding inside", "Bearer a=b", "", BAD, NULL},
    {"a tab is no space", "Bearer\tabc", "", BAD, NULL},
    {"a tab behind the space", "Bearer \tabc", "", BAD, NULL},
    {"two tokens", "Bearer abc def", "", BAD, NULL},
    {"a list", "Bearer abc, Bearer def", "", BAD, NULL},
    {"a comma for a space", "Bearer,abc", "", BAD, NULL},
    {"quoted", "Bearer \"abc\"", "", BAD, NULL},
    {"an unexpanded variable", "Bearer ${TOKEN}", "", BAD, NULL},
    {"a byte over 127", "Bearer ab\xc3\xa9", "", BAD, NULL},
    {"a percent sign", "Bearer ab%20", "", BAD, NULL},
    {"bare token", "abc.def.ghi", "", NONE, NULL},
    {"another scheme", "Basic dTpw", "", NONE, NULL},
    {"another scheme that starts alike", "BearerX abc", "", NONE, NULL},
    {"DPoP", "DPoP abc.d-e", "", DPOP, "abc.d-e"},
    {"DPoP without case", "dpop  abc", "", DPOP, "abc"},
    {"DPoP without value", "DPoP", "", BAD, NULL},
    {"DPoP over the limit", "DPoP 0123456789abcdefg", "", BAD, NULL},
    {"DPoP with two tokens", "DPoP abc def", "", BAD, NULL},
    {"DPoP and in the query too", "DPoP abc", "access_token=x", BAD, NULL},
    {"one that starts as DPoP", "DPoPx abc", "", NONE, NULL},
    {"empty field", "", "", NONE, NULL},
    {"in the query too", "Bearer abc", "access_token=x", BAD, NULL},
    {"in the query, not first", "Bearer abc", "a=b&access_token=x", BAD, NULL},
    {"in the query without value", "Bearer abc", "access_token", BAD, NULL},
    {"in the query, escaped", "Bearer abc", "a&%61ccess%5Ftoken=x", BAD, NULL},
    {"in the query beside another scheme", "Basic dTpw", "access_token=x", BAD, NULL},
    {"another parameter that starts alike", "Bearer abc", "access_tokens=x&xaccess_token=y&access_toke", BEARER, "abc"},
    {"a value is no name", "Bearer abc", "q=access_token", BEARER, "abc"},
    {"broken escape", "Bearer abc", "%6", BEARER, "abc"},
};

static void kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_slice value = tg_slice_str(cases[i].value);
        struct tg_credential got;

        tg_credential_classify(&value, 1, tg_slice_str(cases[i].query), 16, &got);
        if (got.kind != cases[i].want)
            fail_msg("%s: %d", cases[i].why, got.kind);
        if (got.kind == BEARER || got.kind == DPOP)
            assert_true(tg_slice_eq(got.token, tg_slice_str(cases[i].token)));
        if (got.kind == BAD)                             /* goes into a quoted-string as it is */
            assert_true(got.what && !strpbrk(got.what, "\"\\"));
    }
}

static void how_many_fields(void **state)
{
    struct tg_slice two[] = {TG_S("Bearer abc"), TG_S("Basic dTpw")};
    struct tg_credential got;

    (void)state;
    tg_credential_classify(NULL, 0, TG_S(""), 16, &got);
    assert_int_equal(got.kind, NONE);
    tg_credential_classify(NULL, 0, TG_S("access_token=x"), 16, &got);
    assert_int_equal(got.kind, NONE);
    tg_credential_classify(two, 2, TG_S(""), 16, &got);
    assert_int_equal(got.kind, BAD);
}

/* Whatever single byte stands in the token: taken only when RFC 6750 names it. */
static void every_byte(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[] = "Bearer a?c";
        struct tg_slice value = {text, sizeof(text) - 1};
        struct tg_credential got;
        bool named = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c && strchr("-._~+/", c));

        text[8] = (char)c;
        tg_credential_classify(&value, 1, TG_S(""), 16, &got);
        assert_int_equal(got.kind == BEARER, named);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(how_many_fields),
        cmocka_unit_test(every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
