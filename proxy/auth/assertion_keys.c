/*
 * assertion_keys - the keys that sign for the services, and the set that is published.
 *
 * A key that signed until a reload stays published for an hour: longer than any assertion of it lives, and than a
 * service keeps the set. One that was only published goes when it leaves the file. Private halves are dropped at once.
 */
#include "assertion_parts.h"
#include "base/file.h"
#include "base/log.h"
#include "key_file.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "/signing-key.pem"
#define FILE_BYTES ((size_t)65536)
#define RETIRED_MS (60 * 60000)
#define RETIRED_MAX 16

struct retired {                                         /* of a key that signs no more: what is published */
    char *kid, *jwk;
    int64_t until_ms;
};
struct tg_signing {
    char *path;                                          /* NULL: nothing is kept */
    _Atomic uint64_t version;
    struct tg_signing_keys *own;                         /* the key that was made here, once one was needed */
    pthread_mutex_t lock;                                /* of what follows */
    struct tg_signing_keys *keys;                        /* NULL: nobody signs */
    struct retired retired[RETIRED_MAX];                 /* oldest first */
    size_t retired_count;
};

/* ---- the keys of one configuration ---- */

static struct tg_signing_keys *ref(struct tg_signing_keys *keys)
{
    atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

void tg_signing_keys_unref(struct tg_signing_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < keys->count; i++)
        tg_signer_free(keys->signers[i]);
    free(keys);
}

static enum tg_status read_keys(struct tg_slice pem, struct tg_signing_keys **out, struct tg_err *err)
{
    struct tg_signing_keys *keys = TG_NEW(struct tg_signing_keys);
    enum tg_status st = tg_signers_read(pem, keys->signers, &keys->count, err);

    atomic_init(&keys->refs, 1);
    for (size_t i = 0; i < keys->count && !keys->signing; i++)
        if (tg_signer_may_sign(keys->signers[i]))
            keys->signing = keys->signers[i];
    if (st == TG_OK && !keys->signing)
        st = tg_fail(err, TG_BAD_INPUT, "only public keys: a private one has to sign");
    if (st == TG_OK)
        *out = keys;
    else
        tg_signing_keys_unref(keys);
    return st;
}

enum tg_status tg_signing_check(struct tg_slice pem, struct tg_err *err)
{
    struct tg_signing_keys *keys = NULL;
    enum tg_status st = read_keys(pem, &keys, err);

    tg_signing_keys_unref(keys);
    return st;
}

/* ---- the key that is made here ---- */

static enum tg_status load_own(const char *path, struct tg_signing_keys **out, struct tg_err *err)
{
    struct tg_buf pem = {0};
    struct tg_err why = {0};
    enum tg_status st = tg_file_read(path, FILE_BYTES, &pem, err);

    if (st == TG_OK && (st = read_keys(tg_buf_slice(&pem), out, &why)) != TG_OK)
        tg_fail(err, st, "%s: %s; remove the file to have a new key made", path, why.text);
    tg_buf_wipe(&pem);
    return st;
}

static enum tg_status make_own(const char *path, struct tg_signing_keys **out, struct tg_err *err)
{
    struct tg_signer *made = NULL;
    struct tg_buf pem = {0};
    struct tg_err why = {0};
    enum tg_status st = tg_signer_generate(TG_ALG_ES256, &made, err);
    bool taken = false;

    if (st == TG_OK)
        st = tg_signer_pem(made, &pem, err);
    if (st == TG_OK && path) {
        enum tg_status kept = tg_key_file_keep(path, tg_buf_slice(&pem), &why);

        if (kept == TG_DENIED && access(path, F_OK) == 0)
            taken = true;
        else if (kept != TG_OK)
            tg_log(TG_LOG_WARN, "the key that signs for the services is not kept: the next start makes another",
                   TG_F_STR("reason", why.text));
    }
    if (st == TG_OK)
        st = taken ? load_own(path, out, err) : read_keys(tg_buf_slice(&pem), out, err);
    tg_signer_free(made);
    tg_buf_wipe(&pem);
    return st;
}

static enum tg_status have_own(struct tg_signing *s, struct tg_err *err)
{
    enum tg_status st = TG_NOT_FOUND;

    if (s->own)
        return TG_OK;
    if (s->path)
        st = load_own(s->path, &s->own, err);
    if (st == TG_NOT_FOUND)
        st = make_own(s->path, &s->own, err);
    return st;
}

/* ---- the process's keys ---- */

struct tg_signing *tg_signing_new(const char *state_dir)
{
    struct tg_signing *s = TG_NEW(struct tg_signing);
    struct tg_buf path = {0};

    pthread_mutex_init(&s->lock, NULL);
    if (state_dir) {
        tg_buf_adds(&path, state_dir);
        tg_buf_adds(&path, FILE_NAME);
        tg_buf_cstr(&path);
        s->path = path.data;
    }
    return s;
}

static void drop_retired(struct tg_signing *s, size_t i)
{
    free(s->retired[i].kid);
    free(s->retired[i].jwk);
    s->retired_count--;
    memmove(&s->retired[i], &s->retired[i + 1], (s->retired_count - i) * sizeof(s->retired[0]));
}

void tg_signing_free(struct tg_signing *s)
{
    if (!s)
        return;
    while (s->retired_count)
        drop_retired(s, s->retired_count - 1);
    tg_signing_keys_unref(s->keys);
    tg_signing_keys_unref(s->own);
    pthread_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

static void drop_stale(struct tg_signing *s, int64_t now_ms)
{
    for (size_t i = s->retired_count; i-- > 0;)
        if (s->retired[i].until_ms <= now_ms)
            drop_retired(s, i);
}

static void retire(struct tg_signing *s, const struct tg_signer *old, int64_t now_ms)
{
    struct tg_slice kid = tg_signer_kid(old);

    for (size_t i = s->retired_count; i-- > 0;)
        if (tg_slice_eq(tg_slice_str(s->retired[i].kid), kid))
            drop_retired(s, i);
    if (s->retired_count == RETIRED_MAX)
        drop_retired(s, 0);
    s->retired[s->retired_count++] =
        (struct retired){tg_slice_dup(kid), tg_slice_dup(tg_signer_jwk(old)), now_ms + RETIRED_MS};
}

void tg_signing_bind(struct tg_signing *s, struct tg_signing_keys *keys, int64_t now_ms)
{
    struct tg_signing_keys *old;
    bool same;

    pthread_mutex_lock(&s->lock);
    old = s->keys;
    same = old && keys && tg_slice_eq(tg_signer_kid(old->signing), tg_signer_kid(keys->signing));
    s->keys = keys;
    drop_stale(s, now_ms);
    if (old && !same)
        retire(s, old->signing, now_ms);
    if (!same && (old || keys))
        atomic_fetch_add_explicit(&s->version, 1, memory_order_release);
    pthread_mutex_unlock(&s->lock);
    tg_signing_keys_unref(old);
}

enum tg_status tg_signing_read(struct tg_signing *s, struct tg_slice pem, bool needed, struct tg_signing_keys **out,
                               struct tg_err *err)
{
    enum tg_status st = TG_OK;

    *out = NULL;
    if (pem.len)
        return read_keys(pem, out, err);
    if (needed && (st = have_own(s, err)) == TG_OK)
        *out = ref(s->own);
    return st;
}

uint64_t tg_signing_version(const struct tg_signing *s)
{
    return atomic_load_explicit(&s->version, memory_order_acquire);
}

struct tg_signing_keys *tg_signing_keys(struct tg_signing *s, uint64_t *version)
{
    struct tg_signing_keys *keys;

    pthread_mutex_lock(&s->lock);
    keys = s->keys ? ref(s->keys) : NULL;
    *version = tg_signing_version(s);
    pthread_mutex_unlock(&s->lock);
    return keys;
}

/* ---- what is published ---- */

bool tg_signing_is_on(struct tg_signing *s)
{
    bool on;

    pthread_mutex_lock(&s->lock);
    on = s->keys || s->retired_count > 0;
    pthread_mutex_unlock(&s->lock);
    return on;
}

static bool holds(const struct tg_signing_keys *keys, const char *kid)
{
    for (size_t i = 0; keys && i < keys->count; i++)
        if (tg_slice_eq(tg_signer_kid(keys->signers[i]), tg_slice_str(kid)))
            return true;
    return false;
}

void tg_signing_jwks(struct tg_signing *s, int64_t now_ms, struct tg_buf *out)
{
    const char *comma = "";

    tg_buf_adds(out, "{\"keys\":[");
    pthread_mutex_lock(&s->lock);
    drop_stale(s, now_ms);
    for (size_t i = 0; s->keys && i < s->keys->count; i++, comma = ",") {
        tg_buf_adds(out, comma);
        tg_buf_add_slice(out, tg_signer_jwk(s->keys->signers[i]));
    }
    for (size_t i = 0; i < s->retired_count; i++) {
        if (holds(s->keys, s->retired[i].kid))
            continue;
        tg_buf_adds(out, comma);
        tg_buf_adds(out, s->retired[i].jwk);
        comma = ",";
    }
    pthread_mutex_unlock(&s->lock);
    tg_buf_adds(out, "]}");
}
