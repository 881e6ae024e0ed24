/*
 * step_limit - one charge a request: the subject's tier with an identity, else the address bucket.
 *
 * A failed verification is answered here: 429 when the address bucket is empty (no free guessing), else its own 401.
 */
#include "internal.h"

void tg_charge_address(struct tg_exchange *ex)
{
    if (ex->charged || !ex->rt || ex->rt->config->tiers.off || ex->gate->service)
        return;
    ex->charged = true;
    tg_limiter_address(ex->gate->shared->limiter, &ex->rt->config->tiers.unauthenticated, &ex->client_ip, ex->wall_ms,
                       false, &ex->charge);
}

enum tg_next tg_step_limit(struct tg_exchange *ex)
{
    const struct tg_tiers *tiers = &ex->rt->config->tiers;

    if (!tiers->off) {
        if (ex->identity) {
            ex->charged = true;
            tg_limiter_subject(ex->gate->shared->limiter, tg_tiers_pick(tiers, &ex->facts), ex->identity->key,
                               ex->wall_ms, false, &ex->charge);
        } else {
            tg_charge_address(ex);
        }
        tg_metric_add(ex->charge.admitted ? ex->gate->metrics.admitted : ex->gate->metrics.limited, ex->gate->cell, 1);
        if (!ex->charge.admitted && !tiers->shadow)
            return tg_exchange_refuse(ex, TG_REFUSE_LIMIT);
    }
    if (ex->route->debug_trace.len)
        tg_trace_ask(ex);                                /* after the limit: no free guessing here either */
    if (ex->pending)
        return tg_exchange_refuse(ex, ex->pending);
    ex->state = tg_body_is_judged(ex) ? EX_BODY : EX_AUTHZ;
    return TG_NEXT_GO;
}
