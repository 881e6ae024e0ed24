/*
 * credential - tollgate's own credentials of the process: which there are, made and kept as configurations come and go.
 */
#include "credential_internal.h"
#include "base/clock.h"

static const struct tg_credential_periods usual = {
    .look = 1000,
    .retry_first = 1000, .retry_last = 60000, .retry_last_empty = 4000,
    .retry_bad = 30000, .retry_final = 600000, .retry_after_most = 600000,
    .again = 10000,
    .hopeless = 1000, .hopeless_bad = 10000,
    .life_unsaid = 300000, .life_most = 86400000,
    .renew_least = 1000,
    .log = 60000,
};

struct tg_credentials {
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    struct tg_credential_periods periods;
    pthread_mutex_t lock;                                /* of the list; the control thread alone changes it */
    struct tg_credential_source *sources;
};

struct tg_credentials *tg_credentials_new(struct tg_worker *control, struct tg_fetcher *fetcher)
{
    struct tg_credentials *c = TG_NEW(struct tg_credentials);

    c->control = control;
    c->fetcher = fetcher;
    c->periods = usual;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void tg_credentials_set_periods(struct tg_credentials *c, const struct tg_credential_periods *periods)
{
    c->periods = *periods;
}

static void retire(struct tg_credential_source *s)
{
    if (--s->gauges->users == 0)
        atomic_store_explicit(&s->gauges->until_ms, INT64_MAX, memory_order_relaxed);
    tg_credential_ask_stop(s);
    tg_credential_give_up(s);
    tg_credential_source_unref(s);
}

void tg_credentials_free(struct tg_credentials *c)
{
    struct tg_credential_source *next;

    if (!c)
        return;
    for (struct tg_credential_source *s = c->sources; s; s = next) {
        next = s->next;
        retire(s);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- a configuration's credentials ---- */

static struct tg_credential_source *find(struct tg_credentials *c, const struct tg_credential_settings *settings)
{
    struct tg_credential_source *s = c->sources;
    uint8_t print[TG_SHA256_LEN];

    tg_credential_print(settings, print);
    while (s && memcmp(s->print, print, sizeof(print)) != 0)
        s = s->next;
    return s;
}

static void run_ask(struct tg_worker *control, void *arg)
{
    struct tg_credential_source *s = arg;

    (void)control;
    if (s->control)                                      /* else given up meanwhile, and who waited was told */
        tg_credential_ask_now(s);
}

static struct tg_credential_source *add(struct tg_credentials *c, const struct tg_credential_settings *settings)
{
    struct tg_credential_source *s = tg_credential_source_new(settings, &c->periods);

    s->control = c->control;
    s->fetcher = c->fetcher;
    s->ask = run_ask;
    if (s->gauges->users++ == 0)
        atomic_store_explicit(&s->gauges->until_ms, INT64_MIN, memory_order_relaxed);
    pthread_mutex_lock(&c->lock);
    s->next = c->sources;
    c->sources = s;
    pthread_mutex_unlock(&c->lock);
    return s;
}

void tg_credentials_sweep(struct tg_credentials *c)
{
    struct tg_credential_source **link = &c->sources, *gone;

    pthread_mutex_lock(&c->lock);
    while (*link) {
        if (!tg_credential_source_is_forsaken(*link)) {
            link = &(*link)->next;
            continue;
        }
        gone = *link;
        *link = gone->next;
        retire(gone);
    }
    pthread_mutex_unlock(&c->lock);
}

struct tg_credential_source *tg_credentials_bind(struct tg_credentials *c,
                                                 const struct tg_credential_settings *settings)
{
    struct tg_credential_source *s = find(c, settings);
    bool was_idle = s && tg_credential_source_is_forsaken(s), is_new = !s;

    s = tg_credential_source_ref(s ? s : add(c, settings));
    tg_credentials_sweep(c);
    if (is_new)
        tg_credential_ask_start(s);
    else if (was_idle || s->failures)                    /* it may have slept, or what it failed by may be mended */
        tg_credential_ask_now(s);
    return s;
}

/* ---- readiness ---- */

static void describe(struct tg_credential_source *s, struct tg_buf *out)
{
    int64_t until_ms = atomic_load_explicit(&s->gauges->until_ms, memory_order_relaxed);

    pthread_mutex_lock(&s->lock);
    tg_buf_addf(out, "%s: %s", s->name, s->text ? "a token" : "no token");
    if (s->text && s->settings.kind != TG_CREDENTIAL_FILE && until_ms != INT64_MIN)
        tg_buf_addf(out, " for %lld s", (long long)(until_ms - tg_clock_mono_ms()) / 1000);
    if (s->trouble[0])
        tg_buf_addf(out, "; %s", s->trouble);
    tg_buf_addc(out, '\n');
    pthread_mutex_unlock(&s->lock);
}

void tg_credentials_describe(struct tg_credentials *c, struct tg_buf *out)
{
    pthread_mutex_lock(&c->lock);
    for (struct tg_credential_source *s = c->sources; s; s = s->next)
        if (!tg_credential_source_is_forsaken(s))
            describe(s, out);
    pthread_mutex_unlock(&c->lock);
}
