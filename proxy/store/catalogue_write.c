/*
 * catalogue_write - documents made, replaced and deleted.
 *
 * The caller has opened the transaction. What fails has changed nothing that counts: the caller rolls back.
 */
#include "base/digest.h"
#include "catalogue_internal.h"
#include <stdio.h>

/* Of all documents, so that a set of them stays within its own bounds (TG_SET_BYTES, two million values). */
#define BYTES_MAX (INT64_C(48) << 20)
#define NODES_MAX INT64_C(1800000)
#define BYTES_OF_REFERENCE 40                            /* of an enforced policy, in each route of a set */

static const char *word(enum tg_kind kind) { return kind == TG_KIND_POLICY ? "policy" : "route"; }

/* ---- rows ---- */

/* What a route matches, as one text; the host in lower case. */
static void add_matches(const cJSON *doc, struct tg_buf *out)
{
    static const char *const names[] = {"from", "path", "prefix", "regex"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct tg_slice text = catalogue_text(doc, names[i]);

        tg_buf_addc(out, i == 0 ? '[' : ',');
        if (i == 0) {
            char *lower = tg_slice_dup(text);

            for (char *p = lower; *p; p++)
                *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
            tg_json_add_string(out, tg_slice_str(lower));
            free(lower);
        } else {
            tg_json_add_string(out, text);
        }
    }
    tg_buf_addc(out, ']');
}

static enum tg_status check_unique(struct tg_catalogue *c, const struct tg_document *d, struct tg_slice matches,
                                   struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT name, id FROM documents WHERE matches = ?1 AND id <> ?2");
    enum tg_status st = TG_OK, end;

    tg_query_bind_text(q, 1, matches);
    tg_query_bind_text(q, 2, tg_slice_str(d->id));
    if (tg_query_row(q)) {
        struct tg_slice name = tg_query_bytes(q, 0);

        st = tg_fail(err, TG_LIMIT, "from: the route %.128s has the same from, path and prefix",
                     name.ptr ? name.ptr : "");
    }
    end = tg_query_end(q, st == TG_OK ? err : NULL);
    return st != TG_OK ? st : end;
}

static int64_t count_nodes(const cJSON *node)
{
    const cJSON *child;
    int64_t n = 1;

    cJSON_ArrayForEach(child, node)
        n += count_nodes(child);
    return n;
}

/* One statement for both: a new row, or all of an old one but its number and when it was made. */
static enum tg_status put_row(struct tg_catalogue *c, enum tg_kind kind, const struct tg_document *d,
                              struct tg_slice matches, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db,
        "INSERT INTO documents (kind, id, namespace_id, name, doc, size, version, created_us, updated_us, active,"
        " enforced, matches, nodes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        " ON CONFLICT (id) DO UPDATE SET namespace_id = ?3, name = ?4, doc = ?5, size = ?6, version = ?7,"
        " updated_us = ?9, active = ?10, enforced = ?11, matches = ?12, nodes = ?13");
    struct tg_buf text = {0};
    enum tg_status st;

    tg_json_print(&text, d->doc);
    tg_query_bind_int(q, 1, kind);
    tg_query_bind_text(q, 2, tg_slice_str(d->id));
    tg_query_bind_text(q, 3, catalogue_kept_namespace(c, tg_slice_str(d->namespace_id)));
    tg_query_bind_text(q, 4, catalogue_text(d->doc, "name"));
    tg_query_bind_text(q, 5, tg_buf_slice(&text));
    tg_query_bind_int(q, 6, (int64_t)text.len);
    tg_query_bind_int(q, 7, d->version);
    tg_query_bind_int(q, 8, d->created_us);
    tg_query_bind_int(q, 9, d->updated_us);
    tg_query_bind_int(q, 10, kind == TG_KIND_ROUTE || cJSON_IsTrue(tg_json_get(d->doc, "active")));
    tg_query_bind_int(q, 11, kind == TG_KIND_POLICY && cJSON_IsTrue(tg_json_get(d->doc, "enforced")));
    if (kind == TG_KIND_ROUTE)
        tg_query_bind_text(q, 12, matches);
    tg_query_bind_int(q, 13, count_nodes(d->doc));
    tg_query_row(q);
    st = tg_query_end(q, err);
    tg_buf_fini(&text);
    return st;
}

static enum tg_status run_with_id(struct tg_catalogue *c, const char *sql, struct tg_slice id, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, sql);

    tg_query_bind_text(q, 1, id);
    tg_query_row(q);
    return tg_query_end(q, err);
}

static enum tg_status put_uses(struct tg_catalogue *c, const struct tg_document *route, struct tg_err *err)
{
    enum tg_status st = run_with_id(c, "DELETE FROM uses WHERE route = (SELECT n FROM documents WHERE id = ?1)",
                                    tg_slice_str(route->id), err);
    const cJSON *node;
    int64_t place = 0;

    cJSON_ArrayForEach(node, tg_json_get(route->doc, "policyIds")) {
        struct tg_query *q;

        if (st != TG_OK)
            break;
        q = tg_db_query(c->db, "INSERT INTO uses (route, place, policy) SELECT r.n, ?2, p.n"
                               " FROM documents r, documents p WHERE r.id = ?1 AND p.id = ?3");
        tg_query_bind_text(q, 1, tg_slice_str(route->id));
        tg_query_bind_int(q, 2, place++);
        tg_query_bind_text(q, 3, tg_slice_str(node->valuestring));
        tg_query_row(q);
        st = tg_query_end(q, err);
    }
    return st;
}

static enum tg_status check_room(struct tg_catalogue *c, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT sum(size), sum(nodes), total(kind = 1) * total(enforced = 1)"
                                            " FROM documents");
    int64_t bytes = 0, nodes = 0, references = 0;
    enum tg_status st;

    if (tg_query_row(q)) {
        references = tg_query_int(q, 2);
        bytes = tg_query_int(q, 0) + references * BYTES_OF_REFERENCE;
        nodes = tg_query_int(q, 1) + references;
    }
    st = tg_query_end(q, err);
    if (st == TG_OK && (bytes > BYTES_MAX || nodes > NODES_MAX))
        return tg_fail(err, TG_LIMIT, "there is no more room: policies and routes are %d MiB and %d values together "
                       "at most", (int)(BYTES_MAX >> 20), (int)NODES_MAX);
    return st;
}

/* Ahead of the clock, so that a database that was put back does not give a number out again. */
static enum tg_status bump(struct tg_catalogue *c, struct tg_err *err)
{
    return tg_db_run(c->db, "UPDATE catalogue SET revision ="
                     " max(revision + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))", err);
}

static enum tg_status put(struct tg_catalogue *c, enum tg_kind kind, const struct tg_document *d, struct tg_err *err)
{
    struct tg_buf matches = {0};
    enum tg_status st = TG_OK;

    if (kind == TG_KIND_ROUTE) {
        add_matches(d->doc, &matches);
        st = check_unique(c, d, tg_buf_slice(&matches), err);
    }
    if (st == TG_OK)
        st = put_row(c, kind, d, tg_buf_slice(&matches), err);
    if (st == TG_OK && kind == TG_KIND_ROUTE)
        st = put_uses(c, d, err);
    if (st == TG_OK)
        st = check_room(c, err);
    if (st == TG_OK)
        st = bump(c, err);
    tg_buf_fini(&matches);
    return st;
}

/* ---- what clients ask for ---- */

enum tg_status tg_catalogue_create(struct tg_catalogue *c, enum tg_kind kind, const cJSON *doc, int64_t now_us,
                                   struct tg_document *out, struct tg_err *err)
{
    struct tg_document d = {.version = 1, .created_us = now_us, .updated_us = now_us};
    struct catalogue_form form;
    enum tg_status st = catalogue_form(c, kind, doc, NULL, &form, err);

    if (st != TG_OK)
        return st;
    tg_uuid(d.id);
    memcpy(d.namespace_id, form.namespace_id, sizeof d.namespace_id);
    d.doc = form.doc;
    st = catalogue_check(c, kind, &d, err);
    if (st == TG_OK)
        st = put(c, kind, &d, err);
    if (st == TG_OK)
        *out = d;
    else
        tg_document_fini(&d);
    return st;
}

static enum tg_status check_version(enum tg_kind kind, const struct tg_document *d, int64_t if_version,
                                    struct tg_err *err)
{
    if (if_version == 0 || if_version == d->version)
        return TG_OK;
    return tg_fail(err, TG_EXPIRED, "the %s is at version %lld", word(kind), (long long)d->version);
}

/* A policy that moves must stay in reach of the routes that name it. */
static enum tg_status check_reach(struct tg_catalogue *c, const struct tg_document *d, struct tg_err *err)
{
    struct tg_query *q;
    enum tg_status st = TG_OK, end;

    if (strcmp(d->namespace_id, c->namespaces[0].id) == 0)
        return TG_OK;
    q = tg_db_query(c->db, "SELECT r.name FROM documents p JOIN uses u ON u.policy = p.n JOIN documents r"
                           " ON r.n = u.route WHERE p.id = ?1 AND r.namespace_id <> ?2");
    tg_query_bind_text(q, 1, tg_slice_str(d->id));
    tg_query_bind_text(q, 2, tg_slice_str(d->namespace_id));
    if (tg_query_row(q))
        st = tg_fail(err, TG_LIMIT, "namespaceId: the route %.128s of another namespace names this policy",
                     tg_query_bytes(q, 0).ptr);
    end = tg_query_end(q, st == TG_OK ? err : NULL);
    return st != TG_OK ? st : end;
}

static enum tg_status replace(struct tg_catalogue *c, enum tg_kind kind, const cJSON *doc,
                              const struct tg_document *before, struct tg_document *after, struct tg_err *err)
{
    struct catalogue_form form;
    enum tg_status st = catalogue_form(c, kind, doc, before, &form, err);

    if (st != TG_OK)
        return st;
    memcpy(after->id, before->id, sizeof after->id);
    memcpy(after->namespace_id, form.namespace_id, sizeof after->namespace_id);
    after->doc = form.doc;
    st = catalogue_check(c, kind, after, err);
    if (st == TG_OK && kind == TG_KIND_POLICY)
        st = check_reach(c, after, err);
    return st == TG_OK ? put(c, kind, after, err) : st;
}

enum tg_status tg_catalogue_replace(struct tg_catalogue *c, enum tg_kind kind, struct tg_slice id, const cJSON *doc,
                                    int64_t if_version, int64_t now_us, struct tg_document *out, struct tg_err *err)
{
    struct tg_document before, after = {0};
    enum tg_status st = tg_catalogue_get(c, kind, id, &before, err);

    if (st != TG_OK)
        return st;
    st = check_version(kind, &before, if_version, err);
    after.version = before.version + 1;
    after.created_us = before.created_us;                /* clients see changes by updatedAt: it always moves */
    after.updated_us = now_us > before.updated_us ? now_us : before.updated_us + 1;
    if (st == TG_OK)
        st = replace(c, kind, doc, &before, &after, err);
    tg_document_fini(&before);
    if (st == TG_OK)
        *out = after;
    else
        tg_document_fini(&after);
    return st;
}

/* ---- deleting ---- */

static enum tg_status check_unused(struct tg_catalogue *c, const struct tg_document *d, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT r.name, count(*) FROM documents p JOIN uses u ON u.policy = p.n"
                                            " JOIN documents r ON r.n = u.route WHERE p.id = ?1");
    enum tg_status st = TG_OK, end;

    tg_query_bind_text(q, 1, tg_slice_str(d->id));
    if (tg_query_row(q) && tg_query_int(q, 1) > 0)
        st = tg_fail(err, TG_LIMIT, "the policy is in use: %lld %s it, among them %.128s",
                     (long long)tg_query_int(q, 1), tg_query_int(q, 1) == 1 ? "route names" : "routes name",
                     tg_query_bytes(q, 0).ptr);
    end = tg_query_end(q, st == TG_OK ? err : NULL);
    return st != TG_OK ? st : end;
}

static enum tg_status drop(struct tg_catalogue *c, const struct tg_document *d, struct tg_err *err)
{
    struct tg_slice id = tg_slice_str(d->id);
    enum tg_status st = run_with_id(c, "DELETE FROM uses WHERE route = (SELECT n FROM documents WHERE id = ?1)", id,
                                    err);

    if (st == TG_OK)
        st = run_with_id(c, "DELETE FROM documents WHERE id = ?1", id, err);
    return st == TG_OK ? bump(c, err) : st;
}

enum tg_status tg_catalogue_delete(struct tg_catalogue *c, enum tg_kind kind, struct tg_slice id, int64_t if_version,
                                   struct tg_document *was, struct tg_err *err)
{
    struct tg_document d;
    enum tg_status st = tg_catalogue_get(c, kind, id, &d, err);

    if (st != TG_OK)
        return st;
    st = check_version(kind, &d, if_version, err);
    if (st == TG_OK && kind == TG_KIND_POLICY)
        st = check_unused(c, &d, err);
    if (st == TG_OK)
        st = drop(c, &d, err);
    if (st == TG_OK)
        *was = d;
    else
        tg_document_fini(&d);
    return st;
}
