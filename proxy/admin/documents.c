/*
 * documents - showing and changing one policy or route.
 *
 * A change is told in the transaction that makes it: an entry of the audit log with who and which, and an event for
 * webhooks. Neither holds the document itself.
 */
#include "documents.h"
#include <stdio.h>

/* ---- showing ---- */

static void add_raw(cJSON *object, const char *name, struct tg_buf *text)
{
    struct tg_slice quoted = tg_buf_slice(text);
    char *plain = tg_slice_dup(tg_slice(quoted.ptr + 1, quoted.len - 2));

    cJSON_AddStringToObject(object, name, plain);
    free(plain);
    tg_buf_fini(text);
}

void document_add_time_us(cJSON *object, const char *name, int64_t us)
{
    struct tg_buf text = {0};

    api_add_time_us(&text, us);
    add_raw(object, name, &text);
}

void document_add_time_s(cJSON *object, const char *name, int64_t us)
{
    struct tg_buf text = {0};

    api_add_time_s(&text, us / 1000000);
    add_raw(object, name, &text);
}

cJSON *document_v0(const struct tg_document *d)
{
    cJSON *object = cJSON_Duplicate(d->doc, true);

    tg_assert(object);
    cJSON_AddStringToObject(object, "id", d->id);
    cJSON_AddStringToObject(object, "namespaceId", d->namespace_id);
    document_add_time_us(object, "createdAt", d->created_us);
    document_add_time_us(object, "updatedAt", d->updated_us);
    return object;
}

struct related {
    cJSON *list, *ids;
};

static void add_related(void *arg, const struct tg_document *d)
{
    struct related *r = arg;
    cJSON *entity = cJSON_CreateObject();

    cJSON_AddStringToObject(entity, "id", d->id);
    cJSON_AddItemToObject(entity, "name", cJSON_Duplicate(tg_json_get(d->doc, "name"), true));
    document_add_time_us(entity, "updatedAt", d->updated_us);
    cJSON_AddItemToArray(r->list, entity);
    if (r->ids)
        cJSON_AddItemToArray(r->ids, cJSON_CreateString(d->id));
}

enum tg_status document_add_related(struct api *api, cJSON *object, const char *name, enum tg_relation relation,
                                    const struct tg_document *of, cJSON *ids, struct tg_err *err)
{
    struct related r = {cJSON_CreateArray(), ids};

    cJSON_AddItemToObject(object, name, r.list);
    return tg_catalogue_relate(api->catalogue, relation, of, add_related, &r, err);
}

static int by_name(const void *a, const void *b)
{
    const cJSON *const *left = a, *const *right = b;

    return strcmp((*left)->string, (*right)->string);
}

void document_print(cJSON *object, struct tg_buf *out)
{
    size_t count = (size_t)cJSON_GetArraySize(object), i = 0;
    cJSON **items = TG_NEW_ARRAY(cJSON *, count + 1), *each;

    cJSON_ArrayForEach(each, object)
        items[i++] = each;
    qsort(items, count, sizeof(cJSON *), by_name);
    for (i = 0; i < count; i++) {
        tg_buf_addc(out, i == 0 ? '{' : ',');
        tg_json_add_string(out, tg_slice_str(items[i]->string));
        tg_buf_addc(out, ':');
        tg_json_print(out, items[i]);
    }
    tg_buf_addc(out, '}');
    free(items);
    cJSON_Delete(object);
}

/* ---- one ---- */

/*
 * "v7", and where other documents are shown too, which change without this one, "v7-r1763..." with the revision of the
 * store. A change only asks for the version.
 */
static enum tg_status add_etag(struct api *api, const struct documents *kind, const struct tg_document *d,
                               struct api_answer *out, struct tg_err *err)
{
    int64_t revision = 0;
    enum tg_status st = kind->relates ? tg_catalogue_revision(api->catalogue, &revision, err) : TG_OK;

    out->etag.len = 0;
    tg_buf_addf(&out->etag, "\"v%lld", (long long)d->version);
    if (kind->relates)
        tg_buf_addf(&out->etag, "-r%lld", (long long)revision);
    tg_buf_addc(&out->etag, '"');
    return st;
}

static enum tg_status answer_with(struct api *api, const struct documents *kind, const struct tg_document *d,
                                  struct api_answer *out, struct tg_err *err)
{
    enum tg_status st = kind->show(api, d, &out->body, err);

    tg_buf_addc(&out->body, '\n');
    return st == TG_OK ? add_etag(api, kind, d, out, err) : st;
}

void documents_get(struct api *api, const struct api_request *req, const struct documents *kind, struct tg_slice id,
                   struct api_answer *out)
{
    struct tg_document d;
    struct tg_err err;
    enum tg_status st = tg_catalogue_get(api->catalogue, kind->kind, id, &d, &err);

    if (st == TG_OK) {
        st = answer_with(api, kind, &d, out, &err);
        tg_document_fini(&d);
    }
    if (st != TG_OK)
        api_fail_of(out, req->view, st, &err);
    else
        api_not_modified(req, tg_buf_slice(&out->etag), out);
}

/* ---- changes ---- */

static void add_facts(const struct documents *kind, const struct tg_document *d, bool event, struct tg_buf *out)
{
    struct tg_slice name = {0};

    tg_json_str(tg_json_get(d->doc, "name"), &name);
    tg_buf_addc(out, '{');
    if (event)
        tg_buf_addf(out, "\"%s_id\":\"%s\",", kind->word, d->id);
    tg_buf_adds(out, "\"name\":");
    tg_json_add_string(out, name);
    tg_buf_adds(out, ",\"namespace_id\":");
    tg_json_add_string(out, tg_slice_str(d->namespace_id));
    tg_buf_addf(out, ",\"version\":%lld}", (long long)d->version);
}

static bool commit(struct api *api, const struct api_request *req, const struct documents *kind, const char *verb,
                   const char *event, const struct tg_document *d, struct api_answer *out)
{
    struct tg_buf details = {0}, data = {0}, action = {0}, resource = {0};
    struct api_change change = {.event = event, .republish = true};
    bool ok;

    add_facts(kind, d, false, &details);
    add_facts(kind, d, true, &data);
    tg_buf_addf(&action, "%s.%s", kind->word, verb);
    tg_buf_addf(&resource, "%s:%s", kind->word, d->id);
    change.action = tg_buf_cstr(&action);
    change.resource = tg_buf_slice(&resource);
    change.details = tg_buf_slice(&details);
    change.data = tg_buf_slice(&data);
    ok = api_change_commit(api, req, &change, out);
    tg_buf_fini(&details);
    tg_buf_fini(&data);
    tg_buf_fini(&action);
    tg_buf_fini(&resource);
    return ok;
}

/* "ppl.allow: ..." is "policy_data.ppl.allow: ..." where ppl is a member of that. */
static void rename_place(const struct documents *kind, struct tg_err *err)
{
    char was[sizeof err->text];
    size_t len = kind->inner ? strlen(kind->inner) : 0;

    if (len == 0 || strncmp(err->text, kind->inner, len) != 0 || !strchr(".:[ ", err->text[len]))
        return;
    memcpy(was, err->text, sizeof was);
    snprintf(err->text, sizeof err->text, "%s.%.*s", kind->outer, (int)(sizeof was - strlen(kind->outer) - 2), was);
}

static void abort_with(struct api *api, const struct api_request *req, enum tg_status st, const struct tg_err *err,
                       struct api_answer *out)
{
    api_change_abort(api);
    api_fail_of(out, req->view, st, err);
}

static enum tg_status create(struct api *api, const struct api_request *req, const struct documents *kind,
                             struct tg_document *d, struct tg_err *err)
{
    cJSON *body = kind->translate(req->body, NULL, err);
    enum tg_status st = TG_BAD_INPUT;

    if (body && (st = tg_catalogue_create(api->catalogue, kind->kind, body, req->now_us, d, err)) == TG_BAD_INPUT)
        rename_place(kind, err);
    cJSON_Delete(body);
    return st;
}

void documents_create(struct api *api, const struct api_request *req, const struct documents *kind,
                      struct api_answer *out)
{
    struct tg_document d = {0};
    struct tg_err err;
    enum tg_status st;

    if (!api_change_begin(api, req, out))
        return;
    st = create(api, req, kind, &d, &err);
    if (st == TG_OK)
        st = answer_with(api, kind, &d, out, &err);
    if (st != TG_OK) {
        abort_with(api, req, st, &err, out);
    } else if (commit(api, req, kind, "create", kind->created, &d, out)) {
        out->status = 201;
        tg_buf_add_slice(&out->location, req->path);
        tg_buf_addf(&out->location, "/%s", d.id);
    }
    tg_document_fini(&d);
}

static enum tg_status replace(struct api *api, const struct api_request *req, const struct documents *kind,
                              struct tg_slice id, int64_t version, struct tg_document *d, struct tg_err *err)
{
    struct tg_document before;
    enum tg_status st = tg_catalogue_get(api->catalogue, kind->kind, id, &before, err);
    cJSON *body;

    if (st != TG_OK)
        return st;
    body = kind->translate(req->body, &before, err);
    st = body ? tg_catalogue_replace(api->catalogue, kind->kind, id, body, version, req->now_us, d, err) : TG_BAD_INPUT;
    if (body && st == TG_BAD_INPUT)
        rename_place(kind, err);
    cJSON_Delete(body);
    tg_document_fini(&before);
    return st;
}

void documents_replace(struct api *api, const struct api_request *req, const struct documents *kind,
                       struct tg_slice id, struct api_answer *out)
{
    struct tg_document d = {0};
    struct tg_err err;
    int64_t version;
    enum tg_status st;

    if (!api_if_match(req, &version, out) || !api_change_begin(api, req, out))
        return;
    st = replace(api, req, kind, id, version, &d, &err);
    if (st == TG_OK)
        st = answer_with(api, kind, &d, out, &err);
    if (st != TG_OK)
        abort_with(api, req, st, &err, out);
    else
        commit(api, req, kind, "update", kind->updated, &d, out);
    tg_document_fini(&d);
}

void documents_delete(struct api *api, const struct api_request *req, const struct documents *kind, struct tg_slice id,
                      struct api_answer *out)
{
    struct tg_document was = {0};
    struct tg_err err;
    int64_t version;
    enum tg_status st;

    if (!api_if_match(req, &version, out) || !api_change_begin(api, req, out))
        return;
    st = tg_catalogue_delete(api->catalogue, kind->kind, id, version, &was, &err);
    if (st != TG_OK)
        abort_with(api, req, st, &err, out);
    else if (commit(api, req, kind, "delete", kind->deleted, &was, out))
        out->status = 204;
    tg_document_fini(&was);
}
