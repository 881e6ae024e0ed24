/*
 * alarm - a timer of libevent's with the worker's time around its call.
 */
#include "io/alarm.h"
#include "internal.h"

struct tg_alarm {
    struct tg_worker *worker;
    struct event *event;
    void (*run)(void *arg);
    void *arg;
    bool set;
};

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct tg_alarm *a = arg;
    struct tg_worker *w = a->worker;

    (void)fd;
    (void)what;
    tg_worker_enter(w);
    a->set = false;
    a->run(a->arg);                                      /* may free the alarm */
    tg_worker_leave(w);
}

struct tg_alarm *tg_alarm_new(struct tg_worker *w, void (*run)(void *arg), void *arg)
{
    struct tg_alarm *a = TG_NEW(struct tg_alarm);

    a->worker = w;
    a->run = run;
    a->arg = arg;
    a->event = event_new(w->base, -1, 0, on_time, a);
    tg_assert(a->event);
    return a;
}

void tg_alarm_free(struct tg_alarm *a)
{
    if (!a)
        return;
    event_free(a->event);
    free(a);
}

void tg_alarm_set(struct tg_alarm *a, int64_t delay_us)
{
    int64_t us = delay_us > 0 ? delay_us : 0;
    struct timeval after = {us / 1000000, us % 1000000};

    event_add(a->event, &after);
    a->set = true;
}

void tg_alarm_clear(struct tg_alarm *a)
{
    event_del(a->event);
    a->set = false;
}

bool tg_alarm_is_set(const struct tg_alarm *a) { return a->set; }
