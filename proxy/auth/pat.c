/*
 * pat - personal access tokens in one process: a thread that reads the store, a set that all workers look into.
 *
 * The set that is published was read when the generation was `at` or later, for the generation is read before the
 * table: whatever was committed and bumped up to then is in it. A worker whose set is of another generation looks for a
 * newer one, and where there is none yet it asks the thread and waits.
 *
 * When the store cannot be read, what is known is void (fail closed): every token is FAILED until it can be again. The
 * thread looks around each second for what a counter cannot tell: a store that was deleted or replaced, a change whose
 * maker was killed between its commit and its bump.
 */
#include "pat_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "io/db.h"
#include "io/generation.h"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define FLUSH_MS 5000
#define FLUSH_MOST 2000                                  /* in one transaction: other writers wait as long */
#define FLUSH_PATIENCE_MS 200

struct waiter {
    struct waiter *next;
    struct tg_pat_view *view;                            /* there until it is called, or forgotten */
    void (*done)(struct tg_worker *w, void *arg);
    void *arg;
    uint64_t reading;                                    /* the reading that was the last to begin before it came */
};

struct tg_pats {
    char *state_dir;
    struct tg_generation *generation;
    struct tg_worker *thread;
    struct tg_series *count, *store_ok;

    pthread_mutex_t lock;                                /* of this paragraph */
    struct tg_pat_set *set;                              /* NULL: none was ever read */
    uint64_t at;                                         /* the generation it is good at */
    bool failed;                                         /* it is good at none */
    char trouble[320];                                   /* what was told last; "": nothing is wrong */
    bool asked;                                          /* the thread has been posted to, and has not begun */
    uint64_t reading;                                    /* how many readings have begun */
    struct waiter *waiters;

    /* the thread's own */
    struct tg_pat_store *store;                          /* NULL: it could not be opened again */
    int64_t seen;                                        /* the last change in the set; -1: read it whole */
    int64_t version;                                     /* of the database when it was read */
    int64_t flush_ms;                                    /* when last uses are written next */
    bool flush_told;                                     /* that they cannot be */
    struct tg_deadline look;
};

struct tg_pat_view {
    struct tg_pats *pats;
    struct tg_worker *worker;
    struct tg_pat_set *set;
    uint64_t at;
    struct tg_buf claims;
};

/* ---- publishing, on the thread ---- */

/* Those who came before reading number `reading` began. Under the lock: once it is let go their workers may end. */
static void call_waiters(struct tg_pats *p, uint64_t reading)
{
    struct waiter **at = &p->waiters, *w;

    while ((w = *at)) {
        if (w->reading >= reading) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        tg_worker_post(w->view->worker, w->done, w->arg);
        free(w);
    }
}

static void publish(struct tg_pats *p, struct tg_pat_set *set, uint64_t at, uint64_t reading)
{
    bool better = p->trouble[0];
    struct tg_pat_set *old;

    tg_metric_set(p->count, (int64_t)tg_pat_set_count(set));
    tg_metric_set(p->store_ok, 1);
    pthread_mutex_lock(&p->lock);
    old = p->set;
    p->set = set;
    p->at = at;
    p->failed = false;
    p->trouble[0] = '\0';
    call_waiters(p, reading);
    pthread_mutex_unlock(&p->lock);
    tg_pat_set_unref(old);
    if (better)
        tg_log(TG_LOG_INFO, "personal access tokens are known again");
}

/* Told once, until it is something else. The old set is kept: for the uses that are not written, and to go on from. */
static void fail(struct tg_pats *p, const char *why, uint64_t reading)
{
    bool new = strcmp(p->trouble, why) != 0;

    tg_metric_set(p->store_ok, 0);
    pthread_mutex_lock(&p->lock);
    if (!p->failed)
        tg_generation_void(p->generation);
    p->failed = true;
    snprintf(p->trouble, sizeof p->trouble, "%s", why);
    call_waiters(p, reading);
    pthread_mutex_unlock(&p->lock);
    if (new)
        tg_log(TG_LOG_ERROR, "personal access tokens are refused: the store cannot be read", TG_F_STR("error", why));
}

/* ---- reading, on the thread ---- */

static enum tg_status open_again(struct tg_pats *p, struct tg_err *err)
{
    char *path = tg_pat_path(p->state_dir, "tollgate.db");
    enum tg_status st = TG_OK;

    p->seen = -1;                                        /* whatever it is, it is another one */
    if (access(path, F_OK) != 0)                         /* a new one would forget every token without a word */
        st = tg_fail(err, TG_NOT_FOUND, "%s: was deleted", path);
    else
        st = tg_pat_store_open_db(p->state_dir, &p->store, err);
    free(path);
    return st;
}

static enum tg_status renew_counter(struct tg_pats *p, struct tg_err *err)
{
    bool renewed = false;
    enum tg_status st = tg_generation_renew(p->generation, &renewed, err);

    if (renewed)
        tg_log(TG_LOG_WARN, "state_dir/generation was deleted, cut or replaced; it is in use again");
    return st;
}

/* The store that the path names, open. */
static enum tg_status check_place(struct tg_pats *p, struct tg_err *err)
{
    enum tg_status st = renew_counter(p, err);

    if (st != TG_OK)
        return st;
    if (p->store && !tg_db_is_in_place(tg_pat_store_db(p->store))) {
        tg_log(TG_LOG_WARN, "state_dir/tollgate.db was deleted, cut or replaced");
        tg_pat_store_close(p->store);
        p->store = NULL;
    }
    return p->store ? TG_OK : open_again(p, err);
}

static uint64_t begin_reading(struct tg_pats *p)
{
    uint64_t reading;

    pthread_mutex_lock(&p->lock);
    p->asked = false;
    reading = ++p->reading;
    pthread_mutex_unlock(&p->lock);
    return reading;
}

static enum tg_status read_store(struct tg_pats *p, struct tg_err *err)
{
    uint64_t reading = begin_reading(p), at;
    struct tg_pat_set *set = NULL;
    struct tg_err why = {0};
    int64_t version = -1;
    enum tg_status st = check_place(p, &why);

    at = tg_generation_now(p->generation);               /* before the table: what comes after it counts as news */
    if (st == TG_OK) {
        version = tg_db_version(tg_pat_store_db(p->store));
        st = tg_pat_load(p->store, p->set, &p->seen, &set, &why);
    }
    if (st == TG_OK) {
        p->version = version;
        if (p->set && set != p->set && at == p->at)      /* a change that was not told: it has to be, here */
            at += tg_generation_void(p->generation);
        publish(p, set, at, reading);
        return TG_OK;
    }
    fail(p, why.text, reading);
    return tg_fail(err, st, "%s", why.text);
}

static void read_asked(struct tg_worker *w, void *arg)
{
    struct tg_pats *p = arg;
    bool asked;

    (void)w;
    pthread_mutex_lock(&p->lock);
    asked = p->asked;                                    /* else the look around came first */
    pthread_mutex_unlock(&p->lock);
    if (asked)
        read_store(p, NULL);
}

/* ---- looking around, on the thread ---- */

static void flush(struct tg_pats *p)
{
    struct tg_err err = {0};
    bool more = true;
    enum tg_status st = TG_OK;

    if (p->store)                                        /* reading comes first: it waits as long as this does */
        tg_db_set_patience(tg_pat_store_db(p->store), FLUSH_PATIENCE_MS);
    while (st == TG_OK && more && p->store && p->set)
        st = tg_pat_write_used(p->store, p->set, FLUSH_MOST, &more, &err);
    if (p->store)
        tg_db_set_patience(tg_pat_store_db(p->store), TG_DB_BUSY_MS);
    if (st != TG_OK && !p->flush_told)
        tg_log(TG_LOG_WARN, "when personal access tokens were last used cannot be written; it is tried again",
               TG_F_STR("error", tg_err_text(&err)));
    p->flush_told = st != TG_OK;
}

static bool has_news(struct tg_pats *p)
{
    if (p->trouble[0] || !p->store || !tg_db_is_in_place(tg_pat_store_db(p->store)) ||
        renew_counter(p, NULL) != TG_OK)
        return true;
    return tg_generation_now(p->generation) != p->at || tg_db_version(tg_pat_store_db(p->store)) != p->version;
}

static void look_around(struct tg_deadline *d)
{
    struct tg_pats *p = (struct tg_pats *)((char *)d - offsetof(struct tg_pats, look));

    if (has_news(p))
        read_store(p, NULL);
    if (p->thread->now_ms >= p->flush_ms) {
        flush(p);
        p->flush_ms = p->thread->now_ms + FLUSH_MS;
    }
    tg_deadline_set(&p->thread->wheel, &p->look, tg_clock_mono_ms() + TG_PAT_POLL_MS);
}

/* ---- life ---- */

static struct tg_series *gauge(const char *name, const char *help)
{
    return tg_metric_series(tg_metric_family(TG_GAUGE, name, help, ""), NULL);
}

static enum tg_status open_store(struct tg_pats *p, struct tg_err *err)
{
    char *database = tg_pat_path(p->state_dir, "tollgate.db"), *path = tg_pat_path(p->state_dir, "generation");
    bool older = access(database, F_OK) == 0;
    enum tg_status st = tg_pat_store_open_db(p->state_dir, &p->store, err);

    if (st == TG_OK)
        st = tg_db_check(tg_pat_store_db(p->store), err);
    if (st == TG_OK)
        st = tg_generation_open(path, &p->generation, err);
    if (st == TG_OK && !older)
        tg_generation_is_first(p->generation);
    free(database);
    free(path);
    return st;
}

static void free_pats(struct tg_pats *p)
{
    tg_assert(!p->waiters);
    tg_pat_store_close(p->store);
    tg_generation_close(p->generation);
    tg_pat_set_unref(p->set);
    pthread_mutex_destroy(&p->lock);
    free(p->state_dir);
    free(p);
}

static enum tg_status init_thread(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct tg_pats *p = arg;
    enum tg_status st;

    p->thread = w;
    p->look.expired = look_around;
    p->flush_ms = w->now_ms + FLUSH_MS;
    st = open_store(p, err);
    if (st == TG_OK)
        st = read_store(p, err);
    if (st == TG_OK)
        tg_deadline_set(&w->wheel, &p->look, w->now_ms + TG_PAT_POLL_MS);
    return st;
}

static void fini_thread(struct tg_worker *w, void *arg)
{
    struct tg_pats *p = arg;

    tg_deadline_clear(&w->wheel, &p->look);
    if (p->store && tg_db_is_in_place(tg_pat_store_db(p->store)))
        flush(p);
    tg_pat_store_close(p->store);                        /* where it was used */
    p->store = NULL;
}

enum tg_status tg_pats_new(const char *state_dir, struct tg_pats **out, struct tg_err *err)
{
    struct tg_pats *p = TG_NEW(struct tg_pats);
    struct tg_worker_hooks hooks = {init_thread, fini_thread, p};
    struct tg_worker *thread;
    enum tg_status st;

    p->state_dir = tg_slice_dup(tg_slice_str(state_dir));
    p->seen = -1;
    p->count = gauge("tollgate_pats", "Personal access tokens that are not revoked.");
    p->store_ok = gauge("tollgate_pat_store_readable", "Whether the store of personal access tokens can be read.");
    pthread_mutex_init(&p->lock, NULL);
    st = tg_worker_start(0, "db", &hooks, &thread, err);
    if (st != TG_OK) {
        free_pats(p);
        return st;
    }
    *out = p;
    return TG_OK;
}

void tg_pats_free(struct tg_pats *pats)
{
    if (!pats)
        return;
    tg_worker_stop(pats->thread);
    free_pats(pats);
}

void tg_pats_describe(struct tg_pats *pats, struct tg_buf *out)
{
    pthread_mutex_lock(&pats->lock);
    tg_buf_addf(out, "personal access tokens: %zu", pats->set ? tg_pat_set_count(pats->set) : 0);
    if (pats->failed)
        tg_buf_addf(out, "; refused, for the store cannot be read: %s", pats->trouble);
    tg_buf_addc(out, '\n');
    pthread_mutex_unlock(&pats->lock);
}

uint64_t tg_pat_generation(const struct tg_pats *pats)
{
    return tg_generation_now(pats->generation);
}

/* ---- a worker's view ---- */

struct tg_pat_view *tg_pat_view_new(struct tg_pats *pats, struct tg_worker *w)
{
    struct tg_pat_view *view = TG_NEW(struct tg_pat_view);

    view->pats = pats;
    view->worker = w;
    return view;
}

void tg_pat_view_free(struct tg_pat_view *view)
{
    if (!view)
        return;
    tg_pat_set_unref(view->set);
    tg_buf_wipe(&view->claims);
    free(view);
}

/* TG_PAT_KNOWN: the view's set is good now. */
static enum tg_pat_state update(struct tg_pat_view *view)
{
    struct tg_pats *p = view->pats;
    uint64_t now = tg_generation_now(p->generation);
    struct tg_pat_set *old = NULL;
    bool failed;

    if (view->set && view->at == now)
        return TG_PAT_KNOWN;
    pthread_mutex_lock(&p->lock);
    failed = p->failed;
    if (!failed && p->set != view->set) {
        old = view->set;
        view->set = tg_pat_set_ref(p->set);
    }
    view->at = p->at;
    pthread_mutex_unlock(&p->lock);
    tg_pat_set_unref(old);
    if (failed)
        return TG_PAT_FAILED;
    return view->at == now ? TG_PAT_KNOWN : TG_PAT_STALE;
}

enum tg_pat_state tg_pat_view_look(struct tg_pat_view *view, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms,
                                   struct tg_pat_known *out)
{
    enum tg_pat_state state = update(view);
    struct tg_pat_entry *entry;

    if (state != TG_PAT_KNOWN)
        return state;
    entry = tg_pat_set_find(view->set, digest);
    if (!entry)
        return TG_PAT_UNKNOWN;
    if (entry->exp_s <= now_ms / 1000)
        return TG_PAT_EXPIRED;
    tg_pat_entry_used(entry, now_ms);
    view->claims.len = 0;
    tg_pat_entry_claims(entry, &view->claims);
    out->claims = tg_buf_slice(&view->claims);
    out->exp_s = entry->exp_s;
    return TG_PAT_KNOWN;
}

void tg_pat_view_used(struct tg_pat_view *view, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms)
{
    struct tg_pat_entry *entry = view->set ? tg_pat_set_find(view->set, digest) : NULL;

    if (entry)
        tg_pat_entry_used(entry, now_ms);
}

void tg_pat_view_wait(struct tg_pat_view *view, void (*done)(struct tg_worker *w, void *arg), void *arg)
{
    struct tg_pats *p = view->pats;
    struct waiter *w = TG_NEW(struct waiter);
    bool ask;

    *w = (struct waiter){.view = view, .done = done, .arg = arg};
    pthread_mutex_lock(&p->lock);
    w->reading = p->reading;
    w->next = p->waiters;
    p->waiters = w;
    ask = !p->asked;
    p->asked = true;
    pthread_mutex_unlock(&p->lock);
    if (ask)
        tg_worker_post(p->thread, read_asked, p);
}

bool tg_pat_view_forget(struct tg_pat_view *view, const void *arg)
{
    struct tg_pats *p = view->pats;
    struct waiter **at, *found;

    pthread_mutex_lock(&p->lock);
    for (at = &p->waiters; (found = *at) && (found->view != view || found->arg != arg);)
        at = &found->next;
    if (found)
        *at = found->next;
    pthread_mutex_unlock(&p->lock);
    free(found);
    return found != NULL;
}
