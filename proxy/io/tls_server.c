/*
 * tls_server - which certificate answers a name, and what is asked of clients.
 *
 * An SSL_CTX holds one certificate of each kind of key, so a name has its own only when other certificates answer it
 * than the standard ones: the usual listener with one certificate never changes the context of a connection, and where
 * a name has an RSA and an ECDSA certificate OpenSSL takes what the client can, in our order.
 * Invariants: all contexts are alike but for their certificates, also in the session id context, which says under which
 * settings a ticket was given; after the first connection nothing here changes but the count. A connection holds a
 * reference, for OpenSSL calls back with this struct.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/map.h"
#include "tls_internal.h"
#include "tls_parts.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#define CA_NAMES_BYTES 32768                             /* hints in each handshake; a whole bundle is none */
#define SHOWN_BYTES 32768                                /* a client's chain: kept as long as it is connected */
#define RESUMED_MAX_S 86400                              /* then a client shows its key again */

struct set {                                             /* certificates that answer one name */
    int pair[TG_TLS_KINDS];                              /* indices; -1: none of the kind */
    SSL_CTX *ctx;
};
struct tg_tls_server {
    atomic_uint refs;
    struct tg_tls_pair *pairs;
    struct tg_cert **facts;
    size_t count;
    struct set standard;                                 /* for all other names, and for none */
    struct set **sets;
    size_t set_count;
    struct tg_map *names;                                /* "a.example", "*.example" to the set; NULL: none */
    uint8_t scope[TG_SHA256_LEN];                        /* session id context */
    bool asks, reject;
    unsigned max_depth;
};

static int connection_index = -1;                        /* of the reference that a connection holds */

static void drop_reference(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    tg_tls_server_unref(ptr);
}

static void make_index(void)
{
    connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, drop_reference);
    tg_assert(connection_index >= 0);
}

/* ---- names ---- */

/* The most specific name wins: itself, then a wildcard for its leftmost label (RFC 6125 §6.4.3). `name` is spoilt. */
static const struct set *find(const struct tg_tls_server *s, char *name, size_t len)
{
    const struct set *set = tg_map_get(s->names, tg_slice(name, len));
    char *dot;

    if (set || !(dot = memchr(name, '.', len)))
        return set;
    dot[-1] = '*';
    return tg_map_get(s->names, tg_slice(dot - 1, len - (size_t)(dot - 1 - name)));
}

static bool is_same(const struct set *a, const struct set *b)
{
    return memcmp(a->pair, b->pair, sizeof(a->pair)) == 0;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tg_tls_server *s = arg;
    const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct set *set;
    char name[TG_TLS_NAME];
    size_t len;

    (void)alert;
    if (!s->names || !sent || !tg_tls_name(tg_slice_str(sent), false, name, &len))
        return SSL_TLSEXT_ERR_NOACK;
    set = find(s, name, len);
    if (!set)
        return SSL_TLSEXT_ERR_NOACK;
    if (!is_same(set, &s->standard) && !SSL_set_SSL_CTX(ssl, set->ctx))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 §3.2: a client that names protocols and not ours is told so. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned int in_len, void *arg)
{
    static const unsigned char ours[] = "http/1.1";

    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < in_len; at += 1U + in[at])
        if (in[at] == sizeof(ours) - 1 && in_len - at > in[at] && memcmp(in + at + 1, ours, sizeof(ours) - 1) == 0) {
            *out = ours;
            *out_len = sizeof(ours) - 1;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- certificates ---- */

static enum tg_status new_context(struct tg_tls_server *s, SSL_CTX **out, struct tg_err *err)
{
    enum tg_status st = tg_tls_context(true, out, err);

    if (st != TG_OK)
        return st;
    SSL_CTX_set_tlsext_servername_callback(*out, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(*out, s);
    SSL_CTX_set_alpn_select_cb(*out, on_alpn, NULL);
    tg_tls_tickets_use(*out);
    return TG_OK;
}

/* The set with just these certificates, made when there is none. */
static enum tg_status set_of(struct tg_tls_server *s, const struct set *like, struct set **out, struct tg_err *err)
{
    struct set *set;
    SSL_CTX *ctx;
    enum tg_status st;

    for (size_t i = 0; i < s->set_count; i++)
        if (is_same(s->sets[i], like)) {
            *out = s->sets[i];
            return TG_OK;
        }
    st = new_context(s, &ctx, err);
    for (size_t k = 0; st == TG_OK && k < TG_TLS_KINDS; k++)
        if (like->pair[k] >= 0)
            st = tg_tls_pair_use(&s->pairs[like->pair[k]], ctx, "a certificate", err);
    if (st != TG_OK) {
        SSL_CTX_free(ctx);
        return st;
    }
    set = TG_NEW(struct set);
    *set = *like;
    set->ctx = ctx;
    s->sets = tg_realloc(s->sets, (s->set_count + 1) * sizeof(struct set *));
    s->sets[s->set_count++] = set;
    *out = set;
    return TG_OK;
}

/* Certificate `i` answers `name` too, unless an earlier one of its kind does. */
static enum tg_status answer(struct tg_tls_server *s, int i, struct tg_slice text, struct tg_err *err)
{
    enum tg_tls_kind kind = s->pairs[i].kind;
    struct set want = {.pair = {-1, -1, -1}}, *set;
    char name[TG_TLS_NAME];
    size_t len;
    enum tg_status st;

    if (!tg_tls_name(text, true, name, &len))
        return TG_OK;                                    /* no client can ask for it */
    set = tg_map_get(s->names, tg_slice(name, len));
    if (set)
        want = *set;
    if (want.pair[kind] >= 0)
        return TG_OK;
    want.pair[kind] = i;
    st = set_of(s, &want, &set, err);
    if (st == TG_OK)
        tg_map_put(s->names, tg_slice(name, len), set);
    return st;
}

static char *common_name(X509 *leaf)
{
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    int len = at < 0 ? -1 : ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    char *name = len > 0 && !memchr(text, '\0', (size_t)len)
                     ? tg_slice_dup(tg_slice((const char *)text, (size_t)len)) : NULL;

    OPENSSL_free(text);
    ERR_clear_error();
    return name;
}

/* The standard certificates are the first and, for a client that can more, others of its first name. */
static enum tg_status join_standard(struct tg_tls_server *s, int i, struct tg_slice name, struct tg_err *err)
{
    enum tg_tls_kind kind = s->pairs[i].kind;
    struct tg_slice first = s->facts[0]->dns.count ? s->facts[0]->dns.items[0] : (struct tg_slice){0};
    enum tg_status st;

    if (s->standard.pair[kind] >= 0 || (i > 0 && !tg_slice_eq_nocase(name, first)))
        return TG_OK;
    st = tg_tls_pair_use(&s->pairs[i], s->standard.ctx, "a certificate", err);
    if (st == TG_OK)
        s->standard.pair[kind] = i;
    return st;
}

static enum tg_status name_all(struct tg_tls_server *s, int i, struct tg_err *err)
{
    const struct tg_cert_names *dns = &s->facts[i]->dns;
    enum tg_status st = i == 0 ? join_standard(s, 0, TG_S(""), err) : TG_OK;

    for (size_t n = 0; st == TG_OK && n < dns->count; n++) {
        st = answer(s, i, dns->items[n], err);
        if (st == TG_OK)
            st = join_standard(s, i, dns->items[n], err);
    }
    if (st == TG_OK && dns->count == 0) {
        char *name = common_name(s->pairs[i].leaf);

        st = answer(s, i, tg_slice_str(name), err);
        free(name);
    }
    return st;
}

static void enter_scope(struct tg_tls_server *s, struct tg_slice what)
{
    struct tg_buf text = {0};

    tg_buf_add(&text, s->scope, sizeof(s->scope));
    tg_buf_add_slice(&text, what);
    tg_sha256(tg_buf_slice(&text), s->scope);
    tg_buf_fini(&text);
    SSL_CTX_set_session_id_context(s->standard.ctx, s->scope, sizeof(s->scope));
    for (size_t i = 0; i < s->set_count; i++)
        SSL_CTX_set_session_id_context(s->sets[i]->ctx, s->scope, sizeof(s->scope));
}

/* Takes over the pair. */
static enum tg_status keep(struct tg_tls_server *s, struct tg_tls_pair *pair, const char *name, struct tg_err *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509(pair->leaf, &der);
    struct tg_cert *facts = NULL;
    struct tg_err why;
    enum tg_status st = len <= 0 ? tg_fail(&why, TG_BAD_INPUT, "cannot be encoded")
                                 : tg_cert_from_der(tg_slice((const char *)der, (size_t)len), &facts, &why);

    if (st != TG_OK) {
        tg_tls_pair_fini(pair);
        OPENSSL_free(der);
        return tg_fail(err, st, "%s: %s", name, why.text);
    }
    s->pairs = tg_realloc(s->pairs, (s->count + 1) * sizeof(*s->pairs));
    s->facts = tg_realloc(s->facts, (s->count + 1) * sizeof(*s->facts));
    s->pairs[s->count] = *pair;
    s->facts[s->count] = facts;
    st = name_all(s, (int)s->count++, err);
    enter_scope(s, tg_slice((const char *)der, (size_t)len));
    OPENSSL_free(der);
    return st;
}

/* What OpenSSL will not use is found before anything refers to it. */
static enum tg_status try_pair(const struct tg_tls_pair *pair, const char *name, struct tg_err *err)
{
    SSL_CTX *ctx;
    enum tg_status st = tg_tls_context(true, &ctx, err);

    if (st != TG_OK)
        return st;
    st = tg_tls_pair_use(pair, ctx, name, err);
    SSL_CTX_free(ctx);
    return st;
}

enum tg_status tg_tls_server_add(struct tg_tls_server *s, const char *certificate_file, const char *key_file,
                                 struct tg_err *err)
{
    struct tg_buf pem = {0}, key = {0};
    struct tg_tls_pair pair = {0};
    enum tg_status st;

    tg_assert(!s->asks);
    if (!s->standard.ctx) {
        st = new_context(s, &s->standard.ctx, err);
        if (st != TG_OK)
            return st;
    }
    st = tg_file_read(certificate_file, TG_TLS_PEM_MAX, &pem, err);
    if (st == TG_OK)
        st = tg_tls_read_key(key_file, &key, err);
    if (st == TG_OK)
        st = tg_tls_pair_parse(certificate_file, tg_buf_slice(&pem), key_file, tg_buf_slice(&key), &pair, err);
    if (st == TG_OK && (st = try_pair(&pair, certificate_file, err)) != TG_OK)
        tg_tls_pair_fini(&pair);
    if (st == TG_OK)
        st = keep(s, &pair, certificate_file, err);
    tg_buf_wipe(&pem);                                   /* it may hold the key as well */
    tg_buf_wipe(&key);
    return st;
}

/* ---- clients' certificates ---- */

/*
 * The moment when this verification would have another outcome, kept in the session and so in its tickets: a resumed
 * connection never passes for valid longer than a new one would. Without it a session is not resumed.
 */
static void note_until(SSL *ssl, X509_STORE_CTX *ctx, int64_t now_s)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    STACK_OF(X509_CRL) *crls = X509_STORE_CTX_get1_crls(ctx, X509_get_issuer_name(X509_STORE_CTX_get0_cert(ctx)));
    int64_t until_s = now_s + RESUMED_MAX_S, t;

    for (int i = 0; i < sk_X509_num(chain); i++)
        if ((t = tg_tls_time_s(X509_get0_notAfter(sk_X509_value(chain, i)))) < until_s)
            until_s = t;
    for (int i = 0; i < sk_X509_CRL_num(crls); i++)
        if ((t = tg_tls_time_s(X509_CRL_get0_nextUpdate(sk_X509_CRL_value(crls, i)))) > now_s && t < until_s)
            until_s = t;
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
    SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &until_s, sizeof(until_s));
}

/* In place of OpenSSL's own call: its first complaint is the result, and a chain is as long as we count it. */
static int on_client_certificate(X509_STORE_CTX *ctx, void *arg)
{
    const struct tg_tls_server *s = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    int64_t now_s = tg_clock_wall_ms() / 1000;
    bool ok;

    X509_STORE_CTX_set_time(ctx, 0, (time_t)now_s);
    ok = X509_verify_cert(ctx) == 1;
    if (ok && s->max_depth && (unsigned)sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) > s->max_depth + 1) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_CHAIN_TOO_LONG);
        ok = false;
    }
    if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_OK)
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    if (ok)
        note_until(ssl, ctx, now_s);
    ERR_clear_error();
    return ok || !s->reject;
}

static bool still_holds(SSL_SESSION *session)
{
    void *data = NULL;
    size_t len = 0;
    int64_t until_s;

    if (!SSL_SESSION_get0_peer(session))
        return true;                                     /* showed none; only where that is let in */
    if (!SSL_SESSION_get0_ticket_appdata(session, &data, &len) || len != sizeof(until_s))
        return false;                                    /* was invalid: look again */
    memcpy(&until_s, data, sizeof(until_s));
    return tg_clock_wall_ms() / 1000 < until_s;
}

static SSL_TICKET_RETURN on_resumption(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len,
                                       SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl;
    (void)name;
    (void)len;
    (void)arg;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (!still_holds(session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

static enum tg_status add_crls(X509_STORE *store, const char *name, struct tg_slice pem, struct tg_err *err)
{
    BIO *bio = BIO_new_mem_buf(pem.len ? pem.ptr : "", (int)pem.len);
    X509_CRL *crl;
    int count = 0;
    enum tg_status st = TG_OK;

    tg_assert(bio);
    for (; (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)); count++) {
        tg_assert(X509_STORE_add_crl(store, crl));
        X509_CRL_free(crl);
    }
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        st = tg_fail(err, TG_BAD_INPUT, "%s: revocation list %d is not PEM", name, count + 1);
    else if (count == 0)
        st = tg_fail(err, TG_BAD_INPUT, "%s: holds no PEM revocation list (X509 CRL)", name);
    ERR_clear_error();
    BIO_free(bio);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);  /* of the leaf alone */
    return st;
}

/* What a client chooses its certificate by. */
static STACK_OF(X509_NAME) *names_of(X509_STORE *store)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    STACK_OF(X509) *all = X509_STORE_get1_all_certs(store);
    int bytes = 0;

    for (int i = 0; names && i < sk_X509_num(all) && bytes <= CA_NAMES_BYTES; i++) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(sk_X509_value(all, i)));

        bytes += i2d_X509_NAME(name, NULL) + 2;
        if (!name || !sk_X509_NAME_push(names, name))
            X509_NAME_free(name);
    }
    sk_X509_pop_free(all, X509_free);
    if (bytes <= CA_NAMES_BYTES)
        return names;
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return NULL;
}

static void ask(struct tg_tls_server *s, SSL_CTX *ctx, X509_STORE *store)
{
    SSL_CTX_set1_cert_store(ctx, store);
    SSL_CTX_set_max_cert_list(ctx, SHOWN_BYTES);
    SSL_CTX_set0_CA_list(ctx, names_of(store));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (s->reject ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_client_certificate, s);
    SSL_CTX_set_session_ticket_cb(ctx, NULL, on_resumption, NULL);
}

/* Same octets, same scope: a ticket outlives a reload that changed nothing of this, and nothing else. */
static void scope_of(const struct tg_tls_client_auth *auth, struct tg_slice ca, struct tg_slice crl, struct tg_buf *out)
{
    uint8_t digest[TG_SHA256_LEN];

    tg_sha256(ca, digest);
    tg_buf_add(out, digest, sizeof(digest));
    tg_sha256(crl, digest);
    tg_buf_add(out, digest, sizeof(digest));
    tg_buf_addf(out, "%d %d %u", auth->crl_file != NULL, auth->reject, auth->max_depth);
}

enum tg_status tg_tls_server_verify_clients(struct tg_tls_server *s, const struct tg_tls_client_auth *auth,
                                            struct tg_err *err)
{
    struct tg_buf ca = {0}, crl = {0}, scope = {0};
    X509_STORE *store = NULL;
    enum tg_status st;

    tg_assert(!s->asks && s->count > 0);
    st = tg_file_read(auth->ca_file, TG_TLS_PEM_MAX, &ca, err);
    if (st == TG_OK)
        st = tg_tls_trust_pem(auth->ca_file, tg_buf_slice(&ca), &store, err);
    if (st == TG_OK && auth->crl_file)
        st = tg_file_read(auth->crl_file, TG_TLS_CRL_MAX, &crl, err);
    if (st == TG_OK && auth->crl_file)
        st = add_crls(store, auth->crl_file, tg_buf_slice(&crl), err);
    if (st == TG_OK) {
        s->asks = true;
        s->reject = auth->reject;
        s->max_depth = auth->max_depth;
        ask(s, s->standard.ctx, store);
        for (size_t i = 0; i < s->set_count; i++)
            ask(s, s->sets[i]->ctx, store);
        scope_of(auth, tg_buf_slice(&ca), tg_buf_slice(&crl), &scope);
        enter_scope(s, tg_buf_slice(&scope));
    }
    X509_STORE_free(store);
    tg_buf_fini(&ca);
    tg_buf_fini(&crl);
    tg_buf_fini(&scope);
    return st;
}

bool tg_tls_server_asks(const struct tg_tls_server *s)
{
    return s->asks;
}

/* ---- the whole ---- */

struct tg_tls_server *tg_tls_server_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct tg_tls_server *s = TG_NEW(struct tg_tls_server);

    pthread_once(&once, make_index);
    atomic_init(&s->refs, 1);
    s->standard = (struct set){.pair = {-1, -1, -1}};
    s->names = tg_map_new(NULL);
    return s;
}

SSL *tg_tls_server_begin(struct tg_tls_server *s)
{
    SSL *ssl = s->count ? SSL_new(s->standard.ctx) : NULL;

    if (!ssl)
        return NULL;
    if (!SSL_set_ex_data(ssl, connection_index, s)) {
        SSL_free(ssl);
        return NULL;
    }
    tg_tls_server_ref(s);
    SSL_set_accept_state(ssl);
    return ssl;
}

size_t tg_tls_server_count(const struct tg_tls_server *s)
{
    return s->count;
}

const struct tg_cert *tg_tls_server_certificate(const struct tg_tls_server *s, size_t i)
{
    tg_assert(i < s->count);
    return s->facts[i];
}

struct tg_tls_server *tg_tls_server_ref(struct tg_tls_server *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tg_tls_server_unref(struct tg_tls_server *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < s->count; i++) {
        tg_tls_pair_fini(&s->pairs[i]);
        tg_cert_free(s->facts[i]);
    }
    for (size_t i = 0; i < s->set_count; i++) {
        SSL_CTX_free(s->sets[i]->ctx);
        free(s->sets[i]);
    }
    SSL_CTX_free(s->standard.ctx);
    tg_map_free(s->names);
    free(s->pairs);
    free(s->facts);
    free(s->sets);
    free(s);
}
