/*
 * gate - made, bound, drained: one per worker and purpose.
 */
#include "gate/gate.h"
#include "base/clock.h"
#include "internal.h"

#define MAX_FIELDS 1024
#define SERVICE_FIELDS 128

struct tg_slice tg_gate_date(struct tg_gate *gate)
{
    int64_t now_s = tg_worker_wall_ms(gate->worker) / 1000;

    if (now_s != gate->date_s) {
        gate->date_s = now_s;
        tg_http_date(now_s, gate->date);
    }
    return tg_slice(gate->date, 29);
}

struct tg_gate *tg_gate_new(struct tg_worker *w, struct tg_gate_shared *shared, const struct tg_service *service,
                            struct tg_err *err)
{
    struct tg_gate *gate = TG_NEW(struct tg_gate);

    gate->worker = w;
    gate->shared = shared;
    gate->service = service;
    gate->cell = w->index + 1;
    gate->date_s = -1;
    gate->field_cap = SERVICE_FIELDS;
    gate->fields = TG_NEW_ARRAY(struct tg_field, MAX_FIELDS);
    if (!service) {
        if (tg_resolver_new(w, &gate->resolver, err) != TG_OK) {
            free(gate->fields);
            free(gate);
            return NULL;
        }
        gate->pool = tg_pool_new(w, gate->resolver);
        gate->limits = tg_limit_worker_new(shared->limiter, w, gate->resolver);
        tg_gate_metrics_init(gate);
    }
    return gate;
}

void tg_gate_bind(struct tg_gate *gate, struct tg_config *config)
{
    struct tg_runtime *old = gate->runtime;

    gate->runtime = tg_runtime_new(gate, config);
    if (gate->limits)
        tg_limit_worker_bind(gate->limits, &gate->runtime->config->limits);
    gate->field_cap = config->bounds.fields && config->bounds.fields < MAX_FIELDS ? (unsigned)config->bounds.fields
                                                                                   : MAX_FIELDS;
    tg_runtime_unref(old);
}

void tg_gate_drain(struct tg_gate *gate)
{
    struct tg_worker *w = gate->worker;

    gate->draining = true;
    for (struct tg_conn *conn = gate->conns; conn; conn = conn->next) {
        int64_t soon_ms = w->now_ms + TG_DRAIN_HANDSHAKE_MS;

        if (conn->state == CONN_IDLE)
            tg_deadline_set(&w->wheel, &conn->deadline, w->now_ms + TG_DRAIN_IDLE_MS);
        else if (conn->state == CONN_HANDSHAKE && conn->deadline.at_ms > soon_ms)
            tg_deadline_set(&w->wheel, &conn->deadline, soon_ms);
    }
}

size_t tg_gate_connections(const struct tg_gate *gate)
{
    return gate->conn_count;
}

void tg_gate_free(struct tg_gate *gate)
{
    if (!gate)
        return;
    for (struct tg_conn *conn = gate->conns, *next; conn; conn = next) {
        next = conn->next;
        tg_conn_close(conn, true);
    }
    while (gate->conns) {                                /* closed above; their memory goes with the deferred call */
        struct tg_conn *conn = gate->conns;

        tg_worker_undefer(gate->worker, &conn->later);
        conn->later.run(&conn->later);
    }
    tg_limit_worker_free(gate->limits);
    tg_runtime_unref(gate->runtime);
    tg_pool_free(gate->pool);
    tg_resolver_free(gate->resolver);
    while (gate->blocks) {
        struct tg_block *b = gate->blocks;

        gate->blocks = b->next;
        free(b);
    }
    tg_buf_fini(&gate->out);
    free(gate->fields);
    free(gate);
}
