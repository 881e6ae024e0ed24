/*
 * arena - the memory of one request or one snapshot, freed in one go.
 *
 * Threads: one owner at a time. Blocks come from malloc; the first may be the caller's own (on the stack, or a
 * recycled one), so that a small request allocates nothing.
 */
#pragma once
#include "base/buf.h"

struct tg_arena_block;
struct tg_arena {
    char *pos, *end;
    struct tg_arena_block *blocks;                       /* malloc'ed ones, newest first */
    char *first;                                         /* the caller's block, not freed */
    size_t first_size;
};

/* `first` (16-byte aligned, may be NULL with size 0) stays the caller's and must outlive the arena. */
void tg_arena_init(struct tg_arena *a, void *first, size_t first_size);
void tg_arena_fini(struct tg_arena *a);                  /* frees all blocks; NULL is fine */
void tg_arena_reset(struct tg_arena *a);                 /* frees all but the first block, which is used again */

void *tg_arena_more(struct tg_arena *a, size_t size);    /* slow path of tg_arena_raw */
/* Uninitialised memory, 16-byte aligned, never NULL. */
static inline void *tg_arena_raw(struct tg_arena *a, size_t size)
{
    size_t need = (size + !size + 15) & ~(size_t)15;     /* nothing is a pointer of its own, too */

    if (need < size || (size_t)(a->end - a->pos) < need)
        return tg_arena_more(a, size);
    void *p = a->pos;
    a->pos += need;
    return p;
}
/* Zeroed memory. */
static inline void *tg_arena_alloc(struct tg_arena *a, size_t size)
{
    void *p = tg_arena_raw(a, size);
    memset(p, 0, size);
    return p;
}
struct tg_slice tg_arena_dup(struct tg_arena *a, struct tg_slice s);
char *tg_arena_str(struct tg_arena *a, struct tg_slice s); /* with a NUL */
struct tg_slice tg_arena_printf(struct tg_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define TG_ARENA_NEW(a, type) ((type *)tg_arena_alloc((a), sizeof(type)))
#define TG_ARENA_ARRAY(a, type, n) ((type *)tg_arena_alloc((a), sizeof(type) * (size_t)(n)))
