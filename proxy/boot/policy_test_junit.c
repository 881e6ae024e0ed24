/*
 * policy_test_junit - what came of the cases as JUnit's XML, which continuous integration shows: one suite a policy.
 */
#include "plain.h"
#include "policy_test.h"

struct suite {
    size_t tests, failures, errors, skipped;
};

/* What XML 1.0 has no character for: controls, and the two code points that are none. */
static bool is_xml(struct tg_slice c)
{
    unsigned char first = (unsigned char)c.ptr[0];

    return first >= 0x20 && first != 0x7f && !tg_slice_eq(c, TG_S("\xef\xbf\xbe")) &&
           !tg_slice_eq(c, TG_S("\xef\xbf\xbf"));
}

static void add_xml_character(struct tg_buf *out, struct tg_slice c)
{
    switch (c.ptr[0]) {
    case '&': tg_buf_adds(out, "&amp;"); break;
    case '<': tg_buf_adds(out, "&lt;"); break;
    case '>': tg_buf_adds(out, "&gt;"); break;
    case '"': tg_buf_adds(out, "&quot;"); break;
    case '\n': tg_buf_adds(out, "&#10;"); break;
    case '\t': tg_buf_adds(out, "&#9;"); break;
    default: tg_buf_add_slice(out, is_xml(c) ? c : TG_S("?"));
    }
}

/* Names of files may be any bytes. */
static void add_xml(struct tg_buf *out, struct tg_slice s)
{
    while (s.len > 0) {
        size_t len = character_length(s);

        if (len == 0)
            tg_buf_addc(out, '?');
        else
            add_xml_character(out, tg_slice(s.ptr, len));
        len += !len;
        s = tg_slice(s.ptr + len, s.len - len);
    }
}

static void attribute(struct tg_buf *out, const char *name, struct tg_slice value)
{
    tg_buf_addf(out, " %s=\"", name);
    add_xml(out, value);
    tg_buf_adds(out, "\"");
}

static void start_case(const struct policy_test *t, struct tg_slice name, const cJSON *node, struct tg_buf *out)
{
    unsigned line = 0, column = 0;

    tg_buf_adds(out, "    <testcase");
    attribute(out, "name", name);
    attribute(out, "classname", t->name);
    attribute(out, "file", tg_slice_str(node ? t->cases_path : t->path));
    if (node)
        tg_tree_place(t->written, node, &line, &column);
    if (line > 0)
        tg_buf_addf(out, " line=\"%u\"", line);
}

/* One that says all by being there. */
static void lone_case(const struct policy_test *t, const char *name, const char *element, struct tg_slice message,
                      struct tg_buf *out)
{
    start_case(t, tg_slice_str(name), NULL, out);
    if (!element) {
        tg_buf_adds(out, "/>\n");
        return;
    }
    tg_buf_addf(out, ">\n      <%s", element);
    attribute(out, "message", message);
    tg_buf_adds(out, "/>\n    </testcase>\n");
}

static void add_case(const struct policy_test *t, const struct test_case *c, struct tg_buf *out)
{
    struct tg_buf message = {0};

    start_case(t, c->name, c->node, out);
    if (c->passed) {
        tg_buf_adds(out, "/>\n");
        return;
    }
    tg_buf_addf(&message, "expected " TG_S_FMT ", came " TG_S_FMT, TG_S_ARG(c->expected), TG_S_ARG(c->came));
    tg_buf_adds(out, ">\n      <failure");
    attribute(out, "message", tg_buf_slice(&message));
    tg_buf_adds(out, " type=\"verdict\">");
    add_xml(out, c->request);
    tg_buf_adds(out, "&#10;");
    add_xml(out, c->trace);
    tg_buf_adds(out, "</failure>\n    </testcase>\n");
    tg_buf_fini(&message);
}

static struct tg_slice uncovered_text(const struct policy_test *t, struct tg_buf *text)
{
    for (size_t i = 0; i < t->criterion_count; i++) {
        const char *lacks = test_criterion_lacks(&t->criteria[i]);
        unsigned line = 0, column = 0;

        if (!lacks)
            continue;
        tg_tree_place(t->policy.tree, t->criteria[i].node, &line, &column);
        tg_buf_addf(text, "%s:%u:%u: %s: ", t->policy.tree->file, line, column, lacks);
        test_criterion_text(&t->criteria[i], text);
        tg_buf_adds(text, "\n");
    }
    return tg_buf_slice(text);
}

static struct suite count(const struct test_report *r, const struct policy_test *t)
{
    bool broken = t->problems.errors > 0, lacks = !broken && !t->tested;
    struct suite s = {0};

    if (broken)
        return (struct suite){.tests = 1, .errors = 1};
    if (lacks)
        return (struct suite){.tests = 1, .failures = r->require_tests, .skipped = !r->require_tests};
    s.tests = t->case_count + r->require_coverage;
    s.failures = t->failed + (r->require_coverage && t->uncovered > 0);
    return s;
}

static void add_suite(const struct test_report *r, const struct policy_test *t, struct tg_buf *out)
{
    struct suite s = count(r, t);
    struct tg_buf text = {0};

    tg_buf_adds(out, "  <testsuite");
    attribute(out, "name", tg_slice_str(t->path));
    tg_buf_addf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%lld.%06d\">\n", s.tests,
                s.failures, s.errors, s.skipped, (long long)(t->us / 1000000), (int)(t->us % 1000000));
    if (s.errors > 0) {
        for (size_t i = 0; i < t->problems.count; i++)
            tg_buf_addf(&text, "%s\n", t->problems.items[i].text);
        lone_case(t, "its files can be read", "error", tg_buf_slice(&text), out);
    } else if (!t->tested) {
        lone_case(t, "has tests", r->require_tests ? "failure" : "skipped", TG_S("there is no file of cases"), out);
    } else {
        for (size_t i = 0; i < t->case_count; i++)
            add_case(t, &t->cases[i], out);
        uncovered_text(t, &text);
        if (r->require_coverage)
            lone_case(t, "every criterion was true in one case and false in another",
                      t->uncovered > 0 ? "failure" : NULL, tg_buf_slice(&text), out);
    }
    if (text.len > 0) {
        tg_buf_adds(out, "    <system-out>");
        add_xml(out, tg_buf_slice(&text));
        tg_buf_adds(out, "</system-out>\n");
    }
    tg_buf_adds(out, "  </testsuite>\n");
    tg_buf_fini(&text);
}

void test_report_junit(const struct test_report *r, struct tg_buf *out)
{
    struct suite sum = {0};

    for (size_t i = 0; i < r->count; i++) {
        struct suite s = count(r, &r->tests[i]);

        sum.tests += s.tests;
        sum.failures += s.failures;
        sum.errors += s.errors;
        sum.skipped += s.skipped;
    }
    tg_buf_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    tg_buf_addf(out, "<testsuites name=\"tollgate test\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" "
                     "skipped=\"%zu\">\n", sum.tests, sum.failures, sum.errors, sum.skipped);
    for (size_t i = 0; i < r->count; i++)
        add_suite(r, &r->tests[i], out);
    tg_buf_adds(out, "</testsuites>\n");
}
