/*
 * tree - a YAML or JSON document as a cJSON tree that remembers where everything stood, and the list of problems
 * found in it.
 *
 * YAML 1.2 core as people expect it: only true/false (three capitalisations) are booleans, null/~/empty are null,
 * yes/no/ on/off stay text, quoted scalars are text, numbers are decimal integers or floats (kept by literal when
 * inexact), anchors and aliases are resolved within limits (depth, copies, bytes), merge keys are refused by name,
 * mapping keys must be scalars and unique, one document. Text that looks like something else elsewhere (012, 0x10,
 * .inf, dates) stays text. The only tag taken is !!str. A file named *.json is read by JSON's own rules; other text too
 * when it is a JSON object or array. Limits: 16 MiB, 64 levels, 2,000,000 values, 200,000 of them
 * by aliases.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <cjson/cJSON.h>

struct tg_tree {
    cJSON *root;                                         /* never NULL after success */
    char *file;                                          /* as shown to the user */
    struct tg_tree_places *places;
    struct tg_tree_files *files;                         /* see tg_tree_note_file */
};

/* `file` names the text in messages. On failure the sentence starts "FILE:LINE:COLUMN: ". */
enum tg_status tg_tree_parse(const char *file, struct tg_slice text, struct tg_tree **out, struct tg_err *err);
/* The same of JSON that a machine wrote, within `limits` of its own: it may be longer than what people write. */
struct tg_json_limits;
enum tg_status tg_tree_parse_json(const char *file, struct tg_slice text, const struct tg_json_limits *limits,
                                  struct tg_tree **out, struct tg_err *err);
void tg_tree_free(struct tg_tree *tree);                 /* NULL is fine */
/* Where a node stood (a mapping's value: where the value starts), 1-based; 0 when unknown. */
void tg_tree_place(const struct tg_tree *tree, const cJSON *node, unsigned *line, unsigned *column);
/* Where the key of a mapping entry stood. */
void tg_tree_key_place(const struct tg_tree *tree, const cJSON *node, unsigned *line, unsigned *column);
/* The name of the text the node came from (after tg_tree_adopt perhaps another one); the tree's own when unknown. */
const char *tg_tree_file(const struct tg_tree *tree, const cJSON *node);
/*
 * The text of a scalar that came from the environment and was typed then (a password 12345 is a number now); ptr NULL
 * for all others. Who wants text takes this first.
 */
struct tg_slice tg_tree_source(const struct tg_tree *tree, const cJSON *node);
/*
 * Replaces ${VAR}, ${VAR:-default}, ${VAR:?message} and $$ in every string scalar, looking names up by `get` (NULL
 * result: undefined). As in a shell, :- and :? act on empty variables too. A plain (unquoted) scalar that was changed
 * is typed again, so that `port: ${PORT}` is a number. Undefined variables are problems; what came from a variable is
 * not looked at again; $ before anything else stays. JSON strings are quoted scalars. Keys are left alone.
 */
struct tg_problems;
void tg_tree_interpolate(struct tg_tree *tree, const char *(*get)(void *arg, const char *name), void *arg,
                         struct tg_problems *problems);
/*
 * Sets the top-level scalar `key` from text, typed like a plain scalar; place: the environment variable `origin`. An
 * empty document becomes a mapping; nothing happens when the top is a list or a scalar. After interpolation: a
 * variable's text is not looked at again.
 */
void tg_tree_override(struct tg_tree *tree, const char *key, const char *text, const char *origin);
/*
 * Files the document names and whose content was read with it: when one changes, the document means something else. A
 * path noted twice is kept once. tg_tree_noted_file: the i-th, NULL behind the last.
 */
void tg_tree_note_file(const struct tg_tree *tree, const char *path);
const char *tg_tree_noted_file(const struct tg_tree *tree, size_t i);
/* Copies the places of `other`, so that problems may name nodes of both through `tree`. The nodes stay other's. */
void tg_tree_adopt(struct tg_tree *tree, struct tg_tree *other);

/* ---- problems: every error of a configuration, not just the first ---- */
struct tg_problem {
    bool warning;
    char *text;                                          /* "FILE:LINE:COLUMN: sentence" */
};
struct tg_problems {
    struct tg_problem *items;
    size_t count, cap;
    size_t errors;                                       /* of them, not warnings */
};
void tg_problem_at(struct tg_problems *p, const struct tg_tree *tree, const cJSON *node, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void tg_problem_at_key(struct tg_problems *p, const struct tg_tree *tree, const cJSON *node, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void tg_warning_at(struct tg_problems *p, const struct tg_tree *tree, const cJSON *node, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void tg_problem_add(struct tg_problems *p, bool warning, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void tg_problems_fini(struct tg_problems *p);
