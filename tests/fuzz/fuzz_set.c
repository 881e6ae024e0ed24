/*
 * fuzz_set - any bytes as the text of a control plane's set, then compiled.
 *
 * Laws: a refusal names the set; what is taken is canonical: read again it has the same octets, from lists turned
 * around too, and each element is a line. A set that compiles has no errors and one that does not has; a route that is
 * unresolved admits nobody.
 */
#include "base/json.h"
#include "store/route.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool law)
{
    if (!law)
        abort();
}

static cJSON *turned(const cJSON *list)
{
    cJSON *out = cJSON_CreateArray();

    for (int i = cJSON_GetArraySize(list) - 1; i >= 0; i--)
        must(cJSON_AddItemReferenceToArray(out, cJSON_GetArrayItem(list, i)));
    return out;
}

static void check_same(const struct tg_set *set, struct tg_set *other)
{
    must(tg_slice_eq(tg_set_text(set), tg_set_text(other)) && strcmp(tg_set_digest(set), tg_set_digest(other)) == 0);
    tg_set_unref(other);
}

static void check_canonical(const struct tg_set *set)
{
    const cJSON *root = tg_set_tree(set)->root;
    cJSON *policies = turned(tg_json_get(root, "policies")), *routes = turned(tg_json_get(root, "routes"));
    struct tg_set *again = NULL;
    struct tg_slice text = tg_set_text(set);
    size_t lines = 0;

    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n';
    must(lines == 3 + tg_set_policies(set) + tg_set_routes(set));
    must(tg_set_parse("cp", text, &again, NULL) == TG_OK);
    check_same(set, again);
    must(tg_set_make("cp", policies, routes, &again, NULL) == TG_OK);
    check_same(set, again);
    cJSON_Delete(policies);
    cJSON_Delete(routes);
}

static void check_closed(const struct tg_route *route)
{
    struct tg_facts facts = {.method = TG_S("GET"), .path = TG_S("/"), .identity = true, .user = TG_S("ann")};
    struct tg_verdict verdict;

    must(route->from_set && route->may_be_stale && route->policy);
    if (!route->unresolved)
        return;
    tg_ppl_decide(route->policy, &facts, &verdict);
    must(verdict.decision != TG_ALLOW);
}

static void compile(const struct tg_set *set)
{
    static const struct tg_route_defaults none = {0};
    static const struct tg_set_rules loopback = {0};
    struct tg_set_use use = {.set = set, .rules = &loopback};
    struct tg_problems problems = {0};
    struct tg_routes *routes = NULL;
    struct tg_arena arena;
    bool ok;

    tg_arena_init(&arena, NULL, 0);
    ok = tg_routes_read(NULL, NULL, &none, &use, &arena, &routes, &problems);
    must(ok == (problems.errors == 0) && (!ok || tg_routes_count(routes) == tg_set_routes(set)));
    for (size_t i = 0; ok && i < tg_routes_count(routes); i++)
        check_closed(tg_routes_at(routes, i));
    for (size_t i = 0; i < problems.count; i++)
        must(strncmp(problems.items[i].text, "cp:", 3) == 0);
    tg_routes_fini(routes);
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_set *set = NULL;
    struct tg_err err = {0};

    if (tg_set_parse("cp", tg_slice((const char *)data, size), &set, &err) != TG_OK) {
        must(!set && strncmp(err.text, "cp:", 3) == 0);
        return 0;
    }
    check_canonical(set);
    compile(set);
    tg_set_unref(set);
    return 0;
}
