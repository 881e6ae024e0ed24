/*
 * settings_routes - the routes, those of the file and those of a set, and the providers they name.
 */
#include "auth/pat.h"
#include "base/json.h"
#include "settings_tables.h"

struct routing {
    const struct tg_tree *tree;
    struct tg_config *config;
    struct tg_problems *problems;
};

/* The set's, or the file's. */
static const struct tg_tree *tree_of(const struct tg_tree *tree, const struct tg_set *set, const cJSON *node)
{
    unsigned line = 0, column;

    if (set)
        tg_tree_place(tg_set_tree(set), node, &line, &column);
    return line ? tg_set_tree(set) : tree;
}

/* Of this route: `name` of it, or all. */
static void complain(const struct routing *r, const struct tg_route *route, const char *name, struct tg_slice what)
{
    const struct tg_tree *tree = tree_of(r->tree, r->config->set, route->node);
    const cJSON *node = tg_json_get(route->node, name);

    tg_problem_at(r->problems, tree, node ? node : route->node, "route " TG_S_FMT ".%s: " TG_S_FMT,
                  TG_S_ARG(route->name), name, TG_S_ARG(what));
}

static void complain_of_provider(const struct routing *r, const struct tg_route *route, struct tg_slice name)
{
    const struct tg_providers *providers = &r->config->providers;
    struct tg_arena *arena = &r->config->arena;
    const char *names[TG_PROVIDERS_MAX], *near;

    if (tg_slice_eq(name, TG_S(TG_PAT_PROVIDER))) {
        complain(r, route, "identity_providers", TG_S(TG_PAT_PROVIDER " are off; set " TG_PAT_PROVIDER
                                                      ": {enabled: true}"));
        return;
    }
    for (size_t i = 0; i < providers->count; i++)
        names[i] = tg_arena_str(arena, providers->items[i].name);
    near = tg_nearest(tg_arena_str(arena, name), names, providers->count);
    complain(r, route, "identity_providers",
             tg_arena_printf(arena, "there is no identity provider \"%.*s\"%s%s%s", name.len > 64 ? 64 : (int)name.len,
                             name.ptr, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : ""));
}

static void name_providers(const struct routing *r, struct tg_route *route)
{
    for (size_t i = 0; i < route->provider_count; i++) {
        int found = tg_providers_find(&r->config->providers, route->provider_names[i]);

        if (found >= 0)
            route->providers |= UINT64_C(1) << found;
        else
            complain_of_provider(r, route, route->provider_names[i]);
    }
}

/* An opaque token says nothing of who gave it out, and it is shown to nobody else. */
static void check_opaque(const struct routing *r, const struct tg_route *route)
{
    const struct tg_tree *tree = tree_of(r->tree, r->config->set, route->node);
    const cJSON *node = tg_json_get(route->node, "identity_providers");
    const struct tg_provider *first;
    size_t count = tg_providers_of_opaque(&r->config->providers, route->providers, &first);

    if (route->accept_opaque && count > 1)
        tg_problem_at(r->problems, tree, node ? node : route->node,
                      "route " TG_S_FMT ": several providers take opaque tokens, and such a token does not say whose "
                      "it is; leave one of them in identity_providers, or set accept_opaque: false",
                      TG_S_ARG(route->name));
    if (cJSON_IsTrue(tg_json_get(route->node, "accept_opaque")) && count == 0)
        complain(r, route, "accept_opaque",
                 TG_S("none of its identity providers can be asked about such tokens; that is introspection: "
                      "{accept_opaque: true, ...} of the provider"));
}

void settings_read_routes(const struct tg_tree *tree, const struct tg_set_use *use, struct tg_config *c,
                          struct tg_problems *problems)
{
    struct routing r = {tree, c, problems};
    bool all_open = true;                                /* to everybody, with or without a token */

    if (!tg_routes_read(tree, tree->root, &c->route_defaults, use, &c->arena, &c->routes, problems) || !c->routes)
        return;
    for (size_t i = 0; i < tg_routes_count(c->routes); i++) {
        struct tg_route *route = tg_routes_at(c->routes, i);

        name_providers(&r, route);
        check_opaque(&r, route);
        all_open = all_open && (route->public_access || route->shadow_mode);
    }
    settings_read_upstream_auth(tree, c, problems);
    if (c->providers.count == 0 && !all_open)
        tg_warning_at(problems, tree, tree->root,
                      "there are no identity_providers: nobody can be authenticated, so only routes answer that are "
                      "public or in shadow mode");
}
