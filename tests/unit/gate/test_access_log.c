/*
 * access_log - one line of JSON a request, with what was decided and why, and nothing that is secret.
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
    "  - {name: staff, ppl: {allow: {and: [{user: {is: boss}}]}}}\n"
    "rate_limits:\n"
    "  tiers:\n"
    "    - {name: named, limit: 100, window: 1m}\n"
    "    - {name: unauthenticated, limit: 5000, window: 1m}\n"
    "routes:\n"
    "  - {name: public, prefix: /public, to: 'echo:', allow_public_unauthenticated_access: true}\n"
    "  - {name: any, prefix: /any, to: 'echo:', allow_any_authenticated_user: true}\n"
    "  - {name: boss, prefix: /boss, to: 'echo:', policies: [staff]}\n"
    "  - {name: 'o\"d\\d', prefix: /odd, to: 'echo:', allow_public_unauthenticated_access: true}\n";
#define SECRET "s3cr3t"
#define MANY 400

static struct tg_signer *signer;
static struct bench bench;
static char path[64];

static int up(void **state)
{
    struct tg_config *config = bench_config(signer, yaml);
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "/tmp/tollgate-test-XXXXXX");
    fd = mkstemp(path);
    tg_assert(fd >= 0);
    close(fd);
    config->timeouts.head_ms = 300;
    bench_up(&bench, config, NULL, path);
    return 0;
}

/* Ends the gate and its log. The lines as a JSON array, once each is known to be one object; the text in *text. */
static cJSON *end_and_read(struct tg_buf *text)
{
    cJSON *lines = cJSON_CreateArray();
    struct tg_slice rest, line;

    bench_down(&bench);
    assert_int_equal(tg_file_read(path, 1 << 24, text, NULL), TG_OK);
    unlink(path);
    for (rest = tg_buf_slice(text); rest.len > 0;) {
        cJSON *root = NULL;

        assert_true(tg_slice_cut(rest, '\n', &line, &rest)); /* every one ends */
        if (tg_json_parse(line, NULL, &root, NULL) != TG_OK || !cJSON_IsObject(root))
            fail_msg("no JSON object: " TG_S_FMT, TG_S_ARG(line));
        cJSON_AddItemToArray(lines, root);
    }
    return lines;
}

static const char *text_of(const cJSON *line, const char *name)
{
    const cJSON *node = tg_json_get(line, name);

    return cJSON_IsString(node) ? node->valuestring : "";
}

static int64_t number_of(const cJSON *line, const char *name)
{
    int64_t n;

    return tg_json_int(tg_json_get(line, name), &n) ? n : -1;
}

/* ---- what is in a line ---- */

static const struct {
    const char *why, *request;
    unsigned status;
    const char *route, *sub, *decision, *policy, *refused, *token_refused, *tier; /* "": must be absent */
} cases[] = {
    {"allowed", GET("/any/x", BEARER("$GOOD")), 200, "any", "u1", "allow", "", "", "", "named"},
    {"allowed without an identity", GET("/public", ""), 200, "public", "", "allow", "", "", "", "unauthenticated"},
    {"no token", GET("/any", ""), 401, "any", "", "unauthenticated", "", "no-token", "", "unauthenticated"},
    {"a bad signature, which only the log tells", GET("/any", BEARER("$FORGED")), 401, "any", "", "unauthenticated", "",
     "token-invalid", "signature", "unauthenticated"},
    {"an old token", GET("/any", BEARER("$EXPIRED")), 401, "any", "", "unauthenticated", "", "token-expired", "expired",
     "unauthenticated"},
    {"no keys", GET("/any", BEARER("$AWAY")), 503, "any", "", "none", "", "no-keys", "", "unauthenticated"},
    {"denied", GET("/boss", BEARER("$GOOD")), 403, "boss", "u1", "deny", "staff", "denied", "", "named"},
    {"no route", GET("/none", BEARER("$GOOD")), 404, "", "", "none", "", "no-route", "", "unauthenticated"},
    {"credential", GET("/any", "Authorization: Bearer\r\n"), 400, "any", "", "none", "", "malformed-credential", "",
     "unauthenticated"},
    {"path", GET("/any/%2f", ""), 400, "", "", "none", "", "ambiguous-path", "", "unauthenticated"},
    {"framing", GET("/any", "A : b\r\n"), 400, "", "", "none", "", "malformed-request", "", "unauthenticated"},
    {"a control", GET("/any", "A: \x01\r\n"), 400, "", "", "none", "", "malformed-request", "", "unauthenticated"},
    {"slow", "GET /any HTTP/1.1\r\n", 408, "", "", "none", "", "slow-head", "", "unauthenticated"},
    {"method", "TRACE /any HTTP/1.1\r\nHost: a\r\n\r\n", 405, "", "", "none", "", "method", "", "unauthenticated"},
};

static void a_line_a_request(void **state)
{
    char ids[ARRAY_LEN(cases)][40];
    size_t sizes[ARRAY_LEN(cases)];
    struct tg_buf text = {0};
    cJSON *lines;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *request = bench_fill(signer, cases[i].request);
        struct answer a;
        const char *id;

        CHECK(cases[i].why, bench_ask(&bench, request, &a) && a.status == cases[i].status);
        id = answer_field(&a, "X-Request-Id");
        snprintf(ids[i], sizeof(ids[i]), "%.36s", id ? id : "none");
        sizes[i] = strlen(a.head) + strlen(a.body);
        free(request);
    }
    lines = end_and_read(&text);
    assert_int_equal(cJSON_GetArraySize(lines), ARRAY_LEN(cases));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const cJSON *line = cJSON_GetArrayItem(lines, (int)i);
        const char *why = cases[i].why;
        bool has_head = strcmp(cases[i].refused, "malformed-request") != 0 && cases[i].status != 408;

        CHECK(why, strcmp(text_of(line, "ts"), "2026-01-01T00:00:00.500Z") == 0);
        CHECK(why, strcmp(text_of(line, "request_id"), ids[i]) == 0);
        CHECK(why, strlen(text_of(line, "trace_id")) == 32);
        CHECK(why, strcmp(text_of(line, "client_ip"), BENCH_PEER) == 0);
        CHECK(why, strcmp(text_of(line, "proto"), "HTTP/1.1") == 0);
        CHECK(why, (*text_of(line, "method") != '\0') == has_head);
        CHECK(why, (*text_of(line, "host") != '\0') == has_head);
        CHECK(why, number_of(line, "status") == (int64_t)cases[i].status);
        CHECK(why, number_of(line, "bytes_in") == 0 && number_of(line, "bytes_out") == (int64_t)sizes[i]);
        CHECK(why, cJSON_IsNumber(tg_json_get(line, "duration_ms")));
        CHECK(why, strcmp(text_of(line, "route"), cases[i].route) == 0);
        CHECK(why, strcmp(text_of(line, "sub"), cases[i].sub) == 0);
        CHECK(why, (*text_of(line, "issuer") != '\0') == (*cases[i].sub != '\0'));
        CHECK(why, (*text_of(line, "provider") != '\0') == (*cases[i].sub != '\0'));
        CHECK(why, strcmp(text_of(line, "decision"), cases[i].decision) == 0);
        CHECK(why, cJSON_IsArray(tg_json_get(line, "reasons")));
        CHECK(why, strcmp(text_of(line, "policy"), cases[i].policy) == 0);
        CHECK(why, strcmp(text_of(line, "refused"), cases[i].refused) == 0);
        CHECK(why, strcmp(text_of(line, "token_refused"), cases[i].token_refused) == 0);
        CHECK(why, strcmp(text_of(line, "tier"), cases[i].tier) == 0);
        CHECK(why, number_of(line, "limit") > 0 && number_of(line, "remaining") >= 0);
        CHECK(why, strcmp(text_of(line, "counter"), tg_counter_name(TG_COUNTER_MEMORY)) == 0);
        CHECK(why, strcmp(text_of(line, "limit_key"),
                          tg_limit_by_name(*cases[i].sub && strcmp(cases[i].tier, "named") == 0 ? TG_BY_SUBJECT
                                                                                                : TG_BY_ADDRESS)) == 0);
        CHECK(why, !tg_json_get(line, "error") && !tg_json_get(line, "upstream"));
    }
    cJSON_Delete(lines);
    tg_buf_fini(&text);
}

/* Who goes away leaves a line too; who never began a request leaves none. */
static void gone_clients(void **state)
{
    struct tg_buf text = {0};
    struct client body = bench_connect(&bench), nothing = bench_connect(&bench), part = bench_connect(&bench);
    const cJSON *line;
    cJSON *lines;

    (void)state;
    client_says(&body, "POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    client_says(&part, "GET /public");
    client_close(&nothing);
    client_close(&part);
    client_close(&body);
    assert_int_equal(bench_connections(&bench, 0), 0);
    lines = end_and_read(&text);
    assert_int_equal(cJSON_GetArraySize(lines), 1);
    line = cJSON_GetArrayItem(lines, 0);
    assert_string_equal(text_of(line, "error"), "client-gone");
    assert_int_equal(number_of(line, "status"), 0);
    assert_int_equal(number_of(line, "bytes_in"), 3);
    cJSON_Delete(lines);
    tg_buf_fini(&text);
}

/* ---- what is not in it ---- */

static void nothing_secret(void **state)
{
    static const char *const requests[] = {
        GET("/public?access_token=" SECRET, ""),
        GET("/any?q=" SECRET, BEARER("$GOOD")),
        GET("/any?access_token=" SECRET, BEARER(SECRET)),
        GET("/any", BEARER(SECRET)),
        GET("/any", BEARER(SECRET) BEARER(SECRET)),
        GET("/any", BEARER("\x80" SECRET)),
        GET("/any", "Authorization: Basic " SECRET "\r\n"),
        GET("/any", "Proxy-Authorization: Bearer " SECRET "\r\n"),
        GET("/public", "Cookie: session=" SECRET "\r\nX-Api-Key: " SECRET "\r\nReferer: https://a/?" SECRET "\r\n"),
        GET("/none?" SECRET, "Cookie: " SECRET "\r\n"),
        GET("/public", "X-Request-Id: " SECRET "\r\n"),  /* not of a trusted proxy */
        GET("/public", "A : " SECRET "\r\n"),
        "POST /public?" SECRET " HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n" SECRET,
        "GET http://user:" SECRET "@a/public HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/public?" SECRET " HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\nAuthorization: " SECRET "\r\n\r\n",
    };
    struct tg_buf text = {0};
    char *good = bench_fill(signer, "$GOOD");
    cJSON *lines;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        char *request = bench_fill(signer, requests[i]);
        struct answer a;

        CHECK(requests[i], bench_ask(&bench, request, &a));
        free(request);
    }
    lines = end_and_read(&text);
    assert_int_equal(cJSON_GetArraySize(lines), ARRAY_LEN(requests));
    assert_null(strstr(tg_buf_cstr(&text), SECRET));
    assert_null(strstr(text.data, "eyJ"));               /* how a JWT begins */
    assert_null(strstr(text.data, strrchr(good, '.')));
    free(good);
    cJSON_Delete(lines);
    tg_buf_fini(&text);
}

/* ---- what cannot break it ---- */

static void control_characters_stay_inside_a_line(void **state)
{
    static const char claims[] = "{\"iss\":\"https://idp.test\",\"aud\":\"api\",\"exp\":1767225900,"
                                 "\"sub\":\"a\\nb\\u0007\\u001b[31m\\\"\\\\\\u2028\"}";
    struct tg_slice token = issuer_token(signer, claims);
    struct tg_buf text = {0}, request = {0};
    cJSON *lines;
    struct answer a;

    (void)state;
    tg_buf_addf(&request, GET("/any", BEARER(TG_S_FMT)), TG_S_ARG(token));
    free((char *)(uintptr_t)token.ptr);
    assert_true(bench_ask(&bench, tg_buf_cstr(&request), &a));
    assert_int_equal(a.status, 200);
    tg_buf_fini(&request);
    assert_true(bench_ask(&bench, GET("/odd/%22", ""), &a));
    assert_int_equal(a.status, 200);
    assert_true(bench_ask(&bench, GET("/odd/%0a", ""), &a));
    assert_int_equal(a.status, 400);
    lines = end_and_read(&text);
    assert_int_equal(cJSON_GetArraySize(lines), 3);
    assert_string_equal(text_of(cJSON_GetArrayItem(lines, 0), "sub"), "a\nb\a\033[31m\"\\\xe2\x80\xa8");
    assert_string_equal(text_of(cJSON_GetArrayItem(lines, 1), "route"), "o\"d\\d");
    assert_string_equal(text_of(cJSON_GetArrayItem(lines, 1), "path"), "/odd/%22");
    assert_string_equal(text_of(cJSON_GetArrayItem(lines, 2), "path"), "");
    for (size_t i = 0; i < text.len; i++)
        assert_true((unsigned char)text.data[i] >= ' ' || text.data[i] == '\n');
    cJSON_Delete(lines);
    tg_buf_fini(&text);
}

/* A law: as many lines as answers, each of them whole, whatever was asked. */
static void nonsense_is_logged_as_json(void **state)
{
    static const char base[] = GET("/public/a?b=c", "User-Agent: x\r\nX-Forwarded-For: 1.2.3.4\r\n");
    struct tg_buf text = {0};
    unsigned seed = 7;
    size_t answers = 0;
    cJSON *lines;

    (void)state;
    for (int round = 0; round < MANY; round++) {
        struct client c = bench_connect(&bench);
        char request[sizeof(base)];
        struct answer a;

        memcpy(request, base, sizeof(base));
        for (int i = rand_r(&seed) % 3; i >= 0; i--)
            request[rand_r(&seed) % 40] = (char)rand_r(&seed);
        client_send(&c, tg_slice(request, sizeof(base) - 1));
        shutdown(c.fd, SHUT_WR);
        while (client_answer(&c, request[0] == 'H', &a))
            answers++;
        client_close(&c);
    }
    lines = end_and_read(&text);
    assert_int_equal(cJSON_GetArraySize(lines), answers);
    cJSON_Delete(lines);
    tg_buf_fini(&text);
}

#define TEST(name) cmocka_unit_test_setup(name, up)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_a_request),
        TEST(gone_clients),
        TEST(nothing_secret),
        TEST(control_characters_stay_inside_a_line),
        TEST(nonsense_is_logged_as_json),
    };
    int failed;

    signer = issuer_key(TG_ALG_ES256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    tg_signer_free(signer);
    return failed;
}
