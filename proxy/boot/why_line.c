/*
 * why_line - one log line against the files: its route, its policies, and what became of it before or after them.
 */
#include "why.h"

/* The words of token_refused, from auth/authn.c and jose/jwt.c. */
static const struct {
    const char *name, *means;
} token_faults[] = {
    {"malformed", "it is no signed token of three parts (an opaque or encrypted one, perhaps)"},
    {"payload", "its payload is not one JSON object without duplicate members"},
    {"issuer", "no configured provider has its issuer"},
    {"provider", "the route does not take tokens of its provider"},
    {"unknown-kid", "the provider has no key of its key id"},
    {"algorithm", "its algorithm is not allowed for the provider, or does not fit the key"},
    {"signature", "its signature is not right for the key"},
    {"audience", "it was made for another audience"},
    {"expired", "it had expired"},
    {"not_before", "it is not valid yet (nbf)"},
    {"issued_ahead", "it was issued in the future (iat): a clock is wrong"},
    {"subject", "it has no sub"},
    {"type", "it is no access token (typ)"},
    {"times", "its times are no numbers, or it has no exp"},
    {"no-keys", "there were no keys of its provider"},
};

void why_take_groups(struct log_line *l, const struct tg_config *config)
{
    const struct tg_provider *p = l->facts.identity ? tg_providers_of_issuer(&config->providers, l->issuer) : NULL;

    if (p)
        log_line_take_groups(l, p->groups_claim);
}

/* By which keys; those of the configuration can be compared with. */
static struct tg_slice verified_by(const struct log_line *l, const struct tg_config *config, struct tg_arena *arena)
{
    const struct tg_provider *p = tg_providers_of_issuer(&config->providers, l->issuer);
    const char *now = "";

    if (!l->facts.identity || l->key_set.len == 0)
        return (struct tg_slice){NULL, 0};
    if (p && p->local)
        now = tg_slice_eq(l->key_set, tg_slice_str(tg_jwks_digest(p->local))) ? ", those of the configuration"
                                                                              : ", not those of the configuration now";
    return tg_arena_printf(arena, "then, by the keys " TG_S_FMT "%s", TG_S_ARG(l->key_set), now);
}

/* ---- before any policy ---- */

static const char *token_sentence(const struct log_line *l, struct tg_arena *arena)
{
    for (size_t i = 0; i < ARRAY_LEN(token_faults); i++) {
        if (tg_slice_eq(tg_slice_str(token_faults[i].name), l->token_refused))
            return tg_arena_printf(arena, "the token was refused before any policy was asked: %s",
                                   token_faults[i].means).ptr;
    }
    return NULL;
}

static const char *limit_sentence(const struct log_line *l, struct tg_arena *arena)
{
    if (l->tier.len == 0 || l->limit < 0)
        return NULL;
    return tg_arena_printf(arena, "all %lld requests of tier " TG_S_FMT " were used up; no policy was asked",
                           (long long)l->limit, TG_S_ARG(l->tier)).ptr;
}

/* A sentence for what never came to a policy. */
static const char *early_sentence(const struct explain_result *r, const struct log_line *l, struct tg_arena *arena)
{
    const char *special = NULL;

    if (l->token_refused.ptr && r->refusal && r->refusal->status == 401)
        special = token_sentence(l, arena);
    else if (r->refusal && r->refusal->status == 429)
        special = limit_sentence(l, arena);
    if (special)
        return special;
    if (r->refusal)
        return r->refusal->means;
    if (l->refused.ptr)
        return tg_arena_printf(arena, "it was refused as " TG_S_FMT ", which this version of tollgate does not know",
                               TG_S_ARG(l->refused)).ptr;
    return l->error.ptr ? "the client went away before anything was decided" : "no policy was asked";
}

/* ---- by the policies ---- */

/* What was in shadow mode and could not judge the content said so in one way; the line has no tool then. */
static bool is_no_call(const struct explain_result *r, const struct log_line *l)
{
    return r->shadow_verdict.unknown && l->has_facts && !(l->known.facts & TG_FACT_BIT(TG_FACT_MCP_TOOL)) &&
           l->shadow_reasons == TG_REASON_BIT(TG_REASON_MCP_NOT_A_TOOL_CALL);
}

enum explain_comparison why_compare(const struct tg_verdict *v, struct tg_slice decision, tg_reasons reasons)
{
    if (!v->undecided && !tg_slice_eq(decision, tg_slice_str(tg_decision_name(v->decision))))
        return EXPLAIN_DIFFERS;
    if (v->unknown)
        return EXPLAIN_UNKNOWN;
    return v->reasons == reasons ? EXPLAIN_EQUAL : EXPLAIN_DIFFERS;
}

static enum explain_comparison compare(const struct explain_result *r, const struct log_line *l)
{
    enum explain_comparison applied = why_compare(&r->verdict, l->decision, l->reasons), shadow = EXPLAIN_EQUAL;

    if (r->shadowed != (l->shadow_decision.ptr != NULL))
        return EXPLAIN_DIFFERS;
    if (r->tier && l->tier.ptr && !tg_slice_eq(r->tier->name, l->tier))
        return EXPLAIN_DIFFERS;
    if (r->shadowed && !is_no_call(r, l))
        shadow = why_compare(&r->shadow_verdict, l->shadow_decision, l->shadow_reasons);
    if (applied == EXPLAIN_DIFFERS || shadow == EXPLAIN_DIFFERS)
        return EXPLAIN_DIFFERS;
    return applied == EXPLAIN_UNKNOWN ? applied : shadow;
}

static bool asks_for_tool(const struct tg_route *route)
{
    return route->reads && route->reads->facts & TG_FACT_BIT(TG_FACT_MCP_TOOL);
}

static void judge(struct explain_result *r, const struct log_line *l, struct tg_arena *arena)
{
    if (!l->request.canonical.ptr || !explain_find_route(r, l->request.port, arena)) {
        r->stopped = "the files have no route for this host and path now";
        r->route = NULL;
        return;
    }
    r->reads_body = asks_for_tool(r->route);
    explain_judge(r, arena);
    explain_find_tier(r);
    r->compared = compare(r, l);
}

void why_line(struct explain_result *r, const struct tg_config *config, struct log_line *l, struct tg_arena *arena)
{
    *r = (struct explain_result){.request = &l->request, .config = config, .logged = l, .facts = &l->facts,
                                 .issuer = l->issuer, .provider = l->provider, .token_problem = l->token_refused};
    r->same_policies = l->policy_set.len > 0 && tg_slice_eq(l->policy_set, tg_slice_str(config->policy_set));
    if (l->facts.identity)
        r->identity_from = "log";
    r->verified = verified_by(l, config, arena);
    why_take_groups(l, config);
    if (l->judged) {
        judge(r, l, arena);
    } else if (l->request.canonical.ptr && l->route.ptr && explain_find_route(r, l->request.port, arena)) {
        explain_find_tier(r);
    }
    r->refusal = l->refused.ptr ? tg_refusal_find(l->refused) : NULL;
    r->status = l->status;
    if (l->judged)
        return;
    r->stopped = early_sentence(r, l, arena);
    if (!l->facts.identity && !r->route)
        r->facts = NULL;                                 /* nobody was asked who calls */
    else if (r->refusal && tg_slice_eq(l->refused, TG_S("malformed-credential")))
        r->token_problem = TG_S("it is malformed");
}
