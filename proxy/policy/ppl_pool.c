/*
 * ppl_pool - what the policies of one configuration share: texts, policies read once, units compiled once.
 *
 * A program is a list of units. A route's own rules are one; the small policies that it shares with other routes are
 * one together, made once for each list of them; a large one is a unit of its own. So a unit of many rules is made
 * once whatever number of routes use it, and a route with a thousand small policies asks them all by one look-up.
 */
#include "base/hash.h"
#include "internal.h"

enum { LARGE = 128 };                                    /* values from which on a policy is a unit of its own */

struct tg_ppl_pool *tg_ppl_pool_new(struct tg_arena *arena)
{
    struct tg_ppl_pool *pool = TG_ARENA_NEW(arena, struct tg_ppl_pool);

    pool->arena = arena;
    pool->claim_count = 1;                               /* 0 is not by name: which claim `groups` reads depends */
    return pool;
}

/* ---- texts ---- */
static struct tg_interned *string_place(const struct tg_ppl_pool *pool, struct tg_slice s, uint32_t hash)
{
    for (size_t i = hash & (pool->string_places - 1);; i = (i + 1) & (pool->string_places - 1)) {
        struct tg_interned *place = &pool->strings[i];

        if (!place->text || (place->hash == hash && tg_slice_eq(tg_slice(place->text, place->len), s)))
            return place;
    }
}

static void grow_strings(struct tg_ppl_pool *pool)
{
    struct tg_interned *old = pool->strings;
    size_t places = pool->string_places;

    pool->string_places = places ? places * 2 : 64;
    pool->strings = TG_ARENA_ARRAY(pool->arena, struct tg_interned, pool->string_places);
    for (size_t i = 0; i < places; i++) {
        if (old[i].text)
            *string_place(pool, tg_slice(old[i].text, old[i].len), old[i].hash) = old[i];
    }
}

const char *tg_intern(struct tg_ppl_pool *pool, struct tg_slice s)
{
    uint32_t hash = (uint32_t)tg_hash_slice(s);
    struct tg_interned *place;

    if (2 * (pool->string_count + 1) > pool->string_places)
        grow_strings(pool);
    place = string_place(pool, s, hash);
    if (!place->text) {
        *place = (struct tg_interned){tg_arena_str(pool->arena, s), (uint32_t)s.len, hash};
        pool->string_count++;
    }
    return place->text;
}

/* cJSON does not write to the texts of its nodes. */
static char *copy_text(struct tg_ppl_pool *pool, const char *s)
{
    return s ? (char *)(uintptr_t)tg_intern(pool, tg_slice_str(s)) : NULL;
}

/* As deep as the tree's reader lets documents be. */
cJSON *tg_json_copy(struct tg_ppl_pool *pool, const cJSON *node)
{
    cJSON *copy = TG_ARENA_NEW(pool->arena, cJSON), *last = NULL;
    const cJSON *child;

    copy->type = node->type & 0xff;
    copy->valuestring = copy_text(pool, node->valuestring);
    copy->valueint = node->valueint;
    copy->valuedouble = node->valuedouble;
    copy->string = copy_text(pool, node->string);
    cJSON_ArrayForEach(child, node) {
        cJSON *made = tg_json_copy(pool, child);

        if (last)
            last->next = made;
        else
            copy->child = made;
        made->prev = last;
        last = made;
    }
    if (last)
        copy->child->prev = last;                        /* as cJSON links its lists */
    return copy;
}

uint32_t tg_claim_slot(struct tg_ppl_pool *pool, struct tg_slice name)
{
    for (uint32_t i = 1; i < pool->claim_count; i++) {
        if (tg_slice_eq(pool->claims[i], name))
            return i;
    }
    if (pool->claim_count == TG_SLOTS)
        return TG_SLOTS;
    pool->claims[pool->claim_count] = name;
    return pool->claim_count++;
}

/* ---- units ---- */
static size_t weight_of(const struct tg_rule *rules)
{
    size_t weight = 0;

    for (const struct tg_rule *rule = rules; rule; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list; list = list->next) {
            for (size_t i = 0; i < list->count; i++) {
                weight++;
                for (const cJSON *at = list->items[i].data->child; at; at = at->next)
                    weight += cJSON_IsArray(at) ? (size_t)cJSON_GetArraySize(at) : 1;
            }
        }
    }
    return weight;
}

struct tg_policy *tg_policy_new(struct tg_ppl_pool *pool, const struct tg_source *source)
{
    struct tg_policy *policy = TG_ARENA_NEW(pool->arena, struct tg_policy);

    policy->source = *source;
    policy->weight = weight_of(source->rules);
    policy->reads = tg_rules_read(source->rules, pool->arena);
    return policy;
}

/* It is the pool's: made when it is first needed. */
static const struct tg_unit *unit_of_one(struct tg_ppl_pool *pool, const struct tg_policy *shared)
{
    struct tg_policy *policy = (struct tg_policy *)(uintptr_t)shared;
    const struct tg_source *source = &policy->source;

    if (!policy->unit)
        policy->unit = tg_unit_new(pool->arena, pool, &source, 1);
    return policy->unit;
}

static bool is_of(const struct tg_unit_of *made, const struct tg_source *const *sources, size_t count)
{
    for (size_t i = 0; made->count == count && i < count; i++)
        if (made->policies[i] != sources[i]->shared)
            return false;
    return made->count == count;
}

static struct tg_unit_of **unit_place(const struct tg_ppl_pool *pool, const struct tg_source *const *sources,
                                      size_t count, uint64_t hash)
{
    for (size_t i = hash & (pool->unit_places - 1);; i = (i + 1) & (pool->unit_places - 1)) {
        struct tg_unit_of **place = &pool->units[i];

        if (!*place || ((*place)->hash == hash && sources && is_of(*place, sources, count)))
            return place;
    }
}

static void grow_units(struct tg_ppl_pool *pool)
{
    struct tg_unit_of **old = pool->units;
    size_t places = pool->unit_places;

    pool->unit_places = places ? places * 2 : 16;
    pool->units = TG_ARENA_ARRAY(pool->arena, struct tg_unit_of *, pool->unit_places);
    for (size_t i = 0; i < places; i++)
        if (old[i])
            *unit_place(pool, NULL, 0, old[i]->hash) = old[i];
}

/* Ten thousand routes may have as many different lists of policies. */
static const struct tg_unit *unit_of_several(struct tg_ppl_pool *pool, const struct tg_source *const *sources,
                                             size_t count)
{
    struct tg_unit_of **place, *made;
    uint64_t hash = count;

    for (size_t i = 0; i < count; i++)
        hash = tg_hash2(hash, (uint64_t)(uintptr_t)sources[i]->shared);
    if (2 * (pool->unit_count + 1) > pool->unit_places)
        grow_units(pool);
    place = unit_place(pool, sources, count, hash);
    if (*place)
        return (*place)->unit;
    made = TG_ARENA_NEW(pool->arena, struct tg_unit_of);
    made->policies = TG_ARENA_ARRAY(pool->arena, const struct tg_policy *, count);
    made->count = count;
    made->hash = hash;
    for (size_t i = 0; i < count; i++)
        made->policies[i] = sources[i]->shared;
    made->unit = tg_unit_new(pool->arena, pool, sources, count);
    *place = made;
    pool->unit_count++;
    return made->unit;
}

/* ---- programs ---- */
struct linking {
    struct tg_arena *arena;
    struct tg_ppl_pool *pool;
    const struct tg_source **picked;                     /* room for all */
    struct tg_unit_use *units;
    size_t unit_count;
};

enum kind { OWN, SMALL, BIG };

static enum kind kind_of(const struct tg_source *source)
{
    return !source->shared ? OWN : source->shared->weight < LARGE ? SMALL : BIG;
}

static void use(struct linking *l, const struct tg_unit *unit, size_t count)
{
    int *owners = TG_ARENA_ARRAY(l->arena, int, count);

    for (size_t i = 0; i < count; i++)
        owners[i] = l->picked[i]->index;
    l->units[l->unit_count++] = (struct tg_unit_use){unit, owners};
}

/* Those that verdicts do not name come last, so that a lesser owner is an earlier policy of those that have a name. */
static size_t pick(struct linking *l, const struct tg_source *sources, enum kind kind)
{
    size_t count = 0;

    for (int unnamed = 0; unnamed < 2; unnamed++) {
        for (const struct tg_source *s = sources; s; s = s->next) {
            if (kind_of(s) == kind && (s->index < 0) == unnamed)
                l->picked[count++] = s;
        }
    }
    return count;
}

static bool has_allow(const struct tg_source *source)
{
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        if (!rule->deny && rule->lists)
            return true;
    }
    return false;
}

static void link_units(struct linking *l, const struct tg_source *sources)
{
    size_t count = pick(l, sources, OWN);

    if (count > 0)
        use(l, tg_unit_new(l->arena, l->pool, l->picked, count), count);
    count = pick(l, sources, SMALL);
    if (count > 0)
        use(l, unit_of_several(l->pool, l->picked, count), count);
    for (const struct tg_source *s = sources; s; s = s->next) {
        if (kind_of(s) == BIG) {
            l->picked[0] = s;
            use(l, unit_of_one(l->pool, s->shared), 1);
        }
    }
}

const struct tg_program *tg_compile(struct tg_arena *arena, struct tg_ppl_pool *pool, const struct tg_source *sources)
{
    struct tg_program *program = TG_ARENA_NEW(arena, struct tg_program);
    struct linking l = {.arena = arena, .pool = pool};
    struct tg_part *parts;
    size_t count = 0;

    for (const struct tg_source *s = sources; s; s = s->next)
        count++;
    parts = TG_ARENA_ARRAY(arena, struct tg_part, count);
    l.picked = TG_ARENA_ARRAY(arena, const struct tg_source *, count);
    l.units = TG_ARENA_ARRAY(arena, struct tg_unit_use, count);
    program->refuser = -1;
    for (const struct tg_source *s = sources; s; s = s->next) {
        parts[program->part_count++].source = s;
        if (program->refuser < 0 && has_allow(s))
            program->refuser = s->index;
    }
    link_units(&l, sources);
    program->parts = parts;
    program->units = l.units;
    program->unit_count = l.unit_count;
    return program;
}
