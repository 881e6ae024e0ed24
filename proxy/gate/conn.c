/*
 * conn - a client connection from accept to its end: counted, bounded, handed to its protocol (HTTP/1.1 now, with TLS
 * below it or not).
 *
 * Invariant: a closed connection's memory is freed from the loop, so that nobody on the stack loses it under their
 * feet.
 */
#include "base/map.h"
#include "internal.h"
#include <pthread.h>
#include <unistd.h>

struct tg_per_address {                                  /* open connections by client address, for the whole process */
    pthread_mutex_t lock;
    struct tg_map *counts;                               /* address bytes to a count, as a pointer-sized number */
};

void tg_gate_shared_init(struct tg_gate_shared *shared)
{
    shared->per_address = TG_NEW(struct tg_per_address);
    pthread_mutex_init(&shared->per_address->lock, NULL);
    shared->per_address->counts = tg_map_new(NULL);
}

void tg_gate_shared_fini(struct tg_gate_shared *shared)
{
    if (!shared->per_address)
        return;
    pthread_mutex_destroy(&shared->per_address->lock);
    tg_map_free(shared->per_address->counts);
    free(shared->per_address);
    shared->per_address = NULL;
}

static struct tg_slice address_key(const struct tg_ip *ip)
{
    return tg_slice((const char *)ip->bytes, ip->family == 4 ? 4 : 8); /* an IPv6 host commonly owns its /64 */
}

/* Counts one connection of `ip`; false when it would be more than `max`. */
static bool count_address(struct tg_per_address *per, const struct tg_ip *ip, uint64_t max)
{
    bool ok;

    pthread_mutex_lock(&per->lock);
    uintptr_t count = (uintptr_t)tg_map_get(per->counts, address_key(ip));
    ok = count < max;
    if (ok)
        tg_map_put(per->counts, address_key(ip), (void *)(count + 1));
    pthread_mutex_unlock(&per->lock);
    return ok;
}

static void uncount_address(struct tg_per_address *per, const struct tg_ip *ip)
{
    pthread_mutex_lock(&per->lock);
    uintptr_t count = (uintptr_t)tg_map_get(per->counts, address_key(ip));
    if (count > 1)
        tg_map_put(per->counts, address_key(ip), (void *)(count - 1));
    else
        tg_map_del(per->counts, address_key(ip));
    pthread_mutex_unlock(&per->lock);
}

static bool service_has_room(const struct tg_gate *gate, const struct tg_ip *ip)
{
    const struct tg_service *service = gate->service;
    unsigned same = 0;

    if (service->max_connections && gate->conn_count >= service->max_connections)
        return false;
    if (!service->max_connections_per_address || !ip->family)
        return true;
    for (const struct tg_conn *c = gate->conns; c; c = c->next)
        same += c->peer.family == ip->family && tg_slice_eq(address_key(&c->peer), address_key(ip));
    return same < service->max_connections_per_address;
}

/* Whether one more connection may be open: then it has been counted. */
static bool admit(struct tg_gate *gate, struct tg_conn *conn)
{
    const struct tg_bounds *bounds = gate->runtime ? &gate->runtime->config->bounds : NULL;
    unsigned open;

    if (gate->service)
        return service_has_room(gate, &conn->peer);
    open = atomic_fetch_add(&gate->shared->connections, 1) + 1;
    if (!bounds)
        return true;
    if (!bounds->connections || open <= bounds->connections) {
        if (!bounds->connections_per_address || !conn->peer.family)
            return true;
        conn->counted_address =
            count_address(gate->shared->per_address, &conn->peer, bounds->connections_per_address);
        if (conn->counted_address)
            return true;
    }
    atomic_fetch_sub(&gate->shared->connections, 1);
    return false;
}

void tg_gate_accept(void *arg, int fd, const struct sockaddr *peer)
{
    struct tg_gate *gate = arg;
    struct tg_conn *conn = TG_NEW(struct tg_conn);

    conn->gate = gate;
    tg_ip_from_sockaddr(peer, &conn->peer, NULL);
    if (!admit(gate, conn)) {
        if (!gate->service)
            tg_metric_add(gate->metrics.connections_refused, gate->cell, 1);
        close(fd);
        free(conn);
        return;
    }
    conn->next = gate->conns;
    conn->prev = &gate->conns;
    if (conn->next)
        conn->next->prev = &conn->next;
    gate->conns = conn;
    gate->conn_count++;
    if (!gate->service)
        tg_metric_add(gate->metrics.connections, gate->cell, 1);
    conn->stream.fd = fd;
    tg_conn_h1_start(conn);
}

static void free_conn(struct tg_deferred *d)
{
    struct tg_conn *conn = (struct tg_conn *)((char *)d - offsetof(struct tg_conn, later));
    struct tg_gate *gate = conn->gate;

    *conn->prev = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    gate->conn_count--;
    tg_conn_tls_free(conn->tls);
    free(conn);
}

void tg_conn_close(struct tg_conn *conn, bool reset)
{
    struct tg_gate *gate = conn->gate;

    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    if (conn->ex) {
        struct tg_exchange *ex = conn->ex;

        conn->ex = NULL;
        tg_exchange_abort(ex);
    }
    tg_deadline_clear(&gate->worker->wheel, &conn->deadline);
    tg_stream_close(&conn->stream, reset);
    tg_h1_body_fini(&conn->body);
    tg_buf_fini(&conn->rest);
    if (conn->counted_address)
        uncount_address(gate->shared->per_address, &conn->peer);
    if (!gate->service) {
        atomic_fetch_sub(&gate->shared->connections, 1);
        tg_metric_add(gate->metrics.connections, gate->cell, -1);
    }
    tg_worker_undefer(gate->worker, &conn->later);
    conn->later.run = free_conn;
    tg_worker_defer(gate->worker, &conn->later);
}
