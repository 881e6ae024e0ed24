/*
 * proof_seen - a set is looked through under a lock: next to the signature that was just verified it costs nothing.
 */
#include "proof_seen.h"
#include "base/err.h"
#include <pthread.h>
#include <sys/mman.h>

#define WAYS 16
#define STRIPES 256                                      /* locks; a set uses one of them */

struct slot {
    uint64_t key;
    uint32_t until_s;                                    /* 0: never used */
};
struct set {
    struct slot slots[WAYS];
};
struct stripe {
    _Alignas(64) pthread_mutex_t lock;
};
struct tg_proofs_seen {
    struct stripe stripes[STRIPES];
    size_t set_count;                                    /* power of two */
    struct set *sets;
};

static void *map_zeroed(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        tg_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

struct tg_proofs_seen *tg_proofs_seen_new(size_t slots)
{
    struct tg_proofs_seen *t = map_zeroed(sizeof(*t));

    t->set_count = 1;
    while (t->set_count * WAYS < slots)
        t->set_count *= 2;
    t->sets = map_zeroed(t->set_count * sizeof(struct set));
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&t->stripes[i].lock, NULL);
    return t;
}

void tg_proofs_seen_free(struct tg_proofs_seen *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&t->stripes[i].lock);
    munmap(t->sets, t->set_count * sizeof(struct set));
    munmap(t, sizeof(*t));
}

static enum tg_proof_seen take(struct set *set, uint64_t key, uint32_t until_s, uint32_t now_s)
{
    struct slot *free_slot = NULL;

    for (size_t i = 0; i < WAYS; i++) {
        struct slot *s = &set->slots[i];

        if (s->until_s < now_s)
            free_slot = s;
        else if (s->key == key)
            return TG_PROOF_SEEN;
    }
    if (!free_slot)
        return TG_PROOF_NO_ROOM;
    *free_slot = (struct slot){key, until_s};
    return TG_PROOF_NEW;
}

enum tg_proof_seen tg_proofs_seen_take(struct tg_proofs_seen *t, uint64_t key, uint32_t until_s, uint32_t now_s)
{
    size_t index = (size_t)key & (t->set_count - 1);
    pthread_mutex_t *lock = &t->stripes[index % STRIPES].lock;
    enum tg_proof_seen seen;

    pthread_mutex_lock(lock);
    seen = take(&t->sets[index], key, until_s, now_s);
    pthread_mutex_unlock(lock);
    return seen;
}
