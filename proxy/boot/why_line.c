/*
 * why_line - one log line against the files: its route, its policies, and what became of it before or after them.
 */
#include "token_words.h"
#include "why.h"

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
    const struct token_word *word = token_word_find(l->token_refused);

    if (!word)
        return NULL;
    return tg_arena_printf(arena, word->unjudged ? "nobody could say whether the token is good: %s"
                                                 : "the token was refused before any policy was asked: %s",
                           word->means).ptr;
}

/* By the files at hand, when they still say so. */
static const char *scope_sentence(struct explain_result *r, struct tg_arena *arena)
{
    enum explain_scopes found = explain_find_scopes(r, arena);
    bool refused = tg_slice_eq(r->logged->refused, tg_slice_str(tg_refusals[TG_REFUSE_SCOPE].name));

    if (refused ? found == EXPLAIN_SCOPES_LACKING : found == EXPLAIN_SCOPES_NO_TOKEN)
        return tg_arena_printf(arena, "%s; no policy was asked", explain_scope_sentence(r, found, arena)).ptr;
    return NULL;
}


/* A sentence for what never came to a policy. */
static const char *early_sentence(struct explain_result *r, const struct log_line *l, struct tg_arena *arena)
{
    const char *special = NULL;

    if (l->token_refused.ptr && r->refusal && (r->refusal->status == 401 || r->refusal->status == 503))
        special = token_sentence(l, arena);
    else if (why_is_limit(l))
        special = why_limit(r, arena);
    else if (r->refusal == &tg_refusals[TG_REFUSE_SCOPE] || r->refusal == &tg_refusals[TG_REFUSE_NO_TOKEN])
        special = scope_sentence(r, arena);
    if (special)
        return special;
    if (r->refusal)
        return r->refusal->means;
    if (l->refused.ptr)
        return tg_arena_printf(arena, "it was refused as " TG_S_FMT ", which this version of tollgate does not know",
                               TG_S_ARG(l->refused)).ptr;
    if (l->status < 400 && !l->error.ptr)
        return "tollgate answered it itself: it is published under /.well-known for everybody; no policy was asked";
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
    if (why_limits_differ(r))
        return EXPLAIN_DIFFERS;
    if (r->shadowed && !is_no_call(r, l))
        shadow = why_compare(&r->shadow_verdict, l->shadow_decision, l->shadow_reasons);
    if (applied == EXPLAIN_DIFFERS || shadow == EXPLAIN_DIFFERS || r->scopes_lacking.ptr)
        return EXPLAIN_DIFFERS;
    if (r->scopes_unknown)
        return EXPLAIN_UNKNOWN;
    return applied == EXPLAIN_UNKNOWN ? applied : shadow;
}

static bool asks_for_tool(const struct tg_route *route)
{
    return route->reads && route->reads->facts & TG_FACT_BIT(TG_FACT_MCP_TOOL);
}

/* What would have been over before its policies were asked, had these files been in force. */
static enum explain_comparison compare_scopes(struct explain_result *r, struct tg_arena *arena)
{
    return explain_find_scopes(r, arena) == EXPLAIN_SCOPES_NO_TOKEN ? EXPLAIN_DIFFERS : compare(r, r->logged);
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
    explain_find_tier(r, arena);
    r->compared = compare_scopes(r, arena);
}

/* What the log says of a token that was not taken. */
static void take_token(struct explain_result *r, const struct log_line *l)
{
    const struct token_word *word = token_word_find(l->token_refused);

    r->token_problem = l->token_refused;
    if (word && word->unjudged) {
        r->token_problem = (struct tg_slice){NULL, 0};
        r->unjudged = word->means;
    }
    r->dpop = tg_slice_starts_with(l->token_refused, TG_S("proof-")) ||
              tg_slice_eq(l->token_refused, TG_S("bound-scheme")) || tg_slice_eq(l->token_refused, TG_S("bound-not"));
    if (l->bound.ptr)
        r->bound = tg_slice_eq(l->bound, TG_S("dpop")) ? TG_S("to a DPoP key, whose proof was checked")
                                                       : TG_S("to the client's certificate, which was the one shown");
}

void why_line(struct explain_result *r, const struct tg_config *config, struct log_line *l, struct tg_arena *arena)
{
    *r = (struct explain_result){.request = &l->request, .config = config, .logged = l, .facts = &l->facts,
                                 .issuer = l->issuer, .provider = l->provider};
    r->same_policies = l->policy_set.len > 0 && tg_slice_eq(l->policy_set, tg_slice_str(config->policy_set));
    if (l->facts.identity)
        r->identity_from = "log";
    r->verified = verified_by(l, config, arena);
    why_take_groups(l, config);
    if (l->judged) {
        judge(r, l, arena);
    } else if (l->request.canonical.ptr && l->route.ptr && explain_find_route(r, l->request.port, arena)) {
        explain_find_tier(r, arena);
    }
    r->refusal = l->refused.ptr ? tg_refusal_find(l->refused) : NULL;
    r->status = l->status;
    take_token(r, l);
    if (l->judged)
        return;
    r->stopped = early_sentence(r, l, arena);
    if (!l->facts.identity && !r->route)
        r->facts = NULL;                                 /* nobody was asked who calls */
    else if (r->refusal && tg_slice_eq(l->refused, TG_S("malformed-credential")))
        r->token_problem = TG_S("it is malformed");
}
