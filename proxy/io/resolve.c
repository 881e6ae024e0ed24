/*
 * resolve - c-ares on a worker's loop, with answers kept by TTL.
 *
 * Invariants: a name has at most one query under way; a cancelled asker is never called. Names come from the
 * configuration only, so their number is bounded.
 */
#include "io/resolve.h"
#include "base/map.h"
#include "internal.h"
#include <ares.h>
#include <netdb.h>

#define MAX_IPS 16
#define MIN_TTL_MS 1000
#define MAX_TTL_MS 300000
#define FAILED_TTL_MS 1000

struct tg_resolve_query {
    struct tg_resolve_query *next;
    struct name *name;
    void (*done)(void *arg, const struct tg_ip *ips, size_t count);
    void *arg;
};
struct name {
    struct tg_resolver *resolver;
    char *host;
    struct tg_ip ips[MAX_IPS];
    size_t count;
    int64_t until_ms;                                    /* monotonic */
    bool asking;
    struct tg_resolve_query *askers;
};
struct watch {                                           /* a socket of c-ares */
    struct watch *next;
    struct tg_resolver *resolver;
    struct event *event;
    ares_socket_t fd;
};
struct tg_resolver {
    struct tg_worker *worker;
    ares_channel channel;
    struct tg_map *names;
    struct watch *watches;
    struct event *timer;
    struct tg_ip literal;
    bool closing;
};

static void plan_timer(struct tg_resolver *r)
{
    struct timeval tv, *when = ares_timeout(r->channel, NULL, &tv);

    if (when)
        event_add(r->timer, when);
    else
        event_del(r->timer);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    struct tg_resolver *r = ((struct watch *)arg)->resolver;

    tg_worker_enter(r->worker);
    ares_process_fd(r->channel, what & EV_READ ? fd : ARES_SOCKET_BAD, what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    plan_timer(r);
    tg_worker_leave(r->worker);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct tg_resolver *r = arg;

    (void)fd;
    (void)what;
    tg_worker_enter(r->worker);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    plan_timer(r);
    tg_worker_leave(r->worker);
}

static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct tg_resolver *r = arg;
    struct watch **at = &r->watches;

    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    if (*at) {                                           /* the old interest goes in any case */
        struct watch *old = *at;

        *at = old->next;
        event_free(old->event);
        free(old);
    }
    if (!readable && !writable)
        return;
    struct watch *w = TG_NEW(struct watch);
    w->resolver = r;
    w->fd = fd;
    w->event = event_new(r->worker->base, fd,
                         (short)(EV_PERSIST | (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0)), on_watch, w);
    w->next = r->watches;
    r->watches = w;
    event_add(w->event, NULL);
}

static void free_name(void *value)
{
    struct name *n = value;

    while (n->askers) {
        struct tg_resolve_query *q = n->askers;

        n->askers = q->next;
        free(q);
    }
    free(n->host);
    free(n);
}

enum tg_status tg_resolver_new(struct tg_worker *w, struct tg_resolver **out, struct tg_err *err)
{
    struct tg_resolver *r = TG_NEW(struct tg_resolver);
    struct ares_options options;

    memset(&options, 0, sizeof(options));
    options.sock_state_cb = on_socket_state;
    options.sock_state_cb_data = r;
    options.timeout = 2000;
    options.tries = 2;
    r->worker = w;
    int rc = ares_init_options(&r->channel, &options, ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (rc != ARES_SUCCESS) {
        free(r);
        return tg_fail(err, TG_IO, "cannot set up name resolution: %s", ares_strerror(rc));
    }
    r->names = tg_map_new(free_name);
    r->timer = event_new(w->base, -1, 0, on_timer, r);
    *out = r;
    return TG_OK;
}

void tg_resolver_free(struct tg_resolver *r)
{
    if (!r)
        return;
    r->closing = true;
    ares_destroy(r->channel);                            /* calls every pending query back with ARES_EDESTRUCTION */
    while (r->watches) {
        struct watch *w = r->watches;

        r->watches = w->next;
        event_free(w->event);
        free(w);
    }
    event_free(r->timer);
    tg_map_free(r->names);
    free(r);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct name *n = arg;
    struct tg_resolver *r = n->resolver;
    int64_t ttl_ms = MAX_TTL_MS;

    (void)timeouts;
    n->asking = false;
    n->count = 0;
    for (struct ares_addrinfo_node *a = info ? info->nodes : NULL; a && n->count < MAX_IPS; a = a->ai_next) {
        tg_ip_from_sockaddr(a->ai_addr, &n->ips[n->count], NULL);
        if (n->ips[n->count].family)
            n->count++;
        if ((int64_t)a->ai_ttl * 1000 < ttl_ms)
            ttl_ms = (int64_t)a->ai_ttl * 1000;
    }
    if (info)
        ares_freeaddrinfo(info);
    if (status == ARES_EDESTRUCTION || r->closing)
        return;
    if (n->count == 0)
        ttl_ms = FAILED_TTL_MS;
    n->until_ms = r->worker->now_ms + (ttl_ms < MIN_TTL_MS ? MIN_TTL_MS : ttl_ms);
    while (n->askers) {
        struct tg_resolve_query *q = n->askers;

        n->askers = q->next;
        q->done(q->arg, n->ips, n->count);
        free(q);
    }
}

static const struct tg_ip loopback[] = {
    {.family = 4, .bytes = {127, 0, 0, 1}},
    {.family = 6, .bytes = {[15] = 1}},
};

enum tg_status tg_resolve(struct tg_resolver *r, struct tg_slice host,
                          void (*done)(void *arg, const struct tg_ip *ips, size_t count), void *arg,
                          const struct tg_ip **ips, size_t *count, struct tg_resolve_query **query)
{
    struct name *n;

    if (tg_ip_parse(host, &r->literal)) {
        *ips = &r->literal;
        *count = 1;
        return TG_OK;
    }
    if (tg_host_is_localhost(host)) {
        *ips = loopback;
        *count = ARRAY_LEN(loopback);
        return TG_OK;
    }
    n = tg_map_get(r->names, host);
    if (n && !n->asking && n->until_ms > r->worker->now_ms) {
        *ips = n->ips;
        *count = n->count;
        return TG_OK;
    }
    if (!n) {
        n = TG_NEW(struct name);
        n->resolver = r;
        n->host = tg_slice_dup(host);
        tg_map_put(r->names, host, n);
    }
    struct tg_resolve_query *q = TG_NEW(struct tg_resolve_query);
    q->name = n;
    q->done = done;
    q->arg = arg;
    if (!n->asking) {
        struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

        n->asking = true;
        ares_getaddrinfo(r->channel, n->host, NULL, &hints, on_answer, n);
        plan_timer(r);
        if (!n->asking) {                                /* answered at once (hosts file) */
            free(q);
            *ips = n->ips;
            *count = n->count;
            return TG_OK;
        }
    }
    q->next = n->askers;
    n->askers = q;
    *query = q;
    return TG_AGAIN;
}

void tg_resolve_cancel(struct tg_resolve_query *query)
{
    for (struct tg_resolve_query **at = &query->name->askers; *at; at = &(*at)->next) {
        if (*at == query) {
            *at = query->next;
            free(query);
            return;
        }
    }
}
