/*
 * content - see include/http/content.h.
 */
#include "http/content.h"

/* As an upstream reads it that hands fields on as variables, where "_" and "-" are one. `want`: lower case. */
static bool is_named(struct tg_slice name, struct tg_slice want)
{
    if (name.len != want.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        c = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c == '_' || c == '.' ? '-' : c;
        if (c != want.ptr[i])
            return false;
    }
    return true;
}

static bool is_uncoded(struct tg_slice value)
{
    struct tg_slice coding;

    while (tg_list_next(&value, &coding)) {
        if (!tg_slice_eq_nocase(coding, TG_S("identity")))
            return false;
    }
    return true;
}

/* JSON is UTF-8 (RFC 8259 §8.1), but there are readers who believe what a sender says instead. */
static bool is_utf8(struct tg_slice type)
{
    static const struct tg_slice word = TG_S_INIT("charset");

    for (size_t i = 0; i + word.len <= type.len; i++) {
        struct tg_slice charset = tg_slice_trim(tg_slice(type.ptr + i + word.len, type.len - i - word.len)), after;

        if (!tg_slice_eq_nocase(tg_slice(type.ptr + i, word.len), word))
            continue;
        tg_slice_cut(charset, ';', &charset, &after);
        charset = tg_slice_trim(charset);
        if (!tg_slice_eq_nocase(charset, TG_S("=utf-8")) && !tg_slice_eq_nocase(charset, TG_S("=\"utf-8\"")) &&
            !tg_slice_eq_nocase(charset, TG_S("=us-ascii")))
            return false;
    }
    return true;
}

bool tg_content_is_plain(const struct tg_head *h)
{
    for (unsigned i = 0; i < h->field_count; i++) {
        const struct tg_field *f = &h->fields[i];

        if (is_named(f->name, TG_S("content-encoding")) && !is_uncoded(f->value))
            return false;
        if (is_named(f->name, TG_S("content-type")) && !is_utf8(f->value))
            return false;
    }
    return true;
}
