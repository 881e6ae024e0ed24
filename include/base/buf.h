/*
 * buf - bytes: slices that point, buffers that grow.
 *
 * A slice borrows; it is not NUL-terminated and may hold any byte. A zeroed slice is empty, and so is a zeroed buffer.
 * Case folding is ASCII only and never depends on the locale.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct tg_slice {
    const char *ptr;
    size_t len;
};

#define TG_S(literal) ((struct tg_slice){"" literal, sizeof(literal) - 1})
#define TG_S_INIT(literal) {"" literal, sizeof(literal) - 1}
#define TG_S_FMT "%.*s"
#define TG_S_ARG(s) (int)(s).len, (s).ptr

static inline struct tg_slice tg_slice(const char *ptr, size_t len) { return (struct tg_slice){ptr, len}; }
/* NULL gives the empty slice. */
static inline struct tg_slice tg_slice_str(const char *s) { return (struct tg_slice){s, s ? strlen(s) : 0}; }
static inline bool tg_slice_eq(struct tg_slice a, struct tg_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
bool tg_slice_eq_nocase(struct tg_slice a, struct tg_slice b);
bool tg_slice_starts_with(struct tg_slice s, struct tg_slice prefix);
bool tg_slice_ends_with(struct tg_slice s, struct tg_slice suffix);
bool tg_slice_contains(struct tg_slice s, struct tg_slice part); /* the empty part is in everything */
int tg_slice_cmp(struct tg_slice a, struct tg_slice b);          /* as unsigned bytes, shorter first */
struct tg_slice tg_slice_trim(struct tg_slice s);                /* without SP and HTAB at both ends */
/* Splits at the first `sep`: *head before it, *rest after it. False, and *head the whole, when there is none. */
bool tg_slice_cut(struct tg_slice s, char sep, struct tg_slice *head, struct tg_slice *rest);
/* Decimal digits only, no sign, no overflow; false otherwise. */
bool tg_slice_to_u64(struct tg_slice s, uint64_t *out);
/* A fresh NUL-terminated copy; free() it. */
char *tg_slice_dup(struct tg_slice s);
static inline char *tg_slice_dup_or_null(struct tg_slice s) /* NULL: it is empty */
{
    return s.len ? tg_slice_dup(s) : NULL;
}

/* Zeroed memory, never NULL: running out of memory ends the process. Sizes chosen by a peer are bounded before. */
void *tg_alloc(size_t size);
void *tg_realloc(void *p, size_t size);
#define TG_NEW(type) ((type *)tg_alloc(sizeof(type)))
#define TG_NEW_ARRAY(type, n) ((type *)tg_alloc(sizeof(type) * (size_t)(n)))

struct tg_buf {
    char *data;
    size_t len, cap;
};

void tg_buf_fini(struct tg_buf *b);                      /* frees; the buffer is empty and usable again */
void tg_buf_wipe(struct tg_buf *b);                      /* the same, and of a secret nothing stays behind */
void tg_buf_reserve(struct tg_buf *b, size_t more);      /* room for `more` bytes beyond len */
void tg_buf_add(struct tg_buf *b, const void *p, size_t n);
void tg_buf_adds(struct tg_buf *b, const char *s);
void tg_buf_addf(struct tg_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tg_buf_vaddf(struct tg_buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void tg_buf_drop(struct tg_buf *b, size_t n);            /* the first n bytes */
static inline void tg_buf_add_slice(struct tg_buf *b, struct tg_slice s) { tg_buf_add(b, s.ptr, s.len); }
static inline void tg_buf_addc(struct tg_buf *b, char c) { tg_buf_add(b, &c, 1); }
static inline struct tg_slice tg_buf_slice(const struct tg_buf *b) { return (struct tg_slice){b->data, b->len}; }
/* NUL-terminated view, valid until the next change. */
const char *tg_buf_cstr(struct tg_buf *b);
