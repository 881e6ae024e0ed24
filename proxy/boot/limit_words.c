/*
 * limit_words - see limit_words.h.
 */
#include "limit_words.h"
#include "io/redis.h"

bool limit_store_words(const struct tg_limit_settings *settings, struct tg_buf *out)
{
    struct tg_redis_address address;
    struct tg_arena arena;
    struct tg_err err;

    if (settings->store.len == 0)
        return false;
    tg_arena_init(&arena, NULL, 0);
    if (tg_redis_parse(settings->store, &arena, &address, &err) == TG_OK)
        tg_redis_describe(&address, out);
    else
        tg_buf_adds(out, "a store");                     /* never the URL as it is: it may hold a password */
    tg_arena_fini(&arena);
    return true;
}

static bool has_own(const struct tg_config *config, size_t i)
{
    return tg_config_tiers(config, tg_routes_at(config->routes, i)) != &config->tiers;
}

size_t limit_routes_count(const struct tg_config *config)
{
    size_t n = 0;

    for (size_t i = 0; i < tg_routes_count(config->routes); i++)
        n += has_own(config, i);
    return n;
}

void limit_routes_words(const struct tg_config *config, struct tg_buf *out)
{
    for (size_t i = 0; i < tg_routes_count(config->routes); i++) {
        const struct tg_route *route = tg_routes_at(config->routes, i);

        if (!has_own(config, i))
            continue;
        tg_buf_adds(out, "rate limits of route ");
        tg_trace_clean(out, route->name, 200);
        tg_buf_adds(out, ": ");
        tg_tiers_describe(tg_config_tiers(config, route), out);
        tg_buf_adds(out, "\n");
    }
}
