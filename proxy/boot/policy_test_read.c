/*
 * policy_test_read - a policy file as policies_dir reads it, and the cases beside it as a document.
 */
#include "base/json.h"
#include "policy_test.h"

enum test_file test_file_kind(struct tg_slice name, struct tg_slice *stem)
{
    static const struct {
        struct tg_slice ending;
        enum test_file kind;
    } kinds[] = {{TG_S_INIT(".test.yaml"), TEST_FILE_CASES}, {TG_S_INIT(".yaml"), TEST_FILE_POLICY},
                 {TG_S_INIT(".yml"), TEST_FILE_POLICY}, {TG_S_INIT(".json"), TEST_FILE_POLICY}};

    for (size_t i = 0; i < ARRAY_LEN(kinds) && name.len > 0 && name.ptr[0] != '.'; i++) {
        if (name.len == kinds[i].ending.len || !tg_slice_ends_with(name, kinds[i].ending))
            continue;
        *stem = tg_slice(name.ptr, name.len - kinds[i].ending.len);
        return kinds[i].kind;
    }
    return TEST_FILE_NONE;
}

/* ---- its criteria ---- */

/* They are counted, and with `out` listed, in the order of a trace, which leaves out nothing but empty lists. */
static size_t walk_list(const cJSON *list, struct test_criterion *out)
{
    const cJSON *item;
    size_t count = 0;

    cJSON_ArrayForEach(item, list) {
        if (out)
            out[count].node = item->child;
        count++;
    }
    return count;
}

static size_t walk_rules(const cJSON *rules, struct test_criterion *out)
{
    const cJSON *rule, *list;
    size_t count = 0;

    cJSON_ArrayForEach(rule, rules)
        cJSON_ArrayForEach(list, rule)
            if (strcmp(list->string, "action") != 0)
                count += walk_list(list, out ? out + count : NULL);
    return count;
}

static size_t walk(const cJSON *doc, struct test_criterion *out)
{
    const cJSON *rules;
    size_t count = 0;

    if (!cJSON_IsArray(doc))
        return walk_rules(doc, out);
    cJSON_ArrayForEach(rules, doc)
        count += walk_rules(rules, out ? out + count : NULL);
    return count;
}

static void list_criteria(struct policy_test *t)
{
    const cJSON *doc = tg_json_get(t->policy.tree->root, "ppl");

    t->criterion_count = walk(doc, NULL);
    t->criteria = TG_ARENA_ARRAY(&t->arena, struct test_criterion, t->criterion_count);
    walk(doc, t->criteria);
}

/* ---- both ---- */

/* NAME.test.yaml beside NAME.yaml, whatever the policy's ending is. */
static char *cases_beside(const char *path, struct tg_slice stem, size_t folder)
{
    struct tg_buf text = {0};
    char *out;

    tg_buf_add(&text, path, folder);
    tg_buf_add_slice(&text, stem);
    tg_buf_adds(&text, ".test.yaml");
    out = tg_slice_dup(tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

void policy_test_open(struct policy_test *t, const char *path, bool colour)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;

    *t = (struct policy_test){.path = tg_slice_dup(tg_slice_str(path)), .colour = colour};
    tg_arena_init(&t->arena, NULL, 0);
    if (test_file_kind(tg_slice_str(t->path + folder), &t->name) == TEST_FILE_NONE)
        t->name = tg_slice_str(t->path + folder);
    t->cases_path = cases_beside(path, t->name, folder);
    lone_policy_read(path, 0, &t->arena, &t->policy, &t->problems);
    t->written = lone_tree_read(t->cases_path, true, &t->problems);
    t->tested = t->written != NULL;
    if (t->policy.program)
        list_criteria(t);
}

void policy_test_close(struct policy_test *t)
{
    lone_policy_fini(&t->policy);
    tg_problems_fini(&t->problems);
    tg_tree_free(t->written);
    tg_arena_fini(&t->arena);
    free(t->path);
    free(t->cases_path);
}
