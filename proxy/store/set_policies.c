/*
 * set_policies - the policies of a control plane's set, compiled once and found by id or by name.
 *
 * All of them are compiled, whether or not a route uses them: a document that is wrong is told when it comes, and the
 * set is refused, not when somebody comes to need it.
 */
#include "base/map.h"
#include "internal.h"

struct set_item {
    struct policy_item item;                             /* first: the rows of a policy in the file are used for it */
    struct tg_slice id, namespace_id;
};

static const struct tg_setting own_rows[] = {
    TG_SETTING(struct set_item, id, "id", TG_SET_STRING, NULL, 0, 0, NULL, 0, "what routes call it"),
    TG_SETTING(struct set_item, namespace_id, "namespace_id", TG_SET_STRING, NULL, 0, 0, NULL, 0, "where it belongs"),
};

#define SEVERAL ((void *)UINTPTR_MAX)                    /* in `names`: it is no policy's alone */

static const struct tg_setting *all_rows(struct tg_arena *arena, size_t *count)
{
    struct tg_setting *rows = TG_ARENA_ARRAY(arena, struct tg_setting, tg_policy_setting_count + ARRAY_LEN(own_rows));

    _Static_assert(offsetof(struct set_item, item) == 0, "the rows of a policy know its place");
    memcpy(rows, tg_policy_settings, tg_policy_setting_count * sizeof(*rows));
    memcpy(rows + tg_policy_setting_count, own_rows, sizeof(own_rows));
    *count = tg_policy_setting_count + ARRAY_LEN(own_rows);
    return rows;
}

static bool is_plain(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return false;
    return s.len > 0 && s.len <= 200;
}

/* "policy NAME (ID)": names need not be unique there, and ids tell people nothing. */
static const char *where_of(const char *what, const cJSON *node, struct tg_arena *arena)
{
    struct tg_slice id = {0}, name = {0};
    bool has_id = tg_json_str(tg_json_get(node, "id"), &id) && is_plain(id);
    bool has_name = tg_json_str(tg_json_get(node, "name"), &name) && is_plain(name);

    if (has_id && has_name)
        return tg_arena_printf(arena, "%s " TG_S_FMT " (" TG_S_FMT ")", what, TG_S_ARG(name), TG_S_ARG(id)).ptr;
    if (has_id || has_name)
        return tg_arena_printf(arena, "%s " TG_S_FMT, what, TG_S_ARG(has_id ? id : name)).ptr;
    return what;
}

const char *route_set_where(const cJSON *node, struct tg_arena *arena) { return where_of("route", node, arena); }

static void add(struct set_policies *p, const struct set_item *item)
{
    const struct named_policy *policy = &p->items[p->count++];
    void *number = (void *)(uintptr_t)p->count;

    tg_map_put(p->ids, item->id.len > 0 ? item->id : policy->text.name, number);
    if (item->item.name.len > 0)
        tg_map_put(p->names, policy->text.name, tg_map_get(p->names, policy->text.name) ? SEVERAL : number);
}

void set_policies_read(struct set_policies *out, const struct tg_set *set, bool client_ca, struct tg_ppl_pool *pool,
                       struct tg_arena *arena, struct tg_problems *problems)
{
    const struct tg_tree *tree = tg_set_tree(set);
    const cJSON *list = tg_json_get(tree->root, "policies"), *node;
    size_t count;
    const struct tg_setting *rows = all_rows(arena, &count);

    *out = (struct set_policies){
        .items = TG_ARENA_ARRAY(arena, struct named_policy, tg_set_policies(set)),
        .ids = tg_map_new(NULL),
        .names = tg_map_new(NULL),
    };
    cJSON_ArrayForEach(node, list) {
        struct named_policy *policy = &out->items[out->count];
        const char *where = where_of("policy", node, arena);
        struct set_item item = {0};

        *policy = (struct named_policy){.tree = tree, .broken = true, .where = where, .of_set = true};
        tg_settings_read(rows, count, tree, node, where, true, arena, &item, problems);
        if (item.item.name.ptr)
            policy_check_name(item.item.name, tree, node, where, problems);
        policy_finish(policy, &item.item, item.item.name.len > 0 ? item.item.name : item.id, tree, client_ca, pool,
                      problems);
        add(out, &item);
    }
}

void set_policies_fini(struct set_policies *p)
{
    tg_map_free(p->ids);
    tg_map_free(p->names);
    *p = (struct set_policies){0};
}

const struct named_policy *set_policies_find(const struct set_policies *p, struct tg_slice ref, bool *several)
{
    void *number = p->ids ? tg_map_get(p->ids, ref) : NULL;

    *several = false;
    if (!number && p->names)
        number = tg_map_get(p->names, ref);
    if (number == SEVERAL) {
        *several = true;
        return NULL;
    }
    return number ? &p->items[(uintptr_t)number - 1] : NULL;
}
