/*
 * sync_find - what is looked for in the lists of a control plane: one organization, one namespace, references, and
 * whom an enforced policy holds for.
 */
#include "base/json.h"
#include "base/map.h"
#include "sync_internal.h"

#define NAMESPACE_DEPTH 64                               /* a circle of parents ends here */
#define ENFORCED 4000000                                 /* enforced policies times routes */

static struct tg_slice text_of(const cJSON *element, const char *name)
{
    struct tg_slice text = {NULL, 0};

    tg_json_str(tg_json_get(element, name), &text);
    return text;
}

/* ---- one of a list ---- */

static enum tg_status pick_by_name(const cJSON *items, struct tg_slice wanted, const char *what, const cJSON **out,
                                   struct tg_err *err)
{
    const cJSON *element, *found = NULL;

    cJSON_ArrayForEach(element, items) {
        if (!tg_slice_eq(text_of(element, "name"), wanted))
            continue;
        if (found)
            return tg_fail(err, TG_BAD_INPUT, "several have the name of the %s: its id is needed", what);
        found = element;
    }
    if (!found)
        return tg_fail(err, TG_NOT_FOUND, "the %s is not there, neither by id nor by name: " TG_S_FMT, what,
                       TG_S_ARG(wanted));
    *out = found;
    return TG_OK;
}

/* The element whose id is `wanted`, else the only one of that name. `what`: "organization". */
static enum tg_status pick(const cJSON *items, struct tg_slice wanted, const char *what, const cJSON **out,
                           struct tg_err *err)
{
    const cJSON *element;

    cJSON_ArrayForEach(element, items) {
        if (tg_slice_eq(text_of(element, "id"), wanted)) {
            *out = element;
            return TG_OK;
        }
    }
    return pick_by_name(items, wanted, what, out, err);
}

enum tg_status sync_pick_organization(const cJSON *items, struct tg_slice wanted, const cJSON **out,
                                      struct tg_err *err)
{
    if (wanted.len)
        return pick(items, wanted, "organization", out, err);
    if (!items->child)
        return tg_fail(err, TG_NOT_FOUND, "there is no organization that the credential may see");
    if (items->child->next)
        return tg_fail(err, TG_BAD_INPUT, "there are several organizations: sync.organization has to say which");
    *out = items->child;
    return TG_OK;
}

enum tg_status sync_pick_namespace(const cJSON *items, struct tg_slice wanted, struct tg_slice organization,
                                   struct tg_slice *out, struct tg_err *err)
{
    const cJSON *found = NULL;
    enum tg_status st;

    *out = organization;
    if (!wanted.len || tg_slice_eq(wanted, organization))
        return TG_OK;
    st = pick(items, wanted, "namespace", &found, err);
    if (st == TG_OK)
        *out = text_of(found, "id");
    return st;
}

cJSON *sync_namespaces_of_clusters(const cJSON *clusters, const char *organization)
{
    cJSON *namespaces = cJSON_CreateArray();
    const cJSON *cluster;

    cJSON_ArrayForEach(cluster, clusters) {
        struct tg_slice id = text_of(cluster, "namespaceId"), name = text_of(cluster, "name");
        cJSON *namespace = cJSON_CreateObject();

        if (!id.len)
            id = text_of(cluster, "id");
        cJSON_AddStringToObject(namespace, "id", id.ptr);
        cJSON_AddStringToObject(namespace, "name", name.len ? name.ptr : "");
        cJSON_AddStringToObject(namespace, "parentId", organization);
        cJSON_AddItemToArray(namespaces, namespace);
    }
    return namespaces;
}

/* ---- references ---- */

static void note_missing(const cJSON *ids, struct tg_map *known, cJSON *missing)
{
    const cJSON *node;

    cJSON_ArrayForEach(node, ids) {
        struct tg_slice id;

        if (!tg_json_str(node, &id) || !id.len || tg_map_get(known, id))
            continue;
        tg_map_put(known, id, missing);
        cJSON_AddItemToArray(missing, cJSON_CreateString(node->valuestring));
    }
}

cJSON *sync_missing(const cJSON *policies, const cJSON *routes)
{
    static const char *const members[] = {"policyIds", "enforcedPolicyIds", "policy_ids", "enforced_policy_ids"};
    struct tg_map *known = tg_map_new(NULL);
    cJSON *missing = cJSON_CreateArray();
    const cJSON *element;

    cJSON_ArrayForEach(element, policies)
        tg_map_put(known, text_of(element, "id"), missing);
    cJSON_ArrayForEach(element, routes)
        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            note_missing(tg_json_get(element, members[i]), known, missing);
    tg_map_free(known);
    return missing;
}

/* ---- enforced policies ---- */

static bool is_below(const struct tg_map *parents, struct tg_slice namespace, struct tg_slice above)
{
    for (int i = 0; i < NAMESPACE_DEPTH && namespace.len; i++) {
        const cJSON *node = tg_map_get(parents, namespace);

        if (tg_slice_eq(namespace, above))
            return true;
        namespace = text_of(node, "parentId");
    }
    return false;
}

/* The list of a route, made where there is none; NULL: the set refuses what stands there by name. */
static cJSON *enforced_ids(cJSON *route)
{
    cJSON *ids = cJSON_GetObjectItemCaseSensitive(route, "enforcedPolicyIds");

    if (ids && !cJSON_IsNull(ids))
        return cJSON_IsArray(ids) ? ids : NULL;
    cJSON_DeleteItemFromObjectCaseSensitive(route, "enforcedPolicyIds");
    return cJSON_AddArrayToObject(route, "enforcedPolicyIds");
}

static void enforce(const cJSON *policy, cJSON *route, struct tg_map *known)
{
    struct tg_slice id = text_of(policy, "id");
    cJSON *ids;

    if (tg_map_get(known, id) || !(ids = enforced_ids(route)))
        return;
    tg_map_put(known, id, (void *)policy);
    cJSON_AddItemToArray(ids, cJSON_CreateString(id.ptr));
}

struct spread {
    struct tg_map *parents;                              /* by id: a namespace */
    const cJSON **policies;                              /* the enforced ones that say where they belong */
    size_t count;
    struct tg_slice organization;
};

static void spread_to(const struct spread *s, cJSON *route)
{
    struct tg_slice namespace = text_of(route, "namespaceId");
    struct tg_map *known = tg_map_new(NULL);
    const cJSON *node;

    cJSON_ArrayForEach(node, tg_json_get(route, "enforcedPolicyIds"))
        if (cJSON_IsString(node))
            tg_map_put(known, tg_slice_str(node->valuestring), (void *)node);
    for (size_t i = 0; i < s->count; i++) {
        struct tg_slice home = text_of(s->policies[i], "namespaceId");

        /* The root is above all, also above what does not say where it is. */
        if (tg_slice_eq(home, s->organization) || is_below(s->parents, namespace, home))
            enforce(s->policies[i], route, known);
    }
    tg_map_free(known);
}

static void gather_enforced(struct spread *s, const cJSON *policies)
{
    const cJSON *policy;

    cJSON_ArrayForEach(policy, policies)
        if (cJSON_IsTrue(tg_json_get(policy, "enforced")) && text_of(policy, "namespaceId").len)
            s->policies[s->count++] = policy;
}

enum tg_status sync_spread_enforced(const cJSON *policies, cJSON *routes, const cJSON *namespaces,
                                    struct tg_slice organization, struct tg_err *err)
{
    size_t route_count = (size_t)cJSON_GetArraySize(routes);
    struct spread s = {.organization = organization};
    enum tg_status st = TG_OK;
    const cJSON *node;
    cJSON *route;

    s.policies = TG_NEW_ARRAY(const cJSON *, (size_t)cJSON_GetArraySize(policies) + 1);
    gather_enforced(&s, policies);
    if (s.count && route_count > ENFORCED / s.count)
        st = tg_fail(err, TG_LIMIT, "%zu enforced policies for %zu routes are more than a set may hold", s.count,
                     route_count);
    if (st == TG_OK && s.count) {
        s.parents = tg_map_new(NULL);
        cJSON_ArrayForEach(node, namespaces)
            tg_map_put(s.parents, text_of(node, "id"), (void *)node);
        cJSON_ArrayForEach(route, routes)
            spread_to(&s, route);
        tg_map_free(s.parents);
    }
    free(s.policies);
    return st;
}

/* ---- v1 ---- */

/* Takes it over; NULL: left out. */
static cJSON *policy_from_v1(cJSON *policy)
{
    static const char *const kept[] = {"id",          "name",        "description", "enforced",
                                       "explanation", "remediation", "active"};
    cJSON *data = cJSON_GetObjectItemCaseSensitive(policy, "policy_data");
    cJSON *ppl = cJSON_DetachItemFromObjectCaseSensitive(data ? data : policy, "ppl"), *out = NULL;

    if (ppl) {
        out = cJSON_CreateObject();
        for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
            cJSON *member = cJSON_DetachItemFromObjectCaseSensitive(policy, kept[i]);

            if (member)
                cJSON_AddItemToObject(out, kept[i], member);
        }
        cJSON_AddItemToObject(out, "ppl", ppl);
        ppl = NULL;
    }
    cJSON_Delete(ppl);
    cJSON_Delete(policy);
    return out;
}

static void policies_from_v1(struct sync_list *list)
{
    cJSON *all = list->items, *policy;

    list->items = cJSON_CreateArray();
    list->count = 0;
    while ((policy = all->child)) {
        cJSON_DetachItemViaPointer(all, policy);
        policy = policy_from_v1(policy);
        if (!policy)
            continue;
        cJSON_AddItemToArray(list->items, policy);
        list->count++;
    }
    cJSON_Delete(all);
}

void sync_from_v1(struct sync_list *policies, struct sync_list *routes)
{
    static const char *const dropped[] = {"organization_id", "version", "active", "created_at", "updated_at"};
    cJSON *route, *next;

    policies_from_v1(policies);
    for (route = routes->items->child; route; route = next) {
        next = route->next;
        if (cJSON_IsFalse(tg_json_get(route, "active"))) {
            cJSON_Delete(cJSON_DetachItemViaPointer(routes->items, route));
            routes->count--;
            continue;
        }
        for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
            cJSON_DeleteItemFromObjectCaseSensitive(route, dropped[i]);
    }
}
