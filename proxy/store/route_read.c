/*
 * route_read - one route from its settings.
 */
#include "base/file.h"
#include "internal.h"
#include <stdio.h>

#define NAME_MAX_BYTES 128
#define TRACE_MIN_BYTES 16
#define TRACE_MAX_BYTES 256

bool route_is_of_set(const struct route_reader *r) { return r->rows != NULL; }

__attribute__((format(printf, 4, 0))) static void complain(const struct route_reader *r, const char *name, bool warning,
                                                           const char *fmt, va_list ap)
{
    const cJSON *node = name ? tg_setting_member(r->node, name, route_is_of_set(r)) : NULL;
    struct tg_buf text = {0};

    if (node)
        name = node->string;                             /* as it was written */
    tg_buf_addf(&text, "%s%s%s%s ", r->where, name ? "." : "", name ? name : "", name ? ":" : "");
    tg_buf_vaddf(&text, fmt, ap);
    if (warning)
        tg_warning_at(r->problems, r->tree, node ? node : r->node, "%s", tg_buf_cstr(&text));
    else
        tg_problem_at(r->problems, r->tree, node ? node : r->node, "%s", tg_buf_cstr(&text));
    tg_buf_fini(&text);
}

void route_problem(const struct route_reader *r, const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(r, name, false, fmt, ap);
    va_end(ap);
}

void route_warning(const struct route_reader *r, const char *name, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(r, name, true, fmt, ap);
    va_end(ap);
}

bool route_says(const struct route_reader *r, const char *name)
{
    const cJSON *node = tg_setting_member(r->node, name, route_is_of_set(r));

    return node && !cJSON_IsNull(node);
}

/* What is compared with canonical paths must be one: any other could never match, or match what it should not. */
static void check_path(const struct route_reader *r, const char *name, struct tg_slice path)
{
    struct tg_slice canonical, decoded;
    struct tg_err err;

    if (!path.ptr)
        return;
    if (path.len == 0 || path.ptr[0] != '/')
        route_problem(r, name, "must start with \"/\"");
    else if (tg_uri_canonical_path(path, r->arena, &canonical, &decoded, &err) != TG_OK)
        route_problem(r, name, "%s", err.text);
    else if (!tg_slice_eq(path, canonical))
        route_problem(r, name, "\"" TG_S_FMT "\" is not the canonical form, which is compared; write \"" TG_S_FMT "\"",
                      TG_S_ARG(path), TG_S_ARG(canonical));
}

static bool ends_in_slash(struct tg_slice s) { return s.len > 0 && s.ptr[s.len - 1] == '/'; }

static void read_paths(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    check_path(r, "prefix", text->prefix);
    check_path(r, "path", text->path);
    check_path(r, "prefix_rewrite", text->prefix_rewrite);
    if (text->prefix.ptr && text->path.ptr)
        route_problem(r, "path", "cannot be together with prefix: a route has one of them");
    out->prefix = text->prefix;
    out->path = text->path;
    out->prefix_rewrite = text->prefix_rewrite;
    if (out->prefix_rewrite.ptr && !out->prefix.ptr && !out->path.ptr)
        out->prefix = TG_S("/");                         /* what there is to replace */
    if (out->prefix_rewrite.ptr && out->prefix.ptr && ends_in_slash(out->prefix) != ends_in_slash(out->prefix_rewrite))
        route_warning(r, "prefix_rewrite", "is put literally in the place of the prefix \"" TG_S_FMT
                      "\": let both end in \"/\" or neither", TG_S_ARG(out->prefix));
}

static void read_host_sent(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    struct tg_slice host;
    int port;

    out->preserve_host_header = text->preserve_host_header;
    out->host_rewrite = text->host_rewrite;
    if (!text->host_rewrite.ptr)
        return;
    if (text->preserve_host_header)
        route_problem(r, "host_rewrite", "cannot be together with preserve_host_header");
    if (!tg_uri_split_authority(text->host_rewrite, &host, &port))
        route_problem(r, "host_rewrite", "must be a host, with a port if need be");
}

static bool says_none(const struct route_reader *r, const char *name)
{
    struct tg_slice text;

    return tg_json_str(tg_setting_member(r->node, name, route_is_of_set(r)), &text) &&
           tg_slice_eq(text, TG_S("none"));
}

static void read_bounds(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    out->timeout_ms = text->timeout_ms;
    out->idle_timeout_ms = text->idle_timeout_ms;
    out->max_request_bytes = text->max_request_bytes;
    if (route_says(r, "timeout") && text->timeout_ms == 0)
        out->timeout_ms = TG_ROUTE_NO_TIMEOUT_MS;
    if (route_says(r, "idle_timeout") && text->idle_timeout_ms == 0)
        out->idle_timeout_ms = TG_ROUTE_NO_TIMEOUT_MS;
    if (!route_says(r, "max_request_bytes") || text->max_request_bytes != 0)
        return;
    if (says_none(r, "max_request_bytes"))
        out->max_request_bytes = UINT64_MAX;
    else
        route_problem(r, "max_request_bytes", "must be 1 or more; none: no limit");
}

/* Settings of Pomerium of whose values tollgate has one. */
static void check_only_values(const struct route_reader *r, const struct route_text *text)
{
    struct tg_slice format = text->bearer_token_format, balance = text->load_balancing_policy;

    /* "default" is what a control plane says when nobody has chosen. */
    if (format.ptr && !tg_slice_eq(format, TG_S("jwt")) &&
        !(route_is_of_set(r) && tg_slice_eq(format, TG_S("default"))))
        route_problem(r, "bearer_token_format", "\"" TG_S_FMT "\" is not supported: bearer tokens are verified (jwt)",
                      TG_S_ARG(format));
    if (balance.ptr && !tg_slice_eq_nocase(balance, TG_S("round_robin")))
        route_problem(r, "load_balancing_policy", "\"" TG_S_FMT "\" is not supported yet: only round_robin is",
                      TG_S_ARG(balance));
}

static void read_name(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    struct tg_slice name = text->name.ptr ? text->name : text->id;

    out->name = name;
    if (!name.ptr) {
        out->name = tg_arena_printf(r->arena, "route-%u", out->index);
        return;
    }
    if (name.len == 0 || name.len > NAME_MAX_BYTES)
        route_problem(r, "name", "must have 1 to %d bytes", NAME_MAX_BYTES);
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7f) {
            route_problem(r, "name", "holds a control character");
            return;
        }
}

/* `policies` is a list of names, or one; of documents when the route stands alone. */
static void read_policy_names(const struct route_reader *r, struct route_text *text)
{
    const cJSON *list = text->policies_node, *node;
    struct tg_strings *names = &text->policies;

    if (!r->policies) {
        if (list && !cJSON_IsArray(list))
            route_problem(r, "policies", "must be a list of policies");
        return;
    }
    if (!list || (!cJSON_IsArray(list) && !cJSON_IsString(list))) {
        if (list)
            route_problem(r, "policies", "must be a list of names");
        return;
    }
    names->items = TG_ARENA_ARRAY(r->arena, struct tg_slice, cJSON_GetArraySize(list) + 1);
    if (tg_json_str(list, &names->items[0])) {
        names->count = 1;
        return;
    }
    cJSON_ArrayForEach(node, list) {
        if (tg_json_str(node, &names->items[names->count]))
            names->count++;
        else
            tg_problem_at(r->problems, r->tree, node, "%s.policies: holds names; a policy itself belongs in `policy`",
                          r->where);
    }
}

static void read_overrides(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    const struct tg_route_defaults *d = r->defaults;

    out->pass_identity_headers =
        route_says(r, "pass_identity_headers") ? text->pass_identity_headers : d->pass_identity_headers;
    out->strip_authorization =
        route_says(r, "forward_authorization") ? text->forward_authorization == 1 : d->strip_authorization;
    out->error_format = route_says(r, "error_format") ? text->error_format : d->error_format;
}

/* What a client can send as the value of a field, and nobody guesses. */
static bool is_trace_secret(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e)
            return false;
    return s.len >= TRACE_MIN_BYTES && s.len <= TRACE_MAX_BYTES;
}

/* Messages never show it. */
static void read_debug_trace(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    const char *name = text->debug_trace.ptr ? "debug_trace" : "debug_trace_file";
    struct tg_slice secret = text->debug_trace;
    struct tg_buf file = {0};
    struct tg_err err;

    if (text->debug_trace.ptr && text->debug_trace_file.ptr) {
        route_problem(r, name, "cannot be together with debug_trace_file");
        return;
    }
    if (text->debug_trace_file.ptr) {
        if (tg_file_read_secret(text->debug_trace_file.ptr, &file, &err) != TG_OK) {
            route_problem(r, name, "%s", err.text);
            return;
        }
        secret = tg_buf_slice(&file);
    }
    if (secret.ptr && !is_trace_secret(secret))
        route_problem(r, name, "must be %d to %d characters that can be seen, without spaces", TRACE_MIN_BYTES,
                      TRACE_MAX_BYTES);
    else if (secret.ptr)
        out->debug_trace = tg_arena_dup(r->arena, secret);
    tg_buf_wipe(&file);
}

/* Where Pomerium would do otherwise, silently. */
static void warn_kept_prefix(const struct route_reader *r, const struct tg_route *route)
{
    if (route->prefix_rewrite.ptr || route->path.ptr || route->prefix.len <= 1)
        return;
    for (size_t i = 0; i < route->target_count; i++)
        if (!route->targets[i].url.unix_socket && route->targets[i].url.path.len > 0) {
            route_warning(r, "to", "the path of this URL is put before the whole path, prefix included; to replace the "
                          "prefix use prefix_rewrite");
            return;
        }
}

static void read_all(const struct route_reader *r, struct route_text *text, bool target_needed, struct tg_route *out)
{
    read_name(r, text, out);
    if (text->from.ptr)
        route_read_from(r, text->from, out);
    read_paths(r, text, out);
    if (text->to.set)
        route_read_to(r, text->to.items, text->to.count, out);
    else if (target_needed)
        route_problem(r, NULL, "needs `to`: the URL of the service");
    if (r->rules)
        route_set_check(r, text);
    route_read_tls(r, text, out);
    read_host_sent(r, text, out);
    read_bounds(r, text, out);
    read_overrides(r, text, out);
    route_read_identity(r, text, out);
    check_only_values(r, text);
    out->allow_websockets = text->allow_websockets;
    out->show_error_details = text->show_error_details;
    out->public_access = text->public_access;
    out->any_authenticated = text->any_authenticated;
    out->provider_names = text->providers.items;
    out->provider_count = text->providers.count;
    out->providers = text->providers.count > 0 ? 0 : UINT64_MAX; /* none of the named ones until they are known */
    read_debug_trace(r, text, out);
    read_policy_names(r, text);
    route_read_fields(r, text, out);
    route_read_policy(r, text, out);
    warn_kept_prefix(r, out);
}

static struct tg_route *new_route(const struct route_reader *r, unsigned index)
{
    struct tg_route *route = TG_ARENA_NEW(r->arena, struct tg_route);

    route->index = index;
    route->from_port = -1;
    route->node = r->node;
    route->tree = r->tree;
    route->from_set = route->may_be_stale = route_is_of_set(r);
    return route;
}

/* The route, unless errors came since there were `errors`. */
static struct tg_route *whole(const struct route_reader *r, size_t errors, struct tg_route *route)
{
    if (r->problems->errors == errors)
        return route;
    tg_route_fini(route);
    return NULL;
}

struct tg_route *route_read(const struct route_reader *r, unsigned index, bool target_needed)
{
    struct tg_route *route = new_route(r, index);
    struct route_text text = {0};
    size_t errors = r->problems->errors;

    if (!cJSON_IsObject(r->node)) {
        route_problem(r, NULL, "must be a mapping of settings");
        return NULL;
    }
    tg_settings_read(r->rows ? r->rows->items : tg_route_settings, r->rows ? r->rows->count : tg_route_setting_count,
                     r->tree, r->node, r->where, route_is_of_set(r), r->arena, &text, r->problems);
    read_all(r, &text, target_needed, route);
    return whole(r, errors, route);
}

struct tg_route *route_read_short(const struct route_reader *r, struct tg_slice url)
{
    struct tg_route *route = new_route(r, 0);
    struct route_text text = {.any_authenticated = true, .accept_opaque = true,
                              .to = {.items = &url, .count = 1, .set = true}};
    size_t errors = r->problems->errors;

    read_all(r, &text, true, route);
    return whole(r, errors, route);
}
