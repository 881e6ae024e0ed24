/*
 * message - names, methods and heads (see http/message.h).
 */
#include "http/message.h"
#include "base/err.h"
#include "internal.h"

static const struct tg_slice names[TG_FIELD_COUNT] = {
#define X(id, name) [TG_FIELD_##id] = TG_S_INIT(name),
    TG_FIELD_NAMES(X)
#undef X
};

/* As people write them. */
static const struct tg_slice spellings[TG_FIELD_COUNT] = {
    [TG_FIELD_ACCEPT] = TG_S_INIT("Accept"),
    [TG_FIELD_ACCESS_CONTROL_REQUEST_METHOD] = TG_S_INIT("Access-Control-Request-Method"),
    [TG_FIELD_AUTHORIZATION] = TG_S_INIT("Authorization"),
    [TG_FIELD_CACHE_CONTROL] = TG_S_INIT("Cache-Control"),
    [TG_FIELD_CONNECTION] = TG_S_INIT("Connection"),
    [TG_FIELD_CONTENT_LENGTH] = TG_S_INIT("Content-Length"),
    [TG_FIELD_CONTENT_TYPE] = TG_S_INIT("Content-Type"),
    [TG_FIELD_COOKIE] = TG_S_INIT("Cookie"),
    [TG_FIELD_DATE] = TG_S_INIT("Date"),
    [TG_FIELD_DPOP] = TG_S_INIT("DPoP"),
    [TG_FIELD_EXPECT] = TG_S_INIT("Expect"),
    [TG_FIELD_FORWARDED] = TG_S_INIT("Forwarded"),
    [TG_FIELD_HOST] = TG_S_INIT("Host"),
    [TG_FIELD_HTTP2_SETTINGS] = TG_S_INIT("HTTP2-Settings"),
    [TG_FIELD_KEEP_ALIVE] = TG_S_INIT("Keep-Alive"),
    [TG_FIELD_ORIGIN] = TG_S_INIT("Origin"),
    [TG_FIELD_PROXY_AUTHENTICATE] = TG_S_INIT("Proxy-Authenticate"),
    [TG_FIELD_PROXY_AUTHORIZATION] = TG_S_INIT("Proxy-Authorization"),
    [TG_FIELD_PROXY_CONNECTION] = TG_S_INIT("Proxy-Connection"),
    [TG_FIELD_RETRY_AFTER] = TG_S_INIT("Retry-After"),
    [TG_FIELD_SEC_WEBSOCKET_KEY] = TG_S_INIT("Sec-WebSocket-Key"),
    [TG_FIELD_SEC_WEBSOCKET_VERSION] = TG_S_INIT("Sec-WebSocket-Version"),
    [TG_FIELD_SERVER] = TG_S_INIT("Server"),
    [TG_FIELD_TE] = TG_S_INIT("TE"),
    [TG_FIELD_TRACEPARENT] = TG_S_INIT("traceparent"),   /* W3C Trace Context §3.2.1: lower case */
    [TG_FIELD_TRACESTATE] = TG_S_INIT("tracestate"),
    [TG_FIELD_TRAILER] = TG_S_INIT("Trailer"),
    [TG_FIELD_TRANSFER_ENCODING] = TG_S_INIT("Transfer-Encoding"),
    [TG_FIELD_UPGRADE] = TG_S_INIT("Upgrade"),
    [TG_FIELD_USER_AGENT] = TG_S_INIT("User-Agent"),
    [TG_FIELD_VIA] = TG_S_INIT("Via"),
    [TG_FIELD_WWW_AUTHENTICATE] = TG_S_INIT("WWW-Authenticate"),
    [TG_FIELD_X_FORWARDED_FOR] = TG_S_INIT("X-Forwarded-For"),
    [TG_FIELD_X_FORWARDED_HOST] = TG_S_INIT("X-Forwarded-Host"),
    [TG_FIELD_X_FORWARDED_PORT] = TG_S_INIT("X-Forwarded-Port"),
    [TG_FIELD_X_FORWARDED_PROTO] = TG_S_INIT("X-Forwarded-Proto"),
    [TG_FIELD_RATELIMIT] = TG_S_INIT("RateLimit"),
    [TG_FIELD_RATELIMIT_POLICY] = TG_S_INIT("RateLimit-Policy"),
    [TG_FIELD_X_RATELIMIT_LIMIT] = TG_S_INIT("X-RateLimit-Limit"),
    [TG_FIELD_X_RATELIMIT_REMAINING] = TG_S_INIT("X-RateLimit-Remaining"),
    [TG_FIELD_X_RATELIMIT_RESET] = TG_S_INIT("X-RateLimit-Reset"),
    [TG_FIELD_X_REAL_IP] = TG_S_INIT("X-Real-IP"),
    [TG_FIELD_X_REQUEST_ID] = TG_S_INIT("X-Request-Id"),
};

/* Known names by length, at most five of one length; 0 ends a row. test_message.c finds a missing one. */
#define LONGEST_NAME 29
#define F(id) TG_FIELD_##id
static const uint8_t by_length[LONGEST_NAME + 1][6] = {
    [2] = {F(TE)},
    [3] = {F(VIA)},
    [4] = {F(HOST), F(DATE), F(DPOP)},
    [6] = {F(ACCEPT), F(COOKIE), F(ORIGIN), F(SERVER), F(EXPECT)},
    [7] = {F(UPGRADE), F(TRAILER)},
    [9] = {F(FORWARDED), F(X_REAL_IP), F(RATELIMIT)},
    [10] = {F(CONNECTION), F(USER_AGENT), F(KEEP_ALIVE), F(TRACESTATE)},
    [11] = {F(TRACEPARENT), F(RETRY_AFTER)},
    [12] = {F(CONTENT_TYPE), F(X_REQUEST_ID)},
    [13] = {F(AUTHORIZATION), F(CACHE_CONTROL)},
    [14] = {F(CONTENT_LENGTH), F(HTTP2_SETTINGS)},
    [15] = {F(X_FORWARDED_FOR)},
    [16] = {F(X_FORWARDED_HOST), F(X_FORWARDED_PORT), F(WWW_AUTHENTICATE), F(PROXY_CONNECTION),
            F(RATELIMIT_POLICY)},
    [17] = {F(TRANSFER_ENCODING), F(X_FORWARDED_PROTO), F(SEC_WEBSOCKET_KEY), F(X_RATELIMIT_LIMIT),
            F(X_RATELIMIT_RESET)},
    [18] = {F(PROXY_AUTHENTICATE)},
    [19] = {F(PROXY_AUTHORIZATION)},
    [21] = {F(SEC_WEBSOCKET_VERSION), F(X_RATELIMIT_REMAINING)},
    [29] = {F(ACCESS_CONTROL_REQUEST_METHOD)},
};
#undef F

/* Whether eight octets are the lower-case `want` in any case: only letters (bit 6 set) may differ, only in bit 5. */
static bool same_word(uint64_t have, uint64_t want)
{
    return ((have ^ want) & ~((want & UINT64_C(0x4040404040404040)) >> 1)) == 0;
}

static uint64_t load8(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t load4(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static bool same_name(const char *have, const char *want, size_t len)
{
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8)
            if (!same_word(load8(have + i), load8(want + i)))
                return false;
        return same_word(load8(have + len - 8), load8(want + len - 8));
    }
    if (len >= 4)
        return same_word(load4(have), load4(want)) && same_word(load4(have + len - 4), load4(want + len - 4));
    for (size_t i = 0; i < len; i++)
        if (!same_word((uint8_t)have[i], (uint8_t)want[i]))
            return false;
    return true;
}

unsigned tg_field_id(struct tg_slice name)
{
    if (name.len > LONGEST_NAME)
        return TG_FIELD_OTHER;
    for (const uint8_t *id = by_length[name.len]; *id; id++)
        if ((names[*id].ptr[0] | 0x20) == (name.ptr[0] | 0x20) && same_name(name.ptr, names[*id].ptr, name.len))
            return *id;
    return TG_FIELD_OTHER;
}

struct tg_slice tg_field_name(unsigned id)
{
    return id < TG_FIELD_COUNT ? names[id] : (struct tg_slice){0};
}

static const struct tg_slice methods[TG_METHOD_COUNT] = {
    [TG_METHOD_GET] = TG_S_INIT("GET"),         [TG_METHOD_HEAD] = TG_S_INIT("HEAD"),
    [TG_METHOD_POST] = TG_S_INIT("POST"),       [TG_METHOD_PUT] = TG_S_INIT("PUT"),
    [TG_METHOD_DELETE] = TG_S_INIT("DELETE"),   [TG_METHOD_PATCH] = TG_S_INIT("PATCH"),
    [TG_METHOD_OPTIONS] = TG_S_INIT("OPTIONS"), [TG_METHOD_CONNECT] = TG_S_INIT("CONNECT"),
    [TG_METHOD_TRACE] = TG_S_INIT("TRACE"),
};

unsigned tg_method_id(struct tg_slice method)
{
    for (unsigned id = TG_METHOD_GET; id < TG_METHOD_COUNT; id++)
        if (tg_slice_eq(methods[id], method))
            return id;
    return TG_METHOD_OTHER;
}

const char *tg_method_name(unsigned id)
{
    return id > TG_METHOD_OTHER && id < TG_METHOD_COUNT ? methods[id].ptr : "other";
}

const struct tg_field *tg_head_find(const struct tg_head *h, unsigned id)
{
    if (id == TG_FIELD_OTHER || id >= TG_FIELD_COUNT || !(h->seen & field_bit(id)))
        return NULL;
    for (unsigned i = 0; i < h->field_count; i++)
        if (h->fields[i].id == id)
            return &h->fields[i];
    return NULL;
}

const struct tg_field *tg_head_find_name(const struct tg_head *h, struct tg_slice name)
{
    unsigned id = tg_field_id(name);

    if (id != TG_FIELD_OTHER)
        return tg_head_find(h, id);
    for (unsigned i = 0; i < h->field_count; i++)
        if (h->fields[i].id == TG_FIELD_OTHER && tg_slice_eq_nocase(h->fields[i].name, name))
            return &h->fields[i];
    return NULL;
}

struct tg_slice tg_head_value(const struct tg_head *h, unsigned id)
{
    const struct tg_field *f = tg_head_find(h, id);

    return f ? f->value : (struct tg_slice){0};
}

bool tg_head_add(struct tg_head *h, unsigned id, struct tg_slice name, struct tg_slice value)
{
    if (h->field_count >= h->field_cap)
        return false;
    h->fields[h->field_count++] = (struct tg_field){.name = name, .value = value, .id = (uint16_t)id};
    if (id != TG_FIELD_OTHER)
        h->seen |= field_bit(id);
    return true;
}

bool tg_head_add_id(struct tg_head *h, unsigned id, struct tg_slice value)
{
    tg_assert(id > TG_FIELD_OTHER && id < TG_FIELD_COUNT);
    return tg_head_add(h, id, spellings[id], value);
}

bool tg_list_next(struct tg_slice *rest, struct tg_slice *element)
{
    while (rest->len > 0) {
        const char *comma = memchr(rest->ptr, ',', rest->len);
        size_t len = comma ? (size_t)(comma - rest->ptr) : rest->len;
        size_t used = comma ? len + 1 : len;

        *element = tg_slice_trim(tg_slice(rest->ptr, len));
        rest->ptr += used;
        rest->len -= used;
        if (element->len > 0)
            return true;
    }
    return false;
}

bool tg_field_lists(const struct tg_head *h, unsigned id, struct tg_slice word)
{
    if (!(h->seen & field_bit(id)))
        return false;
    for (unsigned i = 0; i < h->field_count; i++) {
        struct tg_slice rest = h->fields[i].value, element;

        if (h->fields[i].id != id)
            continue;
        while (tg_list_next(&rest, &element))
            if (tg_slice_eq_nocase(element, word))
                return true;
    }
    return false;
}

static const struct { unsigned status; const char *reason; } reasons[] = {
    {200, "OK"}, {100, "Continue"}, {101, "Switching Protocols"}, {102, "Processing"}, {103, "Early Hints"},
    {201, "Created"}, {202, "Accepted"}, {203, "Non-Authoritative Information"}, {204, "No Content"},
    {205, "Reset Content"}, {206, "Partial Content"}, {207, "Multi-Status"}, {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"},
    {305, "Use Proxy"}, {307, "Temporary Redirect"}, {308, "Permanent Redirect"},
    {400, "Bad Request"}, {401, "Unauthorized"}, {402, "Payment Required"}, {403, "Forbidden"}, {404, "Not Found"},
    {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {407, "Proxy Authentication Required"},
    {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"}, {412, "Precondition Failed"},
    {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"}, {421, "Misdirected Request"}, {422, "Unprocessable Content"}, {423, "Locked"},
    {424, "Failed Dependency"}, {425, "Too Early"}, {426, "Upgrade Required"}, {428, "Precondition Required"},
    {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"}, {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
    {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"}, {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"}, {508, "Loop Detected"}, {511, "Network Authentication Required"},
};

const char *tg_status_reason(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}
