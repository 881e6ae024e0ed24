/*
 * explain_judge - the steps of a request after one another, each with what it finds: route, tier, policies.
 *
 * The same functions in the same order as the gate's steps; nothing is counted.
 */
#include "base/json.h"
#include "explain.h"

void explain_stop(struct explain_result *r, enum tg_refusal refusal, const char *why)
{
    r->refusal = &tg_refusals[refusal];
    r->status = r->refusal->status;
    r->stopped = why ? why : r->refusal->means;
}

bool explain_find_route(struct explain_result *r, int port, struct tg_arena *arena)
{
    const struct explain_request *q = r->request;

    switch (tg_routes_find(r->config->routes, q->host, port, q->canonical, arena, &r->route)) {
    case TG_ROUTE_NONE:
        explain_stop(r, r->config->has_source && !r->config->set ? TG_REFUSE_NOT_LOADED : TG_REFUSE_NO_ROUTE, NULL);
        return false;
    case TG_ROUTE_AMBIGUOUS:
        explain_stop(r, TG_REFUSE_PATH, "an upstream may read this path as another route's");
        return false;
    case TG_ROUTE_FOUND:
        break;
    }
    r->program = r->route->policy;
    return true;
}

/* ---- what is known ---- */

/* Identity criteria are known without an identity. */
static bool claims_known(const struct tg_fact_set *reads, const struct tg_fact_set *known)
{
    for (size_t i = 0; i < reads->claim_count; i++) {
        if (!tg_fact_set_has_claim(known, reads->claims[i]))
            return false;
    }
    return true;
}

bool explain_all_known(const struct tg_fact_set *reads, const struct tg_facts *facts)
{
    if (!facts->known)
        return true;
    return (reads->facts & ~facts->known->facts) == 0 && (!facts->identity || claims_known(reads, facts->known));
}

/* ---- the policies ---- */

static void take_texts(struct explain_result *r)
{
    const struct tg_route *route = r->route;
    int i = r->verdict.policy, s = r->shadow_verdict.policy;

    if (!route)
        return;
    if (r->verdict.decision != TG_ALLOW && i >= 0 && (size_t)i < route->policy_count) {
        r->policy = route->policy_texts[i].name;
        r->explanation = route->policy_texts[i].explanation;
        r->remediation = route->policy_texts[i].remediation;
    }
    if (r->shadowed && r->shadow_verdict.decision != TG_ALLOW && s >= 0 && (size_t)s < route->shadow_count)
        r->shadow_policy = route->shadow_texts[s].name;
}

void explain_judge(struct explain_result *r, struct tg_arena *arena)
{
    /* As gate/step_authz.c: applied, such a policy would have refused content that cannot be judged. */
    static const struct tg_verdict no_call = {.decision = TG_DENY,
                                              .reasons = TG_REASON_BIT(TG_REASON_MCP_NOT_A_TOOL_CALL), .policy = -1};
    enum tg_refusal refusal;

    r->trace = tg_ppl_trace(r->program, r->facts, arena, &r->verdict);
    r->judged = true;
    r->shadowed = r->route && r->route->shadow;
    if (r->shadowed)
        r->shadow_trace = tg_ppl_trace(r->route->shadow, r->facts, arena, &r->shadow_verdict);
    if (r->shadowed && r->body_problem)
        r->shadow_verdict = no_call;
    refusal = r->verdict.undecided ? TG_REFUSE_NONE : tg_refusal_of(&r->verdict);
    r->refusal = refusal == TG_REFUSE_NONE ? NULL : &tg_refusals[refusal];
    r->status = r->verdict.undecided ? 0 : explain_status(r->verdict.decision);
    take_texts(r);
}

/* ---- why, in one sentence ---- */

static const struct tg_trace_node *first_decisive(const struct tg_trace_node *first,
                                                  const struct tg_trace_node **policy, bool *deny, size_t *count)
{
    const struct tg_trace_node *found = NULL;

    for (const struct tg_trace_node *n = first; n; n = n->next) {
        const struct tg_trace_node *below;
        bool outer = n->kind == TG_TRACE_POLICY && !found;

        if (!n->decisive)
            continue;
        if (n->kind == TG_TRACE_CRITERION) {
            (*count)++;
            found = found ? found : n;
            continue;
        }
        if (n->kind == TG_TRACE_RULE && !found)
            *deny = strcmp(n->name, "deny") == 0;
        below = first_decisive(n->children, policy, deny, count);
        if (outer && below)
            *policy = n;
        found = found ? found : below;
    }
    return found;
}

/* "claim/plan" */
static void add_name(const struct tg_trace_node *n, struct tg_buf *out)
{
    tg_buf_adds(out, n->name);
    if (n->sub_path.len > 0) {
        tg_buf_adds(out, "/");
        tg_trace_clean(out, n->sub_path, 60);
    }
}

static void add_criterion(const struct tg_trace_node *n, struct tg_buf *out)
{
    struct tg_buf data = {0};

    add_name(n, out);
    if (!cJSON_IsTrue(n->data)) {
        tg_json_print(&data, n->data);
        tg_buf_adds(out, " ");
        tg_trace_clean(out, tg_buf_slice(&data), 60);
        tg_buf_fini(&data);
    }
    tg_buf_adds(out, n->value ? " holds" : " does not hold");
    if (!tg_slice_eq(n->saw, TG_S("(none)"))) {
        tg_buf_adds(out, " for ");
        tg_trace_clean(out, n->saw, 60);
    } else if (strcmp(n->name, "accept") != 0 && strcmp(n->name, "reject") != 0) {
        tg_buf_adds(out, ": there is none");
    }
}

static const struct tg_trace_node *first_unknown(const struct tg_trace_node *first)
{
    for (const struct tg_trace_node *n = first; n; n = n->next) {
        const struct tg_trace_node *below = n->kind == TG_TRACE_CRITERION ? n : first_unknown(n->children);

        if (below && below->unknown)
            return below;
    }
    return NULL;
}

static void add_unknown(const struct tg_trace_node *trace, struct tg_buf *out)
{
    const struct tg_trace_node *n = first_unknown(trace);

    tg_buf_adds(out, "it hangs on what was not logged");
    if (!n)
        return;
    tg_buf_adds(out, ": ");
    add_name(n, out);
}

void explain_because(const struct tg_verdict *verdict, const struct tg_trace_node *trace, struct tg_buf *out)
{
    const struct tg_trace_node *policy = NULL, *criterion;
    size_t count = 0;
    bool deny = false;

    if (verdict->undecided) {
        add_unknown(trace, out);
        return;
    }
    criterion = first_decisive(trace, &policy, &deny, &count);
    if (!trace) {
        tg_buf_adds(out, "there is no policy, and without one nobody is let in");
    } else if (verdict->decision == TG_UNAUTHENTICATED) {
        tg_buf_adds(out, "the policy asks who is calling, and there is no identity");
    } else if (!criterion) {
        tg_buf_adds(out, verdict->decision == TG_ALLOW ? "it is allowed" : "no rule allows anything");
    } else {
        tg_buf_adds(out, verdict->decision == TG_ALLOW ? "allowed" : deny ? "denied" : "nothing allows it");
        if (policy && policy->name[0] && (verdict->decision == TG_ALLOW || deny)) {
            tg_buf_adds(out, " by ");
            tg_trace_clean(out, tg_slice_str(policy->name), 80);
        }
        tg_buf_adds(out, ": ");
        add_criterion(criterion, out);
        if (count > 1)
            tg_buf_addf(out, " (and %zu more)", count - 1);
    }
}
