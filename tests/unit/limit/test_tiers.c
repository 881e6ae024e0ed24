/*
 * test_tiers - `rate_limits` as users write it, the general ones and a route's own: what is made of it, every error and
 * warning with its text and place, which tier an identity falls into, and how many requests it then has.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/claims.h"
#include "base/err.h"
#include "base/json.h"
#include "limit/tiers.h"

struct reading {
    struct tg_tree *tree;
    struct tg_arena arena;
    struct tg_problems problems;
    struct tg_tiers tiers, route;                        /* the general ones, and those of the member `route` */
    struct tg_limit_settings settings;
    bool ok, route_ok;
};

static void read_text(struct reading *r, const char *yaml)
{
    const cJSON *route;
    struct tg_err err;

    memset(r, 0, sizeof(*r));
    tg_arena_init(&r->arena, NULL, 0);
    if (tg_tree_parse("t.yaml", tg_slice_str(yaml), &r->tree, &err) != TG_OK)
        fail_msg("%s: %s", yaml, err.text);
    r->ok = tg_tiers_read(r->tree, tg_json_get(r->tree->root, "rate_limits"), &r->arena, &r->tiers, &r->settings,
                          &r->problems);
    route = tg_json_get(r->tree->root, "route");
    r->route_ok = r->ok && route &&
                  tg_tiers_read_route(r->tree, route, "routes[2].rate_limits", TG_S("a/b"), &r->tiers, &r->arena,
                                      &r->route, &r->problems);
}

static void done(struct reading *r)
{
    tg_problems_fini(&r->problems);
    tg_arena_fini(&r->arena);
    tg_tree_free(r->tree);
}

static void check_told(const char *why, const struct tg_tiers *tiers, const char *want)
{
    struct tg_buf told = {0};

    tg_tiers_describe(tiers, &told);
    if (strcmp(tg_buf_cstr(&told), want) != 0)
        fail_msg("%s:\n  is     %s\n  wanted %s", why, tg_buf_cstr(&told), want);
    tg_buf_fini(&told);
}

#define LAST "{name: authenticated, limit: 1000, window: 1m}"
#define REST ", unauthenticated 100/1m by address"
#define DEFAULTS "enterprise 10000/1m by subject, authenticated 1000/1m by subject" REST
#define ONE(tier) "rate_limits: {tiers: [" tier "]}"

/* ---- what is made of it ---- */

static void good(void **state)
{
    static const struct { const char *why, *yaml, *told; } cases[] = {
        {"absent: the default tiers", "a: 1", DEFAULTS},
        {"nothing written", "rate_limits:", DEFAULTS},
        {"an empty mapping", "rate_limits: {}", DEFAULTS},
        {"null tiers", "rate_limits: {tiers: null}", DEFAULTS},
        {"off", "rate_limits: off", "off"},
        {"false", "rate_limits: false", "off"},
        {"one tier; the reserved one by default", ONE("{name: all, limit: 5, window: 90s}"),
         "all 5/90s by subject" REST},
        {"a minute by default", ONE("{name: all, limit: 5}"), "all 5/1m by subject" REST},
        {"the reserved one first", ONE("{name: unauthenticated, limit: 7, window: 2h}, " LAST),
         "authenticated 1000/1m by subject, unauthenticated 7/2h by address"},
        {"three of them", "rate_limits: {store: memory, mode: enforce, tiers: [{name: a, limit: 1, window: 1s, "
         "when: [{claim/plan: x}]}, {name: b, limit: 2, window: 24h, when: [{email: {is: a@b.c}}]}, " LAST "]}",
         "a 1/1s by subject, b 2/24h by subject, authenticated 1000/1m by subject" REST},
        {"the largest", ONE("{name: \"!#$%&'*+-.^_`|~\", limit: 2147483647, window: 86400s}"),
         "!#$%&'*+-.^_`|~ 2147483647/24h by subject" REST},
        {"the largest sliding", ONE("{name: a, limit: 16777214, algorithm: sliding}"),
         "a 16777214/1m sliding by subject" REST},
        {"several windows, the shortest first", ONE("{name: a, windows: [{limit: 5000, window: 24h}, {limit: 9, "
         "window: 1s}, {limit: 100}]}"), "a 9/1s 100/1m 5000/24h by subject" REST},
        {"one window in a list", ONE("{name: a, windows: [{limit: 9, window: 1s}]}"), "a 9/1s by subject" REST},
        {"algorithm and mode: of the section, for the defaults too", "rate_limits: {algorithm: sliding, mode: shadow}",
         "enterprise 10000/1m sliding shadow by subject, authenticated 1000/1m sliding shadow by subject, "
         "unauthenticated 100/1m sliding shadow by address"},
        {"of a tier over the section", "rate_limits: {algorithm: sliding, tiers: [{name: a, limit: 1, "
         "algorithm: fixed, mode: shadow}]}", "a 1/1m shadow by subject, unauthenticated 100/1m sliding by address"},
        {"of a window over the tier", "rate_limits: {mode: shadow, tiers: [{name: a, algorithm: sliding, "
         "mode: enforce, windows: [{limit: 1, window: 1s, algorithm: fixed}, {limit: 2, window: 5s, mode: shadow}]}]}",
         "a 1/1s 2/5s sliding shadow by subject, unauthenticated 100/1m shadow by address"},
        {"every key", ONE("{name: a, limit: 1, when: [{claim/p: x}], key: address}, {name: b, limit: 1, "
         "when: [{claim/p: y}], key: route}, {name: c, limit: 1, when: [{claim/p: z}], key: claim/org.id}, "
         "{name: d, limit: 1, key: subject}, {name: unauthenticated, limit: 3, key: route}"),
         "a 1/1m by address, b 1/1m by route, c 1/1m by claim org.id, d 1/1m by subject, "
         "unauthenticated 3/1m by route"},
        {"a claim under a ceiling", ONE("{name: a, limit: 10, limit_claim: rate, limit_ceiling: 50}"),
         "a 10/1m or claim rate up to 50 by subject" REST},
        {"a claim of one window", ONE("{name: a, windows: [{limit: 10, window: 1s}, {limit: 100, limit_claim: rate, "
         "limit_ceiling: 100}]}"), "a 10/1s 100/1m or claim rate up to 100 by subject" REST},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (!r.ok)
            fail_msg("%s: %s", cases[i].why, r.problems.items[0].text);
        if (r.problems.count)
            fail_msg("%s: told: %s", cases[i].why, r.problems.items[0].text);
        check_told(cases[i].why, &r.tiers, cases[i].told);
        done(&r);
    }
}

/* Names that headers and stores know the windows by. */
static void names(void **state)
{
    static const struct { const char *yaml, *name[2], *path[2]; } cases[] = {
        {"a: 1", {"enterprise"}, {"/enterprise/60/fixed"}},
        {ONE("{name: a%b, windows: [{limit: 9, window: 90s, algorithm: sliding}, {limit: 2, window: 1s}]}"),
         {"a%b-1s", "a%b-90s"}, {"/a%25b/1/fixed", "/a%25b/90/sliding"}},
        {"rate_limits: {}\nroute: {tiers: [{name: a, windows: [{limit: 9, window: 24h}, {limit: 2, window: 1m}]}]}",
         {"a-1m", "a-24h"}, {"a%2Fb/a/60/fixed", "a%2Fb/a/86400/fixed"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        assert_true(r.ok);
        const struct tg_tier *tier = r.route_ok ? &r.route.items[0] : &r.tiers.items[0];

        for (size_t k = 0; k < tier->window_count; k++) {
            assert_true(tg_slice_eq(tier->windows[k].name, tg_slice_str(cases[i].name[k])));
            assert_true(tg_slice_eq(tier->windows[k].path, tg_slice_str(cases[i].path[k])));
            assert_int_not_equal(tier->windows[k].salt, r.tiers.unauthenticated.windows[0].salt);
            assert_true(k == 0 || tier->windows[k].salt != tier->windows[k - 1].salt);
        }
        done(&r);
    }
}

/* A reload that changes a limit, a ceiling or a mode goes on counting where it was; another length begins anew. */
static void counters_stay(void **state)
{
    static const struct { const char *one, *other; bool same; } cases[] = {
        {"limit: 5", "limit: 6", true},
        {"limit: 5", "limit: 5, mode: shadow", true},
        {"limit: 5", "limit: 5, limit_claim: rate, limit_ceiling: 9", true},
        {"limit: 5", "windows: [{limit: 1, window: 1m}, {limit: 100, window: 1h}]", true},
        {"limit: 5", "limit: 5, window: 2m", false},
        {"limit: 5", "limit: 5, algorithm: sliding", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading a, b;
        char yaml[256];

        snprintf(yaml, sizeof yaml, "rate_limits: {tiers: [{name: a, %s}]}", cases[i].one);
        read_text(&a, yaml);
        snprintf(yaml, sizeof yaml, "rate_limits: {tiers: [{name: a, %s}]}", cases[i].other);
        read_text(&b, yaml);
        assert_true(a.ok && b.ok);
        assert_int_equal(a.tiers.items[0].windows[0].salt == b.tiers.items[0].windows[0].salt, cases[i].same);
        done(&a);
        done(&b);
    }
}

/* The field is ready where it is the same for everybody. */
static void policy_fields(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, ONE("{name: a, limit: 5, when: [{claim/p: x}]}, {name: b, windows: [{limit: 1, window: 1s}, "
                      "{limit: 9, limit_claim: rate, limit_ceiling: 9}]}"));
    assert_true(r.ok);
    assert_true(tg_slice_eq(r.tiers.items[0].policy_field, TG_S("\"a\";q=5;w=60")));
    assert_int_equal(r.tiers.items[1].policy_field.len, 0);
    assert_true(tg_slice_eq(r.tiers.unauthenticated.policy_field, TG_S("\"unauthenticated\";q=100;w=60")));
    done(&r);
}

/* ---- a route's own ---- */

static void routes(void **state)
{
    static const struct { const char *why, *yaml, *told; } cases[] = {
        {"off", "route: off", "off"},
        {"false", "route: false", "off"},
        {"nothing said", "route: {}", DEFAULTS},
        {"tiers of its own", "route: {tiers: [{name: a, limit: 1}]}", "a 1/1m by subject" REST},
        {"both", "route: {tiers: [{name: a, limit: 1}, {name: unauthenticated, limit: 2}]}",
         "a 1/1m by subject, unauthenticated 2/1m by address"},
        {"only the reserved one", "route: {tiers: [{name: unauthenticated, limit: 2}]}",
         "enterprise 10000/1m by subject, authenticated 1000/1m by subject, unauthenticated 2/1m by address"},
        {"in shadow", "route: {mode: shadow}",
         "enterprise 10000/1m shadow by subject, authenticated 1000/1m shadow by subject, "
         "unauthenticated 100/1m shadow by address"},
        {"out of the shadow", "rate_limits: {mode: shadow}\nroute: {mode: enforce}", DEFAULTS},
        {"what tiers say themselves stands", "rate_limits: {tiers: [{name: a, limit: 1, mode: enforce, when: "
         "[{claim/p: x}]}, {name: b, windows: [{limit: 1, window: 1s, algorithm: fixed}, {limit: 3}]}]}\n"
         "route: {mode: shadow, algorithm: sliding}",
         "a 1/1m sliding by subject, b 1/1s shadow 3/1m sliding shadow by subject, "
         "unauthenticated 100/1m sliding shadow by address"},
        {"the section's mode for tiers of the route", "rate_limits: {mode: shadow, algorithm: sliding}\n"
         "route: {tiers: [{name: a, limit: 1}]}",
         "a 1/1m sliding shadow by subject, unauthenticated 100/1m sliding shadow by address"},
        {"while the others are off", "rate_limits: off\nroute: {tiers: [{name: a, limit: 1}, "
         "{name: unauthenticated, limit: 2, window: 2m}]}", "a 1/1m by subject, unauthenticated 2/2m by address"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (!r.route_ok)
            fail_msg("%s: %s", cases[i].why, r.problems.items[0].text);
        check_told(cases[i].why, &r.route, cases[i].told);
        done(&r);
    }
}

/* Whose counters a route's requests use up. */
static void routes_count(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "rate_limits: {tiers: [" LAST "]}\nroute: {tiers: [" LAST "]}");
    assert_true(r.route_ok);
    assert_int_not_equal(r.route.items[0].windows[0].salt, r.tiers.items[0].windows[0].salt);
    assert_int_equal(r.route.unauthenticated.windows[0].salt, r.tiers.unauthenticated.windows[0].salt);
    done(&r);

    read_text(&r, "rate_limits: {tiers: [" LAST "]}\nroute: {tiers: [{name: unauthenticated, limit: 100}]}");
    assert_true(r.route_ok);
    assert_ptr_equal(r.route.items, r.tiers.items);
    assert_int_not_equal(r.route.unauthenticated.windows[0].salt, r.tiers.unauthenticated.windows[0].salt);
    done(&r);

    read_text(&r, "a: 1\nroute: {mode: shadow}");
    assert_true(r.route_ok);
    assert_true(tg_tier_is_shadow(&r.route.items[0]) && !tg_tier_is_shadow(&r.tiers.items[0]));
    assert_int_equal(r.route.items[0].windows[0].salt, r.tiers.items[0].windows[0].salt);
    assert_ptr_equal(r.route.items[0].when, r.tiers.items[0].when);
    done(&r);
}

/* ---- settings beside the tiers ---- */

static void defaults(void **state)
{
    static const char *const texts[] = {"a: 1", "rate_limits: off", "rate_limits: {}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reading r;

        read_text(&r, texts[i]);
        assert_true(r.ok && r.settings.ratelimit_fields && !r.settings.upstream_stricter);
        assert_int_equal(r.settings.x_ratelimit, TG_X_RATELIMIT_EPOCH);
        assert_int_equal(r.settings.max_keys, 1000000);
        assert_int_equal(r.settings.store.len + r.settings.store_password.len + r.settings.store_secret.len, 0);
        assert_int_equal(r.settings.store_timeout_ms, 25);
        assert_true(tg_slice_eq(r.settings.store_prefix, TG_S("tollgate")) && !r.settings.store_fails_deny);
        done(&r);
    }
}

static void settings(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "rate_limits: {x_ratelimit: delta, ratelimit_fields: false, upstream_x_ratelimit: stricter, "
                  "max_keys: 1024, store: 'redis://bob@cache:6380/3', when_store_fails: deny, store_timeout: 5ms, "
                  "store_prefix: 'app:1', store_password: pass word, store_secret: 0123456789abcdef}");
    assert_true(r.ok && r.problems.count == 0);
    assert_int_equal(r.settings.x_ratelimit, TG_X_RATELIMIT_DELTA);
    assert_true(!r.settings.ratelimit_fields && r.settings.upstream_stricter && r.settings.store_fails_deny);
    assert_int_equal(r.settings.max_keys, 1024);
    assert_int_equal(r.settings.store_timeout_ms, 5);
    assert_true(tg_slice_eq(r.settings.store, TG_S("redis://bob@cache:6380/3")));
    assert_true(tg_slice_eq(r.settings.store_prefix, TG_S("app:1")));
    assert_true(tg_slice_eq(r.settings.store_password, TG_S("pass word")));
    assert_true(tg_slice_eq(r.settings.store_secret, TG_S("0123456789abcdef")));
    done(&r);

    read_text(&r, "rate_limits: {x_ratelimit: off}");
    assert_true(r.ok);
    assert_int_equal(r.settings.x_ratelimit, TG_X_RATELIMIT_OFF);
    done(&r);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static bool is_told(const struct reading *r, const char *part)
{
    for (size_t i = 0; i < r->problems.count; i++)
        if (strstr(r->problems.items[i].text, part))
            return true;
    return false;
}

static void secrets_in_files(void **state)
{
    char folder[] = "/tmp/tiers-XXXXXX", yaml[512], password[64], secret[64];
    struct reading r;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(password, sizeof password, "%s/password", folder);
    snprintf(secret, sizeof secret, "%s/secret", folder);
    write_file(password, "pw\n", 0600);
    write_file(secret, "0123456789abcdef0123\r\n", 0600);
    snprintf(yaml, sizeof yaml, "rate_limits: {store: 'unix:///run/redis.sock?db=2', store_password_file: %s, "
                                "store_secret_file: %s}", password, secret);
    read_text(&r, yaml);
    if (!r.ok || r.problems.count)
        fail_msg("%s", r.problems.items[0].text);
    assert_true(tg_slice_eq(r.settings.store_password, TG_S("pw")));
    assert_true(tg_slice_eq(r.settings.store_secret, TG_S("0123456789abcdef0123")));
    assert_string_equal(tg_tree_noted_file(r.tree, 0), password); /* so that a change of it is seen */
    assert_string_equal(tg_tree_noted_file(r.tree, 1), secret);
    done(&r);

    assert_int_equal(chmod(password, 0644), 0);
    write_file(secret, "\n", 0600);
    read_text(&r, yaml);
    assert_false(r.ok);
    assert_true(is_told(&r, "rate_limits.store_password_file: everybody may read that file"));
    assert_true(is_told(&r, "t.yaml:1:") && is_told(&r, "rate_limits.store_secret_file: "));
    done(&r);

    assert_int_equal(unlink(password) | unlink(secret), 0);
    read_text(&r, yaml);
    assert_int_equal(r.problems.errors, 2);
    assert_true(is_told(&r, "rate_limits.store_password_file: ") && is_told(&r, "rate_limits.store_secret_file: "));
    done(&r);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- errors, each at its place ---- */

#define AT(n) "t.yaml:1:" #n ": rate_limits."
#define T0 "tiers[0]"

static const struct { const char *why, *yaml, *told; } errors[] = {
    {"a number", "rate_limits: 5", "t.yaml:1:14: rate_limits: must be a mapping or off"},
    {"a list", "rate_limits: [" LAST "]", "t.yaml:1:14: rate_limits: must be a mapping or off"},
    {"true", "rate_limits: true", "t.yaml:1:14: rate_limits: must be a mapping or off"},
    {"another word", "rate_limits: none", "t.yaml:1:14: rate_limits: must be a mapping or off"},
    {"an unknown name", "rate_limits: {tier: []}",
     "t.yaml:1:15: rate_limits.tier is not a setting; did you mean rate_limits.tiers?"},
    {"an unknown name of a tier", ONE("{name: a, limits: 5}"), "is not a setting; did you mean"},
    {"an unknown name of a window", ONE("{name: a, windows: [{limit: 5, windows: 1s}]}"),
     "t.yaml:1:54: rate_limits.tiers[0].windows[0].windows is not a setting; did you mean "
     "rate_limits.tiers[0].windows[0].window?"},
    {"tiers are a list", "rate_limits: {tiers: {name: a, limit: 5}}", AT(22) "tiers: must be a list"},
    {"no tier", "rate_limits: {tiers: []}", AT(22) "tiers: needs a tier for requests with an identity"},
    {"only the reserved one", ONE("{name: unauthenticated, limit: 5, window: 1m}"),
     "needs a tier for requests with an identity"},
    {"a tier is a mapping", ONE("a, " LAST), AT(23) T0 " must be a mapping"},
    {"an unknown mode", "rate_limits: {mode: enforced}", "must be enforce or shadow; did you mean enforce?"},
    {"an unknown algorithm", "rate_limits: {algorithm: leaky}", AT(26) "algorithm must be fixed or sliding"},
    {"an unknown algorithm of a tier", ONE("{name: a, limit: 1, algorithm: 5}"), "must be fixed or sliding"},
    {"an unknown form", "rate_limits: {x_ratelimit: seconds}", AT(28) "x_ratelimit must be epoch, delta or off"},
    {"fields", "rate_limits: {ratelimit_fields: off}", AT(33) "ratelimit_fields must be true or false"},
    {"few keys", "rate_limits: {max_keys: 1023}", AT(25) "max_keys must be a whole number from 1024 to 67108864"},
    {"many keys", "rate_limits: {max_keys: 67108865}", "max_keys must be a whole number from 1024 to 67108864"},
    /* names */
    {"no name", ONE("{limit: 5}"), "tiers[0].name"},
    {"an empty name", ONE("{name: \"\", limit: 5}"), "tiers[0].name must not be empty"},
    {"a name with a space", ONE("{name: a b, limit: 5}"), AT(30) T0 ".name: 1 to 64 letters, digits"},
    {"a name with a quote", ONE("{name: 'a\"b', limit: 5}"), "letters, digits"},
    {"a name with a line break", ONE("{name: \"a\\nb\", limit: 5}"), "letters, digits"},
    {"a name not in ASCII", ONE("{name: \"\xc3\xa4\", limit: 5}"), "letters, digits"},
    {"the reserved name in another case", ONE("{name: Unauthenticated, limit: 5}, " LAST), "spelled"},
    {"the same name twice", ONE("{name: Authenticated, limit: 5, when: [{claim/a: b}]}, " LAST), "two tiers named"},
    {"the reserved name twice", ONE("{name: unauthenticated, limit: 5}, {name: unauthenticated, limit: 5}, " LAST),
     "two tiers named"},
    /* order */
    {"the reserved one asks nothing", ONE("{name: unauthenticated, limit: 5, when: [{claim/a: b}]}, " LAST),
     AT(57) T0 ".when: the tier unauthenticated takes what has no identity; it has no `when`"},
    {"the last asks nothing", ONE("{name: a, limit: 5, when: [{claim/a: b}]}"), "takes everybody else"},
    {"the last before the reserved one",
     ONE(LAST ", {name: a, limit: 5, when: [{claim/a: b}]}, {name: unauthenticated, limit: 5}"),
     "takes everybody else"},
    {"the earlier ones ask", ONE("{name: a, limit: 5}, " LAST), "never be reached"},
    {"an unknown criterion", ONE("{name: a, limit: 1, when: [{claims/a: b}]}, " LAST), "claims"},
    {"when is a list", ONE("{name: a, limit: 1, when: {claim/a: b}}, " LAST), "tiers[0].when"},
    /* limits and lengths */
    {"limit 0", ONE("{name: a, limit: 0}"), AT(40) T0 ".limit must be a whole number from 1 to 2147483647"},
    {"a negative limit", ONE("{name: a, limit: -1}"), ".limit must be a whole number from 1 to 2147483647"},
    {"half a request", ONE("{name: a, limit: 1.5}"), ".limit must be a whole number"},
    {"a limit too large", ONE("{name: a, limit: 2147483648}"), ".limit must be a whole number from 1 to 2147483647"},
    {"too large to slide", ONE("{name: a, limit: 16777215, algorithm: sliding}"),
     AT(40) T0 ".limit: a sliding window counts to 16777214 at most"},
    {"a ceiling too large to slide", ONE("{name: a, limit: 1, algorithm: sliding, limit_claim: r, "
     "limit_ceiling: 16777215}"), T0 ".limit_ceiling: a sliding window counts to 16777214 at most"},
    {"no limit", ONE("{name: a}"), AT(23) T0 ".limit is needed, or windows: a list of {limit: ..., window: ...}"},
    {"a window below a second", ONE("{name: a, limit: 1, window: 500ms}"), "window must be a duration from 1s to 1d"},
    {"a window of 1.5 s", ONE("{name: a, limit: 1, window: 1500ms}"), AT(51) T0 ".window: must be whole seconds"},
    {"a window without end", ONE("{name: a, limit: 1, window: none}"), "window must be"},
    {"a window above a day", ONE("{name: a, limit: 1, window: 86401s}"), "window must be a duration from 1s to 1d"},
    /* windows */
    {"windows are a list", ONE("{name: a, windows: {limit: 1}}"), AT(42) T0 ".windows: must be a list"},
    {"no window", ONE("{name: a, windows: []}"), AT(42) T0 ".windows: 1 to 4 windows are possible"},
    {"five windows", ONE("{name: a, windows: [{limit: 1, window: 1s}, {limit: 1, window: 2s}, {limit: 1, window: 3s}, "
     "{limit: 1, window: 4s}, {limit: 1, window: 5s}]}"), ".windows: 1 to 4 windows are possible"},
    {"a window without limit", ONE("{name: a, windows: [{window: 1s}]}"), "tiers[0].windows[0].limit"},
    {"a window is a mapping", ONE("{name: a, windows: [1s]}"), AT(43) T0 ".windows[0] must be a mapping"},
    {"two of a length", ONE("{name: a, windows: [{limit: 1, window: 60s}, {limit: 2, window: 1s}, {limit: 3}]}"),
     AT(92) T0 ".windows[2]: there are two windows of 1m"},
    {"windows and limit", ONE("{name: a, limit: 5, windows: [{limit: 1}]}"),
     AT(33) T0 ".limit: cannot be together with windows; it goes into them"},
    {"windows and window", ONE("{name: a, windows: [{limit: 1}], window: 1s}"),
     ".window: cannot be together with windows"},
    {"windows and a claim", ONE("{name: a, windows: [{limit: 1}], limit_claim: r}"),
     ".limit_claim: cannot be together with windows"},
    {"windows and a ceiling", ONE("{name: a, windows: [{limit: 1}], limit_ceiling: 5}"),
     ".limit_ceiling: cannot be together with windows"},
    /* claims and keys */
    {"a claim without a ceiling", ONE("{name: a, limit: 1, limit_claim: r}"),
     AT(56) T0 ".limit_claim: needs limit_ceiling"},
    {"a ceiling without a claim", ONE("{name: a, limit: 1, limit_ceiling: 5}"),
     AT(58) T0 ".limit_ceiling: goes with limit_claim"},
    {"a ceiling below the limit", ONE("{name: a, limit: 6, limit_claim: r, limit_ceiling: 5}"),
     AT(74) T0 ".limit_ceiling: must not be below limit"},
    {"an empty claim", ONE("{name: a, limit: 1, limit_claim: '', limit_ceiling: 5}"),
     ".limit_claim: the name of a claim has 1 to 256 bytes"},
    {"a ceiling of 0", ONE("{name: a, limit: 1, limit_claim: r, limit_ceiling: 0}"), ".limit_ceiling must be"},
    {"in a window", ONE("{name: a, windows: [{limit: 1, limit_claim: r}]}"),
     AT(67) T0 ".windows[0].limit_claim: needs limit_ceiling"},
    {"another key", ONE("{name: a, limit: 1, key: user}"),
     AT(48) T0 ".key: must be subject, address, route or claim/NAME"},
    {"a claim without name", ONE("{name: a, limit: 1, key: claim/}"), ".key: must be subject, address, route or"},
    {"the reserved one by subject", ONE("{name: unauthenticated, limit: 1, key: subject}, " LAST),
     AT(62) T0 ".key: the tier unauthenticated counts what has no identity; its key is address or route"},
    {"the reserved one by claim", ONE("{name: unauthenticated, limit: 1, key: claim/a}, " LAST), "address or route"},
    {"the reserved one with a claim", ONE("{name: unauthenticated, limit: 1, limit_claim: r, limit_ceiling: 5}, " LAST),
     ".limit_claim: the tier unauthenticated takes what has no identity, and so no claims"},
    {"and in a window", ONE("{name: unauthenticated, windows: [{limit: 1, limit_claim: r, limit_ceiling: 5}]}, " LAST),
     "takes what has no identity, and so no claims"},
    /* the store */
    {"another store", "rate_limits: {store: disk}", AT(22) "store: must be memory, redis://"},
    {"a scheme that is none", "rate_limits: {store: 'http://h:6379'}", AT(22) "store: "},
    {"a port too large", "rate_limits: {store: 'redis://h:66666'}", AT(22) "store: "},
    {"two passwords", "rate_limits: {store: 'redis://u:hunter22@h', store_password: hunter23}",
     AT(22) "store: there is a password in the URL and another in store_password"},
    {"a password twice", "rate_limits: {store: 'redis://h', store_password: hunter22, store_password_file: /dev/null}",
     "store_password: cannot be together with store_password_file"},
    {"a secret twice", "rate_limits: {store: 'redis://h', store_secret: hunter22, store_secret_file: /dev/null}",
     "store_secret: cannot be together with store_secret_file"},
    {"an empty secret", "rate_limits: {store: 'redis://h', store_secret: ''}", "store_secret: must not be empty"},
    {"a secret that is a number", "rate_limits: {store: 'redis://h', store_secret: 5}", "store_secret must be text"},
    {"a prefix with a space", "rate_limits: {store: 'redis://h', store_prefix: a b}", "store_prefix: 1 to 64"},
    {"no prefix", "rate_limits: {store: 'redis://h', store_prefix: ''}", "store_prefix: 1 to 64"},
    {"a wait too long", "rate_limits: {store: 'redis://h', store_timeout: 2s}", "store_timeout must be a duration"},
    {"another failing", "rate_limits: {store: 'redis://h', when_store_fails: open}",
     "when_store_fails must be local or deny"},
    {"authorities that are none", "rate_limits: {store: 'redis://h', store_ca_file: /nonexistent}", "store_ca_file: "},
};

static void refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct reading r;

        read_text(&r, errors[i].yaml);
        if (r.ok || r.problems.errors == 0 || !is_told(&r, errors[i].told))
            fail_msg("%s: ok %d, told: %s", errors[i].why, r.ok,
                     r.problems.count ? r.problems.items[0].text : "nothing");
        for (size_t k = 0; k < r.problems.count; k++) {
            if (strncmp(r.problems.items[k].text, "t.yaml:1:", 9) != 0)
                fail_msg("%s: no place: %s", errors[i].why, r.problems.items[k].text);
            if (strstr(r.problems.items[k].text, "hunter2"))
                fail_msg("%s: a secret is told: %s", errors[i].why, r.problems.items[k].text);
        }
        done(&r);
    }
}

static void routes_refused(void **state)
{
    static const struct { const char *why, *yaml, *told; } cases[] = {
        {"a number", "route: 5", "t.yaml:1:8: routes[2].rate_limits: must be a mapping or off"},
        {"a word", "route: on", "must be a mapping or off"},
        {"what is general", "route: {store: memory}", "t.yaml:1:9: routes[2].rate_limits.store is not a setting"},
        {"a mode", "route: {mode: x}", "routes[2].rate_limits.mode must be enforce or shadow"},
        {"a tier", "route: {tiers: [{name: a}]}", "t.yaml:1:17: routes[2].rate_limits.tiers[0].limit is needed"},
        {"the order", "route: {tiers: [{name: a, limit: 5}, {name: b, limit: 5}]}",
         "routes[2].rate_limits.tiers: only the last tier may be without `when`"},
        {"the same name", "route: {tiers: [{name: a, limit: 5, when: [{claim/x: y}]}, {name: a, limit: 5}]}",
         "routes[2].rate_limits.tiers: there are two tiers named"},
        {"no tiers while the others are off", "rate_limits: off\nroute: {mode: shadow}",
         "t.yaml:2:8: routes[2].rate_limits.tiers: needs a tier for requests with an identity, since the general "
         "rate_limits are off"},
        {"no reserved one while the others are off", "rate_limits: off\nroute: {tiers: [{name: a, limit: 5}]}",
         "routes[2].rate_limits.tiers: needs a tier named \"unauthenticated\", since the general rate_limits are off"},
        {"too large to slide", "rate_limits: {tiers: [{name: a, limit: 16777215}]}\nroute: {algorithm: sliding}",
         "t.yaml:2:20: routes[2].rate_limits.algorithm: a sliding window counts to 16777214 at most, and the general "
         "tier a has a limit of 16777215"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (!r.ok || r.route_ok || !is_told(&r, cases[i].told))
            fail_msg("%s: ok %d %d, told: %s", cases[i].why, r.ok, r.route_ok,
                     r.problems.count ? r.problems.items[0].text : "nothing");
        done(&r);
    }
}

/* Whatever hiredis can do itself. */
static void tls_to_the_store(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, "rate_limits: {store: 'rediss://h', store_secret: 0123456789abcdef}");
    assert_true(r.ok && r.problems.count == 0);
    done(&r);
}

/* ---- warnings ---- */

static void warned(void **state)
{
    static const struct { const char *why, *yaml, *told; } cases[] = { /* told NULL: nothing is */
        {"a minute that a second guards", ONE("{name: a, windows: [{limit: 10, window: 1s}, {limit: 600}]}"),
         AT(42) T0 ".windows: the window 600/1m can never be full before 10/1s is"},
        {"one below", ONE("{name: a, windows: [{limit: 10, window: 1s}, {limit: 599}]}"), NULL},
        {"a second that a minute guards", ONE("{name: a, windows: [{limit: 10, window: 1s}, {limit: 10}]}"),
         "the window 10/1s can never be full before 10/1m is"},
        {"one above", ONE("{name: a, windows: [{limit: 9, window: 1s}, {limit: 10}]}"), NULL},
        {"over the edge of the longer one", ONE("{name: a, windows: [{limit: 19, window: 50s}, {limit: 10}]}"), NULL},
        {"not even over the edge", ONE("{name: a, windows: [{limit: 20, window: 50s}, {limit: 10}]}"),
         "the window 20/50s can never be full"},
        {"sliding in a fixed one", ONE("{name: a, windows: [{limit: 19, window: 1s, algorithm: sliding}, "
         "{limit: 10}]}"), NULL},
        {"three, the outer two", ONE("{name: a, windows: [{limit: 1, window: 1s}, {limit: 50}, {limit: 86400, "
         "window: 24h}]}"), "the window 86400/24h can never be full before 1/1s is"},
        {"what is in shadow guards nothing", ONE("{name: a, windows: [{limit: 10, window: 1s, mode: shadow}, "
         "{limit: 600}]}"), NULL},
        {"a claim may ask for less", ONE("{name: a, windows: [{limit: 10, window: 1s}, {limit: 600, limit_claim: r, "
         "limit_ceiling: 600}]}"), NULL},
        {"a ceiling that guards", ONE("{name: a, windows: [{limit: 1, window: 1s, limit_claim: r, limit_ceiling: 10}, "
         "{limit: 600}]}"), "the window 600/1m can never be full"},
        {"a time", ONE("{name: a, limit: 1, limit_claim: exp, limit_ceiling: 5}"),
         AT(56) T0 ".limit_claim: exp is a time: as a number it is above every ceiling"},
        {"a text", ONE("{name: a, windows: [{limit: 1, limit_claim: email, limit_ceiling: 5}]}"),
         AT(67) T0 ".limit_claim: email is no number"},
        {"a criterion's way to write it", ONE("{name: a, limit: 1, limit_claim: claim/rate, limit_ceiling: 5}"),
         ".limit_claim: is the name of a claim, without \"claim/\" before it"},
        {"limits that share a counter", ONE("{name: a, limit: 1, limit_claim: r, limit_ceiling: 5, key: address}"),
         ".limit_claim: with key: address callers of different limits share one counter"},
        {"a key of one token", ONE("{name: a, limit: 1, key: claim/jti}"),
         AT(48) T0 ".key: jti differs from token to token: who fetches a new one has a new counter"},
        {"a path for a name", ONE("{name: a, limit: 1, key: claim/org/id}"),
         AT(48) T0 ".key: a slash is part of the name: no member of a claim is found by it; write dots for "
         "the slashes"},
        {"and for a limit", ONE("{name: a, limit: 1, limit_claim: plan/rate, limit_ceiling: 5}"),
         AT(56) T0 ".limit_claim: a slash is part of the name"},
        {"a member", ONE("{name: a, limit: 1, key: claim/org.id, limit_claim: plan.rate, limit_ceiling: 5}"), NULL},
        {"an address for a name", ONE("{name: a, limit: 1, key: 'claim/https://x.test/org'}"), NULL},
        {"one of a domain", ONE("{name: a, limit: 1, key: claim/x.test/org}"), NULL},
        {"a store's settings without one", "rate_limits: {when_store_fails: deny}",
         AT(33) "when_store_fails: means nothing without a store"},
        {"a secret without a store", "rate_limits: {store: memory, store_secret: hunter2hunter2}",
         "store_secret: means nothing without a store"},
        {"no secret", "rate_limits: {store: 'redis://h'}", AT(22) "store: without store_secret"},
        {"a password is one", "rate_limits: {store: 'redis://:hunter2@h'}", NULL},
        {"a short one", "rate_limits: {store: 'redis://h', store_secret: hunter2}",
         "store_secret: is shorter than 16 characters"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;

        read_text(&r, cases[i].yaml);
        if (!r.ok || (cases[i].told ? !is_told(&r, cases[i].told) : r.problems.count > 0))
            fail_msg("%s: ok %d, told: %s", cases[i].why, r.ok,
                     r.problems.count ? r.problems.items[0].text : "nothing");
        assert_false(is_told(&r, "hunter2"));
        done(&r);
    }
}

/* ---- which tier, and how much of it ---- */

static struct tg_claims *claims_of(const char *text)
{
    cJSON *json;

    assert_int_equal(tg_json_parse(tg_slice_str(text), NULL, &json, NULL), TG_OK);
    return tg_claims_new(json);
}

static const char *picked(const struct tg_tiers *tiers, const char *claims_text)
{
    struct tg_facts facts = {.identity = true, .user = TG_S("u"), .method = TG_S("GET"), .path = TG_S("/")};
    struct tg_claims *claims = claims_of(claims_text);
    static char name[80];

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
    assert_true(r.ok && tg_tier_is_shadow(&r.tiers.items[0]) && !r.tiers.off);
    assert_string_equal(picked(&r.tiers, "{\"p\":\"x\",\"q\":\"y\"}"), "a");
    assert_string_equal(picked(&r.tiers, "{\"p\":\"x\"}"), "b");
    assert_string_equal(picked(&r.tiers, "{\"q\":\"y\"}"), "authenticated");
    done(&r);

    read_text(&r, "rate_limits: off");
    assert_null(tg_tiers_pick(&r.tiers, &nobody));
    done(&r);
}

static void shadow(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, ONE("{name: a, windows: [{limit: 1, window: 1s, mode: shadow}, {limit: 9}]}, {name: unauthenticated, "
                      "windows: [{limit: 1, window: 1s, mode: shadow}, {limit: 9, mode: shadow}]}"));
    assert_true(r.ok);
    assert_false(tg_tier_is_shadow(&r.tiers.items[0]));
    assert_true(tg_tier_is_shadow(&r.tiers.unauthenticated));
    done(&r);
}

static void claims(void **state)
{
    static const struct { const char *claims; uint32_t limit; bool said; } cases[] = {
        {"{\"rate\":25}", 25, true},
        {"{\"rate\":0}", 0, true},
        {"{\"rate\":-0}", 0, true},
        {"{\"rate\":50}", 50, true},
        {"{\"rate\":51}", 50, true},
        {"{\"rate\":5e1}", 50, true},
        {"{\"rate\":2.5e1}", 25, true},
        {"{\"rate\":4294967297}", 50, true},
        {"{\"rate\":9007199254740993}", 50, true},
        {"{\"rate\":99999999999999999999}", 50, true},
        {"{\"rate\":1e300}", 50, true},
        {"{\"rate\":[25]}", 25, true},
        {"{}", 10, false},
        {"{\"rate\":-1}", 10, false},
        {"{\"rate\":-1e300}", 10, false},
        {"{\"rate\":2.5}", 10, false},
        {"{\"rate\":25.0000000000000000001}", 10, false},
        {"{\"rate\":1e-300}", 10, false},
        {"{\"rate\":\"25\"}", 10, false},
        {"{\"rate\":true}", 10, false},
        {"{\"rate\":null}", 10, false},
        {"{\"rate\":[25,30]}", 10, false},
        {"{\"rate\":[]}", 10, false},
        {"{\"rate\":{\"a\":25}}", 10, false},
        {"{\"Rate\":25}", 10, false},
    };
    struct reading r;
    bool said = true;

    (void)state;
    read_text(&r, ONE("{name: a, limit: 10, limit_claim: rate, limit_ceiling: 50}"));
    assert_true(r.ok);
    const struct tg_window *w = &r.tiers.items[0].windows[0];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_claims *c = claims_of(cases[i].claims);
        uint32_t limit = tg_window_limit(w, c, &said);

        if (limit != cases[i].limit || said != cases[i].said)
            fail_msg("%s: %u, said %d", cases[i].claims, limit, said);
        tg_claims_free(c);
    }
    assert_int_equal(tg_window_limit(w, NULL, &said), 10);
    assert_false(said);
    done(&r);

    read_text(&r, ONE("{name: a, limit: 10, limit_claim: plan.rate, limit_ceiling: 50}"));
    struct tg_claims *c = claims_of("{\"plan\":{\"rate\":7}}");

    assert_int_equal(tg_window_limit(&r.tiers.items[0].windows[0], c, NULL), 7);
    assert_int_equal(tg_window_limit(&r.tiers.unauthenticated.windows[0], c, NULL), 100);
    tg_claims_free(c);
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
        cmocka_unit_test(names),
        cmocka_unit_test(counters_stay),
        cmocka_unit_test(policy_fields),
        cmocka_unit_test(routes),
        cmocka_unit_test(routes_count),
        cmocka_unit_test(defaults),
        cmocka_unit_test(settings),
        cmocka_unit_test(secrets_in_files),
        cmocka_unit_test(refused),
        cmocka_unit_test(routes_refused),
        cmocka_unit_test(tls_to_the_store),
        cmocka_unit_test(warned),
        cmocka_unit_test(pick),
        cmocka_unit_test(shadow),
        cmocka_unit_test(claims),
        cmocka_unit_test(all_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
