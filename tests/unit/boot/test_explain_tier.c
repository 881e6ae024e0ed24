/*
 * test_explain_tier - what counts a request, as `explain`, `explain --batch` and `check` tell it.
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

#define PROVIDERS "identity_providers: {corp: {issuer: https://idp.test, audiences: [my-api], jwks_file: k.json}}\n"
#define TIERS \
    "  tiers:\n" \
    "    - {name: burst, when: [{claim/plan: burst}], windows: [{limit: 1000, window: 1m},\n" \
    "       {limit: 50, window: 1s, algorithm: sliding}, {limit: 20000, window: 24h, mode: shadow}]}\n" \
    "    - {name: bought, when: [{claim/plan: bought}], limit: 10, window: 1m, limit_claim: quota,\n" \
    "       limit_ceiling: 500}\n" \
    "    - {name: teams, when: [{claim/plan: team}], limit: 7, window: 90s, key: claim/org}\n" \
    "    - {name: mixed, when: [{claim/plan: mixed}], windows: [{limit: 8, window: 1s, mode: shadow}, {limit: 9}]}\n" \
    "    - {name: quiet, when: [{claim/plan: quiet}], limit: 7, window: 1m, mode: shadow}\n" \
    "    - {name: members, limit: 1, window: 2h}\n" \
    "    - {name: unauthenticated, limit: 3, window: 1m}\n"
#define ROUTES \
    "routes:\n" \
    "  - {name: all, prefix: /all, to: 'http://127.0.0.1:1', rate_limits: {tiers: [\n" \
    "     {name: members, limit: 9, window: 1s, key: route}]}}\n" \
    "  - {name: free, prefix: /free, to: 'http://127.0.0.1:1', rate_limits: off}\n" \
    "  - {name: strangers, prefix: /strangers, to: 'http://127.0.0.1:1', rate_limits: {tiers: [\n" \
    "     {name: unauthenticated, limit: 2, window: 1m}]}}\n" \
    "  - {name: api, prefix: /, to: 'http://127.0.0.1:1'}\n"
#define STORE "  store: redis://joe:s3cret@cache.test:6380/2\n  store_secret: 0123456789abcdef\n"

static void write_config(const char *store)
{
    struct tg_buf text = {0};

    tg_buf_addf(&text, PROVIDERS "rate_limits:\n%s" TIERS ROUTES, store);
    assert_int_equal(tg_file_replace(bench.config, tg_buf_slice(&text), 0600, NULL), TG_OK);
    tg_buf_fini(&text);
}

#define WHO(more) "{\"iss\":\"https://idp.test\",\"sub\":\"u1\"" more "}"

static const struct {
    const char *why, *path, *claims, *ip;                /* claims NULL: nobody; ip NULL: not said */
    const char *out[4];                                  /* parts of the text */
    const char *json[2];                                 /* and of --json */
} cases[] = {
    {"one limit", "/", WHO(""), NULL,
     {"\ntier      members: 1 request in 2h\n", "\ncounts    subject u1 of https://idp.test; in memory\n", "", ""},
     {"\"tier\":{\"name\":\"members\",\"own\":false,\"limit\":1,\"window_s\":7200,\"enforced\":true,\"windows\":["
      "{\"name\":\"members\",\"limit\":1,\"window_s\":7200,\"algorithm\":\"fixed\",\"enforced\":true,\"limit_claim\":"
      "null}],",
      "\"key\":\"subject\",\"key_claim\":null,\"key_value\":null,\"counter\":\"memory\",\"store\":null,"
      "\"when_store_fails\":null}"}},
    {"several, the shortest first", "/", WHO(",\"plan\":\"burst\""), NULL,
     {"\ntier      burst: 3 limits at once\nlimit     50 requests in 1s, sliding\nlimit     1000 requests in 1m\n"
      "limit     20000 requests in 24h, counted and not enforced\ncounts    subject u1", "", "", ""},
     {"\"limit\":50,\"window_s\":1,\"enforced\":true,", "\"algorithm\":\"sliding\""}},
    {"none of them enforced", "/", WHO(",\"plan\":\"quiet\""), NULL,
     {"tier      quiet: 7 requests in 1m, counted and not enforced\n", "", "", ""}, {"\"enforced\":false,", ""}},
    {"the first that is enforced", "/", WHO(",\"plan\":\"mixed\""), NULL,
     {"tier      mixed: 2 limits at once\n", "", "", ""},
     {"\"limit\":9,\"window_s\":60,\"enforced\":true,\"windows\"", ""}},
    {"a claim's number", "/", WHO(",\"plan\":\"bought\",\"quota\":300"), NULL,
     {"tier      bought: 300 requests in 1m, as claim quota says\n", "", "", ""},
     {"\"limit_claim\":{\"claim\":\"quota\",\"value\":\"300\",\"ceiling\":500,\"used\":\"claim\"}",
      "\"limit\":300,\"window_s\":60,\"enforced\""}},
    {"just the ceiling", "/", WHO(",\"plan\":\"bought\",\"quota\":500"), NULL,
     {"500 requests in 1m, as claim quota says\n", "", "", ""}, {"\"used\":\"claim\"", ""}},
    {"above it", "/", WHO(",\"plan\":\"bought\",\"quota\":501"), NULL,
     {"500 requests in 1m, the ceiling: claim quota says 501\n", "", "", ""}, {"\"used\":\"ceiling\"", ""}},
    {"nothing for nobody", "/", WHO(",\"plan\":\"bought\",\"quota\":0"), NULL,
     {"0 requests in 1m, as claim quota says: nobody is admitted\n",
      "\nstatus    429 Too Many Requests: the limit of this caller is 0, so nobody is admitted\n", "", ""},
     {"\"limit\":0,", "\"status\":429"}},
    {"an object for a number", "/", WHO(",\"plan\":\"bought\",\"quota\":{\"a\":1}"), NULL,
     {"10 requests in 1m: claim quota is no whole number from 0 up, but {\"a\":1}\n", "", "", ""},
     {"\"used\":\"unusable\"", ""}},
    {"no such claim", "/", WHO(",\"plan\":\"bought\""), NULL,
     {"10 requests in 1m: the token has no claim quota\n", "", "", ""}, {"\"value\":null", "\"used\":\"absent\""}},
    {"as text", "/", WHO(",\"plan\":\"bought\",\"quota\":\"300\""), NULL,
     {"10 requests in 1m: claim quota is no whole number from 0 up, but \"300\"\n", "", "", ""},
     {"\"used\":\"unusable\"", "\"value\":\"\\\"300\\\"\""}},
    {"several numbers", "/", WHO(",\"plan\":\"bought\",\"quota\":[1,2]"), NULL,
     {"no whole number from 0 up, but [1,2]\n", "", "", ""}, {"\"used\":\"unusable\"", ""}},
    {"escapes do not reach a terminal", "/", WHO(",\"plan\":\"bought\",\"quota\":\"\\u009b\\u001b[2J\""), NULL,
     {"10 requests in 1m: claim quota is no whole number", "", "", ""}, {"\"used\":\"unusable\"", ""}},
    {"by a claim", "/", WHO(",\"plan\":\"team\",\"org\":\"acme\""), NULL,
     {"tier      teams: 7 requests in 90s\n", "counts    claim org \"acme\" of https://idp.test; in memory\n", "", ""},
     {"\"key\":\"claim\",\"key_claim\":\"org\",\"key_value\":\"\\\"acme\\\"\"", ""}},
    {"by a claim that is not there", "/", WHO(",\"plan\":\"team\""), NULL,
     {"counts    subject u1 of https://idp.test: the token has no claim org; in memory\n", "", "", ""},
     {"\"key\":\"subject\",\"key_claim\":\"org\",\"key_value\":null", ""}},
    {"by a claim that is a list", "/", WHO(",\"plan\":\"team\",\"org\":[\"a\",\"b\"]"), NULL,
     {"counts    subject u1 of https://idp.test: claim org is no single value; in memory\n", "", "", ""},
     {"\"key\":\"subject\"", "\"key_value\":\"[\\\"a\\\",\\\"b\\\"]\""}},
    {"by a claim that is an object", "/", WHO(",\"plan\":\"team\",\"org\":{\"a\":1}"), NULL,
     {"counts    subject u1 of https://idp.test: claim org is no single value; in memory\n", "", "", ""},
     {"\"key\":\"subject\"", ""}},
    {"nobody", "/", NULL, "2001:db8:1:2:3::4",
     {"tier      unauthenticated: 3 requests in 1m\n", "counts    address 2001:db8:1:2::/64; in memory\n", "", ""},
     {"\"key\":\"address\"", ""}},
    {"of a route, all together", "/all", WHO(",\"plan\":\"burst\""), NULL,
     {"tier      members (of this route): 9 requests in 1s\n", "counts    route all, all callers together; in memory\n",
      "", ""}, {"\"name\":\"members\",\"own\":true,", "\"key\":\"route\""}},
    {"nobody, where the route says nothing of that", "/all", NULL, NULL,
     {"tier      unauthenticated: 3 requests in 1m\n", "counts    the client's address; in memory\n", "", ""},
     {"\"own\":false", ""}},
    {"a route's tier for nobody", "/strangers", NULL, NULL,
     {"tier      unauthenticated (of this route): 2 requests in 1m\n", "", "", ""}, {"\"own\":true", ""}},
    {"beside the general ones for others", "/strangers", WHO(""), NULL,
     {"tier      members: 1 request in 2h\n", "", "", ""}, {"\"own\":false", ""}},
    {"a route without limits", "/free", WHO(""), NULL, {"", "", "", ""}, {"\"tier\":null", ""}},
};

static void explain(size_t i, bool json)
{
    const char *argv[12] = {"explain", "-c", bench.config, "--path", cases[i].path};
    size_t n = 5;

    if (cases[i].claims) {
        argv[n++] = "--claims";
        argv[n++] = cases[i].claims;
    }
    if (cases[i].ip) {
        argv[n++] = "--source-ip";
        argv[n++] = cases[i].ip;
    }
    if (json)
        argv[n++] = "--json";
    capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
}

static void told(void **state)
{
    (void)state;
    write_config("");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cJSON *root = NULL;

        explain(i, false);
        for (size_t k = 0; k < 4; k++)
            if (!strstr(bench.c.out, cases[i].out[k]) || strchr(bench.c.out, '\033'))
                fail_msg("%s: %s\n%s%s", cases[i].why, cases[i].out[k], bench.c.out, bench.c.err);
        assert_true(strcmp(cases[i].path, "/free") != 0 || !strstr(bench.c.out, "\ntier "));
        explain(i, true);
        if (tg_json_parse(tg_slice_str(bench.c.out), NULL, &root, NULL) != TG_OK)
            fail_msg("%s: %s", cases[i].why, bench.c.out);
        for (size_t k = 0; k < 2; k++)
            if (!strstr(bench.c.out, cases[i].json[k]))
                fail_msg("%s: %s\n%s", cases[i].why, cases[i].json[k], bench.c.out);
        cJSON_Delete(root);
    }
}

/* The store is named, and neither who logs in nor with what. */
static void with_a_store(void **state)
{
    static const struct {
        const char *more, *text, *json;
    } table[] = {
        {"", "; in redis://cache.test:6380/2, or in memory while that is away\n",
         "\"counter\":\"redis\",\"store\":\"redis://cache.test:6380/2\",\"when_store_fails\":\"local\"}"},
        {"  when_store_fails: deny\n", "; in redis://cache.test:6380/2; while that is away nobody is admitted\n",
         "\"when_store_fails\":\"deny\"}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char store[256];

        snprintf(store, sizeof store, STORE "%s", table[i].more);
        write_config(store);
        explain(0, false);
        if (!strstr(bench.c.out, table[i].text) || strstr(bench.c.out, "s3cret") || strstr(bench.c.out, "joe"))
            fail_msg("%s\n%s%s", table[i].text, bench.c.out, bench.c.err);
        explain(0, true);
        if (!strstr(bench.c.out, table[i].json) || strstr(bench.c.out, "s3cret") || strstr(bench.c.out, "joe"))
            fail_msg("%s\n%s%s", table[i].json, bench.c.out, bench.c.err);
    }
}

static void checked(void **state)
{
    const char *const argv[] = {"check", "-c", bench.config, NULL};
    static const char plain[] = PROVIDERS "routes: [{name: api, prefix: /, to: 'http://127.0.0.1:1'}]\n";
    static const char *const parts[] = {
        "rate limits: burst 50/1s sliding 1000/1m 20000/24h shadow by subject, bought 10/1m",
        "\nrate limits of route all: members 9/1s by route, unauthenticated 3/1m by address\n",
        "\nrate limits of route free: off\n",
        "\nrate limits of route strangers: burst 50/1s", "unauthenticated 2/1m by address\n"
        "configuration ok\n",
    };

    (void)state;
    write_config("");
    capture(&bench.c, tg_cmd_check, argv, TG_S(""));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (bench.c.code != 0 || !strstr(bench.c.out, parts[i]))
            fail_msg("%d: %s\n%s%s", bench.c.code, parts[i], bench.c.out, bench.c.err);
    assert_null(strstr(bench.c.out, "route api"));
    assert_int_equal(tg_file_replace(bench.config, tg_slice_str(plain), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_check, argv, TG_S(""));
    assert_string_equal(bench.c.out, "configuration ok\n");
}

/* A route's rate_limits are looked at there, and told; other lines are as ever. */
static void batched(void **state)
{
    static const char *const argv[] = {"explain", "--batch", NULL};
    static const struct {
        const char *why, *limits, *claims, *want;        /* want: in the line */
    } table[] = {
        {"its own", "{\"tiers\":[{\"name\":\"a\",\"limit\":4,\"window\":\"1s\",\"key\":\"claim/org\"}]}",
         "{\"iss\":\"i\",\"sub\":\"1\",\"org\":7}",
         "\"error\":null,\"tier\":{\"name\":\"a\",\"own\":true,\"limit\":4,\"window_s\":1,"},
        {"by whom", "{\"tiers\":[{\"name\":\"a\",\"limit\":4,\"window\":\"1s\",\"key\":\"claim/org\"}]}",
         "{\"iss\":\"i\",\"sub\":\"1\",\"org\":7}", "\"counts\":\"claim org 7 of i\",\"key\":\"claim\""},
        {"nobody", "{\"tiers\":[{\"name\":\"a\",\"limit\":4,\"window\":\"1s\"}]}", "null",
         "\"tier\":{\"name\":\"unauthenticated\",\"own\":false,"},
        {"none", "\"off\"", "null", "\"error\":null,\"tier\":null}"},
        {"a typing error", "{\"tires\":[]}", "null", "\"decision\":\"parse_error\""},
        {"a claim without a ceiling", "{\"tiers\":[{\"name\":\"a\",\"limit\":4,\"window\":\"1s\","
         "\"limit_claim\":\"q\"}]}", "null", "limit_ceiling"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char line[512];

        snprintf(line, sizeof line, "{\"route\":{\"allow_public_unauthenticated_access\":true,\"rate_limits\":%s},"
                                    "\"request\":{\"claims\":%s}}", table[i].limits, table[i].claims);
        capture(&bench.c, tg_cmd_explain, argv, tg_slice_str(line));
        if (bench.c.code != 0 || !strstr(bench.c.out, table[i].want))
            fail_msg("%s: %s\n%s%s", table[i].why, table[i].want, bench.c.out, bench.c.err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(told, setup, teardown),
        cmocka_unit_test_setup_teardown(with_a_store, setup, teardown),
        cmocka_unit_test_setup_teardown(checked, setup, teardown),
        cmocka_unit_test_setup_teardown(batched, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
