/*
 * conn_bench - a gate with the built-in echo and a guarded route, for the tests of connections.
 */
#pragma once
#include "bench.h"

#define HOST "Host: a\r\n"

static const char yaml[] =
    "rate_limits: off\n"
    "routes:\n"
    "  - {name: echo, prefix: /e, to: 'echo:', allow_public_unauthenticated_access: true}\n"
    "  - {name: guarded, prefix: /g, to: 'echo:', allow_any_authenticated_user: true}\n";
static struct tg_signer *signer;
static struct bench bench;

static inline struct tg_config *make_config(void)
{
    return bench_config(signer, yaml);
}

static inline void up(struct tg_config *config)
{
    bench_up(&bench, config, NULL, NULL);
}

static inline void expect_echo(struct client *c, const char *uri, const char *body)
{
    char want[256];
    struct answer a;

    assert_true(client_answer(c, false, &a));
    assert_int_equal(a.status, 200);
    snprintf(want, sizeof(want), "\"uri\":\"%s\"", uri);
    assert_non_null(strstr(a.body, want));
    snprintf(want, sizeof(want), "\"body\":\"%s\"}", body);
    assert_non_null(strstr(a.body, want));
}

/* Sends it octet by octet, and lets the gate look at each. */
static inline void trickle(struct client *c, const char *text)
{
    for (; *text; text++) {
        struct bench_count turn = {.bench = &bench};

        client_send(c, tg_slice(text, 1));
        tg_worker_call(bench.worker, bench_count_now, &turn);
    }
}

/* Whether a connection of that address is served; it stays open in *c. */
static inline bool is_served(struct client *c, const char *peer)
{
    struct answer a;

    *c = bench_connect_from(&bench, peer);
    client_says(c, GET("/e", ""));
    return client_answer(c, false, &a) && a.status == 200;
}

static inline int run_connection_tests(const struct CMUnitTest *tests, size_t count)
{
    int failed;

    signer = issuer_key(TG_ALG_ES256);
    failed = _cmocka_run_group_tests("connection", tests, count, NULL, NULL);
    tg_signer_free(signer);
    return failed;
}
