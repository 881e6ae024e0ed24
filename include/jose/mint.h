/*
 * mint - keys made and tokens signed: for the services behind tollgate, for `mint`, `dev` and tests; around libjwt (RS,
 * ES, HS with typ JWT), OpenSSL for the rest. A signer is immutable: several threads may sign with one.
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
/*
 * The keys of a text in PEM, one after another, in its order: curve P-256 (ES256) or Ed25519 (EdDSA); private ones, and
 * public ones, which can be published but not sign. Both halves of a pair count once. kids: thumbprints. Each is freed
 * by the caller. What is no key, is encrypted or of another kind fails the whole; TG_LIMIT above TG_SIGNERS_MAX.
 */
#define TG_SIGNERS_MAX 8
enum tg_status tg_signers_read(struct tg_slice pem, struct tg_signer *out[TG_SIGNERS_MAX], size_t *count,
                               struct tg_err *err);
void tg_signer_free(struct tg_signer *signer);
bool tg_signer_may_sign(const struct tg_signer *signer);
struct tg_slice tg_signer_kid(const struct tg_signer *signer); /* empty: none */
struct tg_slice tg_signer_jwk(const struct tg_signer *signer); /* its public half as a JWK's text; empty for HS* */
/* Signs `claims` (a JSON object as text). `typ`: "JWT" or "at+jwt". The compact token is appended to `out`. */
enum tg_status tg_signer_sign(const struct tg_signer *signer, struct tg_slice claims, const char *typ,
                              struct tg_buf *out, struct tg_err *err);
/*
 * The same, of typ JWT, for claims that were written by this process: they are not read again. Much the faster for ES*,
 * where libjwt reads the PEM anew for every token.
 */
enum tg_status tg_signer_sign_ours(const struct tg_signer *signer, struct tg_slice claims, struct tg_buf *out,
                                   struct tg_err *err);
/* The same over a header and a payload of the caller's, as they are: what they say is the caller's to get right. */
enum tg_status tg_signer_sign_octets(const struct tg_signer *signer, struct tg_slice header, struct tg_slice payload,
                                     struct tg_buf *out, struct tg_err *err);
/* The public keys as a JWK set's text. */
void tg_signer_jwks(const struct tg_signer *signer, struct tg_buf *out);
/* The private key as PKCS#8 PEM (to keep it for a later run). */
enum tg_status tg_signer_pem(const struct tg_signer *signer, struct tg_buf *out, struct tg_err *err);
