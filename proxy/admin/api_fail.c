/*
 * api_fail - what a client is told when something goes wrong, in the shape of its view.
 */
#include "api.h"
#include "base/log.h"
#include "http/message.h"
#include <stdio.h>

static struct tg_slice lower_reason(unsigned status, char *out, size_t room)
{
    const char *reason = tg_status_reason(status);
    size_t n = 0;

    for (; reason[n] && n < room; n++)
        out[n] = (char)(reason[n] >= 'A' && reason[n] <= 'Z' ? reason[n] + 32 : reason[n]);
    return tg_slice(out, n);
}

void api_fail(struct api_answer *out, enum api_view view, unsigned status, const char *details)
{
    char room[48];
    struct tg_slice message = lower_reason(status, room, sizeof(room));

    out->status = status;
    out->content_type = NULL;
    out->body.len = out->location.len = out->etag.len = 0;
    if (view == API_V0) {
        tg_buf_adds(&out->body, "{\"error\":");
        tg_json_add_string(&out->body, details ? tg_slice_str(details) : message);
    } else {
        tg_buf_addf(&out->body, "{\"code\":%u,\"message\":", status);
        tg_json_add_string(&out->body, message);
        if (details) {
            tg_buf_adds(&out->body, ",\"details\":");
            tg_json_add_string(&out->body, tg_slice_str(details));
        }
    }
    tg_buf_adds(&out->body, "}\n");
}

/* Sentences of the store begin with its path, which is nobody's business; a long one is cut in both. */
static bool is_of_the_store(const struct api_answer *out, const struct tg_err *err)
{
    char path[sizeof(err->text)];

    snprintf(path, sizeof(path), "%s/tollgate.db", out->state_dir ? out->state_dir : "");
    return strncmp(tg_err_text(err), path, strlen(path)) == 0;
}

void api_fail_of(struct api_answer *out, enum api_view view, enum tg_status st, const struct tg_err *err)
{
    static const struct {
        enum tg_status st;
        unsigned status;
    } map[] = {{TG_BAD_INPUT, 400}, {TG_NOT_FOUND, 404}, {TG_LIMIT, 409}, {TG_EXPIRED, 412}, {TG_DENIED, 403}};

    if (st == TG_UNAVAILABLE || is_of_the_store(out, err)) {
        tg_log(TG_LOG_ERROR, "the management API cannot use its store", TG_F_STR("error", tg_err_text(err)));
        api_fail(out, view, 503, "the store cannot be used at the moment");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(map); i++) {
        if (map[i].st == st) {
            api_fail(out, view, map[i].status, tg_err_text(err)[0] ? tg_err_text(err) : NULL);
            return;
        }
    }
    tg_log(TG_LOG_ERROR, "a request of the management API failed", TG_F_STR("error", tg_err_text(err)));
    api_fail(out, view, 500, NULL);
}
