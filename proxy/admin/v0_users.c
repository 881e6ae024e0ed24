/*
 * v0_users - API users as clients of the Zero API know them: a token exchanged for an ID token, and who has one.
 */
#include "users.h"

/* ---- POST /token ---- */

static void note_refused(struct api *api, const struct api_request *req, const struct tg_err *err)
{
    struct tg_buf details = {0};

    tg_buf_adds(&details, "{\"reason\":");
    tg_json_add_string(&details, tg_slice_str(tg_err_text(err)));
    tg_buf_addc(&details, '}');
    api_note(api, req, "auth.exchange", "failure", tg_buf_slice(&details));
    tg_buf_fini(&details);
}

/* 400 is final to a client, where 401 would have it try again; and it is not told what was wrong. */
static void refuse(struct api *api, const struct api_request *req, enum tg_status st, const struct tg_err *err,
                   struct api_answer *out)
{
    if (st == TG_DENIED) {
        note_refused(api, req, err);
        api_fail(out, req->view, 400, "the refresh token is invalid");
    } else {
        api_fail_of(out, req->view, st, err);
    }
}

static void exchange(struct api *api, const struct api_request *req, struct api_answer *out)
{
    static const char *const names[] = {"refreshToken", NULL};
    struct api_request known = *req;
    struct tg_buf id_token = {0};
    struct tg_manager who = {0};
    struct tg_err err = {0};
    struct tg_slice token;
    int64_t life_s = 0;
    enum tg_status st;

    if (!users_check_members(req, names, out))
        return;
    if (!tg_json_str(tg_json_get(req->body, "refreshToken"), &token)) {
        api_fail(out, req->view, 400, "refreshToken: is needed, a text: the API user's token");
        return;
    }
    st = tg_managers_exchange(api->managers, token, req->now_us / 1000, &id_token, &life_s, &who, &err);
    if (st == TG_OK && api_charge(req, who.id, out)) {
        known.caller = &who;
        api_note(api, &known, "auth.exchange", "success", (struct tg_slice){0});
        tg_buf_addf(&out->body, "{\"expiresInSeconds\":\"%lld\",\"idToken\":\"" TG_S_FMT "\"}\n", (long long)life_s,
                    TG_S_ARG(tg_buf_slice(&id_token)));
    } else if (st != TG_OK) {
        refuse(api, req, st, &err, out);
    }
    tg_buf_wipe(&id_token);
}

/* ---- /organizations/{organization}/api-users ---- */

/* There is one organisation; its id is the root namespace's. */
static bool is_ours(struct api *api, const struct api_request *req, struct api_answer *out)
{
    size_t count;
    const struct tg_namespace *all = tg_catalogue_namespaces(api->catalogue, &count);

    if (count && tg_slice_eq(req->params[0], tg_slice_str(all[0].id)))
        return true;
    api_fail(out, req->view, 404, "there is no such organization");
    return false;
}

static void list(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_buf items = {0};

    if (is_ours(api, req, out) && users_list(api, req, 0, 0, &items, NULL, out))
        tg_buf_addf(&out->body, "[%s]\n", tg_buf_cstr(&items));
    tg_buf_fini(&items);
}

static void create(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (is_ours(api, req, out))
        users_create(api, req, out);
}

static void get(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (is_ours(api, req, out))
        users_get(api, req, req->params[1], out);
}

static void delete(struct api *api, const struct api_request *req, struct api_answer *out)
{
    if (is_ours(api, req, out))
        users_delete(api, req, req->params[1], out);
}

static const struct api_endpoint endpoints[] = {
    {TG_METHOD_POST, "/api/v0/token", API_PUBLIC, API_JSON, exchange},
    {TG_METHOD_GET, "/api/v0/organizations/{organization}/api-users", API_AUDIT, API_NO_BODY, list},
    {TG_METHOD_POST, "/api/v0/organizations/{organization}/api-users", API_WRITE, API_JSON, create},
    {TG_METHOD_GET, "/api/v0/organizations/{organization}/api-users/{id}", API_AUDIT, API_NO_BODY, get},
    {TG_METHOD_DELETE, "/api/v0/organizations/{organization}/api-users/{id}", API_WRITE, API_NO_BODY, delete},
};
const struct api_group api_v0_users = {endpoints, ARRAY_LEN(endpoints)};
