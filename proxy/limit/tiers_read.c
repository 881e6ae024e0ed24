/*
 * tiers_read - the `tiers` of a section: read and checked, one by one and together.
 *
 * Defaults and a written list have the same shape: at least one ordinary tier, and only the last one without `when`, so
 * that picking always ends with a tier.
 */
#include "tiers_internal.h"
#include "base/hash.h"
#include "base/json.h"
#include "http/h1_parse.h"

#define CLAIM_PREFIX "claim/"
#define NAME_BYTES 64

struct tier_text {
    struct tg_slice name, key;
    const cJSON *when, *windows;
    struct window_text window;
};

const struct tg_setting tg_tier_settings[] = {
    TG_SETTING(struct tier_text, name, "name", TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_REQUIRED,
               "in logs, metrics and RateLimit-Policy"),
    TG_SETTING(struct tier_text, when, "when", TG_SET_NODE, NULL, 0, 0, NULL, 0, "PPL criteria that must all hold"),
    TG_SETTING(struct tier_text, key, "key", TG_SET_STRING, NULL, 0, 0, NULL, 0,
               "who shares a counter: subject, address, route (all together), or claim/NAME; absent: subject, and "
               "address of unauthenticated"),
    TIER_WINDOW_ROWS(struct tier_text, window., 0),
    TG_SETTING(struct tier_text, windows, "windows", TG_SET_NODE, NULL, 0, 0, NULL, 0,
               "instead of limit and window: up to four, all of which must have room"),
};
const size_t tg_tier_setting_count = ARRAY_LEN(tg_tier_settings);

bool tiers_says(const cJSON *node, const char *name)
{
    const cJSON *member = tg_json_get(node, name);

    return member && !cJSON_IsNull(member);
}

const cJSON *tiers_at(const cJSON *node, const char *name)
{
    const cJSON *member = tg_json_get(node, name);

    return member ? member : node;
}

bool tiers_is_mapping(const struct tier_reading *r, const cJSON *node, const char *where)
{
    if (!cJSON_IsObject(node))
        tg_problem_at(r->problems, r->tree, node, "%s must be a mapping of settings", where);
    return cJSON_IsObject(node);
}

/* ---- what holds when nothing is written ---- */

static void set_default(const struct tier_reading *r, struct tg_slice name, uint32_t limit, enum tg_limit_by by,
                        struct tg_tier *out)
{
    struct tg_window *window = TG_ARENA_NEW(r->arena, struct tg_window);

    *out = (struct tg_tier){.name = name, .by = by};
    *window = (struct tg_window){.limit = limit, .length_s = 60, .sliding = r->rule.sliding, .shadow = r->rule.shadow};
    tiers_finish(r, out, window, 1);
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

void tiers_default_ordinary(const struct tier_reading *r, struct tg_tiers *out)
{
    struct tg_tier *items = TG_ARENA_ARRAY(r->arena, struct tg_tier, 2);

    set_default(r, TG_S("enterprise"), 10000, TG_BY_SUBJECT, &items[0]);
    items[0].when =
        tg_ppl_compile_when(r->arena, r->tree, enterprise_when(), "the default tier enterprise", r->problems);
    set_default(r, TG_S("authenticated"), 1000, TG_BY_SUBJECT, &items[1]);
    out->items = items;
    out->count = 2;
}

void tiers_default_unauthenticated(const struct tier_reading *r, struct tg_tiers *out)
{
    set_default(r, TG_S(UNAUTHENTICATED), 100, TG_BY_ADDRESS, &out->unauthenticated);
}

/* ---- one tier ---- */

static void check_name(const struct tier_reading *r, const char *where, const cJSON *node, struct tg_slice name)
{
    if (name.ptr && (!tg_is_token(name) || name.len > NAME_BYTES)) /* it ends up in header fields */
        tg_problem_at(r->problems, r->tree, tiers_at(node, "name"),
                      "%s.name: 1 to %d letters, digits and !#$%%&'*+-.^_`|~ are allowed", where, NAME_BYTES);
    else if (tg_slice_eq_nocase(name, TG_S(UNAUTHENTICATED)) && !tg_slice_eq(name, TG_S(UNAUTHENTICATED)))
        tg_problem_at(r->problems, r->tree, tiers_at(node, "name"),
                      "%s.name: the tier of requests without an identity is spelled \"" UNAUTHENTICATED "\"", where);
}

/* False: it is none of them. */
static bool parse_key(struct tg_slice text, struct tg_tier *out)
{
    static const enum tg_limit_by words[] = {TG_BY_SUBJECT, TG_BY_ADDRESS, TG_BY_ROUTE};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!tg_slice_eq(text, tg_slice_str(tg_limit_by_name(words[i]))))
            continue;
        out->by = words[i];
        return true;
    }
    if (!tg_slice_starts_with(text, TG_S(CLAIM_PREFIX)))
        return false;
    out->by = TG_BY_CLAIM;
    out->by_claim = tg_slice(text.ptr + strlen(CLAIM_PREFIX), text.len - strlen(CLAIM_PREFIX));
    out->by_claim_hash = tg_hash_slice(out->by_claim);
    return out->by_claim.len > 0 && out->by_claim.len <= CLAIM_BYTES;
}

static void read_key(const struct tier_reading *r, const char *where, const cJSON *node, struct tg_slice text,
                     bool anonymous, struct tg_tier *out)
{
    out->by = anonymous ? TG_BY_ADDRESS : TG_BY_SUBJECT;
    if (!text.ptr)
        return;
    if (!parse_key(text, out))
        tg_problem_at(r->problems, r->tree, tiers_at(node, "key"),
                      "%s.key: must be subject, address, route or claim/NAME (of at most %d bytes)", where,
                      CLAIM_BYTES);
    else if (anonymous && (out->by == TG_BY_SUBJECT || out->by == TG_BY_CLAIM))
        tg_problem_at(r->problems, r->tree, tiers_at(node, "key"),
                      "%s.key: the tier " UNAUTHENTICATED " counts what has no identity; its key is address or route",
                      where);
}

static void refuse_identity(const struct tier_reading *r, const char *where, const cJSON *node,
                            const struct tier_text *text, const struct tg_tier *tier)
{
    bool claimed = false;

    for (size_t i = 0; i < tier->window_count; i++)
        claimed = claimed || tier->windows[i].claim.len > 0;
    if (text->when)
        tg_problem_at_key(r->problems, r->tree, text->when,
                          "%s.when: the tier " UNAUTHENTICATED " takes what has no identity; it has no `when`", where);
    if (claimed)
        tg_problem_at(r->problems, r->tree, tiers_at(node, text->windows ? "windows" : "limit_claim"),
                      "%s.limit_claim: the tier " UNAUTHENTICATED " takes what has no identity, and so no claims",
                      where);
}

/* One element of `tiers`. False when it added an error. */
static bool read_tier(const struct tier_reading *r, const cJSON *node, const char *where, struct tg_tier *out)
{
    struct tier_text text = {0};
    size_t errors = r->problems->errors;
    bool anonymous;

    if (!tiers_is_mapping(r, node, where))
        return false;
    tg_settings_read(tg_tier_settings, tg_tier_setting_count, r->tree, node, where, false, r->arena, &text,
                     r->problems);
    *out = (struct tg_tier){.name = text.name};
    anonymous = tg_slice_eq(text.name, TG_S(UNAUTHENTICATED));
    check_name(r, where, node, text.name);
    read_key(r, where, node, text.key, anonymous, out);
    tiers_read_windows(r, where, node, &text.window, text.windows, out);
    if (anonymous)
        refuse_identity(r, where, node, &text, out);
    else if (text.when)
        out->when = tg_ppl_compile_when(r->arena, r->tree, text.when,
                                        tg_arena_printf(r->arena, "%s.when", where).ptr, r->problems);
    if (r->problems->errors != errors)
        return false;
    tiers_warn(r, out, node, where);
    return true;
}

/* ---- the list ---- */

/* Every ordinary tier but the last asks something, the last asks nothing. `nodes`: as written, same index as items. */
static void check_order(const struct tier_reading *r, const struct tg_tier *items, const cJSON *const *nodes,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool last = i + 1 == count;

        for (size_t j = 0; j < i; j++)
            if (tg_slice_eq_nocase(items[i].name, items[j].name))
                tg_problem_at(r->problems, r->tree, tg_json_get(nodes[i], "name"),
                              "%s.tiers: there are two tiers named \"" TG_S_FMT "\"", r->where,
                              TG_S_ARG(items[i].name));
        if (last && items[i].when)
            tg_problem_at_key(r->problems, r->tree, tg_json_get(nodes[i], "when"),
                              "%s.tiers: the last tier before " UNAUTHENTICATED
                              " takes everybody else; it has no `when`", r->where);
        if (!last && !items[i].when)
            tg_problem_at(r->problems, r->tree, nodes[i],
                          "%s.tiers: only the last tier may be without `when`; the ones after \"" TG_S_FMT
                          "\" would never be reached", r->where, TG_S_ARG(items[i].name));
    }
}

bool tiers_read_list(const struct tier_reading *r, const cJSON *list, bool needs_ordinary, struct tg_tiers *out)
{
    size_t total = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0, errors = r->problems->errors;
    struct tg_tier *items = TG_ARENA_ARRAY(r->arena, struct tg_tier, total);
    const cJSON **nodes = TG_ARENA_ARRAY(r->arena, const cJSON *, total);
    size_t count = 0, i = 0;
    bool anonymous = false;

    if (!cJSON_IsArray(list))
        tg_problem_at(r->problems, r->tree, list, "%s.tiers: must be a list", r->where);
    for (const cJSON *node = total ? list->child : NULL; node; node = node->next) {
        const char *where = tg_arena_printf(r->arena, "%s.tiers[%zu]", r->where, i++).ptr;
        struct tg_tier tier;

        if (!read_tier(r, node, where, &tier))
            continue;
        if (!tg_slice_eq(tier.name, TG_S(UNAUTHENTICATED))) {
            nodes[count] = node;
            items[count++] = tier;
            continue;
        }
        if (anonymous)
            tg_problem_at(r->problems, r->tree, tg_json_get(node, "name"),
                          "%s.tiers: there are two tiers named \"" UNAUTHENTICATED "\"", r->where);
        anonymous = true;
        out->unauthenticated = tier;
    }
    if (r->problems->errors == errors) {                 /* with a tier missing, the order would be judged wrongly */
        check_order(r, items, nodes, count);
        if (count == 0 && needs_ordinary)
            tg_problem_at(r->problems, r->tree, list,
                          "%s.tiers: needs a tier for requests with an identity, such as "
                          "{name: authenticated, limit: 1000, window: 1m}", r->where);
    }
    out->items = items;
    out->count = count;
    return anonymous;
}
