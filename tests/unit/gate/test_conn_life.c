/*
 * conn_life - how long connections may stay and how many: slow and idle ones, half-closed ones, drain, bounds, reload.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "conn_bench.h"

/* ---- times ---- */

static void slow_ones(void **state)
{
    static const struct {
        const char *why, *request;
        unsigned status;                                 /* 0: closed without a word */
    } cases[] = {
        {"a part of a head", "GET /e HTTP/1.1\r\nHo", 408},
        {"a single octet", "G", 408},
        {"nothing: there is nothing to answer", "", 0},
        {"a part of a body", "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab", 408},
        {"a part of a chunk", "POST /e HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nab", 408},
    };
    struct tg_config *config = make_config();

    (void)state;
    config->timeouts.head_ms = 150;
    config->timeouts.body_ms = 150;
    up(config);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *why = cases[i].why;
        struct client c = bench_connect(&bench);
        struct answer a;

        client_says(&c, cases[i].request);
        CHECK(why, client_answer(&c, false, &a) == (cases[i].status != 0));
        CHECK(why, a.status == cases[i].status);
        CHECK(why, a.status == 0 || answer_says(&a, "Connection", "close"));
        CHECK(why, client_sees_end(&c, BENCH_WAIT_MS));
        client_close(&c);
    }
    bench_down(&bench);
}

/* Octets of a head now and then do not put its deadline off. */
static void trickling_does_not_buy_time(void **state)
{
    struct tg_config *config = make_config();
    int64_t began_ms;
    struct client c;

    (void)state;
    config->timeouts.head_ms = 200;
    up(config);
    c = bench_connect(&bench);
    began_ms = tg_clock_mono_ms();
    client_says(&c, "GET /e HTTP/1.1\r\nA: ");
    while (c.in.len == 0 && !c.ended && tg_clock_mono_ms() < began_ms + BENCH_WAIT_MS) {
        client_says(&c, "a");
        client_read(&c, 20);
    }
    assert_true(c.in.len > 12 && memcmp(c.in.data, "HTTP/1.1 408", 12) == 0);
    assert_true(tg_clock_mono_ms() - began_ms >= 150);
    client_close(&c);
    bench_down(&bench);
}

static void idle_connections_close(void **state)
{
    struct tg_config *config = make_config();
    int64_t began_ms;
    struct client c;

    (void)state;
    config->timeouts.idle_ms = 300;
    up(config);
    c = bench_connect(&bench);
    for (int i = 0; i < 3; i++) {                        /* each request starts the time anew */
        began_ms = tg_clock_mono_ms();
        client_says(&c, GET("/e", ""));
        expect_echo(&c, "/e", "");
        assert_false(client_sees_end(&c, 100));
    }
    assert_true(client_sees_end(&c, BENCH_WAIT_MS));
    assert_true(tg_clock_mono_ms() - began_ms >= 250);
    assert_int_equal(c.in.len, 0);                       /* without a word */
    client_close(&c);
    bench_down(&bench);
}

/* Who asks and asks and reads nothing is not served for ever. */
static void who_does_not_read_is_cut_off(void **state)
{
    struct tg_config *config = make_config();
    struct client c;
    ssize_t n;

    (void)state;
    config->timeouts.body_ms = 200;
    up(config);
    c = bench_connect(&bench);
    for (int64_t until_ms = tg_clock_mono_ms() + 100; tg_clock_mono_ms() < until_ms;) {
        n = send(c.fd, GET("/e", ""), strlen(GET("/e", "")), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            break;
    }
    assert_int_equal(bench_connections(&bench, 0), 0);
    client_close(&c);
    bench_down(&bench);
}

/* ---- the client's end ---- */

static void half_closed(void **state)
{
    static const struct {
        const char *why, *sent;
        int answers;
    } cases[] = {
        {"nothing was asked", "", 0},
        {"inside a head", "GET /e HTTP/1.1\r\n", 0},
        {"behind a request", GET("/e", ""), 1},
        {"behind pipelined ones", GET("/e", "") GET("/none", "") GET("/e", ""), 3},
        {"inside a head behind pipelined ones", GET("/e", "") GET("/e", "") "GET /e", 2},
        {"inside a body: it will never be whole", "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab", 0},
        {"inside a body behind a request", GET("/e", "") "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab", 1},
    };

    (void)state;
    up(make_config());
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int octets = 0; octets <= 1; octets++) {
            struct client c = bench_connect(&bench);
            struct answer a;
            int answers = 0;

            if (octets)
                trickle(&c, cases[i].sent);
            else
                client_says(&c, cases[i].sent);
            shutdown(c.fd, SHUT_WR);
            while (client_answer(&c, false, &a))
                answers++;
            CHECK(cases[i].why, answers == cases[i].answers);
            CHECK(cases[i].why, client_sees_end(&c, BENCH_WAIT_MS));
            client_close(&c);
        }
    }
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

/* ---- drain ---- */

static void drain(void **state)
{
    static const char request[] = "POST /e?busy HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na";
    struct bench_count turn = {.bench = &bench};
    struct client idle, asking, busy, begun;
    struct answer a;

    (void)state;
    up(make_config());
    idle = bench_connect(&bench);
    asking = bench_connect(&bench);
    busy = bench_connect(&bench);
    begun = bench_connect(&bench);
    client_says(&idle, GET("/e", ""));
    expect_echo(&idle, "/e", "");
    client_says(&busy, request);
    client_says(&begun, "GET /e HTTP/1.1\r\n");
    for (int i = 0; i < 5; i++)
        tg_worker_call(bench.worker, bench_count_now, &turn);
    bench_drain(&bench);
    client_says(&asking, GET("/e", ""));                 /* it was on its way */
    assert_true(client_answer(&asking, false, &a));
    assert_true(a.status == 200 && answer_says(&a, "Connection", "close"));
    assert_true(client_sees_end(&asking, BENCH_WAIT_MS));
    assert_true(client_sees_end(&idle, BENCH_WAIT_MS));
    assert_int_equal(idle.in.len, 0);
    assert_false(client_sees_end(&busy, 10));            /* what is under way is not hurried */
    client_says(&busy, "bc" GET("/e?behind", ""));
    assert_true(client_answer(&busy, false, &a));
    assert_true(a.status == 200 && answer_says(&a, "Connection", "close"));
    assert_true(client_sees_end(&busy, BENCH_WAIT_MS) && busy.in.len == 0);
    client_says(&begun, HOST "\r\n");
    assert_true(client_answer(&begun, false, &a));
    assert_true(a.status == 200 && answer_says(&a, "Connection", "close"));
    client_close(&idle);
    client_close(&asking);
    client_close(&busy);
    client_close(&begun);
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

/* ---- how many ---- */

static void connections_are_bounded(void **state)
{
    struct tg_config *config = make_config();
    struct client c[3], again;

    (void)state;
    config->bounds.connections = 2;
    up(config);
    assert_true(is_served(&c[0], "192.0.2.1"));
    assert_true(is_served(&c[1], "192.0.2.2"));
    assert_false(is_served(&c[2], "192.0.2.3"));
    assert_true(client_sees_end(&c[2], BENCH_WAIT_MS));
    assert_int_equal(bench_connections(&bench, 2), 2);
    client_close(&c[0]);
    assert_int_equal(bench_connections(&bench, 1), 1);
    assert_true(is_served(&again, "192.0.2.3"));
    client_close(&again);
    client_close(&c[1]);
    client_close(&c[2]);
    assert_int_equal(bench_connections(&bench, 0), 0);
    assert_int_equal(atomic_load(&bench.shared.connections), 0);
    bench_down(&bench);
}

static void connections_of_an_address_are_bounded(void **state)
{
    static const struct {
        const char *why, *peer;
        bool served;
    } cases[] = {
        {"the first", "192.0.2.1", true},
        {"the second", "192.0.2.1", true},
        {"one too many", "192.0.2.1", false},
        {"still", "192.0.2.1", false},
        {"the same as IPv6 writes it", "::ffff:192.0.2.1", false},
        {"another address", "192.0.2.2", true},
        {"IPv6", "2001:db8::1", true},
        {"the same /64", "2001:db8::2:1", true},
        {"the same /64, one too many", "2001:db8::3", false},
        {"another /64", "2001:db8:0:1::1", true},
    };
    struct tg_config *config = make_config();
    struct client c[ARRAY_LEN(cases)], again;

    (void)state;
    config->bounds.connections_per_address = 2;
    up(config);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        CHECK(cases[i].why, is_served(&c[i], cases[i].peer) == cases[i].served);
    client_close(&c[0]);
    assert_int_equal(bench_connections(&bench, 5), 5);
    assert_true(is_served(&again, "192.0.2.1"));
    client_close(&again);
    for (size_t i = 1; i < ARRAY_LEN(cases); i++)
        client_close(&c[i]);
    assert_int_equal(bench_connections(&bench, 0), 0);
    bench_down(&bench);
}

/* ---- configurations come and go ---- */

struct binding {
    struct bench *bench;
    struct tg_config *config;
};

static void bind_now(struct tg_worker *w, void *arg)
{
    struct binding *b = arg;

    (void)w;
    tg_gate_bind(b->bench->gate, b->config);
}

static void requests_end_under_the_configuration_they_began_with(void **state)
{
    struct bench_count turn = {.bench = &bench};
    struct binding first = {&bench, make_config()};
    struct binding second = {&bench, bench_config(signer, "rate_limits: off\nroutes: []\n")};
    struct client c;
    struct answer a;

    (void)state;
    up(NULL);
    assert_true(bench_ask(&bench, GET("/e", ""), &a));
    assert_int_equal(a.status, 503);                     /* before there is one */
    tg_worker_call(bench.worker, bind_now, &first);
    tg_config_unref(first.config);
    c = bench_connect(&bench);
    client_says(&c, "POST /e HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na");
    for (int i = 0; i < 5; i++)
        tg_worker_call(bench.worker, bench_count_now, &turn);
    tg_worker_call(bench.worker, bind_now, &second);
    tg_config_unref(second.config);
    client_says(&c, "bc" GET("/e", ""));
    expect_echo(&c, "/e", "abc");
    assert_true(client_answer(&c, false, &a));
    assert_int_equal(a.status, 404);
    client_close(&c);
    bench_down(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_ones),
        cmocka_unit_test(trickling_does_not_buy_time),
        cmocka_unit_test(idle_connections_close),
        cmocka_unit_test(who_does_not_read_is_cut_off),
        cmocka_unit_test(half_closed),
        cmocka_unit_test(drain),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(connections_of_an_address_are_bounded),
        cmocka_unit_test(requests_end_under_the_configuration_they_began_with),
    };

    return run_connection_tests(tests, ARRAY_LEN(tests));
}
