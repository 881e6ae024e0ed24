/*
 * v1_policies - the same policies, in XalTrax' form: snake_case, PPL inside policy_data.
 *
 * What this form does not have (the namespace, the originator) stays as it is when a policy is replaced.
 */
#include "base/setting.h"
#include "documents.h"

static const struct {
    const char *name, *kept;                             /* as the catalogue has it; NULL: given by the API */
} members[] = {
    {"name", "name"}, {"description", "description"}, {"active", "active"}, {"enforced", "enforced"},
    {"explanation", "explanation"}, {"remediation", "remediation"}, {"id", "id"}, {"policy_data", NULL},
    {"organization_id", NULL}, {"version", NULL}, {"device_count", NULL}, {"created_at", NULL}, {"updated_at", NULL},
};

/* ---- showing ---- */

static enum tg_status show(struct api *api, const struct tg_document *d, struct tg_buf *out, struct tg_err *err)
{
    static const char *const same[] = {"name", "description", "active", "enforced", "explanation", "remediation"};
    size_t count;
    const struct tg_namespace *root = tg_catalogue_namespaces(api->catalogue, &count);
    cJSON *object = cJSON_CreateObject(), *data;

    (void)err;
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        cJSON_AddItemToObject(object, same[i], cJSON_Duplicate(tg_json_get(d->doc, same[i]), true));
    data = cJSON_AddObjectToObject(object, "policy_data");
    cJSON_AddItemToObject(data, "ppl", cJSON_Duplicate(tg_json_get(d->doc, "ppl"), true));
    cJSON_AddStringToObject(object, "id", d->id);
    cJSON_AddStringToObject(object, "organization_id", root->id);
    cJSON_AddNumberToObject(object, "version", (double)d->version);
    cJSON_AddNumberToObject(object, "device_count", 0);
    document_add_time_s(object, "created_at", d->created_us);
    document_add_time_s(object, "updated_at", d->updated_us);
    document_print(object, out);
    return TG_OK;
}

/* ---- taking ---- */

static enum tg_status fail_unknown(const char *name, struct tg_err *err)
{
    const char *names[ARRAY_LEN(members)], *near;

    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        names[i] = members[i].name;
    near = tg_nearest(name, names, ARRAY_LEN(names));
    return tg_fail(err, TG_BAD_INPUT, "%.64s: is no member of a policy%s%s%s", name, near ? "; did you mean " : "",
                   near ? near : "", near ? "?" : "");
}

static bool take_data(const cJSON *data, cJSON *out, struct tg_err *err)
{
    const cJSON *node;

    if (!cJSON_IsObject(data)) {
        tg_fail(err, TG_BAD_INPUT, "policy_data: must be an object with the member ppl");
        return false;
    }
    cJSON_ArrayForEach(node, data) {
        if (strcmp(node->string, "ppl") != 0) {
            tg_fail(err, TG_BAD_INPUT, "policy_data.%.64s: is not supported: a policy here is PPL", node->string);
            return false;
        }
        cJSON_AddItemToObject(out, "ppl", cJSON_Duplicate(node, true));
    }
    return true;
}

static bool take_member(const cJSON *node, cJSON *out, struct tg_err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (strcmp(node->string, members[i].name) != 0)
            continue;
        if (members[i].kept)
            cJSON_AddItemToObject(out, members[i].kept, cJSON_Duplicate(node, true));
        return strcmp(node->string, "policy_data") != 0 || take_data(node, out, err);
    }
    fail_unknown(node->string, err);
    return false;
}

static void keep(const struct tg_document *before, cJSON *out)
{
    const cJSON *originator = tg_json_get(before->doc, "originatorId");

    cJSON_AddStringToObject(out, "namespaceId", before->namespace_id);
    if (originator)
        cJSON_AddItemToObject(out, "originatorId", cJSON_Duplicate(originator, true));
}

static cJSON *translate(const cJSON *body, const struct tg_document *before, struct tg_err *err)
{
    cJSON *out = cJSON_CreateObject();
    const cJSON *node;
    bool ok = cJSON_IsObject(body);

    if (!ok)
        tg_fail(err, TG_BAD_INPUT, "the body must be an object");
    cJSON_ArrayForEach(node, body) {
        ok = ok && take_member(node, out, err);
        if (!ok)
            break;
    }
    if (ok && before)
        keep(before, out);
    if (ok)
        return out;
    cJSON_Delete(out);
    return NULL;
}

static const struct documents view = {
    .kind = TG_KIND_POLICY, .word = "policy", .created = "policy.created", .updated = "policy.updated",
    .deleted = "policy.deleted", .show = show, .translate = translate, .outer = "policy_data", .inner = "ppl",
};

static void list(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_catalogue_query query = {0};
    struct tg_buf items = {0};
    struct tg_err err;
    uint64_t page, size, total = 0;
    enum tg_status st;

    if (!api_query_page(req, &page, &size, out))
        return;
    query.limit = size;
    query.offset = (page - 1) * size;
    st = documents_items(api, &view, &query, &total, &items, &err);
    if (st == TG_OK)
        api_page_write(out, tg_buf_slice(&items), total, page, size);
    else
        api_fail_of(out, req->view, st, &err);
    tg_buf_fini(&items);
}

static void create(struct api *api, const struct api_request *req, struct api_answer *out)
{
    documents_create(api, req, &view, out);
}

static void get(struct api *api, const struct api_request *req, struct api_answer *out)
{
    documents_get(api, req, &view, req->params[0], out);
}

static void replace(struct api *api, const struct api_request *req, struct api_answer *out)
{
    documents_replace(api, req, &view, req->params[0], out);
}

static void delete(struct api *api, const struct api_request *req, struct api_answer *out)
{
    documents_delete(api, req, &view, req->params[0], out);
}

#define ALL "/api/v1/policies"
static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, ALL, API_READ, API_NO_BODY, list},
    {TG_METHOD_POST, ALL, API_WRITE, API_JSON, create},
    {TG_METHOD_GET, ALL "/{id}", API_READ, API_NO_BODY, get},
    {TG_METHOD_PUT, ALL "/{id}", API_WRITE, API_JSON, replace},
    {TG_METHOD_DELETE, ALL "/{id}", API_WRITE, API_NO_BODY, delete},
};
const struct api_group api_v1_policies = {endpoints, ARRAY_LEN(endpoints)};
