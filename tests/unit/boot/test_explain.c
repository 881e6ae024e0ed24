/*
 * test_explain - one request told: route, caller, criteria, decision and status, as on a real request.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/json.h"
#include "../../../proxy/boot/explain.h"
#include "bench.h"

static struct bench bench;

static int setup(void **state)
{
    (void)state;
    bench_init(&bench);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bench_fini(&bench);
    return 0;
}

#define STAFF "{\"sub\":\"u1\",\"email\":\"a@example.com\"}"

static const struct {
    const char *why;
    const char *argv[14];                                /* behind explain -c FILE */
    int status;
    const char *out;
} cases[] = {
    {"allowed", {"--path", "/api/1", "--claims", STAFF}, 200, "domain-ok"},
    {"says what it saw", {"--path", "/api/1", "--claims", STAFF}, 200, "saw example.com"},
    {"the tier of a plan", {"--path", "/api", "--claims",
                            "{\"sub\":\"u\",\"email\":\"a@example.com\",\"plan\":\"enterprise\"}"},
     200, "enterprise: 10000"},
    {"denied, with the policy's words", {"--path", "/api", "--claims", "{\"sub\":\"u\",\"email\":\"a@b\"}"}, 403,
     "only staff"},
    {"nobody", {"--path", "/api"}, 401, "unauthenticated"},
    {"claims null are nobody", {"--path", "/api", "--claims", "null"}, 401, "no token"},
    {"public", {"--url", "https://open.test/x"}, 200, "open"},
    {"a bad token on a public route", {"--url", "https://open.test/x", "--token", "x.y.z"}, 401, "refused"},
    {"a malformed field", {"--path", "/api", "--header", "Authorization: Bearer"}, 400, "malformed"},
    {"two tokens", {"--path", "/api?access_token=x", "--header", "Authorization: Bearer abc"}, 400, "malformed"},
    {"another scheme is no token", {"--path", "/api", "--header", "Authorization: Basic abc"}, 401, "no token"},
    {"no route", {"--path", "/nothing"}, 404, "no route matches"},
    {"host and path", {"--host", "OPEN.test:8443", "--path", "/"}, 200, "open"},
    {"a path with two readings", {"--path", "/api/%2e%2e%2fx"}, 400, "%2F"},
    {"the canonical path decides", {"--path", "/x/../api//1", "--claims", STAFF}, 200, "/api/1 is what policies see"},
    {"TRACE", {"--method", "TRACE", "--path", "/api", "--claims", STAFF}, 405, "TRACE"},
    {"the provider's groups claim",
     {"--path", "/teams", "--claims",
      "{\"iss\":\"https://idp.test\",\"sub\":\"u\",\"teams\":[\"red\"]}"}, 200, "groups-ok"},
    {"another issuer's groups claim", {"--path", "/teams", "--claims", "{\"sub\":\"u\",\"teams\":[\"red\"]}"}, 403,
     "groups"},
};

static void run(const char *const *more, bool json)
{
    const char *argv[24] = {"explain", "-c", bench.config};
    size_t n = 3;

    if (json)
        argv[n++] = "--json";
    for (; *more && n < 23; more++)
        argv[n++] = *more;
    capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
}

static void told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char status[32];

        snprintf(status, sizeof status, "status    %d", cases[i].status);
        run(cases[i].argv, false);
        if (bench.c.code != (cases[i].status == 200 ? 0 : 1) || !strstr(bench.c.out, status) ||
            !strstr(bench.c.out, cases[i].out) || strchr(bench.c.out, '\033'))
            fail_msg("%s: %d\n%s\n%s", cases[i].why, bench.c.code, bench.c.out, bench.c.err);
    }
}

static void as_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cJSON *root = NULL;
        int64_t status;

        run(cases[i].argv, true);
        assert_int_equal(tg_json_parse(tg_slice(bench.c.out, strlen(bench.c.out)), NULL, &root, NULL), TG_OK);
        assert_true(tg_json_int(tg_json_get(root, "status"), &status));
        assert_int_equal(status, cases[i].status);
        assert_true(cJSON_IsArray(tg_json_get(root, "policies")));
        cJSON_Delete(root);
    }
}

static void with_a_token(void **state)
{
    static const char *const good[] = {GOOD_CLAIMS, "--email", "a@example.com", NULL};
    static const char *const old[] = {GOOD_CLAIMS, "--email", "a@example.com", "--expires", "-1m", NULL};
    static const char *const foreign[] = {"--issuer", "https://o.test", "--audience", "x", "--subject", "u", NULL};
    const struct {
        const char *why;
        const char *const *mint;
        const char *url;
        int status;
        const char *out;
    } table[] = {
        {"verified", good, "http://any.test/api", 200, "by token, provider corp"},
        {"by which key", good, "http://any.test/api", 200, "verified  ES256 signature by key "},
        {"the answer to it", old, "http://any.test/api", 401,
         "challenge Bearer realm=\"tollgate\", error=\"invalid_token\", error_description=\"The access token exp"
          "ired\""},
        {"expired", old, "http://any.test/api", 401, "expired (RFC 7519"},
        {"of another provider", good, "https://only.test/", 401, "does not take tokens of provider corp"},
        {"of a provider with keys elsewhere", foreign, "http://any.test/api", 503, "cannot be fetched"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char *token = bench_mint(&bench, table[i].mint), status[32];
        const char *const argv[] = {"explain", "-c", bench.config, "--url", table[i].url, "--token", "-", NULL};

        snprintf(status, sizeof status, "status    %d", table[i].status);
        capture(&bench.c, tg_cmd_explain, argv, tg_slice_str(token));
        if (!strstr(bench.c.out, status) || !strstr(bench.c.out, table[i].out))
            fail_msg("%s\n%s\n%s", table[i].why, bench.c.out, bench.c.err);
        assert_null(strstr(bench.c.out, strrchr(token, '.')));
        free(token);
    }
}

/* ---- what needs a configuration of its own ---- */

static const char rich[] =
    "identity_providers: {corp: {issuer: https://idp.test, audiences: [my-api], jwks_file: k.json}}\n"
    "limits: {mcp_body: 1KiB}\n"
    "policies:\n"
    "  - {name: staff, ppl: {allow: {and: [{domain: example.com}]}}, explanation: only staff, remediation: ask}\n"
    "  - {name: strict, mode: shadow, ppl: {deny: {nor: [{claim/plan: pro}]}}}\n"
    "  - {name: tool, mode: shadow, ppl: {deny: {or: [{mcp_tool: drop}]}}}\n"
    "routes:\n"
    "  - {name: hours, prefix: /hours, to: 'http://127.0.0.1:1', policy: {allow: {and: [{date: {after: "
    "2026-01-01T00:00:00Z}}]}}}\n"
    "  - {name: tools, prefix: /tools, to: 'http://127.0.0.1:1', policy: {allow: {and: [{authenticated_user: true},\n"
    "     {mcp_tool: {in: [read, list]}}]}}}\n"
    "  - {name: tried, prefix: /tried, to: 'http://127.0.0.1:1', policies: [staff, strict], show_error_details: true}\n"
    "  - {name: watched, prefix: /watched, to: 'http://127.0.0.1:1', policies: [staff, tool]}\n"
    "  - {name: open, prefix: /open, to: 'http://127.0.0.1:1', policies: [staff], mode: shadow}\n"
    "  - {name: shut, prefix: /shut, to: 'http://127.0.0.1:1'}\n";

#define CALL(tool) "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"" tool "\"}}"
#define WRITTEN "{\"iss\":\"https://idp.test\",\"sub\":\"u1\",\"email\":\"a@example.com\"}"

static const struct {
    const char *why;
    const char *argv[9];
    int status;
    const char *out[3];
} more[] = {
    {"as if it were then", {"--path", "/hours", "--time", "2025-12-31T23:59:59Z"}, 403, {"no*  date", "", ""}},
    {"and then", {"--path", "/hours", "--time", "2026-01-01T01:00:00+00:30"}, 200, {"yes* date", "", ""}},
    {"a tool", {"--path", "/tools", "--claims", STAFF, "--body", CALL("read")}, 200,
     {"content   calls the tool read", "yes* mcp_tool", "goes to the service, allowed by routes[1] (tools).policy: "}},
    {"another tool", {"--path", "/tools", "--claims", STAFF, "--body", CALL("drop")}, 403,
     {"nothing allows it: mcp_tool {\"in\":[\"read\",\"list\"]} does not hold for drop", "", ""}},
    {"no content is no call", {"--path", "/tools", "--claims", STAFF}, 403, {"content   calls no tool", "", ""}},
    {"what cannot be judged", {"--path", "/tools", "--claims", STAFF, "--body", "[]"}, 400,
     {"content   cannot be judged: ", "answer    the request body is not one unambiguous JSON-RPC message", ""}},
    {"encoded", {"--path", "/tools", "--claims", STAFF, "--body", "x", "--header", "Content-Encoding: gzip"}, 415,
     {"answer    the request body must be plain UTF-8 text", "", ""}},
    {"in another charset", {"--path", "/tools", "--claims", STAFF, "--body", "x", "--header",
     "Content-Type: application/json; charset=utf-16"}, 415, {"another charset", "", ""}},
    {"nobody gets in, whatever he sends", {"--path", "/tools", "--body", "[]"}, 401, {"authentication required", "",
     ""}},
    {"what no policy asks is not looked at", {"--path", "/hours", "--body", "[]"}, 200, {"allowed", "", ""}},
    {"in shadow mode", {"--path", "/tried", "--claims", STAFF}, 200,
     {"shadow    policies that are not applied; if they were: deny, because of claim-unauthorized",
      "  no   policy strict\n", "no*  claim/plan \"pro\", saw (none)"}},
    {"what the client is told", {"--path", "/tried", "--claims", "{\"sub\":\"u\",\"email\":\"a@b\"}"}, 403,
     {"says      only staff\ndo        ask\nanswer    only staff ask\n", "", ""}},
    {"content that only shadow policies ask", {"--path", "/watched", "--claims", STAFF, "--body", "[]"}, 200,
     {"content   cannot be judged", "if they were: deny, because of mcp-not-a-tool-call", ""}},
    {"a route in shadow mode", {"--path", "/open"}, 200,
     {"the route is not enforced; if it were: unauthenticated", "policy staff", ""}},
    {"no policy", {"--path", "/shut", "--claims", STAFF}, 403,
     {"policies  none, which denies", "there is no policy, and without one nobody is let in", ""}},
    {"who is counted", {"--path", "/hours", "--claims", WRITTEN}, 200,
     {"counts    subject u1 of https://idp.test", "not verified, provider corp", ""}},
    {"whose address", {"--path", "/hours", "--source-ip", "192.0.2.9"}, 200,
     {"counts    address 192.0.2.9; in memory\n", "", ""}},
    {"addresses of IPv6 count by their network", {"--path", "/hours", "--source-ip", "2001:db8:1:2:3::4"}, 200,
     {"counts    address 2001:db8:1:2::/64; in memory\n", "", ""}},
};

static void more_told(void **state)
{
    char path[BENCH_PATH];

    (void)state;
    snprintf(path, sizeof path, "%s/rich.yaml", bench.dir);
    assert_int_equal(tg_file_replace(path, tg_slice(rich, sizeof rich - 1), 0600, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        const char *argv[14] = {"explain", "-c", path};
        char status[32];

        memcpy(argv + 3, more[i].argv, sizeof more[i].argv);
        snprintf(status, sizeof status, "\nstatus    %d", more[i].status);
        capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
        for (size_t k = 0; k < 3; k++) {
            if (bench.c.code != (more[i].status == 200 ? 0 : 1) || !strstr(bench.c.out, status) ||
                !strstr(bench.c.out, more[i].out[k]))
                fail_msg("%s: %d: %s\n%s%s", more[i].why, bench.c.code, more[i].out[k], bench.c.out, bench.c.err);
        }
    }
    unlink(path);
}

/* A page on a narrow terminal: broken between words, escapes take no room, nothing is lost. */
static void folded(void **state)
{
    static const struct {
        const char *why, *text, *want;
    } table[] = {
        {"short", "status    200\n", "status    200\n"},
        {"long", "identity  user u1, email alice@example.com, by claims that were given\n",
         "identity  user u1, email alice@example.com, by\n          claims that were given\n"},
        {"of the tree", "        no*  domain {\"is\":\"example.com\"}, saw other.com [domain-unauthorized]\n",
         "        no*  domain {\"is\":\"example.com\"}, saw\n               other.com [domain-unauthorized]\n"},
        {"escapes", "\033[1mstatus    \033[0m\033[31m403\033[0m: aaaa bbbb cccc dddd eeee ffff gggg\n",
         "\033[1mstatus    \033[0m\033[31m403\033[0m: aaaa bbbb cccc dddd eeee ffff gggg\n"},
        {"letters, not octets", "says      \xc5\xbe\xc5\xbe\xc5\xbe\xc5\xbe \xc5\xbe\xc5\xbe\xc5\xbe\xc5\xbe "
         "\xc5\xbe\xc5\xbe\xc5\xbe\xc5\xbe aaaa aaaa aaaa aaaa\n",
         "says      \xc5\xbe\xc5\xbe\xc5\xbe\xc5\xbe \xc5\xbe\xc5\xbe\xc5\xbe\xc5\xbe "
         "\xc5\xbe\xc5\xbe\xc5\xbe\xc5\xbe aaaa aaaa aaaa aaaa\n"},
        {"one long word", "says      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b\n",
         "says      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n          b\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tg_buf out = {0};

        explain_fold(tg_slice_str(table[i].text), 50, &out);
        if (strcmp(tg_buf_cstr(&out), table[i].want) != 0)
            fail_msg("%s:\n%swant\n%s", table[i].why, tg_buf_cstr(&out), table[i].want);
        out.len = 0;
        explain_fold(tg_slice_str(table[i].text), 0, &out);
        assert_string_equal(tg_buf_cstr(&out), table[i].text);
        tg_buf_fini(&out);
    }
}

/* A policy alone, bare or as an item; the configuration's file is used for it. */
/* What would not be looked at is not taken. */
static void contradictions(void **state)
{
    static const struct {
        const char *argv[10], *err;
    } table[] = {
        {{"explain", "--batch", "--method", "PUT"}, "--batch: stands alone"},
        {{"explain", "--json", "--batch"}, "--batch: stands alone"},
        {{"explain", "--batch", "--criteria"}, "--batch: stands alone"},
        {{"explain", "--criteria", "--path", "/"}, "--criteria: stands alone"},
        {{"explain", "--url", "http://a/b", "--path", "/c"}, "--url: says host and path"},
        {{"explain", "--host", "c", "--url", "http://a/b"}, "--url: says host and path"},
        {{"explain", "--method", ""}, "--method: a method is one word"},
        {{"explain", "--method", "GET /"}, "--method: a method is one word"},
        {{"explain", "--header", "Host: a.test"}, "--header: the host is said by"},
        {{"explain", "--header", "Authorization: Bearer x", "--claims", "{}"}, "--claims: stands instead of a token"},
        {{"explain", "--token", "x", "--claims", "{}"}, "--claims: stands instead of a token"},
        {{"explain", "--policy", "p", "--header", "Authorization: Bearer x"},
         "--header: a token needs a configuration"},
        {{"explain", "--policy", "p", "--token", "x"}, "--token: a token needs a configuration"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        capture(&bench.c, tg_cmd_explain, table[i].argv, TG_S(""));
        if (bench.c.code != TG_EXIT_USAGE || !strstr(bench.c.err, table[i].err))
            fail_msg("%s: %d %s%s", table[i].err, bench.c.code, bench.c.err, bench.c.out);
    }
}

static void policy_alone(void **state)
{
    const char *const allowed[] = {"explain", "--policy", bench.config, "--method", "GET", NULL};
    static const char document[] = "{\"allow\":{\"and\":[{\"http_method\":{\"is\":\"GET\"}}]}}";
    static const char item[] = "name: x\nppl: {deny: {and: [{accept: true}]}}\n";

    (void)state;
    assert_int_equal(tg_file_replace(bench.config, tg_slice(document, sizeof document - 1), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_explain, allowed, TG_S(""));
    assert_int_equal(bench.c.code, 0);
    assert_int_equal(tg_file_replace(bench.config, tg_slice(item, sizeof item - 1), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_explain, allowed, TG_S(""));
    assert_int_equal(bench.c.code, 1);
    assert_int_equal(tg_file_replace(bench.config, TG_S("allow: 1\n"), 0600, NULL), TG_OK);
    capture(&bench.c, tg_cmd_explain, allowed, TG_S(""));
    assert_int_equal(bench.c.code, 78);
}

/* A policy alone, and the client's certificate. */
static void client_certificates(void **state)
{
    static const char document[] = "{allow: {or: [{client_certificate: {san_email: orders@example.com}}]},\n"
                                   " deny: {or: [{invalid_client_certificate: true}]}}\n";
    static const char pem[] = TG_VECTORS "/certificate.pem";
    static const struct {
        const char *argv[3];
        int code;
        const char *out[2], *err;                        /* parts of them */
    } table[] = {
        {{"--client-cert", pem}, 0, {"client    CN=orders.svc", "its certificate is valid"}, ""},
        {{"--client-cert", pem}, 0,
         {"saw {\"san_email\":[\"orders@example.com\"]}", "because of client-certificate-ok"}, ""},
        {{"--client-cert", pem, "--client-cert-invalid"}, 1,
         {"its certificate is not valid", "deny, because of invalid-client-certificate"}, ""},
        {{"--client-cert", "none"}, 1, {"client    no certificate", "because of client-certificate-required"}, ""},
        {{NULL}, 1, {"saw (none)", "because of client-certificate-unauthorized"}, "while no client CA is configured"},
        {{"--client-cert", "/nowhere"}, 2, {"", ""}, "--client-cert: "},
        {{"--client-cert-invalid"}, 2, {"", ""}, "needs the certificate"},
        {{"--client-cert", "none", "--client-cert-invalid"}, 2, {"", ""}, "needs the certificate"},
    };
    const char *const as_json[] = {"explain", "--json", "--policy", bench.config, "--client-cert", pem, NULL};
    static const char *const with_batch[] = {"explain", "--batch", "--client-cert", pem, NULL};

    (void)state;
    assert_int_equal(tg_file_replace(bench.config, tg_slice(document, sizeof document - 1), 0600, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *const argv[] = {"explain",        "--policy",       bench.config,     table[i].argv[0],
                                    table[i].argv[1], table[i].argv[2], NULL};

        capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
        if (bench.c.code != table[i].code || !strstr(bench.c.out, table[i].out[0]) ||
            !strstr(bench.c.out, table[i].out[1]) || !strstr(bench.c.err, table[i].err))
            fail_msg("%zu: %d\n%s\n%s", i, bench.c.code, bench.c.out, bench.c.err);
        if (table[i].code != 2 && !*table[i].err)
            assert_string_equal(bench.c.err, "");
    }
    capture(&bench.c, tg_cmd_explain, as_json, TG_S(""));
    assert_non_null(strstr(bench.c.out, "\"fingerprint\":\"fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e"
                                        "8a0d\",\"valid\":true}"));
    capture(&bench.c, tg_cmd_explain, with_batch, TG_S(""));
    assert_int_equal(bench.c.code, 2);
}

/* ---- tokens of other kinds, and what a route asks of them ---- */

static const char identity_yaml[] =
    "state_dir: /tmp\npersonal_access_tokens: {enabled: true}\n"
    "identity_providers:\n"
    "  corp: {issuer: https://idp.test, audiences: [my-api], jwks_file: k.json, required_scopes: [base],\n"
    "         groups_claim: 'urn:roles', introspection: {url: 'https://idp.test/i', client_id: c,\n"
    "         client_secret_file: k.json}}\n"
    "  second: {issuer: https://b.test, audiences: [a], jwks_file: k.json, introspection: {url: 'https://b.test/i',\n"
    "           client_id: c, client_secret_file: k.json}}\n"
    "routes:\n"
    "  - {name: scoped, prefix: /scoped, to: 'http://127.0.0.1:1', required_scopes: [write], resource_metadata: true,\n"
    "     allow_any_authenticated_user: true, accept_opaque: false}\n"
    "  - {name: public, prefix: /public, to: 'http://127.0.0.1:1', allow_public_unauthenticated_access: true,\n"
    "     required_scopes: [write], accept_opaque: false}\n"
    "  - {name: dpop, prefix: /dpop, to: 'http://127.0.0.1:1', proof_of_possession: dpop, identity_providers: [corp],\n"
    "     policy: {allow: {and: [{groups: admin}]}}}\n"
    "  - {name: pats, prefix: /pats, to: 'http://127.0.0.1:1', identity_providers: [corp, personal_access_tokens],\n"
    "     allow_any_authenticated_user: true}\n";

#define CORP "{\"iss\":\"https://idp.test\",\"sub\":\"u\","
#define PAT "tgp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void write_identity(void)
{
    struct tg_slice text = tg_slice(identity_yaml, sizeof identity_yaml - 1);

    assert_int_equal(tg_file_replace(bench.config, text, 0600, NULL), TG_OK);
}

static void identity_features(void **state)
{
    static const struct {
        const char *why;
        const char *argv[14];
        const char *out[3];
    } table[] = {
        {"scopes granted", {"--path", "/scoped", "--claims", CORP "\"scope\":\"base write\"}"},
         {"scopes    base write are required and granted\n", "status    200", ""}},
        {"a scope lacking", {"--path", "/scoped", "--claims", CORP "\"scp\":[\"base\"]}"},
         {"the token lacks write\n", "error=\"insufficient_scope\"",
          "status    403 Forbidden: the token was not granted the scope write"}},
        {"the scopes of nobody known", {"--path", "/scoped", "--claims", "{\"sub\":\"u\",\"scope\":\"write\"}"},
         {"scopes    write is required and granted\n", "status    200", ""}},
        {"nobody", {"--host", "a.test", "--path", "/scoped"},
         {"status    401 Unauthorized: the route requires the scope write, and there is no token",
          "resource_metadata=\"http://a.test/.well-known/oauth-protected-resource/scoped\"", ""}},
        {"nobody on a public route", {"--path", "/public"}, {"status    401", "requires the scope write", ""}},
        {"a preflight", {"--path", "/public", "-X", "OPTIONS", "-H", "Origin: https://a.test", "-H",
                         "Access-Control-Request-Method: PUT"}, {"status    200", "", ""}},
        {"the provider's scopes are not asked for by a public route", {"--path", "/public", "--claims", CORP
         "\"scope\":\"write\"}"}, {"scopes    write is required and granted\n", "status    200", ""}},
        {"roles as ZITADEL has them", {"--path", "/dpop", "--claims", CORP "\"scope\":\"base\",\"urn:roles\":"
         "{\"admin\":{\"7\":\"org.test\"}}}"},
         {"status    200", "groups-ok", "the route takes only tokens that are bound to a DPoP key"}},
        {"an opaque token", {"--path", "/dpop", "--token", "opaque"},
         {"can only be judged by provider corp, which the running process asks", "status    unknown",
          "give the claims"}},
        {"an opaque token of several", {"--path", "/scoped", "--token", "opaque"},
         {"takes no opaque tokens (accept_opaque)", "status    401", ""}},
        {"a token of tollgate itself", {"--path", "/pats", "--token", PAT "1Kw3HC"},
         {"a personal access token can only be judged by the running process", "status    unknown",
          "\"iss\": \"urn:tollgate:pat\""}},
        {"one that was cut", {"--path", "/pats", "--token", PAT}, {"status    401", "mistyped or cut", ""}},
        {"one where none are taken", {"--path", "/dpop", "--token", PAT "1Kw3HC"},
         {"status    401", "does not take tokens of its provider", ""}},
        {"the claims of one", {"--path", "/pats", "--claims", "{\"iss\":\"urn:tollgate:pat\",\"sub\":\"u\"}"},
         {"status    200", "provider personal_access_tokens", ""}},
    };

    (void)state;
    write_identity();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *argv[18] = {"explain", "-c", bench.config};

        for (size_t k = 0; table[i].argv[k]; k++)
            argv[3 + k] = table[i].argv[k];
        capture(&bench.c, tg_cmd_explain, argv, TG_S(""));
        for (size_t k = 0; k < 3; k++)
            if (!strstr(bench.c.out, table[i].out[k]))
                fail_msg("%s: %s\n%s%s", table[i].why, table[i].out[k], bench.c.out, bench.c.err);
    }
}

/* A token that says whose key it is bound to. */
static void bound_tokens(void **state)
{
#define JKT "cnf={\"jkt\":\"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I\"}"
    static const struct {
        const char *why, *claim, *path, *scheme;
        const char *out[2];
    } table[] = {
        {"bound, as the route asks", JKT, "/dpop", NULL,
         {"bound     to a DPoP key: a request needs a fresh proof by it, which is not looked at here\n",
          "status    403"}},
        {"not bound, where the route asks", "x=1", "/dpop", NULL,
         {"it is not bound to a key of the kind that the route demands", "challenge DPoP realm="}},
        {"as a bearer token", JKT, "/pats", "Bearer", {"came as a bearer token", "status    401"}},
        {"under its scheme", JKT, "/pats", "DPoP", {"to a DPoP key", "status    200"}},
        {"not bound under the scheme", "x=1", "/pats", "DPoP", {"came under the scheme DPoP", "challenge DPoP"}},
        {"a certificate that is not shown", "cnf={\"x5t#S256\":\"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I\"}",
         "/pats", NULL, {"bound to a client certificate, and none was shown", "status    401"}},
        {"a cnf of another kind", "cnf={\"kid\":\"x\"}", "/pats", NULL,
         {"its cnf is none that is known", "status    401"}},
    };

    (void)state;
    write_identity();
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char *const mint[] = {GOOD_CLAIMS, "--claim", "scope=base", "--claim", table[i].claim, NULL};
        char *token = bench_mint(&bench, mint), field[4096];
        const char *argv[] = {"explain", "-c", bench.config, "--path", table[i].path, "--token", "-", NULL};

        if (table[i].scheme) {
            snprintf(field, sizeof field, "Authorization: %s %s", table[i].scheme, token);
            field[strcspn(field, "\n")] = '\0';
            argv[5] = "--header";
            argv[6] = field;
        }
        capture(&bench.c, tg_cmd_explain, argv, tg_slice_str(token));
        for (size_t k = 0; k < 2; k++)
            if (!strstr(bench.c.out, table[i].out[k]))
                fail_msg("%s: %s\n%s%s", table[i].why, table[i].out[k], bench.c.out, bench.c.err);
        free(token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told),
        cmocka_unit_test(as_json),
        cmocka_unit_test(with_a_token),
        cmocka_unit_test(identity_features),
        cmocka_unit_test(bound_tokens),
        cmocka_unit_test(more_told),
        cmocka_unit_test(folded),
        cmocka_unit_test(contradictions),
        cmocka_unit_test(policy_alone),
        cmocka_unit_test(client_certificates),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
