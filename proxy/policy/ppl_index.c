/*
 * ppl_index - which clauses a request may meet: an index over what clauses demand of one subject.
 *
 * A clause that demands one of a few values (an e-mail `is`, a claim `has`) or a beginning (a path `starts_with`) is
 * false for every request that has another, so it is looked at only when the request's value leads to it. Of its
 * demands the one that fewest clauses share is indexed: of a thousand policies for a group each, the group and not the
 * method. The tests of all clauses are kept apart, by the reasons they can give, for a decision that no clause made
 * true.
 */
#include "base/hash.h"
#include "internal.h"

enum { FEW = 16, SUBJECTS = 64 };                        /* values of a demand; subjects told apart */

/* What a test demands: that a text or a value of a claim is one of these, or that a text starts or ends with it. */
struct demand {
    enum tg_op_kind kind;                                /* TG_OP_IN of values, TG_OP_STARTS, TG_OP_ENDS */
    struct tg_set_item items[FEW];
    size_t count;
};
struct subject {
    const struct tg_test *by;
    enum tg_op_kind kind;
    struct tg_set *seen;                                 /* owner: TG_NOBODY less the demands for the value */
    size_t values, chosen;                               /* demanded in all; by the demands that were chosen */
    struct tg_set *lists;                                /* owner: number + 1 of the last link, then of the list */
};
struct link {
    uint32_t clause, next;                               /* number + 1; 0: the end */
};
struct indexing {
    struct tg_arena *arena, scratch;
    struct tg_clause *clauses;
    size_t count;
    struct subject subjects[SUBJECTS];
    size_t subject_count;
    const struct tg_test **chosen;                       /* of each clause; NULL: none */
};

/* ---- demands ---- */
static size_t places_of(const struct tg_set *set) { return set->mask ? (size_t)set->mask + 1 : set->count; }

static void demand_values(const struct tg_set *set, struct demand *out)
{
    out->kind = TG_OP_IN;
    for (size_t i = 0; i < places_of(set); i++) {
        if (set->items[i].value)
            out->items[out->count++] = set->items[i];
    }
}

static void demand_affix(const struct tg_op *op, struct demand *out)
{
    out->kind = op->kind;
    out->count = 1;
    out->items[0] = (struct tg_set_item){.hash = tg_hash_slice(op->text), .value = op->text.ptr,
                                         .len = (uint32_t)op->text.len};
}

/* By the operator that leaves the least. False: the test demands nothing of the kind. */
static bool demand_of(const struct tg_test *test, struct demand *out)
{
    enum tg_shape shape = test->row->shape;
    const struct tg_op *affix = NULL;

    out->count = 0;
    for (uint32_t i = 0; i < test->op_count; i++) {
        const struct tg_op *op = &test->ops[i];
        bool one_of = shape == TG_SHAPE_TEXT ? op->kind == TG_OP_IN
                                             : shape == TG_SHAPE_LIST &&
                                                   (op->kind == TG_OP_HAS || op->kind == TG_OP_ONLY);

        if (one_of && op->set->count <= FEW) {
            demand_values(op->set, out);
            return true;
        }
        if (shape == TG_SHAPE_TEXT && (op->kind == TG_OP_STARTS || op->kind == TG_OP_ENDS))
            affix = op;
    }
    if (affix)
        demand_affix(affix, out);
    return affix != NULL;
}

/* NULL: no demand, or one of too many subjects. */
static struct subject *subject_of(struct indexing *x, const struct tg_test *test, struct demand *out)
{
    if (!demand_of(test, out))
        return NULL;
    for (size_t i = 0; i < x->subject_count; i++) {
        const struct tg_test *by = x->subjects[i].by;

        if (x->subjects[i].kind == out->kind && by->row == test->row && tg_slice_eq(by->name, test->name))
            return &x->subjects[i];
    }
    if (x->subject_count == SUBJECTS)
        return NULL;
    x->subjects[x->subject_count] = (struct subject){.by = test, .kind = out->kind};
    return &x->subjects[x->subject_count++];
}

/* Where the set keeps the item; a new one has no owner yet. */
static struct tg_set_item *put(struct tg_set *set, const struct tg_set_item *like)
{
    struct tg_set_item item = *like;

    item.owner = TG_NOBODY;
    return tg_set_put(set, &item);
}

static void count_demands(struct indexing *x)
{
    struct demand demand;

    for (int pass = 0; pass < 2; pass++) {
        for (size_t c = 0; c < x->count; c++) {
            for (uint32_t t = 0; t < x->clauses[c].count && !x->clauses[c].inverted; t++) {
                struct subject *subject = subject_of(x, x->clauses[c].tests[t], &demand);

                if (subject && pass == 0)
                    subject->values += demand.count;
                for (size_t i = 0; subject && pass == 1 && i < demand.count; i++)
                    put(subject->seen, &demand.items[i])->owner--;
            }
        }
        for (size_t i = 0; pass == 0 && i < x->subject_count; i++)
            x->subjects[i].seen = tg_set_new(&x->scratch, x->subjects[i].values);
    }
}

/* The demand that fewest share; none when it would spare too little. */
static void choose(struct indexing *x, size_t c)
{
    const struct tg_clause *clause = &x->clauses[c];
    struct subject *chosen = NULL;
    struct demand demand;
    size_t least = x->count / 2, values = 0;

    for (uint32_t t = 0; t < clause->count && !clause->inverted; t++) {
        struct subject *subject = subject_of(x, clause->tests[t], &demand);
        size_t crowd = 0;                                /* clauses that a request would end up in, at most */

        for (size_t i = 0; subject && i < demand.count; i++)
            crowd += TG_NOBODY - put(subject->seen, &demand.items[i])->owner;
        if (subject && crowd < least) {
            least = crowd;
            x->chosen[c] = clause->tests[t];
            chosen = subject;
            values = demand.count;
        }
    }
    if (chosen)
        chosen->chosen += values;
}

/* ---- clauses in order ---- */
static unsigned cost(const struct tg_test *test)
{
    static const unsigned costs[] = {[TG_SHAPE_NONE] = 0, [TG_SHAPE_TEXT] = 2, [TG_SHAPE_NETWORKS] = 3,
                                     [TG_SHAPE_LIST] = 4, [TG_SHAPE_TIME] = 5, [TG_SHAPE_CERTIFICATE] = 6};

    return test->uses > 1 ? 1 : costs[test->shape];
}

/* Cheap ones first: the first that is not so ends the clause. */
static void sort_tests(struct tg_clause *clause)
{
    for (uint32_t i = 1; i < clause->count; i++) {
        const struct tg_test *test = clause->tests[i];
        uint32_t k = i;

        for (; k > 0 && cost(clause->tests[k - 1]) > cost(test); k--)
            clause->tests[k] = clause->tests[k - 1];
        clause->tests[k] = test;
    }
}

/* Those without an index come first; each kind stays in order. */
static void sort_clauses(struct indexing *x, struct tg_action *action)
{
    struct tg_clause *sorted = TG_ARENA_ARRAY(x->arena, struct tg_clause, x->count);
    const struct tg_test **chosen = TG_ARENA_ARRAY(&x->scratch, const struct tg_test *, x->count);
    size_t n = 0;

    for (int indexed = 0; indexed < 2; indexed++) {
        for (size_t c = 0; c < x->count; c++) {
            if ((x->chosen[c] != NULL) == indexed) {
                chosen[n] = x->chosen[c];
                sorted[n++] = x->clauses[c];
            }
        }
        if (!indexed)
            action->unindexed = (uint32_t)n;
    }
    x->clauses = sorted;
    x->chosen = chosen;
    action->clauses = sorted;
}

/* ---- indexes ---- */
static void fill_lists(struct indexing *x, struct tg_buf *links)
{
    struct demand demand;

    for (size_t i = 0; i < x->subject_count; i++) {
        if (x->subjects[i].chosen > 0)
            x->subjects[i].lists = tg_set_new(x->arena, x->subjects[i].chosen);
    }
    for (size_t c = 0; c < x->count; c++) {
        struct subject *subject = x->chosen[c] ? subject_of(x, x->chosen[c], &demand) : NULL;

        for (size_t i = 0; subject && i < demand.count; i++) {
            struct tg_set_item *place = put(subject->lists, &demand.items[i]);
            struct link link = {(uint32_t)c, place->owner == TG_NOBODY ? 0 : place->owner};

            tg_buf_add(links, &link, sizeof(link));
            place->owner = (uint32_t)(links->len / sizeof(link));
        }
    }
}

/* The texts of a set, sorted; they keep the numbers of their lists. */
static const struct tg_affixes *affixes_of(struct tg_arena *arena, const struct tg_set *set, bool ends)
{
    struct tg_affix *items = TG_ARENA_ARRAY(arena, struct tg_affix, set->count);
    size_t count = 0;

    for (size_t i = 0; i < places_of(set); i++) {
        const struct tg_set_item *item = &set->items[i];

        if (item->value)
            items[count++] = (struct tg_affix){.text = tg_slice(item->value, item->len), .owner = item->owner};
    }
    return tg_affixes_new(arena, items, count, ends, true);
}

static struct tg_index make_index(struct indexing *x, const struct subject *subject, const struct link *links)
{
    uint32_t *starts = TG_ARENA_ARRAY(x->arena, uint32_t, subject->lists->count + 1);
    uint32_t *clauses = TG_ARENA_ARRAY(x->arena, uint32_t, subject->chosen);
    struct tg_index index = {.by = subject->by, .starts = starts, .clauses = clauses};
    uint32_t list = 0, n = 0;

    for (size_t i = 0; i < places_of(subject->lists); i++) {
        struct tg_set_item *item = &subject->lists->items[i];

        if (!item->value)
            continue;
        for (uint32_t at = item->owner; at > 0; at = links[at - 1].next)
            clauses[n++] = links[at - 1].clause;
        item->owner = list++;
        starts[list] = n;
    }
    if (subject->kind == TG_OP_IN)
        index.values = subject->lists;
    else
        index.affixes = affixes_of(x->arena, subject->lists, subject->kind == TG_OP_ENDS);
    return index;
}

static void make_indexes(struct indexing *x, struct tg_action *action)
{
    struct tg_index *indexes = TG_ARENA_ARRAY(x->arena, struct tg_index, x->subject_count);
    struct tg_buf links = {0};

    fill_lists(x, &links);
    for (size_t i = 0; i < x->subject_count; i++) {
        if (x->subjects[i].lists)
            indexes[action->index_count++] = make_index(x, &x->subjects[i], (const struct link *)(void *)links.data);
    }
    action->indexes = indexes;
    tg_buf_fini(&links);
}

/* ---- doubts ---- */
static struct tg_doubts *doubts_of(struct tg_doubts *list, uint32_t *count, const struct tg_test *test, bool inverted)
{
    uint32_t i = 0;

    while (i < *count && (list[i].row != test->row || list[i].inverted != inverted))
        i++;
    if (i == *count)
        list[(*count)++] = (struct tg_doubts){.row = test->row, .inverted = inverted};
    return &list[i];
}

static size_t criteria_count(void)
{
    size_t count = 0;

    while (tg_criterion_at(count))
        count++;
    return count;
}

/* `tests` has each once; which of them are used inverted, or both ways, the clauses tell. */
static void make_doubts(struct indexing *x, struct tg_action *action, struct tg_test *const *tests, size_t test_count)
{
    struct tg_doubts *list = TG_ARENA_ARRAY(x->arena, struct tg_doubts, 2 * criteria_count());

    for (int pass = 0; pass < 2; pass++) {
        for (size_t c = 0; c < x->count; c++) {
            for (uint32_t t = 0; t < x->clauses[c].count; t++)
                ((struct tg_test *)(uintptr_t)x->clauses[c].tests[t])->signs |= x->clauses[c].inverted ? 2 : 1;
        }
        for (size_t i = 0; i < test_count; i++) {
            for (int inverted = 0; inverted < 2; inverted++) {
                struct tg_doubts *d;

                if (!(tests[i]->signs & (inverted ? 2 : 1)))
                    continue;
                d = doubts_of(list, &action->doubt_count, tests[i], inverted);
                if (pass == 1)
                    d->tests[d->count] = tests[i];
                d->count++;
            }
        }
        for (uint32_t i = 0; pass == 0 && i < action->doubt_count; i++) {
            list[i].tests = TG_ARENA_ARRAY(x->arena, const struct tg_test *, list[i].count);
            list[i].count = 0;
        }
    }
    action->doubts = list;
}

void tg_index_clauses(struct tg_arena *arena, struct tg_action *action, struct tg_clause *clauses,
                      struct tg_test *const *tests, size_t test_count)
{
    struct indexing x = {.arena = arena, .clauses = clauses, .count = action->clause_count};

    tg_arena_init(&x.scratch, NULL, 0);
    x.chosen = TG_ARENA_ARRAY(&x.scratch, const struct tg_test *, x.count);
    if (x.count >= TG_MANY) {
        count_demands(&x);
        for (size_t c = 0; c < x.count; c++)
            choose(&x, c);
    }
    for (size_t c = 0; c < x.count; c++)
        sort_tests(&clauses[c]);
    sort_clauses(&x, action);
    make_indexes(&x, action);
    if (x.count >= TG_MANY)
        make_doubts(&x, action, tests, test_count);
    tg_arena_fini(&x.scratch);
}
