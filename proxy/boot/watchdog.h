/*
 * watchdog - systemd is told that all is well only while every loop of the process answers.
 *
 * A beat is posted to each worker and to the control thread; when all have come back, WATCHDOG=1 goes out and the next
 * ones are posted. A thread that hangs keeps its beat, the messages stop, and the service manager does what it is set
 * to do.
 */
#pragma once
#include "boot/assemble.h"
#include "boot/notify.h"

struct tg_watchdog {
    struct tg_notify *notify;
    struct tg_server *server;
    int64_t period_ms, next_ms;                          /* monotonic; period 0: nobody waits for it */
    struct tg_beat *beats;                               /* one a thread */
    unsigned count;
    bool told;                                           /* that a thread does not answer */
};

void tg_watchdog_init(struct tg_watchdog *w, struct tg_notify *notify, struct tg_server *server);
/* Does what is due, waits for nothing. To be called by next_ms, from the main thread, until the server stops. */
void tg_watchdog_turn(struct tg_watchdog *w);
void tg_watchdog_fini(struct tg_watchdog *w);            /* after the server has stopped: a beat may still be out */
