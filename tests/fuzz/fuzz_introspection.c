/*
 * fuzz_introspection - an answer about a token (RFC 7662): whatever the bytes, no crash, and what counts as active
 * holds to the rules: our issuer, a subject and our audience when they are said, not over, not kept beyond its end.
 */
#include "../../proxy/auth/introspect_internal.h"
#include "base/json.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_S INT64_C(1800000000)
#define TTL_MS INT64_C(30000)

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_answer(const struct tg_introspection_answer *answer)
{
    struct tg_slice text;
    cJSON *claims;

    must(tg_json_parse(answer->claims, NULL, &claims, NULL) == TG_OK && cJSON_IsObject(claims));
    must(tg_json_str(tg_json_get(claims, "iss"), &text) && tg_slice_eq(text, TG_S("https://i")));
    must(!tg_json_get(claims, "sub") || (tg_json_str(tg_json_get(claims, "sub"), &text) && text.len > 0));
    must(!tg_json_get(claims, "active"));
    must(answer->exp_s > NOW_S - 30 && answer->until_ms <= NOW_S * 1000 + TTL_MS);
    must(answer->exp_s == INT64_MAX || answer->until_ms <= answer->exp_s * 1000);
    must((answer->exp_s == INT64_MAX) == !tg_json_get(claims, "exp"));
    cJSON_Delete(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tg_slice audience = TG_S_INIT("api");
    const struct tg_jwt_rules rules = {.issuer = TG_S("https://i"), .audiences = &audience, .audience_count = 1,
                                       .leeway_s = 30, .introspected = true};
    const struct tg_judging judging = {&rules, TTL_MS, NOW_S * 1000, NOW_S * 1000};
    const struct tg_fetch_answer said = {.status = TG_OK, .http_status = 200,
                                         .body = tg_slice((const char *)data, size)};
    struct tg_introspection_answer *answer = NULL;
    struct tg_err err = {0};
    enum tg_judged judged = tg_introspection_judge(&judging, &said, &answer, &err);

    must((judged == TG_JUDGED_ACTIVE) == (answer != NULL));
    must(judged != TG_JUDGED_REFUSED && (judged != TG_JUDGED_FAILED || err.text[0]));
    if (answer)
        check_answer(answer);
    tg_introspection_answer_unref(answer);
    return 0;
}
