/*
 * test_routes_digest - what changes the digest of the routes and policies, and what does not.
 */
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define POLICY "policies: [{name: a, ppl: {allow: {and: [{user: ann}]}}}]\n"
#define ROUTE  "routes: [{to: 'http://u', policies: [a]}]\n"

static void take(const char *file, const char *yaml, char out[static 65])
{
    static const struct tg_route_defaults none = {0};
    struct reading r;

    read_defaults(&r, file, yaml, &none);
    if (!r.ok)
        fail_msg("%s: %s", yaml, first_told(&r));
    snprintf(out, 65, "%s", tg_routes_digest(r.routes));
    done(&r);
}

static void sections(void **state)
{
    static const struct { const char *why, *one, *other; bool same; } cases[] = {
        {"the same", POLICY ROUTE, POLICY ROUTE, true},
        {"other sections", POLICY ROUTE, "address: '127.0.0.1:1'\n" POLICY ROUTE, true},
        {"layout and comments", POLICY ROUTE,
         "# x\nroutes:\n  - to: http://u\n    policies: [a]\n" POLICY, true},
        {"a policy", POLICY ROUTE, "policies: [{name: a, ppl: {allow: {and: [{user: bob}]}}}]\n" ROUTE, false},
        {"text is no number", "policies: [{name: a, ppl: {allow: {and: [{claim/x: 5}]}}}]\n" ROUTE,
         "policies: [{name: a, ppl: {allow: {and: [{claim/x: '5'}]}}}]\n" ROUTE, false},
        {"mode", POLICY ROUTE, POLICY "routes: [{to: 'http://u', policies: [a], mode: shadow}]", false},
        {"a path", POLICY ROUTE, POLICY "routes: [{to: 'http://u', policies: [a], prefix: /a}]", false},
        {"order of routes", "routes: [{to: 'http://u', prefix: /a}, {to: 'http://u', prefix: /b}]",
         "routes: [{to: 'http://u', prefix: /b}, {to: 'http://u', prefix: /a}]", false},
        {"a secret comes", POLICY ROUTE,
         POLICY "routes: [{to: 'http://u', policies: [a], debug_trace: 0123456789abcdef}]", true},
        {"a secret changes", POLICY "routes: [{to: 'http://u', policies: [a], debug_trace: 0123456789abcdef}]",
         POLICY "routes: [{to: 'http://u', policies: [a], debug_trace: 0123456789abcdeX}]", true},
        {"a field's value", POLICY "routes: [{to: 'http://u', policies: [a], set_request_headers: {A: b}}]",
         POLICY "routes: [{to: 'http://u', policies: [a], set_request_headers: {A: c}}]", true},
        {"a field's name", POLICY "routes: [{to: 'http://u', policies: [a], set_request_headers: {A: b}}]",
         POLICY "routes: [{to: 'http://u', policies: [a], set_request_headers: {B: b}}]", false},
        {"short form", "upstream: 'http://u'", "upstream: 'http://v'", false},
        {"short form as a mapping", "upstream: {to: 'http://u', debug_trace: 0123456789abcdef}",
         "upstream: {to: 'http://u'}", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char one[65], other[65];

        take("t.yaml", cases[i].one, one);
        take("t.yaml", cases[i].other, other);
        assert_int_equal(strlen(one), 64);
        if ((strcmp(one, other) == 0) != cases[i].same)
            fail_msg("%s: %s %s", cases[i].why, one, other);
    }
}

static void put(const char *folder, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void folder_digest(const char *folder, char out[static 65])
{
    char yaml[128];

    snprintf(yaml, sizeof(yaml), "policies_dir: %s\nupstream: 'http://u'", folder);
    take("t.yaml", yaml, out);
}

/* Content and name of every file, not where the folder is; nor what no route uses. */
static void folder(void **state)
{
    char one[] = "/tmp/tollgate-digest-XXXXXX", was[65], is[65], path[128];

    (void)state;
    assert_non_null(mkdtemp(one));
    put(one, "a.yaml", "allow: {and: [{user: ann}]}");
    folder_digest(one, was);
    put(one, "a.yaml", "# again\nallow:\n  and: [{user: ann}]\n");
    folder_digest(one, is);
    assert_string_equal(was, is);
    put(one, "a.yaml", "allow: {and: [{user: bob}]}");
    folder_digest(one, is);
    assert_string_not_equal(was, is);
    put(one, "a.yaml", "allow: {and: [{user: ann}]}");
    put(one, "b.yaml", "{explanation: x, ppl: {deny: {and: [{user: ann}]}}}");
    folder_digest(one, is);
    assert_string_not_equal(was, is);
    folder_digest(one, was);
    put(one, "b.yaml", "{explanation: y, ppl: {deny: {and: [{user: ann}]}}}");
    folder_digest(one, is);
    assert_string_not_equal(was, is);
    snprintf(path, sizeof(path), "%s/b.yaml", one);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/a.yaml", one);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(one), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(sections), cmocka_unit_test(folder)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
