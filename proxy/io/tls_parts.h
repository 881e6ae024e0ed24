/*
 * tls_parts - what the contexts of both sides are made of: certificates with their keys, trusted ones, names.
 *
 * `name` is what a sentence calls a text: its file, or the setting that holds it. OpenSSL's queue of errors is empty
 * after each of these.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <openssl/ssl.h>

/* ---- texts ---- */
#define TG_TLS_PEM_MAX ((size_t)4 << 20)
#define TG_TLS_CRL_MAX ((size_t)32 << 20)

/* A private key: TG_DENIED also when everybody may read it. Wipe the text after use. */
enum tg_status tg_tls_read_key(const char *path, struct tg_buf *out, struct tg_err *err);
/* Every certificate of a PEM text, at least one. */
enum tg_status tg_tls_certificates(const char *name, struct tg_slice pem, STACK_OF(X509) **out, struct tg_err *err);
int64_t tg_tls_time_s(const ASN1_TIME *t);               /* seconds since 1970; 0: none */

/* ---- a certificate and its key ---- */
enum tg_tls_kind { TG_TLS_RSA, TG_TLS_EC, TG_TLS_ED25519, TG_TLS_KINDS };

struct tg_tls_pair {                                     /* zeroed: none */
    enum tg_tls_kind kind;
    X509 *leaf;
    STACK_OF(X509) *chain;                               /* what follows the leaf; may be empty */
    EVP_PKEY *key;
};
enum tg_status tg_tls_pair_parse(const char *name, struct tg_slice pem, const char *key_name, struct tg_slice key_pem,
                                 struct tg_tls_pair *out, struct tg_err *err);
void tg_tls_pair_fini(struct tg_tls_pair *p);
enum tg_status tg_tls_pair_use(const struct tg_tls_pair *p, SSL_CTX *ctx, const char *name, struct tg_err *err);

/* ---- whom to trust: tls_trust.c ---- */
enum tg_status tg_tls_trust_pem(const char *name, struct tg_slice pem, X509_STORE **out, struct tg_err *err);
/* The system's store; `digest` tells one content from another. */
enum tg_status tg_tls_trust_system(X509_STORE **out, uint8_t digest[32], struct tg_err *err);

/* ---- contexts ---- */
enum tg_status tg_tls_context(bool server, SSL_CTX **out, struct tg_err *err);

/*
 * A DNS name as names are compared: lower case, no dot at its end. False when it cannot be one (RFC 1035 §2.3.4; an
 * underscore is taken). `wildcard`: the leftmost label may be "*".
 */
#define TG_TLS_NAME 256
bool tg_tls_name(struct tg_slice text, bool wildcard, char out[TG_TLS_NAME], size_t *len);
