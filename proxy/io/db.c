/*
 * db - around SQLite.
 *
 * POSIX forgets a process's locks on a file when any descriptor of it is closed, so nothing here opens the database but
 * SQLite, once it is there.
 *
 * SQLite maps the -shm file beside a database. When somebody cuts it (a copy that is put back over files in use does),
 * what is read of it is zeros from there on: that database is read and written no more, and its owner opens it again.
 */
#include "io/db.h"
#include "base/clock.h"
#include "io/lost_page.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION 1952932212                           /* "tgat": how file(1) and a tollgate know it */
#define LAYOUT 1                                         /* of what tollgate itself has in it: the table `parts` */
#define JOURNAL_BYTES 4194304                            /* a longer write-ahead log is cut again */
#define RETRY_MS 20
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)                     /* in a statement */
#define LOST_PAGE (SQLITE_IOERR | 200 << 8)              /* no code of SQLite's */

struct tg_db {
    sqlite3 *handle;
    char *path;
    int patience_ms;
    atomic_bool lost;                                    /* a page that SQLite had mapped */
    dev_t device;
    ino_t inode;
};
struct tg_query {
    struct tg_db *db;
    sqlite3_stmt *stmt;                                  /* NULL: it was no SQL */
    int fault;                                           /* the first; SQLITE_OK: none */
    char what[160];                                      /* SQLite's words for it */
    int system;                                          /* errno of it */
};

/* ---- faults in words ---- */

static enum tg_status status_of(int rc, int system)
{
    if (rc == LOST_PAGE)
        return TG_UNAVAILABLE;
    switch (rc & 0xff) {
    case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE: return TG_OK;
    case SQLITE_BUSY: case SQLITE_LOCKED: case SQLITE_PROTOCOL: return TG_UNAVAILABLE;
    case SQLITE_CORRUPT: case SQLITE_NOTADB: case SQLITE_FORMAT: return TG_BAD_INPUT;
    case SQLITE_PERM: case SQLITE_READONLY: case SQLITE_AUTH: return TG_DENIED;
    case SQLITE_CANTOPEN: return system == ENOENT ? TG_NOT_FOUND : system == EIO ? TG_IO : TG_DENIED;
    case SQLITE_TOOBIG: return TG_LIMIT;
    default: return TG_IO;
    }
}

static enum tg_status tell(struct tg_err *err, const char *path, int rc, int system, const char *what)
{
    enum tg_status st = status_of(rc, system);
    struct stat file;
    if (rc == LOST_PAGE)
        return tg_fail(err, st, "%s-shm: was cut while the database was open", path);

    bool writing = rc == SQLITE_IOERR_WRITE || rc == SQLITE_IOERR_SHMSIZE || rc == SQLITE_IOERR_FSYNC;

    if (writing)                                         /* errno is mostly lost by then */
        return tg_fail(err, st, "%s: cannot be written (%s); the disk is full, broken, or a limit on the size of files "
                       "is reached", path, system ? strerror(system) : what);
    if ((rc & 0xff) == SQLITE_CANTOPEN && st == TG_DENIED && stat(path, &file) == 0)
        return tg_fail(err, st, "%s: cannot be opened: %s; it belongs to the user with the id %u", path,
                       system ? strerror(system) : what, (unsigned)file.st_uid);
    switch (rc & 0xff) {
    case SQLITE_BUSY: case SQLITE_LOCKED: case SQLITE_PROTOCOL:
        return tg_fail(err, st, "%s: another process keeps the database locked", path);
    case SQLITE_CORRUPT: case SQLITE_NOTADB: case SQLITE_FORMAT:
        return tg_fail(err, st, "%s: the database is damaged (%s); restore it from a copy, or move it away to begin "
                       "anew", path, what);
    case SQLITE_FULL:
        return tg_fail(err, st, "%s: the disk is full", path);
    case SQLITE_READONLY: case SQLITE_PERM:
        return tg_fail(err, st, "%s: the database or its folder cannot be written%s%s", path, system ? ": " : "",
                       system ? strerror(system) : "");
    default:
        return tg_fail(err, st, "%s: %s%s%s", path, what, system ? ": " : "", system ? strerror(system) : "");
    }
}

/* Around what reads or writes the database. */
static void enter(struct tg_db *db)
{
    tg_lost_page_note(&db->lost);
}

static int leave(struct tg_db *db, int rc)
{
    tg_lost_page_note(NULL);
    return db->lost ? LOST_PAGE : rc;
}

static enum tg_status fault(const struct tg_db *db, int rc, struct tg_err *err)
{
    return tell(err, db->path, rc, sqlite3_system_errno(db->handle), sqlite3_errmsg(db->handle));
}

/* ---- statements ---- */

/* Of the first thing that went wrong: what follows it would only confuse. */
static void note(struct tg_query *q, int rc)
{
    if (q->fault != SQLITE_OK || rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
        return;
    q->fault = rc;
    q->system = sqlite3_system_errno(q->db->handle);
    snprintf(q->what, sizeof q->what, "%s", sqlite3_errmsg(q->db->handle));
}

struct tg_query *tg_db_query(struct tg_db *db, const char *sql)
{
    struct tg_query *q = TG_NEW(struct tg_query);

    q->db = db;
    enter(db);
    note(q, leave(db, sqlite3_prepare_v2(db->handle, sql, -1, &q->stmt, NULL)));
    return q;
}

void tg_query_bind_int(struct tg_query *q, int at, int64_t value)
{
    if (q->stmt)
        note(q, sqlite3_bind_int64(q->stmt, at, value));
}

void tg_query_bind_text(struct tg_query *q, int at, struct tg_slice value)
{
    if (q->stmt)
        note(q, sqlite3_bind_text64(q->stmt, at, value.ptr ? value.ptr : "", value.len, SQLITE_STATIC, SQLITE_UTF8));
}

void tg_query_bind_blob(struct tg_query *q, int at, struct tg_slice value)
{
    if (q->stmt)
        note(q, sqlite3_bind_blob64(q->stmt, at, value.ptr ? value.ptr : "", value.len, SQLITE_STATIC));
}

void tg_query_bind_null(struct tg_query *q, int at)
{
    if (q->stmt)
        note(q, sqlite3_bind_null(q->stmt, at));
}

bool tg_query_row(struct tg_query *q)
{
    int rc;

    if (q->fault != SQLITE_OK)
        return false;
    enter(q->db);
    rc = leave(q->db, sqlite3_step(q->stmt));
    note(q, rc);
    return rc == SQLITE_ROW;
}

int64_t tg_query_int(struct tg_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

struct tg_slice tg_query_bytes(struct tg_query *q, int column)
{
    const void *bytes = sqlite3_column_blob(q->stmt, column);

    return tg_slice(bytes, (size_t)sqlite3_column_bytes(q->stmt, column));
}

bool tg_query_is_null(struct tg_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

int64_t tg_query_int_or(struct tg_query *q, int column, int64_t without)
{
    return tg_query_is_null(q, column) ? without : tg_query_int(q, column);
}

void tg_query_again(struct tg_query *q)
{
    if (!q->stmt)
        return;
    enter(q->db);
    sqlite3_reset(q->stmt);                              /* a fault was noted when it happened */
    note(q, leave(q->db, SQLITE_OK));
}

enum tg_status tg_query_end(struct tg_query *q, struct tg_err *err)
{
    enum tg_status st = TG_OK;

    enter(q->db);
    sqlite3_finalize(q->stmt);
    note(q, leave(q->db, SQLITE_OK));
    if (q->fault != SQLITE_OK)
        st = tell(err, q->db->path, q->fault, q->system, q->what);
    free(q);
    return st;
}

enum tg_status tg_db_run(struct tg_db *db, const char *sql, struct tg_err *err)
{
    int rc;

    enter(db);
    rc = leave(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
    return rc == SQLITE_OK ? TG_OK : fault(db, rc, err);
}

/* ---- transactions ---- */

enum tg_status tg_db_begin(struct tg_db *db, struct tg_err *err)
{
    return tg_db_run(db, "BEGIN IMMEDIATE", err);
}

enum tg_status tg_db_begin_read(struct tg_db *db, struct tg_err *err)
{
    return tg_db_run(db, "BEGIN", err);
}

enum tg_status tg_db_commit(struct tg_db *db, struct tg_err *err)
{
    int rc;

    enter(db);
    rc = sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL);
    leave(db, rc);                                       /* what is in the log is committed, whatever was lost */
    if (rc == SQLITE_OK)
        return TG_OK;
    enum tg_status st = fault(db, rc, err);

    tg_db_rollback(db);
    return st;
}

void tg_db_rollback(struct tg_db *db)
{
    enter(db);
    if (!sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    leave(db, SQLITE_OK);
}

/* ---- the schema ---- */

static enum tg_status read_number(struct tg_db *db, const char *sql, int64_t *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, sql);
    int64_t value = tg_query_row(q) ? tg_query_int(q, 0) : 0;
    enum tg_status st = tg_query_end(q, err);

    if (st == TG_OK)
        *out = value;
    return st;
}

/* Whether it is ours, before anything in it is changed. In a transaction: another process may be laying it out. */
static enum tg_status recognise(struct tg_db *db, int64_t *layout, struct tg_err *err)
{
    int64_t application = 0, tables = 0;
    enum tg_status st = read_number(db, "PRAGMA application_id", &application, err);

    if (st == TG_OK)
        st = read_number(db, "PRAGMA user_version", layout, err);
    if (st == TG_OK)
        st = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (st != TG_OK)
        return st;
    if (application != APPLICATION && (application != 0 || tables > 0))
        return tg_fail(err, TG_BAD_INPUT, "%s: this is no database of tollgate", db->path);
    if (*layout > LAYOUT)
        return tg_fail(err, TG_UNSUPPORTED, "%s: a newer tollgate has written this database (layout %lld, known here: "
                       "%d); use that one", db->path, (long long)*layout, LAYOUT);
    return TG_OK;
}

static enum tg_status lay_out(struct tg_db *db, struct tg_err *err)
{
    int64_t layout = 0;
    enum tg_status st = tg_db_begin(db, err);

    if (st == TG_OK)
        st = recognise(db, &layout, err);                /* again: another may have been first */
    if (st == TG_OK && layout == 0)
        st = tg_db_run(db,
                       "CREATE TABLE parts (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;"
                       "PRAGMA application_id = " TEXT(APPLICATION) ";"
                       "PRAGMA user_version = " TEXT(LAYOUT), err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

static enum tg_status version_of(struct tg_db *db, const struct tg_db_part *part, int64_t *out, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "SELECT version FROM parts WHERE name = ?1");
    int64_t version = 0;
    enum tg_status st;

    tg_query_bind_text(q, 1, tg_slice_str(part->name));
    if (tg_query_row(q))
        version = tg_query_int(q, 0);
    st = tg_query_end(q, err);
    if (st != TG_OK)
        return st;
    if (version < 0 || version > (int64_t)part->step_count)
        return tg_fail(err, TG_UNSUPPORTED, "%s: a newer tollgate has written this database (%s are at version %lld, "
                       "known here: %zu); use that one", db->path, part->name, (long long)version, part->step_count);
    *out = version;
    return TG_OK;
}

static enum tg_status run_steps(struct tg_db *db, const struct tg_db_part *part, struct tg_err *err)
{
    int64_t version = 0;
    enum tg_status st = version_of(db, part, &version, err);
    struct tg_query *q;

    for (size_t i = (size_t)version; st == TG_OK && i < part->step_count; i++)
        st = tg_db_run(db, part->steps[i], err);
    if (st != TG_OK)
        return st;
    q = tg_db_query(db, "INSERT OR REPLACE INTO parts (name, version) VALUES (?1, ?2)");
    tg_query_bind_text(q, 1, tg_slice_str(part->name));
    tg_query_bind_int(q, 2, (int64_t)part->step_count);
    tg_query_row(q);
    return tg_query_end(q, err);
}

enum tg_status tg_db_upgrade(struct tg_db *db, const struct tg_db_part *part, struct tg_err *err)
{
    int64_t version = 0;
    enum tg_status st = version_of(db, part, &version, err);

    if (st != TG_OK || version == (int64_t)part->step_count)
        return st;
    st = tg_db_begin(db, err);
    if (st == TG_OK)
        st = run_steps(db, part, err);
    if (st == TG_OK)
        return tg_db_commit(db, err);
    tg_db_rollback(db);
    return st;
}

/* ---- opening ---- */

/* SQLite would make it readable to everybody; its companions (-wal, -shm) take the file's own mode. */
static enum tg_status make_file(const char *path, struct tg_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno == EEXIST ? TG_OK : tg_file_fail(err, path, "cannot be made");
    close(fd);
    return TG_OK;
}

static enum tg_status prepare(struct tg_db *db, struct tg_err *err)
{
    int64_t layout = 0;
    enum tg_status st = tg_db_begin_read(db, err);

    if (st == TG_OK)
        st = recognise(db, &layout, err);
    tg_db_rollback(db);
    if (st == TG_OK)
        st = tg_db_run(db,
                       "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                       "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
                       "PRAGMA journal_size_limit = " TEXT(JOURNAL_BYTES), err);
    if (st == TG_OK && layout < LAYOUT)
        st = lay_out(db, err);
    return st;
}

static enum tg_status open_once(const char *path, struct tg_db **out, struct tg_err *err)
{
    struct tg_db *db;
    struct stat st_buf;
    enum tg_status st = make_file(path, err);
    int rc;

    if (st != TG_OK)
        return st;
    db = TG_NEW(struct tg_db);
    db->path = tg_slice_dup(tg_slice_str(path));
    tg_lost_page_catch();
    rc = sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        st = tell(err, path, rc, db->handle ? sqlite3_system_errno(db->handle) : 0, sqlite3_errstr(rc));
    } else {
        sqlite3_extended_result_codes(db->handle, 1);
        tg_db_set_patience(db, TG_DB_BUSY_MS);
        st = prepare(db, err);
    }
    if (st == TG_OK && stat(path, &st_buf) != 0)
        st = tg_fail(err, TG_UNAVAILABLE, "%s: went away while it was opened", path);
    if (st != TG_OK) {
        tg_db_close(db);
        return st;
    }
    db->device = st_buf.st_dev;
    db->inode = st_buf.st_ino;
    *out = db;
    return TG_OK;
}

enum tg_status tg_db_open(const char *path, struct tg_db **out, struct tg_err *err)
{
    int64_t until_ms = tg_clock_mono_ms() + TG_DB_BUSY_MS;
    struct timespec pause = {0, RETRY_MS * 1000000};
    enum tg_status st;

    /* Where two make a file at once, SQLite says busy without waiting. */
    while ((st = open_once(path, out, err)) == TG_UNAVAILABLE && tg_clock_mono_ms() < until_ms)
        nanosleep(&pause, NULL);
    return st;
}

void tg_db_close(struct tg_db *db)
{
    int rc;

    if (!db)
        return;
    if (db->lost)                                        /* what it knows of the log is not to be acted on */
        sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    enter(db);
    rc = sqlite3_close(db->handle);
    leave(db, rc);
    tg_assert(rc == SQLITE_OK);                          /* else a query has not ended */
    free(db->path);
    free(db);
}

int tg_db_set_patience(struct tg_db *db, int ms)
{
    int before = db->patience_ms;

    db->patience_ms = ms;
    sqlite3_busy_timeout(db->handle, ms);
    return before;
}

/* ---- trouble from outside ---- */

bool tg_db_is_in_place(const struct tg_db *db)
{
    struct stat st;

    return !db->lost && stat(db->path, &st) == 0 && st.st_dev == db->device && st.st_ino == db->inode;
}

int64_t tg_db_version(struct tg_db *db)
{
    int64_t version = -1;

    return read_number(db, "PRAGMA data_version", &version, NULL) == TG_OK ? version : -1;
}

enum tg_status tg_db_check(struct tg_db *db, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "PRAGMA quick_check(1)");
    struct tg_buf said = {0};
    enum tg_status st;

    if (tg_query_row(q))
        tg_buf_add_slice(&said, tg_query_bytes(q, 0));
    st = tg_query_end(q, err);
    if (st == TG_OK && !tg_slice_eq(tg_buf_slice(&said), TG_S("ok")))
        st = tell(err, db->path, SQLITE_CORRUPT, 0, tg_buf_cstr(&said));
    tg_buf_fini(&said);
    return st;
}
