/*
 * forward - see http/forward.h.
 */
#include "http/forward.h"
#include "base/err.h"
#include "forward_names.h"

#define OURS_MAX 16                                      /* fields the proxy adds of its own */
#define NAMED_MAX 64                                     /* h1_parse refuses more Connection options */
#define B(id) (UINT64_C(1) << TG_FIELD_##id)

/* What Connection names in one message (RFC 9110 §7.6.1). */
struct named {
    uint64_t ids;
    struct tg_slice names[NAMED_MAX];                    /* those without an id */
    unsigned count;
    bool too_many;
};

static void read_named(const struct tg_head *in, struct named *named)
{
    struct tg_slice rest, option;

    named->ids = 0;
    named->count = 0;
    named->too_many = false;
    if (!(in->seen & B(CONNECTION)))
        return;
    for (unsigned i = 0; i < in->field_count; i++) {
        if (in->fields[i].id != TG_FIELD_CONNECTION)
            continue;
        for (rest = in->fields[i].value; tg_list_next(&rest, &option);) {
            unsigned id = tg_field_id(option);

            if (id != TG_FIELD_OTHER)
                named->ids |= field_bit(id);
            else if (named->count < NAMED_MAX)
                named->names[named->count++] = option;
            else
                named->too_many = true;
        }
    }
}

static bool is_named(const struct named *named, struct tg_slice name)
{
    for (unsigned i = 0; i < named->count; i++)
        if (tg_forward_same_name(named->names[i], name))
            return true;
    return named->too_many;                              /* fail closed: no unknown field goes on */
}

static struct tg_field *make_room(struct tg_head *out, struct tg_arena *arena, size_t cap)
{
    out->field_cap = (unsigned)cap;
    out->field_count = 0;
    out->seen = 0;
    return out->fields = tg_arena_raw(arena, cap * sizeof(struct tg_field));
}

static void add(struct tg_head *out, const struct tg_field *f)
{
    out->fields[out->field_count++] = *f;
    out->seen |= field_bit(f->id);
}

static void add_ours(struct tg_head *out, unsigned id, struct tg_slice value)
{
    bool added = tg_head_add_id(out, id, value);

    tg_assert(added);
}

/* Every request passes here, and printf is slow. */
static size_t put_address(char *out, const struct tg_ip *ip)
{
    char *o = out;

    if (ip->family != 4)
        return tg_ip_format(ip, out);
    for (int i = 0; i < 4; i++) {
        unsigned n = ip->bytes[i];

        if (i > 0)
            *o++ = '.';
        if (n >= 100)
            *o++ = (char)('0' + n / 100);
        if (n >= 10)
            *o++ = (char)('0' + n / 10 % 10);
        *o++ = (char)('0' + n % 10);
    }
    return (size_t)(o - out);
}

/* X-Forwarded-For: what a trusted peer sent, then the peer; else the peer alone. */
static struct tg_slice forwarded_for(const struct tg_head *in, const struct tg_forward_request *request,
                                     struct tg_arena *arena)
{
    bool continued = request->peer_trusted && (in->seen & B(X_FORWARDED_FOR));
    size_t room = TG_IP_TEXT;
    char *text, *o;

    for (unsigned i = 0; continued && i < in->field_count; i++)
        if (in->fields[i].id == TG_FIELD_X_FORWARDED_FOR)
            room += in->fields[i].value.len + 2;
    text = o = tg_arena_raw(arena, room);
    for (unsigned i = 0; continued && i < in->field_count; i++) {
        struct tg_slice value = in->fields[i].value;

        if (in->fields[i].id != TG_FIELD_X_FORWARDED_FOR || value.len == 0)
            continue;
        o = mempcpy(o, value.ptr, value.len);
        o = mempcpy(o, ", ", 2);
    }
    if (request->client.family != 0)
        o += put_address(o, &request->client);
    else if (o > text)
        o -= 2;                                          /* a unix socket has no address to add */
    return tg_slice(text, (size_t)(o - text));
}

static bool is_set_by(const struct tg_field *fields, size_t count, struct tg_slice name)
{
    for (size_t i = 0; i < count; i++)
        if (tg_forward_same_name(fields[i].name, name))
            return true;
    return false;
}

/* Fields of the connection and of the way: Via, X-Forwarded-*, X-Request-Id, trace, TE, Upgrade. */
static void add_way(const struct tg_forward_rules *rules, const struct tg_head *in,
                    const struct tg_forward_request *request, struct tg_arena *arena, struct tg_head *out)
{
    uint64_t have = rules->not_ours | out->seen;         /* what a trusted peer said of Host and Proto stays */
    bool trailers = tg_field_lists(in, TG_FIELD_TE, TG_S("trailers"));

    if (!(rules->not_ours & B(VIA)))                     /* RFC 9110 §7.6.3: the version it was received with */
        add_ours(out, TG_FIELD_VIA, in->minor == 0 ? TG_S("1.0 tollgate") : in->minor == 1 ? TG_S("1.1 tollgate")
                                                                                           : TG_S("2.0 tollgate"));
    if (!(have & B(X_FORWARDED_FOR))) {
        struct tg_slice list = forwarded_for(in, request, arena);

        if (list.len > 0)
            add_ours(out, TG_FIELD_X_FORWARDED_FOR, list);
    }
    if (!(have & B(X_FORWARDED_PROTO)))
        add_ours(out, TG_FIELD_X_FORWARDED_PROTO, request->tls ? TG_S("https") : TG_S("http"));
    if (!(have & B(X_FORWARDED_HOST)) && request->client_authority.len > 0)
        add_ours(out, TG_FIELD_X_FORWARDED_HOST, request->client_authority);
    if (!(have & B(X_REQUEST_ID)) && request->request_id.len > 0)
        add_ours(out, TG_FIELD_X_REQUEST_ID, request->request_id);
    if (!(have & B(TRACEPARENT)) && request->traceparent.len > 0)
        add_ours(out, TG_FIELD_TRACEPARENT, request->traceparent);
    if (trailers)
        add_ours(out, TG_FIELD_TE, TG_S("trailers"));
    if (request->upgrade_websocket) {
        add_ours(out, TG_FIELD_CONNECTION, trailers ? TG_S("Upgrade, TE") : TG_S("Upgrade"));
        add_ours(out, TG_FIELD_UPGRADE, TG_S("websocket"));
    } else if (trailers) {
        add_ours(out, TG_FIELD_CONNECTION, TG_S("TE"));  /* RFC 9110 §10.1.4 */
    }
}

void tg_forward_request(const struct tg_forward_rules *rules, const struct tg_head *in,
                        const struct tg_forward_request *request, struct tg_arena *arena, struct tg_head *out)
{
    uint64_t drop = rules->drop_always;
    struct named named;

    read_named(in, &named);
    drop |= named.ids;
    if (!request->peer_trusted)
        drop |= rules->drop_untrusted;
    if (!request->trace_continued)
        drop |= B(TRACESTATE);
    *out = *in;
    make_room(out, arena, in->field_count + rules->set_request.count + request->identity_count + OURS_MAX);
    out->authority = request->host;
    out->expect_continue = false;
    add_ours(out, TG_FIELD_HOST, request->host);
    for (const struct tg_field *f = in->fields, *end = f + in->field_count; f < end; f++) {
        if (f->id != TG_FIELD_OTHER) {
            if (!(drop & field_bit(f->id)))
                add(out, f);
        } else if (!tg_forward_drops(rules, f->name, request->peer_trusted) && !is_named(&named, f->name)) {
            add(out, f);
        }
    }
    out->seen &= ~field_bit(TG_FIELD_OTHER);
    for (size_t i = 0; i < rules->set_request.count; i++)
        if (!is_set_by(request->identity, request->identity_count, rules->set_request.items[i].name))
            add(out, &rules->set_request.items[i]);
    for (size_t i = 0; i < request->identity_count; i++)
        add(out, &(struct tg_field){request->identity[i].name, request->identity[i].value,
                                    (uint16_t)tg_field_id(request->identity[i].name)});
    add_way(rules, in, request, arena, out);
    out->seen &= ~field_bit(TG_FIELD_OTHER);
}

#define HOP_RESPONSE                                                                                       \
    (B(CONNECTION) | B(CONTENT_LENGTH) | B(HTTP2_SETTINGS) | B(KEEP_ALIVE) | B(PROXY_AUTHENTICATE) |        \
     B(PROXY_AUTHORIZATION) | B(PROXY_CONNECTION) | B(TE) | B(TRAILER) | B(TRANSFER_ENCODING) | B(UPGRADE))
#define X_RATE_LIMIT (B(X_RATELIMIT_LIMIT) | B(X_RATELIMIT_REMAINING) | B(X_RATELIMIT_RESET))
#define RATE_LIMIT (B(RATELIMIT) | B(RATELIMIT_POLICY))

static unsigned id_of(const struct tg_field *f)
{
    return f->id != TG_FIELD_OTHER ? f->id : tg_field_id(f->name);
}

void tg_forward_response(const struct tg_forward_rules *rules, const struct tg_head *in, const struct tg_field *extra,
                         size_t extra_count, struct tg_slice date, struct tg_arena *arena, struct tg_head *out)
{
    bool interim = in->status < 200 && in->status != 101;
    struct tg_field_set set = interim ? (struct tg_field_set){0} : rules->set_response;
    uint64_t drop = HOP_RESPONSE | (interim ? 0 : rules->set_response_ids), replaced = 0;
    struct named named;

    read_named(in, &named);
    for (size_t i = 0; i < extra_count; i++)
        replaced |= field_bit(id_of(&extra[i]));
    if (replaced & X_RATE_LIMIT)                         /* never some of ours beside some of the upstream's */
        replaced |= X_RATE_LIMIT;
    if (replaced & RATE_LIMIT)
        replaced |= RATE_LIMIT;
    replaced &= ~field_bit(TG_FIELD_OTHER);
    drop |= named.ids | replaced;
    *out = *in;
    make_room(out, arena, in->field_count + set.count + extra_count + OURS_MAX);
    for (const struct tg_field *f = in->fields, *end = f + in->field_count; f < end; f++) {
        if (f->id != TG_FIELD_OTHER) {
            if (!(drop & field_bit(f->id)))
                add(out, f);
        } else if (!is_named(&named, f->name) && !is_set_by(set.items, set.count, f->name) &&
                   !is_set_by(extra, extra_count, f->name)) {
            add(out, f);
        }
    }
    for (size_t i = 0; i < set.count; i++)
        if (!(replaced & field_bit(set.items[i].id)) && !is_set_by(extra, extra_count, set.items[i].name))
            add(out, &set.items[i]);
    for (size_t i = 0; i < extra_count; i++)
        add(out, &(struct tg_field){extra[i].name, extra[i].value, (uint16_t)id_of(&extra[i])});
    if (!interim && !(out->seen & B(DATE)) && date.len > 0)
        add_ours(out, TG_FIELD_DATE, date);
    out->seen &= ~field_bit(TG_FIELD_OTHER);
}

/* RFC 9110 §6.5.1: what frames, routes, authenticates, or says how to read the content has no place behind it. */
static bool may_trail(const struct tg_forward_rules *rules, const struct tg_field *f)
{
    static const struct tg_slice never[] = {
        TG_S_INIT("age"), TG_S_INIT("allow"), TG_S_INIT("expires"), TG_S_INIT("location"), TG_S_INIT("max-forwards"),
        TG_S_INIT("pragma"), TG_S_INIT("range"), TG_S_INIT("set-cookie"), TG_S_INIT("vary"), TG_S_INIT("warning"),
        TG_S_INIT("authentication-info"), TG_S_INIT("proxy-authentication-info"),
        TG_S_INIT("strict-transport-security"),
    };
    static const struct tg_slice prefixes[] = {
        TG_S_INIT("content-"), TG_S_INIT("if-"), TG_S_INIT("sec-"), TG_S_INIT("access-control-"),
    };

    if (f->id != TG_FIELD_OTHER || tg_field_id(f->name) != TG_FIELD_OTHER || tg_forward_drops(rules, f->name, false))
        return false;                                    /* every known name is of that kind */
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (tg_forward_same_name(f->name, never[i]))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (f->name.len > prefixes[i].len && tg_forward_same_name(tg_slice(f->name.ptr, prefixes[i].len), prefixes[i]))
            return false;
    return !is_set_by(rules->set_response.items, rules->set_response.count, f->name);
}

void tg_forward_trailers(const struct tg_forward_rules *rules, struct tg_head *trailers)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < trailers->field_count; i++)
        if (may_trail(rules, &trailers->fields[i]))
            trailers->fields[kept++] = trailers->fields[i];
    trailers->field_count = kept;
    trailers->seen = 0;
}
