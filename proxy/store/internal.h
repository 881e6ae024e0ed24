/*
 * internal - what the files of this folder share: named policies, a route as written, the steps that read it.
 */
#pragma once
#include "base/json.h"
#include "store/route.h"

/* ---- policies.c, policies_dir.c: policies by name ---- */
struct named_policy {
    struct tg_policy_text text;
    bool enforced;
    bool shadow;                                         /* `mode: shadow`: evaluated, not applied */
    bool broken;                                         /* its errors are told already: routes pass it over */
    bool of_set;                                         /* of a control plane's set, not of the file */
    const cJSON *ppl;
    const struct tg_policy *read;                        /* NULL: broken */
    const struct tg_tree *tree;                          /* of `ppl` */
    const char *where;                                   /* "policy only-staff", for messages of the PPL compiler */
};
struct policy_item {                                     /* one item, as written */
    struct tg_slice name, description, explanation, remediation;
    const cJSON *ppl;
    bool enforced;
    int mode;
};
struct policy_set {
    struct named_policy *items;                          /* in order: `policies`, then policies_dir by file name */
    size_t count, cap;
    size_t enforced;                                     /* of them */
    struct tg_map *names;                                /* to an item's number + 1, as a pointer */
    struct tg_ppl_pool *pool;                            /* of all programs */
    struct tg_tree **files;                              /* owned: `ppl` points into them */
    size_t file_count;
    bool client_ca;                                      /* see tg_route_defaults */
};

/* Reads both sections; every error becomes a problem. Fill a set that is zero but for client_ca and pool; end it
 * with policy_set_fini in any case. */
void policy_set_read(struct policy_set *set, const struct tg_tree *tree, const cJSON *root, struct tg_arena *arena,
                     struct tg_problems *problems);
void policy_set_fini(struct policy_set *set);
const struct named_policy *policy_set_find(const struct policy_set *set, struct tg_slice name);
/* The nearest name when it is near enough for a typing error, else NULL. */
const char *policy_set_nearest(const struct policy_set *set, struct tg_slice name, struct tg_arena *arena);
/* Reads and tries one item, or bare PPL. `stem`: its name when it says none; ptr NULL: it needs none. */
void policy_read(struct named_policy *out, const struct tg_tree *tree, const cJSON *node, struct tg_slice stem,
                 const char *where, bool client_ca, struct tg_ppl_pool *pool, struct tg_arena *arena,
                 struct tg_problems *problems);
/* The rest of it: `item` as its table gave it, `name` what it is called; policy_read ends with it. */
void policy_finish(struct named_policy *out, const struct policy_item *item, struct tg_slice name,
                   const struct tg_tree *tree, bool client_ca, struct tg_ppl_pool *pool, struct tg_problems *problems);
void policy_check_name(struct tg_slice text, const struct tg_tree *tree, const cJSON *node, const char *where,
                       struct tg_problems *problems);
/* Grows the set by one, named; a second one of that name is an error. */
void policy_set_add(struct policy_set *set, const struct named_policy *policy, const cJSON *node,
                    struct tg_problems *problems);
void policies_dir_read(struct policy_set *set, const struct tg_tree *tree, const cJSON *dir, struct tg_arena *arena,
                       struct tg_problems *problems);

/* ---- set_policies.c: those of a control plane's set, by id and by name ---- */
struct set_policies {
    struct named_policy *items;
    size_t count;
    struct tg_map *ids, *names;                          /* to an item's number + 1, as a pointer */
};
void set_policies_read(struct set_policies *out, const struct tg_set *set, bool client_ca, struct tg_ppl_pool *pool,
                       struct tg_arena *arena, struct tg_problems *problems);
void set_policies_fini(struct set_policies *p);
/* By id, else by a name that only one of them has. *several: there are others of that name. */
const struct named_policy *set_policies_find(const struct set_policies *p, struct tg_slice ref, bool *several);

/* ---- one route ---- */
struct route_text {                                      /* settings of a route, as written */
    struct tg_slice name, description, from, prefix, path, prefix_rewrite, host_rewrite;
    struct tg_slice bearer_token_format, load_balancing_policy;
    struct tg_strings to, providers, policies, allowed_users, allowed_domains, remove_request_headers;
    struct tg_string_map set_request_headers, set_response_headers;
    struct tg_slice tls_name, tls_old_name, tls_ca, tls_ca_file, tls_cert, tls_cert_file, tls_key, tls_key_file;
    struct tg_slice debug_trace, debug_trace_file;
    const cJSON *policy, *policies_node, *allowed_idp_claims, *resource_metadata, *upstream_auth, *rate_limits;
    struct tg_strings required_scopes, groups_filter;
    int possession, issuer_format;                       /* proof_of_possession, jwt_issuer_format */
    bool accept_opaque, pass_user_headers;
    int mode;                                            /* ROUTE_ENFORCE, ROUTE_SHADOW */
    bool preserve_host_header, allow_websockets, public_access, any_authenticated, cors_preflight, show_error_details;
    bool pass_identity_headers, tls_skip_verify;
    int forward_authorization, error_format;
    int64_t timeout_ms, idle_timeout_ms;
    uint64_t max_request_bytes;
    /* of a set's route alone */
    struct tg_slice id, namespace_id;
    struct tg_strings policy_ids, enforced_policy_ids;
    const cJSON *refused;                                /* some setting that a set may not hold */
};
#define ROUTE_POSSESSION "when_bound|any|dpop|mtls"      /* enum tg_possession of auth/bound.h */
enum { ROUTE_POSSESSION_MTLS = 3 };
#define ROUTE_ISSUERS "hostOnly|uri"
#define ROUTE_MODES "enforce|shadow"
enum { ROUTE_ENFORCE, ROUTE_SHADOW };
struct tls_clients {                                     /* made for one document: same settings, same client */
    struct {
        struct tg_tls_client_settings settings;
        struct tg_tls_client *client;                    /* a reference */
    } *items;
    size_t count;
};
struct route_reader {                                    /* what the steps need to know about the route at hand */
    const struct tg_tree *tree;
    const cJSON *node;
    const char *where;                                   /* "routes[3]" or "route orders": starts every message */
    const struct tg_route_defaults *defaults;
    const struct policy_set *policies;                   /* NULL: alone; `policies` then holds documents, not names */
    const struct set_policies *set;                      /* of a control plane; NULL: nothing comes from one */
    bool set_missing;                                    /* there is none yet, but one is to come */
    const struct route_rows *rows;                       /* of a set's route; NULL: it is the file's */
    const struct tg_set_rules *rules;                    /* what a set may say; with `rows` */
    struct tls_clients *tls;                             /* NULL: alone */
    bool several_providers;                              /* identity_providers has more than one */
    struct tg_ppl_pool *pool;
    struct tg_arena *arena;
    struct tg_problems *problems;
};
bool route_is_of_set(const struct route_reader *r);
/* Adds a problem at the setting `name`: "WHERE.NAME: sentence"; at the route itself when it is not there. */
void route_problem(const struct route_reader *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void route_warning(const struct route_reader *r, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* route_read.c: all of them. NULL when it added errors. `target_needed`: `to` is required. */
struct tg_route *route_read(const struct route_reader *r, unsigned index, bool target_needed);
/* route_set.c: a route of a set */
struct route_rows {                                      /* the settings that it has, as one table */
    struct tg_setting *items;
    size_t count;
};
void route_set_rows(struct route_rows *out, struct tg_arena *arena);
void route_set_check(const struct route_reader *r, const struct route_text *text); /* what its machine permits */
const char *route_set_where(const cJSON *node, struct tg_arena *arena);
/* The short form `upstream: URL`. */
struct tg_route *route_read_short(const struct route_reader *r, struct tg_slice url);
/* route_target.c: `from`, `to` */
void route_read_from(const struct route_reader *r, struct tg_slice text, struct tg_route *out);
void route_read_to(const struct route_reader *r, const struct tg_slice *items, size_t count, struct tg_route *out);
/* route_tls.c: out->tls and the names of the targets, after `to` */
void route_read_tls(const struct route_reader *r, const struct route_text *text, struct tg_route *out);
void tls_clients_fini(struct tls_clients *clients);
/* route_fields.c: header settings to out->forward */
void route_read_fields(const struct route_reader *r, const struct route_text *text, struct tg_route *out);
/* route_identity.c: which tokens it takes, what it tells of them, what it publishes; after the paths and `from` */
void route_read_identity(const struct route_reader *r, const struct route_text *text, struct tg_route *out);
bool route_says(const struct route_reader *r, const char *name); /* the setting is there */
/* route_policy.c: policies and flags to out->policy and out->shadow */
void route_read_policy(const struct route_reader *r, const struct route_text *text, struct tg_route *out);

/* ---- route_match.c ---- */
struct route_list {
    const struct tg_route **items;                       /* in the order of the configuration */
    size_t count;
};
struct host_entry {
    struct tg_slice host;                                /* ptr NULL: free */
    struct route_list routes;
};
struct route_table {
    struct host_entry *hosts;                            /* open addressing by tg_hash */
    size_t slots;                                        /* a power of two */
    struct route_list open;                              /* of any host or of a wildcard */
};
void route_table_build(struct route_table *table, struct tg_route *const *routes, size_t count, struct tg_arena *arena);

/* route_warn.c: what is legal and surely not meant, of all routes together */
void routes_warn(const struct tg_routes *routes, struct tg_problems *problems);

#define HOST_MAX 255
/* Lower case, without a trailing dot, IPv6 in its one form, into `out`. False when too long to be a host. */
bool host_fold(struct tg_slice host, char out[static HOST_MAX + 1], struct tg_slice *folded);

struct tg_routes {
    struct tg_route **items;
    size_t count;
    struct route_table table;
    char digest[65];
};
/* routes_digest.c: as tg_routes_digest has it. Before the trees of `policies` go. `set` may be NULL. */
void routes_digest(const struct tg_tree *tree, const cJSON *root, const struct policy_set *policies,
                   const struct tg_set *set, char out[static 65]);
