/*
 * catalogue_set - everything in the catalogue as a set, after each change.
 *
 * Documents that did not change since the last set are not read again: with thousands of them that is most of the work.
 */
#include "base/map.h"
#include "catalogue_internal.h"

struct cached {                                          /* one document as an element of a set */
    cJSON *element;
    int64_t version, updated_us;
};

static void drop_cached(void *value)
{
    struct cached *cached = value;

    cJSON_Delete(cached->element);
    free(cached);
}

/* `active: false` stays: a set leaves such a policy out, and the references to it. */
cJSON *catalogue_element(const struct tg_catalogue *c, const struct tg_document *d)
{
    static const char *const dropped[] = {"originatorId", "logoUrl"};
    cJSON *element = cJSON_Duplicate(d->doc, true);

    tg_assert(element);
    for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
        cJSON_DeleteItemFromObjectCaseSensitive(element, dropped[i]);
    cJSON_AddStringToObject(element, "id", d->id);
    if (strcmp(d->namespace_id, c->namespaces[0].id) != 0) /* none: for all namespaces */
        cJSON_AddStringToObject(element, "namespaceId", d->namespace_id);
    return element;
}

static enum tg_status element_of(struct tg_catalogue *c, enum tg_kind kind, struct tg_query *row, struct tg_map *next,
                                 struct cached **out, struct tg_err *err)
{
    struct tg_slice id = tg_query_bytes(row, 0);
    struct cached *old = tg_map_get(c->elements, id), *fresh = TG_NEW(struct cached);
    struct tg_document d;
    enum tg_status st = TG_OK;

    fresh->version = tg_query_int(row, 1);
    fresh->updated_us = tg_query_int(row, 2);
    if (old && old->version == fresh->version && old->updated_us == fresh->updated_us) {
        fresh->element = old->element;
        old->element = NULL;
    } else if ((st = tg_catalogue_get(c, kind, id, &d, err)) == TG_OK) {
        fresh->element = catalogue_element(c, &d);
        tg_document_fini(&d);
    }
    tg_map_put(next, id, fresh);
    *out = fresh;
    return st;
}

static enum tg_status gather(struct tg_catalogue *c, enum tg_kind kind, struct tg_map *next, cJSON *list,
                             struct tg_err *err)
{
    struct tg_query *q = tg_db_query(c->db, "SELECT id, version, updated_us FROM documents WHERE kind = ?1 ORDER BY n");
    enum tg_status st = TG_OK, end;
    struct cached *cached;

    tg_query_bind_int(q, 1, kind);
    while (st == TG_OK && tg_query_row(q)) {
        st = element_of(c, kind, q, next, &cached, err);
        if (st == TG_OK)
            cJSON_AddItemReferenceToArray(list, cached->element);
    }
    end = tg_query_end(q, st == TG_OK ? err : NULL);
    return st != TG_OK ? st : end;
}

enum tg_status tg_catalogue_set(struct tg_catalogue *c, struct tg_set **out, struct tg_err *err)
{
    struct tg_map *next = tg_map_new(drop_cached);
    cJSON *policies = cJSON_CreateArray(), *routes = cJSON_CreateArray();
    enum tg_status st;

    if (!c->elements)
        c->elements = tg_map_new(drop_cached);
    st = gather(c, TG_KIND_POLICY, next, policies, err);
    if (st == TG_OK)
        st = gather(c, TG_KIND_ROUTE, next, routes, err);
    if (st == TG_OK)
        st = tg_set_make(CATALOGUE_SET_NAME, policies, routes, out, err);
    cJSON_Delete(policies);
    cJSON_Delete(routes);
    tg_map_free(c->elements);                            /* what moved on has no element there any more */
    c->elements = st == TG_OK ? next : NULL;
    if (st != TG_OK)
        tg_map_free(next);
    return st;
}
