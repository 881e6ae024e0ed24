/*
 * v1_health - whether the API answers, and what it is: /api/v1/health and /api/v1/openapi.json.
 */
#include "api.h"
#include "openapi_json.h"

static void health(struct api *api, const struct api_request *req, struct api_answer *out)
{
    (void)api;
    tg_buf_adds(&out->body, "{\"status\":\"ok\",\"version\":\"" TG_VERSION "\",\"time\":");
    api_add_time_s(&out->body, req->now_us / 1000000);
    tg_buf_adds(&out->body, "}\n");
}

static void openapi(struct api *api, const struct api_request *req, struct api_answer *out)
{
    (void)api;
    (void)req;
    tg_buf_add(&out->body, openapi_json, openapi_json_len);
}

static const struct api_endpoint endpoints[] = {
    {TG_METHOD_GET, "/api/v1/health", API_PUBLIC, API_NO_BODY, health},
    {TG_METHOD_GET, "/api/v1/openapi.json", API_PUBLIC, API_NO_BODY, openapi},
};
const struct api_group api_v1_health = {endpoints, ARRAY_LEN(endpoints)};
