/*
 * tree_places - where nodes stood, and the list of problems that name these places.
 */
#include "tree_internal.h"
#include <stdio.h>
#include <stdlib.h>

struct tg_tree_places *tg_places_new(size_t expected)
{
    struct tg_tree_places *p = TG_NEW(struct tg_tree_places);

    for (p->cap = 64; p->cap < expected;)
        p->cap *= 2;
    p->items = TG_NEW_ARRAY(struct tg_place, p->cap);
    p->slots = TG_NEW_ARRAY(uint32_t, 2 * p->cap);
    return p;
}

void tg_places_free(struct tg_tree_places *places)
{
    if (!places)
        return;
    for (size_t i = 0; i < places->count; i++)
        free(places->items[i].source);
    for (size_t i = 0; i < places->name_count; i++)
        free(places->names[i]);
    free(places->names);
    free(places->items);
    free(places->slots);
    free(places);
}

/* The slot of the node, or the free one where it belongs. Addresses are ours, nobody chooses them. */
static uint32_t *slot_of(const struct tg_tree_places *p, const cJSON *node)
{
    uint64_t mixed = (uint64_t)(uintptr_t)node * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = 2 * p->cap - 1, i = (size_t)(mixed >> 32) & mask;

    while (p->slots[i] && p->items[p->slots[i] - 1].node != node)
        i = (i + 1) & mask;
    return &p->slots[i];
}

struct tg_place *tg_places_get(const struct tg_tree_places *places, const cJSON *node)
{
    uint32_t number;

    if (!places || !node)
        return NULL;
    number = *slot_of(places, node);
    return number ? &places->items[number - 1] : NULL;
}

static void grow(struct tg_tree_places *p)
{
    p->cap *= 2;
    p->items = tg_realloc(p->items, p->cap * sizeof(*p->items));
    free(p->slots);
    p->slots = TG_NEW_ARRAY(uint32_t, 2 * p->cap);
    for (size_t i = 0; i < p->count; i++)
        *slot_of(p, p->items[i].node) = (uint32_t)i + 1;
}

struct tg_place *tg_places_put(struct tg_tree_places *places, const cJSON *node)
{
    uint32_t *slot = slot_of(places, node);

    if (*slot)
        return &places->items[*slot - 1];
    if (places->count == places->cap) {
        tg_assert(places->cap < UINT32_MAX / 4);
        grow(places);
        slot = slot_of(places, node);
    }
    places->items[places->count] = (struct tg_place){.node = node};
    *slot = (uint32_t)++places->count;
    return &places->items[places->count - 1];
}

const char *tg_places_name(struct tg_tree_places *places, const char *name)
{
    size_t n = places->name_count;

    for (size_t i = n; i > 0; i--)                       /* the last one is the likely one */
        if (strcmp(places->names[i - 1], name) == 0)
            return places->names[i - 1];
    places->names = tg_realloc(places->names, (n + 1) * sizeof *places->names);
    places->names[n] = tg_slice_dup(tg_slice_str(name));
    places->name_count++;
    return places->names[n];
}

void tg_tree_place(const struct tg_tree *tree, const cJSON *node, unsigned *line, unsigned *column)
{
    const struct tg_place *place = tree ? tg_places_get(tree->places, node) : NULL;

    *line = place ? place->line : 0;
    *column = place ? place->column : 0;
}

void tg_tree_key_place(const struct tg_tree *tree, const cJSON *node, unsigned *line, unsigned *column)
{
    const struct tg_place *place = tree ? tg_places_get(tree->places, node) : NULL;

    *line = place ? place->key_line : 0;
    *column = place ? place->key_column : 0;
}

const char *tg_tree_file(const struct tg_tree *tree, const cJSON *node)
{
    const struct tg_place *place = tg_places_get(tree->places, node);

    return place && place->line > 0 ? place->file : tree->file;
}

struct tg_slice tg_tree_source(const struct tg_tree *tree, const cJSON *node)
{
    const struct tg_place *place = tree ? tg_places_get(tree->places, node) : NULL;

    return place ? tg_slice_str(place->source) : (struct tg_slice){0};
}

void tg_tree_adopt(struct tg_tree *tree, struct tg_tree *other)
{
    if (tree == other)
        return;
    for (size_t i = 0; i < other->places->count; i++) {
        const struct tg_place *from = &other->places->items[i];
        struct tg_place *to = tg_places_put(tree->places, from->node);

        free(to->source);
        *to = *from;
        to->file = tg_places_name(tree->places, from->file);
        to->source = from->source ? tg_slice_dup(tg_slice_str(from->source)) : NULL;
    }
}

/* ---- problems ---- */

static void add_problem(struct tg_problems *p, bool warning, struct tg_buf *text)
{
    const char *s = tg_buf_cstr(text);

    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 8;
        p->items = tg_realloc(p->items, p->cap * sizeof *p->items);
    }
    p->items[p->count].warning = warning;
    p->items[p->count].text = tg_slice_dup(tg_slice_str(s));
    /* Names from a document are quoted in sentences; what a terminal would obey is not. */
    for (char *c = p->items[p->count].text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    p->count++;
    if (!warning)
        p->errors++;
    tg_buf_fini(text);
}

static void add_prefix(struct tg_buf *text, const struct tg_tree *tree, const cJSON *node, bool key)
{
    const struct tg_place *place = tree ? tg_places_get(tree->places, node) : NULL;
    unsigned line = place ? place->line : 0, column = place ? place->column : 0;

    if (place && key && place->key_line > 0) {
        line = place->key_line;
        column = place->key_column;
    }
    if (line > 0)
        tg_buf_addf(text, "%s:%u:%u: ", place->file, line, column);
    else if (place || tree)
        tg_buf_addf(text, "%s: ", place ? place->file : tree->file);
}

void tg_problem_at(struct tg_problems *p, const struct tg_tree *tree, const cJSON *node, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    add_prefix(&text, tree, node, false);
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    add_problem(p, false, &text);
}

void tg_problem_at_key(struct tg_problems *p, const struct tg_tree *tree, const cJSON *node, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    add_prefix(&text, tree, node, true);
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    add_problem(p, false, &text);
}

void tg_warning_at(struct tg_problems *p, const struct tg_tree *tree, const cJSON *node, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    add_prefix(&text, tree, node, false);
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    add_problem(p, true, &text);
}

void tg_problem_add(struct tg_problems *p, bool warning, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    add_problem(p, warning, &text);
}

void tg_problems_fini(struct tg_problems *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->items[i].text);
    free(p->items);
    *p = (struct tg_problems){0};
}
