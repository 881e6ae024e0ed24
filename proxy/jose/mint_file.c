/*
 * mint_file - the keys of a PEM file that holds more than one: a rotation's old and new side by side.
 *
 * Why public keys too: the old key's private half has no business lying about once it signs no more.
 */
#include "mint_parts.h"
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

struct block {
    char *name, *header;
    uint8_t *der;
    long len;
};

static bool is(const struct block *b, const char *name) { return strcmp(b->name, name) == 0; }

static void free_block(struct block *b)
{
    OPENSSL_free(b->name);
    OPENSSL_free(b->header);
    OPENSSL_clear_free(b->der, (size_t)b->len);
}

/* A private key whose public half is another's signs what nobody can verify. */
static bool halves_fit(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    bool ok = ctx && EVP_PKEY_pairwise_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool alg_of(const EVP_PKEY *pkey, enum tg_alg *out)
{
    struct tg_key_parts parts;
    struct tg_err ignored;

    if (tg_parts_from_pkey(pkey, &parts, &ignored) != TG_OK)
        return false;
    if (parts.kty == TG_KTY_OKP)
        *out = TG_ALG_EdDSA;
    else if (parts.kty == TG_KTY_EC && strcmp(parts.curve->crv, "P-256") == 0)
        *out = TG_ALG_ES256;
    else
        return false;
    return true;
}

static enum tg_status read_block(const struct block *b, struct tg_signer **out, struct tg_err *err)
{
    const uint8_t *der = b->der;
    bool is_public = is(b, PEM_STRING_PUBLIC);
    EVP_PKEY *pkey;
    struct tg_signer *s;
    enum tg_alg alg;
    enum tg_status st;

    if (is(b, PEM_STRING_PKCS8) || *b->header)
        return tg_fail(err, TG_BAD_INPUT, "an encrypted private key: there is nobody to ask for its password");
    if (!is_public && !is(b, PEM_STRING_PKCS8INF) && !is(b, PEM_STRING_ECPRIVATEKEY) && !is(b, PEM_STRING_RSA))
        return tg_fail(err, TG_BAD_INPUT, "a PEM block that is no key: %.40s", b->name);
    pkey = is_public ? d2i_PUBKEY(NULL, &der, b->len) : d2i_AutoPrivateKey(NULL, &der, b->len);
    if (!pkey)
        return tg_fail(err, TG_BAD_INPUT, "a PEM block %.40s cannot be read", b->name);
    if (!alg_of(pkey, &alg)) {
        EVP_PKEY_free(pkey);
        return tg_fail(err, TG_UNSUPPORTED, "a key that is neither of the curve P-256 (ES256) nor Ed25519 (EdDSA)");
    }
    if (!is_public && !halves_fit(pkey)) {
        EVP_PKEY_free(pkey);
        return tg_fail(err, TG_BAD_INPUT, "a private key whose public half is not its own");
    }
    s = TG_NEW(struct tg_signer);
    s->alg = alg;
    s->may_sign = !is_public;
    st = tg_signer_adopt(s, pkey, tg_slice(NULL, 0), err);
    if (st == TG_OK)
        *out = s;
    else
        tg_signer_free(s);
    return st;
}

/* Both halves of a pair are one key, at the place of the first. */
static enum tg_status add(struct tg_signer *out[TG_SIGNERS_MAX], size_t *count, struct tg_signer *s, struct tg_err *err)
{
    for (size_t i = 0; i < *count; i++) {
        if (!tg_slice_eq(tg_signer_kid(out[i]), tg_signer_kid(s)))
            continue;
        if (!out[i]->may_sign) {
            struct tg_signer *half = out[i];

            out[i] = s;
            s = half;
        }
        tg_signer_free(s);
        return TG_OK;
    }
    if (*count == TG_SIGNERS_MAX) {
        tg_signer_free(s);
        return tg_fail(err, TG_LIMIT, "more than %d keys", TG_SIGNERS_MAX);
    }
    out[(*count)++] = s;
    return TG_OK;
}

static enum tg_status read_blocks(BIO *bio, struct tg_signer *out[TG_SIGNERS_MAX], size_t *count, struct tg_err *err)
{
    enum tg_status st = TG_OK;

    while (st == TG_OK) {
        struct tg_signer *s = NULL;
        struct block b = {0};

        ERR_clear_error();
        if (PEM_read_bio(bio, &b.name, &b.header, &b.der, &b.len) != 1)
            break;
        if (!is(&b, PEM_STRING_ECPARAMETERS))            /* what `openssl ecparam -genkey` puts in front of a key */
            st = read_block(&b, &s, err);
        free_block(&b);
        if (s)
            st = add(out, count, s, err);
    }
    if (st == TG_OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        st = tg_fail(err, TG_BAD_INPUT, "a PEM block is cut off or garbled");
    return st;
}

enum tg_status tg_signers_read(struct tg_slice pem, struct tg_signer *out[TG_SIGNERS_MAX], size_t *count,
                               struct tg_err *err)
{
    BIO *bio = pem.len > 0 && pem.len <= 1 << 20 ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    enum tg_status st = TG_OK;

    *count = 0;
    if (bio)
        st = read_blocks(bio, out, count, err);
    BIO_free(bio);
    ERR_clear_error();
    if (st == TG_OK && *count == 0)
        st = tg_fail(err, TG_BAD_INPUT, "no unencrypted private key in PEM form");
    if (st != TG_OK) {
        for (size_t i = 0; i < *count; i++)
            tg_signer_free(out[i]);
        *count = 0;
    }
    return st;
}
