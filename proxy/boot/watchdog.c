/*
 * watchdog - beats out, beats back.
 */
#include "watchdog.h"
#include "base/clock.h"
#include "base/log.h"
#include <stdatomic.h>

struct tg_beat {
    atomic_bool out;
};

static void come_back(struct tg_worker *w, void *arg)
{
    struct tg_beat *beat = arg;

    (void)w;
    atomic_store(&beat->out, false);
}

void tg_watchdog_init(struct tg_watchdog *w, struct tg_notify *notify, struct tg_server *server)
{
    *w = (struct tg_watchdog){.notify = notify, .server = server, .period_ms = (notify->watchdog_ms + 1) / 2};
    w->next_ms = tg_clock_mono_ms() + w->period_ms;
    w->count = server->worker_count + 1;
    w->beats = TG_NEW_ARRAY(struct tg_beat, w->count);
}

static bool all_are_back(const struct tg_watchdog *w)
{
    for (unsigned i = 0; i < w->count; i++)
        if (atomic_load(&w->beats[i].out))
            return false;
    return true;
}

static void send_out(struct tg_watchdog *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        atomic_store(&w->beats[i].out, true);
        tg_worker_post(tg_server_thread(w->server, i), come_back, &w->beats[i]);
    }
}

void tg_watchdog_turn(struct tg_watchdog *w)
{
    int64_t now_ms = tg_clock_mono_ms();

    if (w->period_ms == 0 || now_ms < w->next_ms)
        return;
    if (all_are_back(w)) {
        tg_notify_send(w->notify, "WATCHDOG=1");
        send_out(w);
        w->next_ms = now_ms + w->period_ms;
        w->told = false;
        return;
    }
    if (!w->told)
        tg_log(TG_LOG_ERROR, "a thread does not answer; the service manager's watchdog is not told that all is well");
    w->told = true;
    w->next_ms = now_ms + w->period_ms / 8 + 1;          /* it may be back in time */
}

void tg_watchdog_fini(struct tg_watchdog *w)
{
    free(w->beats);
    w->beats = NULL;
}
