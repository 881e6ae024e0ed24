/*
 * listener - bind, accept, hand over.
 *
 * When the process is out of descriptors, accepting pauses for a moment instead of spinning on a level-triggered event.
 */
#include "io/listener.h"
#include "base/log.h"
#include "internal.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPT_BATCH 64
#define BACKLOG 4096
#define PAUSE_MS 100

struct tg_listener {
    struct tg_worker *worker;
    int fd;
    struct event *event;
    struct tg_deadline pause;
    void (*accepted)(void *arg, int fd, const struct sockaddr *peer);
    void *arg;
    bool told_full;
};

enum tg_status tg_listen_parse(struct tg_slice text, struct tg_listen_address *out, struct tg_err *err)
{
    struct tg_slice host, port_text;
    struct tg_ip ip = {.family = 6};                     /* [::] when no address is said */
    uint64_t port;

    memset(out, 0, sizeof(*out));
    out->text = text;
    if (tg_slice_starts_with(text, TG_S("unix:"))) {
        out->local = true;
        return tg_address_from_path(tg_slice(text.ptr + 5, text.len - 5), &out->address, err);
    }
    const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
    if (!colon)
        return tg_fail(err, TG_BAD_INPUT, "\"" TG_S_FMT "\" needs a port, as in 127.0.0.1:8080", TG_S_ARG(text));
    host = tg_slice(text.ptr, (size_t)(colon - text.ptr));
    port_text = tg_slice(colon + 1, text.len - host.len - 1);
    if (!tg_slice_to_u64(port_text, &port) || port < 1 || port > 65535)
        return tg_fail(err, TG_BAD_INPUT, "\"" TG_S_FMT "\" is no port from 1 to 65535", TG_S_ARG(port_text));
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = tg_slice(host.ptr + 1, host.len - 2);
    if (host.len > 0 && (!tg_ip_parse(host, &ip) || bracketed != (memchr(host.ptr, ':', host.len) != NULL)))
        return tg_fail(err, TG_BAD_INPUT,
                       "\"" TG_S_FMT "\" is no address to listen on; write 127.0.0.1:8080, [::]:8080 or unix:/path",
                       TG_S_ARG(text));
    tg_address_from_ip(&ip, (uint16_t)port, &out->address);
    return TG_OK;
}

bool tg_listen_is_loopback(const struct tg_listen_address *at)
{
    struct tg_ip ip;

    if (at->local)
        return true;
    tg_ip_from_sockaddr(&at->address.sa.any, &ip, NULL);
    return tg_ip_is_loopback(&ip);
}

/* Removes a socket file that nobody listens on any more; one that answers is another instance. */
static enum tg_status clear_stale_socket(const struct tg_listen_address *at, struct tg_err *err)
{
    const char *path = at->address.sa.local.sun_path;
    struct stat st;
    int fd;

    if (lstat(path, &st) != 0)
        return TG_OK;
    if (!S_ISSOCK(st.st_mode))
        return tg_fail(err, TG_UNAVAILABLE, "%s exists and is no socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return tg_fail(err, TG_IO, "no socket: %s", strerror(errno));
    /* Only a refusal says that nobody listens: not a full queue (EAGAIN), nor a lack of permission. */
    bool stale = connect(fd, &at->address.sa.any, at->address.len) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!stale)
        return tg_fail(err, TG_UNAVAILABLE, "%s is in use by another process", path);
    unlink(path);
    return TG_OK;
}

static enum tg_status bind_one(const struct tg_listen_address *at, bool share, bool listening, int *out,
                               struct tg_err *err)
{
    int one = 1, zero = 0;
    int fd = socket(at->address.sa.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return tg_fail(err, TG_UNAVAILABLE, "no socket for " TG_S_FMT ": %s", TG_S_ARG(at->text), strerror(errno));
    if (!at->local) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (share)
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
        if (at->address.sa.any.sa_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    }
    if (bind(fd, &at->address.sa.any, at->address.len) != 0 || (listening && listen(fd, BACKLOG) != 0)) {
        enum tg_status st = errno == EACCES || errno == EPERM ? TG_DENIED : TG_UNAVAILABLE;

        tg_fail(err, st, "cannot listen on " TG_S_FMT ": %s", TG_S_ARG(at->text), strerror(errno));
        close(fd);
        return st;
    }
    *out = fd;
    return TG_OK;
}

enum tg_status tg_listen_bind(const struct tg_listen_address *at, unsigned workers, struct tg_listen_socket *out,
                              struct tg_err *err)
{
    enum tg_status st;
    int probe;

    memset(out, 0, sizeof(*out));
    out->at = *at;
    out->fds = TG_NEW_ARRAY(int, workers);
    for (unsigned i = 0; i < workers; i++)
        out->fds[i] = -1;
    out->count = workers;
    if (at->local) {
        st = clear_stale_socket(at, err);
        if (st == TG_OK)
            st = bind_one(at, false, true, &out->fds[0], err);
        for (unsigned i = 1; st == TG_OK && i < workers; i++)
            out->fds[i] = out->fds[0];
    } else {
        /* Without SO_REUSEPORT first: two instances on one port would take each other's connections in turn. */
        st = bind_one(at, false, true, &probe, err);
        if (st == TG_OK)
            close(probe);
        for (unsigned i = 0; st == TG_OK && i < workers; i++)
            st = bind_one(at, true, true, &out->fds[i], err);
    }
    if (st != TG_OK)
        tg_listen_close(out);
    return st;
}

void tg_listen_close(struct tg_listen_socket *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->fds[i] >= 0 && (i == 0 || !l->at.local))
            close(l->fds[i]);
    }
    if (l->at.local && l->count > 0 && l->fds[0] >= 0)
        unlink(l->at.address.sa.local.sun_path);
    free(l->fds);
    l->fds = NULL;
    l->count = 0;
}

static void on_pause_over(struct tg_deadline *d)
{
    struct tg_listener *l = (struct tg_listener *)((char *)d - offsetof(struct tg_listener, pause));

    event_add(l->event, NULL);
}

static void pause_accepting(struct tg_listener *l, int error)
{
    if (!l->told_full)
        tg_log(TG_LOG_WARN, "cannot accept connections", TG_F_STR("error", strerror(error)));
    l->told_full = true;
    event_del(l->event);
    tg_deadline_set(&l->worker->wheel, &l->pause, l->worker->now_ms + PAUSE_MS);
}

/* False: nobody waits, or nobody can be taken now. */
static bool accept_one(struct tg_listener *l)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int one = 1;

    memset(&peer, 0, sizeof(peer));
    int conn = accept4(l->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (conn < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(l, errno);
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (peer.ss_family != AF_UNIX) {
        setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt(conn, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)); /* a peer that vanished is noticed in the end */
    }
    l->accepted(l->arg, conn, (struct sockaddr *)&peer);
    return true;
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct tg_listener *l = arg;

    (void)fd;
    (void)what;
    tg_worker_enter(l->worker);
    for (int i = 0; i < ACCEPT_BATCH && accept_one(l); i++)
        continue;
    tg_worker_leave(l->worker);
}

void tg_listener_sweep(struct tg_listener *l)
{
    while (accept_one(l))
        continue;
}

struct tg_listener *tg_listener_new(struct tg_worker *w, int fd,
                                    void (*accepted)(void *arg, int fd, const struct sockaddr *peer), void *arg)
{
    struct tg_listener *l = TG_NEW(struct tg_listener);

    l->worker = w;
    l->fd = fd;
    l->accepted = accepted;
    l->arg = arg;
    l->pause.expired = on_pause_over;
    l->event = event_new(w->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
    event_add(l->event, NULL);
    return l;
}

void tg_listener_free(struct tg_listener *l, bool close_fd)
{
    if (!l)
        return;
    tg_deadline_clear(&l->worker->wheel, &l->pause);
    event_free(l->event);
    if (close_fd)
        close(l->fd);
    free(l);
}
