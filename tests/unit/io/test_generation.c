/*
 * generation - a bump is seen by every mapping and process at once, nothing is seen as the same again by mistake, and a
 * file that is deleted, replaced or cut under a reader ends nobody.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "io/generation.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUMPS 20000

static char folder[] = "/tmp/tg-generation-XXXXXX", path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/generation", folder);
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct tg_generation *open_it(void)
{
    struct tg_generation *g = NULL;
    struct tg_err err;

    if (tg_generation_open(path, &g, &err) != TG_OK)
        fail_msg("%s", err.text);
    return g;
}

static void made_once_for_the_owner_alone(void **state)
{
    struct tg_generation *one, *other;
    struct stat st;

    (void)state;
    unlink(path);
    one = open_it();
    assert_true(tg_generation_is_young(one));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 16);
    assert_true(st.st_blocks > 0);                       /* no hole: storing into it needs no place on the disk */
    tg_generation_bump(one);
    other = open_it();
    assert_true(tg_generation_is_young(other));          /* whoever made it */
    tg_generation_is_first(one);
    assert_false(tg_generation_is_young(other));
    assert_int_equal(tg_generation_now(other), tg_generation_now(one));
    tg_generation_bump(other);
    assert_int_equal(tg_generation_now(one), 2);
    tg_generation_close(one);
    tg_generation_close(other);
    tg_generation_close(NULL);
}

static void *bump_often(void *arg)
{
    for (int i = 0; i < BUMPS; i++)
        tg_generation_bump(arg);
    return NULL;
}

/* None is lost between threads and processes, not even those of one that is killed. */
static void counts_them_all(void **state)
{
    struct tg_generation *g, *theirs;
    pthread_t threads[2];
    int status, lines[2];
    pid_t child;
    char c;

    (void)state;
    unlink(path);
    g = open_it();
    assert_int_equal(pipe(lines), 0);
    child = fork();
    if (child == 0) {
        theirs = open_it();
        bump_often(theirs);
        _exit(write(lines[1], "!", 1) == 1 && pause() ? 0 : 1);
    }
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, bump_often, g);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(read(lines[0], &c, 1), 1);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(tg_generation_now(g), 3 * BUMPS);
    tg_generation_close(g);
    close(lines[0]);
    close(lines[1]);
}

static void void_is_for_one_process(void **state)
{
    struct tg_generation *one, *other;
    uint64_t before;

    (void)state;
    one = open_it();
    other = open_it();
    before = tg_generation_now(one);
    tg_generation_void(one);
    assert_int_not_equal(tg_generation_now(one), before);
    assert_int_equal(tg_generation_now(other), before);
    tg_generation_close(one);
    tg_generation_close(other);
}

static void write_file(const char *text, int flags)
{
    int fd = open(path, O_WRONLY | flags, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* What happens to the file under a mapping: the value is another at the latest after tg_generation_renew. */
static void outlives_its_file(void **state)
{
    static const char *const what[] = {"nothing", "deleted", "replaced", "cut", "cut and written"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        struct tg_generation *g, *other;
        bool renewed = false;
        uint64_t before;

        unlink(path);
        g = open_it();
        tg_generation_bump(g);
        before = tg_generation_now(g);
        switch (i) {
        case 1: unlink(path); break;
        case 2: unlink(path); write_file("12345678", O_CREAT); break;
        case 3: assert_int_equal(truncate(path, 0), 0); break;
        case 4: write_file("0\n", O_TRUNC); break;
        }
        if (i == 3)
            assert_int_not_equal(tg_generation_now(g), before); /* it is read, and nobody dies */
        assert_int_equal(tg_generation_renew(g, &renewed, NULL), TG_OK);
        assert_int_equal(renewed, i > 0);
        if (i > 0)
            assert_int_not_equal(tg_generation_now(g), before);
        before = tg_generation_now(g);
        other = open_it();                           /* what others open now is what is mapped here */
        tg_generation_bump(other);
        assert_int_equal(tg_generation_now(g), before + 1);
        assert_int_equal(tg_generation_renew(g, &renewed, NULL), TG_OK);
        assert_false(renewed);
        tg_generation_close(g);
        tg_generation_close(other);
    }
}

static void says_why_not(void **state)
{
    struct rlimit none = {0, RLIM_INFINITY}, usual;
    struct tg_generation *g = NULL;
    struct tg_err err;

    (void)state;
    assert_int_equal(tg_generation_open("/tmp/tg-no-such-folder/generation", &g, &err), TG_NOT_FOUND);
    assert_string_equal(err.text, "/tmp/tg-no-such-folder/generation: cannot be opened: No such file or directory");
    assert_int_equal(tg_generation_open(folder, &g, &err), TG_IO);
    unlink(path);
    getrlimit(RLIMIT_FSIZE, &usual);
    none.rlim_max = usual.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none);
    assert_int_equal(tg_generation_open(path, &g, &err), TG_IO);
    setrlimit(RLIMIT_FSIZE, &usual);
    assert_non_null(strstr(err.text, "cannot be written: File too large"));
    assert_null(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_once_for_the_owner_alone), cmocka_unit_test(counts_them_all),
        cmocka_unit_test(void_is_for_one_process),       cmocka_unit_test(outlives_its_file),
        cmocka_unit_test(says_why_not),
    };

    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
