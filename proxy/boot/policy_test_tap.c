/*
 * policy_test_tap - what came of the cases, for programs: the Test Anything Protocol, version 13.
 *
 * A policy whose files cannot be read is one failed test; a policy without cases is one that is skipped, or one that
 * failed when cases are required.
 */
#include "base/log.h"
#include "plain.h"
#include "policy_test.h"

struct tap {
    const struct test_report *report;
    struct tg_buf *out;
    size_t number;
};

/* A description: one line, in which # would start a directive. */
static void add_words(struct tg_buf *out, struct tg_slice words)
{
    size_t from = out->len;

    for (size_t i = 0; i < words.len; i++) {
        if (words.ptr[i] == '#' || words.ptr[i] == '\\')
            tg_buf_addc(out, '\\');
        tg_buf_addc(out, words.ptr[i]);
    }
    make_plain(out, from);
}

static void start(struct tap *tap, bool ok, struct tg_slice policy, struct tg_slice what)
{
    tg_buf_addf(tap->out, "%s %zu - ", ok ? "ok" : "not ok", ++tap->number);
    add_words(tap->out, policy);
    tg_buf_adds(tap->out, ": ");
    add_words(tap->out, what);
}

static void member(struct tap *tap, const char *name, struct tg_slice value)
{
    tg_buf_addf(tap->out, "  %s: ", name);
    tg_log_json_string(tap->out, value);                 /* a quoted scalar of YAML */
    tg_buf_adds(tap->out, "\n");
}

static void place(struct tap *tap, const struct tg_tree *tree, const cJSON *node)
{
    unsigned line = 0, column = 0;

    tg_tree_place(tree, node, &line, &column);
    member(tap, "file", tg_slice_str(tree->file));
    tg_buf_addf(tap->out, "  line: %u\n  column: %u\n", line, column);
}

static void each_line(struct tap *tap, const char *before, struct tg_slice text)
{
    struct tg_slice line;

    while (text.len > 0) {
        tg_slice_cut(text, '\n', &line, &text);
        tg_buf_adds(tap->out, before);
        tg_buf_add_slice(tap->out, line);
        tg_buf_adds(tap->out, "\n");
    }
}

static void add_case(struct tap *tap, const struct policy_test *t, const struct test_case *c)
{
    start(tap, c->passed, t->name, c->name);
    tg_buf_adds(tap->out, "\n");
    if (c->passed)
        return;
    tg_buf_adds(tap->out, "  ---\n");
    place(tap, t->written, c->node);
    member(tap, "expected", c->expected);
    member(tap, "came", c->came);
    member(tap, "request", c->request);
    if (c->trace.len > 0)
        tg_buf_adds(tap->out, "  trace: |\n");
    each_line(tap, "  ", c->trace);                      /* it is indented by four already */
    tg_buf_adds(tap->out, "  ...\n");
}

static void add_problems(struct tap *tap, const struct policy_test *t)
{
    start(tap, false, t->name, TG_S("its files can be read"));
    tg_buf_adds(tap->out, "\n");
    for (size_t i = 0; i < t->problems.count; i++)
        each_line(tap, "# ", tg_slice_str(t->problems.items[i].text));
}

static void add_coverage(struct tap *tap, const struct policy_test *t)
{
    bool required = tap->report->require_coverage;

    if (required) {
        start(tap, t->uncovered == 0, t->name, TG_S("every criterion was true in one case and false in another"));
        tg_buf_adds(tap->out, "\n");
    }
    for (size_t i = 0; i < t->criterion_count; i++) {
        const char *lacks = test_criterion_lacks(&t->criteria[i]);
        unsigned line = 0, column = 0;
        struct tg_buf text = {0};

        if (!lacks)
            continue;
        tg_tree_place(t->policy.tree, t->criteria[i].node, &line, &column);
        tg_buf_addf(&text, "%s:%u:%u: %s: ", t->policy.tree->file, line, column, lacks);
        test_criterion_text(&t->criteria[i], &text);
        make_plain(&text, 0);
        each_line(tap, "# ", tg_buf_slice(&text));
        tg_buf_fini(&text);
    }
}

static void add_policy(struct tap *tap, const struct policy_test *t)
{
    if (t->problems.errors > 0) {
        add_problems(tap, t);
        return;
    }
    if (!t->tested) {
        start(tap, !tap->report->require_tests, t->name, TG_S("has tests"));
        tg_buf_addf(tap->out, "%s\n", tap->report->require_tests ? "" : " # SKIP there is no file of cases");
        return;
    }
    for (size_t i = 0; i < t->case_count; i++)
        add_case(tap, t, &t->cases[i]);
    add_coverage(tap, t);
}

void test_report_tap(const struct test_report *r, struct tg_buf *out)
{
    struct tap tap = {r, out, 0};

    tg_buf_adds(out, "TAP version 13\n");
    for (size_t i = 0; i < r->count; i++)
        add_policy(&tap, &r->tests[i]);
    tg_buf_addf(out, "1..%zu\n", tap.number);
}
