/*
 * audit_log - a decision as an entry of the audit log: who was refused what, and why; those let through when asked for.
 *
 * What the access log has of it and no more: no query, no field, no token.
 */
#include "base/clock.h"
#include "base/log.h"
#include "internal.h"
#include "store/audit.h"

#define DETAILS_BYTES 1536                               /* with a path in it, which the client chose */
#define PATH_BYTES 512

static void add_text(struct tg_buf *b, const char *name, struct tg_slice value)
{
    if (value.len == 0)
        return;
    tg_buf_addf(b, ",\"%s\":", name);
    tg_log_json_string(b, value);
}

static void add_reasons(struct tg_buf *b, tg_reasons set)
{
    const char *names[TG_REASON_COUNT];
    size_t n = tg_reasons_list(set, names);

    if (n == 0)
        return;
    tg_buf_adds(b, ",\"reasons\":[");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "%s\"%s\"", i ? "," : "", names[i]);
    tg_buf_addc(b, ']');
}

static void add_why(struct tg_buf *b, const struct tg_exchange *ex)
{
    int policy = ex->judged ? ex->verdict.policy : -1;

    if (ex->refusal)
        add_text(b, "refused", tg_slice_str(tg_refusal_name(ex->refusal)));
    if (ex->judged)
        add_reasons(b, ex->verdict.reasons);
    if (policy >= 0 && ex->route && (size_t)policy < ex->route->policy_count)
        add_text(b, "policy", ex->route->policy_texts[policy].name);
    if (ex->refusal && ex->pending)
        add_text(b, "token_refused", tg_slice_str(ex->auth_reason));
    if (ex->identity)
        add_text(b, "token_id", ex->identity->token_id);
}

static struct tg_slice details_of(struct tg_exchange *ex)
{
    struct tg_slice path = ex->path.len > PATH_BYTES ? tg_slice(ex->path.ptr, PATH_BYTES) : ex->path;
    struct tg_buf *b = &ex->gate->out;                   /* nothing of it is in use any more at this step */

    b->len = 0;
    tg_buf_addf(b, "{\"status\":%u", ex->status);
    add_text(b, "method", ex->head.method.len > 32 ? tg_slice(ex->head.method.ptr, 32) : ex->head.method);
    add_text(b, "host", ex->host.len > 255 ? tg_slice(ex->host.ptr, 255) : ex->host);
    size_t before = b->len;

    add_text(b, "path", path);
    if (b->len > DETAILS_BYTES)                          /* escaped, a path may be six times as long */
        b->len = before;
    add_why(b, ex);
    tg_buf_addc(b, '}');
    return tg_buf_slice(b);
}

static struct tg_slice actor_of(struct tg_exchange *ex)
{
    if (!ex->identity)
        return (struct tg_slice){0};
    return tg_arena_printf(&ex->arena, TG_S_FMT " " TG_S_FMT, TG_S_ARG(ex->identity->issuer),
                           TG_S_ARG(ex->identity->subject));
}

void tg_audit_decision(struct tg_exchange *ex)
{
    struct tg_audit *audit = ex->gate->shared->audit;
    unsigned status = ex->refusal ? tg_refusal_status(ex) : 0;
    bool denied = status == 401 || status == 403;
    char ip[TG_IP_TEXT];

    if ((!denied && (ex->refusal || tg_decided(ex) != TG_DECIDED_ALLOW)) || !tg_audit_wants(audit, denied))
        return;
    struct tg_audit_entry e = {
        .time_us = tg_clock_wall_us(),
        .actor = actor_of(ex),
        .action = denied ? TG_S("request.denied") : TG_S("request.allowed"),
        .result = denied ? TG_S("denied") : TG_S("success"),
        .request_id = ex->request_id,
        .details = details_of(ex),
    };

    if (ex->route)
        e.resource = tg_arena_printf(&ex->arena, "route:" TG_S_FMT, TG_S_ARG(ex->route->name));
    if (ex->client_ip.family)
        e.source_ip = tg_slice(ip, tg_ip_format(&ex->client_ip, ip));
    tg_audit_note(audit, ex->gate->worker->index, &e);
}
