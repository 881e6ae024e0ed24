/*
 * stream - a non-blocking socket with gathered writes.
 *
 * Invariants: at most one of gather and backlog grows at a time (what is put behind a backlog is flushed into it in
 * order); the write event is armed only while a backlog waits or a connect is under way; after tg_stream_close nothing
 * is called any more. A failed write is told from the loop (`broken`), never from inside put or flush.
 * Where a stream is not plain, stream_tls has the rest.
 */
#include "io/stream.h"
#include "internal.h"
#include "tls_session.h"
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOIN_BYTES 4096

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tg_stream *s = arg;
    struct tg_worker *w = s->worker;

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    s->events->readable(s);                              /* may close and free the stream */
    tg_worker_leave(w);
}

static void on_tls_readable(evutil_socket_t fd, short what, void *arg)
{
    struct tg_stream *s = arg;
    struct tg_worker *w = s->worker;

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    if (s->shaking)
        tg_stream_tls_shake(s);
    else
        s->events->readable(s);
    tg_worker_leave(w);
}

static void finish_connect(struct tg_stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && s->tls) {
        s->shaking = true;
        event_del(&s->write_event);
        event_add(&s->read_event, NULL);
        tg_stream_tls_shake(s);
        return;
    }
    s->connecting = false;
    if (error != 0 || tg_stream_backlog(s) == 0)
        event_del(&s->write_event);                      /* else it goes on with what was put meanwhile */
    if (error == 0 && !s->paused)
        event_add(&s->read_event, NULL);
    if (error == 0 && s->ending && tg_stream_backlog(s) == 0)
        shutdown(s->fd, SHUT_WR);
    s->events->connected(s, error);
}

static void write_backlog(struct tg_stream *s)
{
    ssize_t n = send(s->fd, s->backlog.data + s->backlog_sent, tg_stream_backlog(s), MSG_NOSIGNAL);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            s->failed = true;
            event_del(&s->write_event);
            s->events->broken(s);
        }
        return;
    }
    s->backlog_sent += (size_t)n;
    if (tg_stream_backlog(s) > 0)
        return;
    tg_buf_fini(&s->backlog);
    s->backlog_sent = 0;
    event_del(&s->write_event);
    if (s->ending)
        shutdown(s->fd, SHUT_WR);
    s->events->drained(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct tg_stream *s = arg;
    struct tg_worker *w = s->worker;

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    if (s->failed) {
        event_del(&s->write_event);
        s->events->broken(s);
    } else if (s->connecting) {
        finish_connect(s);
    } else if (tg_stream_backlog(s) > 0) {
        write_backlog(s);
    } else {
        event_del(&s->write_event);
    }
    tg_worker_leave(w);
}

static void on_tls_writable(evutil_socket_t fd, short what, void *arg)
{
    struct tg_stream *s = arg;
    struct tg_worker *w = s->worker;

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    if (s->failed)
        tg_stream_tls_tell_broken(s);
    else if (s->connecting && !s->shaking)
        finish_connect(s);
    else if (tg_stream_backlog(s) > 0)
        tg_stream_tls_write_backlog(s);
    else
        event_del(&s->write_event);
    tg_worker_leave(w);
}

static void set_up(struct tg_stream *s, struct tg_worker *w, int fd, const struct tg_stream_events *events,
                   struct tg_tls_session *tls)
{
    memset(s, 0, sizeof(*s));
    s->fd = fd;
    s->worker = w;
    s->events = events;
    s->tls = tls;
    event_assign(&s->read_event, w->base, fd, EV_READ | EV_PERSIST, tls ? on_tls_readable : on_readable, s);
    event_assign(&s->write_event, w->base, fd, EV_WRITE | EV_PERSIST, tls ? on_tls_writable : on_writable, s);
}

void tg_stream_open(struct tg_stream *s, struct tg_worker *w, int fd, const struct tg_stream_events *events)
{
    set_up(s, w, fd, events, NULL);
    event_add(&s->read_event, NULL);
}

void tg_stream_open_tls(struct tg_stream *s, struct tg_worker *w, int fd, const struct tg_stream_events *events,
                        struct tg_tls_server *server)
{
    set_up(s, w, fd, events, tg_tls_session_accept(server, w, fd));
    s->connecting = s->shaking = true;
    event_add(&s->read_event, NULL);
}

static int open_socket(const struct tg_address *to)
{
    int fd = socket(to->sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd >= 0 && to->sa.any.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static enum tg_status start_connect(struct tg_stream *s, const struct tg_address *to)
{
    s->connecting = true;
    /* EAGAIN is no connection under way: a unix socket's queue is full. */
    if (connect(s->fd, &to->sa.any, to->len) != 0 && errno != EINPROGRESS) {
        close(s->fd);
        s->fd = -1;
        tg_tls_session_free(s->tls);
        s->tls = NULL;
        return TG_IO;
    }
    tg_stream_arm_write(s);
    return TG_OK;
}

enum tg_status tg_stream_connect(struct tg_stream *s, struct tg_worker *w, const struct tg_address *to,
                                 const struct tg_stream_events *events)
{
    int fd = open_socket(to);

    if (fd < 0)
        return TG_IO;
    set_up(s, w, fd, events, NULL);
    return start_connect(s, to);
}

enum tg_status tg_stream_connect_tls(struct tg_stream *s, struct tg_worker *w, const struct tg_address *to,
                                     const struct tg_stream_events *events, struct tg_tls_client *client,
                                     struct tg_slice name, struct tg_tls_resume *resume)
{
    int fd = open_socket(to);

    if (fd < 0)
        return TG_IO;
    set_up(s, w, fd, events, tg_tls_session_connect(client, w, fd, name, resume));
    return start_connect(s, to);
}

static void leave_dirty(struct tg_stream *s)
{
    struct tg_stream **at = &s->worker->private->dirty;

    while (*at && *at != s)
        at = &(*at)->next_dirty;
    if (*at)
        *at = s->next_dirty;
    s->next_dirty = NULL;
}

static void drop_gather(struct tg_stream *s)
{
    if (!s->gather)
        return;
    leave_dirty(s);
    tg_gather_put(s->worker, s->gather);
    s->gather = NULL;
}

void tg_stream_close(struct tg_stream *s, bool reset)
{
    struct linger now = {1, 0};

    if (s->fd < 0)
        return;
    if (s->tls)
        tg_stream_tls_close(s, reset);
    drop_gather(s);
    event_del(&s->read_event);
    event_del(&s->write_event);
    if (reset)
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(s->fd);
    s->fd = -1;
    tg_buf_fini(&s->backlog);
    s->backlog_sent = s->backlog_sealed = 0;
}

ssize_t tg_stream_read(struct tg_stream *s, char *into, size_t room)
{
    if (s->tls)
        return tg_stream_tls_read(s, into, room);
    ssize_t n = recv(s->fd, into, room, 0);

    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

void tg_stream_pause(struct tg_stream *s)
{
    if (s->paused || s->fd < 0)
        return;
    s->paused = true;
    if (!s->connecting)                                  /* a handshake goes on */
        event_del(&s->read_event);
}

void tg_stream_resume(struct tg_stream *s)
{
    if (!s->paused || s->fd < 0)
        return;
    s->paused = false;
    if (s->connecting)                                   /* a refusal is told by `connected`, not by reading */
        return;
    event_add(&s->read_event, NULL);
    if (s->tls && tg_stream_tls_has_more(s))
        event_active(&s->read_event, EV_READ, 0);
}

static struct tg_gather *gather_of(struct tg_stream *s)
{
    if (s->gather && s->gather->count == TG_GATHER_IOV)
        tg_stream_flush(s);
    if (!s->gather) {
        s->gather = tg_gather_get(s->worker);
        s->next_dirty = s->worker->private->dirty;
        s->worker->private->dirty = s;
    }
    return s->gather;
}

void tg_stream_put(struct tg_stream *s, const void *bytes, size_t n)
{
    if (n == 0 || s->fd < 0 || s->failed)
        return;
    struct tg_gather *g = gather_of(s);

    g->iov[g->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    g->bytes += n;
}

void tg_stream_put_copy(struct tg_stream *s, const void *bytes, size_t n)
{
    if (n == 0 || s->fd < 0 || s->failed)
        return;
    struct tg_gather *g = gather_of(s);

    if (g->small_used + n > TG_GATHER_SMALL) {
        tg_stream_flush(s);
        g = gather_of(s);
    }
    tg_assert(n <= TG_GATHER_SMALL);
    char *copy = g->small + g->small_used;
    memcpy(copy, bytes, n);
    g->small_used += (unsigned)n;
    g->iov[g->count++] = (struct iovec){.iov_base = copy, .iov_len = n};
    g->bytes += n;
}

/* To the backlog, from octet `skip` on. */
static void keep_rest(struct tg_stream *s, const struct tg_gather *g, size_t skip)
{
    tg_buf_reserve(&s->backlog, g->bytes - skip);
    for (unsigned i = 0; i < g->count; i++) {
        size_t len = g->iov[i].iov_len;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        tg_buf_add(&s->backlog, (const char *)g->iov[i].iov_base + skip, len - skip);
        skip = 0;
    }
}

/* Little is copied together: one piece is cheaper for the kernel than a list of them. */
static ssize_t send_gather(const struct tg_stream *s, const struct tg_gather *g)
{
    char joined[JOIN_BYTES];
    size_t used = 0;

    if (g->count == 1)
        return send(s->fd, g->iov[0].iov_base, g->iov[0].iov_len, MSG_NOSIGNAL);
    if (g->bytes > sizeof(joined)) {
        struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)g->iov, .msg_iovlen = g->count};

        return sendmsg(s->fd, &msg, MSG_NOSIGNAL);
    }
    for (unsigned i = 0; i < g->count; i++) {
        memcpy(joined + used, g->iov[i].iov_base, g->iov[i].iov_len);
        used += g->iov[i].iov_len;
    }
    return send(s->fd, joined, used, MSG_NOSIGNAL);
}

void tg_stream_flush(struct tg_stream *s)
{
    struct tg_gather *g = s->gather;
    ssize_t n = 0;

    if (!g)
        return;
    if (s->tls) {
        n = (ssize_t)tg_stream_tls_write(s, g->iov, g->count, g->bytes);
        if ((size_t)n < g->bytes && !s->failed)
            keep_rest(s, g, (size_t)n);
        drop_gather(s);
        return;
    }
    if (!s->connecting && tg_stream_backlog(s) == 0) {
        n = send_gather(s, g);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            drop_gather(s);
            tg_stream_fail_later(s);
            return;
        }
        if (n < 0)
            n = 0;
    }
    if ((size_t)n < g->bytes) {
        keep_rest(s, g, (size_t)n);
        tg_stream_arm_write(s);
    }
    drop_gather(s);
}

void tg_stream_end(struct tg_stream *s)
{
    tg_stream_flush(s);
    if (s->fd < 0)
        return;
    if (s->tls)
        tg_stream_tls_end(s);
    else if (s->connecting || tg_stream_backlog(s) > 0)
        s->ending = true;
    else
        shutdown(s->fd, SHUT_WR);
}

size_t tg_stream_unread(const struct tg_stream *s)
{
    int queued = 0;

    if (ioctl(s->fd, SIOCOUTQ, &queued) != 0)
        queued = 0;
    return tg_stream_backlog(s) + (size_t)queued;
}

bool tg_stream_is_quiet(struct tg_stream *s)
{
    char c;

    if (s->tls)
        return tg_stream_tls_is_quiet(s);
    ssize_t n = recv(s->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return n < 0 && errno == EAGAIN;
}

bool tg_address_from_ip(const struct tg_ip *ip, uint16_t port, struct tg_address *out)
{
    memset(out, 0, sizeof(*out));
    if (ip->family == 4) {
        out->len = sizeof(out->sa.v4);
        out->sa.v4.sin_family = AF_INET;
        out->sa.v4.sin_port = htons(port);
        memcpy(&out->sa.v4.sin_addr, ip->bytes, 4);
        return true;
    }
    if (ip->family == 6) {
        out->len = sizeof(out->sa.v6);
        out->sa.v6.sin6_family = AF_INET6;
        out->sa.v6.sin6_port = htons(port);
        memcpy(&out->sa.v6.sin6_addr, ip->bytes, 16);
        return true;
    }
    return false;
}

enum tg_status tg_address_from_path(struct tg_slice path, struct tg_address *out, struct tg_err *err)
{
    memset(out, 0, sizeof(*out));
    if (path.len == 0 || path.len >= sizeof(out->sa.local.sun_path))
        return tg_fail(err, TG_BAD_INPUT, "the path of a unix socket has 1 to %zu characters",
                       sizeof(out->sa.local.sun_path) - 1);
    out->sa.local.sun_family = AF_UNIX;
    memcpy(out->sa.local.sun_path, path.ptr, path.len);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return TG_OK;
}
