/*
 * map - entries in the order they came, and an open table of their numbers.
 *
 * A deleted entry stays as a hole until the next growth, so numbers stay true and deleting while iterating is safe.
 */
#include "base/map.h"
#include "base/err.h"
#include "base/hash.h"
#include <stdlib.h>

#define FREE 0u                                          /* in the table: never used */
#define MIN_SLOTS 16

struct entry {
    char *key;                                           /* NULL: a hole */
    size_t key_len;
    uint64_t hash;
    void *value;
};
struct tg_map {
    void (*free_value)(void *value);
    struct entry *entries;
    size_t used, live, cap;                              /* used counts holes; cap: of entries, 3/4 of the slots */
    uint32_t *table;                                     /* number of an entry + 1, linear probing */
    size_t slots;                                        /* a power of two, or 0 */
};

struct tg_map *tg_map_new(void (*free_value)(void *value))
{
    struct tg_map *map = TG_NEW(struct tg_map);

    map->free_value = free_value;
    return map;
}

static void drop_value(const struct tg_map *map, void *value)
{
    if (map->free_value && value)
        map->free_value(value);
}

void tg_map_free(struct tg_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->used; i++) {
        if (!map->entries[i].key)
            continue;
        drop_value(map, map->entries[i].value);
        free(map->entries[i].key);
    }
    free(map->entries);
    free(map->table);
    free(map);
}

static struct entry *find(const struct tg_map *map, struct tg_slice key, uint64_t hash)
{
    if (map->live == 0)
        return NULL;
    for (size_t i = hash & (map->slots - 1); map->table[i] != FREE; i = (i + 1) & (map->slots - 1)) {
        struct entry *e = &map->entries[map->table[i] - 1];

        if (e->key && e->hash == hash && tg_slice_eq(tg_slice(e->key, e->key_len), key))
            return e;
    }
    return NULL;
}

static void enter(struct tg_map *map, size_t number)
{
    size_t i = map->entries[number].hash & (map->slots - 1);

    while (map->table[i] != FREE)
        i = (i + 1) & (map->slots - 1);
    map->table[i] = (uint32_t)(number + 1);
}

/* Closes the holes and makes room for half as many again. */
static void rebuild(struct tg_map *map)
{
    size_t slots = MIN_SLOTS, n = 0;

    while (slots / 2 < map->live + 1)
        slots *= 2;
    tg_assert(slots <= UINT32_MAX);
    for (size_t i = 0; i < map->used; i++)
        if (map->entries[i].key)
            map->entries[n++] = map->entries[i];
    map->used = n;
    map->slots = slots;
    map->cap = slots / 4 * 3;
    map->entries = tg_realloc(map->entries, map->cap * sizeof(*map->entries));
    free(map->table);
    map->table = TG_NEW_ARRAY(uint32_t, slots);
    for (size_t i = 0; i < n; i++)
        enter(map, i);
}

void *tg_map_get(const struct tg_map *map, struct tg_slice key)
{
    const struct entry *e = map->live ? find(map, key, tg_hash_slice(key)) : NULL;

    return e ? e->value : NULL;
}

bool tg_map_put(struct tg_map *map, struct tg_slice key, void *value)
{
    uint64_t hash = tg_hash_slice(key);
    struct entry *e = find(map, key, hash);

    if (e) {
        if (e->value != value)
            drop_value(map, e->value);
        e->value = value;
        return false;
    }
    if (map->used == map->cap)
        rebuild(map);
    map->entries[map->used] = (struct entry){tg_slice_dup(key), key.len, hash, value};
    enter(map, map->used++);
    map->live++;
    return true;
}

bool tg_map_del(struct tg_map *map, struct tg_slice key)
{
    struct entry *e = find(map, key, tg_hash_slice(key));

    if (!e)
        return false;
    free(e->key);
    e->key = NULL;
    drop_value(map, e->value);
    e->value = NULL;
    map->live--;
    return true;
}

size_t tg_map_count(const struct tg_map *map)
{
    return map->live;
}

bool tg_map_next(const struct tg_map *map, size_t *i, struct tg_slice *key, void **value)
{
    while (*i < map->used) {
        const struct entry *e = &map->entries[(*i)++];

        if (!e->key)
            continue;
        *key = tg_slice(e->key, e->key_len);
        *value = e->value;
        return true;
    }
    return false;
}
