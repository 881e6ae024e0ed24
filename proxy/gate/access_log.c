/*
 * access_log - one JSON line a request: what was asked, who asked, what was decided and why, how long it took.
 *
 * Never a token, a query (it may hold one), a cookie or an Authorization value. Absent facts are left out.
 */
#include "base/clock.h"
#include "internal.h"

#define SUBJECT_BYTES 256                                /* of a client's certificate: the client chose its length */

/* A member's name as it stands in the line. */
#define NAME(name) TG_S(",\"" name "\":")

static void add_text(struct tg_buf *b, struct tg_slice name, struct tg_slice value)
{
    if (value.len == 0)
        return;
    tg_buf_add_slice(b, name);
    tg_log_json_string(b, value);
}

/* Text that needs no escapes. */
static void add_word(struct tg_buf *b, struct tg_slice name, const char *word)
{
    tg_buf_add_slice(b, name);
    tg_buf_addc(b, '"');
    tg_buf_adds(b, word);
    tg_buf_addc(b, '"');
}

/* At least `digits` of them. */
static void add_digits(struct tg_buf *b, int64_t value, unsigned digits)
{
    char text[24], *end = text + sizeof(text), *at = end;
    uint64_t n = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    for (; n > 0 || digits > 0; n /= 10, digits -= digits > 0)
        *--at = (char)('0' + n % 10);
    if (value < 0)
        *--at = '-';
    tg_buf_add(b, at, (size_t)(end - at));
}

static void add_number(struct tg_buf *b, struct tg_slice name, int64_t value)
{
    tg_buf_add_slice(b, name);
    add_digits(b, value, 1);
}

static void add_ms(struct tg_buf *b, struct tg_slice name, int64_t us)
{
    add_number(b, name, us / 1000);
    tg_buf_addc(b, '.');
    add_digits(b, us % 1000, 3);
}

void tg_access_log_tls(const struct tg_tls_facts *facts, struct tg_buf *out)
{
    const struct tg_cert *cert = facts->certificate;

    add_text(out, NAME("tls_version"), tg_slice_str(facts->version));
    add_text(out, NAME("tls_cipher"), tg_slice_str(facts->cipher));
    add_text(out, NAME("sni"), facts->server_name);
    if (!cert)
        return;
    add_text(out, NAME("client_cert_fingerprint"), tg_slice_str(cert->fingerprint));
    add_text(out, NAME("client_cert_subject"),
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
    add_text(b, NAME("client_cert"), state);
}

static void add_request(struct tg_buf *b, struct tg_exchange *ex)
{
    char ip[TG_IP_TEXT];

    add_text(b, NAME("request_id"), ex->request_id);
    if (ex->traceparent.len >= 35)
        add_text(b, NAME("trace_id"), tg_slice(ex->traceparent.ptr + 3, 32));
    if (ex->client_ip.family)
        add_text(b, NAME("client_ip"), tg_slice(ip, tg_ip_format(&ex->client_ip, ip)));
    add_text(b, NAME("method"), ex->head.method);
    add_text(b, NAME("host"), ex->head.authority);
    add_text(b, NAME("path"), ex->path);
    tg_buf_adds(b, ",\"proto\":\"HTTP/1.");
    tg_buf_addc(b, (char)('0' + ex->head.minor));
    tg_buf_addc(b, '"');
    if (ex->conn->tls)
        tg_buf_add_slice(b, tg_buf_slice(&ex->conn->tls->log));
    add_certificate_state(b, ex);
    if (ex->route)
        add_text(b, NAME("route"), ex->route->name);
}

static void add_reasons(struct tg_buf *b, tg_reasons set)
{
    const char *names[TG_REASON_COUNT];
    size_t n = tg_reasons_list(set, names);

    tg_buf_adds(b, ",\"reasons\":[");
    for (size_t i = 0; i < n; i++) {
        tg_buf_adds(b, i ? ",\"" : "\"");
        tg_buf_adds(b, names[i]);
        tg_buf_addc(b, '"');
    }
    tg_buf_addc(b, ']');
}

static void add_policy(struct tg_buf *b, int i, const struct tg_policy_text *texts, size_t count)
{
    if (i >= 0 && (size_t)i < count)
        add_text(b, NAME("policy"), texts[i].name);
}

/* What would have been decided if nothing were in shadow mode. */
static void add_shadow(struct tg_buf *b, const struct tg_exchange *ex)
{
    const struct tg_verdict *v = &ex->shadow_verdict;

    tg_buf_adds(b, ",\"shadow\":{\"decision\":\"");
    tg_buf_adds(b, tg_decision_name(v->decision));
    tg_buf_addc(b, '"');
    add_reasons(b, v->reasons);
    add_policy(b, v->policy, ex->route->shadow_texts, ex->route->shadow_count);
    tg_buf_addc(b, '}');
}

/* Which files this was decided by, and what it was decided from. */
static void add_grounds(struct tg_buf *b, struct tg_exchange *ex)
{
    if (!ex->rt)
        return;
    if (ex->rt->config->policy_set[0])
        add_word(b, NAME("policy_set"), ex->rt->config->policy_set);
    if (ex->key_set[0])
        add_word(b, NAME("key_set"), ex->key_set);
    if (ex->rt->config->log_facts && ex->route && ex->route->reads)
        tg_access_facts(ex, b);
}

/* The windows in shadow mode that were full. */
static void add_shadow_limited(struct tg_buf *b, const struct tg_charge *charge)
{
    const char *before = ",\"shadow_limited\":[";

    for (size_t i = 0; i < charge->count; i++) {
        if (!charge->windows[i].full || !charge->windows[i].window->shadow)
            continue;
        tg_buf_adds(b, before);
        tg_log_json_string(b, charge->windows[i].window->name);
        before = ",";
    }
    tg_buf_addc(b, ']');
}

/* What counted, whose counter it was, and what is left; of several windows the one that the answer tells of. */
static void add_limit(struct tg_buf *b, const struct tg_charge *charge)
{
#define BY(word) TG_S_INIT(",\"limit_key\":\"" word "\"")
#define COUNTER(word) TG_S_INIT(",\"counter\":\"" word "\"")
    /* As tg_limit_by_name and tg_counter_name have them, ready to be copied: a line is written for every request. */
    static const struct tg_slice keys[] = {[TG_BY_SUBJECT] = BY("subject"), [TG_BY_CLAIM] = BY("claim"),
                                           [TG_BY_ADDRESS] = BY("address"), [TG_BY_ROUTE] = BY("route")};
    static const struct tg_slice counters[] = {
        [TG_COUNTER_NONE] = COUNTER("none"), [TG_COUNTER_MEMORY] = COUNTER("memory"),
        [TG_COUNTER_REDIS] = COUNTER("redis"), [TG_COUNTER_LOCAL] = COUNTER("local")};
#undef BY
#undef COUNTER

    add_text(b, NAME("tier"), charge->tier->name);
    add_number(b, NAME("limit"), charge->limit);
    add_number(b, NAME("remaining"), charge->remaining);
    tg_buf_add_slice(b, keys[charge->by]);
    if (charge->count > 1)
        add_text(b, NAME("window"), charge->windows[charge->telling].window->name);
    tg_buf_add_slice(b, counters[charge->counter]);
    if (charge->shadow_full)
        add_shadow_limited(b, charge);
}

static void add_decision(struct tg_buf *b, struct tg_exchange *ex)
{
    if (ex->identity) {
        add_text(b, NAME("provider"), ex->identity->provider->name);
        add_text(b, NAME("issuer"), ex->identity->issuer);
        add_text(b, NAME("sub"), ex->identity->subject);
        add_text(b, NAME("token_id"), ex->identity->token_id);
    }
    add_word(b, NAME("decision"), tg_decided_name(tg_decided(ex)));
    add_reasons(b, ex->judged ? ex->verdict.reasons : 0);
    if (ex->judged && ex->route)
        add_policy(b, ex->verdict.policy, ex->route->policy_texts, ex->route->policy_count);
    if (ex->judged && ex->route && ex->route->shadow)
        add_shadow(b, ex);
    if (ex->auth_reason && (ex->pending || ex->refusal == TG_REFUSE_NO_ANSWER))
        add_word(b, NAME("token_refused"), ex->auth_reason);
    if (ex->bound)
        add_word(b, NAME("bound"), ex->bound);
    if (ex->charge.tier)
        add_limit(b, &ex->charge);
}

void tg_access_log(struct tg_exchange *ex)
{
    struct tg_buf *b = &ex->gate->out;                   /* nothing of it is in use any more at this step */
    char when[TG_TIME_TEXT];

    b->len = 0;
    tg_clock_format(ex->wall_ms, when);
    tg_buf_adds(b, "{\"ts\":\"");
    tg_buf_adds(b, when);
    tg_buf_addc(b, '"');
    add_request(b, ex);
    add_number(b, NAME("status"), ex->status);
    add_number(b, NAME("bytes_in"), (int64_t)ex->bytes_in);
    add_number(b, NAME("bytes_out"), (int64_t)ex->bytes_out);
    add_ms(b, NAME("duration_ms"), ex->ended_us - ex->started_us);
    if (ex->calling && ex->route && ex->endpoint >= 0) {
        add_text(b, NAME("upstream"), ex->route->targets[ex->endpoint].text);
        if (ex->upstream_us > 0)
            add_ms(b, NAME("upstream_duration_ms"), ex->upstream_us);
        if (ex->attempts > 1)
            add_number(b, NAME("attempts"), ex->attempts);
    }
    add_decision(b, ex);
    if (ex->refusal)
        add_word(b, NAME("refused"), tg_refusal_name(ex->refusal));
    if (ex->outcome == TG_OUTCOME_FAILED)
        add_word(b, NAME("error"), tg_call_fault_name(ex->fault));
    else if (ex->aborted)
        add_word(b, NAME("error"), "client-gone");
    add_grounds(b, ex);
    tg_buf_addc(b, '}');
    tg_log_sink_write(ex->gate->shared->access_log, tg_buf_slice(b));
}
