/* providers: every mistake in the section is found at its place, with a sentence. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "auth/providers.h"
#include "base/file.h"
#include "base/json.h"
#include "jose/mint.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/tollgate-providers-XXXXXX";

static void write_file(const char *name, struct tg_slice text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(tg_file_replace(path, text, 0600, NULL), TG_OK);
}

/* A mapping of providers; the file's folder is where its files are. */
struct reading {
    struct tg_tree *tree;
    struct tg_arena arena;
    struct tg_problems problems;
    struct tg_providers providers;
    bool ok;
};

static void begin(struct reading *r, const char *yaml)
{
    char file[128];
    struct tg_err err;

    memset(r, 0, sizeof(*r));
    snprintf(file, sizeof(file), "%s/tollgate.yaml", folder);
    tg_arena_init(&r->arena, NULL, 0);
    if (tg_tree_parse(file, tg_slice_str(yaml), &r->tree, &err) != TG_OK)
        fail_msg("%s\n%s", err.text, yaml);
    r->ok = tg_providers_read(r->tree, tg_json_get(r->tree->root, "identity_providers"), &r->arena, &r->providers,
                              &r->problems);
}

static void end(struct reading *r)
{
    tg_providers_fini(&r->providers);
    tg_providers_fini(&r->providers);                    /* twice is fine */
    tg_problems_fini(&r->problems);
    tg_tree_free(r->tree);
    tg_arena_fini(&r->arena);
}

#define HEAD "identity_providers:\n  corp:\n    issuer: https://idp.example.com\n    audiences: [api]\n"
#define EC "{kty: EC, crv: P-256, kid: a, x: f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU, " \
           "y: x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0}"
static const struct {
    const char *why, *yaml, *problem;                    /* NULL: fine */
} cases[] = {
    {"absent", "a: b\n", NULL},
    {"empty", "identity_providers: {}\n", NULL},
    {"null", "identity_providers:\n", NULL},
    {"discovery", HEAD, NULL},
    {"a URL", HEAD "    jwks_url: https://keys.example.com/k?v=1\n", NULL},
    {"inline", HEAD "    jwks: {keys: [" EC "]}\n", NULL},
    {"one key inline", HEAD "    jwks: " EC "\n", NULL},
    {"a file", HEAD "    jwks_file: ec.json\n", NULL},
    {"a public key", HEAD "    public_key_file: ec.pem\n", NULL},
    {"a secret", HEAD "    secret_file: secret\n    supported_algs: [HS256]\n", NULL},
    {"oct keys of a file", HEAD "    jwks_file: oct.json\n    supported_algs: HS256\n", NULL},
    {"everything remote",
     HEAD "    jwks_url: http://k.example.com\n    allow_http: true\n    ca_file: ca.pem\n"
          "    token_file: absent\n    proxy: http://p:1\n    max_stale: 1h\n    leeway: none\n"
          "    token_use: access\n    groups_claim: roles\n",
     NULL},
    {"loopback issuer", "identity_providers:\n  a: {issuer: 'http://127.0.0.1:9000', audiences: x}\n", NULL},
    {"local keys: the issuer is a name only", "identity_providers:\n  a: {issuer: who, audiences: x, jwks: " EC "}\n",
     NULL},
    {"Ed25519 is EdDSA", HEAD "    supported_algs: [Ed25519, PS256]\n", NULL},

    {"not a mapping", "identity_providers: [a]\n", "tollgate.yaml:1:21: identity_providers: a mapping"},
    {"a provider that is no mapping", "identity_providers:\n  corp: x\n", ":2:9: identity_providers.corp: a mapping"},
    {"no issuer", "identity_providers:\n  a: {audiences: x}\n", "issuer"},
    {"no audiences", "identity_providers:\n  a: {issuer: 'https://i'}\n", "audiences"},
    {"empty issuer", "identity_providers:\n  a: {issuer: '', audiences: x, jwks: " EC "}\n",
     ".issuer must not be empty"},
    {"empty audiences", "identity_providers:\n  a: {issuer: 'https://i', audiences: []}\n",
     ":2:39: identity_providers.a.audiences must not be empty"},
    {"an empty audience", "identity_providers:\n  a: {issuer: 'https://i', audiences: ['']}\n",
     "audiences: none of them"},
    {"typing error", HEAD "    jwks_ulr: x\n", "jwks_url"},
    {"slash in the name", "identity_providers:\n  a/b: {issuer: 'https://i', audiences: x}\n",
     ":2:3: identity_providers: a provider's name:"},
    {"strict rules", HEAD "    profile: rfc9068\n    required_claims: [tenant]\n    required_scopes: [read, 'a:b/c']\n"
                          "    max_lifetime: 1h\n    max_age: none\n", NULL},
    {"unknown profile", HEAD "    profile: rfc9069\n", "profile"},
    {"a profile of access tokens for ID tokens", HEAD "    profile: rfc9068\n    token_use: id\n",
     ":5:14: identity_providers.corp.profile: rfc9068 is for access tokens"},
    {"a claim without a name", HEAD "    required_claims: [a, '']\n", "required_claims: none of them may be empty"},
    {"two scopes in one", HEAD "    required_scopes: ['read write']\n", "required_scopes: each is one word"},
    {"a quoted scope", HEAD "    required_scopes: ['a\"b']\n", "required_scopes: each is one word"},
    {"an empty scope", HEAD "    required_scopes: ['']\n", "required_scopes: each is one word"},
    {"half a second", HEAD "    max_lifetime: 500ms\n", "max_lifetime: whole seconds only"},
    {"and a half", HEAD "    max_age: 1s500ms\n", "max_age: whole seconds only"},
    {"tollgate's own issuer", "identity_providers:\n  a: {issuer: 'urn:tollgate:pat', audiences: x, jwks: " EC "}\n",
     ":2:15: identity_providers.a.issuer: that is tollgate itself"},
    {"introspection", HEAD "    introspection: {client_id: me, client_secret_file: secret}\n", NULL},
    {"introspection beside local keys, its CA and proxy",
     HEAD "    jwks: " EC "\n    ca_file: ca.pem\n    proxy: http://p:1\n"
          "    introspection: {url: 'https://i', client_id: me, client_secret_file: secret}\n",
     NULL},
    {"a strange proxy for introspection alone",
     HEAD "    jwks: " EC "\n    proxy: socks5://p\n"
          "    introspection: {url: 'https://i', client_id: me, client_secret_file: secret}\n",
     "proxy: not an http"},
    {"the timeout of keys, without remote keys",
     HEAD "    jwks: " EC "\n    timeout: 1s\n"
          "    introspection: {url: 'https://i', client_id: me, client_secret_file: secret}\n",
     "so nothing is fetched"},
    {"introspection that is no mapping", HEAD "    introspection: https://i\n",
     ":5:20: identity_providers.corp.introspection: a mapping"},
    {"no introspection", HEAD "    introspection:\n", NULL},
    {"plain http discovery", "identity_providers:\n  a: {issuer: 'http://idp.example.com', audiences: x}\n",
     ":2:15: identity_providers.a.issuer: http is for loopback"},
    {"plain http keys", HEAD "    jwks_url: http://k.example.com\n",
     ":5:15: identity_providers.corp.jwks_url: http is for"},
    {"issuer is no URL", "identity_providers:\n  a: {issuer: idp, audiences: x}\n", "issuer: not an https URL"},
    {"issuer with a query", "identity_providers:\n  a: {issuer: 'https://i?x', audiences: x}\n", "without a query"},
    {"two sources", HEAD "    jwks_url: https://k\n    jwks: " EC "\n",
     ":6:11: identity_providers.corp.jwks: keys are given by jwks_url already"},
    {"none", HEAD "    supported_algs: [none]\n", "`none` is never taken"},
    {"None", HEAD "    supported_algs: [None]\n", "`none` is never taken"},
    {"unknown algorithm", HEAD "    supported_algs: [RS255]\n", "did you mean `RS256`"},
    {"lower case", HEAD "    supported_algs: [hs256]\n", "no known algorithm"},
    {"no algorithm", HEAD "    supported_algs: []\n", "the list is empty"},
    {"HS mixed", HEAD "    jwks_file: oct.json\n    supported_algs: [HS256, RS256]\n", "cannot be mixed"},
    {"HS with discovery", HEAD "    supported_algs: [HS256]\n", "a secret is never fetched"},
    {"HS with a URL", HEAD "    jwks_url: https://k\n    supported_algs: [HS512]\n", "a secret is never fetched"},
    {"HS with a public key", HEAD "    public_key_file: ec.pem\n    supported_algs: [HS256]\n", "never verifies HS*"},
    {"HS inline", HEAD "    jwks: {keys: []}\n    supported_algs: [HS256]\n",
     "secrets do not stand in the configuration"},
    {"a secret without HS", HEAD "    secret_file: secret\n", "set supported_algs: [HS256]"},
    {"short secret", HEAD "    secret_file: short\n    supported_algs: [HS256]\n", "secret_file: "},
    {"no such file", HEAD "    jwks_file: absent\n", "absent"},
    {"not a key", HEAD "    public_key_file: secret\n", "public_key_file: "},
    {"not a set", HEAD "    jwks: [1]\n", "jwks: "},
    {"no usable key", HEAD "    jwks: {keys: []}\n", "no usable key in it"},
    {"only a weak key", HEAD "    jwks: {keys: [{kty: RSA, n: AQAB, e: AQAB, kid: w}]}\n",
     "no usable key in it, every token of this issuer will be refused: key"},
    {"oct keys without HS", HEAD "    jwks_file: oct.json\n", "no usable key in it, every token"},
    {"key of another type", HEAD "    public_key_file: ec.pem\n    supported_algs: [RS256]\n",
     "no key in it fits supported_algs"},
    {"key of another curve", HEAD "    jwks: " EC "\n    supported_algs: [ES384]\n",
     "no key in it fits supported_algs"},
    {"CA for local keys", HEAD "    jwks: " EC "\n    ca_file: ec.pem\n", "ca_file: the keys are local (jwks)"},
    {"timeout for local keys", HEAD "    jwks: " EC "\n    timeout: 1s\n", "so nothing is fetched"},
    {"no time at all", HEAD "    timeout: 0s\n", "timeout"},
    {"max_stale for local keys", HEAD "    jwks: " EC "\n    max_stale: 1h\n", "so nothing is fetched"},
    {"no CA", HEAD "    ca_file: absent\n", "ca_file: "},
    {"a key as CA", HEAD "    ca_file: ec.pem\n", "holds no PEM certificate"},
    {"a CA that is not PEM", HEAD "    ca_file: secret\n", "holds no PEM certificate"},
    {"strange proxy", HEAD "    proxy: socks5://p\n", "proxy: not an http"},
    {"same issuer twice", HEAD "  other: {issuer: 'https://idp.example.com', audiences: x}\n",
     ":5:19: identity_providers.other.issuer: provider `corp`"},
};

static void mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        bool found = false;

        begin(&r, cases[i].yaml);
        assert_int_equal(r.ok, r.problems.errors == 0);
        for (size_t k = 0; k < r.problems.count && cases[i].problem; k++)
            found = found || strstr(r.problems.items[k].text, cases[i].problem);
        if (cases[i].problem ? !found : r.problems.count > 0)
            fail_msg("%s: %s", cases[i].why, r.problems.count ? r.problems.items[0].text : "no problem");
        for (size_t k = 0; k < r.problems.count; k++)
            assert_null(strstr(r.problems.items[k].text, "0123456789abcdef")); /* no secret in a message */
        end(&r);
    }
}

static void what_is_read(void **state)
{
    struct reading r;
    const struct tg_provider *p;

    (void)state;
    begin(&r, HEAD "    jwks: " EC "\n    leeway: 5s\n    token_use: id\n"
                   "  two: {issuer: 'https://two/', audiences: [a, b], supported_algs: PS512, max_stale: 2h,"
                   " timeout: 3s}\n");
    assert_true(r.ok);
    assert_int_equal(r.providers.count, 2);
    p = &r.providers.items[0];
    assert_true(p->local && !p->discovery && !p->source);
    assert_int_equal(p->algs, TG_ALGS_DEFAULT);
    assert_int_equal(p->rules.leeway_s, 5);
    assert_int_equal(p->rules.token_use, TG_USE_ID);
    assert_true(tg_slice_eq(p->groups_claim, TG_S("groups")));
    p = &r.providers.items[1];
    assert_true(!p->local && p->discovery);
    assert_int_equal(p->rules.leeway_s, 30);
    assert_int_equal(p->rules.audience_count, 2);
    assert_int_equal(p->algs, TG_ALG_BIT(TG_ALG_PS512));
    assert_int_equal(p->max_stale_ms, 7200000);
    assert_int_equal(p->timeout_ms, 3000);
    assert_int_equal(tg_providers_find(&r.providers, TG_S("two")), 1);
    assert_int_equal(tg_providers_find(&r.providers, TG_S("tw")), -1);
    end(&r);
}

static void some_skipped_is_a_warning(void **state)
{
    struct reading r;

    (void)state;
    begin(&r, HEAD "    jwks: {keys: [" EC ", {kty: XX, kid: b}]}\n");
    assert_true(r.ok);
    assert_int_equal(r.problems.count, 1);
    assert_true(r.problems.items[0].warning);
    assert_non_null(strstr(r.problems.items[0].text, "keys skipped: "));
    end(&r);
}

static void strict_rules(void **state)
{
    struct reading r;
    const struct tg_provider *p;

    (void)state;
    begin(&r, HEAD "    profile: rfc9068\n    required_claims: [tenant, x]\n    required_scopes: read\n"
                   "    max_lifetime: 1h\n    max_age: 90s\n  two: {issuer: 'https://two', audiences: a}\n");
    assert_true(r.ok);
    p = &r.providers.items[0];
    assert_true(p->rules.rfc9068 && p->rules.max_lifetime_s == 3600 && p->rules.max_age_s == 90);
    assert_int_equal(p->rules.required_claim_count, 2);
    assert_true(tg_slice_eq(p->rules.required_claims[0], TG_S("tenant")));
    assert_int_equal(p->required_scopes->count, 1);
    p = &r.providers.items[1];
    assert_true(!p->rules.rfc9068 && p->rules.max_lifetime_s == 0 && p->rules.max_age_s == 0 && !p->introspection);
    assert_int_equal(p->rules.required_claim_count + p->required_scopes->count, 0);
    end(&r);
}

/* An opaque token says nothing of who made it: what matters is how many could have. */
static void who_takes_opaque_tokens(void **state)
{
    #define ASKS "introspection: {url: 'https://i', client_id: me, client_secret_file: secret"
    struct reading r;
    const struct tg_provider *first;

    (void)state;
    begin(&r, HEAD "  b: {issuer: 'https://b', audiences: x, " ASKS "}}\n"
                   "  c: {issuer: 'https://c', audiences: x, " ASKS ", for: always, accept_opaque: false}}\n"
                   "  d: {issuer: 'https://d', audiences: x, " ASKS "}}\n");
    assert_true(r.ok);
    assert_int_equal(tg_providers_of_opaque(&r.providers, UINT64_MAX, &first), 2);
    assert_ptr_equal(first, &r.providers.items[1]);
    assert_int_equal(tg_providers_of_opaque(&r.providers, 8, &first), 1);
    assert_ptr_equal(first, &r.providers.items[3]);
    assert_int_equal(tg_providers_of_opaque(&r.providers, 5, &first), 0);
    assert_null(first);
    end(&r);
}

static void tollgate_itself(void **state)
{
    struct tg_providers none = {0};
    const struct tg_provider *p;
    struct reading r;

    (void)state;
    begin(&r, HEAD);
    tg_providers_add_pats(&r.providers, &r.arena);
    assert_int_equal(r.providers.count, 2);
    assert_true(tg_slice_eq(r.providers.items[0].name, TG_S("corp")));
    p = tg_providers_of_issuer(&r.providers, TG_S("urn:tollgate:pat"));
    assert_ptr_equal(p, &r.providers.items[1]);
    assert_int_equal(tg_providers_find(&r.providers, TG_S("personal_access_tokens")), 1);
    assert_true(p->pats && p->local && tg_jwks_count(p->local) == 0 && !p->discovery && p->required_scopes);
    tg_providers_add_pats(&none, &r.arena);
    assert_int_equal(none.count, 1);
    tg_providers_fini(&none);
    end(&r);
}

static void at_most_63(void **state)
{
    struct tg_buf yaml = {0};
    struct reading r;

    (void)state;
    tg_buf_adds(&yaml, "identity_providers:\n");
    for (int i = 1; i < TG_PROVIDERS_MAX; i++)
        tg_buf_addf(&yaml, "  p%d: {issuer: 'https://i%d', audiences: x}\n", i, i);
    begin(&r, tg_buf_cstr(&yaml));
    assert_true(r.ok);
    tg_providers_add_pats(&r.providers, &r.arena);
    assert_int_equal(r.providers.count, TG_PROVIDERS_MAX);
    end(&r);
    tg_buf_adds(&yaml, "  more: {issuer: 'https://more', audiences: x}\n");
    begin(&r, tg_buf_cstr(&yaml));
    assert_false(r.ok);
    assert_int_equal(r.providers.count, TG_PROVIDERS_MAX - 1);
    end(&r);
    tg_buf_fini(&yaml);
}

static void write_public_key(void)
{
    struct tg_buf pem = {0};
    struct tg_signer *signer;

    assert_int_equal(tg_signer_generate(TG_ALG_ES256, &signer, NULL), TG_OK);
    assert_int_equal(tg_signer_pem(signer, &pem, NULL), TG_OK); /* the public half of a private key is taken */
    write_file("ec.pem", tg_buf_slice(&pem));
    tg_buf_fini(&pem);
    tg_signer_jwks(signer, &pem);
    write_file("ec.json", tg_buf_slice(&pem));
    tg_buf_fini(&pem);
    tg_signer_free(signer);
}

static void copy_certificate(void)
{
    struct tg_buf pem = {0};

    assert_int_equal(tg_file_read(TG_VECTORS "/certificate.pem", 4096, &pem, NULL), TG_OK);
    write_file("ca.pem", tg_buf_slice(&pem));
    tg_buf_fini(&pem);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return 1;
    write_public_key();
    copy_certificate();
    write_file("secret", TG_S("0123456789abcdef0123456789abcdef\n"));
    write_file("short", TG_S("0123456789abcdef\n"));
    write_file("oct.json", TG_S("{\"keys\":[{\"kty\":\"oct\",\"kid\":\"o\",\"k\":"
                                "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}"));
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"ca.pem", "ec.pem", "ec.json", "secret", "short", "oct.json"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes),
        cmocka_unit_test(what_is_read),
        cmocka_unit_test(some_skipped_is_a_warning),
        cmocka_unit_test(strict_rules),
        cmocka_unit_test(who_takes_opaque_tokens),
        cmocka_unit_test(tollgate_itself),
        cmocka_unit_test(at_most_63),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
