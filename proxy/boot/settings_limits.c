/*
 * settings_limits - `rate_limits`, the general ones and those that routes have of their own.
 */
#include "base/json.h"
#include "settings_tables.h"

static const char *where_of(const struct tg_route *route, struct tg_arena *arena)
{
    bool named = tg_json_get(route->node, "name") != NULL;

    return tg_arena_str(arena, named ? tg_arena_printf(arena, "route " TG_S_FMT ".rate_limits", TG_S_ARG(route->name))
                                     : tg_arena_printf(arena, "routes[%u].rate_limits", route->index));
}

/* A route's name is part of the names of its counters. */
static void warn_of_same_name(const struct tg_tree *tree, const struct tg_config *c, size_t i,
                              struct tg_problems *problems)
{
    const struct tg_route *route = tg_routes_at(c->routes, i);

    for (size_t j = 0; j < i; j++)
        if (c->route_tiers[j] && tg_slice_eq(tg_routes_at(c->routes, j)->name, route->name))
            tg_warning_at(problems, tree, route->rate_limits,
                          "routes[%zu].rate_limits: routes[%zu] has the name " TG_S_FMT " and rate_limits too; tiers "
                          "of the same name and window share their counters", i, j, TG_S_ARG(route->name));
}

/* Its counters are those of "route-3", and another's when a route is put before it. */
static void warn_of_no_name(const struct tg_tree *tree, const struct tg_route *route, struct tg_problems *problems)
{
    const cJSON *tiers = tg_json_get(route->rate_limits, "tiers");

    if (tiers && !cJSON_IsNull(tiers) && !tg_json_get(route->node, "name"))
        tg_warning_at(problems, tree, route->rate_limits,
                      "routes[%u].rate_limits: the route has no `name`, so its counters go by its place among the "
                      "routes", route->index);
}

void settings_read_limits(const struct tg_tree *tree, const cJSON *node, struct tg_config *c,
                          struct tg_problems *problems)
{
    c->tiers_bad = !tg_tiers_read(tree, node, &c->arena, &c->tiers, &c->limits, problems);
}

static void read_own(const struct tg_tree *tree, const struct tg_route *route, struct tg_config *c,
                     struct tg_problems *problems)
{
    struct tg_tiers *own = TG_ARENA_NEW(&c->arena, struct tg_tiers);

    /* Of general ones that could not be read nothing is known: what a route says is looked at all the same. */
    if (tg_tiers_read_route(tree, route->rate_limits, where_of(route, &c->arena), route->name, &c->tiers, &c->arena,
                            own, problems))
        c->route_tiers[route->index] = own;
}

void settings_read_route_limits(const struct tg_tree *tree, struct tg_config *c, struct tg_problems *problems)
{
    size_t count = c->routes ? tg_routes_count(c->routes) : 0;

    for (size_t i = 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(c->routes, i);

        if (!route->rate_limits)
            continue;
        if (!c->route_tiers)
            c->route_tiers = TG_ARENA_ARRAY(&c->arena, const struct tg_tiers *, count);
        read_own(tree, route, c, problems);
        if (c->tiers_bad || !c->route_tiers[route->index])
            continue;
        warn_of_same_name(tree, c, i, problems);
        if (count > 1)
            warn_of_no_name(tree, route, problems);
    }
}
