/*
 * change - a change of the store with its audit entry and its webhooks, all or nothing; and then the set is offered.
 *
 * The set is offered before the change is answered, so who has the answer waits for the workers only.
 */
#include "api.h"
#include "base/clock.h"
#include "base/log.h"

#define NOTE_PATIENCE_MS 50                              /* an entry is not worth keeping its caller waiting */

/* "operator:alice", "api-user:ID (NAME)" */
static void add_actor(const struct tg_manager *caller, struct tg_buf *out)
{
    if (!caller)
        return;
    if (caller->how == TG_MANAGER_OPERATOR)
        tg_buf_addf(out, "operator:%s", caller->id);
    else
        tg_buf_addf(out, "api-user:%s (%s)", caller->id, caller->name);
}

static enum tg_status put_entry(struct api *api, const struct api_request *req, struct tg_audit_entry *entry,
                                struct tg_err *err)
{
    struct tg_buf actor = {0};
    enum tg_status st;

    add_actor(req->caller, &actor);
    entry->time_us = req->now_us;
    entry->actor = tg_buf_slice(&actor);
    entry->source_ip = req->source_ip;
    entry->request_id = req->request_id;
    if (!entry->details.len)
        entry->details = TG_S("{}");
    st = tg_audit_put(api->db, entry, err);
    tg_buf_fini(&actor);
    return st;
}

bool api_change_begin(struct api *api, const struct api_request *req, struct api_answer *out)
{
    struct tg_err err = {0};
    enum tg_status st = tg_db_begin(api->db, &err);

    if (st != TG_OK)
        api_fail_of(out, req->view, TG_UNAVAILABLE, &err);
    return st == TG_OK;
}

void api_change_abort(struct api *api)
{
    tg_db_rollback(api->db);
}

void api_publish(struct api *api)
{
    struct tg_supply_meta meta = {.expires_ms = INT64_MAX, .heard_ms = tg_clock_wall_ms()};
    struct tg_set *set = NULL;
    struct tg_err err = {0};

    if (tg_catalogue_set(api->catalogue, &set, &err) == TG_OK) {
        tg_supply_offer(api->supply, set, &meta);
        return;
    }
    tg_log(TG_LOG_ERROR, "the policies of the management API cannot be read", TG_F_STR("error", tg_err_text(&err)));
    tg_supply_fail(api->supply, tg_err_text(&err));
}

bool api_change_commit(struct api *api, const struct api_request *req, const struct api_change *change,
                       struct api_answer *out)
{
    struct tg_audit_entry entry = {.action = tg_slice_str(change->action), .resource = change->resource,
                                   .result = TG_S("success"), .details = change->details};
    struct tg_slice data = change->data.len ? change->data : TG_S("{}");
    struct tg_err err = {0};
    enum tg_status st = put_entry(api, req, &entry, &err);

    if (st == TG_OK && change->event)
        st = webhooks_enqueue(api->webhooks, change->event, data, req->now_us, &err);
    if (st == TG_OK)
        st = tg_db_commit(api->db, &err);
    if (st != TG_OK) {
        tg_db_rollback(api->db);
        api_fail_of(out, req->view, TG_UNAVAILABLE, &err);
        return false;
    }
    if (change->republish)
        api_publish(api);
    if (change->event)
        webhooks_kick(api->webhooks);
    return true;
}

void api_note(struct api *api, const struct api_request *req, const char *action, const char *result,
              struct tg_slice details)
{
    struct tg_audit_entry entry = {.action = tg_slice_str(action), .result = tg_slice_str(result), .details = details};
    struct tg_err err = {0};

    tg_db_set_patience(api->db, NOTE_PATIENCE_MS);
    if (put_entry(api, req, &entry, &err) != TG_OK)
        tg_log(TG_LOG_WARN, "an entry of the audit log is lost", TG_F_STR("action", action),
               TG_F_STR("error", tg_err_text(&err)));
    tg_db_set_patience(api->db, API_PATIENCE_MS);
}
