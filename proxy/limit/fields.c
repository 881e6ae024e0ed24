/*
 * fields - the text of the rate-limit fields, all of it in one piece of memory.
 *
 * Names of tiers and windows are tokens (RFC 9110 §5.6.2), so they stand in a String (RFC 9651 §3.3.3) as they are.
 * Every answer passes here: numbers are written by hand, printf is slow.
 */
#include "limit/fields.h"

#define NUMBER_MAX 20                                    /* digits of a 64-bit number */
#define ITEM_EXTRA 32                                    /* of an item beside its name and two numbers */

/* Two digits at a time. */
static const char pairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static unsigned digits_of(uint64_t n)
{
    unsigned digits = 1;

    for (; n >= 10000; n /= 10000)
        digits += 4;
    return digits + (n >= 10) + (n >= 100) + (n >= 1000);
}

static char *put_number(char *to, uint64_t n)
{
    char *end = to + digits_of(n), *at = end;

    for (; n >= 100; n /= 100)
        memcpy(at -= 2, &pairs[n % 100 * 2], 2);
    if (n >= 10)
        memcpy(at - 2, &pairs[n * 2], 2);
    else
        at[-1] = (char)('0' + n);
    return end;
}

static char *put_item(char *to, bool first, struct tg_slice name, const char *one, uint32_t first_value,
                      const char *two, uint64_t second_value)
{
    if (!first)
        to = mempcpy(to, ", ", 2);
    *to++ = '"';
    to = mempcpy(to, name.ptr, name.len);
    to = put_number(mempcpy(to, one, 4), first_value);   /* ";r= */
    return put_number(mempcpy(to, two, 3), second_value);
}

/* Whole seconds until then, rounded up: never early. */
static uint64_t seconds_until(int64_t reset_ms, int64_t wall_ms)
{
    return reset_ms > wall_ms ? (uint64_t)(reset_ms - wall_ms + 999) / 1000 : 0;
}

static char *put_ratelimit(char *to, const struct tg_charge *charge, bool shadow, int64_t wall_ms)
{
    const char *start = to;

    for (size_t i = 0; i < charge->count; i++) {
        const struct tg_charge_window *w = &charge->windows[i];

        if (shadow || !w->window->shadow)
            to = put_item(to, to == start, w->window->name, "\";r=", w->remaining, ";t=",
                          seconds_until(w->reset_ms, wall_ms));
    }
    return to;
}

static char *put_policy(char *to, const struct tg_charge *charge, bool shadow)
{
    const char *start = to;

    for (size_t i = 0; i < charge->count; i++) {
        const struct tg_charge_window *w = &charge->windows[i];

        if (shadow || !w->window->shadow)
            to = put_item(to, to == start, w->window->name, "\";q=", w->limit, ";w=", w->window->length_s);
    }
    return to;
}

static size_t room_for_items(const struct tg_charge *charge)
{
    size_t room = 0;

    for (size_t i = 0; i < charge->count; i++)
        room += charge->windows[i].window->name.len + ITEM_EXTRA + NUMBER_MAX;
    return room;
}

void tg_limit_fields(const struct tg_charge *charge, const struct tg_limit_settings *settings, int64_t wall_ms,
                     struct tg_arena *arena, struct tg_slice out[static TG_LIMIT_FIELD_COUNT])
{
    bool own_policy = settings->ratelimit_fields && charge->tier->policy_field.len > 0;
    size_t items = settings->ratelimit_fields ? room_for_items(charge) * (own_policy ? 1 : 2) : 0;
    char *at = tg_arena_raw(arena, 3 * NUMBER_MAX + items), *from = at;
    /* Windows in shadow mode are told of only when there are no others. */
    bool shadow = settings->ratelimit_fields && tg_tier_is_shadow(charge->tier);

    memset(out, 0, sizeof(*out) * TG_LIMIT_FIELD_COUNT);
    if (settings->x_ratelimit != TG_X_RATELIMIT_OFF) {
        bool delta = settings->x_ratelimit == TG_X_RATELIMIT_DELTA;
        uint64_t reset = delta ? seconds_until(charge->windows[charge->telling].reset_ms, wall_ms)
                               : (uint64_t)charge->reset_s;

        at = put_number(from, charge->limit);
        out[TG_LIMIT_FIELD_X_LIMIT] = tg_slice(from, (size_t)(at - from));
        at = put_number(from = at, charge->remaining);
        out[TG_LIMIT_FIELD_X_REMAINING] = tg_slice(from, (size_t)(at - from));
        at = put_number(from = at, reset);
        out[TG_LIMIT_FIELD_X_RESET] = tg_slice(from, (size_t)(at - from));
    }
    if (!settings->ratelimit_fields)
        return;
    at = put_ratelimit(from = at, charge, shadow, wall_ms);
    out[TG_LIMIT_FIELD_RATELIMIT] = tg_slice(from, (size_t)(at - from));
    out[TG_LIMIT_FIELD_POLICY] = charge->tier->policy_field;
    if (own_policy)
        return;
    at = put_policy(from = at, charge, shadow);
    out[TG_LIMIT_FIELD_POLICY] = tg_slice(from, (size_t)(at - from));
}

void tg_limit_policy_field(const struct tg_tier *tier, struct tg_buf *out)
{
    bool shadow = tg_tier_is_shadow(tier), first = true;

    for (size_t i = 0; i < tier->window_count; i++) {
        const struct tg_window *w = &tier->windows[i];

        if (w->shadow && !shadow)
            continue;
        tg_buf_addf(out, "%s\"" TG_S_FMT "\";q=%u;w=%u", first ? "" : ", ", TG_S_ARG(w->name), w->limit, w->length_s);
        first = false;
    }
}
