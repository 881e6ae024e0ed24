/*
 * conn_h1 - requests of one HTTP/1.1 connection, one after the other, and their answers.
 *
 * Invariants: one exchange at a time; octets behind a request wait in `rest` (bounded: reading pauses) until its answer
 * is out; after a framing error, or an answer given before the request's body was read, nothing more is read as HTTP
 * and the connection closes with what still arrives thrown away (RFC 9112 §9.6), so that the client sees the answer.
 * `rest` holds at most one head's worth beyond what one read brings.
 */
#include "internal.h"

#define LINGER_MS 2000
#define LINGER_BYTES (32 * 1024 * 1024)                  /* a client that sends without looking is to see its answer */
#define AHEAD_BYTES (64 * 1024)
#define SERVICE_HEAD_MS 10000
#define SERVICE_IDLE_MS 60000

static struct tg_conn *conn_of(struct tg_stream *s)
{
    return (struct tg_conn *)((char *)s - offsetof(struct tg_conn, stream));
}

/* ---- deadlines ---- */

static struct tg_timeouts timeouts_of(const struct tg_conn *conn)
{
    if (conn->gate->runtime)
        return conn->gate->runtime->config->timeouts;
    return (struct tg_timeouts){.head_ms = SERVICE_HEAD_MS, .idle_ms = SERVICE_IDLE_MS, .body_ms = SERVICE_IDLE_MS};
}

static void arm(struct tg_conn *conn, int64_t ms)
{
    struct tg_worker *w = conn->gate->worker;

    if (ms > 0)
        tg_deadline_set(&w->wheel, &conn->deadline, w->now_ms + ms);
    else
        tg_deadline_rest(&conn->deadline);
}

/* The client has this long to take some of what waits for it. */
static void await_reader(struct tg_conn *conn)
{
    conn->unread = tg_stream_unread(&conn->stream);
    arm(conn, timeouts_of(conn).body_ms);
}

/*
 * What a connection with a request waits for, in one place: its client to read while octets wait for it, else its
 * client to send while the body is wanted, else nothing of its own (then the upstream has a deadline).
 */
void tg_conn_h1_plan(struct tg_conn *conn, bool progress)
{
    if (conn->state != CONN_BUSY && conn->state != CONN_TUNNEL && conn->state != CONN_FLUSH)
        return;
    if (tg_stream_backlog(&conn->stream) > 0) {
        if (!conn->unread)
            await_reader(conn);
        return;
    }
    if (conn->unread)
        progress = true;
    conn->unread = 0;
    if (conn->state == CONN_BUSY && conn->reading_body) {
        if (progress)
            arm(conn, timeouts_of(conn).body_ms);
    } else {
        arm(conn, 0);
    }
}

/* ---- closing ---- */

static void linger(struct tg_conn *conn)
{
    conn->state = CONN_LINGER;
    conn->unread = 0;
    tg_buf_fini(&conn->rest);
    if (conn->ended) {
        tg_conn_close(conn, false);
        return;
    }
    tg_stream_end(&conn->stream);
    tg_stream_resume(&conn->stream);
    arm(conn, LINGER_MS);
}

static void read_lingering(struct tg_conn *conn)
{
    ssize_t n = tg_stream_read(&conn->stream, conn->gate->worker->scratch, TG_SCRATCH_BYTES);

    if (n == -1)
        return;
    if (n > 0)
        conn->lingered += (size_t)n;
    if (n <= 0 || conn->lingered > LINGER_BYTES)
        tg_conn_close(conn, n > 0);
}

/* ---- from one request to the next ---- */

static void consume(struct tg_conn *conn, struct tg_slice *in);
static void keep_rest(struct tg_conn *conn, struct tg_slice in, struct tg_buf *held);

static void idle(struct tg_conn *conn)
{
    struct tg_gate *gate = conn->gate;

    conn->state = CONN_IDLE;
    tg_stream_resume(&conn->stream);                     /* an end that was there before is told once more */
    conn->unread = 0;
    if (gate->draining)
        arm(conn, TG_DRAIN_IDLE_MS);
    else
        arm(conn, gate->runtime ? gate->runtime->config->timeouts.idle_ms : SERVICE_IDLE_MS);
}

void tg_conn_h1_answered(struct tg_conn *conn)
{
    if (tg_stream_backlog(&conn->stream) > 0) {          /* the answer is not yet with the client */
        conn->state = CONN_FLUSH;
        tg_conn_h1_plan(conn, true);
        return;
    }
    if (conn->close) {
        linger(conn);
        return;
    }
    if (conn->rest.len == 0) {
        idle(conn);
        return;
    }
    conn->state = CONN_IDLE;                             /* a pipelined request: from the loop, not from here */
    tg_worker_defer(conn->gate->worker, &conn->later);
}

static void run_next(struct tg_deferred *d)
{
    struct tg_conn *conn = (struct tg_conn *)((char *)d - offsetof(struct tg_conn, later));
    struct tg_buf held = conn->rest;
    struct tg_slice in = tg_buf_slice(&held);

    conn->rest = (struct tg_buf){0};
    consume(conn, &in);
    keep_rest(conn, in, &held);
    tg_buf_fini(&held);
    if (conn->ended)
        tg_stream_resume(&conn->stream);                 /* for on_end to see what is left now */
}

static struct tg_h1_limits limits_of(const struct tg_conn *conn)
{
    const struct tg_gate *gate = conn->gate;
    struct tg_h1_limits limits = {.head_bytes = 65536, .target_bytes = 16384, .fields = gate->field_cap};

    if (gate->runtime) {
        const struct tg_bounds *b = &gate->runtime->config->bounds;

        limits.head_bytes = b->head ? b->head : SIZE_MAX;
        limits.target_bytes = b->uri ? b->uri : SIZE_MAX;
    }
    return limits;
}

static void refuse_head(struct tg_conn *conn, enum tg_refusal why, unsigned status)
{
    struct tg_exchange *ex = tg_exchange_new(conn, &tg_conn_h1_ops, NULL, tg_slice(NULL, 0));

    conn->state = CONN_BUSY;
    conn->close = true;
    conn->ex = ex;
    tg_h1_body_init(&conn->body, TG_BODY_NONE, 0);
    ex->refusal_status = status;
    tg_give_ids(ex);
    tg_exchange_refuse(ex, why);
    tg_exchange_run(ex);
}

/* One head from *in. True: an exchange was begun (and may be over already). */
static bool take_head(struct tg_conn *conn, struct tg_slice *in)
{
    struct tg_gate *gate = conn->gate;
    struct tg_head head = {.fields = gate->fields, .field_cap = gate->field_cap};
    struct tg_h1_limits limits = limits_of(conn);
    size_t used = 0;
    unsigned refusal = 0;
    enum tg_status st = tg_h1_parse_request(*in, &limits, &conn->scanned, &head, &used, &refusal, NULL);

    if (st == TG_AGAIN) {
        if (conn->state != CONN_HEAD) {
            conn->state = CONN_HEAD;
            if (!conn->first)
                arm(conn, timeouts_of(conn).head_ms);
        }
        tg_stream_resume(&conn->stream);
        return false;
    }
    conn->scanned = 0;
    conn->first = false;
    if (st != TG_OK) {
        in->len = 0;
        refuse_head(conn, TG_REFUSE_HEAD, refusal);
        return true;
    }
    conn->state = CONN_BUSY;
    conn->close = !head.keep_alive;
    arm(conn, 0);
    tg_h1_body_init(&conn->body, head.framing, head.content_length);
    conn->reading_body = false;
    conn->ex = tg_exchange_new(conn, &tg_conn_h1_ops, &head, tg_slice(in->ptr, used));
    in->ptr += used;
    in->len -= used;
    conn->ex->body_open = !conn->body.done;
    tg_exchange_run(conn->ex);
    return true;
}

/* Content from *in to the exchange, while it wants it. True: go on. */
static bool take_body(struct tg_conn *conn, struct tg_slice *in)
{
    struct tg_exchange *ex = conn->ex;
    struct tg_slice content = {0};
    enum tg_status st = tg_h1_body_read(&conn->body, in, &content, NULL);

    if (st != TG_OK && st != TG_AGAIN) {
        in->len = 0;
        conn->close = true;
        tg_exchange_break(ex, TG_REFUSE_BODY_FRAMING);
        return false;
    }
    if (content.len > 0)
        tg_exchange_body(ex, content);
    if (conn->ex != ex || conn->state != CONN_BUSY)
        return false;
    if (conn->body.done) {
        struct tg_field fields[64];
        struct tg_head trailers = {.fields = fields, .field_cap = ARRAY_LEN(fields)};

        conn->reading_body = false;
        tg_conn_h1_plan(conn, true);
        if (tg_h1_body_trailers(&conn->body, &trailers, NULL) != TG_OK) {
            conn->close = true;
            tg_exchange_break(ex, TG_REFUSE_BODY_FRAMING);
        } else {
            ex->body_open = false;
            tg_exchange_body_end(ex, trailers.field_count ? &trailers : NULL);
        }
        return false;
    }
    return in->len > 0;
}

/* What was not used stays for later: when nothing was, `held` (the memory of `in`, or empty) is simply kept. */
static void keep_rest(struct tg_conn *conn, struct tg_slice in, struct tg_buf *held)
{
    if (in.len == 0 || conn->state == CONN_CLOSED || conn->state == CONN_LINGER ||
        (conn->state == CONN_FLUSH && conn->close))
        return;
    if (held->data && in.len == held->len && conn->rest.len == 0) {
        conn->rest = *held;
        *held = (struct tg_buf){0};
    } else {
        tg_buf_add_slice(&conn->rest, in);
    }
    if (conn->state == CONN_IDLE)
        tg_worker_defer(conn->gate->worker, &conn->later);
    if (conn->state != CONN_HEAD && conn->rest.len > AHEAD_BYTES)
        tg_stream_pause(&conn->stream);
}

/* Uses what it can of *in. */
static void consume(struct tg_conn *conn, struct tg_slice *in)
{
    while (in->len > 0) {
        if (conn->state == CONN_IDLE || conn->state == CONN_HEAD) {
            if (!take_head(conn, in))
                break;
            /* An answer already given: the next request is read from the loop, so that none starves the others. */
            if (conn->state != CONN_BUSY)
                break;
        } else if (conn->state == CONN_BUSY && conn->reading_body && !conn->body.done) {
            if (!take_body(conn, in))
                break;
        } else {
            break;
        }
    }
    if (conn->state == CONN_BUSY && conn->ex)
        tg_exchange_body_settle(conn->ex);
}

/* ---- what the socket says ---- */

static void on_end(struct tg_conn *conn)
{
    conn->ended = true;
    tg_stream_pause(&conn->stream);                      /* level-triggered: it would say so for ever */
    switch (conn->state) {
    case CONN_TUNNEL:
        tg_call_end(&conn->ex->call, NULL);
        break;
    case CONN_BUSY:
        if (!conn->body.done && conn->rest.len == 0)
            tg_conn_close(conn, true);                   /* the body will never be whole */
        break;                                           /* else a client that only half-closed gets its answer */
    case CONN_FLUSH:
        break;
    case CONN_IDLE:
        if (!conn->later.set)                            /* else requests sent before the end wait for their answers */
            tg_conn_close(conn, false);
        break;
    default:
        tg_conn_close(conn, false);
    }
}

static void on_readable(struct tg_stream *s)
{
    struct tg_conn *conn = conn_of(s);
    char *scratch = conn->gate->worker->scratch;
    struct tg_buf held = {0};

    if (conn->state == CONN_LINGER) {
        read_lingering(conn);
        return;
    }
    ssize_t n = tg_stream_read(s, scratch, TG_SCRATCH_BYTES);
    if (n == -1)
        return;
    if (n == 0) {
        on_end(conn);
        return;
    }
    if (n < 0) {
        tg_conn_close(conn, true);
        return;
    }
    struct tg_slice in = tg_slice(scratch, (size_t)n);
    if (conn->state == CONN_TUNNEL) {
        conn->ex->bytes_in += in.len;
        tg_call_data(&conn->ex->call, in);
        tg_tunnel_traffic(conn->ex);
        tg_exchange_body_settle(conn->ex);
        return;
    }
    if (conn->rest.len > 0) {
        held = conn->rest;
        conn->rest = (struct tg_buf){0};
        tg_buf_add(&held, scratch, (size_t)n);
        in = tg_buf_slice(&held);
    }
    tg_conn_h1_plan(conn, true);
    if (!conn->later.set)                                /* else the next request is about to be read anyway */
        consume(conn, &in);
    keep_rest(conn, in, &held);
    tg_buf_fini(&held);
}

static void on_drained(struct tg_stream *s)
{
    struct tg_conn *conn = conn_of(s);

    tg_conn_h1_plan(conn, true);
    if (conn->state == CONN_FLUSH)
        tg_conn_h1_answered(conn);
    else if (conn->ex)
        tg_exchange_client_drained(conn->ex);
}

static const struct tg_stream_events stream_events;

/* Of the handshake: the first request follows, or there will be none. */
static void on_connected(struct tg_stream *s, int error)
{
    struct tg_conn *conn = conn_of(s);

    if (error == 0) {
        tg_conn_tls_done(conn);
        conn->state = CONN_IDLE;
        if (conn->gate->draining)
            arm(conn, TG_DRAIN_IDLE_MS);
    } else if (tg_conn_tls_failed(conn, &stream_events)) {
        linger(conn);
    } else {
        tg_conn_close(conn, true);
    }
}

static void on_broken(struct tg_stream *s)
{
    tg_conn_close(conn_of(s), true);
}

static void on_deadline(struct tg_deadline *d)
{
    struct tg_conn *conn = (struct tg_conn *)((char *)d - offsetof(struct tg_conn, deadline));

    if (conn->state == CONN_HEAD) {
        conn->first = false;
        refuse_head(conn, TG_REFUSE_SLOW_HEAD, 408);
    } else if (conn->state == CONN_HANDSHAKE) {
        tg_conn_tls_slow(conn);
        tg_conn_close(conn, true);
    } else if (conn->unread) {
        if (tg_stream_unread(&conn->stream) < conn->unread)
            await_reader(conn);                          /* slow, but it reads */
        else
            tg_conn_close(conn, true);
    } else if (conn->state == CONN_BUSY) {
        conn->close = true;
        tg_exchange_break(conn->ex, TG_REFUSE_SLOW_BODY);
    } else {
        tg_conn_close(conn, false);
    }
}

static const struct tg_stream_events stream_events = {
    .readable = on_readable, .drained = on_drained, .connected = on_connected, .broken = on_broken};

void tg_conn_h1_start(struct tg_conn *conn)
{
    struct tg_gate *gate = conn->gate;
    struct tg_tls_server *tls = gate->service   ? gate->service->tls
                                : gate->runtime ? gate->runtime->config->tls
                                                : NULL;
    int fd = conn->stream.fd;

    conn->deadline.expired = on_deadline;
    conn->later.run = run_next;
    if (tls) {
        conn->state = CONN_HANDSHAKE;
        conn->first = true;
        tg_stream_open_tls(&conn->stream, gate->worker, fd, &stream_events, tls);
    } else {
        tg_stream_open(&conn->stream, gate->worker, fd, &stream_events);
    }
    arm(conn, timeouts_of(conn).head_ms);
}
