/*
 * documents_list - many policies or routes: what a query asks for, and the list.
 */
#include "documents.h"

/* ---- asking ---- */

bool documents_of_organization(struct api *api, const struct api_request *req, struct tg_slice organization,
                               struct api_answer *out)
{
    size_t count;
    const struct tg_namespace *root = tg_catalogue_namespaces(api->catalogue, &count);

    if (tg_slice_eq(organization, tg_slice_str(root->id)))
        return true;
    api_fail(out, req->view, 404, "there is no such organization");
    return false;
}

static bool read_namespace(struct api *api, const struct api_request *req, struct tg_buf *id,
                           struct tg_catalogue_query *query, struct api_answer *out)
{
    struct tg_buf flag = {0};
    bool ok = true, known = false;
    size_t count;
    const struct tg_namespace *ns = tg_catalogue_namespaces(api->catalogue, &count);

    if (api_query_get(req, "namespaceId", id) && id->len > 0) {
        for (size_t i = 0; i < count; i++)
            known = known || tg_slice_eq(tg_buf_slice(id), tg_slice_str(ns[i].id));
        if (!known)
            api_fail(out, req->view, 400, "namespaceId: there is no such namespace");
        query->namespace_id = tg_buf_slice(id);
        ok = known;
    }
    if (ok && api_query_get(req, "includeDescendants", &flag)) {
        query->descendants = tg_slice_eq(tg_buf_slice(&flag), TG_S("true"));
        ok = query->descendants || tg_slice_eq(tg_buf_slice(&flag), TG_S("false"));
        if (!ok)
            api_fail(out, req->view, 400, "includeDescendants: must be true or false");
    }
    tg_buf_fini(&flag);
    return ok;
}

static bool read_order_item(struct tg_slice name, struct tg_catalogue_query *query)
{
    static const struct {
        struct tg_slice name;
        int by;
    } known[] = {{TG_S_INIT("id"), TG_BY_ID}, {TG_S_INIT("name"), TG_BY_NAME}, {TG_S_INIT("updatedAt"), TG_BY_UPDATED}};
    bool descending = tg_slice_starts_with(name, TG_S("-"));

    if (descending)
        name = tg_slice(name.ptr + 1, name.len - 1);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (tg_slice_eq(name, known[i].name) && query->order_count < TG_CATALOGUE_ORDERS) {
            query->order[query->order_count].descending = descending;
            query->order[query->order_count++].by = known[i].by;
            return true;
        }
    return false;
}

static bool read_order(const struct api_request *req, struct tg_catalogue_query *query, struct api_answer *out)
{
    struct tg_buf text = {0}, filter = {0};
    bool ok = true, more;
    struct tg_slice rest, name;

    if (api_query_get(req, "orderBy", &text) && text.len > 0) {
        rest = tg_buf_slice(&text);
        do {
            more = tg_slice_cut(rest, ',', &name, &rest);
            ok = read_order_item(tg_slice_trim(name), query);
        } while (more && ok);
        if (!ok)
            api_fail(out, req->view, 400, "orderBy: at most three of id, name and updatedAt, with - in front for "
                     "descending, separated by commas");
    }
    if (ok && api_query_get(req, "filter", &filter) && filter.len > 0) {
        api_fail(out, req->view, 400, "filter: is not supported");
        ok = false;
    }
    tg_buf_fini(&text);
    tg_buf_fini(&filter);
    return ok;
}

/* ---- lists ---- */

struct listing {                                         /* rows first: their relations are other statements */
    struct tg_document *items;
    size_t count, cap;
};

static void keep(void *arg, const struct tg_document *d)
{
    struct listing *l = arg;

    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->items = tg_realloc(l->items, l->cap * sizeof(*l->items));
    }
    l->items[l->count] = *d;
    l->items[l->count++].doc = cJSON_Duplicate(d->doc, true);
}

static void listing_fini(struct listing *l)
{
    for (size_t i = 0; i < l->count; i++)
        tg_document_fini(&l->items[i]);
    free(l->items);
}

enum tg_status documents_items(struct api *api, const struct documents *kind, const struct tg_catalogue_query *query,
                               uint64_t *total, struct tg_buf *out, struct tg_err *err)
{
    struct listing l = {0};
    enum tg_status st = tg_catalogue_list(api->catalogue, kind->kind, query, keep, &l, total, err);

    for (size_t i = 0; i < l.count && st == TG_OK; i++) {
        if (i > 0)
            tg_buf_addc(out, ',');
        st = kind->show(api, &l.items[i], out, err);
    }
    listing_fini(&l);
    return st;
}

void documents_list_v0(struct api *api, const struct api_request *req, const struct documents *kind,
                       struct api_answer *out)
{
    struct tg_catalogue_query query = {0};
    struct tg_buf id = {0};
    struct tg_err err;
    int64_t revision = 0;
    enum tg_status st;

    if (!documents_of_organization(api, req, req->params[0], out) || !read_namespace(api, req, &id, &query, out) ||
        !read_order(req, &query, out) || !api_query_window(req, &query.limit, &query.offset, out)) {
        tg_buf_fini(&id);
        return;
    }
    st = tg_catalogue_revision(api->catalogue, &revision, &err);
    tg_buf_addf(&out->etag, "\"r%lld\"", (long long)revision);
    if (st == TG_OK && api_not_modified(req, tg_buf_slice(&out->etag), out)) {
        tg_buf_fini(&id);
        return;
    }
    tg_buf_addc(&out->body, '[');
    if (st == TG_OK)
        st = documents_items(api, kind, &query, NULL, &out->body, &err);
    tg_buf_adds(&out->body, "]\n");
    if (st != TG_OK)
        api_fail_of(out, req->view, st, &err);
    tg_buf_fini(&id);
}
