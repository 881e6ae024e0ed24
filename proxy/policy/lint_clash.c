/*
 * lint_clash - criteria that no request meets.
 *
 * Criteria clash when they look at the same thing: two texts that one value cannot both be, an element that a list must
 * and must not have, networks without a common address. What a criterion cannot be negated to, and what takes too long,
 * is left out: fewer conditions clash less.
 */
#include "base/hash.h"
#include "base/json.h"
#include "lint.h"
#include <stdlib.h>

#define MOST_STEPS 200000                                /* of comparing texts one by one */
#define FEW_VALUES 8                                     /* of a list that is compared, not hashed */

enum family { OTHER, TEXTS, LISTS, NETWORKS, TIMES, NEVER };
struct member {                                          /* one criterion among those that look at the same */
    uint64_t subject;
    size_t item;
    enum family family;
};
struct condition {
    struct tg_raw_op op;
    enum tg_subject subject;
    const struct tg_criterion *row;
    struct lint_keys values;                             /* of a long list; else empty */
};
struct net {
    uint8_t family, first[16], last[16];
};

static bool is_named(const struct tg_rule_item *item, const char *name) { return strcmp(item->row->name, name) == 0; }

/* ---- what one criterion demands ---- */

/* Whether it has a value for every caller with a token; else neither it nor its negation need hold. */
static bool always_has_value(const struct tg_criterion *row)
{
    return row->shape != TG_SHAPE_TEXT || (row->subject != TG_SUBJECT_DOMAIN && row->subject != TG_SUBJECT_TOOL);
}

static bool is_trivial(const struct tg_raw_op *op)
{
    return (op->kind == TG_OP_STARTS || op->kind == TG_OP_ENDS || op->kind == TG_OP_CONTAINS) &&
           op->values->valuestring[0] == '\0';
}

/* Its operators but for those that always hold; OPTIONS of a preflight. */
static size_t read_ops(const struct tg_rule_item *item, struct tg_raw_op ops[static TG_OPS_MAX])
{
    static char options[] = "OPTIONS";
    static const cJSON method = {.type = cJSON_String, .valuestring = options};
    size_t count, kept = 0;

    if (is_named(item, "cors_preflight")) {
        ops[0] = (struct tg_raw_op){.kind = TG_OP_IN, .values = &method};
        return 1;
    }
    count = tg_matcher_read(item->row->shape, item->data, ops);
    for (size_t i = 0; i < count; i++) {
        if (!is_trivial(&ops[i]))
            ops[kept++] = ops[i];
    }
    return kept;
}

static enum family negated_family(const struct tg_rule_item *item)
{
    struct tg_raw_op ops[TG_OPS_MAX];
    enum tg_shape shape = item->row->shape;
    size_t count;

    if (is_named(item, "accept"))
        return NEVER;
    if ((shape != TG_SHAPE_TEXT && shape != TG_SHAPE_LIST) || !always_has_value(item->row))
        return OTHER;
    count = read_ops(item, ops);
    if (count == 0)
        return NEVER;                                    /* it states no condition */
    if (count > 1 || ops[0].kind == TG_OP_STARTS || ops[0].kind == TG_OP_ENDS || ops[0].kind == TG_OP_CONTAINS ||
        ops[0].kind == TG_OP_ONLY)
        return OTHER;
    return shape == TG_SHAPE_TEXT ? TEXTS : LISTS;
}

static enum family family_of(const struct tg_rule_item *item, bool negated)
{
    if (negated)
        return negated_family(item);
    if (is_named(item, "reject"))
        return NEVER;
    if (is_named(item, "cors_preflight"))
        return TEXTS;
    switch (item->row->shape) {
    case TG_SHAPE_TEXT: return TEXTS;
    case TG_SHAPE_LIST: return LISTS;
    case TG_SHAPE_NETWORKS: return NETWORKS;
    case TG_SHAPE_TIME: return TIMES;
    default: return OTHER;
    }
}

static enum tg_op_kind negation(enum tg_op_kind kind)
{
    switch (kind) {
    case TG_OP_IN: return TG_OP_NOT_IN;
    case TG_OP_NOT_IN: return TG_OP_IN;
    case TG_OP_HAS: return TG_OP_EXCLUDE;
    case TG_OP_EXCLUDE: return TG_OP_HAS;
    default: return kind;
    }
}

static void index_values(struct condition *c)
{
    const cJSON *value;

    if (!c->op.each || cJSON_GetArraySize(c->op.values) <= FEW_VALUES ||
        (c->op.kind != TG_OP_IN && c->op.kind != TG_OP_NOT_IN))
        return;
    cJSON_ArrayForEach(value, c->op.values)
        lint_keys_put(&c->values, lint_hash_value(value), 1);
}

static void add_conditions(struct tg_buf *list, const struct tg_rule_item *item, bool negated)
{
    struct tg_raw_op ops[TG_OPS_MAX];
    size_t count = read_ops(item, ops);

    for (size_t i = 0; i < count; i++) {
        struct condition condition = {.op = ops[i], .row = item->row, .subject = item->row->subject};

        if (is_named(item, "cors_preflight"))
            condition.subject = TG_SUBJECT_METHOD;
        if (negated)
            condition.op.kind = negation(ops[i].kind);
        index_values(&condition);
        tg_buf_add(list, &condition, sizeof(condition));
    }
}

/* ---- texts ---- */

bool lint_never_occurs(enum tg_subject subject, struct tg_slice text)
{
    if (subject == TG_SUBJECT_PATH)                      /* it is canonical; `*` is that of OPTIONS */
        return (!tg_slice_starts_with(text, TG_S("/")) && !tg_slice_eq(text, TG_S("*"))) ||
               tg_slice_contains(text, TG_S("//"));
    return subject == TG_SUBJECT_DOMAIN && tg_slice_contains(text, TG_S("@"));
}

static bool is_one_of(const struct condition *c, struct tg_slice text)
{
    struct tg_slice value;

    if (c->values.count > 0)
        return lint_keys_get(&c->values, lint_hash_text(text));
    if (!c->op.each)
        return tg_json_str(c->op.values, &value) && tg_slice_eq(value, text);
    for (const cJSON *v = c->op.values->child; v; v = v->next) {
        if (tg_json_str(v, &value) && tg_slice_eq(value, text))
            return true;
    }
    return false;
}

/* `text` is an address when the condition is one on its domain. */
static bool holds(const struct condition *c, bool of_address, struct tg_slice text)
{
    struct tg_slice operand = tg_slice_str(c->op.values->valuestring), local, after;

    if (of_address && c->subject == TG_SUBJECT_DOMAIN) {
        if (!tg_slice_cut(text, '@', &local, &text))
            return false;
        tg_slice_cut(text, '@', &text, &after);
    }
    switch (c->op.kind) {
    case TG_OP_IN: return is_one_of(c, text);
    case TG_OP_NOT_IN: return !is_one_of(c, text);
    case TG_OP_STARTS: return tg_slice_starts_with(text, operand);
    case TG_OP_ENDS: return tg_slice_ends_with(text, operand);
    case TG_OP_CONTAINS: return tg_slice_contains(text, operand);
    default: return true;
    }
}

static size_t values_of(const struct tg_raw_op *op)
{
    return op->each ? (size_t)cJSON_GetArraySize(op->values) : 1;
}

/* The shortest list of texts there may be; NULL: none is given. Addresses, where there are any, rather than domains. */
static const struct condition *shortest_choice(const struct condition *list, size_t count)
{
    const struct condition *best = NULL;

    for (size_t i = 0; i < count; i++) {
        bool domain = list[i].subject == TG_SUBJECT_DOMAIN;

        if (list[i].op.kind != TG_OP_IN || (best && domain && best->subject == TG_SUBJECT_EMAIL))
            continue;
        if (!best || (!domain && best->subject == TG_SUBJECT_DOMAIN) || values_of(&list[i].op) < values_of(&best->op))
            best = &list[i];
    }
    return best;
}

/* Whether some text of `choice` meets them all; also when that was not found out. */
static bool some_text_fits(const struct condition *list, size_t count, const struct condition *choice)
{
    const cJSON *value = choice->op.each ? choice->op.values->child : choice->op.values;
    bool address = choice->subject == TG_SUBJECT_EMAIL;
    size_t steps = 0;

    for (; value; value = choice->op.each ? value->next : NULL) {
        struct tg_slice text;
        bool fits = tg_json_str(value, &text) && !lint_never_occurs(choice->subject, text);

        for (size_t i = 0; i < count && fits; i++) {
            if (++steps > MOST_STEPS)
                return true;
            fits = list[i].subject != choice->subject && !address ? true : holds(&list[i], address, text);
        }
        if (fits)
            return true;
    }
    return false;
}

/* Of several beginnings (or ends) one is the longest, and the others are its own. */
static bool ends_fit(const struct condition *list, size_t count, enum tg_op_kind kind, enum tg_subject subject)
{
    struct tg_slice longest = {NULL, 0};

    for (size_t i = 0; i < count; i++) {
        struct tg_slice text = tg_slice_str(list[i].op.values->valuestring);
        bool more;

        if (list[i].op.kind != kind || list[i].subject != subject)
            continue;
        more = text.len > longest.len;
        if (kind == TG_OP_STARTS ? !tg_slice_starts_with(more ? text : longest, more ? longest : text)
                                 : !tg_slice_ends_with(more ? text : longest, more ? longest : text))
            return false;
        longest = more ? text : longest;
    }
    return longest.len == 0 || (kind == TG_OP_ENDS && subject == TG_SUBJECT_PATH) ||
           !lint_never_occurs(subject, longest);
}

static bool texts_clash(const struct condition *list, size_t count)
{
    const enum tg_subject subjects[] = {list[0].subject, TG_SUBJECT_EMAIL, TG_SUBJECT_DOMAIN};
    const struct condition *choice = shortest_choice(list, count);

    if (choice && !some_text_fits(list, count, choice))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        if (!ends_fit(list, count, TG_OP_STARTS, subjects[i]) || !ends_fit(list, count, TG_OP_ENDS, subjects[i]))
            return true;
    }
    return false;
}

/* ---- lists, networks ---- */

static bool lists_clash(const struct condition *list, size_t count)
{
    struct lint_keys excluded = {0};
    uint64_t only = 0;
    bool one = false, clash = false;

    for (size_t i = 0; i < count; i++) {
        uint64_t value = lint_hash_value(list[i].op.values);

        if (list[i].op.kind == TG_OP_EXCLUDE) {
            lint_keys_put(&excluded, value, 1);
        } else if (list[i].op.kind == TG_OP_ONLY) {
            clash = clash || (one && only != value);
            only = value;
            one = true;
        }
    }
    for (size_t i = 0; i < count && !clash; i++) {
        uint64_t value = lint_hash_value(list[i].op.values);

        if (list[i].op.kind != TG_OP_EXCLUDE)
            clash = lint_keys_get(&excluded, value) || (one && only != value);
    }
    lint_keys_fini(&excluded);
    return clash;
}

static struct net net_of(const struct tg_cidr *block)
{
    struct net net = {.family = (uint8_t)block->ip.family};
    unsigned bits = block->ip.family == 4 ? 32 : 128;

    memcpy(net.first, block->ip.bytes, bits / 8);
    memcpy(net.last, block->ip.bytes, bits / 8);
    for (unsigned bit = block->bits; bit < bits; bit++) {
        net.first[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
        net.last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
    return net;
}

static int compare_nets(const void *a, const void *b)
{
    const struct net *x = a, *y = b;

    return x->family != y->family ? x->family - y->family : memcmp(x->first, y->first, 16);
}

/* Sorted; `out` is a list of struct net. */
static size_t read_nets(const struct tg_raw_op *op, struct tg_buf *out)
{
    size_t count;

    for (const cJSON *v = op->each ? op->values->child : op->values; v; v = op->each ? v->next : NULL) {
        struct tg_cidr block;
        struct net net;

        if (!tg_cidr_parse(tg_slice_str(v->valuestring), &block))
            continue;
        net = net_of(&block);
        tg_buf_add(out, &net, sizeof(net));
    }
    count = out->len / sizeof(struct net);
    if (count > 1)
        qsort(out->data, count, sizeof(struct net), compare_nets);
    return count;
}

/* Whether a block of one meets one of the other: of two that meet, one holds the other. */
static bool meet(const struct net *a, size_t a_count, const struct net *b, size_t b_count)
{
    size_t i = 0, j = 0;

    while (i < a_count && j < b_count) {
        int order = a[i].family != b[j].family ? a[i].family - b[j].family : memcmp(a[i].last, b[j].last, 16);

        if (a[i].family == b[j].family && memcmp(a[i].first, b[j].last, 16) <= 0 &&
            memcmp(b[j].first, a[i].last, 16) <= 0)
            return true;
        if (order < 0)
            i++;
        else
            j++;
    }
    return false;
}

/* Each with the first: of three that meet by twos only, none is said to clash. */
static bool networks_clash(const struct condition *list, size_t count)
{
    struct tg_buf first = {0}, other = {0};
    size_t first_count = read_nets(&list[0].op, &first), steps = 0;
    bool clash = first_count == 0;

    for (size_t i = 1; i < count && !clash && steps < MOST_STEPS; i++) {
        size_t other_count = (other.len = 0, read_nets(&list[i].op, &other));

        clash = !meet((const struct net *)(const void *)first.data, first_count,
                      (const struct net *)(const void *)other.data, other_count);
        steps += first_count + other_count + 1;
    }
    tg_buf_fini(&first);
    tg_buf_fini(&other);
    return clash;
}

/* ---- criteria that look at the same ---- */

/* Two at a time: only those next to each other. */
static bool times_clash(const struct condition *list, size_t count)
{
    struct tg_arena arena;
    bool clash = false;

    tg_arena_init(&arena, NULL, 0);
    for (size_t i = 1; i < count && !clash; i++)
        clash = tg_when_apart(tg_when_make(&arena, list[i - 1].row, list[i - 1].op.values),
                              tg_when_make(&arena, list[i].row, list[i].op.values));
    tg_arena_fini(&arena);
    return clash;
}

static bool conditions_clash(enum family family, const struct condition *list, size_t count)
{
    switch (count > 0 ? family : OTHER) {
    case TEXTS: return texts_clash(list, count);
    case LISTS: return lists_clash(list, count);
    case NETWORKS: return networks_clash(list, count);
    case TIMES: return times_clash(list, count);
    default: return false;
    }
}

static bool members_clash(const struct tg_rule_item *items, const struct member *members, size_t count, bool negated)
{
    struct condition *list;
    struct tg_buf buf = {0};
    size_t found;
    bool clash;

    if (members[0].family == NEVER)
        return true;
    for (size_t i = 0; i < count; i++)
        add_conditions(&buf, &items[members[i].item], negated);
    list = (struct condition *)(void *)buf.data;
    found = buf.len / sizeof(*list);
    clash = conditions_clash(members[0].family, list, found);
    for (size_t i = 0; i < found; i++)
        lint_keys_fini(&list[i].values);
    tg_buf_fini(&buf);
    return clash;
}

/* The fewest of the first members that clash: they go on clashing when more are added. */
static size_t first_culprit(const struct tg_rule_item *items, const struct member *members, size_t count, bool negated)
{
    size_t low = 1, high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (members_clash(items, members, middle, negated))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int by_subject(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    if (x->subject != y->subject)
        return x->subject < y->subject ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

/* An address and its domain go together, and so do a preflight and its method. */
static uint64_t subject_of(const struct tg_rule_item *item)
{
    const struct tg_criterion *row = item->row;

    if (row->shape == TG_SHAPE_TEXT && row->subject == TG_SUBJECT_DOMAIN)
        row = tg_criterion_find(TG_S("email"));
    else if (is_named(item, "cors_preflight"))
        row = tg_criterion_find(TG_S("http_method"));
    return lint_subject(row, row->sub_path ? item->name : (struct tg_slice){NULL, 0});
}

/* Most criteria say one text or one element. */
static bool is_plain(const struct tg_rule_item *item)
{
    const cJSON *data = item->data;

    if (item->row->shape != TG_SHAPE_TEXT && item->row->shape != TG_SHAPE_LIST)
        return false;
    if (cJSON_IsObject(data) && data->child && !data->child->next && strcmp(data->child->string, "is") == 0)
        data = data->child;
    if (!cJSON_IsString(data))
        return false;
    return item->row->shape == TG_SHAPE_LIST ||
           !lint_never_occurs(item->row->subject, tg_slice_str(data->valuestring));
}

/* One by one first: most lists are long because they are alternatives. */
static bool one_clashes(const struct tg_rule_item *items, size_t count, bool negated, struct lint_clash *out)
{
    for (size_t i = 0; i < count; i++) {
        struct member member = {.item = i};

        if (is_plain(&items[i]))
            continue;
        member.family = family_of(&items[i], negated);
        if (member.family != OTHER && members_clash(items, &member, 1, negated)) {
            *out = (struct lint_clash){.item = i, .alone = true, .identity = items[i].row->identity};
            return true;
        }
    }
    return false;
}

bool lint_clash(const struct tg_rule_item *items, size_t count, bool negated, struct lint_clash *out)
{
    struct member *members;
    size_t known = 0, end;
    bool clash = false;

    if (one_clashes(items, count, negated, out))
        return true;
    if (count < 2)
        return false;
    members = TG_NEW_ARRAY(struct member, count);
    for (size_t i = 0; i < count; i++) {
        enum family family = family_of(&items[i], negated);

        if (family != OTHER)
            members[known++] = (struct member){subject_of(&items[i]), i, family};
    }
    if (known > 1)
        qsort(members, known, sizeof(*members), by_subject);
    for (size_t start = 0; start < known && !clash; start = end) {
        for (end = start + 1; end < known && members[end].subject == members[start].subject;)
            end++;
        clash = end > start + 1 && members_clash(items, members + start, end - start, negated);
        if (clash) {
            size_t n = first_culprit(items, members + start, end - start, negated);

            *out = (struct lint_clash){.item = members[start + n - 1].item,
                                       .identity = items[members[start].item].row->identity};
        }
    }
    free(members);
    return clash;
}
