/*
 * tiers_window - the windows of one tier, and the names that headers and stores know their counters by.
 */
#include "tiers_internal.h"
#include "base/hash.h"
#include "base/json.h"
#include "limit/fields.h"

#define NOTHING                                          /* before the members of a struct window_text itself */
const struct tg_setting tg_window_settings[] = {TIER_WINDOW_ROWS(struct window_text, NOTHING, TG_SET_REQUIRED)};
const size_t tg_window_setting_count = ARRAY_LEN(tg_window_settings);

/* ---- names of counters ---- */

/* So that "/" divides and nothing else does. */
static void add_escaped(struct tg_buf *out, struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '/' || s.ptr[i] == '%')
            tg_buf_addf(out, "%%%02X", (unsigned char)s.ptr[i]);
        else
            tg_buf_addc(out, s.ptr[i]);
    }
}

static struct tg_slice keep(const struct tier_reading *r, struct tg_buf *text)
{
    struct tg_slice kept = tg_arena_dup(r->arena, tg_buf_slice(text));

    tg_buf_fini(text);
    return kept;
}

/* What the window counts under; no limit in it, so that a reload which changes one keeps the count. */
static void name_counter(const struct tier_reading *r, struct tg_slice tier, struct tg_window *window)
{
    struct tg_buf path = {0};

    add_escaped(&path, r->route);
    tg_buf_addc(&path, '/');
    add_escaped(&path, tier);
    tg_buf_addf(&path, "/%u/%s", window->length_s, window->sliding ? "sliding" : "fixed");
    window->path = keep(r, &path);
    window->salt = tg_hash_slice(window->path);
}

static struct tg_slice window_name(const struct tier_reading *r, struct tg_slice tier, uint32_t length_s)
{
    struct tg_buf name = {0};

    tg_buf_add_slice(&name, tier);
    tg_buf_addc(&name, '-');
    tg_window_length_describe(length_s, &name);
    return keep(r, &name);
}

/* All that follows from the windows, which are in order. */
void tiers_finish(const struct tier_reading *r, struct tg_tier *tier, struct tg_window *windows, size_t count)
{
    bool claimed = false;
    struct tg_buf field = {0};

    for (size_t i = 0; i < count; i++) {
        windows[i].name = count > 1 ? window_name(r, tier->name, windows[i].length_s) : tier->name;
        name_counter(r, tier->name, &windows[i]);
        claimed = claimed || windows[i].claim.len > 0;
    }
    tier->windows = windows;
    tier->window_count = count;
    if (!claimed)
        tg_limit_policy_field(tier, &field);
    tier->policy_field = keep(r, &field);
}

/* ---- windows ---- */

static struct tier_rule rule_of(const cJSON *node, int algorithm, int mode, const struct tier_rule *above)
{
    struct tier_rule rule = *above;

    if (tiers_says(node, "algorithm")) {
        rule.sliding = algorithm == ALGORITHM_SLIDING;
        rule.sliding_said = true;
    }
    if (tiers_says(node, "mode")) {
        rule.shadow = mode == MODE_SHADOW;
        rule.shadow_said = true;
    }
    return rule;
}

static void check_claim(const struct tier_reading *r, const char *where, const cJSON *node,
                        const struct window_text *text)
{
    bool claim = tiers_says(node, "limit_claim"), ceiling = tiers_says(node, "limit_ceiling");

    if (claim && !ceiling)
        tg_problem_at(r->problems, r->tree, tiers_at(node, "limit_claim"),
                      "%s.limit_claim: needs limit_ceiling, the most that the claim can give", where);
    if (ceiling && !claim)
        tg_problem_at(r->problems, r->tree, tiers_at(node, "limit_ceiling"),
                      "%s.limit_ceiling: goes with limit_claim, the claim that says the limit", where);
    if (text->claim.ptr && (text->claim.len == 0 || text->claim.len > CLAIM_BYTES))
        tg_problem_at(r->problems, r->tree, tiers_at(node, "limit_claim"),
                      "%s.limit_claim: the name of a claim has 1 to %d bytes", where, CLAIM_BYTES);
    if (claim && text->ceiling && text->ceiling < text->limit)
        tg_problem_at(r->problems, r->tree, tiers_at(node, "limit_ceiling"),
                      "%s.limit_ceiling: must not be below limit, which holds where the claim is absent", where);
}

/* `text` was read from `node`, which stood below what says `above`. */
static struct tg_window make_window(const struct tier_reading *r, const char *where, const cJSON *node,
                                    const struct window_text *text, const struct tier_rule *above)
{
    struct tier_rule rule = rule_of(node, text->algorithm, text->mode, above);
    uint64_t most = text->limit > text->ceiling ? text->limit : text->ceiling;

    if (text->length_ms % 1000)
        tg_problem_at(r->problems, r->tree, tiers_at(node, "window"), "%s.window: must be whole seconds", where);
    if (rule.sliding && most > TG_SLIDING_LIMIT_MAX)
        tg_problem_at(r->problems, r->tree, tiers_at(node, most == text->limit ? "limit" : "limit_ceiling"),
                      "%s.%s: a sliding window counts to %u at most", where,
                      most == text->limit ? "limit" : "limit_ceiling", TG_SLIDING_LIMIT_MAX);
    check_claim(r, where, node, text);
    return (struct tg_window){
        .limit = (uint32_t)text->limit,
        .length_s = (uint32_t)(text->length_ms / 1000),
        .sliding = rule.sliding,
        .sliding_said = rule.sliding_said,
        .shadow = rule.shadow,
        .shadow_said = rule.shadow_said,
        .claim = text->claim,
        .claim_hash = tg_hash_slice(text->claim),
        .ceiling = (uint32_t)text->ceiling,
    };
}

/* Puts `window`, read from `node`, where its length belongs. */
static void insert(const struct tier_reading *r, const char *where, const cJSON *node, const struct tg_window *window,
                   struct tg_window *windows, size_t count)
{
    size_t i = count;

    while (i > 0 && windows[i - 1].length_s > window->length_s) {
        windows[i] = windows[i - 1];
        i--;
    }
    if (i > 0 && windows[i - 1].length_s == window->length_s) {
        struct tg_buf length = {0};

        tg_window_length_describe(window->length_s, &length);
        tg_problem_at(r->problems, r->tree, tiers_at(node, "window"), "%s: there are two windows of %s", where,
                      tg_buf_cstr(&length));
        tg_buf_fini(&length);
    }
    windows[i] = *window;
}

static size_t read_list_of_windows(const struct tier_reading *r, const char *where, const cJSON *list,
                                   const struct tier_rule *above, struct tg_window *windows)
{
    size_t count = 0, index = 0, size = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;

    if (!cJSON_IsArray(list)) {
        tg_problem_at(r->problems, r->tree, list, "%s.windows: must be a list", where);
        return 0;
    }
    if (size == 0 || size > TG_TIER_WINDOWS) {
        tg_problem_at(r->problems, r->tree, list, "%s.windows: 1 to %d windows are possible", where, TG_TIER_WINDOWS);
        return 0;
    }
    for (const cJSON *node = list->child; node; node = node->next) {
        const char *inner = tg_arena_printf(r->arena, "%s.windows[%zu]", where, index++).ptr;
        struct window_text text = {0};
        struct tg_window window;

        if (!tiers_is_mapping(r, node, inner) ||
            !tg_settings_read(tg_window_settings, tg_window_setting_count, r->tree, node, inner, false, r->arena,
                              &text, r->problems))
            continue;
        window = make_window(r, inner, node, &text, above);
        insert(r, inner, node, &window, windows, count++);
    }
    return count;
}

/* Either the members of the tier itself say its one window, or `windows` says them all. */
void tiers_read_windows(const struct tier_reading *r, const char *where, const cJSON *node,
                        const struct window_text *text, const cJSON *list, struct tg_tier *out)
{
    static const char *const single[] = {"limit", "window", "limit_claim", "limit_ceiling"};
    struct tier_rule rule = rule_of(node, text->algorithm, text->mode, &r->rule);
    struct tg_window *windows = TG_ARENA_ARRAY(r->arena, struct tg_window, TG_TIER_WINDOWS);
    size_t count = 1;

    for (size_t i = 0; tiers_says(node, "windows") && i < ARRAY_LEN(single); i++)
        if (tiers_says(node, single[i]))
            tg_problem_at_key(r->problems, r->tree, tg_json_get(node, single[i]),
                              "%s.%s: cannot be together with windows; it goes into them", where, single[i]);
    if (tiers_says(node, "windows")) {
        count = read_list_of_windows(r, where, list, &rule, windows);
    } else {
        if (!tiers_says(node, "limit"))
            tg_problem_at(r->problems, r->tree, node,
                          "%s.limit is needed, or windows: a list of {limit: ..., window: ...}", where);
        windows[0] = make_window(r, where, node, text, &rule);
    }
    tiers_finish(r, out, windows, count);
}

/* ---- the general tiers of a route that has a mode or an algorithm of its own ---- */

struct tg_tier tiers_under(const struct tier_reading *r, const struct tg_tier *from, const cJSON *node)
{
    struct tier_reading general = *r;                    /* its counters are those of all routes together */
    struct tg_window *windows = TG_ARENA_ARRAY(r->arena, struct tg_window, from->window_count);
    struct tg_tier tier = *from;

    general.route = (struct tg_slice){0};
    for (size_t i = 0; i < from->window_count; i++) {
        struct tg_window *w = &windows[i];
        uint32_t most;

        *w = from->windows[i];
        most = w->limit > w->ceiling ? w->limit : w->ceiling;
        if (!w->shadow_said)
            w->shadow = r->rule.shadow;
        if (!w->sliding_said)
            w->sliding = r->rule.sliding;
        if (w->sliding && most > TG_SLIDING_LIMIT_MAX)
            tg_problem_at(r->problems, r->tree, tiers_at(node, "algorithm"),
                          "%s.algorithm: a sliding window counts to %u at most, and the general tier " TG_S_FMT
                          " has a limit of %u", r->where, TG_SLIDING_LIMIT_MAX, TG_S_ARG(tier.name), most);
    }
    tiers_finish(&general, &tier, windows, from->window_count);
    return tier;
}
