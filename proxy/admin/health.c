/*
 * health - liveness, readiness, metrics.
 *
 * Live: the control loop answers. Started: every worker accepts. Ready: started, not draining, and every remote issuer
 * has usable keys (fetched, or from disk within max_stale), and policies of a control plane were loaded once and may
 * still be gone by. A store of rate limits that is away makes nothing unready, whatever when_store_fails says: all who
 * share it would leave at once.
 */
#include "admin/health.h"
#include "auth/credential.h"
#include "auth/introspect.h"
#include "auth/pat.h"
#include "auth/revoked.h"
#include "base/clock.h"
#include "base/metric.h"
#include "process.h"
#include "store/audit.h"
#include "store/supply.h"

struct check {
    const char *name;
    bool ok;
};

/* Were there never any, routes may be missing; stale ones are refused where when_stale is deny. */
static bool policies_serve(const struct tg_supply *supply)
{
    return !tg_supply_missing(supply) && !tg_supply_stale(supply);
}

static size_t run_checks(const struct tg_health *h, bool readiness, struct check *out)
{
    size_t n = 0;

    out[n++] = (struct check){"started", atomic_load(&h->started)};
    if (readiness) {
        out[n++] = (struct check){"keys", h->keys && tg_keys_ready(h->keys)};
        out[n++] = (struct check){"not-draining", !atomic_load(&h->draining)};
        if (h->shared->supply)
            out[n++] = (struct check){"policies", policies_serve(h->shared->supply)};
    }
    return n;
}

static bool wants_details(struct tg_slice query)
{
    return tg_slice_eq(query, TG_S("verbose")) || tg_slice_starts_with(query, TG_S("verbose=")) ||
           tg_slice_starts_with(query, TG_S("verbose&"));
}

static void describe(const struct tg_health *h, struct tg_buf *out)
{
    const struct tg_gate_shared *shared = h->shared;

    if (h->keys)
        tg_keys_describe(h->keys, out);
    if (shared->auth.introspector)
        tg_introspector_describe(shared->auth.introspector, out);
    if (shared->auth.credentials)
        tg_credentials_describe(shared->auth.credentials, out);
    if (shared->auth.pats)
        tg_pats_describe(shared->auth.pats, out);
    if (shared->auth.revocations)
        tg_revocations_describe(shared->auth.revocations, out);
    if (shared->limiter)
        tg_limiter_describe(shared->limiter, out);
    if (h->describe)
        h->describe(h->describe_arg, out);
    if (shared->audit)
        tg_audit_describe(shared->audit, out);
}

static void answer_checks(const struct tg_health *h, const struct check *checks, size_t count, bool verbose,
                          struct tg_service_answer *answer)
{
    bool ok = true;

    for (size_t i = 0; i < count; i++)
        ok = ok && checks[i].ok;
    answer->status = ok ? 200 : 503;
    if (verbose) {
        for (size_t i = 0; i < count; i++)
            tg_buf_addf(&answer->body, "[%c]%s %s\n", checks[i].ok ? '+' : '-', checks[i].name,
                        checks[i].ok ? "ok" : "failed");
        if (count > 1)
            describe(h, &answer->body);
    }
    tg_buf_adds(&answer->body, ok ? "ok\n" : "not ready\n");
}

static void serve(void *arg, const struct tg_service_request *request, struct tg_service_answer *answer)
{
    struct tg_health *h = arg;
    struct check checks[5] = {0};
    struct tg_slice path = request->path;

    if (request->method_id != TG_METHOD_GET && request->method_id != TG_METHOD_HEAD) {
        answer->status = 405;
        answer->allow = "GET, HEAD";
        tg_buf_adds(&answer->body, "method not allowed\n");
    } else if (tg_slice_eq(path, TG_S("/livez"))) {
        answer_checks(h, checks, 0, false, answer);
    } else if (tg_slice_eq(path, TG_S("/startupz"))) {
        answer_checks(h, checks, run_checks(h, false, checks), wants_details(request->query), answer);
    } else if (tg_slice_eq(path, TG_S("/readyz")) || tg_slice_eq(path, TG_S("/healthz"))) {
        answer_checks(h, checks, run_checks(h, true, checks), wants_details(request->query), answer);
    } else if (tg_slice_eq(path, TG_S("/metrics"))) {
        answer->status = 200;
        answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
        tg_metric_render(&answer->body);
    } else {
        answer->status = 404;
        tg_buf_adds(&answer->body, "not found; there are /livez /readyz /startupz /healthz /metrics\n");
    }
}

/* ---- metrics that are asked for when read ---- */

static struct tg_limit_state limit_state(void *arg)
{
    struct tg_health *h = arg;
    struct tg_limit_state state;

    tg_limiter_state(h->shared->limiter, &state);
    return state;
}

static double read_fixed_keys(void *arg)
{
    return (double)limit_state(arg).local.fixed_keys;
}

static double read_sliding_keys(void *arg)
{
    return (double)limit_state(arg).local.sliding_keys;
}

static double read_evictions(void *arg)
{
    return (double)limit_state(arg).local.evicted;
}

static double read_overflow(void *arg)
{
    return (double)limit_state(arg).local.overflowed;
}

static double read_store_up(void *arg)
{
    struct tg_limit_state state = limit_state(arg);

    return !state.store_used || state.links_up == state.links;
}

static void limit_metrics_init(struct tg_health *h)
{
    struct tg_metric *keys =
        tg_metric_family(TG_GAUGE, "tollgate_ratelimit_keys", "Counters of rate limits in memory.", "algorithm");

    tg_metric_callback(keys, &TG_S("fixed"), read_fixed_keys, h);
    tg_metric_callback(keys, &TG_S("sliding"), read_sliding_keys, h);
    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_ratelimit_evictions_total",
                                        "Counters in memory that made room for another (rate_limits.max_keys).", ""),
                       NULL, read_evictions, h);
    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_ratelimit_overflow_total",
                                        "Requests counted together with others because no counter was free.", ""),
                       NULL, read_overflow, h);
    tg_metric_callback(tg_metric_family(TG_GAUGE, "tollgate_ratelimit_store_up",
                                        "Whether every worker reaches rate_limits.store; 1 without one.", ""),
                       NULL, read_store_up, h);
}

static double read_log_dropped(void *arg)
{
    struct tg_health *h = arg;

    return h->shared->access_log ? (double)tg_log_sink_dropped(h->shared->access_log) : 0;
}

static double read_reload_ok(void *arg)
{
    struct tg_health *h = arg;

    return atomic_load(&h->reload_ok) ? 1 : 0;
}

static double read_reload_at(void *arg)
{
    struct tg_health *h = arg;

    return (double)atomic_load(&h->reload_at_s);
}

void tg_health_init(struct tg_health *h, struct tg_gate_shared *shared)
{
    h->shared = shared;
    h->service = (struct tg_service){.serve = serve, .arg = h};
    atomic_store(&h->reload_ok, true);
    atomic_store(&h->reload_at_s, tg_clock_wall_ms() / 1000);
    limit_metrics_init(h);
    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_access_log_dropped_total",
                                        "Access log lines dropped because their reader was too slow.", ""),
                       NULL, read_log_dropped, h);
    tg_metric_callback(tg_metric_family(TG_GAUGE, "tollgate_config_last_reload_successful",
                                        "Whether the last reload took effect.", ""),
                       NULL, read_reload_ok, h);
    tg_metric_callback(tg_metric_family(TG_GAUGE, "tollgate_config_last_reload_success_timestamp_seconds",
                                        "When the configuration in force was read.", ""),
                       NULL, read_reload_at, h);
    tg_process_metrics_init();
}
