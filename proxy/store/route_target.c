/*
 * route_target - the two URLs of a route: `from`, which is matched, and `to`, where requests go.
 */
#include "internal.h"

/* Schemes that Pomerium knows and tollgate does not, so that the message can say so. */
static bool is_foreign_scheme(struct tg_slice text)
{
    static const struct tg_slice known[] = {
        TG_S_INIT("tcp"), TG_S_INIT("udp"), TG_S_INIT("tcp+https"), TG_S_INIT("udp+https"), TG_S_INIT("tcp+http"),
        TG_S_INIT("https+unix"), TG_S_INIT("http+unix"), TG_S_INIT("h2c"), TG_S_INIT("ssh"), TG_S_INIT("ws"),
        TG_S_INIT("wss"),
    };
    struct tg_slice scheme, rest;

    if (!tg_slice_cut(text, ':', &scheme, &rest))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (tg_slice_eq_nocase(scheme, known[i]))
            return true;
    return false;
}

/* ---- from ---- */

bool host_fold(struct tg_slice host, char out[static HOST_MAX + 1], struct tg_slice *folded)
{
    struct tg_ip ip;

    _Static_assert(TG_IP_TEXT <= HOST_MAX + 1, "an address fits where a host does");
    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    if (host.len > HOST_MAX)
        return false;
    if (host.len > 0 && memchr(host.ptr, ':', host.len) && tg_ip_parse(host, &ip)) {
        *folded = tg_slice(out, tg_ip_format(&ip, out));
        return true;
    }
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];

        out[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    *folded = tg_slice(out, host.len);
    return true;
}

/* Cuts a leading "*." off the host, as a URL parser need not take an asterisk. Returns whether there was one. */
static bool take_wildcard(struct tg_slice text, struct tg_arena *arena, struct tg_slice *out)
{
    struct tg_slice scheme, rest;

    *out = text;
    if (!tg_slice_cut(text, ':', &scheme, &rest) || !tg_slice_starts_with(rest, TG_S("//*.")))
        return false;
    *out = tg_arena_printf(arena, TG_S_FMT "://" TG_S_FMT, TG_S_ARG(scheme), (int)rest.len - 4, rest.ptr + 4);
    return true;
}

void route_read_from(const struct route_reader *r, struct tg_slice text, struct tg_route *out)
{
    char buf[HOST_MAX + 1];
    struct tg_slice plain, host;
    struct tg_url url;
    struct tg_err err;
    bool wildcard = take_wildcard(text, r->arena, &plain);

    if (is_foreign_scheme(text))
        route_problem(r, "from", "only http and https are supported");
    else if (plain.len > 0 && memchr(plain.ptr, '*', plain.len))
        route_problem(r, "from", "a wildcard stands for the leftmost label only, as in https://*.example.com");
    else if (tg_url_parse(plain, false, &url, &err) != TG_OK)
        route_problem(r, "from", "%s", err.text);
    else if (url.path.len > 0)
        route_problem(r, "from", "takes scheme, host and port only; say \"prefix: " TG_S_FMT "\" or \"path: " TG_S_FMT
                      "\" for the path", TG_S_ARG(url.path), TG_S_ARG(url.path));
    else if (memchr(plain.ptr, '?', plain.len))
        route_problem(r, "from", "takes scheme, host and port only, no query");
    else if (!host_fold(url.host, buf, &host) || host.len + wildcard > HOST_MAX || host.len == 0)
        route_problem(r, "from", "this host name is too long");
    else {
        out->from_host = tg_arena_printf(r->arena, "%s" TG_S_FMT, wildcard ? "." : "", TG_S_ARG(host));
        out->from_port = url.port_given ? url.port : -1;
        out->from_scheme = url.tls ? TG_S("https") : TG_S("http");
    }
}

/* ---- to ---- */

/* "URL,weight" as Pomerium writes it. `*weight` stays 0 when none is said. */
static bool cut_weight(const struct route_reader *r, struct tg_slice text, struct tg_slice *url, uint32_t *weight)
{
    struct tg_slice number;
    uint64_t value;

    *weight = 0;
    if (!tg_slice_cut(text, ',', url, &number))
        return true;
    if (!tg_slice_to_u64(tg_slice_trim(number), &value) || value < 1 || value > UINT32_MAX) {
        route_problem(r, "to", "after a comma comes the weight, 1 to %u; several URLs are a list", UINT32_MAX);
        return false;
    }
    *weight = (uint32_t)value;
    return true;
}

/* The path before the forwarded one: canonical, without the slash that the forwarded one starts with. */
static bool read_path(const struct route_reader *r, struct tg_target *target)
{
    struct tg_slice path = target->url.path, canonical, decoded;
    struct tg_err err;

    if (path.len == 0)
        return true;
    if (tg_uri_canonical_path(path, r->arena, &canonical, &decoded, &err) != TG_OK) {
        route_problem(r, "to", "%s", err.text);
        return false;
    }
    if (!tg_slice_eq(path, canonical)) {
        route_problem(r, "to", "the path \"" TG_S_FMT "\" is not in its canonical form; write \"" TG_S_FMT "\"",
                      TG_S_ARG(path), TG_S_ARG(canonical));
        return false;
    }
    if (path.ptr[path.len - 1] == '/')
        target->url.path.len--;
    return true;
}

static struct tg_slice authority_of(const struct tg_url *url, struct tg_arena *arena)
{
    bool v6 = memchr(url->host.ptr, ':', url->host.len) != NULL;
    struct tg_slice host = url->host;

    if (v6)
        host = tg_arena_printf(arena, "[" TG_S_FMT "]", TG_S_ARG(host));

    if (url->port == (url->tls ? 443 : 80))
        return tg_arena_dup(arena, host);
    return tg_arena_printf(arena, TG_S_FMT ":%u", TG_S_ARG(host), url->port);
}

/* One element of `to`. False when it added an error. */
static bool read_target(const struct route_reader *r, struct tg_slice text, struct tg_target *out, uint32_t *weight)
{
    struct tg_slice url;
    struct tg_err err;

    if (!cut_weight(r, tg_slice_trim(text), &url, weight))
        return false;
    out->weight = *weight ? *weight : 1;
    out->text = tg_arena_dup(r->arena, url);
    if (tg_slice_eq(out->text, TG_S("echo:"))) {
        out->echo = true;
        return true;
    }
    if (is_foreign_scheme(out->text)) {
        /* The text may hold a password: it is not shown. */
        route_problem(r, "to", "only http://, https:// and unix:/path are supported");
        return false;
    }
    if (tg_url_parse(out->text, true, &out->url, &err) != TG_OK) {
        route_problem(r, "to", "%s", err.text);
        return false;
    }
    if (out->url.unix_socket) {
        out->authority = TG_S("localhost");
        return true;
    }
    if (memchr(out->text.ptr, '?', out->text.len)) {
        route_problem(r, "to", "takes no query: the client's is forwarded");
        return false;
    }
    out->authority = authority_of(&out->url, r->arena);
    return read_path(r, out);
}

void route_read_to(const struct route_reader *r, const struct tg_slice *items, size_t count, struct tg_route *out)
{
    size_t weighted = 0, echoes = 0;

    if (count == 0) {
        route_problem(r, "to", "needs at least one URL");
        return;
    }
    out->targets = TG_ARENA_ARRAY(r->arena, struct tg_target, count);
    for (size_t i = 0; i < count; i++) {
        struct tg_target *target = &out->targets[out->target_count];
        uint32_t weight;

        if (!read_target(r, items[i], target, &weight)) {
            *target = (struct tg_target){0};
            continue;
        }
        weighted += weight > 0;
        echoes += target->echo;
        out->target_count++;
    }
    if (weighted > 0 && weighted < out->target_count)
        route_problem(r, "to", "either every URL has a weight or none has");
    if (echoes > 0 && out->target_count > 1)
        route_problem(r, "to", "echo: is the only one of its route");
}
