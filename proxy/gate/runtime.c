/*
 * runtime - a configuration bound to one worker: clusters on its pool, its verifier, series of its routes.
 *
 * A reload makes a new runtime, and so does a new set of policies; exchanges of the old one keep it alive. Endpoints
 * that both name are shared, connections too; and verified tokens, when the providers are the same because only the
 * set changed.
 */
#include "internal.h"

#define TOKEN_CACHE_ENTRIES 4096
#define ASSERTION_ENTRIES 4096
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

/* Of a request without an identity, of which nothing else is known: it can only be asked to log in. */
static bool is_for_members(const struct tg_program *program)
{
    static const struct tg_fact_set nothing;
    struct tg_facts facts = {.known = &nothing};
    struct tg_verdict verdict;
    struct tg_arena arena;

    tg_arena_init(&arena, NULL, 0);
    tg_ppl_trace(program, &facts, &arena, &verdict);
    tg_arena_fini(&arena);
    return !verdict.unknown && verdict.decision == TG_UNAUTHENTICATED;
}

static struct tg_content content_of(const struct tg_route *route)
{
    struct tg_content c = {TG_CONTENT_UNREAD, false};

    if (route->reads && !(route->reads->facts & TG_FACT_BIT(TG_FACT_MCP_TOOL)))
        return c;
    if (tg_ppl_reads_fact(route->policy, TG_FACT_MCP_TOOL))
        c.asked = TG_CONTENT_READ;
    else if (tg_ppl_reads_fact(route->shadow, TG_FACT_MCP_TOOL))
        c.asked = TG_CONTENT_SHADOW;
    if (c.asked != TG_CONTENT_UNREAD)
        c.members_only = is_for_members(route->policy) && (!route->shadow || is_for_members(route->shadow));
    return c;
}

/* Most routes count as all the others: they share what the first one, no route, has. */
static void bind_limits(struct tg_runtime *rt, size_t i, const struct tg_tiers *tiers)
{
    struct tg_route_limits *l = &rt->limits[i];

    if (i > 0 && tiers == rt->limits[0].tiers) {
        *l = rt->limits[0];
        return;
    }
    l->tiers = tiers;
    if (tiers->off)
        return;
    l->metrics = TG_NEW_ARRAY(struct tg_tier_metrics, tiers->count + 1);
    for (size_t k = 0; k < tiers->count; k++)
        tg_metrics_bind_tier(&l->metrics[k], &tiers->items[k]);
    tg_metrics_bind_tier(&l->metrics[tiers->count], &tiers->unauthenticated);
}

/* ---- verified tokens ---- */

/* Those of the runtime so far, if it goes by the same providers. */
static struct tg_verified *verified_of(struct tg_gate *gate, struct tg_config *config)
{
    struct tg_config *base = tg_config_base(config);
    struct tg_verified *v = gate->runtime ? gate->runtime->verified : NULL;

    if (v && v->base == base) {
        v->refs++;
        return v;
    }
    v = TG_NEW(struct tg_verified);
    v->refs = 1;
    v->base = tg_config_ref(base);
    v->authn = tg_authn_new(gate->worker, &base->providers, &gate->shared->auth, TOKEN_CACHE_ENTRIES);
    return v;
}

static void verified_unref(struct tg_verified *v)
{
    if (--v->refs > 0)
        return;
    tg_authn_free(v->authn);
    tg_config_unref(v->base);
    free(v);
}

/* ---- made, counted ---- */

struct tg_runtime *tg_runtime_new(struct tg_gate *gate, struct tg_config *config)
{
    struct tg_runtime *rt = TG_NEW(struct tg_runtime);
    size_t count = config->routes ? tg_routes_count(config->routes) : 0;

    rt->refs = 1;
    rt->gate = gate;
    rt->config = tg_config_ref(config);
    rt->verified = verified_of(gate, config);
    rt->authn = rt->verified->authn;
    if (config->signs && gate->shared->auth.signing)
        rt->assertions = tg_assertions_new(gate->shared->auth.signing, ASSERTION_ENTRIES);
    rt->clusters = TG_NEW_ARRAY(struct tg_cluster *, count + 1);
    rt->own = TG_NEW_ARRAY(struct tg_credential_view, count + 1);
    rt->call_limits = TG_NEW_ARRAY(struct tg_call_limits, count + 1);
    rt->metrics = TG_NEW_ARRAY(struct tg_route_metrics, count + 1);
    rt->limits = TG_NEW_ARRAY(struct tg_route_limits, count + 1);
    rt->content = TG_NEW_ARRAY(struct tg_content, count + 1);
    bind_limits(rt, 0, tg_config_tiers(config, NULL));
    for (size_t i = 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(config->routes, i);

        bind_route(rt, route);
        tg_metrics_bind_route(&rt->metrics[i], route->name);
        bind_limits(rt, i + 1, tg_config_tiers(config, route));
        if (route->shadow)
            tg_metrics_bind_shadow(&rt->metrics[i], route->name);
        rt->content[i] = content_of(route);
    }
    tg_metrics_bind_route(&rt->metrics[count], TG_S("none"));
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
        tg_credential_view_fini(&rt->own[i]);
        tg_metrics_unbind_route(&rt->metrics[i]);
        if (i > 0 && rt->limits[i].metrics != rt->limits[0].metrics)
            free(rt->limits[i].metrics);
    }
    tg_assertions_free(rt->assertions);                  /* it holds identities, which point into what follows */
    verified_unref(rt->verified);
    free(rt->clusters);
    free(rt->own);
    free(rt->call_limits);
    free(rt->metrics);
    free(rt->limits[0].metrics);
    free(rt->limits);
    free(rt->content);
    tg_config_unref(rt->config);
    free(rt);
}
