/*
 * waiters - who waits for a question that is asked once for all: called by a post to their own worker, or taken back.
 *
 * Under the lock of whoever asks, the posting too: who takes itself back in time is never called. There are as many as
 * requests in flight, which is bounded elsewhere.
 */
#pragma once
#include "io/worker.h"

struct tg_waiter {
    struct tg_worker *worker;
    void (*done)(struct tg_worker *w, void *arg);
    void *arg;
};
struct tg_waiters {                                      /* zeroed: nobody */
    struct tg_waiter *items;
    size_t count, cap;
};
void tg_waiters_add(struct tg_waiters *all, struct tg_waiter waiter);
bool tg_waiters_drop(struct tg_waiters *all, const void *arg); /* false: nobody of that arg; called already, perhaps */
void tg_waiters_call(struct tg_waiters *all);            /* each once: nobody waits any more */
void tg_waiters_fini(struct tg_waiters *all);            /* nobody may be waiting */
