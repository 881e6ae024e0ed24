/*
 * explain_json - what was found, for programs: one object, every member always there.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "explain.h"
#include "limit_words.h"
#include "log_line.h"

/* A name with its comma, unless it is an object's first. */
static void member(struct tg_buf *out, const char *name)
{
    tg_buf_addf(out, "%s\"%s\":", out->len > 0 && out->data[out->len - 1] != '{' ? "," : "", name);
}

static void text(struct tg_buf *out, const char *name, struct tg_slice value)
{
    member(out, name);
    if (value.ptr)
        tg_log_json_string(out, value);
    else
        tg_buf_adds(out, "null");
}

static void words(struct tg_buf *out, const char *name, const char *value) { text(out, name, tg_slice_str(value)); }

static void yes_no(struct tg_buf *out, const char *name, bool value)
{
    member(out, name);
    tg_buf_adds(out, value ? "true" : "false");
}

static void number(struct tg_buf *out, const char *name, int64_t value)
{
    member(out, name);
    if (value >= 0)
        tg_buf_addf(out, "%lld", (long long)value);
    else
        tg_buf_adds(out, "null");
}

static void reasons(struct tg_buf *out, const char *name, tg_reasons set)
{
    member(out, name);
    explain_reasons_json(set, out);
}

/* ---- the request ---- */

static void client(struct tg_buf *out, const struct explain_request *r)
{
    member(out, "client_cert");
    if (!r->certificate) {
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    text(out, "subject", r->certificate->subject);
    words(out, "fingerprint", r->certificate->fingerprint);
    yes_no(out, "valid", r->client_cert == TG_CLIENT_CERT_VALID);
    tg_buf_adds(out, "}");
}

static void request(struct tg_buf *out, const struct explain_request *r)
{
    char ip[TG_IP_TEXT], when[TG_TIME_TEXT];
    struct tg_slice address = {0};

    if (r->source_ip.family)
        address = tg_slice(ip, tg_ip_format(&r->source_ip, ip));
    tg_clock_format(r->wall_ms, when);
    member(out, "request");
    tg_buf_adds(out, "{");
    text(out, "method", r->method);
    text(out, "host", r->host);
    text(out, "path", r->path);
    text(out, "path_seen", r->decoded);
    text(out, "source_ip", address);
    words(out, "time", when);
    client(out, r);
    tg_buf_adds(out, "}");
}

static void identity(struct tg_buf *out, const struct explain_result *r)
{
    member(out, "identity");
    if (!r->identity_from || !r->facts) {                /* facts NULL: it was over before anybody was asked */
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    text(out, "user", r->facts->user);
    text(out, "email", r->facts->email);
    words(out, "from", r->identity_from);
    text(out, "issuer", r->issuer);
    text(out, "provider", r->provider);
    text(out, "verified", r->verified);
    tg_buf_adds(out, "}");
}

/* ---- what counts it ---- */

static void limit_claim(struct tg_buf *out, const struct explain_window *w)
{
    static const char *const used[] = {
        [EXPLAIN_LIMIT_CLAIM] = "claim",       [EXPLAIN_LIMIT_CEILING] = "ceiling",
        [EXPLAIN_LIMIT_ABSENT] = "absent",     [EXPLAIN_LIMIT_UNUSABLE] = "unusable",
        [EXPLAIN_LIMIT_UNKNOWN] = "unknown",
    };

    member(out, "limit_claim");
    if (w->from == EXPLAIN_LIMIT_FIXED) {
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    text(out, "claim", w->window->claim);
    text(out, "value", w->said);
    number(out, "ceiling", w->window->ceiling);
    words(out, "used", used[w->from]);
    tg_buf_adds(out, "}");
}

static void windows(struct tg_buf *out, const struct explain_result *r)
{
    member(out, "windows");
    tg_buf_adds(out, "[");
    for (size_t i = 0; i < r->tier->window_count; i++) {
        const struct explain_window *w = &r->windows[i];

        tg_buf_adds(out, i ? ",{" : "{");
        text(out, "name", w->window->name);
        number(out, "limit", w->limit);
        number(out, "window_s", w->window->length_s);
        words(out, "algorithm", w->window->sliding ? "sliding" : "fixed");
        yes_no(out, "enforced", !w->window->shadow);
        limit_claim(out, w);
        tg_buf_adds(out, "}");
    }
    tg_buf_adds(out, "]");
}

static void key(struct tg_buf *out, const struct explain_result *r)
{
    bool by_claim = r->tier->by == TG_BY_CLAIM;

    words(out, "key", r->key.unknown ? NULL : tg_limit_by_name(r->key.by));
    text(out, "key_claim", by_claim ? r->tier->by_claim : (struct tg_slice){NULL, 0});
    text(out, "key_value", by_claim ? r->key.claim : (struct tg_slice){NULL, 0});
}

static void store(struct tg_buf *out, const struct explain_result *r)
{
    struct tg_buf url = {0};
    bool shared = r->config && limit_store_words(&r->config->limits, &url);

    words(out, "counter", shared ? "redis" : "memory");
    text(out, "store", shared ? tg_buf_slice(&url) : (struct tg_slice){NULL, 0});
    words(out, "when_store_fails", !shared ? NULL : r->config->limits.store_fails_deny ? "deny" : "local");
    tg_buf_fini(&url);
}

void explain_tier_json(const struct explain_result *r, struct tg_buf *out)
{
    struct tg_buf counter = {0};
    size_t first = 0;                                    /* of those that are enforced, if any is */

    if (!r->tier) {
        tg_buf_adds(out, "null");
        return;
    }
    while (first + 1 < r->tier->window_count && r->tier->windows[first].shadow)
        first++;
    if (r->tier->windows[first].shadow)
        first = 0;
    explain_counter(r, &counter);
    tg_buf_adds(out, "{");
    text(out, "name", r->tier->name);
    yes_no(out, "own", explain_is_own_tier(r));
    number(out, "limit", r->windows[first].limit);
    number(out, "window_s", r->tier->windows[first].length_s);
    yes_no(out, "enforced", !tg_tier_is_shadow(r->tier));
    windows(out, r);
    text(out, "counts", tg_buf_slice(&counter));
    key(out, r);
    store(out, r);
    tg_buf_adds(out, "}");
    tg_buf_fini(&counter);
}

static void tool(struct tg_buf *out, const struct explain_result *r)
{
    bool called = r->facts && r->facts->mcp_tool_call;

    text(out, "tool", called ? tg_slice(r->facts->mcp_tool.ptr ? r->facts->mcp_tool.ptr : "", r->facts->mcp_tool.len)
                             : (struct tg_slice){NULL, 0});
}

/* ---- what is decided ---- */

/* Only the running process could tell. */
static bool is_unknown(const struct explain_result *r) { return r->unjudged && !r->logged; }

static const char *decision(const struct explain_result *r)
{
    if (r->judged)
        return r->verdict.undecided ? NULL : tg_decision_name(r->verdict.decision);
    if (is_unknown(r))
        return NULL;
    if (r->refusal && r->refusal->status == 401)
        return "unauthenticated";
    return r->refusal && r->refusal->status == 429 ? "limit" : "none";
}

static void shadow(struct tg_buf *out, const struct explain_result *r)
{
    const struct tg_verdict *v = &r->shadow_verdict;

    member(out, "shadow");
    if (!r->shadowed) {
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    words(out, "decision", v->undecided ? NULL : tg_decision_name(v->decision));
    reasons(out, "reasons", v->reasons);
    text(out, "policy", r->shadow_policy);
    yes_no(out, "unknown", v->unknown);
    member(out, "policies");
    tg_trace_json(r->shadow_trace, out);
    tg_buf_adds(out, "}");
}

static void because(struct tg_buf *out, const struct explain_result *r)
{
    struct tg_buf sentence = {0};

    if (r->judged)
        explain_because(&r->verdict, r->trace, &sentence);
    else
        tg_buf_adds(&sentence, r->stopped);
    text(out, "because", tg_buf_slice(&sentence));
    tg_buf_fini(&sentence);
}

static void answer(struct tg_buf *out, const struct explain_result *r)
{
    struct tg_buf challenge[2] = {{0}, {0}};

    member(out, "answer");
    if (!r->refusal) {
        tg_buf_adds(out, "null");
        return;
    }
    if (r->config)
        explain_challenges(r, challenge);
    tg_buf_adds(out, "{");
    words(out, "refused", r->refusal->name);
    words(out, "details", r->refusal->details);
    text(out, "challenge", tg_buf_slice(&challenge[0]));
    words(out, "means", r->refusal->means);
    tg_buf_adds(out, "}");
    tg_buf_fini(&challenge[0]);
    tg_buf_fini(&challenge[1]);
}

/* ---- the log line ---- */

static void logged_shadow(struct tg_buf *out, const struct log_line *l)
{
    member(out, "shadow");
    if (!l->shadow_decision.ptr) {
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    text(out, "decision", l->shadow_decision);
    reasons(out, "reasons", l->shadow_reasons);
    text(out, "policy", l->shadow_policy);
    tg_buf_adds(out, "}");
}

static void shadow_limited(struct tg_buf *out, const struct log_line *l)
{
    member(out, "shadow_limited");
    if (l->shadow_limited)
        tg_json_print(out, l->shadow_limited);
    else
        tg_buf_adds(out, "null");
}

static void logged(struct tg_buf *out, const struct explain_result *r)
{
    static const char *const compared[] = {[EXPLAIN_NOT_COMPARED] = NULL, [EXPLAIN_EQUAL] = "equal",
                                           [EXPLAIN_DIFFERS] = "differs", [EXPLAIN_UNKNOWN] = "unknown"};
    const struct log_line *l = r->logged;

    text(out, "request_id", l->request_id);
    member(out, "logged");
    tg_buf_adds(out, "{");
    text(out, "decision", l->decision);
    number(out, "status", l->status);
    reasons(out, "reasons", l->reasons);
    text(out, "policy", l->policy);
    text(out, "route", l->route);
    text(out, "refused", l->refused);
    text(out, "token_refused", l->token_refused);
    text(out, "error", l->error);
    text(out, "tier", l->tier);
    number(out, "limit", l->limit);
    number(out, "remaining", l->remaining);
    text(out, "limit_key", l->limit_key);
    text(out, "window", l->window);
    text(out, "counter", l->counter);
    shadow_limited(out, l);
    text(out, "policy_set", l->policy_set);
    text(out, "key_set", l->key_set);
    yes_no(out, "facts", l->has_facts);
    words(out, "omitted", l->omitted);
    logged_shadow(out, l);
    tg_buf_adds(out, "}");
    yes_no(out, "same_policies", r->same_policies);
    words(out, "compared", compared[r->compared]);
}

void explain_print_json(const struct explain_result *r, struct tg_buf *out)
{
    tg_buf_adds(out, "{");
    if (r->logged)
        logged(out, r);
    request(out, r->request);
    text(out, "route", r->route ? r->route->name : (struct tg_slice){NULL, 0});
    text(out, "to", r->route && r->route->target_count ? r->route->targets[0].text : (struct tg_slice){NULL, 0});
    identity(out, r);
    text(out, "token_error", r->token_problem);
    words(out, "token_unknown", r->unjudged);
    text(out, "bound", r->bound);
    text(out, "scopes_required", r->scopes);
    text(out, "scopes_lacking", r->scopes_lacking);
    member(out, "tier");
    explain_tier_json(r, out);
    tool(out, r);
    member(out, "policies");
    tg_trace_json(r->trace, out);
    shadow(out, r);
    words(out, "decision", decision(r));
    number(out, "status", is_unknown(r) || (r->judged && r->verdict.undecided && !r->logged) ? -1 : (int64_t)r->status);
    reasons(out, "reasons", r->judged ? r->verdict.reasons : 0);
    yes_no(out, "unknown", r->judged && r->verdict.unknown);
    text(out, "policy", r->policy);
    text(out, "explanation", r->explanation);
    text(out, "remediation", r->remediation);
    words(out, "error", r->stopped);
    words(out, "advice", r->advice);
    because(out, r);
    answer(out, r);
    tg_buf_adds(out, "}");
}
