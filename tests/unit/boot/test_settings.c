/*
 * test_settings - configurations as people write them: what is taken, what is refused and in which words.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/digest.h"
#include "base/err.h"
#include "boot/settings.h"
#include "jose/mint.h"
#include <stdio.h>
#include <stdlib.h>

#define UP "upstream: http://127.0.0.1:3000\n"
#define IDP "identity_providers: {corp: {issuer: https://idp.test, audiences: [a]}}\n"
#define GOOD UP IDP
#define LIMITED(section) IDP "routes:\n" \
    "  - {to: \"http://127.0.0.1:1\", prefix: /a, allow_any_authenticated_user: true}\n" \
    "  - {to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, rate_limits: " section "}\n"

static bool parse(const char *yaml, struct tg_settings *s, struct tg_problems *problems)
{
    return tg_settings_parse("t.yaml", tg_slice_str(yaml), s, problems);
}

static bool told(const struct tg_problems *p, const char *part, bool warning)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].warning == warning && strstr(p->items[i].text, part))
            return true;
    return false;
}

static void all(const struct tg_problems *p, const char *yaml)
{
    print_message("# %s\n", yaml);
    for (size_t i = 0; i < p->count; i++)
        print_message("#   %s\n", p->items[i].text);
}

static const struct {
    const char *why, *yaml, *error;                      /* part of an error; NULL: none may be */
    const char *warning;                                 /* part of a warning; NULL: any or none */
} cases[] = {
    {"the shortest", GOOD, NULL, NULL},
    {"JSON",
     "{\"upstream\":\"http://127.0.0.1:3000\",\"identity_providers\":{\"c\":{\"issuer\":\"https://i.test\","
     "\"audiences\":[\"a\"]}}}",
     NULL, NULL},
    {"nothing at all shows how to begin", "", "the shortest that works: {upstream:", NULL},
    {"nothing to forward to", IDP, "neither `upstream` nor `routes`", NULL},
    {"the example of that message works",
     "{upstream: \"http://127.0.0.1:3000\", identity_providers: {corp: {issuer: \"https://idp.example.com\", "
     "audiences: "
     "[my-api]}}}",
     NULL, NULL},
    {"a list is no configuration", "- a\n", "must be a mapping", NULL},
    {"broken YAML", "a: [", "t.yaml:", NULL},
    {"unknown name", GOOD "adress: x\n", "t.yaml:3:1: adress is not a setting; did you mean address?", NULL},
    {"twice the same key", GOOD "realm: a\nrealm: b\n", "t.yaml:4", NULL},
    {"a certificate without its key", GOOD "certificate_file: x\n",
     "t.yaml:3:19: certificate_file needs certificate_key_file", NULL},
    {"a key without its certificate", GOOD "certificate_key_file: x\n",
     "t.yaml:3:23: certificate_key_file needs certificate_file", NULL},
    {"certificate that is not there", GOOD "certificate_file: /nonexistent/c\ncertificate_key_file: /nonexistent/k\n",
     "t.yaml:3:19: certificate_file: ", NULL},
    {"one of several",
     GOOD "certificates: [{certificate_file: /nonexistent/c, certificate_key_file: /nonexistent/k}]\n",
     "certificates[0].certificate_file: ", NULL},
    {"half of a pair", GOOD "certificates: [{certificate_file: x}]\n",
     "certificates[0].certificate_key_file is required", NULL},
    {"a path is no pair", GOOD "certificates: [x]\n", "certificates[0]: must be {certificate_file", NULL},
    {"an empty list is no wish for plain HTTP", GOOD "certificates: []\n", "certificates: must not be empty", NULL},
    {"null is as if absent", GOOD "certificates: null\ndownstream_mtls: null\n", NULL, NULL},
    {"Pomerium's certificates", GOOD "certificates: [{cert: LS0, key: LS0}]\n",
     "certificates[0].cert is not supported yet", NULL},
    {"Pomerium's inline certificate", GOOD "certificate: LS0\n", "certificate is not supported yet", NULL},
    {"mutual TLS without TLS", GOOD "downstream_mtls: {ca_file: x}\n", "downstream_mtls needs TLS", NULL},
    {"mutual TLS without a CA", GOOD "downstream_mtls: {}\n", "downstream_mtls.ca_file is required", NULL},
    {"mutual TLS as a path", GOOD "downstream_mtls: x\n", "downstream_mtls: must be a mapping", NULL},
    {"an inline CA", GOOD "downstream_mtls: {ca: LS0}\n", "downstream_mtls.ca is not supported yet", NULL},
    {"names of clients", GOOD "downstream_mtls: {ca_file: x, match_subject_alt_names: []}\n",
     "downstream_mtls.match_subject_alt_names is not supported yet: write a policy", NULL},
    {"a misspelt enforcement", GOOD "downstream_mtls: {ca_file: x, enforcement: reject}\n",
     "downstream_mtls.enforcement must be policy_with_default_deny, policy or reject_connection", NULL},
    {"a depth below none", GOOD "downstream_mtls: {ca_file: x, max_verify_depth: -1}\n",
     "downstream_mtls.max_verify_depth must be", NULL},
    {"a signing key that is not there", GOOD "signing_key_file: /nonexistent/k\n",
     "t.yaml:3:19: signing_key_file: /nonexistent/k", NULL},
    {"a signing key that is none", GOOD "signing_key: bm8gUEVNCg==\n", "signing_key: no unencrypted private key", NULL},
    {"a signing key as PEM", GOOD "signing_key: \"-----BEGIN PRIVATE KEY-----\"\n",
     "signing_key: must be the base64", NULL},
    {"an empty signing key", GOOD "signing_key: \"\"\n", "signing_key: must be the base64", NULL},
    {"two signing keys", GOOD "signing_key: x\nsigning_key_file: y\n", "cannot be together", NULL},
    {"for whom is an assertion",
     IDP "pass_identity_headers: true\nroutes: [{to: \"http://127.0.0.1:1\", prefix: /a, name: a, "
     "allow_any_authenticated_user: true}, {to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true}]\n",
     NULL, "t.yaml:3:95: route route-1: neither `from` nor `name` says for whom"},
    {"there is one service", GOOD "pass_identity_headers: true\n", NULL, NULL},
    {"the assertion is no claim", GOOD "jwt_claims_headers: {x-pomerium-jwt-assertion: email}\n", "no claim", NULL},
    {"tokens of our own and no folder", GOOD "personal_access_tokens: {enabled: true}\n", NULL, "kept in state_dir"},
    {"management: address", GOOD "management: {address: x}\n", "management.address", NULL},
    {"two sources", GOOD "management: {}\nsync: {url: \"http://127.0.0.1:1\", credential: {token_file: /dev/null}}\n",
     "management cannot be together with sync", NULL},
    {"sync: what it needs", GOOD "sync: {}\n", "sync.url", NULL},
    {"a source is a mapping", GOOD "bundle: here\n", "bundle: must be a mapping", NULL},
    {"a source may have all routes", "state_dir: /tmp\nmanagement: {}\n", NULL, NULL},
    {"a source and no folder", "management: {}\n", NULL, "it will not start (exit 77)"},
    {"audit without a folder", GOOD "audit: {}\n", NULL, "it will not start (exit 77)"},
    {"management beside the gate", GOOD "address: 127.0.0.1:9091\nmanagement: {}\n",
     "management.address is an address for requests already", NULL},
    {"Pomerium's login", GOOD "idp_provider: google\n", "idp_provider is not supported yet", NULL},
    {"routes and upstream", GOOD "routes: []\n", "cannot be beside routes", NULL},
    {"no providers", UP, NULL, "nobody can be authenticated"},
    {"no providers, all public", "routes: [{to: \"http://127.0.0.1:1\", allow_public_unauthenticated_access: true}]\n",
     NULL, NULL},
    {"several addresses", GOOD "address: [\"127.0.0.1:1\", \"[::1]:1\", \"unix:/run/t.sock\"]\n", NULL, NULL},
    {"a name is no address", GOOD "address: localhost:80\n", "address: \"localhost:80\"", NULL},
    {"no port", GOOD "address: 127.0.0.1\n", "address:", NULL},
    {"port too large", GOOD "address: 127.0.0.1:65536\n", "address:", NULL},
    {"no addresses", GOOD "address: []\n", "at least one", NULL},
    {"the same address twice", GOOD "address: [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n", "twice", NULL},
    {"health where requests are", GOOD "health_address: 127.0.0.1:8080\n", "an address for requests already", NULL},
    {"no health listener", GOOD "health_address: none\n", NULL, NULL},
    {"workers as text", GOOD "workers: many\n", "workers must be a whole number from 0 to 256", NULL},
    {"too many workers", GOOD "workers: 257\n", "workers must be", NULL},
    {"realm that ends its quotes", GOOD "realm: 'a\"b'\n", "realm:", NULL},
    {"realm with a line end", GOOD "realm: \"a\\nb\"\n", "realm:", NULL},
    {"empty realm", GOOD "realm: \"\"\n", "realm:", NULL},
    {"trusted networks", GOOD "trusted_proxies: [10.0.0.0/8, \"::1\"]\n", NULL, NULL},
    {"a name is no network", GOOD "trusted_proxies: [proxy]\n", "\"proxy\" is no network", NULL},
    {"everybody trusted", GOOD "trusted_proxies: [0.0.0.0/0]\n", NULL, "lets every client say"},
    {"duration without unit", GOOD "timeouts: {head: 10}\n", "timeouts.head needs a unit", NULL},
    {"a head may not take for ever", GOOD "timeouts: {head: none}\n", "timeouts.head must be", NULL},
    {"a body may", GOOD "timeouts: {body: none, total: none, first_byte: none}\n", NULL, NULL},
    {"unknown timeout", GOOD "timeouts: {header: 1s}\n", "did you mean timeouts.head?", NULL},
    {"target above head", GOOD "limits: {head: 8KiB, uri: 9KiB}\n", "limits.uri is above limits.head", NULL},
    {"token above head", GOOD "limits: {head: 16KiB, token: 64KiB}\n", NULL, "limits.token is above"},
    {"no fields at all", GOOD "limits: {fields: 0}\n", "limits.fields", NULL},
    {"access log as text", GOOD "access_log: off\n", "write access_log: {output: \"off\"}", NULL},
    {"access log in text form", GOOD "access_log: {format: text}\n", "access_log.format must be json", NULL},
    {"log level", GOOD "log: {level: loud}\n", "log.level must be", NULL},
    {"error format", GOOD "error_format: html\n", "error_format must be", NULL},
    {"claims by header", GOOD "jwt_claims_headers: {X-Email: email, X-Pomerium-Claim-Sub: sub}\n", NULL, NULL},
    {"claims by name", GOOD "jwt_claims_headers: [email, groups]\n", NULL, NULL},
    {"framing is no identity", GOOD "jwt_claims_headers: {Content-Length: sub}\n", "no header that can be set", NULL},
    {"not a header name", GOOD "jwt_claims_headers: {\"X A\": sub}\n", "no header that can be set", NULL},
    {"a claim that makes no header", GOOD "jwt_claims_headers: [\"a b\"]\n", "no header that can be set", NULL},
    {"two spellings of one header", GOOD "jwt_claims_headers: {X-A: sub, x-a: email}\n", "twice", NULL},
    {"one header to a CGI service", GOOD "jwt_claims_headers: {X-A-B: sub, X_A_B: email}\n", "twice", NULL},
    {"the assertion's header, spelled otherwise", GOOD "jwt_claims_headers: {X_Pomerium_Jwt_Assertion: sub}\n",
     "no claim", NULL},
    {"header without claim", GOOD "jwt_claims_headers: {X-A: \"\"}\n", "name of a claim is needed", NULL},
    {"header with a number", GOOD "jwt_claims_headers: {X-A: 1}\n", "name of a claim is needed", NULL},
    {"claims as text", GOOD "jwt_claims_headers: email\n", "must be a mapping", NULL},
    {"route of an unknown provider",
     IDP "routes: [{to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, identity_providers: [copr]}]\n",
     "did you mean \"corp\"?", NULL},
    {"limits off", GOOD "rate_limits: off\n", NULL, NULL},
    {"limits of a route", LIMITED("{tiers: [{name: a, limit: 1}]}"), NULL,
     "t.yaml:4:81: routes[1].rate_limits: the route has no `name`, so its counters go by its place among the routes"},
    {"a route without", LIMITED("off"), NULL, NULL},
    {"limits of a route without a name", LIMITED("[]"), "routes[1].rate_limits: must be a mapping or off", NULL},
    {"limits of a route with one", IDP "routes: [{to: \"http://127.0.0.1:1\", name: orders, "
     "allow_any_authenticated_user: true, rate_limits: {tiers: [{name: a}]}}]\n",
     "t.yaml:2:109: route orders.rate_limits.tiers[0].limit is needed", NULL},
    {"limits of the short form", IDP "upstream: {to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, "
     "rate_limits: {mode: x}}\n", "rate_limits.mode must be enforce or shadow", NULL},
    {"two routes, one name, one counter", IDP "routes:\n"
     "  - {to: \"http://127.0.0.1:1\", prefix: /a, name: x, allow_any_authenticated_user: true, rate_limits: {mode: "
     "shadow}}\n"
     "  - {to: \"http://127.0.0.1:1\", prefix: /b, name: x, allow_any_authenticated_user: true, rate_limits: {mode: "
     "shadow}}\n", NULL, "routes[1].rate_limits: routes[0] has the name x and rate_limits too"},
    {"a store that is none", GOOD "rate_limits: {store: 'redis://h:port'}\n", "rate_limits.store: ", NULL},
    {"a store whose callers can be guessed", GOOD "rate_limits: {store: 'redis://h'}\n", NULL,
     "rate_limits.store: without store_secret"},
    {"undefined variable", GOOD "realm: ${TG_TEST_NOT_THERE}\n", "TG_TEST_NOT_THERE", NULL},
    {"variable with a default", GOOD "realm: ${TG_TEST_NOT_THERE:-x}\n", NULL, NULL},
};

static void configurations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_problems problems = {0};
        struct tg_settings s;
        bool ok = parse(cases[i].yaml, &s, &problems);

        if (ok != !cases[i].error || (cases[i].error && !told(&problems, cases[i].error, false)) ||
            (cases[i].warning && !told(&problems, cases[i].warning, true))) {
            all(&problems, cases[i].yaml);
            fail_msg("%s", cases[i].why);
        }
        if (!ok)
            assert_null(s.config);
        tg_settings_fini(&s);
        tg_problems_fini(&problems);
    }
}

/* Without providers nothing is wrong with routes that ask nobody who he is. */
static void no_providers_needed(void **state)
{
    static const char *const open[] = {"allow_public_unauthenticated_access: true",
                                       "mode: shadow, allow_any_authenticated_user: true"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        struct tg_problems problems = {0};
        struct tg_settings s;
        char yaml[200];

        snprintf(yaml, sizeof yaml, "routes: [{to: \"http://127.0.0.1:1\", %s}]\n", open[i]);
        assert_true(parse(yaml, &s, &problems));
        assert_false(told(&problems, "nobody can be authenticated", true));
        tg_settings_fini(&s);
        tg_problems_fini(&problems);
    }
}

static void many_errors_at_once(void **state)
{
    struct tg_problems problems = {0};
    struct tg_settings s;

    (void)state;
    assert_false(parse(GOOD "adress: x\nworkers: many\nrealm: \"\"\ntimeouts: {head: 1}\n", &s, &problems));
    assert_int_equal(problems.errors, 4);
    tg_problems_fini(&problems);
}

static void defaults(void **state)
{
    struct tg_problems problems = {0};
    struct tg_settings s;

    (void)state;
    assert_true(parse(GOOD, &s, &problems));
    assert_int_equal(s.addresses.count, 1);
    assert_true(tg_slice_eq(s.addresses.items[0], TG_S("127.0.0.1:8080")));
    assert_true(tg_slice_eq(s.health_address, TG_S("127.0.0.1:9090")));
    assert_true(s.workers >= 1 && s.workers <= 256);
    assert_null(s.state_dir.ptr);
    assert_int_equal(s.drain_delay_ms, 0);
    assert_int_equal(s.drain_timeout_ms, 25000);
    assert_true(tg_slice_eq(s.access_log_output, TG_S("stdout")));
    assert_true(tg_slice_eq(s.log_level, TG_S("info")));
    const struct tg_config *c = s.config;
    assert_int_equal(c->timeouts.head_ms, 10000);
    assert_int_equal(c->timeouts.upstream_idle_ms, 4000);
    assert_int_equal(c->timeouts.total_ms, 0);
    assert_int_equal(c->bounds.head, 65536);
    assert_int_equal(c->bounds.uri, 16384);
    assert_int_equal(c->bounds.token, 16384);
    assert_int_equal(c->bounds.fields, 128);
    assert_int_equal(c->bounds.body, 0);
    assert_true(tg_slice_eq(c->realm, TG_S("tollgate")));
    assert_int_equal(c->trusted_count, 0);
    assert_int_equal(c->providers.count, 1);
    assert_int_equal(tg_routes_count(c->routes), 1);
    assert_true(tg_routes_at(c->routes, 0)->providers == UINT64_MAX);
    assert_false(c->tiers.off);
    assert_int_equal(c->tiers.count, 2);
    tg_settings_fini(&s);
    tg_problems_fini(&problems);
}

static void values(void **state)
{
    struct tg_problems problems = {0};
    struct tg_settings s;

    (void)state;
    assert_true(parse("routes:\n"
                      "  - {to: \"http://127.0.0.1:1\", allow_any_authenticated_user: true, identity_providers: [b]}\n"
                      "identity_providers:\n"
                      "  a: {issuer: https://a.test, audiences: [x]}\n"
                      "  b: {issuer: https://b.test, audiences: [x]}\n"
                      "health_address: none\nworkers: 3\nstate_dir: state\naccess_log: {output: logs/a.log}\n"
                      "jwt_claims_headers: [email]\nforward_authorization: strip\ntrusted_proxies: 10.0.0.0/8\n",
                      &s, &problems));
    assert_null(s.health_address.ptr);
    assert_int_equal(s.workers, 3);
    assert_true(tg_slice_eq(s.state_dir, TG_S("state")));
    assert_true(tg_slice_eq(s.access_log_output, TG_S("logs/a.log")));
    assert_true(tg_routes_at(s.config->routes, 0)->providers == 2);
    assert_true(s.config->route_defaults.strip_authorization);
    assert_int_equal(s.config->route_defaults.claims_headers.count, 1);
    assert_true(tg_slice_eq(s.config->route_defaults.claims_headers.names[0], TG_S("X-Pomerium-Claim-email")));
    assert_int_equal(s.config->trusted_count, 1);
    tg_settings_fini(&s);
    tg_problems_fini(&problems);
}

/* Base64 of PEM as Pomerium has it, wrapped or not; what is told to whom follows from it and the routes. */
static void signing(void **state)
{
    static const char *const wraps[] = {"", "\n  "};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wraps); i++) {
        struct tg_buf pem = {0}, packed = {0}, text = {0};
        struct tg_problems problems = {0};
        struct tg_signer *key = NULL;
        struct tg_settings s;

        assert_int_equal(tg_signer_generate(TG_ALG_EdDSA, &key, NULL), TG_OK);
        assert_int_equal(tg_signer_pem(key, &pem, NULL), TG_OK);
        tg_base64_encode(tg_buf_slice(&pem), &packed);
        tg_buf_addf(&text, GOOD "pass_identity_headers: %s\npass_user_headers: true\njwt_groups_filter: [a, b]\n"
                    "signing_key: >-\n  %.60s%s%s\n", i ? "true" : "false", tg_buf_cstr(&packed), wraps[i],
                    packed.data + 60);
        assert_true(parse(tg_buf_cstr(&text), &s, &problems));
        assert_true(tg_slice_eq(s.config->signing_pem, tg_buf_slice(&pem)));
        assert_int_equal(s.config->signs, i == 1);
        const struct tg_route *route = tg_routes_at(s.config->routes, 0);

        assert_true(route->pass_user_headers);
        assert_int_equal(route->groups_filter.count, 2);
        tg_settings_fini(&s);
        tg_problems_fini(&problems);
        tg_signer_free(key);
        tg_buf_fini(&pem);
        tg_buf_fini(&packed);
        tg_buf_fini(&text);
    }
}

static void environment(void **state)
{
    struct tg_problems problems = {0};
    struct tg_settings s;

    (void)state;
    setenv("TOLLGATE_ADDRESS", "127.0.0.1:81", 1);
    setenv("TOLLGATE_WORKERS", "5", 1);
    setenv("TOLLGATE_ERROR_FORMAT", "problem", 1);
    setenv("TOLLGATE_REALMS", "x", 1);                   /* a typing error is told */
    setenv("TOLLGATE_PORT", "tcp://10.0.0.1:80", 1);     /* Kubernetes' own is not */
    assert_true(parse(GOOD "address: 127.0.0.1:80\n", &s, &problems));
    assert_true(tg_slice_eq(s.addresses.items[0], TG_S("127.0.0.1:81")));
    assert_int_equal(s.workers, 5);
    assert_int_equal(s.config->route_defaults.error_format, TG_FORMAT_PROBLEM);
    assert_int_equal(problems.count, 1);
    assert_true(told(&problems, "TOLLGATE_REALMS in the environment overrides nothing; did you mean TOLLGATE_REALM?",
                     true));
    tg_settings_fini(&s);
    tg_problems_fini(&problems);

    setenv("TOLLGATE_WORKERS", "many", 1);
    assert_false(parse(GOOD, &s, &problems));
    assert_true(told(&problems, "TOLLGATE_WORKERS", false));
    tg_problems_fini(&problems);
    unsetenv("TOLLGATE_ADDRESS");
    unsetenv("TOLLGATE_WORKERS");
    unsetenv("TOLLGATE_ERROR_FORMAT");
    unsetenv("TOLLGATE_REALMS");
    unsetenv("TOLLGATE_PORT");
}

static void what_a_reload_may_not_change(void **state)
{
    static const struct {
        const char *more, *name;
    } changes[] = {
        {"", NULL},
        {"realm: other\n", NULL},
        {"address: 127.0.0.1:82\n", "address"},
        {"address: [\"127.0.0.1:8080\", \"127.0.0.1:82\"]\n", "address"},
        {"health_address: none\n", "health_address"},
        {"workers: 250\n", "workers"},
        {"state_dir: /tmp/x\n", "state_dir"},
        {"rate_limits: off\n", NULL},
        {"rate_limits: {max_keys: 1000000, tiers: [{name: a, limit: 1}]}\n", NULL},
        {"rate_limits: {store: 'redis://h'}\n", NULL},
        {"rate_limits: {max_keys: 2000000}\n", "rate_limits.max_keys"},
        {"access_log: {output: stderr}\n", "access_log.output"},
    };
    struct tg_problems problems = {0};
    struct tg_settings old, now;

    (void)state;
    assert_true(parse(GOOD, &old, &problems));
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        char yaml[512];

        snprintf(yaml, sizeof yaml, "%s%s", GOOD, changes[i].more);
        assert_true(parse(yaml, &now, &problems));
        const char *name = tg_settings_differs(&old, &now);
        if (!changes[i].name)
            assert_null(name);
        else
            assert_string_equal(name, changes[i].name);
        tg_settings_fini(&now);
    }
    tg_settings_fini(&old);
    tg_problems_fini(&problems);
}

static void files(void **state)
{
    struct tg_problems problems = {0};
    struct tg_settings s;
    struct tg_buf health = {0};

    (void)state;
    assert_false(tg_settings_load("/nonexistent/t.yaml", &s, &problems));
    assert_true(told(&problems, "tollgate dev", false));
    tg_problems_fini(&problems);
    tg_settings_health_address("/nonexistent/t.yaml", &health);
    assert_string_equal(tg_buf_cstr(&health), "127.0.0.1:9090");
    tg_buf_fini(&health);
    setenv("TOLLGATE_CONFIG", "/a/b.yaml", 1);
    assert_string_equal(tg_settings_path(NULL), "/a/b.yaml");
    assert_string_equal(tg_settings_path("c.yaml"), "c.yaml");
    unsetenv("TOLLGATE_CONFIG");
    assert_string_equal(tg_settings_path(NULL), "/etc/tollgate/tollgate.yaml");
}

/* Whatever is cut off or broken: an answer, and no crash. */
static void every_part_of_a_file(void **state)
{
    static const char whole[] = GOOD "address: [\"127.0.0.1:1\"]\nlimits: {head: 8KiB}\ntimeouts: {body: 1s}\n"
                                "jwt_claims_headers: {X-A: sub}\ntrusted_proxies: [10.0.0.0/8]\n"
                                "rate_limits: {store: 'redis://u:p@h/1', tiers: [{name: a, key: claim/o, windows: [\n"
                                "  {limit: 1, limit_claim: r, limit_ceiling: 2}, {limit: 2, window: 1h}]}]}\n";
    struct tg_problems problems = {0};
    struct tg_settings s;

    (void)state;
    for (size_t cut = 0; cut < sizeof whole; cut++) {
        if (tg_settings_parse("t.yaml", tg_slice(whole, cut), &s, &problems))
            tg_settings_fini(&s);
        else
            assert_true(problems.errors > 0);
        tg_problems_fini(&problems);
    }
    for (size_t at = 0; at + 1 < sizeof whole; at += 3) {
        char changed[sizeof whole];

        memcpy(changed, whole, sizeof whole);
        changed[at] = (char)(changed[at] ^ 0x15);
        if (tg_settings_parse("t.yaml", tg_slice(changed, sizeof whole - 1), &s, &problems))
            tg_settings_fini(&s);
        tg_problems_fini(&problems);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configurations), cmocka_unit_test(no_providers_needed),
        cmocka_unit_test(many_errors_at_once), cmocka_unit_test(defaults),
        cmocka_unit_test(values), cmocka_unit_test(signing), cmocka_unit_test(environment),
        cmocka_unit_test(what_a_reload_may_not_change), cmocka_unit_test(files), cmocka_unit_test(every_part_of_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
