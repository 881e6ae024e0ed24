/*
 * Request heads and all that is done with one: parsed, its path made canonical, forwarded, written anew.
 * Laws: a cut head is never whole; what was accepted and written is accepted again and says the same; what goes on to
 * the upstream is acceptable itself and has one Host.
 */
#include "http/forward.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "http/uri.h"
#include <stdlib.h>

#define FIELDS 64

static const struct tg_h1_limits limits = {.head_bytes = 8192, .target_bytes = 2048, .fields = FIELDS};
static const struct tg_h1_limits wide = {.head_bytes = 65536, .target_bytes = 4096, .fields = 2 * FIELDS};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tg_status parse(struct tg_slice in, const struct tg_h1_limits *l, struct tg_head *h,
    struct tg_field *fields,
                            unsigned cap, size_t *used)
{
    size_t scanned = 0;
    unsigned refusal = 0;
    enum tg_status st;

    *h = (struct tg_head){.fields = fields, .field_cap = cap};
    st = tg_h1_parse_request(in, l, &scanned, h, used, &refusal, NULL);
    tg_assert((st == TG_OK || st == TG_AGAIN) == (refusal == 0));
    return st;
}

/* A copy of its own size, so that a read past the end is seen. */
static void check_cut(struct tg_slice in, size_t cut)
{
    struct tg_field fields[FIELDS];
    struct tg_head h;
    char *copy = malloc(cut + 1);
    size_t used;

    memcpy(copy + 1, in.ptr, cut);
    tg_assert(parse(tg_slice(copy + 1, cut), &limits, &h, fields, FIELDS, &used) != TG_OK);
    free(copy);
}

static bool is_framing(unsigned id)
{
    return id == TG_FIELD_CONTENT_LENGTH || id == TG_FIELD_TRANSFER_ENCODING;
}

/* The same fields in the same order, framing aside, which the writer puts at the end. */
static void check_same(const struct tg_head *a, const struct tg_head *b)
{
    unsigned k = 0;

    tg_assert(a->method_id == b->method_id && tg_slice_eq(a->method, b->method) && a->framing == b->framing);
    tg_assert(a->framing != TG_BODY_LENGTH || a->content_length == b->content_length);
    for (unsigned i = 0; i < a->field_count; i++) {
        if (is_framing(a->fields[i].id))
            continue;
        while (k < b->field_count && is_framing(b->fields[k].id))
            k++;
        tg_assert(k < b->field_count && tg_slice_eq(a->fields[i].name, b->fields[k].name));
        tg_assert(tg_slice_eq(a->fields[i].value, b->fields[k].value) && a->fields[i].id == b->fields[k].id);
        k++;
    }
}

static void check_written(const struct tg_head *h)
{
    struct tg_field fields[2 * FIELDS];
    struct tg_buf out = {0};
    struct tg_head again;
    size_t used;

    if (h->minor == 0)
        return;                                          /* is written as 1.1, which needs a Host */
    tg_h1_write_request(&out, h, h->target);
    tg_assert(parse(tg_buf_slice(&out), &wide, &again, fields, 2 * FIELDS, &used) == TG_OK && used == out.len);
    check_same(h, &again);
    tg_assert(tg_slice_eq(h->authority, again.authority) && tg_slice_eq(h->path, again.path));
    tg_buf_fini(&out);
}

static void check_forwarded(const struct tg_head *h, struct tg_arena *arena)
{
    static const struct tg_slice names[] = {TG_S_INIT("X-Email")};
    const struct tg_forward_options options = {.identity_names = names, .identity_count = 1,
        .strip_authorization = true};
    const struct tg_forward_request request = {.host = TG_S("upstream"), .client = {4, {127, 0, 0, 1}},
                                               .client_authority = h->authority, .request_id = TG_S("id")};
    struct tg_field fields[2 * FIELDS];
    struct tg_slice canonical, decoded, twice, ignored;
    struct tg_head out, again;
    struct tg_buf bytes = {0};
    size_t used;

    if (h->path.len == 0 || tg_uri_canonical_path(h->path, arena, &canonical, &decoded, NULL) != TG_OK)
        return;
    tg_assert(tg_uri_canonical_path(canonical, arena, &twice, &ignored, NULL) == TG_OK && tg_slice_eq(canonical,
        twice));
    tg_assert(tg_uri_loosest_path(canonical, arena).len > 0);
    tg_forward_request(tg_forward_compile(&options, arena), h, &request, arena, &out);
    tg_h1_write_request(&bytes, &out, canonical);
    tg_assert(parse(tg_buf_slice(&bytes), &wide, &again, fields, 2 * FIELDS, &used) == TG_OK && used == bytes.len);
    check_same(&out, &again);
    tg_assert(tg_slice_eq(again.authority, request.host) && !(again.seen & UINT64_C(1) << TG_FIELD_AUTHORIZATION));
    tg_assert(!tg_head_find_name(&again, names[0]));
    tg_buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice in = tg_slice((const char *)data, size);
    struct tg_field fields[FIELDS];
    struct tg_arena arena;
    struct tg_head h;
    size_t used;

    if (parse(in, &limits, &h, fields, FIELDS, &used) != TG_OK)
        return 0;
    tg_assert(used <= size && used <= limits.head_bytes);
    for (size_t cut = 0; cut < used; cut += 1 + used / 64)
        check_cut(in, cut);
    check_cut(in, used - 1);
    check_written(&h);
    tg_arena_init(&arena, NULL, 0);
    check_forwarded(&h, &arena);
    tg_arena_fini(&arena);
    return 0;
}
