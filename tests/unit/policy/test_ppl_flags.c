/* Route flags as an allow rule. */
#include "support.h"

#define ALICE \
    "{\"sub\":\"user-1\",\"email\":\"alice@example.com\",\"groups\":[\"eng\"],\"plan\":{\"tier\":3},\"aud\":\"app\"}"

struct flags {
    bool public_access, preflight, authenticated;
    const char *domain, *user, *claims;                  /* "": set and empty */
};

static bool add(struct loaded *l, const struct flags *f)
{
    struct tg_slice domain = tg_slice_str(f->domain), user = tg_slice_str(f->user);
    struct tg_ppl_flags flags = {.public_access = f->public_access,
                                 .cors_preflight = f->preflight,
                                 .any_authenticated = f->authenticated,
                                 .domains = f->domain ? &domain : NULL,
                                 .domain_count = domain.len > 0,
                                 .users = f->user ? &user : NULL,
                                 .user_count = user.len > 0};
    struct tg_tree *tree = NULL;
    bool ok;

    assert_int_equal(tg_tree_parse("r.yaml", tg_slice_str(f->claims ? f->claims : "{}"), &tree, NULL), TG_OK);
    flags.idp_claims = f->claims ? tree->root : NULL;
    flags.node = tree->root;
    ok = tg_ppl_add_flags(l->builder, tree, &flags, &l->problems);
    tg_tree_free(tree);
    return ok;
}

static const struct {
    const char *why;
    struct flags flags;
    const char *policy;
    struct request request;
    enum tg_decision want;
} cases[] = {
    {"nothing set", {0}, NULL, {.claims = ALICE}, TG_DENY},
    {"public", {.public_access = true}, NULL, {0}, TG_ALLOW},
    {"preflight", {.preflight = true}, NULL, {.preflight = true}, TG_ALLOW},
    {"no preflight", {.preflight = true}, NULL, {0}, TG_DENY},
    {"preflight beside users", {.preflight = true, .user = "user-1"}, NULL, {.preflight = true}, TG_ALLOW},
    {"any user", {.authenticated = true}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"any user, nobody", {.authenticated = true}, NULL, {0}, TG_UNAUTHENTICATED},
    {"domain", {.domain = "example.com"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"other domain", {.domain = "example.org"}, NULL, {.claims = ALICE}, TG_DENY},
    {"user by id", {.user = "user-1"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"user by e-mail", {.user = "alice@example.com"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"other user", {.user = "bob"}, NULL, {.claims = ALICE}, TG_DENY},
    {"claim in a list", {.claims = "{groups: [ops, eng]}"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"one claim value", {.claims = "{aud: app}"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"nested claim", {.claims = "{plan: {tier: [1, 3.0]}}"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"dotted claim", {.claims = "{plan.tier: 3}"}, NULL, {.claims = ALICE}, TG_ALLOW},
    {"other claim", {.claims = "{groups: [ops], plan: {tier: 4, name: x}}"}, NULL, {.claims = ALICE}, TG_DENY},
    {"no values", {.claims = "{groups: [], plan: {}}"}, NULL, {.claims = ALICE}, TG_DENY},
    {"ORed with a policy", {.user = "bob"}, "{allow: {and: [{claim/groups: eng}]}}", {.claims = ALICE}, TG_ALLOW},
    {"deny wins", {.authenticated = true}, "{deny: {or: [{http_method: GET}]}}", {.claims = ALICE}, TG_DENY},
};

static void decided(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_claims *claims;
        struct tg_facts facts;
        struct tg_verdict v;
        struct loaded l;

        loaded_init(&l);
        if (!add(&l, &cases[i].flags))
            fail_msg("%s: %s", cases[i].why, l.problems.items[0].text);
        if (cases[i].policy)
            assert_true(loaded_add(&l, cases[i].policy));
        claims = facts_of(&cases[i].request, &facts);
        tg_ppl_decide(tg_ppl_finish(l.builder), &facts, &v);
        if (v.decision != cases[i].want)
            fail_msg("%s: decided %d", cases[i].why, v.decision);
        tg_claims_free(claims);
        loaded_fini(&l);
    }
}

static void contradictions(void **state)
{
    static const struct {
        const char *why;
        struct flags flags;
        const char *error;
    } bad[] = {
        {"public and any user", {.public_access = true, .authenticated = true}, "admits everybody"},
        {"public and users", {.public_access = true, .user = "a"}, "admits everybody"},
        {"public and an empty list", {.public_access = true, .domain = ""}, "admits everybody"},
        {"any user and domains", {.authenticated = true, .domain = "a"}, "admits every user"},
        {"any user and an empty list", {.authenticated = true, .user = ""}, "admits every user"},
        {"claims that are no mapping", {.claims = "[a]"}, "a mapping of claim names"},
        {"an object in a list", {.claims = "{groups: [{a: b}]}"}, "a string, a number or a boolean"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tg_facts facts;
        struct tg_verdict v;
        struct loaded l;

        loaded_init(&l);
        if (add(&l, &bad[i].flags) || !strstr(l.problems.items[0].text, bad[i].error))
            fail_msg("%s", bad[i].why);
        assert_memory_equal(l.problems.items[0].text, "r.yaml:1:", 9);
        facts_of(&(struct request){0}, &facts);
        tg_ppl_decide(tg_ppl_finish(l.builder), &facts, &v);
        assert_int_equal(v.decision, TG_DENY);
        loaded_fini(&l);
    }
}

/* The rule that stands in every route when client certificates are enforced. */
static void certificate_deny(void **state)
{
    static const struct {
        const char *why, *policy;
        struct request request;
        enum tg_decision want;
        const char *reasons;
    } with_rule[] = {
        {"a valid one", "{allow: {and: [{accept: 1}]}}", {.shows = orders_certificate}, TG_ALLOW, "accept"},
        {"none", "{allow: {and: [{accept: 1}]}}", {.cert = TG_CLIENT_CERT_MISSING}, TG_DENY,
         "client-certificate-required"},
        {"an invalid one", "{allow: {and: [{client_certificate: {fingerprint: " FINGERPRINT "}}]}}",
         {.shows = orders_certificate, .cert = TG_CLIENT_CERT_INVALID}, TG_DENY, "invalid-client-certificate"},
        {"it outranks the login", "{allow: {and: [{authenticated_user: 1}]}}", {.cert = TG_CLIENT_CERT_MISSING},
         TG_DENY, "client-certificate-required"},
        {"it allows nothing", NULL, {0}, TG_DENY, ""},
        {"nor hides a login", "{allow: {and: [{authenticated_user: 1}]}}", {0}, TG_UNAUTHENTICATED,
         "user-unauthenticated"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(with_rule); i++) {
        const struct tg_trace_node *trace;
        struct tg_facts facts;
        struct tg_verdict v;
        struct loaded l;
        char text[256];

        loaded_init(&l);
        if (with_rule[i].policy)
            assert_true(loaded_add(&l, with_rule[i].policy));
        tg_ppl_add_certificate_deny(l.builder);
        facts_of(&with_rule[i].request, &facts);
        trace = tg_ppl_trace(tg_ppl_finish(l.builder), &facts, &l.arena, &v);
        reasons_text(v.reasons, text, sizeof(text));
        if (v.decision != with_rule[i].want || strcmp(text, with_rule[i].reasons) != 0)
            fail_msg("%s: decided %d {%s}", with_rule[i].why, v.decision, text);
        while (trace->next)
            trace = trace->next;
        assert_string_equal(trace->name, "client certificates");
        assert_string_equal(trace->children->name, "deny");
        assert_true(v.policy <= 0);                      /* the rule is no policy that could be named */
        loaded_fini(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decided), cmocka_unit_test(contradictions),
                                       cmocka_unit_test(certificate_deny)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
