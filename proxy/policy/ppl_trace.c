/*
 * ppl_trace - the same decision with every step told.
 *
 * Walks the rules as they were written, not the program: each criterion is compiled and run alone, and combined here by
 * the words of the language. The verdict comes from the program; that the two agree is tested.
 */
#include "base/hash.h"
#include "base/json.h"
#include "internal.h"

struct walk {
    struct tg_arena *arena;
    const struct tg_facts *facts;
};

static struct tg_outcome run_alone(const struct walk *w, const struct tg_rule_item *item)
{
    struct tg_rule_item copy = *item;
    struct tg_rule_list list = {.combine = TG_AND, .items = &copy, .count = 1};
    struct tg_rule rule = {.lists = &list};
    struct tg_source source = {.rules = &rule};
    const struct tg_program *program = tg_compile(w->arena, &source);
    struct tg_view view = {.facts = w->facts};

    return tg_run_group(program, &program->groups[0], &view);
}

static struct tg_slice saw_list(const struct walk *w, const struct tg_rule_item *item)
{
    struct tg_slice name = item->row->sub_path ? item->name : TG_S("groups");
    const struct tg_claim *claim;
    struct tg_buf text = {0};
    struct tg_slice out;

    if (!name.ptr)
        name = TG_S("");
    claim = tg_list_of(item->row, name, tg_hash_slice(name), w->facts);
    if (!claim)
        return TG_S("(none)");
    tg_buf_adds(&text, "[");
    for (size_t i = 0; i < claim->count; i++) {
        if (i > 0)
            tg_buf_adds(&text, ",");
        tg_json_print(&text, claim->values[i].json);
    }
    tg_buf_adds(&text, "]");
    out = tg_arena_dup(w->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

static struct tg_slice saw_certificate(const struct walk *w, const struct tg_rule_item *item)
{
    struct tg_buf text = {0};
    struct tg_slice out;

    if (!w->facts->certificate)
        return TG_S("(none)");
    tg_cert_saw(item->data, w->facts->certificate, &text);
    out = tg_arena_dup(w->arena, tg_buf_slice(&text));
    tg_buf_fini(&text);
    return out;
}

/* The value a criterion looked at. */
static struct tg_slice saw(const struct walk *w, const struct tg_rule_item *item)
{
    struct tg_slice out = {NULL, 0};
    char address[TG_IP_TEXT];

    if (item->row->identity && !w->facts->identity)
        return TG_S("(none)");
    switch (item->row->shape) {
    case TG_SHAPE_NONE:
        if (item->row->saw)
            out = item->row->saw(w->facts);
        break;
    case TG_SHAPE_TEXT:
        if (!item->row->text(w->facts, &out))
            out.len = 0;
        break;
    case TG_SHAPE_LIST:
        return saw_list(w, item);
    case TG_SHAPE_CERTIFICATE:
        return saw_certificate(w, item);
    case TG_SHAPE_NETWORKS:
        if (w->facts->source_ip.family)
            out = tg_slice(address, tg_ip_format(&w->facts->source_ip, address));
        break;
    }
    return out.len > 0 ? tg_arena_dup(w->arena, out) : TG_S("(none)");
}

/* The union of the reasons of the children whose value, turned when `inverted`, is `value`. */
static tg_reasons reasons_of(const struct tg_trace_node *children, bool inverted, bool value)
{
    tg_reasons set = 0;

    for (const struct tg_trace_node *c = children; c; c = c->next) {
        if ((c->value != inverted) == value)
            set |= c->reasons;
    }
    return set;
}

static bool some(const struct tg_trace_node *children, bool value)
{
    for (const struct tg_trace_node *c = children; c; c = c->next) {
        if (c->value == value)
            return true;
    }
    return false;
}

static struct tg_trace_node *trace_criterion(const struct walk *w, const struct tg_rule_item *item)
{
    struct tg_trace_node *node = TG_ARENA_NEW(w->arena, struct tg_trace_node);
    struct tg_outcome o = run_alone(w, item);

    node->kind = TG_TRACE_CRITERION;
    node->name = item->row->name;
    node->sub_path = item->name;
    node->data = item->data;
    node->saw = saw(w, item);
    node->value = o.value;
    node->reasons = o.reasons;
    return node;
}

static struct tg_trace_node *trace_operator(const struct walk *w, const struct tg_rule_list *list)
{
    struct tg_trace_node *node = TG_ARENA_NEW(w->arena, struct tg_trace_node);
    const struct tg_trace_node **tail = &node->children;
    bool inverted = list->combine == TG_NOT || list->combine == TG_NOR;

    node->kind = TG_TRACE_OPERATOR;
    node->name = tg_combine_names[list->combine];
    for (size_t i = 0; i < list->count; i++) {
        struct tg_trace_node *child = trace_criterion(w, &list->items[i]);

        *tail = child;
        tail = &child->next;
    }
    switch (list->combine) {
    case TG_AND: node->value = !some(node->children, false); break;
    case TG_OR: node->value = some(node->children, true); break;
    case TG_NOT: node->value = !some(node->children, true); break;
    case TG_NOR: node->value = some(node->children, false); break;
    }
    node->reasons = reasons_of(node->children, inverted, node->value);
    return node;
}

static struct tg_trace_node *trace_rule(const struct walk *w, const struct tg_rule *rule)
{
    struct tg_trace_node *node = TG_ARENA_NEW(w->arena, struct tg_trace_node);
    const struct tg_trace_node **tail = &node->children;

    node->kind = TG_TRACE_RULE;
    node->name = rule->deny ? "deny" : "allow";
    for (const struct tg_rule_list *list = rule->lists; list; list = list->next) {
        struct tg_trace_node *child = trace_operator(w, list);

        *tail = child;
        tail = &child->next;
    }
    node->value = some(node->children, true);
    node->reasons = reasons_of(node->children, false, node->value);
    return node;
}

static struct tg_trace_node *trace_policy(const struct walk *w, const struct tg_source *source)
{
    struct tg_trace_node *node = TG_ARENA_NEW(w->arena, struct tg_trace_node);
    const struct tg_trace_node **tail = &node->children;
    struct tg_outcome sum[2] = {{false, 0}, {false, 0}}; /* allow, deny */

    node->kind = TG_TRACE_POLICY;
    node->name = source->where;
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        struct tg_trace_node *child = trace_rule(w, rule);
        struct tg_outcome *s = &sum[rule->deny];

        *tail = child;
        tail = &child->next;
        if (child->value != s->value && child->value)
            *s = (struct tg_outcome){true, child->reasons};
        else if (child->value == s->value)
            s->reasons |= child->reasons;
    }
    node->value = sum[0].value && !sum[1].value;
    node->reasons = sum[1].value ? sum[1].reasons : sum[0].reasons;
    return node;
}

const struct tg_trace_node *tg_ppl_trace(const struct tg_program *program, const struct tg_facts *facts,
                                         struct tg_arena *arena, struct tg_verdict *out)
{
    struct walk w = {arena, facts};
    const struct tg_trace_node *first = NULL, **tail = &first;

    for (size_t i = 0; i < program->part_count; i++) {
        struct tg_trace_node *node = trace_policy(&w, program->parts[i].source);

        *tail = node;
        tail = &node->next;
    }
    tg_ppl_decide(program, facts, out);
    return first;
}
