/*
 * fuzz_jws - a token, its claims, a key set: whatever the bytes, no crash, and nothing unsigned is ever accepted.
 *
 * The first byte says what the rest is: 'k' a key set, else a token. The keys are those of RFC 7515 A.2 and A.3 and
 * RFC 8037 and nobody here has their private halves, so an accepted token must be one of the seeds' own.
 */
#include "jose/jwt.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char keys_json[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"
    "4qPCJrcS2mJPMEzP1Pt"
    "0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-"
    "KXBdQOS-"
    "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
    "h9iaGNj8q2ethFkMLs91kzk2PA"
    "cDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
    "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

/* The signing inputs those keys did sign in the RFCs. */
static bool is_published(struct tg_slice input)
{
    return tg_slice_ends_with(input, TG_S(".RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")) ||
           tg_slice_ends_with(
               input, TG_S(".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
                           "Ijp0cnVlfQ"));
}

static void try_keys(struct tg_slice json)
{
    struct tg_jwks *set, *again;
    struct tg_buf text = {0};

    if (tg_jwks_parse(json, true, &set, NULL) != TG_OK)
        return;
    tg_jwks_print(set, &text);
    if (tg_jwks_parse(tg_buf_slice(&text), false, &again, NULL) != TG_OK || tg_jwks_skipped(again) ||
        !tg_jwks_covers(set, again))
        abort();                                         /* what we print we read, and it is the same */
    for (size_t i = 0; i < tg_jwks_skipped(set); i++) {
        if (!tg_jwks_skip_reason(set, i))
            abort();
    }
    tg_jwks_unref(again);
    tg_jwks_unref(set);
    tg_buf_fini(&text);
}

static void try_claims(const struct tg_jws *jws)
{
    static const struct tg_slice audience = TG_S_INIT("api");
    cJSON *claims;

    if (tg_jwt_claims(jws->payload, &claims, NULL) != TG_OK)
        return;
    for (int use = TG_USE_ANY; use <= TG_USE_ID; use++) {
        const struct tg_jwt_rules rules = {.audiences = &audience, .audience_count = use == TG_USE_ANY ? 0 : 1,
                                           .leeway_s = 30, .token_use = (enum tg_token_use)use};
        int64_t exp_s = -1;

        if (tg_jwt_check(claims, jws->typ, &rules, 1000000, &exp_s, NULL) == TG_JWT_OK && exp_s + 30 <= 1000000)
            abort();
    }
    cJSON_Delete(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tg_jwks *keys;
    struct tg_arena arena;
    struct tg_jws jws;

    if (!keys && tg_jwks_parse(tg_slice_str(keys_json), false, &keys, NULL) != TG_OK)
        abort();
    if (size && data[0] == 'k') {
        try_keys(tg_slice((const char *)data + 1, size - 1));
        return 0;
    }
    tg_arena_init(&arena, NULL, 0);
    if (tg_jws_split(tg_slice((const char *)data, size), &arena, &jws, NULL) == TG_OK) {
        if (tg_jws_verify(&jws, keys, TG_ALGS_DEFAULT, NULL) == TG_OK && !is_published(jws.signing_input))
            abort();
        try_claims(&jws);
        tg_jws_fini(&jws);
    }
    tg_arena_fini(&arena);
    return 0;
}
