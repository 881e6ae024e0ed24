/*
 * test_explain - one request told: route, caller, criteria, decision and status, as on a real request.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/json.h"
#include "bench.h"

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

#define STAFF "{\"sub\":\"u1\",\"email\":\"a@example.com\"}"

static const struct {
    const char *why;
    const char *argv[14];                                /* behind explain -c FILE */
    int status;
    const char *out;
} cases[] = {
    {"allowed", {"--path", "/api/1", "--claims", STAFF}, 200, "domain-ok"},
    {"says what it saw", {"--path", "/api/1", "--claims", STAFF}, 200, "saw example.com"},
    {"the tier of a plan", {"--path", "/api", "--claims",
                            "{\"sub\":\"u\",\"email\":\"a@example.com\",\"plan\":\"enterprise\"}"},
     200, "enterprise: 10000"},
    {"denied, with the policy's words", {"--path", "/api", "--claims", "{\"sub\":\"u\",\"email\":\"a@b\"}"}, 403,
     "only staff"},
    {"nobody", {"--path", "/api"}, 401, "unauthenticated"},
    {"claims null are nobody", {"--path", "/api", "--claims", "null"}, 401, "no token"},
    {"public", {"--url", "https://open.test/x"}, 200, "open"},
    {"a bad token on a public route", {"--url", "https://open.test/x", "--token", "x.y.z"}, 401, "refused"},
    {"a malformed field", {"--path", "/api", "--header", "Authorization: Bearer"}, 400, "malformed"},
    {"two tokens", {"--path", "/api?access_token=x", "--header", "Authorization: Bearer abc"}, 400, "malformed"},
    {"another scheme is no token", {"--path", "/api", "--header", "Authorization: Basic abc"}, 401, "no token"},
    {"no route", {"--path", "/nothing"}, 404, "no route matches"},
    {"host and path", {"--host", "OPEN.test:8443", "--path", "/"}, 200, "open"},
    {"a path with two readings", {"--path", "/api/%2e%2e%2fx"}, 400, "%2F"},
    {"the canonical path decides", {"--path", "/x/../api//1", "--claims", STAFF}, 200, "/api/1 is what policies see"},
    {"TRACE", {"--method", "TRACE", "--path", "/api", "--claims", STAFF}, 405, "TRACE"},
    {"the provider's groups claim",
     {"--path", "/teams", "--claims",
      "{\"iss\":\"https://idp.test\",\"sub\":\"u\",\"teams\":[\"red\"]}"}, 200, "groups-ok"},
    {"another issuer's groups claim", {"--path", "/teams", "--claims", "{\"sub\":\"u\",\"teams\":[\"red\"]}"}, 403,
     "groups"},
};

static void run(const char *const *more, bool json)
{
    const char *argv[24] = {"explain", "-c", bench.config};
    size_t n = 3;

    if (json)
        argv[n++] = "--json";
    for (; *more && n < 23; more++)
        argv[n++] = *more;
    capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
}

static void told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char status[32];

        snprintf(status, sizeof status, "status    %d", cases[i].status);
        run(cases[i].argv, false);
        if (bench.c.code != (cases[i].status == 200 ? 0 : 1) || !strstr(bench.c.out, status) ||
            !strstr(bench.c.out, cases[i].out) || strchr(bench.c.out, '\033'))
            fail_msg("%s: %d\n%s\n%s", cases[i].why, bench.c.code, bench.c.out, bench.c.err);
    }
}

static void as_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cJSON *root = NULL;
        int64_t status;

        run(cases[i].argv, true);
        assert_int_equal(tg_json_parse(tg_slice(bench.c.out, strlen(bench.c.out)), NULL, &root, NULL), TG_OK);
        assert_true(tg_json_int(tg_json_get(root, "status"), &status));
        assert_int_equal(status, cases[i].status);
        assert_true(cJSON_IsArray(tg_json_get(root, "policies")));
        cJSON_Delete(root);
    }
}

static void with_a_token(void **state)
{
    static const char *const good[] = {GOOD_CLAIMS, "--email", "a@example.com", NULL};
    static const char *const old[] = {GOOD_CLAIMS, "--email", "a@example.com", "--expires", "-1m", NULL};
    static const char *const foreign[] = {"--issuer", "https://o.test", "--audience", "x", "--subject", "u", NULL};
    const struct {
        const char *why;
        const char *const *mint;
        const char *url;
        int status;
        const char *out;
    } table[] = {
        {"verified", good, "http://any.test/api", 200, "by token, provider corp"},
        {"expired", old, "http://any.test/api", 401, "expired (RFC 7519"},
        {"of another provider", good, "https://only.test/", 401, "does not take tokens of provider corp"},
        {"of a provider with keys elsewhere", foreign, "http://any.test/api", 503, "cannot be fetched"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *token = bench_mint(&bench, table[i].mint), status[32];
        const char *const argv[] = {"explain", "-c", bench.config, "--url", table[i].url, "--token", "-", NULL};

        snprintf(status, sizeof status, "status    %d", table[i].status);
        capture(&bench.c, tg_cmd_explain, argv, tg_slice_str(token));
        if (!strstr(bench.c.out, status) || !strstr(bench.c.out, table[i].out))
            fail_msg("%s\n%s\n%s", table[i].why, bench.c.out, bench.c.err);
        assert_null(strstr(bench.c.out, strrchr(token, '.')));
        free(token);
    }
}

/* A policy alone, bare or as an item; the configuration's file is used for it. */
static void policy_alone(void **state)
{
    const char *const allowed[] = {"explain", "--policy", bench.config, "--method", "GET", NULL};
    static const char document[] = "{\"allow\":{\"and\":[{\"http_method\":{\"is\":\"GET\"}}]}}";
    static const char item[] = "name: x\nppl: {deny: {and: [{accept: true}]}}\n";

    (void)state;
    assert_int_equal(tg_file_replace(bench.config, tg_slice(document, sizeof document - 1), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_explain, allowed, TG_S(""));
    assert_int_equal(bench.c.code, 0);
    assert_int_equal(tg_file_replace(bench.config, tg_slice(item, sizeof item - 1), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_explain, allowed, TG_S(""));
    assert_int_equal(bench.c.code, 1);
    assert_int_equal(tg_file_replace(bench.config, TG_S("allow: 1\n"), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_explain, allowed, TG_S(""));
    assert_int_equal(bench.c.code, 78);
}

/* A policy alone, and the client's certificate. */
static void client_certificates(void **state)
{
    static const char document[] = "{allow: {or: [{client_certificate: {san_email: orders@example.com}}]},\n"
                                   " deny: {or: [{invalid_client_certificate: true}]}}\n";
    static const char pem[] = TG_VECTORS "/certificate.pem";
    static const struct {
        const char *argv[3];
        int code;
        const char *out[2], *err;                        /* parts of them */
    } table[] = {
        {{"--client-cert", pem}, 0, {"client    CN=orders.svc", "its certificate is valid"}, ""},
        {{"--client-cert", pem}, 0,
         {"saw {\"san_email\":[\"orders@example.com\"]}", "because of client-certificate-ok"}, ""},
        {{"--client-cert", pem, "--client-cert-invalid"}, 1,
         {"its certificate is not valid", "deny, because of invalid-client-certificate"}, ""},
        {{"--client-cert", "none"}, 1, {"client    no certificate", "because of client-certificate-required"}, ""},
        {{NULL}, 1, {"saw (none)", "because of client-certificate-unauthorized"}, "while no client CA is configured"},
        {{"--client-cert", "/nowhere"}, 2, {"", ""}, "--client-cert: "},
        {{"--client-cert-invalid"}, 2, {"", ""}, "needs the certificate"},
        {{"--client-cert", "none", "--client-cert-invalid"}, 2, {"", ""}, "needs the certificate"},
    };
    const char *const as_json[] = {"explain", "--json", "--policy", bench.config, "--client-cert", pem, NULL};
    static const char *const with_batch[] = {"explain", "--batch", "--client-cert", pem, NULL};

    (void)state;
    assert_int_equal(tg_file_replace(bench.config, tg_slice(document, sizeof document - 1), 0600, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *const argv[] = {"explain",        "--policy",       bench.config,     table[i].argv[0],
                                    table[i].argv[1], table[i].argv[2], NULL};

        capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
        if (bench.c.code != table[i].code || !strstr(bench.c.out, table[i].out[0]) ||
            !strstr(bench.c.out, table[i].out[1]) || !strstr(bench.c.err, table[i].err))
            fail_msg("%zu: %d\n%s\n%s", i, bench.c.code, bench.c.out, bench.c.err);
        if (table[i].code != 2 && !*table[i].err)
            assert_string_equal(bench.c.err, "");
    }
    capture(&bench.c, tg_cmd_explain, as_json, TG_S(""));
    assert_non_null(strstr(bench.c.out, "\"fingerprint\":\"fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e"
                                        "8a0d\",\"valid\":true}"));
    capture(&bench.c, tg_cmd_explain, with_batch, TG_S(""));
    assert_int_equal(bench.c.code, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told),
        cmocka_unit_test(as_json),
        cmocka_unit_test(with_a_token),
        cmocka_unit_test(policy_alone),
        cmocka_unit_test(client_certificates),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
