/*
 * audit_store - the table of the audit log: written, listed, kept within its bounds.
 */
#include "audit_internal.h"
#include "base/json.h"

#define ENTRY_OVERHEAD 200                               /* of a row and its places in the indices, about */
#define TRIM_ROWS 500                                    /* in one transaction */
#define TRIM_STEPS 200                                   /* in one call */

/* What strangers can cause, as often as they like, and what only those can who may change something. */
enum kind { KIND_CHANGE, KIND_DENIAL };

static const char *const steps[] = {
    "CREATE TABLE audit ("
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  time_us INTEGER NOT NULL,"
    "  kind INTEGER NOT NULL,"                           /* 0: a change; 1: what strangers can cause */
    "  actor TEXT NOT NULL,"
    "  action TEXT NOT NULL,"
    "  resource TEXT NOT NULL,"
    "  result TEXT NOT NULL,"
    "  source_ip TEXT NOT NULL,"
    "  request_id TEXT NOT NULL,"
    "  details TEXT NOT NULL,"                           /* a JSON object */
    "  bytes INTEGER NOT NULL"                           /* how much room it takes, about */
    ") STRICT;"
    "CREATE INDEX audit_time ON audit (time_us);"
    "CREATE INDEX audit_kind ON audit (kind);"
    "CREATE INDEX audit_action ON audit (action, time_us);"
    "CREATE INDEX audit_actor ON audit (actor, time_us);"
    "CREATE INDEX audit_resource ON audit (resource, time_us);"
    "CREATE TABLE audit_total (kind INTEGER PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;"
    "INSERT INTO audit_total VALUES (0, 0, 0), (1, 0, 0);"
    "CREATE TRIGGER audit_insert AFTER INSERT ON audit BEGIN"
    "  UPDATE audit_total SET entries = entries + 1, bytes = bytes + NEW.bytes WHERE kind = NEW.kind; END;"
    "CREATE TRIGGER audit_delete AFTER DELETE ON audit BEGIN"
    "  UPDATE audit_total SET entries = entries - 1, bytes = bytes - OLD.bytes WHERE kind = OLD.kind; END;",
};
static const struct tg_db_part part = {"audit log", steps, ARRAY_LEN(steps)};

enum tg_status tg_audit_prepare(struct tg_db *db, struct tg_err *err)
{
    return tg_db_upgrade(db, &part, err);
}

/* ---- writing ---- */

static void cut(struct tg_slice *s, size_t max)
{
    if (s->len <= max)
        return;
    while (max > 0 && ((unsigned char)s->ptr[max] & 0xc0) == 0x80)
        max--;
    s->len = max;
}

void tg_audit_cut(struct tg_audit_entry *e, size_t details_max)
{
    cut(&e->actor, TG_AUDIT_TEXT);
    cut(&e->resource, TG_AUDIT_TEXT);
    cut(&e->action, TG_AUDIT_TEXT / 4);
    cut(&e->result, TG_AUDIT_TEXT / 4);
    cut(&e->source_ip, TG_AUDIT_TEXT / 4);
    cut(&e->request_id, TG_AUDIT_TEXT / 4);
    if (e->details.len == 0)
        e->details = TG_S("{}");
    else if (e->details.len > details_max)
        e->details = TG_S("{\"omitted\":\"too long\"}");
}

static enum kind kind_of(const struct tg_audit_entry *e)
{
    bool failed = tg_slice_starts_with(e->action, TG_S("auth.")) && !tg_slice_eq(e->result, TG_S("success"));

    return failed || tg_slice_eq(e->result, TG_S("denied")) || tg_slice_starts_with(e->action, TG_S("request."))
               ? KIND_DENIAL : KIND_CHANGE;
}

static struct tg_query *begin_insert(struct tg_db *db)
{
    return tg_db_query(db, "INSERT INTO audit (time_us, kind, actor, action, resource, result, source_ip, request_id, "
                       "details, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
}

static void insert(struct tg_query *q, const struct tg_audit_entry *e)
{
    size_t indexed = e->actor.len + e->action.len + e->resource.len;
    size_t bytes = 2 * indexed + e->result.len + e->source_ip.len + e->request_id.len + e->details.len + ENTRY_OVERHEAD;

    tg_query_bind_int(q, 1, e->time_us);
    tg_query_bind_int(q, 2, kind_of(e));
    tg_query_bind_text(q, 3, e->actor);
    tg_query_bind_text(q, 4, e->action);
    tg_query_bind_text(q, 5, e->resource);
    tg_query_bind_text(q, 6, e->result);
    tg_query_bind_text(q, 7, e->source_ip);
    tg_query_bind_text(q, 8, e->request_id);
    tg_query_bind_text(q, 9, e->details);
    tg_query_bind_int(q, 10, (int64_t)bytes);
    tg_query_row(q);
}

enum tg_status tg_audit_put(struct tg_db *db, const struct tg_audit_entry *entry, struct tg_err *err)
{
    static const struct tg_json_limits limits = {.bytes = TG_AUDIT_DETAILS};
    struct tg_audit_entry e = *entry;
    struct tg_query *q;

    tg_audit_cut(&e, TG_AUDIT_DETAILS);
    if (tg_json_scan(e.details, &limits, NULL) != TG_OK || e.details.ptr[0] != '{')
        e.details = TG_S("{\"omitted\":\"malformed\"}");
    q = begin_insert(db);
    insert(q, &e);
    return tg_query_end(q, err);
}

enum tg_status tg_audit_put_all(struct tg_db *db, const struct tg_audit_entry *entries, size_t count,
                                struct tg_err *err)
{
    enum tg_status st = tg_db_begin(db, err);
    struct tg_query *q;

    if (st != TG_OK)
        return st;
    q = begin_insert(db);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            tg_query_again(q);
        insert(q, &entries[i]);
    }
    st = tg_query_end(q, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

/* ---- bounds ---- */

struct totals {
    uint64_t entries[2], bytes[2];                       /* by kind */
};

static enum tg_status read_totals(struct tg_db *db, struct totals *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT kind, entries, bytes FROM audit_total WHERE kind IN (0, 1)");

    while (tg_query_row(q)) {
        out->entries[tg_query_int(q, 0)] = (uint64_t)tg_query_int(q, 1);
        out->bytes[tg_query_int(q, 0)] = (uint64_t)tg_query_int(q, 2);
    }
    return tg_query_end(q, err);
}

enum tg_status tg_audit_totals(struct tg_db *db, uint64_t *entries, uint64_t *bytes, struct tg_err *err)
{
    struct totals t = {0};
    enum tg_status st = read_totals(db, &t, err);

    if (st != TG_OK)
        return st;
    *entries = t.entries[KIND_CHANGE] + t.entries[KIND_DENIAL];
    *bytes = t.bytes[KIND_CHANGE] + t.bytes[KIND_DENIAL];
    return TG_OK;
}

/* Runs one DELETE of ?1, of ?2 rows at most. */
static enum tg_status delete_some(struct tg_db *db, const char *sql, int64_t value, uint64_t rows, uint64_t *removed,
                                  struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, sql);
    enum tg_status st;

    tg_query_bind_int(q, 1, value);
    tg_query_bind_int(q, 2, (int64_t)rows);
    tg_query_row(q);
    st = tg_query_end(q, err);
    if (st != TG_OK)
        return st;
    q = tg_db_query(db, "SELECT changes()");
    if (tg_query_row(q))
        *removed += (uint64_t)tg_query_int(q, 0);
    return tg_query_end(q, err);
}

#define DELETE_OLDEST(where) "DELETE FROM audit WHERE n IN (SELECT n FROM audit WHERE " where " LIMIT ?2)"

/* About so many that a tenth of the room is free then, so that this is not done for each new entry. */
static uint64_t rows_too_many(const struct totals *t, uint64_t max_bytes)
{
    uint64_t bytes = t->bytes[KIND_CHANGE] + t->bytes[KIND_DENIAL];
    uint64_t each = bytes / (t->entries[KIND_CHANGE] + t->entries[KIND_DENIAL] + 1) + 1;
    uint64_t rows = (bytes - max_bytes + max_bytes / 10) / each + 1;

    return rows < TRIM_ROWS ? rows : TRIM_ROWS;
}

static enum tg_status trim_step(struct tg_db *db, const struct tg_audit_settings *s, int64_t now_us,
                                uint64_t *removed, struct tg_err *err)
{
    struct totals t = {0};
    enum tg_status st = read_totals(db, &t, err);

    if (st == TG_OK && s->retention_ms > 0)
        st = delete_some(db, DELETE_OLDEST("time_us < ?1 ORDER BY time_us"), now_us - s->retention_ms * 1000,
                         TRIM_ROWS, removed, err);
    if (st != TG_OK || *removed > 0 || s->max_bytes == 0 ||
        t.bytes[KIND_CHANGE] + t.bytes[KIND_DENIAL] <= s->max_bytes)
        return st;
    if (t.bytes[KIND_DENIAL] > s->max_bytes / 2)
        return delete_some(db, DELETE_OLDEST("kind = ?1 ORDER BY n"), KIND_DENIAL, rows_too_many(&t, s->max_bytes),
                           removed, err);
    return delete_some(db, DELETE_OLDEST("n > ?1 ORDER BY n"), 0, rows_too_many(&t, s->max_bytes), removed, err);
}

enum tg_status tg_audit_trim(struct tg_db *db, const struct tg_audit_settings *settings, int64_t now_us,
                             uint64_t *removed, struct tg_err *err)
{
    enum tg_status st = TG_OK;
    uint64_t all = 0;

    for (unsigned i = 0; i < TRIM_STEPS; i++) {
        uint64_t some = 0;

        if ((st = tg_db_begin(db, err)) != TG_OK)
            break;
        st = trim_step(db, settings, now_us, &some, err);
        if (st == TG_OK && some > 0)
            st = tg_db_commit(db, err);
        tg_db_rollback(db);
        if (st != TG_OK || some == 0)
            break;
        all += some;
    }
    if (removed)
        *removed = all;
    return st;
}

/* ---- reading ---- */

struct filter {
    struct tg_buf where;
    struct tg_slice values[8];
    struct tg_buf ends[2];                               /* behind all that begin alike */
    unsigned count;                                      /* of values; they are ?3 and on */
};

static void add_text(struct filter *f, const char *column, const char *is, struct tg_slice value)
{
    f->values[f->count++] = value;
    tg_buf_addf(&f->where, " AND %s %s ?%u", column, is, f->count + 2);
}

/* "policy.*": no text holds the octet 0xff, so the bounds are of all that begin so. */
static void add_match(struct filter *f, const char *column, struct tg_slice value, struct tg_buf *end)
{
    if (value.len == 0)
        return;
    if (!end || value.ptr[value.len - 1] != '*') {
        add_text(f, column, "=", value);
        return;
    }
    value.len--;
    if (value.len == 0)
        return;
    tg_buf_add_slice(end, value);
    tg_buf_addc(end, (char)0xff);
    add_text(f, column, ">=", value);
    add_text(f, column, "<", tg_buf_slice(end));
}

static void make_filter(const struct tg_audit_query *query, struct filter *f)
{
    tg_buf_adds(&f->where, "WHERE 1");
    if (query->from_us)
        tg_buf_adds(&f->where, " AND time_us >= ?1");
    if (query->to_us)
        tg_buf_adds(&f->where, " AND time_us < ?2");
    add_match(f, "action", query->action, &f->ends[0]);
    add_match(f, "actor", query->actor, NULL);
    add_match(f, "resource", query->resource, &f->ends[1]);
    add_match(f, "result", query->result, NULL);
}

static struct tg_query *begin_select(struct tg_db *db, const char *what, const char *tail, struct filter *f,
                                     const struct tg_audit_query *query)
{
    struct tg_buf sql = {0};
    struct tg_query *q;

    tg_buf_addf(&sql, "SELECT %s FROM audit " TG_S_FMT "%s", what, TG_S_ARG(tg_buf_slice(&f->where)), tail);
    q = tg_db_query(db, tg_buf_cstr(&sql));
    tg_buf_fini(&sql);
    if (query->from_us)
        tg_query_bind_int(q, 1, query->from_us);
    if (query->to_us)
        tg_query_bind_int(q, 2, query->to_us);
    for (unsigned i = 0; i < f->count; i++)
        tg_query_bind_text(q, (int)i + 3, f->values[i]);
    return q;
}

static enum tg_status count_all(struct tg_db *db, struct filter *f, const struct tg_audit_query *query,
                                uint64_t *total, struct tg_err *err)
{
    uint64_t bytes;
    struct tg_query *q;

    if (f->count == 0 && !query->from_us && !query->to_us)
        return tg_audit_totals(db, total, &bytes, err);
    q = begin_select(db, "count(*)", "", f, query);
    if (tg_query_row(q))
        *total = (uint64_t)tg_query_int(q, 0);
    return tg_query_end(q, err);
}

static enum tg_status list_rows(struct tg_db *db, struct filter *f, const struct tg_audit_query *query,
                                void (*each)(void *arg, const struct tg_audit_entry *e, int64_t n), void *arg,
                                struct tg_err *err)
{
    struct tg_query *q = begin_select(db, "n, time_us, actor, action, resource, result, source_ip, request_id, details",
                                      " ORDER BY time_us DESC, n DESC LIMIT ?11 OFFSET ?12", f, query);

    tg_query_bind_int(q, 11, query->limit && query->limit < INT64_MAX ? (int64_t)query->limit : -1);
    tg_query_bind_int(q, 12, query->offset < INT64_MAX ? (int64_t)query->offset : INT64_MAX);
    while (tg_query_row(q)) {
        struct tg_audit_entry e = {
            .time_us = tg_query_int(q, 1), .actor = tg_query_bytes(q, 2), .action = tg_query_bytes(q, 3),
            .resource = tg_query_bytes(q, 4), .result = tg_query_bytes(q, 5), .source_ip = tg_query_bytes(q, 6),
            .request_id = tg_query_bytes(q, 7), .details = tg_query_bytes(q, 8),
        };

        each(arg, &e, tg_query_int(q, 0));
    }
    return tg_query_end(q, err);
}

enum tg_status tg_audit_list(struct tg_db *db, const struct tg_audit_query *query,
                             void (*each)(void *arg, const struct tg_audit_entry *e, int64_t n), void *arg,
                             uint64_t *total, struct tg_err *err)
{
    struct filter f = {0};
    enum tg_status st = tg_db_begin_read(db, err);       /* list and count are of one moment */

    make_filter(query, &f);
    if (st == TG_OK && total)
        st = count_all(db, &f, query, total, err);
    if (st == TG_OK)
        st = list_rows(db, &f, query, each, arg, err);
    tg_db_rollback(db);
    for (size_t i = 0; i < ARRAY_LEN(f.ends); i++)
        tg_buf_fini(&f.ends[i]);
    tg_buf_fini(&f.where);
    return st;
}
