/* test_jwk - which keys are taken, which are skipped and why. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/digest.h"
#include "base/json.h"
#include "jose/jwk.h"
#include "rfc_vectors.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static struct tg_jwks *parse(const char *json, bool hmac)
{
    struct tg_jwks *set = NULL;
    struct tg_err err = {0};

    if (tg_jwks_parse(tg_slice_str(json), hmac, &set, &err) != TG_OK)
        fail_msg("%s: %s", json, err.text);
    return set;
}

#define X32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
static const struct { const char *why, *key; const char *reason;
} keys[] = {
    {"RSA", A2_MEMBERS, NULL},
    {"P-256", A3_MEMBERS, NULL},
    {"P-521", A4_MEMBERS, NULL},
    {"Ed25519", RFC8037_MEMBERS, NULL},
    {"everything said", A3_MEMBERS ",\"kid\":\"a\",\"use\":\"sig\",\"alg\":\"ES256\",\"key_ops\":[\"verify\"]", NULL},
    {"RFC 9864 alg name", RFC8037_MEMBERS ",\"alg\":\"Ed25519\"", NULL},
    {"§4.3 more operations", A3_MEMBERS ",\"key_ops\":[\"sign\",\"verify\"]", NULL},
    {"private member ignored", A3_MEMBERS ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"", NULL},
    {"private member broken", A3_MEMBERS ",\"d\":17", NULL},
    {"unknown members ignored", A3_MEMBERS ",\"x5u\":\"http://127.0.0.1/\",\"zz\":[1]", NULL},
    {"symmetric, not asked for", "\"kty\":\"oct\",\"k\":\"" X32 "\"", "symmetric"},
    {"no kty", "\"kid\":\"u4\"", "kty"},
    {"kty number", "\"kty\":1", "kty"},
    {"kty unknown", "\"kty\":\"AKP\",\"alg\":\"ES256\",\"pub\":\"AAAA\"", "kty"},
    {"kty case", "\"kty\":\"ec\",\"crv\":\"P-256\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"", "kty"},
    {"kty of another type", "\"kty\":\"RSA\",\"crv\":\"P-256\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"", "RSA"},
    {"curve unknown", "\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"", "crv"},
    {"curve absent", "\"kty\":\"EC\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"", "crv"},
    {"X25519", "\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" RFC8037_X "\"", "crv"},
    {"Ed448", "\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"" RFC8037_X "\"", "crv"},
    {"use enc", A3_MEMBERS ",\"use\":\"enc\"", "use"},
    {"use is case-sensitive", A3_MEMBERS ",\"use\":\"SIG\"", "use"},
    {"use no text", A3_MEMBERS ",\"use\":null", "use"},
    {"operations without verify", A3_MEMBERS ",\"key_ops\":[\"sign\"]", "key_ops"},
    {"operations empty", A3_MEMBERS ",\"key_ops\":[]", "key_ops"},
    {"operations no list", A3_MEMBERS ",\"key_ops\":\"verify\"", "key_ops"},
    {"operations with a number", A3_MEMBERS ",\"key_ops\":[\"verify\",1]", "key_ops"},
    {"kid number", A3_MEMBERS ",\"kid\":1", "kid"},
    {"alg for encryption", A2_MEMBERS ",\"alg\":\"RSA-OAEP\"", "alg"},
    {"alg none", A2_MEMBERS ",\"alg\":\"none\"", "alg"},
    {"alg no text", A2_MEMBERS ",\"alg\":[\"RS256\"]", "alg"},
    {"alg of another type", A2_MEMBERS ",\"alg\":\"ES256\"", "not for ES256"},
    {"alg of another curve", A3_MEMBERS ",\"alg\":\"ES384\"", "not for ES384"},
    {"RSA key as HMAC", A2_MEMBERS ",\"alg\":\"HS256\"", "not for HS256"},
    {"e = 1", "\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQ\"", "exponent"},
    {"e = 3", "\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"Aw\"", "exponent"},
    {"e even", "\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQAC\"", "exponent"},
    {"e of 72 bits", "\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQAAAAAAAAAB\"", "exponent"},
    {"e empty", "\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"\"", "RSA"},
    {"n in padded base64", "\"kty\":\"RSA\",\"n\":\"AQAB====\",\"e\":\"AQAB\"", "RSA"},
    {"n absent", "\"kty\":\"RSA\",\"e\":\"AQAB\"", "RSA"},
    {"n short", "\"kty\":\"RSA\",\"n\":\"" A3_X "\",\"e\":\"AQAB\"", "bits"},
    {"n zero", "\"kty\":\"RSA\",\"n\":\"" X32 "\",\"e\":\"AQAB\"", "bits"},
    {"off the curve", "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_Y "\",\"y\":\"" A3_X "\"", "curve"},
    {"zero point", "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X32 "\",\"y\":\"" X32 "\"", "curve"},
    {"another curve's coordinates", "\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"",
     "48 bytes"},
    {"coordinate cut", "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_X "\",\"y\":\"AAAA\"", "32 bytes"},
    {"y absent", "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_X "\"", "coordinates"},
    {"Ed25519 of 3 bytes", "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"", "3 bytes"},
    {"Ed25519 order 1", "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
     "order"},
    {"Ed25519 order 1, sign set",
     "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA\"", "order"},
    {"Ed25519 order 4", "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" X32 "\"", "order"},
};

static void each_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct tg_buf b = {0};
        struct tg_jwks *set, *one;

        tg_buf_addf(&b, "{\"keys\":[{%s},{" A3_MEMBERS ",\"kid\":\"good\"}]}", keys[i].key);
        set = parse(tg_buf_cstr(&b), false);             /* a bad neighbour never spoils the set */
        if (tg_jwks_count(set) != (keys[i].reason ? 1 : 2))
            fail_msg("%s: %zu keys; %s", keys[i].why, tg_jwks_count(set), tg_jwks_skip_reason(set, 0));
        if (keys[i].reason && !strstr(tg_jwks_skip_reason(set, 0), keys[i].reason))
            fail_msg("%s: \"%s\"", keys[i].why, tg_jwks_skip_reason(set, 0));
        assert_int_equal(tg_jwks_skipped(set), keys[i].reason ? 1 : 0);
        assert_null(tg_jwks_skip_reason(set, 1));
        tg_buf_fini(&b);
        tg_buf_addf(&b, "{%s}", keys[i].key);
        if (strstr(keys[i].key, "kty")) {                /* the same alone */
            one = parse(tg_buf_cstr(&b), false);
            assert_int_equal(tg_jwks_count(one), keys[i].reason ? 0 : 1);
            tg_jwks_unref(one);
        }
        tg_buf_fini(&b);
        tg_jwks_unref(set);
    }
}

static void small_order_by_hex(void **state)
{
    static const char *const hex[] = {
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p, a second spelling of 0 */
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p + 3: large order, not canonical */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hex); i++) {
        struct tg_buf b = {0};
        uint8_t raw[32];
        struct tg_jwks *set;

        for (size_t k = 0; k < sizeof(raw); k++) {
            const char pair[] = {hex[i][2 * k], hex[i][2 * k + 1], '\0'};
            raw[k] = (uint8_t)strtoul(pair, NULL, 16);
        }
        tg_buf_adds(&b, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
        tg_base64url_encode(tg_slice((char *)raw, sizeof(raw)), &b);
        tg_buf_adds(&b, "\"}");
        set = parse(tg_buf_cstr(&b), false);
        if (tg_jwks_count(set) != 0)
            fail_msg("%s was taken", hex[i]);
        tg_jwks_unref(set);
        tg_buf_fini(&b);
    }
}

static void sets(void **state)
{
    static const struct { const char *why, *json; enum tg_status want; } cases[] = {
        {"empty set",            "{\"keys\":[]}", TG_OK},
        {"keys that are none",   "{\"keys\":[1,null,\"x\",[],{}]}", TG_OK},
        {"other members",        "{\"keys\":[],\"x\":1}", TG_OK},
        {"empty text",           "", TG_BAD_INPUT},
        {"no JSON",              "<html>", TG_BAD_INPUT},
        {"a list",               "[]", TG_BAD_INPUT},
        {"empty object",         "{}", TG_BAD_INPUT},
        {"keys no list",         "{\"keys\":{}}", TG_BAD_INPUT},
        {"keys null",            "{\"keys\":null,\"kty\":\"EC\"}", TG_BAD_INPUT},
        {"keys twice",           "{\"keys\":[],\"keys\":[]}", TG_BAD_INPUT},
        {"a member twice",       "{\"keys\":[{\"kid\":\"a\",\"kid\":\"b\"}]}", TG_BAD_INPUT},
        {"name in another case", "{\"Keys\":[]}", TG_BAD_INPUT},
        {"trailing bytes",       "{\"keys\":[]}x", TG_BAD_INPUT},
    };
    static const char whole[] = "{\"keys\":[{" A3_MEMBERS "}]}";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_jwks *set = NULL;
        struct tg_err err = {0};

        if (tg_jwks_parse(tg_slice_str(cases[i].json), false, &set, &err) != cases[i].want)
            fail_msg("%s: %s", cases[i].why, err.text);
        if (set)
            assert_int_equal(tg_jwks_count(set), 0);
        tg_jwks_unref(set);
    }
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
        struct tg_jwks *set;
        assert_int_equal(tg_jwks_parse(tg_slice(whole, cut), false, &set, NULL), TG_BAD_INPUT);
    }
}

static void too_many(void **state)
{
    struct tg_buf b = {0};
    struct tg_jwks *set;

    (void)state;
    tg_buf_adds(&b, "{\"keys\":[{}");
    for (int i = 0; i < 1024; i++)
        tg_buf_adds(&b, ",{}");
    tg_buf_adds(&b, "]}");
    assert_int_equal(tg_jwks_parse(tg_buf_slice(&b), false, &set, NULL), TG_LIMIT);
    tg_buf_fini(&b);
}

static void secrets(void **state)
{
    static const struct { const char *why, *key; size_t count; } cases[] = {
        {"32 bytes",               "\"k\":\"" X32 "\"", 1},
        {"31 bytes",               "\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", 0},
        {"none",                   "\"k\":\"\"", 0},
        {"absent",                 "\"kid\":\"x\"", 0},
        {"32 bytes for HS512",     "\"alg\":\"HS512\",\"k\":\"" X32 "\"", 0},
        {"32 bytes for RS256",     "\"alg\":\"RS256\",\"k\":\"" X32 "\"", 0},
    };
    char big[2049] = {0};
    struct tg_jwks *set;
    struct tg_buf b = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        tg_buf_addf(&b, "{\"kty\":\"oct\",%s}", cases[i].key);
        set = parse(tg_buf_cstr(&b), true);
        if (tg_jwks_count(set) != cases[i].count)
            fail_msg("%s", cases[i].why);
        tg_jwks_unref(set);
        tg_buf_fini(&b);
    }
    assert_int_equal(tg_jwks_from_secret(tg_slice(big, 31), &set, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_jwks_from_secret(tg_slice(NULL, 0), &set, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_jwks_from_secret(tg_slice(big, 2049), &set, NULL), TG_LIMIT);
    assert_int_equal(tg_jwks_from_secret(tg_slice(big, 32), &set, NULL), TG_OK);
    tg_jwks_print(set, &b);
    assert_string_equal(tg_buf_cstr(&b), "{\"keys\":[]}"); /* a secret is never shown */
    tg_buf_fini(&b);
    tg_jwks_unref(set);
}

static void printed_again(void **state)
{
    static const char all[] = "{\"keys\":[{" A2_MEMBERS ",\"kid\":\"a\\\"\\u00e9\"},{" A3_MEMBERS
                              ",\"alg\":\"ES256\",\"kid\":\"\"},{" A4_MEMBERS "},{" RFC8037_MEMBERS
                              ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}]}";
    struct tg_jwks *set = parse(all, false), *again;
    struct tg_buf b = {0}, b2 = {0};

    (void)state;
    assert_int_equal(tg_jwks_count(set), 4);
    tg_jwks_print(set, &b);
    assert_null(strstr(tg_buf_cstr(&b), "nWGxne"));      /* the private half never comes back */
    again = parse(tg_buf_cstr(&b), false);
    tg_jwks_print(again, &b2);
    assert_string_equal(tg_buf_cstr(&b), tg_buf_cstr(&b2));
    assert_true(tg_jwks_covers(again, set) && tg_jwks_covers(set, again));
    tg_buf_fini(&b);
    tg_buf_fini(&b2);
    tg_jwks_unref(again);
    tg_jwks_unref(set);
}

static void covering(void **state)
{
    struct tg_jwks *one = parse("{\"keys\":[{" A3_MEMBERS ",\"kid\":\"a\"}]}", false);
    struct tg_jwks *two = parse("{\"keys\":[{" RFC8037_MEMBERS "},{" A3_MEMBERS ",\"kid\":\"a\"}]}", false);
    struct tg_jwks *renamed = parse("{\"keys\":[{" A3_MEMBERS ",\"kid\":\"b\"}]}", false);
    struct tg_jwks *nameless = parse("{\"keys\":[{" A3_MEMBERS "}]}", false);
    struct tg_jwks *replaced = parse("{\"keys\":[{" A2_MEMBERS ",\"kid\":\"a\"}]}", false);
    struct tg_jwks *none = parse("{\"keys\":[]}", false);
    struct tg_jwks *hs = parse("{\"kty\":\"oct\",\"k\":\"" X32 "\"}", true), *hs2 = parse(A1_KEY, true);

    (void)state;
    assert_true(tg_jwks_covers(one, one));
    assert_true(tg_jwks_covers(two, one));               /* a new key withdraws nothing */
    assert_false(tg_jwks_covers(one, two));
    assert_false(tg_jwks_covers(renamed, one));
    assert_false(tg_jwks_covers(nameless, one));
    assert_false(tg_jwks_covers(one, nameless));
    assert_false(tg_jwks_covers(replaced, one));
    assert_false(tg_jwks_covers(none, one));
    assert_true(tg_jwks_covers(one, none));
    assert_true(tg_jwks_covers(hs, hs));
    assert_false(tg_jwks_covers(hs, hs2));
    assert_ptr_equal(tg_jwks_ref(one), one);
    tg_jwks_unref(one);
    for (size_t i = 0; i < 8; i++)
        tg_jwks_unref((struct tg_jwks *[]){one, two, renamed, nameless, replaced, none, hs, hs2}[i]);
    tg_jwks_unref(NULL);
}

/* ---- PEM ---- */

static char *bio_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *s = tg_slice_dup(tg_slice(data, (size_t)len));

    BIO_free(bio);
    return s;
}

static void check_pem(const char *why, const char *pem, enum tg_status want)
{
    struct tg_jwks *set = NULL;
    struct tg_err err = {0};

    if (tg_jwks_from_pem(tg_slice_str(pem), &set, &err) != want)
        fail_msg("%s: %s", why, err.text);
    if (set)
        assert_int_equal(tg_jwks_count(set), 1);
    tg_jwks_unref(set);
}

static EVP_PKEY *keygen(const char *type, const char *group)
{
    EVP_PKEY *pkey = group ? EVP_PKEY_Q_keygen(NULL, NULL, type, group)
                   : strcmp(type, "RSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, type, (size_t)2048)
                   : EVP_PKEY_Q_keygen(NULL, NULL, type);

    assert_non_null(pkey);
    return pkey;
}

static void pem_forms(void **state)
{
    static const struct { const char *type, *group; enum tg_status want; } cases[] = {
        {"RSA", NULL, TG_OK},           {"EC", "prime256v1", TG_OK}, {"EC", "secp384r1", TG_OK},
        {"EC", "secp521r1", TG_OK},
        {"ED25519", NULL, TG_OK},       {"EC", "secp256k1", TG_UNSUPPORTED}, {"X25519", NULL, TG_UNSUPPORTED},
        {"ED448", NULL, TG_UNSUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        EVP_PKEY *pkey = keygen(cases[i].type, cases[i].group);
        BIO *pub = BIO_new(BIO_s_mem()), *priv = BIO_new(BIO_s_mem());
        BIO *old = BIO_new(BIO_s_mem()), *enc = BIO_new(BIO_s_mem());
        char *text;

        PEM_write_bio_PUBKEY(pub, pkey);
        PEM_write_bio_PKCS8PrivateKey(priv, pkey, NULL, NULL, 0, NULL, NULL);
        PEM_write_bio_PKCS8PrivateKey(enc, pkey, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
        check_pem(cases[i].type, text = bio_text(pub), cases[i].want);
        for (size_t cut = 0; cut + 1 < strlen(text); cut += 7) {
            struct tg_jwks *set;
            assert_int_not_equal(tg_jwks_from_pem(tg_slice(text, cut), &set, NULL), TG_OK);
        }
        free(text);
        check_pem(cases[i].type, text = bio_text(priv), cases[i].want);
        free(text);
        check_pem("nobody to ask for the password", text = bio_text(enc), TG_BAD_INPUT);
        free(text);
        if (PEM_write_bio_PrivateKey_traditional(old, pkey, NULL, NULL, 0, NULL, NULL) == 1)
            check_pem("traditional", text = bio_text(old), cases[i].want), free(text);
        else
            BIO_free(old);
        EVP_PKEY_free(pkey);
    }
    check_pem("empty", "", TG_BAD_INPUT);
    check_pem("no PEM", "hello", TG_BAD_INPUT);
    check_pem("not DER", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", TG_BAD_INPUT);
    check_pem("unknown block", "-----BEGIN X-----\nAAAA\n-----END X-----\n", TG_BAD_INPUT);
}

static void pem_others(void **state)
{
    EVP_PKEY *pkey = keygen("EC", "prime256v1"), *weak = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    BIO *bio = BIO_new(BIO_s_mem());
    X509 *cert = X509_new();
    char *text;

    (void)state;
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 60);
    X509_set_pubkey(cert, pkey);
    assert_true(X509_sign(cert, pkey, EVP_sha256()) > 0);
    BIO_puts(bio,
             "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"); /* openssl ecparam */
    PEM_write_bio_X509(bio, cert);
    check_pem("certificate behind parameters", text = bio_text(bio), TG_OK);
    free(text);
    PEM_write_bio_PUBKEY(bio = BIO_new(BIO_s_mem()), weak);
    check_pem("RSA of 1024 bits", text = bio_text(bio), TG_BAD_INPUT);
    free(text);
    X509_free(cert);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(weak);
}

static void add_certificate(BIO *out, EVP_PKEY *own, const char *name, EVP_PKEY *signer, const char *signer_name)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_NAME_new(), *issuer = X509_NAME_new();

    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_NAME_add_entry_by_txt(issuer, "CN", MBSTRING_ASC, (const uint8_t *)signer_name, -1, -1, 0);
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 60);
    X509_set_subject_name(cert, subject);
    X509_set_issuer_name(cert, issuer);
    X509_set_pubkey(cert, own);
    assert_true(X509_sign(cert, signer, EVP_sha256()) > 0);
    PEM_write_bio_X509(out, cert);
    X509_NAME_free(subject);
    X509_NAME_free(issuer);
    X509_free(cert);
}

static void check_count(const char *why, BIO *bio, const char *more, enum tg_status want, size_t count)
{
    char *text = bio_text(bio);
    struct tg_jwks *set = NULL;
    struct tg_buf whole = {0};
    enum tg_status st;

    tg_buf_addf(&whole, "%s%s", text, more);
    st = tg_jwks_from_pem(tg_buf_slice(&whole), &set, NULL);
    if (st != want || (set && tg_jwks_count(set) != count))
        fail_msg("%s: %d, %zu keys", why, st, set ? tg_jwks_count(set) : 0);
    tg_jwks_unref(set);
    tg_buf_fini(&whole);
    free(text);
}

/* A rotation: both keys stand in one file. What else stands there is no signer of tokens. */
static void pem_several(void **state)
{
    EVP_PKEY *a = keygen("EC", "prime256v1"), *b = keygen("ED25519", NULL), *ca = keygen("EC", "prime256v1");
    BIO *bio;

    (void)state;
    PEM_write_bio_PUBKEY(bio = BIO_new(BIO_s_mem()), a);
    PEM_write_bio_PUBKEY(bio, b);
    check_count("two keys", bio, "", TG_OK, 2);
    PEM_write_bio_PKCS8PrivateKey(bio = BIO_new(BIO_s_mem()), a, NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_PUBKEY(bio, a);
    check_count("both halves of a pair", bio, "", TG_OK, 1);
    PEM_write_bio_PUBKEY(bio = BIO_new(BIO_s_mem()), a);
    check_count("the second is cut off", bio, "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZ", TG_BAD_INPUT, 0);
    PEM_write_bio_PUBKEY(bio = BIO_new(BIO_s_mem()), a);
    check_count("the second is garbage", bio, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                TG_BAD_INPUT, 0);
    add_certificate(bio = BIO_new(BIO_s_mem()), a, "signer", ca, "authority");
    add_certificate(bio, ca, "authority", ca, "authority");
    check_count("a chain", bio, "", TG_OK, 1);
    add_certificate(bio = BIO_new(BIO_s_mem()), a, "signer", a, "signer");
    add_certificate(bio, ca, "signer", ca, "signer");
    check_count("two self-signed of one name", bio, "", TG_OK, 2);
    bio = BIO_new(BIO_s_mem());
    for (size_t i = 0; i < 9; i++) {
        EVP_PKEY *one = keygen("ED25519", NULL);

        PEM_write_bio_PUBKEY(bio, one);
        EVP_PKEY_free(one);
    }
    check_count("nine", bio, "", TG_LIMIT, 0);
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
    EVP_PKEY_free(ca);
}

#define SECRET_A "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
#define SECRET_B "MTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjA"
#define OCT(k, kid) "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"" kid "\",\"k\":\"" k "\"}]}"

/* Sets with other keys have other digests; the order, and what is skipped, is of no meaning. */
static void digests(void **state)
{
    static const char *const differ[] = {
        "{\"keys\":[]}",
        "{\"keys\":[{" A3_MEMBERS "}]}",
        "{\"keys\":[{" A3_MEMBERS ",\"kid\":\"a\"}]}",
        "{\"keys\":[{" A3_MEMBERS ",\"kid\":\"b\"}]}",
        "{\"keys\":[{" A3_MEMBERS ",\"kid\":\"a\"},{" A2_MEMBERS "}]}",
        "{\"keys\":[{" A2_MEMBERS "}]}",
        OCT(SECRET_A, "a"),
        OCT(SECRET_A, "b"),
    };
    static const char *const same[][2] = {
        {"{\"keys\":[{" A3_MEMBERS "},{" A2_MEMBERS "}]}", "{\"keys\":[{" A2_MEMBERS "},{" A3_MEMBERS "}]}"},
        {"{\"keys\":[{" A3_MEMBERS "}]}", "{\"keys\":[{" A3_MEMBERS ",\"zz\":1},{\"kty\":\"AKP\"}]}"},
        {"{\"keys\":[{" A3_MEMBERS "}]}", "{" A3_MEMBERS "}"},
        {OCT(SECRET_A, "a"), OCT(SECRET_B, "a")},        /* nothing about a secret can be guessed from it */
    };
    struct tg_jwks *sets[ARRAY_LEN(differ)], *a, *b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(differ); i++) {
        sets[i] = parse(differ[i], true);
        assert_int_equal(strlen(tg_jwks_digest(sets[i])), TG_JWKS_DIGEST - 1);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(tg_jwks_digest(sets[k]), tg_jwks_digest(sets[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(differ); i++)
        tg_jwks_unref(sets[i]);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        a = parse(same[i][0], true);
        b = parse(same[i][1], true);
        assert_string_equal(tg_jwks_digest(a), tg_jwks_digest(b));
        tg_jwks_unref(a);
        tg_jwks_unref(b);
    }
    assert_int_equal(tg_jwks_from_secret(TG_S("0123456789abcdef0123456789abcdef"), &a, NULL), TG_OK);
    assert_int_equal(tg_jwks_from_secret(TG_S("1123456789abcdef0123456789abcdef"), &b, NULL), TG_OK);
    assert_string_equal(tg_jwks_digest(a), tg_jwks_digest(b));
    tg_jwks_unref(a);
    tg_jwks_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key),   cmocka_unit_test(small_order_by_hex),
        cmocka_unit_test(sets),       cmocka_unit_test(too_many),
        cmocka_unit_test(secrets),    cmocka_unit_test(printed_again),
        cmocka_unit_test(covering),   cmocka_unit_test(pem_forms),
        cmocka_unit_test(pem_others), cmocka_unit_test(pem_several),
        cmocka_unit_test(digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
