/*
 * key_source - what all threads see of a remote key set: the published set, and who waits for a fresh one.
 *
 * A reader compares one atomic number; only when it moved does it take the lock. The control thread alone publishes.
 */
#include "internal.h"
#include "base/clock.h"
#include "base/hash.h"
#include <stdio.h>

struct tg_key_source *tg_key_source_new(const char *issuer, const char *url, bool discovery, const char *ca_file)
{
    struct tg_key_source *s = TG_NEW(struct tg_key_source);

    s->refs = 1;
    s->version = 1;                                      /* a zeroed view is behind */
    s->generation = 1;
    s->asked_ms = s->logged_ms = INT64_MIN;
    s->due_ms = INT64_MAX;
    pthread_mutex_init(&s->lock, NULL);
    s->issuer = tg_slice_dup(tg_slice_str(issuer));
    s->url = tg_slice_dup(tg_slice_str(url));
    s->ca_file = ca_file ? tg_slice_dup(tg_slice_str(ca_file)) : NULL;
    s->discovery = discovery;
    s->gauges = tg_key_gauges_of(issuer);
    return s;
}

struct tg_key_source *tg_key_source_ref(struct tg_key_source *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tg_key_source_unref(struct tg_key_source *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    tg_assert(!s->fetch);
    tg_jwks_unref(s->set);
    pthread_mutex_destroy(&s->lock);
    tg_waiters_fini(&s->waiters);
    free(s->issuer);
    free(s->url);
    free(s->ca_file);
    free(s->token_file);
    free(s->proxy);
    free(s->state_file);
    free(s->jwks_uri);
    free(s);
}

bool tg_key_source_publish(struct tg_key_source *s, struct tg_jwks *set)
{
    struct tg_jwks *before;
    bool lost;

    pthread_mutex_lock(&s->lock);
    before = s->set;
    lost = before && (!set || !tg_jwks_covers(set, before));
    s->set = set;
    s->generation += lost;
    atomic_fetch_add_explicit(&s->version, 1, memory_order_release);
    pthread_mutex_unlock(&s->lock);
    tg_jwks_unref(before);
    return lost;
}

bool tg_key_source_has_keys(struct tg_key_source *s)
{
    bool has;

    pthread_mutex_lock(&s->lock);
    has = s->set != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

void tg_key_source_set_trouble(struct tg_key_source *s, unsigned failures, const char *words)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->trouble, sizeof(s->trouble), "%s", words);
    s->troubles = failures;
    pthread_mutex_unlock(&s->lock);
}

void tg_key_source_set_due(struct tg_key_source *s, int64_t due_ms)
{
    pthread_mutex_lock(&s->lock);
    s->due_ms = due_ms;
    pthread_mutex_unlock(&s->lock);
}

/* ---- a worker's view ---- */

void tg_key_view_update(struct tg_key_source *s, struct tg_key_view *view)
{
    struct tg_jwks *before = view->set;

    if (atomic_load_explicit(&s->version, memory_order_acquire) == view->version)
        return;
    pthread_mutex_lock(&s->lock);
    view->set = s->set ? tg_jwks_ref(s->set) : NULL;
    view->version = atomic_load_explicit(&s->version, memory_order_relaxed);
    view->generation = s->generation;
    pthread_mutex_unlock(&s->lock);
    tg_jwks_unref(before);
}

void tg_key_view_fini(struct tg_key_view *view)
{
    tg_jwks_unref(view->set);
    memset(view, 0, sizeof(*view));
}

/* ---- waiting for fresh keys ---- */

static void run_refetch(struct tg_worker *control, void *arg)
{
    struct tg_key_source *s = arg;

    s->refetch(control, s);
    tg_key_source_unref(s);                              /* of the post */
}

static bool is_absent(const struct tg_key_source *s, uint64_t kid, int64_t now_ms)
{
    for (size_t i = 0; i < TG_KEY_ABSENT_MAX; i++)
        if (s->absent[i].kid == kid && now_ms < s->absent[i].until_ms)
            return true;
    return false;
}

bool tg_key_source_refetch_for(struct tg_key_source *s, struct tg_slice kid, struct tg_worker *w,
                               void (*done)(struct tg_worker *w, void *arg), void *arg)
{
    uint64_t hash = tg_hash_slice(kid);
    int64_t now_ms = tg_clock_mono_ms();
    bool hope = false;

    pthread_mutex_lock(&s->lock);
    if (!s->control)
        goto out;
    if (!s->flying) {
        if (s->asked_ms != INT64_MIN && now_ms - s->asked_ms < s->periods.refetch)
            goto out;
        if (is_absent(s, hash, now_ms))
            goto out;
        s->asked_ms = now_ms;
        s->asked = true;
        s->asked_kid = hash;
        s->flying = true;
        tg_worker_post(s->control, run_refetch, tg_key_source_ref(s));
    }
    tg_waiters_add(&s->waiters, (struct tg_waiter){w, done, arg});
    hope = true;
out:
    pthread_mutex_unlock(&s->lock);
    return hope;
}

bool tg_key_source_forget(struct tg_key_source *s, const void *arg)
{
    bool found;

    pthread_mutex_lock(&s->lock);
    found = tg_waiters_drop(&s->waiters, arg);
    pthread_mutex_unlock(&s->lock);
    return found;
}

void tg_key_source_flight_begins(struct tg_key_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->flying = true;
    pthread_mutex_unlock(&s->lock);
}

void tg_key_source_flight_ends(struct tg_key_source *s, bool good)
{
    pthread_mutex_lock(&s->lock);
    if (s->asked && good) /* when it did bring the key, nobody will ask for it */
        s->absent[s->absent_next++ % TG_KEY_ABSENT_MAX] =
            (struct tg_key_absent){s->asked_kid, tg_clock_mono_ms() + s->periods.absent};
    s->asked = false;
    s->flying = false;
    tg_waiters_call(&s->waiters);
    pthread_mutex_unlock(&s->lock);
}

void tg_key_source_give_up(struct tg_key_source *s)
{
    pthread_mutex_lock(&s->lock);
    s->control = NULL;
    s->flying = false;
    tg_waiters_call(&s->waiters);
    pthread_mutex_unlock(&s->lock);
}

/* ---- what is measured ---- */

static double read_age(void *arg)
{
    struct tg_key_gauges *g = arg;
    int64_t fresh_ms = atomic_load_explicit(&g->fresh_ms, memory_order_relaxed);

    return fresh_ms == INT64_MIN ? -1 : (double)(tg_clock_mono_ms() - fresh_ms) / 1000;
}

static struct tg_key_gauges *make_gauges(const char *issuer)
{
    struct tg_key_gauges *g = TG_NEW(struct tg_key_gauges);
    struct tg_slice ok[] = {tg_slice_str(issuer), TG_S("ok")}, error[] = {tg_slice_str(issuer), TG_S("error")};
    struct tg_metric *keys, *age, *refreshed;

    keys = tg_metric_family(TG_GAUGE, "tollgate_jwks_keys", "Usable signing keys of an issuer.", "issuer");
    age = tg_metric_family(TG_GAUGE, "tollgate_jwks_age_seconds",
                           "Time since an issuer's keys were last fetched; -1: never.", "issuer");
    refreshed = tg_metric_family(TG_COUNTER, "tollgate_jwks_refresh_total", "Attempts to fetch an issuer's keys.",
                                 "issuer,result");
    g->issuer = tg_slice_dup(tg_slice_str(issuer));
    g->fresh_ms = INT64_MIN;
    g->keys = tg_metric_series(keys, ok);
    g->refresh_ok = tg_metric_series(refreshed, ok);
    g->refresh_error = tg_metric_series(refreshed, error);
    tg_metric_callback(age, ok, read_age, g);
    return g;
}

struct tg_key_gauges *tg_key_gauges_of(const char *issuer)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct tg_key_gauges *all;
    struct tg_key_gauges *g;

    pthread_mutex_lock(&lock);
    for (g = all; g && strcmp(g->issuer, issuer) != 0; g = g->next)
        ;
    if (!g) {
        g = make_gauges(issuer);
        g->next = all;
        all = g;
    }
    pthread_mutex_unlock(&lock);
    return g;
}
