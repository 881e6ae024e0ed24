/*
 * set_order - the order of the elements of a set: policies by their ids, routes so that the nearer one is found first.
 *
 * Whoever writes to a control plane gives no order, so it must follow from the routes themselves, as in Pomerium: exact
 * hosts before wildcards, the longer wildcard first, any host last; of one host those that name a port before those
 * that do not; then path descending, which puts exact paths before prefixes and longer ones before shorter ones, then
 * prefix descending. What is left (http and https of one host, the ids) only makes the order the same each time.
 */
#include "set_internal.h"

enum { PLACE_EXACT, PLACE_WILDCARD, PLACE_ANY };

static int compare_nocase(struct tg_slice a, struct tg_slice b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        int x = (unsigned char)a.ptr[i], y = (unsigned char)b.ptr[i];

        x = x >= 'A' && x <= 'Z' ? x + 32 : x;
        y = y >= 'A' && y <= 'Z' ? y + 32 : y;
        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* What is no URL is refused later, by whoever compiles it. */
static void split_from(struct set_place *place)
{
    struct tg_slice rest = place->from, scheme, more;
    size_t end = 0;

    if (tg_slice_cut(rest, ':', &scheme, &more) && tg_slice_starts_with(more, TG_S("//")))
        rest = tg_slice(more.ptr + 2, more.len - 2);
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    place->host = tg_slice(rest.ptr, end);
    for (size_t i = end; i > 0 && rest.ptr[i - 1] != ']'; i--) {
        if (rest.ptr[i - 1] != ':')
            continue;
        place->host.len = i - 1;
        place->port = tg_slice(rest.ptr + i, end - i);
        break;
    }
    if (place->from.len == 0)
        place->kind = PLACE_ANY;
    else
        place->kind = tg_slice_starts_with(place->host, TG_S("*.")) ? PLACE_WILDCARD : PLACE_EXACT;
}

enum tg_status set_place_read(struct set_element *route, struct tg_err *err)
{
    static const char *const names[] = {"from", "path", "prefix"};
    struct tg_slice *out[] = {&route->place.from, &route->place.path, &route->place.prefix};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const cJSON *node = set_member(route->node, names[i]);

        if (node && !cJSON_IsNull(node) && !tg_json_str(node, out[i]))
            return tg_fail(err, TG_BAD_INPUT, "%s: %s must be text", route->shown, names[i]);
    }
    split_from(&route->place);
    return TG_OK;
}

int set_compare_policies(const void *a, const void *b)
{
    return tg_slice_cmp(((const struct set_element *)a)->key, ((const struct set_element *)b)->key);
}

static int compare_hosts(const struct set_place *a, const struct set_place *b)
{
    int c;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == PLACE_WILDCARD && a->host.len != b->host.len)
        return a->host.len > b->host.len ? -1 : 1;
    if ((c = compare_nocase(a->host, b->host)) != 0)
        return c;
    if ((a->port.len > 0) != (b->port.len > 0))
        return a->port.len > 0 ? -1 : 1;
    return tg_slice_cmp(a->port, b->port);
}

int set_compare_routes(const void *a, const void *b)
{
    const struct set_element *x = a, *y = b;
    int c = compare_hosts(&x->place, &y->place);

    if (c == 0)
        c = tg_slice_cmp(y->place.path, x->place.path);
    if (c == 0)
        c = tg_slice_cmp(y->place.prefix, x->place.prefix);
    if (c == 0)
        c = tg_slice_cmp(x->place.from, y->place.from);
    return c != 0 ? c : tg_slice_cmp(x->key, y->key);
}

bool set_same_place(const struct set_element *a, const struct set_element *b)
{
    return tg_slice_eq(a->place.from, b->place.from) && tg_slice_eq(a->place.path, b->place.path) &&
           tg_slice_eq(a->place.prefix, b->place.prefix);
}
