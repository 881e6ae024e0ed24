/*
 * key - bytes to a key that may verify, behind one door of checks whatever the bytes came from.
 *
 * RSA: 2048 to 16384 bits (RFC 7518 §3.3; above, a verification is an attack on our time), odd modulus, odd exponent
 * of 65537 or more and at most 64 bits. RFC 8017 allows 3, but small exponents forgive no slip in padding checks and
 * no provider uses them. EC: full-length coordinates on the named curve. Ed25519: no point of small order (anything
 * verifies under those) and no second spelling. HMAC: a secret at least as long as the hash (RFC 7518 §3.2).
 */
#include "base/digest.h"
#include "base/json.h"
#include "internal.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdatomic.h>
#include <stdlib.h>

#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS (TG_KEY_BYTES_MAX * 8)
#define RSA_E_MIN 65537
#define RSA_E_MAX_BYTES 8
#define ED25519_BYTES 32

static const struct tg_curve curves[] = {
    {"P-256", "prime256v1", 32},
    {"P-384", "secp384r1", 48},
    {"P-521", "secp521r1", 66},
};

const struct tg_curve *tg_curve_by_crv(struct tg_slice crv)
{
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (tg_slice_eq(crv, tg_slice_str(curves[i].crv)))
            return &curves[i];
    }
    return NULL;
}

static struct tg_slice bytes(const uint8_t *p, size_t len)
{
    return tg_slice((const char *)p, len);
}

/* ---- what may be wrong with a key ---- */

static size_t bit_length(const uint8_t *p, size_t len)
{
    size_t bits;

    while (len && !*p)
        p++, len--;
    if (!len)
        return 0;
    bits = len * 8;
    for (unsigned top = 0x80; !(*p & top); top >>= 1)
        bits--;
    return bits;
}

static enum tg_status check_rsa(const struct tg_key_parts *parts, struct tg_err *err)
{
    size_t bits = bit_length(parts->main, parts->main_len);
    uint64_t e = 0;

    if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS)
        return tg_fail(err, TG_BAD_INPUT, "RSA key of %zu bits, not %d to %d", bits, RSA_MIN_BITS, RSA_MAX_BITS);
    if (!(parts->main[parts->main_len - 1] & 1))
        return tg_fail(err, TG_BAD_INPUT, "RSA modulus is even");
    if (parts->second_len == 0 || parts->second_len > RSA_E_MAX_BYTES)
        return tg_fail(err, TG_BAD_INPUT, "RSA exponent of %zu bytes, not 1 to %d", parts->second_len, RSA_E_MAX_BYTES);
    for (size_t i = 0; i < parts->second_len; i++)
        e = e << 8 | parts->second[i];
    if (e < RSA_E_MIN || !(e & 1))
        return tg_fail(err, TG_BAD_INPUT, "RSA exponent is even or below %d", RSA_E_MIN);
    return TG_OK;
}

static enum tg_status check_ed25519(const struct tg_key_parts *parts, struct tg_err *err)
{
    /* The y of all points whose order divides 8, little-endian; x has its sign in the top bit. */
    static const uint8_t small[][ED25519_BYTES] = {
        {0},
        {1},
        {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
         0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
        {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
         0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
        {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    };
    uint8_t y[ED25519_BYTES];
    bool above = true;                                   /* all bits set but those of the lowest byte: p - 1 or more */

    if (parts->main_len != ED25519_BYTES)
        return tg_fail(err, TG_BAD_INPUT, "Ed25519 key of %zu bytes, not %d", parts->main_len, ED25519_BYTES);
    memcpy(y, parts->main, sizeof(y));
    y[ED25519_BYTES - 1] &= 0x7f;
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        if (memcmp(y, small[i], sizeof(y)) == 0)
            return tg_fail(err, TG_BAD_INPUT, "Ed25519 point of small order");
    }
    for (size_t i = 1; i < ED25519_BYTES; i++)
        above = above && y[i] == (i == ED25519_BYTES - 1 ? 0x7f : 0xff);
    if (above && y[0] >= 0xed)                           /* RFC 8032 §5.1.3: y is below p = 2^255 - 19 */
        return tg_fail(err, TG_BAD_INPUT, "Ed25519 point in a second spelling");
    return TG_OK;
}

static enum tg_status check(const struct tg_key_parts *parts, struct tg_err *err)
{
    switch (parts->kty) {
    case TG_KTY_RSA:
        return check_rsa(parts, err);
    case TG_KTY_EC:
        if (parts->main_len != parts->curve->bytes || parts->second_len != parts->curve->bytes)
            return tg_fail(err, TG_BAD_INPUT, "coordinates are not of %zu bytes as %s needs", parts->curve->bytes,
                           parts->curve->crv);
        return TG_OK;                                    /* whether on the curve: OpenSSL says so */
    case TG_KTY_OKP:
        return check_ed25519(parts, err);
    case TG_KTY_OCT:
        break;
    }
    if (parts->main_len < tg_alg_facts(TG_ALG_HS256)->hash_len)
        return tg_fail(err, TG_BAD_INPUT, "HMAC secret of %zu bytes, not 32 or more", parts->main_len);
    return TG_OK;
}

/* The algorithms for this type, curve and size. */
static tg_algs algs_of(const struct tg_key_parts *parts)
{
    tg_algs algs = 0;

    for (unsigned i = 0; i < TG_ALG_COUNT; i++) {
        const struct tg_alg_facts *f = tg_alg_facts((enum tg_alg)i);

        if (f->kty != parts->kty)
            continue;
        if (parts->kty == TG_KTY_EC && strcmp(f->crv, parts->curve->crv) != 0)
            continue;
        if (parts->kty == TG_KTY_OCT && parts->main_len < f->hash_len)
            continue;
        algs |= TG_ALG_BIT(i);
    }
    return algs;
}

/* ---- bytes to OpenSSL ---- */

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY *pkey = NULL;

    if (ctx && params && EVP_PKEY_fromdata_init(ctx) > 0 &&
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) <= 0)
        pkey = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *make_rsa(const struct tg_key_parts *parts)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(parts->main, (int)parts->main_len, NULL);
    BIGNUM *e = BN_bin2bn(parts->second, (int)parts->second_len, NULL);
    EVP_PKEY *pkey = NULL;

    if (bld && n && e && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
        pkey = from_params("RSA", bld);
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static EVP_PKEY *make_ec(const struct tg_key_parts *parts)
{
    uint8_t point[1 + 2 * 66] = {POINT_CONVERSION_UNCOMPRESSED};
    size_t len = parts->curve->bytes;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = NULL;

    memcpy(point + 1, parts->main, len);
    memcpy(point + 1 + len, parts->second, len);
    if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, parts->curve->openssl_name, 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * len))
        pkey = from_params("EC", bld);
    /* Reading a point checks the curve's equation already; this says the same once more, and no infinity. */
    if (pkey && (!(ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL)) || EVP_PKEY_public_check(ctx) != 1)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static EVP_PKEY *make_pkey(const struct tg_key_parts *parts)
{
    EVP_PKEY *pkey;

    ERR_clear_error();
    pkey = parts->kty == TG_KTY_RSA ? make_rsa(parts)
         : parts->kty == TG_KTY_EC ? make_ec(parts)
         : EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, parts->main, parts->main_len);
    ERR_clear_error();                                   /* a TLS call of this thread would take it for its own */
    return pkey;
}

static char *copy(struct tg_slice s)
{
    char *p = tg_alloc(s.len + 1);

    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p;
}

static char *print_jwk(const struct tg_key_parts *parts, struct tg_slice kid, enum tg_alg own_alg)
{
    struct tg_buf b = {0};

    tg_buf_addc(&b, '{');
    tg_parts_print(parts, &b);
    if (kid.ptr) {
        tg_buf_adds(&b, ",\"kid\":");
        tg_json_add_string(&b, kid);
    }
    tg_buf_adds(&b, ",\"use\":\"sig\"");
    if (own_alg != TG_ALG_COUNT)
        tg_buf_addf(&b, ",\"alg\":\"%s\"", tg_alg_name(own_alg));
    tg_buf_addc(&b, '}');
    tg_buf_cstr(&b);
    return b.data;
}

enum tg_status tg_key_new(const struct tg_key_parts *parts, struct tg_slice kid, enum tg_alg own_alg,
                          struct tg_jwk **out, struct tg_err *err)
{
    static _Atomic uint64_t serials;
    enum tg_status st = check(parts, err);
    tg_algs fits = algs_of(parts);
    EVP_PKEY *pkey = NULL;
    struct tg_jwk *key;

    if (st != TG_OK)
        return st;
    if (own_alg != TG_ALG_COUNT && !(fits & TG_ALG_BIT(own_alg)))
        return tg_fail(err, TG_BAD_INPUT, "a key of this type, curve or size is not for %s", tg_alg_name(own_alg));
    if (parts->kty != TG_KTY_OCT && !(pkey = make_pkey(parts)))
        return tg_fail(err, TG_BAD_INPUT, "OpenSSL refuses this %s", parts->kty == TG_KTY_EC ?
                       "point, it is not on its curve" : "key");
    key = TG_NEW(struct tg_jwk);
    key->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    key->kty = parts->kty;
    key->fits = own_alg == TG_ALG_COUNT ? fits : TG_ALG_BIT(own_alg);
    key->pkey = pkey;
    if (kid.ptr)
        key->kid = tg_slice(copy(kid), kid.len);
    if (parts->kty == TG_KTY_OCT)
        key->secret = tg_slice(copy(bytes(parts->main, parts->main_len)), parts->main_len);
    else
        key->text = print_jwk(parts, kid, own_alg);
    if (parts->kty == TG_KTY_RSA)
        key->sig_len = (bit_length(parts->main, parts->main_len) + 7) / 8;
    else if (parts->kty == TG_KTY_EC)
        key->sig_len = 2 * parts->curve->bytes;
    else if (parts->kty == TG_KTY_OKP)
        key->sig_len = 2 * ED25519_BYTES;
    *out = key;
    return TG_OK;
}

void tg_key_free(struct tg_jwk *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    if (key->secret.ptr)
        OPENSSL_cleanse((char *)key->secret.ptr, key->secret.len);
    free((char *)key->secret.ptr);
    free((char *)key->kid.ptr);
    free(key->text);
    free(key);
}

bool tg_key_eq(const struct tg_jwk *a, const struct tg_jwk *b)
{
    if (a->kty != b->kty || a->fits != b->fits || !a->kid.ptr != !b->kid.ptr || !tg_slice_eq(a->kid, b->kid))
        return false;
    return a->kty == TG_KTY_OCT ? tg_equal_ct(a->secret, b->secret) : strcmp(a->text, b->text) == 0;
}

/* ---- OpenSSL to bytes ---- */

/* A number as its shortest big-endian bytes, or left-padded to `pad` of them. */
static bool number(const EVP_PKEY *pkey, const char *name, size_t pad, uint8_t *out, size_t room, size_t *len)
{
    BIGNUM *bn = NULL;
    bool ok = false;

    if (EVP_PKEY_get_bn_param(pkey, name, &bn) == 1 && !BN_is_negative(bn)) {
        size_t need = pad ? pad : (size_t)BN_num_bytes(bn);

        ok = need <= room && BN_bn2binpad(bn, out, (int)need) == (int)need;
        *len = need;
    }
    BN_free(bn);
    return ok;
}

static bool ec_parts(const EVP_PKEY *pkey, struct tg_key_parts *out)
{
    char group[80];
    size_t len;

    if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), &len) != 1)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (strcmp(curves[i].openssl_name, group) == 0)
            out->curve = &curves[i];
    }
    return out->curve &&
           number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, out->curve->bytes, out->main, sizeof(out->main), &out->main_len) &&
           number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, out->curve->bytes, out->second, sizeof(out->second),
                  &out->second_len);
}

enum tg_status tg_parts_from_pkey(const EVP_PKEY *pkey, struct tg_key_parts *out, struct tg_err *err)
{
    bool ok = false;

    memset(out, 0, sizeof(*out));
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        out->kty = TG_KTY_RSA;
        ok = number(pkey, OSSL_PKEY_PARAM_RSA_N, 0, out->main, sizeof(out->main), &out->main_len) &&
             number(pkey, OSSL_PKEY_PARAM_RSA_E, 0, out->second, sizeof(out->second), &out->second_len);
    } else if (EVP_PKEY_is_a(pkey, "EC")) {
        out->kty = TG_KTY_EC;
        ok = ec_parts(pkey, out);
    } else if (EVP_PKEY_is_a(pkey, "ED25519")) {
        out->kty = TG_KTY_OKP;
        out->main_len = sizeof(out->main);
        ok = EVP_PKEY_get_raw_public_key(pkey, out->main, &out->main_len) == 1;
    }
    ERR_clear_error();
    if (!ok)
        return tg_fail(err, TG_UNSUPPORTED, "a key is RSA, EC on P-256, P-384 or P-521, or Ed25519; this one is not");
    return TG_OK;
}

void tg_parts_print(const struct tg_key_parts *parts, struct tg_buf *out)
{
    bool rsa = parts->kty == TG_KTY_RSA;

    if (rsa) {
        tg_buf_adds(out, "\"e\":\"");
        tg_base64url_encode(bytes(parts->second, parts->second_len), out);
        tg_buf_adds(out, "\",\"kty\":\"RSA\",\"n\":\"");
    } else if (parts->kty == TG_KTY_EC) {
        tg_buf_addf(out, "\"crv\":\"%s\",\"kty\":\"EC\",\"x\":\"", parts->curve->crv);
    } else {
        tg_buf_adds(out, "\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
    }
    tg_base64url_encode(bytes(parts->main, parts->main_len), out);
    if (parts->kty == TG_KTY_EC) {
        tg_buf_adds(out, "\",\"y\":\"");
        tg_base64url_encode(bytes(parts->second, parts->second_len), out);
    }
    tg_buf_addc(out, '"');
}

/* Decoded and written again: base64url is canonical here, so the members are as they were sent. */
void tg_parts_thumbprint(const struct tg_key_parts *parts, struct tg_buf *out)
{
    uint8_t digest[TG_SHA256_LEN];
    struct tg_buf text = {0};

    tg_buf_addc(&text, '{');
    tg_parts_print(parts, &text);
    tg_buf_addc(&text, '}');
    tg_sha256(tg_buf_slice(&text), digest);
    tg_base64url_encode(tg_slice((const char *)digest, sizeof(digest)), out);
    tg_buf_fini(&text);
}
