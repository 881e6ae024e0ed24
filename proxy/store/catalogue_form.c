/*
 * catalogue_form - a body, in the API's names, becomes the document that is kept.
 *
 * A member is taken, or given by the API and passed over, or refused by its name. What Pomerium has and tollgate does
 * not is passed over while it says nothing (null, false, empty, 0): clients send every member they know.
 */
#include "base/setting.h"
#include "catalogue_internal.h"
#include "set_internal.h"
#include "store/route.h"
#include <stdio.h>

#define NAME_MAX_CHARACTERS 128
#define NAMES_MAX 128

enum form { TEXT, BOOL, TEXTS, TEXT_MAP, AMOUNT, ANY };
struct member {
    const char *name;
    enum form form;
    const char *dflt;                                    /* JSON; NULL: left out when the body leaves it out */
};

static const struct member policy_members[] = {
    {"active", BOOL, "true"}, {"description", TEXT, "\"\""}, {"enforced", BOOL, "false"},
    {"explanation", TEXT, "\"\""}, {"name", TEXT, NULL}, {"originatorId", TEXT, NULL}, {"ppl", ANY, NULL},
    {"remediation", TEXT, "\"\""},
};
static const struct member route_members[] = {
    {"allowAnyAuthenticatedUser", BOOL, NULL}, {"allowPublicUnauthenticatedAccess", BOOL, NULL},
    {"allowSpdy", BOOL, "false"}, {"allowWebsockets", BOOL, "false"}, {"allowedDomains", TEXTS, NULL},
    {"allowedIdpClaims", ANY, NULL}, {"allowedUsers", TEXTS, NULL}, {"bearerTokenFormat", TEXT, NULL},
    {"corsAllowPreflight", BOOL, NULL}, {"description", TEXT, NULL},
    {"enableGoogleCloudServerlessAuthentication", BOOL, "false"}, {"errorFormat", TEXT, NULL}, {"from", TEXT, NULL},
    {"hostRewrite", TEXT, NULL}, {"identityProviders", TEXTS, NULL}, {"idleTimeout", TEXT, NULL},
    {"jwtGroupsFilter", TEXTS, NULL}, {"jwtIssuerFormat", TEXT, NULL}, {"loadBalancingPolicy", TEXT, NULL},
    {"logoUrl", TEXT, NULL}, {"maxRequestBytes", AMOUNT, NULL}, {"mode", TEXT, NULL}, {"name", TEXT, NULL},
    {"originatorId", TEXT, NULL}, {"passIdentityHeaders", BOOL, NULL}, {"path", TEXT, NULL}, {"policy", ANY, NULL},
    {"policyIds", TEXTS, "[]"}, {"prefix", TEXT, NULL}, {"prefixRewrite", TEXT, NULL},
    {"preserveHostHeader", BOOL, "false"}, {"removeRequestHeaders", TEXTS, NULL}, {"requiredScopes", TEXTS, NULL},
    {"setRequestHeaders", TEXT_MAP, NULL}, {"setResponseHeaders", TEXT_MAP, NULL},
    {"showErrorDetails", BOOL, "false"}, {"timeout", TEXT, NULL}, {"tlsSkipVerify", BOOL, "false"},
    {"tlsUpstreamAllowRenegotiation", BOOL, "false"}, {"tlsUpstreamServerName", TEXT, NULL}, {"to", TEXTS, NULL},
};
/* Pomerium's, beside those that the settings of a route have as not honoured. */
static const char *const foreign_members[] = {
    "identityProviderClientId", "identityProviderClientSecret", "tlsClientKeyPairId", "tlsCustomCaKeyPairId",
    "tlsDownstreamClientCaKeyPairId",
};
static const char *const given_members[] = {
    "createdAt", "enforcedPolicies", "enforcedPolicyIds", "enforcedRoutes", "id", "namespaceId", "policies", "routes",
    "updatedAt", "version",
};

static const struct member *members_of(enum tg_kind kind, size_t *count)
{
    *count = kind == TG_KIND_POLICY ? ARRAY_LEN(policy_members) : ARRAY_LEN(route_members);
    return kind == TG_KIND_POLICY ? policy_members : route_members;
}

static const struct member *find_member(enum tg_kind kind, const char *name)
{
    size_t count;
    const struct member *members = members_of(kind, &count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static bool is_in(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* ---- members that are not taken ---- */

/* The row of a setting of Pomerium's that tollgate does not have. */
static const struct tg_setting *find_later(const char *name)
{
    char camel[TG_CAMEL_MAX];

    for (size_t i = 0; i < tg_route_setting_count; i++) {
        if (tg_route_settings[i].kind != TG_SET_LATER)
            continue;
        tg_camel_case(tg_route_settings[i].name, camel);
        if (strcmp(camel, name) == 0)
            return &tg_route_settings[i];
    }
    return NULL;
}

static enum tg_status fail_unknown(enum tg_kind kind, const char *name, struct tg_err *err)
{
    const char *names[NAMES_MAX];
    size_t count, n = 0;
    const struct member *members = members_of(kind, &count);
    const char *near;

    for (; n < count; n++)
        names[n] = members[n].name;
    names[n++] = "namespaceId";
    near = tg_nearest(name, names, n);
    return tg_fail(err, TG_BAD_INPUT, "%.64s: is no member of a %s%s%s%s", name,
                   kind == TG_KIND_POLICY ? "policy" : "route", near ? "; did you mean " : "", near ? near : "",
                   near ? "?" : "");
}

static enum tg_status check_foreign(enum tg_kind kind, const cJSON *node, struct tg_err *err)
{
    const struct tg_setting *later = kind == TG_KIND_ROUTE ? find_later(node->string) : NULL;
    bool foreign = kind == TG_KIND_ROUTE && is_in(foreign_members, ARRAY_LEN(foreign_members), node->string);

    if (!later && !foreign)
        return fail_unknown(kind, node->string, err);
    if (set_says_nothing(node))
        return TG_OK;
    return tg_fail(err, TG_BAD_INPUT, "%s: is not supported%s%s", node->string, later ? ": " : "",
                   later ? later->help : "");
}

/* What the API gives is passed over; names of policies are not what it gives. */
static enum tg_status check_given(const cJSON *node, const struct tg_document *before, struct tg_err *err)
{
    bool is_list = strcmp(node->string, "policies") == 0 || strcmp(node->string, "enforcedPolicies") == 0;
    const cJSON *item;
    struct tg_slice id;

    if (strcmp(node->string, "id") == 0 && !cJSON_IsNull(node)) {
        if (!before)
            return tg_fail(err, TG_BAD_INPUT, "id: is given by the API; leave it out");
        if (!tg_json_str(node, &id) || !tg_slice_eq(id, tg_slice_str(before->id)))
            return tg_fail(err, TG_BAD_INPUT, "id: is another one than the path's");
    }
    if (is_list && cJSON_IsArray(node))
        cJSON_ArrayForEach(item, node)
            if (!cJSON_IsObject(item))
                return tg_fail(err, TG_BAD_INPUT, "%s: is given by the API; policies are chosen by policyIds",
                               node->string);
    return TG_OK;
}

/* ---- members that are taken ---- */

static bool is_texts(const cJSON *node)
{
    const cJSON *item;

    if (!cJSON_IsArray(node))
        return false;
    cJSON_ArrayForEach(item, node)
        if (!cJSON_IsString(item))
            return false;
    return true;
}

static bool is_text_map(const cJSON *node)
{
    const cJSON *item;

    if (!cJSON_IsObject(node))
        return false;
    cJSON_ArrayForEach(item, node)
        if (!cJSON_IsString(item))
            return false;
    return true;
}

static enum tg_status check_form(const struct member *m, const cJSON *node, struct tg_err *err)
{
    static const char *const words[] = {
        [TEXT] = "a string", [BOOL] = "true or false", [TEXTS] = "a list of strings",
        [TEXT_MAP] = "an object of strings", [AMOUNT] = "a number of bytes or a string such as \"10MiB\"", [ANY] = "",
    };
    bool ok = true;

    switch (m->form) {
    case TEXT: ok = cJSON_IsString(node); break;
    case BOOL: ok = cJSON_IsBool(node); break;
    case TEXTS: ok = is_texts(node) || (strcmp(m->name, "to") == 0 && cJSON_IsString(node)); break;
    case TEXT_MAP: ok = is_text_map(node); break;
    case AMOUNT: ok = cJSON_IsString(node) || cJSON_IsNumber(node); break;
    case ANY: break;
    }
    return ok ? TG_OK : tg_fail(err, TG_BAD_INPUT, "%s: must be %s", m->name, words[m->form]);
}

static enum tg_status take_member(enum tg_kind kind, const cJSON *node, const struct tg_document *before,
                                  struct tg_err *err)
{
    const struct member *m = find_member(kind, node->string);
    enum tg_status st;

    if (is_in(given_members, ARRAY_LEN(given_members), node->string))
        return check_given(node, before, err);
    if (!m)
        return check_foreign(kind, node, err);
    if (cJSON_IsNull(node))
        return TG_OK;
    st = check_form(m, node, err);
    if (st == TG_OK && kind == TG_KIND_ROUTE && find_later(m->name) && strcmp(m->name, "logoUrl") != 0)
        st = check_foreign(kind, node, err);             /* always shown, never true */
    return st;
}

static enum tg_status check_name(const cJSON *body, struct tg_err *err)
{
    struct tg_slice name = catalogue_text(body, "name");
    size_t characters = 0;

    if (name.len == 0)
        return tg_fail(err, TG_BAD_INPUT, "name: must be given");
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f)
            return tg_fail(err, TG_BAD_INPUT, "name: must not have control characters");
        characters += ((unsigned char)name.ptr[i] & 0xc0) != 0x80;
    }
    if (characters > NAME_MAX_CHARACTERS)
        return tg_fail(err, TG_BAD_INPUT, "name: at most %d characters", NAME_MAX_CHARACTERS);
    if (tg_slice_trim(name).len != name.len)
        return tg_fail(err, TG_BAD_INPUT, "name: must not begin or end with a space");
    return TG_OK;
}

static enum tg_status check_needed(enum tg_kind kind, const cJSON *body, struct tg_err *err)
{
    static const char *const of_policy[] = {"ppl"}, *const of_route[] = {"from", "to"};
    const char *const *names = kind == TG_KIND_POLICY ? of_policy : of_route;
    size_t count = kind == TG_KIND_POLICY ? ARRAY_LEN(of_policy) : ARRAY_LEN(of_route);

    for (size_t i = 0; i < count; i++) {
        const cJSON *node = tg_json_get(body, names[i]);

        if (!node || cJSON_IsNull(node))
            return tg_fail(err, TG_BAD_INPUT, "%s: must be given", names[i]);
        if (kind == TG_KIND_ROUTE && set_says_nothing(node))
            return tg_fail(err, TG_BAD_INPUT, "%s: must not be empty", names[i]);
    }
    return TG_OK;
}

static enum tg_status take_namespace(const struct tg_catalogue *c, const cJSON *body, struct catalogue_form *out,
                                     struct tg_err *err)
{
    const cJSON *node = tg_json_get(body, "namespaceId");
    const struct tg_namespace *found = &c->namespaces[0];
    struct tg_slice id;

    if (node && !cJSON_IsNull(node)) {
        if (!tg_json_str(node, &id))
            return tg_fail(err, TG_BAD_INPUT, "namespaceId: must be a string");
        found = catalogue_namespace(c, id);
    }
    if (!found)
        return tg_fail(err, TG_BAD_INPUT, "namespaceId: there is no such namespace");
    snprintf(out->namespace_id, sizeof out->namespace_id, "%s", found->id);
    return TG_OK;
}

/* ---- the document ---- */

static cJSON *copy_of(const struct member *m, const cJSON *node)
{
    cJSON *copy, *list;

    if (!node || cJSON_IsNull(node))
        return m->dflt ? cJSON_Parse(m->dflt) : NULL;
    copy = cJSON_Duplicate(node, true);
    if (m->form != TEXTS || cJSON_IsArray(node))
        return copy;
    list = cJSON_CreateArray();
    cJSON_AddItemToArray(list, copy);
    return list;
}

static cJSON *canonical(enum tg_kind kind, const cJSON *body)
{
    size_t count;
    const struct member *members = members_of(kind, &count);
    cJSON *doc = cJSON_CreateObject();

    for (size_t i = 0; i < count; i++) {
        cJSON *copy = copy_of(&members[i], tg_json_get(body, members[i].name));

        if (copy)
            cJSON_AddItemToObject(doc, members[i].name, copy);
    }
    return doc;
}

enum tg_status catalogue_form(const struct tg_catalogue *c, enum tg_kind kind, const cJSON *body,
                              const struct tg_document *before, struct catalogue_form *out, struct tg_err *err)
{
    struct catalogue_form form = {0};
    enum tg_status st = TG_OK;
    const cJSON *node;

    if (!cJSON_IsObject(body))
        return tg_fail(err, TG_BAD_INPUT, "the body must be an object");
    cJSON_ArrayForEach(node, body)
        if ((st = take_member(kind, node, before, err)) != TG_OK)
            return st;
    st = check_name(body, err);
    if (st == TG_OK)
        st = check_needed(kind, body, err);
    if (st == TG_OK)
        st = take_namespace(c, body, &form, err);
    if (st != TG_OK)
        return st;
    form.doc = canonical(kind, body);
    *out = form;
    return TG_OK;
}
