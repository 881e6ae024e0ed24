/*
 * shard - one bounded table of counters for the whole process: rate limits now, other short-lived facts later.
 *
 * Slots of 16 bytes (64-bit key, 64-bit state) in sets of eight; a key lives in one set. Existing keys are counted
 * without a lock by compare-and-swap; making room takes the set's lock. A state is the end of a window and a count, so
 * an entry of a past window is free to take. When a set is full, the entry with the lowest count goes, never one that
 * has reached its limit; when all have, the newcomer is counted in the set's shared overflow slot. Memory is mapped at
 * once and touched when used. Windows of every length share the table: an entry is in use until its own window ends.
 * Threads: any.
 */
#pragma once
#include "base/buf.h"

struct tg_shard;

struct tg_shard *tg_shard_new(size_t max_keys);          /* rounded up to a power of two, at least 1024 */
void tg_shard_free(struct tg_shard *t);
#define TG_SHARD_WINDOW_MAX_S 86400u
struct tg_shard_window {                                 /* seconds since 1970 (until 2106) */
    uint32_t until_s;                                    /* when the window that now_s is in ends */
    uint32_t length_s; /* 1 .. TG_SHARD_WINDOW_MAX_S, the same at every call for a key */
    uint32_t now_s;
};
/*
 * Counts `cost` for `key` (not 0) in `window` when the count would not pass `limit`. *used: the count after. Returns
 * whether it was counted. cost 0 only looks: true while there is room (*used < limit). A window one behind an entry's
 * is counted in the entry's, for clocks are read before the call. Limits above 2^28 - 2 are taken as that.
 */
bool tg_shard_take(struct tg_shard *t, uint64_t key, const struct tg_shard_window *window, uint32_t limit,
                   uint32_t cost, uint32_t *used);
size_t tg_shard_keys(const struct tg_shard *t);          /* slots in use, about */
