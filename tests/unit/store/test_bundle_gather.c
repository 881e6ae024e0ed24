/*
 * test_bundle_gather - a document of either form becomes a set, or is told of where it is wrong.
 */
#include "bundle_support.h"
#include "base/file.h"
#include "base/json.h"
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/tollgate-gather-XXXXXX";

static const char *write_file(const char *name, const char *text)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(tg_file_replace(path, tg_slice_str(text), 0644, NULL), TG_OK);
    return path;
}

static struct tg_set *gather(const char *text, struct tg_problems *problems)
{
    struct tg_tree *tree = NULL;
    struct tg_err err = {0};
    struct tg_set *set;
    char path[160];

    snprintf(path, sizeof(path), "%s/doc.yaml", folder);
    if (tg_tree_parse(path, tg_slice_str(text), &tree, &err) != TG_OK)
        fail_msg("%s", err.text);
    set = tg_bundle_gather(tree, problems);
    tg_tree_free(tree);
    return set;
}

#define POLICY "policies:\n  - name: p\n    ppl: {allow: {and: [{domain: {is: a.test}}]}}\n"
#define ROUTE  "routes:\n  - from: https://a.test\n    to: http://127.0.0.1:9\n    policies: [p]\n    prefix: /\n"

static void good_ones(void **state)
{
    static const struct { const char *why, *text; size_t policies, routes; } cases[] = {
        {"configuration", POLICY ROUTE, 1, 1},
        {"an inline policy",
         "routes:\n  - {from: 'https://a.test', to: 'http://u:1', policy: {allow: {or: [{accept: true}]}}}\n", 0, 1},
        {"flags of a route",
         "routes:\n  - {from: 'https://a.test', to: 'http://u:1', allow_any_authenticated_user: true}\n", 0, 1},
        {"any upstream: it is the machine that judges", POLICY
         "routes:\n  - {from: 'https://a.test', to: ['https://far.example:8443'], policies: [p], "
         "tls_skip_verify: true}\n", 1, 1},
        {"the API's form",
         "{\"policies\":[{\"id\":\"11\",\"name\":\"x\",\"enforced\":false,\"description\":\"\",\"ppl\":"
         "[{\"allow\":{\"or\":[{\"accept\":true}]}}],\"routes\":[],\"createdAt\":\"2026-01-01T00:00:00Z\"}],"
         "\"routes\":[{\"id\":\"21\",\"name\":\"r\",\"from\":\"https://a.test\",\"to\":[\"http://u:1\"],"
         "\"policyIds\":[\"11\"],\"policies\":[{\"id\":\"11\",\"name\":\"x\"}],\"enforcedPolicyIds\":[],"
         "\"preserveHostHeader\":true,\"redirect\":null}]}", 1, 1},
        {"policies alone", POLICY, 1, 0},
        {"a whole configuration", "workers: 2\nidentity_providers: {}\n" POLICY ROUTE, 1, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_problems problems = {0};
        struct tg_set *set = gather(cases[i].text, &problems);

        if (!set)
            fail_msg("%s: %s", cases[i].why, problems.items[0].text);
        assert_int_equal(tg_set_policies(set), cases[i].policies);
        assert_int_equal(tg_set_routes(set), cases[i].routes);
        tg_set_unref(set);
        tg_problems_fini(&problems);
    }
}

/* The place is that of the document, whatever order and names the set has. */
static void places(void **state)
{
    static const struct { const char *why, *text, *place, *says; } cases[] = {
        {"a criterion", "policies:\n  - name: z\n    ppl: {allow: {and: [{user: ann}]}}\n"
                        "  - name: a\n    ppl:\n      allow:\n        and:\n          - emial: x\n",
         ":8:13: ", "emial"},
        {"a criterion of an inline policy",
         POLICY "routes:\n  - from: https://z.test\n    to: http://u:1\n    policies: [p]\n"
         "  - from: https://a.test\n    to: http://u:1\n    policy:\n      - deny:\n          or:\n"
         "            - nobody: true\n", ":13:15: ", "nobody"},
        {"a setting that nobody knows", POLICY ROUTE "    prefx: /x\n", ":9:5: ", "prefx"},
        {"a value", POLICY ROUTE "    timeout: soon\n", ":9:14: ", "timeout"},
        {"of the machine, not of a set", POLICY ROUTE "    tls_custom_ca_file: /etc/ca.pem\n", ":9:5: ",
         "may not come from"},
        {"a list that is none", "policies: 5\n", ":1:11: ", "list"},
        {"a section spelt wrong", "polices: []\n" ROUTE, ":1:1: ", "did you mean policies"},
        {"nothing", "workers: 1\n", ":1:1: ", "neither"},
        {"no mapping", "- 1\n", ":1:1: ", "mapping"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_problems problems = {0};
        struct tg_set *set = gather(cases[i].text, &problems);
        bool told = false;

        assert_null(set);
        for (size_t j = 0; j < problems.count; j++)
            told = told || (!problems.items[j].warning && strstr(problems.items[j].text, cases[i].place) &&
                            strstr(problems.items[j].text, cases[i].says));
        if (!told)
            fail_msg("%s: %s", cases[i].why, problems.count ? problems.items[0].text : "nothing told");
        tg_problems_fini(&problems);
    }
}

static void two_of_one_name(void **state)
{
    struct tg_problems problems = {0};

    (void)state;
    assert_null(gather("policies:\n  - {name: p, ppl: {allow: {or: [{accept: true}]}}}\n"
                       "  - {name: p, ppl: {allow: {or: [{reject: true}]}}}\n", &problems));
    assert_int_equal(problems.errors, 1);
    tg_problems_fini(&problems);
}

static void a_folder(void **state)
{
    struct tg_problems problems = {0};
    struct tg_set *set;
    char path[160];

    (void)state;
    snprintf(path, sizeof(path), "%s/dir", folder);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file("dir/bare.yaml", "allow:\n  and:\n    - user: ann\n");
    write_file("dir/item.yaml", "name: other\nenforced: true\nexplanation: because\nppl:\n  deny:\n    or:\n"
                                "      - user: bob\n");
    set = gather("policies_dir: dir\nroutes:\n  - {from: 'https://a.test', to: 'http://u:1', policies: [bare]}\n",
                 &problems);
    if (!set)
        fail_msg("%s", problems.items[0].text);
    assert_int_equal(tg_set_policies(set), 2);
    assert_true(tg_slice_contains(tg_set_text(set), TG_S("because")));
    tg_set_unref(set);
    write_file("dir/item.yaml", "allow:\n  and:\n    - usr: bob\n");
    assert_null(gather("policies_dir: dir\n", &problems));
    for (size_t i = 0; i < problems.count; i++)
        if (strstr(problems.items[i].text, "dir/item.yaml:3:7: "))
            goto told;
    fail_msg("%s", problems.count ? problems.items[0].text : "nothing");
told:
    unlink(write_file("dir/bare.yaml", ""));
    unlink(write_file("dir/item.yaml", ""));
    rmdir(path);
    tg_problems_fini(&problems);
}

static void passed_over(void **state)
{
    struct tg_problems problems = {0};
    struct tg_set *set = gather("workers: 2\n" POLICY ROUTE, &problems);

    (void)state;
    assert_non_null(set);
    assert_int_equal(problems.count, 1);
    assert_true(problems.items[0].warning);
    assert_non_null(strstr(problems.items[0].text, ":1:10: workers: left out"));
    tg_set_unref(set);
    tg_problems_fini(&problems);
}

/* Variables are of the machine that builds; a set holds none. */
static void variables_stay(void **state)
{
    struct tg_problems problems = {0};
    struct tg_set *set;

    (void)state;
    setenv("WHO", "ann", 1);
    set = gather("policies:\n  - {name: p, ppl: {allow: {and: [{user: '${WHO}'}]}}}\n", &problems);
    assert_non_null(set);
    assert_true(tg_slice_contains(tg_set_text(set), TG_S("${WHO}")));
    tg_set_unref(set);
    tg_problems_fini(&problems);
}

static int start(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones), cmocka_unit_test(places), cmocka_unit_test(two_of_one_name),
        cmocka_unit_test(a_folder), cmocka_unit_test(passed_over), cmocka_unit_test(variables_stay),
    };

    return cmocka_run_group_tests_name("store/bundle_gather", tests, start, stop);
}
