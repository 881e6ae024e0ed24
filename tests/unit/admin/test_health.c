/*
 * health - who asks gets 200 or 503 for the right reason, and no more than a stranger may know.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../gate/bench.h"
#include "admin/health.h"
#include "io/fetch.h"

static struct bench bench;
static struct tg_health health;
static struct tg_fetcher *fetcher;
static struct tg_keys *keys;
static struct tg_provider away;
static struct tg_providers nobody, providers = {&away, 1};

static int up(void **state)
{
    (void)state;
    memset(&health, 0, sizeof(health));
    tg_health_init(&health, &bench.shared);
    bench_up(&bench, NULL, &health.service, NULL);
    return 0;
}

static void make_keys(struct tg_worker *w, void *arg)
{
    tg_assert(tg_fetcher_new(w, &fetcher, NULL) == TG_OK);
    keys = tg_keys_new(w, fetcher, NULL);
    tg_keys_bind(keys, arg);
    health.keys = keys;
}

static void free_keys(struct tg_worker *w, void *arg)
{
    (void)w;
    health.keys = NULL;
    tg_providers_fini(arg);
    tg_keys_free(keys);
    tg_fetcher_free(fetcher);
    fetcher = NULL;
    keys = NULL;
}

static int down(void **state)
{
    (void)state;
    bench_down(&bench);
    return 0;
}

static struct answer ask(const char *request)
{
    struct answer a;

    if (!bench_ask(&bench, request, &a))
        fail_msg("no answer to %s", request);
    assert_true(answer_says(&a, "Cache-Control", "no-store"));
    assert_null(strstr(a.head, "X-RateLimit"));          /* nothing is counted here */
    return a;
}

/* ---- by state ---- */

enum { KEYS_ABSENT, KEYS_NONE_NEEDED, KEYS_MISSING };
#define CHECKS(started, keys, draining) "[" started "\n[" keys "\n[" draining "\n"
static const struct {
    const char *why;
    bool started, draining;
    int keys;
    unsigned live, startup, ready;
    const char *verbose;                                 /* how /readyz?verbose begins */
} states[] = {
    {"just begun", false, false, KEYS_ABSENT, 200, 503, 503,
     CHECKS("-]started failed", "-]keys failed", "+]not-draining ok")},
    {"before keys are there", true, false, KEYS_ABSENT, 200, 200, 503,
     CHECKS("+]started ok", "-]keys failed", "+]not-draining ok")},
    {"a provider that is away", true, false, KEYS_MISSING, 200, 200, 503,
     CHECKS("+]started ok", "-]keys failed", "+]not-draining ok")},
    {"no provider with remote keys", true, false, KEYS_NONE_NEEDED, 200, 200, 200,
     CHECKS("+]started ok", "+]keys ok", "+]not-draining ok")},
    {"keys, but a worker does not accept yet", false, false, KEYS_NONE_NEEDED, 200, 503, 503,
     CHECKS("-]started failed", "+]keys ok", "+]not-draining ok")},
    {"draining: out of the balancer, not restarted", true, true, KEYS_NONE_NEEDED, 200, 200, 503,
     CHECKS("+]started ok", "+]keys ok", "-]not-draining failed")},
    {"all at once", false, true, KEYS_MISSING, 200, 503, 503,
     CHECKS("-]started failed", "-]keys failed", "-]not-draining failed")},
};

static void expect(const char *why, const char *request, unsigned status, const char *body)
{
    struct answer a = ask(request);

    if (a.status != status || (body && strcmp(a.body, body) != 0))
        fail_msg("%s: %.20s: %u %s", why, request, a.status, a.body);
    CHECK(why, answer_says(&a, "Content-Type", "text/plain; charset=utf-8"));
}

static void answers_by_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const char *why = states[i].why, *said = states[i].ready == 200 ? "ok\n" : "not ready\n";
        struct tg_providers *bound = states[i].keys == KEYS_MISSING ? &providers : &nobody;
        struct answer a;

        away = (struct tg_provider){.name = TG_S_INIT("corp"), .issuer = TG_S_INIT("http://127.0.0.1:1"),
                                    .jwks_url = TG_S_INIT("http://127.0.0.1:1/keys"), .allow_http = true,
                                    .algs = TG_ALGS_DEFAULT, .max_stale_ms = 60000};
        atomic_store(&health.started, states[i].started);
        atomic_store(&health.draining, states[i].draining);
        if (states[i].keys != KEYS_ABSENT)
            tg_worker_call(bench.worker, make_keys, bound);
        expect(why, GET("/livez", ""), states[i].live, "ok\n");
        expect(why, GET("/livez?verbose", ""), states[i].live, "ok\n");
        expect(why, GET("/startupz", ""), states[i].startup, states[i].startup == 200 ? "ok\n" : "not ready\n");
        expect(why, GET("/startupz?verbose", ""), states[i].startup,
               states[i].started ? "[+]started ok\nok\n" : "[-]started failed\nnot ready\n");
        expect(why, GET("/readyz", ""), states[i].ready, said);
        expect(why, GET("/healthz", ""), states[i].ready, said);
        expect(why, GET("/readyz?verbos", ""), states[i].ready, said);
        expect(why, GET("/readyz?verbose", ""), states[i].ready, NULL);
        for (int form = 0; form < 3; form++) {
            a = ask(form == 0 ? GET("/readyz?verbose", "") : form == 1 ? GET("/healthz?verbose=1", "")
                                                                        : GET("/readyz?verbose&x", ""));
            CHECK(why, strncmp(a.body, states[i].verbose, strlen(states[i].verbose)) == 0);
            CHECK(why, strcmp(a.body + strlen(a.body) - strlen(said), said) == 0);
            CHECK(why, (states[i].keys == KEYS_MISSING) == (strstr(a.body, "http://127.0.0.1:1") != NULL));
        }
        if (states[i].keys != KEYS_ABSENT)
            tg_worker_call(bench.worker, free_keys, bound);
    }
}

/* ---- by request ---- */

static void other_requests(void **state)
{
    static const struct {
        const char *why, *request;
        unsigned status;
    } cases[] = {
        {"HEAD is as GET", "HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"HEAD of what is not ready", "HEAD /readyz HTTP/1.1\r\nHost: a\r\n\r\n", 503},
        {"POST", "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405},
        {"POST with a body nobody reads", "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405},
        {"DELETE", "DELETE /readyz HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"a method of nobody", "BREW /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"TRACE", "TRACE /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"OPTIONS of all", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"another path", GET("/", ""), 404},
        {"a path that begins alike", GET("/livez2", ""), 404},
        {"a path below", GET("/livez/x", ""), 404},
        {"paths have a case", GET("/Livez", ""), 404},
        {"the canonical path counts", GET("/x/..//%6Civez", ""), 200},
        {"a path with two readings", GET("/livez%2f", ""), 400},
        {"any host", "GET /livez HTTP/1.1\r\nHost: x.test:99\r\n\r\n", 200},
        {"HTTP/1.0 without Host, as balancers ask", "GET /livez HTTP/1.0\r\n\r\n", 200},
        {"no credential is looked at", GET("/livez", "Authorization: Bearer\r\n"), 200},
        {"framing is", GET("/livez", "A : b\r\n"), 400},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = ask(cases[i].request);

        if (a.status != cases[i].status)
            fail_msg("%s: %u instead of %u", cases[i].why, a.status, cases[i].status);
        CHECK(cases[i].why, !strstr(a.head, "WWW-Authenticate"));
    }
}

/* What `text` has after "\nNAME ", or "". */
static const char *metric(const char *text, const char *name)
{
    char find[96];
    const char *at;

    snprintf(find, sizeof(find), "\n%s ", name);
    at = strstr(text, find);
    return at ? at + strlen(find) : "";
}

static void metrics(void **state)
{
    static const struct tg_window windows[] = {{.name = TG_S_INIT("t"), .limit = 5, .length_s = 60}};
    static const struct tg_tier tier = {.name = TG_S_INIT("t"), .windows = windows, .window_count = 1};
    struct tg_limit_worker *counting = tg_limit_worker_new(bench.shared.limiter, NULL, NULL);
    struct tg_limit_ask ask = {.tier = &tier, .caller = {.identity_key = 17}, .wall_ms = BENCH_NOW_S * 1000};
    struct tg_charge charge;

    (void)state;
    atomic_store(&health.reload_ok, false);
    atomic_store(&health.reload_at_s, 1234567);
    assert_true(tg_limit_charge(counting, &ask, &charge) && charge.admitted);
    tg_limit_worker_free(counting);
    for (int twice = 0; twice < 2; twice++) {
        struct client c = bench_connect(&bench);
        const char *text;

        client_says(&c, GET("/metrics", "Connection: close\r\n"));
        assert_true(client_sees_end(&c, BENCH_WAIT_MS));
        text = tg_buf_cstr(&c.in);
        assert_non_null(strstr(text, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        assert_int_equal(atoi(metric(text, "tollgate_ratelimit_keys{algorithm=\"fixed\"}")), 1);
        assert_int_equal(*metric(text, "tollgate_ratelimit_keys{algorithm=\"sliding\"}"), '0');
        assert_int_equal(*metric(text, "tollgate_ratelimit_evictions_total"), '0');
        assert_int_equal(*metric(text, "tollgate_ratelimit_overflow_total"), '0');
        assert_int_equal(*metric(text, "tollgate_ratelimit_store_up"), '1');
        assert_int_equal(atoi(metric(text, "tollgate_access_log_dropped_total")), 0);
        assert_int_equal(*metric(text, "tollgate_config_last_reload_successful"), '0');
        assert_int_equal(atoi(metric(text, "tollgate_config_last_reload_success_timestamp_seconds")), 1234567);
        assert_true(atof(metric(text, "process_resident_memory_bytes")) > 0);
        assert_non_null(strstr(text, "\n# TYPE tollgate_ratelimit_keys gauge\n"));
        client_close(&c);
    }
}

/* Requests of the health listener are no traffic: they count against no bound of the data plane. */
static void not_counted_as_traffic(void **state)
{
    struct client c = bench_connect(&bench);
    struct tg_limit_state limits;
    struct answer a;

    (void)state;
    for (int i = 0; i < 3; i++) {
        client_says(&c, GET("/livez", ""));
        assert_true(client_answer(&c, false, &a) && a.status == 200);
    }
    assert_int_equal(atomic_load(&bench.shared.connections), 0);
    client_close(&c);
    assert_int_equal(bench_connections(&bench, 0), 0);
    tg_limiter_state(bench.shared.limiter, &limits);
    assert_int_equal(limits.local.fixed_keys, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_by_state),
        TEST(other_requests),
        TEST(metrics),
        TEST(not_counted_as_traffic),
    };

    tg_log_set_level(TG_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
