/*
 * fuzz_tree - any bytes as a YAML file and as a JSON file, then ${…}, an override, and its places.
 *
 * Laws: a refusal says where, within the text; every node has a place within the text; what was read, printed as JSON
 * and read again, is equal; a *.json file is taken exactly when the JSON reader takes it, and means the same.
 */
#include "base/json.h"
#include "base/tree.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct tg_json_limits as_trees = {.bytes = 16u << 20, .depth = 64, .nodes = 200000};
static const struct tg_json_limits roomy = {.bytes = 1u << 30, .depth = 70, .nodes = 400000};

static void must(bool law)
{
    if (!law)
        abort();
}

/* "NAME:LINE:COLUMN: " in front, and a line that the text has. */
static void check_sentence(const char *sentence, const char *name, size_t lines)
{
    unsigned line = 0, column = 0;
    int used = 0;

    must(strncmp(sentence, name, strlen(name)) == 0);
    must(sscanf(sentence + strlen(name), ":%u:%u: %n", &line, &column, &used) == 2 && used > 0);
    must(line >= 1 && line <= lines + 1 && column >= 1);
    must(sentence[strlen(name) + (size_t)used] != '\0');
}

static void check_places(const struct tg_tree *tree, const cJSON *node, const char *name, size_t lines)
{
    unsigned line = 0, column = 0;

    tg_tree_place(tree, node, &line, &column);
    must(line <= lines + 1 && (line == 0) == (column == 0));
    must(strcmp(tg_tree_file(tree, node), name) == 0);
    if (node->string) {
        tg_tree_key_place(tree, node, &line, &column);
        must(line >= 1 && line <= lines + 1 && column >= 1);
    }
    for (const cJSON *child = node->child; child; child = child->next)
        check_places(tree, child, name, lines);
}

static void check_printed(const struct tg_tree *tree)
{
    struct tg_buf text = {0};
    cJSON *again = NULL;

    tg_json_print(&text, tree->root);
    must(tg_json_parse(tg_buf_slice(&text), &roomy, &again, NULL) == TG_OK);
    must(tg_json_eq(tree->root, again));
    cJSON_Delete(again);
    tg_buf_fini(&text);
}

static const char *variable(void *arg, const char *name)
{
    (void)arg;
    switch (name[0]) {
    case 'A':
        return "8080";
    case 'B':
        return "";
    case 'C':
        return "${A} \"quoted\": [\n";
    default:
        return NULL;
    }
}

static void read_as(const char *name, struct tg_slice text, size_t lines)
{
    struct tg_tree *tree = NULL;
    struct tg_problems problems = {0};
    struct tg_err err = {0};
    enum tg_status st = tg_tree_parse(name, text, &tree, &err);

    must((st == TG_OK) == (tree != NULL));
    if (tg_slice_ends_with(tg_slice_str(name), TG_S(".json"))) {
        cJSON *plain = NULL;

        must((tg_json_parse(text, &as_trees, &plain, NULL) == TG_OK) == (st == TG_OK));
        must(!plain || tg_json_eq(plain, tree->root));
        cJSON_Delete(plain);
    }
    if (st != TG_OK) {
        check_sentence(err.text, name, lines);
        return;
    }
    must(tree->root != NULL);
    check_places(tree, tree->root, name, lines);
    check_printed(tree);
    tg_tree_interpolate(tree, variable, NULL, &problems);
    for (size_t i = 0; i < problems.count; i++)
        check_sentence(problems.items[i].text, name, lines);
    check_printed(tree);
    tg_tree_override(tree, "listen", "8080", "TOLLGATE_LISTEN");
    check_printed(tree);
    tg_problems_fini(&problems);
    tg_tree_free(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice text = {(const char *)data, size};
    size_t lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0xc2 || data[i] == 0xe2; /* NEL, LS and PS, too */
    read_as("t.yaml", text, lines);
    read_as("t.json", text, lines);
    return 0;
}
