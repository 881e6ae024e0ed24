/*
 * file - limits, secrets, replacing, and sentences that name the path.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static char folder[] = "/tmp/tollgate-file-XXXXXX";
static char path[64];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/f", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);                                /* fails when a temporary file was left */
}

static void put(struct tg_slice data)
{
    struct tg_err err = {0};

    assert_int_equal(tg_file_replace(path, data, 0600, &err), TG_OK);
}

static void limits(void **state)
{
    (void)state;
    static char big[70000];
    struct tg_buf got = {0};
    struct tg_err err = {0};

    memset(big, 'x', sizeof(big));
    for (size_t len = 0; len <= sizeof(big); len += 16384 - 1) {
        put(tg_slice(big, len));
        assert_int_equal(tg_file_read(path, len, &got, &err), TG_OK);
        assert_int_equal(got.len, len);
        if (len == 0)
            continue;
        assert_int_equal(tg_file_read(path, len - 1, &got, &err), TG_LIMIT);
        assert_int_equal(got.len, len);                  /* untouched on failure */
        assert_non_null(strstr(err.text, path));
    }
    assert_int_equal(tg_file_read("/dev/zero", 100000, &got, &err), TG_LIMIT);
    tg_buf_fini(&got);
}

static void what_cannot_be_read(void **state)
{
    (void)state;
    static const struct { const char *file; enum tg_status want; } cases[] = {
        {"/nonexistent/file", TG_NOT_FOUND}, {"/dev/null/below", TG_NOT_FOUND}, {"", TG_NOT_FOUND}, {"/tmp", TG_IO}};
    struct tg_buf got = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_err err = {0};

        assert_int_equal(tg_file_read(cases[i].file, 10, &got, &err), cases[i].want);
        assert_non_null(strstr(err.text, cases[i].file));
        assert_int_equal(tg_file_read(cases[i].file, 10, &got, NULL), cases[i].want);
        assert_null(got.data);
    }
    put(TG_S("x"));
    chmod(path, 0);
    if (geteuid() != 0)
        assert_int_equal(tg_file_read(path, 10, &got, NULL), TG_DENIED);
    tg_buf_fini(&got);
}

/* A named pipe, written to by another process `after_ms` from now; NULL: opened for writing and left alone. */
static pid_t writer(const char *pipe, unsigned after_ms, const char *text)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    usleep(after_ms * 1000);
    int fd = open(pipe, O_WRONLY);
    if (text && write(fd, text, strlen(text)) < 0)
        _exit(1);
    if (!text)
        pause();
    _exit(0);
}

/* A pipe is a file too, and its writer may come late, but not later than the patience of who reads. */
static void pipes(void **state)
{
    static const struct { const char *text, *want; unsigned after_ms; enum tg_status st; } cases[] = {
        {"early", "early", 0, TG_OK}, {"late", "late", 300, TG_OK}, {"", "", 100, TG_OK}, {NULL, "", 0, TG_IO}};
    struct tg_buf got = {0};
    char pipe[80];

    (void)state;
    snprintf(pipe, sizeof(pipe), "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t begin_ms = tg_clock_mono_ms();
        pid_t pid = writer(pipe, cases[i].after_ms, cases[i].text);
        struct tg_err err = {0};

        assert_int_equal(tg_file_read(pipe, 10, &got, &err), cases[i].st);
        assert_true(tg_slice_eq(tg_buf_slice(&got), tg_slice_str(cases[i].want)));
        assert_true(tg_clock_mono_ms() - begin_ms < (cases[i].text ? 9000 : 15000));
        if (cases[i].st != TG_OK)
            assert_non_null(strstr(err.text, "nobody writes to this pipe"));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        tg_buf_fini(&got);
    }
    unlink(pipe);
}

static void secrets(void **state)
{
    (void)state;
    static const struct { struct tg_slice in; enum tg_status st; struct tg_slice want; } cases[] = {
        {TG_S_INIT("abc"), TG_OK, TG_S_INIT("abc")},       {TG_S_INIT("abc\n"), TG_OK, TG_S_INIT("abc")},
        {TG_S_INIT("abc\r\n"), TG_OK, TG_S_INIT("abc")},   {TG_S_INIT("abc\n\n"), TG_OK, TG_S_INIT("abc\n")},
        {TG_S_INIT("abc\r"), TG_OK, TG_S_INIT("abc\r")},   {TG_S_INIT(" a \n"), TG_OK, TG_S_INIT(" a ")},
        {TG_S_INIT("\0\n"), TG_OK, TG_S_INIT("\0")},       {TG_S_INIT("\n"), TG_BAD_INPUT, {0}},
        {TG_S_INIT("\r\n"), TG_BAD_INPUT, {0}},            {TG_S_INIT(""), TG_BAD_INPUT, {0}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf got = {0};

        put(cases[i].in);
        assert_int_equal(tg_file_read_secret(path, &got, NULL), cases[i].st);
        assert_true(tg_slice_eq(tg_buf_slice(&got), cases[i].want));
        tg_buf_fini(&got);
    }
}

static void replacing(void **state)
{
    (void)state;
    struct stat st;
    struct tg_err err = {0};
    struct tg_buf got = {0};
    int before;

    put(TG_S("old"));
    before = open(path, O_RDONLY);
    assert_int_equal(tg_file_replace(path, TG_S("new"), 0640, &err), TG_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    char seen[4] = {0};
    assert_int_equal(read(before, seen, 3), 3);
    assert_string_equal(seen, "old");                    /* who had it open still reads the old whole */
    close(before);
    assert_int_equal(tg_file_read(path, 10, &got, NULL), TG_OK);
    assert_true(tg_slice_eq(tg_buf_slice(&got), TG_S("new")));
    tg_buf_fini(&got);
    assert_int_equal(tg_file_replace("/nonexistent/f", TG_S("x"), 0600, &err), TG_NOT_FOUND);
    assert_int_equal(tg_file_replace(folder, TG_S("x"), 0600, &err), TG_IO); /* a folder; leaves nothing behind */
}

static void beside(void **state)
{
    (void)state;
    static const struct { const char *base, *path, *want; } cases[] = {
        {"/etc/tollgate/t.yaml", "keys.json", "/etc/tollgate/keys.json"}, {"t.yaml", "keys.json", "keys.json"},
        {"/t.yaml", "k", "/k"}, {"a/b", "../k", "a/../k"}, {"/etc/t.yaml", "/abs", "/abs"}, {"a/", "k", "a/k"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *got = tg_file_beside(cases[i].base, cases[i].path);

        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

/* The stamp of a file that is swapped, rewritten, or only given other times; and of a link's target. */
static void stamps(void **state)
{
    char link_path[80];
    uint64_t none, first, second, third;
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

    (void)state;
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    unlink(path);
    none = tg_file_stamp(path);
    assert_int_equal(none, 1);
    put(TG_S("one"));
    first = tg_file_stamp(path);
    assert_true(first > 1);
    assert_true(tg_file_stamp(path) == first);
    put(TG_S("two"));
    second = tg_file_stamp(path);
    assert_true(second != first);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    third = tg_file_stamp(path);
    assert_true(third != second);
    assert_int_equal(symlink(path, link_path), 0);
    assert_true(tg_file_stamp(link_path) == third);
    unlink(link_path);
}

static void open_to_all(void **state)
{
    (void)state;
    put(TG_S("one"));
    assert_false(tg_file_is_open_to_all(path));
    assert_int_equal(chmod(path, 0604), 0);
    assert_true(tg_file_is_open_to_all(path));
    unlink(path);
    assert_false(tg_file_is_open_to_all(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits), cmocka_unit_test(what_cannot_be_read), cmocka_unit_test(pipes),
        cmocka_unit_test(secrets), cmocka_unit_test(replacing), cmocka_unit_test(beside),
        cmocka_unit_test(stamps), cmocka_unit_test(open_to_all)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
