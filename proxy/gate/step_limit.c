/*
 * step_limit - one charge a request: the subject's tier with an identity, else the address bucket.
 *
 * A failed verification is answered here: 429 when the address bucket is empty (no free guessing), else its own 401.
 * So is a token that lacks a scope: its subject has paid for the question.
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

bool tg_admit(struct tg_exchange *ex)
{
    const struct tg_tiers *tiers = &ex->rt->config->tiers;

    if (tiers->off)
        return true;
    if (ex->identity) {
        ex->charged = true;
        tg_limiter_subject(ex->gate->shared->limiter, tg_tiers_pick(tiers, &ex->facts), ex->identity->key, ex->wall_ms,
                           false, &ex->charge);
    } else {
        tg_charge_address(ex);
    }
    tg_metric_add(ex->charge.admitted ? ex->gate->metrics.admitted : ex->gate->metrics.limited, ex->gate->cell, 1);
    return ex->charge.admitted || tiers->shadow;
}

static bool grants(const struct tg_identity *id, const struct tg_strings *scopes)
{
    for (size_t i = 0; i < scopes->count; i++)
        if (!tg_scope_is_granted(id->claims, scopes->items[i]))
            return false;
    return true;
}

/*
 * What is missing before anybody asks the policies. A public route asks for its own scopes only; a CORS preflight never
 * has a token.
 */
static enum tg_refusal scope_refusal(struct tg_exchange *ex)
{
    const struct tg_route *route = ex->route;
    const struct tg_identity *id = ex->identity;

    if (!id)
        return route->required_scopes.count > 0 && !ex->facts.cors_preflight ? TG_REFUSE_NO_TOKEN : TG_REFUSE_NONE;
    if (grants(id, &route->required_scopes) && (route->public_access || grants(id, id->provider->required_scopes)))
        return TG_REFUSE_NONE;
    ex->scope_of = id->provider;
    return TG_REFUSE_SCOPE;
}

enum tg_next tg_step_limit(struct tg_exchange *ex)
{
    enum tg_refusal scope;

    if (!tg_admit(ex))
        return tg_exchange_refuse(ex, TG_REFUSE_LIMIT);
    if (ex->route->debug_trace.len)
        tg_trace_ask(ex);                                /* after the limit: no free guessing here either */
    if (ex->pending)
        return tg_exchange_refuse(ex, ex->pending);
    if ((scope = scope_refusal(ex)) != TG_REFUSE_NONE)
        return tg_exchange_refuse(ex, scope);
    ex->state = tg_body_is_judged(ex) ? EX_BODY : EX_AUTHZ;
    return TG_NEXT_GO;
}
