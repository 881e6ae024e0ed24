/*
 * Response heads. The first octet chooses the method of the request.
 * Laws: a cut head is never whole; what was accepted, forwarded and written is accepted again with the same framing.
 */
#include "http/forward.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"

#define FIELDS 64

static const struct tg_h1_limits limits = {.head_bytes = 8192, .target_bytes = 2048, .fields = FIELDS};
static const struct tg_h1_limits wide = {.head_bytes = 65536, .target_bytes = 2048, .fields = 2 * FIELDS};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tg_status parse(struct tg_slice in, const struct tg_h1_limits *l, unsigned method_id, struct tg_head *h,
                            struct tg_field *fields, unsigned cap, size_t *used)
{
    size_t scanned = 0;

    *h = (struct tg_head){.fields = fields, .field_cap = cap};
    return tg_h1_parse_response(in, l, &scanned, method_id, h, used, NULL);
}

static void check_forwarded(const struct tg_head *h, unsigned method_id, struct tg_arena *arena)
{
    static const struct tg_field extra[] = {{TG_S_INIT("X-RateLimit-Limit"), TG_S_INIT("5"),
        TG_FIELD_X_RATELIMIT_LIMIT}};
    const struct tg_forward_options options = {0};
    struct tg_field fields[2 * FIELDS];
    struct tg_head out, again;
    struct tg_buf bytes = {0};
    size_t used;
    unsigned limits_seen = 0;
    bool has_length = h->seen & UINT64_C(1) << TG_FIELD_CONTENT_LENGTH;

    tg_forward_response(tg_forward_compile(&options, arena), h, extra, 1, TG_S("now"), arena, &out);
    tg_h1_write_response(&bytes, &out, 1, h->framing == TG_BODY_CLOSE ? TG_H1_CLOSE : TG_H1_KEEP,
                         method_id == TG_METHOD_HEAD, has_length);
    tg_assert(parse(tg_buf_slice(&bytes), &wide, method_id, &again, fields, 2 * FIELDS, &used) == TG_OK);
    tg_assert(used == bytes.len && again.status == h->status && again.framing == h->framing);
    tg_assert(again.keep_alive == (h->framing != TG_BODY_CLOSE));
    tg_assert(h->framing != TG_BODY_LENGTH || again.content_length == h->content_length);
    for (unsigned i = 0; i < again.field_count; i++)
        limits_seen += again.fields[i].id == TG_FIELD_X_RATELIMIT_LIMIT;
    tg_assert(limits_seen == 1);
    tg_buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_field fields[FIELDS], cut_fields[FIELDS];
    struct tg_arena arena;
    struct tg_slice in;
    struct tg_head h, cut_head;
    size_t used, ignored;
    unsigned method_id;

    if (size == 0)
        return 0;
    method_id = data[0] & 1 ? TG_METHOD_HEAD : TG_METHOD_GET;
    in = tg_slice((const char *)data + 1, size - 1);
    if (parse(in, &limits, method_id, &h, fields, FIELDS, &used) != TG_OK)
        return 0;
    tg_assert(used <= in.len);
    for (size_t cut = 0; cut < used; cut += 1 + (used - cut) / 32)
        tg_assert(parse(tg_slice(in.ptr, cut), &limits, method_id, &cut_head, cut_fields, FIELDS, &ignored) != TG_OK);
    tg_arena_init(&arena, NULL, 0);
    check_forwarded(&h, method_id, &arena);
    tg_arena_fini(&arena);
    return 0;
}
