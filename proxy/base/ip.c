/*
 * ip - text and sockets to values and back.
 */
#include "base/ip.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void from_v6(const uint8_t bytes[16], struct tg_ip *out)
{
    *out = (struct tg_ip){.family = 6};
    if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        out->family = 4;
        memcpy(out->bytes, bytes + 12, 4);
    } else {
        memcpy(out->bytes, bytes, 16);
    }
}

/* Into sixteen bytes when the text has a colon, else four; returns how many, 0 for no address. */
static unsigned parse(struct tg_slice text, uint8_t bytes[16])
{
    char copy[INET6_ADDRSTRLEN];
    bool v6;

    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.ptr, '\0', text.len))
        return 0;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    v6 = strchr(copy, ':') != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, copy, bytes) != 1)
        return 0;
    return v6 ? 16 : 4;
}

bool tg_ip_parse(struct tg_slice text, struct tg_ip *out)
{
    uint8_t bytes[16];
    unsigned len = parse(text, bytes);

    if (len == 16) {
        from_v6(bytes, out);
    } else if (len == 4) {
        *out = (struct tg_ip){.family = 4};
        memcpy(out->bytes, bytes, 4);
    }
    return len != 0;
}

static void clear_host_bits(uint8_t *bytes, unsigned len, unsigned bits)
{
    for (unsigned i = 0; i < len; i++) {
        unsigned kept = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - i * 8 : 0;

        bytes[i] = (uint8_t)(bytes[i] & (0xff00u >> kept));
    }
}

bool tg_cidr_parse(struct tg_slice text, struct tg_cidr *out)
{
    struct tg_slice address, length;
    bool has_length = tg_slice_cut(text, '/', &address, &length);
    uint8_t bytes[16];
    unsigned len = parse(address, bytes);
    uint64_t bits = len * 8;

    if (len == 0)
        return false;
    if (has_length && (length.len > 3 || (length.len > 1 && length.ptr[0] == '0') || !tg_slice_to_u64(length, &bits) ||
                       bits > len * 8))
        return false;
    *out = (struct tg_cidr){.ip = {.family = len == 16 ? 6 : 4}, .bits = (uint8_t)bits};
    memcpy(out->ip.bytes, bytes, len);
    if (len == 16 && bits >= 96 && memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        from_v6(bytes, &out->ip);
        out->bits = (uint8_t)(bits - 96);
        len = 4;
    }
    clear_host_bits(out->ip.bytes, len, out->bits);
    return true;
}

bool tg_cidr_contains(const struct tg_cidr *c, const struct tg_ip *ip)
{
    unsigned whole = c->bits / 8, rest = c->bits % 8;

    if (c->ip.family == 0 || c->ip.family != ip->family || memcmp(c->ip.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || ((c->ip.bytes[whole] ^ ip->bytes[whole]) & (0xff00u >> rest & 0xff)) == 0;
}

bool tg_ip_eq(const struct tg_ip *a, const struct tg_ip *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, a->family == 6 ? 16 : a->family) == 0;
}

bool tg_ip_is_loopback(const struct tg_ip *ip)
{
    static const uint8_t one[16] = {[15] = 1};

    return (ip->family == 4 && ip->bytes[0] == 127) || (ip->family == 6 && memcmp(ip->bytes, one, 16) == 0);
}

/* The longest run of zero groups, the first of equals, at least two (RFC 5952 §4.2). */
static void longest_zeros(const uint16_t groups[8], int *start, int *count)
{
    *start = -1;
    *count = 1;
    for (int i = 0; i < 8; i++) {
        int n = 0;

        while (i + n < 8 && groups[i + n] == 0)
            n++;
        if (n > *count) {
            *start = i;
            *count = n;
        }
    }
}

size_t tg_ip_format(const struct tg_ip *ip, char out[TG_IP_TEXT])
{
    uint16_t groups[8];
    int start, count;
    size_t at = 0;

    out[0] = '\0';
    if (ip->family == 4)
        return (size_t)snprintf(out, TG_IP_TEXT, "%u.%u.%u.%u", ip->bytes[0], ip->bytes[1], ip->bytes[2], ip->bytes[3]);
    if (ip->family != 6)
        return 0;
    for (int i = 0; i < 8; i++)
        groups[i] = (uint16_t)(ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1]);
    longest_zeros(groups, &start, &count);
    for (int i = 0; i < 8; i++) {
        if (i == start) {
            at += (size_t)snprintf(out + at, TG_IP_TEXT - at, "::");
            i += count - 1;
            continue;
        }
        at += (size_t)snprintf(out + at, TG_IP_TEXT - at, at && out[at - 1] != ':' ? ":%x" : "%x", groups[i]);
    }
    return at;
}

void tg_ip_from_sockaddr(const struct sockaddr *sa, struct tg_ip *out, uint16_t *port)
{
    uint16_t net_port = 0;

    *out = (struct tg_ip){0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;

        memcpy(&v4, sa, sizeof(v4));                     /* the caller's may be a byte array */
        out->family = 4;
        memcpy(out->bytes, &v4.sin_addr, 4);
        net_port = v4.sin_port;
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;

        memcpy(&v6, sa, sizeof(v6));
        from_v6(v6.sin6_addr.s6_addr, out);
        net_port = v6.sin6_port;
    }
    if (port)
        *port = ntohs(net_port);
}

struct tg_slice tg_host_without_dot(struct tg_slice host)
{
    return host.len > 1 && host.ptr[host.len - 1] == '.' ? tg_slice(host.ptr, host.len - 1) : host;
}

bool tg_host_is_localhost(struct tg_slice host)
{
    static const struct tg_slice name = TG_S_INIT("localhost");

    host = tg_host_without_dot(host);
    if (host.len > name.len && host.ptr[host.len - name.len - 1] == '.')
        host = tg_slice(host.ptr + host.len - name.len, name.len);
    return tg_slice_eq_nocase(host, name);
}
