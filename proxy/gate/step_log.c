/*
 * step_log - the last step of every exchange: counted, written to the access log and the audit log, over.
 */
#include "base/clock.h"
#include "internal.h"

enum tg_next tg_step_log(struct tg_exchange *ex)
{
    if (!ex->gate->service) {
        ex->ended_us = tg_clock_mono_us();
        tg_metrics_count(ex);
        if (ex->gate->shared->access_log)
            tg_access_log(ex);
        if (ex->gate->shared->audit)
            tg_audit_decision(ex);
    }
    ex->state = EX_DONE;
    return TG_NEXT_GO;
}
