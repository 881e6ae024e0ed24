/*
 * mint - keys made and tokens signed, for `mint`, `dev` and tests; around libjwt (RS, ES, HS with typ JWT), OpenSSL for
 * the rest.
 */
#pragma once
#include "base/err.h"
#include "jose/alg.h"
#include "jose/jwk.h"

struct tg_signer;

/* A fresh key pair for `alg` (not HS*): RSA 2048, the curve of ES*, Ed25519. kid: RFC 7638 thumbprint. */
enum tg_status tg_signer_generate(enum tg_alg alg, struct tg_signer **out, struct tg_err *err);
/* A private key in PEM, or for HS* a secret. `kid`: empty: thumbprint (none for HS*). */
enum tg_status tg_signer_load(enum tg_alg alg, struct tg_slice key, struct tg_slice kid, struct tg_signer **out,
                              struct tg_err *err);
void tg_signer_free(struct tg_signer *signer);
/* Signs `claims` (a JSON object as text). `typ`: "JWT" or "at+jwt". The compact token is appended to `out`. */
enum tg_status tg_signer_sign(const struct tg_signer *signer, struct tg_slice claims, const char *typ,
                              struct tg_buf *out, struct tg_err *err);
/* The public keys as a JWK set's text. */
void tg_signer_jwks(const struct tg_signer *signer, struct tg_buf *out);
/* The private key as PKCS#8 PEM (to keep it for a later run). */
enum tg_status tg_signer_pem(const struct tg_signer *signer, struct tg_buf *out, struct tg_err *err);
