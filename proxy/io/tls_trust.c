/*
 * tls_trust - whom the other side's certificate must come from; the system's store is loaded once for all.
 *
 * Every certificate that is named trusted is an anchor, also one that is not self-signed. Stores are only read once
 * made; OpenSSL locks inside.
 */
#include "base/digest.h"
#include "base/file.h"
#include "tls_parts.h"
#include <openssl/err.h>
#include <pthread.h>
#include <sys/stat.h>

#define SYSTEM_FILE "/etc/ssl/certs/ca-certificates.crt"

enum tg_status tg_tls_trust_pem(const char *name, struct tg_slice pem, X509_STORE **out, struct tg_err *err)
{
    STACK_OF(X509) *all = NULL;
    enum tg_status st = tg_tls_certificates(name, pem, &all, err);
    X509_STORE *store;

    if (st != TG_OK)
        return st;
    store = X509_STORE_new();
    tg_assert(store);
    for (int i = 0; i < sk_X509_num(all); i++)
        tg_assert(X509_STORE_add_cert(store, sk_X509_value(all, i))); /* one that is there already is fine */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    sk_X509_pop_free(all, X509_free);
    ERR_clear_error();
    *out = store;
    return TG_OK;
}

/* ---- the system's ---- */

static struct {
    pthread_mutex_t lock;
    char *path;                                          /* NULL: not loaded yet */
    struct stat seen;
    X509_STORE *store;
    uint8_t digest[TG_SHA256_LEN];
} loaded = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_loaded(const char *path, const struct stat *now)
{
    const struct stat *then = &loaded.seen;

    return loaded.path && strcmp(loaded.path, path) == 0 && then->st_dev == now->st_dev &&
           then->st_ino == now->st_ino && then->st_size == now->st_size &&
           then->st_mtim.tv_sec == now->st_mtim.tv_sec && then->st_mtim.tv_nsec == now->st_mtim.tv_nsec &&
           then->st_ctim.tv_sec == now->st_ctim.tv_sec && then->st_ctim.tv_nsec == now->st_ctim.tv_nsec;
}

static enum tg_status load(const char *path, const struct stat *now, struct tg_err *err)
{
    struct tg_buf text = {0};
    X509_STORE *store = NULL;
    enum tg_status st = tg_file_read(path, TG_TLS_PEM_MAX, &text, err);

    if (st == TG_OK)
        st = tg_tls_trust_pem(path, tg_buf_slice(&text), &store, err);
    if (st == TG_OK) {
        X509_STORE_free(loaded.store);
        free(loaded.path);
        loaded.store = store;
        loaded.path = tg_slice_dup(tg_slice_str(path));
        loaded.seen = *now;
        tg_sha256(tg_buf_slice(&text), loaded.digest);
    }
    tg_buf_fini(&text);
    return st;
}

/* Where OpenSSL was built to look; it reads the folder as it needs to. */
static enum tg_status built_in(X509_STORE **out, uint8_t digest[TG_SHA256_LEN], struct tg_err *err)
{
    X509_STORE *store = X509_STORE_new();

    tg_assert(store);
    if (!X509_STORE_set_default_paths(store)) {
        X509_STORE_free(store);
        ERR_clear_error();
        return tg_fail(err, TG_CRYPTO, "no store of trusted certificates: neither $SSL_CERT_FILE nor " SYSTEM_FILE
                                       " nor OpenSSL's own can be read");
    }
    ERR_clear_error();
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    tg_sha256(TG_S("the built-in store"), digest);
    *out = store;
    return TG_OK;
}

enum tg_status tg_tls_trust_system(X509_STORE **out, uint8_t digest[TG_SHA256_LEN], struct tg_err *err)
{
    const char *named = getenv("SSL_CERT_FILE"), *path = named && *named ? named : SYSTEM_FILE;
    struct stat now;
    enum tg_status st = TG_OK;

    if (stat(path, &now) != 0) {
        if (path == named)
            return tg_fail(err, TG_NOT_FOUND, "%s: $SSL_CERT_FILE cannot be looked at", path);
        return built_in(out, digest, err);
    }
    pthread_mutex_lock(&loaded.lock);
    if (!is_loaded(path, &now))                          /* looked at before it is read: a later change shows */
        st = load(path, &now, err);
    if (st == TG_OK) {
        X509_STORE_up_ref(loaded.store);
        *out = loaded.store;
        memcpy(digest, loaded.digest, TG_SHA256_LEN);
    }
    pthread_mutex_unlock(&loaded.lock);
    return st;
}
