/*
 * ppl_warn - the traps of one criterion as written: what is legal, and does not do what it looks like.
 *
 * A warning says what happens, then what to write. What rules do together: lint_rules.c.
 */
#include "base/json.h"
#include "lint.h"
#include <stdio.h>

#define MOST_SHOWN 48                                    /* of what was written; else it is not repeated */

/* ---- texts ---- */

static bool is_lower_method(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= 'a' && s.ptr[i] <= 'z')
            return true;
    }
    return false;
}

static const char *upper(struct tg_slice s, char out[static TG_SHOWN])
{
    size_t len = s.len < TG_SHOWN - 1 ? s.len : TG_SHOWN - 1;

    for (size_t i = 0; i < len; i++)
        out[i] = s.ptr[i] >= 'a' && s.ptr[i] <= 'z' ? (char)(s.ptr[i] - 32) : s.ptr[i];
    out[len] = '\0';
    return tg_shown(out, out);
}

static void warn_string(struct tg_parse *p, enum tg_subject subject, const cJSON *value, struct tg_slice text)
{
    char shown[TG_SHOWN];

    if (subject == TG_SUBJECT_USER && memchr(text.ptr, '@', text.len))
        tg_parse_warning(p, value, "`user` is the user id (the token's sub), not the e-mail address; write `email` for "
                         "that");
    else if (subject == TG_SUBJECT_METHOD && is_lower_method(text))
        tg_parse_warning(p, value, "methods are compared with case, and no client sends this one; write %s",
                         upper(text, shown));
    else if (subject == TG_SUBJECT_DOMAIN && lint_never_occurs(subject, text))
        tg_parse_warning(p, value, "a domain is what follows the @, so this never equals one; write it without the @");
    else if (subject == TG_SUBJECT_PATH && memchr(text.ptr, '?', text.len))
        tg_parse_warning(p, value, "the query is no part of the path, so this equals paths with a %%3F only; write "
                         "what stands before the ?");
    else if (subject == TG_SUBJECT_PATH && lint_never_occurs(subject, text))
        tg_parse_warning(p, value, "this never equals a path: they start with one / and have no two beside each other; "
                         "write it so");
}

/* The list as it should be written, when it is short and plain. */
static const char *shown_list(const cJSON *list, char out[static MOST_SHOWN + 16])
{
    struct tg_buf text = {0};
    const char *result = "in: [...]";
    bool plain = true;

    tg_json_print(&text, list);
    for (size_t i = 0; i < text.len; i++)
        plain = plain && text.data[i] >= 0x20 && text.data[i] < 0x7f;
    if (plain && text.len > 0 && text.len <= MOST_SHOWN) {
        snprintf(out, MOST_SHOWN + 16, "in: %s", tg_buf_cstr(&text));
        result = out;
    }
    tg_buf_fini(&text);
    return result;
}

/* A value that a text is compared with as a whole. `operator`: it stands behind `is` or `not`, not in a list. */
static void warn_compared(struct tg_parse *p, enum tg_subject subject, const cJSON *value, const char *operator)
{
    char list[MOST_SHOWN + 16];
    bool not = operator && strcmp(operator, "not") == 0;
    struct tg_slice text;

    if (cJSON_IsArray(value) && operator)
        tg_parse_warning(p, value, "compares with the list as a whole, which no text equals; for %s write %s%s",
                         not ? "none of them" : "any of them", not ? "not_" : "", shown_list(value, list));
    else if (!tg_json_str(value, &text))
        tg_parse_warning(p, value, "this value is not a string and never equals a text%s",
                         cJSON_IsNumber(value) || cJSON_IsBool(value) ? "; put quotes around it" : "");
    else
        warn_string(p, subject, value, text);
}

static void warn_prefix(struct tg_parse *p, enum tg_subject subject, const cJSON *value)
{
    struct tg_slice text = tg_slice_str(value->valuestring);
    char shown[TG_SHOWN];

    if (subject == TG_SUBJECT_PATH && tg_slice_starts_with(text, TG_S("/")) && !tg_slice_ends_with(text, TG_S("/")))
        tg_parse_warning(p, value, "a prefix ends anywhere, not at a slash: this one is also that of %sX; write "
                         "{starts_with: %s/} and, for the page itself, {is: %s}", tg_shown(text.ptr, shown), shown,
                         shown);
}

/* A domain at the end of an address or of a domain. */
static void warn_suffix(struct tg_parse *p, enum tg_subject subject, const cJSON *value)
{
    struct tg_slice text = tg_slice_str(value->valuestring);
    char shown[TG_SHOWN];

    if (text.len == 0 || strchr(".@", text.ptr[0]) || !memchr(text.ptr, '.', text.len))
        return;
    tg_shown(text.ptr, shown);
    if (subject == TG_SUBJECT_EMAIL && !memchr(text.ptr, '@', text.len))
        tg_parse_warning(p, value, "an end begins anywhere, not at the @: this one is also that of an address at X%s; "
                         "write domain: {is: %s}", shown, shown);
    else if (subject == TG_SUBJECT_DOMAIN)
        tg_parse_warning(p, value, "an end begins anywhere, not at a dot: this one is also that of X%s; write "
                         "{ends_with: .%s} and, for the domain itself, {is: %s}", shown, shown, shown);
}

static void warn_part(struct tg_parse *p, enum tg_subject subject, const cJSON *value)
{
    struct tg_slice text = tg_slice_str(value->valuestring);
    char shown[TG_SHOWN];

    if (subject == TG_SUBJECT_EMAIL && tg_slice_starts_with(text, TG_S("@")) && text.len > 1)
        tg_parse_warning(p, value, "may stand anywhere: %s.example has it too; write domain: {is: %s}",
                         tg_shown(text.ptr, shown), shown + 1);
}

static void warn_operator(struct tg_parse *p, enum tg_subject subject, const cJSON *member)
{
    const cJSON *element;

    if (strcmp(member->string, "is") == 0 || strcmp(member->string, "not") == 0) {
        warn_compared(p, subject, member, member->string);
    } else if (cJSON_IsArray(member)) {
        cJSON_ArrayForEach(element, member) {
            p->element++;
            warn_compared(p, subject, element, NULL);
        }
        p->element = 0;
    } else if (strcmp(member->string, "starts_with") == 0) {
        warn_prefix(p, subject, member);
    } else if (strcmp(member->string, "ends_with") == 0) {
        warn_suffix(p, subject, member);
    } else {
        warn_part(p, subject, member);
    }
}

void tg_warn_text(struct tg_parse *p, enum tg_subject subject, const cJSON *node)
{
    const cJSON *member;

    if (!cJSON_IsObject(node)) {
        warn_compared(p, subject, node, "is");
        return;
    }
    if (!node->child)
        tg_parse_warning(p, node, "an empty matcher states no condition; write what is to hold");
    cJSON_ArrayForEach(member, node) {
        p->operator = member->string;
        warn_operator(p, subject, member);
        p->operator = NULL;
    }
}

/* ---- claims ---- */

/* Names that are addresses, or begin with a domain (kubernetes.io/serviceaccount/namespace), have slashes. */
static bool is_slashed(struct tg_slice name)
{
    struct tg_slice first, rest;

    return tg_slice_cut(name, '/', &first, &rest) && !memchr(first.ptr, '.', first.len) &&
           !tg_slice_contains(name, TG_S("://"));
}

static const char *dotted(struct tg_slice name, char out[static TG_SHOWN])
{
    size_t len = name.len < TG_SHOWN - 1 ? name.len : TG_SHOWN - 1;

    for (size_t i = 0; i < len; i++)
        out[i] = name.ptr[i] == '/' ? '.' : name.ptr[i];
    out[len] = '\0';
    return tg_shown(out, out);
}

static void warn_element(struct tg_parse *p, const cJSON *value, const char *operator)
{
    char shown[TG_SHOWN];
    const char *criterion = tg_shown(p->criterion, shown);
    bool exclude = strcmp(operator, "exclude") == 0;

    if (!cJSON_IsArray(value))
        return;
    if (cJSON_GetArraySize(value) == 1)
        tg_parse_warning(p, value, "compares each element with the list as a whole; write its one value without [ ]");
    else if (strcmp(operator, "has") == 0)
        tg_parse_warning(p, value, "compares each element with the list as a whole; for any of them write one "
                         "criterion for each under `or`: [{%s: A}, {%s: B}]", criterion, criterion);
    else
        tg_parse_warning(p, value, "compares each element with the list as a whole; write one criterion for each, %s",
                         exclude ? "under `and`" : "under `or`");
}

static void warn_list(struct tg_parse *p, const struct tg_rule_item *item, const cJSON *node)
{
    const cJSON *member;
    char shown[TG_SHOWN];

    if (item->row->sub_path && item->name.len == 0)
        tg_parse_warning(p, node, "a claim needs its name: write claim/NAME");
    if (is_slashed(item->name))
        tg_parse_warning(p, node, "a slash is part of the name: no member of a claim is found by it; write claim/%s",
                         dotted(item->name, shown));
    if (!cJSON_IsObject(node)) {
        warn_element(p, node, "has");
        return;
    }
    if (!node->child)
        tg_parse_warning(p, node, "an empty matcher states no condition; write what is to hold");
    cJSON_ArrayForEach(member, node) {
        p->operator = member->string;
        warn_element(p, member, member->string);
        p->operator = NULL;
    }
}

/* ---- all of them ---- */

static void warn_fixed(struct tg_parse *p, const cJSON *node)
{
    if (cJSON_IsFalse(node))
        tg_parse_warning(p, node, "the value of this criterion is ignored: false does not negate it; write true, and "
                         "put it under `not` to negate it");
}

/* What is left: whatever else the matcher says, it cannot be met, or always is. */
static void warn_constant(struct tg_parse *p, const struct tg_rule_item *item, const cJSON *node)
{
    struct lint_clash clash;

    if (item->row->shape == TG_SHAPE_NONE)
        return;
    if (lint_clash(item, 1, false, &clash))
        tg_parse_warning(p, node, "is never true: no value meets all that it asks; remove what contradicts the rest");
    else if (lint_clash(item, 1, true, &clash))
        tg_parse_warning(p, node, "is true of every value: it states no condition; write what is to hold");
}

void tg_warn_item(struct tg_parse *p, const struct tg_rule_item *item, const cJSON *node)
{
    size_t before = p->problems->count;

    switch (item->row->shape) {
    case TG_SHAPE_NONE:
        warn_fixed(p, node);
        break;
    case TG_SHAPE_TEXT:
        tg_warn_text(p, item->row->subject, node);
        break;
    case TG_SHAPE_LIST:
        warn_list(p, item, node);
        break;
    case TG_SHAPE_NETWORKS:
        if (cJSON_IsArray(node) && !node->child)
            tg_parse_warning(p, node, "no address is in an empty list: never true; write the networks, or `reject`");
        break;
    case TG_SHAPE_CERTIFICATE:
        tg_cert_matcher_warn(p, node);
        break;
    case TG_SHAPE_TIME:
        tg_when_warn(p, item->row, node);
        break;
    }
    if (p->problems->count == before)
        warn_constant(p, item, node);
}
