/*
 * test_route_lint - what is told about the policies of a route together, and about enforced ones; and of which routes
 * nothing is.
 */
#include "support.h"

#define STAFF   "{name: staff, ppl: {allow: {and: [{domain: {is: example.com}}]}}}"
#define ANN     "{name: ann, ppl: {allow: {and: [{email: ann@example.com}]}}}"
#define USERS   "{name: users, ppl: {allow: {and: [{authenticated_user: true}]}}}"
#define NO_PUT  "{name: no-put, enforced: true, ppl: {deny: {or: [{http_method: PUT}]}}}"
#define CERT    "{allow: {and: [{client_certificate: {san_dns: a.example}}]}}"
#define LOOK    "{name: look, ppl: " CERT "}"
#define VERIFY  "{name: verify, enforced: true, ppl: {deny: {or: [{invalid_client_certificate: true}]}}}"
#define TWO     "identity_providers: {a: {}, b: {}}\n"
#define ONE     "identity_providers: {a: {}}\n"
#define ROUTE(settings) "routes: [{name: r, to: 'http://u', " settings "}]"

struct trap {
    const char *yaml, *warning;                          /* NULL: none */
};

static void expect_all(const struct trap *traps, size_t count, const struct tg_route_defaults *defaults)
{
    for (size_t i = 0; i < count; i++) {
        struct reading r;

        read_defaults(&r, "t.yaml", traps[i].yaml, defaults);
        if (!r.ok || r.problems.count != (traps[i].warning != NULL) ||
            (traps[i].warning && !is_told(&r, true, traps[i].warning)))
            fail_msg("%s: %zu told: %s", traps[i].yaml, r.problems.count, first_told(&r));
        done(&r);
    }
}

static const struct tg_route_defaults none;

static void enforced(void **state)
{
    static const struct trap traps[] = {
        {"policies: [{name: all, enforced: true, ppl: {allow: {and: [{groups: admins}]}}}]\n"
         ROUTE("allowed_users: [x]"),
         "t.yaml:1:53: policy all: an enforced policy is part of every route, and allows beside what the route allows: "
         "whom this admits gets in everywhere; write what nobody may do as deny"},
        {"policies: [{name: all, enforced: true, ppl: [{deny: {or: [{user: a}]}}, {allow: {and: [{groups: b}]}}]}]\n"
         ROUTE("allowed_users: [x]"), "t.yaml:1:81: policy all: an enforced policy"},
        {"policies: [" NO_PUT "]\n" ROUTE("allowed_users: [x]"), NULL},
        {"policies: [{name: all, ppl: {allow: {and: [{groups: admins}]}}}]\n" ROUTE("allowed_users: [x]"), NULL},
        {"policies: [{name: all, enforced: true, mode: shadow, ppl: {allow: {and: [{groups: admins}]}}}]\n"
         ROUTE("allowed_users: [x]"), NULL},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps), &none);
}

static void addresses(void **state)
{
#define ANY "t.yaml:2:10: routes[0] (r) decides by e-mail address or domain, and any of the identity_providers can"
    static const struct trap traps[] = {
        {TWO ROUTE("policy: {allow: {and: [{email: a@x}]}}"), ANY},
        {TWO ROUTE("policy: {allow: {and: [{domain: x}]}}"), ANY},
        {TWO ROUTE("allowed_users: [a@x]"), ANY},
        {TWO ROUTE("allowed_domains: [x]"), ANY},
        {TWO ROUTE("mode: enforce, policy: {deny: {or: [{email: a@x}]}, allow: {and: [{authenticated_user: "
         "1}]}}"), ANY},
        {TWO "policies: [" STAFF "]\n" ROUTE("policies: [staff]"), "decides by e-mail address or domain"},
        {TWO ROUTE("identity_providers: [a], allowed_users: [a@x]"), NULL},
        {TWO ROUTE("allow_any_authenticated_user: true"), NULL},
        {TWO ROUTE("policy: {allow: {and: [{groups: x}, {user: y}]}}"), NULL},
        {TWO ROUTE("policy: {allow: {and: [{email: a@x}, {claim/iss: 'https://a'}]}}"), NULL},
        {ONE ROUTE("allowed_users: [a@x]"), NULL},
        {ROUTE("allowed_users: [a@x]"), NULL},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps), &none);
}

static void unverified_certificates(void **state)
{
    static const struct tg_route_defaults left = {.client_ca = true};
    static const struct tg_route_defaults refused = {.client_ca = true, .deny_invalid_certificate = true};
    static const struct trap trusting[] = {
        {ROUTE("policy: " CERT),
         "t.yaml:1:10: routes[0] (r): its own policy lets somebody in for a client certificate, and an invalid one "
         "is as good as a valid one"},
        {"policies: [" LOOK "]\n" ROUTE("policies: [look]"), "policy look lets somebody in for a client certificate"},
        {ROUTE("policy: [" CERT ", {deny: {and: [{invalid_client_certificate: 1}, {http_method: PUT}]}}]"),
         "lets somebody in"},
    };
    static const struct trap good[] = {
        {"policies: [" LOOK ", " VERIFY "]\n" ROUTE("policies: [look]"), NULL},
        {ROUTE("policy: [" CERT ", {deny: {or: [{invalid_client_certificate: true}]}}]"), NULL},
        {ROUTE("policy: {allow: {and: [{groups: a}]}, deny: {nor: [{client_certificate: {}}]}}"), NULL},
        {ROUTE("allow_any_authenticated_user: true"), NULL},
    };

    (void)state;
    expect_all(trusting, ARRAY_LEN(trusting), &left);
    expect_all(good, ARRAY_LEN(good), &left);
    for (size_t i = 0; i < ARRAY_LEN(trusting); i++) {
        struct trap same = {trusting[i].yaml, NULL};

        expect_all(&same, 1, &refused);
    }
}

static void policies_that_add_nothing(void **state)
{
    static const struct trap traps[] = {
        {"policies: [" STAFF ", " ANN "]\n" ROUTE("policies: [staff, ann]"),
         "t.yaml:2:10: routes[0] (r): policy ann adds nothing: whom it admits or denies the other policies and "
         "flags of "
         "the route do already; remove it"},
        {"policies: [" ANN ", " STAFF "]\n" ROUTE("policies: [ann]"), NULL},
        {"policies: [" STAFF "]\n" ROUTE("policies: [staff], allow_any_authenticated_user: true"),
         "policy staff adds nothing"},
        {"policies: [" STAFF "]\n" ROUTE("policies: [staff], allowed_domains: [example.com]"),
         "policy staff adds nothing"},
        {"policies: [" STAFF "]\n" ROUTE("policies: [staff], allowed_domains: [example.org]"), NULL},
        {"policies: [" NO_PUT "]\n" ROUTE("allow_any_authenticated_user: true, policy: {deny: {or: "
         "[{http_method: PUT}]}}"),
         "its own policy adds nothing"},
        {"policies: [" NO_PUT "]\n"
         ROUTE("allow_any_authenticated_user: true, policy: {deny: {or: [{http_method: DELETE}]}}"), NULL},
        /* an enforced policy says it for other routes, too */
        {"policies: [" NO_PUT ", {name: all, ppl: {deny: {or: [{http_method: {in: [PUT, POST]}}]}}}, " USERS "]\n"
         ROUTE("policies: [all, users]"), NULL},
        /* what is tried out beside what is in force */
        {"policies: [" STAFF ", {name: try, mode: shadow, ppl: {allow: {and: [{email: ann@example.com}]}}}]\n"
         ROUTE("policies: [staff, try]"), NULL},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps), &none);
}

static void tunnels(void **state)
{
#define RM "{allow: {and: [{accept: true}]}, deny: {or: [{mcp_tool: rm}]}}"
    static const struct trap traps[] = {
        {ROUTE("allow_websockets: true, policy: " RM),
         "t.yaml:1:54: routes[0] (r).allow_websockets: true: mcp_tool does not see the calls inside a websocket; the "
         "request that opens one is judged as no tool call, and what follows is not judged"},
        {"policies: [{name: tools, mode: shadow, ppl: " RM "}]\n"
         ROUTE("allow_websockets: true, policies: [tools], allow_any_authenticated_user: true"),
         "mcp_tool does not see the calls inside a websocket"},
        {"policies: [{name: tools, enforced: true, ppl: {deny: {or: [{mcp_tool: rm}]}}}]\n"
         ROUTE("allow_websockets: true, allow_any_authenticated_user: true"),
         "mcp_tool does not see the calls inside a websocket"},
        {ROUTE("policy: " RM), NULL},
        {ROUTE("allow_websockets: false, policy: " RM), NULL},
        {ROUTE("allow_websockets: true, allow_any_authenticated_user: true"), NULL},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps), &none);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(enforced),
        cmocka_unit_test(addresses),
        cmocka_unit_test(unverified_certificates),
        cmocka_unit_test(policies_that_add_nothing),
        cmocka_unit_test(tunnels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
