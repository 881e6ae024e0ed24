/*
 * proof - a signature that brings its own key (`jwk` in its header, RFC 7515 §4.1.3), worth something only to those who
 * know that key's thumbprint already (RFC 7638).
 *
 * The key passes the checks of every key (jwk.h). It must be public and asymmetric: one with a private or symmetric
 * member is refused, for whoever sends that has shown it to all. No socket, no clock.
 * Threads: any; each keeps the keys it met last.
 */
#pragma once
#include "jose/jws.h"

#define TG_THUMBPRINT 44                                 /* SHA-256 in base64url, and a NUL */

enum tg_proof_fault {
    TG_PROOF_OK,
    TG_PROOF_ALG,                                        /* not allowed; HS* never is */
    TG_PROOF_KEY,                                        /* no `jwk`, none that may be used, or not for this alg */
    TG_PROOF_OTHER_KEY,                                  /* not of that thumbprint: the signature was not looked at */
    TG_PROOF_SIGNATURE,
};
enum tg_proof_fault tg_proof_verify(const struct tg_jws *jws, tg_algs allowed, struct tg_slice thumbprint);

/* RFC 7638 §3 of a public key with SHA-256. */
enum tg_status tg_jwk_thumbprint(const cJSON *jwk, char out[TG_THUMBPRINT], struct tg_err *err);
