/*
 * test_route - the sections as a whole: routes or upstream, warnings about routes that cannot be meant.
 */
#include "support.h"

#define R "allow_public_unauthenticated_access: true, to: 'http://u'"

static void sections(void **state)
{
    static const struct { const char *why, *yaml; bool ok; const char *part; } cases[] = {
        {"routes",                     "routes: [{" R "}]",                                true,  NULL},
        {"upstream as a URL",          "upstream: 'http://u'",                             true,  NULL},
        {"upstream as a mapping",      "upstream: {" R ", prefix: /a}",                    true,  NULL},
        {"the built-in echo",          "upstream: 'echo:'",                                true,  NULL},
        {"none",                       "a: 1",                                             true,  "no routes"},
        {"an empty list",              "routes: []",                                       true,  "no routes"},
        {"nothing written",            "routes:",                                          true,  "no routes"},
        {"both",                       "routes: [{" R "}]\nupstream: 'http://u'",          false,
         "cannot be beside routes"},
        {"routes as a mapping",        "routes: {" R "}",                                  false, "must be a list"},
        {"a route as text",            "routes: ['http://u']",                             false, "must be a mapping"},
        {"upstream as a list",         "upstream: ['http://u']",                           false, "must be a mapping"},
        {"upstream with TLS",          "upstream: 'https://u'",                            true,  NULL},
        {"upstream as a unix socket",  "upstream: 'unix:/run/u'",                          true,  NULL},
        {"upstream without TLS",       "upstream: {" R ", tls_skip_verify: true}",         true,
         "upstream.tls_skip_verify: has no effect"},
        {"upstream without a URL",     "upstream: {prefix: /a}",                           false, "needs `to`"},
        {"upstream that is no URL",    "upstream: ''",                                     false, "upstream.to"},
        {"upstream, unknown setting",  "upstream: {too: 'http://u'}",                      false,
         "did you mean upstream.to?"},
        {"upstream without a policy",  "upstream: {to: 'http://u'}",                       true,
          "it denies every request"},
        {"a route without a policy",   "routes: [{to: 'http://u'}]",                       true,
          "it denies every request"},
        {"no claims are no policy",    "routes: [{to: 'http://u', allowed_idp_claims: {}}]", true,
         "it denies every request"},
        {"covered by any",             "routes: [{" R "}, {" R ", prefix: /a}]",           true,  "can never match"},
        {"covered by a prefix",        "routes: [{" R ", prefix: /a}, {" R ", prefix: /ab}]", true, "can never match"},
        {"covered as a path",          "routes: [{" R ", prefix: /a}, {" R ", path: /ab}]", true, "can never match"},
        {"the same path",              "routes: [{" R ", path: /a}, {" R ", path: /a}]",   true,  "can never match"},
        {"covered by a wildcard",      "routes: [{" R ", from: 'http://*.x'}, {" R ", from: 'http://a.x'}]", true,
         "can never match"},
        {"the same wildcard",          "routes: [{" R ", from: 'http://*.x'}, {" R ", from: 'http://*.x'}]", true,
         "can never match"},
        {"covered by the slash",       "routes: [{" R ", prefix: /}, {" R "}]",            true,  "can never match"},
        {"covered on its port",        "routes: [{" R ", from: 'http://a'}, {" R ", from: 'http://a:81'}]", true,
         "can never match"},
        {"not covered: port",          "routes: [{" R ", from: 'http://a:81'}, {" R ", from: 'http://a'}]", true, NULL},
        {"not covered: host",          "routes: [{" R ", from: 'http://a'}, {" R ", from: 'http://b'}]", true, NULL},
        {"not covered: wildcard later", "routes: [{" R ", from: 'http://a.x'}, {" R ", from: 'http://*.x'}]", true,
         NULL},
        {"not covered: shorter",       "routes: [{" R ", prefix: /ab}, {" R ", prefix: /a}]", true, NULL},
        {"not covered: path",          "routes: [{" R ", path: /a}, {" R ", prefix: /a}]", true,  NULL},
        {"two of a name",              "routes: [{name: a, path: /a, " R "}, {name: a, path: /b, " R "}]", true,
         "both named a"},
        {"rewriting loses a slash",    "routes: [{" R ", prefix: /a, prefix_rewrite: /}]", true,  "both end in"},
        {"rewriting pairs slashes",    "routes: [{" R ", prefix: /a/, prefix_rewrite: /}]", true, NULL},
        {"rewriting a whole path",     "routes: [{" R ", path: /a, prefix_rewrite: /b/}]", true,  NULL},
        {"the path of `to` and a prefix",
         "routes: [{to: 'http://u/b', prefix: /a, allow_any_authenticated_user: true}]", true,
         "prefix included"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (r.ok != cases[i].ok || (cases[i].part ? !is_told(&r, r.ok, cases[i].part) : r.problems.count > 0))
            fail_msg("%s: ok %d, told: %s", cases[i].why, r.ok, first_told(&r));
        done(&r);
    }
}

/* The short form lets every valid token pass and nobody else. */
static void short_form(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "upstream: 'http://127.0.0.1:3000/base'");
    assert_true(r.ok);
    assert_int_equal(tg_routes_count(r.routes), 1);
    const struct tg_route *route = tg_routes_match(r.routes, TG_S("whatever"), 8080, TG_S("/x"));

    assert_non_null(route);
    assert_int_equal(decide(route, "GET", "ann"), TG_ALLOW);
    assert_int_equal(decide(route, "GET", NULL), TG_UNAUTHENTICATED);
    assert_true(route->any_authenticated && !route->public_access);
    assert_true(tg_slice_eq(route->targets[0].authority, TG_S("127.0.0.1:3000")));
    assert_true(tg_slice_eq(route->targets[0].url.path, TG_S("/base")));
    done(&r);
}

/* Every route's errors, each with its place. */
static void places(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "routes:\n"
                  "  - name: orders\n"
                  "    to: https://u?a\n"
                  "  - to: http://u\n"
                  "    prefix: a\n"
                  "    colour: red\n");
    assert_false(r.ok);
    assert_int_equal(r.problems.errors, 3);
    assert_true(is_told(&r, false, "t.yaml:3:9: routes[0] (orders).to:"));
    assert_true(is_told(&r, false, "t.yaml:5:13: routes[1].prefix: must start with"));
    assert_true(is_told(&r, false, "t.yaml:6:5: routes[1].colour is not a setting"));
    done(&r);
}

/* Any cut of a good configuration is read or refused, and never anything worse. */
static void cuts(void **state)
{
    static const char text[] =
        "policies: [{name: p, enforced: true, ppl: {deny: {or: [{http_method: {is: PUT}}]}}, explanation: e}]\n"
        "routes:\n- {name: r, from: 'https://*.a.x:81', prefix: /a/, prefix_rewrite: /,\n"
        "   to: ['http://u/b,1', 'http://v,2'], set_request_headers: {X-A: 'b$$'}, allowed_users: [a], policies: [p],\n"
        "   policy: [{allow: {and: [{user: b}]}}]}\n";
    static const struct tg_route_defaults none = {0};

    (void)state;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct reading r = {0};

        if (tg_tree_parse("t.yaml", tg_slice(text, cut), &r.tree, NULL) != TG_OK)
            continue;
        tg_arena_init(&r.arena, NULL, 0);
        r.ok = tg_routes_read(r.tree, r.tree->root, &none, NULL, &r.arena, &r.routes, &r.problems);
        assert_int_equal(r.ok, r.problems.errors == 0);
        done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections),
        cmocka_unit_test(short_form),
        cmocka_unit_test(places),
        cmocka_unit_test(cuts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
