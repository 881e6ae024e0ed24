/*
 * tiers_warn - tiers that are legal and probably not meant: windows that can never be full, claims that cannot say what
 * they are asked for.
 */
#include "tiers_internal.h"

/* ---- windows that never refuse ---- */

/* The most that a window admits to anybody; none when it is not applied. */
static uint64_t most_of(const struct tg_window *w)
{
    if (w->shadow)
        return UINT64_MAX;
    return w->ceiling > w->limit ? w->ceiling : w->limit;
}

/* Whether `longer` may end within a window or span of `shorter`. */
static bool straddles(const struct tg_window *shorter, const struct tg_window *longer)
{
    return !longer->sliding && (shorter->sliding || longer->length_s % shorter->length_s != 0);
}

/* What `shorter` admits within one window of `longer`. */
static uint64_t most_within(const struct tg_window *shorter, const struct tg_window *longer)
{
    uint64_t windows = longer->length_s / shorter->length_s;
    bool whole = longer->length_s % shorter->length_s == 0;

    if (most_of(shorter) == UINT64_MAX)
        return UINT64_MAX;
    if (!whole || (!shorter->sliding && longer->sliding))
        windows += shorter->sliding ? 1 : 2;
    return windows * most_of(shorter);
}

static void warn_never_full(const struct tier_reading *r, const char *where, const cJSON *node,
                            const struct tg_window *never, const struct tg_window *because)
{
    struct tg_buf one = {0}, other = {0};

    tg_window_describe(never, &one);
    tg_window_describe(because, &other);
    tg_warning_at(r->problems, r->tree, tiers_at(node, "windows"),
                  "%s.windows: the window %s can never be full before %s is", where, tg_buf_cstr(&one),
                  tg_buf_cstr(&other));
    tg_buf_fini(&one);
    tg_buf_fini(&other);
}

static void check_windows(const struct tier_reading *r, const struct tg_tier *tier, const cJSON *node,
                          const char *where)
{
    for (size_t i = 0; i < tier->window_count; i++) {
        for (size_t j = i + 1; j < tier->window_count; j++) {
            const struct tg_window *a = &tier->windows[i], *b = &tier->windows[j];
            uint64_t of_b = most_of(b);

            /* One with a claim may be as small as the claim says. */
            if (!b->claim.len && b->limit >= most_within(a, b))
                warn_never_full(r, where, node, b, a);
            else if (!a->claim.len && of_b != UINT64_MAX && a->limit >= (straddles(a, b) ? 2 * of_b : of_b))
                warn_never_full(r, where, node, a, b);
        }
    }
}

/* ---- claims ---- */

static bool is_one_of(struct tg_slice name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (tg_slice_eq(name, tg_slice_str(names[i])))
            return true;
    return false;
}

/* "a/b", as a path; names that are addresses, or begin with a domain, have slashes. */
static bool is_slashed(struct tg_slice name)
{
    struct tg_slice first, rest;

    return tg_slice_cut(name, '/', &first, &rest) && !memchr(first.ptr, '.', first.len) &&
           !tg_slice_contains(name, TG_S("://"));
}

static void warn_of_slash(const struct tier_reading *r, const char *where, const cJSON *node, const char *setting)
{
    tg_warning_at(r->problems, r->tree, tiers_at(node, setting),
                  "%s.%s: a slash is part of the name: no member of a claim is found by it; write dots for the slashes",
                  where, setting);
}

static void warn_of_claim(const struct tier_reading *r, const char *where, const cJSON *node, struct tg_slice name)
{
    static const char *const times[] = {"exp", "iat", "nbf", "auth_time", "updated_at"};
    static const char *const texts[] = {"iss", "sub", "aud", "jti", "azp", "client_id", "scope",
                                        "scp", "email", "name"};
    const cJSON *place = tiers_at(node, "limit_claim");

    if (tg_slice_starts_with(name, TG_S("claim/")))
        tg_warning_at(r->problems, r->tree, place,
                      "%s.limit_claim: is the name of a claim, without \"claim/\" before it", where);
    else if (is_slashed(name))
        warn_of_slash(r, where, node, "limit_claim");
    else if (is_one_of(name, times, ARRAY_LEN(times)))
        tg_warning_at(r->problems, r->tree, place,
                      "%s.limit_claim: " TG_S_FMT " is a time: as a number it is above every ceiling", where,
                      TG_S_ARG(name));
    else if (is_one_of(name, texts, ARRAY_LEN(texts)))
        tg_warning_at(r->problems, r->tree, place,
                      "%s.limit_claim: " TG_S_FMT " is no number, so it never says a limit", where, TG_S_ARG(name));
}

/* Callers whose tokens say different limits use up one counter, each to the end of their own. */
static void warn_of_shared(const struct tier_reading *r, const struct tg_tier *tier, const char *where,
                           const cJSON *node)
{
    if (tier->by == TG_BY_ADDRESS || tier->by == TG_BY_ROUTE)
        tg_warning_at(r->problems, r->tree, tiers_at(node, "limit_claim"),
                      "%s.limit_claim: with key: %s callers of different limits share one counter, which one of a "
                      "larger limit may use up for the others", where, tg_limit_by_name(tier->by));
}

static void warn_of_key(const struct tier_reading *r, const struct tg_tier *tier, const cJSON *node,
                        const char *where)
{
    static const char *const passing[] = {"jti", "iat", "exp", "nbf", "auth_time", "nonce", "at_hash", "sid"};

    if (tier->by == TG_BY_CLAIM && is_slashed(tier->by_claim))
        warn_of_slash(r, where, node, "key");
    if (tier->by == TG_BY_CLAIM && is_one_of(tier->by_claim, passing, ARRAY_LEN(passing)))
        tg_warning_at(r->problems, r->tree, tiers_at(node, "key"),
                      "%s.key: " TG_S_FMT " differs from token to token: who fetches a new one has a new counter",
                      where, TG_S_ARG(tier->by_claim));
}

/* Where the claim of the i-th window was written: the windows are in order of their lengths, the list is not. */
static const cJSON *written(const cJSON *node, const struct tg_window *window)
{
    const cJSON *element;

    cJSON_ArrayForEach(element, cJSON_GetObjectItemCaseSensitive(node, "windows")) {
        const cJSON *claim = cJSON_GetObjectItemCaseSensitive(element, "limit_claim");

        if (cJSON_IsString(claim) && tg_slice_eq(tg_slice_str(claim->valuestring), window->claim))
            return element;
    }
    return node;
}

void tiers_warn(const struct tier_reading *r, const struct tg_tier *tier, const cJSON *node, const char *where)
{
    bool shared = false;

    check_windows(r, tier, node, where);
    warn_of_key(r, tier, node, where);
    for (size_t i = 0; i < tier->window_count; i++) {
        const struct tg_window *w = &tier->windows[i];

        if (!w->claim.len)
            continue;
        warn_of_claim(r, where, written(node, w), w->claim);
        if (!shared)
            warn_of_shared(r, tier, where, written(node, w));
        shared = true;
    }
}
