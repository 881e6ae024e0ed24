/*
 * api_query - what a query asks for, pages, times, entity-tags.
 */
#include "api.h"
#include "base/clock.h"
#include "base/digest.h"

#define PAGE_SIZE 20
#define PAGE_SIZE_MAX 100
#define PAGE_MAX UINT64_C(1000000000)
#define LIST_LIMIT_MAX 10000
#define OFFSET_MAX UINT64_C(1000000000000)

/* ---- decoding ---- */

/* By way of JSON's own check of UTF-8: characters that mean something there stand for themselves no longer. */
static bool is_text(struct tg_slice s)
{
    struct tg_buf quoted = {0};
    bool ok;

    tg_buf_addc(&quoted, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        tg_buf_addc(&quoted, c == '"' || c == '\\' || (c > 0 && c < 0x20) ? '?' : s.ptr[i]);
    }
    tg_buf_addc(&quoted, '"');
    ok = tg_json_scan(tg_buf_slice(&quoted), NULL, NULL) == TG_OK;
    tg_buf_fini(&quoted);
    return ok;
}

bool api_decode(struct tg_slice text, bool plus, struct tg_buf *out)
{
    size_t from = out->len;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '%') {
            int high = text.len - i > 2 ? tg_hex_digit(text.ptr[i + 1]) : -1;
            int low = text.len - i > 2 ? tg_hex_digit(text.ptr[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        tg_buf_addc(out, c);
    }
    return is_text(tg_slice(out->data + from, out->len - from));
}

/* The next member of the query, as sent. */
static bool next_member(struct tg_slice *query, struct tg_slice *name, struct tg_slice *value)
{
    struct tg_slice member;

    while (query->len > 0) {
        if (!tg_slice_cut(*query, '&', &member, query))
            *query = tg_slice(NULL, 0);
        if (member.len == 0)
            continue;
        if (!tg_slice_cut(member, '=', name, value))
            *value = tg_slice(NULL, 0);
        return true;
    }
    return false;
}

bool api_query_is_valid(struct tg_slice query)
{
    struct tg_slice name, value;
    struct tg_buf text = {0};
    bool ok = true;

    while (ok && next_member(&query, &name, &value))
        ok = api_decode(name, true, &text) && api_decode(value, true, &text);
    tg_buf_fini(&text);
    return ok;
}

bool api_query_get(const struct api_request *req, const char *name, struct tg_buf *out)
{
    struct tg_slice query = req->query, key, value;
    struct tg_buf text = {0};
    bool found = false;

    while (!found && next_member(&query, &key, &value)) {
        text.len = 0;
        found = api_decode(key, true, &text) && tg_slice_eq(tg_buf_slice(&text), tg_slice_str(name));
    }
    tg_buf_fini(&text);
    return found && api_decode(value, true, out);
}

/* ---- pages ---- */

/* A whole number within bounds; *out stays when it is absent. */
static bool read_number(const struct api_request *req, const char *name, uint64_t min, uint64_t max, uint64_t *out,
                        struct api_answer *answer)
{
    struct tg_buf text = {0}, why = {0};
    uint64_t n = 0;
    bool ok = true;

    if (api_query_get(req, name, &text)) {
        ok = text.len > 0 && tg_slice_to_u64(tg_buf_slice(&text), &n) && n >= min && n <= max;
        if (ok) {
            *out = n;
        } else {
            tg_buf_addf(&why, "%s must be a whole number from %llu to %llu", name, (unsigned long long)min,
                        (unsigned long long)max);
            api_fail(answer, req->view, 400, tg_buf_cstr(&why));
        }
    }
    tg_buf_fini(&text);
    tg_buf_fini(&why);
    return ok;
}

bool api_query_page(const struct api_request *req, uint64_t *page, uint64_t *page_size, struct api_answer *out)
{
    *page = 1;
    *page_size = PAGE_SIZE;
    return read_number(req, "page", 1, PAGE_MAX, page, out) &&
           read_number(req, "page_size", 1, PAGE_SIZE_MAX, page_size, out);
}

bool api_query_window(const struct api_request *req, uint64_t *limit, uint64_t *offset, struct api_answer *out)
{
    *limit = 0;
    *offset = 0;
    return read_number(req, "limit", 1, LIST_LIMIT_MAX, limit, out) &&
           read_number(req, "offset", 0, OFFSET_MAX, offset, out);
}

void api_page_write(struct api_answer *out, struct tg_slice items, uint64_t total, uint64_t page, uint64_t page_size)
{
    tg_buf_adds(&out->body, "{\"data\":[");
    tg_buf_add_slice(&out->body, items);
    tg_buf_addf(&out->body, "],\"total\":%llu,\"page\":%llu,\"page_size\":%llu,\"total_pages\":%llu}\n",
                (unsigned long long)total, (unsigned long long)page, (unsigned long long)page_size,
                (unsigned long long)((total + page_size - 1) / page_size));
}

/* ---- times ---- */

void api_add_time_us(struct tg_buf *out, int64_t us)
{
    char text[TG_TIME_TEXT];

    tg_clock_format(us / 1000, text);                    /* "2026-11-21T10:00:00.000Z" */
    tg_buf_addf(out, "\"%.20s%06lldZ\"", text, (long long)(us % 1000000));
}

void api_add_time_s(struct tg_buf *out, int64_t s)
{
    tg_buf_addc(out, '"');
    tg_clock_add_s(out, s);
    tg_buf_addc(out, '"');
}

/* ---- entity-tags (RFC 9110 §8.8.3, §13.1) ---- */

static struct tg_slice without_weak(struct tg_slice etag)
{
    return tg_slice_starts_with(etag, TG_S("W/")) ? tg_slice(etag.ptr + 2, etag.len - 2) : etag;
}

bool api_not_modified(const struct api_request *req, struct tg_slice etag, struct api_answer *out)
{
    struct tg_slice list = req->if_none_match, one;
    bool same = false;

    while (!same && tg_list_next(&list, &one))           /* a tag of ours has no comma in it */
        same = tg_slice_eq(one, TG_S("*")) || tg_slice_eq(without_weak(one), without_weak(etag));
    if (!same)
        return false;
    out->status = 304;
    out->body.len = out->etag.len = 0;
    tg_buf_add_slice(&out->etag, etag);
    return true;
}

/* "v7" of a single document, or "v7-r1763...": the revision says what else is shown with it, which is not changed. */
static bool read_version(struct tg_slice etag, int64_t *version)
{
    struct tg_slice number, revision = {0};
    uint64_t n, r;

    if (etag.len < 4 || etag.ptr[0] != '"' || etag.ptr[1] != 'v' || etag.ptr[etag.len - 1] != '"')
        return false;
    if (tg_slice_cut(tg_slice(etag.ptr + 2, etag.len - 3), '-', &number, &revision) &&
        (revision.len < 2 || revision.ptr[0] != 'r' ||
         !tg_slice_to_u64(tg_slice(revision.ptr + 1, revision.len - 1), &r)))
        return false;
    if (!tg_slice_to_u64(number, &n) || n == 0 || n > INT64_MAX)
        return false;
    *version = (int64_t)n;
    return true;
}

/* A tag that was never ours names no version there is; several are more than a client of ours has to say. */
bool api_if_match(const struct api_request *req, int64_t *version, struct api_answer *out)
{
    struct tg_slice list = req->if_match, one, more;

    *version = 0;
    if (!req->if_match.ptr)
        return true;
    if (!tg_list_next(&list, &one)) {
        api_fail(out, req->view, 400, "If-Match: an entity-tag is needed");
        return false;
    }
    if (tg_list_next(&list, &more)) {
        api_fail(out, req->view, 400, "If-Match: one entity-tag is taken, not several");
        return false;
    }
    if (tg_slice_eq(one, TG_S("*")) || read_version(one, version))
        return true;
    api_fail(out, req->view, 412, "If-Match names another version");
    return false;
}
