/*
 * jwk - JWK sets (RFC 7517) and PEM keys as parsed EVP_PKEYs, ready to verify with.
 *
 * Keys are parsed once. An unknown kty or curve, a key for encryption or one whose key_ops lacks "verify" never fails
 * the set; the key is skipped and counted. Private members are ignored: only the public part is taken. Weak or broken
 * keys are skipped likewise and never verify: RSA below 2048 bits or above 16384, RSA exponents below 65537 (RFC 8017
 * allows 3; no provider uses it and every slip in padding checks is fatal with it), even or above 64 bits, EC points
 * off their curve or of another one, Ed25519 points of small order, HMAC secrets shorter than the hash (RFC 7518
 * §3.2). Several keys may share a kid: those that fit the token's algorithm are tried in turn.
 * A set is immutable and counted (atomic): workers share it.
 */
#pragma once
#include "base/err.h"
#include "jose/alg.h"

struct tg_jwks;
struct tg_jwk;

/*
 * `json`: a JWK set, or one JWK. `hmac`: take oct keys (only ever for local files with HS* named; then, as with PEM, a
 * token without a kid is tried against each that fits, up to 8); otherwise they are skipped. TG_BAD_INPUT when it is no
 * JWK set at all, TG_LIMIT above 1024 keys or 1 MiB; a set with no usable key is TG_OK with count 0.
 */
enum tg_status tg_jwks_parse(struct tg_slice json, bool hmac, struct tg_jwks **out, struct tg_err *err);
/*
 * Keys from PEM: SubjectPublicKeyInfo, certificates, or private keys (their public half). No kids: a token's signature
 * is tried against each that fits, so that two stand side by side during a rotation (8 at most: TG_LIMIT). A
 * certificate that signed one before it in the text is its authority, no signer of tokens, and is passed over.
 */
enum tg_status tg_jwks_from_pem(struct tg_slice pem, struct tg_jwks **out, struct tg_err *err);
/* One HMAC secret of at least 32 bytes. No kid. */
enum tg_status tg_jwks_from_secret(struct tg_slice secret, struct tg_jwks **out, struct tg_err *err);
struct tg_jwks *tg_jwks_ref(struct tg_jwks *set);
void tg_jwks_unref(struct tg_jwks *set);                 /* NULL is fine */
size_t tg_jwks_count(const struct tg_jwks *set);         /* usable keys */
tg_algs tg_jwks_algs(const struct tg_jwks *set);         /* what some key of the set can verify */
/*
 * 16 hex digits that tell sets of keys apart, for logs; made with the set. The order of the keys is of no meaning. Of
 * secrets only their kids and algorithms count, so that nothing can be guessed from it: another secret under the same
 * kid has the same digest.
 */
#define TG_JWKS_DIGEST 17
const char *tg_jwks_digest(const struct tg_jwks *set);
size_t tg_jwks_skipped(const struct tg_jwks *set);
/* Why the i-th skipped key was skipped ("key 2 (kid \"x\"): RSA key of 1024 bits"); NULL past the end. */
const char *tg_jwks_skip_reason(const struct tg_jwks *set, size_t i);
/* Whether every key of `before` is in `after` unchanged: then tokens verified by `before` still stand. */
bool tg_jwks_covers(const struct tg_jwks *after, const struct tg_jwks *before);
/* Writes the set's public keys as a JWK set (for `dev` and the issuer's own endpoint). HMAC keys are left out. */
void tg_jwks_print(const struct tg_jwks *set, struct tg_buf *out);
