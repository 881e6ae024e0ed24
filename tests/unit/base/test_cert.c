/*
 * cert - facts as `openssl x509` prints them; certificates that are not read: cut, followed, doubled, too large.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/cert.h"
#include "base/file.h"
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void expect_slice(struct tg_slice got, struct tg_slice want)
{
    if (!tg_slice_eq(got, want))
        fail_msg("got \"" TG_S_FMT "\", want \"" TG_S_FMT "\"", TG_S_ARG(got), TG_S_ARG(want));
}

static void expect_text(struct tg_slice got, const char *want) { expect_slice(got, tg_slice_str(want)); }

static void expect_names(const struct tg_cert_names *got, size_t count, const char *const *want)
{
    assert_int_equal(got->count, count);
    for (size_t i = 0; i < count; i++)
        expect_text(got->items[i], want[i]);
}

/* ---- certificates made here ---- */
static X509 *blank(void)
{
    X509 *x = X509_new();

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set_int64(X509_get_serialNumber(x), 1);
    ASN1_TIME_set(X509_getm_notBefore(x), 1000000000);
    ASN1_TIME_set(X509_getm_notAfter(x), 2000000000);
    return x;
}

/* Signs, frees `x` and gives its DER. */
static void to_der(X509 *x, struct tg_buf *out)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    unsigned char *der = NULL;
    int len;

    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, NULL) > 0);
    len = i2d_X509(x, &der);
    assert_true(len > 0);
    out->len = 0;
    tg_buf_add(out, der, (size_t)len);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    X509_free(x);
}

/* The octets of an extension, right or wrong. */
static void add_raw_alt_names(X509 *x, const unsigned char *octets, size_t len)
{
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext;

    ASN1_OCTET_STRING_set(data, octets, (int)len);
    ext = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, data);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(data);
}

static void add_alt_names(X509 *x, const GENERAL_NAMES *names, size_t trailing)
{
    unsigned char *octets = NULL;
    int len = i2d_GENERAL_NAMES(names, &octets);
    struct tg_buf all = {0};

    tg_buf_add(&all, octets, (size_t)len);
    for (size_t i = 0; i < trailing; i++)
        tg_buf_addc(&all, 0);
    add_raw_alt_names(x, (const unsigned char *)all.data, all.len);
    tg_buf_fini(&all);
    OPENSSL_free(octets);
}

static void push_name(GENERAL_NAMES *names, int type, struct tg_slice value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *text = type == GEN_IPADD ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();

    ASN1_STRING_set(text, value.ptr, (int)value.len);
    GENERAL_NAME_set0_value(name, type, text);
    sk_GENERAL_NAME_push(names, name);
}

static enum tg_status read_der(struct tg_slice der, struct tg_cert **out, struct tg_err *err)
{
    enum tg_status st = tg_cert_from_der(der, out, err);

    assert_int_equal(ERR_peek_error(), 0);               /* whatever it was: a connection must not find it */
    return st;
}

static struct tg_cert *must_read(const struct tg_buf *der)
{
    struct tg_cert *cert = NULL;
    struct tg_err err;

    if (read_der(tg_buf_slice(der), &cert, &err) != TG_OK)
        fail_msg("%s", err.text);
    return cert;
}

/* Frees `x`. */
static struct tg_cert *facts_of(X509 *x)
{
    struct tg_buf der = {0};
    struct tg_cert *cert;

    to_der(x, &der);
    cert = must_read(&der);
    tg_buf_fini(&der);
    return cert;
}

/* Frees `x`. */
static void expect_refused(X509 *x, enum tg_status want, const char *sentence)
{
    struct tg_cert *cert = NULL;
    struct tg_buf der = {0};
    struct tg_err err = {0};

    to_der(x, &der);
    assert_int_equal(read_der(tg_buf_slice(&der), &cert, &err), want);
    assert_string_equal(err.text, sentence);
    assert_null(cert);
    tg_buf_fini(&der);
}

/* ---- facts ---- */
static void read_vector(struct tg_buf *out)
{
    struct tg_err err;

    if (tg_file_read(TG_VECTORS "/certificate.pem", 65536, out, &err) != TG_OK)
        fail_msg("%s", err.text);
}

/* What `openssl x509 -fingerprint -sha256 -serial -dates -subject -nameopt RFC2253,-esc_msb,utf8` says of it. */
static void facts_as_openssl_prints_them(void **state)
{
    static const char *const dns[] = {"orders.example.com", "*.orders.example.com"};
    static const char *const emails[] = {"orders@example.com"};
    static const char *const uris[] = {"spiffe://example.com/ns/shop/sa/orders"};
    struct tg_buf pem = {0};
    struct tg_cert *cert = NULL;
    (void)state;

    read_vector(&pem);
    assert_int_equal(tg_cert_from_pem(tg_buf_slice(&pem), &cert, NULL), TG_OK);
    assert_string_equal(cert->fingerprint, "fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e8a0d");
    assert_string_equal(cert->spki_hash, "h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqvY=");
    expect_text(cert->serial, "B1C2D3E4F5061728394A5B6C7D8E9F01");
    expect_text(cert->subject, "CN=orders.svc,OU=Zakázkové oddělení,O=Tollgate\\, Tests,C=CZ");
    expect_text(cert->issuer, "CN=orders.svc,OU=Zakázkové oddělení,O=Tollgate\\, Tests,C=CZ");
    assert_int_equal(cert->not_before_s, 1795310839);    /* Nov 22 01:27:19 2026 GMT */
    assert_int_equal(cert->not_after_s, 2110670839);     /* Nov 19 01:27:19 2036 GMT */
    expect_names(&cert->dns, ARRAY_LEN(dns), dns);
    expect_names(&cert->emails, ARRAY_LEN(emails), emails);
    expect_names(&cert->uris, ARRAY_LEN(uris), uris);
    tg_cert_free(cert);
    tg_buf_fini(&pem);
    tg_cert_free(NULL);
}

static void names_that_are_no_ascii_are_left_out(void **state)
{
    static const struct { int type; struct tg_slice value; } given[] = {
        {GEN_DNS, TG_S_INIT("a.example")},
        {GEN_DNS, TG_S_INIT("good.example\0.evil.example")},
        {GEN_EMAIL, TG_S_INIT("\0@a.example")},
        {GEN_EMAIL, TG_S_INIT("j\xc3\xb6rg@a.example")},
        {GEN_URI, TG_S_INIT("https://a.example/\xff")},
        {GEN_IPADD, TG_S_INIT("\x7f\0\0\x01")},
        {GEN_EMAIL, TG_S_INIT("Jane@A.example")},
        {GEN_DNS, TG_S_INIT("")},
        {GEN_DNS, TG_S_INIT("B.example")},
    };
    static const char *const dns[] = {"a.example", "", "B.example"};
    static const char *const emails[] = {"Jane@A.example"};
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    X509 *x = blank();
    struct tg_cert *cert;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        push_name(names, given[i].type, given[i].value);
    add_alt_names(x, names, 0);
    cert = facts_of(x);
    expect_names(&cert->dns, ARRAY_LEN(dns), dns);
    expect_names(&cert->emails, ARRAY_LEN(emails), emails);
    expect_names(&cert->uris, 0, NULL);
    tg_cert_free(cert);
    GENERAL_NAMES_free(names);
}

static void subjects(void **state)
{
    static const struct { const char *why, *field; int type; struct tg_slice value; const char *want; } cases[] = {
        {"plain", "CN", V_ASN1_UTF8STRING, TG_S_INIT("svc"), "CN=svc"},
        {"§2.4 separators", "CN", V_ASN1_UTF8STRING, TG_S_INIT("a,b+c\"d\\e<f>g;h"),
         "CN=a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h"},
        {"§2.4 spaces and #", "CN", V_ASN1_UTF8STRING, TG_S_INIT(" a "), "CN=\\ a\\ "},
        {"§2.4 a first #", "CN", V_ASN1_UTF8STRING, TG_S_INIT("#a"), "CN=\\#a"},
        {"UTF-8 stays", "O", V_ASN1_UTF8STRING, TG_S_INIT("Lu\xc4\x8di\xc4\x87"), "O=Lu\xc4\x8di\xc4\x87"},
        {"Latin 1 becomes UTF-8", "O", V_ASN1_T61STRING, TG_S_INIT("\xfc"), "O=\xc3\xbc"},
        {"UCS-2 becomes UTF-8", "O", V_ASN1_BMPSTRING, TG_S_INIT("\x20\xac"), "O=\xe2\x82\xac"},
        {"NUL and line feed", "CN", V_ASN1_UTF8STRING, TG_S_INIT("a\0b\nc"), "CN=a\\00b\\0Ac"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        X509 *x = blank();
        struct tg_cert *cert;

        print_message("%s\n", cases[i].why);
        assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), cases[i].field, cases[i].type,
                                               (const unsigned char *)cases[i].value.ptr, (int)cases[i].value.len, -1,
                                               0));
        cert = facts_of(x);
        expect_text(cert->subject, cases[i].want);
        expect_text(cert->issuer, "");
        tg_cert_free(cert);
    }
}

/* An entry that says it is UTF-8 and is not: OpenSSL makes none, so it is made in the DER. */
static void subject_that_is_no_utf8(void **state)
{
    struct tg_buf der = {0};
    struct tg_cert *cert = NULL;
    X509 *x = blank();
    char *at;
    (void)state;

    assert_true(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", V_ASN1_UTF8STRING,
                                           (const unsigned char *)"mark", -1, -1, 0));
    to_der(x, &der);
    tg_cert_free(must_read(&der));
    at = memmem(der.data, der.len, "mark", 4);
    assert_non_null(at);
    *at = (char)0xff;
    assert_int_equal(read_der(tg_buf_slice(&der), &cert, NULL), TG_BAD_INPUT);
    tg_buf_fini(&der);
}

static void serials(void **state)
{
    static const struct { const char *decimal, *want; } cases[] = {
        {"0", "00"}, {"1", "01"}, {"171", "AB"}, {"-171", "-AB"}, {"256", "0100"},
        {"1461501637330902918203684832716283019655932542975", "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ASN1_INTEGER *serial = s2i_ASN1_INTEGER(NULL, cases[i].decimal);
        X509 *x = blank();
        struct tg_cert *cert;

        X509_set_serialNumber(x, serial);
        cert = facts_of(x);
        expect_text(cert->serial, cases[i].want);
        tg_cert_free(cert);
        ASN1_INTEGER_free(serial);
    }
}

static void times(void **state)
{
    static const struct { const char *text; int64_t want; } cases[] = {
        {"500101000000Z", -631152000},                   /* RFC 5280 §4.1.2.5.1: 50 is 1950 */
        {"491231235959Z", 2524607999},                   /* and 49 is 2049 */
        {"20500101000000Z", 2524608000},
        {"99991231235959Z", 253402300799},               /* no end is known */
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        X509 *x = blank();
        struct tg_cert *cert;

        assert_true(ASN1_TIME_set_string(X509_getm_notAfter(x), cases[i].text));
        cert = facts_of(x);
        assert_int_equal(cert->not_before_s, 1000000000);
        assert_int_equal(cert->not_after_s, cases[i].want);
        tg_cert_free(cert);
    }
}

/* ---- refused ---- */
static void cut_or_followed(void **state)
{
    struct tg_buf der = {0};
    struct tg_cert *cert = NULL;
    struct tg_err err;
    (void)state;

    to_der(blank(), &der);
    for (size_t cut = 0; cut < der.len; cut++)
        assert_int_equal(read_der(tg_slice(der.data, cut), &cert, NULL), TG_BAD_INPUT);
    tg_buf_addc(&der, 0);
    assert_int_equal(read_der(tg_buf_slice(&der), &cert, &err), TG_BAD_INPUT);
    assert_string_equal(err.text, "malformed certificate: it is not DER, or octets follow it");
    der.len--;
    tg_cert_free(must_read(&der));
    tg_buf_fini(&der);
}

/* The same certificate in the other spelling of BER: its length in one octet more than needed. */
static void not_der(void **state)
{
    struct tg_buf der = {0}, ber = {0};
    struct tg_cert *cert = NULL;
    (void)state;

    to_der(blank(), &der);
    assert_int_equal((uint8_t)der.data[1], 0x81);        /* its length fits one octet */
    tg_buf_add(&ber, "\x30\x82\x00", 3);
    tg_buf_add(&ber, der.data + 2, der.len - 2);
    assert_int_equal(read_der(tg_buf_slice(&ber), &cert, NULL), TG_BAD_INPUT);
    tg_buf_fini(&ber);
    tg_buf_fini(&der);
}

static void wrong_alt_names(void **state)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    X509 *x = blank();
    (void)state;

    push_name(names, GEN_DNS, TG_S("a.example"));
    add_alt_names(x, names, 1);
    expect_refused(x, TG_BAD_INPUT, "malformed certificate: its subjectAltName cannot be read");
    x = blank();
    add_raw_alt_names(x, (const unsigned char *)"\x30\x05\x82\x09" "abc", 7);
    expect_refused(x, TG_BAD_INPUT, "malformed certificate: its subjectAltName cannot be read");
    x = blank();
    add_alt_names(x, names, 0);
    add_alt_names(x, names, 0);
    expect_refused(x, TG_BAD_INPUT, "malformed certificate: two subjectAltName extensions");
    GENERAL_NAMES_free(names);
}

static void too_many_names(void **state)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    X509 *x = blank();
    struct tg_cert *cert;
    (void)state;

    for (int i = 0; i < 1000; i++)
        push_name(names, GEN_URI, TG_S("urn:x"));
    add_alt_names(x, names, 0);
    cert = facts_of(x);
    assert_int_equal(cert->uris.count, 1000);
    expect_text(cert->uris.items[999], "urn:x");
    tg_cert_free(cert);
    push_name(names, GEN_IPADD, TG_S("\x7f\0\0\x01"));   /* of a kind that is not kept, and counted */
    x = blank();
    add_alt_names(x, names, 0);
    expect_refused(x, TG_LIMIT, "the certificate has more than 1000 names");
    GENERAL_NAMES_free(names);
}

static void too_large(void **state)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    char *name = malloc(65536);
    X509 *x = blank();
    (void)state;

    memset(name, 'a', 65536);
    push_name(names, GEN_DNS, tg_slice(name, 60000));
    add_alt_names(x, names, 0);
    tg_cert_free(facts_of(x));
    push_name(names, GEN_DNS, tg_slice(name, 6000));
    x = blank();
    add_alt_names(x, names, 0);
    expect_refused(x, TG_LIMIT, "the certificate is larger than 65536 bytes");
    GENERAL_NAMES_free(names);
    free(name);
}

/* ---- PEM ---- */
static enum tg_status read_pem(struct tg_slice pem, struct tg_cert **out, struct tg_err *err)
{
    enum tg_status st = tg_cert_from_pem(pem, out, err);

    assert_int_equal(ERR_peek_error(), 0);
    return st;
}

static void the_first_of_a_file(void **state)
{
    static const char key[] = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rA"
                              "MCrn9g\n-----END PRIVATE KEY-----\n";
    struct tg_buf pem = {0}, all = {0};
    struct tg_cert *cert = NULL;
    (void)state;

    read_vector(&pem);
    tg_buf_adds(&all, "Certificate:\n    Data: what `openssl x509 -text` puts before\n");
    tg_buf_adds(&all, key);
    tg_buf_add(&all, pem.data, pem.len);
    tg_buf_adds(&all, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"); /* is not looked at */
    assert_int_equal(read_pem(tg_buf_slice(&all), &cert, NULL), TG_OK);
    assert_memory_equal(cert->fingerprint, "fd1e6361", 8);
    tg_cert_free(cert);
    tg_buf_fini(&all);
    tg_buf_fini(&pem);
}

static void wrong_pem(void **state)
{
    static const struct { const char *text; enum tg_status want; const char *sentence; } cases[] = {
        {"", TG_NOT_FOUND, "there is no certificate in this PEM text"},
        {"hello\n", TG_NOT_FOUND, "there is no certificate in this PEM text"},
        {"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
         "-----END PUBLIC KEY-----\n", TG_NOT_FOUND, "there is no certificate in this PEM text"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", TG_BAD_INPUT,
         "malformed certificate: no X.509 structure"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n", TG_BAD_INPUT, "malformed PEM"},
        {"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", TG_BAD_INPUT, "malformed PEM"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n", TG_BAD_INPUT, "malformed PEM"},
    };
    struct tg_cert *cert = NULL;
    struct tg_err err;
    char *large = calloc(1, (1 << 20) + 1);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("%s", cases[i].text);
        assert_int_equal(read_pem(tg_slice_str(cases[i].text), &cert, &err), cases[i].want);
        assert_string_equal(err.text, cases[i].sentence);
        assert_null(cert);
    }
    assert_int_equal(read_pem(tg_slice(large, (1 << 20) + 1), &cert, NULL), TG_LIMIT);
    assert_int_equal(read_pem((struct tg_slice){0}, &cert, NULL), TG_NOT_FOUND);
    free(large);
}

/* What others left in OpenSSL's queue is theirs, and stays. */
static void errors_of_others_stay(void **state)
{
    struct tg_cert *cert = NULL;
    (void)state;

    ERR_raise(ERR_LIB_USER, 42);
    assert_int_equal(tg_cert_from_der(TG_S("\x30\x03\x02\x01\x01"), &cert, NULL), TG_BAD_INPUT);
    assert_int_equal(tg_cert_from_pem(TG_S("-----BEGIN CERTIFICATE-----\nAAAA\n"), &cert, NULL), TG_BAD_INPUT);
    assert_int_equal(ERR_GET_REASON(ERR_get_error()), 42);
    assert_int_equal(ERR_get_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_as_openssl_prints_them), cmocka_unit_test(names_that_are_no_ascii_are_left_out),
        cmocka_unit_test(subjects), cmocka_unit_test(subject_that_is_no_utf8), cmocka_unit_test(serials),
        cmocka_unit_test(times), cmocka_unit_test(cut_or_followed), cmocka_unit_test(not_der),
        cmocka_unit_test(wrong_alt_names), cmocka_unit_test(too_many_names), cmocka_unit_test(too_large),
        cmocka_unit_test(the_first_of_a_file), cmocka_unit_test(wrong_pem), cmocka_unit_test(errors_of_others_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
