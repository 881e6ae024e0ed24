/*
 * mint - libjwt signs RS, ES and HS; what it cannot do is signed here: PS and EdDSA, and any typ but "JWT", which
 * libjwt 1.10 writes over whatever it was given.
 */
#include "jose/mint.h"
#include "base/digest.h"
#include "base/json.h"
#include "mint_parts.h"
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define RSA_BITS 2048

/* Left out: PS* and EdDSA. */
static const jwt_alg_t libjwt_algs[TG_ALG_COUNT] = {
    [TG_ALG_RS256] = JWT_ALG_RS256, [TG_ALG_RS384] = JWT_ALG_RS384, [TG_ALG_RS512] = JWT_ALG_RS512,
    [TG_ALG_ES256] = JWT_ALG_ES256, [TG_ALG_ES384] = JWT_ALG_ES384, [TG_ALG_ES512] = JWT_ALG_ES512,
    [TG_ALG_HS256] = JWT_ALG_HS256, [TG_ALG_HS384] = JWT_ALG_HS384, [TG_ALG_HS512] = JWT_ALG_HS512,
};

/* ---- keys ---- */

static bool export_pem(EVP_PKEY *pkey, struct tg_buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    long len;
    bool ok = bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
              (len = BIO_get_mem_data(bio, &data)) > 0;

    if (ok) {
        tg_buf_reserve(out, (size_t)len + 1);            /* at once: growing would leave a copy behind */
        tg_buf_add(out, data, (size_t)len);
    }
    BIO_free(bio);                                       /* wipes its memory */
    return ok;
}

enum tg_status tg_signer_adopt(struct tg_signer *s, EVP_PKEY *pkey, struct tg_slice kid, struct tg_err *err)
{
    struct tg_key_parts parts;
    enum tg_status st;

    s->pkey = pkey;
    if ((st = tg_parts_from_pkey(pkey, &parts, err)) != TG_OK)
        return st;
    if (kid.len)
        tg_buf_add_slice(&s->kid, kid);
    else
        tg_parts_thumbprint(&parts, &s->kid);
    if ((st = tg_key_new(&parts, tg_buf_slice(&s->kid), s->alg, &s->jwk, err)) != TG_OK)
        return st;
    if (s->may_sign && !export_pem(pkey, &s->key))
        return tg_fail(err, TG_CRYPTO, "OpenSSL does not write this private key");
    return TG_OK;
}

static EVP_PKEY *generate(enum tg_alg alg)
{
    const struct tg_alg_facts *f = tg_alg_facts(alg);

    if (f->kty == TG_KTY_RSA)
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS);
    if (f->kty == TG_KTY_EC)
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", tg_curve_by_crv(tg_slice_str(f->crv))->openssl_name);
    return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

enum tg_status tg_signer_generate(enum tg_alg alg, struct tg_signer **out, struct tg_err *err)
{
    struct tg_signer *s;
    EVP_PKEY *pkey;
    enum tg_status st;

    if (alg >= TG_ALG_COUNT || tg_alg_facts(alg)->kty == TG_KTY_OCT)
        return tg_fail(err, TG_UNSUPPORTED, "a key pair is made for RS*, PS*, ES* and EdDSA; HS* needs a secret");
    ERR_clear_error();
    pkey = generate(alg);
    ERR_clear_error();
    if (!pkey)
        return tg_fail(err, TG_CRYPTO, "OpenSSL does not make a key for %s", tg_alg_name(alg));
    s = TG_NEW(struct tg_signer);
    s->alg = alg;
    s->may_sign = true;
    if ((st = tg_signer_adopt(s, pkey, tg_slice(NULL, 0), err)) != TG_OK) {
        tg_signer_free(s);
        return st;
    }
    *out = s;
    return TG_OK;
}

/* Nobody is there to type one. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static enum tg_status load_secret(struct tg_signer *s, struct tg_slice secret, struct tg_slice kid, struct tg_err *err)
{
    size_t need = tg_alg_facts(s->alg)->hash_len;

    if (secret.len < need || secret.len > TG_KEY_BYTES_MAX)
        return tg_fail(err, TG_BAD_INPUT, "a secret for %s has %zu to %d bytes, not %zu", tg_alg_name(s->alg), need,
                       TG_KEY_BYTES_MAX, secret.len);
    tg_buf_reserve(&s->key, secret.len + 1);
    tg_buf_add_slice(&s->key, secret);
    tg_buf_add_slice(&s->kid, kid);
    return TG_OK;
}

enum tg_status tg_signer_load(enum tg_alg alg, struct tg_slice key, struct tg_slice kid, struct tg_signer **out,
                              struct tg_err *err)
{
    struct tg_signer *s;
    EVP_PKEY *pkey;
    BIO *bio;
    enum tg_status st;

    if (alg >= TG_ALG_COUNT)
        return tg_fail(err, TG_UNSUPPORTED, "not an algorithm to sign with");
    s = TG_NEW(struct tg_signer);
    s->alg = alg;
    s->may_sign = true;
    if (tg_alg_facts(alg)->kty == TG_KTY_OCT) {
        st = load_secret(s, key, kid, err);
        goto out;
    }
    ERR_clear_error();
    bio = key.len > 0 && key.len <= 1 << 20 ? BIO_new_mem_buf(key.ptr, (int)key.len) : NULL;
    pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    st = pkey ? tg_signer_adopt(s, pkey, kid, err)
              : tg_fail(err, TG_BAD_INPUT, "no unencrypted private key in PEM form");
out:
    if (st == TG_OK)
        *out = s;
    else
        tg_signer_free(s);
    return st;
}

void tg_signer_free(struct tg_signer *signer)
{
    if (!signer)
        return;
    if (signer->key.data)
        OPENSSL_cleanse(signer->key.data, signer->key.cap);
    tg_buf_fini(&signer->key);
    EVP_PKEY_free(signer->pkey);                         /* wipes the private numbers */
    tg_key_free(signer->jwk);
    tg_buf_fini(&signer->kid);
    free(signer);
}

bool tg_signer_may_sign(const struct tg_signer *signer)
{
    return signer->may_sign;
}

struct tg_slice tg_signer_kid(const struct tg_signer *signer)
{
    return tg_buf_slice(&signer->kid);
}

struct tg_slice tg_signer_jwk(const struct tg_signer *signer)
{
    return tg_slice_str(signer->jwk ? signer->jwk->text : NULL);
}

void tg_signer_jwks(const struct tg_signer *signer, struct tg_buf *out)
{
    tg_buf_adds(out, "{\"keys\":[");
    if (signer->jwk)
        tg_buf_adds(out, signer->jwk->text);
    tg_buf_adds(out, "]}");
}

enum tg_status tg_signer_pem(const struct tg_signer *signer, struct tg_buf *out, struct tg_err *err)
{
    if (!signer->may_sign)
        return tg_fail(err, TG_UNSUPPORTED, "there is only the public half of this key");
    if (!signer->pkey)
        return tg_fail(err, TG_UNSUPPORTED, "a shared secret has no PEM form");
    tg_buf_add_slice(out, tg_buf_slice(&signer->key));
    return TG_OK;
}

/* ---- signing ---- */

static enum tg_status sign_by_libjwt(const struct tg_signer *s, const char *claims, struct tg_buf *out,
                                     struct tg_err *err)
{
    jwt_t *jwt = NULL;
    char *token = NULL, *kid = s->kid.len ? tg_slice_dup(tg_buf_slice(&s->kid)) : NULL;
    enum tg_status st = TG_OK;

    if (jwt_new(&jwt) != 0) {
        st = tg_fail(err, TG_CRYPTO, "libjwt has no memory");
        goto out;
    }
    if (jwt_add_grants_json(jwt, claims) != 0) {
        st = tg_fail(err, TG_BAD_INPUT, "libjwt does not take these claims");
        goto out;
    }
    if ((kid && jwt_add_header(jwt, "kid", kid) != 0) ||
        jwt_set_alg(jwt, libjwt_algs[s->alg], (const unsigned char *)s->key.data, (int)s->key.len) != 0 ||
        !(token = jwt_encode_str(jwt))) {
        st = tg_fail(err, TG_CRYPTO, "libjwt does not sign with %s", tg_alg_name(s->alg));
        goto out;
    }
    tg_buf_adds(out, token);
out:
    free(token);
    jwt_free(jwt);
    free(kid);
    ERR_clear_error();
    return st;
}

static bool sign_hmac(const struct tg_signer *s, struct tg_slice input, uint8_t *sig, size_t *len)
{
    const char *digest = tg_alg_facts(s->alg)->digest;

    return EVP_Q_mac(NULL, "HMAC", NULL, digest, NULL, s->key.data, s->key.len, (const uint8_t *)input.ptr, input.len,
                     sig, *len, len) != NULL;
}

/* RFC 7518 §3.4: r and s side by side, each as long as the curve's order. */
static bool der_to_raw(const uint8_t *der, size_t der_len, size_t half, uint8_t *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) == (int)half &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) == (int)half;

    ECDSA_SIG_free(sig);
    return ok;
}

static bool sign_pkey(const struct tg_signer *s, struct tg_slice input, uint8_t *sig, size_t *len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    uint8_t der[TG_DER_MAX];
    size_t der_len = sizeof(der);
    bool ec = s->jwk->kty == TG_KTY_EC;
    bool ok = md && EVP_DigestSignInit_ex(md, &ctx, tg_alg_facts(s->alg)->digest, NULL, NULL, s->pkey, NULL) == 1;

    if (ok && tg_alg_facts(s->alg)->pss)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, tg_alg_md(s->alg)) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestSign(md, ec ? der : sig, ec ? &der_len : len, (const uint8_t *)input.ptr, input.len) == 1;
    if (ok && ec) {
        *len = s->jwk->sig_len;
        ok = der_to_raw(der, der_len, *len / 2, sig);
    }
    EVP_MD_CTX_free(md);
    return ok;
}

enum tg_status tg_signer_sign_octets(const struct tg_signer *s, struct tg_slice header, struct tg_slice payload,
                                     struct tg_buf *out, struct tg_err *err)
{
    uint8_t sig[TG_KEY_BYTES_MAX];
    size_t sig_len = sizeof(sig);
    struct tg_buf token = {0};
    enum tg_status st = TG_OK;
    bool ok;

    if (!s->may_sign)
        return tg_fail(err, TG_UNSUPPORTED, "there is only the public half of this key");
    tg_base64url_encode(header, &token);
    tg_buf_addc(&token, '.');
    tg_base64url_encode(payload, &token);
    ok = s->pkey ? sign_pkey(s, tg_buf_slice(&token), sig, &sig_len)
                 : sign_hmac(s, tg_buf_slice(&token), sig, &sig_len);
    ERR_clear_error();
    if (!ok) {
        st = tg_fail(err, TG_CRYPTO, "OpenSSL does not sign with %s", tg_alg_name(s->alg));
        goto out;
    }
    tg_buf_addc(&token, '.');
    tg_base64url_encode(tg_slice((char *)sig, sig_len), &token);
    tg_buf_add_slice(out, tg_buf_slice(&token));
out:
    tg_buf_fini(&token);
    return st;
}

static enum tg_status sign_here(const struct tg_signer *s, struct tg_slice claims, const char *typ, struct tg_buf *out,
                                struct tg_err *err)
{
    struct tg_buf header = {0};
    enum tg_status st;

    tg_buf_addf(&header, "{\"alg\":\"%s\",\"typ\":", tg_alg_name(s->alg));
    tg_json_add_string(&header, tg_slice_str(typ));
    if (s->kid.len) {
        tg_buf_adds(&header, ",\"kid\":");
        tg_json_add_string(&header, tg_buf_slice(&s->kid));
    }
    tg_buf_addc(&header, '}');
    st = tg_signer_sign_octets(s, tg_buf_slice(&header), claims, out, err);
    tg_buf_fini(&header);
    return st;
}

enum tg_status tg_signer_sign(const struct tg_signer *signer, struct tg_slice claims, const char *typ,
                              struct tg_buf *out, struct tg_err *err)
{
    struct tg_err why;
    cJSON *root = NULL;
    enum tg_status st;
    char *text;

    if (tg_json_parse(claims, NULL, &root, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "claims: %s", why.text);
    st = cJSON_IsObject(root) ? TG_OK : tg_fail(err, TG_BAD_INPUT, "claims are no JSON object");
    cJSON_Delete(root);
    if (st != TG_OK)
        return st;
    if (libjwt_algs[signer->alg] == JWT_ALG_NONE || strcmp(typ, "JWT") != 0)
        return sign_here(signer, claims, typ, out, err);
    text = tg_slice_dup(claims);
    st = sign_by_libjwt(signer, text, out, err);
    free(text);
    return st;
}

enum tg_status tg_signer_sign_ours(const struct tg_signer *signer, struct tg_slice claims, struct tg_buf *out,
                                   struct tg_err *err)
{
    return sign_here(signer, claims, "JWT", out, err);
}
