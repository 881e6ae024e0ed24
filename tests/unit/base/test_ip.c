/*
 * ip - strict text, mapped addresses, every prefix length, RFC 5952.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/ip.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void addresses(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } cases[] = { /* want NULL: refused */
        {"1.2.3.4", "1.2.3.4"}, {"0.0.0.0", "0.0.0.0"}, {"255.255.255.255", "255.255.255.255"},
        {"::", "::"}, {"::1", "::1"}, {"2001:DB8::1", "2001:db8::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},   /* §4.2.3: the first of equals */
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* §4.2.2: not for one group */
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"}, {"1:0:0:0:0:0:0:0", "1::"}, {"0:0:0:0:0:0:1:2", "::1:2"},
        {"::ffff:1.2.3.4", "1.2.3.4"}, {"::FFFF:102:304", "1.2.3.4"}, {"::1.2.3.4", "::102:304"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"01.2.3.4", NULL}, {"1.2.3.04", NULL}, {"1.2.3", NULL}, {"1.2.3.4.5", NULL}, {"1.2.3.256", NULL},
        {"1.2.3.4 ", NULL}, {" 1.2.3.4", NULL}, {"0x7f.1", NULL}, {"2130706433", NULL}, {"1..2.3", NULL},
        {"::1%lo", NULL}, {"[::1]", NULL}, {":::", NULL}, {"1::2::3", NULL}, {"12345::", NULL}, {"g::", NULL},
        {":1", NULL}, {"1:2:3:4:5:6:7:8:9", NULL}, {"::ffff:1.2.3.04", NULL}, {"", NULL}, {"localhost", NULL},
        {"1.2.3.4/8", NULL}, {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_ip ip;
        char text[TG_IP_TEXT];

        if (tg_ip_parse(tg_slice_str(cases[i].text), &ip) != (cases[i].want != NULL))
            fail_msg("%s", cases[i].text);
        if (!cases[i].want)
            continue;
        assert_int_equal(tg_ip_format(&ip, text), strlen(cases[i].want));
        assert_string_equal(text, cases[i].want);
    }
    assert_false(tg_ip_parse(TG_S("1.2.3.4\0"), &(struct tg_ip){0}));
}

static void blocks(void **state)
{
    (void)state;
    static const struct { const char *block, *ip; int in; } cases[] = { /* in -1: no block */
        {"10.0.0.0/8", "10.255.0.1", 1}, {"10.1.2.3/8", "10.9.9.9", 1}, {"10.0.0.0/8", "11.0.0.0", 0},
        {"0.0.0.0/0", "9.9.9.9", 1}, {"0.0.0.0/0", "::1", 0}, {"::/0", "::1", 1}, {"::/0", "9.9.9.9", 0},
        {"192.0.2.1", "192.0.2.1", 1}, {"192.0.2.1", "192.0.2.0", 0}, {"192.0.2.0/31", "192.0.2.1", 1},
        {"::1", "::1", 1}, {"2001:db8::/33", "2001:db8:8000::", 0}, {"2001:db8::/33", "2001:db8:7fff::", 1},
        {"::ffff:10.0.0.0/104", "10.1.1.1", 1}, {"::ffff:10.0.0.0/104", "::ffff:10.1.1.1", 1},
        {"10.0.0.0/8", "::ffff:10.1.1.1", 1}, {"::ffff:10.0.0.1", "10.0.0.1", 1}, {"::ffff:0:0/96", "8.8.8.8", 1},
        {"::ffff:0:0/95", "8.8.8.8", 0},                 /* no longer only mapped: IPv6, and families never mix */
        {"10.0.0.0/33", NULL, -1}, {"::/129", NULL, -1}, {"10.0.0.0/", NULL, -1}, {"10.0.0.0/08", NULL, -1},
        {"10.0.0.0/-1", NULL, -1}, {"10.0.0.0/8/8", NULL, -1}, {"10.0.0.0/8 ", NULL, -1}, {"/8", NULL, -1},
        {"10.0.0.0/00000008", NULL, -1}, {"10.0.0.0/255.0.0.0", NULL, -1}, {"", NULL, -1}, {"10/8", NULL, -1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_cidr block;
        struct tg_ip ip;

        if (tg_cidr_parse(tg_slice_str(cases[i].block), &block) != (cases[i].in >= 0))
            fail_msg("%s", cases[i].block);
        if (cases[i].in < 0)
            continue;
        assert_true(tg_ip_parse(tg_slice_str(cases[i].ip), &ip));
        if (tg_cidr_contains(&block, &ip) != (cases[i].in == 1))
            fail_msg("%s in %s", cases[i].ip, cases[i].block);
    }
}

static void every_length(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++) {       /* a flipped bit matters exactly when it is in the prefix */
        char text[32];
        struct tg_cidr block;

        snprintf(text, sizeof(text), "5555:aaaa:5555::ff/%u", bits);
        assert_true(tg_cidr_parse(tg_slice_str(text), &block));
        for (unsigned flip = 0; flip < 128; flip++) {
            struct tg_ip ip = block.ip;

            ip.bytes[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
            assert_int_equal(tg_cidr_contains(&block, &ip), flip >= bits);
        }
    }
}

static void from_sockets(void **state)
{
    (void)state;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x7f000001)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct tg_ip a, b;
    uint16_t port;
    char text[TG_IP_TEXT];

    tg_ip_from_sockaddr((struct sockaddr *)&v4, &a, &port);
    assert_true(a.family == 4 && port == 80 && tg_ip_is_loopback(&a));
    tg_ip_from_sockaddr((struct sockaddr *)&v6, &b, &port);
    assert_true(b.family == 6 && port == 443 && tg_ip_is_loopback(&b) && !tg_ip_eq(&a, &b));
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr);
    tg_ip_from_sockaddr((struct sockaddr *)&v6, &b, NULL);
    assert_true(tg_ip_eq(&a, &b));
    tg_ip_from_sockaddr((struct sockaddr *)&un, &a, &port);
    assert_true(a.family == 0 && port == 0 && tg_ip_format(&a, text) == 0 && !tg_ip_is_loopback(&a));
    assert_false(tg_cidr_contains(&(struct tg_cidr){0}, &a)); /* none is in no block, not even in none */
}

static void localhost(void **state)
{
    static const struct { const char *host; bool want; } cases[] = {
        {"localhost", true}, {"LocalHost.", true}, {"a.localhost", true}, {"a.b.localhost.", true},
        {"localhost..", false}, {"notlocalhost", false}, {"localhost.example", false}, {"", false}, {".", false},
        {"127.0.0.1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (tg_host_is_localhost(tg_slice_str(cases[i].host)) != cases[i].want)
            fail_msg("%s", cases[i].host);
    assert_true(tg_slice_eq(tg_host_without_dot(TG_S("a.example.")), TG_S("a.example")));
    assert_true(tg_slice_eq(tg_host_without_dot(TG_S("a")), TG_S("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(blocks),
                                       cmocka_unit_test(every_length), cmocka_unit_test(from_sockets),
                                       cmocka_unit_test(localhost)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
