/*
 * dpop - one proof against one request.
 *
 * The cheap checks come first, and the thumbprint before the signature: whoever does not know a key that some token is
 * bound to costs us a hash, no more. The table of seen proofs is asked last, so that only a proof that is good in
 * everything else takes room in it, and a refused one can be mended and sent again.
 */
#include "auth/dpop.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/metric.h"
#include "io/worker.h"
#include "jose/jwt.h"
#include "jose/proof.h"
#include "proof_seen.h"
#include "proof_target.h"
#include <stdatomic.h>

#define SEEN_SLOTS ((size_t)1 << 20)                     /* some 5,000 proofs a second that live 60 s */
#define NONCE_MS (5 * INT64_C(60000))
#define JTI_BYTES 256
#define ARENA_BYTES 16384

/* What becomes of a proof, as in the log and in the metric. */
#define RESULTS(X) \
    X(ACCEPTED, "accepted") X(MISSING, "proof-missing") X(SEVERAL, "proof-several") X(SIZE, "proof-size") \
    X(MALFORMED, "proof-malformed") X(TYP, "proof-typ") X(ALG, "proof-alg") X(KEY, "proof-key") \
    X(OTHER_KEY, "proof-other-key") X(SIGNATURE, "proof-signature") X(JTI, "proof-jti") X(HTM, "proof-htm") \
    X(HTU, "proof-htu") X(IAT, "proof-iat") X(ATH, "proof-ath") X(NONCE, "proof-nonce") \
    X(REPLAYED, "proof-replayed") X(NO_ROOM, "proof-no-room")
enum result {
#define X(id, name) id,
    RESULTS(X)
#undef X
    RESULTS_COUNT
};
static const char *const names[RESULTS_COUNT] = {
#define X(id, name) name,
    RESULTS(X)
#undef X
};

struct tg_dpop {
    struct tg_proofs_seen *seen;
    uint8_t secret[TG_SHA256_LEN];                       /* of nonces */
    _Atomic int64_t lifetime_s;
    /* Proofs made up to old_until_s were remembered for the shorter lifetime of then, and are taken for that only. */
    _Atomic int64_t old_lifetime_s, old_until_s;
    _Atomic tg_algs algs;
    atomic_bool require_nonce;
    struct tg_series *counts[RESULTS_COUNT];
};

struct tg_dpop *tg_dpop_new(void)
{
    struct tg_dpop *d = TG_NEW(struct tg_dpop);
    struct tg_metric *family = tg_metric_family(TG_COUNTER, "tollgate_dpop_proofs_total",
                                                "DPoP proofs by what became of them.", "result");
    struct tg_dpop_settings defaults;
    struct tg_problems problems = {0};
    struct tg_arena arena;

    tg_arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < RESULTS_COUNT; i++) {
        struct tg_slice name = tg_slice_str(names[i]);

        d->counts[i] = tg_metric_series(family, &name);
    }
    d->seen = tg_proofs_seen_new(SEEN_SLOTS);
    tg_random(d->secret, sizeof(d->secret));
    tg_assert(tg_dpop_read(NULL, NULL, &arena, &defaults, &problems));
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
    d->lifetime_s = defaults.lifetime_ms / 1000;
    d->algs = defaults.algs;
    d->require_nonce = defaults.require_nonce;
    return d;
}

void tg_dpop_free(struct tg_dpop *d)
{
    if (!d)
        return;
    tg_proofs_seen_free(d->seen);
    explicit_bzero(d->secret, sizeof(d->secret));
    free(d);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Two that bind at once are not expected: configurations come one after another. */
void tg_dpop_bind(struct tg_dpop *d, const struct tg_dpop_settings *settings)
{
    int64_t now_s = tg_clock_wall_ms() / 1000, old_s = d->lifetime_s, new_s = settings->lifetime_ms / 1000;

    if (new_s > old_s) {
        d->old_lifetime_s = now_s < d->old_until_s ? least(old_s, d->old_lifetime_s) : old_s;
        d->old_until_s = now_s + old_s;
    }
    d->lifetime_s = new_s;
    d->algs = settings->algs;
    d->require_nonce = settings->require_nonce;
}

bool tg_dpop_wants_nonce(const struct tg_dpop *d)
{
    return d->require_nonce;
}

/* ---- nonces ---- */

static void make_nonce(const struct tg_dpop *d, int64_t period, char out[TG_DPOP_NONCE])
{
    uint8_t mac[TG_SHA256_LEN];
    struct tg_buf text = {0};

    tg_hmac_sha256(tg_slice((const char *)d->secret, sizeof(d->secret)),
                   tg_slice((const char *)&period, sizeof(period)), mac);
    tg_base64url_encode(tg_slice((const char *)mac, sizeof(mac)), &text);
    tg_assert(text.len == TG_DPOP_NONCE - 1);
    memcpy(out, tg_buf_cstr(&text), TG_DPOP_NONCE);
    tg_buf_fini(&text);
}

void tg_dpop_nonce(const struct tg_dpop *d, int64_t now_ms, char out[TG_DPOP_NONCE])
{
    make_nonce(d, now_ms / NONCE_MS, out);
}

/* That of now or the one before. */
static bool is_our_nonce(const struct tg_dpop *d, int64_t now_ms, struct tg_slice nonce)
{
    char good[TG_DPOP_NONCE];
    bool ok = false;

    for (int64_t back = 0; back <= 1; back++) {
        make_nonce(d, now_ms / NONCE_MS - back, good);
        ok = ok || tg_equal_ct(nonce, tg_slice(good, TG_DPOP_NONCE - 1));
    }
    return ok;
}

/* ---- the claims ---- */

static bool says(const cJSON *claims, const char *member, struct tg_slice want)
{
    struct tg_slice got;

    return tg_json_str(tg_json_get(claims, member), &got) && tg_slice_eq(got, want);
}

static bool is_of_token(const cJSON *claims, const uint8_t digest[TG_SHA256_LEN])
{
    struct tg_buf text = {0};
    bool ok;

    tg_base64url_encode(tg_slice((const char *)digest, TG_SHA256_LEN), &text);
    ok = says(claims, "ath", tg_buf_slice(&text));
    tg_buf_fini(&text);
    return ok;
}

static bool is_for_target(const cJSON *claims, const struct tg_dpop_request *r, struct tg_arena *arena)
{
    struct tg_proof_target target = {r->scheme_name, r->authority, r->path};
    struct tg_slice htu;

    return tg_json_str(tg_json_get(claims, "htu"), &htu) && tg_proof_target_is(htu, &target, arena);
}

/* *until_s: the last second at which it is taken. */
static bool is_fresh(const struct tg_dpop *d, const cJSON *claims, int64_t now_s, int64_t *until_s)
{
    int64_t lifetime_s = d->lifetime_s, iat_s, exp_s, nbf_s;

    if (!tg_jwt_time(claims, "iat", &iat_s) || iat_s < 0)
        return false;
    /* RFC 9449 asks for neither, but a JWT that limits itself is taken at its word (RFC 7519 §4.1.4, §4.1.5) */
    if (!tg_jwt_time(claims, "exp", &exp_s) || !tg_jwt_time(claims, "nbf", &nbf_s) ||
        (exp_s >= 0 && exp_s <= now_s) || nbf_s > now_s + lifetime_s)
        return false;
    if (iat_s <= d->old_until_s)
        lifetime_s = least(lifetime_s, d->old_lifetime_s);
    *until_s = iat_s + lifetime_s;
    return *until_s >= now_s && iat_s <= now_s + lifetime_s;
}

static enum result remember(struct tg_dpop *d, const struct tg_dpop_request *r, struct tg_slice jti, int64_t until_s)
{
    uint64_t key = tg_hash2(tg_hash_slice(r->thumbprint), tg_hash_slice(jti));

    switch (tg_proofs_seen_take(d->seen, key, (uint32_t)until_s, (uint32_t)(r->now_ms / 1000))) {
    case TG_PROOF_NEW:
        return ACCEPTED;
    case TG_PROOF_SEEN:
        return REPLAYED;
    case TG_PROOF_NO_ROOM:
        break;
    }
    return NO_ROOM;
}

static enum result check_claims(struct tg_dpop *d, const struct tg_dpop_request *r, const cJSON *claims,
                                struct tg_arena *arena)
{
    struct tg_slice jti, nonce;
    int64_t until_s;

    if (!tg_json_str(tg_json_get(claims, "jti"), &jti) || jti.len == 0 || jti.len > JTI_BYTES)
        return JTI;
    if (!says(claims, "htm", r->method))
        return HTM;
    if (!is_for_target(claims, r, arena))
        return HTU;
    if (!is_of_token(claims, r->token_digest))
        return ATH;
    if (!is_fresh(d, claims, r->now_ms / 1000, &until_s))
        return IAT;
    if (d->require_nonce &&
        (!tg_json_str(tg_json_get(claims, "nonce"), &nonce) || !is_our_nonce(d, r->now_ms, nonce)))
        return NONCE;
    return remember(d, r, jti, until_s);
}

/* ---- the whole proof ---- */

static enum result check_signature(const struct tg_dpop *d, const struct tg_dpop_request *r, const struct tg_jws *jws)
{
    if (!jws->typ.ptr || !tg_slice_eq(jws->typ, TG_S("dpop+jwt")))
        return TYP;
    switch (tg_proof_verify(jws, d->algs, r->thumbprint)) {
    case TG_PROOF_OK:
        return ACCEPTED;
    case TG_PROOF_ALG:
        return ALG;
    case TG_PROOF_KEY:
        return KEY;
    case TG_PROOF_OTHER_KEY:
        return OTHER_KEY;
    case TG_PROOF_SIGNATURE:
        break;
    }
    return SIGNATURE;
}

static enum result check_proof(struct tg_dpop *d, const struct tg_dpop_request *r, struct tg_arena *arena)
{
    cJSON *claims = NULL;
    struct tg_jws jws;
    enum result result;

    if (tg_jws_split(r->proofs[0], arena, &jws, NULL) != TG_OK)
        return MALFORMED;
    result = check_signature(d, r, &jws);
    if (result == ACCEPTED && tg_jwt_claims(jws.payload, &claims, NULL) != TG_OK)
        result = MALFORMED;
    if (result == ACCEPTED)
        result = check_claims(d, r, claims, arena);
    cJSON_Delete(claims);
    tg_jws_fini(&jws);
    return result;
}

static enum result check(struct tg_dpop *d, const struct tg_dpop_request *r)
{
    _Alignas(16) char first[ARENA_BYTES];
    struct tg_arena arena;
    enum result result;

    if (r->proof_count != 1)
        return r->proof_count ? SEVERAL : MISSING;
    if (r->proofs[0].len > TG_DPOP_PROOF_BYTES)
        return SIZE;
    tg_arena_init(&arena, first, sizeof(first));
    result = check_proof(d, r, &arena);
    tg_arena_fini(&arena);
    return result;
}

enum tg_dpop_verdict tg_dpop_check(struct tg_dpop *d, const struct tg_dpop_request *request, const char **reason)
{
    const struct tg_worker *w = tg_worker_self();
    enum result result = check(d, request);

    tg_metric_add(d->counts[result], w ? w->index + 1 : 0, 1);
    *reason = names[result];
    return result == ACCEPTED ? TG_DPOP_ACCEPTED : result == NONCE ? TG_DPOP_ASK_NONCE : TG_DPOP_REFUSED;
}
