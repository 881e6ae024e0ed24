/*
 * forward_names - see forward_names.h.
 *
 * A known field is judged by one bit of a mask. An unknown one costs a look at its length and three of its octets; only
 * when a listed name could be meant is it compared. Spelling variants ("X_Forwarded_For", "X~Forwarded~For") of listed
 * or known names are dropped: servers fold them together, of CGI's kind whatever is no letter or digit.
 */
#include "forward_names.h"
#include "base/err.h"
#include "http/h1_parse.h"

static const struct tg_slice identity_prefixes[] = {
    TG_S_INIT("x-pomerium-"), TG_S_INIT("x-tollgate-"), TG_S_INIT("x-auth-request-"), TG_S_INIT("x-remote-"),
    TG_S_INIT("x-goog-"), TG_S_INIT("x-amzn-oidc-"), TG_S_INIT("cf-access-"), TG_S_INIT("x-forwarded-user"),
    TG_S_INIT("x-forwarded-email"), TG_S_INIT("x-forwarded-groups"), TG_S_INIT("x-forwarded-preferred-username"),
    TG_S_INIT("x-forwarded-access-token"), TG_S_INIT("remote-user"), TG_S_INIT("remote-email"),
    TG_S_INIT("remote-groups"), TG_S_INIT("remote-name"),
};

static char fold(char c)
{
    char lower = ascii_lower(c);

    return (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ? lower : '-';
}

bool tg_forward_same_name(struct tg_slice a, struct tg_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (fold(a.ptr[i]) != fold(b.ptr[i]))
            return false;
    return true;
}

static bool starts_with(struct tg_slice name, struct tg_slice prefix)
{
    return name.len >= prefix.len && tg_forward_same_name(tg_slice(name.ptr, prefix.len), prefix);
}

bool tg_forward_is_identity(struct tg_slice name)
{
    char third = name.len > 2 ? fold(name.ptr[2]) : 0;   /* tells most apart at once */

    for (size_t i = 0; i < ARRAY_LEN(identity_prefixes); i++)
        if (identity_prefixes[i].ptr[2] == third && starts_with(name, identity_prefixes[i]))
            return true;
    return false;
}

/* Which bit of the filter stands for names like this one. */
static unsigned filter_bit(struct tg_slice name)
{
    unsigned first = (uint8_t)fold(name.ptr[0]), last = (uint8_t)fold(name.ptr[name.len - 1]);
    unsigned middle = (uint8_t)fold(name.ptr[name.len / 2]);

    return ((unsigned)name.len * 37 + first * 5 + last * 131 + middle * 17) % (FILTER_WORDS * 64);
}

bool tg_forward_drops(const struct tg_forward_rules *rules, struct tg_slice name, bool peer_trusted)
{
    unsigned bit;

    if (name.len == 0)
        return true;
    switch (name.ptr[0] | 0x20) {
    case 'x':
        if (!peer_trusted && starts_with(name, TG_S("x-forwarded-")))
            return true;
        if (tg_forward_is_identity(name))
            return true;
        break;
    case 'c':
    case 'r':
        if (tg_forward_is_identity(name))
            return true;
        break;
    case 'p':
        if (starts_with(name, TG_S("proxy-")))
            return true;
        break;
    default:
        break;
    }
    bit = filter_bit(name);
    if (!(rules->filter[bit / 64] >> bit % 64 & 1))
        return false;
    for (size_t i = 0; i < rules->name_count; i++)
        if (tg_forward_same_name(rules->names[i], name))
            return true;
    return false;
}

/* Ids of what is said between two neighbours only (RFC 9110 §7.6.1) or written by the proxy itself. */
#define B(id) (UINT64_C(1) << TG_FIELD_##id)
#define FRAMED                                                                                     \
    (B(CONNECTION) | B(CONTENT_LENGTH) | B(EXPECT) | B(HOST) | B(HTTP2_SETTINGS) | B(KEEP_ALIVE) |  \
     B(PROXY_AUTHENTICATE) | B(PROXY_AUTHORIZATION) | B(PROXY_CONNECTION) | B(TE) | B(TRAILER) |    \
     B(TRANSFER_ENCODING) | B(UPGRADE))
#define UNTRUSTED (B(FORWARDED) | B(X_FORWARDED_HOST) | B(X_FORWARDED_PORT) | B(X_FORWARDED_PROTO) | B(X_REAL_IP))

/* The known name that `name` is a spelling of, "_" and "." folded; OTHER when none. */
static unsigned folded_id(struct tg_slice name)
{
    for (unsigned id = 1; id < TG_FIELD_COUNT; id++)
        if (tg_forward_same_name(name, tg_field_name(id)))
            return id;
    return TG_FIELD_OTHER;
}

bool tg_forward_may_set(struct tg_slice name)
{
    return tg_is_token(name) && !(field_bit(folded_id(name)) & FRAMED) && !starts_with(name, TG_S("proxy-")) &&
           !tg_forward_same_name(name, TG_S("proxy"));
}

struct list {                                            /* names being collected */
    struct tg_slice *items;
    size_t count;
};

static void add_name(struct tg_forward_rules *rules, struct list *list, struct tg_slice name, struct tg_arena *arena)
{
    unsigned bit;

    if (name.len == 0)
        return;
    bit = filter_bit(name);
    rules->filter[bit / 64] |= UINT64_C(1) << bit % 64;
    list->items[list->count++] = tg_arena_dup(arena, name);
}

/* A configured name that the client may not send. */
static void drop_name(struct tg_forward_rules *rules, struct list *list, struct tg_slice name, struct tg_arena *arena)
{
    unsigned id = folded_id(name);

    if (id != TG_FIELD_OTHER)
        rules->drop_always |= field_bit(id);
    add_name(rules, list, name, arena);
}

static struct tg_field_set copy_set(const struct tg_field_set *set, uint64_t *ids, struct tg_arena *arena)
{
    struct tg_field *items = TG_ARENA_ARRAY(arena, struct tg_field, set->count);

    for (size_t i = 0; i < set->count; i++) {
        unsigned id = tg_field_id(set->items[i].name);

        items[i] = (struct tg_field){tg_arena_dup(arena, set->items[i].name), tg_arena_dup(arena, set->items[i].value),
                                     (uint16_t)id};
        if (id != TG_FIELD_OTHER)
            *ids |= field_bit(id);
    }
    return (struct tg_field_set){items, set->count};
}

struct tg_forward_rules *tg_forward_compile(const struct tg_forward_options *options, struct tg_arena *arena)
{
    struct tg_forward_rules *rules = TG_ARENA_NEW(arena, struct tg_forward_rules);
    struct list list = {.items = TG_ARENA_ARRAY(arena, struct tg_slice, TG_FIELD_COUNT + 1 + options->identity_count +
                                                options->remove_request_count + options->set_request.count)};

    /* Ours are written anew: X-Forwarded-For continued, tracestate decided by the request. */
    rules->drop_always = FRAMED | B(X_FORWARDED_FOR) | B(X_REQUEST_ID) | B(TRACEPARENT);
    rules->drop_untrusted = UNTRUSTED;
    if (options->strip_authorization)
        rules->drop_always |= B(AUTHORIZATION) | B(DPOP); /* a proof is worth nothing without its token */
    for (unsigned id = 1; id < TG_FIELD_COUNT; id++)
        if (memchr(tg_field_name(id).ptr, '-', tg_field_name(id).len))
            add_name(rules, &list, tg_field_name(id), arena);
    add_name(rules, &list, TG_S("proxy"), arena);        /* becomes HTTP_PROXY in a CGI environment */
    for (size_t i = 0; i < options->identity_count; i++)
        drop_name(rules, &list, options->identity_names[i], arena);
    for (size_t i = 0; i < options->remove_request_count; i++) {
        drop_name(rules, &list, options->remove_request[i], arena);
        rules->not_ours |= field_bit(folded_id(options->remove_request[i]));
    }
    rules->set_request = copy_set(&options->set_request, &rules->not_ours, arena);
    for (size_t i = 0; i < options->set_request.count; i++)
        drop_name(rules, &list, options->set_request.items[i].name, arena);
    rules->set_response = copy_set(&options->set_response, &rules->set_response_ids, arena);
    rules->not_ours &= ~(field_bit(TG_FIELD_OTHER) | FRAMED);
    rules->names = list.items;
    rules->name_count = list.count;
    return rules;
}
