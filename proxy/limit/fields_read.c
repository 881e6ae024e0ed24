/*
 * fields_read - whether what an upstream says of its own limits is stricter than ours.
 *
 * Read by the letter of RFC 9651 §4.2: a value that another reader might take otherwise is not believed. `r` of the
 * item with the fewest left speaks for the whole field.
 */
#include "limit/fields.h"

#define DIGITS_MAX 15                                    /* of an Integer, RFC 9651 §3.3.1 */
#define DAY_S INT64_C(86400)
#define FAR_S (INT64_C(366) * DAY_S)                     /* no window is that long */

/* ---- X-RateLimit-* ---- */

static bool whole_number(struct tg_slice text, int64_t *out)
{
    int64_t n = 0;

    if (text.len == 0 || text.len > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        n = n * 10 + (text.ptr[i] - '0');
    }
    *out = n;
    return true;
}

bool tg_limit_upstream_x_stricter(const struct tg_charge *ours, const struct tg_slice limit,
                                  const struct tg_slice remaining, const struct tg_slice reset, int64_t wall_ms)
{
    int64_t most, left, when;

    if (!whole_number(limit, &most) || !whole_number(remaining, &left) || !whole_number(reset, &when))
        return false;
    if (when > DAY_S && (when * 1000 <= wall_ms || when > wall_ms / 1000 + FAR_S))
        return false;
    return left <= most && left < (int64_t)ours->remaining;
}

/* ---- RateLimit ---- */

struct reader {
    const char *at, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower((char)(c | 0x20));
}

static bool next_is(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static void skip(struct reader *r, bool tabs)
{
    while (r->at < r->end && (*r->at == ' ' || (tabs && *r->at == '\t')))
        r->at++;
}

/* §4.2.5 */
static bool read_string(struct reader *r)
{
    if (!next_is(r, '"'))
        return false;
    while (r->at < r->end) {
        char c = *r->at++;

        if (c == '"')
            return true;
        if (c < 0x20 || c > 0x7e)
            return false;
        if (c == '\\' && !next_is(r, '"') && !next_is(r, '\\'))
            return false;
    }
    return false;
}

/* §4.2.4. *out: the value, -1 when it is no whole number from 0 up. */
static bool read_number(struct reader *r, bool whole, int64_t *out)
{
    bool negative = next_is(r, '-');
    const char *start = r->at;
    size_t digits, decimals;
    int64_t n = -1;

    while (r->at < r->end && is_digit(*r->at))
        r->at++;
    digits = (size_t)(r->at - start);
    if (digits == 0 || digits > DIGITS_MAX)
        return false;
    whole_number(tg_slice(start, digits), &n);
    *out = negative ? -1 : n;
    if (whole || !next_is(r, '.'))
        return true;
    start = r->at;
    while (r->at < r->end && is_digit(*r->at))
        r->at++;
    decimals = (size_t)(r->at - start);
    *out = -1;
    return digits <= 12 && decimals >= 1 && decimals <= 3;
}

/* What goes on with octets of a set, up to `last` when there is one. */
static bool read_run(struct reader *r, const char *others, char last)
{
    while (r->at < r->end && (is_digit(*r->at) || is_alpha(*r->at) || (*r->at != '\0' && strchr(others, *r->at))))
        r->at++;
    return last == '\0' || next_is(r, last);
}

/* §4.2.3.1, but no Display String, which no rate limit has. *number: as read_number, -1 for all that is none. */
static bool read_bare(struct reader *r, int64_t *number)
{
    char c = r->at < r->end ? *r->at : '\0';
    int64_t date;

    *number = -1;
    if (is_digit(c) || c == '-')
        return read_number(r, false, number);
    if (is_alpha(c) || c == '*')
        return read_run(r, "!#$%&'*+-.^_`|~:/", '\0');
    switch (c) {
    case '"': return read_string(r);
    case ':': return r->at++, read_run(r, "+/=", ':');
    case '?': return r->at++, next_is(r, '0') || next_is(r, '1');
    case '@': return r->at++, read_number(r, true, &date);
    default: return false;
    }
}

/* §4.2.3.3. False: malformed. *name is one octet long or longer. */
static bool read_key(struct reader *r, struct tg_slice *name)
{
    const char *start = r->at;

    if (start == r->end || !(is_lower(*start) || *start == '*'))
        return false;
    while (r->at < r->end && (is_lower(*r->at) || is_digit(*r->at) || (*r->at != '\0' && strchr("_-.*", *r->at))))
        r->at++;
    *name = tg_slice(start, (size_t)(r->at - start));
    return true;
}

/* One item: a String with r, a whole number from 0 up. */
static bool read_item(struct reader *r, int64_t *left)
{
    *left = -1;
    if (!read_string(r))
        return false;
    while (next_is(r, ';')) {
        struct tg_slice name;
        int64_t number = -1;

        skip(r, false);
        if (!read_key(r, &name) || (next_is(r, '=') && !read_bare(r, &number)))
            return false;
        if (tg_slice_eq(name, TG_S("r")))                /* given twice the last one holds (§3.1.2) */
            *left = number;
    }
    return *left >= 0;
}

/* The fewest left of all items; false: no such list. */
static bool read_list(struct tg_slice text, int64_t *least)
{
    struct reader r = {text.ptr, text.ptr + text.len};
    int64_t left;

    *least = INT64_MAX;
    skip(&r, false);
    do {
        skip(&r, true);
        if (!read_item(&r, &left))
            return false;
        if (left < *least)
            *least = left;
        skip(&r, true);
    } while (next_is(&r, ','));
    return r.at == r.end;
}

bool tg_limit_upstream_ratelimit_stricter(const struct tg_charge *ours, const struct tg_slice ratelimit)
{
    int64_t least;

    return ratelimit.len > 0 && read_list(ratelimit, &least) && least < (int64_t)ours->remaining;
}
