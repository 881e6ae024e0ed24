/*
 * test_policy_test - policies judged by cases: what passes, what fails, what is told of it and of mistakes in files.
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
#include <sys/stat.h>
#include <unistd.h>

#define PATH 128
static struct {
    char dir[32];
    struct captured c;
    char names[16][PATH];
    size_t count;
} bench;

static int setup(void **state)
{
    (void)state;
    memset(&bench, 0, sizeof bench);
    snprintf(bench.dir, sizeof bench.dir, "/tmp/tollgate-test-XXXXXX");
    return mkdtemp(bench.dir) ? 0 : -1;
}

static void clear(void)
{
    while (bench.count > 0)
        unlink(bench.names[--bench.count]);
}

static int teardown(void **state)
{
    (void)state;
    clear();
    captured_fini(&bench.c);
    return rmdir(bench.dir);
}

static const char *put(const char *name, const char *text)
{
    struct tg_buf whole = {0};
    char *path;

    assert_true(bench.count < ARRAY_LEN(bench.names));
    path = bench.names[bench.count++];
    tg_buf_addf(&whole, "%s/%s", bench.dir, name);
    assert_true(whole.len < PATH);
    memcpy(path, tg_buf_cstr(&whole), whole.len + 1);
    tg_buf_fini(&whole);
    assert_int_equal(tg_file_replace(path, tg_slice_str(text), 0600, NULL), TG_OK);
    return path;
}

static void run(const char *const *more)
{
    const char *argv[16] = {"test"};
    size_t n = 1;

    for (; *more && n < 15; more++)
        argv[n++] = *more;
    capture(&bench.c, tg_cmd_test, argv, TG_S(""));
}

static void run_on(const char *path, const char *option)
{
    const char *const argv[] = {path, option, NULL};

    run(argv);
}

#define HAS(text, part) \
    do { \
        if (!strstr(text, part)) \
            fail_msg("%s:%d: no \"%s\" in: %s", __FILE__, __LINE__, part, text); \
    } while (0)

#define STAFF "allow: {and: [{domain: {is: example.com}}]}\n"
#define ALICE "{claims: {sub: u1, email: alice@example.com}}"
#define BOB "{claims: {sub: u2, email: bob@example.org}}"

/* ---- cases and their outcome ---- */

static const struct {
    const char *why, *policy, *cases;
    int code;
    const char *out[3];                                  /* parts of standard output */
} outcomes[] = {
    {"all as expected", STAFF, "- {name: in, request: " ALICE ", expect: allow}\n- {request: " BOB ", expect: deny}\n",
     0, {"ok: 1 policy, 2 cases passed, 0 failed\n"}},
    {"an item with texts", "explanation: no\nppl: {allow: {and: [{accept: true}]}}\n",
     "- {request: {}, expect: allow, reasons: [accept]}\n", 0, {"1 case passed"}},
    {"a policy in shadow mode is judged as if it were not", "mode: shadow\nppl: {deny: {and: [{accept: true}]}}\n",
     "- {request: {}, expect: deny, reasons: [accept]}\n", 0, {"1 case passed"}},
    {"another verdict", STAFF, "- {name: in, request: " ALICE ", expect: deny}\n", 1,
     {"p.test.yaml:1:3: in: failed\n    expected  deny\n    came      allow because of domain-ok\n",
      "request   GET / from 192.0.2.10, user u1, email alice@example.com\n", "alice@example.com"}},
    {"the trace of it", STAFF, "- {name: in, request: " ALICE ", expect: deny}\n", 1,
     {"allow", "domain {\"is\":\"example.com\"}", "saw example.com"}},
    {"other reasons", STAFF, "- {request: " BOB ", expect: deny, reasons: [user-unauthenticated]}\n", 1,
     {"case 1: failed\n    expected  deny because of user-unauthenticated\n    came      deny because of "
      "domain-unauthorized\n"}},
    {"reasons are the whole set", "allow: {and: [{authenticated_user: true}, {http_method: GET}]}\n",
     "- {request: " ALICE ", expect: allow, reasons: [user-ok]}\n", 1,
     {"came      allow because of user-ok, http-method"}},
    {"no reasons are a set too", "deny: {and: [{reject: true}]}\n", "- {request: {}, expect: deny, reasons: []}\n", 0,
     {"1 case passed"}},
    {"nobody", STAFF,
     "- {request: {claims: null}, expect: unauthenticated}\n- {request: {}, expect: unauthenticated}\n", 0,
     {"2 cases passed"}},
    {"a path that is refused before", "allow: {and: [{accept: true}]}\n",
     "- {request: {path: /a%2fb}, expect: deny, reasons: []}\n- {request: {path: /a%2fb}, expect: allow}\n", 1,
     {"came      deny: 400 before any policy is asked: ", "1 case passed, 1 failed"}},
    {"a tool", "allow: {and: [{mcp_tool: {is: search}}]}\n",
     "- request: {method: POST, body: {jsonrpc: '2.0', id: 1, method: tools/call, params: {name: search}}}\n"
     "  expect: allow\n"
     "- {request: {method: POST, body: '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}'}, expect: deny,\n"
     "   reasons: [mcp-not-a-tool-call]}\n"
     "- {request: {method: POST, body: [1]}, expect: deny, reasons: []}\n", 0, {"3 cases passed"}},
    {"content is not looked at when nobody asks", "allow: {and: [{accept: true}]}\n",
     "- {request: {body: '[broken'}, expect: allow}\n", 0, {"1 case passed"}},
    {"a certificate", "deny: {or: [{invalid_client_certificate: true}]}\nallow: {and: [{accept: true}]}\n",
     "- {request: {client_cert: {ca_configured: true}}, expect: deny, reasons: [client-certificate-required]}\n"
     "- {request: {client_cert: {ca_configured: true, presented: true, trusted: true}}, expect: allow}\n", 0,
     {"2 cases passed"}},
    {"an address", "allow: {and: [{source_ip: 192.0.2.10}]}\n",
     "- {request: {}, expect: allow}\n- {request: {source_ip: '::1'}, expect: deny}\n", 0, {"2 cases passed"}},
    {"a time", "allow: {and: [{date: {after: '2026-03-01'}}]}\n",
     "- {request: {time: '2026-03-01T00:00:00Z'}, expect: deny}\n"
     "- {request: {time: '2026-03-01T01:00:00.001+01:00'}, expect: allow}\n", 0, {"2 cases passed"}},
};

static void verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        put("p.yaml", outcomes[i].policy);
        put("p.test.yaml", outcomes[i].cases);
        run_on(bench.dir, NULL);
        if (bench.c.code != outcomes[i].code)
            fail_msg("%s: %d %s %s", outcomes[i].why, bench.c.code, bench.c.out, bench.c.err);
        for (size_t k = 0; k < 3 && outcomes[i].out[k]; k++)
            if (!strstr(bench.c.out, outcomes[i].out[k]))
                fail_msg("%s: no \"%s\" in %s", outcomes[i].why, outcomes[i].out[k], bench.c.out);
        assert_string_equal(bench.c.err, "");
        clear();
    }
}

/* ---- mistakes in the files ---- */

static const struct {
    const char *why, *policy, *cases, *err;              /* behind "DIR/" */
} mistakes[] = {
    {"no list", STAFF, "a: 1\n", "p.test.yaml:1:1: must be a list of cases"},
    {"no case", STAFF, "[]\n", "p.test.yaml:1:1: there is no case"},
    {"an empty file", STAFF, "", "p.test.yaml:1:1: must be a list of cases"},
    {"no mapping", STAFF, "- a\n", "p.test.yaml:1:3: a case must be a mapping"},
    {"an unknown member", STAFF, "- {request: {}, expected: deny, expect: deny}\n",
     "p.test.yaml:1:17: a case: there is no member \"expected\"; did you mean \"expect\"?"},
    {"no expectation", STAFF, "- {request: {}}\n", "p.test.yaml:1:3: expect: is missing"},
    {"another expectation", STAFF, "- {request: {}, expect: alow}\n",
     "p.test.yaml:1:25: expect: must be allow, deny or unauthenticated; did you mean allow?"},
    {"an expectation of another kind", STAFF, "- {request: {}, expect: 403}\n", "p.test.yaml:1:25: expect: must be"},
    {"no request", STAFF, "- {expect: deny}\n", "p.test.yaml:1:3: request: is missing"},
    {"an unknown reason", STAFF, "- {request: {}, expect: deny, reasons: [domain-ok, domain-unauthorised]}\n",
     "p.test.yaml:1:52: reasons: there is no reason \"domain-unauthorised\"; did you mean \"domain-unauthorized\"?"},
    {"reasons as text", STAFF, "- {request: {}, expect: deny, reasons: domain-ok}\n",
     "p.test.yaml:1:40: reasons: must"},
    {"an unknown fact", STAFF, "- request:\n    sourceip: ::1\n  expect: deny\n",
     "p.test.yaml:2:5: request: there is no member \"sourceip\"; did you mean \"source_ip\"?"},
    {"a bad address", STAFF, "- {request: {source_ip: 1.2.3}, expect: deny}\n",
     "p.test.yaml:1:25: request.source_ip: must be an IP address"},
    {"a bad time", STAFF, "- {request: {time: noon}, expect: deny}\n",
     "p.test.yaml:1:20: request.time: must be RFC 3339"},
    {"a bad host", STAFF, "- {request: {host: 'a b'}, expect: deny}\n", "p.test.yaml:1:20: request.host: must be"},
    {"a bad header", STAFF, "- {request: {headers: {'a b': c}}, expect: deny}\n",
     "p.test.yaml:1:31: request.headers: "},
    {"a header of another kind", STAFF, "- {request: {headers: {a: [b, 1]}}, expect: deny}\n",
     "p.test.yaml:1:31: request.headers: a value must be text"},
    {"claims of another kind", STAFF, "- {request: {claims: x}, expect: deny}\n",
     "p.test.yaml:1:22: request.claims: must be a mapping, or null"},
    {"a certificate that is none", STAFF,
     "- {request: {client_cert: {presented: true, pem: x}}, expect: deny}\n",
     "p.test.yaml:1:50: request.client_cert.pem: there is no certificate in this PEM text"},
    {"a certificate that is not shown", STAFF, "- {request: {client_cert: {pem: x}}, expect: deny}\n",
     "p.test.yaml:1:33: request.client_cert.pem: this certificate is not presented"},
    {"a time that the policy needs", "allow: {and: [{day_of_week: mon-fri}]}\n", "- {request: {}, expect: deny}\n",
     "p.test.yaml:1:13: request.time: is missing"},
    {"broken YAML", STAFF, "- {\n", "p.test.yaml:2:1: "},
    {"a broken policy", "allow: {and: [{emial: x}]}\n", "- {request: {}, expect: deny}\n",
     "p.yaml:1:16: policy p: allow.and[0]: \"emial\" is not a criterion, did you mean \"email\"?"},
    {"a setting that is none", "ppl: []\nexplanatoin: x\n", "- {request: {}, expect: deny}\n", "p.yaml:2:1: "},
    {"an item without a document", "explanation: x\n", "- {request: {}, expect: deny}\n", "p.yaml:1:1: "},
    {"broken YAML of a policy", "allow: [\n", "- {request: {}, expect: deny}\n", "p.yaml:2:1: "},
};

static void places_of_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        char want[512];

        put("p.yaml", mistakes[i].policy);
        put("p.test.yaml", mistakes[i].cases);
        run_on(bench.dir, NULL);
        snprintf(want, sizeof want, "%s/%s", bench.dir, mistakes[i].err);
        if (bench.c.code != TG_EXIT_CONFIG || !strstr(bench.c.err, want))
            fail_msg("%s: %d %s %s", mistakes[i].why, bench.c.code, bench.c.err, bench.c.out);
        HAS(bench.c.out, "1 policy or test file not readable");
        clear();
    }
}

/* Every mistake at once, and the other policies all the same. */
static void all_mistakes(void **state)
{
    (void)state;
    put("a.yaml", STAFF);
    put("a.test.yaml", "- {request: {time: x, path: 1}, expect: no, extra: 1}\n- {expect: deny}\n");
    put("b.yaml", STAFF);
    put("b.test.yaml", "- {name: wrong, request: " BOB ", expect: allow}\n");
    run_on(bench.dir, NULL);
    assert_int_equal(bench.c.code, TG_EXIT_CONFIG);
    HAS(bench.c.err, "request.time");
    HAS(bench.c.err, "request.path: must be text");
    HAS(bench.c.err, "expect: must be");
    HAS(bench.c.err, "\"extra\"");
    HAS(bench.c.err, "a.test.yaml:2:3: request: is missing");
    HAS(bench.c.out, "0 cases passed, 1 failed, 1 policy or test file not readable");
    HAS(bench.c.out, "b.test.yaml:1:3: wrong: failed");
}

/* ---- which files ---- */

static void files(void **state)
{
    char path[PATH];

    (void)state;
    put("a.yaml", STAFF);
    put("a.test.yaml", "- {request: " ALICE ", expect: allow}\n");
    put("b.yml", STAFF);
    put("b.test.yaml", "- {request: " ALICE ", expect: allow}\n- {request: " BOB ", expect: deny}\n");
    put("c.json", "{\"allow\":{\"and\":[{\"accept\":true}]}}");
    put(".hidden.yaml", "nonsense");
    put("README.md", "nonsense");
    run_on(bench.dir, NULL);
    assert_int_equal(bench.c.code, 0);
    HAS(bench.c.out, "ok: 3 policies, 3 cases passed, 0 failed, 1 policy not tested");
    HAS(bench.c.out, "c.json: not tested: there is no ");
    run_on(bench.dir, "--require-tests");
    assert_int_equal(bench.c.code, 1);
    HAS(bench.c.out, "failed: 3 policies");
    for (size_t i = 2; i < 4; i++) {                     /* the policy, or its cases: the same; twice is once */
        const char *const argv[] = {bench.names[i], bench.names[3], NULL};

        run(argv);
        assert_int_equal(bench.c.code, 0);
        HAS(bench.c.out, "ok: 1 policy, 2 cases passed");
    }
    clear();
    put("d.test.yaml", "- {request: {}, expect: deny}\n");
    run_on(bench.dir, NULL);
    assert_int_equal(bench.c.code, TG_EXIT_CONFIG);
    HAS(bench.c.err, "d.test.yaml: there is no policy beside these cases");
    clear();
    run_on(bench.dir, NULL);
    assert_int_equal(bench.c.code, TG_EXIT_CONFIG);
    HAS(bench.c.err, "holds no policy");
    snprintf(path, sizeof path, "%s/nothing.yaml", bench.dir);
    run_on(path, NULL);
    assert_int_equal(bench.c.code, TG_EXIT_CONFIG);
    HAS(bench.c.err, "No such file");
    assert_string_equal(bench.c.out, "");
}

static void usage(void **state)
{
    static const char *const none[] = {NULL}, *const format[] = {"--format", "xml", ".", NULL};

    (void)state;
    run(none);
    assert_int_equal(bench.c.code, TG_EXIT_USAGE);
    HAS(bench.c.err, "which policies?");
    run(format);
    assert_int_equal(bench.c.code, TG_EXIT_USAGE);
    HAS(bench.c.err, "--format: must be text, tap or junit");
}

/* ---- coverage ---- */

static void coverage(void **state)
{
    static const char policy[] = "ppl:\n"
                                 "- allow:\n"
                                 "    and:\n"
                                 "      - domain: example.com\n"
                                 "      - http_method: {in: [GET, HEAD]}\n"
                                 "    or: []\n"
                                 "- deny:\n"
                                 "    action: x\n"
                                 "    not:\n"
                                 "      - accept: true\n"
                                 "    nor:\n"
                                 "      - claim/a: b\n";
    char want[200];

    (void)state;
    put("p.yaml", policy);
    put("p.test.yaml", "- {request: " ALICE ", expect: deny}\n- {request: {}, expect: unauthenticated}\n");
    run_on(bench.dir, NULL);
    assert_int_equal(bench.c.code, 0);
    snprintf(want, sizeof want, "%s/p.yaml:4:17: false only without a token: domain \"example.com\"\n", bench.dir);
    HAS(bench.c.out, want);
    snprintf(want, sizeof want, "%s/p.yaml:5:22: never false: http_method {\"in\":[\"GET\",\"HEAD\"]}\n", bench.dir);
    HAS(bench.c.out, want);
    snprintf(want, sizeof want, "%s/p.yaml:12:18: never true: claim/a \"b\"\n", bench.dir);
    HAS(bench.c.out, want);
    HAS(bench.c.out, "2 cases passed, 0 failed, 3 criteria not covered\n");
    run_on(bench.dir, "--require-coverage");
    assert_int_equal(bench.c.code, 1);
    clear();
    put("p.yaml", policy);
    put("p.test.yaml", "- {request: {method: PUT, claims: {sub: u, email: a@example.com, a: b}}, expect: deny}\n"
                       "- {request: " BOB ", expect: deny}\n");
    run_on(bench.dir, "--require-coverage");
    assert_int_equal(bench.c.code, 0);
    HAS(bench.c.out, "ok: 1 policy, 2 cases passed, 0 failed\n");
}

/* A long list of criteria nobody reached does not fill the terminal. */
static void much_uncovered(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    tg_buf_adds(&text, "allow:\n  or:\n");
    for (int i = 0; i < 1000; i++)
        tg_buf_addf(&text, "    - claim/c%d: x\n", i);
    put("p.yaml", tg_buf_cstr(&text));
    put("p.test.yaml", "- {request: " BOB ", expect: deny}\n");
    run_on(bench.dir, NULL);
    HAS(bench.c.out, ": and 980 more\n");
    HAS(bench.c.out, "1000 criteria not covered");
    tg_buf_fini(&text);
}

/* ---- other formats ---- */

static void formats(void **state)
{
    const char *const tap[] = {"--format", "tap", "--require-coverage", bench.dir, NULL};
    const char *const junit[] = {"--format=junit", bench.dir, NULL};

    (void)state;
    put("a.yaml", STAFF);
    put("a.test.yaml", "- {name: 'good # SKIP', request: " ALICE ", expect: allow}\n"
                       "- {name: \"bad <&\\\"\\n\\x01\", request: " BOB ", expect: allow}\n");
    put("b.yaml", STAFF);
    put("c.yaml", "allow: {and: [{emial: x}]}\n");
    run(tap);
    assert_int_equal(bench.c.code, TG_EXIT_CONFIG);
    HAS(bench.c.out, "TAP version 13\nok 1 - a: good \\# SKIP\nnot ok 2 - a: bad <&\"?");
    HAS(bench.c.out, "\n  ---\n  file: ");
    HAS(bench.c.out, "\n  line: 2\n  column: 3\n  expected: \"allow\"\n");
    HAS(bench.c.out, "\n  came: \"deny because of domain-unauthorized\"\n");
    HAS(bench.c.out, "\n  ...\nok 3 - a: every criterion was true");
    HAS(bench.c.out, "\nok 4 - b: has tests # SKIP there is no file of cases\nnot ok 5 - c: its files can be read\n# ");
    HAS(bench.c.out, "\n1..5\n");
    run(junit);
    HAS(bench.c.out, "<testsuites name=\"tollgate test\" tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"1\">");
    HAS(bench.c.out, "name=\"bad &lt;&amp;&quot;&#10;?\" classname=\"a\"");
    HAS(bench.c.out, "<failure message=\"expected allow, came deny because of domain-unauthorized\" type=\"verdict\">");
}

/* What comes from a file may not draw on the terminal. */
static void hostile_text(void **state)
{
    (void)state;
    put("p.yaml", "allow: {and: [{claim/x: \"\\e[31m\"}]}\n");
    put("p.test.yaml", "- {name: \"\\e[2J\", request: {method: \"G\\e[1m\", path: \"/\\e[2m\",\n"
                       "   claims: {sub: \"\\e[3m\", email: \"\\e[4m\", x: \"\\e[5m\"}}, expect: allow}\n");
    run_on(bench.dir, NULL);
    assert_int_equal(bench.c.code, 1);
    assert_null(strchr(bench.c.out, '\033'));
}

#define ACCENTS "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
/* Names of files may be any bytes: what is printed of them is text all the same, and JUnit is XML. */
static void hostile_names(void **state)
{
    const char *const formats[] = {"--format=text", "--format=tap", "--format=junit"};

    (void)state;
    put("n\x9b\xff.yaml", STAFF);                        /* 0x9b: what starts an escape where bytes are Latin-1 */
    put("a\xc3\xa9.yaml", "allow: {and: [{claim/a" ACCENTS ACCENTS ACCENTS ": x}]}\n");
    put("a\xc3\xa9.test.yaml", "- {name: \u00e9, request: {}, expect: unauthenticated}\n");
    put("lone\033[31m\xc2.test.yaml", "- {request: {}, expect: deny}\n");
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        run_on(formats[i], bench.dir);
        assert_int_equal(bench.c.code, TG_EXIT_CONFIG);
        assert_null(strpbrk(bench.c.out, "\x9b\xff"));
        assert_null(strstr(bench.c.out, "\xc3 "));        /* half of a character */
        assert_null(strpbrk(bench.c.err, "\033\xc2"));
        HAS(bench.c.out, "n\?\?");
        HAS(bench.c.out, "a\u00e9");
        HAS(bench.c.err, "/lone\?[31m\?.test.yaml: there is no policy beside these cases");
    }
}

/* ---- many ---- */

static void thousands(void **state)
{
    struct tg_buf text = {0};

    (void)state;
    for (int i = 0; i < 5000; i++)
        tg_buf_addf(&text, "- {name: n%d, request: {claims: {sub: u%d, email: a@%s}}, expect: %s}\n", i, i,
                    i % 2 ? "example.com" : "example.org", i % 2 ? "allow" : "deny");
    put("p.yaml", STAFF);
    put("p.test.yaml", tg_buf_cstr(&text));
    run_on(bench.dir, "--require-coverage");
    assert_int_equal(bench.c.code, 0);
    HAS(bench.c.out, "5000 cases passed, 0 failed\n");
    tg_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(places_of_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(all_mistakes, setup, teardown),
        cmocka_unit_test_setup_teardown(files, setup, teardown),
        cmocka_unit_test_setup_teardown(usage, setup, teardown),
        cmocka_unit_test_setup_teardown(coverage, setup, teardown),
        cmocka_unit_test_setup_teardown(much_uncovered, setup, teardown),
        cmocka_unit_test_setup_teardown(formats, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_text, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_names, setup, teardown),
        cmocka_unit_test_setup_teardown(thousands, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
