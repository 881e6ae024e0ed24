/*
 * exchange - the life of one request, from its parsed head to its log line.
 *
 * A step decides ex->state and returns TG_NEXT_GO, or starts something and returns TG_NEXT_WAIT; when the
 * answer is there tg_exchange_run() is called again and the same step finds it in the exchange.
 * Invariants: every exchange passes EX_LOG once, also when the client goes away (tg_exchange_abort);
 * an answer never arrives while the step that asked is still running (it is posted to the loop).
 */
#include "internal.h"

#define BIT(s) (1u << (s))

static const struct {
    const char *name;
    enum tg_next (*run)(struct tg_exchange *ex);
    unsigned may_follow;
} steps[] = {
    [EX_ROUTE] = {"route", tg_step_route, BIT(EX_AUTHN) | BIT(EX_LIMIT) | BIT(EX_SERVE) | BIT(EX_REPLY)},
    [EX_AUTHN] = {"authn", tg_step_authn, BIT(EX_LIMIT) | BIT(EX_REPLY)},
    [EX_LIMIT] = {"limit", tg_step_limit, BIT(EX_BODY) | BIT(EX_AUTHZ) | BIT(EX_SERVE) | BIT(EX_REPLY)},
    [EX_BODY] = {"body", tg_step_body, BIT(EX_AUTHZ) | BIT(EX_REPLY)}, /* only for mcp_tool */
    [EX_AUTHZ] = {"authz", tg_step_authz, BIT(EX_FORWARD) | BIT(EX_SERVE) | BIT(EX_REPLY)},
    [EX_SERVE] = {"serve", tg_step_serve, BIT(EX_LOG) | BIT(EX_REPLY)}, /* what tollgate answers itself */
    [EX_FORWARD] = {"forward", tg_step_forward, BIT(EX_LOG) | BIT(EX_REPLY)},
    [EX_REPLY] = {"reply", tg_step_reply, BIT(EX_LOG)}, /* our own words: 401, 403, 429, 50x */
    [EX_LOG] = {"log", tg_step_log, BIT(EX_DONE)},
};

static void free_exchange(struct tg_exchange *ex)
{
    struct tg_gate *gate = ex->gate;
    struct tg_block *block = (struct tg_block *)(void *)ex;

    tg_call_cancel(&ex->call);
    tg_deadline_clear(&gate->worker->wheel, &ex->total);
    tg_identity_unref(ex->identity);
    tg_buf_fini(&ex->replay);
    tg_buf_fini(&ex->served_body);
    tg_arena_fini(&ex->arena);
    tg_runtime_unref(ex->rt);
    if (gate->block_count >= TG_BLOCKS_KEPT) {
        free(block);
        return;
    }
    block->next = gate->blocks;
    gate->blocks = block;
    gate->block_count++;
}

void tg_exchange_run(struct tg_exchange *ex)
{
    while (ex->state != EX_DONE) {
        enum tg_exchange_state from = ex->state;

        if (steps[from].run(ex) == TG_NEXT_WAIT)
            return;
        tg_assert(steps[from].may_follow & BIT(ex->state));
    }
    free_exchange(ex);
}

/* The head was parsed in memory that goes away: its octets move into the exchange, and every slice with them. */
static void keep_head(struct tg_exchange *ex, const struct tg_head *head, struct tg_slice bytes)
{
    struct tg_slice copy = tg_arena_dup(&ex->arena, bytes);
    ptrdiff_t shift = copy.ptr - bytes.ptr;
    struct tg_head *h = &ex->head;

    *h = *head;
    h->fields = tg_arena_raw(&ex->arena, sizeof(*h->fields) * (h->field_count + 1u));
    h->field_cap = h->field_count;
    for (unsigned i = 0; i < h->field_count; i++) {
        h->fields[i] = head->fields[i];
        h->fields[i].name.ptr += shift;
        h->fields[i].value.ptr += shift;
    }
    struct tg_slice *parts[] = {&h->method, &h->target, &h->authority, &h->path, &h->query};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {      /* some may point to constants ("*"), which stay */
        if (parts[i]->ptr >= bytes.ptr && parts[i]->ptr <= bytes.ptr + bytes.len)
            parts[i]->ptr += shift;
    }
}

struct tg_exchange *tg_exchange_new(struct tg_conn *conn, const struct tg_client_ops *client,
                                    const struct tg_head *head, struct tg_slice bytes)
{
    struct tg_gate *gate = conn->gate;
    struct tg_block *block = gate->blocks;
    struct tg_exchange *ex;

    if (block) {
        gate->blocks = block->next;
        gate->block_count--;
    } else {
        block = tg_alloc(TG_BLOCK_BYTES);
    }
    ex = (struct tg_exchange *)(void *)block;
    memset(ex, 0, sizeof(*ex));
    ex->client = client;
    ex->conn = conn;
    ex->gate = gate;
    ex->rt = gate->runtime ? tg_runtime_ref(gate->runtime) : NULL;
    size_t used = (sizeof(*ex) + 15) & ~(size_t)15;
    tg_arena_init(&ex->arena, (char *)block + used, TG_BLOCK_BYTES - used);
    ex->started_us = gate->worker->now_us;
    ex->wall_ms = tg_worker_wall_ms(gate->worker);
    ex->client_ip = conn->peer;
    ex->port = -1;
    ex->endpoint = -1;
    ex->verdict.policy = -1;
    if (head)
        keep_head(ex, head, bytes);
    else
        ex->head.minor = 1;
    return ex;
}

enum tg_next tg_exchange_refuse(struct tg_exchange *ex, enum tg_refusal why)
{
    ex->refusal = why;
    ex->state = EX_REPLY;
    return TG_NEXT_GO;
}

void tg_exchange_break(struct tg_exchange *ex, enum tg_refusal why)
{
    tg_call_cancel(&ex->call);
    tg_step_authn_cancel(ex);
    tg_step_limit_cancel(ex);
    tg_upstream_auth_cancel(ex);
    tg_service_forget(ex);
    ex->refusal = why;
    if (ex->head_sent) {
        ex->client->cut(ex);
        ex->state = EX_LOG;
    } else {
        ex->state = EX_REPLY;
    }
    tg_exchange_run(ex);
}

void tg_exchange_abort(struct tg_exchange *ex)
{
    bool asked = ex->authn_waits || (ex->limit_waits && ex->authn_told);

    tg_call_cancel(&ex->call);
    tg_step_authn_cancel(ex);
    tg_step_limit_cancel(ex);
    if (asked)
        tg_charge_refused(ex);                           /* going away is no way to have somebody asked unpaid */
    tg_upstream_auth_cancel(ex);
    tg_service_forget(ex);
    ex->aborted = true;
    ex->state = EX_LOG;
    tg_exchange_run(ex);
}

enum tg_decided tg_decided(const struct tg_exchange *ex)
{
    if (ex->refusal == TG_REFUSE_LIMIT)
        return TG_DECIDED_LIMIT;
    if (ex->refusal == TG_REFUSE_NO_COUNTER)
        return TG_DECIDED_NONE;
    if (ex->pending || (ex->judged && ex->verdict.decision == TG_UNAUTHENTICATED))
        return TG_DECIDED_UNAUTHENTICATED;
    if (!ex->judged)
        return TG_DECIDED_NONE;
    return ex->verdict.decision == TG_ALLOW ? TG_DECIDED_ALLOW : TG_DECIDED_DENY;
}

const char *tg_decided_name(enum tg_decided decided)
{
    static const char *const names[] = {"allow", "deny", "unauthenticated", "limit", "none"};

    return names[decided];
}

/* ---- the request's content ---- */

void tg_exchange_ask_for_body(struct tg_exchange *ex)
{
    if (!ex->body_open || ex->body_asked)
        return;
    ex->body_asked = true;
    if (ex->head.expect_continue) {
        struct tg_head go_on = {.status = 100, .reason = TG_S_INIT("Continue")};

        ex->client->interim(ex, &go_on);
    }
    ex->client->want_body(ex, true);
}

uint64_t tg_content_limit(const struct tg_exchange *ex)
{
    if (ex->route && ex->route->max_request_bytes)
        return ex->route->max_request_bytes;
    return ex->rt ? ex->rt->config->bounds.body : 0;
}

void tg_exchange_body(struct tg_exchange *ex, struct tg_slice data)
{
    uint64_t limit = tg_content_limit(ex);

    ex->bytes_in += data.len;
    if (ex->gate->service) {
        tg_service_body(ex, data);
        return;
    }
    if (limit && ex->bytes_in > limit) {
        ex->conn->close = true;
        tg_exchange_break(ex, TG_REFUSE_BODY_SIZE);
        return;
    }
    if (ex->state == EX_FORWARD)
        tg_forward_body(ex, data);
    else if (ex->state == EX_BODY)
        tg_body_take(ex, data);
    else if (ex->state == EX_SERVE && ex->served_body.len + data.len <= 65536)
        tg_buf_add_slice(&ex->served_body, data);
}

void tg_exchange_body_end(struct tg_exchange *ex, const struct tg_head *trailers)
{
    ex->body_complete = true;
    if (ex->state == EX_FORWARD)
        tg_forward_body_end(ex, trailers);
    else if (ex->state == EX_BODY)
        tg_body_end(ex, trailers);
    else if (ex->state == EX_SERVE)
        tg_exchange_run(ex);
}

void tg_exchange_body_settle(struct tg_exchange *ex)
{
    if (!ex->calling)
        return;
    tg_call_flush(&ex->call);
    if (tg_call_backlog(&ex->call) > 0)
        ex->client->want_body(ex, false);
}

void tg_exchange_client_drained(struct tg_exchange *ex)
{
    if (ex->calling)
        tg_call_resume(&ex->call);
}
