/*
 * managers_table - API users, and ID tokens that were ended before their time.
 *
 * Of a token the table has the SHA-256 and its first characters, which are shown in lists and by which it is looked up:
 * so nothing that takes longer or shorter says anything of the digests, which are compared in constant time.
 */
#include "managers_internal.h"
#include "base/digest.h"
#include <stdio.h>

static const char *const steps[] = {
    "CREATE TABLE api_users ("
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  id TEXT NOT NULL UNIQUE,"
    "  name TEXT NOT NULL,"
    "  role TEXT NOT NULL,"
    "  prefix TEXT NOT NULL,"
    "  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),"
    "  created_s INTEGER NOT NULL,"
    "  expires_s INTEGER,"                               /* NULL: never */
    "  used_s INTEGER"
    ") STRICT;"
    "CREATE INDEX api_users_name ON api_users (name);"
    "CREATE INDEX api_users_prefix ON api_users (prefix);"
    "CREATE TABLE api_ended (jti TEXT PRIMARY KEY, exp_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX api_ended_exp ON api_ended (exp_s);",
};
static const struct tg_db_part part = {"API users", steps, ARRAY_LEN(steps)};

enum tg_status tg_managers_prepare(struct tg_db *db, struct tg_err *err)
{
    return tg_db_upgrade(db, &part, err);
}

/* ---- one row ---- */

#define COLUMNS "id, name, role, expires_s, used_s, digest"
enum { ID, NAME, ROLE, EXPIRES, USED, DIGEST };

static void copy(char *to, size_t room, struct tg_slice from)
{
    snprintf(to, room, "%.*s", (int)from.len, from.ptr);
}

/* False: the row has a role that nobody knows here, so it is of no use. */
static bool read_row(struct tg_query *q, struct manager_row *out)
{
    copy(out->id, sizeof out->id, tg_query_bytes(q, ID));
    copy(out->name, sizeof out->name, tg_query_bytes(q, NAME));
    out->expires_s = tg_query_is_null(q, EXPIRES) ? INT64_MAX : tg_query_int(q, EXPIRES);
    out->used_s = tg_query_is_null(q, USED) ? -1 : tg_query_int(q, USED);
    return tg_role_parse(tg_query_bytes(q, ROLE), &out->role);
}

static enum tg_status found_or_not(enum tg_status st, bool found, struct tg_err *err)
{
    return st != TG_OK || found ? st : tg_fail(err, TG_NOT_FOUND, "there is no such API user, or it was deleted");
}

enum tg_status managers_find_token(struct tg_db *db, struct tg_slice token, struct manager_row *out,
                                   struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT " COLUMNS " FROM api_users WHERE prefix = ?1");
    uint8_t digest[TG_SHA256_LEN];
    struct manager_row row;
    bool found = false;
    enum tg_status st;

    tg_sha256(token, digest);
    tg_query_bind_text(q, 1, tg_api_token_prefix(token));
    while (!found && tg_query_row(q))
        found = tg_equal_ct(tg_query_bytes(q, DIGEST), tg_slice((const char *)digest, sizeof digest)) &&
                read_row(q, &row);
    st = found_or_not(tg_query_end(q, err), found, err);
    if (st == TG_OK)
        *out = row;
    return st;
}

enum tg_status managers_find_id(struct tg_db *db, struct tg_slice id, struct manager_row *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT " COLUMNS " FROM api_users WHERE id = ?1");
    struct manager_row row;
    bool found;
    enum tg_status st;

    tg_query_bind_text(q, 1, id);
    found = tg_query_row(q) && read_row(q, &row);
    st = found_or_not(tg_query_end(q, err), found, err);
    if (st == TG_OK)
        *out = row;
    return st;
}

/* ---- ID tokens that were ended ---- */

enum tg_status managers_is_ended(struct tg_db *db, const char *jti, bool *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT 1 FROM api_ended WHERE jti = ?1");
    bool found;
    enum tg_status st;

    tg_query_bind_text(q, 1, tg_slice_str(jti));
    found = tg_query_row(q);
    st = tg_query_end(q, err);
    if (st == TG_OK)
        *out = found;
    return st;
}

static enum tg_status clear_ended(struct tg_db *db, int64_t now_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM api_ended WHERE exp_s < ?1");

    tg_query_bind_int(q, 1, now_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status managers_end(struct tg_db *db, const char *jti, int64_t exp_s, int64_t now_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT OR REPLACE INTO api_ended (jti, exp_s) VALUES (?1, ?2)");
    enum tg_status st;

    tg_query_bind_text(q, 1, tg_slice_str(jti));
    tg_query_bind_int(q, 2, exp_s);
    tg_query_row(q);
    st = tg_query_end(q, err);
    return st == TG_OK ? clear_ended(db, now_s, err) : st;
}
