/* test_mint - signing, and libjwt as differential partner. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/digest.h"
#include "jose/jws.h"
#include "jose/mint.h"
#include "rfc_vectors.h"
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#define CLAIMS "{\"iss\":\"https://a\",\"sub\":\"u\",\"exp\":1000100,\"groups\":[\"x\",\"\\u00e9\"]}"
#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct tg_signer *signer_for(enum tg_alg alg)
{
    struct tg_signer *s = NULL;
    struct tg_err err = {0};
    enum tg_status st = TG_ALGS_HMAC & TG_ALG_BIT(alg) ? tg_signer_load(alg, TG_S(SECRET), tg_slice(NULL, 0), &s, &err)
                                                       : tg_signer_generate(alg, &s, &err);
    if (st != TG_OK)
        fail_msg("%s: %s", tg_alg_name(alg), err.text);
    return s;
}

static struct tg_jwks *keys_for(const struct tg_signer *s, enum tg_alg alg)
{
    struct tg_jwks *keys = NULL;
    struct tg_buf json = {0};

    if (TG_ALGS_HMAC & TG_ALG_BIT(alg)) {
        assert_int_equal(tg_jwks_from_secret(TG_S(SECRET), &keys, NULL), TG_OK);
        return keys;
    }
    tg_signer_jwks(s, &json);
    assert_int_equal(tg_jwks_parse(tg_buf_slice(&json), false, &keys, NULL), TG_OK);
    assert_int_equal(tg_jwks_count(keys), 1);
    tg_buf_fini(&json);
    return keys;
}

static enum tg_status verify(struct tg_slice token, const struct tg_jwks *keys, enum tg_alg alg, const char *typ)
{
    struct tg_arena arena;
    struct tg_jws jws;
    enum tg_status st;

    tg_arena_init(&arena, NULL, 0);
    st = tg_jws_split(token, &arena, &jws, NULL);
    if (st == TG_OK) {
        st = tg_jws_verify(&jws, keys, TG_ALG_BIT(alg), NULL);
        if (st == TG_OK && typ)
            assert_true(tg_slice_eq(jws.typ, tg_slice_str(typ)));
        tg_jws_fini(&jws);
    }
    tg_arena_fini(&arena);
    return st;
}

/* The key as libjwt wants it: the public PEM, or the secret. */
static void libjwt_key(const struct tg_signer *s, enum tg_alg alg, struct tg_buf *out)
{
    struct tg_buf pem = {0};
    EVP_PKEY *pkey;
    BIO *bio;
    char *data;
    long len;

    if (TG_ALGS_HMAC & TG_ALG_BIT(alg)) {
        tg_buf_adds(out, SECRET);
        return;
    }
    assert_int_equal(tg_signer_pem(s, &pem, NULL), TG_OK);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_non_null(pkey);
    BIO_free(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, pkey);
    len = BIO_get_mem_data(bio, &data);
    tg_buf_add(out, data, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    tg_buf_fini(&pem);
}

static bool libjwt_takes(struct tg_slice token, const struct tg_buf *key)
{
    char *text = tg_slice_dup(token);
    jwt_t *jwt = NULL;
    bool ok = jwt_decode(&jwt, text, (const unsigned char *)key->data, (int)key->len) == 0;

    jwt_free(jwt);
    free(text);
    return ok;
}

/* Two verifiers with nothing in common agree on what we sign and on what was tampered with. */
static void both_verify(void **state)
{
    (void)state;
    for (unsigned a = 0; a < TG_ALG_COUNT; a++) {
        enum tg_alg alg = (enum tg_alg)a;
        bool libjwt_knows = !(alg >= TG_ALG_PS256 && alg <= TG_ALG_PS512) && alg != TG_ALG_EdDSA;
        struct tg_signer *s = signer_for(alg);
        struct tg_jwks *keys = keys_for(s, alg);
        struct tg_buf token = {0}, key = {0};
        struct tg_slice whole;
        size_t body;

        libjwt_key(s, alg, &key);
        assert_int_equal(tg_signer_sign(s, TG_S(CLAIMS), "JWT", &token, NULL), TG_OK);
        whole = tg_buf_slice(&token);
        if (verify(whole, keys, alg, "JWT") != TG_OK)
            fail_msg("%s", tg_alg_name(alg));
        assert_int_equal(libjwt_takes(whole, &key), libjwt_knows);
        body = (size_t)((char *)memchr(whole.ptr, '.', whole.len) - whole.ptr) + 1;
        for (size_t at = body; at + 2 < whole.len; at += 11) {
            char was = token.data[at];

            if (was == '.')
                continue;
            token.data[at] = was == 'A' ? 'B' : 'A';
            assert_int_not_equal(verify(whole, keys, alg, NULL), TG_OK);
            assert_false(libjwt_takes(whole, &key));
            token.data[at] = was;
        }
        tg_buf_fini(&token);
        tg_buf_fini(&key);
        tg_jwks_unref(keys);
        tg_signer_free(s);
    }
}

static void access_token_type(void **state)
{
    (void)state;
    for (unsigned i = 0; i < TG_ALG_COUNT; i++) {
        struct tg_signer *s = signer_for((enum tg_alg)i);
        struct tg_jwks *keys = keys_for(s, (enum tg_alg)i);
        struct tg_buf token = {0};

        tg_buf_adds(&token, "Bearer ");                  /* appended to what is there */
        assert_int_equal(tg_signer_sign(s, TG_S(CLAIMS), "at+jwt", &token, NULL), TG_OK);
        assert_int_equal(verify(tg_slice(token.data + 7, token.len - 7), keys, (enum tg_alg)i, "at+jwt"), TG_OK);
        tg_buf_fini(&token);
        tg_jwks_unref(keys);
        tg_signer_free(s);
    }
}

static void claims_refused(void **state)
{
    static const char *const bad[] = {"", "[]", "1", "{", "{}x", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}"};
    struct tg_signer *s = signer_for(TG_ALG_HS256), *ed = signer_for(TG_ALG_EdDSA);
    struct tg_buf token = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(tg_signer_sign(s, tg_slice_str(bad[i]), "JWT", &token, NULL), TG_BAD_INPUT);
        assert_int_equal(tg_signer_sign(ed, tg_slice_str(bad[i]), "JWT", &token, NULL), TG_BAD_INPUT);
    }
    assert_int_equal(token.len, 0);
    tg_signer_free(s);
    tg_signer_free(ed);
    tg_buf_fini(&token);
}

/* Kept as PEM and loaded again: the same key, the same kid. */
static void kept_for_later(void **state)
{
    static const enum tg_alg algs[] = {TG_ALG_RS256, TG_ALG_ES256, TG_ALG_ES384, TG_ALG_ES512, TG_ALG_EdDSA};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        struct tg_signer *s = signer_for(algs[i]), *again = NULL, *named = NULL;
        struct tg_buf pem = {0}, one = {0}, two = {0}, three = {0};

        assert_int_equal(tg_signer_pem(s, &pem, NULL), TG_OK);
        assert_int_equal(tg_signer_load(algs[i], tg_buf_slice(&pem), tg_slice(NULL, 0), &again, NULL), TG_OK);
        assert_int_equal(tg_signer_load(algs[i], tg_buf_slice(&pem), TG_S("my key"), &named, NULL), TG_OK);
        tg_signer_jwks(s, &one);
        tg_signer_jwks(again, &two);
        tg_signer_jwks(named, &three);
        assert_string_equal(tg_buf_cstr(&one), tg_buf_cstr(&two));
        assert_non_null(strstr(tg_buf_cstr(&three), "\"kid\":\"my key\""));
        assert_null(strstr(tg_buf_cstr(&one), "\"d\""));
        for (size_t cut = 0; cut + 1 < pem.len; cut += 13) {
            struct tg_signer *none;
            assert_int_equal(tg_signer_load(algs[i], tg_slice(pem.data, cut), tg_slice(NULL, 0), &none, NULL),
                             TG_BAD_INPUT);
        }
        tg_buf_fini(&pem);
        tg_buf_fini(&one);
        tg_buf_fini(&two);
        tg_buf_fini(&three);
        tg_signer_free(s);
        tg_signer_free(again);
        tg_signer_free(named);
    }
}

/* RFC 8037 A.1 and A.3: the private key there and its thumbprint; A.4: Ed25519 signs the same each time. */
static void rfc8037(void **state)
{
    static const uint8_t seed[32] = {0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4,
                                     0x92, 0xec, 0x2c, 0xc4,
                                     0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
                                     0x1c, 0xae, 0x7f, 0x60};
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, seed, sizeof(seed));
    BIO *bio = BIO_new(BIO_s_mem());
    struct tg_buf jwks = {0};
    struct tg_signer *s;
    char *data;
    long len;

    (void)state;
    assert_non_null(pkey);
    PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);
    len = BIO_get_mem_data(bio, &data);
    assert_int_equal(tg_signer_load(TG_ALG_EdDSA, tg_slice(data, (size_t)len), tg_slice(NULL, 0), &s, NULL), TG_OK);
    tg_signer_jwks(s, &jwks);
    assert_non_null(strstr(tg_buf_cstr(&jwks), "\"x\":\"" RFC8037_X "\""));
    assert_non_null(strstr(tg_buf_cstr(&jwks), "\"kid\":\"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k\""));
    tg_buf_fini(&jwks);
    tg_signer_free(s);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
}

static void keys_refused(void **state)
{
    struct tg_signer *s = signer_for(TG_ALG_ES256), *none;
    struct tg_buf pem = {0};

    (void)state;
    assert_int_equal(tg_signer_generate(TG_ALG_HS256, &none, NULL), TG_UNSUPPORTED);
    assert_int_equal(tg_signer_generate(TG_ALG_COUNT, &none, NULL), TG_UNSUPPORTED);
    assert_int_equal(tg_signer_load(TG_ALG_COUNT, TG_S("x"), TG_S(""), &none, NULL), TG_UNSUPPORTED);
    assert_int_equal(tg_signer_load(TG_ALG_HS256, tg_slice(SECRET, 31), TG_S(""), &none, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_signer_load(TG_ALG_HS512, tg_slice(SECRET, 63), TG_S(""), &none, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_signer_load(TG_ALG_RS256, TG_S(""), TG_S(""), &none, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_signer_pem(s, &pem, NULL), TG_OK);
    assert_int_equal(tg_signer_load(TG_ALG_RS256, tg_buf_slice(&pem), TG_S(""), &none, NULL), TG_BAD_INPUT); /* EC */
    assert_int_equal(tg_signer_load(TG_ALG_ES384, tg_buf_slice(&pem), TG_S(""), &none, NULL), TG_BAD_INPUT); /* P-256 */
    tg_buf_fini(&pem);
    tg_signer_free(s);
    s = signer_for(TG_ALG_HS256);
    assert_int_equal(tg_signer_pem(s, &pem, NULL), TG_UNSUPPORTED);
    tg_signer_jwks(s, &pem);
    assert_string_equal(tg_buf_cstr(&pem), "{\"keys\":[]}");
    tg_buf_fini(&pem);
    tg_signer_free(s);
    tg_signer_free(NULL);
}

/* ---- a file of several ---- */

static void add_pem(struct tg_buf *text, enum tg_alg alg, bool public_half)
{
    struct tg_signer *s = signer_for(alg);
    struct tg_buf pem = {0};
    EVP_PKEY *pkey;
    BIO *bio, *out = BIO_new(BIO_s_mem());
    char *data;
    long len;

    assert_int_equal(tg_signer_pem(s, &pem, NULL), TG_OK);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_non_null(pkey);
    assert_int_equal(public_half ? PEM_write_bio_PUBKEY(out, pkey)
                                 : PEM_write_bio_PrivateKey_traditional(out, pkey, NULL, NULL, 0, NULL, NULL), 1);
    len = BIO_get_mem_data(out, &data);
    tg_buf_add(text, data, (size_t)len);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    BIO_free(out);
    tg_buf_fini(&pem);
    tg_signer_free(s);
}

/* Ed25519 has no traditional form. */
static void add_pkcs8(struct tg_buf *text, enum tg_alg alg)
{
    struct tg_signer *s = signer_for(alg);

    assert_int_equal(tg_signer_pem(s, text, NULL), TG_OK);
    tg_signer_free(s);
}

static void files_of_keys(void **state)
{
    static const char parameters[] = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    struct tg_signer *keys[TG_SIGNERS_MAX];
    struct tg_buf text = {0}, token = {0};
    struct tg_err err = {0};
    size_t count = 0;

    (void)state;
    tg_buf_adds(&text, "old and new, side by side\n");
    tg_buf_adds(&text, parameters);
    add_pem(&text, TG_ALG_ES256, false);
    add_pkcs8(&text, TG_ALG_EdDSA);
    add_pem(&text, TG_ALG_ES256, true);
    tg_buf_reserve(&text, text.len);
    tg_buf_add(&text, text.data, text.len);              /* all of it twice: each counts once */
    if (tg_signers_read(tg_buf_slice(&text), keys, &count, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        enum tg_alg alg = i == 1 ? TG_ALG_EdDSA : TG_ALG_ES256;

        assert_int_equal(tg_signer_kid(keys[i]).len, 43);
        assert_true(tg_slice_contains(tg_signer_jwk(keys[i]), tg_signer_kid(keys[i])));
        assert_int_equal(tg_signer_may_sign(keys[i]), i < 2);
        token.len = 0;
        assert_int_equal(tg_signer_sign_ours(keys[i], TG_S(CLAIMS), &token, NULL), i < 2 ? TG_OK : TG_UNSUPPORTED);
        if (i < 2) {
            struct tg_jwks *set = keys_for(keys[i], alg);

            assert_int_equal(verify(tg_buf_slice(&token), set, alg, "JWT"), TG_OK);
            tg_jwks_unref(set);
        } else {
            assert_int_equal(tg_signer_pem(keys[i], &token, NULL), TG_UNSUPPORTED);
            assert_int_not_equal(tg_signer_sign(keys[i], TG_S(CLAIMS), "JWT", &token, NULL), TG_OK);
            assert_int_equal(token.len, 0);
        }
        tg_signer_free(keys[i]);
    }
    tg_buf_fini(&text);
    tg_buf_fini(&token);
}

/* The public half first: the pair can sign all the same. */
static void both_halves(void **state)
{
    struct tg_signer *s = signer_for(TG_ALG_EdDSA), *keys[TG_SIGNERS_MAX];
    struct tg_buf pem = {0}, text = {0};
    BIO *bio, *out = BIO_new(BIO_s_mem());
    EVP_PKEY *pkey;
    size_t count = 0;
    char *data;
    long len;

    (void)state;
    assert_int_equal(tg_signer_pem(s, &pem, NULL), TG_OK);
    bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    PEM_write_bio_PUBKEY(out, pkey);
    len = BIO_get_mem_data(out, &data);
    tg_buf_add(&text, data, (size_t)len);
    tg_buf_add_slice(&text, tg_buf_slice(&pem));
    assert_int_equal(tg_signers_read(tg_buf_slice(&text), keys, &count, NULL), TG_OK);
    assert_int_equal(count, 1);
    assert_true(tg_signer_may_sign(keys[0]));
    tg_signer_free(keys[0]);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    BIO_free(out);
    tg_buf_fini(&pem);
    tg_buf_fini(&text);
    tg_signer_free(s);
}

static void files_refused(void **state)
{
    static const char *const bad[] = {
        "", "nothing", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
         "-----END EC PRIVATE KEY-----\n"),
    };
    static const enum tg_alg unfit[] = {TG_ALG_RS256, TG_ALG_ES384, TG_ALG_ES512};
    struct tg_signer *keys[TG_SIGNERS_MAX];
    struct tg_buf text = {0};
    struct tg_err err = {0};
    size_t count = 7;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(tg_signers_read(tg_slice_str(bad[i]), keys, &count, &err), TG_BAD_INPUT);
        assert_int_equal(count, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(unfit); i++) {
        text.len = 0;
        add_pkcs8(&text, TG_ALG_ES256);
        add_pkcs8(&text, unfit[i]);
        assert_int_equal(tg_signers_read(tg_buf_slice(&text), keys, &count, &err), TG_UNSUPPORTED);
        assert_int_equal(count, 0);
    }
    text.len = 0;
    for (int i = 0; i <= TG_SIGNERS_MAX; i++)
        add_pkcs8(&text, TG_ALG_EdDSA);
    assert_int_equal(tg_signers_read(tg_buf_slice(&text), keys, &count, &err), TG_LIMIT);
    tg_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_verify), cmocka_unit_test(access_token_type), cmocka_unit_test(claims_refused),
        cmocka_unit_test(kept_for_later), cmocka_unit_test(rfc8037), cmocka_unit_test(keys_refused),
        cmocka_unit_test(files_of_keys), cmocka_unit_test(both_halves), cmocka_unit_test(files_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
