/*
 * identity - one block of memory and the claims it points into.
 */
#include "auth/identity.h"
#include "base/hash.h"
#include "base/json.h"
#include "jose/jwt.h"
#include <stdlib.h>

#define ID_BYTES 4                                       /* of the digest: enough to find a token's lines in a log */
#define ROLE_BYTES ((size_t)1 << 18)                     /* of all names of roles that one claim grows to */

struct whole {
    struct tg_identity id;                               /* first: an identity is its whole */
    char token_id[2 * ID_BYTES + 1];
};

/* ---- roles that are written as objects ---- */

struct roles {
    cJSON *list;
    size_t bytes;
};

/* False: it would grow beyond its bound. */
static bool add_role(struct roles *to, const char *role, const char *organisation)
{
    struct tg_buf name = {0};
    cJSON *node;
    bool fits;

    tg_buf_adds(&name, role);
    if (organisation)
        tg_buf_addf(&name, "@%s", organisation);
    to->bytes += name.len + sizeof(cJSON);
    fits = to->bytes <= ROLE_BYTES && (node = cJSON_CreateString(tg_buf_cstr(&name))) != NULL &&
           cJSON_AddItemToArray(to->list, node);
    tg_buf_fini(&name);
    return fits;
}

/* What could be read as a role of an organisation is none, and neither is a role that no organisation granted. */
static bool is_role(const cJSON *role)
{
    return role->string[0] != '\0' && !strchr(role->string, '@') && cJSON_IsObject(role) && role->child;
}

static bool add_roles(struct roles *to, const cJSON *object)
{
    const cJSON *role, *organisation;

    cJSON_ArrayForEach(role, object) {
        if (!is_role(role))
            continue;
        if (!add_role(to, role->string, NULL))
            return false;
        cJSON_ArrayForEach(organisation, role)
            if (!add_role(to, role->string, organisation->string))
                return false;
    }
    return true;
}

static bool add_element(struct roles *to, const cJSON *element)
{
    struct tg_slice text;

    if (cJSON_IsObject(element))
        return add_roles(to, element);
    return !tg_json_str(element, &text) || memchr(text.ptr, '@', text.len) || add_role(to, text.ptr, NULL);
}

static bool has_objects(const cJSON *claim)
{
    const cJSON *element;

    if (cJSON_IsObject(claim))
        return true;
    if (!cJSON_IsArray(claim))
        return false;
    cJSON_ArrayForEach(element, claim)
        if (cJSON_IsObject(element))
            return true;
    return false;
}

static cJSON *member_of(cJSON *claims, struct tg_slice name)
{
    cJSON *member = claims->child;

    while (member && !tg_slice_eq(tg_slice_str(member->string), name))
        member = member->next;
    return member;
}

cJSON *tg_identity_claims(const struct tg_provider *provider, cJSON *claims)
{
    bool named = cJSON_IsObject(claims) && provider->groups_claim.len > 0;
    cJSON *claim = named ? member_of(claims, provider->groups_claim) : NULL;
    struct roles to = {0};
    const cJSON *element;
    bool fits = true;

    if (!has_objects(claim))
        return claims;
    to.list = cJSON_CreateArray();
    if (cJSON_IsObject(claim))
        fits = to.list && add_roles(&to, claim);
    else
        for (element = claim->child; element && fits; element = element->next)
            fits = to.list && add_element(&to, element);
    if (!fits) {
        cJSON_Delete(to.list);
        cJSON_Delete(claims);
        return NULL;
    }
    /* The member keeps its place and its name and takes over what is in the list. */
    cJSON_Delete(claim->child);
    claim->child = to.list->child;
    claim->type = (claim->type & (cJSON_StringIsConst | cJSON_IsReference)) | cJSON_Array;
    to.list->child = NULL;
    cJSON_Delete(to.list);
    return claims;
}

/* ---- what it holds ---- */

/* SHA-256 in base64url; canonical, for it is compared as text. */
static bool read_thumbprint(const cJSON *cnf, const char *name, struct tg_slice *out)
{
    const cJSON *node = tg_json_get(cnf, name);
    uint8_t octets[TG_SHA256_LEN + 1];
    size_t len;

    if (!node)
        return true;
    return tg_json_str(node, out) && out->len == 43 && tg_base64url_decode(*out, octets, &len) &&
           len == TG_SHA256_LEN;
}

/* RFC 7800 §3.1: ways that are not understood are passed over, so long as one is: that one is asked for. */
static bool read_confirmation(struct tg_identity *id, const cJSON *claims)
{
    const cJSON *cnf = tg_json_get(claims, "cnf");

    if (!cnf)
        return true;
    return cJSON_IsObject(cnf) && read_thumbprint(cnf, "jkt", &id->jkt) &&
           read_thumbprint(cnf, "x5t#S256", &id->x5t) && (id->jkt.len > 0 || id->x5t.len > 0);
}

static bool read_claims(struct tg_identity *id, const cJSON *claims)
{
    if (!tg_json_str(tg_json_get(claims, "iss"), &id->issuer) ||
        !tg_json_str(tg_json_get(claims, "sub"), &id->subject) || id->subject.len == 0)
        return false;
    tg_json_str(tg_json_get(claims, "email"), &id->email);
    tg_json_str(tg_json_get(claims, "jti"), &id->jti);
    return tg_jwt_time(claims, "iat", &id->iat_s) && read_confirmation(id, claims);
}

const struct tg_identity *tg_identity_new(enum tg_identity_kind kind, const struct tg_provider *provider,
                                          cJSON *claims, int64_t exp_s, const uint8_t digest[TG_SHA256_LEN])
{
    struct tg_claims *flat = tg_claims_new(tg_identity_claims(provider, claims));
    struct whole *w;
    struct tg_identity *id;

    if (!flat)
        return NULL;
    w = TG_NEW(struct whole);
    id = &w->id;
    id->refs = 1;
    id->kind = kind;
    id->provider = provider;
    id->claims = flat;
    id->exp_s = exp_s;
    if (!read_claims(id, tg_claims_json(flat))) {
        tg_identity_unref(id);
        return NULL;
    }
    id->key = tg_hash2(tg_hash_slice(id->issuer), tg_hash_slice(id->subject));
    memcpy(id->digest, digest, TG_SHA256_LEN);
    tg_hex(digest, ID_BYTES, w->token_id);
    id->token_id = tg_slice(w->token_id, 2 * (size_t)ID_BYTES);
    return id;
}

const struct tg_identity *tg_identity_ref(const struct tg_identity *id)
{
    ((struct tg_identity *)(uintptr_t)id)->refs++;       /* const for all but the count */
    return id;
}

void tg_identity_unref(const struct tg_identity *id)
{
    struct whole *w = (struct whole *)(uintptr_t)id;

    if (!w || --w->id.refs)
        return;
    tg_claims_free((struct tg_claims *)(uintptr_t)w->id.claims);
    free(w);
}

size_t tg_identity_bytes(const struct tg_identity *id)
{
    return sizeof(struct whole) + tg_claims_bytes(id->claims);
}

/* ---- scopes ---- */

static bool has_word(struct tg_slice words, struct tg_slice word)
{
    struct tg_slice next;
    bool more;

    do {
        more = tg_slice_cut(words, ' ', &next, &words);
        if (tg_slice_eq(next, word))
            return true;
    } while (more);
    return false;
}

bool tg_scope_is_granted(const struct tg_claims *claims, struct tg_slice scope)
{
    static const struct tg_slice names[] = {TG_S_INIT("scope"), TG_S_INIT("scp")};

    if (scope.len == 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct tg_claim *claim = tg_claims_get(claims, names[i], tg_hash_slice(names[i]));

        for (size_t k = 0; claim && k < claim->count; k++)
            if (claim->values[k].str.ptr && has_word(claim->values[k].str, scope))
                return true;
    }
    return false;
}
