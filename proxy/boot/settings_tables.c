/*
 * settings_tables - every setting of the top of the file and of the small sections, by name: what is honoured, and what
 * is known and refused.
 */
#include "settings_tables.h"
#include "auth/credential.h"
#include "auth/introspect.h"

#define DAY_MS INT64_C(86400000)
#define YEAR_MS (365 * DAY_MS)
#define MEBI (INT64_C(1) << 20)

#define LATER(name, help) {name, TG_SET_LATER, 0, NULL, 0, 0, NULL, 0, help}
#define IN_A_FILE "put it in a file and name that: certificate_file and certificate_key_file"
#define CLIENT_CA "write downstream_mtls: {ca_file: ...}"
#define LOGIN "there is no login and no session here; name who signs the tokens in identity_providers"

#define ROW(member, name, kind, dflt, help) \
    TG_SETTING(struct root_text, member, name, TG_SET_##kind, dflt, 0, 0, NULL, 0, help)
#define ROW_ENUM(member, name, dflt, choices, help) \
    TG_SETTING(struct root_text, member, name, TG_SET_ENUM, dflt, 0, 0, choices, 0, help)
const struct tg_setting settings_root[] = {
    ROW(addresses, "address", STRINGS, TG_DEFAULT_ADDRESS, "where to listen: address:port or unix:/path, or a list"),
    ROW(health_address, "health_address", STRING, TG_DEFAULT_HEALTH_ADDRESS,
        "/livez /readyz /startupz /healthz /metrics; or none"),
    TG_SETTING(struct root_text, workers, "workers", TG_SET_COUNT, "0", 0, 256, NULL, 0, "threads; 0: one per CPU"),
    ROW(upstream, "upstream", NODE, NULL, "instead of routes: the one service, a URL or a mapping of route settings"),
    ROW(providers, "identity_providers", NODE, NULL, "who may sign tokens, by name"),
    ROW(policies, "policies", NODE, NULL, "policies by name, for routes and for every route when enforced"),
    ROW(policies_dir, "policies_dir", PATH, NULL, "folder with one policy a file"),
    ROW(routes, "routes", NODE, NULL, "what goes where, and who may; the first that matches"),
    ROW(rate_limits, "rate_limits", NODE, NULL, "how many requests whom; off: none are counted"),
    ROW(pass_identity_headers, "pass_identity_headers", BOOL, "false",
        "tell the services who calls: X-Pomerium-Jwt-Assertion, jwt_claims_headers"),
    ROW(claims_headers, "jwt_claims_headers", NODE, NULL,
        "header: claim, or a list of claims (X-Pomerium-Claim-<name>)"),
    ROW(groups_filter, "jwt_groups_filter", STRINGS, "[]", "the only groups that services are told of; empty: all"),
    ROW(pass_user_headers, "pass_user_headers", BOOL, "false",
        "X-Forwarded-User, -Email, -Groups and -Preferred-Username to the services"),
    TG_SETTING(struct root_text, signing_key, "signing_key", TG_SET_STRING, NULL, 0, 0, NULL, TG_SET_SECRET,
               "what signs X-Pomerium-Jwt-Assertion: base64 of a P-256 or Ed25519 private key in PEM"),
    ROW(signing_key_file, "signing_key_file", FILE, NULL,
        "the same in a file: the first private key signs, others are published; absent: a key is made"),
    ROW_ENUM(forward_authorization, "forward_authorization", "keep", "keep|strip",
             "the caller's token to the services"),
    ROW(trusted_proxies, "trusted_proxies", STRINGS, "[]", "networks whose X-Forwarded-* are believed"),
    ROW(refuse_exposed_upstream, "refuse_exposed_upstream", BOOL, "false",
        "do not serve while a service on this host answers where others can reach it too"),
    ROW(timeouts, "timeouts", NODE, NULL, "how long to wait for what"),
    ROW(limits, "limits", NODE, NULL, "sizes and counts that are refused above"),
    ROW(drain, "drain", NODE, NULL, "how to stop"),
    ROW(access_log, "access_log", NODE, NULL, "one line a request"),
    ROW(log, "log", NODE, NULL, "the program's own log, to standard error"),
    ROW(certificate_file, "certificate_file", FILE, NULL, "the listeners' certificate and its chain, in PEM: TLS"),
    ROW(certificate_key_file, "certificate_key_file", FILE, NULL, "its private key; nobody else may read it"),
    ROW(certificates, "certificates", NODE, NULL, "several, chosen by the name that a client asks for"),
    ROW(downstream_mtls, "downstream_mtls", NODE, NULL, "ask clients for a certificate"),
    ROW_ENUM(error_format, "error_format", "zero", TG_ERROR_FORMAT_CHOICES, "shape of tollgate's own answers"),
    ROW(realm, "realm", STRING, "tollgate", "realm of WWW-Authenticate"),
    ROW(state_dir, "state_dir", PATH, NULL, "folder for keys last fetched and the store; absent: memory only"),
    ROW(pats, "personal_access_tokens", NODE, NULL, "tokens of tollgate itself: `tollgate token create`"),
    ROW(revoked_tokens_file, "revoked_tokens_file", PATH, NULL,
        "tokens withdrawn before they end: lines of {iss, jti | sub, not_before, exp}; looked at each second"),
    ROW(dpop, "dpop", NODE, NULL, "proofs of possession of a key, for tokens that are bound to one (RFC 9449)"),
    ROW(sync, "sync", NODE, NULL, "policies and routes from a control plane, besides those of this file"),
    ROW(bundle, "bundle", NODE, NULL, "the same from one signed file"),
    ROW(management, "management", NODE, NULL, "the same from tollgate's own management API"),
    ROW(audit, "audit", NODE, NULL, "who changed what, and who was denied, kept in state_dir"),
    /* Pomerium's, for whom a file of Pomerium is at hand */
    LATER("policy", "name this list `routes`"),
    LATER("authenticate_service_url", LOGIN),
    LATER("idp_provider", LOGIN),
    LATER("idp_provider_url", LOGIN),
    LATER("idp_client_id", LOGIN),
    LATER("idp_client_secret", LOGIN),
    LATER("idp_client_secret_file", LOGIN),
    LATER("cookie_secret", LOGIN),
    LATER("cookie_secret_file", LOGIN),
    LATER("shared_secret", LOGIN),
    LATER("shared_secret_file", LOGIN),
    LATER("certificate", IN_A_FILE),
    LATER("certificate_key", IN_A_FILE),
    LATER("autocert", "certificates are got by others; their files are read again when they change"),
    LATER("insecure_server", "the listener speaks plain HTTP when no certificate is given; leave this out"),
    LATER("client_ca", CLIENT_CA),
    LATER("client_ca_file", CLIENT_CA),
    LATER("client_crl", CLIENT_CA),
    LATER("client_crl_file", CLIENT_CA),
    LATER("metrics_address", "metrics are at health_address"),
    LATER("log_level", "write log: {level: info}"),
    LATER("set_response_headers", "set them in a route"),
};
const size_t settings_root_count = ARRAY_LEN(settings_root);
#undef ROW
#undef ROW_ENUM

#define ROW(member, name, dflt, min, max, help) \
    TG_SETTING(struct tg_timeouts, member, name, TG_SET_DURATION, dflt, min, max, NULL, 0, help)
const struct tg_setting settings_timeouts[] = {
    ROW(head_ms, "head", "10s", 1, 10 * 60000, "until the whole head of a request is there"),
    ROW(body_ms, "body", "60s", 0, DAY_MS, "between two reads of a request's body"),
    ROW(idle_ms, "idle", "60s", 1, DAY_MS, "of a client connection between requests"),
    ROW(connect_ms, "connect", "5s", 1, 10 * 60000, "for a connection to the service"),
    ROW(first_byte_ms, "first_byte", "60s", 0, DAY_MS, "until the service begins to answer"),
    ROW(upstream_idle_ms, "upstream_idle", "4s", 1, DAY_MS, "how long an unused connection to the service is kept"),
    ROW(total_ms, "total", "none", 0, YEAR_MS, "of a whole exchange; a route's `timeout` goes before it"),
};
const size_t settings_timeouts_count = ARRAY_LEN(settings_timeouts);
#undef ROW

#define ROW(member, name, kind, dflt, min, max, help) \
    TG_SETTING(struct tg_bounds, member, name, TG_SET_##kind, dflt, min, max, NULL, 0, help)
const struct tg_setting settings_limits[] = {
    ROW(head, "head", SIZE, "64KiB", 1024, MEBI, "of a request's head; above: 431"),
    ROW(uri, "uri", SIZE, "16KiB", 256, MEBI, "of a request's target; above: 414"),
    ROW(token, "token", SIZE, "16KiB", 256, MEBI, "of a bearer token; above: 400"),
    ROW(fields, "fields", COUNT, "128", 8, 1024, "header fields of a request; above: 431"),
    ROW(body, "body", SIZE, "none", 0, 0, "of a request's body; above: 413"),
    ROW(mcp_body, "mcp_body", SIZE, "1MiB", 1024, 64 * MEBI,
        "of a body that is kept whole because the route's policies ask for mcp_tool; above: 413"),
    ROW(connections, "connections", COUNT, "0", 0, 0, "of clients together; 0: no limit"),
    ROW(connections_per_address, "connections_per_address", COUNT, "0", 0, 0, "of one client address; 0: no limit"),
};
const size_t settings_limits_count = ARRAY_LEN(settings_limits);
#undef ROW

const struct tg_setting settings_drain[] = {
    TG_SETTING(struct drain_text, delay_ms, "delay", TG_SET_DURATION, "0s", 0, 10 * 60000, NULL, 0,
               "how long to accept still, after readiness says no"),
    TG_SETTING(struct drain_text, timeout_ms, "timeout", TG_SET_DURATION, "25s", 0, DAY_MS, NULL, 0,
               "how long requests may take to end after that"),
};
const size_t settings_drain_count = ARRAY_LEN(settings_drain);

const struct tg_setting settings_pats[] = {
    TG_SETTING(struct pats_text, enabled, "enabled", TG_SET_BOOL, "false", 0, 0, NULL, 0,
               "take them; they are kept in state_dir, which must then be set"),
};
const size_t settings_pats_count = ARRAY_LEN(settings_pats);

const struct tg_setting settings_access_log[] = {
    TG_SETTING(struct access_log_text, output, "output", TG_SET_STRING, "stdout", 0, 0, NULL, 0,
               "stdout, stderr, off or the path of a file"),
    TG_SETTING(struct access_log_text, format, "format", TG_SET_ENUM, "json", 0, 0, "json", 0, "of a line"),
    TG_SETTING(struct access_log_text, facts, "facts", TG_SET_BOOL, "true", 0, 0, NULL, 0,
               "what decisions used, of claims too, so that `why` and `replay` can tell the same again"),
    TG_SETTING(struct access_log_text, claims, "claims", TG_SET_STRINGS, "[]", 0, 0, NULL, 0,
               "claims that lines hold besides those that policies and tiers read"),
};
const size_t settings_access_log_count = ARRAY_LEN(settings_access_log);

const char *const settings_log_levels[] = {"error", "warn", "info", "debug"};
const struct tg_setting settings_log[] = {
    TG_SETTING(struct log_text, level, "level", TG_SET_ENUM, "info", 0, 0, "error|warn|info|debug", 0,
               "the least important lines to write"),
};
const size_t settings_log_count = ARRAY_LEN(settings_log);

#define ROW(member, name, flags, help) \
    TG_SETTING(struct certificate_text, member, name, TG_SET_FILE, NULL, 0, 0, NULL, flags, help)
const struct tg_setting settings_certificate[] = {
    ROW(certificate_file, "certificate_file", TG_SET_REQUIRED, "the certificate and its chain, in PEM, leaf first"),
    ROW(certificate_key_file, "certificate_key_file", TG_SET_REQUIRED, "its private key; nobody else may read it"),
    LATER("cert", IN_A_FILE),
    LATER("key", IN_A_FILE),
    LATER("certificate", IN_A_FILE),
    LATER("certificate_key", IN_A_FILE),
};
const size_t settings_certificate_count = ARRAY_LEN(settings_certificate);
#undef ROW

const struct tg_setting settings_mtls[] = {
    TG_SETTING(struct mtls_text, ca_file, "ca_file", TG_SET_FILE, NULL, 0, 0, NULL, TG_SET_REQUIRED,
               "who signs the clients' certificates, in PEM"),
    TG_SETTING(struct mtls_text, crl_file, "crl_file", TG_SET_FILE, NULL, 0, 0, NULL, 0,
               "which of them were revoked, in PEM"),
    TG_SETTING(struct mtls_text, enforcement, "enforcement", TG_SET_ENUM, "policy_with_default_deny", 0, 0,
               "policy_with_default_deny|policy|reject_connection", 0,
               "without a valid one: every route denies, policies decide alone, or the handshake fails"),
    TG_SETTING(struct mtls_text, max_verify_depth, "max_verify_depth", TG_SET_COUNT, "1", 0, 100, NULL, 0,
               "CA certificates above a client's own, the trusted one included; 0: no limit"),
    LATER("ca", "put it in a file and name that: ca_file"),
    LATER("crl", "put it in a file and name that: crl_file"),
    LATER("match_subject_alt_names", "write a policy: client_certificate: {san_dns: ...}, {san_email: ...}, "
                                     "{san_uri: ...}"),
};
const size_t settings_mtls_count = ARRAY_LEN(settings_mtls);

#define SECTION(place, rows, about) {place, about, rows, &rows##_count}
const struct tg_settings_section tg_settings_sections[] = {
    SECTION("", settings_root, "the top of the file"),
    {"identity_providers.NAME", "who may sign tokens: one entry a provider, under a name of your choice",
     tg_provider_settings, &tg_provider_setting_count},
    {"identity_providers.NAME.introspection", "asking the provider what an opaque token is (RFC 7662); its ca_file, "
     "proxy and allow_http hold here too", tg_introspection_rows, &tg_introspection_row_count},
    {"routes[]", "what goes where, and who may: the first route that matches a request", tg_route_settings,
     &tg_route_setting_count},
    {"routes[].resource_metadata",
     "what is published of the route (RFC 9728), at /.well-known/oauth-protected-resource and its path, for clients "
     "that look for whom to ask for a token; true: all of it by itself",
     tg_resource_settings, &tg_resource_setting_count},
    {"routes[].upstream_auth",
     "tollgate's own token for the service, instead of the caller's: a file, or a grant of an OAuth server; renewed "
     "ahead of its end, and once when the service says 401",
     tg_credential_rows, &tg_credential_row_count},
    {"policies[]", "policies by name", tg_policy_settings, &tg_policy_setting_count},
    {"rate_limits", "how many requests whom", tg_rate_limit_settings, &tg_rate_limit_setting_count},
    {"rate_limits.tiers[]", "the first tier whose `when` holds counts; \"unauthenticated\" counts requests without an "
     "identity by client address", tg_tier_settings, &tg_tier_setting_count},
    {"rate_limits.tiers[].windows[]", "windows of one tier, of different lengths: a request takes of all or of none",
     tg_window_settings, &tg_window_setting_count},
    {"routes[].rate_limits", "how many requests whom on this route; its tiers are those of rate_limits.tiers[]",
     tg_route_limit_settings, &tg_route_limit_setting_count},
    {"certificates[]", "certificates of the listeners: the one whose names fit the name a client asks for, else the "
     "first of all", settings_certificate, &settings_certificate_count},
    SECTION("downstream_mtls", settings_mtls, "certificates of clients: who signs them, and what becomes of a client "
            "without a valid one"),
    SECTION("personal_access_tokens", settings_pats, "tokens of tollgate itself, made by `tollgate token create`"),
    {"dpop", "proofs of possession of a key, for tokens that are bound to one (RFC 9449)", tg_dpop_rows,
     &tg_dpop_row_count},
    {"sync", "policies and routes from a control plane that speaks the Zero API, besides those of the file; kept in "
     "state_dir for a start without it", tg_sync_rows, &tg_sync_row_count},
    {"sync.credential", "tollgate's own token for the control plane", tg_home_credential_rows,
     &tg_home_credential_row_count},
    {"bundle", "policies and routes from one signed file (`tollgate bundle`), besides those of this one; kept in "
     "state_dir", tg_bundle_rows, &tg_bundle_row_count},
    {"bundle.credential", "tollgate's own token for the bundle's URL", tg_home_credential_rows,
     &tg_home_credential_row_count},
    {"management", "the management API: policies and routes kept in state_dir and changed while serving",
     tg_management_rows, &tg_management_row_count},
    {"management.organization", "what the API calls its organization", tg_management_organization_rows,
     &tg_management_organization_row_count},
    {"management.limits", "how often the API may be asked", tg_management_limit_rows, &tg_management_limit_row_count},
    {"management.webhooks", "where webhooks may go", tg_management_webhook_rows, &tg_management_webhook_row_count},
    {"management.revocation_hook", "POST /api/v1/hooks/revocations: who may withdraw foreign tokens",
     tg_management_hook_rows, &tg_management_hook_row_count},
    {"management.operators[]", "who may use it by a key of his own", tg_operator_rows, &tg_operator_row_count},
    {"audit", "who changed what, and who was denied, kept in state_dir; on when management is", tg_audit_rows,
     &tg_audit_row_count},
    SECTION("timeouts", settings_timeouts, "how long to wait for what"),
    SECTION("limits", settings_limits, "sizes and counts that are refused above"),
    SECTION("drain", settings_drain, "how to stop: readiness says no, then no new connections, then the end"),
    SECTION("access_log", settings_access_log, "one line a request"),
    SECTION("log", settings_log, "the program's own log, to standard error"),
};
const size_t tg_settings_section_count = ARRAY_LEN(tg_settings_sections);
