/*
 * policy_test_text - what came of the cases, for people: one line a failure with its place, and how it was decided.
 */
#include "plain.h"
#include "policy_test.h"
#include "terminal.h"

#define UNCOVERED_SHOWN 20                               /* of one policy: an allow-list may have thousands */

struct test_totals test_totals(const struct test_report *r)
{
    struct test_totals sum = {0};

    for (size_t i = 0; i < r->count; i++) {
        const struct policy_test *t = &r->tests[i];

        if (t->problems.errors > 0) {                    /* what of it was run counts for nothing */
            sum.unreadable++;
            continue;
        }
        sum.cases += t->case_count;
        sum.failed += t->failed;
        sum.uncovered += t->uncovered;
        sum.untested += !t->tested;
    }
    return sum;
}

static void paint(const struct test_report *r, struct tg_buf *out, const char *colour, const char *text)
{
    add_coloured(out, r->colour, colour, text);
}

/* "FILE:LINE:COLUMN: " */
static void add_place(struct tg_buf *out, const struct tg_tree *tree, const cJSON *node)
{
    unsigned line = 0, column = 0;

    tg_tree_place(tree, node, &line, &column);
    tg_buf_addf(out, "%s:%u:%u: ", tree->file, line, column);
}

static void add_failure(const struct test_report *r, const struct policy_test *t, const struct test_case *c,
                        struct tg_buf *out)
{
    size_t from = out->len;

    add_place(out, t->written, c->node);
    tg_buf_add_slice(out, c->name);
    make_plain(out, from);
    tg_buf_adds(out, ": ");
    paint(r, out, RED, "failed");
    tg_buf_adds(out, "\n    expected  ");
    tg_buf_add_slice(out, c->expected);
    tg_buf_adds(out, "\n    came      ");
    from = out->len;
    tg_buf_add_slice(out, c->came);
    make_plain(out, from);
    tg_buf_adds(out, "\n    request   ");
    from = out->len;
    tg_buf_add_slice(out, c->request);
    make_plain(out, from);
    tg_buf_adds(out, "\n");
    tg_buf_add_slice(out, c->trace);
}

static void add_uncovered(const struct test_report *r, const struct policy_test *t, struct tg_buf *out)
{
    size_t shown = 0;

    for (size_t i = 0; i < t->criterion_count; i++) {
        const char *lacks = test_criterion_lacks(&t->criteria[i]);
        size_t from = out->len;

        if (!lacks)
            continue;
        if (shown++ == UNCOVERED_SHOWN) {
            tg_buf_addf(out, "%s: and %zu more", t->path, t->uncovered - UNCOVERED_SHOWN);
            make_plain(out, from);
            tg_buf_adds(out, "\n");
            return;
        }
        add_place(out, t->policy.tree, t->criteria[i].node);
        make_plain(out, from);
        paint(r, out, r->require_coverage ? RED : YELLOW, lacks);
        tg_buf_adds(out, ": ");
        from = out->len;
        test_criterion_text(&t->criteria[i], out);
        make_plain(out, from);
        tg_buf_adds(out, "\n");
    }
}

static void add_untested(const struct test_report *r, const struct policy_test *t, struct tg_buf *out)
{
    size_t from = out->len;

    tg_buf_addf(out, "%s: ", t->path);
    make_plain(out, from);
    paint(r, out, r->require_tests ? RED : YELLOW, "not tested");
    from = out->len;
    tg_buf_addf(out, ": there is no %s", t->cases_path);
    make_plain(out, from);
    tg_buf_adds(out, "\n");
}

static void add_policy(const struct test_report *r, const struct policy_test *t, struct tg_buf *out)
{
    if (t->problems.errors > 0)                          /* told to standard error */
        return;
    if (!t->tested) {
        add_untested(r, t, out);
        return;
    }
    for (size_t i = 0; i < t->case_count; i++)
        if (!t->cases[i].passed)
            add_failure(r, t, &t->cases[i], out);
    add_uncovered(r, t, out);
}

static void add_count(struct tg_buf *out, size_t count, const char *one, const char *many)
{
    if (count > 0)
        tg_buf_addf(out, ", %zu %s", count, count == 1 ? one : many);
}

void test_report_text(const struct test_report *r, struct tg_buf *out)
{
    struct test_totals sum = test_totals(r);
    bool bad = sum.failed > 0 || sum.unreadable > 0 || (r->require_tests && sum.untested > 0) ||
               (r->require_coverage && sum.uncovered > 0);

    for (size_t i = 0; i < r->count; i++)
        add_policy(r, &r->tests[i], out);
    paint(r, out, bad ? BOLD RED : BOLD GREEN, bad ? "failed" : "ok");
    tg_buf_addf(out, ": %zu %s, %zu %s passed, %zu failed", r->count, r->count == 1 ? "policy" : "policies",
                sum.cases - sum.failed, sum.cases - sum.failed == 1 ? "case" : "cases", sum.failed);
    add_count(out, sum.unreadable, "policy or test file not readable", "policies or test files not readable");
    add_count(out, sum.untested, "policy not tested", "policies not tested");
    add_count(out, sum.uncovered, "criterion not covered", "criteria not covered");
    tg_buf_adds(out, "\n");
}
