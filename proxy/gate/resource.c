/*
 * resource - what a route publishes about itself (RFC 9728): its name as clients know it, where its metadata is, and
 * the document.
 *
 * `resource` is the configuration's, or made of `from` and the prefix; without `from` scheme and host are those of the
 * request. Nothing else of a request gets in here.
 */
#include "internal.h"
#include "base/json.h"

#define DEFAULT_PORT(https) ((https) ? 443 : 80)

/* ---- the service as its client sees it ---- */

/* The first element: what the proxy nearest to the client wrote. */
static struct tg_slice first_of(struct tg_slice list)
{
    struct tg_slice element;

    return tg_list_next(&list, &element) ? element : tg_slice(NULL, 0);
}

static struct tg_slice forwarded(const struct tg_exchange *ex, unsigned id)
{
    return ex->peer_trusted ? first_of(tg_head_value(&ex->head, id)) : tg_slice(NULL, 0);
}

bool tg_seen_https(const struct tg_exchange *ex, const struct tg_route *route)
{
    return ex->conn->tls || tg_slice_eq(route->from_scheme, TG_S("https")) ||
           tg_slice_eq_nocase(forwarded(ex, TG_FIELD_X_FORWARDED_PROTO), TG_S("https"));
}

struct tg_slice tg_seen_authority(const struct tg_exchange *ex)
{
    struct tg_slice given = forwarded(ex, TG_FIELD_X_FORWARDED_HOST), host;
    int port;

    return given.len && tg_uri_split_authority(given, &host, &port) ? given : ex->head.authority;
}

/* ---- URLs ---- */

static void add_host(struct tg_buf *out, struct tg_slice host)
{
    bool v6 = memchr(host.ptr, ':', host.len) != NULL;

    tg_buf_addf(out, "%s" TG_S_FMT "%s", v6 ? "[" : "", TG_S_ARG(host), v6 ? "]" : "");
}

/* Scheme and authority, normalised (RFC 3986 §6.2.2.1, §6.2.3): lower case, no port that the scheme has anyway. */
static void add_origin(struct tg_buf *out, const struct tg_exchange *ex, const struct tg_route *route)
{
    bool https = tg_seen_https(ex, route);
    bool fixed = route->from_host.len > 0 && route->from_host.ptr[0] != '.';
    struct tg_slice host = route->from_host;
    int port = route->from_port;
    size_t start;

    if (route->from_scheme.len)
        https = tg_slice_eq(route->from_scheme, TG_S("https"));
    tg_buf_adds(out, https ? "https://" : "http://");
    start = out->len;
    if (!fixed && !tg_uri_split_authority(tg_seen_authority(ex), &host, &port))
        host = TG_S("localhost");                        /* HTTP/1.0 without Host */
    add_host(out, host);
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] >= 'A' && out->data[i] <= 'Z')
            out->data[i] = (char)(out->data[i] | 0x20);
    if (port >= 0 && port != DEFAULT_PORT(https))
        tg_buf_addf(out, ":%d", port);
}

/* A configured URL up to its path. */
static struct tg_slice origin_of(const struct tg_resource *resource)
{
    size_t len = resource->url.len - resource->path.len;

    if (resource->path.len == 0 && resource->url.ptr[len - 1] == '/')
        len--;
    return tg_slice(resource->url.ptr, len);
}

void tg_resource_url(const struct tg_exchange *ex, const struct tg_route *route, struct tg_buf *out)
{
    if (route->resource->url.len) {
        tg_buf_add_slice(out, route->resource->url);
        return;
    }
    add_origin(out, ex, route);
    tg_buf_add_slice(out, route->resource->path);
}

/* RFC 9728 §3.1: between the host and the path. */
void tg_resource_metadata_url(const struct tg_exchange *ex, const struct tg_route *route, struct tg_buf *out)
{
    if (route->resource->url.len)
        tg_buf_add_slice(out, origin_of(route->resource));
    else
        add_origin(out, ex, route);
    tg_buf_adds(out, TG_RESOURCE_PATH);
    tg_buf_add_slice(out, route->resource->path);
}

bool tg_resource_is_told(const struct tg_exchange *ex, const struct tg_route *route)
{
    bool fixed = route->from_host.len > 0 && route->from_host.ptr[0] != '.';

    return route->resource->url.len == 0 && !fixed && forwarded(ex, TG_FIELD_X_FORWARDED_HOST).len > 0;
}

/* ---- scopes ---- */

static void add_scopes(struct tg_slice *all, size_t *count, size_t max, const struct tg_strings *more)
{
    for (size_t i = 0; more && i < more->count; i++) {
        bool known = false;

        for (size_t j = 0; j < *count && !known; j++)
            known = tg_slice_eq(all[j], more->items[i]);
        if (!known && *count < max)
            all[(*count)++] = more->items[i];
    }
}

size_t tg_scopes_needed(const struct tg_exchange *ex, const struct tg_route *route, struct tg_slice *out, size_t max)
{
    const struct tg_providers *providers = &ex->rt->config->providers;
    size_t count = 0;

    for (size_t i = 0; i < providers->count && !route->public_access; i++)
        if (route->providers >> i & 1 && (!ex->scope_of || ex->scope_of == &providers->items[i]))
            add_scopes(out, &count, max, providers->items[i].required_scopes);
    add_scopes(out, &count, max, &route->required_scopes);
    return count;
}

/* ---- the document (RFC 9728 §2) ---- */

static void add_name(struct tg_buf *out, const char *name)
{
    tg_buf_addf(out, ",\"%s\":", name);
}

static void add_text(struct tg_buf *out, const char *name, struct tg_slice value)
{
    if (value.len == 0)
        return;
    add_name(out, name);
    tg_json_add_string(out, value);
}

static void add_list(struct tg_buf *out, const char *name, const struct tg_slice *items, size_t count)
{
    if (count == 0)
        return;
    add_name(out, name);
    for (size_t i = 0; i < count; i++) {
        tg_buf_addc(out, i ? ',' : '[');
        tg_json_add_string(out, items[i]);
    }
    tg_buf_addc(out, ']');
}

/* Those of the route's providers whose issuers are URLs, where metadata of their own can be (RFC 8414 §3). */
static void add_servers(struct tg_buf *out, const struct tg_exchange *ex, const struct tg_route *route)
{
    const struct tg_strings *said = &route->resource->authorization_servers;
    const struct tg_providers *providers = &ex->rt->config->providers;
    struct tg_slice issuers[TG_PROVIDERS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < providers->count; i++) {
        const struct tg_provider *p = &providers->items[i];
        bool is_url = tg_slice_starts_with(p->issuer, TG_S("https://")) ||
                      tg_slice_starts_with(p->issuer, TG_S("http://"));

        if (route->providers >> i & 1 && !p->pats && is_url)
            issuers[count++] = p->issuer;
    }
    if (said->set)
        add_list(out, "authorization_servers", said->items, said->count);
    else
        add_list(out, "authorization_servers", issuers, count);
}

static void add_scope_list(struct tg_buf *out, const struct tg_exchange *ex, const struct tg_route *route)
{
    struct tg_slice needed[TG_SCOPES_TOLD];

    if (route->resource->scopes.set)
        add_list(out, "scopes_supported", route->resource->scopes.items, route->resource->scopes.count);
    else
        add_list(out, "scopes_supported", needed, tg_scopes_needed(ex, route, needed, ARRAY_LEN(needed)));
}

static void add_possession(struct tg_buf *out, const struct tg_exchange *ex, const struct tg_route *route)
{
    const struct tg_config *config = ex->rt->config;
    struct tg_slice algs[TG_ALG_COUNT];
    size_t count = 0;

    for (unsigned a = 0; a < TG_ALG_COUNT; a++)
        if (config->dpop.algs & TG_ALG_BIT(a))
            algs[count++] = tg_slice_str(tg_alg_name(a));
    add_list(out, "dpop_signing_alg_values_supported", algs, count);
    if (route->possession == TG_POSSESSION_DPOP)
        tg_buf_adds(out, ",\"dpop_bound_access_tokens_required\":true");
    if (config->route_defaults.client_ca)
        tg_buf_adds(out, ",\"tls_client_certificate_bound_access_tokens\":true");
}

void tg_resource_document(const struct tg_exchange *ex, const struct tg_route *route, struct tg_buf *out)
{
    struct tg_buf url = {0};

    tg_resource_url(ex, route, &url);
    tg_buf_adds(out, "{\"resource\":");
    tg_json_add_string(out, tg_buf_slice(&url));
    tg_buf_fini(&url);
    add_servers(out, ex, route);
    add_scope_list(out, ex, route);
    tg_buf_adds(out, ",\"bearer_methods_supported\":[\"header\"]");
    add_possession(out, ex, route);
    add_text(out, "resource_name", route->resource->name);
    add_text(out, "resource_documentation", route->resource->documentation);
    tg_buf_adds(out, "}\n");
}
