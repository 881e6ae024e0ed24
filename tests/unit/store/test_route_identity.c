/*
 * test_route_identity - which tokens a route takes, what it tells of them, and whose metadata is where.
 */
#include "support.h"
#include <stdio.h>

#define ROUTE "routes: [{to: 'http://u', allow_any_authenticated_user: true, "

static const struct tg_route *one(struct reading *r, const char *settings, const struct tg_route_defaults *d)
{
    char yaml[400];

    snprintf(yaml, sizeof(yaml), ROUTE "%s}]", settings);
    read_defaults(r, "t.yaml", yaml, d);
    if (!r->ok)
        fail_msg("%s: %s", settings, first_told(r));
    return tg_routes_at(r->routes, 0);
}

static const char *joined(const struct tg_strings *s)
{
    static char out[200];
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++)
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s" TG_S_FMT, i ? " " : "", TG_S_ARG(s->items[i]));
    out[n] = '\0';
    return out;
}

/* What a route does not say is what is said in general; of groups it may only add. */
static void overrides(void **state)
{
    static struct tg_slice general[] = {TG_S_INIT("all"), TG_S_INIT("staff")};
    static const struct tg_route_defaults on = {.pass_user_headers = true, .groups_filter = {general, 2, true}};
    static const struct tg_route_defaults off = {0};
    static const struct {
        const char *settings;
        bool general, user_headers;
        const char *groups;
    } cases[] = {
        {"name: a", true, true, "all staff"},
        {"name: a", false, false, ""},
        {"pass_user_headers: false, jwt_groups_filter: [x]", true, false, "all staff x"},
        {"pass_user_headers: true, jwt_groups_filter: x", false, true, "x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        const struct tg_route *route = one(&r, cases[i].settings, cases[i].general ? &on : &off);

        assert_int_equal(route->pass_user_headers, cases[i].user_headers);
        assert_string_equal(joined(&route->groups_filter), cases[i].groups);
        done(&r);
    }
}

static void values(void **state)
{
    static const struct tg_route_defaults none = {0}, mtls = {.client_ca = true};
    struct reading r;
    const struct tg_route *route = one(&r, "name: a", &none);

    (void)state;
    assert_int_equal(route->possession, 0);
    assert_true(route->accept_opaque);
    assert_false(route->issuer_is_uri);
    assert_false(route->strip_authorization);
    assert_null(route->resource);
    assert_null(route->upstream_auth);
    assert_null(route->rate_limits);
    assert_int_equal(route->from_scheme.len, 0);
    done(&r);
    route = one(&r, "from: 'HTTPS://a.test', proof_of_possession: mtls, accept_opaque: false, jwt_issuer_format: uri, "
                "required_scopes: [b, 'https://x.test/a'], upstream_auth: {token_file: x}, "
                "rate_limits: off", &mtls);
    assert_int_equal(route->possession, 3);
    assert_false(route->accept_opaque);
    assert_true(route->issuer_is_uri);
    assert_true(route->strip_authorization && route->upstream_auth);
    assert_true(cJSON_IsString(route->rate_limits)); /* whoever counts reads it */
    assert_true(tg_slice_eq(route->from_scheme, TG_S("https")));
    assert_string_equal(joined(&route->required_scopes), "b https://x.test/a");
    done(&r);
    read_text(&r, "upstream: 'http://u'");
    assert_true(r.ok && tg_routes_at(r.routes, 0)->accept_opaque);
    done(&r);
}

static void refused(void **state)
{
    static const struct { const char *settings, *part; } cases[] = {
        {"required_scopes: ['']", "required_scopes"},
        {"required_scopes: [a b]", "required_scopes"},
        {"required_scopes: ['a\"']", "required_scopes"},
        {"required_scopes: ['a\\']", "required_scopes"},
        {"required_scopes: ['\xc3\xa9']", "required_scopes"},
        {"proof_of_possession: mtls", "downstream_mtls"},
        {"proof_of_possession: true", "proof_of_possession"},
        {"resource_metadata: 5", "must be true"},
        {"resource_metadata: {resource: 'ftp://a.test'}", "resource"},
        {"resource_metadata: {resource: 'https://a.test/x?'}", "without a query"},
        {"resource_metadata: {resource: 'https://a.test/x#'}", "resource"},
        {"resource_metadata: {resource: 'https://a.test//x'}", "canonical"},
        {"resource_metadata: {resource: 'https://a.test/%41'}", "canonical"},
        {"resource_metadata: {scopes_supported: [a b]}", "scope"},
        {"resource_metadata: {resource_documentation: x}", "resource_documentation"},
        {"resource_metadata: {nobody: x}", "nobody"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char yaml[400];
        struct reading r;

        snprintf(yaml, sizeof(yaml), ROUTE "%s}]", cases[i].settings);
        read_text(&r, yaml);
        if (r.ok || !is_told(&r, false, cases[i].part))
            fail_msg("%s: %s", cases[i].settings, first_told(&r));
        done(&r);
    }
}

/* ---- whose metadata is where ---- */

static const char *const table =
    "routes:\n"
    "- {name: v6, from: 'https://[2001:DB8::1]', prefix: /mcp, to: 'http://u', resource_metadata: true}\n"
    "- {name: port, from: 'https://a.test:8443', prefix: /mcp, to: 'http://u', resource_metadata: true}\n"
    "- {name: silent, from: 'https://a.test', prefix: /mcp, to: 'http://u'}\n"
    "- {name: slash, from: 'https://a.test', prefix: /s/, to: 'http://u', resource_metadata: true}\n"
    "- {name: bare, from: 'https://a.test', prefix: /s, to: 'http://u', resource_metadata: true}\n"
    "- {name: root, from: 'https://a.test', prefix: /, to: 'http://u', resource_metadata: {resource_name: A}}\n"
    "- {name: elsewhere, from: 'https://b.test', prefix: /x, to: 'http://u', resource_metadata: {resource: "
    "'https://c.test/y'}}\n"
    "- {name: wild, from: 'https://*.w.test', path: /only, to: 'http://u', resource_metadata: true}\n"
    "- {name: any, prefix: /any, to: 'http://u', resource_metadata: true}\n";

static void metadata(void **state)
{
    static const struct { const char *why, *host; int port; const char *path, *want; } cases[] = {
        {"IPv6 in another spelling",   "2001:db8:0::1", -1,   "/mcp",   "v6"},
        {"its port",                   "a.test",        8443, "/mcp",   "port"},
        {"another port",               "a.test",        8444, "/mcp",   NULL},
        {"says nothing",               "a.test",        -1,   "/mcp",   NULL},
        {"a slash that is its own",    "a.test",        -1,   "/s/",    "slash"},
        {"the one without",            "a.test",        -1,   "/s",     "bare"},
        {"the whole host",             "A.TEST.",       -1,   "",       "root"},
        {"the whole host, with slash", "a.test",        -1,   "/",      "root"},
        {"not below it",               "a.test",        -1,   "/s/x",   NULL},
        {"by the path it says",        "b.test",        -1,   "/y",     "elsewhere"},
        {"not by its prefix",          "b.test",        -1,   "/x",     NULL},
        {"not by the host it says",    "c.test",        -1,   "/y",     NULL},
        {"wildcard",                   "x.w.test",      -1,   "/only",  "wild"},
        {"wildcard, a slash more",     "x.w.test",      -1,   "/only/", "wild"},
        {"wildcard's own name",        "w.test",        -1,   "/only",  NULL},
        {"any host",                   "z",             9,    "/any",   "any"},
        {"no host",                    "",              -1,   "/any",   "any"},
        {"in this case only",          "z",             -1,   "/ANY",   NULL},
    };
    struct reading r;

    (void)state;
    read_text(&r, table);
    if (!r.ok)
        fail_msg("%s", first_told(&r));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct tg_route *found = tg_routes_of_resource(r.routes, tg_slice_str(cases[i].host), cases[i].port,
                                                             tg_slice_str(cases[i].path));

        if (found ? !cases[i].want || !tg_slice_eq(found->name, tg_slice_str(cases[i].want)) : cases[i].want != NULL)
            fail_msg("%s: found " TG_S_FMT, cases[i].why, found ? (int)found->name.len : 7,
                     found ? found->name.ptr : "nothing");
    }
    done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overrides),
        cmocka_unit_test(values),
        cmocka_unit_test(refused),
        cmocka_unit_test(metadata),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
