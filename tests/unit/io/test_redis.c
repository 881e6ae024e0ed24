/*
 * redis - a link against a real redis-server that is killed, stopped, flushed and refuses, and against a scripted one
 * that answers what no Redis would.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "redis_rig.h"

/* What came, as integers; and something that writes. */
#define ECHO "return {#KEYS, #ARGV, tonumber(ARGV[1] or 0)}"
#define SET "redis.call('set', KEYS[1], ARGV[1]) return {1}"

/* ---- a real server ---- */

static void over_tcp(void **state)
{
    struct server s = {0};
    struct rig g = {0};
    struct told t;
    int64_t before_us = tg_clock_mono_us();

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    t = rig_eval(&g, "k", "-42");
    assert_true(t.ok && !t.lost);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.numbers[0], 1);
    assert_int_equal(t.numbers[1], 1);
    assert_int_equal(t.numbers[2], -42);
    assert_true(before_us < t.sent_us && t.sent_us < t.answered_us && t.answered_us <= tg_clock_mono_us());
    assert_int_equal(rig_ask(&g, NULL, tg_slice_str("7"), 500), 500);
    rig_wait(&g, &g.answers, 501, "answers");
    assert_int_equal(g.last.numbers[0], 0);
    assert_int_equal(g.last.numbers[2], 7);
    tg_worker_call(g.worker, rig_read_counts, &g);
    assert_int_equal(g.counts.commands, 502);
    assert_int_equal(g.counts.errors, 0);
    assert_int_equal(g.counts.connects, 1);
    assert_int_equal(g.ups, 1);
    assert_int_equal(g.downs, 0);
    rig_stop(&g);
    server_stop(&s);
}

static void any_octets(void **state)
{
    static const char octets[] = "a\0b\r\n$5\r\n%s%b\xff";
    struct server s = {0};
    struct rig g = {0};

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), "return {#ARGV[1], string.byte(ARGV[1], -1)}");
    rig_wait_up(&g, 1);
    assert_int_equal(rig_ask(&g, "k", tg_slice(octets, sizeof(octets) - 1), 1), 1);
    rig_wait(&g, &g.answers, 1, "answers");
    assert_int_equal(g.last.numbers[0], sizeof(octets) - 1);
    assert_int_equal(g.last.numbers[1], 255);
    rig_stop(&g);
    server_stop(&s);
}

static void over_a_unix_socket_in_a_database(void **state)
{
    struct server s = {0};
    struct rig g = {0};
    char url[128], answer[64];

    (void)state;
    server_start(&s);
    snprintf(url, sizeof(url), "unix://%s?db=3", s.socket);
    rig_start(&g, url, SET);
    rig_wait_up(&g, 1);
    assert_true(rig_eval(&g, "k", "v").ok);
    rig_stop(&g);
    assert_true(server_says(&s, "INFO keyspace", answer, sizeof(answer)));
    assert_non_null(strstr(answer, "db3:keys=1"));
    assert_null(strstr(answer, "db0:"));
    server_stop(&s);
}

static const struct { const char *login, *rest, *why; } logins[] = {
    {":hunter2%40@", "", NULL},
    {"default:hunter2%40@", "/1", NULL},
    {"gate:p%2Fw@", "", NULL},
    {"nopass@", "", NULL},
    {":wrong%40@", "", "AUTH is refused: WRONGPASS"},
    {"gate:wrong%40@", "", "AUTH is refused: WRONGPASS"},
    {"nobody:hunter2%40@", "", "AUTH is refused: WRONGPASS"},
    {"", "", "SCRIPT LOAD is refused: NOAUTH"},
    {":hunter2%40@", "/99", "SELECT is refused: ERR DB index is out of range"},
    {"poor:poor@", "", "SCRIPT LOAD is refused: NOPERM"},
};

static void logins_and_databases(void **state)
{
    struct server s = {.more = {"--requirepass", "hunter2@", "--user", "gate", "on", ">p/w", "~*", "+@all",
                                "--user", "nopass", "on", "nopass", "~*", "+@all",
                                "--user", "poor", "on", ">poor", "~*", "+ping"}};

    (void)state;
    server_start(&s);
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        struct rig g = {0};

        rig_start(&g, server_url(&s, logins[i].login, logins[i].rest), ECHO);
        if (!logins[i].why) {
            rig_wait_up(&g, 1);
            assert_true(rig_eval(&g, "k", "1").ok);
        } else {
            rig_wait_down(&g, 1);
            if (!strstr(g.why, logins[i].why))
                fail_msg("%s: \"%s\" is not \"%s\"", logins[i].login, g.why, logins[i].why);
            assert_null(strstr(g.why, "wrong@"));
            assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 1), 0);
        }
        rig_stop(&g);
    }
    server_stop(&s);
}

/* The password that a server learns later lets the waiting link in. */
static void a_password_set_right_later(void **state)
{
    struct server s = {.more = {"--requirepass", "old"}};
    struct rig g = {0};
    char answer[64];

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, ":new@", ""), ECHO);
    rig_wait_down(&g, 1);
    assert_true(server_says(&s, "AUTH old\r\nCONFIG SET requirepass new", answer, sizeof(answer)));
    rig_wait_up(&g, 1);
    assert_int_equal(g.downs, 1);                        /* told once, however often it was tried */
    rig_stop(&g);
    server_stop(&s);
}

static void a_flushed_script_is_loaded_again(void **state)
{
    struct server s = {0};
    struct rig g = {0};

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    assert_true(rig_eval(&g, "k", "1").ok);
    for (unsigned i = 0; i < 3; i++) {
        unsigned before = g.answers;

        server_do(&s, "SCRIPT FLUSH");
        assert_int_equal(rig_ask(&g, "k", tg_slice_str("5"), 20), 20);
        rig_wait(&g, &g.answers, before + 20, "answers");
        assert_true(g.last.ok);
        assert_int_equal(g.last.numbers[2], 5);
    }
    assert_int_equal(g.downs, 0);
    assert_int_equal(g.lost, 0);
    rig_stop(&g);
    server_stop(&s);
}

/* Loading it again is forbidden meanwhile: the answer is the error, and nobody asks for ever. */
static void a_script_that_cannot_be_loaded_again(void **state)
{
    struct server s = {.more = {"--user", "gate", "on", ">pw", "~*", "+@all"}};
    struct rig g = {0};
    struct told t;

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "gate:pw@", ""), ECHO);
    rig_wait_up(&g, 1);
    server_do(&s, "ACL SETUSER gate -script");
    server_do(&s, "SCRIPT FLUSH");
    t = rig_eval(&g, "k", "1");
    assert_true(!t.ok && !t.lost);
    assert_memory_equal(t.error, "NOSCRIPT", 8);
    assert_int_equal(g.downs, 0);
    rig_stop(&g);
    server_stop(&s);
}

static const struct { const char *command, *error; } refusing[] = {
    {"CONFIG SET maxmemory 1", "OOM"},
    {"REPLICAOF 127.0.0.1 1", "READONLY"},
    {"ACL SETUSER default -set", "script"},
};

static void errors_are_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusing); i++) {
        struct server s = {0};
        struct rig g = {0};
        struct told t;

        server_start(&s);
        rig_start(&g, server_url(&s, "", ""), SET);
        rig_wait_up(&g, 1);
        assert_true(rig_eval(&g, "k", "v").ok);
        server_do(&s, refusing[i].command);
        t = rig_eval(&g, "k", "v");
        assert_true(!t.ok && !t.lost);
        if (!strstr(t.error, refusing[i].error))         /* some versions say what failed before */
            fail_msg("%s: %s", refusing[i].command, t.error);
        assert_int_equal(g.downs, 0);
        tg_worker_call(g.worker, rig_read_counts, &g);
        assert_int_equal(g.counts.errors, 1);
        rig_stop(&g);
        server_stop(&s);
    }
}

static void a_client_that_is_killed_comes_back(void **state)
{
    struct server s = {0};
    struct rig g = {0};

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    for (unsigned i = 1; i <= 3; i++) {
        server_do(&s, "CLIENT KILL TYPE normal");
        rig_wait_down(&g, i);
        rig_wait_up(&g, i + 1);
        assert_true(rig_eval(&g, "k", "1").ok);
    }
    assert_int_equal(g.lost, 0);
    rig_stop(&g);
    server_stop(&s);
}

static void a_server_that_is_killed_and_started_again(void **state)
{
    struct server s = {0};
    struct rig g = {0};
    int64_t back_ms;

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    kill(s.pid, SIGSTOP);                                /* so that it dies with these unanswered */
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 10), 10);
    server_kill(&s);
    rig_wait_down(&g, 1);
    rig_wait(&g, &g.lost, 10, "answers of a lost link");
    assert_int_equal(g.not_lost, 0);
    assert_string_equal(g.last.error, "");
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 1), 0);
    usleep(500000);
    assert_int_equal(g.downs, 1);
    server_run(&s);
    back_ms = tg_clock_mono_ms();
    rig_wait_up(&g, 2);
    assert_true(tg_clock_mono_ms() - back_ms < 3500);    /* the longest pause and a quarter, and a busy machine */
    assert_true(rig_eval(&g, "k", "1").ok);              /* the script, too, is there again */
    rig_stop(&g);
    server_stop(&s);
}

static void a_server_that_stands_still(void **state)
{
    struct server s = {0};
    struct rig g = {.options.dead_ms = 300};
    int64_t asked_ms;

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    usleep(500000);                                      /* nothing asked, nothing answered: that is no death */
    assert_int_equal(g.downs, 0);
    kill(s.pid, SIGSTOP);
    asked_ms = tg_clock_mono_ms();
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 1), 1);
    rig_wait_down(&g, 1);
    assert_true(tg_clock_mono_ms() - asked_ms >= 290);
    assert_non_null(strstr(g.why, "no answer within 300 ms"));
    assert_int_equal(g.lost, 1);
    usleep(700000);                                      /* it connects, for the kernel accepts, and is not answered */
    assert_int_equal(g.downs, 1);
    assert_int_equal(g.ups, 1);
    kill(s.pid, SIGCONT);
    rig_wait_up(&g, 2);
    assert_true(rig_eval(&g, "k", "1").ok);
    rig_stop(&g);
    server_stop(&s);
}

static void what_waits_is_bounded(void **state)
{
    struct server s = {0};
    struct rig g = {0}, big = {0};
    char *large = malloc(1 << 20);

    (void)state;
    memset(large, 'x', 1 << 20);
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_start(&big, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    rig_wait_up(&big, 1);
    kill(s.pid, SIGSTOP);
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 5000), 1024);
    assert_true(rig_ask(&big, "k", tg_slice(large, 1 << 20), 200) < 20);
    kill(s.pid, SIGCONT);
    rig_wait(&g, &g.answers, 1024, "answers");
    assert_true(rig_eval(&g, "k", "1").ok);
    rig_stop(&g);
    rig_stop(&big);
    server_stop(&s);
    free(large);
}

static void an_unknown_name(void **state)
{
    struct rig g = {.options.dead_ms = 500};

    (void)state;
    rig_start(&g, "redis://nowhere.invalid", ECHO);
    rig_wait_down(&g, 1);
    assert_non_null(strstr(g.why, "its name"));
    rig_stop(&g);
}

static void a_name_of_two_addresses(void **state)
{
    struct server s = {0};
    struct rig g = {0};
    char url[64];

    (void)state;
    server_start(&s);
    snprintf(url, sizeof(url), "redis://localhost:%u", (unsigned)s.port);
    rig_start(&g, url, ECHO);
    rig_wait_up(&g, 1);
    assert_int_equal(g.downs, 0);                        /* the other address is no failure */
    rig_stop(&g);
    server_stop(&s);
}

static void nobody_there(void **state)
{
    struct rig g = {0};
    char url[64];
    uint16_t port = 0;

    (void)state;
    close(listen_on_loopback(&port));
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", (unsigned)port);
    rig_start(&g, url, ECHO);
    rig_wait_down(&g, 1);
    assert_string_equal(g.why, "cannot connect: Connection refused");
    usleep(1000000);
    assert_int_equal(g.downs, 1);
    tg_worker_call(g.worker, rig_read_counts, &g);
    assert_in_range(g.counts.connects, 3, 7);            /* at once, 100, 200, 400 ms ... */
    rig_stop(&g);
}

/* ---- the end ---- */

static void freed_with_calls_under_way(void **state)
{
    struct server s = {0};
    struct rig g = {0};

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    kill(s.pid, SIGSTOP);
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 10), 10);
    tg_worker_call(g.worker, rig_drop, &g);
    kill(s.pid, SIGCONT);
    usleep(50000);
    rig_stop(&g);
    assert_int_equal(g.answers, 0);
    assert_int_equal(g.downs, 0);
    server_stop(&s);
}

static void freed_by_an_answer(void **state)
{
    struct server s = {0};
    struct rig g = {.free_when_answered = true};

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 10), 10); /* of which the nine others are dropped */
    rig_wait(&g, &g.answers, 1, "answers");
    rig_stop(&g);
    assert_int_equal(g.answers, 1);
    server_stop(&s);
}

static void freed_by_the_answer_of_a_lost_link(void **state)
{
    struct server s = {0};
    struct rig g = {.free_when_answered = true};

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), ECHO);
    rig_wait_up(&g, 1);
    kill(s.pid, SIGSTOP);
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 10), 10);
    server_kill(&s);
    rig_wait(&g, &g.lost, 1, "answers");
    rig_stop(&g);
    assert_int_equal(g.answers, 1);
    server_stop(&s);
}

static void freed_when_it_changes(void **state)
{
    struct server s = {0};
    struct rig up = {.free_when_changed = true, .eval_when_up = true}, down = {.free_when_changed = true};
    char url[64];
    uint16_t port = 0;

    (void)state;
    server_start(&s);
    rig_start(&up, server_url(&s, "", ""), ECHO);
    rig_wait_up(&up, 1);
    rig_stop(&up);
    assert_int_equal(up.answers, 0);
    close(listen_on_loopback(&port));
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", (unsigned)port);
    rig_start(&down, url, ECHO);
    rig_wait_down(&down, 1);
    rig_stop(&down);
    server_stop(&s);
}

static void say_last(struct tg_worker *w, void *arg)
{
    struct rig *g = arg;
    struct tg_slice key = TG_S("last"), value = TG_S("word");

    (void)w;
    tg_redis_eval_last(g->link, &key, 1, &value, 1);
    rig_free_link(g);
}

static void the_last_word_arrives(void **state)
{
    struct server s = {0};
    struct rig g = {0};
    char answer[64] = "";

    (void)state;
    server_start(&s);
    rig_start(&g, server_url(&s, "", ""), SET);
    rig_wait_up(&g, 1);
    tg_worker_call(g.worker, say_last, &g);
    for (unsigned i = 0; i < 1000 && !strstr(answer, "word"); i++) {
        server_says(&s, "GET last", answer, sizeof(answer));
        usleep(1000);
    }
    assert_string_equal(answer, "$4\r\nword\r\n");
    rig_stop(&g);
    server_stop(&s);
}

/* ---- a server that answers anything ---- */

#define NEST "*1\r\n*1\r\n*1\r\n"

static const struct { const char *why, *answer, *error; bool lost; int64_t numbers[3]; size_t count; } shapes[] = {
    {"numbers", "*2\r\n:1\r\n:-9223372036854775808\r\n", NULL, false, {1, INT64_MIN}, 2},
    {"none", "*0\r\n", NULL, false, {0}, 0},
    {"nil", "*-1\r\n", "ERR the answer is not", false, {0}, 0},
    {"an integer", ":1\r\n", "ERR the answer is not", false, {0}, 0},
    {"a status", "+OK\r\n", "ERR the answer is not", false, {0}, 0},
    {"a string", "$2\r\nab\r\n", "ERR the answer is not", false, {0}, 0},
    {"an empty string", "$0\r\n\r\n", "ERR the answer is not", false, {0}, 0},
    {"no string", "$-1\r\n", "ERR the answer is not", false, {0}, 0},
    {"a list in a list", "*2\r\n:1\r\n*1\r\n:1\r\n", "ERR the answer is not", false, {0}, 0},
    {"a string in a list", "*2\r\n:1\r\n$1\r\na\r\n", "ERR the answer is not", false, {0}, 0},
    {"an error in a list", "*2\r\n:1\r\n-ERR x\r\n", "ERR the answer is not", false, {0}, 0},
    {"nil in a list", "*1\r\n$-1\r\n", "ERR the answer is not", false, {0}, 0},
    {"an error", "-READONLY You can't write\r\n", "READONLY You can't write", false, {0}, 0},
    {"an empty error", "-\r\n", "", false, {0}, 0},
    {"NOSCRIPT for ever", "-NOSCRIPT no\r\n", "NOSCRIPT no", false, {0}, 0},
    {"nested too deep", NEST NEST NEST NEST ":1\r\n", NULL, true, {0}, 0},
    {"a long list", "*4097\r\n", NULL, true, {0}, 0},
    {"lists in lists", "*2000\r\n*2000\r\n*2000\r\n", NULL, true, {0}, 0},
    {"a huge list", "*2147483647\r\n", NULL, true, {0}, 0},
    {"2^61 elements of 8 octets", "*2305843009213693952\r\n", NULL, true, {0}, 0},
    {"a negative length", "*-2\r\n", NULL, true, {0}, 0},
    {"no number", "*x\r\n", NULL, true, {0}, 0},
    {"beyond 64 bits", "*99999999999999999999\r\n", NULL, true, {0}, 0},
    {"an integer that is none", "*1\r\n:1x\r\n", NULL, true, {0}, 0},
    {"an integer beyond 64 bits", "*1\r\n:9223372036854775808\r\n", NULL, true, {0}, 0},
    {"a negative string", "$-2\r\n", NULL, true, {0}, 0},
    {"a string beyond 64 bits", "$18446744073709551617\r\nab\r\n", NULL, true, {0}, 0},
    {"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", NULL, true, {0}, 0},
    {"nothing that is anything", "\r\n\r\n", NULL, true, {0}, 0},
    {"two answers to one question", "*1\r\n:1\r\n+OK\r\n", NULL, false, {1}, 1},
};

static const char *fake_url(const struct fake *f, const char *login, const char *rest)
{
    static char url[128];

    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%u%s", login, (unsigned)f->port, rest);
    return url;
}

static void shapes_of_answers(void **state)
{
    struct fake f = {0};

    (void)state;
    fake_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct rig g = {0};
        struct told t;
        const char *error;

        fake_set(&f, tg_slice_str(shapes[i].answer), 0);
        rig_start(&g, fake_url(&f, "", ""), ECHO);
        rig_wait_up(&g, 1);
        t = rig_eval(&g, "k", "1");
        error = shapes[i].error ? shapes[i].error : "";
        if (t.lost != shapes[i].lost || t.ok != (!shapes[i].lost && !shapes[i].error) || t.count != shapes[i].count ||
            memcmp(t.numbers, shapes[i].numbers, t.count * sizeof(int64_t)) != 0 ||
            strncmp(t.error, error, strlen(error)) != 0)
            fail_msg("%s: ok %d, lost %d, count %zu, \"%s\"; %s", shapes[i].why, t.ok, t.lost, t.count, t.error, g.why);
        if (shapes[i].lost) {
            rig_wait_down(&g, 1);
            assert_null(strstr(g.why, "no answer"));     /* it was refused, not waited for */
        }
        rig_stop(&g);
    }
    fake_stop(&f);
}

/* Wherever the network cuts, in the greeting and in every kind of answer. */
static void cut_at_every_octet(void **state)
{
    static const struct { const char *answer; bool ok; } answers[] = {
        {"*3\r\n:1\r\n:-22\r\n:333\r\n", true},
        {"-OOM command not allowed\r\n", false},
        {"*2\r\n$3\r\nabc\r\n*1\r\n:1\r\n", false},
    };
    struct fake f = {0};
    struct rig g = {0};

    (void)state;
    fake_start(&f);
    rig_start(&g, fake_url(&f, "", ""), ECHO);
    rig_wait_up(&g, 1);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        for (size_t cut = 1; cut < strlen(answers[i].answer); cut++) {
            struct told t;

            fake_set(&f, tg_slice_str(answers[i].answer), cut);
            t = rig_eval(&g, "k", "1");
            assert_false(t.lost);
            assert_int_equal(t.ok, answers[i].ok);
            if (t.ok)
                assert_int_equal(t.numbers[2], 333);
        }
    }
    rig_stop(&g);
    for (size_t cut = 1; cut < strlen(LOADED) + 10; cut += 3) {
        struct rig again = {0};

        f.greeting = "+OK\r\n+OK\r\n" LOADED;
        fake_set(&f, tg_slice_str("*1\r\n:1\r\n"), cut);
        rig_start(&again, fake_url(&f, "a:b@", "/1"), ECHO);
        rig_wait_up(&again, 1);
        rig_stop(&again);
    }
    fake_stop(&f);
}

/* A server that answers something again and again is alive, however much is still to be answered. */
static void a_slow_server_is_not_dead(void **state)
{
    struct fake f = {.answer = TG_S("*1\r\n:1\r\n"), .delay_ms = 250};
    struct rig g = {.options.dead_ms = 800};

    (void)state;
    fake_start(&f);
    rig_start(&g, fake_url(&f, "", ""), ECHO);
    rig_wait_up(&g, 1);
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("1"), 6), 6);
    rig_wait(&g, &g.answers, 6, "answers");
    assert_int_equal(g.lost, 0);
    assert_int_equal(g.downs, 0);
    rig_stop(&g);
    fake_stop(&f);
}

static void octet_by_octet(void **state)
{
    struct fake f = {.octet_by_octet = true, .answer = TG_S("*3\r\n:1\r\n:22\r\n:333\r\n")};
    struct rig g = {0};

    (void)state;
    fake_start(&f);
    rig_start(&g, fake_url(&f, "", ""), ECHO);
    rig_wait_up(&g, 1);
    assert_int_equal(rig_eval(&g, "k", "1").numbers[2], 333);
    rig_stop(&g);
    fake_stop(&f);
}

/* An answer that never ends is not kept: the server cannot even send much of it. */
static void memory_is_bounded(void **state)
{
    static const struct { const char *head; char fill; } endless[] = {
        {"$536870912\r\n", 'x'}, {"*1\r\n$536870912\r\n", 'x'}, {"+", 'x'}, {":", '1'}, {"*", '1'},
    };
    const size_t size = 64 << 20;
    char *bytes = malloc(size);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        struct fake f = {0};
        struct rig g = {0};

        memset(bytes, endless[i].fill, size);
        memcpy(bytes, endless[i].head, strlen(endless[i].head));
        fake_start(&f);
        fake_set(&f, tg_slice(bytes, size), 0);
        rig_start(&g, fake_url(&f, "", ""), ECHO);
        rig_wait_up(&g, 1);
        assert_true(rig_eval(&g, "k", "1").lost);
        rig_stop(&g);
        fake_stop(&f);
        assert_true(f.sent < size / 4);                  /* what fits in two sockets, and a little more */
    }
    free(bytes);
}

/* Many strings, each within bounds, are too much together. */
static void many_strings_are_too_much(void **state)
{
    struct fake f = {0};
    struct rig g = {0};
    struct tg_buf answer = {0};

    (void)state;
    tg_buf_adds(&answer, "*4000\r\n");
    for (unsigned i = 0; i < 4000; i++)
        tg_buf_addf(&answer, "$100\r\n%0100u\r\n", i);
    fake_start(&f);
    fake_set(&f, tg_buf_slice(&answer), 0);
    rig_start(&g, fake_url(&f, "", ""), ECHO);
    rig_wait_up(&g, 1);
    assert_true(rig_eval(&g, "k", "1").lost);
    rig_wait_down(&g, 1);
    assert_non_null(strstr(g.why, "larger"));
    rig_stop(&g);
    fake_stop(&f);
    tg_buf_fini(&answer);
}

static const struct { const char *hello, *why; } unasked[] = {
    {"-ERR max number of clients reached\r\n", "ERR max number of clients reached"},
    {"-DENIED Redis is running in protected mode\r\n", "DENIED Redis is running in protected mode"},
    {"+OK\r\n", "does not answer as a Redis server"},
    {"220 mail.example ESMTP\r\n", "Protocol error"},
};

static void said_before_being_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(unasked); i++) {
        struct fake f = {.hello = unasked[i].hello};
        struct rig g = {0};

        fake_start(&f);
        rig_start(&g, fake_url(&f, "", ""), ECHO);
        rig_wait_down(&g, 1);
        if (!strstr(g.why, unasked[i].why))
            fail_msg("%s: %s", unasked[i].hello, g.why);
        rig_stop(&g);
        fake_stop(&f);
    }
}

/* An answer without a question ends the link, and nothing else. */
static void said_without_being_asked(void **state)
{
    struct fake f = {.greeting = LOADED "+OK\r\n:1\r\n"};
    struct rig g = {0};

    (void)state;
    fake_start(&f);
    rig_start(&g, fake_url(&f, "", ""), ECHO);
    rig_wait_up(&g, 1);
    rig_wait_down(&g, 1);
    assert_non_null(strstr(g.why, "nobody had asked"));
    rig_stop(&g);
    fake_stop(&f);
}

/* A server that does not know AUTH repeats its arguments: no log may. */
static void a_repeated_password_is_not_told(void **state)
{
    struct fake f = {.greeting = "-ERR unknown command `AUTH`, with args beginning with: `hunter2`, \r\n"};
    struct rig g = {0};

    (void)state;
    fake_start(&f);
    rig_start(&g, fake_url(&f, ":hunter2@", ""), ECHO);
    rig_wait_down(&g, 1);
    assert_string_equal(g.why, "AUTH is refused: ERR");
    rig_stop(&g);
    fake_stop(&f);
}

/* A server that lets everybody in and throws everybody out is not asked without a pause. */
static void thrown_out_again_and_again(void **state)
{
    struct fake f = {.close_after_greeting = true};
    struct rig g = {0};

    (void)state;
    fake_start(&f);
    rig_start(&g, fake_url(&f, "", ""), ECHO);
    rig_wait_down(&g, 1);
    usleep(1000000);
    rig_stop(&g);
    assert_in_range(f.connections, 3, 8);
    fake_stop(&f);
}

/* ---- a try ---- */

static enum tg_status try_url(const char *url, int64_t timeout_ms, struct tg_err *err)
{
    struct tg_redis_address a;
    struct tg_arena arena;
    enum tg_status st;

    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_redis_parse(tg_slice_str(url), &arena, &a, err), TG_OK);
    err->text[0] = '\0';
    st = tg_redis_try(&a, TG_S(""), TG_S(""), timeout_ms, err);
    tg_arena_fini(&arena);
    return st;
}

static void tries(void **state)
{
    struct server s = {.more = {"--requirepass", "hunter2", "--user", "poor", "on", ">poor", "~*", "+script"}};
    struct tg_err err = {0};
    int64_t begun_ms;

    (void)state;
    server_start(&s);
    assert_int_equal(try_url(server_url(&s, ":hunter2@", ""), 5000, &err), TG_OK);
    assert_int_equal(try_url(server_url(&s, ":other@", ""), 5000, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "WRONGPASS"));
    assert_int_equal(try_url(server_url(&s, "poor:poor@", ""), 5000, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "NOPERM"));
    kill(s.pid, SIGSTOP);
    begun_ms = tg_clock_mono_ms();
    assert_int_equal(try_url(server_url(&s, ":hunter2@", ""), 300, &err), TG_UNAVAILABLE);
    assert_true(tg_clock_mono_ms() - begun_ms < 2000);
    assert_non_null(strstr(err.text, "no answer within 300 ms"));
    kill(s.pid, SIGCONT);
    server_kill(&s);
    assert_int_equal(try_url(server_url(&s, ":hunter2@", ""), 5000, &err), TG_UNAVAILABLE);
    assert_string_equal(err.text, "cannot connect: Connection refused");
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_tcp),
        cmocka_unit_test(any_octets),
        cmocka_unit_test(over_a_unix_socket_in_a_database),
        cmocka_unit_test(logins_and_databases),
        cmocka_unit_test(a_password_set_right_later),
        cmocka_unit_test(a_flushed_script_is_loaded_again),
        cmocka_unit_test(a_script_that_cannot_be_loaded_again),
        cmocka_unit_test(errors_are_answers),
        cmocka_unit_test(a_client_that_is_killed_comes_back),
        cmocka_unit_test(a_server_that_is_killed_and_started_again),
        cmocka_unit_test(a_server_that_stands_still),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(an_unknown_name),
        cmocka_unit_test(a_name_of_two_addresses),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(freed_with_calls_under_way),
        cmocka_unit_test(freed_by_an_answer),
        cmocka_unit_test(freed_by_the_answer_of_a_lost_link),
        cmocka_unit_test(freed_when_it_changes),
        cmocka_unit_test(the_last_word_arrives),
        cmocka_unit_test(shapes_of_answers),
        cmocka_unit_test(cut_at_every_octet),
        cmocka_unit_test(a_slow_server_is_not_dead),
        cmocka_unit_test(octet_by_octet),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(many_strings_are_too_much),
        cmocka_unit_test(said_before_being_asked),
        cmocka_unit_test(said_without_being_asked),
        cmocka_unit_test(a_repeated_password_is_not_told),
        cmocka_unit_test(thrown_out_again_and_again),
        cmocka_unit_test(tries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
