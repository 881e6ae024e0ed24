/*
 * criteria - the table of criteria: what each reads, which matcher it takes, its reasons, or why it is refused.
 *
 * A criterion that is known to Pomerium but not honoured here has a row with a refusal: a policy that means something
 * elsewhere is never read as something else.
 */
#include "base/setting.h"
#include "internal.h"

static struct tg_outcome either(bool value, enum tg_reason pass, enum tg_reason fail)
{
    return (struct tg_outcome){value, TG_REASON_BIT(value ? pass : fail)};
}

static struct tg_outcome accept_all(const struct tg_facts *facts)
{
    (void)facts;
    return either(true, TG_REASON_ACCEPT, TG_REASON_REJECT);
}

static struct tg_outcome reject_all(const struct tg_facts *facts)
{
    (void)facts;
    return either(false, TG_REASON_ACCEPT, TG_REASON_REJECT);
}

static struct tg_outcome authenticated(const struct tg_facts *facts)
{
    return either(facts->user.len > 0, TG_REASON_USER_OK, TG_REASON_USER_UNAUTHORIZED);
}

static struct tg_outcome preflight(const struct tg_facts *facts)
{
    return either(facts->cors_preflight, TG_REASON_CORS_REQUEST, TG_REASON_NON_CORS_REQUEST);
}

static struct tg_outcome bad_certificate(const struct tg_facts *facts)
{
    return either(facts->client_cert != TG_CLIENT_CERT_VALID,
                  facts->client_cert == TG_CLIENT_CERT_MISSING ? TG_REASON_CLIENT_CERTIFICATE_REQUIRED
                                                               : TG_REASON_INVALID_CLIENT_CERTIFICATE,
                  TG_REASON_VALID_CLIENT_CERTIFICATE);
}

static struct tg_slice saw_user(const struct tg_facts *facts) { return facts->user; }

static struct tg_slice saw_preflight(const struct tg_facts *facts)
{
    return facts->cors_preflight ? TG_S("a CORS preflight") : TG_S("no CORS preflight");
}

static struct tg_slice saw_certificate(const struct tg_facts *facts)
{
    switch (facts->client_cert) {
    case TG_CLIENT_CERT_MISSING: return TG_S("no client certificate");
    case TG_CLIENT_CERT_INVALID: return TG_S("an invalid client certificate");
    case TG_CLIENT_CERT_VALID: break;
    }
    return TG_S("a valid client certificate, or none asked for");
}

static bool user_of(const struct tg_facts *facts, struct tg_slice *out)
{
    *out = facts->user;
    return true;
}

static bool email_of(const struct tg_facts *facts, struct tg_slice *out)
{
    *out = facts->email;                                 /* absent is "", so that negative operators succeed */
    return true;
}

/* Between the first and the second "@"; without any "@" there is none. */
static bool domain_of(const struct tg_facts *facts, struct tg_slice *out)
{
    struct tg_slice local, rest, after;

    if (!tg_slice_cut(facts->email, '@', &local, &rest))
        return false;
    tg_slice_cut(rest, '@', out, &after);
    return true;
}

static bool method_of(const struct tg_facts *facts, struct tg_slice *out)
{
    *out = facts->method;
    return true;
}

static bool path_of(const struct tg_facts *facts, struct tg_slice *out)
{
    *out = facts->path;
    return true;
}

#define FIXED(n, who, fn, see) {.name = (n), .identity = (who), .shape = TG_SHAPE_NONE, .fixed = (fn), .saw = (see)}
#define TEXT(n, who, only, id, fn, ok, no) \
    {.name = (n), .identity = (who), .text_only = (only), .shape = TG_SHAPE_TEXT, .subject = TG_SUBJECT_##id, \
     .text = (fn), .pass = TG_REASON_##ok, .fail = TG_REASON_##no}
#define LIST(n, sub, ok, no) \
    {.name = (n), .identity = true, .sub_path = (sub), .shape = TG_SHAPE_LIST, .pass = TG_REASON_##ok, \
     .fail = TG_REASON_##no}
#define LATER(n)         {.name = (n), .refusal = "is not supported yet"}
#define REFUSED(n, why)  {.name = (n), .refusal = "is not supported: " why}
#define FAMILY(n, why)   {.name = (n), .prefix = true, .refusal = "is not supported: " why}
#define WHO true
#define ALL false

static const struct tg_criterion criteria[] = {
    FIXED("accept", ALL, accept_all, NULL),
    FIXED("reject", ALL, reject_all, NULL),
    FIXED("authenticated_user", WHO, authenticated, saw_user),
    TEXT("user", WHO, true, USER, user_of, USER_OK, USER_UNAUTHORIZED),
    TEXT("email", WHO, false, EMAIL, email_of, EMAIL_OK, EMAIL_UNAUTHORIZED),
    TEXT("domain", WHO, true, DOMAIN, domain_of, DOMAIN_OK, DOMAIN_UNAUTHORIZED),
    LIST("claim", true, CLAIM_OK, CLAIM_UNAUTHORIZED),
    LIST("groups", false, GROUPS_OK, GROUPS_UNAUTHORIZED),
    TEXT("http_method", ALL, false, METHOD, method_of, HTTP_METHOD_OK, HTTP_METHOD_UNAUTHORIZED),
    TEXT("http_path", ALL, false, PATH, path_of, HTTP_PATH_OK, HTTP_PATH_UNAUTHORIZED),
    {.name = "source_ip", .shape = TG_SHAPE_NETWORKS, .pass = TG_REASON_SOURCE_IP_OK,
     .fail = TG_REASON_SOURCE_IP_UNAUTHORIZED},
    FIXED("cors_preflight", ALL, preflight, saw_preflight),
    FIXED("invalid_client_certificate", ALL, bad_certificate, saw_certificate),
    {.name = "client_certificate", .shape = TG_SHAPE_CERTIFICATE, .pass = TG_REASON_CLIENT_CERTIFICATE_OK,
     .fail = TG_REASON_CLIENT_CERTIFICATE_UNAUTHORIZED},
    LATER("date"),
    LATER("day_of_week"),
    LATER("time_of_day"),
    LATER("mcp_tool"),
    REFUSED("device", "it needs enrolled devices, which tollgate does not keep"),
    REFUSED("record", "it needs directory records, which tollgate does not keep"),
    REFUSED("pomerium_routes", "it names endpoints of Pomerium's own, which tollgate does not have"),
    FAMILY("ssh_", "it is about SSH sessions, and tollgate forwards HTTP only"),
};

const struct tg_criterion *tg_criterion_find(struct tg_slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(criteria); i++) {
        struct tg_slice row = tg_slice_str(criteria[i].name);

        if (tg_slice_eq(row, name) || (criteria[i].prefix && tg_slice_starts_with(name, row)))
            return &criteria[i];
    }
    return NULL;
}

const char *tg_criterion_nearest(const char *name)
{
    const char *names[ARRAY_LEN(criteria)];
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(criteria); i++) {
        if (!criteria[i].refusal)
            names[count++] = criteria[i].name;
    }
    return tg_nearest(name, names, count);
}
