/* proof: a key as it is shown, by RFC 7638 and RFC 9449's own examples, and everything it must not be. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/json.h"
#include "jose/mint.h"
#include "jose/proof.h"

#define EVERY ((tg_algs)~0u)

static cJSON *json(const char *text)
{
    cJSON *root;

    assert_int_equal(tg_json_parse(tg_slice_str(text), NULL, &root, NULL), TG_OK);
    return root;
}

static enum tg_status thumbprint(const char *jwk, char out[TG_THUMBPRINT])
{
    cJSON *root = json(jwk);
    enum tg_status st = tg_jwk_thumbprint(root, out, NULL);

    cJSON_Delete(root);
    return st;
}

static void thumbprints(void **state)
{
    static const struct { const char *jwk, *want; } cases[] = {
        {"{\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6"
         "tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQM"
         "icAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-"
         "G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}",
         "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},  /* RFC 7638 §3.1 */
        {"{\"kty\":\"EC\",\"x\":\"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs\","
         "\"y\":\"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA\",\"crv\":\"P-256\"}",
         "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},  /* RFC 9449 §6.1 */
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
         "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},  /* RFC 8037 A.3 */
    };
    static const char *const no_keys[] = {
        "[]", "{}", "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T\"}",
        ("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\","
         "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}"),
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"d\":null}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\"oth\":[]}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
    };
    char got[TG_THUMBPRINT];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(thumbprint(cases[i].jwk, got), TG_OK);
        assert_string_equal(got, cases[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(no_keys); i++)
        assert_int_not_equal(thumbprint(no_keys[i], got), TG_OK);
}

/* `members` stand behind the key's own in the jwk; NULL: no jwk at all. */
static enum tg_proof_fault verify(const struct tg_signer *signer, const char *alg, const char *members,
                                  tg_algs allowed, struct tg_slice want, bool spoil)
{
    struct tg_buf header = {0}, token = {0};
    struct tg_slice key = tg_signer_jwk(signer);
    struct tg_arena arena;
    struct tg_jws jws;
    enum tg_proof_fault fault;

    tg_buf_addf(&header, "{\"alg\":\"%s\"", alg);
    if (members)
        tg_buf_addf(&header, ",\"jwk\":%.*s%s}", (int)key.len - 1, key.ptr, members);
    tg_buf_addc(&header, '}');
    assert_int_equal(tg_signer_sign_octets(signer, tg_buf_slice(&header), TG_S("{}"), &token, NULL), TG_OK);
    if (spoil)
        token.data[token.len - 5] = token.data[token.len - 5] == 'A' ? 'B' : 'A';
    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_jws_split(tg_buf_slice(&token), &arena, &jws, NULL), TG_OK);
    fault = tg_proof_verify(&jws, allowed, want);
    tg_jws_fini(&jws);
    tg_arena_fini(&arena);
    tg_buf_fini(&header);
    tg_buf_fini(&token);
    return fault;
}

static void proofs(void **state)
{
    static const enum tg_alg algs[] = {TG_ALG_ES256, TG_ALG_ES384, TG_ALG_ES512, TG_ALG_EdDSA, TG_ALG_RS256,
                                       TG_ALG_PS256};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        const char *alg = tg_alg_name(algs[i]), *other = algs[i] == TG_ALG_ES256 ? "ES384" : "ES256";
        struct tg_signer *signer, *stranger;
        struct tg_slice jkt;

        assert_int_equal(tg_signer_generate(algs[i], &signer, NULL), TG_OK);
        assert_int_equal(tg_signer_generate(algs[i], &stranger, NULL), TG_OK);
        jkt = tg_signer_kid(signer);                     /* its thumbprint */
        for (int again = 0; again < 2; again++) {        /* the second time the key is known */
            assert_int_equal(verify(signer, alg, "", EVERY, jkt, false), TG_PROOF_OK);
            assert_int_equal(verify(signer, alg, "", EVERY, jkt, true), TG_PROOF_SIGNATURE);
            assert_int_equal(verify(signer, alg, "", EVERY & ~TG_ALG_BIT(algs[i]), jkt, false), TG_PROOF_ALG);
            assert_int_equal(verify(signer, alg, NULL, EVERY, jkt, false), TG_PROOF_KEY);
            assert_int_equal(verify(signer, alg, ",\"d\":\"AQAB\"", EVERY, jkt, false), TG_PROOF_KEY);
            assert_int_equal(verify(signer, alg, ",\"k\":\"AQAB\"", EVERY, jkt, false), TG_PROOF_KEY);
            assert_int_equal(verify(signer, alg, ",\"key_ops\":[\"sign\"]", EVERY, jkt, false), TG_PROOF_KEY);
            assert_int_equal(verify(signer, alg, ",\"key_ops\":[\"verify\"]", EVERY, jkt, false), TG_PROOF_OK);
            assert_int_equal(verify(signer, alg, "", EVERY, tg_signer_kid(stranger), false), TG_PROOF_OTHER_KEY);
            assert_int_equal(verify(signer, alg, "", EVERY, TG_S(""), false), TG_PROOF_OTHER_KEY);
            assert_int_equal(verify(signer, other, "", EVERY, jkt, false), TG_PROOF_KEY);
            assert_int_equal(verify(signer, "HS256", "", EVERY, jkt, false), TG_PROOF_ALG);
        }
        tg_signer_free(signer);
        tg_signer_free(stranger);
    }
}

/* More keys than a thread keeps: each is still judged by itself. */
static void many_keys(void **state)
{
    struct tg_signer *signers[150];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(signers); i++)
        assert_int_equal(tg_signer_generate(TG_ALG_EdDSA, &signers[i], NULL), TG_OK);
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
            assert_int_equal(verify(signers[i], "EdDSA", "", EVERY, tg_signer_kid(signers[i]), false), TG_PROOF_OK);
            assert_int_equal(verify(signers[i], "EdDSA", "", EVERY, tg_signer_kid(signers[i]), true),
                             TG_PROOF_SIGNATURE);
        }
    for (size_t i = 0; i < ARRAY_LEN(signers); i++)
        tg_signer_free(signers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thumbprints),
        cmocka_unit_test(proofs),
        cmocka_unit_test(many_keys),
    };
    return cmocka_run_group_tests_name("jose/proof", tests, NULL, NULL);
}
