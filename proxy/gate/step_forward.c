/*
 * step_forward - the request goes on to an upstream and its answer comes back.
 *
 * A request is sent again on another connection only when nothing of an answer was seen and sending it twice does no
 * harm: a refused connection or one without the TLS that was asked for (nothing was sent), or a pooled connection that
 * died under an idempotent method (RFC 9110 §9.2.2) whose body, if any, is still here whole. Both directions stream;
 * what one side cannot take pauses the other.
 */
#include "internal.h"

#define REPLAY_BYTES 16384
#define MAX_ATTEMPTS 4

static struct tg_exchange *exchange_of(struct tg_call *call)
{
    return (struct tg_exchange *)((char *)call - offsetof(struct tg_exchange, call));
}

/* ---- the head that goes on ---- */

/* Prefix rewriting, then the path of the target's own URL in front. */
static struct tg_slice upstream_path(struct tg_exchange *ex, const struct tg_target *target)
{
    const struct tg_route *route = ex->route;
    struct tg_slice path = ex->path, base = target->url.unix_socket ? TG_S("") : target->url.path;

    if (path.ptr[0] == '*')                              /* OPTIONS * is about the server, not a place in it */
        return path;
    if (route->prefix_rewrite.ptr && route->prefix.ptr) {
        struct tg_slice tail = tg_slice(path.ptr + route->prefix.len, path.len - route->prefix.len);
        struct tg_slice head = route->prefix_rewrite;

        if (head.len > 0 && head.ptr[head.len - 1] == '/' && tail.len > 0 && tail.ptr[0] == '/')
            head.len--;
        path = tg_arena_printf(
            &ex->arena, TG_S_FMT "%s" TG_S_FMT, TG_S_ARG(head),
            (head.len == 0 || head.ptr[head.len - 1] != '/') && tail.len > 0 && tail.ptr[0] != '/' ? "/" : "",
            TG_S_ARG(tail));
        if (path.len == 0)
            path = TG_S("/");
    }
    if (base.len > 1) {
        if (base.ptr[base.len - 1] == '/')
            base.len--;
        path = tg_arena_printf(&ex->arena, TG_S_FMT TG_S_FMT, TG_S_ARG(base), TG_S_ARG(path));
    }
    return path;
}

static struct tg_slice upstream_target(struct tg_exchange *ex, const struct tg_target *target)
{
    struct tg_slice path = upstream_path(ex, target);

    if (!ex->head.query.ptr)
        return path;
    char *both = tg_arena_raw(&ex->arena, path.len + 1 + ex->head.query.len);
    memcpy(both, path.ptr, path.len);
    both[path.len] = '?';
    memcpy(both + path.len + 1, ex->head.query.ptr, ex->head.query.len);
    return tg_slice(both, path.len + 1 + ex->head.query.len);
}

struct tg_slice tg_forward_head(struct tg_exchange *ex, const struct tg_target *target, struct tg_head *out)
{
    const struct tg_route *route = ex->route;
    struct tg_field *identity = NULL;
    size_t identity_count = tg_upstream_auth_add(ex, &identity, tg_identity_fields(ex, &identity));
    bool preserve = route->preserve_host_header || target->echo;
    struct tg_slice host = preserve && ex->head.authority.len                    ? ex->head.authority
                           : route->host_rewrite.ptr                             ? route->host_rewrite
                                                                                 : target->authority;
    struct tg_forward_request request = {
        .host = host,
        .client = ex->conn->peer,
        .peer_trusted = ex->peer_trusted,
        .tls = ex->conn->tls != NULL,
        .client_authority = ex->head.authority,
        .request_id = ex->request_id,
        .traceparent = ex->traceparent,
        .trace_continued = ex->trace_continued,
        .identity = identity,
        .identity_count = identity_count,
        .upgrade_websocket = ex->upgrade,
    };

    memset(out, 0, sizeof(*out));
    tg_forward_request(route->forward, &ex->head, &request, &ex->arena, out);
    return upstream_target(ex, target);
}

static void write_head(struct tg_exchange *ex, const struct tg_target *target)
{
    struct tg_head out;
    struct tg_slice path = tg_forward_head(ex, target, &out);

    ex->gate->out.len = 0;
    tg_h1_write_request(&ex->gate->out, &out, path);
    ex->call.head_bytes = tg_arena_dup(&ex->arena, tg_buf_slice(&ex->gate->out));
}

/* The whole time of a request is up, or a tunnel was silent for too long. */
static void on_total(struct tg_deadline *d)
{
    struct tg_exchange *ex = (struct tg_exchange *)((char *)d - offsetof(struct tg_exchange, total));

    if (ex->own_wait) {
        tg_exchange_break(ex, TG_REFUSE_NO_CREDENTIAL);
        return;
    }
    if (!ex->calling) {                                  /* nothing but its content is waited for */
        tg_exchange_break(ex, TG_REFUSE_SLOW_BODY);
        return;
    }
    ex->outcome = TG_OUTCOME_FAILED;
    ex->fault = TG_CALL_SLOW;
    tg_exchange_break(ex, TG_REFUSE_UPSTREAM_SLOW);
}

/* ---- what the upstream says ---- */

static void on_interim(struct tg_call *call, const struct tg_head *head)
{
    struct tg_exchange *ex = exchange_of(call);
    struct tg_head out;

    if (head->status == 100)
        return;                                          /* Expect is answered by tollgate itself */
    memset(&out, 0, sizeof(out));
    tg_forward_response(ex->route->forward, head, NULL, 0, tg_slice(NULL, 0), &ex->arena, &out);
    out.status = head->status;
    out.reason = head->reason;
    tg_drop_limit_fields(ex, &out);
    if (ex->route->debug_trace.len)
        tg_trace_drop(&out);
    ex->client->interim(ex, &out);
}

static void on_head(struct tg_call *call, const struct tg_head *head)
{
    struct tg_exchange *ex = exchange_of(call);
    struct tg_field extra[TG_ANSWER_FIELDS];
    struct tg_head out;

    if (head->status == 101 && !(ex->upgrade && tg_is_websocket_accept(head))) {
        tg_exchange_break(ex, TG_REFUSE_UPSTREAM);
        return;
    }
    if (head->status == 401 && tg_upstream_auth_refused(ex)) {
        ex->own_again = true;
        tg_call_cancel(call);
        ex->client->want_body(ex, false);
        return;
    }
    ex->upstream_us = ex->gate->worker->now_us - call->sent_us;
    memset(&out, 0, sizeof(out));
    tg_forward_response(ex->route->forward, head, extra, tg_answer_fields(ex, head, extra), tg_gate_date(ex->gate),
                        &ex->arena, &out);
    if (ex->route->debug_trace.len && !ex->traced)
        tg_trace_drop(&out);
    if (head->framing == TG_BODY_CLOSE)
        out.framing = TG_BODY_CHUNKED;
    ex->status = head->status;
    ex->head_sent = true;
    ex->client->head(ex, &out, head->seen >> TG_FIELD_CONTENT_LENGTH & 1);
    ex->replayable = false;                              /* it will not be sent again now */
    tg_buf_fini(&ex->replay);
    if (head->status == 101) {
        tg_deadline_clear(&ex->gate->worker->wheel, &ex->total); /* a tunnel lasts; what ends it is silence */
        tg_tunnel_traffic(ex);
        ex->client->tunnel(ex);
    }
}

void tg_tunnel_traffic(struct tg_exchange *ex)
{
    struct tg_worker *w = ex->gate->worker;

    if (ex->route->idle_timeout_ms <= 0)
        return;
    ex->total.expired = on_total;
    tg_deadline_set(&w->wheel, &ex->total, w->now_ms + ex->route->idle_timeout_ms);
}

static void on_data(struct tg_call *call, struct tg_slice data)
{
    struct tg_exchange *ex = exchange_of(call);

    ex->client->data(ex, data);
    if (call->raw)
        tg_tunnel_traffic(ex);
}

static void on_settled(struct tg_call *call)
{
    struct tg_exchange *ex = exchange_of(call);

    ex->client->settle(ex);
    if (ex->client->backlog(ex) > 0)
        tg_call_pause(call);
}

static void on_drained(struct tg_call *call)
{
    struct tg_exchange *ex = exchange_of(call);

    ex->client->want_body(ex, true);
}

static void on_end(struct tg_call *call, const struct tg_head *trailers)
{
    struct tg_exchange *ex = exchange_of(call);
    struct tg_head out;

    ex->outcome = TG_OUTCOME_ENDED;
    if (trailers) {
        out = *trailers;
        tg_forward_trailers(ex->route->forward, &out);
        ex->client->end(ex, out.field_count ? &out : NULL);
    } else {
        ex->client->end(ex, NULL);
    }
    tg_exchange_run(ex);
}

static void on_failed(struct tg_call *call, enum tg_call_fault fault)
{
    struct tg_exchange *ex = exchange_of(call);

    ex->outcome = TG_OUTCOME_FAILED;
    ex->fault = (uint8_t)fault;
    tg_exchange_run(ex);
}

static const struct tg_call_events call_events = {
    .interim = on_interim, .head = on_head, .data = on_data, .end = on_end,
    .failed = on_failed, .settled = on_settled, .drained = on_drained,
};

/* ---- starting, and starting again ---- */

static void start_call(struct tg_exchange *ex, bool fresh)
{
    struct tg_cluster *cluster = ex->rt->clusters[ex->route->index];
    struct tg_call *call = &ex->call;

    write_head(ex, &ex->route->targets[ex->endpoint]);
    call->endpoint = tg_cluster_at(cluster, ex->endpoint);
    call->events = &call_events;
    call->limits = &ex->rt->call_limits[ex->route->index];
    call->method_id = ex->head.method_id;
    call->framing = ex->head.framing;
    call->upgrade = ex->upgrade;
    call->request_done = call->framing == TG_BODY_NONE;
    ex->attempts++;
    ex->calling = true;
    tg_call_start(call, fresh);
    if (ex->replay.len > 0)
        tg_call_data(call, tg_buf_slice(&ex->replay));
    if (ex->body_complete)
        tg_forward_body_end(ex, ex->body_trailers);
    if (ex->replay.len > 0)
        tg_call_flush(call);                             /* more may come to it before this turn is over */
}

static bool idempotent(const struct tg_head *head)
{
    switch (head->method_id) {
    case TG_METHOD_GET:
    case TG_METHOD_HEAD:
    case TG_METHOD_OPTIONS:
    case TG_METHOD_PUT:
    case TG_METHOD_DELETE:
        return true;
    default:
        return false;
    }
}

static void send_again(struct tg_exchange *ex, bool fresh)
{
    memset(&ex->call, 0, sizeof(ex->call));
    ex->outcome = TG_OUTCOME_NONE;
    start_call(ex, fresh);
    tg_call_flush(&ex->call);
    if (ex->body_open && tg_call_backlog(&ex->call) == 0)
        ex->client->want_body(ex, true);                 /* it may have been paused for the connection that failed */
}

/* Whether to send the request once more, after what just happened. */
static bool try_again(struct tg_exchange *ex)
{
    bool was_reused = ex->call.reused;
    bool refused = !ex->call.sent && (ex->fault == TG_CALL_REFUSED || ex->fault == TG_CALL_CONNECT_TIMEOUT ||
                                      ex->fault == TG_CALL_TLS);

    if (ex->head_sent || ex->attempts >= MAX_ATTEMPTS)
        return false;
    if (!ex->replayable)                                 /* part of the body is gone */
        return false;
    if (refused) {
        int next;

        ex->tried |= 1ull << (ex->endpoint & 63);
        next = tg_cluster_next(ex->rt->clusters[ex->route->index], ex->tried);
        if (next < 0)
            return false;                                /* the last one tried stands in the log */
        ex->endpoint = next;
    } else if (ex->fault != TG_CALL_NO_ANSWER || !was_reused || !idempotent(&ex->head)) {
        return false;
    }
    send_again(ex, !refused);
    return true;
}

void tg_forward_time(struct tg_exchange *ex)
{
    int64_t total_ms = ex->route->timeout_ms ? ex->route->timeout_ms : ex->rt->config->timeouts.total_ms;

    if (total_ms <= 0 || ex->total.expired)
        return;
    ex->total.expired = on_total;
    tg_deadline_set(&ex->gate->worker->wheel, &ex->total, ex->gate->worker->now_ms + total_ms);
}

/* Behind a 401 to our own token. If there was no better one to be had, the service says so once more, to the caller. */
static enum tg_next begin_again(struct tg_exchange *ex)
{
    ex->own_again = false;
    if (tg_upstream_auth_ready(ex) != TG_OWN_READY)
        return tg_exchange_refuse(ex, TG_REFUSE_NO_CREDENTIAL);
    send_again(ex, true);                                /* whatever the method: never on one that may have died */
    return TG_NEXT_WAIT;
}

static enum tg_next begin(struct tg_exchange *ex)
{
    if (tg_is_websocket(&ex->head)) {
        if (!ex->route->allow_websockets)
            return tg_exchange_refuse(ex, TG_REFUSE_WEBSOCKET);
        ex->upgrade = true;
    }
    tg_forward_time(ex);
    switch (tg_upstream_auth_ready(ex)) {
    case TG_OWN_WAIT:
        return TG_NEXT_WAIT;
    case TG_OWN_NONE:
        return tg_exchange_refuse(ex, TG_REFUSE_NO_CREDENTIAL);
    case TG_OWN_READY:
        break;
    }
    ex->endpoint = tg_cluster_next(ex->rt->clusters[ex->route->index], 0);
    ex->replayable = true;
    start_call(ex, false);
    tg_exchange_ask_for_body(ex);
    return TG_NEXT_WAIT;
}

enum tg_next tg_step_forward(struct tg_exchange *ex)
{
    if (ex->own_wait)
        return TG_NEXT_WAIT;
    if (!ex->calling)
        return begin(ex);
    if (ex->own_again)
        return begin_again(ex);
    if (ex->outcome == TG_OUTCOME_NONE)
        return TG_NEXT_WAIT;
    if (ex->outcome == TG_OUTCOME_ENDED) {
        ex->state = EX_LOG;
        return TG_NEXT_GO;
    }
    if (try_again(ex))
        return TG_NEXT_WAIT;
    if (ex->head_sent) {
        ex->client->cut(ex);
        ex->state = EX_LOG;
        return TG_NEXT_GO;
    }
    bool slow = ex->fault == TG_CALL_SLOW || ex->fault == TG_CALL_CONNECT_TIMEOUT;
    return tg_exchange_refuse(ex, slow ? TG_REFUSE_UPSTREAM_SLOW : TG_REFUSE_UPSTREAM);
}

/* ---- the request's content ---- */

void tg_forward_body(struct tg_exchange *ex, struct tg_slice data)
{
    if (ex->replayable) {
        /* Before there is a connection everything is kept: it is what one read brought, then reading pauses. */
        if (ex->replay.len + data.len <= REPLAY_BYTES || !tg_call_is_connected(&ex->call)) {
            tg_buf_add_slice(&ex->replay, data);
        } else {
            ex->replayable = false;
            tg_buf_fini(&ex->replay);
        }
    }
    tg_call_data(&ex->call, data);
}

void tg_forward_body_end(struct tg_exchange *ex, const struct tg_head *trailers)
{
    struct tg_head passed;

    if (ex->own_wait)
        return;                                          /* sent anew later; without trailers (RFC 9110 §6.5.1) */
    if (trailers == ex->body_trailers) {                 /* none, or those that were kept */
        tg_call_end(&ex->call, trailers);
        return;
    }
    passed = *trailers;
    tg_forward_trailers(ex->route->forward, &passed);
    ex->replayable = false;                              /* trailers are not kept for a second time */
    tg_call_end(&ex->call, passed.field_count ? &passed : NULL);
}
