/*
 * tls_stream - one stream with TLS on a worker of its own, what was heard from it, and the peer at its other end.
 *
 * For tests; included after cmocka.h.
 */
#pragma once
#include "base/clock.h"
#include "io/stream.h"
#include "tls_peer.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>

static struct tg_worker *worker;
static char dir[] = "/tmp/tollgate-stream-tls-XXXXXX";
static struct made ca, other_ca, leaf, caller, stranger;
static struct tg_tls_server *server, *asking, *strict;
static struct tg_tls_client *client, *distrustful, *with_cert;

struct counted {
    unsigned readable, drained, connected, broken, called_inside;
    int connect_error, end;                              /* end: 1 none yet, else what tg_stream_read gave: 0, -2 */
    size_t got;
    char words[200];
    bool met_http;
};
/* One stream and what was heard from it: the worker's alone while the stream is open. */
static struct {
    struct tg_stream s;
    struct counted n;
    struct tg_buf got;
    struct tg_deferred later;
    void (*readable)(struct tg_stream *s);
    size_t room;
    unsigned dice;
    bool inside;
} it;
static struct counted heard;                             /* the test's own copy of it, taken by settle() */

static inline void take_end(struct tg_stream *s, ssize_t n)
{
    it.n.end = (int)n;
    snprintf(it.n.words, sizeof(it.n.words), "%s", tg_stream_tls_error(s));
    tg_stream_pause(s);
}

static inline void hear_readable(struct tg_stream *s)
{
    it.n.readable++;
    it.n.called_inside += it.inside;
    if (it.readable) {
        it.readable(s);
        return;
    }
    ssize_t n = tg_stream_read(s, s->worker->scratch, it.room);
    if (n > 0) {
        tg_buf_add(&it.got, s->worker->scratch, (size_t)n);
        it.n.got = it.got.len;
    } else if (n != -1) {
        take_end(s, n);
    }
}

static inline void hear_drained(struct tg_stream *s)
{
    it.n.drained++;
    it.n.called_inside += it.inside;
    if (it.later.run && tg_stream_backlog(s) == 0)
        tg_worker_defer(s->worker, &it.later);
}

static inline void hear_connected(struct tg_stream *s, int error)
{
    it.n.connected++;
    it.n.called_inside += it.inside;
    it.n.connect_error = error;
    it.n.met_http = tg_stream_tls_met_http(s);
    snprintf(it.n.words, sizeof(it.n.words), "%s", tg_stream_tls_error(s));
}

static inline void hear_broken(struct tg_stream *s)
{
    (void)s;
    it.n.broken++;
    it.n.called_inside += it.inside;
}

static const struct tg_stream_events events = {
    .readable = hear_readable, .drained = hear_drained, .connected = hear_connected, .broken = hear_broken};
static const struct tg_stream_events untold = {
    .readable = hear_readable, .drained = hear_drained, .broken = hear_broken};

static inline void nothing(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
}

static inline void on_worker(void (*fn)(struct tg_worker *w, void *arg), void *arg)
{
    tg_worker_call(worker, fn, arg);
}

static inline void copy_counts(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    heard = it.n;
}

/* What the sockets had to say by now was heard after this. */
static inline void settle(void)
{
    on_worker(nothing, NULL);
    on_worker(nothing, NULL);
    on_worker(copy_counts, NULL);
}

/* Until something was heard, ten seconds at most. */
#define wait_for(what)                                                                                                 \
    do {                                                                                                               \
        for (int tries_ = 0; tries_ < 10000 && (settle(), !(what)); tries_++)                                          \
            usleep(1000);                                                                                              \
        if (!(what))                                                                                                   \
            fail_msg("%s did not come: \"%s\"", #what, heard.words);                                                   \
    } while (0)

/* ---- both ends ---- */

struct opening {
    int fd;
    struct tg_address to;
    const struct tg_stream_events *events;
    struct tg_tls_server *server;
    struct tg_tls_client *client;
    const char *name;
    struct tg_tls_resume *resume;
    enum tg_status st;
    const char *put;                                     /* at once, before the handshake */
    size_t *filled;                                      /* not NULL: leave no room in the socket; how much that took */
};

static inline void open_it(struct tg_worker *w, void *arg)
{
    struct opening *o = arg;

    for (int tries = 0; o->filled && tries < 100;) {     /* the kernel moves some of it on for a while */
        ssize_t n = send(o->fd, w->scratch, tries ? 1 : 4096, MSG_NOSIGNAL);

        if (n > 0)
            *o->filled += (size_t)n;
        else if (++tries % 10 == 0)
            usleep(10000);
    }
    it.inside = true;
    if (o->server)
        tg_stream_open_tls(&it.s, w, o->fd, o->events, o->server);
    else
        o->st = tg_stream_connect_tls(&it.s, w, &o->to, o->events, o->client, tg_slice_str(o->name), o->resume);
    setsockopt(it.s.fd, SOL_SOCKET, SO_SNDBUF, &(int){8192}, sizeof(int));
    if (o->put) {
        tg_stream_put(&it.s, o->put, strlen(o->put));
        tg_stream_flush(&it.s);
    }
    it.inside = false;
}

static inline void close_it(struct tg_worker *w, void *arg)
{
    tg_worker_undefer(w, &it.later);
    it.inside = true;
    tg_stream_close(&it.s, arg != NULL);
    tg_stream_close(&it.s, arg != NULL);                 /* idempotent */
    it.inside = false;
}

static inline void begin(void)
{
    if (it.s.worker)                                     /* left open by a test that failed */
        on_worker(close_it, NULL);
    tg_buf_fini(&it.got);
    memset(&it, 0, sizeof(it));
    it.s.fd = -1;
    it.n.end = 1;
    it.room = TG_SCRATCH_BYTES;
}

static inline int listener(struct tg_address *at)
{
    struct tg_ip loopback;
    int small = 8192, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    tg_ip_parse(TG_S("127.0.0.1"), &loopback);
    assert_true(tg_address_from_ip(&loopback, 0, at));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    assert_int_equal(bind(fd, &at->sa.any, at->len), 0);
    getsockname(fd, &at->sa.any, &at->len);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* A stream that accepts TLS; the peer's socket. */
static inline int accepting_full(struct tg_tls_server *by, const struct tg_stream_events *ev, size_t *filled)
{
    struct opening o = {.events = ev, .server = by, .filled = filled};
    struct tg_address at;
    int one = 1, small = 8192, l = listener(&at), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    begin();
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    assert_int_equal(connect(fd, &at.sa.any, at.len), 0);
    o.fd = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    close(l);
    on_worker(open_it, &o);
    return fd;
}

static inline int accepting_by(struct tg_tls_server *by, const struct tg_stream_events *ev)
{
    return accepting_full(by, ev, NULL);
}

static inline int accepting(void)
{
    return accepting_by(server, &events);
}

/* A stream that connects with TLS; the peer's socket. */
static inline int connecting(struct tg_tls_client *by, const char *name, struct tg_tls_resume *resume, const char *put)
{
    struct opening o = {.events = &events, .client = by, .name = name, .resume = resume, .put = put};
    int one = 1, l = listener(&o.to), fd;

    begin();
    on_worker(open_it, &o);
    assert_int_equal(o.st, TG_OK);
    fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    close(l);
    return fd;
}

static inline void over(struct peer *p)
{
    on_worker(close_it, NULL);
    assert_int_equal(it.n.called_inside, 0);
    if (p)
        peer_free(p);
    tg_buf_fini(&it.got);
}

static inline char *pattern(size_t n)
{
    char *p = tg_alloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + (i * 7 + i / 251) % 26);
    return p;
}

/* A stream and its peer after the handshake, in either role. */
static inline struct peer shaken(bool stream_accepts, int version, SSL_CTX **ctx)
{
    struct peer p;

    *ctx = peer_context(!stream_accepts, version, stream_accepts ? NULL : &leaf, NULL);
    p = peer_new(*ctx, !stream_accepts, stream_accepts ? accepting() : connecting(client, "up.example", NULL, NULL));
    assert_true(peer_shake(&p, SIZE_MAX, NULL));
    wait_for(heard.connected == 1);
    assert_int_equal(heard.connect_error, 0);
    return p;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* ---- certificates and contexts of all tests ---- */

static inline const char *in_dir(const char *name)
{
    static char paths[8][100];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static inline struct tg_tls_server *make_server(const struct tg_tls_client_auth *auth)
{
    struct tg_tls_server *s = tg_tls_server_new();
    struct tg_err err;

    if (tg_tls_server_add(s, in_dir("leaf.pem"), in_dir("leaf.key"), &err) != TG_OK ||
        (auth && tg_tls_server_verify_clients(s, auth, &err) != TG_OK))
        fail_msg("%s", err.text);
    return s;
}

static inline struct tg_tls_client *make_client(const char *ca_file, const char *cert, const char *key)
{
    struct tg_tls_client_settings settings = {.ca_file = ca_file, .certificate_file = cert, .key_file = key};
    struct tg_tls_client *c = NULL;
    struct tg_err err;

    if (tg_tls_client_new(&settings, &c, &err) != TG_OK)
        fail_msg("%s", err.text);
    return c;
}

static inline int set_up(void **state)
{
    struct tg_worker_hooks none = {0};

    (void)state;
    signal(SIGPIPE, SIG_DFL);                            /* nothing may rely on its being ignored */
    assert_non_null(mkdtemp(dir));
    ca = make_cert("the CA", NULL, NULL, 1000);
    other_ca = make_cert("another CA", NULL, NULL, 1000);
    leaf = make_cert("up.example", "DNS:up.example,IP:127.0.0.1", &ca, 900);
    caller = make_cert("caller", "email:caller@example.com", &ca, 10);
    stranger = make_cert("stranger", NULL, &other_ca, 900);
    save_cert(&ca, in_dir("ca.pem"), NULL);
    save_cert(&other_ca, in_dir("other.pem"), NULL);
    save_cert(&leaf, in_dir("leaf.pem"), in_dir("leaf.key"));
    save_cert(&caller, in_dir("caller.pem"), in_dir("caller.key"));
    server = make_server(NULL);
    asking = make_server(&(struct tg_tls_client_auth){.ca_file = in_dir("ca.pem")});
    strict = make_server(&(struct tg_tls_client_auth){.ca_file = in_dir("ca.pem"), .reject = true});
    client = make_client(in_dir("ca.pem"), NULL, NULL);
    distrustful = make_client(in_dir("other.pem"), NULL, NULL);
    with_cert = make_client(in_dir("ca.pem"), in_dir("caller.pem"), in_dir("caller.key"));
    return tg_worker_start(0, "stream-tls", &none, &worker, NULL) == TG_OK ? 0 : -1;
}

static inline int tear_down(void **state)
{
    static const char *const files[] = {"ca.pem", "other.pem", "leaf.pem", "leaf.key", "caller.pem", "caller.key"};

    (void)state;
    tg_worker_stop(worker);
    tg_tls_server_unref(server);
    tg_tls_server_unref(asking);
    tg_tls_server_unref(strict);
    tg_tls_client_unref(client);
    tg_tls_client_unref(distrustful);
    tg_tls_client_unref(with_cert);
    free_cert(&ca);
    free_cert(&other_ca);
    free_cert(&leaf);
    free_cert(&caller);
    free_cert(&stranger);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(in_dir(files[i]));
    rmdir(dir);
    return 0;
}
