/*
 * policy_case - runs the cases of one policy: each by itself, by the functions that serve requests.
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/setting.h"
#include "plain.h"
#include "policy_test.h"

#define SHOWN_BYTES 100                                  /* of a value from a file */
#define NAME_BYTES 60                                    /* of a criterion's name */

static const char *const decisions[] = {[TG_ALLOW] = "allow", [TG_DENY] = "deny",
                                        [TG_UNAUTHENTICATED] = "unauthenticated"};

struct expectation {
    enum tg_decision decision;
    bool has_reasons;
    tg_reasons reasons;
};
/* What came: a verdict, or why the request is refused before any policy is asked. */
struct outcome {
    struct tg_verdict verdict;
    const char *refused;                                 /* NULL: it was judged */
    const struct tg_trace_node *trace;
};
struct running {
    struct policy_test *test;
    struct written_request *written;
    struct tg_arena scratch;                             /* of one case */
};

/* ---- what is expected ---- */

static void read_decision(struct policy_test *t, const cJSON *node, struct expectation *out)
{
    const cJSON *expect = tg_json_get(node, "expect");
    struct tg_slice text;
    const char *near;

    if (!expect) {
        tg_problem_at(&t->problems, t->written, node, "expect: is missing: allow, deny or unauthenticated");
        return;
    }
    if (tg_json_str(expect, &text))
        for (size_t i = 0; i < ARRAY_LEN(decisions); i++)
            if (tg_slice_eq(text, tg_slice_str(decisions[i]))) {
                out->decision = (enum tg_decision)i;
                return;
            }
    near = cJSON_IsString(expect) ? tg_nearest(expect->valuestring, decisions, ARRAY_LEN(decisions)) : NULL;
    tg_problem_at(&t->problems, t->written, expect, "expect: must be allow, deny or unauthenticated%s%s%s",
                  near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static void read_reason(struct policy_test *t, const cJSON *node, struct expectation *out)
{
    const char *names[TG_REASON_COUNT], *near;
    struct tg_slice text;
    enum tg_reason reason;

    if (!tg_json_str(node, &text)) {
        tg_problem_at(&t->problems, t->written, node, "reasons: must be a list of names, as [email-ok]");
        return;
    }
    reason = tg_reason_find(text);
    if (reason != TG_REASON_COUNT) {
        out->reasons |= TG_REASON_BIT(reason);
        return;
    }
    for (unsigned i = 0; i < TG_REASON_COUNT; i++)
        names[i] = tg_reason_name((enum tg_reason)i);
    near = tg_nearest(node->valuestring, names, TG_REASON_COUNT);
    tg_problem_at(&t->problems, t->written, node, "reasons: there is no reason \"%.60s\"%s%s%s", node->valuestring,
                  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static void read_reasons(struct policy_test *t, const cJSON *list, struct expectation *out)
{
    const cJSON *node;

    if (!list || cJSON_IsNull(list))
        return;
    out->has_reasons = true;
    if (!cJSON_IsArray(list)) {
        tg_problem_at(&t->problems, t->written, list, "reasons: must be a list of names, as [email-ok]");
        return;
    }
    cJSON_ArrayForEach(node, list)
        read_reason(t, node, out);
}

/* ---- one case, read ---- */

static void name_case(struct policy_test *t, struct test_case *c, size_t number)
{
    const cJSON *name = tg_json_get(c->node, "name");

    c->name = tg_arena_printf(&t->arena, "case %zu", number);
    if (!name || cJSON_IsNull(name))
        return;
    if (!tg_json_str(name, &c->name) || c->name.len == 0)
        tg_problem_at(&t->problems, t->written, name, "name: must be text");
}

static bool read_case(struct running *r, struct test_case *c, size_t number, struct expectation *expected)
{
    static const char *const names[] = {"name", "request", "expect", "reasons"};
    struct policy_test *t = r->test;
    const cJSON *request = tg_json_get(c->node, "request");
    size_t errors = t->problems.errors;

    if (!cJSON_IsObject(c->node)) {
        tg_problem_at(&t->problems, t->written, c->node, "a case must be a mapping {name, request, expect}");
        return false;
    }
    refuse_unknown_members(t->written, c->node, "a case", names, ARRAY_LEN(names), &t->problems);
    name_case(t, c, number);
    read_decision(t, c->node, expected);
    read_reasons(t, tg_json_get(c->node, "reasons"), expected);
    if (!request)
        tg_problem_at(&t->problems, t->written, c->node, "request: is missing; {} is a GET of / without a token");
    else if (written_request_read(t->written, request, &r->scratch, r->written, &t->problems) &&
             (t->policy.reads->facts & TG_FACT_BIT(TG_FACT_TIME)) && !tg_json_get(request, "time"))
        tg_problem_at(&t->problems, t->written, request,
                      "request.time: is missing: the policy looks at the time, and a test must not depend on when it "
                      "runs");
    return t->problems.errors == errors;
}

/* ---- one case, decided ---- */

static void decide(struct running *r, struct outcome *out)
{
    struct explain_request *request = &r->written->request;
    struct tg_facts facts;
    struct tg_err err;

    out->verdict.decision = TG_DENY;
    if (!request->source_ip.family)                      /* one of documentation: nobody's */
        tg_ip_parse(TG_S("192.0.2.10"), &request->source_ip);
    if (explain_path(request, &r->scratch, &err) != TG_OK) {
        out->refused = tg_arena_printf(&r->scratch, "%s", err.text).ptr;
        return;
    }
    explain_facts(request, &facts);
    if (r->written->claims)
        explain_identity(r->written->claims, &facts);
    if ((r->test->policy.reads->facts & TG_FACT_BIT(TG_FACT_MCP_TOOL)) &&
        explain_body(r->written->body, &r->scratch, &facts, &err) != TG_OK)
        out->refused = tg_arena_printf(&r->scratch, "%s", err.text).ptr;
    else
        out->trace = tg_ppl_trace(r->test->policy.program, &facts, &r->scratch, &out->verdict);
}

static bool is_met(const struct expectation *e, const struct outcome *o)
{
    return e->decision == o->verdict.decision && (!e->has_reasons || e->reasons == o->verdict.reasons);
}

/* ---- telling a failed one ---- */

static void add_reasons(struct tg_buf *out, tg_reasons reasons)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(reasons, names);

    tg_buf_adds(out, count ? " because of " : " without a reason");
    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s%s", i ? ", " : "", names[i]);
}

static struct tg_slice keep(struct policy_test *t, struct tg_buf *text)
{
    struct tg_slice out = tg_arena_dup(&t->arena, tg_buf_slice(text));

    tg_buf_fini(text);
    return out;
}

static struct tg_slice cut(struct tg_slice s) { return cut_text(s, SHOWN_BYTES); }

static struct tg_slice request_text(struct running *r)
{
    const struct explain_request *request = &r->written->request;
    char time[TG_TIME_TEXT], ip[TG_IP_TEXT];
    struct tg_facts facts = {0};
    struct tg_buf text = {0};

    tg_ip_format(&request->source_ip, ip);
    tg_buf_add_slice(&text, cut(request->method));
    tg_buf_addc(&text, ' ');
    tg_buf_add_slice(&text, cut(request->path));
    tg_buf_addf(&text, " from %s", ip);
    if (r->written->claims) {
        explain_identity(r->written->claims, &facts);
        tg_buf_adds(&text, ", user ");
        tg_buf_add_slice(&text, cut(facts.user));
        if (facts.email.len > 0) {
            tg_buf_adds(&text, ", email ");
            tg_buf_add_slice(&text, cut(facts.email));
        }
    } else {
        tg_buf_adds(&text, ", no token");
    }
    if (r->test->policy.reads->facts & TG_FACT_BIT(TG_FACT_TIME)) {
        tg_clock_format(request->wall_ms, time);
        tg_buf_addf(&text, ", at %s", time);
    }
    return keep(r->test, &text);
}

static void tell(struct running *r, struct test_case *c, const struct expectation *e, const struct outcome *o)
{
    struct tg_buf expected = {0}, came = {0}, trace = {0};

    tg_buf_adds(&expected, decisions[e->decision]);
    if (e->has_reasons)
        add_reasons(&expected, e->reasons);
    tg_buf_adds(&came, decisions[o->verdict.decision]);
    if (o->refused)
        tg_buf_addf(&came, ": 400 before any policy is asked: %s", o->refused);
    else
        add_reasons(&came, o->verdict.reasons);
    if (o->trace)
        tg_trace_text(o->trace, 2, r->test->colour, &trace);
    c->expected = keep(r->test, &expected);
    c->came = keep(r->test, &came);
    c->trace = keep(r->test, &trace);
    c->request = request_text(r);
}

/* ---- which criteria were true and false ---- */

static void cover(struct policy_test *t, const struct tg_trace_node *node, size_t *next)
{
    for (; node; node = node->next) {
        struct test_criterion *c;

        if (node->kind != TG_TRACE_CRITERION) {
            cover(t, node->children, next);
            continue;
        }
        tg_assert(*next < t->criterion_count);
        c = &t->criteria[(*next)++];
        if (node->value)
            c->was_true = true;
        else if ((node->reasons & TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED)) &&
                 strcmp(node->name, "authenticated_user") != 0)
            c->was_anonymous = true;
        else
            c->was_false = true;
    }
}

const char *test_criterion_lacks(const struct test_criterion *c)
{
    bool needs_true = strcmp(c->node->string, "reject") != 0 && !c->was_true;
    bool needs_false = strcmp(c->node->string, "accept") != 0 && !c->was_false;

    if (needs_true && needs_false)
        return c->was_anonymous ? "never true, and false only without a token" : "never true, never false";
    if (needs_true)
        return "never true";
    if (needs_false)
        return c->was_anonymous ? "false only without a token" : "never false";
    return NULL;
}

void test_criterion_text(const struct test_criterion *c, struct tg_buf *out)
{
    struct tg_buf data = {0};
    struct tg_slice shown;

    tg_json_print(&data, c->node);
    shown = cut(tg_buf_slice(&data));
    tg_buf_add_slice(out, cut_text(tg_slice_str(c->node->string), NAME_BYTES));
    tg_buf_addc(out, ' ');
    tg_buf_add_slice(out, shown);
    tg_buf_adds(out, shown.len < data.len ? "..." : "");
    tg_buf_fini(&data);
}

/* ---- all of them ---- */

static void run_case(struct running *r, struct test_case *c, size_t number)
{
    struct policy_test *t = r->test;
    struct expectation expected = {0};
    struct outcome outcome = {0};
    size_t next = 0;

    if (read_case(r, c, number, &expected)) {
        decide(r, &outcome);
        cover(t, outcome.trace, &next);
        c->passed = is_met(&expected, &outcome);
        if (!c->passed)
            tell(r, c, &expected, &outcome);
        t->failed += !c->passed;
    }
    written_request_fini(r->written);
    tg_arena_reset(&r->scratch);
}

static void run_cases(struct policy_test *t, const cJSON *list)
{
    struct running r = {.test = t, .written = TG_NEW(struct written_request)};
    const cJSON *node;

    tg_arena_init(&r.scratch, NULL, 0);
    t->cases = TG_ARENA_ARRAY(&t->arena, struct test_case, cJSON_GetArraySize(list));
    cJSON_ArrayForEach(node, list) {
        struct test_case *c = &t->cases[t->case_count++];

        c->node = node;
        run_case(&r, c, t->case_count);
    }
    tg_arena_fini(&r.scratch);
    free(r.written);
}

void policy_test_run(struct policy_test *t)
{
    const cJSON *list = t->written ? t->written->root : NULL;
    int64_t start = tg_clock_mono_us();

    if (!t->policy.program || !list)
        return;
    if (!cJSON_IsArray(list))
        tg_problem_at(&t->problems, t->written, list, "must be a list of cases {name, request, expect}");
    else if (!list->child)
        tg_problem_at(&t->problems, t->written, list, "there is no case");
    else
        run_cases(t, list);
    for (size_t i = 0; i < t->criterion_count && t->problems.errors == 0; i++)
        t->uncovered += test_criterion_lacks(&t->criteria[i]) != NULL;
    t->us = tg_clock_mono_us() - start;
}
