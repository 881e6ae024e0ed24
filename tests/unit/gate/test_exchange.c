/*
 * exchange - the steps of a request: which refusal comes first, and what is charged for it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "bench.h"

#define LIMITS(mode) \
    "rate_limits:\n" \
    "  mode: " mode "\n" \
    "  tiers:\n" \
    "    - {name: authenticated, limit: 3, window: 1m}\n" \
    "    - {name: unauthenticated, limit: 3, window: 1m}\n"
#define ROUTES \
    "routes:\n" \
    "  - {name: public, from: 'https://api.test', prefix: /public, to: 'echo:',\n" \
    "     allow_public_unauthenticated_access: true}\n" \
    "  - {name: any, from: 'https://api.test', prefix: /any, to: 'echo:', allow_any_authenticated_user: true}\n" \
    "  - {name: not-eve, from: 'https://api.test', prefix: /not-eve, to: 'echo:',\n" \
    "     policy: {allow: {and: [{user: {is: u1}}]}}}\n" \
    "  - {name: boss, from: 'https://api.test', prefix: /boss, to: 'echo:',\n" \
    "     policy: {allow: {and: [{user: {is: boss}}]}}}\n" \
    "  - {name: tools, from: 'https://api.test', prefix: /tools, to: 'echo:', max_request_bytes: 90,\n" \
    "     policy: {allow: {and: [{accept: true}]}, deny: {or: [{mcp_tool: {is: rm}}]}}}\n" \
    "  - {name: own-tools, from: 'https://api.test', prefix: /own-tools, to: 'echo:',\n" \
    "     policy: {allow: {and: [{user: {is: u1}}, {mcp_tool: {is: ls}}]}}}\n"
#define MALFORMED "Authorization: Bearer\r\n"
#define POST(target, fields, body) "POST " target " HTTP/1.1\r\nHost: api.test\r\n" fields "\r\n" body
#define TOO_LONG "Content-Length: 9\r\n"
#define TWO "Content-Length: 2\r\n"
#define CODED "Content-Encoding: gzip\r\n"
#define CALL(tool) "{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"name\":\"" tool "\"}}"
#define CALL_OF_2 "Content-Length: 62\r\n"               /* a tool of two letters */
_Static_assert(sizeof(CALL("rm")) == 63, "as CALL_OF_2 says");

static struct tg_signer *signer;
static struct bench bench;

static void up(const char *yaml)
{
    struct tg_config *config = bench_config(signer, yaml);

    config->bounds.body = 8;
    bench_up(&bench, config, NULL, NULL);
}

static struct answer ask_from(const char *peer, const char *request)
{
    char *text = bench_fill(signer, request);
    struct answer a;

    if (!bench_ask_from(&bench, peer, text, &a))
        fail_msg("no answer to %s", request);
    free(text);
    return a;
}

static struct answer ask(const char *request)
{
    return ask_from(BENCH_PEER, request);
}

/* What is left after this request, by the answer's own word; -1: it says nothing. */
static int left_after(const char *request)
{
    struct answer a = ask(request);
    const char *left = answer_field(&a, "X-RateLimit-Remaining");

    return left ? atoi(left) : -1;
}

/* ---- the first refusal wins ---- */

enum empty { FULL, ADDRESS, SUBJECT };                   /* which bucket is empty */
static const struct {
    const char *why, *request;
    enum empty empty;
    unsigned status;
} orders[] = {
    {"all is well", GET("/any", BEARER("$GOOD")), FULL, 200},
    {"all is well without an identity", GET("/public", ""), FULL, 200},
    /* framing, then method, then path, then route */
    {"framing before route", GET("/none", "A : b\r\n"), FULL, 400},
    {"method before path", "TRACE /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n", FULL, 405},
    {"path before route", GET("/none/%2f", ""), FULL, 400},
    {"path before credential", GET("/any/%2f", MALFORMED), FULL, 400},
    /* route before credential: whether there is one, is told alike to all */
    {"route before credential syntax", GET("/none", MALFORMED), FULL, 404},
    {"route before token", GET("/none", BEARER("$FORGED")), FULL, 404},
    {"route for who is known", GET("/none", BEARER("$GOOD")), FULL, 404},
    {"another host", "GET /any HTTP/1.1\r\nHost: x.test\r\n\r\n", FULL, 404},
    {"route before body size", POST("/none", TOO_LONG, "123456789"), FULL, 404},
    /* credential before limit */
    {"credential syntax", GET("/public", MALFORMED), FULL, 400},
    {"credential syntax before limit", GET("/public", MALFORMED), ADDRESS, 400},
    /* 400 and 404 never become 429 */
    {"framing is not limited", GET("/none", "A : b\r\n"), ADDRESS, 400},
    {"a path is not limited", GET("/any/%2f", ""), ADDRESS, 400},
    {"404 is not limited", GET("/none", ""), ADDRESS, 404},
    {"405 is not limited", "TRACE /any HTTP/1.1\r\nHost: x\r\n\r\n", ADDRESS, 405},
    /* limit before the verdict on a token: no free guessing */
    {"a bad token", GET("/any", BEARER("$FORGED")), FULL, 401},
    {"a bad token, limited", GET("/any", BEARER("$FORGED")), ADDRESS, 429},
    {"an old token", GET("/any", BEARER("$EXPIRED")), FULL, 401},
    {"an old token, limited", GET("/any", BEARER("$EXPIRED")), ADDRESS, 429},
    {"junk", GET("/any", BEARER("junk")), FULL, 401},
    {"junk, limited", GET("/any", BEARER("junk")), ADDRESS, 429},
    {"a bad token is 401 on a public route too", GET("/public", BEARER("$FORGED")), FULL, 401},
    {"no token", GET("/any", ""), FULL, 401},
    {"no token, limited", GET("/any", ""), ADDRESS, 429},
    {"another scheme, limited", GET("/any", "Authorization: Basic eDp5\r\n"), ADDRESS, 429},
    {"public, limited", GET("/public", ""), ADDRESS, 429},
    {"a good token is verified all the same", GET("/any", BEARER("$GOOD")), ADDRESS, 200},
    {"no keys is never 401", GET("/any", BEARER("$AWAY")), FULL, 503},
    {"no keys with an empty bucket", GET("/any", BEARER("$AWAY")), ADDRESS, 503},
    /* limit before policy before body */
    {"policy", GET("/boss", BEARER("$GOOD")), FULL, 403},
    {"limit before policy", GET("/boss", BEARER("$GOOD")), SUBJECT, 429},
    {"limit", GET("/any", BEARER("$GOOD")), SUBJECT, 429},
    {"of another subject", GET("/any", BEARER("$EVE")), SUBJECT, 200},
    {"nor is the address'", GET("/public", ""), SUBJECT, 200},
    {"policy before body size", POST("/boss", BEARER("$GOOD") TOO_LONG, "123456789"), FULL, 403},
    {"no token before body size", POST("/any", TOO_LONG, "123456789"), FULL, 401},
    {"body size", POST("/any", BEARER("$GOOD") TOO_LONG, "123456789"), FULL, 413},
    /* content that is judged comes between limit and policy */
    {"a call", POST("/tools", CALL_OF_2, CALL("ls")), FULL, 200},
    {"another call", POST("/tools", CALL_OF_2, CALL("rm")), FULL, 403},
    {"no call", POST("/tools", TWO, "{}"), FULL, 400},
    {"no content", GET("/tools", CODED), FULL, 200},
    {"limit before content", POST("/tools", TWO, "[]"), ADDRESS, 429},
    {"token before content", POST("/own-tools", BEARER("$FORGED") TWO, "[]"), FULL, 401},
    {"login before content", POST("/own-tools", TWO, "[]"), FULL, 401},
    {"content before policy", POST("/own-tools", BEARER("$EVE") TWO, "[]"), FULL, 400},
    {"policy with content", POST("/own-tools", BEARER("$EVE") CALL_OF_2, CALL("ls")), FULL, 413},
    {"coding before size", POST("/tools", CODED "Content-Length: 91\r\n", ""), FULL, 415},
    {"coding before content", POST("/tools", CODED TWO, "[]"), FULL, 415},
    {"size before content", POST("/tools", "Content-Length: 91\r\n", ""), FULL, 413},
    {"somebody else's policy", GET("/not-eve", BEARER("$EVE")), FULL, 403},
};

static void first_refusal_wins(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        const char *why = orders[i].why;
        struct answer a;

        up(LIMITS("enforce") ROUTES);
        for (int n = 0; n < 3 && orders[i].empty == ADDRESS; n++)
            CHECK(why, ask(GET("/none", "")).status == 404);
        for (int n = 0; n < 3 && orders[i].empty == SUBJECT; n++)
            CHECK(why, ask(GET("/any", BEARER("$GOOD"))).status == 200);
        a = ask(orders[i].request);
        if (a.status != orders[i].status)
            fail_msg("%s: %u instead of %u", why, a.status, orders[i].status);
        CHECK(why, (a.status == 401) <= (answer_field(&a, "WWW-Authenticate") != NULL));
        CHECK(why, (a.status == 429) == answer_says(&a, "Retry-After", "60"));
        CHECK(why, answer_says(&a, "X-RateLimit-Limit", "3"));
        CHECK(why, a.status != 429 || answer_says(&a, "X-RateLimit-Remaining", "0"));
        bench_down(&bench);
    }
}

/* ---- one charge a request ---- */

static const struct {
    const char *why, *request;
    bool subject;                                        /* charged to u1, else to the address */
} charges[] = {
    {"framing", GET("/any", "A : b\r\n"), false},
    {"version", "GET / HTTP/3.0\r\n\r\n", false},
    {"path", GET("/any/%2f", BEARER("$GOOD")), false},
    {"method", "TRACE /any HTTP/1.1\r\nHost: api.test\r\n\r\n", false},
    {"no route", GET("/none", ""), false},
    {"no route, with a token nobody looked at", GET("/none", BEARER("$GOOD")), false},
    {"credential syntax", GET("/any", MALFORMED), false},
    {"no token", GET("/any", ""), false},
    {"another scheme", GET("/any", "Authorization: Basic eDp5\r\n"), false},
    {"a bad token", GET("/any", BEARER("$FORGED")), false},
    {"an old token", GET("/any", BEARER("$EXPIRED")), false},
    {"no keys for it", GET("/any", BEARER("$AWAY")), false},
    {"anonymous on a public route", GET("/public", ""), false},
    {"anonymous, body too large", POST("/public", TOO_LONG, "123456789"), false},
    {"a good token", GET("/any", BEARER("$GOOD")), true},
    {"a good token on a public route", GET("/public", BEARER("$GOOD")), true},
    {"denied", GET("/boss", BEARER("$GOOD")), true},
    {"body too large", POST("/any", BEARER("$GOOD") TOO_LONG, "123456789"), true},
    {"a body", POST("/any", BEARER("$GOOD") "Content-Length: 3\r\n", "abc"), true},
};

static void one_charge_a_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(charges); i++) {
        int told, address, subject;

        up(LIMITS("enforce") ROUTES);
        told = left_after(charges[i].request);
        address = left_after(GET("/public", ""));
        subject = left_after(GET("/any", BEARER("$GOOD")));
        CHECK(charges[i].why, told == 2);
        CHECK(charges[i].why, address == (charges[i].subject ? 2 : 1));
        CHECK(charges[i].why, subject == (charges[i].subject ? 1 : 2));
        bench_down(&bench);
    }
}

static void who_shares_a_bucket(void **state)
{
    static const struct {
        const char *why, *first, *second;
        bool shared;
    } cases[] = {
        {"one address", "192.0.2.1", "192.0.2.1", true},
        {"two addresses", "192.0.2.1", "192.0.2.2", false},
        {"one /64", "2001:db8::1", "2001:db8::ffff:1", true},
        {"two /64", "2001:db8::1", "2001:db8:0:1::1", false},
        {"IPv4 as IPv6 writes it", "192.0.2.1", "::ffff:192.0.2.1", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a;

        up(LIMITS("enforce") ROUTES);
        ask_from(cases[i].first, GET("/public", ""));
        a = ask_from(cases[i].second, GET("/public", ""));
        CHECK(cases[i].why, answer_says(&a, "X-RateLimit-Remaining", cases[i].shared ? "1" : "2"));
        /* A subject is the same wherever it calls from. */
        ask_from(cases[i].first, GET("/any", BEARER("$GOOD")));
        a = ask_from(cases[i].second, GET("/any", BEARER("$GOOD")));
        CHECK(cases[i].why, answer_says(&a, "X-RateLimit-Remaining", "1"));
        bench_down(&bench);
    }
}

/* X-Forwarded-For is believed from a trusted proxy only: else everybody could have a bucket of his own. */
static void forwarded_addresses(void **state)
{
    static const char first[] = GET("/public", "X-Forwarded-For: 198.51.100.1\r\n");
    static const char second[] = GET("/public", "X-Forwarded-For: 198.51.100.2\r\n");
    struct tg_cidr trusted;

    (void)state;
    up(LIMITS("enforce") ROUTES);
    assert_int_equal(left_after(first), 2);
    assert_int_equal(left_after(second), 1);
    bench_down(&bench);
    up(LIMITS("enforce") ROUTES);
    assert_true(tg_cidr_parse(TG_S(BENCH_PEER), &trusted));
    bench.config->trusted_proxies = &trusted;            /* nothing runs meanwhile */
    bench.config->trusted_count = 1;
    assert_int_equal(left_after(first), 2);
    assert_int_equal(left_after(second), 2);
    assert_int_equal(left_after(first), 1);
    bench_down(&bench);
}

static void a_window_ends(void **state)
{
    struct answer a;

    (void)state;
    up(LIMITS("enforce") ROUTES);
    for (int left = 2; left >= 0; left--)
        assert_int_equal(left_after(GET("/any", BEARER("$GOOD"))), left);
    for (int i = 0; i < 2; i++) {
        a = ask(GET("/any", BEARER("$GOOD")));
        assert_int_equal(a.status, 429);
        assert_true(answer_says(&a, "X-RateLimit-Reset", "1767225660"));
    }
    tg_clock_set_wall_ms((BENCH_NOW_S + 59) * 1000 + 999);
    a = ask(GET("/any", BEARER("$GOOD")));
    assert_true(a.status == 429 && answer_says(&a, "Retry-After", "1")); /* never 0 */
    tg_clock_set_wall_ms((BENCH_NOW_S + 60) * 1000);
    a = ask(GET("/any", BEARER("$GOOD")));
    assert_true(a.status == 200 && answer_says(&a, "X-RateLimit-Remaining", "2"));
    assert_true(answer_says(&a, "X-RateLimit-Reset", "1767225720"));
    bench_down(&bench);
}

static void shadow_counts_and_tells_but_lets_in(void **state)
{
    (void)state;
    up(LIMITS("shadow") ROUTES);
    for (int i = 0; i < 5; i++) {
        struct answer a = ask(GET("/any", BEARER("$GOOD")));
        char left[8];

        snprintf(left, sizeof(left), "%d", i < 3 ? 2 - i : 0);
        assert_int_equal(a.status, 200);
        assert_true(answer_says(&a, "X-RateLimit-Remaining", left));
        assert_int_equal(ask(GET("/any", BEARER("$FORGED"))).status, 401);
    }
    bench_down(&bench);
}

static void off_tells_nothing(void **state)
{
    (void)state;
    up("rate_limits: off\n" ROUTES);
    for (int i = 0; i < 5; i++) {
        struct answer a = ask(GET("/public", ""));

        assert_int_equal(a.status, 200);
        assert_null(strstr(a.head, "X-RateLimit"));
        assert_int_equal(ask(GET("/any", BEARER("$FORGED"))).status, 401);
    }
    bench_down(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_refusal_wins),
        cmocka_unit_test(one_charge_a_request),
        cmocka_unit_test(who_shares_a_bucket),
        cmocka_unit_test(forwarded_addresses),
        cmocka_unit_test(a_window_ends),
        cmocka_unit_test(shadow_counts_and_tells_but_lets_in),
        cmocka_unit_test(off_tells_nothing),
    };
    int failed;

    signer = issuer_key(TG_ALG_ES256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    tg_signer_free(signer);
    return failed;
}
