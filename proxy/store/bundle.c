/*
 * bundle - the octets: a payload made of a set, signed, and opened again.
 *
 * The signature is looked at before the payload is: what no key vouches for is never read as JSON. A payload has four
 * members and no others, for one that is not understood might have been meant as a condition.
 */
#include "store/bundle.h"
#include "base/clock.h"
#include "base/json.h"
#include "bundle_internal.h"
#include "jose/jws.h"
#include "jose/mint.h"
#include "jose/proof.h"
#include <stdio.h>

#define AHEAD_S 60                                       /* clocks differ; iat this far ahead is taken */
#define LAST_S INT64_C(253402300799)                     /* the end of the year 9999 */
#define SEQUENCE_MAX ((uint64_t)1 << 53)                 /* beyond it JSON's numbers are not exact */

/* As much as a set may be, and a little around it. */
static const struct tg_json_limits limits = {.bytes = TG_SET_BYTES + 4096, .depth = 72, .nodes = 4000000};

/* ---- the payload ---- */

struct payload {
    cJSON *root;                                         /* owned */
    const cJSON *policies, *routes;
    struct tg_bundle_facts facts;                        /* but for kid */
};

static enum tg_status read_members(const cJSON *root, const char *const *names, size_t count, const char *what,
                                   struct tg_err *err)
{
    const cJSON *member;

    if (!cJSON_IsObject(root))
        return tg_fail(err, TG_BAD_INPUT, "%s is no object", what);
    cJSON_ArrayForEach(member, root) {
        size_t i = 0;

        while (i < count && strcmp(member->string, names[i]) != 0)
            i++;
        if (i == count)
            return tg_fail(err, TG_BAD_INPUT, "%s has a member \"%.40s\" that is not known here", what, member->string);
    }
    return TG_OK;
}

static enum tg_status read_times(const cJSON *root, struct tg_bundle_facts *facts, struct tg_err *err)
{
    int64_t seq;

    if (!tg_json_int(tg_json_get(root, "seq"), &seq) || seq < 1)
        return tg_fail(err, TG_BAD_INPUT, "its \"seq\" is no whole number from 1");
    if (!tg_json_int(tg_json_get(root, "iat"), &facts->issued_s) || facts->issued_s < 0 || facts->issued_s > LAST_S)
        return tg_fail(err, TG_BAD_INPUT, "its \"iat\" is no whole number of seconds since 1970");
    if (!tg_json_int(tg_json_get(root, "exp"), &facts->expires_s) || facts->expires_s > LAST_S)
        return tg_fail(err, TG_BAD_INPUT, "its \"exp\" is no whole number of seconds since 1970");
    if (facts->expires_s <= facts->issued_s)
        return tg_fail(err, TG_BAD_INPUT, "its \"exp\" is not after its \"iat\"");
    facts->sequence = (uint64_t)seq;
    return TG_OK;
}

static enum tg_status read_set(const cJSON *root, struct payload *p, struct tg_err *err)
{
    static const char *const members[] = {"policies", "routes"};
    const cJSON *set = tg_json_get(root, "set");
    enum tg_status st = read_members(set, members, ARRAY_LEN(members), "its \"set\"", err);

    if (st != TG_OK)
        return st;
    p->policies = tg_json_get(set, "policies");
    p->routes = tg_json_get(set, "routes");
    if (!cJSON_IsArray(p->policies) || !cJSON_IsArray(p->routes))
        return tg_fail(err, TG_BAD_INPUT, "its \"set\" needs the lists \"policies\" and \"routes\"");
    return TG_OK;
}

static enum tg_status read_payload(struct tg_slice text, struct payload *out, struct tg_err *err)
{
    static const char *const members[] = {"seq", "iat", "exp", "set"};
    struct payload p = {0};
    struct tg_err why;
    enum tg_status st = tg_json_parse(text, &limits, &p.root, &why);

    if (st != TG_OK)
        return tg_fail(err, st == TG_LIMIT ? st : TG_BAD_INPUT, "its payload, %s", why.text);
    if ((st = read_members(p.root, members, ARRAY_LEN(members), "its payload", err)) == TG_OK &&
        (st = read_times(p.root, &p.facts, err)) == TG_OK)
        st = read_set(p.root, &p, err);
    if (st != TG_OK) {
        cJSON_Delete(p.root);
        return st;
    }
    *out = p;
    return TG_OK;
}

enum tg_status tg_bundle_build(const struct tg_set *set, const struct tg_bundle_facts *facts, struct tg_buf *out,
                               struct tg_err *err)
{
    if (facts->sequence < 1 || facts->sequence > SEQUENCE_MAX)
        return tg_fail(err, TG_BAD_INPUT, "a sequence is a whole number from 1 to 2^53");
    if (facts->issued_s < 0 || facts->expires_s <= facts->issued_s || facts->expires_s > LAST_S)
        return tg_fail(err, TG_BAD_INPUT, "a bundle ends after it was made, and before the year 10000");
    tg_buf_addf(out, "{\"seq\":%llu,\"iat\":%lld,\"exp\":%lld,\"set\":", (unsigned long long)facts->sequence,
                (long long)facts->issued_s, (long long)facts->expires_s);
    tg_buf_add_slice(out, tg_set_text(set));
    tg_buf_addc(out, '}');
    return TG_OK;
}

/* ---- signing ---- */

enum tg_status tg_bundle_sign(struct tg_slice payload, struct tg_slice pem, struct tg_buf *out, struct tg_err *err)
{
    struct tg_signer *signer = NULL;
    struct tg_buf header = {0};
    struct payload p = {0};
    enum tg_status st = read_payload(payload, &p, err);

    if (st != TG_OK)
        return st;                                       /* nobody should vouch for what nobody would take */
    cJSON_Delete(p.root);
    if ((st = tg_signer_load(TG_ALG_EdDSA, pem, tg_slice(NULL, 0), &signer, err)) != TG_OK)
        return st;
    tg_buf_addf(&header, "{\"alg\":\"EdDSA\",\"typ\":\"" BUNDLE_TYP "\",\"kid\":\"" TG_S_FMT "\"}",
                TG_S_ARG(tg_signer_kid(signer)));
    st = tg_signer_sign_octets(signer, tg_buf_slice(&header), payload, out, err);
    tg_buf_fini(&header);
    tg_signer_free(signer);
    return st;
}

/* ---- whose signature it is ---- */

/* The key of `keys` with that thumbprint, alone in a set of its own; NULL: none has it. */
static struct tg_jwks *key_of(const struct tg_jwks *keys, struct tg_slice kid)
{
    struct tg_buf text = {0}, one = {0};
    struct tg_jwks *found = NULL;
    cJSON *root = NULL;
    const cJSON *jwk;
    char print[TG_THUMBPRINT];

    tg_jwks_print(keys, &text);
    tg_assert(tg_json_parse(tg_buf_slice(&text), NULL, &root, NULL) == TG_OK);
    cJSON_ArrayForEach(jwk, tg_json_get(root, "keys")) {
        if (found || tg_jwk_thumbprint(jwk, print, NULL) != TG_OK || !tg_slice_eq(tg_slice_str(print), kid))
            continue;
        tg_json_print(&one, jwk);
        tg_assert(tg_jwks_parse(tg_buf_slice(&one), false, &found, NULL) == TG_OK);
    }
    cJSON_Delete(root);
    tg_buf_fini(&text);
    tg_buf_fini(&one);
    return found;
}

static bool is_thumbprint(struct tg_slice s)
{
    if (s.len != TG_THUMBPRINT - 1)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", s.ptr[i]) || !s.ptr[i])
            return false;
    return true;
}

static enum tg_status check_signature(const char *name, const struct tg_jws *jws, const struct tg_jwks *keys,
                                      struct tg_err *err)
{
    struct tg_jwks *key;
    enum tg_status st;

    if (jws->alg != TG_ALG_EdDSA)
        return tg_fail(err, TG_CRYPTO, "%s: a bundle is signed with EdDSA, this says %s", name, tg_alg_name(jws->alg));
    if (!tg_slice_eq(jws->typ, TG_S(BUNDLE_TYP)))
        return tg_fail(err, TG_BAD_INPUT, "%s: no bundle: its \"typ\" is not \"" BUNDLE_TYP "\"", name);
    if (!is_thumbprint(jws->kid))
        return tg_fail(err, TG_BAD_INPUT, "%s: no bundle: its \"kid\" is no thumbprint of a key", name);
    if (!(key = key_of(keys, jws->kid)))
        return tg_fail(err, TG_CRYPTO, "%s: signed with a key that is not trusted here (thumbprint " TG_S_FMT ")", name,
                       TG_S_ARG(jws->kid));
    st = tg_jws_verify(jws, key, TG_ALG_BIT(TG_ALG_EdDSA), NULL);
    tg_jwks_unref(key);
    if (st != TG_OK)
        return tg_fail(err, TG_CRYPTO, "%s: the signature is wrong: the bundle was changed after it was signed", name);
    return TG_OK;
}

/* ---- opening ---- */

static enum tg_status check_times(const char *name, const struct tg_bundle_facts *facts, int64_t now_s,
                                  struct tg_err *err)
{
    char when[TG_TIME_TEXT];

    if (facts->issued_s > now_s + AHEAD_S) {
        tg_clock_format(facts->issued_s * 1000, when);
        return tg_fail(err, TG_BAD_INPUT, "%s: it was made at %s, which is still to come", name, when);
    }
    if (facts->expires_s <= now_s) {
        tg_clock_format(facts->expires_s * 1000, when);
        return tg_fail(err, TG_EXPIRED, "%s: it expired at %s", name, when);
    }
    return TG_OK;
}

static enum tg_status open_payload(const char *name, const struct tg_jws *jws, int64_t now_s, struct tg_set **set,
                                   struct tg_bundle_facts *facts, struct tg_err *err)
{
    struct payload p = {0};
    struct tg_err why = {0};
    enum tg_status st = read_payload(jws->payload, &p, &why);

    if (st != TG_OK)
        return tg_fail(err, st, "%s: no bundle: %s", name, why.text);
    if ((st = check_times(name, &p.facts, now_s, err)) == TG_OK)
        st = tg_set_make(name, p.policies, p.routes, set, err);
    cJSON_Delete(p.root);
    if (st != TG_OK)
        return st;
    *facts = p.facts;
    snprintf(facts->kid, sizeof(facts->kid), TG_S_FMT, TG_S_ARG(jws->kid));
    return TG_OK;
}

enum tg_status tg_bundle_open(const char *name, struct tg_slice bundle, const struct tg_jwks *keys, int64_t now_s,
                              struct tg_set **set, struct tg_bundle_facts *facts, struct tg_err *err)
{
    struct tg_arena arena;
    struct tg_jws jws = {0};
    struct tg_err why = {0};
    enum tg_status st;

    if (bundle.len > TG_BUNDLE_BYTES)
        return tg_fail(err, TG_LIMIT, "%s: larger than %zu bytes", name, TG_BUNDLE_BYTES);
    if (bundle.len > 0 && bundle.ptr[bundle.len - 1] == '\n')
        bundle.len--;                                    /* files of text, and values of a ConfigMap, end so */
    if (bundle.len > 0 && bundle.ptr[0] == '{')
        return tg_fail(err, TG_BAD_INPUT, "%s: no bundle: it is not signed", name);
    tg_arena_init(&arena, NULL, 0);
    st = tg_jws_split(bundle, &arena, &jws, &why);
    if (st != TG_OK) {
        tg_fail(err, st, "%s: no bundle: %s", name, why.text);
    } else {
        st = check_signature(name, &jws, keys, err);
        if (st == TG_OK)
            st = open_payload(name, &jws, now_s, set, facts, err);
        tg_jws_fini(&jws);
    }
    tg_arena_fini(&arena);
    return st;
}
