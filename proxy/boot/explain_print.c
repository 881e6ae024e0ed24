/*
 * explain_print - what was found, as a tree for people or as JSON for programs.
 */
#include "base/json.h"
#include "base/log.h"
#include "explain.h"

#define RED "\033[31m"
#define GREEN "\033[32m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"
#define SHOWN_BYTES 120                                  /* of a value, in the text form */

struct painter {
    struct tg_buf *out;
    bool colour;
};

static void paint(const struct painter *p, const char *colour, const char *text)
{
    tg_buf_addf(p->out, "%s%s%s", p->colour ? colour : "", text, p->colour ? PLAIN : "");
}

static void label(const struct painter *p, const char *text)
{
    struct tg_buf padded = {0};

    tg_buf_addf(&padded, "%-10s", text);
    paint(p, BOLD, tg_buf_cstr(&padded));
    tg_buf_fini(&padded);
}

/* Bytes that came from outside: no control character reaches a terminal. */
static void add_clean(struct tg_buf *out, struct tg_slice s, size_t max)
{
    size_t len = s.len < max ? s.len : max;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c < ' ' || c == 0x7f)
            tg_buf_addf(out, "\\x%02x", c);
        else
            tg_buf_addc(out, (char)c);
    }
    if (len < s.len)
        tg_buf_adds(out, "...");
}

static void add_reasons(struct tg_buf *out, tg_reasons reasons)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(reasons, names);

    for (size_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s%s", i ? ", " : "", names[i]);
    if (count == 0)
        tg_buf_adds(out, "none");
}

/* ---- text ---- */

static void text_criterion(const struct painter *p, const struct tg_trace_node *node)
{
    struct tg_buf data = {0};

    tg_buf_adds(p->out, node->name);
    if (node->sub_path.len > 0) {
        tg_buf_addc(p->out, '/');
        add_clean(p->out, node->sub_path, SHOWN_BYTES);
    }
    tg_json_print(&data, node->data);
    tg_buf_addc(p->out, ' ');
    add_clean(p->out, tg_buf_slice(&data), SHOWN_BYTES);
    tg_buf_adds(p->out, ", saw ");
    add_clean(p->out, node->saw, SHOWN_BYTES);
    tg_buf_adds(p->out, " [");
    add_reasons(p->out, node->reasons);
    tg_buf_adds(p->out, "]");
    tg_buf_fini(&data);
}

static void text_node(const struct painter *p, const struct tg_trace_node *node, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        tg_buf_adds(p->out, "  ");
    paint(p, node->value ? GREEN : RED, node->value ? "yes " : "no  ");
    if (node->kind == TG_TRACE_CRITERION)
        text_criterion(p, node);
    else
        add_clean(p->out, tg_slice_str(node->name), SHOWN_BYTES);
    tg_buf_adds(p->out, "\n");
    for (const struct tg_trace_node *child = node->children; child; child = child->next)
        text_node(p, child, depth + 1);
}

static void text_request(const struct painter *p, const struct explain_request *r)
{
    char ip[TG_IP_TEXT];

    label(p, "request");
    add_clean(p->out, r->method, SHOWN_BYTES);
    tg_buf_addc(p->out, ' ');
    if (r->host.len > 0)
        add_clean(p->out, r->host, SHOWN_BYTES);
    if (r->port >= 0)
        tg_buf_addf(p->out, ":%d", r->port);
    add_clean(p->out, r->path, SHOWN_BYTES);
    if (r->source_ip.family) {
        tg_ip_format(&r->source_ip, ip);
        tg_buf_addf(p->out, " from %s", ip);
    }
    tg_buf_adds(p->out, "\n");
    if (r->decoded.ptr && !tg_slice_eq(r->decoded, r->path)) {
        label(p, "path");
        add_clean(p->out, r->decoded, SHOWN_BYTES);
        tg_buf_adds(p->out, " is what policies see\n");
    }
}

static void text_client(const struct painter *p, const struct explain_request *r)
{
    if (r->client_cert == TG_CLIENT_CERT_VALID && !r->certificate)
        return;
    label(p, "client");
    if (r->certificate) {
        add_clean(p->out, r->certificate->subject, SHOWN_BYTES);
        tg_buf_addf(p->out, "%sSHA-256 %.16s..., ", r->certificate->subject.len > 0 ? ", " : "",
                    r->certificate->fingerprint);
    }
    switch (r->client_cert) {
    case TG_CLIENT_CERT_VALID: paint(p, GREEN, "its certificate is valid"); break;
    case TG_CLIENT_CERT_INVALID: paint(p, RED, "its certificate is not valid"); break;
    case TG_CLIENT_CERT_MISSING: paint(p, RED, "no certificate"); break;
    }
    tg_buf_adds(p->out, "\n");
}

static void text_identity(const struct painter *p, const struct explain_result *r)
{
    label(p, "identity");
    if (r->token_problem.ptr) {
        paint(p, RED, "none: the token is refused: ");
        add_clean(p->out, r->token_problem, SHOWN_BYTES * 3);
    } else if (!r->identity_from) {
        tg_buf_adds(p->out, "none: no token");
    } else {
        tg_buf_adds(p->out, "user ");
        add_clean(p->out, r->facts->user, SHOWN_BYTES);
        if (r->facts->email.len > 0) {
            tg_buf_adds(p->out, ", email ");
            add_clean(p->out, r->facts->email, SHOWN_BYTES);
        }
        tg_buf_addf(p->out, ", by %s", r->identity_from);
        if (r->provider.ptr) {
            tg_buf_adds(p->out, ", provider ");
            add_clean(p->out, r->provider, SHOWN_BYTES);
        }
    }
    tg_buf_adds(p->out, "\n");
}

static void text_line(const struct painter *p, const char *name, struct tg_slice text)
{
    if (!text.ptr || text.len == 0)
        return;
    label(p, name);
    add_clean(p->out, text, SHOWN_BYTES * 4);
    tg_buf_adds(p->out, "\n");
}

static void text_verdict(const struct painter *p, const struct explain_result *r)
{
    bool allowed = r->status == 200;

    label(p, "decision");
    if (r->stopped) {
        paint(p, RED, r->stopped);
    } else {
        paint(p, allowed ? GREEN : RED, explain_decision_name(r->verdict.decision));
        tg_buf_adds(p->out, ", because of ");
        add_reasons(p->out, r->verdict.reasons);
    }
    tg_buf_adds(p->out, "\n");
    if (!allowed && r->judged) {
        text_line(p, "policy", r->policy);
        text_line(p, "says", r->explanation);
        text_line(p, "do", r->remediation);
    }
    label(p, "status");
    tg_buf_addf(p->out, "%u%s\n", r->status, allowed ? ": goes to the service" : "");
}

void explain_print_text(const struct explain_result *r, bool colour, struct tg_buf *out)
{
    struct painter p = {out, colour};

    text_request(&p, r->request);
    text_client(&p, r->request);
    if (r->has_route) {
        label(&p, "route");
        add_clean(out, r->route, SHOWN_BYTES);
        tg_buf_adds(out, " to ");
        add_clean(out, r->target, SHOWN_BYTES);
        tg_buf_adds(out, "\n");
    }
    if (r->facts)
        text_identity(&p, r);
    text_line(&p, "tier", r->tier);
    if (r->judged) {
        label(&p, "policies");
        tg_buf_adds(out, r->trace ? "\n" : "none, which denies\n");
        for (const struct tg_trace_node *node = r->trace; node; node = node->next)
            text_node(&p, node, 1);
    }
    text_verdict(&p, r);
}

/* ---- JSON ---- */

static void json_text(struct tg_buf *out, const char *name, struct tg_slice value)
{
    tg_buf_addf(out, "\"%s\":", name);
    if (value.ptr)
        tg_log_json_string(out, value);
    else
        tg_buf_adds(out, "null");
}

static void json_nodes(struct tg_buf *out, const struct tg_trace_node *node)
{
    static const char *const kinds[] = {[TG_TRACE_POLICY] = "policy", [TG_TRACE_RULE] = "rule",
                                        [TG_TRACE_OPERATOR] = "operator", [TG_TRACE_CRITERION] = "criterion"};

    tg_buf_adds(out, "[");
    for (const struct tg_trace_node *first = node; node; node = node->next) {
        tg_buf_addf(out, "%s{\"kind\":\"%s\",", node == first ? "" : ",", kinds[node->kind]);
        json_text(out, "name", tg_slice_str(node->name));
        tg_buf_addf(out, ",\"value\":%s,\"reasons\":", node->value ? "true" : "false");
        explain_reasons_json(node->reasons, out);
        if (node->kind == TG_TRACE_CRITERION) {
            tg_buf_adds(out, ",");
            json_text(out, "sub_path", node->sub_path);
            tg_buf_adds(out, ",\"data\":");
            tg_json_print(out, node->data);
            tg_buf_adds(out, ",");
            json_text(out, "saw", node->saw);
        } else {
            tg_buf_adds(out, ",\"children\":");
            json_nodes(out, node->children);
        }
        tg_buf_adds(out, "}");
    }
    tg_buf_adds(out, "]");
}

static void json_client(struct tg_buf *out, const struct explain_request *r)
{
    tg_buf_adds(out, "\"client_cert\":");
    if (!r->certificate) {
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    json_text(out, "subject", r->certificate->subject);
    tg_buf_adds(out, ",");
    json_text(out, "fingerprint", tg_slice_str(r->certificate->fingerprint));
    tg_buf_addf(out, ",\"valid\":%s}", r->client_cert == TG_CLIENT_CERT_VALID ? "true" : "false");
}

static void json_request(struct tg_buf *out, const struct explain_request *r)
{
    char ip[TG_IP_TEXT];
    struct tg_slice address = {0};

    if (r->source_ip.family)
        address = tg_slice(ip, tg_ip_format(&r->source_ip, ip));
    tg_buf_adds(out, "{");
    json_text(out, "method", r->method);
    tg_buf_adds(out, ",");
    json_text(out, "host", r->host);
    tg_buf_adds(out, ",");
    json_text(out, "path", r->path);
    tg_buf_adds(out, ",");
    json_text(out, "path_seen", r->decoded);
    tg_buf_adds(out, ",");
    json_text(out, "source_ip", address);
    tg_buf_adds(out, ",");
    json_client(out, r);
    tg_buf_adds(out, "}");
}

static void json_identity(struct tg_buf *out, const struct explain_result *r)
{
    if (!r->identity_from || !r->facts) {                /* facts NULL: it was over before anybody was asked */
        tg_buf_adds(out, "null");
        return;
    }
    tg_buf_adds(out, "{");
    json_text(out, "user", r->facts->user);
    tg_buf_adds(out, ",");
    json_text(out, "email", r->facts->email);
    tg_buf_adds(out, ",");
    json_text(out, "from", tg_slice_str(r->identity_from));
    tg_buf_adds(out, ",");
    json_text(out, "provider", r->provider);
    tg_buf_adds(out, "}");
}

void explain_print_json(const struct explain_result *r, struct tg_buf *out)
{
    tg_buf_adds(out, "{\"request\":");
    json_request(out, r->request);
    tg_buf_adds(out, ",");
    json_text(out, "route", r->route);
    tg_buf_adds(out, ",");
    json_text(out, "to", r->target);
    tg_buf_adds(out, ",\"identity\":");
    json_identity(out, r);
    tg_buf_adds(out, ",");
    json_text(out, "token_error", r->token_problem);
    tg_buf_adds(out, ",");
    json_text(out, "tier", r->tier);
    tg_buf_adds(out, ",\"policies\":");
    json_nodes(out, r->trace);
    tg_buf_addf(out, ",\"decision\":\"%s\",\"status\":%u,\"reasons\":",
                r->judged ? explain_decision_name(r->verdict.decision) : r->status == 401 ? "unauthenticated" : "deny",
                r->status);
    explain_reasons_json(r->judged ? r->verdict.reasons : 0, out);
    tg_buf_adds(out, ",");
    json_text(out, "policy", r->policy);
    tg_buf_adds(out, ",");
    json_text(out, "explanation", r->explanation);
    tg_buf_adds(out, ",");
    json_text(out, "remediation", r->remediation);
    tg_buf_adds(out, ",");
    json_text(out, "error", tg_slice_str(r->stopped));
    tg_buf_adds(out, "}\n");
}
