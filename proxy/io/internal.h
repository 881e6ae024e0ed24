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

#define TG_TLS_RECORD 16384                              /* octets of data in one record at most (RFC 8446 §5.1) */
#define TG_TLS_IN (4 * TG_TLS_RECORD)

struct tg_tls_wire {                                     /* what TLS sessions of one worker read and write through */
    struct tg_buf out;
    char in[TG_TLS_IN];
    char joined[TG_TLS_RECORD];
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
    struct tg_tls_wire *tls_wire;                        /* NULL: no TLS so far */
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

/* ---- stream.c and its half for TLS, stream_tls.c ---- */
static inline void tg_stream_arm_write(struct tg_stream *s)
{
    if (!event_pending(&s->write_event, EV_WRITE, NULL))
        event_add(&s->write_event, NULL);
}

/* Failure is told by the write event, which fires at once on a broken socket: made active by hand to be sure. */
static inline void tg_stream_fail_later(struct tg_stream *s)
{
    if (s->failed)
        return;
    s->failed = true;
    event_active(&s->write_event, EV_WRITE, 0);
}

void tg_stream_tls_shake(struct tg_stream *s);           /* a step of the handshake; from the loop, as the next two */
void tg_stream_tls_write_backlog(struct tg_stream *s);
void tg_stream_tls_tell_broken(struct tg_stream *s);
/* How many octets of the list are on their way (or the stream has failed); the rest is to wait in the backlog. */
size_t tg_stream_tls_write(struct tg_stream *s, const struct iovec *iov, unsigned count, size_t bytes);
ssize_t tg_stream_tls_read(struct tg_stream *s, char *into, size_t room);
bool tg_stream_tls_has_more(const struct tg_stream *s);  /* `readable` is due, and the socket may not tell */
bool tg_stream_tls_is_quiet(struct tg_stream *s);
void tg_stream_tls_end(struct tg_stream *s);             /* when it may: close_notify, then FIN */
void tg_stream_tls_close(struct tg_stream *s, bool reset);
