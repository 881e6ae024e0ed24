/* What a policy decides, and with which reasons. */
#include "support.h"

#define ALICE \
    "{\"sub\":\"user-1\",\"email\":\"alice@example.com\",\"groups\":[\"eng\",\"admin\"],\"level\":5,\"ok\":true," \
    "\"roles\":[],\"plan\":{\"tier\":3},\"note\":\"\",\"mixed\":[\"1\",2,null,[1],{\"a\":1}],\"twice\":[\"x\",\"x\"]}"
#define NO_MAIL "{\"sub\":\"user-2\"}"
#define NO_AT "{\"sub\":\"user-3\",\"email\":\"alice\"}"
#define TWO_AT "{\"sub\":\"user-4\",\"email\":\"a@middle@example.com\"}"

#define CERT(matcher) "{allow: {and: [{client_certificate: " matcher "}]}}"
#define SHOWN {.shows = orders_certificate}
#define CERT_OK "client-certificate-ok"
#define CERT_NO "client-certificate-unauthorized"

static const struct {
    const char *why, *policy;
    struct request request;
    enum tg_decision want;
    const char *reasons;
} cases[] = {
    /* combination */
    {"default deny", "{}", {0}, TG_DENY, ""},
    {"and", "{allow: {and: [{accept: 1}, {http_method: GET}]}}", {0}, TG_ALLOW, "accept http-method-ok"},
    {"a false and keeps the reasons of the false", "{allow: {and: [{accept: 1}, {http_method: PUT}]}}", {0}, TG_DENY,
     "http-method-unauthorized"},
    {"a true or keeps the reasons of the true", "{allow: {or: [{accept: 1}, {http_method: PUT}]}}", {0}, TG_ALLOW,
     "accept"},
    {"a false or keeps all", "{allow: {or: [{reject: 1}, {http_method: PUT}]}}", {0}, TG_DENY,
     "reject http-method-unauthorized"},
    {"not is NOR", "{allow: {not: [{reject: 1}, {accept: 1}]}}", {0}, TG_DENY, "accept"},
    {"a true not keeps the reasons", "{allow: {not: [{reject: 1}, {http_method: PUT}]}}", {0}, TG_ALLOW,
     "reject http-method-unauthorized"},
    {"nor is NAND", "{allow: {nor: [{reject: 1}, {accept: 1}]}}", {0}, TG_ALLOW, "reject"},
    {"a false nor", "{allow: {nor: [{accept: 1}, {http_method: GET}]}}", {0}, TG_DENY, "accept http-method-ok"},
    {"operators are ORed", "{allow: {and: [{reject: 1}], or: [{accept: 1}]}}", {0}, TG_ALLOW, "accept"},
    {"empty operators do not count", "{allow: {and: [], not: []}}", {0}, TG_DENY, ""},
    {"deny wins", "{allow: {and: [{accept: 1}]}, deny: {and: [{http_method: GET}]}}", {0}, TG_DENY, "http-method-ok"},
    {"deny alone never allows", "{deny: {and: [{reject: 1}]}}", {0}, TG_DENY, ""},
    /* who */
    {"login outranks allow", "{allow: {not: [{email: bob@x}]}}", {0}, TG_UNAUTHENTICATED, "user-unauthenticated"},
    {"login outranks deny", "{allow: {and: [{email: a@x}]}, deny: {and: [{accept: 1}]}}", {0}, TG_UNAUTHENTICATED,
     "user-unauthenticated"},
    {"login from a false deny", "{allow: {and: [{accept: 1}]}, deny: {or: [{email: eve@x}]}}", {0}, TG_UNAUTHENTICATED,
     "user-unauthenticated"},
    {"a true or hides it", "{allow: {or: [{accept: 1}, {email: a@x}]}}", {0}, TG_ALLOW, "accept"},
    {"a true deny hides it", "{allow: {and: [{accept: 1}]}, deny: {or: [{accept: 1}, {email: a@x}]}}", {0}, TG_DENY,
     "accept"},
    {"no identity: exclude is false", "{allow: {and: [{claim/groups: {exclude: x}}]}}", {0}, TG_UNAUTHENTICATED,
     "user-unauthenticated"},
    {"no identity: {} is false", "{allow: {and: [{email: {}}]}}", {0}, TG_UNAUTHENTICATED, "user-unauthenticated"},
    {"no identity: not_in is false", "{allow: {and: [{user: {not_in: []}}]}}", {0}, TG_UNAUTHENTICATED,
     "user-unauthenticated"},
    {"no identity: groups", "{allow: {and: [{groups: {exclude: x}}]}}", {0}, TG_UNAUTHENTICATED,
     "user-unauthenticated"},
    {"no identity: domain", "{allow: {and: [{domain: {not: x}}]}}", {0}, TG_UNAUTHENTICATED, "user-unauthenticated"},
    {"authenticated", "{allow: {and: [{authenticated_user: false}]}}", {.claims = ALICE}, TG_ALLOW, "user-ok"},
    {"authenticated without user id", "{allow: {and: [{authenticated_user: 1}]}}", {.claims = "{}"}, TG_DENY,
     "user-unauthorized"},
    {"user is sub", "{allow: {and: [{user: user-1}]}}", {.claims = ALICE}, TG_ALLOW, "user-ok"},
    {"user is not e-mail", "{allow: {and: [{user: alice@example.com}]}}", {.claims = ALICE}, TG_DENY,
     "user-unauthorized"},
    /* texts */
    {"is", "{allow: {and: [{email: {is: alice@example.com}}]}}", {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"case matters", "{allow: {and: [{email: Alice@example.com}]}}", {.claims = ALICE}, TG_DENY, "email-unauthorized"},
    {"no trimming", "{allow: {and: [{email: 'alice@example.com '}]}}", {.claims = ALICE}, TG_DENY,
     "email-unauthorized"},
    {"not", "{allow: {and: [{email: {not: bob@x}}]}}", {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"contains", "{allow: {and: [{email: {contains: '@ex'}}]}}", {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"contains nothing", "{allow: {and: [{email: {contains: ''}}]}}", {.claims = NO_MAIL}, TG_ALLOW, "email-ok"},
    {"starts", "{allow: {and: [{email: {starts_with: alice}}]}}", {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"ends", "{allow: {and: [{email: {ends_with: .org}}]}}", {.claims = ALICE}, TG_DENY, "email-unauthorized"},
    {"operators are ANDed", "{allow: {and: [{email: {starts_with: alice, ends_with: .org}}]}}", {.claims = ALICE},
     TG_DENY,
     "email-unauthorized"},
    {"in", "{allow: {and: [{email: {in: [1, b, alice@example.com]}}]}}", {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"a long in", "{allow: {and: [{email: {in: [a, b, c, d, e, f, g, alice@example.com, i]}}]}}", {.claims = ALICE},
     TG_ALLOW, "email-ok"},
    {"empty in", "{allow: {and: [{email: {in: []}}]}}", {.claims = ALICE}, TG_DENY, "email-unauthorized"},
    {"empty not_in", "{allow: {and: [{email: {not_in: []}}]}}", {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"a list is one value", "{allow: {and: [{email: [alice@example.com]}]}}", {.claims = ALICE}, TG_DENY,
     "email-unauthorized"},
    {"nor is a number text", "{allow: {and: [{http_path: {is: 5}}]}}", {.path = "5"}, TG_DENY,
     "http-path-unauthorized"},
    {"{} is no condition", "{allow: {and: [{http_path: {}}]}}", {0}, TG_ALLOW, "http-path-ok"},
    {"no e-mail is empty", "{allow: {and: [{email: ''}]}}", {.claims = NO_MAIL}, TG_ALLOW, "email-ok"},
    {"no e-mail differs", "{allow: {and: [{email: {not: a@x}}]}}", {.claims = NO_MAIL}, TG_ALLOW, "email-ok"},
    {"domain", "{allow: {and: [{domain: example.com}]}}", {.claims = ALICE}, TG_ALLOW, "domain-ok"},
    {"no domain: negations fail", "{allow: {and: [{domain: {not: x}}]}}", {.claims = NO_AT}, TG_DENY,
     "domain-unauthorized"},
    {"no domain: even {}", "{allow: {and: [{domain: {}}]}}", {.claims = NO_MAIL}, TG_DENY, "domain-unauthorized"},
    {"domain of two @", "{allow: {and: [{domain: middle}]}}", {.claims = TWO_AT}, TG_ALLOW, "domain-ok"},
    {"path", "{allow: {and: [{http_path: {starts_with: /api/}}]}}", {.path = "/api/x"}, TG_ALLOW, "http-path-ok"},
    /* lists */
    {"has", "{allow: {and: [{claim/groups: admin}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"whole elements", "{allow: {and: [{claim/groups: adm}]}}", {.claims = ALICE}, TG_DENY, "claim-unauthorized"},
    {"numbers by value", "{allow: {and: [{claim/level: 5.0}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"no coercion", "{allow: {and: [{claim/level: '5'}]}}", {.claims = ALICE}, TG_DENY, "claim-unauthorized"},
    {"no coercion back", "{allow: {and: [{claim/mixed: 1}]}}", {.claims = ALICE}, TG_DENY, "claim-unauthorized"},
    {"booleans", "{allow: {and: [{claim/ok: true}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"boolean of the other kind", "{allow: {and: [{claim/ok: false}]}}", {.claims = ALICE}, TG_DENY,
     "claim-unauthorized"},
    {"null in a list", "{allow: {and: [{claim/mixed: ~}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"missing is not null", "{allow: {and: [{claim/none: ~}]}}", {.claims = ALICE}, TG_DENY, "claim-unauthorized"},
    {"a list in a list", "{allow: {and: [{claim/mixed: [1]}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"an object in a list", "{allow: {and: [{claim/mixed: {has: {a: 1}}}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"empty text", "{allow: {and: [{claim/note: ''}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"dotted", "{allow: {and: [{claim/plan.tier: 3}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"slashed never", "{allow: {and: [{claim/plan/tier: 3}]}}", {.claims = ALICE}, TG_DENY, "claim-unauthorized"},
    {"only", "{allow: {and: [{claim/level: {is: 5}}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"only of two", "{allow: {and: [{claim/groups: {is: eng}}]}}", {.claims = ALICE}, TG_DENY, "claim-unauthorized"},
    {"duplicates are two", "{allow: {and: [{claim/twice: {is: x}}]}}", {.claims = ALICE}, TG_DENY,
     "claim-unauthorized"},
    {"exclude", "{allow: {and: [{claim/groups: {exclude: ops}}]}}", {.claims = ALICE}, TG_ALLOW, "claim-ok"},
    {"exclude of the missing", "{allow: {and: [{claim/none: {exclude: ops}}]}}", {.claims = ALICE}, TG_ALLOW,
     "claim-ok"},
    {"has and exclude", "{allow: {and: [{claim/groups: {has: eng, exclude: admin}}]}}", {.claims = ALICE}, TG_DENY,
     "claim-unauthorized"},
    {"groups", "{allow: {and: [{groups: eng}]}}", {.claims = ALICE}, TG_ALLOW, "groups-ok"},
    {"groups elsewhere", "{allow: {and: [{groups: x}]}}", {.claims = ALICE, .groups_claim = "twice"}, TG_ALLOW,
     "groups-ok"},
    {"no groups", "{allow: {and: [{groups: {exclude: x}}]}}", {.claims = NO_MAIL}, TG_ALLOW, "groups-ok"},
    /* united lists */
    {"or of one subject", "{allow: {or: [{email: a}, {email: {in: [b, c]}}, {email: {is: alice@example.com}}]}}",
     {.claims = ALICE}, TG_ALLOW, "email-ok"},
    {"or of one subject, false", "{allow: {or: [{email: a}, {email: b}, {http_method: PUT}]}}", {.claims = ALICE},
     TG_DENY,
     "email-unauthorized http-method-unauthorized"},
    {"and of one subject is no or", "{allow: {and: [{email: a}, {email: alice@example.com}]}}", {.claims = ALICE},
     TG_DENY,
     "email-unauthorized"},
    {"and of negations", "{allow: {and: [{email: {not: a}}, {email: {not_in: [alice@example.com]}}]}}",
     {.claims = ALICE},
     TG_DENY, "email-unauthorized"},
    {"not of one subject", "{allow: {not: [{claim/groups: ops}, {claim/groups: admin}]}}", {.claims = ALICE}, TG_DENY,
     "claim-ok"},
    {"nor of negations", "{allow: {nor: [{claim/groups: {exclude: a}}, {claim/groups: {exclude: eng}}]}}",
     {.claims = ALICE}, TG_ALLOW, "claim-unauthorized"},
    {"different claims stay apart", "{allow: {or: [{claim/groups: 5}, {claim/level: eng}]}}", {.claims = ALICE},
     TG_DENY,
     "claim-unauthorized"},
    {"claim and groups stay apart", "{allow: {or: [{claim/groups: x}, {groups: eng}]}}", {.claims = ALICE}, TG_ALLOW,
     "groups-ok"},
    {"or of addresses", "{allow: {or: [{source_ip: 10.0.0.1}, {source_ip: [192.0.2.0/24]}]}}", {0}, TG_ALLOW,
     "source-ip-ok"},
    {"and of addresses", "{allow: {and: [{source_ip: 10.0.0.1}, {source_ip: 192.0.2.0/24}]}}", {0}, TG_DENY,
     "source-ip-unauthorized"},
    /* addresses, preflight, certificates */
    {"empty list", "{allow: {and: [{source_ip: []}]}}", {0}, TG_DENY, "source-ip-unauthorized"},
    {"unknown address", "{allow: {and: [{source_ip: [0.0.0.0/0, '::/0']}]}}", {.ip = ""}, TG_DENY,
     "source-ip-unauthorized"},
    {"families stay apart", "{allow: {and: [{source_ip: '::/0'}]}}", {0}, TG_DENY, "source-ip-unauthorized"},
    {"mapped", "{allow: {and: [{source_ip: '::ffff:192.0.2.0/120'}]}}", {0}, TG_ALLOW, "source-ip-ok"},
    {"preflight", "{allow: {and: [{cors_preflight: 1}]}}", {.preflight = true}, TG_ALLOW, "cors-request"},
    {"no preflight", "{allow: {and: [{cors_preflight: 1}]}}", {0}, TG_DENY, "non-cors-request"},
    {"no client CA", "{allow: {not: [{invalid_client_certificate: true}]}}", {0}, TG_ALLOW, "valid-client-certificate"},
    {"a missing certificate outranks the login",
     "{allow: {and: [{email: a}]}, deny: {or: [{invalid_client_certificate: 1}]}}",
     {.cert = TG_CLIENT_CERT_MISSING}, TG_DENY, "client-certificate-required"},
    {"a bad certificate", "{allow: {and: [{accept: 1}]}, deny: {or: [{invalid_client_certificate: 1}]}}",
     {.cert = TG_CLIENT_CERT_INVALID}, TG_DENY, "invalid-client-certificate"},
    /* the certificate shown */
    {"any", CERT("{}"), SHOWN, TG_ALLOW, CERT_OK},
    {"any, without a name", CERT("{}"), {.shows = bare_certificate}, TG_ALLOW, CERT_OK},
    {"any, and none shown", CERT("{}"), {0}, TG_DENY, CERT_NO},
    {"any, and none shown though asked for", CERT("{}"), {.cert = TG_CLIENT_CERT_MISSING}, TG_DENY, CERT_NO},
    {"its validity is no matter here", CERT("{}"), {.shows = orders_certificate, .cert = TG_CLIENT_CERT_INVALID},
     TG_ALLOW, CERT_OK},
    {"it is no identity", "{allow: {and: [{client_certificate: {}}, {authenticated_user: 1}]}}", SHOWN,
     TG_UNAUTHENTICATED, "user-unauthenticated"},
    {"not, and none shown", "{allow: {not: [{client_certificate: {}}]}}", {0}, TG_ALLOW, CERT_NO},
    {"fingerprint", CERT("{fingerprint: " FINGERPRINT "}"), SHOWN, TG_ALLOW, CERT_OK},
    {"fingerprint in pairs", CERT("{fingerprint: '" FINGERPRINT_LONG "'}"), SHOWN, TG_ALLOW, CERT_OK},
    {"another fingerprint", CERT("{fingerprint: " OTHER_FINGERPRINT "}"), SHOWN, TG_DENY, CERT_NO},
    {"one of several", CERT("{fingerprint: [" OTHER_FINGERPRINT ", '" FINGERPRINT_LONG "']}"), SHOWN, TG_ALLOW,
     CERT_OK},
    {"one of none", CERT("{fingerprint: []}"), SHOWN, TG_DENY, CERT_NO},
    {"fingerprint, and none shown", CERT("{fingerprint: " FINGERPRINT "}"), {0}, TG_DENY, CERT_NO},
    {"key", CERT("{spki_hash: " SPKI "}"), SHOWN, TG_ALLOW, CERT_OK},
    {"another key", CERT("{spki_hash: [" OTHER_SPKI "]}"), SHOWN, TG_DENY, CERT_NO},
    {"a fingerprint is no key", CERT("{spki_hash: " OTHER_SPKI ", fingerprint: " FINGERPRINT "}"), SHOWN, TG_DENY,
     CERT_NO},
    {"all properties", CERT("{spki_hash: " SPKI ", fingerprint: " FINGERPRINT ", san_email: orders@example.com, "
     "san_dns: orders.example.com, san_uri: {starts_with: 'spiffe://example.com/ns/shop/'}}"), SHOWN, TG_ALLOW,
     CERT_OK},
    {"all but one", CERT("{spki_hash: " SPKI ", fingerprint: " FINGERPRINT ", san_email: orders@example.com, "
     "san_dns: orders.example.com, san_uri: {starts_with: 'spiffe://example.org/'}}"), SHOWN, TG_DENY, CERT_NO},
    {"the second name", CERT("{san_dns: '*.orders.example.com'}"), SHOWN, TG_ALLOW, CERT_OK},
    {"names are no patterns", CERT("{san_dns: a.orders.example.com}"), SHOWN, TG_DENY, CERT_NO},
    {"with case", CERT("{san_dns: Orders.example.com}"), SHOWN, TG_DENY, CERT_NO},
    {"an address is no DNS name", CERT("{san_dns: orders@example.com}"), SHOWN, TG_DENY, CERT_NO},
    {"in", CERT("{san_email: {in: [a@x, orders@example.com]}}"), SHOWN, TG_ALLOW, CERT_OK},
    {"in none", CERT("{san_email: {in: []}}"), SHOWN, TG_DENY, CERT_NO},
    {"ends with", CERT("{san_email: {ends_with: '@example.com'}}"), SHOWN, TG_ALLOW, CERT_OK},
    {"contains", CERT("{san_uri: {contains: /sa/payments}}"), SHOWN, TG_DENY, CERT_NO},
    {"different names for different operators",
     CERT("{san_dns: {is: orders.example.com, starts_with: '*.'}}"), SHOWN, TG_ALLOW, CERT_OK},
    {"`not` means that some name differs", CERT("{san_dns: {not: orders.example.com}}"), SHOWN, TG_ALLOW, CERT_OK},
    {"and with one name that it is", CERT("{san_email: {not: orders@example.com}}"), SHOWN, TG_DENY, CERT_NO},
    {"no name of the kind", CERT("{san_email: {not: a@x}}"), {.shows = bare_certificate}, TG_DENY, CERT_NO},
    {"every text ends with nothing, but there is none", CERT("{san_dns: {ends_with: ''}}"),
     {.shows = bare_certificate}, TG_DENY, CERT_NO},
    {"no condition", CERT("{san_dns: {}}"), {.shows = bare_certificate}, TG_ALLOW, CERT_OK},
    {"a number is no name", CERT("{san_dns: 5}"), SHOWN, TG_DENY, CERT_NO},
    {"a list is no name", CERT("{san_dns: [orders.example.com]}"), SHOWN, TG_DENY, CERT_NO},
    {"or of fingerprints", "{allow: {or: [{client_certificate: {fingerprint: " OTHER_FINGERPRINT "}}, "
     "{client_certificate: {fingerprint: " FINGERPRINT "}}]}}", SHOWN, TG_ALLOW, CERT_OK},
    {"or of properties", "{allow: {or: [{client_certificate: {spki_hash: " OTHER_SPKI "}}, "
     "{client_certificate: {san_dns: " SPKI "}}, {client_certificate: {san_email: x}}]}}", SHOWN, TG_DENY, CERT_NO},
    {"negations stay apart", "{allow: {and: [{client_certificate: {san_dns: {not: orders.example.com}}}, "
     "{client_certificate: {san_dns: {not: '*.orders.example.com'}}}]}}", SHOWN, TG_ALLOW, CERT_OK},
};

static const char *const decisions[] = {"allow", "deny", "unauthenticated"};

static void decided(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_claims *claims;
        struct tg_facts facts;
        struct tg_verdict v;
        struct loaded l;
        char text[512];

        loaded_init(&l);
        if (!loaded_add(&l, cases[i].policy))
            fail_msg("%s: %s", cases[i].policy, l.problems.items[0].text);
        l.program = tg_ppl_finish(l.builder);
        claims = facts_of(&cases[i].request, &facts);
        tg_ppl_decide(l.program, &facts, &v);
        reasons_text(v.reasons, text, sizeof(text));
        if (v.decision != cases[i].want || strcmp(text, cases[i].reasons) != 0)
            fail_msg("%s: %s: %s {%s}", cases[i].why, cases[i].policy, decisions[v.decision], text);
        tg_claims_free(claims);
        loaded_fini(&l);
    }
}

/* Which policy explains a refusal. */
static void explaining_policy(void **state)
{
    static const struct {
        const char *policies[3], *why;
        enum tg_decision want;
        int policy;
    } sets[] = {
        {{"{deny: {or: [{reject: 1}]}}", "{allow: {and: [{http_method: PUT}]}}", NULL}, "the first with an allow",
            TG_DENY, 1},
        {{"{allow: {and: [{accept: 1}]}}", "{deny: {or: [{reject: 1}]}}", "{deny: {or: [{accept: 1}]}}"}, "the denier",
         TG_DENY, 2},
        {{"{allow: {and: [{reject: 1}]}}", "{allow: {and: [{accept: 1}]}}", NULL}, "allowed", TG_ALLOW, -1},
        {{"{allow: {and: [{email: a}]}}", "{allow: {and: [{accept: 1}]}}", NULL}, "a login reason is dropped",
            TG_ALLOW, -1},
        {{"{allow: {and: [{email: a}]}}", "{allow: {and: [{reject: 1}]}}", NULL}, "or kept", TG_UNAUTHENTICATED, -1},
        {{"{}", NULL, NULL}, "nothing to explain", TG_DENY, -1},
        {{NULL, NULL, NULL}, "no policy", TG_DENY, -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        struct tg_facts facts;
        struct tg_verdict v;
        struct loaded l;

        loaded_init(&l);
        for (size_t k = 0; k < 3 && sets[i].policies[k]; k++)
            assert_true(loaded_add(&l, sets[i].policies[k]));
        facts_of(&(struct request){0}, &facts);
        tg_ppl_decide(tg_ppl_finish(l.builder), &facts, &v);
        if (v.decision != sets[i].want || v.policy != sets[i].policy)
            fail_msg("%s: %s by %d", sets[i].why, decisions[v.decision], v.policy);
        loaded_fini(&l);
    }
}

static void when_holds(void **state)
{
    static const struct {
        const char *when;
        struct request request;
        bool want;
    } tiers[] = {
        {"[{claim/level: 5}]", {.claims = ALICE}, true},
        {"[{claim/level: 5}, {domain: example.org}]", {.claims = ALICE}, false},
        {"[{claim/level: {exclude: 5}}]", {0}, false},
        {"[{source_ip: 192.0.2.0/24}]", {0}, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tiers); i++) {
        struct tg_problems problems = {0};
        struct tg_tree *tree = NULL;
        struct tg_claims *claims;
        struct tg_facts facts;
        struct tg_arena arena;
        const struct tg_program *when;

        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_tree_parse("t.yaml", tg_slice_str(tiers[i].when), &tree, NULL), TG_OK);
        when = tg_ppl_compile_when(&arena, tree, tree->root, "tier", &problems);
        tg_tree_free(tree);
        assert_non_null(when);
        claims = facts_of(&tiers[i].request, &facts);
        assert_int_equal(tg_ppl_holds(when, &facts), tiers[i].want);
        tg_claims_free(claims);
        tg_problems_fini(&problems);
        tg_arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decided),
        cmocka_unit_test(explaining_policy),
        cmocka_unit_test(when_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
