/*
 * route - the `routes`, `policies`, `policies_dir` and `upstream` sections, and finding the route of a request.
 *
 * Setting names are Pomerium's. Everything is compiled when read: programs, forwarding rules, the match table, trust
 * and certificate for TLS to the services. Immutable; memory from the arena of the snapshot, but for what
 * tg_routes_fini gives back. Threads: any.
 */
#pragma once
#include "base/setting.h"
#include "http/forward.h"
#include "http/uri.h"
#include "io/tls.h"
#include "policy/ppl.h"
#include "store/set.h"

enum tg_error_format { TG_FORMAT_ZERO, TG_FORMAT_PROBLEM, TG_FORMAT_OAUTH, TG_FORMAT_POMERIUM, TG_FORMAT_ZEROPS,
                       TG_FORMAT_ZITADEL };
#define TG_ERROR_FORMAT_CHOICES "zero|problem|oauth|pomerium|zerops|zitadel"

struct tg_target {                                       /* one element of `to` */
    struct tg_url url;                                   /* path: put before the forwarded path; no slash at its end */
    struct tg_slice text;                                /* as written, for messages */
    struct tg_slice authority;                           /* Host to send unless preserve_host_header */
    struct tg_slice tls_name;                            /* https: whom the certificate must be for */
    uint32_t weight;                                     /* 1 unless said: "http://a:80,3" as Pomerium writes it */
    bool echo;                                           /* `echo:`: the built-in echo, for trying out */
};

#define TG_ROUTE_NO_TIMEOUT_MS (365 * INT64_C(86400000)) /* `timeout: none` or 0s: needs no special case */

struct tg_policy_text {                                  /* of the policy that tg_verdict.policy counts */
    struct tg_slice name, explanation, remediation;
};

struct tg_route {
    unsigned index;                                      /* position in the configuration */
    struct tg_slice name;                                /* given, or "route-<index>"; a metric label */
    /* match */
    struct tg_slice from_host;                           /* lower case, no port; empty: any; ".a.b" for `*.a.b` */
    int from_port;                                       /* -1: any */
    struct tg_slice from_scheme;                         /* "https" or "http"; empty: no `from`; it is not matched */
    struct tg_slice prefix, path;                        /* literal, against the canonical path; ptr NULL: not given; at
                                                            most one of them, with prefix_rewrite at least one */
    /* where to */
    struct tg_target *targets;
    size_t target_count;
    struct tg_tls_client *tls;                           /* for its https targets; a reference; NULL: it has none */
    bool tls_skip_verify;                                /* of them: whoever answers is believed */
    struct tg_slice prefix_rewrite;                      /* replaces the matched prefix or path; ptr NULL: none */
    bool preserve_host_header, allow_websockets;
    struct tg_forward_rules *forward;
    struct tg_slice host_rewrite;                        /* ptr NULL: none */
    int64_t timeout_ms, idle_timeout_ms;                 /* 0: the general ones; TG_ROUTE_NO_TIMEOUT_MS: none */
    uint64_t max_request_bytes;                          /* 0: the general limit; UINT64_MAX: said to be none */
    /* who */
    const struct tg_slice *provider_names;               /* identity_providers; count 0: any */
    size_t provider_count;
    uint64_t providers;                                  /* bit i: provider i may be used; set by whoever knows them */
    const struct tg_program *policy;                     /* what is applied */
    const struct tg_policy_text *policy_texts;           /* all empty for the inline policy */
    size_t policy_count;
    /*
     * What would be applied if nothing were in shadow mode; NULL: nothing is. Of a route in shadow mode `policy` admits
     * everybody but whom an enforced policy denies, and a client without the certificate that is asked for.
     */
    const struct tg_program *shadow;
    const struct tg_policy_text *shadow_texts;
    size_t shadow_count;
    bool shadow_mode;                                    /* the route itself; else some policies of it */
    struct tg_slice debug_trace;                         /* the secret that asks for a trace; empty: nobody may */
    const struct tg_fact_set *reads;                     /* its policies and the tiers, and what the log is told to
                                                            hold; set by whoever knows them */
    struct tg_strings required_scopes;                   /* each must be granted, else 403 insufficient_scope */
    bool accept_opaque;                                  /* opaque tokens of a provider that introspects */
    int possession;                                      /* enum tg_possession: proof_of_possession */
    const cJSON *rate_limits;                            /* read by limit/tiers; NULL: the general ones */
    const cJSON *upstream_auth;                          /* read by auth/credential; NULL: none */
    const struct tg_resource *resource;                  /* resource_metadata (RFC 9728); NULL: none is published */
    bool pass_user_headers;                              /* X-Forwarded-User, -Email, -Groups, -Preferred-Username */
    bool issuer_is_uri;                                  /* jwt_issuer_format: uri */
    struct tg_strings groups_filter;                     /* jwt_groups_filter, the general one's too */
    bool public_access, any_authenticated, show_error_details, pass_identity_headers, strip_authorization;
    int error_format;                                    /* enum tg_error_format, the general one when not said */
    bool from_set;                                       /* a control plane's */
    bool may_be_stale;                                   /* so is one of its policies, at least */
    bool unresolved;                                     /* names a policy that is not there: nobody is let in (503) */
    const cJSON *node;                                   /* as written, for messages */
    const struct tg_tree *tree;                          /* of the node: the file's or the set's; not kept by it */
};

struct tg_resource {                                     /* RFC 9728 §2, what is said beside `resource` itself */
    struct tg_slice url;                                 /* empty: scheme and host of `from`, and the route's prefix */
    struct tg_slice path;                                /* of it, without a slash at its end; "": the whole host */
    struct tg_strings scopes, authorization_servers;     /* servers: absent: the route's providers */
    struct tg_slice name, documentation;
};

struct tg_route_defaults {                               /* general settings that a route may override */
    bool pass_identity_headers, strip_authorization, pass_user_headers;
    struct tg_strings groups_filter;                     /* jwt_groups_filter; a route adds to it */
    bool client_ca;                                      /* clients are asked for a certificate: downstream_mtls */
    bool deny_invalid_certificate;                       /* every route denies who has shown no valid one */
    int error_format;
    struct tg_string_map claims_headers;                 /* jwt_claims_headers: header name to claim */
};

/*
 * What comes from a control plane, beside the file. Its routes follow those of the file, in the order of the set; what
 * the file enforces holds for them too, what the set enforces for its own routes alone. A route of the file may name a
 * policy of the set, by id or by a name that no policy of the file and one of the set has; a route of the set may name
 * one of the file likewise. A reference to a policy that is in neither makes its route `unresolved`: it denies.
 * The set outlives the routes.
 */
struct tg_set_use {
    const struct tg_set *set;                            /* NULL: none yet */
    const struct tg_set_rules *rules;
};

struct tg_routes;
/*
 * Reads `routes` or the short form `upstream` (never both), `policies`, `policies_dir`. Every error is collected.
 * `root`: the whole configuration; NULL, with `tree` NULL: there is no file, only a set. `use`: NULL: nothing comes
 * from elsewhere, and an unknown name is an error. Warnings: a route that can never match, a route without any policy
 * (it denies), a reference that leads nowhere, traps of PPL.
 */
bool tg_routes_read(const struct tg_tree *tree, const cJSON *root, const struct tg_route_defaults *defaults,
                    const struct tg_set_use *use, struct tg_arena *arena, struct tg_routes **out,
                    struct tg_problems *problems);
void tg_routes_fini(struct tg_routes *routes);           /* before its arena goes; NULL is fine */
/*
 * One route's settings from an object (explain --batch: from and to optional). `policies` holds PPL documents or items
 * {name, ppl, ...} here, as there are no named ones. NULL when it added errors. End it with tg_route_fini.
 */
struct tg_route *tg_route_read_one(const struct tg_tree *tree, const cJSON *node,
                                   const struct tg_route_defaults *defaults, struct tg_arena *arena,
                                   struct tg_problems *problems);
void tg_route_fini(struct tg_route *route);              /* before its arena goes; NULL is fine */
/*
 * `host`: in any case, no port, no brackets; `port`: of the request, -1 when none was said (then a `from` with port 80
 * matches). `path`: canonical. The first route in the order of the configuration that matches wins; NULL: none.
 * No allocation.
 */
const struct tg_route *tg_routes_match(const struct tg_routes *routes, struct tg_slice host, int port,
                                       struct tg_slice path);
enum tg_route_found {
    TG_ROUTE_FOUND,
    TG_ROUTE_NONE,                                       /* 404 */
    TG_ROUTE_AMBIGUOUS,                                  /* 400: the path has a second reading, see below */
};
/*
 * The route of a request. Ambiguous is a path whose most careless reading (parameters cut off, decoded again) belongs
 * to another route, so that an upstream reading it so would serve what the other guards; and one that a prefix_rewrite
 * would turn into dot segments. `path` is canonical; the usual one costs nothing more than tg_routes_match.
 */
enum tg_route_found tg_routes_find(const struct tg_routes *routes, struct tg_slice host, int port, struct tg_slice path,
                                   struct tg_arena *arena, const struct tg_route **out);
/*
 * The route whose metadata (RFC 9728) is at /.well-known/oauth-protected-resource followed by `path` ("" or starting
 * with a slash, canonical): the first with resource_metadata whose host matches and whose `resource` has that path; a
 * slash at the end does not matter where nothing fits exactly. NULL: none.
 */
const struct tg_route *tg_routes_of_resource(const struct tg_routes *routes, struct tg_slice host, int port,
                                             struct tg_slice path);
/*
 * SHA-256, 64 lower-case hex digits, over what decides: routes and policies as written, those of policies_dir too. No
 * secret of theirs is in it.
 */
const char *tg_routes_digest(const struct tg_routes *routes);
size_t tg_routes_count(const struct tg_routes *routes);
struct tg_route *tg_routes_at(const struct tg_routes *routes, size_t i);

extern const struct tg_setting tg_route_settings[], tg_policy_settings[], tg_resource_settings[];
extern const size_t tg_route_setting_count, tg_policy_setting_count, tg_resource_setting_count;
