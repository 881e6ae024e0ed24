/*
 * setting - tables of settings: one row is parser, default, range, help text, reference and JSON Schema.
 *
 * A module that is configured has one table for its section; tg_settings_read fills its struct from a tree node. Names
 * are snake_case; camelCase spellings are taken too when `camel` is set (the API's form). Unknown names are problems
 * with "did you mean". Strings and lists are copied into the arena. Secrets are masked wherever settings are printed.
 */
#pragma once
#include "base/arena.h"
#include "base/tree.h"

enum tg_setting_kind {
    TG_SET_BOOL,       /* bool */
    TG_SET_COUNT,      /* uint64_t; "none" gives 0 where min is 0 or it is the default */
    TG_SET_SIZE,       /* uint64_t bytes: 10, 64KiB, 1MiB, 2GiB; "none" likewise */
    TG_SET_DURATION,   /* int64_t ms: 500ms, 10s, 1m, 2h, 7d, 1m30s; "none" likewise */
    TG_SET_STRING,     /* struct tg_slice; absent: ptr NULL */
    TG_SET_ENUM,       /* int: index into `choices` (separated by |) */
    TG_SET_STRINGS,    /* struct tg_strings: a list, or one string */
    TG_SET_STRING_MAP, /* struct tg_string_map: name: text */
    TG_SET_FILE,       /* struct tg_slice: path of a file, seen from the tree's own; noted by tg_tree_note_file */
    TG_SET_PATH,       /* likewise a path, of a folder or of a file that is read anew at each use: not noted */
    TG_SET_NODE,       /* const cJSON *: read by somebody else; any shape */
    TG_SET_LATER,      /* known, not honoured yet: refused by name with `help` */
};

struct tg_strings {
    struct tg_slice *items;
    size_t count;
    bool set;                                            /* present, even when empty */
};
struct tg_string_map {
    struct tg_slice *names, *values;
    size_t count;
};

enum { TG_SET_REQUIRED = 1, TG_SET_SECRET = 2 };

struct tg_setting {
    const char *name;
    enum tg_setting_kind kind;
    size_t offset;                                       /* of the member */
    const char *dflt;                                    /* as a user would write it, lists as [a, b]; NULL: none */
    int64_t min, max;                                    /* of COUNT, SIZE (bytes), DURATION (ms); max 0: no bound */
    const char *choices;                                 /* ENUM: "zero|problem|oauth" */
    unsigned flags;
    const char *help;                                    /* one line, lower case, no full stop */
};
#define TG_SETTING(type, member, name, kind, dflt, min, max, choices, flags, help) \
    {name, kind, offsetof(type, member), dflt, min, max, choices, flags, help}

/*
 * Fills `out` (zeroed by the caller) from `node`, an object of `tree`, or from the defaults alone when node is NULL.
 * `where`: dotted path for messages ("identity_providers.corp"), "" at top. Returns false when it added an error; then
 * members with errors hold their defaults. A null value is an absent one. Messages never show a value. tree may be NULL
 * when node is.
 */
bool tg_settings_read(const struct tg_setting *table, size_t rows, const struct tg_tree *tree, const cJSON *node,
                      const char *where, bool camel, struct tg_arena *arena, void *out, struct tg_problems *problems);

/* The API's spelling of a row's name: "caFile" of "ca_file". */
#define TG_CAMEL_MAX 96
const char *tg_camel_case(const char *snake, char out[static TG_CAMEL_MAX]);
/* The member by the row's name or, with `camel`, by the API's spelling of it; NULL: neither is there. */
const cJSON *tg_setting_member(const cJSON *node, const char *name, bool camel);
/* Whether the default is a list, "[a, b]", and not one text such as "[::]:8080". */
bool tg_setting_default_is_list(const struct tg_setting *row);

/* The nearest of `names` to `word` when it is near enough for a typing error, else NULL. */
const char *tg_nearest(const char *word, const char *const *names, size_t count);
/* As a user writes them, without "none"; durations as whole numbers with units from large to small. */
bool tg_duration_parse(struct tg_slice text, int64_t *ms);
bool tg_size_parse(struct tg_slice text, uint64_t *bytes);
