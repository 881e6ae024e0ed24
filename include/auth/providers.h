/*
 * providers - who may sign tokens: the `identity_providers` section, and the keys of each provider.
 *
 * Reading the section parses local keys (jwks_file, jwks, public_key_file, secret_file). Remote keys (jwks_url,
 * discovery) belong to a key source, which lives in tg_keys (process-wide, control thread), outlives reloads that leave
 * the provider unchanged, and publishes counted immutable sets; workers notice a new one by an atomic generation.
 */
#pragma once
#include "base/setting.h"
#include "jose/jwt.h"

struct tg_key_source;                                    /* auth/keys.h */
struct tg_introspection;                                 /* auth/introspect.h */
struct tg_introspection_settings;

struct tg_provider {
    struct tg_slice name, issuer;
    bool pats;                                           /* no identity provider: tollgate's own tokens (auth/pat.h) */
    struct tg_jwt_rules rules;
    tg_algs algs;
    struct tg_slice groups_claim;
    struct tg_slice jwks_url, ca_file, token_file, proxy;
    bool discovery, allow_http;
    int64_t max_stale_ms, timeout_ms;
    struct tg_jwks *local;                               /* keys given here; NULL: remote */
    struct tg_key_source *source;                        /* remote; set by tg_keys_bind; NULL: local */
    void (*release)(struct tg_key_source *source);       /* gives the reference back; set with it */
    const struct tg_strings *required_scopes;            /* of every token of this provider; never NULL */
    const struct tg_introspection_settings *introspection; /* NULL: none */
    struct tg_introspection *asked;                      /* set by tg_introspector_bind */
    void (*release_asked)(struct tg_introspection *i);
};
#define TG_PROVIDERS_MAX 64                              /* a route names its providers by bits; one is for PATs */
struct tg_providers {
    struct tg_provider *items;
    size_t count;
};

extern const struct tg_setting tg_provider_settings[];   /* one provider's table, for help and schema */
extern const size_t tg_provider_setting_count;

/*
 * Reads `identity_providers` (a mapping of name to provider; NULL: none). Local key files are read here. False when it
 * added an error; `out` then holds what could be read (every name at least) and is to be finished all the same.
 */
bool tg_providers_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena, struct tg_providers *out,
                       struct tg_problems *problems);
/* Adds the provider of personal access tokens behind the others. */
void tg_providers_add_pats(struct tg_providers *p, struct tg_arena *arena);
/* Which of `allowed` (bits) introspect opaque tokens: how many, and *first of them. */
size_t tg_providers_of_opaque(const struct tg_providers *p, uint64_t allowed, const struct tg_provider **first);
void tg_providers_fini(struct tg_providers *p);          /* drops references to keys */
int tg_providers_find(const struct tg_providers *p, struct tg_slice name); /* index or -1 */
/* The one whose tokens name this issuer; NULL: none. */
const struct tg_provider *tg_providers_of_issuer(const struct tg_providers *p, struct tg_slice issuer);
