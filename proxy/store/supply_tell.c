/*
 * supply_tell - the supply in readiness and in metrics.
 */
#include "base/clock.h"
#include "base/metric.h"
#include "supply_internal.h"

void tg_supply_describe(struct tg_supply *s, struct tg_buf *out)
{
    pthread_mutex_lock(&s->lock);
    const struct held *h = &s->current;

    tg_buf_addf(out, "policies from %s: ", s->source);
    if (h->set)
        tg_buf_addf(out, "%zu policies, %zu routes, heard %lld s ago%s", tg_set_policies(h->set), tg_set_routes(h->set),
                    (long long)(tg_clock_wall_ms() - h->meta.heard_ms) / 1000, atomic_load(&s->stale) ? ", stale" : "");
    else
        tg_buf_adds(out, "none yet");
    if (h->set && h->meta.sequence)
        tg_buf_addf(out, ", sequence %llu", (unsigned long long)h->meta.sequence);
    if (s->why[0])
        tg_buf_addf(out, "; %s: %s", s->refused.set ? "refused" : "failed", s->why);
    tg_buf_addc(out, '\n');
    pthread_mutex_unlock(&s->lock);
}

/* ---- metrics ---- */

/* What is read of the set in force; 0 while there is none. */
static double number_of(struct tg_supply *s, size_t (*of)(const struct tg_set *set))
{
    double n;

    pthread_mutex_lock(&s->lock);
    n = s->current.set ? (double)of(s->current.set) : 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static double read_policies(void *arg)
{
    return number_of(arg, tg_set_policies);
}

static double read_routes(void *arg)
{
    return number_of(arg, tg_set_routes);
}

static double read_loaded(void *arg)
{
    return !tg_supply_missing(arg);
}

static double read_stale(void *arg)
{
    struct tg_supply *s = arg;

    return atomic_load(&s->stale);
}

static struct tg_supply_meta meta_of(struct tg_supply *s)
{
    struct tg_supply_meta meta;

    pthread_mutex_lock(&s->lock);
    meta = s->current.meta;
    pthread_mutex_unlock(&s->lock);
    return meta;
}

static double read_heard(void *arg)
{
    return (double)meta_of(arg).heard_ms / 1000;
}

static double read_sequence(void *arg)
{
    return (double)meta_of(arg).sequence;
}

static double read_count(void *arg)
{
    return (double)atomic_load((_Atomic uint64_t *)arg);
}

static void add_gauge(struct tg_supply *s, const char *name, const char *help, double (*read)(void *arg))
{
    struct tg_slice source = tg_slice_str(s->source);

    tg_metric_callback(tg_metric_family(TG_GAUGE, name, help, "source"), &source, read, s);
}

static void add_count(struct tg_supply *s, const char *result, _Atomic uint64_t *n)
{
    struct tg_slice labels[] = {tg_slice_str(s->source), tg_slice_str(result)};

    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_policy_set_offers_total",
                                        "What the source of policies was found to have, by what came of it.",
                                        "source,result"),
                       labels, read_count, n);
}

void tg_supply_metrics_init(struct tg_supply *s)
{
    add_gauge(s, "tollgate_policy_set_loaded", "Whether there is a set of policies in force.", read_loaded);
    add_gauge(s, "tollgate_policy_set_stale", "Whether its source was last heard longer ago than max_stale, or its "
              "end has passed.", read_stale);
    add_gauge(s, "tollgate_policy_set_heard_timestamp_seconds", "When its source last said that it is current; 0: "
              "never.", read_heard);
    add_gauge(s, "tollgate_policy_set_policies", "Policies in it.", read_policies);
    add_gauge(s, "tollgate_policy_set_routes", "Routes in it.", read_routes);
    add_gauge(s, "tollgate_policy_set_sequence", "Its sequence, of a bundle.", read_sequence);
    add_count(s, "accepted", &s->counts.accepted);
    add_count(s, "refused", &s->counts.refused);
    add_count(s, "unchanged", &s->counts.unchanged);
    add_count(s, "failed", &s->counts.failed);
}
