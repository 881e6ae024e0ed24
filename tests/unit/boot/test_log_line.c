/*
 * test_log_line - a line of the access log read back: what it says is known, and nothing else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "../../../proxy/boot/log_line.h"
#include <stdio.h>
#include <unistd.h>

#define FACT(f) TG_FACT_BIT(TG_FACT_##f)
#define BEGIN "{\"ts\":\"2026-11-22T05:20:03.088Z\",\"request_id\":\"r1\",\"client_ip\":\"192.0.2.7\",\"method" \
              "\":\"GET\"," \
              "\"host\":\"orders.test:8443\",\"path\":\"/api/%C3%A9/x\",\"proto\":\"HTTP/1.1\","
#define WHO "\"provider\":\"corp\",\"issuer\":\"https://idp.test\",\"sub\":\"u1\","
#define ALLOWED "\"status\":200,\"decision\":\"allow\",\"reasons\":[\"email-ok\",\"http-method-ok\"]"
#define FACTS ",\"facts\":{\"email\":\"a@x\",\"claims\":{\"plan.tier\":[\"pro\",5,null],\"groups\":null}}"
#define CERT "\"tls_version\":\"TLSv1.3\",\"client_cert_fingerprint\":\"ab12\",\"client_cert_subject\":\"CN=a\"," \
             "\"client_cert\":\"invalid: certificate has expired\","

static enum tg_status read_line(const char *text, struct log_line *l, struct tg_err *err)
{
    return log_line_read(tg_slice_str(text), l, err);
}

static void whole(void **state)
{
    struct log_line l;
    struct tg_err err;
    const struct tg_claim *claim;

    (void)state;
    if (read_line("2026 {app=x, env={}} pod/a  " BEGIN WHO ALLOWED ",\"tier\":\"free\",\"limit\":10,\"remaining\":9,"
                  "\"limit_key\":\"claim\",\"window\":\"free-1s\",\"counter\":\"local\","
                  "\"shadow_limited\":[\"free-1m\",\"free-1h\"],"
                  "\"policy_set\":\"0011223344556677\",\"key_set\":\"8899\",\"route\":\"api\",\"shadow\":{\"decision\":"
                  "\"deny\",\"reasons\":[\"groups-unauthorized\"],\"policy\":\"strict\"}" FACTS "}", &l, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_true(tg_slice_eq(l.request_id, TG_S("r1")) && tg_slice_eq(l.route, TG_S("api")));
    assert_true(tg_slice_eq(l.request.host, TG_S("orders.test")) && l.request.port == 8443);
    assert_true(tg_slice_eq(l.facts.path, TG_S("/api/\xc3\xa9/x")));
    assert_true(l.facts.source_ip.family == 4 && l.facts.wall_ms % 1000 == 88);
    assert_true(l.judged && l.has_facts && l.status == 200 && l.limit == 10 && l.remaining == 9);
    assert_true(tg_slice_eq(l.limit_key, TG_S("claim")) && tg_slice_eq(l.window, TG_S("free-1s")));
    assert_true(tg_slice_eq(l.counter, TG_S("local")) && cJSON_GetArraySize(l.shadow_limited) == 2);
    assert_true(l.reasons == (TG_REASON_BIT(TG_REASON_EMAIL_OK) | TG_REASON_BIT(TG_REASON_HTTP_METHOD_OK)));
    assert_true(l.shadow_reasons == TG_REASON_BIT(TG_REASON_GROUPS_UNAUTHORIZED));
    assert_true(tg_slice_eq(l.shadow_policy, TG_S("strict")) && tg_slice_eq(l.policy_set, TG_S("0011223344556677")));
    assert_true(l.facts.identity && tg_slice_eq(l.facts.user, TG_S("u1")) && tg_slice_eq(l.facts.email, TG_S("a@x")));
    assert_true(tg_fact_set_has_claim(&l.known, TG_S("plan.tier")) && tg_fact_set_has_claim(&l.known, TG_S("groups")));
    assert_false(tg_fact_set_has_claim(&l.known, TG_S("plan")));
    claim = tg_claims_get(l.facts.claims, TG_S("plan.tier"), tg_hash_slice(TG_S("plan.tier")));
    assert_true(claim && claim->count == 3 && tg_slice_eq(claim->values[0].str, TG_S("pro")));
    assert_null(tg_claims_get(l.facts.claims, TG_S("groups"), tg_hash_slice(TG_S("groups"))));
    log_line_fini(&l);
}

/* Which facts each line gives. */
static const struct {
    const char *why, *line;
    unsigned known, unknown;
    const char *claims;                                  /* known ones, joined by blanks */
    bool judged;
} cases[] = {
    {"nobody", BEGIN ALLOWED ",\"facts\":{}}",
     FACT(METHOD) | FACT(PATH) | FACT(SOURCE_IP) | FACT(TIME) | FACT(USER) | FACT(EMAIL) | FACT(GROUPS) |
         FACT(PREFLIGHT) | FACT(CLIENT_CERT) | FACT(CERT_DNS) | FACT(CERT_FINGERPRINT),
     FACT(MCP_TOOL), "", true},
    {"facts off", BEGIN WHO ALLOWED "}", FACT(USER) | FACT(PREFLIGHT), FACT(EMAIL) | FACT(GROUPS), "iss sub", true},
    {"an empty e-mail is known", BEGIN WHO ALLOWED ",\"facts\":{\"email\":\"\"}}", FACT(EMAIL), FACT(GROUPS),
     "iss sub", true},
    {"groups", BEGIN WHO ALLOWED ",\"facts\":{\"claims\":{\"groups\":[\"a\"]}}}", FACT(GROUPS), FACT(EMAIL),
     "groups iss sub", true},
    {"groups of another name", BEGIN WHO ALLOWED ",\"facts\":{\"groups_claim\":\"teams\",\"claims\":{\"groups\":"
     "null}}}",
     0, FACT(GROUPS), "groups iss sub", true},
    {"and that is there", BEGIN WHO ALLOWED ",\"facts\":{\"groups_claim\":\"teams\",\"claims\":{\"teams\":[]}}}",
     FACT(GROUPS), 0, "iss sub teams", true},
    {"its name is omitted", BEGIN WHO ALLOWED ",\"facts\":{\"claims\":{\"groups\":[]},\"omitted\":[\"groups_claim\"]}}",
     0, FACT(GROUPS), "groups iss sub", true},
    {"what is no list is not known", BEGIN WHO ALLOWED ",\"facts\":{\"claims\":{\"a\":1,\"b\":{\"c\":[1]}}}}", 0,
     FACT(GROUPS), "iss sub", true},
    {"a claim `sub` of its own", BEGIN WHO ALLOWED ",\"facts\":{\"claims\":{\"sub\":[\"u1\"]}}}", 0, 0, "iss sub",
     true},
    {"OPTIONS without facts may be a preflight",
     "{\"ts\":\"2026-11-22T05:20:03Z\",\"method\":\"OPTIONS\"," ALLOWED "}", FACT(METHOD), FACT(PREFLIGHT) | FACT(PATH),
     "", true},
    {"OPTIONS with them is told", "{\"ts\":\"2026-11-22T05:20:03Z\",\"method\":\"OPTIONS\"," ALLOWED ",\"facts\":{}}",
     FACT(PREFLIGHT), 0, "", true},
    {"a tool", BEGIN ALLOWED ",\"facts\":{\"tool\":\"read\"}}", FACT(MCP_TOOL), 0, "", true},
    {"no tool", BEGIN ALLOWED ",\"facts\":{\"tool\":null}}", FACT(MCP_TOOL), 0, "", true},
    {"a certificate without facts", BEGIN CERT ALLOWED "}", FACT(CERT_FINGERPRINT) | FACT(CLIENT_CERT),
     FACT(CERT_SUBJECT) | FACT(CERT_SPKI) | FACT(CERT_EMAILS) | FACT(CERT_DNS) | FACT(CERT_URIS), "", true},
    {"some of it", BEGIN CERT ALLOWED ",\"facts\":{\"certificate\":{\"dns\":[],\"spki\":\"x\"}}}",
     FACT(CERT_FINGERPRINT) | FACT(CERT_DNS) | FACT(CERT_SPKI), FACT(CERT_EMAILS) | FACT(CERT_SUBJECT), "", true},
    {"no head", "{\"ts\":\"2026-11-22T05:20:03Z\",\"status\":400,\"decision\":\"none\",\"reasons\":[]}", FACT(TIME),
     FACT(METHOD) | FACT(PATH), "", false},
    {"refused before a policy", BEGIN "\"status\":401,\"decision\":\"unauthenticated\",\"reasons\":[],\"token_re"
     "fused\":"
     "\"expired\",\"refused\":\"token-expired\"}", 0, 0, "", false},
    {"refused by one", BEGIN "\"status\":401,\"decision\":\"unauthenticated\",\"reasons\":[\"user-unauthenticated\"],"
     "\"refused\":\"no-token\"}", 0, 0, "", true},
    {"counted out", BEGIN "\"status\":429,\"decision\":\"limit\",\"reasons\":[],\"refused\":\"rate-limited\"}", 0,
     0, "",
     false},
};

static void what_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_buf claims = {0};
        struct log_line l;
        struct tg_err err;

        if (read_line(cases[i].line, &l, &err) != TG_OK)
            fail_msg("%s: %s", cases[i].why, err.text);
        for (size_t k = 0; k < l.known.claim_count; k++)
            tg_buf_addf(&claims, "%s" TG_S_FMT, k ? " " : "", TG_S_ARG(l.known.claims[k]));
        if ((l.known.facts & cases[i].known) != cases[i].known || (l.known.facts & cases[i].unknown) ||
            strcmp(tg_buf_cstr(&claims), cases[i].claims) != 0 || l.judged != cases[i].judged)
            fail_msg("%s: facts %x, claims %s, judged %d", cases[i].why, l.known.facts, tg_buf_cstr(&claims), l.judged);
        assert_ptr_equal(l.facts.known, &l.known);
        tg_buf_fini(&claims);
        log_line_fini(&l);
    }
}

static void of_a_certificate(void **state)
{
    struct log_line l;

    (void)state;
    assert_int_equal(read_line(BEGIN CERT ALLOWED ",\"facts\":{\"certificate\":{\"dns\":[\"a.test\",\"b.test\"]}}}", &l,
                               NULL), TG_OK);
    assert_int_equal(l.facts.client_cert, TG_CLIENT_CERT_INVALID);
    assert_string_equal(l.facts.certificate->fingerprint, "ab12");
    assert_int_equal(l.facts.certificate->dns.count, 2);
    assert_true(tg_slice_eq(l.facts.certificate->subject, TG_S("CN=a")));
    assert_true(l.tls && l.request.port == 8443);
    log_line_fini(&l);
    assert_int_equal(read_line("{\"ts\":\"2026-11-22T05:20:03Z\",\"tls_version\":\"TLSv1.3\",\"host\":\"a.test"
     "\",\"path\":\"/\","
                               ALLOWED "}", &l, NULL), TG_OK);
    assert_int_equal(l.request.port, 443);               /* as the gate reads a Host without one */
    log_line_fini(&l);
}

static void not_of_the_log(void **state)
{
    static const char *const lines[] = {
        "", "nothing", "{", "[]", "{}", "null",
        "{\"time\":\"2026-11-22T05:20:00.770Z\",\"level\":\"warn\",\"message\":\"configuration\"}",
        "{\"ts\":\"x\"," ALLOWED "}",
        "{\"ts\":\"2026-11-22T05:20:03Z\",\"status\":\"200\",\"decision\":\"allow\"}",
        "{\"ts\":\"2026-11-22T05:20:03Z\",\"status\":1e9,\"decision\":\"allow\"}",
        "{\"ts\":\"2026-11-22T05:20:03Z\",\"path\":\"/a%zz\"," ALLOWED "}",
        "{\"ts\":\"2026-11-22T05:20:03Z\",\"client_ip\":\"localhost\"," ALLOWED "}",
        BEGIN ALLOWED, BEGIN ALLOWED "} and more", BEGIN ALLOWED ",\"status\":200}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct log_line l;

        if (read_line(lines[i], &l, NULL) != TG_BAD_INPUT)
            fail_msg("taken: %s", lines[i]);
        log_line_fini(&l);
    }
    struct log_line zeroed = {0};

    log_line_fini(&zeroed);
}

/* ---- lines of a file ---- */

struct seen {
    struct tg_buf text;
    unsigned long last, stop_at;
};

static bool note(void *arg, unsigned long number, struct tg_slice text)
{
    struct seen *s = arg;

    assert_int_equal(number, ++s->last);
    if (!text.ptr)
        tg_buf_adds(&s->text, "(long)");
    else if (text.len > 100)
        tg_buf_addf(&s->text, "%zu bytes", text.len);
    else
        tg_buf_add_slice(&s->text, text);
    tg_buf_addc(&s->text, '|');
    return number != s->stop_at;
}

static void lines_of(const char *content, size_t len, unsigned long stop_at, const char *want)
{
    char path[] = "/tmp/tollgate-lines-XXXXXX";
    struct seen s = {.stop_at = stop_at};
    int fd = mkstemp(path);

    assert_true(fd >= 0 && write(fd, content, len) == (ssize_t)len);
    close(fd);
    assert_int_equal(log_lines(path, note, &s, NULL), TG_OK);
    assert_string_equal(tg_buf_cstr(&s.text), want);
    unlink(path);
    tg_buf_fini(&s.text);
}

static void lines(void **state)
{
    size_t len = 3 << 20;
    char *big = tg_alloc(len);
    struct tg_err err;

    (void)state;
    lines_of("", 0, 0, "");
    lines_of("a\nb\r\n\nc", 7, 0, "a|b||c|");
    lines_of("a\nb\nc\n", 6, 2, "a|b|");
    memset(big, 'x', len);
    big[100000] = '\n';                                  /* over several blocks */
    big[100001 + (1 << 20)] = '\n';                      /* as long as may be */
    big[len - 3] = '\n';                                 /* longer; and the end is a line again */
    lines_of(big, len, 0, "100000 bytes|1048576 bytes|(long)|xx|");
    memset(big, 'x', len);
    lines_of(big, len, 0, "(long)|");
    free(big);
    assert_int_equal(log_lines("/nowhere/at/all", note, NULL, &err), TG_IO);
    assert_non_null(strstr(err.text, "/nowhere/at/all: No such file"));
}

static void compressed(void **state)
{
    char path[] = "/tmp/tollgate-lines-XXXXXX";
    struct tg_err err;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0 && write(fd, "\x1f\x8b\x08", 3) == 3);
    close(fd);
    assert_int_equal(log_lines(path, note, NULL, &err), TG_UNSUPPORTED);
    assert_non_null(strstr(err.text, "zcat"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(what_is_known),
        cmocka_unit_test(of_a_certificate),
        cmocka_unit_test(not_of_the_log),
        cmocka_unit_test(lines),
        cmocka_unit_test(compressed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
