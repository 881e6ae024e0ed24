/*
 * redis_connect - how a link comes and goes: names, addresses, TLS, pauses.
 */
#include "redis_internal.h"
#include "base/digest.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 2000
#define STEADY_MS 1000                                   /* a link that was up so long was a good one */

static struct tg_redis *of_stream(struct tg_stream *s) { return (struct tg_redis *)s; }

/* ---- losing it ---- */

void tg_redis_hang_up(struct tg_redis *r)
{
    tg_stream_close(&r->stream, false);
    tg_redis_reader_free(r->reader);
    r->reader = NULL;
    if (r->query)
        tg_resolve_cancel(r->query);
    r->query = NULL;
    tg_worker_undefer(r->worker, &r->connect);
    tg_deadline_clear(&r->worker->wheel, &r->timer);
}

/*
 * At once after a link that was good, then after 100 ms, 200 ms, ... 2 s; a quarter more or less, so that those who
 * lost it together do not come back together.
 */
static int64_t pause_ms(struct tg_redis *r)
{
    uint32_t random;
    int64_t ms = PAUSE_MIN_MS;

    if (r->failures++ == 0)
        return 0;
    for (unsigned i = 2; i < r->failures && ms < PAUSE_MAX_MS; i++)
        ms *= 2;
    ms = ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS;
    tg_random(&random, sizeof(random));
    return ms * 3 / 4 + (int64_t)(random % (uint32_t)(ms / 2 + 1));
}

void tg_redis_lost(struct tg_redis *r, const char *why)
{
    char text[320];

    snprintf(text, sizeof(text), "%s", why);             /* it may lie in what is freed now */
    if (r->state == REDIS_UP && r->worker->now_ms - r->up_since_ms >= STEADY_MS)
        r->failures = 0;
    tg_redis_hang_up(r);
    r->state = REDIS_PAUSING;
    tg_deadline_set(&r->worker->wheel, &r->timer, r->worker->now_ms + pause_ms(r));
    tg_redis_tell(r, false, text);
    tg_redis_drop_calls(r, true);
}

/* ---- connecting ---- */

/* Of several addresses the one that answered tells more than one where nobody is. */
__attribute__((format(printf, 3, 4))) static void note_failure(struct tg_redis *r, enum redis_failure what,
                                                               const char *fmt, ...)
{
    va_list ap;

    if (what < r->failed)
        return;
    r->failed = what;
    va_start(ap, fmt);
    vsnprintf(r->failure, sizeof(r->failure), fmt, ap);
    va_end(ap);
}

static void on_connected(struct tg_stream *s, int error)
{
    struct tg_redis *r = of_stream(s);
    int one = 1, idle_s = 60;

    if (error == 0) {
        if (r->options.address.host.len > 0) {
            setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
            setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        }
        tg_redis_greet(r);
        return;
    }
    if (error == EPROTO && *tg_stream_tls_error(s))
        note_failure(r, FAILED_TLS, "no TLS: %s", tg_stream_tls_error(s));
    else
        note_failure(r, FAILED_CONNECT, "cannot connect: %s", strerror(error));
    tg_stream_close(s, false);
    tg_worker_defer(r->worker, &r->connect);
}

/* Anew for each connection, so that a renewed file of authorities needs no restart. */
static enum tg_status renew_tls(struct tg_redis *r, struct tg_err *err)
{
    const struct tg_tls_client_settings settings = {.ca_file = r->options.ca_file.ptr, .no_alpn = true};
    struct tg_tls_client *fresh;
    enum tg_status st = tg_tls_client_new(&settings, &fresh, err);

    if (st != TG_OK)
        return r->tls ? TG_OK : st;                      /* half written: the former is still good */
    tg_tls_client_unref(r->tls);
    r->tls = fresh;
    return TG_OK;
}

static bool next_address(struct tg_redis *r, struct tg_address *out)
{
    const struct tg_redis_address *a = &r->options.address;

    if (r->ip_at >= (a->host.len > 0 ? r->ip_count : 1))
        return false;
    r->ip_at++;
    return a->host.len > 0 ? tg_address_from_ip(&r->ips[r->ip_at - 1], a->port, out)
                           : tg_address_from_path(a->path, out, NULL) == TG_OK;
}

static void on_readable(struct tg_stream *s) { tg_redis_read(of_stream(s)); }

static void on_broken(struct tg_stream *s)
{
    struct tg_redis *r = of_stream(s);

    tg_redis_enter(r);
    tg_redis_lost(r, "the connection broke");
    tg_redis_leave(r);
}

static void on_drained(struct tg_stream *s) { (void)s; }

static bool connect_to(struct tg_redis *r, const struct tg_address *to)
{
    static const struct tg_stream_events events = {
        .readable = on_readable, .drained = on_drained, .connected = on_connected, .broken = on_broken};
    enum tg_status st;

    if (r->options.address.tls)
        st = tg_stream_connect_tls(&r->stream, r->worker, to, &events, r->tls, r->options.address.host, NULL);
    else
        st = tg_stream_connect(&r->stream, r->worker, to, &events);
    if (st != TG_OK)
        note_failure(r, FAILED_CONNECT, "cannot connect: %s", strerror(errno));
    return st == TG_OK;
}

static void try_next(struct tg_redis *r)
{
    struct tg_address to;

    r->state = REDIS_CONNECTING;
    while (next_address(r, &to)) {
        if (!connect_to(r, &to))
            continue;
        tg_deadline_set(&r->worker->wheel, &r->timer, r->worker->now_ms + r->options.dead_ms);
        return;
    }
    tg_redis_lost(r, r->failure);
}

static void take_addresses(struct tg_redis *r, const struct tg_ip *ips, size_t count)
{
    struct tg_err err;

    r->ip_count = count < TG_REDIS_ADDRESSES ? count : TG_REDIS_ADDRESSES;
    r->ip_at = 0;
    if (count > 0)
        memcpy(r->ips, ips, r->ip_count * sizeof(*ips));
    r->failed = FAILED_NAME;
    note_failure(r, FAILED_NAME, "its name has no address");
    if (r->options.address.tls && renew_tls(r, &err) != TG_OK)
        tg_redis_lost(r, err.text);
    else
        try_next(r);
}

static void on_resolved(void *arg, const struct tg_ip *ips, size_t count)
{
    struct tg_redis *r = arg;

    r->query = NULL;
    tg_redis_enter(r);
    take_addresses(r, ips, count);
    tg_redis_leave(r);
}

static void begin(struct tg_redis *r)
{
    const struct tg_ip *ips = NULL;
    size_t count = 0;

    r->state = REDIS_RESOLVING;
    r->counts.connects++;
    tg_deadline_set(&r->worker->wheel, &r->timer, r->worker->now_ms + r->options.dead_ms);
    if (r->options.address.host.len > 0 && tg_resolve(r->resolver, r->options.address.host, on_resolved, r, &ips,
                                                      &count, &r->query) == TG_AGAIN)
        return;
    take_addresses(r, ips, count);
}

static void on_connect(struct tg_deferred *d)
{
    struct tg_redis *r = (struct tg_redis *)((char *)d - offsetof(struct tg_redis, connect));

    tg_redis_enter(r);
    if (r->state == REDIS_CONNECTING)
        try_next(r);
    else
        begin(r);
    tg_redis_leave(r);
}

static void on_timer(struct tg_deadline *d)
{
    struct tg_redis *r = (struct tg_redis *)((char *)d - offsetof(struct tg_redis, timer));
    const char *what = r->state == REDIS_RESOLVING    ? "no address of its name"
                       : r->state != REDIS_CONNECTING ? "no answer"
                       : r->stream.shaking            ? "no TLS handshake"
                                                      : "no connection";
    char why[80];

    snprintf(why, sizeof(why), "%s within %lld ms", what, (long long)r->options.dead_ms);
    tg_redis_enter(r);
    if (r->state == REDIS_PAUSING) {
        begin(r);
    } else if (r->state == REDIS_CONNECTING) {                 /* the next address may be better */
        note_failure(r, FAILED_SILENT, "%s", why);
        tg_stream_close(&r->stream, false);
        try_next(r);
    } else {
        tg_redis_lost(r, why);
    }
    tg_redis_leave(r);
}

void tg_redis_connect_soon(struct tg_redis *r)
{
    r->timer.expired = on_timer;
    r->connect.run = on_connect;
    tg_worker_defer(r->worker, &r->connect);
}
