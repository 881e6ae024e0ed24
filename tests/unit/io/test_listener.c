/*
 * listener - addresses are read strictly, one instance has an address, every worker gets connections.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/log.h"
#include "io/listener.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 2

static char dir[] = "/tmp/tollgate-listener-XXXXXX";
static char path[sizeof(dir) + 16], text[sizeof(dir) + 32];

/* ---- parsing ---- */

static void addresses(void **state)
{
    (void)state;
    static const char long_path[] = "unix:/012345678901234567890123456789012345678901234567890123456789"
                                    "012345678901234567890123456789012345678901234567";
    static const struct { const char *why, *text; int family; const char *ip; uint16_t port; } cases[] = {
        {"IPv4", "127.0.0.1:8080", AF_INET, "127.0.0.1", 8080},
        {"all IPv4", "0.0.0.0:1", AF_INET, "0.0.0.0", 1},
        {"the last port", "10.1.2.3:65535", AF_INET, "10.1.2.3", 65535},
        {"IPv6", "[::1]:443", AF_INET6, "::1", 443},
        {"all IPv6", "[::]:8080", AF_INET6, "::", 8080},
        {"a mapped address is the IPv4 one", "[::ffff:127.0.0.1]:80", AF_INET, "127.0.0.1", 80},
        {"no address: all", ":8080", AF_INET6, "::", 8080},
        {"a unix socket", "unix:/run/tollgate.sock", AF_UNIX, NULL, 0},
        {"a relative one", "unix:t", AF_UNIX, NULL, 0},
        {"nothing", "", 0, NULL, 0},
        {"no port", "127.0.0.1", 0, NULL, 0},
        {"an empty port", "127.0.0.1:", 0, NULL, 0},
        {"a port alone", "8080", 0, NULL, 0},
        {"port 0 would be a surprise", "127.0.0.1:0", 0, NULL, 0},
        {"beyond 65535", "127.0.0.1:65536", 0, NULL, 0},
        {"far beyond", "127.0.0.1:18446744073709551617", 0, NULL, 0},
        {"a sign", "127.0.0.1:+80", 0, NULL, 0},
        {"a service name", "127.0.0.1:http", 0, NULL, 0},
        {"white space", "127.0.0.1: 80", 0, NULL, 0},
        {"a host name", "localhost:80", 0, NULL, 0},
        {"a wildcard", "*:80", 0, NULL, 0},
        {"too few octets", "127.0.1:80", 0, NULL, 0},
        {"leading zeros", "127.000.0.1:80", 0, NULL, 0},
        {"IPv6 without brackets", "::1:80", 0, NULL, 0},
        {"IPv6 without a port", "::1", 0, NULL, 0},
        {"brackets without a port", "[::1]", 0, NULL, 0},
        {"IPv4 in brackets", "[127.0.0.1]:80", 0, NULL, 0},
        {"empty brackets", "[]:80", 0, NULL, 0},
        {"half a bracket", "[::1:80", 0, NULL, 0},
        {"the other half", "::1]:80", 0, NULL, 0},
        {"a zone", "[fe80::1%lo]:80", 0, NULL, 0},
        {"a URL", "http://127.0.0.1:80", 0, NULL, 0},
        {"a unix socket without a path", "unix:", 0, NULL, 0},
        {"a path that does not fit", long_path, 0, NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_listen_address at;
        struct tg_err err = {0};
        struct tg_ip got = {0}, want = {0};
        uint16_t port = 0;
        enum tg_status st = tg_listen_parse(tg_slice_str(cases[i].text), &at, &err);

        if (cases[i].family == 0) {
            if (st != TG_BAD_INPUT || !err.text[0])
                fail_msg("%s: \"%s\" gave %d", cases[i].why, cases[i].text, st);
            continue;
        }
        if (st != TG_OK || at.address.sa.any.sa_family != cases[i].family || at.local != !cases[i].ip)
            fail_msg("%s: \"%s\" gave %d: %s", cases[i].why, cases[i].text, st, err.text);
        if (!cases[i].ip) {
            assert_string_equal(at.address.sa.local.sun_path, cases[i].text + 5);
            continue;
        }
        tg_ip_from_sockaddr(&at.address.sa.any, &got, &port);
        assert_true(tg_ip_parse(tg_slice_str(cases[i].ip), &want));
        if (!tg_ip_eq(&got, &want) || port != cases[i].port)
            fail_msg("%s: \"%s\" became another address", cases[i].why, cases[i].text);
    }
}

/* ---- binding ---- */

/* A port nobody uses now. */
static uint16_t free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    close(fd);
    return ntohs(sa.sin_port);
}

static struct tg_listen_address parsed(const char *from)
{
    struct tg_listen_address at;

    assert_int_equal(tg_listen_parse(tg_slice_str(from), &at, NULL), TG_OK);
    return at;
}

static int connected_to(const struct tg_address *to)
{
    int fd = socket(to->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, &to->sa.any, to->len) == 0)
        return fd;
    close(fd);
    return -1;
}

static void second_instance_is_refused(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "[::1]", ""};

    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct tg_listen_socket first, second;
        struct tg_err err = {0};

        snprintf(text, sizeof(text), "%s:%u", hosts[i], free_port());
        struct tg_listen_address at = parsed(text);
        if (tg_listen_bind(&at, WORKERS, &first, &err) != TG_OK) {
            tg_listen_close(&first);                     /* no IPv6 here */
            assert_int_equal(at.address.sa.any.sa_family, AF_INET6);
            continue;
        }
        assert_int_equal(first.count, WORKERS);
        assert_int_not_equal(first.fds[0], first.fds[1]);
        assert_int_equal(tg_listen_bind(&at, WORKERS, &second, &err), TG_UNAVAILABLE);
        assert_non_null(strstr(err.text, text));         /* the sentence names the address */
        assert_int_equal(second.count, 0);
        tg_listen_close(&first);
        tg_listen_close(&first);
        assert_int_equal(tg_listen_bind(&at, WORKERS, &first, NULL), TG_OK); /* at once after it went */
        tg_listen_close(&first);
    }
}

static void address_of_another_machine(void **state)
{
    (void)state;
    struct tg_listen_address at = parsed("192.0.2.1:8080");
    struct tg_listen_socket l;
    struct tg_err err = {0};

    assert_int_equal(tg_listen_bind(&at, 1, &l, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, "192.0.2.1:8080"));
}

static void unix_sockets(void **state)
{
    (void)state;
    struct tg_listen_address at = parsed(text);
    struct tg_listen_socket l, second;
    struct tg_err err = {0};
    struct stat st;

    assert_int_equal(tg_listen_bind(&at, WORKERS, &l, &err), TG_OK);
    assert_int_equal(l.fds[0], l.fds[1]);                /* one descriptor that all watch */
    assert_int_equal(tg_listen_bind(&at, WORKERS, &second, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, path));
    int client = connected_to(&at.address);              /* the first one still answers */
    assert_true(client >= 0);
    close(client);
    tg_listen_close(&l);
    assert_int_not_equal(lstat(path, &st), 0);           /* and takes its file along */

    /* A file left behind by a crash. */
    int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dead, &at.address.sa.any, at.address.len), 0);
    close(dead);
    assert_int_equal(tg_listen_bind(&at, 1, &l, &err), TG_OK);
    tg_listen_close(&l);

    /* A file that is no socket is never removed. */
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(tg_listen_bind(&at, 1, &l, &err), TG_UNAVAILABLE);
    assert_int_equal(lstat(path, &st), 0);
    unlink(path);
}

/* Somebody listens but does not accept: its socket is not stale, and asking must not wait for it. */
static void busy_unix_socket_is_not_stale(void **state)
{
    (void)state;
    struct tg_listen_address at = parsed(text);
    struct tg_listen_socket l;
    struct stat st;
    int waiting[4], other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(other, &at.address.sa.any, at.address.len), 0);
    assert_int_equal(listen(other, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)!connect(waiting[i], &at.address.sa.any, at.address.len);
    }
    alarm(10);
    assert_int_equal(tg_listen_bind(&at, 1, &l, NULL), TG_UNAVAILABLE);
    alarm(0);
    assert_int_equal(lstat(path, &st), 0);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        close(waiting[i]);
    close(other);
    unlink(path);
}

/* ---- accepting ---- */

struct door {
    struct tg_listener *listener;
    int fd;
    bool close_fd;
    unsigned count, wrong, odd;
    int family;
};

static void accepted(void *arg, int fd, const struct sockaddr *peer)
{
    struct door *d = arg;
    char c = 'x';

    d->count++;
    if (peer->sa_family != d->family || !(fcntl(fd, F_GETFL) & O_NONBLOCK) || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
        d->wrong++;
    (void)!write(fd, &c, 1);
    close(fd);
}

static void open_door(struct tg_worker *w, void *arg)
{
    struct door *d = arg;

    d->listener = tg_listener_new(w, d->fd, accepted, d);
}

static void close_door(struct tg_worker *w, void *arg)
{
    struct door *d = arg;

    (void)w;
    tg_listener_free(d->listener, d->close_fd);
    tg_listener_free(NULL, true);
}

static void visit(const struct tg_address *to)
{
    char c = 0;
    int fd = connected_to(to);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, &c, 1), 1);
    assert_int_equal(c, 'x');
    close(fd);
}

static void every_worker_accepts(void **state)
{
    (void)state;
    static const struct tg_worker_hooks hooks;
    char tcp[32];
    snprintf(tcp, sizeof(tcp), "127.0.0.1:%u", free_port());
    const char *const where[] = {tcp, text};

    for (size_t k = 0; k < ARRAY_LEN(where); k++) {
        struct tg_listen_address at = parsed(where[k]);
        struct tg_listen_socket l;
        struct tg_worker *w[WORKERS];
        struct door doors[WORKERS];

        assert_int_equal(tg_listen_bind(&at, WORKERS, &l, NULL), TG_OK);
        for (unsigned i = 0; i < WORKERS; i++) {
            doors[i] = (struct door){.fd = l.fds[i], .close_fd = !at.local, .family = at.address.sa.any.sa_family};
            assert_int_equal(tg_worker_start(i, "door", &hooks, &w[i], NULL), TG_OK);
            tg_worker_call(w[i], open_door, &doors[i]);
            if (!at.local)
                l.fds[i] = -1;                           /* the listener closes it */
        }
        for (int i = 0; i < 100; i++)
            visit(&at.address);
        for (unsigned i = 0; i < WORKERS; i++) {
            tg_worker_call(w[i], close_door, &doors[i]);
            tg_worker_stop(w[i]);
            assert_int_equal(doors[i].wrong, 0);
            if (!at.local)                               /* the kernel spreads them by address */
                assert_true(doors[i].count > 0);
        }
        assert_int_equal(doors[0].count + doors[1].count, 100);
        tg_listen_close(&l);
        assert_int_equal(connected_to(&at.address), -1);
    }
}

/* Out of descriptors: accepting waits, the one who came is served as soon as there is room again. */
static void out_of_descriptors(void **state)
{
    (void)state;
    static const struct tg_worker_hooks hooks;
    struct tg_listen_address at = parsed(text);
    struct tg_listen_socket l;
    struct tg_worker *w;
    struct rlimit old, low;
    char c = 0;

    tg_log_set_level(TG_LOG_ERROR);
    assert_int_equal(tg_listen_bind(&at, 1, &l, NULL), TG_OK);
    struct door door = {.fd = l.fds[0], .family = AF_UNIX};
    assert_int_equal(tg_worker_start(0, "door", &hooks, &w, NULL), TG_OK);
    tg_worker_call(w, open_door, &door);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)client + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    int gap = dup(0);                                    /* a hole below, if there is one, is filled */
    while (gap >= 0)
        gap = dup(0);
    assert_int_equal(connect(client, &at.address.sa.any, at.address.len), 0);
    usleep(50000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(read(client, &c, 1), 1);
    assert_int_equal(c, 'x');
    close(client);
    tg_worker_call(w, close_door, &door);
    tg_worker_stop(w);
    assert_int_equal(door.count, 1);
    tg_listen_close(&l);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(text, sizeof(text), "unix:%s", path);
    return 0;
}

static int name_the_socket(void **state)
{
    (void)state;
    snprintf(text, sizeof(text), "unix:%s", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);                                   /* empty: nothing was left behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(second_instance_is_refused),
        cmocka_unit_test(address_of_another_machine),
        cmocka_unit_test_setup(unix_sockets, name_the_socket),
        cmocka_unit_test_setup(busy_unix_socket_is_not_stale, name_the_socket),
        cmocka_unit_test_setup(every_worker_accepts, name_the_socket),
        cmocka_unit_test_setup(out_of_descriptors, name_the_socket),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
