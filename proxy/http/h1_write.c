/*
 * h1_write - see http/h1_write.h. The room is reserved once, then octets are only copied.
 */
#include "http/h1_write.h"
#include "internal.h"

#define FIXED_BYTES 256                                  /* start line, framing, Connection; parts are counted */
#define LENGTH_DIGITS 20

/* Short strings are the rule, and a call costs more than their copy. */
static inline char *put(char *o, const char *p, size_t n)
{
    if (n > 32) {
        memcpy(o, p, n);
    } else if (n >= 16) {
        memcpy(o, p, 16);
        memcpy(o + n - 16, p + n - 16, 16);
    } else if (n >= 8) {
        memcpy(o, p, 8);
        memcpy(o + n - 8, p + n - 8, 8);
    } else {
        for (size_t i = 0; i < n; i++)
            o[i] = p[i];
    }
    return o + n;
}

static char *put_slice(char *o, struct tg_slice s)
{
    return put(o, s.ptr, s.len);
}

#define PUT(o, literal) put((o), "" literal, sizeof(literal) - 1)

static char *put_number(char *o, uint64_t n)
{
    char digits[LENGTH_DIGITS];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    while (at < sizeof digits)
        *o++ = digits[at++];
    return o;
}

static size_t fields_size(const struct tg_head *h)
{
    size_t n = FIXED_BYTES;

    for (unsigned i = 0; i < h->field_count; i++)
        n += h->fields[i].name.len + h->fields[i].value.len + 4;
    return n;
}

static char *put_fields(char *o, const struct tg_head *h, uint64_t without)
{
    for (const struct tg_field *f = h->fields, *end = f + h->field_count; f < end; f++) {
        if (without & field_bit(f->id))
            continue;
        o = put_slice(o, f->name);
        *o++ = ':';
        *o++ = ' ';
        o = put_slice(o, f->value);
        *o++ = '\r';
        *o++ = '\n';
    }
    return o;
}

static char *put_length(char *o, uint64_t length)
{
    o = PUT(o, "Content-Length: ");
    o = put_number(o, length);
    return PUT(o, "\r\n");
}

static void end_head(struct tg_buf *out, char *o)
{
    o = PUT(o, "\r\n");
    out->len = (size_t)(o - out->data);
}

void tg_h1_write_request(struct tg_buf *out, const struct tg_head *head, struct tg_slice target)
{
    char *o;

    tg_buf_reserve(out, head->method.len + target.len + fields_size(head));
    o = out->data + out->len;
    o = put_slice(o, head->method);
    *o++ = ' ';
    o = put_slice(o, target);
    o = PUT(o, " HTTP/1.1\r\n");
    o = put_fields(o, head, field_bit(TG_FIELD_CONTENT_LENGTH) | field_bit(TG_FIELD_TRANSFER_ENCODING));
    if (head->framing == TG_BODY_CHUNKED)
        o = PUT(o, "Transfer-Encoding: chunked\r\n");
    else if (head->framing == TG_BODY_LENGTH)
        o = put_length(o, head->content_length);
    end_head(out, o);
}

void tg_h1_write_response(struct tg_buf *out, const struct tg_head *head, unsigned to_minor,
                          enum tg_h1_connection connection, bool to_head, bool has_length)
{
    static const uint64_t framed_here =
        UINT64_C(1) << TG_FIELD_CONTENT_LENGTH | UINT64_C(1) << TG_FIELD_TRANSFER_ENCODING |
        UINT64_C(1) << TG_FIELD_CONNECTION | UINT64_C(1) << TG_FIELD_KEEP_ALIVE |
        UINT64_C(1) << TG_FIELD_PROXY_CONNECTION | UINT64_C(1) << TG_FIELD_UPGRADE;
    bool bare = head->status < 200 || head->status == 204;
    char *o;

    tg_buf_reserve(out, head->reason.len + fields_size(head));
    o = out->data + out->len;
    o = PUT(o, "HTTP/1.1 ");
    o = put_number(o, head->status);
    *o++ = ' ';
    o = put_slice(o, head->reason);
    o = PUT(o, "\r\n");
    o = put_fields(o, head, framed_here);
    if (bare) {
        ;                                                /* RFC 9110 §8.6, RFC 9112 §6.1 */
    } else if (to_head || head->status == 304) {
        if (has_length)
            o = put_length(o, head->content_length);
    } else if (head->framing == TG_BODY_CHUNKED && to_minor > 0) {
        o = PUT(o, "Transfer-Encoding: chunked\r\n");
    } else if (head->framing == TG_BODY_LENGTH || head->framing == TG_BODY_NONE) {
        /* Without a body the length must be said: it would end at the close otherwise. */
        o = put_length(o, head->framing == TG_BODY_LENGTH ? head->content_length : 0);
    }
    if (connection == TG_H1_UPGRADE)
        o = PUT(o, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (connection == TG_H1_CLOSE && head->status >= 200)
        o = PUT(o, "Connection: close\r\n");
    else if (connection == TG_H1_KEEP && to_minor == 0 && head->status >= 200)
        o = PUT(o, "Connection: keep-alive\r\n");
    end_head(out, o);
}

void tg_h1_write_last_chunk(struct tg_buf *out, const struct tg_head *trailers)
{
    char *o;

    tg_buf_reserve(out, trailers ? fields_size(trailers) : FIXED_BYTES);
    o = out->data + out->len;
    o = PUT(o, "0\r\n");
    if (trailers)
        o = put_fields(o, trailers, field_bit(TG_FIELD_CONTENT_LENGTH) | field_bit(TG_FIELD_TRANSFER_ENCODING));
    end_head(out, o);
}
