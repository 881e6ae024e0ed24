/* support - loading policies and making facts, for the tests of this folder. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "policy/ppl.h"
#include <stdio.h>
#include <stdlib.h>

/* A program in the making with all it owns. */
struct loaded {
    struct tg_arena arena;
    struct tg_ppl_builder *builder;
    struct tg_problems problems;
    const struct tg_program *program;
};

static inline void loaded_init(struct loaded *l)
{
    *l = (struct loaded){0};
    tg_arena_init(&l->arena, NULL, 0);
    l->builder = tg_ppl_builder_new(&l->arena);
}

static inline void loaded_fini(struct loaded *l)
{
    tg_problems_fini(&l->problems);
    tg_arena_fini(&l->arena);
}

/* Adds one document; the tree is gone afterwards, as nothing may need it. */
static inline bool loaded_add(struct loaded *l, const char *text)
{
    struct tg_tree *tree = NULL;
    struct tg_err err = {0};
    bool ok;

    if (tg_tree_parse("policy.yaml", tg_slice_str(text), &tree, &err) != TG_OK) {
        tg_problem_add(&l->problems, false, "%s", tg_err_text(&err));
        return false;
    }
    ok = tg_ppl_add(l->builder, tree, tree->root, NULL, &l->problems);
    tg_tree_free(tree);
    return ok;
}

/* What a request is made of; what is left out is GET / from 192.0.2.10 without a token. */
struct request {
    const char *claims;                                  /* JSON; NULL: no token */
    const char *method, *path, *ip;
    const char *groups_claim;
    bool preflight;
    enum tg_client_cert cert;
};

/* `facts->claims` is the caller's: tg_claims_free. */
static inline struct tg_claims *facts_of(const struct request *r, struct tg_facts *facts)
{
    struct tg_claims *claims = NULL;
    cJSON *object = NULL;

    *facts = (struct tg_facts){.method = tg_slice_str(r->method ? r->method : "GET"),
                               .path = tg_slice_str(r->path ? r->path : "/"),
                               .groups_claim = tg_slice_str(r->groups_claim),
                               .cors_preflight = r->preflight,
                               .client_cert = r->cert};
    if (!r->ip || *r->ip)
        assert_true(tg_ip_parse(tg_slice_str(r->ip ? r->ip : "192.0.2.10"), &facts->source_ip));
    if (r->claims) {
        assert_int_equal(tg_json_parse(tg_slice_str(r->claims), NULL, &object, NULL), TG_OK);
        claims = tg_claims_new(object);
        facts->identity = true;
        facts->claims = claims;
        facts->user = tg_claims_text(claims, "sub");
        facts->email = tg_claims_text(claims, "email");
    }
    return claims;
}

/* The names of a set, joined by blanks. */
static inline const char *reasons_text(tg_reasons set, char *out, size_t size)
{
    const char *names[TG_REASON_COUNT];
    size_t count = tg_reasons_list(set, names), len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? " " : "", names[i]);
    return out;
}
