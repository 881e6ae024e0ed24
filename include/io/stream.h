/*
 * stream - one byte stream over a non-blocking socket: read into the caller's memory, gathered writes, back-pressure.
 *
 * Writing: tg_stream_put only notes where the bytes are; everything noted during one event callback goes out in one
 * writev, at the latest when that callback returns (or by tg_stream_flush). So bytes that were put must stay until
 * then. What the socket does not take is copied into the stream's backlog, and `drained` is called when that is gone.
 * Reading: one event, level-triggered, armed until paused. An idle stream holds no buffer.
 * TLS lives behind the same calls: what is put before the handshake is over waits in the backlog, a peer's close_notify
 * is its end, and an upstream's connection that ends without one is broken, so that a cut answer does not look whole.
 * Threads: one worker.
 */
#pragma once
#include "base/ip.h"
#include "io/tls.h"
#include "io/worker.h"
#include <event2/event_struct.h>
#include <sys/un.h>

struct tg_stream;
struct tg_gather;
struct tg_tls_session;

struct tg_stream_events {
    void (*readable)(struct tg_stream *s);               /* bytes, end or an error wait: call tg_stream_read once */
    void (*drained)(struct tg_stream *s);                /* the backlog is empty again */
    /* Of a stream that connects, or accepts TLS: 0, or an errno; EPROTO: no handshake, see tg_stream_tls_error */
    void (*connected)(struct tg_stream *s, int error);
    void (*broken)(struct tg_stream *s);                 /* writing failed; called from the loop, once */
};

struct tg_stream {
    int fd;                                              /* -1: closed */
    bool paused, connecting, failed, ending;             /* connecting: until the handshake is over, with TLS */
    bool shaking;                                        /* the handshake has begun and is not over */
    struct tg_worker *worker;
    const struct tg_stream_events *events;
    struct event read_event, write_event;
    struct tg_gather *gather;                            /* noted, not yet written; NULL: nothing */
    struct tg_stream *next_dirty;                        /* in the worker's list of streams to flush */
    struct tg_tls_session *tls;                          /* NULL: plain */
    struct tg_buf backlog;                               /* the socket did not take this yet */
    size_t backlog_sent;
    size_t backlog_sealed;                               /* TLS: from here on it is not yet encrypted */
};

struct tg_address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } sa;
};
bool tg_address_from_ip(const struct tg_ip *ip, uint16_t port, struct tg_address *out);
enum tg_status tg_address_from_path(struct tg_slice path, struct tg_address *out, struct tg_err *err);

/* Takes over a connected non-blocking socket and starts reading. */
void tg_stream_open(struct tg_stream *s, struct tg_worker *w, int fd, const struct tg_stream_events *events);
/* Starts connecting; `connected` is called from the loop, never from inside. TG_IO: no socket could be made. */
enum tg_status tg_stream_connect(struct tg_stream *s, struct tg_worker *w, const struct tg_address *to,
                                 const struct tg_stream_events *events);
/* The same with TLS: `connected` follows the handshake (NULL: not told), of which a failure is told by it too. */
void tg_stream_open_tls(struct tg_stream *s, struct tg_worker *w, int fd, const struct tg_stream_events *events,
                        struct tg_tls_server *server);
/* `name`: whom the certificate must be for, a DNS name or an address; `resume`: NULL, or the endpoint's. */
enum tg_status tg_stream_connect_tls(struct tg_stream *s, struct tg_worker *w, const struct tg_address *to,
                                     const struct tg_stream_events *events, struct tg_tls_client *client,
                                     struct tg_slice name, struct tg_tls_resume *resume);
/* Of a finished handshake; NULL: plain, or not finished. Valid as long as the stream is open. */
const struct tg_tls_facts *tg_stream_tls(const struct tg_stream *s);
/*
 * Why the handshake failed, or reading later, as a sentence for a log: "certificate not trusted: self-signed
 * certificate". "": plain, or nothing did.
 */
const char *tg_stream_tls_error(const struct tg_stream *s);
bool tg_stream_tls_met_http(const struct tg_stream *s);  /* the handshake failed because the client speaks plain HTTP */
/* Closes at once; with `reset` the peer sees RST. Nothing noted is written. Idempotent. */
void tg_stream_close(struct tg_stream *s, bool reset);

/* > 0: bytes read; 0: the peer ended; -1: nothing now; -2: broken. */
ssize_t tg_stream_read(struct tg_stream *s, char *into, size_t room);
void tg_stream_pause(struct tg_stream *s);               /* no `readable` until resumed */
void tg_stream_resume(struct tg_stream *s);

void tg_stream_put(struct tg_stream *s, const void *bytes, size_t n); /* not copied: see above */
void tg_stream_put_copy(struct tg_stream *s, const void *bytes, size_t n); /* short ones, up to 64 bytes: copied */
void tg_stream_flush(struct tg_stream *s);
static inline size_t tg_stream_backlog(const struct tg_stream *s) { return s->backlog.len - s->backlog_sent; }
/* While it connects: what was put and has not become anything on the wire, to be said to somebody else instead. */
static inline struct tg_slice tg_stream_unsaid(const struct tg_stream *s)
{
    size_t from = s->backlog_sealed > s->backlog_sent ? s->backlog_sealed : s->backlog_sent;

    return from < s->backlog.len ? tg_slice(s->backlog.data + from, s->backlog.len - from) : tg_slice(NULL, 0);
}
size_t tg_stream_unread(const struct tg_stream *s);      /* octets, here and in the kernel, not taken by the peer */
/* Nothing noted and nothing in the backlog. */
static inline bool tg_stream_is_drained(const struct tg_stream *s) { return !s->gather && tg_stream_backlog(s) == 0; }
void tg_stream_end(struct tg_stream *s);                 /* says FIN once all that was put has gone out */

/* A peek: false when the peer has ended or sent something unasked (a pooled connection that is no longer usable). */
bool tg_stream_is_quiet(struct tg_stream *s);
