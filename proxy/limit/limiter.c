/*
 * limiter - the gate's one question: answered from the counters of this process, or from permits of a store.
 *
 * A store is there once for all workers, for as long as one of them is bound to it; while a configuration is taken over
 * there may be two.
 */
#include "limit/limiter.h"
#include "base/err.h"
#include "remote.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct store {
    struct store *next;
    struct tg_remote *remote;
    unsigned bound;                                      /* workers that use it */
    unsigned present;                                    /* and those that are about to leave */
};
struct tg_limiter {
    struct tg_local_limits *local;
    size_t max_keys;
    pthread_mutex_t lock;                                /* stores */
    struct store *stores;
};
struct tg_limit_worker {
    struct tg_limiter *limiter;
    struct tg_worker *worker;
    struct tg_resolver *resolver;
    struct store *store;                                 /* NULL: memory */
    struct tg_remote_link *link;
};

struct tg_limiter *tg_limiter_new(size_t max_keys)
{
    struct tg_limiter *l = TG_NEW(struct tg_limiter);

    l->local = tg_local_limits_new(max_keys);
    l->max_keys = max_keys;
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void tg_limiter_free(struct tg_limiter *l)
{
    if (!l)
        return;
    tg_assert(!l->stores);
    tg_local_limits_free(l->local);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- a worker's store ---- */

static struct store *make_store(const struct tg_limiter *l, const struct tg_limit_settings *settings)
{
    struct store *s = TG_NEW(struct store);

    s->remote = tg_remote_new(settings, l->max_keys);
    return s;
}

/* The one of these settings with one more user, which may become `made`; NULL: there is none. */
static struct store *join_store(struct tg_limiter *l, const struct tg_limit_settings *settings, struct store *made)
{
    struct store *s;

    pthread_mutex_lock(&l->lock);
    for (s = l->stores; s && !tg_remote_is(s->remote, settings); s = s->next)
        continue;
    if (!s && made) {
        s = made;
        s->next = l->stores;
        l->stores = s;
    }
    if (s) {
        s->bound++;
        s->present++;
    }
    pthread_mutex_unlock(&l->lock);
    return s;
}

/* Made without the lock: it registers metrics, and who reads metrics comes for the lock. */
static struct store *find_store(struct tg_limiter *l, const struct tg_limit_settings *settings)
{
    struct store *s = join_store(l, settings, NULL), *made;

    if (s)
        return s;
    made = make_store(l, settings);
    s = join_store(l, settings, made);
    if (s != made) {                                     /* another worker was faster */
        tg_remote_free(made->remote);
        free(made);
    }
    return s;
}

/* Returns who was waiting there. */
static struct tg_limit_wait *leave_store(struct tg_limit_worker *lw)
{
    struct tg_limiter *l = lw->limiter;
    struct store *s = lw->store;
    struct tg_limit_wait *left;
    bool last;

    if (!s)
        return NULL;
    left = tg_remote_stop(lw->link);                     /* before anybody is the last, who gives all back */
    pthread_mutex_lock(&l->lock);
    last = --s->bound == 0;
    for (struct store **at = &l->stores; last && *at; at = &(*at)->next) {
        if (*at == s) {                                  /* not to be found any more; ours alone */
            *at = s->next;
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
    tg_remote_leave(lw->link, last);
    pthread_mutex_lock(&l->lock);
    last = --s->present == 0;
    pthread_mutex_unlock(&l->lock);
    if (last) {
        tg_remote_free(s->remote);
        free(s);
    }
    lw->store = NULL;
    lw->link = NULL;
    return left;
}

struct tg_limit_worker *tg_limit_worker_new(struct tg_limiter *l, struct tg_worker *w, struct tg_resolver *resolver)
{
    struct tg_limit_worker *lw = TG_NEW(struct tg_limit_worker);

    lw->limiter = l;
    lw->worker = w;
    lw->resolver = resolver;
    return lw;
}

void tg_limit_worker_free(struct tg_limit_worker *lw)
{
    if (!lw)
        return;
    tg_remote_let_ask(leave_store(lw), false);
    free(lw);
}

static bool uses_store(const struct tg_limit_settings *s)
{
    return s->store.len > 0;
}

void tg_limit_worker_bind(struct tg_limit_worker *lw, const struct tg_limit_settings *settings)
{
    struct tg_limit_wait *left = NULL;

    if (lw->store && !(uses_store(settings) && tg_remote_is(lw->store->remote, settings)))
        left = leave_store(lw);
    if (uses_store(settings)) {
        if (!lw->store) {
            lw->store = find_store(lw->limiter, settings);
            lw->link = tg_remote_join(lw->store->remote, lw->worker, lw->resolver, settings);
        }
        tg_remote_bind(lw->link, settings);
    }
    tg_remote_let_ask(left, true);                       /* who waited for the former one asks the new one */
}

/* ---- requests ---- */

static void in_memory(struct tg_limit_worker *lw, const struct tg_limit_ask *ask, bool look, struct tg_charge *out)
{
    struct tg_limit_key key;

    tg_limit_key_of(ask->tier, &ask->caller, &key);
    tg_local_charge(lw->limiter->local, ask->tier, &key, ask->caller.claims, ask->wall_ms, look, out);
}

bool tg_limit_charge(struct tg_limit_worker *lw, struct tg_limit_ask *ask, struct tg_charge *out)
{
    if (!ask->tier) {
        *out = (struct tg_charge){.admitted = true};
        return true;
    }
    if (lw->link)
        return tg_remote_charge(lw->link, ask, out);
    in_memory(lw, ask, false, out);
    return true;
}

void tg_limit_cancel(struct tg_limit_worker *lw, struct tg_limit_ask *ask)
{
    if (ask->wait)
        tg_remote_cancel(lw->link, ask);
}

void tg_limit_note(struct tg_limit_worker *lw, const struct tg_limit_ask *ask, struct tg_charge *out)
{
    if (!ask->tier)
        *out = (struct tg_charge){.admitted = true};
    else if (lw->link)
        tg_remote_note(lw->link, ask, out);
    else
        in_memory(lw, ask, false, out);
}

bool tg_limit_has_room(struct tg_limit_worker *lw, const struct tg_limit_ask *ask)
{
    struct tg_charge out;

    if (!ask->tier)
        return true;
    if (lw->link)
        return tg_remote_has_room(lw->link, ask);
    in_memory(lw, ask, true, &out);
    return out.admitted;
}

void tg_limiter_state(const struct tg_limiter *l, struct tg_limit_state *out)
{
    pthread_mutex_t *lock = &((struct tg_limiter *)(uintptr_t)l)->lock;

    *out = (struct tg_limit_state){0};
    tg_local_state(l->local, &out->local);
    pthread_mutex_lock(lock);
    for (const struct store *s = l->stores; s; s = s->next) {
        unsigned links, up;

        tg_remote_links(s->remote, &links, &up);
        out->store_used = true;
        out->links += links;
        out->links_up += up;
    }
    pthread_mutex_unlock(lock);
}

void tg_limiter_describe(struct tg_limiter *l, struct tg_buf *out)
{
    pthread_mutex_lock(&l->lock);
    for (const struct store *s = l->stores; s; s = s->next)
        tg_remote_describe(s->remote, out);
    pthread_mutex_unlock(&l->lock);
}
