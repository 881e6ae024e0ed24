/*
 * remote_wait - requests that found no permit here and wait for the store, each at most store_timeout.
 *
 * In order of coming; one timer for the first of them. Who is decided is told at the end of the loop's turn, never from
 * inside the call that decided.
 */
#include "base/clock.h"
#include "remote_internal.h"

static void append(struct tg_wait_list *list, struct tg_limit_wait *w)
{
    w->next = NULL;
    w->prev = list->last;
    *(list->last ? &list->last->next : &list->first) = w;
    list->last = w;
}

static void take_out(struct tg_wait_list *list, struct tg_limit_wait *w)
{
    *(w->prev ? &w->prev->next : &list->first) = w->next;
    *(w->next ? &w->next->prev : &list->last) = w->prev;
}

static void set_timeout(struct tg_remote_link *link, int64_t now_us)
{
    const struct tg_limit_wait *first = link->waiting.first;

    if (!first)
        tg_alarm_clear(link->timeout);
    else if (!tg_alarm_is_set(link->timeout))
        tg_alarm_set(link->timeout, first->since_us + tg_remote_timeout_us(link) - now_us);
}

static void on_timeout(void *arg)
{
    struct tg_remote_link *link = arg;
    int64_t now_us = tg_clock_mono_us(), timeout_us = tg_remote_timeout_us(link);
    const struct tg_limit_wait *first = link->waiting.first;

    /* Waiting for an answer to another worker, or in the queue behind a slow one: no word on the store itself. */
    if (first && now_us - first->since_us >= timeout_us &&
        (!link->linked || (link->flight.in_air && now_us - link->flight.sent_us >= timeout_us)))
        tg_remote_away(link, TG_S("no answer in time"));
    else
        tg_wait_wake(link, NULL, 0);
    if (first && !link->away)
        tg_flight_probe(link);                           /* for the next one that waits in vain */
}

static void tell(struct tg_deferred *d)
{
    struct tg_remote_link *link = (struct tg_remote_link *)((char *)d - offsetof(struct tg_remote_link, tell));
    struct tg_limit_wait *last = link->ready.last;       /* who is decided meanwhile is told the next time */

    while (link->ready.first) {
        struct tg_limit_wait *w = link->ready.first;
        struct tg_limit_ask *ask = w->ask;
        bool is_last = w == last;

        take_out(&link->ready, w);
        w->next = w->prev = NULL;
        w->since_us = 0;                                 /* in no list */
        ask->done(ask->arg);
        if (is_last)
            break;
    }
    if (link->ready.first)
        tg_worker_defer(link->worker, &link->tell);
}

void tg_wait_init(struct tg_remote_link *link)
{
    link->timeout = tg_alarm_new(link->worker, on_timeout, link);
    link->tell.run = tell;
}

/* They wait for nothing here any more, and hold nothing. */
static void let_go(struct tg_remote_link *link, struct tg_wait_list *from, struct tg_wait_list *to)
{
    while (from->first) {
        struct tg_limit_wait *w = from->first;

        take_out(from, w);
        tg_remote_undo(link, &w->holds);
        w->let_go = true;
        append(to, w);
    }
}

struct tg_limit_wait *tg_wait_fini(struct tg_remote_link *link)
{
    struct tg_wait_list left = {0};

    let_go(link, &link->ready, &left);
    let_go(link, &link->waiting, &left);
    tg_alarm_free(link->timeout);
    link->timeout = NULL;
    tg_worker_undefer(link->worker, &link->tell);
    return left.first;
}

void tg_remote_let_ask(struct tg_limit_wait *left, bool told)
{
    for (struct tg_limit_wait *w = left, *next; w; w = next) {
        struct tg_limit_ask *ask = w->ask;

        next = w->next;
        free(w);
        if (!ask)
            continue;                                    /* cancelled, perhaps by one before */
        ask->wait = NULL;
        if (told)
            ask->done(ask->arg);
    }
}

void tg_wait_enqueue(struct tg_remote_link *link, struct tg_limit_ask *ask, int64_t now_us)
{
    struct tg_limit_wait *w = TG_NEW(struct tg_limit_wait);

    w->ask = ask;
    w->since_us = now_us;
    ask->wait = w;
    append(&link->waiting, w);
    set_timeout(link, now_us);
    tg_metric_add(link->remote->metrics.waits, link->worker->index + 1, 1);
}

void tg_wait_wake(struct tg_remote_link *link, const struct tg_lease_moment *m, int64_t since_us)
{
    int64_t now_us = tg_clock_mono_us(), timeout_us = tg_remote_timeout_us(link);
    struct tg_lease_moment now;

    if (!link->timeout)
        return;                                          /* stopped: the last answers come */
    tg_remote_moment(link, now_us, &now);
    for (struct tg_limit_wait *w = link->waiting.first, *next; w; w = next) {
        bool may_wait = !link->away && now_us - w->since_us < timeout_us;

        next = w->next;
        if (!tg_remote_decide(link, w->ask, m && w->since_us <= since_us ? m : &now, false, may_wait, &w->charge,
                              &w->holds))
            continue;
        take_out(&link->waiting, w);
        w->decided = true;
        append(&link->ready, w);
        tg_worker_defer(link->worker, &link->tell);
    }
    tg_alarm_clear(link->timeout);
    set_timeout(link, now_us);
}

/* ---- from outside ---- */

bool tg_remote_charge(struct tg_remote_link *link, struct tg_limit_ask *ask, struct tg_charge *out)
{
    struct tg_limit_wait *w = ask->wait;
    int64_t now_us = tg_clock_mono_us();
    struct tg_remote_holds holds;
    struct tg_lease_moment m;

    if (w && !w->decided)
        return false;
    if (w) {
        *out = w->charge;
        w->holds = (struct tg_remote_holds){0};          /* used: nothing to undo */
        tg_remote_cancel(link, ask);
        return true;
    }
    tg_flight_sweeps(link);
    tg_remote_moment(link, now_us, &m);
    if (tg_remote_decide(link, ask, &m, true, !link->away, out, &holds))
        return true;
    tg_wait_enqueue(link, ask, now_us);
    if (atomic_load_explicit(&link->remote->links_away, memory_order_relaxed))
        tg_flight_probe(link);                           /* away for others: one that waits here will tell */
    return false;
}

void tg_remote_cancel(struct tg_remote_link *link, struct tg_limit_ask *ask)
{
    struct tg_limit_wait *w = ask->wait;

    if (!w)
        return;
    if (w->let_go) {
        w->ask = NULL;
        ask->wait = NULL;
        return;
    }
    if (w->since_us)
        take_out(w->decided ? &link->ready : &link->waiting, w);
    tg_remote_undo(link, &w->holds);
    ask->wait = NULL;
    free(w);
}
