/*
 * cmd_explain - one request, one token or its claims, one configuration: how it would be decided, and why.
 *
 * The same functions in the same order as on a request; nothing is forwarded, nothing is counted; keys of a
 * remote provider are fetched, but only once a token of that issuer is to be verified.
 */
#include "boot/commands.h"
#include "base/file.h"
#include "base/json.h"
#include "boot/options.h"
#include "boot/settings.h"
#include "auth/authn.h"
#include "explain.h"
#include "fetched_keys.h"
#include "token_check.h"
#include <stdio.h>
#include <unistd.h>

#define FILE_BYTES ((size_t)4 << 20)
#define CREDENTIALS 4

enum { OPT_METHOD = TG_OPT_FIRST_OWN, OPT_URL, OPT_HOST, OPT_PATH, OPT_SOURCE_IP, OPT_HEADER, OPT_TOKEN, OPT_CLAIMS,
       OPT_CLIENT_CERT, OPT_CLIENT_CERT_INVALID, OPT_POLICY, OPT_JSON, OPT_BATCH };
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
    {OPT_JSON, 'j', "json", NULL, "answer as JSON"},
    {OPT_BATCH, 0, "batch", NULL,
     "one JSON object a line on standard input: {ppl | ppl_yaml | policies | route, request}"},
};
static const struct tg_usage usage = {
    .command = "explain",
    .line = "[-c FILE | --policy FILE] [--url URL] [--token T | --claims JSON] [--client-cert FILE] [--json]  |  "
            "--batch",
    .about =
        "Shows the route of a request, who is calling, the tier, every criterion with the value it saw, the reasons\n"
        "and the status. Ends with 0 when the request is allowed, else with 1. Nothing is sent; only keys at hand\n"
        "are used. --batch judges policies: one line out for each line in.",
    .options = options,
    .option_count = ARRAY_LEN(options),
    .examples = "  tollgate explain -c tollgate.yaml --url http://orders.example.com/api/1 --claims '{\"sub\":\"u1\",\n"
                "                   \"email\":\"alice@example.com\"}'\n"
                "  tollgate explain --policy only-staff.yaml --method DELETE --path /api/1 --claims @alice.json\n"
                "  tollgate mint ... | tollgate explain -c tollgate.yaml --path /api/1 --token -",
};

struct explaining {
    struct tg_options o;
    const char *config, *policy_file, *url, *host, *path, *token, *claims, *client_cert;
    bool json, batch, client_cert_invalid;
    struct tg_arena arena;
    struct explain_request request;
    struct tg_settings settings;
    struct tg_tree *policy_tree;
    struct tg_claims *identity;
    struct tg_facts facts;
    const struct tg_route *route;
    const struct tg_program *program;
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
    return true;
}

static bool take_option(struct explaining *e, int id, const char *value)
{
    switch (id) {
    case TG_OPT_CONFIG: e->config = value; break;
    case OPT_POLICY: e->policy_file = value; break;
    case OPT_METHOD: e->request.method = tg_slice_str(value); break;
    case OPT_URL: e->url = value; break;
    case OPT_HOST: e->host = value; break;
    case OPT_PATH: e->path = value; break;
    case OPT_TOKEN: e->token = value; break;
    case OPT_CLAIMS: e->claims = value; break;
    case OPT_CLIENT_CERT: e->client_cert = value; break;
    case OPT_CLIENT_CERT_INVALID: e->client_cert_invalid = true; break;
    case OPT_JSON: e->json = true; break;
    case OPT_BATCH: e->batch = true; break;
    case OPT_HEADER: return take_header(e, value);
    case OPT_SOURCE_IP:
        if (!tg_ip_parse(tg_slice_str(value), &e->request.source_ip))
            return wrong(e, "--source-ip", "must be an IP address");
    }
    return true;
}

static bool take_url(struct explaining *e)
{
    struct explain_request *r = &e->request;
    struct tg_url url;
    struct tg_err err;

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

static bool read_options(struct explaining *e, int argc, char **argv)
{
    const char *value;
    int id;

    tg_options_start(&e->o, &usage, argc, argv);
    while ((id = tg_options_next(&e->o, &value)) != TG_OPT_END)
        if (id == TG_OPT_EXIT || !take_option(e, id, value))
            return false;
    if (tg_options_extra(&e->o, 0) || !take_url(e))
        return false;
    if (e->batch && (e->config || e->policy_file || e->url || e->host || e->path || e->token || e->claims ||
                     e->client_cert))
        return wrong(e, "--batch", "stands alone: each line says its policy and its request");
    if (e->client_cert_invalid && !(e->client_cert && strcmp(e->client_cert, "none") != 0))
        return wrong(e, "--client-cert-invalid", "needs the certificate: --client-cert FILE");
    if (e->token && e->claims)
        return wrong(e, "--claims", "stands instead of --token");
    if (e->token && e->policy_file)
        return wrong(e, "--token", "needs a configuration to verify it by; with --policy give --claims");
    if (e->config && e->policy_file)
        return wrong(e, "--policy", "stands instead of a configuration");
    return true;
}

/* ---- the policy ---- */

/* A PPL document, bare or as the `ppl` of a named policy. */
static bool load_policy(struct explaining *e)
{
    struct tg_ppl_builder *builder = tg_ppl_builder_new(&e->arena);
    struct tg_problems problems = {0};
    struct tg_buf text = {0};
    const cJSON *doc;
    struct tg_err err;
    bool ok = false;

    if (tg_file_read(e->policy_file, FILE_BYTES, &text, &err) != TG_OK ||
        tg_tree_parse(e->policy_file, tg_buf_slice(&text), &e->policy_tree, &err) != TG_OK) {
        tg_problem_add(&problems, false, "%s", err.text);
    } else {
        tg_ppl_set_client_ca(builder, e->client_cert != NULL);
        doc = tg_json_get(e->policy_tree->root, "ppl");
        ok = tg_ppl_add(builder, e->policy_tree, doc ? doc : e->policy_tree->root, "policy", &problems);
    }
    e->program = tg_ppl_finish(builder);
    tg_problems_print(&problems, false);
    tg_problems_fini(&problems);
    tg_buf_fini(&text);
    return ok;
}

static bool load_config(struct explaining *e)
{
    struct tg_problems problems = {0};
    bool ok = tg_settings_load(tg_settings_path(e->config), &e->settings, &problems);

    tg_problems_print(&problems, true);
    tg_problems_fini(&problems);
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

static bool read_claims(struct explaining *e)
{
    struct tg_buf text = {0};
    cJSON *json = NULL;
    struct tg_err err;
    enum tg_status st = TG_OK;

    if (e->claims[0] == '@')
        st = tg_file_read(e->claims + 1, FILE_BYTES, &text, &err);
    else
        tg_buf_adds(&text, e->claims);
    if (st == TG_OK)
        st = tg_json_parse(tg_buf_slice(&text), NULL, &json, &err);
    tg_buf_fini(&text);
    if (st != TG_OK)
        return wrong(e, "--claims", err.text);
    if (cJSON_IsNull(json)) {
        cJSON_Delete(json);
        return true;
    }
    e->identity = tg_claims_new(json);                   /* takes it over in any case */
    if (!e->identity)
        return wrong(e, "--claims", "must be a JSON object, as in '{\"sub\": \"alice\"}'");
    e->result.identity_from = "claims";
    return true;
}

static const struct tg_provider *provider_of(const struct explaining *e, const cJSON *claims)
{
    const struct tg_providers *providers = &e->settings.config->providers;
    struct tg_slice issuer;

    if (tg_json_str(tg_json_get(claims, "iss"), &issuer))
        for (size_t i = 0; i < providers->count; i++)
            if (tg_slice_eq(providers->items[i].issuer, issuer))
                return &providers->items[i];
    return NULL;
}

static bool is_allowed(const struct explaining *e, const struct tg_provider *p)
{
    return e->route->providers >> (p - e->settings.config->providers.items) & 1;
}

static void refuse_token(struct explaining *e, unsigned status, struct tg_slice why)
{
    e->result.token_problem = tg_arena_dup(&e->arena, why);
    e->result.status = status;
    e->result.stopped = status == 401 ? "unauthenticated: the token is refused" : "the token cannot be verified";
}

/* As on a request: form, issuer, signature, claims. */
static void verify_token(struct explaining *e, struct tg_slice token)
{
    struct token_check c;
    const struct tg_provider *p = NULL;
    struct tg_jwks *keys = NULL;
    struct tg_err err = {0};

    if (!token_check_open(&c, token, false, &e->arena))
        refuse_token(e, 401, tg_slice_str(c.err.text));
    else if (!(p = provider_of(e, c.claims)))
        refuse_token(e, 401, TG_S("no configured provider has its issuer"));
    else if (!is_allowed(e, p))
        refuse_token(e, 401, tg_arena_printf(&e->arena, "the route does not take tokens of provider " TG_S_FMT,
                                             TG_S_ARG(p->name)));
    else if (tg_fetched_keys(p, &keys, &err) != TG_OK)
        refuse_token(e, 503, tg_slice_str(err.text));
    else if (!token_check_signature(&c, keys, p->algs) ||
             !token_check_claims(&c, &p->rules, e->request.wall_ms / 1000))
        refuse_token(e, 401, tg_arena_printf(&e->arena, "%s (%s)", c.err.text, token_step_rule(c.broken)));
    else if (!(e->identity = tg_claims_new(cJSON_Duplicate(c.claims, true))))
        refuse_token(e, 401, TG_S("its claims are too large"));
    else
        e->result.identity_from = "token";
    if (p)
        e->result.provider = p->name;
    tg_jwks_unref(keys);
    token_check_fini(&c);
}

/* The Authorization fields of --header, with --token as one more. False when the credential itself is refused. */
static bool read_credential(struct explaining *e)
{
    const struct tg_head *h = &e->request.head;
    struct tg_slice values[CREDENTIALS];
    struct tg_credential credential;
    struct tg_buf token = {0};
    struct tg_err err;
    size_t count = 0;

    if (e->token) {
        if (token_read(e->token, &token, &err) != TG_OK) {
            tg_buf_fini(&token);
            return wrong(e, "--token", err.text);
        }
        values[count++] = tg_arena_printf(&e->arena, "Bearer " TG_S_FMT, TG_S_ARG(tg_buf_slice(&token)));
        tg_buf_fini(&token);
    }
    for (unsigned i = 0; i < h->field_count && count < CREDENTIALS; i++)
        if (h->fields[i].id == TG_FIELD_AUTHORIZATION)
            values[count++] = h->fields[i].value;
    tg_credential_classify(values, count, e->request.query, e->settings.config->bounds.token, &credential);
    if (credential.kind == TG_CREDENTIAL_MALFORMED) {
        refuse_token(e, 400, tg_slice_str(credential.what));
        e->result.stopped = "malformed credential";
    } else if (credential.kind == TG_CREDENTIAL_BEARER) {
        verify_token(e, credential.token);
    }
    return true;
}

static void take_identity(struct explaining *e)
{
    const struct tg_provider *p;

    explain_facts(&e->request, &e->facts);
    e->result.facts = &e->facts;
    if (!e->identity)
        return;
    explain_identity(e->identity, &e->facts);
    if (!e->settings.config || !(p = provider_of(e, tg_claims_json(e->identity))))
        return;
    e->facts.groups_claim = p->groups_claim;
    e->result.provider = p->name;
}

/* ---- the decision ---- */

static void stop(struct explaining *e, unsigned status, const char *why)
{
    e->result.status = status;
    e->result.stopped = why;
}

/* False: it is over before anybody is asked who is calling. */
static bool find_route(struct explaining *e)
{
    struct explain_request *r = &e->request;
    unsigned method = tg_method_id(r->method);
    struct tg_err err;

    if (explain_path(r, &e->arena, &err) != TG_OK) {
        stop(e, 400, tg_arena_printf(&e->arena, "bad request: %s", err.text).ptr);
        return false;
    }
    if (method == TG_METHOD_CONNECT || method == TG_METHOD_TRACE) {
        stop(e, 405, "CONNECT and TRACE are not taken");
        return false;
    }
    if (e->policy_file)
        return true;
    switch (tg_routes_find(e->settings.config->routes, r->host, r->port, r->canonical, &e->arena, &e->route)) {
    case TG_ROUTE_NONE:
        stop(e, 404, "no route matches this host and path");
        return false;
    case TG_ROUTE_AMBIGUOUS:
        stop(e, 400, "an upstream may read this path as another route's");
        return false;
    case TG_ROUTE_FOUND:
        break;
    }
    e->result.has_route = true;
    e->result.route = e->route->name;
    if (e->route->target_count > 0)
        e->result.target = e->route->targets[0].text;
    e->program = e->route->policy;
    return true;
}

static void find_tier(struct explaining *e)
{
    const struct tg_tiers *tiers = &e->settings.config->tiers;
    const struct tg_tier *tier = e->identity ? tg_tiers_pick(tiers, &e->facts) : &tiers->unauthenticated;

    if (!tiers->off && tier)
        e->result.tier = tg_arena_printf(&e->arena, TG_S_FMT ": %u requests in %u s%s", TG_S_ARG(tier->name),
                                         tier->limit,
                                         tier->window_s, tiers->shadow ? ", not enforced" : "");
}

static void decide(struct explaining *e)
{
    struct explain_result *r = &e->result;
    const struct tg_policy_text *text;

    r->trace = tg_ppl_trace(e->program, &e->facts, &e->arena, &r->verdict);
    r->judged = true;
    r->status = explain_status(r->verdict.decision);
    if (!e->route || r->verdict.policy < 0 || (size_t)r->verdict.policy >= e->route->policy_count || r->status == 200)
        return;
    text = &e->route->policy_texts[r->verdict.policy];
    r->policy = text->name;
    r->explanation = text->explanation;
    r->remediation = text->remediation;
}

static int print(struct explaining *e)
{
    struct tg_buf out = {0};
    int code;

    e->result.request = &e->request;
    if (e->json)
        explain_print_json(&e->result, &out);
    else
        explain_print_text(&e->result, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), &out);
    code = tg_put_out(&out);
    return e->result.status == 200 ? code : TG_EXIT_FAILURE;
}

static int explain(struct explaining *e)
{
    if (!(e->policy_file ? load_policy(e) : load_config(e)))
        return TG_EXIT_CONFIG;
    if (!read_client_cert(e) || (e->claims && !read_claims(e)))
        return e->o.code;
    if (find_route(e)) {
        if (!e->claims && !e->policy_file && !read_credential(e))
            return e->o.code;
        take_identity(e);
        if (!e->policy_file)
            find_tier(e);
        if (!e->result.stopped)
            decide(e);
    }
    return print(e);
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
        code = e->batch ? explain_batch() : explain(e);
    explain_request_fini(&e->request);
    tg_claims_free(e->identity);
    tg_arena_fini(&e->arena);
    tg_tree_free(e->policy_tree);
    tg_settings_fini(&e->settings);
    free(e);
    return code;
}
