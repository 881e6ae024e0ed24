/*
 * tls_bench - certificates made as they are needed, and handshakes between two contexts of this process.
 *
 * Nothing here knows what is tested: certificates and lists come from OpenSSL's own calls, the two sides are joined by
 * memory. Files live in one folder that bench_fini removes.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/file.h"
#include "io/tls.h"
#include "../../../proxy/io/tls_internal.h"
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HOUR_S 3600
#define YEAR_S (365 * 86400)

static char bench_dir[] = "/tmp/tollgate-tls-XXXXXX";
static unsigned bench_serial = 100;
static char **bench_paths;
static size_t bench_path_count;

struct made {
    X509 *cert;
    EVP_PKEY *key;
};
struct spec {
    const char *cn, *san, *eku;                          /* "DNS:a.test,IP:127.0.0.1", "clientAuth"; NULL: none */
    bool ca;
    long from_s, to_s;                                   /* from now; both 0: an hour ago, a year ahead */
    EVP_PKEY *key;                                       /* taken over; NULL: a new one on P-256 */
    const EVP_MD *md;                                    /* NULL: SHA-256 */
};

static inline void bench_init(void)
{
    assert_non_null(mkdtemp(bench_dir));
}

/* A path in the folder, good until the end. */
static inline const char *bench_path(const char *name)
{
    char path[sizeof(bench_dir) + 40];

    snprintf(path, sizeof(path), "%s/%s", bench_dir, name);
    bench_paths = tg_realloc(bench_paths, (bench_path_count + 1) * sizeof(char *));
    return bench_paths[bench_path_count++] = tg_slice_dup(tg_slice_str(path));
}

static inline void bench_fini(void)
{
    char command[sizeof(bench_dir) + 16];

    snprintf(command, sizeof(command), "rm -r %s", bench_dir);
    assert_int_equal(system(command), 0);
    while (bench_path_count)
        free(bench_paths[--bench_path_count]);
    free(bench_paths);
}

/* ---- certificates ---- */

static inline void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_true(X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

static inline struct made make(struct spec spec, const struct made *issuer)
{
    struct made m = {X509_new(), spec.key ? spec.key : EVP_EC_gen("P-256")};
    const EVP_MD *md = spec.md ? spec.md : EVP_sha256();
    bool dated = spec.from_s || spec.to_s;

    assert_non_null(m.key);
    X509_set_version(m.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(m.cert), bench_serial++);
    X509_gmtime_adj(X509_getm_notBefore(m.cert), dated ? spec.from_s : -HOUR_S);
    X509_gmtime_adj(X509_getm_notAfter(m.cert), dated ? spec.to_s : YEAR_S);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(m.cert), "CN", MBSTRING_UTF8, (const unsigned char *)spec.cn, -1,
                               -1, 0);
    X509_set_issuer_name(m.cert, X509_get_subject_name(issuer ? issuer->cert : m.cert));
    X509_set_pubkey(m.cert, m.key);
    if (spec.ca)
        extend(m.cert, issuer ? issuer->cert : m.cert, NID_basic_constraints, "critical,CA:TRUE");
    if (spec.san)
        extend(m.cert, m.cert, NID_subject_alt_name, spec.san);
    if (spec.eku)
        extend(m.cert, m.cert, NID_ext_key_usage, spec.eku);
    assert_true(X509_sign(m.cert, issuer ? issuer->key : m.key,
                          EVP_PKEY_is_a(issuer ? issuer->key : m.key, "ED25519") ? NULL : md) > 0);
    return m;
}

static inline void unmake(struct made *m)
{
    X509_free(m->cert);
    EVP_PKEY_free(m->key);
    *m = (struct made){0};
}

/* ---- files ---- */

static inline const char *put_file(const char *name, struct tg_slice text, unsigned mode)
{
    const char *path = bench_path(name);

    assert_int_equal(tg_file_replace(path, text, mode, NULL), TG_OK);
    return path;
}

static inline const char *put_bio(const char *name, BIO *bio, unsigned mode)
{
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    const char *path = put_file(name, tg_slice(text, (size_t)len), mode);

    BIO_free(bio);
    return path;
}

/* Certificates one after the other; NULLs are passed over. */
static inline const char *put_certs(const char *name, X509 *a, X509 *b, X509 *c)
{
    BIO *bio = BIO_new(BIO_s_mem());

    for (int i = 0; i < 3; i++)
        if ((X509 *[]){a, b, c}[i])
            assert_true(PEM_write_bio_X509(bio, (X509 *[]){a, b, c}[i]));
    return put_bio(name, bio, 0644);
}

static inline const char *put_key(const char *name, EVP_PKEY *key, const char *passphrase, unsigned mode)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_true(PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                                              passphrase ? (int)strlen(passphrase) : 0, NULL, NULL));
    return put_bio(name, bio, mode);
}

static inline const char *put_crl(const char *name, const struct made *issuer, X509 *revoked, long next_s)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *t = ASN1_TIME_new();
    BIO *bio = BIO_new(BIO_s_mem());

    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert));
    X509_CRL_set1_lastUpdate(crl, X509_gmtime_adj(t, -2 * HOUR_S));
    X509_CRL_set1_nextUpdate(crl, X509_gmtime_adj(t, next_s));
    if (revoked) {
        X509_REVOKED *entry = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(entry, X509_gmtime_adj(t, -HOUR_S));
        X509_CRL_add0_revoked(crl, entry);
    }
    assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
    assert_true(PEM_write_bio_X509_CRL(bio, crl));
    X509_CRL_free(crl);
    ASN1_TIME_free(t);
    return put_bio(name, bio, 0644);
}

/* ---- servers and clients ---- */

static inline void add(struct tg_tls_server *s, const struct made *m, X509 *above)
{
    struct tg_err err;

    if (tg_tls_server_add(s, put_certs("add.pem", m->cert, above, NULL), put_key("add.key", m->key, NULL, 0600), &err))
        fail_msg("%s", err.text);
}

/* A client that trusts everybody and says what it is told to; free it. */
static inline SSL_CTX *plain_client(const struct made *own, X509 *above)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    assert_non_null(ctx);
    SSL_CTX_set_security_level(ctx, 0);
    if (own) {
        assert_true(SSL_CTX_use_certificate(ctx, own->cert));
        assert_true(SSL_CTX_use_PrivateKey(ctx, own->key));
    }
    if (above)
        assert_true(SSL_CTX_add1_chain_cert(ctx, above));
    return ctx;
}

/* ---- a connection ---- */

struct link {
    SSL *client, *server;                                /* server: NULL when it is none of ours */
    bool client_done, server_done;
    int client_reason, server_reason;                    /* of the first error; 0: none */
};

static inline void step(SSL *ssl, bool *done, int *reason)
{
    int ret;

    if (*done || *reason)
        return;
    ERR_clear_error();
    ret = SSL_do_handshake(ssl);
    *done = ret == 1;
    if (ret != 1 && SSL_get_error(ssl, ret) != SSL_ERROR_WANT_READ)
        *reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
}

/* What the other side says after its handshake: tickets, an alert; and one octet there and back. */
static inline void settle(struct link *l)
{
    char octet = 0;
    int ret;

    if (l->server_done && !l->server_reason)
        SSL_write(l->server, "s", 1);
    ERR_clear_error();
    ret = l->client_done ? SSL_read(l->client, &octet, 1) : 1;
    if (ret <= 0 && SSL_get_error(l->client, ret) != SSL_ERROR_WANT_READ && !l->client_reason)
        l->client_reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    if (l->client_done && l->server_done && !l->client_reason && !l->server_reason) {
        assert_int_equal(octet, 's');
        assert_int_equal(SSL_write(l->client, "c", 1), 1);
        assert_int_equal(SSL_read(l->server, &octet, 1), 1);
        assert_int_equal(octet, 'c');
    }
}

/* Takes both over. */
static inline struct link join(SSL *client, SSL *server)
{
    struct link l = {.client = client, .server = server};
    BIO *a, *b;

    assert_non_null(client);
    assert_non_null(server);
    assert_true(BIO_new_bio_pair(&a, 65536, &b, 65536));
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    for (int i = 0; i < 10; i++) {
        step(client, &l.client_done, &l.client_reason);
        step(server, &l.server_done, &l.server_reason);
    }
    settle(&l);
    return l;
}

static inline bool is_good(const struct link *l)
{
    return l->client_done && l->server_done && !l->client_reason && !l->server_reason;
}

static inline void part(struct link *l)
{
    if (is_good(l)) {                                    /* as a connection that ended in order */
        SSL_set_shutdown(l->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_set_shutdown(l->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(l->client);
    SSL_free(l->server);
    *l = (struct link){0};
}

/* `session`: to be resumed; replaced by the newest one. NULL: none, and none is kept. */
static inline struct link call(SSL_CTX *client, struct tg_tls_server *server, const char *name, SSL_SESSION **session)
{
    SSL *ssl = SSL_new(client);
    struct link l;

    assert_non_null(ssl);
    SSL_set_connect_state(ssl);
    if (name)
        SSL_set_tlsext_host_name(ssl, name);
    if (session && *session)
        assert_true(SSL_set_session(ssl, *session));
    l = join(ssl, tg_tls_server_begin(server));
    if (session && is_good(&l)) {
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(ssl);
    }
    return l;
}

/* Connects and parts: was it resumed? */
static inline bool resumes(SSL_CTX *client, struct tg_tls_server *server, SSL_SESSION **session)
{
    struct link l = call(client, server, "a.test", session);
    bool resumed = SSL_session_reused(l.server);

    assert_true(is_good(&l));
    assert_int_equal(resumed, SSL_session_reused(l.client));
    part(&l);
    return resumed;
}

static inline void common_name_of(X509 *x, char out[64])
{
    out[0] = '\0';
    if (x)
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, 64);
}
