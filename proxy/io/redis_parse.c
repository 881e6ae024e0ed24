/*
 * redis_parse - the URL of a Redis server, read and told.
 *
 * A URL may hold a password, and one that is written wrongly may hold it anywhere: "redis://user:pa/ss@host" has its
 * first half where the port belongs. So errors name a part and never show what stands there.
 */
#include "base/ip.h"
#include "io/redis.h"
#include "io/stream.h"

#define PORT 6379
#define HOST_MAX 253
#define PART_MAX 4096
#define DATABASE_MAX INT32_MAX

/* ---- parts ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int escaped(struct tg_slice part, size_t at)
{
    int high, low;

    if (part.len - at < 3)
        return -1;
    high = hex_value(part.ptr[at + 1]);
    low = hex_value(part.ptr[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* RFC 3986 §2.1; a NUL would end a path or a password too early. */
static enum tg_status decode(struct tg_slice part, const char *name, struct tg_arena *arena, struct tg_slice *out,
                             struct tg_err *err)
{
    char *to;
    size_t len = 0;

    if (part.len > PART_MAX)
        return tg_fail(err, TG_BAD_INPUT, "the %s is longer than %d octets", name, PART_MAX);
    to = tg_arena_raw(arena, part.len + 1);
    for (size_t i = 0; i < part.len; i++) {
        int c = (unsigned char)part.ptr[i];

        if (c == '%') {
            c = escaped(part, i);
            i += 2;
        }
        if (c <= 0)
            return tg_fail(err, TG_BAD_INPUT, c < 0 ? "the %s has a malformed percent-escape" : "the %s holds a NUL",
                           name);
        to[len++] = (char)c;
    }
    to[len] = '\0';
    *out = tg_slice(to, len);
    return TG_OK;
}

static enum tg_status read_database(struct tg_slice text, struct tg_redis_address *out, struct tg_err *err)
{
    uint64_t n = 0;

    if (text.len > 0 && (!tg_slice_to_u64(text, &n) || n > DATABASE_MAX))
        return tg_fail(err, TG_BAD_INPUT, "the database must be a number from 0 to %d", DATABASE_MAX);
    out->database = (uint32_t)n;
    return TG_OK;
}

static bool is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
}

static bool is_host(struct tg_slice host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!is_host_char(host.ptr[i]))
            return false;
    return host.len > 0 && host.len <= HOST_MAX;
}

/* host, 10.0.0.1 or [::1], then :port or nothing. */
static enum tg_status read_host(struct tg_slice text, struct tg_redis_address *out, struct tg_err *err)
{
    struct tg_slice host, rest = {0};
    uint64_t port = PORT;
    struct tg_ip ip;
    bool right;

    if (text.len > 0 && text.ptr[0] == '[') {
        right = tg_slice_cut(tg_slice(text.ptr + 1, text.len - 1), ']', &host, &rest) && tg_ip_parse(host, &ip) &&
                (rest.len == 0 || rest.ptr[0] == ':');
        if (right && rest.len > 0)
            rest = tg_slice(rest.ptr + 1, rest.len - 1);
    } else {
        tg_slice_cut(text, ':', &host, &rest);
        right = is_host(host);
    }
    if (!right)
        return tg_fail(err, TG_BAD_INPUT, "the host is not a name, an IPv4 address or [an IPv6 address]");
    if (rest.len > 0 && (!tg_slice_to_u64(rest, &port) || port < 1 || port > UINT16_MAX))
        return tg_fail(err, TG_BAD_INPUT, "the port must be a number from 1 to %d; \"/\", \"?\", \"#\", \"@\" and "
                       "\":\" in a password must be percent-escaped", UINT16_MAX);
    out->host = host;
    out->port = (uint16_t)port;
    return TG_OK;
}

static enum tg_status read_login(struct tg_slice text, struct tg_arena *arena, struct tg_redis_address *out,
                                 struct tg_err *err)
{
    struct tg_slice user, password = {0};
    enum tg_status st;

    tg_slice_cut(text, ':', &user, &password);
    st = decode(user, "user name", arena, &out->username, err);
    return st == TG_OK ? decode(password, "password", arena, &out->password, err) : st;
}

/* ---- whole URLs ---- */

static bool cut_at_any(struct tg_slice text, const char *chars, struct tg_slice *head, struct tg_slice *rest)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(chars, text.ptr[i])) {
            *head = tg_slice(text.ptr, i);
            *rest = tg_slice(text.ptr + i, text.len - i);
            return true;
        }
    }
    *head = text;
    *rest = tg_slice(NULL, 0);
    return false;
}

static enum tg_status parse_network(struct tg_slice text, struct tg_arena *arena, struct tg_redis_address *out,
                                    struct tg_err *err)
{
    struct tg_slice authority, rest;
    size_t at;
    enum tg_status st = TG_OK;

    cut_at_any(text, "/?#", &authority, &rest);
    for (at = authority.len; at > 0 && authority.ptr[at - 1] != '@'; at--)
        ;
    if (at > 0)
        st = read_login(tg_slice(authority.ptr, at - 1), arena, out, err);
    if (st == TG_OK)
        st = read_host(tg_slice(authority.ptr + at, authority.len - at), out, err);
    if (st != TG_OK)
        return st;
    out->host = tg_arena_dup(arena, out->host);
    if (rest.len > 0 && (rest.ptr[0] != '/' || memchr(rest.ptr, '?', rest.len) || memchr(rest.ptr, '#', rest.len)))
        return tg_fail(err, TG_BAD_INPUT, "behind the host only /DATABASE may stand");
    return rest.len > 0 ? read_database(tg_slice(rest.ptr + 1, rest.len - 1), out, err) : TG_OK;
}

static enum tg_status parse_socket(struct tg_slice text, struct tg_arena *arena, struct tg_redis_address *out,
                                   struct tg_err *err)
{
    struct tg_slice path, query;
    struct tg_address socket;
    enum tg_status st;

    cut_at_any(text, "?#", &path, &query);
    if (path.len < 2 || path.ptr[0] != '/')
        return tg_fail(err, TG_BAD_INPUT, "the socket's path must be absolute: unix:///run/redis/redis.sock");
    if (query.len > 0 && !tg_slice_starts_with(query, TG_S("?db=")))
        return tg_fail(err, TG_BAD_INPUT, "behind the path only ?db=DATABASE may stand");
    st = decode(path, "path", arena, &out->path, err);
    if (st == TG_OK)
        st = tg_address_from_path(out->path, &socket, err);
    return st == TG_OK && query.len > 4 ? read_database(tg_slice(query.ptr + 4, query.len - 4), out, err) : st;
}

enum tg_status tg_redis_parse(struct tg_slice url, struct tg_arena *arena, struct tg_redis_address *out,
                              struct tg_err *err)
{
    static const struct {
        struct tg_slice scheme;
        bool local, tls;
    } schemes[] = {
        {TG_S_INIT("redis://"), false, false},
        {TG_S_INIT("rediss://"), false, true},
        {TG_S_INIT("unix://"), true, false},
        {TG_S_INIT("redis+unix://"), true, false},
    };
    struct tg_redis_address a = {0};
    enum tg_status st;

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t skip = schemes[i].scheme.len;

        if (url.len < skip || !tg_slice_eq_nocase(tg_slice(url.ptr, skip), schemes[i].scheme))
            continue;
        struct tg_slice text = tg_slice(url.ptr + skip, url.len - skip);

        a.tls = schemes[i].tls;
        st = schemes[i].local ? parse_socket(text, arena, &a, err) : parse_network(text, arena, &a, err);
        if (st == TG_OK)
            *out = a;
        return st;
    }
    return tg_fail(err, TG_BAD_INPUT, "a store's URL begins with redis://, rediss:// or unix://");
}

void tg_redis_describe(const struct tg_redis_address *address, struct tg_buf *out)
{
    bool v6;

    if (address->host.len == 0) {
        tg_buf_addf(out, "unix://" TG_S_FMT, TG_S_ARG(address->path));
        if (address->database > 0)
            tg_buf_addf(out, "?db=%u", address->database);
        return;
    }
    v6 = memchr(address->host.ptr, ':', address->host.len) != NULL;
    tg_buf_addf(out, "%s://%s" TG_S_FMT "%s:%u", address->tls ? "rediss" : "redis", v6 ? "[" : "",
                TG_S_ARG(address->host), v6 ? "]" : "", (unsigned)address->port);
    if (address->database > 0)
        tg_buf_addf(out, "/%u", address->database);
}
