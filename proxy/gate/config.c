/*
 * config - the life of a configuration: counted, freed with the last exchange that began under it.
 */
#include "gate/config.h"
#include <stddef.h>
#include <string.h>

struct tg_config *tg_config_new(void)
{
    struct tg_config *c = TG_NEW(struct tg_config);

    atomic_init(&c->refs, 1);
    tg_arena_init(&c->arena, NULL, 0);
    return c;
}

struct tg_config *tg_config_ref(struct tg_config *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct tg_config *tg_config_over(struct tg_config *base)
{
    struct tg_config *c = TG_NEW(struct tg_config);
    size_t start = offsetof(struct tg_config, base);

    tg_assert(!base->base);
    memcpy((char *)c + start, (const char *)base + start, sizeof(*c) - start); /* others count `refs` meanwhile */
    atomic_init(&c->refs, 1);
    c->base = tg_config_ref(base);
    c->set = NULL;
    tg_arena_init(&c->arena, NULL, 0);
    c->routes = NULL;
    c->route_tiers = NULL;
    c->signs = false;
    memset(c->policy_set, 0, sizeof c->policy_set);
    c->upstream_auth = NULL;
    c->has_upstream_auth = NULL;
    c->credentials = NULL;
    return c;
}

struct tg_config *tg_config_base(struct tg_config *c)
{
    return c->base ? c->base : c;
}

const struct tg_tiers *tg_config_tiers(const struct tg_config *c, const struct tg_route *route)
{
    const struct tg_tiers *own = route && c->route_tiers ? c->route_tiers[route->index] : NULL;

    return own ? own : &c->tiers;
}

static void free_upstream_auth(struct tg_config *c)
{
    for (size_t i = 0; c->routes && c->upstream_auth && i < tg_routes_count(c->routes); i++) {
        if (c->credentials)
            tg_credential_source_unref(c->credentials[i]);
        tg_credential_settings_fini(&c->upstream_auth[i]);
    }
}

void tg_config_unref(struct tg_config *c)
{
    struct tg_config *base;

    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    base = c->base;
    free_upstream_auth(c);
    tg_routes_fini(c->routes);
    if (!base) {                                         /* else they are the base's */
        tg_providers_fini(&c->providers);
        tg_tls_server_unref(c->tls);
    }
    tg_arena_fini(&c->arena);
    if (!base)
        tg_tree_free(c->tree);
    tg_set_unref(c->set);
    free(c);
    tg_config_unref(base);
}
