/*
 * refusals - WWW-Authenticate of every kind of challenge (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "gate/refusal.h"

#define INVALID "error=\"invalid_token\", error_description=\"The access token is invalid\""
#define META ", resource_metadata=\"https://a.test/.well-known/oauth-protected-resource/x\""

static const struct {
    const char *why;
    enum tg_refusal refusal;
    struct tg_challenge_words words;
    const char *want[2];
} cases[] = {
    {"no challenge", TG_REFUSE_DENIED, {.realm = TG_S_INIT("r"), .bearer = true, .dpop = true}, {NULL, NULL}},
    {"a realm alone", TG_REFUSE_NO_TOKEN, {.realm = TG_S_INIT("r")}, {"Bearer realm=\"r\"", NULL}},
    {"both schemes", TG_REFUSE_NO_TOKEN,
     {.realm = TG_S_INIT("r"), .bearer = true, .dpop = true, .dpop_algs = TG_S_INIT("ES256 EdDSA")},
     {"Bearer realm=\"r\"", "DPoP realm=\"r\", algs=\"ES256 EdDSA\""}},
    {"DPoP alone", TG_REFUSE_INVALID, {.realm = TG_S_INIT("r"), .dpop = true}, {"DPoP realm=\"r\", " INVALID, NULL}},
    {"a fault", TG_REFUSE_CREDENTIAL, {.realm = TG_S_INIT("r"), .fault = "It is bad", .bearer = true},
     {"Bearer realm=\"r\", error=\"invalid_request\", error_description=\"It is bad\"", NULL}},
    {"no fault told", TG_REFUSE_CREDENTIAL, {.realm = TG_S_INIT("r"), .bearer = true},
     {"Bearer realm=\"r\", error=\"invalid_request\"", NULL}},
    {"a fault is of a malformed credential only", TG_REFUSE_INVALID,
     {.realm = TG_S_INIT("r"), .fault = "It is bad", .bearer = true, .scope = TG_S_INIT("a")},
     {"Bearer realm=\"r\", " INVALID, NULL}},
    {"scopes", TG_REFUSE_SCOPE, {.realm = TG_S_INIT("r"), .bearer = true, .scope = TG_S_INIT("a b")},
     {"Bearer realm=\"r\", error=\"insufficient_scope\", error_description=\"The access token lacks a scope\", "
      "scope=\"a b\"", NULL}},
    {"a proof is DPoP's", TG_REFUSE_PROOF, {.realm = TG_S_INIT("r"), .bearer = true, .dpop = true},
     {"DPoP realm=\"r\", error=\"invalid_dpop_proof\", error_description=\"The DPoP proof is invalid\"", NULL}},
    {"a nonce is DPoP's", TG_REFUSE_NONCE, {.realm = TG_S_INIT("r")},
     {"DPoP realm=\"r\", error=\"use_dpop_nonce\", error_description=\"The DPoP proof needs a current nonce\"", NULL}},
    {"metadata", TG_REFUSE_NO_TOKEN,
     {.realm = TG_S_INIT("r"), .bearer = true, .dpop = true,
      .resource_metadata = TG_S_INIT("https://a.test/.well-known/oauth-protected-resource/x")},
     {"Bearer realm=\"r\"" META, "DPoP realm=\"r\"" META}},
};

static void challenges(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf out[2] = {{0}, {0}};
        size_t n = tg_refusal_challenge(&tg_refusals[cases[i].refusal], &cases[i].words, out);

        for (size_t k = 0; k < 2; k++) {
            const char *got = k < n ? tg_buf_cstr(&out[k]) : NULL, *want = cases[i].want[k];

            if (!got != !want || (want && strcmp(got, want) != 0))
                fail_msg("%s: %s", cases[i].why, got ? got : "nothing");
            tg_buf_fini(&out[k]);
        }
    }
}

/* Every 401 says how to come back (RFC 9110 §15.5.2), and only refusals about tokens do. */
static void who_is_challenged(void **state)
{
    (void)state;
    for (unsigned i = TG_REFUSE_NONE + 1; i < TG_REFUSE_COUNT; i++) {
        const struct tg_refusal_row *r = &tg_refusals[i];

        assert_non_null(r->name);
        assert_non_null(r->details);
        assert_non_null(r->means);
        assert_int_equal(r->challenge != TG_CHALLENGE_NONE,
                         r->status == 401 || i == TG_REFUSE_CREDENTIAL || i == TG_REFUSE_SCOPE);
        assert_ptr_equal(tg_refusal_find(tg_slice_str(r->name)), r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(challenges), cmocka_unit_test(who_is_challenged)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
