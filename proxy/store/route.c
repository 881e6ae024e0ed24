/*
 * route - the sections `routes`, `upstream`, `policies` and `policies_dir` as a whole.
 */
#include "internal.h"

/* How messages call a route: by its place, and by its name when it has a plain one. */
static const char *where_of(size_t i, const cJSON *node, struct tg_arena *arena)
{
    struct tg_slice name;

    if (!tg_json_str(tg_json_get(node, "name"), &name) || name.len == 0 || name.len > 64)
        return tg_arena_printf(arena, "routes[%zu]", i).ptr;
    for (size_t k = 0; k < name.len; k++)
        if (name.ptr[k] < 0x20 || name.ptr[k] == 0x7f)
            return tg_arena_printf(arena, "routes[%zu]", i).ptr;
    return tg_arena_printf(arena, "routes[%zu] (" TG_S_FMT ")", i, TG_S_ARG(name)).ptr;
}

/* `r` holds what all routes share. A broken route leaves a gap that nobody sees: reading fails. */
static void read_list(struct tg_routes *routes, const struct route_reader *shared, const cJSON *list)
{
    struct route_reader r = *shared;
    size_t i = 0;

    if (!cJSON_IsArray(list)) {
        tg_problem_at(r.problems, r.tree, list, "routes: must be a list");
        return;
    }
    routes->items = TG_ARENA_ARRAY(r.arena, struct tg_route *, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(r.node, list) {
        struct tg_route *route;

        r.where = where_of(i, r.node, r.arena);
        route = route_read(&r, (unsigned)i++, true);
        if (route)
            routes->items[routes->count++] = route;
    }
}

/* `upstream: URL` lets every caller with a valid token pass; as a mapping it is a route like any other. */
static void read_upstream(struct tg_routes *routes, const struct route_reader *shared, const cJSON *upstream)
{
    struct route_reader r = *shared;
    struct tg_route *route;
    struct tg_slice url;

    r.where = "upstream";
    r.node = upstream;
    route = tg_json_str(upstream, &url) ? route_read_short(&r, url) : route_read(&r, 0, true);
    routes->items = TG_ARENA_ARRAY(r.arena, struct tg_route *, 1);
    if (route)
        routes->items[routes->count++] = route;
}

/* What is legal and surely not meant. */
static void warn(const struct tg_routes *routes, const struct tg_tree *tree, struct tg_problems *problems)
{
    for (size_t i = 0; i < routes->count; i++) {
        const struct tg_route *later = routes->items[i];

        for (size_t j = 0; j < i; j++) {
            const struct tg_route *earlier = routes->items[j];

            if (tg_slice_eq(earlier->name, later->name))
                tg_warning_at(problems, tree, later->node, "routes[%u] and routes[%u] are both named " TG_S_FMT,
                              earlier->index, later->index, TG_S_ARG(later->name));
            if (route_covers(earlier, later)) {
                tg_warning_at(problems, tree, later->node,
                              "routes[%u] (" TG_S_FMT ") can never match: routes[%u] (" TG_S_FMT
                              ") before it takes all of its requests", later->index, TG_S_ARG(later->name),
                              earlier->index, TG_S_ARG(earlier->name));
                break;
            }
        }
    }
}

static const cJSON *section(const cJSON *root, const char *name)
{
    const cJSON *node = tg_json_get(root, name);

    return cJSON_IsNull(node) ? NULL : node;
}

bool tg_routes_read(const struct tg_tree *tree, const cJSON *root, const struct tg_route_defaults *defaults,
                    struct tg_arena *arena, struct tg_routes **out, struct tg_problems *problems)
{
    const cJSON *list = section(root, "routes"), *upstream = section(root, "upstream");
    struct tg_routes *routes = TG_ARENA_NEW(arena, struct tg_routes);
    struct policy_set policies = {.client_ca = defaults->client_ca, .pool = tg_ppl_pool_new(arena)};
    struct tls_clients tls = {0};
    struct route_reader r = {
        .tree = tree, .defaults = defaults, .policies = &policies, .tls = &tls, .pool = policies.pool, .arena = arena,
        .problems = problems,
        .several_providers = cJSON_GetArraySize(tg_json_get(root, "identity_providers")) > 1,
    };
    size_t errors = problems->errors;

    policy_set_read(&policies, tree, root, arena, problems);
    if (list && upstream)
        tg_problem_at_key(problems, tree, upstream, "upstream: as the short form of a route cannot be beside routes");
    else if (list)
        read_list(routes, &r, list);
    else if (upstream)
        read_upstream(routes, &r, upstream);
    routes_digest(tree, root, &policies, routes->digest);
    if (routes->count == 0 && problems->errors == errors)
        tg_warning_at(problems, tree, list ? list : root, "there are no routes: every request is answered 404");
    policy_set_fini(&policies);
    tls_clients_fini(&tls);
    if (problems->errors != errors) {
        tg_routes_fini(routes);
        return false;
    }
    warn(routes, tree, problems);
    route_table_build(&routes->table, routes->items, routes->count, arena);
    *out = routes;
    return true;
}

struct tg_route *tg_route_read_one(const struct tg_tree *tree, const cJSON *node,
                                   const struct tg_route_defaults *defaults, struct tg_arena *arena,
                                   struct tg_problems *problems)
{
    struct route_reader r = {.tree = tree, .node = node, .where = "route", .defaults = defaults,
                             .pool = tg_ppl_pool_new(arena), .arena = arena, .problems = problems};

    return route_read(&r, 0, false);
}

void tg_route_fini(struct tg_route *route)
{
    if (!route)
        return;
    tg_tls_client_unref(route->tls);
    route->tls = NULL;
}

void tg_routes_fini(struct tg_routes *routes)
{
    for (size_t i = 0; routes && i < routes->count; i++)
        tg_route_fini(routes->items[i]);
}

const char *tg_routes_digest(const struct tg_routes *routes) { return routes->digest; }

size_t tg_routes_count(const struct tg_routes *routes) { return routes->count; }

struct tg_route *tg_routes_at(const struct tg_routes *routes, size_t i)
{
    tg_assert(i < routes->count);
    return routes->items[i];
}
