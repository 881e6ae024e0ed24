/*
 * dpop - DPoP proofs (RFC 9449 §4.3): one JWT a request, signed by the key that the token is bound to.
 *
 * typ dpop+jwt, an asymmetric alg of the list, a public `jwk` without private members, htm and htu of this request (htu
 * without query and fragment, compared after normalisation, RFC 3986 §6.2.2), iat within `lifetime` of now, ath of the
 * token, jkt the thumbprint of the jwk; a jti of that key that was seen is refused across all workers of the process,
 * by a table that is bounded (16 MiB) and refuses when it is full. With `require_nonce` a proof needs the nonce this
 * process gives out, which changes by time and is not kept anywhere; then no proof is of any worth to another process,
 * or to this one started again.
 */
#pragma once
#include "base/setting.h"
#include "jose/alg.h"

struct tg_dpop_settings {
    int64_t lifetime_ms;                                 /* of a proof: iat at most this old or ahead */
    bool require_nonce;
    tg_algs algs;
};
extern const struct tg_setting tg_dpop_rows[];           /* `dpop` */
extern const size_t tg_dpop_row_count;
/* `node` NULL: the defaults. */
bool tg_dpop_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_dpop_settings *out,
                  struct tg_problems *problems);

struct tg_dpop;                                          /* one per process: seen proofs, the secret of nonces */
struct tg_dpop *tg_dpop_new(void);                       /* with the defaults */
void tg_dpop_free(struct tg_dpop *d);                    /* NULL is fine */
void tg_dpop_bind(struct tg_dpop *d, const struct tg_dpop_settings *settings); /* any thread; copies them */
bool tg_dpop_wants_nonce(const struct tg_dpop *d);
/* The nonce to give out now; it is taken for 5 to 10 minutes. */
#define TG_DPOP_NONCE 44
void tg_dpop_nonce(const struct tg_dpop *d, int64_t now_ms, char out[TG_DPOP_NONCE]);

/* ---- one proof; any thread ---- */
#define TG_DPOP_PROOF_BYTES 8192                         /* longer ones are refused; RSA 16384 fits */
struct tg_dpop_request {
    const struct tg_slice *proofs;                       /* every DPoP field value */
    size_t proof_count;
    struct tg_slice thumbprint;                          /* of the key that the token is bound to (cnf.jkt) */
    const uint8_t *token_digest;                         /* of the token: TG_SHA256_LEN octets */
    struct tg_slice method;
    struct tg_slice scheme_name;                         /* "https" or "http"; empty: either */
    struct tg_slice authority;                           /* host[:port] */
    struct tg_slice path;                                /* canonical */
    int64_t now_ms;
};
enum tg_dpop_verdict {
    TG_DPOP_ACCEPTED,                                    /* once: from then on the same proof is refused */
    TG_DPOP_REFUSED,
    TG_DPOP_ASK_NONCE,                                   /* good but for its nonce, which is missing, old or not ours */
};
/* `reason`: a fixed word that says what is wrong with it ("proof-htu", "proof-replayed", ...), or "accepted". */
enum tg_dpop_verdict tg_dpop_check(struct tg_dpop *d, const struct tg_dpop_request *request, const char **reason);
