/*
 * internal - what the modules of jose share: facts about algorithms, a key as bytes, a key ready to verify with.
 */
#pragma once
#include "base/err.h"
#include "jose/jwk.h"
#include <cjson/cJSON.h>
#include <openssl/types.h>

enum tg_kty { TG_KTY_RSA, TG_KTY_EC, TG_KTY_OKP, TG_KTY_OCT };

struct tg_alg_facts {
    const char *name;
    enum tg_kty kty;
    const char *digest;                                  /* NULL: the algorithm hashes by itself */
    size_t hash_len;
    const char *crv;                                     /* EC, OKP: the only curve it is for */
    bool pss;
};
const struct tg_alg_facts *tg_alg_facts(enum tg_alg alg);
const EVP_MD *tg_alg_md(enum tg_alg alg);                /* fetched once; NULL for EdDSA */

struct tg_curve {
    const char *crv, *openssl_name;
    size_t bytes;                                        /* of a coordinate */
};
const struct tg_curve *tg_curve_by_crv(struct tg_slice crv);

#define TG_KEY_BYTES_MAX 2048                            /* an RSA modulus of 16384 bits */

/* A public key (or an HMAC secret) as bytes: the one form all sources are brought to, so all pass the same checks. */
struct tg_key_parts {
    enum tg_kty kty;
    const struct tg_curve *curve;                        /* EC */
    size_t main_len, second_len;
    uint8_t main[TG_KEY_BYTES_MAX];                      /* n, x or k */
    uint8_t second[72];                                  /* e or y */
};

struct tg_jwk {
    uint64_t serial;                                     /* of this process, never used twice */
    enum tg_kty kty;
    tg_algs fits;                                        /* what it may verify: type, curve, size and its own alg */
    size_t sig_len;                                      /* exactly so long is a signature; 0 for oct */
    EVP_PKEY *pkey;                                      /* NULL for oct */
    struct tg_slice secret;                              /* oct */
    struct tg_slice kid;                                 /* ptr NULL: none */
    char *text;                                          /* as a JWK; NULL for oct */
};

const struct tg_jwk *tg_jwks_key(const struct tg_jwks *set, size_t i); /* i < tg_jwks_count */
#define TG_KEYS_IN_TURN 8                                /* at most so many are tried for one token without a kid */
bool tg_jwks_in_turn(const struct tg_jwks *set);         /* a local set whose keys need no kid */

/* Checks strength and form, and builds the key. `own_alg`: TG_ALG_COUNT for none. `kid` is copied. */
enum tg_status tg_key_new(const struct tg_key_parts *parts, struct tg_slice kid, enum tg_alg own_alg,
                          struct tg_jwk **out, struct tg_err *err);
void tg_key_free(struct tg_jwk *key);
bool tg_key_eq(const struct tg_jwk *a, const struct tg_jwk *b);
/* Whether `signature` over `input` is this key's; `alg` is one it fits. */
bool tg_key_verify(const struct tg_jwk *key, enum tg_alg alg, struct tg_slice input, struct tg_slice signature);

/* The members of a JWK, whose private ones are passed over. `hmac`: oct keys, too. The parts of one may be secret. */
enum tg_status tg_parts_from_jwk(const cJSON *jwk, bool hmac, struct tg_key_parts *out, struct tg_err *err);
/* Whether a JWK's `use` and `key_ops`, where it has them, let it verify. */
enum tg_status tg_jwk_check_purpose(const cJSON *jwk, struct tg_err *err);
/* The public half of an OpenSSL key; TG_UNSUPPORTED for types and curves tollgate does not verify. */
enum tg_status tg_parts_from_pkey(const EVP_PKEY *pkey, struct tg_key_parts *out, struct tg_err *err);
/* The members RFC 7638 §3.2 requires, in its order, without braces. */
void tg_parts_print(const struct tg_key_parts *parts, struct tg_buf *out);
/* RFC 7638 §3 with SHA-256, as base64url. */
void tg_parts_thumbprint(const struct tg_key_parts *parts, struct tg_buf *out);
/* ECDSA's r and s of `len` bytes each as a DER sequence; `out` has room for 2 * len + 9 bytes. Returns its length. */
size_t tg_ecdsa_to_der(const uint8_t *raw, size_t len, uint8_t *out);
#define TG_DER_MAX (2 * 66 + 9)
