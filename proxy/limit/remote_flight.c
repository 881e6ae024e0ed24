/*
 * remote_flight - what one worker asks of the store: the wishes of many entries in one command, one command at a time.
 *
 * What is wished for within a turn of the loop, or while a command is on its way, goes with the next one.
 * Invariants: a queued entry has a wish and a reference; so has one in the air. What was sent as given back is not here
 * any more, whatever becomes of the command.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "remote_internal.h"
#include <stdio.h>

#define QUEUE_MAX 8192
#define SWEEP_MS 100
#define NUMBER 24                                        /* characters of one */
#define LAST_ITEMS 512                                   /* of one command, when everything goes back at the end */
#define LAST_COMMANDS 32
#define LAND_MS 100
#define LAST_MS 500                                      /* for all of them */

/* ---- wishes ---- */

void tg_flight_wish(struct tg_remote_link *link, struct tg_lease *l, unsigned wishes)
{
    if (!wishes || (link->away && (!link->linked || link->refused || link->flight.in_air)))
        return;                                          /* not asked now: nobody is to rely on it */
    if (l->wishes) {                                     /* in a queue, of this worker or of another one */
        l->wishes |= (uint8_t)wishes;
        return;
    }
    if (link->queue_count >= QUEUE_MAX)
        return;
    if (link->queue_count == link->queue_room) {
        link->queue_room = link->queue_room ? link->queue_room * 2 : TG_FLIGHT_ITEMS;
        link->queue = tg_realloc(link->queue, link->queue_room * sizeof(struct tg_lease *));
    }
    l->wishes = (uint8_t)wishes;
    l->refs++;
    link->queue[link->queue_count++] = l;
    tg_worker_defer(link->worker, &link->send);
}

/* ---- words of a command ---- */

struct words {
    struct tg_slice keys[LAST_ITEMS], args[LAST_ITEMS * TG_SCRIPT_ARGS];
    char names[LAST_ITEMS][TG_STORE_NAME];
    char numbers[LAST_ITEMS * TG_SCRIPT_ARGS][NUMBER];
};

static struct tg_slice name_of(const struct tg_remote *r, const struct tg_lease *l, char out[TG_STORE_NAME])
{
    char room[32];
    struct tg_buf text = {room, 0, sizeof(room)};        /* 22 characters: it does not grow */
    size_t n = r->prefix.len;

    tg_base64url_encode(tg_slice((const char *)l->digest, TG_LEASE_DIGEST), &text);
    memcpy(out, r->prefix.ptr, n);
    out[n++] = ':';
    memcpy(out + n, text.data, text.len);
    return tg_slice(out, n + text.len);
}

static void fill_words(const struct tg_remote *r, const struct tg_lease_item *items, size_t count, struct words *w)
{
    for (size_t i = 0; i < count; i++) {
        w->keys[i] = name_of(r, items[i].lease, w->names[i]);
        for (size_t k = 0; k < TG_SCRIPT_ARGS; k++) {
            char *text = w->numbers[i * TG_SCRIPT_ARGS + k];
            int n = snprintf(text, NUMBER, "%lld", (long long)items[i].args[k]);

            w->args[i * TG_SCRIPT_ARGS + k] = tg_slice(text, (size_t)n);
        }
    }
}

/* ---- sending ---- */

static void count_returned(struct tg_remote_link *link, const struct tg_lease_item *item)
{
    if (item->args[TG_ARG_BACK])
        tg_metric_add(link->remote->metrics.returned, link->worker->index + 1, item->args[TG_ARG_BACK]);
}

/* How many items the wishes came to, at most `most`. */
static size_t gather(struct tg_remote_link *link, int64_t now_us, struct tg_lease_item *items, size_t most)
{
    struct tg_lease_moment m;
    size_t taken = 0, count = 0;

    tg_remote_moment(link, now_us, &m);
    while (taken < link->queue_count && count + 2 <= most) {
        struct tg_lease *l = link->queue[taken++];
        size_t n;

        tg_lease_lock(l);
        n = tg_lease_items(l, &m, now_us + tg_remote_timeout_us(link), items + count);
        for (size_t i = 0; i < n; i++)
            count_returned(link, &items[count + i]);
        count += n;
        tg_lease_unref_unlock(l);
    }
    link->queue_count -= taken;
    if (taken)
        memmove(link->queue, link->queue + taken, link->queue_count * sizeof(struct tg_lease *));
    return count;
}

/*
 * An item of nobody's, which is granted nothing but is written: a store that cannot be written to is not back. Its name
 * expires after a few seconds.
 */
static void add_probe(const struct tg_remote *r, struct words *w)
{
    static const char values[TG_SCRIPT_ARGS][NUMBER] = {
        [TG_ARG_SLIDING] = "0", [TG_ARG_SPAN] = "1000000", [TG_ARG_LIMIT] = "0", [TG_ARG_TARGET] = "0",
        [TG_ARG_WANT] = "0", [TG_ARG_SURE] = "0", [TG_ARG_NUMBER] = "0", [TG_ARG_INCARNATION] = "0",
        [TG_ARG_HAD] = "0", [TG_ARG_SEEN] = "0", [TG_ARG_OWED] = "0", [TG_ARG_BACK] = "0"};
    int n = snprintf(w->names[0], TG_STORE_NAME, TG_S_FMT ":probe", TG_S_ARG(r->prefix));

    w->keys[0] = tg_slice(w->names[0], (size_t)n);
    for (size_t k = 0; k < TG_SCRIPT_ARGS; k++)
        w->args[k] = tg_slice_str(values[k]);
}

static void on_answer(void *arg, const struct tg_redis_answer *a);

static void take_off(struct tg_remote_link *link, bool even_empty)
{
    struct tg_flight *f = &link->flight;
    struct words *words = link->words;
    int64_t now_us;

    if (f->in_air || !link->redis || !tg_redis_is_up(link->redis) || (link->refused && !even_empty))
        return;
    now_us = tg_clock_mono_us();
    f->count = gather(link, now_us, f->items, TG_FLIGHT_ITEMS);
    if (!f->count && !even_empty)
        return;
    f->asked = f->count ? f->count : 1;
    if (f->count)
        fill_words(link->remote, f->items, f->count, words);
    else
        add_probe(link->remote, words);
    f->in_air = true;
    f->sent_us = now_us;
    if (!tg_redis_eval(link->redis, words->keys, f->asked, words->args, f->asked * TG_SCRIPT_ARGS, on_answer, link))
        on_answer(link, &(struct tg_redis_answer){.lost = true});
}

static void send_queue(struct tg_deferred *d)
{
    take_off((struct tg_remote_link *)((char *)d - offsetof(struct tg_remote_link, send)), false);
}

void tg_flight_probe(struct tg_remote_link *link) { take_off(link, true); }

/* ---- answers ---- */

static void drop_items(struct tg_remote_link *link, const struct tg_lease_item *items, size_t count)
{
    uint64_t workers = 0;

    for (size_t i = 0; i < count; i++) {
        tg_lease_lock(items[i].lease);
        workers |= tg_lease_failed(items[i].lease, &items[i]);
        tg_lease_unref_unlock(items[i].lease);
    }
    tg_remote_wake(link, workers);
}

static void take_items(struct tg_remote_link *link, const int64_t *words, const struct tg_lease_moment *m)
{
    struct tg_flight *f = &link->flight;
    uint64_t workers = 0;
    int64_t given = 0;

    for (size_t i = 0; i < f->count; i++, words += TG_SCRIPT_WORDS) {
        tg_lease_lock(f->items[i].lease);
        workers |= tg_lease_answer(f->items[i].lease, &f->items[i], words, m);
        tg_lease_unref_unlock(f->items[i].lease);
        given += words[TG_WORD_GIVEN];
    }
    f->count = 0;
    tg_metric_add(link->remote->metrics.leased, link->worker->index + 1, given);
    tg_remote_wake(link, workers);
}

static bool is_sane_item(const struct tg_lease_item *item, int64_t store_us, const int64_t *words)
{
    int64_t now = store_us / item->args[TG_ARG_SPAN], number = words[TG_WORD_NUMBER];
    int64_t oldest = words[TG_WORD_OLDEST];

    if (number != now && (number != now + 1 || number != item->args[TG_ARG_TARGET]))
        return false;
    if (item->args[TG_ARG_SLIDING] ? oldest > number || number - oldest > TG_SLIDING_STEPS : oldest != 0)
        return false;
    return words[TG_WORD_GIVEN] <= item->args[TG_ARG_WANT] && words[TG_WORD_GIVEN] <= words[TG_WORD_GRANTED];
}

/* Not so: numbers that no store of ours says; nothing is made of them. */
static bool is_sane(const struct tg_flight *f, const struct tg_redis_answer *a)
{
    if (!a->ok || a->count != 1 + f->asked * TG_SCRIPT_WORDS || a->numbers[0] <= 0)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->numbers[i] < 0 || a->numbers[i] > INT64_C(1) << 53)
            return false;
    for (size_t i = 0; i < f->count; i++)
        if (!is_sane_item(&f->items[i], a->numbers[0], a->numbers + 1 + i * TG_SCRIPT_WORDS))
            return false;
    return true;
}

static void land(struct tg_remote_link *link, const struct tg_redis_answer *a)
{
    int64_t store_us = a->numbers[0], sent_us = link->flight.sent_us;
    bool late = a->answered_us - sent_us > tg_remote_timeout_us(link);
    struct tg_lease_moment m;

    tg_remote_learn(link, sent_us, a->answered_us, store_us);
    tg_remote_moment(link, a->answered_us, &m);
    m.store.low_us = m.store.high_us = store_us;         /* it counted them then, and they were waiting then */
    take_items(link, a->numbers + 1, &m);
    link->refused = false;
    if (!late)
        tg_remote_back(link);
    else if (link->away && !link->probe.at_ms)
        tg_remote_away(link, TG_S("no answer in time"));
    tg_wait_wake(link, &m, sent_us);
    if (late && !link->away)                             /* permits came, but nobody is to wait like that again */
        tg_remote_away(link, TG_S("no answer in time"));
}

static void crash(struct tg_remote_link *link, const struct tg_redis_answer *a)
{
    drop_items(link, link->flight.items, link->flight.count);
    link->flight.count = 0;
    if (a->lost) {
        tg_wait_wake(link, NULL, 0);                     /* the link itself has told that it is down */
        return;
    }
    link->refused = true;
    tg_remote_away(link, a->ok ? TG_S("its answer cannot be understood") : a->error);
}

static void on_answer(void *arg, const struct tg_redis_answer *a)
{
    struct tg_remote_link *link = arg;
    struct tg_flight *f = &link->flight;
    enum tg_remote_commands result = a->ok ? TG_COMMAND_OK : a->lost ? TG_COMMAND_LOST : TG_COMMAND_ERROR;

    f->in_air = false;
    tg_metric_add(link->remote->metrics.commands[result], link->worker->index + 1, 1);
    if (is_sane(f, a))
        land(link, a);
    else
        crash(link, a);
    if (link->queue_count)
        tg_worker_defer(link->worker, &link->send);
}

/* ---- entries that are idle ---- */

static void wish_back(void *arg, struct tg_lease *l, unsigned wishes)
{
    tg_flight_wish(arg, l, wishes);
}

static void on_sweep(struct tg_deadline *d)
{
    struct tg_remote_link *link = (struct tg_remote_link *)((char *)d - offsetof(struct tg_remote_link, sweep));
    struct tg_lease_moment m;

    tg_remote_moment(link, tg_clock_mono_us(), &m);
    tg_leases_sweep(link->remote->leases, &m, wish_back, link);
    if (tg_leases_count(link->remote->leases))
        tg_flight_sweeps(link);
}

void tg_flight_sweeps(struct tg_remote_link *link)
{
    if (!link->sweep.at_ms)
        tg_deadline_set(&link->worker->wheel, &link->sweep, tg_clock_mono_ms() + SWEEP_MS);
}

/* ---- coming and going ---- */

void tg_flight_init(struct tg_remote_link *link)
{
    link->words = TG_NEW(struct words);
    link->send.run = send_queue;
    link->sweep.expired = on_sweep;
}

static void wish_last(void *arg, struct tg_lease *l)
{
    struct tg_remote_link *link = arg;

    if (link->queue_count < LAST_COMMANDS * LAST_ITEMS / 2)
        tg_flight_wish(link, l, TG_WISH_BACK | TG_WISH_LAST);
}

void tg_flight_land(struct tg_remote_link *link)
{
    if (link->flight.in_air && link->redis && !link->away)
        tg_redis_wait(link->redis, LAND_MS);
}

/*
 * One command after the other, each answered before the next: a connection that is closed with an answer unread takes
 * along what the server has not read yet.
 */
static void give_all_back(struct tg_remote_link *link)
{
    struct tg_lease_item *items;
    struct words *words = link->words;
    int64_t until_ms = tg_clock_mono_ms() + LAST_MS;

    if (!link->redis || !tg_redis_is_up(link->redis))
        return;
    items = TG_NEW_ARRAY(struct tg_lease_item, LAST_ITEMS);
    tg_leases_each(link->remote->leases, wish_last, link);
    for (int i = 0; i < LAST_COMMANDS && link->queue_count; i++) {
        size_t count = gather(link, tg_clock_mono_us(), items, LAST_ITEMS);

        if (!count)
            continue;
        fill_words(link->remote, items, count, words);
        tg_redis_eval_last(link->redis, words->keys, count, words->args, count * TG_SCRIPT_ARGS);
        drop_items(link, items, count);
        tg_redis_wait(link->redis, link->away ? 0 : until_ms - tg_clock_mono_ms());
    }
    free(items);
}

void tg_flight_forget(struct tg_remote_link *link)
{
    uint64_t workers = 0;

    for (size_t i = 0; i < link->queue_count; i++) {
        tg_lease_lock(link->queue[i]);
        link->queue[i]->wishes = 0;
        workers |= link->queue[i]->waiting_workers;
        tg_lease_unref_unlock(link->queue[i]);
    }
    link->queue_count = 0;
    tg_remote_wake(link, workers);                       /* who counts on it asks itself */
}

void tg_flight_fini(struct tg_remote_link *link, bool last)
{
    drop_items(link, link->flight.items, link->flight.count);
    link->flight.count = 0;
    if (last)
        give_all_back(link);
    tg_flight_forget(link);
    tg_worker_undefer(link->worker, &link->send);
    free(link->queue);
    free(link->words);
    tg_deadline_clear(&link->worker->wheel, &link->sweep);
}
