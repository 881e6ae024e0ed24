/*
 * step_limit - one charge a request: the subject's tier with an identity, else the tier of those without one.
 *
 * A failed verification is answered here: 429 when the address bucket is empty (no free guessing), else its own 401.
 * So is a token that lacks a scope: its subject has paid for the question. With a store the answer may be a moment
 * away; the step runs again when it is there.
 */
#include "internal.h"

/* The tiers of this request; NULL: nothing is counted. */
static const struct tg_route_limits *limits_of(const struct tg_exchange *ex)
{
    const struct tg_route_limits *l;

    if (!ex->rt || !ex->gate->limits)
        return NULL;
    l = &ex->rt->limits[ex->route ? ex->route->index + 1 : 0];
    return l->tiers->off ? NULL : l;
}

static void on_counted(void *arg)
{
    struct tg_exchange *ex = arg;

    ex->limit_waits = false;
    ex->limit_ask.wall_ms = tg_worker_wall_ms(ex->gate->worker);
    tg_exchange_run(ex);
}

/* Whose request this is, as far as is known, and against what it counts. */
static void fill_ask(struct tg_exchange *ex, const struct tg_tiers *tiers, struct tg_limit_ask *ask)
{
    const struct tg_identity *id = ex->identity;

    ask->tier = id ? tg_tiers_pick(tiers, &ex->facts) : &tiers->unauthenticated;
    ask->caller.ip = ex->client_ip;
    if (ex->route)
        ask->caller.route = ex->route->name;
    if (id) {
        ask->caller.identity_key = id->key;
        ask->caller.issuer = id->issuer;
        ask->caller.subject = id->subject;
        ask->caller.claims = id->claims;
    }
    /* Who was waited for may have taken long: it is counted in the window in which it is let through. */
    ask->wall_ms = ex->authn_told ? tg_worker_wall_ms(ex->gate->worker) : ex->wall_ms;
    ask->done = on_counted;
    ask->arg = ex;
}

static void count_result(const struct tg_exchange *ex, const struct tg_route_limits *l)
{
    const struct tg_charge *c = &ex->charge;
    const struct tg_tiers *tiers = l->tiers;
    size_t i = c->tier == &tiers->unauthenticated ? tiers->count : (size_t)(c->tier - tiers->items);
    enum tg_limited result = c->failed        ? TG_COUNTED_UNAVAILABLE
                             : !c->admitted   ? TG_COUNTED_REFUSED
                             : c->shadow_full ? TG_COUNTED_SHADOW
                                              : TG_COUNTED_ADMITTED;

    tg_metric_add(l->metrics[i].by_result[result], ex->gate->cell, 1);
}

void tg_charge_refused(struct tg_exchange *ex)
{
    const struct tg_route_limits *l = ex->charged ? NULL : limits_of(ex);

    if (!l)
        return;
    if (!ex->limit_ask.tier)
        fill_ask(ex, l->tiers, &ex->limit_ask);
    ex->charged = true;
    tg_limit_note(ex->gate->limits, &ex->limit_ask, &ex->charge);
    if (ex->charge.admitted)                             /* else it was not counted, and not refused for it */
        count_result(ex, l);
}

bool tg_address_has_room(struct tg_exchange *ex)
{
    const struct tg_route_limits *l = limits_of(ex);
    struct tg_limit_ask ask = {0};

    if (!l)
        return true;
    fill_ask(ex, l->tiers, &ask);
    return tg_limit_has_room(ex->gate->limits, &ask);
}

void tg_step_limit_cancel(struct tg_exchange *ex)
{
    if (ex->limit_waits)
        tg_limit_cancel(ex->gate->limits, &ex->limit_ask);
    ex->limit_waits = false;
}

/* GO and *why NONE: the request may go on. WAIT: the store is asked, and the same step runs again. */
static enum tg_next admit(struct tg_exchange *ex, enum tg_refusal *why)
{
    const struct tg_route_limits *l = limits_of(ex);

    *why = TG_REFUSE_NONE;
    if (!l)
        return TG_NEXT_GO;
    if (!ex->limit_ask.tier)
        fill_ask(ex, l->tiers, &ex->limit_ask);
    if (!tg_limit_charge(ex->gate->limits, &ex->limit_ask, &ex->charge)) {
        ex->charge = (struct tg_charge){0};              /* nothing is known yet: who goes away now was not counted */
        ex->limit_waits = true;
        return TG_NEXT_WAIT;
    }
    ex->charged = true;
    count_result(ex, l);
    if (!ex->charge.admitted)
        *why = ex->charge.failed ? TG_REFUSE_NO_COUNTER : TG_REFUSE_LIMIT;
    return TG_NEXT_GO;
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
    enum tg_refusal full, scope;

    if (ex->limit_waits || admit(ex, &full) == TG_NEXT_WAIT)
        return TG_NEXT_WAIT;
    if (full != TG_REFUSE_NONE)
        return tg_exchange_refuse(ex, full);
    if (ex->well_known) {
        tg_well_known_admitted(ex);
        return TG_NEXT_GO;
    }
    if (ex->route->debug_trace.len)
        tg_trace_ask(ex);                                /* after the limit: no free guessing here either */
    if (ex->pending)
        return tg_exchange_refuse(ex, ex->pending);
    if ((scope = scope_refusal(ex)) != TG_REFUSE_NONE)
        return tg_exchange_refuse(ex, scope);
    ex->state = tg_body_is_judged(ex) ? EX_BODY : EX_AUTHZ;
    return TG_NEXT_GO;
}
