/*
 * test_explain_batch - one line out for each line in, whatever it is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "boot/commands.h"
#include "capture.h"

static const char *const batch[] = {"explain", "--batch", NULL};

#define ALLOW_A "\"ppl\":{\"allow\":{\"and\":[{\"email\":{\"is\":\"a@b\"}}]}}"
#define OPEN "\"ppl\":{\"allow\":{\"and\":[{\"accept\":true}]}}"
#define TOOL "\"ppl\":{\"allow\":{\"and\":[{\"mcp_tool\":\"read\"}]}}"
#define A "\"claims\":{\"sub\":\"1\",\"email\":\"a@b\"}"

static const struct {
    const char *why, *line, *want;                       /* how the answer begins */
    const char *error;                                   /* part of it; NULL: any */
} cases[] = {
    {"allowed", "{" ALLOW_A ",\"request\":{" A "}}",
     "{\"decision\":\"allow\",\"status\":200,\"reasons\":[\"email-ok\"],\"error\":null}", NULL},
    {"denied", "{" ALLOW_A ",\"request\":{\"claims\":{\"sub\":\"1\",\"email\":\"x@b\"}}}",
     "{\"decision\":\"deny\",\"status\":403,\"reasons\":[\"email-unauthorized\"],\"error\":null}", NULL},
    {"nobody", "{" ALLOW_A ",\"request\":{\"claims\":null}}",
     "{\"decision\":\"unauthenticated\",\"status\":401,\"reasons\":[\"user-unauthenticated\"],\"error\":null}", NULL},
    {"no claims is nobody", "{" ALLOW_A ",\"request\":{}}", "{\"decision\":\"unauthenticated\"", NULL},
    {"an identity without sub is one", "{" ALLOW_A ",\"request\":{\"claims\":{}}}", "{\"decision\":\"deny\"", NULL},
    {"no rules deny", "{\"ppl\":[],\"request\":{}}", "{\"decision\":\"deny\",\"status\":403,\"reasons\":[]", NULL},
    {"as YAML", "{\"ppl_yaml\":\"allow:\\n  and: [{accept: true}]\\n\",\"request\":{}}", "{\"decision\":\"allow\"",
     NULL},
    {"YAML has places", "{\"ppl_yaml\":\"allow:\\n  and:\\n  - emial: x\\n\",\"request\":{}}",
     "{\"decision\":\"parse_error\",\"status\":null,\"reasons\":[]", "ppl_yaml:3:5"},
    {"YAML with a key twice", "{\"ppl_yaml\":\"allow: {}\\nallow: {}\\n\",\"request\":{}}",
     "{\"decision\":\"parse_error\"",
     NULL},
    {"several", "{\"policies\":[{\"allow\":{\"and\":[{\"accept\":true}]}},{\"deny\":{\"and\":[{\"http_method\":{\"is\":"
     "\"GET\"}}]}}],\"request\":{}}", "{\"decision\":\"deny\"", NULL},
    {"a route", "{\"route\":{\"allowed_domains\":[\"b\"]},\"request\":{" A "}}", "{\"decision\":\"allow\"", NULL},
    {"a public route", "{\"route\":{\"allow_public_unauthenticated_access\":true},\"request\":{}}",
     "{\"decision\":\"allow\"", NULL},
    {"a route with a typing error", "{\"route\":{\"allowed_domain\":[\"b\"]},\"request\":{}}",
     "{\"decision\":\"parse_error\"", "did you mean"},
    {"the path is decoded once", "{\"ppl\":{\"allow\":{\"and\":[{\"http_path\":{\"is\":\"/a b%20\"}}]}},\"request\":{"
     "\"path\":\"/x/../a%20b%2520\"}}", "{\"decision\":\"allow\"", NULL},
    {"the query is no path", "{\"ppl\":{\"allow\":{\"and\":[{\"http_path\":{\"is\":\"/a\"}}]}},\"request\":{\"path\":"
     "\"/a?x=/%2f\"}}", "{\"decision\":\"allow\"", NULL},
    {"a path with two readings", "{" OPEN ",\"request\":{\"path\":\"/a%2fb\"}}",
     "{\"decision\":\"deny\",\"status\":400,\"reasons\":[]", "%2F"},
    {"no path", "{" OPEN ",\"request\":{\"path\":\"\"}}", "{\"decision\":\"deny\",\"status\":400", NULL},
    {"a preflight", "{\"route\":{\"cors_allow_preflight\":true},\"request\":{\"method\":\"OPTIONS\",\"headers\":{"
     "\"origin\":\"https://a\",\"Access-Control-Request-Method\":[\"PUT\"]}}}", "{\"decision\":\"allow\"", NULL},
    {"an address", "{\"ppl\":{\"allow\":{\"and\":[{\"source_ip\":\"192.0.2.0/24\"}]}},\"request\":{\"source_ip\":"
     "\"192.0.2.9\"}}", "{\"decision\":\"allow\"", NULL},
    {"not JSON", "nonsense", "{\"decision\":\"parse_error\"", "expected"},
    {"YAML is no JSON", "{ppl: []}", "{\"decision\":\"parse_error\"", NULL},
    {"a list", "[]", "{\"decision\":\"parse_error\"", "one JSON object"},
    {"white space is no object", "  ", "{\"decision\":\"parse_error\"", NULL},
    {"a key twice", "{\"ppl\":[],\"ppl\":[],\"request\":{}}", "{\"decision\":\"parse_error\"", "twice"},
    {"a key twice, deep", "{\"ppl\":{\"allow\":{\"and\":[{\"email\":{\"is\":\"a\",\"is\":\"b\"}}]}},\"request\":{}}",
     "{\"decision\":\"parse_error\"", "twice"},
    {"an unknown member", "{" OPEN ",\"request\":{},\"polices\":[]}", "{\"decision\":\"parse_error\"",
     "did you mean \\\"policies\\\"?"},
    {"an unknown fact", "{" OPEN ",\"request\":{\"sourceip\":\"1.1.1.1\"}}", "{\"decision\":\"parse_error\"",
     "source_ip"},
    {"no policy", "{\"request\":{}}", "{\"decision\":\"parse_error\"", "is needed"},
    {"two policies", "{" OPEN ",\"policies\":[],\"request\":{}}", "{\"decision\":\"parse_error\"", "only one"},
    {"no request", "{" OPEN "}", "{\"decision\":\"parse_error\"", "request"},
    {"claims as text", "{" OPEN ",\"request\":{\"claims\":\"x\"}}", "{\"decision\":\"parse_error\"", "request.claims"},
    {"a bad address", "{" OPEN ",\"request\":{\"source_ip\":\"1.1\"}}", "{\"decision\":\"parse_error\"", "source_ip"},
    {"a bad time", "{" OPEN ",\"request\":{\"time\":\"now\"}}", "{\"decision\":\"parse_error\"", "RFC 3339"},
    {"a tool, in the content", "{" TOOL ",\"request\":{\"body\":{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools"
     "/call\","
     "\"params\":{\"name\":\"read\"}}}}", "{\"decision\":\"allow\",\"status\":200,\"reasons\":[\"mcp-tool-match\"]",
      NULL},
    {"as text", "{" TOOL ",\"request\":{\"body\":\"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"method\\\":\\\"tools/list\\\"}\"}}",
     "{\"decision\":\"deny\",\"status\":403,\"reasons\":[\"mcp-not-a-tool-call\"]", NULL},
    {"no content", "{" TOOL ",\"request\":{}}", "{\"decision\":\"deny\",\"status\":403,\"reasons\":[\"mcp-not-a-"
     "tool-call\"]",
     NULL},
    {"content that is no call", "{" TOOL ",\"request\":{\"body\":[1]}}", "{\"decision\":\"deny\",\"status\":400,"
     "\"reasons\":[]",
     NULL},
    {"content nobody asks for", "{" OPEN ",\"request\":{\"body\":[1]}}", "{\"decision\":\"allow\"", NULL},
    {"a bad header", "{" OPEN ",\"request\":{\"headers\":{\"a b\":\"c\"}}}", "{\"decision\":\"parse_error\"", "header"},
    {"a bad header value", "{" OPEN ",\"request\":{\"headers\":{\"a\":\"b\\r\\nc\"}}}",
     "{\"decision\":\"parse_error\"", NULL},
    {"a method of another kind", "{" OPEN ",\"request\":{\"method\":1}}", "{\"decision\":\"parse_error\"",
     "request.method"},
    {"an unknown criterion", "{\"ppl\":{\"allow\":{\"and\":[{\"emial\":1}]}},\"request\":{}}",
     "{\"decision\":\"parse_error\"", "did you mean"},
    {"a certificate nobody asked for", "{" OPEN ",\"request\":{\"client_cert\":{\"presented\":false}}}",
     "{\"decision\":\"allow\"", NULL},
    {"a certificate of another kind", "{" OPEN ",\"request\":{\"client_cert\":{\"presented\":1}}}",
     "{\"decision\":\"parse_error\"", "client_cert.presented"},
    {"a certificate that is none", "{" OPEN ",\"request\":{\"client_cert\":{\"presented\":true,\"pem\":\"x\"}}}",
     "{\"decision\":\"parse_error\"", "request.client_cert.pem: there is no certificate in this PEM text"},
    {"a broken certificate", "{" OPEN ",\"request\":{\"client_cert\":{\"presented\":true,\"pem\":\"-----BEGIN "
     "CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"}}}",
     "{\"decision\":\"parse_error\"", "request.client_cert.pem: malformed certificate"},
    {"a certificate that is not presented",
     "{" OPEN ",\"request\":{\"client_cert\":{\"presented\":false,\"pem\":\"x\"}}}",
     "{\"decision\":\"parse_error\"", "this certificate is not presented"},
};

static size_t count_lines(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void lines(void **state)
{
    struct captured c = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        capture(&c, tg_cmd_explain, batch, tg_slice_str(cases[i].line));
        if (c.code != 0 || strncmp(c.out, cases[i].want, strlen(cases[i].want)) != 0 || count_lines(c.out) != 1 ||
            (cases[i].error && !strstr(c.out, cases[i].error)))
            fail_msg("%s: %d %s", cases[i].why, c.code, c.out);
        captured_fini(&c);
    }
}

/* What the policy sees of a certificate, and of its validity, which are two things. */
static void certificates(void **state)
{
    static const struct {
        const char *ppl, *facts, *want;
    } table[] = {
        {"{\"client_certificate\":{\"san_dns\":\"orders.example.com\"}}",
         "\"presented\":true,\"ca_configured\":true,\"trusted\":true",
         "{\"decision\":\"allow\",\"status\":200,\"reasons\":[\"client-certificate-ok\"]"},
        {"{\"client_certificate\":{\"san_dns\":\"orders.example.com\"}}",
         "\"presented\":true,\"ca_configured\":true,\"trusted\":false",
         "{\"decision\":\"allow\",\"status\":200,\"reasons\":[\"client-certificate-ok\"]"},
        {"{\"client_certificate\":{\"san_dns\":\"payments.example.com\"}}",
         "\"presented\":true,\"ca_configured\":true,\"trusted\":true",
         "{\"decision\":\"deny\",\"status\":403,\"reasons\":[\"client-certificate-unauthorized\"]"},
        {"{\"invalid_client_certificate\":true}", "\"presented\":true,\"ca_configured\":true,\"trusted\":false",
         "{\"decision\":\"allow\",\"status\":200,\"reasons\":[\"invalid-client-certificate\"]"},
        {"{\"invalid_client_certificate\":true}", "\"presented\":true,\"ca_configured\":true,\"trusted\":true",
         "{\"decision\":\"deny\",\"status\":403,\"reasons\":[\"valid-client-certificate\"]"},
    };
    struct captured c = {0};
    struct tg_buf pem = {0};

    (void)state;
    assert_int_equal(tg_file_read(TG_VECTORS "/certificate.pem", 65536, &pem, NULL), TG_OK);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct tg_buf line = {0};

        tg_buf_addf(&line, "{\"ppl\":{\"allow\":{\"or\":[%s]}},\"request\":{\"client_cert\":{%s,\"pem\":",
                    table[i].ppl, table[i].facts);
        tg_json_add_string(&line, tg_buf_slice(&pem));
        tg_buf_adds(&line, "}}}");
        capture(&c, tg_cmd_explain, batch, tg_buf_slice(&line));
        if (strncmp(c.out, table[i].want, strlen(table[i].want)) != 0)
            fail_msg("%s %s: %s", table[i].ppl, table[i].facts, c.out);
        captured_fini(&c);
        tg_buf_fini(&line);
    }
    tg_buf_fini(&pem);
}

/* All at once give the same answers in order; empty lines give none, and the last needs no line end. */
static void together(void **state)
{
    struct captured c = {0}, one = {0};
    struct tg_buf in = {0};
    const char *rest;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        tg_buf_addf(&in, "%s%s", cases[i].line, i + 1 == ARRAY_LEN(cases) ? "" : i % 2 ? "\r\n" : "\n\n");
    capture(&c, tg_cmd_explain, batch, tg_buf_slice(&in));
    assert_int_equal(count_lines(c.out), ARRAY_LEN(cases));
    rest = c.out;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++, rest = strchr(rest, '\n') + 1)
        assert_int_equal(strncmp(rest, cases[i].want, strlen(cases[i].want)), 0);
    captured_fini(&c);
    captured_fini(&one);
    tg_buf_fini(&in);
}

/* Whatever is cut off or broken: one line of JSON, and never "allow" for half a line. */
static void every_part_of_a_line(void **state)
{
    static const char whole[] = "{" OPEN ",\"request\":{\"path\":\"/a\",\"headers\":{\"a\":\"b\"}," A "}}";
    struct captured c = {0};
    cJSON *answer;

    (void)state;
    for (size_t cut = 1; cut < sizeof whole - 1; cut++) {
        capture(&c, tg_cmd_explain, batch, tg_slice(whole, cut));
        assert_non_null(strstr(c.out, "parse_error"));
        captured_fini(&c);
    }
    for (size_t at = 0; at + 1 < sizeof whole; at++) {
        char changed[sizeof whole];

        memcpy(changed, whole, sizeof whole);
        changed[at] = (char)(changed[at] ^ (at % 2 ? 0x80 : 0x01));
        if (changed[at] == '\n')
            continue;
        capture(&c, tg_cmd_explain, batch, tg_slice(changed, sizeof whole - 1));
        assert_int_equal(count_lines(c.out), 1);
        assert_int_equal(tg_json_parse(tg_slice(c.out, strlen(c.out)), NULL, &answer, NULL), TG_OK);
        cJSON_Delete(answer);
        captured_fini(&c);
    }
}

static void a_line_too_long(void **state)
{
    struct captured c = {0};
    struct tg_buf in = {0};

    (void)state;
    tg_buf_adds(&in, "{" OPEN ",\"request\":{\"path\":\"/");
    for (size_t i = 0; i < (5u << 20); i++)
        tg_buf_addc(&in, 'a');
    tg_buf_adds(&in, "\"}}\n{" OPEN ",\"request\":{}}\n");
    capture(&c, tg_cmd_explain, batch, tg_buf_slice(&in));
    assert_int_equal(count_lines(c.out), 2);
    assert_non_null(strstr(c.out, "parse_error"));
    assert_non_null(strstr(c.out, "\n{\"decision\":\"allow\""));
    captured_fini(&c);
    tg_buf_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines), cmocka_unit_test(certificates), cmocka_unit_test(together),
        cmocka_unit_test(every_part_of_a_line), cmocka_unit_test(a_line_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
