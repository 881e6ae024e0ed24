/* fetch: what comes back, what is refused, and in which words. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "http_peer.h"
#include "base/ip.h"
#include "io/fetch.h"
#include <signal.h>

static struct tg_worker *worker;
static struct tg_fetcher *fetcher;
static struct http_peer peer;
static const char *raw;                                  /* what the peer answers; as all here under peer.lock */
static unsigned asked;
static char last_head[16384];

struct got {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done, cancel;
    struct tg_fetch_request request;
    struct tg_fetch *fetch;
    struct tg_fetch_answer answer;
    char error[400], etag[600];
    struct tg_buf body;
};

static void script(struct http_peer *p, const char *head, struct tg_buf *out)
{
    (void)p;
    asked++;
    snprintf(last_head, sizeof(last_head), "%s", head);
    tg_buf_adds(out, raw);
}

static void answer_with(const char *text)
{
    pthread_mutex_lock(&peer.lock);
    raw = text;
    asked = 0;
    pthread_mutex_unlock(&peer.lock);
}

static unsigned times_asked(void)
{
    unsigned n;

    pthread_mutex_lock(&peer.lock);
    n = asked;
    pthread_mutex_unlock(&peer.lock);
    return n;
}

static void done(void *arg, const struct tg_fetch_answer *answer)
{
    struct got *got = arg;

    pthread_mutex_lock(&got->lock);
    got->answer = *answer;
    tg_buf_add_slice(&got->body, answer->body);
    snprintf(got->error, sizeof(got->error), "%s", answer->error ? answer->error : "");
    snprintf(got->etag, sizeof(got->etag), TG_S_FMT, TG_S_ARG(answer->etag));
    got->done = true;
    pthread_cond_signal(&got->cond);
    pthread_mutex_unlock(&got->lock);
}

static void start(struct tg_worker *w, void *arg)
{
    struct got *got = arg;

    (void)w;
    got->fetch = tg_fetch_start(fetcher, &got->request, done, got);
    assert_false(got->done);
    if (got->cancel)
        tg_fetch_cancel(got->fetch);
}

static void fetch(struct got *got, const char *url, size_t max_bytes, int64_t timeout_ms)
{
    got->request.url = url;
    got->request.max_bytes = max_bytes;
    got->request.timeout_ms = timeout_ms;
    pthread_mutex_init(&got->lock, NULL);
    pthread_cond_init(&got->cond, NULL);
    tg_worker_call(worker, start, got);
    pthread_mutex_lock(&got->lock);
    while (!got->done)
        pthread_cond_wait(&got->cond, &got->lock);
    pthread_mutex_unlock(&got->lock);
}

static const char *peer_url(void)
{
    static char url[64];

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/keys", peer.port);
    return url;
}

#define OK "HTTP/1.1 200 OK\r\nConnection: close\r\n"
static const struct {
    const char *why, *raw;
    enum tg_status status;
    unsigned http_status;
    int64_t max_age_s, date_s;
    const char *body_or_error;
} answers[] = {
    {"plain", OK "Content-Length: 2\r\n\r\nhi", TG_OK, 200, -1, 0, "hi"},
    {"empty", "HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", TG_OK, 204, -1, 0, ""},
    {"chunked", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", TG_OK, 200, -1, 0, "hi"},
    {"an error status is an answer", "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", TG_OK, 404, -1, 0, ""},
    {"a redirect is not followed", "HTTP/1.1 302 x\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", TG_OK, 302, -1, 0,
     ""},
    {"ZITADEL's default", OK "cache-control: max-age=300, must-revalidate\r\nContent-Length: 0\r\n\r\n", TG_OK, 200,
     300, 0, ""},
    {"no-store", OK "Cache-Control: no-store\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, 0, 0, ""},
    {"no-cache wins", OK "Cache-Control: max-age=9, no-cache\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, 0, 0, ""},
    {"quoted", OK "Cache-Control: Max-Age=\"7\"\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, 7, 0, ""},
    {"the shorter of two", OK "Cache-Control: max-age=9\r\nCache-Control: max-age=8\r\nContent-Length: 0\r\n\r\n",
     TG_OK, 200, 8,
     0, ""},
    {"a broken number is none", OK "Cache-Control: max-age=-1\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, 0, 0, ""},
    {"no number is none", OK "Cache-Control: max-age\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, 0, 0, ""},
    {"other directives", OK "Cache-Control: ,,private, x=max-age\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, -1, 0, ""},
    {"Date", OK "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, -1, 1795255200, ""},
    {"kept by a cache", OK "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nAge: 1200\r\nContent-Length: 0\r\n\r\n", TG_OK, 200,
     -1, 1795256400, ""},
    {"a part of its life spent in a cache", OK "Cache-Control: max-age=300\r\nAge: 100\r\nContent-Length: 0\r\n\r\n",
     TG_OK, 200, 200, 0, ""},
    {"all of it", OK "Cache-Control: max-age=300\r\nAge: 301\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, 0, 0, ""},
    {"a broken age", OK "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nAge: -5\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, -1,
     0, ""},
    {"no date", OK "Date: yesterday\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, -1, 0, ""},
    {"a date beyond all", OK "Date: Fri, 31 Dec 9999999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n", TG_OK, 200, -1, 0,
     ""},
    {"exactly the limit", OK "Content-Length: 16\r\n\r\n0123456789abcdef", TG_OK, 200, -1, 0, "0123456789abcdef"},
    {"too large, announced", OK "Content-Length: 17\r\n\r\n0123456789abcdefg", TG_LIMIT, 0, 0, 0,
     "larger than 16 bytes"},
    {"too large, chunked", OK "Transfer-Encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n", TG_LIMIT, 0, 0,
     0,
     "larger than 16 bytes"},
    {"cut short", OK "Content-Length: 9\r\n\r\nhi", TG_IO, 0, 0, 0, "cut short"},
    {"cut chunks", OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", TG_IO, 0, 0, 0, "cut short"},
    {"no answer", "", TG_IO, 0, 0, 0, "closed without an answer"},
    {"not HTTP", "SSH-2.0-x\r\n", TG_IO, 0, 0, 0, "not HTTP"},
};

static void comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct got got = {0};

        answer_with(answers[i].raw);
        fetch(&got, peer_url(), 16, 2000);
        if (got.answer.status != answers[i].status || got.answer.http_status != answers[i].http_status)
            fail_msg("%s: status %d, http %u, %s", answers[i].why, got.answer.status, got.answer.http_status,
                     got.error);
        assert_int_equal(times_asked(), 1);
        if (answers[i].status == TG_OK) {
            assert_string_equal(tg_buf_cstr(&got.body), answers[i].body_or_error);
            assert_int_equal(got.answer.max_age_s, answers[i].max_age_s);
            assert_int_equal(got.answer.date_s, answers[i].date_s);
        } else if (!strstr(got.error, answers[i].body_or_error)) {
            fail_msg("%s: \"%s\"", answers[i].why, got.error);
        }
        tg_buf_fini(&got.body);
    }
}

#define TAGGED(fields) OK fields "Content-Length: 0\r\n\r\n"
static void what_a_client_asks_again_with(void **state)
{
    static const struct {
        const char *why, *raw, *etag;
        int64_t retry_after_s;
    } cases[] = {
        {"neither", TAGGED(""), "", -1},
        {"strong", TAGGED("ETag: \"v1\"\r\n"), "\"v1\"", -1},
        {"weak", TAGGED("etag:  W/\"v1\" \r\n"), "W/\"v1\"", -1},
        {"two are none", TAGGED("ETag: \"a\"\r\nETag: \"b\"\r\n"), "", -1},
        {"octets that cannot be sent back", TAGGED("ETag: \"\xff\"\r\n"), "", -1},
        {"seconds", TAGGED("Retry-After: 120\r\n"), "", 120},
        {"at once", TAGGED("Retry-After: 0\r\n"), "", 0},
        {"a great many", TAGGED("Retry-After: 99999999999\r\n"), "", INT32_MAX},
        {"a date, by the server's clock",
         TAGGED("Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nRetry-After: Sat, 21 Nov 2026 10:00:30 GMT\r\n"), "", 30},
        {"a date that is over",
         TAGGED("Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nRetry-After: Sat, 21 Nov 2026 09:00:30 GMT\r\n"), "", 0},
        {"neither number nor date", TAGGED("Retry-After: soon\r\n"), "", -1},
        {"negative", TAGGED("Retry-After: -5\r\n"), "", -1},
        {"also with a failure", "HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "", 7},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct got got = {0};

        answer_with(cases[i].raw);
        fetch(&got, peer_url(), 0, 2000);
        assert_int_equal(got.answer.status, TG_OK);
        if (strcmp(got.etag, cases[i].etag) != 0 || got.answer.retry_after_s != cases[i].retry_after_s)
            fail_msg("%s: %s, %lld s", cases[i].why, got.etag, (long long)got.answer.retry_after_s);
    }
}

static void a_long_etag_is_none(void **state)
{
    struct tg_buf text = {0};
    struct got got = {0};

    (void)state;
    tg_buf_adds(&text, OK "Content-Length: 0\r\nETag: \"");
    for (int i = 0; i < 520; i++)
        tg_buf_addc(&text, 'x');
    tg_buf_adds(&text, "\"\r\n\r\n");
    answer_with(tg_buf_cstr(&text));
    fetch(&got, peer_url(), 0, 2000);
    assert_int_equal(got.answer.status, TG_OK);
    assert_string_equal(got.etag, "");
    tg_buf_fini(&text);
}

/* ---- whom a request may reach ---- */

static struct tg_ip met[8];
static unsigned met_count;
static char elsewhere[] = "10.0.0.1";

/* `arg`: the one address that may not be reached, as text; NULL: none may. */
static bool ask_about(void *arg, const struct tg_ip *ip)
{
    struct tg_ip bad;

    if (met_count < ARRAY_LEN(met))
        met[met_count++] = *ip;
    if (!arg)
        return false;
    return !tg_ip_parse(tg_slice_str(arg), &bad) || !tg_ip_eq(&bad, ip);
}

static void addresses_are_asked_about(void **state)
{
    static const char *const spellings[] = {"127.0.0.1", "localhost", "2130706433", "127.1", "[::ffff:127.0.0.1]"};
    char url[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
        struct got no = {.request = {.may_connect = ask_about}}, again = no;

        snprintf(url, sizeof(url), "http://%s:%u/", spellings[i], peer.port);
        answer_with(OK "Content-Length: 0\r\n\r\n");
        met_count = 0;
        fetch(&no, url, 0, 2000);
        if (no.answer.status != TG_DENIED || !strstr(no.error, "may not be connected to"))
            fail_msg("%s: %d %s", url, no.answer.status, no.error);
        if (met_count == 0 || !tg_ip_is_loopback(&met[0]))
            fail_msg("%s: asked about %u addresses", url, met_count);
        again.request.may_connect_arg = elsewhere;
        fetch(&again, url, 0, 2000);
        if (again.answer.status != TG_OK)
            fail_msg("%s: %d %s", url, again.answer.status, again.error);
        assert_int_equal(times_asked(), 1);              /* the refused one never reached anybody */
    }
}

/* A connection that nobody was asked about must not serve one that asks. */
static void no_connection_is_borrowed(void **state)
{
    struct got warm = {0}, no = {.request = {.may_connect = ask_about}};

    (void)state;
    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    fetch(&warm, peer_url(), 0, 2000);
    assert_int_equal(warm.answer.status, TG_OK);
    fetch(&no, peer_url(), 0, 2000);
    assert_int_equal(no.answer.status, TG_DENIED);
    assert_int_equal(times_asked(), 1);
}

static void a_redirect_leads_nowhere(void **state)
{
    struct got got = {.request = {.may_connect = ask_about, .may_connect_arg = elsewhere}};

    (void)state;
    answer_with("HTTP/1.1 302 x\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
    met_count = 0;
    fetch(&got, peer_url(), 0, 2000);
    assert_int_equal(got.answer.http_status, 302);
    assert_int_equal(met_count, 1);
}

static void fails_in_words(void **state)
{
    static const struct {
        const char *why, *url, *words;
    } cases[] = {
        {"no scheme but http", "ftp://127.0.0.1/", "not an http or https URL"},
        {"no file", "file:///etc/passwd", "not an http or https URL"},
        {"no user name", "http://user:secret@127.0.0.1:1/", "user name"},
        {"no URL", "http://[", "not a URL"},
        {"nobody there", "http://127.0.0.1:1/", "connection refused"},
        {"unknown name", "http://nowhere.invalid/", "host name is not known"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct got got = {0};

        fetch(&got, cases[i].url, 0, 2000);
        assert_int_not_equal(got.answer.status, TG_OK);
        if (!strstr(got.error, cases[i].words) || strstr(got.error, "secret"))
            fail_msg("%s: \"%s\"", cases[i].why, got.error);
    }
}

static void head_is_bounded(void **state)
{
    struct tg_buf text = {0};
    struct got got = {0};

    (void)state;
    tg_buf_adds(&text, OK);
    for (int i = 0; i < 2000; i++)
        tg_buf_adds(&text, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    tg_buf_adds(&text, "Content-Length: 0\r\n\r\n");
    answer_with(tg_buf_cstr(&text));
    fetch(&got, peer_url(), 0, 2000);
    assert_int_equal(got.answer.status, TG_LIMIT);
    assert_non_null(strstr(got.error, "head is larger"));
    tg_buf_fini(&text);
}

static void slow_answer(void **state)
{
    struct got got = {0};

    (void)state;
    answer_with(OK "Content-Length: 0\r\n\r\n");
    http_peer_delay(&peer, 400);
    fetch(&got, peer_url(), 0, 100);
    http_peer_delay(&peer, 0);
    assert_int_equal(got.answer.status, TG_IO);
    assert_non_null(strstr(got.error, "no whole answer within 100 ms"));
}

static void plain_port_asked_for_tls(void **state)
{
    struct got got = {0};
    char url[64];

    (void)state;
    answer_with("HTTP/1.1 400 x\r\n\r\n");
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", peer.port);
    fetch(&got, url, 0, 500);                            /* the peer waits for a head that never comes */
    assert_int_equal(got.answer.status, TG_IO);
}

static void sends_what_it_is_told(void **state)
{
    const char *headers[] = {"Accept: application/json", "Authorization: Bearer t", NULL};
    struct got got = {.request = {.method = "POST", .body = TG_S_INIT("token=abc"), .headers = headers}};

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);       /* must not be looked at */
    answer_with(OK "Content-Length: 0\r\n\r\n");
    fetch(&got, peer_url(), 0, 2000);
    unsetenv("http_proxy");
    assert_int_equal(got.answer.status, TG_OK);
    assert_non_null(strstr(last_head, "POST /keys HTTP/1.1\r\n"));
    assert_non_null(strstr(last_head, "Accept: application/json\r\n"));
    assert_non_null(strstr(last_head, "Authorization: Bearer t\r\n"));
    assert_non_null(strstr(last_head, "\r\n\r\ntoken=abc"));
    assert_null(strstr(last_head, "Expect:"));
}

static void cancelled_is_silent(void **state)
{
    struct got gone = {.cancel = true, .request = {.url = "http://127.0.0.1:1/"}}, bad = gone, after = {0};

    (void)state;
    bad.request.url = "ftp://x/";
    tg_worker_call(worker, start, &gone);
    tg_worker_call(worker, start, &bad);
    answer_with(OK "Content-Length: 0\r\n\r\n");
    fetch(&after, peer_url(), 0, 2000);
    assert_false(gone.done);
    assert_false(bad.done);
}

static void urls(void **state)
{
    static const struct {
        const char *url;
        bool allow_http;
        enum tg_status want;
    } cases[] = {
        {"https://idp.example.com", false, TG_OK},
        {"https://idp.example.com:8443/a?b", false, TG_OK},
        {"http://localhost:8080/x", false, TG_OK},
        {"http://127.0.0.1", false, TG_OK},
        {"http://127.9.9.9", false, TG_OK},
        {"http://[::1]:80/", false, TG_OK},
        {"http://idp.example.com", false, TG_BAD_INPUT},
        {"http://idp.example.com", true, TG_OK},
        {"http://127.0.0.1.example.com", false, TG_BAD_INPUT},
        {"http://localhost.example.com", false, TG_BAD_INPUT},
        {"http://128.0.0.1", false, TG_BAD_INPUT},
        {"http://localhost@example.com", false, TG_BAD_INPUT},
        {"https://user@idp.example.com", false, TG_BAD_INPUT},
        {"https://idp.example.com/#x", false, TG_BAD_INPUT},
        {"ftp://idp.example.com", true, TG_BAD_INPUT},
        {"file:///etc/passwd", true, TG_BAD_INPUT},
        {"idp.example.com", false, TG_BAD_INPUT},
        {"", false, TG_BAD_INPUT},
        {"https://", false, TG_BAD_INPUT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (tg_fetch_check_url(cases[i].url, cases[i].allow_http, NULL) != cases[i].want)
            fail_msg("%s", cases[i].url);
}

static enum tg_status init(struct tg_worker *w, void *arg, struct tg_err *err)
{
    (void)arg;
    return tg_fetcher_new(w, &fetcher, err);
}

static void fini(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_fetcher_free(fetcher);
}

static int setup(void **state)
{
    struct tg_worker_hooks hooks = {init, fini, NULL};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    peer.script = script;
    http_peer_start(&peer);
    return tg_worker_start(0, "fetch", &hooks, &worker, NULL) != TG_OK;
}

static int teardown(void **state)
{
    struct got running = {.request = {.url = "http://127.0.0.1:1/"}};

    (void)state;
    running.request.url = peer_url();
    tg_worker_call(worker, start, &running);             /* freed while it runs */
    tg_worker_stop(worker);
    http_peer_stop(&peer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),               cmocka_unit_test(what_a_client_asks_again_with),
        cmocka_unit_test(a_long_etag_is_none),
        cmocka_unit_test(addresses_are_asked_about),
        cmocka_unit_test(no_connection_is_borrowed),
        cmocka_unit_test(a_redirect_leads_nowhere),
        cmocka_unit_test(fails_in_words),
        cmocka_unit_test(head_is_bounded),          cmocka_unit_test(slow_answer),
        cmocka_unit_test(sends_what_it_is_told),    cmocka_unit_test(cancelled_is_silent),
        cmocka_unit_test(plain_port_asked_for_tls), cmocka_unit_test(urls),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
