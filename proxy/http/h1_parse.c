/*
 * h1_parse - start lines and whole heads (see http/h1_parse.h).
 *
 * A head that is there as a whole, as almost every one is, is read in a single pass. When the first try runs out of
 * input, later calls look only at what is new, for the end of the head or a line end that cannot be right, and then
 * read once more.
 */
#include "http/h1_parse.h"
#include "h1_fields.h"
#include "http/uri.h"
#include "internal.h"

#define METHOD_BYTES 64

bool tg_is_token(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!octet_is(s.ptr[i], CLASS_TOKEN))
            return false;
    return s.len > 0;
}

bool tg_is_field_value(struct tg_slice s)
{
    if (s.len == 0)
        return true;
    return tg_slice_trim(s).len == s.len && scan_value(s.ptr, s.ptr + s.len) == s.ptr + s.len;
}

/* Whether a head that was not whole when `scanned` octets of it were there deserves another reading. */
static bool worth_reading(struct tg_slice in, size_t scanned, const struct tg_h1_limits *limits)
{
    const char *p = in.ptr + (scanned < in.len ? scanned : in.len), *end = in.ptr + in.len;
    size_t line_max = limits->target_bytes + METHOD_BYTES + 2;

    if (scanned == 0 || in.len >= limits->head_bytes)
        return true;
    if (scanned <= line_max && in.len > line_max)        /* a target too long is refused before the head's own limit */
        return true;
    while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        size_t at = (size_t)(p - in.ptr);

        if (at == 0 || p[-1] != '\r' || (at >= 2 && p[-2] == '\n'))
            return true;
        p++;
    }
    return false;
}

/* HTTP/1.0 or HTTP/1.1 at r->p; */
static enum tg_status read_version(struct reader *r, struct tg_head *h)
{
    static const char form[] = "HTTP/1.";
    size_t have = (size_t)(r->end - r->p), n = sizeof form - 1;

    if (have > n && memcmp(r->p, form, n) == 0 && (r->p[n] == '0' || r->p[n] == '1')) {
        h->minor = (uint8_t)(r->p[n] - '0');
        r->p += n + 1;
        return TG_OK;
    }
    if (memcmp(r->p, form, have < 5 ? have : 5) != 0)
        return tg_h1_refuse(r, 400, "no HTTP version where one must stand");
    if (have < 8)
        return tg_h1_need_more(r);
    if (r->p[5] < '1' || r->p[5] > '9' || r->p[6] != '.' || r->p[7] < '0' || r->p[7] > '9')
        return tg_h1_refuse(r, 400, "a malformed HTTP version");
    if (have < 9)
        return tg_h1_need_more(r);
    return r->p[8] == '\r' ? tg_h1_refuse(r, 505, "an HTTP version other than 1.0 and 1.1")
                           : tg_h1_refuse(r, 400, "a malformed HTTP version");
}

static enum tg_status read_line_end(struct reader *r)
{
    if (r->p < r->end && *r->p != '\r')
        return tg_h1_refuse(r, 400, "the start line does not end in CR LF");
    if (r->end - r->p < 2)
        return tg_h1_need_more(r);
    if (r->p[1] != '\n')
        return tg_h1_refuse(r, 400, "a CR without LF");
    r->p += 2;
    return TG_OK;
}

static enum tg_status read_method(struct reader *r, struct tg_head *h)
{
    const char *from = r->p;

    while (r->p < r->end && octet_is(*r->p, CLASS_TOKEN))
        r->p++;
    h->method = tg_slice(from, (size_t)(r->p - from));
    if (h->method.len > METHOD_BYTES)
        return tg_h1_refuse(r, 501, "a method longer than any known one");
    if (r->p == r->end)
        return tg_h1_need_more(r);
    if (*r->p != ' ' || h->method.len == 0)
        return tg_h1_refuse(r, 400, "the request line does not start with a method and one space");
    h->method_id = (uint8_t)tg_method_id(h->method);
    r->p++;
    return TG_OK;
}

/* Finds the end of the target and of its path; the form is looked at later. */
static enum tg_status read_target(struct reader *r, struct tg_head *h, size_t max)
{
    const char *from = r->p, *p = from;
    const char *end = (size_t)(r->end - p) > max ? p + max + 1 : r->end;

    while (p < end && octet_is(*p, CLASS_PATH))
        p++;
    h->path = tg_slice(from, (size_t)(p - from));
    if (p < end && *p == '?') {
        const char *query = ++p;

        while (p < end && octet_is(*p, CLASS_QUERY))
            p++;
        h->query = tg_slice(query, (size_t)(p - query));
    }
    r->p = p;
    h->target = tg_slice(from, (size_t)(p - from));
    if (h->target.len > max)
        return tg_h1_refuse(r, 414, "the request target is longer than allowed");
    if (p == r->end)
        return tg_h1_need_more(r);
    if (*p != ' ' || p == from)
        return tg_h1_refuse(r, 400, "the request target is empty or has a character that is not allowed there");
    r->p++;
    return TG_OK;
}

static int effective_port(int port, int standard)
{
    return port < 0 ? standard : port;
}

/* RFC 9112 §3.2.2. path holds the whole target up to "?". */
static enum tg_status split_absolute_form(struct reader *r, struct tg_head *h, struct tg_slice host)
{
    struct tg_slice a_host, b_host;
    int a_port, b_port, standard;
    size_t scheme, n;

    if (h->path.len > 7 && tg_slice_eq_nocase(tg_slice(h->path.ptr, 7), TG_S("http://"))) {
        scheme = 7;
        standard = 80;
    } else if (h->path.len > 8 && tg_slice_eq_nocase(tg_slice(h->path.ptr, 8), TG_S("https://"))) {
        scheme = 8;
        standard = 443;
    } else {
        return tg_h1_refuse(r, 400, "the request target is neither a path nor an http or https URL");
    }
    for (n = scheme; n < h->path.len && h->path.ptr[n] != '/'; n++)
        ;
    h->authority = tg_slice(h->path.ptr + scheme, n - scheme);
    h->path = tg_slice(h->path.ptr + n, h->path.len - n);
    if (h->path.len == 0)                                /* RFC 9112 §3.2.1, §3.2.4 */
        h->path = h->method_id == TG_METHOD_OPTIONS && !h->query.ptr ? TG_S("*") : TG_S("/");
    if (!tg_uri_split_authority(h->authority, &a_host, &a_port))
        return tg_h1_refuse(r, 400, "the request target has a malformed host or port");
    if (!(h->seen & field_bit(TG_FIELD_HOST)))
        return TG_OK;                                    /* HTTP/1.0 */
    if (!tg_uri_split_authority(host, &b_host, &b_port) || !tg_slice_eq_nocase(a_host, b_host) ||
        effective_port(a_port, standard) != effective_port(b_port, standard))
        return tg_h1_refuse(r, 400, "the request target and Host name different hosts");
    return TG_OK;
}

/* The form of the target must fit the method (RFC 9112 §3.2), and Host must be there, once, and well-formed. */
static enum tg_status read_authority(struct reader *r, struct tg_head *h)
{
    struct tg_slice host = tg_head_value(h, TG_FIELD_HOST), name;
    int port;

    if (r->repeated & field_bit(TG_FIELD_HOST))
        return tg_h1_refuse(r, 400, "more than one Host");
    if (h->minor > 0 && !(h->seen & field_bit(TG_FIELD_HOST)))
        return tg_h1_refuse(r, 400, "no Host");
    if (host.len > 0 && !tg_uri_split_authority(host, &name, &port))
        return tg_h1_refuse(r, 400, "a malformed Host");
    h->authority = host;
    if (h->method_id == TG_METHOD_CONNECT) {
        h->authority = h->target;
        h->path = (struct tg_slice){0};
        if (h->query.ptr || !tg_uri_split_authority(h->target, &name, &port) || port < 0)
            return tg_h1_refuse(r, 400, "CONNECT needs a host and a port");
        return TG_OK;
    }
    if (h->path.len > 0 && h->path.ptr[0] == '/')
        return TG_OK;
    if (h->method_id == TG_METHOD_OPTIONS && tg_slice_eq(h->target, TG_S("*")))
        return TG_OK;
    return split_absolute_form(r, h, host);
}

static enum tg_status read_request(struct reader *r, struct tg_head *h, const struct tg_h1_limits *limits)
{
    enum tg_status st;

    if (r->p < r->end && *r->p == '\r') {                /* RFC 9112 §2.2 */
        if (r->end - r->p < 2)
            return tg_h1_need_more(r);
        if (r->p[1] != '\n')
            return tg_h1_refuse(r, 400, "a CR without LF");
        r->p += 2;
    }
    if ((st = read_method(r, h)) != TG_OK || (st = read_target(r, h, limits->target_bytes)) != TG_OK ||
        (st = read_version(r, h)) != TG_OK || (st = read_line_end(r)) != TG_OK ||
        (st = tg_h1_read_fields(r, h, limits->fields < h->field_cap ? limits->fields : h->field_cap)) != TG_OK ||
        (st = read_authority(r, h)) != TG_OK || (st = tg_h1_read_framing(r, h)) != TG_OK ||
        (st = tg_h1_read_connection(r, h)) != TG_OK)
        return st;
    /* RFC 9110 §10.1.1: ignored in HTTP/1.0, and without a body there is nothing to wait for. */
    h->expect_continue = h->minor > 0 && (h->framing == TG_BODY_CHUNKED || h->content_length > 0) &&
                         tg_field_lists(h, TG_FIELD_EXPECT, TG_S("100-continue"));
    return TG_OK;
}

static void start(struct reader *r, struct tg_slice in, size_t max, unsigned *refusal, struct tg_err *err)
{
    size_t n = in.len < max ? in.len : max;

    *r = (struct reader){.p = in.ptr, .end = in.ptr + n, .limited = in.len >= max, .refusal = refusal, .err = err};
}

/* A head without its fields; the array stays the caller's. */
static void clear(struct tg_head *h)
{
    *h = (struct tg_head){.fields = h->fields, .field_cap = h->field_cap};
}

enum tg_status tg_h1_parse_request(struct tg_slice in, const struct tg_h1_limits *limits, size_t *scanned,
                                   struct tg_head *head, size_t *used, unsigned *refusal, struct tg_err *err)
{
    struct reader r;
    enum tg_status st;

    if (in.len == 0 || !worth_reading(in, *scanned, limits)) {
        *scanned = in.len;
        return TG_AGAIN;
    }
    *scanned = in.len;
    start(&r, in, limits->head_bytes, refusal, err);
    clear(head);
    st = read_request(&r, head, limits);
    if (st == TG_OK)
        *used = (size_t)(r.p - in.ptr);
    return st;
}

static enum tg_status read_status(struct reader *r, struct tg_head *h)
{
    const char *from;

    if (r->end - r->p < 4)
        return tg_h1_need_more(r);
    for (int i = 1; i <= 3; i++) {
        if (r->p[i] < '0' || r->p[i] > '9')
            return tg_h1_refuse(r, 400, "the status is not three digits");
        h->status = h->status * 10 + (unsigned)(r->p[i] - '0');
    }
    if (r->p[0] != ' ' || h->status < 100 || h->status > 599)
        return tg_h1_refuse(r, 400, "the status is not between 100 and 599");
    r->p += 4;
    if (r->p == r->end)
        return tg_h1_need_more(r);
    if (*r->p == '\r')                                   /* many leave out the space before an empty reason */
        return TG_OK;
    if (*r->p != ' ')
        return tg_h1_refuse(r, 400, "the status is not three digits");
    from = ++r->p;
    r->p = scan_value(r->p, r->end);
    h->reason = tg_slice(from, (size_t)(r->p - from));
    return TG_OK;
}

/* RFC 9112 §6.3. */
static enum tg_status read_response(struct reader *r, struct tg_head *h, const struct tg_h1_limits *limits,
                                    unsigned method_id)
{
    enum tg_status st;

    if ((st = read_version(r, h)) != TG_OK || (st = read_status(r, h)) != TG_OK || (st = read_line_end(r)) != TG_OK ||
        (st = tg_h1_read_fields(r, h, limits->fields < h->field_cap ? limits->fields : h->field_cap)) != TG_OK ||
        (st = tg_h1_read_framing(r, h)) != TG_OK || (st = tg_h1_read_connection(r, h)) != TG_OK)
        return st;
    if (method_id == TG_METHOD_HEAD || h->status < 200 || h->status == 204 || h->status == 304) {
        h->framing = TG_BODY_NONE;
    } else if (h->framing == TG_BODY_NONE) {
        h->framing = TG_BODY_CLOSE;
        h->keep_alive = false;
    }
    return TG_OK;
}

enum tg_status tg_h1_parse_response(struct tg_slice in, const struct tg_h1_limits *limits, size_t *scanned,
                                    unsigned method_id, struct tg_head *head, size_t *used, struct tg_err *err)
{
    struct reader r;
    enum tg_status st;

    if (in.len == 0 || !worth_reading(in, *scanned, limits)) {
        *scanned = in.len;
        return TG_AGAIN;
    }
    *scanned = in.len;
    start(&r, in, limits->head_bytes, NULL, err);
    clear(head);
    st = read_response(&r, head, limits, method_id);
    if (st == TG_OK)
        *used = (size_t)(r.p - in.ptr);
    return st == TG_OK || st == TG_AGAIN ? st : TG_BAD_INPUT;
}

enum tg_status tg_h1_parse_trailers(struct tg_slice in, struct tg_head *head, size_t *used, struct tg_err *err)
{
    struct reader r;
    enum tg_status st;

    start(&r, in, SIZE_MAX, NULL, err);
    clear(head);
    st = tg_h1_read_fields(&r, head, head->field_cap);
    if (st == TG_OK)
        *used = (size_t)(r.p - in.ptr);
    return st;
}
