/*
 * remote_table - where leases are kept: stripes with a lock, a hash table, the order of use and a wheel each.
 */
#include "remote_table.h"
#include "base/err.h"
#include <stdatomic.h>

#define BUCKETS_MIN 16
#define EVICT_LOOKS 16
#define TELL_US 250000                                   /* a debt is told so soon, when the store can be told */

struct tg_lease_stripe {
    pthread_mutex_t lock;
    struct tg_leases *table;
    struct tg_lease **buckets;
    size_t bucket_count, count;
    struct tg_lease *newest, *oldest;
    struct tg_wheel wheel;
    /* while it is swept */
    const struct tg_lease_moment *moment;
    void (*wish)(void *arg, struct tg_lease *l, unsigned wishes);
    void *arg;
};
struct tg_leases {
    struct tg_lease_stripe stripes[TG_LEASE_STRIPES];
    size_t stripe_max;
    atomic_size_t count;
};

static struct tg_lease_stripe *stripe_of(struct tg_leases *t, uint64_t id)
{
    return &t->stripes[id % TG_LEASE_STRIPES];
}

static struct tg_lease **bucket_of(struct tg_lease_stripe *s, uint64_t id)
{
    return &s->buckets[id / TG_LEASE_STRIPES & (s->bucket_count - 1)];
}

struct tg_leases *tg_leases_new(size_t max_entries)
{
    struct tg_leases *t = TG_NEW(struct tg_leases);

    t->stripe_max = max_entries / TG_LEASE_STRIPES ? max_entries / TG_LEASE_STRIPES : 1;
    for (size_t i = 0; i < TG_LEASE_STRIPES; i++) {
        struct tg_lease_stripe *s = &t->stripes[i];

        pthread_mutex_init(&s->lock, NULL);
        s->table = t;
        s->bucket_count = BUCKETS_MIN;
        s->buckets = TG_NEW_ARRAY(struct tg_lease *, BUCKETS_MIN);
        tg_wheel_init(&s->wheel, 0, NULL);
    }
    return t;
}

void tg_leases_free(struct tg_leases *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < TG_LEASE_STRIPES; i++) {
        struct tg_lease_stripe *s = &t->stripes[i];

        for (struct tg_lease *l = s->newest, *older; l; l = older) {
            older = l->older;
            free(l);
        }
        free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    free(t);
}

size_t tg_leases_count(const struct tg_leases *t) { return atomic_load_explicit(&t->count, memory_order_relaxed); }

/* ---- the order of use ---- */

static void unlink_use(struct tg_lease_stripe *s, struct tg_lease *l)
{
    *(l->newer ? &l->newer->older : &s->newest) = l->older;
    *(l->older ? &l->older->newer : &s->oldest) = l->newer;
    l->newer = l->older = NULL;
}

static void link_newest(struct tg_lease_stripe *s, struct tg_lease *l)
{
    l->older = s->newest;
    l->newer = NULL;
    *(s->newest ? &s->newest->newer : &s->oldest) = l;
    s->newest = l;
}

/* ---- finding ---- */

struct tg_lease *tg_leases_lock(struct tg_leases *t, uint64_t id)
{
    struct tg_lease_stripe *s = stripe_of(t, id);
    struct tg_lease *l;

    pthread_mutex_lock(&s->lock);
    for (l = *bucket_of(s, id); l && l->id != id; l = l->chain)
        continue;
    if (l && l != s->newest) {
        unlink_use(s, l);
        link_newest(s, l);
    }
    return l;
}

void tg_leases_unlock(struct tg_leases *t, uint64_t id) { pthread_mutex_unlock(&stripe_of(t, id)->lock); }
void tg_lease_lock(struct tg_lease *l) { pthread_mutex_lock(&l->stripe->lock); }
void tg_lease_unlock(struct tg_lease *l) { pthread_mutex_unlock(&l->stripe->lock); }

void tg_lease_unref_unlock(struct tg_lease *l)
{
    struct tg_lease_stripe *s = l->stripe;
    bool last = --l->refs == 0 && !l->in_table;

    pthread_mutex_unlock(&s->lock);
    if (last)
        free(l);
}

/* ---- coming and going ---- */

static void grow(struct tg_lease_stripe *s)
{
    struct tg_lease **old = s->buckets;
    size_t old_count = s->bucket_count;

    s->bucket_count *= 2;
    s->buckets = TG_NEW_ARRAY(struct tg_lease *, s->bucket_count);
    for (size_t i = 0; i < old_count; i++) {
        for (struct tg_lease *l = old[i], *next; l; l = next) {
            struct tg_lease **bucket = bucket_of(s, l->id);

            next = l->chain;
            l->chain = *bucket;
            *bucket = l;
        }
    }
    free(old);
}

static void take_out(struct tg_lease_stripe *s, struct tg_lease *l)
{
    struct tg_lease **at = bucket_of(s, l->id);

    while (*at != l)
        at = &(*at)->chain;
    *at = l->chain;
    unlink_use(s, l);
    tg_deadline_clear(&s->wheel, &l->due);
    l->in_table = false;
    s->count--;
    atomic_fetch_sub_explicit(&s->table->count, 1, memory_order_relaxed);
}

/* Permits that nobody could use any more need not go back. */
static bool has_to_tell(const struct tg_lease *l)
{
    return l->permits || l->owed || l->back || l->next_permits;
}

static struct tg_lease *evict(struct tg_lease_stripe *s)
{
    struct tg_lease *l = s->oldest;

    for (unsigned i = 0; l && l->refs && i < EVICT_LOOKS; i++)
        l = l->newer;
    if (!l || l->refs)
        return NULL;                                     /* all are being asked for: there is one more for a moment */
    take_out(s, l);
    if (!has_to_tell(l)) {
        free(l);
        return NULL;
    }
    l->refs++;
    l->wishes = TG_WISH_BACK;
    return l;
}

static int64_t keep_us(const struct tg_lease *l)         /* how long one that is not used is worth keeping */
{
    return l->span_us * (l->sliding ? TG_SLIDING_STEPS + 2 : 2);
}

static void schedule(struct tg_lease_stripe *s, struct tg_lease *l, const struct tg_lease_moment *m)
{
    int64_t at_us = l->last_us + keep_us(l);
    int64_t idle_us;

    if (has_to_tell(l)) {
        struct tg_pace p = {.span_us = l->span_us, .requests = l->requests, .commands = l->commands};

        idle_us = tg_pace_idle_us(&p, l->gap_us) + l->last_us;
        if (l->sliding && l->permits) {                  /* a step later they would count for ten more */
            int64_t end_us = m->mono_us + (l->number + 1) * l->span_us - m->store.low_us;

            idle_us = idle_us < end_us ? idle_us : end_us;
        }
        if (l->owed || l->back)
            idle_us = m->mono_us + TELL_US;
        at_us = at_us < idle_us ? at_us : idle_us;
    }
    tg_deadline_set(&s->wheel, &l->due, (at_us > m->mono_us ? at_us : m->mono_us + TELL_US) / 1000 + 1);
}

/* Its time has come, or had come before it was used again. */
static void on_due(struct tg_deadline *d)
{
    struct tg_lease *l = (struct tg_lease *)((char *)d - offsetof(struct tg_lease, due));
    struct tg_lease_stripe *s = l->stripe;
    const struct tg_lease_moment *m = s->moment;
    struct tg_pace p = {.span_us = l->span_us, .requests = l->requests, .commands = l->commands};
    bool over = m->known && m->store.low_us / l->span_us > l->number, began;

    if (m->known && m->store.low_us / l->span_us > l->next_number)
        l->next_permits = 0;
    began = l->next_permits && m->known &&               /* so long ago that it was idle in it too */
            m->store.low_us - l->next_number * l->span_us >= tg_pace_idle_us(&p, l->gap_us);
    if (!l->refs && !has_to_tell(l) && m->mono_us - l->last_us >= keep_us(l)) {
        take_out(s, l);
        free(l);
        return;
    }
    if (over && !l->sliding)
        l->permits = l->owed = 0;                        /* of a window that is over: nothing to give back or to tell */
    if (l->owed || l->back || (l->sliding && over && l->permits) ||
        ((l->permits || began) && m->mono_us - l->last_us >= tg_pace_idle_us(&p, l->gap_us)))
        s->wish(s->arg, l, TG_WISH_BACK);
    schedule(s, l, m);
}

struct tg_lease *tg_leases_add(struct tg_leases *t, const struct tg_lease_kind *kind,
                               const uint8_t digest[TG_LEASE_DIGEST], const struct tg_lease_moment *m,
                               struct tg_lease **evicted)
{
    struct tg_lease_stripe *s = stripe_of(t, kind->id);
    size_t cells = kind->sliding ? TG_SLIDING_STEPS + 1 : 0;
    struct tg_lease *l = tg_alloc(sizeof(*l) + cells * sizeof(l->own[0]));

    *evicted = s->count >= t->stripe_max ? evict(s) : NULL;
    if (s->count >= s->bucket_count)
        grow(s);
    l->id = kind->id;
    l->sliding = kind->sliding;
    l->span_us = kind->sliding ? kind->length_us / TG_SLIDING_STEPS : kind->length_us;
    memcpy(l->digest, digest, TG_LEASE_DIGEST);
    l->stripe = s;
    l->in_table = true;
    l->last_us = m->mono_us;
    l->due.expired = on_due;
    l->chain = *bucket_of(s, l->id);
    *bucket_of(s, l->id) = l;
    link_newest(s, l);
    s->count++;
    atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    if (s->wheel.count == 0)
        s->wheel.done_ms = m->mono_us / 1000;
    schedule(s, l, m);
    return l;
}

void tg_lease_schedule(struct tg_lease *l, const struct tg_lease_moment *m) { schedule(l->stripe, l, m); }

void tg_leases_sweep(struct tg_leases *t, const struct tg_lease_moment *m,
                     void (*wish)(void *arg, struct tg_lease *l, unsigned wishes), void *arg)
{
    for (size_t i = 0; i < TG_LEASE_STRIPES; i++) {
        struct tg_lease_stripe *s = &t->stripes[i];

        if (pthread_mutex_trylock(&s->lock) != 0)
            continue;                                    /* another worker is here */
        s->moment = m;
        s->wish = wish;
        s->arg = arg;
        if (s->wheel.count)
            tg_wheel_run(&s->wheel, m->mono_us / 1000);
        pthread_mutex_unlock(&s->lock);
    }
}

void tg_leases_each(struct tg_leases *t, void (*each)(void *arg, struct tg_lease *l), void *arg)
{
    for (size_t i = 0; i < TG_LEASE_STRIPES; i++) {
        struct tg_lease_stripe *s = &t->stripes[i];

        pthread_mutex_lock(&s->lock);
        for (struct tg_lease *l = s->newest, *older; l; l = older) {
            older = l->older;
            if (has_to_tell(l))
                each(arg, l);
        }
        pthread_mutex_unlock(&s->lock);
    }
}
