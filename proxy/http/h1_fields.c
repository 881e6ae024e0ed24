/*
 * h1_fields - RFC 9112 §5 (field lines), §6 (framing), §9.3 (persistence).
 *
 * The hot loop of the proxy: one pass, no copy, no allocation; complaints are kept out of the way.
 */
#include "h1_fields.h"
#include "internal.h"

#define LENGTH_DIGITS 19                                 /* of 2^63-1 */
#define CONNECTION_OPTIONS 64                            /* keeps "remove what Connection names" from being quadratic */

enum tg_status tg_h1_refuse(struct reader *r, unsigned answer, const char *why)
{
    enum tg_status st = answer == 414 || answer == 431 ? TG_LIMIT : answer >= 500 ? TG_UNSUPPORTED : TG_BAD_INPUT;

    if (r->refusal)
        *r->refusal = answer;
    return tg_fail(r->err, st, "%s", why);
}

enum tg_status tg_h1_need_more(struct reader *r)
{
    return r->limited ? tg_h1_refuse(r, 431, "the head is larger than allowed") : TG_AGAIN;
}

static enum tg_status bad_name(struct reader *r, const char *name)
{
    if (r->p == name && (*r->p == ' ' || *r->p == '\t'))
        return tg_h1_refuse(r, 400, "a line starts with white space (folding is not allowed)");
    if (*r->p == '\n')
        return tg_h1_refuse(r, 400, "a line ends in LF without CR");
    if (*r->p == ' ' || *r->p == '\t')
        return tg_h1_refuse(r, 400, "white space before the colon of a field, or no colon");
    return tg_h1_refuse(r, 400, "a field name is not a token, or its line has no colon");
}

static enum tg_status bad_value(struct reader *r)
{
    if (*r->p == '\n')
        return tg_h1_refuse(r, 400, "a line ends in LF without CR");
    return tg_h1_refuse(r, 400, *r->p == '\r' ? "a CR without LF" : "a control character in a field value");
}

enum tg_status tg_h1_read_fields(struct reader *r, struct tg_head *h, unsigned max)
{
    const char *p = r->p, *const end = r->end;
    struct tg_field *f = h->fields;
    uint64_t seen = 0, repeated = 0;

    for (;; f++) {
        const char *name = p, *value, *stop;

        r->p = p = scan_token(p, end);
        if (p == end)
            return tg_h1_need_more(r);
        if (*p != ':' || p == name) {
            if (*p != '\r' || p != name)
                return bad_name(r, name);
            if (end - p < 2)
                return tg_h1_need_more(r);
            if (p[1] != '\n')
                return bad_value(r);
            break;                                       /* the empty line */
        }
        if (f - h->fields >= (ptrdiff_t)max)
            return tg_h1_refuse(r, 431, "more fields than allowed");
        f->name = tg_slice(name, (size_t)(p - name));
        for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
            ;
        value = p;
        stop = p = scan_value(p, end);
        r->p = p;
        if (end - p < 2)
            return p == end || *p == '\r' ? tg_h1_need_more(r) : bad_value(r);
        if (*p != '\r' || p[1] != '\n')
            return bad_value(r);
        p += 2;
        while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        f->value = tg_slice(value, (size_t)(stop - value));
        f->id = (uint16_t)tg_field_id(f->name);
        repeated |= seen & field_bit(f->id);
        seen |= field_bit(f->id);
    }
    r->p = p + 2;
    r->repeated = repeated & ~field_bit(TG_FIELD_OTHER);
    h->seen = seen & ~field_bit(TG_FIELD_OTHER);
    h->field_count = (unsigned)(f - h->fields);
    return TG_OK;
}

/* RFC 9110 §8.6: 1*DIGIT. */
static bool read_length(struct tg_slice s, uint64_t *out)
{
    uint64_t n = 0;

    if (s.len == 0)
        return false;
    while (s.len > 1 && *s.ptr == '0')
        s = tg_slice(s.ptr + 1, s.len - 1);
    if (s.len > LENGTH_DIGITS)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        n = n * 10 + (unsigned)(s.ptr[i] - '0');         /* 19 digits stay below 2^64 */
    }
    *out = n;
    return n <= INT64_MAX;
}

static enum tg_status read_coding(struct reader *r, struct tg_head *h)
{
    struct tg_slice value = tg_head_value(h, TG_FIELD_TRANSFER_ENCODING), rest, last = {0}, coding;
    unsigned chunked = 0, others = 0;

    if (h->minor == 0)
        return tg_h1_refuse(r, 400, "Transfer-Encoding in HTTP/1.0");
    if (h->seen & field_bit(TG_FIELD_CONTENT_LENGTH))
        return tg_h1_refuse(r, 400, "both Content-Length and Transfer-Encoding");
    if (r->repeated & field_bit(TG_FIELD_TRANSFER_ENCODING))
        return tg_h1_refuse(r, 400, "more than one Transfer-Encoding");
    if (tg_slice_eq_nocase(value, TG_S("chunked"))) {
        h->framing = TG_BODY_CHUNKED;
        return TG_OK;
    }
    for (rest = value; tg_list_next(&rest, &coding); last = coding) {
        bool is_chunked = tg_slice_eq_nocase(coding, TG_S("chunked"));

        if (!tg_is_token(coding))
            return tg_h1_refuse(r, 400, "a malformed Transfer-Encoding");
        chunked += is_chunked;
        others += !is_chunked;
    }
    if (chunked == 1 && others > 0 && tg_slice_eq_nocase(last, TG_S("chunked")))
        return tg_h1_refuse(r, 501, "a transfer coding other than chunked");
    return tg_h1_refuse(r, 400, "Transfer-Encoding is not a single \"chunked\"");
}

enum tg_status tg_h1_read_framing(struct reader *r, struct tg_head *h)
{
    h->framing = TG_BODY_NONE;
    h->content_length = 0;
    if (h->seen & field_bit(TG_FIELD_TRANSFER_ENCODING))
        return read_coding(r, h);
    if (!(h->seen & field_bit(TG_FIELD_CONTENT_LENGTH)))
        return TG_OK;
    if (r->repeated & field_bit(TG_FIELD_CONTENT_LENGTH))
        return tg_h1_refuse(r, 400, "more than one Content-Length");
    if (!read_length(tg_head_value(h, TG_FIELD_CONTENT_LENGTH), &h->content_length))
        return tg_h1_refuse(r, 400, "a malformed Content-Length");
    h->framing = TG_BODY_LENGTH;
    return TG_OK;
}

enum tg_status tg_h1_read_connection(struct reader *r, struct tg_head *h)
{
    bool close = false, keep = false;
    unsigned options = 0;

    if (h->seen & field_bit(TG_FIELD_CONNECTION)) {
        for (unsigned i = 0; i < h->field_count; i++) {
            struct tg_slice rest = h->fields[i].value, option;

            if (h->fields[i].id != TG_FIELD_CONNECTION)
                continue;
            while (tg_list_next(&rest, &option)) {
                if (++options > CONNECTION_OPTIONS)
                    return tg_h1_refuse(r, 431, "Connection names more options than allowed");
                close |= tg_slice_eq_nocase(option, TG_S("close"));
                keep |= tg_slice_eq_nocase(option, TG_S("keep-alive"));
            }
        }
    }
    h->keep_alive = !close && (h->minor > 0 || keep);
    return TG_OK;
}
