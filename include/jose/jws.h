/*
 * jws - a compact signature split and verified (RFC 7515), strictly.
 *
 * Three canonical base64url segments; the header is one JSON object with no duplicate member and valid UTF-8; `alg` is
 * in the caller's allow-list, fits the key's type and curve and the key's own `alg`; `crit` refused; `b64` refused;
 * `typ`, `cty` and `kid` are strings when present; jku, jwk, x5u, x5c are never followed. Signature lengths are exact.
 * No socket, no clock.
 */
#pragma once
#include "base/arena.h"
#include "jose/jwk.h"
#include <cjson/cJSON.h>

struct tg_jws {
    struct tg_slice signing_input;                       /* header.payload as sent */
    struct tg_slice payload;                             /* decoded; in the arena */
    struct tg_slice signature;                           /* decoded; in the arena */
    enum tg_alg alg;
    struct tg_slice kid;                                 /* ptr NULL: absent */
    struct tg_slice typ;                                 /* ptr NULL: absent */
    cJSON *header;                                       /* owned: tg_jws_fini */
};

/* Splits and decodes; nothing is trusted yet. An `alg` nobody knows (or none) is TG_BAD_INPUT. */
enum tg_status tg_jws_split(struct tg_slice token, struct tg_arena *arena, struct tg_jws *out, struct tg_err *err);
void tg_jws_fini(struct tg_jws *jws);

/*
 * TG_OK: signed by a key of the set. TG_NOT_FOUND: no key has this kid (or there is no kid and not exactly one key
 * fits): a fresh set may know it. TG_CRYPTO: the signature is wrong. TG_BAD_INPUT: alg not in `allowed`, or the key of
 * that kid does not fit. Keys without a kid are candidates for a token with one only when the set has a single key
 * that fits, or is tried in turn (PEM, secrets; jwk.h).
 */
enum tg_status tg_jws_verify(const struct tg_jws *jws, const struct tg_jwks *keys, tg_algs allowed, struct tg_err *err);
