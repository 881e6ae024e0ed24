/*
 * test_tiers - the `rate_limits` section as users write it, and which tier an identity falls into.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/json.h"
#include "limit/tiers.h"

struct reading {
    struct tg_tree *tree;
    struct tg_arena arena;
    struct tg_problems problems;
    struct tg_tiers tiers;
    bool ok;
};

static void read_text(struct reading *r, const char *yaml)
{
    struct tg_err err;

    memset(r, 0, sizeof(*r));
    tg_arena_init(&r->arena, NULL, 0);
    if (tg_tree_parse("t.yaml", tg_slice_str(yaml), &r->tree, &err) != TG_OK)
        fail_msg("%s: %s", yaml, err.text);
    r->ok = tg_tiers_read(r->tree, tg_json_get(r->tree->root, "rate_limits"), &r->arena, &r->tiers, &r->problems);
}

static void done(struct reading *r)
{
    tg_problems_fini(&r->problems);
    tg_arena_fini(&r->arena);
    tg_tree_free(r->tree);
}

static bool is_told(const struct reading *r, const char *part)
{
    for (size_t i = 0; i < r->problems.count; i++)
        if (strstr(r->problems.items[i].text, part))
            return true;
    return false;
}

#define LAST "{name: authenticated, limit: 1000, window: 1m}"

static void good(void **state)
{
    static const struct { const char *why, *yaml, *told; } cases[] = {
        {"absent: the default tiers", "a: 1", "enterprise 10000/1m, authenticated 1000/1m, unauthenticated 100/1m"},
        {"nothing written", "rate_limits:", "enterprise 10000/1m, authenticated 1000/1m, unauthenticated 100/1m"},
        {"an empty mapping", "rate_limits: {}", "enterprise 10000/1m, authenticated 1000/1m, unauthenticated 100/1m"},
        {"off", "rate_limits: off", "off"},
        {"false", "rate_limits: false", "off"},
        {"one tier; the reserved one by default", "rate_limits: {tiers: [{name: all, limit: 5, window: 90s}]}",
         "all 5/90s, unauthenticated 100/1m"},
        {"a minute by default", "rate_limits: {tiers: [{name: all, limit: 5}]}", "all 5/1m, unauthenticated 100/1m"},
        {"the reserved one first", "rate_limits: {tiers: [{name: unauthenticated, limit: 7, window: 2h}, " LAST "]}",
         "authenticated 1000/1m, unauthenticated 7/2h"},
        {"three of them", "rate_limits: {store: memory, mode: enforce, tiers: [{name: a, limit: 1, window: 1s, "
         "when: [{claim/plan: x}]}, {name: b, limit: 2, window: 24h, when: [{email: {is: a@b.c}}]}, " LAST "]}",
         "a 1/1s, b 2/24h, authenticated 1000/1m, unauthenticated 100/1m"},
        {"the largest", "rate_limits: {tiers: [{name: \"!#$%&'*+-.^_`|~\", limit: 2147483647, window: 86400s}]}",
         "!#$%&'*+-.^_`|~ 2147483647/24h, unauthenticated 100/1m"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        struct tg_buf told = {0};

        read_text(&r, cases[i].yaml);
        if (!r.ok)
            fail_msg("%s: %s", cases[i].why, r.problems.items[0].text);
        tg_tiers_describe(&r.tiers, &told);
        assert_string_equal(tg_buf_cstr(&told), cases[i].told);
        tg_buf_fini(&told);
        done(&r);
    }
}

static void refused(void **state)
{
    static const struct { const char *why, *yaml, *part; } cases[] = {
        {"a number", "rate_limits: 5", "must be a mapping or off"},
        {"a list", "rate_limits: [" LAST "]", "must be a mapping or off"},
        {"true", "rate_limits: true", "must be a mapping or off"},
        {"another word", "rate_limits: none", "must be a mapping or off"},
        {"an unknown name", "rate_limits: {tier: []}", "did you mean"},
        {"an unknown name of a tier", "rate_limits: {tiers: [{name: a, limits: 5}]}", "did you mean"},
        {"tiers are a list", "rate_limits: {tiers: {name: a, limit: 5}}", "must be a list"},
        {"no tier", "rate_limits: {tiers: []}", "needs a tier for requests with an identity"},
        {"only the reserved one", "rate_limits: {tiers: [{name: unauthenticated, limit: 5, window: 1m}]}",
         "needs a tier for requests with an identity"},
        {"Redis", "rate_limits: {store: \"redis://host:6379/0\"}", "Redis is not supported yet"},
        {"Redis with TLS", "rate_limits: {store: \"rediss://host\"}", "Redis is not supported yet"},
        {"another store", "rate_limits: {store: disk}", "must be memory"},
        {"the store cannot fail", "rate_limits: {when_store_fails: deny}", "when_store_fails is not supported yet"},
        {"an unknown mode", "rate_limits: {mode: enforced}", "enforce"},
        {"no name", "rate_limits: {tiers: [{limit: 5}]}", "name"},
        {"an empty name", "rate_limits: {tiers: [{name: \"\", limit: 5}]}", "name"},
        {"a name with a space", "rate_limits: {tiers: [{name: a b, limit: 5}]}", "letters, digits"},
        {"a name with a quote", "rate_limits: {tiers: [{name: 'a\"b', limit: 5}]}", "letters, digits"},
        {"a name with a line break", "rate_limits: {tiers: [{name: \"a\\nb\", limit: 5}]}", "letters, digits"},
        {"a name not in ASCII", "rate_limits: {tiers: [{name: \"\xc3\xa4\", limit: 5}]}", "letters, digits"},
        {"the reserved name in another case", "rate_limits: {tiers: [{name: Unauthenticated, limit: 5}, " LAST "]}",
         "spelled"},
        {"the same name twice",
         "rate_limits: {tiers: [{name: Authenticated, limit: 5, when: [{claim/a: b}]}, " LAST "]}",
         "two tiers named"},
        {"the reserved name twice", "rate_limits: {tiers: [{name: unauthenticated, limit: 5}, "
         "{name: unauthenticated, limit: 5}, " LAST "]}", "two tiers named"},
        {"the reserved one asks nothing", "rate_limits: {tiers: [{name: unauthenticated, limit: 5, "
         "when: [{claim/a: b}]}, " LAST "]}", "it has no `when`"},
        {"the last asks nothing", "rate_limits: {tiers: [{name: a, limit: 5, when: [{claim/a: b}]}]}",
         "takes everybody else"},
        {"the last before the reserved one",
         "rate_limits: {tiers: [" LAST ", {name: a, limit: 5, when: [{claim/a: b}]}, "
         "{name: unauthenticated, limit: 5}]}", "takes everybody else"},
        {"the earlier ones ask", "rate_limits: {tiers: [{name: a, limit: 5}, " LAST "]}", "never be reached"},
        {"limit 0", "rate_limits: {tiers: [{name: a, limit: 0}]}", "limit"},
        {"a negative limit", "rate_limits: {tiers: [{name: a, limit: -1}]}", "limit"},
        {"half a request", "rate_limits: {tiers: [{name: a, limit: 1.5}]}", "limit"},
        {"a limit too large", "rate_limits: {tiers: [{name: a, limit: 2147483648}]}", "limit"},
        {"no limit", "rate_limits: {tiers: [{name: a}]}", "limit"},
        {"a window below a second", "rate_limits: {tiers: [{name: a, limit: 1, window: 500ms}]}", "window"},
        {"a window of 1.5 s", "rate_limits: {tiers: [{name: a, limit: 1, window: 1500ms}]}", "whole seconds"},
        {"a window without end", "rate_limits: {tiers: [{name: a, limit: 1, window: none}]}", "window"},
        {"a window above a day", "rate_limits: {tiers: [{name: a, limit: 1, window: 86401s}]}", "window"},
        {"an unknown criterion", "rate_limits: {tiers: [{name: a, limit: 1, when: [{claims/a: b}]}, " LAST "]}",
         "claims"},
        {"when is a list", "rate_limits: {tiers: [{name: a, limit: 1, when: {claim/a: b}}, " LAST "]}", "when"},
        {"a tier is a mapping", "rate_limits: {tiers: [a, " LAST "]}", "tiers[0]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (r.ok || r.problems.errors == 0 || !is_told(&r, cases[i].part))
            fail_msg("%s: ok %d, told: %s", cases[i].why, r.ok,
                     r.problems.count ? r.problems.items[0].text : "nothing");
        if (strncmp(r.problems.items[0].text, "t.yaml:1:", 9) != 0)
            fail_msg("%s: no place: %s", cases[i].why, r.problems.items[0].text);
        done(&r);
    }
}

static const char *picked(const struct tg_tiers *tiers, const char *claims_text)
{
    struct tg_facts facts = {.identity = true, .user = TG_S("u"), .method = TG_S("GET"), .path = TG_S("/")};
    static char name[80];
    struct tg_claims *claims;
    cJSON *json;

    assert_int_equal(tg_json_parse(tg_slice_str(claims_text), NULL, &json, NULL), TG_OK);
    claims = tg_claims_new(json);
    facts.claims = claims;
    const struct tg_tier *tier = tg_tiers_pick(tiers, &facts);

    assert_non_null(tier);
    assert_true(tier->name.len < sizeof(name));
    memcpy(name, tier->name.ptr, tier->name.len);
    name[tier->name.len] = '\0';
    tg_claims_free(claims);
    return name;
}

static void pick(void **state)
{
    struct reading r;
    struct tg_facts nobody = {.identity = false};

    (void)state;
    read_text(&r, "a: 1");
    assert_string_equal(picked(&r.tiers, "{\"plan\":\"enterprise\"}"), "enterprise");
    assert_string_equal(picked(&r.tiers, "{\"plan\":[\"x\",\"enterprise\"]}"), "enterprise");
    assert_string_equal(picked(&r.tiers, "{\"plan\":\"Enterprise\"}"), "authenticated");
    assert_string_equal(picked(&r.tiers, "{\"plan\":true}"), "authenticated");
    assert_string_equal(picked(&r.tiers, "{}"), "authenticated");
    assert_true(tg_slice_eq(tg_tiers_pick(&r.tiers, &nobody)->name, TG_S("authenticated")));
    done(&r);

    read_text(&r, "rate_limits: {mode: shadow, tiers: [{name: a, limit: 1, when: [{claim/p: x}, {claim/q: y}]}, "
                  "{name: b, limit: 1, when: [{claim/p: x}]}, " LAST "]}");
    assert_true(r.ok && r.tiers.shadow && !r.tiers.off);
    assert_string_equal(picked(&r.tiers, "{\"p\":\"x\",\"q\":\"y\"}"), "a");
    assert_string_equal(picked(&r.tiers, "{\"p\":\"x\"}"), "b");
    assert_string_equal(picked(&r.tiers, "{\"q\":\"y\"}"), "authenticated");
    assert_int_not_equal(r.tiers.items[0].salt, r.tiers.items[1].salt);
    done(&r);

    read_text(&r, "rate_limits: off");
    assert_null(tg_tiers_pick(&r.tiers, &nobody));
    done(&r);
}

/* Every error of the section at once. */
static void all_errors(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "rate_limits: {mode: x, store: y, tiers: [{name: a b, limit: 0}, {limit: 1, window: 5}]}");
    assert_false(r.ok);
    assert_true(r.problems.errors >= 5);
    done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(refused),
        cmocka_unit_test(pick),
        cmocka_unit_test(all_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
