/*
 * limit_rig - several sidecars in one process: a limiter each, with workers of its own, on one real store.
 */
#pragma once
#include "../io/redis_rig.h"
#include "limit/limiter.h"


#define CAR_WORKERS 4
#define RESETS 64

struct count { int64_t reset_s; unsigned admitted, refused, failed, local; };
struct tally {                                           /* of one client, or of several together */
    unsigned admitted, refused, failed, local, waited, requests;
    int64_t longest_us;
    struct count counts[RESETS];
    size_t count;
};

struct car {
    struct tg_limiter *limiter;
    struct tg_limit_settings settings;
    unsigned worker_count;
    struct car_worker {
        struct car *car;
        struct tg_worker *worker;
        struct tg_resolver *resolver;
        struct tg_limit_worker *limits;
    } workers[CAR_WORKERS];
};

static inline enum tg_status car_init(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct car_worker *cw = arg;
    enum tg_status st = tg_resolver_new(w, &cw->resolver, err);

    if (st == TG_OK) {
        cw->limits = tg_limit_worker_new(cw->car->limiter, w, cw->resolver);
        tg_limit_worker_bind(cw->limits, &cw->car->settings);
    }
    return st;
}

static inline void car_fini(struct tg_worker *w, void *arg)
{
    struct car_worker *cw = arg;

    (void)w;
    tg_limit_worker_free(cw->limits);
    tg_resolver_free(cw->resolver);
}

static inline struct tg_limit_state car_state(struct car *c)
{
    struct tg_limit_state s;

    tg_limiter_state(c->limiter, &s);
    return s;
}

static inline void car_wait_up(struct car *c)
{
    int64_t until_ms = tg_clock_mono_ms() + WAIT_MS;

    while (car_state(c).links_up < c->worker_count && tg_clock_mono_ms() < until_ms)
        usleep(1000);
    assert_int_equal(car_state(c).links_up, c->worker_count);
}

static inline void car_wait_down(struct car *c)
{
    int64_t until_ms = tg_clock_mono_ms() + WAIT_MS;

    while (car_state(c).links_up > 0 && tg_clock_mono_ms() < until_ms)
        usleep(1000);
    assert_int_equal(car_state(c).links_up, 0);
}

static char car_urls[16][256];

static inline void car_set_store(struct car *c, const char *url)
{
    static unsigned at;
    char *mine = car_urls[at++ % ARRAY_LEN(car_urls)];

    snprintf(mine, sizeof(car_urls[0]), "%s", url);
    c->settings.store = tg_slice_str(mine);
    c->settings.store_prefix = TG_S("tollgate");
    c->settings.store_secret = TG_S("a secret for names of counters");
    if (!c->settings.store_timeout_ms)
        c->settings.store_timeout_ms = 5000;             /* tests of totals are not about a busy machine */
}

/* Members of settings may be set before. */
static inline void car_start(struct car *c, const char *url, unsigned workers, size_t max_keys)
{
    struct tg_err err = {0};

    if (url)
        car_set_store(c, url);
    c->limiter = tg_limiter_new(max_keys);
    c->worker_count = workers;
    for (unsigned i = 0; i < workers; i++) {
        struct tg_worker_hooks hooks = {car_init, car_fini, &c->workers[i]};

        c->workers[i].car = c;
        assert_int_equal(tg_worker_start(i, "car", &hooks, &c->workers[i].worker, &err), TG_OK);
    }
}

static inline void car_stop(struct car *c)
{
    for (unsigned i = 0; i < c->worker_count; i++)
        tg_worker_stop(c->workers[i].worker);
    tg_limiter_free(c->limiter);
    c->limiter = NULL;
}

/* ---- clients: one request after the other ---- */

struct client {
    struct car_worker *at;
    const struct tg_tier *tier;
    uint64_t subject;
    unsigned most;                                       /* requests; 0: until stopped */
    int64_t every_us;                                    /* between two; 0: at once */
    unsigned keys;                                       /* of as many subjects in turn; 0: one */
    bool only_note;
    atomic_bool stop, done;
    struct tally tally;
    /* private */
    struct tg_limit_ask ask;
    struct tg_charge last;
    struct tg_deferred next;
    struct tg_alarm *pause;
    char name[32];
    int64_t since_us;
    bool finished;
};

static inline void tally_add(struct tally *t, int64_t reset_s, const struct tg_charge *c)
{
    size_t i;

    t->requests++;
    t->admitted += c->admitted;
    t->failed += c->failed;
    t->refused += !c->admitted && !c->failed;
    t->local += c->counter == TG_COUNTER_LOCAL;
    for (i = 0; i < t->count && t->counts[i].reset_s != reset_s; i++)
        continue;
    if (i == t->count && t->count < RESETS)
        t->counts[t->count++] = (struct count){.reset_s = reset_s};
    if (i < RESETS) {
        t->counts[i].admitted += c->admitted;
        t->counts[i].failed += c->failed;
        t->counts[i].refused += !c->admitted && !c->failed;
        t->counts[i].local += c->counter == TG_COUNTER_LOCAL;
    }
}

static inline void tally_merge(struct tally *into, const struct tally *t)
{
    into->admitted += t->admitted;
    into->refused += t->refused;
    into->failed += t->failed;
    into->local += t->local;
    into->waited += t->waited;
    into->requests += t->requests;
    into->longest_us = t->longest_us > into->longest_us ? t->longest_us : into->longest_us;
    for (size_t i = 0; i < t->count; i++) {
        size_t k;

        for (k = 0; k < into->count && into->counts[k].reset_s != t->counts[i].reset_s; k++)
            continue;
        if (k == into->count && k < RESETS)
            into->counts[into->count++] = (struct count){.reset_s = t->counts[i].reset_s};
        if (k < RESETS) {
            into->counts[k].admitted += t->counts[i].admitted;
            into->counts[k].refused += t->counts[i].refused;
            into->counts[k].failed += t->counts[i].failed;
            into->counts[k].local += t->counts[i].local;
        }
    }
}

static inline void client_name(struct client *c, uint64_t subject)
{
    c->ask.caller.identity_key = subject;
    snprintf(c->name, sizeof(c->name), "subject-%llu", (unsigned long long)subject);
    c->ask.caller.issuer = TG_S("https://issuer.test");
    c->ask.caller.subject = tg_slice_str(c->name);
}

static inline void client_record(struct client *c, bool waited)
{
    int64_t took_us = tg_clock_mono_us() - c->since_us;

    c->tally.longest_us = took_us > c->tally.longest_us ? took_us : c->tally.longest_us;
    c->tally.waited += waited;
    tally_add(&c->tally, c->last.reset_s, &c->last);
}

static void client_run(struct client *c);

static inline void client_done(void *arg)
{
    struct client *c = arg;

    assert_true(tg_limit_charge(c->at->limits, &c->ask, &c->last));
    client_record(c, true);
    client_run(c);
}

static inline bool client_is_over(struct client *c)
{
    return (c->most && c->tally.requests >= c->most) || atomic_load(&c->stop);
}

static inline void client_end(struct client *c)
{
    tg_alarm_free(c->pause);
    c->pause = NULL;
    atomic_store(&c->done, true);
}

static inline void client_again(void *arg) { client_run(arg); }
static inline void client_turn(struct tg_deferred *d)
{
    client_run((struct client *)((char *)d - offsetof(struct client, next)));
}

static void client_run(struct client *c)
{
    for (unsigned i = 0; i < 32; i++) {
        if (client_is_over(c)) {
            client_end(c);
            return;
        }
        c->ask = (struct tg_limit_ask){.tier = c->tier, .done = client_done, .arg = c,
                                       .wall_ms = tg_clock_wall_ms()};
        client_name(c, c->subject + (c->keys ? c->tally.requests % c->keys : 0));
        c->since_us = tg_clock_mono_us();
        if (c->only_note)
            tg_limit_note(c->at->limits, &c->ask, &c->last);
        else if (!tg_limit_charge(c->at->limits, &c->ask, &c->last))
            return;
        client_record(c, false);
        if (c->every_us) {
            tg_alarm_set(c->pause, c->every_us);
            return;
        }
    }
    tg_worker_defer(c->at->worker, &c->next);
}

static inline void client_begin(struct tg_worker *w, void *arg)
{
    struct client *c = arg;

    c->next.run = client_turn;
    c->pause = tg_alarm_new(w, client_again, c);
    client_run(c);
}

static inline void client_start(struct client *c, struct car *car, unsigned worker)
{
    c->at = &car->workers[worker];
    tg_worker_post(c->at->worker, client_begin, c);
}

static inline void client_wait(struct client *c)
{
    int64_t until_ms = tg_clock_mono_ms() + 60000;

    while (!atomic_load(&c->done) && tg_clock_mono_ms() < until_ms)
        usleep(500);
    assert_true(atomic_load(&c->done));
}

/* So many requests of one subject, one after the other. */
static inline struct tally spend(struct car *car, unsigned worker, const struct tg_tier *tier, uint64_t subject,
                                 unsigned requests)
{
    struct client *c = test_calloc(1, sizeof(*c));
    struct tally t;

    c->tier = tier;
    c->subject = subject;
    c->most = requests;
    client_start(c, car, worker);
    client_wait(c);
    t = c->tally;
    test_free(c);
    return t;
}

/* ---- tiers ---- */

static inline struct tg_window a_window(uint32_t limit, uint32_t length_s, bool sliding)
{
    static uint64_t salts = 1;
    static char paths[64][32];
    char *path = paths[salts % ARRAY_LEN(paths)];

    snprintf(path, sizeof(paths[0]), "/t%llu/%u", (unsigned long long)salts, length_s);
    return (struct tg_window){.name = TG_S("t"), .limit = limit, .length_s = length_s, .sliding = sliding,
                              .salt = salts++, .path = tg_slice_str(path)};
}

static inline struct tg_tier a_tier(const struct tg_window *windows, size_t count)
{
    return (struct tg_tier){.name = TG_S("t"), .by = TG_BY_SUBJECT, .windows = windows, .window_count = count};
}

/* ---- the store ---- */

/* Until the next window of the store (its clock is this machine's) begins. */
static inline void at_beginning_of(unsigned length_s)
{
    int64_t length_us = (int64_t)length_s * 1000000, left_us;
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    left_us = length_us - ((int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000) % length_us;
    for (left_us += 5000; left_us > 0; left_us -= 500000)
        usleep((useconds_t)(left_us < 500000 ? left_us : 500000));
}

static inline uint64_t server_calls(struct server *s)
{
    char answer[8192];
    const char *at;

    assert_true(server_says(s, "INFO commandstats", answer, sizeof(answer)));
    at = strstr(answer, "cmdstat_evalsha:calls=");
    return at ? strtoull(at + strlen("cmdstat_evalsha:calls="), NULL, 10) : 0;
}

/* The sum of a field over all counters. */
static inline int64_t server_sum(struct server *s, const char *field)
{
    char command[512], answer[256];

    snprintf(command, sizeof(command),
             "*3\r\n$4\r\nEVAL\r\n$%zu\r\nlocal n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do n = n + "
             "(tonumber(redis.call('HGET', k, '%s')) or 0) end return n\r\n$1\r\n0",
             strlen("local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do n = n + (tonumber(redis.call('HGET', "
                    "k, '')) or 0) end return n") + strlen(field), field);
    assert_true(server_says(s, command, answer, sizeof(answer)));
    assert_int_equal(answer[0], ':');
    return strtoll(answer + 1, NULL, 10);
}

/* The sum, as soon as it is `want`, or after so long. */
static inline int64_t server_sum_within(struct server *s, int64_t ms, const char *field, int64_t want)
{
    int64_t until_ms = tg_clock_mono_ms() + ms, sum;

    while ((sum = server_sum(s, field)) != want && tg_clock_mono_ms() < until_ms)
        usleep(20000);
    return sum;
}
