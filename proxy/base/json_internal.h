/*
 * json_internal - what the files around JSON and scalars share: UTF-8 and numbers.
 */
#pragma once
#include "base/buf.h"
#include "base/json.h"

/* Length of the UTF-8 sequence at p (n > 0 bytes left), 0 when it is none (RFC 3629: overlong and surrogates too). */
size_t tg_utf8_length(const char *p, size_t n);
/* The value of four hexadecimal digits; -1 when they are not there. */
int tg_json_hex4(const char *p, size_t n);
static inline bool tg_is_high_surrogate(int unit) { return unit >= 0xd800 && unit <= 0xdbff; }
static inline bool tg_is_low_surrogate(int unit) { return unit >= 0xdc00 && unit <= 0xdfff; }
/* The text that the inside of a scanned string stands for. */
void tg_json_unescape(struct tg_slice raw, struct tg_buf *out);

#define TG_NUMBER_MAX_CHARS 63                           /* cJSON reads no more of a number */

enum tg_number_fit {
    TG_NUMBER_EXACT,                                     /* the double stands for this literal alone */
    TG_NUMBER_INEXACT,                                   /* the literal must be kept */
    TG_NUMBER_OVERFLOW,
};

/*
 * How a literal of JSON's number grammar (at most TG_NUMBER_MAX_CHARS long) fits a double. Exact: at most 15
 * significant digits (each such decimal comes back from a double unchanged) in the normal range, or a whole number
 * without fraction and exponent up to 2^53. Everything else is inexact, whatever the double happens to be.
 */
enum tg_number_fit tg_number_fit(struct tg_slice literal, double *value);

struct tg_json_literal {
    size_t ordinal;                                      /* which number of the text, from 0 */
    struct tg_slice text;
};
struct tg_json_scanned {
    size_t value_end;                                    /* behind the value, before the space that may follow */
    struct tg_json_literal *literals;                    /* of inexact numbers, in order; free() them */
    size_t literal_count;
};
enum tg_status tg_json_scan_text(struct tg_slice text, const struct tg_json_limits *limits, struct tg_json_scanned *out,
                                 struct tg_err *err);

/* A NUL-terminated copy that cJSON_Delete may free. */
char *tg_json_dup(struct tg_slice s);
