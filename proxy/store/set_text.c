/*
 * set_text - the canonical text of a set: which members it keeps, by which names, in which order.
 *
 * Two lists that say the same must give the same octets, or every poll of a control plane would compile everything
 * anew: members are sorted by name on every level, lists of ids are sorted, what says nothing is left out. But what
 * says something where absence means another thing is kept: `passIdentityHeaders: false`, a policy's `ppl` however
 * empty; and a policy with `active: false` leaves the set together with the references to it, as it would be active
 * without that word. Members that are not known are kept as they are: whoever compiles the set refuses them by name.
 */
#include "set_internal.h"
#include <stdlib.h>

enum { FEW_MEMBERS = 32, ID_MAX_BYTES = 200, SHOWN_BYTES = 64 };

/* ---- values ---- */

static int compare_members(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static void add_value(struct tg_buf *out, const cJSON *node);

static void add_object(struct tg_buf *out, const cJSON *node)
{
    const cJSON *few[FEW_MEMBERS], **members = few, *child;
    size_t count = (size_t)cJSON_GetArraySize(node), n = 0;

    if (count > FEW_MEMBERS)
        members = TG_NEW_ARRAY(const cJSON *, count);
    cJSON_ArrayForEach(child, node)
        members[n++] = child;
    qsort(members, n, sizeof(*members), compare_members);
    tg_buf_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            tg_buf_addc(out, ',');
        tg_json_add_string(out, tg_slice_str(members[i]->string));
        tg_buf_addc(out, ':');
        add_value(out, members[i]);
    }
    tg_buf_addc(out, '}');
    if (members != few)
        free(members);
}

static void add_value(struct tg_buf *out, const cJSON *node)
{
    const cJSON *child;

    if (cJSON_IsObject(node)) {
        add_object(out, node);
    } else if (cJSON_IsArray(node)) {
        tg_buf_addc(out, '[');
        cJSON_ArrayForEach(child, node) {
            if (child != node->child)
                tg_buf_addc(out, ',');
            add_value(out, child);
        }
        tg_buf_addc(out, ']');
    } else {
        tg_json_print(out, node);
    }
}

bool set_says_nothing(const cJSON *node)
{
    if (cJSON_IsString(node))
        return node->valuestring[0] == '\0';
    if (cJSON_IsArray(node) || cJSON_IsObject(node))
        return !node->child;
    return !node || cJSON_IsNull(node) || cJSON_IsFalse(node) || (cJSON_IsNumber(node) && node->valuedouble == 0);
}

/* ---- members ---- */

enum member { MEMBER_KEPT, MEMBER_FALSE_KEPT, MEMBER_EMPTY_KEPT, MEMBER_DROPPED, MEMBER_OURS };
struct known {
    const char *name;                                    /* the API's */
    enum member what;                                    /* OURS: written by whoever knows more of it */
};
static const struct known of_policies[] = {
    {"active", MEMBER_OURS},          {"createdAt", MEMBER_DROPPED},   {"description", MEMBER_KEPT},
    {"deviceCount", MEMBER_DROPPED},  {"enforced", MEMBER_KEPT},       {"enforcedRoutes", MEMBER_DROPPED},
    {"explanation", MEMBER_KEPT},     {"id", MEMBER_KEPT},             {"mode", MEMBER_KEPT},
    {"name", MEMBER_KEPT},            {"namespaceId", MEMBER_KEPT},    {"organizationId", MEMBER_DROPPED},
    {"originatorId", MEMBER_DROPPED}, {"policyData", MEMBER_OURS},     {"ppl", MEMBER_EMPTY_KEPT},
    {"remediation", MEMBER_KEPT},     {"routes", MEMBER_DROPPED},      {"updatedAt", MEMBER_DROPPED},
    {"version", MEMBER_DROPPED},
};
static const struct known of_routes[] = {
    {"createdAt", MEMBER_DROPPED},    {"enforcedPolicies", MEMBER_OURS}, {"enforcedPolicyIds", MEMBER_OURS},
    {"logoUrl", MEMBER_DROPPED},      {"originatorId", MEMBER_DROPPED},  {"passIdentityHeaders", MEMBER_FALSE_KEPT},
    {"policies", MEMBER_OURS},        {"policyIds", MEMBER_OURS},        {"updatedAt", MEMBER_DROPPED},
};

struct writing {                                         /* one element */
    struct {
        char name[TG_CAMEL_MAX];
        const cJSON *node;
        const struct tg_slice *ids;                      /* in place of a node */
        size_t id_count;
    } *members;
    size_t count;
};

/* The one spelling; a name that is too long for any setting stays as it is. */
static bool spell(const char *name, char out[static TG_CAMEL_MAX])
{
    if (strlen(name) >= TG_CAMEL_MAX)
        return false;
    tg_camel_case(name, out);
    return true;
}

static enum member kind_of(const struct known *table, size_t rows, const char *name)
{
    for (size_t i = 0; i < rows; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].what;
    return MEMBER_KEPT;
}

static bool is_written(enum member what, const cJSON *node)
{
    if (what == MEMBER_KEPT)
        return !set_says_nothing(node);
    if (what == MEMBER_FALSE_KEPT)
        return cJSON_IsFalse(node) || !set_says_nothing(node);
    return what == MEMBER_EMPTY_KEPT && !cJSON_IsNull(node);
}

const cJSON *set_member(const cJSON *element, const char *name)
{
    const cJSON *member = tg_json_get(element, name), *child;
    char camel[TG_CAMEL_MAX];

    if (member)
        return member;
    cJSON_ArrayForEach(child, element)
        if (strchr(child->string, '_') && spell(child->string, camel) && strcmp(camel, name) == 0)
            return child;
    return NULL;
}

static int compare_written(const void *a, const void *b)
{
    return strcmp(a, b);                                 /* both begin with their name */
}

static void add_ids(struct tg_buf *out, const struct tg_slice *ids, size_t count)
{
    tg_buf_addc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            tg_buf_addc(out, ',');
        tg_json_add_string(out, ids[i]);
    }
    tg_buf_addc(out, ']');
}

static enum tg_status finish(struct writing *w, const struct set_element *e, struct tg_buf *out, struct tg_err *err)
{
    qsort(w->members, w->count, sizeof(*w->members), compare_written);
    tg_buf_addc(out, '{');
    for (size_t i = 0; i < w->count; i++) {
        if (i > 0 && strcmp(w->members[i - 1].name, w->members[i].name) == 0)
            return tg_fail(err, TG_BAD_INPUT, "%s has %.64s twice, in two spellings", e->shown, w->members[i].name);
        if (i > 0)
            tg_buf_addc(out, ',');
        tg_json_add_string(out, tg_slice_str(w->members[i].name));
        tg_buf_addc(out, ':');
        if (w->members[i].node)
            add_value(out, w->members[i].node);
        else
            add_ids(out, w->members[i].ids, w->members[i].id_count);
    }
    tg_buf_addc(out, '}');
    return TG_OK;
}

static void put(struct writing *w, const char *name, const cJSON *node, const struct set_ids *ids)
{
    size_t i = w->count++;

    snprintf(w->members[i].name, sizeof(w->members[i].name), "%s", name);
    w->members[i].node = node;
    w->members[i].ids = ids ? ids->items : NULL;
    w->members[i].id_count = ids ? ids->count : 0;
}

/* What needs no second look. */
static enum tg_status collect(struct writing *w, const struct set_element *e, const struct known *table, size_t rows,
                              struct tg_err *err)
{
    const cJSON *child;
    char name[TG_CAMEL_MAX];

    w->members = tg_alloc(((size_t)cJSON_GetArraySize(e->node) + 4) * sizeof(*w->members));
    cJSON_ArrayForEach(child, e->node) {
        if (!spell(child->string, name))
            return tg_fail(err, TG_BAD_INPUT, "%s has a member with a name of more than %d bytes", e->shown,
                           TG_CAMEL_MAX - 1);
        if (is_written(kind_of(table, rows, name), child))
            put(w, name, child, NULL);
    }
    return TG_OK;
}

/* ---- elements ---- */

static void show(struct set_element *e, const char *what, size_t number)
{
    struct tg_slice s = e->name.len > 0 ? e->name : e->key;
    char text[SHOWN_BYTES + 1];
    size_t n = s.len < SHOWN_BYTES ? s.len : SHOWN_BYTES;

    for (size_t i = 0; i < n; i++)
        text[i] = s.ptr[i] > 0x1f && s.ptr[i] < 0x7f ? s.ptr[i] : '?';
    text[n] = '\0';
    if (n > 0)
        snprintf(e->shown, sizeof(e->shown), "%s \"%s\"", what, text);
    else
        snprintf(e->shown, sizeof(e->shown), "%s number %zu", what, number + 1);
}

/* Text, or nothing; false: something else. */
static bool text_member(const struct set_element *e, const char *name, struct tg_slice *out)
{
    const cJSON *node = set_member(e->node, name);

    *out = (struct tg_slice){0};
    return !node || cJSON_IsNull(node) || tg_json_str(node, out);
}

enum tg_status set_element_read(struct set_element *e, const char *what, size_t number, const cJSON *node,
                                struct tg_err *err)
{
    struct tg_slice id;

    *e = (struct set_element){.node = node};
    snprintf(e->shown, sizeof(e->shown), "%s number %zu", what, number + 1);
    if (!cJSON_IsObject(node))
        return tg_fail(err, TG_BAD_INPUT, "%s is not an object", e->shown);
    if (!text_member(e, "id", &id) || !text_member(e, "name", &e->name) ||
        !text_member(e, "namespaceId", &e->namespace_id))
        return tg_fail(err, TG_BAD_INPUT, "%s: id, name and namespaceId are text", e->shown);
    e->key = id.len > 0 ? id : e->name;
    show(e, what, number);
    if (e->key.len > ID_MAX_BYTES)
        return tg_fail(err, TG_BAD_INPUT, "%s: an id has at most %d bytes", e->shown, ID_MAX_BYTES);
    e->enforced = cJSON_IsTrue(set_member(node, "enforced"));
    e->inactive = cJSON_IsFalse(set_member(node, "active"));
    return TG_OK;
}

/* {"policy_data": {"ppl": ...}} of the enveloped form is `ppl`; with anything else in it, it stays and is refused. */
enum tg_status set_policy_write(const struct set_element *e, struct tg_buf *out, struct tg_err *err)
{
    const cJSON *data = set_member(e->node, "policyData"), *ppl = tg_json_get(data, "ppl");
    struct writing w = {0};
    enum tg_status st = collect(&w, e, of_policies, ARRAY_LEN(of_policies), err);

    if (st == TG_OK && !set_says_nothing(data)) {
        bool alone = ppl && data->child == ppl && !ppl->next;

        put(&w, alone ? "ppl" : "policyData", alone ? ppl : data, NULL);
    }
    if (st == TG_OK)
        st = finish(&w, e, out, err);
    free(w.members);
    return st;
}

/* ---- ids ---- */

static int compare_ids(const void *a, const void *b)
{
    return tg_slice_cmp(*(const struct tg_slice *)a, *(const struct tg_slice *)b);
}

static void add_id(struct set_ids *ids, struct tg_slice id)
{
    if (ids->count == ids->cap) {
        ids->cap = ids->cap ? 2 * ids->cap : 16;
        ids->items = tg_realloc(ids->items, ids->cap * sizeof(*ids->items));
    }
    ids->items[ids->count++] = id;
}

static void sort_ids(struct set_ids *ids)
{
    size_t n = 0;

    if (ids->count == 0)
        return;
    qsort(ids->items, ids->count, sizeof(*ids->items), compare_ids);
    for (size_t i = 0; i < ids->count; i++)
        if (n == 0 || !tg_slice_eq(ids->items[n - 1], ids->items[i]))
            ids->items[n++] = ids->items[i];
    ids->count = n;
}

/* Without those that are `inactive`. */
static enum tg_status read_ids(const struct set_element *e, const char *name, const struct tg_map *inactive,
                               struct set_ids *out, struct tg_err *err)
{
    const cJSON *list = set_member(e->node, name), *node;
    struct tg_slice id;

    if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
        return tg_fail(err, TG_BAD_INPUT, "%s: %s must be a list of ids", e->shown, name);
    cJSON_ArrayForEach(node, list) {
        if (!tg_json_str(node, &id) || id.len == 0)
            return tg_fail(err, TG_BAD_INPUT, "%s: %s must be a list of ids", e->shown, name);
        if (!tg_map_get(inactive, id))
            add_id(out, id);
    }
    return TG_OK;
}

/* [{id, name}], as the API tells what the ids are; the ids themselves where it tells only this. */
static bool is_list_of_entities(const cJSON *list)
{
    const cJSON *node;

    cJSON_ArrayForEach(node, list)
        if (!cJSON_IsObject(node))
            return false;
    return cJSON_IsArray(list) && list->child;
}

static enum tg_status read_entities(const struct set_element *e, const char *name, const char *ids_name,
                                    const struct tg_map *inactive, struct set_ids *out, struct tg_err *err)
{
    const cJSON *list = set_member(e->node, name), *node;
    struct tg_slice id;

    if (cJSON_IsArray(set_member(e->node, ids_name)))
        return TG_OK;
    cJSON_ArrayForEach(node, list) {
        if (!tg_json_str(tg_json_get(node, "id"), &id) || id.len == 0)
            return tg_fail(err, TG_BAD_INPUT, "%s: %s holds an element without id", e->shown, name);
        if (!tg_map_get(inactive, id))
            add_id(out, id);
    }
    return TG_OK;
}

static enum tg_status read_references(const struct set_element *e, const char *ids_name, const char *entities_name,
                                      const struct tg_map *inactive, struct set_ids *out, struct tg_err *err)
{
    const cJSON *entities = set_member(e->node, entities_name);
    enum tg_status st = read_ids(e, ids_name, inactive, out, err);

    if (st == TG_OK && is_list_of_entities(entities))
        st = read_entities(e, entities_name, ids_name, inactive, out, err);
    return st;
}

/* What says no namespace is the root's: such a policy is every route's, such a route has only those. */
static void add_enforced(const struct set_element *e, const struct set_enforced *enforced, struct set_ids *out)
{
    for (size_t i = 0; i < enforced->count; i++) {
        const struct set_element *policy = enforced->items[i];

        if (policy->namespace_id.len == 0 || tg_slice_eq(policy->namespace_id, e->namespace_id))
            add_id(out, policy->key);
    }
    sort_ids(out);
}

enum tg_status set_route_write(const struct set_element *e, const struct set_enforced *enforced,
                               const struct tg_map *inactive, struct tg_buf *out, struct tg_err *err)
{
    const cJSON *names = set_member(e->node, "policies"), *more = set_member(e->node, "enforcedPolicies");
    struct set_ids chosen = {0}, forced = {0};
    struct writing w = {0};
    enum tg_status st = collect(&w, e, of_routes, ARRAY_LEN(of_routes), err);

    if (st == TG_OK)
        st = read_references(e, "policyIds", "policies", inactive, &chosen, err);
    if (st == TG_OK)
        st = read_references(e, "enforcedPolicyIds", "enforcedPolicies", inactive, &forced, err);
    if (st == TG_OK) {
        sort_ids(&chosen);
        add_enforced(e, enforced, &forced);
        if (chosen.count > 0)
            put(&w, "policyIds", NULL, &chosen);
        if (forced.count > 0)
            put(&w, "enforcedPolicyIds", NULL, &forced);
        if (!set_says_nothing(names) && !is_list_of_entities(names))
            put(&w, "policies", names, NULL);
        if (!set_says_nothing(more) && !is_list_of_entities(more))
            put(&w, "enforcedPolicies", more, NULL);
        st = finish(&w, e, out, err);
    }
    free(w.members);
    free(chosen.items);
    free(forced.items);
    return st;
}
