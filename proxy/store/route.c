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
    if (route)
        routes->items[routes->count++] = route;
}

/* `first`: how many routes the file has; those of the set are behind them. */
static void read_set(struct tg_routes *routes, const struct route_reader *shared, const struct tg_set_use *use,
                     size_t first)
{
    static const struct tg_set_rules strictest = {0};
    struct route_rows rows = {0};
    struct route_reader r = *shared;
    size_t i = first;

    route_set_rows(&rows, r.arena);
    r.tree = tg_set_tree(use->set);
    r.rows = &rows;
    r.rules = use->rules ? use->rules : &strictest;
    cJSON_ArrayForEach(r.node, tg_json_get(r.tree->root, "routes")) {
        struct tg_route *route;

        r.where = route_set_where(r.node, r.arena);
        route = route_read(&r, (unsigned)i++, true);
        if (route)
            routes->items[routes->count++] = route;
    }
}

static const cJSON *section(const cJSON *root, const char *name)
{
    const cJSON *node = tg_json_get(root, name);

    return cJSON_IsNull(node) ? NULL : node;
}

static void warn_of_none(const struct tg_tree *tree, const cJSON *root, struct tg_problems *problems)
{
    const cJSON *list = section(root, "routes");

    tg_warning_at(problems, tree, list ? list : root, "there are no routes: every request is answered 404");
}

/* Everything, problems or not; `r` holds what is common. */
static void read_sections(struct tg_routes *routes, const struct route_reader *r, const cJSON *root,
                          const struct tg_set_use *use)
{
    const cJSON *list = section(root, "routes"), *upstream = section(root, "upstream");
    size_t first = list ? (size_t)cJSON_GetArraySize(list) : upstream != NULL;
    const struct tg_set *set = use ? use->set : NULL;

    routes->items = TG_ARENA_ARRAY(r->arena, struct tg_route *, first + (set ? tg_set_routes(set) : 0));
    if (list && upstream)
        tg_problem_at_key(r->problems, r->tree, upstream, "upstream: as the short form of a route cannot be beside "
                          "routes");
    else if (list)
        read_list(routes, r, list);
    else if (upstream)
        read_upstream(routes, r, upstream);
    if (set)
        read_set(routes, r, use, first);
}

bool tg_routes_read(const struct tg_tree *tree, const cJSON *root, const struct tg_route_defaults *defaults,
                    const struct tg_set_use *use, struct tg_arena *arena, struct tg_routes **out,
                    struct tg_problems *problems)
{
    struct tg_routes *routes = TG_ARENA_NEW(arena, struct tg_routes);
    struct policy_set policies = {.client_ca = defaults->client_ca, .pool = tg_ppl_pool_new(arena)};
    struct set_policies of_set = {0};
    struct tls_clients tls = {0};
    const struct tg_set *set = use ? use->set : NULL;
    struct route_reader r = {
        .tree = tree, .defaults = defaults, .policies = &policies, .set = use ? &of_set : NULL, .tls = &tls,
        .pool = policies.pool, .arena = arena, .problems = problems, .set_missing = use && !set,
        .several_providers = cJSON_GetArraySize(tg_json_get(root, "identity_providers")) > 1,
    };
    size_t errors = problems->errors;

    policy_set_read(&policies, tree, root, arena, problems);
    if (set)
        set_policies_read(&of_set, set, defaults->client_ca, policies.pool, arena, problems);
    read_sections(routes, &r, root, use);
    routes_digest(tree, root, &policies, set, routes->digest);
    if (routes->count == 0 && problems->errors == errors && !r.set_missing)
        warn_of_none(set ? tg_set_tree(set) : tree, set ? tg_set_tree(set)->root : root, problems);
    set_policies_fini(&of_set);
    policy_set_fini(&policies);
    tls_clients_fini(&tls);
    if (problems->errors != errors) {
        tg_routes_fini(routes);
        return false;
    }
    routes_warn(routes, problems);
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
