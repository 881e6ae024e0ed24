/*
 * h1_body - see http/h1_body.h. The chunked reader is one state per place in the grammar of RFC 9112 §7.1, one octet a
 * step; only runs of content are taken whole.
 */
#include "http/h1_body.h"
#include "http/h1_parse.h"
#include "internal.h"

#define LINE_BYTES 1024                                  /* of one chunk-size line */
#define EXTENSION_BYTES 16384                            /* of all chunk extensions of a message */
#define TRAILER_BYTES 16384
#define TRAILER_FIELDS 64

enum state {
    SIZE_START, SIZE, SIZE_LF,
    EXT_BEFORE,                                          /* BWS that must lead to ";" */
    EXT_NAME_START, EXT_NAME, EXT_NAME_END, EXT_VALUE_START, EXT_TOKEN, EXT_QUOTED, EXT_ESCAPE, EXT_END,
    DATA, DATA_CR, DATA_LF,
    TRAILER_START, TRAILER_LINE, TRAILER_LF, LAST_LF,
    BROKEN,
};

void tg_h1_body_init(struct tg_h1_body *b, enum tg_framing framing, uint64_t length)
{
    *b = (struct tg_h1_body){.framing = (uint8_t)framing, .state = SIZE_START};
    if (framing == TG_BODY_LENGTH)
        b->left = length;
    b->done = framing == TG_BODY_NONE || (framing == TG_BODY_LENGTH && length == 0);
}

void tg_h1_body_fini(struct tg_h1_body *b)
{
    if (b)
        tg_buf_fini(&b->trailer);
}

static enum tg_status broken(struct tg_h1_body *b, struct tg_err *err, const char *why)
{
    b->state = BROKEN;
    return tg_fail(err, TG_BAD_INPUT, "%s", why);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One octet of an extension (RFC 9112 §7.1.1, RFC 9110 §5.6.4). Returns the next state, BROKEN when the grammar is. */
static enum state extension_step(enum state s, char c)
{
    bool token = octet_is(c, CLASS_TOKEN);

    switch (s) {
    case EXT_BEFORE:
        return c == ';' ? EXT_NAME_START : is_blank(c) ? EXT_BEFORE : BROKEN;
    case EXT_NAME_START:
        return token ? EXT_NAME : is_blank(c) ? EXT_NAME_START : BROKEN;
    case EXT_NAME:
        if (token)
            return EXT_NAME;
        break;
    case EXT_NAME_END:                                   /* blanks after a name: only "=" or ";" may follow */
        return c == '=' ? EXT_VALUE_START : c == ';' ? EXT_NAME_START : is_blank(c) ? EXT_NAME_END : BROKEN;
    case EXT_VALUE_START:
        return c == '"' ? EXT_QUOTED : token ? EXT_TOKEN : is_blank(c) ? EXT_VALUE_START : BROKEN;
    case EXT_TOKEN:
        if (token)
            return EXT_TOKEN;
        break;
    case EXT_QUOTED:
        return c == '"' ? EXT_END : c == '\\' ? EXT_ESCAPE : octet_is(c, CLASS_VALUE) ? EXT_QUOTED : BROKEN;
    case EXT_ESCAPE:
        return octet_is(c, CLASS_VALUE) ? EXT_QUOTED : BROKEN;
    default:
        break;
    }
    /* Behind a whole name or value. */
    if (c == '\r')
        return SIZE_LF;
    if (c == ';')
        return EXT_NAME_START;
    if (s == EXT_NAME)
        return c == '=' ? EXT_VALUE_START : is_blank(c) ? EXT_NAME_END : BROKEN;
    return is_blank(c) ? EXT_BEFORE : BROKEN;
}

/* One octet of the line that opens a chunk. */
static enum tg_status size_step(struct tg_h1_body *b, char c, struct tg_err *err)
{
    if (++b->line_bytes > LINE_BYTES)
        return broken(b, err, "a chunk-size line is too long");
    if (b->state == SIZE_LF) {
        if (c != '\n')
            return broken(b, err, "a chunk-size line does not end in CR LF");
        b->line_bytes = 0;
        b->state = b->left > 0 ? DATA : TRAILER_START;
        return TG_OK;
    }
    if (b->state == SIZE_START || b->state == SIZE) {
        if (octet_is(c, CLASS_HEX)) {
            if (b->left > INT64_MAX >> 4)
                return broken(b, err, "a chunk size is too large");
            b->left = b->left << 4 | hex_value(c);
            b->state = SIZE;
            return TG_OK;
        }
        if (b->state == SIZE && (c == '\r' || c == ';' || is_blank(c))) {
            b->state = c == '\r' ? SIZE_LF : c == ';' ? EXT_NAME_START : EXT_BEFORE;
            return TG_OK;
        }
        return broken(b, err, "a malformed chunk size");
    }
    if (++b->extension_bytes > EXTENSION_BYTES)
        return broken(b, err, "too many chunk extensions");
    b->state = (uint8_t)extension_step((enum state)b->state, c);
    return b->state == BROKEN ? broken(b, err, "a malformed chunk extension") : TG_OK;
}

/* The end of the body: the trailers must be well-formed, since they frame the next message. */
static enum tg_status finish(struct tg_h1_body *b, struct tg_err *err)
{
    struct tg_field fields[TRAILER_FIELDS];
    struct tg_head head = {.fields = fields, .field_cap = TRAILER_FIELDS};
    enum tg_status st;

    if (b->trailer.len > 0) {
        tg_buf_add(&b->trailer, "\r\n", 2);
        st = tg_h1_body_trailers(b, &head, err);
        if (st != TG_OK) {
            b->state = BROKEN;
            return TG_BAD_INPUT;
        }
    }
    b->done = true;
    return TG_OK;
}

static enum tg_status trailer_step(struct tg_h1_body *b, char c, struct tg_err *err)
{
    if (b->state == LAST_LF)
        return c == '\n' ? finish(b, err) : broken(b, err, "the body does not end in CR LF");
    if (b->state == TRAILER_START && c == '\r') {
        b->state = LAST_LF;
        return TG_OK;
    }
    if (b->trailer.len >= TRAILER_BYTES)
        return broken(b, err, "the trailers are larger than allowed");
    tg_buf_addc(&b->trailer, c);
    if (b->state == TRAILER_LF) {
        if (c != '\n')
            return broken(b, err, "a trailer line does not end in CR LF");
        b->state = TRAILER_START;
    } else if (c == '\r') {
        b->state = TRAILER_LF;
    } else if (!octet_is(c, CLASS_VALUE) || (b->state == TRAILER_START && !octet_is(c, CLASS_TOKEN))) {
        return broken(b, err, "a malformed trailer line");
    } else {
        b->state = TRAILER_LINE;
    }
    return TG_OK;
}

/* Takes up to `left` octets as content. */
static void take(struct tg_h1_body *b, struct tg_slice *in, struct tg_slice *content)
{
    size_t n = in->len < b->left ? in->len : (size_t)b->left;

    *content = tg_slice(in->ptr, n);
    *in = tg_slice(in->ptr + n, in->len - n);
    b->left -= n;
}

static enum tg_status read_chunked(struct tg_h1_body *b, struct tg_slice *in, struct tg_slice *content,
                                   struct tg_err *err)
{
    while (in->len > 0 && !b->done) {
        enum tg_status st = TG_OK;
        char c = *in->ptr;

        if (b->state == DATA) {
            take(b, in, content);
            if (b->left == 0)
                b->state = DATA_CR;
            return TG_OK;
        }
        if (b->state == BROKEN) {
            return tg_fail(err, TG_BAD_INPUT, "the body was broken before");
        } else if (b->state == DATA_CR || b->state == DATA_LF) {
            if (c != (b->state == DATA_CR ? '\r' : '\n'))
                return broken(b, err, "chunk data does not end in CR LF");
            b->state = b->state == DATA_CR ? DATA_LF : SIZE_START;
        } else if (b->state < DATA) {
            st = size_step(b, c, err);
        } else {
            st = trailer_step(b, c, err);
        }
        if (st != TG_OK)
            return st;
        *in = tg_slice(in->ptr + 1, in->len - 1);
    }
    return b->done ? TG_OK : TG_AGAIN;
}

enum tg_status tg_h1_body_read(struct tg_h1_body *b, struct tg_slice *in, struct tg_slice *content, struct tg_err *err)
{
    *content = tg_slice(in->ptr, 0);
    if (b->done)
        return TG_OK;
    if (b->framing == TG_BODY_CHUNKED)
        return read_chunked(b, in, content, err);
    if (in->len == 0)
        return TG_AGAIN;
    if (b->framing == TG_BODY_CLOSE) {
        *content = *in;
        *in = tg_slice(in->ptr + in->len, 0);
        return TG_OK;
    }
    take(b, in, content);
    b->done = b->left == 0;
    return TG_OK;
}

enum tg_status tg_h1_body_trailers(struct tg_h1_body *b, struct tg_head *out, struct tg_err *err)
{
    size_t used;

    if (b->trailer.len == 0) {
        *out = (struct tg_head){.fields = out->fields, .field_cap = out->field_cap};
        return TG_OK;
    }
    return tg_h1_parse_trailers(tg_buf_slice(&b->trailer), out, &used, err);
}

size_t tg_h1_chunk_line(uint64_t n, char out[TG_CHUNK_LINE])
{
    static const char hex[] = "0123456789abcdef";
    unsigned digits = n == 0 ? 1 : (67 - (unsigned)__builtin_clzll(n)) / 4;

    for (unsigned i = 0; i < digits; i++)
        out[i] = hex[n >> 4 * (digits - 1 - i) & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}
