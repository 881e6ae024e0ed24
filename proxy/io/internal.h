/* internal - what the files of io share: the private half of a worker. */
#pragma once
#include "io/stream.h"
#include "io/worker.h"
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define TG_GATHER_IOV 32
#define TG_GATHER_SMALL 512

struct tg_gather {                                       /* what a stream wants written at the end of the callback */
    struct iovec iov[TG_GATHER_IOV];
    unsigned count;
    size_t bytes;
    unsigned small_used;
    char small[TG_GATHER_SMALL];
    struct tg_gather *next;                              /* free list */
};

struct tg_job {                                          /* one posted function */
    struct tg_job *next;
    void (*fn)(struct tg_worker *w, void *arg);
    void *arg;
};

struct tg_worker_private {
    pthread_t thread;
    char name[16];
    struct tg_worker_hooks hooks;
    int wake_fd;
    struct event *wake_event, *tick_event, *defer_event;
    _Atomic(struct tg_job *) inbox;                      /* newest first */
    struct tg_stream *dirty;                             /* streams to flush when the callback ends */
    struct tg_gather *gathers;                           /* free list */
    struct tg_deferred *deferred, **deferred_tail;
    pthread_mutex_t start_lock;
    pthread_cond_t started;
    bool ready;
    enum tg_status start_status;
    struct tg_err *start_err;
};

/* Around every event callback: time before, flushing after. */
void tg_worker_enter(struct tg_worker *w);
void tg_worker_leave(struct tg_worker *w);
struct tg_gather *tg_gather_get(struct tg_worker *w);
void tg_gather_put(struct tg_worker *w, struct tg_gather *g);
