/*
 * test_policies - named policies, from the configuration and from a folder, and what routes make of them.
 */
#include "support.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAFF "{name: staff, ppl: {allow: {and: [{user: {is: ann}}]}}, explanation: Only staff, remediation: Ask}"
#define NO_DELETE \
    "{name: no-delete, enforced: true, ppl: {deny: {or: [{http_method: {is: DELETE}}]}}, explanation: Never}"
#define ROUTE(settings) "routes: [{to: 'http://u', " settings "}]"

static void good(void **state)
{
    static const struct { const char *why, *yaml, *method, *user; enum tg_decision want; size_t texts; } cases[] = {
        {"by name",               "policies: [" STAFF "]\n" ROUTE("policies: [staff]"), "GET", "ann", TG_ALLOW, 1},
        {"one name as text",      "policies: [" STAFF "]\n" ROUTE("policies: staff"), "GET", "ann", TG_ALLOW, 1},
        {"by name, not allowed",  "policies: [" STAFF "]\n" ROUTE("policies: [staff]"), "GET", "bob", TG_DENY, 1},
        {"by name, no token",     "policies: [" STAFF "]\n" ROUTE("policies: [staff]"), "GET", NULL,
         TG_UNAUTHENTICATED, 1},
        {"not chosen",            "policies: [" STAFF "]\n" ROUTE("policies: []"), "GET", "ann", TG_DENY, 0},
        {"enforced on a public route", "policies: [" NO_DELETE "]\n" ROUTE("allow_public_unauthenticated_access: true"),
         "DELETE", NULL, TG_DENY, 1},
        {"enforced, not hit",     "policies: [" NO_DELETE "]\n" ROUTE("allow_public_unauthenticated_access: true"),
         "GET",
         NULL, TG_ALLOW, 1},
        {"enforced and chosen: once", "policies: [" NO_DELETE ", " STAFF "]\n" ROUTE("policies: [no-delete, staff]"),
         "DELETE", "ann", TG_DENY, 2},
        {"enforced on the short form", "policies: [" NO_DELETE "]\nupstream: 'http://u'", "DELETE", "ann", TG_DENY, 1},
        {"enforced, short form, not hit", "policies: [" NO_DELETE "]\nupstream: 'http://u'", "GET", "ann", TG_ALLOW, 1},
        {"inline and by name",
            "policies: [" STAFF "]\n" ROUTE("policies: [staff], policy: {allow: {and: [{user: bob}]}}"),
         "GET", "bob", TG_ALLOW, 2},
        {"inline as a list of rules",
         ROUTE("policy: [{allow: {and: [{user: bob}]}}, {deny: {or: [{http_method: PUT}]}}]"),
         "PUT", "bob", TG_DENY, 1},
        {"inline as a list of documents",
         ROUTE("policy: [[{allow: {and: [{user: bob}]}}], {allow: {and: [{user: ann}]}}]"),
         "GET", "ann", TG_ALLOW, 2},
        {"inline without rules",  ROUTE("policy: []"), "GET", "ann", TG_DENY, 1},
        {"a list of rules as ppl",
         "policies: [{name: p, ppl: [{allow: {and: [{user: ann}]}}]}]\n" ROUTE("policies: [p]"),
         "GET", "ann", TG_ALLOW, 1},
        {"mode enforce, described",
         "policies: [{name: p, mode: enforce, description: d, ppl: {allow: {and: [{accept: 1}]}}}]\n"
         ROUTE("policies: [p]"), "GET", NULL, TG_ALLOW, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (!r.ok)
            fail_msg("%s: %s", cases[i].why, first_told(&r));
        const struct tg_route *route = tg_routes_at(r.routes, 0);

        if (decide(route, cases[i].method, cases[i].user) != cases[i].want || route->policy_count != cases[i].texts)
            fail_msg("%s: %d, %zu policies", cases[i].why, decide(route, cases[i].method, cases[i].user),
                     route->policy_count);
        done(&r);
    }
}

static void refused(void **state)
{
    static const struct { const char *why, *yaml, *part; } cases[] = {
        {"unknown, near",      "policies: [" STAFF "]\n" ROUTE("policies: [staf]"), "did you mean \"staff\"?"},
        {"unknown, far",       "policies: [" STAFF "]\n" ROUTE("policies: [zzzzzzzz]"),
         "there is no policy named \"zzzzzzzz\""},
        {"unknown, none known", ROUTE("policies: [staff]"), "there is no policy named \"staff\""},
        {"listed twice",       "policies: [" STAFF "]\n" ROUTE("policies: [staff, staff]"), "listed twice"},
        {"a document in place of a name", ROUTE("policies: [{allow: {and: [{accept: true}]}}]"), "holds names"},
        {"names are a list",   ROUTE("policies: {a: b}"), "list of names"},
        {"two of a name",      "policies: [" STAFF ", " STAFF "]", "two policies named \"staff\""},
        {"no name",            "policies: [{ppl: {}}]", "policies[0].name"},
        {"an empty name",      "policies: [{name: '', ppl: {}}]", "policies[0].name"},
        {"a name with a line break", "policies: [{name: \"a\\nb\", ppl: {}}]", "control characters"},
        {"no ppl",             "policies: [{name: a}]", "ppl is required"},
        {"bare PPL in the list", "policies: [{allow: {and: [{accept: true}]}}]", "`name` and `ppl`"},
        {"no mapping",         "policies: [a]", "`name` and `ppl`"},
        {"no list",            "policies: {name: a}", "must be a list"},
        {"an unknown setting", "policies: [{name: a, ppl: {}, enforce: true}]", "did you mean"},
        {"an unknown mode",    "policies: [{name: a, ppl: {}, mode: audit}]", "mode"},
        {"bad PPL, unused",    "policies: [{name: a, ppl: {allow: {and: [{emial: x}]}}}]", "emial"},
        {"bad inline PPL",     ROUTE("policy: {alow: {}}"), "alow"},
        {"text for PPL",       ROUTE("policy: allow"), "policy"},
        {"policies_dir is text", "policies_dir: [a]", "path of a folder"},
        {"policies_dir is away", "policies_dir: /nonexistent/policies", "/nonexistent/policies"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (r.ok || r.problems.errors == 0 || !is_told(&r, false, cases[i].part))
            fail_msg("%s: ok %d, told: %s", cases[i].why, r.ok, first_told(&r));
        done(&r);
    }
}

/* A broken policy that three routes use is told once. */
static void errors_are_told_once(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "policies: [{name: a, ppl: {allow: {and: [{emial: x}]}}}]\n"
                  "routes: [{to: 'http://u', policies: [a]}, {to: 'http://u', policies: [a]}]");
    assert_false(r.ok);
    assert_int_equal(r.problems.errors, 1);
    done(&r);
}

/* The text of the policy that a verdict names. */
static void texts(void **state)
{
    struct tg_facts facts = {.method = TG_S("GET"), .path = TG_S("/"), .identity = true, .user = TG_S("bob")};
    struct tg_verdict verdict;
    struct reading r;

    (void)state;
    read_text(&r, "policies: [" STAFF ", " NO_DELETE "]\n" ROUTE("policies: [staff], allowed_users: [eve]"));
    const struct tg_route *route = tg_routes_at(r.routes, 0);

    tg_ppl_decide(route->policy, &facts, &verdict);
    assert_int_equal(verdict.decision, TG_DENY);
    assert_int_equal(verdict.policy, 0);
    assert_true(tg_slice_eq(route->policy_texts[0].name, TG_S("staff")));
    assert_true(tg_slice_eq(route->policy_texts[0].explanation, TG_S("Only staff")));
    assert_true(tg_slice_eq(route->policy_texts[0].remediation, TG_S("Ask")));
    facts.method = TG_S("DELETE");
    tg_ppl_decide(route->policy, &facts, &verdict);
    assert_int_equal(verdict.policy, 1);
    assert_true(tg_slice_eq(route->policy_texts[1].explanation, TG_S("Never")));
    done(&r);
}

/* ---- policies_dir ---- */

static char folder[] = "/tmp/tollgate-policies-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void drop(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(remove(path), 0);
}

static void read_in_folder(struct reading *r, const char *yaml)
{
    static const struct tg_route_defaults none = {0};
    char file[512];

    snprintf(file, sizeof(file), "%s/tollgate.conf", folder);
    read_defaults(r, file, yaml, &none);
}

/* Whether the file, or folder, is watched. */
static bool is_noted(const struct reading *r, const char *name)
{
    const char *path, *last;

    for (size_t i = 0; (path = tg_tree_noted_file(r->tree, i)); i++)
        if (strncmp(path, folder, strlen(folder)) == 0 && (last = strrchr(path, '/')) && strcmp(last + 1, name) == 0)
            return true;
    return false;
}

static void files(void **state)
{
    struct reading r;

    (void)state;
    put("bare.yaml", "allow: {and: [{user: ann}]}\n");
    put("list.yml", "- deny: {or: [{http_method: PUT}]}\n- allow: {and: [{user: bob}]}\n");
    put("item.json",
        "{\"name\": \"other\", \"ppl\": {\"allow\": {\"and\": [{\"user\": \"eve\"}]}}, \"explanation\": \"Eve\"}");
    put("stem.yaml", "{enforced: true, ppl: {deny: {or: [{http_method: DELETE}]}}}\n");
    put("bare.test.yaml", "this: is no policy\n");
    put(".hidden.yaml", "nor: is this\n");
    put("README.md", "# nor this");
    put("tollgate.conf", "nor this");
    read_in_folder(&r, "policies_dir: .\nroutes: [{to: 'http://u', policies: [bare, list, other]}]");
    if (!r.ok)
        fail_msg("%s", first_told(&r));
    const struct tg_route *route = tg_routes_at(r.routes, 0);

    assert_true(is_noted(&r, ".") && is_noted(&r, "bare.yaml") && is_noted(&r, "list.yml"));
    assert_true(is_noted(&r, "item.json") && is_noted(&r, "stem.yaml"));
    assert_false(is_noted(&r, "bare.test.yaml") || is_noted(&r, ".hidden.yaml") || is_noted(&r, "README.md"));
    tg_tree_free(r.tree);                                /* nothing of a program points into a tree */
    r.tree = NULL;
    assert_int_equal(decide(route, "GET", "ann"), TG_ALLOW);
    assert_int_equal(decide(route, "GET", "bob"), TG_ALLOW);
    assert_int_equal(decide(route, "PUT", "bob"), TG_DENY);
    assert_int_equal(decide(route, "GET", "eve"), TG_ALLOW);
    assert_int_equal(decide(route, "DELETE", "eve"), TG_DENY);
    assert_int_equal(decide(route, "GET", "zoe"), TG_DENY);
    assert_int_equal(route->policy_count, 4);
    assert_true(tg_slice_eq(route->policy_texts[2].name, TG_S("other")));
    assert_true(tg_slice_eq(route->policy_texts[3].name, TG_S("stem")));
    done(&r);
}

static void bad_files(void **state)
{
    static const struct { const char *why, *name, *text, *part; } cases[] = {
        {"no YAML",             "x.yaml", "a: [",                                  "x.yaml:"},
        {"no PPL",              "x.yaml", "alow: {and: [{user: ann}]}",            "x.yaml:1:"},
        {"a scalar",            "x.yml",  "hello",                                 "x.yml:1:"},
        {"an item without ppl", "x.yaml", "enforced: true",                        "ppl is required"},
        {"an unknown setting",  "x.yaml", "{enforce: true, ppl: {}}",              "did you mean"},
        {"an unknown mode",     "x.json", "{\"ppl\": {}, \"mode\": \"shadows\"}", "did you mean shadow?"},
        {"a name that is taken", "x.yaml", "{name: bare, ppl: {}}",                "two policies named \"bare\""},
        {"JSON in its own rules", "x.json", "{ppl: {}}",                           "x.json:"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        put(cases[i].name, cases[i].text);
        read_in_folder(&r, "policies_dir: .\nroutes: [{to: 'http://u', policies: [bare]}]");
        if (r.ok || !is_told(&r, false, cases[i].part))
            fail_msg("%s: ok %d, told: %s", cases[i].why, r.ok, first_told(&r));
        done(&r);
        drop(cases[i].name);
    }
}

/* An allow-list of 100,000 people is one file. */
static void a_long_list(void **state)
{
    struct tg_buf text = {0};
    struct reading r;

    (void)state;
    tg_buf_adds(&text, "allow: {and: [{user: {in: [");
    for (unsigned i = 0; i < 100000; i++)
        tg_buf_addf(&text, "person-%u@example.com, ", i);
    tg_buf_adds(&text, "ann]}}]}\n");
    put("long.yaml", tg_buf_cstr(&text));
    read_in_folder(&r, "policies_dir: .\nroutes: [{to: 'http://u', policies: [long]}]");
    if (!r.ok)
        fail_msg("%s", first_told(&r));
    assert_int_equal(decide(tg_routes_at(r.routes, 0), "GET", "person-99999@example.com"), TG_ALLOW);
    assert_int_equal(decide(tg_routes_at(r.routes, 0), "GET", "bob"), TG_DENY);
    done(&r);
    drop("long.yaml");
    tg_buf_fini(&text);
}

static void unreadable_files(void **state)
{
    char path[512];
    struct reading r;

    (void)state;
    snprintf(path, sizeof(path), "%s/gone.yaml", folder);
    assert_int_equal(symlink("/nonexistent/x.yaml", path), 0);
    read_in_folder(&r, "policies_dir: .");
    assert_false(r.ok);
    assert_true(is_told(&r, false, "gone.yaml"));
    done(&r);
    drop("gone.yaml");
    assert_int_equal(mkdir(path, 0700), 0);
    read_in_folder(&r, "policies_dir: .");
    assert_false(r.ok);
    assert_true(is_told(&r, false, "gone.yaml"));
    done(&r);
    drop("gone.yaml");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"bare.yaml", "list.yml", "item.json", "stem.yaml", "bare.test.yaml",
                                        ".hidden.yaml",
                                        "README.md", "tollgate.conf"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        drop(names[i]);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(refused),
        cmocka_unit_test(errors_are_told_once),
        cmocka_unit_test(texts),
        cmocka_unit_test(files),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(a_long_list),
        cmocka_unit_test(unreadable_files),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
