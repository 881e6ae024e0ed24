/*
 * probe - what opens, what does not, what never answers, and what is given up.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/clock.h"
#include "io/probe.h"
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#define QUEUED 8

static struct tg_worker *worker;
static struct tg_address to[TG_PROBE_MAX];
static size_t to_count;
static atomic_int answers;
static uint32_t opened;
static struct tg_probe *pending;
static bool inside, called_inside;

static int listen_on(const struct tg_ip *ip, int backlog, struct tg_address *at)
{
    socklen_t len;
    int fd;

    tg_address_from_ip(ip, 0, at);
    len = at->len;
    fd = socket(at->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &at->sa.any, at->len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, &at->sa.any, &len), 0);
    return fd;
}

static void on_done(void *arg, uint32_t bits)
{
    (void)arg;
    called_inside = called_inside || inside;
    opened = bits;
    pending = NULL;
    atomic_fetch_add(&answers, 1);
}

static void start(struct tg_worker *w, void *arg)
{
    inside = true;
    pending = tg_probe_start(w, to, to_count, *(int64_t *)arg, on_done, NULL);
    inside = false;
}

static void cancel(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    tg_probe_cancel(pending);
    pending = NULL;
}

static bool answered(int64_t patience_ms)
{
    int64_t until = tg_clock_mono_ms() + patience_ms;

    while (!atomic_load(&answers) && tg_clock_mono_ms() < until)
        poll(NULL, 0, 2);
    return atomic_load(&answers) == 1;
}

static int64_t run(int64_t timeout_ms)
{
    int64_t began = tg_clock_mono_ms();

    atomic_store(&answers, 0);
    tg_worker_call(worker, start, &timeout_ms);
    assert_true(answered(timeout_ms + 5000));
    assert_false(called_inside);
    return tg_clock_mono_ms() - began;
}

static const struct tg_ip v4 = {.family = 4, .bytes = {127, 0, 0, 1}}, v6 = {.family = 6, .bytes = {[15] = 1}};

static void some_open(void **state)
{
    int closed, a, b;
    struct pollfd p;
    int conn;
    char c;

    (void)state;
    to_count = 3;
    a = listen_on(&v4, 4, &to[0]);
    closed = listen_on(&v4, 4, &to[1]);
    close(closed);
    b = listen_on(&v6, 4, &to[2]);
    assert_true(run(1000) < 900);                        /* a refusal is an answer */
    assert_int_equal(opened, 5);
    p = (struct pollfd){.fd = a, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 1000), 1);
    conn = accept(a, NULL, NULL);
    assert_int_equal(read(conn, &c, 1), 0);              /* closed politely, nothing said */
    close(conn);
    close(a);
    close(b);
}

static void none_to_try(void **state)
{
    (void)state;
    to_count = 0;
    run(1000);
    assert_int_equal(opened, 0);
}

/* A full queue drops what comes: no answer at all. */
static void no_answer(void **state)
{
    int queued[QUEUED], fd;

    (void)state;
    to_count = 1;
    fd = listen_on(&v4, 0, &to[0]);
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(queued[i], &to[0].sa.any, to[0].len) == 0 || errno == EINPROGRESS);
    }
    assert_true(run(300) >= 250);
    assert_int_equal(opened, 0);
    int64_t long_ms = 60000;

    atomic_store(&answers, 0);
    tg_worker_call(worker, start, &long_ms);
    assert_non_null(pending);
    tg_worker_call(worker, cancel, NULL);
    assert_false(answered(100));
    for (int i = 0; i < QUEUED; i++)
        close(queued[i]);
    close(fd);
}

static void own_addresses(void **state)
{
    struct tg_ip all[64], few[1];
    size_t count = tg_host_addresses(all, 64);
    bool loopback = false;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        loopback = loopback || tg_ip_eq(&all[i], &v4);
        assert_false(all[i].family == 6 && all[i].bytes[0] == 0xfe && (all[i].bytes[1] & 0xc0) == 0x80);
        for (size_t j = 0; j < i; j++)
            assert_false(tg_ip_eq(&all[i], &all[j]));
    }
    assert_true(loopback);
    assert_int_equal(tg_host_addresses(few, 1), 1);
}

static int begin(void **state)
{
    static const struct tg_worker_hooks hooks;

    (void)state;
    return tg_worker_start(0, "probe", &hooks, &worker, NULL) == TG_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    tg_worker_stop(worker);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_open), cmocka_unit_test(none_to_try), cmocka_unit_test(no_answer),
        cmocka_unit_test(own_addresses),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
