/*
 * fuzz_bundle - a bundle, and what is inside one: whatever the bytes, no crash, and nothing opens that was not signed.
 *
 * The first byte says what the rest is: 'p' a payload, which is signed here, so that its readers are reached; else a
 * whole bundle, for which nobody has the key. What opens is written again, and opens again as the same set.
 */
#include "jose/mint.h"
#include "store/bundle.h"
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1800000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tg_signer *signer;
static struct tg_jwks *keys;
static struct tg_buf pem;
static char header[256];

static void make_key(void)
{
    if (tg_signer_generate(TG_ALG_EdDSA, &signer, NULL) != TG_OK || tg_signer_pem(signer, &pem, NULL) != TG_OK ||
        tg_jwks_from_pem(tg_buf_slice(&pem), &keys, NULL) != TG_OK)
        abort();
    snprintf(header, sizeof(header), "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"" TG_S_FMT "\"}",
             TG_S_ARG(tg_signer_kid(signer)));
}

static void again(const struct tg_set *set, const struct tg_bundle_facts *facts)
{
    struct tg_buf payload = {0}, bundle = {0};
    struct tg_bundle_facts other = {0};
    struct tg_set *same = NULL;

    if (tg_bundle_build(set, facts, &payload, NULL) != TG_OK ||
        tg_bundle_sign(tg_buf_slice(&payload), tg_buf_slice(&pem), &bundle, NULL) != TG_OK ||
        tg_bundle_open("b", tg_buf_slice(&bundle), keys, NOW, &same, &other, NULL) != TG_OK ||
        strcmp(tg_set_digest(set), tg_set_digest(same)) != 0 || other.sequence != facts->sequence ||
        other.issued_s != facts->issued_s || other.expires_s != facts->expires_s)
        abort();
    tg_set_unref(same);
    tg_buf_fini(&payload);
    tg_buf_fini(&bundle);
}

static void try_payload(struct tg_slice payload)
{
    struct tg_bundle_facts facts = {0};
    struct tg_set *set = NULL;
    struct tg_buf text = {0};

    if (tg_signer_sign_octets(signer, tg_slice_str(header), payload, &text, NULL) != TG_OK)
        abort();
    if (tg_bundle_open("b", tg_buf_slice(&text), keys, NOW, &set, &facts, NULL) == TG_OK) {
        again(set, &facts);
        tg_set_unref(set);
    }
    tg_buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice rest;
    struct tg_bundle_facts facts;
    struct tg_set *set;

    if (!signer)
        make_key();
    if (size == 0)
        return 0;
    rest = tg_slice((const char *)data + 1, size - 1);
    if (data[0] == 'p')
        try_payload(rest);
    else if (tg_bundle_open("b", rest, keys, NOW, &set, &facts, NULL) == TG_OK)
        abort();
    return 0;
}
