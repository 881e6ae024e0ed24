/*
 * jwk - key sets read, shared and compared; what a single key must be is key.c's.
 */
#include "jose/jwk.h"
#include "base/digest.h"
#include "base/json.h"
#include "internal.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>

#define KEYS_MAX 1024                                    /* of a set: a look-up goes through all of them */
#define KID_SHOWN_MAX 64

struct tg_jwks {
    _Atomic size_t refs;
    size_t count, skipped;
    bool in_turn;
    char digest[TG_JWKS_DIGEST];
    struct tg_jwk **keys;
    char **reasons;
};

static struct tg_jwks *set_new(size_t room)
{
    struct tg_jwks *set = TG_NEW(struct tg_jwks);

    atomic_init(&set->refs, 1);
    set->keys = TG_NEW_ARRAY(struct tg_jwk *, room + !room);
    set->reasons = TG_NEW_ARRAY(char *, room + !room);
    return set;
}

static void skip(struct tg_jwks *set, size_t i, struct tg_slice kid, const struct tg_err *why)
{
    struct tg_buf b = {0};

    tg_buf_addf(&b, "key %zu", i + 1);
    if (kid.ptr && kid.len <= KID_SHOWN_MAX) {
        tg_buf_adds(&b, " (kid ");
        tg_json_add_string(&b, kid);
        tg_buf_addc(&b, ')');
    }
    tg_buf_addf(&b, ": %s", why->text);
    tg_buf_cstr(&b);
    set->reasons[set->skipped++] = b.data;
}

/* ---- what tells sets apart ---- */

static int by_text(const void *a, const void *b)
{
    return tg_slice_cmp(*(const struct tg_slice *)a, *(const struct tg_slice *)b);
}

/* A public key as a JWK; of a secret its name and what it may verify, not an octet. */
static void describe(const struct tg_jwk *key, struct tg_buf *out)
{
    if (key->text) {
        tg_buf_adds(out, key->text);
        return;
    }
    tg_buf_addf(out, "{\"kty\":\"oct\",\"algs\":%u,\"kid\":", key->fits);
    if (key->kid.ptr)
        tg_json_add_string(out, key->kid);
    else
        tg_buf_adds(out, "null");
    tg_buf_addc(out, '}');
}

static void make_digest(struct tg_jwks *set)
{
    struct tg_slice *lines = TG_NEW_ARRAY(struct tg_slice, set->count + 1);
    size_t *ends = TG_NEW_ARRAY(size_t, set->count + 1);
    struct tg_buf text = {0}, sorted = {0};
    uint8_t digest[TG_SHA256_LEN];

    for (size_t i = 0; i < set->count; i++) {
        describe(set->keys[i], &text);
        ends[i] = text.len;
    }
    for (size_t i = 0, from = 0; i < set->count; from = ends[i++])
        lines[i] = tg_slice(text.data + from, ends[i] - from);
    if (set->count)
        qsort(lines, set->count, sizeof(*lines), by_text); /* providers change the order from answer to answer */
    for (size_t i = 0; i < set->count; i++) {
        tg_buf_add_slice(&sorted, lines[i]);
        tg_buf_addc(&sorted, '\n');
    }
    tg_sha256(tg_buf_slice(&sorted), digest);
    tg_hex(digest, (TG_JWKS_DIGEST - 1) / 2, set->digest);
    tg_buf_fini(&text);
    tg_buf_fini(&sorted);
    free(lines);
    free(ends);
}

/* ---- one JWK ---- */

/* A member that is canonical base64url of 1 to `room` bytes. */
static bool member_bytes(const cJSON *jwk, const char *name, uint8_t *out, size_t room, size_t *len)
{
    struct tg_slice text;

    return tg_json_str(tg_json_get(jwk, name), &text) && text.len > 0 && text.len <= (room + 2) / 3 * 4 &&
           text.len * 3 / 4 <= room && tg_base64url_decode(text, out, len);
}

enum tg_status tg_parts_from_jwk(const cJSON *jwk, bool hmac, struct tg_key_parts *parts, struct tg_err *err)
{
    struct tg_slice kty, crv;

    memset(parts, 0, sizeof(*parts));
    if (!tg_json_str(tg_json_get(jwk, "kty"), &kty))
        return tg_fail(err, TG_BAD_INPUT, "no \"kty\"");
    if (tg_slice_eq(kty, TG_S("RSA"))) {
        parts->kty = TG_KTY_RSA;
        if (!member_bytes(jwk, "n", parts->main, sizeof(parts->main), &parts->main_len) ||
            !member_bytes(jwk, "e", parts->second, sizeof(parts->second), &parts->second_len))
            return tg_fail(err, TG_BAD_INPUT, "an RSA key needs \"n\" and \"e\" in base64url, within 16384 bits");
        return TG_OK;
    }
    if (tg_slice_eq(kty, TG_S("oct"))) {
        parts->kty = TG_KTY_OCT;
        if (!hmac)
            return tg_fail(err, TG_UNSUPPORTED, "a symmetric key is only taken from a local file with HS* named");
        if (!member_bytes(jwk, "k", parts->main, sizeof(parts->main), &parts->main_len))
            return tg_fail(err, TG_BAD_INPUT, "a symmetric key needs \"k\" in base64url, of at most 2048 bytes");
        return TG_OK;
    }
    if (!tg_slice_eq(kty, TG_S("EC")) && !tg_slice_eq(kty, TG_S("OKP")))
        return tg_fail(err, TG_UNSUPPORTED, "its \"kty\" is not known");
    if (!tg_json_str(tg_json_get(jwk, "crv"), &crv))
        return tg_fail(err, TG_BAD_INPUT, "no \"crv\"");
    if (tg_slice_eq(kty, TG_S("EC"))) {
        parts->kty = TG_KTY_EC;
        parts->curve = tg_curve_by_crv(crv);
    } else {
        parts->kty = TG_KTY_OKP;
    }
    if (parts->kty == TG_KTY_EC ? !parts->curve : !tg_slice_eq(crv, TG_S("Ed25519")))
        return tg_fail(err, TG_UNSUPPORTED, "its \"crv\" is not known");
    if (!member_bytes(jwk, "x", parts->main, sizeof(parts->main), &parts->main_len) ||
        (parts->kty == TG_KTY_EC && !member_bytes(jwk, "y", parts->second, sizeof(parts->second), &parts->second_len)))
        return tg_fail(err, TG_BAD_INPUT, "coordinates are missing or no base64url");
    return TG_OK;
}

/* RFC 7517 §4.2 and §4.3. */
enum tg_status tg_jwk_check_purpose(const cJSON *jwk, struct tg_err *err)
{
    const cJSON *use = tg_json_get(jwk, "use"), *ops = tg_json_get(jwk, "key_ops"), *op;
    struct tg_slice text;
    bool verify = false;

    if (use && (!tg_json_str(use, &text) || !tg_slice_eq(text, TG_S("sig"))))
        return tg_fail(err, TG_UNSUPPORTED, "its \"use\" is not \"sig\"");
    if (!ops)
        return TG_OK;
    if (!cJSON_IsArray(ops))
        return tg_fail(err, TG_BAD_INPUT, "its \"key_ops\" is no list");
    cJSON_ArrayForEach(op, ops) {
        if (!tg_json_str(op, &text))
            return tg_fail(err, TG_BAD_INPUT, "its \"key_ops\" holds what is no text");
        verify = verify || tg_slice_eq(text, TG_S("verify"));
    }
    if (!verify)
        return tg_fail(err, TG_UNSUPPORTED, "its \"key_ops\" lacks \"verify\"");
    return TG_OK;
}

static enum tg_status read_key(const cJSON *jwk, bool hmac, struct tg_slice *kid, struct tg_jwk **out,
                               struct tg_err *err)
{
    const cJSON *kid_node = tg_json_get(jwk, "kid"), *alg_node = tg_json_get(jwk, "alg");
    struct tg_key_parts parts;
    enum tg_alg own_alg = TG_ALG_COUNT;
    struct tg_slice text;
    enum tg_status st;

    if (!cJSON_IsObject(jwk))
        return tg_fail(err, TG_BAD_INPUT, "it is no JSON object");
    if (kid_node && !tg_json_str(kid_node, kid))
        return tg_fail(err, TG_BAD_INPUT, "its \"kid\" is no text");
    if ((st = tg_jwk_check_purpose(jwk, err)) != TG_OK)
        return st;
    if (alg_node && (!tg_json_str(alg_node, &text) || !tg_alg_parse(text, &own_alg)))
        return tg_fail(err, TG_UNSUPPORTED, "its \"alg\" is no signature algorithm known here");
    st = tg_parts_from_jwk(jwk, hmac, &parts, err);
    if (st == TG_OK)
        st = tg_key_new(&parts, *kid, own_alg, out, err);
    OPENSSL_cleanse(&parts, sizeof(parts));              /* it may have held a secret */
    return st;
}

static void add_jwk(struct tg_jwks *set, size_t i, const cJSON *jwk, bool hmac)
{
    struct tg_slice kid = {0};
    struct tg_err err;

    if (read_key(jwk, hmac, &kid, &set->keys[set->count], &err) == TG_OK)
        set->count++;
    else
        skip(set, i, kid, &err);
}

enum tg_status tg_jwks_parse(struct tg_slice json, bool hmac, struct tg_jwks **out, struct tg_err *err)
{
    cJSON *root = NULL;
    const cJSON *keys, *jwk;
    struct tg_jwks *set;
    size_t count = 0, i = 0;
    enum tg_status st = tg_json_parse(json, NULL, &root, err);

    if (st != TG_OK)
        return st == TG_LIMIT ? st : TG_BAD_INPUT;
    keys = tg_json_get(root, "keys");
    if (keys ? !cJSON_IsArray(keys) : !tg_json_get(root, "kty")) {
        st = tg_fail(err, TG_BAD_INPUT, "no JWK set (an object with a list \"keys\") and no JWK");
        goto out;
    }
    cJSON_ArrayForEach(jwk, keys)
        count++;
    if (count > KEYS_MAX) {
        st = tg_fail(err, TG_LIMIT, "a JWK set of %zu keys, more than %d", count, KEYS_MAX);
        goto out;
    }
    set = set_new(keys ? count : 1);
    set->in_turn = hmac;
    if (!keys)
        add_jwk(set, 0, root, hmac);
    cJSON_ArrayForEach(jwk, keys)
        add_jwk(set, i++, jwk, hmac);
    make_digest(set);
    *out = set;
out:
    cJSON_Delete(root);
    return st;
}

/* ---- PEM and secrets ---- */

struct pem_block {
    char *name, *header;
    uint8_t *der;
    long len;
};

static void free_block(struct pem_block *b)
{
    OPENSSL_free(b->name);
    OPENSSL_free(b->header);
    OPENSSL_clear_free(b->der, (size_t)b->len);
}

static bool is_block(const struct pem_block *b, const char *name) { return strcmp(b->name, name) == 0; }

/* "EC PARAMETERS" and the like are passed over, and what is encrypted ("Proc-Type"): nobody to ask for a password. */
static bool holds_key(const struct pem_block *b)
{
    static const char *const names[] = {PEM_STRING_PUBLIC,   PEM_STRING_RSA_PUBLIC, PEM_STRING_X509,
                                        PEM_STRING_PKCS8INF, PEM_STRING_RSA,        PEM_STRING_ECPRIVATEKEY};
    bool found = false;

    for (size_t i = 0; i < ARRAY_LEN(names) && !found; i++)
        found = is_block(b, names[i]);
    return found && !*b->header;
}

/* The certificates of one text, to tell an authority from a signer. */
struct pem_chain {
    X509 *items[TG_KEYS_IN_TURN + 1];
    size_t count;
};

static bool signed_one_of(struct pem_chain *chain, X509 *cert)
{
    for (size_t i = 0; i < chain->count; i++)
        if (X509_check_issued(cert, chain->items[i]) == X509_V_OK && X509_get0_pubkey(cert) &&
            X509_verify(chain->items[i], X509_get0_pubkey(cert)) == 1)
            return true;
    return false;
}

/* NULL: not what its name says. `*authority`: no key to verify with. */
static EVP_PKEY *pkey_from_block(const struct pem_block *b, struct pem_chain *chain, bool *authority)
{
    const uint8_t *der = b->der;
    X509 *cert;

    if (is_block(b, PEM_STRING_PUBLIC))
        return d2i_PUBKEY(NULL, &der, b->len);
    if (is_block(b, PEM_STRING_RSA_PUBLIC))
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, b->len);
    if (!is_block(b, PEM_STRING_X509))
        return d2i_AutoPrivateKey(NULL, &der, b->len);
    if (!(cert = d2i_X509(NULL, &der, b->len)))
        return NULL;
    *authority = signed_one_of(chain, cert);
    if (chain->count == ARRAY_LEN(chain->items)) {
        X509_free(cert);
        return NULL;
    }
    chain->items[chain->count++] = cert;
    return X509_get_pubkey(cert);
}

static enum tg_status add_block(struct tg_jwks *set, const struct pem_block *b, struct pem_chain *chain,
                                struct tg_err *err)
{
    bool authority = false;
    EVP_PKEY *pkey = pkey_from_block(b, chain, &authority);
    struct tg_key_parts parts;
    struct tg_jwk *key = NULL;
    enum tg_status st = TG_OK;

    if (!pkey)
        return tg_fail(err, TG_BAD_INPUT, "a PEM block %s cannot be read", b->name);
    if (!authority)
        st = tg_parts_from_pkey(pkey, &parts, err);
    EVP_PKEY_free(pkey);
    if (authority || st != TG_OK)
        return st;
    if (set->count == TG_KEYS_IN_TURN)
        return tg_fail(err, TG_LIMIT, "more than %d keys in PEM", TG_KEYS_IN_TURN);
    st = tg_key_new(&parts, tg_slice(NULL, 0), TG_ALG_COUNT, &key, err);
    if (st != TG_OK)
        return st;
    for (size_t i = 0; i < set->count; i++)
        if (tg_key_eq(set->keys[i], key)) {              /* both halves of a pair in one file */
            tg_key_free(key);
            return TG_OK;
        }
    set->keys[set->count++] = key;
    return TG_OK;
}

static enum tg_status add_blocks(struct tg_jwks *set, BIO *bio, struct tg_err *err)
{
    struct pem_chain chain = {0};
    enum tg_status st = TG_OK;

    while (st == TG_OK) {
        struct pem_block b = {0};

        ERR_clear_error();
        if (PEM_read_bio(bio, &b.name, &b.header, &b.der, &b.len) != 1)
            break;
        if (holds_key(&b))
            st = add_block(set, &b, &chain, err);
        free_block(&b);
    }
    if (st == TG_OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        st = tg_fail(err, TG_BAD_INPUT, "a PEM block is cut off or garbled");
    for (size_t i = 0; i < chain.count; i++)
        X509_free(chain.items[i]);
    return st;
}

enum tg_status tg_jwks_from_pem(struct tg_slice pem, struct tg_jwks **out, struct tg_err *err)
{
    BIO *bio = pem.len > 0 && pem.len <= 1 << 20 ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    struct tg_jwks *set = set_new(TG_KEYS_IN_TURN);
    enum tg_status st = TG_OK;

    set->in_turn = true;
    if (bio)
        st = add_blocks(set, bio, err);
    BIO_free(bio);
    ERR_clear_error();
    if (st == TG_OK && set->count == 0)
        st = tg_fail(err, TG_BAD_INPUT, "no PEM with a public key, a certificate or an unencrypted private key");
    if (st == TG_OK) {
        make_digest(set);
        *out = set;
    } else {
        tg_jwks_unref(set);
    }
    return st;
}

enum tg_status tg_jwks_from_secret(struct tg_slice secret, struct tg_jwks **out, struct tg_err *err)
{
    struct tg_key_parts parts = {.kty = TG_KTY_OCT};
    struct tg_jwk *key = NULL;
    enum tg_status st;

    if (secret.len > sizeof(parts.main))
        return tg_fail(err, TG_LIMIT, "an HMAC secret of %zu bytes, more than %zu", secret.len, sizeof(parts.main));
    if (secret.len)
        memcpy(parts.main, secret.ptr, secret.len);
    parts.main_len = secret.len;
    st = tg_key_new(&parts, tg_slice(NULL, 0), TG_ALG_COUNT, &key, err);
    OPENSSL_cleanse(&parts, sizeof(parts));
    if (st != TG_OK)
        return st;
    *out = set_new(1);
    (*out)->keys[(*out)->count++] = key;
    make_digest(*out);
    return TG_OK;
}

/* ---- the set ---- */

struct tg_jwks *tg_jwks_ref(struct tg_jwks *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void tg_jwks_unref(struct tg_jwks *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        tg_key_free(set->keys[i]);
    for (size_t i = 0; i < set->skipped; i++)
        free(set->reasons[i]);
    free(set->keys);
    free(set->reasons);
    free(set);
}

size_t tg_jwks_count(const struct tg_jwks *set)
{
    return set->count;
}

tg_algs tg_jwks_algs(const struct tg_jwks *set)
{
    tg_algs algs = 0;

    for (size_t i = 0; i < set->count; i++)
        algs |= set->keys[i]->fits;
    return algs;
}

bool tg_jwks_in_turn(const struct tg_jwks *set) { return set->in_turn; }

const char *tg_jwks_digest(const struct tg_jwks *set) { return set->digest; }

size_t tg_jwks_skipped(const struct tg_jwks *set)
{
    return set->skipped;
}

const char *tg_jwks_skip_reason(const struct tg_jwks *set, size_t i)
{
    return i < set->skipped ? set->reasons[i] : NULL;
}

const struct tg_jwk *tg_jwks_key(const struct tg_jwks *set, size_t i)
{
    return set->keys[i];
}

bool tg_jwks_covers(const struct tg_jwks *after, const struct tg_jwks *before)
{
    for (size_t i = 0; i < before->count; i++) {
        bool found = false;

        for (size_t k = 0; k < after->count && !found; k++)
            found = tg_key_eq(before->keys[i], after->keys[k]);
        if (!found)
            return false;
    }
    return true;
}

void tg_jwks_print(const struct tg_jwks *set, struct tg_buf *out)
{
    bool first = true;

    tg_buf_adds(out, "{\"keys\":[");
    for (size_t i = 0; i < set->count; i++) {
        if (!set->keys[i]->text)
            continue;
        if (!first)
            tg_buf_addc(out, ',');
        tg_buf_adds(out, set->keys[i]->text);
        first = false;
    }
    tg_buf_adds(out, "]}");
}
