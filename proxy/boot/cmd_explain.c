/*
 * cmd_explain - one request, one token or its claims, one configuration: how it would be decided, and why.
 *
 * The same functions in the same order as on a request; nothing is forwarded, nothing is counted; keys of a
 * remote provider are fetched, but only once a token of that issuer is to be verified.
 */
#include "boot/commands.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "auth/identity.h"
#include "compose.h"
#include "explain.h"
#include "http/content.h"
#include "http/h1_parse.h"
#include "lone_policy.h"
#include "token_check.h"
#include <stdio.h>

#define FILE_BYTES ((size_t)4 << 20)
#define HTTPS_PORT 443                                   /* of a request over TLS that says none */

enum { OPT_METHOD = TG_OPT_FIRST_OWN, OPT_URL, OPT_HOST, OPT_PATH, OPT_SOURCE_IP, OPT_HEADER, OPT_TOKEN, OPT_CLAIMS,
       OPT_CLIENT_CERT, OPT_CLIENT_CERT_INVALID, OPT_TIME, OPT_BODY, OPT_POLICY, OPT_JSON, OPT_BATCH,
       OPT_CRITERIA };
static const struct tg_option options[] = {
    TG_OPTION_CONFIG,
    {OPT_POLICY, 'p', "policy", "FILE", "judge by this PPL document alone, without a configuration"},
    {OPT_METHOD, 'X', "method", "METHOD", "GET when not said"},
    {OPT_URL, 'u', "url", "URL", "http://host[:port]/path; or --host and --path"},
    {OPT_HOST, 0, "host", "HOST[:PORT]", "host asked for"},
    {OPT_PATH, 0, "path", "PATH", "/ when not said"},
    {OPT_SOURCE_IP, 0, "source-ip", "IP", "address of the client"},
    {OPT_HEADER, 'H', "header", "'NAME: VALUE'", "a header of the request; several times"},
    {OPT_TOKEN, 't', "token", "TOKEN | -", "bearer token; -: from standard input"},
    {OPT_CLAIMS, 0, "claims", "JSON | @FILE", "instead of a token: its claims, as if verified"},
    {OPT_CLIENT_CERT, 0, "client-cert", "FILE | none", "the client's certificate (PEM), taken as valid"},
    {OPT_CLIENT_CERT_INVALID, 0, "client-cert-invalid", NULL, "as if the client CA had not signed --client-cert"},
    {OPT_BODY, 0, "body", "TEXT | @FILE", "the content, for policies that ask which tool it calls (mcp_tool)"},
    {OPT_TIME, 0, "time", "RFC3339", "as if it were then, for tokens too: 2026-11-21T10:00:00Z"},
    {OPT_JSON, 'j', "json", NULL, "answer as JSON"},
    {OPT_BATCH, 0, "batch", NULL,
     "one JSON object a line on standard input: {ppl | ppl_yaml | policies | route, request}"},
    {OPT_CRITERIA, 0, "criteria", NULL, "the criteria of the policy language, their matchers and reasons, as Markdown"},
};
static const struct tg_usage usage = {
    .command = "explain",
    .line = "[-c FILE | --policy FILE] [--url URL] [--token T | --claims JSON] [--client-cert FILE] [--json]  |  "
            "--batch  |  --criteria",
    .about =
        "Shows the route of a request, who is calling, what is counted, every criterion with the value it saw\n"
        "(* marks those that decided), what is in shadow mode, the answer, and in the last line the status and\n"
        "why. Ends with 0 when the request is allowed, else with 1. Nothing is sent but a question for the keys\n"
        "of a token's provider. --batch judges policies: one line out for each line in. A request that was\n"
        "logged is explained by `tollgate why`.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate explain -c tollgate.yaml --url http://orders.example.com/api/1 --claims '{\"sub\":\"u1\",\n"
                "                   \"email\":\"alice@example.com\"}'\n"
                "  tollgate explain --policy only-staff.yaml --method DELETE --path /api/1 --claims @alice.json\n"
                "  tollgate mint ... | tollgate explain -c tollgate.yaml --path /api/1 --token -",
};

struct explaining {
    struct tg_options o;
    const char *config, *policy_file, *url, *host, *path, *token, *claims, *client_cert, *body;
    bool json, batch, criteria, client_cert_invalid, authorization;
    unsigned given;                                      /* options */
    struct tg_buf content;                               /* of --body */
    struct tg_arena arena;
    struct explain_request request;
    struct tg_settings settings;
    struct lone_policy policy;
    struct tg_claims *identity;
    struct tg_facts facts;
    struct explain_result result;
};

/* ---- the command line ---- */

static bool wrong(struct explaining *e, const char *option, const char *why)
{
    e->o.code = tg_usage_error(&usage, "%s: %s", option, why);
    return false;
}

static bool take_header(struct explaining *e, const char *text)
{
    struct tg_slice name, value;
    struct tg_err err;

    if (!tg_slice_cut(tg_slice_str(text), ':', &name, &value))
        return wrong(e, "--header", "write 'Name: value'");
    if (explain_add_field(&e->request, name, value, &err) != TG_OK)
        return wrong(e, "--header", err.text);
    if (tg_field_id(name) == TG_FIELD_HOST)
        return wrong(e, "--header", "the host is said by --host or --url");
    e->authorization |= tg_field_id(name) == TG_FIELD_AUTHORIZATION;
    return true;
}

static bool take_option(struct explaining *e, int id, const char *value)
{
    switch (id) {
    case TG_OPT_CONFIG: e->config = value; break;
    case OPT_POLICY: e->policy_file = value; break;
    case OPT_METHOD:
        e->request.method = tg_slice_str(value);
        if (!tg_is_token(e->request.method))
            return wrong(e, "--method", "a method is one word, as GET");
        break;
    case OPT_URL: e->url = value; break;
    case OPT_HOST: e->host = value; break;
    case OPT_PATH: e->path = value; break;
    case OPT_TOKEN: e->token = value; break;
    case OPT_CLAIMS: e->claims = value; break;
    case OPT_CLIENT_CERT: e->client_cert = value; break;
    case OPT_CLIENT_CERT_INVALID: e->client_cert_invalid = true; break;
    case OPT_BODY: e->body = value; break;
    case OPT_JSON: e->json = true; break;
    case OPT_BATCH: e->batch = true; break;
    case OPT_CRITERIA: e->criteria = true; break;
    case OPT_HEADER: return take_header(e, value);
    case OPT_SOURCE_IP:
        if (!tg_ip_parse(tg_slice_str(value), &e->request.source_ip))
            return wrong(e, "--source-ip", "must be an IP address");
        break;
    case OPT_TIME:
        if (!tg_clock_parse(tg_slice_str(value), &e->request.wall_ms))
            return wrong(e, "--time", "must be RFC 3339, as in 2026-11-21T10:00:00Z");
    }
    return true;
}

static bool take_url(struct explaining *e)
{
    struct explain_request *r = &e->request;
    struct tg_url url;
    struct tg_err err;

    if (e->url && (e->host || e->path))
        return wrong(e, "--url", "says host and path: leave out --host and --path");
    if (e->url) {
        if (tg_url_parse(tg_slice_str(e->url), false, &url, &err) != TG_OK)
            return wrong(e, "--url", err.text);
        r->host = url.host;
        r->port = url.port_given ? url.port : -1;
        r->path = url.path.len > 0 ? url.path : TG_S("/");
        r->query = url.query;
    }
    if (e->host && explain_set_host(r, tg_slice_str(e->host), &err) != TG_OK)
        return wrong(e, "--host", err.text);
    if (e->path)
        explain_set_target(r, tg_slice_str(e->path));
    return true;
}

static bool go_together(struct explaining *e)
{
    if ((e->batch || e->criteria) && e->given > 1)
        return wrong(e, e->batch ? "--batch" : "--criteria",
                     e->batch ? "stands alone: each line says its policy and its request" : "stands alone");
    if (e->client_cert_invalid && !(e->client_cert && strcmp(e->client_cert, "none") != 0))
        return wrong(e, "--client-cert-invalid", "needs the certificate: --client-cert FILE");
    if ((e->token || e->authorization) && e->claims)
        return wrong(e, "--claims", "stands instead of a token");
    if ((e->token || e->authorization) && e->policy_file)
        return wrong(e, e->token ? "--token" : "--header", "a token needs a configuration to verify it by; with "
                     "--policy give --claims");
    if (e->config && e->policy_file)
        return wrong(e, "--policy", "stands instead of a configuration");
    return true;
}

static bool read_options(struct explaining *e, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&e->o, &usage, argc, argv);
    while ((id = tg_options_next(&e->o, &value)) != TG_OPT_END) {
        if (id == TG_OPT_EXIT || !take_option(e, id, value))
            return false;
        e->given++;
    }
    return !tg_options_extra(&e->o, 0) && take_url(e) && go_together(e);
}

/* ---- the policy ---- */

static bool load_policy(struct explaining *e)
{
    unsigned flags = LONE_POLICY_WARNS | (e->client_cert ? 0 : LONE_POLICY_WITHOUT_CA);
    struct tg_problems problems = {0};

    lone_policy_read(e->policy_file, flags, &e->arena, &e->policy, &problems);
    e->result.program = e->policy.program;
    tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    return e->policy.program != NULL;
}

static bool load_config(struct explaining *e)
{
    struct tg_problems problems = {0};
    bool ok = tg_settings_load(tg_settings_path(e->config), &e->settings, &problems) &&
              compose_kept(&e->settings, &problems);

    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
    e->result.config = e->settings.config;
    return ok;
}

/* ---- who is calling ---- */

/* No CA is asked here whether it signed the certificate. A client that shows none has none. */
static bool read_client_cert(struct explaining *e)
{
    bool none = !e->client_cert || strcmp(e->client_cert, "none") == 0;
    bool asked = e->policy_file ? e->client_cert != NULL : e->settings.config->route_defaults.client_ca;
    struct explain_request *r = &e->request;
    struct tg_buf pem = {0};
    struct tg_err err;
    enum tg_status st;

    if (e->client_cert && !asked)
        return wrong(e, "--client-cert", "no client is asked for a certificate: there is no downstream_mtls");
    if (none) {
        r->client_cert = asked ? TG_CLIENT_CERT_MISSING : TG_CLIENT_CERT_VALID;
        return true;
    }
    st = tg_file_read(e->client_cert, FILE_BYTES, &pem, &err);
    if (st == TG_OK)
        st = explain_set_certificate(r, tg_buf_slice(&pem), &err);
    tg_buf_fini(&pem);
    r->client_cert = e->client_cert_invalid ? TG_CLIENT_CERT_INVALID : TG_CLIENT_CERT_VALID;
    return st == TG_OK || wrong(e, "--client-cert", err.text);
}

/* What stands there, or in the @FILE. */
static enum tg_status read_text(const char *given, struct tg_buf *out, struct tg_err *err)
{
    if (given[0] == '@')
        return tg_file_read(given + 1, FILE_BYTES, out, err);
    tg_buf_adds(out, given);
    return TG_OK;
}

static const struct tg_provider *provider_of(const struct explaining *e, const cJSON *claims)
{
    struct tg_slice issuer;

    if (!e->settings.config || !tg_json_str(tg_json_get(claims, "iss"), &issuer))
        return NULL;
    return tg_providers_of_issuer(&e->settings.config->providers, issuer);
}

/* As an identity of that issuer would have them: roles that are an object become a list (groups_claim). */
static cJSON *normalised(const struct explaining *e, cJSON *claims)
{
    const struct tg_provider *p = cJSON_IsObject(claims) ? provider_of(e, claims) : NULL;

    return p ? tg_identity_claims(p, claims) : claims;
}

static bool read_claims(struct explaining *e)
{
    struct tg_buf text = {0};
    cJSON *json = NULL;
    struct tg_err err;
    enum tg_status st = read_text(e->claims, &text, &err);

    if (st == TG_OK)
        st = tg_json_parse(tg_buf_slice(&text), NULL, &json, &err);
    tg_buf_fini(&text);
    if (st != TG_OK)
        return wrong(e, "--claims", err.text);
    if (cJSON_IsNull(json)) {
        cJSON_Delete(json);
        return true;
    }
    e->identity = tg_claims_new(normalised(e, json));    /* takes it over in any case */
    if (!e->identity)
        return wrong(e, "--claims", "must be a JSON object, as in '{\"sub\": \"alice\"}'");
    e->result.identity_from = "claims";
    return true;
}

/* The Authorization fields of --header, with --token as one more. False: --token cannot be read. */
static bool read_credential(struct explaining *e)
{
    struct tg_buf token = {0};
    struct tg_err err;
    bool ok = !e->token || token_read(e->token, &token, &err) == TG_OK;

    if (ok)
        explain_token(&e->result, e->token ? tg_slice(tg_buf_cstr(&token), token.len) : (struct tg_slice){0},
                      &e->arena, &e->identity);
    tg_buf_fini(&token);
    return ok || wrong(e, "--token", err.text);
}

static void take_identity(struct explaining *e)
{
    const struct tg_provider *p;

    explain_facts(&e->request, &e->facts);
    e->result.facts = &e->facts;
    if (!e->identity)
        return;
    explain_identity(e->identity, &e->facts);
    tg_json_str(tg_json_get(tg_claims_json(e->identity), "iss"), &e->result.issuer);
    if (!(p = provider_of(e, tg_claims_json(e->identity))))
        return;
    e->facts.groups_claim = p->groups_claim;
    e->result.provider = p->name;
}

/* What is counted, and what the route asks of a token before the policies are asked. */
static void take_demands(struct explaining *e)
{
    struct explain_result *r = &e->result;
    enum explain_scopes found;

    if (r->unjudged)
        return;
    explain_find_tier(r, &e->arena);
    if (!r->bound.ptr)
        r->bound = explain_possession(r->route);
    if (!r->stopped && explain_admits_nobody(r))
        explain_stop(r, TG_REFUSE_LIMIT, "the limit of this caller is 0, so nobody is admitted");
    found = explain_find_scopes(r, &e->arena);
    if (!r->stopped && (found == EXPLAIN_SCOPES_LACKING || found == EXPLAIN_SCOPES_NO_TOKEN))
        explain_stop(r, found == EXPLAIN_SCOPES_LACKING ? TG_REFUSE_SCOPE : TG_REFUSE_NO_TOKEN,
                     explain_scope_sentence(r, found, &e->arena));
}

/* ---- the content ---- */

/* Nobody is let in, whatever he sends: then the content is not looked at. */
static bool is_refused_anyway(struct explaining *e)
{
    struct tg_fact_set but_content = {.facts = ~TG_FACT_BIT(TG_FACT_MCP_TOOL)};
    struct tg_facts facts = e->facts;
    struct tg_verdict verdict;

    if (facts.identity)
        return false;
    facts.known = &but_content;
    tg_ppl_trace(e->result.program, &facts, &e->arena, &verdict);
    return !verdict.undecided && verdict.decision == TG_UNAUTHENTICATED;
}

static void judge_content(struct explaining *e)
{
    struct explain_result *r = &e->result;
    bool applied = tg_ppl_reads_fact(r->program, TG_FACT_MCP_TOOL);
    struct tg_slice body = tg_buf_slice(&e->content);
    enum tg_refusal refusal = TG_REFUSE_NONE;
    struct tg_err err = {0};

    r->reads_body = applied || (r->route && tg_ppl_reads_fact(r->route->shadow, TG_FACT_MCP_TOOL));
    if (!r->reads_body || body.len == 0 || is_refused_anyway(e))
        return;
    if (!tg_content_is_plain(&e->request.head)) {
        refusal = TG_REFUSE_CONTENT_CODING;
        tg_fail(&err, TG_BAD_INPUT, "it is compressed or in another charset");
    } else if (r->config && body.len > r->config->bounds.mcp_body) {
        refusal = TG_REFUSE_BODY_SIZE;
        tg_fail(&err, TG_LIMIT, "it is larger than limits.mcp_body, %zu bytes", (size_t)r->config->bounds.mcp_body);
    } else if (explain_body(body, &e->arena, &e->facts, &err) != TG_OK) {
        refusal = TG_REFUSE_MALFORMED_CALL;
    }
    if (refusal == TG_REFUSE_NONE)
        return;
    r->body_problem = tg_arena_str(&e->arena, tg_slice_str(err.text));
    if (applied)
        explain_stop(r, refusal, NULL);
}

/* ---- the decision ---- */

/* False: it is over before anybody is asked who is calling. */
static bool find_route(struct explaining *e)
{
    struct explain_request *r = &e->request;
    unsigned method = tg_method_id(r->method);
    const struct tg_config *config = e->settings.config;
    struct tg_err err;

    if (explain_path(r, &e->arena, &err) != TG_OK) {
        explain_stop(&e->result, TG_REFUSE_PATH, tg_arena_printf(&e->arena, "bad request: %s", err.text).ptr);
        return false;
    }
    if (method == TG_METHOD_CONNECT || method == TG_METHOD_TRACE) {
        explain_stop(&e->result, TG_REFUSE_METHOD, NULL);
        return false;
    }
    return e->policy_file ||
           explain_find_route(&e->result, r->port < 0 && config->tls ? HTTPS_PORT : r->port, &e->arena);
}

static int print(struct explaining *e)
{
    int code = explain_put(&e->result, e->json);

    return e->result.status == 200 ? code : TG_EXIT_FAILURE;
}

static int explain(struct explaining *e)
{
    struct tg_err err;

    e->result.request = &e->request;
    if (!(e->policy_file ? load_policy(e) : load_config(e)))
        return TG_EXIT_CONFIG;
    if (e->body && read_text(e->body, &e->content, &err) != TG_OK)
        return tg_usage_error(&usage, "--body: %s", err.text);
    if (!read_client_cert(e) || (e->claims && !read_claims(e)))
        return e->o.code;
    if (find_route(e)) {
        if (!e->claims && !e->policy_file && !read_credential(e))
            return e->o.code;
        take_identity(e);
        if (!e->policy_file)
            take_demands(e);
        if (!e->result.stopped)
            judge_content(e);
        if (!e->result.stopped && e->result.route && e->result.route->unresolved)
            explain_stop(&e->result, TG_REFUSE_NO_POLICY, NULL);
        if (!e->result.stopped)
            explain_judge(&e->result, &e->arena);
    }
    return print(e);
}

static int print_criteria(void)
{
    struct tg_buf text = {0};

    tg_ppl_describe(&text);
    fwrite(text.data, 1, text.len, stdout);
    tg_buf_fini(&text);
    return 0;
}

int tg_cmd_explain(int argc, char **argv)
{
    struct explaining *e = TG_NEW(struct explaining);
    int code;

    explain_request_init(&e->request);
    tg_arena_init(&e->arena, NULL, 0);
    if (!read_options(e, argc, argv))
        code = e->o.code;
    else
        code = e->criteria ? print_criteria() : e->batch ? explain_batch() : explain(e);
    explain_request_fini(&e->request);
    tg_claims_free(e->identity);
    tg_buf_fini(&e->content);
    lone_policy_fini(&e->policy);
    tg_arena_fini(&e->arena);
    tg_settings_fini(&e->settings);
    free(e);
    return code;
}
