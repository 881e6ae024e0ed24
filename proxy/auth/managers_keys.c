/*
 * managers_keys - the key of ID tokens: state_dir/management-key.pem, of nobody else's use.
 *
 * One or more keys P-256 in PEM: the first that is private signs, all verify. So a key is rotated by putting a new one
 * before the old one, and the old one is taken out when its last ID token has ended. Who deletes the file ends all ID
 * tokens: another key is made at the next call.
 */
#include "key_file.h"
#include "managers_internal.h"
#include "base/file.h"
#include "base/log.h"
#include <errno.h>
#include <unistd.h>

#define FILE_BYTES ((size_t)65536)

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The public halves, under their kids. */
static enum tg_status to_set(struct tg_signer *const *signers, size_t count, struct tg_jwks **out, struct tg_err *err)
{
    struct tg_buf text = {0};
    struct tg_jwks *set = NULL;
    enum tg_status st;

    tg_buf_adds(&text, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            tg_buf_addc(&text, ',');
        tg_buf_add_slice(&text, tg_signer_jwk(signers[i]));
    }
    tg_buf_adds(&text, "]}");
    st = tg_jwks_parse(tg_buf_slice(&text), false, &set, err);
    tg_buf_fini(&text);
    if (st == TG_OK && (tg_jwks_count(set) != count || tg_jwks_algs(set) != TG_ALG_BIT(TG_ALG_ES256))) {
        tg_jwks_unref(set);
        return tg_fail(err, TG_BAD_INPUT, "ID tokens are signed by keys on curve P-256 (ES256), and by no others");
    }
    if (st == TG_OK)
        *out = set;
    return st;
}

/* Takes the place of what was there, or leaves it. */
static enum tg_status take(struct manager_keys *k, struct tg_slice pem, struct tg_err *err)
{
    struct tg_signer *signers[TG_SIGNERS_MAX], *signer = NULL;
    struct tg_jwks *known = NULL;
    size_t count = 0;
    enum tg_status st = tg_signers_read(pem, signers, &count, err);

    if (st != TG_OK)
        return st;
    st = to_set(signers, count, &known, err);
    for (size_t i = 0; i < count; i++)
        if (st == TG_OK && !signer && tg_signer_may_sign(signers[i]))
            signer = signers[i];
        else
            tg_signer_free(signers[i]);
    if (st == TG_OK && !signer)
        st = tg_fail(err, TG_BAD_INPUT, "only public keys: a private one has to sign");
    if (st != TG_OK) {
        tg_jwks_unref(known);
        return st;
    }
    tg_signer_free(k->signer);
    tg_jwks_unref(k->known);
    k->signer = signer;
    k->known = known;
    return TG_OK;
}

static enum tg_status make(const char *path, struct tg_err *err)
{
    struct tg_signer *made = NULL;
    struct tg_buf pem = {0};
    enum tg_status st = tg_signer_generate(TG_ALG_ES256, &made, err);

    if (st == TG_OK)
        st = tg_signer_pem(made, &pem, err);
    if (st == TG_OK && tg_key_file_keep(path, tg_buf_slice(&pem), err) != TG_OK && access(path, F_OK) != 0)
        st = TG_IO;
    tg_signer_free(made);
    tg_buf_wipe(&pem);
    return st;
}

static enum tg_status read_file(struct manager_keys *k, struct tg_err *err)
{
    struct tg_buf pem = {0};
    struct tg_err why = {0};
    enum tg_status st = tg_file_read(k->path, FILE_BYTES, &pem, err);

    if (st == TG_OK && (st = take(k, tg_buf_slice(&pem), &why)) != TG_OK)
        tg_fail(err, st, "%s: %s; remove the file to have a new key made", k->path, why.text);
    tg_buf_wipe(&pem);
    return st;
}

static enum tg_status read_anew(struct manager_keys *k, const struct stat *now, struct tg_err *err)
{
    enum tg_status st = read_file(k, err);

    k->told = false;
    k->file = *now;                                      /* a bad file is not read again before it changes */
    if (st == TG_OK && (now->st_mode & 077) != 0)
        tg_log(TG_LOG_WARN, "the key of ID tokens can be read by others than its owner", TG_F_STR("file", k->path));
    return st;
}

enum tg_status managers_keys_look(struct manager_keys *k, struct tg_err *err)
{
    struct tg_err why = {0};
    enum tg_status st = TG_OK;
    struct stat now;

    if (stat(k->path, &now) != 0) {
        st = errno == ENOENT ? make(k->path, &why) : tg_file_fail(&why, k->path, "cannot be read");
        if (st == TG_OK && stat(k->path, &now) != 0)
            st = tg_file_fail(&why, k->path, "cannot be read");
    }
    if (st == TG_OK && k->signer && is_same(&now, &k->file))
        return TG_OK;
    if (st == TG_OK)
        st = read_anew(k, &now, &why);
    if (st != TG_OK && k->signer) {
        if (!k->told)
            tg_log(TG_LOG_ERROR, "the key of ID tokens cannot be read; the one that is known stays",
                   TG_F_STR("error", why.text));
        k->told = true;
        return TG_OK;
    }
    return st == TG_OK ? TG_OK : tg_fail(err, st, "%s", why.text);
}

void managers_keys_fini(struct manager_keys *k)
{
    tg_signer_free(k->signer);
    tg_jwks_unref(k->known);
    free(k->path);
    *k = (struct manager_keys){0};
}
