/*
 * cert - an X.509 certificate is read once, its facts are kept, OpenSSL's own form of it is not.
 *
 * Certificates come from peers: sizes are bounded before anything is kept, and what OpenSSL complains about never stays
 * in its queue of errors, where a TLS connection of the same thread would find it. The facts are one allocation: the
 * struct, the names, the text they point into.
 */
#include "base/cert.h"
#include "base/digest.h"
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <time.h>

#define DER_BYTES 65536
#define NAMES_MAX 1000
#define PEM_BYTES (1 << 20)

enum kind { DNS, EMAIL, URI, KINDS };
struct span {                                            /* of the text, which moves while it grows */
    size_t start, len;
};
struct facts {
    struct tg_cert cert;                                 /* its numbers and digests; slices come last */
    struct tg_buf text;
    struct tg_buf names[KINDS];                          /* of struct span */
    struct span subject, issuer, serial;
};

static enum tg_status malformed(struct tg_err *err, const char *what)
{
    return tg_fail(err, TG_BAD_INPUT, "malformed certificate: %s", what);
}

static struct span keep(struct facts *f, const char *bytes, size_t len)
{
    struct span span = {f->text.len, len};

    tg_buf_add(&f->text, bytes, len);
    return span;
}

/* ---- names and numbers ---- */
/* RFC 4514. OpenSSL has refused a value that says it is UTF-8 and is not. */
static bool keep_name(struct facts *f, const X509_NAME *name, struct span *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool ok = bio &&
              X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0;

    if (ok) {
        long len = BIO_get_mem_data(bio, &text);

        *out = keep(f, text, (size_t)len);
    }
    BIO_free(bio);
    return ok;
}

static struct span keep_serial(struct facts *f, const ASN1_INTEGER *serial)
{
    struct tg_buf hex = {0};
    const unsigned char *bytes = ASN1_STRING_get0_data(serial);
    struct span out;

    if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
        tg_buf_addc(&hex, '-');
    for (int i = 0; i < ASN1_STRING_length(serial); i++)
        tg_buf_addf(&hex, "%02X", bytes[i]);
    out = keep(f, hex.data, hex.len);
    tg_buf_fini(&hex);
    return out;
}

static bool read_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm tm;

    if (!time || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

/* ---- subjectAltName ---- */
/* IA5String is ASCII (X.680 §41); a NUL would end the name early for others. */
static bool is_clean(const unsigned char *bytes, int len)
{
    for (int i = 0; i < len; i++) {
        if (bytes[i] == 0 || bytes[i] >= 0x80)
            return false;
    }
    return true;
}

static void keep_alt_name(struct facts *f, enum kind kind, const ASN1_IA5STRING *name)
{
    const unsigned char *bytes = ASN1_STRING_get0_data(name);
    int len = ASN1_STRING_length(name);
    struct span span;

    if (!is_clean(bytes, len))
        return;
    span = keep(f, (const char *)bytes, (size_t)len);
    tg_buf_add(&f->names[kind], &span, sizeof(span));
}

static void keep_alt_names(struct facts *f, const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS)
            keep_alt_name(f, DNS, name->d.dNSName);
        else if (name->type == GEN_EMAIL)
            keep_alt_name(f, EMAIL, name->d.rfc822Name);
        else if (name->type == GEN_URI)
            keep_alt_name(f, URI, name->d.uniformResourceIdentifier);
    }
}

static enum tg_status read_alt_names(struct facts *f, const X509 *x509, struct tg_err *err)
{
    int at = X509_get_ext_by_NID(x509, NID_subject_alt_name, -1);
    const ASN1_OCTET_STRING *data;
    const unsigned char *p, *end;
    GENERAL_NAMES *names;
    enum tg_status st = TG_OK;

    if (at < 0)
        return TG_OK;
    if (X509_get_ext_by_NID(x509, NID_subject_alt_name, at) >= 0)
        return malformed(err, "two subjectAltName extensions"); /* RFC 5280 §4.2 */
    data = X509_EXTENSION_get_data(X509_get_ext(x509, at));
    p = ASN1_STRING_get0_data(data);
    end = p + ASN1_STRING_length(data);
    names = d2i_GENERAL_NAMES(NULL, &p, end - p);
    if (!names || p != end)
        st = malformed(err, "its subjectAltName cannot be read");
    else if (sk_GENERAL_NAME_num(names) > NAMES_MAX)
        st = tg_fail(err, TG_LIMIT, "the certificate has more than %d names", NAMES_MAX);
    else
        keep_alt_names(f, names);
    GENERAL_NAMES_free(names);
    return st;
}

/* ---- the whole ---- */
static bool digest(struct facts *f, const X509 *x509, struct tg_slice der)
{
    uint8_t sha256[TG_SHA256_LEN];
    unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &spki);
    struct tg_buf base64 = {0};

    if (len <= 0)
        return false;
    tg_sha256(tg_slice((const char *)spki, (size_t)len), sha256);
    OPENSSL_free(spki);
    tg_base64_encode(tg_slice((const char *)sha256, sizeof(sha256)), &base64);
    tg_assert(base64.len == sizeof(f->cert.spki_hash) - 1);
    memcpy(f->cert.spki_hash, base64.data, base64.len);
    tg_buf_fini(&base64);
    tg_sha256(der, sha256);
    tg_hex(sha256, sizeof(sha256), f->cert.fingerprint);
    return true;
}

static enum tg_status read_facts(struct facts *f, const X509 *x509, struct tg_slice der, struct tg_err *err)
{
    if (!digest(f, x509, der))
        return malformed(err, "its public key cannot be read");
    if (!keep_name(f, X509_get_subject_name(x509), &f->subject) ||
        !keep_name(f, X509_get_issuer_name(x509), &f->issuer))
        return malformed(err, "its subject or issuer cannot be read");
    f->serial = keep_serial(f, X509_get0_serialNumber(x509));
    if (!read_time(X509_get0_notBefore(x509), &f->cert.not_before_s) ||
        !read_time(X509_get0_notAfter(x509), &f->cert.not_after_s))
        return malformed(err, "its validity cannot be read");
    return read_alt_names(f, x509, err);
}

static struct tg_slice slice_at(const char *text, struct span span) { return tg_slice(text + span.start, span.len); }

/* One allocation: the struct, the names of all kinds, the text. */
static struct tg_cert *pack(const struct facts *f)
{
    size_t count = (f->names[DNS].len + f->names[EMAIL].len + f->names[URI].len) / sizeof(struct span);
    struct tg_cert *cert = tg_alloc(sizeof(*cert) + count * sizeof(struct tg_slice) + f->text.len);
    struct tg_cert_names *names[KINDS] = {[DNS] = &cert->dns, [EMAIL] = &cert->emails, [URI] = &cert->uris};
    struct tg_slice *item = (struct tg_slice *)(void *)(cert + 1);
    char *text = (char *)(item + count);

    *cert = f->cert;
    if (f->text.len > 0)
        memcpy(text, f->text.data, f->text.len);
    cert->subject = slice_at(text, f->subject);
    cert->issuer = slice_at(text, f->issuer);
    cert->serial = slice_at(text, f->serial);
    for (int kind = 0; kind < KINDS; kind++) {
        const struct span *spans = (const struct span *)(const void *)f->names[kind].data;

        names[kind]->items = item;
        names[kind]->count = f->names[kind].len / sizeof(*spans);
        for (size_t i = 0; i < names[kind]->count; i++)
            *item++ = slice_at(text, spans[i]);
    }
    return cert;
}

/* Whether the certificate is these octets exactly: no others behind it, and no second spelling of its length. */
static bool is_whole(X509 *x509, struct tg_slice der)
{
    unsigned char *again = NULL;
    int len = i2d_X509(x509, &again);
    bool same = len >= 0 && (size_t)len == der.len && memcmp(again, der.ptr, der.len) == 0;

    if (len >= 0)
        OPENSSL_free(again);
    return same;
}

enum tg_status tg_cert_from_der(struct tg_slice der, struct tg_cert **out, struct tg_err *err)
{
    const unsigned char *p = (const unsigned char *)der.ptr;
    struct facts f = {0};
    enum tg_status st;
    X509 *x509;

    if (der.len > DER_BYTES)
        return tg_fail(err, TG_LIMIT, "the certificate is larger than %d bytes", DER_BYTES);
    if (der.len == 0)
        return malformed(err, "it is empty");
    ERR_set_mark();
    x509 = d2i_X509(NULL, &p, (long)der.len);
    if (!x509)
        st = malformed(err, "no X.509 structure");
    else if (!is_whole(x509, der))
        st = malformed(err, "it is not DER, or octets follow it");
    else
        st = read_facts(&f, x509, der, err);
    if (st == TG_OK)
        *out = pack(&f);
    X509_free(x509);
    ERR_pop_to_mark();
    tg_buf_fini(&f.text);
    for (int kind = 0; kind < KINDS; kind++)
        tg_buf_fini(&f.names[kind]);
    return st;
}

/* One block. A private key may stand before the certificate: nothing of it stays in freed memory. */
static enum tg_status read_block(BIO *bio, struct tg_cert **out, bool *found, struct tg_err *err)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    enum tg_status st = TG_OK;
    long len = 0;

    if (PEM_read_bio(bio, &name, &header, &data, &len) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
            return tg_fail(err, TG_NOT_FOUND, "there is no certificate in this PEM text");
        return tg_fail(err, TG_BAD_INPUT, "malformed PEM");
    }
    *found = strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0;
    if (*found)
        st = tg_cert_from_der(tg_slice((const char *)data, (size_t)len), out, err);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(data, (size_t)len);
    return st;
}

enum tg_status tg_cert_from_pem(struct tg_slice pem, struct tg_cert **out, struct tg_err *err)
{
    enum tg_status st = TG_OK;
    bool found = false;
    BIO *bio;

    if (pem.len > PEM_BYTES)
        return tg_fail(err, TG_LIMIT, "the PEM text is larger than %d bytes", PEM_BYTES);
    ERR_set_mark();
    bio = BIO_new_mem_buf(pem.len > 0 ? pem.ptr : "", (int)pem.len);
    if (!bio)
        tg_panic(__FILE__, __LINE__, "out of memory");
    while (st == TG_OK && !found)
        st = read_block(bio, out, &found, err);
    BIO_free(bio);
    ERR_pop_to_mark();
    return st;
}

void tg_cert_free(struct tg_cert *cert) { free(cert); }
