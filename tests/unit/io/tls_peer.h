/*
 * tls_peer - the other end of a TLS stream under test: OpenSSL by itself, and certificates made for the occasion.
 *
 * A peer works on memory, so that a test decides which octets travel when; peer_push and peer_pull move them.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- certificates ---- */

struct made {
    X509 *cert;
    EVP_PKEY *key;
};

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_true(X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

/* `by` NULL: a CA that signs itself; `names`: as in "DNS:a.example,IP:127.0.0.1". Valid until `days` from now. */
static inline struct made make_cert(const char *common_name, const char *names, const struct made *by, int days)
{
    static long serial = 1;
    struct made m = {.cert = X509_new(), .key = EVP_EC_gen("P-256")};
    X509_NAME *name = X509_get_subject_name(m.cert);

    X509_set_version(m.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(m.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(m.cert), -40L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(m.cert), days * 86400L);
    X509_set_pubkey(m.cert, m.key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0);
    X509_set_issuer_name(m.cert, X509_get_subject_name(by ? by->cert : m.cert));
    add_extension(m.cert, by ? by->cert : m.cert, NID_basic_constraints, by ? "CA:FALSE" : "critical,CA:TRUE");
    add_extension(m.cert, by ? by->cert : m.cert, NID_subject_key_identifier, "hash");
    if (names)
        add_extension(m.cert, by->cert, NID_subject_alt_name, names);
    assert_true(X509_sign(m.cert, by ? by->key : m.key, EVP_sha256()) > 0);
    return m;
}

static inline void save_cert(const struct made *m, const char *cert_file, const char *key_file)
{
    FILE *f = fopen(cert_file, "w");

    assert_non_null(f);
    PEM_write_X509(f, m->cert);
    fclose(f);
    if (!key_file)
        return;
    f = fopen(key_file, "w");
    assert_non_null(f);
    fchmod(fileno(f), 0600);
    PEM_write_PrivateKey(f, m->key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
}

static inline void free_cert(struct made *m)
{
    X509_free(m->cert);
    EVP_PKEY_free(m->key);
}

/* ---- a peer ---- */

struct peer {
    int fd;
    SSL *ssl;
    BIO *in, *out;                                       /* of the SSL: what came, what is to go */
};

/* `own` NULL: no certificate; `ca` NULL: everybody is believed. */
static inline SSL_CTX *peer_context(bool server, int version, const struct made *own, X509 *ca)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

    assert_non_null(ctx);
    if (version && version < TLS1_2_VERSION)
        SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    if (own) {
        assert_int_equal(SSL_CTX_use_certificate(ctx, own->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, own->key), 1);
    }
    if (ca) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    return ctx;
}

static inline struct peer peer_new(SSL_CTX *ctx, bool server, int fd)
{
    struct peer p = {.fd = fd, .ssl = SSL_new(ctx), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem())};

    BIO_set_mem_eof_return(p.in, -1);
    SSL_set_bio(p.ssl, p.in, p.out);
    if (server)
        SSL_set_accept_state(p.ssl);
    else
        SSL_set_connect_state(p.ssl);
    return p;
}

static inline void peer_free(struct peer *p)
{
    SSL_free(p->ssl);
    if (p->fd >= 0)
        close(p->fd);
    p->ssl = NULL;
    p->fd = -1;
}

/* Sends what OpenSSL has made, at most `n` octets: how many. */
static inline size_t peer_push(struct peer *p, size_t n)
{
    char *bytes;
    size_t have = (size_t)BIO_get_mem_data(p->out, &bytes), done = 0;
    char *taken;

    if (n > have)
        n = have;
    if (n == 0)
        return 0;
    taken = malloc(n);
    assert_int_equal(BIO_read(p->out, taken, (int)n), n);
    while (done < n) {
        ssize_t k = send(p->fd, taken + done, n - done, MSG_NOSIGNAL);

        if (k < 0)
            break;
        done += (size_t)k;
    }
    free(taken);
    return n;
}

/* Waits for octets and gives them to OpenSSL. False: the other side has ended, or nothing came for ten seconds. */
static inline bool peer_pull(struct peer *p)
{
    char bytes[65536];
    struct pollfd ready = {.fd = p->fd, .events = POLLIN};
    ssize_t n;

    if (poll(&ready, 1, 10000) != 1)
        return false;
    n = recv(p->fd, bytes, sizeof(bytes), 0);
    if (n <= 0)
        return false;
    BIO_write(p->in, bytes, (int)n);
    return true;
}

/* The whole handshake, `step` octets at a time, and after each of them `between`. */
static inline bool peer_shake(struct peer *p, size_t step, void (*between)(void))
{
    for (;;) {
        int ret = SSL_do_handshake(p->ssl);

        while (peer_push(p, step) > 0)
            if (between)
                between();
        if (ret == 1)
            return true;
        if (SSL_get_error(p->ssl, ret) != SSL_ERROR_WANT_READ || !peer_pull(p))
            return false;
    }
}

static inline void peer_write(struct peer *p, const void *bytes, size_t n)
{
    assert_int_equal(SSL_write(p->ssl, bytes, (int)n), n);
    peer_push(p, SIZE_MAX);
}

/* `n` octets, or fewer at the end: then *end is SSL_ERROR_ZERO_RETURN, or SSL_ERROR_WANT_READ for an end without. */
static inline size_t peer_read(struct peer *p, char *into, size_t n, int *end)
{
    size_t done = 0;

    *end = SSL_ERROR_NONE;
    while (done < n) {
        int ret = SSL_read(p->ssl, into + done, (int)(n - done));

        if (ret > 0) {
            done += (size_t)ret;
            continue;
        }
        *end = SSL_get_error(p->ssl, ret);
        if (*end != SSL_ERROR_WANT_READ || !peer_pull(p))
            break;
        *end = SSL_ERROR_NONE;
    }
    peer_push(p, SIZE_MAX);                              /* what reading made it say */
    return done;
}
