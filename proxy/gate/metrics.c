/*
 * metrics - what the gate counts. Labels come from the configuration and fixed sets only: route name, method, status,
 * decision, policy name.
 */
#include "internal.h"
#include <stdio.h>

#define STATUS_MIN 100
#define STATUS_COUNT 500

static struct tg_series *plain(enum tg_metric_kind kind, const char *name, const char *help)
{
    return tg_metric_series(tg_metric_family(kind, name, help, ""), NULL);
}

static struct tg_series *labelled(const char *name, const char *help, const char *label, const char *value)
{
    struct tg_slice v = tg_slice_str(value);

    return tg_metric_series(tg_metric_family(TG_COUNTER, name, help, label), &v);
}

void tg_gate_metrics_init(struct tg_gate *gate)
{
    static const char *const handshakes[] = {"ok", "resumed", "failed", "plain_http", "timeout", "gone"};
    struct tg_gate_metrics *m = &gate->metrics;

    m->connections = plain(TG_GAUGE, "tollgate_connections_active", "Open client connections.");
    m->connections_refused =
        plain(TG_COUNTER, "tollgate_connections_refused_total",
              "Connections closed at once because of limits.connections or connections_per_address.");
    m->framing_errors =
        plain(TG_COUNTER, "tollgate_malformed_requests_total", "Requests refused for their framing or syntax.");
    for (unsigned i = 0; i <= TG_DECIDED_NONE; i++)
        m->decisions[i] =
            labelled("tollgate_decisions_total", "Requests by what was decided.", "decision",
                                      tg_decided_name(i));
    for (unsigned i = 0; i < TG_HANDSHAKE_COUNT; i++)
        m->handshakes[i] = labelled("tollgate_tls_handshakes_total", "TLS handshakes with clients by how they ended.",
                                    "result", handshakes[i]);
    m->untrusted_forwarded =
        plain(TG_COUNTER, "tollgate_untrusted_forwarded_total",
              "Requests with X-Forwarded-For or Forwarded from an address that is not in trusted_proxies.");
}

static struct tg_series *requests_series(struct tg_route_metrics *m, struct tg_slice route, unsigned method,
                                         unsigned status)
{
    struct tg_series **row = m->by_method[method];
    char code[12];

    if (status < STATUS_MIN || status >= STATUS_MIN + STATUS_COUNT)
        return NULL;
    if (!row)
        row = m->by_method[method] = TG_NEW_ARRAY(struct tg_series *, STATUS_COUNT);
    if (!row[status - STATUS_MIN]) {
        struct tg_slice values[] = {route, tg_slice_str(tg_method_name(method)), {code, 0}};

        values[2].len = (size_t)snprintf(code, sizeof(code), "%u", status);
        row[status - STATUS_MIN] = tg_metric_series_in(
            m->group,
            tg_metric_family(TG_COUNTER, "tollgate_http_requests_total", "Requests answered.", "route,method,code"),
            values);
    }
    return row[status - STATUS_MIN];
}

/* ---- tiers ---- */

void tg_metrics_bind_tier(struct tg_tier_metrics *m, const struct tg_tier *tier)
{
    static const char *const results[TG_COUNTED_COUNT] = {
        [TG_COUNTED_ADMITTED] = "admitted",
        [TG_COUNTED_REFUSED] = "limited",
        [TG_COUNTED_SHADOW] = "shadow_limited",
        [TG_COUNTED_UNAVAILABLE] = "unavailable",
    };
    struct tg_metric *family = tg_metric_family(TG_COUNTER, "tollgate_ratelimit_requests_total",
                                                "Requests counted against a tier by what came of it.", "tier,result");

    for (size_t i = 0; i < TG_COUNTED_COUNT; i++) {
        struct tg_slice values[] = {tier->name, tg_slice_str(results[i])};

        m->by_result[i] = tg_metric_series(family, values);
    }
}

/* ---- routes ---- */

static struct tg_series *time_series(const struct tg_route_metrics *m, const char *name, const char *help,
                                     struct tg_slice route)
{
    return tg_metric_series_in(m->group, tg_metric_family(TG_HISTOGRAM, name, help, "route"), &route);
}

void tg_metrics_bind_route(struct tg_route_metrics *m, struct tg_slice route)
{
    m->group = tg_metric_group_ref(route);
    m->duration = time_series(m, "tollgate_http_request_duration_seconds",
                              "Time from a request's head to its last octet answered.", route);
    m->upstream_duration = time_series(m, "tollgate_upstream_request_duration_seconds",
                                       "Time from sending a request to its answer's head.", route);
}

void tg_metrics_unbind_route(struct tg_route_metrics *m)
{
    for (size_t i = 0; i < TG_METHOD_COUNT; i++)
        free(m->by_method[i]);
    free(m->refused[0]);
    free(m->refused[1]);
    tg_metric_group_unref(m->group);
}

/* ---- policies ---- */

static const char *const decisions[] = {[TG_ALLOW] = "allow", [TG_DENY] = "deny",
                                        [TG_UNAUTHENTICATED] = "unauthenticated"};

void tg_metrics_bind_shadow(struct tg_route_metrics *m, struct tg_slice route)
{
    struct tg_metric *family =
        tg_metric_family(TG_COUNTER, "tollgate_shadow_decisions_total",
                         "Requests by what would have been decided without shadow mode, and what was.",
                         "route,decision,enforced");

    for (size_t i = 0; i < ARRAY_LEN(decisions); i++) {
        for (size_t j = 0; j < ARRAY_LEN(decisions); j++) {
            struct tg_slice values[] = {route, tg_slice_str(decisions[i]), tg_slice_str(decisions[j])};

            m->shadow[i][j] = tg_metric_series_in(m->group, family, values);
        }
    }
}

static struct tg_series *policy_series(struct tg_metric_group *group, const struct tg_policy_text *text,
                                       const struct tg_route *route, bool shadow)
{
    struct tg_slice values[] = {text->name, TG_S("deny"), shadow ? TG_S("shadow") : TG_S("enforced")};
    struct tg_buf own = {0};
    struct tg_series *s;

    if (values[0].len == 0) {                            /* written at the route itself */
        tg_buf_adds(&own, "route:");
        tg_buf_add_slice(&own, route->name);
        values[0] = tg_buf_slice(&own);
    }
    s = tg_metric_series_in(text->name.len == 0 ? group : NULL,
                            tg_metric_family(TG_COUNTER, "tollgate_policy_decisions_total",
                                             "Refusals by the policy that explains them.", "policy,decision,mode"),
                            values);
    tg_buf_fini(&own);
    return s;
}

/* The policy that a refusal is explained by, where it is one: login is asked for by all of them together. */
static void count_policy(struct tg_exchange *ex, struct tg_route_metrics *rm, const struct tg_verdict *verdict,
                         bool shadow)
{
    struct tg_series ***rows = &rm->refused[shadow];
    const struct tg_route *route = ex->route;
    size_t count = shadow ? route->shadow_count : route->policy_count;
    const struct tg_policy_text *texts = shadow ? route->shadow_texts : route->policy_texts;

    if (verdict->decision != TG_DENY || verdict->policy < 0 || (size_t)verdict->policy >= count)
        return;
    if (!*rows)
        *rows = TG_NEW_ARRAY(struct tg_series *, count);
    struct tg_series **s = &(*rows)[verdict->policy];

    if (!*s)
        *s = policy_series(rm->group, &texts[verdict->policy], route, shadow);
    tg_metric_add(*s, ex->gate->cell, 1);
}

static void count_judged(struct tg_exchange *ex, struct tg_route_metrics *rm)
{
    count_policy(ex, rm, &ex->verdict, false);
    if (!ex->route->shadow)
        return;
    count_policy(ex, rm, &ex->shadow_verdict, true);
    tg_metric_add(rm->shadow[ex->shadow_verdict.decision][ex->verdict.decision], ex->gate->cell, 1);
}

/* ---- a request ---- */

void tg_metrics_count(struct tg_exchange *ex)
{
    struct tg_gate *gate = ex->gate;
    struct tg_gate_metrics *m = &gate->metrics;

    tg_metric_add(m->decisions[tg_decided(ex)], gate->cell, 1);
    if (ex->refusal == TG_REFUSE_HEAD || ex->refusal == TG_REFUSE_BODY_FRAMING)
        tg_metric_add(m->framing_errors, gate->cell, 1);
    if (!ex->rt)
        return;
    size_t i = ex->route ? ex->route->index : tg_routes_count(ex->rt->config->routes);
    struct tg_route_metrics *rm = &ex->rt->metrics[i];
    struct tg_series *s =
        requests_series(rm, ex->route ? ex->route->name : TG_S("none"), ex->head.method_id, ex->status);

    if (s)
        tg_metric_add(s, gate->cell, 1);
    if (ex->judged)
        count_judged(ex, rm);
    tg_metric_observe_us(rm->duration, gate->cell, ex->ended_us - ex->started_us);
    if (ex->upstream_us > 0)
        tg_metric_observe_us(rm->upstream_duration, gate->cell, ex->upstream_us);
}
