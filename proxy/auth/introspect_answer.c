/*
 * introspect_answer - what a provider's answer about a token means (RFC 7662 §2.2, §2.3).
 */
#include "introspect_internal.h"
#include "base/json.h"

#define MS INT64_C(1000)

static bool says(const cJSON *claims, const char *name, struct tg_slice word)
{
    struct tg_slice text;

    return tg_json_str(tg_json_get(claims, name), &text) && tg_slice_eq_nocase(text, word);
}

/*
 * A refresh token may be active as well; what says that it is no access token is none. `token_type` is that of RFC 6749
 * §7.1; the other two are what servers in the wild say instead.
 */
static bool is_access_token(const cJSON *claims)
{
    if (tg_json_get(claims, "token_type") && !says(claims, "token_type", TG_S("Bearer")) &&
        !says(claims, "token_type", TG_S("DPoP")))
        return false;
    return !says(claims, "token_use", TG_S("refresh_token")) && !says(claims, "typ", TG_S("Refresh"));
}

/* Without `active`, which is about the answer, and with the issuer that gave it. */
static void add_issuer(cJSON *claims, struct tg_slice issuer)
{
    char *text;

    cJSON_DeleteItemFromObjectCaseSensitive(claims, "active");
    if (tg_json_get(claims, "iss"))
        return;
    text = tg_slice_dup(issuer);
    if (!cJSON_AddStringToObject(claims, "iss", text))
        tg_panic(__FILE__, __LINE__, "out of memory");
    free(text);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* No answer is kept beyond the time that the rules leave its token. */
static int64_t until(const struct tg_judging *j, const cJSON *claims, int64_t exp_s)
{
    const struct tg_jwt_rules *r = j->rules;
    int64_t until_ms = j->asked_ms + j->ttl_ms, iat_s;

    if (r->max_age_s && tg_jwt_time(claims, "iat", &iat_s))
        until_ms = least(until_ms, (iat_s + r->max_age_s + r->leeway_s) * MS);
    return exp_s < until_ms / MS ? exp_s * MS : until_ms;
}

static enum tg_judged judge_active(const struct tg_judging *j, cJSON *claims, struct tg_introspection_answer **out,
                                   struct tg_err *err)
{
    struct tg_buf text = {0};
    int64_t exp_s = INT64_MAX;
    struct tg_err why = {0};
    enum tg_jwt_fault fault;

    add_issuer(claims, j->rules->issuer);
    if (!is_access_token(claims)) {
        tg_fail(err, TG_BAD_INPUT, "it is no access token");
        return TG_JUDGED_NOT_OURS;
    }
    fault = tg_jwt_check(claims, tg_slice(NULL, 0), j->rules, j->now_ms / MS, &exp_s, &why);
    if (fault != TG_JWT_OK) {
        tg_fail(err, TG_BAD_INPUT, "%s", tg_err_text(&why));
        return TG_JUDGED_NOT_OURS;
    }
    tg_json_print(&text, claims);
    *out = tg_answer_new(tg_buf_slice(&text), exp_s, until(j, claims, exp_s));
    tg_buf_wipe(&text);
    return TG_JUDGED_ACTIVE;
}

/* §2.3: only 200 speaks about the token; 400 and 401 are about who asks (ZITADEL says either). */
static enum tg_judged judge_status(const struct tg_fetch_answer *answer, struct tg_err *err)
{
    if (answer->status != TG_OK) {
        tg_fail(err, TG_UNAVAILABLE, "%s", answer->error);
        return TG_JUDGED_FAILED;
    }
    if (answer->http_status == 400 || answer->http_status == 401) {
        tg_fail(err, TG_DENIED, "the provider refuses tollgate's own credential (status %u)", answer->http_status);
        return TG_JUDGED_REFUSED;
    }
    tg_fail(err, TG_UNAVAILABLE, "the provider answers with status %u%s", answer->http_status,
            answer->http_status / 100 == 3 ? "; redirects are not followed" : "");
    return answer->http_status == 200 ? TG_JUDGED_ACTIVE : TG_JUDGED_FAILED;
}

enum tg_judged tg_introspection_judge(const struct tg_judging *j, const struct tg_fetch_answer *answer,
                                      struct tg_introspection_answer **out, struct tg_err *err)
{
    enum tg_judged judged = judge_status(answer, err);
    const cJSON *active;
    cJSON *root = NULL;
    struct tg_err why;

    if (judged != TG_JUDGED_ACTIVE)
        return judged;
    if (tg_json_parse(answer->body, NULL, &root, &why) != TG_OK) {
        tg_fail(err, TG_UNAVAILABLE, "its answer: %s", tg_err_text(&why));
        return TG_JUDGED_FAILED;
    }
    active = tg_json_get(root, "active");
    if (!cJSON_IsObject(root) || !cJSON_IsBool(active)) {
        tg_fail(err, TG_UNAVAILABLE, "its answer is no JSON object with a boolean `active`");
        judged = TG_JUDGED_FAILED;
    } else if (cJSON_IsFalse(active)) {
        judged = TG_JUDGED_INACTIVE;
    } else {
        judged = judge_active(j, root, out, err);
    }
    cJSON_Delete(root);
    return judged;
}
