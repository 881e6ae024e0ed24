/*
 * json - a strict door in front of cJSON.
 *
 * tg_json_parse refuses what cJSON lets through: duplicate member names (compared after unescaping), NUL by escape, raw
 * control characters, invalid UTF-8 (overlong, surrogates, lone \u surrogates too), a BOM, leading zeros, trailing
 * bytes, depth and size over the limits, numbers that overflow or are longer than 63 characters (cJSON reads no more).
 * A number keeps its literal in valuestring when the double may be inexact: more than 15 significant digits, except
 * whole numbers up to 2^53. After it only case-sensitive look-ups are used.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <cjson/cJSON.h>

struct tg_json_limits {
    size_t bytes;                                        /* 0: 1 MiB */
    unsigned depth;                                      /* 0: 32 */
    unsigned nodes;                                      /* 0: 100000 */
};

/* One JSON text (RFC 8259). The tree is the caller's: cJSON_Delete. The sentence says line:column and what was wrong.
 */
enum tg_status tg_json_parse(struct tg_slice text, const struct tg_json_limits *limits, cJSON **out,
                             struct tg_err *err);
/* Whether `text` would be taken, without building a tree (limits as above). */
enum tg_status tg_json_scan(struct tg_slice text, const struct tg_json_limits *limits, struct tg_err *err);

/* Member of an object by exact name; NULL when absent or when `obj` is no object. */
const cJSON *tg_json_get(const cJSON *obj, const char *name);
/* The text of a string node (strings hold no NUL, so this is whole); false for other kinds and NULL. */
bool tg_json_str(const cJSON *node, struct tg_slice *out);
/* A number that is an integer within ±2^53; false otherwise. */
bool tg_json_int(const cJSON *node, int64_t *out);
/* Two numbers by value: 5 == 5.0 == 5e0; inexact ones by normalised literal. */
bool tg_json_number_eq(const cJSON *a, const cJSON *b);
/* Deep equality by type and value; member order does not matter. */
bool tg_json_eq(const cJSON *a, const cJSON *b);
void tg_json_add_string(struct tg_buf *out, struct tg_slice s); /* quoted and escaped */
void tg_json_print(struct tg_buf *out, const cJSON *node); /* compact, literals kept */
