/*
 * stream - every octet once and in order, whatever the other side's pace; nothing is called after a close.
 *
 * The test itself is the other side, with plain blocking sockets; the stream lives on a worker.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "io/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define BIG (3u << 20)

static struct tg_worker *worker;

/* What to do inside an event, instead of only counting it. */
struct todo {
    void (*readable)(struct tg_stream *s);
    void (*drained)(struct tg_stream *s);
    void (*connected)(struct tg_stream *s);
    void (*broken)(struct tg_stream *s);
};
struct counted {
    unsigned readable, drained, connected, broken, ended, called_inside;
    int connect_error;
    size_t got;                                          /* octets read */
};
/* One stream and what was heard from it: the worker's alone while the stream is open. */
static struct {
    struct tg_stream s;
    struct todo todo;
    struct counted n;
    struct tg_buf got;
    bool inside;                                         /* a function of the stream is on the stack */
} it;
/* The test's own copy of it, taken by settle(). */
static struct counted heard;

static void hear_readable(struct tg_stream *s)
{
    it.n.readable++;
    it.n.called_inside += it.inside;
    if (it.todo.readable) {
        it.todo.readable(s);
        return;
    }
    ssize_t n = tg_stream_read(s, s->worker->scratch, TG_SCRATCH_BYTES);
    if (n > 0) {
        tg_buf_add(&it.got, s->worker->scratch, (size_t)n);
        it.n.got = it.got.len;
    } else if (n != -1) {
        it.n.ended++;
        tg_stream_pause(s);
    }
}

static void hear_drained(struct tg_stream *s)
{
    it.n.drained++;
    it.n.called_inside += it.inside;
    if (it.todo.drained)
        it.todo.drained(s);
}

static void hear_connected(struct tg_stream *s, int error)
{
    it.n.connected++;
    it.n.called_inside += it.inside;
    it.n.connect_error = error;
    if (it.todo.connected)
        it.todo.connected(s);
}

static void hear_broken(struct tg_stream *s)
{
    it.n.broken++;
    it.n.called_inside += it.inside;
    if (it.todo.broken)
        it.todo.broken(s);
}

static const struct tg_stream_events events = {
    .readable = hear_readable, .drained = hear_drained, .connected = hear_connected, .broken = hear_broken};

static void nothing(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
}

static void on_worker(void (*fn)(struct tg_worker *w, void *arg), void *arg)
{
    tg_worker_call(worker, fn, arg);
}

static void copy_counts(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    heard = it.n;
}

/* What the sockets had to say by now was heard after this. */
static void settle(void)
{
    on_worker(nothing, NULL);
    on_worker(nothing, NULL);
    on_worker(copy_counts, NULL);
}

/* ---- both ends ---- */

static void open_it(struct tg_worker *w, void *arg)
{
    tg_stream_open(&it.s, w, *(int *)arg, &events);
}

static void close_it(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_stream_close(&it.s, arg != NULL);
    tg_stream_close(&it.s, arg != NULL);                 /* idempotent */
}

/* A TCP listener on loopback, or with `path` a unix one. */
static int listen_at(struct tg_address *at, const char *path, int backlog)
{
    struct tg_ip loopback;
    int fd;

    if (path) {
        assert_int_equal(tg_address_from_path(tg_slice_str(path), at, NULL), TG_OK);
    } else {
        tg_ip_parse(TG_S("127.0.0.1"), &loopback);
        assert_true(tg_address_from_ip(&loopback, 0, at));
    }
    fd = socket(at->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &at->sa.any, at->len), 0);
    if (!path)
        getsockname(fd, &at->sa.any, &at->len);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

/* The one before is closed by now. */
static void begin(struct todo todo)
{
    tg_buf_fini(&it.got);
    memset(&it, 0, sizeof(it));
    it.s.fd = -1;
    it.todo = todo;
}

/* A fresh stream; the result is the peer's end. Small buffers, so that a backlog comes soon. */
static int fresh(struct todo todo)
{
    struct tg_address at;
    int listener = listen_at(&at, NULL, 8), small = 8192;
    int mine = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    begin(todo);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    setsockopt(mine, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(connect(mine, &at.sa.any, at.len), 0);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    fcntl(mine, F_SETFL, O_NONBLOCK);
    on_worker(open_it, &mine);
    return peer;
}

static void over(int peer)
{
    on_worker(close_it, NULL);
    assert_int_equal(it.n.called_inside, 0);
    close(peer);
    tg_buf_fini(&it.got);
}

/* Reads exactly `n` octets, or to the end. */
static size_t read_all(int fd, char *into, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t k = read(fd, into + done, n - done);

        if (k <= 0)
            break;
        done += (size_t)k;
    }
    return done;
}

/* ---- writing ---- */

struct writing {
    const char *bytes;
    size_t len, piece;
    unsigned copies;                                     /* of eight pieces so many are copied */
    size_t backlog;
    bool drained_at_once;
};

static void write_pieces(struct tg_worker *w, void *arg)
{
    struct writing *job = arg;
    char *own = tg_alloc(job->len);
    unsigned i = 0;

    (void)w;
    it.inside = true;
    memcpy(own, job->bytes, job->len);
    for (size_t at = 0; at < job->len; i++) {
        size_t n = job->len - at < job->piece ? job->len - at : job->piece;

        if (i % 8 < job->copies && n <= 64) {
            char brief[64];

            memcpy(brief, own + at, n);
            tg_stream_put_copy(&it.s, brief, n);
            memset(brief, '!', sizeof(brief));
        } else {
            tg_stream_put(&it.s, own + at, n);
        }
        at += n;
    }
    tg_stream_put(&it.s, own, 0);                        /* nothing is nothing */
    tg_stream_flush(&it.s);
    memset(own, '!', job->len);                          /* from here on they are the caller's again */
    free(own);
    job->backlog = tg_stream_backlog(&it.s);
    job->drained_at_once = tg_stream_is_drained(&it.s);
    it.inside = false;
}

static char *pattern(size_t n)
{
    char *p = tg_alloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + (i * 7 + i / 251) % 26);
    return p;
}

static void gathered_in_order(void **state)
{
    (void)state;
    static const struct { const char *why; size_t len, piece; unsigned copies; } cases[] = {
        {"one piece", 100, 100, 0},
        {"one copied", 10, 10, 8},
        {"as many pieces as a gather holds", 32 * 5, 5, 0},
        {"one more", 33 * 5, 5, 0},
        {"many times more, mixed", 4000, 3, 4},
        {"all copied, one octet each", 3000, 1, 8},
        {"copies that fill the small memory exactly", 8 * 64, 64, 8},
        {"and beyond", 60 * 61, 61, 8},
        {"mixed with large copies", 6000, 63, 3},
    };
    char *want = pattern(8192), *got = tg_alloc(8192);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writing job = {.bytes = want, .len = cases[i].len, .piece = cases[i].piece, .copies = cases[i].copies};
        int peer = fresh((struct todo){0});

        on_worker(write_pieces, &job);
        if (read_all(peer, got, job.len) != job.len || memcmp(got, want, job.len) != 0)
            fail_msg("%s: other octets came", cases[i].why);
        assert_true(job.drained_at_once);
        settle();
        assert_int_equal(heard.drained, 0);                 /* there was no backlog to tell of */
        over(peer);
    }
    free(want);
    free(got);
}

/* Without a flush it goes out when the callback returns, also to several streams. */
static void put_only(struct tg_worker *w, void *arg)
{
    static const char words[] = "after the callback";

    (void)w;
    (void)arg;
    tg_stream_put(&it.s, words, sizeof(words) - 1);
    it.inside = tg_stream_is_drained(&it.s);             /* noted is not written */
}

static void flushed_by_the_loop(void **state)
{
    char got[32] = {0};
    int peer = fresh((struct todo){0});

    (void)state;
    on_worker(put_only, NULL);
    assert_int_equal(read_all(peer, got, 18), 18);
    assert_string_equal(got, "after the callback");
    assert_false(it.inside);
    over(peer);
}

static void slow_reader(void **state)
{
    (void)state;
    char *want = pattern(BIG), *got = tg_alloc(BIG);
    int peer = fresh((struct todo){0});
    struct writing first = {.bytes = want, .len = BIG - 5000, .piece = 100000};
    struct writing rest = {.bytes = want + first.len, .len = 5000, .piece = 50, .copies = 3};

    on_worker(write_pieces, &first);
    assert_true(first.backlog > 0);
    assert_false(first.drained_at_once);
    on_worker(write_pieces, &rest);                      /* waits behind it */
    assert_true(rest.backlog > rest.len);
    settle();
    assert_int_equal(heard.drained, 0);
    for (size_t at = 0; at < BIG;) {
        size_t n = read_all(peer, got + at, at + 30011 < BIG ? 30011 : BIG - at);

        assert_true(n > 0);
        at += n;
    }
    assert_memory_equal(got, want, BIG);
    settle();
    assert_int_equal(heard.drained, 1);
    assert_true(tg_stream_is_drained(&it.s));
    assert_null(it.s.backlog.data);                      /* an idle stream holds no buffer */

    on_worker(write_pieces, &first);                     /* and once more */
    assert_int_equal(read_all(peer, got, first.len), first.len);
    assert_memory_equal(got, want, first.len);
    settle();
    assert_int_equal(heard.drained, 2);
    over(peer);
    free(want);
    free(got);
}

static void end_it(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_stream_put(&it.s, "last words", 10);
    tg_stream_end(&it.s);
}

static void ends_behind_its_bytes(void **state)
{
    char got[32] = {0};
    int peer = fresh((struct todo){0});

    (void)state;
    on_worker(end_it, NULL);
    assert_int_equal(read_all(peer, got, sizeof(got)), 10); /* to the end */
    assert_string_equal(got, "last words");
    assert_int_equal(write(peer, "answer", 6), 6);       /* the other direction is still open */
    settle();
    assert_int_equal(heard.got, 6);
    over(peer);
}

/* ---- trouble ---- */

static void reset_by_peer(int peer)
{
    struct linger now = {1, 0};

    setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(peer);
}

static void pause_it(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_stream_pause(&it.s);
    tg_stream_pause(&it.s);
}

static void resume_it(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_stream_resume(&it.s);
    tg_stream_resume(&it.s);
}

static void broken_is_told_once(void **state)
{
    (void)state;
    char *bytes = pattern(BIG);

    for (int with_backlog = 0; with_backlog < 2; with_backlog++) {
        struct writing job = {.bytes = bytes, .len = with_backlog ? BIG : 100, .piece = 50000};
        int peer = fresh((struct todo){0});

        on_worker(pause_it, NULL);                       /* so that only writing finds out */
        if (with_backlog)
            on_worker(write_pieces, &job);
        reset_by_peer(peer);
        for (int i = 0; i < 5; i++) {
            on_worker(write_pieces, &job);
            settle();
        }
        assert_int_equal(heard.broken, 1);
        assert_int_equal(heard.drained, 0);
        assert_int_equal(heard.readable, 0);
        over(-1);
    }
    free(bytes);
}

static void close_in_it(struct tg_stream *s)
{
    tg_stream_put(s, "lost", 4);
    tg_stream_close(s, false);
    tg_stream_put(s, "lost", 4);                         /* harmless now */
    tg_stream_put_copy(s, "lost", 4);
    tg_stream_flush(s);
    tg_stream_pause(s);
    tg_stream_resume(s);
}

static void closed_in_its_events(void **state)
{
    (void)state;
    char *bytes = pattern(BIG), *got = tg_alloc(BIG);
    struct writing job = {.bytes = bytes, .len = BIG, .piece = 100000};

    int peer = fresh((struct todo){.readable = close_in_it});
    assert_int_equal(write(peer, "x", 1), 1);
    settle();
    assert_int_equal(heard.readable, 1);
    assert_int_equal(it.s.fd, -1);
    read_all(peer, got, 1);                              /* nothing was written; RST or FIN */
    over(peer);

    peer = fresh((struct todo){.drained = close_in_it});
    on_worker(write_pieces, &job);
    assert_int_equal(read_all(peer, got, BIG), BIG);
    assert_int_equal(read_all(peer, got, 1), 0);
    settle();
    assert_int_equal(heard.drained, 1);
    over(peer);

    peer = fresh((struct todo){.broken = close_in_it});
    on_worker(pause_it, NULL);
    on_worker(write_pieces, &job);
    reset_by_peer(peer);
    settle();
    assert_int_equal(heard.broken, 1);
    assert_int_equal(it.s.fd, -1);
    over(-1);
    free(bytes);
    free(got);
}

static void reset_is_seen(void **state)
{
    char c;
    int peer = fresh((struct todo){0});

    (void)state;
    on_worker(close_it, &peer);
    assert_int_equal(read(peer, &c, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    over(peer);
}

/* ---- reading ---- */

static void paused_and_resumed(void **state)
{
    int peer = fresh((struct todo){0});

    (void)state;
    on_worker(pause_it, NULL);
    assert_int_equal(write(peer, "one", 3), 3);
    settle();
    assert_int_equal(heard.readable, 0);
    on_worker(resume_it, NULL);
    settle();
    assert_int_equal(heard.got, 3);
    assert_int_equal(write(peer, "two", 3), 3);
    settle();
    shutdown(peer, SHUT_WR);
    settle();
    assert_int_equal(heard.ended, 1);
    on_worker(close_it, NULL);
    assert_true(tg_slice_eq(tg_buf_slice(&it.got), TG_S("onetwo")));
    over(peer);
}

static void look(struct tg_worker *w, void *arg)
{
    (void)w;
    *(bool *)arg = tg_stream_is_quiet(&it.s);
}

static void quiet_or_not(void **state)
{
    (void)state;
    static const char *const what[] = {"nothing", "a byte", "the end", "a reset"};

    for (int i = 0; i < 4; i++) {
        bool quiet = false;
        int peer = fresh((struct todo){0});

        on_worker(pause_it, NULL);
        if (i == 1)
            assert_int_equal(write(peer, "x", 1), 1);
        if (i == 2)
            shutdown(peer, SHUT_WR);
        if (i == 3)
            reset_by_peer(peer);
        on_worker(look, &quiet);
        if (quiet != (i == 0))
            fail_msg("%s: quiet is %d", what[i], quiet);
        over(i == 3 ? -1 : peer);
    }
}

/* ---- connecting ---- */

struct connecting {
    struct tg_address to;
    enum tg_status st;
    const char *say;
    bool pause, resume;
};

static void connect_it(struct tg_worker *w, void *arg)
{
    struct connecting *c = arg;

    it.inside = true;
    c->st = tg_stream_connect(&it.s, w, &c->to, &events);
    if (c->say)
        tg_stream_put(&it.s, c->say, strlen(c->say));
    if (c->pause || c->resume)
        tg_stream_pause(&it.s);
    if (c->resume)
        tg_stream_resume(&it.s);
    it.inside = false;
}

static void connects(void **state)
{
    (void)state;
    char got[16] = {0};

    for (int paused = 0; paused < 2; paused++) {
        struct connecting c = {.say = "hello", .pause = paused != 0, .resume = false};
        int listener = listen_at(&c.to, NULL, 8);

        begin((struct todo){0});
        on_worker(connect_it, &c);
        assert_int_equal(c.st, TG_OK);
        int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_int_equal(read_all(peer, got, 5), 5);     /* what was put before there was a connection */
        assert_string_equal(got, "hello");
        assert_int_equal(write(peer, "x", 1), 1);
        settle();
        assert_int_equal(heard.connected, 1);
        assert_int_equal(heard.connect_error, 0);
        assert_int_equal(heard.readable, paused ? 0 : 1);   /* a pause holds from before the connection on */
        on_worker(resume_it, NULL);
        settle();
        assert_int_equal(heard.got, 1);
        over(peer);
        close(listener);
    }
}

static void refused(void **state)
{
    (void)state;
    for (int resumed = 0; resumed < 2; resumed++) {
        struct connecting c = {.say = "hello", .resume = resumed != 0};

        begin((struct todo){0});
        close(listen_at(&c.to, NULL, 8));                /* a port where nobody listens any more */
        on_worker(connect_it, &c);
        assert_int_equal(c.st, TG_OK);
        settle();
        assert_int_equal(heard.connected, 1);
        assert_int_equal(heard.connect_error, ECONNREFUSED);
        assert_int_equal(heard.readable, 0);                /* told by `connected` alone */
        assert_int_equal(heard.broken, 0);
        over(-1);
    }

    struct connecting c = {0};
    begin((struct todo){.connected = close_in_it});
    close(listen_at(&c.to, NULL, 8));
    on_worker(connect_it, &c);
    settle();
    assert_int_equal(heard.connected, 1);
    assert_int_equal(it.s.fd, -1);
    over(-1);
}

/* A unix socket says at once that there is nobody, or that its queue is full. */
static void unix_sockets(void **state)
{
    (void)state;
    char dir[] = "/tmp/tollgate-stream-XXXXXX", path[64], got[8] = {0};
    struct connecting c = {.say = "hello"};
    int waiting[4], count = 0;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    assert_int_equal(tg_address_from_path(tg_slice_str(path), &c.to, NULL), TG_OK);
    begin((struct todo){0});
    on_worker(connect_it, &c);
    assert_int_equal(c.st, TG_IO);
    assert_int_equal(it.s.fd, -1);
    settle();
    assert_int_equal(heard.connected, 0);
    over(-1);

    int listener = listen_at(&c.to, path, 0);
    begin((struct todo){0});
    on_worker(connect_it, &c);
    assert_int_equal(c.st, TG_OK);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(read_all(peer, got, 5), 5);
    settle();
    assert_int_equal(heard.connected, 1);
    over(peer);

    for (; count < 4; count++) {
        waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(waiting[count], &c.to.sa.any, c.to.len) != 0)
            break;
    }
    assert_in_range(count, 1, 3);
    begin((struct todo){0});
    on_worker(connect_it, &c);
    assert_int_equal(c.st, TG_IO);                       /* not "connected" to nobody */
    settle();
    assert_int_equal(heard.connected, 0);
    over(-1);
    for (int i = 0; i <= count; i++)
        close(waiting[i]);
    close(listener);
    unlink(path);
    rmdir(dir);
}

static void addresses(void **state)
{
    (void)state;
    struct tg_address at;
    struct tg_ip ip = {0};
    struct tg_err err = {0};
    char longest[sizeof(at.sa.local.sun_path)];

    memset(longest, 'p', sizeof(longest));
    assert_false(tg_address_from_ip(&ip, 80, &at));
    assert_int_equal(tg_address_from_path(TG_S(""), &at, &err), TG_BAD_INPUT);
    assert_int_equal(tg_address_from_path(tg_slice(longest, sizeof(longest)), &at, &err), TG_BAD_INPUT);
    assert_int_equal(tg_address_from_path(tg_slice(longest, sizeof(longest) - 1), &at, &err), TG_OK);
    assert_int_equal(strlen(at.sa.local.sun_path), sizeof(longest) - 1);
    tg_ip_parse(TG_S("2001:db8::1"), &ip);
    assert_true(tg_address_from_ip(&ip, 443, &at));
    assert_int_equal(at.sa.v6.sin6_port, htons(443));
    assert_int_equal(at.len, sizeof(struct sockaddr_in6));
}

static int setup(void **state)
{
    static const struct tg_worker_hooks hooks;

    (void)state;
    signal(SIGPIPE, SIG_DFL);                            /* writing to a broken socket must not raise it */
    return tg_worker_start(0, "stream", &hooks, &worker, NULL) != TG_OK;
}

static int teardown(void **state)
{
    (void)state;
    tg_worker_stop(worker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gathered_in_order),    cmocka_unit_test(flushed_by_the_loop),
        cmocka_unit_test(slow_reader),          cmocka_unit_test(ends_behind_its_bytes),
        cmocka_unit_test(broken_is_told_once),  cmocka_unit_test(closed_in_its_events),
        cmocka_unit_test(reset_is_seen),        cmocka_unit_test(paused_and_resumed),
        cmocka_unit_test(quiet_or_not),         cmocka_unit_test(connects),
        cmocka_unit_test(refused),              cmocka_unit_test(unix_sockets),
        cmocka_unit_test(addresses),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
