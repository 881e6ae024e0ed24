/*
 * tree_internal - what the files around trees share: the table of places, the types of plain scalars.
 */
#pragma once
#include "base/json.h"
#include "base/tree.h"

enum {
    TG_TREE_MAX_BYTES = 16 << 20,                        /* of the text */
    TG_TREE_MAX_DEPTH = 64,
    TG_TREE_MAX_NODES = 2000000,
    TG_TREE_MAX_COPIES = 200000,                         /* of them by aliases */
};

struct tg_tree_files {                                   /* what tg_tree_note_file collected */
    char **paths;
    size_t count;
};

struct tg_place {
    const cJSON *node;
    const char *file;                                    /* of the table's names */
    unsigned line, column;                               /* 0: not in a text (environment) */
    unsigned key_line, key_column;
    bool plain;                                          /* a scalar without quotes */
    char *source;                                        /* see tg_tree_source; NULL: none */
};

/* In the order they came, and an open table of their numbers by node pointer. Places move when one is added. */
struct tg_tree_places {
    struct tg_place *items;
    size_t count, cap;
    uint32_t *slots;                                     /* number + 1, 0: free; twice as many as `cap` */
    char **names;
    size_t name_count;
};

struct tg_tree_places *tg_places_new(size_t expected); /* about how many; more may come */
void tg_places_free(struct tg_tree_places *places);
/* The place of the node, a fresh zeroed one when it had none. */
struct tg_place *tg_places_put(struct tg_tree_places *places, const cJSON *node);
/* NULL when unknown. */
struct tg_place *tg_places_get(const struct tg_tree_places *places, const cJSON *node);
/* A copy of `name` that lives as long as the table; the same one for equal names. */
const char *tg_places_name(struct tg_tree_places *places, const char *name);

/* Makes `node` a string. */
void tg_scalar_string(cJSON *node, struct tg_slice text);
/*
 * Makes `node` what a plain scalar of this text is: null, boolean, number or string. A number that is too large for a
 * double or longer than 63 characters is refused and leaves a string.
 */
enum tg_status tg_scalar_type(cJSON *node, struct tg_slice text, struct tg_err *err);

/* Whether the text is to be read as JSON: by the name of its file, or because it is an object or array of JSON. */
bool tg_tree_is_json(const char *file, struct tg_slice text);
/* Fills root and places; `file` is of the table's names. `limits` NULL: those of any tree. */
enum tg_status tg_tree_read_json(struct tg_tree *tree, const char *file, struct tg_slice text,
                                 const struct tg_json_limits *limits, struct tg_err *err);
