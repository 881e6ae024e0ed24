/*
 * ppl_ops - values as written become the operator of a test: a hashed set, a prefix tree, a sorted set of beginnings.
 *
 * The values may come from several criteria that are asked as one. Time and memory are linear in them, up to a
 * logarithm.
 */
#include "internal.h"
#include <stdlib.h>

/* What `values` stand for: themselves, or their elements. */
static const cJSON *first_of(const struct tg_values *v) { return v->op.each ? v->op.values->child : v->op.values; }
static const cJSON *next_of(const struct tg_values *v, const cJSON *at) { return v->op.each ? at->next : NULL; }

static size_t count_values(const struct tg_values *list)
{
    size_t count = 0;

    for (const struct tg_values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at))
            count++;
    }
    return count;
}

/* A text is never equal to anything but a string: other values are left out of its sets. */
static const struct tg_set *make_set(struct tg_arena *arena, const struct tg_values *list, bool strings_only)
{
    struct tg_set *set = tg_set_new(arena, count_values(list));

    for (const struct tg_values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at)) {
            if (!strings_only || cJSON_IsString(at))
                tg_set_add(set, at, v->owner);
        }
    }
    return set;
}

/* Fingerprints are compared in their short spelling. */
static const struct tg_set *make_fingerprints(struct tg_arena *arena, const struct tg_values *list)
{
    struct tg_set *set = tg_set_new(arena, count_values(list));

    for (const struct tg_values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at)) {
            cJSON *value = TG_ARENA_NEW(arena, cJSON);
            bool ok;

            value->type = cJSON_String;
            value->valuestring = tg_arena_raw(arena, TG_FINGERPRINT);
            ok = tg_fingerprint_read(at->valuestring, value->valuestring);
            tg_assert(ok);                               /* the parser looked at each */
            tg_set_add(set, value, v->owner);
        }
    }
    return set;
}

static const struct tg_nets *make_nets(struct tg_arena *arena, const struct tg_values *list)
{
    size_t count = 0, max = count_values(list);
    struct tg_cidr *blocks = TG_NEW_ARRAY(struct tg_cidr, max + 1);
    uint32_t *owners = TG_NEW_ARRAY(uint32_t, max + 1);
    const struct tg_nets *nets;

    for (const struct tg_values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at)) {
            bool ok = tg_cidr_parse(tg_slice_str(at->valuestring), &blocks[count]);

            tg_assert(ok);                               /* the parser looked at each */
            owners[count++] = v->owner;
        }
    }
    nets = tg_nets_new(arena, blocks, owners, count);
    free(blocks);
    free(owners);
    return nets;
}

static const struct tg_affixes *make_affixes(struct tg_arena *arena, const struct tg_values *list)
{
    struct tg_affix *items = TG_ARENA_ARRAY(arena, struct tg_affix, count_values(list));
    size_t count = 0;

    for (const struct tg_values *v = list; v; v = v->next)
        items[count++] = (struct tg_affix){.text = tg_slice_str(v->op.values->valuestring), .owner = v->owner};
    return tg_affixes_new(arena, items, count, list->op.kind == TG_OP_ENDS, false);
}

struct tg_op tg_op_make(struct tg_arena *arena, const struct tg_criterion *row, const struct tg_values *values)
{
    struct tg_op op = {.kind = values->op.kind, .part = values->op.part};

    switch (op.kind) {
    case TG_OP_IN:
    case TG_OP_NOT_IN:
        op.set = op.part == TG_PART_FINGERPRINT ? make_fingerprints(arena, values) : make_set(arena, values, true);
        break;
    case TG_OP_HAS:
    case TG_OP_ONLY:
    case TG_OP_EXCLUDE:
        op.set = make_set(arena, values, false);
        break;
    case TG_OP_STARTS:
    case TG_OP_ENDS:
        if (values->next) {
            op.affixes = make_affixes(arena, values);
            op.kind = TG_OP_AFFIX;
            break;
        }
        op.text = tg_slice_str(values->op.values->valuestring);
        break;
    case TG_OP_CONTAINS:
        op.text = tg_slice_str(values->op.values->valuestring);
        break;
    case TG_OP_WITHIN:
        op.nets = make_nets(arena, values);
        break;
    case TG_OP_WHEN:
        op.when = tg_when_make(arena, row, values->op.values);
        break;
    case TG_OP_AFFIX:
        tg_assert(false);                                /* never as written */
    }
    return op;
}

/*
 * Negative ones of a certificate's names do not: each of them may be content with another name. Nor do their
 * beginnings, which are looked for one by one.
 */
bool tg_op_unites(const struct tg_raw_op *op, bool any)
{
    switch (op->kind) {
    case TG_OP_IN:
    case TG_OP_HAS:
    case TG_OP_WITHIN: return any;
    case TG_OP_STARTS:
    case TG_OP_ENDS: return any && op->part == TG_PART_NONE;
    case TG_OP_NOT_IN:
    case TG_OP_EXCLUDE: return !any && op->part == TG_PART_NONE;
    default: return false;
    }
}
