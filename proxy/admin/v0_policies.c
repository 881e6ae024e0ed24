/*
 * v0_policies - policies, as Pomerium's API shows them.
 */
#include "documents.h"

/* `active` is v1's: shown where it is not as everybody expects. */
static enum tg_status show(struct api *api, const struct tg_document *d, struct tg_buf *out, struct tg_err *err)
{
    cJSON *object = document_v0(d);
    enum tg_status st = document_add_related(api, object, "routes", TG_ROUTES_OF_POLICY, d, NULL, err);

    if (st == TG_OK)
        st = document_add_related(api, object, "enforcedRoutes", TG_ENFORCED_ROUTES_OF_POLICY, d, NULL, err);
    if (cJSON_IsTrue(tg_json_get(object, "active")))
        cJSON_DeleteItemFromObjectCaseSensitive(object, "active");
    document_print(object, out);
    return st;
}

/* A client that does not know `active` does not change it. */
static cJSON *translate(const cJSON *body, const struct tg_document *before, struct tg_err *err)
{
    cJSON *copy = cJSON_Duplicate(body, true);

    (void)err;
    tg_assert(copy);
    if (before && cJSON_IsObject(copy) && !tg_json_get(copy, "active"))
        cJSON_AddItemToObject(copy, "active", cJSON_Duplicate(tg_json_get(before->doc, "active"), true));
    return copy;
}

static const struct documents view = {
    .kind = TG_KIND_POLICY, .word = "policy", .created = "policy.created", .updated = "policy.updated",
    .deleted = "policy.deleted", .show = show, .translate = translate, .relates = true,
};

static void list(struct api *api, const struct api_request *req, struct api_answer *out)
{
    documents_list_v0(api, req, &view, out);
}

static void create(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (documents_of_organization(api, req, req->params[0], out))
        documents_create(api, req, &view, out);
}

static void get(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (documents_of_organization(api, req, req->params[0], out))
        documents_get(api, req, &view, req->params[1], out);
}

static void replace(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (documents_of_organization(api, req, req->params[0], out))
        documents_replace(api, req, &view, req->params[1], out);
}

static void delete(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (documents_of_organization(api, req, req->params[0], out))
        documents_delete(api, req, &view, req->params[1], out);
}

#define ALL "/api/v0/organizations/{organization}/policies"
static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, ALL, API_READ, API_NO_BODY, list},
    {TG_METHOD_POST, ALL, API_WRITE, API_JSON, create},
    {TG_METHOD_GET, ALL "/{id}", API_READ, API_NO_BODY, get},
    {TG_METHOD_PUT, ALL "/{id}", API_WRITE, API_JSON, replace},
    {TG_METHOD_DELETE, ALL "/{id}", API_WRITE, API_NO_BODY, delete},
};
const struct api_group api_v0_policies = {endpoints, ARRAY_LEN(endpoints)};
