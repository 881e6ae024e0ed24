/*
 * verify - one signature against one key, with as little set-up as OpenSSL allows.
 *
 * An EVP_PKEY_CTX prepared for a key and algorithm serves any number of verifications but one thread at a time, so
 * each thread keeps a few, found by the key's serial number. Serials are never used twice and a context holds its own
 * reference to the EVP_PKEY, so an entry of a key set that is gone is harmless; it is overwritten by another key or
 * freed with its thread.
 */
#include "base/digest.h"
#include "internal.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdlib.h>

#define SLOTS 32                                         /* power of two */

struct thread {
    EVP_MD_CTX *md;
    struct {
        uint64_t serial;                                 /* 0: free */
        enum tg_alg alg;
        EVP_PKEY_CTX *ctx;
    } slots[SLOTS];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static EVP_MAC *hmac;
static __thread struct thread *mine;

static void free_thread(void *arg)
{
    struct thread *t = arg;

    mine = NULL;                                         /* a later destructor of this thread starts anew */
    for (size_t i = 0; i < SLOTS; i++)
        EVP_PKEY_CTX_free(t->slots[i].ctx);
    EVP_MD_CTX_free(t->md);
    free(t);
}

static void set_up(void)
{
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (!hmac || pthread_key_create(&thread_key, free_thread) != 0)
        tg_panic(__FILE__, __LINE__, "OpenSSL has no HMAC");
}

static struct thread *first_use(void)
{
    struct thread *t = TG_NEW(struct thread);

    pthread_once(&once, set_up);
    t->md = EVP_MD_CTX_new();
    if (!t->md || pthread_setspecific(thread_key, t) != 0)
        tg_panic(__FILE__, __LINE__, "out of memory");
    mine = t;
    return t;
}

static EVP_PKEY_CTX *prepare(const struct tg_jwk *key, enum tg_alg alg)
{
    const struct tg_alg_facts *f = tg_alg_facts(alg);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    bool ok = ctx && EVP_PKEY_verify_init(ctx) == 1;

    if (ok && f->kty == TG_KTY_RSA)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, f->pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1;
    ok = ok && EVP_PKEY_CTX_set_signature_md(ctx, tg_alg_md(alg)) == 1;
    if (ok && f->pss)                                    /* RFC 7518 §3.5: MGF1 and salt go by the same hash */
        ok = EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, tg_alg_md(alg)) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    if (!ok) {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static EVP_PKEY_CTX *prepared(struct thread *t, const struct tg_jwk *key, enum tg_alg alg)
{
    size_t i = (key->serial * 7 + alg) & (SLOTS - 1);

    if (t->slots[i].serial == key->serial && t->slots[i].alg == alg)
        return t->slots[i].ctx;
    EVP_PKEY_CTX_free(t->slots[i].ctx);
    t->slots[i].ctx = prepare(key, alg);
    t->slots[i].serial = t->slots[i].ctx ? key->serial : 0;
    t->slots[i].alg = alg;
    return t->slots[i].ctx;
}

/* One INTEGER: shortest form, a zero byte before a set top bit. */
static size_t der_integer(const uint8_t *p, size_t len, uint8_t *out)
{
    size_t n = 0;

    while (len > 1 && !*p)
        p++, len--;
    out[n++] = 0x02;
    out[n++] = (uint8_t)(len + (*p >> 7));
    if (*p >> 7)
        out[n++] = 0;
    memcpy(out + n, p, len);
    return n + len;
}

size_t tg_ecdsa_to_der(const uint8_t *raw, size_t len, uint8_t *out)
{
    uint8_t body[TG_DER_MAX];
    size_t n = der_integer(raw, len, body), at = 0;

    n += der_integer(raw + len, len, body + n);
    out[at++] = 0x30;
    if (n > 0x7f)
        out[at++] = 0x81;
    out[at++] = (uint8_t)n;
    memcpy(out + at, body, n);
    return at + n;
}

static bool verify_hmac(const struct tg_jwk *key, enum tg_alg alg, struct tg_slice input, struct tg_slice signature)
{
    char digest[8];
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);
    uint8_t mac[EVP_MAX_MD_SIZE];
    size_t len = 0;
    bool ok;

    memcpy(digest, tg_alg_facts(alg)->digest, sizeof("SHA256"));
    ok = ctx && EVP_MAC_init(ctx, (const uint8_t *)key->secret.ptr, key->secret.len, params) == 1 &&
         EVP_MAC_update(ctx, (const uint8_t *)input.ptr, input.len) == 1 &&
         EVP_MAC_final(ctx, mac, &len, sizeof(mac)) == 1;
    EVP_MAC_CTX_free(ctx);
    return ok && len == tg_alg_facts(alg)->hash_len && tg_equal_ct(tg_slice((char *)mac, len), signature);
}

static bool verify_eddsa(struct thread *t, const struct tg_jwk *key, struct tg_slice input, struct tg_slice signature)
{
    bool ok = EVP_MD_CTX_reset(t->md) == 1 && EVP_DigestVerifyInit(t->md, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestVerify(t->md, (const uint8_t *)signature.ptr, signature.len, (const uint8_t *)input.ptr,
                               input.len) == 1;

    EVP_MD_CTX_reset(t->md);                             /* it must not hold on to the key */
    return ok;
}

bool tg_key_verify(const struct tg_jwk *key, enum tg_alg alg, struct tg_slice input, struct tg_slice signature)
{
    struct thread *t = mine ? mine : first_use();
    const uint8_t *sig = (const uint8_t *)signature.ptr;
    size_t sig_len = signature.len;
    uint8_t hash[EVP_MAX_MD_SIZE], der[TG_DER_MAX];
    EVP_PKEY_CTX *ctx;
    bool ok;

    tg_assert(key->fits & TG_ALG_BIT(alg));
    if (key->kty == TG_KTY_OCT)
        return verify_hmac(key, alg, input, signature);
    if (sig_len != key->sig_len)
        return false;
    if (key->kty == TG_KTY_OKP) {
        ok = verify_eddsa(t, key, input, signature);
    } else {
        if (key->kty == TG_KTY_EC) {                     /* r and s of 0, or of n and more: OpenSSL refuses them */
            sig_len = tg_ecdsa_to_der(sig, sig_len / 2, der);
            sig = der;
        }
        ctx = prepared(t, key, alg);
        ok = ctx && EVP_DigestInit_ex2(t->md, tg_alg_md(alg), NULL) == 1 &&
             EVP_DigestUpdate(t->md, input.ptr, input.len) == 1 && EVP_DigestFinal_ex(t->md, hash, NULL) == 1 &&
             EVP_PKEY_verify(ctx, sig, sig_len, hash, tg_alg_facts(alg)->hash_len) == 1;
    }
    if (!ok)
        ERR_clear_error();                               /* a TLS call of this thread would take it for its own */
    return ok;
}
