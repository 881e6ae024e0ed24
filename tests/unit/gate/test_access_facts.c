/*
 * access_facts - what a line says the decision used: all that was read, nothing else, never too much.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/file.h"
#include "bench.h"

static const char yaml[] =
    "policies:\n"
    "  - {name: later, mode: shadow, ppl: {allow: {and: [{claim/zone: x}]}}}\n"
    "rate_limits:\n"
    "  tiers:\n"
    "    - {name: best, limit: 100, window: 1m, when: [{claim/plan: best}]}\n"
    "    - {name: named, limit: 100, window: 1m}\n"
    "    - {name: unauthenticated, limit: 5000, window: 1m}\n"
    "routes:\n"
    "  - {name: open, prefix: /open, to: 'echo:', allow_public_unauthenticated_access: true}\n"
    "  - {name: mail, prefix: /mail, to: 'echo:', policy: {allow: {and: [{email: {is: u1@a}}]}}}\n"
    "  - {name: domain, prefix: /domain, to: 'echo:', policy: {deny: {not: [{domain: {is: a}}]}}}\n"
    "  - {name: group, prefix: /group, to: 'echo:', policy: {allow: {or: [{accept: true}, {groups: {has: x}}]}}}\n"
    "  - {name: both, prefix: /both, to: 'echo:', policy: {allow: {or: [{groups: {has: x}}, {claim/roles: y}]}}}\n"
    "  - {name: named, prefix: /named, to: 'echo:', policy: {allow: {or: [{claim/groups: x}]}}}\n"
    "  - {name: deep, prefix: /deep, to: 'echo:', policy: {allow: {or: [{claim/a.b: 1}, {claim/c: 2}]}}}\n"
    "  - {name: cors, prefix: /cors, to: 'echo:', policy: {allow: {or: [{cors_preflight: true}]}}}\n"
    "  - {name: shadow, prefix: /shadow, to: 'echo:', policies: [later], allow_any_authenticated_user: true}\n"
    "  - {name: dark, prefix: /dark, to: 'echo:', policies: [later]}\n";
#define MANY_CLAIMS 40

static struct tg_signer *signer;
static struct bench bench;
static char path[64];

static void start(struct tg_config *config)
{
    int fd;

    snprintf(path, sizeof(path), "/tmp/tollgate-test-XXXXXX");
    fd = mkstemp(path);
    tg_assert(fd >= 0);
    close(fd);
    config->bounds.token = config->bounds.head = 200000;
    bench_up(&bench, config, NULL, path);
}

static int up(void **state)
{
    (void)state;
    start(bench_config(signer, yaml));
    return 0;
}

/* A request of somebody with these claims besides the usual ones; NULL: of nobody. */
static void ask(const char *target, const char *claims)
{
    struct tg_buf text = {0}, request = {0};
    struct answer a;

    if (claims) {
        struct tg_slice token;

        tg_buf_addf(&text, "{\"iss\":\"https://idp.test\",\"aud\":\"api\",\"sub\":\"u1\",\"exp\":1767225900%s%s}",
                    *claims ? "," : "", claims);
        token = issuer_token(signer, tg_buf_cstr(&text));
        tg_buf_addf(&request, "GET %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ", target);
        tg_buf_add_slice(&request, token);
        tg_buf_adds(&request, "\r\n\r\n");
        free((char *)(uintptr_t)token.ptr);
    } else {
        tg_buf_addf(&request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    }
    CHECK(target, bench_ask(&bench, tg_buf_cstr(&request), &a));
    tg_buf_fini(&text);
    tg_buf_fini(&request);
}

/* Ends the gate: its lines as a JSON array. */
static cJSON *end_and_read(void)
{
    cJSON *lines = cJSON_CreateArray();
    struct tg_json_limits limits = {.depth = 48};
    struct tg_slice rest, line;
    struct tg_buf text = {0};

    bench_down(&bench);
    assert_int_equal(tg_file_read(path, 1 << 24, &text, NULL), TG_OK);
    unlink(path);
    for (rest = tg_buf_slice(&text); tg_slice_cut(rest, '\n', &line, &rest);) {
        cJSON *root = NULL;
        struct tg_err err;

        if (tg_json_parse(line, &limits, &root, &err) != TG_OK)
            fail_msg("%s: " TG_S_FMT, err.text, TG_S_ARG(line));
        for (size_t i = 0; i < line.len; i++)
            assert_true((unsigned char)line.ptr[i] >= ' ' && line.ptr[i] != 0x7f);
        cJSON_AddItemToArray(lines, root);
    }
    tg_buf_fini(&text);
    return lines;
}

/* A member of the i-th line as text; "" when it is not there. */
static const char *member(const cJSON *lines, int i, const char *name)
{
    static struct tg_buf text;

    text.len = 0;
    if (tg_json_get(cJSON_GetArrayItem(lines, i), name))
        tg_json_print(&text, tg_json_get(cJSON_GetArrayItem(lines, i), name));
    return tg_buf_cstr(&text);
}

/* ---- what is said ---- */

static const struct {
    const char *target, *claims, *facts;
} cases[] = {
    {"/open", NULL, "{}"},
    {"/open", "", "{\"claims\":{\"plan\":null}}"},
    {"/open", "\"email\":\"u1@a\",\"plan\":\"best\",\"salary\":1", "{\"claims\":{\"plan\":[\"best\"]}}"},
    {"/mail", NULL, "{}"},
    {"/mail", "\"email\":\"u1@a\"", "{\"email\":\"u1@a\",\"claims\":{\"plan\":null}}"},
    {"/mail", "", "{\"email\":\"\",\"claims\":{\"plan\":null}}"},
    {"/mail", "\"email\":[\"u1@a\"]", "{\"email\":\"\",\"claims\":{\"plan\":null}}"},
    {"/domain", "\"email\":\"\\u00e9\\\"@a\"", "{\"email\":\"\xc3\xa9\\\"@a\",\"claims\":{\"plan\":null}}"},
    {"/group", "\"groups\":[\"x\",\"y\",1,null,[\"z\"]]",
     "{\"claims\":{\"groups\":[\"x\",\"y\",1,null,[\"z\"]],\"plan\":null}}"},
    {"/group", "\"groups\":{\"x\":{\"1\":\"a.test\"}}", "{\"claims\":{\"groups\":[\"x\",\"x@1\"],\"plan\":null}}"},
    {"/group", "\"groups\":\"x\",\"plan\":[]", "{\"claims\":{\"groups\":[\"x\"],\"plan\":[]}}"},
    {"/group", "", "{\"claims\":{\"groups\":null,\"plan\":null}}"},
    {"/both", "\"roles\":\"y\"", "{\"claims\":{\"groups\":null,\"plan\":null,\"roles\":[\"y\"]}}"},
    {"/deep", "\"a\":{\"b\":[1.50,12345678901234567890],\"d\":true},\"c\":{}",
     "{\"claims\":{\"a.b\":[1.5,12345678901234567890],\"c\":null,\"plan\":null}}"},
    {"/deep", "\"a.b\":false,\"a\":{\"b\":1}", "{\"claims\":{\"a.b\":[false],\"c\":null,\"plan\":null}}"},
    {"/cors", "", "{\"claims\":{\"plan\":null}}"},
    {"/shadow", "\"zone\":\"y\"", "{\"claims\":{\"plan\":null,\"zone\":[\"y\"]}}"},
    {"/none", "", ""},
};

static void what_is_read(void **state)
{
    cJSON *lines;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ask(cases[i].target, cases[i].claims);
    lines = end_and_read();
    assert_int_equal(cJSON_GetArraySize(lines), ARRAY_LEN(cases));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (strcmp(member(lines, (int)i, "facts"), cases[i].facts) != 0)
            fail_msg("%s: %s, not %s", cases[i].target, member(lines, (int)i, "facts"), cases[i].facts);
        assert_string_equal(member(lines, (int)i, "policy_set"), "\"0123456789abcdef\"");
    }
    cJSON_Delete(lines);
}

/* The claim that lists groups is the provider's to name. */
static void groups_under_another_name(void **state)
{
    struct tg_config *config = bench_config(signer, yaml);
    cJSON *lines;

    (void)state;
    config->providers.items[0].groups_claim = TG_S("roles");
    start(config);
    ask("/group", "\"groups\":[\"no\"],\"roles\":[\"x\"]");
    ask("/both", "\"roles\":[\"x\"]");
    ask("/mail", "\"roles\":[\"x\"]");
    ask("/named", "\"groups\":[\"x\"]");
    lines = end_and_read();
    assert_string_equal(member(lines, 0, "facts"),
                        "{\"groups_claim\":\"roles\",\"claims\":{\"roles\":[\"x\"],\"plan\":null}}");
    assert_string_equal(member(lines, 1, "facts"),
                        "{\"groups_claim\":\"roles\",\"claims\":{\"plan\":null,\"roles\":[\"x\"]}}");
    assert_string_equal(member(lines, 2, "facts"), "{\"email\":\"\",\"claims\":{\"plan\":null}}");
    assert_string_equal(member(lines, 3, "facts"),
                        "{\"groups_claim\":\"roles\",\"claims\":{\"groups\":[\"x\"],\"plan\":null}}");
    cJSON_Delete(lines);
}

static void a_preflight(void **state)
{
    static const char text[] = "OPTIONS /cors HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n"
                               "Access-Control-Request-Method: PUT\r\n\r\n";
    struct answer a;
    cJSON *lines;

    (void)state;
    assert_true(bench_ask(&bench, text, &a));
    assert_int_equal(a.status, 200);
    lines = end_and_read();
    assert_string_equal(member(lines, 0, "facts"), "{\"preflight\":true}");
    cJSON_Delete(lines);
}

static void the_shadow(void **state)
{
    cJSON *lines;

    (void)state;
    ask("/shadow", "\"zone\":\"y\"");
    ask("/shadow", "\"zone\":\"x\"");
    ask("/dark", "");
    ask("/mail", "");
    lines = end_and_read();
    assert_string_equal(member(lines, 0, "decision"), "\"allow\"");
    assert_string_equal(member(lines, 0, "shadow"), "{\"decision\":\"allow\",\"reasons\":[\"user-ok\"]}");
    assert_string_equal(member(lines, 1, "shadow"), "{\"decision\":\"allow\",\"reasons\":[\"user-ok\",\"claim-ok\"]}");
    assert_string_equal(member(lines, 2, "decision"), "\"deny\"");
    assert_string_equal(member(lines, 2, "shadow"),
                        "{\"decision\":\"deny\",\"reasons\":[\"claim-unauthorized\"],\"policy\":\"later\"}");
    assert_string_equal(member(lines, 3, "shadow"), "");
    cJSON_Delete(lines);
}

/* Off: nothing of a token but who it is. */
static void switched_off(void **state)
{
    struct tg_config *config = bench_config(signer, yaml);
    cJSON *lines;

    (void)state;
    config->log_facts = false;
    start(config);
    ask("/mail", "\"email\":\"u1@a\"");
    lines = end_and_read();
    assert_string_equal(member(lines, 0, "facts"), "");
    assert_string_equal(member(lines, 0, "policy_set"), "\"0123456789abcdef\"");
    assert_int_equal(strlen(member(lines, 0, "key_set")), 18);
    cJSON_Delete(lines);
}

/* With an identity, and of a token that the keys of a known issuer refused. */
static void the_keys(void **state)
{
    static const struct {
        const char *request;
        bool asked;
    } asks[] = {
        {GET("/open", ""), false},
        {GET("/open", BEARER("$GOOD")), true},
        {GET("/open", BEARER("$GOOD")), true},           /* verified a moment ago */
        {GET("/open", BEARER("$FORGED")), true},
        {GET("/open", BEARER("$EXPIRED")), true},
        {GET("/open", BEARER("$AWAY")), false},
        {GET("/open", BEARER("a.b.c")), false},
        {GET("/open", BEARER("")), false},
        {GET("/none", BEARER("$GOOD")), false},
    };
    char want[TG_JWKS_DIGEST + 2];
    cJSON *lines;

    (void)state;
    snprintf(want, sizeof(want), "\"%s\"", tg_jwks_digest(bench.config->providers.items[0].local));
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        char *request = bench_fill(signer, asks[i].request);
        struct answer a;

        CHECK(asks[i].request, bench_ask(&bench, request, &a));
        free(request);
    }
    lines = end_and_read();
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        if (strcmp(member(lines, (int)i, "key_set"), asks[i].asked ? want : "") != 0)
            fail_msg("%s: %s", asks[i].request, member(lines, (int)i, "key_set"));
    }
    cJSON_Delete(lines);
}

/* ---- how much ---- */

/* What does not fit is named, what is small comes all the same. */
static void too_much(void **state)
{
    static char big[30000];
    struct tg_buf claims = {0};
    cJSON *lines;

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    tg_buf_addf(&claims, "\"plan\":\"best\",\"c\":7,\"a\":{\"b\":[\"%s\"]}", big);
    ask("/deep", tg_buf_cstr(&claims));
    claims.len = 0;
    tg_buf_addf(&claims, "\"plan\":\"best\",\"groups\":[\"%s\"]", big);
    ask("/group", tg_buf_cstr(&claims));
    claims.len = 0;
    tg_buf_addf(&claims, "\"plan\":\"best\",\"email\":\"%s\"", big);
    ask("/mail", tg_buf_cstr(&claims));
    tg_buf_fini(&claims);
    lines = end_and_read();
    assert_string_equal(member(lines, 0, "facts"),
                        "{\"claims\":{\"c\":[7],\"plan\":[\"best\"]},\"omitted\":[\"claims.a.b\"]}");
    assert_string_equal(member(lines, 1, "facts"),
                        "{\"claims\":{\"plan\":[\"best\"]},\"omitted\":[\"claims.groups\"]}");
    assert_string_equal(member(lines, 2, "facts"), "{\"claims\":{\"plan\":[\"best\"]},\"omitted\":[\"email\"]}");
    cJSON_Delete(lines);
}

/* A law: within 8 KiB, whatever a policy reads and a token holds; each claim is there as it is, or it is named. */
static void never_too_much(void **state)
{
    struct tg_buf text = {0}, claims = {0};
    unsigned seed = 11;
    cJSON *lines;

    (void)state;
    tg_buf_adds(&text, "routes:\n  - {name: r, prefix: /, to: 'echo:', policy: {allow: {or: [{accept: true}");
    for (int i = 0; i < MANY_CLAIMS; i++)
        tg_buf_addf(&text, ", {claim/c%d%0*d: x}", i, i * 7, 0);
    tg_buf_adds(&text, "]}}}\n");
    start(bench_config(signer, tg_buf_cstr(&text)));
    for (int round = 0; round < MANY_CLAIMS; round++) {
        claims.len = 0;
        for (int i = 0; i < MANY_CLAIMS; i++) {
            int len = rand_r(&seed) % (round * 20 + 1);

            tg_buf_addf(&claims, "%s\"c%d%0*d\":", i ? "," : "", i, i * 7, 0);
            tg_buf_adds(&claims, i % 3 ? "\"" : "[{\"\\u007f\":\"");
            for (int k = 0; k < len; k++)
                tg_buf_adds(&claims, k % 5 ? "y" : "\\u0085");
            tg_buf_adds(&claims, i % 3 ? "\"" : "\"}]");
        }
        ask("/", tg_buf_cstr(&claims));
    }
    lines = end_and_read();
    assert_int_equal(cJSON_GetArraySize(lines), MANY_CLAIMS);
    for (int i = 0; i < MANY_CLAIMS; i++) {
        const cJSON *facts = tg_json_get(cJSON_GetArrayItem(lines, i), "facts");
        const cJSON *omitted = tg_json_get(facts, "omitted");
        int known = cJSON_GetArraySize(tg_json_get(facts, "claims")), named = cJSON_GetArraySize(omitted);
        const cJSON *last = named ? cJSON_GetArrayItem(omitted, named - 1) : NULL;

        assert_true(strlen(member(lines, i, "facts")) <= 8192);
        if (!last || strcmp(last->valuestring, "...") != 0)
            assert_int_equal(known + named, MANY_CLAIMS + 1); /* and that of a tier */
        else
            assert_true(known + named <= MANY_CLAIMS + 1);
    }
    cJSON_Delete(lines);
    tg_buf_fini(&text);
    tg_buf_fini(&claims);
}

/* Whatever characters there are: what is read back is what was there. */
static void as_it_was(void **state)
{
    static const char values[] = "[\"\\u0001\\u007f\\u0085\\u2028\\\\\\\"\",{\"\\u009f\\n\":[\"\\u007f\\u007f\",1e-7,"
                                 "0.1,-0,[[[[[]]]]],\"\\ud83d\\ude00\"]},true,null,3,3.0,1E3]";
    cJSON *lines, *want = NULL;
    struct tg_buf claims = {0};
    const cJSON *got;

    (void)state;
    tg_buf_addf(&claims, "\"roles\":%s", values);
    ask("/both", tg_buf_cstr(&claims));
    tg_buf_fini(&claims);
    lines = end_and_read();
    assert_int_equal(tg_json_parse(tg_slice_str(values), NULL, &want, NULL), TG_OK);
    got = tg_json_get(tg_json_get(tg_json_get(cJSON_GetArrayItem(lines, 0), "facts"), "claims"), "roles");
    assert_true(tg_json_eq(want, got));
    cJSON_Delete(want);
    cJSON_Delete(lines);
}

#define TEST(name) cmocka_unit_test_setup(name, up)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_read),
        cmocka_unit_test(groups_under_another_name),
        TEST(a_preflight),
        TEST(the_shadow),
        cmocka_unit_test(switched_off),
        TEST(the_keys),
        TEST(too_much),
        cmocka_unit_test(never_too_much),
        TEST(as_it_was),
    };
    int failed;

    signer = issuer_key(TG_ALG_EdDSA);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    tg_signer_free(signer);
    return failed;
}
