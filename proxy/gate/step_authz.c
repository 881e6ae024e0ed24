/*
 * step_authz - the route's policies decide; then the request goes to its upstream, or to what tollgate serves itself.
 *
 * Policies in shadow mode are asked too; what they say is logged and counted, nothing else.
 */
#include "internal.h"
#include "store/supply.h"

static void judge_shadow(struct tg_exchange *ex)
{
    /* Applied, such a policy would have refused content that cannot be judged. */
    static const struct tg_verdict no_call = {.decision = TG_DENY,
                                              .reasons = TG_REASON_BIT(TG_REASON_MCP_NOT_A_TOOL_CALL), .policy = -1};

    if (ex->call_unknown)
        ex->shadow_verdict = no_call;
    else
        tg_ppl_decide(ex->route->shadow, &ex->facts, &ex->shadow_verdict);
}

/* Policies that are not there, or that nobody may go by any more: then none is asked, whatever it would say. */
static enum tg_refusal policies_missing(const struct tg_exchange *ex)
{
    const struct tg_supply *supply = ex->gate->shared->supply;

    if (ex->route->unresolved)
        return TG_REFUSE_NO_POLICY;
    if (ex->route->may_be_stale && supply && tg_supply_stale(supply))
        return TG_REFUSE_STALE;
    return TG_REFUSE_NONE;
}

enum tg_next tg_step_authz(struct tg_exchange *ex)
{
    const struct tg_route *route = ex->route;
    enum tg_refusal missing = policies_missing(ex);

    if (missing != TG_REFUSE_NONE)
        return tg_exchange_refuse(ex, missing);
    tg_ppl_decide(route->policy, &ex->facts, &ex->verdict);
    if (route->shadow)
        judge_shadow(ex);
    ex->judged = true;
    if (ex->verdict.decision != TG_ALLOW)
        return tg_exchange_refuse(ex, tg_refusal_of(&ex->verdict));

    uint64_t limit = tg_content_limit(ex);
    if (limit && ex->head.framing == TG_BODY_LENGTH && ex->head.content_length > limit)
        return tg_exchange_refuse(ex, TG_REFUSE_BODY_SIZE);
    ex->state = route->targets[0].echo ? EX_SERVE : EX_FORWARD;
    return TG_NEXT_GO;
}
