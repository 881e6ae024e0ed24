/*
 * route_warn - routes that are legal and surely not meant: of one name, or never reached behind another.
 *
 * A control plane may have ten thousand of them on one host, so they are not compared one by one: the routes before
 * are found by host, port and what they match, each beginning of the later one's path being looked up.
 */
#include "base/map.h"
#include "internal.h"
#include <stdio.h>

struct before {                                          /* the routes up to here */
    struct tg_map *names, *hosts, *places;               /* to a route's position + 1, as a pointer; the first one's */
    struct tg_buf key;
};

static void keep_first(struct tg_map *map, struct tg_slice key, size_t i)
{
    if (!tg_map_get(map, key))
        tg_map_put(map, key, (void *)(uintptr_t)(i + 1));
}

/* An empty key is none: the host of "any host" gets a mark before it. */
static struct tg_slice host_key(struct before *b, struct tg_slice host)
{
    b->key.len = 0;
    tg_buf_addc(&b->key, '@');
    tg_buf_add_slice(&b->key, host);
    return tg_buf_slice(&b->key);
}

static struct tg_slice matched(const struct tg_route *route)
{
    if (route->path.ptr)
        return route->path;
    return route->prefix.len > 0 ? route->prefix : TG_S("/");
}

/* Host, port, and "=" for a path or "^" for a prefix; the text comes behind `*head` octets. */
static struct tg_slice place_key(struct before *b, struct tg_slice host, int port, char kind, struct tg_slice text,
                                 size_t *head)
{
    b->key.len = 0;
    tg_buf_add_slice(&b->key, host);
    tg_buf_addf(&b->key, " %d%c", port, kind);
    *head = b->key.len;
    tg_buf_add_slice(&b->key, text);
    return tg_buf_slice(&b->key);
}

static void remember(struct before *b, const struct tg_route *route, size_t i)
{
    size_t head;

    keep_first(b->hosts, host_key(b, route->from_host), i);
    keep_first(b->places, place_key(b, route->from_host, route->from_port, route->path.ptr ? '=' : '^', matched(route),
                                    &head), i);
    keep_first(b->names, route->name, i);
}

static void take_lower(uintptr_t *best, void *found)
{
    if (found && (*best == 0 || (uintptr_t)found < *best))
        *best = (uintptr_t)found;
}

/* Of the routes of exactly this host and port, the first that takes all of `later`. */
static void look_up(struct before *b, struct tg_slice host, int port, const struct tg_route *later, uintptr_t *best)
{
    size_t head;
    struct tg_slice key;

    if (later->path.ptr)
        take_lower(best, tg_map_get(b->places, place_key(b, host, port, '=', later->path, &head)));
    key = place_key(b, host, port, '^', matched(later), &head);
    for (size_t len = head + 1; len <= key.len; len++)
        take_lower(best, tg_map_get(b->places, tg_slice(key.ptr, len)));
}

static void look_up_host(struct before *b, struct tg_slice host, const struct tg_route *later, uintptr_t *best)
{
    if (!tg_map_get(b->hosts, host_key(b, host)))
        return;
    look_up(b, host, -1, later, best);
    if (later->from_port >= 0)
        look_up(b, host, later->from_port, later, best);
}

/* The position + 1 of the first route that takes every request of `later`; 0: none does. */
static uintptr_t cover_of(struct before *b, const struct tg_route *later)
{
    struct tg_slice host = later->from_host;
    uintptr_t best = 0;

    look_up_host(b, host, later, &best);
    for (size_t i = 1; i < host.len; i++)                /* wildcards that stand for it */
        if (host.ptr[i] == '.')
            look_up_host(b, tg_slice(host.ptr + i, host.len - i), later, &best);
    if (host.len > 0)
        look_up_host(b, TG_S(""), later, &best);
    return best;
}

/* "routes[3]" in the file; a route of a set has no number that anybody knows. */
static const char *number_of(const struct tg_route *route, char out[static 32])
{
    if (route->from_set)
        return "route";
    snprintf(out, 32, "routes[%u]", route->index);
    return out;
}

static void warn_of(struct before *b, const struct tg_routes *routes, const struct tg_route *later,
                    struct tg_problems *problems)
{
    uintptr_t same = (uintptr_t)tg_map_get(b->names, later->name), cover = cover_of(b, later);
    char one[32], two[32];

    if (same)
        tg_warning_at(problems, later->tree, later->node, "%s and %s are both named " TG_S_FMT,
                      number_of(routes->items[same - 1], one), number_of(later, two), TG_S_ARG(later->name));
    if (cover)
        tg_warning_at(problems, later->tree, later->node,
                      "%s (" TG_S_FMT ") can never match: %s (" TG_S_FMT ") before it takes all of its requests",
                      number_of(later, one), TG_S_ARG(later->name), number_of(routes->items[cover - 1], two),
                      TG_S_ARG(routes->items[cover - 1]->name));
}

void routes_warn(const struct tg_routes *routes, struct tg_problems *problems)
{
    struct before b = {.names = tg_map_new(NULL), .hosts = tg_map_new(NULL), .places = tg_map_new(NULL)};

    for (size_t i = 0; i < routes->count; i++) {
        warn_of(&b, routes, routes->items[i], problems);
        remember(&b, routes->items[i], i);
    }
    tg_map_free(b.names);
    tg_map_free(b.hosts);
    tg_map_free(b.places);
    tg_buf_fini(&b.key);
}
