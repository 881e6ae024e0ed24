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

/* Of a request that calls no tool there is no name, so no operator holds: not even `not`. */
static bool tool_of(const struct tg_facts *facts, struct tg_slice *out)
{
    *out = facts->mcp_tool;
    return facts->mcp_tool_call;
}

#define BIT(r) TG_REASON_BIT(TG_REASON_##r)
#define FIXED(n, who, fn, see, ok, no, text_, example_) \
    {.name = (n), .identity = (who), .shape = TG_SHAPE_NONE, .fixed = (fn), .saw = (see), .passes = (ok), \
     .fails = (no), .help = text_, .example = example_}
#define TEXT(n, who, only, id, fn, ok, no, text_, example_) \
    {.name = (n), .identity = (who), .text_only = (only), .shape = TG_SHAPE_TEXT, .subject = TG_SUBJECT_##id, \
     .text = (fn), .pass = TG_REASON_##ok, .fail = TG_REASON_##no, .help = text_, .example = example_}
#define LIST(n, sub, ok, no, text_, example_) \
    {.name = (n), .identity = true, .sub_path = (sub), .shape = TG_SHAPE_LIST, .pass = TG_REASON_##ok, \
     .fail = TG_REASON_##no, .help = text_, .example = example_}
#define PLAIN(n, kind, ok, no, text_, example_) \
    {.name = (n), .shape = TG_SHAPE_##kind, .pass = TG_REASON_##ok, .fail = TG_REASON_##no, .help = text_, \
     .example = example_}
#define WHEN(n, kind, ok, no, text_, example_) \
    {.name = (n), .shape = TG_SHAPE_TIME, .when = TG_WHEN_##kind, .pass = TG_REASON_##ok, .fail = TG_REASON_##no, \
     .help = text_, .example = example_}
#define REFUSED(n, why)  {.name = (n), .refusal = TG_REFUSED why}
#define FAMILY(n, why)   {.name = (n), .prefix = true, .refusal = TG_REFUSED why}
#define WHO true
#define ALL false

static const struct tg_criterion criteria[] = {
    FIXED("accept", ALL, accept_all, NULL, BIT(ACCEPT), 0, "always", "true"),
    FIXED("reject", ALL, reject_all, NULL, 0, BIT(REJECT), "never", "true"),
    FIXED("authenticated_user", WHO, authenticated, saw_user, BIT(USER_OK), BIT(USER_UNAUTHORIZED),
          "there is a token, and it names a user", "true"),
    TEXT("user", WHO, true, USER, user_of, USER_OK, USER_UNAUTHORIZED,
         "the user id matches: the token's `sub`, not the e-mail address", "{in: [u-1001, u-1002]}"),
    TEXT("email", WHO, false, EMAIL, email_of, EMAIL_OK, EMAIL_UNAUTHORIZED,
         "the token's `email` matches; a token without one has the empty text there", "{is: alice@example.com}"),
    TEXT("domain", WHO, true, DOMAIN, domain_of, DOMAIN_OK, DOMAIN_UNAUTHORIZED,
         "the e-mail's part behind `@` matches; an e-mail without `@` has none, and then no operator holds",
         "{is: example.com}"),
    LIST("claim", true, CLAIM_OK, CLAIM_UNAUTHORIZED,
         "the values of the claim match; a member of a claim is named with dots, as in `claim/realm_access.roles`; a "
         "claim that is not in the token has no values", "{has: admin}"),
    LIST("groups", false, GROUPS_OK, GROUPS_UNAUTHORIZED,
         "the values of the claim that the provider's `groups_claim` names match", "{has: operators}"),
    TEXT("http_method", ALL, false, METHOD, method_of, HTTP_METHOD_OK, HTTP_METHOD_UNAUTHORIZED,
         "the method matches, upper-case as it is sent", "{in: [GET, HEAD]}"),
    TEXT("http_path", ALL, false, PATH, path_of, HTTP_PATH_OK, HTTP_PATH_UNAUTHORIZED,
         "the path matches: decoded, without the query", "{starts_with: /api/}"),
    PLAIN("source_ip", NETWORKS, SOURCE_IP_OK, SOURCE_IP_UNAUTHORIZED,
          "the client's address is one of these or in one of these networks", "[10.0.0.0/8, 2001:db8::/32]"),
    FIXED("cors_preflight", ALL, preflight, saw_preflight, BIT(CORS_REQUEST), BIT(NON_CORS_REQUEST),
          "the method is OPTIONS, with `Origin` and `Access-Control-Request-Method`", "true"),
    FIXED("invalid_client_certificate", ALL, bad_certificate, saw_certificate,
          BIT(CLIENT_CERTIFICATE_REQUIRED) | BIT(INVALID_CLIENT_CERTIFICATE), BIT(VALID_CLIENT_CERTIFICATE),
          "the client showed no certificate, or one that is not valid; never while no client CA is configured", "true"),
    PLAIN("client_certificate", CERTIFICATE, CLIENT_CERTIFICATE_OK, CLIENT_CERTIFICATE_UNAUTHORIZED,
          "the client showed a certificate with these properties, whether valid or not",
          "{san_dns: {is: a.example.com}}"),
    WHEN("date", DATE, DATE_OK, DATE_UNAUTHORIZED, "it is later than `after` and earlier than `before`",
         "{after: \"2026-03-01T08:00:00\", before: 2026-04-01}"),
    WHEN("day_of_week", DAY, DAY_OF_WEEK_OK, DAY_OF_WEEK_UNAUTHORIZED, "it is one of these days, in UTC", "mon-fri"),
    WHEN("time_of_day", CLOCK, TIME_OF_DAY_OK, TIME_OF_DAY_UNAUTHORIZED,
         "the clock of that time zone shows later than `after` and earlier than `before`",
         "{timezone: Europe/Prague, after: \"9:00\", before: 5:30 PM}"),
    {.name = "mcp_tool", .shape = TG_SHAPE_TEXT, .subject = TG_SUBJECT_TOOL, .text = tool_of,
     .pass = TG_REASON_MCP_TOOL_MATCH, .fail = TG_REASON_MCP_TOOL_NO_MATCH, .has_undefined = true,
     .undefined = TG_REASON_MCP_NOT_A_TOOL_CALL,
     .help = "the request is a JSON-RPC call of `tools/call` and the tool's name matches; of any other request there "
             "is no name, and then no operator holds", .example = "{in: [search, read_file]}"},
    REFUSED("device", "it needs enrolled devices, which tollgate does not keep"),
    REFUSED("record", "it needs directory records, which tollgate does not keep"),
    REFUSED("pomerium_routes", "it names endpoints of Pomerium's own, which tollgate does not have"),
    FAMILY("ssh_", "it is about SSH sessions, and tollgate forwards HTTP only"),
};

const struct tg_criterion *tg_criterion_at(size_t i) { return i < ARRAY_LEN(criteria) ? &criteria[i] : NULL; }

const struct tg_criterion *tg_criterion_find(struct tg_slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(criteria); i++) {
        struct tg_slice row = tg_slice_str(criteria[i].name);

        if (tg_slice_eq(row, name) || (criteria[i].prefix && tg_slice_starts_with(name, row)))
            return &criteria[i];
    }
    return NULL;
}

static const struct tg_criterion *nearest(const char *name, bool refused)
{
    const char *names[ARRAY_LEN(criteria)], *found;
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(criteria); i++) {
        if (!criteria[i].refusal != refused && !criteria[i].prefix)
            names[count++] = criteria[i].name;
    }
    found = tg_nearest(name, names, count);
    return found ? tg_criterion_find(tg_slice_str(found)) : NULL;
}

const struct tg_criterion *tg_criterion_nearest(const char *name)
{
    const struct tg_criterion *found = nearest(name, false);

    return found ? found : nearest(name, true);
}
