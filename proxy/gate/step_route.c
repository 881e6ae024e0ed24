/*
 * step_route - who is asking for what: the canonical path, the client's address, the route; ids for the log.
 *
 * Refused here: TRACE and CONNECT (405), a path with two readings (400), no route (404).
 */
#include "base/digest.h"
#include "internal.h"

static bool in_any(const struct tg_cidr *list, size_t count, const struct tg_ip *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (tg_cidr_contains(&list[i], ip))
            return true;
    }
    return false;
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

    if (ex->peer_trusted && tg_request_id_valid(given)) {
        ex->request_id = given;
    } else {
        tg_uuid(ex->request_id_own);
        ex->request_id = tg_slice(ex->request_id_own, 36);
    }
    ex->trace_continued = tg_traceparent_valid(trace);
    ex->traceparent = ex->trace_continued ? trace : new_trace(&ex->arena);
}

/* "/files../secret" on prefix /files rewritten to /data/ would be /data/../secret: a dot segment that nobody sent. */
static bool is_rewritten_out(struct tg_exchange *ex)
{
    const struct tg_route *route = ex->route;
    struct tg_slice tail, canonical, decoded;

    if (!route->prefix_rewrite.ptr || !route->prefix.ptr || ex->path.len == route->prefix.len)
        return false;
    tail = tg_slice(ex->path.ptr + route->prefix.len, ex->path.len - route->prefix.len);
    if (tail.ptr[0] != '/')
        tail = tg_arena_printf(&ex->arena, "/" TG_S_FMT, TG_S_ARG(tail));
    if (tg_uri_canonical_path(tail, &ex->arena, &canonical, &decoded, NULL) != TG_OK)
        return true;
    return !tg_slice_eq(tail, canonical);
}

/*
 * The route for the canonical path, unless the most careless reading of that path (parameters cut off, decoded again)
 * belongs to another route: then an upstream that reads it so would serve what the other route guards.
 */
static enum tg_next find_route(struct tg_exchange *ex)
{
    const struct tg_routes *routes = ex->rt->config->routes;
    struct tg_slice loose = tg_uri_loosest_path(ex->path, &ex->arena);

    ex->route = tg_routes_match(routes, ex->host, ex->port, ex->path);
    if (!ex->route)
        return tg_exchange_refuse(ex, TG_REFUSE_NO_ROUTE);
    if (loose.ptr != ex->path.ptr && tg_routes_match(routes, ex->host, ex->port, loose) != ex->route) {
        ex->route = NULL;
        return tg_exchange_refuse(ex, TG_REFUSE_PATH);
    }
    if (is_rewritten_out(ex))
        return tg_exchange_refuse(ex, TG_REFUSE_PATH);
    ex->state = EX_AUTHN;
    return TG_NEXT_GO;
}

enum tg_next tg_step_route(struct tg_exchange *ex)
{
    struct tg_head *h = &ex->head;

    if (ex->rt) {
        const struct tg_config *c = ex->rt->config;

        if (c->trusted_count && in_any(c->trusted_proxies, c->trusted_count, &ex->conn->peer)) {
            ex->peer_trusted = true;
            ex->client_ip = tg_forward_client_ip(h, &ex->conn->peer, c->trusted_proxies, c->trusted_count);
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
    return find_route(ex);
}
