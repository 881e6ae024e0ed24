/*
 * conn_h1 - requests of one connection: however the network cuts them they are answered in order; what is no request is
 * refused, to a clean end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "conn_bench.h"

/* ---- heads that are refused, and how it ends ---- */

#define X10(s) s s s s s s s s s s
#define X100(s) X10(X10(s))

static const struct {
    const char *why, *request;
    unsigned status;
} heads[] = {
    {"target over limits.uri", "GET /e" X100("abc") " HTTP/1.1\r\n" HOST "\r\n", 414},
    {"target over limits.uri, not even ended", "GET /e" X100("abcd"), 414},
    {"head over limits.head", "GET /e HTTP/1.1\r\n" HOST "A: " X100("0123456789ab") "\r\n\r\n", 431},
    {"head over limits.head, not even ended", "GET /e HTTP/1.1\r\n" HOST "A: " X100("0123456789ab"), 431},
    {"more than limits.fields", "GET /e HTTP/1.1\r\n" HOST X10("A: b\r\n") "\r\n", 431},
    {"RFC 9112 §6.1 unknown coding", "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"RFC 9112 §3 method longer than any", X10("METHODS") " /e HTTP/1.1\r\n" HOST "\r\n", 501},
    {"version 2.0", "GET /e HTTP/2.0\r\n" HOST "\r\n", 505},
    {"version 1.2", "GET /e HTTP/1.2\r\n" HOST "\r\n", 505},
    {"RFC 9112 §3.2 no Host", "GET /e HTTP/1.1\r\n\r\n", 400},
    {"RFC 9112 §3.2 two Hosts", "GET /e HTTP/1.1\r\n" HOST HOST "\r\n", 400},
    {"RFC 9112 §6.3 both framings",
     "POST /e HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"two lengths", "POST /e HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 4\r\n\r\n", 400},
    {"RFC 9112 §5.1 space before the colon", "GET /e HTTP/1.1\r\nHost : a\r\n\r\n", 400},
    {"RFC 9112 §5.2 folded", "GET /e HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400},
    {"bare LF", "GET /e HTTP/1.1\n" HOST "\r\n", 400},
    {"TLS where none is spoken", "\x16\x03\x01\x02", 400},
    {"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
};

static void refused_heads(void **state)
{
    struct tg_config *config = make_config();

    (void)state;
    config->bounds.head = 1024;
    config->bounds.uri = 256;
    config->bounds.fields = 8;
    up(config);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        for (int octets = 0; octets <= 1; octets++) {    /* whole, and in single octets */
            const char *why = heads[i].why;
            struct client c = bench_connect(&bench);
            struct answer a;

            if (octets)
                trickle(&c, heads[i].request);
            else
                client_says(&c, heads[i].request);
            client_says(&c, GET("/e", ""));              /* what follows is no request any more */
            CHECK(why, client_answer(&c, false, &a));
            CHECK(why, a.status == heads[i].status);
            CHECK(why, answer_says(&a, "Connection", "close"));
            CHECK(why, client_sees_end(&c, BENCH_WAIT_MS) && c.in.len == 0);
            client_close(&c);
        }
    }
    bench_down(&bench);
}

/* ---- one after the other ---- */

static const char three[] = "POST /e?1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                            "\r\nPOST /e?2 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                            "2;x=y\r\nde\r\n1\r\nf\r\n0\r\nT: v\r\n\r\n"
                            "GET /e?3 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";

static void expect_three(struct client *c)
{
    expect_echo(c, "/e?1", "abc");
    expect_echo(c, "/e?2", "def");
    expect_echo(c, "/e?3", "");
    assert_true(client_sees_end(c, BENCH_WAIT_MS));
    assert_int_equal(c->in.len, 0);
    client_close(c);
}

static void pipelined_however_they_are_cut(void **state)
{
    struct bench_count turn = {.bench = &bench};
    struct client c;

    (void)state;
    up(make_config());
    for (size_t cut = 0; cut < sizeof(three); cut++) {
        c = bench_connect(&bench);
        client_send(&c, tg_slice(three, cut));
        tg_worker_call(bench.worker, bench_count_now, &turn);
        client_says(&c, three + cut);
        expect_three(&c);
    }
    c = bench_connect(&bench);
    trickle(&c, three);
    expect_three(&c);
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

static void many_pipelined_are_answered_in_order(void **state)
{
    enum { MANY = 3000 };                                /* far more than is read ahead */
    struct tg_buf all = {0};
    struct client c;

    (void)state;
    up(make_config());
    for (int i = 0; i < MANY; i++)
        tg_buf_addf(&all, "GET /e?%d HTTP/1.1\r\n" HOST "\r\n", i);
    c = bench_connect(&bench);
    for (int i = 0, sent = 0; i < MANY; i++) {
        for (; sent < MANY && sent < i + 1000; sent += 500) { /* so that neither side waits for the other */
            size_t from = all.len * (size_t)sent / MANY, to = all.len * (size_t)(sent + 500) / MANY;

            client_send(&c, tg_slice(all.data + from, to - from));
        }
        char uri[32];

        snprintf(uri, sizeof(uri), "/e?%d", i);
        expect_echo(&c, uri, "");
    }
    client_close(&c);
    tg_buf_fini(&all);
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

static void persistence(void **state)
{
    static const struct {
        const char *why, *request, *connection;          /* NULL: nothing is said of it */
        bool kept;
    } cases[] = {
        {"1.1 stays", GET("/e", ""), NULL, true},
        {"1.1 close", GET("/e", "Connection: x, Close\r\n"), "close", false},
        {"1.0 closes", "GET /e HTTP/1.0\r\n" HOST "\r\n", "close", false},
        {"1.0 keep-alive", "GET /e HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n", "keep-alive", true},
        {"a 404 stays", GET("/none", ""), NULL, true},
        {"a 401 stays", GET("/g", ""), NULL, true},
        {"a 400 of the path stays", GET("/e%00", ""), NULL, true},
        {"a malformed credential closes", GET("/g", "Authorization: Bearer\r\n"), "close", false},
        {"TRACE closes", "TRACE /e HTTP/1.1\r\n" HOST "\r\n", "close", false},
        {"answered before the body was read", "POST /g HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "close",
         false},
        {"refused before the body was asked for",
         "POST /g HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", "close", false},
        {"HEAD", "HEAD /e HTTP/1.1\r\n" HOST "\r\n", NULL, true},
    };

    (void)state;
    up(make_config());
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c = bench_connect(&bench);
        const char *why = cases[i].why, *connection;
        struct answer a;

        client_says(&c, cases[i].request);
        CHECK(why, client_answer(&c, cases[i].request[0] == 'H', &a));
        connection = answer_field(&a, "Connection");
        CHECK(why, cases[i].connection ? connection && strcmp(connection, cases[i].connection) == 0 : !connection);
        CHECK(why, client_sees_end(&c, cases[i].kept ? 30 : BENCH_WAIT_MS) == !cases[i].kept && c.in.len == 0);
        if (cases[i].kept) {
            client_says(&c, GET("/e?again", ""));
            expect_echo(&c, "/e?again", "");
        }
        client_close(&c);
    }
    bench_down(&bench);
}

/* ---- bodies ---- */

static void body_is_asked_for_when_it_is_wanted(void **state)
{
    struct client c;
    struct answer a;

    (void)state;
    up(make_config());
    c = bench_connect(&bench);
    client_says(&c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_true(client_answer(&c, false, &a));
    assert_string_equal(a.head, "HTTP/1.1 100 Continue\r\n\r\n");
    client_says(&c, "abc");
    expect_echo(&c, "/e", "abc");
    client_close(&c);
    bench_down(&bench);
}

static void bodies_that_are_refused(void **state)
{
    static const struct {
        const char *why, *request;
        unsigned status;
    } cases[] = {
        {"a length over limits.body", "POST /e HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcde", 413},
        {"chunks over limits.body",
         "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde", 413},
        {"a chunk size that is none", "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        {"a chunk longer than said", "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400},
        {"a malformed trailer",
         "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx y: 1\r\n\r\n", 400},
    };
    struct tg_config *config = make_config();

    (void)state;
    config->bounds.body = 4;
    up(config);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c = bench_connect(&bench);
        struct answer a;

        client_says(&c, cases[i].request);
        CHECK(cases[i].why, client_answer(&c, false, &a) && a.status == cases[i].status);
        CHECK(cases[i].why, answer_says(&a, "Connection", "close") && client_sees_end(&c, BENCH_WAIT_MS));
        client_close(&c);
    }
    bench_down(&bench);
}

/* RFC 9112 §9.6: a client that sends on without looking sees its answer all the same. */
static void unread_body_does_not_cost_the_answer(void **state)
{
    static char body[300000];
    struct client c;
    struct answer a;

    (void)state;
    up(make_config());
    memset(body, 'x', sizeof(body));
    c = bench_connect(&bench);
    client_says(&c, "POST /g HTTP/1.1\r\n" HOST "Content-Length: 300000\r\n\r\n");
    client_send(&c, tg_slice(body, sizeof(body)));
    assert_true(client_answer(&c, false, &a));
    assert_int_equal(a.status, 401);
    assert_true(client_sees_end(&c, BENCH_WAIT_MS));
    client_close(&c);
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

/* ---- nonsense ---- */

/* A law: whatever comes, the connection ends, what is said is HTTP, and the next one is served. */
static void nonsense_never_hurts(void **state)
{
    unsigned seed = 1;
    struct client c;

    (void)state;
    up(make_config());
    for (int round = 0; round < 3000; round++) {
        char text[sizeof(three)];
        int changes = 1 + rand_r(&seed) % 4;

        memcpy(text, three, sizeof(three));
        for (int i = 0; i < changes; i++)
            text[rand_r(&seed) % (int)(sizeof(three) - 1)] = (char)rand_r(&seed);
        c = bench_connect(&bench);
        client_send(&c, tg_slice(text, sizeof(three) - 1));
        shutdown(c.fd, SHUT_WR);
        assert_true(client_sees_end(&c, BENCH_WAIT_MS));
        assert_true(c.in.len == 0 || memcmp(c.in.data, "HTTP/1.1 ", 9) == 0);
        client_close(&c);
    }
    assert_true(is_served(&c, BENCH_PEER));
    client_close(&c);
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_heads),
        cmocka_unit_test(pipelined_however_they_are_cut),
        cmocka_unit_test(many_pipelined_are_answered_in_order),
        cmocka_unit_test(persistence),
        cmocka_unit_test(body_is_asked_for_when_it_is_wanted),
        cmocka_unit_test(bodies_that_are_refused),
        cmocka_unit_test(unread_body_does_not_cost_the_answer),
        cmocka_unit_test(nonsense_never_hurts),
    };

    return run_connection_tests(tests, ARRAY_LEN(tests));
}
