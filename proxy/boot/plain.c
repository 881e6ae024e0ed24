/*
 * plain - see plain.h.
 */
#include "plain.h"

/* Bytes at `i` that must not reach a terminal; 0: this one may. */
static size_t bad_bytes(const struct tg_buf *text, size_t i)
{
    const unsigned char *c = (const unsigned char *)text->data + i;
    size_t left = text->len - i;

    if (c[0] < ' ' || c[0] == 0x7f)
        return 1;
    if (left >= 2 && c[0] == 0xc2 && c[1] < 0xa0)        /* U+0080 to U+009F */
        return 2;
    if (left < 3 || c[0] != 0xe2)
        return 0;
    if (c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)))
        return 3;                                        /* U+200E, U+200F, U+2028 to U+202E */
    return c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9 ? 3 : 0; /* U+2066 to U+2069 */
}

void make_plain(struct tg_buf *text, size_t from)
{
    for (size_t i = from; i < text->len; i++)
        memset(text->data + i, '?', bad_bytes(text, i));
}
