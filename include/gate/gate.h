/*
 * gate - client connections of one worker and the life of their requests.
 *
 * One gate per worker and purpose: the data plane, or a service of tollgate's own (health and metrics) that answers
 * every request by a function. Threads: the worker's own; counters in tg_gate_shared are for all.
 */
#pragma once
#include "auth/services.h"
#include "base/log.h"
#include "gate/config.h"
#include "http/message.h"
#include "io/resolve.h"
#include "io/worker.h"
#include "limit/limiter.h"

struct tg_gate;

struct tg_gate_shared {                                  /* one per process */
    struct tg_limiter *limiter;
    struct tg_auth_services auth;                        /* set before the first gate is made */
    struct tg_log_sink *access_log;                      /* NULL: off */
    atomic_uint connections;                             /* open client connections of the data plane */
    struct tg_per_address *per_address;                  /* gate/conn.c; made by tg_gate_shared_init */
};
void tg_gate_shared_init(struct tg_gate_shared *shared);
void tg_gate_shared_fini(struct tg_gate_shared *shared);

/* ---- what tollgate answers by itself ---- */
struct tg_service_request {
    unsigned method_id;
    struct tg_slice path, query;                         /* canonical path */
    const struct tg_head *head;
};
struct tg_service_answer {
    unsigned status;
    const char *content_type;
    const char *allow;                                   /* of a 405: the methods there are; else NULL */
    struct tg_buf body;                                  /* freed by the gate */
};
struct tg_service {
    void (*serve)(void *arg, const struct tg_service_request *request, struct tg_service_answer *answer);
    void *arg;
};

/* `service` NULL: the data plane, which refuses everything with 503 until tg_gate_bind. */
struct tg_gate *tg_gate_new(struct tg_worker *w, struct tg_gate_shared *shared, const struct tg_service *service,
                            struct tg_err *err);
void tg_gate_free(struct tg_gate *gate);                 /* closes what is open; NULL is fine */
/* From now on requests are judged by `config` (a reference is taken); running ones end under the old. */
void tg_gate_bind(struct tg_gate *gate, struct tg_config *config);
/* A connection from a listener; `peer` as accept() gave it. Fits tg_listener_new's callback with the gate as arg. */
void tg_gate_accept(void *gate, int fd, const struct sockaddr *peer);
/* Idle connections close soon, busy ones after their answer (Connection: close). */
void tg_gate_drain(struct tg_gate *gate);
size_t tg_gate_connections(const struct tg_gate *gate);
