/*
 * route_identity - which tokens a route takes, what its service is told of whoever shows one, and what is published
 * about it (RFC 9728).
 */
#include "internal.h"

#define ROW(member, name, kind, help) TG_SETTING(struct tg_resource, member, name, kind, NULL, 0, 0, NULL, 0, help)
const struct tg_setting tg_resource_settings[] = {
    ROW(url, "resource", TG_SET_STRING, "its URL as clients know it; absent: scheme, host of `from`, and the prefix"),
    ROW(scopes, "scopes_supported", TG_SET_STRINGS, "scopes to ask for; absent: the required ones"),
    ROW(authorization_servers, "authorization_servers", TG_SET_STRINGS,
        "issuers to get tokens from; absent: those of the route's identity_providers"),
    ROW(name, "resource_name", TG_SET_STRING, "its name for people"),
    ROW(documentation, "resource_documentation", TG_SET_STRING, "URL of a page for developers"),
};
const size_t tg_resource_setting_count = ARRAY_LEN(tg_resource_settings);
#undef ROW

/* RFC 6749 §3.3: what can stand between the quotes of a challenge, without spaces. */
static bool is_scope(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e || s.ptr[i] == '"' || s.ptr[i] == '\\')
            return false;
    return s.len > 0;
}

static void check_scopes(const struct route_reader *r, const char *name, const struct tg_strings *scopes)
{
    for (size_t i = 0; i < scopes->count; i++)
        if (!is_scope(scopes->items[i]))
            route_problem(r, name, "each scope is one word of visible ASCII characters without \" and \\");
}

/* ---- resource_metadata ---- */

static bool check_url(const struct route_reader *r, const char *member, struct tg_slice text, struct tg_url *url)
{
    struct tg_err err;

    if (tg_url_parse(text, false, url, &err) != TG_OK)
        route_problem(r, "resource_metadata", "%s: %s", member, err.text);
    else
        return true;
    return false;
}

/* The path without a slash at its end: "/" and none are the same resource (RFC 9728 §3.1). */
static struct tg_slice bare(struct tg_slice path)
{
    return path.len == 1 ? TG_S("") : path;
}

static void read_resource_url(const struct route_reader *r, struct tg_resource *out)
{
    struct tg_slice canonical, decoded;
    struct tg_url url;

    if (!check_url(r, "resource", out->url, &url))
        return;
    out->path = bare(url.path);
    if (memchr(out->url.ptr, '?', out->url.len))
        route_problem(r, "resource_metadata", "resource: a resource is named without a query");
    else if (out->path.len > 0 && (tg_uri_canonical_path(url.path, r->arena, &canonical, &decoded, NULL) != TG_OK ||
                                   !tg_slice_eq(canonical, url.path)))
        route_problem(r, "resource_metadata", "resource: its path is not in the canonical form");
}

static void read_resource(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    const cJSON *node = text->resource_metadata;
    struct tg_resource *resource = TG_ARENA_NEW(r->arena, struct tg_resource);
    const char *where = tg_arena_printf(r->arena, "%s.resource_metadata", r->where).ptr;
    struct tg_url url;

    if (!node || cJSON_IsFalse(node))
        return;
    if (!cJSON_IsTrue(node) && !cJSON_IsObject(node)) {
        route_problem(r, "resource_metadata", "must be true, or a mapping of what to publish");
        return;
    }
    resource->path = bare(out->path.ptr ? out->path : out->prefix);
    out->resource = resource;
    if (cJSON_IsTrue(node))
        return;
    tg_settings_read(tg_resource_settings, tg_resource_setting_count, r->tree, node, where, false, r->arena, resource,
                     r->problems);
    if (resource->url.ptr)
        read_resource_url(r, resource);
    for (size_t i = 0; i < resource->authorization_servers.count; i++)
        check_url(r, "authorization_servers", resource->authorization_servers.items[i], &url);
    if (resource->documentation.ptr)
        check_url(r, "resource_documentation", resource->documentation, &url);
    check_scopes(r, "resource_metadata", &resource->scopes);
}

/* ---- all of it ---- */

/* Of the general list and the route's own. */
static struct tg_strings join(struct tg_arena *arena, const struct tg_strings *a, const struct tg_strings *b)
{
    struct tg_strings out = {.set = a->set || b->set};

    if (b->count == 0)
        return *a;
    out.items = TG_ARENA_ARRAY(arena, struct tg_slice, a->count + b->count);
    for (size_t i = 0; i < a->count; i++)
        out.items[out.count++] = a->items[i];
    for (size_t i = 0; i < b->count; i++)
        out.items[out.count++] = b->items[i];
    return out;
}

void route_read_identity(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    const struct tg_route_defaults *d = r->defaults;

    check_scopes(r, "required_scopes", &text->required_scopes);
    out->required_scopes = text->required_scopes;
    out->accept_opaque = text->accept_opaque;
    out->possession = text->possession;
    if (r->policies && text->possession == ROUTE_POSSESSION_MTLS && !d->client_ca)
        route_problem(r, "proof_of_possession", "mtls: clients are not asked for a certificate; that is "
                      "downstream_mtls: {ca_file: ...}");
    out->rate_limits = route_says(r, "rate_limits") ? text->rate_limits : NULL;
    out->upstream_auth = route_says(r, "upstream_auth") ? text->upstream_auth : NULL;
    if (out->upstream_auth)
        out->strip_authorization = true;                 /* the caller's token never reaches that service */
    out->pass_user_headers = route_says(r, "pass_user_headers") ? text->pass_user_headers : d->pass_user_headers;
    out->issuer_is_uri = text->issuer_format == 1;
    out->groups_filter = join(r->arena, &d->groups_filter, &text->groups_filter);
    read_resource(r, text, out);
}
