/*
 * assertion_parts - between the files that make assertions: the keys in use, and the text that is signed.
 */
#pragma once
#include "auth/assertion.h"
#include <stdatomic.h>

/* ---- assertion_keys.c ---- */

struct tg_signing_keys {                                 /* those of one configuration; immutable, counted */
    atomic_uint refs;
    struct tg_signer *signers[TG_SIGNERS_MAX];
    size_t count;
    const struct tg_signer *signing;                     /* one of them */
};
/* Changes with the key that signs. One load; any thread. */
uint64_t tg_signing_version(const struct tg_signing *s);
/* A reference to what signs now, and its version; NULL: nothing does. */
struct tg_signing_keys *tg_signing_keys(struct tg_signing *s, uint64_t *version);

/* ---- assertion_claims.c ---- */

#define TG_ASSERTION_SECONDS 300
/* The claims of an assertion issued now, as a JSON object. */
void tg_assertion_claims(const struct tg_assertion_subject *subject, int64_t now_s, struct tg_buf *out);
