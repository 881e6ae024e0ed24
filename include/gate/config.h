/*
 * config - everything one configuration says about requests, in one immutable, counted value.
 *
 * Made by boot from the file, swapped whole by a reload: every worker binds it to its own pools (gate/runtime) and
 * holds a reference; so does every exchange that began under it. Threads: read-only after it was made.
 */
#pragma once
#include "auth/credential.h"
#include "auth/dpop.h"
#include "auth/providers.h"
#include "io/tls.h"
#include "limit/tiers.h"
#include "store/route.h"
#include <stdatomic.h>

struct tg_timeouts {                                     /* milliseconds; 0: none */
    int64_t head_ms, body_ms, idle_ms, connect_ms, first_byte_ms, upstream_idle_ms, total_ms;
};
struct tg_bounds {                                       /* 0: none */
    uint64_t head, uri, token, fields, body, connections, connections_per_address;
    uint64_t mcp_body;                                   /* content that is kept whole for mcp_tool; never none */
};

struct tg_config {
    atomic_uint refs;                                    /* first: tg_config_over copies what follows */
    struct tg_config *base;                              /* a reference: the file's own, under a set; NULL: it is */
    struct tg_set *set;                                  /* a reference; NULL: none */
    bool has_source;                                     /* of sets: without one yet, routes may be missing */
    struct tg_arena arena;                               /* all that follows points into it */
    struct tg_tree *tree;                                /* the document; routes and policies keep nodes of it */
    struct tg_providers providers;
    struct tg_routes *routes;
    struct tg_tiers tiers;                               /* the general ones */
    bool tiers_bad;                                      /* they could not be read; while errors are collected */
    const struct tg_tiers **route_tiers;                 /* by route index; NULL: no route has its own, else that one */
    struct tg_limit_settings limits;
    struct tg_timeouts timeouts;
    struct tg_bounds bounds;
    struct tg_route_defaults route_defaults;
    struct tg_slice realm;
    bool log_facts;                                      /* access_log.facts: lines hold what decisions used */
    struct tg_strings log_claims;                        /* access_log.claims */
    char policy_set[17];                                 /* routes, policies and tiers: the first 16 hex of a digest */
    const struct tg_cidr *trusted_proxies;
    size_t trusted_count;
    struct tg_tls_server *tls;                           /* a reference; NULL: the listeners speak plain HTTP */
    struct tg_dpop_settings dpop;
    bool pats;                                           /* personal_access_tokens.enabled */
    struct tg_slice revoked_tokens_file;                 /* empty: none */
    struct tg_slice signing_pem;                         /* signing_key(_file); empty: none */
    bool signs;                                          /* some route passes an assertion on */
    struct tg_credential_settings *upstream_auth;        /* by route index; NULL: no route has one ... */
    bool *has_upstream_auth;                             /* ... and which do */
    struct tg_credential_source **credentials;           /* by route index, references; set when the services bind */
};

struct tg_config *tg_config_new(void);                   /* one reference */
struct tg_config *tg_config_ref(struct tg_config *c);
/* A copy of `base` (a reference is kept) without what depends on routes: the caller makes that. One reference. */
struct tg_config *tg_config_over(struct tg_config *base);
struct tg_config *tg_config_base(struct tg_config *c);   /* the file's own: itself, or the one it was made over */
/* What counts on this route; NULL: no route, the general ones. */
const struct tg_tiers *tg_config_tiers(const struct tg_config *c, const struct tg_route *route);
void tg_config_unref(struct tg_config *c);               /* NULL is fine; any thread */
