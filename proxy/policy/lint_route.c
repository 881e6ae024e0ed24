/*
 * lint_route - the policies of a route together: one that adds nothing to others, certificates that nobody verifies.
 */
#include "lint.h"

#define MOST_TERMS 64                                    /* of a route whose policies are compared */

static bool is_named(const struct tg_rule_item *item, const char *name) { return strcmp(item->row->name, name) == 0; }

static bool has_named(const struct tg_rule_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (is_named(&list->items[i], name))
            return true;
    }
    return false;
}

/* ---- certificates ---- */

/* The policy that lets somebody in for a certificate, when no rule turns away who has an invalid one; else NULL. */
static const struct tg_source *trusting(const struct tg_ppl_builder *b)
{
    const struct tg_source *found = NULL;

    for (const struct tg_source *source = b->sources; source; source = source->next) {
        for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
            for (const struct tg_rule_list *list = rule->lists; list; list = list->next) {
                if (rule->deny && has_named(list, "invalid_client_certificate") &&
                    (list->combine == TG_OR || (list->combine == TG_AND && list->count == 1)))
                    return NULL;
                if (!rule->deny && !found && (list->combine == TG_OR || list->combine == TG_AND) &&
                    has_named(list, "client_certificate"))
                    found = source;
            }
        }
    }
    return found;
}

/* ---- policies that say what others say ---- */

struct sides {
    struct lint_cover allow, deny;
};

static size_t count_terms(const struct tg_source *source)
{
    size_t count = 0;

    for (const struct tg_rule *rule = source->rules; rule && count <= MOST_TERMS; rule = rule->next) {
        for (const struct tg_rule_list *list = rule->lists; list; list = list->next)
            count += list->combine == TG_AND || list->combine == TG_NOT ? 1 : list->count;
    }
    return count;
}

/* Calls `each` for every term until one is false; whether none was. */
static bool all_terms(const struct tg_source *source, struct sides *sides,
                      bool (*each)(struct lint_cover *cover, const struct lint_term *term))
{
    for (const struct tg_rule *rule = source->rules; rule; rule = rule->next) {
        struct lint_cover *cover = rule->deny ? &sides->deny : &sides->allow;

        for (const struct tg_rule_list *list = rule->lists; list; list = list->next) {
            bool negated = list->combine == TG_NOT || list->combine == TG_NOR;
            bool together = list->combine == TG_AND || list->combine == TG_NOT;

            for (size_t i = 0; i < (together ? 1 : list->count); i++) {
                struct lint_term term = lint_term_of(list->items + i, together ? list->count : 1, negated);

                if (!each(cover, &term))
                    return false;
            }
        }
    }
    return true;
}

enum { ABOUT_REQUEST = 1, ABOUT_CALLER };                /* the numbers of terms */

static bool add_term(struct lint_cover *cover, const struct lint_term *term)
{
    lint_cover_add(cover, term, term->identity ? ABOUT_CALLER : ABOUT_REQUEST);
    return true;
}

/* Who has no token gets another answer where the caller is asked for. */
static bool is_said(struct lint_cover *cover, const struct lint_term *term)
{
    uint32_t said = lint_covered(cover, term);

    return said == ABOUT_CALLER || (said == ABOUT_REQUEST && !term->identity);
}

static const char *name_of(const struct tg_source *source, const char *route)
{
    bool own = *source->where == '\0' || tg_slice_starts_with(tg_slice_str(source->where), tg_slice_str(route));

    return own ? "its own policy" : source->where;
}

/* Those that the route did not choose are there first, and nothing is said of them. */
static bool is_given(const struct tg_source *source, int chosen)
{
    return source->index < 0 || source->index >= chosen;
}

static void compare(struct tg_parse *p, const struct tg_ppl_builder *b, int chosen, const cJSON *node)
{
    struct sides sides = {.allow = {.terms = {.count = 0}}};
    const struct tg_source *source;

    for (source = b->sources; source; source = source->next) {
        if (is_given(source, chosen))
            all_terms(source, &sides, add_term);
    }
    for (source = b->sources; source; source = source->next) {
        if (is_given(source, chosen) || !source->rules || !source->rules->lists)
            continue;
        if (all_terms(source, &sides, is_said))
            tg_parse_warning(p, node, "%s adds nothing: whom it admits or denies the other policies and flags of the "
                             "route do already; remove it", name_of(source, p->where));
        all_terms(source, &sides, add_term);
    }
    lint_cover_fini(&sides.allow);
    lint_cover_fini(&sides.deny);
}

void tg_ppl_warn_together(const struct tg_ppl_builder *b, const struct tg_together *how, const struct tg_tree *tree,
                          const cJSON *node, const char *where, struct tg_problems *problems)
{
    struct tg_parse p = {.arena = b->arena, .tree = tree, .where = where, .problems = problems, .document = -1,
                         .item = -1};
    const struct tg_source *source = how->unverified ? trusting(b) : NULL;
    size_t terms = 0;

    if (source)
        tg_parse_warning(&p, node, "%s lets somebody in for a client certificate, and an invalid one is as good as a "
                         "valid one (downstream_mtls.enforcement: policy): anybody can make it; write it together with "
                         "deny: {or: [{invalid_client_certificate: true}]}",
                         name_of(source, where));
    for (source = b->sources; source && terms <= MOST_TERMS; source = source->next)
        terms += count_terms(source);
    if (how->compare && terms <= MOST_TERMS)
        compare(&p, b, how->chosen, node);
}
