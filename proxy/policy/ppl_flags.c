/*
 * ppl_flags - the flags of a route (allow_any_authenticated_user, allowed_domains, ...) as one more allow rule, and
 * the rule against clients without a valid certificate.
 *
 * The criteria are made as if they had been written in PPL, so that explain can show them.
 */
#include "base/err.h"
#include "internal.h"
#include <stdlib.h>

struct items {
    struct tg_arena *arena;
    struct tg_ppl_pool *pool;
    struct tg_buf list;                                  /* of struct tg_rule_item */
};
struct claim {
    struct tg_slice name;
    const cJSON *value;
};
struct claims {
    struct tg_arena *arena;
    struct tg_buf list;                                  /* of struct claim */
};

static void add_item(struct items *items, struct tg_slice criterion, struct tg_slice name, const cJSON *data)
{
    struct tg_rule_item item = {tg_criterion_find(criterion), name, data};

    tg_assert(item.row && !item.row->refusal);
    tg_buf_add(&items->list, &item, sizeof(item));
}

static void add_text(struct items *items, struct tg_slice criterion, struct tg_slice text)
{
    cJSON *data = TG_ARENA_NEW(items->arena, cJSON);

    data->type = cJSON_String;
    data->valuestring = (char *)(uintptr_t)tg_intern(items->pool, text); /* nobody writes to it */
    add_item(items, criterion, (struct tg_slice){NULL, 0}, data);
}

static void add_true(struct items *items, struct tg_slice criterion)
{
    cJSON *data = TG_ARENA_NEW(items->arena, cJSON);

    data->type = cJSON_True;
    add_item(items, criterion, (struct tg_slice){NULL, 0}, data);
}

/* Nested names are joined by dots, as the claims of a token are. */
static void flatten(struct claims *out, struct tg_slice prefix, const cJSON *object)
{
    const cJSON *member;

    cJSON_ArrayForEach(member, object) {
        struct claim claim = {tg_slice_str(member->string), member};

        if (prefix.len > 0)
            claim.name = tg_arena_printf(out->arena, TG_S_FMT ".%s", TG_S_ARG(prefix), member->string);
        else
            claim.name = tg_arena_dup(out->arena, claim.name);
        if (cJSON_IsObject(member))
            flatten(out, claim.name, member);
        else
            tg_buf_add(&out->list, &claim, sizeof(claim));
    }
}

static int by_name(const void *a, const void *b)
{
    return tg_slice_cmp(((const struct claim *)a)->name, ((const struct claim *)b)->name);
}

static void add_claim_value(struct items *items, struct tg_parse *p, struct tg_slice name, const cJSON *value)
{
    if (cJSON_IsObject(value))
        tg_parse_problem(p, value, false, "a value of allowed_idp_claims is a string, a number or a boolean");
    else
        add_item(items, TG_S("claim"), name, tg_json_copy(items->pool, value));
}

static void add_claims(struct items *items, struct tg_parse *p, const cJSON *object)
{
    struct claims claims = {.arena = items->arena};
    const struct claim *list;
    size_t count;

    if (!cJSON_IsObject(object)) {
        tg_parse_problem(p, object, false, "allowed_idp_claims is a mapping of claim names to values");
        return;
    }
    flatten(&claims, (struct tg_slice){NULL, 0}, object);
    count = claims.list.len / sizeof(*list);
    if (count > 1)
        qsort(claims.list.data, count, sizeof(*list), by_name);
    list = (const struct claim *)(const void *)claims.list.data;
    for (size_t i = 0; i < count; i++) {
        const cJSON *element;

        if (cJSON_IsArray(list[i].value)) {
            cJSON_ArrayForEach(element, list[i].value)
                add_claim_value(items, p, list[i].name, element);
        } else {
            add_claim_value(items, p, list[i].name, list[i].value);
        }
    }
    tg_buf_fini(&claims.list);
}

static void check_contradictions(struct tg_parse *p, const struct tg_ppl_flags *flags)
{
    if (flags->public_access && (flags->any_authenticated || flags->domains || flags->users))
        tg_parse_problem(p, flags->node, false,
                         "allow_public_unauthenticated_access admits everybody: it cannot stand beside "
                         "allow_any_authenticated_user, allowed_domains or allowed_users");
    if (flags->any_authenticated && (flags->domains || flags->users))
        tg_parse_problem(p, flags->node, false,
                         "allow_any_authenticated_user admits every user: it cannot stand beside allowed_domains or "
                         "allowed_users");
}

static void collect(struct items *items, struct tg_parse *p, const struct tg_ppl_flags *flags)
{
    if (flags->public_access)
        add_true(items, TG_S("accept"));
    if (flags->cors_preflight)
        add_true(items, TG_S("cors_preflight"));
    if (flags->any_authenticated)
        add_true(items, TG_S("authenticated_user"));
    for (size_t i = 0; i < flags->domain_count; i++)
        add_text(items, TG_S("domain"), flags->domains[i]);
    if (flags->idp_claims)
        add_claims(items, p, flags->idp_claims);
    for (size_t i = 0; i < flags->user_count; i++) {
        add_text(items, TG_S("user"), flags->users[i]);
        add_text(items, TG_S("email"), flags->users[i]);
    }
}

static void add_rule(struct tg_ppl_builder *b, struct items *items, const char *where, bool deny)
{
    struct tg_source *source = TG_ARENA_NEW(b->arena, struct tg_source);
    struct tg_rule_list *list = TG_ARENA_NEW(b->arena, struct tg_rule_list);

    list->combine = TG_OR;
    list->count = items->list.len / sizeof(*list->items);
    list->items = TG_ARENA_ARRAY(b->arena, struct tg_rule_item, list->count);
    memcpy(list->items, items->list.data, items->list.len);
    source->where = where;
    source->index = -1;
    source->rules = TG_ARENA_NEW(b->arena, struct tg_rule);
    source->rules->deny = deny;
    source->rules->lists = list;
    *b->tail = source;
    b->tail = &source->next;
}

bool tg_ppl_add_flags(struct tg_ppl_builder *b, const struct tg_tree *tree, const struct tg_ppl_flags *flags,
                      struct tg_problems *problems)
{
    struct tg_parse p = {.arena = b->arena, .tree = tree, .problems = problems, .document = -1, .item = -1};
    struct items items = {.arena = b->arena, .pool = b->pool};

    check_contradictions(&p, flags);
    collect(&items, &p, flags);
    if (p.failed)
        b->failed = true;
    else if (items.list.len > 0)
        add_rule(b, &items, "route settings", false);
    tg_buf_fini(&items.list);
    return !p.failed;
}

void tg_ppl_add_certificate_deny(struct tg_ppl_builder *b)
{
    struct items items = {.arena = b->arena, .pool = b->pool};

    add_true(&items, TG_S("invalid_client_certificate"));
    add_rule(b, &items, "client certificates", true);
    tg_buf_fini(&items.list);
}
