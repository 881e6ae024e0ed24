/*
 * step_authz - the route's policies decide; then the request goes to its upstream, or to what tollgate serves itself.
 */
#include "internal.h"

/* A client certificate that was asked for goes before what else there is to say. */
static enum tg_refusal denial(const struct tg_verdict *verdict)
{
    if (verdict->reasons & TG_REASON_BIT(TG_REASON_CLIENT_CERTIFICATE_REQUIRED))
        return TG_REFUSE_CERTIFICATE_MISSING;
    if (verdict->reasons & TG_REASON_BIT(TG_REASON_INVALID_CLIENT_CERTIFICATE))
        return TG_REFUSE_CERTIFICATE_INVALID;
    return TG_REFUSE_DENIED;
}

enum tg_next tg_step_authz(struct tg_exchange *ex)
{
    const struct tg_route *route = ex->route;

    tg_ppl_decide(route->policy, &ex->facts, &ex->verdict);
    ex->judged = true;
    if (ex->verdict.decision == TG_UNAUTHENTICATED)
        return tg_exchange_refuse(ex, TG_REFUSE_NO_TOKEN);
    if (ex->verdict.decision == TG_DENY)
        return tg_exchange_refuse(ex, denial(&ex->verdict));

    uint64_t limit = route->max_request_bytes ? route->max_request_bytes : ex->rt->config->bounds.body;
    if (limit && ex->head.framing == TG_BODY_LENGTH && ex->head.content_length > limit)
        return tg_exchange_refuse(ex, TG_REFUSE_BODY_SIZE);
    ex->state = route->targets[0].echo ? EX_SERVE : EX_FORWARD;
    return TG_NEXT_GO;
}
