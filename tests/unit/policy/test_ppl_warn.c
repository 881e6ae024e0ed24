/*
 * test_ppl_warn - what is told about policies that are legal and do not do what they look like, and that nothing is of
 * good ones; and that what is told is true.
 *
 * A case is a document and all of its warnings; a good one has none.
 */
#include "support.h"
#include <time.h>

/* Numbers by chance, always the same ones. */
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

#define PICK(list) ((list)[draw(ARRAY_LEN(list))])

#define NO_CA "policy.yaml:1:1: "
#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

struct trap {
    const char *text;
    const char *warnings[4];                             /* "PLACE: PATH: sentence", each a part; in order */
};

static void expect(const struct trap *trap, bool client_ca)
{
    struct tg_buf told = {0};
    struct loaded l;
    size_t want = 0;
    bool same;

    loaded_init(&l);
    tg_ppl_set_client_ca(l.builder, client_ca);
    if (!loaded_add(&l, trap->text))
        fail_msg("%s: %s", trap->text, l.problems.count ? l.problems.items[0].text : "refused");
    while (want < ARRAY_LEN(trap->warnings) && trap->warnings[want])
        want++;
    same = l.problems.count == want;
    for (size_t i = 0; i < l.problems.count; i++) {
        tg_buf_addf(&told, "\n  %s", l.problems.items[i].text);
        same = same && strstr(l.problems.items[i].text, trap->warnings[i]);
    }
    if (!same)
        fail_msg("%s: told:%s", trap->text, told.len ? tg_buf_cstr(&told) : " nothing");
    tg_buf_fini(&told);
    loaded_fini(&l);
}

static void expect_all(const struct trap *traps, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect(&traps[i], true);
}

/* ---- one criterion ---- */

static void values(void **state)
{
    static const struct trap traps[] = {
        {"{allow: {and: [{email: [a@x, b@x]}]}}", {
            "policy.yaml:1:24: allow.and[0].email: compares with the list as a whole, which no text equals; for any of "
            "them write in: [\"a@x\",\"b@x\"]"}},
        {"{allow: {and: [{authenticated_user: 1}, {email: {not: [a@x, b@x]}}]}}", {
            "allow.and[1].email.not: compares with the list as a whole, which no text equals; for none of them write "
            "not_in: [\"a@x\",\"b@x\"]"}},
        {"{allow: {and: [{email: {in: [a@x, b@x]}}]}}", {NULL}},
        {"{allow: {and: [{http_path: {in: [/a, 5]}}]}}", {
            "policy.yaml:1:38: allow.and[0].http_path.in[1]: this value is not a string and never equals a text; put "
            "quotes around it"}},
        {"{allow: {and: [{claim/groups: [a, b]}]}}", {
            "policy.yaml:1:31: allow.and[0].claim/groups: compares each element with the list as a whole; for any of "
            "them write one criterion for each under `or`: [{claim/groups: A}, {claim/groups: B}]"}},
        {"{allow: {and: [{claim/groups: [a]}]}}", {"write its one value without [ ]"}},
        {"{allow: {and: [{authenticated_user: 1}, {groups: {exclude: [a, b]}}]}}", {
            "allow.and[1].groups.exclude: compares each element with the list as a whole; write one criterion "
            "for each, "
            "under `and`"}},
        {"{allow: {or: [{claim/groups: a}, {claim/groups: b}]}}", {NULL}},
        {"{allow: {and: [{user: a@x}]}}", {"`user` is the user id (the token's sub), not the e-mail address; write "}},
        {"{allow: {and: [{http_method: get}, {authenticated_user: 1}]}}", {
            "allow.and[0].http_method: methods are compared with case, and no client sends this one; write GET"}},
        {"{allow: {and: [{http_method: GET}, {authenticated_user: 1}]}}", {NULL}},
        {"{allow: {and: [{domain: '@example.com'}]}}", {"write it without the @"}},
        {"{allow: {or: [{http_path: 'a'}]}}", {"this never equals a path: they start with one /"}},
        {"{allow: {or: [{http_path: '/a//b'}]}}", {"have no two beside each other"}},
        {"{allow: {or: [{http_path: '/a?b=1'}]}}", {"the query is no part of the path"}},
        {"{allow: {or: [{http_path: {in: [/, '*', /a]}}]}}", {NULL}},
        {"{allow: {and: [{authenticated_user: false}]}}", {"false does not negate it"}},
        {"{allow: {and: [{email: {}}]}}", {"an empty matcher states no condition"}},
        {"{allow: {and: [{claim/a: {}}]}}", {"an empty matcher states no condition"}},
        {"{allow: {and: [{claim: a}]}}", {"a claim needs its name: write claim/NAME"}},
        {"{allow: {and: [{source_ip: []}]}}", {"no address is in an empty list: never true"}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

static void names_and_ends(void **state)
{
    static const struct trap traps[] = {
        {"{allow: {and: [{claim/realm_access/roles: a}]}}", {
            "policy.yaml:1:43: allow.and[0].claim/realm_access/roles: a slash is part of the name: no member of "
            "a claim "
            "is found by it; write claim/realm_access.roles"}},
        {"{allow: {and: [{claim/realm_access.roles: a}]}}", {NULL}},
        {"{allow: {and: [{claim/https://example.com/roles: a}]}}", {NULL}},
        {"{allow: {and: [{claim/kubernetes.io/serviceaccount/namespace: a}]}}", {NULL}},
        {"{allow: {or: [{http_path: {starts_with: /admin}}]}}", {
            "policy.yaml:1:41: allow.or[0].http_path.starts_with: a prefix ends anywhere, not at a slash: this one is "
            "also that of /adminX; write {starts_with: /admin/} and, for the page itself, {is: /admin}"}},
        {"{allow: {or: [{http_path: {starts_with: /admin/}}]}}", {NULL}},
        {"{allow: {or: [{http_path: {starts_with: /}}]}}", {NULL}},
        {"{allow: {and: [{email: {ends_with: example.com}}]}}", {
            "email.ends_with: an end begins anywhere, not at the @: this one is also that of an address at "
            "Xexample.com; "
            "write domain: {is: example.com}"}},
        {"{allow: {and: [{email: {ends_with: '@example.com'}}]}}", {NULL}},
        {"{allow: {and: [{email: {ends_with: '.example.com'}}]}}", {NULL}},
        {"{allow: {and: [{domain: {ends_with: example.com}}]}}", {
            "this one is also that of Xexample.com; write {ends_with: .example.com} and, for the domain itself, "
            "{is: example.com}"}},
        {"{allow: {and: [{domain: {ends_with: .example.com}}]}}", {NULL}},
        {"{allow: {and: [{email: {contains: '@example.com'}}]}}", {
            "may stand anywhere: @example.com.example has it too; write domain: {is: example.com}"}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

/* ---- operators ---- */

static void operators(void **state)
{
    static const struct trap traps[] = {
        {"{deny: {not: [{source_ip: 10.0.0.0/8}, {http_method: GET}]}}", {
            "policy.yaml:1:14: deny.not: `not` holds when none of its 2 criteria does: this denies unless one of them "
            "does; for \"unless all of them do\" write `nor`; where this is meant, say so by an empty `nor: []`"}},
        {"{deny: {not: [{source_ip: 10.0.0.0/8}, {http_method: GET}], nor: []}}", {NULL}},
        {"{deny: {not: [{source_ip: 10.0.0.0/8}, {http_method: GET}], and: []}}", {
            "deny.and: an empty list", "`not` holds when none"}},
        {"{deny: {not: [{source_ip: 10.0.0.0/8}], nor: []}}", {"deny.nor: an empty list"}},
        {"{allow: {not: [{source_ip: 10.0.0.0/8}, {http_method: GET}]}}", {"this allows unless one of them does"}},
        {"{deny: {nor: [{source_ip: 10.0.0.0/8}, {http_method: GET}]}}", {
            "policy.yaml:1:14: deny.nor: `nor` holds as soon as one of its 2 criteria does not: this denies unless all "
            "of them do; for \"unless one of them does\" write `not`; where this is meant, a rule with `not` for each "
            "is plainer"}},
        {"[{deny: {not: [{source_ip: 10.0.0.0/8}]}}, {deny: {not: [{http_method: GET}]}}]", {NULL}},
        {"{deny: {nor: [{source_ip: 10.0.0.0/8}, {http_method: GET}], not: []}}", {NULL}},
        {"{deny: {not: [{source_ip: 10.0.0.0/8}]}}", {NULL}},
        {"{deny: {nor: [{source_ip: 10.0.0.0/8}]}}", {NULL}},
        /* only "none of them" can be meant */
        {"{deny: {not: [{http_method: GET}, {http_method: HEAD}]}}", {NULL}},
        {"{deny: {nor: [{http_method: GET}, {http_method: HEAD}]}}", {
            "policy.yaml:1:49: deny.nor[1].http_method: nothing meets this and what stands before it, so this `nor` "
            "denies everybody; for \"none of them\" write `not`"}},
        {"{allow: {and: [{email: a@x}], not: [{email: b@x}]}}", {
            "policy.yaml:1:36: allow.not: `and` and `not` beside each other are alternatives, not \"... but not ...\": "
            "one true one is enough; write the exception as a rule of its own: deny: {or: [...]}",
            "allow.not[0].email: admits every caller with a token whom this does not describe"}},
        {"{allow: {and: [{email: a@x}], or: [{email: b@x}]}}", {
            "allow.or: `and` and `or` beside each other are alternatives: one true one is enough; for both at once put "
            "all criteria under one `and`, else write two rules"}},
        {"[{allow: {and: [{email: a@x}]}}, {allow: {or: [{email: b@x}]}}]", {NULL}},
        {"{allow: {and: [{email: a@x}]}, deny: {or: [{source_ip: 10.0.0.0/8}]}}", {NULL}},
        {"{allow: {and: [], or: [{email: a@x}]}}", {"allow.and: an empty list"}},
        {"[]", {"this policy has no criteria"}},
        {"{allow: {action: x, and: [{email: a@x}]}}", {"`action` is ignored"}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

/* ---- callers without a token ---- */

static void anonymous(void **state)
{
    static const struct trap traps[] = {
        {"{allow: {and: [{claim/suspended: {exclude: true}}]}}", {
            "policy.yaml:1:34: allow.and[0].claim/suspended: holds for every token that does not say this; without a "
            "token it does not, though it reads so, and does in Pomerium; write {authenticated_user: true} beside it "
            "under `and`"}},
        {"{allow: {and: [{email: {not_in: [a@x, b@x]}}, {http_method: "
         "GET}]}}", {"allow.and[0].email: holds for every"}},
        {"{allow: {or: [{user: {not: eve}}, {groups: {exclude: staff}}]}}", {
            "allow.or[1].groups: holds for every token that does not say this; without a token it does not, though it "
            "reads so; write"}},
        /* these two do not hold without a value */
        {"{allow: {and: [{user: {not: eve}}]}}", {NULL}},
        {"{allow: {and: [{domain: {not: x}}]}}", {NULL}},
        {"{allow: {and: [{authenticated_user: true}, {claim/suspended: {exclude: true}}]}}", {NULL}},
        {"{allow: {and: [{domain: {is: x}}, {email: {not: eve@x}}]}}", {NULL}},
        {"{deny: {and: [{claim/roles: {exclude: admin}}]}}", {NULL}},
        {"{allow: {not: [{email: eve@x}]}}", {
            "allow.not[0].email: admits every caller with a token whom this does not describe; one without is "
            "answered 401, though no criterion says so; write allow: {and: [{authenticated_user: true}]} and "
            "the exception "
            "as deny: {or: [...]}"}},
        {"{allow: {not: [{authenticated_user: true}]}}", {
            "allow.not[0].authenticated_user: admits nobody: with a token this is true, and without one the answer is "
            "401"}},
        {"{deny: {not: [{authenticated_user: true}]}}", {NULL}},
        {"{allow: {and: [{accept: 1}]}, deny: {or: [{email: e@x}]}}", {
            "deny asks who the caller is: requests without a token get 401 or 403, also where allow is public"}},
        {"{allow: {or: [{authenticated_user: 1}]}, deny: {or: [{email: e@x}]}}", {NULL}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

/* ---- what never holds, and what always does ---- */

static void contradictions(void **state)
{
#define CLASH "nothing meets this and what is asked before it, so this `and` allows nobody"
    static const struct trap traps[] = {
        {"{allow: {and: [{email: a@x}, {http_method: GET}, {email: b@x}]}}", {
            "policy.yaml:1:58: allow.and[2].email: " CLASH "; for any of several write `or`"}},
        {"{allow: {and: [{email: {in: [a@x, b@x]}}, {email: {in: [b@x, c@x]}}]}}", {NULL}},
        {"{allow: {and: [{email: {in: [a@x, b@x]}}, {email: {in: [c@x, d@x]}}]}}", {CLASH}},
        {"{allow: {and: [{email: {in: [a@x, b@x]}}, {email: {not_in: [a@x, b@x]}}]}}", {CLASH}},
        {"{allow: {and: [{email: a@x}, {domain: y}]}}", {"allow.and[1].domain: " CLASH}},
        {"{allow: {and: [{domain: y}, {email: {in: [a@x, a@y]}}]}}", {NULL}},
        {"{allow: {and: [{http_path: {starts_with: /a/}}, {http_path: {starts_with: /b/}}]}}", {CLASH}},
        {"{allow: {and: [{http_path: {starts_with: /a/}}, {http_path: {starts_with: /a/b/}}]}}", {NULL}},
        {"{allow: {and: [{http_path: /b}, {http_path: {starts_with: /a/}}]}}", {CLASH}},
        {"{allow: {and: [{http_path: {ends_with: .js}}, {http_path: {ends_with: .css}}]}}", {CLASH}},
        {"{allow: {and: [{http_path: {ends_with: .js}}, {http_path: {ends_with: .min.js}}]}}", {NULL}},
        {"{allow: {and: [{claim/a: {is: x}}, {claim/a: {is: y}}]}}", {CLASH}},
        {"{allow: {and: [{claim/a: {is: x}}, {claim/b: {is: y}}]}}", {NULL}},
        {"{allow: {and: [{claim/a: x}, {claim/a: y}]}}", {NULL}},
        {"{allow: {and: [{claim/a: x}, {claim/a: {exclude: x}}]}}", {CLASH}},
        {"{allow: {and: [{claim/a: 5}, {claim/a: {is: 5.0}}]}}", {NULL}},
        {"{allow: {and: [{claim/a: {has: x, is: y}}]}}", {
            "allow.and[0].claim/a: is never true: no value meets all that it asks"}},
        {"{allow: {and: [{source_ip: [10.0.0.0/8, '2001:db8::/32']}, {source_ip: [192.168.0.0/16, '::1']}]}}", {CLASH}},
        {"{allow: {and: [{source_ip: 10.0.0.0/8}, {source_ip: [192.168.0.0/16, 10.3.0.0/16]}]}}", {NULL}},
        {"{allow: {and: [{source_ip: 10.1.2.3/8}, {source_ip: 10.9.9.9}]}}", {NULL}},
        {"{allow: {and: [{cors_preflight: 1}, {http_method: GET}]}}", {CLASH}},
        {"{allow: {and: [{cors_preflight: 1}, {http_method: OPTIONS}]}}", {NULL}},
        {"{allow: {and: [{email: {in: []}}]}}", {"allow.and[0].email: is never true: no value meets all that it asks"}},
        {"{allow: {and: [{email: {is: a@x, starts_with: b}}]}}", {"is never true"}},
        {"{allow: {and: [{domain: {ends_with: '@x.com'}}]}}", {"is never true"}},
        {"{allow: {and: [{reject: 1}, {email: a@x}]}}", {
            "allow.and[0].reject: `reject` is never true, so this `and` allows nobody"}},
        {"{allow: {and: [{reject: 1}]}}", {NULL}},
        {"{allow: {or: [{reject: 1}, {email: a@x}]}}", {"allow.or[0].reject: `reject` is never true: it is without"}},
        {"{deny: {or: [{reject: 1}]}}", {"to deny everybody write `accept`"}},
        {"{deny: {and: [{email: a@x}, {email: b@x}]}}", {"so this `and` denies nobody; for any of several write `or`"}},
        {"{allow: {and: [{time_of_day: {timezone: UTC, after: '22:00'}}, {time_of_day: {timezone: UTC, before: "
         "'6:00'}}, "
         "{authenticated_user: 1}]}}", {"allow.and[1].time_of_day: " CLASH}},
        {"{allow: {and: [{day_of_week: mon-fri}, {day_of_week: 'sat,sun'}]}}", {CLASH}},
        {"{allow: {and: [{day_of_week: mon-fri}, {day_of_week: fri-sun}]}}", {NULL}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

static void tautologies(void **state)
{
    static const struct trap traps[] = {
        {"{allow: {or: [{accept: 1}, {email: a@x}]}}", {
            "policy.yaml:1:24: allow.or[0].accept: `accept` makes this rule public; the other criteria are without "
            "effect"}},
        {"{allow: {or: [{accept: 1}]}}", {NULL}},
        {"{allow: {and: [{accept: 1}, {email: a@x}]}}", {NULL}},
        {"{allow: {and: [{authenticated_user: 1}, {email: {not_in: []}}]}}", {"is true of every value"}},
        {"{allow: {or: [{http_path: {starts_with: ''}}]}}", {"is true of every value: it states no condition"}},
        {"{allow: {or: [{http_method: {not: PUT}}, {http_method: {not: POST}}]}}", {
            "allow.or[1].http_method: whatever the value is, this or what stands before it holds, so this `or` allows "
            "everybody; for \"none of them\" write one `not_in`"}},
        {"{allow: {and: [{http_method: {not: PUT}}, {http_method: {not: POST}}]}}", {NULL}},
        {"{deny: {or: [{http_method: {not: PUT}}, {source_ip: 10.0.0.0/8}]}}", {NULL}},
        {"{deny: {or: [{groups: a}, {groups: {exclude: a}}]}}", {"so this `or` denies every caller with a token"}},
        {"{deny: {or: [{groups: a}, {groups: {exclude: b}}]}}", {NULL}},
        {"{deny: {not: [{http_method: {not: PUT}}, {http_method: {not: POST}}]}}", {
            "deny.not: `not` holds when none of its 2 criteria does",
            "deny.not[1].http_method: whatever the value is, this or what stands before it holds, so this `not` denies "
            "nobody; a single criterion says which values there may be"}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

/* ---- what is said already ---- */

static void coverage(void **state)
{
    static const struct trap traps[] = {
        {"{allow: {or: [{email: a@x}, {email: b@x}, {email: a@x}]}}", {
            "policy.yaml:1:51: allow.or[2].email: is there twice, the other is allow.or[0]; remove one"}},
        {"{allow: {or: [{email: a@x}, {email: {is: a@x}}, {email: {in: "
         "[a@x]}}]}}", {"is there twice", "is there twice"}},
        /* one is of nobody, the other of everybody: not the same */
        {"{allow: {or: [{email: {in: []}}, {email: {}}]}}", {
            "allow.or[0].email: is never true", "allow.or[1].email: an empty matcher states no condition"}},
        {"{allow: {and: [{groups: a}, {groups: b}, {groups: {has: a}}]}}", {
            "allow.and[2].groups: is there twice, the other is allow.and[0]; remove one"}},
        {"{allow: {and: [{groups: a}, {claim/groups: a}]}}", {NULL}},
        {"{allow: {and: [{email: {in: [a@x, b@x, a@x]}}]}}", {
            "allow.and[0].email.in[2]: is there twice, the other is [0]; remove one"}},
        {"{allow: {and: [{source_ip: [10.0.0.1, 10.0.0.1]}]}}", {
            "allow.and[0].source_ip[1]: is there twice, the other is [0]; remove one"}},
        {"{allow: {and: [{client_certificate: {san_dns: {in: [a.x, a.x]}, spki_hash: [" KEY ", " KEY "]}}]}}", {
            "allow.and[0].client_certificate.san_dns.in[1]: is there twice",
            "allow.and[0].client_certificate.spki_hash[1]: is there twice"}},
        /* a larger `and` */
        {"[{allow: {and: [{groups: a}]}}, {allow: {and: [{groups: a}, {http_method: GET}]}}]", {
            "policy.yaml:1:47: [1].allow.and: admits nobody whom [0].allow.and does not admit already; remove it"}},
        {"[{allow: {and: [{http_method: GET}, {groups: a}]}}, {allow: {and: [{groups: a}]}}]", {
            "[0].allow.and: admits nobody whom [1].allow.and does not admit already; remove it"}},
        {"[{allow: {and: [{groups: a}, {http_method: GET}]}}, {allow: {and: [{groups: a}, {http_method: PUT}]}}]",
         {NULL}},
        /* fewer values */
        {"[{allow: {and: [{email: {in: [a@x, b@x]}}]}}, {allow: {and: [{http_method: GET}, {email: b@x}]}}]", {
            "[1].allow.and: admits nobody whom [0].allow.and does not admit already"}},
        {"[{allow: {and: [{groups: a}, {http_method: {in: [GET, PUT]}}]}}, {allow: {and: [{http_method: PUT}, "
         "{groups: a}]}}]", {"[1].allow.and: admits nobody whom [0].allow.and"}},
        {"[{allow: {and: [{groups: a}, {http_method: {in: [GET, PUT]}}]}}, {allow: {and: [{http_method: PUT}, "
         "{groups: b}]}}]", {NULL}},
        {"{allow: {or: [{email: {in: [a@x, b@x]}}, {email: {in: [b@x, c@x]}}]}}", {NULL}},
        {"{allow: {or: [{email: a@x}, {email: b@x}, {email: {in: [b@x, a@x]}}]}}", {
            "allow.or[2].email: admits nobody whom allow.or[1] does not admit already"}},
        /* who has an address of that domain, and who has a token */
        {"{allow: {or: [{domain: x}, {email: a@x}, {email: a@y}]}}", {"allow.or[1].email: admits nobody whom"}},
        {"{allow: {or: [{authenticated_user: 1}, {groups: "
         "a}]}}", {"allow.or[1].groups: admits nobody whom allow.or[0]"}},
        {"{allow: {or: [{cors_preflight: 1}, {authenticated_user: 1}]}}", {NULL}},
        {"[{allow: {and: [{authenticated_user: 1}, {http_method: GET}]}}, {allow: {and: [{groups: a}]}}]", {NULL}},
        {"[{allow: {and: [{authenticated_user: 1}, {http_method: GET}]}}, {allow: {and: [{groups: a}, "
         "{http_method: GET}]}}]", {"[1].allow.and: admits nobody whom [0].allow.and"}},
        /* deny, and allow against deny */
        {"[{deny: {or: [{user: a}]}}, {deny: {and: [{user: a}, {http_method: GET}]}}]", {
            "[1].deny.and: denies nobody whom [0].deny.or[0] does not deny already; remove it"}},
        {"{allow: {or: [{user: a}, {user: b}]}, deny: {or: [{user: {in: [a, c]}}]}}", {
            "policy.yaml:1:22: allow.or[0].user: whoever meets this is denied by deny.or[0]: it admits nobody; remove "
            "it, or narrow the deny rule"}},
        {"{allow: {and: [{user: {in: [a, b]}}]}, deny: {or: [{user: a}]}}", {NULL}},
        {"{allow: {and: [{domain: x}]}, deny: {or: [{email: a@x}]}}", {NULL}},
        {"{allow: {and: [{email: a@x}]}, deny: {or: [{domain: x}]}}", {"whoever meets this is denied by deny.or[0]"}},
        /* who has no token is kept out by the second, too */
        {"[{allow: {or: [{accept: 1}]}}, {deny: {or: [{source_ip: 10.0.0.1}]}}, {deny: {and: [{user: a}, {source_ip: "
         "10.0.0.1}]}}]", {"deny asks who the caller is"}},
        {"{allow: {and: [{user: a}]}, deny: {or: [{accept: 1}]}}", {
            "policy.yaml:1:40: deny.or: holds for everybody who could be admitted, and deny outweighs allow: nobody is "
            "admitted"}},
        {"{deny: {or: [{accept: 1}]}}", {NULL}},
        /* an inverted criterion on the caller is not as the others: it refuses who has no token */
        {"[{allow: {not: [{source_ip: 10.0.0.1}]}}, {allow: {not: [{source_ip: 10.0.0.1}, {http_method: GET}]}}]", {
            "[1].allow.not: `not` holds when none", "[1].allow.not: admits nobody whom [0].allow.not does not"}},
    };

    (void)state;
    expect_all(traps, ARRAY_LEN(traps));
}

static void certificates(void **state)
{
    static const struct trap without[] = {
        {"{deny: {or: [{invalid_client_certificate: true}]}}", {
            NO_CA "invalid_client_certificate is never true while no client CA is configured; set downstream_mtls"}},
        {"{allow: {or: [{client_certificate: {}}]}}", {NO_CA "client_certificate is never true while no client CA"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(without); i++) {
        struct trap good = {.text = without[i].text};

        expect(&without[i], false);
        expect(&good, true);
    }
}

/* ---- a warning is true: of random documents and requests ---- */

static const char *const addresses[] = {"a@x", "b@x", "c@y", "nobody", ""};
static const char *const methods[] = {"GET", "PUT", "OPTIONS"};
static const char *const paths[] = {"/", "/a", "/a/", "/a/b", "/b"};
static const char *const hosts[] = {"10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1"};
static const char *const claims[] = {"[]", "[\"p\"]", "[\"p\",\"q\"]", "[\"q\"]", "[5]"};
static const char *const choices[] = {
    "authenticated_user: 1", "accept: 1", "reject: 1", "cors_preflight: 1", "email: a@x", "email: {is: b@x}",
    "email: {in: [a@x, b@x]}", "email: {in: [a@x, c@y]}", "email: {not: a@x}", "email: {not_in: [a@x, b@x]}",
    "email: {in: []}", "email: {not_in: []}", "email: {ends_with: '@x'}", "email: {starts_with: a, ends_with: y}",
    "domain: x", "domain: {in: [x, y]}", "domain: {not: x}", "domain: {not_in: [x]}", "domain: {}", "http_method: GET",
    "http_method: {in: [GET, PUT]}", "http_method: {not: PUT}", "http_method: {not: GET}", "http_method: OPTIONS",
    "http_path: /a", "http_path: {starts_with: /a/}", "http_path: {starts_with: /b}", "http_path: {ends_with: b}",
    "http_path: {contains: ''}", "http_path: {not_in: [/, /a]}", "claim/c: p", "claim/c: {is: p}", "claim/c: {is: q}",
    "claim/c: {exclude: p}", "claim/c: {has: q, exclude: p}", "claim/c: 5", "claim/c: {}", "claim/d: p",
    "source_ip: 10.0.0.0/8", "source_ip: [10.0.0.0/16, 192.0.2.0/24]", "source_ip: ['2001:db8::/32', 10.1.0.1]",
    "source_ip: []", "user: u1", "user: {not: u1}", "user: {in: [u1, u2]}", "day_of_week: mon-fri", "day_of_week: sat",
    "time_of_day: {timezone: UTC, after: '8:00'}", "time_of_day: {timezone: UTC, before: '6:00'}",
};

/* An operator with some criteria, chosen by chance. */
static void add_random_body(struct tg_buf *out, uint64_t most)
{
    uint64_t combine = draw(4), count = most ? 1 + draw(most) : combine % 2 == 0 ? 1 + draw(3) : 1;
    static const char *const names[] = {"and", "or", "not", "nor"};

    tg_buf_addf(out, "{%s: [", names[combine]);
    for (uint64_t i = 0; i < count; i++)
        tg_buf_addf(out, "%s{%s}", i ? ", " : "", PICK(choices));
    tg_buf_adds(out, "]}");
}

static enum tg_decision decide_random(const struct tg_program *program, uint64_t number, bool *identity)
{
    uint64_t kept = seed;
    struct tg_claims *parsed;
    struct tg_verdict verdict;
    struct tg_facts facts;
    char text[128];

    seed = number * 7919;
    snprintf(text, sizeof(text), "{\"sub\": \"u%d\", \"email\": \"%s\", \"c\": %s}", (int)draw(3), PICK(addresses),
             PICK(claims));
    parsed = facts_of(&(struct request){.claims = draw(4) ? text : NULL, .method = PICK(methods), .path = PICK(paths),
                                        .ip = PICK(hosts)}, &facts);
    facts.cors_preflight = tg_slice_eq(facts.method, TG_S("OPTIONS")) && draw(2);
    facts.wall_ms = (int64_t)draw(14) * 43200000 + 3600000 * 3;
    *identity = facts.identity;
    tg_ppl_decide(program, &facts, &verdict);
    tg_claims_free(parsed);
    seed = kept;
    return verdict.decision;
}

static bool is_told(const struct loaded *l, const char *part)
{
    for (size_t i = 0; i < l->problems.count; i++) {
        if (strstr(l->problems.items[i].text, part))
            return true;
    }
    return false;
}

#define DOCUMENTS 20000
#define REQUESTS  60

static void conclusions_are_true(void **state)
{
    size_t told = 0;

    (void)state;
    seed = 1;
    for (size_t n = 0; n < DOCUMENTS; n++) {
        struct tg_buf text = {0};
        bool nobody, everybody, callers;
        struct loaded l;

        tg_buf_adds(&text, "allow: ");
        add_random_body(&text, 3);
        loaded_init(&l);
        assert_true(loaded_add(&l, tg_buf_cstr(&text)));
        l.program = tg_ppl_finish(l.builder);
        nobody = is_told(&l, "allows nobody") || is_told(&l, "allows no caller") || is_told(&l, "admits nobody: ");
        everybody = is_told(&l, "allows everybody") || is_told(&l, "makes this rule public");
        callers = is_told(&l, "allows every caller");
        nobody = nobody || (strstr(tg_buf_cstr(&text), "{and:") && is_told(&l, "is never true"));
        callers = callers || (strstr(tg_buf_cstr(&text), "{or:") && is_told(&l, "is true of every value"));
        told += nobody || everybody || callers;
        for (uint64_t i = 0; i < REQUESTS && (nobody || everybody || callers); i++) {
            bool identity, allowed = decide_random(l.program, i, &identity) == TG_ALLOW;

            if ((nobody && allowed) || (everybody && !allowed) || (callers && identity && !allowed))
                fail_msg("%s: %s", tg_buf_cstr(&text), l.problems.items[0].text);
        }
        loaded_fini(&l);
        tg_buf_fini(&text);
    }
    assert_true(told > DOCUMENTS / 100);
}

/* A document of these rules; `without`: but for that one. */
static void load_rules(struct loaded *l, const struct tg_buf *rules, size_t count, size_t without)
{
    struct tg_buf text = {0};

    tg_buf_adds(&text, "[");
    for (size_t i = 0; i < count; i++) {
        if (i != without)
            tg_buf_addf(&text, "%s%.*s", text.len > 1 ? ", " : "", (int)rules[i].len, rules[i].data);
    }
    tg_buf_adds(&text, "]");
    loaded_init(l);
    assert_true(loaded_add(l, tg_buf_cstr(&text)));
    l->program = tg_ppl_finish(l->builder);
    tg_buf_fini(&text);
}

/* Who is admitted is the same without a rule that was said to add nothing. */
static void what_adds_nothing_may_go(void **state)
{
    enum { RULES = 4 };
    size_t told = 0;

    (void)state;
    seed = 2;
    for (size_t n = 0; n < DOCUMENTS / 2; n++) {
        struct tg_buf rules[RULES] = {0};
        struct loaded l;

        for (size_t i = 0; i < RULES; i++) {
            tg_buf_adds(&rules[i], draw(3) ? "{allow: " : "{deny: ");
            add_random_body(&rules[i], 0);
            tg_buf_adds(&rules[i], "}");
        }
        load_rules(&l, rules, RULES, RULES);
        for (size_t i = 0; i < l.problems.count; i++) {
            const char *text = l.problems.items[i].text, *rule = strstr(text, ": [");
            struct loaded less;

            if (!rule || (!strstr(text, "nobody whom") && !strstr(text, "whoever meets this")))
                continue;
            told++;
            load_rules(&less, rules, RULES, (size_t)(rule[3] - '0'));
            for (uint64_t r = 0; r < REQUESTS; r++) {
                bool identity;

                if ((decide_random(l.program, r, &identity) == TG_ALLOW) !=
                    (decide_random(less.program, r, &identity) == TG_ALLOW))
                    fail_msg("%s | %s | %s | %s: %s", tg_buf_cstr(&rules[0]), tg_buf_cstr(&rules[1]),
                             tg_buf_cstr(&rules[2]), tg_buf_cstr(&rules[3]), text);
            }
            loaded_fini(&less);
        }
        loaded_fini(&l);
        for (size_t i = 0; i < RULES; i++)
            tg_buf_fini(&rules[i]);
    }
    assert_true(told > DOCUMENTS / 100);
}

/* ---- long documents ---- */

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Twice as long is not four times as slow; repetitions are told up to a point. */
static void long_documents(void **state)
{
    static const struct {
        const char *head, *item, *foot;
        size_t warnings;
    } forms[] = {
        {"allow:\n  or:\n", "    - email: {is: u%zu@x}\n", "", 0},
        {"allow:\n  and:\n", "    - email: {not: u%zu@x}\n", "    - authenticated_user: true\n", 0},
        {"", "- allow: {and: [{email: u%zu@x}, {http_method: GET}]}\n", "", 0},
        {"", "- deny: {and: [{claim/a: u%zu}, {http_method: {in: [PUT, POST]}}, {groups: a}]}\n", "", 0},
        {"allow:\n  or:\n", "    - user: u%zu\n    - user: u1\n", "", 21},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        double took[2];

        for (int large = 0; large < 2; large++) {
            struct tg_buf text = {0};
            struct loaded l;

            tg_buf_adds(&text, forms[i].head);
            for (size_t n = 0; n < (large ? 8000u : 1000u); n++)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                tg_buf_addf(&text, forms[i].item, n);
#pragma GCC diagnostic pop
            tg_buf_adds(&text, forms[i].foot);
            loaded_init(&l);
            took[large] = seconds();
            assert_true(loaded_add(&l, tg_buf_cstr(&text)));
            took[large] = seconds() - took[large];
            if (l.problems.count != forms[i].warnings)
                fail_msg("%s: %zu: %s", forms[i].item, l.problems.count,
                         l.problems.count ? l.problems.items[0].text : "");
            loaded_fini(&l);
            tg_buf_fini(&text);
        }
        if (took[1] > 30 * took[0] + 0.5)                /* eight times the length */
            fail_msg("%s: %f s, then %f s", forms[i].item, took[0], took[1]);
    }
}

/* The examples of this repository are good ones. */
static void examples(void **state)
{
    static const char *const good[] = {
        "{allow: {or: [{http_path: {in: [/, /index.html]}}, {http_path: {starts_with: /docs/}}, {authenticated_user: "
        "true}]}}",
        "[{allow: {and: [{authenticated_user: true}]}}, {deny: {and: [{http_path: {starts_with: /admin/}}, "
        "{claim/roles: {exclude: admin}}]}}, {deny: {and: [{http_path: {is: /admin}}, {claim/roles: {exclude: "
        "admin}}]}}]",
        "{allow: {and: [{domain: {is: example.com}}]}, deny: {or: [{email: {in: [eve@example.com]}}]}}",
        "[{allow: {and: [{authenticated_user: 1}, {http_method: {in: [GET, HEAD]}}]}}, {allow: {and: [{groups: "
        "editors}]}}]",
        "{allow: {and: [{authenticated_user: 1}]}, deny: {not: [{source_ip: [10.0.0.0/8]}]}}",
        "{deny: {and: [{date: {after: '2026-01-01', before: '2026-01-02'}}]}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        expect(&(struct trap){.text = good[i]}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),         cmocka_unit_test(names_and_ends), cmocka_unit_test(operators),
        cmocka_unit_test(anonymous),      cmocka_unit_test(contradictions), cmocka_unit_test(tautologies),
        cmocka_unit_test(coverage),       cmocka_unit_test(certificates),   cmocka_unit_test(long_documents),
        cmocka_unit_test(examples),       cmocka_unit_test(conclusions_are_true),
        cmocka_unit_test(what_adds_nothing_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
