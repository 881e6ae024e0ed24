/* bound: every pairing of what a token is bound to, what the route demands and what the request shows. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/bound.h"

/* SHA-256 of nothing, as certificates' facts and as RFC 8705 write it. */
#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define X5T "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
#define JKT "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

#define RFC_TOKEN "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
#define RFC_PROOF \
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscE" \
    "JoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" \
    ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0" \
    "ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" \
    ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"

enum shown { NO_CERT, GOOD_CERT, OTHER_CERT };

static const struct {
    const char *why;
    const char *jkt, *x5t;                               /* of the token */
    enum tg_credential_kind scheme;
    enum tg_possession demanded;
    enum shown shown;
    size_t proofs;
    enum tg_bound_result want;
    const char *reason;
} cases[] = {
    {"a bearer token", "", "", TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, NO_CERT, 0, TG_BOUND_OK, NULL},
    {"with a certificate nobody asks for", "", "", TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, OTHER_CERT, 0,
     TG_BOUND_OK, NULL},
    {"with a proof nobody asks for", "", "", TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, NO_CERT, 2, TG_BOUND_OK,
     NULL},
    {"RFC 9449 §7.1: not bound, as DPoP", "", "", TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, NO_CERT, 1,
     TG_BOUND_INVALID, "bound-not"},
    {"bound to a certificate, as DPoP", "", X5T, TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, GOOD_CERT, 1,
     TG_BOUND_INVALID, "bound-not"},
    {"§7.2: bound to a key, as Bearer", JKT, "", TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, NO_CERT, 1,
     TG_BOUND_INVALID, "bound-scheme"},
    {"DPoP", JKT, "", TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, NO_CERT, 1, TG_BOUND_OK, NULL},
    {"DPoP without a proof", JKT, "", TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, NO_CERT, 0, TG_BOUND_PROOF,
     "proof-missing"},
    {"§4.3 1: two proofs", JKT, "", TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, NO_CERT, 2, TG_BOUND_PROOF,
     "proof-several"},
    {"RFC 8705 §3", "", X5T, TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, GOOD_CERT, 0, TG_BOUND_OK, NULL},
    {"no certificate", "", X5T, TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, NO_CERT, 0, TG_BOUND_INVALID,
     "bound-no-certificate"},
    {"another certificate", "", X5T, TG_CREDENTIAL_BEARER, TG_POSSESSION_WHEN_BOUND, OTHER_CERT, 0, TG_BOUND_INVALID,
     "bound-certificate"},
    {"both", JKT, X5T, TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, GOOD_CERT, 1, TG_BOUND_OK, NULL},
    {"both, one is there", JKT, X5T, TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, NO_CERT, 1, TG_BOUND_INVALID,
     "bound-no-certificate"},
    {"both, the other is there", JKT, X5T, TG_CREDENTIAL_DPOP, TG_POSSESSION_WHEN_BOUND, GOOD_CERT, 0, TG_BOUND_PROOF,
     "proof-missing"},
    {"any, none", "", "", TG_CREDENTIAL_BEARER, TG_POSSESSION_ANY, GOOD_CERT, 0, TG_BOUND_INVALID, "bound-demanded"},
    {"any, a key", JKT, "", TG_CREDENTIAL_DPOP, TG_POSSESSION_ANY, NO_CERT, 1, TG_BOUND_OK, NULL},
    {"any, a certificate", "", X5T, TG_CREDENTIAL_BEARER, TG_POSSESSION_ANY, GOOD_CERT, 0, TG_BOUND_OK, NULL},
    {"dpop, a key", JKT, "", TG_CREDENTIAL_DPOP, TG_POSSESSION_DPOP, NO_CERT, 1, TG_BOUND_OK, NULL},
    {"dpop, a certificate", "", X5T, TG_CREDENTIAL_BEARER, TG_POSSESSION_DPOP, GOOD_CERT, 0, TG_BOUND_INVALID,
     "bound-demanded"},
    {"mtls, a certificate", "", X5T, TG_CREDENTIAL_BEARER, TG_POSSESSION_MTLS, GOOD_CERT, 0, TG_BOUND_OK, NULL},
    {"mtls, a key", JKT, "", TG_CREDENTIAL_DPOP, TG_POSSESSION_MTLS, GOOD_CERT, 1, TG_BOUND_INVALID,
     "bound-demanded"},
};

static enum tg_bound_result check(size_t i, struct tg_dpop *dpop, const char **reason)
{
    static const struct tg_slice proofs[] = {TG_S_INIT(RFC_PROOF), TG_S_INIT(RFC_PROOF)};
    static const struct tg_cert good = {.fingerprint = HEX};
    static const struct tg_cert other = {.fingerprint = "f3b0c44298fc1c149afbf4c8996fb924"
                                                   "27ae41e4649b934ca495991b7852b855"};
    struct tg_identity id = {.jkt = tg_slice_str(cases[i].jkt), .x5t = tg_slice_str(cases[i].x5t)};
    struct tg_bound_request r = {
        .identity = &id, .scheme = cases[i].scheme, .demanded = cases[i].demanded,
        .certificate = cases[i].shown == NO_CERT ? NULL : cases[i].shown == GOOD_CERT ? &good : &other,
        .proofs = proofs, .proof_count = cases[i].proofs, .method = TG_S("GET"), .scheme_name = TG_S("https"),
        .authority = TG_S("resource.example.org"), .path = TG_S("/protectedresource"),
        .now_ms = INT64_C(1562262618) * 1000,
    };

    tg_sha256(TG_S(RFC_TOKEN), id.digest);
    return tg_bound_check(dpop, &r, reason);
}

static void pairings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_dpop *d = tg_dpop_new();
        const char *reason;

        if (check(i, d, &reason) != cases[i].want)
            fail_msg("%s", cases[i].why);
        if (!reason != !cases[i].reason || (reason && strcmp(reason, cases[i].reason) != 0))
            fail_msg("%s: %s", cases[i].why, reason);
        if (cases[i].want == TG_BOUND_OK && cases[i].jkt[0]) { /* that proof was the only one of its kind */
            assert_int_equal(check(i, d, &reason), TG_BOUND_PROOF);
            assert_string_equal(reason, "proof-replayed");
        } else if (cases[i].want == TG_BOUND_INVALID) {  /* and one that was not looked at is still good */
            assert_int_equal(check(6, d, &reason), TG_BOUND_OK);
        }
        tg_dpop_free(d);
    }
}

static void without_a_judge(void **state)
{
    const char *reason;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (cases[i].jkt[0])
            assert_int_not_equal(check(i, NULL, &reason), TG_BOUND_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairings),
        cmocka_unit_test(without_a_judge),
    };
    return cmocka_run_group_tests_name("auth/bound", tests, NULL, NULL);
}
