/*
 * The classes of octets (RFC 9110 §5.6.2, §5.5; RFC 3986 §2), one table for all scanners.
 */
#include "internal.h"

#define T CLASS_TOKEN
#define P CLASS_PATH
#define Q CLASS_QUERY
#define H CLASS_HOST
#define U CLASS_UNRESERVED
#define X CLASS_HEX
#define V CLASS_VALUE
#define ALNUM (T | P | Q | H | U | V)

const uint8_t tg_http_classes[256] = {
    ['\t'] = V, [' '] = V,
    ['0' ... '9'] = ALNUM | X,
    ['A' ... 'F'] = ALNUM | X, ['G' ... 'Z'] = ALNUM,
    ['a' ... 'f'] = ALNUM | X, ['g' ... 'z'] = ALNUM,
    ['-'] = ALNUM, ['.'] = ALNUM, ['_'] = ALNUM, ['~'] = ALNUM,
    ['!'] = T | P | Q | H | V, ['$'] = T | P | Q | H | V, ['&'] = T | P | Q | H | V, ['\''] = T | P | Q | H | V,
    ['*'] = T | P | Q | H | V, ['+'] = T | P | Q | H | V,
    ['('] = P | Q | H | V, [')'] = P | Q | H | V, [';'] = P | Q | H | V, ['='] = P | Q | H | V,
    [','] = P | Q | V, ['/'] = P | Q | V, [':'] = P | Q | V, ['@'] = P | Q | V, ['['] = P | Q | V, [']'] = P | Q | V,
    ['%'] = T | P | Q | V, ['|'] = T | P | Q | V,
    ['?'] = Q | V, ['\\'] = Q | V, ['{'] = Q | V, ['}'] = Q | V,
    ['^'] = T | Q | V, ['`'] = T | Q | V,
    ['#'] = T | V,
    ['"'] = Q | V, ['<'] = Q | V, ['>'] = Q | V,
    [0x80 ... 0xff] = V,
};
