/*
 * tls_session - one TLS connection: octets of the wire to octets of the stream, and back.
 *
 * OpenSSL sees no socket. What it reads comes from here, received for many records at once into memory of the worker;
 * what it writes is gathered there and sent by the stream in one go. So it never has to wait for room, and a session
 * that waits for its peer holds no buffer at all, or only the octets nobody could use yet (`rest`).
 * Invariants: the worker's buffers are free between two calls; the end of the connection is never shown to OpenSSL,
 * which would forbid the session's resumption: `gone` is looked at when OpenSSL wants more than there is.
 */
#include "base/clock.h"
#include "internal.h"
#include "tls_internal.h"
#include "tls_session.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#define RECORD_ROOM (TG_TLS_RECORD + 512)                /* one on the wire is no longer */
#define LEAST_RECV 4096
#define FIRST_OCTETS 8
#define TALK_MS 1000                                     /* what a peer may say of TLS itself: so often, */
#define TALK_AT_ONCE 64                                  /* and so much at once */

struct tg_tls_session {
    SSL *ssl;                                            /* NULL: there cannot be one (or no memory for it) */
    struct tg_worker *worker;
    int fd;
    bool server, asks, over, dry;                        /* over: the handshake; dry: no recv (any more) in this call */
    enum { OPEN, ENDED, BROKEN } state;                  /* as far as reading goes */
    enum { HERE, LEFT, LOST } gone;                      /* the connection under it: FIN, or an error */
    bool talkative;                                      /* reading stops: see on_message */
    int64_t talk_ms;                                     /* monotonic: what it said so far is paid off then */
    const char *from;                                    /* what OpenSSL has not read, of `rest` or the worker's */
    size_t left, room, wanted;                           /* wanted: by OpenSSL, when nothing was left */
    struct tg_buf rest;
    char first[FIRST_OCTETS];                            /* of the client, to tell HTTP */
    unsigned char first_len;
    struct tg_tls_facts *facts;                          /* made when asked for */
    char *name, *error;
};

/* ---- between OpenSSL and the wire ---- */

static void receive(struct tg_tls_session *t)
{
    char *in = t->worker->private->tls_wire->in;
    ssize_t n = recv(t->fd, in, t->room, 0);

    tg_buf_fini(&t->rest);                               /* all read, or this were not called */
    t->dry = true;                                       /* others' turn, however much more there is */
    if (n > 0) {
        t->from = in;
        t->left = (size_t)n;
        return;
    }
    if (n == 0)
        t->gone = LEFT;
    else if (errno != EAGAIN && errno != EINTR)
        t->gone = LOST;
}

static int wire_read(BIO *bio, char *into, int room)
{
    struct tg_tls_session *t = BIO_get_data(bio);
    size_t n = (size_t)room;

    BIO_clear_retry_flags(bio);
    if (t->left == 0 && !t->dry)
        receive(t);
    if (t->left == 0 || t->talkative) {
        t->wanted = n;
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > t->left)
        n = t->left;
    memcpy(into, t->from, n);
    if (!t->over && t->first_len < FIRST_OCTETS) {
        size_t k = n < (size_t)(FIRST_OCTETS - t->first_len) ? n : (size_t)(FIRST_OCTETS - t->first_len);

        memcpy(t->first + t->first_len, t->from, k);
        t->first_len = (unsigned char)(t->first_len + k);
    }
    t->from += n;
    t->left -= n;
    return (int)n;
}

static int wire_write(BIO *bio, const char *bytes, int n)
{
    struct tg_tls_session *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    tg_buf_add(&t->worker->private->tls_wire->out, bytes, (size_t)n);
    return n;
}

static long wire_ctrl(BIO *bio, int what, long number, void *arg)
{
    (void)bio;
    (void)number;
    (void)arg;
    return what == BIO_CTRL_FLUSH;                       /* the rest does not concern memory */
}

static BIO_METHOD *wire_method;

static void make_wire_method(void)
{
    wire_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    if (!wire_method)
        return;
    BIO_meth_set_read(wire_method, wire_read);
    BIO_meth_set_write(wire_method, wire_write);
    BIO_meth_set_ctrl(wire_method, wire_ctrl);
}

static BIO *new_wire(struct tg_tls_session *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BIO *bio;

    pthread_once(&once, make_wire_method);
    bio = wire_method ? BIO_new(wire_method) : NULL;
    if (!bio)
        return NULL;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

/* Before OpenSSL is called; `room`: how much may be received, 0: nothing. The queued errors may be others' (JOSE). */
static void enter(struct tg_tls_session *t, size_t room)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
    t->from = t->rest.data;
    t->left = t->rest.len;
    t->room = room < TG_TLS_IN ? room : TG_TLS_IN;
    t->dry = room == 0 || t->gone != HERE;
}

/* After it: the buffers are others' from here on. */
static void leave(struct tg_tls_session *t)
{
    if (t->left == 0)
        tg_buf_fini(&t->rest);
    else if (t->rest.data)
        tg_buf_drop(&t->rest, (size_t)(t->from - t->rest.data));
    else
        tg_buf_add(&t->rest, t->from, t->left);
    t->from = NULL;
    t->left = 0;
}

/*
 * New keys, tickets, wishes to renegotiate, warnings: each costs more than a record of data and some are answered, so
 * that a peer who says nothing else takes the processor from all others, and memory when it does not read.
 */
static void on_message(int sent, int version, int type, const void *bytes, size_t len, SSL *ssl, void *arg)
{
    struct tg_tls_session *t = arg;
    int64_t now_ms = t->worker->now_ms;

    (void)version;
    (void)bytes;
    (void)len;
    (void)ssl;
    if (type != SSL3_RT_ALERT && (type != SSL3_RT_HANDSHAKE || sent))
        return;
    t->talk_ms = (t->talk_ms > now_ms ? t->talk_ms : now_ms) + TALK_MS;
    t->talkative = t->talk_ms - now_ms > (int64_t)TALK_AT_ONCE * TALK_MS;
}

static void listen_to_talk(struct tg_tls_session *t)
{
    SSL_set_msg_callback(t->ssl, on_message);
    SSL_set_msg_callback_arg(t->ssl, t);
}

struct tg_slice tg_tls_session_take(struct tg_tls_session *t)
{
    struct tg_buf *out = &t->worker->private->tls_wire->out;
    struct tg_slice made = tg_buf_slice(out);

    out->len = 0;
    return made;
}

/* ---- why not ---- */

static void say(struct tg_tls_session *t, const char *what, const char *more)
{
    struct tg_buf words = {0};

    if (t->error)
        return;                                          /* the first reason is the one */
    tg_buf_adds(&words, what);
    tg_buf_adds(&words, more);
    t->error = tg_slice_dup(tg_buf_slice(&words));
    tg_buf_fini(&words);
}

static void say_untrusted(struct tg_tls_session *t)
{
    long why = SSL_get_verify_result(t->ssl);

    if (t->name && (why == X509_V_ERR_HOSTNAME_MISMATCH || why == X509_V_ERR_IP_ADDRESS_MISMATCH))
        say(t, "certificate is not for ", t->name);
    else
        say(t, "certificate not trusted: ", X509_verify_cert_error_string(why));
}

/* The peer's alerts are reasons too: "tlsv1 alert unknown ca". */
static void say_reason(struct tg_tls_session *t, unsigned long error)
{
    const char *words = ERR_reason_error_string(error);
    const char *alert = words ? strstr(words, "alert ") : NULL;

    if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET && alert)
        say(t, "the peer refused: ", alert + strlen("alert "));
    else
        say(t, words ? words : "a failure without a reason", "");
}

static void explain(struct tg_tls_session *t)
{
    unsigned long error = ERR_peek_error();

    switch (ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        say_untrusted(t);
        break;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        say(t, "the peer showed no certificate", "");
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        say(t, "no common protocol version", "");
        break;
    case SSL_R_NO_SHARED_CIPHER:
        say(t, "no common cipher", "");
        break;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        say(t, "no common application protocol (ALPN)", "");
        break;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
        say(t, "the peer speaks no TLS", "");
        break;
    default:
        say_reason(t, error);
    }
    ERR_clear_error();
}

void tg_tls_session_lost(struct tg_tls_session *t)
{
    say(t, t->over ? "the peer closed" : "the peer closed during the handshake", "");
}

const char *tg_tls_session_error(const struct tg_tls_session *t)
{
    return t->error ? t->error : "";
}

/* A method and a blank, or as much of a method as was kept: OpenSSL itself knows but four methods. */
bool tg_tls_session_met_http(const struct tg_tls_session *t)
{
    unsigned i = 0;

    if (!t->server || t->over || !t->error)
        return false;
    while (i < t->first_len && t->first[i] >= 'A' && t->first[i] <= 'Z')
        i++;
    return i >= 3 && (i == t->first_len || t->first[i] == ' ');
}

/* ---- life ---- */

static struct tg_tls_session *new_session(struct tg_worker *w, int fd, SSL *ssl)
{
    struct tg_tls_session *t = TG_NEW(struct tg_tls_session);
    BIO *wire;

    t->worker = w;
    t->fd = fd;
    t->ssl = ssl;
    if (!w->private->tls_wire)
        w->private->tls_wire = TG_NEW(struct tg_tls_wire);
    if (!ssl)
        return t;
    wire = new_wire(t);
    if (!wire) {
        SSL_free(ssl);
        t->ssl = NULL;
        return t;
    }
    SSL_set_bio(ssl, wire, wire);
    SSL_set_read_ahead(ssl, 0);                          /* it is done here, for many records */
    return t;
}

struct tg_tls_session *tg_tls_session_accept(struct tg_tls_server *server, struct tg_worker *w, int fd)
{
    struct tg_tls_session *t = new_session(w, fd, tg_tls_server_begin(server));

    t->server = true;
    t->asks = tg_tls_server_asks(server);
    return t;
}

struct tg_tls_session *tg_tls_session_connect(struct tg_tls_client *client, struct tg_worker *w, int fd,
                                              struct tg_slice name, struct tg_tls_resume *resume)
{
    struct tg_tls_session *t = new_session(w, fd, tg_tls_client_begin(client, name, resume));

    t->name = tg_slice_dup(name);
    return t;
}

void tg_tls_session_free(struct tg_tls_session *t)
{
    if (!t)
        return;
    if (t->ssl && t->over)                               /* else OpenSSL would take the session for a bad one */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    if (t->facts)
        tg_cert_free((struct tg_cert *)(uintptr_t)t->facts->certificate);
    if (t->facts)
        free((char *)(uintptr_t)t->facts->server_name.ptr);
    free(t->facts);
    free(t->name);
    free(t->error);
    tg_buf_fini(&t->rest);
    free(t);
}

/* ---- the handshake ---- */

enum tg_tls_step tg_tls_session_handshake(struct tg_tls_session *t)
{
    enum tg_tls_step step = TG_TLS_FAILED;
    int ret;

    if (!t->ssl) {
        say(t, t->name ? "no certificate can be for " : "there is no certificate to show", t->name ? t->name : "");
        return TG_TLS_FAILED;
    }
    enter(t, TG_TLS_IN);
    ret = SSL_do_handshake(t->ssl);
    if (ret == 1) {
        t->over = true;
        listen_to_talk(t);
        step = TG_TLS_DONE;
    } else if (SSL_get_error(t->ssl, ret) != SSL_ERROR_WANT_READ) {
        explain(t);
    } else if (t->gone != HERE) {
        tg_tls_session_lost(t);
    } else {
        step = TG_TLS_WANT_READ;
    }
    leave(t);
    return step;
}

/* ---- what it found ---- */

static struct tg_cert *read_certificate(X509 *x)
{
    struct tg_cert *cert = NULL;
    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);

    if (len > 0 && tg_cert_from_der(tg_slice((const char *)der, (size_t)len), &cert, NULL) != TG_OK)
        cert = NULL;
    OPENSSL_free(der);
    return cert;
}

/* A resumed session brings the result of a verification that may be hours old: the dates are looked at again. */
static const char *why_invalid(const struct tg_tls_session *t, const struct tg_cert *cert)
{
    long result = SSL_get_verify_result(t->ssl);
    int64_t now_s = tg_clock_wall_ms() / 1000;

    if (result != X509_V_OK)
        return X509_verify_cert_error_string(result);
    if (!cert)
        return "certificate cannot be read";
    if (now_s > cert->not_after_s)
        return X509_verify_cert_error_string(X509_V_ERR_CERT_HAS_EXPIRED);
    if (now_s < cert->not_before_s)
        return X509_verify_cert_error_string(X509_V_ERR_CERT_NOT_YET_VALID);
    return NULL;
}

static void find_peer(const struct tg_tls_session *t, struct tg_tls_facts *f)
{
    X509 *x = SSL_get0_peer_certificate(t->ssl);
    struct tg_cert *cert = x ? read_certificate(x) : NULL;

    f->certificate = cert;
    f->peer = TG_TLS_PEER_UNASKED;
    if (!t->server || !t->asks)
        return;
    f->peer = TG_TLS_PEER_MISSING;
    if (!x)
        return;
    f->peer_error = why_invalid(t, cert);
    f->peer = f->peer_error ? TG_TLS_PEER_INVALID : TG_TLS_PEER_VALID;
}

const struct tg_tls_facts *tg_tls_session_facts(struct tg_tls_session *t)
{
    const char *name;

    if (t->facts || !t->over)
        return t->facts;
    t->facts = TG_NEW(struct tg_tls_facts);
    t->facts->version = SSL_get_version(t->ssl);
    t->facts->cipher = SSL_get_cipher_name(t->ssl);
    t->facts->resumed = SSL_session_reused(t->ssl);
    name = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
    if (name) {
        char *lower = tg_slice_dup(tg_slice_str(name));

        for (char *c = lower; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
        t->facts->server_name = tg_slice_str(lower);
    }
    find_peer(t, t->facts);
    return t->facts;
}

/* ---- reading ---- */

/* After a read that gave nothing: is there nothing yet, or nothing any more? */
static void note_end(struct tg_tls_session *t, int ret)
{
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        if (t->talkative) {
            t->state = BROKEN;
            say(t, "the peer renegotiates, changes keys or warns without end", "");
            return;
        }
        if (t->gone == HERE)
            return;
        /* To a server HTTP's framing tells what was cut off; an answer may have no end but this one. */
        t->state = t->gone == LEFT && t->server ? ENDED : BROKEN;
        if (t->gone == LEFT && !t->server)
            say(t, "the peer closed without close_notify", "");
        return;
    case SSL_ERROR_ZERO_RETURN:
        t->state = ENDED;
        return;
    default:
        t->state = BROKEN;
        explain(t);
    }
}

static ssize_t nothing_read(const struct tg_tls_session *t)
{
    return t->state == OPEN ? -1 : t->state == ENDED ? 0 : -2;
}

/*
 * How much to receive so that `room` takes all of it, and the part of a record that OpenSSL has already. It wanted five
 * octets, a record's head, unless it has one.
 */
static size_t room_on_the_wire(const struct tg_tls_session *t, size_t room)
{
    size_t had = t->wanted > 5 && t->wanted < RECORD_ROOM ? RECORD_ROOM - t->wanted : 0;

    return room > had + LEAST_RECV ? room - had : LEAST_RECV;
}

ssize_t tg_tls_session_read(struct tg_tls_session *t, char *into, size_t room)
{
    size_t got = 0, n;

    if (t->state != OPEN || room == 0)
        return nothing_read(t);
    enter(t, t->rest.len > 0 || SSL_pending(t->ssl) > 0 ? 0 : room_on_the_wire(t, room));
    while (got < room) {
        int ret = SSL_read_ex(t->ssl, into + got, room - got, &n);

        if (ret != 1) {
            note_end(t, ret);
            break;
        }
        got += n;
        t->wanted = 0;
        if (t->left == 0 && t->dry && t->gone == HERE)
            break;                                       /* a record is read whole, or the room is full */
    }
    leave(t);
    return got > 0 ? (ssize_t)got : nothing_read(t);
}

bool tg_tls_session_has_more(const struct tg_tls_session *t)
{
    return t->rest.len > 0 || t->state != OPEN || SSL_pending(t->ssl) > 0;
}

bool tg_tls_session_is_quiet(struct tg_tls_session *t)
{
    char octet;
    size_t n;
    int ret;

    if (t->state != OPEN)
        return false;
    enter(t, TG_TLS_IN);
    ret = SSL_peek_ex(t->ssl, &octet, 1, &n);
    if (ret != 1)
        note_end(t, ret);
    leave(t);
    return ret != 1 && t->state == OPEN && t->rest.len == 0;
}

/* ---- writing ---- */

/* The next octets in one piece: small ones are copied together, so that they share a record. */
static size_t next_piece(struct tg_tls_wire *wire, const struct iovec *iov, unsigned count, size_t skip,
                         const char **piece)
{
    size_t used = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t len = iov[i].iov_len, n;
        const char *at = (const char *)iov[i].iov_base + skip;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        n = len - skip;
        skip = 0;
        if (used == 0 && (n >= TG_TLS_RECORD || i + 1 == count)) {
            *piece = at;
            return n < TG_TLS_RECORD ? n : TG_TLS_RECORD;
        }
        if (n > TG_TLS_RECORD - used)
            n = TG_TLS_RECORD - used;
        memcpy(wire->joined + used, at, n);
        used += n;
        if (used == TG_TLS_RECORD)
            break;
    }
    *piece = wire->joined;
    return used;
}

ssize_t tg_tls_session_seal(struct tg_tls_session *t, const struct iovec *iov, unsigned count, size_t skip)
{
    struct tg_tls_wire *wire = t->worker->private->tls_wire;
    size_t done = 0;
    bool broken = false;

    enter(t, 0);
    while (wire->out.len < 3 * RECORD_ROOM) {
        const char *piece;
        size_t wrote, n = next_piece(wire, iov, count, skip + done, &piece);
        int ret = n > 0 ? SSL_write_ex(t->ssl, piece, n, &wrote) : 0;

        if (n == 0)
            break;
        if (ret != 1) {
            broken = SSL_get_error(t->ssl, ret) != SSL_ERROR_WANT_READ;
            break;
        }
        done += wrote;
    }
    if (broken)
        explain(t);
    leave(t);
    return broken ? -1 : (ssize_t)done;
}

void tg_tls_session_end(struct tg_tls_session *t)
{
    if (!t->over || SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
        return;
    enter(t, 0);
    if (SSL_shutdown(t->ssl) < 0)
        ERR_clear_error();
    leave(t);
}
