/*
 * webhooks_target - where a webhook may go: whoever may make one shall not reach by it what only this machine can.
 *
 * The URL is looked at when it is written down, and each address when it is connected to: a name may resolve to
 * another address tomorrow. What is not known to be of the public Internet is taken for private.
 */
#include "base/digest.h"
#include "http/uri.h"
#include "io/fetch.h"
#include "webhooks.h"

/*
 * The special-purpose registries of IANA (RFC 6890), multicast, and all that has an IPv4 address inside. Of IPv6 only
 * 2000::/3 is the Internet's.
 */
static const char *const special[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10",  "127.0.0.0/8",     "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",  "198.18.0.0/15",  "198.51.100.0/24",
    "203.0.113.0/24",  "224.0.0.0/4",    "240.0.0.0/4",    "::/3",            "4000::/2",       "8000::/1",
    "2001::/23",       "2001:db8::/32",  "2002::/16",      "3fff::/20",
};

static bool is_public(const struct tg_ip *ip)
{
    struct tg_cidr net;

    for (size_t i = 0; i < ARRAY_LEN(special); i++) {
        tg_assert(tg_cidr_parse(tg_slice_str(special[i]), &net));
        if (tg_cidr_contains(&net, ip))
            return false;
    }
    return ip->family == 4 || ip->family == 6;
}

static bool is_in_networks(const struct tg_strings *allowed, const struct tg_ip *ip)
{
    struct tg_cidr net;

    for (size_t i = 0; i < allowed->count; i++)
        if (tg_cidr_parse(allowed->items[i], &net) && tg_cidr_contains(&net, ip))
            return true;
    return false;
}

static bool is_named(const struct tg_strings *allowed, struct tg_slice host)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (tg_slice_eq_nocase(tg_host_without_dot(host), tg_host_without_dot(allowed->items[i])))
            return true;
    return false;
}

/* As is_named and is_in_networks read it; a network with a mistake in it would only be a name that nobody has. */
bool webhook_network_is_good(struct tg_slice text)
{
    struct tg_slice name = tg_host_without_dot(text);
    struct tg_cidr net;
    bool letter = false;

    if (tg_cidr_parse(text, &net))
        return true;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!alpha && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
        if (c == '.' && (i == 0 || name.ptr[i - 1] == '.'))
            return false;
        letter = c == '.' ? false : letter || alpha;     /* in the last label, or it would be an address */
    }
    return letter;
}

bool webhook_may_connect(const struct tg_strings *allowed, struct tg_slice host, const struct tg_ip *ip)
{
    return is_public(ip) || is_in_networks(allowed, ip) || is_named(allowed, host);
}

/* ---- the URL ---- */

/*
 * Whether resolvers may read it as an IPv4 address: its last label is a number (2130706433, 0x7f000001, 127.1,
 * 0177.0.0.1). Only the usual form is taken then.
 */
static bool ends_in_number(struct tg_slice host)
{
    struct tg_slice name = tg_host_without_dot(host), label = name;

    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '.')
            label = tg_slice(name.ptr + i + 1, name.len - i - 1);
    if (label.len >= 2 && label.ptr[0] == '0' && (label.ptr[1] == 'x' || label.ptr[1] == 'X'))
        return true;
    for (size_t i = 0; i < label.len; i++)
        if (label.ptr[i] < '0' || label.ptr[i] > '9')
            return false;
    return label.len > 0;
}

static enum tg_status check_host(const struct tg_strings *allowed, const struct tg_url *url, struct tg_err *err)
{
    static const struct tg_ip loopback = {.family = 4, .bytes = {127, 0, 0, 1}};
    bool literal, known, localhost = tg_host_is_localhost(url->host);
    struct tg_ip ip = loopback;

    literal = tg_ip_parse(url->host, &ip);
    if (!literal && (ends_in_number(url->host) || memchr(url->host.ptr, ':', url->host.len)))
        return tg_fail(err, TG_BAD_INPUT, "url: an address is written as in 192.0.2.1 or [2001:db8::1]");
    known = is_named(allowed, url->host) || ((literal || localhost) && is_in_networks(allowed, &ip));
    if ((literal || localhost) && !known && !is_public(&ip))
        return tg_fail(err, TG_BAD_INPUT, "url: private and local addresses are refused unless "
                       "management.webhooks.allowed_networks names them");
    if (!url->tls && !known)
        return tg_fail(err, TG_BAD_INPUT, "url: must be https (http only to what "
                       "management.webhooks.allowed_networks names)");
    return TG_OK;
}

enum tg_status webhook_target_check(const struct tg_strings *allowed, struct tg_slice text, struct tg_err *err)
{
    struct tg_url url;
    struct tg_err why;
    char *copy;
    enum tg_status st;

    if (text.len == 0 || text.len > WEBHOOK_URL)
        return tg_fail(err, TG_BAD_INPUT, "url: must be 1 to %d characters", WEBHOOK_URL);
    if (tg_url_parse(text, false, &url, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "url: %s", why.text);
    copy = tg_slice_dup(text);
    st = tg_fetch_check_url(copy, true, &why);           /* whoever will fetch it reads it, too */
    free(copy);
    if (st != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "url: %s", why.text);
    return check_host(allowed, &url, err);
}
