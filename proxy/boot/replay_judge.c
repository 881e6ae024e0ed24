/*
 * replay_judge - a logged request decided again, by another policy or by the routes of another configuration.
 *
 * The program decides when the line holds all that it reads, which is the fast way; else the trace does, which knows
 * when a decision does not hang on what is missing.
 */
#include "replay.h"

const char *replay_access_name(enum replay_access access)
{
    static const char *const names[] = {"allow", "deny", "unauthenticated", "no-route"};

    return names[access];
}

void replay_judge_prepare(struct replay_judge *j)
{
    size_t count = tg_routes_count(j->config->routes);

    j->reads = TG_ARENA_ARRAY(j->arena, const struct tg_fact_set *, count);
    for (size_t i = 0; i < count; i++) {
        const struct tg_route *route = tg_routes_at(j->config->routes, i);

        tg_assert(route->index < count);
        j->reads[route->index] = tg_ppl_reads(&route->policy, 1, NULL, 0, j->arena);
    }
}

/* ---- what the new configuration sees otherwise ---- */

/* Of clients that were not asked for a certificate it is not known what they would have shown; without TLS: nothing. */
static void take_certificate(struct log_line *l, bool client_ca)
{
    if (!client_ca) {
        l->facts.client_cert = TG_CLIENT_CERT_VALID;
        l->facts.certificate = NULL;
        l->known.facts |= TG_FACT_BIT(TG_FACT_CLIENT_CERT);
    } else if (!l->client_cert.ptr && !l->tls) {
        l->facts.client_cert = TG_CLIENT_CERT_MISSING;
    } else if (!l->client_cert.ptr) {
        l->known.facts &= ~(TG_FACT_BIT(TG_FACT_CLIENT_CERT) | TG_FACT_BIT(TG_FACT_CERT_FINGERPRINT) |
                            TG_FACT_BIT(TG_FACT_CERT_SPKI) | TG_FACT_BIT(TG_FACT_CERT_EMAILS) |
                            TG_FACT_BIT(TG_FACT_CERT_DNS) | TG_FACT_BIT(TG_FACT_CERT_URIS) |
                            TG_FACT_BIT(TG_FACT_CERT_SUBJECT));
    }
}

/* False: it is over before a policy is asked, for want of a scope. */
static bool has_scopes(const struct tg_route *route, const struct tg_provider *provider, const struct log_line *l,
                       struct replay_decision *out)
{
    struct tg_buf required = {0}, lacking = {0};
    enum explain_scopes found = explain_scopes(route, provider, &l->facts, &required, &lacking);

    tg_buf_fini(&required);
    tg_buf_fini(&lacking);
    out->scopes = found;
    out->unknown = found == EXPLAIN_SCOPES_UNKNOWN;
    if (found == EXPLAIN_SCOPES_LACKING)
        out->now = REPLAY_DENY;
    if (found == EXPLAIN_SCOPES_NO_TOKEN)
        out->now = REPLAY_UNAUTHENTICATED;
    return found == EXPLAIN_SCOPES_NOT_ASKED || found == EXPLAIN_SCOPES_GRANTED;
}

/* False: it is over before a policy is asked. */
static bool find_program(struct replay_judge *j, struct log_line *l, struct replay_decision *out,
                         const struct tg_program **program, const struct tg_fact_set **reads)
{
    const struct tg_config *config = j->config;
    const struct explain_request *r = &l->request;
    const struct tg_provider *provider;
    const struct tg_route *route;

    if (j->policy.program) {
        *program = j->policy.program;
        *reads = j->policy.reads;
        return true;
    }
    if (tg_routes_find(config->routes, r->host, r->port, r->canonical, &l->arena, &route) != TG_ROUTE_FOUND) {
        out->now = REPLAY_NO_ROUTE;
        out->reasons = TG_REASON_BIT(TG_REASON_ROUTE_NOT_FOUND);
        return false;
    }
    *program = route->policy;
    *reads = j->reads[route->index];
    take_certificate(l, config->route_defaults.client_ca);
    if (!l->facts.identity)
        return has_scopes(route, NULL, l, out);
    provider = tg_providers_of_issuer(&config->providers, l->issuer);
    if (!provider || !(route->providers >> (provider - config->providers.items) & 1)) {
        out->now = REPLAY_UNAUTHENTICATED;               /* its token would be refused */
        out->reasons = TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED);
        return false;
    }
    log_line_take_groups(l, provider->groups_claim);
    return has_scopes(route, provider, l, out);
}

/* ---- the decision ---- */

static enum replay_access access_of(enum tg_decision decision)
{
    switch (decision) {
    case TG_ALLOW: return REPLAY_ALLOW;
    case TG_DENY: return REPLAY_DENY;
    case TG_UNAUTHENTICATED: return REPLAY_UNAUTHENTICATED;
    }
    return REPLAY_DENY;
}

static enum replay_access access_before(const struct log_line *l)
{
    if (tg_slice_eq(l->decision, TG_S("allow")))
        return REPLAY_ALLOW;
    return tg_slice_eq(l->decision, TG_S("unauthenticated")) ? REPLAY_UNAUTHENTICATED : REPLAY_DENY;
}

void replay_decide(struct replay_judge *j, struct log_line *l, struct replay_decision *out)
{
    const struct tg_program *program;
    const struct tg_fact_set *reads;
    struct tg_verdict verdict;

    *out = (struct replay_decision){.before = access_before(l)};
    if (!find_program(j, l, out, &program, &reads))
        return;
    if (explain_all_known(reads, &l->facts)) {
        l->facts.known = NULL;
        tg_ppl_decide(program, &l->facts, &verdict);
    } else {
        out->trace = tg_ppl_trace(program, &l->facts, &l->arena, &verdict);
        out->unknown = verdict.undecided;
    }
    out->now = access_of(verdict.decision);
    out->reasons = verdict.reasons;
}
