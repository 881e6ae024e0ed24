/*
 * v0_organizations - the organisation, its namespaces, and clusters as another name for these.
 *
 * They are read only: the file says them.
 */
#include "documents.h"

/* Who signs in where there are no people to own anything. */
#define OWNER "tollgate"

/* ---- the organisation ---- */

static cJSON *organization(struct api *api, const struct api_request *req)
{
    size_t count;
    const struct tg_namespace *root = tg_catalogue_namespaces(api->catalogue, &count);
    cJSON *object = cJSON_CreateObject();
    char *name = tg_slice_dup(tg_catalogue_organization_name(api->catalogue));

    document_add_time_us(object, "createdAt", root->created_us);
    document_add_time_us(object, "joinedAt", root->created_us);
    document_add_time_us(object, "updatedAt", root->updated_us);
    cJSON_AddStringToObject(object, "id", root->id);
    cJSON_AddStringToObject(object, "name", name);
    cJSON_AddStringToObject(object, "organizationType", "professional");
    cJSON_AddStringToObject(object, "ownerUserId", OWNER);
    cJSON_AddFalseToObject(object, "readOnly");
    cJSON_AddStringToObject(object, "role", tg_role_name(req->caller->role));
    free(name);
    return object;
}

static void list_organizations(struct api *api, const struct api_request *req, struct api_answer *out)
{
    tg_buf_addc(&out->body, '[');
    document_print(organization(api, req), &out->body);
    tg_buf_adds(&out->body, "]\n");
}

static void get_organization(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (!documents_of_organization(api, req, req->params[0], out))
        return;
    document_print(organization(api, req), &out->body);
    tg_buf_addc(&out->body, '\n');
}

/* ---- namespaces ---- */

static void add_times(cJSON *object, const struct tg_namespace *ns)
{
    document_add_time_us(object, "createdAt", ns->created_us);
    document_add_time_us(object, "updatedAt", ns->updated_us);
}

static cJSON *named(const struct tg_namespace *ns)
{
    cJSON *object = cJSON_CreateObject();
    char *name = tg_slice_dup(ns->name);

    cJSON_AddStringToObject(object, "id", ns->id);
    cJSON_AddStringToObject(object, "name", name);
    add_times(object, ns);
    free(name);
    return object;
}

static cJSON *namespace_of(const struct api_request *req, const struct tg_namespace *ns,
                           const struct tg_namespace *root)
{
    cJSON *object = named(ns);

    if (!ns->root)
        cJSON_AddStringToObject(object, "parentId", root->id);
    cJSON_AddStringToObject(object, "role", req->caller->role >= TG_ROLE_ADMIN ? "admin" : "viewer");
    cJSON_AddStringToObject(object, "type", ns->root ? "root" : "cluster");
    return object;
}

static void list_namespaces(struct api *api, const struct api_request *req, struct api_answer *out)
{
    size_t count;
    const struct tg_namespace *all = tg_catalogue_namespaces(api->catalogue, &count);

    if (!documents_of_organization(api, req, req->params[0], out))
        return;
    for (size_t i = 0; i < count; i++) {
        tg_buf_addc(&out->body, i == 0 ? '[' : ',');
        document_print(namespace_of(req, &all[i], &all[0]), &out->body);
    }
    tg_buf_adds(&out->body, "]\n");
}

/* ---- clusters ---- */

/* There is no domain of Pomerium's here; the name stands for it. */
static cJSON *cluster(const struct tg_namespace *ns)
{
    cJSON *object = named(ns);
    const cJSON *name = tg_json_get(object, "name");

    cJSON_AddStringToObject(object, "namespaceId", ns->id);
    cJSON_AddStringToObject(object, "domain", name->valuestring);
    cJSON_AddStringToObject(object, "fqdn", name->valuestring);
    return object;
}

static void list_clusters(struct api *api, const struct api_request *req, struct api_answer *out)
{
    size_t count, shown = 0;
    const struct tg_namespace *all = tg_catalogue_namespaces(api->catalogue, &count);

    if (!documents_of_organization(api, req, req->params[0], out))
        return;
    tg_buf_addc(&out->body, '[');
    for (size_t i = 0; i < count; i++) {
        if (all[i].root)
            continue;
        if (shown++ > 0)
            tg_buf_addc(&out->body, ',');
        document_print(cluster(&all[i]), &out->body);
    }
    tg_buf_adds(&out->body, "]\n");
}

static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, "/api/v0/organizations", API_READ, API_NO_BODY, list_organizations},
    {TG_METHOD_GET, "/api/v0/organizations/{organization}", API_READ, API_NO_BODY, get_organization},
    {TG_METHOD_GET, "/api/v0/organizations/{organization}/namespaces", API_READ, API_NO_BODY, list_namespaces},
    {TG_METHOD_GET, "/api/v0/organizations/{organization}/clusters", API_READ, API_NO_BODY, list_clusters},
};
const struct api_group api_v0_organizations = {endpoints, ARRAY_LEN(endpoints)};
