/*
 * map - a hash table from byte strings to pointers, with the per-process seed of base/hash.
 *
 * Keys are copied. Values are borrowed; give `free_value` to have them freed when replaced or when the map goes.
 * Iteration is in insertion order. Threads: one owner; reading in parallel is fine while nobody writes.
 */
#pragma once
#include "base/buf.h"

struct tg_map;

struct tg_map *tg_map_new(void (*free_value)(void *value)); /* free_value may be NULL */
void tg_map_free(struct tg_map *map);                    /* NULL is fine */
void *tg_map_get(const struct tg_map *map, struct tg_slice key); /* NULL: not there */
/* Sets or replaces. Returns true when the key was new. */
bool tg_map_put(struct tg_map *map, struct tg_slice key, void *value);
bool tg_map_del(struct tg_map *map, struct tg_slice key);
size_t tg_map_count(const struct tg_map *map);
/* for (size_t i = 0; tg_map_next(map, &i, &key, &value);) ... */
bool tg_map_next(const struct tg_map *map, size_t *i, struct tg_slice *key, void **value);
