/*
 * redis_try - a link of a moment, to see whether there would be one.
 *
 * It has a loop of its own, so that a command finds what a worker would find.
 */
#include "io/redis.h"
#include "base/clock.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

struct attempt {
    struct tg_redis_options options;
    struct tg_slice key;                                 /* to write; empty: none */
    struct tg_worker *worker;
    struct tg_resolver *resolver;
    struct tg_redis *link;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool over;
    enum tg_status status;
    char why[320];
};

/* With a key it does what counting does: a replica, a full store and a user of too few rights say no only then. */
static const char try_script[] = "if KEYS[1] then redis.call('TIME') redis.call('HMGET', KEYS[1], 'try') "
                                 "redis.call('HSET', KEYS[1], 'try', 1) redis.call('PEXPIRE', KEYS[1], 1000) end "
                                 "return {1}";

static void finish(struct attempt *a, enum tg_status st, const char *why)
{
    pthread_mutex_lock(&a->lock);
    if (!a->over) {
        a->over = true;
        a->status = st;
        snprintf(a->why, sizeof(a->why), "%s", why);
    }
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
}

static void on_pong(void *arg, const struct tg_redis_answer *answer)
{
    struct attempt *a = arg;
    char why[256];

    snprintf(why, sizeof(why), TG_S_FMT, TG_S_ARG(answer->error));
    if (!answer->lost)                                   /* else `changed` knows more */
        finish(a, answer->ok ? TG_OK : TG_UNAVAILABLE, why);
}

static void on_changed(void *arg, bool up, const char *why)
{
    struct attempt *a = arg;

    if (!up)
        finish(a, TG_UNAVAILABLE, why);
    else
        tg_redis_eval(a->link, &a->key, a->key.len ? 1 : 0, NULL, 0, on_pong, a);
}

static enum tg_status start(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct attempt *a = arg;
    enum tg_status st = tg_resolver_new(w, &a->resolver, err);

    if (st == TG_OK)
        a->link = tg_redis_new(w, a->resolver, &a->options);
    return st;
}

static void stop(struct tg_worker *w, void *arg)
{
    struct attempt *a = arg;

    (void)w;
    tg_redis_free(a->link);
    tg_resolver_free(a->resolver);
}

static void wait_until_over(struct attempt *a, int64_t timeout_ms)
{
    int64_t until_ms = tg_clock_mono_ms() + timeout_ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int rc = 0;

    pthread_mutex_lock(&a->lock);
    while (!a->over && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&a->cond, &a->lock, &until);
    pthread_mutex_unlock(&a->lock);
}

enum tg_status tg_redis_try(const struct tg_redis_address *address, struct tg_slice ca_file, struct tg_slice key,
                            int64_t timeout_ms, struct tg_err *err)
{
    struct attempt a = {
        .options = {.address = *address, .ca_file = ca_file, .script = try_script, .dead_ms = timeout_ms,
                    .changed = on_changed},
        .key = key};
    struct tg_worker_hooks hooks = {start, stop, &a};
    pthread_condattr_t monotonic;
    enum tg_status st;

    a.options.arg = &a;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    st = tg_worker_start(0, "redis-try", &hooks, &a.worker, err);
    if (st == TG_OK) {
        wait_until_over(&a, timeout_ms);
        tg_worker_stop(a.worker);                        /* from here on `a` is ours alone */
        if (!a.over)
            st = tg_fail(err, TG_UNAVAILABLE, "no answer within %lld ms", (long long)timeout_ms);
        else if (a.status != TG_OK)
            st = tg_fail(err, a.status, "%s", a.why);
    }
    pthread_cond_destroy(&a.cond);
    pthread_mutex_destroy(&a.lock);
    return st;
}
