/*
 * policies_dir - one policy a file, in the order of the file names.
 *
 * Names that start with a dot are passed over: editors' leftovers, and the inner folders of a mounted ConfigMap.
 */
#include "base/file.h"
#include "internal.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#define FILE_BYTES ((size_t)16 << 20)                    /* as the configuration: lists of people are long */

struct names {
    char **items;
    size_t count, cap;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The name without its ending; false when it is none of ours. */
static bool stem_of(const char *name, struct tg_slice *stem)
{
    static const struct tg_slice endings[] = {TG_S_INIT(".yaml"), TG_S_INIT(".yml"), TG_S_INIT(".json")};
    struct tg_slice s = tg_slice_str(name);

    if (name[0] == '.' || tg_slice_ends_with(s, TG_S(".test.yaml")))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (tg_slice_ends_with(s, endings[i])) {
            *stem = tg_slice(s.ptr, s.len - endings[i].len);
            return true;
        }
    return false;
}

/* Sorted names of the policy files of `path`; errno on failure, else 0. */
static int list_files(const char *path, struct names *out)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    struct tg_slice stem;
    int failed;

    if (!dir)
        return errno;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (!stem_of(entry->d_name, &stem))
            continue;
        if (out->count == out->cap) {
            out->cap = out->cap ? out->cap * 2 : 16;
            out->items = tg_realloc(out->items, out->cap * sizeof(*out->items));
        }
        out->items[out->count++] = tg_slice_dup(tg_slice_str(entry->d_name));
    }
    failed = errno;
    closedir(dir);
    if (out->count > 0)
        qsort(out->items, out->count, sizeof(*out->items), compare_names);
    return failed;
}

static void read_policy_file(struct policy_set *set, const struct tg_tree *tree, const cJSON *dir, const char *path,
                             struct tg_slice stem, struct tg_arena *arena, struct tg_problems *problems)
{
    struct tg_buf text = {0};
    struct tg_tree *file = NULL;
    struct named_policy policy;
    struct tg_err err;

    tg_tree_note_file(tree, path);
    if (tg_file_read(path, FILE_BYTES, &text, &err) != TG_OK)
        tg_problem_at(problems, tree, dir, "policies_dir: %s", err.text);
    else if (tg_tree_parse(path, tg_buf_slice(&text), &file, &err) != TG_OK)
        tg_problem_add(problems, false, "%s", err.text); /* it starts with the file and the line */
    tg_buf_fini(&text);
    if (!file)
        return;
    set->files = tg_realloc(set->files, (set->file_count + 1) * sizeof(*set->files));
    set->files[set->file_count++] = file;
    const char *where = tg_arena_printf(arena, "policy " TG_S_FMT, TG_S_ARG(stem)).ptr;

    policy_read(&policy, file, file->root, stem, where, set->client_ca, set->pool, arena, problems);
    policy_set_add(set, &policy, file->root, problems);
}

void policies_dir_read(struct policy_set *set, const struct tg_tree *tree, const cJSON *dir, struct tg_arena *arena,
                       struct tg_problems *problems)
{
    struct tg_slice text;
    struct names names = {0};

    if (!tg_json_str(dir, &text) || text.len == 0) {
        tg_problem_at(problems, tree, dir, "policies_dir: must be the path of a folder");
        return;
    }
    char *folder = tg_file_beside(tree->file, tg_arena_str(arena, text));
    int failed = list_files(folder, &names);

    tg_tree_note_file(tree, folder);                     /* a file that comes or goes is a change too */
    if (failed)
        tg_problem_at(problems, tree, dir, "policies_dir: %s: %s", folder, strerror(failed));
    else if (names.count == 0)
        tg_warning_at(problems, tree, dir, "policies_dir: %s holds no .yaml, .yml or .json file", folder);
    for (size_t i = 0; i < names.count; i++) {
        bool slash = folder[strlen(folder) - 1] == '/';
        const char *path = tg_arena_printf(arena, "%s%s%s", folder, slash ? "" : "/", names.items[i]).ptr;
        struct tg_slice stem = {0};

        stem_of(names.items[i], &stem);
        if (!failed)
            read_policy_file(set, tree, dir, path, stem, arena, problems);
        free(names.items[i]);
    }
    free(names.items);
    free(folder);
}
