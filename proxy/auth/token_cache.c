/*
 * token_cache - a table of chains over a fixed array of entries, and a list by age of use through the same array.
 *
 * Links are numbers of entries, so an entry is 88 bytes and a hit touches four of them. The digest's own bits choose
 * the chain: SHA-256 is as good as a seeded hash where every entry costs a signature of a trusted issuer.
 */
#include "auth/token_cache.h"
#include "base/err.h"
#include <stdlib.h>

#define NONE UINT32_MAX

struct entry {
    uint8_t digest[TG_SHA256_LEN];
    const struct tg_identity *identity;
    uint64_t generation, stamp;
    int64_t until_s;
    size_t bytes;
    uint32_t chain;                                      /* next of the same slot, or next free entry */
    uint32_t newer, older;
};
struct tg_token_cache {
    uint64_t (*generation)(void *arg, const struct tg_identity *identity);
    void *arg;
    struct entry *entries;
    uint32_t *slots;
    uint32_t mask;
    uint32_t max_entries, untouched, free;               /* entries from `untouched` on were never used */
    uint32_t newest, oldest;
    size_t count, bytes, max_bytes;
};

struct tg_token_cache *tg_token_cache_new(size_t max_entries, size_t max_bytes,
                                          uint64_t (*generation)(void *arg,
                                                                 const struct tg_identity *identity), void *arg)
{
    struct tg_token_cache *c = TG_NEW(struct tg_token_cache);
    uint32_t slots = 16;

    tg_assert(max_entries > 0 && max_entries < (UINT32_C(1) << 30));
    while (slots < max_entries)
        slots *= 2;
    c->generation = generation;
    c->arg = arg;
    c->max_entries = (uint32_t)max_entries;
    c->max_bytes = max_bytes;
    c->mask = slots - 1;
    c->entries = TG_NEW_ARRAY(struct entry, max_entries);
    c->slots = TG_NEW_ARRAY(uint32_t, slots);
    memset(c->slots, 0xff, slots * sizeof(*c->slots));
    c->free = c->newest = c->oldest = NONE;
    return c;
}

static uint32_t *slot_of(const struct tg_token_cache *c, const uint8_t *digest)
{
    uint32_t bits;

    memcpy(&bits, digest, sizeof(bits));
    return &c->slots[bits & c->mask];
}

static void take_out(struct tg_token_cache *c, const struct entry *e)
{
    *(e->newer == NONE ? &c->newest : &c->entries[e->newer].older) = e->older;
    *(e->older == NONE ? &c->oldest : &c->entries[e->older].newer) = e->newer;
}

static void put_first(struct tg_token_cache *c, uint32_t number)
{
    struct entry *e = &c->entries[number];

    e->newer = NONE;
    e->older = c->newest;
    *(c->newest == NONE ? &c->oldest : &c->entries[c->newest].newer) = number;
    c->newest = number;
}

static void drop(struct tg_token_cache *c, uint32_t number)
{
    struct entry *e = &c->entries[number];
    uint32_t *link = slot_of(c, e->digest);

    while (*link != number)
        link = &c->entries[*link].chain;
    *link = e->chain;
    take_out(c, e);
    tg_identity_unref(e->identity);
    e->identity = NULL;
    c->bytes -= e->bytes;
    c->count--;
    e->chain = c->free;
    c->free = number;
}

void tg_token_cache_free(struct tg_token_cache *c)
{
    if (!c)
        return;
    while (c->newest != NONE)
        drop(c, c->newest);
    free(c->entries);
    free(c->slots);
    free(c);
}

static uint32_t find(const struct tg_token_cache *c, const uint8_t *digest)
{
    uint32_t number = *slot_of(c, digest);

    while (number != NONE && memcmp(c->entries[number].digest, digest, TG_SHA256_LEN) != 0)
        number = c->entries[number].chain;
    return number;
}

const struct tg_identity *tg_token_cache_get(struct tg_token_cache *c, const uint8_t digest[TG_SHA256_LEN],
                                             int64_t now_s, uint64_t **stamp)
{
    uint32_t number = find(c, digest);
    struct entry *e;

    if (number == NONE)
        return NULL;
    e = &c->entries[number];
    if (now_s >= e->until_s || c->generation(c->arg, e->identity) != e->generation) {
        drop(c, number);
        return NULL;
    }
    if (c->newest != number) {
        take_out(c, e);
        put_first(c, number);
    }
    *stamp = &e->stamp;
    return e->identity;
}

void tg_token_cache_put(struct tg_token_cache *c, const uint8_t digest[TG_SHA256_LEN],
                        const struct tg_identity *identity,
                        uint64_t generation, int64_t until_s, size_t bytes)
{
    uint32_t number = find(c, digest);
    uint32_t *slot;
    struct entry *e;

    if (number != NONE)
        drop(c, number);                                 /* may be the last reference but the caller's own */
    if (bytes > c->max_bytes)
        return;
    while (c->count == c->max_entries || c->bytes > c->max_bytes - bytes)
        drop(c, c->oldest);
    number = c->free;
    if (number != NONE)
        c->free = c->entries[number].chain;
    else
        number = c->untouched++;
    e = &c->entries[number];
    slot = slot_of(c, digest);
    memcpy(e->digest, digest, TG_SHA256_LEN);
    e->identity = tg_identity_ref(identity);
    e->generation = generation;
    e->stamp = TG_TOKEN_CACHE_NEW;
    e->until_s = until_s;
    e->bytes = bytes;
    e->chain = *slot;
    *slot = number;
    put_first(c, number);
    c->count++;
    c->bytes += bytes;
}

size_t tg_token_cache_count(const struct tg_token_cache *c)
{
    return c->count;
}
