/*
 * buf - slices compared and cut, buffers grown.
 */
#include "base/buf.h"
#include "base/err.h"
#include <stdio.h>
#include <stdlib.h>

#define MIN_CAP 64

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool tg_slice_eq_nocase(struct tg_slice a, struct tg_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool tg_slice_starts_with(struct tg_slice s, struct tg_slice prefix)
{
    return s.len >= prefix.len && tg_slice_eq(tg_slice(s.ptr, prefix.len), prefix);
}

bool tg_slice_ends_with(struct tg_slice s, struct tg_slice suffix)
{
    return suffix.len == 0 ||
           (s.len >= suffix.len && tg_slice_eq(tg_slice(s.ptr + (s.len - suffix.len), suffix.len), suffix));
}

bool tg_slice_contains(struct tg_slice s, struct tg_slice part)
{
    return part.len == 0 || (s.len >= part.len && memmem(s.ptr, s.len, part.ptr, part.len));
}

int tg_slice_cmp(struct tg_slice a, struct tg_slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct tg_slice tg_slice_trim(struct tg_slice s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

bool tg_slice_cut(struct tg_slice s, char sep, struct tg_slice *head, struct tg_slice *rest)
{
    const char *at = s.len ? memchr(s.ptr, sep, s.len) : NULL;

    if (!at) {
        *head = s;
        *rest = tg_slice(NULL, 0);
        return false;
    }
    *head = tg_slice(s.ptr, (size_t)(at - s.ptr));
    *rest = tg_slice(at + 1, s.len - head->len - 1);
    return true;
}

bool tg_slice_to_u64(struct tg_slice s, uint64_t *out)
{
    uint64_t n = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9' || __builtin_mul_overflow(n, (uint64_t)10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(s.ptr[i] - '0'), &n))
            return false;
    }
    *out = n;
    return true;
}

char *tg_slice_dup(struct tg_slice s)
{
    char *copy = tg_alloc(s.len + 1);

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return copy;
}

void *tg_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    if (!p)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void *tg_realloc(void *p, size_t size)
{
    void *grown = realloc(p, size ? size : 1);

    if (!grown)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return grown;
}

void tg_buf_fini(struct tg_buf *b)
{
    free(b->data);
    *b = (struct tg_buf){0};
}

void tg_buf_wipe(struct tg_buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    tg_buf_fini(b);
}

void tg_buf_reserve(struct tg_buf *b, size_t more)
{
    size_t need, cap;

    if (b->cap - b->len >= more)
        return;
    if (__builtin_add_overflow(b->len, more, &need) || need > SIZE_MAX / 2)
        tg_panic(__FILE__, __LINE__, "a buffer larger than memory");
    cap = b->cap ? b->cap : MIN_CAP;
    while (cap < need)
        cap *= 2;
    b->data = tg_realloc(b->data, cap);
    b->cap = cap;
}

void tg_buf_add(struct tg_buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    tg_buf_reserve(b, n);
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

void tg_buf_adds(struct tg_buf *b, const char *s)
{
    tg_buf_add(b, s, strlen(s));
}

void tg_buf_addf(struct tg_buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tg_buf_vaddf(b, fmt, ap);
    va_end(ap);
}

void tg_buf_vaddf(struct tg_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    tg_buf_reserve(b, MIN_CAP);                          /* mostly enough, so that one pass does */
    va_copy(again, ap);
    n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
    tg_assert(n >= 0);
    if ((size_t)n >= b->cap - b->len) {
        tg_buf_reserve(b, (size_t)n + 1);
        vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

void tg_buf_drop(struct tg_buf *b, size_t n)
{
    tg_assert(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->data, b->data + n, b->len);
}

const char *tg_buf_cstr(struct tg_buf *b)
{
    tg_buf_reserve(b, 1);
    b->data[b->len] = '\0';
    return b->data;
}
