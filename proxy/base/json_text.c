/*
 * json_text - the characters of JSON strings: UTF-8, escapes.
 */
#include "base/json.h"
#include "json_internal.h"

size_t tg_utf8_length(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    unsigned char low = 0x80, high = 0xbf;               /* what the second byte may be */
    size_t len;

    if (u[0] < 0x80)
        return 1;
    if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        len = 2;
    } else if (u[0] >= 0xe0 && u[0] <= 0xef) {
        len = 3;
        if (u[0] == 0xe0)
            low = 0xa0;
        if (u[0] == 0xed)
            high = 0x9f;
    } else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        len = 4;
        if (u[0] == 0xf0)
            low = 0x90;
        if (u[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (n < len || u[1] < low || u[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (u[i] < 0x80 || u[i] > 0xbf)
            return 0;
    return len;
}

static void utf8_add(struct tg_buf *out, unsigned code)
{
    if (code < 0x80) {
        tg_buf_addc(out, (char)code);
    } else if (code < 0x800) {
        tg_buf_addc(out, (char)(0xc0 | code >> 6));
        tg_buf_addc(out, (char)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        tg_buf_addc(out, (char)(0xe0 | code >> 12));
        tg_buf_addc(out, (char)(0x80 | (code >> 6 & 0x3f)));
        tg_buf_addc(out, (char)(0x80 | (code & 0x3f)));
    } else {
        tg_buf_addc(out, (char)(0xf0 | code >> 18));
        tg_buf_addc(out, (char)(0x80 | (code >> 12 & 0x3f)));
        tg_buf_addc(out, (char)(0x80 | (code >> 6 & 0x3f)));
        tg_buf_addc(out, (char)(0x80 | (code & 0x3f)));
    }
}

int tg_json_hex4(const char *p, size_t n)
{
    int value = 0;

    if (n < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        char c = p[i];

        value <<= 4;
        if (c >= '0' && c <= '9')
            value |= c - '0';
        else if (c >= 'a' && c <= 'f')
            value |= c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            value |= c - 'A' + 10;
        else
            return -1;
    }
    return value;
}

void tg_json_unescape(struct tg_slice raw, struct tg_buf *out)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";

    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] != '\\') {
            tg_buf_addc(out, raw.ptr[i]);
            continue;
        }
        char c = raw.ptr[++i];
        const char *known = strchr(from, c);

        if (c == 'u') {
            int unit = tg_json_hex4(raw.ptr + i + 1, 4);

            i += 4;
            if (tg_is_high_surrogate(unit)) {
                unit = 0x10000 + ((unit - 0xd800) << 10) + (tg_json_hex4(raw.ptr + i + 3, 4) - 0xdc00);
                i += 6;
            }
            utf8_add(out, (unsigned)unit);
        } else {
            tg_buf_addc(out, known ? to[known - from] : c);
        }
    }
}

void tg_json_add_string(struct tg_buf *out, struct tg_slice s)
{
    size_t i = 0, start = 0, n;

    tg_buf_addc(out, '"');
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];

        n = tg_utf8_length(s.ptr + i, s.len - i);
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += n;
            continue;
        }
        tg_buf_add(out, s.ptr + start, i - start);
        start = ++i;
        if (n == 0)
            tg_buf_adds(out, "\xef\xbf\xbd");            /* what is printed is JSON, whatever came in */
        else if (c == '"' || c == '\\')
            tg_buf_addf(out, "\\%c", c);
        else if (c == '\n')
            tg_buf_adds(out, "\\n");
        else if (c == '\r')
            tg_buf_adds(out, "\\r");
        else if (c == '\t')
            tg_buf_adds(out, "\\t");
        else
            tg_buf_addf(out, "\\u%04x", c);
    }
    if (i > start)                                       /* an empty slice may have no pointer to count from */
        tg_buf_add(out, s.ptr + start, i - start);
    tg_buf_addc(out, '"');
}
