/*
 * forward - from the head that came in to the head that goes on: hop-by-hop fields (RFC 9110 §7.6.1), forwarding
 * fields, identity fields, what a route sets and removes.
 *
 * Rules are compiled once per route; applying them allocates from the request's arena only. A name compares without
 * case and with "_" and "." as "-", so that no upstream that folds names can be fooled.
 */
#pragma once
#include "base/arena.h"
#include "base/ip.h"
#include "http/message.h"

struct tg_forward_rules;
struct tg_field_set {                                    /* fields to set: name and value */
    const struct tg_field *items;
    size_t count;
};

struct tg_forward_options {
    const struct tg_slice *identity_names;               /* of identity fields (jwt_claims_headers), removed */
    size_t identity_count;
    const struct tg_slice *remove_request;               /* remove_request_headers */
    size_t remove_request_count;
    struct tg_field_set set_request;                     /* set_request_headers: replaces the client's */
    struct tg_field_set set_response;                    /* set_response_headers: replaces the upstream's */
    bool strip_authorization;                            /* and DPoP, which proves who may use it */
};
/* Copies what it needs into `arena`. Names the proxy frames by itself (Connection, Content-Length, Host, ...) may not
 * be set: tg_forward_may_set tells. */
struct tg_forward_rules *tg_forward_compile(const struct tg_forward_options *options, struct tg_arena *arena);
bool tg_forward_may_set(struct tg_slice name);
/* Equal without case and with "-" for whatever is no letter or digit: to some service the two are one field. */
bool tg_forward_same_name(struct tg_slice a, struct tg_slice b);

struct tg_forward_request {                              /* what this request adds */
    struct tg_slice host;                                /* Host to send */
    struct tg_ip client;                                 /* the connection's peer */
    bool peer_trusted;                                   /* peer in trusted_proxies: its X-Forwarded-* are continued */
    bool tls;                                            /* the client's connection */
    struct tg_slice client_authority;                    /* for X-Forwarded-Host */
    struct tg_slice request_id;                          /* X-Request-Id to send */
    struct tg_slice traceparent;                         /* to send; empty: none */
    bool trace_continued;                                /* then the client's tracestate goes on, else not */
    const struct tg_field *identity;                     /* identity fields to add */
    size_t identity_count;
    bool upgrade_websocket;                              /* send Connection: Upgrade, Upgrade: websocket */
};
/*
 * Fills out->fields (array from the arena) with what goes to the upstream: Host, the client's end-to-end fields in
 * order, what the route sets, identity fields, then ours: Via, X-Forwarded-For/-Proto/-Host, X-Request-Id,
 * traceparent. TE is passed only as "trailers". Left out are Expect, Upgrade, HTTP2-Settings, Proxy and Proxy-*,
 * everything Connection names (but never Host or framing), and identity names (X-Pomerium-*, X-Tollgate-*,
 * X-Forwarded-User/-Email/-Groups/-Preferred-Username/-Access-Token, X-Auth-Request-*, X-Remote-*,
 * Remote-User/-Email/-Groups/-Name, Cf-Access-*, X-Goog-*, X-Amzn-Oidc-*, configured ones); from a peer that is not
 * trusted also X-Forwarded-*, Forwarded and X-Real-IP; from anyone, known names spelled with "_" or ".". An identity
 * field wins over a set one; what a route sets or removes, the proxy does not add. method, framing and content_length
 * are copied.
 */
void tg_forward_request(const struct tg_forward_rules *rules, const struct tg_head *in,
                        const struct tg_forward_request *request, struct tg_arena *arena, struct tg_head *out);
/*
 * What the client gets: end-to-end fields, set_response_headers, then `extra` (rate-limit fields and the like, which
 * replace the upstream's own of the same names; one X-RateLimit-* replaces all three, one of RateLimit and
 * RateLimit-Policy both). Date is added when the upstream sent none (`date`: IMF-fixdate). An interim response (1xx but
 * 101) gets neither set_response_headers nor Date. Connection and Upgrade of a 101 are the writer's.
 */
void tg_forward_response(const struct tg_forward_rules *rules, const struct tg_head *in, const struct tg_field *extra,
                         size_t extra_count, struct tg_slice date, struct tg_arena *arena, struct tg_head *out);
/* Trailers that may travel on: no framing, routing, authentication or identity fields (RFC 9110 §6.5.1). */
void tg_forward_trailers(const struct tg_forward_rules *rules, struct tg_head *trailers);

/* The client's address as far as it can be believed: X-Forwarded-For counted from the right through `trusted`. */
struct tg_ip tg_forward_client_ip(const struct tg_head *in, const struct tg_ip *peer, const struct tg_cidr *trusted,
                                  size_t trusted_count);
/* X-Request-Id to take over: from a trusted peer, [A-Za-z0-9._-]{1,128}. */
bool tg_request_id_valid(struct tg_slice id);
/* W3C Trace Context level 1: version 00 form (a higher version by its first four parts), not all zero. */
bool tg_traceparent_valid(struct tg_slice value);
/* Whether the request asks for a WebSocket (RFC 6455 §4.1): HTTP/1.1 GET, Connection: upgrade, Upgrade: websocket
 * alone, version 13, a key of 16 bytes, no body. */
bool tg_is_websocket(const struct tg_head *in);
/* Whether the 101 answers it: Upgrade: websocket and Connection: upgrade. */
bool tg_is_websocket_accept(const struct tg_head *response);
/* IMF-fixdate (RFC 9110 §5.6.7), 29 characters and a NUL. */
void tg_http_date(int64_t wall_s, char out[30]);
