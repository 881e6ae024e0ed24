/*
 * alg - the JWS algorithms tollgate knows (RFC 7518 §3, RFC 8037, RFC 9864) as bits of an allow-list.
 */
#pragma once
#include "base/buf.h"

#define TG_ALGS(X) \
    X(RS256) X(RS384) X(RS512) X(PS256) X(PS384) X(PS512) X(ES256) X(ES384) X(ES512) X(EdDSA) X(HS256) X(HS384) X(HS512)
enum tg_alg {
#define X(a) TG_ALG_##a,
    TG_ALGS(X)
#undef X
    TG_ALG_COUNT
};
typedef uint32_t tg_algs;
#define TG_ALG_BIT(a) ((tg_algs)1 << (a))
#define TG_ALGS_HMAC (TG_ALG_BIT(TG_ALG_HS256) | TG_ALG_BIT(TG_ALG_HS384) | TG_ALG_BIT(TG_ALG_HS512))
#define TG_ALGS_DEFAULT (TG_ALG_BIT(TG_ALG_RS256) | TG_ALG_BIT(TG_ALG_ES256) | TG_ALG_BIT(TG_ALG_EdDSA))

/* Case-sensitive; "Ed25519" (RFC 9864) is taken for EdDSA; "none" is never known. */
bool tg_alg_parse(struct tg_slice name, enum tg_alg *out);
const char *tg_alg_name(enum tg_alg alg);
