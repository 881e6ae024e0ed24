/*
 * call - the upstream side of one exchange: a request goes out, an answer comes back as head, data, trailers, interim,
 * or a fault.
 *
 * The same vocabulary serves HTTP/1.1 now and HTTP/2 later. A call lives in the exchange's memory. Events come from the
 * loop only, never from inside a call's own function; `end` and `failed` are the last ones, and so is tg_call_cancel.
 * What `data` and heads point to is valid until the event returns and `settled` was called. A bad answer (framing,
 * syntax, an interim flood, 101 nobody asked for) is a fault; the connection is never used again, nor is one that had
 * more to say than its answer. With TLS the handshake is a part of connecting and has its time.
 */
#pragma once
#include "http/h1_body.h"
#include "http/h1_parse.h"
#include "upstream/pool.h"

struct tg_call;
struct tg_upstream_conn;

enum tg_call_fault {
    TG_CALL_REFUSED,                                     /* no connection: 502 */
    TG_CALL_CONNECT_TIMEOUT,                             /* 504 */
    TG_CALL_NO_ANSWER,                                   /* closed or reset before the first byte of an answer: 502 */
    TG_CALL_BAD_ANSWER,                                  /* 502 */
    TG_CALL_SLOW,                                        /* no first byte in time, or stalled: 504 */
    TG_CALL_CUT,                                         /* after the head: the answer cannot be completed */
    TG_CALL_TLS,                                         /* a connection, but no TLS: 502; why stands in the log */
};
const char *tg_call_fault_name(enum tg_call_fault fault);

struct tg_call_events {
    void (*interim)(struct tg_call *call, const struct tg_head *head); /* 1xx but 101 */
    void (*head)(struct tg_call *call, const struct tg_head *head);
    void (*data)(struct tg_call *call, struct tg_slice data);
    void (*end)(struct tg_call *call, const struct tg_head *trailers); /* trailers NULL: none */
    void (*failed)(struct tg_call *call, enum tg_call_fault fault);
    void (*settled)(struct tg_call *call); /* this turn's events are over: write out, check back-pressure */
    void (*drained)(struct tg_call *call);               /* the request's backlog is gone */
};

struct tg_call_limits {
    int64_t connect_ms, first_byte_ms, stall_ms, idle_ms; /* 0: none; stall: between two reads of an answer */
    struct tg_h1_limits head;
};

struct tg_call {
    const struct tg_call_events *events;
    const struct tg_call_limits *limits;
    struct tg_endpoint *endpoint;
    struct tg_upstream_conn *conn;                       /* NULL: not connected yet, or over */
    struct tg_resolve_query *query;
    struct tg_deadline resolving;
    unsigned addresses, refused_addresses;               /* of the endpoint's name */
    struct tg_deferred fail_later;
    struct tg_slice head_bytes; /* the request's head as written: the caller's until the call is over */
    struct tg_buf waiting;                               /* body put before there is a connection; small */
    uint8_t method_id;
    uint8_t framing;                                     /* of the request: none, length or chunked */
    bool reused;                                         /* went out on a pooled connection */
    bool sent;                                           /* there was a connection: the upstream may have got octets */
    bool answered;                                       /* a byte of the answer was seen */
    bool request_done, upgrade, raw, over;
    uint8_t fault;                                       /* for fail_later */
    int64_t sent_us;                                     /* monotonic */
};

/*
 * Starts a call. Fill events, limits, endpoint, head_bytes, method_id, framing and upgrade (a WebSocket was asked for)
 * before; the rest is zero. `fresh`: never a pooled connection.
 */
void tg_call_start(struct tg_call *call, bool fresh);
/* Request content; framed by the call. After 101 (raw): as it is. */
void tg_call_data(struct tg_call *call, struct tg_slice data);
void tg_call_end(struct tg_call *call, const struct tg_head *trailers); /* the request is complete; raw: half-closes */
void tg_call_flush(struct tg_call *call);
bool tg_call_is_connected(const struct tg_call *call);   /* before that, no octet has gone out */
size_t tg_call_backlog(const struct tg_call *call);
void tg_call_pause(struct tg_call *call);                /* no more data for now */
void tg_call_resume(struct tg_call *call);
void tg_call_cancel(struct tg_call *call);               /* no event follows; the connection closes. Idempotent */
