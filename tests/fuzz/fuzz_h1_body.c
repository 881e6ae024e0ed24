/*
 * Chunked bodies. The first octet is the size of the parts in which the body arrives.
 * Laws: the parts do not matter; a cut body is never done; content sent on in chunks of our own is read back the same.
 */
#include "http/h1_body.h"
#include "http/h1_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    enum tg_status st;                                   /* TG_OK: done */
    size_t used;
    struct tg_buf content;
    struct tg_h1_body body;
};

static void read_all(struct result *r, struct tg_slice text, size_t part)
{
    *r = (struct result){.st = TG_AGAIN};
    tg_h1_body_init(&r->body, TG_BODY_CHUNKED, 0);
    while (r->used < text.len && r->st != TG_BAD_INPUT && !r->body.done) {
        size_t n = part < text.len - r->used ? part : text.len - r->used;
        struct tg_slice in = tg_slice(text.ptr + r->used, n), content;

        while (in.len > 0 && !r->body.done) {
            size_t before = in.len;

            r->st = tg_h1_body_read(&r->body, &in, &content, NULL);
            if (r->st == TG_BAD_INPUT)
                break;
            tg_assert(r->st != TG_AGAIN || in.len == 0);
            tg_assert(in.len < before);                  /* never a loop without end */
            tg_buf_add_slice(&r->content, content);
        }
        r->used += n - in.len;
    }
}

static void drop(struct result *r)
{
    tg_h1_body_fini(&r->body);
    tg_buf_fini(&r->content);
}

static void check_sent_on(struct result *whole)
{
    struct tg_field fields[64];
    struct tg_head trailers = {.fields = fields, .field_cap = 64};
    struct tg_buf text = {0};
    struct result again;
    char line[TG_CHUNK_LINE];

    tg_assert(tg_h1_body_trailers(&whole->body, &trailers, NULL) == TG_OK);
    if (whole->content.len > 0) {
        tg_buf_add(&text, line, tg_h1_chunk_line(whole->content.len, line));
        tg_buf_add_slice(&text, tg_buf_slice(&whole->content));
        tg_buf_adds(&text, "\r\n");
    }
    tg_h1_write_last_chunk(&text, &trailers);
    read_all(&again, tg_buf_slice(&text), text.len);
    tg_assert(again.body.done && again.used == text.len);
    tg_assert(tg_slice_eq(tg_buf_slice(&again.content), tg_buf_slice(&whole->content)));
    drop(&again);
    tg_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, parts, cut;
    struct tg_slice text;

    if (size < 2)
        return 0;
    text = tg_slice((const char *)data + 1, size - 1);
    read_all(&whole, text, text.len);
    read_all(&parts, text, 1u + data[0] % 16u);
    tg_assert(whole.body.done == parts.body.done && (whole.st == TG_BAD_INPUT) == (parts.st == TG_BAD_INPUT));
    tg_assert(whole.used == parts.used && tg_slice_eq(tg_buf_slice(&whole.content), tg_buf_slice(&parts.content)));
    if (whole.body.done) {
        for (size_t n = 0; n < whole.used; n += 1 + whole.used / 64) {
            read_all(&cut, tg_slice(text.ptr, n), text.len);
            tg_assert(!cut.body.done);
            drop(&cut);
        }
        check_sent_on(&whole);
    }
    drop(&whole);
    drop(&parts);
    return 0;
}
