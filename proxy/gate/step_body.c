/*
 * step_body - the content of a request, when a policy asks which tool it calls: read whole, then judged.
 *
 * Passed by on routes that do not ask, and by requests without content. What was judged is what goes on: the octets
 * stay in ex->replay, which step_forward sends as it sends a body again, and step_serve shows.
 * Invariants: nothing has gone to the upstream before the policies decided; content that a reader behind us might read
 * in another way (a content coding, another charset, no unambiguous JSON-RPC object) is refused, not guessed at; at
 * most limits.mcp_body are kept. Where only policies in shadow mode ask, nothing is refused here: content that cannot
 * be judged goes on as if nobody had asked.
 */
#include "base/log.h"
#include "http/content.h"
#include "internal.h"
#include "policy/mcp.h"

bool tg_body_is_judged(const struct tg_exchange *ex)
{
    return ex->body_open && ex->rt->content[ex->route->index].asked != TG_CONTENT_UNREAD;
}

static bool is_applied(const struct tg_exchange *ex)
{
    return ex->rt->content[ex->route->index].asked == TG_CONTENT_READ;
}

static uint64_t bound_of(const struct tg_exchange *ex)
{
    uint64_t general = tg_content_limit(ex), ours = ex->rt->config->bounds.mcp_body;

    return general && general < ours ? general : ours;
}

static enum tg_next cannot_judge(struct tg_exchange *ex, enum tg_refusal why)
{
    if (is_applied(ex))
        return tg_exchange_refuse(ex, why);
    ex->call_unknown = true;
    ex->state = EX_AUTHZ;
    return TG_NEXT_GO;
}

/* ---- the step ---- */

static enum tg_next judge(struct tg_exchange *ex)
{
    struct tg_mcp_call call = {0};
    struct tg_err err;

    if (tg_mcp_read(tg_buf_slice(&ex->replay), &ex->arena, &call, &err) != TG_OK) {
        tg_log(TG_LOG_DEBUG, "a call that cannot be judged", TG_F_SLICE("request_id", ex->request_id),
               TG_F_SLICE("route", ex->route->name), TG_F_STR("error", err.text));
        return cannot_judge(ex, TG_REFUSE_MALFORMED_CALL);
    }
    ex->facts.mcp_tool_call = call.tool_call;
    ex->facts.mcp_tool = call.tool;
    ex->state = EX_AUTHZ;
    return TG_NEXT_GO;
}

/* Whom no content lets in: nothing is kept of it. What is asked here is asked again, with the same answer. */
static bool is_refused_anyway(const struct tg_exchange *ex)
{
    struct tg_verdict verdict;

    if (ex->identity || !ex->rt->content[ex->route->index].members_only)
        return false;
    tg_ppl_decide(ex->route->policy, &ex->facts, &verdict);
    return verdict.decision == TG_UNAUTHENTICATED;
}

enum tg_next tg_step_body(struct tg_exchange *ex)
{
    if (ex->body_complete)
        return judge(ex);
    if (is_refused_anyway(ex)) {
        ex->body_unread = true;
        ex->state = EX_AUTHZ;
        return TG_NEXT_GO;
    }
    if (!tg_content_is_plain(&ex->head))
        return cannot_judge(ex, TG_REFUSE_CONTENT_CODING);
    if (ex->head.framing == TG_BODY_LENGTH && ex->head.content_length > bound_of(ex))
        return cannot_judge(ex, TG_REFUSE_BODY_SIZE);
    tg_forward_time(ex);
    tg_exchange_ask_for_body(ex);
    return TG_NEXT_WAIT;
}

/* ---- the content on its way in ---- */

void tg_body_take(struct tg_exchange *ex, struct tg_slice data)
{
    bool fits = ex->replay.len + data.len <= bound_of(ex);

    if (!fits && is_applied(ex)) {
        tg_exchange_break(ex, TG_REFUSE_BODY_SIZE);
        return;
    }
    tg_buf_add_slice(&ex->replay, data);                 /* grows with what came, never with what was promised */
    if (!fits) {
        cannot_judge(ex, TG_REFUSE_BODY_SIZE);
        tg_exchange_run(ex);
    }
}

/* The reader's memory is gone when they are sent: a copy, of those that may go on. */
static const struct tg_head *keep_trailers(struct tg_exchange *ex, const struct tg_head *trailers)
{
    struct tg_head *kept = TG_ARENA_NEW(&ex->arena, struct tg_head);

    *kept = *trailers;
    kept->fields = TG_ARENA_ARRAY(&ex->arena, struct tg_field, trailers->field_count);
    memcpy(kept->fields, trailers->fields, trailers->field_count * sizeof(*kept->fields));
    tg_forward_trailers(ex->route->forward, kept);
    for (unsigned i = 0; i < kept->field_count; i++) {
        kept->fields[i].name = tg_arena_dup(&ex->arena, kept->fields[i].name);
        kept->fields[i].value = tg_arena_dup(&ex->arena, kept->fields[i].value);
    }
    return kept->field_count ? kept : NULL;
}

void tg_body_end(struct tg_exchange *ex, const struct tg_head *trailers)
{
    if (trailers)
        ex->body_trailers = keep_trailers(ex, trailers);
    tg_exchange_run(ex);
}
