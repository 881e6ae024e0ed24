/*
 * well_known - what tollgate publishes itself, beside its routes: the metadata of routes (RFC 9728) and the keys of the
 * assertions it signs.
 *
 * For everybody, so it is asked before routing, and charged to the address bucket. A path of which nothing is published
 * is a path like any other: a service may have metadata of its own.
 */
#include "auth/assertion.h"
#include "internal.h"

#define JWKS_PATH "/.well-known/pomerium/jwks.json"
#define ALLOW "GET, HEAD, OPTIONS"

static enum tg_well_known find(struct tg_exchange *ex)
{
    static const struct tg_slice resource = TG_S_INIT(TG_RESOURCE_PATH);
    struct tg_signing *signing = ex->gate->shared->auth.signing;
    struct tg_slice rest;

    if (tg_slice_eq(ex->path, TG_S(JWKS_PATH)))
        return signing && tg_signing_is_on(signing) ? TG_WELL_KNOWN_JWKS : TG_WELL_KNOWN_NONE;
    if (!tg_slice_starts_with(ex->path, resource))
        return TG_WELL_KNOWN_NONE;
    rest = tg_slice(ex->path.ptr + resource.len, ex->path.len - resource.len);
    if (rest.len == 0 || rest.ptr[0] == '/')
        ex->described = tg_routes_of_resource(ex->rt->config->routes, ex->host, ex->port, rest);
    return ex->described ? TG_WELL_KNOWN_RESOURCE : TG_WELL_KNOWN_NONE;
}

bool tg_well_known(struct tg_exchange *ex)
{
    ex->well_known = (uint8_t)find(ex);
    if (ex->well_known == TG_WELL_KNOWN_NONE)
        return false;
    ex->state = EX_LIMIT;
    return true;
}

void tg_well_known_admitted(struct tg_exchange *ex)
{
    unsigned method = ex->head.method_id;

    if (method != TG_METHOD_GET && method != TG_METHOD_HEAD && method != TG_METHOD_OPTIONS)
        tg_exchange_refuse(ex, TG_REFUSE_METHOD);
    else
        ex->state = EX_SERVE;
}

struct tg_slice tg_allowed_methods(const struct tg_exchange *ex)
{
    return ex->well_known ? TG_S(ALLOW) : TG_S("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}

/* Scripts of any origin may read it: there is nothing of a caller in it. */
static const struct tg_field any_origin = {TG_S_INIT("Access-Control-Allow-Origin"), TG_S_INIT("*"), TG_FIELD_OTHER};

static void serve_preflight(struct tg_exchange *ex)
{
    const struct tg_field fields[] = {
        any_origin,
        {TG_S("Allow"), TG_S(ALLOW), TG_FIELD_OTHER},
        {TG_S("Access-Control-Allow-Methods"), TG_S(ALLOW), TG_FIELD_OTHER},
        {TG_S("Access-Control-Allow-Headers"), TG_S("*"), TG_FIELD_OTHER},
        {TG_S("Access-Control-Max-Age"), TG_S("300"), TG_FIELD_OTHER},
    };

    tg_answer(ex, 204, fields, ARRAY_LEN(fields), TG_S(""));
}

void tg_serve_well_known(struct tg_exchange *ex)
{
    bool jwks = ex->well_known == TG_WELL_KNOWN_JWKS;
    struct tg_slice caching = jwks ? TG_S("max-age=60") : TG_S("max-age=300");

    if (!jwks && tg_resource_is_told(ex, ex->described)) /* no shared cache would know whom to give it to */
        caching = TG_S("private, max-age=300");

    const struct tg_field fields[] = {
        {TG_S("Content-Type"), TG_S("application/json"), TG_FIELD_CONTENT_TYPE},
        {TG_S("Cache-Control"), caching, TG_FIELD_CACHE_CONTROL},
        any_origin,
    };
    struct tg_buf body = {0};

    if (ex->head.method_id == TG_METHOD_OPTIONS) {
        serve_preflight(ex);
        return;
    }
    if (jwks)
        tg_signing_jwks(ex->gate->shared->auth.signing, ex->wall_ms, &body);
    else
        tg_resource_document(ex, ex->described, &body);
    tg_answer(ex, 200, fields, ARRAY_LEN(fields), tg_arena_dup(&ex->arena, tg_buf_slice(&body)));
    tg_buf_fini(&body);
}
