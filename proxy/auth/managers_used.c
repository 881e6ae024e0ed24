/*
 * managers_used - when tokens were last used.
 *
 * A write for every call would cost a disk more than the call does, so a few are written together, each to the minute.
 */
#include "managers_internal.h"
#include "base/log.h"
#include <stdio.h>

#define WRITE_MS 5000
#define PATIENCE_MS 200                                  /* a caller waits as long when the table is locked */

static enum tg_status write_one(struct tg_db *db, const char *id, int64_t used_s, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "UPDATE api_users SET used_s = ?2 "
                                     "WHERE id = ?1 AND coalesce(used_s, -1) < ?2");

    tg_query_bind_text(q, 1, tg_slice_str(id));
    tg_query_bind_int(q, 2, used_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

static enum tg_status write_all(const struct manager_used *used, struct tg_db *db, struct tg_err *err)
{
    enum tg_status st = tg_db_begin(db, err);

    for (size_t i = 0; st == TG_OK && i < used->count; i++)
        st = write_one(db, used->items[i].id, used->items[i].used_s, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

void managers_write_used(struct manager_used *used, struct tg_db *db, int64_t now_ms)
{
    struct tg_err err = {0};
    enum tg_status st;
    int patience;

    used->write_ms = now_ms + WRITE_MS;
    if (used->count == 0)
        return;
    patience = tg_db_set_patience(db, PATIENCE_MS);
    st = write_all(used, db, &err);
    tg_db_set_patience(db, patience);
    if (st == TG_OK)
        used->count = 0;
    else if (!used->told)
        tg_log(TG_LOG_WARN, "when API users were last seen cannot be written; it is tried again",
               TG_F_STR("error", tg_err_text(&err)));
    used->told = st != TG_OK;
}

static void put(struct manager_used *used, const char *id, int64_t used_s)
{
    size_t i = 0;

    while (i < used->count && strcmp(used->items[i].id, id) != 0)
        i++;
    if (i == used->count && i == MANAGERS_USED_MAX)
        return;                                          /* it will be seen again */
    if (i == used->count)
        snprintf(used->items[used->count++].id, sizeof used->items[i].id, "%s", id);
    used->items[i].used_s = used_s;
}

void managers_note_used(struct manager_used *used, struct tg_db *db, const struct manager_row *row, int64_t now_ms)
{
    int64_t minute_s = now_ms / 60000 * 60;

    if (row->used_s < minute_s)
        put(used, row->id, minute_s);
    if (used->count == MANAGERS_USED_MAX || (used->count && now_ms >= used->write_ms))
        managers_write_used(used, db, now_ms);
}
