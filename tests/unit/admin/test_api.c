/*
 * api - which endpoint, who may, what is refused and in which shape; what it costs whom. On a store of its own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../../../proxy/admin/dispatch.h"
#include "base/clock.h"
#include "base/log.h"

#define NOW_MS INT64_C(1770892210500)                    /* 10.5 s into a minute */
#define V0 "/api/v0/organizations"
#define V1 "/api/v1/policies"

static struct api api;
static struct api_limits *limits;
static char folder[] = "/tmp/test-api-XXXXXX";
static struct tg_buf tokens[4];                          /* by role */

static void make_user(enum tg_role role)
{
    struct tg_api_user_order order = {.name = tg_slice_str(tg_role_name(role)), .role = role, .now_s = NOW_MS / 1000,
                                      .expires_s = INT64_MAX};
    char id[37];

    tg_buf_adds(&tokens[role], "Bearer ");
    assert_int_equal(tg_api_user_create(api.db, &order, &tokens[role], id, NULL), TG_OK);
}

static int up(void **state)
{
    static const struct tg_operators nobody;
    struct tg_catalogue_settings catalogue = {.organization_id = TG_S("org"), .organization_name = TG_S("Org"),
                                              .rules = &api.settings.rules};
    struct tg_managers_settings managers = {.url = TG_S("http://127.0.0.1:9091"), .operators = &nobody,
                                            .id_token_ms = 3600000, .accept_bare_token = true};
    struct tg_buf path = {0};
    struct tg_err err;

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    tg_clock_set_wall_ms(NOW_MS);
    api.state_dir = folder;
    managers.state_dir = folder;
    tg_buf_addf(&path, "%s/tollgate.db", folder);
    assert_int_equal(tg_db_open(tg_buf_cstr(&path), &api.db, &err), TG_OK);
    tg_buf_fini(&path);
    assert_int_equal(tg_audit_prepare(api.db, &err), TG_OK);
    assert_int_equal(tg_catalogue_open(api.db, &catalogue, NOW_MS * 1000, &api.catalogue, &err), TG_OK);
    assert_int_equal(tg_managers_open(api.db, &managers, &api.managers, &err), TG_OK);
    for (enum tg_role role = TG_ROLE_AUDITOR; role <= TG_ROLE_OWNER; role++)
        make_user(role);
    return 0;
}

static int down(void **state)
{
    struct tg_buf command = {0};

    (void)state;
    tg_managers_free(api.managers);
    tg_catalogue_free(api.catalogue);
    tg_db_close(api.db);
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        tg_buf_fini(&tokens[i]);
    tg_buf_addf(&command, "rm -r %s", folder);
    int rc = system(tg_buf_cstr(&command));
    tg_buf_fini(&command);
    return rc;
}

/* ---- one request ---- */

struct got {
    unsigned status;
    char body[8192];
    char fields[1024];                                   /* "Name: value\n" each */
    char allow[64];
};

static struct api_call call_of(unsigned method, const char *path)
{
    struct api_call call = {.method_id = method, .client_ip = TG_S("192.0.2.1"), .request_id = TG_S("r1")};
    char *query = strchr(path, '?');

    call.path = query ? tg_slice(path, (size_t)(query - path)) : tg_slice_str(path);
    call.query = tg_slice_str(query ? query + 1 : NULL);
    tg_ip_parse(call.client_ip, &call.ip);
    return call;
}

static struct got send_call(const struct api_call *call, bool busy)
{
    struct tg_arena arena;
    struct api_reply reply = {0};
    struct got got = {0};
    size_t n = 0;

    tg_arena_init(&arena, NULL, 0);
    api_dispatch(&api, limits, call, busy, &arena, &reply);
    got.status = reply.status;
    snprintf(got.body, sizeof(got.body), TG_S_FMT, TG_S_ARG(tg_buf_slice(&reply.body)));
    snprintf(got.allow, sizeof(got.allow), TG_S_FMT, TG_S_ARG(reply.allow));
    for (size_t i = 0; i < reply.field_count; i++)
        n += (size_t)snprintf(got.fields + n, sizeof(got.fields) - n, TG_S_FMT ": " TG_S_FMT "\n",
                              TG_S_ARG(reply.fields[i].name), TG_S_ARG(reply.fields[i].value));
    tg_buf_fini(&reply.body);
    tg_arena_fini(&arena);
    return got;
}

static struct got ask(unsigned method, const char *path, const char *authorization)
{
    struct api_call call = call_of(method, path);

    if (authorization)
        call.authorization[call.authorization_count++] = tg_slice_str(authorization);
    return send_call(&call, false);
}

static int fresh(void **state)
{
    (void)state;
    api_limits_free(limits);
    limits = api_limits_new();
    api_limits_bind(limits, 1000, 100);
    return 0;
}

static const char *token(enum tg_role role)
{
    return tg_buf_cstr(&tokens[role]);
}

/* ---- refusals ---- */

static void paths_and_methods(void **state)
{
    static const struct {
        const char *path;
        unsigned method, status;
        const char *body, *allow;
    } cases[] = {
        {"/", TG_METHOD_GET, 404,
         "{\"code\":404,\"message\":\"not found\",\"details\":\"there is no such path\"}\n", ""},
        {"/api/v0", TG_METHOD_GET, 404, "{\"error\":\"there is no such path\"}\n", ""},
        {"/api/v0/x", TG_METHOD_GET, 404, "{\"error\":\"there is no such path\"}\n", ""},
        {"/api/v00", TG_METHOD_GET, 404, NULL, ""},
        {"/api/v9/x", TG_METHOD_POST, 404, NULL, ""},
        {"/api/v1/auth/login", TG_METHOD_POST, 404, NULL, ""},
        {"/api/v1/policies/", TG_METHOD_GET, 404, NULL, ""},
        {"/api/v1/policies/a/b", TG_METHOD_GET, 404, NULL, ""},
        {"/API/v1/policies", TG_METHOD_GET, 404, NULL, ""},
        {"*", TG_METHOD_OPTIONS, 404, NULL, ""},
        {"/api/v1/health", TG_METHOD_POST, 405, "{\"code\":405,\"message\":\"method not allowed\"}\n", "GET, HEAD"},
        {"/api/v0/token", TG_METHOD_GET, 405, "{\"error\":\"method not allowed\"}\n", "POST"},
        {"/api/v1/policies", TG_METHOD_PATCH, 405, NULL, "GET, HEAD, POST"},
        {"/api/v1/policies/a", TG_METHOD_PATCH, 405, NULL, "GET, HEAD, PUT, DELETE"},
        {"/api/v1/policies/a", TG_METHOD_OTHER, 405, NULL, "GET, HEAD, PUT, DELETE"},
        {"/api/v1/health?a=%", TG_METHOD_GET, 400, NULL, ""},
        {"/api/v1/health?a=b", TG_METHOD_GET, 200, NULL, ""},
        {"/api/v1/health", TG_METHOD_HEAD, 200, NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct got got = ask(cases[i].method, cases[i].path, NULL);

        if (got.status != cases[i].status || (cases[i].body && strcmp(got.body, cases[i].body) != 0) ||
            strcmp(got.allow, cases[i].allow) != 0)
            fail_msg("%s: %u %s %s", cases[i].path, got.status, got.body, got.allow);
        assert_non_null(strstr(got.fields, "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: "));
        assert_non_null(strstr(got.fields, "X-RateLimit-Reset: 1770892260\n"));
        assert_null(strstr(got.fields, "WWW-Authenticate"));
    }
}

#define REALM "WWW-Authenticate: Bearer realm=\"tollgate-management\""
#define BAD_TOKEN REALM ", error=\"invalid_token\", error_description=\"The access token is invalid\"\n"
#define JWT "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"

static void credentials(void **state)
{
    static const struct {
        const char *why, *given;
        unsigned status;
        const char *challenge;
    } cases[] = {
        {"none", NULL, 401, REALM "\n"},
        {"another scheme", "Basic YTpi", 401, REALM "\n"},
        {"junk", "Bearer junk", 401, BAD_TOKEN},
        {"nearly a token", "Bearer tga_0000000000000000000000000000000000000000000000000", 401, BAD_TOKEN},
        {"a token of somebody else's", "Bearer " JWT, 401, BAD_TOKEN},
        {"the same, bare", JWT, 401, BAD_TOKEN},
        {"an empty one", "Bearer", 400, REALM ", error=\"invalid_request\""},
        {"two words", "Bearer a b", 400, REALM ", error=\"invalid_request\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct got v1 = ask(TG_METHOD_GET, V1, cases[i].given), v0 = ask(TG_METHOD_GET, V0, cases[i].given);
        char start[40];

        snprintf(start, sizeof(start), "{\"code\":%u,\"message\":", cases[i].status);
        if (v1.status != cases[i].status || v0.status != cases[i].status || !strstr(v1.fields, cases[i].challenge))
            fail_msg("%s: %u %s", cases[i].why, v1.status, v1.fields);
        assert_non_null(strstr(v0.fields, cases[i].challenge));
        assert_int_equal(strncmp(v1.body, start, strlen(start)), 0);
        assert_int_equal(strncmp(v0.body, "{\"error\":\"", 10), 0);
        assert_null(strstr(v1.body, "junk"));
    }
    struct api_call twice = call_of(TG_METHOD_GET, V1);

    twice.authorization[0] = twice.authorization[1] = tg_slice_str(token(TG_ROLE_OWNER));
    twice.authorization_count = 2;
    assert_int_equal(send_call(&twice, false).status, 400);
}

static void roles(void **state)
{
    static const struct {
        unsigned method;
        const char *path;
        unsigned by_role[4];                             /* auditor, member, admin, owner */
    } cases[] = {
        {TG_METHOD_GET, V0, {200, 200, 200, 200}},
        {TG_METHOD_GET, V1, {200, 200, 200, 200}},
        {TG_METHOD_HEAD, V1, {200, 200, 200, 200}},
        {TG_METHOD_GET, "/api/v1/audit-logs", {200, 403, 200, 200}},
        {TG_METHOD_GET, "/api/v1/tokens", {200, 403, 200, 200}},
        {TG_METHOD_POST, V1, {403, 403, 415, 415}},
        {TG_METHOD_PUT, V1 "/x", {403, 403, 415, 415}},
        {TG_METHOD_POST, "/api/v0/organizations/org/policies", {403, 403, 415, 415}},
        {TG_METHOD_POST, "/api/v0/organizations/org/routes", {403, 403, 415, 415}},
        {TG_METHOD_POST, "/api/v1/tokens", {403, 403, 415, 415}},
        {TG_METHOD_POST, "/api/v1/webhooks", {403, 403, 415, 415}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (enum tg_role role = TG_ROLE_AUDITOR; role <= TG_ROLE_OWNER; role++) {
            struct got got = ask(cases[i].method, cases[i].path, token(role));

            if (got.status != cases[i].by_role[role])
                fail_msg("%s %s as %s: %u %s", tg_method_name(cases[i].method), cases[i].path, tg_role_name(role),
                         got.status, got.body);
            assert_non_null(strstr(got.fields, "X-RateLimit-Limit: 1000\n"));
            if (got.status == 403)
                assert_non_null(strstr(got.fields, cases[i].method == TG_METHOD_GET
                                                       ? "error=\"insufficient_scope\", scope=\"auditor\"\n"
                                                       : "error=\"insufficient_scope\", scope=\"admin\"\n"));
        }
    }
}

static void bodies(void **state)
{
    static const struct {
        const char *why, *type, *coding, *body;
        bool large;
        unsigned status;
        const char *says;
    } cases[] = {
        {"no type", NULL, NULL, "{}", false, 415, "Content-Type: application/json"},
        {"another", "text/plain", NULL, "{}", false, 415, NULL},
        {"one that begins alike", "application/json5", NULL, "{}", false, 415, NULL},
        {"in another case, with a parameter", "Application/JSON ; charset=utf-8", NULL, "{", false, 400,
         "not JSON: 1:"},
        {"a coding", "application/json", "gzip", "{}", false, 415, "Content-Encoding"},
        {"none of a coding", "application/json", "identity", "[]", false, 400, "must be a JSON object"},
        {"too large", "application/json", NULL, "", true, 413, "1 MiB"},
        {"of another type and too large", "text/plain", NULL, "", true, 415, NULL},
        {"nothing", "application/json", NULL, "", false, 400, "not JSON"},
        {"a list", "application/json", NULL, "[]", false, 400, "must be a JSON object"},
        {"a name twice", "application/json", NULL, "{\"a\":1,\"a\":2}", false, 400, "not JSON: 1:"},
        {"two texts", "application/json", NULL, "{}{}", false, 400, "not JSON: 1:"},
        {"no UTF-8", "application/json", NULL, "{\"a\":\"\xff\"}", false, 400, "not JSON: 1:"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int v = 0; v < 2; v++) {
            struct api_call call = call_of(TG_METHOD_POST, v ? V1 : "/api/v0/organizations/org/policies");
            struct got got;

            call.authorization[call.authorization_count++] = tg_slice_str(token(TG_ROLE_ADMIN));
            call.content_type = tg_slice_str(cases[i].type);
            call.content_encoding = tg_slice_str(cases[i].coding);
            call.body = tg_slice_str(cases[i].body);
            call.body_too_large = cases[i].large;
            got = send_call(&call, false);
            if (got.status != cases[i].status || (cases[i].says && !strstr(got.body, cases[i].says)))
                fail_msg("%s: %u %s", cases[i].why, got.status, got.body);
            assert_int_equal(got.status == 415, strstr(got.fields, "Accept: application/json\n") != NULL);
        }
    }
}

/* A body is worth reading only when nothing else refuses the request already. */
static void wants(void **state)
{
    static const struct {
        const char *why, *path, *authorization, *type;
        unsigned method;
        bool wants;
    } cases[] = {
        {"all there", V1, "Bearer x", "application/json", TG_METHOD_POST, true},
        {"no such path", "/api/v1/x", "Bearer x", "application/json", TG_METHOD_POST, false},
        {"no such method", V1, "Bearer x", "application/json", TG_METHOD_PATCH, false},
        {"no credential", V1, NULL, "application/json", TG_METHOD_POST, false},
        {"no type", V1, "Bearer x", NULL, TG_METHOD_POST, false},
        {"a malformed query", V1 "?%", "Bearer x", "application/json", TG_METHOD_POST, false},
        {"nobody needs a credential", "/api/v0/token", NULL, "application/json", TG_METHOD_POST, true},
        {"a body that means nothing", V1, "Bearer x", NULL, TG_METHOD_GET, true},
        {"nor for what is signed", "/api/v1/hooks/revocations", NULL, "application/json", TG_METHOD_POST, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_call call = call_of(cases[i].method, cases[i].path);

        if (cases[i].authorization)
            call.authorization[call.authorization_count++] = tg_slice_str(cases[i].authorization);
        call.content_type = tg_slice_str(cases[i].type);
        if (api_wants_body(&call) != cases[i].wants)
            fail_msg("%s", cases[i].why);
    }
}

/* ---- what it costs ---- */

static void address_pays_for_strangers(void **state)
{
    struct got got;

    (void)state;
    for (int i = 0; i < 100; i++) {
        got = ask(TG_METHOD_GET, i % 2 ? V1 : V0, i % 3 ? NULL : "Bearer junk");
        assert_int_equal(got.status, 401);
    }
    assert_non_null(strstr(got.fields, "X-RateLimit-Remaining: 0\n"));
    got = ask(TG_METHOD_GET, V1, NULL);
    assert_int_equal(got.status, 429);
    assert_non_null(strstr(got.fields, "Retry-After: 50\n"));
    assert_null(strstr(got.fields, "WWW-Authenticate"));
    assert_int_equal(strncmp(got.body, "{\"code\":429,\"message\":\"too many requests\"", 41), 0);
    assert_int_equal(ask(TG_METHOD_GET, V1, "Bearer junk").status, 429);
    assert_int_equal(ask(TG_METHOD_GET, V1, "Bearer " JWT).status, 429);
    assert_int_equal(ask(TG_METHOD_GET, "/api/v1/health", NULL).status, 429);
    assert_int_equal(ask(TG_METHOD_GET, "/api/v1/nothing", NULL).status, 404);
    /* an opaque token is not looked up any more, good or not; a neighbour is not concerned */
    assert_int_equal(ask(TG_METHOD_GET, V1, token(TG_ROLE_OWNER)).status, 429);
    struct api_call other = call_of(TG_METHOD_GET, V1);
    tg_ip_parse(TG_S("192.0.2.2"), &other.ip);
    assert_int_equal(send_call(&other, false).status, 401);
    tg_clock_set_wall_ms(NOW_MS + 50000);
    assert_int_equal(ask(TG_METHOD_GET, V1, NULL).status, 401);
    tg_clock_set_wall_ms(NOW_MS);
}

static void callers_pay_for_themselves(void **state)
{
    struct got got;

    (void)state;
    api_limits_bind(limits, 5, 1);
    for (int i = 0; i < 5; i++) {
        got = ask(TG_METHOD_GET, i % 2 ? V1 : V0, token(TG_ROLE_OWNER));
        assert_int_equal(got.status, 200);
    }
    assert_non_null(strstr(got.fields, "X-RateLimit-Limit: 5\nX-RateLimit-Remaining: 0\n"));
    got = ask(TG_METHOD_GET, V0, token(TG_ROLE_OWNER));
    assert_int_equal(got.status, 429);
    assert_int_equal(strncmp(got.body, "{\"error\":\"too many requests", 27), 0);
    assert_int_equal(ask(TG_METHOD_GET, V1, token(TG_ROLE_ADMIN)).status, 200);
    assert_int_equal(ask(TG_METHOD_GET, V1, NULL).status, 401); /* the address has paid for none of them */
}

/* IPv6 by /64. */
static void addresses(void **state)
{
    static const char *const one[] = {"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"};
    struct api_quota q;
    struct tg_ip ip = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(tg_ip_parse(tg_slice_str(one[i]), &ip));
        api_limit_address(limits, &ip, NOW_MS, false, &q);
        assert_int_equal(q.remaining, 99 - i);
    }
    tg_ip_parse(TG_S("2001:db8:0:1::1"), &ip);
    api_limit_address(limits, &ip, NOW_MS, false, &q);
    assert_int_equal(q.remaining, 99);
    api_limit_address(limits, &ip, NOW_MS, true, &q);
    assert_int_equal(q.remaining, 99);
    api_limit_address(limits, &(struct tg_ip){0}, NOW_MS, false, &q);
    assert_int_equal(q.remaining, 99);
}

static void busy(void **state)
{
    struct api_call call = call_of(TG_METHOD_GET, V1);
    struct got got = send_call(&call, true);

    (void)state;
    assert_int_equal(got.status, 503);
    assert_non_null(strstr(got.fields, "Retry-After: "));
    assert_non_null(strstr(got.fields, "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: 100\n"));
    assert_string_equal(got.body, "{\"code\":503,\"message\":\"service unavailable\",\"details\":"
                                  "\"the store cannot be used at the moment\"}\n");
}

/* ---- what is said of failures ---- */

static void failures(void **state)
{
    static const struct {
        enum tg_status st;
        const char *text;
        unsigned status;
        const char *v0;
    } cases[] = {
        {TG_BAD_INPUT, "ppl.allow: x", 400, "{\"error\":\"ppl.allow: x\"}\n"},
        {TG_NOT_FOUND, "no such policy", 404, "{\"error\":\"no such policy\"}\n"},
        {TG_LIMIT, "there is one", 409, "{\"error\":\"there is one\"}\n"},
        {TG_EXPIRED, "", 412, "{\"error\":\"precondition failed\"}\n"},
        {TG_DENIED, "no \"you\"", 403, "{\"error\":\"no \\\"you\\\"\"}\n"},
        {TG_UNAVAILABLE, "/s/tollgate.db: locked", 503, "{\"error\":\"the store cannot be used at the moment\"}\n"},
        {TG_BAD_INPUT, "/s/tollgate.db: damaged", 503, "{\"error\":\"the store cannot be used at the moment\"}\n"},
        {TG_BAD_INPUT, "tollgate.db: is no member", 400, "{\"error\":\"tollgate.db: is no member\"}\n"},
        {TG_IO, "secret", 500, "{\"error\":\"internal server error\"}\n"},
    };

    (void)state;
    tg_log_set_level(TG_LOG_OFF);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api_answer out = {.state_dir = "/s"};
        struct tg_err err = {.status = cases[i].st};

        snprintf(err.text, sizeof(err.text), "%s", cases[i].text);
        tg_buf_adds(&out.body, "half an answer");
        api_fail_of(&out, API_V0, cases[i].st, &err);
        assert_int_equal(out.status, cases[i].status);
        assert_string_equal(tg_buf_cstr(&out.body), cases[i].v0);
        tg_buf_fini(&out.body);
    }
    tg_log_set_level(TG_LOG_ERROR);
}

#define TEST(name) cmocka_unit_test_setup(name, fresh)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_and_methods), TEST(credentials), TEST(roles), TEST(bodies), TEST(wants),
        TEST(address_pays_for_strangers), TEST(callers_pay_for_themselves), TEST(addresses), TEST(busy), TEST(failures),
    };
    int rc;

    tg_log_set_level(TG_LOG_ERROR);
    rc = cmocka_run_group_tests(tests, up, down);
    api_limits_free(limits);
    return rc;
}
