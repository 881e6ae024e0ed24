/*
 * tls - what TLS needs to know, as counted values that are made once and then only read: the server side of the
 * listeners (certificates by name, client CA) and the client side of an upstream (trust, own certificate).
 *
 * Always: TLS 1.3, or 1.2 with ECDHE and an AEAD cipher (RFC 9325 §4.2); ALPN http/1.1 (a client that offers only
 * others is refused, RFC 7301 §3.2); no renegotiation, no compression, no early data. Resumption by tickets only, under
 * keys of the process that change every hour and are thrown away after the second (RFC 9325 §3.4); a ticket given under
 * one client CA or CRL resumes nothing under another. Threads: any; counts are atomic.
 */
#pragma once
#include "base/cert.h"
#include "base/err.h"

/* ---- the server side ---- */
struct tg_tls_server;

struct tg_tls_client_auth {                              /* downstream_mtls */
    const char *ca_file, *crl_file;                      /* PEM; crl_file NULL: none */
    bool reject;                                         /* end the handshake of a client without a valid certificate */
    unsigned max_depth;                                  /* CA certificates above the leaf; 0: no limit */
};

struct tg_tls_server *tg_tls_server_new(void);           /* one reference; useless until a certificate was added */
/*
 * A certificate (PEM, leaf first, then its chain) and its private key; the first added answers names that none has. It
 * is found by its DNS names, one leftmost wildcard label included, else by its common name. TG_DENIED: the key may be
 * read by everybody (mode o+r) or not by us; TG_BAD_INPUT: not PEM, the two do not belong together, a key below RSA
 * 2048 or P-256, or one with a passphrase. Sentences name the file.
 */
enum tg_status tg_tls_server_add(struct tg_tls_server *s, const char *certificate_file, const char *key_file,
                                 struct tg_err *err);
/* Asks clients for a certificate. After all were added. */
enum tg_status tg_tls_server_verify_clients(struct tg_tls_server *s, const struct tg_tls_client_auth *auth,
                                            struct tg_err *err);
size_t tg_tls_server_count(const struct tg_tls_server *s);
const struct tg_cert *tg_tls_server_certificate(const struct tg_tls_server *s, size_t i); /* a leaf, as added */
struct tg_tls_server *tg_tls_server_ref(struct tg_tls_server *s);
void tg_tls_server_unref(struct tg_tls_server *s);       /* NULL is fine; connections keep what they need */

/* ---- the client side ---- */
struct tg_tls_client;

struct tg_tls_client_settings {
    const char *ca_file;                                 /* NULL: the system's store, unless ca_pem is given */
    struct tg_slice ca_pem;                              /* tls_custom_ca, decoded; ptr NULL: none */
    const char *certificate_file, *key_file;             /* own certificate; NULL: none, unless in PEM below */
    struct tg_slice certificate_pem, key_pem;
    bool skip_verify;
    bool no_alpn;                                        /* what is spoken is not HTTP */
};
/*
 * The system's store is $SSL_CERT_FILE, else /etc/ssl/certs/ca-certificates.crt, else OpenSSL's own default; it is
 * loaded once for all that use it, and again when the file changed.
 */
enum tg_status tg_tls_client_new(const struct tg_tls_client_settings *settings, struct tg_tls_client **out,
                                 struct tg_err *err);
/* Whether a ca_file of the configuration can be read and holds certificates; NULL and "" are fine. */
enum tg_status tg_tls_check_ca_file(const char *ca_file, struct tg_err *err);
struct tg_tls_client *tg_tls_client_ref(struct tg_tls_client *c);
void tg_tls_client_unref(struct tg_tls_client *c);       /* NULL is fine */
/* Equal for two clients only when trust, certificate and skip_verify are the same octets: connections may be shared. */
const char *tg_tls_client_fingerprint(const struct tg_tls_client *c); /* 64 hex digits */

/* The latest session of one endpoint, to resume. Zeroed: none. Of one worker; must outlive the streams that use it. */
struct tg_tls_resume {
    void *session;
};
void tg_tls_resume_fini(struct tg_tls_resume *r);

/* ---- one connection, after its handshake ---- */
enum tg_tls_peer {
    TG_TLS_PEER_UNASKED,                                 /* no client CA is configured (or: we are the client) */
    TG_TLS_PEER_MISSING,
    TG_TLS_PEER_INVALID,
    TG_TLS_PEER_VALID,
};
struct tg_tls_facts {
    const char *version, *cipher;                        /* "TLSv1.3", "TLS_AES_256_GCM_SHA384" */
    struct tg_slice server_name;                         /* SNI, in lower case; empty: none */
    bool resumed;
    enum tg_tls_peer peer;
    const struct tg_cert *certificate;                   /* the peer's; NULL: none */
    const char *peer_error;                              /* INVALID: "certificate has expired"; else NULL */
};
