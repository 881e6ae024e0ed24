/* test_jws - splitting and verifying compact signatures. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/digest.h"
#include "jose/jws.h"
#include "jose/mint.h"
#include "rfc_vectors.h"
#include <openssl/bn.h>
#include <pthread.h>
#include <stdlib.h>

#define ALL_ASYMMETRIC ((TG_ALG_BIT(TG_ALG_COUNT) - 1) & ~TG_ALGS_HMAC)

static struct tg_jwks *keys_of(const char *json, bool hmac)
{
    struct tg_jwks *set = NULL;
    struct tg_err err = {0};

    if (tg_jwks_parse(tg_slice_str(json), hmac, &set, &err) != TG_OK)
        fail_msg("%s: %s", json, err.text);
    return set;
}

static enum tg_status verify(struct tg_slice token, const struct tg_jwks *keys, tg_algs allowed)
{
    struct tg_arena arena;
    struct tg_jws jws;
    enum tg_status st;

    tg_arena_init(&arena, NULL, 0);
    st = tg_jws_split(token, &arena, &jws, NULL);
    if (st == TG_OK) {
        st = tg_jws_verify(&jws, keys, allowed, NULL);
        tg_jws_fini(&jws);
    }
    tg_arena_fini(&arena);
    return st;
}

static const struct { const char *why, *key, *token; bool hmac; } vectors[] = {
    {"RFC 7515 A.1",   A1_KEY,                  A1_TOKEN,      true},
    {"RFC 7515 A.2",   "{" A2_MEMBERS "}",      A2_TOKEN,      false},
    {"RFC 7515 A.3",   "{" A3_MEMBERS "}",      A3_TOKEN,      false},
    {"RFC 7515 A.4",   "{" A4_MEMBERS "}",      A4_TOKEN,      false},
    {"RFC 8037 A.4",   "{" RFC8037_MEMBERS "}", RFC8037_TOKEN, false},
    {"RFC 7520 §4.4",  RFC7520_KEY,             RFC7520_TOKEN, true},
};

static void rfc_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct tg_jwks *keys = keys_of(vectors[i].key, vectors[i].hmac);
        tg_algs allowed = vectors[i].hmac ? TG_ALGS_HMAC : ALL_ASYMMETRIC;
        struct tg_slice token = tg_slice_str(vectors[i].token);
        char *copy = tg_slice_dup(token);

        if (verify(token, keys, allowed) != TG_OK)
            fail_msg("%s", vectors[i].why);
        assert_int_equal(verify(token, keys, 0), TG_BAD_INPUT);
        assert_int_equal(verify(token, keys, allowed ^ (tg_algs)-1), TG_BAD_INPUT);
        assert_int_equal(verify(token, keys, (tg_algs)-1), TG_BAD_INPUT); /* HS* among others: never */
        for (size_t at = 0; at < token.len; at++) {      /* no other spelling and no changed bit is the same token */
            static const char instead[] = "AZ-_.=+/ \n\x80";

            for (size_t k = 0; k < sizeof(instead); k++) {
                copy[at] = instead[k];
                if (copy[at] != token.ptr[at] && verify(tg_slice(copy, token.len), keys, allowed) == TG_OK)
                    fail_msg("%s: byte %zu as 0x%02x", vectors[i].why, at, instead[k]);
            }
            copy[at] = (char)(token.ptr[at] ^ 1);
            assert_int_not_equal(verify(tg_slice(copy, token.len), keys, allowed), TG_OK);
            copy[at] = token.ptr[at];
            assert_int_not_equal(verify(tg_slice(copy, at), keys, allowed), TG_OK);
            assert_int_not_equal(verify(tg_slice(copy + at + 1, token.len - at - 1), keys, allowed), TG_OK);
        }
        assert_int_equal(verify(token, keys, allowed), TG_OK); /* failures leave the prepared key as it was */
        free(copy);
        tg_jwks_unref(keys);
    }
}

/* Each token against each other key. */
static void strangers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        for (size_t k = 0; k < ARRAY_LEN(vectors); k++) {
            struct tg_jwks *keys = keys_of(vectors[k].key, true);

            if (k != i) {
                assert_int_not_equal(verify(tg_slice_str(vectors[i].token), keys, ALL_ASYMMETRIC), TG_OK);
                assert_int_not_equal(verify(tg_slice_str(vectors[i].token), keys, TG_ALGS_HMAC), TG_OK);
            }
            tg_jwks_unref(keys);
        }
    }
}

/* ---- the header, under a signature that is right ---- */

#define SECRET "0123456789abcdef0123456789abcdef"

static void sign_hs256(const char *header, size_t header_len, struct tg_buf *token)
{
    uint8_t mac[TG_SHA256_LEN];

    tg_base64url_encode(tg_slice(header, header_len), token);
    tg_buf_adds(token, ".e30");
    tg_hmac_sha256(TG_S(SECRET), tg_buf_slice(token), mac);
    tg_buf_addc(token, '.');
    tg_base64url_encode(tg_slice((char *)mac, sizeof(mac)), token);
}

static void headers(void **state)
{
    static const struct { const char *why, *header; enum tg_status want;
    } cases[] = {
        {"plain", "{\"alg\":\"HS256\"}", TG_OK},
        {"spaces", " { \"alg\" : \"HS256\" }\r\n", TG_OK},
        {"alg by escape", "{\"alg\":\"\\u0048S256\"}", TG_OK},
        {"members nobody knows", "{\"x\":[1,{}],\"alg\":\"HS256\",\"zip\":\"DEF\"}", TG_OK},
        {"keys in the token",
         "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"},"
         "\"x5u\":1,\"x5c\":[]}",
         TG_OK},
        {"typ and cty", "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"cty\":\"\"}", TG_OK},
        {"any kid, one PEM key", "{\"alg\":\"HS256\",\"kid\":\"x\"}", TG_OK},
        {"another alg", "{\"alg\":\"HS384\"}", TG_BAD_INPUT},
        {"none", "{\"alg\":\"none\"}", TG_BAD_INPUT},
        {"alg in another case", "{\"alg\":\"hs256\"}", TG_BAD_INPUT},
        {"member in another case", "{\"Alg\":\"HS256\"}", TG_BAD_INPUT},
        {"alg with NUL", "{\"alg\":\"HS256\\u0000\"}", TG_BAD_INPUT},
        {"alg absent", "{}", TG_BAD_INPUT},
        {"alg null", "{\"alg\":null}", TG_BAD_INPUT},
        {"alg list", "{\"alg\":[\"HS256\"]}", TG_BAD_INPUT},
        {"alg twice", "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", TG_BAD_INPUT},
        {"alg twice by escape", "{\"alg\":\"HS256\",\"\\u0061lg\":\"HS256\"}", TG_BAD_INPUT},
        {"crit", "{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", TG_BAD_INPUT},
        {"crit empty", "{\"alg\":\"HS256\",\"crit\":[]}", TG_BAD_INPUT},
        {"crit null", "{\"alg\":\"HS256\",\"crit\":null}", TG_BAD_INPUT},
        {"b64 false", "{\"alg\":\"HS256\",\"b64\":false}", TG_BAD_INPUT},
        {"b64 true", "{\"alg\":\"HS256\",\"b64\":true}", TG_BAD_INPUT},
        {"kid number", "{\"alg\":\"HS256\",\"kid\":1}", TG_BAD_INPUT},
        {"kid null", "{\"alg\":\"HS256\",\"kid\":null}", TG_BAD_INPUT},
        {"typ number", "{\"alg\":\"HS256\",\"typ\":1}", TG_BAD_INPUT},
        {"cty list", "{\"alg\":\"HS256\",\"cty\":[]}", TG_BAD_INPUT},
        {"a list", "[\"alg\",\"HS256\"]", TG_BAD_INPUT},
        {"text", "\"HS256\"", TG_BAD_INPUT},
        {"empty", "", TG_BAD_INPUT},
        {"two objects", "{\"alg\":\"HS256\"}{}", TG_BAD_INPUT},
        {"trailing comma", "{\"alg\":\"HS256\",}", TG_BAD_INPUT},
        {"invalid UTF-8", "{\"alg\":\"HS256\",\"x\":\"\xff\"}", TG_BAD_INPUT},
        {"BOM", "\xef\xbb\xbf{\"alg\":\"HS256\"}", TG_BAD_INPUT},
        {"lone surrogate", "{\"alg\":\"HS256\",\"x\":\"\\ud800\"}", TG_BAD_INPUT},
        {"too deep", "{\"alg\":\"HS256\",\"x\":[[[[[[[[[[1]]]]]]]]]]}", TG_BAD_INPUT},
    };
    struct tg_jwks *keys;

    (void)state;
    assert_int_equal(tg_jwks_from_secret(TG_S(SECRET), &keys, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf token = {0};
        enum tg_status st;

        sign_hs256(cases[i].header, strlen(cases[i].header), &token);
        st = verify(tg_buf_slice(&token), keys, TG_ALG_BIT(TG_ALG_HS256));
        if (st != cases[i].want)
            fail_msg("%s: %d", cases[i].why, st);
        tg_buf_fini(&token);
    }
    tg_jwks_unref(keys);
}

static void large_header(void **state)
{
    struct tg_buf header = {0}, token = {0};

    (void)state;
    tg_buf_adds(&header, "{\"alg\":\"HS256\",\"x5c\":\"");
    for (int i = 0; i < 20000; i++)
        tg_buf_addc(&header, 'A');
    tg_buf_adds(&header, "\"}");
    sign_hs256(header.data, header.len, &token);
    assert_int_equal(verify(tg_buf_slice(&token), NULL, 0), TG_BAD_INPUT);
    tg_buf_fini(&header);
    tg_buf_fini(&token);
}

static void structure(void **state)
{
    static const char *const bad[] = {
        "", ".", "..", "...", "a", "a.b", "a.b.c", "e30..", "e30.e30.", ".e30.e30", "e30.e30.e30.e30",
        "eyJhbGciOiJIUzI1NiJ9..",
        "eyJhbGciOiJIUzI1NiJ9.e30", "eyJhbGciOiJIUzI1NiJ9.e30.A.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAAA",
        ".eyJhbGciOiJIUzI1NiJ9.e30",
        " eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA\n", "eyJhbGciOiJIUzI1NiJ9.e30=.AAAA",
        "{\"payload\":\"e30\",\"protected\":\"eyJhbGciOiJIUzI1NiJ9\",\"signature\":\"AAAA\"}",
    };
    struct tg_jwks *keys;

    (void)state;
    assert_int_equal(tg_jwks_from_secret(TG_S(SECRET), &keys, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (verify(tg_slice_str(bad[i]), keys, TG_ALGS_HMAC) == TG_OK)
            fail_msg("\"%s\" was taken", bad[i]);
    }
    tg_jwks_unref(keys);
}

static void parts_of_a_token(void **state)
{
    struct tg_arena arena;
    struct tg_jws jws;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_jws_split(TG_S(RFC8037_TOKEN), &arena, &jws, NULL), TG_OK);
    assert_true(tg_slice_eq(jws.payload, TG_S("Example of Ed25519 signing")));
    assert_int_equal(jws.signature.len, 64);
    assert_int_equal(jws.alg, TG_ALG_EdDSA);
    assert_null(jws.kid.ptr);
    assert_null(jws.typ.ptr);
    tg_jws_fini(&jws);
    assert_int_equal(tg_jws_split(TG_S(RFC7520_TOKEN), &arena, &jws, NULL), TG_OK);
    assert_true(tg_slice_eq(jws.kid, TG_S("018c0ae5-4d9b-471b-bfd6-eef314bc7037")));
    tg_jws_fini(&jws);
    tg_jws_fini(&jws);
    tg_jws_fini(NULL);
    tg_arena_fini(&arena);
}

/* ---- which key ---- */

static void selection(void **state)
{
    #define KID(k) ",\"kid\":\"" k "\""
    static const struct { const char *why, *keys, *kid; enum tg_status want; } cases[] = {
        {"no kid, one key",                 "{" A3_MEMBERS "}", NULL, TG_OK},
        {"no kid, one key with a kid",      "{" A3_MEMBERS KID("a") "}", NULL, TG_OK},
        {"no kid, one fits of two",         "{" A3_MEMBERS "},{" A2_MEMBERS "}", NULL, TG_OK},
        {"no kid, two fit",                 "{" A3_MEMBERS "},{" A3_MEMBERS "}", NULL, TG_NOT_FOUND},
        {"no kid, none fits",               "{" A2_MEMBERS "}", NULL, TG_NOT_FOUND},
        {"no key",                          "", NULL, TG_NOT_FOUND},
        {"no key for a kid",                "", "a", TG_NOT_FOUND},
        {"kid found",                       "{" A2_MEMBERS KID("b") "},{" A3_MEMBERS KID("a") "}", "a", TG_OK},
        {"kid of a key that does not fit",  "{" A2_MEMBERS KID("a") "},{" A3_MEMBERS KID("b") "}", "a", TG_BAD_INPUT},
        {"kid of a key for another alg",    "{" A4_MEMBERS KID("a") "}", "a", TG_BAD_INPUT},
        {"kid unknown",                     "{" A3_MEMBERS KID("a") "}", "b", TG_NOT_FOUND},
        {"kid is a prefix",                 "{" A3_MEMBERS KID("ab") "}", "a", TG_NOT_FOUND},
        {"kid in another case",             "{" A3_MEMBERS KID("a") "}", "A", TG_NOT_FOUND},
        {"kid with a space",                "{" A3_MEMBERS KID("a") "}", "a ", TG_NOT_FOUND},
        {"empty kid",                       "{" A3_MEMBERS KID("a") "}", "", TG_NOT_FOUND},
        {"empty kid meant",                 "{" A3_MEMBERS KID("") "}", "", TG_OK},
        {"kid, single key without",         "{" A3_MEMBERS "}", "a", TG_OK},
        {"kid, two keys, one without",      "{" A3_MEMBERS "},{" A3_MEMBERS KID("b") "}", "a", TG_NOT_FOUND},
        {"kid, without beside another type", "{" A3_MEMBERS "},{" A2_MEMBERS KID("b") "}", "a", TG_OK},
        {"kid twice, of two types",         "{" A2_MEMBERS KID("a") "},{" A3_MEMBERS KID("a") "}", "a", TG_OK},
        {"kid twice, first for another alg", "{" A4_MEMBERS KID("a") "},{" A3_MEMBERS KID("a") "}", "a", TG_OK},
        {"key for encryption is no key",    "{" A3_MEMBERS KID("a") ",\"use\":\"enc\"}", "a", TG_NOT_FOUND},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf json = {0};
        struct tg_jwks *keys;
        struct tg_arena arena;
        struct tg_jws jws;
        enum tg_status st;

        tg_buf_addf(&json, "{\"keys\":[%s]}", cases[i].keys);
        keys = keys_of(tg_buf_cstr(&json), false);
        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_jws_split(TG_S(A3_TOKEN), &arena, &jws, NULL), TG_OK);
        jws.kid = tg_slice_str(cases[i].kid);            /* the signature has no part in finding the key */
        st = tg_jws_verify(&jws, keys, ALL_ASYMMETRIC, NULL);
        if (st != cases[i].want)
            fail_msg("%s: %d", cases[i].why, st);
        jws.signature = tg_slice(jws.signature.ptr, jws.signature.len - 1);
        assert_int_not_equal(tg_jws_verify(&jws, keys, ALL_ASYMMETRIC, NULL), TG_OK);
        tg_jws_fini(&jws);
        tg_arena_fini(&arena);
        tg_jwks_unref(keys);
        tg_buf_fini(&json);
    }
}

/* Two secrets during a rotation: a token without a kid is tried against both, but never against a crowd. */
static void in_turn(void **state)
{
    #define OTHER_K "{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"" /* 32 octets */
    #define RIGHT_K "{\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"" /* SECRET */
    #define FOUR(k) k "}," k "}," k "}," k "},"
    static const struct { const char *why, *keys, *header; enum tg_status want; } cases[] = {
        {"new beside old",            RIGHT_K "}," OTHER_K "}", "{\"alg\":\"HS256\"}", TG_OK},
        {"old beside new",            OTHER_K "}," RIGHT_K "}", "{\"alg\":\"HS256\"}", TG_OK},
        {"neither",                   OTHER_K "}," OTHER_K "}", "{\"alg\":\"HS256\"}", TG_CRYPTO},
        {"with kids, token without",  OTHER_K KID("a") "}," RIGHT_K KID("b") "}", "{\"alg\":\"HS256\"}", TG_OK},
        {"a kid decides",             OTHER_K KID("a") "}," RIGHT_K KID("b") "}", "{\"alg\":\"HS256\"" KID("b") "}",
         TG_OK},
        {"a kid decides against it",  OTHER_K KID("a") "}," RIGHT_K KID("b") "}", "{\"alg\":\"HS256\"" KID("a") "}",
         TG_CRYPTO},
        {"a kid nobody has",          OTHER_K KID("a") "}," RIGHT_K KID("b") "}", "{\"alg\":\"HS256\"" KID("c") "}",
         TG_NOT_FOUND},
        {"a kid, keys without",       OTHER_K "}," RIGHT_K "}", "{\"alg\":\"HS256\"" KID("c") "}", TG_OK},
        {"eight",                     FOUR(OTHER_K) OTHER_K "}," OTHER_K "}," OTHER_K "}," RIGHT_K "}",
         "{\"alg\":\"HS256\"}", TG_OK},
        {"nine are a crowd",          FOUR(OTHER_K) FOUR(OTHER_K) RIGHT_K "}", "{\"alg\":\"HS256\"}", TG_NOT_FOUND},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf json = {0}, token = {0};
        struct tg_jwks *keys;
        struct tg_arena arena;
        struct tg_jws jws;
        enum tg_status st;

        tg_buf_addf(&json, "{\"keys\":[%s]}", cases[i].keys);
        keys = keys_of(tg_buf_cstr(&json), true);
        sign_hs256(cases[i].header, strlen(cases[i].header), &token);
        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_jws_split(tg_buf_slice(&token), &arena, &jws, NULL), TG_OK);
        st = tg_jws_verify(&jws, keys, TG_ALG_BIT(TG_ALG_HS256), NULL);
        if (st != cases[i].want)
            fail_msg("%s: %d", cases[i].why, st);
        tg_jws_fini(&jws);
        tg_arena_fini(&arena);
        tg_jwks_unref(keys);
        tg_buf_fini(&json);
        tg_buf_fini(&token);
    }
}

/* ---- forged signatures ---- */

static enum tg_status with_signature(const char *token, const struct tg_jwks *keys, const uint8_t *sig, size_t len)
{
    struct tg_arena arena;
    struct tg_jws jws;
    enum tg_status st;

    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_jws_split(tg_slice_str(token), &arena, &jws, NULL), TG_OK);
    jws.signature = tg_slice((const char *)sig, len);
    st = tg_jws_verify(&jws, keys, ALL_ASYMMETRIC, NULL);
    tg_jws_fini(&jws);
    tg_arena_fini(&arena);
    return st;
}

/* RFC 7518 §3.4: r and s, 1 to n - 1, in exactly 64 bytes. */
static void ecdsa_forgeries(void **state)
{
    static const char order[] = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551";
    struct tg_jwks *keys = keys_of("{" A3_MEMBERS "}", false);
    BIGNUM *n = NULL, *values[6], *r;
    uint8_t sig[200] = {0}, good[64];
    size_t len;

    (void)state;
    BN_hex2bn(&n, order);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        values[i] = BN_dup(n);
    BN_zero(values[0]);
    BN_one(values[1]);
    BN_sub_word(values[2], 1);
    BN_add_word(values[4], 1);
    BN_hex2bn(&values[5], "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    for (size_t a = 0; a < ARRAY_LEN(values); a++) {
        for (size_t b = 0; b < ARRAY_LEN(values); b++) {
            BN_bn2binpad(values[a], sig, 32);
            BN_bn2binpad(values[b], sig + 32, 32);
            assert_int_equal(with_signature(A3_TOKEN, keys, sig, 64), TG_CRYPTO);
        }
    }
    assert_true(tg_base64url_decode(tg_slice_str(strrchr(A3_TOKEN, '.') + 1), good, &len));
    assert_int_equal(with_signature(A3_TOKEN, keys, good, 64), TG_OK);
    r = BN_bin2bn(good, 32, NULL);
    BN_sub(r, n, r);
    memcpy(sig, good, 64);
    BN_bn2binpad(r, sig, 32);
    assert_int_equal(with_signature(A3_TOKEN, keys, sig, 64), TG_CRYPTO); /* n - r */
    for (size_t cut = 0; cut < 64; cut++)
        assert_int_equal(with_signature(A3_TOKEN, keys, good, cut), TG_CRYPTO);
    memset(sig, 0, sizeof(sig));
    memcpy(sig, good, 64);
    for (len = 65; len <= sizeof(sig); len++)            /* zeros behind */
        assert_int_equal(with_signature(A3_TOKEN, keys, sig, len), TG_CRYPTO);
    memset(sig, 0, sizeof(sig));
    memcpy(sig + 1, good, 32);
    memcpy(sig + 34, good + 32, 32);
    assert_int_equal(with_signature(A3_TOKEN, keys, sig, 66), TG_CRYPTO); /* zeros before each */
    sig[0] = 0x30, sig[1] = 68, sig[2] = 2, sig[3] = 32; /* DER */
    memcpy(sig + 4, good, 32);
    sig[36] = 2, sig[37] = 33, sig[38] = 0;
    memcpy(sig + 39, good + 32, 32);
    assert_int_equal(with_signature(A3_TOKEN, keys, sig, 71), TG_CRYPTO);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        BN_free(values[i]);
    BN_free(n);
    BN_free(r);
    tg_jwks_unref(keys);
}

static void other_forgeries(void **state)
{
    static const struct { const char *why, *key, *token; size_t size; } cases[] = {
        {"RSA",     "{" A2_MEMBERS "}",      A2_TOKEN,      256},
        {"P-521",   "{" A4_MEMBERS "}",      A4_TOKEN,      132},
        {"Ed25519", "{" RFC8037_MEMBERS "}", RFC8037_TOKEN, 64},
    };
    uint8_t sig[600], good[256], l[32];
    size_t len;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_jwks *keys = keys_of(cases[i].key, false);

        assert_true(tg_base64url_decode(tg_slice_str(strrchr(cases[i].token, '.') + 1), good, &len));
        assert_int_equal(len, cases[i].size);
        for (size_t n = 0; n <= sizeof(sig); n++) {      /* zeros, ones, the good one cut or with zeros */
            memset(sig, 0, sizeof(sig));
            assert_int_equal(with_signature(cases[i].token, keys, sig, n), TG_CRYPTO);
            memset(sig, 0xff, sizeof(sig));
            assert_int_equal(with_signature(cases[i].token, keys, sig, n), TG_CRYPTO);
            memset(sig, 0, sizeof(sig));
            memcpy(sig, good, cases[i].size);
            assert_int_equal(with_signature(cases[i].token, keys, sig, n), n == cases[i].size ? TG_OK : TG_CRYPTO);
        }
        memset(sig, 0, sizeof(sig));
        sig[cases[i].size - 1] = 1;                      /* RSA: 1; a one where s is */
        assert_int_equal(with_signature(cases[i].token, keys, sig, cases[i].size), TG_CRYPTO);
        tg_jwks_unref(keys);
    }
    /* RFC 8032 §5.1.7: S below L; S + L would verify the same equation. */
    {
        static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                          0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
        struct tg_jwks *keys = keys_of("{" RFC8037_MEMBERS "}", false);
        unsigned carry = 0;

        memcpy(l, order, sizeof(l));
        memcpy(sig, good, 64);
        for (size_t i = 0; i < 32; i++) {
            carry += (unsigned)good[32 + i] + l[i];
            sig[32 + i] = (uint8_t)carry;
            carry >>= 8;
        }
        assert_int_equal(carry, 0);
        assert_int_equal(with_signature(RFC8037_TOKEN, keys, sig, 64), TG_CRYPTO);
        tg_jwks_unref(keys);
    }
}

/* ---- threads: prepared keys are per thread and outlive neither harm nor key set ---- */

struct race {
    struct tg_jwks *keys;
    struct tg_slice tokens[4];
};

static void *verify_many(void *arg)
{
    struct race *race = arg;

    for (int round = 0; round < 40; round++) {
        struct tg_jwks *own = keys_of("{" A3_MEMBERS "}", false); /* more serials than a thread keeps */

        for (size_t i = 0; i < ARRAY_LEN(race->tokens); i++) {
            if (verify(race->tokens[i], race->keys, ALL_ASYMMETRIC) != TG_OK)
                return arg;                              /* anything but NULL */
        }
        if (verify(TG_S(A3_TOKEN), own, ALL_ASYMMETRIC) != TG_OK)
            return arg;
        tg_jwks_unref(own);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct race race = {.tokens = {TG_S_INIT(A2_TOKEN), TG_S_INIT(A3_TOKEN), TG_S_INIT(A4_TOKEN),
                                   TG_S_INIT(RFC8037_TOKEN)}};
    pthread_t threads[4];
    void *result;

    (void)state;
    race.keys = keys_of("{\"keys\":[{" A2_MEMBERS "},{" A3_MEMBERS "},{" A4_MEMBERS "},{" RFC8037_MEMBERS "}]}", false);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, verify_many, &race), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    tg_jwks_unref(race.keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_vectors),  cmocka_unit_test(strangers),       cmocka_unit_test(headers),
        cmocka_unit_test(large_header), cmocka_unit_test(structure),       cmocka_unit_test(parts_of_a_token),
        cmocka_unit_test(selection),
        cmocka_unit_test(in_turn),    cmocka_unit_test(ecdsa_forgeries), cmocka_unit_test(other_forgeries),
        cmocka_unit_test(many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
