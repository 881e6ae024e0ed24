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
    {"not yet", "{allow: {and: [{day_of_week: mon}]}}",
     "allow.and[0].day_of_week: this criterion is not supported yet"},
    {"not yet", "{allow: {and: [{date: {after: x}}]}}", "not supported yet"},
    {"not yet", "{allow: {and: [{time_of_day: {}}]}}", "not supported yet"},
    {"not yet", "{allow: {and: [{mcp_tool: x}]}}", "not supported yet"},
    {"not yet", "{allow: {and: [{client_certificate: {}}]}}", "not supported yet"},
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
    {"source_ip in a list", "{allow: {and: [{source_ip: [10.0.0.1, 10.0.0.0/33]}]}}", "\"10.0.0.0/33\" is not an IP"},
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
    {"slashes", "{allow: {and: [{claim/realm_access/roles: a}]}}", "with dots"},
    {"no name", "{allow: {and: [{claim: a}]}}", "a claim needs its name"},
    {"ignored name", "{allow: {and: [{email/x: a@x}]}}", "what follows the / is ignored"},
    {"user is no address", "{allow: {and: [{user: a@x}]}}", "not the e-mail address"},
    {"no segment boundary", "{allow: {and: [{http_path: {starts_with: /admin}}]}}", "/administer"},
    {"method in lower case", "{allow: {and: [{http_method: get}]}}", "with case"},
    {"no condition", "{allow: {and: [{email: {}}]}}", "no condition"},
    {"no condition", "{allow: {and: [{claim/a: {}}]}}", "no condition"},
    {"no address", "{allow: {and: [{source_ip: []}]}}", "empty list"},
    {"action", "{allow: {action: x, and: [{email: a@x}]}}", "`action` is ignored"},
    {"no criteria", "[]", "no criteria"},
    {"no client CA", "{deny: {or: [{invalid_client_certificate: true}]}}", "no client CA"},
};

static void warnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(traps); i++) {
        struct loaded l;
        const char *first;

        loaded_init(&l);
        assert_true(loaded_add(&l, traps[i].text));
        assert_int_equal(l.problems.errors, 0);
        first = l.problems.count ? l.problems.items[0].text : NULL;
        if (!first != !traps[i].warning || (first && !strstr(first, traps[i].warning)))
            fail_msg("%s: %s: %s", traps[i].why, traps[i].text, first ? first : "no warning");
        loaded_fini(&l);
    }
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
