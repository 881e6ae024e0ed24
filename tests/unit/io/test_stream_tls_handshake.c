/*
 * stream with TLS - its handshake: cut anywhere, with those who speak something else, and whom it trusts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tls_stream.h"

/* ---- the handshake, cut anywhere ---- */

static void octet_by_octet(void **state)
{
    (void)state;
    for (size_t v = 0; v < 2 * ARRAY_LEN(versions); v++) {
        bool accepts = v % 2 == 0;
        SSL_CTX *ctx = peer_context(!accepts, versions[v / 2], accepts ? NULL : &leaf, NULL);
        struct peer p =
            peer_new(ctx, !accepts, accepts ? accepting() : connecting(client, "up.example", NULL, "hello"));
        char got[8] = {0};
        int end;

        assert_true(peer_shake(&p, 1, settle));
        wait_for(heard.connected == 1);
        assert_int_equal(heard.connect_error, 0);
        SSL_write(p.ssl, "0123456789", 10);
        while (peer_push(&p, 1) > 0)
            settle();
        wait_for(heard.got == 10);
        if (!accepts) {
            assert_int_equal(peer_read(&p, got, 5, &end), 5);
            assert_string_equal(got, "hello");
        }
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static void expect_failure(const char *words)
{
    wait_for(heard.connected + heard.broken == 1);
    settle();
    assert_int_equal(heard.connected, 1);
    assert_int_equal(heard.broken, 0);
    assert_int_equal(heard.connect_error, EPROTO);
    assert_string_equal(heard.words, words);
}

/* The peer goes away after `n` octets of its first flight, with FIN or RST; false: it has no more octets than that. */
static bool killed_after(bool accepts, int version, size_t n, bool reset)
{
    struct linger now = {1, 0};
    SSL_CTX *ctx = peer_context(!accepts, version, accepts ? NULL : &leaf, NULL);
    struct peer p = peer_new(ctx, !accepts, accepts ? accepting() : connecting(client, "up.example", NULL, "hello"));
    bool cut;
    char *more;

    if (!accepts)
        assert_true(peer_pull(&p));
    SSL_do_handshake(p.ssl);
    peer_push(&p, n);
    cut = BIO_get_mem_data(p.out, &more) > 0 || accepts;
    if (reset)
        setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    if (cut) {
        peer_free(&p);
        expect_failure("the peer closed during the handshake");
        assert_int_equal(heard.readable, 0);
    }
    over(&p);
    SSL_CTX_free(ctx);
    return cut && n < 2000;
}

static void killed_at_every_stage(void **state)
{
    (void)state;
    for (size_t v = 0; v < 8; v++)
        for (size_t n = 0; killed_after(v & 1, versions[v >> 1 & 1], n, v >> 2); n += n < 12 ? 1 : 41)
            continue;
}

/* A stream whose owner does not ask to be told is broken. */
static void untold_failure(void **state)
{
    int fd = accepting_by(server, &untold);

    (void)state;
    close(fd);
    wait_for(heard.broken == 1);
    over(NULL);
    assert_int_equal(it.n.connected, 0);
}

static void closed_in_between(void **state)
{
    (void)state;
    SSL_CTX *ctx = peer_context(false, 0, NULL, NULL);

    for (int rounds = 0; rounds < 3; rounds++) {         /* the stream is closed with the handshake half done */
        struct peer p = peer_new(ctx, false, accepting());
        char c;

        SSL_do_handshake(p.ssl);
        peer_push(&p, rounds == 0 ? 0 : rounds == 1 ? 100 : SIZE_MAX);
        settle();
        on_worker(close_it, rounds == 2 ? (void *)&c : NULL);
        while (recv(p.fd, &c, 1, 0) > 0)
            continue;
        over(&p);
        assert_int_equal(it.n.connected + it.n.broken + it.n.readable, 0);
    }
    SSL_CTX_free(ctx);
}

/* ---- who does not speak TLS, or another one ---- */

static void plain_text(void **state)
{
    (void)state;
    static const struct { const char *text; bool http; } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"DELETE /a HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"OPTIONS * HTTP/1.1\r\n\r\n", true},
        {"PROPFIND / HTTP/1.1\r\n\r\n", true},
        {"CONNECT a:1 HTTP/1.1\r\n\r\n", true},
        {"SSH-2.0-OpenSSH_9.2\r\n", false},
        {"\x16\x04\x09GET / HTTP/1.1\r\n\r\n", false},
        {"get / HTTP/1.1\r\n\r\n", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = accepting();
        char got[16];

        send(fd, cases[i].text, strlen(cases[i].text), MSG_NOSIGNAL);
        expect_failure("the peer speaks no TLS");
        if (heard.met_http != cases[i].http)
            fail_msg("%s: taken for %s", cases[i].text, heard.met_http ? "HTTP" : "something else");
        if (cases[i].http)                               /* whoever answers it has the connection for itself */
            assert_true(recv(fd, got, sizeof(got), MSG_DONTWAIT) < 0);
        over(NULL);
        close(fd);
    }
    int fd = connecting(client, "up.example", NULL, NULL);
    send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL);
    expect_failure("the peer speaks no TLS");
    assert_false(heard.met_http);
    over(NULL);
    close(fd);
}

static void old_version(void **state)
{
    (void)state;
    SSL_CTX *ctx = peer_context(false, TLS1_1_VERSION, NULL, NULL);
    struct peer p = peer_new(ctx, false, accepting());

    assert_false(peer_shake(&p, SIZE_MAX, NULL));
    expect_failure("no common protocol version");
    assert_false(heard.met_http);
    over(&p);
    SSL_CTX_free(ctx);
    ctx = peer_context(true, TLS1_1_VERSION, &leaf, NULL);
    p = peer_new(ctx, true, connecting(client, "up.example", NULL, NULL));
    assert_false(peer_shake(&p, SIZE_MAX, NULL));
    expect_failure("no common protocol version");
    over(&p);
    SSL_CTX_free(ctx);
}

static void other_protocol(void **state)
{
    (void)state;
    SSL_CTX *ctx = peer_context(false, 0, NULL, NULL);
    struct peer p = peer_new(ctx, false, accepting());

    SSL_set_alpn_protos(p.ssl, (const unsigned char *)"\x02h2", 3);
    assert_false(peer_shake(&p, SIZE_MAX, NULL));
    expect_failure("no common application protocol (ALPN)");
    over(&p);
    SSL_CTX_free(ctx);
}

/* ---- whom to trust ---- */

static void untrusted(void **state)
{
    (void)state;
    static const struct { const char *name, *words; bool other; } cases[] = {
        {"up.example", "certificate not trusted: unable to get local issuer certificate", true},
        {"other.example", "certificate is not for other.example", false},
        {"127.0.0.2", "certificate is not for 127.0.0.2", false},
        {"up.example", "", false},
        {"127.0.0.1", "", false},
    };

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const char *words = cases[i / 2].words;
        SSL_CTX *ctx = peer_context(true, versions[i % 2], &leaf, NULL);
        struct peer p = peer_new(ctx, true, connecting(cases[i / 2].other ? distrustful : client, cases[i / 2].name,
                                                       NULL, "secret"));
        char got[8];
        int end;

        bool done = peer_shake(&p, SIZE_MAX, NULL);
        if (*words) {
            expect_failure(words);
            assert_int_equal(peer_read(&p, got, 1, &end), 0); /* told in an alert, and nothing of the secret */
            assert_int_equal(end, SSL_ERROR_SSL);
            ERR_clear_error();
        } else {
            assert_true(done);
            assert_int_equal(peer_read(&p, got, 6, &end), 6);
        }
        over(&p);
        SSL_CTX_free(ctx);
    }
}

struct asked_facts {
    struct tg_tls_facts facts;
    char name[64], subject[64], peer_error[100];
    bool there;
};

static void copy_facts(struct tg_worker *w, void *arg)
{
    struct asked_facts *a = arg;
    const struct tg_tls_facts *f = tg_stream_tls(&it.s);

    (void)w;
    memset(a, 0, sizeof(*a));
    a->there = f;
    if (!f)
        return;
    a->facts = *f;
    snprintf(a->name, sizeof(a->name), TG_S_FMT, TG_S_ARG(f->server_name));
    if (f->certificate)
        snprintf(a->subject, sizeof(a->subject), TG_S_FMT, TG_S_ARG(f->certificate->subject));
    if (f->peer_error)
        snprintf(a->peer_error, sizeof(a->peer_error), "%s", f->peer_error);
}

static void client_certificates(void **state)
{
    (void)state;
    const struct { const char *why; struct tg_tls_server *by; struct made *shows; enum tg_tls_peer peer;
                   const char *error; } cases[] = {
        {"nobody asks", server, &caller, TG_TLS_PEER_UNASKED, ""},
        {"none is shown", asking, NULL, TG_TLS_PEER_MISSING, ""},
        {"another CA's", asking, &stranger, TG_TLS_PEER_INVALID, "unable to get local issuer certificate"},
        {"a good one", asking, &caller, TG_TLS_PEER_VALID, ""},
        {"a good one, strictly", strict, &caller, TG_TLS_PEER_VALID, ""},
    };
    struct asked_facts a;

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        SSL_CTX *ctx = peer_context(false, versions[i % 2], cases[i / 2].shows, NULL);
        struct peer p = peer_new(ctx, false, accepting_by(cases[i / 2].by, &events));

        on_worker(copy_facts, &a);
        assert_false(a.there);                           /* not before the handshake is over */
        SSL_set_tlsext_host_name(p.ssl, "Up.EXAMPLE");
        assert_true(peer_shake(&p, SIZE_MAX, NULL));
        wait_for(heard.connected == 1);
        on_worker(copy_facts, &a);
        assert_true(a.there);
        assert_string_equal(a.name, "up.example");
        assert_string_equal(a.facts.version, i % 2 ? "TLSv1.3" : "TLSv1.2");
        assert_non_null(a.facts.cipher);
        if (a.facts.peer != cases[i / 2].peer)
            fail_msg("%s: %d", cases[i / 2].why, a.facts.peer);
        assert_string_equal(a.peer_error, cases[i / 2].error);
        if (cases[i / 2].shows && cases[i / 2].by != server)
            assert_string_equal(a.subject, cases[i / 2].shows == &caller ? "CN=caller" : "CN=stranger");
        over(&p);
        SSL_CTX_free(ctx);
    }
}

static void refused_certificates(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(versions); i++) {
        SSL_CTX *ctx = peer_context(false, versions[i / 2], i % 2 ? &stranger : NULL, NULL);
        struct peer p = peer_new(ctx, false, accepting_by(strict, &events));

        peer_shake(&p, SIZE_MAX, NULL);
        expect_failure(i % 2 ? "certificate not trusted: unable to get local issuer certificate"
                             : "the peer showed no certificate");
        over(&p);
        SSL_CTX_free(ctx);
    }
    /* The other way: the peer asks for ours. With TLS 1.3 its refusal comes after our handshake. */
    for (size_t i = 0; i < 2 * ARRAY_LEN(versions); i++) {
        SSL_CTX *ctx = peer_context(true, versions[i / 2], &leaf, ca.cert);
        struct peer p = peer_new(ctx, true, connecting(i % 2 ? with_cert : client, "up.example", NULL, "hello"));
        char got[8];
        int end;

        bool done = peer_shake(&p, SIZE_MAX, NULL);
        assert_int_equal(done, i % 2);
        if (done) {
            assert_int_equal(peer_read(&p, got, 5, &end), 5);
        } else if (versions[i / 2] == TLS1_2_VERSION) {
            expect_failure("the peer refused: handshake failure");
        } else {
            wait_for(heard.end == -2);
            assert_string_equal(heard.words, "the peer refused: certificate required");
        }
        ERR_clear_error();
        over(&p);
        SSL_CTX_free(ctx);
    }
}

/* Both sides remember; what was verified a while ago is not verified for ever. */
static void resumption(void **state)
{
    (void)state;
    struct asked_facts a;
    char got[8];
    int end;

    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        SSL_CTX *ctx = peer_context(true, versions[v], &leaf, NULL);
        struct tg_tls_resume resume = {0};

        for (int round = 0; round < 4; round++) {
            struct peer p = peer_new(ctx, true, connecting(client, "up.example", &resume, "hello"));

            assert_true(peer_shake(&p, SIZE_MAX, NULL));
            assert_int_equal(peer_read(&p, got, 5, &end), 5);
            peer_write(&p, "answer", 6);
            wait_for(heard.got == 6);
            on_worker(copy_facts, &a);
            assert_int_equal(a.facts.resumed, round > 0);
            assert_int_equal(SSL_session_reused(p.ssl), round > 0);
            if (round == 1)                              /* cut off: that says nothing against the session */
                shutdown(p.fd, SHUT_WR);
            if (round == 1) {
                wait_for(heard.end == -2);
                on_worker(close_it, &p);                 /* with a reset */
            }
            over(&p);
        }
        tg_tls_resume_fini(&resume);
        SSL_CTX_free(ctx);
    }
    for (size_t v = 0; v < 2 * ARRAY_LEN(versions); v++) {
        SSL_CTX *ctx = peer_context(false, versions[v / 2], &caller, NULL);
        SSL_SESSION *session = NULL;

        for (int round = 0; round < 3; round++) {
            struct peer p = peer_new(ctx, false, accepting_by(asking, &events));

            if (round == 2)                              /* the caller's certificate has expired by now */
                tg_clock_set_wall_ms(tg_clock_wall_ms() + INT64_C(86400) * 1000 * 11);
            if (session)
                SSL_set_session(p.ssl, session);
            assert_true(peer_shake(&p, SIZE_MAX, NULL));
            wait_for(heard.connected == 1);
            on_worker(copy_facts, &a);
            peer_write(&p, "x", 1);
            wait_for(heard.got == 1);
            if (versions[v / 2] == TLS1_3_VERSION)       /* its tickets are behind the handshake */
                for (struct pollfd fd = {.fd = p.fd, .events = POLLIN}; poll(&fd, 1, 0) == 1;)
                    peer_pull(&p);
            SSL_read(p.ssl, got, 1);
            SSL_SESSION_free(session);
            session = SSL_get1_session(p.ssl);
            if (round == 1)
                assert_true(a.facts.resumed);
            assert_int_equal(a.facts.peer, round < 2 ? TG_TLS_PEER_VALID : TG_TLS_PEER_INVALID);
            assert_string_equal(a.peer_error, round < 2 ? "" : "certificate has expired");
            assert_string_equal(a.subject, "CN=caller");
            SSL_set_shutdown(p.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
            over(&p);
        }
        tg_clock_set_wall_ms(-1);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octet_by_octet),
        cmocka_unit_test(killed_at_every_stage),
        cmocka_unit_test(untold_failure),
        cmocka_unit_test(closed_in_between),
        cmocka_unit_test(plain_text),
        cmocka_unit_test(old_version),
        cmocka_unit_test(other_protocol),
        cmocka_unit_test(untrusted),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(refused_certificates),
        cmocka_unit_test(resumption),
    };

    return cmocka_run_group_tests_name("stream_tls_handshake", tests, set_up, tear_down);
}
