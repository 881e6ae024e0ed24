/*
 * ppl_warn - what is legal and probably not meant: the traps of the language.
 */
#include "internal.h"

/* ---- one criterion ---- */
static bool is_lower_method(const char *s)
{
    for (; *s; s++) {
        if (*s >= 'a' && *s <= 'z')
            return true;
    }
    return false;
}

/* A value that a text is compared with as a whole. */
static void warn_compared(struct tg_parse *p, enum tg_subject subject, const cJSON *value)
{
    if (cJSON_IsArray(value))
        tg_parse_warning(p, value,
                         "compares with the list as a whole, which never is equal; use `in` for any of several");
    else if (!cJSON_IsString(value))
        tg_parse_warning(p, value, "this value is not a string and never equals a text");
    else if (subject == TG_SUBJECT_USER && strchr(value->valuestring, '@'))
        tg_parse_warning(p, value, "`user` is the user id (the token's sub), not the e-mail address");
    else if (subject == TG_SUBJECT_METHOD && is_lower_method(value->valuestring))
        tg_parse_warning(p, value, "methods are compared with case: this one is never sent");
}

void tg_warn_text(struct tg_parse *p, enum tg_subject subject, const cJSON *node)
{
    const cJSON *member, *element;

    if (!cJSON_IsObject(node)) {
        warn_compared(p, subject, node);
        return;
    }
    if (!node->child)
        tg_parse_warning(p, node, "an empty matcher states no condition");
    cJSON_ArrayForEach(member, node) {
        p->operator = member->string;
        if (strcmp(member->string, "is") == 0 || strcmp(member->string, "not") == 0) {
            warn_compared(p, subject, member);
        } else if (cJSON_IsArray(member)) {
            cJSON_ArrayForEach(element, member)
                warn_compared(p, subject, element);
        } else if (strcmp(member->string, "starts_with") == 0 && subject == TG_SUBJECT_PATH &&
                   !tg_slice_ends_with(tg_slice_str(member->valuestring), TG_S("/"))) {
            tg_parse_warning(p, member,
                             "a prefix ends anywhere, not at a slash: /admin is also the start of /administer");
        }
        p->operator = NULL;
    }
}

static void warn_list(struct tg_parse *p, const struct tg_rule_item *item, const cJSON *node)
{
    const cJSON *member;

    if (item->row->sub_path && item->name.len == 0)
        tg_parse_warning(p, node, "a claim needs its name: claim/NAME");
    if (item->name.len > 0 && memchr(item->name.ptr, '/', item->name.len) &&
        !tg_slice_contains(item->name, TG_S("://")))
        tg_parse_warning(p, node, "members of a claim are named with dots (claim/a.b), a slash is part of the name");
    if (cJSON_IsArray(node))
        tg_parse_warning(p, node,
                         "compares with the list as a whole; for any of several write several criteria under `or`");
    if (!cJSON_IsObject(node))
        return;
    if (!node->child)
        tg_parse_warning(p, node, "an empty matcher states no condition");
    cJSON_ArrayForEach(member, node) {
        if (cJSON_IsArray(member))
            tg_parse_warning(p, member, "compares with the list as a whole; for any of several write several criteria");
    }
}

void tg_warn_item(struct tg_parse *p, const struct tg_rule_item *item, const cJSON *node)
{
    switch (item->row->shape) {
    case TG_SHAPE_NONE:
        if (cJSON_IsFalse(node))
            tg_parse_warning(p, node, "the value of this criterion is ignored: false does not negate it");
        break;
    case TG_SHAPE_TEXT:
        tg_warn_text(p, item->row->subject, node);
        break;
    case TG_SHAPE_LIST:
        warn_list(p, item, node);
        break;
    case TG_SHAPE_NETWORKS:
        if (cJSON_IsArray(node) && !node->child)
            tg_parse_warning(p, node, "no address is in an empty list");
        break;
    case TG_SHAPE_CERTIFICATE:
        tg_cert_matcher_warn(p, node);
        break;
    }
}

/* ---- the rules of a document ---- */
static bool is_accept(const struct tg_rule_item *item) { return strcmp(item->row->name, "accept") == 0; }

/* How many of the criteria need an identity. */
static size_t identity_items(const struct tg_rule_list *list)
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++)
        count += list->items[i].row->identity;
    return count;
}

/* Whether the list can be true for a request without a token, as far as its criteria tell. */
static bool open_to_all(const struct tg_rule_list *list)
{
    size_t identity = identity_items(list);

    return list->combine == TG_AND || list->combine == TG_NOT ? identity == 0 : identity < list->count;
}

static void warn_lists(struct tg_parse *p, const struct tg_rule *rule, const cJSON *doc)
{
    for (const struct tg_rule_list *list = rule->lists; list; list = list->next) {
        for (size_t i = 0; i < list->count && !rule->deny && list->combine == TG_OR && list->count > 1; i++) {
            if (is_accept(&list->items[i]))
                tg_parse_warning(p, doc,
                                 "allow.or: `accept` makes this rule public: the other criteria are without effect");
        }
    }
    if (rule->lists && rule->lists->next)
        tg_parse_warning(p, doc,
                         "%s: several operators beside each other (%s, %s) are alternatives: one true one is enough",
                         rule->deny ? "deny" : "allow", tg_combine_names[rule->lists->combine],
                         tg_combine_names[rule->lists->next->combine]);
}

void tg_warn_rules(struct tg_parse *p, const struct tg_rule *rules, const cJSON *doc)
{
    static const char *const names[] = {"invalid_client_certificate", "client_certificate"};
    bool public_allow = false, identity_deny = false, any = false, certificates[2] = {false, false};

    for (const struct tg_rule *rule = rules; rule; rule = rule->next) {
        warn_lists(p, rule, doc);
        for (const struct tg_rule_list *list = rule->lists; list; list = list->next) {
            any = true;
            public_allow |= !rule->deny && open_to_all(list);
            identity_deny |= rule->deny && identity_items(list) > 0;
            for (size_t i = 0; i < list->count; i++) {
                certificates[0] |= strcmp(list->items[i].row->name, names[0]) == 0;
                certificates[1] |= strcmp(list->items[i].row->name, names[1]) == 0;
            }
        }
    }
    if (public_allow && identity_deny)
        tg_parse_warning(p, doc,
                         "deny asks who the caller is: requests without a token get 401, also where allow is public");
    if (!any)
        tg_parse_warning(p, doc, "this policy has no criteria: it allows nothing and denies nothing");
    for (int i = 0; i < 2; i++) {
        if (certificates[i] && !p->client_ca)
            tg_parse_warning(p, doc, "%s is never true while no client CA is configured", names[i]);
    }
}
