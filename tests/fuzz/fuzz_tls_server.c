/*
 * fuzz_tls_server - any octets as what a client sends to a TLS listener.
 *
 * The first octet says how: as they are; over a real client's handshake, whose octets they change; or behind one, after
 * data and new keys of the client's. The rest is cut into pieces of any length, and the session is called after each.
 * Laws: nothing crashes; what the client sent as data is read, octet by octet, and nothing else is; what has failed
 * stays failed and has a reason; the session never says much more than it was told. The same input does the same again:
 * time stands still and random numbers are not.
 */
#include "../../proxy/io/internal.h"
#include "../../proxy/io/tls_session.h"
#include "base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_S 1750000000
#define PIECE_MAX 65536
#define SAID_MAX 20000                                   /* a handshake's octets, and those of 64 answers */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum way { AS_IT_IS, CHANGED, BEHIND, WAYS };

static struct tg_tls_server *servers[2];                 /* the second asks for a certificate */
static SSL_CTX *clients[4];                              /* by version, without and with a certificate */
static struct tg_worker_private of_worker;
static struct tg_worker worker = {.private = &of_worker, .now_ms = 1};
static uint64_t dice;

struct input {
    const uint8_t *at;
    size_t left;
};
struct run {
    struct tg_tls_session *session;
    SSL *client;
    BIO *to_client, *from_client;                        /* the client's ends */
    int fds[2];                                          /* the session's, ours */
    bool over, dead;
    size_t said, expected, got;
};

static void law(bool holds)
{
    if (!holds)
        abort();
}

/* ---- numbers that are not random ---- */

static int not_random(unsigned char *out, int n)
{
    for (int i = 0; i < n; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        out[i] = (unsigned char)(dice >> 56);
    }
    return 1;
}

static int is_ready(void)
{
    return 1;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* the short way to a method of one's own */
static void make_random_predictable(void)
{
    static const RAND_METHOD method = {.bytes = not_random, .pseudorand = not_random, .status = is_ready};

    law(RAND_set_rand_method(&method) == 1);
}
#pragma GCC diagnostic pop

/* ---- once ---- */

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    ASN1_TIME_set(X509_getm_notBefore(x), NOW_S - 1000);
    ASN1_TIME_set(X509_getm_notAfter(x), NOW_S + 1000);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"fuzz.test", -1, -1,
                               0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    law(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static void make_server(struct tg_tls_server **out, const char *cert, const char *key, bool asks)
{
    struct tg_tls_client_auth auth = {.ca_file = cert};

    *out = tg_tls_server_new();
    law(tg_tls_server_add(*out, cert, key, NULL) == TG_OK);
    law(!asks || tg_tls_server_verify_clients(*out, &auth, NULL) == TG_OK);
}

static SSL_CTX *make_client(int version, X509 *cert, EVP_PKEY *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    law(!cert || (SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1));
    return ctx;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[] = "/tmp/tollgate-fuzz-XXXXXX", cert_file[64], key_file[64];
    EVP_PKEY *key;
    X509 *cert;
    FILE *f;

    (void)argc;
    (void)argv;
    make_random_predictable();
    tg_clock_set_wall_ms((int64_t)NOW_S * 1000);
    key = EVP_EC_gen("P-256");
    cert = make_certificate(key);
    law(mkdtemp(dir) != NULL);
    snprintf(cert_file, sizeof(cert_file), "%s/cert", dir);
    snprintf(key_file, sizeof(key_file), "%s/key", dir);
    umask(077);
    law((f = fopen(cert_file, "w")) && PEM_write_X509(f, cert) && fclose(f) == 0);
    law((f = fopen(key_file, "w")) && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) && fclose(f) == 0);
    for (int i = 0; i < 2; i++)
        make_server(&servers[i], cert_file, key_file, i == 1);
    for (int i = 0; i < 4; i++)
        clients[i] = make_client(i & 1 ? TLS1_3_VERSION : TLS1_2_VERSION, i & 2 ? cert : NULL, key);
    unlink(cert_file);
    unlink(key_file);
    rmdir(dir);
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

/* ---- the session's side ---- */

static char letter(size_t i)
{
    return (char)('a' + i % 23);
}

static void take_said(struct run *r)
{
    struct tg_slice said = tg_tls_session_take(r->session);

    r->said += said.len;
    if (r->client && said.len > 0)
        BIO_write(r->to_client, said.ptr, (int)said.len);
}

static void look_at_facts(struct run *r)
{
    const struct tg_tls_facts *facts = tg_tls_session_facts(r->session);

    law(facts && facts->version && facts->cipher);
    law(facts->peer != TG_TLS_PEER_INVALID || facts->peer_error);
    law(facts->peer != TG_TLS_PEER_VALID || facts->certificate);
}

static void read_on(struct run *r)
{
    static char into[5000];

    do {
        ssize_t n = tg_tls_session_read(r->session, into, 1 + r->got % sizeof(into));

        take_said(r);
        law(n <= (ssize_t)sizeof(into));
        for (ssize_t i = 0; i < n; i++)
            law(into[i] == letter(r->got + (size_t)i));
        r->got += n > 0 ? (size_t)n : 0;
        r->dead = n == 0 || n == -2;
        law(n != -2 || tg_tls_session_error(r->session)[0] != '\0');
        law(!r->dead || tg_tls_session_read(r->session, into, 1) == n);
    } while (!r->dead && tg_tls_session_has_more(r->session));
}

/* What the loop would call, now that something has come. */
static void turn(struct run *r)
{
    if (r->dead)
        return;
    if (!r->over) {
        enum tg_tls_step step = tg_tls_session_handshake(r->session);

        take_said(r);
        r->over = step == TG_TLS_DONE;
        r->dead = step == TG_TLS_FAILED;
        law(!r->dead || tg_tls_session_error(r->session)[0] != '\0');
        law(tg_tls_session_met_http(r->session) ? r->dead : true);
        if (r->over)
            look_at_facts(r);
    }
    if (r->over)
        read_on(r);
    law(r->said < SAID_MAX);
}

static void give(struct run *r, const void *bytes, size_t n)
{
    law(send(r->fds[1], bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
    turn(r);
    for (int more = 0; !r->dead && recv(r->fds[0], &more, 1, MSG_PEEK) > 0;)
        turn(r);
}

/* ---- the client's side ---- */

/* Its octets so far; those of `patch` (how far from the one before, what to change) are other ones. */
static void give_clients(struct run *r, struct input *patch)
{
    unsigned char bytes[16384];
    int n;

    while ((n = BIO_read(r->from_client, bytes, sizeof(bytes))) > 0) {
        for (size_t at = 0; patch->left >= 2 && at + patch->at[0] < (size_t)n; patch->at += 2, patch->left -= 2) {
            at += patch->at[0];
            bytes[at] ^= patch->at[1];
        }
        give(r, bytes, (size_t)n);
    }
}

static bool shake(struct run *r, struct input *patch)
{
    for (int i = 0; i < 10; i++) {
        int ret = SSL_do_handshake(r->client);

        give_clients(r, patch);
        if (ret == 1 || r->dead)
            break;
    }
    return SSL_is_init_finished(r->client) && r->over;
}

/* Data in records of many sizes, and new keys between them; returns before the octet 0. */
static void talk(struct run *r, struct input *in)
{
    struct input none = {NULL, 0};
    char bytes[4096];

    for (; in->left > 0 && in->at[0] != 0 && !r->dead; in->at++, in->left--) {
        size_t n = in->at[0] < 128 ? in->at[0] : (size_t)(in->at[0] - 127) * 32;

        if (in->at[0] == 255 && SSL_version(r->client) == TLS1_3_VERSION) {
            SSL_key_update(r->client, SSL_KEY_UPDATE_REQUESTED);
            SSL_do_handshake(r->client);
        } else {
            for (size_t i = 0; i < n; i++)
                bytes[i] = letter(r->expected + i);
            if (SSL_write(r->client, bytes, (int)n) == (int)n)
                r->expected += n;
        }
        give_clients(r, &none);
        SSL_read(r->client, bytes, sizeof(bytes));       /* tickets and new keys */
    }
    law(r->dead || r->got == r->expected);
}

static void be_client(struct run *r, SSL_CTX *ctx)
{
    r->client = SSL_new(ctx);
    r->to_client = BIO_new(BIO_s_mem());
    r->from_client = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(r->to_client, -1);
    SSL_set_bio(r->client, r->to_client, r->from_client);
    SSL_set_tlsext_host_name(r->client, "fuzz.test");
    SSL_set_connect_state(r->client);
}

/* ---- one input ---- */

static void give_all(struct run *r, struct input in, unsigned step)
{
    while (in.left > 0 && !r->dead) {
        size_t n = step ? 1 + (step * 37u + in.left) % (step * 64u) : PIECE_MAX;

        n = n < in.left ? n : in.left;
        give(r, in.at, n);
        in.at += n;
        in.left -= n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {.dead = false};
    struct input in;
    enum way way;

    if (size < 1 || size > 200000)
        return 0;
    in = (struct input){data + 1, size - 1};
    dice = 1;
    way = data[0] % WAYS;
    law(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r.fds) == 0);
    fcntl(r.fds[0], F_SETFL, O_NONBLOCK);
    r.session = tg_tls_session_accept(servers[data[0] >> 6 & 1], &worker, r.fds[0]);
    if (way != AS_IT_IS) {
        struct input none = {NULL, 0};

        be_client(&r, clients[data[0] >> 4 & 3]);
        if (way == CHANGED)
            shake(&r, &in);
        else
            law(shake(&r, &none));
        if (way == BEHIND)
            talk(&r, &in);
    }
    give_all(&r, in, data[0] >> 2 & 3);
    shutdown(r.fds[1], SHUT_WR);
    turn(&r);
    law(r.dead);                                         /* there is nothing to wait for any more */
    tg_tls_session_end(r.session);
    take_said(&r);
    tg_tls_session_free(r.session);
    SSL_free(r.client);
    close(r.fds[0]);
    close(r.fds[1]);
    return 0;
}
