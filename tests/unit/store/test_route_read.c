/*
 * test_route_read - every setting of a route: what it becomes, what is refused and with which words.
 */
#include "support.h"
#include <stdio.h>

static void read_route(struct reading *r, const char *settings)
{
    struct tg_buf yaml = {0};

    tg_buf_addf(&yaml, "routes: [{%s}]", settings);
    read_text(r, tg_buf_cstr(&yaml));
    tg_buf_fini(&yaml);
}

#define TO "to: 'http://u', "
#define EVERYBODY TO "allow_public_unauthenticated_access: true, "

static void refused(void **state)
{
    static const struct { const char *why, *settings, *part; } cases[] = {
        {"no to", "from: 'http://a'", "needs `to`"},
        {"an unknown setting", TO "prefx: /a", "did you mean routes[0].prefix?"},
        {"an unknown setting, far", TO "quux: 1", "quux is not a setting"},
        {"camelCase", TO "prefixRewrite: /", "not a setting"},
        /* from */
        {"from with a path", TO "from: 'https://a/api'", "say \"prefix: /api\""},
        {"from with a slash", TO "from: 'https://a/'", "scheme, host and port only"},
        {"from with a query", TO "from: 'https://a?b'", "no query"},
        {"from with a fragment", TO "from: 'https://a#b'", "fragment"},
        {"from with a user", TO "from: 'https://me@a'", "user"},
        {"from without a scheme", TO "from: a.example.com", "http"},
        {"from of another scheme", TO "from: 'tcp+https://a:22'", "only http and https"},
        {"from ssh", TO "from: 'ssh://a'", "only http and https"},
        {"from without a host", TO "from: 'https://'", "host"},
        {"from with port 0", TO "from: 'https://a:0'", "port"},
        {"from with port 65536", TO "from: 'https://a:65536'", "port"},
        {"a wildcard within", TO "from: 'https://a.*.x'", "leftmost label only"},
        {"a wildcard as a part", TO "from: 'https://a*.x'", "leftmost label only"},
        {"two wildcards", TO "from: 'https://*.*.x'", "leftmost label only"},
        {"only a wildcard", TO "from: 'https://*'", "leftmost label only"},
        {"an empty from", TO "from: ''", "from"},
        {"from is text", TO "from: [a]", "must be text"},
        /* paths */
        {"prefix without slash", TO "prefix: api", "must start with \"/\""},
        {"an empty prefix", TO "prefix: ''", "must start with \"/\""},
        {"prefix with dots", TO "prefix: /a/../b", "write \"/b\""},
        {"prefix with two slashes", TO "prefix: //a", "write \"/a\""},
        {"prefix with a needless escape", TO "prefix: /%61", "write \"/a\""},
        {"prefix with a lower-case escape", TO "prefix: /%c3%a4", "write \"/%C3%A4\""},
        {"prefix with %2F", TO "prefix: /a%2Fb", "routes[0].prefix"},
        {"prefix with a cut escape", TO "prefix: /a%2", "routes[0].prefix"},
        {"prefix with a space", TO "prefix: '/a b'", "routes[0].prefix"},
        {"prefix with a query", TO "prefix: '/a?b'", "routes[0].prefix"},
        {"path with dots", TO "path: /./a", "write \"/a\""},
        {"path without slash", TO "path: a", "must start with \"/\""},
        {"prefix and path", TO "prefix: /a, path: /a", "cannot be together with prefix"},
        {"rewrite without slash", TO "prefix: /a, prefix_rewrite: b", "must start with \"/\""},
        {"rewrite with dots", TO "prefix: /a, prefix_rewrite: /b/..", "write \"/\""},
        /* to */
        {"no URL", "to: []", "at least one URL"},
        {"a unix socket without a path", "to: 'unix:'", "absolute path"},
        {"a unix socket beside the file", "to: 'unix:u.sock'", "absolute path"},
        {"another scheme", "to: 'tcp://u:1'", "only http://, https:// and unix:/path are supported"},
        {"ftp", "to: 'ftp://u'", "http"},
        {"no scheme", "to: u", "http"},
        {"to with a query", "to: 'http://u/a?b=c'", "no query"},
        {"to with an empty query", "to: 'http://u/a?'", "no query"},
        {"to with a fragment", "to: 'http://u/#a'", "fragment"},
        {"to with a password", "to: 'http://me:secret@u'", "user"},
        {"to with dots", "to: 'http://u/a/../b'", "write \"/b\""},
        {"weight 0", "to: ['http://u,0']", "comes the weight"},
        {"a negative weight", "to: ['http://u,-1']", "comes the weight"},
        {"a weight too large", "to: ['http://u,4294967296']", "comes the weight"},
        {"a password after a comma", "to: 'http://u,http://me:secret@v'", "several URLs are a list"},
        {"a password of another scheme", "to: 'tcp://me:secret@v'", "only http://, https:// and"},
        {"two URLs in one", "to: 'http://u,http://v'", "several URLs are a list"},
        {"some weights", "to: ['http://u,1', 'http://v']", "either every URL has a weight or none"},
        {"echo among others", "to: ['echo:', 'http://v']", "the only one"},
        {"one of two is bad", "to: ['http://u', 'https://v?w']", "no query"},
        {"to is text", "to: 5", "must be a list of text"},
        /* Host */
        {"two Hosts", TO "preserve_host_header: true, host_rewrite: b", "cannot be together with preserve_host_header"},
        {"a Host with a space", TO "host_rewrite: 'a b'", "must be a host"},
        {"a Host with a line break", TO "host_rewrite: \"a\\r\\nX: y\"", "must be a host"},
        {"a Host with a path", TO "host_rewrite: a/b", "must be a host"},
        /* header fields */
        {"a name with a space", TO "set_request_headers: {'a b': c}", "no header field name"},
        {"a name with a colon", TO "set_request_headers: {'a:': c}", "no header field name"},
        {"an empty name", TO "set_request_headers: {'': c}", "no header field name"},
        {"a field that frames", TO "set_request_headers: {content-length: '5'}", "written by tollgate itself"},
        {"Host", TO "set_request_headers: {Host: a}", "written by tollgate itself"},
        {"Transfer-Encoding in answers", TO "set_response_headers: {Transfer-Encoding: chunked}",
         "written by tollgate itself"},
        {"a line break in a value", TO "set_request_headers: {a: \"b\\r\\nc: d\"}", "not allowed in a value"},
        {"a line break in an answer", TO "set_response_headers: {a: \"b\\nc\"}", "not allowed in a value"},
        {"a space at the end", TO "set_request_headers: {a: 'b '}", "not allowed in a value"},
        {"a template", TO "set_request_headers: {a: 'x ${pomerium.access_token}'}", "templates such as"},
        {"a template after a dollar", TO "set_request_headers: {a: '$$${pomerium.jwt}'}", "templates such as"},
        {"the same name twice", TO "set_request_headers: {X-A: b, x-a: c}", "is there twice"},
        {"a value that is a list", TO "set_request_headers: {a: [b]}", "must give text"},
        {"removing no name", TO "remove_request_headers: ['a b']", "no header field name"},
        {"removing Host", TO "remove_request_headers: [host]", "written by tollgate itself"},
        /* bounds */
        {"timeout without unit", TO "timeout: 30", "needs a unit"},
        {"a negative timeout", TO "timeout: -5s", "timeout"},
        {"a body of 0", TO "max_request_bytes: 0", "none: no limit"},
        {"an error format", TO "error_format: html", "error_format"},
        {"forward_authorization", TO "forward_authorization: maybe", "keep or strip"},
        /* who */
        {"another token format", TO "bearer_token_format: idp_access_token", "is not supported"},
        {"another balance", TO "load_balancing_policy: ring_hash", "only round_robin"},
        {"public and authenticated", EVERYBODY "allow_any_authenticated_user: true", "allow_any_authenticated_user"},
        {"public and users", EVERYBODY "allowed_users: [a]", "allow_public_unauthenticated_access"},
        {"public and no users", EVERYBODY "allowed_users: []", "allow_public_unauthenticated_access"},
        {"public and domains", EVERYBODY "allowed_domains: [a]", "allow_public_unauthenticated_access"},
        {"authenticated and users", TO "allow_any_authenticated_user: true, allowed_users: [a]",
         "allow_any_authenticated_user"},
        {"authenticated and domains", TO "allow_any_authenticated_user: true, allowed_domains: []",
         "allow_any_authenticated_user"},
        {"claims are a mapping", TO "allowed_idp_claims: [a]", "allowed_idp_claims"},
        {"a name without text", TO "name: ''", "1 to 128 bytes"},
        {"a name with a line break", TO "name: \"a\\nb\"", "control character"},
        {"a flag is a boolean", TO "allow_websockets: 'yes'", "must be true or false"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_route(&r, cases[i].settings);
        if (r.ok || r.problems.errors == 0 || !is_told(&r, false, cases[i].part))
            fail_msg("%s: ok %d, told: %s", cases[i].why, r.ok, first_told(&r));
        for (size_t k = 0; k < r.problems.count; k++)
            if (strncmp(r.problems.items[k].text, "t.yaml:1:", 9) != 0 || strstr(r.problems.items[k].text, "secret"))
                fail_msg("%s: %s", cases[i].why, r.problems.items[k].text);
        done(&r);
    }
}

/* What Pomerium has and tollgate does not is refused by its name, whatever its value. */
static void refused_by_name(void **state)
{
    static const char *const names[] = {
        "redirect", "response", "regex", "regex_priority_order", "regex_rewrite_pattern", "regex_rewrite_substitution",
        "host_rewrite_header", "host_path_regex_rewrite_pattern", "host_path_regex_rewrite_substitution", "allow_spdy",
        "allow_upgrades", "rewrite_response_headers", "idp_access_token_allowed_audiences",
        "idp_client_id", "idp_client_secret", "tls_downstream_server_name", "tls_upstream_allow_renegotiation",
        "tls_downstream_client_ca",
        "tls_downstream_client_ca_file", "health_checks", "healthy_panic_threshold", "outlier_detection", "lb_config",
        "circuit_breaker_thresholds", "depends_on", "enable_google_cloud_serverless_authentication",
        "kubernetes_service_account_token", "kubernetes_service_account_token_file", "mcp", "upstream_tunnel",
        "session_recording", "sub_policies", "logo_url",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char settings[200], part[200];
        struct reading r;

        snprintf(settings, sizeof(settings), EVERYBODY "%s: false", names[i]);
        snprintf(part, sizeof(part), ".%s is not supported yet: ", names[i]);
        read_route(&r, settings);
        if (r.ok || r.problems.errors != 1 || !is_told(&r, false, part))
            fail_msg("%s: %s", names[i], first_told(&r));
        done(&r);
    }
}

static void every_row_is_unique(void **state)
{
    (void)state;
    for (size_t i = 0; i < tg_route_setting_count; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(tg_route_settings[i].name, tg_route_settings[j].name);
}

static void from(void **state)
{
    static const struct { const char *text, *host; int port; } cases[] = {
        {"https://a.example.com", "a.example.com", -1},
        {"HTTPS://A.Example.COM.", "a.example.com", -1},
        {"http://a:8080", "a", 8080},
        {"https://a:443", "a", 443},
        {"https://10.0.0.1", "10.0.0.1", -1},
        {"https://[2001:DB8::0:1]:99", "2001:db8::1", 99},
        {"https://*.Example.com", ".example.com", -1},
        {"https://*.example.com:99", ".example.com", 99},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char settings[200];
        struct reading r;

        snprintf(settings, sizeof(settings), EVERYBODY "from: '%s'", cases[i].text);
        read_route(&r, settings);
        if (!r.ok)
            fail_msg("%s: %s", cases[i].text, first_told(&r));
        const struct tg_route *route = tg_routes_at(r.routes, 0);

        if (!tg_slice_eq(route->from_host, tg_slice_str(cases[i].host)) || route->from_port != cases[i].port)
            fail_msg("%s: " TG_S_FMT " %d", cases[i].text, TG_S_ARG(route->from_host), route->from_port);
        done(&r);
    }
}

static void to(void **state)
{
    static const struct { const char *to; size_t count; struct { const char *authority,
                                                                *path; uint32_t weight; } want[2]; } cases[] = {
        {"'http://u'", 1, {{"u", "", 1}}},
        {"'http://u/'", 1, {{"u", "", 1}}},
        {"'http://u:80/'", 1, {{"u", "", 1}}},
        {"'http://U:8080/base/'", 1, {{"U:8080", "/base", 1}}},
        {"'http://[::1]:3000'", 1, {{"[::1]:3000", "", 1}}},
        {"'http://[::1]'", 1, {{"[::1]", "", 1}}},
        {"['http://u/a', 'http://v/b']", 2, {{"u", "/a", 1}, {"v", "/b", 1}}},
        {"['http://u,3', 'http://v/x,4294967295']", 2, {{"u", "", 3}, {"v", "/x", 4294967295u}}},
        {"'http://u, 7'", 1, {{"u", "", 7}}},
        {"'https://u'", 1, {{"u", "", 1}}},
        {"'https://u:443/b'", 1, {{"u", "/b", 1}}},
        {"'https://u:80'", 1, {{"u:80", "", 1}}},
        {"'http://u:443'", 1, {{"u:443", "", 1}}},
        {"'unix:/run/u.sock'", 1, {{"localhost", "/run/u.sock", 1}}},
        {"['unix:/run/u,2', 'https://v,3']", 2, {{"localhost", "/run/u", 2}, {"v", "", 3}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char settings[200];
        struct reading r;

        snprintf(settings, sizeof(settings), "allow_public_unauthenticated_access: true, to: %s", cases[i].to);
        read_route(&r, settings);
        if (!r.ok)
            fail_msg("%s: %s", cases[i].to, first_told(&r));
        const struct tg_route *route = tg_routes_at(r.routes, 0);

        assert_int_equal(route->target_count, cases[i].count);
        for (size_t k = 0; k < route->target_count; k++) {
            const struct tg_target *t = &route->targets[k];

            if (!tg_slice_eq(t->authority, tg_slice_str(cases[i].want[k].authority)) || t->echo ||
                !tg_slice_eq(t->url.path, tg_slice_str(cases[i].want[k].path)) || t->weight != cases[i].want[k].weight)
                fail_msg("%s: " TG_S_FMT " " TG_S_FMT, cases[i].to, TG_S_ARG(t->authority), TG_S_ARG(t->url.path));
        }
        done(&r);
    }
    struct reading r;

    read_route(&r, "allow_public_unauthenticated_access: true, to: 'echo:'");
    assert_true(r.ok && tg_routes_at(r.routes, 0)->targets[0].echo);
    assert_int_equal(tg_routes_at(r.routes, 0)->target_count, 1);
    done(&r);
}

static void everything_else(void **state)
{
    struct reading r;

    (void)state;
    read_route(&r, TO "name: orders, prefix: /a/, prefix_rewrite: /, host_rewrite: 'h:81', allow_websockets: true, "
                      "timeout: 1m30s, idle_timeout: none, max_request_bytes: 1KiB, identity_providers: [corp, x], "
                      "set_request_headers: {X-A: 'cost $$5 and $6'}, set_response_headers: {X-B: '${kept}'}, "
                      "remove_request_headers: [cookie], show_error_details: true, error_format: problem, "
                      "pass_identity_headers: true, forward_authorization: strip, allowed_users: [ann], "
                      "bearer_token_format: jwt, load_balancing_policy: ROUND_ROBIN, description: d");
    if (!r.ok || r.problems.count > 0)
        fail_msg("%s", first_told(&r));
    const struct tg_route *route = tg_routes_at(r.routes, 0);

    assert_true(tg_slice_eq(route->name, TG_S("orders")));
    assert_true(tg_slice_eq(route->prefix, TG_S("/a/")) && tg_slice_eq(route->prefix_rewrite, TG_S("/")));
    assert_null(route->path.ptr);
    assert_true(tg_slice_eq(route->host_rewrite, TG_S("h:81")));
    assert_true(route->allow_websockets && route->show_error_details && route->pass_identity_headers);
    assert_true(route->strip_authorization && !route->preserve_host_header && !route->public_access);
    assert_int_equal(route->timeout_ms, 90000);
    assert_true(route->idle_timeout_ms == TG_ROUTE_NO_TIMEOUT_MS);
    assert_int_equal(route->max_request_bytes, 1024);
    assert_int_equal(route->error_format, TG_FORMAT_PROBLEM);
    assert_int_equal(route->provider_count, 2);
    assert_true(tg_slice_eq(route->provider_names[1], TG_S("x")));
    assert_true(route->providers == 0);                  /* nobody, until the names are known */
    assert_non_null(route->forward);
    assert_int_equal(decide(route, "GET", "ann"), TG_ALLOW);
    assert_int_equal(decide(route, "GET", "bob"), TG_DENY);
    assert_int_equal(decide(route, "GET", NULL), TG_UNAUTHENTICATED);
    done(&r);
}

static void general_settings(void **state)
{
    struct tg_slice names[] = {TG_S_INIT("X-Email")}, values[] = {TG_S_INIT("email")};
    const struct tg_route_defaults defaults = {.pass_identity_headers = true, .strip_authorization = true,
                                               .error_format = TG_FORMAT_OAUTH, .claims_headers = {names, values, 1}};
    struct reading r;

    (void)state;
    read_defaults(&r, "t.yaml", "routes: [{" EVERYBODY "prefix: /a}, {" EVERYBODY "pass_identity_headers: false, "
                  "forward_authorization: keep, error_format: zero, timeout: 0s, max_request_bytes: none}]", &defaults);
    assert_true(r.ok);
    const struct tg_route *a = tg_routes_at(r.routes, 0), *b = tg_routes_at(r.routes, 1);

    assert_true(a->pass_identity_headers && a->strip_authorization && a->error_format == TG_FORMAT_OAUTH);
    assert_true(a->timeout_ms == 0 && a->idle_timeout_ms == 0 && a->max_request_bytes == 0);
    assert_true(a->providers == UINT64_MAX);
    assert_true(!b->pass_identity_headers && !b->strip_authorization && b->error_format == TG_FORMAT_ZERO);
    assert_true(b->timeout_ms == TG_ROUTE_NO_TIMEOUT_MS && b->max_request_bytes == UINT64_MAX);
    assert_true(tg_slice_eq(a->name, TG_S("route-0")) && tg_slice_eq(b->name, TG_S("route-1")));
    done(&r);
}

/* A rewrite without prefix or path has the slash to replace. */
static void rewrite_alone(void **state)
{
    struct reading r;

    (void)state;
    read_route(&r, EVERYBODY "prefix_rewrite: /v2/");
    assert_true(r.ok && r.problems.count == 0);
    assert_true(tg_slice_eq(tg_routes_at(r.routes, 0)->prefix, TG_S("/")));
    done(&r);
}

static void all_errors(void **state)
{
    struct reading r;

    (void)state;
    read_route(&r, "to: 'https://u?a', from: 'http://a/b', prefix: a, timeout: 5, regex: x, policies: [p], "
                   "set_request_headers: {Host: a}, policy: {alow: {}}");
    assert_false(r.ok);
    assert_int_equal(r.problems.errors, 8);
    done(&r);
}

/* ---- one route alone ---- */

static struct tg_route *read_one(struct reading *r, const char *json)
{
    static const struct tg_route_defaults none = {0};
    struct tg_err err;

    memset(r, 0, sizeof(*r));
    tg_arena_init(&r->arena, NULL, 0);
    if (tg_tree_parse("line.json", tg_slice_str(json), &r->tree, &err) != TG_OK)
        fail_msg("%s: %s", json, err.text);
    return tg_route_read_one(r->tree, r->tree->root, &none, &r->arena, &r->problems);
}

static void alone(void **state)
{
    static const struct { const char *json, *user; enum tg_decision want; } cases[] = {
        {"{}", "ann", TG_DENY},
        {"{\"allow_public_unauthenticated_access\": true}", NULL, TG_ALLOW},
        {"{\"allow_any_authenticated_user\": true}", NULL, TG_UNAUTHENTICATED},
        {"{\"allowed_users\": [\"ann\"]}", "ann", TG_ALLOW},
        {"{\"from\": \"https://a\", \"to\": \"http://u\", "
         "\"policy\": [{\"allow\": {\"and\": [{\"user\": \"ann\"}]}}]}", "ann",
         TG_ALLOW},
        {"{\"policies\": [{\"allow\": {\"and\": [{\"user\": \"ann\"}]}}, "
         "{\"ppl\": {\"deny\": {\"or\": [{\"user\": \"bob\"}]}}}]}",
         "ann", TG_ALLOW},
        {"{\"policies\": [[{\"allow\": {\"and\": [{\"accept\": 1}]}}], "
         "{\"ppl\": {\"deny\": {\"or\": [{\"user\": \"bob\"}]}}}]}",
         "bob", TG_DENY},
    };
    static const char *const bad[] = {
        "[]", "{\"policies\": [\"staff\"]}", "{\"policies\": {}}", "{\"policies\": [5]}", "{\"regex\": \"a\"}",
        "{\"allow_any_authenticated_user\": true, \"allowed_users\": [\"a\"]}",
        "{\"policies\": [{\"ppl\": {\"x\": 1}}]}",
    };
    struct reading r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_route *route = read_one(&r, cases[i].json);

        if (!route)
            fail_msg("%s: %s", cases[i].json, first_told(&r));
        if (decide(route, "GET", cases[i].user) != cases[i].want)
            fail_msg("%s: %d", cases[i].json, decide(route, "GET", cases[i].user));
        tg_route_fini(route);
        done(&r);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (read_one(&r, bad[i]) || r.problems.errors == 0)
            fail_msg("%s passes", bad[i]);
        done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(refused_by_name),
        cmocka_unit_test(every_row_is_unique),
        cmocka_unit_test(from),
        cmocka_unit_test(to),
        cmocka_unit_test(everything_else),
        cmocka_unit_test(general_settings),
        cmocka_unit_test(rewrite_alone),
        cmocka_unit_test(all_errors),
        cmocka_unit_test(alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
