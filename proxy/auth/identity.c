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

/* A node, its allocator's overhead, and the flattened claim made of it. */
#define NODE_BYTES (sizeof(cJSON) + sizeof(struct tg_claim) + sizeof(struct tg_claim_value) + 64)

static size_t tree_bytes(const cJSON *node)
{
    size_t sum = 0;

    for (; node; node = node->next) {
        sum += NODE_BYTES;
        if (node->string)
            sum += 2 * strlen(node->string);
        if (node->valuestring)
            sum += strlen(node->valuestring);
        sum += tree_bytes(node->child);                  /* depth is bounded by base/json */
    }
    return sum;
}

size_t tg_identity_bytes(const struct tg_identity *id)
{
    return sizeof(struct whole) + tree_bytes(tg_claims_json(id->claims));
}
