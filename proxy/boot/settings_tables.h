/*
 * settings_tables - the tables of the sections that boot itself reads, and the structs they fill.
 */
#pragma once
#include "boot/settings.h"

struct root_text {                                       /* the top of the file, as written */
    struct tg_strings addresses, trusted_proxies;
    struct tg_slice health_address, realm, state_dir, policies_dir, revoked_tokens_file;
    struct tg_slice certificate_file, certificate_key_file;
    uint64_t workers;
    bool pass_identity_headers, pass_user_headers, refuse_exposed_upstream;
    struct tg_slice signing_key, signing_key_file;
    struct tg_strings groups_filter;
    int forward_authorization, error_format;
    const cJSON *upstream, *providers, *policies, *routes, *rate_limits, *claims_headers;
    const cJSON *certificates, *downstream_mtls;
    const cJSON *timeouts, *limits, *drain, *access_log, *log, *pats, *dpop;
    const cJSON *sync, *bundle, *management, *audit;
};
struct certificate_text {
    struct tg_slice certificate_file, certificate_key_file;
};
enum mtls_enforcement { MTLS_POLICY_WITH_DEFAULT_DENY, MTLS_POLICY, MTLS_REJECT_CONNECTION };
struct mtls_text {
    struct tg_slice ca_file, crl_file;
    int enforcement;                                     /* enum mtls_enforcement */
    uint64_t max_verify_depth;
};
struct pats_text {
    bool enabled;
};
struct drain_text {
    int64_t delay_ms, timeout_ms;
};
struct access_log_text {
    struct tg_slice output;
    struct tg_strings claims;
    int format;
    bool facts;
};
struct log_text {
    int level;                                           /* index into settings_log_levels */
};
extern const char *const settings_log_levels[];

extern const struct tg_setting settings_root[], settings_timeouts[], settings_limits[], settings_drain[],
    settings_access_log[], settings_log[], settings_certificate[], settings_mtls[], settings_pats[];
extern const size_t settings_root_count, settings_timeouts_count, settings_limits_count, settings_drain_count,
    settings_access_log_count, settings_log_count, settings_certificate_count, settings_mtls_count, settings_pats_count;

/* ---- settings_tls.c ---- */
/* Certificates and downstream_mtls to config->tls and what routes must know of them; before the routes are read. */
void settings_read_tls(const struct tg_tree *tree, const struct root_text *root, struct tg_settings *out,
                       struct tg_problems *problems);

/* ---- settings_sources.c ---- */
/* sync, bundle, management (one of them at most) and audit; before the routes. */
void settings_read_sources(const struct tg_tree *tree, const struct root_text *root, struct tg_settings *out,
                           struct tg_problems *problems);
void settings_sources_fini(struct tg_settings *s);
const char *settings_source_name(enum tg_set_source source); /* "sync"; NULL: none */
/* What of them a reload may not change: its name, or NULL. */
const char *settings_sources_differ(const struct tg_settings *old, const struct tg_settings *now);

/* ---- settings_routes.c ---- */
/* The routes of the file, and of a set in `use` (may be NULL), to config->routes; the providers they name. */
void settings_read_routes(const struct tg_tree *tree, const struct tg_set_use *use, struct tg_config *c,
                          struct tg_problems *problems);

/* ---- settings_signing.c ---- */
/* signing_key and signing_key_file to config->signing_pem. */
void settings_read_signing(const struct tg_tree *tree, const struct root_text *root, struct tg_config *config,
                           struct tg_problems *problems);
/* After the routes: whether one passes an assertion on. */
void settings_know_signs(const struct tg_tree *tree, struct tg_config *config, struct tg_problems *problems);

/* ---- settings_upstream.c ---- */
/* upstream_auth of every route to config->upstream_auth; after the routes. */
void settings_read_upstream_auth(const struct tg_tree *tree, struct tg_config *c, struct tg_problems *problems);

/* ---- settings_limits.c ---- */
/* rate_limits, the general ones. */
void settings_read_limits(const struct tg_tree *tree, const cJSON *node, struct tg_config *c,
                          struct tg_problems *problems);
/* Those of the routes; after both. */
void settings_read_route_limits(const struct tg_tree *tree, struct tg_config *c, struct tg_problems *problems);

/* ---- settings_facts.c ---- */
/* What the access log is told to hold. */
void settings_read_facts(const struct tg_tree *tree, const struct root_text *root, const struct access_log_text *text,
                         struct tg_config *config, struct tg_problems *problems);
/* After the routes and tiers were read: every route's `reads`, and policy_set. `rate_limits`: the general ones. */
void settings_know_facts(const cJSON *rate_limits, struct tg_config *config);

/* ---- for printing: which section a row opens ---- */
/* The section that `row` of `section` holds ("timeouts"), or each element of it ("routes[]"); NULL: none. */
const struct tg_settings_section *settings_section_of(const struct tg_settings_section *section,
                                                      const struct tg_setting *row);
/* "text", "duration", ...: what a user writes for a row of this kind. */
const char *settings_kind_name(const struct tg_setting *row);
/* "1 to 256", "1s or more"; false when nothing is to be said. */
bool settings_range_text(const struct tg_setting *row, struct tg_buf *out);
