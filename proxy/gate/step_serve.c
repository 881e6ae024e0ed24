/*
 * step_serve - what tollgate answers itself with 200: a service (health, metrics, the management API), what is
 * published under /.well-known, and the built-in echo.
 *
 * A service that answers later is given a call. Whoever of the two goes first, client or service, leaves the other with
 * half of it: a call without an exchange is answered to nobody, an exchange without a call has its answer.
 *
 * The echo shows the request as an upstream would have got it, as JSON: for `dev`, `demo` and first steps. What it
 * shows ends in tickets, so nothing of it can be used: no token of the caller or of tollgate, no assertion that
 * verifies.
 */
#include "base/json.h"
#include "internal.h"

#define SHOWN_BYTES 65536                                /* of a request's content */

struct tg_service_call {
    struct tg_exchange *ex;                              /* NULL: the client is gone */
    bool beginning;                                      /* `begin` is still running */
};

static void service_request(struct tg_exchange *ex, struct tg_service_request *out, char ip[TG_IP_TEXT])
{
    *out = (struct tg_service_request){
        .method_id = ex->head.method_id, .path = ex->path, .query = ex->head.query, .head = &ex->head,
        .body = tg_buf_slice(&ex->served_body), .body_too_large = ex->body_too_large, .request_id = ex->request_id};
    if (ex->client_ip.family)
        out->client_ip = tg_slice(ip, tg_ip_format(&ex->client_ip, ip));
}

static void give_answer(struct tg_exchange *ex, struct tg_service_answer *answer)
{
    struct tg_field fields[3 + TG_SERVICE_FIELDS];
    size_t n = 0;

    tg_assert(answer->field_count <= TG_SERVICE_FIELDS);
    if (answer->content_type)
        fields[n++] = (struct tg_field){TG_S("Content-Type"), tg_slice_str(answer->content_type),
                                        TG_FIELD_CONTENT_TYPE};
    fields[n++] = (struct tg_field){TG_S("Cache-Control"), TG_S("no-store"), TG_FIELD_CACHE_CONTROL};
    if (answer->allow)
        fields[n++] = (struct tg_field){TG_S("Allow"), tg_slice_str(answer->allow), TG_FIELD_OTHER};
    for (size_t i = 0; i < answer->field_count; i++)
        fields[n++] = answer->fields[i];
    ex->state = EX_LOG;
    tg_answer(ex, answer->status, fields, n, tg_arena_dup(&ex->arena, tg_buf_slice(&answer->body)));
}

static enum tg_next begin_service(struct tg_exchange *ex)
{
    const struct tg_service *service = ex->gate->service;
    struct tg_service_call *call = TG_NEW(struct tg_service_call);
    struct tg_service_request request;
    char ip[TG_IP_TEXT];

    service_request(ex, &request, ip);
    *call = (struct tg_service_call){.ex = ex, .beginning = true};
    ex->service_call = call;
    service->begin(service->arg, call, &request);
    if (!ex->service_call)                               /* answered already: nothing of the call is left */
        return TG_NEXT_GO;
    call->beginning = false;
    return TG_NEXT_WAIT;
}

void tg_service_done(struct tg_service_call *call, struct tg_service_answer *answer)
{
    struct tg_exchange *ex = call->ex;
    bool beginning = call->beginning;

    if (ex) {
        ex->service_call = NULL;
        give_answer(ex, answer);
    }
    tg_buf_fini(&answer->body);
    free(call);
    if (ex && !beginning)
        tg_exchange_run(ex);
}

void tg_service_forget(struct tg_exchange *ex)
{
    if (ex->service_call)
        ex->service_call->ex = NULL;
    ex->service_call = NULL;
}

void tg_service_body(struct tg_exchange *ex, struct tg_slice data)
{
    if (ex->bytes_in <= ex->gate->service->body_max) {
        tg_buf_add_slice(&ex->served_body, data);
        return;
    }
    ex->body_too_large = true;
    tg_buf_fini(&ex->served_body);
    ex->client->want_body(ex, false);
    tg_exchange_run(ex);
}

/* Whether the request is to be looked at now: its body is here, or will not be. */
static bool has_what_it_needs(struct tg_exchange *ex)
{
    const struct tg_service *service = ex->gate->service;
    struct tg_service_request request;
    char ip[TG_IP_TEXT];

    if (!service->body_max || !ex->body_open || ex->body_too_large)
        return true;
    if (ex->body_asked)
        return ex->body_complete;
    if (ex->head.framing == TG_BODY_LENGTH && ex->head.content_length > service->body_max) {
        ex->body_too_large = true;
        return true;
    }
    service_request(ex, &request, ip);
    if (service->wants_body && !service->wants_body(service->arg, &request))
        return true;
    tg_exchange_ask_for_body(ex);
    return false;
}

static enum tg_next serve_service(struct tg_exchange *ex)
{
    const struct tg_service *service = ex->gate->service;
    struct tg_service_answer answer = {.status = 404, .content_type = "text/plain; charset=utf-8"};
    struct tg_service_request request;
    char ip[TG_IP_TEXT];

    if (ex->service_call || !has_what_it_needs(ex))
        return TG_NEXT_WAIT;
    if (service->begin)
        return begin_service(ex);
    service_request(ex, &request, ip);
    service->serve(service->arg, &request, &answer);
    give_answer(ex, &answer);
    tg_buf_fini(&answer.body);
    return TG_NEXT_GO;
}

static void add_pair(struct tg_buf *b, const char *name, struct tg_slice value)
{
    tg_buf_addf(b, "\"%s\":", name);
    tg_log_json_string(b, value);
}

static struct tg_slice shown(struct tg_exchange *ex, const struct tg_field *f)
{
    struct tg_slice v = f->value;

    if (f->id == TG_FIELD_AUTHORIZATION)
        return TG_S("Bearer (not shown)");
    if (!tg_slice_eq_nocase(f->name, TG_S("X-Pomerium-Jwt-Assertion")))
        return v;
    while (v.len > 0 && v.ptr[v.len - 1] != '.')
        v.len--;
    return tg_arena_printf(&ex->arena, TG_S_FMT "(signature not shown)", TG_S_ARG(v));
}

static void write_echo(struct tg_exchange *ex, struct tg_buf *b)
{
    struct tg_head out;
    struct tg_slice target = tg_forward_head(ex, &ex->route->targets[0], &out);

    tg_buf_addc(b, '{');
    add_pair(b, "method", ex->head.method);
    tg_buf_addc(b, ',');
    add_pair(b, "uri", target);
    tg_buf_adds(b, ",\"headers\":{");
    for (unsigned i = 0; i < out.field_count; i++) {
        struct tg_buf name = {0};

        for (size_t k = 0; k < out.fields[i].name.len; k++) {
            char c = out.fields[i].name.ptr[k];

            tg_buf_addc(&name, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
        }
        if (i > 0)
            tg_buf_addc(b, ',');
        tg_log_json_string(b, tg_buf_slice(&name));
        tg_buf_addc(b, ':');
        tg_log_json_string(b, shown(ex, &out.fields[i]));
        tg_buf_fini(&name);
    }
    tg_buf_adds(b, "},");
    add_pair(b, "body", tg_buf_slice(&ex->served_body));
    tg_buf_adds(b, "}\n");
}

enum tg_next tg_step_serve(struct tg_exchange *ex)
{
    struct tg_field type = {TG_S("Content-Type"), TG_S("application/json"), TG_FIELD_CONTENT_TYPE};
    struct tg_buf body = {0};

    if (ex->gate->service)
        return serve_service(ex);
    if (ex->well_known) {
        tg_serve_well_known(ex);
        ex->state = EX_LOG;
        return TG_NEXT_GO;
    }
    if (ex->replay.len > 0) {                            /* content that was read before, to be judged */
        ex->served_body = ex->replay;
        ex->replay = (struct tg_buf){0};
        if (ex->served_body.len > SHOWN_BYTES)
            ex->served_body.len = SHOWN_BYTES;
    }
    if (ex->body_open && !ex->body_complete) {
        tg_exchange_ask_for_body(ex);
        return TG_NEXT_WAIT;
    }
    write_echo(ex, &body);
    tg_answer(ex, 200, &type, 1, tg_arena_dup(&ex->arena, tg_buf_slice(&body)));
    tg_buf_fini(&body);
    ex->state = EX_LOG;
    return TG_NEXT_GO;
}
