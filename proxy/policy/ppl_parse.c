/*
 * ppl_parse - a document tree becomes rules; every error is told with its place and path, like `allow.and[0].email`.
 *
 * One error refuses the whole document, and all of them are found in one pass. What the rules need of the tree is
 * copied into the arena, so the tree may go.
 */
#include "base/err.h"
#include "base/setting.h"
#include "internal.h"
#include <stdlib.h>

const char *const tg_combine_names[4] = {[TG_AND] = "and", [TG_OR] = "or", [TG_NOT] = "not", [TG_NOR] = "nor"};

const char *tg_kind_of(const cJSON *node)
{
    switch (node->type & 0xff) {
    case cJSON_NULL: return "null";
    case cJSON_True:
    case cJSON_False: return "a boolean";
    case cJSON_Number: return "a number";
    case cJSON_String: return "a string";
    case cJSON_Array: return "a list";
    default: return "a mapping";
    }
}

const char *tg_shown(const char *name, char out[static TG_SHOWN])
{
    size_t len = 0;

    for (; name[len] && len < TG_SHOWN - 1; len++) {
        unsigned char c = (unsigned char)name[len];
        out[len] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    if (name[len])                                       /* not in the middle of a character */
        while (len > 0 && ((unsigned char)name[len] & 0xc0) == 0x80)
            len--;
    out[len] = '\0';
    return out;
}

/* ---- messages ---- */
static void add_path(const struct tg_parse *p, struct tg_buf *out)
{
    char shown[TG_SHOWN];
    size_t start;

    if (p->where && *p->where)
        tg_buf_addf(out, "%s: ", p->where);
    start = out->len;
    if (p->document >= 0)
        tg_buf_addf(out, "[%ld]", p->document);
    if (p->action)
        tg_buf_addf(out, "%s%s", out->len > start ? "." : "", p->action);
    if (p->combine)
        tg_buf_addf(out, "%s%s", out->len > start ? "." : "", p->combine);
    if (p->item >= 0)
        tg_buf_addf(out, "[%ld]", p->item);
    if (p->criterion)
        tg_buf_addf(out, ".%s", tg_shown(p->criterion, shown));
    if (p->part)
        tg_buf_addf(out, ".%s", p->part);
    if (p->operator)
        tg_buf_addf(out, ".%s", tg_shown(p->operator, shown));
    if (p->element > 0)
        tg_buf_addf(out, "[%zu]", p->element - 1);
    if (out->len > start)
        tg_buf_adds(out, ": ");
}

void tg_parse_problem(struct tg_parse *p, const cJSON *node, bool at_key, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    p->failed = true;
    add_path(p, &text);
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    if (!node)
        tg_problem_add(p->problems, false, "%s", tg_buf_cstr(&text));
    else if (at_key)
        tg_problem_at_key(p->problems, p->tree, node, "%s", tg_buf_cstr(&text));
    else
        tg_problem_at(p->problems, p->tree, node, "%s", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

void tg_parse_warning(struct tg_parse *p, const cJSON *node, const char *fmt, ...)
{
    struct tg_buf text = {0};
    va_list ap;

    add_path(p, &text);
    va_start(ap, fmt);
    tg_buf_vaddf(&text, fmt, ap);
    va_end(ap);
    if (node)
        tg_warning_at(p->problems, p->tree, node, "%s", tg_buf_cstr(&text));
    else
        tg_problem_add(p->problems, true, "%s", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

/* All names of the language are in lower case: who wrote capitals meant the same. */
static char *lowered(struct tg_slice name)
{
    char *out = tg_slice_dup(name);

    for (char *c = out; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    return out;
}

void tg_parse_unknown_key(struct tg_parse *p, const cJSON *node, const char *what, const char *const *names,
                          size_t count, const char *expected)
{
    char *lower = lowered(tg_slice_str(node->string)), shown[TG_SHOWN];
    const char *near = tg_nearest(lower, names, count);

    free(lower);
    tg_parse_problem(p, node, true, "\"%s\" is not %s%s%s%s (expected %s)", tg_shown(node->string, shown), what,
                     near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "", expected);
}

/* ---- data of a criterion ---- */
static void check_operand(struct tg_parse *p, bool text_only, const struct tg_operator *op, const cJSON *value)
{
    if (op->operand == TG_OPERAND_ARRAY && !cJSON_IsArray(value))
        tg_parse_problem(p, value, false, "expected a list of values, not %s", tg_kind_of(value));
    else if (op->operand == TG_OPERAND_STRING && !cJSON_IsString(value))
        tg_parse_problem(p, value, false, "expected a string, not %s", tg_kind_of(value));
    else if (op->operand == TG_OPERAND_ANY && text_only && !cJSON_IsString(value))
        tg_parse_problem(p, value, false, "expected a string, not %s: %s", tg_kind_of(value),
                         cJSON_IsArray(value) ? "use `in` for any of several" : "it is always text");
}

void tg_parse_matcher(struct tg_parse *p, enum tg_shape shape, bool text_only, const cJSON *data)
{
    size_t count;
    const struct tg_operator *known = tg_operators(shape, &count);
    const char *names[TG_OPS_MAX];
    const cJSON *member;

    if (!cJSON_IsObject(data)) {
        check_operand(p, text_only, &known[0], data);
        return;
    }
    for (size_t i = 0; i < count; i++)
        names[i] = known[i].name;
    cJSON_ArrayForEach(member, data) {
        size_t i = 0;

        while (i < count && strcmp(known[i].name, member->string) != 0)
            i++;
        if (i == count) {
            if (shape == TG_SHAPE_TEXT)
                tg_parse_unknown_key(p, member, "an operator on text", names, count,
                                     "is, not, contains, starts_with, ends_with, in or not_in");
            else
                tg_parse_unknown_key(p, member, "an operator on a list of values", names, count,
                                     "has, is or exclude; for several values several criteria under `or`");
            continue;
        }
        p->operator = known[i].name;
        check_operand(p, text_only, &known[i], member);
        p->operator = NULL;
    }
}

static void check_network(struct tg_parse *p, const cJSON *value)
{
    struct tg_cidr cidr;
    char shown[TG_SHOWN];

    if (!cJSON_IsString(value))
        tg_parse_problem(p, value, false, "expected an IP address or CIDR block, not %s", tg_kind_of(value));
    else if (!tg_cidr_parse(tg_slice_str(value->valuestring), &cidr))
        tg_parse_problem(p, value, false, "\"%s\" is not an IP address or CIDR block",
                         tg_shown(value->valuestring, shown));
}

static void check_data(struct tg_parse *p, const struct tg_criterion *row, const cJSON *data)
{
    const cJSON *element;

    switch (row->shape) {
    case TG_SHAPE_NONE:
        break;
    case TG_SHAPE_TEXT:
    case TG_SHAPE_LIST:
        tg_parse_matcher(p, row->shape, row->text_only, data);
        break;
    case TG_SHAPE_CERTIFICATE:
        tg_cert_matcher_check(p, data);
        break;
    case TG_SHAPE_TIME:
        tg_when_check(p, row, data);
        break;
    case TG_SHAPE_NETWORKS:
        if (!cJSON_IsArray(data)) {
            check_network(p, data);
            break;
        }
        cJSON_ArrayForEach(element, data) {
            p->element++;
            check_network(p, element);
        }
        p->element = 0;
        break;
    }
}

/* ---- criteria, operators, actions ---- */
static void refuse_unknown(struct tg_parse *p, const cJSON *node, struct tg_slice name)
{
    char *bare = tg_slice_dup(name), *lower = lowered(name), shown[TG_SHOWN];
    const struct tg_criterion *near = tg_criterion_nearest(lower);

    if (!near)
        tg_parse_problem(p, node, true, "\"%s\" is not a criterion (`tollgate explain --criteria` lists them)",
                         tg_shown(bare, shown));
    else
        tg_parse_problem(p, node, true, "\"%s\" is not a criterion, did you mean \"%s\"?%s%s", tg_shown(bare, shown),
                         near->name, near->refusal ? " That one " : "", near->refusal ? near->refusal : "");
    free(bare);
    free(lower);
}

static void read_criterion(struct tg_parse *p, const cJSON *node, struct tg_rule_item *out)
{
    struct tg_slice name, rest = {NULL, 0};
    bool had_rest = tg_slice_cut(tg_slice_str(node->string), '/', &name, &rest);

    out->row = tg_criterion_find(name);
    if (!out->row) {
        refuse_unknown(p, node, name);
        return;
    }
    p->criterion = node->string;
    if (out->row->refusal) {
        tg_parse_problem(p, node, true, "this criterion %s", out->row->refusal);
    } else if (p->tier && out->row->shape == TG_SHAPE_TEXT && out->row->subject == TG_SUBJECT_TOOL) {
        tg_parse_problem(p, node, true, "a tier is chosen before the body is read: it cannot ask for the tool");
    } else {
        check_data(p, out->row, node);
        if (out->row->sub_path)
            out->name = tg_slice(tg_intern(p->pool, rest), rest.len);
        else if (had_rest)
            tg_parse_warning(p, node, "what follows the / is ignored");
        if (!p->failed) {
            out->data = tg_json_copy(p->pool, node);
            tg_warn_item(p, out, node);
        }
    }
    p->criterion = NULL;
}

struct tg_rule_list *tg_parse_list(struct tg_parse *p, const cJSON *list, enum tg_combine combine)
{
    struct tg_rule_list *out;
    const cJSON *item;

    if (!cJSON_IsArray(list)) {
        tg_parse_problem(p, list, false, "expected a list of criteria, not %s", tg_kind_of(list));
        return NULL;
    }
    if (!list->child)
        return NULL;
    out = TG_ARENA_NEW(p->arena, struct tg_rule_list);
    out->combine = combine;
    out->items = TG_ARENA_ARRAY(p->arena, struct tg_rule_item, cJSON_GetArraySize(list));
    p->item = 0;
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsObject(item))
            tg_parse_problem(p, item, false, "expected a criterion, a mapping with one key, not %s", tg_kind_of(item));
        else if (!item->child)
            tg_parse_problem(p, item, false, "expected a criterion, a mapping with one key, not an empty one");
        else if (item->child->next)
            tg_parse_problem(p, item, false, "a criterion has one key only; list several criteria one by one");
        else
            read_criterion(p, item->child, &out->items[out->count]);
        out->count++;
        p->item++;
    }
    p->item = -1;
    return out;
}

/* An empty `nor` beside a `not` with several criteria says that `not` is meant; and the other way round. */
static bool is_on_purpose(const cJSON *body, const cJSON *empty)
{
    bool nor = strcmp(empty->string, "nor") == 0, not = strcmp(empty->string, "not") == 0;
    const cJSON *other = nor || not ? cJSON_GetObjectItemCaseSensitive(body, nor ? "not" : "nor") : NULL;

    return cJSON_GetArraySize(other) > 1;
}

static struct tg_rule *read_body(struct tg_parse *p, const cJSON *body, bool deny)
{
    static const char *const names[] = {"and", "or", "not", "nor"};
    struct tg_rule *rule = TG_ARENA_NEW(p->arena, struct tg_rule);
    struct tg_rule_list **tail = &rule->lists;
    const cJSON *member;

    rule->deny = deny;
    if (!cJSON_IsObject(body)) {
        tg_parse_problem(p, body, false, "expected a mapping with and, or, not or nor, not %s", tg_kind_of(body));
        return rule;
    }
    cJSON_ArrayForEach(member, body) {
        size_t i = 0;

        if (strcmp(member->string, "action") == 0) {
            tg_parse_warning(p, member, "`action` is ignored here");
            continue;
        }
        while (i < ARRAY_LEN(names) && strcmp(names[i], member->string) != 0)
            i++;
        if (i == ARRAY_LEN(names)) {
            tg_parse_unknown_key(p, member, "an operator", names, ARRAY_LEN(names), "and, or, not or nor");
            continue;
        }
        p->combine = names[i];
        *tail = tg_parse_list(p, member, (enum tg_combine)i);
        if (*tail)
            tail = &(*tail)->next;
        else if (cJSON_IsArray(member) && !is_on_purpose(body, member))
            tg_parse_warning(p, member, "an empty list is neither true nor false: it has no effect");
        p->combine = NULL;
    }
    return rule;
}

static void read_rules(struct tg_parse *p, const cJSON *object, struct tg_rule ***tail)
{
    static const char *const names[] = {"allow", "deny"};
    const cJSON *member;

    if (!cJSON_IsObject(object)) {
        tg_parse_problem(p, object, false, "expected a mapping with allow and deny%s, not %s",
                         p->document < 0 ? ", or a list of them" : "", tg_kind_of(object));
        return;
    }
    cJSON_ArrayForEach(member, object) {
        bool deny = strcmp(member->string, "deny") == 0;

        if (!deny && strcmp(member->string, "allow") != 0) {
            tg_parse_unknown_key(p, member, "an action", names, ARRAY_LEN(names), "allow or deny");
            continue;
        }
        p->action = names[deny];
        **tail = read_body(p, member, deny);
        *tail = &(**tail)->next;
        p->action = NULL;
    }
}

static struct tg_parse parse_of(struct tg_arena *arena, struct tg_ppl_pool *pool, const struct tg_tree *tree,
                                const char *where, struct tg_problems *problems)
{
    return (struct tg_parse){.arena = arena, .pool = pool, .tree = tree, .where = where, .problems = problems,
                             .document = -1, .item = -1};
}

static struct tg_source *new_source(struct tg_arena *arena, const char *where, int index)
{
    struct tg_source *source = TG_ARENA_NEW(arena, struct tg_source);

    source->where = tg_arena_str(arena, where ? tg_slice_str(where) : TG_S(""));
    source->index = index;
    return source;
}

struct tg_ppl_builder *tg_ppl_builder_in(struct tg_ppl_pool *pool, struct tg_arena *arena)
{
    struct tg_ppl_builder *b = TG_ARENA_NEW(arena, struct tg_ppl_builder);

    b->arena = arena;
    b->pool = pool;
    b->tail = &b->sources;
    return b;
}

struct tg_ppl_builder *tg_ppl_builder_new(struct tg_arena *arena)
{
    return tg_ppl_builder_in(tg_ppl_pool_new(arena), arena);
}

void tg_ppl_set_client_ca(struct tg_ppl_builder *b, bool configured) { b->client_ca = configured; }

static void add_source(struct tg_ppl_builder *b, struct tg_source *source)
{
    *b->tail = source;
    b->tail = &source->next;
}

/* The rules of a document; false: errors. */
static bool read_document(struct tg_parse *p, const cJSON *doc, struct tg_source *source)
{
    struct tg_rule **tail = &source->rules;
    const cJSON *element;

    if (!doc) {
        tg_parse_problem(p, NULL, false, "there is no policy document");
    } else if (cJSON_IsArray(doc)) {
        cJSON_ArrayForEach(element, doc) {
            p->document++;
            read_rules(p, element, &tail);
        }
        p->document = -1;
    } else {
        read_rules(p, doc, &tail);
    }
    if (!p->failed)
        tg_warn_rules(p, source->rules, doc);
    return !p->failed;
}

bool tg_ppl_add(struct tg_ppl_builder *b, const struct tg_tree *tree, const cJSON *doc, const char *where,
                struct tg_problems *problems)
{
    struct tg_parse p = parse_of(b->arena, b->pool, tree, where, problems);
    struct tg_source *source = new_source(b->arena, where, b->added++);

    p.client_ca = b->client_ca;
    if (!read_document(&p, doc, source)) {
        b->failed = true;
        return false;
    }
    add_source(b, source);
    return true;
}

const struct tg_policy *tg_ppl_read(struct tg_ppl_pool *pool, const struct tg_tree *tree, const cJSON *doc,
                                    const char *where, bool client_ca, struct tg_problems *problems)
{
    struct tg_parse p = parse_of(pool->arena, pool, tree, where, problems);
    struct tg_source *source = new_source(pool->arena, where, -1);

    p.client_ca = client_ca;
    return read_document(&p, doc, source) ? tg_policy_new(pool, source) : NULL;
}

void tg_ppl_add_policy(struct tg_ppl_builder *b, const struct tg_policy *policy)
{
    struct tg_source *source = TG_ARENA_NEW(b->arena, struct tg_source);

    *source = policy->source;
    source->shared = policy;
    source->index = b->added++;
    add_source(b, source);
}

const struct tg_program *tg_ppl_finish(struct tg_ppl_builder *b)
{
    return tg_compile(b->arena, b->pool, b->failed ? NULL : b->sources);
}

const struct tg_program *tg_ppl_compile_when(struct tg_arena *arena, const struct tg_tree *tree, const cJSON *list,
                                             const char *where, struct tg_problems *problems)
{
    struct tg_ppl_pool *pool = tg_ppl_pool_new(arena);
    struct tg_parse p = parse_of(arena, pool, tree, where, problems);
    struct tg_source *source = new_source(arena, where, -1);

    p.tier = true;
    if (!list) {
        tg_parse_problem(&p, NULL, false, "there is no list of criteria");
        return NULL;
    }
    source->rules = TG_ARENA_NEW(arena, struct tg_rule);
    source->rules->lists = tg_parse_list(&p, list, TG_AND);
    if (!p.failed && !source->rules->lists)
        tg_parse_problem(&p, list, false, "expected at least one criterion");
    return p.failed ? NULL : tg_compile(arena, pool, source);
}
