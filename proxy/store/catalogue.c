/*
 * catalogue - the tables, the organisation and its namespaces.
 *
 * The namespace of a document is kept as a cluster's id, or empty for the root, so that an organisation that is given
 * another id in the file keeps its policies and routes.
 */
#include "base/digest.h"
#include "base/map.h"
#include "catalogue_internal.h"
#include <stdio.h>

static const char *const steps[] = {
    "CREATE TABLE catalogue ("                           /* one row */
    "  one INTEGER PRIMARY KEY CHECK (one = 1),"
    "  organization_id TEXT NOT NULL,"
    "  organization_name TEXT NOT NULL,"
    "  created_us INTEGER NOT NULL,"
    "  updated_us INTEGER NOT NULL,"
    "  revision INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE namespaces ("                          /* of clusters; once there, an id stays the name's */
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  id TEXT NOT NULL UNIQUE,"
    "  name TEXT NOT NULL UNIQUE,"
    "  created_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE documents ("
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  kind INTEGER NOT NULL,"                           /* enum tg_kind */
    "  id TEXT NOT NULL UNIQUE,"
    "  namespace_id TEXT NOT NULL,"                      /* empty: the root */
    "  name TEXT NOT NULL,"
    "  doc TEXT NOT NULL,"
    "  size INTEGER NOT NULL,"                           /* of doc, in bytes and in values */
    "  nodes INTEGER NOT NULL,"
    "  version INTEGER NOT NULL,"
    "  created_us INTEGER NOT NULL,"
    "  updated_us INTEGER NOT NULL,"
    "  active INTEGER NOT NULL,"
    "  enforced INTEGER NOT NULL,"
    "  matches TEXT UNIQUE"                              /* of a route: from, path, prefix, regex; else NULL */
    ") STRICT;"
    "CREATE INDEX documents_kind ON documents (kind, n);"
    "CREATE INDEX documents_enforced ON documents (n) WHERE enforced = 1;"
    "CREATE TABLE uses ("                                /* which policies a route names, in its order */
    "  route INTEGER NOT NULL REFERENCES documents (n),"
    "  place INTEGER NOT NULL,"
    "  policy INTEGER NOT NULL REFERENCES documents (n),"
    "  PRIMARY KEY (route, place)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX uses_policy ON uses (policy);",
};
static const struct tg_db_part part = {"catalogue", steps, ARRAY_LEN(steps)};

/* ---- the organisation ---- */

static enum tg_status insert_organization(struct tg_db *db, const struct tg_catalogue_settings *s, int64_t now_us,
                                          struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT INTO catalogue VALUES (1, ?1, ?2, ?3, ?3, 1)"
                                         " ON CONFLICT (one) DO NOTHING");
    char id[37];

    tg_uuid(id);
    tg_query_bind_text(q, 1, s->organization_id.len > 0 ? s->organization_id : tg_slice_str(id));
    tg_query_bind_text(q, 2, s->organization_name.len > 0 ? s->organization_name : TG_S("tollgate"));
    tg_query_bind_int(q, 3, now_us);
    tg_query_row(q);
    return tg_query_end(q, err);
}

/* What the file says now; what it leaves out stays. */
static enum tg_status update_organization(struct tg_db *db, const struct tg_catalogue_settings *s, int64_t now_us,
                                          struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db,
        "UPDATE catalogue SET organization_id = ifnull(?1, organization_id),"
        " organization_name = ifnull(?2, organization_name), updated_us = ?3"
        " WHERE organization_id <> ifnull(?1, organization_id) OR organization_name <> ifnull(?2, organization_name)");

    if (s->organization_id.len > 0)
        tg_query_bind_text(q, 1, s->organization_id);
    if (s->organization_name.len > 0)
        tg_query_bind_text(q, 2, s->organization_name);
    tg_query_bind_int(q, 3, now_us);
    tg_query_row(q);
    return tg_query_end(q, err);
}

/* ---- namespaces ---- */

static enum tg_status insert_namespace(struct tg_db *db, struct tg_slice name, int64_t now_us, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT INTO namespaces (id, name, created_us) VALUES (?1, ?2, ?3)"
                                         " ON CONFLICT (name) DO NOTHING");
    char id[37];

    tg_uuid(id);
    tg_query_bind_text(q, 1, tg_slice_str(id));
    tg_query_bind_text(q, 2, name);
    tg_query_bind_int(q, 3, now_us);
    tg_query_row(q);
    return tg_query_end(q, err);
}

static enum tg_status make_missing(struct tg_db *db, const struct tg_catalogue_settings *s, int64_t now_us,
                                   struct tg_err *err)
{
    enum tg_status st = insert_organization(db, s, now_us, err);

    if (st == TG_OK)
        st = update_organization(db, s, now_us, err);
    for (size_t i = 0; i < s->clusters.count && st == TG_OK; i++)
        st = insert_namespace(db, s->clusters.items[i], now_us, err);
    if (st == TG_OK && s->clusters.count == 0)
        st = insert_namespace(db, TG_S("default"), now_us, err);
    return st;
}

static void add_namespace(struct tg_catalogue *c, struct tg_query *q, bool root)
{
    struct tg_slice id = tg_query_bytes(q, 0);
    struct tg_namespace *ns;

    c->namespaces = tg_realloc(c->namespaces, (c->namespace_count + 1) * sizeof(*c->namespaces));
    ns = &c->namespaces[c->namespace_count++];
    *ns = (struct tg_namespace){.root = root, .created_us = tg_query_int(q, 2), .updated_us = tg_query_int(q, 3)};
    snprintf(ns->id, sizeof ns->id, TG_S_FMT, TG_S_ARG(id));
    ns->name.ptr = tg_slice_dup(tg_query_bytes(q, 1));
    ns->name.len = tg_query_bytes(q, 1).len;
}

static bool is_configured(const struct tg_catalogue_settings *s, struct tg_slice name)
{
    for (size_t i = 0; i < s->clusters.count; i++)
        if (tg_slice_eq(s->clusters.items[i], name))
            return true;
    return s->clusters.count == 0 && tg_slice_eq(name, TG_S("default"));
}

/* One that the file has no more is shown while there is something in it. */
static enum tg_status read_namespaces(struct tg_catalogue *c, const struct tg_catalogue_settings *s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT organization_id, organization_name, created_us, updated_us"
                                            " FROM catalogue");
    enum tg_status st;

    while (tg_query_row(q))
        add_namespace(c, q, true);
    st = tg_query_end(q, err);
    if (st != TG_OK)
        return st;
    q = tg_db_query(c->db, "SELECT id, name, created_us, created_us,"
                           " EXISTS (SELECT 1 FROM documents WHERE namespace_id = namespaces.id)"
                           " FROM namespaces ORDER BY n");
    while (tg_query_row(q))
        if (tg_query_int(q, 4) || is_configured(s, tg_query_bytes(q, 1)))
            add_namespace(c, q, false);
    return tg_query_end(q, err);
}

const struct tg_namespace *tg_catalogue_namespaces(const struct tg_catalogue *c, size_t *count)
{
    *count = c->namespace_count;
    return c->namespaces;
}

struct tg_slice tg_catalogue_organization_name(const struct tg_catalogue *c)
{
    return c->namespaces[0].name;
}

const struct tg_namespace *catalogue_namespace(const struct tg_catalogue *c, struct tg_slice id)
{
    for (size_t i = 0; i < c->namespace_count; i++)
        if (tg_slice_eq(id, tg_slice_str(c->namespaces[i].id)))
            return &c->namespaces[i];
    return NULL;
}

struct tg_slice catalogue_kept_namespace(const struct tg_catalogue *c, struct tg_slice id)
{
    return tg_slice_eq(id, tg_slice_str(c->namespaces[0].id)) ? TG_S("") : id;
}

/* ---- opening ---- */

static enum tg_status check_settings(const struct tg_catalogue_settings *s, struct tg_err *err)
{
    struct tg_namespace *ns;

    if (s->organization_id.len >= sizeof ns->id)
        return tg_fail(err, TG_BAD_INPUT, "management.organization.id: at most %zu bytes", sizeof ns->id - 1);
    for (size_t i = 0; i < s->clusters.count; i++)
        if (s->clusters.items[i].len == 0)
            return tg_fail(err, TG_BAD_INPUT, "management.clusters[%zu]: a name cannot be empty", i);
    return TG_OK;
}

static enum tg_status fill(struct tg_catalogue *c, const struct tg_catalogue_settings *s, int64_t now_us,
                           struct tg_err *err)
{
    enum tg_status st = check_settings(s, err);

    if (st == TG_OK)
        st = tg_db_upgrade(c->db, &part, err);
    if (st == TG_OK)
        st = tg_db_begin(c->db, err);
    if (st != TG_OK)
        return st;
    st = make_missing(c->db, s, now_us, err);
    if (st == TG_OK)
        st = tg_db_commit(c->db, err);
    else
        tg_db_rollback(c->db);
    return st == TG_OK ? read_namespaces(c, s, err) : st;
}

enum tg_status tg_catalogue_open(struct tg_db *db, const struct tg_catalogue_settings *settings, int64_t now_us,
                                 struct tg_catalogue **out, struct tg_err *err)
{
    struct tg_catalogue *c = TG_NEW(struct tg_catalogue);
    enum tg_status st;

    c->db = db;
    c->rules = settings->rules;
    c->providers = settings->providers;
    c->opaque_providers = settings->opaque_providers;
    st = fill(c, settings, now_us, err);
    if (st == TG_OK && c->namespace_count == 0)
        st = tg_fail(err, TG_BAD_INPUT, "the organisation of the management API is gone from its table");
    if (st != TG_OK) {
        tg_catalogue_free(c);
        return st;
    }
    *out = c;
    return TG_OK;
}

void tg_catalogue_free(struct tg_catalogue *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->namespace_count; i++)
        free((char *)(uintptr_t)c->namespaces[i].name.ptr);
    free(c->namespaces);
    tg_map_free(c->elements);
    free(c);
}

enum tg_status tg_catalogue_revision(struct tg_catalogue *c, int64_t *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT revision FROM catalogue");
    int64_t revision = tg_query_row(q) ? tg_query_int(q, 0) : 0;
    enum tg_status st = tg_query_end(q, err);

    if (st == TG_OK)
        *out = revision;
    return st;
}
