/*
 * bundle_places - from a line and a column of a set's text to the same value in the document it was made of.
 *
 * The set has its elements in another order and under the API's names, so the way is: the node at that place, the path
 * that leads to it, the element of the document that is the same one, and that path as far as it goes there.
 */
#include "bundle_places.h"
#include "base/json.h"
#include <ctype.h>
#include <stdio.h>

#define DEEP 80                                          /* more than a tree may be */

struct search {
    const struct tg_tree *tree;
    unsigned line, column;
    const cJSON *path[DEEP];                             /* from below the element to the node */
    size_t depth;
    bool key;                                            /* the node's key stands there, not its value */
};

static bool find(struct search *s, const cJSON *node)
{
    unsigned line, column;
    const cJSON *child;

    tg_tree_place(s->tree, node, &line, &column);
    if (line == s->line && column == s->column)
        return true;
    tg_tree_key_place(s->tree, node, &line, &column);
    s->key = line == s->line && column == s->column;
    if (s->key)
        return true;
    cJSON_ArrayForEach(child, node) {
        if (s->depth == DEEP)
            return false;
        s->path[s->depth++] = child;
        if (find(s, child))
            return true;
        s->depth--;
    }
    return false;
}

/* policyIds is policy_ids. */
static bool is_same_name(const char *a, const char *b)
{
    for (;;) {
        while (*a == '_')
            a++;
        while (*b == '_')
            b++;
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a)
            return true;
        a++, b++;
    }
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *node;

    cJSON_ArrayForEach(node, object)
        if (node->string && is_same_name(node->string, name))
            return node;
    return NULL;
}

static bool has_same(const cJSON *a, const cJSON *b, const char *name)
{
    const cJSON *left = member(a, name), *right = member(b, name);

    return (!left && !right) || (left && right && tg_json_eq(left, right));
}

/* An element is known by its id, else by its name, else (a route) by what it matches. */
static bool is_same_element(const cJSON *a, const cJSON *b)
{
    if (member(a, "id") && member(b, "id"))
        return has_same(a, b, "id");
    if (member(a, "name") || member(b, "name"))
        return has_same(a, b, "name");
    return has_same(a, b, "from") && has_same(a, b, "path") && has_same(a, b, "prefix");
}

static const cJSON *twin(const cJSON *list, const cJSON *element)
{
    const cJSON *node;

    cJSON_ArrayForEach(node, list)
        if (is_same_element(node, element))
            return node;
    return NULL;
}

/* Lists of names are sorted in a set, others are as they were. */
static const cJSON *at_index(const cJSON *list, const cJSON *of, const cJSON *node)
{
    const cJSON *a = list ? list->child : NULL, *b = of ? of->child : NULL, *text;

    cJSON_ArrayForEach(text, list)
        if (cJSON_IsString(node) && tg_json_eq(text, node))
            return text;
    while (a && b && b != node)
        a = a->next, b = b->next;
    return b ? a : NULL;
}

/* The document's node; `key` is cleared where only something above it is there. */
static const cJSON *follow(struct search *s, const cJSON *element, const cJSON *start)
{
    const cJSON *here = start, *of = element;

    for (size_t i = 0; i < s->depth; i++) {
        const cJSON *next = s->path[i]->string && cJSON_IsObject(of) ? member(here, s->path[i]->string)
                                                                     : at_index(here, of, s->path[i]);

        if (!next) {
            s->key = false;
            break;
        }
        here = next;
        of = s->path[i];
    }
    return here;
}

/* An element of the lists is a copy of the document's, or put together of what is in it: its members have places. */
static const cJSON *with_place(const struct tg_tree *tree, const cJSON *node)
{
    const cJSON *list, *element;
    unsigned line, column;

    tg_tree_place(tree, node, &line, &column);
    if (line > 0)
        return node;
    cJSON_ArrayForEach(list, tree->root)
        cJSON_ArrayForEach(element, list)
            if (element->child && element->child == node->child)
                return element;
    return member(node, "ppl");
}

static const cJSON *find_twin(const struct bundle_places *p, struct search *s)
{
    const cJSON *root = tg_set_tree(p->set)->root, *list, *element;

    cJSON_ArrayForEach(list, root)
        cJSON_ArrayForEach(element, list) {
            const cJSON *other;
            unsigned line, column;

            tg_tree_place(s->tree, element, &line, &column);
            s->depth = 0;
            if (line != s->line || !find(s, element))    /* each has a line of its own */
                continue;
            other = twin(strcmp(list->string, "policies") == 0 ? p->policies : p->routes, element);
            return other ? with_place(p->tree, follow(s, element, other)) : NULL;
        }
    return NULL;
}

/* "NAME:3:14: sentence"; false: it has another form. */
static bool split(const char *text, const char *name, unsigned *line, unsigned *column, const char **sentence)
{
    size_t len = strlen(name);
    int used = 0;

    if (strncmp(text, name, len) != 0 || sscanf(text + len, ":%u:%u: %n", line, column, &used) != 2 || used == 0)
        return false;
    *sentence = text + len + used;
    return true;
}

void bundle_places_tell(const struct bundle_places *p, const struct tg_problems *found, struct tg_problems *to)
{
    const struct tg_tree *tree = tg_set_tree(p->set);

    for (size_t i = 0; i < found->count; i++) {
        const struct tg_problem *problem = &found->items[i];
        struct search s = {.tree = tree};
        const char *sentence = problem->text;
        const cJSON *node = NULL;

        if (split(problem->text, tree->file, &s.line, &s.column, &sentence))
            node = find_twin(p, &s);
        if (!node)
            tg_problem_add(to, problem->warning, "%s%s%s", sentence == problem->text ? "" : tree->file,
                           sentence == problem->text ? "" : ": ", sentence);
        else if (problem->warning)
            tg_warning_at(to, p->tree, node, "%s", sentence);
        else if (s.key)
            tg_problem_at_key(to, p->tree, node, "%s", sentence);
        else
            tg_problem_at(to, p->tree, node, "%s", sentence);
    }
}
