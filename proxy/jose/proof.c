/*
 * proof - a key as a JWS shows it, compared by its thumbprint before anything dear is done with it.
 *
 * Making an EVP_PKEY of a point costs as much as a verification, and a caller shows the same key with every request: so
 * each thread keeps a few keys, found by their thumbprints. What a JWK says beside the key itself (use, key_ops, alg)
 * is looked at each time.
 */
#include "jose/proof.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/json.h"
#include "internal.h"
#include <pthread.h>
#include <stdlib.h>

#define SLOTS 64                                         /* power of two */

struct kept {
    char thumbprint[TG_THUMBPRINT];
    struct tg_jwk *key;                                  /* NULL: free */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static __thread struct kept *mine;

static void free_thread(void *arg)
{
    struct kept *slots = arg;

    mine = NULL;                                         /* a later destructor of this thread starts anew */
    for (size_t i = 0; i < SLOTS; i++)
        tg_key_free(slots[i].key);
    free(slots);
}

static void set_up(void)
{
    if (pthread_key_create(&thread_key, free_thread) != 0)
        tg_panic(__FILE__, __LINE__, "no key of threads is left");
}

static struct kept *slots_of_thread(void)
{
    if (mine)
        return mine;
    pthread_once(&once, set_up);
    mine = TG_NEW_ARRAY(struct kept, SLOTS);
    if (pthread_setspecific(thread_key, mine) != 0)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return mine;
}

/* ---- the public key ---- */

/* RFC 7518 §6: d, p, q, dp, dq, qi, oth of RSA, d of EC and OKP, k of oct. */
static bool has_private_member(const cJSON *jwk)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (tg_json_get(jwk, names[i]))
            return true;
    return false;
}

static enum tg_status read_public(const cJSON *jwk, struct tg_key_parts *parts, struct tg_err *err)
{
    if (!cJSON_IsObject(jwk))
        return tg_fail(err, TG_BAD_INPUT, "a key is a JSON object");
    if (has_private_member(jwk))
        return tg_fail(err, TG_BAD_INPUT, "the key holds private or symmetric members");
    return tg_parts_from_jwk(jwk, false, parts, err);
}

static void print_thumbprint(const struct tg_key_parts *parts, char out[TG_THUMBPRINT])
{
    struct tg_buf text = {0};

    tg_parts_thumbprint(parts, &text);
    tg_assert(text.len == TG_THUMBPRINT - 1);
    memcpy(out, tg_buf_cstr(&text), TG_THUMBPRINT);
    tg_buf_fini(&text);
}

enum tg_status tg_jwk_thumbprint(const cJSON *jwk, char out[TG_THUMBPRINT], struct tg_err *err)
{
    struct tg_key_parts parts;
    enum tg_status st = read_public(jwk, &parts, err);

    if (st == TG_OK)
        print_thumbprint(&parts, out);
    return st;
}

/* ---- one proof ---- */

/* What the JWK says it is for besides: RFC 7517 §4.2 to §4.4. */
static bool is_for(const cJSON *jwk, enum tg_alg alg)
{
    const cJSON *own = tg_json_get(jwk, "alg");
    struct tg_slice text;
    enum tg_alg own_alg;

    return tg_jwk_check_purpose(jwk, NULL) == TG_OK &&
           (!own || (tg_json_str(own, &text) && tg_alg_parse(text, &own_alg) && own_alg == alg));
}

/* NULL: a weak or broken key. */
static const struct tg_jwk *key_of(const struct tg_key_parts *parts, const char *thumbprint)
{
    struct kept *slot = &slots_of_thread()[tg_hash(thumbprint, TG_THUMBPRINT) % SLOTS];
    struct tg_jwk *key = NULL;

    if (slot->key && memcmp(slot->thumbprint, thumbprint, TG_THUMBPRINT) == 0)
        return slot->key;
    if (tg_key_new(parts, tg_slice(NULL, 0), TG_ALG_COUNT, &key, NULL) != TG_OK)
        return NULL;
    tg_key_free(slot->key);
    slot->key = key;
    memcpy(slot->thumbprint, thumbprint, TG_THUMBPRINT);
    return key;
}

enum tg_proof_fault tg_proof_verify(const struct tg_jws *jws, tg_algs allowed, struct tg_slice thumbprint)
{
    const cJSON *jwk = tg_json_get(jws->header, "jwk");
    char own[TG_THUMBPRINT];
    struct tg_key_parts parts;
    const struct tg_jwk *key;

    if (!(allowed & ~TG_ALGS_HMAC & TG_ALG_BIT(jws->alg)))
        return TG_PROOF_ALG;
    if (read_public(jwk, &parts, NULL) != TG_OK || !is_for(jwk, jws->alg))
        return TG_PROOF_KEY;
    print_thumbprint(&parts, own);
    if (!tg_slice_eq(tg_slice(own, TG_THUMBPRINT - 1), thumbprint))
        return TG_PROOF_OTHER_KEY;
    key = key_of(&parts, own);
    if (!key || !(key->fits & TG_ALG_BIT(jws->alg)))
        return TG_PROOF_KEY;
    if (!tg_key_verify(key, jws->alg, jws->signing_input, jws->signature))
        return TG_PROOF_SIGNATURE;
    return TG_PROOF_OK;
}
