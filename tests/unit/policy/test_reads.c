/* What programs read: every criterion, and nothing else. */
#include "support.h"
#include "base/hash.h"

#define BIT(f) TG_FACT_BIT(TG_FACT_##f)

static const struct {
    const char *criterion;
    unsigned facts;
    const char *claim;                                   /* NULL: none */
} cases[] = {
    {"accept: true", 0, NULL},
    {"reject: true", 0, NULL},
    {"authenticated_user: true", BIT(USER), NULL},
    {"user: {is: u}", BIT(USER), NULL},
    {"email: {is: u@e}", BIT(EMAIL), NULL},
    {"domain: {is: e}", BIT(EMAIL), NULL},
    {"claim/plan: pro", 0, "plan"},
    {"claim/a.b: {has: 1}", 0, "a.b"},
    {"claim/groups: {has: x}", 0, "groups"},
    {"groups: {has: x}", BIT(GROUPS), NULL},
    {"http_method: {is: GET}", BIT(METHOD), NULL},
    {"http_path: {starts_with: /a}", BIT(PATH), NULL},
    {"source_ip: 10.0.0.0/8", BIT(SOURCE_IP), NULL},
    {"cors_preflight: true", BIT(PREFLIGHT), NULL},
    {"invalid_client_certificate: true", BIT(CLIENT_CERT), NULL},
    {"client_certificate: {}", BIT(CERT_SUBJECT) | BIT(CERT_FINGERPRINT), NULL},
    {"client_certificate: {fingerprint: 0000000000000000000000000000000000000000000000000000000000000000}",
     BIT(CERT_FINGERPRINT), NULL},
    {"client_certificate: {spki_hash: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}", BIT(CERT_SPKI), NULL},
    {"client_certificate: {san_email: {is: a}, san_dns: {is: a}}", BIT(CERT_EMAILS) | BIT(CERT_DNS), NULL},
    {"client_certificate: {san_uri: {starts_with: a}}", BIT(CERT_URIS), NULL},
    {"mcp_tool: {is: t}", BIT(MCP_TOOL), NULL},
    {"date: {after: '2026-01-01T00:00:00Z'}", BIT(TIME), NULL},
    {"day_of_week: mon-fri", BIT(TIME), NULL},
    {"time_of_day: {timezone: UTC, after: '9:00'}", BIT(TIME), NULL},
};

static const struct tg_program *program_of(struct tg_arena *arena, const char *yaml)
{
    struct tg_problems problems = {0};
    struct tg_tree *tree = NULL;
    struct tg_ppl_builder *b = tg_ppl_builder_new(arena);
    struct tg_err err;

    if (tg_tree_parse("test.yaml", tg_slice_str(yaml), &tree, &err) != TG_OK)
        fail_msg("%s: %s", yaml, err.text);
    if (!tg_ppl_add(b, tree, tree->root, "", &problems))
        fail_msg("%s: %s", yaml, problems.items[0].text);
    tg_tree_free(tree);
    tg_problems_fini(&problems);
    return tg_ppl_finish(b);
}

/* Wherever it stands. */
static void each_criterion(void **state)
{
    static const struct {
        const char *before, *after;
    } places[] = {
        {"allow: {and: [{", "}]}"},
        {"deny: {nor: [{", "}]}"},
        {"{allow: {or: [{accept: true}], not: [{accept: true}, {", "}]}}"},
        {"[{allow: {and: [{accept: true}]}}, {deny: {or: [{", "}]}}]"},
    };
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < ARRAY_LEN(places); k++) {
            char yaml[512];
            const struct tg_program *program;
            const struct tg_fact_set *set;

            snprintf(yaml, sizeof(yaml), "%s%s%s", places[k].before, cases[i].criterion, places[k].after);
            program = program_of(&arena, yaml);
            set = tg_ppl_reads(&program, 1, NULL, 0, &arena);
            if (set->facts != cases[i].facts || set->claim_count != (cases[i].claim != NULL))
                fail_msg("%s: facts %x, %zu claims", yaml, set->facts, set->claim_count);
            if (cases[i].claim)
                assert_true(tg_slice_eq(set->claims[0], tg_slice_str(cases[i].claim)));
        }
        tg_arena_reset(&arena);
    }
    tg_arena_fini(&arena);
}

/* Programs together, flags, a list that is no document, and names given besides. */
static void together(void **state)
{
    static const struct tg_slice more[] = {TG_S_INIT("zone"), TG_S_INIT("a"), TG_S_INIT("plan")};
    static const char *const want[] = {"a", "plan", "role", "tier.name", "zone"};
    struct tg_slice users[] = {TG_S_INIT("u")};
    struct tg_ppl_flags flags = {.users = users, .user_count = 1};
    const struct tg_program *programs[4] = {0};
    struct tg_problems problems = {0};
    struct tg_ppl_builder *b;
    struct tg_tree *tree = NULL;
    const struct tg_fact_set *set;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    programs[0] = program_of(&arena, "allow: {and: [{claim/role: a}, {claim/plan: b}, {claim/plan: c}]}");
    b = tg_ppl_builder_new(&arena);
    assert_int_equal(tg_tree_parse("t", TG_S("[{claim/tier.name: x}, {source_ip: 10.0.0.1}]"), &tree, NULL), TG_OK);
    assert_true(tg_ppl_add_flags(b, tree, &flags, &problems));
    programs[2] = tg_ppl_finish(b);
    programs[3] = tg_ppl_compile_when(&arena, tree, tree->root, "when", &problems);
    assert_non_null(programs[3]);
    tg_tree_free(tree);
    set = tg_ppl_reads(programs, 4, more, ARRAY_LEN(more), &arena);
    assert_true(set->facts & BIT(SOURCE_IP));
    assert_true(set->facts & (BIT(USER) | BIT(EMAIL)));
    assert_int_equal(set->claim_count, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(tg_slice_eq(set->claims[i], tg_slice_str(want[i])));
        assert_true(set->hashes[i] == tg_hash_slice(set->claims[i]));
        assert_true(tg_fact_set_has_claim(set, tg_slice_str(want[i])));
    }
    assert_false(tg_fact_set_has_claim(set, TG_S("tier")));
    assert_false(tg_fact_set_has_claim(set, TG_S("")));
    assert_false(tg_fact_set_has_claim(set, TG_S("zz")));
    set = tg_ppl_reads(NULL, 0, NULL, 0, &arena);
    assert_int_equal(set->facts, 0);
    assert_false(tg_fact_set_has_claim(set, TG_S("a")));
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
}

/* As many as a document has rules: in time that a start can bear. */
static void many_claims(void **state)
{
    enum { COUNT = 20000 };
    struct tg_buf yaml = {0};
    struct tg_arena arena;
    const struct tg_program *program;
    const struct tg_fact_set *set;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    tg_buf_adds(&yaml, "{\"allow\":{\"or\":[{\"accept\":true}");
    for (int i = 0; i < COUNT; i++)
        tg_buf_addf(&yaml, ",{\"claim/c%d\":\"x\"}", i % (COUNT / 2));
    tg_buf_adds(&yaml, "]}}");
    program = program_of(&arena, tg_buf_cstr(&yaml));
    set = tg_ppl_reads(&program, 1, NULL, 0, &arena);
    assert_int_equal(set->claim_count, COUNT / 2);
    for (size_t i = 1; i < set->claim_count; i++)
        assert_true(tg_slice_cmp(set->claims[i - 1], set->claims[i]) < 0);
    tg_buf_fini(&yaml);
    tg_arena_fini(&arena);
}

/* A log that is told to hold "email" and "groups" holds what the criteria look at, whatever the claims are called. */
static void named_besides(void **state)
{
    static const struct tg_slice names[] = {TG_S_INIT("email"), TG_S_INIT("groups"), TG_S_INIT("plan")};
    const struct tg_fact_set *set;
    struct tg_arena arena;

    (void)state;
    tg_arena_init(&arena, NULL, 0);
    set = tg_ppl_reads(NULL, 0, names, ARRAY_LEN(names), &arena);
    assert_int_equal(set->facts, BIT(EMAIL) | BIT(GROUPS));
    assert_int_equal(set->claim_count, 3);
    set = tg_ppl_reads(NULL, 0, names + 2, 1, &arena);
    assert_int_equal(set->facts, 0);
    tg_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_criterion),
        cmocka_unit_test(together),
        cmocka_unit_test(named_besides),
        cmocka_unit_test(many_claims),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
