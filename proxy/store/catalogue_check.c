/*
 * catalogue_check - whether a document could be in force.
 *
 * It is put into a set of its own, with the policies it names, and read as sets are read when they are put in force:
 * what is taken here compiles there. Sentences are made to fit a client of the API: its names of members, no places in
 * a text that it has not seen.
 */
#include "base/map.h"
#include "base/setting.h"
#include "catalogue_internal.h"
#include "store/route.h"
#include <stdio.h>

#define SET_NAME "document"                              /* in front of the place of a problem */

/* ---- sentences ---- */

static bool skip(const char **text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (len == 0 || strncmp(*text, prefix, len) != 0)
        return false;
    *text += len;
    return true;
}

/* "document:1:17: " is no place that the client knows. */
static const char *without_place(const char *text)
{
    const char *p = text;

    if (!skip(&p, SET_NAME ":"))
        return text;
    for (int i = 0; i < 2; i++) {
        size_t digits = strspn(p, "0123456789");

        if (digits == 0 || p[digits] != ':')
            break;
        p += digits + 1;
    }
    return *p == ' ' ? p + 1 : p;
}

/* Without what problems of a set call the element; *member: what is left begins with the name of a member. */
static const char *without_element(const char *text, enum tg_kind kind, const struct tg_document *d, bool *member)
{
    const char *word = kind == TG_KIND_POLICY ? "policy" : "route";
    struct tg_slice name = catalogue_text(d->doc, "name");
    struct tg_buf form = {0};
    const char *rest = text;
    bool done;

    tg_buf_addf(&form, "%s " TG_S_FMT " (%s)", word, TG_S_ARG(name), d->id);
    done = skip(&rest, tg_buf_cstr(&form));
    tg_buf_fini(&form);
    *member = done && *rest == '.';
    if (!done)
        return text;
    return *rest == '.' ? rest + 1 : *rest == ':' && rest[1] == ' ' ? rest + 2 : *rest == ' ' ? rest + 1 : text;
}

/* "allow.and[0].emial: ..." has a path in the document; "expected a rule" has none. */
static bool has_path(const char *text)
{
    return text[0] == '[' || ((skip(&text, "allow") || skip(&text, "deny")) && strchr(".:[", text[0]));
}

/* "prefix_rewrite: ..." or "idle_timeout must be ...", with the name that the client knows. */
static void add_member_sentence(const char *text, struct tg_buf *out)
{
    char *snake, camel[TG_CAMEL_MAX];
    size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ");

    snake = tg_slice_dup(tg_slice(text, word < sizeof camel ? word : 0));
    tg_buf_adds(out, tg_camel_case(snake, camel));
    free(snake);
    text += word < sizeof camel ? word : 0;
    if (strcmp(camel, "policy") == 0 && text[0] == ':' && text[1] == ' ' && has_path(text + 2))
        tg_buf_addf(out, "%s%s", text[2] == '[' ? "" : ".", text + 2); /* one path, from the top */
    else
        tg_buf_addf(out, "%s%s", text[0] == ' ' ? ":" : "", text);
}

static enum tg_status tell_first(const struct tg_problems *problems, enum tg_kind kind, const struct tg_document *d,
                                 struct tg_err *err)
{
    struct tg_buf sentence = {0};
    size_t more = problems->errors - 1;
    bool member = false;
    const char *text;
    enum tg_status st;

    for (size_t i = 0; i < problems->count; i++)
        if (!problems->items[i].warning) {
            text = without_element(without_place(problems->items[i].text), kind, d, &member);
            if (member)
                add_member_sentence(text, &sentence);
            else
                tg_buf_adds(&sentence, text);
            break;
        }
    if (more > 0)
        st = tg_fail(err, TG_BAD_INPUT, "%.260s (and %zu more)", tg_buf_cstr(&sentence), more);
    else
        st = tg_fail(err, TG_BAD_INPUT, "%s", tg_buf_cstr(&sentence));
    tg_buf_fini(&sentence);
    return st;
}

/* ---- PPL ---- */

static enum tg_status check_ppl(const cJSON *ppl, const char *member, struct tg_err *err)
{
    struct tg_problems problems = {0};
    struct tg_arena arena;
    enum tg_status st = TG_OK;
    size_t more;

    tg_arena_init(&arena, NULL, 0);
    if (!tg_ppl_add(tg_ppl_builder_new(&arena), NULL, ppl, NULL, &problems)) {
        const char *text = "is no policy";

        for (size_t i = problems.count; i-- > 0;)
            if (!problems.items[i].warning)
                text = problems.items[i].text;
        more = problems.errors > 0 ? problems.errors - 1 : 0;
        st = more > 0 ? tg_fail(err, TG_BAD_INPUT, "%s%s%.260s (and %zu more)", member,
                                !has_path(text) ? ": " : text[0] == '[' ? "" : ".", text, more)
                      : tg_fail(err, TG_BAD_INPUT, "%s%s%s", member,
                                !has_path(text) ? ": " : text[0] == '[' ? "" : ".", text);
    }
    tg_arena_fini(&arena);
    tg_problems_fini(&problems);
    return st;
}

/* ---- references ---- */

static enum tg_status check_reference(struct tg_catalogue *c, const struct tg_document *route, const cJSON *node,
                                      size_t place, cJSON *policies, struct tg_err *err)
{
    struct tg_document policy;
    enum tg_status st = tg_catalogue_get(c, TG_KIND_POLICY, tg_slice_str(node->valuestring), &policy, err);

    if (st == TG_NOT_FOUND)
        return tg_fail(err, TG_BAD_INPUT, "policyIds[%zu]: there is no policy with this id", place);
    if (st != TG_OK)
        return st;
    if (strcmp(policy.namespace_id, c->namespaces[0].id) != 0 && strcmp(policy.namespace_id, route->namespace_id) != 0)
        st = tg_fail(err, TG_BAD_INPUT, "policyIds[%zu]: the policy is of another namespace", place);
    else
        cJSON_AddItemToArray(policies, catalogue_element(c, &policy));
    tg_document_fini(&policy);
    return st;
}

static enum tg_status check_references(struct tg_catalogue *c, const struct tg_document *route, cJSON *policies,
                                       struct tg_err *err)
{
    struct tg_map *seen = tg_map_new(NULL);
    enum tg_status st = TG_OK;
    const cJSON *node;
    size_t i = 0;

    cJSON_ArrayForEach(node, tg_json_get(route->doc, "policyIds")) {
        if (!tg_map_put(seen, tg_slice_str(node->valuestring), seen))
            st = tg_fail(err, TG_BAD_INPUT, "policyIds[%zu]: is there twice", i);
        if (st == TG_OK)
            st = check_reference(c, route, node, i++, policies, err);
        if (st != TG_OK)
            break;
    }
    tg_map_free(seen);
    return st;
}

static bool is_in(const struct tg_strings *names, struct tg_slice name)
{
    for (size_t i = 0; i < names->count; i++)
        if (tg_slice_eq(names->items[i], name))
            return true;
    return false;
}

static enum tg_status fail_provider(const struct tg_catalogue *c, const char *name, size_t place, struct tg_err *err)
{
    const char **names = TG_NEW_ARRAY(const char *, c->providers.count + 1), *near;
    enum tg_status st;

    for (size_t i = 0; i < c->providers.count; i++)
        names[i] = tg_slice_dup(c->providers.items[i]);
    near = tg_nearest(name, names, c->providers.count);
    st = tg_fail(err, TG_BAD_INPUT, "identityProviders[%zu]: this machine's file has no provider \"%.64s\"%s%s%s",
                 place, name, near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    for (size_t i = 0; i < c->providers.count; i++)
        free((char *)(uintptr_t)names[i]);
    free(names);
    return st;
}

/* Those of the file. An opaque token does not say whose it is, so one of those it would be shown to is chosen. */
static enum tg_status check_providers(const struct tg_catalogue *c, const struct tg_document *route, struct tg_err *err)
{
    const cJSON *list = tg_json_get(route->doc, "identityProviders"), *node;
    size_t opaque = list && list->child ? 0 : c->opaque_providers.count, i = 0;

    if (!c->providers.set)
        return TG_OK;
    cJSON_ArrayForEach(node, list) {
        if (!is_in(&c->providers, tg_slice_str(node->valuestring)))
            return fail_provider(c, node->valuestring, i, err);
        opaque += is_in(&c->opaque_providers, tg_slice_str(node->valuestring));
        i++;
    }
    if (opaque <= 1)
        return TG_OK;
    return tg_fail(err, TG_BAD_INPUT, "identityProviders: several providers of this machine's file take opaque tokens, "
                   "and such a token does not say whose it is; name those that count, one of them among these");
}

/* What the file of this machine lets a route say; said here so that the sentence has the member. */
static enum tg_status check_rules(const struct tg_catalogue *c, const struct tg_document *route, struct tg_err *err)
{
    const cJSON *node;
    struct tg_err why;
    size_t i = 0;

    cJSON_ArrayForEach(node, tg_json_get(route->doc, "to")) {
        if (c->rules && tg_set_rules_allow(c->rules, tg_slice_str(node->valuestring), &why) != TG_OK)
            return tg_fail(err, TG_BAD_INPUT, "to[%zu]: %s", i, why.text);
        i++;
    }
    if (cJSON_IsTrue(tg_json_get(route->doc, "tlsSkipVerify")) && c->rules && !c->rules->allow_tls_skip_verify)
        return tg_fail(err, TG_BAD_INPUT, "tlsSkipVerify: is not allowed here: the file has no "
                       "management.allow_tls_skip_verify");
    return TG_OK;
}

/* ---- as sets are read ---- */

static enum tg_status read_set(const struct tg_catalogue *c, enum tg_kind kind, const struct tg_document *d,
                               const struct tg_set *set, struct tg_err *err)
{
    struct tg_set_use use = {.set = set, .rules = c->rules};
    struct tg_route_defaults defaults = {0};
    struct tg_problems problems = {0};
    struct tg_routes *routes = NULL;
    struct tg_tree *tree = NULL;
    struct tg_arena arena;
    enum tg_status st = tg_tree_parse("empty.json", TG_S("{}"), &tree, err);

    if (st != TG_OK)
        return st;
    tg_arena_init(&arena, NULL, 0);
    if (!tg_routes_read(tree, tree->root, &defaults, &use, &arena, &routes, &problems) && problems.errors > 0)
        st = tell_first(&problems, kind, d, err);
    tg_routes_fini(routes);
    tg_problems_fini(&problems);
    tg_arena_fini(&arena);
    tg_tree_free(tree);
    return st;
}

static enum tg_status compile(const struct tg_catalogue *c, enum tg_kind kind, const struct tg_document *d,
                              cJSON *policies, cJSON *routes, struct tg_err *err)
{
    struct tg_set *set = NULL;
    struct tg_err why = {0};
    enum tg_status st = tg_set_make(SET_NAME, policies, routes, &set, &why);

    st = st == TG_OK ? read_set(c, kind, d, set, err) : tg_fail(err, st, "%s", without_place(why.text));
    tg_set_unref(set);
    return st;
}

static enum tg_status check_policy(struct tg_catalogue *c, const struct tg_document *d, cJSON *policies,
                                   struct tg_err *err)
{
    cJSON_AddItemToArray(policies, catalogue_element(c, d));
    return check_ppl(tg_json_get(d->doc, "ppl"), "ppl", err);
}

static enum tg_status check_route(struct tg_catalogue *c, const struct tg_document *d, cJSON *policies, cJSON *routes,
                                  struct tg_err *err)
{
    enum tg_status st = check_references(c, d, policies, err);

    if (st == TG_OK)
        st = check_rules(c, d, err);
    if (st == TG_OK)
        st = check_providers(c, d, err);
    cJSON_AddItemToArray(routes, catalogue_element(c, d));
    return st;
}

enum tg_status catalogue_check(struct tg_catalogue *c, enum tg_kind kind, const struct tg_document *d,
                               struct tg_err *err)
{
    cJSON *policies = cJSON_CreateArray(), *routes = cJSON_CreateArray();
    enum tg_status st = kind == TG_KIND_POLICY ? check_policy(c, d, policies, err)
                                               : check_route(c, d, policies, routes, err);

    if (st == TG_OK)
        st = compile(c, kind, d, policies, routes, err);
    cJSON_Delete(policies);
    cJSON_Delete(routes);
    return st;
}
