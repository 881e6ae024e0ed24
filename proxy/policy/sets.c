/*
 * sets - what a matcher compares with: hashed sets of JSON values, sorted sets of beginnings or endings of a text.
 *
 * A short set is compared one by one, a longer one is an open-addressing table at most half full, so that a list of
 * 100,000 costs as much as one of 10. Equal values have equal hashes: strings by their bytes, numbers by their double
 * (5 and 5.0 are the same), lists by their elements in order, objects by their members in any order.
 */
#include "base/hash.h"
#include "base/json.h"
#include "internal.h"

#define SHORT_SET 4

/* ---- values ---- */
static uint64_t hash_number(double d)
{
    uint64_t bits;

    d += 0.0;                                            /* -0.0 becomes 0.0 */
    memcpy(&bits, &d, sizeof(bits));
    return tg_hash2(cJSON_Number, bits);
}

/* As deep as the readers of JSON let values be. */
uint64_t tg_value_hash(const cJSON *v)
{
    uint64_t sum = (uint64_t)(v->type & 0xff);
    const cJSON *child;

    if (cJSON_IsString(v))
        return tg_hash(v->valuestring, strlen(v->valuestring));
    if (cJSON_IsNumber(v))
        return hash_number(v->valuedouble);
    cJSON_ArrayForEach(child, v) {
        if (cJSON_IsObject(v))
            sum += tg_hash2(tg_hash(child->string, strlen(child->string)), tg_value_hash(child));
        else
            sum = tg_hash2(sum, tg_value_hash(child));
    }
    return tg_hash2(sum, cJSON_IsObject(v));
}

/* The member of that name, looked for from `at` on and then from the start: members mostly come in the same order. */
static const cJSON *member_from(const cJSON *object, const cJSON *at, const char *name)
{
    const cJSON *start = at ? at : object->child, *m = start;

    if (!start)
        return NULL;
    do {
        if (strcmp(m->string, name) == 0)
            return m;
        m = m->next ? m->next : object->child;
    } while (m != start);
    return NULL;
}

/* As tg_json_eq, but without memory of its own: this runs while a request is decided. */
static bool equal(const cJSON *a, const cJSON *b)
{
    const cJSON *x, *y = b->child;

    if ((a->type & 0xff) != (b->type & 0xff))
        return false;
    if (!cJSON_IsObject(a) && !cJSON_IsArray(a))
        return tg_json_eq(a, b);
    if (cJSON_IsArray(a)) {
        for (x = a->child; x && y && equal(x, y); x = x->next)
            y = y->next;
        return !x && !y;
    }
    if (cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    for (x = a->child; x; x = x->next, y = y->next) {    /* names are unique, and there are as many on both sides */
        y = member_from(b, y, x->string);
        if (!y || !equal(x, y))
            return false;
    }
    return true;
}

/* ---- sets ---- */
struct tg_set *tg_set_new(struct tg_arena *arena, size_t max)
{
    struct tg_set *set = TG_ARENA_NEW(arena, struct tg_set);
    size_t places = SHORT_SET;

    tg_assert(max < UINT32_MAX / 4);
    if (max > SHORT_SET) {
        while (places < 2 * max)
            places *= 2;
        set->mask = (uint32_t)(places - 1);
    }
    set->items = TG_ARENA_ARRAY(arena, struct tg_set_item, places);
    return set;
}

static inline bool is_text(const struct tg_set_item *item, uint64_t hash, struct tg_slice s)
{
    return item->hash == hash && item->len == s.len && memcmp(item->value, s.ptr, s.len) == 0;
}

/* The item of that text, or the free place where it would be; NULL: a short set without it is full. */
static struct tg_set_item *find_text(const struct tg_set *set, uint64_t hash, struct tg_slice s)
{
    size_t i = hash & set->mask;

    for (size_t tried = 0; set->mask || tried < SHORT_SET; tried++) {
        struct tg_set_item *item = &set->items[i];

        if (!item->value || is_text(item, hash, s))
            return item;
        i = set->mask ? (i + 1) & set->mask : i + 1;
    }
    return NULL;
}

static struct tg_set_item *find_json(const struct tg_set *set, uint64_t hash, const cJSON *json)
{
    size_t i = hash & set->mask;

    for (size_t tried = 0; set->mask || tried < SHORT_SET; tried++) {
        struct tg_set_item *item = &set->items[i];

        if (!item->value || (item->hash == hash && item->len == TG_NOT_TEXT && equal(item->value, json)))
            return item;
        i = set->mask ? (i + 1) & set->mask : i + 1;
    }
    return NULL;
}

static struct tg_set_item *keep(struct tg_set *set, struct tg_set_item *place, const struct tg_set_item *item)
{
    tg_assert(place);                                    /* no more than tg_set_new was told */
    if (!place->value) {
        *place = *item;
        set->count++;
    } else if (item->owner < place->owner) {
        place->owner = item->owner;
    }
    return place;
}

void tg_set_add(struct tg_set *set, const cJSON *value, uint32_t owner)
{
    struct tg_set_item item = {.hash = tg_value_hash(value), .value = value, .len = TG_NOT_TEXT, .owner = owner};
    struct tg_slice s;

    if (!cJSON_IsString(value)) {
        keep(set, find_json(set, item.hash, value), &item);
        return;
    }
    s = tg_slice_str(value->valuestring);
    item.value = s.ptr;
    item.len = (uint32_t)s.len;
    keep(set, find_text(set, item.hash, s), &item);
}

struct tg_set_item *tg_set_put(struct tg_set *set, const struct tg_set_item *item)
{
    if (item->len == TG_NOT_TEXT)
        return keep(set, find_json(set, item->hash, item->value), item);
    return keep(set, find_text(set, item->hash, tg_slice(item->value, item->len)), item);
}

const struct tg_set_item *tg_set_find_text(const struct tg_set *set, struct tg_text *text)
{
    struct tg_slice s = text->s.ptr ? text->s : TG_S("");
    const struct tg_set_item *item;

    if (set->mask == 0) {                                /* comparing a few is cheaper than hashing */
        for (size_t i = 0; i < set->count; i++) {
            item = &set->items[i];
            if (item->len == s.len && memcmp(item->value, s.ptr, s.len) == 0)
                return item;
        }
        return NULL;
    }
    if (!text->hashed) {
        text->hash = tg_hash_slice(s);
        text->hashed = true;
    }
    item = find_text(set, text->hash, s);
    return item->value ? item : NULL;
}

const struct tg_set_item *tg_set_find_value(const struct tg_set *set, const struct tg_claim_value *value)
{
    const struct tg_set_item *item = value->str.ptr ? find_text(set, value->hash, value->str)
                                                    : find_json(set, tg_value_hash(value->json), value->json);

    return item && item->value ? item : NULL;
}

/* ---- beginnings and endings ---- */
/* The order of texts read from their start or, `ends`, from their end. */
static int order(struct tg_slice a, struct tg_slice b, bool ends)
{
    size_t common = a.len < b.len ? a.len : b.len;

    if (!ends)
        return tg_slice_cmp(a, b);
    for (size_t i = 1; i <= common; i++) {
        unsigned char x = (unsigned char)a.ptr[a.len - i], y = (unsigned char)b.ptr[b.len - i];

        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

static bool has(struct tg_slice text, struct tg_slice affix, bool ends)
{
    return ends ? tg_slice_ends_with(text, affix) : tg_slice_starts_with(text, affix);
}

static int by_order(const void *a, const void *b, void *ends)
{
    const struct tg_affix *x = a, *y = b;
    int c = order(x->text, y->text, *(const bool *)ends);

    return c != 0 ? c : x->owner < y->owner ? -1 : x->owner > y->owner;
}

/* One within another of no greater owner makes no difference. So of those that a text has the longest has the least. */
const struct tg_affixes *tg_affixes_new(struct tg_arena *arena, struct tg_affix *items, size_t count, bool ends,
                                        bool all)
{
    struct tg_affixes *set = TG_ARENA_NEW(arena, struct tg_affixes);
    uint32_t outer = 0;                                  /* number + 1 of the longest that the next may be within */

    qsort_r(items, count, sizeof(*items), by_order, &ends);
    set->items = items;
    set->ends = ends;
    for (size_t i = 0; i < count; i++) {
        while (outer > 0 && !has(items[i].text, items[outer - 1].text, ends))
            outer = items[outer - 1].outer;
        if (outer > 0 && !all && items[outer - 1].owner <= items[i].owner)
            continue;
        items[set->count] = items[i];
        items[set->count].outer = outer;
        outer = ++set->count;
    }
    return set;
}

const struct tg_affix *tg_affixes_find(const struct tg_affixes *set, struct tg_slice text)
{
    uint32_t low = 0, high = set->count;

    while (low < high) {                                 /* how many do not come after the text */
        uint32_t middle = low + (high - low) / 2;

        if (order(set->items[middle].text, text, set->ends) > 0)
            high = middle;
        else
            low = middle + 1;
    }
    while (low > 0 && !has(text, set->items[low - 1].text, set->ends))
        low = set->items[low - 1].outer;
    return low > 0 ? &set->items[low - 1] : NULL;
}
