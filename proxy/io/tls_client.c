/*
 * tls_client - whom an upstream must prove to be, what we show it, and the session to resume.
 *
 * A name is compared with subjectAltName alone (RFC 9525 §6.3: no common name), a wildcard only as a whole leftmost
 * label; an address with iPAddress.
 * A kept session is resumed only by the client and for the name that it was verified for, and not beyond the server's
 * certificate.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/ip.h"
#include "tls_internal.h"
#include "tls_parts.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

struct tg_tls_client {
    atomic_uint refs;
    SSL_CTX *ctx;
    bool skip_verify;
    char fingerprint[2 * TG_SHA256_LEN + 1];
};
struct kept {                                            /* what a tg_tls_resume points to */
    SSL_SESSION *session;
    int64_t until_s;
    char fingerprint[2 * TG_SHA256_LEN + 1];
    char name[TG_TLS_NAME];
};
struct asked {                                           /* of a connection that may resume */
    struct tg_tls_resume *resume;
    char fingerprint[2 * TG_SHA256_LEN + 1];
    char name[TG_TLS_NAME];
};

static int asked_index = -1;

static void free_asked(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    free(ptr);
}

static void make_index(void)
{
    asked_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_asked);
    tg_assert(asked_index >= 0);
}

/* ---- resumption ---- */

void tg_tls_resume_fini(struct tg_tls_resume *r)
{
    struct kept *k = r->session;

    r->session = NULL;
    if (!k)
        return;
    SSL_SESSION_free(k->session);
    free(k);
}

/* 1: the session is ours now. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct asked *a = SSL_get_ex_data(ssl, asked_index);
    X509 *peer = SSL_SESSION_get0_peer(session);
    struct kept *k;

    if (!a || !peer || !SSL_SESSION_is_resumable(session))
        return 0;
    tg_tls_resume_fini(a->resume);
    k = TG_NEW(struct kept);
    k->session = session;
    k->until_s = tg_tls_time_s(X509_get0_notAfter(peer));
    memcpy(k->fingerprint, a->fingerprint, sizeof(k->fingerprint));
    memcpy(k->name, a->name, sizeof(k->name));
    a->resume->session = k;
    return 1;
}

static bool may_resume(const struct tg_tls_client *c, const struct kept *k, const char *name)
{
    return k && strcmp(k->fingerprint, c->fingerprint) == 0 && strcmp(k->name, name) == 0 &&
           (c->skip_verify || tg_clock_wall_ms() / 1000 < k->until_s) && SSL_SESSION_is_resumable(k->session);
}

static bool resume_or_ask(struct tg_tls_client *c, SSL *ssl, const char *name, struct tg_tls_resume *resume)
{
    const struct kept *k = resume->session;
    struct asked *a;

    if (may_resume(c, k, name) && !SSL_set_session(ssl, k->session))
        return false;
    a = TG_NEW(struct asked);
    a->resume = resume;
    memcpy(a->fingerprint, c->fingerprint, sizeof(a->fingerprint));
    memcpy(a->name, name, strlen(name) + 1);
    if (SSL_set_ex_data(ssl, asked_index, a))
        return true;
    free(a);
    return false;
}

/* ---- one connection ---- */

static struct tg_slice without_brackets(struct tg_slice name)
{
    bool has = name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']';

    return has ? tg_slice(name.ptr + 1, name.len - 2) : name;
}

/* RFC 6066 §3: SNI is for names, not for addresses. */
static bool expect(struct tg_tls_client *c, SSL *ssl, struct tg_slice text, char name[TG_TLS_NAME])
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    struct tg_ip ip;
    size_t len;

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (tg_ip_parse(without_brackets(text), &ip)) {
        name[tg_ip_format(&ip, name)] = '\0';
        return X509_VERIFY_PARAM_set1_ip(param, ip.bytes, ip.family == 4 ? 4 : 16) == 1;
    }
    if (!tg_tls_name(text, false, name, &len)) {         /* nobody can be it */
        name[0] = '\0';
        return c->skip_verify;
    }
    return X509_VERIFY_PARAM_set1_host(param, name, len) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

SSL *tg_tls_client_begin(struct tg_tls_client *c, struct tg_slice name, struct tg_tls_resume *resume)
{
    char expected[TG_TLS_NAME];
    SSL *ssl = SSL_new(c->ctx);

    if (!ssl)
        return NULL;
    SSL_set_connect_state(ssl);
    if (!expect(c, ssl, name, expected) || (resume && !resume_or_ask(c, ssl, expected, resume))) {
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

/* ---- contexts ---- */

static enum tg_status read_pem(const char *file, struct tg_slice given, struct tg_buf *out, struct tg_err *err)
{
    if (given.ptr) {
        tg_buf_add_slice(out, given);
        return TG_OK;
    }
    return tg_file_read(file, TG_TLS_PEM_MAX, out, err);
}

static enum tg_status read_trust(const struct tg_tls_client_settings *settings, X509_STORE **out,
                                 uint8_t digest[TG_SHA256_LEN], struct tg_err *err)
{
    const char *name = settings->ca_pem.ptr || !settings->ca_file ? "tls_custom_ca" : settings->ca_file;
    struct tg_buf pem = {0};
    enum tg_status st;

    if (!settings->ca_file && !settings->ca_pem.ptr)
        return tg_tls_trust_system(out, digest, err);
    st = read_pem(settings->ca_file, settings->ca_pem, &pem, err);
    if (st == TG_OK)
        st = tg_tls_trust_pem(name, tg_buf_slice(&pem), out, err);
    if (st == TG_OK)
        tg_sha256(tg_buf_slice(&pem), digest);
    tg_buf_fini(&pem);
    return st;
}

static enum tg_status parse_own(const struct tg_tls_client_settings *settings, struct tg_slice pem, struct tg_slice key,
                                SSL_CTX *ctx, struct tg_err *err)
{
    const char *name = settings->certificate_pem.ptr ? "tls_client_cert" : settings->certificate_file;
    const char *key_name = settings->key_pem.ptr ? "tls_client_key" : settings->key_file;
    struct tg_tls_pair pair = {0};
    enum tg_status st = tg_tls_pair_parse(name, pem, key_name, key, &pair, err);

    if (st == TG_OK)
        st = tg_tls_pair_use(&pair, ctx, name, err);
    tg_tls_pair_fini(&pair);
    return st;
}

static enum tg_status read_own(const struct tg_tls_client_settings *settings, SSL_CTX *ctx,
                               uint8_t digest[TG_SHA256_LEN], struct tg_err *err)
{
    struct tg_buf pem = {0}, key = {0};
    struct tg_slice key_text = settings->key_pem;
    enum tg_status st;

    if (!settings->certificate_file && !settings->certificate_pem.ptr)
        return TG_OK;
    if (!settings->key_file && !settings->key_pem.ptr)
        return tg_fail(err, TG_BAD_INPUT, "a client certificate needs its key");
    st = read_pem(settings->certificate_file, settings->certificate_pem, &pem, err);
    if (st == TG_OK && !key_text.ptr) {
        st = tg_tls_read_key(settings->key_file, &key, err);
        key_text = tg_buf_slice(&key);
    }
    if (st == TG_OK)
        st = parse_own(settings, tg_buf_slice(&pem), key_text, ctx, err);
    if (st == TG_OK)
        tg_sha256(tg_buf_slice(&pem), digest);           /* the key belongs to it: it need not be told */
    tg_buf_wipe(&pem);
    tg_buf_wipe(&key);
    return st;
}

static enum tg_status new_context(const struct tg_tls_client_settings *settings, SSL_CTX **out,
                                  uint8_t digests[2][TG_SHA256_LEN], struct tg_err *err)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    X509_STORE *store = NULL;
    SSL_CTX *ctx;
    enum tg_status st = tg_tls_context(false, &ctx, err);

    if (st != TG_OK)
        return st;
    st = read_trust(settings, &store, digests[0], err);
    if (st == TG_OK)
        st = read_own(settings, ctx, digests[1], err);
    if (st == TG_OK && !settings->no_alpn && SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0)
        st = tg_fail(err, TG_CRYPTO, "OpenSSL takes no ALPN");
    if (st != TG_OK) {
        X509_STORE_free(store);
        SSL_CTX_free(ctx);
        return st;
    }
    SSL_CTX_set_cert_store(ctx, store);                  /* takes it over */
    SSL_CTX_set_verify(ctx, settings->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    *out = ctx;
    return TG_OK;
}

enum tg_status tg_tls_client_new(const struct tg_tls_client_settings *settings, struct tg_tls_client **out,
                                 struct tg_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint8_t digests[2][TG_SHA256_LEN] = {0}, digest[TG_SHA256_LEN];
    struct tg_tls_client *c;
    struct tg_buf all = {0};
    SSL_CTX *ctx;
    enum tg_status st;

    pthread_once(&once, make_index);
    st = new_context(settings, &ctx, digests, err);
    if (st != TG_OK)
        return st;
    c = TG_NEW(struct tg_tls_client);
    atomic_init(&c->refs, 1);
    c->ctx = ctx;
    c->skip_verify = settings->skip_verify;
    tg_buf_add(&all, digests, sizeof(digests));
    tg_buf_addc(&all, settings->skip_verify ? '1' : '0');
    if (settings->no_alpn)
        tg_buf_addc(&all, 'n');
    tg_sha256(tg_buf_slice(&all), digest);
    tg_hex(digest, sizeof(digest), c->fingerprint);
    tg_buf_fini(&all);
    *out = c;
    return TG_OK;
}

enum tg_status tg_tls_check_ca_file(const char *ca_file, struct tg_err *err)
{
    struct tg_tls_client_settings settings = {.ca_file = ca_file};
    struct tg_tls_client *client = NULL;
    enum tg_status st = ca_file && *ca_file ? tg_tls_client_new(&settings, &client, err) : TG_OK;

    tg_tls_client_unref(client);
    return st;
}

const char *tg_tls_client_fingerprint(const struct tg_tls_client *c)
{
    return c->fingerprint;
}

struct tg_tls_client *tg_tls_client_ref(struct tg_tls_client *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tg_tls_client_unref(struct tg_tls_client *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(c->ctx);
    free(c);
}
