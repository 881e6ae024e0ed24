/*
 * identity - who is calling, as a verified token says.
 *
 * Immutable; counted without atomics, for it is one worker's own. The same whatever the token was: a signed one (JWT),
 * one that its provider vouched for (RFC 7662), a personal access token of tollgate itself.
 */
#pragma once
#include "auth/providers.h"
#include "base/claims.h"
#include "base/digest.h"

enum tg_identity_kind { TG_IDENTITY_SIGNED, TG_IDENTITY_INTROSPECTED, TG_IDENTITY_PAT };

struct tg_identity {
    unsigned refs;
    enum tg_identity_kind kind;
    const struct tg_provider *provider;
    struct tg_slice issuer, subject, email;              /* email empty when absent or no string */
    const struct tg_claims *claims;
    int64_t exp_s;                                       /* INT64_MAX: never (a PAT without expiry) */
    int64_t iat_s;                                       /* -1: not said */
    uint64_t key;                                        /* tg_hash of issuer and subject: for limits */
    struct tg_slice jti;                                 /* ptr NULL: not said */
    /*
     * RFC 7800 `cnf`: what its bearer has to hold. Empty: nothing of that kind. Both: both are required. A `cnf`
     * without either is refused when the identity is made.
     */
    struct tg_slice jkt;                                 /* RFC 9449: thumbprint of a DPoP key, base64url */
    struct tg_slice x5t;                                 /* RFC 8705 x5t#S256: of a client certificate, base64url */
    uint8_t digest[TG_SHA256_LEN];                       /* of the token */
    struct tg_slice token_id;                            /* first 8 hex of the digest, for logs */
};

/*
 * Makes the first reference from checked claims (`iss` and `sub` are there), which are taken over in every case. NULL:
 * claims that no identity can have (names that grow beyond all bounds, a `cnf` that names no way known here, a jkt or
 * x5t that is no SHA-256).
 *
 * The claim that the provider's groups_claim names, where it is an object or a list of objects (ZITADEL's role claims:
 * {role: {organisation id: its domain}}), is read as the list of its roles, each as ROLE and, for every organisation,
 * as ROLE@ORGANISATION; a role that holds an "@" itself is left out, for it could pass for another organisation's.
 */
const struct tg_identity *tg_identity_new(enum tg_identity_kind kind, const struct tg_provider *provider,
                                          cJSON *claims, int64_t exp_s, const uint8_t digest[TG_SHA256_LEN]);
/* What an identity with these claims holds in memory, about and rather more. */
size_t tg_identity_bytes(const struct tg_identity *id);
const struct tg_identity *tg_identity_ref(const struct tg_identity *id);
void tg_identity_unref(const struct tg_identity *id);    /* NULL is fine */

/* Whether the scope was granted: a word of `scope` (RFC 8693 §4.2, RFC 7662), or of `scp`, a text or a list. */
bool tg_scope_is_granted(const struct tg_claims *claims, struct tg_slice scope);
/* The claims as the rules of groups_claim leave them (see tg_identity_new): for explain. Takes over and returns it. */
cJSON *tg_identity_claims(const struct tg_provider *provider, cJSON *claims);
