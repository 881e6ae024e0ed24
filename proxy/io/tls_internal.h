/*
 * tls_internal - between the contexts (tls_server, tls_client) and one connection (tls_session): only here are both
 * OpenSSL and streams in sight.
 */
#pragma once
#include "io/stream.h"
#include "io/tls.h"
#include <openssl/ssl.h>

/* ---- tls_server.c, tls_client.c: a new SSL, ready for its handshake (socket not set); NULL: no memory ---- */
SSL *tg_tls_server_begin(struct tg_tls_server *s);
/*
 * `name`: what the certificate must be for: a DNS name (also sent as SNI) or an address. `resume` may be NULL; a session
 * that the server gives later is put there, by the worker's thread.
 */
SSL *tg_tls_client_begin(struct tg_tls_client *c, struct tg_slice name, struct tg_tls_resume *resume);
/* The verification result in words, for a server that asked: see tg_tls_facts.peer. */
bool tg_tls_server_asks(const struct tg_tls_server *s);

/* ---- tls_tickets.c ---- */
void tg_tls_tickets_use(SSL_CTX *ctx);                   /* tickets under the process's keys */

/* ---- tls_session.c: for stream.c; same results as recv and send, errno included (EAGAIN: nothing now) ---- */
struct tg_tls_session;
struct tg_tls_session *tg_tls_session_accept(struct tg_tls_server *server, int fd);
struct tg_tls_session *tg_tls_session_connect(struct tg_tls_client *client, int fd, struct tg_slice name,
                                              struct tg_tls_resume *resume);
enum tg_tls_step { TG_TLS_DONE, TG_TLS_WANT_READ, TG_TLS_WANT_WRITE, TG_TLS_FAILED };
enum tg_tls_step tg_tls_session_handshake(struct tg_tls_session *t);
ssize_t tg_tls_session_read(struct tg_tls_session *t, char *into, size_t room);
ssize_t tg_tls_session_write(struct tg_tls_session *t, const char *bytes, size_t n); /* at most one record, 16 KiB */
bool tg_tls_session_has_more(const struct tg_tls_session *t); /* octets were read from the socket and not yet taken */
bool tg_tls_session_is_quiet(struct tg_tls_session *t);
void tg_tls_session_end(struct tg_tls_session *t);       /* close_notify, as far as the socket takes it */
void tg_tls_session_free(struct tg_tls_session *t, bool clean); /* `clean`: close_notify first; NULL is fine */
const struct tg_tls_facts *tg_tls_session_facts(const struct tg_tls_session *t);
const char *tg_tls_session_error(const struct tg_tls_session *t);
bool tg_tls_session_met_http(const struct tg_tls_session *t);
