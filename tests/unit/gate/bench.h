/*
 * bench - a gate on a worker of its own, under a configuration made from text, and a client on a socketpair.
 *
 * The configuration is what boot would make of the file, without boot. Nothing here asserts on the worker's thread.
 */
#pragma once
#include "../../../proxy/gate/internal.h"
#include "../auth/issuer.h"
#include "base/clock.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BENCH_NOW_S INT64_C(1767225600)                  /* 2026-01-01T00:00:00Z, the start of a minute */
#define BENCH_WAIT_MS 5000                               /* for what must come */
#define BENCH_PEER "192.0.2.7"
/* `why`: of the case. */
#define CHECK(why, x) \
    do { \
        if (!(x)) \
            fail_msg("%s: %s", (why), #x); \
    } while (0)

/* ---- the configuration ---- */

/* What every route reads: its policies and the tiers. */
static inline void bench_know_reads(struct tg_config *c)
{
    const struct tg_program *programs[16] = {0};

    for (size_t i = 0; i < c->tiers.count && i + 2 < ARRAY_LEN(programs); i++)
        programs[2 + i] = c->tiers.items[i].when;
    for (size_t i = 0; i < tg_routes_count(c->routes); i++) {
        struct tg_route *route = tg_routes_at(c->routes, i);

        programs[0] = route->policy;
        programs[1] = route->shadow;
        route->reads = tg_ppl_reads(programs, ARRAY_LEN(programs), NULL, 0, &c->arena);
    }
}

/* Provider "corp" has the signer's keys here; "away" has none at all, as when it was never reached. */
static inline struct tg_config *bench_config(const struct tg_signer *signer, const char *yaml)
{
    struct tg_config *c = tg_config_new();
    struct tg_problems problems = {0};
    struct tg_buf text = {0};
    struct tg_err err;

    tg_buf_adds(&text, "identity_providers:\n"
                       "  corp: {issuer: 'https://idp.test', audiences: [api], leeway: 0s, jwks: ");
    issuer_jwks(signer, NULL, &text);
    tg_buf_adds(&text, "}\n  away: {issuer: 'https://away.test', audiences: [api], jwks_url: 'https://away.test/k'}\n");
    tg_buf_adds(&text, yaml);
    if (tg_tree_parse("bench.yaml", tg_buf_slice(&text), &c->tree, &err) != TG_OK)
        tg_panic(__FILE__, __LINE__, err.text);
    tg_providers_read(c->tree, tg_json_get(c->tree->root, "identity_providers"), &c->arena, &c->providers, &problems);
    tg_routes_read(c->tree, c->tree->root, &c->route_defaults, NULL, &c->arena, &c->routes, &problems);
    tg_tiers_read(c->tree, tg_json_get(c->tree->root, "rate_limits"), &c->arena, &c->tiers, &c->limits,
                  &problems);
    for (size_t i = 0; i < problems.count; i++)
        if (!problems.items[i].warning)
            tg_panic(__FILE__, __LINE__, problems.items[i].text);
    tg_problems_fini(&problems);
    tg_buf_fini(&text);
    bench_know_reads(c);
    c->log_facts = true;
    memcpy(c->policy_set, "0123456789abcdef", sizeof(c->policy_set));
    c->realm = TG_S("tollgate");
    c->timeouts = (struct tg_timeouts){.head_ms = 10000, .body_ms = 10000, .idle_ms = 10000, .connect_ms = 1000,
                                       .first_byte_ms = 1000, .upstream_idle_ms = 1000};
    c->bounds = (struct tg_bounds){.head = 65536, .uri = 16384, .token = 16384, .fields = 128, .mcp_body = 4096};
    return c;
}

/* ---- the gate ---- */

struct bench {
    struct tg_worker *worker;
    struct tg_gate_shared shared;
    struct tg_gate *gate;
    const struct tg_service *service;                    /* NULL: the data plane */
    struct tg_config *config;                            /* NULL: not bound yet */
};

static inline enum tg_status bench_make_gate(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct bench *b = arg;

    b->gate = tg_gate_new(w, &b->shared, b->service, err);
    if (!b->gate)
        return TG_IO;
    if (b->config)
        tg_gate_bind(b->gate, b->config);
    return TG_OK;
}

static inline void bench_free_gate(struct tg_worker *w, void *arg)
{
    struct bench *b = arg;

    (void)w;
    tg_gate_free(b->gate);
}

/* Takes the configuration over; `access_log`: a file's path, or NULL. */
static inline void bench_up(struct bench *b, struct tg_config *config, const struct tg_service *service,
                            const char *access_log)
{
    struct tg_worker_hooks hooks = {bench_make_gate, bench_free_gate, b};
    struct tg_err err;

    memset(b, 0, sizeof(*b));
    signal(SIGPIPE, SIG_IGN);
    tg_clock_set_wall_ms(BENCH_NOW_S * 1000 + 500);
    b->config = config;
    b->service = service;
    tg_gate_shared_init(&b->shared);
    b->shared.limiter = tg_limiter_new(1024);
    if (access_log && tg_log_sink_open(tg_slice_str(access_log), 0, &b->shared.access_log, &err) != TG_OK)
        tg_panic(__FILE__, __LINE__, err.text);
    if (tg_worker_start(0, "bench", &hooks, &b->worker, &err) != TG_OK)
        tg_panic(__FILE__, __LINE__, err.text);
}

static inline void bench_down(struct bench *b)
{
    tg_worker_stop(b->worker);
    tg_log_sink_close(b->shared.access_log);
    tg_limiter_free(b->shared.limiter);
    tg_gate_shared_fini(&b->shared);
    tg_config_unref(b->config);
    tg_clock_set_wall_ms(-1);
}

static inline void bench_drain_now(struct tg_worker *w, void *arg)
{
    struct bench *b = arg;

    (void)w;
    tg_gate_drain(b->gate);
}

static inline void bench_drain(struct bench *b)
{
    tg_worker_call(b->worker, bench_drain_now, b);
}

struct bench_count {
    struct bench *bench;
    size_t connections;
};

static inline void bench_count_now(struct tg_worker *w, void *arg)
{
    struct bench_count *count = arg;

    (void)w;
    count->connections = tg_gate_connections(count->bench->gate);
}

/* How many connections are open, once it is `want`; else how many after the time of BENCH_WAIT_MS. */
static inline size_t bench_connections(struct bench *b, size_t want)
{
    struct bench_count count = {.bench = b};
    int64_t until_ms = tg_clock_mono_ms() + BENCH_WAIT_MS;

    do
        tg_worker_call(b->worker, bench_count_now, &count);
    while (count.connections != want && tg_clock_mono_ms() < until_ms);
    return count.connections;
}

/* ---- tokens ---- */

/*
 * The request with $GOOD, $EVE, $EXPIRED, $FORGED, $AWAY replaced by tokens: of u1, of eve, of u1 long ago, with a
 * foreign signature, of the provider without keys. free() it.
 */
static inline char *bench_fill(const struct tg_signer *signer, const char *request)
{
    static const struct {
        const char *name, *claims;
    } tokens[] = {
        {"$GOOD", "{\"iss\":\"https://idp.test\",\"aud\":\"api\",\"sub\":\"u1\",\"exp\":1767225900}"},
        {"$EVE", "{\"iss\":\"https://idp.test\",\"aud\":\"api\",\"sub\":\"eve\",\"exp\":1767225900}"},
        {"$EXPIRED", "{\"iss\":\"https://idp.test\",\"aud\":\"api\",\"sub\":\"u1\",\"exp\":1767225000}"},
        {"$FORGED", "{\"iss\":\"https://idp.test\",\"aud\":\"api\",\"sub\":\"u1\",\"exp\":1767225901}"},
        {"$AWAY", "{\"iss\":\"https://away.test\",\"aud\":\"api\",\"sub\":\"u1\",\"exp\":1767225900}"},
    };
    struct tg_buf out = {0};

    while (*request) {
        size_t i = 0;

        while (i < ARRAY_LEN(tokens) && strncmp(request, tokens[i].name, strlen(tokens[i].name)) != 0)
            i++;
        if (i == ARRAY_LEN(tokens)) {
            tg_buf_addc(&out, *request++);
            continue;
        }
        struct tg_slice token = issuer_token(signer, tokens[i].claims);

        tg_buf_add_slice(&out, token);
        if (strcmp(tokens[i].name, "$FORGED") == 0) {    /* the tenth octet from the end carries six bits of it */
            char *c = &out.data[out.len - 10];

            *c = *c == 'A' ? 'B' : 'A';
        }
        free((char *)(uintptr_t)token.ptr);
        request += strlen(tokens[i].name);
    }
    tg_buf_cstr(&out);
    return out.data;
}

/* ---- the client ---- */

struct client {
    int fd;
    bool ended;                                          /* the gate has closed */
    struct tg_buf in;
};

struct bench_accept {
    struct bench *bench;
    int fd;
    const char *peer;
};

static inline void bench_accept_now(struct tg_worker *w, void *arg)
{
    struct bench_accept *a = arg;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(40000)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(40000)};
    struct tg_ip ip;

    (void)w;
    if (!tg_ip_parse(tg_slice_str(a->peer), &ip))
        tg_panic(__FILE__, __LINE__, a->peer);
    memcpy(&v4.sin_addr, ip.bytes, 4);
    memcpy(&v6.sin6_addr, ip.bytes, 16);
    tg_gate_accept(a->bench->gate, a->fd, ip.family == 4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6);
}

static inline struct client bench_connect_from(struct bench *b, const char *peer)
{
    struct bench_accept a = {b, -1, peer};
    struct client c = {0};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        tg_panic(__FILE__, __LINE__, "no socketpair");
    c.fd = pair[0];
    a.fd = pair[1];
    tg_worker_call(b->worker, bench_accept_now, &a);
    return c;
}

static inline struct client bench_connect(struct bench *b)
{
    return bench_connect_from(b, BENCH_PEER);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    tg_buf_fini(&c->in);
}

/* Sends it whole; what the gate does not want any more is lost. */
static inline void client_send(struct client *c, struct tg_slice bytes)
{
    while (bytes.len > 0) {
        struct pollfd p = {c->fd, POLLOUT, 0};
        ssize_t n = send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno != EAGAIN || poll(&p, 1, BENCH_WAIT_MS) <= 0))
            return;
        bytes.ptr += n > 0 ? n : 0;
        bytes.len -= n > 0 ? (size_t)n : 0;
    }
}

static inline void client_says(struct client *c, const char *text)
{
    client_send(c, tg_slice_str(text));
}

/* Reads what comes within `ms`; false: nothing did, or the gate has closed. */
static inline bool client_read(struct client *c, int ms)
{
    struct pollfd p = {c->fd, POLLIN, 0};
    ssize_t n;

    if (c->ended || poll(&p, 1, ms) <= 0)
        return false;
    tg_buf_reserve(&c->in, 65536);
    n = recv(c->fd, c->in.data + c->in.len, 65536, 0);
    if (n <= 0) {
        c->ended = true;
        return false;
    }
    c->in.len += (size_t)n;
    return true;
}

/* Whether the gate closes within `ms`; what it says before is read. */
static inline bool client_sees_end(struct client *c, int ms)
{
    int64_t until_ms = tg_clock_mono_ms() + ms;

    while (!c->ended && tg_clock_mono_ms() < until_ms)
        client_read(c, (int)(until_ms - tg_clock_mono_ms()));
    return c->ended;
}

/* ---- answers ---- */

struct answer {
    unsigned status;                                     /* 0: none came */
    char head[4096], body[8192];                         /* end in NUL; the head with its empty line */
};

/* The value of field `name` (as "\r\nName: "), once; NULL: absent, or there more than once. Valid until the next. */
static inline const char *answer_field(const struct answer *a, const char *name)
{
    static char value[1024];
    const char *at, *end;
    char find[80];

    snprintf(find, sizeof(find), "\r\n%s: ", name);
    at = strcasestr(a->head, find);
    if (!at || strcasestr(at + 1, find))
        return NULL;
    at += strlen(find);
    end = strstr(at, "\r\n");
    snprintf(value, sizeof(value), "%.*s", (int)(end - at), at);
    return value;
}

static inline bool answer_says(const struct answer *a, const char *name, const char *want)
{
    const char *value = answer_field(a, name);

    return value && strcmp(value, want) == 0;
}

/* The next answer; `to_head`: of a HEAD, it has no body. False: none came. Every answer here has a length. */
static inline bool client_answer(struct client *c, bool to_head, struct answer *a)
{
    int64_t until_ms = tg_clock_mono_ms() + BENCH_WAIT_MS;

    memset(a, 0, sizeof(*a));
    for (;;) {
        const char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
        size_t head = end ? (size_t)(end - c->in.data) + 4 : 0, body = 0;

        if (end && head < sizeof(a->head)) {
            const char *length;

            snprintf(a->head, sizeof(a->head), "%.*s", (int)head, c->in.data);
            length = answer_field(a, "Content-Length");
            body = length && !to_head ? strtoul(length, NULL, 10) : 0;
            if (c->in.len >= head + body && body < sizeof(a->body)) {
                memcpy(a->body, c->in.data + head, body);
                a->body[body] = '\0';
                a->status = (unsigned)strtoul(a->head + 9, NULL, 10);
                tg_buf_drop(&c->in, head + body);
                return true;
            }
        }
        if (tg_clock_mono_ms() > until_ms || !client_read(c, BENCH_WAIT_MS)) {
            a->head[0] = '\0';
            return false;
        }
    }
}

/* One request on a connection of its own. */
static inline bool bench_ask_from(struct bench *b, const char *peer, const char *request, struct answer *a)
{
    struct client c = bench_connect_from(b, peer);
    bool came;

    client_says(&c, request);
    came = client_answer(&c, strncmp(request, "HEAD ", 5) == 0, a);
    client_close(&c);
    return came;
}

static inline bool bench_ask(struct bench *b, const char *request, struct answer *a)
{
    return bench_ask_from(b, BENCH_PEER, request, a);
}

#define GET(target, fields) "GET " target " HTTP/1.1\r\nHost: api.test\r\n" fields "\r\n"
#define BEARER(token) "Authorization: Bearer " token "\r\n"
