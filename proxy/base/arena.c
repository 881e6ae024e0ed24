/*
 * arena - blocks behind a moving pointer.
 *
 * A request for much memory gets a block of its own, so that the rest of the current block is not lost to it.
 */
#include "base/arena.h"
#include "base/err.h"
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN 16
#define MIN_BLOCK ((size_t)4096)
#define MAX_BLOCK ((size_t)65536)

struct tg_arena_block {
    struct tg_arena_block *next;
    size_t size;                                         /* of data */
    alignas(ALIGN) char data[];
};

void tg_arena_init(struct tg_arena *a, void *first, size_t first_size)
{
    tg_assert(((uintptr_t)first & (ALIGN - 1)) == 0);
    *a = (struct tg_arena){.pos = first, .end = first ? (char *)first + first_size : NULL, .first = first,
                           .first_size = first ? first_size : 0};
}

void tg_arena_reset(struct tg_arena *a)
{
    while (a->blocks) {
        struct tg_arena_block *gone = a->blocks;

        a->blocks = gone->next;
        free(gone);
    }
    a->pos = a->first;
    a->end = a->first ? a->first + a->first_size : NULL;
}

void tg_arena_fini(struct tg_arena *a)
{
    if (!a)
        return;
    tg_arena_reset(a);
    *a = (struct tg_arena){0};
}

static struct tg_arena_block *add_block(struct tg_arena *a, size_t size)
{
    struct tg_arena_block *block = malloc(sizeof(*block) + size);

    if (!block)
        tg_panic(__FILE__, __LINE__, "out of memory");
    block->size = size;
    block->next = a->blocks;
    a->blocks = block;
    return block;
}

void *tg_arena_more(struct tg_arena *a, size_t size)
{
    size_t need = (size + !size + (ALIGN - 1)) & ~(size_t)(ALIGN - 1);
    size_t usual = a->blocks ? a->blocks->size * 2 : MIN_BLOCK;
    struct tg_arena_block *block;

    if (need < size || need > SIZE_MAX / 2)
        tg_panic(__FILE__, __LINE__, "an allocation larger than memory");
    usual = usual > MAX_BLOCK ? MAX_BLOCK : usual;
    usual = usual < MIN_BLOCK ? MIN_BLOCK : usual;
    if (need > usual / 4)
        return add_block(a, need)->data;
    block = add_block(a, usual);
    a->pos = block->data + need;
    a->end = block->data + usual;
    return block->data;
}

struct tg_slice tg_arena_dup(struct tg_arena *a, struct tg_slice s)
{
    return tg_slice(tg_arena_str(a, s), s.len);
}

char *tg_arena_str(struct tg_arena *a, struct tg_slice s)
{
    char *copy;

    if (s.len == SIZE_MAX)
        tg_panic(__FILE__, __LINE__, "a string larger than memory");
    copy = tg_arena_raw(a, s.len + 1);
    if (s.len)
        memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct tg_slice tg_arena_printf(struct tg_arena *a, const char *fmt, ...)
{
    char small[256], *text;
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    tg_assert(n >= 0);
    text = tg_arena_raw(a, (size_t)n + 1);
    if ((size_t)n < sizeof(small))
        memcpy(text, small, (size_t)n + 1);
    else
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return tg_slice(text, (size_t)n);
}
