/*
 * log - lines that stay lines, and a sink that nobody can hold up.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static char folder[] = "/tmp/tollgate-log-XXXXXX";
static char path[64], other[64];

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/log", folder);
    snprintf(other, sizeof(other), "%s/old", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

static void strings(void **state)
{
    (void)state;
    static const struct { const char *why; struct tg_slice in; const char *want; } cases[] = {
        {"plain", TG_S_INIT("abc"), "\"abc\""},
        {"empty", {NULL, 0}, "\"\""},
        {"quotes", TG_S_INIT("a\"\\b"), "\"a\\\"\\\\b\""},
        {"line ends", TG_S_INIT("a\r\n\tb"), "\"a\\r\\n\\tb\""},
        {"controls", TG_S_INIT("\0\x1b\x7f"), "\"\\u0000\\u001b\\u007f\""},
        {"C1 controls", TG_S_INIT("\xc2\x9b"), "\"\\u009b\""},
        {"UTF-8", TG_S_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"lone byte", TG_S_INIT("a\xff" "b"), "\"a\xef\xbf\xbd" "b\""},
        {"overlong", TG_S_INIT("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"surrogate", TG_S_INIT("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"beyond Unicode", TG_S_INIT("\xf4\x90\x80\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"cut at the end", TG_S_INIT("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"cut by a quote", TG_S_INIT("\xe2\x82\""), "\"\xef\xbf\xbd\xef\xbf\xbd\\\"\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf out = {0};
        char *exact = NULL;

        if (cases[i].in.len) {                           /* ASan sees a byte read too many */
            exact = malloc(cases[i].in.len);
            memcpy(exact, cases[i].in.ptr, cases[i].in.len);
        }
        tg_log_json_string(&out, tg_slice(exact, cases[i].in.len));
        if (strcmp(tg_buf_cstr(&out), cases[i].want) != 0)
            fail_msg("%s: %s", cases[i].why, out.data);
        free(exact);
        tg_buf_fini(&out);
    }
}

/* Every octet at every place of a string: as when it stands alone, between what is plain. */
static void strings_of_every_length(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++) {
        struct tg_buf alone = {0};
        char c = (char)octet;

        tg_log_json_string(&alone, tg_slice(&c, 1));
        for (size_t len = 1; len < 20; len++) {
            for (size_t at = 0; at < len; at++) {
                struct tg_buf out = {0}, want = {0};
                char *text = malloc(len);

                memset(text, 'a' + (int)at, len);
                text[at] = c;
                tg_buf_addc(&want, '"');
                for (size_t i = 0; i < len; i++)
                    tg_buf_add(&want, i == at ? alone.data + 1 : text + i, i == at ? alone.len - 2 : 1);
                tg_buf_addc(&want, '"');
                tg_log_json_string(&out, tg_slice(text, len));
                assert_int_equal(out.len, want.len);
                assert_memory_equal(out.data, want.data, want.len);
                free(text);
                tg_buf_fini(&out);
                tg_buf_fini(&want);
            }
        }
        tg_buf_fini(&alone);
    }
}

/* What `write_lines` puts on stderr. */
static void expect_stderr(void (*write_lines)(void), const char *want)
{
    int fds[2], saved = dup(STDERR_FILENO);
    char got[1024] = {0};

    assert_int_equal(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    write_lines();
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_true(read(fds[0], got, sizeof(got) - 1) >= 0);
    close(fds[0]);
    assert_string_equal(got, want);
}

static void json_lines(void)
{
    tg_log(TG_LOG_WARN, "keys \"not\" refreshed", TG_F_SLICE("issuer", TG_S("https://a\n")), TG_F_INT("age_s", -5));
    tg_log(TG_LOG_INFO, "bare");
    tg_log(TG_LOG_DEBUG, "below the level");
}

static void text_lines(void)
{
    tg_log(TG_LOG_ERROR, "it is so", TG_F_STR("a", "plain"), TG_F_STR("b", "two words"), TG_F_STR("c", ""),
           TG_F_STR("d", "x=\x1b"), TG_F_INT("n", 7), TG_F_STR("none", NULL));
}

static void lines(void **state)
{
    (void)state;
    enum tg_log_level level = TG_LOG_INFO;

    tg_clock_set_wall_ms(1795255200000);
    expect_stderr(json_lines,
                  "{\"time\":\"2026-11-21T10:00:00.000Z\",\"level\":\"warn\","
                  "\"message\":\"keys \\\"not\\\" refreshed\",\"issuer\":\"https://a\\n\",\"age_s\":-5}\n"
                  "{\"time\":\"2026-11-21T10:00:00.000Z\",\"level\":\"info\",\"message\":\"bare\"}\n");
    tg_log_set_text(true);
    expect_stderr(text_lines, "error it is so a=plain b=\"two words\" c=\"\" d=\"x=\\u001b\" n=7 none=\"\"\n");
    tg_log_set_level(TG_LOG_ERROR);
    expect_stderr(json_lines, "");
    tg_log_set_level(TG_LOG_INFO);
    tg_log_set_text(false);
    tg_clock_set_wall_ms(-1);
    assert_true(tg_log_level_parse(TG_S("debug"), &level) && level == TG_LOG_DEBUG);
    assert_false(tg_log_level_parse(TG_S("DEBUG"), &level) || tg_log_level_parse(TG_S(""), &level));
}

static struct tg_log_sink *open_sink(const char *output, size_t ring_bytes)
{
    struct tg_log_sink *sink = NULL;
    struct tg_err err = {0};

    if (tg_log_sink_open(tg_slice_str(output), ring_bytes, &sink, &err) != TG_OK)
        fail_msg("%s", err.text);
    return sink;
}

struct writer {
    struct tg_log_sink *sink;
    int id, count;
};

/* "3:17:" and a filler whose length and letter follow from the number, so that a torn line shows. */
static void *write_lines(void *arg)
{
    const struct writer *w = arg;
    char line[400];

    for (int i = 0; i < w->count; i++) {
        int n = snprintf(line, sizeof(line), "%d:%d:", w->id, i);
        size_t fill = (size_t)(i * 37 % 300);

        memset(line + n, 'a' + i % 26, fill);
        tg_log_sink_write(w->sink, tg_slice(line, (size_t)n + fill));
    }
    return NULL;
}

/* Every line whole and in its writer's order; returns how many. */
static uint64_t check_lines(struct tg_slice text)
{
    int last[4] = {-1, -1, -1, -1};
    uint64_t count = 0;
    struct tg_slice line, rest = text;

    while (rest.len && tg_slice_cut(rest, '\n', &line, &rest)) {
        struct tg_slice id, number, fill;
        uint64_t who = 0, n = 0;

        assert_true(tg_slice_cut(line, ':', &id, &fill) && tg_slice_cut(fill, ':', &number, &fill));
        assert_true(tg_slice_to_u64(id, &who) && who < 4 && tg_slice_to_u64(number, &n));
        assert_true((int)n > last[who]);
        last[who] = (int)n;
        assert_int_equal(fill.len, n * 37 % 300);
        for (size_t i = 0; i < fill.len; i++)
            assert_int_equal(fill.ptr[i], 'a' + n % 26);
        count++;
    }
    assert_int_equal(rest.len, 0);
    return count;
}

static void many_writers(void **state)                   /* a roomy ring loses nothing; a small one counts */
{
    (void)state;
    static const size_t rings[] = {(size_t)16 << 20, 4096, 65536};

    for (size_t r = 0; r < ARRAY_LEN(rings); r++) {
        struct tg_log_sink *sink = open_sink(path, rings[r]);
        struct writer writers[4];
        pthread_t ids[4];
        struct tg_buf got = {0};
        uint64_t dropped, count;

        for (int i = 0; i < 4; i++) {
            writers[i] = (struct writer){sink, i, 5000};
            assert_int_equal(pthread_create(&ids[i], NULL, write_lines, &writers[i]), 0);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(ids[i], NULL);
        dropped = tg_log_sink_dropped(sink);
        tg_log_sink_close(sink);
        assert_int_equal(tg_file_read(path, (size_t)64 << 20, &got, NULL), TG_OK);
        count = check_lines(tg_buf_slice(&got));
        assert_int_equal(count + dropped, 20000);
        if (r == 0)
            assert_int_equal(dropped, 0);
        tg_buf_fini(&got);
        unlink(path);
    }
}

static void wait_for_size(const char *file, off_t size)
{
    struct stat st = {0};

    for (int i = 0; i < 500 && (stat(file, &st) != 0 || st.st_size < size); i++)
        usleep(10000);
    assert_int_equal(st.st_size, size);
}

static void rotation(void **state)
{
    (void)state;
    struct tg_log_sink *sink = open_sink(path, 0);
    struct stat st;

    tg_log_sink_write(sink, TG_S("one"));
    wait_for_size(path, 4);                              /* a sleeping thread is woken by the first line */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0);
    assert_int_equal(rename(path, other), 0);
    tg_log_sink_reopen(sink);
    wait_for_size(path, 0);
    tg_log_sink_write(sink, TG_S("t\nw\ro"));            /* stays one line */
    tg_log_sink_write(sink, tg_slice(NULL, 0));
    wait_for_size(path, 7);
    wait_for_size(other, 4);
    tg_log_sink_close(sink);
    unlink(path);
}

static void a_reader_that_does_not_read(void **state)
{
    (void)state;
    struct tg_log_sink *sink;
    int64_t start;
    int reader;

    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(tg_log_sink_open(tg_slice_str(path), 0, &sink, NULL), TG_IO); /* nobody there: told */
    reader = open(path, O_RDONLY | O_NONBLOCK);
    sink = open_sink(path, 65536);
    start = tg_clock_mono_ms();
    write_lines(&(struct writer){sink, 0, 20000});
    assert_in_range(tg_clock_mono_ms() - start, 0, 2000);
    assert_true(tg_log_sink_dropped(sink) > 0);
    start = tg_clock_mono_ms();
    tg_log_sink_close(sink);
    assert_in_range(tg_clock_mono_ms() - start, 0, 2500);
    close(reader);
    unlink(path);
}

static void a_reader_that_went_away(void **state)
{
    (void)state;
    struct tg_log_sink *sink;
    int reader;

    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK);
    sink = open_sink(path, 0);
    close(reader);
    tg_log_sink_write(sink, TG_S("lost"));
    for (int i = 0; i < 500 && tg_log_sink_dropped(sink) == 0; i++)
        usleep(10000);
    assert_int_equal(tg_log_sink_dropped(sink), 1);
    reader = open(path, O_RDONLY | O_NONBLOCK);          /* and comes back */
    tg_log_sink_write(sink, TG_S("there"));
    tg_log_sink_close(sink);
    char got[16] = {0};
    assert_int_equal(read(reader, got, sizeof(got)), 6);
    assert_string_equal(got, "there\n");
    close(reader);
    unlink(path);
}

static void a_full_disk(void **state)
{
    (void)state;
    struct tg_log_sink *sink;
    int fd = open("/dev/full", O_WRONLY);

    if (fd < 0)
        skip();
    close(fd);
    sink = open_sink("/dev/full", 0);
    for (int i = 0; i < 100; i++)
        tg_log_sink_write(sink, TG_S("line"));
    for (int i = 0; i < 500 && tg_log_sink_dropped(sink) < 100; i++)
        usleep(10000);
    assert_int_equal(tg_log_sink_dropped(sink), 100);
    tg_log_sink_close(sink);
}

static void odd_ends(void **state)
{
    (void)state;
    struct tg_log_sink *sink = NULL;
    static char big[5000];

    assert_int_equal(tg_log_sink_open(TG_S(""), 0, &sink, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_log_sink_open(TG_S("a\0b"), 0, &sink, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_log_sink_open(TG_S("/nonexistent/log"), 0, &sink, NULL), TG_IO);
    assert_null(sink);
    tg_log_sink_close(NULL);
    sink = open_sink("stdout", 4096);
    memset(big, 'x', sizeof(big));
    tg_log_sink_write(sink, tg_slice(big, sizeof(big))); /* larger than the ring */
    assert_int_equal(tg_log_sink_dropped(sink), 1);
    tg_log_sink_reopen(sink);                            /* nothing to open again */
    tg_log_sink_close(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings), cmocka_unit_test(strings_of_every_length), cmocka_unit_test(lines),
        cmocka_unit_test(many_writers), cmocka_unit_test(rotation),
        cmocka_unit_test(a_reader_that_does_not_read), cmocka_unit_test(a_reader_that_went_away),
        cmocka_unit_test(a_full_disk), cmocka_unit_test(odd_ends)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
