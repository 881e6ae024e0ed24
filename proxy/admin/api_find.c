/*
 * api_find - the table of all endpoints, and which of them a path and a method mean.
 */
#include "dispatch.h"

static const struct api_group *const groups[] = {
    &api_v0_organizations, &api_v0_policies, &api_v0_routes,    &api_v0_users,  &api_v1_policies,
    &api_v1_tokens,        &api_v1_webhooks, &api_v1_audit, &api_v1_health,
};

/* How many {names} the pattern has when it is that of `path`, which then are in `params`; else -1. */
static int match(const char *pattern, struct tg_slice path, struct tg_slice params[API_PARAMS])
{
    struct tg_slice want = tg_slice_str(pattern), a, b;
    int named = 0;
    bool more_wanted = true, more = true;

    while (more_wanted && more) {
        more_wanted = tg_slice_cut(want, '/', &a, &want);
        more = tg_slice_cut(path, '/', &b, &path);
        if (a.len && a.ptr[0] == '{') {
            if (!b.len || named == API_PARAMS)
                return -1;
            params[named++] = b;
        } else if (!tg_slice_eq(a, b)) {
            return -1;
        }
    }
    return more_wanted == more ? named : -1;
}

static bool is_asked(const struct api_endpoint *e, unsigned method)
{
    return e->method_id == method || (e->method_id == TG_METHOD_GET && method == TG_METHOD_HEAD);
}

void api_find(struct tg_slice path, unsigned method, struct api_found *out)
{
    int fewest = API_PARAMS + 1;

    *out = (struct api_found){0};
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        for (size_t i = 0; i < groups[g]->count; i++) {
            const struct api_endpoint *e = &groups[g]->items[i];
            struct tg_slice params[API_PARAMS] = {0};
            int named = match(e->path, path, params);

            if (named < 0 || named > fewest)
                continue;
            if (named < fewest)
                *out = (struct api_found){0};
            fewest = named;
            out->methods |= 1u << e->method_id;
            if (is_asked(e, method)) {
                out->endpoint = e;
                memcpy(out->params, params, sizeof(params));
            }
        }
    }
    if (out->methods & 1u << TG_METHOD_GET)
        out->methods |= 1u << TG_METHOD_HEAD;
}

struct tg_slice api_allow(unsigned methods, struct tg_arena *arena)
{
    struct tg_slice out = {0};

    for (unsigned m = TG_METHOD_GET; m < TG_METHOD_COUNT; m++) {
        if (!(methods & 1u << m))
            continue;
        out = out.len ? tg_arena_printf(arena, TG_S_FMT ", %s", TG_S_ARG(out), tg_method_name(m))
                      : tg_slice_str(tg_method_name(m));
    }
    return out;
}
