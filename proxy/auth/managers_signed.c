/*
 * managers_signed - JWTs at the management API: ID tokens of our own, and those that operators sign themselves.
 *
 * Whose it is, `iss` says: the URL of the API, or an operator's id. "Expired" is only said of what is right in
 * everything else, so whoever guesses learns nothing.
 */
#include "managers_internal.h"
#include "base/digest.h"
#include "base/json.h"
#include "jose/jwt.h"
#include <stdio.h>

#define ARENA_BYTES 4096
#define OPERATOR_LIFE_S 3600                             /* from iat */
#define AHEAD_S 30                                       /* how far an operator's clock may be before ours */

enum tg_manager_fault managers_say(struct tg_err *err, enum tg_manager_fault fault, const char *sentence)
{
    static const enum tg_status statuses[] = {
        [TG_MANAGER_OK] = TG_OK, [TG_MANAGER_NONE] = TG_NOT_FOUND, [TG_MANAGER_MALFORMED] = TG_BAD_INPUT,
        [TG_MANAGER_INVALID] = TG_DENIED, [TG_MANAGER_EXPIRED] = TG_EXPIRED, [TG_MANAGER_FAILED] = TG_UNAVAILABLE,
    };

    tg_fail(err, statuses[fault], "%s", sentence);
    return fault;
}

void managers_fill(struct tg_manager *out, const struct manager_row *row)
{
    out->role = row->role;
    snprintf(out->id, sizeof out->id, "%s", row->id);
    snprintf(out->name, sizeof out->name, "%s", row->name);
}

struct signed_token {
    const struct tg_jws *jws;
    const cJSON *claims;
    int64_t now_s;
};

static enum tg_manager_fault invalid(struct tg_err *err, const char *sentence)
{
    return managers_say(err, TG_MANAGER_INVALID, sentence);
}

static enum tg_manager_fault failed(struct tg_err *err, const struct tg_err *why)
{
    return managers_say(err, TG_MANAGER_FAILED, why->text);
}

static bool has_verified(const struct tg_jws *jws, const struct tg_jwks *keys, tg_algs allowed)
{
    return tg_jws_verify(jws, keys, allowed, NULL) == TG_OK;
}

/* ---- what may have been ended before its time ---- */

static enum tg_manager_fault check_ended(const struct tg_managers *m, const struct tg_manager *who, struct tg_err *err)
{
    struct tg_err why = {0};
    bool ended = false;

    if (managers_is_ended(m->db, who->jti, &ended, &why) != TG_OK)
        return failed(err, &why);
    return ended ? invalid(err, "the token was ended by a logout") : TG_MANAGER_OK;
}

/* ---- ID tokens ---- */

static enum tg_jwt_fault check_id_claims(const struct tg_managers *m, const struct signed_token *t, int64_t *exp_s,
                                         struct tg_err *err)
{
    const struct tg_slice url = tg_slice_str(m->url);
    const struct tg_jwt_rules rules = {
        .issuer = url,
        .audiences = &url,
        .audience_count = 1,
        .token_use = TG_USE_ID,
        .max_lifetime_s = OPERATOR_LIFE_S,
    };

    return tg_jwt_check(t->claims, t->jws->typ, &rules, t->now_s, exp_s, err);
}

/* What the table says of its API user, now. */
static enum tg_manager_fault check_row(struct tg_managers *m, const struct signed_token *t, struct manager_row *row,
                                       struct tg_manager *out, struct tg_err *err)
{
    struct tg_slice sub, jti;
    struct tg_err why = {0};
    enum tg_status st;

    if (!tg_json_str(tg_json_get(t->claims, "sub"), &sub) || !tg_json_str(tg_json_get(t->claims, "jti"), &jti) ||
        jti.len == 0 || jti.len >= sizeof out->jti)
        return invalid(err, "the ID token lacks sub or jti");
    st = managers_find_id(m->db, sub, row, &why);
    if (st == TG_NOT_FOUND)
        return invalid(err, "the API user of the ID token was deleted");
    if (st != TG_OK)
        return failed(err, &why);
    managers_fill(out, row);
    snprintf(out->jti, sizeof out->jti, TG_S_FMT, TG_S_ARG(jti));
    if (row->expires_s <= t->now_s)
        return managers_say(err, TG_MANAGER_EXPIRED, "the API user's token has expired");
    return check_ended(m, out, err);
}

static enum tg_manager_fault check_id_token(struct tg_managers *m, const struct signed_token *t,
                                            struct tg_manager *out, struct tg_err *err)
{
    struct tg_err why = {0};
    struct manager_row row;
    enum tg_manager_fault fault;
    enum tg_jwt_fault claims;

    if (managers_keys_look(&m->keys, &why) != TG_OK)
        return failed(err, &why);
    if (!has_verified(t->jws, m->keys.known, TG_ALG_BIT(TG_ALG_ES256)))
        return invalid(err, "the signature of the ID token is wrong, or its key is none of ours");
    claims = check_id_claims(m, t, &out->exp_s, &why);
    if (claims != TG_JWT_OK && claims != TG_JWT_EXPIRED)
        return invalid(err, why.text);
    out->how = TG_MANAGER_ID_TOKEN;
    fault = check_row(m, t, &row, out, err);
    if (fault == TG_MANAGER_OK && claims == TG_JWT_EXPIRED)
        return managers_say(err, TG_MANAGER_EXPIRED, "the ID token has expired");
    if (fault == TG_MANAGER_OK)
        managers_note_used(&m->used, m->db, &row, t->now_s * 1000);
    return fault;
}

/* ---- operators ---- */

static const struct tg_operator *find_operator(const struct tg_managers *m, struct tg_slice id)
{
    for (size_t i = 0; i < m->operators.count; i++)
        if (tg_slice_eq(m->operators.items[i].id, id))
            return &m->operators.items[i];
    return NULL;
}

/* iat is required, exp is not: the token is good for an hour at most, whatever it says. */
static enum tg_manager_fault check_operator_times(const struct signed_token *t, int64_t *exp_s, struct tg_err *err)
{
    int64_t iat, exp, nbf;

    if (!tg_jwt_time(t->claims, "iat", &iat) || !tg_jwt_time(t->claims, "exp", &exp) ||
        !tg_jwt_time(t->claims, "nbf", &nbf) || iat < 0)
        return invalid(err, "the operator's token lacks iat, or a time in it is none");
    if (iat > t->now_s + AHEAD_S || nbf > t->now_s + AHEAD_S)
        return invalid(err, "the operator's token is of the future");
    *exp_s = exp >= 0 && exp < iat + OPERATOR_LIFE_S ? exp : iat + OPERATOR_LIFE_S;
    if (*exp_s <= t->now_s)
        return managers_say(err, TG_MANAGER_EXPIRED, exp >= 0 && exp <= t->now_s ? "the operator's token has expired"
                            : "the operator's token is older than an hour (iat)");
    return TG_MANAGER_OK;
}

/* Times come last. tg_jwt_check would ask for exp, so it is given the rest only: as of an answer, which may lack it. */
static enum tg_manager_fault check_operator_claims(const struct tg_managers *m, const struct tg_operator *who,
                                                   const struct signed_token *t, int64_t *exp_s, struct tg_err *err)
{
    const struct tg_slice url = tg_slice_str(m->url);
    const struct tg_jwt_rules rules = {
        .issuer = who->id,
        .audiences = &url,
        .audience_count = 1,
        .leeway_s = INT32_MAX,
        .introspected = true,
    };
    struct tg_slice sub;
    struct tg_err why = {0};

    if (t->jws->typ.ptr && !tg_slice_eq_nocase(t->jws->typ, TG_S("JWT")))
        return invalid(err, "what the operator signed is of another type than JWT");
    if (!tg_json_get(t->claims, "aud") || !tg_json_str(tg_json_get(t->claims, "sub"), &sub) ||
        !tg_slice_eq(sub, who->id))
        return invalid(err, "the operator's token lacks aud, or its sub is not its iss");
    if (tg_jwt_check(t->claims, t->jws->typ, &rules, t->now_s, exp_s, &why) != TG_JWT_OK)
        return invalid(err, why.text);
    return check_operator_times(t, exp_s, err);
}

/* An operator's token needs no jti, so what it signs stands for it. */
static void name_by_digest(const struct tg_jws *jws, struct tg_manager *out)
{
    uint8_t digest[TG_SHA256_LEN];

    tg_sha256(jws->signing_input, digest);
    tg_hex(digest, sizeof digest, out->jti);
}

static enum tg_manager_fault check_operator(struct tg_managers *m, const struct tg_operator *who,
                                            const struct signed_token *t, struct tg_manager *out, struct tg_err *err)
{
    enum tg_manager_fault fault;

    if (!has_verified(t->jws, who->keys, TG_ALGS_DEFAULT))
        return invalid(err, "no key of the operator verifies the signature");
    fault = check_operator_claims(m, who, t, &out->exp_s, err);
    if (fault != TG_MANAGER_OK)
        return fault;
    out->how = TG_MANAGER_OPERATOR;
    out->role = (enum tg_role)who->role;
    snprintf(out->id, sizeof out->id, TG_S_FMT, TG_S_ARG(who->id));
    snprintf(out->name, sizeof out->name, TG_S_FMT, TG_S_ARG(who->id));
    name_by_digest(t->jws, out);
    return check_ended(m, out, err);
}

/* ---- both ---- */

static enum tg_manager_fault check_claims(struct tg_managers *m, const struct signed_token *t, struct tg_manager *out,
                                          struct tg_err *err)
{
    const struct tg_operator *operator;
    struct tg_slice iss;

    if (!tg_json_str(tg_json_get(t->claims, "iss"), &iss))
        return invalid(err, "the token names no issuer");
    if (tg_slice_eq(iss, tg_slice_str(m->url)))
        return check_id_token(m, t, out, err);
    operator = find_operator(m, iss);
    return operator ? check_operator(m, operator, t, out, err)
                    : invalid(err, "the issuer of the token is neither this API nor one of its operators");
}

enum tg_manager_fault managers_check_signed(struct tg_managers *m, struct tg_slice token, int64_t now_s,
                                            struct tg_manager *out, struct tg_err *err)
{
    _Alignas(16) char block[ARENA_BYTES];
    struct signed_token t = {.now_s = now_s};
    enum tg_manager_fault fault;
    struct tg_arena arena;
    struct tg_jws jws = {0};
    cJSON *claims = NULL;

    tg_arena_init(&arena, block, sizeof(block));
    if (tg_jws_split(token, &arena, &jws, NULL) != TG_OK) {
        fault = invalid(err, "it is no token that this API has made, and no JWT that it reads");
    } else if (tg_jwt_claims(jws.payload, &claims, NULL) != TG_OK) {
        fault = invalid(err, "the payload of the token is no JSON object");
    } else {
        t.jws = &jws;
        t.claims = claims;
        fault = check_claims(m, &t, out, err);
    }
    cJSON_Delete(claims);
    tg_jws_fini(&jws);
    tg_arena_fini(&arena);
    return fault;
}
