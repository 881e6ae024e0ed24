/*
 * bound - whether a token that is bound to a key is shown together with that key: DPoP (RFC 9449) and certificate-bound
 * tokens (RFC 8705).
 *
 * A token with `cnf` needs its proof on every route; a route may demand a bound token of one kind or of any.
 *
 * A client certificate counts for binding by its fingerprint alone (RFC 8705 §3): the handshake has shown that the
 * client holds its key, and the token's issuer has said which certificate it means, so nobody else has to vouch for it.
 * Whether one that no client CA signed may be used at all is up to downstream_mtls.enforcement and to policies, as with
 * every request: with `policy_with_default_deny` and `reject_connection` it never gets as far as a service.
 */
#pragma once
#include "auth/authn.h"
#include "auth/dpop.h"
#include "base/cert.h"

enum tg_possession { TG_POSSESSION_WHEN_BOUND, TG_POSSESSION_ANY, TG_POSSESSION_DPOP, TG_POSSESSION_MTLS };

struct tg_bound_request {
    const struct tg_identity *identity;
    enum tg_credential_kind scheme;                      /* BEARER or DPOP, as the client sent it */
    enum tg_possession demanded;                         /* by the route */
    const struct tg_cert *certificate;                   /* the client's of this connection; NULL: none */
    const struct tg_slice *proofs;                       /* every DPoP field value */
    size_t proof_count;
    struct tg_slice method;
    struct tg_slice scheme_name;                         /* "https" or "http", as the client sees this service; empty:
                                                            either */
    struct tg_slice authority;                           /* Host as the client sent it */
    struct tg_slice path;                                /* canonical */
    int64_t now_ms;
};
enum tg_bound_result {
    TG_BOUND_OK,
    TG_BOUND_INVALID,                                    /* 401 invalid_token: bound otherwise, or not bound at all */
    TG_BOUND_PROOF,                                      /* 401 invalid_dpop_proof (RFC 9449 §7.1) */
    TG_BOUND_NONCE,                                      /* 401 use_dpop_nonce, with a DPoP-Nonce (§9) */
};
/*
 * `reason`: a fixed word for the log ("bound-...", "proof-..."); NULL when OK. A proof that was accepted once in this
 * process is refused from then on. `dpop` NULL: every proof is refused.
 */
enum tg_bound_result tg_bound_check(struct tg_dpop *dpop, const struct tg_bound_request *request, const char **reason);
