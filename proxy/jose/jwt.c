/*
 * jwt - claims against rules.
 *
 * Times come last, so that "expired" is only ever said of a token that is right in everything else. All times are cut
 * to whole seconds, as the clock given is: a fraction never makes a fresh token look early, and never lets one live
 * longer.
 */
#include "jose/jwt.h"
#include "base/json.h"
#include <math.h>

#define TIME_MAX 9007199254740992.0                      /* 2^53: above, a double is no exact second */

const char *tg_jwt_fault_name(enum tg_jwt_fault fault)
{
    static const char *const names[] = {
        [TG_JWT_OK] = "ok",
        [TG_JWT_PAYLOAD] = "payload",
        [TG_JWT_ISSUER] = "issuer",
        [TG_JWT_AUDIENCE] = "audience",
        [TG_JWT_EXPIRED] = "expired",
        [TG_JWT_NOT_BEFORE] = "not_before",
        [TG_JWT_ISSUED_AHEAD] = "issued_ahead",
        [TG_JWT_SUBJECT] = "subject",
        [TG_JWT_TYPE] = "type",
        [TG_JWT_TIMES] = "times",
    };
    return fault < ARRAY_LEN(names) ? names[fault] : "unknown";
}

enum tg_status tg_jwt_claims(struct tg_slice payload, cJSON **out, struct tg_err *err)
{
    struct tg_err why;
    cJSON *claims = NULL;

    if (tg_json_parse(payload, NULL, &claims, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "the token's payload: %s", why.text);
    if (!cJSON_IsObject(claims)) {
        cJSON_Delete(claims);
        return tg_fail(err, TG_BAD_INPUT, "the token's payload is no JSON object");
    }
    *out = claims;
    return TG_OK;
}

static enum tg_jwt_fault fail(struct tg_err *err, enum tg_jwt_fault fault, const char *sentence)
{
    tg_fail(err, fault == TG_JWT_EXPIRED ? TG_EXPIRED : TG_BAD_INPUT, "%s", sentence);
    return fault;
}

static enum tg_jwt_fault check_issuer(const cJSON *claims, const struct tg_jwt_rules *rules, struct tg_err *err)
{
    const cJSON *iss = tg_json_get(claims, "iss");
    struct tg_slice text;

    if (iss && !tg_json_str(iss, &text))
        return fail(err, TG_JWT_ISSUER, "\"iss\" is no text");
    if (rules->issuer.len && (!iss || !tg_slice_eq(text, rules->issuer)))
        return fail(err, TG_JWT_ISSUER, "\"iss\" is not the configured issuer");
    return TG_JWT_OK;
}

static bool wanted(struct tg_slice audience, const struct tg_jwt_rules *rules)
{
    for (size_t i = 0; i < rules->audience_count; i++) {
        if (tg_slice_eq(audience, rules->audiences[i]))
            return true;
    }
    return false;
}

static enum tg_jwt_fault check_audience(const cJSON *claims, const struct tg_jwt_rules *rules, struct tg_err *err)
{
    const cJSON *aud = tg_json_get(claims, "aud"), *item;
    struct tg_slice text;
    bool found = false;

    if (tg_json_str(aud, &text)) {
        found = wanted(text, rules);
    } else if (aud) {
        if (!cJSON_IsArray(aud) || !aud->child)
            return fail(err, TG_JWT_AUDIENCE, "\"aud\" is neither text nor a list of at least one");
        cJSON_ArrayForEach(item, aud) {
            if (!tg_json_str(item, &text))
                return fail(err, TG_JWT_AUDIENCE, "\"aud\" holds what is no text");
            found = found || wanted(text, rules);
        }
    }
    if (rules->audience_count && !found)
        return fail(err, TG_JWT_AUDIENCE, "\"aud\" has none of the configured audiences");
    return TG_JWT_OK;
}

static bool is_access_typ(struct tg_slice typ)
{
    return tg_slice_eq_nocase(typ, TG_S("at+jwt")) || tg_slice_eq_nocase(typ, TG_S("application/at+jwt"));
}

/* RFC 9068 §2.1 and §4; what else tells an ID token from an access token is a matter of claims. */
static enum tg_jwt_fault check_type(const cJSON *claims, struct tg_slice typ, const struct tg_jwt_rules *rules,
                                    struct tg_err *err)
{
    static const char *const id_only[] = {"at_hash", "c_hash", "s_hash", "nonce", "sid"};
    struct tg_slice jti;

    if (typ.ptr && !is_access_typ(typ) && !tg_slice_eq_nocase(typ, TG_S("JWT")) &&
        !tg_slice_eq_nocase(typ, TG_S("application/jwt")))
        return fail(err, TG_JWT_TYPE, "\"typ\" of the header is neither JWT nor at+jwt");
    if (rules->token_use == TG_USE_ID && is_access_typ(typ))
        return fail(err, TG_JWT_TYPE, "an access token where an ID token is wanted");
    if (rules->token_use != TG_USE_ACCESS)
        return TG_JWT_OK;
    if (!tg_json_str(tg_json_get(claims, "jti"), &jti) || jti.len == 0)
        return fail(err, TG_JWT_TYPE, "an access token needs \"jti\"");
    for (size_t i = 0; i < ARRAY_LEN(id_only); i++) {
        if (tg_json_get(claims, id_only[i]))
            return fail(err, TG_JWT_TYPE, "an ID token where an access token is wanted");
    }
    return TG_JWT_OK;
}

/* A NumericDate (RFC 7519 §2) in whole seconds; false when it is none. Absent: *present false. */
static bool read_time(const cJSON *claims, const char *name, bool *present, int64_t *out)
{
    const cJSON *node = tg_json_get(claims, name);
    double value;

    *present = node != NULL;
    if (!node)
        return true;
    value = cJSON_IsNumber(node) ? node->valuedouble : -1;
    if (!isfinite(value) || value < 0 || value > TIME_MAX)
        return false;
    *out = (int64_t)floor(value);
    return true;
}

static enum tg_jwt_fault check_times(const cJSON *claims, const struct tg_jwt_rules *rules, int64_t now_s,
                                     int64_t *exp_s, struct tg_err *err)
{
    bool has_exp, has_nbf, has_iat;
    int64_t exp = 0, nbf = 0, iat = 0;

    if (!read_time(claims, "exp", &has_exp, &exp) || !read_time(claims, "nbf", &has_nbf, &nbf) ||
        !read_time(claims, "iat", &has_iat, &iat))
        return fail(err, TG_JWT_TIMES, "\"exp\", \"nbf\" and \"iat\" are numbers of seconds from 0 to 2^53");
    if (!has_exp)
        return fail(err, TG_JWT_TIMES, "\"exp\" is required");
    if (exp + rules->leeway_s <= now_s)
        return fail(err, TG_JWT_EXPIRED, "the token has expired");
    if (has_nbf && nbf > now_s + rules->leeway_s)
        return fail(err, TG_JWT_NOT_BEFORE, "the token is not valid yet (\"nbf\")");
    if (has_iat && iat > now_s + rules->leeway_s)
        return fail(err, TG_JWT_ISSUED_AHEAD, "the token was issued in the future (\"iat\")");
    *exp_s = exp;
    return TG_JWT_OK;
}

enum tg_jwt_fault tg_jwt_check(const cJSON *claims, struct tg_slice typ, const struct tg_jwt_rules *rules,
                               int64_t now_s, int64_t *exp_s, struct tg_err *err)
{
    enum tg_jwt_fault fault;
    struct tg_slice sub;

    if (!cJSON_IsObject(claims))
        return fail(err, TG_JWT_PAYLOAD, "the token's payload is no JSON object");
    if ((fault = check_issuer(claims, rules, err)) != TG_JWT_OK ||
        (fault = check_audience(claims, rules, err)) != TG_JWT_OK)
        return fault;
    if (!tg_json_str(tg_json_get(claims, "sub"), &sub) || sub.len == 0)
        return fail(err, TG_JWT_SUBJECT, "\"sub\" is required, a text that is not empty");
    if ((fault = check_type(claims, typ, rules, err)) != TG_JWT_OK)
        return fault;
    return check_times(claims, rules, now_s, exp_s, err);
}
