/*
 * ppl_eval - a program and the facts of a request make a verdict.
 *
 * Reasons of a combination are those of the members that share its value. So once an alternative is true only true
 * ones are of interest, and those of them only that may bring a new reason; when none is, every test that is not so is
 * asked for its reason, until there is nothing new that it could say. Inversion flips the value and keeps the reasons.
 * What is looked up once (a claim, the hash of a text, the value of a test) is kept for the run, which lives on the
 * stack: nothing here allocates.
 */
#include "base/hash.h"
#include "internal.h"

#define ANY_REASON (~(tg_reasons)0)

struct run {
    const struct tg_facts *facts;
    uint32_t texts_looked, claims_looked;                /* bits: which of the next two are there */
    struct tg_text texts[TG_SUBJECT_COUNT];
    const struct tg_claim *claims[TG_SLOTS];
    uint64_t known[TG_MEMO / 64], value[TG_MEMO / 64];   /* bits by tg_test.memo */
};
_Static_assert(TG_SLOTS <= 32 && TG_SUBJECT_COUNT <= 32, "one bit each");

/* What came out of the alternatives so far. */
struct sum {
    struct tg_outcome o;
    bool who;                                            /* asks for the owner, else for the reasons */
    uint32_t owner;                                      /* the least of a true one */
};

/* ---- subjects ---- */
const struct tg_claim *tg_list_of(const struct tg_criterion *row, struct tg_slice name, uint64_t hash,
                                  const struct tg_facts *facts)
{
    if (!row->sub_path && facts->groups_claim.len > 0) { /* groups: which claim, the token's issuer decides */
        name = facts->groups_claim;
        hash = tg_hash_slice(name);
    }
    return facts->claims ? tg_claims_get(facts->claims, name, hash) : NULL;
}

static struct tg_text *text_of(struct run *run, const struct tg_criterion *row)
{
    struct tg_text *text = &run->texts[row->subject];

    if (!(run->texts_looked & 1u << row->subject)) {
        run->texts_looked |= 1u << row->subject;
        *text = (struct tg_text){0};
        text->defined = row->text(run->facts, &text->s);
        if (!text->s.ptr)
            text->s = TG_S("");
    }
    return text;
}

static const struct tg_claim *claim_of(struct run *run, const struct tg_test *test)
{
    if (test->slot == TG_SLOTS)
        return tg_list_of(test->row, test->name, test->hash, run->facts);
    if (!(run->claims_looked & 1u << test->slot)) {
        run->claims_looked |= 1u << test->slot;
        run->claims[test->slot] = tg_list_of(test->row, test->name, test->hash, run->facts);
    }
    return run->claims[test->slot];
}

static inline bool lacks_identity(const struct run *run, bool identity) { return identity && !run->facts->identity; }

/* ---- tests ---- */
static inline bool text_op(const struct tg_op *op, struct tg_text *text)
{
    if (op->kind == TG_OP_IN)                            /* the most frequent one by far */
        return tg_set_has_text(op->set, text);
    return op->kind == TG_OP_AFFIX ? tg_affixes_find(op->affixes, text->s) != NULL : tg_op_on_text(op, text);
}

static inline bool text_holds(struct run *run, const struct tg_test *test)
{
    struct tg_text *text = text_of(run, test->row);

    if (!text->defined)
        return false;
    for (uint32_t i = 0; i < test->op_count; i++) {
        if (!text_op(&test->ops[i], text))
            return false;
    }
    return true;
}

static inline bool list_holds(struct run *run, const struct tg_test *test)
{
    const struct tg_claim *claim = claim_of(run, test);

    for (uint32_t i = 0; i < test->op_count; i++) {
        if (!tg_op_on_list(&test->ops[i], claim))
            return false;
    }
    return true;
}

static bool certificate_holds(const struct tg_test *test, const struct tg_cert *cert)
{
    if (!cert)
        return false;
    for (uint32_t i = 0; i < test->op_count; i++) {
        if (!tg_op_on_cert(&test->ops[i], cert))
            return false;
    }
    return true;
}

/* With an identity where it takes one; not of those without a matcher. */
static bool matches(struct run *run, const struct tg_test *test)
{
    switch (test->shape) {
    case TG_SHAPE_NONE: break;
    case TG_SHAPE_TEXT: return text_holds(run, test);
    case TG_SHAPE_LIST: return list_holds(run, test);
    case TG_SHAPE_NETWORKS: return tg_nets_find(test->ops[0].nets, &run->facts->source_ip) != TG_NOBODY;
    case TG_SHAPE_CERTIFICATE: return certificate_holds(test, run->facts->certificate);
    case TG_SHAPE_TIME: return tg_when_holds(test->ops[0].when, run->facts->wall_ms);
    }
    return false;
}

/* The value of one with a matcher that may be known from before. */
static inline bool value_of(struct run *run, const struct tg_test *test)
{
    uint64_t bit = UINT64_C(1) << test->memo % 64;
    bool value;

    if (test->memo == TG_MEMO)
        return matches(run, test);
    if (run->known[test->memo / 64] & bit)
        return (run->value[test->memo / 64] & bit) != 0;
    value = matches(run, test);
    run->known[test->memo / 64] |= bit;
    run->value[test->memo / 64] |= value ? bit : 0;
    return value;
}

static inline struct tg_outcome ask(struct run *run, const struct tg_test *test)
{
    struct tg_outcome o = {false, test->fail};

    if (lacks_identity(run, test->identity)) {
        o.reasons = TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED);
    } else if (test->shape == TG_SHAPE_NONE) {
        return test->row->fixed(run->facts);
    } else if (value_of(run, test)) {
        o.value = true;
        o.reasons = test->pass;
    } else if (test->undefined && !text_of(run, test->row)->defined) {
        o.reasons = test->undefined;
    }
    return o;
}

/* ---- alternatives that are true ---- */
/* A true one drops the reasons of false ones before it, and the other way round. */
static void or_with(struct tg_outcome *sum, struct tg_outcome o)
{
    if (o.value == sum->value)
        sum->reasons |= o.reasons;
    else if (o.value)
        *sum = o;
}

static uint32_t owner_of_list(struct run *run, const struct tg_choice *choice)
{
    const struct tg_claim *claim = claim_of(run, choice->test);
    uint32_t owner = TG_NOBODY;

    for (size_t i = 0; claim && i < claim->count; i++) {
        const struct tg_set_item *item = tg_set_find_value(choice->test->ops[0].set, &claim->values[i]);

        if (item && item->owner < owner)
            owner = item->owner;
    }
    return owner;
}

/* Of a true one. Where no value of its set decided, all that are united in it are true. */
static uint32_t owner_of(struct run *run, const struct tg_choice *choice)
{
    const struct tg_op *op = choice->test->ops;
    struct tg_text *text;

    if (lacks_identity(run, choice->test->identity))
        return choice->owner;
    switch (choice->test->shape) {
    case TG_SHAPE_NONE:
    case TG_SHAPE_CERTIFICATE:
    case TG_SHAPE_TIME: break;
    case TG_SHAPE_NETWORKS: return tg_nets_find(op->nets, &run->facts->source_ip);
    case TG_SHAPE_LIST: return owner_of_list(run, choice);
    case TG_SHAPE_TEXT:
        text = text_of(run, choice->test->row);
        if (!text->defined)
            break;
        if (op->kind == TG_OP_IN || op->kind == TG_OP_NOT_IN)
            return tg_set_find_text(op->set, text)->owner;
        if (op->kind == TG_OP_AFFIX)
            return tg_affixes_find(op->affixes, text->s)->owner;
        break;
    }
    return choice->owner;
}

static void add_choice(struct run *run, const struct tg_choice *choice, struct sum *sum)
{
    struct tg_outcome o = ask(run, choice->test);

    o.value ^= choice->inverted;
    or_with(&sum->o, o);
    if (sum->who && o.value) {
        uint32_t owner = owner_of(run, choice);

        if (owner < sum->owner)
            sum->owner = owner;
    }
}

/* As far as its first test that is not so; with `doubts` on, for the reasons of those that are not. */
static void add_clause(struct run *run, const struct tg_clause *clause, bool doubts, struct sum *sum)
{
    struct tg_outcome whole = {true, 0};

    if (sum->who ? clause->owner >= sum->owner : sum->o.value && !(clause->may & ~sum->o.reasons))
        return;
    doubts = doubts && !sum->o.value;
    for (uint32_t i = 0; i < clause->count; i++) {
        struct tg_outcome o = ask(run, clause->tests[i]);

        o.value ^= clause->inverted;
        if (o.value == whole.value) {
            whole.reasons |= o.reasons;
            continue;
        }
        if (o.value)
            continue;
        if (!doubts)
            return;
        whole = o;
    }
    or_with(&sum->o, whole);
    if (whole.value && clause->owner < sum->owner)
        sum->owner = clause->owner;
}

static void add_listed(struct run *run, const struct tg_action *action, const struct tg_index *index, uint32_t list,
                       struct sum *sum)
{
    for (uint32_t i = index->starts[list]; i < index->starts[list + 1]; i++)
        add_clause(run, &action->clauses[index->clauses[i]], false, sum);
}

static void add_by_text(struct run *run, const struct tg_action *action, const struct tg_index *index, struct sum *sum)
{
    struct tg_text *text = text_of(run, index->by->row);
    const struct tg_set_item *item;
    const struct tg_affix *affix;

    if (!text->defined)
        return;
    if (index->values) {
        item = tg_set_find_text(index->values, text);
        if (item)
            add_listed(run, action, index, item->owner, sum);
        return;
    }
    affix = tg_affixes_find(index->affixes, text->s);
    while (affix) {
        add_listed(run, action, index, affix->owner, sum);
        affix = affix->outer ? &index->affixes->items[affix->outer - 1] : NULL;
    }
}

static void add_by_claim(struct run *run, const struct tg_action *action, const struct tg_index *index, struct sum *sum)
{
    const struct tg_claim *claim = claim_of(run, index->by);

    for (size_t i = 0; claim && i < claim->count; i++) {
        const struct tg_set_item *item = tg_set_find_value(index->values, &claim->values[i]);

        if (item)
            add_listed(run, action, index, item->owner, sum);
    }
}

static void add_indexed(struct run *run, const struct tg_action *action, const struct tg_index *index, struct sum *sum)
{
    if (lacks_identity(run, index->by->identity))
        return;
    if (index->by->shape == TG_SHAPE_TEXT)
        add_by_text(run, action, index, sum);
    else
        add_by_claim(run, action, index, sum);
}

/* ---- why none is ---- */
/* The reasons that such a test can give when it is not so. */
static tg_reasons may_doubt(const struct run *run, const struct tg_doubts *d)
{
    if (d->row->shape == TG_SHAPE_NONE)
        return ANY_REASON;
    if (lacks_identity(run, d->row->identity))
        return d->inverted ? 0 : TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED);
    if (d->inverted)
        return TG_REASON_BIT(d->row->pass);
    return TG_REASON_BIT(d->row->fail) | (d->row->has_undefined ? TG_REASON_BIT(d->row->undefined) : 0);
}

static void add_doubts(struct run *run, const struct tg_doubts *d, struct sum *sum)
{
    tg_reasons may = may_doubt(run, d);

    for (uint32_t i = 0; i < d->count && may & ~sum->o.reasons; i++) {
        struct tg_outcome o = ask(run, d->tests[i]);

        if (o.value == d->inverted)
            sum->o.reasons |= o.reasons;
    }
}

/* ---- actions, units, programs ---- */
static void run_action(struct run *run, const struct tg_action *action, struct sum *sum)
{
    bool few = action->clause_count < TG_MANY;

    for (uint32_t i = 0; i < action->choice_count; i++)
        add_choice(run, &action->choices[i], sum);
    for (uint32_t i = 0; i < action->unindexed; i++)
        add_clause(run, &action->clauses[i], few, sum);
    for (uint32_t i = 0; i < action->index_count; i++)
        add_indexed(run, action, &action->indexes[i], sum);
    for (uint32_t i = 0; i < action->doubt_count && !sum->o.value; i++)
        add_doubts(run, &action->doubts[i], sum);
}

static void start_unit(struct run *run, const struct tg_unit *unit)
{
    for (uint32_t i = 0; i * 64 < unit->memo_count; i++)
        run->known[i] = run->value[i] = 0;
}

/* The first policy of the program whose deny is true; -1: none that has an index. */
static int denier(const struct tg_program *program, struct run *run)
{
    int first = -1;

    for (size_t i = 0; i < program->unit_count; i++) {
        struct sum sum = {.who = true, .owner = TG_NOBODY};
        int index;

        start_unit(run, program->units[i].unit);
        run_action(run, &program->units[i].unit->actions[1], &sum);
        index = sum.owner == TG_NOBODY ? -1 : program->units[i].owners[sum.owner];
        if (index >= 0 && (first < 0 || index < first))
            first = index;
    }
    return first;
}

/* In this order: a certificate that is missing or bad, a missing login, deny, allow; else denied. */
static void conclude(const struct tg_program *program, struct run *run, struct tg_verdict *v)
{
    const tg_reasons certificate = TG_REASON_BIT(TG_REASON_CLIENT_CERTIFICATE_REQUIRED) |
                                   TG_REASON_BIT(TG_REASON_INVALID_CLIENT_CERTIFICATE);
    const tg_reasons login = TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED);

    v->policy = -1;
    if (v->deny_reasons & certificate) {
        v->decision = TG_DENY;
        v->reasons = v->deny_reasons & certificate;
        v->policy = denier(program, run);
    } else if ((v->allow_reasons | v->deny_reasons) & login) {
        v->decision = TG_UNAUTHENTICATED;
        v->reasons = login;
    } else if (v->deny) {
        v->decision = TG_DENY;
        v->reasons = v->deny_reasons;
        v->policy = denier(program, run);
    } else if (v->allow) {
        v->decision = TG_ALLOW;
        v->reasons = v->allow_reasons;
    } else {
        v->decision = TG_DENY;
        v->reasons = v->allow_reasons;
        v->policy = program->refuser;
    }
}

static void start(struct run *run, const struct tg_facts *facts)
{
    run->facts = facts;                                  /* the rest counts only where a bit says so */
    run->texts_looked = run->claims_looked = 0;
}

void tg_ppl_decide(const struct tg_program *program, const struct tg_facts *facts, struct tg_verdict *out)
{
    struct sum allow = {.owner = 0}, deny = {.owner = 0};
    struct run run;

    start(&run, facts);
    for (size_t i = 0; i < program->unit_count; i++) {
        const struct tg_unit *unit = program->units[i].unit;
        struct sum a = {.owner = TG_NOBODY}, d = {.owner = TG_NOBODY};

        start_unit(&run, unit);
        run_action(&run, &unit->actions[0], &a);
        run_action(&run, &unit->actions[1], &d);
        or_with(&allow.o, a.o);
        or_with(&deny.o, d.o);
    }
    *out = (struct tg_verdict){.allow = allow.o.value, .deny = deny.o.value, .allow_reasons = allow.o.reasons,
                               .deny_reasons = deny.o.reasons};
    conclude(program, &run, out);
}

bool tg_ppl_holds(const struct tg_program *when, const struct tg_facts *facts)
{
    bool holds = false;
    struct run run;

    start(&run, facts);
    for (size_t i = 0; i < when->unit_count && !holds; i++) {
        struct sum sum = {.owner = TG_NOBODY};

        start_unit(&run, when->units[i].unit);
        run_action(&run, &when->units[i].unit->actions[0], &sum);
        holds = sum.o.value;
    }
    return holds;
}
