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

struct tg_supply;                                        /* store/supply.h */
struct tg_audit;                                         /* store/audit.h */

struct tg_gate_shared {                                  /* one per process */
    struct tg_limiter *limiter;
    struct tg_supply *supply;                            /* of policies and routes; NULL: the file has them all */
    struct tg_audit *audit;                              /* NULL: off */
    struct tg_auth_services auth;                        /* set before the first gate is made */
    struct tg_log_sink *access_log;                      /* NULL: off */
    atomic_uint connections;                             /* open client connections of the data plane */
    struct tg_per_address *per_address;                  /* gate/conn.c; made by tg_gate_shared_init */
};
void tg_gate_shared_init(struct tg_gate_shared *shared);
void tg_gate_shared_fini(struct tg_gate_shared *shared);

/* ---- what tollgate answers by itself ---- */
struct tg_service_request {                              /* valid until `serve` or `begin` returns */
    unsigned method_id;
    struct tg_slice path, query;                         /* canonical path */
    const struct tg_head *head;
    struct tg_slice body;                                /* whole; empty unless the service has a body_max */
    bool body_too_large;                                 /* above body_max: it is not here, and not read */
    struct tg_slice client_ip, request_id;               /* client_ip: empty on a unix socket */
};
struct tg_service_answer {
    unsigned status;
    const char *content_type;                            /* NULL: none, as with 204 */
    const char *allow;                                   /* of a 405: the methods there are; else NULL */
    const struct tg_field *fields;                       /* more; borrowed until the answer was given */
    size_t field_count;                                  /* at most TG_SERVICE_FIELDS */
    struct tg_buf body;                                  /* freed by the gate */
};
#define TG_SERVICE_FIELDS 12
#define TG_SERVICE_REFUSAL_FIELDS 3
struct tg_service_call;                                  /* one request that waits for its answer */
struct tg_service {
    /* One of the two. `serve` answers at once; what `begin` is given is answered once, by tg_service_done. */
    void (*serve)(void *arg, const struct tg_service_request *request, struct tg_service_answer *answer);
    void (*begin)(void *arg, struct tg_service_call *call, const struct tg_service_request *request);
    void *arg;
    uint64_t body_max;                                   /* 0: a request's body is not read */
    /*
     * Asked before a body is read (and before 100 Continue): false: it will be refused anyhow, so it is given without.
     * NULL: every body up to body_max is wanted.
     */
    bool (*wants_body)(void *arg, const struct tg_service_request *request);
    struct tg_tls_server *tls;                           /* borrowed; NULL: plain */
    unsigned max_connections;                            /* more are closed at once; 0: no limit */
    unsigned max_connections_per_address;                /* so that one client does not take them all; 0: no limit */
    int error_format;                                    /* enum tg_error_format of what the gate refuses itself */
    /* Fields for such a refusal, in `arena`; returns how many, at most TG_SERVICE_REFUSAL_FIELDS. NULL: none. */
    size_t (*refusal_fields)(void *arg, const struct tg_ip *ip, struct tg_arena *arena, struct tg_field *out);
};
/*
 * From the gate's own thread, also from inside `begin`. The client may be gone by then, and so may the gate: that is
 * no matter of the service. `call` is over.
 */
void tg_service_done(struct tg_service_call *call, struct tg_service_answer *answer);

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
