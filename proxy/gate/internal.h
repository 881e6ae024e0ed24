/*
 * internal - what the files of the gate share: connection, exchange, runtime.
 *
 * A connection reads requests and writes answers; an exchange is one request from its head to its log line; a runtime
 * is a configuration bound to this worker's pools. An exchange lives in one recycled block of memory: the struct, then
 * its arena.
 */
#pragma once
#include "auth/assertion.h"
#include "auth/authn.h"
#include "auth/bound.h"
#include "base/metric.h"
#include "gate/gate.h"
#include "gate/refusal.h"
#include "http/forward.h"
#include "http/h1_body.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "io/stream.h"
#include "limit/fields.h"
#include "upstream/call.h"
#include "upstream/cluster.h"

struct tg_exchange;
struct tg_conn;

/* ---- runtime ---- */
struct tg_route_metrics {
    struct tg_metric_group *group;                       /* its series end with the last runtime that has the route */
    struct tg_series **by_method[TG_METHOD_COUNT];       /* each: 500 series by status, made when first needed */
    struct tg_series *duration, *upstream_duration;
    struct tg_series *shadow[3][3];                      /* by the decision there and the applied; NULL: no shadow */
    struct tg_series **refused[2];                       /* applied, shadow: by policy; made when first needed */
};
/* What counts on a route, and the series of its tiers. */
enum tg_limited {
    TG_COUNTED_ADMITTED, TG_COUNTED_REFUSED, TG_COUNTED_SHADOW, TG_COUNTED_UNAVAILABLE, TG_COUNTED_COUNT
};
struct tg_tier_metrics {
    struct tg_series *by_result[TG_COUNTED_COUNT];
};
struct tg_route_limits {
    const struct tg_tiers *tiers;
    struct tg_tier_metrics *metrics;                     /* as tiers->items; the last one: unauthenticated */
};
/* Whether a route's policies ask about the content of a request. */
struct tg_content {
    enum { TG_CONTENT_UNREAD, TG_CONTENT_SHADOW, TG_CONTENT_READ } asked; /* SHADOW: only those in shadow mode do */
    bool members_only;                                   /* without an identity nobody is let in, whatever he sends */
};
/* Tokens that were verified: by the file's own configuration, whatever set of policies lies over it. */
struct tg_verified {
    unsigned refs;
    struct tg_config *base;                              /* a reference */
    struct tg_authn *authn;
};
struct tg_runtime {
    unsigned refs;
    struct tg_gate *gate;
    struct tg_config *config;
    struct tg_verified *verified;                        /* a reference */
    struct tg_authn *authn;                              /* of it */
    struct tg_assertions *assertions;                    /* NULL: none are made */
    bool told_identity;                                  /* that a claim did not fit into a field */
    struct tg_cluster **clusters;                        /* by route index */
    struct tg_credential_view *own;                      /* by route index: tollgate's own tokens (upstream_auth) */
    struct tg_call_limits *call_limits;                  /* by route index */
    struct tg_route_metrics *metrics;                    /* by route index; the last one: no route */
    struct tg_route_limits *limits;                      /* the first one: no route; then by route index */
    struct tg_content *content;                          /* by route index */
};
struct tg_runtime *tg_runtime_new(struct tg_gate *gate, struct tg_config *config);
struct tg_runtime *tg_runtime_ref(struct tg_runtime *rt);
void tg_runtime_unref(struct tg_runtime *rt);            /* NULL is fine */

/* ---- gate ---- */
#define TG_BLOCK_BYTES 12288                             /* an exchange and the first of its arena */
#define TG_BLOCKS_KEPT 256
#define TG_DRAIN_IDLE_MS 500                             /* a request may be on its way on an idle connection */
#define TG_DRAIN_HANDSHAKE_MS 2000
struct tg_block {
    struct tg_block *next;
};
enum tg_handshake {                                      /* how one ended, for the metric */
    TG_HANDSHAKE_OK,
    TG_HANDSHAKE_RESUMED,
    TG_HANDSHAKE_FAILED,
    TG_HANDSHAKE_PLAIN_HTTP,                             /* the client spoke HTTP without TLS */
    TG_HANDSHAKE_TIMEOUT,
    TG_HANDSHAKE_GONE,                                   /* the client went away */
    TG_HANDSHAKE_COUNT
};
struct tg_gate_metrics {
    struct tg_series *connections, *connections_refused, *framing_errors;
    struct tg_series *decisions[8];
    struct tg_series *untrusted_forwarded;
    struct tg_series *handshakes[TG_HANDSHAKE_COUNT];
};
struct tg_gate {
    struct tg_worker *worker;
    struct tg_gate_shared *shared;
    const struct tg_service *service;
    struct tg_resolver *resolver;
    struct tg_pool *pool;
    struct tg_limit_worker *limits;                      /* NULL: a service, which has none */
    struct tg_runtime *runtime;
    struct tg_conn *conns;
    size_t conn_count;
    bool draining;
    struct tg_block *blocks;
    size_t block_count;
    struct tg_field *fields;                             /* scratch for one head */
    unsigned field_cap;
    struct tg_buf out;                                   /* scratch for one head on its way out */
    int64_t date_s;
    char date[30];
    unsigned cell;                                       /* of metrics */
    struct tg_gate_metrics metrics;
    unsigned handshakes_failed;                          /* since they were last told */
    int64_t tell_handshakes_ms;                          /* not before */
};
struct tg_slice tg_gate_date(struct tg_gate *gate);      /* IMF-fixdate of now */

/* ---- connection ---- */
enum tg_conn_state {
    CONN_IDLE,                                           /* between requests */
    CONN_HANDSHAKE,                                      /* of TLS, before the first request */
    CONN_HEAD,                                           /* a part of a head is here */
    CONN_BUSY,                                           /* an exchange runs */
    CONN_FLUSH,                                          /* the answer is not yet with the client */
    CONN_LINGER,                                         /* closing: what still comes is thrown away */
    CONN_TUNNEL,
    CONN_CLOSED,
};
/* What a handshake found out, for as long as the connection's requests are logged. */
#define TG_CERT_FACTS 5
struct tg_conn_tls {
    struct tg_buf log;                                   /* members of a log line, from the comma on */
    struct tg_buf cert;                                  /* facts of the client's certificate, as they are logged ... */
    size_t cert_ends[TG_CERT_FACTS];                     /* ... and where each ends; one without octets is too long */
    uint8_t peer;                                        /* enum tg_tls_peer */
    char *peer_error;                                    /* NULL: none */
    int64_t peer_until_s;                                /* the end of a client's certificate */
};
struct tg_conn {
    struct tg_stream stream;
    struct tg_conn_tls *tls;                             /* NULL: plain, or the handshake is not over */
    struct tg_deadline deadline;
    struct tg_deferred later;                            /* go on with the next request, or free */
    struct tg_gate *gate;
    struct tg_conn *next, **prev;
    struct tg_exchange *ex;
    struct tg_ip peer;
    uint8_t state;                                       /* enum tg_conn_state */
    bool ended;                                          /* the client has said FIN */
    bool close;                                          /* after the answer under way */
    bool counted_address;
    bool reading_body;
    bool first;                                          /* no head yet: its time began with the handshake */
    size_t scanned;
    size_t lingered;
    size_t unread;                                       /* when its deadline was set; 0: it is not what we wait for */
    struct tg_h1_body body;
    struct tg_buf rest;                                  /* octets not used yet */
};
void tg_conn_close(struct tg_conn *conn, bool reset);

/* What an exchange says to its client, whatever the protocol. */
struct tg_client_ops {
    void (*interim)(struct tg_exchange *ex, const struct tg_head *head);
    /* head->framing: none, length, or chunked (the client's protocol decides how an unknown length is shown). */
    void (*head)(struct tg_exchange *ex, const struct tg_head *head, bool has_length);
    void (*data)(struct tg_exchange *ex, struct tg_slice data);
    void (*end)(struct tg_exchange *ex, const struct tg_head *trailers);
    void (*cut)(struct tg_exchange *ex);                 /* the answer cannot be completed: the client must notice */
    void (*settle)(struct tg_exchange *ex);              /* write out what was said */
    size_t (*backlog)(const struct tg_exchange *ex);
    void (*want_body)(struct tg_exchange *ex, bool wanted); /* pause and resume the request's body */
    void (*tunnel)(struct tg_exchange *ex);              /* from now on octets */
};

/* ---- exchange ---- */
enum tg_exchange_state {
    EX_ROUTE, EX_AUTHN, EX_LIMIT, EX_BODY, EX_AUTHZ, EX_SERVE, EX_FORWARD, EX_REPLY, EX_LOG, EX_DONE
};
enum tg_next { TG_NEXT_GO, TG_NEXT_WAIT };

enum tg_well_known { TG_WELL_KNOWN_NONE, TG_WELL_KNOWN_RESOURCE, TG_WELL_KNOWN_JWKS };

enum tg_outcome { TG_OUTCOME_NONE, TG_OUTCOME_ENDED, TG_OUTCOME_FAILED };

struct tg_exchange {
    enum tg_exchange_state state;
    const struct tg_client_ops *client;
    struct tg_conn *conn;
    struct tg_gate *gate;
    struct tg_runtime *rt;                               /* a reference */
    struct tg_arena arena;
    struct tg_head head;                                 /* slices and fields in the arena */
    int64_t started_us, ended_us;                        /* monotonic */
    int64_t wall_ms;
    /* route */
    struct tg_ip client_ip;
    bool peer_trusted;
    struct tg_slice host, path, path_decoded;            /* canonical; empty until known */
    int port;
    const struct tg_route *route;                        /* NULL: none */
    uint8_t well_known;                                  /* enum tg_well_known: answered instead of any route */
    const struct tg_route *described;                    /* RESOURCE: whose metadata */
    char request_id_own[37];
    struct tg_slice request_id, traceparent;
    bool trace_continued;
    /* authn */
    struct tg_credential credential;
    const struct tg_identity *identity;                  /* a reference */
    const char *auth_reason;                             /* for the log */
    bool authn_waits, authn_told;                        /* somebody is asked about the token; has answered */
    enum tg_refusal pending;                             /* a failed verification, until the limit was looked at */
    bool wants_dpop;                                     /* the token that was shown is bound to a DPoP key */
    const char *bound;                                   /* "dpop", "mtls": how its bearer has proved to be the one */
    const struct tg_provider *scope_of;                  /* whose scopes were asked for; NULL: nobody's */
    char key_set[TG_JWKS_DIGEST];                        /* which keys were asked, for the log; "": none */
    /* limit */
    struct tg_limit_ask limit_ask;                       /* tier NULL: nothing was asked */
    struct tg_charge charge;                             /* tier NULL: nothing is to be told of a limit */
    bool charged, limit_waits;
    bool traced;                                         /* the answer tells how it was decided: debug_trace */
    /* body */
    bool body_unread;                                    /* it was not looked at: no content would let him in */
    bool call_unknown;                                   /* for a policy in shadow mode alone: content nobody can judge,
                                                            so facts.mcp_tool says nothing */
    /* authz */
    struct tg_facts facts;
    struct tg_verdict verdict;
    bool judged;
    struct tg_verdict shadow_verdict;                    /* once judged, of a route with `shadow` */
    /* forward */
    struct tg_call call;
    struct tg_deadline total;
    bool calling, body_open, body_asked, upgrade, head_sent;
    uint64_t tried;                                      /* endpoints that refused */
    int endpoint;
    unsigned attempts;
    uint8_t outcome, fault;
    struct tg_buf replay;                                /* the body so far, while it may have to be sent again */
    bool replayable;
    const struct tg_head *body_trailers;                 /* of a body read whole before: those that may go on */
    bool body_complete;
    int64_t upstream_us;
    /* forward: upstream_auth */
    struct tg_slice own_authorization;                   /* what goes out; empty: none */
    uint64_t own_version;
    struct tg_own_wait *own_wait;                        /* NULL: another one is not waited for */
    bool own_asked, own_refused;                         /* once each */
    bool own_again;                                      /* it is sent again when own_wait is over */
    /* serve */
    struct tg_buf served_body;
    struct tg_service_call *service_call;                /* NULL: none is out */
    bool body_too_large;                                 /* of a service: above its body_max */
    /* reply */
    enum tg_refusal refusal;
    unsigned refusal_status;                             /* of TG_REFUSE_HEAD */
    /* log */
    unsigned status;
    uint64_t bytes_in, bytes_out;
    bool aborted, chunked_out;
};

/* A new exchange with a copy of the head (parsed from `bytes`); `head` may be NULL for a refused one. */
struct tg_exchange *tg_exchange_new(struct tg_conn *conn, const struct tg_client_ops *client,
                                    const struct tg_head *head, struct tg_slice bytes);
void tg_exchange_run(struct tg_exchange *ex);            /* runs steps until one waits or the request is over */
void tg_exchange_abort(struct tg_exchange *ex);          /* the client went away */
/* Goes to EX_REPLY with this refusal, from a step (returns GO). */
enum tg_next tg_exchange_refuse(struct tg_exchange *ex, enum tg_refusal why);
/* The same from outside a step: cancels the upstream; cuts when the answer's head has gone out. */
void tg_exchange_break(struct tg_exchange *ex, enum tg_refusal why);
/* The request's content, from the client side. */
void tg_exchange_body(struct tg_exchange *ex, struct tg_slice data);
void tg_exchange_body_end(struct tg_exchange *ex, const struct tg_head *trailers);
void tg_exchange_body_settle(struct tg_exchange *ex);
void tg_exchange_client_drained(struct tg_exchange *ex);

enum tg_next tg_step_route(struct tg_exchange *ex);
enum tg_next tg_step_authn(struct tg_exchange *ex);
enum tg_next tg_step_limit(struct tg_exchange *ex);
enum tg_next tg_step_body(struct tg_exchange *ex);
enum tg_next tg_step_authz(struct tg_exchange *ex);
enum tg_next tg_step_serve(struct tg_exchange *ex);
enum tg_next tg_step_forward(struct tg_exchange *ex);
enum tg_next tg_step_reply(struct tg_exchange *ex);
enum tg_next tg_step_log(struct tg_exchange *ex);

void tg_give_ids(struct tg_exchange *ex);                /* request id and trace */
/* The request's content is wanted now: 100 Continue where it was asked for, then reading. Once. */
void tg_exchange_ask_for_body(struct tg_exchange *ex);
void tg_tunnel_traffic(struct tg_exchange *ex);          /* octets went through the tunnel */
/* What was decided, for log and metrics. */
enum tg_decided { TG_DECIDED_ALLOW, TG_DECIDED_DENY, TG_DECIDED_UNAUTHENTICATED, TG_DECIDED_LIMIT, TG_DECIDED_NONE };
enum tg_decided tg_decided(const struct tg_exchange *ex);
const char *tg_decided_name(enum tg_decided decided);

/* step_body: the content that a policy asks about, on its way in. */
bool tg_body_is_judged(const struct tg_exchange *ex);    /* this request has content, and a policy asks about it */
void tg_body_take(struct tg_exchange *ex, struct tg_slice data);
void tg_body_end(struct tg_exchange *ex, const struct tg_head *trailers);
/* The most octets of content this request may have; 0: no limit. */
uint64_t tg_content_limit(const struct tg_exchange *ex);

/* step_serve: a service's request, on its way in; and that nobody waits for its answer any more. */
void tg_service_body(struct tg_exchange *ex, struct tg_slice data);
void tg_service_forget(struct tg_exchange *ex);
void tg_step_authn_cancel(struct tg_exchange *ex);
void tg_step_limit_cancel(struct tg_exchange *ex);
/* step_bound: whether the identity may stay; else it is gone, and why is in ex->pending. */
void tg_check_bound(struct tg_exchange *ex);
/* step_limit: counts what is refused anyhow, once: whoever was about to pay for it, else the address. */
void tg_charge_refused(struct tg_exchange *ex);
/* Whether one more of this address would be admitted, as far as is known; counts nothing. */
bool tg_address_has_room(struct tg_exchange *ex);
/* well_known: whether this path is tollgate's own; then it goes on to the limit, and after it is refused or served. */
bool tg_well_known(struct tg_exchange *ex);
void tg_well_known_admitted(struct tg_exchange *ex);
void tg_serve_well_known(struct tg_exchange *ex);
struct tg_slice tg_allowed_methods(const struct tg_exchange *ex); /* Allow of a 405 */
/* resource: RFC 9728, of a route with `resource`. */
#define TG_RESOURCE_PATH "/.well-known/oauth-protected-resource"
#define TG_SCOPES_TOLD 64
void tg_resource_url(const struct tg_exchange *ex, const struct tg_route *route, struct tg_buf *out);
void tg_resource_metadata_url(const struct tg_exchange *ex, const struct tg_route *route, struct tg_buf *out);
void tg_resource_document(const struct tg_exchange *ex, const struct tg_route *route, struct tg_buf *out);
/* Its name is what a trusted proxy says of this request: another request of the same URL may be told another one. */
bool tg_resource_is_told(const struct tg_exchange *ex, const struct tg_route *route);
/* How the client sees this service: by `from`, what a trusted proxy says, the connection. */
bool tg_seen_https(const struct tg_exchange *ex, const struct tg_route *route);
struct tg_slice tg_seen_authority(const struct tg_exchange *ex);
/* The scopes a token needs, each once, those of its provider (ex->scope_of; NULL: of each) first. */
size_t tg_scopes_needed(const struct tg_exchange *ex, const struct tg_route *route, struct tg_slice *out, size_t max);
/*
 * The rate-limit fields, X-Request-Id, the trace where it was asked for; returns how many were written. `theirs`: the
 * answer of the upstream that they are for; NULL: it is ours.
 */
#define TG_TRACE_LINES 64
#define TG_ANSWER_FIELDS (TG_LIMIT_FIELD_COUNT + 5 + TG_TRACE_LINES)
size_t tg_answer_fields(struct tg_exchange *ex, const struct tg_head *theirs,
                        struct tg_field out[static TG_ANSWER_FIELDS]);
/* limit_fields: the rate-limit fields alone. `theirs`: the answer of the upstream; NULL: it is ours. */
size_t tg_answer_limit_fields(struct tg_exchange *ex, const struct tg_head *theirs,
                              struct tg_field out[static TG_LIMIT_FIELD_COUNT]);
/* Of an interim answer (1xx): nothing is told of a limit that we tell of in the final one. */
void tg_drop_limit_fields(const struct tg_exchange *ex, struct tg_head *interim);
/* trace_headers: how it was decided, for whoever knows the route's debug_trace. */
void tg_trace_ask(struct tg_exchange *ex);               /* sets ex->traced */
size_t tg_trace_fields(struct tg_exchange *ex, struct tg_field out[static TG_TRACE_LINES]);
/* An upstream's own are not ours: without them. */
void tg_trace_drop(struct tg_head *head);
const char *tg_refusal_name(enum tg_refusal why);
unsigned tg_refusal_status(const struct tg_exchange *ex);
/* Sends a whole answer made here. */
void tg_answer(struct tg_exchange *ex, unsigned status, const struct tg_field *fields, size_t count,
               struct tg_slice body);

/* identity_fields: what tells the upstream who calls; returns how many, in the arena but for the assertion, which is
 * valid until the next one is made. */
size_t tg_identity_fields(struct tg_exchange *ex, struct tg_field **out);

/* upstream_auth: tollgate's own token for the service, on routes that have one. */
enum tg_own { TG_OWN_READY, TG_OWN_WAIT, TG_OWN_NONE };
enum tg_own tg_upstream_auth_ready(struct tg_exchange *ex); /* before a request goes out; WAIT: the step runs again */
/* `fields`, in the arena, and behind them Authorization; returns how many. */
size_t tg_upstream_auth_add(struct tg_exchange *ex, struct tg_field **fields, size_t count);
/* The service said 401. True: another token is on its way, and the step runs again then. */
bool tg_upstream_auth_refused(struct tg_exchange *ex);
void tg_upstream_auth_cancel(struct tg_exchange *ex);

/* What goes to `target`: fills `out`, returns the request target to write. */
struct tg_slice tg_forward_head(struct tg_exchange *ex, const struct tg_target *target, struct tg_head *out);
/* step_forward: the time of the whole exchange begins, once. */
void tg_forward_time(struct tg_exchange *ex);
/* The request's content on its way. */
void tg_forward_body(struct tg_exchange *ex, struct tg_slice data);
void tg_forward_body_end(struct tg_exchange *ex, const struct tg_head *trailers);

extern const struct tg_client_ops tg_conn_h1_ops;
void tg_conn_h1_start(struct tg_conn *conn);             /* reads requests from a connection that was set up */
/* conn_tls.c: the handshake is over: counted, and conn->tls made. */
void tg_conn_tls_done(struct tg_conn *conn);
/*
 * It failed. True: the stream is plain now, with the last words in it, and is to be ended when the client has read
 * them; false: close it.
 */
bool tg_conn_tls_failed(struct tg_conn *conn, const struct tg_stream_events *events);
void tg_conn_tls_slow(struct tg_conn *conn);             /* the client did not finish it in time */
void tg_conn_tls_free(struct tg_conn_tls *tls);          /* NULL is fine */
/*
 * What the client's certificate is worth to this request, under the configuration it began under: another than the one
 * of the handshake may ask for more, and a certificate ends. `why`: in words when INVALID, else NULL.
 */
enum tg_client_cert tg_conn_tls_certificate(const struct tg_exchange *ex, const char **why);
/* Sets the deadline that fits what the connection waits for; `progress`: the client has just done its part. */
void tg_conn_h1_plan(struct tg_conn *conn, bool progress);
void tg_conn_h1_answered(struct tg_conn *conn);          /* the answer was said whole: what comes next */
void tg_access_log(struct tg_exchange *ex);
void tg_audit_decision(struct tg_exchange *ex);          /* audit_log: when the audit log is asked to have it */
/* access_facts: what the decision used, of a route whose `reads` are known. */
void tg_access_facts(const struct tg_exchange *ex, struct tg_buf *out);
void tg_access_facts_certificate(const struct tg_cert *cert, struct tg_conn_tls *tls);
void tg_access_log_tls(const struct tg_tls_facts *facts, struct tg_buf *out); /* for every line of a connection */
void tg_gate_metrics_init(struct tg_gate *gate);
void tg_metrics_count(struct tg_exchange *ex);
void tg_metrics_bind_route(struct tg_route_metrics *m, struct tg_slice route);
void tg_metrics_bind_shadow(struct tg_route_metrics *m, struct tg_slice route);
void tg_metrics_unbind_route(struct tg_route_metrics *m);
void tg_metrics_bind_tier(struct tg_tier_metrics *m, const struct tg_tier *tier);
