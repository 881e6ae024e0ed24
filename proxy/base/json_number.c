/*
 * json_number - numbers compared by what was written, not by what a double makes of it.
 */
#include "base/json.h"
#include "json_internal.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXPONENT_CAP = 1000000 };
static const int64_t two_to_53 = INT64_C(1) << 53;

/* ± 0.d1d2d3… with the point moved: digits × 10^exponent, no zeros at either end; zero has no digits and no sign. */
struct decimal {
    bool negative;
    char digits[TG_NUMBER_MAX_CHARS + 1];
    size_t count;
    long exponent;
};

/* `s`: JSON's number grammar, at most TG_NUMBER_MAX_CHARS long. */
static void to_decimal(struct tg_slice s, struct decimal *d)
{
    size_t i = 0;
    long written = 0;
    bool fraction = false;

    *d = (struct decimal){.negative = s.len > 0 && s.ptr[0] == '-'};
    if (d->negative)
        i++;
    for (; i < s.len && s.ptr[i] != 'e' && s.ptr[i] != 'E'; i++) {
        if (s.ptr[i] == '.') {
            fraction = true;
            continue;
        }
        if ((d->count > 0 || s.ptr[i] != '0') && d->count < TG_NUMBER_MAX_CHARS)
            d->digits[d->count++] = s.ptr[i];
        if (fraction)
            d->exponent--;
    }
    if (i < s.len) {
        bool down = s.ptr[++i] == '-';

        if (down || s.ptr[i] == '+')
            i++;
        for (; i < s.len; i++)
            if (written < EXPONENT_CAP)
                written = written * 10 + (s.ptr[i] - '0');
        d->exponent += down ? -written : written;
    }
    while (d->count > 0 && d->digits[d->count - 1] == '0') {
        d->count--;
        d->exponent++;
    }
    if (d->count == 0)
        *d = (struct decimal){0};
}

enum tg_number_fit tg_number_fit(struct tg_slice literal, double *value)
{
    char text[TG_NUMBER_MAX_CHARS + 1];
    struct decimal d;

    tg_assert(literal.len <= TG_NUMBER_MAX_CHARS);
    memcpy(text, literal.ptr, literal.len);
    text[literal.len] = '\0';
    *value = strtod(text, NULL);
    if (!isfinite(*value))
        return TG_NUMBER_OVERFLOW;
    to_decimal(literal, &d);
    if (d.count == 0)
        return TG_NUMBER_EXACT;
    if (d.count <= DBL_DIG && fabs(*value) >= DBL_MIN)
        return TG_NUMBER_EXACT;
    /* 2^53 + 1 rounds to 2^53, so that the literal decides at the border. */
    if (!strpbrk(text, ".eE") && fabs(*value) <= (double)two_to_53 && llabs(strtoll(text, NULL, 10)) <= two_to_53)
        return TG_NUMBER_EXACT;
    return TG_NUMBER_INEXACT;
}

static void node_decimal(const cJSON *node, struct decimal *d)
{
    char text[40];

    if (node->valuestring && strlen(node->valuestring) <= TG_NUMBER_MAX_CHARS) {
        to_decimal(tg_slice_str(node->valuestring), d);
        return;
    }
    snprintf(text, sizeof text, "%.15g", node->valuedouble);
    if (strtod(text, NULL) != node->valuedouble)
        snprintf(text, sizeof text, "%.17g", node->valuedouble);
    to_decimal(tg_slice_str(text), d);
}

bool tg_json_number_eq(const cJSON *a, const cJSON *b)
{
    struct decimal x, y;

    if (!cJSON_IsNumber(a) || !cJSON_IsNumber(b))
        return false;
    if (!isfinite(a->valuedouble) || !isfinite(b->valuedouble))
        return false;
    if (!a->valuestring && !b->valuestring)
        return a->valuedouble == b->valuedouble;
    node_decimal(a, &x);
    node_decimal(b, &y);
    return x.negative == y.negative && x.exponent == y.exponent && x.count == y.count &&
           memcmp(x.digits, y.digits, x.count) == 0;
}

bool tg_json_int(const cJSON *node, int64_t *out)
{
    struct decimal d;
    int64_t value = 0;

    if (!cJSON_IsNumber(node) || !isfinite(node->valuedouble))
        return false;
    if (fabs(node->valuedouble) > (double)two_to_53)
        return false;
    if (!node->valuestring) {
        if (trunc(node->valuedouble) != node->valuedouble)
            return false;
        *out = (int64_t)node->valuedouble;
        return true;
    }
    node_decimal(node, &d);
    if (d.exponent < 0 || d.count + (size_t)d.exponent > 16)
        return false;
    for (size_t i = 0; i < d.count; i++)
        value = value * 10 + (d.digits[i] - '0');
    for (long i = 0; i < d.exponent; i++)
        value *= 10;
    if (value > two_to_53)
        return false;
    *out = d.negative ? -value : value;
    return true;
}
