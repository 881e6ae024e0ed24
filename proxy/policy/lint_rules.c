/*
 * lint_rules - the rules of a document together: operators that are misread, rules that never hold or always do, rules
 * that others say already, what a caller without a token gets.
 *
 * A warning stands at what is to be changed, and says what happens and what to write instead.
 */
#include "base/json.h"
#include "lint.h"
#include <stdio.h>

#define MOST_REPEATED 20                                 /* that are told of one document */

/* ---- the document as written, beside what was read of it ---- */

struct line {                                            /* one operator: its criteria, and where they stand */
    const struct tg_rule_list *list;
    bool deny;
    long document;                                       /* -1: no list of rules */
    const cJSON *node, *body;
    const cJSON **items;
};
struct lint {
    struct tg_parse *p;
    struct tg_arena arena;
    struct line *lines;
    size_t count;
    size_t repeated;                                     /* rules and criteria that say nothing new */
};

static void add_line(struct lint *l, const struct tg_rule_list *list, bool deny, long document, const cJSON *body,
                     const cJSON *node)
{
    struct line *line = &l->lines[l->count++];
    const cJSON *item;
    size_t i = 0;

    *line = (struct line){list, deny, document, node, body, TG_ARENA_ARRAY(&l->arena, const cJSON *, list->count)};
    cJSON_ArrayForEach(item, node)
        line->items[i++] = item->child;
    tg_assert(i == list->count);
}

/* The rules are in the order of the document, but for what says nothing. */
static void add_object(struct lint *l, const struct tg_rule **rule, const cJSON *object, long document)
{
    const cJSON *body, *node;

    cJSON_ArrayForEach(body, object) {
        const struct tg_rule_list *list = (*rule)->lists;

        cJSON_ArrayForEach(node, body) {
            if (strcmp(node->string, "action") == 0 || !node->child)
                continue;
            tg_assert(list);
            add_line(l, list, (*rule)->deny, document, body, node);
            list = list->next;
        }
        *rule = (*rule)->next;
    }
}

static void start(struct lint *l, struct tg_parse *p, const struct tg_rule *rules, const cJSON *doc)
{
    const cJSON *object;
    size_t count = 0;
    long document = 0;

    *l = (struct lint){.p = p};
    tg_arena_init(&l->arena, NULL, 0);
    for (const struct tg_rule *rule = rules; rule; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list; list = list->next)
            count++;
    }
    l->lines = TG_ARENA_ARRAY(&l->arena, struct line, count);
    if (!cJSON_IsArray(doc))
        add_object(l, &rules, doc, -1);
    else
        cJSON_ArrayForEach(object, doc)
            add_object(l, &rules, object, document++);
    tg_assert(l->count == count);
}

/* ---- where a message is about ---- */

static void at(struct lint *l, const struct line *line)
{
    l->p->document = line->document;
    l->p->action = line->deny ? "deny" : "allow";
    l->p->combine = tg_combine_names[line->list->combine];
    l->p->item = -1;
    l->p->criterion = NULL;
}

static const cJSON *at_item(struct lint *l, const struct line *line, size_t i)
{
    at(l, line);
    l->p->item = (long)i;
    l->p->criterion = line->items[i]->string;
    return line->items[i];
}

static void nowhere(struct lint *l)
{
    l->p->document = l->p->item = -1;
    l->p->action = l->p->combine = l->p->criterion = NULL;
}

/* "allow.or[2]": of another line, in a message. */
#define PLACE 64
static const char *place(const struct line *line, long item, char out[static PLACE])
{
    char document[24] = "", index[24] = "";

    if (line->document >= 0)
        snprintf(document, sizeof(document), "[%ld].", line->document);
    if (item >= 0)
        snprintf(index, sizeof(index), "[%ld]", item);
    snprintf(out, PLACE, "%s%s.%s%s", document, line->deny ? "deny" : "allow", tg_combine_names[line->list->combine],
             index);
    return out;
}

static bool is_named(const struct tg_rule_item *item, const char *name) { return strcmp(item->row->name, name) == 0; }

/* How many of the criteria need an identity. */
static size_t identity_items(const struct tg_rule_list *list)
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++)
        count += list->items[i].row->identity;
    return count;
}

/* ---- one operator ---- */

static const char *everybody(bool identity) { return identity ? "every caller with a token" : "everybody"; }
static const char *nobody(bool identity) { return identity ? "no caller with a token" : "nobody"; }

static void warn_never(struct lint *l, const struct line *line, const struct lint_clash *clash)
{
    const char *action = line->deny ? "denies" : "allows", *combine = tg_combine_names[line->list->combine];
    const cJSON *node = at_item(l, line, clash->item);

    if (!clash->alone && line->list->combine == TG_AND)
        tg_parse_warning(l->p, node, "nothing meets this and what is asked before it, so this `and` %s nobody; for any "
                         "of several write `or`", action);
    else if (!clash->alone)
        tg_parse_warning(l->p, node, "whatever the value is, this or what stands before it holds, so this `not` %s %s; "
                         "a single criterion says which values there may be", action, nobody(clash->identity));
    else if (is_named(&line->list->items[clash->item], "reject") && (line->list->count > 1 || line->deny))
        tg_parse_warning(l->p, node, "`reject` is never true, so this `and` %s nobody; remove one or the other",
                         action);
    else if (line->list->combine == TG_NOT)
        tg_parse_warning(l->p, node, "is always true, so this `%s` %s %s; remove it", combine, action,
                         nobody(clash->identity));
}

static void warn_always(struct lint *l, const struct line *line, const struct lint_clash *clash)
{
    const char *action = line->deny ? "denies" : "allows";
    const cJSON *node = at_item(l, line, clash->item);

    if (line->list->combine == TG_NOR)
        tg_parse_warning(l->p, node, "nothing meets %s, so this `nor` %s %s; for \"none of them\" write `not`",
                         clash->alone ? "this" : "this and what stands before it", action,
                         everybody(clash->identity));
    else if (!clash->alone)
        tg_parse_warning(l->p, node, "whatever the value is, this or what stands before it holds, so this `or` %s %s; "
                         "for \"none of them\" write one `not_in`, or the values under `not`", action,
                         everybody(clash->identity));
    else if (is_named(&line->list->items[clash->item], "accept") && line->list->count > 1)
        tg_parse_warning(l->p, node, "`accept` %s; the other criteria are without effect: remove them, or it",
                         line->deny ? "denies everybody" : "makes this rule public");
}

/* What was concluded is told, unless the criterion itself was told to be so. */
static void warn_of_conclusions(struct lint *l, const struct line *line)
{
    const struct tg_rule_list *list = line->list;
    struct lint_clash clash = {0};

    switch (list->combine) {
    case TG_AND:
        if (lint_clash(list->items, list->count, false, &clash))
            warn_never(l, line, &clash);
        break;
    case TG_NOT:
        if (lint_clash(list->items, list->count, true, &clash))
            warn_never(l, line, &clash);
        break;
    case TG_OR:
        if (lint_clash(list->items, list->count, true, &clash))
            warn_always(l, line, &clash);
        break;
    case TG_NOR:
        if (!lint_clash(list->items, list->count, false, &clash))
            break;
        clash.identity = identity_items(list) > 0;       /* any one that is inverted asks for a token */
        warn_always(l, line, &clash);
        break;
    }
}

/* `or: [reject, ...]`, `deny: reject` */
static void warn_of_rejects(struct lint *l, const struct line *line)
{
    const struct tg_rule_list *list = line->list;

    for (size_t i = 0; i < list->count && list->combine == TG_OR; i++) {
        if (is_named(&list->items[i], "reject") && (list->count > 1 || line->deny))
            tg_parse_warning(l->p, at_item(l, line, i), "`reject` is never true: it is without effect here; %s",
                             line->deny ? "to deny everybody write `accept`" : "to refuse somebody write a deny rule");
    }
}

/* `nor: []` beside `not`, or `not: []` beside `nor`: it says nothing but that the other word was thought of. */
static bool is_deliberate(const struct line *line)
{
    const cJSON *other = tg_json_get(line->body, line->list->combine == TG_NOT ? "nor" : "not");

    return cJSON_IsArray(other) && !other->child;
}

/* Where "none of them" and "not all of them" are the same, or only one can be meant, there is nothing to say. */
static void warn_of_inversion(struct lint *l, const struct line *line)
{
    const struct tg_rule_list *list = line->list;
    struct lint_clash clash;

    if (list->count < 2 || (list->combine != TG_NOT && list->combine != TG_NOR) || is_deliberate(line) ||
        lint_clash(list->items, list->count, false, &clash))
        return;
    at(l, line);
    if (list->combine == TG_NOT)
        tg_parse_warning(l->p, line->node, "`not` holds when none of its %zu criteria does: this %s unless one of them "
                         "does; for \"unless all of them do\" write `nor`; where this is meant, say so by an empty "
                         "`nor: []` beside it", list->count, line->deny ? "denies" : "allows");
    else
        tg_parse_warning(l->p, line->node, "`nor` holds as soon as one of its %zu criteria does not: this %s unless "
                         "all of them do; for \"unless one of them does\" write `not`; where this is meant, a rule "
                         "with `not` for each is plainer", list->count, line->deny ? "denies" : "allows");
}

/* ---- several operators in one body ---- */
static void warn_of_neighbours(struct lint *l, const struct line *line, const struct line *next)
{
    const char *one = tg_combine_names[line->list->combine], *other = tg_combine_names[next->list->combine];
    bool exception = line->list->combine >= TG_NOT || next->list->combine >= TG_NOT;

    if (line->body != next->body)
        return;
    at(l, next);
    if (exception && !line->deny)
        tg_parse_warning(l->p, next->node, "`%s` and `%s` beside each other are alternatives, not \"... but not ...\": "
                         "one true one is enough; write the exception as a rule of its own: deny: {or: [...]}", one,
                         other);
    else
        tg_parse_warning(l->p, next->node, "`%s` and `%s` beside each other are alternatives: one true one is enough; "
                         "for both at once put all criteria under one `and`, else write two rules", one, other);
}

/* ---- without a token ---- */

/* Whether it also holds for a token that says nothing of this: it has conditions, and all say what must not be. */
static bool is_negative(const struct tg_rule_item *item)
{
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t count = tg_matcher_read(item->row->shape, item->data, ops);

    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != TG_OP_NOT_IN && ops[i].kind != TG_OP_EXCLUDE)
            return false;
    }
    return count > 0 && (item->row->shape == TG_SHAPE_LIST || is_named(item, "email"));
}

/* The criterion that asks who the caller is without asking that there be one; count: there is none. */
static size_t negative_item(const struct tg_rule_list *list)
{
    size_t found = list->count;

    for (size_t i = list->count; i > 0; i--) {
        const struct tg_rule_item *item = &list->items[i - 1];

        if (list->combine == TG_AND && item->row->identity && !is_negative(item))
            return list->count;                          /* it asks for a caller */
        if (list->combine == TG_NOT || list->combine == TG_NOR ? item->row->identity : is_negative(item))
            found = i - 1;
    }
    return found;
}

static void warn_of_the_nameless(struct lint *l, const struct line *line)
{
    const struct tg_rule_list *list = line->list;
    size_t i = line->deny ? list->count : negative_item(list);
    const cJSON *node;

    if (i == list->count)
        return;
    node = at_item(l, line, i);
    if (is_named(&list->items[i], "authenticated_user") && list->combine == TG_NOT)
        tg_parse_warning(l->p, node, "admits nobody: with a token this is true, and without one the answer is 401; for "
                         "everybody write accept, without other criteria on the caller");
    else if (list->combine == TG_NOT || list->combine == TG_NOR)
        tg_parse_warning(l->p, node, "admits every caller with a token whom this does not describe; one without is "
                         "answered 401, though no criterion says so; write allow: {and: [{authenticated_user: true}]} "
                         "and the exception as deny: {or: [...]}");
    else
        tg_parse_warning(l->p, node, "holds for every token that does not say this; without a token it does not, "
                         "though it reads so%s; write {authenticated_user: true} beside it under `and`",
                         is_named(&list->items[i], "groups") ? "" : ", and does in Pomerium");
}

/* Whether the list can be true for a request without a token, as far as its criteria tell. */
static bool open_to_all(const struct tg_rule_list *list)
{
    size_t identity = identity_items(list);

    return list->combine == TG_AND || list->combine == TG_NOT ? identity == 0 : identity < list->count;
}

static void warn_of_401(struct lint *l, const cJSON *doc)
{
    bool public_allow = false, identity_deny = false;

    for (size_t i = 0; i < l->count; i++) {
        public_allow |= !l->lines[i].deny && open_to_all(l->lines[i].list);
        identity_deny |= l->lines[i].deny && identity_items(l->lines[i].list) > 0;
    }
    if (public_allow && identity_deny)
        tg_parse_warning(l->p, doc, "deny asks who the caller is: requests without a token get 401 or 403, also where "
                         "allow is public; for a public part write a policy and a route of its own");
}

/* ---- rules that others say already ---- */

struct said {                                            /* one term: a whole line, or one criterion of it */
    uint32_t line;
    int32_t item;                                        /* -1: all */
};
struct terms {
    struct said *items;
    size_t count;
    bool *told;                                          /* of each */
};

static struct lint_term term_of(const struct lint *l, const struct said *said)
{
    const struct tg_rule_list *list = l->lines[said->line].list;
    bool negated = list->combine == TG_NOT || list->combine == TG_NOR;

    if (said->item < 0)
        return lint_term_of(list->items, list->count, negated);
    return lint_term_of(&list->items[said->item], 1, negated);
}

static struct terms terms_of(struct lint *l)
{
    struct terms t = {0};
    size_t most = 0;

    for (size_t i = 0; i < l->count; i++)
        most += l->lines[i].list->count;
    t.items = TG_ARENA_ARRAY(&l->arena, struct said, most);
    t.told = TG_ARENA_ARRAY(&l->arena, bool, most);
    for (uint32_t i = 0; i < l->count; i++) {
        const struct tg_rule_list *list = l->lines[i].list;
        bool single = list->combine == TG_AND || list->combine == TG_NOT;

        for (int32_t item = single ? -1 : 0; item < (single ? 0 : (int32_t)list->count); item++)
            t.items[t.count++] = (struct said){i, item};
    }
    return t;
}

/* False when enough were told. */
static bool repeated(struct lint *l)
{
    l->repeated++;
    return l->repeated <= MOST_REPEATED;
}

static void tell_covered(struct lint *l, const struct said *said, const struct said *by)
{
    const struct line *line = &l->lines[said->line], *other = &l->lines[by->line];
    const char *whom = line->deny ? "denies nobody whom" : "admits nobody whom";
    const cJSON *node = line->node;
    char where[PLACE];

    if (!repeated(l))
        return;
    at(l, line);
    if (said->item >= 0)
        node = at_item(l, line, (size_t)said->item);
    place(other, by->item, where);
    if (line->deny != other->deny)
        tg_parse_warning(l->p, node, "whoever meets this is denied by %s: it admits nobody; remove it, or narrow the "
                         "deny rule", where);
    else if (line == other && lint_hash_item(&line->list->items[said->item]) ==
                              lint_hash_item(&line->list->items[by->item]))
        tg_parse_warning(l->p, node, "is there twice, the other is %s; remove one", where);
    else
        tg_parse_warning(l->p, node, "%s %s does not %s already; remove it", whom, where,
                         line->deny ? "deny" : "admit");
}

/*
 * The earlier ones say it, or the later ones (but for those that were found to say nothing themselves). A deny rule
 * about the caller also keeps out who has no token: only another one about the caller does that, too.
 */
static void find_covered(struct lint *l, struct terms *t, bool deny, bool backwards, struct lint_cover *cover)
{
    for (size_t n = 0; n < t->count; n++) {
        size_t i = backwards ? t->count - 1 - n : n;
        struct lint_term term;
        uint32_t by;

        if (l->lines[t->items[i].line].deny != deny || t->told[i])
            continue;
        term = term_of(l, &t->items[i]);
        by = lint_covered(cover, &term);
        if (by > 0 && deny && term.identity && !term_of(l, &t->items[by - 1]).identity)
            by = 0;
        t->told[i] = by > 0;
        if (by > 0)
            tell_covered(l, &t->items[i], &t->items[by - 1]);
        else
            lint_cover_add(cover, &term, (uint32_t)i + 1);
    }
}

static void find_denied(struct lint *l, struct terms *t, const struct lint_cover *denied)
{
    for (size_t i = 0; i < t->count && denied->terms.count > 0; i++) {
        struct lint_term term = term_of(l, &t->items[i]);
        uint32_t by = l->lines[t->items[i].line].deny ? 0 : lint_covered(denied, &term);

        t->told[i] = t->told[i] || by > 0;
        if (by > 0)
            tell_covered(l, &t->items[i], &t->items[by - 1]);
    }
}

/* A criterion twice under one `and` or `not`. */
static void warn_of_twins(struct lint *l, const struct line *line)
{
    const struct tg_rule_list *list = line->list;
    struct lint_keys seen = {0};

    for (size_t i = 0; i < list->count && list->count > 1 && (list->combine == TG_AND || list->combine == TG_NOT);
         i++) {
        uint32_t first = lint_keys_put(&seen, lint_hash_item(&list->items[i]), (uint32_t)i + 1);
        char where[PLACE];

        if (first > 0 && repeated(l))
            tg_parse_warning(l->p, at_item(l, line, i), "is there twice, the other is %s; remove one",
                             place(line, (long)first - 1, where));
    }
    lint_keys_fini(&seen);
}

/* Names the list `op` reads in what is said next: a property, an operator, both, or neither. */
static void name_values(struct lint *l, const struct tg_raw_op *op, const cJSON *matcher)
{
    const char *key = op->values == matcher ? NULL : op->values->string;

    l->p->part = tg_cert_part_name(op->part);
    l->p->operator = key && l->p->part && strcmp(key, l->p->part) == 0 ? NULL : key;
}

/* A value twice in one list of values. */
static void warn_of_values(struct lint *l, const struct line *line, size_t i)
{
    struct tg_raw_op ops[TG_OPS_MAX];
    const struct tg_rule_item *item = &line->list->items[i];
    size_t count = tg_matcher_read(item->row->shape, line->items[i], ops);

    for (size_t k = 0; k < count; k++) {
        struct lint_keys seen = {0};
        const cJSON *value;
        uint32_t n = 0;

        if (!ops[k].each || !ops[k].values->child || !ops[k].values->child->next)
            continue;
        cJSON_ArrayForEach(value, ops[k].values) {
            uint32_t first = lint_keys_put(&seen, lint_hash_value(value), ++n);

            if (first == 0 || !repeated(l))
                continue;
            at_item(l, line, i);
            name_values(l, &ops[k], line->items[i]);
            l->p->element = n;
            tg_parse_warning(l->p, value, "is there twice, the other is [%u]; remove one", first - 1);
            l->p->part = l->p->operator = NULL;
            l->p->element = 0;
        }
        lint_keys_fini(&seen);
    }
}

static void warn_of_repetitions(struct lint *l, const cJSON *doc)
{
    struct lint_cover allowed = {0}, allowed_later = {0}, denied = {0}, denied_later = {0};
    struct terms terms = terms_of(l);

    for (size_t i = 0; i < l->count; i++) {
        warn_of_twins(l, &l->lines[i]);
        for (size_t k = 0; k < l->lines[i].list->count; k++)
            warn_of_values(l, &l->lines[i], k);
    }
    find_covered(l, &terms, true, false, &denied);
    find_denied(l, &terms, &denied);
    find_covered(l, &terms, true, true, &denied_later);
    find_covered(l, &terms, false, false, &allowed);
    find_covered(l, &terms, false, true, &allowed_later);
    lint_cover_fini(&allowed);
    lint_cover_fini(&allowed_later);
    lint_cover_fini(&denied);
    lint_cover_fini(&denied_later);
    nowhere(l);
    if (l->repeated > MOST_REPEATED)
        tg_parse_warning(l->p, doc, "%zu more criteria or values are repeated, or say what others say already",
                         l->repeated - MOST_REPEATED);
}

/* ---- all of it ---- */

/* Whether it holds for everybody who may be admitted at all. */
static bool always_holds(const struct tg_rule_list *list)
{
    struct lint_clash clash;

    switch (list->combine) {
    case TG_OR: return lint_clash(list->items, list->count, true, &clash);
    case TG_NOR: return lint_clash(list->items, list->count, false, &clash);
    case TG_AND:
        for (size_t i = 0; i < list->count; i++) {
            if (!lint_clash(&list->items[i], 1, true, &clash))
                return false;
        }
        return true;
    default: return false;
    }
}

static void warn_of_closed_door(struct lint *l)
{
    const struct line *closed = NULL;
    bool allow = false;

    for (size_t i = 0; i < l->count; i++) {
        allow = allow || !l->lines[i].deny;
        if (l->lines[i].deny && !closed && always_holds(l->lines[i].list))
            closed = &l->lines[i];
    }
    if (!allow || !closed)
        return;
    at(l, closed);
    tg_parse_warning(l->p, closed->node, "holds for everybody who could be admitted, and deny outweighs allow: nobody "
                     "is admitted; remove it, or the allow rules");
}

static void warn_of_certificates(struct lint *l, const cJSON *doc)
{
    static const char *const names[] = {"invalid_client_certificate", "client_certificate"};

    for (size_t n = 0; n < ARRAY_LEN(names) && !l->p->client_ca; n++) {
        bool found = false;

        for (size_t i = 0; i < l->count && !found; i++) {
            for (size_t k = 0; k < l->lines[i].list->count && !found; k++)
                found = is_named(&l->lines[i].list->items[k], names[n]);
        }
        if (found)
            tg_parse_warning(l->p, doc, "%s is never true while no client CA is configured; set downstream_mtls: "
                             "{ca_file: ...}", names[n]);
    }
}

void tg_warn_rules(struct tg_parse *p, const struct tg_rule *rules, const cJSON *doc)
{
    struct lint l;

    start(&l, p, rules, doc);
    for (size_t i = 0; i < l.count; i++) {
        if (i > 0)
            warn_of_neighbours(&l, &l.lines[i - 1], &l.lines[i]);
        warn_of_inversion(&l, &l.lines[i]);
        warn_of_conclusions(&l, &l.lines[i]);
        warn_of_rejects(&l, &l.lines[i]);
        warn_of_the_nameless(&l, &l.lines[i]);
    }
    warn_of_closed_door(&l);
    warn_of_repetitions(&l, doc);
    nowhere(&l);
    warn_of_401(&l, doc);
    if (l.count == 0)
        tg_parse_warning(p, doc, "this policy has no criteria: it allows nothing and denies nothing");
    warn_of_certificates(&l, doc);
    tg_arena_fini(&l.arena);
}
