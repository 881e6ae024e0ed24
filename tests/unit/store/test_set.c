/*
 * test_set - the canonical text of a set: same content, same octets; what is kept, left out, refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/json.h"
#include "store/set.h"
#include <stdio.h>

#define SET(policies, routes) "{\"policies\":[" policies "],\"routes\":[" routes "]}"

static struct tg_set *parse(const char *text)
{
    struct tg_set *set = NULL;
    struct tg_err err;

    if (tg_set_parse("cp", tg_slice_str(text), &set, &err) != TG_OK)
        fail_msg("%s: %s", text, err.text);
    return set;
}

static void expect_text(const char *why, const char *text, const char *want)
{
    struct tg_set *set = parse(text), *again;
    struct tg_slice got = tg_set_text(set);

    if (!tg_slice_eq(got, tg_slice_str(want)))
        fail_msg("%s: " TG_S_FMT, why, TG_S_ARG(got));
    again = parse(want);                                 /* what is canonical stays as it is */
    assert_string_equal(tg_set_digest(set), tg_set_digest(again));
    tg_set_unref(again);
    tg_set_unref(set);
}

#define TEXT(policies, routes) "{\"policies\":[" policies "\n],\"routes\":[" routes "\n]}\n"

static void canonical(void **state)
{
    static const struct { const char *why, *text, *want; } cases[] = {
        {"nothing", SET("", ""), TEXT("", "")},
        {"white space and escapes", "{ \"routes\" : [ ] , \"policies\" : [{\"n\\u0061me\":\"\\u0070\",\"ppl\": {}}]}",
         TEXT("\n{\"name\":\"p\",\"ppl\":{}}", "")},
        {"members sorted on every level",
         SET("{\"ppl\":{\"deny\":{\"or\":[{\"b\":{\"z\":1,\"a\":2}}]},\"allow\":{}},\"id\":\"1\"}", ""),
         TEXT("\n{\"id\":\"1\",\"ppl\":{\"allow\":{},\"deny\":{\"or\":[{\"b\":{\"a\":2,\"z\":1}}]}}}", "")},
        {"policies by id, those without by name", SET("{\"id\":\"b\",\"ppl\":[]},{\"name\":\"a\",\"ppl\":[]}", ""),
         TEXT("\n{\"name\":\"a\",\"ppl\":[]},\n{\"id\":\"b\",\"ppl\":[]}", "")},
        {"what says nothing",
         SET("{\"id\":\"1\",\"name\":\"\",\"enforced\":false,\"explanation\":null,\"ppl\":[],\"mode\":\"\"}",
             "{\"id\":\"r\",\"tlsSkipVerify\":false,\"prefix\":\"\",\"to\":[],\"setRequestHeaders\":{},"
             "\"maxRequestBytes\":0,\"timeout\":\"0s\"}"),
         TEXT("\n{\"id\":\"1\",\"ppl\":[]}", "\n{\"id\":\"r\",\"timeout\":\"0s\"}")},
        {"but not what absence would change",
         SET("{\"id\":\"1\",\"ppl\":{}}", "{\"id\":\"r\",\"passIdentityHeaders\":false}"),
         TEXT("\n{\"id\":\"1\",\"ppl\":{}}", "\n{\"id\":\"r\",\"passIdentityHeaders\":false}")},
        {"nor what is nothing further down",
         SET("{\"id\":\"1\",\"ppl\":{\"allow\":{\"and\":[{\"claim/a\":false}]}}}",
             "{\"id\":\"r\",\"setRequestHeaders\":{\"X\":\"\"}}"),
         TEXT("\n{\"id\":\"1\",\"ppl\":{\"allow\":{\"and\":[{\"claim/a\":false}]}}}",
              "\n{\"id\":\"r\",\"setRequestHeaders\":{\"X\":\"\"}}")},
        {"what changes by itself, and what is computed",
         SET("{\"id\":\"1\",\"ppl\":[],\"createdAt\":\"x\",\"updatedAt\":\"y\",\"routes\":[{\"id\":\"r\"}],"
             "\"enforcedRoutes\":[{\"id\":\"r\"}],\"version\":7,\"originatorId\":\"terraform\"}",
             "{\"id\":\"r\",\"createdAt\":\"x\",\"updatedAt\":\"y\",\"logoUrl\":\"https://l\",\"policyIds\":[\"1\"],"
             "\"policies\":[{\"id\":\"1\",\"name\":\"renamed\"}],\"originatorId\":\"o\"}"),
         TEXT("\n{\"id\":\"1\",\"ppl\":[]}", "\n{\"id\":\"r\",\"policyIds\":[\"1\"]}")},
        {"names as in a file",
         SET("{\"name\":\"p\",\"namespace_id\":\"n\",\"ppl\":[],\"created_at\":1}",
             "{\"name\":\"r\",\"prefix_rewrite\":\"/\",\"policies\":[\"b\",\"a\"],\"policy_ids\":[\"z\"]}"),
         TEXT("\n{\"name\":\"p\",\"namespaceId\":\"n\",\"ppl\":[]}",
              "\n{\"name\":\"r\",\"policies\":[\"b\",\"a\"],\"policyIds\":[\"z\"],\"prefixRewrite\":\"/\"}")},
        {"ids as a set",
         SET("", "{\"id\":\"r\",\"policyIds\":[\"b\",\"a\",\"b\"],\"enforcedPolicyIds\":[\"d\",\"c\"]}"),
         TEXT("", "\n{\"enforcedPolicyIds\":[\"c\",\"d\"],\"id\":\"r\",\"policyIds\":[\"a\",\"b\"]}")},
        {"ids that are only told with their names",
         SET("", "{\"id\":\"r\",\"policies\":[{\"id\":\"b\",\"name\":\"x\"},{\"id\":\"a\"}],"
                 "\"enforcedPolicies\":[{\"id\":\"c\"}]}"),
         TEXT("", "\n{\"enforcedPolicyIds\":[\"c\"],\"id\":\"r\",\"policyIds\":[\"a\",\"b\"]}")},
        {"the enforced ones of its namespace, of none, and what it says itself",
         SET("{\"id\":\"1\",\"namespaceId\":\"n\",\"enforced\":true,\"ppl\":[]},"
             "{\"id\":\"2\",\"namespaceId\":\"m\",\"enforced\":true,\"ppl\":[]},"
             "{\"id\":\"3\",\"enforced\":true,\"ppl\":[]},{\"id\":\"4\",\"ppl\":[]}",
             "{\"id\":\"r\",\"namespaceId\":\"n\",\"enforcedPolicyIds\":[\"0\",\"1\"]}"),
         TEXT("\n{\"enforced\":true,\"id\":\"1\",\"namespaceId\":\"n\",\"ppl\":[]},\n"
              "{\"enforced\":true,\"id\":\"2\",\"namespaceId\":\"m\",\"ppl\":[]},\n"
              "{\"enforced\":true,\"id\":\"3\",\"ppl\":[]},\n{\"id\":\"4\",\"ppl\":[]}",
              "\n{\"enforcedPolicyIds\":[\"0\",\"1\",\"3\"],\"id\":\"r\",\"namespaceId\":\"n\"}")},
        {"a route of no namespace is the root's, and nothing from below holds for it",
         SET("{\"id\":\"1\",\"namespaceId\":\"n\",\"enforced\":true,\"ppl\":[]},"
             "{\"id\":\"2\",\"enforced\":true,\"ppl\":[]}", "{\"id\":\"r\"}"),
         TEXT("\n{\"enforced\":true,\"id\":\"1\",\"namespaceId\":\"n\",\"ppl\":[]},\n"
              "{\"enforced\":true,\"id\":\"2\",\"ppl\":[]}",
              "\n{\"enforcedPolicyIds\":[\"2\"],\"id\":\"r\"}")},
        {"not active: gone, with what refers to it",
         SET("{\"id\":\"1\",\"active\":false,\"enforced\":true,\"ppl\":[]},{\"id\":\"2\",\"active\":true,\"ppl\":[]}",
             "{\"id\":\"r\",\"policyIds\":[\"1\",\"2\"]}"),
         TEXT("\n{\"id\":\"2\",\"ppl\":[]}", "\n{\"id\":\"r\",\"policyIds\":[\"2\"]}")},
        {"the enveloped form",
         SET("{\"id\":\"1\",\"organization_id\":\"o\",\"policy_data\":{\"ppl\":{\"allow\":{}}},\"active\":true,"
             "\"device_count\":3,\"version\":2}", ""),
         TEXT("\n{\"id\":\"1\",\"ppl\":{\"allow\":{}}}", "")},
        {"what is not known stays, to be refused by name",
         SET("{\"id\":\"1\",\"pppl\":1,\"ppl\":[]}",
             "{\"id\":\"r\",\"regex\":\"a\",\"tls_client_key\":\"k\"}"),
         TEXT("\n{\"id\":\"1\",\"ppl\":[],\"pppl\":1}", "\n{\"id\":\"r\",\"regex\":\"a\",\"tlsClientKey\":\"k\"}")},
        {"numbers by their literals", SET("{\"id\":\"1\",\"ppl\":{\"a\":12345678901234567890}}", ""),
         TEXT("\n{\"id\":\"1\",\"ppl\":{\"a\":12345678901234567890}}", "")},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_text(cases[i].why, cases[i].text, cases[i].want);
}

static void refused(void **state)
{
    static const struct { const char *text, *part; } cases[] = {
        {"", "cp:1:1: "},
        {"[]", "cp: must be an object with the lists policies and routes"},
        {"{\"policies\":[]}", "must be an object with"},
        {"{\"policies\":[],\"routes\":{}}", "must be an object with"},
        {"{\"policies\":[],\"routes\":[],\"settings\":[]}", "holds more than"},
        {"{\"policies\":[],\"routes\":[]}}", "cp:1:"},
        {"{\"policies\":[],\"policies\":[],\"routes\":[]}", "cp:1:"},
        {SET("1", ""), "cp: policy number 1 is not an object"},
        {SET("", "{\"id\":\"a\"},[]"), "cp: route number 2 is not an object"},
        {SET("{\"ppl\":[]}", ""), "policy number 1 needs an id or a name"},
        {SET("{\"id\":1,\"name\":\"a\",\"ppl\":[]}", ""), "id, name and namespaceId are text"},
        {SET("{\"id\":\"1\",\"name\":\"a\",\"ppl\":[]},{\"id\":\"1\",\"name\":\"b\",\"ppl\":[]}", ""),
         "there are two policies with this id"},
        {SET("{\"id\":\"1\",\"active\":false,\"ppl\":[]},{\"id\":\"1\",\"ppl\":[]}", ""), "two policies with this id"},
        {SET("{\"name\":\"1\",\"ppl\":[]},{\"id\":\"1\",\"ppl\":[]}", ""), "policy \"1\": there are two policies"},
        {SET("", "{\"id\":\"1\",\"from\":\"a\"},{\"id\":\"1\",\"from\":\"b\"}"), "there are two routes with this id"},
        {SET("", "{\"name\":\"x\",\"from\":\"https://a\",\"prefix\":\"/p\"},"
                 "{\"name\":\"y\",\"from\":\"https://a\",\"prefix\":\"/p\",\"path\":null}"),
         "route \"x\" and route \"y\" have the same from, path and prefix"},
        {SET("", "{\"id\":\"1\",\"from\":1}"), "route \"1\": from must be text"},
        {SET("", "{\"id\":\"1\",\"policyIds\":\"a\"}"), "policyIds must be a list of ids"},
        {SET("", "{\"id\":\"1\",\"policyIds\":[1]}"), "policyIds must be a list of ids"},
        {SET("", "{\"id\":\"1\",\"enforced_policy_ids\":[\"\"]}"), "enforcedPolicyIds must be a list of ids"},
        {SET("", "{\"id\":\"1\",\"enforcedPolicies\":[{\"name\":\"a\"}]}"), "holds an element without id"},
        {SET("", "{\"id\":\"1\",\"tlsSkipVerify\":true,\"tls_skip_verify\":true}"), "has tlsSkipVerify twice"},
        {SET("{\"name\":\"a\\u001b[2J\"}", "1"), "route number 1 is not an object"},
        {SET("{\"name\":\"a\\u001b[2J\",\"ppl\":1,\"policy_data\":{\"ppl\":2}}", ""), "policy \"a?[2J\" has ppl twice"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_set *set = NULL;
        struct tg_err err = {0};

        assert_int_equal(tg_set_parse("cp", tg_slice_str(cases[i].text), &set, &err), TG_BAD_INPUT);
        assert_null(set);
        if (!strstr(err.text, cases[i].part) || strncmp(err.text, "cp:", 3) != 0)
            fail_msg("%s: %s", cases[i].text, err.text);
    }
}

/* In the order given here, whatever order they came in. */
static const char *const ordered[] = {
    "https://[::1]:80|/p", "https://[::1]|/p", "https://a.example.com:8443|", "https://a.example.com|/x",
    "https://a.example.com||/ab", "http://A.example.com||/a", "https://a.example.com||/a", "https://a.example.com|",
    "https://b.example.com:443|", "https://b.example.com:80|", "https://b.example.com|", "https://*.a.example.com|",
    "https://*.example.com:81|", "https://*.example.com|", "||/long", "|",
};

static cJSON *route_of(const char *spec)
{
    struct tg_slice from, path = {0}, prefix = {0}, rest = {0};
    cJSON *route = cJSON_CreateObject();
    char text[3][64];

    tg_slice_cut(tg_slice_str(spec), '|', &from, &rest);
    tg_slice_cut(rest, '|', &path, &prefix);
    snprintf(text[0], sizeof(text[0]), TG_S_FMT, TG_S_ARG(from));
    snprintf(text[1], sizeof(text[1]), TG_S_FMT, TG_S_ARG(path));
    snprintf(text[2], sizeof(text[2]), TG_S_FMT, TG_S_ARG(prefix));
    cJSON_AddStringToObject(route, "from", text[0]);
    cJSON_AddStringToObject(route, "path", text[1]);
    cJSON_AddStringToObject(route, "prefix", text[2]);
    cJSON_AddStringToObject(route, "id", spec);
    return route;
}

static void order(void **state)
{
    enum { COUNT = ARRAY_LEN(ordered) };
    char first[65] = "";

    (void)state;
    for (size_t turn = 0; turn < COUNT; turn++) {
        cJSON *list = cJSON_CreateArray();
        const cJSON *route;
        struct tg_set *set = NULL;
        size_t n = 0;

        for (size_t i = 0; i < COUNT; i++) {             /* each time another beginning, every second time backwards */
            size_t k = (turn + i) % COUNT;

            cJSON_AddItemToArray(list, route_of(ordered[turn % 2 ? k : COUNT - 1 - k]));
        }
        assert_int_equal(tg_set_make("cp", NULL, list, &set, NULL), TG_OK);
        assert_int_equal(tg_set_routes(set), COUNT);
        cJSON_ArrayForEach(route, tg_json_get(tg_set_tree(set)->root, "routes"))
            assert_string_equal(tg_json_get(route, "id")->valuestring, ordered[n++]);
        if (turn == 0)
            snprintf(first, sizeof(first), "%s", tg_set_digest(set));
        assert_string_equal(tg_set_digest(set), first);
        tg_set_unref(set);
        cJSON_Delete(list);
    }
}

/* An element is a line, which messages name; one line more, and every other byte, is another set. */
static void places_and_digest(void **state)
{
    struct tg_set *set = parse(SET("{\"id\":\"1\",\"ppl\":[]},{\"id\":\"2\",\"ppl\":[]}", "{\"id\":\"r\"}")), *other;
    const cJSON *policies = tg_json_get(tg_set_tree(set)->root, "policies");
    const cJSON *routes = tg_json_get(tg_set_tree(set)->root, "routes");
    unsigned line, column;

    (void)state;
    tg_tree_place(tg_set_tree(set), policies->child->next, &line, &column);
    assert_int_equal(line, 3);
    tg_tree_place(tg_set_tree(set), routes->child, &line, &column);
    assert_int_equal(line, 5);
    assert_string_equal(tg_set_tree(set)->file, "cp");
    assert_int_equal(tg_set_policies(set), 2);
    other = parse(SET("{\"id\":\"1\",\"ppl\":[]},{\"id\":\"3\",\"ppl\":[]}", "{\"id\":\"r\"}"));
    assert_string_not_equal(tg_set_digest(set), tg_set_digest(other));
    tg_set_unref(other);
    other = tg_set_ref(set);
    tg_set_unref(set);
    assert_int_equal(strlen(tg_set_digest(other)), 64);
    tg_set_unref(other);
    tg_set_unref(NULL);
}

/* Enforced policies times routes: the text is bounded, not only what came. */
static void bounded(void **state)
{
    cJSON *policies = cJSON_CreateArray(), *routes = cJSON_CreateArray();
    struct tg_set *set = NULL;
    struct tg_err err;
    char id[180];

    (void)state;
    for (int i = 0; i < 3000; i++) {
        cJSON *policy = cJSON_CreateObject(), *route = cJSON_CreateObject();

        snprintf(id, sizeof(id), "%0150d", i);
        cJSON_AddStringToObject(policy, "id", id);
        cJSON_AddBoolToObject(policy, "enforced", true);
        cJSON_AddItemToObject(policy, "ppl", cJSON_CreateArray());
        cJSON_AddItemToArray(policies, policy);
        cJSON_AddStringToObject(route, "from", id);
        cJSON_AddItemToArray(routes, route);
    }
    assert_int_equal(tg_set_make("cp", policies, routes, &set, &err), TG_LIMIT);
    assert_non_null(strstr(err.text, "more than 64 MiB"));
    cJSON_Delete(policies);
    cJSON_Delete(routes);
}

/* Longer than a file that people write may be; and no longer than said. */
static void long_text(void **state)
{
    static const struct { size_t mib; enum tg_status want; } cases[] = {{20, TG_OK}, {65, TG_LIMIT}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf text = {0};
        struct tg_set *set = NULL;
        struct tg_err err = {0};

        tg_buf_adds(&text, "{\"policies\":[{\"id\":\"1\",\"ppl\":[],\"description\":\"");
        tg_buf_reserve(&text, cases[i].mib << 20);
        memset(text.data + text.len, 'x', cases[i].mib << 20);
        text.len += cases[i].mib << 20;
        tg_buf_adds(&text, "\"}],\"routes\":[]}");
        assert_int_equal(tg_set_parse("cp", tg_buf_slice(&text), &set, &err), cases[i].want);
        if (set)
            assert_true(tg_set_text(set).len > cases[i].mib << 20);
        tg_set_unref(set);
        tg_buf_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical),
        cmocka_unit_test(refused),
        cmocka_unit_test(order),
        cmocka_unit_test(places_and_digest),
        cmocka_unit_test(bounded),
        cmocka_unit_test(long_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
