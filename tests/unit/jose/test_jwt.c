/* test_jwt - the rules of claims. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "jose/jwt.h"

#define NOW 1000000
#define BASE "\"iss\":\"https://a\",\"sub\":\"u\""
#define AUD "\"aud\":\"api\""
#define EXP "\"exp\":1000100"

static const struct tg_slice audiences[] = {TG_S_INIT("other"), TG_S_INIT("api")};

static enum tg_jwt_fault check(const char *json, const char *typ, const struct tg_jwt_rules *rules, int64_t *exp_s)
{
    enum tg_jwt_fault fault;
    struct tg_err err = {0};
    cJSON *claims = NULL;

    if (tg_jwt_claims(tg_slice_str(json), &claims, &err) != TG_OK)
        return TG_JWT_PAYLOAD;
    fault = tg_jwt_check(claims, tg_slice_str(typ), rules, NOW, exp_s, &err);
    if (fault != TG_JWT_OK) {
        assert_true(err.text[0]);
        assert_int_equal(err.status, fault == TG_JWT_EXPIRED ? TG_EXPIRED : TG_BAD_INPUT);
    }
    cJSON_Delete(claims);
    return fault;
}

static const struct { const char *why, *claims; enum tg_jwt_fault want;
} cases[] = {
    {"plain", "{" BASE "," AUD "," EXP "}", TG_JWT_OK},
    {"aud list", "{" BASE ",\"aud\":[\"x\",\"api\"]," EXP "}", TG_JWT_OK},
    {"everything", "{" BASE "," AUD "," EXP ",\"nbf\":1000000,\"iat\":999999,\"jti\":\"j\"}", TG_JWT_OK},
    {"an ID token's claims, any use", "{" BASE "," AUD "," EXP ",\"nonce\":\"n\",\"at_hash\":\"h\"}", TG_JWT_OK},
    {"iss absent", "{\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_ISSUER},
    {"iss with a slash more", "{\"iss\":\"https://a/\",\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_ISSUER},
    {"iss in another case", "{\"iss\":\"https://A\",\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_ISSUER},
    {"iss list", "{\"iss\":[\"https://a\"],\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_ISSUER},
    {"iss null", "{\"iss\":null,\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_ISSUER},
    {"Iss", "{\"Iss\":\"https://a\",\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_ISSUER},
    {"aud absent", "{" BASE "," EXP "}", TG_JWT_AUDIENCE},
    {"aud of others", "{" BASE ",\"aud\":\"apis\"," EXP "}", TG_JWT_AUDIENCE},
    {"aud a prefix", "{" BASE ",\"aud\":\"ap\"," EXP "}", TG_JWT_AUDIENCE},
    {"aud empty text", "{" BASE ",\"aud\":\"\"," EXP "}", TG_JWT_AUDIENCE},
    {"aud empty list", "{" BASE ",\"aud\":[]," EXP "}", TG_JWT_AUDIENCE},
    {"aud number", "{" BASE ",\"aud\":1," EXP "}", TG_JWT_AUDIENCE},
    {"aud object", "{" BASE ",\"aud\":{\"api\":\"api\"}," EXP "}", TG_JWT_AUDIENCE},
    {"aud null", "{" BASE ",\"aud\":null," EXP "}", TG_JWT_AUDIENCE},
    {"aud list with a number", "{" BASE ",\"aud\":[\"api\",1]," EXP "}", TG_JWT_AUDIENCE},
    {"aud list in a list", "{" BASE ",\"aud\":[[\"api\"]]," EXP "}", TG_JWT_AUDIENCE},
    {"aud joined by space", "{" BASE ",\"aud\":\"x api\"," EXP "}", TG_JWT_AUDIENCE},
    {"sub absent", "{\"iss\":\"https://a\"," AUD "," EXP "}", TG_JWT_SUBJECT},
    {"sub empty", "{\"iss\":\"https://a\",\"sub\":\"\"," AUD "," EXP "}", TG_JWT_SUBJECT},
    {"sub number", "{\"iss\":\"https://a\",\"sub\":7," AUD "," EXP "}", TG_JWT_SUBJECT},
    {"exp absent", "{" BASE "," AUD "}", TG_JWT_TIMES},
    {"exp text", "{" BASE "," AUD ",\"exp\":\"1000100\"}", TG_JWT_TIMES},
    {"exp null", "{" BASE "," AUD ",\"exp\":null}", TG_JWT_TIMES},
    {"exp true", "{" BASE "," AUD ",\"exp\":true}", TG_JWT_TIMES},
    {"exp list", "{" BASE "," AUD ",\"exp\":[1000100]}", TG_JWT_TIMES},
    {"exp negative", "{" BASE "," AUD ",\"exp\":-1}", TG_JWT_TIMES},
    {"exp 2^53", "{" BASE "," AUD ",\"exp\":9007199254740992}", TG_JWT_OK},
    {"exp above 2^53", "{" BASE "," AUD ",\"exp\":9007199254740994}", TG_JWT_TIMES},
    {"exp 1e300", "{" BASE "," AUD ",\"exp\":1e300}", TG_JWT_TIMES},
    {"exp infinite", "{" BASE "," AUD ",\"exp\":1e999}", TG_JWT_PAYLOAD},
    {"exp NaN", "{" BASE "," AUD ",\"exp\":NaN}", TG_JWT_PAYLOAD},
    {"exp by exponent", "{" BASE "," AUD ",\"exp\":1.0001e6}", TG_JWT_OK},
    {"exp with a fraction", "{" BASE "," AUD ",\"exp\":1000100.75}", TG_JWT_OK},
    {"exp now", "{" BASE "," AUD ",\"exp\":1000000}", TG_JWT_EXPIRED},
    {"exp now and a bit", "{" BASE "," AUD ",\"exp\":1000000.9}", TG_JWT_EXPIRED},
    {"exp in a second", "{" BASE "," AUD ",\"exp\":1000001}", TG_JWT_OK},
    {"exp 0", "{" BASE "," AUD ",\"exp\":0}", TG_JWT_EXPIRED},
    {"nbf ahead", "{" BASE "," AUD "," EXP ",\"nbf\":1000001}", TG_JWT_NOT_BEFORE},
    {"nbf text", "{" BASE "," AUD "," EXP ",\"nbf\":\"0\"}", TG_JWT_TIMES},
    {"nbf null", "{" BASE "," AUD "," EXP ",\"nbf\":null}", TG_JWT_TIMES},
    {"nbf far", "{" BASE "," AUD "," EXP ",\"nbf\":1e18}", TG_JWT_TIMES},
    {"nbf in this second", "{" BASE "," AUD "," EXP ",\"nbf\":1000000.9}", TG_JWT_OK},
    {"iat ahead", "{" BASE "," AUD "," EXP ",\"iat\":1000001}", TG_JWT_ISSUED_AHEAD},
    {"iat text", "{" BASE "," AUD "," EXP ",\"iat\":\"x\"}", TG_JWT_TIMES},
    {"iat in this second", "{" BASE "," AUD "," EXP ",\"iat\":1000000.9}", TG_JWT_OK},
    {"expired and another's", "{" BASE ",\"aud\":\"x\",\"exp\":1}", TG_JWT_AUDIENCE},
    {"a list", "[]", TG_JWT_PAYLOAD},
    {"text", "\"x\"", TG_JWT_PAYLOAD},
    {"empty", "", TG_JWT_PAYLOAD},
    {"two objects", "{}{}", TG_JWT_PAYLOAD},
    {"a claim twice", "{" BASE "," AUD "," EXP ",\"aud\":\"api\"}", TG_JWT_PAYLOAD},
    {"a claim twice by escape", "{" BASE "," AUD "," EXP ",\"email\":\"a\",\"\\u0065mail\":\"b\"}", TG_JWT_PAYLOAD},
    {"NUL by escape", "{\"iss\":\"https://a\\u0000\",\"sub\":\"u\"," AUD "," EXP "}", TG_JWT_PAYLOAD},
    {"invalid UTF-8", "{" BASE "," AUD "," EXP ",\"x\":\"\xff\"}", TG_JWT_PAYLOAD},
};

static void claims(void **state)
{
    const struct tg_jwt_rules rules = {.issuer = TG_S("https://a"), .audiences = audiences, .audience_count = 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t exp_s = -1;
        enum tg_jwt_fault got = check(cases[i].claims, NULL, &rules, &exp_s);

        if (got != cases[i].want)
            fail_msg("%s: %s", cases[i].why, tg_jwt_fault_name(got));
        if (got != TG_JWT_OK)
            assert_int_equal(exp_s, -1);                 /* written on success only */
        else
            assert_true(exp_s > NOW);
    }
}

static void leeway(void **state)
{
    static const struct { const char *claims; enum tg_jwt_fault want; } at[] = {
        {"{" BASE "," AUD ",\"exp\":999971}", TG_JWT_OK},
        {"{" BASE "," AUD ",\"exp\":999970}", TG_JWT_EXPIRED},
        {"{" BASE "," AUD "," EXP ",\"nbf\":1000030}", TG_JWT_OK},
        {"{" BASE "," AUD "," EXP ",\"nbf\":1000031}", TG_JWT_NOT_BEFORE},
        {"{" BASE "," AUD "," EXP ",\"iat\":1000030}", TG_JWT_OK},
        {"{" BASE "," AUD "," EXP ",\"iat\":1000031}", TG_JWT_ISSUED_AHEAD},
        {"{" BASE "," AUD ",\"exp\":9007199254740992}", TG_JWT_OK},
    };
    const struct tg_jwt_rules rules = {.issuer = TG_S("https://a"), .audiences = audiences, .audience_count = 2,
                                       .leeway_s = 30};
    int64_t exp_s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        if (check(at[i].claims, "JWT", &rules, &exp_s) != at[i].want)
            fail_msg("%s", at[i].claims);
    }
    assert_int_equal(check("{" BASE "," AUD ",\"exp\":1000100.75}", "JWT", &rules, &exp_s), TG_JWT_OK);
    assert_int_equal(exp_s, 1000100);
}

static void no_provider(void **state)
{
    const struct tg_jwt_rules rules = {0};
    int64_t exp_s;

    (void)state;
    assert_int_equal(check("{\"sub\":\"u\"," EXP "}", NULL, &rules, &exp_s), TG_JWT_OK);
    assert_int_equal(check("{\"sub\":\"u\",\"iss\":\"x\",\"aud\":\"y\"," EXP "}", NULL, &rules, &exp_s), TG_JWT_OK);
    assert_int_equal(check("{\"sub\":\"u\",\"iss\":1," EXP "}", NULL, &rules, &exp_s), TG_JWT_ISSUER);
    assert_int_equal(check("{\"sub\":\"u\",\"aud\":[]," EXP "}", NULL, &rules, &exp_s), TG_JWT_AUDIENCE);
    assert_int_equal(tg_jwt_check(NULL, tg_slice(NULL, 0), &rules, NOW, &exp_s, NULL), TG_JWT_PAYLOAD);
}

static void types(void **state)
{
    #define PLAIN "{" BASE "," EXP "}"
    #define JTI "{" BASE "," EXP ",\"jti\":\"1\"}"
    #define WITH(c) "{" BASE "," EXP ",\"jti\":\"1\",\"" c "\":null}"
    static const struct { const char *typ, *claims; enum tg_token_use use; bool ok; } rows[] = {
        {NULL, PLAIN, TG_USE_ANY, true},                  {"JWT", PLAIN, TG_USE_ANY, true},
        {"jwt", PLAIN, TG_USE_ANY, true},                 {"at+jwt", PLAIN, TG_USE_ANY, true},
        {"AT+JWT", PLAIN, TG_USE_ANY, true},              {"application/at+jwt", PLAIN, TG_USE_ANY, true},
        {"application/jwt", PLAIN, TG_USE_ANY, true},     {"", PLAIN, TG_USE_ANY, false},
        {"JWT ", PLAIN, TG_USE_ANY, false},               {"JOSE", PLAIN, TG_USE_ANY, false},
        {"dpop+jwt", PLAIN, TG_USE_ANY, false},           {"logout+jwt", PLAIN, TG_USE_ANY, false},
        {"secevent+jwt", PLAIN, TG_USE_ANY, false},       {"application/JOSE+JSON", PLAIN, TG_USE_ANY, false},
        {"at+jwt", JTI, TG_USE_ACCESS, true},             {"JWT", JTI, TG_USE_ACCESS, true},
        {NULL, PLAIN, TG_USE_ACCESS, false},              {"at+jwt", PLAIN, TG_USE_ACCESS, false},
        {NULL, "{" BASE "," EXP ",\"jti\":\"\"}", TG_USE_ACCESS, false},
        {NULL, "{" BASE "," EXP ",\"jti\":1}", TG_USE_ACCESS, false},
        {NULL, WITH("nonce"), TG_USE_ACCESS, false},      {NULL, WITH("at_hash"), TG_USE_ACCESS, false},
        {NULL, WITH("c_hash"), TG_USE_ACCESS, false},     {NULL, WITH("s_hash"), TG_USE_ACCESS, false},
        {NULL, WITH("sid"), TG_USE_ACCESS, false},        {NULL, WITH("Nonce"), TG_USE_ACCESS, true},
        {"JWT", PLAIN, TG_USE_ID, true},                  {NULL, WITH("nonce"), TG_USE_ID, true},
        {"at+jwt", PLAIN, TG_USE_ID, false},              {"Application/AT+JWT", PLAIN, TG_USE_ID, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct tg_jwt_rules rules = {.token_use = rows[i].use};
        int64_t exp_s;
        enum tg_jwt_fault got = check(rows[i].claims, rows[i].typ, &rules, &exp_s);

        if (got != (rows[i].ok ? TG_JWT_OK : TG_JWT_TYPE))
            fail_msg("row %zu (%s, %s): %s", i, rows[i].typ ? rows[i].typ : "none", rows[i].claims,
                     tg_jwt_fault_name(got));
    }
}

static void profile_of_rfc_9068(void **state)
{
    #define AT(c) "{" BASE "," AUD "," EXP c "}"
    #define ALL ",\"client_id\":\"c\",\"iat\":1,\"jti\":\"j\""
    static const struct { const char *typ, *claims; bool ok; } rows[] = {
        {"at+jwt", AT(ALL), true},
        {"application/AT+JWT", AT(ALL), true},
        {"JWT", AT(ALL), false},
        {NULL, AT(ALL), false},
        {"at+jwt", AT(",\"iat\":1,\"jti\":\"j\""), false},
        {"at+jwt", AT(",\"client_id\":\"\",\"iat\":1,\"jti\":\"j\""), false},
        {"at+jwt", AT(",\"client_id\":\"c\",\"iat\":1"), false},
        {"at+jwt", AT(",\"client_id\":\"c\",\"iat\":1,\"jti\":7"), false},
        {"at+jwt", AT(",\"client_id\":\"c\",\"jti\":\"j\""), false},
    };
    const struct tg_jwt_rules rules = {.rfc9068 = true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t exp_s;

        if (check(rows[i].claims, rows[i].typ, &rules, &exp_s) != (rows[i].ok ? TG_JWT_OK : TG_JWT_TYPE))
            fail_msg("row %zu", i);
    }
}

static void required_claims(void **state)
{
    static const struct tg_slice required[] = {TG_S_INIT("tenant"), TG_S_INIT("a.b")};
    static const struct { const char *claims; enum tg_jwt_fault want; } rows[] = {
        {AT(",\"tenant\":\"x\",\"a.b\":[]"), TG_JWT_OK},
        {AT(",\"tenant\":false,\"a.b\":0"), TG_JWT_OK},
        {AT(",\"tenant\":null,\"a.b\":1"), TG_JWT_REQUIRED},
        {AT(",\"Tenant\":1,\"a.b\":1"), TG_JWT_REQUIRED},
        {AT(",\"tenant\":1,\"a\":{\"b\":1}"), TG_JWT_REQUIRED}, /* exactly this claim */
        {AT(""), TG_JWT_REQUIRED},
        {"{" BASE "," AUD ",\"exp\":1}", TG_JWT_REQUIRED}, /* expired, but not that alone */
        {"{" BASE "," AUD ",\"exp\":1,\"tenant\":1,\"a.b\":1}", TG_JWT_EXPIRED},
    };
    const struct tg_jwt_rules rules = {.required_claims = required, .required_claim_count = 2};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t exp_s;

        if (check(rows[i].claims, NULL, &rules, &exp_s) != rows[i].want)
            fail_msg("row %zu", i);
    }
}

/* NOW is 1000000. */
static void lifetime_and_age(void **state)
{
    static const struct { const char *claims; int64_t lifetime_s, age_s; enum tg_jwt_fault want; } rows[] = {
        {"{" BASE ",\"exp\":1000100,\"iat\":999800}", 300, 0, TG_JWT_OK},
        {"{" BASE ",\"exp\":1000100,\"iat\":999799}", 300, 0, TG_JWT_LIFETIME},
        {"{" BASE ",\"exp\":1000100,\"iat\":1000200}", 300, 0, TG_JWT_ISSUED_AHEAD},
        {"{" BASE ",\"exp\":9007199254740992,\"iat\":0}", 300, 0, TG_JWT_LIFETIME},
        {"{" BASE ",\"exp\":999000,\"iat\":998000}", 300, 0, TG_JWT_LIFETIME}, /* over, and never good */
        {"{" BASE ",\"exp\":999000,\"iat\":998800}", 300, 0, TG_JWT_EXPIRED},
        {"{" BASE ",\"exp\":1000100}", 300, 0, TG_JWT_TIMES},
        {"{" BASE ",\"exp\":1000100,\"iat\":\"999800\"}", 300, 0, TG_JWT_TIMES},
        {"{" BASE ",\"exp\":1000100}", 0, 60, TG_JWT_TIMES},
        {"{" BASE ",\"exp\":1000100,\"iat\":999911}", 0, 60, TG_JWT_OK},
        {"{" BASE ",\"exp\":1000100,\"iat\":999910}", 0, 60, TG_JWT_AGE},
        {"{" BASE ",\"exp\":999000,\"iat\":998000}", 0, 60, TG_JWT_EXPIRED},
        {"{" BASE ",\"exp\":1000100,\"iat\":999911}", 100, 60, TG_JWT_LIFETIME},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct tg_jwt_rules rules = {.leeway_s = 30, .max_lifetime_s = rows[i].lifetime_s,
                                           .max_age_s = rows[i].age_s};
        int64_t exp_s;

        if (check(rows[i].claims, NULL, &rules, &exp_s) != rows[i].want)
            fail_msg("row %zu", i);
    }
}

/* What RFC 7662 §2.2 leaves out may be missing; what is there is held to the same rules. */
static void answers(void **state)
{
    #define SAID "{\"sub\":\"u\",\"tenant\":1"
    static const struct tg_slice tenant = TG_S_INIT("tenant");
    static const struct { const char *claims; enum tg_jwt_fault want; } rows[] = {
        {SAID "}", TG_JWT_OK},
        {SAID ",\"iss\":\"https://a\"," AUD "," EXP "}", TG_JWT_OK},
        {SAID ",\"sid\":\"s\"}", TG_JWT_OK},
        {"{\"tenant\":1}", TG_JWT_OK},
        {"{\"tenant\":1,\"sub\":\"\"}", TG_JWT_SUBJECT},
        {"{\"tenant\":1,\"sub\":null}", TG_JWT_SUBJECT},
        {"{\"sub\":\"u\"}", TG_JWT_REQUIRED},
        {SAID ",\"iss\":\"https://b\"}", TG_JWT_ISSUER},
        {SAID ",\"iss\":null}", TG_JWT_ISSUER},
        {SAID ",\"aud\":\"x\"}", TG_JWT_AUDIENCE},
        {SAID ",\"aud\":null}", TG_JWT_AUDIENCE},
        {SAID ",\"exp\":999999}", TG_JWT_EXPIRED},
        {SAID ",\"exp\":null}", TG_JWT_TIMES},
        {SAID ",\"nbf\":1000001}", TG_JWT_NOT_BEFORE},
    };
    const struct tg_jwt_rules rules = {
        .issuer = TG_S("https://a"), .audiences = audiences, .audience_count = 2, .token_use = TG_USE_ACCESS,
        .rfc9068 = true, .introspected = true, .required_claims = &tenant, .required_claim_count = 1,
    };
    const struct tg_jwt_rules limited = {.introspected = true, .max_lifetime_s = 60};
    int64_t exp_s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        exp_s = -1;
        if (check(rows[i].claims, NULL, &rules, &exp_s) != rows[i].want)
            fail_msg("row %zu", i);
        if (i == 0)
            assert_true(exp_s == INT64_MAX);
    }
    assert_int_equal(check("{\"sub\":\"u\",\"iat\":1000000}", NULL, &limited, &exp_s), TG_JWT_TIMES);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(tg_jwt_fault_name(TG_JWT_EXPIRED), "expired");
    assert_string_equal(tg_jwt_fault_name(TG_JWT_AUDIENCE), "audience");
    assert_string_equal(tg_jwt_fault_name((enum tg_jwt_fault)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims), cmocka_unit_test(leeway), cmocka_unit_test(no_provider), cmocka_unit_test(types),
        cmocka_unit_test(profile_of_rfc_9068), cmocka_unit_test(required_claims),
        cmocka_unit_test(lifetime_and_age), cmocka_unit_test(answers), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
