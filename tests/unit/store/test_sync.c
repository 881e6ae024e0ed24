/* sync: pages into lists, lists that move, what is found in them, and the settings; no network. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/store/sync_internal.h"
#include "base/json.h"
#include <stdio.h>

/* ---- pages ---- */

/* A server with `count` elements, from which element `gone` has been taken away (0: none). */
static void page_of(struct tg_buf *out, int from, int to, int gone)
{
    tg_buf_addc(out, '[');
    for (int i = from; i < to; i++) {
        int id = gone && i >= gone ? i + 1 : i;

        tg_buf_addf(out, "%s{\"id\":\"p%d\"}", i > from ? "," : "", id);
    }
    tg_buf_addc(out, ']');
}

struct scripted {
    int count, cap;                                      /* elements; the server's own limit */
    int moves_after;                                     /* after so many pages element 3 is gone; 0: never */
};

static enum tg_status read_all(const struct scripted *server, struct sync_list *list, int *pages)
{
    enum tg_status st = TG_OK;

    for (*pages = 0; st == TG_OK && !list->done; ++*pages) {
        bool moved = server->moves_after && *pages >= server->moves_after;
        struct tg_buf query = {0}, body = {0};
        int limit, offset, count = server->count - moved;

        sync_list_query(list, &query);
        assert_int_equal(sscanf(tg_buf_cstr(&query), "limit=%d&offset=%d", &limit, &offset), 2);
        if (limit > server->cap)
            limit = server->cap;
        page_of(&body, offset, offset + limit < count ? offset + limit : count, moved ? 3 : 0);
        st = sync_list_take(list, tg_buf_slice(&body), NULL);
        tg_buf_fini(&query);
        tg_buf_fini(&body);
        assert_true(*pages < 100);
    }
    return st;
}

static void bare_pages(void **state)
{
    static const struct {
        const char *why;
        struct scripted server;
        int pages;
    } cases[] = {
        {"none", {0, 1000, 0}, 1},
        {"a short page", {7, 1000, 0}, 1},
        {"exactly a page", {SYNC_LIMIT, 1000, 0}, 2},
        {"one more", {SYNC_LIMIT + 1, 1000, 0}, 2},
        {"several", {3 * SYNC_LIMIT, 1000, 0}, 4},
        {"a server that gives no more than 100", {250, 100, 0}, 3},
        {"a server that gives no more than 64", {250, 64, 0}, 4},
        {"a round number that is all", {20, 1000, 0}, 2},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sync_list list;
        const cJSON *node;
        int pages, n = 0;

        sync_list_init(&list, false);
        assert_int_equal(read_all(&cases[i].server, &list, &pages), TG_OK);
        if ((int)list.count != cases[i].server.count || pages != cases[i].pages)
            fail_msg("%s: %zu elements, %d pages", cases[i].why, list.count, pages);
        cJSON_ArrayForEach(node, list.items) {           /* each once, in order */
            char id[16];

            snprintf(id, sizeof(id), "p%d", n++);
            assert_string_equal(cJSON_GetObjectItem(node, "id")->valuestring, id);
        }
        assert_int_equal(n, cases[i].server.count);
        sync_list_fini(&list);
    }
}

/* What is taken away from a page that was read would hide an element of the next. */
static void a_list_that_moves_is_noticed(void **state)
{
    struct scripted server = {3 * SYNC_LIMIT, 1000, 1};
    struct sync_list list;
    int pages;

    (void)state;
    sync_list_init(&list, false);
    assert_int_equal(read_all(&server, &list, &pages), TG_AGAIN);
    assert_int_equal(pages, 2);
    sync_list_fini(&list);
}

/* One that knows no limit answers with everything. */
static void a_longer_page_is_all(void **state)
{
    struct tg_buf body = {0};
    struct sync_list list;

    (void)state;
    sync_list_init(&list, false);
    page_of(&body, 0, SYNC_LIMIT + 30, 0);
    assert_int_equal(sync_list_take(&list, tg_buf_slice(&body), NULL), TG_OK);
    assert_true(list.done);
    assert_int_equal(list.count, SYNC_LIMIT + 30);
    tg_buf_fini(&body);
    sync_list_fini(&list);
}

static void envelopes(void **state)
{
    static const struct {
        const char *why;
        const char *pages[3];
        enum tg_status want;                             /* of the last */
        size_t count;
    } cases[] = {
        {"none", {"{\"data\":[],\"total\":0,\"page\":1,\"page_size\":20,\"total_pages\":0}"}, TG_OK, 0},
        {"one", {"{\"data\":[{\"id\":\"a\"}],\"total\":1,\"page\":1,\"page_size\":20,\"total_pages\":1}"}, TG_OK, 1},
        {"two", {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"page\":1,\"page_size\":1,\"total_pages\":2}",
                 "{\"data\":[{\"id\":\"b\"}],\"total\":2,\"page\":2,\"page_size\":1,\"total_pages\":2}"}, TG_OK, 2},
        {"no total_pages: a short page", {"{\"data\":[{\"id\":\"a\"}],\"page_size\":1}",
                                          "{\"data\":[]}"}, TG_OK, 1},
        {"it grows", {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"page\":1,\"page_size\":1,\"total_pages\":2}",
                      "{\"data\":[{\"id\":\"b\"}],\"total\":3,\"page\":2,\"page_size\":1,\"total_pages\":3}"},
         TG_AGAIN, 1},
        {"it shrinks", {"{\"data\":[{\"id\":\"a\"}],\"total\":3,\"page\":1,\"page_size\":1,\"total_pages\":3}",
                        "{\"data\":[],\"total\":3,\"page\":2,\"page_size\":1,\"total_pages\":3}"}, TG_AGAIN, 1},
        {"one page, it says, and more elements",
         {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"page\":1,\"total_pages\":1}"},
         TG_AGAIN, 0},
        {"no pages, it says, and more elements", {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"total_pages\":0}"},
         TG_AGAIN, 0},
        {"a longer page, it says", {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"page_size\":9007199254740991}"},
         TG_AGAIN, 0},
        {"another page", {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"page\":2,\"page_size\":1,\"total_pages\":2}"},
         TG_BAD_INPUT, 0},
        {"then an array", {"{\"data\":[{\"id\":\"a\"}],\"total\":2,\"page\":1,\"page_size\":1,\"total_pages\":2}",
                           "[{\"id\":\"b\"}]"}, TG_BAD_INPUT, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum tg_status st = TG_OK;
        struct sync_list list;

        sync_list_init(&list, true);
        for (size_t p = 0; p < 3 && cases[i].pages[p]; p++) {
            struct tg_buf query = {0};
            char want[32];

            if (list.done)
                fail_msg("%s: over after page %zu", cases[i].why, p);
            sync_list_query(&list, &query);
            snprintf(want, sizeof(want), "page=%zu&page_size=", p + 1);
            assert_int_equal(strncmp(tg_buf_cstr(&query), want, strlen(want)), 0);
            tg_buf_fini(&query);
            st = sync_list_take(&list, tg_slice_str(cases[i].pages[p]), NULL);
        }
        if (st != cases[i].want || list.count != cases[i].count || (st == TG_OK && !list.done))
            fail_msg("%s: status %d, %zu elements", cases[i].why, st, list.count);
        sync_list_fini(&list);
    }
}

static void what_is_no_list(void **state)
{
    static const char *const bodies[] = {
        "", "null", "7", "{}", "{\"data\":{}}", "<html>", "[1]", "[{\"id\":7}]", "[{\"id\":\"\"}]",
        "[{\"name\":\"a\"}]", "[{\"id\":\"a\"}", "[{\"id\":\"a\",\"id\":\"b\"}]", "[null]",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct sync_list list;
        struct tg_err err = {0};

        sync_list_init(&list, false);
        if (sync_list_take(&list, tg_slice_str(bodies[i]), &err) != TG_BAD_INPUT || !*tg_err_text(&err))
            fail_msg("taken: %s", bodies[i]);
        assert_int_equal(list.count, 0);
        sync_list_fini(&list);
    }
}

/* ---- what is found ---- */

static cJSON *json(const char *text)
{
    cJSON *root = NULL;
    struct tg_err err = {0};

    if (tg_json_parse(tg_slice_str(text), NULL, &root, &err) != TG_OK)
        fail_msg("%s: %s", text, err.text);
    return root;
}

static void is_text(const cJSON *node, const char *want)
{
    struct tg_buf text = {0};

    tg_json_print(&text, node);
    assert_string_equal(tg_buf_cstr(&text), want);
    tg_buf_fini(&text);
}

static void organizations(void **state)
{
    cJSON *one = json("[{\"id\":\"o1\",\"name\":\"Acme\"}]");
    cJSON *three = json("[{\"id\":\"o1\",\"name\":\"o2\"},{\"id\":\"o2\",\"name\":\"B\"},"
                        "{\"id\":\"o3\",\"name\":\"B\"}]");
    cJSON *none = json("[]");
    const cJSON *found;

    (void)state;
    assert_int_equal(sync_pick_organization(one, TG_S(""), &found, NULL), TG_OK);
    assert_ptr_equal(found, one->child);
    assert_int_equal(sync_pick_organization(one, TG_S("Acme"), &found, NULL), TG_OK);
    assert_int_equal(sync_pick_organization(one, TG_S("acme"), &found, NULL), TG_NOT_FOUND);
    assert_int_equal(sync_pick_organization(none, TG_S(""), &found, NULL), TG_NOT_FOUND);
    assert_int_equal(sync_pick_organization(three, TG_S(""), &found, NULL), TG_BAD_INPUT);
    assert_int_equal(sync_pick_organization(three, TG_S("o2"), &found, NULL), TG_OK); /* an id goes before a name */
    assert_ptr_equal(found, three->child->next);
    assert_int_equal(sync_pick_organization(three, TG_S("B"), &found, NULL), TG_BAD_INPUT);
    cJSON_Delete(one);
    cJSON_Delete(three);
    cJSON_Delete(none);
}

static void namespaces(void **state)
{
    cJSON *all = json("[{\"id\":\"org\",\"name\":\"Root\"},{\"id\":\"n1\",\"name\":\"prod\",\"parentId\":\"org\"}]");
    cJSON *clusters = json("[{\"id\":\"c1\",\"name\":\"prod\",\"namespaceId\":\"n1\"},{\"id\":\"c2\"}]"), *made;
    struct tg_slice id;

    (void)state;
    assert_int_equal(sync_pick_namespace(all, TG_S(""), TG_S("org"), &id, NULL), TG_OK);
    assert_true(tg_slice_eq(id, TG_S("org")));
    assert_int_equal(sync_pick_namespace(all, TG_S("prod"), TG_S("org"), &id, NULL), TG_OK);
    assert_true(tg_slice_eq(id, TG_S("n1")));
    assert_int_equal(sync_pick_namespace(all, TG_S("test"), TG_S("org"), &id, NULL), TG_NOT_FOUND);
    made = sync_namespaces_of_clusters(clusters, "org");
    is_text(made, "[{\"id\":\"n1\",\"name\":\"prod\",\"parentId\":\"org\"},"
                  "{\"id\":\"c2\",\"name\":\"\",\"parentId\":\"org\"}]");
    assert_int_equal(sync_pick_namespace(made, TG_S("org"), TG_S("org"), &id, NULL), TG_OK); /* not listed */
    assert_true(tg_slice_eq(id, TG_S("org")));
    cJSON_Delete(all);
    cJSON_Delete(clusters);
    cJSON_Delete(made);
}

static void references(void **state)
{
    cJSON *policies = json("[{\"id\":\"a\"},{\"id\":\"b\"}]");
    cJSON *routes = json("[{\"policyIds\":[\"a\",\"x\"],\"enforcedPolicyIds\":[\"y\"]},{\"policyIds\":null},"
                         "{\"policyIds\":[\"x\",7,\"\"],\"policy_ids\":[\"z\"],\"enforcedPolicyIds\":\"w\"},{}]");
    cJSON *missing = sync_missing(policies, routes);

    (void)state;
    is_text(missing, "[\"x\",\"y\",\"z\"]");
    cJSON_Delete(missing);
    cJSON_Delete(policies);
    cJSON_Delete(routes);
}

static void enforced(void **state)
{
    cJSON *all = json("[{\"id\":\"org\"},{\"id\":\"n1\",\"parentId\":\"org\"},{\"id\":\"n2\",\"parentId\":\"org\"},"
                      "{\"id\":\"x\",\"parentId\":\"y\"},{\"id\":\"y\",\"parentId\":\"x\"}]"); /* and a circle */
    cJSON *policies = json("[{\"id\":\"root\",\"namespaceId\":\"org\",\"enforced\":true},"
                           "{\"id\":\"one\",\"namespaceId\":\"n1\",\"enforced\":true},"
                           "{\"id\":\"not\",\"namespaceId\":\"org\",\"enforced\":false},"
                           "{\"id\":\"lost\",\"enforced\":true}]");
    cJSON *routes = json("[{\"id\":\"r1\",\"namespaceId\":\"n1\",\"enforcedPolicyIds\":[\"root\"]},"
                         "{\"id\":\"r2\",\"namespaceId\":\"n2\",\"enforcedPolicyIds\":null},"
                         "{\"id\":\"r3\",\"namespaceId\":\"x\"},{\"id\":\"r4\"}]");

    (void)state;
    assert_int_equal(sync_spread_enforced(policies, routes, all, TG_S("org"), NULL), TG_OK);
    is_text(routes, "[{\"id\":\"r1\",\"namespaceId\":\"n1\",\"enforcedPolicyIds\":[\"root\",\"one\"]},"
                    "{\"id\":\"r2\",\"namespaceId\":\"n2\",\"enforcedPolicyIds\":[\"root\"]},"
                    "{\"id\":\"r3\",\"namespaceId\":\"x\",\"enforcedPolicyIds\":[\"root\"]},"
                    "{\"id\":\"r4\",\"enforcedPolicyIds\":[\"root\"]}]"); /* the root's hold everywhere */
    cJSON_Delete(all);
    cJSON_Delete(policies);
    cJSON_Delete(routes);
}

/* Small lists whose product is large: the thread has other things to do. */
static void enforced_without_measure(void **state)
{
    cJSON *policies = cJSON_CreateArray(), *routes = cJSON_CreateArray(), *policy;
    struct tg_err err = {0};

    (void)state;
    for (int i = 0; i < 20000; i++) {
        policy = cJSON_CreateObject();
        cJSON_AddStringToObject(policy, "id", "p");
        cJSON_AddStringToObject(policy, "namespaceId", "org");
        cJSON_AddTrueToObject(policy, "enforced");
        cJSON_AddItemToArray(policies, policy);
        cJSON_AddItemToArray(routes, cJSON_CreateObject());
    }
    assert_int_equal(sync_spread_enforced(policies, routes, NULL, TG_S("org"), &err), TG_LIMIT);
    cJSON_Delete(policies);
    cJSON_Delete(routes);
}

/* Each page may be parsed, all together may not: a node of JSON has two octets and takes forty times as many. */
static void many_small_values(void **state)
{
    struct sync_list list;
    struct tg_buf body = {0};
    enum tg_status st = TG_OK;

    (void)state;
    tg_buf_adds(&body, "[{\"id\":\"a\",\"x\":[0");
    for (int i = 0; i < 1500000; i++)
        tg_buf_adds(&body, ",0");
    tg_buf_adds(&body, "]}]");
    sync_list_init(&list, false);
    for (int i = 0; i < 4 && st == TG_OK; i++)
        st = sync_list_take(&list, tg_buf_slice(&body), NULL);
    assert_int_not_equal(st, TG_OK);
    tg_buf_fini(&body);
    sync_list_fini(&list);
}

static void from_v1(void **state)
{
    struct sync_list policies, routes;

    (void)state;
    sync_list_init(&policies, true);
    sync_list_init(&routes, true);
    assert_int_equal(sync_list_take(&policies, TG_S(
        "{\"data\":[{\"id\":\"a\",\"organization_id\":\"o\",\"name\":\"n\",\"policy_data\":{\"ppl\":{\"allow\":{}}},"
        "\"version\":3,\"active\":true,\"device_count\":0,\"created_at\":\"x\"},"
        "{\"id\":\"b\",\"name\":\"off\",\"policy_data\":{\"ppl\":{\"allow\":{}}},\"active\":false},"
        "{\"id\":\"c\",\"name\":\"of devices\",\"policy_data\":{\"usb\":{}}}]}"), NULL), TG_OK);
    assert_int_equal(sync_list_take(&routes, TG_S(
        "{\"data\":[{\"id\":\"r\",\"from\":\"http://a\",\"version\":1},{\"id\":\"s\",\"active\":false}]}"), NULL),
        TG_OK);
    sync_from_v1(&policies, &routes);
    is_text(policies.items, "[{\"id\":\"a\",\"name\":\"n\",\"active\":true,\"ppl\":{\"allow\":{}}},"
                            "{\"id\":\"b\",\"name\":\"off\",\"active\":false,\"ppl\":{\"allow\":{}}}]");
    is_text(routes.items, "[{\"id\":\"r\",\"from\":\"http://a\"}]");
    assert_int_equal(policies.count, 2);
    assert_int_equal(routes.count, 1);
    sync_list_fini(&policies);
    sync_list_fini(&routes);
}

/* ---- settings ---- */

static struct tg_sync_settings settings;
static struct tg_problems problems;
static struct tg_arena arena;
static struct tg_tree *tree;

static bool reads(const char *text)
{
    char document[512];

    tg_tree_free(tree);
    tg_problems_fini(&problems);
    snprintf(document, sizeof(document), "sync: %s", text);
    assert_int_equal(tg_tree_parse("t", tg_slice_str(document), &tree, NULL), TG_OK);
    return tg_sync_settings_read(tree, tg_json_get(tree->root, "sync"), &arena, &settings, &problems);
}

static void names(const char *text, const char *words)
{
    if (reads(text))
        fail_msg("taken: %s", text);
    for (size_t i = 0; i < problems.count; i++)
        if (strstr(problems.items[i].text, words))
            return;
    fail_msg("%s: %s", text, problems.items[0].text);
}

static void sections(void **state)
{
    static const struct { const char *url, *base; } urls[] = {
        {"https://cp.example", "https://cp.example/api/v0"},
        {"https://cp.example/", "https://cp.example/api/v0"},
        {"https://cp.example/api/v0", "https://cp.example/api/v0"},
        {"https://cp.example/api/v0/", "https://cp.example/api/v0"},
        {"https://cp.example/api/v1", "https://cp.example/api/v1"},
        {"http://127.0.0.1:9091/under", "http://127.0.0.1:9091/under/api/v0"},
    };
    char text[256];

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        snprintf(text, sizeof(text), "{url: \"%s\", credential: {}}", urls[i].url);
        assert_true(reads(text));
        assert_string_equal(settings.url.ptr, urls[i].base);
    }
    assert_int_equal(settings.interval_ms, 30000);
    assert_int_equal(settings.max_stale_ms, 0);
    assert_int_equal(settings.when_stale, 0);
    names("{credential: {}}", "sync.url");
    names("{url: \"https://a\"}", "sync.credential");
    names("{url: \"http://cp.example\", credential: {}}", "http is for loopback hosts only");
    assert_true(reads("{url: \"http://cp.example\", allow_http: true, credential: {}}"));
    names("{url: \"https://a/?b\", credential: {}}", "a URL with a query");
    names("{url: \"https://u:p@a\", credential: {}}", "user name");
    names("{url: \"https://a\", credential: {}, interval: 100ms}", "sync.interval");
    names("{url: \"https://a\", credential: {}, interval: 2h}", "sync.interval");
    names("{url: \"https://a\", credential: {}, when_stale: drop}", "sync.when_stale");
    names("{url: \"https://a\", credential: {}, organisation: x}", "did you mean");
    names("{url: \"https://a/api/v1\", credential: {}, organization: x}", "/api/v1 has no organizations");
    names("{url: \"https://a/api/v1\", credential: {}, namespace: x}", "/api/v1 has no namespaces");
    names("{url: \"https://a\", credential: {}, ca_file: /nonexistent}", "sync.ca_file");
    names("[]", "a mapping of settings");
    tg_tree_free(tree);
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare_pages),       cmocka_unit_test(a_list_that_moves_is_noticed),
        cmocka_unit_test(envelopes),        cmocka_unit_test(a_longer_page_is_all),
        cmocka_unit_test(what_is_no_list),  cmocka_unit_test(organizations),
        cmocka_unit_test(namespaces),       cmocka_unit_test(references),
        cmocka_unit_test(enforced),         cmocka_unit_test(from_v1),
        cmocka_unit_test(sections),         cmocka_unit_test(enforced_without_measure),
        cmocka_unit_test(many_small_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
