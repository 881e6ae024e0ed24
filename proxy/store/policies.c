/*
 * policies - named policies: the items of `policies`, and the set that routes choose from.
 *
 * A policy is read once, and its errors are told at its own place, whether or not a route uses it; what it was read
 * into is shared by all routes. They pass a broken one over, and as there was an error no route is put into service
 * anyway.
 */
#include "base/map.h"
#include "internal.h"
#include <stdlib.h>

#define NAME_MAX_BYTES 200

#define ROW(member, name, kind, dflt, choices, flags, help) \
    TG_SETTING(struct policy_item, member, name, kind, dflt, 0, 0, choices, flags, help)
const struct tg_setting tg_policy_settings[] = {
    ROW(name, "name", TG_SET_STRING, NULL, NULL, 0, "what routes call it"),
    ROW(description, "description", TG_SET_STRING, NULL, NULL, 0, "free text for people, not used otherwise"),
    ROW(ppl, "ppl", TG_SET_NODE, NULL, NULL, TG_SET_REQUIRED, "the PPL document"),
    ROW(enforced, "enforced", TG_SET_BOOL, "false", NULL, 0, "true: part of every route, public ones too"),
    ROW(explanation, "explanation", TG_SET_STRING, NULL, NULL, 0, "told to whom it denies, with show_error_details"),
    ROW(remediation, "remediation", TG_SET_STRING, NULL, NULL, 0, "what the caller can do about it"),
    ROW(mode, "mode", TG_SET_ENUM, "enforce", ROUTE_MODES, 0, "shadow: evaluated, logged and counted, not applied"),
};
const size_t tg_policy_setting_count = ARRAY_LEN(tg_policy_settings);
#undef ROW

/* {name, ppl, ...} rather than a bare PPL document. */
static bool is_item(const cJSON *node)
{
    if (!cJSON_IsObject(node))
        return false;
    for (size_t i = 0; i < tg_policy_setting_count; i++)
        if (tg_json_get(node, tg_policy_settings[i].name))
            return true;
    return false;
}

static bool is_plain_text(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return false;
    return true;
}

void policy_check_name(struct tg_slice text, const struct tg_tree *tree, const cJSON *node, const char *where,
                       struct tg_problems *problems)
{
    const cJSON *name = tg_json_get(node, "name");

    if (text.len == 0)
        tg_problem_at(problems, tree, name ? name : node, "%s.name: routes choose a policy by its name: it needs one",
                      where);
    else if (text.len > NAME_MAX_BYTES || !is_plain_text(text))
        tg_problem_at(problems, tree, name ? name : node, "%s.name: at most %d bytes without control characters", where,
                      NAME_MAX_BYTES);
}

/* The first rule that allows somebody something, if any. */
static const cJSON *find_allow(const cJSON *ppl)
{
    const cJSON *allow = tg_json_get(ppl, "allow"), *list;

    if (cJSON_IsArray(ppl)) {
        cJSON_ArrayForEach(list, ppl)
            if ((allow = find_allow(list)))
                return allow;
        return NULL;
    }
    cJSON_ArrayForEach(list, allow)
        if (cJSON_IsArray(list) && list->child)
            return allow;
    return NULL;
}

static void warn_of_enforced(const struct named_policy *policy, struct tg_problems *problems)
{
    const cJSON *allow = policy->enforced && !policy->shadow ? find_allow(policy->ppl) : NULL;

    if (allow)
        tg_warning_at(problems, policy->tree, allow,
                      "%s: an enforced policy is part of every route, and allows beside what the route allows: whom "
                      "this admits gets in everywhere; write what nobody may do as deny, and the allow rule in one "
                      "that routes choose", policy->where);
}

void policy_finish(struct named_policy *out, const struct policy_item *item, struct tg_slice name,
                   const struct tg_tree *tree, bool client_ca, struct tg_ppl_pool *pool, struct tg_problems *problems)
{
    size_t errors = problems->errors;

    out->text.name = name;
    out->text.explanation = item->explanation;
    out->text.remediation = item->remediation;
    out->enforced = item->enforced;
    out->shadow = item->mode == ROUTE_SHADOW;
    out->ppl = item->ppl;
    if (out->ppl)
        out->read = tg_ppl_read(pool, tree, out->ppl, out->where, client_ca, problems);
    out->broken = !out->read || problems->errors != errors;
    if (!out->broken)
        warn_of_enforced(out, problems);
}

void policy_read(struct named_policy *out, const struct tg_tree *tree, const cJSON *node, struct tg_slice stem,
                 const char *where, bool client_ca, struct tg_ppl_pool *pool, struct tg_arena *arena,
                 struct tg_problems *problems)
{
    struct policy_item item = {.ppl = node};
    size_t errors = problems->errors;
    struct tg_slice name;

    *out = (struct named_policy){.tree = tree, .broken = true, .where = where};
    if (is_item(node)) {
        item.ppl = NULL;
        tg_settings_read(tg_policy_settings, tg_policy_setting_count, tree, node, where, false, arena, &item, problems);
    }
    name = item.name.ptr ? item.name : tg_arena_dup(arena, stem);
    if (stem.ptr || item.name.ptr)
        policy_check_name(name, tree, node, where, problems);
    if (is_plain_text(name) && name.len > 0)
        out->where = tg_arena_printf(arena, "policy " TG_S_FMT, TG_S_ARG(name)).ptr;
    policy_finish(out, &item, name, tree, client_ca, pool, problems);
    out->broken = out->broken || problems->errors != errors;
}

const struct named_policy *policy_set_find(const struct policy_set *set, struct tg_slice name)
{
    uintptr_t number = set->names ? (uintptr_t)tg_map_get(set->names, name) : 0;

    return number > 0 ? &set->items[number - 1] : NULL;
}

const char *policy_set_nearest(const struct policy_set *set, struct tg_slice name, struct tg_arena *arena)
{
    const char **names = TG_ARENA_ARRAY(arena, const char *, set->count);

    for (size_t i = 0; i < set->count; i++)
        names[i] = tg_arena_str(arena, set->items[i].text.name);
    return tg_nearest(tg_arena_str(arena, name), names, set->count);
}

void policy_set_add(struct policy_set *set, const struct named_policy *policy, const cJSON *node,
                    struct tg_problems *problems)
{
    const struct named_policy *first = policy_set_find(set, policy->text.name);

    if (policy->text.name.len > 0 && first) {
        unsigned line = 0, column = 0;

        tg_tree_place(first->tree, first->ppl, &line, &column);
        tg_problem_at(problems, policy->tree, node,
                      "there are two policies named \"" TG_S_FMT "\"; the other is at %s:%u",
                      TG_S_ARG(policy->text.name), first->tree->file, line);
        return;
    }
    if (set->count == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 16;
        set->items = tg_realloc(set->items, set->cap * sizeof(*set->items));
    }
    set->items[set->count++] = *policy;
    if (!set->names)
        set->names = tg_map_new(NULL);
    if (policy->text.name.len > 0)
        tg_map_put(set->names, policy->text.name, (void *)(uintptr_t)set->count);
    set->enforced += policy->enforced;
}

static void read_list(struct policy_set *set, const struct tg_tree *tree, const cJSON *list, struct tg_arena *arena,
                      struct tg_problems *problems)
{
    const cJSON *node;
    size_t i = 0;

    if (!cJSON_IsArray(list)) {
        tg_problem_at(problems, tree, list, "policies: must be a list of {name, ppl, ...}");
        return;
    }
    cJSON_ArrayForEach(node, list) {
        const char *where = tg_arena_printf(arena, "policies[%zu]", i++).ptr;
        struct named_policy policy;

        if (!is_item(node)) {
            tg_problem_at(problems, tree, node, "%s: must be a mapping with at least `name` and `ppl`", where);
            continue;
        }
        policy_read(&policy, tree, node, TG_S(""), where, set->client_ca, set->pool, arena, problems);
        policy_set_add(set, &policy, node, problems);
    }
}

void policy_set_read(struct policy_set *set, const struct tg_tree *tree, const cJSON *root, struct tg_arena *arena,
                     struct tg_problems *problems)
{
    const cJSON *list = tg_json_get(root, "policies");
    const cJSON *dir = tg_json_get(root, "policies_dir");

    if (list && !cJSON_IsNull(list))
        read_list(set, tree, list, arena, problems);
    if (dir && !cJSON_IsNull(dir))
        policies_dir_read(set, tree, dir, arena, problems);
}

void policy_set_fini(struct policy_set *set)
{
    for (size_t i = 0; i < set->file_count; i++)
        tg_tree_free(set->files[i]);
    tg_map_free(set->names);
    free(set->files);
    free(set->items);
    *set = (struct policy_set){0};
}
