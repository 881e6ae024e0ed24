/*
 * route_policy - who may use a route: its inline policy, the named ones it lists, the enforced ones, the access flags.
 *
 * They are added in that order, and policy_texts follows the same order, so that the index in a verdict finds the text.
 * Last comes the rule that denies without a valid client certificate, where enforcement asks for it: public routes too.
 * No program points into the trees it was made from: those of policies_dir are gone when the routes are read.
 * A route of a control plane's set names policies by id, and is told which ones are enforced where it belongs.
 *
 * All are collected first, whatever their mode, and their problems told. When something is in shadow mode that is what
 * would be applied, and what is applied is collected once more, without it.
 */
#include "base/map.h"
#include "internal.h"

struct collector {
    const struct route_reader *r;
    struct tg_ppl_builder *builder;
    struct tg_policy_text *texts;
    size_t count, cap;
    bool applied;                                        /* leave out what is in shadow mode */
    bool shadowed;                                       /* something is */
    bool flags;                                          /* some access flag is set */
    bool of_set;                                         /* some policy is a control plane's */
    bool unresolved;                                     /* some reference leads nowhere: told already */
    size_t chosen;                                       /* policies before the enforced ones */
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

static void add_named(struct collector *c, const struct named_policy *policy)
{
    c->shadowed = c->shadowed || policy->shadow;
    if (policy->broken || (c->applied && policy->shadow))
        return;
    c->of_set = c->of_set || policy->of_set;
    tg_ppl_add_policy(c->builder, policy->read);
    add_text(c, &policy->text);
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
static void add_given(struct collector *c, const cJSON *list, bool enforced_only)
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
        policy_read(&policy, r->tree, node, (struct tg_slice){0}, where, r->defaults->client_ca, r->pool, r->arena,
                    r->problems);
        if (policy.enforced || !enforced_only)
            add_named(c, &policy);
    }
}

/* Whether it is the first time that this policy is met. */
static bool meet(struct tg_map *met, const struct named_policy *policy)
{
    return tg_map_put(met, tg_slice((const char *)&policy, sizeof(policy)), met);
}

/* What a reference means: the file's own names come first there, those of a set in the set. */
static const struct named_policy *find(const struct route_reader *r, struct tg_slice ref, bool *several)
{
    const struct named_policy *own = policy_set_find(r->policies, ref), *of_set = NULL;

    *several = false;
    if (r->set && (!own || route_is_of_set(r)))
        of_set = set_policies_find(r->set, ref, several);
    return of_set ? of_set : own;
}

/* An error of the file; but where policies come from elsewhere too, the route waits for this one and admits nobody. */
static void refuse_reference(struct collector *c, const char *setting, struct tg_slice ref, bool several)
{
    const struct route_reader *r = c->r;
    const char *nearest = policy_set_nearest(r->policies, ref, r->arena);

    c->unresolved = true;
    if (!r->set)
        route_problem(r, setting, "there is no policy named \"" TG_S_FMT "\"%s%s%s", TG_S_ARG(ref),
                      nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    else if (several)
        route_warning(r, setting, "the control plane has several policies named \"" TG_S_FMT "\": give the id; until "
                      "then nobody is let in", TG_S_ARG(ref));
    else
        route_warning(r, setting, "there is no policy \"" TG_S_FMT "\"%s: nobody is let in until there is%s%s%s",
                      TG_S_ARG(ref), r->set_missing ? " yet, as nothing has come from the control plane"
                                                    : ", neither in the file nor from the control plane",
                      nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
}

/* The file's enforced ones are passed over here: they come with the enforced ones, once. */
static void add_references(struct collector *c, const char *setting, const struct tg_strings *refs, struct tg_map *met)
{
    const struct route_reader *r = c->r;

    for (size_t i = 0; i < refs->count; i++) {
        bool several;
        const struct named_policy *policy = find(r, refs->items[i], &several);

        if (!policy)
            refuse_reference(c, setting, refs->items[i], several);
        else if (meet(met, policy) && (policy->of_set || !policy->enforced))
            add_named(c, policy);
    }
}

static void refuse_twice(const struct route_reader *r, const struct tg_strings *names)
{
    struct tg_map *listed = tg_map_new(NULL);

    for (size_t i = 0; i < names->count; i++)
        if (!tg_map_put(listed, names->items[i], listed))
            route_problem(r, "policies", "\"" TG_S_FMT "\" is listed twice", TG_S_ARG(names->items[i]));
    tg_map_free(listed);
}

static void add_chosen(struct collector *c, const struct route_text *text)
{
    const struct tg_strings *forced = &text->enforced_policy_ids;
    struct tg_map *met;

    if (text->policies.count + text->policy_ids.count == 0)
        return;
    met = tg_map_new(NULL);
    for (size_t i = 0; i < forced->count; i++) {         /* these come with the enforced ones, too */
        bool several;
        const struct named_policy *policy = find(c->r, forced->items[i], &several);

        if (policy)
            meet(met, policy);
    }
    if (!route_is_of_set(c->r))
        refuse_twice(c->r, &text->policies);
    add_references(c, "policies", &text->policies, met);
    add_references(c, "policy_ids", &text->policy_ids, met);
    tg_map_free(met);
}

/* The file's, and what the control plane enforces where the route belongs. */
static void add_enforced(struct collector *c, const struct route_text *text)
{
    const struct policy_set *set = c->r->policies;
    const struct tg_strings *forced = &text->enforced_policy_ids;
    bool several;

    for (size_t i = 0; i < set->count && set->enforced > 0; i++)
        if (set->items[i].enforced)
            add_named(c, &set->items[i]);
    for (size_t i = 0; i < forced->count; i++) {
        const struct named_policy *policy = find(c->r, forced->items[i], &several);

        if (!policy)
            refuse_reference(c, "enforced_policy_ids", forced->items[i], several);
        else if (policy->of_set || !policy->enforced)
            add_named(c, policy);
    }
}

/* They have no text of their own: a verdict does not name them. */
static void add_flags(struct collector *c, const struct route_text *text)
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
    c->flags = flags.public_access || flags.cors_preflight || flags.any_authenticated || flags.domain_count > 0 ||
               flags.user_count > 0 || cJSON_GetArraySize(flags.idp_claims) > 0;
}

/* Everybody, but whom an enforced policy denies. */
static void add_open_door(struct collector *c, const struct route_text *text)
{
    static const struct tg_ppl_flags everybody = {.public_access = true};

    if (c->r->policies)
        add_enforced(c, text);
    else if (text->policies_node)
        add_given(c, text->policies_node, true);
    tg_ppl_add_flags(c->builder, c->r->tree, &everybody, c->r->problems);
}

static void add_all(struct collector *c, const struct route_text *text)
{
    if (text->policy)
        add_inline(c, text->policy);
    if (c->r->policies) {
        add_chosen(c, text);
        c->chosen = c->count;
        add_enforced(c, text);
    } else if (text->policies_node) {
        add_given(c, text->policies_node, false);
    }
    add_flags(c, text);
}

static size_t most_policies(const struct route_reader *r, const struct route_text *text)
{
    return (size_t)cJSON_GetArraySize(text->policy) + (size_t)cJSON_GetArraySize(text->policies_node) +
           text->policies.count + text->policy_ids.count + text->enforced_policy_ids.count +
           (r->policies ? r->policies->enforced : 0) + 1;
}

static struct collector start(const struct route_reader *r, const struct route_text *text)
{
    struct collector c = {.r = r, .builder = tg_ppl_builder_in(r->pool, r->arena), .cap = most_policies(r, text)};

    c.texts = TG_ARENA_ARRAY(r->arena, struct tg_policy_text, c.cap);
    tg_ppl_set_client_ca(c.builder, r->defaults->client_ca);
    return c;
}

static const struct tg_program *finish(const struct collector *c)
{
    if (c->r->defaults->deny_invalid_certificate)
        tg_ppl_add_certificate_deny(c->builder);
    return tg_ppl_finish(c->builder);
}

/* What is left when the parts in shadow mode are taken away. Its problems are told already. */
static struct collector collect_applied(const struct route_reader *r, const struct route_text *text)
{
    struct tg_problems said = {0};
    struct route_reader quiet = *r;
    struct collector c;

    quiet.problems = &said;
    c = start(&quiet, text);
    c.applied = true;
    if (text->mode == ROUTE_SHADOW)
        add_open_door(&c, text);
    else
        add_all(&c, text);
    tg_problems_fini(&said);
    c.r = r;
    return c;
}

static void warn_of_nothing(const struct route_reader *r, const struct collector *all, const struct collector *applied)
{
    if (!r->policies)
        return;
    if (all->count == 0 && !all->flags)
        route_warning(r, NULL, "has no policy: it denies every request");
    else if (applied->count == 0 && !applied->flags)
        route_warning(r, NULL, "has only policies in shadow mode, which are not applied: it denies every request");
}

/* Any of the providers can issue a token with the address of somebody that another one knows. */
static void warn_of_addresses(const struct route_reader *r, const struct tg_program *program,
                              const struct tg_route *route)
{
    const struct tg_fact_set *reads;

    if (!r->several_providers || route->provider_count > 0)
        return;
    reads = tg_ppl_reads(&program, 1, NULL, 0, r->arena);
    if ((reads->facts & TG_FACT_BIT(TG_FACT_EMAIL)) && !tg_fact_set_has_claim(reads, TG_S("iss")))
        route_warning(r, NULL, "decides by e-mail address or domain, and any of the identity_providers can issue a "
                      "token with the same address; write identity_providers: [NAME], those that may speak for them");
}

/* Only what opens a tunnel is judged, and that has no content. */
static void warn_of_tunnel(const struct route_reader *r, const struct route_text *text, const struct tg_route *route)
{
    if (text->allow_websockets && (tg_ppl_reads_fact(route->policy, TG_FACT_MCP_TOOL) ||
                                   tg_ppl_reads_fact(route->shadow, TG_FACT_MCP_TOOL)))
        route_warning(r, "allow_websockets", "true: mcp_tool does not see the calls inside a websocket; the request "
                      "that opens one is judged as no tool call, and what follows is not judged");
}

static void warn_of_traps(const struct collector *c)
{
    const struct route_reader *r = c->r;
    struct tg_together how = {
        .unverified = r->defaults->client_ca && !r->defaults->deny_invalid_certificate,
        .compare = r->policies && !c->shadowed,
        .chosen = (int)c->chosen,
    };

    tg_ppl_warn_together(c->builder, &how, r->tree, r->node, r->where, r->problems);
}

void route_read_policy(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    struct collector all = start(r, text), applied;
    size_t errors = r->problems->errors;

    add_all(&all, text);
    if (r->problems->errors != errors)
        return;
    out->may_be_stale = out->may_be_stale || all.of_set;
    out->unresolved = all.unresolved;
    if (all.unresolved) {                                /* what the others say does not matter: it denies */
        out->policy = tg_ppl_finish(tg_ppl_builder_in(r->pool, r->arena));
        return;
    }
    warn_of_traps(&all);
    out->shadow_mode = text->mode == ROUTE_SHADOW;
    applied = all;
    if (out->shadow_mode || all.shadowed) {
        out->shadow = finish(&all);
        out->shadow_texts = all.texts;
        out->shadow_count = all.count;
        applied = collect_applied(r, text);
    }
    if (out->shadow_mode)
        route_warning(r, "mode", "shadow: this route admits everybody, without a token too%s; its policies are only "
                      "evaluated, logged and counted; write \"mode: enforce\" to apply them",
                      applied.count > 0 ? ", but for what enforced policies deny" : "");
    else
        warn_of_nothing(r, &all, &applied);
    out->policy = finish(&applied);
    warn_of_addresses(r, out->shadow ? out->shadow : out->policy, out);
    warn_of_tunnel(r, text, out);
    out->policy_texts = applied.texts;
    out->policy_count = applied.count;
}
