/*
 * bundle_support - keys, and bundles of a small set signed with them.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "jose/mint.h"
#include "store/bundle.h"
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1800000000)
#define SET_OF(path) \
    "{\"policies\":[{\"name\":\"p\",\"ppl\":{\"allow\":{\"or\":[{\"accept\":true}]}}}]," \
    "\"routes\":[{\"from\":\"https://a.test\",\"prefix\":\"" path "\",\"to\":[\"http://127.0.0.1:9\"]," \
    "\"policies\":[\"p\"]}]}"

struct key {
    struct tg_signer *signer;
    struct tg_buf pem;
    struct tg_jwks *jwks;                                /* as a file of that key alone gives it */
};

static inline struct key make_key(enum tg_alg alg)
{
    struct key k = {0};

    assert_int_equal(tg_signer_generate(alg, &k.signer, NULL), TG_OK);
    assert_int_equal(tg_signer_pem(k.signer, &k.pem, NULL), TG_OK);
    assert_int_equal(tg_jwks_from_pem(tg_buf_slice(&k.pem), &k.jwks, NULL), TG_OK);
    return k;
}

static inline void free_key(struct key *k)
{
    tg_signer_free(k->signer);
    tg_buf_fini(&k->pem);
    tg_jwks_unref(k->jwks);
}

/* A bundle of `set`, a text. */
static inline void make_bundle(const struct key *k, const char *set, uint64_t sequence, int64_t issued_s,
                               int64_t expires_s, struct tg_buf *out)
{
    struct tg_bundle_facts facts = {.sequence = sequence, .issued_s = issued_s, .expires_s = expires_s};
    struct tg_buf payload = {0};
    struct tg_set *made = NULL;
    struct tg_err err = {0};

    out->len = 0;
    if (tg_set_parse("set", tg_slice_str(set), &made, &err) != TG_OK ||
        tg_bundle_build(made, &facts, &payload, &err) != TG_OK ||
        tg_bundle_sign(tg_buf_slice(&payload), tg_buf_slice(&k->pem), out, &err) != TG_OK)
        fail_msg("no bundle: %s", err.text);
    tg_set_unref(made);
    tg_buf_fini(&payload);
}

/* Signed by hand, whatever it says. */
static inline void sign_raw(const struct key *k, const char *header, struct tg_slice payload, struct tg_buf *out)
{
    out->len = 0;
    assert_int_equal(tg_signer_sign_octets(k->signer, tg_slice_str(header), payload, out, NULL), TG_OK);
}

/* {"alg":"EdDSA","typ":"tollgate-bundle","kid":...} of that key, in place of whose `kid` another text may stand. */
static inline const char *header_of(const struct key *k, char out[static 256])
{
    snprintf(out, 256, "{\"alg\":\"EdDSA\",\"typ\":\"tollgate-bundle\",\"kid\":\"" TG_S_FMT "\"}",
             TG_S_ARG(tg_signer_kid(k->signer)));
    return out;
}
