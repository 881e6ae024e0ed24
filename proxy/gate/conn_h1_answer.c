/*
 * conn_h1_answer - what an exchange says to its client, in HTTP/1.1.
 *
 * Invariants: everything put is flushed before the exchange's memory goes (end, cut); an unknown length is chunked to
 * HTTP/1.1 and ends at the close to HTTP/1.0; an answer given before the body was read, or while draining, says
 * Connection: close.
 */
#include "internal.h"

static enum tg_h1_connection connection_word(const struct tg_conn *conn)
{
    return conn->close ? TG_H1_CLOSE : TG_H1_KEEP;
}

static void write_head(struct tg_exchange *ex, const struct tg_head *head, enum tg_h1_connection how, bool has_length)
{
    struct tg_gate *gate = ex->gate;

    gate->out.len = 0;
    tg_h1_write_response(&gate->out, head, ex->head.minor, how, ex->head.method_id == TG_METHOD_HEAD, has_length);
    struct tg_slice copy = tg_arena_dup(&ex->arena, tg_buf_slice(&gate->out));
    tg_stream_put(&ex->conn->stream, copy.ptr, copy.len);
    ex->bytes_out += copy.len;
}

static void h1_interim(struct tg_exchange *ex, const struct tg_head *head)
{
    if (ex->head.minor == 0)
        return;                                          /* RFC 9110 §15.2: not to HTTP/1.0 */
    write_head(ex, head, TG_H1_KEEP, false);
    tg_stream_flush(&ex->conn->stream);
}

static void h1_head(struct tg_exchange *ex, const struct tg_head *head, bool has_length)
{
    struct tg_conn *conn = ex->conn;
    struct tg_head shown = *head;

    if (ex->body_open || conn->gate->draining)
        conn->close = true;
    if (head->framing == TG_BODY_CHUNKED && ex->head.minor == 0) {
        shown.framing = TG_BODY_CLOSE;
        conn->close = true;
    }
    write_head(ex, &shown, head->status == 101 ? TG_H1_UPGRADE : connection_word(conn), has_length);
    ex->chunked_out = shown.framing == TG_BODY_CHUNKED;
}

static void h1_data(struct tg_exchange *ex, struct tg_slice data)
{
    struct tg_stream *s = &ex->conn->stream;
    char line[TG_CHUNK_LINE];

    ex->bytes_out += data.len;
    if (ex->chunked_out)
        tg_stream_put_copy(s, line, tg_h1_chunk_line(data.len, line));
    tg_stream_put(s, data.ptr, data.len);
    if (ex->chunked_out)
        tg_stream_put(s, "\r\n", 2);
}

static void h1_end(struct tg_exchange *ex, const struct tg_head *trailers)
{
    struct tg_conn *conn = ex->conn;

    if (ex->chunked_out) {
        ex->gate->out.len = 0;
        tg_h1_write_last_chunk(&ex->gate->out, trailers);
        tg_stream_put(&conn->stream, ex->gate->out.data, ex->gate->out.len);
    }
    tg_stream_flush(&conn->stream);
    conn->ex = NULL;
    conn->reading_body = false;
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->state == CONN_TUNNEL || ex->body_open)
        conn->close = true;
    tg_h1_body_fini(&conn->body);
    tg_conn_h1_answered(conn);
}

static void h1_cut(struct tg_exchange *ex)
{
    struct tg_conn *conn = ex->conn;

    conn->ex = NULL;
    /* What was sent so far still goes out where it can; no last chunk, no full length: the client can tell (RFC 9112
     * §8). */
    tg_stream_flush(&conn->stream);
    tg_conn_close(conn, !ex->chunked_out);
}

static void h1_settle(struct tg_exchange *ex)
{
    struct tg_conn *conn = ex->conn;

    tg_stream_flush(&conn->stream);
    tg_conn_h1_plan(conn, false);
}

static size_t h1_backlog(const struct tg_exchange *ex)
{
    return tg_stream_backlog(&ex->conn->stream);
}

static void h1_want_body(struct tg_exchange *ex, bool wanted)
{
    struct tg_conn *conn = ex->conn;

    if (conn->state == CONN_TUNNEL) {
        if (wanted && !conn->ended)
            tg_stream_resume(&conn->stream);
        else if (!wanted)
            tg_stream_pause(&conn->stream);
        return;
    }
    if (conn->body.done)
        return;
    conn->reading_body = wanted;
    tg_conn_h1_plan(conn, true);
    if (!wanted) {
        tg_stream_pause(&conn->stream);
        return;
    }
    tg_stream_resume(&conn->stream);
    if (conn->rest.len > 0)
        tg_worker_defer(conn->gate->worker, &conn->later);
}

static void h1_tunnel(struct tg_exchange *ex)
{
    struct tg_conn *conn = ex->conn;

    conn->state = CONN_TUNNEL;
    tg_stream_flush(&conn->stream);
    tg_conn_h1_plan(conn, true);
    if (conn->rest.len > 0) {
        ex->bytes_in += conn->rest.len;
        tg_call_data(&ex->call, tg_buf_slice(&conn->rest));
        tg_call_flush(&ex->call);
        tg_buf_fini(&conn->rest);
    }
    if (conn->ended)
        tg_call_end(&ex->call, NULL);
    else
        tg_stream_resume(&conn->stream);
}

const struct tg_client_ops tg_conn_h1_ops = {
    .interim = h1_interim, .head = h1_head, .data = h1_data, .end = h1_end, .cut = h1_cut,
    .settle = h1_settle, .backlog = h1_backlog, .want_body = h1_want_body, .tunnel = h1_tunnel,
};
