/*
 * audit - decisions on their way from the workers into the table, and the bounds of the table kept.
 *
 * Each worker has a ring of octets that only it writes and only the thread reads. The thread is woken by the first
 * record, waits a moment for more, and writes at most TURN_ENTRIES in a turn: a flood of denials costs a bounded part
 * of a processor and of the disk, and what the rings cannot hold meanwhile is counted. Records leave a ring when they
 * are committed, not before: while the disk is full they wait there, and what comes on top of them is counted.
 */
#include "audit_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RING_BYTES ((uint64_t)1 << 18)                   /* a power of two */
#define PAUSE_MS 100                                     /* between two turns */
#define TURN_ENTRIES 512
#define RETRY_MS 1000
#define TRIM_MS 10000
#define TRIM_ENTRIES 4096                                /* or after so many, lest a flood outgrows the bounds */
#define TEXTS 7

enum { WANTS_DENIED = 1, WANTS_ALLOWED = 2 };

struct ring {
    _Alignas(64) _Atomic uint64_t written;               /* octets since the start; by the worker */
    _Atomic uint64_t lost;                               /* records there was no room for */
    _Alignas(64) _Atomic uint64_t taken;                 /* by the thread */
    char *data;
};
struct tg_audit {
    atomic_uint wants;
    _Atomic int64_t retention_ms;
    _Atomic uint64_t max_bytes;
    unsigned ring_count;
    struct ring *rings;
    atomic_bool awake, stop;                             /* awake: the thread knows that there is something */
    int wake;                                            /* eventfd */
    pthread_t thread;
    bool running;
    char *path;

    /* the thread's own */
    struct tg_db *db;                                    /* NULL: to be opened again */
    uint64_t lost_told;                                  /* of all rings, as an entry says already */
    int64_t trim_at_ms;
    uint64_t untrimmed;                                  /* entries written since the last time */
    atomic_bool failing;
    _Atomic uint64_t stored, failures;
};

const struct tg_setting tg_audit_rows[] = {
    TG_SETTING(struct tg_audit_settings, denied, "denied", TG_SET_BOOL, "true", 0, 0, NULL, 0,
               "requests that were refused with 401 or 403 are entries"),
    TG_SETTING(struct tg_audit_settings, allowed, "allowed", TG_SET_BOOL, "false", 0, 0, NULL, 0,
               "requests that were let through are entries, too"),
    TG_SETTING(struct tg_audit_settings, retention_ms, "retention", TG_SET_DURATION, "30d", 0,
               INT64_C(3660) * 86400000, NULL, 0, "how long an entry is kept; none: as long as there is room"),
    TG_SETTING(struct tg_audit_settings, max_bytes, "max_size", TG_SET_SIZE, "256MiB", 65536, INT64_C(1) << 40, NULL, 0,
               "room for all entries, about; when it is full the oldest denials go first"),
};
const size_t tg_audit_row_count = ARRAY_LEN(tg_audit_rows);

/* ---- a worker's side ---- */

bool tg_audit_wants(const struct tg_audit *a, bool denied)
{
    return a && (atomic_load_explicit(&a->wants, memory_order_relaxed) & (denied ? WANTS_DENIED : WANTS_ALLOWED));
}

struct record {
    uint32_t bytes;                                      /* this and the texts */
    uint32_t lens[TEXTS];
    int64_t time_us;
};

static void texts_of(struct tg_audit_entry *e, struct tg_slice *out[TEXTS])
{
    struct tg_slice *all[TEXTS] = {&e->actor, &e->action, &e->resource, &e->result, &e->source_ip, &e->request_id,
                                   &e->details};

    memcpy(out, all, sizeof(all));
}

static void copy_in(struct ring *r, uint64_t at, const void *from, size_t n)
{
    size_t place = (size_t)(at & (RING_BYTES - 1)), first = n < RING_BYTES - place ? n : (size_t)RING_BYTES - place;

    memcpy(r->data + place, from, first);
    memcpy(r->data, (const char *)from + first, n - first);
}

static void copy_out(const struct ring *r, uint64_t at, void *to, size_t n)
{
    size_t place = (size_t)(at & (RING_BYTES - 1)), first = n < RING_BYTES - place ? n : (size_t)RING_BYTES - place;

    memcpy(to, r->data + place, first);
    memcpy((char *)to + first, r->data, n - first);
}

static void wake(struct tg_audit *a)
{
    uint64_t one = 1;
    ssize_t n = write(a->wake, &one, sizeof(one));

    (void)n;                                             /* full: it is awake */
}

void tg_audit_note(struct tg_audit *a, unsigned worker, const struct tg_audit_entry *entry)
{
    struct tg_audit_entry e = *entry;
    struct tg_slice *texts[TEXTS];
    struct record head = {.bytes = sizeof(head), .time_us = e.time_us};
    struct ring *r;

    tg_assert(worker < a->ring_count);
    r = &a->rings[worker];
    tg_audit_cut(&e, TG_AUDIT_RECORD / 2);
    texts_of(&e, texts);
    for (size_t i = 0; i < TEXTS; i++)
        head.bytes += head.lens[i] = (uint32_t)texts[i]->len;
    uint64_t at = atomic_load_explicit(&r->written, memory_order_relaxed);

    if (RING_BYTES - (at - atomic_load_explicit(&r->taken, memory_order_acquire)) < head.bytes) {
        atomic_fetch_add_explicit(&r->lost, 1, memory_order_relaxed);
    } else {
        uint64_t end = at + sizeof(head);

        copy_in(r, at, &head, sizeof(head));
        for (size_t i = 0; i < TEXTS; end += texts[i++]->len)
            if (texts[i]->len > 0)
                copy_in(r, end, texts[i]->ptr, texts[i]->len);
        atomic_store_explicit(&r->written, end, memory_order_release);
    }
    if (!atomic_load_explicit(&a->awake, memory_order_relaxed) && !atomic_exchange(&a->awake, true))
        wake(a);
}

/* ---- the thread: one turn ---- */

/* What is taken out of the rings in one turn; the rings keep it until it is committed. */
struct turn {
    struct tg_audit_entry entries[TURN_ENTRIES + 1];
    size_t count;
    struct tg_buf text;
    uint64_t *taken;                                     /* by ring */
    uint64_t lost;                                       /* of all rings, ever */
    char lost_text[64];
};

static uint64_t lost_of(const struct tg_audit *a)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < a->ring_count; i++)
        sum += atomic_load_explicit(&a->rings[i].lost, memory_order_relaxed);
    return sum;
}

/* Offsets until the text has stopped growing: it moves. */
static void take_record(struct turn *t, const struct ring *r, uint64_t at, const struct record *head)
{
    struct tg_audit_entry *e = &t->entries[t->count++];
    struct tg_slice *texts[TEXTS];
    uint64_t from = at + sizeof(*head);

    *e = (struct tg_audit_entry){.time_us = head->time_us};
    texts_of(e, texts);
    for (size_t i = 0; i < TEXTS; from += head->lens[i++]) {
        *texts[i] = tg_slice((const char *)(uintptr_t)t->text.len, head->lens[i]);
        tg_buf_reserve(&t->text, head->lens[i] + 1);
        copy_out(r, from, t->text.data + t->text.len, head->lens[i]);
        t->text.len += head->lens[i];
    }
}

static void point_into_text(struct turn *t)
{
    for (size_t k = 0; k < t->count; k++) {
        struct tg_slice *texts[TEXTS];

        texts_of(&t->entries[k], texts);
        for (size_t i = 0; i < TEXTS; i++)
            texts[i]->ptr = t->text.data + (uintptr_t)texts[i]->ptr;
    }
}

/* A few of each ring after the other, so that a busy worker does not take the others' room. */
static void gather(const struct tg_audit *a, struct turn *t)
{
    size_t before;

    for (unsigned i = 0; i < a->ring_count; i++)
        t->taken[i] = atomic_load_explicit(&a->rings[i].taken, memory_order_relaxed);
    do {
        before = t->count;
        for (unsigned i = 0; i < a->ring_count && t->count < TURN_ENTRIES; i++) {
            struct record head;

            if (t->taken[i] == atomic_load_explicit(&a->rings[i].written, memory_order_acquire))
                continue;
            copy_out(&a->rings[i], t->taken[i], &head, sizeof(head));
            take_record(t, &a->rings[i], t->taken[i], &head);
            t->taken[i] += head.bytes;
        }
    } while (t->count > before && t->count < TURN_ENTRIES);
    point_into_text(t);
}

/* By time; what has the same one, as it was gathered: the texts follow each other. */
static int compare_entries(const void *left, const void *right)
{
    const struct tg_audit_entry *a = left, *b = right;

    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    return (a->action.ptr > b->action.ptr) - (a->action.ptr < b->action.ptr);
}

static void tell_lost(const struct tg_audit *a, struct turn *t)
{
    t->lost = lost_of(a);
    if (t->lost == a->lost_told)
        return;
    int n = snprintf(t->lost_text, sizeof(t->lost_text), "{\"entries\":%llu}",
                     (unsigned long long)(t->lost - a->lost_told));

    t->entries[t->count++] = (struct tg_audit_entry){
        .time_us = tg_clock_wall_us(), .actor = TG_S("tollgate"), .action = TG_S("audit.lost"),
        .resource = TG_S("audit"), .result = TG_S("failure"), .details = tg_slice(t->lost_text, (size_t)n),
    };
}

/* Opens what is not open, or is no longer the file of that name. */
static enum tg_status be_open(struct tg_audit *a, struct tg_err *err)
{
    enum tg_status st;

    if (a->db && !tg_db_is_in_place(a->db)) {
        tg_db_close(a->db);
        a->db = NULL;
    }
    if (a->db)
        return TG_OK;
    st = tg_db_open(a->path, &a->db, err);
    if (st == TG_OK)
        st = tg_audit_prepare(a->db, err);
    if (st != TG_OK) {
        tg_db_close(a->db);
        a->db = NULL;
    }
    return st;
}

static void set_failing(struct tg_audit *a, enum tg_status st, const struct tg_err *err)
{
    if (st != TG_OK) {
        atomic_fetch_add_explicit(&a->failures, 1, memory_order_relaxed);
        if (!a->failing)
            tg_log(TG_LOG_ERROR, "audit log cannot be written; entries wait, and are counted when there is no room",
                   TG_F_STR("error", tg_err_text(err)));
    } else if (a->failing) {
        tg_log(TG_LOG_INFO, "audit log is written again", TG_F_INT("lost", lost_of(a)));
    }
    a->failing = st != TG_OK;
}

static void settle(struct tg_audit *a, const struct turn *t)
{
    for (unsigned i = 0; i < a->ring_count; i++)
        atomic_store_explicit(&a->rings[i].taken, t->taken[i], memory_order_release);
    atomic_fetch_add_explicit(&a->stored, t->count, memory_order_relaxed);
    a->lost_told = t->lost;
    a->untrimmed += t->count;
}

/* Writes some of what waits. False: there is nothing more, or it cannot be written now. */
static bool write_some(struct tg_audit *a, struct turn *t)
{
    struct tg_err err = {0};
    enum tg_status st = TG_OK;

    t->count = 0;
    t->text.len = 0;
    gather(a, t);
    qsort(t->entries, t->count, sizeof(t->entries[0]), compare_entries); /* rings are not in step */
    bool more = t->count == TURN_ENTRIES;

    tell_lost(a, t);
    if (t->count == 0)
        return false;
    st = be_open(a, &err);
    if (st == TG_OK)
        st = tg_audit_put_all(a->db, t->entries, t->count, &err);
    if (st == TG_OK)
        settle(a, t);
    set_failing(a, st, &err);
    return st == TG_OK && more;
}

/* ---- the thread ---- */

static void trim(struct tg_audit *a)
{
    struct tg_audit_settings s = {.retention_ms = atomic_load(&a->retention_ms),
                                  .max_bytes = atomic_load(&a->max_bytes)};
    uint64_t removed = 0;
    struct tg_err err = {0};
    enum tg_status st = be_open(a, &err);

    a->trim_at_ms = tg_clock_mono_ms() + TRIM_MS;
    a->untrimmed = 0;
    if (st == TG_OK)
        st = tg_audit_trim(a->db, &s, tg_clock_wall_us(), &removed, &err);
    if (removed > 0)
        tg_log(TG_LOG_DEBUG, "old audit entries removed", TG_F_INT("entries", removed));
    if (st != TG_OK)                                     /* that it goes well says nothing of a full disk */
        set_failing(a, st, &err);
}

/* A transaction is for many; and a disk in trouble is not asked again at once. */
static void rest(const struct tg_audit *a)
{
    struct timespec pause = {0, PAUSE_MS * 1000000};
    int64_t until_ms = tg_clock_mono_ms() + (a->failing ? RETRY_MS : 0);

    do
        nanosleep(&pause, NULL);
    while (tg_clock_mono_ms() < until_ms && !atomic_load(&a->stop));
}

/* Until there is something to do. */
static void wait_for_work(struct tg_audit *a)
{
    int64_t left = a->trim_at_ms - tg_clock_mono_ms();
    struct pollfd p = {.fd = a->wake, .events = POLLIN};
    uint64_t count;
    ssize_t n;

    if (a->failing && left > RETRY_MS)
        left = RETRY_MS;
    if (poll(&p, 1, left > 0 ? (int)left : 0) > 0) {
        n = read(a->wake, &count, sizeof(count));
        (void)n;
    }
}

static void *run(void *arg)
{
    struct tg_audit *a = arg;
    struct turn *t = TG_NEW(struct turn);

    t->taken = TG_NEW_ARRAY(uint64_t, a->ring_count);
    pthread_setname_np(pthread_self(), "audit");
    while (!atomic_load(&a->stop)) {
        bool more;

        wait_for_work(a);
        if (atomic_load(&a->stop))
            break;
        rest(a);
        atomic_store(&a->awake, false);
        more = write_some(a, t);
        if (more && !atomic_exchange(&a->awake, true))
            wake(a);
        if (tg_clock_mono_ms() >= a->trim_at_ms || a->untrimmed >= TRIM_ENTRIES)
            trim(a);
    }
    while (write_some(a, t))
        ;
    if (a->failing)
        tg_log(TG_LOG_ERROR, "audit entries are lost with the end of this process",
               TG_F_INT("entries", t->count), TG_F_INT("before", lost_of(a)));
    tg_buf_fini(&t->text);
    free(t->taken);
    free(t);
    return NULL;
}

/* ---- from start to end ---- */

static double read_stored(void *arg) { return (double)atomic_load(&((struct tg_audit *)arg)->stored); }
static double read_lost(void *arg) { return (double)lost_of(arg); }
static double read_failures(void *arg) { return (double)atomic_load(&((struct tg_audit *)arg)->failures); }
static double read_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* Series outlive us, so what they ask must not. */
static void measure(struct tg_audit *a)
{
    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_audit_entries_total",
                                        "Decisions written to the audit log.", ""),
                       NULL, a ? read_stored : read_nothing, a);
    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_audit_lost_total",
                                        "Decisions that the audit log had no room or time for.", ""),
                       NULL, a ? read_lost : read_nothing, a);
    tg_metric_callback(tg_metric_family(TG_COUNTER, "tollgate_audit_write_failures_total",
                                        "Times the audit log could not be written.", ""),
                       NULL, a ? read_failures : read_nothing, a);
}

void tg_audit_bind(struct tg_audit *a, const struct tg_audit_settings *settings)
{
    atomic_store(&a->retention_ms, settings->retention_ms);
    atomic_store(&a->max_bytes, settings->max_bytes);
    atomic_store(&a->wants, settings->set ? (settings->denied ? WANTS_DENIED : 0u) |
                                            (settings->allowed ? WANTS_ALLOWED : 0u) : 0u);
}

enum tg_status tg_audit_new(const char *state_dir, const struct tg_audit_settings *settings, unsigned workers,
                            struct tg_audit **out, struct tg_err *err)
{
    struct tg_audit *a = TG_NEW(struct tg_audit);
    struct tg_buf path = {0};
    enum tg_status st;

    tg_buf_addf(&path, "%s/tollgate.db", state_dir);
    tg_buf_cstr(&path);
    a->path = path.data;
    a->ring_count = workers;
    a->rings = aligned_alloc(64, sizeof(struct ring) * workers);
    tg_assert(a->rings || workers == 0);
    memset(a->rings, 0, sizeof(struct ring) * workers);
    for (unsigned i = 0; i < workers; i++)
        a->rings[i].data = tg_alloc(RING_BYTES);         /* touched when it is used */
    a->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    tg_audit_bind(a, settings);
    st = a->wake < 0 ? tg_fail(err, TG_IO, "audit log: no event descriptor: %s", strerror(errno)) : be_open(a, err);
    if (st == TG_OK && pthread_create(&a->thread, NULL, run, a) != 0)
        st = tg_fail(err, TG_IO, "no thread can be made for the audit log");
    a->running = st == TG_OK;
    if (st != TG_OK) {
        tg_audit_free(a);
        return st;
    }
    measure(a);
    *out = a;
    return TG_OK;
}

void tg_audit_free(struct tg_audit *a)
{
    if (!a)
        return;
    if (a->running) {
        measure(NULL);
        atomic_store(&a->stop, true);
        wake(a);
        pthread_join(a->thread, NULL);
    }
    tg_db_close(a->db);
    for (unsigned i = 0; i < a->ring_count; i++)
        free(a->rings[i].data);
    if (a->wake >= 0)
        close(a->wake);
    free(a->rings);
    free(a->path);
    free(a);
}

void tg_audit_describe(struct tg_audit *a, struct tg_buf *out)
{
    uint64_t lost = lost_of(a);

    tg_buf_addf(out, "audit log: %llu decisions written", (unsigned long long)atomic_load(&a->stored));
    if (lost)
        tg_buf_addf(out, ", %llu lost", (unsigned long long)lost);
    if (a->failing)
        tg_buf_adds(out, "; it cannot be written at the moment");
    tg_buf_addc(out, '\n');
}
