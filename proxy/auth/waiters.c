/*
 * waiters - see waiters.h.
 */
#include "waiters.h"
#include "base/buf.h"
#include <stdlib.h>

void tg_waiters_add(struct tg_waiters *all, struct tg_waiter waiter)
{
    if (all->count == all->cap) {
        all->cap = all->cap ? 2 * all->cap : 16;
        all->items = tg_realloc(all->items, all->cap * sizeof(*all->items));
    }
    all->items[all->count++] = waiter;
}

bool tg_waiters_drop(struct tg_waiters *all, const void *arg)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->items[i].arg != arg)
            continue;
        all->items[i] = all->items[--all->count];
        return true;
    }
    return false;
}

void tg_waiters_call(struct tg_waiters *all)
{
    for (size_t i = 0; i < all->count; i++)
        tg_worker_post(all->items[i].worker, all->items[i].done, all->items[i].arg);
    all->count = 0;
}

void tg_waiters_fini(struct tg_waiters *all)
{
    tg_assert(all->count == 0);
    free(all->items);
    *all = (struct tg_waiters){0};
}
