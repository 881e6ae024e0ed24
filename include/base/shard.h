/*
 * shard - one bounded table of counters for the whole process: rate limits, and other short-lived facts.
 *
 * A table is of one of two kinds. Fixed: slots of 16 octets, a count that ends with its window. Sliding: slots of 64
 * octets, eleven counts of a tenth of a window each, so that no span of a window's length ever holds more than the
 * limit. Eight slots are a set, four sets a group; a key lives in its set, or in another of the group when its own was
 * taken. Keys that have a slot are counted without a lock by compare-and-swap; making room takes the group's lock. An
 * entry whose requests count no more is free to take. When a whole group is in use, the entry with the lowest count
 * goes, never one that has reached its limit; when all have, the newcomer is counted together with others like it, by
 * group. A table of three slots a key keeps every one of them. Memory is mapped at once and touched when used. Windows
 * of every length share a table. Threads: any.
 */
#pragma once
#include "base/buf.h"

struct tg_shard;

struct tg_shard *tg_shard_new(size_t slots);             /* fixed; at least 1024 */
struct tg_shard *tg_shard_new_sliding(size_t slots);
void tg_shard_free(struct tg_shard *t);

#define TG_SHARD_WINDOW_MAX_S 86400u
struct tg_shard_window {                                 /* seconds since 1970 */
    uint64_t until_s;                                    /* when the window that now_s is in ends */
    uint32_t length_s;                                   /* .. TG_SHARD_WINDOW_MAX_S, a key's always the same */
    uint64_t now_s;
};
struct tg_shard_count {                                  /* the answer */
    uint32_t used;                                       /* the count after it */
    int64_t reset_ms;                                    /* when there is more to be had; since 1970 */
    /* private, for tg_shard_give */
    void *word;                                          /* NULL: nothing was stored */
    uint64_t mark, step;
    uint32_t length;
    bool together;                                       /* with other newcomers */
};
/*
 * Counts `cost` for `key` (not 0) in `window` when the count would not pass `limit`. Returns whether it was counted.
 * cost 0 only looks: true while there is room (used < limit). A window one behind an entry's, or less than ten seconds,
 * is counted in the entry's, and that one's end told, for clocks are read before the call. Limits above 2^31 - 1 are
 * taken as that.
 */
bool tg_shard_take(struct tg_shard *t, uint64_t key, const struct tg_shard_window *window, uint32_t limit,
                   uint32_t cost, struct tg_shard_count *out);
/*
 * The same for a sliding table: a request counts for the rest of its step, a tenth of length_s, and ten steps more. One
 * that is behind the entry by no more than that, or ten seconds, is counted in the entry's step.
 * Limits above 2^24 - 2 are taken as that. *out says when the oldest counted requests fall out; when refused, when
 * enough have.
 */
bool tg_shard_slide(struct tg_shard *t, uint64_t key, uint32_t length_s, int64_t now_ms, uint32_t limit, uint32_t cost,
                    struct tg_shard_count *out);
/* Gives back what was just counted, when its window still runs; of a slot that changed hands meanwhile nothing. */
void tg_shard_give(struct tg_shard *t, const struct tg_shard_count *taken, uint32_t cost);

struct tg_shard_state {
    size_t keys;                                         /* slots in use, about */
    uint64_t evicted;                                    /* entries in use that went for another's sake */
    uint64_t together;                                   /* requests of newcomers that found every slot blocked */
};
/* Reads a sample of a large table: not for every request. */
void tg_shard_state(const struct tg_shard *t, int64_t now_ms, struct tg_shard_state *out);
