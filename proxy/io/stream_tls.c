/*
 * stream_tls - the half of a stream that speaks TLS.
 *
 * What was flushed is encrypted at once, and the backlog holds it as it goes over the wire: it is sent like anything
 * else. Only what cannot be encrypted yet, because the handshake is not over, waits as it was put: the backlog's end,
 * from backlog_sealed on.
 */
#include "internal.h"
#include "tls_session.h"
#include <errno.h>
#include <sys/socket.h>

/* ---- what TLS makes, on its way to the wire ---- */

static bool has_unsealed(const struct tg_stream *s)
{
    return s->backlog_sealed < s->backlog.len;
}

static void keep_sealed(struct tg_stream *s, const char *bytes, size_t n)
{
    size_t unsealed = s->backlog.len - s->backlog_sealed;

    tg_buf_reserve(&s->backlog, n);
    memmove(s->backlog.data + s->backlog_sealed + n, s->backlog.data + s->backlog_sealed, unsealed);
    memcpy(s->backlog.data + s->backlog_sealed, bytes, n);
    s->backlog.len += n;
    s->backlog_sealed += n;
    tg_stream_arm_write(s);
}

/* After every call of the session, which may have had something to say of its own: an alert, tickets, new keys. */
static void push_sealed(struct tg_stream *s)
{
    struct tg_slice out = tg_tls_session_take(s->tls);
    ssize_t n = 0;

    if (out.len == 0 || s->failed)
        return;
    if (s->backlog_sealed == s->backlog_sent) {
        n = send(s->fd, out.ptr, out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            tg_stream_fail_later(s);
            return;
        }
        if (n < 0)
            n = 0;
    }
    if ((size_t)n < out.len)
        keep_sealed(s, out.ptr + n, out.len - (size_t)n);
}

static size_t seal(struct tg_stream *s, const struct iovec *iov, unsigned count, size_t bytes)
{
    size_t done = 0;

    while (done < bytes && !s->failed) {
        ssize_t n = tg_tls_session_seal(s->tls, iov, count, done);

        push_sealed(s);
        if (n < 0)
            tg_stream_fail_later(s);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

size_t tg_stream_tls_write(struct tg_stream *s, const struct iovec *iov, unsigned count, size_t bytes)
{
    return s->connecting || has_unsealed(s) ? 0 : seal(s, iov, count, bytes);
}

/* All that is sealed has gone out: now what waited for the handshake. */
static void seal_backlog(struct tg_stream *s)
{
    struct tg_buf whole = s->backlog;
    struct iovec rest = {.iov_base = whole.data + s->backlog_sealed, .iov_len = whole.len - s->backlog_sealed};

    s->backlog = (struct tg_buf){0};
    s->backlog_sent = s->backlog_sealed = 0;
    size_t done = seal(s, &rest, 1, rest.iov_len);
    tg_buf_add(&s->backlog, (char *)rest.iov_base + done, rest.iov_len - done);
    tg_buf_fini(&whole);
}

void tg_stream_tls_end(struct tg_stream *s)
{
    s->ending = true;                                    /* write_backlog comes back here */
    if (s->connecting || has_unsealed(s))
        return;
    tg_tls_session_end(s->tls);
    push_sealed(s);
    if (tg_stream_backlog(s) == 0)
        shutdown(s->fd, SHUT_WR);
}

void tg_stream_tls_write_backlog(struct tg_stream *s)
{
    if (s->backlog_sealed > s->backlog_sent) {
        ssize_t n = send(s->fd, s->backlog.data + s->backlog_sent, s->backlog_sealed - s->backlog_sent, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
            tg_stream_fail_later(s);
        if (n > 0)
            s->backlog_sent += (size_t)n;
        if (s->backlog_sealed > s->backlog_sent) {
            tg_stream_arm_write(s);
            return;
        }
    }
    if (!s->connecting && has_unsealed(s))
        seal_backlog(s);
    if (s->failed || s->backlog_sealed > s->backlog_sent)
        return;
    event_del(&s->write_event);                          /* what is not sealed waits for the peer, not for room */
    if (tg_stream_backlog(s) > 0)
        return;
    tg_buf_fini(&s->backlog);
    s->backlog_sent = s->backlog_sealed = 0;
    if (s->connecting)
        return;
    if (s->ending)
        tg_stream_tls_end(s);
    if (tg_stream_backlog(s) == 0)
        s->events->drained(s);
}

/* ---- the handshake ---- */

void tg_stream_tls_tell_broken(struct tg_stream *s)
{
    bool shaking = s->shaking;

    tg_tls_session_lost(s->tls);                         /* unless it has a better reason */
    event_del(&s->write_event);
    if (shaking)
        event_del(&s->read_event);
    s->connecting = s->shaking = false;
    if (shaking && s->events->connected)
        s->events->connected(s, EPROTO);
    else
        s->events->broken(s);
}

static void finish_handshake(struct tg_stream *s)
{
    s->connecting = s->shaking = false;
    if (s->paused)
        event_del(&s->read_event);
    else if (tg_tls_session_has_more(s->tls))
        event_active(&s->read_event, EV_READ, 0);
    if (tg_stream_backlog(s) > 0)
        event_active(&s->write_event, EV_WRITE, 0);
    else if (s->ending)
        tg_stream_tls_end(s);
    if (s->events->connected)
        s->events->connected(s, 0);
}

void tg_stream_tls_shake(struct tg_stream *s)
{
    enum tg_tls_step step = tg_tls_session_handshake(s->tls);

    push_sealed(s);                                      /* an alert, if it failed */
    if (step == TG_TLS_FAILED || s->failed) {
        s->failed = true;
        tg_stream_tls_tell_broken(s);
    } else if (step == TG_TLS_DONE) {
        finish_handshake(s);
    }
}

/* ---- reading ---- */

/* What was read may be what encrypting waited for. */
static void after_reading(struct tg_stream *s)
{
    push_sealed(s);
    if (has_unsealed(s))
        event_active(&s->write_event, EV_WRITE, 0);
}

bool tg_stream_tls_has_more(const struct tg_stream *s)
{
    return tg_tls_session_has_more(s->tls);
}

ssize_t tg_stream_tls_read(struct tg_stream *s, char *into, size_t room)
{
    if (s->connecting)
        return -1;
    ssize_t n = tg_tls_session_read(s->tls, into, room);

    after_reading(s);
    if (n > 0 && !s->paused && tg_tls_session_has_more(s->tls))
        event_active(&s->read_event, EV_READ, 0);        /* the socket will not tell of it */
    return n;
}

bool tg_stream_tls_is_quiet(struct tg_stream *s)
{
    if (s->connecting)
        return true;
    bool quiet = tg_tls_session_is_quiet(s->tls);

    after_reading(s);
    if (!quiet && !s->paused)
        event_active(&s->read_event, EV_READ, 0);        /* it was taken from the socket, which is silent now */
    return quiet;
}

/* ---- the end ---- */

/* Behind octets that were cut off, "this is the end" would be a lie. */
void tg_stream_tls_close(struct tg_stream *s, bool reset)
{
    if (!reset && !s->failed && tg_stream_is_drained(s)) {
        tg_tls_session_end(s->tls);
        push_sealed(s);
    }
    tg_tls_session_free(s->tls);
    s->tls = NULL;
}

const struct tg_tls_facts *tg_stream_tls(const struct tg_stream *s)
{
    return s->tls ? tg_tls_session_facts(s->tls) : NULL;
}

const char *tg_stream_tls_error(const struct tg_stream *s)
{
    return s->tls ? tg_tls_session_error(s->tls) : "";
}

bool tg_stream_tls_met_http(const struct tg_stream *s)
{
    return s->tls && tg_tls_session_met_http(s->tls);
}
