/*
 * ppl_compile - rules become a flat program: groups of tests, tests of operators, operators with their sets.
 *
 * Criteria of one list that ask "is the same subject among these" become one test with the united set: in `or` and
 * `not` positive ones, in `and` and `nor` negative ones. Value and reasons stay the same, because members that read the
 * same subject have the same two reasons, and a combination keeps those of the members that share its value. So 10,000
 * lines of `email: {is: ...}` cost one look-up. Time and memory are linear in the document.
 */
#include "base/hash.h"
#include "base/map.h"
#include "internal.h"
#include <stdlib.h>

/* An operator's values; several when criteria were united. */
struct values {
    struct tg_raw_op op;
    struct values *next;
};
/* A test in the making. */
struct draft {
    const struct tg_rule_item *item;
    struct values **ops;
    size_t op_count;
};
struct code {
    struct tg_arena *arena;                              /* of the program */
    struct tg_buf parts, groups, tests, ops;             /* growing arrays of their kinds */
};

static uint32_t count_of(const struct tg_buf *b, size_t size)
{
    tg_assert(b->len / size < UINT32_MAX);
    return (uint32_t)(b->len / size);
}

/* What `values` stand for: themselves, or their elements. */
static const cJSON *first_of(const struct values *v) { return v->op.each ? v->op.values->child : v->op.values; }
static const cJSON *next_of(const struct values *v, const cJSON *at) { return v->op.each ? at->next : NULL; }

static size_t count_values(const struct values *list)
{
    size_t count = 0;

    for (const struct values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at))
            count++;
    }
    return count;
}

/* A text is never equal to anything but a string: other values are left out of its sets. */
static const struct tg_set *make_set(struct tg_arena *arena, const struct values *list, bool strings_only)
{
    struct tg_set *set = tg_set_new(arena, count_values(list));

    for (const struct values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at)) {
            if (!strings_only || cJSON_IsString(at))
                tg_set_add(set, at);
        }
    }
    return set;
}

static const struct tg_ranges *make_ranges(struct tg_arena *arena, const struct values *list)
{
    size_t count = 0;
    struct tg_cidr *blocks = TG_NEW_ARRAY(struct tg_cidr, count_values(list) + 1);
    const struct tg_ranges *ranges;

    for (const struct values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at)) {
            bool ok = tg_cidr_parse(tg_slice_str(at->valuestring), &blocks[count++]);
            tg_assert(ok);                               /* the parser looked at each */
        }
    }
    ranges = tg_ranges_new(arena, blocks, count);
    free(blocks);
    return ranges;
}

/* Fingerprints are compared in their short spelling. */
static const struct tg_set *make_fingerprints(struct tg_arena *arena, const struct values *list)
{
    struct tg_set *set = tg_set_new(arena, count_values(list));

    for (const struct values *v = list; v; v = v->next) {
        for (const cJSON *at = first_of(v); at; at = next_of(v, at)) {
            cJSON *value = TG_ARENA_NEW(arena, cJSON);
            bool ok;

            value->type = cJSON_String;
            value->valuestring = tg_arena_raw(arena, TG_FINGERPRINT);
            ok = tg_fingerprint_read(at->valuestring, value->valuestring);
            tg_assert(ok);                               /* the parser looked at each */
            tg_set_add(set, value);
        }
    }
    return set;
}

static void emit_op(struct code *code, const struct values *list)
{
    struct tg_op op = {.kind = list->op.kind, .part = list->op.part};

    switch (op.kind) {
    case TG_OP_IN:
    case TG_OP_NOT_IN:
        op.set = op.part == TG_PART_FINGERPRINT ? make_fingerprints(code->arena, list)
                                                : make_set(code->arena, list, true);
        break;
    case TG_OP_HAS:
    case TG_OP_ONLY:
    case TG_OP_EXCLUDE:
        op.set = make_set(code->arena, list, false);
        break;
    case TG_OP_CONTAINS:
    case TG_OP_STARTS:
    case TG_OP_ENDS:
        op.text = tg_slice_str(list->op.values->valuestring);
        break;
    case TG_OP_WITHIN:
        op.ranges = make_ranges(code->arena, list);
        break;
    }
    tg_buf_add(&code->ops, &op, sizeof(op));
}

static void emit_test(struct code *code, const struct draft *draft)
{
    const struct tg_criterion *row = draft->item->row;
    struct tg_test test = {.row = row, .name = draft->item->name};

    if (row->shape == TG_SHAPE_LIST && !row->sub_path)
        test.name = TG_S("groups");
    test.hash = tg_hash_slice(test.name.ptr ? test.name : TG_S(""));
    test.first_op = count_of(&code->ops, sizeof(struct tg_op));
    test.op_count = (uint32_t)draft->op_count;
    for (size_t i = 0; i < draft->op_count; i++)
        emit_op(code, draft->ops[i]);
    tg_buf_add(&code->tests, &test, sizeof(test));
}

/*
 * Whether criteria with this only operator can be united in such a list. Negative ones of a certificate's names cannot:
 * each of them may be content with another name.
 */
static bool unites(const struct tg_raw_op *op, bool any)
{
    switch (op->kind) {
    case TG_OP_IN:
    case TG_OP_HAS:
    case TG_OP_WITHIN: return any;
    case TG_OP_NOT_IN:
    case TG_OP_EXCLUDE: return !any && op->part == TG_PART_NONE;
    default: return false;
    }
}

static void add_values(struct tg_arena *scratch, struct draft *draft, size_t i, struct tg_raw_op op)
{
    struct values *v = TG_ARENA_NEW(scratch, struct values);

    v->op = op;
    v->next = draft->ops[i];
    draft->ops[i] = v;
}

static void start_draft(struct tg_arena *scratch, struct draft *draft, const struct tg_rule_item *item, size_t op_count)
{
    draft->item = item;
    draft->ops = TG_ARENA_ARRAY(scratch, struct values *, op_count);
    draft->op_count = op_count;
}

/* Fills `drafts`, which has room for one per criterion; returns how many tests there are. */
static size_t draft_tests(const struct tg_rule_list *list, bool any, struct tg_arena *scratch, struct draft *drafts)
{
    struct tg_map *united = tg_map_new(NULL);            /* "criterion/PART/NAME" to its draft */
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct tg_rule_item *item = &list->items[i];
        size_t op_count = tg_matcher_read(item->row->shape, item->data, ops);
        struct draft *draft = NULL;
        struct tg_slice key = {NULL, 0};

        if (op_count == 1 && unites(&ops[0], any)) {
            key = tg_arena_printf(scratch, "%s/%d/" TG_S_FMT, item->row->name, (int)ops[0].part, TG_S_ARG(item->name));
            draft = tg_map_get(united, key);
        }
        if (!draft) {
            draft = &drafts[count++];
            start_draft(scratch, draft, item, op_count);
            if (key.ptr)
                tg_map_put(united, key, draft);
        }
        for (size_t k = 0; k < op_count; k++)
            add_values(scratch, draft, k, ops[k]);
    }
    tg_map_free(united);
    return count;
}

static void emit_group(struct code *code, const struct tg_rule_list *list)
{
    struct tg_group group = {.any = list->combine == TG_OR || list->combine == TG_NOT,
                             .inverted = list->combine == TG_NOT || list->combine == TG_NOR};
    struct tg_arena scratch;
    struct draft *drafts;

    tg_arena_init(&scratch, NULL, 0);
    drafts = TG_ARENA_ARRAY(&scratch, struct draft, list->count);
    group.first_test = count_of(&code->tests, sizeof(struct tg_test));
    group.test_count = (uint32_t)draft_tests(list, group.any, &scratch, drafts);
    for (uint32_t i = 0; i < group.test_count; i++)
        emit_test(code, &drafts[i]);
    tg_buf_add(&code->groups, &group, sizeof(group));
    tg_arena_fini(&scratch);
}

/* The groups of one action, as many as there are lists with it. */
static uint32_t emit_groups(struct code *code, const struct tg_source *source, bool deny)
{
    uint32_t count = 0;

    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list && rule->deny == deny; list = list->next) {
            emit_group(code, list);
            count++;
        }
    }
    return count;
}

static const void *keep(struct tg_arena *arena, struct tg_buf *b)
{
    void *kept = tg_arena_raw(arena, b->len + 1);        /* also when empty */

    if (b->len > 0)
        memcpy(kept, b->data, b->len);
    tg_buf_fini(b);
    return kept;
}

const struct tg_program *tg_compile(struct tg_arena *arena, const struct tg_source *sources)
{
    struct tg_program *program = TG_ARENA_NEW(arena, struct tg_program);
    struct code code = {.arena = arena};

    for (const struct tg_source *source = sources; source; source = source->next) {
        struct tg_part part = {.first_group = count_of(&code.groups, sizeof(struct tg_group)), .source = source};

        part.allow_count = emit_groups(&code, source, false);
        part.deny_count = emit_groups(&code, source, true);
        tg_buf_add(&code.parts, &part, sizeof(part));
        program->part_count++;
    }
    program->parts = keep(arena, &code.parts);
    program->groups = keep(arena, &code.groups);
    program->tests = keep(arena, &code.tests);
    program->ops = keep(arena, &code.ops);
    return program;
}
