/*
 * exposure - which upstreams are on this host, and where they must not answer; then one real look.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "boot/exposure.h"
#include "io/probe.h"
#include <stdio.h>
#include <unistd.h>

#define MAX 4

static const struct {
    const char *why;
    const char *upstream[MAX];                           /* its addresses; the port is 3000 */
    const char *host[MAX];
    const char *own[MAX];                                /* what tollgate listens on */
    enum tg_exposure_case want;
    const char *tried[MAX];
} cases[] = {
    {"loopback: everywhere else", {"127.0.0.1"}, {"192.0.2.2", "fd00::2"}, {"192.0.2.2:8080"}, TG_EXPOSURE_TRY,
     {"192.0.2.2", "fd00::2"}},
    {"all of 127/8 is loopback", {"127.9.9.9"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"IPv6", {"::1"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"mapped into IPv6", {"::ffff:127.0.0.1"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"0.0.0.0 connects to this host", {"0.0.0.0"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"so does ::", {"::"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"a host that has nothing but loopback", {"127.0.0.1"}, {0}, {0}, TG_EXPOSURE_TRY, {0}},
    {"another host", {"192.0.2.9"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_ELSEWHERE, {0}},
    {"a name that is not known", {0}, {"192.0.2.2"}, {0}, TG_EXPOSURE_ELSEWHERE, {0}},
    {"this host by an address of others", {"192.0.2.2"}, {"192.0.2.2", "fd00::2"}, {0}, TG_EXPOSURE_CONFIGURED,
     {"192.0.2.2"}},
    {"a name with both", {"127.0.0.1", "fd00::2"}, {"192.0.2.2", "fd00::2"}, {0}, TG_EXPOSURE_CONFIGURED, {"fd00::2"}},
    {"here and elsewhere", {"192.0.2.9", "127.0.0.1"}, {"192.0.2.2"}, {0}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"the same port is tollgate's at one address", {"127.0.0.1"}, {"192.0.2.2", "fd00::2"}, {"192.0.2.2:3000"},
     TG_EXPOSURE_TRY, {"fd00::2"}},
    {"at another port", {"127.0.0.1"}, {"192.0.2.2"}, {"192.0.2.2:3001"}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"at all addresses", {"127.0.0.1"}, {"192.0.2.2", "fd00::2"}, {"[::]:3000"}, TG_EXPOSURE_TRY, {0}},
    {"at all of IPv4", {"127.0.0.1"}, {"192.0.2.2", "fd00::2"}, {"0.0.0.0:3000"}, TG_EXPOSURE_TRY, {"fd00::2"}},
    {"a unix socket is no port", {"127.0.0.1"}, {"192.0.2.2"}, {"unix:/run/x:3000"}, TG_EXPOSURE_TRY, {"192.0.2.2"}},
    {"tollgate before itself is not exposed by that", {"192.0.2.2"}, {"192.0.2.2", "fd00::2"}, {"192.0.2.2:3000"},
     TG_EXPOSURE_TRY, {"fd00::2"}},
};

static size_t ips(const char *const *texts, struct tg_ip *out)
{
    size_t n = 0;

    for (; n < MAX && texts[n]; n++)
        if (!tg_ip_parse(tg_slice_str(texts[n]), &out[n]))
            fail_msg("%s", texts[n]);
    return n;
}

static void decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_ip upstream[MAX], want[MAX], got[TG_EXPOSURE_ADDRESSES];
        struct tg_listen_address own[MAX];
        struct tg_exposure_host host;
        size_t count = ips(cases[i].upstream, upstream), wanted = ips(cases[i].tried, want), own_count = 0, tried;

        host.count = ips(cases[i].host, host.addresses);
        for (; own_count < MAX && cases[i].own[own_count]; own_count++)
            if (tg_listen_parse(tg_slice_str(cases[i].own[own_count]), &own[own_count], NULL) != TG_OK)
                fail_msg("%s", cases[i].own[own_count]);
        if (tg_exposure_decide(upstream, count, 3000, &host, own, own_count, got, &tried) != cases[i].want)
            fail_msg("%s: another case", cases[i].why);
        if (tried != wanted)
            fail_msg("%s: %zu addresses instead of %zu", cases[i].why, tried, wanted);
        for (size_t j = 0; j < tried; j++)
            if (!tg_ip_eq(&got[j], &want[j]))
                fail_msg("%s: address %zu is another", cases[i].why, j);
    }
}

/* Of a host with many addresses, how many of each family are looked at. */
static void some_of_both(void **state)
{
    static const struct { size_t v4, v6, want_v4, want_v6; } hosts[] = {
        {0, 0, 0, 0},   {3, 2, 3, 2},   {20, 12, 20, 12}, {300, 2, 30, 2},  {1, 300, 1, 31}, {300, 100, 16, 16},
        {40, 0, 32, 0}, {0, 40, 0, 32}, {17, 16, 16, 16}, {20, 13, 19, 13},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        static struct tg_ip all[402];
        struct tg_exposure_host got;
        size_t n = 0, v4 = 0;

        tg_ip_parse(TG_S("127.0.0.1"), &all[n++]);
        for (size_t j = 0; j < hosts[i].v4; j++)
            all[n++] = (struct tg_ip){.family = 4, .bytes = {10, 0, (uint8_t)(j >> 8), (uint8_t)j}};
        tg_ip_parse(TG_S("::1"), &all[n++]);
        for (size_t j = 0; j < hosts[i].v6; j++)
            all[n++] = (struct tg_ip){.family = 6, .bytes = {0x20, 1, [14] = (uint8_t)(j >> 8), [15] = (uint8_t)j}};
        tg_exposure_choose(all, n, &got);
        for (size_t j = 0; j < got.count; j++) {
            assert_false(tg_ip_is_loopback(&got.addresses[j]));
            v4 += got.addresses[j].family == 4;
        }
        if (v4 != hosts[i].want_v4 || got.count - v4 != hosts[i].want_v6)
            fail_msg("%zu and %zu: %zu and %zu", hosts[i].v4, hosts[i].v6, v4, got.count - v4);
    }
}

/* ---- one look ---- */

static size_t told;
static char last[1024];

static void keep(void *arg, const struct tg_exposure_finding *f)
{
    (void)arg;
    told++;
    snprintf(last, sizeof(last), "%s", f->text);
}

static size_t check(const char *yaml)
{
    struct tg_problems problems = {0};
    struct tg_settings s;
    size_t n;

    if (!tg_settings_parse("t.yaml", tg_slice_str(yaml), &s, &problems))
        fail_msg("%s\n%s", problems.items[0].text, yaml);
    told = 0;
    n = tg_exposure_check(&s, keep, NULL, NULL);
    assert_int_equal(n, told);
    tg_settings_fini(&s);
    tg_problems_fini(&problems);
    return n;
}

/* A listening socket at `ip`; its port. */
static int listen_at(const struct tg_ip *ip, uint16_t *port)
{
    struct tg_address at;
    socklen_t len;
    int fd;

    tg_address_from_ip(ip, 0, &at);
    len = at.len;
    fd = socket(at.sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, &at.sa.any, at.len) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, &at.sa.any, &len) != 0)
        fail_msg("no listening socket");
    *port = ntohs(at.sa.v4.sin_port);
    return fd;
}

static void looks(void **state)
{
    static const struct tg_ip any = {.family = 4}, loopback = {.family = 4, .bytes = {127, 0, 0, 1}};
    struct tg_ip all[8];
    size_t count = tg_host_addresses(all, 8), others = 0;
    uint16_t closed_port, open_port;
    int closed = listen_at(&loopback, &closed_port), open = listen_at(&any, &open_port);
    char yaml[512];

    (void)state;
    for (size_t i = 0; i < count; i++)
        others += all[i].family == 4 && !tg_ip_is_loopback(&all[i]);
    snprintf(yaml, sizeof(yaml),
             "routes: [{name: a, prefix: /, to: [\"http://127.0.0.1:%u\", \"http://localhost:%u\", "
             "\"http://127.0.0.1:1\"], allow_public_unauthenticated_access: true}]\n",
             closed_port, closed_port);
    assert_int_equal(check(yaml), 0);
    snprintf(yaml, sizeof(yaml),
             "routes: [{name: e, path: /e, to: \"echo:\", allow_public_unauthenticated_access: true},"
             " {name: u, path: /u, to: \"unix:/run/x\", allow_public_unauthenticated_access: true},"
             " {name: a, prefix: /, to: \"http://localhost:%u\", allow_public_unauthenticated_access: true},"
             " {name: b, path: /b, to: \"http://LOCALHOST:%u/x\", allow_public_unauthenticated_access: true}]\n",
             open_port, open_port);
    if (others) {
        assert_int_equal(check(yaml), 1);
        assert_non_null(strstr(last, "localhost:"));
        assert_non_null(strstr(last, "bind the app to 127.0.0.1"));
    } else {
        print_message("# this host has no address but loopback\n");
        assert_int_equal(check(yaml), 0);
    }
    close(closed);
    close(open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decisions),
        cmocka_unit_test(some_of_both),
        cmocka_unit_test(looks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
