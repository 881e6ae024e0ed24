/*
 * What the files of http share: classes of octets, and scanning.
 */
#pragma once
#include "http/message.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    CLASS_TOKEN = 1,                                     /* RFC 9110 §5.6.2 */
    CLASS_PATH = 2,                                      /* pchar, "/", "%"; "[", "]", "|", which browsers send raw */
    CLASS_QUERY = 4,                                     /* VCHAR but "#": much is sent raw, and only passed on */
    CLASS_HOST = 8,                                      /* reg-name without escapes and without "," */
    CLASS_UNRESERVED = 16,                               /* RFC 3986 §2.3 */
    CLASS_HEX = 32,
    CLASS_VALUE = 64,                                    /* HTAB, SP, VCHAR, obs-text */
};
extern const uint8_t tg_http_classes[256];

static inline bool octet_is(char c, unsigned classes)
{
    return (tg_http_classes[(uint8_t)c] & classes) != 0;
}

static inline unsigned hex_value(char c)                 /* of a CLASS_HEX octet */
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline uint64_t field_bit(unsigned id)
{
    return UINT64_C(1) << id;
}

/* The first octet at or after `p` that has no place in a field value, or `end`. Long tokens pass here, 16 at a time. */
static inline const char *scan_value(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i top = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, top), v);
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);

        if (mask)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && octet_is(*p, CLASS_VALUE))
        p++;
    return p;
}

/* The first octet at or after `p` that is no token character, or `end`. Almost all names are letters, digits and "-".
 */
static inline const char *scan_token(const char *p, const char *end)
{
#if defined(__SSE2__)
    const __m128i bit5 = _mm_set1_epi8(0x20), a = _mm_set1_epi8('a');
    const __m128i zero = _mm_set1_epi8('0'), dash = _mm_set1_epi8('-');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, bit5), a), digit = _mm_sub_epi8(v, zero);
        __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
        __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
        __m128i good = _mm_or_si128(_mm_or_si128(is_letter, is_digit), _mm_cmpeq_epi8(v, dash));
        unsigned bad = (unsigned)_mm_movemask_epi8(good) ^ 0xffff;

        if (bad) {
            p += __builtin_ctz(bad);
            break;
        }
    }
#endif
    while (p < end && octet_is(*p, CLASS_TOKEN))
        p++;
    return p;
}

/* Whether a comma list in the fields with `id` has `word` (lower case) in any case. */
bool tg_field_lists(const struct tg_head *h, unsigned id, struct tg_slice word);
