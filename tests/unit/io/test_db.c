/*
 * db - opened by many at once, upgraded step by step, refused when newer or foreign or damaged; what fails changes
 * nothing and says what it was.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "io/db.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 8
#define ROWS 25

static char folder[] = "/tmp/tg-db-XXXXXX", path[64];
static const char *const steps[] = {
    "CREATE TABLE notes (n INTEGER PRIMARY KEY, words TEXT NOT NULL UNIQUE) STRICT",
    "ALTER TABLE notes ADD COLUMN data BLOB; CREATE INDEX notes_data ON notes (data)",
    "CREATE TABLE more (n INTEGER); NONSENSE",
};
static const struct tg_db_part first = {"notes", steps, 1}, second = {"notes", steps, 2}, broken = {"notes", steps, 3};

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/x.db", folder);
    signal(SIGXFSZ, SIG_IGN);
    return 0;
}

static int remove_files(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char name[80];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
    return 0;
}

static int drop_folder(void **state)
{
    remove_files(state);
    return rmdir(folder);
}

static void expect_words(const struct tg_err *err, const char *words)
{
    if (!strstr(err->text, words))
        fail_msg("\"%s\" is not in \"%s\"", words, err->text);
}

static struct tg_db *open_it(void)
{
    struct tg_db *db = NULL;
    struct tg_err err;

    if (tg_db_open(path, &db, &err) != TG_OK)
        fail_msg("%s", err.text);
    return db;
}

static void expect_ok(enum tg_status st, const struct tg_err *err)
{
    if (st != TG_OK)
        fail_msg("%s", err->text);
}

static enum tg_status add_note(struct tg_db *db, const char *words, struct tg_err *err)
{
    struct tg_query *q = tg_db_query(db, "INSERT INTO notes (words) VALUES (?1)");

    tg_query_bind_text(q, 1, tg_slice_str(words));
    assert_false(tg_query_row(q));
    return tg_query_end(q, err);
}

static int64_t count_notes(struct tg_db *db)
{
    struct tg_query *q = tg_db_query(db, "SELECT count(*) FROM notes");
    int64_t n = tg_query_row(q) ? tg_query_int(q, 0) : -1;

    assert_int_equal(tg_query_end(q, NULL), TG_OK);
    return n;
}

static void of_its_owner_alone(void **state)
{
    struct tg_db *db = open_it();
    struct stat st;
    char name[80];

    (void)state;
    assert_int_equal(tg_db_upgrade(db, &first, NULL), TG_OK);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, i == 0 ? "" : i == 1 ? "-wal" : "-shm");
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    tg_db_close(db);
    tg_db_close(NULL);
}

static void values_there_and_back(void **state)
{
    static const char bytes[] = {'a', '\0', (char)0xff, 'z'};
    struct tg_db *db = open_it();
    struct tg_err err;
    struct tg_query *q;

    (void)state;
    expect_ok(tg_db_upgrade(db, &second, &err), &err);
    q = tg_db_query(db, "INSERT INTO notes (n, words, data) VALUES (?1, ?2, ?3)");
    for (int i = 0; i < 2; i++) {
        tg_query_again(q);
        tg_query_bind_int(q, 1, i ? INT64_MAX : INT64_MIN);
        tg_query_bind_text(q, 2, i ? TG_S("") : TG_S("x'; DROP TABLE notes; --"));
        if (i)
            tg_query_bind_null(q, 3);
        else
            tg_query_bind_blob(q, 3, tg_slice(bytes, sizeof bytes));
        assert_false(tg_query_row(q));
    }
    expect_ok(tg_query_end(q, &err), &err);
    q = tg_db_query(db, "SELECT n, words, data FROM notes ORDER BY n");
    assert_true(tg_query_row(q));
    assert_true(tg_query_int(q, 0) == INT64_MIN);
    assert_true(tg_slice_eq(tg_query_bytes(q, 1), TG_S("x'; DROP TABLE notes; --")));
    assert_true(tg_slice_eq(tg_query_bytes(q, 2), tg_slice(bytes, sizeof bytes)));
    assert_true(tg_query_row(q));
    assert_true(tg_query_int(q, 0) == INT64_MAX);
    assert_int_equal(tg_query_bytes(q, 1).len, 0);
    assert_true(tg_query_is_null(q, 2));
    assert_false(tg_query_row(q));
    expect_ok(tg_query_end(q, &err), &err);
    tg_db_close(db);
}

/* The first thing that is wrong is told, and what follows does nothing. */
static void faults_are_kept(void **state)
{
    struct tg_db *db = open_it();
    struct tg_query *q;
    struct tg_err err;

    (void)state;
    expect_ok(tg_db_upgrade(db, &first, &err), &err);
    q = tg_db_query(db, "SELECT x FROM nowhere");
    tg_query_bind_int(q, 1, 1);
    tg_query_again(q);
    assert_false(tg_query_row(q));
    assert_int_equal(tg_query_end(q, &err), TG_IO);
    expect_words(&err, "no such table: nowhere");
    q = tg_db_query(db, "INSERT INTO notes (words) VALUES (?1)");
    for (int i = 0; i < 3; i++) {                        /* the second breaks UNIQUE, the third would be fine */
        tg_query_again(q);
        tg_query_bind_text(q, 1, i == 2 ? TG_S("other") : TG_S("same"));
        tg_query_row(q);
    }
    assert_int_equal(tg_query_end(q, &err), TG_IO);
    expect_words(&err, "UNIQUE");
    assert_int_equal(count_notes(db), 1);
    tg_db_close(db);
}

static void transactions_are_whole(void **state)
{
    struct tg_db *db = open_it(), *other = open_it();
    struct tg_err err;
    int64_t before;

    (void)state;
    expect_ok(tg_db_upgrade(db, &first, &err), &err);
    before = tg_db_version(other);
    expect_ok(tg_db_begin(db, &err), &err);
    expect_ok(add_note(db, "a", &err), &err);
    assert_int_equal(count_notes(other), 0);             /* readers do not wait, and do not see it */
    tg_db_set_patience(other, 10);
    assert_int_equal(tg_db_begin(other, &err), TG_UNAVAILABLE);
    expect_words(&err, "another process keeps the database locked");
    tg_db_rollback(db);
    tg_db_rollback(db);
    assert_int_equal(count_notes(db), 0);
    assert_int_equal(tg_db_version(other), before);
    expect_ok(tg_db_begin_read(other, &err), &err);
    assert_int_equal(count_notes(other), 0);
    expect_ok(add_note(db, "b", &err), &err);
    assert_int_equal(count_notes(other), 0);             /* of one moment */
    expect_ok(tg_db_commit(other, &err), &err);
    assert_int_equal(count_notes(other), 1);
    assert_int_not_equal(tg_db_version(other), before);
    tg_db_close(db);
    tg_db_close(other);
}

static void steps_are_run_once(void **state)
{
    struct tg_db *db = open_it();
    struct tg_err err;

    (void)state;
    expect_ok(tg_db_upgrade(db, &first, &err), &err);
    expect_ok(add_note(db, "kept", &err), &err);
    expect_ok(tg_db_upgrade(db, &first, &err), &err);
    assert_int_equal(tg_db_upgrade(db, &broken, &err), TG_IO); /* both steps or none */
    expect_ok(tg_db_run(db, "SELECT words FROM notes", &err), &err);
    assert_int_not_equal(tg_db_run(db, "SELECT data FROM notes", &err), TG_OK);
    tg_db_close(db);
    db = open_it();
    expect_ok(tg_db_upgrade(db, &second, &err), &err);
    expect_ok(tg_db_run(db, "SELECT data FROM notes", &err), &err);
    assert_int_equal(count_notes(db), 1);
    assert_int_equal(tg_db_upgrade(db, &first, &err), TG_UNSUPPORTED);
    expect_words(&err, "x.db: a newer tollgate has written this database (notes are at version 2, known "
                 "here: 1); use that one");
    expect_ok(tg_db_check(db, &err), &err);
    tg_db_close(db);
}

static void refuse(const char *sql, enum tg_status want, const char *words)
{
    struct tg_db *db = open_it();
    struct tg_err err;

    expect_ok(tg_db_run(db, sql, &err), &err);
    tg_db_close(db);
    assert_int_equal(tg_db_open(path, &db, &err), want);
    expect_words(&err, words);
}

static void newer_is_refused(void **state)
{
    (void)state;
    refuse("PRAGMA user_version = 2", TG_UNSUPPORTED, "newer tollgate");
}

static void foreign_is_refused(void **state)
{
    (void)state;
    refuse("PRAGMA application_id = 7", TG_BAD_INPUT, "no database of tollgate");
}

static void damage_in_words(void **state)
{
    struct tg_db *db = open_it();
    struct tg_err err;
    char page[4096];
    int fd;

    (void)state;
    expect_ok(tg_db_upgrade(db, &first, &err), &err);
    for (int i = 0; i < 2000; i++) {
        snprintf(page, sizeof page, "note %d", i);
        expect_ok(add_note(db, page, &err), &err);
        if (i == 0)
            expect_ok(tg_db_run(db, "PRAGMA synchronous = OFF", &err), &err);
    }
    expect_ok(tg_db_check(db, &err), &err);
    tg_db_close(db);
    memset(page, 0x5a, sizeof page);
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, page, sizeof page, 5 * (off_t)sizeof page), sizeof page);
    close(fd);
    db = open_it();                                      /* its first page is fine */
    assert_int_equal(tg_db_check(db, &err), TG_BAD_INPUT);
    expect_words(&err, "x.db: the database is damaged (");
    tg_db_close(db);
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, page, sizeof page, 0), sizeof page);
    close(fd);
    assert_int_equal(tg_db_open(path, &db, &err), TG_BAD_INPUT);
    expect_words(&err, "damaged");
}

static void full_disk_in_words(void **state)
{
    struct rlimit usual, small;
    struct tg_db *db = open_it();
    struct tg_err err;
    enum tg_status st = TG_OK;
    int64_t kept;

    (void)state;
    expect_ok(tg_db_upgrade(db, &first, &err), &err);
    expect_ok(add_note(db, "before", &err), &err);
    getrlimit(RLIMIT_FSIZE, &usual);
    small = (struct rlimit){65536, usual.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; st == TG_OK && i < 1000; i++) {
        char words[64];

        snprintf(words, sizeof words, "note %d", i);
        st = add_note(db, words, &err);
    }
    setrlimit(RLIMIT_FSIZE, &usual);
    assert_int_equal(st, TG_IO);
    expect_words(&err, "x.db: ");
    expect_words(&err, "a limit on the size of files is reached");
    kept = count_notes(db);
    assert_true(kept > 1);
    expect_ok(add_note(db, "after", &err), &err);
    expect_ok(tg_db_check(db, &err), &err);
    tg_db_close(db);
    db = open_it();
    assert_int_equal(count_notes(db), kept + 1);
    tg_db_close(db);
}

static void knows_its_place(void **state)
{
    struct tg_db *db = open_it();
    char beside[80];
    struct tg_err err;

    (void)state;
    assert_true(tg_db_is_in_place(db));
    snprintf(beside, sizeof beside, "%s.old", path);
    assert_int_equal(rename(path, beside), 0);
    assert_false(tg_db_is_in_place(db));
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_false(tg_db_is_in_place(db));
    tg_db_close(db);
    unlink(beside);
    assert_int_equal(tg_db_open("/tmp/tg-no-such-folder/x.db", &db, &err), TG_NOT_FOUND);
    assert_string_equal(err.text, "/tmp/tg-no-such-folder/x.db: cannot be made: No such file or directory");
    if (geteuid() != 0) {
        assert_int_equal(chmod(path, 0), 0);
        assert_int_equal(tg_db_open(path, &db, &err), TG_DENIED);
    }
}

static void one_of_many(unsigned number)
{
    struct tg_db *db = NULL;
    struct tg_err err = {0};
    enum tg_status st = tg_db_open(path, &db, &err);

    if (st == TG_OK)
        st = tg_db_upgrade(db, &second, &err);
    for (int i = 0; st == TG_OK && i < ROWS; i++) {
        char words[64];

        snprintf(words, sizeof words, "note %d of %u", i, number);
        st = tg_db_begin(db, &err);
        if (st == TG_OK)
            st = add_note(db, words, &err);
        if (st == TG_OK)
            st = tg_db_commit(db, &err);
    }
    if (st != TG_OK)
        fprintf(stderr, "%u: %s\n", number, err.text);
    tg_db_close(db);
    _exit(st == TG_OK ? 0 : 1);
}

/* Made, laid out, upgraded and written by many at once: none is told to come again. */
static void many_begin_at_once(void **state)
{
    pid_t children[PROCESSES];
    struct tg_db *db;
    int status;

    (void)state;
    for (unsigned i = 0; i < PROCESSES; i++)
        if ((children[i] = fork()) == 0)
            one_of_many(i);
    for (unsigned i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    db = open_it();
    assert_int_equal(count_notes(db), PROCESSES * ROWS);
    tg_db_close(db);
}

/* Killed at any moment: what was told to be committed is there, and nothing is damaged. */
static void killed_at_any_moment(void **state)
{
    struct tg_err err;

    (void)state;
    for (int round = 0; round < 12; round++) {
        struct tg_db *db = open_it();
        int lines[2], status, told = 0;
        int64_t before;
        pid_t child;
        char c;

        expect_ok(tg_db_upgrade(db, &first, &err), &err);
        before = count_notes(db);
        tg_db_close(db);
        assert_int_equal(pipe(lines), 0);
        child = fork();
        if (child == 0) {
            for (int i = 0;; i++) {
                char words[64];

                db = i == 0 ? open_it() : db;
                snprintf(words, sizeof words, "note %d of round %d", i, round);
                if (add_note(db, words, NULL) != TG_OK || write(lines[1], "!", 1) != 1)
                    _exit(1);
            }
        }
        close(lines[1]);
        usleep(3000 + 1700 * (useconds_t)round);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(lines[0], &c, 1) == 1)
            told++;
        close(lines[0]);
        db = open_it();
        assert_in_range(count_notes(db) - before, told, told + 1);
        expect_ok(tg_db_check(db, &err), &err);
        tg_db_close(db);
    }
}

/* What SQLite has mapped goes away under it: told once, and the file is as good as before. */
static void mapped_file_is_cut(void **state)
{
    char mapped[80];
    struct tg_err err;

    (void)state;
    snprintf(mapped, sizeof mapped, "%s-shm", path);
    for (int64_t round = 0; round < 3; round++) {
        struct tg_db *db = open_it();
        char words[32];

        expect_ok(tg_db_upgrade(db, &first, &err), &err);
        snprintf(words, sizeof words, "round %lld", (long long)round);
        assert_int_equal(add_note(db, words, &err), TG_OK);
        assert_int_equal(truncate(mapped, 0), 0);
        assert_int_equal(tg_db_begin(db, &err), TG_UNAVAILABLE);
        expect_words(&err, "-shm: was cut while the database was open");
        assert_int_equal(add_note(db, "lost", &err), TG_UNAVAILABLE);
        assert_false(tg_db_is_in_place(db));
        assert_int_equal(tg_db_version(db), -1);
        tg_db_close(db);
        db = open_it();
        assert_true(tg_db_is_in_place(db));
        assert_int_equal(count_notes(db), round + 1);
        expect_ok(tg_db_check(db, &err), &err);
        tg_db_close(db);
    }
}

#define TEST(t) cmocka_unit_test_teardown(t, remove_files)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_its_owner_alone), TEST(values_there_and_back), TEST(faults_are_kept), TEST(transactions_are_whole),
        TEST(steps_are_run_once), TEST(newer_is_refused), TEST(foreign_is_refused), TEST(damage_in_words),
        TEST(full_disk_in_words), TEST(knows_its_place), TEST(many_begin_at_once), TEST(killed_at_any_moment),
        TEST(mapped_file_is_cut),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
