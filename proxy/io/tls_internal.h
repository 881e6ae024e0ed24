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
 * `name`: what the certificate must be for: a DNS name (also sent as SNI) or an address. `resume` may be NULL; a
 * session that the server gives later is put there, by the worker's thread.
 */
SSL *tg_tls_client_begin(struct tg_tls_client *c, struct tg_slice name, struct tg_tls_resume *resume);
/* Whether clients are asked for a certificate: without, tg_tls_facts.peer is TG_TLS_PEER_UNASKED. */
bool tg_tls_server_asks(const struct tg_tls_server *s);

/* ---- tls_tickets.c ---- */
void tg_tls_tickets_use(SSL_CTX *ctx);                   /* tickets under the process's keys */
