/*
 * bound - what a token's `cnf` and the route ask for, against what the request shows.
 *
 * All that needs no signature comes first, so that a proof is not used up by a request that is refused anyway.
 */
#include "auth/bound.h"

/* RFC 8705 §3.1: the certificate's SHA-256 in base64url; a certificate's facts hold it in hex. */
static bool is_certificate(struct tg_slice x5t, const struct tg_cert *cert)
{
    uint8_t digest[TG_SHA256_LEN + 1];
    char hex[2 * sizeof(digest) + 1];
    size_t len;

    if (!cert || x5t.len != 43 || !tg_base64url_decode(x5t, digest, &len) || len != TG_SHA256_LEN)
        return false;
    tg_hex(digest, len, hex);
    return strcmp(hex, cert->fingerprint) == 0;
}

/* NULL: it may be used so; else why not. */
static const char *check_kind(const struct tg_bound_request *r)
{
    bool key = r->identity->jkt.len > 0, certificate = r->identity->x5t.len > 0;

    if (r->scheme == TG_CREDENTIAL_DPOP && !key)         /* RFC 9449 §7.1: the scheme says that it is */
        return "bound-not";
    if (r->scheme != TG_CREDENTIAL_DPOP && key)          /* §7.1, §7.2: never as a bearer token */
        return "bound-scheme";
    if ((r->demanded == TG_POSSESSION_DPOP && !key) || (r->demanded == TG_POSSESSION_MTLS && !certificate) ||
        (r->demanded == TG_POSSESSION_ANY && !key && !certificate))
        return "bound-demanded";
    if (certificate && !r->certificate)
        return "bound-no-certificate";
    if (certificate && !is_certificate(r->identity->x5t, r->certificate))
        return "bound-certificate";
    return NULL;
}

enum tg_bound_result tg_bound_check(struct tg_dpop *dpop, const struct tg_bound_request *request, const char **reason)
{
    struct tg_dpop_request proof = {
        .proofs = request->proofs,
        .proof_count = request->proof_count,
        .thumbprint = request->identity->jkt,
        .token_digest = request->identity->digest,
        .method = request->method,
        .scheme_name = request->scheme_name,
        .authority = request->authority,
        .path = request->path,
        .now_ms = request->now_ms,
    };

    *reason = check_kind(request);
    if (*reason)
        return TG_BOUND_INVALID;
    if (request->identity->jkt.len == 0)
        return TG_BOUND_OK;
    if (!dpop) {
        *reason = "proof-unknown";
        return TG_BOUND_PROOF;
    }
    switch (tg_dpop_check(dpop, &proof, reason)) {
    case TG_DPOP_ACCEPTED:
        *reason = NULL;
        return TG_BOUND_OK;
    case TG_DPOP_ASK_NONCE:
        return TG_BOUND_NONCE;
    case TG_DPOP_REFUSED:
        break;
    }
    return TG_BOUND_PROOF;
}
