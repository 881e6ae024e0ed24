/*
 * v1_audit - the audit log, a page at a time or as JSON lines.
 */
#include "api.h"
#include "base/clock.h"

#define LINES_MAX 10000
#define LINES_BYTES ((size_t)8 << 20)

struct asked {                                           /* of the query, decoded */
    struct tg_buf from, to, action, actor, resource, result;
    struct tg_audit_query query;
};

static void asked_fini(struct asked *a)
{
    struct tg_buf *all[] = {&a->from, &a->to, &a->action, &a->actor, &a->resource, &a->result};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        tg_buf_fini(all[i]);
}

/* RFC 3339; in a query a "+" of the offset stands for a blank when nobody has escaped it. */
static bool read_time(const struct api_request *req, const char *name, struct tg_buf *text, int64_t *out_us,
                      struct api_answer *out)
{
    struct tg_buf why = {0};
    int64_t ms;

    if (!api_query_get(req, name, text) || text->len == 0)
        return true;
    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] == ' ' && i > 10)
            text->data[i] = '+';
    if (tg_clock_parse(tg_buf_slice(text), &ms) && ms > 0) {
        *out_us = ms * 1000;
        return true;
    }
    tg_buf_addf(&why, "%s must be a time as in 2026-02-12T10:30:00Z", name);
    api_fail(out, req->view, 400, tg_buf_cstr(&why));
    tg_buf_fini(&why);
    return false;
}

static struct tg_slice read_text(const struct api_request *req, const char *name, struct tg_buf *text)
{
    return api_query_get(req, name, text) ? tg_buf_slice(text) : (struct tg_slice){0};
}

static bool read_filters(const struct api_request *req, struct asked *a, struct api_answer *out)
{
    struct tg_audit_query *q = &a->query;

    q->action = read_text(req, "action", &a->action);
    q->actor = read_text(req, "actor", &a->actor);
    q->resource = read_text(req, "resource", &a->resource);
    q->result = read_text(req, "result", &a->result);
    if (q->result.len && !tg_slice_eq(q->result, TG_S("success")) && !tg_slice_eq(q->result, TG_S("denied")) &&
        !tg_slice_eq(q->result, TG_S("failure"))) {
        api_fail(out, req->view, 400, "result must be success, denied or failure");
        return false;
    }
    if (!read_time(req, "from", &a->from, &q->from_us, out) || !read_time(req, "to", &a->to, &q->to_us, out))
        return false;
    if (q->from_us && q->to_us && q->from_us > q->to_us) {
        api_fail(out, req->view, 400, "from is after to");
        return false;
    }
    return true;
}

static void add_item(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    struct tg_buf *items = arg;

    if (items->len)
        tg_buf_addc(items, ',');
    tg_audit_json(e, n, items);
}

static void add_line(void *arg, const struct tg_audit_entry *e, int64_t n)
{
    struct tg_buf *lines = arg;

    if (lines->len > LINES_BYTES)
        return;
    tg_audit_json(e, n, lines);
    tg_buf_addc(lines, '\n');
}

static void answer_lines(struct api *api, const struct api_request *req, struct asked *a, struct api_answer *out)
{
    struct tg_err err = {0};
    enum tg_status st;

    a->query.limit = LINES_MAX;
    st = tg_audit_list(api->db, &a->query, add_line, &out->body, NULL, &err);
    if (st != TG_OK)
        api_fail_of(out, req->view, TG_UNAVAILABLE, &err);
    else
        out->content_type = "application/jsonl";
}

static void answer_page(struct api *api, const struct api_request *req, struct asked *a, struct api_answer *out)
{
    uint64_t page, size, total = 0;
    struct tg_buf items = {0};
    struct tg_err err = {0};
    enum tg_status st;

    if (!api_query_page(req, &page, &size, out))
        return;
    a->query.limit = size;
    a->query.offset = (page - 1) * size;
    st = tg_audit_list(api->db, &a->query, add_item, &items, &total, &err);
    if (st != TG_OK)
        api_fail_of(out, req->view, TG_UNAVAILABLE, &err);
    else
        api_page_write(out, tg_buf_slice(&items), total, page, size);
    tg_buf_fini(&items);
}

static void list(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct asked a = {0};

    if (read_filters(req, &a, out)) {
        if (tg_slice_contains(req->accept, TG_S("application/jsonl")))
            answer_lines(api, req, &a, out);
        else
            answer_page(api, req, &a, out);
    }
    asked_fini(&a);
}

static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, "/api/v1/audit-logs", API_AUDIT, API_NO_BODY, list},
};
const struct api_group api_v1_audit = {endpoints, ARRAY_LEN(endpoints)};
