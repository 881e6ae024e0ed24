/*
 * fleet - a model of many sidecars that share their limits through one store; fleet.py builds, runs and judges it.
 *
 * Real are the leases of proxy/limit (table, pace, clock) and the script, in a real redis-server. Virtual are time, the
 * network, who asks when, and what fails when: so a hundred sidecars and their minutes take seconds of one machine. The
 * store's clock is the model's: TIME in the script is an argument, PEXPIRE does nothing. Only `charge` and `fly` stand
 * for code that is not here: the way of a request in limit/remote, without its event loop.
 *
 *   fleet SOCKET name=value ...        one line of JSON
 */
#include "remote_table.h"
#include "base/err.h"
#include <hiredis/hiredis.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000LL
#define STORE_EPOCH_US (1700006400LL * SECOND)           /* the store's clock at the model's 0: a full day */
#define ITEMS_MAX 64                                     /* as TG_FLIGHT_ITEMS of remote_internal.h */
#define SWEEP_US 100000
#define BACK_OFF_MIN_US 100000
#define BACK_OFF_MAX_US 1600000

/* ---- what the model is of ---- */

static struct {
    double sidecars, keys, spread, rate, zipf, window_s, limit, seconds, burst, regular, sliding;
    double latency_us, timeout_ms, deny, seed, skew_ms;
    double wipe_at, away_from, away_to;                  /* seconds; 0: never */
} want = {.sidecars = 100, .keys = 1, .spread = 0, .rate = 1000, .zipf = 0, .window_s = 60, .limit = 1000,
          .seconds = 180, .burst = 1, .latency_us = 300, .timeout_ms = 25, .seed = 1, .skew_ms = 50};
static const struct { const char *name; double *value; } names[] = {
    {"sidecars", &want.sidecars}, {"keys", &want.keys}, {"spread", &want.spread}, {"rate", &want.rate},
    {"zipf", &want.zipf}, {"window", &want.window_s}, {"limit", &want.limit}, {"seconds", &want.seconds},
    {"burst", &want.burst}, {"regular", &want.regular}, {"sliding", &want.sliding}, {"latency_us", &want.latency_us},
    {"timeout_ms", &want.timeout_ms}, {"deny", &want.deny}, {"seed", &want.seed}, {"skew_ms", &want.skew_ms},
    {"wipe_at", &want.wipe_at}, {"away_from", &want.away_from}, {"away_to", &want.away_to},
};

static void read_wishes(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        size_t n = 0;

        while (equals && n < sizeof(names) / sizeof(names[0]) && strncmp(names[n].name, argv[i],
               strlen(names[n].name) > (size_t)(equals - argv[i]) ? strlen(names[n].name) : (size_t)(equals - argv[i])))
            n++;
        if (!equals || n == sizeof(names) / sizeof(names[0])) {
            fprintf(stderr, "fleet: unknown: %s\n", argv[i]);
            exit(2);
        }
        *names[n].value = atof(equals + 1);
    }
}

static uint64_t random_state;

static double chance(void)                               /* [0, 1) */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* ---- what happens when ---- */

enum what { REQUEST, TURN, PROBE, SWEEP, AT_STORE, ANSWERED, TIME_OUT, WIPE };
struct event {
    int64_t at_us;
    uint64_t order;
    enum what what;
    uint32_t sidecar, stream;
};
static struct event *heap;
static size_t heap_count, heap_room;
static uint64_t event_order;
static int64_t now_us;

static bool before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void happens(int64_t at_us, enum what what, uint32_t sidecar, uint32_t stream)
{
    size_t i = heap_count++;
    struct event e = {at_us, event_order++, what, sidecar, stream};

    if (heap_count > heap_room) {
        heap_room = heap_room ? heap_room * 2 : 1024;
        heap = realloc(heap, heap_room * sizeof(*heap));
    }
    for (; i && before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = e;
}

static struct event next_event(void)
{
    struct event first = heap[0], last = heap[--heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= heap_count)
            break;
        child += child + 1 < heap_count && before(&heap[child + 1], &heap[child]);
        if (!before(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

/* ---- who asks ---- */

struct stream {                                          /* one key at one sidecar */
    uint32_t key, sidecar;
    double gap_us, active_us;                            /* between requests; time spent asking */
};
static struct stream *streams;
static size_t stream_count;
struct times { int64_t *at; size_t count, room; };
struct key { struct times admitted, asked; };
static struct key *keys;

static void note(struct times *t, int64_t at_us)
{
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->at = realloc(t->at, t->room * sizeof(*t->at));
    }
    t->at[t->count++] = at_us;
}

/* Asking time to the model's: with bursts, only the first part of each window is asked in. */
static int64_t on_the_clock(double active_us)
{
    double window_us = want.window_s * SECOND, part = window_us * want.burst;

    return want.burst >= 1 ? (int64_t)active_us
                           : (int64_t)(floor(active_us / part) * window_us + fmod(active_us, part));
}

static void next_request(uint32_t i)
{
    struct stream *s = &streams[i];
    int64_t at;

    s->active_us += want.regular ? s->gap_us : -s->gap_us * log(1 - chance());
    at = on_the_clock(s->active_us);
    if (at < want.seconds * SECOND)
        happens(at, REQUEST, s->sidecar, i);
}

static void make_streams(void)
{
    size_t spread = want.spread ? (size_t)want.spread : (size_t)want.sidecars;
    double all = 0;

    for (size_t k = 0; k < want.keys; k++)
        all += pow((double)(k + 1), -want.zipf);
    streams = calloc((size_t)want.keys * spread, sizeof(*streams));
    keys = calloc((size_t)want.keys, sizeof(*keys));
    for (size_t k = 0; k < want.keys; k++) {
        double rate = want.rate * pow((double)(k + 1), -want.zipf) / all / (double)spread;
        uint32_t first = (uint32_t)(chance() * want.sidecars);

        for (size_t i = 0; i < spread; i++) {
            struct stream *s = &streams[stream_count];

            s->key = (uint32_t)k;
            s->sidecar = (first + (uint32_t)i) % (uint32_t)want.sidecars;
            s->gap_us = SECOND / rate * want.burst;
            s->active_us = want.regular ? s->gap_us * -chance() : 0;
            next_request((uint32_t)stream_count++);
        }
    }
}

/* ---- the store ---- */

static redisContext *store;
static char digest_of_script[41];
static uint64_t commands, items_asked;

static void put(char **at, const char *text)
{
    size_t n = strlen(text);

    memcpy(*at, text, n + 1);
    *at += n;
}

/* The script with a clock of ours: `redis.call` is a function of its own that knows two commands better. */
static void load_script(const char *path)
{
    static const char head[] =
        "local moment = ARGV[#ARGV]\n"
        "local redis = {call = function(c, ...)\n"
        "  if c == 'TIME' then return {string.sub(moment, 1, -7), string.sub(moment, -6)} end\n"
        "  if c == 'PEXPIRE' then return 1 end\n"
        "  return redis.call(c, ...)\n"
        "end, pcall = redis.pcall}\n";
    char *text = malloc(sizeof(head) + strlen(tg_remote_script) + 1), *at = text;
    redisReply *r;

    put(&at, head);
    put(&at, tg_remote_script);
    store = redisConnectUnix(path);
    if (!store || store->err) {
        fprintf(stderr, "fleet: %s: %s\n", path, store ? store->errstr : "no memory");
        exit(1);
    }
    freeReplyObject(redisCommand(store, "FLUSHALL"));
    r = redisCommand(store, "SCRIPT LOAD %s", text);
    if (!r || r->type != REDIS_REPLY_STRING) {
        fprintf(stderr, "fleet: the script: %s\n", r ? r->str : store->errstr);
        exit(1);
    }
    memcpy(digest_of_script, r->str, 40);
    freeReplyObject(r);
    free(text);
}

/* One command for all these items. */
static void ask_store(const struct tg_lease_item *items, size_t count, int64_t *words)
{
    static char text[ITEMS_MAX * TG_SCRIPT_ARGS + 1][24], name[ITEMS_MAX][2 * TG_LEASE_DIGEST + 1], number[24];
    const char *argv[3 + ITEMS_MAX * (TG_SCRIPT_ARGS + 1) + 1];
    size_t argc = 0;
    redisReply *r;

    snprintf(number, sizeof(number), "%zu", count);
    argv[argc++] = "EVALSHA";
    argv[argc++] = digest_of_script;
    argv[argc++] = number;
    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < TG_LEASE_DIGEST; b++)
            snprintf(name[i] + 2 * b, 3, "%02x", items[i].lease->digest[b]);
        argv[argc++] = name[i];
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t a = 0; a < TG_SCRIPT_ARGS; a++) {
            snprintf(text[i * TG_SCRIPT_ARGS + a], sizeof(text[0]), "%lld", (long long)items[i].args[a]);
            argv[argc++] = text[i * TG_SCRIPT_ARGS + a];
        }
    }
    snprintf(text[count * TG_SCRIPT_ARGS], sizeof(text[0]), "%lld", (long long)(STORE_EPOCH_US + now_us));
    argv[argc++] = text[count * TG_SCRIPT_ARGS];
    r = redisCommandArgv(store, (int)argc, argv, NULL);
    if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 1 + count * TG_SCRIPT_WORDS) {
        fprintf(stderr, "fleet: the script answers: %s\n", r && r->str ? r->str : store->errstr);
        exit(1);
    }
    for (size_t i = 0; i < r->elements; i++)
        words[i] = r->element[i]->integer;
    freeReplyObject(r);
    commands++;
    items_asked += count;
}

/* ---- a sidecar ---- */

struct waiter { uint32_t stream; int64_t since_us; };    /* by the model's clock */
struct flight {
    struct tg_lease_item items[ITEMS_MAX];
    int64_t words[1 + ITEMS_MAX * TG_SCRIPT_WORDS];
    size_t count;
    int64_t sent_us;                                     /* by the model's clock */
    bool executed;
};
struct sidecar {
    struct tg_leases *leases;
    struct tg_store_clock clock;
    int64_t skew_us;                                     /* its monotonic clock is ahead of the model's */
    bool away, turning;
    int64_t back_off_us;
    struct tg_lease **queue;
    size_t queue_count, queue_room;
    struct waiter *waiters;
    size_t waiter_count, waiter_room;
    struct flight *flight;
};
static struct sidecar *sidecars;
static uint64_t waits, alone, refused_503, asked_in_all, admitted_in_all;

static struct tg_lease_moment moment_of(const struct sidecar *s)
{
    int64_t mono_us = now_us + s->skew_us;
    struct tg_lease_moment m = {.mono_us = mono_us, .known = s->clock.known, .steps = s->clock.steps};

    m.store = s->clock.known ? tg_store_clock_at(&s->clock, mono_us)
                             : (struct tg_store_time){STORE_EPOCH_US + now_us, STORE_EPOCH_US + now_us};
    return m;
}

static uint32_t index_of(const struct sidecar *s) { return (uint32_t)(s - sidecars); }
static int64_t timeout_us(void) { return (int64_t)(want.timeout_ms * 1000); }
static int64_t one_way_us(void) { return (int64_t)(want.latency_us * (0.5 + chance())); }

static void wish(void *arg, struct tg_lease *l, unsigned wishes)
{
    struct sidecar *s = arg;

    if (!wishes || s->away)
        return;
    if (!l->wishes) {
        if (s->queue_count == s->queue_room) {
            s->queue_room = s->queue_room ? s->queue_room * 2 : 64;
            s->queue = realloc(s->queue, s->queue_room * sizeof(struct tg_lease *));
        }
        s->queue[s->queue_count++] = l;
        l->refs++;
    }
    l->wishes |= (uint8_t)wishes;
    if (!s->turning)
        happens(now_us, TURN, index_of(s), 0);
    s->turning = true;
}

static struct tg_lease *lease_of(struct sidecar *s, uint32_t key, const struct tg_lease_moment *m)
{
    uint64_t id = (key + 1) * 0x9e3779b97f4a7c15u;
    struct tg_lease *l = tg_leases_lock(s->leases, id), *evicted = NULL;
    struct tg_lease_kind kind = {id, (int64_t)(want.window_s * SECOND), want.sliding != 0};
    uint8_t digest[TG_LEASE_DIGEST] = {0};

    if (l)
        return l;
    memcpy(digest, &id, sizeof(id));
    return tg_leases_add(s->leases, &kind, digest, m, &evicted);
}

/* A request that waited was counted when the store gave its permit. */
static void admit(uint32_t key, const struct tg_lease_moment *m)
{
    int64_t counted_us = tg_lease_now_us(m) - STORE_EPOCH_US;

    note(&keys[key].admitted, counted_us < now_us ? counted_us : now_us);
    admitted_in_all++;
}

static void wait_for_store(struct sidecar *s, struct tg_lease *l, uint32_t stream, int64_t since_us)
{
    if (since_us < 0) {
        since_us = now_us;
        happens(now_us + timeout_us(), TIME_OUT, index_of(s), 0);
        waits++;
    }
    if (s->waiter_count == s->waiter_room) {
        s->waiter_room = s->waiter_room ? s->waiter_room * 2 : 16;
        s->waiters = realloc(s->waiters, s->waiter_room * sizeof(struct waiter));
    }
    s->waiters[s->waiter_count++] = (struct waiter){stream, since_us};
    l->waiting++;
}

/* One request; `since_us` is not -1 when it has waited since then. */
static void charge(struct sidecar *s, uint32_t stream, int64_t since_us, const struct tg_lease_moment *m)
{
    uint32_t limit = (uint32_t)want.limit, key = streams[stream].key;
    struct tg_lease *l = lease_of(s, key, m);
    uint64_t id = l->id;
    bool may_wait = !s->away && (since_us < 0 || now_us - since_us < timeout_us());
    enum tg_lease_take took;

    if (since_us < 0)
        tg_lease_touch(l, limit, m);
    took = tg_lease_take(l, limit, m, false);
    if (took != TG_NONE)
        wish(s, l, tg_lease_wishes(l, took, m));
    else if (l->asked_until_us <= m->mono_us)
        wish(s, l, TG_WISH_PERMITS);
    if (took == TG_TOOK) {
        admit(key, m);
    } else if (took == TG_NONE && may_wait) {
        wait_for_store(s, l, stream, since_us);
    } else if (took == TG_NONE && want.deny) {
        refused_503++;
    } else if (took == TG_NONE && tg_lease_take_alone(l, limit, m, false)) {
        tg_lease_schedule(l, m);
        alone++;
        admit(key, m);
    }
    tg_leases_unlock(s->leases, id);
}

/* Who waits is decided or waits on; who waited when the store was asked, as of the time it counted. */
static void wake_waiters(struct sidecar *s, const struct tg_lease_moment *then, int64_t sent_us)
{
    struct tg_lease_moment m = moment_of(s);
    struct waiter *old = s->waiters;
    size_t count = s->waiter_count;

    s->waiters = NULL;
    s->waiter_count = s->waiter_room = 0;
    for (size_t i = 0; i < count; i++)
        charge(s, old[i].stream, old[i].since_us, then && old[i].since_us <= sent_us ? then : &m);
    free(old);
}

/* ---- flights ---- */

static void fly(struct sidecar *s, bool even_empty)
{
    struct tg_lease_moment m = moment_of(s);
    struct flight *f;
    size_t taken = 0;

    if (s->flight || (!even_empty && (s->away || !s->queue_count)))
        return;
    f = calloc(1, sizeof(*f));
    while (taken < s->queue_count && f->count + 2 <= ITEMS_MAX) {
        struct tg_lease *l = s->queue[taken++];

        tg_lease_lock(l);
        f->count += tg_lease_items(l, &m, m.mono_us + timeout_us(), f->items + f->count);
        tg_lease_unref_unlock(l);
    }
    s->queue_count -= taken;
    memmove(s->queue, s->queue + taken, s->queue_count * sizeof(struct tg_lease *));
    if (!f->count && !even_empty) {
        free(f);
        return;
    }
    f->sent_us = now_us;
    s->flight = f;
    happens(now_us + one_way_us(), AT_STORE, index_of(s), 0);
}

static bool store_is_away(void)
{
    return now_us >= want.away_from * SECOND && now_us < want.away_to * SECOND;
}

static void at_store(struct sidecar *s)
{
    struct flight *f = s->flight;

    f->executed = !store_is_away();
    if (f->executed)
        ask_store(f->items, f->count, f->words);
    happens(now_us + (f->executed ? one_way_us() : timeout_us()), ANSWERED, index_of(s), 0);
}

static void forget_wishes(struct sidecar *s)
{
    for (size_t i = 0; i < s->queue_count; i++) {
        tg_lease_lock(s->queue[i]);
        s->queue[i]->wishes = 0;
        tg_lease_unref_unlock(s->queue[i]);
    }
    s->queue_count = 0;
}

/* Its link is broken: it tries again, at growing intervals. */
static void goes_away(struct sidecar *s)
{
    s->back_off_us = s->away && s->back_off_us < BACK_OFF_MAX_US ? s->back_off_us * 2 : BACK_OFF_MIN_US;
    s->away = true;
    happens(now_us + (int64_t)((double)s->back_off_us * (1 + chance() / 4)), PROBE, index_of(s), 0);
    forget_wishes(s);
    wake_waiters(s, NULL, 0);
}

static void take_items(struct flight *f, const struct tg_lease_moment *m)
{
    for (size_t i = 0; i < f->count; i++) {
        tg_lease_lock(f->items[i].lease);
        if (f->executed)
            tg_lease_answer(f->items[i].lease, &f->items[i], f->words + 1 + i * TG_SCRIPT_WORDS, m);
        else
            tg_lease_failed(f->items[i].lease, &f->items[i]);
        tg_lease_unref_unlock(f->items[i].lease);
    }
}

static void answered(struct sidecar *s)
{
    struct flight *f = s->flight;
    struct tg_lease_moment m;

    s->flight = NULL;
    if (f->executed) {
        tg_store_clock_learn(&s->clock, f->sent_us + s->skew_us, now_us + s->skew_us, f->words[0]);
        s->away = false;
        m = moment_of(s);
        m.store.low_us = m.store.high_us = f->words[0];
        take_items(f, &m);
        wake_waiters(s, &m, f->sent_us);
    } else {
        m = moment_of(s);
        take_items(f, &m);
        goes_away(s);
    }
    free(f);
    fly(s, false);
}

static void time_out(struct sidecar *s)
{
    if (s->waiter_count && now_us - s->waiters[0].since_us >= timeout_us())
        wake_waiters(s, NULL, 0);
}

static void sweep(struct sidecar *s)
{
    struct tg_lease_moment m = moment_of(s);

    tg_leases_sweep(s->leases, &m, wish, s);
    if (now_us < want.seconds * SECOND)
        happens(now_us + SWEEP_US, SWEEP, index_of(s), 0);
}

static void run(void)
{
    while (heap_count) {
        struct event e = next_event();
        struct sidecar *s = &sidecars[e.sidecar];
        struct tg_lease_moment m;

        now_us = e.at_us;
        switch (e.what) {
        case REQUEST:
            note(&keys[streams[e.stream].key].asked, now_us);
            asked_in_all++;
            m = moment_of(s);
            charge(s, e.stream, -1, &m);
            next_request(e.stream);
            break;
        case TURN: s->turning = false; fly(s, false); break;
        case PROBE: fly(s, true); break;
        case SWEEP: sweep(s); break;
        case AT_STORE: at_store(s); break;
        case ANSWERED: answered(s); break;
        case TIME_OUT: time_out(s); break;
        case WIPE: freeReplyObject(redisCommand(store, "FLUSHALL")); break;
        }
    }
}

/* ---- what came of it ---- */

static uint64_t in_span(const struct times *t, size_t *from, int64_t end_us)
{
    size_t start = *from;

    while (*from < t->count && t->at[*from] < end_us)
        (*from)++;
    return *from - start;
}

/* The most that was admitted of one key in any span of a window's length. */
static uint64_t worst_span(const struct times *t)
{
    uint64_t worst = 0;

    for (size_t i = 0, j = 0; i < t->count; i++) {
        while (t->at[i] - t->at[j] >= want.window_s * SECOND)
            j++;
        worst = worst > i - j + 1 ? worst : i - j + 1;
    }
    return worst;
}

static void tell(void)
{
    uint64_t limit = (uint64_t)want.limit, over = 0, over_all = 0, unmet = 0, unmet_all = 0, due_all = 0, any_span = 0;

    for (size_t k = 0; k < want.keys; k++) {
        size_t a = 0, b = 0;

        for (int64_t end = 1; end <= (int64_t)(want.seconds / want.window_s); end++) {
            uint64_t asked = in_span(&keys[k].asked, &a, (int64_t)((double)end * want.window_s * SECOND));
            uint64_t admitted = in_span(&keys[k].admitted, &b, (int64_t)((double)end * want.window_s * SECOND));
            uint64_t due = asked < limit ? asked : limit;
            uint64_t more = admitted > limit ? admitted - limit : 0, less = admitted < due ? due - admitted : 0;

            over = over > more ? over : more;
            unmet = unmet > less ? unmet : less;
            over_all += more;
            unmet_all += less;
            due_all += due;
        }
        if (worst_span(&keys[k].admitted) > any_span)
            any_span = worst_span(&keys[k].admitted);
    }
    printf("{\"asked\": %llu, \"admitted\": %llu, \"due\": %llu, \"over_worst\": %llu, \"over\": %llu, "
           "\"under_worst\": %llu, \"under\": %llu, \"any_span\": %llu, \"commands\": %llu, \"items\": %llu, "
           "\"waits\": %llu, \"alone\": %llu, \"unavailable\": %llu}\n",
           (unsigned long long)asked_in_all, (unsigned long long)admitted_in_all, (unsigned long long)due_all,
           (unsigned long long)over, (unsigned long long)over_all, (unsigned long long)unmet,
           (unsigned long long)unmet_all, (unsigned long long)any_span, (unsigned long long)commands,
           (unsigned long long)items_asked, (unsigned long long)waits, (unsigned long long)alone,
           (unsigned long long)refused_503);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: fleet SOCKET name=value ...\n");
        return 2;
    }
    read_wishes(argc, argv);
    random_state = (uint64_t)want.seed;
    load_script(argv[1]);
    sidecars = calloc((size_t)want.sidecars, sizeof(*sidecars));
    for (size_t i = 0; i < want.sidecars; i++) {
        sidecars[i].leases = tg_leases_new(1 << 20);
        sidecars[i].skew_us = 1000 * SECOND + (int64_t)(chance() * want.skew_ms * 1000);
        happens((int64_t)(chance() * SWEEP_US), SWEEP, (uint32_t)i, 0);
        happens(0, PROBE, (uint32_t)i, 0);
    }
    make_streams();
    if (want.wipe_at > 0)
        happens((int64_t)(want.wipe_at * SECOND), WIPE, 0, 0);
    run();
    tell();
    return 0;
}
