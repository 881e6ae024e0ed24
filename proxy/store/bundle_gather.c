/*
 * bundle_gather - a document that people write, in the configuration's form or the API's, as a set that compiles.
 *
 * The set is compiled as an enforcing machine will do it, from its canonical text; what that complains about is told at
 * its place in the document.
 */
#include "base/json.h"
#include "base/tree.h"
#include "bundle_places.h"
#include "internal.h"
#include "store/bundle.h"

struct gathering {
    struct tg_tree *tree;
    struct tg_problems *problems;
    struct tg_arena arena;
    cJSON *policies, *routes;                            /* owned; elements refer to the document's */
    struct policy_set dir;                               /* of policies_dir */
};

static void add_list(struct gathering *g, const char *name, cJSON *to)
{
    const cJSON *list = tg_json_get(g->tree->root, name), *node;

    if (!list || cJSON_IsNull(list))
        return;
    if (!cJSON_IsArray(list)) {
        tg_problem_at(g->problems, g->tree, list, "%s: must be a list", name);
        return;
    }
    cJSON_ArrayForEach(node, list)
        tg_assert(cJSON_AddItemReferenceToArray(to, (cJSON *)node));
}

static void add_text(cJSON *item, const char *name, struct tg_slice text)
{
    char *copy = tg_slice_dup(text);

    if (text.len > 0)
        tg_assert(cJSON_AddStringToObject(item, name, copy));
    free(copy);
}

static void add_dir(struct gathering *g)
{
    const cJSON *dir = tg_json_get(g->tree->root, "policies_dir");

    if (!dir || cJSON_IsNull(dir))
        return;
    g->dir = (struct policy_set){.client_ca = true, .pool = tg_ppl_pool_new(&g->arena)};
    policies_dir_read(&g->dir, g->tree, dir, &g->arena, g->problems);
    for (size_t i = 0; i < g->dir.file_count; i++)
        tg_tree_adopt(g->tree, g->dir.files[i]);
    for (size_t i = 0; i < g->dir.count; i++) {
        const struct named_policy *policy = &g->dir.items[i];
        cJSON *item = policy->broken ? NULL : cJSON_CreateObject();

        if (!item)
            continue;
        add_text(item, "name", policy->text.name);
        add_text(item, "explanation", policy->text.explanation);
        add_text(item, "remediation", policy->text.remediation);
        if (policy->shadow)
            add_text(item, "mode", TG_S("shadow"));
        if (policy->enforced)
            tg_assert(cJSON_AddTrueToObject(item, "enforced"));
        tg_assert(cJSON_AddItemReferenceToObject(item, "ppl", (cJSON *)policy->ppl));
        cJSON_AddItemToArray(g->policies, item);
    }
}

/* The rest of a configuration is not of a bundle, which says nothing of a machine. */
static void look_around(struct gathering *g)
{
    static const char *const names[] = {"policies", "policies_dir", "routes"};
    const cJSON *member;

    cJSON_ArrayForEach(member, g->tree->root) {
        const char *near = tg_nearest(member->string, names, ARRAY_LEN(names));

        if (near && strcmp(near, member->string) == 0)
            continue;
        if (near)
            tg_problem_at_key(g->problems, g->tree, member, "%s: not known here, did you mean %s?", member->string,
                              near);
        else
            tg_warning_at(g->problems, g->tree, member,
                          "%s: left out: a bundle holds policies, policies_dir and routes only", member->string);
    }
}

static struct tg_set *make(struct gathering *g)
{
    struct tg_problems found = {0};
    struct tg_set *set = NULL;
    struct tg_err err = {0};

    if (!cJSON_IsObject(g->tree->root)) {
        tg_problem_at(g->problems, g->tree, g->tree->root, "a mapping with policies and routes is needed");
        return NULL;
    }
    look_around(g);
    add_list(g, "policies", g->policies);
    add_list(g, "routes", g->routes);
    add_dir(g);
    if (g->problems->errors > 0)
        return NULL;
    if (!cJSON_GetArraySize(g->policies) && !cJSON_GetArraySize(g->routes)) {
        tg_problem_at(g->problems, g->tree, g->tree->root, "there is neither a policy nor a route");
        return NULL;
    }
    if (tg_set_make(g->tree->file, g->policies, g->routes, &set, &err) != TG_OK) {
        tg_problem_add(g->problems, false, "%s", err.text);
        return NULL;
    }
    tg_bundle_compiles(set, &found);
    bundle_places_tell(&(struct bundle_places){set, g->tree, g->policies, g->routes}, &found, g->problems);
    tg_problems_fini(&found);
    if (g->problems->errors > 0) {
        tg_set_unref(set);
        return NULL;
    }
    return set;
}

struct tg_set *tg_bundle_gather(struct tg_tree *tree, struct tg_problems *problems)
{
    struct gathering g = {.tree = tree, .problems = problems, .policies = cJSON_CreateArray(),
                          .routes = cJSON_CreateArray()};
    struct tg_set *set;

    tg_assert(g.policies && g.routes);
    tg_arena_init(&g.arena, NULL, 0);
    set = make(&g);
    cJSON_Delete(g.policies);
    cJSON_Delete(g.routes);
    policy_set_fini(&g.dir);
    tg_arena_fini(&g.arena);
    return set;
}

bool tg_bundle_compiles(const struct tg_set *set, struct tg_problems *problems)
{
    const struct tg_route_defaults defaults = {.client_ca = true};
    const struct tg_set_rules rules = {.any_upstream = true, .allow_tls_skip_verify = true};
    const struct tg_set_use use = {.set = set, .rules = &rules};
    struct tg_routes *routes = NULL;
    struct tg_tree *nothing = NULL;
    struct tg_arena arena;
    bool ok;

    tg_assert(tg_tree_parse("nothing", TG_S("{}"), &nothing, NULL) == TG_OK);
    tg_arena_init(&arena, NULL, 0);
    ok = tg_routes_read(nothing, nothing->root, &defaults, &use, &arena, &routes, problems);
    tg_routes_fini(routes);
    tg_arena_fini(&arena);
    tg_tree_free(nothing);
    return ok;
}
