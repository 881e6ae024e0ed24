/*
 * tiers - the `rate_limits` section: read, checked, told.
 *
 * Defaults and a written list go through the same checks of shape: at least one ordinary tier, and only the last one
 * without `when`, so that picking always ends with a tier.
 */
#include "limit/tiers.h"
#include "base/hash.h"
#include "base/json.h"

#define UNAUTHENTICATED "unauthenticated"
#define MAX_WINDOW_S 86400

struct section_text {                                    /* rate_limits, as written */
    const cJSON *tiers;
    int mode;
    struct tg_slice store;
};
struct tier_text {                                       /* one of its tiers */
    struct tg_slice name;
    uint64_t limit;
    int64_t window_ms;
    const cJSON *when;
};

#define ROW(member, name, kind, dflt, min, max, choices, flags, help) \
    TG_SETTING(struct section_text, member, name, kind, dflt, min, max, choices, flags, help)
const struct tg_setting tg_rate_limit_settings[] = {
    ROW(tiers, "tiers", TG_SET_NODE, NULL, 0, 0, NULL, 0, "the first whose `when` holds; the last has no `when`"),
    ROW(mode, "mode", TG_SET_ENUM, "enforce", 0, 0, "enforce|shadow", 0, "shadow: counted and told, never refused"),
    ROW(store, "store", TG_SET_STRING, "memory", 0, 0, NULL, 0, "memory: counters of this process"),
    {"when_store_fails", TG_SET_LATER, 0, NULL, 0, 0, NULL, 0, "the counters are in memory, which does not fail"},
};
const size_t tg_rate_limit_setting_count = ARRAY_LEN(tg_rate_limit_settings);
#undef ROW

#define ROW(member, name, kind, dflt, min, max, choices, flags, help) \
    TG_SETTING(struct tier_text, member, name, kind, dflt, min, max, choices, flags, help)
const struct tg_setting tg_tier_settings[] = {
    ROW(name, "name", TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_REQUIRED, "shown in logs and metrics"),
    ROW(limit, "limit", TG_SET_COUNT, NULL, 1, INT32_MAX, NULL, TG_SET_REQUIRED, "requests in a window"),
    ROW(window_ms, "window", TG_SET_DURATION, "1m", 1000, MAX_WINDOW_S * 1000, NULL, 0, "whole seconds, aligned"),
    ROW(when, "when", TG_SET_NODE, NULL, 0, 0, NULL, 0, "PPL criteria that must all hold"),
};
const size_t tg_tier_setting_count = ARRAY_LEN(tg_tier_settings);
#undef ROW

static struct tg_tier make_tier(struct tg_slice name, uint32_t limit, uint32_t window_s)
{
    return (struct tg_tier){.name = name, .limit = limit, .window_s = window_s, .salt = tg_hash_slice(name)};
}

/* [{claim/plan: enterprise}] as a tree that outlives every program made of it. */
static const cJSON *enterprise_when(void)
{
    static char key[] = "claim/plan", value[] = "enterprise";
    static cJSON text = {.prev = &text, .type = cJSON_String, .string = key, .valuestring = value};
    static cJSON criterion = {.prev = &criterion, .type = cJSON_Object, .child = &text};
    static const cJSON list = {.type = cJSON_Array, .child = &criterion};

    return &list;
}

static void set_defaults(const struct tg_tree *tree, struct tg_arena *arena, struct tg_tiers *out,
                         struct tg_problems *problems)
{
    struct tg_tier *items = TG_ARENA_ARRAY(arena, struct tg_tier, 2);

    items[0] = make_tier(TG_S("enterprise"), 10000, 60);
    items[0].when = tg_ppl_compile_when(arena, tree, enterprise_when(), "the default tier enterprise", problems);
    items[1] = make_tier(TG_S("authenticated"), 1000, 60);
    out->items = items;
    out->count = 2;
}

/* RFC 9110 §5.6.2: the name ends up in header fields. */
static bool is_token(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

/* One element of `tiers`. False when it added an error. */
static bool read_tier(const struct tg_tree *tree, const cJSON *node, const char *where, struct tg_arena *arena,
                      struct tg_tier *out, struct tg_problems *problems)
{
    struct tier_text text = {0};
    size_t errors = problems->errors;

    tg_settings_read(tg_tier_settings, tg_tier_setting_count, tree, node, where, false, arena, &text, problems);
    *out = make_tier(text.name, (uint32_t)text.limit, (uint32_t)(text.window_ms / 1000));
    if (text.name.ptr && !is_token(text.name))
        tg_problem_at(problems, tree, tg_json_get(node, "name"),
                      "%s.name: 1 to 64 letters, digits and !#$%%&'*+-.^_`|~ are allowed", where);
    else if (tg_slice_eq_nocase(text.name, TG_S(UNAUTHENTICATED)) && !tg_slice_eq(text.name, TG_S(UNAUTHENTICATED)))
        tg_problem_at(problems, tree, tg_json_get(node, "name"),
                      "%s.name: the tier of requests without an identity is spelled \"" UNAUTHENTICATED "\"", where);
    if (text.window_ms % 1000)
        tg_problem_at(problems, tree, tg_json_get(node, "window"), "%s.window: must be whole seconds", where);
    if (!text.when)
        return problems->errors == errors;
    if (tg_slice_eq(text.name, TG_S(UNAUTHENTICATED)))
        tg_problem_at_key(problems, tree, text.when,
                          "%s.when: the tier " UNAUTHENTICATED " takes what has no identity; it has no `when`",
                          where);
    else
        out->when = tg_ppl_compile_when(arena, tree, text.when, tg_arena_printf(arena, "%s.when", where).ptr, problems);
    return problems->errors == errors;
}

/* Every ordinary tier but the last asks something, the last asks nothing. `nodes`: as written, same index as items. */
static void check_order(const struct tg_tree *tree, const cJSON *list, const struct tg_tier *items,
                        const cJSON *const *nodes, size_t count, struct tg_problems *problems)
{
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count;

        for (size_t j = 0; j < i; j++)
            if (tg_slice_eq_nocase(items[i].name, items[j].name))
                tg_problem_at(problems, tree, tg_json_get(nodes[i], "name"),
                              "rate_limits.tiers: there are two tiers named \"" TG_S_FMT "\"", TG_S_ARG(items[i].name));
        if (last && items[i].when)
            tg_problem_at_key(problems, tree, tg_json_get(nodes[i], "when"),
                              "rate_limits.tiers: the last tier before " UNAUTHENTICATED
                              " takes everybody else; it has no `when`");
        if (!last && !items[i].when)
            tg_problem_at(problems, tree, nodes[i],
                          "rate_limits.tiers: only the last tier may be without `when`; the ones after \"" TG_S_FMT
                          "\" would never be reached", TG_S_ARG(items[i].name));
    }
    if (count == 0)
        tg_problem_at(problems, tree, list,
                      "rate_limits.tiers: needs a tier for requests with an identity, such as "
                      "{name: authenticated, limit: 1000, window: 1m}");
}

static void read_tiers(const struct tg_tree *tree, const cJSON *list, struct tg_arena *arena, struct tg_tiers *out,
                       struct tg_problems *problems)
{
    if (!cJSON_IsArray(list)) {
        tg_problem_at(problems, tree, list, "rate_limits.tiers: must be a list");
        return;
    }
    size_t total = (size_t)cJSON_GetArraySize(list);
    struct tg_tier *items = TG_ARENA_ARRAY(arena, struct tg_tier, total);
    const cJSON **nodes = TG_ARENA_ARRAY(arena, const cJSON *, total);
    const cJSON *node;
    size_t i = 0, count = 0, errors = problems->errors;
    bool unauthenticated_seen = false;

    cJSON_ArrayForEach(node, list) {
        const char *where = tg_arena_printf(arena, "rate_limits.tiers[%zu]", i++).ptr;
        struct tg_tier tier;

        if (!read_tier(tree, node, where, arena, &tier, problems))
            continue;
        if (!tg_slice_eq(tier.name, TG_S(UNAUTHENTICATED))) {
            nodes[count] = node;
            items[count++] = tier;
            continue;
        }
        if (unauthenticated_seen)
            tg_problem_at(problems, tree, tg_json_get(node, "name"),
                          "rate_limits.tiers: there are two tiers named \"" UNAUTHENTICATED "\"");
        unauthenticated_seen = true;
        out->unauthenticated = tier;
    }
    if (problems->errors == errors)                      /* with a tier missing, the order would be judged wrongly */
        check_order(tree, list, items, nodes, count, problems);
    out->items = items;
    out->count = count;
}

static void read_section(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_tiers *out,
                         struct tg_problems *problems)
{
    struct section_text text = {0};

    tg_settings_read(tg_rate_limit_settings, tg_rate_limit_setting_count, tree, node, "rate_limits", false, arena,
                     &text, problems);
    out->shadow = text.mode == 1;
    if (tg_slice_starts_with(text.store, TG_S("redis:")) || tg_slice_starts_with(text.store, TG_S("rediss:")))
        tg_problem_at(problems, tree, tg_json_get(node, "store"),
                      "rate_limits.store: Redis is not supported yet; use memory");
    else if (text.store.ptr && !tg_slice_eq(text.store, TG_S("memory")))
        tg_problem_at(problems, tree, tg_json_get(node, "store"), "rate_limits.store: must be memory");
    if (text.tiers)
        read_tiers(tree, text.tiers, arena, out, problems);
    else
        set_defaults(tree, arena, out, problems);
}

bool tg_tiers_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_tiers *out,
                   struct tg_problems *problems)
{
    struct tg_tiers tiers = {.unauthenticated = make_tier(TG_S(UNAUTHENTICATED), 100, 60)};
    size_t errors = problems->errors;
    struct tg_slice word;

    if (!node || cJSON_IsNull(node))
        set_defaults(tree, arena, &tiers, problems);
    else if (cJSON_IsFalse(node) || (tg_json_str(node, &word) && tg_slice_eq(word, TG_S("off"))))
        tiers.off = true;
    else if (cJSON_IsObject(node))
        read_section(tree, node, arena, &tiers, problems);
    else
        tg_problem_at(problems, tree, node, "rate_limits: must be a mapping or off");
    if (problems->errors != errors)
        return false;
    *out = tiers;
    return true;
}

const struct tg_tier *tg_tiers_pick(const struct tg_tiers *tiers, const struct tg_facts *facts)
{
    if (tiers->off)
        return NULL;
    for (size_t i = 0; i + 1 < tiers->count; i++)
        if (tg_ppl_holds(tiers->items[i].when, facts))
            return &tiers->items[i];
    return &tiers->items[tiers->count - 1];
}

static void describe_tier(const struct tg_tier *tier, struct tg_buf *out)
{
    uint32_t n = tier->window_s;
    char unit = 's';

    if (n % 3600 == 0) {
        n /= 3600;
        unit = 'h';
    } else if (n % 60 == 0) {
        n /= 60;
        unit = 'm';
    }
    tg_buf_addf(out, TG_S_FMT " %u/%u%c", TG_S_ARG(tier->name), tier->limit, n, unit);
}

void tg_tiers_describe(const struct tg_tiers *tiers, struct tg_buf *out)
{
    if (tiers->off) {
        tg_buf_adds(out, "off");
        return;
    }
    for (size_t i = 0; i < tiers->count; i++) {
        describe_tier(&tiers->items[i], out);
        tg_buf_adds(out, ", ");
    }
    describe_tier(&tiers->unauthenticated, out);
}
