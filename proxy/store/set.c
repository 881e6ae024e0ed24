/*
 * set - policies and routes of a control plane as one counted document: made from lists or from text, and read.
 *
 * The lists are put in order, written as the canonical text, and that text is read again, strictly: so a set made from
 * lists and one made from its own text cannot differ, and places in messages are places in that text.
 */
#include "base/digest.h"
#include "set_internal.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { MAX_NODES = 2000000, MAX_DEPTH = 64 };

struct tg_set {
    atomic_uint refs;
    struct tg_buf text;
    char digest[65];
    struct tg_tree *tree;
    size_t policies, routes;
};

static const struct tg_json_limits limits = {.bytes = TG_SET_BYTES, .depth = MAX_DEPTH, .nodes = MAX_NODES};

struct list {
    struct set_element *items;
    size_t count;
};

struct making {
    struct list policies, routes;
    struct tg_map *inactive;                             /* keys of policies */
    struct set_enforced enforced;
    struct tg_buf text;
};

static void making_fini(struct making *m)
{
    free(m->policies.items);
    free(m->routes.items);
    free(m->enforced.items);
    tg_map_free(m->inactive);
    tg_buf_wipe(&m->text);
}

static enum tg_status read_list(struct list *out, const char *what, const char *section, const cJSON *list,
                                struct tg_err *err)
{
    const cJSON *node;

    if (list && !cJSON_IsArray(list))
        return tg_fail(err, TG_BAD_INPUT, "%s must be a list", section);
    out->items = TG_NEW_ARRAY(struct set_element, cJSON_GetArraySize(list) + 1);
    cJSON_ArrayForEach(node, list) {
        enum tg_status st = set_element_read(&out->items[out->count], what, out->count, node, err);

        if (st != TG_OK)
            return st;
        out->count++;
    }
    return TG_OK;
}

/* Those that are not active leave the list, but stay known. */
static enum tg_status read_policies(struct making *m, const cJSON *list, struct tg_err *err)
{
    enum tg_status st = read_list(&m->policies, "policy", "policies", list, err);
    size_t n = 0;

    m->inactive = tg_map_new(NULL);
    for (size_t i = 0; st == TG_OK && i < m->policies.count; i++) {
        const struct set_element *e = &m->policies.items[i];

        if (e->key.len == 0)
            return tg_fail(err, TG_BAD_INPUT, "%s needs an id or a name", e->shown);
        if (e->inactive)
            tg_map_put(m->inactive, e->key, m);
        else
            m->policies.items[n++] = *e;
    }
    if (st == TG_OK)
        m->policies.count = n;
    return st;
}

static enum tg_status order_policies(struct making *m, struct tg_err *err)
{
    struct list *l = &m->policies;

    qsort(l->items, l->count, sizeof(*l->items), set_compare_policies);
    m->enforced.items = TG_NEW_ARRAY(const struct set_element *, l->count + 1);
    for (size_t i = 0; i < l->count; i++) {
        if ((i > 0 && tg_slice_eq(l->items[i - 1].key, l->items[i].key)) || tg_map_get(m->inactive, l->items[i].key))
            return tg_fail(err, TG_BAD_INPUT, "%s: there are two policies with this id", l->items[i].shown);
        if (l->items[i].enforced)
            m->enforced.items[m->enforced.count++] = &l->items[i];
    }
    return TG_OK;
}

static enum tg_status order_routes(struct making *m, struct tg_err *err)
{
    struct list *l = &m->routes;
    struct tg_map *ids = tg_map_new(NULL);
    enum tg_status st = TG_OK;

    for (size_t i = 0; st == TG_OK && i < l->count; i++) {
        st = set_place_read(&l->items[i], err);
        if (st == TG_OK && l->items[i].key.len > 0 && !tg_map_put(ids, l->items[i].key, l))
            st = tg_fail(err, TG_BAD_INPUT, "%s: there are two routes with this id", l->items[i].shown);
    }
    tg_map_free(ids);
    if (st != TG_OK)
        return st;
    qsort(l->items, l->count, sizeof(*l->items), set_compare_routes);
    for (size_t i = 1; i < l->count; i++)
        if (set_same_place(&l->items[i - 1], &l->items[i]))
            return tg_fail(err, TG_BAD_INPUT, "%s and %s have the same from, path and prefix", l->items[i - 1].shown,
                           l->items[i].shown);
    return TG_OK;
}

static enum tg_status write_list(struct making *m, const char *head, const struct list *list, bool routes,
                                 struct tg_err *err)
{
    tg_buf_adds(&m->text, head);
    for (size_t i = 0; i < list->count; i++) {
        const struct set_element *e = &list->items[i];
        enum tg_status st;

        tg_buf_adds(&m->text, i == 0 ? "\n" : ",\n");
        st = routes ? set_route_write(e, &m->enforced, m->inactive, &m->text, err)
                    : set_policy_write(e, &m->text, err);
        if (st != TG_OK)
            return st;
        if (m->text.len > TG_SET_BYTES)
            return tg_fail(err, TG_LIMIT, "policies and routes take more than %zu MiB", TG_SET_BYTES >> 20);
    }
    tg_buf_adds(&m->text, "\n]");
    return TG_OK;
}

static enum tg_status write_text(struct making *m, const cJSON *policies, const cJSON *routes, struct tg_err *err)
{
    enum tg_status st = read_policies(m, policies, err);

    if (st == TG_OK)
        st = read_list(&m->routes, "route", "routes", routes, err);
    if (st == TG_OK)
        st = order_policies(m, err);
    if (st == TG_OK)
        st = order_routes(m, err);
    if (st == TG_OK)
        st = write_list(m, "{\"policies\":[", &m->policies, false, err);
    if (st == TG_OK)
        st = write_list(m, ",\"routes\":[", &m->routes, true, err);
    tg_buf_adds(&m->text, "}\n");
    return st;
}

enum tg_status tg_set_make(const char *name, const cJSON *policies, const cJSON *routes, struct tg_set **out,
                           struct tg_err *err)
{
    struct making m = {0};
    struct tg_set *set;
    uint8_t digest[TG_SHA256_LEN];
    struct tg_err why = {0};
    struct tg_tree *tree = NULL;
    enum tg_status st = write_text(&m, policies, routes, &why);

    if (st != TG_OK)
        st = tg_fail(err, st, "%s: %s", name, why.text);
    else
        st = tg_tree_parse_json(name, tg_buf_slice(&m.text), &limits, &tree, err);
    if (st != TG_OK) {
        making_fini(&m);
        return st;
    }
    set = TG_NEW(struct tg_set);
    atomic_init(&set->refs, 1);
    set->tree = tree;
    set->policies = m.policies.count;
    set->routes = m.routes.count;
    set->text = m.text;
    m.text = (struct tg_buf){0};
    tg_sha256(tg_buf_slice(&set->text), digest);
    tg_hex(digest, sizeof(digest), set->digest);
    making_fini(&m);
    *out = set;
    return TG_OK;
}

static enum tg_status check_top(const cJSON *root, struct tg_err *err)
{
    const cJSON *member;

    if (!cJSON_IsArray(tg_json_get(root, "policies")) || !cJSON_IsArray(tg_json_get(root, "routes")))
        return tg_fail(err, TG_BAD_INPUT, "must be an object with the lists policies and routes");
    cJSON_ArrayForEach(member, root)
        if (strcmp(member->string, "policies") != 0 && strcmp(member->string, "routes") != 0)
            return tg_fail(err, TG_BAD_INPUT, "holds more than policies and routes");
    return TG_OK;
}

enum tg_status tg_set_parse(const char *name, struct tg_slice text, struct tg_set **out, struct tg_err *err)
{
    cJSON *root = NULL;
    struct tg_err why = {0};
    enum tg_status st = tg_json_parse(text, &limits, &root, &why);

    if (st != TG_OK)
        return tg_fail(err, st, "%s:%s", name, why.text);
    st = check_top(root, &why);
    if (st != TG_OK)
        tg_fail(err, st, "%s: %s", name, why.text);
    else
        st = tg_set_make(name, tg_json_get(root, "policies"), tg_json_get(root, "routes"), out, err);
    cJSON_Delete(root);
    return st;
}

struct tg_set *tg_set_ref(struct tg_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void tg_set_unref(struct tg_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
        return;
    tg_tree_free(set->tree);
    tg_buf_wipe(&set->text);
    free(set);
}

struct tg_slice tg_set_text(const struct tg_set *set) { return tg_buf_slice(&set->text); }

const char *tg_set_digest(const struct tg_set *set) { return set->digest; }

size_t tg_set_policies(const struct tg_set *set) { return set->policies; }

size_t tg_set_routes(const struct tg_set *set) { return set->routes; }

const struct tg_tree *tg_set_tree(const struct tg_set *set) { return set->tree; }
