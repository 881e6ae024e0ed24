/*
 * v1_webhooks - who is told of changes: made, listed, replaced, deleted. The secret goes in and never out.
 */
#include "base/clock.h"
#include "http/uri.h"
#include "webhooks.h"

/* ---- showing ---- */

static void add_time(struct tg_buf *out, const char *name, int64_t s)
{
    tg_buf_addf(out, ",\"%s\":", name);
    if (s < 0)
        tg_buf_adds(out, "null");
    else
        api_add_time_s(out, s);
}

static void add_webhook(void *arg, const struct webhook *w)
{
    struct tg_buf *out = arg;

    if (out->len)
        tg_buf_addc(out, ',');
    tg_buf_adds(out, "{\"id\":");
    tg_json_add_string(out, w->id);
    tg_buf_adds(out, ",\"url\":");
    tg_json_add_string(out, w->url);
    tg_buf_addf(out, ",\"events\":" TG_S_FMT ",\"active\":%s", TG_S_ARG(w->events), w->active ? "true" : "false");
    add_time(out, "created_at", w->created_s);
    add_time(out, "updated_at", w->updated_s);
    add_time(out, "last_delivery_at", w->last_s);
    tg_buf_adds(out, ",\"last_status\":");
    if (w->last_status < 0)
        tg_buf_adds(out, "null");
    else
        tg_buf_addf(out, "%lld", (long long)w->last_status);
    tg_buf_addf(out, ",\"pending\":%llu}", (unsigned long long)w->pending);
}

static bool show(struct api *api, const struct api_request *req, struct tg_slice id, struct api_answer *out)
{
    struct tg_err err = {0};
    enum tg_status st = id.len ? webhook_list(api->db, id, 0, 0, add_webhook, &out->body, NULL, &err) : TG_NOT_FOUND;

    if (st == TG_OK)
        tg_buf_addc(&out->body, '\n');
    else
        api_fail_of(out, req->view, st, &err);
    return st == TG_OK;
}

/* ---- what a body says ---- */

struct body {
    struct tg_slice url, secret;                         /* secret.ptr NULL: not said */
    struct tg_buf events;                                /* a JSON list */
    bool active;
};

static bool bad(const struct api_request *req, struct api_answer *out, const char *details)
{
    api_fail(out, req->view, 400, details);
    return false;
}

static bool check_members(const struct api_request *req, struct api_answer *out)
{
    static const char *const known[] = {"url", "events", "secret", "active", "id", "created_at", "updated_at",
                                        "last_delivery_at", "last_status", "pending"};
    const cJSON *member;
    struct tg_err why;

    cJSON_ArrayForEach(member, req->body) {
        size_t i = 0;

        while (i < ARRAY_LEN(known) && strcmp(known[i], member->string) != 0)
            i++;
        if (i < ARRAY_LEN(known))
            continue;
        const char *near = tg_nearest(member->string, known, ARRAY_LEN(known));

        tg_fail(&why, TG_BAD_INPUT, "%.64s: unknown member%s%s%s", member->string, near ? "; did you mean " : "",
                near ? near : "", near ? "?" : "");
        return bad(req, out, why.text);
    }
    return true;
}

static bool is_event_name(struct tg_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return name.len > 0 && name.len <= 64;
}

/* Those of policies, routes and tokens are all known; others are of a service that sends more than this one. */
static bool check_event(const struct api_request *req, const char *name, struct api_answer *out)
{
    static const char *const events[] = {"policy.created", "policy.updated", "policy.deleted", "route.created",
                                         "route.updated", "route.deleted", "token.created", "token.deleted"};
    static const char *const ours[] = {"policy.", "route.", "token."};
    struct tg_err why;

    if (strcmp(name, "*") == 0)
        return true;
    if (!is_event_name(tg_slice_str(name)))
        return bad(req, out, "events: a name is 1 to 64 lower-case letters, digits, dots, dashes; or * for all");
    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        if (strcmp(events[i], name) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (tg_slice_starts_with(tg_slice_str(name), tg_slice_str(ours[i]))) {
            const char *near = tg_nearest(name, events, ARRAY_LEN(events));

            tg_fail(&why, TG_BAD_INPUT, "events: there is no event %s%s%s%s", name, near ? "; did you mean " : "",
                    near ? near : "", near ? "?" : "");
            return bad(req, out, why.text);
        }
    return true;
}

static bool read_events(const struct api_request *req, struct body *b, struct api_answer *out)
{
    const cJSON *list = tg_json_get(req->body, "events"), *one;
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;

    if (count < 1 || count > WEBHOOK_EVENTS)
        return bad(req, out, "events: a list of 1 to 50 names is needed");
    cJSON_ArrayForEach(one, list) {
        if (!cJSON_IsString(one))
            return bad(req, out, "events: a name is a text");
        if (!check_event(req, one->valuestring, out))
            return false;
    }
    tg_json_print(&b->events, list);
    return true;
}

static bool read_rest(struct api *api, const struct api_request *req, struct body *b, struct api_answer *out)
{
    const cJSON *secret = tg_json_get(req->body, "secret"), *active = tg_json_get(req->body, "active");
    struct tg_err why;

    if (!tg_json_str(tg_json_get(req->body, "url"), &b->url))
        return bad(req, out, "url: a text is needed");
    if (webhook_target_check(&api->settings.webhook_networks, b->url, &why) != TG_OK)
        return bad(req, out, why.text);
    if (secret && (!tg_json_str(secret, &b->secret) || b->secret.len == 0 || b->secret.len > WEBHOOK_SECRET))
        return bad(req, out, "secret: a text of 1 to 256 bytes is needed");
    if (active && !cJSON_IsBool(active))
        return bad(req, out, "active: true or false is needed");
    b->active = !active || cJSON_IsTrue(active);
    return true;
}

static bool read_body(struct api *api, const struct api_request *req, bool making, struct body *b,
                      struct api_answer *out)
{
    const cJSON *id = tg_json_get(req->body, "id");
    struct tg_slice text;

    if (!cJSON_IsObject(req->body))
        return bad(req, out, "the body must be a JSON object");
    if (id && (making || !tg_json_str(id, &text) || !tg_slice_eq(text, req->params[0])))
        return bad(req, out, making ? "id: is given by the server" : "id: is not that of the path");
    if (!check_members(req, out) || !read_rest(api, req, b, out) || !read_events(req, b, out))
        return false;
    if (making && !b->secret.ptr)
        return bad(req, out, "secret: is needed; it signs the deliveries");
    return true;
}

/* ---- changes ---- */

/* Of the URL the host alone: what else is in it may be a secret. */
static void add_details(const struct body *b, struct tg_buf *out)
{
    struct tg_url url = {0};

    tg_url_parse(b->url, false, &url, NULL);
    tg_buf_adds(out, "{\"host\":");
    tg_json_add_string(out, url.host);
    tg_buf_addf(out, ",\"events\":" TG_S_FMT ",\"active\":%s}", TG_S_ARG(tg_buf_slice(&b->events)),
                b->active ? "true" : "false");
}

static bool commit(struct api *api, const struct api_request *req, const char *action, struct tg_slice id,
                   const struct body *b, struct api_answer *out)
{
    struct tg_buf resource = {0}, details = {0};
    struct api_change change = {.action = action};
    bool ok;

    tg_buf_addf(&resource, "webhook:" TG_S_FMT, TG_S_ARG(id));
    if (b)
        add_details(b, &details);
    change.resource = tg_buf_slice(&resource);
    change.details = tg_buf_slice(&details);
    ok = api_change_commit(api, req, &change, out);
    tg_buf_fini(&resource);
    tg_buf_fini(&details);
    return ok;
}

static bool abort_with(struct api *api, const struct api_request *req, enum tg_status st, const struct tg_err *err,
                       struct api_answer *out)
{
    api_change_abort(api);
    api_fail_of(out, req->view, st, err);
    return false;
}

static bool make(struct api *api, const struct api_request *req, const struct body *b, struct tg_slice id,
                 struct api_answer *out)
{
    struct webhook w = {.id = id, .url = b->url, .events = tg_buf_slice(&b->events), .secret = b->secret,
                        .active = b->active, .created_s = req->now_us / 1000000};
    struct tg_err err = {0};
    enum tg_status st;

    if (!api_change_begin(api, req, out))
        return false;
    st = webhook_create(api->db, &w, &err);
    if (st != TG_OK)
        return abort_with(api, req, st, &err, out);
    return commit(api, req, "webhook.create", id, b, out);
}

static void create(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct body b = {0};
    char id[37];

    tg_uuid(id);
    if (read_body(api, req, true, &b, out) && make(api, req, &b, tg_slice_str(id), out) &&
        show(api, req, tg_slice_str(id), out)) {
        out->status = 201;
        tg_buf_addf(&out->location, "/api/v1/webhooks/%s", id);
    }
    tg_buf_fini(&b.events);
}

static bool change(struct api *api, const struct api_request *req, const struct body *b, struct api_answer *out)
{
    struct webhook w = {.id = req->params[0], .url = b->url, .events = tg_buf_slice(&b->events), .secret = b->secret,
                        .active = b->active, .updated_s = req->now_us / 1000000};
    struct tg_err err = {0};
    enum tg_status st;

    if (!api_change_begin(api, req, out))
        return false;
    st = webhook_replace(api->db, &w, &err);
    if (st != TG_OK)
        return abort_with(api, req, st, &err, out);
    return commit(api, req, "webhook.update", w.id, b, out);
}

static void replace(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct body b = {0};

    if (read_body(api, req, false, &b, out) && change(api, req, &b, out)) {
        webhooks_kick(api->webhooks);
        show(api, req, req->params[0], out);
    }
    tg_buf_fini(&b.events);
}

static void delete(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_err err = {0};
    enum tg_status st;

    if (!api_change_begin(api, req, out))
        return;
    st = webhook_delete(api->db, req->params[0], &err);
    if (st != TG_OK) {
        abort_with(api, req, st, &err, out);
        return;
    }
    if (!commit(api, req, "webhook.delete", req->params[0], NULL, out))
        return;
    webhooks_cancel(api->webhooks, req->params[0]);
    out->status = 204;
}

/* ---- looking ---- */

static void get(struct api *api, const struct api_request *req, struct api_answer *out)
{
    show(api, req, req->params[0], out);
}

static void list(struct api *api, const struct api_request *req, struct api_answer *out)
{
    uint64_t page, size, total = 0;
    struct tg_buf items = {0};
    struct tg_err err = {0};
    enum tg_status st;

    if (!api_query_page(req, &page, &size, out))
        return;
    st = webhook_list(api->db, TG_S(""), size, (page - 1) * size, add_webhook, &items, &total, &err);
    if (st == TG_OK)
        api_page_write(out, tg_buf_slice(&items), total, page, size);
    else
        api_fail_of(out, req->view, TG_UNAVAILABLE, &err);
    tg_buf_fini(&items);
}

static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, "/api/v1/webhooks", API_AUDIT, API_NO_BODY, list},
    {TG_METHOD_POST, "/api/v1/webhooks", API_WRITE, API_JSON, create},
    {TG_METHOD_GET, "/api/v1/webhooks/{id}", API_AUDIT, API_NO_BODY, get},
    {TG_METHOD_PUT, "/api/v1/webhooks/{id}", API_WRITE, API_JSON, replace},
    {TG_METHOD_DELETE, "/api/v1/webhooks/{id}", API_WRITE, API_NO_BODY, delete},
    {TG_METHOD_POST, "/api/v1/hooks/revocations", API_PUBLIC, API_JSON, hook_revocations},
};
const struct api_group api_v1_webhooks = {endpoints, ARRAY_LEN(endpoints)};
