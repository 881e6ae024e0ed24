/*
 * identity - who is calling, as a verified token says.
 *
 * Immutable; counted without atomics, for it is one worker's own.
 */
#pragma once
#include "auth/providers.h"
#include "base/claims.h"
#include "base/digest.h"

struct tg_identity {
    unsigned refs;
    const struct tg_provider *provider;
    struct tg_slice issuer, subject, email;              /* email empty when absent or no string */
    const struct tg_claims *claims;
    int64_t exp_s;
    uint64_t key;                                        /* tg_hash of issuer and subject: for limits */
    struct tg_slice token_id;                            /* first 8 hex of the token's SHA-256, for logs */
};

/*
 * Takes over `claims` (checked: `iss` and `sub` are there) and returns the first reference. `digest`: the token's
 * SHA-256.
 */
const struct tg_identity *tg_identity_new(const struct tg_provider *provider, struct tg_claims *claims, int64_t exp_s,
                                          const uint8_t digest[TG_SHA256_LEN]);
/* What an identity with these claims holds in memory, about and rather more. */
size_t tg_identity_bytes(const struct tg_identity *id);
const struct tg_identity *tg_identity_ref(const struct tg_identity *id);
void tg_identity_unref(const struct tg_identity *id);    /* NULL is fine */
