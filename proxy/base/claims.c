/*
 * claims - one pass that counts, one that fills; then an open-addressed table that is only read.
 *
 * Everything is one block of memory: the JSON tree is copied into it and given back. A cached identity is then small,
 * close together, and gone with one free; thousands of them come and go where callers bring ever new tokens. Names that
 * flattening puts together are copied, and a peer could make them long (a long name above many members), so their sum
 * is bounded. Top-level claims go in first, which is how the exact name wins over a flattened one; of two flattened
 * ones the first in the document stays.
 */
#include "base/claims.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/json.h"
#include <stdlib.h>

enum { MAX_NAME_BYTES = 1 << 20 };

struct tg_claims {
    cJSON *object;                                       /* in the block, so never cJSON_Delete'd */
    struct tg_arena arena;                               /* the block behind this struct */
    size_t bytes;                                        /* of the block */
    struct tg_claim *claims;
    size_t count;
    uint32_t *slots;                                     /* index + 1 into claims, 0: free */
    size_t mask;
};

struct sizes {
    size_t claims, values;
    size_t name_bytes;                                   /* of joined names */
    size_t nodes, text;                                  /* of the tree; text with its NULs */
};

static size_t child_count(const cJSON *node)
{
    size_t n = 0;

    for (const cJSON *child = node->child; child; child = child->next)
        n++;
    return n;
}

static void measure(const cJSON *object, size_t prefix, struct sizes *sizes)
{
    for (const cJSON *member = object->child; member; member = member->next) {
        size_t len = prefix + strlen(member->string);

        if (cJSON_IsObject(member)) {
            measure(member, len + 1, sizes);
        } else {
            sizes->claims++;
            sizes->values += cJSON_IsArray(member) ? child_count(member) : 1;
            if (prefix > 0)
                sizes->name_bytes += len;
        }
    }
}

/* ---- the tree, copied into the block ---- */

static void measure_tree(const cJSON *node, struct sizes *sizes)
{
    for (; node; node = node->next) {
        sizes->nodes++;
        sizes->text +=
            (node->string ? strlen(node->string) + 1 : 0) + (node->valuestring ? strlen(node->valuestring) + 1 : 0);
        measure_tree(node->child, sizes);                /* depth is bounded by base/json */
    }
}

struct copying {
    cJSON *node;                                         /* the next free one */
    char *text;
};

static char *copy_text(struct copying *to, const char *text)
{
    size_t len;
    char *copy = to->text;

    if (!text)
        return NULL;
    len = strlen(text) + 1;
    memcpy(copy, text, len);
    to->text += len;
    return copy;
}

/* A list of siblings; the first one's prev is the last, as cJSON has it. */
static cJSON *copy_list(struct copying *to, const cJSON *from)
{
    cJSON *first = NULL, *last = NULL;

    for (; from; from = from->next) {
        cJSON *node = to->node++;

        *node = *from;
        node->string = copy_text(to, from->string);
        node->valuestring = copy_text(to, from->valuestring);
        node->child = copy_list(to, from->child);
        node->prev = last;
        node->next = NULL;
        if (last)
            last->next = node;
        else
            first = node;
        last = node;
    }
    if (first)
        first->prev = last;
    return first;
}

static cJSON *copy_tree(struct tg_arena *arena, const cJSON *object, const struct sizes *sizes)
{
    struct copying to = {.node = tg_arena_raw(arena, sizes->nodes * sizeof(cJSON)),
                         .text = tg_arena_raw(arena, sizes->text)};

    return copy_list(&to, object);
}

/* ---- the table ---- */

/* The slot of `name`, or the free one where it belongs. */
static uint32_t *slot_of(const struct tg_claims *c, struct tg_slice name, uint64_t hash)
{
    for (size_t i = hash & c->mask;; i = (i + 1) & c->mask) {
        const struct tg_claim *claim;

        if (c->slots[i] == 0)
            return &c->slots[i];
        claim = &c->claims[c->slots[i] - 1];
        if (claim->hash == hash && tg_slice_eq(claim->name, name))
            return &c->slots[i];
    }
}

static void set_value(struct tg_claim_value *value, const cJSON *json)
{
    value->json = json;
    if (tg_json_str(json, &value->str))
        value->hash = tg_hash_slice(value->str);
}

static void add_claim(struct tg_claims *c, struct tg_slice name, const cJSON *member)
{
    uint64_t hash = tg_hash_slice(name);
    uint32_t *slot = slot_of(c, name, hash);
    size_t count = cJSON_IsArray(member) ? child_count(member) : 1, i = 0;
    struct tg_claim_value *values;

    if (*slot != 0)
        return;
    values = TG_ARENA_ARRAY(&c->arena, struct tg_claim_value, count);
    if (cJSON_IsArray(member)) {
        for (const cJSON *element = member->child; element; element = element->next)
            set_value(&values[i++], element);
    } else {
        set_value(values, member);
    }
    c->claims[c->count++] = (struct tg_claim){.name = name, .hash = hash, .values = values, .count = count};
    *slot = (uint32_t)c->count;
}

/* `prefix` holds the dotted way to `object`, with its last dot; it is as before when this returns. */
static void add_nested(struct tg_claims *c, const cJSON *object, struct tg_buf *prefix)
{
    size_t len = prefix->len;

    for (const cJSON *member = object->child; member; member = member->next) {
        if (len == 0 && !cJSON_IsObject(member))
            continue;                                    /* top-level ones are in already */
        tg_buf_adds(prefix, member->string);
        if (cJSON_IsObject(member)) {
            tg_buf_addc(prefix, '.');
            add_nested(c, member, prefix);
        } else {
            add_claim(c, tg_arena_dup(&c->arena, tg_buf_slice(prefix)), member);
        }
        prefix->len = len;
    }
}

/* Room for everything, each piece rounded up as the arena does; an estimate that is never short by much costs nothing.
 */
static size_t block_size(const struct sizes *sizes, size_t slots)
{
    size_t pieces = 4 + 2 * sizes->claims;

    return sizes->nodes * sizeof(cJSON) + sizes->text + sizes->claims * sizeof(struct tg_claim) +
           sizes->values * sizeof(struct tg_claim_value) + sizes->name_bytes + slots * sizeof(uint32_t) + pieces * 16;
}

struct tg_claims *tg_claims_new(cJSON *object)
{
    struct sizes sizes = {0};
    struct tg_buf prefix = {0};
    struct tg_claims *c;
    size_t slots = 8;

    if (!cJSON_IsObject(object)) {
        cJSON_Delete(object);
        return NULL;
    }
    measure(object, 0, &sizes);
    measure_tree(object, &sizes);
    if (sizes.name_bytes > MAX_NAME_BYTES || sizes.claims > UINT32_MAX / 4) {
        cJSON_Delete(object);
        return NULL;
    }
    while (slots < sizes.claims * 2)
        slots *= 2;
    size_t head = (sizeof(*c) + 15) & ~(size_t)15;
    size_t body = block_size(&sizes, slots);

    c = tg_alloc(head + body);
    tg_arena_init(&c->arena, (char *)c + head, body);
    c->bytes = head + body;
    c->object = copy_tree(&c->arena, object, &sizes);
    cJSON_Delete(object);
    object = c->object;
    c->claims = TG_ARENA_ARRAY(&c->arena, struct tg_claim, sizes.claims);
    c->slots = TG_ARENA_ARRAY(&c->arena, uint32_t, slots);
    c->mask = slots - 1;
    for (const cJSON *member = object->child; member; member = member->next)
        if (!cJSON_IsObject(member))
            add_claim(c, tg_slice_str(member->string), member);
    add_nested(c, object, &prefix);
    tg_buf_fini(&prefix);
    return c;
}

void tg_claims_free(struct tg_claims *claims)
{
    if (!claims)
        return;
    tg_arena_fini(&claims->arena);
    free(claims);
}

const struct tg_claim *tg_claims_get(const struct tg_claims *claims, struct tg_slice name, uint64_t hash)
{
    uint32_t slot;

    if (!claims)
        return NULL;
    slot = *slot_of(claims, name, hash);
    return slot == 0 ? NULL : &claims->claims[slot - 1];
}

struct tg_slice tg_claims_text(const struct tg_claims *claims, const char *name)
{
    struct tg_slice s = tg_slice_str(name);
    const struct tg_claim *claim = tg_claims_get(claims, s, tg_hash_slice(s));

    return claim && claim->count == 1 ? claim->values[0].str : (struct tg_slice){0};
}

size_t tg_claims_bytes(const struct tg_claims *claims) { return claims ? claims->bytes : 0; }

const cJSON *tg_claims_json(const struct tg_claims *claims) { return claims ? claims->object : NULL; }

void tg_claims_join(const struct tg_claim *claim, struct tg_buf *out)
{
    bool first = true;

    for (size_t i = 0; claim && i < claim->count; i++) {
        const struct tg_claim_value *value = &claim->values[i];

        if (!value->str.ptr && !cJSON_IsNumber(value->json) && !cJSON_IsBool(value->json))
            continue;
        if (!first)
            tg_buf_addc(out, ',');
        first = false;
        if (value->str.ptr)
            tg_buf_add_slice(out, value->str);
        else
            tg_json_print(out, value->json);
    }
}
