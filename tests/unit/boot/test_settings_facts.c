/*
 * test_settings_facts - what the log is told to hold: facts by route, and a digest that moves when decisions may.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "boot/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDP "identity_providers: {corp: {issuer: https://idp.test, audiences: [a]}}\n"
#define ROUTES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p]}]\n"
#define POLICIES "policies: [{name: p, ppl: {allow: {and: [{claim/role: x}]}}}]\n"
#define PLAIN IDP ROUTES POLICIES
#define LIMITED(section) \
    IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p], rate_limits: " section "}]\n"
#define BIT(f) TG_FACT_BIT(TG_FACT_##f)

static struct tg_settings read_settings(const char *name, const char *yaml)
{
    struct tg_problems problems = {0};
    struct tg_settings s;

    if (!tg_settings_parse(name, tg_slice_str(yaml), &s, &problems))
        fail_msg("%s: %s", yaml, problems.items[0].text);
    tg_problems_fini(&problems);
    return s;
}

/* ---- what is read ---- */

static const struct {
    const char *yaml;
    unsigned facts;
    const char *claims;                                  /* each with a space behind it */
} reads[] = {
    {PLAIN, 0, "plan role "},                            /* plan: of the tiers when nothing is said */
    {PLAIN "rate_limits: off\n", 0, "role "},
    {PLAIN "rate_limits: {tiers: [{name: a, limit: 1, when: [{claim/x.y: 1}, {email: {is: a@b}}]}, {name: b, limit: 1}"
           "]}\n", BIT(EMAIL), "role x.y "},
    {PLAIN "rate_limits: {tiers: [{name: a, limit: 1, when: [{claim/x: 1}], key: claim/org}, {name: b, windows: ["
           "{limit: 1, window: 1s}, {limit: 9, limit_claim: rate, limit_ceiling: 9}]}]}\n", 0, "org rate role x "},
    {IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p], rate_limits: {tiers: [{name: a, "
                  "limit: 1, key: claim/email}]}}]\n", BIT(EMAIL), "email role "},
    {IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p], rate_limits: off}]\n", 0, "role "},
    {IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p], rate_limits: {mode: shadow}}]\n", 0,
     "plan role "},
    {PLAIN "access_log: {claims: [zone, role, a.b]}\n", 0, "a.b plan role zone "},
    {PLAIN "access_log: {facts: false}\n", 0, "plan role "}, /* the gate asks it whether content is to be read */
    {IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p], required_scopes: [a]}]\n", 0,
     "plan role scope scp "},
    {"identity_providers: {corp: {issuer: https://idp.test, audiences: [a], required_scopes: [x]}}\n" ROUTES POLICIES,
     0, "plan role scope scp "},
    {"identity_providers: {corp: {issuer: https://idp.test, audiences: [a]}, other: {issuer: https://o.test,\n"
     "  audiences: [a], required_scopes: [x]}}\n" POLICIES
     "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p],\n"
     "  identity_providers: [corp]}]\n", 0, "plan role "},
    {"upstream: http://127.0.0.1:1\n" IDP, BIT(USER), "plan "},
    {IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, mode: shadow, policy: {allow: {and: [{groups: {has: x"
                  "}}]}}}]\n", BIT(GROUPS), "plan "},
};

static void what_routes_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        struct tg_settings s = read_settings("t.yaml", reads[i].yaml);
        const struct tg_fact_set *set = tg_routes_at(s.config->routes, 0)->reads;
        struct tg_buf names = {0};

        assert_non_null(set);
        for (size_t k = 0; k < set->claim_count; k++)
            tg_buf_addf(&names, TG_S_FMT " ", TG_S_ARG(set->claims[k]));
        if (set->facts != reads[i].facts || strcmp(tg_buf_cstr(&names), reads[i].claims) != 0)
            fail_msg("%s: %x %s", reads[i].yaml, set->facts, names.data);
        tg_buf_fini(&names);
        tg_settings_fini(&s);
    }
}

static void whether_facts_are_logged(void **state)
{
    struct tg_settings s = read_settings("t.yaml", PLAIN);

    (void)state;
    assert_true(s.config->log_facts);
    tg_settings_fini(&s);
    s = read_settings("t.yaml", PLAIN "access_log: {facts: false}\n");
    assert_false(s.config->log_facts);
    tg_settings_fini(&s);
}

static void wrong_claims(void **state)
{
    static const char *const wrong[] = {"access_log: {claims: ['']}\n", "access_log: {claims: {a: b}}\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct tg_problems problems = {0};
        struct tg_settings s;
        char yaml[512];

        snprintf(yaml, sizeof yaml, PLAIN "%s", wrong[i]);
        assert_false(tg_settings_parse("t.yaml", tg_slice_str(yaml), &s, &problems));
        assert_non_null(strstr(problems.items[0].text, "access_log.claims"));
        tg_problems_fini(&problems);
    }
}

/* ---- what tells configurations apart ---- */

/* Each decides differently from the plain one, and from the others. */
static const char *const differ[] = {
    PLAIN,
    IDP ROUTES "policies: [{name: p, ppl: {allow: {and: [{claim/role: y}]}}}]\n",
    IDP ROUTES "policies: [{name: p, enforced: true, ppl: {allow: {and: [{claim/role: x}]}}}]\n",
    IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /a, policies: [p]}]\n",
    IDP POLICIES "routes: [{to: 'http://127.0.0.1:1', prefix: /, policies: [p], identity_providers: [corp]}]\n",
    "identity_providers: {corp: {issuer: https://idp.test, audiences: [a], groups_claim: roles}}\n" ROUTES POLICIES,
    "identity_providers: {other: {issuer: https://idp.test, audiences: [a]}}\n" ROUTES POLICIES,
    PLAIN "rate_limits: off\n",
    PLAIN "rate_limits: {mode: shadow}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 1}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, window: 1h}]}\n",
    PLAIN "rate_limits: {tiers: [{name: a, limit: 2, when: [{claim/plan: x}]}, {name: b, limit: 2}]}\n",
    PLAIN "rate_limits: {tiers: [{name: a, limit: 2, when: [{claim/plan: y}]}, {name: b, limit: 2}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2}, {name: unauthenticated, limit: 2}]}\n",
    PLAIN "rate_limits: {algorithm: sliding}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, mode: shadow}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, key: address}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, key: claim/a}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, key: claim/b}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, limit_claim: a, limit_ceiling: 3}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, limit_claim: b, limit_ceiling: 3}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, limit: 2, limit_claim: b, limit_ceiling: 4}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, windows: [{limit: 2}, {limit: 3, window: 2m}]}]}\n",
    PLAIN "rate_limits: {tiers: [{name: b, windows: [{limit: 2}, {limit: 4, window: 2m}]}]}\n",
    LIMITED("off"),
    LIMITED("{mode: shadow}"),
    LIMITED("{tiers: [{name: b, limit: 1}]}"),
    LIMITED("{tiers: [{name: b, limit: 2}]}"),
    LIMITED("{mode: shadow}") "rate_limits: {algorithm: sliding}\n",
};
/* Each decides as the plain one. */
static const char *const alike[] = {
    PLAIN "realm: other\n",
    PLAIN "# a word\naccess_log: {claims: [zone]}\n",
    PLAIN "timeouts: {body: 1s}\nworkers: 3\nerror_format: problem\n",
    PLAIN "rate_limits: {store: 'redis://h', when_store_fails: deny, max_keys: 5000, x_ratelimit: delta}\n",
};

static void what_decides(void **state)
{
    char sets[ARRAY_LEN(differ)][17];
    struct tg_settings s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(differ); i++) {
        s = read_settings("t.yaml", differ[i]);
        snprintf(sets[i], sizeof(sets[i]), "%s", s.config->policy_set);
        assert_int_equal(strlen(sets[i]), 16);
        tg_settings_fini(&s);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(sets[i], sets[k]) == 0)
                fail_msg("the same:\n%s\n%s", differ[i], differ[k]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(alike); i++) {
        s = read_settings("t.yaml", alike[i]);
        assert_string_equal(s.config->policy_set, sets[0]);
        tg_settings_fini(&s);
    }
}

/* A file of policies_dir moves it, and so does its name; writing the same again does not. */
static void files_of_policies(void **state)
{
    static const char *const steps[][2] = {
        {"a.yaml", "allow: {and: [{claim/role: x}]}\n"},
        {"a.yaml", "allow: {and: [{claim/role: y}]}\n"},
        {"b.yaml", "deny: {and: [{claim/role: y}]}\n"},
        {"b.yaml", "deny: {and: [{claim/role: z}]}\n"},
    };
    char dir[] = "/tmp/tollgate-test-XXXXXX", name[64], file[64], before[17] = "";
    struct tg_settings s;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(name, sizeof(name), "%s/t.yaml", dir);
    snprintf(file, sizeof(file), "%s/p", dir);
    assert_int_equal(mkdir(file, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        FILE *f;

        snprintf(file, sizeof(file), "%s/p/%s", dir, steps[i][0]);
        f = fopen(file, "w");
        assert_non_null(f);
        fputs(steps[i][1], f);
        fclose(f);
        for (int again = 0; again < 2; again++) {
            s = read_settings(name, IDP "policies_dir: p\nupstream: http://127.0.0.1:1\n");
            assert_int_equal(strcmp(s.config->policy_set, before) == 0, again);
            snprintf(before, sizeof(before), "%s", s.config->policy_set);
            tg_settings_fini(&s);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        snprintf(file, sizeof(file), "%s/p/%s", dir, steps[i][0]);
        unlink(file);
    }
    snprintf(file, sizeof(file), "%s/p", dir);
    rmdir(file);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_routes_read), cmocka_unit_test(whether_facts_are_logged),
        cmocka_unit_test(wrong_claims),     cmocka_unit_test(what_decides),
        cmocka_unit_test(files_of_policies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
