/*
 * pool - a connection is used again while it is good, and gone the moment it is not; endpoints live as long as their
 * holders.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "peer.h"
#include <semaphore.h>

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/* One whole exchange; `fd` -1: a new connection must come, else it must come on that one. */
static int exchange(struct place *p, struct talk *t, int fd)
{
    struct tg_buf got = {0};
    bool reused = fd >= 0;

    on_worker(start_talk, t);
    if (fd < 0)
        fd = accept_within(p, 5000);
    assert_true(fd >= 0);
    assert_true(read_until(fd, "\r\n\r\n", &got));
    say(fd, ok, sizeof(ok) - 1);
    assert_true(over_within(t, 5000));
    assert_string_equal(log_of(t), "200 [ok] end");
    assert_int_equal(t->reused, reused);
    tg_buf_fini(&t->log);
    tg_buf_fini(&got);
    return fd;
}

static void one_connection_for_many(void **state)
{
    struct place p = open_place(0);
    int fd = -1;

    (void)state;
    for (int i = 0; i < 100; i++) {
        struct talk t = get_from(&p);

        fd = exchange(&p, &t, fd);
        assert_int_equal(counts_of(&p).idle, 1);
        assert_int_equal(counts_of(&p).open, 1);
    }
    assert_int_equal(accept_within(&p, 0), -1);          /* there was never another one */

    struct talk t = get_from(&p);
    t.fresh = true;                                      /* asked for explicitly */
    int second = exchange(&p, &t, -1);
    assert_int_equal(counts_of(&p).idle, 2);
    t = get_from(&p);
    assert_int_equal(exchange(&p, &t, second), second);  /* the latest used goes first */
    close(fd);
    close(second);
    settle();
    assert_int_equal(counts_of(&p).open, 0);
    close_place(&p);
}

static void many_at_once(void **state)
{
    enum { N = 20 };
    struct place p = open_place(0);
    struct talk talks[N];
    int fds[N];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            talks[i] = get_from(&p);
            on_worker(start_talk, &talks[i]);
            if (round == 0)
                fds[i] = accept_within(&p, 5000);
        }
        assert_int_equal(counts_of(&p).open, N);
        assert_int_equal(counts_of(&p).idle, 0);
        for (int i = 0; i < N; i++)
            say(fds[i], ok, sizeof(ok) - 1);
        for (int i = 0; i < N; i++) {
            assert_true(over_within(&talks[i], 5000));
            assert_string_equal(log_of(&talks[i]), "200 [ok] end");
            tg_buf_fini(&talks[i].log);
        }
        assert_int_equal(counts_of(&p).idle, N);
    }
    close_place(&p);                                     /* with all of them idle */
    for (int i = 0; i < N; i++) {
        char c;

        while (read(fds[i], &c, 1) == 1)
            continue;                                    /* the requests, then the end */
        close(fds[i]);
    }
}

/* What is said after an answer, or to nobody, can be no answer to anybody (RFC 9112 §9.5). */
static void unasked_octets_poison(void **state)
{
    static const char *const extra[] = {"x", "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
        for (int later = 0; later < 2; later++) {
            struct place p = open_place(0);
            struct talk t = get_from(&p);
            struct tg_buf both = {0};

            tg_buf_adds(&both, ok);
            if (!later)
                tg_buf_adds(&both, extra[i]);
            on_worker(start_talk, &t);
            int fd = accept_within(&p, 5000);
            say(fd, both.data, both.len);
            assert_true(over_within(&t, 5000));
            assert_string_equal(log_of(&t), "200 [ok] end");
            if (later)
                say(fd, extra[i], strlen(extra[i]));
            settle();
            assert_int_equal(counts_of(&p).open, 0);
            tg_buf_fini(&t.log);
            tg_buf_fini(&both);
            t = get_from(&p);
            int second = exchange(&p, &t, -1);           /* and the next one asks elsewhere */
            close(fd);
            close(second);
            close_place(&p);
        }
    }
}

static void idle_ones_go(void **state)
{
    struct tg_call_limits roomy = limits;
    struct place p = open_place(0);
    struct talk t = get_from(&p);
    char c;

    (void)state;
    limits.idle_ms = 300;
    int fd = exchange(&p, &t, -1);
    assert_int_equal(counts_of(&p).idle, 1);
    assert_int_equal(read(fd, &c, 1), 0);                /* after its time */
    settle();
    assert_int_equal(counts_of(&p).open, 0);
    close(fd);
    limits.idle_ms = 0;                                  /* none may idle */
    t = get_from(&p);
    fd = exchange(&p, &t, -1);
    assert_int_equal(counts_of(&p).open, 0);
    close(fd);
    limits = roomy;

    t = get_from(&p);
    fd = exchange(&p, &t, -1);
    reset_connection(fd);
    settle();
    assert_int_equal(counts_of(&p).open, 0);
    close_place(&p);
}

/* The connection dies while the worker looks away: the call finds out, or asks before what may not be said twice. */
struct race {
    struct talk *t;
    sem_t ready, closed;
};

static void start_after_the_close(struct tg_worker *w, void *arg)
{
    struct race *r = arg;

    sem_post(&r->ready);
    sem_wait(&r->closed);
    start_talk(w, r->t);
}

static void dead_when_taken(void **state)
{
    static const struct { const char *why; unsigned method; bool reset; } cases[] = {
        {"closed under a GET", TG_METHOD_GET, false},
        {"reset under a GET", TG_METHOD_GET, true},
        {"closed before a POST", TG_METHOD_POST, false},
        {"reset before a POST", TG_METHOD_POST, true},
        {"closed before an unknown method", TG_METHOD_OTHER, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct place p = open_place(0);
        struct talk t = get_from(&p);
        struct race race = {.t = &t};
        int fd = exchange(&p, &t, -1);

        t = get_from(&p);
        t.method = cases[i].method;
        sem_init(&race.ready, 0, 0);
        sem_init(&race.closed, 0, 0);
        tg_worker_post(worker, start_after_the_close, &race);
        sem_wait(&race.ready);
        if (cases[i].reset)
            reset_connection(fd);
        else
            close(fd);
        sem_post(&race.closed);
        if (cases[i].method == TG_METHOD_GET) {
            assert_true(over_within(&t, 5000));
            if (strcmp(log_of(&t), "no-answer") != 0 || !t.reused || t.answered)
                fail_msg("%s: heard \"%s\"", cases[i].why, log_of(&t));
        } else {
            fd = accept_within(&p, 5000);                /* a connection of its own, without a fault */
            assert_true(fd >= 0);
            say(fd, ok, sizeof(ok) - 1);
            assert_true(over_within(&t, 5000));
            if (strcmp(log_of(&t), "200 [ok] end") != 0 || t.reused)
                fail_msg("%s: heard \"%s\"", cases[i].why, log_of(&t));
            close(fd);
        }
        tg_buf_fini(&t.log);
        settle();
        assert_int_equal(counts_of(&p).open, 0);
        close_place(&p);
        sem_destroy(&race.ready);
        sem_destroy(&race.closed);
    }
}

static void take_again(struct tg_worker *w, void *arg)
{
    struct place *p = arg;
    struct tg_endpoint *before = p->ep;

    take_endpoint(w, p);                                 /* a reload: the new one first, then the old one goes */
    if (p->ep != before)
        p->port = 0;
    tg_endpoint_unref(before);
}

static void endpoints_live_as_held(void **state)
{
    struct place p = open_place(0), other = open_place(0);
    struct talk t = get_from(&p);
    int fd = exchange(&p, &t, -1);
    char c;

    (void)state;
    assert_ptr_not_equal(p.ep, other.ep);
    on_worker(take_again, &p);
    assert_int_not_equal(p.port, 0);                     /* the same endpoint, its connection kept */
    assert_int_equal(counts_of(&p).idle, 1);
    t = get_from(&p);
    exchange(&p, &t, fd);

    /* Dropped under a running call: the call goes on, the connection is not kept. */
    struct tg_buf got = {0};
    t = get_from(&p);
    on_worker(start_talk, &t);
    assert_true(read_until(fd, "\r\n\r\n", &got));
    on_worker(drop_endpoint, &p);
    say(fd, ok, sizeof(ok) - 1);
    assert_true(over_within(&t, 5000));
    assert_string_equal(log_of(&t), "200 [ok] end");
    assert_int_equal(read(fd, &c, 1), 0);
    tg_buf_fini(&t.log);
    tg_buf_fini(&got);
    close(fd);
    close_place(&p);
    close_place(&other);
}

/* Dropped with one busy and two idle: the idle ones go with the busy one at the latest. */
static void dropped_half_busy(void **state)
{
    struct place p = open_place(0);
    struct talk a = get_from(&p), b = get_from(&p), c = get_from(&p);
    struct tg_buf got = {0};
    int fds[3];

    (void)state;
    a.fresh = b.fresh = c.fresh = true;
    fds[0] = exchange(&p, &a, -1);
    fds[1] = exchange(&p, &b, -1);
    on_worker(start_talk, &c);
    fds[2] = accept_within(&p, 5000);
    assert_true(read_until(fds[2], "\r\n\r\n", &got));
    on_worker(drop_endpoint, &p);
    on_worker(cancel_talk, &c);
    for (int i = 0; i < 3; i++) {
        char octet;

        assert_true(read(fds[i], &octet, 1) <= 0);
        close(fds[i]);
    }
    tg_buf_fini(&got);
    close_place(&p);
}

static void unix_endpoint(void **state)
{
    char dir[] = "/tmp/tollgate-pool-XXXXXX";
    struct tg_address at;
    struct place p = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(p.url, sizeof(p.url), "unix:%s/s", dir);
    assert_int_equal(tg_address_from_path(tg_slice_str(p.url + 5), &at, NULL), TG_OK);
    assert_int_equal(bind(p.fd, &at.sa.any, at.len), 0);
    assert_int_equal(listen(p.fd, 8), 0);
    on_worker(take_endpoint, &p);
    struct talk t = get_from(&p);
    int fd = exchange(&p, &t, -1);
    t = get_from(&p);
    exchange(&p, &t, fd);
    close(fd);
    close_place(&p);
    unlink(p.url + 5);
    rmdir(dir);
}

/* ---- TLS ---- */

static struct tg_tls_client *client_of(bool skip_verify)
{
    struct tg_tls_client_settings settings = {.skip_verify = skip_verify};
    struct tg_tls_client *client = NULL;

    assert_int_equal(tg_tls_client_new(&settings, &client, NULL), TG_OK);
    return client;
}

/* Who is trusted differently, or called otherwise, is another endpoint: its connections are never shared. */
static void keys_with_tls(void **state)
{
    struct tg_tls_client *verifying = client_of(false), *again = client_of(false), *blind = client_of(true);
    static const char http[] = "http://127.0.0.1:443", https[] = "https://127.0.0.1";
    const struct { const char *url; struct tg_tls_client *tls; const char *name; unsigned same_as; } all[] = {
        {http, NULL, NULL, 0},            {https, verifying, "a", 1}, {https, verifying, "b", 2},
        {https, blind, "a", 3},           {https, again, "a", 1},     {"https://127.0.0.1:444", verifying, "a", 5},
        {https, verifying, "", 6},        {http, NULL, NULL, 0},
    };
    struct place places[ARRAY_LEN(all)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        places[i] = (struct place){.fd = -1, .tls = all[i].tls, .name = all[i].name};
        snprintf(places[i].url, sizeof(places[i].url), "%s", all[i].url);
        on_worker(take_endpoint, &places[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            if ((places[i].ep == places[k].ep) != (all[i].same_as == all[k].same_as))
                fail_msg("%zu and %zu", i, k);
    tg_tls_client_unref(verifying);                      /* endpoints hold what they need */
    tg_tls_client_unref(again);
    tg_tls_client_unref(blind);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        close_place(&places[i]);
}

/* Whatever is no handshake is a fault of its own; silence has the time of connecting. */
static void no_handshake(void **state)
{
    static const struct { const char *why; struct tg_slice answer; const char *want; } cases[] = {
        {"plain HTTP", TG_S_INIT("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "tls"},
        {"an alert", TG_S_INIT("\x15\x03\x01\x00\x02\x02\x28"), "tls"},
        {"closed at once", TG_S_INIT(""), "tls"},
        {"silence", {NULL, 0}, "connect-timeout"},
    };
    struct tg_call_limits roomy = limits;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct place p = open_place(0), q = {.fd = -1, .tls = client_of(true), .name = "u"};
        struct talk t = get_from(&q);

        snprintf(q.url, sizeof(q.url), "%s", p.url);
        on_worker(take_endpoint, &q);
        limits.connect_ms = cases[i].answer.ptr ? roomy.connect_ms : 300;
        on_worker(start_talk, &t);
        int fd = accept_within(&p, 5000);
        char hello[5];

        assert_int_equal(recv(fd, hello, sizeof(hello), MSG_WAITALL), sizeof(hello));
        assert_memory_equal(hello, "\x16\x03", 2);       /* a handshake record: no request goes out in the clear */
        if (cases[i].answer.ptr) {
            char rest[4096];

            recv(fd, rest, sizeof(rest), 0);
            say(fd, cases[i].answer.ptr, cases[i].answer.len);
            shutdown(fd, SHUT_WR);
        }
        assert_true(over_within(&t, 5000));
        if (strcmp(log_of(&t), cases[i].want) != 0)
            fail_msg("%s: heard \"%s\"", cases[i].why, log_of(&t));
        settle();
        assert_int_equal(counts_of(&q).open, 0);
        limits = roomy;
        tg_buf_fini(&t.log);
        close(fd);
        tg_tls_client_unref(q.tls);
        close_place(&q);
        close_place(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_connection_for_many), cmocka_unit_test(many_at_once),
        cmocka_unit_test(unasked_octets_poison),   cmocka_unit_test(idle_ones_go),
        cmocka_unit_test(dead_when_taken),         cmocka_unit_test(endpoints_live_as_held),
        cmocka_unit_test(dropped_half_busy),       cmocka_unit_test(unix_endpoint),
        cmocka_unit_test(keys_with_tls),           cmocka_unit_test(no_handshake),
    };

    return cmocka_run_group_tests(tests, start_worker, stop_worker);
}
