/*
 * jwt - the claims of a verified token against the rules of an issuer (RFC 7519, RFC 8725, RFC 9068).
 */
#pragma once
#include "base/claims.h"
#include "jose/jws.h"

enum tg_token_use { TG_USE_ANY, TG_USE_ACCESS, TG_USE_ID };

struct tg_jwt_rules {
    struct tg_slice issuer;                              /* exact; empty: any (verify without a provider) */
    const struct tg_slice *audiences;                    /* one of them must be in `aud`; count 0: not checked */
    size_t audience_count;
    int64_t leeway_s;
    enum tg_token_use token_use;                         /* access: `jti` required, at_hash, c_hash, s_hash, nonce, sid
                                                            refused; id: typ at+jwt refused, no more */
    bool rfc9068;                                        /* typ at+jwt, and client_id, iat, jti required (§2.2, §4) */
    bool introspected;                                   /* an answer of RFC 7662: exp, iss, aud, sub may lack */
    const struct tg_slice *required_claims;              /* each must be there and not null */
    size_t required_claim_count;
    int64_t max_lifetime_s, max_age_s;                   /* exp - iat, now - iat: then iat is required; 0: any */
};

/* Why a token is refused, for the log and `verify`; clients learn "expired" or "invalid" only. */
enum tg_jwt_fault {
    TG_JWT_OK, TG_JWT_PAYLOAD, TG_JWT_ISSUER, TG_JWT_AUDIENCE, TG_JWT_EXPIRED, TG_JWT_NOT_BEFORE, TG_JWT_ISSUED_AHEAD,
    TG_JWT_SUBJECT, TG_JWT_TYPE, TG_JWT_TIMES, TG_JWT_REQUIRED, TG_JWT_LIFETIME, TG_JWT_AGE
};
const char *tg_jwt_fault_name(enum tg_jwt_fault fault);  /* "expired", "audience", ... */

/* The payload as one strict JSON object; TG_BAD_INPUT otherwise. */
enum tg_status tg_jwt_claims(struct tg_slice payload, cJSON **out, struct tg_err *err);
/*
 * exp required and a finite NumericDate (a fraction is allowed; strings are not); refused when exp + leeway <= now,
 * nbf > now + leeway, iat > now + leeway; iss exact; aud a string or an array of strings; sub a non-empty string; typ
 * absent, JWT, at+jwt, application/at+jwt (case-insensitive), or "application/jwt". `exp_s`: when it ends, rounded
 * down; INT64_MAX: an answer that does not say. A token that breaks several rules is called expired only when that is
 * all that is wrong with it.
 */
enum tg_jwt_fault tg_jwt_check(const cJSON *claims, struct tg_slice typ, const struct tg_jwt_rules *rules,
                               int64_t now_s, int64_t *exp_s, struct tg_err *err);
/* A NumericDate in whole seconds, rounded down; -1: absent. False: there, but no number from 0 to 2^53. */
bool tg_jwt_time(const cJSON *claims, const char *name, int64_t *out);
