/*
 * pool - connections to endpoints: made, kept idle, taken again.
 *
 * Invariants: a connection is either in its endpoint's idle list (call NULL) or speaks for one call; an idle one that
 * becomes readable is closed, whatever it has to say (RFC 9112 §9.5: nothing it says can be an answer).
 */
#include "upstream/pool.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "internal.h"
#include <stdatomic.h>

#define MAX_IDLE 512
#define TOLD_SLOTS 64
#define TOLD_WAYS 8
#define TELL_AGAIN_S 60

static struct tg_upstream_conn *conn_of(struct tg_stream *s)
{
    return (struct tg_upstream_conn *)((char *)s - offsetof(struct tg_upstream_conn, stream));
}

static void on_readable(struct tg_stream *s)
{
    struct tg_upstream_conn *conn = conn_of(s);
    char octet;

    if (conn->call)
        tg_call_on_readable(conn);
    else if (tg_stream_read(s, &octet, 1) != -1)         /* -1: TLS spoke for itself, such as a ticket */
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
    enum tg_status st;

    conn->endpoint = ep;
    conn->deadline.expired = on_deadline;
    if (ep->tls)
        st = tg_stream_connect_tls(&conn->stream, ep->pool->worker, address, &stream_events, ep->tls, ep->tls_name,
                                   &ep->resume);
    else
        st = tg_stream_connect(&conn->stream, ep->pool->worker, address, &stream_events);
    if (st != TG_OK) {
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

/* What makes two endpoints one; *place: how much of it tells where. */
static void write_key(struct tg_buf *key, const struct tg_url *url, struct tg_tls_client *client, struct tg_slice name,
                      size_t *place)
{
    if (url->unix_socket)
        tg_buf_addf(key, "unix:" TG_S_FMT, TG_S_ARG(url->path));
    else
        tg_buf_addf(key, TG_S_FMT ":%u", TG_S_ARG(url->host), url->port);
    *place = key->len;
    if (client)
        tg_buf_addf(key, " tls %s " TG_S_FMT, tg_tls_client_fingerprint(client), TG_S_ARG(name));
}

struct tg_endpoint *tg_pool_endpoint(struct tg_pool *pool, const struct tg_url *url, struct tg_tls_client *client,
                                     struct tg_slice name)
{
    struct tg_buf key = {0};
    struct tg_endpoint *ep;
    size_t place;

    write_key(&key, url, client, name, &place);
    ep = tg_map_get(pool->endpoints, tg_buf_slice(&key));
    if (!ep) {
        ep = TG_NEW(struct tg_endpoint);
        ep->pool = pool;
        ep->key = tg_slice_dup(tg_buf_slice(&key));
        ep->local = url->unix_socket;
        ep->place = tg_slice(ep->key, place);
        ep->host = ep->local ? tg_slice(ep->key + 5, place - 5) : tg_slice(ep->key, url->host.len);
        ep->port = url->port;
        if (client) {
            ep->tls = tg_tls_client_ref(client);
            ep->tls_name = tg_slice(ep->key + key.len - name.len, name.len);
        }
        tg_map_put(pool->endpoints, tg_buf_slice(&key), ep);
    }
    tg_buf_fini(&key);
    ep->refs++;
    return ep;
}

static void free_endpoint(struct tg_endpoint *ep)
{
    tg_map_del(ep->pool->endpoints, tg_slice_str(ep->key));
    tg_tls_resume_fini(&ep->resume);
    tg_tls_client_unref(ep->tls);
    free(ep->key);
    free(ep);
}

void tg_endpoint_unref(struct tg_endpoint *ep)
{
    if (!ep)
        return;
    ep->refs--;
    if (ep->refs == 0) {
        free_endpoint(ep);
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

/* ---- trouble with TLS ---- */

/*
 * Whether this may be said now. A slot keeps who said something last and when: every worker would say the same, and
 * every request again. What is new takes the oldest of its few slots.
 */
static bool may_tell(uint64_t what, uint32_t now_s)
{
    static _Atomic uint64_t told[TOLD_SLOTS];
    _Atomic uint64_t *oldest = NULL;
    uint64_t expected = 0;
    int32_t oldest_s = -1;

    for (size_t i = 0; i < TOLD_WAYS; i++) {
        _Atomic uint64_t *slot = &told[(what + i) % TOLD_SLOTS];
        uint64_t last = atomic_load_explicit(slot, memory_order_relaxed);
        int32_t age_s = last ? (int32_t)(now_s - (uint32_t)last) : INT32_MAX;
        bool same = last != 0 && last >> 32 == what >> 32;

        if (same && age_s < TELL_AGAIN_S)
            return false;
        age_s = age_s < 0 ? 0 : age_s;                   /* workers' clocks are a little apart */
        if (same || age_s > oldest_s) {
            oldest = slot;
            expected = last;
            oldest_s = age_s;
        }
        if (same)
            break;
    }
    return atomic_compare_exchange_strong(oldest, &expected, (what & ~(uint64_t)UINT32_MAX) | now_s);
}

void tg_endpoint_tell_tls(const struct tg_endpoint *ep, const char *words)
{
    uint64_t what = tg_hash2(tg_hash_slice(tg_slice_str(ep->key)), tg_hash_slice(tg_slice_str(words)));

    if (may_tell(what, (uint32_t)(ep->pool->worker->now_ms / 1000) + 1))
        tg_log(TG_LOG_WARN, "no TLS with an upstream", TG_F_SLICE("upstream", ep->place),
               TG_F_SLICE("server_name", ep->tls_name), TG_F_STR("error", words));
}
