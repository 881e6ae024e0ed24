/*
 * test_shadow - policies and routes in shadow mode: what is applied, and what would be.
 */
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANN     "{name: ann, ppl: {allow: {and: [{user: {is: ann}}]}}}"
#define NO_PUT  "{name: no-put, mode: shadow, ppl: {deny: {or: [{http_method: {is: PUT}}]}}}"
#define NO_EVE  "{name: no-eve, enforced: true, ppl: {deny: {or: [{user: {is: eve}}]}}}"
#define NO_POST "{name: no-post, enforced: true, mode: shadow, ppl: {deny: {or: [{http_method: {is: POST}}]}}}"
#define ALL     "policies: [" ANN ", " NO_PUT ", " NO_EVE ", " NO_POST "]\n"
#define ROUTE(settings) "routes: [{to: 'http://u', " settings "}]"

struct asked {
    const char *method, *user;
    enum tg_decision applied, shadow;
    int policy;                                          /* that the shadow names */
};

static struct tg_verdict judge(const struct tg_program *program, const struct asked *asked)
{
    struct tg_facts facts = {.method = tg_slice_str(asked->method), .path = TG_S("/"), .identity = asked->user != NULL,
                             .user = tg_slice_str(asked->user)};
    struct tg_verdict verdict;

    tg_ppl_decide(program, &facts, &verdict);
    return verdict;
}

static void expect_verdicts(const char *why, const struct tg_route *route, const struct asked *asked, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct tg_verdict applied = judge(route->policy, &asked[i]), shadow = judge(route->shadow, &asked[i]);

        if (applied.decision != asked[i].applied || shadow.decision != asked[i].shadow ||
            shadow.policy != asked[i].policy)
            fail_msg("%s: %s by %s: applied %d, shadow %d of policy %d", why, asked[i].method,
                     asked[i].user ? asked[i].user : "nobody", applied.decision, shadow.decision, shadow.policy);
        assert_true(shadow.policy < (int)route->shadow_count && applied.policy < (int)route->policy_count);
    }
}

static void policies(void **state)
{
    static const struct asked asked[] = {
        {"GET", "ann", TG_ALLOW, TG_ALLOW, -1},
        {"PUT", "ann", TG_ALLOW, TG_DENY, 1},
        {"POST", "ann", TG_ALLOW, TG_DENY, 3},
        {"GET", "eve", TG_DENY, TG_DENY, 2},
        {"PUT", NULL, TG_UNAUTHENTICATED, TG_UNAUTHENTICATED, 0},
    };
    struct reading r;

    (void)state;
    read_text(&r, ALL ROUTE("policies: [ann, no-put]"));
    if (!r.ok || r.problems.count > 0)
        fail_msg("%s", first_told(&r));
    const struct tg_route *route = tg_routes_at(r.routes, 0);

    assert_false(route->shadow_mode);
    assert_int_equal(route->policy_count, 2);
    assert_int_equal(route->shadow_count, 4);
    assert_true(tg_slice_eq(route->policy_texts[1].name, TG_S("no-eve")));
    assert_true(tg_slice_eq(route->shadow_texts[1].name, TG_S("no-put")));
    assert_true(tg_slice_eq(route->shadow_texts[3].name, TG_S("no-post")));
    expect_verdicts("policies", route, asked, ARRAY_LEN(asked) - 1);
    assert_int_equal(judge(route->policy, &asked[4]).decision, TG_UNAUTHENTICATED);
    done(&r);
}

static void nothing_in_shadow(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "policies: [" ANN ", " NO_PUT "]\n" ROUTE("mode: enforce, policies: [ann]"));
    assert_true(r.ok && r.problems.count == 0);
    assert_null(tg_routes_at(r.routes, 0)->shadow);
    assert_int_equal(tg_routes_at(r.routes, 0)->shadow_count, 0);
    done(&r);
}

static void only_shadow(void **state)
{
    static const struct asked put = {"PUT", "ann", TG_DENY, TG_DENY, 0};
    struct reading r;

    (void)state;
    read_text(&r, "policies: [" NO_PUT "]\n" ROUTE("policies: [no-put]"));
    assert_true(r.ok && is_told(&r, true, "has only policies in shadow mode"));
    assert_int_equal(judge(tg_routes_at(r.routes, 0)->policy, &put).decision, TG_DENY);
    assert_int_equal(tg_routes_at(r.routes, 0)->policy_count, 0);
    done(&r);
}

/* Enforced policies are applied all the same, but for those that are in shadow mode themselves. */
static void routes(void **state)
{
    static const struct asked asked[] = {
        {"GET", "ann", TG_ALLOW, TG_ALLOW, -1},
        {"GET", "bob", TG_ALLOW, TG_DENY, 0},
        {"POST", "ann", TG_ALLOW, TG_DENY, 2},
        {"GET", "eve", TG_DENY, TG_DENY, 1},
    };
    struct reading r;

    (void)state;
    read_text(&r, ALL ROUTE("mode: shadow, policies: [ann]"));
    if (!r.ok || r.problems.count != 1)
        fail_msg("%s", first_told(&r));
    assert_true(is_told(&r, true, "t.yaml:2:33: routes[0].mode: shadow: this route admits everybody"));
    assert_true(is_told(&r, true, "but for what enforced policies deny"));
    const struct tg_route *route = tg_routes_at(r.routes, 0);

    assert_true(route->shadow_mode);
    assert_int_equal(route->policy_count, 1);
    assert_int_equal(route->shadow_count, 3);
    expect_verdicts("a route", route, asked, ARRAY_LEN(asked));
    done(&r);
}

/* Inline, flags, nothing at all: the door is open for those without a token too. */
static void open_door(void **state)
{
    static const struct { const char *settings; enum tg_decision shadow; } cases[] = {
        {"policy: {allow: {and: [{user: {is: ann}}]}}", TG_UNAUTHENTICATED},
        {"allow_any_authenticated_user: true", TG_UNAUTHENTICATED},
        {"allow_public_unauthenticated_access: true", TG_ALLOW},
        {"policies: []", TG_DENY},
    };
    static const struct asked nobody = {"GET", NULL, TG_ALLOW, TG_ALLOW, -1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        char yaml[256];

        snprintf(yaml, sizeof(yaml), ROUTE("mode: shadow, %s"), cases[i].settings);
        read_text(&r, yaml);
        assert_true(r.ok);
        assert_false(is_told(&r, true, "enforced"));
        const struct tg_route *route = tg_routes_at(r.routes, 0);

        assert_int_equal(judge(route->policy, &nobody).decision, TG_ALLOW);
        if (judge(route->shadow, &nobody).decision != cases[i].shadow)
            fail_msg("%s: %d", cases[i].settings, judge(route->shadow, &nobody).decision);
        done(&r);
    }
}

/* The problems of what is in shadow mode are told all the same, once. */
static void problems(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, ROUTE("mode: shadow, policy: {allow: {and: [{emial: x}]}}"));
    assert_false(r.ok);
    assert_int_equal(r.problems.errors, 1);
    done(&r);
    read_text(&r, "policies: [" NO_PUT "]\n" ROUTE("policies: [no-put, gone]"));
    assert_false(r.ok);
    assert_int_equal(r.problems.errors, 1);
    done(&r);
    read_text(&r, "policies: [" NO_PUT "]\n"
                  ROUTE("policies: [no-put], policy: {allow: {and: [{http_method: {is: get}}]}}"));
    assert_true(r.ok);
    assert_int_equal(r.problems.count, 1);
    done(&r);
    read_text(&r, ROUTE("mode: shadows"));
    assert_true(!r.ok && is_told(&r, false, "did you mean shadow?"));
    done(&r);
}

/* A certificate that is asked for is asked for in shadow mode too. */
static void certificates(void **state)
{
    static const struct tg_route_defaults deny = {.client_ca = true, .deny_invalid_certificate = true};
    struct tg_facts facts = {.method = TG_S("GET"), .path = TG_S("/"), .client_cert = TG_CLIENT_CERT_MISSING};
    struct tg_verdict verdict;
    struct reading r;

    (void)state;
    read_defaults(&r, "t.yaml", ROUTE("mode: shadow, policy: {allow: {and: [{accept: true}]}}"), &deny);
    assert_true(r.ok);
    const struct tg_route *route = tg_routes_at(r.routes, 0);

    tg_ppl_decide(route->policy, &facts, &verdict);
    assert_int_equal(verdict.decision, TG_DENY);
    tg_ppl_decide(route->shadow, &facts, &verdict);
    assert_int_equal(verdict.decision, TG_DENY);
    facts.client_cert = TG_CLIENT_CERT_VALID;
    tg_ppl_decide(route->policy, &facts, &verdict);
    assert_int_equal(verdict.decision, TG_ALLOW);
    done(&r);
}

static void alone(void **state)
{
    static const struct { const char *yaml; enum tg_decision applied, shadow; size_t applied_count, shadow_count; }
    cases[] = {
        {"{policies: [{allow: {and: [{user: ann}]}}, {name: a, mode: shadow, ppl: {deny: {or: [{user: ann}]}}}]}",
         TG_ALLOW, TG_DENY, 1, 2},
        {"{mode: shadow, policies: [{deny: {or: [{user: ann}]}}, {mode: shadow, enforced: true, "
         "ppl: {deny: {or: [{user: ann}]}}}]}", TG_ALLOW, TG_DENY, 0, 2},
        {"{mode: shadow, policies: [{enforced: true, ppl: {deny: {or: [{user: ann}]}}}]}", TG_DENY, TG_DENY, 1, 1},
    };
    static const struct tg_route_defaults none = {0};
    static const struct asked ann = {"GET", "ann", TG_ALLOW, TG_ALLOW, -1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_problems told = {0};
        struct tg_tree *tree = NULL;
        struct tg_arena arena;

        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_tree_parse("t.yaml", tg_slice_str(cases[i].yaml), &tree, NULL), TG_OK);
        struct tg_route *route = tg_route_read_one(tree, tree->root, &none, &arena, &told);

        assert_non_null(route);
        assert_int_equal(judge(route->policy, &ann).decision, cases[i].applied);
        assert_int_equal(judge(route->shadow, &ann).decision, cases[i].shadow);
        assert_int_equal(route->policy_count, cases[i].applied_count);
        assert_int_equal(route->shadow_count, cases[i].shadow_count);
        tg_route_fini(route);
        tg_problems_fini(&told);
        tg_arena_fini(&arena);
        tg_tree_free(tree);
    }
}

/* ---- debug_trace ---- */

static void debug_trace(void **state)
{
    static const struct { const char *why, *settings, *want, *part; } cases[] = {
        {"none", "name: a", "", NULL},
        {"16 characters", "debug_trace: 0123456789abcdeF", "0123456789abcdeF", NULL},
        {"15 characters", "debug_trace: 0123456789abcde", NULL, "routes[0].debug_trace: must be 16 to 256"},
        {"empty", "debug_trace: ''", NULL, "must be 16 to 256"},
        {"a space", "debug_trace: '0123456789abcde F'", NULL, "without spaces"},
        {"no ASCII", "debug_trace: '0123456789abcdeé'", NULL, "without spaces"},
        {"a number", "debug_trace: 12345678901234567", NULL, "put quotes around it"},
        {"twice", "debug_trace: 0123456789abcdeF, debug_trace_file: /x", NULL, "cannot be together"},
        {"no file", "debug_trace_file: /nonexistent/trace", NULL, "/nonexistent/trace"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        char yaml[256];

        snprintf(yaml, sizeof(yaml), ROUTE("allow_any_authenticated_user: true, %s"), cases[i].settings);
        read_text(&r, yaml);
        if (r.ok != !cases[i].part || (cases[i].part && !is_told(&r, false, cases[i].part)))
            fail_msg("%s: %s", cases[i].why, first_told(&r));
        assert_false(is_told(&r, false, "0123456789"));
        if (r.ok)
            assert_true(tg_slice_eq(tg_routes_at(r.routes, 0)->debug_trace, tg_slice_str(cases[i].want)));
        done(&r);
    }
}

static void debug_trace_file(void **state)
{
    char path[] = "/tmp/tollgate-trace-XXXXXX", yaml[256];
    int fd = mkstemp(path);
    struct reading r;

    (void)state;
    assert_int_equal(write(fd, "sixteen-letters-\n", 17), 17);
    close(fd);
    snprintf(yaml, sizeof(yaml), ROUTE("allow_any_authenticated_user: true, debug_trace_file: %s"), path);
    read_text(&r, yaml);
    unlink(path);
    assert_true(r.ok);
    assert_true(tg_slice_eq(tg_routes_at(r.routes, 0)->debug_trace, TG_S("sixteen-letters-")));
    assert_string_equal(tg_tree_noted_file(r.tree, 0), path); /* it is watched */
    done(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies),     cmocka_unit_test(nothing_in_shadow), cmocka_unit_test(only_shadow),
        cmocka_unit_test(routes),       cmocka_unit_test(open_door),         cmocka_unit_test(problems),
        cmocka_unit_test(certificates), cmocka_unit_test(alone),             cmocka_unit_test(debug_trace),
        cmocka_unit_test(debug_trace_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
