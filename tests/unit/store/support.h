/*
 * support - a configuration as text, read into routes.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/json.h"
#include "store/route.h"

struct reading {
    struct tg_tree *tree;
    struct tg_arena arena;
    struct tg_problems problems;
    struct tg_routes *routes;
    bool ok;
};

static inline void read_defaults(struct reading *r, const char *file, const char *yaml,
                                 const struct tg_route_defaults *d)
{
    struct tg_err err;

    memset(r, 0, sizeof(*r));
    tg_arena_init(&r->arena, NULL, 0);
    if (tg_tree_parse(file, tg_slice_str(yaml), &r->tree, &err) != TG_OK)
        fail_msg("%s: %s", yaml, err.text);
    r->ok = tg_routes_read(r->tree, r->tree->root, d, NULL, &r->arena, &r->routes, &r->problems);
}

static inline void read_text(struct reading *r, const char *yaml)
{
    static const struct tg_route_defaults none = {0};

    read_defaults(r, "t.yaml", yaml, &none);
}

static inline void done(struct reading *r)
{
    tg_problems_fini(&r->problems);
    tg_routes_fini(r->routes);
    tg_arena_fini(&r->arena);
    tg_tree_free(r->tree);
}

static inline bool is_told(const struct reading *r, bool warning, const char *part)
{
    for (size_t i = 0; i < r->problems.count; i++)
        if (r->problems.items[i].warning == warning && strstr(r->problems.items[i].text, part))
            return true;
    return false;
}

static inline const char *first_told(const struct reading *r)
{
    return r->problems.count ? r->problems.items[0].text : "nothing";
}

static inline enum tg_decision decide(const struct tg_route *route, const char *method, const char *user)
{
    struct tg_facts facts = {.method = tg_slice_str(method), .path = TG_S("/"), .identity = user != NULL,
                             .user = tg_slice_str(user)};
    struct tg_verdict verdict;

    tg_ppl_decide(route->policy, &facts, &verdict);
    return verdict.decision;
}
