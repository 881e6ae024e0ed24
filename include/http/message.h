/*
 * message - a request or response head as parsed: method, target or status, ordered fields as slices.
 *
 * Nothing here owns bytes: slices point into what was parsed or into an arena that outlives the head. Known field names
 * and methods carry an id, so that later steps compare numbers. Fit for HTTP/1.1 and HTTP/2: pseudo-fields are members.
 */
#pragma once
#include "base/arena.h"

/* Known field names: id, lower-case name. The order is free; h1_parse finds the id by a perfect-ish hash. */
#define TG_FIELD_NAMES(X) \
    X(ACCEPT, "accept") X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method") \
    X(AUTHORIZATION, "authorization") X(CACHE_CONTROL, "cache-control") X(CONNECTION, "connection") \
    X(CONTENT_LENGTH, "content-length") X(CONTENT_TYPE, "content-type") X(COOKIE, "cookie") X(DATE, "date") \
    X(DPOP, "dpop") X(EXPECT, "expect") X(FORWARDED, "forwarded") X(HOST, "host") \
    X(HTTP2_SETTINGS, "http2-settings") X(KEEP_ALIVE, "keep-alive") X(ORIGIN, "origin") \
    X(PROXY_AUTHENTICATE, "proxy-authenticate") X(PROXY_AUTHORIZATION, "proxy-authorization") \
    X(PROXY_CONNECTION, "proxy-connection") X(RATELIMIT, "ratelimit") \
    X(RATELIMIT_POLICY, "ratelimit-policy") X(RETRY_AFTER, "retry-after") \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key") X(SEC_WEBSOCKET_VERSION, "sec-websocket-version") X(SERVER, "server") \
    X(TE, "te") X(TRACEPARENT, "traceparent") X(TRACESTATE, "tracestate") X(TRAILER, "trailer") \
    X(TRANSFER_ENCODING, "transfer-encoding") X(UPGRADE, "upgrade") X(USER_AGENT, "user-agent") X(VIA, "via") \
    X(WWW_AUTHENTICATE, "www-authenticate") X(X_FORWARDED_FOR, "x-forwarded-for") \
    X(X_FORWARDED_HOST, "x-forwarded-host") X(X_FORWARDED_PORT, "x-forwarded-port") \
    X(X_FORWARDED_PROTO, "x-forwarded-proto") X(X_RATELIMIT_LIMIT, "x-ratelimit-limit") \
    X(X_RATELIMIT_REMAINING, "x-ratelimit-remaining") X(X_RATELIMIT_RESET, "x-ratelimit-reset") \
    X(X_REAL_IP, "x-real-ip") X(X_REQUEST_ID, "x-request-id")
enum tg_field_id {
    TG_FIELD_OTHER = 0,
#define X(id, name) TG_FIELD_##id,
    TG_FIELD_NAMES(X)
#undef X
    TG_FIELD_COUNT
};
_Static_assert(TG_FIELD_COUNT <= 64, "head.seen is one word");

/* Methods are case-sensitive (RFC 9110 §9.1). */
enum tg_method {
    TG_METHOD_OTHER = 0, TG_METHOD_GET, TG_METHOD_HEAD, TG_METHOD_POST, TG_METHOD_PUT, TG_METHOD_DELETE,
    TG_METHOD_PATCH, TG_METHOD_OPTIONS, TG_METHOD_CONNECT, TG_METHOD_TRACE, TG_METHOD_COUNT
};

struct tg_field {
    struct tg_slice name, value;                         /* value without surrounding white space */
    uint16_t id;                                         /* enum tg_field_id */
};

/* How the body ends (RFC 9112 §6). */
enum tg_framing { TG_BODY_NONE, TG_BODY_LENGTH, TG_BODY_CHUNKED, TG_BODY_CLOSE };

struct tg_head {
    struct tg_field *fields;                             /* in the order received; the caller's array */
    unsigned field_count, field_cap;
    uint64_t seen;                                       /* bit (1 << id) for every known field present */
    uint8_t minor;                                       /* HTTP/1.minor; 2 and above mean HTTP/minor */
    uint8_t method_id;                                   /* request: enum tg_method */
    uint8_t framing;                                     /* enum tg_framing */
    bool keep_alive;                                     /* what it says about its connection (RFC 9112 §9.3) */
    bool expect_continue;                                /* request, HTTP/1.1 only: Expect: 100-continue */
    uint64_t content_length;                             /* with TG_BODY_LENGTH */
    struct tg_slice method, target;                      /* request, as sent */
    struct tg_slice authority;                           /* request: of an absolute-form target, else Host */
    struct tg_slice path, query;                         /* request: query without "?", ptr NULL: no "?" */
    unsigned status;                                     /* response */
    struct tg_slice reason;                              /* response; may be empty */
};

/* The id of a field name in any case, TG_FIELD_OTHER when unknown. */
unsigned tg_field_id(struct tg_slice name);
struct tg_slice tg_field_name(unsigned id);              /* lower case */
unsigned tg_method_id(struct tg_slice method);
const char *tg_method_name(unsigned id);                 /* "GET"...; "other" */

/* The first field with that id, or NULL. */
const struct tg_field *tg_head_find(const struct tg_head *h, unsigned id);
/* The first field of that name in any case, or NULL. */
const struct tg_field *tg_head_find_name(const struct tg_head *h, struct tg_slice name);
/* The value of the first field with that id, or empty. */
struct tg_slice tg_head_value(const struct tg_head *h, unsigned id);
/* Appends; false when the array is full. name and value are borrowed. */
bool tg_head_add(struct tg_head *h, unsigned id, struct tg_slice name, struct tg_slice value);
bool tg_head_add_id(struct tg_head *h, unsigned id, struct tg_slice value); /* canonical spelling: "Content-Length" */

/* Walks a comma list (RFC 9110 §5.6.1) in one value: next element trimmed, empty ones skipped; false at the end. */
bool tg_list_next(struct tg_slice *rest, struct tg_slice *element);

const char *tg_status_reason(unsigned status);           /* "Not Found"; "" when unknown */
