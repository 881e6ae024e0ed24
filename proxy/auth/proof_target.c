/*
 * proof_target - both sides pass through the same doors as a request does, so what the gate refuses is refused here
 * too: user names, escapes in a host, an escaped slash.
 */
#include "proof_target.h"
#include "base/ip.h"
#include "http/uri.h"

/* Of the claim's scheme: either side may leave its port away. */
static int port_or_default(int port, bool tls)
{
    return port >= 0 ? port : tls ? 443 : 80;
}

/* Names without case, addresses by value: [::1] has many spellings. */
static bool same_host(struct tg_slice a, struct tg_slice b)
{
    struct tg_ip x, y;

    if (tg_ip_parse(a, &x) && tg_ip_parse(b, &y))
        return tg_ip_eq(&x, &y);
    return tg_slice_eq_nocase(a, b);
}

static bool same_authority(struct tg_slice a, struct tg_slice b, bool tls)
{
    struct tg_slice a_host, b_host;
    int a_port, b_port;

    return tg_uri_split_authority(a, &a_host, &a_port) && tg_uri_split_authority(b, &b_host, &b_port) &&
           port_or_default(a_port, tls) == port_or_default(b_port, tls) && same_host(a_host, b_host);
}

static struct tg_slice until(struct tg_slice s, const char *stops)
{
    size_t n = 0;

    while (n < s.len && !memchr(stops, s.ptr[n], strlen(stops)))
        n++;
    return tg_slice(s.ptr, n);
}

bool tg_proof_target_is(struct tg_slice htu, const struct tg_proof_target *target, struct tg_arena *arena)
{
    struct tg_slice scheme, rest, authority, path, decoded;
    bool tls;

    if (!tg_slice_cut(htu, ':', &scheme, &rest) || !tg_slice_starts_with(rest, TG_S("//")))
        return false;
    tls = tg_slice_eq_nocase(scheme, TG_S("https"));
    if ((!tls && !tg_slice_eq_nocase(scheme, TG_S("http"))) ||
        (target->scheme.len > 0 && !tg_slice_eq_nocase(scheme, target->scheme)))
        return false;
    rest = tg_slice(rest.ptr + 2, rest.len - 2);
    authority = until(rest, "/?#");
    path = until(tg_slice(rest.ptr + authority.len, rest.len - authority.len), "?#");
    if (path.len == 0)
        path = TG_S("/");
    return same_authority(authority, target->authority, tls) &&
           tg_uri_canonical_path(path, arena, &path, &decoded, NULL) == TG_OK && tg_slice_eq(path, target->path);
}
