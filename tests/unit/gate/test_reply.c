/*
 * reply - the answers tollgate makes itself: body of every format, status, challenge and fields of every refusal.
 *
 * Each refusal is answered to a client that only writes down what it is told; some are asked for over a connection too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "bench.h"

static const char yaml[] =
    "policies:\n"
    "  - {name: staff, ppl: {allow: {and: [{user: {is: boss}}]}}, explanation: \"only \\\"staff\\\"\\n\", remediation: "
    "ask}\n"
    "  - {name: silent, ppl: {allow: {and: [{user: {is: boss}}]}}}\n"
    "routes:\n"
    "  - {name: zero, prefix: /plain, to: 'echo:', error_format: zero, policies: [staff]}\n"
    "  - {name: problem, prefix: /problem, to: 'echo:', error_format: problem, policies: [staff]}\n"
    "  - {name: oauth, prefix: /oauth, to: 'echo:', error_format: oauth, policies: [staff]}\n"
    "  - {name: pomerium, prefix: /pomerium, to: 'echo:', error_format: pomerium, policies: [staff]}\n"
    "  - {name: zerops, prefix: /zerops, to: 'echo:', error_format: zerops, policies: [staff]}\n"
    "  - {name: zitadel, prefix: /zitadel, to: 'echo:', error_format: zitadel, policies: [staff]}\n"
    "  - {name: shown, prefix: /shown, to: 'echo:', show_error_details: true, policies: [staff]}\n"
    "  - {name: mute, prefix: /mute, to: 'echo:', show_error_details: true, policies: [silent]}\n"
    "  - {name: away, prefix: /away, to: 'echo:', allow_any_authenticated_user: true}\n";
enum { ROUTE_SHOWN = TG_FORMAT_ZITADEL + 1, ROUTE_MUTE, ROUTE_NONE };

static struct tg_signer *signer;
static struct bench bench;

static int up(void **state)
{
    (void)state;
    bench_up(&bench, bench_config(signer, yaml), NULL, NULL);
    return 0;
}

static int down(void **state)
{
    (void)state;
    bench_down(&bench);
    return 0;
}

/* ---- one refusal, said to a client that writes it down ---- */

struct trial {
    struct tg_conn conn;                                 /* first: how the client finds the trial */
    const char *request;                                 /* NULL: its head was refused */
    unsigned route;
    enum tg_refusal why;
    unsigned head_status;
    bool unbound;                                        /* before there is a configuration */
    unsigned heads, ends;
    struct answer got;
    size_t body_len;
    uint64_t said_length;
};

static void note_head(struct tg_exchange *ex, const struct tg_head *head, bool has_length)
{
    struct trial *t = (struct trial *)ex->conn;
    struct tg_buf text = {0};

    t->heads++;
    t->got.status = head->status;
    t->said_length = has_length && head->framing == TG_BODY_LENGTH ? head->content_length : UINT64_MAX;
    tg_buf_adds(&text, "\r\n");
    for (unsigned i = 0; i < head->field_count; i++)
        tg_buf_addf(&text, TG_S_FMT ": " TG_S_FMT "\r\n", TG_S_ARG(head->fields[i].name),
                    TG_S_ARG(head->fields[i].value));
    snprintf(t->got.head, sizeof(t->got.head), "%s", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

static void note_data(struct tg_exchange *ex, struct tg_slice data)
{
    struct trial *t = (struct trial *)ex->conn;

    if (t->body_len + data.len < sizeof(t->got.body) && data.len > 0)
        memcpy(t->got.body + t->body_len, data.ptr, data.len);
    t->body_len += data.len;
}

static void note_end(struct tg_exchange *ex, const struct tg_head *trailers)
{
    (void)trailers;
    ((struct trial *)ex->conn)->ends++;
}

static void run_trial(struct tg_worker *w, void *arg)
{
    static const struct tg_client_ops ops = {.head = note_head, .data = note_data, .end = note_end};
    static const struct tg_window windows[] = {
        {.name = TG_S_INIT("free-1s"), .limit = 5, .length_s = 1, .shadow = true},
        {.name = TG_S_INIT("free-1m"), .limit = 5, .length_s = 60},
        {.name = TG_S_INIT("free-1h"), .limit = 9, .length_s = 3600},
    };
    static const struct tg_tier tier = {.name = TG_S_INIT("free"), .windows = windows, .window_count = 3};
    struct trial *t = arg;
    struct tg_gate *gate = bench.gate;
    struct tg_runtime *rt = gate->runtime;
    struct tg_h1_limits limits = {65536, 16384, 64};
    struct tg_field fields[64];
    struct tg_head head = {.fields = fields, .field_cap = ARRAY_LEN(fields)};
    struct tg_slice in = tg_slice_str(t->request);
    size_t scanned = 0, used = 0;
    unsigned refusal;
    struct tg_exchange *ex;

    (void)w;
    if (t->request)
        tg_assert(tg_h1_parse_request(in, &limits, &scanned, &head, &used, &refusal, NULL) == TG_OK);
    t->conn.gate = gate;
    if (t->unbound)
        gate->runtime = NULL;
    ex = tg_exchange_new(&t->conn, &ops, t->request ? &head : NULL, in);
    gate->runtime = rt;
    ex->request_id = TG_S("rid-1");
    ex->refusal_status = t->head_status;
    ex->credential.what = "Said of the credential";
    if (t->route < ROUTE_NONE && !t->unbound)
        ex->route = tg_routes_at(bench.config->routes, t->route);
    if (!t->unbound) {
        ex->charged = true;
        ex->charge = (struct tg_charge){.tier = &tier, .admitted = t->why != TG_REFUSE_LIMIT, .count = 3, .telling = 1,
                                        .limit = 5, .reset_s = BENCH_NOW_S + 60,
                                        .retry_after_s = t->why == TG_REFUSE_NO_COUNTER ? 5 : 60,
                                        .at_ms = (int64_t)BENCH_NOW_S * 1000};
        ex->limit_ask.wall_ms = ex->charge.at_ms - 1;    /* it was asked for before it was decided */
        for (size_t i = 0; i < 3; i++)
            ex->charge.windows[i] = (struct tg_charge_window){&windows[i], windows[i].limit, 0, i < 2,
                                                              (BENCH_NOW_S + windows[i].length_s) * 1000};
    }
    if (t->why == TG_REFUSE_DENIED)
        ex->verdict.policy = 0;
    tg_exchange_refuse(ex, t->why);
    tg_exchange_run(ex);
}

static void try_it(struct trial *t)
{
    tg_worker_call(bench.worker, run_trial, t);
}

static cJSON *json_of(const char *text)
{
    cJSON *root = NULL;

    return tg_json_parse(tg_slice_str(text), NULL, &root, NULL) == TG_OK ? root : NULL;
}

/* ---- every refusal, by the contract ---- */

static const char bare[] = "Bearer realm=\"tollgate\"";
static const char request_error[] =
    "Bearer realm=\"tollgate\", error=\"invalid_request\", error_description=\"Said of the credential\"";
static const char expired[] =
    "Bearer realm=\"tollgate\", error=\"invalid_token\", error_description=\"The access token expired\"";
static const char invalid[] =
    "Bearer realm=\"tollgate\", error=\"invalid_token\", error_description=\"The access token is invalid\"";

static const struct {
    const char *why;
    enum tg_refusal refusal;
    unsigned head_status, status;
    const char *challenge;                               /* NULL: none */
    bool close;
    int grpc;                                            /* google.rpc.Code; -1: it has no head to know a caller by */
} refusals[] = {
    {"framing", TG_REFUSE_HEAD, 400, 400, NULL, true, -1},
    {"framing, whose status nobody said", TG_REFUSE_HEAD, 0, 400, NULL, true, -1},
    {"target too long", TG_REFUSE_HEAD, 414, 414, NULL, true, -1},
    {"head too large", TG_REFUSE_HEAD, 431, 431, NULL, true, -1},
    {"another transfer coding", TG_REFUSE_HEAD, 501, 501, NULL, true, -1},
    {"another version", TG_REFUSE_HEAD, 505, 505, NULL, true, -1},
    {"head too slow", TG_REFUSE_SLOW_HEAD, 0, 408, NULL, true, -1},
    {"a path with two readings", TG_REFUSE_PATH, 0, 400, NULL, false, 3},
    {"body too slow", TG_REFUSE_SLOW_BODY, 0, 408, NULL, true, 4},
    {"body framing", TG_REFUSE_BODY_FRAMING, 0, 400, NULL, true, 3},
    {"body too large", TG_REFUSE_BODY_SIZE, 0, 413, NULL, true, 8},
    {"content nobody can judge", TG_REFUSE_CONTENT_CODING, 0, 415, NULL, false, 3},
    {"a call with two readings", TG_REFUSE_MALFORMED_CALL, 0, 400, NULL, false, 3},
    {"TRACE and CONNECT", TG_REFUSE_METHOD, 0, 405, NULL, true, 12},
    {"no route: 404, whoever asks", TG_REFUSE_NO_ROUTE, 0, 404, NULL, false, 5},
    {"RFC 6750 §3.1 invalid_request is 400", TG_REFUSE_CREDENTIAL, 0, 400, request_error, true, 3},
    {"RFC 6750 §3.1 no credential, no error code", TG_REFUSE_NO_TOKEN, 0, 401, bare, false, 16},
    {"expired is the one reason that is told", TG_REFUSE_EXPIRED, 0, 401, expired, false, 16},
    {"one wording for all else", TG_REFUSE_INVALID, 0, 401, invalid, false, 16},
    {"the limit", TG_REFUSE_LIMIT, 0, 429, NULL, false, 8},
    {"no counter", TG_REFUSE_NO_COUNTER, 0, 503, NULL, false, 14},
    {"RFC 9110 does not ask for a challenge at 403", TG_REFUSE_DENIED, 0, 403, NULL, false, 7},
    {"websocket", TG_REFUSE_WEBSOCKET, 0, 403, NULL, false, 7},
    {"no keys: never 401, a client would throw its token away", TG_REFUSE_NO_KEYS, 0, 503, NULL, false, 14},
    {"not ready", TG_REFUSE_NOT_READY, 0, 503, NULL, true, 14},
    {"upstream broken", TG_REFUSE_UPSTREAM, 0, 502, NULL, false, 14},
    {"upstream slow", TG_REFUSE_UPSTREAM_SLOW, 0, 504, NULL, false, 4},
};

static void expect_common_fields(const char *why, const struct trial *t, bool limits)
{
    const struct answer *a = &t->got;

    CHECK(why, t->heads == 1 && t->ends == 1);
    CHECK(why, answer_says(a, "X-Request-Id", "rid-1"));
    CHECK(why, answer_field(a, "Date") && strlen(answer_field(a, "Date")) == 29);
    CHECK(why, answer_says(a, "X-RateLimit-Limit", "5") == limits);
    CHECK(why, answer_says(a, "X-RateLimit-Remaining", "0") == limits);
    CHECK(why, answer_says(a, "X-RateLimit-Reset", "1767225660") == limits);
}

static void every_refusal_in_every_format(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        for (unsigned format = TG_FORMAT_ZERO; format <= TG_FORMAT_ZITADEL; format++) {
            struct trial t = {.route = format, .why = refusals[i].refusal, .head_status = refusals[i].head_status,
                              .request = refusals[i].grpc < 0 ? NULL : GET("/x", "")};
            const char *why = refusals[i].why, *type = format == TG_FORMAT_PROBLEM ? "application/problem+json"
                                                                                    : "application/json";
            const struct answer *a = &t.got;
            const char *challenge;
            cJSON *root;
            int64_t code;

            try_it(&t);
            CHECK(why, a->status == refusals[i].status);
            CHECK(why, t.conn.close == refusals[i].close);
            expect_common_fields(why, &t, true);
            challenge = answer_field(a, "WWW-Authenticate");
            CHECK(why, refusals[i].challenge ? challenge && strcmp(challenge, refusals[i].challenge) == 0 : !challenge);
            CHECK(why, answer_says(a, "Content-Type", type));
            CHECK(why, answer_says(a, "Cache-Control", "no-store"));
            CHECK(why, (a->status == 405) == (answer_field(a, "Allow") != NULL));
            CHECK(why, (a->status == 415) == answer_says(a, "Accept-Encoding", "identity"));
            CHECK(why, (a->status == 429) == answer_says(a, "Retry-After", "60"));
            CHECK(why, a->status != 429 ||
                           answer_says(a, "RateLimit", "\"free-1m\";r=0;t=60, \"free-1h\";r=0;t=3600"));
            CHECK(why, (a->status == 503) == answer_says(a, "Retry-After", "5"));
            CHECK(why, t.said_length == t.body_len && t.body_len == strlen(a->body));
            CHECK(why, a->body[t.body_len - 1] == '\n' && strchr(a->body, '\n') == &a->body[t.body_len - 1]);
            root = json_of(a->body);                     /* strict: no member twice */
            CHECK(why, cJSON_IsObject(root));
            if (format == TG_FORMAT_ZERO || format == TG_FORMAT_PROBLEM)
                CHECK(why, tg_json_int(tg_json_get(root, "code"), &code) && code == (int64_t)a->status);
            if (format == TG_FORMAT_ZITADEL && refusals[i].grpc >= 0)
                CHECK(why, tg_json_int(tg_json_get(root, "code"), &code) && code == refusals[i].grpc);
            cJSON_Delete(root);
        }
    }
}

/* HEAD gets what GET would, without the body (RFC 9110 §9.3.2). */
static void head_gets_the_length_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        struct trial get = {.why = refusals[i].refusal, .request = GET("/x", "")};
        struct trial head = {.why = refusals[i].refusal, .request = "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"};

        try_it(&get);
        try_it(&head);
        CHECK(refusals[i].why, head.body_len == 0 && head.said_length == get.said_length && get.said_length > 0);
        CHECK(refusals[i].why, head.got.status == get.got.status && strcmp(head.got.head, get.got.head) == 0);
    }
}

/* A gRPC caller looks at grpc-status only, which comes with HTTP's 200 (Trailers-Only). */
static void grpc_callers_get_a_grpc_status(void **state)
{
    static const char *const types[] = {"application/grpc", "application/grpc+proto"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        for (unsigned format = 0; refusals[i].grpc >= 0 && format <= TG_FORMAT_ZITADEL; format++) {
            char request[128], code[16];
            struct trial t = {.route = format, .why = refusals[i].refusal, .request = request};
            const char *why = refusals[i].why;

            snprintf(request, sizeof(request), "POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n\r\n",
                     types[format % 2]);
            snprintf(code, sizeof(code), "%d", refusals[i].grpc);
            try_it(&t);
            CHECK(why, t.got.status == 200 && t.body_len == 0 && t.said_length == 0);
            CHECK(why, answer_says(&t.got, "Content-Type", "application/grpc"));
            CHECK(why, answer_says(&t.got, "grpc-status", code));
            CHECK(why, answer_field(&t.got, "grpc-message") && *answer_field(&t.got, "grpc-message"));
            CHECK(why, !answer_field(&t.got, "WWW-Authenticate"));
            CHECK(why, t.conn.close == refusals[i].close);
            expect_common_fields(why, &t, true);
        }
    }
}

/* ---- bodies, octet for octet ---- */

#define PROBLEM(type, title, status, message, details, more) \
    "{\"type\":\"" type "\",\"title\":\"" title "\",\"status\":" status ",\"detail\":\"" details \
    "\",\"instance\":\"urn:request:rid-1\"" more ",\"code\":" status ",\"message\":\"" message "\",\"details\":\"" \
    details "\"}\n"
#define QUOTA "https://iana.org/assignments/http-problem-types#quota-exceeded"
#define NO_KEYS "tokens cannot be verified at the moment"

static const struct {
    enum tg_refusal refusal;
    const char *body[TG_FORMAT_ZITADEL + 1];
} bodies[] = {
    {TG_REFUSE_NO_TOKEN,
     {"{\"code\":401,\"message\":\"unauthorized\",\"details\":\"authentication required\"}\n",
      PROBLEM("about:blank", "Unauthorized", "401", "unauthorized", "authentication required", ""),
      "{\"error\":\"unauthorized\",\"error_description\":\"authentication required\"}\n",
      "{\"error\":\"Unauthenticated\",\"request_id\":\"rid-1\"}\n",
      "{\"error\":{\"code\":\"unauthorized\",\"message\":\"authorization is required\"}}\n",
      "{\"code\":16,\"message\":\"authentication required\",\"details\":[]}\n"}},
    {TG_REFUSE_INVALID,
     {"{\"code\":401,\"message\":\"unauthorized\",\"details\":\"invalid token\"}\n",
      PROBLEM("about:blank", "Unauthorized", "401", "unauthorized", "invalid token", ""),
      "{\"error\":\"invalid_token\",\"error_description\":\"The access token is invalid\"}\n",
      "{\"error\":\"Unauthenticated\",\"request_id\":\"rid-1\"}\n",
      "{\"error\":{\"code\":\"unauthorized\",\"message\":\"authorization is required\"}}\n",
      "{\"code\":16,\"message\":\"invalid token\",\"details\":[]}\n"}},
    {TG_REFUSE_EXPIRED,
     {"{\"code\":401,\"message\":\"unauthorized\",\"details\":\"token expired\"}\n",
      PROBLEM("about:blank", "Unauthorized", "401", "unauthorized", "token expired", ""),
      "{\"error\":\"invalid_token\",\"error_description\":\"The access token expired\"}\n",
      "{\"error\":\"Unauthenticated\",\"request_id\":\"rid-1\"}\n",
      "{\"error\":{\"code\":\"unauthorized\",\"message\":\"authorization is required\"}}\n",
      "{\"code\":16,\"message\":\"token expired\",\"details\":[]}\n"}},
    {TG_REFUSE_DENIED,                                   /* the explanation is not shown by these routes */
     {"{\"code\":403,\"message\":\"forbidden\",\"details\":\"access denied by policy\"}\n",
      PROBLEM("about:blank", "Forbidden", "403", "forbidden", "access denied by policy", ""),
      "{\"error\":\"access_denied\",\"error_description\":\"access denied by policy\"}\n",
      "{\"error\":\"Forbidden\",\"request_id\":\"rid-1\"}\n",
      "{\"error\":{\"code\":\"forbidden\",\"message\":\"access denied by policy\"}}\n",
      "{\"code\":7,\"message\":\"access denied by policy\",\"details\":[]}\n"}},
    {TG_REFUSE_LIMIT,
     {"{\"code\":429,\"message\":\"too many requests\",\"details\":\"rate limit exceeded\"}\n",
      PROBLEM(QUOTA, "Too Many Requests", "429", "too many requests", "rate limit exceeded",
              ",\"violated-policies\":[\"free-1m\"]"),
      "{\"error\":\"slow_down\",\"error_description\":\"rate limit exceeded\"}\n",
      "{\"error\":\"Too Many Requests\",\"request_id\":\"rid-1\"}\n",
      "{\"error\":{\"code\":\"too_many_requests\",\"message\":\"rate limit exceeded\"}}\n",
      "{\"code\":8,\"message\":\"rate limit exceeded\",\"details\":[]}\n"}},
    {TG_REFUSE_NO_KEYS,
     {"{\"code\":503,\"message\":\"service unavailable\",\"details\":\"" NO_KEYS "\"}\n",
      PROBLEM("about:blank", "Service Unavailable", "503", "service unavailable", NO_KEYS, ""),
      "{\"error\":\"temporarily_unavailable\",\"error_description\":\"" NO_KEYS "\"}\n",
      "{\"error\":\"Service Unavailable\",\"request_id\":\"rid-1\"}\n",
      "{\"error\":{\"code\":\"service_unavailable\",\"message\":\"" NO_KEYS "\"}}\n",
      "{\"code\":14,\"message\":\"" NO_KEYS "\",\"details\":[]}\n"}},
};

static void bodies_are_as_promised(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        for (unsigned format = 0; format <= TG_FORMAT_ZITADEL; format++) {
            struct trial t = {.route = format, .why = bodies[i].refusal, .request = GET("/x", "")};

            try_it(&t);
            assert_string_equal(t.got.body, bodies[i].body[format]);
        }
    }
}

static void explanations_are_shown_where_the_route_says_so(void **state)
{
    static const struct {
        const char *why;
        unsigned route;
        enum tg_refusal refusal;
        const char *details;
    } cases[] = {
        {"shown, and escaped", ROUTE_SHOWN, TG_REFUSE_DENIED, "only \"staff\"\n ask"},
        {"not shown", TG_FORMAT_ZERO, TG_REFUSE_DENIED, "access denied by policy"},
        {"the policy has none", ROUTE_MUTE, TG_REFUSE_DENIED, "access denied by policy"},
        {"only a denial is the policy's", ROUTE_SHOWN, TG_REFUSE_NO_TOKEN, "authentication required"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trial t = {.route = cases[i].route, .why = cases[i].refusal, .request = GET("/x", "")};
        struct tg_slice details = {0};
        cJSON *root;

        try_it(&t);
        root = json_of(t.got.body);
        CHECK(cases[i].why, tg_json_str(tg_json_get(root, "details"), &details));
        CHECK(cases[i].why, tg_slice_eq(details, tg_slice_str(cases[i].details)));
        cJSON_Delete(root);
    }
}

/* ---- without a route, without a configuration, another realm ---- */

static void without_a_route_the_general_format_holds(void **state)
{
    (void)state;
    for (unsigned format = 0; format <= TG_FORMAT_ZITADEL; format++) {
        struct trial t = {.route = ROUTE_NONE, .why = TG_REFUSE_INVALID, .request = GET("/x", "")};

        bench.config->route_defaults.error_format = (int)format; /* nothing runs meanwhile */
        try_it(&t);
        assert_string_equal(t.got.body, bodies[1].body[format]);
    }
}

static void before_a_configuration_is_bound(void **state)
{
    struct trial t = {.why = TG_REFUSE_NOT_READY, .request = GET("/x", ""), .unbound = true};

    (void)state;
    try_it(&t);
    assert_int_equal(t.got.status, 503);
    expect_common_fields("unbound", &t, false);
    assert_string_equal(t.got.body, "{\"code\":503,\"message\":\"service unavailable\",\"details\":\"not ready\"}\n");
}

static void realm_is_the_configured_one(void **state)
{
    struct trial t = {.why = TG_REFUSE_NO_TOKEN, .request = GET("/x", "")};

    (void)state;
    bench.config->realm = TG_S("Orders & co");
    try_it(&t);
    assert_true(answer_says(&t.got, "WWW-Authenticate", "Bearer realm=\"Orders & co\""));
}

/* ---- over a connection: what was sent is never echoed ---- */

#define SECRET "s3cr3t"

static const struct {
    const char *why, *request;
    unsigned status;
} echoes[] = {
    {"no value", GET("/plain", "Authorization: Bearer\r\n"), 400},
    {"no b64token", GET("/plain", BEARER(SECRET "\"<script>")), 400},
    {"a quote and a backslash", GET("/plain", BEARER("\"" SECRET "\\")), 400},
    {"two fields", GET("/plain", BEARER(SECRET) BEARER(SECRET)), 400},
    {"in the query too", GET("/plain?access_token=" SECRET, BEARER(SECRET)), 400},
    {"no JWT", GET("/plain", BEARER(SECRET)), 401},
    {"another scheme is no credential here", GET("/plain", "Authorization: Basic " SECRET "\r\n"), 401},
    {"a bare token neither", GET("/plain", "Authorization: " SECRET "\r\n"), 401},
    {"no route", GET("/" SECRET, ""), 404},
    {"a path with two readings", GET("/plain/%2f" SECRET, ""), 400},
    {"a malformed field", GET("/plain", "X y: " SECRET "\r\n"), 400},
    {"a method", "TRACE /" SECRET " HTTP/1.1\r\nHost: a\r\n\r\n", 405},
    {"a host", "GET /" SECRET " HTTP/1.1\r\nHost: " SECRET "\r\n\r\n", 404},
    {"keys of the provider are not there", GET("/away", BEARER("$AWAY")), 503},
};

static void nothing_of_the_request_is_echoed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(echoes); i++) {
        const char *why = echoes[i].why, *challenge, *description;
        char *request = bench_fill(signer, echoes[i].request);
        struct answer a;

        CHECK(why, bench_ask(&bench, request, &a));
        free(request);
        CHECK(why, a.status == echoes[i].status);
        CHECK(why, !strstr(a.head, SECRET) && !strstr(a.body, SECRET));
        challenge = answer_field(&a, "WWW-Authenticate");
        CHECK(why, a.status != 401 || challenge);        /* RFC 9110 §15.5.2 */
        description = challenge ? strstr(challenge, "error_description=\"") : NULL;
        if (description)                                 /* RFC 6750 §3: a quoted string without escapes */
            CHECK(why, strcspn(description + 19, "\"\\") == strlen(description + 19) - 1);
    }
}

/* What was wrong with a token, beyond its end, nobody is told: in this format not even that it was there. */
static void one_body_for_every_401_of_zerops(void **state)
{
    static const char *const fields[] = {"X: y\r\n", BEARER("junk"), BEARER("$FORGED"), BEARER("$EXPIRED")};
    char first[256] = "";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        char text[256];
        struct answer a;
        char *request;

        snprintf(text, sizeof(text), GET("/zerops", "%s"), fields[i]);
        request = bench_fill(signer, text);
        assert_true(bench_ask(&bench, request, &a));
        free(request);
        assert_int_equal(a.status, 401);
        if (!first[0])
            snprintf(first, sizeof(first), "%.255s", a.body);
        assert_string_equal(a.body, first);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_refusal_in_every_format),
        TEST(head_gets_the_length_only),
        TEST(grpc_callers_get_a_grpc_status),
        TEST(bodies_are_as_promised),
        TEST(explanations_are_shown_where_the_route_says_so),
        TEST(without_a_route_the_general_format_holds),
        TEST(before_a_configuration_is_bound),
        TEST(realm_is_the_configured_one),
        TEST(nothing_of_the_request_is_echoed),
        TEST(one_body_for_every_401_of_zerops),
    };
    int failed;

    signer = issuer_key(TG_ALG_ES256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    tg_signer_free(signer);
    return failed;
}
