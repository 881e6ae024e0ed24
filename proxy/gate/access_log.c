/*
 * access_log - one JSON line a request: what was asked, who asked, what was decided and why, how long it took.
 *
 * Never a token, a query (it may hold one), a cookie or an Authorization value. Absent facts are left out.
 */
#include "base/clock.h"
#include "internal.h"

#define SUBJECT_BYTES 256                                /* of a client's certificate: the client chose its length */

static void add_text(struct tg_buf *b, const char *name, struct tg_slice value)
{
    if (value.len == 0)
        return;
    tg_buf_addf(b, ",\"%s\":", name);
    tg_log_json_string(b, value);
}

static void add_number(struct tg_buf *b, const char *name, int64_t value)
{
    tg_buf_addf(b, ",\"%s\":%lld", name, (long long)value);
}

static void add_ms(struct tg_buf *b, const char *name, int64_t us)
{
    tg_buf_addf(b, ",\"%s\":%lld.%03d", name, (long long)(us / 1000), (int)(us % 1000));
}

void tg_access_log_tls(const struct tg_tls_facts *facts, struct tg_buf *out)
{
    const struct tg_cert *cert = facts->certificate;

    add_text(out, "tls_version", tg_slice_str(facts->version));
    add_text(out, "tls_cipher", tg_slice_str(facts->cipher));
    add_text(out, "sni", facts->server_name);
    if (!cert)
        return;
    add_text(out, "client_cert_fingerprint", tg_slice_str(cert->fingerprint));
    add_text(out, "client_cert_subject",
             tg_slice(cert->subject.ptr, cert->subject.len < SUBJECT_BYTES ? cert->subject.len : SUBJECT_BYTES));
}

static void add_certificate_state(struct tg_buf *b, struct tg_exchange *ex)
{
    static const char *const names[] = {"valid", "missing", "invalid"};
    const char *why;

    if (!ex->rt || !ex->rt->config->route_defaults.client_ca)
        return;
    struct tg_slice state = tg_slice_str(names[tg_conn_tls_certificate(ex, &why)]);

    if (why)
        state = tg_arena_printf(&ex->arena, TG_S_FMT ": %s", TG_S_ARG(state), why);
    add_text(b, "client_cert", state);
}

static void add_request(struct tg_buf *b, struct tg_exchange *ex)
{
    char ip[TG_IP_TEXT];

    add_text(b, "request_id", ex->request_id);
    if (ex->traceparent.len >= 35)
        add_text(b, "trace_id", tg_slice(ex->traceparent.ptr + 3, 32));
    if (ex->client_ip.family)
        add_text(b, "client_ip", tg_slice(ip, tg_ip_format(&ex->client_ip, ip)));
    add_text(b, "method", ex->head.method);
    add_text(b, "host", ex->head.authority);
    add_text(b, "path", ex->path);
    tg_buf_addf(b, ",\"proto\":\"HTTP/1.%u\"", ex->head.minor);
    if (ex->conn->tls)
        tg_buf_add_slice(b, tg_buf_slice(&ex->conn->tls->log));
    add_certificate_state(b, ex);
    if (ex->route)
        add_text(b, "route", ex->route->name);
}

static void add_decision(struct tg_buf *b, struct tg_exchange *ex)
{
    const char *names[TG_REASON_COUNT];
    size_t n = ex->judged ? tg_reasons_list(ex->verdict.reasons, names) : 0;

    if (ex->identity) {
        add_text(b, "provider", ex->identity->provider->name);
        add_text(b, "issuer", ex->identity->issuer);
        add_text(b, "sub", ex->identity->subject);
        add_text(b, "token_id", ex->identity->token_id);
    }
    add_text(b, "decision", tg_slice_str(tg_decided_name(tg_decided(ex))));
    tg_buf_adds(b, ",\"reasons\":[");
    for (size_t i = 0; i < n; i++)
        tg_buf_addf(b, "%s\"%s\"", i ? "," : "", names[i]);
    tg_buf_addc(b, ']');
    if (ex->judged && ex->verdict.policy >= 0 && ex->route && (size_t)ex->verdict.policy < ex->route->policy_count)
        add_text(b, "policy", ex->route->policy_texts[ex->verdict.policy].name);
    if (ex->auth_reason && ex->pending)
        add_text(b, "token_refused", tg_slice_str(ex->auth_reason));
    if (ex->charge.tier) {
        add_text(b, "tier", ex->charge.tier->name);
        add_number(b, "limit", ex->charge.limit);
        add_number(b, "remaining", ex->charge.remaining);
    }
}

void tg_access_log(struct tg_exchange *ex)
{
    struct tg_buf *b = &ex->gate->out;                   /* nothing of it is in use any more at this step */
    char when[TG_TIME_TEXT];

    b->len = 0;
    tg_clock_format(ex->wall_ms, when);
    tg_buf_addf(b, "{\"ts\":\"%s\"", when);
    add_request(b, ex);
    add_number(b, "status", ex->status);
    add_number(b, "bytes_in", (int64_t)ex->bytes_in);
    add_number(b, "bytes_out", (int64_t)ex->bytes_out);
    add_ms(b, "duration_ms", ex->ended_us - ex->started_us);
    if (ex->calling && ex->route && ex->endpoint >= 0) {
        add_text(b, "upstream", ex->route->targets[ex->endpoint].text);
        if (ex->upstream_us > 0)
            add_ms(b, "upstream_duration_ms", ex->upstream_us);
        if (ex->attempts > 1)
            add_number(b, "attempts", ex->attempts);
    }
    add_decision(b, ex);
    if (ex->refusal)
        add_text(b, "refused", tg_slice_str(tg_refusal_name(ex->refusal)));
    if (ex->outcome == TG_OUTCOME_FAILED)
        add_text(b, "error", tg_slice_str(tg_call_fault_name(ex->fault)));
    else if (ex->aborted)
        add_text(b, "error", TG_S("client-gone"));
    tg_buf_addc(b, '}');
    tg_log_sink_write(ex->gate->shared->access_log, tg_buf_slice(b));
}
