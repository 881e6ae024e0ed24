/*
 * lone_policy - a policy file as the only policy of a route that is nowhere.
 */
#include "lone_policy.h"
#include "base/file.h"
#include "base/json.h"

#define FILE_BYTES ((size_t)16 << 20)                    /* as policies_dir */

struct tg_tree *lone_tree_read(const char *path, bool may_lack, struct tg_problems *problems)
{
    struct tg_buf text = {0};
    struct tg_tree *tree = NULL;
    struct tg_err err = {0};
    enum tg_status st = tg_file_read(path, FILE_BYTES, &text, &err);

    if (st == TG_OK)
        st = tg_tree_parse(path, tg_buf_slice(&text), &tree, &err);
    else if (st == TG_NOT_FOUND && may_lack)
        st = TG_OK;
    if (st != TG_OK)
        tg_problem_add(problems, false, "%s", err.text);
    tg_buf_fini(&text);
    return tree;
}

static bool is_item(const cJSON *root)
{
    if (cJSON_IsObject(root))
        for (size_t i = 0; i < tg_policy_setting_count; i++)
            if (tg_json_get(root, tg_policy_settings[i].name))
                return true;
    return false;
}

/* Bare PPL becomes an item, and an item without a name gets one, so that messages say which policy it is. */
static void name_policy(struct tg_tree *tree, const char *name)
{
    cJSON *item = tree->root;
    bool ok = true;

    if (!is_item(item)) {
        item = cJSON_CreateObject();
        ok = item && cJSON_AddItemToObject(item, "ppl", tree->root);
        tree->root = item;
    }
    if (!tg_json_get(item, "name"))
        ok = ok && cJSON_AddStringToObject(item, "name", name);
    tg_assert(ok);
}

/* "new" of "policies/new.yaml" */
static struct tg_slice stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

    return tg_slice(name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
}

void lone_policy_read(const char *path, unsigned flags, struct tg_arena *arena, struct lone_policy *out,
                      struct tg_problems *problems)
{
    const struct tg_route_defaults defaults = {.client_ca = !(flags & LONE_POLICY_WITHOUT_CA)};
    char key[] = "policies";
    cJSON list = {.type = cJSON_Array, .string = key}, settings = {.type = cJSON_Object, .child = &list};
    struct tg_problems said = {0};

    *out = (struct lone_policy){.tree = lone_tree_read(path, false, problems)};
    if (!out->tree)
        return;
    name_policy(out->tree, tg_arena_str(arena, stem_of(path)));
    list.child = out->tree->root;
    out->route = tg_route_read_one(out->tree, &settings, &defaults, arena, &said);
    for (size_t i = 0; i < said.count; i++)
        if (!said.items[i].warning || (flags & LONE_POLICY_WARNS))
            tg_problem_add(problems, said.items[i].warning, "%s", said.items[i].text);
    if (out->route && said.errors == 0) {
        out->route->node = NULL;                         /* it ends here */
        out->program = out->route->shadow ? out->route->shadow : out->route->policy;
        out->reads = tg_ppl_reads(&out->program, 1, NULL, 0, arena);
    }
    tg_problems_fini(&said);
}

void lone_policy_fini(struct lone_policy *p)
{
    tg_route_fini(p->route);
    tg_tree_free(p->tree);
    *p = (struct lone_policy){0};
}
