/*
 * webhooks_store - the tables of webhooks: who is told, and what waits.
 */
#include "base/digest.h"
#include "webhooks.h"
#include <stdio.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)                     /* in a statement */

static const char *const steps[] = {
    "CREATE TABLE webhooks ("
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  id TEXT NOT NULL UNIQUE,"
    "  url TEXT NOT NULL,"
    "  events TEXT NOT NULL,"                            /* a JSON list of names */
    "  secret BLOB NOT NULL,"                            /* as it is: it signs */
    "  active INTEGER NOT NULL,"
    "  created_s INTEGER NOT NULL,"
    "  updated_s INTEGER NOT NULL,"
    "  last_s INTEGER,"                                  /* of the last attempt */
    "  last_status INTEGER"                              /* NULL: there was no answer */
    ") STRICT;"
    "CREATE TABLE webhook_queue ("
    "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  webhook INTEGER NOT NULL REFERENCES webhooks (n) ON DELETE CASCADE,"
    "  id TEXT NOT NULL,"
    "  event TEXT NOT NULL,"
    "  body BLOB NOT NULL,"                              /* these octets are signed and sent */
    "  tries INTEGER NOT NULL DEFAULT 0,"
    "  due_ms INTEGER NOT NULL,"
    "  made_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX webhook_queue_order ON webhook_queue (webhook, seq);"
    "CREATE INDEX webhook_queue_made ON webhook_queue (made_ms);",
};
static const struct tg_db_part part = {"webhooks", steps, ARRAY_LEN(steps)};

enum tg_status webhook_prepare(struct tg_db *db, struct tg_err *err)
{
    return tg_db_upgrade(db, &part, err);
}

/* ---- webhooks ---- */

static enum tg_status count_webhooks(struct tg_db *db, uint64_t *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT count(*) FROM webhooks");

    if (tg_query_row(q))
        *out = (uint64_t)tg_query_int(q, 0);
    return tg_query_end(q, err);
}

enum tg_status webhook_list(struct tg_db *db, struct tg_slice id, uint64_t limit, uint64_t offset,
                            void (*each)(void *arg, const struct webhook *w), void *arg, uint64_t *total,
                            struct tg_err *err)
{
    struct tg_query *q = tg_db_query(
        db, "SELECT n, id, url, events, active, created_s, updated_s, last_s, last_status, "
            "(SELECT count(*) FROM webhook_queue WHERE webhook = webhooks.n) "
            "FROM webhooks WHERE ?1 = '' OR id = ?1 ORDER BY n LIMIT ?2 OFFSET ?3");
    uint64_t count = 0;
    enum tg_status st;

    tg_query_bind_text(q, 1, id);
    tg_query_bind_int(q, 2, limit ? (int64_t)limit : -1);
    tg_query_bind_int(q, 3, (int64_t)offset);
    for (; tg_query_row(q); count++) {
        struct webhook w = {
            .n = tg_query_int(q, 0), .id = tg_query_bytes(q, 1), .url = tg_query_bytes(q, 2),
            .events = tg_query_bytes(q, 3), .active = tg_query_int(q, 4) != 0, .created_s = tg_query_int(q, 5),
            .updated_s = tg_query_int(q, 6), .last_s = tg_query_int_or(q, 7, -1),
            .last_status = tg_query_int_or(q, 8, -1),
            .pending = (uint64_t)tg_query_int(q, 9),
        };

        each(arg, &w);
    }
    st = tg_query_end(q, err);
    if (st == TG_OK && id.len && count == 0)
        return tg_fail(err, TG_NOT_FOUND, "no such webhook");
    return st == TG_OK && total ? count_webhooks(db, total, err) : st;
}

enum tg_status webhook_create(struct tg_db *db, const struct webhook *w, struct tg_err *err)
{
    uint64_t count = 0;
    enum tg_status st = count_webhooks(db, &count, err);
    struct tg_query *q;

    if (st == TG_OK && count >= WEBHOOKS_MAX)
        return tg_fail(err, TG_LIMIT, "there are %d webhooks, and no room for more", WEBHOOKS_MAX);
    if (st != TG_OK)
        return st;
    q = tg_db_query(db, "INSERT INTO webhooks (id, url, events, secret, active, created_s, updated_s) "
                    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)");
    tg_query_bind_text(q, 1, w->id);
    tg_query_bind_text(q, 2, w->url);
    tg_query_bind_text(q, 3, w->events);
    tg_query_bind_blob(q, 4, w->secret);
    tg_query_bind_int(q, 5, w->active);
    tg_query_bind_int(q, 6, w->created_s);
    tg_query_row(q);
    return tg_query_end(q, err);
}

/* Ends a statement that changes the webhook of an id. */
static enum tg_status end_of_one(struct tg_db *db, struct tg_query *q, struct tg_err *err)
{
    enum tg_status st;
    bool found = false;

    tg_query_row(q);
    if ((st = tg_query_end(q, err)) != TG_OK)
        return st;
    q = tg_db_query(db, "SELECT changes()");
    found = tg_query_row(q) && tg_query_int(q, 0) > 0;
    st = tg_query_end(q, err);
    return st == TG_OK && !found ? tg_fail(err, TG_NOT_FOUND, "no such webhook") : st;
}

/* What was wrong with it may be put right now. */
static enum tg_status make_due(struct tg_db *db, const struct webhook *w, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "UPDATE webhook_queue SET due_ms = ?2 "
                                     "WHERE webhook = (SELECT n FROM webhooks WHERE id = ?1)");

    tg_query_bind_text(q, 1, w->id);
    tg_query_bind_int(q, 2, w->updated_s * 1000);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status webhook_replace(struct tg_db *db, const struct webhook *w, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "UPDATE webhooks SET url = ?2, events = ?3, secret = ifnull(?4, secret), "
                                     "active = ?5, updated_s = ?6 WHERE id = ?1");
    enum tg_status st;

    tg_query_bind_text(q, 1, w->id);
    tg_query_bind_text(q, 2, w->url);
    tg_query_bind_text(q, 3, w->events);
    if (w->secret.ptr)
        tg_query_bind_blob(q, 4, w->secret);
    tg_query_bind_int(q, 5, w->active);
    tg_query_bind_int(q, 6, w->updated_s);
    st = end_of_one(db, q, err);
    return st == TG_OK ? make_due(db, w, err) : st;
}

enum tg_status webhook_delete(struct tg_db *db, struct tg_slice id, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM webhooks WHERE id = ?1");

    tg_query_bind_text(q, 1, id);
    return end_of_one(db, q, err);
}

/* ---- what waits ---- */

static enum tg_status add_one(struct tg_db *db, int64_t webhook, const struct delivery *d, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT INTO webhook_queue (webhook, id, event, body, due_ms, made_ms) "
                                     "VALUES (?1, ?2, ?3, ?4, ?5, ?5)");
    char id[37];

    tg_uuid(id);
    tg_query_bind_int(q, 1, webhook);
    tg_query_bind_text(q, 2, tg_slice_str(id));
    tg_query_bind_text(q, 3, d->event);
    tg_query_bind_blob(q, 4, d->body);
    tg_query_bind_int(q, 5, d->made_ms);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status webhook_queue_add(struct tg_db *db, const char *event, struct tg_slice body, int64_t now_ms,
                                 struct webhook_ids *full, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(
        db, "SELECT n, (SELECT count(*) < " TEXT(WEBHOOK_QUEUE) " AND total(length(body)) < ?2 "
            "FROM webhook_queue WHERE webhook = webhooks.n), id FROM webhooks WHERE active AND EXISTS "
            "(SELECT 1 FROM json_each(webhooks.events) WHERE value = '*' OR value = ?1) ORDER BY n");
    struct delivery d = {.event = tg_slice_str(event), .body = body, .made_ms = now_ms};
    enum tg_status st = TG_OK, ended;

    tg_query_bind_text(q, 1, d.event);
    tg_query_bind_int(q, 2, WEBHOOK_QUEUE_BYTES);
    full->count = 0;
    while (st == TG_OK && tg_query_row(q)) {
        struct tg_slice id = tg_query_bytes(q, 2);

        if (tg_query_int(q, 1))
            st = add_one(db, tg_query_int(q, 0), &d, err);
        else if (full->count < WEBHOOKS_MAX)
            snprintf(full->ids[full->count++], sizeof(full->ids[0]), TG_S_FMT, TG_S_ARG(id));
    }
    ended = tg_query_end(q, st == TG_OK ? err : NULL);
    return st != TG_OK ? st : ended;
}

static enum tg_status each_delivery(struct tg_query *q, void (*each)(void *arg, const struct delivery *d), void *arg,
                                    struct tg_err *err)
{
    while (tg_query_row(q)) {
        struct delivery d = {
            .seq = tg_query_int(q, 0), .webhook = tg_query_int(q, 1), .id = tg_query_bytes(q, 2),
            .event = tg_query_bytes(q, 3), .body = tg_query_bytes(q, 4), .tries = tg_query_int(q, 5),
            .due_ms = tg_query_int(q, 6), .made_ms = tg_query_int(q, 7), .webhook_id = tg_query_bytes(q, 8),
            .url = tg_query_bytes(q, 9), .secret = tg_query_bytes(q, 10),
        };

        each(arg, &d);
    }
    return tg_query_end(q, err);
}

#define DELIVERY "SELECT q.seq, q.webhook, q.id, q.event, q.body, q.tries, q.due_ms, q.made_ms, w.id, w.url, w.secret "

enum tg_status webhook_queue_heads(struct tg_db *db, void (*each)(void *arg, const struct delivery *d), void *arg,
                                   struct tg_err *err)
{
    return each_delivery(tg_db_query(db, DELIVERY "FROM webhooks w JOIN webhook_queue q ON q.seq = "
                                     "(SELECT min(seq) FROM webhook_queue WHERE webhook = w.n) "
                                     "WHERE w.active ORDER BY q.due_ms, q.seq"), each, arg, err);
}

enum tg_status webhook_queue_old(struct tg_db *db, int64_t before_ms,
                                 void (*each)(void *arg, const struct delivery *d), void *arg, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, DELIVERY "FROM webhook_queue q JOIN webhooks w ON w.n = q.webhook "
                                     "WHERE q.made_ms < ?1 ORDER BY q.seq LIMIT 100");

    tg_query_bind_int(q, 1, before_ms);
    return each_delivery(q, each, arg, err);
}

enum tg_status webhook_queue_remove(struct tg_db *db, int64_t seq, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "DELETE FROM webhook_queue WHERE seq = ?1");

    tg_query_bind_int(q, 1, seq);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status webhook_queue_delay(struct tg_db *db, int64_t seq, int64_t due_ms, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "UPDATE webhook_queue SET tries = tries + 1, due_ms = ?2 WHERE seq = ?1");

    tg_query_bind_int(q, 1, seq);
    tg_query_bind_int(q, 2, due_ms);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status webhook_tell_tried(struct tg_db *db, int64_t webhook, int64_t now_s, unsigned status,
                                  struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "UPDATE webhooks SET last_s = ?2, last_status = ?3 WHERE n = ?1");

    tg_query_bind_int(q, 1, webhook);
    tg_query_bind_int(q, 2, now_s);
    if (status)
        tg_query_bind_int(q, 3, status);
    tg_query_row(q);
    return tg_query_end(q, err);
}
