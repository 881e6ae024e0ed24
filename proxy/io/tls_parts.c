/*
 * tls_parts - what the contexts of both sides are made of.
 */
#include "tls_parts.h"
#include "base/clock.h"
#include "base/file.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEY_MAX ((size_t)65536)
#define RSA_MIN_BITS 2048
#define DIGEST_MIN_BITS 112                              /* of security: not MD5 (39), not SHA-1 (63) */

/* ---- texts ---- */

/* Into a buffer that never moves: no copy of a key stays behind in freed memory. */
static enum tg_status read_still(int fd, const char *path, struct tg_buf *out, struct tg_err *err)
{
    int64_t until_ms = tg_clock_mono_ms() + TG_FILE_PATIENCE_MS;

    tg_buf_reserve(out, KEY_MAX + 1);
    for (;;) {
        ssize_t n = tg_file_take(fd, out->data + out->len, KEY_MAX + 1 - out->len, out->len == 0, until_ms);

        if (n == 0)
            return TG_OK;
        if (n < 0)
            return tg_file_fail(err, path, "cannot be read");
        out->len += (size_t)n;
        if (out->len > KEY_MAX)
            return tg_fail(err, TG_LIMIT, "%s: larger than %zu bytes", path, KEY_MAX);
    }
}

enum tg_status tg_tls_read_key(const char *path, struct tg_buf *out, struct tg_err *err)
{
    struct tg_buf got = {0};
    struct stat st;
    enum tg_status status;
    int fd = tg_file_open(path);

    if (fd < 0)
        return tg_file_fail(err, path, "cannot be opened");
    if (fstat(fd, &st) != 0) {                           /* of what was opened: a link's target, and no race */
        status = tg_file_fail(err, path, "cannot be looked at");
    } else if (st.st_mode & S_IROTH) {
        status = tg_fail(err, TG_DENIED,
                         "%s: a private key that everybody may read (mode %04o): chmod 640 and a group for tollgate, "
                         "or in Kubernetes defaultMode: 0400 or 0440 of the volume",
                         path, (unsigned)st.st_mode & 07777);
    } else {
        status = read_still(fd, path, &got, err);
    }
    close(fd);
    if (status != TG_OK) {
        tg_buf_wipe(&got);
        return status;
    }
    tg_buf_wipe(out);
    *out = got;
    return TG_OK;
}

static const char *reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code);

    ERR_clear_error();
    return text ? text : "OpenSSL gives no reason";
}

/* A terminal is never asked. -1: 0 would be the empty passphrase. */
static int no_passphrase(char *into, int room, int writing, void *asked)
{
    (void)into;
    (void)room;
    (void)writing;
    if (asked)
        *(bool *)asked = true;
    return -1;
}

static BIO *over(struct tg_slice pem)
{
    BIO *bio = BIO_new_mem_buf(pem.len ? pem.ptr : "", (int)pem.len);

    tg_assert(bio);
    return bio;
}

enum tg_status tg_tls_certificates(const char *name, struct tg_slice pem, STACK_OF(X509) **out, struct tg_err *err)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *bio;
    X509 *one;
    enum tg_status st = TG_OK;

    if (pem.len > TG_TLS_PEM_MAX) {
        sk_X509_free(all);
        return tg_fail(err, TG_LIMIT, "%s: larger than %zu bytes", name, TG_TLS_PEM_MAX);
    }
    bio = over(pem);
    ERR_clear_error();
    while (all && (one = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
        if (!sk_X509_push(all, one)) {
            X509_free(one);
            break;
        }
    int count = all ? sk_X509_num(all) : 0;
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
        st = tg_fail(err, TG_BAD_INPUT, "%s: certificate %d is not PEM: %s", name, count + 1, reason());
    else if (count == 0)
        st = tg_fail(err, TG_BAD_INPUT, "%s: holds no PEM certificate", name);
    ERR_clear_error();
    BIO_free(bio);
    if (st != TG_OK)
        sk_X509_pop_free(all, X509_free);
    else
        *out = all;
    return st;
}

int64_t tg_tls_time_s(const ASN1_TIME *t)
{
    struct tm tm;

    return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* ---- a certificate and its key ---- */

static enum tg_status read_private(const char *name, struct tg_slice pem, EVP_PKEY **out, struct tg_err *err)
{
    bool asked = false;
    BIO *bio;
    EVP_PKEY *key;

    if (pem.len > KEY_MAX)
        return tg_fail(err, TG_LIMIT, "%s: larger than %zu bytes", name, KEY_MAX);
    bio = over(pem);
    key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    ERR_clear_error();                                   /* its words would say nothing more */
    BIO_free(bio);
    if (!key && asked)
        return tg_fail(err, TG_BAD_INPUT, "%s: the key has a passphrase; store it without one (openssl pkey)", name);
    if (!key)
        return tg_fail(err, TG_BAD_INPUT, "%s: holds no PEM private key", name);
    *out = key;
    return TG_OK;
}

static bool on_a_known_curve(const EVP_PKEY *key)
{
    static const char *const curves[] = {"prime256v1", "P-256", "secp384r1", "P-384", "secp521r1", "P-521"};
    char name[64];
    size_t len;

    if (!EVP_PKEY_get_group_name(key, name, sizeof(name), &len))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(curves); i++)
        if (strcmp(name, curves[i]) == 0)
            return true;
    return false;
}

static enum tg_status check_key(const char *name, const EVP_PKEY *key, enum tg_tls_kind *kind, struct tg_err *err)
{
    if (EVP_PKEY_is_a(key, "RSA")) {
        *kind = TG_TLS_RSA;
        if (EVP_PKEY_get_bits(key) < RSA_MIN_BITS)
            return tg_fail(err, TG_BAD_INPUT, "%s: an RSA key of %d bits; %d or more are needed", name,
                           EVP_PKEY_get_bits(key), RSA_MIN_BITS);
        return TG_OK;
    }
    if (EVP_PKEY_is_a(key, "EC")) {
        *kind = TG_TLS_EC;
        if (!on_a_known_curve(key))
            return tg_fail(err, TG_BAD_INPUT, "%s: an elliptic curve key must be on P-256, P-384 or P-521", name);
        return TG_OK;
    }
    if (EVP_PKEY_is_a(key, "ED25519")) {
        *kind = TG_TLS_ED25519;
        return TG_OK;
    }
    return tg_fail(err, TG_BAD_INPUT, "%s: neither an RSA, nor an elliptic curve, nor an Ed25519 key", name);
}

static enum tg_status check_signature(const char *name, X509 *leaf, struct tg_err *err)
{
    int digest = NID_undef, bits = 0;

    if (X509_get_signature_info(leaf, &digest, NULL, &bits, NULL) && bits >= DIGEST_MIN_BITS)
        return TG_OK;
    ERR_clear_error();
    return tg_fail(err, TG_BAD_INPUT, "%s: the certificate is signed with %s; nobody trusts that any more", name,
                   digest == NID_undef ? "an unknown algorithm" : OBJ_nid2sn(digest));
}

enum tg_status tg_tls_pair_parse(const char *name, struct tg_slice pem, const char *key_name, struct tg_slice key_pem,
                                 struct tg_tls_pair *out, struct tg_err *err)
{
    struct tg_tls_pair p = {0};
    enum tg_status st = tg_tls_certificates(name, pem, &p.chain, err);

    if (st == TG_OK) {
        p.leaf = sk_X509_shift(p.chain);
        st = read_private(key_name, key_pem, &p.key, err);
    }
    if (st == TG_OK)
        st = check_key(key_name, p.key, &p.kind, err);
    if (st == TG_OK && X509_check_private_key(p.leaf, p.key) != 1)
        st = tg_fail(err, TG_BAD_INPUT, "%s: the key does not belong to the first certificate of %s", key_name, name);
    if (st == TG_OK)
        st = check_signature(name, p.leaf, err);
    ERR_clear_error();
    if (st != TG_OK)
        tg_tls_pair_fini(&p);
    else
        *out = p;
    return st;
}

void tg_tls_pair_fini(struct tg_tls_pair *p)
{
    X509_free(p->leaf);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    *p = (struct tg_tls_pair){0};
}

enum tg_status tg_tls_pair_use(const struct tg_tls_pair *p, SSL_CTX *ctx, const char *name, struct tg_err *err)
{
    if (SSL_CTX_use_cert_and_key(ctx, p->leaf, p->key, p->chain, 1) == 1)
        return TG_OK;
    return tg_fail(err, TG_BAD_INPUT, "%s: cannot be used: %s", name, reason());
}

/* ---- contexts ---- */

#define GROUPS "X25519:P-256:P-384:P-521"                /* the last for certificates on it (RFC 8422 §5.4) */
/* In the order we like; where both have AES instructions, 128 bits are the cheaper half and as far out of reach. */
#define CIPHERS13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS12                                                                                                      \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                         \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SIGNATURES                                                                                                     \
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"      \
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* Everything is said here, so that the system's openssl.cnf neither weakens nor breaks it. */
enum tg_status tg_tls_context(bool server, SSL_CTX **out, struct tg_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

    if (!ctx)
        return tg_fail(err, TG_CRYPTO, "OpenSSL makes no TLS context: %s", reason());
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_clear_options(ctx, SSL_CTX_get_options(ctx));
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    if (server)
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);                      /* one read for a record's head and body */
    if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) || !SSL_CTX_set_max_proto_version(ctx, 0) ||
        !SSL_CTX_set_cipher_list(ctx, CIPHERS12) || !SSL_CTX_set_ciphersuites(ctx, CIPHERS13) ||
        !SSL_CTX_set1_groups_list(ctx, GROUPS) || !SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) ||
        !SSL_CTX_set_max_early_data(ctx, 0)) {
        SSL_CTX_free(ctx);
        return tg_fail(err, TG_CRYPTO, "OpenSSL lacks what TLS needs: %s", reason());
    }
    *out = ctx;
    return TG_OK;
}

/* ---- names ---- */

static bool is_label(const char *label, size_t len)
{
    if (len == 0 || len > 63)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = label[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return true;
}

bool tg_tls_name(struct tg_slice text, bool wildcard, char out[TG_TLS_NAME], size_t *len)
{
    struct tg_slice label, rest;

    if (text.len && text.ptr[text.len - 1] == '.')
        text.len--;
    if (text.len == 0 || text.len > 253)
        return false;
    for (size_t i = 0; i < text.len; i++)
        out[i] = (char)(text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? text.ptr[i] | 0x20 : text.ptr[i]);
    out[text.len] = '\0';
    *len = text.len;
    rest = tg_slice(out, text.len);
    if (wildcard && tg_slice_starts_with(rest, TG_S("*.")))
        rest = tg_slice(rest.ptr + 2, rest.len - 2);
    for (;;) {
        bool more = tg_slice_cut(rest, '.', &label, &rest);

        if (!is_label(label.ptr, label.len))
            return false;
        if (!more)
            return true;
    }
}
