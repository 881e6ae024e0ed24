/*
 * test_verify - mint and verify: what is made is accepted, and each broken rule is named; nothing secret is printed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "bench.h"
#include <sys/stat.h>

static struct bench bench;

static int setup(void **state)
{
    (void)state;
    bench_init(&bench);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bench_fini(&bench);
    return 0;
}

/* The token is never printed, and neither are its second and third parts. */
static void assert_kept_secret(const char *token, const struct captured *c)
{
    const char *payload = strchr(token, '.'), *signature = payload ? strchr(payload + 1, '.') : NULL;

    if (!signature || strlen(signature) < 20)
        return;
    char *text = tg_slice_dup(tg_slice(signature + 1, 16));
    assert_null(strstr(c->out, text));
    assert_null(strstr(c->err, text));
    free(text);
}

static const struct {
    const char *why;
    const char *mint[20];
    int code;
    const char *out;                                     /* part of the answer */
} cases[] = {
    {"good", {GOOD_CLAIMS}, 0, "the token is good"},
    {"tells the time", {GOOD_CLAIMS}, 0, "from now (RFC 7519 §4.1.4)"},
    {"at+jwt", {GOOD_CLAIMS, "--type", "at+jwt"}, 0, "the token is good"},
    {"one of several audiences", {GOOD_CLAIMS, "--audience", "other"}, 0, "the token is good"},
    {"expired", {GOOD_CLAIMS, "--expires", "-5m"}, 1, "BROKEN  expires     the token has expired: exp "},
    {"not before", {GOOD_CLAIMS, "--claim", "nbf=4102444800"}, 1, "BROKEN  not before"},
    {"issued ahead", {GOOD_CLAIMS, "--claim", "iat=4102444800"}, 1, "BROKEN  issued"},
    {"audience", {"--issuer", "https://idp.test", "--audience", "x", "--subject", "u"}, 1, "(RFC 7519 §4.1.3)"},
    {"no subject", {"--issuer", "https://idp.test", "--audience", "my-api"}, 1, "BROKEN  subject"},
    {"exp as text", {GOOD_CLAIMS, "--claim", "exp=\"soon\""}, 1, "BROKEN  times"},
};

static void minted(void **state)
{
    const char *const verify[] = {"verify", "-c", bench.config, "-", NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *token = bench_mint(&bench, cases[i].mint);

        capture(&bench.c, tg_cmd_verify, verify, tg_slice_str(token));
        if (bench.c.code != cases[i].code || !strstr(bench.c.out, cases[i].out))
            fail_msg("%s: %d\n%s\n%s", cases[i].why, bench.c.code, bench.c.out, bench.c.err);
        assert_kept_secret(token, &bench.c);
        free(token);
    }
}

/* What a provider may ask beside; each is told with its rule. */
static void strict_provider(void **state)
{
    static const char yaml[] =
        "upstream: http://127.0.0.1:1\n"
        "personal_access_tokens: {enabled: true}\nstate_dir: /tmp\n"
        "identity_providers: {corp: {issuer: https://idp.test, audiences: [my-api], jwks_file: k.json, leeway: 0s,\n"
        "  profile: rfc9068, required_claims: [tenant], max_lifetime: 2h, max_age: 10m}}\n";
    static const char all[] = "iat=%lld";
    static const struct {
        const char *why;
        const char *mint[20];
        int ago_s, code;
        const char *out;
    } table[] = {
        {"good", {"--type", "at+jwt", "--claim", "client_id=c", "--claim", "jti=j", "--claim", "tenant=t"}, 0, 0,
         "ok      required    (RFC 7519 §4)"},
        {"good, with the bounds", {"--type", "at+jwt", "--claim", "client_id=c", "--claim", "jti=j", "--claim",
                                   "tenant=t"}, 0, 0, "ok      lifetime    at most 7200 s"},
        {"a JWT of no profile", {"--claim", "client_id=c", "--claim", "jti=j", "--claim", "tenant=t"}, 0, 1,
         "BROKEN  type        "},
        {"no client_id", {"--type", "at+jwt", "--claim", "jti=j", "--claim", "tenant=t"}, 0, 1,
         "BROKEN  type        RFC 9068 requires \"client_id\", \"jti\" and \"iat\""},
        {"no tenant", {"--type", "at+jwt", "--claim", "client_id=c", "--claim", "jti=j"}, 0, 1, "BROKEN  required    "},
        {"tenant null", {"--type", "at+jwt", "--claim", "client_id=c", "--claim", "jti=j", "--claim", "tenant=null"}, 0,
         1, "tenant"},
        {"too long a life", {"--type", "at+jwt", "--claim", "client_id=c", "--claim", "jti=j", "--claim", "tenant=t",
                             "--expires", "3h"}, 0, 1, "BROKEN  lifetime    "},
        {"too old", {"--type", "at+jwt", "--claim", "client_id=c", "--claim", "jti=j", "--claim", "tenant=t"}, 700, 1,
         "BROKEN  age         "},
    };
    const char *const verify[] = {"verify", "-c", bench.config, "-", NULL};
    const char *const pats[] = {"verify", "-c", bench.config, "--provider", "personal_access_tokens", "-", NULL};

    (void)state;
    assert_int_equal(tg_file_replace(bench.config, tg_slice(yaml, sizeof yaml - 1), 0600, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *mint[24] = {GOOD_CLAIMS};
        char iat[40], *token;
        size_t n = 6;

        snprintf(iat, sizeof iat, all, (long long)(tg_clock_wall_ms() / 1000 - table[i].ago_s));
        mint[n++] = "--claim";
        mint[n++] = iat;
        for (size_t k = 0; table[i].mint[k]; k++)
            mint[n++] = table[i].mint[k];
        token = bench_mint(&bench, mint);
        capture(&bench.c, tg_cmd_verify, verify, tg_slice_str(token));
        if (bench.c.code != table[i].code || !strstr(bench.c.out, table[i].out))
            fail_msg("%s: %d\n%s\n%s", table[i].why, bench.c.code, bench.c.out, bench.c.err);
        if (i == 0) {
            capture(&bench.c, tg_cmd_verify, pats, tg_slice_str(token));
            assert_int_equal(bench.c.code, 1);
            assert_non_null(strstr(bench.c.err, "tollgate token list"));
        }
        free(token);
    }
}

/* With --jwks; the exit code is the answer of scripts. */
static void own_keys(void **state)
{
    static const char *const claims[] = {GOOD_CLAIMS, NULL};
    char *token = bench_mint(&bench, claims);
    const struct {
        const char *why;
        const char *argv[12];
        int code;
    } table[] = {
        {"good", {"verify", "--jwks", bench.jwks, "--alg", "ES256", "-"}, 0},
        {"a list of algorithms", {"verify", "--jwks", bench.jwks, "--alg", "RS256, ES256"}, 0},
        {"the default ones", {"verify", "--jwks", bench.jwks}, 0},
        {"a PEM file", {"verify", "--jwks", bench.key, "--alg", "ES256"}, 0},
        {"an argument is taken as it is, line end and all", {"verify", "--jwks", bench.jwks, token}, 1},
        {"issuer and audience", {"verify", "--jwks", bench.jwks, "--issuer", "https://idp.test", "--audience",
                                 "my-api"}, 0},
        {"another issuer", {"verify", "--jwks", bench.jwks, "--issuer", "https://idp.test/"}, 1},
        {"another audience", {"verify", "--jwks", bench.jwks, "--audience", "x"}, 1},
        {"another algorithm", {"verify", "--jwks", bench.jwks, "--alg", "RS256"}, 1},
        {"none", {"verify", "--jwks", bench.jwks, "--alg", "none"}, 1},
        {"unknown", {"verify", "--jwks", bench.jwks, "--alg", "ES257"}, 1},
        {"nothing", {"verify", "--jwks", bench.jwks, "--alg", ""}, 1},
        {"unknown beside good", {"verify", "--jwks", bench.jwks, "--alg", "ES256,none"}, 1},
        {"mixed", {"verify", "--jwks", bench.jwks, "--alg", "ES256,HS256"}, 1},
        {"no oct key for HS", {"verify", "--jwks", bench.jwks, "--alg", "HS256"}, 1},
        {"no key file", {"verify", "--jwks", "/nonexistent", "--alg", "ES256"}, 2},
        {"no keys in it", {"verify", "--jwks", bench.config, "--alg", "ES256"}, 1},
        {"bad leeway", {"verify", "--jwks", bench.jwks, "--leeway", "5"}, 2},
        {"both", {"verify", "--jwks", bench.jwks, "-c", bench.config}, 2},
        {"rules of nobody", {"verify", "-c", bench.config, "--alg", "ES256"}, 2},
        {"by name", {"verify", "-c", bench.config, "--provider", "corp"}, 0},
        {"an unknown provider", {"verify", "-c", bench.config, "--provider", "crop"}, 2},
        {"keys elsewhere", {"verify", "-c", bench.config, "--provider", "other"}, 1},
        {"no configuration", {"verify", "-c", "/nonexistent"}, 78},
        {"signature only", {"verify", "--jwks", bench.jwks, "--signature-only"}, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        capture(&bench.c, tg_cmd_verify, table[i].argv, tg_slice_str(token));
        if (bench.c.code != table[i].code)
            fail_msg("%s: %d\n%s\n%s", table[i].why, bench.c.code, bench.c.out, bench.c.err);
        if (bench.c.code != 0)
            assert_true(bench.c.err[0] || strstr(bench.c.out, "refused"));
        assert_kept_secret(token, &bench.c);
    }
    free(token);
}

/* Any change of a signed token is noticed, and no garbage is taken. */
static void broken_tokens(void **state)
{
    static const char *const claims[] = {GOOD_CLAIMS, NULL};
    const char *const verify[] = {"verify", "--jwks", bench.jwks, "--alg", "ES256", "-", NULL};
    char *token = bench_mint(&bench, claims);
    size_t len = strlen(token) - 1;                      /* without the line end */

    (void)state;
    for (size_t at = 0; at < len; at += 5) {
        char *changed = tg_slice_dup(tg_slice(token, len));

        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        capture(&bench.c, tg_cmd_verify, verify, tg_slice_str(changed));
        assert_int_equal(bench.c.code, 1);
        capture(&bench.c, tg_cmd_verify, verify, tg_slice(token, at));
        assert_int_equal(bench.c.code, 1);
        free(changed);
    }
    static const struct {
        const char *token, *out;
    } shapes[] = {{"opaque", "opaque"}, {"a.b.c.d.e", "JWE"}, {"Bearer a.b.c", "leave out"}, {"..", "refused"}};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        capture(&bench.c, tg_cmd_verify, verify, tg_slice_str(shapes[i].token));
        assert_int_equal(bench.c.code, 1);
        assert_non_null(strstr(bench.c.out, shapes[i].out));
    }
    free(token);
}

static void keys_are_kept(void **state)
{
    const char *const again[] = {"mint", "--generate", "ES256", "--key", bench.key, NULL};
    const char *const hmac[] = {"mint", "--generate", "HS256", "--key", bench.key, "--force", NULL};
    struct tg_buf before = {0}, after = {0};
    struct stat st;

    (void)state;
    assert_int_equal(stat(bench.key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(tg_file_read(bench.key, 65536, &before, NULL), TG_OK);
    capture(&bench.c, tg_cmd_mint, again, TG_S(""));
    assert_int_equal(bench.c.code, 1);
    assert_non_null(strstr(bench.c.err, "--force"));
    capture(&bench.c, tg_cmd_mint, hmac, TG_S(""));
    assert_int_equal(bench.c.code, 2);
    assert_int_equal(tg_file_read(bench.key, 65536, &after, NULL), TG_OK);
    assert_true(tg_slice_eq(tg_buf_slice(&before), tg_buf_slice(&after)));
    tg_buf_fini(&before);
    tg_buf_fini(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minted),
        cmocka_unit_test(own_keys),
        cmocka_unit_test(broken_tokens),
        cmocka_unit_test(keys_are_kept),
        cmocka_unit_test(strict_provider),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
