/*
 * alg - one table: what each algorithm signs with.
 */
#include "jose/alg.h"
#include "internal.h"
#include <openssl/evp.h>
#include <pthread.h>

static const struct tg_alg_facts facts[TG_ALG_COUNT] = {
    [TG_ALG_RS256] = {"RS256", TG_KTY_RSA, "SHA256", 32, NULL, false},
    [TG_ALG_RS384] = {"RS384", TG_KTY_RSA, "SHA384", 48, NULL, false},
    [TG_ALG_RS512] = {"RS512", TG_KTY_RSA, "SHA512", 64, NULL, false},
    [TG_ALG_PS256] = {"PS256", TG_KTY_RSA, "SHA256", 32, NULL, true},
    [TG_ALG_PS384] = {"PS384", TG_KTY_RSA, "SHA384", 48, NULL, true},
    [TG_ALG_PS512] = {"PS512", TG_KTY_RSA, "SHA512", 64, NULL, true},
    [TG_ALG_ES256] = {"ES256", TG_KTY_EC, "SHA256", 32, "P-256", false},
    [TG_ALG_ES384] = {"ES384", TG_KTY_EC, "SHA384", 48, "P-384", false},
    [TG_ALG_ES512] = {"ES512", TG_KTY_EC, "SHA512", 64, "P-521", false},
    [TG_ALG_EdDSA] = {"EdDSA", TG_KTY_OKP, NULL, 0, "Ed25519", false},
    [TG_ALG_HS256] = {"HS256", TG_KTY_OCT, "SHA256", 32, NULL, false},
    [TG_ALG_HS384] = {"HS384", TG_KTY_OCT, "SHA384", 48, NULL, false},
    [TG_ALG_HS512] = {"HS512", TG_KTY_OCT, "SHA512", 64, NULL, false},
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256, *sha384, *sha512;

/* Each fetch takes locks and looks through the providers: not for every token. */
static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    sha384 = EVP_MD_fetch(NULL, "SHA384", NULL);
    sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    if (!sha256 || !sha384 || !sha512)
        tg_panic(__FILE__, __LINE__, "OpenSSL has no SHA-2");
}

bool tg_alg_parse(struct tg_slice name, enum tg_alg *out)
{
    for (unsigned i = 0; i < TG_ALG_COUNT; i++) {
        if (tg_slice_eq(name, tg_slice_str(facts[i].name))) {
            *out = (enum tg_alg)i;
            return true;
        }
    }
    if (tg_slice_eq(name, TG_S("Ed25519"))) {            /* RFC 9864 §2.2: EdDSA with its curve named */
        *out = TG_ALG_EdDSA;
        return true;
    }
    return false;
}

const char *tg_alg_name(enum tg_alg alg)
{
    return alg < TG_ALG_COUNT ? facts[alg].name : "none";
}

const struct tg_alg_facts *tg_alg_facts(enum tg_alg alg)
{
    tg_assert(alg < TG_ALG_COUNT);
    return &facts[alg];
}

const EVP_MD *tg_alg_md(enum tg_alg alg)
{
    pthread_once(&once, fetch);
    switch (facts[alg].hash_len) {
    case 32:
        return sha256;
    case 48:
        return sha384;
    case 64:
        return sha512;
    default:
        return NULL;
    }
}
