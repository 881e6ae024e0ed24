/*
 * issuer - keys and tokens for the tests of auth.
 */
#pragma once
#include "base/json.h"
#include "jose/mint.h"

static inline struct tg_signer *issuer_key(enum tg_alg alg)
{
    struct tg_signer *signer = NULL;

    tg_assert(tg_signer_generate(alg, &signer, NULL) == TG_OK);
    return signer;
}

/* A signed token with these claims; free() its ptr. */
static inline struct tg_slice issuer_token(const struct tg_signer *signer, const char *claims)
{
    struct tg_buf out = {0};
    struct tg_err err;

    if (tg_signer_sign(signer, tg_slice_str(claims), "JWT", &out, &err) != TG_OK)
        tg_panic(__FILE__, __LINE__, err.text);
    return tg_buf_slice(&out);
}

/* The public keys of up to two signers (NULL: none) as one JWK set. */
static inline void issuer_jwks(const struct tg_signer *a, const struct tg_signer *b, struct tg_buf *out)
{
    const struct tg_signer *signers[] = {a, b};
    const char *comma = "";

    tg_buf_adds(out, "{\"keys\":[");
    for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
        struct tg_buf text = {0};
        const cJSON *key;
        cJSON *root;

        if (!signers[i])
            continue;
        tg_signer_jwks(signers[i], &text);
        tg_assert(tg_json_parse(tg_buf_slice(&text), NULL, &root, NULL) == TG_OK);
        cJSON_ArrayForEach(key, tg_json_get(root, "keys"))
        {
            tg_buf_adds(out, comma);
            tg_json_print(out, key);
            comma = ",";
        }
        cJSON_Delete(root);
        tg_buf_fini(&text);
    }
    tg_buf_adds(out, "]}");
}
