/*
 * step_route - who is asking for what: the canonical path, the client's address, the route; ids for the log.
 *
 * Refused here: TRACE and CONNECT (405), a path with two readings (400), no route (404, or 503 while the control plane
 * was never heard). What tollgate publishes itself leaves the usual way here.
 */
#include "base/digest.h"
#include "base/log.h"
#include "internal.h"
#include "store/supply.h"

#define HTTPS_PORT 443                                   /* of a request that says none */

#define FORWARDED_SEEN (UINT64_C(1) << TG_FIELD_X_FORWARDED_FOR | UINT64_C(1) << TG_FIELD_FORWARDED)

static bool in_any(const struct tg_cidr *list, size_t count, const struct tg_ip *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (tg_cidr_contains(&list[i], ip))
            return true;
    }
    return false;
}

/*
 * Somebody in front of us tells who calls and is not believed: probably an ingress that nobody named. A unix socket's
 * peer has no address to name.
 */
static void note_untrusted(struct tg_exchange *ex)
{
    static atomic_bool told;                             /* once a process, whatever the worker */
    char peer[TG_IP_TEXT];

    if (ex->conn->peer.family == 0)
        return;
    tg_metric_add(ex->gate->metrics.untrusted_forwarded, ex->gate->cell, 1);
    if (atomic_load_explicit(&told, memory_order_relaxed) || atomic_exchange(&told, true))
        return;
    tg_ip_format(&ex->conn->peer, peer);
    tg_log(TG_LOG_WARN,
           "X-Forwarded-For is not believed from an address that is not in trusted_proxies: all callers behind it "
           "share one rate-limit bucket; if this is your ingress or load balancer, add its network to trusted_proxies",
           TG_F_STR("peer", peer));
}

/* A fresh W3C trace: 00-<16 random bytes>-<8 random bytes>-01. */
static struct tg_slice new_trace(struct tg_arena *arena)
{
    char a[37], b[37], *out = tg_arena_raw(arena, 56), *to = out;

    tg_uuid(a);
    tg_uuid(b);
    memcpy(to, "00-", 3);
    to += 3;
    for (int i = 0; i < 36; i++) {
        if (a[i] != '-')
            *to++ = a[i];
    }
    *to++ = '-';
    for (int i = 0, n = 0; n < 16; i++) {
        if (b[i] != '-') {
            *to++ = b[i];
            n++;
        }
    }
    memcpy(to, "-01", 3);
    return tg_slice(out, 55);
}

void tg_give_ids(struct tg_exchange *ex)
{
    struct tg_slice given = tg_head_value(&ex->head, TG_FIELD_X_REQUEST_ID);
    struct tg_slice trace = tg_head_value(&ex->head, TG_FIELD_TRACEPARENT);

    /* A caller of a service of tollgate's own is whom it concerns. */
    if ((ex->peer_trusted || ex->gate->service) && tg_request_id_valid(given)) {
        ex->request_id = given;
    } else {
        tg_uuid(ex->request_id_own);
        ex->request_id = tg_slice(ex->request_id_own, 36);
    }
    ex->trace_continued = tg_traceparent_valid(trace);
    ex->traceparent = ex->trace_continued ? trace : new_trace(&ex->arena);
}

/* The control plane may know a route for this request, and nobody has heard it yet. */
static bool is_waited_for(const struct tg_exchange *ex)
{
    const struct tg_supply *supply = ex->gate->shared->supply;

    return supply && tg_supply_missing(supply);
}

enum tg_next tg_step_route(struct tg_exchange *ex)
{
    struct tg_head *h = &ex->head;

    if (ex->rt) {
        const struct tg_config *c = ex->rt->config;

        if (c->trusted_count && in_any(c->trusted_proxies, c->trusted_count, &ex->conn->peer)) {
            ex->peer_trusted = true;
            ex->client_ip = tg_forward_client_ip(h, &ex->conn->peer, c->trusted_proxies, c->trusted_count);
        } else if (h->seen & FORWARDED_SEEN) {
            note_untrusted(ex);
        }
    }
    tg_give_ids(ex);
    if (h->method_id == TG_METHOD_CONNECT || h->method_id == TG_METHOD_TRACE)
        return tg_exchange_refuse(ex, TG_REFUSE_METHOD);
    if (tg_slice_eq(h->path, TG_S("*"))) {
        ex->path = ex->path_decoded = h->path;
    } else if (tg_uri_canonical_path(h->path, &ex->arena, &ex->path, &ex->path_decoded, NULL) != TG_OK) {
        ex->path = ex->path_decoded = tg_slice(NULL, 0);
        return tg_exchange_refuse(ex, TG_REFUSE_PATH);
    }
    if (ex->gate->service) {
        ex->state = EX_SERVE;
        return TG_NEXT_GO;
    }
    if (!ex->rt)
        return tg_exchange_refuse(ex, TG_REFUSE_NOT_READY);
    /* Without Host (HTTP/1.0 only) a request may take the routes for any host. */
    bool hostless = h->authority.len == 0 && h->minor == 0;

    if (!hostless && !tg_uri_split_authority(h->authority, &ex->host, &ex->port))
        return tg_exchange_refuse(ex, TG_REFUSE_NO_ROUTE);
    if (ex->port < 0 && ex->conn->tls)
        ex->port = HTTPS_PORT;
    if (tg_slice_starts_with(ex->path, TG_S("/.well-known/")) && tg_well_known(ex))
        return TG_NEXT_GO;
    switch (tg_routes_find(ex->rt->config->routes, ex->host, ex->port, ex->path, &ex->arena, &ex->route)) {
    case TG_ROUTE_NONE:
        return tg_exchange_refuse(ex, is_waited_for(ex) ? TG_REFUSE_NOT_LOADED : TG_REFUSE_NO_ROUTE);
    case TG_ROUTE_AMBIGUOUS:
        return tg_exchange_refuse(ex, TG_REFUSE_PATH);
    case TG_ROUTE_FOUND:
        break;
    }
    ex->state = EX_AUTHN;
    return TG_NEXT_GO;
}
