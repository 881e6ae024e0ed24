/*
 * api - one request: who asks, what it costs whom, whether it may be, and what goes back.
 *
 * Invariants: every answer has the fields of one count (the caller's, else the address'); an address pays for requests
 * without a valid credential only, and once it has nothing left no token is looked up in the store for it; a 401 for a
 * bad credential has one wording whatever was wrong with it; nothing of a credential is echoed, logged or kept.
 */
#include "api.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "dispatch.h"
#include <stdio.h>

#define REALM "tollgate-management"
#define RETRY_SOON "5"

static enum api_view view_of(struct tg_slice path)
{
    return tg_slice_eq(path, TG_S("/api/v0")) || tg_slice_starts_with(path, TG_S("/api/v0/")) ? API_V0 : API_V1;
}

/* ---- the answer on its way out ---- */

struct work {                                            /* one request */
    struct api *api;
    struct api_limits *limits;
    const struct api_call *call;
    struct tg_arena *arena;
    struct api_reply *out;
    struct api_found found;
    struct api_request req;
    struct api_answer answer;
    struct api_quota quota;                              /* whose fields the answer has */
    struct tg_slice challenge;                           /* empty: none */
    bool charged;                                        /* to whom it is from */
    int64_t now_ms;
};

static void add_field(struct work *w, struct tg_slice name, struct tg_slice value, uint16_t id)
{
    tg_assert(w->out->field_count < ARRAY_LEN(w->out->fields));
    w->out->fields[w->out->field_count++] = (struct tg_field){name, tg_arena_dup(w->arena, value), id};
}

static void count_answer(unsigned status)
{
    char text[8];
    struct tg_slice code = tg_slice(text, (size_t)snprintf(text, sizeof(text), "%u", status));

    struct tg_metric *family = tg_metric_family(TG_COUNTER, "tollgate_management_requests_total",
                                                "Requests of the management API by status.", "code");

    tg_metric_add(tg_metric_series(family, &code), 0, 1);
}

static void finish(struct work *w)
{
    struct api_reply *out = w->out;
    struct api_answer *a = &w->answer;

    out->status = a->status ? a->status : 200;
    out->body = a->body;
    if (out->status == 204 || out->status == 304)
        tg_buf_fini(&out->body);
    else
        out->content_type = a->content_type ? a->content_type : "application/json";
    out->field_count = api_limit_fields(&w->quota, w->arena, out->fields);
    if (out->status == 403 && !w->challenge.len)         /* by the endpoint itself */
        w->challenge = tg_arena_printf(w->arena, "Bearer realm=\"" REALM "\", error=\"insufficient_scope\", "
                                       "scope=\"%s\"", a->scope ? a->scope : "admin");
    if (w->challenge.len)
        add_field(w, TG_S("WWW-Authenticate"), w->challenge, TG_FIELD_WWW_AUTHENTICATE);
    if (out->status == 429)
            add_field(w, TG_S("Retry-After"), tg_arena_printf(w->arena, "%u", w->quota.retry_after_s),
                  TG_FIELD_RETRY_AFTER);
    if (out->status == 503)
        add_field(w, TG_S("Retry-After"), TG_S(RETRY_SOON), TG_FIELD_RETRY_AFTER);
    if (a->location.len)
        add_field(w, TG_S("Location"), tg_buf_slice(&a->location), TG_FIELD_OTHER);
    if (a->etag.len)
        add_field(w, TG_S("ETag"), tg_buf_slice(&a->etag), TG_FIELD_OTHER);
    if (out->status == 415)                              /* RFC 9110 §15.5.16 */
        add_field(w, TG_S("Accept"), TG_S("application/json"), TG_FIELD_ACCEPT);
    tg_buf_fini(&a->location);
    tg_buf_fini(&a->etag);
    count_answer(out->status);
}

static bool refuse(struct work *w, unsigned status, const char *details)
{
    api_fail(&w->answer, w->req.view, status, details);
    return false;
}

/* ---- what it costs ---- */

static void look_at_address(struct work *w)
{
    api_limit_address(w->limits, &w->call->ip, w->now_ms, true, &w->quota);
}

static bool charge_address(struct work *w)
{
    api_limit_address(w->limits, &w->call->ip, w->now_ms, false, &w->quota);
    return w->quota.admitted;
}

static bool charge_caller(struct work *w, const char *id)
{
    api_limit_caller(w->limits, tg_slice_str(id), w->now_ms, false, &w->quota);
    return w->quota.admitted;
}

static bool too_many(struct work *w)
{
    w->quota.remaining = 0;
    return refuse(w, 429, "too many requests; Retry-After says when there is room again");
}

bool api_charge(const struct api_request *req, const char *id, struct api_answer *out)
{
    struct work *w = req->work;

    tg_assert(out == &w->answer);
    w->charged = true;
    return charge_caller(w, id) || too_many(w);
}

/* ---- who asks ---- */

static void note_denied(struct work *w, const char *reason)
{
    struct tg_buf details = {0};

    tg_buf_adds(&details, "{\"reason\":");
    tg_json_add_string(&details, tg_slice_str(reason));
    tg_buf_adds(&details, ",\"method\":");
    tg_json_add_string(&details, tg_slice_str(tg_method_name(w->call->method_id)));
    tg_buf_adds(&details, ",\"path\":");
    tg_json_add_string(&details, w->call->path);
    tg_buf_addc(&details, '}');
    api_note(w->api, &w->req, "auth.denied", "denied", tg_buf_slice(&details));
    tg_buf_fini(&details);
}

/* Only a JWT can be judged without the store being searched for it. */
static bool may_be_jwt(const struct tg_slice *field)
{
    size_t dots = 0;

    for (size_t i = 0; i < field->len; i++)
        dots += field->ptr[i] == '.';
    return dots == 2;
}

static const struct {
    unsigned status;
    const char *challenge, *details;
} faults[] = {
    [TG_MANAGER_NONE] = {401, "Bearer realm=\"" REALM "\"", "authentication required"},
    [TG_MANAGER_MALFORMED] = {400, "Bearer realm=\"" REALM "\", error=\"invalid_request\", "
                                   "error_description=\"The Authorization field is malformed or repeated\"",
                              "malformed credentials"},
    [TG_MANAGER_INVALID] = {401, "Bearer realm=\"" REALM "\", error=\"invalid_token\", "
                                 "error_description=\"The access token is invalid\"", "invalid token"},
    [TG_MANAGER_EXPIRED] = {401, "Bearer realm=\"" REALM "\", error=\"invalid_token\", "
                                 "error_description=\"The access token expired\"", "token expired"},
};

static bool refuse_credential(struct work *w, enum tg_manager_fault fault, const struct tg_err *err)
{
    if (fault == TG_MANAGER_FAILED) {
        api_fail_of(&w->answer, w->req.view, TG_UNAVAILABLE, err);
        return false;
    }
    if (!charge_address(w))
        return too_many(w);
    if (fault != TG_MANAGER_NONE)
        note_denied(w, tg_err_text(err)[0] ? tg_err_text(err) : faults[fault].details);
    w->challenge = tg_slice_str(faults[fault].challenge);
    return refuse(w, faults[fault].status, faults[fault].details);
}

/* Told once a token, so that a client that always sends it so does not fill the log. */
static void note_bare(struct work *w, const struct tg_manager *who)
{
    struct api *api = w->api;
    size_t slots = ARRAY_LEN(api->bare_seen);

    tg_metric_add(tg_metric_series(tg_metric_family(TG_COUNTER, "tollgate_management_bare_tokens_total",
                                                    "Requests whose Authorization had no scheme.", ""), NULL), 0, 1);
    for (size_t i = 0; i < slots; i++)
        if (strcmp(api->bare_seen[i], who->jti) == 0)
            return;
    memcpy(api->bare_seen[api->bare_next++ % slots], who->jti, sizeof(who->jti));
    api_note(api, &w->req, "auth.bare_token", "success", TG_S("{}"));
}

/* A credential that is good, whose caller has requests left: into req.caller. */
/* As on the data plane: which of the two is meant nobody knows. */
static bool has_token_in_query(const struct work *w)
{
    struct tg_buf value = {0};
    bool has = w->call->authorization_count && api_query_get(&w->req, "access_token", &value);

    tg_buf_wipe(&value);
    return has;
}

static bool authenticate(struct work *w, struct tg_manager *who)
{
    const struct api_call *call = w->call;
    bool jwt = call->authorization_count == 1 && may_be_jwt(&call->authorization[0]);
    struct tg_err err = {0};
    enum tg_manager_fault fault;

    look_at_address(w);
    if (!w->quota.admitted && !jwt)
        return too_many(w);
    if (has_token_in_query(w))
        fault = TG_MANAGER_MALFORMED;
    else
        fault = tg_managers_check(w->api->managers, call->authorization, call->authorization_count, w->now_ms, who,
                                  &err);
    if (fault != TG_MANAGER_OK)
        return refuse_credential(w, fault, &err);
    if (!charge_caller(w, who->id))
        return too_many(w);
    w->req.caller = who;
    if (who->bare)
        note_bare(w, who);
    return true;
}

static bool authorize(struct work *w)
{
    enum api_need need = w->found.endpoint->need;
    enum tg_role role = w->req.caller->role;
    bool writes = role == TG_ROLE_ADMIN || role == TG_ROLE_OWNER;
    bool may = need == API_WRITE ? writes : need == API_AUDIT ? role != TG_ROLE_MEMBER : true;
    char details[96];

    if (may)
        return true;
    w->challenge = need == API_WRITE
                       ? TG_S("Bearer realm=\"" REALM "\", error=\"insufficient_scope\", scope=\"admin\"")
                       : TG_S("Bearer realm=\"" REALM "\", error=\"insufficient_scope\", scope=\"auditor\"");
    snprintf(details, sizeof(details), "the role %s does not allow this", tg_role_name(role));
    note_denied(w, details);
    return refuse(w, 403, details);
}

/* ---- the body ---- */

static bool is_json_type(struct tg_slice type)
{
    struct tg_slice essence;

    tg_slice_cut(type, ';', &essence, &type);
    return tg_slice_eq_nocase(tg_slice_trim(essence), TG_S("application/json"));
}

static bool is_plain_coding(struct tg_slice coding)
{
    return !coding.ptr || coding.len == 0 || tg_slice_eq_nocase(coding, TG_S("identity"));
}

/* Clients of the token exchange try again after whatever is not 400. */
static unsigned status_of_wrong_type(const struct work *w)
{
    return w->found.endpoint->need == API_PUBLIC && w->req.view == API_V0 ? 400 : 415;
}

static bool read_body(struct work *w, cJSON **tree)
{
    const struct api_call *call = w->call;
    enum api_body wanted = w->found.endpoint->body;
    struct tg_json_limits limits = {.bytes = API_BODY_BYTES};
    char details[sizeof(((struct tg_err *)0)->text) + 32];
    struct tg_err err = {0};

    if (wanted == API_JSON && !is_json_type(call->content_type))
        return refuse(w, status_of_wrong_type(w), "the body must be sent with Content-Type: application/json");
    if (wanted != API_NO_BODY && !is_plain_coding(call->content_encoding))
        return refuse(w, status_of_wrong_type(w), "a body with a Content-Encoding is not taken");
    if (call->body_too_large && wanted != API_NO_BODY)
        return refuse(w, 413, "the body is larger than 1 MiB");
    if (wanted != API_JSON)
        return true;
    if (tg_json_parse(call->body, &limits, tree, &err) != TG_OK) {
        snprintf(details, sizeof(details), "the body is not JSON: %s", tg_err_text(&err));
        return refuse(w, 400, details);
    }
    if (!cJSON_IsObject(*tree))
        return refuse(w, 400, "the body must be a JSON object");
    w->req.body = *tree;
    return true;
}

/* ---- one request ---- */

static void start_request(struct work *w)
{
    const struct api_call *call = w->call;

    w->answer.state_dir = w->api->state_dir;
    w->req = (struct api_request){
        .view = view_of(call->path), .method_id = call->method_id, .path = call->path, .query = call->query,
        .raw_body = call->body, .if_match = call->if_match, .if_none_match = call->if_none_match,
        .signature = call->signature, .accept = call->accept, .source_ip = call->client_ip,
        .request_id = call->request_id, .now_us = w->now_ms * 1000, .work = w};
    look_at_address(w);
    api_find(call->path, call->method_id, &w->found);
}

/* What has to do with nobody in particular: is there such an endpoint, and can the request be read? */
static bool route(struct work *w)
{
    if (w->found.methods && w->found.endpoint && api_query_is_valid(w->call->query))
        return true;
    charge_address(w);                                   /* answered whatever the count is */
    if (!w->found.methods)
        return refuse(w, 404, "there is no such path");
    if (w->found.endpoint)
        return refuse(w, 400, "the query is malformed");
    w->out->allow = api_allow(w->found.methods, w->arena);
    return refuse(w, 405, NULL);
}

static void set_params(struct work *w)
{
    for (size_t i = 0; i < API_PARAMS; i++) {
        struct tg_buf text = {0};

        if (api_decode(w->found.params[i], false, &text))
            w->req.params[i] = tg_arena_dup(w->arena, tg_buf_slice(&text));
        tg_buf_fini(&text);
    }
}

/* Paid for by whom it turns out to be from; an address without room is not even asked. */
static void run_public(struct work *w)
{
    cJSON *tree = NULL;

    if (!w->quota.admitted) {
        too_many(w);
        return;
    }
    if (read_body(w, &tree))
        w->found.endpoint->run(w->api, &w->req, &w->answer);
    cJSON_Delete(tree);
    if (w->answer.status == 401)                         /* it is known by the body's signature, and that is missing */
        w->challenge = TG_S("X-Zero-Signature realm=\"" REALM "\"");
    if (!w->charged)
        charge_address(w);
}

static void run_guarded(struct work *w)
{
    struct tg_manager who = {0};
    cJSON *tree = NULL;

    if (authenticate(w, &who) && authorize(w) && read_body(w, &tree))
        w->found.endpoint->run(w->api, &w->req, &w->answer);
    cJSON_Delete(tree);
}

void api_dispatch(struct api *api, struct api_limits *limits, const struct api_call *call, bool busy,
                  struct tg_arena *arena, struct api_reply *out)
{
    struct work w = {.api = api, .limits = limits, .call = call, .arena = arena, .out = out,
                     .now_ms = tg_clock_wall_ms()};

    start_request(&w);
    if (route(&w)) {
        set_params(&w);
        if (busy)
            refuse(&w, 503, "the store cannot be used at the moment");
        else if (w.found.endpoint->need == API_PUBLIC)
            run_public(&w);
        else
            run_guarded(&w);
    }
    finish(&w);
}

bool api_wants_body(const struct api_call *call)
{
    struct api_found found;

    api_find(call->path, call->method_id, &found);
    if (!found.endpoint || !api_query_is_valid(call->query))
        return false;
    if (found.endpoint->need != API_PUBLIC && call->authorization_count != 1)
        return false;
    if (found.endpoint->body == API_JSON && !is_json_type(call->content_type))
        return false;
    return found.endpoint->body == API_NO_BODY || is_plain_coding(call->content_encoding);
}
