/*
 * ppl_trace - the same decision with every step told, also when not everything is known about the request.
 *
 * Walks the rules as they were written, not the program: each criterion is asked by trace_item.c, and combined here by
 * the words of the language. That this and the program agree is tested. What is not known may come out either way: each
 * step keeps, for both of its outcomes, whether it is possible, which reasons it would surely have and which it might
 * have. A decision is known when every way through leads to it. With everything known the verdict is the program's.
 */
#include "internal.h"

/* By value, false and true. What is not possible has no reasons. */
struct ways {
    bool can[2];
    tg_reasons must[2], may[2];
};
struct step {
    struct tg_trace_node node;
    struct ways ways;
    struct step *children, *next;
    bool inverted;                                       /* operator: value and reasons are turned */
};
#define SEEN 8
struct walk {
    struct tg_arena *arena;
    const struct tg_facts *facts;
    size_t unknown;                                      /* criteria */
    struct {
        const struct tg_rule_item *item;
        struct tg_slice saw;
    } seen[SEEN];                                        /* of the last that looked at something else */
    size_t seen_count;                                   /* ever */
};

/* ---- one criterion ---- */

/* Without an identity what is asked of one is known: there is none. */
static bool is_known(const struct walk *w, const struct tg_rule_item *item)
{
    const struct tg_fact_set *known = w->facts->known;
    unsigned needs;

    if (!known || (item->row->identity && !w->facts->identity))
        return true;
    if (item->row->shape == TG_SHAPE_LIST && item->row->sub_path)
        return tg_fact_set_has_claim(known, item->name.ptr ? item->name : TG_S(""));
    needs = tg_item_facts(item);
    if (item->row->shape == TG_SHAPE_CERTIFICATE && !item->data->child)
        needs = TG_FACT_BIT(TG_FACT_CERT_FINGERPRINT);   /* only whether there is one */
    return (needs & ~known->facts) == 0;
}

/* What a criterion may say when nothing is known of what it reads. Those without a matcher are asked both ways. */
static struct ways any_way(const struct tg_criterion *row)
{
    struct ways out = {.can = {true, true}};

    if (row->shape == TG_SHAPE_NONE) {
        static const struct tg_facts none;
        struct tg_facts some = {.identity = true, .user = TG_S("u"), .cors_preflight = true,
                                .client_cert = TG_CLIENT_CERT_MISSING};
        const struct tg_facts *all[] = {&none, &some, &(struct tg_facts){.client_cert = TG_CLIENT_CERT_INVALID}};

        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            struct tg_outcome o = row->fixed(all[i]);

            out.may[o.value] |= o.reasons;
        }
        for (int v = 0; v < 2; v++)
            out.must[v] = out.may[v] & (out.may[v] - 1) ? 0 : out.may[v]; /* the only one there is */
        return out;
    }
    out.must[1] = out.may[1] = TG_REASON_BIT(row->pass);
    out.may[0] = TG_REASON_BIT(row->fail) | (row->has_undefined ? TG_REASON_BIT(row->undefined) : 0);
    out.must[0] = row->has_undefined ? 0 : out.may[0];
    return out;
}

/* ---- combining ---- */

static bool surely(const struct ways *w, bool value) { return w->can[value] && !w->can[!value]; }

/* `pivot`: the value that one member is enough for. */
static struct ways combine(const struct step *members, bool pivot)
{
    struct ways sum = {.can = {[0] = pivot, [1] = !pivot}};
    const struct step *only = NULL;
    size_t candidates = 0;

    for (const struct step *m = members; m; m = m->next) {
        const struct ways *w = &m->ways;

        sum.can[pivot] |= w->can[pivot];
        sum.can[!pivot] &= w->can[!pivot];
        sum.may[0] |= w->may[0];
        sum.may[1] |= w->may[1];
        sum.must[!pivot] |= w->must[!pivot];             /* then all of them have that value */
        if (surely(w, pivot))
            sum.must[pivot] |= w->must[pivot];
        if (w->can[pivot]) {
            candidates++;
            only = m;
        }
    }
    if (candidates == 1)
        sum.must[pivot] = only->ways.must[pivot];
    for (int v = 0; v < 2; v++) {
        if (!sum.can[v])
            sum.must[v] = sum.may[v] = 0;
    }
    return sum;
}

/* Inversion turns the value and keeps the reasons. */
static struct ways turn(struct ways w)
{
    return (struct ways){{w.can[1], w.can[0]}, {w.must[1], w.must[0]}, {w.may[1], w.may[0]}};
}

static void show(struct step *s)
{
    s->node.unknown = s->ways.can[0] && s->ways.can[1];
    s->node.value = surely(&s->ways, true);
    s->node.reasons = s->node.unknown ? 0 : s->ways.must[s->node.value];
}

/* Appends to the list whose end is *tail; the nodes are the same list, for those who only read. */
static void append(struct step *parent, struct step ***tail, struct step *child)
{
    struct step *last = parent->children;

    if (!last)
        parent->node.children = &child->node;
    **tail = child;
    *tail = &child->next;
}

static void link_nodes(struct step *first)
{
    for (struct step *s = first; s; s = s->next)
        s->node.next = s->next ? &s->next->node : NULL;
}

/* ---- the walk ---- */

static bool looks_at_the_same(const struct tg_rule_item *a, const struct tg_rule_item *b)
{
    return a->row == b->row && tg_slice_eq(a->name, b->name) && a->row->shape != TG_SHAPE_CERTIFICATE &&
           a->row->shape != TG_SHAPE_TIME;
}

/* Ten thousand criteria about one long claim keep one copy of it. */
static struct tg_slice saw(struct walk *w, const struct tg_rule_item *item)
{
    size_t kept = w->seen_count < SEEN ? w->seen_count : SEEN, place;

    for (size_t i = 0; i < kept; i++) {
        if (looks_at_the_same(w->seen[i].item, item))
            return w->seen[i].saw;
    }
    place = w->seen_count++ % SEEN;
    w->seen[place].item = item;
    w->seen[place].saw = tg_item_saw(item, w->facts, w->arena);
    return w->seen[place].saw;
}

static struct step *trace_criterion(struct walk *w, const struct tg_rule_item *item)
{
    struct step *s = TG_ARENA_NEW(w->arena, struct step);

    s->node.kind = TG_TRACE_CRITERION;
    s->node.name = item->row->name;
    s->node.sub_path = item->name;
    s->node.data = item->data;
    if (is_known(w, item)) {
        struct tg_outcome o = tg_item_ask(item, w->facts, w->arena);

        s->ways.can[o.value] = true;
        s->ways.must[o.value] = s->ways.may[o.value] = o.reasons;
        s->node.saw = saw(w, item);
    } else {
        s->ways = any_way(item->row);
        s->node.saw = TG_S("(not logged)");
        w->unknown++;
    }
    show(s);
    return s;
}

static struct step *trace_operator(struct walk *w, const struct tg_rule_list *list)
{
    struct step *s = TG_ARENA_NEW(w->arena, struct step), **tail = &s->children;

    s->node.kind = TG_TRACE_OPERATOR;
    s->node.name = tg_combine_names[list->combine];
    s->inverted = list->combine == TG_NOT || list->combine == TG_NOR;
    for (size_t i = 0; i < list->count; i++)
        append(s, &tail, trace_criterion(w, &list->items[i]));
    link_nodes(s->children);
    s->ways = combine(s->children, list->combine == TG_OR || list->combine == TG_NOT);
    if (s->inverted)
        s->ways = turn(s->ways);
    show(s);
    return s;
}

static struct step *trace_rule(struct walk *w, const struct tg_rule *rule)
{
    struct step *s = TG_ARENA_NEW(w->arena, struct step), **tail = &s->children;

    s->node.kind = TG_TRACE_RULE;
    s->node.name = rule->deny ? "deny" : "allow";
    for (const struct tg_rule_list *list = rule->lists; list; list = list->next)
        append(s, &tail, trace_operator(w, list));
    link_nodes(s->children);
    s->ways = combine(s->children, true);
    show(s);
    return s;
}

/* One more alternative. */
static void or_with(struct ways *sum, const struct ways *more)
{
    struct step second = {.ways = *more}, first = {.ways = *sum, .next = &second};

    *sum = combine(&first, true);
}

static const struct ways no_rule = {.can = {true, false}};

static bool has_allow(const struct tg_source *source)
{
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        if (!rule->deny && rule->lists)
            return true;
    }
    return false;
}

/* A policy and, apart, what its allow and its deny rules say. */
static struct step *trace_policy(struct walk *w, const struct tg_source *source, struct ways sum[2])
{
    struct step *s = TG_ARENA_NEW(w->arena, struct step), **tail = &s->children;
    struct tg_trace_node *node = &s->node;

    sum[0] = sum[1] = no_rule;
    node->kind = TG_TRACE_POLICY;
    node->name = source->where;
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        struct step *child = trace_rule(w, rule);

        append(s, &tail, child);
        or_with(&sum[rule->deny], &child->ways);
    }
    link_nodes(s->children);
    if (surely(&sum[1], true)) {
        node->reasons = sum[1].must[1];
    } else {
        node->unknown = sum[0].can[1] && (sum[0].can[0] || sum[1].can[1]);
        node->value = !node->unknown && sum[0].can[1];
        node->reasons = node->unknown ? 0 : sum[0].must[node->value];
    }
    return s;
}

/* ---- the verdict, when something is not known ---- */

static const tg_reasons of_certificate = TG_REASON_BIT(TG_REASON_CLIENT_CERTIFICATE_REQUIRED) |
                                         TG_REASON_BIT(TG_REASON_INVALID_CLIENT_CERTIFICATE);
static const tg_reasons of_login = TG_REASON_BIT(TG_REASON_USER_UNAUTHENTICATED);

/* A decision with its reasons, as far as they are sure. */
struct ruling {
    enum tg_decision decision;
    tg_reasons must, may;
    enum { RULED_BY_NONE, RULED_BY_DENIER, RULED_BY_REFUSER } by;
};

/*
 * The rulings that allow and deny with these values may come to, at most three, in the order of precedence: a
 * certificate, a login, then the rest. One that is sure is the last.
 */
static size_t rulings(const struct ways sum[2], bool allow, bool deny, struct ruling out[static 3])
{
    tg_reasons denied = sum[1].may[deny], surely_denied = sum[1].must[deny];
    tg_reasons both = sum[0].may[allow] | denied, surely_both = sum[0].must[allow] | surely_denied;
    size_t n = 0;

    if (denied & of_certificate)
        out[n++] = (struct ruling){TG_DENY, surely_denied & of_certificate, denied & of_certificate, RULED_BY_DENIER};
    if (surely_denied & of_certificate)
        return n;
    if (both & of_login)
        out[n++] = (struct ruling){TG_UNAUTHENTICATED, of_login, of_login, RULED_BY_NONE};
    if (surely_both & of_login)
        return n;
    if (deny)
        out[n++] = (struct ruling){TG_DENY, surely_denied, denied, RULED_BY_DENIER};
    else
        out[n++] = (struct ruling){allow ? TG_ALLOW : TG_DENY, sum[0].must[allow], sum[0].may[allow],
                                   allow ? RULED_BY_NONE : RULED_BY_REFUSER};
    return n;
}

static void add_ruling(struct tg_verdict *v, const struct ruling *r, bool first, int denier, int refuser)
{
    if (first) {
        v->decision = r->decision;
        v->reasons = r->must;
        v->policy = r->by == RULED_BY_DENIER ? denier : r->by == RULED_BY_REFUSER ? refuser : -1;
        v->unknown = r->must != r->may;
        return;
    }
    v->undecided |= v->decision != r->decision;
    v->unknown |= v->undecided || r->must != r->may || v->reasons != r->must;
    v->reasons &= r->must;
    v->policy = -1;
}

static void conclude(struct tg_verdict *v, const struct ways sum[2], int denier, int refuser)
{
    struct ruling found[3];
    bool first = true;

    *v = (struct tg_verdict){.allow = surely(&sum[0], true), .deny = surely(&sum[1], true), .policy = -1};
    v->allow_reasons = sum[0].must[v->allow];
    v->deny_reasons = sum[1].must[v->deny];
    for (int way = 0; way < 4; way++) {
        bool allow = way & 1, deny = way & 2;
        size_t n = sum[0].can[allow] && sum[1].can[deny] ? rulings(sum, allow, deny, found) : 0;

        for (size_t i = 0; i < n; i++) {
            add_ruling(v, &found[i], first, denier, refuser);
            first = false;
        }
    }
    if (v->undecided) {
        v->decision = TG_DENY;
        v->reasons = 0;
    }
}

/* ---- what decided ---- */

/* The members whose reasons their operator has, down to criteria with one of `reasons`. */
static bool mark(struct step *s, tg_reasons reasons)
{
    if (s->node.kind == TG_TRACE_CRITERION) {
        s->node.decisive = !s->node.unknown && (s->node.reasons & reasons);
        return s->node.decisive;
    }
    for (struct step *c = s->children; c; c = c->next) {
        if (!c->node.unknown && !s->node.unknown && (c->node.value != s->inverted) == s->node.value)
            s->node.decisive |= mark(c, reasons);
    }
    return s->node.decisive;
}

/* Which side spoke: of a login that is missing both may have. */
static void mark_all(struct step *policies, const struct tg_verdict *v)
{
    bool certificate = v->deny_reasons & of_certificate, login = v->decision == TG_UNAUTHENTICATED;

    for (struct step *p = policies; p; p = p->next) {
        for (struct step *rule = p->children; rule; rule = rule->next) {
            bool deny = strcmp(rule->node.name, "deny") == 0;
            bool side = deny ? v->deny : v->allow;

            if (rule->node.unknown || rule->node.value != side || (!login && deny != (certificate || v->deny)))
                continue;
            p->node.decisive |= mark(rule, v->reasons);
        }
    }
}

const struct tg_trace_node *tg_ppl_trace(const struct tg_program *program, const struct tg_facts *facts,
                                         struct tg_arena *arena, struct tg_verdict *out)
{
    struct walk w = {.arena = arena, .facts = facts};
    struct ways total[2] = {no_rule, no_rule};
    struct step *first = NULL, **tail = &first;
    int denier = -1, refuser = -1;
    bool deny_known = true, allow_known = true;          /* of the policies so far */

    for (size_t i = 0; i < program->part_count; i++) {
        const struct tg_source *source = program->parts[i].source;
        struct ways sum[2];
        struct step *s = trace_policy(&w, source, sum);

        *tail = s;
        tail = &s->next;
        deny_known &= !(sum[1].can[0] && sum[1].can[1]);
        allow_known &= !(sum[0].can[0] && sum[0].can[1]);
        if (denier < 0 && deny_known && surely(&sum[1], true))
            denier = source->index;
        if (refuser < 0 && allow_known && has_allow(source) && surely(&sum[0], false))
            refuser = source->index;
        or_with(&total[0], &sum[0]);
        or_with(&total[1], &sum[1]);
    }
    link_nodes(first);
    if (w.unknown > 0)
        conclude(out, total, denier, refuser);
    else
        tg_ppl_decide(program, facts, out);
    if (!out->undecided)
        mark_all(first, out);
    return first ? &first->node : NULL;
}
