/*
 * pat_store - the table of personal access tokens, and what changes it.
 *
 * Every change is noted in pat_changes, by triggers, so that whoever has read the table once need not read it whole
 * again, whatever changed it. A change is committed first; then the generation is bumped, so that a process that reads
 * because of the bump sees the change.
 */
#include "pat_internal.h"
#include "base/json.h"
#include "io/db.h"
#include "io/generation.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHANGES_KEPT "1000"
#define SUB_MAX 256

struct tg_pat_store {
    struct tg_db *db;
    struct tg_generation *generation;                    /* NULL: opened without */
};

static const char *const steps[] = {
    "CREATE TABLE pats ("
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  id TEXT NOT NULL UNIQUE,"
    "  name TEXT NOT NULL,"
    "  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),"
    "  sub TEXT,"                                        /* of its owner; NULL: none was given */
    "  claims TEXT NOT NULL,"                            /* of its owner, without sub: a JSON object */
    "  created_s INTEGER NOT NULL,"
    "  expires_s INTEGER,"                               /* NULL: never */
    "  used_s INTEGER,"
    "  revoked_s INTEGER"
    ") STRICT;"
    "CREATE INDEX pats_live ON pats (name) WHERE revoked_s IS NULL;"
    "CREATE INDEX pats_revoked ON pats (revoked_s) WHERE revoked_s IS NOT NULL;"
    "CREATE INDEX pats_expire ON pats (expires_s) WHERE expires_s IS NOT NULL;"
    "CREATE TABLE pat_changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL) STRICT;"
    "CREATE TRIGGER pats_insert AFTER INSERT ON pats BEGIN INSERT INTO pat_changes (n) VALUES (NEW.n); END;"
    "CREATE TRIGGER pats_delete AFTER DELETE ON pats BEGIN INSERT INTO pat_changes (n) VALUES (OLD.n); END;"
    "CREATE TRIGGER pats_update AFTER UPDATE OF n, id, digest, sub, claims, created_s, expires_s, revoked_s ON pats"
    "  BEGIN INSERT INTO pat_changes (n) VALUES (OLD.n), (NEW.n); END;",
};
static const struct tg_db_part part = {"personal access tokens", steps, ARRAY_LEN(steps)};

/* ---- opening ---- */

char *tg_pat_path(const char *state_dir, const char *name)
{
    struct tg_buf path = {0};

    tg_buf_addf(&path, "%s/%s", state_dir, name);
    tg_buf_cstr(&path);
    return path.data;
}

/* In words before SQLite says "unable to open database file". */
static enum tg_status check_folder(const char *state_dir, struct tg_err *err)
{
    struct stat st;

    if (stat(state_dir, &st) != 0)
        return tg_fail(err, TG_DENIED, "state_dir %s: %s; it holds the personal access tokens", state_dir,
                       errno == ENOENT ? "there is no such folder" : strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return tg_fail(err, TG_DENIED, "state_dir %s: is no folder", state_dir);
    if (faccessat(AT_FDCWD, state_dir, W_OK | X_OK, AT_EACCESS) != 0)
        return tg_fail(err, TG_DENIED, "state_dir %s: cannot be written (%s); it holds the personal access tokens",
                       state_dir, strerror(errno));
    return TG_OK;
}

enum tg_status tg_pat_store_open_db(const char *state_dir, struct tg_pat_store **out, struct tg_err *err)
{
    struct tg_pat_store *store = TG_NEW(struct tg_pat_store);
    char *path = tg_pat_path(state_dir, "tollgate.db");
    enum tg_status st = check_folder(state_dir, err);

    if (st == TG_OK)
        st = tg_db_open(path, &store->db, err);
    if (st == TG_OK)
        st = tg_db_upgrade(store->db, &part, err);
    free(path);
    if (st != TG_OK) {
        tg_pat_store_close(store);
        return st;
    }
    *out = store;
    return TG_OK;
}

enum tg_status tg_pat_store_open(const char *state_dir, struct tg_pat_store **out, struct tg_err *err)
{
    char *database = tg_pat_path(state_dir, "tollgate.db"), *counter = tg_pat_path(state_dir, "generation");
    bool older = access(database, F_OK) == 0;
    struct tg_pat_store *store = NULL;
    enum tg_status st = tg_pat_store_open_db(state_dir, &store, err);

    if (st == TG_OK)
        st = tg_generation_open(counter, &store->generation, err);
    free(database);
    free(counter);
    if (st != TG_OK) {
        tg_pat_store_close(store);
        return st;
    }
    if (!older)
        tg_generation_is_first(store->generation);
    *out = store;
    return TG_OK;
}

void tg_pat_store_close(struct tg_pat_store *store)
{
    if (!store)
        return;
    tg_generation_close(store->generation);
    tg_db_close(store->db);
    free(store);
}

struct tg_db *tg_pat_store_db(struct tg_pat_store *store)
{
    return store->db;
}

/* ---- what a token may say ---- */

bool tg_pat_is_reserved_claim(struct tg_slice name)
{
    static const char *const reserved[] = {"iss", "aud", "exp", "iat", "nbf", "jti", "cnf"};

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (tg_slice_eq(name, tg_slice_str(reserved[i])))
            return true;
    return false;
}

/* `sub` has a column of its own; the rest is kept as text. */
static enum tg_status take_claims(const cJSON *claims, struct tg_slice *sub, struct tg_buf *rest, struct tg_err *err)
{
    const cJSON *named = tg_json_get(claims, "sub"), *each;
    cJSON *copy;

    cJSON_ArrayForEach(each, claims)
        if (tg_pat_is_reserved_claim(tg_slice_str(each->string)))
            return tg_fail(err, TG_BAD_INPUT, "the claim %s is tollgate's to say", each->string);
    *sub = (struct tg_slice){0};
    if (named && (!tg_json_str(named, sub) || sub->len == 0 || sub->len > SUB_MAX || !tg_token_is_utf8(*sub)))
        return tg_fail(err, TG_BAD_INPUT, "the claim sub must be a text of 1 to %d bytes of UTF-8", SUB_MAX);
    if (!claims) {
        tg_buf_adds(rest, "{}");
        return TG_OK;
    }
    copy = cJSON_Duplicate(claims, true);
    tg_assert(copy);
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "sub");
    tg_json_print(rest, copy);
    cJSON_Delete(copy);
    if (rest->len > TG_PAT_CLAIMS_MAX)
        return tg_fail(err, TG_BAD_INPUT, "the claims of a token are %d bytes at most", TG_PAT_CLAIMS_MAX);
    return tg_json_scan(tg_buf_slice(rest), NULL, err);  /* UTF-8, and no name twice */
}

/* ---- changes ---- */

/* After the commit. Where the counter was made anew, processes notice at their next look, and this waits. */
static void tell_processes(struct tg_pat_store *store)
{
    struct timespec pause = {2 * TG_PAT_POLL_MS / 1000, 0};
    bool unnoticed = tg_generation_is_young(store->generation);

    tg_generation_bump(store->generation);
    if (unnoticed)
        nanosleep(&pause, NULL);
}

static enum tg_status refuse_same_name(struct tg_db *db, const struct tg_pat_order *order, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT id FROM pats WHERE name = ?1 AND revoked_s IS NULL AND "
                                     "(expires_s IS NULL OR expires_s > ?2)");
    char id[TG_PAT_ID] = "";
    enum tg_status st;

    tg_query_bind_text(q, 1, order->name);
    tg_query_bind_int(q, 2, order->now_s);
    if (tg_query_row(q)) {
        struct tg_slice got = tg_query_bytes(q, 0);

        snprintf(id, sizeof id, "%.*s", (int)got.len, got.ptr);
    }
    st = tg_query_end(q, err);
    if (st == TG_OK && id[0])
        return tg_fail(err, TG_LIMIT, "a token of the name \"" TG_S_FMT "\" is there already: %s",
                       TG_S_ARG(order->name), id);
    return st;
}

/* What has been of no use to anybody for long, and changes that everybody has seen or will not miss. */
static enum tg_status clear_old(struct tg_db *db, int64_t now_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM pats WHERE revoked_s < ?1 OR expires_s < ?1");
    enum tg_status st;

    tg_query_bind_int(q, 1, now_s - TG_PAT_KEPT_S);
    tg_query_row(q);
    st = tg_query_end(q, err);
    if (st != TG_OK)
        return st;
    return tg_db_run(db, "DELETE FROM pat_changes WHERE seq <= (SELECT max(seq) FROM pat_changes) - " CHANGES_KEPT,
                     err);
}

struct new_row {
    const char *id;
    const uint8_t *digest;
    struct tg_slice sub, claims;
};

static enum tg_status insert(struct tg_db *db, const struct tg_pat_order *order, const struct new_row *row,
                             struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT INTO pats (id, name, digest, sub, claims, created_s, expires_s) "
                                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");

    tg_query_bind_text(q, 1, tg_slice_str(row->id));
    tg_query_bind_text(q, 2, order->name);
    tg_query_bind_blob(q, 3, tg_slice((const char *)row->digest, TG_SHA256_LEN));
    if (row->sub.ptr)
        tg_query_bind_text(q, 4, row->sub);
    tg_query_bind_text(q, 5, row->claims);
    tg_query_bind_int(q, 6, order->now_s);
    if (order->expires_s != INT64_MAX)
        tg_query_bind_int(q, 7, order->expires_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

static enum tg_status insert_alone(struct tg_db *db, const struct tg_pat_order *order, const struct new_row *row,
                                   struct tg_err *err)
{
    enum tg_status st = tg_db_begin(db, err);

    if (st == TG_OK)
        st = refuse_same_name(db, order, err);
    if (st == TG_OK)
        st = insert(db, order, row, err);
    if (st == TG_OK)
        st = clear_old(db, order->now_s, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

enum tg_status tg_pat_create(struct tg_pat_store *store, const struct tg_pat_order *order, struct tg_buf *token,
                             char id[TG_PAT_ID], struct tg_err *err)
{
    struct tg_buf made = {0}, claims = {0};
    uint8_t digest[TG_SHA256_LEN];
    char fresh[TG_PAT_ID];
    struct new_row row = {.id = fresh, .digest = digest};
    enum tg_status st = tg_token_check_name(order->name, err);

    if (st == TG_OK)
        st = take_claims(order->claims, &row.sub, &claims, err);
    if (st == TG_OK) {
        tg_uuid(fresh);
        tg_pat_make(&made);
        tg_sha256(tg_buf_slice(&made), digest);
        row.claims = tg_buf_slice(&claims);
        st = insert_alone(store->db, order, &row, err);
    }
    if (st == TG_OK) {
        tell_processes(store);
        memcpy(id, fresh, sizeof fresh);
        tg_buf_reserve(token, made.len + 2);             /* a newline may follow, and no copy be left behind */
        tg_buf_add_slice(token, tg_buf_slice(&made));
    }
    tg_buf_wipe(&made);
    tg_buf_fini(&claims);
    return st;
}

/* Somebody may have written its name instead. */
static enum tg_status refuse_unknown(struct tg_db *db, struct tg_slice id, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT id FROM pats WHERE name = ?1 AND revoked_s IS NULL ORDER BY n DESC");
    int shown = id.len > 64 ? 64 : (int)id.len;

    tg_query_bind_text(q, 1, id);
    if (tg_query_row(q))
        tg_fail(err, TG_NOT_FOUND, "\"%.*s\" is the name of a token; its id is " TG_S_FMT, shown, id.ptr,
                TG_S_ARG(tg_query_bytes(q, 0)));
    else
        tg_fail(err, TG_NOT_FOUND, "there is no token with the id \"%.*s\"", shown, id.ptr);
    tg_query_end(q, NULL);
    return TG_NOT_FOUND;
}

static enum tg_status find_name(struct tg_db *db, struct tg_slice id, struct tg_buf *name, bool *revoked,
                                struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT name, revoked_s FROM pats WHERE id = ?1");
    bool found;
    enum tg_status st;

    tg_query_bind_text(q, 1, id);
    found = tg_query_row(q);
    if (found) {
        tg_buf_add_slice(name, tg_query_bytes(q, 0));
        *revoked = !tg_query_is_null(q, 1);
    }
    st = tg_query_end(q, err);
    return st == TG_OK && !found ? refuse_unknown(db, id, err) : st;
}

static enum tg_status mark_revoked(struct tg_db *db, struct tg_slice id, int64_t now_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "UPDATE pats SET revoked_s = ?2 WHERE id = ?1 AND revoked_s IS NULL");

    tg_query_bind_text(q, 1, id);
    tg_query_bind_int(q, 2, now_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status tg_pat_revoke(struct tg_pat_store *store, struct tg_slice id, int64_t now_s, struct tg_buf *name,
                             bool *already, struct tg_err *err)
{
    struct tg_buf called = {0};
    bool was = false;
    enum tg_status st = tg_db_begin(store->db, err);

    if (st == TG_OK)
        st = find_name(store->db, id, &called, &was, err);
    if (st == TG_OK)
        st = mark_revoked(store->db, id, now_s, err);
    if (st == TG_OK)
        st = clear_old(store->db, now_s, err);
    if (st == TG_OK)
        st = tg_db_commit(store->db, err);
    tg_db_rollback(store->db);
    if (st == TG_OK) {
        tell_processes(store);                           /* also when it had been: who did that may have been killed
                                                            before this */
        *already = was;
        if (name)
            tg_buf_add_slice(name, tg_buf_slice(&called));
    }
    tg_buf_fini(&called);
    return st;
}

/* ---- the list ---- */

enum tg_status tg_pat_list(struct tg_pat_store *store, void (*each)(void *arg, const struct tg_pat_row *row), void *arg,
                           struct tg_err *err)
{
    struct tg_query *q = tg_db_query(store->db, "SELECT id, name, sub, claims, created_s, expires_s, used_s, revoked_s "
                                     "FROM pats ORDER BY n");

    while (tg_query_row(q)) {
        struct tg_pat_row row = {
            .id = tg_query_bytes(q, 0), .name = tg_query_bytes(q, 1), .sub = tg_query_bytes(q, 2),
            .claims = tg_query_bytes(q, 3), .created_s = tg_query_int(q, 4),
            .expires_s = tg_query_int_or(q, 5, INT64_MAX),
            .used_s = tg_query_int_or(q, 6, -1), .revoked_s = tg_query_int_or(q, 7, -1),
        };

        each(arg, &row);
    }
    return tg_query_end(q, err);
}
