/*
 * call - every answer is told the same way wherever the network cuts it; a bad one is a fault and never heard of again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "peer.h"

#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define X16(x) x x x x x x x x x x x x x x x x

static const struct {
    const char *why, *answer;
    unsigned method;
    bool close;                                          /* the upstream closes behind it */
    const char *want;                                    /* as the talk writes it down */
    bool kept;                                           /* the connection is used again */
} answers[] = {
    {"a length", OK_2, TG_METHOD_GET, false, "200 [ok] end", true},
    {"a length of nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", TG_METHOD_GET, false, "200 end", true},
    {"chunks", CHUNKED "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", TG_METHOD_GET, false, "200 [abcde] end", true},
    {"chunks and trailers", CHUNKED "1\r\na\r\n0\r\nx: 1\r\ny: two\r\n\r\n", TG_METHOD_GET, false,
     "200 [a] x:1 y:two end", true},
    {"no chunk at all", CHUNKED "0\r\n\r\n", TG_METHOD_GET, false, "200 end", true},
    {"204", "HTTP/1.1 204 No Content\r\n\r\n", TG_METHOD_GET, false, "204 end", true},
    {"304 with the length of what is not sent", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
     TG_METHOD_GET, false, "304 end", true},
    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", TG_METHOD_HEAD, false, "200 end", true},
    {"HEAD of chunks", CHUNKED, TG_METHOD_HEAD, false, "200 end", true},
    {"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_2, TG_METHOD_GET,
     false, "100 103 200 [ok] end", true},
    {"as many interim answers as allowed", X16("HTTP/1.1 102 P\r\n\r\n") OK_2, TG_METHOD_GET, false,
     X16("102 ") "200 [ok] end", true},
    {"ended by closing", "HTTP/1.1 200 OK\r\n\r\nuntil the end", TG_METHOD_GET, true, "200 [until the end] end", false},
    {"ended by closing, nothing in it", "HTTP/1.1 200 OK\r\n\r\n", TG_METHOD_GET, true, "200 end", false},
    {"HTTP/1.0 closes", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", TG_METHOD_GET, false, "200 [ok] end", false},
    {"HTTP/1.0 kept alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", TG_METHOD_GET,
     false, "200 [ok] end", true},
    {"it says close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", TG_METHOD_GET, false,
     "200 [ok] end", false},
    {"it closes without saying", OK_2, TG_METHOD_GET, true, "200 [ok] end", false},
    {"an error is an answer", "HTTP/1.1 503 Gone\r\nContent-Length: 2\r\n\r\nno", TG_METHOD_GET, false, "503 [no] end",
     true},
    /* What must not be believed. */
    {"closed without a word", "", TG_METHOD_GET, true, "no-answer", false},
    {"closed inside the head", "HTTP/1.1 200 OK\r\nCont", TG_METHOD_GET, true, "bad-answer", false},
    {"closed after an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", TG_METHOD_GET, true, "100 bad-answer", false},
    {"cut inside a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", TG_METHOD_GET, true, "200 [ok] cut",
     false},
    {"cut inside a chunk", CHUNKED "5\r\nab", TG_METHOD_GET, true, "200 [ab] cut", false},
    {"cut before the last chunk", CHUNKED "2\r\nab\r\n", TG_METHOD_GET, true, "200 [ab] cut", false},
    {"cut inside the trailers", CHUNKED "2\r\nab\r\n0\r\nx: 1\r\n", TG_METHOD_GET, true, "200 [ab] cut", false},
    {"another protocol", "SSH-2.0-x\r\n\r\n", TG_METHOD_GET, false, "bad-answer", false},
    {"a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", TG_METHOD_GET, false, "bad-answer", false},
    {"HTTP/2 in HTTP/1's clothes", "HTTP/2.0 200 OK\r\n\r\n", TG_METHOD_GET, false, "bad-answer", false},
    {"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     TG_METHOD_GET, false, "bad-answer", false},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", TG_METHOD_GET, false,
     "bad-answer", false},
    {"a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", TG_METHOD_GET, false, "bad-answer", false},
    {"a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", TG_METHOD_GET, false, "bad-answer", false},
    {"a flood of interim answers", X16("HTTP/1.1 102 P\r\n\r\n") "HTTP/1.1 102 P\r\n\r\n", TG_METHOD_GET, false,
     X16("102 ") "bad-answer", false},
    {"101 that nobody asked for", "HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", TG_METHOD_GET, false,
     "bad-answer", false},
    {"a chunk size that is none", CHUNKED "2\r\nab\r\nxyz\r\n", TG_METHOD_GET, false, "200 [ab] cut", false},
    {"a chunk longer than said", CHUNKED "2\r\nabc\r\n", TG_METHOD_GET, false, "200 [ab] cut", false},
    {"a trailer with a space in its name", CHUNKED "2\r\nab\r\n0\r\nx y: 1\r\n\r\n", TG_METHOD_GET, false,
     "200 [ab] cut", false},
};

/* The answer in two parts, the second after the first was heard; the request must have come whole before. */
static void answer_in_two(struct place *p, size_t i, size_t cut)
{
    struct talk t = get_from(p);
    struct tg_buf request = {0};
    size_t len = strlen(answers[i].answer);

    t.method = answers[i].method;
    t.fresh = true;
    on_worker(start_talk, &t);
    int fd = accept_within(p, 5000);
    assert_true(fd >= 0);
    assert_true(read_until(fd, "\r\n\r\n", &request));
    say(fd, answers[i].answer, cut);
    settle();
    say(fd, answers[i].answer + cut, len - cut);
    if (answers[i].close)
        shutdown(fd, SHUT_WR);
    if (!over_within(&t, 5000))
        fail_msg("%s, cut at %zu: never over, heard \"%s\"", answers[i].why, cut, log_of(&t));
    if (strcmp(log_of(&t), answers[i].want) != 0)
        fail_msg("%s, cut at %zu: heard \"%s\", wanted \"%s\"", answers[i].why, cut, log_of(&t), answers[i].want);
    settle();
    if (t.called_inside || t.after_end || counts_of(p).idle != answers[i].kept || counts_of(p).open != answers[i].kept)
        fail_msg("%s, cut at %zu: %zu connections idle", answers[i].why, cut, counts_of(p).idle);
    close(fd);
    for (int tries = 0; counts_of(p).open > 0; tries++)  /* an idle connection that closes is gone */
        assert_true(tries < 1000);
    tg_buf_fini(&request);
    tg_buf_fini(&t.log);
}

static void answers_cut_anywhere(void **state)
{
    struct place p = open_place(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        for (size_t cut = 0; cut <= strlen(answers[i].answer); cut++)
            answer_in_two(&p, i, cut);
    }
    close_place(&p);
}

/* Head and all in a hundred parts. */
static void answer_octet_by_octet(void **state)
{
    static const char answer[] = "HTTP/1.1 103 E\r\n\r\n" CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\nx: 1\r\n\r\n";
    struct place p = open_place(0);
    struct talk t = get_from(&p);

    (void)state;
    on_worker(start_talk, &t);
    int fd = accept_within(&p, 5000);
    for (size_t i = 0; i < sizeof(answer) - 1; i++) {
        say(fd, answer + i, 1);
        settle();
    }
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "103 200 [abcde] x:1 end");
    assert_int_equal(counts_of(&p).idle, 1);
    tg_buf_fini(&t.log);
    close(fd);
    close_place(&p);
}

static void head_too_large(void **state)
{
    struct place p = open_place(0);
    struct talk t = get_from(&p);
    char line[101];

    (void)state;
    memset(line, 'a', sizeof(line));
    memcpy(line, "X: ", 3);
    memcpy(line + 99, "\r\n", 2);
    on_worker(start_talk, &t);
    int fd = accept_within(&p, 5000);
    say(fd, "HTTP/1.1 200 OK\r\n", 17);
    for (int i = 0; i < 45; i++)                         /* the limit is 4096 octets; never an end */
        say(fd, line, sizeof(line));
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "bad-answer");
    tg_buf_fini(&t.log);
    close(fd);
    close_place(&p);
}

/* ---- requests ---- */

static void end_talk(struct tg_worker *w, void *arg)
{
    struct talk *t = arg;
    struct tg_field fields[1];
    struct tg_head trailers = {.fields = fields, .field_cap = 1};

    (void)w;
    tg_head_add(&trailers, TG_FIELD_OTHER, TG_S("X-Sum"), TG_S("5"));
    t->inside = true;
    tg_call_data(&t->call, TG_S("more"));
    tg_call_data(&t->call, TG_S(""));                    /* no chunk: it would be the last one */
    tg_call_end(&t->call, &trailers);
    tg_call_end(&t->call, &trailers);
    t->inside = false;
}

static void bodies_as_framed(void **state)
{
    struct place p = open_place(0);
    struct tg_buf got = {0};

    (void)state;
    for (int connected = 0; connected < 2; connected++) {
        struct talk t = get_from(&p);

        t.head = "PUT / HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\n\r\n";
        t.method = TG_METHOD_PUT;
        t.framing = TG_BODY_CHUNKED;
        t.body = TG_S("0123456789abcdef");
        t.keep_open = true;
        t.fresh = !connected;
        on_worker(start_talk, &t);
        int fd = accept_within(&p, 5000);
        assert_true(read_until(fd, "\r\n\r\n", &got));
        on_worker(end_talk, &t);
        assert_true(read_until(fd, "\r\n\r\n", &got));
        assert_true(tg_slice_eq_nocase(tg_buf_slice(&got),
                                       TG_S("10\r\n0123456789abcdef\r\n4\r\nmore\r\n0\r\nX-Sum: 5\r\n\r\n")));
        say(fd, OK_2, strlen(OK_2));
        assert_true(over_within(&t, 5000));
        assert_string_equal(log_of(&t), "200 [ok] end");
        assert_int_equal(t.called_inside, 0);
        tg_buf_fini(&t.log);
        close(fd);
        settle();
    }
    tg_buf_fini(&got);
    close_place(&p);
}

/* The answer comes before the request is whole: it counts, the connection does not. */
static void early_answer(void **state)
{
    struct place p = open_place(0);
    struct talk t = get_from(&p);
    struct tg_buf got = {0};

    (void)state;
    t.head = "POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 10\r\n\r\n";
    t.method = TG_METHOD_POST;
    t.framing = TG_BODY_LENGTH;
    t.body = TG_S("half");
    t.keep_open = true;
    on_worker(start_talk, &t);
    int fd = accept_within(&p, 5000);
    assert_true(read_until(fd, "half", &got));
    say(fd, OK_2, strlen(OK_2));
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "200 [ok] end");
    assert_int_equal(counts_of(&p).open, 0);
    tg_buf_fini(&t.log);
    tg_buf_fini(&got);
    close(fd);
    close_place(&p);
}

/* A large body the upstream does not want: it answers and closes with most of it unread. */
static void refuses_the_body(void **state)
{
    static const char answer[] = "HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno";
    char *body = tg_alloc(4u << 20);
    struct place p = open_place(8192);
    struct tg_buf got = {0};

    (void)state;
    for (int keep_open = 0; keep_open < 2; keep_open++) {
        struct talk t = get_from(&p);

        t.head = "POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 4194304\r\n\r\n";
        t.method = TG_METHOD_POST;
        t.framing = TG_BODY_LENGTH;
        t.body = tg_slice(body, 4u << 20);
        t.keep_open = keep_open != 0;
        on_worker(start_talk, &t);
        int fd = accept_within(&p, 5000);
        assert_true(read_until(fd, "\r\n\r\n", &got));
        assert_true(t.backlog > 0);
        say(fd, answer, sizeof(answer) - 1);
        close(fd);                                       /* unread octets: a reset follows */
        assert_true(over_within(&t, 5000));
        /* A reset may overtake the answer; half an answer would be a lie. */
        if (strcmp(log_of(&t), "413 [no] end") != 0 && strcmp(log_of(&t), "no-answer") != 0)
            fail_msg("heard \"%s\"", log_of(&t));
        settle();
        assert_int_equal(counts_of(&p).open, 0);
        assert_int_equal(t.after_end + t.called_inside, 0);
        tg_buf_fini(&t.log);
    }
    free(body);
    tg_buf_fini(&got);
    close_place(&p);
}

static void drained_is_told(void **state)
{
    char *body = tg_alloc(2u << 20), *into = tg_alloc(2u << 20);
    struct place p = open_place(8192);
    struct talk t = get_from(&p);
    struct tg_buf got = {0};

    (void)state;
    memset(body, 'b', 2u << 20);
    t.head = "POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 2097152\r\n\r\n";
    t.method = TG_METHOD_POST;
    t.framing = TG_BODY_LENGTH;
    t.body = tg_slice(body, 2u << 20);
    on_worker(start_talk, &t);
    int fd = accept_within(&p, 5000);
    assert_true(read_until(fd, "\r\n\r\n", &got));
    for (size_t at = 0; at < 2u << 20;) {
        ssize_t n = read(fd, into + at, (2u << 20) - at);

        assert_true(n > 0);
        at += (size_t)n;
    }
    assert_memory_equal(into, body, 2u << 20);
    settle();
    say(fd, OK_2, strlen(OK_2));
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "200 [ok] end");
    assert_int_equal(t.drained, 1);
    assert_int_equal(counts_of(&p).idle, 1);
    tg_buf_fini(&t.log);
    tg_buf_fini(&got);
    free(body);
    free(into);
    close(fd);
    close_place(&p);
}

/* ---- faults ---- */

static void refused(void **state)
{
    struct place p = open_place(0);
    struct talk t = get_from(&p);

    (void)state;
    close(p.fd);
    p.fd = -1;
    on_worker(start_talk, &t);
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "refused");
    assert_int_equal(t.called_inside, 0);
    tg_buf_fini(&t.log);
    close_place(&p);

    static const char *const nowhere[] = {"unix:/nonexistent/socket", "http://no-such-name.invalid:80"};
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        struct place none = {.fd = -1};

        snprintf(none.url, sizeof(none.url), "%s", nowhere[i]);
        on_worker(take_endpoint, &none);
        assert_non_null(none.ep);
        t = get_from(&none);
        on_worker(start_talk, &t);
        assert_true(over_within(&t, 20000));
        assert_string_equal(log_of(&t), "refused");      /* later, never from inside the start */
        assert_int_equal(t.called_inside, 0);
        tg_buf_fini(&t.log);
        close_place(&none);
    }
}

static void too_slow(void **state)
{
    static const struct { const char *why, *part, *want; } cases[] = {
        {"nothing comes", "", "slow"},
        {"a head that does not go on", "HTTP/1.1 200 OK\r\n", "slow"},
        {"after an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", "100 slow"},
        {"a body that does not go on", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "200 [ok] slow"},
    };
    struct tg_call_limits roomy = limits;
    struct place p = open_place(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct talk t = get_from(&p);

        int64_t start_ms = tg_clock_mono_ms();

        limits.first_byte_ms = 100;
        limits.stall_ms = 100;
        on_worker(start_talk, &t);
        int fd = accept_within(&p, 5000);
        say(fd, cases[i].part, strlen(cases[i].part));
        assert_true(over_within(&t, 5000));
        if (tg_clock_mono_ms() - start_ms < 100)
            fail_msg("%s: too early", cases[i].why);
        if (strcmp(log_of(&t), cases[i].want) != 0)
            fail_msg("%s: heard \"%s\"", cases[i].why, log_of(&t));
        assert_int_equal(counts_of(&p).open, 0);
        tg_buf_fini(&t.log);
        close(fd);
        limits = roomy;
    }
    close_place(&p);
}

static void pause_talk(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_call_pause(&((struct talk *)arg)->call);
}

static void resume_talk(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_call_resume(&((struct talk *)arg)->call);
}

static void paused_is_not_slow(void **state)
{
    struct tg_call_limits roomy = limits;
    struct place p = open_place(0);
    struct talk t = get_from(&p);
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc";

    (void)state;
    limits.stall_ms = 300;
    on_worker(start_talk, &t);
    int fd = accept_within(&p, 5000);
    say(fd, head, sizeof(head) - 1);
    settle();
    on_worker(pause_talk, &t);
    say(fd, "def", 3);
    assert_false(over_within(&t, 500));
    assert_string_equal(log_of(&t), "200 [abc");
    on_worker(resume_talk, &t);
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "200 [abcdef] end");
    assert_int_equal(counts_of(&p).idle, 1);
    tg_buf_fini(&t.log);
    limits = roomy;
    close(fd);
    close_place(&p);
}

/* ---- giving up ---- */

static void start_and_cancel(struct tg_worker *w, void *arg)
{
    start_talk(w, arg);
    cancel_talk(w, arg);
}

static void cancelled_between_events(void **state)
{
    static const char *const parts[] = {"", "HTTP/1.1 2", "HTTP/1.1 103 E\r\n\r\n",
                                        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", CHUNKED "5\r\nab"};
    struct place p = open_place(0);
    char c;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct talk t = get_from(&p);
        struct tg_buf got = {0};

        on_worker(start_talk, &t);
        int fd = accept_within(&p, 5000);
        assert_true(read_until(fd, "\r\n\r\n", &got));
        say(fd, parts[i], strlen(parts[i]));
        settle();
        on_worker(cancel_talk, &t);
        assert_true(read(fd, &c, 1) <= 0);               /* the connection went with it */
        assert_int_equal(counts_of(&p).open, 0);
        assert_int_equal(t.after_end, 0);
        tg_buf_fini(&t.log);
        tg_buf_fini(&got);
        close(fd);
    }

    struct talk t = get_from(&p);
    on_worker(start_and_cancel, &t);                     /* while it connects */
    settle();
    assert_string_equal(log_of(&t), "");
    assert_int_equal(counts_of(&p).open, 0);
    close(accept_within(&p, 1000));
    close(p.fd);
    p.fd = -1;
    t = get_from(&p);
    on_worker(start_and_cancel, &t);                     /* before it is told that nobody listens */
    settle();
    assert_string_equal(log_of(&t), "");
    close_place(&p);

    static const char *const nowhere[] = {"unix:/nonexistent/socket", "http://some-name.invalid:80"};
    for (size_t i = 0; i < ARRAY_LEN(nowhere); i++) {
        struct place none = {.fd = -1};

        snprintf(none.url, sizeof(none.url), "%s", nowhere[i]);
        on_worker(take_endpoint, &none);
        t = get_from(&none);
        t.body = TG_S("waits for a connection");
        on_worker(start_and_cancel, &t);                 /* before the deferred fault; while the name is asked for */
        settle();
        assert_string_equal(log_of(&t), "");
        close_place(&none);
    }
}

/* An exchange may end inside any event, and its memory with it. */
static void cancelled_inside_events(void **state)
{
    static const struct { const char *why; enum moment at; const char *want; } cases[] = {
        {"interim", AT_INTERIM, "103 "}, {"head", AT_HEAD, "103 200 "},         {"data", AT_DATA, "103 200 [abc"},
        {"settled", AT_SETTLED, NULL},   {"end", AT_END, "103 200 [abcde] end"},
    };
    static const char answer[] = "HTTP/1.1 103 E\r\n\r\n" CHUNKED "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    struct place p = open_place(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t cut = 0; cut < sizeof(answer); cut += 7) {
            struct talk t = get_from(&p);
            struct tg_buf got = {0};

            t.cancel_at = cases[i].at;
            t.fresh = true;
            on_worker(start_talk, &t);
            int fd = accept_within(&p, 5000);
            assert_true(read_until(fd, "\r\n\r\n", &got));
            say(fd, answer, cut);
            settle();
            say(fd, answer + cut, sizeof(answer) - 1 - cut);
            assert_true(over_within(&t, 5000));
            settle();
            if (cases[i].at != AT_DATA && cases[i].want && strcmp(log_of(&t), cases[i].want) != 0)
                fail_msg("%s, cut at %zu: heard \"%s\"", cases[i].why, cut, log_of(&t));
            assert_int_equal(t.after_end, 0);
            assert_int_equal(t.called_inside, 0);
            if (cases[i].at != AT_END && cases[i].at != AT_SETTLED)
                assert_int_equal(counts_of(&p).open, 0);
            tg_buf_fini(&t.log);
            tg_buf_fini(&got);
            close(fd);
            settle();
        }
    }
    close_place(&p);
}

/* ---- after 101 ---- */

static void say_more(struct tg_worker *w, void *arg)
{
    struct talk *t = arg;

    (void)w;
    tg_call_data(&t->call, TG_S("ping"));
    tg_call_flush(&t->call);
}

static void half_close(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_call_end(&((struct talk *)arg)->call, NULL);
}

static void tunnel(void **state)
{
    static const char answer[] = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfirst";
    struct tg_buf got = {0};

    (void)state;
    for (size_t cut = 0; cut < sizeof(answer); cut += 5) {
        struct place p = open_place(0);
        struct talk t = get_from(&p);
        char c;

        t.upgrade = true;
        on_worker(start_talk, &t);
        int fd = accept_within(&p, 5000);
        assert_true(read_until(fd, "\r\n\r\n", &got));
        say(fd, answer, cut);
        settle();
        say(fd, answer + cut, sizeof(answer) - 1 - cut);
        settle();
        on_worker(say_more, &t);
        assert_true(read_until(fd, "ping", &got));
        assert_int_equal(got.len, 4);                    /* raw: no chunk around it */
        on_worker(half_close, &t);
        assert_int_equal(read(fd, &c, 1), 0);
        say(fd, " 5\r\nlast", 8);                        /* the other direction is still open, and raw too */
        close(fd);
        assert_true(over_within(&t, 5000));
        assert_string_equal(log_of(&t), "101 [first 5\r\nlast] end");
        assert_int_equal(counts_of(&p).open, 0);
        tg_buf_fini(&t.log);
        close_place(&p);
    }
    tg_buf_fini(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_cut_anywhere),     cmocka_unit_test(answer_octet_by_octet),
        cmocka_unit_test(head_too_large),           cmocka_unit_test(bodies_as_framed),
        cmocka_unit_test(early_answer),             cmocka_unit_test(refuses_the_body),
        cmocka_unit_test(drained_is_told),          cmocka_unit_test(refused),
        cmocka_unit_test(too_slow),                 cmocka_unit_test(paused_is_not_slow),
        cmocka_unit_test(cancelled_between_events), cmocka_unit_test(cancelled_inside_events),
        cmocka_unit_test(tunnel),
    };

    return cmocka_run_group_tests(tests, start_worker, stop_worker);
}
