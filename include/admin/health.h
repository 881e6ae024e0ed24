/*
 * health - the endpoints of the health listener: /livez, /readyz, /startupz, /healthz (as /readyz), /metrics.
 *
 * 200 "ok" or 503 "not ready"; `?verbose` lists the checks, one a line. Answers nothing that a stranger may not know:
 * no addresses of upstreams, no names of tokens. Threads: served on the control worker; the flags are set by the main
 * thread.
 */
#pragma once
#include "auth/keys.h"
#include "gate/gate.h"
#include <stdatomic.h>

struct tg_health {
    atomic_bool started, draining, reload_ok;
    _Atomic int64_t reload_at_s;                         /* of the last good one */
    struct tg_keys *keys;                                /* control thread */
    struct tg_gate_shared *shared;
    void (*describe)(void *arg, struct tg_buf *out);     /* more lines of readiness; NULL: none. Control thread */
    void *describe_arg;
    struct tg_service service;
};
/* Fills `service` and registers the process's own metrics. The struct lives as long as the process serves. */
void tg_health_init(struct tg_health *health, struct tg_gate_shared *shared);
