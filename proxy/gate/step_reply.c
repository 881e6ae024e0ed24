/*
 * step_reply - the answers tollgate makes itself: the words of gate/refusal.h, one writer for each body format.
 *
 * Invariants: every answer has the rate-limit fields that are wanted, and an X-Request-Id; a 401 has a challenge (RFC
 * 9110 §15.5.2, RFC 6750 §3); words come from fixed lists, so nothing of a token, a field, a key or the upstream is
 * ever echoed. Accept is not looked at: the route's error_format decides, except that a gRPC caller gets a grpc-status.
 */
#include "auth/dpop.h"
#include "base/json.h"
#include "internal.h"
#include <stdio.h>

#define RETRY_SOON_S 5u

const char *tg_refusal_name(enum tg_refusal why)
{
    return tg_refusals[why].name;
}

unsigned tg_refusal_status(const struct tg_exchange *ex)
{
    return ex->refusal == TG_REFUSE_HEAD && ex->refusal_status ? ex->refusal_status : tg_refusals[ex->refusal].status;
}

/* ---- fields ---- */

static struct tg_slice number(struct tg_arena *arena, uint64_t n)
{
    char *out = tg_arena_raw(arena, 24), *end = out + 24, *at = end;

    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    return tg_slice(at, (size_t)(end - at));
}

/* RFC 9449 §8.2, §9: the nonce of the next proof, where proofs need one. */
static size_t nonce_field(struct tg_exchange *ex, struct tg_field *out)
{
    const struct tg_dpop *dpop = ex->gate->shared->auth.dpop;
    char nonce[TG_DPOP_NONCE];

    if (!dpop || !tg_dpop_wants_nonce(dpop))
        return 0;
    tg_dpop_nonce(dpop, ex->wall_ms, nonce);
    *out = (struct tg_field){TG_S("DPoP-Nonce"), tg_arena_dup(&ex->arena, tg_slice_str(nonce)), TG_FIELD_OTHER};
    return 1;
}

size_t tg_answer_fields(struct tg_exchange *ex, const struct tg_head *theirs,
                        struct tg_field out[static TG_ANSWER_FIELDS])
{
    size_t n = tg_answer_limit_fields(ex, theirs, out);

    if (ex->request_id.len)
        out[n++] = (struct tg_field){TG_S("X-Request-Id"), ex->request_id, TG_FIELD_X_REQUEST_ID};
    if (ex->credential.kind == TG_CREDENTIAL_DPOP)
        n += nonce_field(ex, out + n);
    if (ex->traced) {                                    /* no cache may hand it to others */
        out[n++] = (struct tg_field){TG_S("Cache-Control"), TG_S("no-store"), TG_FIELD_CACHE_CONTROL};
        n += tg_trace_fields(ex, out + n);
    }
    return n;
}

/* ---- WWW-Authenticate ---- */

static struct tg_slice algs_text(struct tg_arena *arena, tg_algs algs)
{
    struct tg_buf text = {0};
    struct tg_slice out;

    for (unsigned a = 0; a < TG_ALG_COUNT; a++)
        if (algs & TG_ALG_BIT(a))
            tg_buf_addf(&text, "%s%s", text.len ? " " : "", tg_alg_name(a));
    out = tg_arena_dup(arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

static struct tg_slice scope_text(struct tg_exchange *ex)
{
    struct tg_slice scopes[TG_SCOPES_TOLD], out;
    size_t count = tg_scopes_needed(ex, ex->route, scopes, ARRAY_LEN(scopes));
    struct tg_buf text = {0};

    for (size_t i = 0; i < count; i++)
        tg_buf_addf(&text, "%s" TG_S_FMT, i ? " " : "", TG_S_ARG(scopes[i]));
    out = tg_arena_dup(&ex->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

/* What the route says of itself in a challenge; the scheme is the one the client used, or has to use. */
static void words_of_route(struct tg_exchange *ex, const struct tg_refusal_row *r, struct tg_challenge_words *words)
{
    const struct tg_route *route = ex->route;
    struct tg_buf url = {0};

    if (r->challenge == TG_CHALLENGE_SCOPE)
        words->scope = scope_text(ex);
    if (route->resource) {
        tg_resource_metadata_url(ex, route, &url);
        words->resource_metadata = tg_arena_dup(&ex->arena, tg_buf_slice(&url));
        tg_buf_fini(&url);
    }
    if (ex->credential.kind == TG_CREDENTIAL_DPOP || ex->wants_dpop || route->possession == TG_POSSESSION_DPOP)
        words->bearer = false;
    words->dpop = !words->bearer || route->possession == TG_POSSESSION_ANY;
    if (words->dpop)
        words->dpop_algs = algs_text(&ex->arena, ex->rt->config->dpop.algs);
}

/* One field a scheme. */
static size_t challenge_fields(struct tg_exchange *ex, const struct tg_refusal_row *r, struct tg_field out[static 2])
{
    struct tg_challenge_words words = {.fault = ex->credential.what, .bearer = true};
    struct tg_buf text[2] = {{0}, {0}};
    size_t n;

    if (r->challenge == TG_CHALLENGE_NONE)
        return 0;
    words.realm = ex->rt ? ex->rt->config->realm : TG_S("tollgate");
    if (ex->route)
        words_of_route(ex, r, &words);
    n = tg_refusal_challenge(r, &words, text);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct tg_field){TG_S("WWW-Authenticate"), tg_arena_dup(&ex->arena, tg_buf_slice(&text[i])),
                                   TG_FIELD_WWW_AUTHENTICATE};
        tg_buf_fini(&text[i]);
    }
    return n;
}

/* ---- bodies ---- */

struct words {
    unsigned status;
    const char *title;                                   /* "Unauthorized" */
    struct tg_slice message;                             /* "unauthorized" */
    struct tg_slice details;
    const char *oauth_error, *oauth_description;
};

static void add_member(struct tg_buf *b, const char *name, struct tg_slice value)
{
    tg_buf_addf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", name);
    tg_json_add_string(b, value);
}

static void body_zero(struct tg_buf *b, struct tg_exchange *ex, const struct words *w)
{
    (void)ex;
    tg_buf_addf(b, "{\"code\":%u", w->status);
    add_member(b, "message", w->message);
    add_member(b, "details", w->details);
    tg_buf_addc(b, '}');
}

/* The windows that were full, of those that are applied. */
static void add_violated(struct tg_buf *b, const struct tg_charge *charge)
{
    const char *before = ",\"violated-policies\":[";

    for (size_t i = 0; i < charge->count; i++) {
        const struct tg_charge_window *w = &charge->windows[i];

        /* A token that nobody may be asked about is refused for the address, though it has room for the refusal. */
        if (charge->admitted ? i != charge->telling : !w->full || w->window->shadow)
            continue;
        tg_buf_adds(b, before);
        tg_json_add_string(b, w->window->name);
        before = ",";
    }
    tg_buf_addc(b, ']');
}

static void body_problem(struct tg_buf *b, struct tg_exchange *ex, const struct words *w)
{
    bool quota = w->status == 429 && ex->charge.tier;

    tg_buf_addc(b, '{');
    add_member(b, "type",
               quota ? TG_S("https://iana.org/assignments/http-problem-types#quota-exceeded") : TG_S("about:blank"));
    add_member(b, "title", tg_slice_str(w->title));
    tg_buf_addf(b, ",\"status\":%u", w->status);
    add_member(b, "detail", w->details);
    if (ex->request_id.len)
        add_member(b, "instance", tg_arena_printf(&ex->arena, "urn:request:" TG_S_FMT, TG_S_ARG(ex->request_id)));
    if (quota)
        add_violated(b, &ex->charge);
    tg_buf_addf(b, ",\"code\":%u", w->status);
    add_member(b, "message", w->message);
    add_member(b, "details", w->details);
    tg_buf_addc(b, '}');
}

static void body_oauth(struct tg_buf *b, struct tg_exchange *ex, const struct words *w)
{
    (void)ex;
    tg_buf_addc(b, '{');
    add_member(b, "error", tg_slice_str(w->oauth_error));
    add_member(b, "error_description", tg_slice_str(w->oauth_description));
    tg_buf_addc(b, '}');
}

static void body_pomerium(struct tg_buf *b, struct tg_exchange *ex, const struct words *w)
{
    tg_buf_addc(b, '{');
    add_member(b, "error", w->status == 401 ? TG_S("Unauthenticated") : tg_slice_str(w->title));
    add_member(b, "request_id", ex->request_id);
    tg_buf_addc(b, '}');
}

/* One body for every 401, whatever was wrong with the token. */
static void body_zerops(struct tg_buf *b, struct tg_exchange *ex, const struct words *w)
{
    char code[40];
    size_t n = 0;

    (void)ex;
    for (; w->message.ptr && n < w->message.len && n + 1 < sizeof(code); n++) {
        char c = w->message.ptr[n];

        code[n] = c == ' ' ? '_' : c;
    }
    tg_buf_adds(b, "{\"error\":{");
    add_member(b, "code", tg_slice(code, n));
    add_member(b, "message", w->status == 401 ? TG_S("authorization is required") : w->details);
    tg_buf_adds(b, "}}");
}

/* google.rpc.Code, as gRPC gateways show it. */
static unsigned grpc_code(unsigned status)
{
    static const struct {
        unsigned status, code;
    } map[] = {{400, 3},  {401, 16}, {403, 7}, {404, 5},  {405, 12}, {408, 4},  {413, 8},
               {414, 3},  {415, 3},  {429, 8},  {431, 3}, {501, 12}, {502, 14}, {503, 14}, {504, 4}};

    for (size_t i = 0; i < ARRAY_LEN(map); i++) {
        if (map[i].status == status)
            return map[i].code;
    }
    return 2;
}

static void body_zitadel(struct tg_buf *b, struct tg_exchange *ex, const struct words *w)
{
    (void)ex;
    tg_buf_addf(b, "{\"code\":%u", grpc_code(w->status));
    add_member(b, "message", w->details);
    tg_buf_adds(b, ",\"details\":[]}");
}

static const struct {
    const char *type;
    void (*write)(struct tg_buf *b, struct tg_exchange *ex, const struct words *w);
} formats[] = {
    [TG_FORMAT_ZERO] = {"application/json", body_zero},
    [TG_FORMAT_PROBLEM] = {"application/problem+json", body_problem},
    [TG_FORMAT_OAUTH] = {"application/json", body_oauth},
    [TG_FORMAT_POMERIUM] = {"application/json", body_pomerium},
    [TG_FORMAT_ZEROPS] = {"application/json", body_zerops},
    [TG_FORMAT_ZITADEL] = {"application/json", body_zitadel},
};

/* ---- putting it together ---- */

static struct tg_slice lower(struct tg_arena *arena, const char *text)
{
    size_t len = strlen(text);
    char *out = tg_arena_raw(arena, len + 1);

    for (size_t i = 0; i < len; i++)
        out[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    return tg_slice(out, len);
}

/* The policy's own explanation and remediation, when the route shows them. */
static struct tg_slice details_of(struct tg_exchange *ex, const struct tg_refusal_row *r)
{
    int i = ex->verdict.policy;
    bool denied = ex->refusal == TG_REFUSE_DENIED || ex->refusal == TG_REFUSE_CERTIFICATE_MISSING ||
                  ex->refusal == TG_REFUSE_CERTIFICATE_INVALID;

    if (!denied || !ex->route->show_error_details || i < 0 || (size_t)i >= ex->route->policy_count)
        return tg_slice_str(r->details);
    const struct tg_policy_text *text = &ex->route->policy_texts[i];

    if (!text->explanation.len && !text->remediation.len)
        return tg_slice_str(r->details);
    return tg_arena_printf(&ex->arena, TG_S_FMT "%s" TG_S_FMT, TG_S_ARG(text->explanation),
                           text->explanation.len && text->remediation.len ? " " : "", TG_S_ARG(text->remediation));
}

static const char *oauth_error(const struct tg_refusal_row *r, unsigned status)
{
    const char *challenged = tg_challenge_error(r->challenge);

    if (challenged)
        return challenged;
    if (status == 401)
        return "unauthorized";
    if (status == 403)
        return "access_denied";
    if (status == 429)
        return "slow_down";
    if (status >= 500)
        return status == 503 ? "temporarily_unavailable" : "server_error";
    return "invalid_request";
}

void tg_answer(struct tg_exchange *ex, unsigned status, const struct tg_field *fields, size_t count,
               struct tg_slice body)
{
    struct tg_field common[TG_ANSWER_FIELDS], all[18 + TG_ANSWER_FIELDS];
    size_t common_count = tg_answer_fields(ex, NULL, common);
    struct tg_head head = {.fields = all, .field_cap = ARRAY_LEN(all), .status = status,
                           .framing = TG_BODY_LENGTH, .content_length = body.len};
    bool to_head = ex->head.method_id == TG_METHOD_HEAD;

    head.reason = tg_slice_str(tg_status_reason(status));
    tg_head_add(&head, TG_FIELD_DATE, TG_S("Date"), tg_gate_date(ex->gate));
    for (size_t i = 0; i < count; i++)
        tg_head_add(&head, fields[i].id, fields[i].name, fields[i].value);
    for (size_t i = 0; i < common_count; i++)
        tg_head_add(&head, common[i].id, common[i].name, common[i].value);
    ex->status = status;
    ex->head_sent = true;
    ex->client->head(ex, &head, true);
    if (!to_head)
        ex->client->data(ex, body);
    ex->client->end(ex, NULL);
}

static bool is_grpc(const struct tg_exchange *ex)
{
    static const struct tg_slice type = TG_S_INIT("application/grpc");
    struct tg_slice given = tg_head_value(&ex->head, TG_FIELD_CONTENT_TYPE);

    return given.len >= type.len && tg_slice_eq_nocase(tg_slice(given.ptr, type.len), type);
}

static size_t retry_field(struct tg_exchange *ex, unsigned status, struct tg_field *out)
{
    bool counted = status == 429 || ex->refusal == TG_REFUSE_NO_COUNTER;

    if (status != 429 && status != 503)
        return 0;
    *out = (struct tg_field){TG_S("Retry-After"),
                             number(&ex->arena, counted ? ex->charge.retry_after_s : RETRY_SOON_S),
                             TG_FIELD_RETRY_AFTER};
    return 1;
}

/* gRPC over HTTP: 200 with the status in a field, percent-encoded text (only what we or the configuration wrote). */
static void answer_grpc(struct tg_exchange *ex, unsigned status, struct tg_slice details)
{
    static const char hex[] = "0123456789ABCDEF";
    char *text = tg_arena_raw(&ex->arena, details.len * 3 + 1), *to = text;

    for (size_t i = 0; i < details.len; i++) {
        unsigned char c = (unsigned char)details.ptr[i];

        if (c >= 0x20 && c < 0x7f && c != '%') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    struct tg_field fields[4] = {
        {TG_S("Content-Type"), TG_S("application/grpc"), TG_FIELD_CONTENT_TYPE},
        {TG_S("grpc-status"), number(&ex->arena, grpc_code(status)), TG_FIELD_OTHER},
        {TG_S("grpc-message"), tg_slice(text, (size_t)(to - text)), TG_FIELD_OTHER},
    };

    tg_answer(ex, 200, fields, ARRAY_LEN(fields) - 1 + retry_field(ex, status, &fields[3]), TG_S(""));
}

static size_t refusal_fields(struct tg_exchange *ex, const struct tg_refusal_row *r, unsigned status, const char *type,
                             struct tg_field *out)
{
    size_t n = 0;

    out[n++] = (struct tg_field){TG_S("Content-Type"), tg_slice_str(type), TG_FIELD_CONTENT_TYPE};
    if (!ex->traced)                                     /* else tg_answer_fields says it */
        out[n++] = (struct tg_field){TG_S("Cache-Control"), TG_S("no-store"), TG_FIELD_CACHE_CONTROL};
    n += challenge_fields(ex, r, out + n);
    n += retry_field(ex, status, out + n);
    if (status == 415)                                   /* RFC 9110 §15.5.16 */
        out[n++] = (struct tg_field){TG_S("Accept-Encoding"), TG_S("identity"), TG_FIELD_OTHER};
    if (status == 405)
        out[n++] = (struct tg_field){TG_S("Allow"), tg_allowed_methods(ex), TG_FIELD_OTHER};
    if (ex->gate->service && ex->gate->service->refusal_fields)
        n += ex->gate->service->refusal_fields(ex->gate->service->arg, &ex->client_ip, &ex->arena, out + n);
    return n;
}

static const char *head_details(unsigned status)
{
    switch (status) {
    case 414: return "the request target is too long";
    case 431: return "the request head is too large";
    case 501: return "transfer coding not supported";
    case 505: return "HTTP version not supported";
    default: return "malformed request";
    }
}

static int error_format(const struct tg_exchange *ex)
{
    if (ex->gate->service)
        return ex->gate->service->error_format;
    if (ex->route)
        return ex->route->error_format;
    return ex->rt ? ex->rt->config->route_defaults.error_format : TG_FORMAT_ZERO;
}

enum tg_next tg_step_reply(struct tg_exchange *ex)
{
    const struct tg_refusal_row *r = &tg_refusals[ex->refusal];
    unsigned status = tg_refusal_status(ex);
    int format = error_format(ex);
    const char *title = tg_status_reason(status);
    struct tg_field fields[8 + TG_SERVICE_REFUSAL_FIELDS];
    struct tg_buf body = {0};
    struct words w = {.status = status, .title = title};

    tg_charge_refused(ex);
    if (r->close)
        ex->conn->close = true;
    w.message = lower(&ex->arena, title);
    w.details = ex->refusal == TG_REFUSE_HEAD ? tg_slice_str(head_details(status)) : details_of(ex, r);
    w.oauth_error = oauth_error(r, status);
    w.oauth_description = r->description ? r->description : r->details;
    ex->state = EX_LOG;
    if (is_grpc(ex)) {
        answer_grpc(ex, status, w.details);
        ex->status = status;
        return TG_NEXT_GO;
    }
    formats[format].write(&body, ex, &w);
    tg_buf_addc(&body, '\n');
    size_t n = refusal_fields(ex, r, status, formats[format].type, fields);
    tg_answer(ex, status, fields, n, tg_arena_dup(&ex->arena, tg_buf_slice(&body)));
    tg_buf_fini(&body);
    return TG_NEXT_GO;
}
