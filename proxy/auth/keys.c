/*
 * keys - the sources of the process: which there are, made and kept as configurations come and go.
 */
#include "internal.h"
#include "auth/discovery.h"
#include "base/clock.h"

static const struct tg_key_periods usual = {
    .refetch = 10000, .absent = 60000,
    .retry_first = 1000, .retry_last = 60000, .retry_last_empty = 4000,
    .age_least = 60000, .age_most = 3600000, .age_unsaid = 300000,
    .discovery = 3600000,
    .log = 60000,
    .timeout = 10000,
};

struct tg_keys {
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    char *state_dir;
    struct tg_key_periods periods;
    pthread_mutex_t lock;                                /* of the list; the control thread alone changes it */
    struct tg_key_source *sources;
};

struct tg_keys *tg_keys_new(struct tg_worker *control, struct tg_fetcher *fetcher, const char *state_dir)
{
    struct tg_keys *keys = TG_NEW(struct tg_keys);

    keys->control = control;
    keys->fetcher = fetcher;
    keys->state_dir = state_dir ? tg_slice_dup(tg_slice_str(state_dir)) : NULL;
    keys->periods = usual;
    pthread_mutex_init(&keys->lock, NULL);
    return keys;
}

void tg_keys_set_periods(struct tg_keys *keys, const struct tg_key_periods *periods)
{
    keys->periods = *periods;
}

/* Nobody but tg_keys knows it: it belongs to a configuration that is gone. */
static bool is_forsaken(struct tg_key_source *s)
{
    return atomic_load_explicit(&s->refs, memory_order_acquire) == 1;
}

static void retire(struct tg_key_source *s)
{
    tg_key_refresh_stop(s);
    tg_key_source_give_up(s);
    tg_key_source_unref(s);
}

void tg_keys_free(struct tg_keys *keys)
{
    struct tg_key_source *next;

    if (!keys)
        return;
    for (struct tg_key_source *s = keys->sources; s; s = next) {
        next = s->next;
        retire(s);
    }
    pthread_mutex_destroy(&keys->lock);
    free(keys->state_dir);
    free(keys);
}

/* ---- a configuration's providers ---- */

static char *url_of(const struct tg_provider *p)
{
    return p->discovery ? tg_discovery_url(p->issuer) : tg_slice_dup(p->jwks_url);
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct tg_key_source *find(struct tg_keys *keys, const char *issuer, const char *url, const char *ca_file)
{
    struct tg_key_source *s = keys->sources;

    while (s && !(same(s->issuer, issuer) && same(s->url, url) && same(s->ca_file, ca_file)))
        s = s->next;
    return s;
}

static void run_refetch(struct tg_worker *control, void *arg)
{
    struct tg_key_source *s = arg;

    (void)control;
    if (s->control)                                      /* else given up meanwhile, and who waited was told */
        tg_key_refresh_now(s);
}

/* What may differ between two configurations of the same source: the newest holds. */
static void adopt(struct tg_keys *keys, struct tg_key_source *s, const struct tg_provider *p)
{
    free(s->token_file);
    free(s->proxy);
    free(s->state_file);
    s->token_file = tg_slice_dup_or_null(p->token_file);
    s->proxy = tg_slice_dup_or_null(p->proxy);
    s->state_file = keys->state_dir ? tg_key_file_name(keys->state_dir, s->issuer) : NULL;
    s->allow_http = p->allow_http;
    s->max_stale_ms = p->max_stale_ms;
    s->timeout_ms = p->timeout_ms ? p->timeout_ms : keys->periods.timeout;
}

static void add(struct tg_keys *keys, struct tg_key_source *s)
{
    s->control = keys->control;
    s->fetcher = keys->fetcher;
    s->periods = keys->periods;
    s->refetch = run_refetch;
    pthread_mutex_lock(&keys->lock);
    s->next = keys->sources;
    keys->sources = s;
    pthread_mutex_unlock(&keys->lock);
}

static void sweep(struct tg_keys *keys)
{
    struct tg_key_source **link = &keys->sources, *gone;

    pthread_mutex_lock(&keys->lock);
    while (*link) {
        if (!is_forsaken(*link)) {
            link = &(*link)->next;
            continue;
        }
        gone = *link;
        *link = gone->next;
        retire(gone);
    }
    pthread_mutex_unlock(&keys->lock);
}

void tg_keys_bind(struct tg_keys *keys, struct tg_providers *providers)
{
    for (size_t i = 0; i < providers->count; i++) {
        struct tg_provider *p = &providers->items[i];
        struct tg_key_source *s;
        char *issuer, *url, *ca_file;

        if (p->local || p->source)
            continue;
        issuer = tg_slice_dup(p->issuer);
        url = url_of(p);
        ca_file = tg_slice_dup_or_null(p->ca_file);
        s = find(keys, issuer, url, ca_file);
        p->release = tg_key_source_unref;
        if (s) {
            bool was_idle = is_forsaken(s);

            p->source = tg_key_source_ref(s);
            adopt(keys, s, p);
            if (was_idle || s->failures)                 /* it may have slept, or what it failed by may be mended */
                tg_key_refresh_now(s);
        } else {
            s = tg_key_source_new(issuer, url, p->discovery, ca_file);
            p->source = tg_key_source_ref(s);
            adopt(keys, s, p);
            add(keys, s);
            tg_key_refresh_start(s);
        }
        free(issuer);
        free(url);
        free(ca_file);
    }
    sweep(keys);
}

/* ---- readiness ---- */

bool tg_keys_ready(struct tg_keys *keys)
{
    bool ready = true;

    pthread_mutex_lock(&keys->lock);
    for (struct tg_key_source *s = keys->sources; s; s = s->next)
        ready = ready && (is_forsaken(s) || tg_key_source_has_keys(s));
    pthread_mutex_unlock(&keys->lock);
    return ready;
}

static void describe(struct tg_key_source *s, struct tg_buf *out)
{
    int64_t fresh_ms = atomic_load_explicit(&s->gauges->fresh_ms, memory_order_relaxed), now_ms = tg_clock_mono_ms();

    pthread_mutex_lock(&s->lock);
    tg_buf_addf(out, "%s: ", s->issuer);
    if (s->set)
        tg_buf_addf(out, "%zu keys, %lld s old", tg_jwks_count(s->set), (long long)(now_ms - fresh_ms) / 1000);
    else
        tg_buf_adds(out, "no keys");
    if (s->due_ms == INT64_MAX)
        tg_buf_adds(out, ", being fetched");
    else
        tg_buf_addf(out, ", next fetch in %lld s", (long long)(s->due_ms > now_ms ? s->due_ms - now_ms : 0) / 1000);
    if (s->trouble[0])
        tg_buf_addf(out, "; failed %u times: %s", s->troubles, s->trouble);
    tg_buf_addc(out, '\n');
    pthread_mutex_unlock(&s->lock);
}

void tg_keys_describe(struct tg_keys *keys, struct tg_buf *out)
{
    pthread_mutex_lock(&keys->lock);
    for (struct tg_key_source *s = keys->sources; s; s = s->next)
        if (!is_forsaken(s))
            describe(s, out);
    pthread_mutex_unlock(&keys->lock);
}
