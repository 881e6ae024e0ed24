/*
 * peer - what the tests of upstream share: a worker with a pool, a listening socket whose other end the test plays
 * itself, a call that writes down its events.
 *
 * The test thread is the upstream, with plain blocking sockets; calls live on the worker. After settle() the worker has
 * heard whatever was sent before, so that a test says exactly where an answer is cut.
 */
#pragma once
#include "upstream/call.h"
#include "upstream/cluster.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tg_worker *worker;
static struct tg_resolver *resolver;
static struct tg_pool *pool;

static inline void nothing(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
}

static inline void on_worker(void (*fn)(struct tg_worker *w, void *arg), void *arg)
{
    tg_worker_call(worker, fn, arg);
}

static inline void settle(void)
{
    for (int i = 0; i < 3; i++)
        on_worker(nothing, NULL);
}

static inline enum tg_status make_pool(struct tg_worker *w, void *arg, struct tg_err *err)
{
    enum tg_status st = tg_resolver_new(w, &resolver, err);

    (void)arg;
    if (st == TG_OK)
        pool = tg_pool_new(w, resolver);
    return st;
}

static inline void drop_pool(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_pool_free(pool);
    tg_resolver_free(resolver);
}

static inline int start_worker(void **state)
{
    static const struct tg_worker_hooks hooks = {make_pool, drop_pool, NULL};

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return tg_worker_start(0, "upstream", &hooks, &worker, NULL) != TG_OK;
}

static inline int stop_worker(void **state)
{
    (void)state;
    tg_worker_stop(worker);
    return 0;
}

/* ---- the upstream's side ---- */

struct place {
    int fd;                                              /* listens; -1: nobody does */
    uint16_t port;
    char url[64];
    struct tg_tls_client *tls;                           /* NULL: plain */
    const char *name;                                    /* with TLS */
    struct tg_endpoint *ep;
};

static inline void take_endpoint(struct tg_worker *w, void *arg)
{
    struct place *p = arg;
    struct tg_url url;

    (void)w;
    if (tg_url_parse(tg_slice_str(p->url), true, &url, NULL) == TG_OK)
        p->ep = tg_pool_endpoint(pool, &url, p->tls, tg_slice_str(p->name ? p->name : ""));
}

static inline void drop_endpoint(struct tg_worker *w, void *arg)
{
    struct place *p = arg;

    (void)w;
    tg_endpoint_unref(p->ep);
    p->ep = NULL;
}

/* `rcvbuf` 0: the system's own. */
static inline struct place open_place(int rcvbuf)
{
    struct place p = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);

    if (rcvbuf)
        setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
    tg_assert(bind(p.fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(p.fd, 128) == 0);
    getsockname(p.fd, (struct sockaddr *)&sa, &len);
    p.port = ntohs(sa.sin_port);
    snprintf(p.url, sizeof(p.url), "http://127.0.0.1:%u", p.port);
    on_worker(take_endpoint, &p);
    return p;
}

static inline void close_place(struct place *p)
{
    if (p->ep)
        on_worker(drop_endpoint, p);
    if (p->fd >= 0)
        close(p->fd);
}

/* The next connection, or -1 when none came in `ms`. */
static inline int accept_within(struct place *p, int ms)
{
    struct pollfd wait = {.fd = p->fd, .events = POLLIN};
    int one = 1, fd;

    if (poll(&wait, 1, ms) != 1)
        return -1;
    fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

/* Reads until `end` was seen; false when the connection ended before. */
static inline bool read_until(int fd, const char *end, struct tg_buf *into)
{
    char c;

    into->len = 0;
    while (into->len < strlen(end) || memcmp(into->data + into->len - strlen(end), end, strlen(end)) != 0) {
        if (read(fd, &c, 1) != 1)
            return false;
        tg_buf_addc(into, c);
    }
    return true;
}

static inline void say(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL);

        if (k <= 0)
            return;
        bytes += k;
        n -= (size_t)k;
    }
}

static inline void reset_connection(int fd)
{
    struct linger now = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

/* ---- the call's side ---- */

enum moment { AT_NEVER, AT_INTERIM, AT_HEAD, AT_DATA, AT_SETTLED, AT_END, AT_FAILED, AT_DRAINED };

struct talk {
    struct tg_call call;                                 /* first: events get a pointer to it */
    struct place *at;
    const char *head;
    struct tg_slice body;
    unsigned method;
    uint8_t framing;
    bool fresh, upgrade, keep_open;                      /* keep_open: tg_call_end comes later */
    enum moment cancel_at;                               /* cancels and wipes the call inside that event */
    bool inside;                                         /* a function of the call is on the stack */

    struct tg_buf log;                                   /* "103 200 [hello] x:1 end" */
    bool in_data, over;
    unsigned called_inside, after_end, settled, drained;
    enum tg_call_fault fault;
    bool failed, reused, answered;
    size_t backlog;
};

static inline struct talk *talk_of(struct tg_call *call)
{
    return (struct talk *)(void *)call;
}

static inline void note(struct talk *t, bool data, const char *fmt, ...)
{
    va_list ap;

    t->called_inside += t->inside;
    t->after_end += t->over;
    if (t->in_data && !data)
        tg_buf_adds(&t->log, "] ");
    else if (!t->in_data && data)
        tg_buf_adds(&t->log, "[");
    t->in_data = data;
    va_start(ap, fmt);
    tg_buf_vaddf(&t->log, fmt, ap);
    va_end(ap);
}

/* What an exchange does when it ends itself inside an event: its memory is somebody else's afterwards. */
static inline void perhaps_cancel(struct talk *t, enum moment now)
{
    if (t->cancel_at != now)
        return;
    t->inside = true;
    tg_call_cancel(&t->call);
    tg_call_cancel(&t->call);
    t->inside = false;
    t->over = true;
    memset(&t->call, 0x5a, sizeof(t->call));
}

static inline void hear_interim(struct tg_call *call, const struct tg_head *head)
{
    note(talk_of(call), false, "%u ", head->status);
    perhaps_cancel(talk_of(call), AT_INTERIM);
}

static inline void hear_head(struct tg_call *call, const struct tg_head *head)
{
    note(talk_of(call), false, "%u ", head->status);
    perhaps_cancel(talk_of(call), AT_HEAD);
}

static inline void hear_data(struct tg_call *call, struct tg_slice data)
{
    note(talk_of(call), true, TG_S_FMT, TG_S_ARG(data));
    perhaps_cancel(talk_of(call), AT_DATA);
}

static inline void hear_end(struct tg_call *call, const struct tg_head *trailers)
{
    struct talk *t = talk_of(call);

    for (unsigned i = 0; trailers && i < trailers->field_count; i++)
        note(t, false, TG_S_FMT ":" TG_S_FMT " ", TG_S_ARG(trailers->fields[i].name),
             TG_S_ARG(trailers->fields[i].value));
    note(t, false, "end");
    t->over = true;
    t->reused = call->reused;
    perhaps_cancel(t, AT_END);
    memset(call, 0x5a, sizeof(*call));                   /* the last event: the memory is somebody else's */
}

static inline void hear_failed(struct tg_call *call, enum tg_call_fault fault)
{
    struct talk *t = talk_of(call);

    note(t, false, "%s", tg_call_fault_name(fault));
    t->over = true;
    t->failed = true;
    t->fault = fault;
    t->reused = call->reused;
    t->answered = call->answered;
    perhaps_cancel(t, AT_FAILED);
    memset(call, 0x5a, sizeof(*call));
}

static inline void hear_settled(struct tg_call *call)
{
    struct talk *t = talk_of(call);

    t->settled++;
    t->called_inside += t->inside;
    t->after_end += t->over;
    perhaps_cancel(t, AT_SETTLED);
}

static inline void hear_drained(struct tg_call *call)
{
    struct talk *t = talk_of(call);

    t->drained++;
    t->called_inside += t->inside;
    t->after_end += t->over;
    perhaps_cancel(t, AT_DRAINED);
}

static const struct tg_call_events talk_events = {
    .interim = hear_interim, .head = hear_head, .data = hear_data, .end = hear_end,
    .failed = hear_failed, .settled = hear_settled, .drained = hear_drained};

/* Roomy, so that no time runs out unless a test wants it to. */
static struct tg_call_limits limits = {.connect_ms = 20000, .first_byte_ms = 20000, .stall_ms = 20000, .idle_ms = 20000,
                                       .head = {.head_bytes = 4096, .target_bytes = 1024, .fields = 100}};

static inline void start_talk(struct tg_worker *w, void *arg)
{
    struct talk *t = arg;

    (void)w;
    memset(&t->call, 0, sizeof(t->call));
    t->call.events = &talk_events;
    t->call.limits = &limits;
    t->call.endpoint = t->at->ep;
    t->call.head_bytes = tg_slice_str(t->head);
    t->call.method_id = (uint8_t)t->method;
    t->call.framing = t->framing;
    t->call.upgrade = t->upgrade;
    t->inside = true;
    tg_call_start(&t->call, t->fresh);
    tg_call_data(&t->call, t->body);
    if (!t->keep_open)
        tg_call_end(&t->call, NULL);
    tg_call_flush(&t->call);
    t->backlog = tg_call_backlog(&t->call);
    t->inside = false;
}

static inline void cancel_talk(struct tg_worker *w, void *arg)
{
    struct talk *t = arg;

    (void)w;
    if (t->over)
        return;
    t->inside = true;
    tg_call_cancel(&t->call);
    tg_call_cancel(&t->call);
    t->inside = false;
    t->over = true;
    memset(&t->call, 0x5a, sizeof(t->call));
}

struct look {
    const struct talk *t;
    bool over;
};

static inline void look_at_talk(struct tg_worker *w, void *arg)
{
    struct look *l = arg;

    (void)w;
    l->over = l->t->over;
}

/* Waits at most `ms` until the call is over. */
static inline bool over_within(const struct talk *t, int ms)
{
    struct look l = {t, false};

    for (int i = 0; i <= ms; i++) {
        on_worker(look_at_talk, &l);
        if (l.over)
            return true;
        usleep(1000);
    }
    return false;
}

static inline const char *log_of(struct talk *t)
{
    return t->log.len ? tg_buf_cstr(&t->log) : "";
}

static inline struct talk get_from(struct place *p)
{
    return (struct talk){.at = p, .head = "GET / HTTP/1.1\r\nHost: u\r\n\r\n", .method = TG_METHOD_GET};
}

struct counts {
    const struct place *at;
    size_t open, idle;
};

static inline void read_counts(struct tg_worker *w, void *arg)
{
    struct counts *c = arg;

    (void)w;
    c->open = tg_endpoint_open(c->at->ep);
    c->idle = tg_endpoint_idle(c->at->ep);
}

static inline struct counts counts_of(const struct place *p)
{
    struct counts c = {.at = p};

    on_worker(read_counts, &c);
    return c;
}
