/*
 * call_h1 - one HTTP/1.1 request out and its answer in, on a pooled or a fresh connection.
 *
 * Invariants: after `end` or `failed` the call is over and points to no connection; a connection goes back to the pool
 * only when the request was sent whole, the answer ended where its framing says, and no octet followed it.
 */
#include "upstream/call.h"
#include "http/h1_write.h"
#include "internal.h"
#include <errno.h>

#define MAX_INTERIMS 16
#define MAX_FIELDS 256

static void arm(struct tg_upstream_conn *conn, int64_t ms)
{
    struct tg_worker *w = conn->stream.worker;

    if (ms > 0)
        tg_deadline_set(&w->wheel, &conn->deadline, w->now_ms + ms);
    else
        tg_deadline_rest(&conn->deadline);
}

/* The call lets go of everything; what becomes of the connection is the caller's choice. */
static struct tg_upstream_conn *detach(struct tg_call *call)
{
    struct tg_upstream_conn *conn = call->conn;

    call->over = true;
    call->conn = NULL;
    if (conn)
        conn->call = NULL;
    if (call->query) {
        tg_resolve_cancel(call->query);
        call->query = NULL;
    }
    tg_worker_undefer(call->endpoint->pool->worker, &call->fail_later);
    tg_deadline_clear(&call->endpoint->pool->worker->wheel, &call->resolving);
    tg_buf_fini(&call->waiting);
    return conn;
}

static void fail(struct tg_call *call, enum tg_call_fault fault)
{
    struct tg_upstream_conn *conn = detach(call);

    if (conn)
        tg_pool_close(conn, true);
    call->events->failed(call, fault);
}

static void run_fail_later(struct tg_deferred *d)
{
    struct tg_call *call = (struct tg_call *)((char *)d - offsetof(struct tg_call, fail_later));

    fail(call, call->fault);
}

static void fail_later(struct tg_call *call, enum tg_call_fault fault)
{
    call->fault = (uint8_t)fault;
    call->fail_later.run = run_fail_later;
    tg_worker_defer(call->endpoint->pool->worker, &call->fail_later);
}

/* ---- going out ---- */

static void speak_on(struct tg_call *call, struct tg_upstream_conn *conn)
{
    call->conn = conn;
    conn->call = call;
    conn->in_body = false;
    conn->scanned = 0;
    conn->interims = 0;
    tg_stream_put(&conn->stream, call->head_bytes.ptr, call->head_bytes.len);
    if (call->waiting.len > 0) {
        tg_stream_put(&conn->stream, call->waiting.data, call->waiting.len);
        tg_stream_flush(&conn->stream);
        tg_buf_fini(&call->waiting);
    }
    call->sent_us = conn->stream.worker->now_us;
}

/* One address after the other, from the one whose turn it is; NULL when none even begins. */
static struct tg_upstream_conn *connect_any(struct tg_endpoint *ep, const struct tg_ip *ips, size_t count)
{
    struct tg_upstream_conn *conn = NULL;
    struct tg_address address;

    if (ep->local)
        return tg_address_from_path(ep->host, &address, NULL) == TG_OK ? tg_pool_connect(ep, &address) : NULL;
    for (size_t i = 0; i < count && !conn; i++) {
        if (tg_address_from_ip(&ips[ep->next_ip % count], ep->port, &address))
            conn = tg_pool_connect(ep, &address);
        if (!conn)
            ep->next_ip++;                               /* no way there at all: no IPv6, no route */
    }
    return conn;
}

static void connect_to(struct tg_call *call, const struct tg_ip *ips, size_t count)
{
    struct tg_upstream_conn *conn = connect_any(call->endpoint, ips, count);

    tg_deadline_clear(&call->endpoint->pool->worker->wheel, &call->resolving);
    call->addresses = (unsigned)count;
    if (!conn) {
        fail_later(call, TG_CALL_REFUSED);
        return;
    }
    speak_on(call, conn);
    arm(conn, call->limits->connect_ms);
}

static void on_resolved(void *arg, const struct tg_ip *ips, size_t count)
{
    struct tg_call *call = arg;

    call->query = NULL;
    connect_to(call, ips, count);
}

static void on_resolving_too_long(struct tg_deadline *d)
{
    fail((struct tg_call *)((char *)d - offsetof(struct tg_call, resolving)), TG_CALL_CONNECT_TIMEOUT);
}

/* A name is asked for within the time that connecting may take. */
static void find_address(struct tg_call *call)
{
    struct tg_endpoint *ep = call->endpoint;
    struct tg_worker *w = ep->pool->worker;
    const struct tg_ip *ips = NULL;
    size_t count = 0;

    if (ep->local || tg_resolve(ep->pool->resolver, ep->host, on_resolved, call, &ips, &count, &call->query) == TG_OK) {
        connect_to(call, ips, count);
        return;
    }
    call->resolving.expired = on_resolving_too_long;
    if (call->limits->connect_ms > 0)
        tg_deadline_set(&w->wheel, &call->resolving, w->now_ms + call->limits->connect_ms);
}

void tg_call_start(struct tg_call *call, bool fresh)
{
    struct tg_endpoint *ep = call->endpoint;
    struct tg_upstream_conn *conn = fresh ? NULL : tg_pool_take(ep);

    /* A request that may not be sent twice asks first whether the connection still stands. */
    bool repeatable = call->method_id != TG_METHOD_POST && call->method_id != TG_METHOD_PATCH &&
                      call->method_id != TG_METHOD_OTHER;
    while (conn && !repeatable && !tg_stream_is_quiet(&conn->stream)) {
        tg_pool_close(conn, false);
        conn = tg_pool_take(ep);
    }
    if (conn) {
        call->reused = call->sent = true;
        speak_on(call, conn);
        arm(conn, call->limits->first_byte_ms);
        return;
    }
    find_address(call);
}

void tg_call_data(struct tg_call *call, struct tg_slice data)
{
    char line[TG_CHUNK_LINE];
    bool chunked = call->framing == TG_BODY_CHUNKED && !call->raw;
    size_t line_len = chunked ? tg_h1_chunk_line(data.len, line) : 0;

    if (call->over || data.len == 0)
        return;
    if (!call->conn) {                                   /* a name is being resolved */
        tg_buf_add(&call->waiting, line, line_len);
        tg_buf_add_slice(&call->waiting, data);
        if (chunked)
            tg_buf_adds(&call->waiting, "\r\n");
        return;
    }
    struct tg_stream *s = &call->conn->stream;
    if (chunked)
        tg_stream_put_copy(s, line, line_len);
    tg_stream_put(s, data.ptr, data.len);
    if (chunked)
        tg_stream_put(s, "\r\n", 2);
    if (!s->connecting && !call->answered)
        arm(call->conn, call->limits->first_byte_ms);
    else if (call->conn->in_body && !call->raw && call->limits->stall_ms > 0)
        arm(call->conn, call->limits->stall_ms);         /* what goes out is no standstill either */
}

void tg_call_end(struct tg_call *call, const struct tg_head *trailers)
{
    struct tg_buf last = {0};

    if (call->over || call->request_done)
        return;
    call->request_done = true;
    if (call->raw) {
        if (call->conn)
            tg_stream_end(&call->conn->stream);
        return;
    }
    if (call->conn && !call->conn->stream.connecting && !call->answered)
        arm(call->conn, call->limits->first_byte_ms);    /* from now on it is the upstream's turn */
    if (call->framing != TG_BODY_CHUNKED)
        return;
    tg_h1_write_last_chunk(&last, trailers);
    if (!call->conn) {
        tg_buf_add(&call->waiting, last.data, last.len);
    } else {
        tg_stream_put(&call->conn->stream, last.data, last.len);
        tg_stream_flush(&call->conn->stream);
    }
    tg_buf_fini(&last);
}

void tg_call_flush(struct tg_call *call)
{
    if (call->conn)
        tg_stream_flush(&call->conn->stream);
}

bool tg_call_is_connected(const struct tg_call *call)
{
    return call->conn && !call->conn->stream.connecting;
}

size_t tg_call_backlog(const struct tg_call *call)
{
    return call->conn ? tg_stream_backlog(&call->conn->stream) : call->waiting.len;
}

void tg_call_pause(struct tg_call *call)
{
    if (call->conn) {
        tg_stream_pause(&call->conn->stream);
        arm(call->conn, 0);                              /* it is not the upstream that is slow now */
    }
}

void tg_call_resume(struct tg_call *call)
{
    if (call->conn) {
        tg_stream_resume(&call->conn->stream);
        if (!call->conn->stream.connecting && !call->raw)
            arm(call->conn, call->conn->in_body ? call->limits->stall_ms : call->limits->first_byte_ms);
    }
}

void tg_call_cancel(struct tg_call *call)
{
    if (call->over || !call->endpoint)
        return;
    struct tg_upstream_conn *conn = detach(call);

    if (conn)
        tg_pool_close(conn, true);
}

/* ---- coming back ---- */

/* The name has more addresses: what was put so far goes to the next one. */
static void try_next_address(struct tg_upstream_conn *conn)
{
    struct tg_call *call = conn->call;
    struct tg_slice unsaid;

    call->conn = NULL;
    conn->call = NULL;
    /* The head leads what waited for the connection; it is written anew by speak_on. */
    tg_stream_flush(&conn->stream);
    unsaid = tg_stream_unsaid(&conn->stream);
    if (unsaid.len > call->head_bytes.len)
        tg_buf_add(&call->waiting, unsaid.ptr + call->head_bytes.len, unsaid.len - call->head_bytes.len);
    tg_pool_close(conn, true);
    find_address(call);
}

void tg_call_on_connected(struct tg_upstream_conn *conn, int error)
{
    struct tg_call *call = conn->call;

    if (error) {
        bool tls = error == EPROTO && conn->endpoint->tls;

        if (tls)
            tg_endpoint_tell_tls(conn->endpoint, tg_stream_tls_error(&conn->stream));
        conn->endpoint->next_ip++;                       /* the next try takes another address of the name */
        if (call->addresses > ++call->refused_addresses)
            try_next_address(conn);
        else
            fail(call, tls ? TG_CALL_TLS : TG_CALL_REFUSED);
        return;
    }
    call->sent = true;
    call->sent_us = conn->stream.worker->now_us;
    arm(conn, call->limits->first_byte_ms);
}

void tg_call_on_drained(struct tg_upstream_conn *conn)
{
    conn->call->events->drained(conn->call);
}

void tg_call_on_broken(struct tg_upstream_conn *conn)
{
    struct tg_call *call = conn->call;

    /* Writing failed, but the answer may have come before: an upstream that refuses a body says so and closes. */
    if (!call->answered && tg_stream_is_quiet(&conn->stream)) {
        fail(call, TG_CALL_NO_ANSWER);
        return;
    }
    call->request_done = false;                          /* never back to the pool */
    tg_call_on_readable(conn);
}

void tg_call_on_deadline(struct tg_upstream_conn *conn)
{
    struct tg_call *call = conn->call;

    if (conn->stream.connecting) {
        conn->endpoint->next_ip++;                       /* the next try takes another address of the name */
    } else if (!conn->in_body && !call->request_done && tg_stream_backlog(&conn->stream) == 0) {
        arm(conn, call->limits->first_byte_ms);          /* the client is slow, and has a deadline of its own */
        return;
    }
    fail(call, conn->stream.connecting ? TG_CALL_CONNECT_TIMEOUT : TG_CALL_SLOW);
}

/* The answer is whole. `more`: octets came behind it. */
static void finish(struct tg_call *call, bool more, const struct tg_head *trailers)
{
    int64_t idle_ms = call->limits->idle_ms;
    const struct tg_stream *stream = &call->conn->stream;
    bool keep = call->conn->keep && !more && call->request_done && !call->raw && !stream->failed &&
                tg_stream_is_drained(stream);
    struct tg_upstream_conn *conn = detach(call);

    conn->in_body = false;
    call->events->end(call, trailers);                   /* the call's memory may be gone after this */
    if (!keep) {
        tg_pool_close(conn, false);
        return;
    }
    tg_h1_body_fini(&conn->body);
    tg_pool_keep(conn, idle_ms);
}

/* One head; TG_OK: go on with what follows. Anything else: the call waits or is over. */
static enum tg_status take_head(struct tg_upstream_conn *conn, struct tg_slice *in)
{
    struct tg_call *call = conn->call;
    struct tg_field fields[MAX_FIELDS];
    struct tg_head head = {.fields = fields, .field_cap = MAX_FIELDS};
    struct tg_h1_limits limits = call->limits->head;
    size_t used = 0;

    limits.fields = MAX_FIELDS;
    enum tg_status st = tg_h1_parse_response(*in, &limits, &conn->scanned, call->method_id, &head, &used, NULL);
    if (st == TG_AGAIN)
        return st;
    if (st != TG_OK) {
        fail(call, TG_CALL_BAD_ANSWER);
        return st;
    }
    conn->scanned = 0;
    in->ptr += used;
    in->len -= used;
    if (head.status < 200 && head.status != 101) {
        if (++conn->interims > MAX_INTERIMS) {
            fail(call, TG_CALL_BAD_ANSWER);
            return TG_BAD_INPUT;
        }
        call->events->interim(call, &head);
        return conn->call == call ? TG_OK : TG_DENIED;
    }
    if (head.status == 101) {
        if (!call->upgrade) {
            fail(call, TG_CALL_BAD_ANSWER);
            return TG_BAD_INPUT;
        }
        call->raw = true;
        call->request_done = false;                      /* the tunnel ends it */
    }
    conn->keep = head.keep_alive && head.framing != TG_BODY_CLOSE;
    conn->in_body = true;
    arm(conn, call->raw ? 0 : call->limits->stall_ms);   /* a tunnel may be silent as long as it likes */
    tg_h1_body_init(&conn->body, call->raw ? TG_BODY_CLOSE : head.framing, head.content_length);
    call->events->head(call, &head);
    return conn->call == call ? TG_OK : TG_DENIED;
}

/* The run of content that is there; TG_OK: go on. */
static enum tg_status take_body(struct tg_upstream_conn *conn, struct tg_slice *in)
{
    struct tg_call *call = conn->call;
    struct tg_slice content = {0};
    enum tg_status st = TG_OK;

    if (!conn->body.done)
        st = tg_h1_body_read(&conn->body, in, &content, NULL);
    if (st != TG_OK && st != TG_AGAIN) {
        fail(call, TG_CALL_CUT);
        return st;
    }
    if (content.len > 0) {
        call->events->data(call, content);
        if (conn->call != call)
            return TG_DENIED;
    }
    if (conn->body.done) {
        struct tg_field fields[64];
        struct tg_head trailers = {.fields = fields, .field_cap = ARRAY_LEN(fields)};

        if (tg_h1_body_trailers(&conn->body, &trailers, NULL) != TG_OK)
            fail(call, TG_CALL_CUT);
        else
            finish(call, in->len > 0, trailers.field_count ? &trailers : NULL);
        return TG_DENIED;
    }
    return in->len > 0 ? TG_OK : TG_AGAIN;
}

static void on_end_of_stream(struct tg_upstream_conn *conn)
{
    struct tg_call *call = conn->call;

    if (!conn->in_body)
        fail(call, call->answered ? TG_CALL_BAD_ANSWER : TG_CALL_NO_ANSWER);
    else if (conn->body.framing == TG_BODY_CLOSE)
        finish(call, false, NULL);
    else
        fail(call, TG_CALL_CUT);
}

/*
 * Reading failed. With TLS 1.3 a server looks at our certificate when we have long begun to speak, so its refusal comes
 * here; of a pooled connection it is no more than its end.
 */
static enum tg_call_fault fault_of(const struct tg_upstream_conn *conn)
{
    const struct tg_call *call = conn->call;
    const char *why = tg_stream_tls_error(&conn->stream);

    if (conn->in_body)
        return TG_CALL_CUT;
    if (call->answered)
        return TG_CALL_BAD_ANSWER;
    if (call->reused || !*why)
        return TG_CALL_NO_ANSWER;
    tg_endpoint_tell_tls(conn->endpoint, why);
    return TG_CALL_TLS;
}

static void read_answer(struct tg_upstream_conn *conn)
{
    struct tg_call *call = conn->call;
    char *scratch = conn->stream.worker->scratch;
    ssize_t n = tg_stream_read(&conn->stream, scratch, TG_SCRATCH_BYTES);
    struct tg_buf held = {0};                            /* owns what the events point into, until settled */

    if (n == -1)
        return;
    if (n == 0) {
        on_end_of_stream(conn);
        return;
    }
    if (n < 0) {
        fail(call, fault_of(conn));
        return;
    }
    struct tg_slice in = tg_slice(scratch, (size_t)n);
    if (conn->rest.len > 0) {
        held = conn->rest;
        conn->rest = (struct tg_buf){0};
        tg_buf_add(&held, scratch, (size_t)n);
        in = tg_buf_slice(&held);
    }
    if (!call->answered)
        call->answered = true;
    /* Until the head is whole the first-byte deadline goes on: one octet, or an interim answer, is no answer. */
    if (conn->in_body && !call->raw && call->limits->stall_ms > 0)
        arm(conn, call->limits->stall_ms);

    enum tg_status st = TG_OK;
    while (st == TG_OK)
        st = conn->in_body ? take_body(conn, &in) : in.len > 0 ? take_head(conn, &in) : TG_AGAIN;
    if (st == TG_AGAIN) {                                /* the call goes on */
        call->events->settled(call);
        if (conn->call == call && !conn->in_body && in.len > 0)
            tg_buf_add_slice(&conn->rest, in);
    }
    tg_buf_fini(&held);
}

/* An event may cancel the call, which closes the connection: it is freed when nobody looks at it any more. */
void tg_call_on_readable(struct tg_upstream_conn *conn)
{
    conn->reading = true;
    read_answer(conn);
    conn->reading = false;
    if (conn->closed)
        free(conn);
}

const char *tg_call_fault_name(enum tg_call_fault fault)
{
    static const char *const names[] = {
        [TG_CALL_REFUSED] = "refused",       [TG_CALL_CONNECT_TIMEOUT] = "connect-timeout",
        [TG_CALL_NO_ANSWER] = "no-answer",   [TG_CALL_BAD_ANSWER] = "bad-answer",
        [TG_CALL_SLOW] = "slow",             [TG_CALL_CUT] = "cut",
        [TG_CALL_TLS] = "tls",
    };

    return names[fault];
}
