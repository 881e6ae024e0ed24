/*
 * ppl_compile - the rules of policies become a unit: for each action its alternatives, with their tests.
 *
 * All alternatives of an action are members of one `or`, so criteria that ask "is the same subject among these" become
 * one test with the united set, whatever list, rule or policy they stand in: `or` and single positive ones, and within
 * one `not`, `and` or `nor` the like. Value and reasons stay the same, because members that read the same subject have
 * the same reasons, and a combination keeps those of the members that share its value. So 10,000 lines of
 * `email: {is: ...}`, or as many policies of one line, cost one look-up. Criteria that say the same are one test. Time
 * and memory are linear in the document.
 */
#include "base/hash.h"
#include "base/json.h"
#include "internal.h"
#include <stdlib.h>

/* A test in the making, of one criterion or of several that unite. */
struct draft {
    uint64_t hash;                                       /* of what tells it from others that could unite */
    const struct tg_rule_item *item;                     /* the first of them */
    struct tg_raw_op op;                                 /* the only operator of those that unite */
    struct tg_values **ops;
    size_t op_count, items;
    uint32_t owner;                                      /* the least */
    bool inverted, unites;
};
struct drafts {
    struct draft *list;
    size_t count, mask;
    uint32_t *places;                                    /* number + 1 of those that unite */
};
/* Tests of one criterion each, by what they say. */
struct made {
    uint64_t hash;
    const struct tg_rule_item *item;
    struct tg_test *test;
};
struct code {
    struct tg_arena *arena;                              /* of the unit */
    struct tg_arena scratch, list_scratch;
    struct tg_ppl_pool *pool;
    bool deny;
    struct drafts choices;
    struct made *made;
    size_t made_mask;
    struct tg_buf clauses, tests;                        /* of struct tg_clause; of struct tg_test *, of clauses */
};

static size_t table_size(size_t count)
{
    size_t places = 4;

    while (places < 2 * count)
        places *= 2;
    return places;
}

/* ---- drafts ---- */
static void drafts_init(struct drafts *d, struct tg_arena *arena, size_t max)
{
    size_t places = table_size(max);

    d->list = TG_ARENA_ARRAY(arena, struct draft, max);
    d->places = TG_ARENA_ARRAY(arena, uint32_t, places);
    d->mask = places - 1;
    d->count = 0;
}

/*
 * The owner of a united set's value tells who denied. A certificate may be known by another value than the one found
 * first, so of those only the criteria of one policy unite.
 */
static bool same_draft(const struct draft *a, const struct draft *b)
{
    return a->hash == b->hash && a->item->row == b->item->row && a->op.kind == b->op.kind && a->op.part == b->op.part &&
           a->inverted == b->inverted && tg_slice_eq(a->item->name, b->item->name) &&
           (a->item->row->shape != TG_SHAPE_CERTIFICATE || a->owner == b->owner);
}

static uint64_t hash_draft(const struct draft *d)
{
    uint64_t what = (uint64_t)d->op.kind << 8 | (uint64_t)d->op.part << 4 | d->inverted;

    if (d->item->name.len > 0)
        what ^= tg_hash_slice(d->item->name);
    if (d->item->row->shape == TG_SHAPE_CERTIFICATE)
        what ^= (uint64_t)d->owner << 16;
    return tg_hash2((uint64_t)(uintptr_t)d->item->row, what);
}

static void add_values(struct tg_arena *scratch, struct draft *draft, size_t i, struct tg_raw_op op, uint32_t owner)
{
    struct tg_values *v = TG_ARENA_NEW(scratch, struct tg_values);

    v->op = op;
    v->owner = owner;
    v->next = draft->ops[i];
    draft->ops[i] = v;
}

/* The draft that the criterion becomes part of, or a fresh one. `any`: positive ones unite, else negative ones. */
static struct draft *add_draft(struct drafts *d, struct tg_arena *scratch, const struct tg_rule_item *item, bool any,
                               bool inverted, uint32_t owner)
{
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t op_count = tg_matcher_read(item->row->shape, item->data, ops);
    struct draft fresh = {.item = item, .op_count = op_count, .owner = owner, .inverted = inverted};
    struct draft *draft = NULL;

    if (op_count == 1)
        fresh.op = ops[0];
    fresh.unites = item->row->shape == TG_SHAPE_NONE || (op_count == 1 && tg_op_unites(&ops[0], any));
    if (fresh.unites) {
        size_t i;

        fresh.hash = hash_draft(&fresh);
        for (i = fresh.hash & d->mask; d->places[i] && !draft; i = (i + 1) & d->mask) {
            if (same_draft(&d->list[d->places[i] - 1], &fresh))
                draft = &d->list[d->places[i] - 1];
        }
        if (!draft)
            d->places[i] = (uint32_t)d->count + 1;
    }
    if (!draft) {
        draft = &d->list[d->count++];
        *draft = fresh;
        draft->ops = TG_ARENA_ARRAY(scratch, struct tg_values *, op_count);
    }
    draft->items++;
    if (owner < draft->owner)
        draft->owner = owner;
    for (size_t k = 0; k < op_count; k++)
        add_values(scratch, draft, k, ops[k], owner);
    return draft;
}

/* ---- tests ---- */
static struct tg_test *make_test(struct code *code, const struct draft *draft)
{
    const struct tg_criterion *row = draft->item->row;
    struct tg_test *test = TG_ARENA_NEW(code->arena, struct tg_test);
    struct tg_op *ops = TG_ARENA_ARRAY(code->arena, struct tg_op, draft->op_count); /* beside it */

    test->row = row;
    test->shape = row->shape;
    test->identity = row->identity;
    test->memo = TG_MEMO;
    if (row->shape != TG_SHAPE_NONE) {
        test->pass = TG_REASON_BIT(row->pass);
        test->fail = TG_REASON_BIT(row->fail);
        test->undefined = row->has_undefined ? TG_REASON_BIT(row->undefined) : 0;
    }
    if (row->shape == TG_SHAPE_LIST) {
        test->name = row->sub_path ? draft->item->name : TG_S("groups");
        if (!test->name.ptr)
            test->name = TG_S("");
        test->hash = tg_hash_slice(test->name);
        test->slot = row->sub_path ? tg_claim_slot(code->pool, test->name) : 0;
    }
    for (size_t i = 0; i < draft->op_count; i++)
        ops[i] = tg_op_make(code->arena, row, draft->ops[i]);
    test->ops = ops;
    test->op_count = (uint32_t)draft->op_count;
    return test;
}

static bool same_item(const struct tg_rule_item *a, const struct tg_rule_item *b)
{
    return a->row == b->row && tg_slice_eq(a->name, b->name) &&
           (a->row->shape == TG_SHAPE_NONE || tg_json_eq(a->data, b->data));
}

/* A test of a clause: the one that says the same, if there is one. */
static struct tg_test *clause_test(struct code *code, const struct draft *draft)
{
    const struct tg_rule_item *item = draft->item;
    struct made *place = NULL;
    struct tg_test *test;

    if (draft->items == 1) {
        uint64_t hash = tg_hash2((uint64_t)(uintptr_t)item->row, tg_hash_slice(item->name));

        if (item->row->shape != TG_SHAPE_NONE)
            hash ^= tg_value_hash(item->data);
        for (size_t i = hash & code->made_mask;; i = (i + 1) & code->made_mask) {
            place = &code->made[i];
            if (!place->test)
                break;
            if (place->hash == hash && same_item(place->item, item))
                return place->test;
        }
        place->hash = hash;
        place->item = item;
    }
    test = make_test(code, draft);
    if (place)
        place->test = test;
    tg_buf_add(&code->tests, &test, sizeof(test));
    return test;
}

/* ---- alternatives ---- */
static tg_reasons may_say(const struct tg_test *test, bool inverted)
{
    if (test->shape == TG_SHAPE_NONE)
        return ~(tg_reasons)0;
    if (!inverted)
        return test->pass;
    return test->fail | test->undefined | (test->identity ? TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED) : 0);
}

static void add_clause(struct code *code, const struct draft *drafts, size_t count, bool inverted, uint32_t owner)
{
    struct tg_clause clause = {.owner = owner, .inverted = inverted};

    clause.tests = TG_ARENA_ARRAY(code->arena, const struct tg_test *, count);
    for (size_t i = 0; i < count; i++) {
        struct tg_test *test = clause_test(code, &drafts[i]);

        test->uses++;
        clause.tests[clause.count++] = test;
        clause.may |= may_say(test, inverted);
    }
    tg_buf_add(&code->clauses, &clause, sizeof(clause));
}

static bool is_inverted(const struct tg_rule_list *list) { return list->combine == TG_NOT || list->combine == TG_NOR; }

/* A list of one says the same under `and` as under `or`, and under `not` as under `nor`. */
static bool is_each(const struct tg_rule_list *list)
{
    return list->combine == TG_OR || list->combine == TG_NOR || list->count == 1;
}

/* Each criterion is an alternative. What unites with nothing is a clause, since those can be found by an index. */
static void add_each(struct code *code, const struct tg_rule_list *list, uint32_t owner)
{
    bool inverted = is_inverted(list);

    for (size_t i = 0; i < list->count; i++) {
        struct draft *draft = add_draft(&code->choices, &code->scratch, &list->items[i], !inverted, inverted, owner);

        if (draft->unites)
            continue;
        add_clause(code, draft, 1, inverted, owner);
        code->choices.count--;                           /* it is the last, and in no place */
    }
}

static void add_together(struct code *code, const struct tg_rule_list *list, uint32_t owner)
{
    bool inverted = is_inverted(list);
    struct drafts drafts;

    drafts_init(&drafts, &code->list_scratch, list->count);
    for (size_t i = 0; i < list->count; i++)
        add_draft(&drafts, &code->list_scratch, &list->items[i], inverted, inverted, owner);
    add_clause(code, drafts.list, drafts.count, inverted, owner);
    tg_arena_reset(&code->list_scratch);
}

static void add_rules(struct code *code, const struct tg_source *source, uint32_t owner)
{
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list && rule->deny == code->deny; list = list->next) {
            if (is_each(list))
                add_each(code, list, owner);
            else
                add_together(code, list, owner);
        }
    }
}

/* How many criteria are alternatives of their own, and how many there are. */
static void count_items(const struct tg_source *source, bool deny, size_t *each, size_t *all)
{
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list && rule->deny == deny; list = list->next) {
            *all += list->count;
            *each += is_each(list) ? list->count : 0;
        }
    }
}

/* ---- units ---- */
static void keep_choices(struct code *code, struct tg_action *action)
{
    struct tg_choice *choices = TG_ARENA_ARRAY(code->arena, struct tg_choice, code->choices.count);

    for (size_t i = 0; i < code->choices.count; i++) {
        const struct draft *draft = &code->choices.list[i];

        choices[i] = (struct tg_choice){make_test(code, draft), draft->owner, draft->inverted};
    }
    action->choices = choices;
    action->choice_count = (uint32_t)code->choices.count;
}

static void keep_clauses(struct code *code, struct tg_unit *unit, struct tg_action *action)
{
    size_t count = code->clauses.len / sizeof(struct tg_clause);
    size_t test_count = code->tests.len / sizeof(struct tg_test *);
    struct tg_test *const *tests = (struct tg_test *const *)(void *)code->tests.data;
    struct tg_clause *clauses = TG_ARENA_ARRAY(code->arena, struct tg_clause, count);

    if (count == 0)
        return;
    memcpy(clauses, code->clauses.data, code->clauses.len);
    for (int once = 0; once < (count < TG_MANY ? 1 : 2); once++) { /* those of several alternatives first */
        for (size_t i = 0; i < test_count && unit->memo_count < TG_MEMO; i++) {
            if ((tests[i]->uses == 1) == once && tests[i]->shape != TG_SHAPE_NONE)
                tests[i]->memo = unit->memo_count++;
        }
    }
    action->clause_count = (uint32_t)count;
    tg_index_clauses(code->arena, action, clauses, tests, test_count);
}

static void make_action(struct code *code, struct tg_unit *unit, const struct tg_source *const *sources, size_t count)
{
    size_t each = 0, all = 0;

    for (size_t i = 0; i < count; i++)
        count_items(sources[i], code->deny, &each, &all);
    tg_assert(all < UINT32_MAX / 4);
    drafts_init(&code->choices, &code->scratch, each);
    code->made_mask = table_size(all) - 1;
    code->made = TG_ARENA_ARRAY(&code->scratch, struct made, code->made_mask + 1);
    for (size_t i = 0; i < count; i++)
        add_rules(code, sources[i], code->deny ? (uint32_t)i : 0);
    keep_choices(code, &unit->actions[code->deny]);
    keep_clauses(code, unit, &unit->actions[code->deny]);
    code->clauses.len = code->tests.len = 0;
    tg_arena_reset(&code->scratch);
}

const struct tg_unit *tg_unit_new(struct tg_arena *arena, struct tg_ppl_pool *pool,
                                  const struct tg_source *const *sources, size_t count)
{
    struct tg_unit *unit = TG_ARENA_NEW(arena, struct tg_unit);
    _Alignas(16) char first[4096];
    struct code code = {.arena = arena, .pool = pool};

    tg_arena_init(&code.scratch, NULL, 0);
    tg_arena_init(&code.list_scratch, first, sizeof(first));
    for (int deny = 0; deny < 2; deny++) {
        code.deny = deny;
        make_action(&code, unit, sources, count);
    }
    tg_buf_fini(&code.clauses);
    tg_buf_fini(&code.tests);
    tg_arena_fini(&code.list_scratch);
    tg_arena_fini(&code.scratch);
    return unit;
}
