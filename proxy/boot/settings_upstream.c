/*
 * settings_upstream - `upstream_auth` of the routes: tollgate's own credentials for the services behind them.
 */
#include "base/json.h"
#include "settings_tables.h"

static const char *where_of(const struct tg_route *route, struct tg_arena *arena)
{
    bool named = tg_json_get(route->node, "name") != NULL;

    return tg_arena_str(arena, named ? tg_arena_printf(arena, "route " TG_S_FMT ".upstream_auth", TG_S_ARG(route->name))
                                     : tg_arena_printf(arena, "routes[%u].upstream_auth", route->index));
}

void settings_read_upstream_auth(const struct tg_tree *tree, struct tg_config *c, struct tg_problems *problems)
{
    size_t count = tg_routes_count(c->routes);

    for (size_t i = 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(c->routes, i);
        const char *where;

        if (!route->upstream_auth)
            continue;
        if (!c->upstream_auth) {
            c->upstream_auth = TG_ARENA_ARRAY(&c->arena, struct tg_credential_settings, count);
            c->has_upstream_auth = TG_ARENA_ARRAY(&c->arena, bool, count);
        }
        c->has_upstream_auth[i] = true;
        where = where_of(route, &c->arena);
        tg_credential_settings_read(tree, route->upstream_auth, where, &c->arena, &c->upstream_auth[i], problems);
    }
}
