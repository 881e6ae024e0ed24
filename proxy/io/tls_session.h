/*
 * tls_session - one TLS connection, for the stream it is in.
 *
 * A session receives by itself and leaves sending to its stream: what a call made for the wire is taken by the stream
 * before any other session of the worker is called (the buffers are the worker's). So nothing here ever waits for room.
 */
#pragma once
#include "io/stream.h"
#include "io/tls.h"
#include <sys/uio.h>

/* Never NULL: of one that cannot be, such as for a name that no certificate can have, the handshake fails. */
struct tg_tls_session *tg_tls_session_accept(struct tg_tls_server *server, struct tg_worker *w, int fd);
struct tg_tls_session *tg_tls_session_connect(struct tg_tls_client *client, struct tg_worker *w, int fd,
                                              struct tg_slice name, struct tg_tls_resume *resume);
enum tg_tls_step { TG_TLS_DONE, TG_TLS_WANT_READ, TG_TLS_FAILED };
enum tg_tls_step tg_tls_session_handshake(struct tg_tls_session *t);
/* As tg_stream_read; at most one recv. */
ssize_t tg_tls_session_read(struct tg_tls_session *t, char *into, size_t room);
/*
 * Encrypts the listed octets from number `skip` on, as far as one output goes: how many. 0: none, before something was
 * read (half a message of the peer's); -1: broken.
 */
ssize_t tg_tls_session_seal(struct tg_tls_session *t, const struct iovec *iov, unsigned count, size_t skip);
struct tg_slice tg_tls_session_take(struct tg_tls_session *t); /* for the wire; valid until the next call */
/* Octets or an end are here of which the socket will not tell: somebody has to read without being woken by it. */
bool tg_tls_session_has_more(const struct tg_tls_session *t);
/* Nothing but what TLS says to itself (tickets, new keys) has come. */
bool tg_tls_session_is_quiet(struct tg_tls_session *t);
void tg_tls_session_end(struct tg_tls_session *t);       /* close_notify; once */
void tg_tls_session_free(struct tg_tls_session *t);      /* NULL is fine; what is resumable stays so */
const struct tg_tls_facts *tg_tls_session_facts(struct tg_tls_session *t); /* NULL before the handshake is over */
void tg_tls_session_lost(struct tg_tls_session *t);      /* the connection is gone, as sending to it showed */
const char *tg_tls_session_error(const struct tg_tls_session *t);
bool tg_tls_session_met_http(const struct tg_tls_session *t);
