/*
 * tree_json - JSON as a tree with places: read strictly once, then the text walked beside the tree.
 *
 * Not by the YAML reader, which knows neither \/ nor surrogate pairs. The walk meets valid JSON only, so it has nothing
 * to check and only counts lines.
 */
#include "base/json.h"
#include "tree_internal.h"
#include <stdlib.h>

struct walk {
    const char *pos;
    unsigned line, column;
    const char *file;
    struct tg_tree_places *places;
};

static void step(struct walk *w)
{
    unsigned char c = (unsigned char)*w->pos++;

    if (c == '\n') {
        w->line++;
        w->column = 1;
    } else if ((c & 0xc0) != 0x80) {
        w->column++;
    }
}

/* To the next thing that is neither space nor comma nor colon. */
static void skip_between(struct walk *w)
{
    while (strchr(" \t\r\n,:", *w->pos))
        step(w);
}

static void skip_string(struct walk *w)
{
    for (step(w); *w->pos != '"'; step(w))
        if (*w->pos == '\\')
            step(w);
    step(w);
}

static void walk_node(struct walk *w, const cJSON *node, unsigned key_line, unsigned key_column)
{
    *tg_places_put(w->places, node) = (struct tg_place){.node = node,
                                                        .file = w->file,
                                                        .line = w->line,
                                                        .column = w->column,
                                                        .key_line = key_line,
                                                        .key_column = key_column};
    if (cJSON_IsString(node)) {
        skip_string(w);
        return;
    }
    if (!cJSON_IsObject(node) && !cJSON_IsArray(node)) {
        while (*w->pos && !strchr(" \t\r\n,]}", *w->pos))
            step(w);
        return;
    }
    step(w);
    for (const cJSON *child = node->child; child; child = child->next) {
        unsigned line = 0, column = 0;

        skip_between(w);
        if (cJSON_IsObject(node)) {
            line = w->line;
            column = w->column;
            skip_string(w);
            skip_between(w);
        }
        walk_node(w, child, line, column);
    }
    skip_between(w);
    step(w);
}

static const struct tg_json_limits json_limits = {
    .bytes = TG_TREE_MAX_BYTES, .depth = TG_TREE_MAX_DEPTH, .nodes = TG_TREE_MAX_NODES};

enum tg_status tg_tree_read_json(struct tg_tree *tree, const char *file, struct tg_slice text,
                                 const struct tg_json_limits *limits, struct tg_err *err)
{
    struct tg_err why = {0};
    struct walk w = {.line = 1, .column = 1, .file = file, .places = tree->places};
    char *copy;
    enum tg_status st = tg_json_parse(text, limits ? limits : &json_limits, &tree->root, &why);

    if (st != TG_OK)
        return tg_fail(err, st, "%s:%s", file, why.text);
    copy = tg_slice_dup(text);                           /* the walk wants an end it can see */
    w.pos = copy;
    while (strchr(" \t\r\n", *w.pos))
        step(&w);
    walk_node(&w, tree->root, 0, 0);
    free(copy);
    return TG_OK;
}

bool tg_tree_is_json(const char *file, struct tg_slice text)
{
    size_t i = 0;

    if (tg_slice_ends_with(tg_slice_str(file), TG_S(".json")))
        return true;
    while (i < text.len && strchr(" \t\r\n", text.ptr[i]) && text.ptr[i])
        i++;
    if (i == text.len || (text.ptr[i] != '{' && text.ptr[i] != '['))
        return false;
    return tg_json_scan(text, &json_limits, NULL) == TG_OK;
}
