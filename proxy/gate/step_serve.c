/*
 * step_serve - what tollgate answers itself with 200: a service (health, metrics), what is
 * published under /.well-known, and the built-in echo.
 *
 * The echo shows the request as an upstream would have got it, as JSON: for `dev`, `demo` and first steps. What it
 * shows ends in tickets, so nothing of it can be used: no token of the caller or of tollgate, no assertion that
 * verifies.
 */
#include "base/json.h"
#include "internal.h"

#define SHOWN_BYTES 65536                                /* of a request's content */

static enum tg_next serve_service(struct tg_exchange *ex)
{
    const struct tg_service *service = ex->gate->service;
    struct tg_service_request request = {.method_id = ex->head.method_id, .path = ex->path, .query = ex->head.query,
                                         .head = &ex->head};
    struct tg_service_answer answer = {.status = 404, .content_type = "text/plain; charset=utf-8"};

    service->serve(service->arg, &request, &answer);
    struct tg_field fields[] = {
        {TG_S("Content-Type"), tg_slice_str(answer.content_type), TG_FIELD_CONTENT_TYPE},
        {TG_S("Cache-Control"), TG_S("no-store"), TG_FIELD_CACHE_CONTROL},
        {TG_S("Allow"), tg_slice_str(answer.allow), TG_FIELD_OTHER},
    };
    size_t count = ARRAY_LEN(fields) - (answer.allow ? 0 : 1);

    tg_answer(ex, answer.status, fields, count, tg_arena_dup(&ex->arena, tg_buf_slice(&answer.body)));
    tg_buf_fini(&answer.body);
    ex->state = EX_LOG;
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
