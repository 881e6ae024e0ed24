/*
 * service - what answers later: the body it gets, and who goes first, client, answer or gate.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "bench.h"

#define HOST "Host: a\r\n"
#define BODY_MAX 64

static struct bench bench;
static struct {                                          /* of the worker */
    struct tg_service_call *call;                        /* of /held, /kept */
    unsigned begun, answered;
} served;

static size_t refusal_fields(void *arg, const struct tg_ip *ip, struct tg_arena *arena, struct tg_field *out)
{
    (void)arg;
    out[0] = (struct tg_field){TG_S("X-Of"), tg_arena_printf(arena, "%u", ip->family), TG_FIELD_OTHER};
    return 1;
}

static bool wants_body(void *arg, const struct tg_service_request *request)
{
    (void)arg;
    return !tg_slice_starts_with(request->path, TG_S("/unread"));
}

static void done(struct tg_service_call *call, struct tg_slice text)
{
    struct tg_field fields[] = {{TG_S("ETag"), TG_S("\"v1\""), TG_FIELD_OTHER}};
    struct tg_service_answer a = {.status = 200, .content_type = "text/plain", .fields = fields, .field_count = 1};

    tg_buf_add_slice(&a.body, text);
    served.answered++;
    tg_service_done(call, &a);
}

struct later {
    struct tg_service_call *call;
    struct tg_buf text;
};

static void answer_later(struct tg_worker *w, void *arg)
{
    struct later *l = arg;

    (void)w;
    done(l->call, tg_buf_slice(&l->text));
    tg_buf_fini(&l->text);
    free(l);
}

/* /now answers from inside, /held waits for release(), all others from the loop. The answer tells what was asked. */
static void begin(void *arg, struct tg_service_call *call, const struct tg_service_request *r)
{
    struct later *l = TG_NEW(struct later);

    (void)arg;
    l->call = call;
    tg_buf_addf(&l->text, "%s " TG_S_FMT "?" TG_S_FMT " %zu%s " TG_S_FMT, tg_method_name(r->method_id),
                TG_S_ARG(r->path), TG_S_ARG(r->query), r->body.len, r->body_too_large ? "+" : "", TG_S_ARG(r->body));
    served.begun++;
    if (tg_slice_eq(r->path, TG_S("/held"))) {
        served.call = call;
        tg_buf_fini(&l->text);
        free(l);
    } else if (tg_slice_eq(r->path, TG_S("/now"))) {
        answer_later(NULL, l);
    } else {
        tg_worker_post(bench.worker, answer_later, l);
    }
}

static const struct tg_service service = {.begin = begin, .body_max = BODY_MAX, .wants_body = wants_body,
                                          .max_connections = 4, .error_format = TG_FORMAT_POMERIUM,
                                          .refusal_fields = refusal_fields};

static int up(void **state)
{
    (void)state;
    memset(&served, 0, sizeof(served));
    bench_up(&bench, NULL, &service, NULL);
    return 0;
}

static int down(void **state)
{
    (void)state;
    bench_down(&bench);
    return 0;
}

static void release_now(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    if (served.call)
        done(served.call, TG_S("released"));
    served.call = NULL;
}

static void has_begun(struct tg_worker *w, void *arg)
{
    (void)w;
    *(unsigned *)arg = served.begun;
}

static void await_begun(unsigned want)
{
    int64_t until_ms = tg_clock_mono_ms() + BENCH_WAIT_MS;
    unsigned begun = 0;

    while (begun < want && tg_clock_mono_ms() < until_ms)
        tg_worker_call(bench.worker, has_begun, &begun);
    assert_int_equal(begun, want);
}

/* ---- bodies ---- */

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
static const struct {
    const char *why, *request;
    unsigned status;
    const char *body;                                    /* NULL: not looked at */
    bool close;
} cases[] = {
    {"no body, answered from inside", "GET /now?a=1 HTTP/1.1\r\n" HOST "\r\n", 200, "GET /now?a=1 0 ", false},
    {"no body, answered later", "GET /x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /x? 0 ", false},
    {"a length", "PUT /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200, "PUT /x? 3 abc", false},
    {"a length, from inside", "PUT /now HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200,
     "PUT /now? 3 abc", false},
    {"a length of nothing", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 200, "POST /x? 0 ", false},
    {"chunks", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200,
     "POST /x? 3 abc", false},
    {"chunks with trailers",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: u\r\n\r\n",
     200, "POST /x? 1 a", false},
    {"as long as may be", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 64\r\n\r\n" A64, 200, "POST /x? 64 " A64, false},
    {"longer", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 65\r\n\r\n" A64 "a", 200, "POST /x? 0+ ", true},
    {"much longer, and not sent", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\n", 200,
     "POST /x? 0+ ", true},
    {"longer in chunks", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n40\r\n" A64 "\r\n1\r\na\r\n",
     200,
     "POST /x? 0+ ", true},
    {"longer in chunks, from inside",
     "POST /now HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n40\r\n" A64 "\r\n1\r\na\r\n", 200,
     "POST /now? 0+ ",
     true},
    {"longer in chunks, and whole",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n40\r\n" A64 "\r\n1\r\na\r\n0\r\n\r\n", 200,
     "POST /x? 0+ ", true},
    {"not wanted", "POST /unread HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 200, "POST /unread? 0 ", true},
    {"not wanted and not sent", "POST /unread HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n", 200,
     "POST /unread? 0 ", true},
    {"not wanted, nor asked for", "POST /unread HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
     200, "POST /unread? 0 ", true},
    {"too long to be asked for", "POST /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 65\r\n\r\n", 200,
     "POST /x? 0+ ", true},
    {"malformed chunks", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, NULL, true},
    {"a malformed head", "GET /x HTTP/1.1\r\n" HOST "A : b\r\n\r\n", 400, NULL, true},
    {"an ambiguous path", "GET /x%2f HTTP/1.1\r\n" HOST "\r\n", 400, NULL, false},
    {"TRACE", "TRACE /x HTTP/1.1\r\n" HOST "\r\n", 405, NULL, true},
};

static void bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *why = cases[i].why;
        struct client c = bench_connect(&bench);
        struct answer a;

        client_says(&c, cases[i].request);
        CHECK(why, client_answer(&c, false, &a));
        if (a.status != cases[i].status || (cases[i].body && strcmp(a.body, cases[i].body) != 0))
            fail_msg("%s: %u %s", why, a.status, a.body);
        CHECK(why, answer_says(&a, "Connection", "close") == cases[i].close);
        if (cases[i].status == 200) {
            CHECK(why, answer_says(&a, "ETag", "\"v1\"") && answer_says(&a, "Cache-Control", "no-store"));
        } else {
            CHECK(why, answer_says(&a, "X-Of", "4"));
            CHECK(why, strncmp(a.body, "{\"error\":", 9) == 0 && strstr(a.body, "request_id"));
        }
        CHECK(why, answer_field(&a, "X-Request-Id") != NULL);
        client_close(&c);
    }
}

/* Wherever the network cuts, the same is served. */
static void split(void **state)
{
    (void)state;
    for (size_t i = 2; i < 8; i++) {
        const char *text = cases[i].request;
        struct client c = bench_connect(&bench);
        struct answer a;

        for (size_t k = 0; text[k]; k++)
            client_send(&c, tg_slice(text + k, 1));
        assert_true(client_answer(&c, false, &a));
        if (a.status != 200 || strcmp(a.body, cases[i].body) != 0)
            fail_msg("%s: %u %s", cases[i].why, a.status, a.body);
        client_close(&c);
    }
}

static void continues(void **state)
{
    struct client c = bench_connect(&bench);
    struct answer a;

    (void)state;
    client_says(&c, "POST /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    while (c.in.len < 25 && client_read(&c, BENCH_WAIT_MS))
        continue;
    assert_int_equal(c.in.len, 25);
    assert_memory_equal(c.in.data, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    tg_buf_drop(&c.in, 25);
    client_says(&c, "abc");
    assert_true(client_answer(&c, false, &a) && a.status == 200);
    assert_string_equal(a.body, "POST /x? 3 abc");
    client_close(&c);
}

/* ---- one after the other ---- */

static void pipelined(void **state)
{
    static const char *const bodies_in_order[] = {"GET /a? 0 ", "PUT /b? 2 xy", "GET /now? 0 ", "GET /c? 0 "};
    struct client c = bench_connect(&bench);

    (void)state;
    client_says(&c, "GET /a HTTP/1.1\r\n" HOST "\r\nPUT /b HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nxy"
                    "GET /now HTTP/1.1\r\n" HOST "\r\nGET /c HTTP/1.1\r\n" HOST "\r\n");
    for (size_t i = 0; i < ARRAY_LEN(bodies_in_order); i++) {
        struct answer a;

        assert_true(client_answer(&c, false, &a) && a.status == 200);
        assert_string_equal(a.body, bodies_in_order[i]);
    }
    client_close(&c);
}

static void head_has_no_body(void **state)
{
    struct client c = bench_connect(&bench);
    struct answer a;

    (void)state;
    client_says(&c, "HEAD /x HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_answer(&c, true, &a) && a.status == 200);
    assert_true(answer_says(&a, "Content-Length", "11"));
    client_says(&c, "GET /x HTTP/1.1\r\n" HOST "X-Request-Id: mine-1\r\n\r\n");
    assert_true(client_answer(&c, false, &a) && a.status == 200);
    assert_true(answer_says(&a, "X-Request-Id", "mine-1"));
    client_close(&c);
}

/* ---- who goes first ---- */

/* Octets that it did not read make its end a reset. */
static void client_goes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {                  /* in either order, whatever the timing */
        struct client c = bench_connect(&bench);

        client_says(&c, "POST /held HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
        await_begun(i + 1);
        client_close(&c);
        if (i % 2)
            assert_int_equal(bench_connections(&bench, 0), 0);
        tg_worker_call(bench.worker, release_now, NULL);
        assert_int_equal(served.answered, i + 1);
        assert_int_equal(bench_connections(&bench, 0), 0);
    }
}

/* A client that has said all it had to say still gets its answer. */
static void client_half_closes(void **state)
{
    struct client c = bench_connect(&bench);
    struct answer a;

    (void)state;
    client_says(&c, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    await_begun(1);
    shutdown(c.fd, SHUT_WR);
    assert_false(client_read(&c, 50));
    tg_worker_call(bench.worker, release_now, NULL);
    assert_true(client_answer(&c, false, &a) && a.status == 200);
    assert_string_equal(a.body, "released");
    assert_true(client_sees_end(&c, BENCH_WAIT_MS));
    client_close(&c);
}

/* The gate is freed while a call is out; its answer comes then, to nobody. */
static void gate_goes(void **state)
{
    struct client c = bench_connect(&bench);

    (void)state;
    client_says(&c, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    await_begun(1);
    bench_down(&bench);
    assert_true(client_sees_end(&c, BENCH_WAIT_MS));
    release_now(NULL, NULL);
    assert_int_equal(served.answered, 1);
    client_close(&c);
}

static void drains(void **state)
{
    struct client c = bench_connect(&bench), idle = bench_connect(&bench);
    struct answer a;

    (void)state;
    client_says(&c, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    await_begun(1);
    bench_drain(&bench);
    assert_true(client_sees_end(&idle, BENCH_WAIT_MS));
    tg_worker_call(bench.worker, release_now, NULL);
    assert_true(client_answer(&c, false, &a) && a.status == 200);
    assert_true(answer_says(&a, "Connection", "close"));
    assert_true(client_sees_end(&c, BENCH_WAIT_MS));
    client_close(&c);
    client_close(&idle);
}

static void so_many_connections(void **state)
{
    struct client c[5];
    struct answer a;

    (void)state;
    for (size_t i = 0; i < 5; i++)
        c[i] = bench_connect(&bench);
    assert_true(client_sees_end(&c[4], BENCH_WAIT_MS));
    client_close(&c[0]);
    assert_int_equal(bench_connections(&bench, 3), 3);
    client_close(&c[4]);
    c[4] = bench_connect(&bench);
    client_says(&c[4], "GET /x HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_answer(&c[4], false, &a) && a.status == 200);
    for (size_t i = 1; i < 5; i++)
        client_close(&c[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bodies),
        TEST(split),
        TEST(continues),
        TEST(pipelined),
        TEST(head_has_no_body),
        TEST(client_goes),
        TEST(client_half_closes),
        cmocka_unit_test_setup(gate_goes, up),
        TEST(drains),
        TEST(so_many_connections),
    };

    tg_log_set_level(TG_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
