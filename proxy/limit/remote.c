/*
 * remote - one store and the workers that share it: its clock, who is told, and whether it is away.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "remote_internal.h"

#define DEAD_MIN_MS 1000
#define ENTRIES_MIN 1024
#define ENTRIES_MAX 262144                               /* about 84 MB; who is beyond asks more often */
#define PROBE_MIN_MS 100
#define PROBE_STEPS 5                                    /* doublings: to 1.6 s, and a quarter */
#define WHY_AGAIN_MS 5000
#define OFFSET_STEP_MS 100                               /* clocks that differ by less than half of it are the same */

/* ---- the store ---- */

static struct tg_series *series(const char *name, const char *help, const char *label, const char *value)
{
    struct tg_slice v = tg_slice_str(value);

    return tg_metric_series(tg_metric_family(TG_COUNTER, name, help, label), value ? &v : NULL);
}

static void metrics_init(struct tg_remote_metrics *m)
{
    static const char *const results[] = {"ok", "error", "lost"};
    static const char permits[] = "tollgate_ratelimit_permits_total";
    static const char permits_help[] = "Permits leased from the store, returned to it, and used.";

    for (size_t i = 0; i < TG_COMMAND_RESULTS; i++)
        m->commands[i] = series("tollgate_ratelimit_store_commands_total", "Commands to the store of rate limits.",
                                "result", results[i]);
    m->leased = series(permits, permits_help, "kind", "leased");
    m->returned = series(permits, permits_help, "kind", "returned");
    m->used = series(permits, permits_help, "kind", "used");
    m->waits = series("tollgate_ratelimit_store_waits_total", "Requests that waited for the store of rate limits.", "",
                      NULL);
    m->alone = series("tollgate_ratelimit_local_total", "Requests counted alone because the store was away.", "", NULL);
}

/*
 * The names in the store are digests under a key: the secret, else one made of the password, else one that everybody
 * knows (of which `tollgate check` warns).
 */
static void make_name_key(struct tg_remote *r)
{
    struct tg_slice password = r->password.len ? r->password : r->address.password;
    uint8_t key[TG_SHA256_LEN];

    if (r->secret.len) {
        r->name_key = r->secret;
        return;
    }
    tg_hmac_sha256(TG_S("tollgate names of counters"), password, key);
    r->name_key = tg_arena_dup(&r->arena, tg_slice((const char *)key, sizeof(key)));
}

struct tg_remote *tg_remote_new(const struct tg_limit_settings *settings, size_t max_keys)
{
    struct tg_remote *r = TG_NEW(struct tg_remote);
    struct tg_err err = {0};

    tg_arena_init(&r->arena, NULL, 0);
    r->store = tg_arena_dup(&r->arena, settings->store);
    r->password = tg_arena_dup(&r->arena, settings->store_password);
    r->secret = tg_arena_dup(&r->arena, settings->store_secret);
    r->ca_file = tg_arena_dup(&r->arena, settings->store_ca_file);
    r->prefix = tg_arena_dup(&r->arena, settings->store_prefix);
    tg_assert(r->prefix.len <= TG_STORE_PREFIX_MAX);
    r->address_ok = tg_redis_parse(r->store, &r->arena, &r->address, &err) == TG_OK;
    if (!r->address_ok)                                  /* the settings were checked: this is not reached by them */
        tg_log(TG_LOG_ERROR, "the store of rate limits cannot be used", TG_F_STR("error", tg_err_text(&err)));
    if (r->password.len)
        r->address.password = r->password;
    make_name_key(r);
    max_keys = max_keys < ENTRIES_MIN ? ENTRIES_MIN : max_keys;
    r->leases = tg_leases_new(max_keys < ENTRIES_MAX ? max_keys : ENTRIES_MAX);
    pthread_mutex_init(&r->lock, NULL);
    metrics_init(&r->metrics);
    return r;
}

static void wipe(struct tg_slice s)
{
    if (s.len)
        explicit_bzero((char *)(uintptr_t)s.ptr, s.len);
}

void tg_remote_free(struct tg_remote *r)
{
    if (!r)
        return;
    tg_leases_free(r->leases);
    wipe(r->store);
    wipe(r->address.password);
    wipe(r->name_key);
    tg_arena_fini(&r->arena);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

bool tg_remote_is(const struct tg_remote *r, const struct tg_limit_settings *s)
{
    return tg_slice_eq(r->store, s->store) && tg_slice_eq(r->password, s->store_password) &&
           tg_slice_eq(r->secret, s->store_secret) && tg_slice_eq(r->ca_file, s->store_ca_file) &&
           tg_slice_eq(r->prefix, s->store_prefix);
}

void tg_remote_links(const struct tg_remote *r, unsigned *links, unsigned *up)
{
    *links = atomic_load_explicit(&r->links, memory_order_relaxed);
    *up = atomic_load_explicit(&r->links_up, memory_order_relaxed);
}

/* ---- its clock ---- */

void tg_remote_moment(struct tg_remote_link *link, int64_t mono_us, struct tg_lease_moment *out)
{
    struct tg_remote *r = link->remote;

    if (atomic_load_explicit(&r->clock_version, memory_order_acquire) != link->clock_version) {
        pthread_mutex_lock(&r->lock);
        link->clock = r->clock;
        link->offset_ms = r->offset_ms;
        link->clock_version = atomic_load_explicit(&r->clock_version, memory_order_relaxed);
        pthread_mutex_unlock(&r->lock);
    }
    out->mono_us = mono_us;
    out->known = link->clock.known;
    out->steps = link->clock.steps;
    if (out->known)
        out->store = tg_store_clock_at(&link->clock, mono_us);
    else
        out->store.low_us = out->store.high_us = tg_clock_wall_ms() * 1000;
}

/*
 * By how much the store's clock is ahead of our wall clock, in whole tenths of a second: what callers are told is by
 * ours. False: we were not running in between, so the two readings are not of one moment.
 */
static bool compare_clocks(const struct tg_store_clock *c, int64_t *offset_ms)
{
    int64_t before_us = tg_clock_mono_us(), wall_ms = tg_clock_wall_ms(), after_us = tg_clock_mono_us();
    struct tg_store_time t = tg_store_clock_at(c, after_us);
    int64_t off_ms = (t.low_us + (t.high_us - t.low_us) / 2) / 1000 - wall_ms;

    off_ms += off_ms < 0 ? -OFFSET_STEP_MS / 2 : OFFSET_STEP_MS / 2;
    *offset_ms = off_ms / OFFSET_STEP_MS * OFFSET_STEP_MS;
    return after_us - before_us < OFFSET_STEP_MS * 1000 / 10;
}

void tg_remote_learn(struct tg_remote_link *link, int64_t sent_us, int64_t answered_us, int64_t store_us)
{
    struct tg_remote *r = link->remote;
    int64_t offset_ms;

    pthread_mutex_lock(&r->lock);
    tg_store_clock_learn(&r->clock, sent_us, answered_us, store_us);
    if (compare_clocks(&r->clock, &offset_ms))
        r->offset_ms = offset_ms;
    atomic_fetch_add_explicit(&r->clock_version, 1, memory_order_release);
    pthread_mutex_unlock(&r->lock);
}

/* ---- other workers ---- */

static void waker_unref(struct tg_remote_waker *waker)
{
    if (atomic_fetch_sub(&waker->refs, 1) == 1)
        free(waker);
}

static void on_woken(struct tg_worker *w, void *arg)
{
    struct tg_remote_waker *waker = arg;

    (void)w;
    atomic_store(&waker->woken, false);
    if (waker->link)
        tg_wait_wake(waker->link, NULL, 0);
    waker_unref(waker);
}

void tg_remote_wake(struct tg_remote_link *link, uint64_t workers)
{
    struct tg_remote *r = link->remote;

    if (!workers)
        return;
    pthread_mutex_lock(&r->lock);
    for (struct tg_remote_waker *b = r->wakers; b; b = b->next) {
        if (b == link->waker || !(b->bit & workers) || atomic_exchange(&b->woken, true))
            continue;
        atomic_fetch_add(&b->refs, 1);
        tg_worker_post(b->worker, on_woken, b);
    }
    pthread_mutex_unlock(&r->lock);
}

static void join_wakers(struct tg_remote_link *link)
{
    struct tg_remote *r = link->remote;
    struct tg_remote_waker *b = TG_NEW(struct tg_remote_waker);

    b->link = link;
    b->worker = link->worker;
    atomic_init(&b->refs, 1);
    link->waker = b;
    pthread_mutex_lock(&r->lock);
    b->bit = UINT64_C(1) << r->joined++ % TG_REMOTE_WORKERS;
    b->next = r->wakers;
    r->wakers = b;
    pthread_mutex_unlock(&r->lock);
}

static void leave_wakers(struct tg_remote_link *link)
{
    struct tg_remote *r = link->remote;

    pthread_mutex_lock(&r->lock);
    for (struct tg_remote_waker **at = &r->wakers; *at; at = &(*at)->next) {
        if (*at == link->waker) {
            *at = link->waker->next;
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
    link->waker->link = NULL;
    waker_unref(link->waker);
}

/* ---- away and back ---- */

int64_t tg_remote_timeout_us(const struct tg_remote_link *link)
{
    return link->settings->store_timeout_ms * 1000;
}

static void count_up(struct tg_remote_link *link)
{
    bool up = link->linked && !link->away;

    if (up != link->is_up)
        atomic_fetch_add(&link->remote->links_up, up ? 1u : -1u);
    link->is_up = up;
}

static void probe_later(struct tg_remote_link *link)
{
    int64_t ms = PROBE_MIN_MS << (link->probes < PROBE_STEPS ? link->probes : PROBE_STEPS - 1);
    uint8_t random;

    link->probes++;
    tg_random(&random, sizeof(random));
    tg_deadline_set(&link->worker->wheel, &link->probe, tg_clock_mono_ms() + ms + ms * random / 1024);
}

static const char *meanwhile(bool deny)
{
    return deny ? "who finds no permit in hand gets 503 (when_store_fails: deny)"
                : "each tollgate counts alone (when_store_fails: local)";
}

/* True: it is worth a line: the first worker's, and later another reason, now and then. */
static bool note_why(struct tg_remote *r, struct tg_slice why, bool first, bool *deny)
{
    int64_t now_ms = tg_clock_mono_ms();
    bool tell;

    pthread_mutex_lock(&r->lock);
    tell = first || (now_ms - r->away_told_ms >= WHY_AGAIN_MS && !tg_slice_eq(why, tg_slice_str(r->away_told)));
    if (first)
        r->away_since_ms = now_ms;
    memcpy(r->away_why, why.ptr, why.len);
    r->away_why[why.len] = '\0';
    if (tell) {
        r->away_told_ms = now_ms;
        memcpy(r->away_told, r->away_why, sizeof(r->away_told));
    }
    *deny = r->fails_deny;
    pthread_mutex_unlock(&r->lock);
    return tell;
}

static void tell_away(struct tg_remote *r, struct tg_slice why, bool first)
{
    struct tg_buf where = {0};
    bool deny;

    why.len = why.len < TG_WHY_MAX ? why.len : TG_WHY_MAX - 1;
    if (!note_why(r, why, first, &deny))
        return;
    tg_redis_describe(&r->address, &where);
    tg_log(TG_LOG_WARN, first ? "the store of rate limits is away" : "the store of rate limits is still away",
           TG_F_SLICE("store", tg_buf_slice(&where)), TG_F_SLICE("error", why),
           TG_F_STR("meanwhile", meanwhile(deny)));
    tg_buf_fini(&where);
}

static void last_back(struct tg_remote *r)
{
    int64_t since_ms;

    pthread_mutex_lock(&r->lock);
    since_ms = r->away_since_ms;
    pthread_mutex_unlock(&r->lock);
    tg_log(TG_LOG_INFO, "the store of rate limits is back", TG_F_INT("away_ms", tg_clock_mono_ms() - since_ms));
}

void tg_remote_describe(struct tg_remote *r, struct tg_buf *out)
{
    unsigned links, up;

    tg_remote_links(r, &links, &up);
    tg_buf_adds(out, "rate limits: ");
    tg_redis_describe(&r->address, out);
    pthread_mutex_lock(&r->lock);
    if (up >= links)
        tg_buf_adds(out, " answers\n");
    else if (atomic_load(&r->links_away) == 0)
        tg_buf_adds(out, " is being connected to\n");
    else
        tg_buf_addf(out, " is away: for %u of %u workers, %lld s ago (%s); meanwhile %s\n", links - up, links,
                    (long long)(tg_clock_mono_ms() - r->away_since_ms) / 1000, r->away_why, meanwhile(r->fails_deny));
    pthread_mutex_unlock(&r->lock);
}

void tg_remote_away(struct tg_remote_link *link, struct tg_slice why)
{
    bool was_away = link->away;

    link->away = true;
    count_up(link);
    tell_away(link->remote, why, !was_away && atomic_fetch_add(&link->remote->links_away, 1) == 0);
    if (link->linked)
        probe_later(link);
    tg_flight_forget(link);
    tg_wait_wake(link, NULL, 0);
}

void tg_remote_back(struct tg_remote_link *link)
{
    bool was_away = link->away;

    link->away = link->refused = false;
    link->probes = 0;
    count_up(link);
    tg_deadline_clear(&link->worker->wheel, &link->probe);
    if (was_away && atomic_fetch_sub(&link->remote->links_away, 1) == 1)
        last_back(link->remote);
}

static void on_changed(void *arg, bool up, const char *why)
{
    struct tg_remote_link *link = arg;

    link->linked = up;
    link->refused = false;
    if (up)
        tg_flight_probe(link);                           /* and learn what time it is there */
    else
        tg_remote_away(link, tg_slice_str(why));
    count_up(link);
}

static void on_still_down(void *arg, const char *why)
{
    struct tg_remote_link *link = arg;

    if (link->away)
        tell_away(link->remote, tg_slice_str(why), false);
}

static void on_probe(struct tg_deadline *d)
{
    struct tg_remote_link *link = (struct tg_remote_link *)((char *)d - offsetof(struct tg_remote_link, probe));

    if (link->away && link->linked) {
        tg_flight_probe(link);
        if (link->flight.in_air)                         /* a slow one: again later */
            probe_later(link);
    }
}

/* ---- coming and going ---- */

static void open_link(struct tg_remote_link *link, struct tg_resolver *resolver)
{
    struct tg_remote *r = link->remote;
    struct tg_redis_options o = {.address = r->address, .ca_file = r->ca_file, .script = tg_remote_script,
                                 .changed = on_changed, .still_down = on_still_down, .arg = link};

    o.dead_ms = 4 * tg_remote_timeout_us(link) / 1000;
    o.dead_ms = o.dead_ms > DEAD_MIN_MS ? o.dead_ms : DEAD_MIN_MS;
    if (r->address_ok)
        link->redis = tg_redis_new(link->worker, resolver, &o);
    else
        link->away = true;
}

void tg_remote_bind(struct tg_remote_link *link, const struct tg_limit_settings *settings)
{
    link->settings = settings;
    pthread_mutex_lock(&link->remote->lock);
    link->remote->fails_deny = settings->store_fails_deny;
    pthread_mutex_unlock(&link->remote->lock);
}

struct tg_remote_link *tg_remote_join(struct tg_remote *r, struct tg_worker *w, struct tg_resolver *resolver,
                                      const struct tg_limit_settings *settings)
{
    struct tg_remote_link *link = TG_NEW(struct tg_remote_link);

    link->remote = r;
    link->worker = w;
    tg_remote_bind(link, settings);
    link->probe.expired = on_probe;
    join_wakers(link);
    tg_flight_init(link);
    tg_wait_init(link);
    atomic_fetch_add(&r->links, 1);
    open_link(link, resolver);
    return link;
}

struct tg_limit_wait *tg_remote_stop(struct tg_remote_link *link)
{
    tg_flight_land(link);
    return tg_wait_fini(link);
}

void tg_remote_leave(struct tg_remote_link *link, bool last)
{
    struct tg_remote *r = link->remote;

    tg_flight_fini(link, last);
    tg_redis_free(link->redis);
    tg_deadline_clear(&link->worker->wheel, &link->probe);
    if (link->is_up)
        atomic_fetch_sub(&r->links_up, 1);
    if (link->away && r->address_ok)
        atomic_fetch_sub(&r->links_away, 1);
    atomic_fetch_sub(&r->links, 1);
    leave_wakers(link);
    free(link);
}
