/*
 * db - one SQLite file: its schema brought up to date, statements with bound values, errors in words.
 *
 * The file is in WAL mode, with synchronous FULL: what was committed is there after a loss of power, and readers do not
 * wait for a writer. Several processes may have it open; whoever waits for another's lock does so for TG_DB_BUSY_MS at
 * most. The tables in it belong to parts: each module that has some brings its own steps, and its SQL statements live
 * with it, not here.
 *
 * Threads: a tg_db is used by one thread at a time. SQLite waits for disks and for other processes, so a process that
 * serves uses it on a thread of its own: a tg_worker started for that, with jobs posted to it (tg_worker_post).
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define TG_DB_BUSY_MS 5000

struct tg_db;

/*
 * Opens `path`, or makes it (mode 0600). TG_NOT_FOUND: its folder does not exist; TG_DENIED; TG_UNAVAILABLE: another
 * process holds a lock; TG_BAD_INPUT: the file is damaged or no database of tollgate; TG_UNSUPPORTED: of a newer
 * tollgate. The sentence begins with the path.
 */
enum tg_status tg_db_open(const char *path, struct tg_db **out, struct tg_err *err);
void tg_db_close(struct tg_db *db);                      /* every query of it has ended; NULL is fine */
int tg_db_set_patience(struct tg_db *db, int ms);        /* instead of TG_DB_BUSY_MS; what it was before */

/*
 * The tables of one module. Step i is SQL that takes them from version i to version i + 1, so steps are only ever added
 * behind the others, never changed once somebody may have run them.
 */
struct tg_db_part {
    const char *name;
    const char *const *steps;
    size_t step_count;
};
/* Runs the steps that are missing, all or none. TG_UNSUPPORTED: a newer tollgate has been here. */
enum tg_status tg_db_upgrade(struct tg_db *db, const struct tg_db_part *part, struct tg_err *err);

/* ---- transactions ---- */
enum tg_status tg_db_begin(struct tg_db *db, struct tg_err *err);      /* for writing: waits for other writers here */
enum tg_status tg_db_begin_read(struct tg_db *db, struct tg_err *err); /* all that is read is of one moment */
enum tg_status tg_db_commit(struct tg_db *db, struct tg_err *err);     /* when it fails nothing was changed */
void tg_db_rollback(struct tg_db *db);                                 /* nothing when none is open */

/* ---- statements: begin, bind, rows, end ---- */
struct tg_query;
/* Never NULL: what is wrong is kept, and told by tg_query_end. Parameters count from 1, columns from 0. */
struct tg_query *tg_db_query(struct tg_db *db, const char *sql);
void tg_query_bind_int(struct tg_query *q, int at, int64_t value);
void tg_query_bind_text(struct tg_query *q, int at, struct tg_slice value); /* borrowed until the query ends */
void tg_query_bind_blob(struct tg_query *q, int at, struct tg_slice value); /* likewise */
void tg_query_bind_null(struct tg_query *q, int at);
/* The next row; false: there is none, or something went wrong. A statement without rows runs at the first call. */
bool tg_query_row(struct tg_query *q);
int64_t tg_query_int(struct tg_query *q, int column);
struct tg_slice tg_query_bytes(struct tg_query *q, int column); /* text or blob; good until the next row */
bool tg_query_is_null(struct tg_query *q, int column);
int64_t tg_query_int_or(struct tg_query *q, int column, int64_t without); /* `without`: of NULL */
void tg_query_again(struct tg_query *q);                 /* from its start, with what is bound anew */
/* Frees it. TG_OK only when nothing went wrong since it was begun. */
enum tg_status tg_query_end(struct tg_query *q, struct tg_err *err);
/* A statement without values and rows. */
enum tg_status tg_db_run(struct tg_db *db, const char *sql, struct tg_err *err);

/* ---- trouble from outside ---- */
/*
 * Whether the path still names the file that is open: not when it was deleted, or another one put in its place, or the
 * -shm file beside it was cut. Then it is to be closed and opened again.
 */
bool tg_db_is_in_place(const struct tg_db *db);
/* A number that moves with every commit of another connection or process; -1: it cannot be read. */
int64_t tg_db_version(struct tg_db *db);
/* Reads it whole (some 100 MB a second): TG_BAD_INPUT, and what SQLite says, when it is damaged. */
enum tg_status tg_db_check(struct tg_db *db, struct tg_err *err);
