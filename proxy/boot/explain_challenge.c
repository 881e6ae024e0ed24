/*
 * explain_challenge - what WWW-Authenticate would say, as gate/step_reply makes it.
 *
 * The URL of a route's metadata is told as far as it does not hang on what a proxy in front says.
 */
#include "auth/bound.h"
#include "explain.h"

#define METADATA "/.well-known/oauth-protected-resource"
#define DEFAULT_PORT(https) ((https) ? 443 : 80)

static void add_origin(struct tg_buf *out, const struct explain_result *r)
{
    const struct tg_route *route = r->route;
    bool fixed = route->from_host.len > 0 && route->from_host.ptr[0] != '.';
    bool https = route->from_scheme.len ? tg_slice_eq(route->from_scheme, TG_S("https")) : r->config->tls != NULL;
    struct tg_slice host = fixed ? route->from_host : r->request->host;
    int port = fixed ? route->from_port : r->request->port;
    bool v6;

    if (host.len == 0)
        host = TG_S("localhost");
    v6 = memchr(host.ptr, ':', host.len) != NULL;
    tg_buf_addf(out, "%s%s", https ? "https://" : "http://", v6 ? "[" : "");
    for (size_t i = 0; i < host.len; i++)
        tg_buf_addc(out, host.ptr[i] >= 'A' && host.ptr[i] <= 'Z' ? (char)(host.ptr[i] | 0x20) : host.ptr[i]);
    tg_buf_adds(out, v6 ? "]" : "");
    if (port >= 0 && port != DEFAULT_PORT(https))
        tg_buf_addf(out, ":%d", port);
}

static void add_metadata(struct tg_buf *out, const struct explain_result *r)
{
    const struct tg_resource *resource = r->route->resource;
    size_t len = resource->url.len - resource->path.len;

    if (resource->url.len == 0) {
        add_origin(out, r);
    } else {
        if (resource->path.len == 0 && resource->url.ptr[len - 1] == '/')
            len--;
        tg_buf_add(out, resource->url.ptr, len);
    }
    tg_buf_adds(out, METADATA);
    tg_buf_add_slice(out, resource->path);
}

static void add_algs(struct tg_buf *out, tg_algs algs)
{
    for (unsigned a = 0; a < TG_ALG_COUNT; a++)
        if (algs & TG_ALG_BIT(a))
            tg_buf_addf(out, "%s%s", out->len ? " " : "", tg_alg_name(a));
}

size_t explain_challenges(const struct explain_result *r, struct tg_buf out[static 2])
{
    struct tg_challenge_words words = {.realm = r->config->realm, .scope = r->scopes, .bearer = true};
    struct tg_buf metadata = {0}, algs = {0};
    size_t count;

    if (r->route) {
        words.bearer = !r->dpop && r->route->possession != TG_POSSESSION_DPOP;
        words.dpop = !words.bearer || r->route->possession == TG_POSSESSION_ANY;
    }
    if (r->route && r->route->resource)
        add_metadata(&metadata, r);
    add_algs(&algs, r->config->dpop.algs);
    words.resource_metadata = tg_buf_slice(&metadata);
    words.dpop_algs = tg_buf_slice(&algs);
    count = tg_refusal_challenge(r->refusal, &words, out);
    tg_buf_fini(&metadata);
    tg_buf_fini(&algs);
    return count;
}
