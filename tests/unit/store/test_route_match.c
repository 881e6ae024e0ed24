/*
 * test_route_match - which route a host, a port and a path find.
 */
#include "support.h"
#include <stdio.h>

static const char *const table =
    "routes:\n"
    "- {name: exact-admin, from: https://a.example.com, path: /admin, to: 'http://u'}\n"
    "- {name: any-health, prefix: /health, to: 'http://u'}\n"
    "- {name: a-api, from: https://a.example.com, prefix: /api, to: 'http://u'}\n"
    "- {name: port, from: 'http://b.example.com:8443', to: 'http://u'}\n"
    "- {name: port80, from: 'http://b.example.com:80', to: 'http://u'}\n"
    "- {name: wild, from: 'https://*.example.com', prefix: /w/, to: 'http://u'}\n"
    "- {name: a-rest, from: 'https://A.Example.COM.', to: 'http://u'}\n"
    "- {name: v6, from: 'http://[2001:DB8:0:0::1]', to: 'http://u'}\n"
    "- {name: wild-port, from: 'https://*.example.org:444', to: 'http://u'}\n"
    "- {name: any-one, path: /one, to: 'http://u'}\n"
    "- {name: late-a, from: https://c.example.com, prefix: /late, to: 'http://u'}\n";

static void finds(void **state)
{
    static const struct { const char *why, *host; int port; const char *path, *want; } cases[] = {
        {"exact path",                        "a.example.com",   -1,   "/admin",      "exact-admin"},
        {"a path is whole",                   "a.example.com",   -1,   "/admin/",     "a-rest"},
        {"host in any case",                  "A.eXample.Com",   -1,   "/admin",      "exact-admin"},
        {"host with a trailing dot",          "a.example.com.",  -1,   "/admin",      "exact-admin"},
        {"any host comes first in order",     "a.example.com",   -1,   "/health",     "any-health"},
        {"any host",                          "other",           -1,   "/healthz",    "any-health"},
        {"no host at all",                    "",                -1,   "/health",     "any-health"},
        {"a prefix is literal",               "a.example.com",   -1,   "/apix",       "a-api"},
        {"a prefix has case",                 "a.example.com",   -1,   "/API",        "a-rest"},
        {"any port without one",              "a.example.com",   1234, "/api",        "a-api"},
        {"that port",                         "b.example.com",   8443, "/",           "port"},
        {"no port said: 80",                  "b.example.com",   -1,   "/",           "port80"},
        {"port 80 said",                      "b.example.com",   80,   "/",           "port80"},
        {"another port",                      "b.example.com",   81,   "/",           NULL},
        {"wildcard before the host's own",    "a.example.com",   -1,   "/w/x",        "wild"},
        {"wildcard, host of no other route",  "z.example.com",   -1,   "/w/x",        "wild"},
        {"wildcard over several labels",      "y.z.example.com", -1,   "/w/x",        "wild"},
        {"wildcard with a trailing dot",      "z.example.com.",  -1,   "/w/x",        "wild"},
        {"wildcard is not the name itself",   "example.com",     -1,   "/w/x",        NULL},
        {"wildcard is at least a character",  ".example.com",    -1,   "/w/x",        NULL},
        {"wildcard needs the dot",            "zexample.com",    -1,   "/w/x",        NULL},
        {"wildcard with port",                "z.example.org",   444,  "/",           "wild-port"},
        {"wildcard with another port",        "z.example.org",   -1,   "/",           NULL},
        {"IPv6 in another spelling",          "2001:db8::1",     -1,   "/",           "v6"},
        {"IPv6, another",                     "2001:db8::2",     -1,   "/",           NULL},
        {"a host that is none",               "::::",            -1,   "/",           NULL},
        {"any host, path",                    "nowhere",         9,    "/one",        "any-one"},
        {"any host before a later own",       "c.example.com",   -1,   "/late/x",     "late-a"},
        {"nothing",                           "c.example.com",   -1,   "/",           NULL},
        {"an empty path",                     "c.example.com",   -1,   "",            NULL},
    };
    struct reading r;

    (void)state;
    read_text(&r, table);
    if (!r.ok)
        fail_msg("%s", first_told(&r));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct tg_route *route =
            tg_routes_match(r.routes, tg_slice_str(cases[i].host), cases[i].port, tg_slice_str(cases[i].path));

        if (!route != !cases[i].want || (route && !tg_slice_eq(route->name, tg_slice_str(cases[i].want))))
            fail_msg("%s: got " TG_S_FMT, cases[i].why, TG_S_ARG(route ? route->name : TG_S("none")));
    }
    done(&r);
}

/* Hosts too long to be one, and any bytes, find at most the routes of any host. */
static void odd_hosts(void **state)
{
    char host[1000];
    struct reading r;

    (void)state;
    read_text(&r, table);
    for (size_t len = 0; len <= sizeof(host); len++) {
        memset(host, 'a', sizeof(host));
        if (len >= 12)
            memcpy(host + len - 12, ".example.com", 12);
        const struct tg_route *route = tg_routes_match(r.routes, tg_slice(host, len), -1, TG_S("/w/x"));

        assert_int_equal(route != NULL, len > 12 && len <= 255);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        memset(host, (int)byte, 20);
        assert_null(tg_routes_match(r.routes, tg_slice(host, 20), -1, TG_S("/nowhere")));
        assert_non_null(tg_routes_match(r.routes, tg_slice(host, 20), -1, TG_S("/one")));
    }
    done(&r);
}

/* The law: the table finds what trying every route in order finds. */
static bool plainly_matches(const struct tg_route *route, const char *host, int port, const char *path)
{
    struct tg_slice h = tg_slice_str(host), p = tg_slice_str(path);
    bool wildcard = route->from_host.len > 0 && route->from_host.ptr[0] == '.';

    if (route->from_host.len > 0 && !wildcard && !tg_slice_eq(route->from_host, h))
        return false;
    if (wildcard && (!tg_slice_ends_with(h, route->from_host) || h.len == route->from_host.len))
        return false;
    if (route->from_port >= 0 && route->from_port != (port < 0 ? 80 : port))
        return false;
    return route->path.ptr ? tg_slice_eq(route->path, p) : !route->prefix.ptr || tg_slice_starts_with(p, route->prefix);
}

static unsigned draw(uint64_t *seed, unsigned n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % n;
}

static void agrees_with_trying_all(void **state)
{
    static const char *const froms[] = {"", "from: 'http://a.x', ", "from: 'http://b.x', ", "from: 'http://b.x:81', ",
                                        "from: 'http://*.x', ", "from: 'http://*.b.x:81', "};
    static const char *const paths[] = {"", "prefix: /, ", "prefix: /a, ", "prefix: /a/b, ", "path: /a, ",
                                        "path: /a/b, "};
    static const char *const hosts[] = {"a.x", "b.x", "c.x", "y.b.x", "x", "q"};
    static const char *const targets[] = {"/", "/a", "/a/b", "/ab", "/c"};
    static const int ports[] = {-1, 80, 81};
    uint64_t seed = 7;

    (void)state;
    for (int run = 0; run < 100; run++) {
        struct tg_buf yaml = {0};
        struct reading r;
        unsigned n = 1 + draw(&seed, 12);

        tg_buf_adds(&yaml, "routes:\n");
        for (unsigned i = 0; i < n; i++)
            tg_buf_addf(&yaml, "- {%s%sto: 'http://u'}\n", froms[draw(&seed, ARRAY_LEN(froms))],
                        paths[draw(&seed, ARRAY_LEN(paths))]);
        read_text(&r, tg_buf_cstr(&yaml));
        assert_true(r.ok);
        for (size_t h = 0; h < ARRAY_LEN(hosts); h++)
            for (size_t p = 0; p < ARRAY_LEN(targets); p++)
                for (size_t k = 0; k < ARRAY_LEN(ports); k++) {
                    const struct tg_route *want = NULL;

                    for (size_t i = 0; i < tg_routes_count(r.routes) && !want; i++)
                        if (plainly_matches(tg_routes_at(r.routes, i), hosts[h], ports[k], targets[p]))
                            want = tg_routes_at(r.routes, i);
                    assert_ptr_equal(tg_routes_match(r.routes, tg_slice_str(hosts[h]), ports[k],
                                                     tg_slice_str(targets[p])),
                                     want);
                }
        done(&r);
        tg_buf_fini(&yaml);
    }
}

static void thousands_of_hosts(void **state)
{
    struct tg_buf yaml = {0};
    struct reading r;
    char host[32];

    (void)state;
    tg_buf_adds(&yaml, "routes:\n");
    for (int i = 0; i < 2000; i++)
        tg_buf_addf(&yaml, "- {name: n%d, from: 'http://h%d.x', to: 'http://u'}\n", i, i);
    read_text(&r, tg_buf_cstr(&yaml));
    assert_true(r.ok);
    for (int i = 0; i < 2000; i++) {
        snprintf(host, sizeof(host), "h%d.x", i);
        const struct tg_route *route = tg_routes_match(r.routes, tg_slice_str(host), -1, TG_S("/"));

        assert_non_null(route);
        assert_int_equal(route->index, i);
    }
    assert_null(tg_routes_match(r.routes, TG_S("h2000.x"), -1, TG_S("/")));
    done(&r);
    tg_buf_fini(&yaml);
}

static void no_routes(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "routes: []");
    assert_true(r.ok);
    assert_true(is_told(&r, true, "no routes"));
    assert_null(tg_routes_match(r.routes, TG_S("a"), -1, TG_S("/")));
    done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(odd_hosts),
        cmocka_unit_test(agrees_with_trying_all),
        cmocka_unit_test(thousands_of_hosts),
        cmocka_unit_test(no_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
