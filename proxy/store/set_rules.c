/*
 * set_rules - which services a set may send this machine's requests to.
 *
 * Whoever holds the control plane must not reach through this machine whatever it can reach: a cloud's metadata, the
 * neighbour's database. So `to` is compared with a list of the machine's own file. An address is compared as an
 * address, a name as a name: a name is not resolved, since what it resolves to may be another address a moment later,
 * and what only looks like an address (127.1, 0x7f000001) is in no list.
 */
#include "base/json.h"
#include "http/uri.h"
#include "store/set.h"

struct allowed {                                         /* one element of allowed_upstreams */
    enum { ALLOWED_NETWORK, ALLOWED_NAME, ALLOWED_BELOW, ALLOWED_ECHO } kind;
    struct tg_cidr network;
    struct tg_slice name;                                /* of BELOW: with its dot, ".example.com" */
    int port;                                            /* -1: any */
};

/* A host name; its last label has a letter, or a resolver could take it for an address. */
static bool is_name(struct tg_slice s)
{
    bool letter = false;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!alpha && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
        if (c == '.' && (i == 0 || s.ptr[i - 1] == '.'))
            return false;
        letter = c == '.' ? false : letter || alpha;
    }
    return s.len > 0 && letter;
}

static bool read_host(struct tg_slice text, struct allowed *out)
{
    struct tg_slice host;
    struct tg_ip ip;

    if (!tg_uri_split_authority(text, &host, &out->port))
        return false;
    if (tg_ip_parse(host, &ip)) {
        out->kind = ALLOWED_NETWORK;
        out->network = (struct tg_cidr){.ip = ip, .bits = ip.family == 4 ? 32 : 128};
        return true;
    }
    host = tg_host_without_dot(host);
    out->kind = tg_slice_starts_with(host, TG_S("*.")) ? ALLOWED_BELOW : ALLOWED_NAME;
    out->name = out->kind == ALLOWED_BELOW ? tg_slice(host.ptr + 1, host.len - 1) : host;
    return is_name(out->kind == ALLOWED_BELOW ? tg_slice(host.ptr + 2, host.len - 2) : host);
}

static bool read_allowed(struct tg_slice text, struct allowed *out)
{
    *out = (struct allowed){.kind = ALLOWED_NETWORK, .port = -1};
    if (tg_slice_eq(text, TG_S("echo:"))) {
        out->kind = ALLOWED_ECHO;
        return true;
    }
    return tg_cidr_parse(text, &out->network) || read_host(text, out);
}

bool tg_set_rules_check(const struct tg_tree *tree, const cJSON *node, const char *where,
                        const struct tg_set_rules *rules, struct tg_problems *problems)
{
    const struct tg_strings *list = &rules->allowed_upstreams;
    const cJSON *member = tg_json_get(node, "allowed_upstreams");
    const cJSON *item = cJSON_IsArray(member) ? member->child : member;
    size_t errors = problems->errors;

    if (list->set && list->count == 0)
        tg_warning_at(problems, tree, member ? member : node,
                      "%s.allowed_upstreams is empty: no route of the control plane can be taken", where);
    for (size_t i = 0; i < list->count; i++) {
        struct allowed allowed;

        if (!read_allowed(list->items[i], &allowed))
            tg_problem_at(problems, tree, item ? item : node,
                          "%s.allowed_upstreams: must be a network (10.0.0.0/8), an address, a host name or "
                          "*.SUFFIX, the last three with :PORT when only that is meant, or echo:", where);
        if (item)
            item = item->next;
    }
    return problems->errors == errors;
}

static bool ends_nocase(struct tg_slice name, struct tg_slice suffix)
{
    return name.len > suffix.len &&
           tg_slice_eq_nocase(tg_slice(name.ptr + name.len - suffix.len, suffix.len), suffix);
}

static bool starts_nocase(struct tg_slice text, struct tg_slice start)
{
    return text.len >= start.len && tg_slice_eq_nocase(tg_slice(text.ptr, start.len), start);
}

static bool takes(const struct allowed *a, struct tg_slice host, const struct tg_ip *ip, uint16_t port)
{
    if (a->port >= 0 && a->port != port)
        return false;
    switch (a->kind) {
    case ALLOWED_NETWORK:
        return ip && tg_cidr_contains(&a->network, ip);
    case ALLOWED_NAME:
        return !ip && tg_slice_eq_nocase(host, a->name);
    case ALLOWED_BELOW:
        return !ip && ends_nocase(host, a->name);
    default:
        return false;
    }
}

static bool is_listed(const struct tg_set_rules *rules, const struct tg_url *url)
{
    struct tg_slice host = tg_host_without_dot(url->host);
    struct allowed allowed;
    struct tg_ip ip;
    bool literal = tg_ip_parse(host, &ip);

    if (rules->any_upstream)
        return true;
    if (!rules->allowed_upstreams.set)
        return literal ? tg_ip_is_loopback(&ip) : tg_slice_eq_nocase(host, TG_S("localhost"));
    for (size_t i = 0; i < rules->allowed_upstreams.count; i++)
        if (read_allowed(rules->allowed_upstreams.items[i], &allowed) &&
            takes(&allowed, host, literal ? &ip : NULL, url->port))
            return true;
    return false;
}

static bool is_echo_listed(const struct tg_set_rules *rules)
{
    if (rules->any_upstream)
        return true;
    for (size_t i = 0; i < rules->allowed_upstreams.count; i++)
        if (tg_slice_eq(rules->allowed_upstreams.items[i], TG_S("echo:")))
            return true;
    return false;
}

enum tg_status tg_set_rules_allow(const struct tg_set_rules *rules, struct tg_slice to, struct tg_err *err)
{
    struct tg_slice text, weight;
    struct tg_url url;
    struct tg_err why;

    tg_slice_cut(tg_slice_trim(to), ',', &text, &weight);
    if (tg_slice_eq(text, TG_S("echo:")))
        return is_echo_listed(rules) ? TG_OK : tg_fail(err, TG_DENIED, "echo: is not in allowed_upstreams of this "
                                                       "machine's file");
    if (!starts_nocase(text, TG_S("http://")) && !starts_nocase(text, TG_S("https://")))
        return tg_fail(err, TG_DENIED, "a control plane may name http:// and https:// only");
    if (tg_url_parse(text, false, &url, &why) != TG_OK)
        return tg_fail(err, TG_BAD_INPUT, "%s", why.text);
    if (is_listed(rules, &url))
        return TG_OK;
    if (!rules->allowed_upstreams.set)
        return tg_fail(err, TG_DENIED, "\"%.*s\" is not this machine, and its file names no allowed_upstreams",
                       url.host.len > 200 ? 200 : (int)url.host.len, url.host.ptr);
    return tg_fail(err, TG_DENIED, "\"%.*s\" with port %u is not in allowed_upstreams of this machine's file",
                   url.host.len > 200 ? 200 : (int)url.host.len, url.host.ptr, url.port);
}
