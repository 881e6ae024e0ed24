/*
 * policy_test - what the files behind `tollgate test` share: one policy file, the cases beside it, what came of them.
 *
 * The way: cmd_test.c finds the files; policy_test_read.c reads the policy and its NAME.test.yaml, policy_case.c runs
 * the cases one by one, each against the policy alone; policy_test_text.c, _tap.c and _junit.c tell the outcome.
 */
#pragma once
#include "lone_policy.h"
#include "request_read.h"

struct test_criterion {                                  /* one of the policy, in the order of the document */
    const cJSON *node;                                   /* its entry: the key is its name, the value its matcher */
    bool was_true, was_false;
    bool was_anonymous;                                  /* false, but only since there was no token */
};
struct test_case {
    const cJSON *node;
    struct tg_slice name;
    bool passed;
    /* of a failed one, in the arena */
    struct tg_slice request;                             /* "GET /admin, user u1" */
    struct tg_slice expected, came;                      /* "deny because of claim-unauthorized" */
    struct tg_slice trace;                               /* as tg_trace_text; empty: it came to no decision */
};
struct policy_test {
    char *path;                                          /* policies/only-staff.yaml */
    char *cases_path;                                    /* policies/only-staff.test.yaml */
    struct tg_slice name;                                /* only-staff */
    bool tested;                                         /* there is a file of cases */
    struct tg_problems problems;                         /* with an error nothing was run */
    struct test_case *cases;
    size_t case_count, failed;
    struct test_criterion *criteria;
    size_t criterion_count, uncovered;
    int64_t us;                                          /* all cases together */
    /* what they are made of */
    struct lone_policy policy;
    struct tg_tree *written;                             /* the cases; NULL: there are none */
    struct tg_arena arena;
    bool colour;                                         /* in traces */
};

/* Whether files of this name are policies, cases (NAME.test.yaml), or none of both; the stem without the ending. */
enum test_file { TEST_FILE_NONE, TEST_FILE_POLICY, TEST_FILE_CASES };
enum test_file test_file_kind(struct tg_slice name, struct tg_slice *stem);

/* policy_test_read.c: reads both files. `path`: of the policy. */
void policy_test_open(struct policy_test *t, const char *path, bool colour);
void policy_test_close(struct policy_test *t);
/* policy_case.c: runs every case, then fills `uncovered`. Mistakes of cases become problems. */
void policy_test_run(struct policy_test *t);

/* What a criterion still lacks, in words: "never true"; NULL: nothing. */
const char *test_criterion_lacks(const struct test_criterion *c);
/* {"email": {"is": "a"}} as "email {"is":"a"}", cut. */
void test_criterion_text(const struct test_criterion *c, struct tg_buf *out);

/* ---- reports ---- */
struct test_report {
    const struct policy_test *tests;
    size_t count;
    bool require_tests, require_coverage;                /* what is missing counts as a failure */
    bool colour;
};
struct test_totals {
    size_t cases, failed, untested, unreadable, uncovered;
};
struct test_totals test_totals(const struct test_report *r);
void test_report_text(const struct test_report *r, struct tg_buf *out);
void test_report_tap(const struct test_report *r, struct tg_buf *out);
void test_report_junit(const struct test_report *r, struct tg_buf *out);
