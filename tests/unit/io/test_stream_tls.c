/*
 * stream with TLS - the same promises as without: every octet once and in order, nothing called from inside, every end
 * told for what it is. The other side is OpenSSL itself, and the test decides which octets reach the stream when.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tls_stream.h"
#include <malloc.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- every octet, once, in order ---- */

static unsigned roll(unsigned sides)
{
    it.dice = it.dice * 1103515245u + 12345u;
    return (it.dice >> 16) % sides;
}

static void resume_it(struct tg_deferred *d)
{
    (void)d;
    if (it.s.fd >= 0 && tg_stream_backlog(&it.s) < 100000)
        tg_stream_resume(&it.s);
}

/* Gives back what it reads, in pieces, sometimes pausing, in any case while too much waits. */
static void echo(struct tg_stream *s)
{
    size_t room = roll(4) == 0 ? 1 + roll(300) : TG_SCRATCH_BYTES;
    ssize_t n = tg_stream_read(s, s->worker->scratch, room);

    if (n == 0 || n == -2) {
        take_end(s, n);
        tg_stream_end(s);
        return;
    }
    for (ssize_t at = 0; at < n;) {
        ssize_t k = 1 + (ssize_t)roll(roll(2) ? 200 : 40000);

        if (k > n - at)
            k = n - at;
        tg_stream_put(s, s->worker->scratch + at, (size_t)k);
        at += k;
    }
    it.n.got += n > 0 ? (size_t)n : 0;
    it.inside = true;
    tg_stream_flush(s);
    it.inside = false;
    if (tg_stream_backlog(s) >= 100000) {
        tg_stream_pause(s);
    } else if (roll(6) == 0) {
        tg_stream_pause(s);
        tg_worker_defer(s->worker, &it.later);
    }
}

/* Sends `n` octets, reads them again, both at once. */
static void exchange(struct peer *p, const char *want, size_t n)
{
    size_t sent = 0, got = 0;
    char *in = tg_alloc(n);

    while (got < n) {
        struct pollfd fd = {.fd = p->fd, .events = POLLIN};
        char *out;
        size_t have = (size_t)BIO_get_mem_data(p->out, &out);

        if (have < 30000 && sent < n) {
            size_t k = 1 + (sent * 31 + 7) % 50000;

            k = k < n - sent ? k : n - sent;
            assert_int_equal(SSL_write(p->ssl, want + sent, (int)k), k);
            sent += k;
            have = (size_t)BIO_get_mem_data(p->out, &out);
        }
        fd.events = (short)(POLLIN | (have ? POLLOUT : 0));
        if (poll(&fd, 1, 10000) != 1)
            fail_msg("stuck: %zu sent, %zu back of %zu", sent, got, n);
        if (fd.revents & POLLOUT) {
            ssize_t k = send(p->fd, out, have, MSG_DONTWAIT | MSG_NOSIGNAL);
            char drop[4096];

            for (ssize_t at = 0; at < k; at += BIO_read(p->out, drop, k - at < 4096 ? (int)(k - at) : 4096))
                continue;
        }
        if (fd.revents & POLLIN)
            assert_true(peer_pull(p));
        for (int k; got < n && (k = SSL_read(p->ssl, in + got, (int)(n - got))) > 0;)
            got += (size_t)k;
    }
    assert_memory_equal(in, want, n);
    free(in);
}

static void every_octet(bool stream_accepts)
{
    static const size_t sizes[] = {1, 2, 300, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 1u << 20, 10u << 20};

    for (size_t v = 0; v < 2 * ARRAY_LEN(sizes); v++) {
        size_t n = sizes[v / 2];
        char *want = pattern(n), last;
        SSL_CTX *ctx;
        struct peer p = shaken(stream_accepts, versions[v % 2], &ctx);
        int end;

        it.dice = (unsigned)n;
        it.later.run = resume_it;
        it.readable = echo;
        settle();                                        /* the worker sees it */
        exchange(&p, want, n);
        SSL_shutdown(p.ssl);
        peer_push(&p, SIZE_MAX);
        assert_int_equal(peer_read(&p, &last, 1, &end), 0);
        assert_int_equal(end, SSL_ERROR_ZERO_RETURN);   /* echo answers an end with an end */
        wait_for(heard.end == 0);
        assert_int_equal(heard.got, n);
        over(&p);
        SSL_CTX_free(ctx);
        free(want);
    }
}

static void every_octet_accepting(void **state)
{
    (void)state;
    every_octet(true);
}

static void every_octet_connecting(void **state)
{
    (void)state;
    every_octet(false);
}

/* ---- writing ---- */

struct writing {
    const char *bytes;
    size_t len, piece, backlog;
    bool end;
};

static void write_pieces(struct tg_worker *w, void *arg)
{
    struct writing *job = arg;
    char *own = tg_alloc(job->len);

    (void)w;
    it.inside = true;
    memcpy(own, job->bytes, job->len);
    for (size_t at = 0; at < job->len; at += job->piece)
        tg_stream_put(&it.s, own + at, job->len - at < job->piece ? job->len - at : job->piece);
    tg_stream_flush(&it.s);
    memset(own, '!', job->len);                          /* from here on they are the caller's again */
    free(own);
    job->backlog = tg_stream_backlog(&it.s);
    if (job->end)
        tg_stream_end(&it.s);
    it.inside = false;
}

/* A reader that is slow; a piece smaller, as large as, and larger than a record; then the end, after all of it. */
static void slow_reader(void **state)
{
    (void)state;
    static const size_t pieces[] = {50, 1000, 16384, 20000, 3000000};
    const size_t n = 3000000;
    char *want = pattern(n), *got = tg_alloc(n + 1);

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct writing job = {.bytes = want, .len = n - 7, .piece = pieces[i]};
        struct writing rest = {.bytes = want + n - 7, .len = 7, .piece = 2, .end = true};
        SSL_CTX *ctx;
        struct peer p = shaken(true, versions[i % 2], &ctx);
        size_t done = 0;
        int end;

        on_worker(write_pieces, &job);
        assert_true(job.backlog > 0);
        on_worker(write_pieces, &rest);
        assert_true(rest.backlog > 0);                   /* the system may have taken more meanwhile */
        settle();
        assert_int_equal(heard.drained, 0);
        while (done < n)
            done += peer_read(&p, got + done, n - done < 30011 ? n - done : 30011, &end);
        assert_memory_equal(got, want, n);
        wait_for(heard.drained == 1);
        assert_int_equal(peer_read(&p, got, 1, &end), 0);
        assert_int_equal(end, SSL_ERROR_ZERO_RETURN);
        assert_false(peer_pull(&p));                     /* and FIN behind it */
        over(&p);
        SSL_CTX_free(ctx);
    }
    free(want);
    free(got);
}

/* A head in pieces and its body go out together: one record, one segment. */
static void pieces_share_a_record(void **state)
{
    char *want = pattern(TG_SCRATCH_BYTES), got[20000];
    struct writing job = {.bytes = want, .len = 1550, .piece = 50};
    SSL_CTX *ctx;
    struct peer p = shaken(true, TLS1_3_VERSION, &ctx);

    (void)state;
    while (SSL_read(p.ssl, got, 1) < 0 && recv(p.fd, got, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
        peer_pull(&p);                                   /* tickets */
    on_worker(write_pieces, &job);
    assert_true(peer_pull(&p));
    assert_int_equal(SSL_read(p.ssl, got, sizeof(got)), 1550);
    assert_memory_equal(got, want, 1550);
    over(&p);
    SSL_CTX_free(ctx);
    free(want);
}

/* What is put at once waits for the handshake; so does an end. */
static void put_before_the_handshake(void **state)
{
    (void)state;
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX *ctx = peer_context(true, versions[v], &leaf, NULL);
        struct peer p = peer_new(ctx, true, connecting(client, "up.example", NULL, "early words, "));
        struct writing more = {.bytes = "and more", .len = 8, .piece = 3, .end = v == 1};
        char got[64] = {0};
        int end;

        on_worker(write_pieces, &more);
        assert_int_equal(more.backlog, 21);
        assert_true(peer_shake(&p, SIZE_MAX, NULL));
        assert_int_equal(peer_read(&p, got, 21, &end), 21);
        assert_string_equal(got, "early words, and more");
        wait_for(heard.connected == 1 && heard.drained == 1);
        if (more.end) {
            assert_int_equal(peer_read(&p, got, 1, &end), 0);
            assert_int_equal(end, SSL_ERROR_ZERO_RETURN);
        }
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static void compare_unsaid(struct tg_worker *w, void *arg)
{
    (void)w;
    assert_true(tg_slice_eq(tg_stream_unsaid(&it.s), tg_slice_str(arg)));
}

/* The handshake's own octets find no room, and go before what was put all the same. */
static void handshake_without_room(void **state)
{
    (void)state;
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        struct writing early = {.bytes = "early words, ", .len = 13, .piece = 4};
        struct writing more = {.bytes = "and more", .len = 8, .piece = 3, .end = v == 1};
        SSL_CTX *ctx = peer_context(false, versions[v], NULL, NULL);
        size_t filled = 0;
        struct peer p = peer_new(ctx, false, accepting_full(server, &events, &filled));
        char got[64] = {0};
        int end;

        assert_true(filled > 0);
        on_worker(write_pieces, &early);
        SSL_do_handshake(p.ssl);
        peer_push(&p, SIZE_MAX);
        usleep(20000);
        on_worker(write_pieces, &more);
        assert_true(more.backlog > 21 + 200);            /* both, behind what the handshake says */
        on_worker(compare_unsaid, (void *)(uintptr_t) "early words, and more");
        while (filled > 0) {
            ssize_t n = recv(p.fd, got, filled < sizeof(got) ? filled : sizeof(got), 0);

            assert_true(n > 0);
            filled -= (size_t)n;
        }
        memset(got, 0, sizeof(got));
        assert_true(peer_shake(&p, SIZE_MAX, NULL));
        assert_int_equal(peer_read(&p, got, 21, &end), 21);
        assert_string_equal(got, "early words, and more");
        wait_for(heard.connected == 1 && heard.drained >= 1);
        if (more.end) {
            assert_int_equal(peer_read(&p, got, 1, &end), 0);
            assert_int_equal(end, SSL_ERROR_ZERO_RETURN);
        }
        over(&p);
        SSL_CTX_free(ctx);
    }
}

/* ---- ends ---- */

static void ends(void **state)
{
    (void)state;
    static const struct { const char *why; bool accepts, notify, fin; int end; } cases[] = {
        {"close_notify, to a server", true, true, false, 0},
        {"close_notify, to a client", false, true, false, 0},
        {"close_notify and FIN", false, true, true, 0},
        {"FIN alone, to a server: HTTP tells", true, false, true, 0},
        {"FIN alone, to a client: cut off", false, false, true, -2},
    };

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        SSL_CTX *ctx;
        struct peer p = shaken(cases[i / 2].accepts, versions[i % 2], &ctx);

        SSL_write(p.ssl, "the last words", 14);
        if (cases[i / 2].notify)
            SSL_shutdown(p.ssl);
        peer_push(&p, SIZE_MAX);                         /* in one segment */
        if (cases[i / 2].fin)
            shutdown(p.fd, SHUT_WR);
        wait_for(heard.end != 1);
        assert_int_equal(heard.got, 14);
        if (heard.end != cases[i / 2].end)
            fail_msg("%s: %d", cases[i / 2].why, heard.end);
        assert_string_equal(heard.words, heard.end ? "the peer closed without close_notify" : "");
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static void resume_now(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    it.inside = true;
    tg_stream_resume(&it.s);
    it.inside = false;
}

static void pause_now(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_stream_pause(&it.s);
}

/* As of a plain stream: whoever resumes is told of the end once more. */
static void end_is_told_again(void **state)
{
    SSL_CTX *ctx;
    struct peer p = shaken(true, TLS1_3_VERSION, &ctx);

    (void)state;
    SSL_shutdown(p.ssl);
    peer_push(&p, SIZE_MAX);
    wait_for(heard.end == 0);
    unsigned before = heard.readable;
    settle();
    assert_int_equal(heard.readable, before);
    on_worker(resume_now, NULL);
    wait_for(heard.readable == before + 1);
    over(&p);
    SSL_CTX_free(ctx);
}

static void closing(void **state)
{
    (void)state;
    static char yes;
    static const struct { bool reset, backlog; int end; } cases[] = {
        {false, false, SSL_ERROR_ZERO_RETURN}, {true, false, SSL_ERROR_WANT_READ}, {false, true, SSL_ERROR_WANT_READ}};
    const size_t n = 2000000;
    char *want = pattern(n), *got = tg_alloc(n + 1);

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct writing job = {.bytes = want, .len = n, .piece = n};
        SSL_CTX *ctx;
        struct peer p = shaken(i % 2, versions[i / 2 % 2], &ctx);
        int end;

        if (cases[i / 2].backlog)
            on_worker(write_pieces, &job);
        assert_int_equal(job.backlog > 0, cases[i / 2].backlog);
        on_worker(close_it, cases[i / 2].reset ? &yes : NULL);
        assert_true(peer_read(&p, got, n + 1, &end) < n);
        assert_int_equal(end, cases[i / 2].end);
        over(&p);
        SSL_CTX_free(ctx);
    }
    free(want);
    free(got);
}

/* Its peer is gone: writing fails, which the loop tells. */
static void broken(void **state)
{
    struct linger now = {1, 0};
    struct writing job = {.bytes = "words", .len = 5, .piece = 5};
    SSL_CTX *ctx;
    struct peer p = shaken(true, TLS1_3_VERSION, &ctx);

    (void)state;
    on_worker(pause_now, NULL);
    setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    peer_free(&p);
    usleep(20000);
    on_worker(write_pieces, &job);
    wait_for(heard.broken == 1);
    settle();
    assert_int_equal(heard.broken, 1);
    over(&p);
    SSL_CTX_free(ctx);
}

static void garbage(void **state)
{
    (void)state;
    static const char bad[] = "\x17\x03\x03\x00\x20 this was never encrypted at all";
    SSL_CTX *ctx;
    struct peer p = shaken(true, TLS1_3_VERSION, &ctx);
    char got;
    int end;

    send(p.fd, bad, 5 + 32, MSG_NOSIGNAL);
    wait_for(heard.end == -2);
    assert_int_equal(peer_read(&p, &got, 1, &end), 0);   /* an alert says so */
    assert_int_equal(end, SSL_ERROR_SSL);
    ERR_clear_error();
    over(&p);
    SSL_CTX_free(ctx);
}

/* ---- octets that the socket does not tell of ---- */

static void read_a_little(struct tg_stream *s)
{
    ssize_t n = tg_stream_read(s, s->worker->scratch, it.room);

    if (n > 0)
        tg_buf_add(&it.got, s->worker->scratch, (size_t)n);
    it.n.got = it.got.len;
    if (it.n.readable % 3 == 0)
        tg_stream_pause(s);
}

static void pending_octets(void **state)
{
    (void)state;
    char *want = pattern(300);

    for (size_t room = 1; room <= 301; room += room == 1 ? 9 : 50) {
        SSL_CTX *ctx;
        struct peer p = shaken(true, TLS1_3_VERSION, &ctx);

        it.room = room;
        it.readable = read_a_little;
        it.n.readable = 0;
        settle();                                        /* the worker sees it */
        for (size_t i = 0; i < 3; i++)
            SSL_write(p.ssl, want + 100 * i, 100);
        peer_push(&p, SIZE_MAX);                         /* three records, one segment */
        wait_for(heard.got == 300 || heard.readable == 3);
        while (heard.got < 300) {
            unsigned before = heard.readable;

            assert_int_equal(before % 3, 0);
            settle();
            assert_int_equal(heard.readable, before);    /* paused is paused */
            on_worker(resume_now, NULL);
            wait_for(heard.got == 300 || heard.readable == before + 3);
        }
        assert_memory_equal(it.got.data, want, 300);
        assert_true(heard.readable <= (300 + room - 1) / room + 3); /* never in vain but for the record's edges */
        over(&p);
        SSL_CTX_free(ctx);
    }
    free(want);
}

/* The request comes with the end of the handshake, and nothing after it. */
static void data_with_the_handshake(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        SSL_CTX *ctx = peer_context(false, TLS1_3_VERSION, NULL, NULL);
        struct peer p = peer_new(ctx, false, accepting());

        if (paused)
            on_worker(pause_now, NULL);
        SSL_do_handshake(p.ssl);
        peer_push(&p, SIZE_MAX);
        while (SSL_do_handshake(p.ssl) != 1)
            assert_true(peer_pull(&p));
        SSL_write(p.ssl, "a request", 9);
        peer_push(&p, SIZE_MAX);                         /* Finished and the request in one segment */
        wait_for(heard.connected == 1);
        settle();
        assert_int_equal(heard.got, paused ? 0 : 9);
        on_worker(resume_now, NULL);
        wait_for(heard.got == 9);
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static void ask_quiet(struct tg_worker *w, void *arg)
{
    (void)w;
    it.inside = true;
    *(bool *)arg = tg_stream_is_quiet(&it.s);
    it.inside = false;
}

static bool is_quiet(void)
{
    bool quiet = false;

    on_worker(ask_quiet, &quiet);
    return quiet;
}

static void quiet_or_not(void **state)
{
    (void)state;
    static const struct { const char *why; int what; bool quiet; } cases[] = {
        {"nothing", 0, true}, {"tickets", 1, true},       {"tickets and an octet", 2, false},
        {"an octet", 3, false}, {"close_notify", 4, false}, {"FIN", 5, false}, {"a new key", 6, true},
    };

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        int what = cases[i / 2].what;
        bool paused = i % 2;
        SSL_CTX *ctx = peer_context(true, TLS1_3_VERSION, &leaf, NULL);
        struct tg_tls_resume resume = {0};

        SSL_CTX_set_num_tickets(ctx, what == 1 || what == 2 ? 2 : 0);
        struct peer p = peer_new(ctx, true, connecting(client, "up.example", &resume, NULL));
        if (paused)
            on_worker(pause_now, NULL);
        while (SSL_do_handshake(p.ssl) != 1) {           /* what follows it is held back */
            peer_push(&p, SIZE_MAX);
            assert_true(peer_pull(&p));
        }
        wait_for(heard.connected == 1);
        on_worker(pause_now, NULL);
        unsigned before = heard.readable;
        if (what == 2 || what == 3)
            SSL_write(p.ssl, "x", 1);
        if (what == 4)
            SSL_shutdown(p.ssl);
        if (what == 6) {
            SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED);
            SSL_do_handshake(p.ssl);
        }
        peer_push(&p, SIZE_MAX);
        if (what == 5)
            shutdown(p.fd, SHUT_WR);
        usleep(5000);
        for (int again = 0; again < 2; again++)
            if (is_quiet() != cases[i / 2].quiet)
                fail_msg("%s: %s", cases[i / 2].why, cases[i / 2].quiet ? "not quiet" : "quiet");
        settle();
        assert_int_equal(heard.readable, before);
        if (what == 1 || what == 2)
            assert_non_null(resume.session);
        on_worker(resume_now, NULL);
        if (what == 2 || what == 3)                      /* it was only looked at */
            wait_for(heard.got == 1);
        if (what == 4 || what == 5)
            wait_for(heard.end == (what == 4 ? 0 : -2));
        if (what == 1) {
            settle();
            assert_int_equal(heard.readable, before);
        }
        over(&p);
        tg_tls_resume_fini(&resume);
        SSL_CTX_free(ctx);
    }
}

static void quiet_then_told(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_stream_resume(&it.s);
    it.inside = true;
    *(bool *)arg = tg_stream_is_quiet(&it.s);            /* takes the octet from the socket */
    it.inside = false;
}

static void told_after_a_look(void **state)
{
    SSL_CTX *ctx;
    struct peer p = shaken(false, TLS1_3_VERSION, &ctx);
    bool quiet = true;

    (void)state;
    settle();
    on_worker(pause_now, NULL);
    peer_write(&p, "x", 1);
    usleep(5000);
    on_worker(quiet_then_told, &quiet);
    wait_for(heard.got == 1);
    assert_false(quiet);
    over(&p);
    SSL_CTX_free(ctx);
}

/* ---- what TLS does by itself ---- */

static void new_keys(void **state)
{
    (void)state;
    for (int accepts = 0; accepts < 2; accepts++) {
        SSL_CTX *ctx;
        struct peer p = shaken(accepts, TLS1_3_VERSION, &ctx);
        char got[1000];
        int end;

        it.later.run = resume_it;
        it.readable = echo;
        settle();                                        /* the worker sees it */
        for (int i = 0; i < 20; i++) {
            assert_int_equal(SSL_key_update(p.ssl, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            if (i % 3 == 0)
                assert_int_equal(SSL_do_handshake(p.ssl), 1); /* else with the next octets */
            memset(got, 'a' + i, sizeof(got));
            peer_write(&p, got, sizeof(got));
            assert_int_equal(peer_read(&p, got, sizeof(got), &end), sizeof(got));
            assert_int_equal(got[999], 'a' + i);
        }
        assert_int_equal(it.n.broken, 0);
        over(&p);
        SSL_CTX_free(ctx);
    }
}

/* Each wish for new keys is answered: one who never stops wishing, and reads nothing, takes neither memory nor time. */
static void new_keys_without_end(void **state)
{
    (void)state;
    for (int accepts = 0; accepts < 2; accepts++) {
        SSL_CTX *ctx;
        struct peer p = shaken(accepts, TLS1_3_VERSION, &ctx);

        for (int i = 0; i < 1000; i++) {
            assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(p.ssl), 1);
        }
        peer_push(&p, SIZE_MAX);
        wait_for(heard.end == -2);
        assert_string_equal(heard.words, "the peer renegotiates, changes keys or warns without end");
        assert_int_equal(heard.got, 0);
        assert_true(tg_stream_backlog(&it.s) < 4096);
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static int add_to_ticket(SSL *ssl, void *arg)
{
    static const char ballast[3000];

    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), ballast, sizeof(ballast));
}

/*
 * Half a message of the peer's has come, a ticket in several records: OpenSSL writes nothing before it has the rest.
 * What is put meanwhile waits, without a busy loop, and goes out in order.
 */
static void half_a_message(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        SSL_CTX *ctx = peer_context(true, TLS1_3_VERSION, &leaf, NULL);
        struct writing job = {.bytes = "first, ", .len = 7, .piece = 7};
        struct writing more = {.bytes = "second", .len = 6, .piece = 6, .end = ends};
        char got[16] = {0}, *left;
        int end;

        SSL_CTX_set_session_ticket_cb(ctx, add_to_ticket, NULL, NULL);
        SSL_CTX_set_num_tickets(ctx, 1);
        struct peer p = peer_new(ctx, true, connecting(client, "up.example", NULL, NULL));
        SSL_set_max_send_fragment(p.ssl, 512);
        while (SSL_do_handshake(p.ssl) != 1) {
            peer_push(&p, SIZE_MAX);
            assert_true(peer_pull(&p));
        }
        assert_true(BIO_get_mem_data(p.out, &left) > 3000); /* the ticket, in at least six records */
        peer_push(&p, 1200);
        wait_for(heard.connected == 1 && heard.readable >= 1);
        on_worker(write_pieces, &job);
        on_worker(write_pieces, &more);
        assert_int_equal(more.backlog, 13);
        settle();
        assert_int_equal(recv(p.fd, got, 1, MSG_DONTWAIT), -1);
        assert_int_equal(heard.drained, 0);
        peer_push(&p, SIZE_MAX);
        assert_int_equal(peer_read(&p, got, 13, &end), 13);
        assert_string_equal(got, "first, second");
        wait_for(heard.drained == 1);
        if (ends) {
            assert_int_equal(peer_read(&p, got, 1, &end), 0);
            assert_int_equal(end, SSL_ERROR_ZERO_RETURN);
        }
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static void leave_errors(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    ERR_raise(ERR_LIB_RSA, ERR_R_INTERNAL_ERROR);
    ERR_raise(ERR_LIB_SSL, SSL_R_CERTIFICATE_VERIFY_FAILED);
}

/* The thread verifies signatures too, and what that left in OpenSSL's queue is no failure of this connection. */
static void errors_of_others(void **state)
{
    SSL_CTX *ctx = peer_context(false, TLS1_3_VERSION, NULL, NULL);
    struct peer p = peer_new(ctx, false, accepting());
    char got[8];
    int end;

    (void)state;
    on_worker(leave_errors, NULL);
    assert_true(peer_shake(&p, 50, settle));
    wait_for(heard.connected == 1);
    assert_int_equal(heard.connect_error, 0);
    it.readable = echo;
    it.later.run = resume_it;
    for (int i = 0; i < 3; i++) {
        on_worker(leave_errors, NULL);
        SSL_write(p.ssl, "abcdef", 6);
        peer_push(&p, 3);
        settle();
        on_worker(leave_errors, NULL);
        assert_true(is_quiet());
        peer_push(&p, SIZE_MAX);
        assert_int_equal(peer_read(&p, got, 6, &end), 6);
    }
    over(&p);
    SSL_CTX_free(ctx);
}

/* ---- what an idle connection costs ---- */

#define IDLE 200
static struct tg_stream idle[IDLE];
static unsigned idle_connected, idle_answered;

static void count_connected(struct tg_stream *s, int error)
{
    (void)s;
    assert_int_equal(error, 0);
    idle_connected++;
}

static void answer(struct tg_stream *s)
{
    ssize_t n = tg_stream_read(s, s->worker->scratch, TG_SCRATCH_BYTES);

    if (n > 0)
        tg_stream_put_copy(s, "answer", 6);
    idle_answered += n > 0;
}

static const struct tg_stream_events idle_events = {
    .readable = answer, .drained = hear_drained, .connected = count_connected, .broken = hear_broken};

static void open_idle(struct tg_worker *w, void *arg)
{
    int *fds = arg;

    for (size_t i = 0; i < IDLE; i++)
        tg_stream_open_tls(&idle[i], w, fds[i], &idle_events, server);
}

static void close_idle(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    for (size_t i = 0; i < IDLE; i++)
        tg_stream_close(&idle[i], false);
}

static void count_idle(struct tg_worker *w, void *arg)
{
    (void)w;
    *(unsigned *)arg = idle_connected + idle_answered;
}

/* In a process of its own, so that the memory of this side is not counted. */
static void be_clients(const int fds[][2], int version, int hold)
{
    SSL_CTX *ctx = peer_context(false, version, NULL, NULL);
    SSL *all[IDLE];
    char got[6];

    for (size_t i = 0; i < IDLE; i++) {
        all[i] = SSL_new(ctx);
        SSL_set_fd(all[i], fds[i][1]);
        close(fds[i][0]);
        if (SSL_connect(all[i]) != 1 || SSL_write(all[i], "x", 1) != 1 || SSL_read(all[i], got, 6) != 6)
            _exit(1);
    }
    _exit(read(hold, got, 1) == 0 ? 0 : 1);
}

static void idle_memory(void **state)
{
    static int fds[IDLE][2], ours[IDLE];

    (void)state;
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        int hold[2], status = 0;
        unsigned done = 0;
        pid_t child;

        begin();
        idle_connected = idle_answered = 0;
        assert_int_equal(pipe(hold), 0);
        for (size_t i = 0; i < IDLE; i++) {
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
            ours[i] = fds[i][0];
            fcntl(ours[i], F_SETFL, O_NONBLOCK);
        }
        child = fork();
        if (child == 0) {
            close(hold[1]);
            be_clients((const int(*)[2])fds, versions[v], hold[0]);
        }
        close(hold[0]);
        for (size_t i = 0; i < IDLE; i++)
            close(fds[i][1]);
        size_t before = mallinfo2().uordblks;
        on_worker(open_idle, ours);
        for (int tries = 0; tries < 10000 && done < 2 * IDLE; tries++, on_worker(count_idle, &done))
            usleep(1000);
        assert_int_equal(done, 2 * IDLE);
        size_t each = (mallinfo2().uordblks - before) / IDLE;
        print_message("# idle %s connection: %zu octets\n", v ? "TLSv1.3" : "TLSv1.2", each);
        if (!SANITIZED)
            assert_in_range(each, 1000, 16384);          /* two buffers of a record would be 33 KiB more */
        close(hold[1]);
        waitpid(child, &status, 0);
        assert_int_equal(status, 0);
        on_worker(close_idle, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_octet_accepting),
        cmocka_unit_test(every_octet_connecting),
        cmocka_unit_test(slow_reader),
        cmocka_unit_test(pieces_share_a_record),
        cmocka_unit_test(put_before_the_handshake),
        cmocka_unit_test(handshake_without_room),
        cmocka_unit_test(ends),
        cmocka_unit_test(end_is_told_again),
        cmocka_unit_test(closing),
        cmocka_unit_test(broken),
        cmocka_unit_test(garbage),
        cmocka_unit_test(pending_octets),
        cmocka_unit_test(data_with_the_handshake),
        cmocka_unit_test(quiet_or_not),
        cmocka_unit_test(told_after_a_look),
        cmocka_unit_test(new_keys),
        cmocka_unit_test(new_keys_without_end),
        cmocka_unit_test(half_a_message),
        cmocka_unit_test(errors_of_others),
        cmocka_unit_test(idle_memory),
    };

    return cmocka_run_group_tests_name("stream_tls", tests, set_up, tear_down);
}
