/*
 * tiers_section - `rate_limits` of the configuration and of a route: what stands beside the tiers, and which tiers hold
 * where a section names none.
 */
#include "tiers_internal.h"
#include "base/json.h"

struct section_text {                                    /* the general one, as written */
    const cJSON *tiers;
    int mode, algorithm, x_ratelimit, upstream;
    bool ratelimit_fields;
    uint64_t max_keys;
    struct store_text store;
};
struct route_text {
    const cJSON *tiers;
    int mode, algorithm;
};

#define TIERS_HELP "the first whose `when` holds; the last has no `when`"

#define ROW(member, name, kind, dflt, help) \
    TG_SETTING(struct section_text, member, name, TG_SET_##kind, dflt, 0, 0, NULL, 0, help)
#define ROW_ENUM(member, name, dflt, choices, help) \
    TG_SETTING(struct section_text, member, name, TG_SET_ENUM, dflt, 0, 0, choices, 0, help)
#define ROW_SECRET(member, name, help) \
    TG_SETTING(struct section_text, member, name, TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_SECRET, help)
const struct tg_setting tg_rate_limit_settings[] = {
    ROW(tiers, "tiers", NODE, NULL, TIERS_HELP),
    ROW_ENUM(mode, "mode", "enforce", MODES, "shadow: counted and logged, never applied; a tier or window may differ"),
    ROW_ENUM(algorithm, "algorithm", "fixed", ALGORITHMS,
             "fixed: windows end at whole minutes, hours, ...; sliding: never more than the limit in any span so long"),
    ROW_ENUM(x_ratelimit, "x_ratelimit", "epoch", "epoch|delta|off",
             "X-RateLimit-Reset in seconds since 1970 or from now; off: no X-RateLimit-*"),
    ROW(ratelimit_fields, "ratelimit_fields", BOOL, "true", "tell RateLimit and RateLimit-Policy too"),
    ROW_ENUM(upstream, "upstream_x_ratelimit", "replace", "replace|stricter",
             "X-RateLimit-* of the service: replaced by tollgate's, or passed on when less is left there"),
    TG_SETTING(struct section_text, max_keys, "max_keys", TG_SET_COUNT, "1000000", 1024, 67108864, NULL, 0,
               "counters kept in memory, at 48 bytes each; only a start changes it"),
    ROW(store.store, "store", STRING, "memory",
        "memory: counters of this process; redis://, rediss:// or unix://: shared with every tollgate at that Redis"),
    ROW_ENUM(store.fails, "when_store_fails", "local", "local|deny",
             "while the store is away: this process counts by itself, or who has no permit left gets 503"),
    TG_SETTING(struct section_text, store.timeout_ms, "store_timeout", TG_SET_DURATION, "25ms", 1, 1000, NULL, 0,
               "the longest that a request waits for the store"),
    ROW(store.prefix, "store_prefix", STRING, "tollgate", "begins every name in the store"),
    ROW_SECRET(store.password, "store_password", "password of the store, if its URL has none"),
    ROW(store.password_file, "store_password_file", FILE, NULL, "a file with that password"),
    ROW_SECRET(store.secret, "store_secret",
               "keys the digests that stand for callers in the store; the same for all who share it; absent: the "
               "password"),
    ROW(store.secret_file, "store_secret_file", FILE, NULL, "a file with that secret"),
    ROW(store.ca_file, "store_ca_file", FILE, NULL,
        "PEM file of the only authorities to trust for rediss; absent: the system's"),
};
const size_t tg_rate_limit_setting_count = ARRAY_LEN(tg_rate_limit_settings);
#undef ROW
#undef ROW_ENUM
#undef ROW_SECRET

#define ROW_ENUM(member, name, choices, help) \
    TG_SETTING(struct route_text, member, name, TG_SET_ENUM, NULL, 0, 0, choices, 0, help)
const struct tg_setting tg_route_limit_settings[] = {
    TG_SETTING(struct route_text, tiers, "tiers", TG_SET_NODE, NULL, 0, 0, NULL, 0,
               "as rate_limits.tiers, counted apart from all others; absent: the general ones and their counters"),
    ROW_ENUM(mode, "mode", MODES, "as rate_limits.mode, for this route"),
    ROW_ENUM(algorithm, "algorithm", ALGORITHMS, "as rate_limits.algorithm, for this route"),
};
const size_t tg_route_limit_setting_count = ARRAY_LEN(tg_route_limit_settings);
#undef ROW_ENUM

static bool is_off(const cJSON *node)
{
    struct tg_slice word;

    return cJSON_IsFalse(node) || (tg_json_str(node, &word) && tg_slice_eq(word, TG_S("off")));
}

/* ---- the general section ---- */

/* `node`: a mapping, or NULL for what holds when nothing is written. */
static void read_section(struct tier_reading *r, const cJSON *node, struct tg_tiers *out,
                         struct tg_limit_settings *settings)
{
    struct section_text text = {0};

    tg_settings_read(tg_rate_limit_settings, tg_rate_limit_setting_count, r->tree, node, r->where, false, r->arena,
                     &text, r->problems);
    r->rule = (struct tier_rule){.sliding = text.algorithm == ALGORITHM_SLIDING, .shadow = text.mode == MODE_SHADOW};
    out->section_sliding = r->rule.sliding;
    out->section_shadow = r->rule.shadow;
    if (!text.tiers)
        tiers_default_ordinary(r, out);
    if (!text.tiers || !tiers_read_list(r, text.tiers, true, out))
        tiers_default_unauthenticated(r, out);
    settings->x_ratelimit = text.x_ratelimit;
    settings->ratelimit_fields = text.ratelimit_fields;
    settings->upstream_stricter = text.upstream == 1;
    settings->max_keys = text.max_keys;
    tiers_read_store(r, node, &text.store, settings);
}

bool tg_tiers_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_tiers *out,
                   struct tg_limit_settings *settings, struct tg_problems *problems)
{
    struct tier_reading r = {.tree = tree, .where = "rate_limits", .arena = arena, .problems = problems};
    struct tg_limit_settings read = {0};
    struct tg_tiers tiers = {0};
    size_t errors = problems->errors;
    bool mapping = cJSON_IsObject(node), off = is_off(node);

    if (node && !cJSON_IsNull(node) && !mapping && !off)
        tg_problem_at(problems, tree, node, "rate_limits: must be a mapping or off");
    read_section(&r, mapping ? node : NULL, &tiers, &read);
    if (problems->errors != errors)
        return false;
    *out = off ? (struct tg_tiers){.off = true} : tiers;
    if (settings)
        *settings = read;
    return true;
}

/* ---- a route's own ---- */

static void inherit_ordinary(const struct tier_reading *r, const struct tg_tiers *general, const cJSON *node,
                             bool changed, struct tg_tiers *out)
{
    struct tg_tier *items;

    out->items = general->items;
    out->count = general->count;
    if (!changed)
        return;
    items = TG_ARENA_ARRAY(r->arena, struct tg_tier, general->count);
    for (size_t i = 0; i < general->count; i++)
        items[i] = tiers_under(r, &general->items[i], node);
    out->items = items;
}

static void need_both(const struct tier_reading *r, const cJSON *node, bool anonymous, const struct tg_tiers *tiers)
{
    if (tiers->count == 0)
        tg_problem_at(r->problems, r->tree, node,
                      "%s.tiers: needs a tier for requests with an identity, since the general rate_limits are off",
                      r->where);
    if (!anonymous)
        tg_problem_at(r->problems, r->tree, node, "%s.tiers: needs a tier named \"" UNAUTHENTICATED
                      "\", since the general rate_limits are off", r->where);
}

static void read_route(struct tier_reading *r, const cJSON *node, const struct tg_tiers *general,
                       struct tg_tiers *out)
{
    struct route_text text = {0};
    size_t errors = r->problems->errors;
    bool anonymous = false, changed;

    tg_settings_read(tg_route_limit_settings, tg_route_limit_setting_count, r->tree, node, r->where, false, r->arena,
                     &text, r->problems);
    r->rule.sliding =
        tiers_says(node, "algorithm") ? text.algorithm == ALGORITHM_SLIDING : general->section_sliding;
    r->rule.shadow = tiers_says(node, "mode") ? text.mode == MODE_SHADOW : general->section_shadow;
    out->section_sliding = r->rule.sliding;
    out->section_shadow = r->rule.shadow;
    changed = r->rule.sliding != general->section_sliding || r->rule.shadow != general->section_shadow;
    if (text.tiers)
        anonymous = tiers_read_list(r, text.tiers, false, out);
    if (r->problems->errors != errors)
        return;
    if (general->off) {
        need_both(r, node, anonymous, out);
        return;
    }
    if (out->count == 0)
        inherit_ordinary(r, general, node, changed, out);
    if (!anonymous)
        out->unauthenticated =
            changed ? tiers_under(r, &general->unauthenticated, node) : general->unauthenticated;
}

bool tg_tiers_read_route(const struct tg_tree *tree, const cJSON *node, const char *where, struct tg_slice route,
                         const struct tg_tiers *general, struct tg_arena *arena, struct tg_tiers *out,
                         struct tg_problems *problems)
{
    struct tier_reading r = {.tree = tree, .where = where, .route = route, .arena = arena, .problems = problems};
    size_t errors = problems->errors;
    struct tg_tiers tiers = {0};

    if (is_off(node))
        tiers.off = true;
    else if (cJSON_IsObject(node))
        read_route(&r, node, general, &tiers);
    else
        tg_problem_at(problems, tree, node, "%s: must be a mapping or off", where);
    if (problems->errors != errors)
        return false;
    *out = tiers;
    return true;
}
