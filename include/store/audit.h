/*
 * audit - who changed what, and who was denied: entries in SQLite, bounded by age and size.
 *
 * Changes are written in the transaction that makes them (tg_audit_put). Decisions come from workers (tg_audit_note):
 * put into a bounded ring without waiting and written in batches by a thread of its own; what the ring could not hold
 * is counted, in a metric and as one entry that says how many. An entry holds no token, secret, header or query.
 */
#pragma once
#include "io/db.h"
#include "base/setting.h"

struct tg_audit;

struct tg_audit_settings {                               /* `audit` of the file */
    bool set;                                            /* the section is there, or management is */
    bool denied, allowed;                                /* decisions: 401, 403; and those that went on */
    int64_t retention_ms;                                /* 0: by size alone */
    uint64_t max_bytes;                                  /* of all entries, about */
};
extern const struct tg_setting tg_audit_rows[];
extern const size_t tg_audit_row_count;

struct tg_audit_entry {                                  /* empty slices: not said */
    int64_t time_us;                                     /* wall clock */
    struct tg_slice actor;                               /* "operator:alice", "api-user:ID (NAME)", "ISSUER SUBJECT" */
    struct tg_slice action;                              /* "policy.create", "auth.denied", "request.denied" */
    struct tg_slice resource;                            /* "policy:ID", "route:NAME" */
    struct tg_slice result;                              /* "success", "denied", "failure" */
    struct tg_slice source_ip, request_id;
    struct tg_slice details;                             /* a JSON object's text */
};

/* Starts the thread; state_dir/tollgate.db is made when missing. */
enum tg_status tg_audit_new(const char *state_dir, const struct tg_audit_settings *settings, unsigned workers,
                            struct tg_audit **out, struct tg_err *err);
void tg_audit_free(struct tg_audit *a);                  /* writes what is waiting; NULL is fine */
void tg_audit_bind(struct tg_audit *a, const struct tg_audit_settings *settings);
bool tg_audit_wants(const struct tg_audit *a, bool denied); /* one atomic load; `a` NULL: false */
/* From a worker (its index): copied, cut to bounds, never waits. */
void tg_audit_note(struct tg_audit *a, unsigned worker, const struct tg_audit_entry *entry);
void tg_audit_describe(struct tg_audit *a, struct tg_buf *out);

/* ---- with a database of the caller's, on its thread ---- */
enum tg_status tg_audit_prepare(struct tg_db *db, struct tg_err *err); /* its tables brought up to date */
enum tg_status tg_audit_put(struct tg_db *db, const struct tg_audit_entry *entry, struct tg_err *err);
struct tg_audit_query {                                  /* empty: any */
    int64_t from_us, to_us;                              /* [from, to); 0: no bound */
    struct tg_slice action, actor, resource, result;     /* exact; action and resource also by "prefix*" */
    uint64_t limit, offset;                              /* limit 0: all */
};
/* Newest first. *total (may be NULL): how many match. */
enum tg_status tg_audit_list(struct tg_db *db, const struct tg_audit_query *query,
                             void (*each)(void *arg, const struct tg_audit_entry *e, int64_t n), void *arg,
                             uint64_t *total, struct tg_err *err);
void tg_audit_json(const struct tg_audit_entry *entry, int64_t n, struct tg_buf *out); /* one object, as v1 shows it */
