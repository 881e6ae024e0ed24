/*
 * exposure - each upstream in turn: its name is looked up, its place decided, the other addresses of the host tried.
 *
 * One walk through the upstreams is a look. A set of upstreams is replaced whole when bound; what was found of an
 * upstream that stays is kept, so that a reload does not tell it again.
 */
#include "boot/exposure.h"
#include "base/log.h"
#include "base/metric.h"
#include "io/probe.h"
#include "io/resolve.h"
#include <stdatomic.h>
#include <time.h>

#define TRY_MS 1000
#define POLL_NS 2000000
#define ALL_ADDRESSES 512                                /* of the host: a node of a cluster may have hundreds */

struct upstream {
    struct tg_slice name, host;                          /* "127.0.0.1:3000"; "127.0.0.1" */
    uint16_t port;
    bool seen_here, exposed, configured;                 /* as the last look found */
    struct tg_ip address;                                /* where it answered */
};
struct upstreams {                                       /* of one configuration */
    struct tg_arena arena;
    struct upstream *items;
    size_t count;
    struct tg_listen_address *own;                       /* what tollgate listens on */
    size_t own_count;
    bool refuse;
};
struct tg_exposure {
    struct tg_worker *worker;
    struct tg_resolver *resolver;
    struct tg_metric *gauge;                             /* NULL: a look for its own sake; nothing is logged either */
    struct upstreams set;
    /* the look under way */
    bool looking;
    size_t at;
    struct tg_exposure_host host;
    struct tg_ip tried[TG_EXPOSURE_ADDRESSES];
    struct tg_resolve_query *query;
    struct tg_probe *probe;
    atomic_bool looked, refuses;
};

/* ---- the decision ---- */

static const struct tg_ip any4 = {.family = 4}, any6 = {.family = 6};

static bool is_own(const struct tg_listen_address *own, size_t count, const struct tg_ip *ip, uint16_t port)
{
    for (size_t i = 0; i < count; i++) {
        struct tg_ip at;
        uint16_t at_port;

        if (own[i].local)
            continue;
        tg_ip_from_sockaddr(&own[i].address.sa.any, &at, &at_port);
        if (at_port == port && (tg_ip_eq(&at, ip) || tg_ip_eq(&at, &any6) || /* [::] takes IPv4 too */
                                (ip->family == 4 && tg_ip_eq(&at, &any4))))
            return true;
    }
    return false;
}

static bool is_here(const struct tg_ip *ip)
{
    return tg_ip_is_loopback(ip) || tg_ip_eq(ip, &any4) || tg_ip_eq(ip, &any6); /* 0.0.0.0 connects to this host */
}

static bool is_of_host(const struct tg_exposure_host *host, const struct tg_ip *ip)
{
    for (size_t i = 0; i < host->count; i++)
        if (tg_ip_eq(&host->addresses[i], ip))
            return true;
    return false;
}

enum tg_exposure_case tg_exposure_decide(const struct tg_ip *ips, size_t count, uint16_t port,
                                         const struct tg_exposure_host *host, const struct tg_listen_address *own,
                                         size_t own_count, struct tg_ip *out, size_t *out_count)
{
    bool here = false;

    *out_count = 0;
    for (size_t i = 0; i < count; i++) {
        bool reachable = is_of_host(host, &ips[i]);

        if (reachable && !is_own(own, own_count, &ips[i], port)) {
            out[0] = ips[i];
            *out_count = 1;
            return TG_EXPOSURE_CONFIGURED;
        }
        here = here || reachable || is_here(&ips[i]);
    }
    if (!here)
        return TG_EXPOSURE_ELSEWHERE;
    for (size_t i = 0; i < host->count; i++)
        if (!is_own(own, own_count, &host->addresses[i], port))
            out[(*out_count)++] = host->addresses[i];
    return TG_EXPOSURE_TRY;
}

void tg_exposure_choose(const struct tg_ip *all, size_t count, struct tg_exposure_host *out)
{
    size_t v4 = 0, v6 = 0, most_v4 = TG_EXPOSURE_ADDRESSES, most_v6 = TG_EXPOSURE_ADDRESSES, half = most_v4 / 2;

    for (size_t i = 0; i < count; i++)
        if (!tg_ip_is_loopback(&all[i]))
            *(all[i].family == 4 ? &v4 : &v6) += 1;
    if (v4 + v6 > TG_EXPOSURE_ADDRESSES) {
        most_v4 -= v6 < half ? v6 : half;
        most_v6 -= v4 < half ? v4 : half;
    }
    out->count = v4 = v6 = 0;
    for (size_t i = 0; i < count; i++)
        if (!tg_ip_is_loopback(&all[i]) && (all[i].family == 4 ? v4++ < most_v4 : v6++ < most_v6))
            out->addresses[out->count++] = all[i];
}

static void read_host(struct tg_exposure_host *host)
{
    struct tg_ip all[ALL_ADDRESSES];

    tg_exposure_choose(all, tg_host_addresses(all, ARRAY_LEN(all)), host);
}

/* ---- the upstreams of a configuration ---- */

static void add_upstream(struct upstreams *set, const struct tg_url *url)
{
    bool v6 = memchr(url->host.ptr, ':', url->host.len) != NULL;
    struct tg_slice name = tg_arena_printf(&set->arena, v6 ? "[" TG_S_FMT "]:%u" : TG_S_FMT ":%u", TG_S_ARG(url->host),
                                           url->port);

    for (size_t i = 0; i < set->count; i++)
        if (tg_slice_eq_nocase(set->items[i].name, name))
            return;
    set->items[set->count++] = (struct upstream){
        .name = name, .host = tg_arena_dup(&set->arena, url->host), .port = url->port};
}

static void add_own(struct upstreams *set, struct tg_slice text)
{
    if (text.ptr && tg_listen_parse(text, &set->own[set->own_count], NULL) == TG_OK)
        set->own[set->own_count++].text = (struct tg_slice){0};
}

static void read_upstreams(const struct tg_settings *s, struct upstreams *set)
{
    struct tg_routes *routes = s->config->routes;
    size_t most = 0;

    *set = (struct upstreams){.refuse = s->refuse_exposed_upstream};
    tg_arena_init(&set->arena, NULL, 0);
    for (size_t i = 0; i < tg_routes_count(routes); i++)
        most += tg_routes_at(routes, i)->target_count;
    set->items = TG_ARENA_ARRAY(&set->arena, struct upstream, most);
    for (size_t i = 0; i < tg_routes_count(routes); i++) {
        const struct tg_route *route = tg_routes_at(routes, i);

        for (size_t j = 0; j < route->target_count; j++)
            if (!route->targets[j].echo && !route->targets[j].url.unix_socket)
                add_upstream(set, &route->targets[j].url);
    }
    set->own = TG_ARENA_ARRAY(&set->arena, struct tg_listen_address, s->addresses.count + 1);
    for (size_t i = 0; i < s->addresses.count; i++)
        add_own(set, s->addresses.items[i]);
    add_own(set, s->health_address);
}

/* ---- saying it ---- */

/* "[fd00::2]:3000" */
static void add_place(struct tg_buf *out, const struct upstream *u)
{
    char ip[TG_IP_TEXT];

    tg_ip_format(&u->address, ip);
    tg_buf_addf(out, u->address.family == 6 ? "[%s]:%u" : "%s:%u", ip, u->port);
}

static void add_sentence(struct tg_buf *out, const struct upstream *u)
{
    tg_buf_addf(out, "upstream " TG_S_FMT " ", TG_S_ARG(u->name));
    if (u->configured) {
        tg_buf_adds(out, "is named by an address of this host that others can reach as well");
    } else {
        tg_buf_adds(out, "answers at ");
        add_place(out, u);
        tg_buf_adds(out, " too");
    }
    tg_buf_adds(out, ", so callers can go around tollgate: bind the app to 127.0.0.1 or a unix socket, or close its "
                     "port with a firewall or NetworkPolicy (which is not seen from here)");
}

static void tell(const struct tg_exposure *x, const struct upstream *u)
{
    struct tg_buf text = {0}, place = {0};

    if (!u->exposed) {
        tg_log(TG_LOG_INFO, "the upstream is no longer reached around tollgate", TG_F_SLICE("upstream", u->name));
        return;
    }
    add_sentence(&text, u);
    add_place(&place, u);
    tg_log(x->set.refuse ? TG_LOG_ERROR : TG_LOG_WARN, tg_buf_cstr(&text), TG_F_SLICE("upstream", u->name),
           TG_F_SLICE("address", tg_buf_slice(&place)));
    tg_buf_fini(&text);
    tg_buf_fini(&place);
}

/* ---- a look ---- */

static void go_on(struct tg_exposure *x);

static void conclude(struct tg_exposure *x, bool here, const struct tg_ip *address, bool configured)
{
    struct upstream *u = &x->set.items[x->at];
    bool was = u->exposed;

    u->exposed = address != NULL;
    u->configured = configured;
    if (address)
        u->address = *address;
    u->seen_here = u->seen_here || here;
    if (x->gauge && u->seen_here)
        tg_metric_set(tg_metric_series(x->gauge, &u->name), u->exposed);
    if (x->gauge && u->exposed != was)
        tell(x, u);
    if (x->gauge && u->exposed && x->set.refuse)
        atomic_store(&x->refuses, true);
}

static void on_tried(void *arg, uint32_t opened)
{
    struct tg_exposure *x = arg;

    x->probe = NULL;
    conclude(x, true, opened ? &x->tried[__builtin_ctz(opened)] : NULL, false);
    x->at++;
    go_on(x);
}

/* True when the answer comes later, to on_tried. */
static bool judge(struct tg_exposure *x, const struct tg_ip *ips, size_t count)
{
    struct tg_address to[TG_EXPOSURE_ADDRESSES];
    uint16_t port = x->set.items[x->at].port;
    size_t n;

    _Static_assert(TG_EXPOSURE_ADDRESSES <= TG_PROBE_MAX, "one probe for all");
    switch (tg_exposure_decide(ips, count, port, &x->host, x->set.own, x->set.own_count, x->tried, &n)) {
    case TG_EXPOSURE_ELSEWHERE: conclude(x, false, NULL, false); return false;
    case TG_EXPOSURE_CONFIGURED: conclude(x, true, &x->tried[0], true); return false;
    case TG_EXPOSURE_TRY: break;
    }
    for (size_t i = 0; i < n; i++)
        tg_address_from_ip(&x->tried[i], port, &to[i]);
    x->probe = tg_probe_start(x->worker, to, n, TRY_MS, on_tried, x);
    return true;
}

static void on_resolved(void *arg, const struct tg_ip *ips, size_t count)
{
    struct tg_exposure *x = arg;

    x->query = NULL;
    if (judge(x, ips, count))
        return;
    x->at++;
    go_on(x);
}

/* True when the answer comes later. */
static bool look_at(struct tg_exposure *x, const struct upstream *u)
{
    const struct tg_ip *ips;
    size_t count;

    switch (tg_resolve(x->resolver, u->host, on_resolved, x, &ips, &count, &x->query)) {
    case TG_AGAIN: return true;
    case TG_OK: return judge(x, ips, count);
    default: return judge(x, NULL, 0);
    }
}

static void go_on(struct tg_exposure *x)
{
    for (; x->at < x->set.count; x->at++)
        if (look_at(x, &x->set.items[x->at]))
            return;
    x->looking = false;
    atomic_store(&x->looked, true);
}

void tg_exposure_look(struct tg_exposure *x)
{
    if (x->looking)
        return;
    x->looking = true;
    x->at = 0;
    read_host(&x->host);
    go_on(x);
}

static void stop_looking(struct tg_exposure *x)
{
    if (x->query)
        tg_resolve_cancel(x->query);
    tg_probe_cancel(x->probe);
    x->query = NULL;
    x->probe = NULL;
    x->looking = false;
}

/* ---- life ---- */

static enum tg_status make(struct tg_worker *w, struct tg_metric *gauge, struct tg_exposure **out, struct tg_err *err)
{
    struct tg_resolver *resolver;
    enum tg_status st = tg_resolver_new(w, &resolver, err);

    if (st != TG_OK)
        return st;
    *out = TG_NEW(struct tg_exposure);
    (*out)->worker = w;
    (*out)->resolver = resolver;
    (*out)->gauge = gauge;
    return TG_OK;
}

enum tg_status tg_exposure_new(struct tg_worker *w, struct tg_exposure **out, struct tg_err *err)
{
    return make(w, tg_metric_family(TG_GAUGE, "tollgate_upstream_exposed",
                                    "Whether an upstream on this host answers where others can reach it.", "upstream"),
                out, err);
}

void tg_exposure_free(struct tg_exposure *x)
{
    if (!x)
        return;
    stop_looking(x);
    tg_resolver_free(x->resolver);
    tg_arena_fini(&x->set.arena);
    free(x);
}

/* What is known of the upstreams that stay; the gauge of one that went says 0. */
static void carry_over(const struct tg_exposure *x, struct upstreams *fresh)
{
    for (size_t i = 0; i < x->set.count; i++) {
        const struct upstream *old = &x->set.items[i];
        bool stays = false;

        for (size_t j = 0; j < fresh->count && !stays; j++) {
            struct upstream *u = &fresh->items[j];

            stays = tg_slice_eq_nocase(u->name, old->name);
            if (stays) {
                u->seen_here = old->seen_here;
                u->exposed = old->exposed;
            }
        }
        if (!stays && old->exposed && x->gauge)
            tg_metric_set(tg_metric_series(x->gauge, &old->name), 0);
    }
}

void tg_exposure_bind(struct tg_exposure *x, const struct tg_settings *settings)
{
    struct upstreams fresh;

    stop_looking(x);
    read_upstreams(settings, &fresh);
    carry_over(x, &fresh);
    tg_arena_fini(&x->set.arena);
    x->set = fresh;
    tg_exposure_look(x);
}

bool tg_exposure_refuses(const struct tg_exposure *x)
{
    return atomic_load(&x->refuses);
}

/* ---- one look, waited for ---- */

struct single {
    const struct tg_settings *settings;
    struct tg_exposure *exposure;
};

static enum tg_status begin_single(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct single *s = arg;
    enum tg_status st = make(w, NULL, &s->exposure, err);

    if (st == TG_OK)
        tg_exposure_bind(s->exposure, s->settings);
    return st;
}

static void end_single(struct tg_worker *w, void *arg)
{
    struct single *s = arg;

    (void)w;
    tg_exposure_free(s->exposure);
}

/* At rest: nobody asks for another look. */
static size_t tell_found(const struct upstreams *set, void (*found)(void *arg, const struct tg_exposure_finding *f),
                         void *arg)
{
    size_t count = 0;

    for (size_t i = 0; i < set->count; i++) {
        const struct upstream *u = &set->items[i];
        struct tg_buf text = {0};

        if (!u->exposed)
            continue;
        count++;
        add_sentence(&text, u);
        if (found)
            found(arg, &(struct tg_exposure_finding){u->name, u->address, u->configured, tg_buf_cstr(&text)});
        tg_buf_fini(&text);
    }
    return count;
}

size_t tg_exposure_check(const struct tg_settings *settings,
                         void (*found)(void *arg, const struct tg_exposure_finding *f), bool (*may_wait)(void *arg),
                         void *arg)
{
    struct single single = {.settings = settings};
    struct tg_worker_hooks hooks = {begin_single, end_single, &single};
    struct timespec pause = {0, POLL_NS};
    struct tg_worker *worker;
    size_t count = 0;

    if (tg_worker_start(0, "exposure", &hooks, &worker, NULL) != TG_OK)
        return 0;
    while (!atomic_load(&single.exposure->looked) && (!may_wait || may_wait(arg)))
        nanosleep(&pause, NULL);
    if (atomic_load(&single.exposure->looked))
        count = tell_found(&single.exposure->set, found, arg);
    tg_worker_stop(worker);
    return count;
}
