/*
 * identity - one block of memory and the claims it points into.
 */
#include "auth/identity.h"
#include "base/hash.h"
#include "base/json.h"
#include <stdlib.h>

#define ID_BYTES 4                                       /* of the digest: enough to find a token's lines in a log */

struct whole {
    struct tg_identity id;                               /* first: an identity is its whole */
    char token_id[2 * ID_BYTES + 1];
};

const struct tg_identity *tg_identity_new(const struct tg_provider *provider, struct tg_claims *claims, int64_t exp_s,
                                          const uint8_t digest[TG_SHA256_LEN])
{
    struct whole *w = TG_NEW(struct whole);
    struct tg_identity *id = &w->id;
    const cJSON *json = tg_claims_json(claims);

    id->refs = 1;
    id->provider = provider;
    id->claims = claims;
    id->exp_s = exp_s;
    tg_json_str(tg_json_get(json, "iss"), &id->issuer);
    tg_json_str(tg_json_get(json, "sub"), &id->subject);
    tg_json_str(tg_json_get(json, "email"), &id->email);
    id->key = tg_hash2(tg_hash_slice(id->issuer), tg_hash_slice(id->subject));
    tg_hex(digest, ID_BYTES, w->token_id);
    id->token_id = tg_slice(w->token_id, 2 * (size_t)ID_BYTES);
    return id;
}

const struct tg_identity *tg_identity_ref(const struct tg_identity *id)
{
    ((struct tg_identity *)(uintptr_t)id)->refs++;       /* const for all but the count */
    return id;
}

void tg_identity_unref(const struct tg_identity *id)
{
    struct whole *w = (struct whole *)(uintptr_t)id;

    if (!w || --w->id.refs)
        return;
    tg_claims_free((struct tg_claims *)(uintptr_t)w->id.claims);
    free(w);
}

size_t tg_identity_bytes(const struct tg_identity *id)
{
    return sizeof(struct whole) + tg_claims_bytes(id->claims);
}
