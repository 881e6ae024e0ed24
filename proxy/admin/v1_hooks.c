/*
 * v1_hooks - what others tell tollgate: foreign tokens that were withdrawn.
 *
 * The sender proves to be one by the same signature that tollgate's own deliveries bear. It says nothing of when, so a
 * message is taken for some minutes only; taking it twice does no harm.
 */
#include "auth/revoked.h"
#include "base/clock.h"
#include "webhooks.h"
#include <stdio.h>

#define FRESH_MS INT64_C(300000)

static bool is_signed(const struct api *api, const struct api_request *req)
{
    char expected[WEBHOOK_SIGNATURE];

    webhook_sign(api->settings.revocation_secret, req->raw_body, expected);
    return req->signature.ptr && tg_equal_ct(req->signature, tg_slice_str(expected));
}

/* NULL, or what is wrong with the message around the entries. */
static const char *check_envelope(const struct api_request *req)
{
    struct tg_slice event, timestamp;
    int64_t ms;

    if (!tg_json_str(tg_json_get(req->body, "event"), &event) || !tg_slice_eq(event, TG_S("token.revoked")))
        return "event: must be token.revoked";
    if (!tg_json_str(tg_json_get(req->body, "timestamp"), &timestamp) || !tg_clock_parse(timestamp, &ms))
        return "timestamp: a time as in 2026-02-12T10:30:00Z is needed";
    if (req->now_us / 1000 - ms > FRESH_MS || ms - req->now_us / 1000 > FRESH_MS)
        return "timestamp: is more than five minutes from now";
    if (!tg_json_get(req->body, "data"))
        return "data: is needed";
    return NULL;
}

static bool keep(struct api *api, const struct api_request *req, const cJSON *data, struct api_answer *out)
{
    struct api_change change = {.action = "revocation.receive"};
    struct tg_buf details = {0};
    struct tg_err err = {0};
    size_t count = 0;
    enum tg_status st;
    bool ok;

    if (!api_change_begin(api, req, out))
        return false;
    st = tg_revocations_keep(api->db, data, req->now_us / 1000000, &count, &err);
    if (st != TG_OK) {
        api_change_abort(api);
        api_fail_of(out, req->view, st, &err);
        return false;
    }
    tg_buf_addf(&details, "{\"entries\":%zu}", count);
    change.details = tg_buf_slice(&details);
    ok = api_change_commit(api, req, &change, out);
    tg_buf_fini(&details);
    return ok;
}

void hook_revocations(struct api *api, const struct api_request *req, struct api_answer *out)
{
    const cJSON *data = tg_json_get(req->body, "data");
    const char *wrong;

    if (!api->settings.revocation_secret.len || !api->revocations) {
        api_fail(out, req->view, 404, NULL);
        return;
    }
    if (!is_signed(api, req)) {
        api_note(api, req, "revocation.receive", "denied", TG_S("{\"why\":\"bad signature\"}"));
        api_fail(out, req->view, 401, "the signature is not valid");
        return;
    }
    if (!api_charge(req, "hook:revocations", out))
        return;
    wrong = check_envelope(req);
    if (wrong) {
        api_fail(out, req->view, 400, wrong);
        return;
    }
    if (!keep(api, req, data, out))
        return;
    tg_revocations_tell(api->revocations, data, req->now_us / 1000000);
    out->status = 204;
}
