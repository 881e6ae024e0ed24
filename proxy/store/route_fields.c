/*
 * route_fields - what a route sets and removes of a message's header, compiled for http/forward.
 */
#include "http/h1_parse.h"
#include "internal.h"

/* RFC 9110 §5.5: no control but a tab inside, no white space at the ends. */
static bool is_field_value(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return tg_slice_trim(s).len == s.len;
}

/* "$$" to "$". False for a "${", which begins a template. */
static bool unfold_dollars(struct tg_slice text, struct tg_arena *arena, struct tg_slice *out)
{
    char *copy = tg_arena_raw(arena, text.len);
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        char next = i + 1 < text.len ? text.ptr[i + 1] : 0;

        if (text.ptr[i] == '$' && next == '{')
            return false;
        if (text.ptr[i] == '$' && next == '$')
            i++;
        copy[n++] = text.ptr[i];
    }
    *out = tg_slice(copy, n);
    return true;
}

static bool name_is_settable(const struct route_reader *r, const char *setting, struct tg_slice name)
{
    if (!tg_is_token(name))
        route_problem(r, setting, "\"" TG_S_FMT "\" is no header field name", TG_S_ARG(name));
    else if (!tg_forward_may_set(name))
        route_problem(r, setting, TG_S_FMT " is written by tollgate itself", TG_S_ARG(name));
    else
        return true;
    return false;
}

static struct tg_field_set read_set(const struct route_reader *r, const char *setting, const struct tg_string_map *map,
                                    bool dollars)
{
    struct tg_field *items = TG_ARENA_ARRAY(r->arena, struct tg_field, map->count);
    size_t count = 0;

    for (size_t i = 0; i < map->count; i++) {
        struct tg_slice name = map->names[i], value = map->values[i];

        if (!name_is_settable(r, setting, name))
            continue;
        if (dollars && !unfold_dollars(value, r->arena, &value)) {
            route_problem(r, setting, TG_S_FMT
                          ": templates such as ${pomerium.jwt} are not supported yet; a dollar sign is $$",
                          TG_S_ARG(name));
            continue;
        }
        if (!is_field_value(value)) {
            route_problem(r, setting, TG_S_FMT ": control characters and spaces at the ends are not allowed in a value",
                          TG_S_ARG(name));
            continue;
        }
        for (size_t j = 0; j < count; j++)
            if (tg_slice_eq_nocase(items[j].name, name))
                route_problem(r, setting, TG_S_FMT " is there twice", TG_S_ARG(name));
        items[count++] = (struct tg_field){.name = name, .value = value, .id = (uint16_t)tg_field_id(name)};
    }
    return (struct tg_field_set){items, count};
}

/* What a client may not send: identity fields, and with upstream_auth what says more about his own token. */
static struct tg_strings unwanted(const struct route_reader *r, const struct tg_route *route)
{
    static const struct tg_slice of_tokens[] = {TG_S_INIT("dpop"), TG_S_INIT("x-zitadel-orgid")};
    const struct tg_string_map *claims = &r->defaults->claims_headers;
    struct tg_strings out = {claims->names, claims->count, true};

    if (!route->upstream_auth)
        return out;
    out.items = TG_ARENA_ARRAY(r->arena, struct tg_slice, claims->count + ARRAY_LEN(of_tokens));
    out.count = 0;
    for (size_t i = 0; i < claims->count; i++)
        out.items[out.count++] = claims->names[i];
    for (size_t i = 0; i < ARRAY_LEN(of_tokens); i++)
        out.items[out.count++] = of_tokens[i];
    return out;
}

void route_read_fields(const struct route_reader *r, const struct route_text *text, struct tg_route *out)
{
    const struct tg_strings *removed = &text->remove_request_headers;
    size_t errors = r->problems->errors;

    for (size_t i = 0; i < removed->count; i++)
        name_is_settable(r, "remove_request_headers", removed->items[i]);
    struct tg_strings names = unwanted(r, out);
    struct tg_forward_options options = {
        .identity_names = names.items,
        .identity_count = names.count,
        .remove_request = removed->items,
        .remove_request_count = removed->count,
        .set_request = read_set(r, "set_request_headers", &text->set_request_headers, true),
        .set_response = read_set(r, "set_response_headers", &text->set_response_headers, false),
        .strip_authorization = out->strip_authorization,
    };
    if (r->problems->errors == errors)
        out->forward = tg_forward_compile(&options, r->arena);
}
