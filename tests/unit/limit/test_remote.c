/* remote - leases on a real redis-server: several sidecars in one process. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdatomic.h>
#include "io/alarm.h"
#include "limit_rig.h"

static struct server server = {.more = {"--enable-debug-command", "yes"}};

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

static int empty_server(void **state)
{
    (void)state;
    server_do(&server, "FLUSHALL");
    server_do(&server, "CONFIG RESETSTAT");
    return 0;
}

static const char *url(void) { return server_url(&server, "", "/0"); }

/* ---- cost ---- */

static void forty_requests_cost_one_command(void **state)
{
    struct tg_window w = a_window(1000, 2, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    uint64_t before;

    (void)state;
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    for (unsigned i = 0; i < 3; i++) {                   /* cold, then warm */
        at_beginning_of(2);
        before = server_calls(&server);
        struct tally t = spend(&car, 0, &tier, 1, 40);

        assert_int_equal(t.admitted, 40);
        assert_in_range(server_calls(&server) - before, 0, 1);
        assert_int_equal(t.counts[0].reset_s % 2, 0);
    }
    car_stop(&car);
}

/* From a few to many, cold or not: whatever was before. */
static void growing_keys_cost_little(void **state)
{
    static const unsigned rates[] = {10, 40, 3, 44, 1, 64, 25, 41};
    struct tg_window w = a_window(100000, 1, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};

    (void)state;
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct client c = {.tier = &tier, .subject = 1, .most = rates[i], .every_us = 800000 / rates[i]};
        uint64_t before;

        at_beginning_of(1);
        before = server_calls(&server);
        client_start(&c, &car, 0);
        client_wait(&c);
        if (rates[i] >= 40 && c.tally.count == 1)        /* else the machine was too busy to do it in one window */
            assert_in_range(server_calls(&server) - before, 0, (rates[i] - 1) / 20);
    }
    car_stop(&car);
}

/* Evenly over the window: nothing goes back in between only to be asked for again. */
static void slow_keys_cost_little(void **state)
{
    struct tg_window w = a_window(1000, 2, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct client c = {.tier = &tier, .subject = 1, .most = 160, .every_us = 45000};
    uint64_t before;

    (void)state;
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    at_beginning_of(2);
    before = server_calls(&server);
    client_start(&c, &car, 0);
    client_wait(&c);
    assert_int_equal(c.tally.admitted, 160);
    assert_true((server_calls(&server) - before) * 20 < 160);
    car_stop(&car);
}

static void busy_keys_cost_less(void **state)
{
    struct tg_window w = a_window(100000, 1, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct client c = {.tier = &tier, .subject = 1};
    uint64_t before;

    (void)state;
    car_start(&car, url(), 2, 1000);
    car_wait_up(&car);
    before = server_calls(&server);
    client_start(&c, &car, 0);
    usleep(2500000);
    atomic_store(&c.stop, true);
    client_wait(&c);
    assert_true(c.tally.admitted > 20000);
    assert_true((server_calls(&server) - before) < c.tally.requests / 200);
    car_stop(&car);
}

/* Two workers that need the same key at the same moment share one command. */
static void workers_share_an_answer(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    uint64_t before;

    (void)state;
    car_start(&car, url(), 4, 1000);
    car_wait_up(&car);
    usleep(50000);
    before = server_calls(&server);
    server_do(&server, "CLIENT PAUSE 100 WRITE");
    struct client c[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        c[i].tier = &tier;
        c[i].subject = 9;
        c[i].most = 10;
        client_start(&c[i], &car, i);
    }
    for (unsigned i = 0; i < 4; i++) {
        client_wait(&c[i]);
        assert_int_equal(c[i].tally.admitted, 10);
    }
    assert_in_range(server_calls(&server) - before, 1, 2); /* two began in the same instant */
    car_stop(&car);
}

/* ---- totals ---- */

static void merge_exact(const struct tally *all, uint32_t limit, size_t whole_at_least)
{
    int64_t first = INT64_MAX, last = 0;
    size_t whole = 0;

    for (size_t i = 0; i < all->count; i++) {
        first = all->counts[i].reset_s < first ? all->counts[i].reset_s : first;
        last = all->counts[i].reset_s > last ? all->counts[i].reset_s : last;
    }
    for (size_t i = 0; i < all->count; i++) {
        if (all->counts[i].admitted > limit)
            fail_msg("window %lld: %u of %u", (long long)all->counts[i].reset_s, all->counts[i].admitted, limit);
        if (all->counts[i].reset_s == first || all->counts[i].reset_s == last)
            continue;
        whole++;
        if (all->counts[i].admitted != limit)
            fail_msg("whole window %lld: %u of %u", (long long)all->counts[i].reset_s, all->counts[i].admitted, limit);
    }
    assert_true(whole >= whole_at_least);
}

static void three_sidecars_admit_exactly_the_limit(void **state)
{
    static const uint32_t limits[] = {7, 100, 1000, 20000};

    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
        struct tg_window w = a_window(limits[k], 1, false);
        struct tg_tier tier = a_tier(&w, 1);
        struct car cars[3] = {0};
        struct client clients[3][2][4] = {0};
        struct tally all = {0};

        for (unsigned i = 0; i < 3; i++) {
            car_start(&cars[i], url(), 2, 1000);
            car_wait_up(&cars[i]);
        }
        server_do(&server, "CONFIG RESETSTAT");
        for (unsigned i = 0; i < 24; i++) {
            struct client *c = &clients[i / 8][i / 4 % 2][i % 4];

            c->tier = &tier;
            c->subject = 5;
            c->every_us = i % 4 ? 0 : 700;
            client_start(c, &cars[i / 8], i / 4 % 2);
        }
        usleep(3300000);
        for (unsigned i = 0; i < 24; i++)
            atomic_store(&clients[i / 8][i / 4 % 2][i % 4].stop, true);
        for (unsigned i = 0; i < 24; i++) {
            client_wait(&clients[i / 8][i / 4 % 2][i % 4]);
            tally_merge(&all, &clients[i / 8][i / 4 % 2][i % 4].tally);
        }
        assert_int_equal(all.local, 0);
        assert_int_equal(all.failed, 0);
        merge_exact(&all, limits[k], 2);
        if (limits[k] >= 1000)
            assert_true(server_calls(&server) * 20 < all.admitted);
        for (unsigned i = 0; i < 3; i++)
            car_stop(&cars[i]);
    }
}

static void many_keys_share_commands(void **state)
{
    struct tg_window w = a_window(50, 2, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct client c[8] = {0};
    unsigned requests = 0;

    (void)state;
    car_start(&car, url(), 1, 10000);
    car_wait_up(&car);
    server_do(&server, "CONFIG RESETSTAT");
    for (unsigned i = 0; i < 8; i++) {
        c[i].tier = &tier;
        c[i].subject = 1000 * i + 1;
        c[i].keys = 500;
        c[i].most = 500 * 3;
        client_start(&c[i], &car, 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        client_wait(&c[i]);
        requests += c[i].tally.requests;
        assert_int_equal(c[i].tally.failed + c[i].tally.local, 0);
    }
    assert_int_equal(requests, 12000);
    assert_true(server_calls(&server) < 4000 / 2);       /* of 4000 keys: eight wait at a time */
    car_stop(&car);
}

static void several_windows_take_all_or_none(void **state)
{
    struct tg_window w[2] = {a_window(20, 1, false), a_window(50, 3600, false)};
    struct tg_tier tier = a_tier(w, 2);
    struct car car = {0};
    struct tally t;
    unsigned admitted = 0;

    (void)state;
    car_start(&car, url(), 2, 1000);
    car_wait_up(&car);
    for (unsigned i = 0; i < 4; i++) {
        at_beginning_of(1);
        t = spend(&car, i % 2, &tier, 3, 60);
        admitted += t.admitted;
        assert_int_equal(t.admitted, i < 2 ? 20 : i == 2 ? 10 : 0);
    }
    assert_int_equal(admitted, 50);
    car_stop(&car);
}

/* ---- going back ---- */

static void idle_keys_give_back(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};

    (void)state;
    if (time(NULL) % 60 > 45)
        at_beginning_of(60);
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    assert_int_equal(spend(&car, 0, &tier, 1, 5).admitted, 5);
    assert_int_equal(server_sum(&server, "g"), 64);
    assert_int_equal(server_sum_within(&server, 8000, "g", 5), 5);
    car_stop(&car);
}

static void the_end_gives_back(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};

    (void)state;
    if (time(NULL) % 60 > 50)
        at_beginning_of(60);
    car_start(&car, url(), 2, 1000);
    car_wait_up(&car);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(spend(&car, i % 2, &tier, 100 + i, 3).admitted, 3);
    assert_true(server_sum(&server, "g") >= 200 * 60);
    car_stop(&car);
    assert_int_equal(server_sum_within(&server, 5000, "g", 600), 600);
}

/* What was asked for the coming window too: when the key goes quiet, and at the end. */
static void the_next_window_goes_back(void **state)
{
    struct tg_window w = a_window(1000, 2, false);
    struct tg_tier tier = a_tier(&w, 1);

    (void)state;
    for (unsigned ends = 0; ends < 2; ends++) {
        struct car car = {0};
        struct client c = {.tier = &tier, .subject = 1 + ends, .every_us = 4000};

        server_do(&server, "FLUSHALL");
        car_start(&car, url(), 1, 1000);
        car_wait_up(&car);
        at_beginning_of(2);
        client_start(&c, &car, 0);
        while (server_sum(&server, "a") == 0 && !atomic_load(&c.done))
            usleep(500);
        atomic_store(&c.stop, true);
        client_wait(&c);
        if (!ends) {
            at_beginning_of(2);
            assert_int_equal(server_sum_within(&server, 1800, "g", 0), 0); /* before it is over and forgotten */
        }
        car_stop(&car);
        usleep(20000);
        if (ends) {
            assert_int_equal(server_sum(&server, "a"), 0);
            assert_int_equal(server_sum(&server, "g"), c.tally.admitted);
        }
    }
}

/* Long commands one after the other, and one in the air: the server hears all of them. */
static void the_end_of_many_gives_back(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct client c = {.tier = &tier, .subject = 1, .keys = 3000, .most = 3000};
    struct client more[8] = {0};
    unsigned admitted = 3000;

    (void)state;
    if (time(NULL) % 60 > 40)
        at_beginning_of(60);
    car_start(&car, url(), 1, 10000);
    car_wait_up(&car);
    for (unsigned i = 0; i < 8; i++) {
        c.subject = 1 + 375 * i;
        more[i] = c;
        more[i].keys = more[i].most = 375;
        client_start(&more[i], &car, 0);
    }
    for (unsigned i = 0; i < 8; i++)
        client_wait(&more[i]);
    assert_true(server_sum(&server, "g") > 4 * 3000);
    car_stop(&car);
    assert_int_equal(server_sum_within(&server, 5000, "g", admitted), admitted);
}

static void entries_are_bounded(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct client c = {.tier = &tier, .subject = 1, .most = 4000, .keys = 4000};

    (void)state;
    if (time(NULL) % 60 > 50)
        at_beginning_of(60);
    car_start(&car, url(), 1, 1024);
    car_wait_up(&car);
    client_start(&c, &car, 0);
    client_wait(&c);
    assert_int_equal(c.tally.admitted, 4000);
    usleep(100000);                                      /* those that had to go have given back */
    assert_true(server_sum(&server, "g") < 1100 * 64 + 4000);
    car_stop(&car);
    assert_int_equal(server_sum_within(&server, 5000, "g", 4000), 4000);
}

struct rebinding { struct car *car; unsigned worker; struct tg_limit_settings *to; };
static void rebind(struct tg_worker *w, void *arg)
{
    struct rebinding *r = arg;

    (void)w;
    tg_limit_worker_bind(r->car->workers[r->worker].limits, r->to);
}

static void a_reload_keeps_leases(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct tg_limit_settings again, memory = {0};
    uint64_t calls;

    (void)state;
    if (time(NULL) % 60 > 50)
        at_beginning_of(60);
    car_start(&car, url(), 2, 1000);
    car_wait_up(&car);
    assert_int_equal(spend(&car, 0, &tier, 1, 10).admitted, 10);
    calls = server_calls(&server);
    again = car.settings;
    again.store_timeout_ms = 900;
    for (unsigned i = 0; i < 2; i++)
        tg_worker_call(car.workers[i].worker, rebind, &(struct rebinding){&car, i, &again});
    assert_int_equal(spend(&car, 1, &tier, 1, 10).admitted, 10);
    assert_int_equal(server_calls(&server), calls);
    w.limit = 30;                                        /* another limit: the count stays */
    assert_int_equal(spend(&car, 1, &tier, 1, 50).admitted, 10);
    for (unsigned i = 0; i < 2; i++)
        tg_worker_call(car.workers[i].worker, rebind, &(struct rebinding){&car, i, &memory});
    assert_int_equal(server_sum_within(&server, 5000, "g", 30), 30);
    assert_false(car_state(&car).store_used);
    assert_int_equal(spend(&car, 1, &tier, 1, 50).admitted, 30);
    car_stop(&car);
}

/* ---- counted without a permit ---- */

static void notes_are_told(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct client c = {.tier = &tier, .subject = 4, .most = 130, .only_note = true};

    (void)state;
    if (time(NULL) % 60 > 50)
        at_beginning_of(60);
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    client_start(&c, &car, 0);
    client_wait(&c);
    assert_int_equal(c.tally.waited, 0);
    assert_in_range(c.tally.admitted, 100, 130);
    usleep(600000);
    assert_int_equal(spend(&car, 0, &tier, 4, 5).admitted, 0);
    assert_true(server_sum(&server, "g") >= 100);
    car_stop(&car);
}

static void shadow_windows_never_refuse(void **state)
{
    struct tg_window w[2] = {a_window(10, 60, false), a_window(1000, 3600, false)};
    struct tg_tier tier = a_tier(w, 2);
    struct car car = {0};
    struct client c = {.tier = &tier, .subject = 6, .most = 50, .every_us = 2000};

    (void)state;
    w[0].shadow = true;
    if (time(NULL) % 60 > 50)
        at_beginning_of(60);
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    client_start(&c, &car, 0);
    client_wait(&c);
    assert_int_equal(c.tally.admitted, 50);
    assert_true(c.last.shadow_full);
    assert_int_equal(c.last.limit, 1000);
    assert_int_equal(c.last.remaining, 950);
    car_stop(&car);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(forty_requests_cost_one_command, empty_server),
        cmocka_unit_test_setup(growing_keys_cost_little, empty_server),
        cmocka_unit_test_setup(slow_keys_cost_little, empty_server),
        cmocka_unit_test_setup(busy_keys_cost_less, empty_server),
        cmocka_unit_test_setup(workers_share_an_answer, empty_server),
        cmocka_unit_test_setup(three_sidecars_admit_exactly_the_limit, empty_server),
        cmocka_unit_test_setup(many_keys_share_commands, empty_server),
        cmocka_unit_test_setup(several_windows_take_all_or_none, empty_server),
        cmocka_unit_test_setup(idle_keys_give_back, empty_server),
        cmocka_unit_test_setup(the_end_gives_back, empty_server),
        cmocka_unit_test_setup(the_next_window_goes_back, empty_server),
        cmocka_unit_test_setup(the_end_of_many_gives_back, empty_server),
        cmocka_unit_test_setup(entries_are_bounded, empty_server),
        cmocka_unit_test_setup(a_reload_keeps_leases, empty_server),
        cmocka_unit_test_setup(notes_are_told, empty_server),
        cmocka_unit_test_setup(shadow_windows_never_refuse, empty_server),
    };

    signal(SIGPIPE, SIG_IGN);
    if (getenv("ONE"))
        cmocka_set_test_filter(getenv("ONE"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
