/*
 * plain - see plain.h.
 */
#include "plain.h"

size_t character_length(struct tg_slice s)
{
    const unsigned char *c = (const unsigned char *)s.ptr;
    size_t len = c[0] < 0x80   ? 1
                 : c[0] < 0xc2 ? 0
                 : c[0] < 0xe0 ? 2
                 : c[0] < 0xf0 ? 3
                 : c[0] < 0xf5 ? 4
                               : 0;

    if (len > s.len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    /* Longer than need be, surrogates, beyond Unicode. */
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf0 && c[1] < 0x90) ||
        (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return len;
}

struct tg_slice cut_text(struct tg_slice s, size_t max)
{
    size_t len = s.len < max ? s.len : max;

    while (len > 0 && len < s.len && ((unsigned char)s.ptr[len] & 0xc0) == 0x80)
        len--;
    return tg_slice(s.ptr, len);
}

/* Whether this character of `len` bytes may reach a terminal. */
static bool is_plain(const unsigned char *c, size_t len)
{
    if (len == 1)
        return c[0] >= ' ' && c[0] != 0x7f;
    if (len == 2)                                        /* U+0080 to U+009F, U+061C */
        return !(c[0] == 0xc2 && c[1] < 0xa0) && !(c[0] == 0xd8 && c[1] == 0x9c);
    if (len != 3 || c[0] != 0xe2)
        return true;
    if (c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)))
        return false;                                    /* U+200E, U+200F, U+2028 to U+202E */
    return !(c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9); /* U+2066 to U+2069 */
}

void make_plain(struct tg_buf *text, size_t from)
{
    for (size_t i = from, len; i < text->len; i += len) {
        char *at = text->data + i;
        bool plain;

        len = character_length(tg_slice(at, text->len - i));
        plain = len > 0 && is_plain((const unsigned char *)at, len);
        len += !len;
        if (!plain)
            memset(at, '?', len);
    }
}
