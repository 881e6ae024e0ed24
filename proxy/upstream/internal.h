/* internal - a pooled connection, shared by pool (which keeps it) and call_h1 (which speaks on it). */
#pragma once
#include "upstream/call.h"

struct tg_endpoint {
    struct tg_pool *pool;
    unsigned refs;
    char *key;                                           /* host:port or unix:path; with TLS also trust and name */
    struct tg_slice host, place;                         /* into key; place: without what is about TLS, for a log */
    struct tg_slice tls_name;                            /* into key */
    struct tg_tls_client *tls;                           /* a reference; NULL: plain */
    struct tg_tls_resume resume;
    uint16_t port;
    bool local;
    struct tg_upstream_conn *idle;                       /* latest first */
    size_t idle_count, open_count;
    unsigned next_ip;                                    /* of several addresses of one name */
};

struct tg_pool {
    struct tg_worker *worker;
    struct tg_resolver *resolver;
    struct tg_map *endpoints;
};

struct tg_upstream_conn {
    struct tg_stream stream;
    struct tg_deadline deadline;
    struct tg_endpoint *endpoint;
    struct tg_upstream_conn *next, **prev;               /* among the idle */
    struct tg_call *call;                                /* NULL: idle */
    struct tg_h1_body body;
    struct tg_buf rest;                                  /* a head in parts */
    size_t scanned;
    bool in_body, keep;
    bool reading, closed; /* tg_call_on_readable is on the stack, and frees it when closed */
    unsigned interims;
};

/* An idle connection, the latest used, or NULL. */
struct tg_upstream_conn *tg_pool_take(struct tg_endpoint *ep);
/* Keeps it for `idle_ms`, or closes it when the endpoint has no owner any more. */
void tg_pool_keep(struct tg_upstream_conn *conn, int64_t idle_ms);
void tg_pool_close(struct tg_upstream_conn *conn, bool reset);
/* A new connection being made to `address`; NULL: no socket. */
struct tg_upstream_conn *tg_pool_connect(struct tg_endpoint *ep, const struct tg_address *address);

/* Says in the log why the handshake failed: the same of the same endpoint once a minute, whichever worker says it. */
void tg_endpoint_tell_tls(const struct tg_endpoint *ep, const char *words);

/* call_h1: what the socket says while a call is on. */
void tg_call_on_readable(struct tg_upstream_conn *conn);
void tg_call_on_drained(struct tg_upstream_conn *conn);
void tg_call_on_connected(struct tg_upstream_conn *conn, int error);
void tg_call_on_broken(struct tg_upstream_conn *conn);
void tg_call_on_deadline(struct tg_upstream_conn *conn);
