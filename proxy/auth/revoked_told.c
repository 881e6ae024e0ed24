/*
 * revoked_told - withdrawn tokens that somebody told us of: kept in a table, counted beside those of the file.
 *
 * The set in force is copied, added to and swapped: a million entries are copied in some fifty milliseconds, and no
 * worker waits for that.
 */
#include "auth/revoked.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "revoked_set.h"
#include <errno.h>
#include <unistd.h>

#define TOLD_OF_ONE 100                                  /* that do not cover one another; far less than a set takes */

static const char *const steps[] = {
    "CREATE TABLE told_revocations ("
    "  n INTEGER PRIMARY KEY,"
    "  issuer TEXT NOT NULL,"
    "  kind INTEGER NOT NULL,"                           /* 0: text is a jti; 1: a sub */
    "  text TEXT NOT NULL,"
    "  not_before_s INTEGER NOT NULL,"                   /* 4294967295: every token */
    "  until_s INTEGER NOT NULL,"                        /* with the grace; 4294967295: for ever */
    "  told_s INTEGER NOT NULL,"
    "  UNIQUE (issuer, kind, text, not_before_s, until_s)"
    ") STRICT;"
    "CREATE INDEX told_revocations_until ON told_revocations (until_s);",
};
static const struct tg_db_part part = {"told revocations", steps, ARRAY_LEN(steps)};

enum tg_status tg_revocations_prepare(struct tg_db *db, struct tg_err *err)
{
    return tg_db_upgrade(db, &part, err);
}

/* ---- at the start ---- */

static enum tg_status add_rows(struct tg_db *db, int64_t now_s, struct tg_revoked_set *set, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT issuer, kind, text, not_before_s, until_s FROM told_revocations "
                                     "WHERE until_s >= ?1");
    enum tg_status st = TG_OK, ended;

    tg_query_bind_int(q, 1, now_s);
    while (st == TG_OK && tg_query_row(q)) {
        struct tg_revoked_entry e = {
            .issuer = tg_query_bytes(q, 0), .text = tg_query_bytes(q, 2),
            .kind = tg_query_int(q, 1) == TG_REVOKED_JTI ? TG_REVOKED_JTI : TG_REVOKED_SUB,
            .not_before_s = (uint32_t)tg_query_int(q, 3), .until_s = (uint32_t)tg_query_int(q, 4),
        };

        st = tg_revoked_set_add(set, &e, err);
    }
    ended = tg_query_end(q, st == TG_OK ? err : NULL);
    return st != TG_OK ? st : ended;
}

static enum tg_status read_all(const char *path, struct tg_revoked_set *set, struct tg_err *err)
{
    struct tg_db *db = NULL;
    enum tg_status st = tg_db_open(path, &db, err);

    if (st == TG_OK)
        st = tg_revocations_prepare(db, err);
    if (st == TG_OK)
        st = add_rows(db, tg_clock_wall_ms() / 1000, set, err);
    tg_db_close(db);
    return st;
}

enum tg_status tg_revocations_restore(struct tg_revocations *r, const char *state_dir, struct tg_err *err)
{
    struct tg_buf path = {0};
    struct tg_revoked_set *set;
    enum tg_status st;

    tg_buf_addf(&path, "%s/tollgate.db", state_dir);
    if (access(tg_buf_cstr(&path), F_OK) != 0 && errno == ENOENT) {
        tg_buf_fini(&path);
        return TG_OK;
    }
    set = tg_revoked_set_new();
    st = read_all(tg_buf_cstr(&path), set, err);
    tg_buf_fini(&path);
    if (st != TG_OK || tg_revoked_set_count(set) == 0) {
        tg_revoked_set_unref(set);
        return st;
    }
    tg_revoked_set_seal(set);
    tg_log(TG_LOG_INFO, "revoked tokens of the hook are in force again",
           TG_F_INT("entries", tg_revoked_set_count(set)));
    tg_revocations_publish_told(r, set);
    return TG_OK;
}

/* ---- told ---- */

/* One entry is a list of one. NULL: there is none at `i`. */
static const cJSON *entry_at(const cJSON *told, size_t i)
{
    if (cJSON_IsArray(told))
        return cJSON_GetArrayItem(told, (int)i);
    return i == 0 ? told : NULL;
}

static enum tg_status check_all(const cJSON *told, size_t *count, struct tg_err *err)
{
    const cJSON *one = entry_at(told, 0);
    bool list = cJSON_IsArray(told);
    struct tg_revoked_entry e;

    for (*count = 0; one; one = list ? one->next : NULL) {
        const char *what = tg_revoked_entry_read(one, &e);

        if (what && list)
            return tg_fail(err, TG_BAD_INPUT, "data[%zu]: %s", *count, what);
        if (what)
            return tg_fail(err, TG_BAD_INPUT, "data: %s", what);
        ++*count;
    }
    return TG_OK;
}

static enum tg_status delete_past(struct tg_db *db, int64_t now_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM told_revocations WHERE until_s < ?1");

    tg_query_bind_int(q, 1, now_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

/* Other processes may have told, too, so those in force here are not what counts. */
static enum tg_status check_room(struct tg_db *db, size_t more, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT count(*) FROM told_revocations");
    size_t known = tg_query_row(q) ? (size_t)tg_query_int(q, 0) : 0;
    enum tg_status st = tg_query_end(q, err);

    if (st == TG_OK && known + more > TG_REVOCATIONS_TOLD)
        return tg_fail(err, TG_UNAVAILABLE, "there is room for %d revocations that were told", TG_REVOCATIONS_TOLD);
    return st;
}

#define OF_ONE "issuer = ?1 AND kind = ?2 AND text = ?3"

/* The statements for one entry. */
struct keeping {
    struct tg_query *insert, *remove, *count;
};

static void begin(struct keeping *k, struct tg_db *db)
{
    k->insert = tg_db_query(
        db, "INSERT INTO told_revocations (issuer, kind, text, not_before_s, until_s, told_s) "
            "SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS "
            "(SELECT 1 FROM told_revocations WHERE " OF_ONE " AND not_before_s >= ?4 AND until_s >= ?5) RETURNING n");
    k->remove = tg_db_query(db, "DELETE FROM told_revocations WHERE " OF_ONE
                            " AND not_before_s <= ?4 AND until_s <= ?5 AND n <> ?6");
    k->count = tg_db_query(db, "SELECT count(*) FROM told_revocations WHERE " OF_ONE);
}

static enum tg_status end(struct keeping *k, struct tg_err *err)
{
    struct tg_query *all[] = {k->insert, k->remove, k->count};
    enum tg_status st = TG_OK;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        enum tg_status ended = tg_query_end(all[i], st == TG_OK ? err : NULL);

        st = st == TG_OK ? ended : st;
    }
    return st;
}

static void bind(struct tg_query *q, const struct tg_revoked_entry *e)
{
    tg_query_again(q);
    tg_query_bind_text(q, 1, e->issuer);
    tg_query_bind_int(q, 2, e->kind);
    tg_query_bind_text(q, 3, e->text);
}

/*
 * As the set does it: one that another covers is not kept, and takes the place of those it covers; who is logged out
 * each minute is one row. False: there are too many that do not cover one another, which the set would not take.
 */
static bool keep(struct keeping *k, const struct tg_revoked_entry *e, int64_t now_s)
{
    int64_t n;

    bind(k->insert, e);
    tg_query_bind_int(k->insert, 4, e->not_before_s);
    tg_query_bind_int(k->insert, 5, e->until_s);
    tg_query_bind_int(k->insert, 6, now_s);
    if (!tg_query_row(k->insert))
        return true;
    n = tg_query_int(k->insert, 0);
    bind(k->remove, e);
    tg_query_bind_int(k->remove, 4, e->not_before_s);
    tg_query_bind_int(k->remove, 5, e->until_s);
    tg_query_bind_int(k->remove, 6, n);
    tg_query_row(k->remove);
    bind(k->count, e);
    return !tg_query_row(k->count) || tg_query_int(k->count, 0) <= TOLD_OF_ONE;
}

static enum tg_status keep_all(struct tg_db *db, const cJSON *told, int64_t now_s, struct tg_err *err)
{
    bool list = cJSON_IsArray(told), room = true;
    struct keeping k;
    enum tg_status st;

    begin(&k, db);
    for (const cJSON *one = entry_at(told, 0); one && room; one = list ? one->next : NULL) {
        struct tg_revoked_entry e;

        tg_assert(!tg_revoked_entry_read(one, &e));
        room = keep(&k, &e, now_s);
    }
    st = end(&k, err);
    if (st == TG_OK && !room)
        return tg_fail(err, TG_LIMIT, "more than %d entries of one token or subject, none of which covers another",
                       TOLD_OF_ONE);
    return st;
}

enum tg_status tg_revocations_keep(struct tg_db *db, const cJSON *told, int64_t now_s, size_t *count,
                                   struct tg_err *err)
{
    size_t told_now = 0;
    enum tg_status st = check_all(told, &told_now, err);

    if (st == TG_OK)
        st = delete_past(db, now_s, err);
    if (st == TG_OK)
        st = check_room(db, told_now, err);
    if (st == TG_OK)
        st = keep_all(db, told, now_s, err);
    if (st == TG_OK)
        *count = told_now;
    return st;
}

void tg_revocations_tell(struct tg_revocations *r, const cJSON *told, int64_t now_s)
{
    struct tg_revoked_set *set = tg_revoked_set_copy(tg_revocations_told(r), now_s);
    bool list = cJSON_IsArray(told);
    struct tg_err err = {0};

    for (const cJSON *one = entry_at(told, 0); one; one = list ? one->next : NULL) {
        struct tg_revoked_entry e;

        if (tg_revoked_entry_read(one, &e) || e.until_s < now_s)
            continue;
        if (tg_revoked_set_add(set, &e, &err) != TG_OK)  /* kept, and again too much at the next start */
            tg_log(TG_LOG_ERROR, "a revocation that was told is not in force", TG_F_STR("error", err.text));
    }
    tg_revoked_set_seal(set);
    tg_revocations_publish_told(r, set);
}
