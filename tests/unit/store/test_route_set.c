/*
 * test_route_set - routes and policies of a control plane's set beside those of the file: what they may say, what they
 * refer to, who is let in.
 */
#include "support.h"
#include <stdio.h>

#define P(id, more) "{\"id\":\"" id "\",\"ppl\":" more "}"
#define ALLOW(user) "{\"allow\":{\"and\":[{\"user\":\"" user "\"}]}}"
#define NO_PUT "{\"deny\":{\"or\":[{\"http_method\":\"PUT\"}]}}"
#define R(id, more) "{\"id\":\"" id "\",\"from\":\"https://" id "\",\"to\":[\"http://127.0.0.1:1\"]" more "}"
#define SET(policies, routes) "{\"policies\":[" policies "],\"routes\":[" routes "]}"

static const struct tg_set_rules here = {0};             /* loopback only */
static const struct tg_route_defaults defaults = {0};

struct both {
    struct reading r;
    struct tg_set *set;
};

/* `set` NULL: none has come yet. */
static void read_with(struct both *b, const char *yaml, const char *set, const struct tg_set_rules *rules)
{
    struct tg_set_use use = {.rules = rules};
    struct tg_err err;

    memset(b, 0, sizeof(*b));
    tg_arena_init(&b->r.arena, NULL, 0);
    if (yaml && tg_tree_parse("t.yaml", tg_slice_str(yaml), &b->r.tree, &err) != TG_OK)
        fail_msg("%s: %s", yaml, err.text);
    if (set && tg_set_parse("cp", tg_slice_str(set), &b->set, &err) != TG_OK)
        fail_msg("%s: %s", set, err.text);
    use.set = b->set;
    b->r.ok = tg_routes_read(b->r.tree, b->r.tree ? b->r.tree->root : NULL, &defaults, &use, &b->r.arena, &b->r.routes,
                             &b->r.problems);
}

static void read_both(struct both *b, const char *yaml, const char *set) { read_with(b, yaml, set, &here); }

static void end(struct both *b)
{
    done(&b->r);
    tg_set_unref(b->set);
}

static const struct tg_route *at(const struct both *b, const char *host)
{
    const struct tg_route *route = tg_routes_match(b->r.routes, tg_slice_str(host), -1, TG_S("/"));

    assert_non_null(route);
    return route;
}

/* ---- who is let in ---- */

static void decisions(void **state)
{
    static const struct { const char *why, *yaml, *set, *host, *method, *user; enum tg_decision want; } cases[] = {
        {"by id", NULL, SET(P("1", ALLOW("ann")), R("a", ",\"policyIds\":[\"1\"]")), "a", "GET", "ann", TG_ALLOW},
        {"by id, somebody else", NULL, SET(P("1", ALLOW("ann")), R("a", ",\"policyIds\":[\"1\"]")), "a", "GET", "bob",
         TG_DENY},
        {"not chosen", NULL, SET(P("1", ALLOW("ann")), R("a", "")), "a", "GET", "ann", TG_DENY},
        {"as in a file", NULL, SET("{\"name\":\"p\",\"ppl\":" ALLOW("ann") "}",
                                   "{\"from\":\"https://a\",\"to\":\"http://localhost\",\"policies\":\"p\"}"),
         "a", "GET", "ann", TG_ALLOW},
        {"inline", NULL, SET("", R("a", ",\"policy\":" ALLOW("ann"))), "a", "GET", "ann", TG_ALLOW},
        {"flags by their names there", NULL, SET("", R("a", ",\"allowAnyAuthenticatedUser\":true")), "a", "GET", "bob",
         TG_ALLOW},
        {"open by its name there", NULL, SET("", R("a", ",\"allowPublicUnauthenticatedAccess\":true")), "a", "GET",
         NULL, TG_ALLOW},
        {"chosen and enforced", NULL, SET(P("1", ALLOW("ann")) "," P("2", NO_PUT),
                                R("a", ",\"policyIds\":[\"1\"],\"enforcedPolicyIds\":[\"2\"]")),
         "a", "PUT", "ann", TG_DENY},
        {"enforced, not hit", NULL, SET(P("1", ALLOW("ann")) "," P("2", NO_PUT),
                              R("a", ",\"policyIds\":[\"1\"],\"enforcedPolicyIds\":[\"2\"]")),
         "a", "GET", "ann", TG_ALLOW},
        {"enforced everywhere in the set", NULL,
         SET("{\"id\":\"2\",\"enforced\":true,\"ppl\":" NO_PUT "}", R("a", ",\"allowAnyAuthenticatedUser\":true")),
         "a", "PUT", "ann", TG_DENY},
        {"but not of the file's routes",
         "routes: [{from: 'https://f', to: 'http://u', allow_any_authenticated_user: true}]",
         SET("{\"id\":\"2\",\"enforced\":true,\"ppl\":" NO_PUT "}", ""), "f", "PUT", "ann", TG_ALLOW},
        {"what the file enforces holds for the set",
         "policies: [{name: e, enforced: true, ppl: {deny: {or: [{http_method: PUT}]}}}]",
         SET("", R("a", ",\"allowAnyAuthenticatedUser\":true")), "a", "PUT", "ann", TG_DENY},
        {"a shadow route keeps what is enforced", NULL,
         SET(P("2", NO_PUT), R("a", ",\"mode\":\"shadow\",\"enforcedPolicyIds\":[\"2\"]")), "a", "PUT", NULL, TG_DENY},
        {"a shadow route", NULL,
         SET(P("2", NO_PUT), R("a", ",\"mode\":\"shadow\",\"enforcedPolicyIds\":[\"2\"]")), "a", "GET", NULL, TG_ALLOW},
        {"a route of the file names one by id", "routes: [{from: 'https://f', to: 'http://u', policies: ['1']}]",
         SET(P("1", ALLOW("ann")), ""), "f", "GET", "ann", TG_ALLOW},
        {"a route of the file names one by name", "routes: [{from: 'https://f', to: 'http://u', policies: [p]}]",
         SET("{\"id\":\"1\",\"name\":\"p\",\"ppl\":" ALLOW("ann") "}", ""), "f", "GET", "ann", TG_ALLOW},
        {"the file's own name wins there",
         "policies: [{name: p, ppl: {allow: {and: [{user: bob}]}}}]\n"
         "routes: [{from: 'https://f', to: 'http://u', policies: [p]}]",
         SET("{\"id\":\"1\",\"name\":\"p\",\"ppl\":" ALLOW("ann") "}", ""), "f", "GET", "ann", TG_DENY},
        {"the set's own wins in the set", "policies: [{name: p, ppl: {allow: {and: [{user: bob}]}}}]",
         SET("{\"id\":\"1\",\"name\":\"p\",\"ppl\":" ALLOW("ann") "}", R("a", ",\"policies\":[\"p\"]")), "a", "GET",
         "ann", TG_ALLOW},
        {"a route of the set names one of the file", "policies: [{name: p, ppl: {allow: {and: [{user: bob}]}}}]",
         SET("", R("a", ",\"policies\":[\"p\"]")), "a", "GET", "bob", TG_ALLOW},
        {"the file's routes come first", "upstream: {from: 'https://a', to: 'http://u', policy: " ALLOW("bob") "}",
         SET("", R("a", ",\"allowPublicUnauthenticatedAccess\":true")), "a", "GET", NULL, TG_UNAUTHENTICATED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct both b;

        read_both(&b, cases[i].yaml, cases[i].set);
        if (!b.r.ok)
            fail_msg("%s: %s", cases[i].why, first_told(&b.r));
        if (decide(at(&b, cases[i].host), cases[i].method, cases[i].user) != cases[i].want ||
            at(&b, cases[i].host)->unresolved)
            fail_msg("%s: %d, told %s", cases[i].why, decide(at(&b, cases[i].host), cases[i].method, cases[i].user),
                     first_told(&b.r));
        end(&b);
    }
}

/* ---- references that lead nowhere ---- */

#define OPEN ",\"allowPublicUnauthenticatedAccess\":true"
static void unresolved(void **state)
{
    static const struct { const char *why, *yaml, *set, *host, *part; } cases[] = {
        {"not in the set", NULL, SET("", R("a", OPEN ",\"policyIds\":[\"1\"]")), "a",
         "cp:3:82: route a.policyIds: there is no policy \"1\", neither in the file nor from the control plane"},
        {"one of two", NULL, SET(P("1", ALLOW("ann")), R("a", OPEN ",\"policyIds\":[\"1\",\"2\"]")), "a",
         "policy \"2\""},
        {"enforced", NULL, SET("", R("a", OPEN ",\"enforcedPolicyIds\":[\"1\"]")), "a", "route a.enforcedPolicyIds"},
        {"in a shadow route", NULL, SET("", R("a", ",\"mode\":\"shadow\",\"policyIds\":[\"1\"]")), "a", "policyIds"},
        {"by name", NULL, SET("", R("a", OPEN ",\"policies\":[\"p\"]")), "a", "policy \"p\""},
        {"a name of several", NULL,
         SET("{\"id\":\"1\",\"name\":\"p\",\"ppl\":[]},{\"id\":\"2\",\"name\":\"p\",\"ppl\":[]}",
             R("a", OPEN ",\"policies\":[\"p\"]")), "a", "several policies named \"p\""},
        {"of the file", "routes: [{from: 'https://f', to: 'http://u', policies: [p]}]", SET("", ""), "f",
         "t.yaml:1:56: routes[0].policies: there is no policy \"p\", neither in the file"},
        {"of the file, before a set came", "routes: [{from: 'https://f', to: 'http://u', policies: [p]}]", NULL, "f",
         "no policy \"p\" yet"},
        {"of the file, a typing error", "policies: [{name: staff, ppl: []}]\n"
         "routes: [{from: 'https://f', to: 'http://u', policies: [stafff]}]", NULL, "f", "did you mean \"staff\"?"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct both b;

        read_both(&b, cases[i].yaml, cases[i].set);
        if (!b.r.ok || !is_told(&b.r, true, cases[i].part))
            fail_msg("%s: %d %s", cases[i].why, b.r.ok, first_told(&b.r));
        const struct tg_route *route = at(&b, cases[i].host);

        if (!route->unresolved || route->shadow || decide(route, "GET", "ann") == TG_ALLOW ||
            decide(route, "GET", NULL) == TG_ALLOW)
            fail_msg("%s: unresolved %d", cases[i].why, route->unresolved);
        end(&b);
    }
}

/* Without a source an unknown name stays what it was: an error. */
static void no_source(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "routes: [{to: 'http://u', policies: [p]}]");
    assert_false(r.ok);
    assert_true(is_told(&r, false, "there is no policy named \"p\""));
    done(&r);
}

/* ---- what a route of a set may say ---- */

static void said(void **state)
{
    static const struct { const char *more; bool ok; const char *part; } cases[] = {
        {"", true, NULL},
        {",\"prefix\":\"/a/\",\"prefixRewrite\":\"/\",\"hostRewrite\":\"h\",\"timeout\":\"1m0s\","
         "\"idleTimeout\":\"0s\"", true, NULL},
        {",\"setRequestHeaders\":{\"X-A\":\"b\"},\"removeRequestHeaders\":[\"X-B\"],"
         "\"setResponseHeaders\":{\"X\":\"y\"}", true, NULL},
        {",\"bearerTokenFormat\":\"default\",\"loadBalancingPolicy\":\"round_robin\",\"jwtIssuerFormat\":\"uri\"", true,
         NULL},
        {",\"identityProviders\":[\"corp\"],\"requiredScopes\":[\"a\"],\"errorFormat\":\"oauth\",\"namespaceId\":\"n\"",
         true, NULL},
        {",\"allowWebsockets\":true,\"preserveHostHeader\":true,\"showErrorDetails\":true,\"maxRequestBytes\":5", true,
         NULL},
        {",\"bearerTokenFormat\":\"idp_access_token\"", false, "cp:3:55: route a.bearerTokenFormat: "},
        {",\"loadBalancingPolicy\":\"maglev\"", false, "route a.loadBalancingPolicy: "},
        {",\"regex\":\"a\"", false, "route a.regex is not supported yet: regular expressions"},
        {",\"redirect\":{\"httpsRedirect\":true}", false, "route a.redirect is not supported yet"},
        {",\"mcp\":{\"server\":{}}", false, "route a.mcp is not supported yet"},
        {",\"kubernetesServiceAccountToken\":\"tok-secret\"", false, "route a.kubernetesServiceAccountToken is not"},
        {",\"tlsClientKeyFile\":\"/etc/k\"", false, "route a.tlsClientKeyFile may not come from a control plane"},
        {",\"tls_custom_ca_file\":\"/etc/k\"", false, "route a.tlsCustomCaFile may not come from a control plane"},
        {",\"tlsClientKey\":\"tok-secret\"", false, "route a.tlsClientKey may not come from a control plane"},
        {",\"upstreamAuth\":{\"token_file\":\"/t\"}", false, "route a.upstreamAuth may not come"},
        {",\"debugTrace\":\"tok-secret-tok-secret\"", false, "route a.debugTrace may not come"},
        {",\"resourceMetadata\":true", false, "route a.resourceMetadata may not come"},
        {",\"rateLimits\":\"off\"", false, "route a.rateLimits may not come"},
        {",\"forwardAuthorization\":\"keep\"", false, "route a.forwardAuthorization may not come"},
        {",\"tlsClientKeyPairId\":\"x\"", false, "route a.tlsClientKeyPairId is not a setting"},
        {",\"prefxi\":\"/a\"", false, "did you mean route a.prefix?"},
        {",\"tlsSkipVerify\":true", false, "route a.tlsSkipVerify: is not permitted here"},
        {",\"prefix\":\"a\"", false, "route a.prefix: must start with"},
        {",\"prefixRewrite\":\"b\"", false, "route a.prefixRewrite: must start with"},
        {",\"setRequestHeaders\":{\"X-A\":\"${TOKEN}\"}", false, "templates such as"},
        {",\"timeout\":5", false, "needs a unit"},
        {",\"maxRequestBytes\":\"none\",\"errorFormat\":\"html\"", false, "route a.errorFormat must be"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct both b;
        struct tg_buf text = {0};

        tg_buf_addf(&text, SET("", "{\"id\":\"a\",\"from\":\"https://a\",\"to\":[\"http://127.0.0.1:1\"],"
                                   "\"allowAnyAuthenticatedUser\":true%s}"), cases[i].more);
        read_both(&b, NULL, tg_buf_cstr(&text));
        if (b.r.ok != cases[i].ok || (cases[i].part && !is_told(&b.r, false, cases[i].part)) ||
            (b.r.ok && b.r.problems.count > 0) || is_told(&b.r, false, "tok-secret"))
            fail_msg("%s: %d %s", cases[i].more, b.r.ok, first_told(&b.r));
        end(&b);
        tg_buf_fini(&text);
    }
}

static void upstreams(void **state)
{
    static struct tg_slice items[] = {TG_S_INIT("10.0.0.0/8"), TG_S_INIT("echo:")};
    static const struct tg_set_rules open = {.allowed_upstreams = {items, 2, true}, .allow_tls_skip_verify = true};
    struct both b;

    (void)state;
    read_both(&b, "routes: [{from: 'https://f', to: 'http://10.0.0.1', allow_any_authenticated_user: true}]",
              SET("", "{\"id\":\"a\",\"to\":[\"http://127.0.0.1\",\"http://10.0.0.1:81\"]" OPEN "}"));
    assert_false(b.r.ok);                                /* what the file names itself is not asked about */
    assert_int_equal(b.r.problems.errors, 1);
    assert_true(is_told(&b.r, false, "cp:3:76: route a.to: \"10.0.0.1\" is not this machine"));
    end(&b);
    read_with(&b, NULL, SET("", "{\"id\":\"a\",\"from\":\"https://a\",\"to\":[\"https://10.0.0.1\"],"
                                "\"tlsSkipVerify\":true" OPEN "},"
                                "{\"id\":\"e\",\"from\":\"https://e\",\"to\":[\"echo:\"]" OPEN "}"), &open);
    assert_true(b.r.ok);
    assert_true(at(&b, "a")->tls_skip_verify && at(&b, "e")->targets[0].echo);
    end(&b);
    read_with(&b, NULL, SET("", R("a", OPEN)), NULL);    /* no rules at all are the strictest */
    assert_true(b.r.ok);
    end(&b);
    read_with(&b, NULL, SET("", "{\"id\":\"a\",\"to\":[\"http://10.0.0.1\"]" OPEN "}"), NULL);
    assert_false(b.r.ok);
    end(&b);
}

/* A document that is wrong is told whether or not a route uses it, with the path in it and its place. */
static void bad_documents(void **state)
{
    static const struct { const char *policy, *part; } cases[] = {
        {"{\"id\":\"1\",\"name\":\"p\",\"ppl\":{\"allow\":{\"and\":[{\"emial\":{\"is\":\"a\"}}]}}}",
         "policy p (1): allow.and[0]: \"emial\" is not a criterion, did you mean \"email\"?"},
        {"{\"id\":\"1\",\"name\":\"p\"}", "policy p (1).ppl is required"},
        {"{\"id\":\"1\",\"ppl\":null}", "policy 1.ppl is required"},
        {"{\"id\":\"1\",\"ppl\":[],\"enforce\":true}", "did you mean policy 1.enforced?"},
        {"{\"id\":\"1\",\"ppl\":[],\"enforced\":1}", "policy 1.enforced must be true or false"},
        {"{\"id\":\"1\",\"ppl\":[],\"name\":\"a\\nb\"}", "control characters"},
        {"{\"id\":\"1\",\"policy_data\":{\"ppl\":[],\"sql\":1}}", "policy 1.policyData is not a setting"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct both b;
        struct tg_buf text = {0};

        tg_buf_addf(&text, SET("%s", ""), cases[i].policy);
        read_both(&b, NULL, tg_buf_cstr(&text));
        if (b.r.ok || !is_told(&b.r, false, cases[i].part) || strncmp(first_told(&b.r), "cp:2:", 5) != 0)
            fail_msg("%s: %d %s", cases[i].policy, b.r.ok, first_told(&b.r));
        end(&b);
        tg_buf_fini(&text);
    }
}

/* ---- what is known of them ---- */

static void marks(void **state)
{
    struct both b;
    const struct tg_route *route;

    (void)state;
    read_both(&b, "routes:\n- {from: 'https://f', to: 'http://u', policies: ['1']}\n"
                  "- {from: 'https://g', to: 'http://u', allow_any_authenticated_user: true}\n",
              SET(P("1", ALLOW("ann")), "{\"id\":\"77\",\"from\":\"https://a\",\"to\":[\"http://localhost\"]" OPEN "},"
                                        "{\"id\":\"78\",\"name\":\"b\",\"from\":\"https://b\",\"to\":"
                                        "[\"http://localhost\"],\"passIdentityHeaders\":true" OPEN "}"));
    assert_true(b.r.ok);
    assert_int_equal(tg_routes_count(b.r.routes), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(tg_routes_at(b.r.routes, i)->index, i);
    route = at(&b, "f");
    assert_true(!route->from_set && route->may_be_stale && route->tree == b.r.tree);
    assert_true(tg_slice_eq(route->policy_texts[0].name, TG_S("1")));
    route = at(&b, "g");
    assert_true(!route->from_set && !route->may_be_stale);
    route = at(&b, "a");
    assert_true(route->from_set && route->may_be_stale && route->tree == tg_set_tree(b.set));
    assert_true(tg_slice_eq(route->name, TG_S("77")));
    assert_true(tg_slice_eq(at(&b, "b")->name, TG_S("b")) && at(&b, "b")->pass_identity_headers);
    end(&b);
}

static void digest_of(const char *yaml, const char *set, char out[static 65])
{
    struct both b;

    read_both(&b, yaml, set);
    assert_true(b.r.ok);
    snprintf(out, 65, "%s", tg_routes_digest(b.r.routes));
    end(&b);
}

/* Policies and routes of the set are in the digest; header values, which may be secrets, are not. */
static void digest(void **state)
{
    static const char *const others[] = {
        SET(P("1", ALLOW("bob")), R("a", ",\"setRequestHeaders\":{\"X\":\"1\"}")),
        SET(P("1", ALLOW("ann")), R("a", ",\"setRequestHeaders\":{\"Y\":\"1\"}")),
        SET(P("1", ALLOW("ann")), R("a", "")),
        SET(P("1", ALLOW("ann")), ""),
    };
    char one[65], other[65];

    (void)state;
    digest_of(NULL, SET(P("1", ALLOW("ann")), R("a", ",\"setRequestHeaders\":{\"X\":\"1\"}")), one);
    digest_of(NULL, SET(P("1", ALLOW("ann")), R("a", ",\"setRequestHeaders\":{\"X\":\"2\"}")), other);
    assert_string_equal(one, other);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        digest_of(NULL, others[i], other);
        assert_string_not_equal(one, other);
    }
    digest_of("a: 1", SET("", ""), one);
    digest_of("a: 1", NULL, other);
    assert_string_not_equal(one, other);
}

static void warnings(void **state)
{
    struct both b;

    (void)state;
    read_both(&b, "routes: [{from: 'https://a', to: 'http://u', name: f, allow_any_authenticated_user: true}]",
              SET("", R("a", OPEN ",\"name\":\"s\"")));
    assert_true(is_told(&b.r, true, "route (s) can never match: routes[0] (f) before it"));
    end(&b);
    read_both(&b, "a: 1", SET("", ""));
    assert_true(is_told(&b.r, true, "cp:2:12: there are no routes"));
    end(&b);
    read_both(&b, "a: 1", NULL);                         /* they are still to come */
    assert_true(b.r.ok && b.r.problems.count == 0);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions), cmocka_unit_test(unresolved), cmocka_unit_test(no_source),
        cmocka_unit_test(said),      cmocka_unit_test(upstreams),  cmocka_unit_test(bad_documents),
        cmocka_unit_test(marks),     cmocka_unit_test(digest),     cmocka_unit_test(warnings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
