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

/* ---- certificates ---- */
#define FINGERPRINT "fd1e6361bc8224582d51dc25b07c18951c00b9b87ebc3daedc88d22dbc8e8a0d"
#define FINGERPRINT_LONG \
    "FD:1E:63:61:BC:82:24:58:2D:51:DC:25:B0:7C:18:95:1C:00:B9:B8:7E:BC:3D:AE:DC:88:D2:2D:BC:8E:8A:0D"
#define OTHER_FINGERPRINT "ac6c9f1b980d33c400dc1c3f21a128cfcc21e03c627be65ec260333c05b24516"
#define SPKI "h7shtelye6fVp99/9FkLrI3cWWG1FQr06DeaQ1tEqvY="
#define OTHER_SPKI "As6pEJay3yJsHU8YHGd0qRhs1UOykM6ZTMwb+S6WYZA="

/* Two DNS names, one address, one URI. */
static inline const struct tg_cert *orders_certificate(void)
{
    static struct tg_slice dns[] = {TG_S_INIT("orders.example.com"), TG_S_INIT("*.orders.example.com")};
    static struct tg_slice emails[] = {TG_S_INIT("orders@example.com")};
    static struct tg_slice uris[] = {TG_S_INIT("spiffe://example.com/ns/shop/sa/orders")};
    static const struct tg_cert cert = {
        .fingerprint = FINGERPRINT,
        .spki_hash = SPKI,
        .subject = TG_S_INIT("CN=orders"),
        .dns = {dns, ARRAY_LEN(dns)},
        .emails = {emails, ARRAY_LEN(emails)},
        .uris = {uris, ARRAY_LEN(uris)},
    };

    return &cert;
}

/* No names at all. */
static inline const struct tg_cert *bare_certificate(void)
{
    static const struct tg_cert cert = {.fingerprint = OTHER_FINGERPRINT, .spki_hash = OTHER_SPKI};

    return &cert;
}

/* What a request is made of; what is left out is GET / from 192.0.2.10 without a token. */
struct request {
    const char *claims;                                  /* JSON; NULL: no token */
    const char *method, *path, *ip;
    const char *groups_claim;
    bool preflight;
    enum tg_client_cert cert;
    const struct tg_cert *(*shows)(void);                /* its certificate; NULL: none */
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
                               .client_cert = r->cert,
                               .certificate = r->shows ? r->shows() : NULL};
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
