/*
 * ip - addresses and CIDR blocks as values, and what a host's name says of addresses by itself.
 *
 * An IPv4-mapped IPv6 address is the IPv4 address everywhere.
 */
#pragma once
#include "base/buf.h"
#include <sys/socket.h>

struct tg_ip {
    uint8_t family;                                      /* 4, 6, or 0: none */
    uint8_t bytes[16];                                   /* IPv4 uses the first four */
};
struct tg_cidr {
    struct tg_ip ip;                                     /* host bits cleared */
    uint8_t bits;
};

/* No leading zeros in octets, no zone, no spaces, no brackets. */
bool tg_ip_parse(struct tg_slice text, struct tg_ip *out);
/* "10.0.0.0/8", "::1", host bits ignored; ::ffff:10.0.0.0/104 is 10.0.0.0/8. */
bool tg_cidr_parse(struct tg_slice text, struct tg_cidr *out);
bool tg_cidr_contains(const struct tg_cidr *c, const struct tg_ip *ip); /* families never mix */
bool tg_ip_eq(const struct tg_ip *a, const struct tg_ip *b);
bool tg_ip_is_loopback(const struct tg_ip *ip);
#define TG_IP_TEXT 46
size_t tg_ip_format(const struct tg_ip *ip, char out[TG_IP_TEXT]); /* RFC 5952; length without the NUL */
/* From accept() or getpeername(); family 0 for unix sockets. *port may be NULL. */
void tg_ip_from_sockaddr(const struct sockaddr *sa, struct tg_ip *out, uint16_t *port);

struct tg_slice tg_host_without_dot(struct tg_slice host); /* "example.com." is the same host */
/* RFC 6761 §6.3: localhost and what is below it are the loopback addresses, whatever a resolver would say. */
bool tg_host_is_localhost(struct tg_slice host);
