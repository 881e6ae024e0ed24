/*
 * route_settings - every setting of a route by name: what is honoured, and what Pomerium has and tollgate refuses.
 */
#include "internal.h"

#define ROW(member, name, kind, help) TG_SETTING(struct route_text, member, name, kind, NULL, 0, 0, NULL, 0, help)
#define ROW_BOOL(member, name, help) \
    TG_SETTING(struct route_text, member, name, TG_SET_BOOL, "false", 0, 0, NULL, 0, help)
#define ROW_ENUM(member, name, choices, help) \
    TG_SETTING(struct route_text, member, name, TG_SET_ENUM, NULL, 0, 0, choices, 0, help)
#define ROW_RANGE(member, name, kind, max, help) \
    TG_SETTING(struct route_text, member, name, kind, NULL, 0, max, NULL, 0, help)
#define ROW_SECRET(member, name, kind, help) \
    TG_SETTING(struct route_text, member, name, kind, NULL, 0, 0, NULL, TG_SET_SECRET, help)
#define LATER(name, help) {name, TG_SET_LATER, 0, NULL, 0, 0, NULL, 0, help}

#define YEAR_MS (365 * INT64_C(86400000))
#define REGEX "regular expressions are not available here; use prefix or path"
#define HOST_SOURCE "use host_rewrite or preserve_host_header"
#define LOGIN "there is no login and no session here, only bearer tokens"
#define UPGRADES "the only upgrade is a websocket (allow_websockets)"
#define CREDENTIALS "use upstream_auth: tollgate's own token for the service"
#define BALANCE "several URLs are used in turn"

const struct tg_setting tg_route_settings[] = {
    ROW(name, "name", TG_SET_STRING, "in logs and metrics; route-<index> when absent"),
    ROW(description, "description", TG_SET_STRING, "free text for people, not used otherwise"),
    /* what it matches */
    ROW(from, "from", TG_SET_STRING, "https://host[:port]; without a port any port, absent: any host"),
    ROW(prefix, "prefix", TG_SET_STRING, "the path starts with this, literally"),
    ROW(path, "path", TG_SET_STRING, "the path is this"),
    /* where it goes */
    ROW(to, "to", TG_SET_STRINGS, "URL of the service, or several used in turn; \"URL,weight\"; echo: answers itself"),
    ROW(prefix_rewrite, "prefix_rewrite", TG_SET_STRING, "replaces the matched prefix, literally"),
    ROW_BOOL(preserve_host_header, "preserve_host_header", "forward the client's Host instead of the one in `to`"),
    ROW(host_rewrite, "host_rewrite", TG_SET_STRING, "Host to forward instead of the one in `to`"),
    ROW_BOOL(allow_websockets, "allow_websockets", "let a websocket through"),
    ROW_RANGE(timeout_ms, "timeout", TG_SET_DURATION, YEAR_MS, "of a whole exchange; none or 0s: no limit"),
    ROW_RANGE(idle_timeout_ms, "idle_timeout", TG_SET_DURATION, YEAR_MS, "of a stalled exchange; none or 0s: no limit"),
    ROW(max_request_bytes, "max_request_bytes", TG_SET_SIZE, "of a request's body; none: no limit"),
    ROW(load_balancing_policy, "load_balancing_policy", TG_SET_STRING, "round_robin"),
    ROW(set_request_headers, "set_request_headers", TG_SET_STRING_MAP, "fields to forward instead of the client's"),
    ROW(remove_request_headers, "remove_request_headers", TG_SET_STRINGS, "fields that are not forwarded"),
    ROW(set_response_headers, "set_response_headers", TG_SET_STRING_MAP, "fields to answer instead of the service's"),
    ROW_BOOL(pass_identity_headers, "pass_identity_headers", "tell the service who calls; the general one when absent"),
    ROW_ENUM(forward_authorization, "forward_authorization", "keep|strip", "the caller's token to the service"),
    /* TLS to the service */
    ROW(tls_name, "tls_upstream_server_name", TG_SET_STRING,
        "whom the service's certificate must be for, and the name asked for; absent: the host in `to`"),
    ROW(tls_old_name, "tls_server_name", TG_SET_STRING, "old name of tls_upstream_server_name"),
    ROW(tls_ca_file, "tls_custom_ca_file", TG_SET_FILE,
        "PEM file of the only authorities to trust for the service; absent: the system's"),
    ROW(tls_ca, "tls_custom_ca", TG_SET_STRING, "the same as base64 of PEM"),
    ROW(tls_cert_file, "tls_client_cert_file", TG_SET_FILE, "PEM file of the certificate to show the service"),
    ROW(tls_key_file, "tls_client_key_file", TG_SET_FILE, "PEM file of its private key, not readable by everybody"),
    ROW(tls_cert, "tls_client_cert", TG_SET_STRING, "the certificate as base64 of PEM"),
    ROW_SECRET(tls_key, "tls_client_key", TG_SET_STRING, "its private key as base64 of PEM"),
    ROW_BOOL(tls_skip_verify, "tls_skip_verify", "believe whoever answers: only for trying things out"),
    /* who may */
    ROW(providers, "identity_providers", TG_SET_STRINGS, "names of the providers whose tokens count; absent: any"),
    ROW(required_scopes, "required_scopes", TG_SET_STRINGS,
        "a token must have been granted each of them, besides those of its provider; else 403 insufficient_scope"),
    {"accept_opaque", TG_SET_BOOL, offsetof(struct route_text, accept_opaque), "true", 0, 0, NULL, 0,
     "take tokens that are not signed too, where their provider can be asked (RFC 7662)"},
    {"proof_of_possession", TG_SET_ENUM, offsetof(struct route_text, possession), "when_bound", 0, 0, ROUTE_POSSESSION,
     0, "tokens bound to a key are taken with its proof only; any, dpop, mtls: others are not taken at all"},
    ROW(resource_metadata, "resource_metadata", TG_SET_NODE,
        "publish which tokens are taken (RFC 9728): true, or a mapping of what to say"),
    ROW(bearer_token_format, "bearer_token_format", TG_SET_STRING, "jwt"),
    ROW(policy, "policy", TG_SET_NODE, "one PPL document or a list"),
    ROW(policies_node, "policies", TG_SET_NODE, "names of policies"),
    ROW_BOOL(public_access, "allow_public_unauthenticated_access", "let everybody in, without a token too"),
    ROW_BOOL(any_authenticated, "allow_any_authenticated_user", "let everybody in who has a valid token"),
    ROW_BOOL(cors_preflight, "cors_allow_preflight", "let CORS preflight requests in without a token"),
    ROW(allowed_users, "allowed_users", TG_SET_STRINGS, "user ids or e-mail addresses to let in"),
    ROW(allowed_domains, "allowed_domains", TG_SET_STRINGS, "domains of e-mail addresses to let in"),
    ROW(allowed_idp_claims, "allowed_idp_claims", TG_SET_NODE, "claims and the values to let in"),
    {"mode", TG_SET_ENUM, offsetof(struct route_text, mode), "enforce", 0, 0, ROUTE_MODES, 0,
     "shadow: everybody is let in, what the policies say is logged and counted"},
    ROW_BOOL(show_error_details, "show_error_details", "tell the caller a policy's explanation and remediation"),
    ROW_ENUM(error_format, "error_format", TG_ERROR_FORMAT_CHOICES, "shape of tollgate's own answers"),
    ROW_SECRET(debug_trace, "debug_trace", TG_SET_STRING,
               "X-Tollgate-Debug with this text, of 16 characters at least, gets the decision told in the answer"),
    ROW(debug_trace_file, "debug_trace_file", TG_SET_FILE, "a file with that text"),
    /* what the service is told */
    ROW_BOOL(pass_user_headers, "pass_user_headers",
             "X-Forwarded-User, -Email, -Groups and -Preferred-Username; absent: the general pass_user_headers"),
    ROW_ENUM(issuer_format, "jwt_issuer_format", ROUTE_ISSUERS,
             "`iss` of X-Pomerium-Jwt-Assertion: the host of the route, or https://HOST/"),
    ROW(groups_filter, "jwt_groups_filter", TG_SET_STRINGS,
        "groups that X-Pomerium-Jwt-Assertion may tell, besides those of the general jwt_groups_filter"),
    ROW(rate_limits, "rate_limits", TG_SET_NODE, "how many requests whom on this route; off: none are counted"),
    ROW(upstream_auth, "upstream_auth", TG_SET_NODE, "send tollgate's own token to the service, not the caller's"),
    /* Pomerium's, not honoured */
    LATER("redirect", "a route forwards to a service"),
    LATER("response", "a route forwards to a service"),
    LATER("regex", REGEX),
    LATER("regex_priority_order", REGEX),
    LATER("regex_rewrite_pattern", REGEX),
    LATER("regex_rewrite_substitution", REGEX),
    LATER("host_rewrite_header", HOST_SOURCE),
    LATER("host_path_regex_rewrite_pattern", HOST_SOURCE),
    LATER("host_path_regex_rewrite_substitution", HOST_SOURCE),
    LATER("allow_spdy", UPGRADES),
    LATER("allow_upgrades", UPGRADES),
    LATER("rewrite_response_headers", "use set_response_headers"),
    LATER("idp_access_token_allowed_audiences", "audiences belong to the identity provider"),
    LATER("idp_client_id", LOGIN),
    LATER("idp_client_secret", LOGIN),
    LATER("depends_on", LOGIN),
    LATER("tls_upstream_allow_renegotiation", "TLS 1.3 has no renegotiation, and 1.2 does without"),
    LATER("tls_downstream_server_name", "a route has no certificate of its own"),
    LATER("tls_downstream_client_ca", "client certificates are no matter of a route"),
    LATER("tls_downstream_client_ca_file", "client certificates are no matter of a route"),
    LATER("lb_config", BALANCE),
    LATER("health_check", BALANCE),
    LATER("health_checks", BALANCE),
    LATER("healthy_panic_threshold", BALANCE),
    LATER("outlier_detection", BALANCE),
    LATER("circuit_breaker_thresholds", BALANCE),
    LATER("enable_google_cloud_serverless_authentication", CREDENTIALS),
    LATER("kubernetes_service_account_token", CREDENTIALS),
    LATER("kubernetes_service_account_token_file", CREDENTIALS),
    LATER("set_authorization_header", CREDENTIALS),
    LATER("mcp", "Pomerium's own MCP servers; policies may ask for `mcp_tool` on any route"),
    LATER("upstream_tunnel", "there is no SSH here"),
    LATER("session_recording", "there is no SSH here"),
    LATER("sub_policies", "name them in `policies`"),
    LATER("allowed_groups", "use `policy` with groups or claim/groups"),
    LATER("logo_url", "there is no portal"),
};
const size_t tg_route_setting_count = ARRAY_LEN(tg_route_settings);
