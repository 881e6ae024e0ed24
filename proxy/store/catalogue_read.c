/*
 * catalogue_read - documents out of their table.
 */
#include "catalogue_internal.h"
#include <stdio.h>

/* What was taken is read again, however it is written now. */
static const struct tg_json_limits limits = {.bytes = (size_t)16 << 20, .depth = 64, .nodes = 2000000};

void tg_document_fini(struct tg_document *d)
{
    cJSON_Delete(d->doc);
    d->doc = NULL;
}

struct tg_slice catalogue_text(const cJSON *doc, const char *name)
{
    struct tg_slice text = {0};

    tg_json_str(tg_json_get(doc, name), &text);
    return text;
}

/* A row of CATALOGUE_COLUMNS. TG_BAD_INPUT: the document is damaged. */
static enum tg_status read_row(const struct tg_catalogue *c, struct tg_query *q, struct tg_document *out,
                               struct tg_err *err)
{
    struct tg_slice id = tg_query_bytes(q, 0), namespace_id = tg_query_bytes(q, 1);
    struct tg_document d = {.version = tg_query_int(q, 3), .created_us = tg_query_int(q, 4),
                            .updated_us = tg_query_int(q, 5)};
    struct tg_err why;

    snprintf(d.id, sizeof d.id, TG_S_FMT, TG_S_ARG(id));
    if (namespace_id.len == 0)
        namespace_id = tg_slice_str(c->namespaces[0].id);
    snprintf(d.namespace_id, sizeof d.namespace_id, TG_S_FMT, TG_S_ARG(namespace_id));
    if (tg_json_parse(tg_query_bytes(q, 2), &limits, &d.doc, &why) != TG_OK)
        return tg_fail(err, TG_IO, "the document %s in the database is damaged: %s", d.id, why.text);
    *out = d;
    return TG_OK;
}

enum tg_status catalogue_rows(const struct tg_catalogue *c, struct tg_query *q,
                              void (*each)(void *arg, const struct tg_document *d), void *arg, struct tg_err *err)
{
    struct tg_document d;
    enum tg_status st = TG_OK;

    while (st == TG_OK && tg_query_row(q)) {
        st = read_row(c, q, &d, err);
        if (st != TG_OK)
            break;
        each(arg, &d);
        tg_document_fini(&d);
    }
    if (st == TG_OK)
        return tg_query_end(q, err);
    tg_query_end(q, NULL);
    return st;
}

enum tg_status tg_catalogue_get(struct tg_catalogue *c, enum tg_kind kind, struct tg_slice id, struct tg_document *out,
                                struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT " CATALOGUE_COLUMNS " FROM documents WHERE id = ?1 AND kind = ?2");
    struct tg_document d;
    enum tg_status st = TG_NOT_FOUND, end;

    tg_query_bind_text(q, 1, id);
    tg_query_bind_int(q, 2, kind);
    if (tg_query_row(q))
        st = read_row(c, q, &d, err);
    end = tg_query_end(q, st == TG_NOT_FOUND || st == TG_OK ? err : NULL);
    if (end != TG_OK && st == TG_OK)
        tg_document_fini(&d);
    if (end != TG_OK && (st == TG_OK || st == TG_NOT_FOUND))
        return end;
    if (st == TG_NOT_FOUND)
        return tg_fail(err, st, "there is no such %s", kind == TG_KIND_POLICY ? "policy" : "route");
    if (st == TG_OK)
        *out = d;
    return st;
}

/* ---- lists ---- */

#define OF_QUERY " WHERE kind = ?1 AND (?2 OR namespace_id = ?3) AND (NOT ?4 OR active = 1)"

static void bind_query(const struct tg_catalogue *c, struct tg_query *q, enum tg_kind kind,
                 const struct tg_catalogue_query *query)
{
    struct tg_slice namespace_id = catalogue_kept_namespace(c, query->namespace_id);

    tg_query_bind_int(q, 1, kind);
    tg_query_bind_int(q, 2, query->namespace_id.len == 0 || (query->descendants && namespace_id.len == 0));
    tg_query_bind_text(q, 3, namespace_id);
    tg_query_bind_int(q, 4, query->active_only);
}

static enum tg_status count_all(struct tg_catalogue *c, enum tg_kind kind, const struct tg_catalogue_query *query,
                                uint64_t *total, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT count(*) FROM documents" OF_QUERY);
    uint64_t n = 0;
    enum tg_status st;

    bind_query(c, q, kind, query);
    if (tg_query_row(q))
        n = (uint64_t)tg_query_int(q, 0);
    st = tg_query_end(q, err);
    if (st == TG_OK)
        *total = n;
    return st;
}

static int64_t clamp(uint64_t n) { return n > INT64_MAX ? INT64_MAX : (int64_t)n; }

enum tg_status tg_catalogue_list(struct tg_catalogue *c, enum tg_kind kind, const struct tg_catalogue_query *query,
                                 void (*each)(void *arg, const struct tg_document *d), void *arg, uint64_t *total,
                                 struct tg_err *err)
{
    static const char *const columns[] = {
        [TG_BY_MAKING] = "n", [TG_BY_ID] = "id", [TG_BY_NAME] = "name", [TG_BY_UPDATED] = "updated_us",
    };
    struct tg_buf sql = {0};
    struct tg_query *q;

    if (total) {
        enum tg_status st = count_all(c, kind, query, total, err);

        if (st != TG_OK)
            return st;
    }
    tg_buf_adds(&sql, "SELECT " CATALOGUE_COLUMNS " FROM documents" OF_QUERY " ORDER BY ");
    for (size_t i = 0; i < query->order_count; i++)
        tg_buf_addf(&sql, "%s%s, ", columns[query->order[i].by], query->order[i].descending ? " DESC" : "");
    tg_buf_adds(&sql, "n LIMIT ?5 OFFSET ?6");
    q = tg_db_query(c->db, tg_buf_cstr(&sql));
    tg_buf_fini(&sql);
    bind_query(c, q, kind, query);
    tg_query_bind_int(q, 5, query->limit == 0 ? -1 : clamp(query->limit));
    tg_query_bind_int(q, 6, clamp(query->offset));
    return catalogue_rows(c, q, each, arg, err);
}
