/*
 * explain_print - what was found, as a page for people: what was asked, who asks, every policy, and last the status
 * with the reason in words.
 */
#include "base/clock.h"
#include "base/json.h"
#include "explain.h"
#include "limit_words.h"
#include "log_line.h"
#include "terminal.h"

#define SHOWN_BYTES 200                                  /* of a value */

struct painter {
    struct tg_buf *out;
    bool colour;
};

static void paint(const struct painter *p, const char *colour, const char *text)
{
    add_coloured(p->out, p->colour, colour, text);
}

static void label(const struct painter *p, const char *text)
{
    struct tg_buf padded = {0};

    tg_buf_addf(&padded, "%-10s", text);
    paint(p, BOLD, tg_buf_cstr(&padded));
    tg_buf_fini(&padded);
}

static void clean(const struct painter *p, struct tg_slice text) { tg_trace_clean(p->out, text, SHOWN_BYTES); }

static void line(const struct painter *p, const char *name, struct tg_slice text)
{
    if (text.len == 0)
        return;
    label(p, name);
    tg_trace_clean(p->out, text, SHOWN_BYTES * 4);
    tg_buf_adds(p->out, "\n");
}

static void add_reasons(struct tg_buf *out, tg_reasons reasons)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(reasons, names);

    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s%s", i ? ", " : "", names[i]);
    if (count == 0)
        tg_buf_adds(out, "no reason");
}

/* ---- what the line says ---- */

static void text_logged_decision(const struct painter *p, const struct log_line *l)
{
    label(p, "logged");
    paint(p, tg_slice_eq(l->decision, TG_S("allow")) ? GREEN : RED,
          tg_slice_eq(l->decision, TG_S("none")) ? "no decision" : tg_slice_eq(l->decision, TG_S("allow")) ? "allow" :
          tg_slice_eq(l->decision, TG_S("deny")) ? "deny" : tg_slice_eq(l->decision, TG_S("limit")) ? "limit" :
          "unauthenticated");
    if (l->judged) {
        tg_buf_adds(p->out, ", because of ");
        add_reasons(p->out, l->reasons);
    }
    if (l->policy.len > 0) {
        tg_buf_adds(p->out, ", by policy ");
        clean(p, l->policy);
    }
    if (l->refused.len > 0) {
        tg_buf_adds(p->out, ", refused as ");
        clean(p, l->refused);
    }
    if (l->error.len > 0) {
        tg_buf_adds(p->out, ", error ");
        clean(p, l->error);
    }
    tg_buf_addf(p->out, ", status %u\n", l->status);
}

static void text_policy_set(const struct painter *p, const struct explain_result *r)
{
    const struct log_line *l = r->logged;

    label(p, "files");
    if (r->same_policies) {
        tg_buf_adds(p->out, "the routes, policies and tiers that decided it\n");
        return;
    }
    if (l->policy_set.ptr) {
        paint(p, YELLOW, "not those that decided it");
        tg_buf_adds(p->out, ": policy_set was ");
        clean(p, l->policy_set);
        tg_buf_addf(p->out, ", is %s; what follows is what the files say now\n", r->config->policy_set);
    } else {
        paint(p, YELLOW, "perhaps not those that decided it");
        tg_buf_adds(p->out, ": the line has no policy_set; what follows is what the files say now\n");
    }
}

static void text_logged(const struct painter *p, const struct explain_result *r)
{
    const struct log_line *l = r->logged;
    char when[TG_TIME_TEXT];

    tg_clock_format(l->request.wall_ms, when);
    label(p, "id");
    clean(p, l->request_id.ptr ? l->request_id : TG_S("none"));
    tg_buf_addf(p->out, ", %s\n", when);
    text_logged_decision(p, l);
    text_policy_set(p, r);
    if (!l->has_facts && l->judged)
        line(p, "missing", TG_S("the facts of the token: access_log.facts was off, or tollgate older than them"));
    if (l->omitted) {
        label(p, "missing");
        clean(p, tg_slice_str(l->omitted));
        tg_buf_adds(p->out, ": too large to be logged\n");
    }
}

/* ---- the request ---- */

static void text_request(const struct painter *p, const struct explain_request *r)
{
    char ip[TG_IP_TEXT];

    label(p, "request");
    clean(p, r->method.ptr ? r->method : TG_S("(not logged)"));
    tg_buf_addc(p->out, ' ');
    clean(p, r->host);
    if (r->port >= 0)
        tg_buf_addf(p->out, ":%d", r->port);
    clean(p, r->path);
    if (r->source_ip.family) {
        tg_ip_format(&r->source_ip, ip);
        tg_buf_addf(p->out, " from %s", ip);
    }
    tg_buf_adds(p->out, "\n");
    if (r->decoded.ptr && !tg_slice_eq(r->decoded, r->path)) {
        label(p, "path");
        clean(p, r->decoded);
        tg_buf_adds(p->out, " is what policies see\n");
    }
}

static void text_client(const struct painter *p, const struct explain_request *r)
{
    if (r->client_cert == TG_CLIENT_CERT_VALID && !r->certificate)
        return;
    label(p, "client");
    if (r->certificate) {
        clean(p, r->certificate->subject);
        tg_buf_addf(p->out, "%sSHA-256 %.16s..., ", r->certificate->subject.len > 0 ? ", " : "",
                    r->certificate->fingerprint);
    }
    switch (r->client_cert) {
    case TG_CLIENT_CERT_VALID: paint(p, GREEN, "its certificate is valid"); break;
    case TG_CLIENT_CERT_INVALID: paint(p, RED, "its certificate is not valid"); break;
    case TG_CLIENT_CERT_MISSING: paint(p, RED, "no certificate"); break;
    }
    tg_buf_adds(p->out, "\n");
}

static void text_route(const struct painter *p, const struct explain_result *r)
{
    if (!r->route)
        return;
    label(p, "route");
    clean(p, r->route->name);
    for (size_t i = 0; i < r->route->target_count; i++) {
        tg_buf_adds(p->out, i ? " or " : " to ");
        clean(p, r->route->targets[i].text);
    }
    tg_buf_adds(p->out, "\n");
}

/* ---- who calls ---- */

static void text_source(const struct painter *p, const struct explain_result *r)
{
    if (strcmp(r->identity_from, "claims") == 0)
        tg_buf_adds(p->out, ", by claims that were given, not verified");
    else
        tg_buf_addf(p->out, ", by %s", strcmp(r->identity_from, "log") == 0 ? "the token of the request" : "token");
    if (r->provider.len > 0) {
        tg_buf_adds(p->out, ", provider ");
        clean(p, r->provider);
    }
    tg_buf_adds(p->out, "\n");
    line(p, "verified", r->verified);
}

static void text_identity(const struct painter *p, const struct explain_result *r)
{
    label(p, "identity");
    if (r->unjudged) {
        paint(p, YELLOW, r->logged ? "none: nobody could say what the token is: " : "not known: ");
        tg_buf_adds(p->out, r->unjudged);
    } else if (r->token_problem.ptr) {
        paint(p, RED, "none: the token is refused: ");
        tg_trace_clean(p->out, r->token_problem, SHOWN_BYTES * 3);
    } else if (!r->identity_from) {
        tg_buf_adds(p->out, "none: no token");
    } else {
        tg_buf_adds(p->out, "user ");
        clean(p, r->facts->user.len > 0 ? r->facts->user : TG_S("without a name (a token without sub is refused)"));
        if (r->facts->email.len > 0) {
            tg_buf_adds(p->out, ", email ");
            clean(p, r->facts->email);
        }
        text_source(p, r);
        return;
    }
    tg_buf_adds(p->out, "\n");
}

/* How the token is bound, and what it has to be good for before a policy is asked. */
static void text_demands(const struct painter *p, const struct explain_result *r)
{
    line(p, "bound", r->bound);
    if (!r->scopes.ptr)
        return;
    label(p, "scopes");
    clean(p, r->scopes);
    tg_buf_adds(p->out, r->scopes.len > 0 && memchr(r->scopes.ptr, ' ', r->scopes.len) ? " are" : " is");
    tg_buf_adds(p->out, " required");
    if (r->scopes_lacking.ptr) {
        tg_buf_adds(p->out, ": ");
        paint(p, RED, "the token lacks ");
        clean(p, r->scopes_lacking);
    } else if (r->scopes_unknown) {
        tg_buf_adds(p->out, "; what the token was granted was not logged");
    } else if (r->facts->identity) {
        tg_buf_adds(p->out, " and granted");
    }
    tg_buf_adds(p->out, "\n");
}

/* A single limit stands beside the name, several each on a line. */
static void text_tier_name(const struct painter *p, const struct explain_result *r)
{
    clean(p, r->tier->name);
    if (explain_is_own_tier(r))
        tg_buf_adds(p->out, " (of this route)");
    tg_buf_adds(p->out, ": ");
    if (r->tier->window_count == 1)
        explain_limit(&r->windows[0], p->out);
    else
        tg_buf_addf(p->out, "%zu limits at once", r->tier->window_count);
}

static void text_logged_tier(const struct painter *p, const struct log_line *l)
{
    tg_buf_adds(p->out, "; logged: ");
    clean(p, l->tier);
    if (tg_slice_eq(l->refused, tg_slice_str(tg_refusals[TG_REFUSE_NO_COUNTER].name))) {
        tg_buf_adds(p->out, ", not counted");
        return;
    }
    tg_buf_addf(p->out, ", %lld of %lld left", (long long)l->remaining, (long long)l->limit);
    if (l->window.len > 0) {
        tg_buf_adds(p->out, " of ");
        clean(p, l->window);
    }
}

static void text_limits(const struct painter *p, const struct explain_result *r)
{
    for (size_t i = 0; i < r->tier->window_count; i++) {
        label(p, "limit");
        explain_limit(&r->windows[i], p->out);
        tg_buf_adds(p->out, "\n");
    }
}

/* What the files say, and what the line says was otherwise. */
static void text_where(const struct painter *p, const struct explain_result *r)
{
    const struct log_line *l = r->logged;

    tg_buf_adds(p->out, "; in ");
    if (!limit_store_words(&r->config->limits, p->out))
        tg_buf_adds(p->out, "memory");
    else if (r->config->limits.store_fails_deny)
        tg_buf_adds(p->out, "; while that is away nobody is admitted");
    else
        tg_buf_adds(p->out, ", or in memory while that is away");
    if (l && tg_slice_eq(l->counter, TG_S("local")))
        paint(p, YELLOW, "; logged: in memory, as the store was away");
}

static void text_shadow_limited(const struct painter *p, const struct log_line *l)
{
    const cJSON *name;
    struct tg_slice text;
    size_t n = 0;

    label(p, "shadow");
    paint(p, YELLOW, "limits that are not enforced were used up: ");
    cJSON_ArrayForEach(name, l->shadow_limited) {
        if (!tg_json_str(name, &text))
            continue;
        tg_buf_adds(p->out, n++ ? ", " : "");
        clean(p, text);
    }
    tg_buf_adds(p->out, "; enforced, they would have answered 429\n");
}

static void text_tier(const struct painter *p, const struct explain_result *r)
{
    const struct log_line *l = r->logged;

    if (!r->tier && !r->tier_unknown)
        return;
    label(p, "tier");
    if (r->tier_unknown)
        tg_buf_adds(p->out, "(not logged what it hangs on)");
    else
        text_tier_name(p, r);
    if (l && l->tier.len > 0 && l->remaining >= 0)
        text_logged_tier(p, l);
    tg_buf_adds(p->out, "\n");
    if (r->tier && r->tier->window_count > 1)
        text_limits(p, r);
    label(p, "counts");
    explain_counter(r, p->out);
    if (r->tier)
        text_where(p, r);
    tg_buf_adds(p->out, "\n");
    if (l && l->shadow_limited)
        text_shadow_limited(p, l);
}

static void text_content(const struct painter *p, const struct explain_result *r)
{
    if (!r->reads_body || !r->facts)
        return;
    label(p, "content");
    if (r->body_problem) {
        paint(p, RED, "cannot be judged: ");
        clean(p, tg_slice_str(r->body_problem));
    } else if (r->facts->known && !(r->facts->known->facts & TG_FACT_BIT(TG_FACT_MCP_TOOL))) {
        tg_buf_adds(p->out, "(not logged)");
    } else if (r->facts->mcp_tool_call) {
        tg_buf_adds(p->out, "calls the tool ");
        clean(p, r->facts->mcp_tool);
    } else {
        tg_buf_adds(p->out, "calls no tool");
    }
    tg_buf_adds(p->out, "\n");
}

/* ---- what is decided ---- */

static void text_outcome(const struct painter *p, const struct tg_verdict *v, const struct tg_trace_node *trace)
{
    if (v->undecided) {
        paint(p, YELLOW, "cannot be told");
        tg_buf_adds(p->out, ": ");
        explain_because(v, trace, p->out);
        return;
    }
    paint(p, v->decision == TG_ALLOW ? GREEN : RED, tg_decision_name(v->decision));
    tg_buf_adds(p->out, ", because of ");
    add_reasons(p->out, v->reasons);
    if (v->unknown)
        tg_buf_adds(p->out, " (and perhaps more: not all was logged)");
}

static void text_policies(const struct painter *p, const struct explain_result *r)
{
    label(p, "policies");
    tg_buf_adds(p->out, !r->trace ? "none, which denies\n" : r->verdict.undecided ? "\n" : "(* decided)\n");
    tg_trace_text(r->trace, 1, p->colour, p->out);
}

static bool is_among(const struct tg_trace_node *policy, const struct tg_trace_node *others)
{
    for (; others; others = others->next) {
        if (strcmp(others->name, policy->name) == 0)
            return true;
    }
    return false;
}

/* Those that are applied too are not told twice. */
static void text_shadow(const struct painter *p, const struct explain_result *r)
{
    if (!r->shadowed)
        return;
    label(p, "shadow");
    tg_buf_adds(p->out, r->route->shadow_mode ? "the route is not enforced; if it were: "
                                              : "policies that are not applied; if they were: ");
    text_outcome(p, &r->shadow_verdict, r->shadow_trace);
    tg_buf_adds(p->out, "\n");
    for (const struct tg_trace_node *n = r->shadow_trace; n; n = n->next) {
        struct tg_trace_node alone = *n;

        alone.next = NULL;
        if (!is_among(n, r->trace))
            tg_trace_text(&alone, 1, p->colour, p->out);
    }
}

static void text_decision(const struct painter *p, const struct explain_result *r)
{
    label(p, r->compared == EXPLAIN_DIFFERS ? "now" : "decision");
    if (r->compared == EXPLAIN_DIFFERS)
        paint(p, YELLOW, "the files decide otherwise: ");
    if (r->judged)
        text_outcome(p, &r->verdict, r->trace);
    else if (r->unjudged && !r->logged)
        tg_buf_adds(p->out, "cannot be told");
    else
        tg_buf_adds(p->out, r->logged && r->logged->judged ? "not by the files: they have no such route"
                                                           : "none: no policy is asked");
    tg_buf_adds(p->out, "\n");
    if (!r->judged || r->verdict.decision == TG_ALLOW || r->compared == EXPLAIN_DIFFERS)
        return;
    line(p, "policy", r->policy);
    line(p, "says", r->explanation);
    line(p, "do", r->remediation);
}

/* What the client gets to read. */
static void text_answer(const struct painter *p, const struct explain_result *r)
{
    const struct tg_refusal_row *f = r->refusal;
    struct tg_buf challenge[2] = {{0}, {0}};

    if (!f)
        return;
    label(p, "answer");
    if (r->judged && r->route && r->route->show_error_details && (r->explanation.len > 0 || r->remediation.len > 0)) {
        clean(p, r->explanation);
        tg_buf_adds(p->out, r->explanation.len > 0 && r->remediation.len > 0 ? " " : "");
        clean(p, r->remediation);
    } else {
        tg_buf_adds(p->out, f->details);
    }
    tg_buf_adds(p->out, "\n");
    if (!r->config)
        return;
    size_t n = explain_challenges(r, challenge);

    for (size_t i = 0; i < n; i++) {
        line(p, "challenge", tg_buf_slice(&challenge[i]));
        tg_buf_fini(&challenge[i]);
    }
}

static void text_status_number(const struct painter *p, unsigned status)
{
    struct tg_buf text = {0};
    const char *reason = tg_status_reason(status);

    tg_buf_addf(&text, "%u%s%s", status, *reason ? " " : "", reason);
    paint(p, status < 400 ? BOLD GREEN : BOLD RED, tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

static void text_status(const struct painter *p, const struct explain_result *r)
{
    label(p, "status");
    if (r->unjudged || (r->judged && r->verdict.undecided)) {
        paint(p, YELLOW, "unknown");
        tg_buf_addf(p->out, "%s%s\n", r->unjudged ? ": " : "", r->unjudged ? r->stopped : "");
        return;
    }
    if (r->judged && r->verdict.decision == TG_ALLOW) {
        paint(p, BOLD GREEN, "200");
        tg_buf_adds(p->out, ": goes to the service, ");
    } else {
        text_status_number(p, r->status);
        tg_buf_adds(p->out, ": ");
    }
    if (r->judged)
        explain_because(&r->verdict, r->trace, p->out);
    else
        tg_buf_adds(p->out, r->stopped);
    tg_buf_adds(p->out, "\n");
}

/* ---- the end of `why` ---- */

static void text_logged_status(const struct painter *p, const struct explain_result *r)
{
    const struct log_line *l = r->logged;

    label(p, "status");
    if (l->status == 0)
        paint(p, YELLOW, "none");
    else
        text_status_number(p, l->status);
    tg_buf_adds(p->out, ": ");
    if (!l->judged) {
        tg_buf_adds(p->out, r->stopped);
    } else if (r->refusal && tg_slice_eq(l->decision, TG_S("allow"))) {
        tg_buf_adds(p->out, r->refusal->means);
    } else if (r->compared == EXPLAIN_EQUAL) {
        explain_because(&r->verdict, r->trace, p->out);
    } else {
        tg_buf_adds(p->out, "logged because of ");
        add_reasons(p->out, l->reasons);
    }
    tg_buf_adds(p->out, "\n");
}

void explain_print_text(const struct explain_result *r, bool colour, struct tg_buf *out)
{
    struct painter p = {out, colour};

    if (r->logged)
        text_logged(&p, r);
    text_request(&p, r->request);
    text_client(&p, r->request);
    text_route(&p, r);
    if (r->facts) {
        text_identity(&p, r);
        text_demands(&p, r);
        if (r->config)
            text_tier(&p, r);
    }
    text_content(&p, r);
    if (r->judged) {
        text_policies(&p, r);
        text_shadow(&p, r);
    }
    text_decision(&p, r);
    text_answer(&p, r);
    line(&p, "do", tg_slice_str(r->advice ? r->advice : ""));
    if (r->logged)
        text_logged_status(&p, r);
    else
        text_status(&p, r);
}
