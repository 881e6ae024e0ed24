/*
 * pat_load - from the table to a set: whole at first, then what has changed since.
 *
 * All is read in one transaction, so that a set is of one moment. What the log of changes no longer holds, or never
 * held (another database was put in the place of this one), is read whole.
 */
#include "pat_internal.h"
#include "base/map.h"
#include "io/db.h"

#define CHANGES_MOST 500                                 /* more than these: the whole is as quick */
#define COLUMNS "n, id, digest, sub, claims, created_s, expires_s, used_s"

/* ---- rows ---- */

/* NULL: no row that tollgate wrote. */
static struct tg_pat_entry *read_entry(struct tg_query *q)
{
    struct tg_slice id = tg_query_bytes(q, 1), digest = tg_query_bytes(q, 2);
    struct tg_slice sub = tg_query_bytes(q, 3), claims = tg_query_bytes(q, 4);
    struct tg_pat_entry *entry;

    if (id.len != TG_PAT_ID_LEN || digest.len != TG_SHA256_LEN || sub.len > TG_PAT_CLAIMS_MAX || claims.len < 2 ||
        claims.len > TG_PAT_CLAIMS_MAX)
        return NULL;
    entry = tg_alloc(sizeof *entry + sub.len + claims.len);
    atomic_init(&entry->refs, 1);
    entry->row = tg_query_int(q, 0);
    memcpy(entry->id, id.ptr, id.len);
    memcpy(entry->digest, digest.ptr, digest.len);
    entry->created_s = tg_query_int(q, 5);
    entry->exp_s = tg_query_is_null(q, 6) ? INT64_MAX : tg_query_int(q, 6);
    entry->written_min = tg_query_is_null(q, 7) ? -1 : tg_query_int(q, 7) / 60;
    atomic_init(&entry->used_min, entry->written_min);
    entry->sub_len = (uint32_t)sub.len;
    entry->claims_len = (uint32_t)claims.len;
    if (sub.len)
        memcpy(entry->text, sub.ptr, sub.len);
    memcpy(entry->text + sub.len, claims.ptr, claims.len);
    return entry;
}

/* A use that has not been written yet must not be forgotten with the entry that knew of it. */
static void keep_use(struct tg_pat_entry *entry, const struct tg_pat_set *old)
{
    const struct tg_pat_entry *before = old ? tg_pat_set_find(old, entry->digest) : NULL;
    int64_t used = before ? atomic_load(&before->used_min) : -1;

    if (used > atomic_load(&entry->used_min))
        atomic_store(&entry->used_min, used);
}

static enum tg_status read_count(struct tg_db *db, const char *sql, int64_t *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, sql);
    int64_t value = tg_query_row(q) ? tg_query_int(q, 0) : 0;
    enum tg_status st = tg_query_end(q, err);

    *out = value;
    return st;
}

static enum tg_status load_whole(struct tg_db *db, const struct tg_pat_set *old, struct tg_pat_set **out,
                                 struct tg_err *err)
{
    struct tg_pat_set *set;
    struct tg_pat_entry *entry;
    struct tg_query *q;
    int64_t count;
    enum tg_status st = read_count(db, "SELECT count(*) FROM pats WHERE revoked_s IS NULL", &count, err);

    if (st != TG_OK)
        return st;
    set = tg_pat_set_new((size_t)count);
    q = tg_db_query(db, "SELECT " COLUMNS " FROM pats WHERE revoked_s IS NULL");
    while (count-- > 0 && tg_query_row(q)) {             /* of one moment, so there are that many, if it is sound */
        if (!(entry = read_entry(q)))
            continue;
        keep_use(entry, old);
        tg_pat_set_add(set, entry);
    }
    st = tg_query_end(q, err);
    if (st == TG_OK)
        *out = set;
    else
        tg_pat_set_unref(set);
    return st;
}

/* ---- changes ---- */

struct changes {
    struct tg_map *rows;                                 /* row to its entry, or to `gone` */
    size_t present;
};
static struct tg_pat_entry gone;

static struct tg_slice key_of(const int64_t *row)
{
    return tg_slice((const char *)row, sizeof *row);
}

static enum tg_status read_rows(struct tg_db *db, const int64_t *rows, size_t count, struct changes *c,
                                struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT " COLUMNS " FROM pats WHERE n = ?1 AND revoked_s IS NULL");

    for (size_t i = 0; i < count; i++) {
        struct tg_pat_entry *entry;

        tg_query_again(q);
        tg_query_bind_int(q, 1, rows[i]);
        entry = tg_query_row(q) ? read_entry(q) : NULL;
        c->present += entry != NULL;
        tg_map_put(c->rows, key_of(&rows[i]), entry ? entry : &gone);
    }
    return tg_query_end(q, err);
}

/* The rows named in the log after `seen`, each once. */
static enum tg_status read_changes(struct tg_db *db, int64_t seen, struct changes *c, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT DISTINCT n FROM pat_changes WHERE seq > ?1");
    int64_t rows[CHANGES_MOST];
    size_t count = 0;
    enum tg_status st;

    tg_query_bind_int(q, 1, seen);
    while (count < ARRAY_LEN(rows) && tg_query_row(q))
        rows[count++] = tg_query_int(q, 0);
    st = tg_query_end(q, err);
    return st == TG_OK ? read_rows(db, rows, count, c, err) : st;
}

static struct tg_pat_set *apply(struct tg_pat_set *old, const struct changes *c)
{
    struct tg_pat_set *set = tg_pat_set_new(tg_pat_set_count(old) + c->present);
    struct tg_pat_entry *entry;
    struct tg_slice key;
    void *value;

    for (size_t i = 0; (entry = tg_pat_set_next(old, &i));) {
        if (tg_map_get(c->rows, key_of(&entry->row)))
            continue;
        atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
        tg_pat_set_add(set, entry);
    }
    for (size_t i = 0; tg_map_next(c->rows, &i, &key, &value);) {
        if (value == &gone)
            continue;
        keep_use(value, old);
        tg_pat_set_add(set, value);
    }
    return set;
}

static void drop_changes(struct changes *c, bool entries_too)
{
    struct tg_slice key;
    void *value;

    for (size_t i = 0; entries_too && tg_map_next(c->rows, &i, &key, &value);)
        if (value != &gone)
            free(value);
    tg_map_free(c->rows);
}

static enum tg_status load_changes(struct tg_db *db, struct tg_pat_set *old, int64_t seen, struct tg_pat_set **out,
                                   struct tg_err *err)
{
    struct changes c = {.rows = tg_map_new(NULL)};
    enum tg_status st = read_changes(db, seen, &c, err);

    if (st == TG_OK)
        *out = apply(old, &c);
    drop_changes(&c, st != TG_OK);
    return st;
}

/* ---- both ---- */

static enum tg_status load(struct tg_db *db, struct tg_pat_set *old, int64_t *seen, struct tg_pat_set **out,
                           struct tg_err *err)
{
    int64_t first = 0, last = 0;
    enum tg_status st = read_count(db, "SELECT min(seq) FROM pat_changes", &first, err);

    if (st == TG_OK)
        st = read_count(db, "SELECT max(seq) FROM pat_changes", &last, err);
    if (st != TG_OK)
        return st;
    if (old && last == *seen) {
        *out = tg_pat_set_ref(old);
        return TG_OK;
    }
    if (old && *seen >= 0 && last > *seen && last - *seen <= CHANGES_MOST && first <= *seen + 1)
        st = load_changes(db, old, *seen, out, err);
    else
        st = load_whole(db, old, out, err);
    if (st == TG_OK)
        *seen = last;
    return st;
}

enum tg_status tg_pat_load(struct tg_pat_store *store, struct tg_pat_set *old, int64_t *seen, struct tg_pat_set **out,
                           struct tg_err *err)
{
    struct tg_db *db = tg_pat_store_db(store);
    enum tg_status st = tg_db_begin_read(db, err);

    if (st == TG_OK)
        st = load(db, old, seen, out, err);
    tg_db_rollback(db);                                  /* it has only read */
    return st;
}

/* ---- last use ---- */

struct batch {                                           /* what one transaction writes */
    struct tg_pat_entry **entries;
    int64_t *minutes;
    size_t count, most;
    bool more;                                           /* there are others */
};

static bool is_due(const struct tg_pat_entry *entry)
{
    return atomic_load_explicit(&entry->used_min, memory_order_relaxed) > entry->written_min;
}

static void gather(struct batch *b, const struct tg_pat_set *set)
{
    struct tg_pat_entry *entry;

    for (size_t i = 0; !b->more && (entry = tg_pat_set_next(set, &i));) {
        if (!is_due(entry))
            continue;
        b->more = b->count == b->most;
        if (b->more)
            break;
        b->entries[b->count] = entry;
        b->minutes[b->count++] = atomic_load_explicit(&entry->used_min, memory_order_relaxed);
    }
}

static enum tg_status write_batch(struct tg_db *db, const struct batch *b, struct tg_err *err)
{
    struct tg_query *q;
    enum tg_status st = tg_db_begin(db, err);

    if (st != TG_OK)
        return st;
    q = tg_db_query(db, "UPDATE pats SET used_s = ?2 WHERE n = ?1 AND id = ?3 AND (used_s IS NULL OR used_s < ?2)");
    for (size_t i = 0; i < b->count; i++) {
        tg_query_again(q);
        tg_query_bind_int(q, 1, b->entries[i]->row);
        tg_query_bind_int(q, 2, b->minutes[i] * 60);
        tg_query_bind_text(q, 3, tg_slice(b->entries[i]->id, TG_PAT_ID_LEN));
        tg_query_row(q);
    }
    st = tg_query_end(q, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

enum tg_status tg_pat_write_used(struct tg_pat_store *store, const struct tg_pat_set *set, size_t most, bool *more,
                                 struct tg_err *err)
{
    struct batch b = {.entries = TG_NEW_ARRAY(struct tg_pat_entry *, most), .minutes = TG_NEW_ARRAY(int64_t, most),
                      .most = most};
    enum tg_status st = TG_OK;

    gather(&b, set);
    if (b.count)
        st = write_batch(tg_pat_store_db(store), &b, err);
    for (size_t i = 0; st == TG_OK && i < b.count; i++)
        b.entries[i]->written_min = b.minutes[i];
    *more = b.more;
    free(b.entries);
    free(b.minutes);
    return st;
}
