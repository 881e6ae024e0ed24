/*
 * lint_cover - whether a rule says nothing that was not said before.
 *
 * A term is a set of literals, all of which must hold; a literal is a criterion, or its negation. A term holds only
 * when one does that has some of its literals: so the sums of the hashes of all subsets are looked for. And one whose
 * text is one of several holds only when others do that admit these texts, one by one, under the same other literals:
 * so each text is remembered with the rest of its term.
 *
 * The negation of an identity criterion holds for a caller without a token and refuses them all the same: terms with
 * one are compared as a whole only.
 */
#include "base/json.h"
#include "lint.h"

static uint64_t hash_literal(const struct tg_rule_item *item, bool negated)
{
    return lint_mix(lint_hash_item(item), negated ? 2 : 1);
}

static void add_literal(struct lint_term *t, const struct tg_rule_item *item, uint64_t hash)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->items[i].hash == hash)
            return;
    }
    t->sum += hash;
    if (t->count == LINT_LITERALS)
        t->many = true;
    else
        t->items[t->count++] = (struct lint_literal){item, hash};
}

struct lint_term lint_term_of(const struct tg_rule_item *items, size_t count, bool negated)
{
    struct lint_term t = {.negated = negated};

    for (size_t i = 0; i < count; i++) {
        add_literal(&t, &items[i], hash_literal(&items[i], negated));
        t.identity = t.identity || items[i].row->identity;
    }
    return t;
}

/* A true identity criterion says that there is a caller. `sum` stays that of what was written. */
static void add_implied(struct lint_term *t)
{
    static const cJSON data = {.type = cJSON_True};
    const struct tg_rule_item user = {tg_criterion_find(TG_S("authenticated_user")), {NULL, 0}, &data};

    if (t->identity && !t->negated)
        t->items[t->count++] = (struct lint_literal){NULL, hash_literal(&user, false)};
}

static uint64_t sum_of(const struct lint_term *t, unsigned chosen)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < t->count; i++) {
        if (chosen >> i & 1)
            sum += t->items[i].hash;
    }
    return sum;
}

/* The operator that says which texts there may be; NULL: none does. `only`: it must say it all. */
static const struct tg_raw_op *choice_of(const struct lint_literal *literal, bool only,
                                         struct tg_raw_op ops[static TG_OPS_MAX])
{
    size_t count;

    if (!literal->item || literal->item->row->shape != TG_SHAPE_TEXT)
        return NULL;
    count = tg_matcher_read(TG_SHAPE_TEXT, literal->item->data, ops);
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == TG_OP_IN && (count == 1 || !only))
            return &ops[i];
    }
    return NULL;
}

/* A text, and the domain of an address: each beside `rest` is a key. */
struct text_keys {
    uint64_t text, domain;
    bool has_domain;
};

static uint64_t text_key(const struct tg_criterion *row, struct tg_slice text)
{
    return lint_mix(lint_subject(row, (struct tg_slice){NULL, 0}), lint_hash_text(text));
}

static struct text_keys text_keys(const struct tg_criterion *row, struct tg_slice text)
{
    struct text_keys keys = {.text = text_key(row, text)};
    struct tg_slice local, domain, after;

    if (row->subject == TG_SUBJECT_EMAIL && tg_slice_cut(text, '@', &local, &domain)) {
        tg_slice_cut(domain, '@', &domain, &after);
        keys.domain = text_key(tg_criterion_find(TG_S("domain")), domain);
        keys.has_domain = true;
    }
    return keys;
}

static uint32_t text_said(const struct lint_cover *cover, uint64_t rest, const struct text_keys *keys)
{
    uint32_t said = lint_keys_get(&cover->values, lint_mix(rest, keys->text));

    return said || !keys->has_domain ? said : lint_keys_get(&cover->values, lint_mix(rest, keys->domain));
}

/* The values of an operator that are texts: no other equals one. */
static const cJSON *next_text(const struct tg_raw_op *op, const cJSON *last, struct tg_slice *text)
{
    const cJSON *value = last ? op->each ? last->next : NULL : op->each ? op->values->child : op->values;

    while (value && !tg_json_str(value, text))
        value = op->each ? value->next : NULL;
    return value;
}

/* The number of the one that admits the first text, when all are admitted beside `rest`; else 0. */
static uint32_t texts_said(const struct lint_cover *cover, uint64_t rest, const struct tg_criterion *row,
                           const struct tg_raw_op *op, const cJSON *first, const struct text_keys *first_keys)
{
    uint32_t said = text_said(cover, rest, first_keys);
    const cJSON *value = first;
    struct tg_slice text;

    while (said && (value = next_text(op, value, &text))) {
        struct text_keys keys = text_keys(row, text);

        if (!text_said(cover, rest, &keys))
            return 0;
    }
    return said;
}

/* Beside all the other literals, beside none, and, of a few, beside any. */
static uint32_t choice_said(const struct lint_cover *cover, const struct lint_term *t, size_t i)
{
    const struct tg_criterion *row = t->items[i].item ? t->items[i].item->row : NULL;
    unsigned rests = t->count < LINT_LITERALS ? 1u << t->count : 1;
    struct tg_raw_op ops[TG_OPS_MAX];
    const struct tg_raw_op *op = choice_of(&t->items[i], false, ops);
    struct tg_slice text;
    const cJSON *first = op ? next_text(op, NULL, &text) : NULL;
    struct text_keys keys;
    uint32_t said;

    if (!first)
        return 0;
    keys = text_keys(row, text);
    said = texts_said(cover, t->sum - t->items[i].hash, row, op, first, &keys);
    for (unsigned rest = 0; !said && rest < rests; rest++) {
        if (!(rest >> i & 1))
            said = texts_said(cover, sum_of(t, rest), row, op, first, &keys);
    }
    return said;
}

uint32_t lint_covered(const struct lint_cover *cover, const struct lint_term *term)
{
    uint32_t said = lint_keys_get(&cover->terms, term->sum);
    struct lint_term t = *term;

    if (said || cover->terms.count == 0 || (t.negated && t.identity))
        return said;
    add_implied(&t);
    for (unsigned chosen = 1; !said && chosen < 1u << t.count; chosen++)
        said = lint_keys_get(&cover->terms, sum_of(&t, chosen));
    for (size_t i = 0; i < t.count && !said && !t.negated && cover->values.count > 0; i++)
        said = choice_said(cover, &t, i);
    return said;
}

void lint_cover_add(struct lint_cover *cover, const struct lint_term *term, uint32_t number)
{
    lint_keys_put(&cover->terms, term->sum, number);
    for (size_t i = 0; i < term->count && !term->many && !term->negated; i++) {
        const struct lint_literal *literal = &term->items[i];
        struct tg_raw_op ops[TG_OPS_MAX];
        const struct tg_raw_op *op = choice_of(literal, true, ops);
        const cJSON *value = NULL;
        struct tg_slice text;

        while (op && (value = next_text(op, value, &text)))
            lint_keys_put(&cover->values, lint_mix(term->sum - literal->hash, text_key(literal->item->row, text)),
                          number);
    }
}

void lint_cover_fini(struct lint_cover *cover)
{
    lint_keys_fini(&cover->terms);
    lint_keys_fini(&cover->values);
}
