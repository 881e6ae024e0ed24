/* authn with keys given in the configuration: what is accepted, what is refused and under which word. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/authn.h"
#include "base/clock.h"
#include "base/metric.h"
#include "io/worker.h"
#include "issuer.h"
#include <stdio.h>
#include <stdlib.h>

#define NOW_S INT64_C(1795255200)
#define ANY (~UINT64_C(0))

static struct tg_worker worker;                          /* local keys: nothing is ever posted */
static struct tg_signer *keys[3], *stranger, *secret, *bytes_of_public_key;
static struct tg_provider items[3];
static struct tg_providers providers = {items, 3};
static struct tg_slice audiences[] = {TG_S_INIT("api"), TG_S_INIT("other-api")};
static struct tg_authn *authn;
static const struct tg_auth_services services;

static void never(void *arg)
{
    (void)arg;
    fail_msg("nothing to wait for");
}

static enum tg_authn_result ask(struct tg_slice token, uint64_t allowed, int64_t now_s, const struct tg_identity **out,
                                const char **reason)
{
    const struct tg_authn_request request = {
        .token = token, .allowed = allowed, .now_ms = now_s * 1000, .done = never,
    };

    return tg_authn_verify(authn, &request, out, reason);
}

static enum tg_authn_result verify_at(struct tg_slice token, uint64_t allowed, int64_t now_s, const char **reason)
{
    const struct tg_identity *id = NULL;
    enum tg_authn_result result = ask(token, allowed, now_s, &id, reason);

    assert_int_equal(result == TG_AUTHN_OK, id != NULL);
    assert_non_null(*reason);
    if (id)
        assert_true(tg_slice_eq(id->issuer, id->provider->issuer));
    tg_identity_unref(id);
    return result;
}

#define EXP "\"exp\":1795255260"
#define GOOD "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}"
static const struct {
    const char *why, *claims;
    enum tg_authn_result want;
    const char *reason;
} cases[] = {
    {"plain", GOOD, TG_AUTHN_OK, "ok"},
    {"aud is an array", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":[\"x\",\"other-api\"]," EXP "}", TG_AUTHN_OK,
     "ok"},
    {"a fraction", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":1795255260.5}", TG_AUTHN_OK, "ok"},
    {"within the leeway", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":1795255171}", TG_AUTHN_OK,
     "ok"},
    {"just over", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":1795255170}", TG_AUTHN_EXPIRED,
     "expired"},
    {"long over", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":1}", TG_AUTHN_EXPIRED, "expired"},
    {"no exp", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\"}", TG_AUTHN_INVALID, NULL},
    {"exp is text", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":\"1795255260\"}", TG_AUTHN_INVALID,
     NULL},
    {"nbf ahead", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\"," EXP ",\"nbf\":1795255231}",
     TG_AUTHN_INVALID, NULL},
    {"wrong aud", "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"apis\"," EXP "}", TG_AUTHN_INVALID, "audience"},
    {"no aud", "{\"iss\":\"https://one\",\"sub\":\"u\"," EXP "}", TG_AUTHN_INVALID, "audience"},
    {"unknown iss", "{\"iss\":\"https://one/\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID, "issuer"},
    {"iss in another case", "{\"iss\":\"HTTPS://one\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID,
     "issuer"},
    {"no iss", "{\"sub\":\"u\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID, "issuer"},
    {"empty iss", "{\"iss\":\"\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID, "issuer"},
    {"iss is an array", "{\"iss\":[\"https://one\"],\"sub\":\"u\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID,
     "issuer"},
    {"no sub", "{\"iss\":\"https://one\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID, NULL},
    {"empty sub", "{\"iss\":\"https://one\",\"sub\":\"\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID, NULL},
    {"key of another provider", "{\"iss\":\"https://two\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}", TG_AUTHN_INVALID,
     "unknown-kid"},
};

static void claims(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_slice token = issuer_token(keys[0], cases[i].claims);

        for (int round = 0; round < 2; round++) {        /* anew, and from the cache: never another answer */
            const char *reason;
            enum tg_authn_result got = verify_at(token, ANY, NOW_S, &reason);

            if (got != cases[i].want || (cases[i].reason && strcmp(reason, cases[i].reason) != 0))
                fail_msg("%s, round %d: %d %s", cases[i].why, round, got, reason);
        }
        free((char *)(uintptr_t)token.ptr);
    }
}

/* Whatever an attacker signs with: refused, and an expired forgery is not called expired. */
static void forgeries(void **state)
{
    static const char *const texts[] = {GOOD, "{\"iss\":\"https://one\",\"sub\":\"u\",\"aud\":\"api\",\"exp\":1}"};
    const struct tg_signer *signers[] = {stranger, secret, bytes_of_public_key};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(signers); i++)
        for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
            struct tg_slice token = issuer_token(signers[i], texts[k]);
            const char *reason;

            assert_int_equal(verify_at(token, ANY, NOW_S, &reason), TG_AUTHN_INVALID);
            assert_string_not_equal(reason, "expired");
            free((char *)(uintptr_t)token.ptr);
        }
}

static void unsigned_tokens(void **state)
{
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{}", "{\"alg\":\"HS256\"}",
                                          "{\"alg\":\"ES256\"}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        for (int dots = 1; dots <= 2; dots++) {
            struct tg_buf token = {0};
            const char *reason;

            tg_base64url_encode(tg_slice_str(headers[i]), &token);
            tg_buf_addc(&token, '.');
            tg_base64url_encode(tg_slice_str(GOOD), &token);
            if (dots == 2)
                tg_buf_addc(&token, '.');
            assert_int_equal(verify_at(tg_buf_slice(&token), ANY, NOW_S, &reason), TG_AUTHN_INVALID);
            tg_buf_fini(&token);
        }
}

/* No part of a good token and no token with one byte changed is good. */
static void damaged(void **state)
{
    struct tg_slice token = issuer_token(keys[1], "{\"iss\":\"https://two\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}");
    char *copy = tg_slice_dup(token);
    const char *reason;

    (void)state;
    assert_int_equal(verify_at(token, ANY, NOW_S, &reason), TG_AUTHN_OK);
    for (size_t cut = 0; cut < token.len; cut++)
        assert_int_equal(verify_at(tg_slice(token.ptr, cut), ANY, NOW_S, &reason), TG_AUTHN_INVALID);
    for (size_t i = 0; i < token.len; i++) {
        copy[i] = (char)(token.ptr[i] == 'A' ? 'B' : 'A');
        assert_int_equal(verify_at(tg_slice(copy, token.len), ANY, NOW_S, &reason), TG_AUTHN_INVALID);
        copy[i] = token.ptr[i];
    }
    free(copy);
    free((char *)(uintptr_t)token.ptr);
}

static void secrets_and_other_types(void **state)
{
    struct tg_slice hs = issuer_token(secret, "{\"iss\":\"https://three\",\"sub\":\"u\",\"aud\":\"api\"," EXP "}");
    const char *reason;

    (void)state;
    assert_int_equal(verify_at(hs, ANY, NOW_S, &reason), TG_AUTHN_OK);
    free((char *)(uintptr_t)hs.ptr);
}

/* A route names its providers: also a token that another route put into the cache is refused there. */
static void allowed_providers(void **state)
{
    struct tg_slice token = issuer_token(keys[0], "{\"iss\":\"https://one\",\"sub\":\"v\",\"aud\":\"api\"," EXP "}");
    const char *reason;

    (void)state;
    assert_int_equal(verify_at(token, 6, NOW_S, &reason), TG_AUTHN_INVALID);
    assert_string_equal(reason, "provider");
    assert_int_equal(verify_at(token, 1, NOW_S, &reason), TG_AUTHN_OK);
    assert_int_equal(verify_at(token, 6, NOW_S, &reason), TG_AUTHN_INVALID);
    assert_int_equal(verify_at(token, 0, NOW_S, &reason), TG_AUTHN_INVALID);
    assert_int_equal(verify_at(token, ANY, NOW_S, &reason), TG_AUTHN_OK);
    free((char *)(uintptr_t)token.ptr);
}

static int64_t counter(const char *name)
{
    return tg_metric_value(tg_metric_series(tg_metric_family(TG_COUNTER, name, "", ""), NULL));
}

static void cached_until_exp_and_leeway(void **state)
{
    struct tg_slice token = issuer_token(keys[0], "{\"iss\":\"https://one\",\"sub\":\"w\",\"aud\":\"api\"," EXP
                                                  ",\"nbf\":1795255000,\"email\":\"w@example.com\"}");
    const struct tg_identity *a = NULL, *b = NULL;
    const char *reason;
    int64_t hits = counter("tollgate_token_cache_hits_total"), misses = counter("tollgate_token_cache_misses_total");

    (void)state;
    assert_int_equal(ask(token, ANY, NOW_S, &a, &reason), TG_AUTHN_OK);
    assert_int_equal(ask(token, ANY, NOW_S, &b, &reason), TG_AUTHN_OK);
    assert_ptr_equal(a, b);                              /* the same object: no work was done */
    assert_true(tg_slice_eq(a->subject, TG_S("w")) && tg_slice_eq(a->email, TG_S("w@example.com")) &&
                a->exp_s == NOW_S + 60);
    assert_int_equal(counter("tollgate_token_cache_hits_total") - hits, 1);
    assert_int_equal(counter("tollgate_token_cache_misses_total") - misses, 1);
    /* valid once stays valid: nbf not looked at */
    assert_int_equal(verify_at(token, ANY, NOW_S - 300, &reason), TG_AUTHN_OK);
    assert_int_equal(verify_at(token, ANY, NOW_S + 89, &reason), TG_AUTHN_OK);
    assert_int_equal(verify_at(token, ANY, NOW_S + 90, &reason), TG_AUTHN_EXPIRED);
    assert_true(tg_slice_eq(a->subject, TG_S("w")));     /* held over the end of its entry */
    tg_identity_unref(a);
    tg_identity_unref(b);
    free((char *)(uintptr_t)token.ptr);
}

/* A token that is in the cache gets too old as well. */
static void cached_until_max_age(void **state)
{
    struct tg_slice token = issuer_token(keys[1], "{\"iss\":\"https://two\",\"sub\":\"w\",\"aud\":\"api\"," EXP
                                                  ",\"iat\":1795255200}");
    const char *reason;

    (void)state;
    items[1].rules.max_age_s = 20;
    assert_int_equal(verify_at(token, ANY, NOW_S, &reason), TG_AUTHN_OK);
    assert_int_equal(verify_at(token, ANY, NOW_S + 49, &reason), TG_AUTHN_OK);
    assert_int_equal(verify_at(token, ANY, NOW_S + 50, &reason), TG_AUTHN_INVALID);
    assert_string_equal(reason, "age");
    items[1].rules.max_age_s = 0;
    free((char *)(uintptr_t)token.ptr);
}

/* What a token is bound to is known, or it is refused; nobody else than its provider may have been asked. */
static void bound_tokens(void **state)
{
    static const struct { const char *cnf; enum tg_authn_result want; const char *reason; } cnfs[] = {
        {"{\"jkt\":\"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\"}", TG_AUTHN_OK, "ok"},
        {"{\"jkt\":\"short\"}", TG_AUTHN_INVALID, "payload"},
        {"{\"jwk\":{}}", TG_AUTHN_INVALID, "payload"},
        {"null", TG_AUTHN_INVALID, "payload"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cnfs); i++) {
        struct tg_buf text = {0};
        struct tg_slice token;

        tg_buf_addf(&text, "{\"iss\":\"https://one\",\"sub\":\"w\",\"aud\":\"api\"," EXP ",\"cnf\":%s}", cnfs[i].cnf);
        token = issuer_token(keys[0], tg_buf_cstr(&text));
        for (int round = 0; round < 2; round++) {
            const char *reason;

            assert_int_equal(verify_at(token, ANY, NOW_S, &reason), cnfs[i].want);
            assert_string_equal(reason, cnfs[i].reason);
        }
        tg_buf_fini(&text);
        free((char *)(uintptr_t)token.ptr);
    }
}

static void no_keys_is_not_the_callers_fault(void **state)
{
    struct tg_slice token = issuer_token(keys[0], "{\"iss\":\"https://one\",\"sub\":\"x\",\"aud\":\"api\"," EXP "}");
    struct tg_jwks *kept = items[0].local;
    const char *reason;

    (void)state;
    items[0].local = NULL;                               /* as a remote provider that was never reached */
    assert_int_equal(verify_at(token, ANY, NOW_S, &reason), TG_AUTHN_UNAVAILABLE);
    items[0].local = kept;
    assert_int_equal(verify_at(token, ANY, NOW_S, &reason), TG_AUTHN_OK);
    free((char *)(uintptr_t)token.ptr);
}

static void hit_costs_little(void **state)
{
    struct tg_slice token = issuer_token(keys[0], GOOD);
    const char *reason;
    int64_t start_us;

    (void)state;
    verify_at(token, ANY, NOW_S, &reason);
    start_us = tg_clock_mono_us();
    for (int i = 0; i < 20000; i++)
        verify_at(token, ANY, NOW_S, &reason);
    print_message("%.0f ns a hit\n", (double)(tg_clock_mono_us() - start_us) / 20);
    free((char *)(uintptr_t)token.ptr);
}

static void make_provider(size_t i, const char *issuer, tg_algs algs, const struct tg_signer *signer)
{
    struct tg_buf set = {0};

    items[i].issuer = tg_slice_str(issuer);
    items[i].algs = algs;
    items[i].rules = (struct tg_jwt_rules){.issuer = tg_slice_str(issuer), .audiences = audiences,
                                            .audience_count = ARRAY_LEN(audiences), .leeway_s = 30};
    if (!signer)
        return;
    issuer_jwks(signer, NULL, &set);
    tg_assert(tg_jwks_parse(tg_buf_slice(&set), false, &items[i].local, NULL) == TG_OK);
    tg_buf_fini(&set);
}

static int setup(void **state)
{
    struct tg_slice words = TG_S("0123456789abcdef0123456789abcdef");
    struct tg_buf set = {0};

    (void)state;
    keys[0] = issuer_key(TG_ALG_RS256);
    keys[1] = issuer_key(TG_ALG_ES256);
    stranger = issuer_key(TG_ALG_RS256);
    make_provider(0, "https://one", TG_ALGS_DEFAULT, keys[0]);
    make_provider(1, "https://two", TG_ALGS_DEFAULT, keys[1]);
    make_provider(2, "https://three", TG_ALG_BIT(TG_ALG_HS256), NULL);
    tg_assert(tg_jwks_from_secret(words, &items[2].local, NULL) == TG_OK);
    tg_assert(tg_signer_load(TG_ALG_HS256, words, TG_S(""), &secret, NULL) == TG_OK);
    issuer_jwks(keys[0], NULL, &set);                    /* the classic: the public key as an HMAC secret */
    tg_assert(tg_signer_load(TG_ALG_HS256, tg_buf_slice(&set), TG_S(""), &bytes_of_public_key, NULL) == TG_OK);
    tg_buf_fini(&set);
    authn = tg_authn_new(&worker, &providers, &services, 64);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_authn_free(authn);
    tg_authn_free(NULL);
    assert_int_equal(tg_metric_value(tg_metric_series(tg_metric_family(TG_GAUGE, "tollgate_token_cache_entries", "",
                                                                       ""), NULL)),
                     0);
    tg_providers_fini(&providers);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        tg_signer_free(keys[i]);
    tg_signer_free(stranger);
    tg_signer_free(secret);
    tg_signer_free(bytes_of_public_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims),            cmocka_unit_test(forgeries),
        cmocka_unit_test(unsigned_tokens),   cmocka_unit_test(damaged),
        cmocka_unit_test(secrets_and_other_types), cmocka_unit_test(allowed_providers),
        cmocka_unit_test(cached_until_exp_and_leeway), cmocka_unit_test(no_keys_is_not_the_callers_fault),
        cmocka_unit_test(cached_until_max_age), cmocka_unit_test(bound_tokens), cmocka_unit_test(hit_costs_little),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
