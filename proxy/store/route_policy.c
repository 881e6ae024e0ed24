/*
 * route_policy - who may use a route: its inline policy, the named ones it lists, the enforced ones, the access flags.
 *
 * They are added in that order, and policy_texts follows the same order, so that the index in a verdict finds the text.
 * Last comes the rule that denies without a valid client certificate, where enforcement asks for it: public routes too.
 * No program points into the trees it was made from: those of policies_dir are gone when the routes are read.
 */
#include "internal.h"

struct collector {
    const struct route_reader *r;
    struct tg_ppl_builder *builder;
    struct tg_policy_text *texts;
    size_t count, cap;
};

static void add_text(struct collector *c, const struct tg_policy_text *text)
{
    tg_assert(c->count < c->cap);
    c->texts[c->count++] = *text;
}

static void add_document(struct collector *c, const cJSON *doc, const char *setting)
{
    const char *where = tg_arena_printf(c->r->arena, "%s.%s", c->r->where, setting).ptr;

    if (tg_ppl_add(c->builder, c->r->tree, doc, where, c->r->problems))
        add_text(c, &(struct tg_policy_text){0});
}

/* The named policy was tried out and its warnings told when it was read: what is said now is a repetition. */
static void add_named(struct collector *c, const struct named_policy *policy)
{
    struct tg_problems said = {0};

    if (!policy->broken && tg_ppl_add(c->builder, policy->tree, policy->ppl, policy->where, &said))
        add_text(c, &policy->text);
    tg_problems_fini(&said);
}

static bool is_list_of_documents(const cJSON *policy)
{
    const cJSON *element;

    if (cJSON_IsArray(policy))
        cJSON_ArrayForEach(element, policy)
            if (cJSON_IsArray(element))
                return true;
    return false;
}

/* A list of rules is one document; a list that holds lists is a list of documents. */
static void add_inline(struct collector *c, const cJSON *policy)
{
    const cJSON *element;

    if (!is_list_of_documents(policy)) {
        add_document(c, policy, "policy");
        return;
    }
    cJSON_ArrayForEach(element, policy)
        add_document(c, element, "policy");
}

/* `policies` of a route that stands alone: documents and items instead of names. */
static void add_given(struct collector *c, const cJSON *list)
{
    const struct route_reader *r = c->r;
    struct named_policy policy;
    const cJSON *node;
    size_t i = 0;

    cJSON_ArrayForEach(node, list) {
        const char *where = tg_arena_printf(r->arena, "%s.policies[%zu]", r->where, i++).ptr;

        if (cJSON_IsString(node)) {
            tg_problem_at(r->problems, r->tree, node, "%s: there are no named policies here; give the document",
                          where);
            continue;
        }
        policy_read(&policy, r->tree, node, (struct tg_slice){0}, where, r->defaults->client_ca, r->arena, r->problems);
        add_named(c, &policy);
    }
}

static bool is_listed_before(const struct tg_strings *names, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (tg_slice_eq(names->items[i], names->items[j]))
            return true;
    return false;
}

static void add_chosen(struct collector *c, const struct tg_strings *names)
{
    const struct route_reader *r = c->r;

    for (size_t i = 0; i < names->count; i++) {
        const struct named_policy *policy = policy_set_find(r->policies, names->items[i]);
        const char *nearest;

        if (is_listed_before(names, i)) {
            route_problem(r, "policies", "\"" TG_S_FMT "\" is listed twice", TG_S_ARG(names->items[i]));
        } else if (policy) {
            if (!policy->enforced)                       /* those come with the enforced ones, once */
                add_named(c, policy);
        } else {
            nearest = policy_set_nearest(r->policies, names->items[i], r->arena);
            route_problem(r, "policies", "there is no policy named \"" TG_S_FMT "\"%s%s%s", TG_S_ARG(names->items[i]),
                          nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
        }
    }
}

static void add_enforced(struct collector *c)
{
    const struct policy_set *set = c->r->policies;

    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].enforced)
            add_named(c, &set->items[i]);
}

/* They have no text of their own: a verdict does not name them. Returns whether there are any. */
static bool add_flags(struct collector *c, const struct route_text *text)
{
    struct tg_ppl_flags flags = {
        .public_access = text->public_access,
        .cors_preflight = text->cors_preflight,
        .any_authenticated = text->any_authenticated,
        .domains = text->allowed_domains.items,
        .domain_count = text->allowed_domains.count,
        .users = text->allowed_users.items,
        .user_count = text->allowed_users.count,
        .idp_claims = text->allowed_idp_claims,
        .node = c->r->node,
    };

    tg_ppl_add_flags(c->builder, c->r->tree, &flags, c->r->problems);
    return flags.public_access || flags.cors_preflight || flags.any_authenticated || flags.domain_count > 0 ||
           flags.user_count > 0 || cJSON_GetArraySize(flags.idp_claims) > 0;
}

static size_t most_policies(const struct route_reader *r, const struct route_text *text)
{
    return (size_t)cJSON_GetArraySize(text->policy) + (size_t)cJSON_GetArraySize(text->policies_node) +
           text->policies.count + (r->policies ? r->policies->count : 0) + 1;
}

void route_read_policy(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    struct collector c = {.r = r, .builder = tg_ppl_builder_new(r->arena), .cap = most_policies(r, text)};
    size_t errors = r->problems->errors;

    c.texts = TG_ARENA_ARRAY(r->arena, struct tg_policy_text, c.cap);
    tg_ppl_set_client_ca(c.builder, r->defaults->client_ca);
    if (text->policy)
        add_inline(&c, text->policy);
    if (r->policies) {
        add_chosen(&c, &text->policies);
        add_enforced(&c);
    } else if (text->policies_node) {
        add_given(&c, text->policies_node);
    }
    bool flags = add_flags(&c, text);

    if (r->problems->errors != errors)
        return;
    if (c.count == 0 && !flags && r->policies)
        route_warning(r, NULL, "has no policy: it denies every request");
    if (r->defaults->deny_invalid_certificate)
        tg_ppl_add_certificate_deny(c.builder);
    out->policy = tg_ppl_finish(c.builder);
    out->policy_texts = c.texts;
    out->policy_count = c.count;
}
