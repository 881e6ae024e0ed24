/*
 * route_match - from host, port and path to a route.
 *
 * Two lists in the order of the configuration are walked as one: the routes of exactly this host, found by its hash,
 * and those of any host or of a wildcard. Nothing is allocated; with thousands of other hosts configured a request
 * costs as much as with one.
 */
#include "base/hash.h"
#include "internal.h"

static bool is_open(const struct tg_route *route)
{
    return route->from_host.len == 0 || route->from_host.ptr[0] == '.';
}

static bool host_matches(struct tg_slice pattern, struct tg_slice host)
{
    if (pattern.len == 0)
        return true;
    if (pattern.ptr[0] == '.')                           /* the asterisk is at least one character, as in Pomerium */
        return host.len > pattern.len && tg_slice_ends_with(host, pattern);
    return tg_slice_eq(pattern, host);
}

static bool port_matches(int from_port, int port)
{
    return from_port < 0 || from_port == (port < 0 ? 80 : port);
}

static bool path_matches(const struct tg_route *route, struct tg_slice path)
{
    if (route->path.ptr)
        return tg_slice_eq(route->path, path);
    return !route->prefix.ptr || tg_slice_starts_with(path, route->prefix);
}

/* The slot of that host, or the free one where it belongs. */
static struct host_entry *slot_of(const struct route_table *table, struct tg_slice host)
{
    size_t i = (size_t)tg_hash_slice(host) & (table->slots - 1);

    while (table->hosts[i].host.ptr && !tg_slice_eq(table->hosts[i].host, host))
        i = (i + 1) & (table->slots - 1);
    return &table->hosts[i];
}

void route_table_build(struct route_table *table, struct tg_route *const *routes, size_t count, struct tg_arena *arena)
{
    struct route_list *list;

    *table = (struct route_table){.slots = 2};
    while (table->slots < count * 2 + 1)                 /* at most half full, so that a search ends */
        table->slots *= 2;
    table->hosts = TG_ARENA_ARRAY(arena, struct host_entry, table->slots);
    for (size_t i = 0; i < count; i++) {                 /* first count, then fill: the lists are as long as needed */
        if (is_open(routes[i])) {
            table->open.count++;
            continue;
        }
        struct host_entry *entry = slot_of(table, routes[i]->from_host);

        entry->host = routes[i]->from_host;
        entry->routes.count++;
    }
    for (size_t i = 0; i < table->slots; i++) {
        list = &table->hosts[i].routes;
        list->items = TG_ARENA_ARRAY(arena, const struct tg_route *, list->count);
        list->count = 0;
    }
    table->open.items = TG_ARENA_ARRAY(arena, const struct tg_route *, table->open.count);
    table->open.count = 0;
    for (size_t i = 0; i < count; i++) {
        list = is_open(routes[i]) ? &table->open : &slot_of(table, routes[i]->from_host)->routes;
        list->items[list->count++] = routes[i];
    }
}

const struct tg_route *tg_routes_match(const struct tg_routes *routes, struct tg_slice host, int port,
                                       struct tg_slice path)
{
    static const struct route_list none = {NULL, 0};
    const struct route_table *table = &routes->table;
    const struct route_list *exact = &none, *open = &table->open;
    char buf[HOST_MAX + 1];
    struct tg_slice name = {NULL, 0};

    if (host_fold(host, buf, &name) && name.len > 0)
        exact = &slot_of(table, name)->routes;
    for (size_t i = 0, j = 0; i < exact->count || j < open->count;) {
        bool from_exact = j == open->count || (i < exact->count && exact->items[i]->index < open->items[j]->index);
        const struct tg_route *route = from_exact ? exact->items[i++] : open->items[j++];

        if ((from_exact || host_matches(route->from_host, name)) && port_matches(route->from_port, port) &&
            path_matches(route, path))
            return route;
    }
    return NULL;
}

/* ---- resources ---- */

static bool is_resource_path(struct tg_slice own, struct tg_slice path, bool exact)
{
    if (exact)
        return tg_slice_eq(own, path);
    if (own.len > 0 && own.ptr[own.len - 1] == '/')
        own.len--;
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return tg_slice_eq(own, path);
}

const struct tg_route *tg_routes_of_resource(const struct tg_routes *routes, struct tg_slice host, int port,
                                             struct tg_slice path)
{
    char buf[HOST_MAX + 1];
    struct tg_slice name = {NULL, 0};

    host_fold(host, buf, &name);
    for (int exact = 1; exact >= 0; exact--) {
        for (size_t i = 0; i < routes->count; i++) {
            const struct tg_route *route = routes->items[i];

            if (route->resource && is_resource_path(route->resource->path, path, exact) &&
                host_matches(route->from_host, name) && port_matches(route->from_port, port))
                return route;
        }
    }
    return NULL;
}

/* "/files../secret" on prefix /files rewritten to /data/ would be /data/../secret: a dot segment that nobody sent. */
static bool is_rewritten_out(const struct tg_route *route, struct tg_slice path, struct tg_arena *arena)
{
    struct tg_slice tail, canonical, decoded;

    if (!route->prefix_rewrite.ptr || !route->prefix.ptr || path.len == route->prefix.len)
        return false;
    tail = tg_slice(path.ptr + route->prefix.len, path.len - route->prefix.len);
    if (tail.ptr[0] != '/')
        tail = tg_arena_printf(arena, "/" TG_S_FMT, TG_S_ARG(tail));
    if (tg_uri_canonical_path(tail, arena, &canonical, &decoded, NULL) != TG_OK)
        return true;
    return !tg_slice_eq(tail, canonical);
}

enum tg_route_found tg_routes_find(const struct tg_routes *routes, struct tg_slice host, int port, struct tg_slice path,
                                   struct tg_arena *arena, const struct tg_route **out)
{
    const struct tg_route *route = tg_routes_match(routes, host, port, path);
    struct tg_slice loose;

    *out = NULL;
    if (!route)
        return TG_ROUTE_NONE;
    loose = tg_uri_loosest_path(path, arena);
    if (loose.ptr != path.ptr && tg_routes_match(routes, host, port, loose) != route)
        return TG_ROUTE_AMBIGUOUS;
    if (is_rewritten_out(route, path, arena))
        return TG_ROUTE_AMBIGUOUS;
    *out = route;
    return TG_ROUTE_FOUND;
}
