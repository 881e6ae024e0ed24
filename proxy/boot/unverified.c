/*
 * unverified - a setting for trying things out must not be forgotten: it is in the log at each start and in a metric.
 */
#include "unverified.h"
#include "base/log.h"
#include "base/metric.h"

/* Sets the gauge of each such route; adds their names to `names`. */
static void mark(const struct tg_config *config, int64_t value, struct tg_buf *names)
{
    for (size_t i = 0; config->routes && i < tg_routes_count(config->routes); i++) {
        const struct tg_route *route = tg_routes_at(config->routes, i);

        if (!route->tls_skip_verify)
            continue;
        tg_metric_set(tg_metric_series(tg_metric_family(TG_GAUGE, "tollgate_upstream_tls_unverified",
                                                        "1: the route's service is believed without verification.",
                                                        "route"),
                                       &route->name),
                      value);
        tg_buf_addf(names, "%s" TG_S_FMT, names->len ? ", " : "", TG_S_ARG(route->name));
    }
}

void tell_unverified(const struct tg_config *old, const struct tg_config *fresh)
{
    struct tg_buf names = {0}, gone = {0};

    if (old)
        mark(old, 0, &gone);
    mark(fresh, 1, &names);
    if (names.len > 0)
        tg_log(TG_LOG_WARN, "tls_skip_verify: whoever answers for these routes is believed",
               TG_F_SLICE("routes", tg_buf_slice(&names)));
    tg_buf_fini(&names);
    tg_buf_fini(&gone);
}
