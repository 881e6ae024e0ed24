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
        [TG_JWT_REQUIRED] = "required",
        [TG_JWT_LIFETIME] = "lifetime",
        [TG_JWT_AGE] = "age",
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
    if (!iss && rules->introspected)
        return TG_JWT_OK;
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
    if (!aud && rules->introspected)
        return TG_JWT_OK;
    if (rules->audience_count && !found)
        return fail(err, TG_JWT_AUDIENCE, "\"aud\" has none of the configured audiences");
    return TG_JWT_OK;
}

static bool is_access_typ(struct tg_slice typ)
{
    return tg_slice_eq_nocase(typ, TG_S("at+jwt")) || tg_slice_eq_nocase(typ, TG_S("application/at+jwt"));
}

static bool has_text(const cJSON *claims, const char *name)
{
    struct tg_slice text;

    return tg_json_str(tg_json_get(claims, name), &text) && text.len > 0;
}

/* RFC 9068 §2.1, §2.2 and §4, as its own issuers keep it; exp, aud and sub are asked of every token. */
static enum tg_jwt_fault check_profile(const cJSON *claims, struct tg_slice typ, struct tg_err *err)
{
    if (!typ.ptr || !is_access_typ(typ))
        return fail(err, TG_JWT_TYPE, "\"typ\" of the header is not at+jwt, as RFC 9068 has it");
    if (!has_text(claims, "client_id") || !has_text(claims, "jti") || !tg_json_get(claims, "iat"))
        return fail(err, TG_JWT_TYPE, "RFC 9068 requires \"client_id\", \"jti\" and \"iat\"");
    return TG_JWT_OK;
}

/* What else tells an ID token from an access token is a matter of claims. */
static enum tg_jwt_fault check_type(const cJSON *claims, struct tg_slice typ, const struct tg_jwt_rules *rules,
                                    struct tg_err *err)
{
    static const char *const id_only[] = {"at_hash", "c_hash", "s_hash", "nonce", "sid"};

    if (rules->introspected)                             /* an answer has no header, and RFC 7662 knows no ID tokens */
        return TG_JWT_OK;
    if (typ.ptr && !is_access_typ(typ) && !tg_slice_eq_nocase(typ, TG_S("JWT")) &&
        !tg_slice_eq_nocase(typ, TG_S("application/jwt")))
        return fail(err, TG_JWT_TYPE, "\"typ\" of the header is neither JWT nor at+jwt");
    if (rules->token_use == TG_USE_ID && is_access_typ(typ))
        return fail(err, TG_JWT_TYPE, "an access token where an ID token is wanted");
    if (rules->rfc9068 && check_profile(claims, typ, err) != TG_JWT_OK)
        return TG_JWT_TYPE;
    if (rules->token_use != TG_USE_ACCESS)
        return TG_JWT_OK;
    if (!has_text(claims, "jti"))
        return fail(err, TG_JWT_TYPE, "an access token needs \"jti\"");
    for (size_t i = 0; i < ARRAY_LEN(id_only); i++) {
        if (tg_json_get(claims, id_only[i]))
            return fail(err, TG_JWT_TYPE, "an ID token where an access token is wanted");
    }
    return TG_JWT_OK;
}

static enum tg_jwt_fault check_required(const cJSON *claims, const struct tg_jwt_rules *rules, struct tg_err *err)
{
    for (size_t i = 0; i < rules->required_claim_count; i++) {
        const struct tg_slice name = rules->required_claims[i];
        const cJSON *member = claims->child;

        while (member && !tg_slice_eq(tg_slice_str(member->string), name))
            member = member->next;
        if (!member || cJSON_IsNull(member)) {
            tg_fail(err, TG_BAD_INPUT, "the claim \"" TG_S_FMT "\" is required here", TG_S_ARG(name));
            return TG_JWT_REQUIRED;
        }
    }
    return TG_JWT_OK;
}

bool tg_jwt_time(const cJSON *claims, const char *name, int64_t *out)
{
    const cJSON *node = tg_json_get(claims, name);
    double value = cJSON_IsNumber(node) ? node->valuedouble : -1;

    *out = -1;
    if (!node)
        return true;
    if (!isfinite(value) || value < 0 || value > TIME_MAX)
        return false;
    *out = (int64_t)floor(value);
    return true;
}

/* Whether iat allows it. The lifetime is its issuer's alone, so no leeway; the age is between two clocks. */
static enum tg_jwt_fault check_lifetime(int64_t exp, int64_t iat, const struct tg_jwt_rules *rules, struct tg_err *err)
{
    if ((rules->max_lifetime_s || rules->max_age_s) && iat < 0)
        return fail(err, TG_JWT_TIMES, "\"iat\" is required where the lifetime or age is limited");
    if (rules->max_lifetime_s && exp < 0)
        return fail(err, TG_JWT_TIMES, "\"exp\" is required where the lifetime is limited");
    if (rules->max_lifetime_s && exp - iat > rules->max_lifetime_s)
        return fail(err, TG_JWT_LIFETIME, "from \"iat\" to \"exp\" it is longer than max_lifetime");
    return TG_JWT_OK;
}

static enum tg_jwt_fault check_times(const cJSON *claims, const struct tg_jwt_rules *rules, int64_t now_s,
                                     int64_t *exp_s, struct tg_err *err)
{
    enum tg_jwt_fault fault;
    int64_t exp, nbf, iat;                               /* -1: not said */

    if (!tg_jwt_time(claims, "exp", &exp) || !tg_jwt_time(claims, "nbf", &nbf) || !tg_jwt_time(claims, "iat", &iat))
        return fail(err, TG_JWT_TIMES, "\"exp\", \"nbf\" and \"iat\" are numbers of seconds from 0 to 2^53");
    if (exp < 0 && !rules->introspected)
        return fail(err, TG_JWT_TIMES, "\"exp\" is required");
    if ((fault = check_lifetime(exp, iat, rules, err)) != TG_JWT_OK)
        return fault;
    if (exp >= 0 && exp + rules->leeway_s <= now_s)
        return fail(err, TG_JWT_EXPIRED, "the token has expired");
    if (nbf >= 0 && nbf > now_s + rules->leeway_s)
        return fail(err, TG_JWT_NOT_BEFORE, "the token is not valid yet (\"nbf\")");
    if (iat >= 0 && iat > now_s + rules->leeway_s)
        return fail(err, TG_JWT_ISSUED_AHEAD, "the token was issued in the future (\"iat\")");
    if (rules->max_age_s && iat + rules->max_age_s + rules->leeway_s <= now_s)
        return fail(err, TG_JWT_AGE, "the token is older than max_age");
    *exp_s = exp < 0 ? INT64_MAX : exp;
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
    if ((!rules->introspected || tg_json_get(claims, "sub")) &&
        (!tg_json_str(tg_json_get(claims, "sub"), &sub) || sub.len == 0))
        return fail(err, TG_JWT_SUBJECT, "\"sub\" is required, a text that is not empty");
    if ((fault = check_type(claims, typ, rules, err)) != TG_JWT_OK ||
        (fault = check_required(claims, rules, err)) != TG_JWT_OK)
        return fault;
    return check_times(claims, rules, now_s, exp_s, err);
}
