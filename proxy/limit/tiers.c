/*
 * tiers - which tier a request belongs to, how many requests it has for a caller, and how that is told to people.
 */
#include "tiers_internal.h"
#include "base/claims.h"
#include "base/json.h"
#include <math.h>

const char *tg_limit_by_name(enum tg_limit_by by)
{
    switch (by) {
    case TG_BY_SUBJECT: return "subject";
    case TG_BY_CLAIM: return "claim";
    case TG_BY_ADDRESS: return "address";
    case TG_BY_ROUTE: return "route";
    }
    return "";
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

/* The whole number from 0 up that a claim holds, the ceiling for all above it. False: it holds none. */
static bool number_of(const cJSON *node, uint32_t ceiling, uint32_t *out)
{
    int64_t value;

    if (!cJSON_IsNumber(node))
        return false;
    if (isfinite(node->valuedouble) && node->valuedouble > (double)ceiling && node->valuedouble >= 0x1p53) {
        *out = ceiling;                                  /* too large to be seen exactly, and whole that high up */
        return true;
    }
    if (!tg_json_int(node, &value) || value < 0)
        return false;
    *out = value > ceiling ? ceiling : (uint32_t)value;
    return true;
}

uint32_t tg_window_limit(const struct tg_window *window, const struct tg_claims *claims, bool *from_claim)
{
    const struct tg_claim *claim =
        window->claim.len && claims ? tg_claims_get(claims, window->claim, window->claim_hash) : NULL;
    uint32_t limit = window->limit;
    bool said = claim && claim->count == 1 && number_of(claim->values[0].json, window->ceiling, &limit);

    if (from_claim)
        *from_claim = said;
    return limit;
}

bool tg_tier_is_shadow(const struct tg_tier *tier)
{
    for (size_t i = 0; i < tier->window_count; i++)
        if (!tier->windows[i].shadow)
            return false;
    return true;
}

/* ---- for people ---- */

void tg_window_length_describe(uint32_t length_s, struct tg_buf *out)
{
    char unit = 's';

    if (length_s % 3600 == 0) {
        length_s /= 3600;
        unit = 'h';
    } else if (length_s % 60 == 0) {
        length_s /= 60;
        unit = 'm';
    }
    tg_buf_addf(out, "%u%c", length_s, unit);
}

void tg_window_describe(const struct tg_window *window, struct tg_buf *out)
{
    tg_buf_addf(out, "%u/", window->limit);
    tg_window_length_describe(window->length_s, out);
    if (window->sliding)
        tg_buf_adds(out, " sliding");
    if (window->claim.len)
        tg_buf_addf(out, " or claim " TG_S_FMT " up to %u", TG_S_ARG(window->claim), window->ceiling);
    if (window->shadow)
        tg_buf_adds(out, " shadow");
}

static void describe_tier(const struct tg_tier *tier, struct tg_buf *out)
{
    tg_buf_add_slice(out, tier->name);
    for (size_t i = 0; i < tier->window_count; i++) {
        tg_buf_addc(out, ' ');
        tg_window_describe(&tier->windows[i], out);
    }
    tg_buf_addf(out, " by %s", tg_limit_by_name(tier->by));
    if (tier->by == TG_BY_CLAIM)
        tg_buf_addf(out, " " TG_S_FMT, TG_S_ARG(tier->by_claim));
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
