/* dpop: RFC 9449's own example, every check with a proof that fails it alone, replays from many threads, nonces. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "../../../proxy/auth/proof_seen.h"
#include "auth/dpop.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/json.h"
#include "jose/mint.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define NOW_S INT64_C(1700000000)
#define TOKEN "the.access.token"

/* ---- the RFC ---- */

/* §7.1, figure 12: the request of §7.1, its token and its proof. */
#define RFC_TOKEN "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
#define RFC_IAT INT64_C(1562262618)
#define RFC_PROOF \
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscE" \
    "JoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" \
    ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0" \
    "ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" \
    ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"

static void the_rfc_s_own(void **state)
{
    struct tg_dpop *d = tg_dpop_new();
    struct tg_slice proof = TG_S(RFC_PROOF);
    uint8_t digest[TG_SHA256_LEN];
    struct tg_dpop_request r = {
        .proofs = &proof, .proof_count = 1, .thumbprint = TG_S("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        .token_digest = digest, .method = TG_S("GET"), .scheme_name = TG_S("https"),
        .authority = TG_S("resource.example.org"), .path = TG_S("/protectedresource"), .now_ms = RFC_IAT * 1000,
    };
    const char *reason;

    (void)state;
    tg_sha256(TG_S(RFC_TOKEN), digest);
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_ACCEPTED);
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    assert_string_equal(reason, "proof-replayed");
    r.now_ms += 3600 * 1000;
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    assert_string_equal(reason, "proof-iat");
    tg_dpop_free(d);
}

/* ---- proofs of our own ---- */

static struct tg_signer *signer;

static int make_signer(void **state)
{
    (void)state;
    return tg_signer_generate(TG_ALG_ES256, &signer, NULL) != TG_OK;
}

static int free_signer(void **state)
{
    (void)state;
    tg_signer_free(signer);
    return 0;
}

struct proof {                                           /* what is not NULL goes before the usual */
    const char *header;                                  /* without braces; "JWK" in it is the key */
    const char *typ, *jti, *htm, *htu, *iat, *ath, *nonce; /* JSON text; "" leaves it out */
    const char *payload;
};

static void add(struct tg_buf *out, const char *name, const char *own, const char *usual)
{
    const char *value = own ? own : usual;

    if (*value)
        tg_buf_addf(out, "%s\"%s\":%s", out->len > 1 ? "," : "", name, value);
}

static void make_header(const struct proof *p, struct tg_buf *out)
{
    struct tg_slice key = tg_signer_jwk(signer);
    const char *jwk = p->header ? strstr(p->header, "JWK") : NULL;

    if (!p->header)
        tg_buf_addf(out, "{\"typ\":%s,\"alg\":\"ES256\",\"jwk\":%.*s}", p->typ ? p->typ : "\"dpop+jwt\"",
                    (int)key.len, key.ptr);
    else if (jwk)
        tg_buf_addf(out, "{%.*s%.*s%s}", (int)(jwk - p->header), p->header, (int)key.len, key.ptr, jwk + 3);
    else
        tg_buf_addf(out, "{%s}", p->header);
}

static void make_ath(const char *token, char out[48])
{
    uint8_t digest[TG_SHA256_LEN];
    struct tg_buf text = {0};

    tg_sha256(tg_slice_str(token), digest);
    tg_base64url_encode(tg_slice((char *)digest, sizeof(digest)), &text);
    snprintf(out, 48, "\"%s\"", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

/* free() it. */
static char *make(const struct proof *p)
{
    static unsigned number;
    struct tg_buf header = {0}, payload = {0}, out = {0};
    char jti[32], ath[48], iat[32];

    snprintf(jti, sizeof(jti), "\"jti-%u\"", ++number);
    snprintf(iat, sizeof(iat), "%lld", (long long)NOW_S);
    make_ath(TOKEN, ath);
    make_header(p, &header);
    tg_buf_addc(&payload, '{');
    add(&payload, "jti", p->jti, jti);
    add(&payload, "htm", p->htm, "\"POST\"");
    add(&payload, "htu", p->htu, "\"https://api.example.com/mcp\"");
    add(&payload, "iat", p->iat, iat);
    add(&payload, "ath", p->ath, ath);
    add(&payload, "nonce", p->nonce, "");
    tg_buf_addc(&payload, '}');
    if (p->payload) {
        payload.len = 0;
        tg_buf_adds(&payload, p->payload);
    }
    assert_int_equal(tg_signer_sign_octets(signer, tg_buf_slice(&header), tg_buf_slice(&payload), &out, NULL), TG_OK);
    tg_buf_cstr(&out);
    tg_buf_fini(&header);
    tg_buf_fini(&payload);
    return out.data;
}

static struct tg_dpop_request request_of(const struct tg_slice *proof)
{
    static uint8_t digest[TG_SHA256_LEN];

    tg_sha256(TG_S(TOKEN), digest);
    return (struct tg_dpop_request){
        .proofs = proof, .proof_count = 1, .thumbprint = tg_signer_kid(signer), .token_digest = digest,
        .method = TG_S("POST"), .scheme_name = TG_S("https"), .authority = TG_S("api.example.com"),
        .path = TG_S("/mcp"), .now_ms = NOW_S * 1000,
    };
}

static const char *judge(struct tg_dpop *d, const struct proof *p)
{
    char *text = make(p);
    struct tg_slice proof = tg_slice_str(text);
    struct tg_dpop_request r = request_of(&proof);
    const char *reason = NULL;
    enum tg_dpop_verdict verdict = tg_dpop_check(d, &r, &reason);

    assert_int_equal(verdict == TG_DPOP_ACCEPTED, strcmp(reason, "accepted") == 0);
    assert_int_equal(verdict == TG_DPOP_ASK_NONCE, strcmp(reason, "proof-nonce") == 0);
    free(text);
    return reason;
}

#define LONG64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
static const struct {
    const char *why, *want;
    struct proof proof;
} cases[] = {
    {"the usual one", "accepted", {0}},
    {"§4.3 4: typ of a token", "proof-typ", {.typ = "\"JWT\""}},
    {"§4.3 4: of an access token", "proof-typ", {.typ = "\"at+jwt\""}},
    {"§4.2: typ is what the RFC writes", "proof-typ", {.typ = "\"DPoP+JWT\""}},
    {"§4.3 4: no typ", "proof-typ", {.header = "\"alg\":\"ES256\",\"jwk\":JWK"}},
    {"§4.3 5: alg none", "proof-malformed", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"none\",\"jwk\":JWK"}},
    {"§4.3 5: symmetric", "proof-alg", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"HS256\",\"jwk\":JWK"}},
    {"not on the list", "proof-alg", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES512\",\"jwk\":JWK"}},
    {"§4.2: no jwk", "proof-key", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES256\""}},
    {"jwk is no object", "proof-key", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":[]"}},
    {"§4.3 7: a private key", "proof-key", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{\"kty\":\"EC\","
        "\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
        "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}"}},
    {"§4.3 12 b: of another key", "proof-other-key", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{"
        "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"}},
    {"crit", "proof-malformed", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"crit\":[\"x\"],\"jwk\":JWK"}},
    {"two jwk", "proof-malformed", {.header = "\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":JWK,\"jwk\":{}"}},
    {"payload is no object", "proof-malformed", {.payload = "[]"}},
    {"payload is no JSON", "proof-malformed", {.payload = "jti"}},
    {"a claim twice", "proof-malformed", {.htm = "\"POST\",\"htm\":\"POST\""}},
    {"§4.2: no jti", "proof-jti", {.jti = ""}},
    {"empty jti", "proof-jti", {.jti = "\"\""}},
    {"jti is a number", "proof-jti", {.jti = "7"}},
    {"jti of 256", "accepted", {.jti = "\"" LONG64 LONG64 LONG64 LONG64 "\""}},
    {"jti of 257", "proof-jti", {.jti = "\"" LONG64 LONG64 LONG64 LONG64 "a\""}},
    {"§4.3 8: other method", "proof-htm", {.htm = "\"GET\""}},
    {"methods have case", "proof-htm", {.htm = "\"post\""}},
    {"no htm", "proof-htm", {.htm = ""}},
    {"no htu", "proof-htu", {.htu = ""}},
    {"htu is a list", "proof-htu", {.htu = "[\"https://api.example.com/mcp\"]"}},
    {"§4.3 10: no ath", "proof-ath", {.ath = ""}},
    {"of another token", "proof-ath", {.ath = "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\""}},
    {"§4.3 11: no iat", "proof-iat", {.iat = ""}},
    {"iat is text", "proof-iat", {.iat = "\"1700000000\""}},
    {"as old as may be", "accepted", {.iat = "1699999940"}},
    {"too old", "proof-iat", {.iat = "1699999939"}},
    {"as far ahead as may be", "accepted", {.iat = "1700000060"}},
    {"ahead", "proof-iat", {.iat = "1700000061"}},
    {"a fraction", "accepted", {.iat = "1699999940.5"}},
    {"negative", "proof-iat", {.iat = "-1"}},
    {"beyond all time", "proof-iat", {.iat = "1e300"}},
    {"a nonce nobody asked for", "accepted", {.nonce = "\"x\""}},
};

static void each_check(void **state)
{
    struct tg_dpop *d = tg_dpop_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = judge(d, &cases[i].proof);

        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: %s, not %s", cases[i].why, got, cases[i].want);
    }
    tg_dpop_free(d);
}

/* §4.3 9, RFC 3986 §6.2.2 and §6.2.3: what is the same target, and what is not. */
static void targets(void **state)
{
    static const struct { const char *htu, *scheme, *authority, *path; bool same; } ways[] = {
        {"https://api.example.com/mcp", "https", "api.example.com", "/mcp", true},
        {"HTTPS://API.Example.COM/mcp", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com/mcp", "https", "API.EXAMPLE.com:443", "/mcp", true},
        {"https://api.example.com:443/mcp", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com:/mcp", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com:8443/mcp", "https", "api.example.com", "/mcp", false},
        {"https://api.example.com:80/mcp", "https", "api.example.com", "/mcp", false},
        {"http://api.example.com/mcp", "https", "api.example.com", "/mcp", false},
        {"http://api.example.com:80/mcp", "http", "api.example.com", "/mcp", true},
        {"http://api.example.com/mcp", "", "api.example.com", "/mcp", true},
        {"https://api.example.com/mcp", "", "api.example.com", "/mcp", true},
        {"ftp://api.example.com/mcp", "", "api.example.com", "/mcp", false},
        {"https://api.example.com/mcp?a=b", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com/mcp#f", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com/m%63p", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com/a%2db%c3%a9", "https", "api.example.com", "/a-b%C3%A9", true},
        {"https://api.example.com/./x/../mcp", "https", "api.example.com", "/mcp", true},
        {"https://api.example.com/mcp/", "https", "api.example.com", "/mcp", false},
        {"https://api.example.com/MCP", "https", "api.example.com", "/mcp", false},
        {"https://api.example.com", "https", "api.example.com", "/", true},
        {"https://api.example.com?x", "https", "api.example.com", "/", true},
        {"https://api.example.com/m%2Fcp", "https", "api.example.com", "/m/cp", false},
        {"https://api.example.com/%zz", "https", "api.example.com", "/", false},
        {"https://u@api.example.com/mcp", "https", "api.example.com", "/mcp", false},
        {"https://api.example.com@evil.example/mcp", "https", "api.example.com", "/mcp", false},
        {"https://u:p@api.example.com/mcp", "https", "u:p@api.example.com", "/mcp", false},
        {"https://evil.example/mcp", "https", "api.example.com", "/mcp", false},
        {"https://api%2Eexample.com/mcp", "https", "api.example.com", "/mcp", false},
        {"https://[::1]:8443/mcp", "https", "[0:0:0:0:0:0:0:1]:8443", "/mcp", true},
        {"https://[::2]/mcp", "https", "[::1]", "/mcp", false},
        {"https:/mcp", "https", "api.example.com", "/mcp", false},
        {"https:///mcp", "https", "", "/mcp", false},
        {"/mcp", "https", "api.example.com", "/mcp", false},
        {"", "https", "api.example.com", "/mcp", false},
        {"https://api.example.com/mcp", "https", "", "/mcp", false},
        {" https://api.example.com/mcp", "https", "api.example.com", "/mcp", false},
        {"https://api.example.com/m cp", "https", "api.example.com", "/m cp", false},
    };
    struct tg_dpop *d = tg_dpop_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        char htu[128];
        char *text;
        struct tg_slice proof;
        struct tg_dpop_request r;
        const char *reason;

        snprintf(htu, sizeof(htu), "\"%s\"", ways[i].htu);
        text = make(&(struct proof){.htu = htu});
        proof = tg_slice_str(text);
        r = request_of(&proof);
        r.scheme_name = tg_slice_str(ways[i].scheme);
        r.authority = tg_slice_str(ways[i].authority);
        r.path = tg_slice_str(ways[i].path);
        tg_dpop_check(d, &r, &reason);
        if (strcmp(reason, ways[i].same ? "accepted" : "proof-htu") != 0)
            fail_msg("%s for %s %s%s: %s", ways[i].htu, ways[i].scheme, ways[i].authority, ways[i].path, reason);
        free(text);
    }
    tg_dpop_free(d);
}

static void how_many(void **state)
{
    struct tg_dpop *d = tg_dpop_new();
    char *text = make(&(struct proof){0}), *large;
    struct tg_slice proofs[2] = {tg_slice_str(text), tg_slice_str(text)};
    struct tg_dpop_request r = request_of(proofs);
    const uint8_t *own = r.token_digest;
    uint8_t other[TG_SHA256_LEN];
    const char *reason;

    (void)state;
    r.proof_count = 0;
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    assert_string_equal(reason, "proof-missing");
    r.proof_count = 2;
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    assert_string_equal(reason, "proof-several");
    r.proof_count = 1;
    large = tg_alloc(TG_DPOP_PROOF_BYTES + 2);
    memset(large, 'a', TG_DPOP_PROOF_BYTES + 1);
    proofs[0] = tg_slice(large, TG_DPOP_PROOF_BYTES + 1);
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    assert_string_equal(reason, "proof-size");
    for (size_t cut = 0; cut < strlen(text); cut++) {    /* no part of a proof is one; and none uses up its jti */
        proofs[0] = tg_slice(text, cut);
        assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    }
    proofs[0] = tg_slice_str(text);
    tg_sha256(TG_S("another.access.token"), other);
    r.token_digest = other;
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    r.token_digest = own;
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_ACCEPTED);
    free(text);
    free(large);
    tg_dpop_free(d);
}

/* ---- once ---- */

static void a_jti_once(void **state)
{
    struct tg_dpop *d = tg_dpop_new();
    struct tg_signer *mine = signer, *other;

    (void)state;
    assert_string_equal(judge(d, &(struct proof){.jti = "\"one\""}), "accepted");
    assert_string_equal(judge(d, &(struct proof){.jti = "\"one\"", .iat = "1700000001"}), "proof-replayed");
    assert_string_equal(judge(d, &(struct proof){.jti = "\"one\"", .htm = "\"GET\""}), "proof-htm");
    assert_string_equal(judge(d, &(struct proof){.jti = "\"One\""}), "accepted");
    assert_int_equal(tg_signer_generate(TG_ALG_ES256, &other, NULL), TG_OK);
    signer = other;                                      /* another client's jti is its own */
    assert_string_equal(judge(d, &(struct proof){.jti = "\"one\""}), "accepted");
    signer = mine;
    tg_signer_free(other);
    tg_dpop_free(d);
}

#define THREADS 8
#define ROUNDS 40
struct race {
    struct tg_dpop *d;
    char *proofs[ROUNDS];
    pthread_barrier_t barrier;
    atomic_int accepted[ROUNDS];
};

static void *run(void *arg)
{
    struct race *race = arg;

    for (size_t i = 0; i < ROUNDS; i++) {
        struct tg_slice proof = tg_slice_str(race->proofs[i]);
        struct tg_dpop_request r = request_of(&proof);
        const char *reason;

        pthread_barrier_wait(&race->barrier);
        if (tg_dpop_check(race->d, &r, &reason) == TG_DPOP_ACCEPTED)
            atomic_fetch_add(&race->accepted[i], 1);
    }
    return NULL;
}

static void one_of_many_threads(void **state)
{
    struct race race = {.d = tg_dpop_new()};
    pthread_t threads[THREADS];

    (void)state;
    pthread_barrier_init(&race.barrier, NULL, THREADS);
    for (size_t i = 0; i < ROUNDS; i++)
        race.proofs[i] = make(&(struct proof){0});
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &race), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ROUNDS; i++) {
        assert_int_equal(race.accepted[i], 1);
        free(race.proofs[i]);
    }
    pthread_barrier_destroy(&race.barrier);
    tg_dpop_free(race.d);
}

/* A longer lifetime must not let those in again that were forgotten under the shorter one. */
static void a_longer_lifetime(void **state)
{
    struct tg_dpop_settings s = {.lifetime_ms = 300000, .algs = TG_ALG_BIT(TG_ALG_ES256)};
    struct tg_dpop *d = tg_dpop_new();
    char *old = make(&(struct proof){0}), *later = make(&(struct proof){.iat = "1700000061"});
    struct tg_slice proof = tg_slice_str(old);
    struct tg_dpop_request r = request_of(&proof);
    const char *reason;

    (void)state;
    tg_clock_set_wall_ms(NOW_S * 1000);
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_ACCEPTED);
    tg_dpop_bind(d, &s);
    for (int64_t s_later = 0; s_later <= 600; s_later += 7) {
        r.now_ms = (NOW_S + s_later) * 1000;
        assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_REFUSED);
    }
    proof = tg_slice_str(later);
    r.now_ms = (NOW_S + 61 + 299) * 1000;
    assert_int_equal(tg_dpop_check(d, &r, &reason), TG_DPOP_ACCEPTED);
    tg_clock_set_wall_ms(-1);
    free(old);
    free(later);
    tg_dpop_free(d);
}

/* ---- the table ---- */

static void the_table(void **state)
{
    struct tg_proofs_seen *t = tg_proofs_seen_new(16);
    size_t taken = 0;

    (void)state;
    for (uint64_t key = 1; key <= 100; key++)
        taken += tg_proofs_seen_take(t, key, 1060, 1000) == TG_PROOF_NEW;
    assert_int_equal(taken, 16);                         /* it is full, and nobody is put out */
    for (uint64_t key = 1; key <= 16; key++)
        assert_int_equal(tg_proofs_seen_take(t, key, 1060, 1060), TG_PROOF_SEEN);
    assert_int_equal(tg_proofs_seen_take(t, 17, 1060, 1060), TG_PROOF_NO_ROOM);
    assert_int_equal(tg_proofs_seen_take(t, 17, 1100, 1061), TG_PROOF_NEW);
    assert_int_equal(tg_proofs_seen_take(t, 17, 1100, 1061), TG_PROOF_SEEN);
    tg_proofs_seen_free(t);
    t = tg_proofs_seen_new((size_t)1 << 16);
    for (taken = 0; tg_proofs_seen_take(t, tg_hash2(taken, 7), 1060, 1000) == TG_PROOF_NEW;)
        taken++;
    assert_true(taken > ((size_t)1 << 16) / 4);          /* it refuses no sooner than when a quarter is in use */
    tg_proofs_seen_free(t);
}

/* ---- nonces ---- */

static void nonces(void **state)
{
    struct tg_dpop_settings s = {.lifetime_ms = 60000, .require_nonce = true, .algs = TG_ALG_BIT(TG_ALG_ES256)};
    struct tg_dpop *d = tg_dpop_new(), *other = tg_dpop_new();
    char nonce[TG_DPOP_NONCE], text[TG_DPOP_NONCE + 2];

    (void)state;
    assert_false(tg_dpop_wants_nonce(d));
    tg_dpop_bind(d, &s);
    tg_dpop_bind(other, &s);
    assert_true(tg_dpop_wants_nonce(d));
    assert_string_equal(judge(d, &(struct proof){0}), "proof-nonce");
    assert_string_equal(judge(d, &(struct proof){.nonce = "7"}), "proof-nonce");
    assert_string_equal(judge(d, &(struct proof){.htm = "\"GET\""}), "proof-htm"); /* nothing else is told by it */
    for (int minutes = -10; minutes <= 5; minutes++) {
        int64_t given_ms = (NOW_S + 60 * minutes) * 1000, periods = NOW_S / 300 - given_ms / 300000;
        const char *want = periods == 0 || periods == 1 ? "accepted" : "proof-nonce";

        tg_dpop_nonce(d, given_ms, nonce);
        assert_int_equal(strlen(nonce), TG_DPOP_NONCE - 1);
        snprintf(text, sizeof(text), "\"%s\"", nonce);
        assert_string_equal(judge(d, &(struct proof){.nonce = text}), want);
    }
    tg_dpop_nonce(other, NOW_S * 1000, nonce);           /* another process's */
    snprintf(text, sizeof(text), "\"%s\"", nonce);
    assert_string_equal(judge(d, &(struct proof){.nonce = text}), "proof-nonce");
    assert_string_equal(judge(other, &(struct proof){.nonce = text}), "accepted");
    tg_dpop_free(d);
    tg_dpop_free(other);
}

/* ---- settings ---- */

static bool read(const char *json, struct tg_dpop_settings *out, char *problem, size_t room)
{
    struct tg_problems problems = {0};
    struct tg_tree *tree;
    struct tg_arena arena;
    bool ok;

    tg_arena_init(&arena, NULL, 0);
    assert_int_equal(tg_tree_parse("t.json", tg_slice_str(json), &tree, NULL), TG_OK);
    ok = tg_dpop_read(tree, tree->root, &arena, out, &problems);
    snprintf(problem, room, "%s", problems.count ? problems.items[0].text : "");
    tg_problems_fini(&problems);
    tg_tree_free(tree);
    tg_arena_fini(&arena);
    return ok;
}

static void settings(void **state)
{
    static const struct { const char *json, *problem; } bad[] = {
        {"[]", "must be a mapping"},
        {"{\"proof_lifetime\":\"10m\"}", "proof_lifetime"},
        {"{\"proof_lifetime\":\"500ms\"}", "proof_lifetime"},
        {"{\"algs\":[\"HS256\"]}", "no public key"},
        {"{\"algs\":[\"ES265\"]}", "no known algorithm"},
        {"{\"algs\":[]}", "empty"},
        {"{\"nonce\":true}", "nonce"},
    };
    struct tg_dpop_settings s;
    char problem[400];

    (void)state;
    assert_true(read("{}", &s, problem, sizeof(problem)));
    assert_int_equal(s.lifetime_ms, 60000);
    assert_false(s.require_nonce);
    assert_true(s.algs & TG_ALG_BIT(TG_ALG_PS256));
    assert_true(read("{\"proof_lifetime\":\"5m\",\"require_nonce\":true,\"algs\":[\"EdDSA\"]}", &s, problem,
                     sizeof(problem)));
    assert_int_equal(s.lifetime_ms, 300000);
    assert_true(s.require_nonce);
    assert_int_equal(s.algs, TG_ALG_BIT(TG_ALG_EdDSA));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(read(bad[i].json, &s, problem, sizeof(problem)));
        if (!strstr(problem, bad[i].problem))
            fail_msg("%s: %s", bad[i].json, problem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_s_own),
        cmocka_unit_test(each_check),
        cmocka_unit_test(targets),
        cmocka_unit_test(how_many),
        cmocka_unit_test(a_jti_once),
        cmocka_unit_test(one_of_many_threads),
        cmocka_unit_test(a_longer_lifetime),
        cmocka_unit_test(the_table),
        cmocka_unit_test(nonces),
        cmocka_unit_test(settings),
    };
    return cmocka_run_group_tests_name("auth/dpop", tests, make_signer, free_signer);
}
