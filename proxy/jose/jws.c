/*
 * jws - the token taken apart, and the one key it may be checked against.
 *
 * The algorithm a token names only selects among what the caller allows and the key fits; it never decides how a key is
 * used: a key verifies the algorithms of its own type and no other (RFC 8725 §3.1).
 */
#include "jose/jws.h"
#include "base/digest.h"
#include "base/json.h"
#include "internal.h"

/* A header may carry a certificate chain nobody looks at; more than this is no token. */
static const struct tg_json_limits header_limits = {.bytes = 16 << 10, .depth = 8, .nodes = 256};

static bool decode(struct tg_slice text, struct tg_arena *arena, struct tg_slice *out)
{
    uint8_t *p = tg_arena_raw(arena, text.len / 4 * 3 + 3);
    size_t len;

    if (!tg_base64url_decode(text, p, &len))
        return false;
    *out = tg_slice((const char *)p, len);
    return true;
}

/* A member that must be text when present. */
static bool optional_text(const cJSON *header, const char *name, struct tg_slice *out)
{
    const cJSON *node = tg_json_get(header, name);

    *out = tg_slice(NULL, 0);
    return !node || tg_json_str(node, out);
}

static enum tg_status read_header(struct tg_jws *jws, struct tg_err *err)
{
    struct tg_slice alg, cty;

    if (!cJSON_IsObject(jws->header))
        return tg_fail(err, TG_BAD_INPUT, "the token's header is no JSON object");
    if (!tg_json_str(tg_json_get(jws->header, "alg"), &alg))
        return tg_fail(err, TG_BAD_INPUT, "the token's header has no \"alg\" that is text");
    if (!tg_alg_parse(alg, &jws->alg))
        return tg_fail(err, TG_BAD_INPUT, "the token's \"alg\" is no signature algorithm known here");
    if (tg_json_get(jws->header, "crit"))                /* RFC 7515 §4.1.11: we understand no extension */
        return tg_fail(err, TG_BAD_INPUT, "the token's header has \"crit\", and no extension is understood");
    if (tg_json_get(jws->header, "b64"))                 /* RFC 7797: two readings of one signature */
        return tg_fail(err, TG_BAD_INPUT, "the token's header has \"b64\", unencoded payloads are not taken");
    if (!optional_text(jws->header, "kid", &jws->kid) || !optional_text(jws->header, "typ", &jws->typ) ||
        !optional_text(jws->header, "cty", &cty))
        return tg_fail(err, TG_BAD_INPUT, "\"kid\", \"typ\" and \"cty\" of a token's header are text");
    return TG_OK;
}

enum tg_status tg_jws_split(struct tg_slice token, struct tg_arena *arena, struct tg_jws *out, struct tg_err *err)
{
    struct tg_slice head, rest, body, tail, text;
    struct tg_jws jws = {0};
    struct tg_err why;
    enum tg_status st;

    if (!tg_slice_cut(token, '.', &head, &rest) || !tg_slice_cut(rest, '.', &body, &tail) ||
        memchr(tail.ptr, '.', tail.len))
        return tg_fail(err, TG_BAD_INPUT, "a signed token has three parts between two dots");
    if (head.len > header_limits.bytes / 3 * 4)
        return tg_fail(err, TG_BAD_INPUT, "the token's header is larger than %zu bytes", header_limits.bytes);
    if (!decode(head, arena, &text) || !decode(body, arena, &jws.payload) || !decode(tail, arena, &jws.signature))
        return tg_fail(err, TG_BAD_INPUT, "a part of the token is not canonical base64url");
    if (tg_json_parse(text, &header_limits, &jws.header, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "the token's header: %s", why.text);
    if ((st = read_header(&jws, err)) != TG_OK) {
        cJSON_Delete(jws.header);
        return st;
    }
    jws.signing_input = tg_slice(token.ptr, head.len + 1 + body.len);
    *out = jws;
    return TG_OK;
}

void tg_jws_fini(struct tg_jws *jws)
{
    if (!jws)
        return;
    cJSON_Delete(jws->header);
    *jws = (struct tg_jws){0};
}

static bool has_kid(const struct tg_jwk *key, struct tg_slice kid)
{
    return key->kid.ptr && tg_slice_eq(key->kid, kid);
}

/* Every key of the token's kid that fits is tried: an issuer that reuses a kid vouches for all of them. */
static enum tg_status verify_by_kid(const struct tg_jws *jws, const struct tg_jwks *keys, bool *known,
                                    struct tg_err *err)
{
    size_t named = 0, tried = 0;

    for (size_t i = 0; i < tg_jwks_count(keys); i++) {
        const struct tg_jwk *key = tg_jwks_key(keys, i);

        if (!has_kid(key, jws->kid))
            continue;
        named++;
        if (!(key->fits & TG_ALG_BIT(jws->alg)))
            continue;
        tried++;
        if (tg_key_verify(key, jws->alg, jws->signing_input, jws->signature)) {
            *known = true;
            return TG_OK;
        }
    }
    *known = named > 0;
    if (named && !tried)
        return tg_fail(err, TG_BAD_INPUT, "the key of the token's \"kid\" is not for %s", tg_alg_name(jws->alg));
    return tg_fail(err, TG_CRYPTO, "the token's signature is wrong");
}

/* Keys that need no kid: two secrets, two PEM blocks. False: none could be tried, or too many. */
static bool verify_in_turn(const struct tg_jws *jws, const struct tg_jwks *keys, enum tg_status *st, struct tg_err *err)
{
    const struct tg_jwk *candidates[TG_KEYS_IN_TURN];
    size_t count = 0;

    for (size_t i = 0; i < tg_jwks_count(keys); i++) {
        const struct tg_jwk *key = tg_jwks_key(keys, i);

        if (!(key->fits & TG_ALG_BIT(jws->alg)) || (jws->kid.ptr && key->kid.ptr))
            continue;
        if (count == ARRAY_LEN(candidates))
            return false;
        candidates[count++] = key;
    }
    *st = TG_OK;
    for (size_t i = 0; i < count; i++)
        if (tg_key_verify(candidates[i], jws->alg, jws->signing_input, jws->signature))
            return true;
    *st = tg_fail(err, TG_CRYPTO, "the token's signature is wrong");
    return count > 0;
}

enum tg_status tg_jws_verify(const struct tg_jws *jws, const struct tg_jwks *keys, tg_algs allowed, struct tg_err *err)
{
    const struct tg_jwk *only = NULL;
    enum tg_status st;
    size_t fitting = 0;

    if (!(allowed & TG_ALG_BIT(jws->alg)))
        return tg_fail(err, TG_BAD_INPUT, "%s is not among the allowed algorithms", tg_alg_name(jws->alg));
    if ((allowed & TG_ALGS_HMAC) && (allowed & ~TG_ALGS_HMAC)) /* RFC 8725 §3.1 */
        return tg_fail(err, TG_BAD_INPUT, "HS* algorithms are never mixed with others");
    if (jws->kid.ptr) {
        bool known;

        st = verify_by_kid(jws, keys, &known, err);
        if (known)
            return st;
    }
    if (tg_jwks_in_turn(keys) && verify_in_turn(jws, keys, &st, err))
        return st;
    for (size_t i = 0; i < tg_jwks_count(keys); i++) {
        if (tg_jwks_key(keys, i)->fits & TG_ALG_BIT(jws->alg)) {
            only = tg_jwks_key(keys, i);
            fitting++;
        }
    }
    if (fitting != 1)
        return tg_fail(err, TG_NOT_FOUND, "%s, and not exactly one key is for %s",
                       jws->kid.ptr ? "no key has the token's \"kid\"" : "the token has no \"kid\"",
                       tg_alg_name(jws->alg));
    if (jws->kid.ptr && only->kid.ptr)
        return tg_fail(err, TG_NOT_FOUND, "no key has the token's \"kid\"");
    if (!tg_key_verify(only, jws->alg, jws->signing_input, jws->signature))
        return tg_fail(err, TG_CRYPTO, "the token's signature is wrong");
    return TG_OK;
}
