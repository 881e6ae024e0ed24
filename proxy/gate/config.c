/*
 * config - the life of a configuration: counted, freed with the last exchange that began under it.
 */
#include "gate/config.h"

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

const struct tg_tiers *tg_config_tiers(const struct tg_config *c, const struct tg_route *route)
{
    const struct tg_tiers *own = route && c->route_tiers ? c->route_tiers[route->index] : NULL;

    return own ? own : &c->tiers;
}

void tg_config_unref(struct tg_config *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; c->routes && c->upstream_auth && i < tg_routes_count(c->routes); i++) {
        if (c->credentials)
            tg_credential_source_unref(c->credentials[i]);
        tg_credential_settings_fini(&c->upstream_auth[i]);
    }
    tg_providers_fini(&c->providers);
    tg_routes_fini(c->routes);
    tg_tls_server_unref(c->tls);
    tg_arena_fini(&c->arena);
    tg_tree_free(c->tree);
    free(c);
}
