/*
 * lint_hash - values and criteria as numbers, so that 100,000 of them are compared in one pass.
 */
#include "base/hash.h"
#include "base/json.h"
#include "lint.h"
#include <stdlib.h>

uint64_t lint_hash_text(struct tg_slice text) { return lint_mix(cJSON_String, tg_hash_slice(text)); }

uint64_t lint_hash_value(const cJSON *value)
{
    uint64_t type = (uint64_t)(value->type & 0xff), hash = 0;
    const cJSON *child;

    if (cJSON_IsString(value))
        return lint_hash_text(tg_slice_str(value->valuestring));
    if (cJSON_IsNumber(value) && value->valuestring)     /* one kept by its literal */
        return lint_mix(type, tg_hash_slice(tg_slice_str(value->valuestring)));
    if (cJSON_IsNumber(value)) {
        double number = value->valuedouble + 0.0;        /* -0.0 becomes 0.0 */

        memcpy(&hash, &number, sizeof(hash));
        return tg_hash2(type, hash);
    }
    cJSON_ArrayForEach(child, value) {
        if (cJSON_IsObject(value))                       /* in any order */
            hash += lint_mix(tg_hash_slice(tg_slice_str(child->string)), lint_hash_value(child));
        else
            hash = lint_mix(hash + 1, lint_hash_value(child));
    }
    return lint_mix(type, hash);
}

uint64_t lint_subject(const struct tg_criterion *row, struct tg_slice name)
{
    uint64_t hash = (uint64_t)(uintptr_t)row;            /* there is one of each */

    return name.len > 0 ? lint_mix(hash, tg_hash_slice(name)) : lint_mix(hash, 0);
}

static uint64_t hash_op(const struct tg_raw_op *op)
{
    const cJSON *element;
    uint64_t hash = 0;

    if (!op->each)
        hash = lint_hash_value(op->values);
    else
        cJSON_ArrayForEach(element, op->values)
            hash += lint_hash_value(element);
    return lint_mix(((uint64_t)op->kind + 1) << 8 | (uint64_t)op->part, hash); /* never 0: {in: []} is not {} */
}

uint64_t lint_hash_item(const struct tg_rule_item *item)
{
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t count = tg_matcher_read(item->row->shape, item->data, ops);
    uint64_t hash = 0;

    for (size_t i = 0; i < count; i++)
        hash += hash_op(&ops[i]);
    return lint_mix(lint_subject(item->row, item->name), hash);
}

/* ---- the table ---- */

static size_t place_of(const struct lint_keys *keys, uint64_t key)
{
    size_t i = key & (keys->cap - 1);

    while (keys->places[i].value && keys->places[i].key != key)
        i = (i + 1) & (keys->cap - 1);
    return i;
}

static void grow(struct lint_keys *keys)
{
    struct lint_keys larger = {.cap = keys->cap ? keys->cap * 2 : 64, .count = keys->count};

    larger.places = tg_alloc(larger.cap * sizeof(*larger.places));
    for (size_t i = 0; i < keys->cap; i++) {
        if (keys->places[i].value)
            larger.places[place_of(&larger, keys->places[i].key)] = keys->places[i];
    }
    free(keys->places);
    *keys = larger;
}

uint32_t lint_keys_put(struct lint_keys *keys, uint64_t key, uint32_t value)
{
    size_t place;

    tg_assert(value > 0);
    if (keys->count * 2 >= keys->cap)
        grow(keys);
    place = place_of(keys, key);
    if (keys->places[place].value)
        return keys->places[place].value;
    keys->places[place].key = key;
    keys->places[place].value = value;
    keys->count++;
    return 0;
}

uint32_t lint_keys_get(const struct lint_keys *keys, uint64_t key)
{
    return keys->cap ? keys->places[place_of(keys, key)].value : 0;
}

void lint_keys_fini(struct lint_keys *keys)
{
    free(keys->places);
    *keys = (struct lint_keys){0};
}
