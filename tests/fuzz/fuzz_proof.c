/*
 * fuzz_proof - a DPoP proof against a request: whatever the bytes, no crash, and only the one that was signed is taken.
 *
 * The key, token and request are those of RFC 9449 §7.1; nobody here has the key's private half, so what is accepted
 * must be that example's own signing input. After a first byte of 0 it is a claim htu, for the comparison of targets
 * alone.
 */
#include "../../proxy/auth/proof_target.h"
#include "auth/dpop.h"
#include "base/digest.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IAT INT64_C(1562262618)
#define SIGNED \
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscE" \
    "JoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" \
    ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0" \
    "ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9."

static void try_proof(struct tg_slice proof)
{
    static struct tg_dpop *d;
    uint8_t digest[TG_SHA256_LEN];
    struct tg_dpop_request r = {
        .proofs = &proof, .proof_count = 1, .thumbprint = TG_S("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        .token_digest = digest, .method = TG_S("GET"),
        .scheme_name = TG_S("https"), .authority = TG_S("resource.example.org"), .path = TG_S("/protectedresource"),
        .now_ms = IAT * 1000,
    };
    const char *reason = NULL;

    tg_sha256(TG_S("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"), digest);
    if (!d)
        d = tg_dpop_new();
    if (tg_dpop_check(d, &r, &reason) == TG_DPOP_ACCEPTED) {
        if (!tg_slice_starts_with(proof, TG_S(SIGNED)))
            abort();
        if (tg_dpop_check(d, &r, &reason) == TG_DPOP_ACCEPTED)
            abort();                                     /* twice */
        tg_dpop_free(d);                                 /* so that the next one is judged by its signature */
        d = NULL;
    }
    if (!reason)
        abort();
}

static void try_target(struct tg_slice htu)
{
    struct tg_proof_target target = {TG_S("https"), TG_S("resource.example.org"), TG_S("/protectedresource")};
    struct tg_arena arena;

    tg_arena_init(&arena, NULL, 0);
    if (tg_proof_target_is(htu, &target, &arena)) {
        if (htu.len < 28 || !tg_slice_eq_nocase(tg_slice(htu.ptr, 8), TG_S("https://")) ||
            !tg_slice_eq_nocase(tg_slice(htu.ptr + 8, 20), TG_S("resource.example.org")))
            abort();                                     /* another host, whatever stands behind it */
    }
    tg_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_slice text = tg_slice((const char *)data, size);

    if (size > 0 && data[0] == 0)
        try_target(tg_slice(text.ptr + 1, size - 1));
    else
        try_proof(text);
    return 0;
}
