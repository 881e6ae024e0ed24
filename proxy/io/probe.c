/*
 * probe - a handful of connections that are opened only to see whether they open.
 *
 * A connection that opened is closed the polite way (FIN): a reset would look like an attack in the app's log.
 */
#include "io/probe.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <unistd.h>

struct attempt {
    struct tg_stream stream;
    struct tg_probe *probe;
};
struct tg_probe {
    struct tg_worker *worker;
    struct attempt attempts[TG_PROBE_MAX];
    size_t count, waiting;
    uint32_t opened;
    struct tg_deadline deadline;
    struct tg_deferred end;
    void (*done)(void *arg, uint32_t opened);
    void *arg;
};

/* ---- addresses of this host ---- */

static bool is_link_local(const struct tg_ip *ip)
{
    static const struct tg_cidr blocks[] = {
        {.ip = {.family = 4, .bytes = {169, 254}}, .bits = 16},
        {.ip = {.family = 6, .bytes = {0xfe, 0x80}}, .bits = 10},
    };

    return tg_cidr_contains(&blocks[0], ip) || tg_cidr_contains(&blocks[1], ip);
}

static bool is_among(const struct tg_ip *list, size_t count, const struct tg_ip *ip)
{
    for (size_t i = 0; i < count; i++)
        if (tg_ip_eq(&list[i], ip))
            return true;
    return false;
}

size_t tg_host_addresses(struct tg_ip *out, size_t max)
{
    struct ifaddrs *all;
    size_t count = 0;

    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *i = all; i && count < max; i = i->ifa_next) {
        struct tg_ip ip;

        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
            continue;
        tg_ip_from_sockaddr(i->ifa_addr, &ip, NULL);
        if (ip.family && !is_link_local(&ip) && !is_among(out, count, &ip))
            out[count++] = ip;
    }
    freeifaddrs(all);
    return count;
}

/* ---- connecting ---- */

static void close_all(struct tg_probe *p)
{
    for (size_t i = 0; i < p->count; i++)
        tg_stream_close(&p->attempts[i].stream, false);
    tg_deadline_clear(&p->worker->wheel, &p->deadline);
    tg_worker_undefer(p->worker, &p->end);
}

static void on_end(struct tg_deferred *d)
{
    struct tg_probe *p = (struct tg_probe *)((char *)d - offsetof(struct tg_probe, end));
    void (*done)(void *arg, uint32_t opened) = p->done;
    void *arg = p->arg;
    uint32_t opened = p->opened;

    tg_probe_cancel(p);
    done(arg, opened);
}

static void on_deadline(struct tg_deadline *d)
{
    struct tg_probe *p = (struct tg_probe *)((char *)d - offsetof(struct tg_probe, deadline));

    tg_worker_defer(p->worker, &p->end);
}

/* Where nobody listens, a connection can meet itself when the port it leaves from is the very one it goes to. */
static bool met_itself(int fd)
{
    struct sockaddr_storage own = {0}, peer = {0};
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
    struct tg_ip from, to;
    uint16_t from_port, to_port;

    if (getsockname(fd, (struct sockaddr *)&own, &own_len) != 0 ||
        getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0)
        return false;
    tg_ip_from_sockaddr((struct sockaddr *)&own, &from, &from_port);
    tg_ip_from_sockaddr((struct sockaddr *)&peer, &to, &to_port);
    return from_port == to_port && tg_ip_eq(&from, &to);
}

static void on_connected(struct tg_stream *s, int error)
{
    struct attempt *a = (struct attempt *)((char *)s - offsetof(struct attempt, stream));
    struct tg_probe *p = a->probe;

    if (error == 0 && !met_itself(s->fd))
        p->opened |= UINT32_C(1) << (a - p->attempts);
    tg_stream_close(s, false);
    if (--p->waiting == 0)
        tg_worker_defer(p->worker, &p->end);
}

/* Not heard: the stream is closed as soon as it has connected. */
static void on_other(struct tg_stream *s)
{
    (void)s;
}

struct tg_probe *tg_probe_start(struct tg_worker *w, const struct tg_address *to, size_t count, int64_t timeout_ms,
                                void (*done)(void *arg, uint32_t opened), void *arg)
{
    static const struct tg_stream_events events = {
        .readable = on_other, .drained = on_other, .connected = on_connected, .broken = on_other};
    struct tg_probe *p = TG_NEW(struct tg_probe);

    tg_assert(count <= TG_PROBE_MAX);
    p->worker = w;
    p->count = count;
    p->done = done;
    p->arg = arg;
    p->deadline.expired = on_deadline;
    p->end.run = on_end;
    for (size_t i = 0; i < count; i++) {
        struct attempt *a = &p->attempts[i];

        a->probe = p;
        a->stream.fd = -1;
        p->waiting += tg_stream_connect(&a->stream, w, &to[i], &events) == TG_OK;
    }
    if (p->waiting > 0)
        tg_deadline_set(&w->wheel, &p->deadline, w->now_ms + timeout_ms);
    else
        tg_worker_defer(w, &p->end);
    return p;
}

void tg_probe_cancel(struct tg_probe *p)
{
    if (!p)
        return;
    close_all(p);
    free(p);
}
