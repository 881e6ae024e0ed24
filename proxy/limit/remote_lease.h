/*
 * remote_lease - permits on lease: one entry for each window and key that is in use at this process.
 *
 * Why: a request takes a permit that is here already; the store is asked for more now and then.
 * Invariants: a permit is of one window (of a sliding one: of one step) and is used only while the store's clock is in
 * it for certain; it is used once, or given back once, and after it was given back it is not here any more. Who forgets
 * an entry gives its permits back.
 * Threads: any; an entry is touched under the lock of its stripe only. All times in microseconds.
 */
#pragma once
#include "io/wheel.h"
#include "remote_clock.h"
#include "remote_pace.h"
#include "remote_script.h"
#include <pthread.h>

#define TG_LEASE_DIGEST 16

/* LAST: those of the coming window go back too. */
enum tg_lease_wish { TG_WISH_PERMITS = 1, TG_WISH_NEXT = 2, TG_WISH_BACK = 4, TG_WISH_LAST = 8 };

struct tg_lease_stripe;
struct tg_lease {
    struct tg_lease *chain, *newer, *older;              /* of its bucket; by use */
    struct tg_deadline due;                              /* when to look at it */
    struct tg_lease_stripe *stripe;
    uint64_t id;
    uint8_t digest[TG_LEASE_DIGEST];                     /* its name in the store */
    int64_t span_us;                                     /* of a window, or of a step */
    uint32_t refs;                                       /* of those who are about to ask, or have asked */
    bool sliding, in_table;
    uint8_t wishes;                                      /* enum tg_lease_wish; not 0: queued for a flight */
    uint32_t limit;                                      /* of who came last */
    uint32_t clock_steps;

    int64_t number, incarnation;                         /* the window (step), as in remote_script */
    uint64_t seen, granted;
    uint32_t permits, had;                               /* unused; granted in all, and not given back */
    uint32_t used, former;                               /* admitted here: in this window, in the one before */
    uint32_t owed;                                       /* of those without a permit, and not yet told */
    uint32_t last_grant, requests, commands;
    bool told;                                           /* `granted` is known */
    int64_t full_until;                                  /* the number in which a full one may have room again */
    int64_t retry_us;
    unsigned retries;

    int64_t next_number, next_incarnation;               /* of the window to come */
    uint64_t next_granted;
    uint32_t next_permits;
    int64_t next_asked;                                  /* for which number */

    int64_t back_number;                                 /* sliding: a step that is over ... */
    uint32_t back;                                       /* ... and what was not used in it */

    int64_t last_us, gap_us;                             /* of requests */
    uint32_t waiting;                                    /* requests, since it was last asked for */
    int64_t asked_until_us;                              /* an answer is expected until then */
    uint64_t waiting_workers;                            /* a bit each: to be told of an answer */
    uint32_t own[];                                      /* sliding: admitted here, by step modulo 11 */
};

struct tg_lease_moment {                                 /* now */
    int64_t mono_us;
    bool known;                                          /* the store's time is */
    uint32_t steps;
    struct tg_store_time store;                          /* not known: our own wall clock */
};
static inline int64_t tg_lease_now_us(const struct tg_lease_moment *m)
{
    return m->store.low_us + (m->store.high_us - m->store.low_us) / 2;
}

/* ---- one entry, under its lock ---- */

/* When to look at it next; after it got permits or debts. (It is the table that looks.) */
void tg_lease_schedule(struct tg_lease *l, const struct tg_lease_moment *m);
enum tg_lease_take { TG_TOOK, TG_FULL, TG_NONE };

void tg_lease_touch(struct tg_lease *l, uint32_t limit, const struct tg_lease_moment *m);
/* Takes a permit. TG_NONE: there is none here, and the store may have some. `look`: takes nothing. */
enum tg_lease_take tg_lease_take(struct tg_lease *l, uint32_t limit, const struct tg_lease_moment *m, bool look);
/* Without the store: as many as this process itself has left, of what it does not know others to have. */
bool tg_lease_take_alone(struct tg_lease *l, uint32_t limit, const struct tg_lease_moment *m, bool look);
/* Counts one without asking anybody. */
void tg_lease_owe(struct tg_lease *l, const struct tg_lease_moment *m);
/* Undoes a take, if its window is still there. */
struct tg_lease_taken { int64_t number, incarnation; bool alone; };
void tg_lease_untake(struct tg_lease *l, const struct tg_lease_taken *taken);
/* What should be asked of the store now that nobody waits for: enum tg_lease_wish, or 0. */
unsigned tg_lease_wishes(const struct tg_lease *l, enum tg_lease_take took, const struct tg_lease_moment *m);
uint32_t tg_lease_remaining(const struct tg_lease *l, uint32_t limit);
int64_t tg_lease_reset_us(const struct tg_lease *l, const struct tg_lease_moment *m);

/* ---- asking ---- */

struct tg_lease_item {
    struct tg_lease *lease;                              /* with a reference */
    int64_t args[TG_SCRIPT_ARGS];
};
/* What its wishes come to: 0, 1 or 2 items. They are off the entry then. */
size_t tg_lease_items(struct tg_lease *l, const struct tg_lease_moment *m, int64_t until_us,
                      struct tg_lease_item out[static 2]);
/* Takes in what the store said; returns the workers to be told. */
uint64_t tg_lease_answer(struct tg_lease *l, const struct tg_lease_item *item, const int64_t words[TG_SCRIPT_WORDS],
                         const struct tg_lease_moment *m);
uint64_t tg_lease_failed(struct tg_lease *l, const struct tg_lease_item *item);
