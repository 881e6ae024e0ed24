/*
 * managers_users - API users made, listed and deleted, in the caller's transaction.
 */
#include "managers_internal.h"
#include "token_format.h"
#include "base/digest.h"
#include <stdio.h>

#define KEPT_S (90 * INT64_C(86400))                     /* how long one that has expired is listed */

static enum tg_status refuse_same_name(struct tg_db *db, const struct tg_api_user_order *order, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT id FROM api_users WHERE name = ?1 AND "
                                     "(expires_s IS NULL OR expires_s > ?2)");
    char id[37] = "";
    enum tg_status st;

    tg_query_bind_text(q, 1, order->name);
    tg_query_bind_int(q, 2, order->now_s);
    if (tg_query_row(q))
        snprintf(id, sizeof id, TG_S_FMT, TG_S_ARG(tg_query_bytes(q, 0)));
    st = tg_query_end(q, err);
    if (st == TG_OK && id[0])
        return tg_fail(err, TG_LIMIT, "an API user of the name \"" TG_S_FMT "\" is there already: %s",
                       TG_S_ARG(order->name), id);
    return st;
}

static enum tg_status clear_old(struct tg_db *db, int64_t now_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM api_users WHERE expires_s < ?1");

    tg_query_bind_int(q, 1, now_s - KEPT_S);
    tg_query_row(q);
    return tg_query_end(q, err);
}

static enum tg_status insert(struct tg_db *db, const struct tg_api_user_order *order, const char *id,
                             struct tg_slice token, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT INTO api_users (id, name, role, prefix, digest, created_s, expires_s) "
                                     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    uint8_t digest[TG_SHA256_LEN];

    tg_sha256(token, digest);
    tg_query_bind_text(q, 1, tg_slice_str(id));
    tg_query_bind_text(q, 2, order->name);
    tg_query_bind_text(q, 3, tg_slice_str(tg_role_name(order->role)));
    tg_query_bind_text(q, 4, tg_api_token_prefix(token));
    tg_query_bind_blob(q, 5, tg_slice((const char *)digest, sizeof digest));
    tg_query_bind_int(q, 6, order->now_s);
    if (order->expires_s != INT64_MAX)
        tg_query_bind_int(q, 7, order->expires_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status tg_api_user_create(struct tg_db *db, const struct tg_api_user_order *order, struct tg_buf *token,
                                  char id[37], struct tg_err *err)
{
    struct tg_buf made = {0};
    char fresh[37];
    enum tg_status st = tg_token_check_name(order->name, err);

    if (st == TG_OK && order->expires_s <= order->now_s)
        st = tg_fail(err, TG_BAD_INPUT, "the end of the token is not ahead");
    if (st == TG_OK)
        st = refuse_same_name(db, order, err);
    if (st == TG_OK) {
        tg_uuid(fresh);
        tg_api_token_make(&made);
        st = insert(db, order, fresh, tg_buf_slice(&made), err);
    }
    if (st == TG_OK)
        st = clear_old(db, order->now_s, err);
    if (st == TG_OK) {
        memcpy(id, fresh, sizeof fresh);
        tg_buf_reserve(token, made.len + 2);             /* a newline may follow, and no copy be left behind */
        tg_buf_add_slice(token, tg_buf_slice(&made));
    }
    tg_buf_wipe(&made);
    return st;
}

static enum tg_status fail_unknown(struct tg_slice id, struct tg_err *err)
{
    return tg_fail(err, TG_NOT_FOUND, "there is no API user with the id \"%.*s\"", id.len > 64 ? 64 : (int)id.len,
                   id.ptr);
}

enum tg_status tg_api_user_delete(struct tg_db *db, struct tg_slice id, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM api_users WHERE id = ?1 RETURNING n");
    bool deleted;
    enum tg_status st;

    tg_query_bind_text(q, 1, id);
    deleted = tg_query_row(q);
    if (deleted)
        tg_query_row(q);                                 /* to its end: then it is done */
    st = tg_query_end(q, err);
    return st != TG_OK || deleted ? st : fail_unknown(id, err);
}

/* ---- lists ---- */

static struct tg_api_user user_of(struct tg_query *q)
{
    struct tg_api_user user = {
        .id = tg_query_bytes(q, 0), .name = tg_query_bytes(q, 1), .prefix = tg_query_bytes(q, 3),
        .created_s = tg_query_int(q, 4), .expires_s = tg_query_is_null(q, 5) ? INT64_MAX : tg_query_int(q, 5),
        .used_s = tg_query_is_null(q, 6) ? -1 : tg_query_int(q, 6),
    };

    if (!tg_role_parse(tg_query_bytes(q, 2), &user.role))
        user.role = TG_ROLE_AUDITOR;                     /* it can do nothing: its token is not taken */
    return user;
}

static enum tg_status count(struct tg_db *db, uint64_t *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT count(*) FROM api_users");
    int64_t n = tg_query_row(q) ? tg_query_int(q, 0) : 0;
    enum tg_status st = tg_query_end(q, err);

    if (st == TG_OK)
        *out = (uint64_t)n;
    return st;
}

static int64_t bounded(uint64_t n)
{
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

enum tg_status tg_api_user_list(struct tg_db *db, struct tg_slice id, uint64_t limit, uint64_t offset,
                                void (*each)(void *arg, const struct tg_api_user *user), void *arg, uint64_t *total,
                                struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT id, name, role, prefix, created_s, expires_s, used_s FROM api_users "
                                     "WHERE ?1 = '' OR id = ?1 ORDER BY n LIMIT ?2 OFFSET ?3");
    bool any = false;
    enum tg_status st;

    tg_query_bind_text(q, 1, id);
    tg_query_bind_int(q, 2, limit ? bounded(limit) : -1);
    tg_query_bind_int(q, 3, bounded(offset));
    while (tg_query_row(q)) {
        struct tg_api_user user = user_of(q);

        any = true;
        each(arg, &user);
    }
    st = tg_query_end(q, err);
    if (st == TG_OK && id.len && !any)
        return fail_unknown(id, err);
    return st == TG_OK && total ? count(db, total, err) : st;
}
