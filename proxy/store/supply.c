/*
 * supply - one set in force, one that waits, one that was refused; how fresh, and whether that matters.
 *
 * The source's thread and the main thread meet under one lock, which is never held while a file is written. What
 * workers ask is in two atomics.
 */
#include "base/clock.h"
#include "base/log.h"
#include "supply_internal.h"
#include <stdio.h>
#include <time.h>

void supply_drop(struct held *h)
{
    tg_set_unref(h->set);
    *h = (struct held){0};
}

static bool holds(const struct held *h, const struct tg_set *set)
{
    return h->set && strcmp(tg_set_digest(h->set), tg_set_digest(set)) == 0;
}

void supply_reach(struct tg_supply *s, uint64_t sequence)
{
    if (s->reached < sequence)
        s->reached = sequence;
}

/* ---- how fresh ---- */

static void judge(struct tg_supply *s)
{
    struct tg_supply_meta *m = &s->current.meta;
    int64_t now_ms = tg_clock_wall_ms();
    bool stale, was = atomic_load(&s->stale);

    m->heard_ms = supply_heard(m->heard_ms);             /* a clock that was set back would keep it young for long */
    stale = s->current.set && ((s->max_stale_ms && now_ms - m->heard_ms > s->max_stale_ms) || now_ms >= m->expires_ms);
    atomic_store(&s->missing, !s->current.set);
    atomic_store(&s->stale, stale);
    atomic_store(&s->denies, stale && s->deny_stale);
    if (stale && !was)
        tg_log(TG_LOG_ERROR, "the policies in force are stale", TG_F_STR("source", s->source),
               TG_F_INT("heard_s_ago", (now_ms - m->heard_ms) / 1000),
               TG_F_STR("their_routes", s->deny_stale ? "answer 503" : "go on"));
    else if (was && !stale)
        tg_log(TG_LOG_INFO, "the policies in force are fresh again", TG_F_STR("source", s->source));
}

/* ---- making ---- */

static void take_settings(struct tg_supply *s, const struct tg_supply_settings *settings)
{
    s->max_stale_ms = settings->max_stale_ms;
    s->deny_stale = settings->deny_stale;
    judge(s);
}

struct tg_supply *tg_supply_new(const struct tg_supply_settings *settings, void (*wake)(void *arg), void *arg)
{
    struct tg_supply *s = TG_NEW(struct tg_supply);

    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->heard, NULL);
    s->wake = wake;
    s->arg = arg;
    s->source = supply_source(settings->source);
    supply_origin(settings->origin, s->origin);
    s->path = supply_path(settings->state_dir);
    take_settings(s, settings);
    return s;
}

void tg_supply_free(struct tg_supply *s)
{
    if (!s)
        return;
    supply_drop(&s->current);
    supply_drop(&s->waiting);
    supply_drop(&s->taken);
    supply_drop(&s->refused);
    pthread_cond_destroy(&s->heard);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

void tg_supply_bind(struct tg_supply *s, const struct tg_supply_settings *settings)
{
    pthread_mutex_lock(&s->lock);
    take_settings(s, settings);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the source ---- */

static void count(_Atomic uint64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* Told once, until it is another trouble or there was none in between. */
static void complain(struct tg_supply *s, enum tg_log_level level, const char *message, const char *why)
{
    if (strncmp(s->why, why, WHY_BYTES - 1) == 0)
        return;
    snprintf(s->why, sizeof s->why, "%s", why);
    tg_log(level, message, TG_F_STR("source", s->source), TG_F_STR("error", s->why),
           TG_F_STR("in_force", s->current.set ? "the last good ones" : "none"));
}

static void is_well(struct tg_supply *s)
{
    if (s->why[0])
        tg_log(TG_LOG_INFO, "the source of policies is well again", TG_F_STR("source", s->source));
    s->why[0] = '\0';
}

static void speak(struct tg_supply *s)
{
    s->spoke = true;
    pthread_cond_broadcast(&s->heard);
}

/* The one that came last; what a source says about "the same as before" is about that. */
static struct held *newest(struct tg_supply *s)
{
    return s->waiting.set ? &s->waiting : s->taken.set ? &s->taken : s->refused.set ? &s->refused : &s->current;
}

/*
 * The newest is still what the source has. What was refused stays so, and what is in force instead goes on ageing: it
 * is not what the source says.
 */
static void confirm(struct tg_supply *s, struct held *h)
{
    count(&s->counts.unchanged);
    h->meta.heard_ms = tg_clock_wall_ms();
    if (h == &s->refused)
        return;
    is_well(s);
    if (h == &s->current) {
        s->unwritten = true;
        judge(s);
    }
}

void tg_supply_offer(struct tg_supply *s, struct tg_set *set, const struct tg_supply_meta *meta)
{
    bool news = false;
    struct held *last;

    pthread_mutex_lock(&s->lock);
    speak(s);
    last = newest(s);
    if (last == &s->refused && holds(&s->current, set)) { /* the source has gone back to it */
        supply_drop(&s->refused);
        last = &s->current;
    }
    if (holds(last, set)) {
        if (last->meta.sequence != meta->sequence || last->meta.expires_ms != meta->expires_ms)
            s->written_ms = 0;                           /* now, not some time */
        last->meta = *meta;
        confirm(s, last);
        tg_set_unref(set);
    } else {
        supply_drop(&s->waiting);
        s->waiting = (struct held){set, *meta};
        s->waiting.meta.heard_ms = tg_clock_wall_ms();
        news = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (news)
        s->wake(s->arg);
}

void tg_supply_confirm(struct tg_supply *s)
{
    pthread_mutex_lock(&s->lock);
    speak(s);
    if (newest(s)->set)
        confirm(s, newest(s));
    pthread_mutex_unlock(&s->lock);
}

void tg_supply_fail(struct tg_supply *s, const char *why)
{
    pthread_mutex_lock(&s->lock);
    speak(s);
    count(&s->counts.failed);
    complain(s, s->current.set ? TG_LOG_WARN : TG_LOG_ERROR, "policies could not be had", why);
    pthread_mutex_unlock(&s->lock);
}

/* Not of one that was refused: its publisher may go back to what is in force. */
void tg_supply_meta(struct tg_supply *s, struct tg_supply_meta *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->waiting.set ? s->waiting.meta : s->taken.set ? s->taken.meta : s->current.meta;
    pthread_mutex_unlock(&s->lock);
}

uint64_t tg_supply_reached(struct tg_supply *s)
{
    uint64_t reached;

    pthread_mutex_lock(&s->lock);
    reached = s->reached;
    pthread_mutex_unlock(&s->lock);
    return reached;
}

/* ---- boot ---- */

static struct tg_set *take(struct tg_supply *s, struct held *from)
{
    struct tg_set *set = NULL;

    if (from->set) {
        supply_drop(&s->taken);
        s->taken = *from;
        *from = (struct held){0};
        set = tg_set_ref(s->taken.set);
    }
    return set;
}

struct tg_set *tg_supply_take(struct tg_supply *s)
{
    struct tg_set *set;

    pthread_mutex_lock(&s->lock);
    set = take(s, &s->waiting);
    pthread_mutex_unlock(&s->lock);
    return set;
}

struct tg_set *tg_supply_take_again(struct tg_supply *s)
{
    struct tg_set *set;

    pthread_mutex_lock(&s->lock);
    set = take(s, s->waiting.set ? &s->waiting : &s->refused);
    pthread_mutex_unlock(&s->lock);
    return set;
}

void tg_supply_await(struct tg_supply *s, int64_t ms)
{
    struct timespec until;
    int64_t end_ms;

    clock_gettime(CLOCK_REALTIME, &until);
    end_ms = (int64_t)until.tv_sec * 1000 + until.tv_nsec / 1000000 + ms;
    until = (struct timespec){end_ms / 1000, end_ms % 1000 * 1000000};
    pthread_mutex_lock(&s->lock);
    while (!s->spoke && pthread_cond_timedwait(&s->heard, &s->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&s->lock);
}

void tg_supply_put_back(struct tg_supply *s, struct tg_set *set)
{
    pthread_mutex_lock(&s->lock);
    tg_assert(s->taken.set == set);
    if (s->waiting.set) {
        supply_drop(&s->taken);
    } else {
        s->waiting = s->taken;
        s->taken = (struct held){0};
    }
    pthread_mutex_unlock(&s->lock);
    s->wake(s->arg);
}

static void put_in_force(struct tg_supply *s)
{
    supply_drop(&s->current);
    supply_drop(&s->refused);
    s->current = s->taken;
    s->taken = (struct held){0};
    s->current.meta.heard_ms = supply_heard(s->current.meta.heard_ms);
    supply_reach(s, s->current.meta.sequence);
    s->unwritten = true;
    s->written_ms = 0;
    count(&s->counts.accepted);
    is_well(s);
    judge(s);
}

static void refuse(struct tg_supply *s, const char *why)
{
    supply_drop(&s->refused);
    s->refused = s->taken;
    s->taken = (struct held){0};
    count(&s->counts.refused);
    complain(s, TG_LOG_ERROR, "policies are refused", why);
}

void tg_supply_settle(struct tg_supply *s, struct tg_set *set, const char *why)
{
    pthread_mutex_lock(&s->lock);
    tg_assert(s->taken.set == set);                      /* one thread takes and settles */
    if (why)
        refuse(s, why);
    else
        put_in_force(s);
    pthread_mutex_unlock(&s->lock);
    if (!why)
        supply_keep(s);
}

struct tg_set *tg_supply_current(struct tg_supply *s)
{
    struct tg_set *set;

    pthread_mutex_lock(&s->lock);
    set = s->current.set ? tg_set_ref(s->current.set) : NULL;
    pthread_mutex_unlock(&s->lock);
    return set;
}

/* ---- who asks ---- */

bool tg_supply_missing(const struct tg_supply *s)
{
    return atomic_load_explicit(&s->missing, memory_order_relaxed);
}

bool tg_supply_stale(const struct tg_supply *s)
{
    return atomic_load_explicit(&s->denies, memory_order_relaxed);
}

const char *tg_supply_source(const struct tg_supply *s)
{
    return s->source;
}

void tg_supply_look(struct tg_supply *s)
{
    pthread_mutex_lock(&s->lock);
    judge(s);
    pthread_mutex_unlock(&s->lock);
    supply_keep(s);
}

