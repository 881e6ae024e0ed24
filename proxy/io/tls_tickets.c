/*
 * tls_tickets - session tickets under keys of the process (RFC 5077 §4, RFC 8446 §4.6.1).
 *
 * A key gives tickets for an hour and takes them for another; then it is gone from memory at the next ticket that comes
 * or goes, and with it what could open a recorded TLS 1.2 session. Keys belong to the process and not to a context: a
 * reload resumes what was given before. Whether a ticket fits the settings in force is the session id context's matter.
 * Threads: any; the lock is held for a copy of 80 octets.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "tls_internal.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>

#define HOUR_MS ((int64_t)3600 * 1000)
#define NAME_LEN 16

struct key {
    unsigned char name[NAME_LEN], cipher[32], mac[32];
    int64_t born_ms;                                     /* wall clock */
    bool there;
};
static struct {
    pthread_mutex_t lock;
    struct key current, previous;
    EVP_CIPHER *aes;                                     /* found once: a search at each ticket costs more than AES */
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A clock that was set back makes a key as old as can be: better a full handshake than a key that stays. */
static int64_t age(const struct key *k, int64_t now_ms)
{
    return k->there && now_ms >= k->born_ms ? now_ms - k->born_ms : 2 * HOUR_MS;
}

/* With the lock. */
static void turn(int64_t now_ms)
{
    if (age(&ring.current, now_ms) >= HOUR_MS) {
        ring.previous = ring.current;
        tg_random(ring.current.name, sizeof(ring.current.name));
        tg_random(ring.current.cipher, sizeof(ring.current.cipher));
        tg_random(ring.current.mac, sizeof(ring.current.mac));
        ring.current.born_ms = now_ms;
        ring.current.there = true;
    }
    if (ring.previous.there && age(&ring.previous, now_ms) >= 2 * HOUR_MS)
        explicit_bzero(&ring.previous, sizeof(ring.previous));
}

/* The key of that name, or with `name` NULL the one to give tickets under. 0: none; 1: current; 2: previous. */
static int pick(const unsigned char *name, struct key *out)
{
    int which = 0;

    pthread_mutex_lock(&ring.lock);
    turn(tg_clock_wall_ms());                            /* read inside: threads see the time in one order */
    if (!name || memcmp(name, ring.current.name, NAME_LEN) == 0)
        which = 1;
    else if (ring.previous.there && memcmp(name, ring.previous.name, NAME_LEN) == 0)
        which = 2;
    if (which)
        *out = which == 1 ? ring.current : ring.previous;
    pthread_mutex_unlock(&ring.lock);
    return which;
}

static bool start_mac(EVP_MAC_CTX *mac, struct key *k)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* Of TLS 1.3 a ticket serves once (RFC 8446 §C.4): who comes with one gets the next. */
static int taken(SSL *ssl, int which)
{
    return which == 2 || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int enc)
{
    struct key k;
    int which = pick(enc ? NULL : name, &k), ok;

    if (!which)
        return 0;                                        /* unknown: a full handshake */
    if (enc) {
        memcpy(name, k.name, NAME_LEN);
        tg_random(iv, 16);
        ok = EVP_EncryptInit_ex2(cipher, ring.aes, k.cipher, iv, NULL);
    } else {
        ok = EVP_DecryptInit_ex2(cipher, ring.aes, k.cipher, iv, NULL);
    }
    ok = ok == 1 && start_mac(mac, &k);
    explicit_bzero(&k, sizeof(k));
    return !ok ? -1 : enc ? 1 : taken(ssl, which);
}

static void find_cipher(void)
{
    ring.aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    tg_assert(ring.aes);
}

void tg_tls_tickets_use(SSL_CTX *ctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_cipher);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, (long)(2 * HOUR_MS / 1000));
    SSL_CTX_set_num_tickets(ctx, 1);                     /* each costs the handshake a copy and a cipher */
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}
