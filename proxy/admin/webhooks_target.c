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

/* The special-purpose registries of IANA (RFC 6890), multicast, and all that has an IPv4 address inside. */
static const char *const special[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10",  "127.0.0.0/8",     "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",  "198.18.0.0/15",  "198.51.100.0/24",
    "203.0.113.0/24",  "224.0.0.0/4",    "240.0.0.0/4",    "::/96",           "64:ff9b::/96",   "64:ff9b:1::/48",
    "100::/64",        "2001::/23",      "2001:db8::/32",  "2002::/16",       "3fff::/20",      "5f00::/16",
    "fc00::/7",        "fe80::/9",       "ff00::/8",
};

bool webhook_ip_is_public(const struct tg_ip *ip)
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

static struct tg_slice without_dot(struct tg_slice host)
{
    return tg_slice_ends_with(host, TG_S(".")) ? tg_slice(host.ptr, host.len - 1) : host;
}

static bool is_named(const struct tg_strings *allowed, struct tg_slice host)
{
    for (size_t i = 0; i < allowed->count; i++)
        if (tg_slice_eq_nocase(without_dot(host), without_dot(allowed->items[i])))
            return true;
    return false;
}

bool webhook_may_connect(const struct tg_strings *allowed, struct tg_slice host, const struct tg_ip *ip)
{
    return webhook_ip_is_public(ip) || is_in_networks(allowed, ip) || is_named(allowed, host);
}

/* ---- the URL ---- */

/*
 * Whether resolvers may read it as an IPv4 address: its last label is a number (2130706433, 0x7f000001, 127.1,
 * 0177.0.0.1). Only the usual form is taken then.
 */
static bool ends_in_number(struct tg_slice host)
{
    struct tg_slice name = without_dot(host), label = name;

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

/* RFC 6761 §6.3: loopback, whatever a resolver would say. */
static bool is_localhost(struct tg_slice host)
{
    struct tg_slice name = without_dot(host);

    return tg_slice_eq_nocase(name, TG_S("localhost")) ||
           (name.len > 10 && tg_slice_eq_nocase(tg_slice(name.ptr + name.len - 10, 10), TG_S(".localhost")));
}

static enum tg_status check_host(const struct tg_strings *allowed, const struct tg_url *url, struct tg_err *err)
{
    static const struct tg_ip loopback = {.family = 4, .bytes = {127, 0, 0, 1}};
    bool literal, known, localhost = is_localhost(url->host);
    struct tg_ip ip = loopback;

    literal = tg_ip_parse(url->host, &ip);
    if (!literal && (ends_in_number(url->host) || memchr(url->host.ptr, ':', url->host.len)))
        return tg_fail(err, TG_BAD_INPUT, "url: an address is written as in 192.0.2.1 or [2001:db8::1]");
    known = is_named(allowed, url->host) || ((literal || localhost) && is_in_networks(allowed, &ip));
    if ((literal || localhost) && !known && !webhook_ip_is_public(&ip))
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
