/*
 * mint_parts - a key to sign with, for the files that make and use one.
 */
#pragma once
#include "internal.h"
#include "jose/mint.h"

struct tg_signer {
    enum tg_alg alg;
    bool may_sign;                                       /* false: only the public half is here */
    EVP_PKEY *pkey;                                      /* NULL for HS* */
    struct tg_buf key;                                   /* PKCS#8 PEM, or the secret: what libjwt wants */
    struct tg_jwk *jwk;                                  /* the public half; NULL for HS* */
    struct tg_buf kid;                                   /* empty: none */
};

/* Takes over `pkey` in every case. The same checks a verifier would make: what we sign must be accepted. */
enum tg_status tg_signer_adopt(struct tg_signer *s, EVP_PKEY *pkey, struct tg_slice kid, struct tg_err *err);
