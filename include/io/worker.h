/*
 * worker - a thread with its own event loop; everything of a connection happens on one.
 *
 * Start: tg_workers_start makes N threads; each runs `init` on its own thread, then its loop. Others reach it by
 * tg_worker_post only (a lock-free queue and an eventfd). Nothing on a worker may block.
 * The control thread is a worker too (index TG_CONTROL), so that it can be posted to the same way.
 */
#pragma once
#include "base/err.h"
#include "io/wheel.h"

struct event_base;
struct tg_worker;

#define TG_SCRATCH_BYTES (64 * 1024)

struct tg_worker {
    unsigned index;                                      /* 0..n-1; metric cell is index + 1 */
    struct event_base *base;
    struct tg_wheel wheel;
    int64_t now_ms, now_us;                              /* monotonic, read once before each callback */
    int64_t wall_ms;                                     /* for tg_worker_wall_ms; 0: not read in this callback */
    char *scratch;                                       /* TG_SCRATCH_BYTES, for one read at a time */
    void *data;                                          /* of whoever assembled the worker */
    struct tg_worker_private *private;
};

struct tg_worker_hooks {
    enum tg_status (*init)(struct tg_worker *w, void *arg, struct tg_err *err); /* on the thread, before the loop */
    void (*fini)(struct tg_worker *w, void *arg);        /* on the thread, after the loop */
    void *arg;
};
/* Starts one thread with `hooks`; returns when init has run. `name`: of the thread, at most 15 characters. */
enum tg_status tg_worker_start(unsigned index, const char *name, const struct tg_worker_hooks *hooks,
                               struct tg_worker **out, struct tg_err *err);
/* Asks the loop to end and joins the thread; frees the worker. NULL is fine. */
void tg_worker_stop(struct tg_worker *w);
/* Runs fn(w, arg) on the worker's thread, in the order posted. Any thread; also before and until the loop ends. */
void tg_worker_post(struct tg_worker *w, void (*fn)(struct tg_worker *w, void *arg), void *arg);
/* Posts to `w` and waits until it has run. Never from a worker. */
void tg_worker_call(struct tg_worker *w, void (*fn)(struct tg_worker *w, void *arg), void *arg);
/* The worker whose thread this is, or NULL. */
struct tg_worker *tg_worker_self(void);
/*
 * Runs d->run(d) from the loop, after the current callback, without a system call. For answers that must not arrive
 * while the one who asked is still on the stack. The worker's own thread only; setting it twice is once.
 */
struct tg_deferred {
    void (*run)(struct tg_deferred *d);
    struct tg_deferred *next;                            /* private */
    bool set;                                            /* private */
};
void tg_worker_defer(struct tg_worker *w, struct tg_deferred *d);
void tg_worker_undefer(struct tg_worker *w, struct tg_deferred *d);
/* Wall time, ms, read at most once in a callback; tests may set it through base/clock. */
int64_t tg_worker_wall_ms(struct tg_worker *w);
