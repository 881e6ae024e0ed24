/*
 * sync - the life of a sync: when it asks, and what comes of a round.
 *
 * One round at a time; each ends in sync_succeed or sync_fail, which plan the next.
 */
#include "store/sync.h"
#include "base/clock.h"
#include "base/digest.h"
#include "sync_internal.h"
#include <stdio.h>

#define RETRIES_AT_PACE 5                                /* failures in a row */
#define RETRY_FIRST_MS INT64_C(1000)
#define RETRY_LAST_MS INT64_C(60000)
#define RETRY_LAST_MISSING_MS INT64_C(5000)              /* while no set was ever loaded */
#define REFUSED_MS INT64_C(600000)                       /* what only a change of the configuration can mend */
#define RETRY_AFTER_MAX_MS INT64_C(3600000)

static void count(const char *result)
{
    struct tg_slice label = tg_slice_str(result);

    tg_metric_add(tg_metric_series(tg_metric_family(TG_COUNTER, "tollgate_sync_rounds_total",
                                                    "How often the control plane was asked, by what came of it.",
                                                    "result"),
                                   &label),
                  0, 1);
}

/* ---- the end of a round ---- */

static void plan(struct tg_sync *s, int64_t delay_ms)
{
    s->step = SYNC_IDLE;
    sync_round_clear(s);
    tg_deadline_set(&s->control->wheel, &s->due, tg_clock_mono_ms() + delay_ms);
}

void sync_succeed(struct tg_sync *s, const char *result)
{
    count(result);
    s->failures = 0;
    s->trouble[0] = '\0';
    s->heard_ms = tg_clock_mono_ms();
    plan(s, tg_with_jitter(s->interval_ms));
}

/* `first`, doubled after each failure but the first `at_pace`. */
static int64_t doubled(int64_t first, unsigned failures, unsigned at_pace)
{
    unsigned times = failures > at_pace ? failures - at_pace : 0;

    return first << (times < 16 ? times : 16);
}

/* Whoever is asked each second is asked so for a while when it is away, too: it may only be starting anew. */
static int64_t delay_after(const struct tg_sync *s, enum sync_trouble kind)
{
    int64_t last = tg_supply_missing(s->supply) ? RETRY_LAST_MISSING_MS : RETRY_LAST_MS;
    int64_t delay = doubled(RETRY_FIRST_MS, s->failures, 0);
    int64_t paced = doubled(s->interval_ms, s->failures, RETRIES_AT_PACE);

    if (kind == SYNC_REFUSED)
        return REFUSED_MS > s->interval_ms ? REFUSED_MS : s->interval_ms;
    if (delay > paced)
        delay = paced;
    return delay < last ? delay : last;
}

void sync_fail(struct tg_sync *s, enum sync_trouble kind, const char *why, int64_t least_ms)
{
    int64_t delay_ms = tg_with_jitter(delay_after(s, kind));

    count(kind == SYNC_REFUSED ? "refused" : "failed");
    if (least_ms > RETRY_AFTER_MAX_MS)
        least_ms = RETRY_AFTER_MAX_MS;
    if (delay_ms < least_ms)                             /* up to a tenth later */
        delay_ms = least_ms + (least_ms - tg_with_jitter(least_ms));
    s->failures++;
    snprintf(s->trouble, sizeof(s->trouble), "%s", why);
    tg_supply_fail(s->supply, s->trouble);
    if (s->step != SYNC_LOOK)                            /* what was read is no whole */
        sync_visits_fini(&s->visits);
    plan(s, delay_ms);
}

/* ---- life ---- */

static void on_due(struct tg_deadline *d)
{
    struct tg_sync *s = (struct tg_sync *)(void *)((char *)d - offsetof(struct tg_sync, due));

    sync_round_begin(s);
}

struct tg_sync *tg_sync_new(struct tg_worker *control, struct tg_fetcher *fetcher, const struct tg_sync_settings *s,
                            const struct tg_bearer *bearer, struct tg_supply *supply)
{
    struct tg_sync *sync = TG_NEW(struct tg_sync);

    sync->control = control;
    sync->fetcher = fetcher;
    sync->bearer = bearer;
    sync->supply = supply;
    sync->base = tg_slice_dup(s->url);
    sync->organization = tg_slice_dup_or_null(s->organization);
    sync->namespace = tg_slice_dup_or_null(s->namespace);
    sync->ca_file = tg_slice_dup_or_null(s->ca_file);
    sync->proxy = tg_slice_dup_or_null(s->proxy);
    sync->interval_ms = s->interval_ms;
    sync->timeout_ms = s->timeout_ms;
    sync->v1 = tg_slice_ends_with(s->url, TG_S("/api/v1"));
    sync->heard_ms = INT64_MIN;
    sync->due.expired = on_due;
    tg_deadline_set(&control->wheel, &sync->due, tg_clock_mono_ms());
    return sync;
}

void tg_sync_free(struct tg_sync *s)
{
    if (!s)
        return;
    sync_ask_stop(s);
    sync_round_clear(s);
    sync_visits_fini(&s->visits);
    tg_deadline_clear(&s->control->wheel, &s->due);
    free(s->base);
    free(s->organization);
    free(s->namespace);
    free(s->ca_file);
    free(s->proxy);
    free(s);
}

void tg_sync_describe(struct tg_sync *s, struct tg_buf *out)
{
    int64_t now_ms = tg_clock_mono_ms();

    tg_buf_addf(out, "sync with %s: ", s->base);
    if (s->heard_ms == INT64_MIN)
        tg_buf_adds(out, "not heard yet");
    else
        tg_buf_addf(out, "heard %lld s ago", (long long)(now_ms - s->heard_ms) / 1000);
    if (s->namespace_id[0])
        tg_buf_addf(out, ", organization %s, namespace %s", s->organization_id, s->namespace_id);
    if (s->lost_print)
        tg_buf_adds(out, ", routes name policies that cannot be had");
    if (s->step != SYNC_IDLE)
        tg_buf_adds(out, ", being asked");
    else
        tg_buf_addf(out, ", next asked in %lld s", (long long)(s->due.at_ms - now_ms + 999) / 1000);
    if (s->trouble[0])
        tg_buf_addf(out, "; %s", s->trouble);
    tg_buf_addc(out, '\n');
}
