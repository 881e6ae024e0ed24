/*
 * users - API users, which /api/v0 calls so and /api/v1 calls tokens: what both views do with them.
 */
#pragma once
#include "api.h"

/* The view of the request is that of body and answer. */
void users_create(struct api *api, const struct api_request *req, struct api_answer *out);
void users_get(struct api *api, const struct api_request *req, struct tg_slice id, struct api_answer *out);
void users_delete(struct api *api, const struct api_request *req, struct tg_slice id, struct api_answer *out);
/* Some of all, with commas between, appended to `items`; false: the failure is in `out`. */
bool users_list(struct api *api, const struct api_request *req, uint64_t limit, uint64_t offset, struct tg_buf *items,
                uint64_t *total, struct api_answer *out);
/* False: a member of the body is none of `names` (NULL ends them), which is said in `out`. */
bool users_check_members(const struct api_request *req, const char *const *names, struct api_answer *out);
