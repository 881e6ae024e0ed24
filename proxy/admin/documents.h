/*
 * documents - what the endpoints of policies and routes have in common: reading, showing and changing one of them.
 */
#pragma once
#include "api.h"

struct documents {                                       /* one kind of document in one view */
    enum tg_kind kind;
    const char *word;                                    /* "policy": of actions, resources and event data */
    const char *created, *updated, *deleted;             /* events */
    /* Appends the document as this view shows it. */
    enum tg_status (*show)(struct api *api, const struct tg_document *d, struct tg_buf *out, struct tg_err *err);
    /*
     * The body in the catalogue's names: a new object, or NULL and the sentence. `before`: what is replaced; NULL: it
     * is new. What the catalogue says of a member of `inner` is said of outer.inner ("ppl" of "policy_data").
     */
    cJSON *(*translate)(const cJSON *body, const struct tg_document *before, struct tg_err *err);
    const char *outer, *inner;                           /* NULL: the names are the same */
    bool relates;                                        /* `show` tells of other documents too */
};

/* The organisation of the path is ours; else 404, and false. */
bool documents_of_organization(struct api *api, const struct api_request *req, struct tg_slice organization,
                               struct api_answer *out);
void documents_list_v0(struct api *api, const struct api_request *req, const struct documents *kind,
                       struct api_answer *out);
/* What the query asks for, between commas. */
enum tg_status documents_items(struct api *api, const struct documents *kind, const struct tg_catalogue_query *query,
                               uint64_t *total, struct tg_buf *out, struct tg_err *err);
void documents_create(struct api *api, const struct api_request *req, const struct documents *kind,
                      struct api_answer *out);
void documents_get(struct api *api, const struct api_request *req, const struct documents *kind, struct tg_slice id,
                   struct api_answer *out);
void documents_replace(struct api *api, const struct api_request *req, const struct documents *kind,
                       struct tg_slice id, struct api_answer *out);
void documents_delete(struct api *api, const struct api_request *req, const struct documents *kind, struct tg_slice id,
                      struct api_answer *out);

/* ---- showing ---- */
cJSON *document_v0(const struct tg_document *d);         /* a copy with id, namespaceId, createdAt and updatedAt */
void document_add_time_us(cJSON *object, const char *name, int64_t us);
void document_add_time_s(cJSON *object, const char *name, int64_t us);
/* {"id","name","updatedAt"} of each; `ids`: NULL, or a list that gets the ids. */
enum tg_status document_add_related(struct api *api, cJSON *object, const char *name, enum tg_relation relation,
                                    const struct tg_document *of, cJSON *ids, struct tg_err *err);
void document_print(cJSON *object, struct tg_buf *out);  /* members by name, as Pomerium answers; frees it */
