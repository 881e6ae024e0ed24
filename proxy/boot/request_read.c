/*
 * request_read - a request from a mapping, with the place of every mistake.
 */
#include "request_read.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/setting.h"

struct reading {
    const struct tg_tree *tree;
    struct tg_arena *arena;
    struct written_request *out;
    struct tg_problems *problems;
};

size_t refuse_unknown_members(const struct tg_tree *tree, const cJSON *object, const char *what,
                              const char *const *names, size_t count, struct tg_problems *problems)
{
    const cJSON *member;
    size_t unknown = 0;

    cJSON_ArrayForEach(member, object) {
        const char *near;
        size_t i = 0;

        while (i < count && strcmp(names[i], member->string) != 0)
            i++;
        if (i < count)
            continue;
        near = tg_nearest(member->string, names, count);
        tg_problem_at_key(problems, tree, member, "%s: there is no member \"%.40s\"%s%s%s", what, member->string,
                          near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        unknown++;
    }
    return unknown;
}

/* The member unless it is absent or null. */
static const cJSON *member_of(const cJSON *object, const char *name)
{
    const cJSON *node = tg_json_get(object, name);

    return cJSON_IsNull(node) ? NULL : node;
}

/* Text, or *out as it was; the node when there is such a member and it is text. */
static const cJSON *text_member(const struct reading *r, const cJSON *object, const char *name, struct tg_slice *out)
{
    const cJSON *node = member_of(object, name);

    if (!node || tg_json_str(node, out))
        return node;
    tg_problem_at(r->problems, r->tree, node, "request.%s: must be text", name);
    return NULL;
}

static void read_field(const struct reading *r, const cJSON *node, const char *name)
{
    struct tg_slice value;
    struct tg_err err;

    if (!tg_json_str(node, &value))
        tg_problem_at(r->problems, r->tree, node, "request.headers: a value must be text, or a list of texts");
    else if (explain_add_field(&r->out->request, tg_slice_str(name), value, &err) != TG_OK)
        tg_problem_at(r->problems, r->tree, node, "request.headers: %s", err.text);
}

static void read_headers(const struct reading *r, const cJSON *headers)
{
    const cJSON *member, *item;

    if (!headers)
        return;
    if (!cJSON_IsObject(headers)) {
        tg_problem_at(r->problems, r->tree, headers, "request.headers: must be a mapping of name: value");
        return;
    }
    cJSON_ArrayForEach(member, headers) {
        if (!cJSON_IsArray(member)) {
            read_field(r, member, member->string);
            continue;
        }
        cJSON_ArrayForEach(item, member)
            read_field(r, item, member->string);
    }
}

static bool flag_member(const struct reading *r, const cJSON *object, const char *name)
{
    const cJSON *node = member_of(object, name);

    if (node && !cJSON_IsBool(node))
        tg_problem_at(r->problems, r->tree, node, "request.client_cert.%s: must be true or false", name);
    return cJSON_IsTrue(node);
}

/* Whether it is valid is said, not found out. */
static void read_certificate(const struct reading *r, const cJSON *cert)
{
    static const char *const names[] = {"presented", "ca_configured", "trusted", "pem"};
    struct explain_request *request = &r->out->request;
    struct tg_slice pem = {0};
    const cJSON *node;
    struct tg_err err;

    if (!cert)
        return;
    if (!cJSON_IsObject(cert)) {
        tg_problem_at(r->problems, r->tree, cert, "request.client_cert: must be a mapping");
        return;
    }
    refuse_unknown_members(r->tree, cert, "request.client_cert", names, ARRAY_LEN(names), r->problems);
    bool presented = flag_member(r, cert, "presented"), trusted = flag_member(r, cert, "trusted");

    if (flag_member(r, cert, "ca_configured"))
        request->client_cert = !presented ? TG_CLIENT_CERT_MISSING : trusted ? TG_CLIENT_CERT_VALID
                                                                             : TG_CLIENT_CERT_INVALID;
    node = member_of(cert, "pem");
    if (!node)
        return;
    if (!tg_json_str(node, &pem))
        tg_problem_at(r->problems, r->tree, node, "request.client_cert.pem: must be text");
    else if (!presented)
        tg_problem_at(r->problems, r->tree, node, "request.client_cert.pem: this certificate is not presented");
    else if (explain_set_certificate(request, pem, &err) != TG_OK)
        tg_problem_at(r->problems, r->tree, node, "request.client_cert.pem: %s", err.text);
}

static void read_claims(const struct reading *r, const cJSON *claims)
{
    if (!claims)
        return;
    if (!cJSON_IsObject(claims)) {
        tg_problem_at(r->problems, r->tree, claims, "request.claims: must be a mapping, or null for no token");
        return;
    }
    r->out->claims = tg_claims_new(cJSON_Duplicate(claims, true));
    if (!r->out->claims)
        tg_problem_at(r->problems, r->tree, claims, "request.claims: too large");
}

static void read_body(const struct reading *r, const cJSON *body)
{
    struct tg_buf text = {0};

    if (!body || tg_json_str(body, &r->out->body))
        return;
    tg_json_print(&text, body);
    r->out->body = tg_arena_dup(r->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
}

static void read_members(const struct reading *r, const cJSON *node)
{
    struct explain_request *request = &r->out->request;
    struct tg_slice path = TG_S("/"), host = {0}, ip = {0}, time = {0};
    const cJSON *at;
    struct tg_err err;

    text_member(r, node, "method", &request->method);
    text_member(r, node, "path", &path);
    explain_set_target(request, path);
    if ((at = text_member(r, node, "host", &host)) && host.len > 0 && explain_set_host(request, host, &err) != TG_OK)
        tg_problem_at(r->problems, r->tree, at, "request.host: must be host[:port]");
    if ((at = text_member(r, node, "source_ip", &ip)) && ip.len > 0 && !tg_ip_parse(ip, &request->source_ip))
        tg_problem_at(r->problems, r->tree, at, "request.source_ip: must be an IP address");
    if ((at = text_member(r, node, "time", &time)) && !tg_clock_parse(time, &request->wall_ms))
        tg_problem_at(r->problems, r->tree, at, "request.time: must be RFC 3339, as in 2026-11-21T10:00:00Z");
    read_headers(r, member_of(node, "headers"));
    read_certificate(r, member_of(node, "client_cert"));
    read_claims(r, member_of(node, "claims"));
    read_body(r, member_of(node, "body"));
}

bool written_request_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                          struct written_request *out, struct tg_problems *problems)
{
    static const char *const names[] = {"method", "path", "host", "source_ip", "time", "headers", "claims",
                                        "client_cert", "body"};
    struct reading r = {tree, arena, out, problems};
    size_t errors = problems->errors;

    out->claims = NULL;
    out->body = (struct tg_slice){0};
    explain_request_init(&out->request);
    if (!cJSON_IsObject(node)) {
        tg_problem_at(problems, tree, node, "request: must be a mapping");
        return false;
    }
    refuse_unknown_members(tree, node, "request", names, ARRAY_LEN(names), problems);
    read_members(&r, node);
    return problems->errors == errors;
}

void written_request_fini(struct written_request *w)
{
    explain_request_fini(&w->request);
    tg_claims_free(w->claims);
    w->claims = NULL;
}
