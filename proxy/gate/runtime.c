/*
 * runtime - a configuration bound to one worker: clusters on its pool, its verifier, series of its routes.
 *
 * A reload makes a new runtime; exchanges of the old one keep it alive. Endpoints that both name are shared,
 * connections too.
 */
#include "internal.h"

#define TOKEN_CACHE_ENTRIES 4096
#define ANSWER_HEAD_BYTES (64 * 1024)

static void bind_route(struct tg_runtime *rt, const struct tg_route *route)
{
    const struct tg_timeouts *t = &rt->config->timeouts;
    struct tg_cluster *cluster = tg_cluster_new();

    for (size_t i = 0; i < route->target_count; i++) {
        const struct tg_target *target = &route->targets[i];

        if (!target->echo)
            tg_cluster_add(cluster, tg_pool_endpoint(rt->gate->pool, &target->url,
                                                     target->url.tls ? route->tls : NULL, target->tls_name),
                           target->weight);
    }
    rt->clusters[route->index] = cluster;
    rt->call_limits[route->index] = (struct tg_call_limits){
        .connect_ms = t->connect_ms,
        .first_byte_ms = t->first_byte_ms,
        .stall_ms = route->idle_timeout_ms,
        .idle_ms = t->upstream_idle_ms,
        .head = {.head_bytes = ANSWER_HEAD_BYTES, .target_bytes = 0, .fields = 0},
    };
}

static void bind_metrics(struct tg_route_metrics *m, struct tg_slice name)
{
    m->duration = tg_metric_series(tg_metric_family(TG_HISTOGRAM, "tollgate_http_request_duration_seconds",
                                                    "Time from a request's head to its last octet answered.", "route"),
                                   &name);
    m->upstream_duration = tg_metric_series(tg_metric_family(TG_HISTOGRAM, "tollgate_upstream_request_duration_seconds",
                                                             "Time from sending a request to its answer's head.",
                                                             "route"),
                                            &name);
}

struct tg_runtime *tg_runtime_new(struct tg_gate *gate, struct tg_config *config)
{
    struct tg_runtime *rt = TG_NEW(struct tg_runtime);
    size_t count = config->routes ? tg_routes_count(config->routes) : 0;

    rt->refs = 1;
    rt->gate = gate;
    rt->config = tg_config_ref(config);
    rt->authn = tg_authn_new(gate->worker, &config->providers, TOKEN_CACHE_ENTRIES);
    rt->clusters = TG_NEW_ARRAY(struct tg_cluster *, count + 1);
    rt->call_limits = TG_NEW_ARRAY(struct tg_call_limits, count + 1);
    rt->metrics = TG_NEW_ARRAY(struct tg_route_metrics, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(config->routes, i);

        bind_route(rt, route);
        bind_metrics(&rt->metrics[i], route->name);
    }
    bind_metrics(&rt->metrics[count], TG_S("none"));
    return rt;
}

struct tg_runtime *tg_runtime_ref(struct tg_runtime *rt)
{
    rt->refs++;
    return rt;
}

void tg_runtime_unref(struct tg_runtime *rt)
{
    if (!rt || --rt->refs > 0)
        return;
    size_t count = rt->config->routes ? tg_routes_count(rt->config->routes) : 0;

    for (size_t i = 0; i <= count; i++) {
        tg_cluster_free(rt->clusters[i]);
        for (size_t m = 0; m < TG_METHOD_COUNT; m++)
            free(rt->metrics[i].by_method[m]);
    }
    tg_authn_free(rt->authn);
    free(rt->clusters);
    free(rt->call_limits);
    free(rt->metrics);
    tg_config_unref(rt->config);
    free(rt);
}
