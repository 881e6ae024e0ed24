/* What is a policy, what is none, and where the message points. */
#include "support.h"

static const struct {
    const char *why, *text, *error;                      /* error: part of the first message; NULL: a good policy */
} documents[] = {
    {"no rules at all", "[]", NULL},
    {"no rules in an object", "{}", NULL},
    {"no operators", "{allow: {}, deny: {}}", NULL},
    {"empty operators are skipped", "{allow: {and: [], or: [], not: [], nor: []}}", NULL},
    {"one object, two actions", "{allow: {and: [{accept: true}]}, deny: {or: [{reject: null}]}}", NULL},
    {"a list of rules", "[{allow: {and: [{accept: 1}]}}, {deny: {nor: [{accept: 1}]}}]", NULL},
    {"action in a body is ignored", "{allow: {action: [1], and: [{accept: 1}]}}", NULL},
    {"a scalar is no policy", "7", "policy.yaml:1:1: expected a mapping with allow and deny, or a list"},
    {"null is no policy", "~", "or a list of them, not null"},
    {"a list of scalars", "[{}, 1]", "policy.yaml:1:6: [1]: expected a mapping"},
    {"nested lists", "[[]]", "[0]: expected a mapping"},
    {"no text", "", "policy.yaml:1:1: expected a mapping with allow and deny, or a list of them, not null"},
    {"a second document", "allow: {}\n---\nallow: {}", "policy.yaml:2:1: a second document starts here"},
    {"a value behind JSON", "{\"allow\": {}} {}", "policy.yaml:1:15: "},
    {"an action twice", "{allow: {}, allow: {}}", "policy.yaml:1:13: the key allow appears twice, first at 1:2"},
    {"a criterion twice", "{allow: {and: [{email: a, email: b}]}}", "policy.yaml:1:27: the key email appears twice"},
    {"a key that is no text", "{allow: {and: [{[a]: b}]}}", "the key of a mapping must be a scalar"},
    {"a key that is no word", "{allow: {and: [{~: b}, {1: c}]}}", "allow.and[0]: \"~\" is not a criterion"},
    {"merge keys", "{<<: {allow: {}}}", "merge keys (<<) are not supported"},
    {"anchors", "{allow: {and: &a [{email: q@x}], or: *a}}", NULL},
    {"a rule among settings", "{ppl: {allow: {}}}", "\"ppl\" is not an action (expected allow or deny)"},
    {"unknown action", "{alow: {}}", "policy.yaml:1:2: \"alow\" is not an action, did you mean \"allow\"?"},
    {"actions have one case", "{Allow: {}}", "is not an action"},
    {"a body is an object", "{allow: [{accept: 1}]}", "allow: expected a mapping with and, or, not or nor, not a list"},
    {"a body is not null", "{deny: ~}", "deny: expected a mapping"},
    {"unknown operator", "{allow: {ad: []}}", "allow: \"ad\" is not an operator, did you mean \"and\"?"},
    {"operators have one case", "{allow: {AND: []}}", "\"AND\" is not an operator"},
    {"a list is no object", "{allow: {and: {accept: 1}}}", "allow.and: expected a list of criteria, not a mapping"},
    {"a list is not null", "{allow: {nor: ~}}", "allow.nor: expected a list of criteria, not null"},
    {"a criterion is an object", "{allow: {and: [accept]}}", "allow.and[0]: expected a criterion"},
    {"with a key", "{allow: {and: [{accept: 1}, {}]}}", "allow.and[1]: expected a criterion"},
    {"and one only", "{allow: {and: [{accept: 1, reject: 1}]}}", "allow.and[0]: a criterion has one key only"},
    {"unknown criterion", "{allow: {and: [{emial: a}]}}", "\"emial\" is not a criterion, did you mean \"email\"?"},
    {"plural of early versions", "{allow: {and: [{domains: a}]}}", "did you mean \"domain\"?"},
    {"criteria have one case", "{allow: {and: [{Email: a}]}}", "\"Email\" is not a criterion"},
    {"criteria in capitals", "{allow: {and: [{HTTP_METHOD: GET}]}}", "did you mean \"http_method\"?"},
    {"operators in capitals", "{allow: {AND: []}}", "did you mean \"and\"?"},
    {"a plural, with a sub-path", "{allow: {and: [{claims/a: b}]}}",
     "\"claims\" is not a criterion, did you mean \"claim\"?"},
    {"nothing is near", "{allow: {and: [{weather: fine}]}}",
     "allow.and[0]: \"weather\" is not a criterion (`tollgate explain --criteria` lists them)"},
    {"near a refused one", "{allow: {and: [{devices: x}]}}",
     "\"devices\" is not a criterion, did you mean \"device\"? That one is not supported: it needs enrolled devices"},
    {"a tool", "{allow: {and: [{mcp_tool: x}, {mcp_tool: {not_in: [a, b]}}]}}", NULL},
    {"a tool is text", "{allow: {and: [{mcp_tool: {has: x}}]}}", "\"has\" is not an operator on text"},
    {"never", "{allow: {and: [{device: {approved: true}}]}}", "it needs enrolled devices"},
    {"never", "{allow: {and: [{record: {}}]}}", "it needs directory records"},
    {"never", "{allow: {and: [{pomerium_routes: 1}]}}", "it names endpoints of Pomerium's own"},
    {"never", "{allow: {and: [{ssh_publickey: x}]}}", "it is about SSH sessions"},
    {"a family", "{allow: {and: [{ssh_anything: x}]}}", "it is about SSH sessions"},
    {"refused with a sub-path, too", "{allow: {and: [{record/x: 1}]}}", "it needs directory records"},
    {"unknown text operator", "{allow: {and: [{email: {start_with: a}}]}}", "did you mean \"starts_with\"?"},
    {"list operators are not text ones", "{allow: {and: [{email: {has: a}}]}}", "\"has\" is not an operator on text"},
    {"text operators are not list ones", "{allow: {and: [{claim/a: {in: [a]}}]}}",
     "allow.and[0].claim/a: \"in\" is not an operator on a list of values"},
    {"an object is a matcher", "{allow: {and: [{claim/address: {country: US}}]}}", "\"country\" is not an operator"},
    {"in needs a list", "{allow: {and: [{http_path: {in: /a}}]}}",
     "allow.and[0].http_path.in: expected a list of values"},
    {"not_in needs a list", "{allow: {and: [{http_path: {not_in: {}}}]}}", "not a mapping"},
    {"contains needs text", "{allow: {and: [{email: {contains: 5}}]}}",
     "allow.and[0].email.contains: expected a string"},
    {"starts_with needs text", "{allow: {and: [{email: {starts_with: [a]}}]}}", "expected a string, not a list"},
    {"ends_with needs text", "{allow: {and: [{email: {ends_with: ~}}]}}", "expected a string, not null"},
    {"user is text", "{allow: {and: [{user: 5}]}}", "expected a string, not a number"},
    {"domain is text", "{allow: {and: [{domain: [a, b]}]}}", "use `in` for any of several"},
    {"email may be compared with anything", "{allow: {and: [{email: true}]}}", NULL},
    {"source_ip of numbers", "{allow: {and: [{source_ip: 5}]}}", "expected an IP address or CIDR block, not a number"},
    {"source_ip of matchers", "{allow: {and: [{source_ip: {is: 10.0.0.1}}]}}", "not a mapping"},
    {"source_ip in a list", "{allow: {and: [{source_ip: [10.0.0.1, 10.0.0.0/33]}]}}",
     "policy.yaml:1:39: allow.and[0].source_ip[1]: \"10.0.0.0/33\" is not an IP"},
    {"any certificate", "{allow: {and: [{client_certificate: {}}]}}", NULL},
    {"every property", "{allow: {and: [{client_certificate: {fingerprint: [" FINGERPRINT ", '" FINGERPRINT_LONG "'], "
     "spki_hash: [" SPKI "], san_dns: a, san_email: {ends_with: '@x'}, san_uri: {not: a, in: [b]}}}]}}", NULL},
    {"a certificate is a mapping", "{allow: {or: [{client_certificate: x}]}}",
     "policy.yaml:1:36: allow.or[0].client_certificate: expected a mapping with fingerprint, spki_hash, san_email, "
     "san_dns or san_uri, not a string"},
    {"and not null", "{allow: {or: [{client_certificate: ~}]}}", "or san_uri, not null"},
    {"nor a list", "{allow: {or: [{client_certificate: []}]}}", "or san_uri, not a list"},
    {"unknown property", "{allow: {or: [{client_certificate: {san_mail: a}}]}}",
     "allow.or[0].client_certificate: \"san_mail\" is not a property of a certificate, did you mean \"san_email\"? "
     "(expected fingerprint, spki_hash, san_email, san_dns or san_uri)"},
    {"a fingerprint is text", "{allow: {or: [{client_certificate: {fingerprint: 5}}]}}",
     "allow.or[0].client_certificate.fingerprint: expected a string or a list of strings, not a number"},
    {"no matcher on it", "{allow: {or: [{client_certificate: {fingerprint: {is: a}}}]}}", "not a mapping"},
    {"each of a list", "{allow: {or: [{client_certificate: {fingerprint: [" FINGERPRINT ", 5]}}]}}",
     "client_certificate.fingerprint[1]: expected a string, not a number"},
    {"empty", "{allow: {or: [{client_certificate: {fingerprint: ''}}]}}", "\"\" is not a SHA-256 fingerprint: 64"},
    {"SHA-1", "{allow: {or: [{client_certificate: {fingerprint: "
     "'B1:E6:A2:DC:DD:6B:87:A4:9B:C5:7C:3B:7C:7F:1C:74:9A:DB:88:36'}}]}}",
     "is not a SHA-256 fingerprint: 64 lower-case hex digits, or 32 upper-case pairs with colons"},
    {"short in upper case", "{allow: {or: [{client_certificate: {fingerprint: "
     "FD1E6361BC8224582D51DC25B07C18951C00B9B87EBC3DAEDC88D22DBC8E8A0D}}]}}", "is not a SHA-256 fingerprint"},
    {"long in lower case", "{allow: {or: [{client_certificate: {fingerprint: "
     "'fd:1e:63:61:bc:82:24:58:2d:51:dc:25:b0:7c:18:95:1c:00:b9:b8:7e:bc:3d:ae:dc:88:d2:2d:bc:8e:8a:0d'}}]}}",
     "is not a SHA-256 fingerprint"},
    {"other separators", "{allow: {or: [{client_certificate: {fingerprint: "
     "'FD-1E-63-61-BC-82-24-58-2D-51-DC-25-B0-7C-18-95-1C-00-B9-B8-7E-BC-3D-AE-DC-88-D2-2D-BC-8E-8A-0D'}}]}}",
     "is not a SHA-256 fingerprint"},
    {"no hex digit", "{allow: {or: [{client_certificate: {fingerprint: "
     "gd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e8a0d}}]}}", "is not a SHA-256 fingerprint"},
    {"one digit more", "{allow: {or: [{client_certificate: {fingerprint: " FINGERPRINT "0}}]}}",
     "is not a SHA-256 fingerprint"},
    {"a key hash is text", "{allow: {or: [{client_certificate: {spki_hash: ~}}]}}",
     "client_certificate.spki_hash: expected a string or a list of strings, not null"},
    {"empty", "{allow: {or: [{client_certificate: {spki_hash: ['']}}]}}", "\"\" is not the base64 of a SHA-256 digest"},
    {"in hex", "{allow: {or: [{client_certificate: {spki_hash: " FINGERPRINT "}}]}}", "is not the base64 of"},
    {"base64url", "{allow: {or: [{client_certificate: {spki_hash: h7shtelye6fVp99_9FkLrI3cWWG1FQr06DeaQ1tEqvY=}}]}}",
     "is not the base64 of"},
    {"no padding", "{allow: {or: [{client_certificate: {spki_hash: h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqvY}}]}}",
     "is not the base64 of"},
    {"31 octets", "{allow: {or: [{client_certificate: {spki_hash: h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqg==}}]}}",
     "is not the base64 of"},
    {"33 octets", "{allow: {or: [{client_certificate: {spki_hash: h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqvYA}}]}}",
     "is not the base64 of"},
    {"unknown operator on a name", "{allow: {or: [{client_certificate: {san_dns: {has: a}}}]}}",
     "client_certificate.san_dns: \"has\" is not an operator on text"},
    {"wrong operand", "{allow: {or: [{client_certificate: {san_uri: {starts_with: 5}}}]}}",
     "allow.or[0].client_certificate.san_uri.starts_with: expected a string, not a number"},
    {"wrong operand", "{allow: {or: [{client_certificate: {san_email: {in: a}}}]}}",
     "client_certificate.san_email.in: expected a list of values, not a string"},
    {"not_in of names", "{deny: {or: [{client_certificate: {san_dns: {not_in: [a]}}}]}}",
     "deny.or[0].client_certificate.san_dns: `not_in` is not supported on names of a certificate, which may have "
     "several: write `in` and put the criterion under `not`"},
    {"a name with controls is shown without", "{allow: {and: [{\"a\\nb\": 1}]}}", "\"a?b\" is not a criterion"},
    {"an empty name", "{allow: {and: [{\"\": 1}]}}", "\"\" is not a criterion"},
    {"only a slash", "{allow: {and: [{/: 1}]}}", "\"\" is not a criterion"},
};

static void whole_documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        struct loaded l;
        const char *text = NULL;
        bool ok;

        loaded_init(&l);
        ok = loaded_add(&l, documents[i].text);
        for (size_t k = 0; k < l.problems.count && !text; k++)
            text = l.problems.items[k].warning ? NULL : l.problems.items[k].text;
        if (ok != !documents[i].error || !text != !documents[i].error)
            fail_msg("%s: %s: %s", documents[i].why, documents[i].text, text ? text : "no error");
        if (text && !strstr(text, documents[i].error))
            fail_msg("%s: %s: \"%s\" lacks \"%s\"", documents[i].why, documents[i].text, text, documents[i].error);
        loaded_fini(&l);
    }
}

/* Every mistake is told, each with its line. */
static void all_errors(void **state)
{
    static const char text[] = "allow:\n"
                               "  and:\n"
                               "    - emial: {is: a}\n"
                               "    - email: {is: a}\n"
                               "    - source_ip: x\n"
                               "  xor: []\n"
                               "denny: {}\n";
    static const char *const want[] = {"policy.yaml:3:7: allow.and[0]: ", "policy.yaml:5:18: allow.and[2].source_ip: ",
                                       "policy.yaml:6:3: allow: ", "policy.yaml:7:1: \"denny\""};
    struct loaded l;

    (void)state;
    loaded_init(&l);
    assert_false(loaded_add(&l, text));
    assert_int_equal(l.problems.errors, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        if (!strstr(l.problems.items[i].text, want[i]))
            fail_msg("\"%s\" lacks \"%s\"", l.problems.items[i].text, want[i]);
    }
    loaded_fini(&l);
}

static const struct {
    const char *why, *text, *warning;                    /* NULL: none at all */
} traps[] = {
    {"nothing odd", "{allow: {and: [{email: {is: a@x}}, {claim/a.b: c}]}}", NULL},
    {"nothing odd", "{allow: {or: [{http_path: {starts_with: /a/}}, {claim/https://x/roles: c}]}}", NULL},
    {"operators are ORed", "{allow: {and: [{email: a@x}], not: [{email: b@x}]}}", "are alternatives"},
    {"empty operator", "{allow: {and: [], or: [{email: a@x}]}}", "allow.and: an empty list"},
    {"false negates nothing", "{allow: {and: [{authenticated_user: false}]}}", "false does not negate"},
    {"accept in or", "{allow: {or: [{accept: 1}, {email: a@x}]}}", "makes this rule public"},
    {"deny on identity", "{allow: {and: [{accept: 1}]}, deny: {or: [{email: e@x}]}}",
     "requests without a token get 401"},
    {"list as one value", "{allow: {and: [{email: [a@x, b@x]}]}}", "list as a whole"},
    {"list as one value", "{allow: {and: [{claim/groups: [a, b]}]}}", "list as a whole"},
    {"list as one value", "{allow: {and: [{groups: {has: [a, b]}}]}}", "list as a whole"},
    {"not a text", "{allow: {and: [{http_path: {in: [/a, 5]}}]}}", "never equals a text"},
    {"slashes", "{allow: {and: [{claim/realm_access/roles: a}]}}", "write claim/realm_access.roles"},
    {"no name", "{allow: {and: [{claim: a}]}}", "a claim needs its name"},
    {"ignored name", "{allow: {and: [{email/x: a@x}]}}", "what follows the / is ignored"},
    {"user is no address", "{allow: {and: [{user: a@x}]}}", "not the e-mail address"},
    {"no segment boundary", "{allow: {and: [{http_path: {starts_with: /admin}}]}}", "not at a slash"},
    {"method in lower case", "{allow: {and: [{http_method: get}]}}", "with case"},
    {"no condition", "{allow: {and: [{email: {}}]}}", "no condition"},
    {"no condition", "{allow: {and: [{claim/a: {}}]}}", "no condition"},
    {"no address", "{allow: {and: [{source_ip: []}]}}", "empty list"},
    {"action", "{allow: {action: x, and: [{email: a@x}]}}", "`action` is ignored"},
    {"no criteria", "[]", "no criteria"},
    {"no client CA", "{deny: {or: [{invalid_client_certificate: true}]}}",
     "invalid_client_certificate is never true while no client CA is configured"},
    {"no client CA", "{allow: {or: [{client_certificate: {}}]}}",
     ": client_certificate is never true while no client CA is configured"},
};
static const struct {
    const char *why, *text, *warning;
} traps_with_ca[] = {
    {"nothing odd", "{deny: {or: [{invalid_client_certificate: true}]}}", NULL},
    {"nothing odd", "{allow: {or: [{client_certificate: {}}, {client_certificate: {san_email: a@x}}]}}", NULL},
    {"list as one value", "{allow: {and: [{client_certificate: {san_dns: [a, b]}}]}}", "compares with the list"},
    {"not a text", "{allow: {and: [{client_certificate: {san_dns: {not: 5}}}]}}",
     "allow.and[0].client_certificate.san_dns.not: this value is not a string"},
    {"no condition", "{allow: {and: [{client_certificate: {san_uri: {}}}]}}", "san_uri: an empty matcher states no"},
    {"nobody", "{allow: {and: [{client_certificate: {fingerprint: []}}]}}",
     "fingerprint: no certificate is in an empty list"},
    {"ignored name", "{allow: {and: [{client_certificate/x: {}}]}}", "what follows the / is ignored"},
};

static void expect_warning(const char *why, const char *text, const char *warning, bool client_ca)
{
    struct loaded l;
    const char *first;

    loaded_init(&l);
    tg_ppl_set_client_ca(l.builder, client_ca);
    assert_true(loaded_add(&l, text));
    assert_int_equal(l.problems.errors, 0);
    first = l.problems.count ? l.problems.items[0].text : NULL;
    if (!first != !warning || (first && !strstr(first, warning)))
        fail_msg("%s: %s: %s", why, text, first ? first : "no warning");
    loaded_fini(&l);
}

static void warnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(traps); i++)
        expect_warning(traps[i].why, traps[i].text, traps[i].warning, false);
    for (size_t i = 0; i < ARRAY_LEN(traps_with_ca); i++)
        expect_warning(traps_with_ca[i].why, traps_with_ca[i].text, traps_with_ca[i].warning, true);
}

/* A document that was refused must not leave a program that admits by the others. */
static void refused_denies(void **state)
{
    struct tg_facts facts;
    struct tg_verdict v;
    struct loaded l;

    (void)state;
    loaded_init(&l);
    assert_true(loaded_add(&l, "{allow: {and: [{accept: 1}]}}"));
    assert_false(loaded_add(&l, "{deny: {or: [{emial: x}]}}"));
    l.program = tg_ppl_finish(l.builder);
    facts_of(&(struct request){0}, &facts);
    tg_ppl_decide(l.program, &facts, &v);
    assert_int_equal(v.decision, TG_DENY);
    assert_false(tg_ppl_add(l.builder, NULL, NULL, "absent", &l.problems));
    loaded_fini(&l);
}

/* Every cut of a document is refused or is a smaller document: nothing crashes. */
static void truncated(void **state)
{
    static const char text[] = "[{\"allow\": {\"and\": [{\"claim/a\": {\"has\": [1, {\"b\": 2.50}], "
                               "\"exclude\": \"c\"}}], \"or\": "
                               "[{\"source_ip\": [\"10.0.0.0/8\", \"::1\"]}, {\"email\": {\"in\": [\"a\", 5]}}]}}]";
    char part[sizeof(text)];

    (void)state;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct loaded l;

        memcpy(part, text, cut);
        part[cut] = '\0';
        loaded_init(&l);
        assert_int_equal(loaded_add(&l, part), cut == sizeof(text) - 1);
        loaded_fini(&l);
    }
}

static void when_lists(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } lists[] = {{"[{claim/plan: enterprise}]", true}, {"[]", false}, {"{claim/plan: enterprise}", false},
                 {"~", false}, {"[{plan: enterprise}]", false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        struct tg_problems problems = {0};
        struct tg_tree *tree = NULL;
        struct tg_arena arena;
        const struct tg_program *program;

        tg_arena_init(&arena, NULL, 0);
        assert_int_equal(tg_tree_parse("t.yaml", tg_slice_str(lists[i].text), &tree, NULL), TG_OK);
        program = tg_ppl_compile_when(&arena, tree, tree->root, "tier", &problems);
        assert_int_equal(program != NULL, lists[i].ok);
        assert_int_equal(problems.errors == 0, lists[i].ok);
        tg_tree_free(tree);
        tg_problems_fini(&problems);
        tg_arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_documents), cmocka_unit_test(all_errors), cmocka_unit_test(warnings),
        cmocka_unit_test(refused_denies),  cmocka_unit_test(truncated),  cmocka_unit_test(when_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
