/*
 * sets - what a matcher compares with: hashed sets of JSON values, sorted ranges of addresses.
 *
 * A short set is compared one by one, a longer one is an open-addressing table at most half full, so that a list of
 * 10,000 costs as much as one of 10. Equal values have equal hashes: strings by their bytes, numbers by their double
 * (5 and 5.0 are the same), the rest by type and number of members.
 */
#include "base/hash.h"
#include "base/json.h"
#include "internal.h"
#include <stdlib.h>

#define SHORT_SET 4

static uint64_t hash_number(double d)
{
    uint64_t bits;

    d += 0.0;                                            /* -0.0 becomes 0.0 */
    memcpy(&bits, &d, sizeof(bits));
    return tg_hash2(cJSON_Number, bits);
}

static uint64_t hash_json(const cJSON *v)
{
    if (cJSON_IsNumber(v))
        return hash_number(v->valuedouble);
    if (cJSON_IsArray(v) || cJSON_IsObject(v))
        return tg_hash2((uint64_t)(v->type & 0xff), (uint64_t)cJSON_GetArraySize(v));
    return tg_hash2((uint64_t)(v->type & 0xff), 0);
}

struct tg_set *tg_set_new(struct tg_arena *arena, size_t max)
{
    struct tg_set *set = TG_ARENA_NEW(arena, struct tg_set);
    size_t places = SHORT_SET;

    if (max > SHORT_SET) {
        while (places < 2 * max)
            places *= 2;
        set->mask = places - 1;
    }
    set->items = TG_ARENA_ARRAY(arena, struct tg_set_item, places);
    return set;
}

static bool same(const struct tg_set_item *item, uint64_t hash, struct tg_slice str, const cJSON *json)
{
    if (item->hash != hash || !item->str.ptr != !str.ptr)
        return false;
    return str.ptr ? tg_slice_eq(item->str, str) : tg_json_eq(item->json, json);
}

/* The item that equals, or the free place where it would be; NULL: not there and no room. */
static struct tg_set_item *find(const struct tg_set *set, uint64_t hash, struct tg_slice str, const cJSON *json)
{
    if (set->mask == 0) {
        for (size_t i = 0; i < SHORT_SET; i++) {
            if (!set->items[i].json || same(&set->items[i], hash, str, json))
                return &set->items[i];
        }
        return NULL;
    }
    for (size_t i = hash & set->mask;; i = (i + 1) & set->mask) {
        if (!set->items[i].json || same(&set->items[i], hash, str, json))
            return &set->items[i];
    }
}

void tg_set_add(struct tg_set *set, const cJSON *value)
{
    struct tg_slice str = {NULL, 0};
    uint64_t hash = tg_json_str(value, &str) ? tg_hash_slice(str) : hash_json(value);
    struct tg_set_item *item = find(set, hash, str, value);

    tg_assert(item);
    if (!item->json) {
        *item = (struct tg_set_item){hash, str, value};
        set->count++;
    }
}

bool tg_set_has_text(const struct tg_set *set, struct tg_text *text)
{
    struct tg_slice s = text->s.ptr ? text->s : TG_S("");

    if (set->mask == 0) {                                /* comparing a few is cheaper than hashing */
        for (size_t i = 0; i < set->count; i++) {
            if (set->items[i].str.ptr && tg_slice_eq(set->items[i].str, s))
                return true;
        }
        return false;
    }
    if (!text->hashed) {
        text->hash = tg_hash_slice(s);
        text->hashed = true;
    }
    return find(set, text->hash, s, NULL)->json != NULL;
}

bool tg_set_has_value(const struct tg_set *set, const struct tg_claim_value *value)
{
    const struct tg_set_item *item =
        find(set, value->str.ptr ? value->hash : hash_json(value->json), value->str, value->json);

    return item && item->json;
}

/* ---- addresses ---- */
static int compare4(const void *a, const void *b)
{
    const struct tg_range4 *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static int compare6(const void *a, const void *b)
{
    return memcmp(((const struct tg_range6 *)a)->first, ((const struct tg_range6 *)b)->first, 16);
}

static uint32_t number4(const uint8_t bytes[static 4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void add_block(struct tg_ranges *r, const struct tg_cidr *c)
{
    if (c->ip.family == 4) {
        struct tg_range4 *range = &r->v4[r->count4++];

        range->first = number4(c->ip.bytes);
        range->last = c->bits == 0 ? UINT32_MAX : range->first | (uint32_t)(((uint64_t)1 << (32 - c->bits)) - 1);
        return;
    }
    struct tg_range6 *range = &r->v6[r->count6++];

    memcpy(range->first, c->ip.bytes, 16);
    memcpy(range->last, c->ip.bytes, 16);
    for (unsigned bit = c->bits; bit < 128; bit++)
        range->last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
}

/* Blocks nest or are apart, they never cross: the later of two is within the earlier, or begins after it. */
static void drop_nested(struct tg_ranges *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->count4; i++) {
        if (kept == 0 || r->v4[i].first > r->v4[kept - 1].last)
            r->v4[kept++] = r->v4[i];
        else if (r->v4[i].last > r->v4[kept - 1].last)
            r->v4[kept - 1].last = r->v4[i].last;
    }
    r->count4 = kept;
    kept = 0;
    for (size_t i = 0; i < r->count6; i++) {
        if (kept == 0 || memcmp(r->v6[i].first, r->v6[kept - 1].last, 16) > 0)
            r->v6[kept++] = r->v6[i];
        else if (memcmp(r->v6[i].last, r->v6[kept - 1].last, 16) > 0)
            memcpy(r->v6[kept - 1].last, r->v6[i].last, 16);
    }
    r->count6 = kept;
}

struct tg_ranges *tg_ranges_new(struct tg_arena *arena, const struct tg_cidr *blocks, size_t count)
{
    struct tg_ranges *r = TG_ARENA_NEW(arena, struct tg_ranges);
    size_t count4 = 0;

    for (size_t i = 0; i < count; i++)
        count4 += blocks[i].ip.family == 4;
    r->v4 = TG_ARENA_ARRAY(arena, struct tg_range4, count4);
    r->v6 = TG_ARENA_ARRAY(arena, struct tg_range6, count - count4);
    for (size_t i = 0; i < count; i++)
        add_block(r, &blocks[i]);
    if (r->count4 > 1)
        qsort(r->v4, r->count4, sizeof(*r->v4), compare4);
    if (r->count6 > 1)
        qsort(r->v6, r->count6, sizeof(*r->v6), compare6);
    drop_nested(r);
    return r;
}

bool tg_ranges_hold(const struct tg_ranges *r, const struct tg_ip *ip)
{
    size_t low = 0, high = ip->family == 4 ? r->count4 : ip->family == 6 ? r->count6 : 0;
    uint32_t address = number4(ip->bytes);

    while (low < high) {                                 /* the last range that does not begin after the address */
        size_t middle = low + (high - low) / 2;
        bool after = ip->family == 4 ? r->v4[middle].first > address : memcmp(r->v6[middle].first, ip->bytes, 16) > 0;

        if (after)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == 0)
        return false;
    return ip->family == 4 ? address <= r->v4[low - 1].last : memcmp(ip->bytes, r->v6[low - 1].last, 16) <= 0;
}
