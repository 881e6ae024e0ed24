/*
 * redis_tls - rediss against a real redis-server with TLS: whom a link believes, and whom it does not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "redis_rig.h"
#include "tls_peer.h"

static char dir[64];
static struct made ca, other_ca;

static const char *in_dir(const char *name)
{
    static char paths[8][128];
    static unsigned at;
    char *path = paths[at++ % ARRAY_LEN(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

/* Its TLS port is the one next to none: `port` stays for the test's own words. */
struct tls_server {
    struct server plain;
    uint16_t port;
    char port_text[8], cert[128], key[128], ca_file[128];
};

static void start_tls(struct tls_server *t, const char *names, const struct made *by, int days)
{
    struct made m = make_cert("redis", names, by, days);

    snprintf(t->cert, sizeof(t->cert), "%s", in_dir("cert.pem"));
    snprintf(t->key, sizeof(t->key), "%s", in_dir("key.pem"));
    snprintf(t->ca_file, sizeof(t->ca_file), "%s", in_dir("ca.pem"));
    save_cert(&m, t->cert, t->key);
    free_cert(&m);
    close(listen_on_loopback(&t->port));
    snprintf(t->port_text, sizeof(t->port_text), "%u", (unsigned)t->port);
    const char *more[] = {"--tls-port", t->port_text, "--tls-cert-file", t->cert, "--tls-key-file", t->key,
                          "--tls-ca-cert-file", t->ca_file, "--tls-auth-clients", "no", "--requirepass", "hunter2"};

    memcpy(t->plain.more, more, sizeof(more));
    server_start(&t->plain);
}

static void begin(struct rig *g, uint16_t port, const char *host, const char *ca_file)
{
    char url[128];

    snprintf(url, sizeof(url), "rediss://:hunter2@%s:%u", host, (unsigned)port);
    g->options.ca_file = tg_slice_str(ca_file);
    rig_start(g, url, "return {#ARGV[1]}");
}

static void expect_up(uint16_t port, const char *host, const char *ca_file)
{
    struct rig g = {0};

    begin(&g, port, host, ca_file);
    rig_wait_up(&g, 1);
    assert_int_equal(rig_eval(&g, "k", "abc").numbers[0], 3);
    rig_stop(&g);
}

static void expect_refused(uint16_t port, const char *host, const char *ca_file, const char *why)
{
    struct rig g = {0};

    begin(&g, port, host, ca_file);
    rig_wait_down(&g, 1);
    if (!strstr(g.why, why))
        fail_msg("%s: \"%s\" is not \"%s\"", host, g.why, why);
    assert_int_equal(g.ups, 0);
    rig_stop(&g);
}

static void whom_to_believe(void **state)
{
    struct tls_server t = {0};

    (void)state;
    start_tls(&t, "DNS:localhost,IP:127.0.0.1", &ca, 30);
    expect_up(t.port, "localhost", in_dir("ca.pem"));
    expect_up(t.port, "127.0.0.1", in_dir("ca.pem"));
    expect_refused(t.port, "localhost", in_dir("other.pem"), "no TLS: ");
    expect_refused(t.port, "localhost", NULL, "no TLS: ");   /* the system's store does not know this authority */
    expect_refused(t.port, "localhost", in_dir("missing.pem"), "missing.pem");
    server_stop(&t.plain);
}

/* It waits for a whole line; of the two addresses of the name this one is told. */
static void a_plain_port(void **state)
{
    struct tls_server t = {0};
    struct rig g = {.options.dead_ms = 300};

    (void)state;
    start_tls(&t, "DNS:localhost", &ca, 30);
    begin(&g, t.plain.port, "localhost", in_dir("ca.pem"));
    rig_wait_down(&g, 1);
    assert_string_equal(g.why, "no TLS handshake within 300 ms");
    rig_stop(&g);
    server_stop(&t.plain);
}

/* The certificate is good, and somebody else's. */
static void the_name_is_checked(void **state)
{
    struct tls_server t = {0};

    (void)state;
    start_tls(&t, "DNS:other.example", &ca, 30);
    expect_refused(t.port, "localhost", in_dir("ca.pem"), "is not for");
    expect_refused(t.port, "127.0.0.1", in_dir("ca.pem"), "is not for");
    server_stop(&t.plain);
}

static void an_expired_one(void **state)
{
    struct tls_server t = {0};

    (void)state;
    start_tls(&t, "DNS:localhost", &ca, -1);
    expect_refused(t.port, "localhost", in_dir("ca.pem"), "expired");
    server_stop(&t.plain);
}

/* redis:// to a port that speaks TLS: the password was said to nobody who understood, and the reason is told. */
static void plain_words_to_a_tls_port(void **state)
{
    struct tls_server t = {0};
    struct rig g = {0};
    char url[64];

    (void)state;
    start_tls(&t, "DNS:localhost", &ca, 30);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%u", (unsigned)t.port);
    rig_start(&g, url, "return {1}");
    rig_wait_down(&g, 1);
    assert_int_equal(g.ups, 0);
    rig_stop(&g);
    server_stop(&t.plain);
}

static void much_and_again(void **state)
{
    struct tls_server t = {0};
    struct rig g = {0};
    char *large = malloc(300000);

    (void)state;
    memset(large, 'x', 300000);
    start_tls(&t, "DNS:localhost", &ca, 30);
    begin(&g, t.port, "localhost", in_dir("ca.pem"));
    rig_wait_up(&g, 1);
    assert_int_equal(rig_ask(&g, "k", tg_slice(large, 300000), 3), 3);
    rig_wait(&g, &g.answers, 3, "answers");
    assert_int_equal(g.last.numbers[0], 300000);
    assert_int_equal(rig_ask(&g, "k", tg_slice_str("x"), 1000), 1000);
    rig_wait(&g, &g.answers, 1003, "answers");
    server_kill(&t.plain);
    rig_wait_down(&g, 1);
    server_run(&t.plain);
    rig_wait_up(&g, 2);
    assert_int_equal(rig_eval(&g, "k", "ab").numbers[0], 2);
    rig_stop(&g);
    server_stop(&t.plain);
    free(large);
}

/* A renewed authority needs no restart. */
static void the_authority_is_read_anew(void **state)
{
    struct tls_server t = {0};
    struct rig g = {0};

    (void)state;
    start_tls(&t, "DNS:localhost", &ca, 30);
    save_cert(&other_ca, in_dir("later.pem"), NULL);
    begin(&g, t.port, "localhost", in_dir("later.pem"));
    rig_wait_down(&g, 1);
    save_cert(&ca, in_dir("later.pem"), NULL);
    rig_wait_up(&g, 1);
    rig_stop(&g);
    server_stop(&t.plain);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/tollgate-redis-tls-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    ca = make_cert("one authority", NULL, NULL, 30);
    other_ca = make_cert("another", NULL, NULL, 30);
    save_cert(&ca, in_dir("ca.pem"), NULL);
    save_cert(&other_ca, in_dir("other.pem"), NULL);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ca.pem", "other.pem", "cert.pem", "key.pem", "later.pem"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(in_dir(names[i]));
    free_cert(&ca);
    free_cert(&other_ca);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_to_believe),
        cmocka_unit_test(a_plain_port),
        cmocka_unit_test(the_name_is_checked),
        cmocka_unit_test(an_expired_one),
        cmocka_unit_test(plain_words_to_a_tls_port),
        cmocka_unit_test(much_and_again),
        cmocka_unit_test(the_authority_is_read_anew),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
