/*
 * revoked - the feed in force: looked at, swapped, shown to the workers.
 *
 * A thread of its own reads, for a million entries take two seconds and nobody else may wait for that; it runs from the
 * first file on. A reader compares one atomic number; only when it moved does it take the lock.
 */
#include "auth/revoked.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metric.h"
#include "revoked_set.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define LOOK_MS 1000
#define PATIENCE_LOOKS 10                                /* a file that changes at each of so many is told of */
#define PATIENCE_MS 200                                  /* for the rest of a line that is just being written */
#define PATIENCE_TIMES 10

struct tg_revocations {
    _Atomic uint64_t version;                            /* of what is published */
    pthread_mutex_t lock;                                /* of this paragraph */
    pthread_cond_t wake;
    struct tg_revoked_set *set, *told;
    char *file;                                          /* NULL: none; changed under `reading`, too */
    bool stop;
    char trouble[320];                                   /* why the last look did not count; "": it did */
    int64_t read_ms;                                     /* monotonic */

    /* of whoever holds `reading`: the thread of this, or who binds */
    pthread_mutex_t reading;
    struct tg_revoked_extent extent;
    uint64_t in_force, last;                             /* signatures: of what is published, of the last look */
    uint64_t refused;                                    /* of what was read and is no feed */
    unsigned restless;                                   /* looks in a row that did not agree */

    int64_t look_ms;
    pthread_t thread;
    bool running;
};

/* ---- what is measured ---- */

static double read_count(void *arg)
{
    struct tg_revocations *r = arg;
    size_t count;

    pthread_mutex_lock(&r->lock);
    count = (r->set ? tg_revoked_set_count(r->set) : 0) + (r->told ? tg_revoked_set_count(r->told) : 0);
    pthread_mutex_unlock(&r->lock);
    return (double)count;
}

static double read_good(void *arg)
{
    struct tg_revocations *r = arg;
    bool good;

    pthread_mutex_lock(&r->lock);
    good = !r->trouble[0];
    pthread_mutex_unlock(&r->lock);
    return good ? 1 : 0;
}

static double read_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* Series outlive us, so what they ask must not. */
static void measure(struct tg_revocations *r)
{
    tg_metric_callback(tg_metric_family(TG_GAUGE, "tollgate_revocations",
                                        "Entries of revoked_tokens_file and of the revocation hook in force.", ""),
                       NULL, r ? read_count : read_nothing, r);
    tg_metric_callback(tg_metric_family(TG_GAUGE, "tollgate_revocations_last_reload_successful",
                                        "Whether revoked_tokens_file is in force as it is now.", ""),
                       NULL, r ? read_good : read_nothing, r);
}

/* ---- one look ---- */

/* Takes over the set; NULL: none. */
static void publish(struct tg_revocations *r, struct tg_revoked_set *set)
{
    struct tg_revoked_set *before;

    pthread_mutex_lock(&r->lock);
    before = r->set;
    r->set = set;
    r->read_ms = tg_clock_mono_ms();
    atomic_fetch_add_explicit(&r->version, 1, memory_order_release);
    pthread_mutex_unlock(&r->lock);
    tg_revoked_set_unref(before);
}

struct tg_revoked_set *tg_revocations_told(struct tg_revocations *r)
{
    return r->told;
}

void tg_revocations_publish_told(struct tg_revocations *r, struct tg_revoked_set *set)
{
    struct tg_revoked_set *before;

    pthread_mutex_lock(&r->lock);
    before = r->told;
    r->told = set;
    atomic_fetch_add_explicit(&r->version, 1, memory_order_release);
    pthread_mutex_unlock(&r->lock);
    tg_revoked_set_unref(before);
}

/* Tells it once, until it is something else. */
static void set_trouble(struct tg_revocations *r, const char *words)
{
    bool new;

    pthread_mutex_lock(&r->lock);
    new = strcmp(r->trouble, words) != 0;
    snprintf(r->trouble, sizeof(r->trouble), "%s", words);
    pthread_mutex_unlock(&r->lock);
    if (new && *words)
        tg_log(TG_LOG_ERROR, "revoked tokens not read; the last good ones stay in force", TG_F_STR("error", words));
}

static void adopt(struct tg_revocations *r, struct tg_revoked_feed *feed)
{
    size_t count = tg_revoked_set_count(feed->set);

    r->extent = feed->extent;
    publish(r, feed->set);
    tg_log(feed->grown ? TG_LOG_DEBUG : TG_LOG_INFO, "revoked tokens read", TG_F_INT("entries", count));
}

static bool is_in_force(const struct tg_revocations *r, const struct tg_revoked_feed *feed)
{
    return feed->grown && feed->extent.bytes == r->extent.bytes && feed->extent.digest == r->extent.digest;
}

/* The file is not the one in force. `rested`: it is as at the last look. */
static void read_again(struct tg_revocations *r, uint64_t signature, bool rested)
{
    struct tg_revoked_feed feed = {0};
    struct tg_err err = {0};
    enum tg_status st = tg_revoked_read(r->file, &r->extent, tg_clock_wall_ms() / 1000, &feed, &err);
    bool whole = st == TG_OK && feed.ended;
    /* What is not known to have only grown may be a part of something else, as long as it is being written. */
    bool usable = st == TG_OK && (feed.grown || (rested && whole));

    if (usable && !is_in_force(r, &feed))
        adopt(r, &feed);
    else
        tg_revoked_set_unref(feed.set);
    if (usable && whole) {
        r->in_force = signature;
        set_trouble(r, "");
    } else if (rested) {
        r->refused = signature;
        set_trouble(r, err.text);
    }
}

static void look(struct tg_revocations *r)
{
    uint64_t now = tg_file_stamp(r->file);
    bool rested = now == r->last;

    r->last = now;
    r->restless = rested ? 0 : r->restless + 1;
    if (now == r->in_force) {
        r->refused = 0;
        set_trouble(r, "");
    } else if (now != r->refused) {
        read_again(r, now, rested);
        if (r->restless >= PATIENCE_LOOKS && now != r->in_force)
            set_trouble(r, "the file never rests; write another one and rename it");
    }
}

/* ---- the thread ---- */

static bool wait_for_look(struct tg_revocations *r)
{
    struct timespec at;
    bool stop;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += r->look_ms / 1000;
    at.tv_nsec += r->look_ms % 1000 * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_mutex_lock(&r->lock);
    while (!r->stop && pthread_cond_timedwait(&r->wake, &r->lock, &at) == 0)
        ;
    stop = r->stop;
    pthread_mutex_unlock(&r->lock);
    return !stop;
}

static void *watch(void *arg)
{
    struct tg_revocations *r = arg;

    pthread_setname_np(pthread_self(), "revoked");
    while (wait_for_look(r)) {
        pthread_mutex_lock(&r->reading);
        if (r->file)
            look(r);
        pthread_mutex_unlock(&r->reading);
    }
    return NULL;
}

struct tg_revocations *tg_revocations_new(void)
{
    struct tg_revocations *r = TG_NEW(struct tg_revocations);
    pthread_condattr_t attr;

    r->version = 1;                                      /* a zeroed view is behind */
    r->look_ms = LOOK_MS;
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->reading, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    measure(r);
    return r;
}

void tg_revocations_set_pace(struct tg_revocations *r, int64_t look_ms)
{
    r->look_ms = look_ms;
}

void tg_revocations_free(struct tg_revocations *r)
{
    if (!r)
        return;
    measure(NULL);
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (r->running)
        pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->reading);
    pthread_mutex_destroy(&r->lock);
    tg_revoked_set_unref(r->set);
    tg_revoked_set_unref(r->told);
    free(r->file);
    free(r);
}

/* ---- a configuration's file ---- */

/* At once, for somebody waits; only the end of a line that is being written is waited for. */
static enum tg_status read_first(const char *file, struct tg_revoked_feed *feed, uint64_t *signature,
                                 struct tg_err *err)
{
    static const struct tg_revoked_extent nothing;
    struct timespec pause = {0, PATIENCE_MS * 1000000};

    for (unsigned i = 0; i < PATIENCE_TIMES; i++) {
        enum tg_status st;

        if (i > 0)
            nanosleep(&pause, NULL);
        *signature = tg_file_stamp(file);
        st = tg_revoked_read(file, &nothing, tg_clock_wall_ms() / 1000, feed, err);
        if (st != TG_OK || feed->ended)
            return st;
        tg_revoked_set_unref(feed->set);
    }
    return TG_BAD_INPUT;
}

/* Takes over `file`, which may be NULL. */
static void set_file(struct tg_revocations *r, char *file)
{
    pthread_mutex_lock(&r->lock);
    free(r->file);
    r->file = file;
    pthread_mutex_unlock(&r->lock);
    set_trouble(r, "");
}

struct tg_revocations_next {
    char *file;                                          /* NULL: none */
    bool same;                                           /* as in force, which is looked at in any case */
    struct tg_revoked_feed feed;                         /* of another file; its set is NULL when taken over */
    uint64_t signature;
};

static enum tg_status read_next(struct tg_revocations *r, struct tg_revocations_next *next, struct tg_err *err)
{
    enum tg_status st = read_first(next->file, &next->feed, &next->signature, err);

    if (st != TG_OK) {
        next->feed.set = NULL;
        return st;
    }
    if (!r->running && pthread_create(&r->thread, NULL, watch, r) != 0)
        return tg_fail(err, TG_IO, "no thread can be made to watch %s", next->file);
    r->running = true;
    next->feed.grown = false;
    return TG_OK;
}

enum tg_status tg_revocations_read(struct tg_revocations *r, struct tg_slice file, struct tg_revocations_next **out,
                                   struct tg_err *err)
{
    struct tg_revocations_next *next = TG_NEW(struct tg_revocations_next);
    enum tg_status st = TG_OK;

    next->file = tg_slice_dup_or_null(file);
    pthread_mutex_lock(&r->reading);
    next->same = next->file ? r->file && strcmp(next->file, r->file) == 0 : !r->file;
    if (next->file && !next->same)
        st = read_next(r, next, err);
    pthread_mutex_unlock(&r->reading);
    if (st == TG_OK)
        *out = next;
    else
        tg_revocations_next_free(next);
    return st;
}

void tg_revocations_next_free(struct tg_revocations_next *next)
{
    if (!next)
        return;
    tg_revoked_set_unref(next->feed.set);
    free(next->file);
    free(next);
}

void tg_revocations_put(struct tg_revocations *r, struct tg_revocations_next *next)
{
    pthread_mutex_lock(&r->reading);
    if (!next->same && next->file) {
        adopt(r, &next->feed);
        next->feed.set = NULL;
        r->in_force = r->last = next->signature;
        r->refused = 0;
        r->restless = 0;
    } else if (!next->same) {
        publish(r, NULL);
    }
    if (!next->same) {
        set_file(r, next->file);
        next->file = NULL;
    }
    pthread_mutex_unlock(&r->reading);
    tg_revocations_next_free(next);
}

enum tg_status tg_revocations_bind(struct tg_revocations *r, struct tg_slice file, struct tg_err *err)
{
    struct tg_revocations_next *next = NULL;
    enum tg_status st = tg_revocations_read(r, file, &next, err);

    if (st == TG_OK)
        tg_revocations_put(r, next);
    return st;
}

enum tg_status tg_revocations_check(const char *file, size_t *entries, struct tg_err *err)
{
    struct tg_revoked_feed feed;
    uint64_t signature;
    enum tg_status st = read_first(file, &feed, &signature, err);

    if (st != TG_OK)
        return st;
    *entries = tg_revoked_set_count(feed.set);
    tg_revoked_set_unref(feed.set);
    return TG_OK;
}

void tg_revocations_describe(struct tg_revocations *r, struct tg_buf *out)
{
    pthread_mutex_lock(&r->lock);
    if (r->file) {
        tg_buf_addf(out, "revoked tokens: %zu entries, read %lld s ago", r->set ? tg_revoked_set_count(r->set) : 0,
                    (long long)(tg_clock_mono_ms() - r->read_ms) / 1000);
        if (r->trouble[0])
            tg_buf_addf(out, "; %s", r->trouble);
        tg_buf_addc(out, '\n');
    }
    if (r->told)
        tg_buf_addf(out, "revoked tokens: %zu entries told by the revocation hook\n", tg_revoked_set_count(r->told));
    pthread_mutex_unlock(&r->lock);
}

/* ---- a worker's view ---- */

void tg_revoked_view_update(struct tg_revocations *r, struct tg_revoked_view *view)
{
    struct tg_revoked_set *before = view->set, *told = view->told;

    if (!r || atomic_load_explicit(&r->version, memory_order_acquire) == view->version)
        return;
    pthread_mutex_lock(&r->lock);
    view->set = r->set ? tg_revoked_set_ref(r->set) : NULL;
    view->told = r->told ? tg_revoked_set_ref(r->told) : NULL;
    view->version = atomic_load_explicit(&r->version, memory_order_relaxed);
    pthread_mutex_unlock(&r->lock);
    tg_revoked_set_unref(before);
    tg_revoked_set_unref(told);
}

void tg_revoked_view_fini(struct tg_revoked_view *view)
{
    tg_revoked_set_unref(view->set);
    tg_revoked_set_unref(view->told);
    memset(view, 0, sizeof(*view));
}
