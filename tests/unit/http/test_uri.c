/* test_uri - the canonical path, authorities and URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "http/uri.h"

static struct tg_arena arena;

static const struct { const char *path, *canonical, *decoded; } paths[] = { /* canonical NULL: refused */
    {"/", "/", "/"}, {"/a/b", "/a/b", "/a/b"}, {"/a.b/..c/.d/e..", "/a.b/..c/.d/e..", "/a.b/..c/.d/e.."},
    {"//", "/", "/"}, {"///a//b//", "/a/b/", "/a/b/"}, {"//host/a", "/host/a", "/host/a"},
    {"/.", "/", "/"}, {"/..", "/", "/"}, {"/../../a", "/a", "/a"}, {"/./a", "/a", "/a"}, {"/a/.", "/a/", "/a/"},
    {"/a/..", "/", "/"}, {"/a/b/..", "/a/", "/a/"}, {"/a/b/../c", "/a/c", "/a/c"}, {"/a/b/../../c", "/c", "/c"},
    {"/a//../b", "/b", "/b"}, {"/a/./../b/", "/b/", "/b/"}, {"/...", "/...", "/..."}, {"/.../.", "/.../", "/.../"},
    {"/%61dmin", "/admin", "/admin"}, {"/%2e%2E/a", "/a", "/a"}, {"/a/%2e/b", "/a/b", "/a/b"}, {"/%7Ea", "/~a", "/~a"},
    {"/a%20b", "/a%20b", "/a b"}, {"/%c3%a4", "/%C3%A4", "/\xc3\xa4"}, {"/%e4", "/%E4", "/\xe4"},
    {"/%25", "/%25", "/%"}, {"/%2561", "/%2561", "/%61"}, {"/%3f%23", "/%3F%23", "/?#"}, {"/a%3Bb", "/a%3Bb", "/a;b"},
    {"/a;b=c/d", "/a;b=c/d", "/a;b=c/d"}, {"/a..;/b", "/a..;/b", "/a..;/b"}, {"/[|]", "/[|]", "/[|]"},
    {"/:@!$&'()*+,=-._~", "/:@!$&'()*+,=-._~", "/:@!$&'()*+,=-._~"},
    {"", NULL, NULL}, {"a", NULL, NULL}, {"*", NULL, NULL}, {"?", NULL, NULL},
    {"/%", NULL, NULL}, {"/%2", NULL, NULL}, {"/%zz", NULL, NULL}, {"/%2g", NULL, NULL}, {"/%u0041", NULL, NULL},
    {"/a%2fb", NULL, NULL}, {"/a%2Fb", NULL, NULL}, {"/a%5cb", NULL, NULL}, {"/a%00", NULL, NULL},
    {"/a%0a", NULL, NULL},
    {"/a%1f", NULL, NULL}, {"/a%7f", NULL, NULL}, {"/a\\b", NULL, NULL}, {"/a\x01", NULL, NULL}, {"/a b", NULL, NULL},
    {"/a#b", NULL, NULL}, {"/a?b", NULL, NULL}, {"/\xc3\xa4", NULL, NULL}, {"/a\"", NULL, NULL}, {"/<", NULL, NULL},
    {"/{a}", NULL, NULL}, {"/^", NULL, NULL}, {"/`", NULL, NULL},
    {"/..;/a", NULL, NULL}, {"/a/..;x=y/b", NULL, NULL}, {"/.;", NULL, NULL}, {"/a/;/b", NULL, NULL},
    {"/;", NULL, NULL},
    {"/%2e%2e;/a", NULL, NULL}, {"/..%3b/a", NULL, NULL}, {"/..%3Bx", NULL, NULL}, {"/%3b", NULL, NULL},
    {"/%c0%ae/a", NULL, NULL}, {"/%c1%81", NULL, NULL}, {"/%e0%80%ae", NULL, NULL}, {"/%f0%80%80%ae", NULL, NULL},
};

static void canonical_paths(void **state)
{
    struct tg_slice canonical, decoded, again;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct tg_slice in = tg_slice_str(paths[i].path);
        enum tg_status st = tg_uri_canonical_path(in, &arena, &canonical, &decoded, NULL);

        if ((st == TG_OK) != (paths[i].canonical != NULL))
            fail_msg("%s: %d", paths[i].path, st);
        if (st != TG_OK)
            continue;
        if (!tg_slice_eq(canonical, tg_slice_str(paths[i].canonical)) || !tg_slice_eq(decoded,
            tg_slice_str(paths[i].decoded)))
            fail_msg("%s: " TG_S_FMT " and " TG_S_FMT, paths[i].path, TG_S_ARG(canonical), TG_S_ARG(decoded));
        assert_int_equal(tg_uri_canonical_path(canonical, &arena, &again, &decoded, NULL), TG_OK);
        assert_true(tg_slice_eq(again, canonical));      /* the form is canonical */
    }
    assert_int_equal(tg_uri_canonical_path(TG_S("/api/v1"), &arena, &canonical, &decoded, NULL), TG_OK);
    assert_int_equal(tg_uri_canonical_path(tg_slice("/a\0b", 4), &arena, &canonical, &decoded, NULL), TG_BAD_INPUT);
}

/* Whatever three octets stand between slashes: refused, or stable and without dot or empty segments. */
static void canonical_is_stable(void **state)
{
    static const char octets[] = "/.%;2efFa0\\";
    char text[] = "/a/xxxxx/b";
    struct tg_slice canonical, decoded, again;

    (void)state;
    for (size_t n = 0, all = (sizeof octets - 1); n < all * all * all * all * all; n++) {
        size_t k = n;

        for (int i = 3; i < 8; i++, k /= all)
            text[i] = octets[k % all];
        if (tg_uri_canonical_path(tg_slice(text, 10), &arena, &canonical, &decoded, NULL) != TG_OK)
            continue;
        assert_int_equal(tg_uri_canonical_path(canonical, &arena, &again, &decoded, NULL), TG_OK);
        assert_true(tg_slice_eq(again, canonical));
        assert_false(tg_slice_contains(canonical, TG_S("//")) || tg_slice_contains(canonical, TG_S("/./")) ||
                     tg_slice_contains(canonical, TG_S("/../")));
        assert_false(tg_slice_contains(decoded, TG_S("/../")) || tg_slice_contains(decoded, TG_S("\\")));
        tg_arena_reset(&arena);
    }
}

static void loosest_paths(void **state)
{
    static const struct { const char *canonical, *loosest; } rows[] = {
        {"/a/b", "/a/b"}, {"/admin;x/y", "/admin/y"}, {"/admin%3Bx", "/admin"}, {"/%2561dmin", "/admin"},
        {"/%252561", "/a"},
        {"/admin%20", "/admin"}, {"/ok/%252e%252e/admin", "/admin"}, {"/ok%252f..%252fadmin", "/admin"},
        {"/a;b/c;d/", "/a/c/"},
        {"/a%255cb", "/a/b"}, {"/admin%2500.png", "/admin"}, {"/a%20b", "/a b"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tg_slice got = tg_uri_loosest_path(tg_slice_str(rows[i].canonical), &arena);

        if (!tg_slice_eq(got, tg_slice_str(rows[i].loosest)))
            fail_msg("%s: " TG_S_FMT, rows[i].canonical, TG_S_ARG(got));
    }
}

static void authorities(void **state)
{
    static const struct { const char *text, *host; int port; } rows[] = {
        {"a", "a", -1}, {"a:", "a", -1}, {"a:80", "a", 80}, {"a:00080", "a", 80}, {"a:0", "a", 0},
        {"a:65535", "a", 65535},
        {"[::1]", "::1", -1}, {"[::1]:8080", "::1", 8080}, {"[::1]:", "::1", -1}, {"10.0.0.1:1", "10.0.0.1", 1},
        {"a_b-c.d.", "a_b-c.d.", -1}, {"", NULL, 0}, {":80", NULL, 0}, {"a:65536", NULL, 0}, {"a:x", NULL, 0},
        {"a:-1", NULL, 0},
        {"a:+1", NULL, 0}, {"a:99999999999", NULL, 0}, {"a:1:2", NULL, 0}, {"::1", NULL, 0}, {"[::1", NULL, 0},
        {"[::1]x", NULL, 0}, {"[]", NULL, 0}, {"[a]", NULL, 0}, {"[1.2.3.4]", NULL, 0}, {"[v1.a]", NULL, 0},
        {"[fe80::1%25a]", NULL, 0},
        {"u@a", NULL, 0}, {"a,b", NULL, 0}, {"a b", NULL, 0}, {"a/b", NULL, 0}, {"a?b", NULL, 0}, {"a#b", NULL, 0},
        {"a%20b", NULL, 0}, {"a..b", NULL, 0}, {".a", NULL, 0}, {"a\x80", NULL, 0},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b", NULL, 0},
    };
    struct tg_slice host;
    int port;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (tg_uri_split_authority(tg_slice_str(rows[i].text), &host, &port) != (rows[i].host != NULL))
            fail_msg("%s", rows[i].text);
        if (rows[i].host && (!tg_slice_eq(host, tg_slice_str(rows[i].host)) || port != rows[i].port))
            fail_msg("%s: " TG_S_FMT " %d", rows[i].text, TG_S_ARG(host), port);
    }
}

static void urls(void **state)
{
    static const struct { const char *text, *host, *path; int port; bool tls; } rows[] = {
        {"http://a", "a", "", 80, false}, {"https://a/", "a", "/", 443, true},
        {"HTTPS://A:8443/x?y", "A", "/x", 8443, true},
        {"http://[::1]:3000/a%20b", "::1", "/a%20b", 3000, false}, {"http://a?q", "a", "", 80, false},
        {"http:/a", NULL, 0, 0, 0}, {"a:80", NULL, 0, 0, 0}, {"ftp://a", NULL, 0, 0, 0}, {"http://", NULL, 0, 0, 0},
        {"http://u:p@a/", NULL, 0, 0, 0}, {"http://a/#f", NULL, 0, 0, 0}, {"http://a#f", NULL, 0, 0, 0},
        {"http://a:0/", NULL, 0, 0, 0},
        {"http://a:99999", NULL, 0, 0, 0}, {"http://a/ b", NULL, 0, 0, 0}, {"http://a/%zz", NULL, 0, 0, 0},
        {"http://a/?%2", NULL, 0, 0, 0},
        {"", NULL, 0, 0, 0}, {"unix:/x", NULL, 0, 0, 0}, {"http://a\\b", NULL, 0, 0, 0},
    };
    struct tg_err err;
    struct tg_url url;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum tg_status st = tg_url_parse(tg_slice_str(rows[i].text), false, &url, &err);

        if ((st == TG_OK) != (rows[i].host != NULL))
            fail_msg("%s: %d", rows[i].text, st);
        if (st == TG_OK && (!tg_slice_eq(url.host, tg_slice_str(rows[i].host)) || url.port != rows[i].port ||
                            !tg_slice_eq(url.path, tg_slice_str(rows[i].path)) || url.tls != rows[i].tls ||
                            url.unix_socket))
            fail_msg("%s: " TG_S_FMT " %u", rows[i].text, TG_S_ARG(url.host), url.port);
    }
    assert_int_equal(tg_url_parse(TG_S("unix:/run/app.sock"), true, &url, &err), TG_OK);
    assert_true(url.unix_socket && tg_slice_eq(url.path, TG_S("/run/app.sock")));
    assert_int_equal(tg_url_parse(TG_S("unix:app.sock"), true, &url, &err), TG_BAD_INPUT);
    assert_int_equal(tg_url_parse(TG_S("unix:"), true, &url, &err), TG_BAD_INPUT);
}

static int setup(void **state)
{
    (void)state;
    tg_arena_init(&arena, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tg_arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_paths), cmocka_unit_test(canonical_is_stable), cmocka_unit_test(loosest_paths),
        cmocka_unit_test(authorities), cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
