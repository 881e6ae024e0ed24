/*
 * v1_tokens - API users as tokens, and the end of an ID token before its time.
 */
#include "users.h"

static void list(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_buf items = {0};
    uint64_t page, size, total = 0;

    if (api_query_page(req, &page, &size, out) &&
        users_list(api, req, size, (page - 1) * size, &items, &total, out))
        api_page_write(out, tg_buf_slice(&items), total, page, size);
    tg_buf_fini(&items);
}

static void get(struct api *api, const struct api_request *req, struct api_answer *out)
{
    users_get(api, req, req->params[0], out);
}

static void delete(struct api *api, const struct api_request *req, struct api_answer *out)
{
    users_delete(api, req, req->params[0], out);
}

static void logout(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_err err = {0};
    enum tg_status st;

    if (!api_change_begin(api, req, out))
        return;
    st = tg_managers_logout(api->managers, req->caller, req->now_us / 1000, &err);
    if (st == TG_OK) {
        if (api_change_commit(api, req, &(struct api_change){.action = "auth.logout"}, out))
            out->status = 204;
        return;
    }
    api_change_abort(api);
    if (st == TG_UNSUPPORTED)
        api_fail(out, req->view, 400, tg_err_text(&err));
    else
        api_fail_of(out, req->view, st, &err);
}

static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, "/api/v1/tokens", API_AUDIT, API_NO_BODY, list},
    {TG_METHOD_POST, "/api/v1/tokens", API_WRITE, API_JSON, users_create},
    {TG_METHOD_GET, "/api/v1/tokens/{id}", API_AUDIT, API_NO_BODY, get},
    {TG_METHOD_DELETE, "/api/v1/tokens/{id}", API_WRITE, API_NO_BODY, delete},
    {TG_METHOD_POST, "/api/v1/auth/logout", API_READ, API_NO_BODY, logout},
};
const struct api_group api_v1_tokens = {endpoints, ARRAY_LEN(endpoints)};
