/* remote_faults - a store that is killed, stopped, wiped, read-only, full or asleep while requests come. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <time.h>
#include "io/alarm.h"
#include "../../../proxy/limit/remote_script.h"
#include "limit_rig.h"

#define LATE_US 150000                                   /* what a busy machine may add to a wait */

#define LENGTH_US INT64_C(60000000)                      /* of most windows here */

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
    return 0;
}

static const char *url(void) { return server_url(&server, "", "/0"); }

static void early_in_minute(void)
{
    if (time(NULL) % 60 > 48)
        at_beginning_of(60);
}

/* ---- killed ---- */

static void alone_while_it_is_down(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct tally t;

    (void)state;
    early_in_minute();
    car_start(&car, url(), 2, 1000);
    car_wait_up(&car);
    assert_int_equal(spend(&car, 0, &tier, 1, 10).admitted, 10); /* 50 are leased */
    server_kill(&server);
    car_wait_down(&car);
    t = spend(&car, 1, &tier, 1, 120);
    assert_int_equal(t.admitted, 90);                    /* the whole limit, with what was used before */
    assert_int_equal(t.waited, 0);
    assert_int_equal(t.failed, 0);
    assert_in_range(t.local, 40, 120);
    t = spend(&car, 1, &tier, 2, 120);                   /* never seen before */
    assert_int_equal(t.admitted, 100);
    assert_int_equal(t.waited, 0);
    server_run(&server);
    car_wait_up(&car);
    usleep(700000);                                      /* what was admitted meanwhile is told without being asked */
    assert_in_range(server_sum(&server, "g"), 150, 200);
    assert_int_equal(spend(&car, 0, &tier, 1, 5).admitted, 0);
    assert_int_equal(spend(&car, 0, &tier, 2, 5).admitted, 0);
    t = spend(&car, 0, &tier, 3, 5);
    assert_int_equal(t.admitted, 5);
    assert_int_equal(t.local, 0);
    car_stop(&car);
}

static void denied_while_it_is_down(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {.settings.store_fails_deny = true};
    struct tally t;

    (void)state;
    early_in_minute();
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    assert_int_equal(spend(&car, 0, &tier, 1, 10).admitted, 10);
    server_kill(&server);
    car_wait_down(&car);
    t = spend(&car, 0, &tier, 1, 120);
    assert_int_equal(t.admitted, 40);                    /* what is in hand */
    assert_int_equal(t.failed, 80);
    assert_int_equal(t.waited, 0);
    server_run(&server);
    car_wait_up(&car);
    t = spend(&car, 0, &tier, 1, 120);                   /* wiped: what was used is said again */
    assert_int_equal(t.admitted, 50);
    assert_int_equal(t.failed, 0);
    car_stop(&car);
}

static void down_from_the_start(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {.settings.store_timeout_ms = 25};
    struct tally t;

    (void)state;
    early_in_minute();
    server_kill(&server);
    car_start(&car, url(), 1, 1000);
    t = spend(&car, 0, &tier, 1, 120);
    assert_int_equal(t.admitted, 100);
    assert_in_range(t.waited, 0, 1);
    server_run(&server);
    car_wait_up(&car);
    assert_int_equal(server_sum_within(&server, 5000, "g", 100), 100);
    assert_int_equal(spend(&car, 0, &tier, 1, 5).admitted, 0);
    car_stop(&car);
}

/* ---- silent ---- */

static void nobody_waits_twice_for_a_silent_one(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {.settings.store_timeout_ms = 25};
    struct client c = {.tier = &tier, .subject = 100, .most = 300, .keys = 300, .every_us = 3000};

    (void)state;
    early_in_minute();
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    kill(server.pid, SIGSTOP);
    client_start(&c, &car, 0);
    client_wait(&c);
    kill(server.pid, SIGCONT);
    assert_int_equal(c.tally.admitted, 300);
    assert_int_equal(c.tally.waited, 1);                 /* the first */
    assert_in_range(c.tally.longest_us, 20000, 25000 + LATE_US);
    assert_in_range(c.tally.local, 299, 300);
    car_wait_up(&car);
    struct tally t = spend(&car, 0, &tier, 9, 5);
    assert_int_equal(t.local, 0);
    usleep(600000);
    assert_in_range(server_sum(&server, "g"), 305, 305 + 66 * 64); /* debts, and what the late answer brought */
    car_stop(&car);
}

static void asleep_for_a_moment(void **state)
{
    struct tg_window w = a_window(1000, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {.settings.store_timeout_ms = 25};
    struct client c = {.tier = &tier, .subject = 100, .most = 100, .keys = 100, .every_us = 3000};

    (void)state;
    early_in_minute();
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    int fd = connect_to_loopback(server.port);
    dprintf(fd, "DEBUG SLEEP 0.5\r\n");
    usleep(20000);
    client_start(&c, &car, 0);
    client_wait(&c);
    close(fd);
    assert_int_equal(c.tally.admitted, 100);
    assert_in_range(c.tally.waited, 1, 3);
    assert_in_range(c.tally.longest_us, 0, 25000 + LATE_US);
    car_wait_up(&car);
    assert_int_equal(spend(&car, 0, &tier, 9, 5).local, 0);
    car_stop(&car);
}

/* ---- errors ---- */

static void errors_are_as_being_away(void **state)
{
    static const struct { const char *break_it, *mend_it; } cases[] = {
        {"REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"},
        {"CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"},
        {"ACL SETUSER default -evalsha", "ACL SETUSER default +evalsha"},
        {"CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tg_window w = a_window(100, 60, false);
        struct tg_tier tier = a_tier(&w, 1);
        struct car car = {0};
        struct tally t;

        early_in_minute();
        car_start(&car, url(), 1, 1000);
        car_wait_up(&car);
        usleep(50000);
        server_do(&server, cases[i].break_it);
        t = spend(&car, 0, &tier, 1, 120);
        assert_int_equal(t.admitted, 100);
        assert_in_range(t.waited, 1, 1);
        car_wait_down(&car);
        server_do(&server, cases[i].mend_it);
        car_wait_up(&car);
        usleep(600000);
        assert_int_equal(spend(&car, 0, &tier, 1, 5).admitted, 0);
        assert_int_equal(spend(&car, 0, &tier, 2, 5).local, 0);
        car_stop(&car);
    }
}

/* ---- wiped ---- */

static void a_wiped_store_is_told_again(void **state)
{
    struct tg_window w = a_window(200, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car cars[2] = {0};
    unsigned admitted = 0, granted[2];

    (void)state;
    early_in_minute();
    for (unsigned i = 0; i < 2; i++) {
        car_start(&cars[i], url(), 1, 1000);
        car_wait_up(&cars[i]);
        admitted += spend(&cars[i], 0, &tier, 1, 40).admitted;
        granted[i] = (unsigned)server_sum(&server, "g");
    }
    assert_int_equal(admitted, 80);
    server_do(&server, "FLUSHALL");
    for (unsigned round = 0; round < 10; round++)
        for (unsigned i = 0; i < 2; i++)
            admitted += spend(&cars[i], 0, &tier, 1, 100).admitted;
    /* Too many: at most what the second had been granted when the first asked anew. */
    assert_in_range(admitted, 200, 200 + granted[1] - granted[0]);
    assert_true(server_sum(&server, "g") >= 200);
    for (unsigned i = 0; i < 2; i++)
        car_stop(&cars[i]);
}

/* ---- sliding ---- */

static void sliding_holds_in_any_span(void **state)
{
    struct tg_window w = a_window(60, 1, true);
    struct tg_tier tier = a_tier(&w, 1);
    struct car cars[3] = {0};
    struct client clients[6] = {0};
    struct tally all = {0};
    int64_t began_ms;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        car_start(&cars[i], url(), 2, 1000);
        car_wait_up(&cars[i]);
    }
    began_ms = tg_clock_mono_ms();
    for (unsigned i = 0; i < 6; i++) {
        clients[i].tier = &tier;
        clients[i].subject = 8;
        clients[i].every_us = 500;
        client_start(&clients[i], &cars[i / 2], i % 2);
    }
    usleep(5000000);
    for (unsigned i = 0; i < 6; i++)
        atomic_store(&clients[i].stop, true);
    for (unsigned i = 0; i < 6; i++) {
        client_wait(&clients[i]);
        tally_merge(&all, &clients[i].tally);
    }
    unsigned spans = (unsigned)((tg_clock_mono_ms() - began_ms) / 1000) + 1;
    assert_int_equal(all.local + all.failed, 0);
    assert_true(all.admitted <= 60 * spans);
    assert_true(all.admitted >= 60 * (spans - 2));       /* ten elevenths, and what was in the wrong hands */
    for (unsigned i = 0; i < 3; i++)
        car_stop(&cars[i]);
}

/* ---- waiting ---- */

struct cancelling {
    struct car *car;
    const struct tg_tier *tier;
    struct tg_limit_ask ask;
    bool waited;
    unsigned called;
};

static void must_not_be_called(void *arg) { ((struct cancelling *)arg)->called++; }

static void ask_and_cancel(struct tg_worker *w, void *arg)
{
    struct cancelling *c = arg;
    struct tg_charge out;

    (void)w;
    c->ask = (struct tg_limit_ask){.tier = c->tier, .done = must_not_be_called, .arg = c,
                                   .caller = {.identity_key = 77, .issuer = TG_S("i"), .subject = TG_S("s")}};
    c->waited = !tg_limit_charge(c->car->workers[0].limits, &c->ask, &out);
    tg_limit_cancel(c->car->workers[0].limits, &c->ask);
    tg_limit_cancel(c->car->workers[0].limits, &c->ask);
}

static void who_goes_away_is_not_counted(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct cancelling c = {.car = &car, .tier = &tier};

    (void)state;
    early_in_minute();
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    tg_worker_call(car.workers[0].worker, ask_and_cancel, &c);
    assert_true(c.waited);
    usleep(100000);
    assert_int_equal(c.called, 0);
    car_stop(&car);
    assert_int_equal(server_sum_within(&server, 5000, "g", 0), 0);
}

/* Two wait; the store is given up, and the first one's call takes the second one along, as a lost connection does. */
struct pair { struct car *car; struct cancelling a, b; };

static void takes_the_other_along(void *arg)
{
    struct pair *p = arg;

    p->a.called++;
    tg_limit_cancel(p->car->workers[0].limits, &p->b.ask);
    memset(&p->b.ask, 0xff, sizeof(p->b.ask));           /* it is gone */
    p->b.ask.done = NULL;
}

static void ask_and_rebind(struct tg_worker *w, void *arg)
{
    static const struct tg_limit_settings memory = {.store = TG_S("memory")};
    struct pair *p = arg;
    struct tg_limit_worker *limits = p->car->workers[0].limits;
    struct tg_charge out;

    (void)w;
    p->a.ask = (struct tg_limit_ask){.tier = p->a.tier, .done = takes_the_other_along, .arg = p,
                                     .caller = {.identity_key = 78, .issuer = TG_S("i"), .subject = TG_S("s")}};
    p->b.ask = p->a.ask;
    p->a.waited = !tg_limit_charge(limits, &p->a.ask, &out);
    p->b.waited = !tg_limit_charge(limits, &p->b.ask, &out);
    tg_limit_worker_bind(limits, &memory);
}

static void who_is_let_go_may_be_cancelled(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0};
    struct pair p = {.car = &car, .a.tier = &tier};

    (void)state;
    car_start(&car, url(), 1, 1000);
    car_wait_up(&car);
    tg_worker_call(car.workers[0].worker, ask_and_rebind, &p);
    assert_true(p.a.waited && p.b.waited);
    assert_int_equal(p.a.called, 1);
    car_stop(&car);
}

static void goes_on_later(struct tg_worker *w, void *arg)
{
    (void)w;
    (void)arg;
    usleep(200000);
    kill(server.pid, SIGCONT);
}

/* The answer to what was in the air comes when nobody waits for it any more, while all goes back. */
static void an_answer_after_the_end(void **state)
{
    struct tg_window w = a_window(100, 60, false);
    struct tg_tier tier = a_tier(&w, 1);
    struct car car = {0}, other = {0};
    struct pair p = {.car = &car, .a.tier = &tier};
    int64_t began_ms;

    (void)state;
    early_in_minute();
    car_start(&car, url(), 1, 1000);
    car_start(&other, url(), 1, 1000);
    car_wait_up(&car);
    car_wait_up(&other);
    assert_int_equal(spend(&car, 0, &tier, 7, 3).admitted, 3);
    kill(server.pid, SIGSTOP);
    began_ms = tg_clock_mono_ms();
    tg_worker_post(other.workers[0].worker, goes_on_later, NULL);
    tg_worker_call(car.workers[0].worker, ask_and_rebind, &p);
    assert_true(tg_clock_mono_ms() - began_ms < 2000);
    assert_int_equal(p.a.called, 1);
    assert_int_equal(spend(&car, 0, &tier, 7, 3).admitted, 3);
    car_stop(&car);
    car_stop(&other);
    assert_int_equal(server_sum(&server, "g"), 3 + 50);  /* the late answer's permits are lost, the others are not */
}

/* ---- answers that no store of ours gives ---- */

static void absurd_answers_admit_nothing(void **state)
{
    static const struct { int64_t ahead, incarnation, given, granted, serial, oldest; } cases[] = {
        {0, 1, 1000000000, 0, 0, 0},                     /* more than was asked for */
        {0, 1, 65, 1000000, 0, 0},
        {0, 1, 64, 10, 10, 0},                           /* more than all together */
        {5000000000000, 1, 1, 1, 1, 0},                  /* a window in the far future */
        {2, 1, 1, 1, 1, 0},
        {1, 1, 1, 1, 1, 0},                              /* the next one, which nobody wanted */
        {-1, 1, 1, 1, 1, 0},                             /* one that is over */
        {0, 1, 1, 1, 1, 7},
        {0, 1, -1, 1, 1, 0},
        {0, INT64_MAX, 1, 1, 1, 0},
        {0, 1, 1, INT64_MAX, 1, 0},
    };

    (void)state;
    early_in_minute();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t now_us = (int64_t)time(NULL) * 1000000;
        char answer[256], where[64];
        struct fake f = {0};
        struct tg_window w = a_window(100, 60, false);
        struct tg_tier tier = a_tier(&w, 1);
        struct car car = {0};
        struct tally t;

        snprintf(answer, sizeof(answer), "*7\r\n:%lld\r\n:%lld\r\n:%lld\r\n:%lld\r\n:%lld\r\n:%lld\r\n:%lld\r\n",
                 (long long)now_us, (long long)(now_us / LENGTH_US + cases[i].ahead), (long long)cases[i].incarnation,
                 (long long)cases[i].given, (long long)cases[i].granted, (long long)cases[i].serial,
                 (long long)cases[i].oldest);
        f.answer = tg_slice_str(answer);
        fake_start(&f);
        snprintf(where, sizeof(where), "redis://127.0.0.1:%u", f.port);
        car_start(&car, where, 1, 1000);
        t = spend(&car, 0, &tier, 1, 300);
        if (t.admitted != 100 || t.longest_us > 1000000)
            fail_msg("case %zu: %u admitted, %lld us", i, t.admitted, (long long)t.longest_us);
        assert_int_equal(spend(&car, 0, &tier, 2, 300).admitted, 100);
        car_stop(&car);
        fake_stop(&f);
    }
}

/* ---- the store's clock ---- */

/* The real script in the real server at a time that we say; the answer without the time. */
static void script_at(int64_t now_us, const int64_t args[TG_SCRIPT_ARGS], int64_t words[TG_SCRIPT_WORDS])
{
    static const char line[] = "local clock = redis.call('TIME')\n";
    static char text[16384], command[32768], answer[1024];
    size_t n;

    assert_memory_equal(tg_remote_script, line, sizeof(line) - 1);
    snprintf(text, sizeof(text), "local clock = {%lld, %lld}\n%s", (long long)(now_us / 1000000),
             (long long)(now_us % 1000000), tg_remote_script + sizeof(line) - 1);
    n = (size_t)snprintf(command, sizeof(command), "*%d\r\n$4\r\nEVAL\r\n$%zu\r\n%s\r\n$1\r\n1\r\n$1\r\nk",
                         4 + TG_SCRIPT_ARGS, strlen(text), text);
    for (size_t i = 0; i < TG_SCRIPT_ARGS; i++) {
        char number[24];
        int len = snprintf(number, sizeof(number), "%lld", (long long)args[i]);

        n += (size_t)snprintf(command + n, sizeof(command) - n, "\r\n$%d\r\n%s", len, number);
    }
    assert_true(server_says(&server, command, answer, sizeof(answer)));
    char *at = strchr(answer, '\n');

    for (size_t i = 0; i <= TG_SCRIPT_WORDS; i++) {
        if (!at || at[1] != ':')
            fail_msg("%s", answer);
        if (i > 0)
            words[i - 1] = strtoll(at + 2, NULL, 10);
        at = strchr(at + 1, '\n');
    }
}

static int64_t given_at(int64_t now_us, int64_t want, int64_t target)
{
    int64_t args[TG_SCRIPT_ARGS] = {[TG_ARG_SPAN] = LENGTH_US, [TG_ARG_LIMIT] = 100, [TG_ARG_WANT] = want,
                                    [TG_ARG_SURE] = want, [TG_ARG_TARGET] = target};
    int64_t words[TG_SCRIPT_WORDS];

    script_at(now_us, args, words);
    return words[TG_WORD_GIVEN];
}

static void a_clock_set_back_opens_nothing_anew(void **state)
{
    const int64_t edge_us = 30000000 * LENGTH_US;

    (void)state;
    assert_int_equal(given_at(edge_us - 1, 30, 0), 30);  /* the last moment of one window */
    assert_int_equal(given_at(edge_us, 90, 0), 90);      /* the first of the next */
    assert_int_equal(given_at(edge_us - 2000, 90, 0), 10); /* set back over the edge */
    assert_int_equal(given_at(edge_us - 1000, 90, 30000000), 10); /* ahead: what was left of it */
    assert_int_equal(given_at(edge_us + 1000, 90, 0), 0); /* and again there */
    assert_int_equal(given_at(edge_us + LENGTH_US, 90, 0), 90);
    assert_int_equal(given_at(edge_us - 5 * LENGTH_US, 90, 0), 10); /* far: counts on in what is now the present one */
    assert_int_equal(given_at(edge_us - 4 * LENGTH_US, 90, 0), 90);
}

static void permits_for_the_next_window_go_back(void **state)
{
    const int64_t edge_us = 40000000 * LENGTH_US, next = 40000000;
    int64_t args[TG_SCRIPT_ARGS] = {[TG_ARG_SPAN] = LENGTH_US, [TG_ARG_LIMIT] = 100, [TG_ARG_WANT] = 60,
                                    [TG_ARG_SURE] = 60, [TG_ARG_TARGET] = next, [TG_ARG_NUMBER] = next};
    int64_t words[TG_SCRIPT_WORDS];

    (void)state;
    for (int late = 0; late < 2; late++) {               /* before its window begins, and a moment after */
        server_do(&server, "FLUSHALL");
        args[TG_ARG_WANT] = 60;
        args[TG_ARG_INCARNATION] = args[TG_ARG_HAD] = args[TG_ARG_BACK] = 0;
        script_at(edge_us - 1000, args, words);
        assert_int_equal(words[TG_WORD_GIVEN], 60);
        args[TG_ARG_WANT] = 0;
        args[TG_ARG_INCARNATION] = words[TG_WORD_INCARNATION];
        args[TG_ARG_HAD] = args[TG_ARG_BACK] = 60;
        script_at(late ? edge_us : edge_us - 1, args, words);
        assert_int_equal(words[TG_WORD_GRANTED], 0);
        assert_int_equal(given_at(edge_us + 10, 100, 0), 100);
    }
}

/* ---- other tenants ---- */

static void name_of_counter(char *out, size_t room)
{
    char answer[512], *line;

    assert_true(server_says(&server, "KEYS tollgate:*", answer, sizeof(answer)));
    line = strstr(answer, "tollgate:");
    while (line && strncmp(line, "tollgate:probe", 14) == 0)
        line = strstr(line + 1, "tollgate:");
    assert_non_null(line);
    snprintf(out, room, "%.*s", (int)strcspn(line, "\r\n"), line);
}

/* Who writes something else to the name of one counter spoils that counter at most. */
static void one_spoiled_counter_is_one(void **state)
{
    static const char *const spoils[] = {
        "SET %s text", "HSET %s g nan", "HSET %s g 1e300", "HSET %s g -5", "HSET %s g inf i nan s nan w nan",
        "HSET %s w 1e18", "HSET %s s 1e300", "HSET %s m 1e300 p inf b nan", "HSET %s i 0.5 s 0.5 g 0.5 j 0.5 a 0.5",
        "LPUSH %s x"};
    struct tg_window w[2] = {a_window(100, 60, false), a_window(110, 60, true)};
    struct tg_tier tiers[2] = {a_tier(&w[0], 1), a_tier(&w[1], 1)};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(spoils); i++) {
        const struct tg_tier *tier = &tiers[i % 2];
        struct car cars[2] = {0};
        char name[128], command[256];
        struct tally t;

        early_in_minute();
        server_do(&server, "FLUSHALL");
        for (unsigned k = 0; k < 2; k++) {
            car_start(&cars[k], url(), 1, 1000);
            car_wait_up(&cars[k]);
        }
        usleep(20000);
        assert_int_equal(spend(&cars[0], 0, tier, 1, 5).admitted, 5);
        name_of_counter(name, sizeof(name));
        if (strncmp(spoils[i / 2], "HSET", 4) != 0) {
            snprintf(command, sizeof(command), "DEL %s", name);
            server_do(&server, command);
        }
        snprintf(command, sizeof(command), "%.*s%s%s", (int)strcspn(spoils[i / 2], "%"), spoils[i / 2], name,
                 strchr(spoils[i / 2], '%') + 2);
        server_do(&server, command);
        t = spend(&cars[1], 0, tier, 1, 5);
        if (t.local || t.failed)
            fail_msg("%s: the store was taken for away", spoils[i / 2]);
        t = spend(&cars[1], 0, tier, 2, 5);
        assert_int_equal(t.admitted, 5);
        assert_int_equal(t.local, 0);
        for (unsigned k = 0; k < 2; k++)
            car_stop(&cars[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(alone_while_it_is_down, empty_server),
        cmocka_unit_test_setup(denied_while_it_is_down, empty_server),
        cmocka_unit_test_setup(down_from_the_start, empty_server),
        cmocka_unit_test_setup(nobody_waits_twice_for_a_silent_one, empty_server),
        cmocka_unit_test_setup(asleep_for_a_moment, empty_server),
        cmocka_unit_test_setup(errors_are_as_being_away, empty_server),
        cmocka_unit_test_setup(a_wiped_store_is_told_again, empty_server),
        cmocka_unit_test_setup(sliding_holds_in_any_span, empty_server),
        cmocka_unit_test_setup(who_goes_away_is_not_counted, empty_server),
        cmocka_unit_test_setup(who_is_let_go_may_be_cancelled, empty_server),
        cmocka_unit_test_setup(an_answer_after_the_end, empty_server),
        cmocka_unit_test_setup(absurd_answers_admit_nothing, empty_server),
        cmocka_unit_test_setup(a_clock_set_back_opens_nothing_anew, empty_server),
        cmocka_unit_test_setup(permits_for_the_next_window_go_back, empty_server),
        cmocka_unit_test_setup(one_spoiled_counter_is_one, empty_server),
    };

    signal(SIGPIPE, SIG_IGN);
    if (getenv("ONE"))
        cmocka_set_test_filter(getenv("ONE"));
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
