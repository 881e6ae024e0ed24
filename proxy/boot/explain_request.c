/*
 * explain_request - a request that nobody sent, and what policies see of it.
 */
#include "base/clock.h"
#include "base/json.h"
#include "explain.h"
#include "http/h1_parse.h"
#include "http/uri.h"
#include "policy/mcp.h"

void explain_request_init(struct explain_request *r)
{
    *r = (struct explain_request){.method = TG_S("GET"), .path = TG_S("/"), .port = -1, .wall_ms = tg_clock_wall_ms()};
    r->head.fields = r->fields;
    r->head.field_cap = EXPLAIN_FIELDS;
}

void explain_request_fini(struct explain_request *r)
{
    tg_cert_free(r->own_certificate);
    r->own_certificate = NULL;
    r->certificate = NULL;
}

enum tg_status explain_set_host(struct explain_request *r, struct tg_slice authority, struct tg_err *err)
{
    if (!tg_uri_split_authority(authority, &r->host, &r->port))
        return tg_fail(err, TG_BAD_INPUT, "the host is no host[:port]");
    return TG_OK;
}

void explain_set_target(struct explain_request *r, struct tg_slice target)
{
    r->query = (struct tg_slice){0};
    tg_slice_cut(target, '?', &r->path, &r->query);
}

enum tg_status explain_add_field(struct explain_request *r, struct tg_slice name, struct tg_slice value,
                                 struct tg_err *err)
{
    if (!tg_is_token(name))
        return tg_fail(err, TG_BAD_INPUT, "a header's name has letters, digits and !#$%%&'*+-.^_`|~ only");
    value = tg_slice_trim(value);
    if (!tg_is_field_value(value))
        return tg_fail(err, TG_BAD_INPUT, "the value of header " TG_S_FMT " holds a control character", TG_S_ARG(name));
    if (!tg_head_add(&r->head, tg_field_id(name), name, value))
        return tg_fail(err, TG_LIMIT, "more than %d headers", EXPLAIN_FIELDS);
    return TG_OK;
}

enum tg_status explain_set_certificate(struct explain_request *r, struct tg_slice pem, struct tg_err *err)
{
    struct tg_cert *certificate;
    enum tg_status st = tg_cert_from_pem(pem, &certificate, err);

    if (st != TG_OK)
        return st;
    tg_cert_free(r->own_certificate);
    r->certificate = r->own_certificate = certificate;
    return TG_OK;
}

enum tg_status explain_path(struct explain_request *r, struct tg_arena *arena, struct tg_err *err)
{
    if (tg_slice_eq(r->path, TG_S("*"))) {
        r->canonical = r->decoded = r->path;
        return TG_OK;
    }
    return tg_uri_canonical_path(r->path, arena, &r->canonical, &r->decoded, err);
}

void explain_facts(const struct explain_request *r, struct tg_facts *out)
{
    *out = (struct tg_facts){
        .method = r->method,
        .path = r->decoded,
        .source_ip = r->source_ip,
        .client_cert = r->client_cert,
        .certificate = r->certificate,
        .wall_ms = r->wall_ms,
        .cors_preflight = tg_slice_eq(r->method, TG_S("OPTIONS")) && tg_head_value(&r->head, TG_FIELD_ORIGIN).len > 0 &&
                          tg_head_value(&r->head, TG_FIELD_ACCESS_CONTROL_REQUEST_METHOD).len > 0,
    };
}

void explain_identity(const struct tg_claims *claims, struct tg_facts *out)
{
    const cJSON *json = tg_claims_json(claims);

    out->identity = true;
    out->claims = claims;
    if (!tg_json_str(tg_json_get(json, "sub"), &out->user))
        out->user = TG_S("");
    if (!tg_json_str(tg_json_get(json, "email"), &out->email))
        out->email = TG_S("");
}

enum tg_status explain_body(struct tg_slice body, struct tg_arena *arena, struct tg_facts *out, struct tg_err *err)
{
    struct tg_mcp_call call = {0};
    enum tg_status st = tg_mcp_read(body, arena, &call, err);

    if (st != TG_OK)
        return st;
    out->mcp_tool_call = call.tool_call;
    out->mcp_tool = call.tool;
    return TG_OK;
}

unsigned explain_status(enum tg_decision decision)
{
    return decision == TG_ALLOW ? 200 : decision == TG_UNAUTHENTICATED ? 401 : 403;
}

void explain_reasons_json(tg_reasons reasons, struct tg_buf *out)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(reasons, names);

    tg_buf_adds(out, "[");
    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s\"%s\"", i ? "," : "", names[i]);
    tg_buf_adds(out, "]");
}
