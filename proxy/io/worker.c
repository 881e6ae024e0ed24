/*
 * worker - a thread, its loop, its mailbox, its wheel.
 *
 * The loop is made without locks; only the mailbox (a lock-free stack, taken whole and turned round) and its eventfd
 * are touched by other threads. Every callback runs between tg_worker_enter and tg_worker_leave, so that time is read
 * once and what streams gathered is written once.
 */
#include "internal.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

static _Thread_local struct tg_worker *self;

struct tg_worker *tg_worker_self(void)
{
    return self;
}

void tg_worker_enter(struct tg_worker *w)
{
    w->now_us = tg_clock_mono_us();
    w->now_ms = w->now_us / 1000;
    w->wall_ms = 0;
}

void tg_worker_leave(struct tg_worker *w)
{
    struct tg_worker_private *p = w->private;

    while (p->dirty) {
        struct tg_stream *s = p->dirty;

        p->dirty = s->next_dirty;
        s->next_dirty = NULL;
        tg_stream_flush(s);
    }
}

int64_t tg_worker_wall_ms(struct tg_worker *w)
{
    if (!w->wall_ms)
        w->wall_ms = tg_clock_wall_ms();
    return w->wall_ms;
}

/* ---- posted jobs ---- */

static void run_inbox(struct tg_worker *w)
{
    struct tg_job *job = atomic_exchange(&w->private->inbox, NULL);
    struct tg_job *in_order = NULL;

    while (job) {
        struct tg_job *next = job->next;

        job->next = in_order;
        in_order = job;
        job = next;
    }
    while (in_order) {
        struct tg_job *next = in_order->next;

        in_order->fn(w, in_order->arg);
        free(in_order);
        in_order = next;
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct tg_worker *w = arg;
    uint64_t n;

    (void)what;
    tg_worker_enter(w);
    if (read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
        run_inbox(w);
    tg_worker_leave(w);
}

void tg_worker_post(struct tg_worker *w, void (*fn)(struct tg_worker *w, void *arg), void *arg)
{
    struct tg_job *job = TG_NEW(struct tg_job);
    struct tg_job *head = atomic_load(&w->private->inbox);

    job->fn = fn;
    job->arg = arg;
    do
        job->next = head;
    while (!atomic_compare_exchange_weak(&w->private->inbox, &head, job));
    if (!head) {                                         /* it was empty: somebody has to ring */
        uint64_t one = 1;

        while (write(w->private->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
            continue;
    }
}

struct waited {
    void (*fn)(struct tg_worker *w, void *arg);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void run_waited(struct tg_worker *w, void *arg)
{
    struct waited *call = arg;

    call->fn(w, call->arg);
    pthread_mutex_lock(&call->lock);
    call->done = true;
    pthread_cond_signal(&call->cond);
    pthread_mutex_unlock(&call->lock);
}

void tg_worker_call(struct tg_worker *w, void (*fn)(struct tg_worker *w, void *arg), void *arg)
{
    struct waited call = {.fn = fn, .arg = arg};

    tg_assert(!self);
    pthread_mutex_init(&call.lock, NULL);
    pthread_cond_init(&call.cond, NULL);
    tg_worker_post(w, run_waited, &call);
    pthread_mutex_lock(&call.lock);
    while (!call.done)
        pthread_cond_wait(&call.cond, &call.lock);
    pthread_mutex_unlock(&call.lock);
    pthread_cond_destroy(&call.cond);
    pthread_mutex_destroy(&call.lock);
}

/* ---- deferred calls of the worker itself ---- */

static void on_deferred(evutil_socket_t fd, short what, void *arg)
{
    struct tg_worker *w = arg;
    struct tg_worker_private *p = w->private;
    struct tg_deferred end_of_turn = {0};                /* those set meanwhile wait for the next turn */

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    *p->deferred_tail = &end_of_turn;
    p->deferred_tail = &end_of_turn.next;
    for (;;) {
        struct tg_deferred *d = p->deferred;

        p->deferred = d->next;
        if (!p->deferred)
            p->deferred_tail = &p->deferred;
        if (d == &end_of_turn)
            break;
        d->next = NULL;
        d->set = false;
        d->run(d);
    }
    if (p->deferred) {                                   /* made active it would run before any socket has its turn */
        struct timeval next_turn = {0, 0};

        event_add(p->defer_event, &next_turn);
    }
    tg_worker_leave(w);
}

void tg_worker_defer(struct tg_worker *w, struct tg_deferred *d)
{
    struct tg_worker_private *p = w->private;

    if (d->set)
        return;
    d->set = true;
    d->next = NULL;
    if (!p->deferred)
        event_active(p->defer_event, EV_TIMEOUT, 0);
    *p->deferred_tail = d;
    p->deferred_tail = &d->next;
}

void tg_worker_undefer(struct tg_worker *w, struct tg_deferred *d)
{
    struct tg_worker_private *p = w->private;

    if (!d->set)
        return;
    for (struct tg_deferred **at = &p->deferred; *at; at = &(*at)->next) {
        if (*at == d) {
            *at = d->next;
            if (!*at)
                p->deferred_tail = at;
            break;
        }
    }
    d->set = false;
    d->next = NULL;
}

/* ---- the wheel's tick ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct tg_worker *w = arg;

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    tg_wheel_run(&w->wheel, w->now_ms);
    tg_worker_leave(w);
}

static void wake_wheel(struct tg_wheel *wheel, bool needed)
{
    struct tg_worker *w = (struct tg_worker *)((char *)wheel - offsetof(struct tg_worker, wheel));
    struct timeval tick = {0, TG_WHEEL_TICK_MS * 1000};

    if (!needed) {
        event_del(w->private->tick_event);
    } else if (!event_pending(w->private->tick_event, EV_TIMEOUT, NULL)) {
        wheel->done_ms = tg_clock_mono_ms();
        event_add(w->private->tick_event, &tick);
    }
}

/* ---- gathers ---- */

struct tg_gather *tg_gather_get(struct tg_worker *w)
{
    struct tg_gather *g = w->private->gathers;

    if (g)
        w->private->gathers = g->next;
    else
        g = TG_NEW(struct tg_gather);
    g->count = 0;
    g->bytes = 0;
    g->small_used = 0;
    return g;
}

void tg_gather_put(struct tg_worker *w, struct tg_gather *g)
{
    g->next = w->private->gathers;
    w->private->gathers = g;
}

/* ---- life ---- */

static void free_worker(struct tg_worker *w)
{
    struct tg_worker_private *p = w->private;

    while (p->gathers) {
        struct tg_gather *g = p->gathers;

        p->gathers = g->next;
        free(g);
    }
    for (struct tg_job *job = atomic_load(&p->inbox), *next; job; job = next) {
        next = job->next;                                /* posted too late to run */
        free(job);
    }
    if (p->tls_wire)
        tg_buf_fini(&p->tls_wire->out);
    free(p->tls_wire);
    if (p->wake_event)
        event_free(p->wake_event);
    if (p->tick_event)
        event_free(p->tick_event);
    if (p->defer_event)
        event_free(p->defer_event);
    if (w->base)
        event_base_free(w->base);
    if (p->wake_fd >= 0)
        close(p->wake_fd);
    pthread_mutex_destroy(&p->start_lock);
    pthread_cond_destroy(&p->started);
    free(w->scratch);
    free(p);
    free(w);
}

static enum tg_status make_loop(struct tg_worker *w, struct tg_err *err)
{
    struct tg_worker_private *p = w->private;
    struct event_config *cfg = event_config_new();

    if (!cfg)
        return tg_fail(err, TG_IO, "no memory for an event loop");
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NO_CACHE_TIME);
    w->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    p->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!w->base || p->wake_fd < 0)
        return tg_fail(err, TG_IO, "cannot make an event loop: %s", strerror(errno));
    p->wake_event = event_new(w->base, p->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
    p->tick_event = event_new(w->base, -1, EV_PERSIST, on_tick, w);
    p->defer_event = event_new(w->base, -1, 0, on_deferred, w);
    if (!p->wake_event || !p->tick_event || !p->defer_event || event_add(p->wake_event, NULL) != 0)
        return tg_fail(err, TG_IO, "cannot make the events of a loop");
    return TG_OK;
}

static void tell_started(struct tg_worker_private *p, enum tg_status st)
{
    pthread_mutex_lock(&p->start_lock);
    p->ready = true;
    p->start_status = st;
    pthread_cond_signal(&p->started);
    pthread_mutex_unlock(&p->start_lock);
}

static void *thread_main(void *arg)
{
    struct tg_worker *w = arg;
    struct tg_worker_private *p = w->private;
    sigset_t all;

    sigfillset(&all);                                    /* signals are the main thread's, */
    sigdelset(&all, SIGBUS);                             /* but a fault is told where it happens */
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, p->name);
    self = w;
    tg_worker_enter(w);
    tg_wheel_init(&w->wheel, w->now_ms, wake_wheel);
    enum tg_status st = p->hooks.init ? p->hooks.init(w, p->hooks.arg, p->start_err) : TG_OK;
    tg_worker_leave(w);
    tell_started(p, st);
    if (st == TG_OK)
        event_base_loop(w->base, EVLOOP_NO_EXIT_ON_EMPTY);
    tg_worker_enter(w);
    run_inbox(w);
    if (st == TG_OK && p->hooks.fini)
        p->hooks.fini(w, p->hooks.arg);
    run_inbox(w);                                        /* what was posted meanwhile may own something */
    tg_worker_leave(w);
    self = NULL;
    return NULL;
}

enum tg_status tg_worker_start(unsigned index, const char *name, const struct tg_worker_hooks *hooks,
                               struct tg_worker **out, struct tg_err *err)
{
    struct tg_worker *w = TG_NEW(struct tg_worker);
    struct tg_worker_private *p = TG_NEW(struct tg_worker_private);
    enum tg_status st;

    w->index = index;
    w->private = p;
    w->scratch = tg_alloc(TG_SCRATCH_BYTES);
    p->wake_fd = -1;
    p->hooks = *hooks;
    p->start_err = err;
    p->deferred_tail = &p->deferred;
    snprintf(p->name, sizeof(p->name), "%s", name);
    pthread_mutex_init(&p->start_lock, NULL);
    pthread_cond_init(&p->started, NULL);
    st = make_loop(w, err);
    if (st == TG_OK && pthread_create(&p->thread, NULL, thread_main, w) != 0)
        st = tg_fail(err, TG_IO, "cannot start thread %s", name);
    if (st != TG_OK) {
        free_worker(w);
        return st;
    }
    pthread_mutex_lock(&p->start_lock);
    while (!p->ready)
        pthread_cond_wait(&p->started, &p->start_lock);
    st = p->start_status;
    pthread_mutex_unlock(&p->start_lock);
    p->start_err = NULL;
    if (st != TG_OK) {
        pthread_join(p->thread, NULL);
        free_worker(w);
        return st;
    }
    *out = w;
    return TG_OK;
}

static void end_loop(struct tg_worker *w, void *arg)
{
    (void)arg;
    event_base_loopexit(w->base, NULL);
}

void tg_worker_stop(struct tg_worker *w)
{
    if (!w)
        return;
    tg_worker_post(w, end_loop, NULL);
    pthread_join(w->private->thread, NULL);
    free_worker(w);
}
