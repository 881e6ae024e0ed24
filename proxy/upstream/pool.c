/*
 * pool - connections to endpoints: made, kept idle, taken again.
 *
 * Invariants: a connection is either in its endpoint's idle list (call NULL) or speaks for one call; an idle one that
 * becomes readable is closed, whatever it has to say (RFC 9112 §9.5: nothing it says can be an answer).
 */
#include "upstream/pool.h"
#include "base/map.h"
#include "internal.h"

#define MAX_IDLE 512

static struct tg_upstream_conn *conn_of(struct tg_stream *s)
{
    return (struct tg_upstream_conn *)((char *)s - offsetof(struct tg_upstream_conn, stream));
}

static void on_readable(struct tg_stream *s)
{
    struct tg_upstream_conn *conn = conn_of(s);

    if (conn->call)
        tg_call_on_readable(conn);
    else
        tg_pool_close(conn, false);
}

static void on_drained(struct tg_stream *s)
{
    struct tg_upstream_conn *conn = conn_of(s);

    if (conn->call)
        tg_call_on_drained(conn);
}

static void on_connected(struct tg_stream *s, int error)
{
    struct tg_upstream_conn *conn = conn_of(s);

    if (conn->call)
        tg_call_on_connected(conn, error);
    else
        tg_pool_close(conn, false);
}

static void on_broken(struct tg_stream *s)
{
    struct tg_upstream_conn *conn = conn_of(s);

    if (conn->call)
        tg_call_on_broken(conn);
    else
        tg_pool_close(conn, false);
}

static const struct tg_stream_events stream_events = {
    .readable = on_readable, .drained = on_drained, .connected = on_connected, .broken = on_broken};

static void on_deadline(struct tg_deadline *d)
{
    struct tg_upstream_conn *conn =
        (struct tg_upstream_conn *)((char *)d - offsetof(struct tg_upstream_conn, deadline));

    if (conn->call)
        tg_call_on_deadline(conn);
    else
        tg_pool_close(conn, false);
}

struct tg_upstream_conn *tg_pool_connect(struct tg_endpoint *ep, const struct tg_address *address)
{
    struct tg_upstream_conn *conn = TG_NEW(struct tg_upstream_conn);

    conn->endpoint = ep;
    conn->deadline.expired = on_deadline;
    if (tg_stream_connect(&conn->stream, ep->pool->worker, address, &stream_events) != TG_OK) {
        free(conn);
        return NULL;
    }
    ep->open_count++;
    ep->refs++;
    return conn;
}

static void leave_idle(struct tg_upstream_conn *conn)
{
    if (!conn->prev)
        return;
    *conn->prev = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    conn->prev = NULL;
    conn->next = NULL;
    conn->endpoint->idle_count--;
}

void tg_pool_close(struct tg_upstream_conn *conn, bool reset)
{
    struct tg_endpoint *ep = conn->endpoint;

    leave_idle(conn);
    tg_deadline_clear(&ep->pool->worker->wheel, &conn->deadline);
    tg_stream_close(&conn->stream, reset);
    tg_h1_body_fini(&conn->body);
    tg_buf_fini(&conn->rest);
    if (conn->reading)
        conn->closed = true;
    else
        free(conn);
    ep->open_count--;
    tg_endpoint_unref(ep);
}

struct tg_upstream_conn *tg_pool_take(struct tg_endpoint *ep)
{
    struct tg_upstream_conn *conn = ep->idle;

    if (conn)
        leave_idle(conn);
    return conn;
}

void tg_pool_keep(struct tg_upstream_conn *conn, int64_t idle_ms)
{
    struct tg_endpoint *ep = conn->endpoint;
    struct tg_worker *w = ep->pool->worker;

    conn->call = NULL;
    /* Connections hold their endpoint too: when nobody else does, it is not named any more. */
    if (idle_ms <= 0 || ep->idle_count >= MAX_IDLE || ep->refs <= ep->open_count) {
        tg_pool_close(conn, false);
        return;
    }
    conn->next = ep->idle;
    conn->prev = &ep->idle;
    if (conn->next)
        conn->next->prev = &conn->next;
    ep->idle = conn;
    ep->idle_count++;
    tg_stream_resume(&conn->stream);
    tg_deadline_set(&w->wheel, &conn->deadline, w->now_ms + idle_ms);
}

/* ---- endpoints ---- */

struct tg_pool *tg_pool_new(struct tg_worker *w, struct tg_resolver *resolver)
{
    struct tg_pool *pool = TG_NEW(struct tg_pool);

    pool->worker = w;
    pool->resolver = resolver;
    pool->endpoints = tg_map_new(NULL);
    return pool;
}

void tg_pool_free(struct tg_pool *pool)
{
    if (!pool)
        return;
    tg_assert(tg_map_count(pool->endpoints) == 0);
    tg_map_free(pool->endpoints);
    free(pool);
}

struct tg_endpoint *tg_pool_endpoint(struct tg_pool *pool, const struct tg_url *url)
{
    struct tg_buf key = {0};
    struct tg_endpoint *ep;

    if (url->unix_socket)
        tg_buf_addf(&key, "unix:" TG_S_FMT, TG_S_ARG(url->path));
    else
        tg_buf_addf(&key, TG_S_FMT ":%u", TG_S_ARG(url->host), url->port);
    ep = tg_map_get(pool->endpoints, tg_buf_slice(&key));
    if (!ep) {
        ep = TG_NEW(struct tg_endpoint);
        ep->pool = pool;
        ep->key = tg_slice_dup(tg_buf_slice(&key));
        ep->local = url->unix_socket;
        ep->host = ep->local ? tg_slice(ep->key + 5, key.len - 5) : tg_slice(ep->key, url->host.len);
        ep->port = url->port;
        tg_map_put(pool->endpoints, tg_buf_slice(&key), ep);
    }
    tg_buf_fini(&key);
    ep->refs++;
    return ep;
}

void tg_endpoint_unref(struct tg_endpoint *ep)
{
    if (!ep)
        return;
    ep->refs--;
    if (ep->refs == 0) {
        tg_map_del(ep->pool->endpoints, tg_slice_str(ep->key));
        free(ep->key);
        free(ep);
        return;
    }
    if (ep->refs == ep->open_count && ep->refs == ep->idle_count) {
        /* Only idle connections hold it: they go, held once more meanwhile so that none takes the endpoint along. */
        ep->refs++;
        while (ep->idle)
            tg_pool_close(ep->idle, false);
        tg_endpoint_unref(ep);
    }
}

size_t tg_endpoint_idle(const struct tg_endpoint *ep)
{
    return ep->idle_count;
}

size_t tg_endpoint_open(const struct tg_endpoint *ep)
{
    return ep->open_count;
}
