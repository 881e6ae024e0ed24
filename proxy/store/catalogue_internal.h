/*
 * catalogue_internal - what the files of the catalogue share: the open catalogue, rows as documents, the check of one.
 */
#pragma once
#include "base/json.h"
#include "store/catalogue.h"

struct tg_catalogue {
    struct tg_db *db;
    const struct tg_set_rules *rules;
    struct tg_strings providers, opaque_providers;
    struct tg_map *elements;                             /* of sets, by id: struct cached of catalogue_set.c */
    struct tg_namespace *namespaces;                     /* the root, then the clusters in the order of their making */
    size_t namespace_count;
};

/* ---- catalogue.c ---- */
/* The namespace of that id; NULL: there is none. */
const struct tg_namespace *catalogue_namespace(const struct tg_catalogue *c, struct tg_slice id);
/* How a namespace's id is kept: the root's is empty, as the organisation's id may be given another day. */
struct tg_slice catalogue_kept_namespace(const struct tg_catalogue *c, struct tg_slice id);

/* ---- catalogue_read.c ---- */
#define CATALOGUE_COLUMNS "id, namespace_id, doc, version, created_us, updated_us"
/* Each row of `q`, which has these columns, to `each`; ends `q`. TG_BAD_INPUT: a document is damaged. */
enum tg_status catalogue_rows(const struct tg_catalogue *c, struct tg_query *q,
                              void (*each)(void *arg, const struct tg_document *d), void *arg, struct tg_err *err);
struct tg_slice catalogue_text(const cJSON *doc, const char *name); /* of a member; empty: it has none */

/* ---- catalogue_form.c: a body becomes the document that is kept ---- */
struct catalogue_form {
    char namespace_id[65];
    cJSON *doc;                                          /* canonical: members by name, defaults filled in */
};
/* `before`: what is replaced; NULL: it is new. What no member can say alone is not judged here. */
enum tg_status catalogue_form(const struct tg_catalogue *c, enum tg_kind kind, const cJSON *body,
                              const struct tg_document *before, struct catalogue_form *out, struct tg_err *err);

/* ---- catalogue_check.c ---- */
/* Whether it would compile, as an element of a set. Its references exist. */
enum tg_status catalogue_check(struct tg_catalogue *c, enum tg_kind kind, const struct tg_document *d,
                               struct tg_err *err);

/* ---- catalogue_set.c ---- */
#define CATALOGUE_SET_NAME "management"                  /* in messages about the whole */
cJSON *catalogue_element(const struct tg_catalogue *c, const struct tg_document *d); /* as an element of a set */
