/*
 * identity_fields - what the upstream is told of who calls: claims by jwt_claims_headers, the signed assertion, the
 * fields of pass_user_headers.
 *
 * A value arrives as it is or not at all: what cannot stand in a field, would lose blanks at its ends there, or is
 * longer than servers take is left empty (a configured claim, which is always sent) or out. The client's own fields of
 * these names never pass (http/forward).
 */
#include "base/hash.h"
#include "internal.h"

#define USER_FIELDS 4

struct fields {                                          /* being written */
    struct tg_exchange *ex;
    struct tg_field *items;
    size_t count;
};

/* Told once: a service that is not told who calls refuses him, and nobody there knows why. */
static void tell(struct tg_exchange *ex, struct tg_slice name, const char *why)
{
    if (ex->rt->told_identity)
        return;
    ex->rt->told_identity = true;
    tg_log(TG_LOG_WARN, "a claim does not fit into a field: the service is not told", TG_F_SLICE("field", name),
           TG_F_STR("reason", why), TG_F_SLICE("route", ex->route->name),
           TG_F_SLICE("token_id", ex->identity->token_id));
}

static bool may_stand(struct tg_exchange *ex, struct tg_slice name, struct tg_slice v)
{
    bool fits = v.len <= TG_IDENTITY_VALUE_BYTES;
    bool may = fits && tg_is_field_value(v);

    if (!may)
        tell(ex, name, fits ? "no field can hold it as it is" : "too long");
    return may;
}

static void add(struct fields *f, struct tg_slice name, struct tg_slice value)
{
    f->items[f->count++] = (struct tg_field){.name = name, .value = value};
}

static bool is_there(const struct fields *f, struct tg_slice name)
{
    for (size_t i = 0; i < f->count; i++)
        if (tg_slice_eq_nocase(f->items[i].name, name))
            return true;
    return false;
}

/* ---- values ---- */

/* Groups that the service is told of, joined by ",". `whole`: without those that hold a comma themselves. */
static struct tg_slice join_groups(struct tg_exchange *ex, const struct tg_claim *groups, bool whole)
{
    const struct tg_strings *filter = &ex->route->groups_filter;
    size_t len = 0;
    char *text, *p;

    for (size_t i = 0; i < groups->count; i++)
        len += groups->values[i].str.len + 1;
    text = p = tg_arena_raw(&ex->arena, len);
    for (size_t i = 0; i < groups->count; i++) {
        struct tg_slice group = groups->values[i].str;

        if (!group.ptr || (whole && memchr(group.ptr, ',', group.len)) || !tg_groups_filter_passes(filter, group))
            continue;
        if (p > text)
            *p++ = ',';
        memcpy(p, group.ptr, group.len);
        p += group.len;
    }
    return tg_slice(text, (size_t)(p - text));
}

static struct tg_slice claim_value(struct tg_exchange *ex, struct tg_slice name)
{
    const struct tg_claim *claim = tg_claims_get(ex->identity->claims, name, tg_hash_slice(name));
    struct tg_buf *scratch = &ex->gate->out;             /* the head that goes out is not begun */

    if (!claim)
        return TG_S("");
    if (ex->route->groups_filter.count && claim == tg_identity_groups(ex->identity))
        return join_groups(ex, claim, false);
    if (claim->count == 1 && claim->values[0].str.ptr)
        return claim->values[0].str;                     /* as long as the identity, which the exchange holds */
    scratch->len = 0;
    tg_claims_join(claim, scratch);
    return tg_arena_dup(&ex->arena, tg_buf_slice(scratch));
}

/* ---- fields ---- */

/* A configured name is always sent, empty when there is no such claim or it cannot stand in a field. */
static void add_claims(struct fields *f)
{
    const struct tg_string_map *map = &f->ex->rt->config->route_defaults.claims_headers;

    for (size_t i = 0; i < map->count; i++) {
        struct tg_slice value = f->ex->identity ? claim_value(f->ex, map->values[i]) : TG_S("");

        add(f, map->names[i], may_stand(f->ex, map->names[i], value) ? value : TG_S(""));
    }
}

/*
 * Whom the assertion is for: the route's host; of a route for several the one that was asked for, which is among them.
 * A route for any host is named by its own name: else a client could choose for whom tollgate signs.
 */
static struct tg_slice audience_of(struct tg_exchange *ex)
{
    struct tg_slice host = ex->route->from_host;
    char *lower;

    if (host.len == 0)
        return ex->route->name;
    if (host.ptr[0] != '.')
        return host;
    lower = tg_arena_raw(&ex->arena, ex->host.len);
    for (size_t i = 0; i < ex->host.len; i++)
        lower[i] = (char)(ex->host.ptr[i] >= 'A' && ex->host.ptr[i] <= 'Z' ? ex->host.ptr[i] + 32 : ex->host.ptr[i]);
    return tg_slice(lower, ex->host.len);
}

/* "https://AUDIENCE/" */
static struct tg_slice issuer_uri(struct tg_exchange *ex, struct tg_slice audience)
{
    static const struct tg_slice scheme = TG_S_INIT("https://");
    char *text = tg_arena_raw(&ex->arena, scheme.len + audience.len + 1);

    memcpy(text, scheme.ptr, scheme.len);
    memcpy(text + scheme.len, audience.ptr, audience.len);
    text[scheme.len + audience.len] = '/';
    return tg_slice(text, scheme.len + audience.len + 1);
}

static void add_assertion(struct fields *f)
{
    struct tg_exchange *ex = f->ex;
    struct tg_assertion_subject subject = {
        .identity = ex->identity,
        .claims_headers = &ex->rt->config->route_defaults.claims_headers,
        .groups_filter = &ex->route->groups_filter,
        .audience = audience_of(ex),
    };
    struct tg_slice token;

    if (!ex->identity || !ex->rt->assertions)
        return;
    subject.issuer = ex->route->issuer_is_uri ? issuer_uri(ex, subject.audience) : subject.audience;
    token = tg_assertions_get(ex->rt->assertions, &subject, tg_worker_wall_ms(ex->gate->worker));
    if (token.len)
        add(f, TG_S("X-Pomerium-Jwt-Assertion"), token);
}

static void add_user(struct fields *f, struct tg_slice name, struct tg_slice value)
{
    if (value.len && !is_there(f, name) && may_stand(f->ex, name, value))
        add(f, name, value);
}

static void add_users(struct fields *f)
{
    const struct tg_identity *id = f->ex->identity;
    const struct tg_claim *groups = tg_identity_groups(id);

    add_user(f, TG_S("X-Forwarded-User"), id->subject);
    add_user(f, TG_S("X-Forwarded-Email"), id->email);
    if (groups)
        add_user(f, TG_S("X-Forwarded-Groups"), join_groups(f->ex, groups, true));
    add_user(f, TG_S("X-Forwarded-Preferred-Username"), tg_claims_text(id->claims, "preferred_username"));
}

size_t tg_identity_fields(struct tg_exchange *ex, struct tg_field **out)
{
    const struct tg_route *route = ex->route;
    struct fields f = {.ex = ex};

    if (!route->pass_identity_headers && !(route->pass_user_headers && ex->identity))
        return 0;
    f.items = tg_arena_raw(&ex->arena, sizeof(*f.items) * (ex->rt->config->route_defaults.claims_headers.count + 1 +
                                                           USER_FIELDS));
    if (route->pass_identity_headers) {
        add_claims(&f);
        add_assertion(&f);
    }
    if (route->pass_user_headers && ex->identity)
        add_users(&f);
    *out = f.items;
    return f.count;
}
