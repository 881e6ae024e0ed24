/*
 * log_sink - the ring between those who write lines and the thread that writes them out.
 *
 * The ring is lock-free for any number of producers: one reserves bytes by moving `head`, copies its line, then
 * publishes it by writing the header word in front of it. The thread takes published records in order, zeroes what it
 * took and moves `tail`. Offsets only grow; a record is a multiple of eight bytes, so a header never wraps.
 */
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_DEFAULT ((size_t)4 << 20)
#define RING_MIN ((size_t)4096)
#define RING_MAX ((size_t)1 << 30)
#define BATCH ((size_t)65536)
#define PIPE_SAFE ((size_t)4096)                         /* a pipe that polls writable takes this at once */
#define NAP_MS 50
#define CLOSE_MS 1000

enum mood { AWAKE, NAPPING, ASLEEP };                    /* of the thread: whom it wants to be woken by */

struct tg_log_sink {
    _Alignas(64) _Atomic uint64_t head;                  /* producers reserve here */
    _Alignas(64) _Atomic uint64_t tail;                  /* the thread has taken all before */
    _Alignas(64) _Atomic int mood;
    _Atomic uint64_t dropped;
    _Atomic bool stop, reopen;
    _Atomic int64_t stop_by_ms;                          /* monotonic */
    size_t cap;                                          /* a power of two */
    char *ring;
    char *path;                                          /* NULL: stdout or stderr */
    int fd, wake_fd;
    bool waits, is_socket;                               /* fd may make a writer wait: pipe, terminal, socket */
    bool mid_line, failing;
    struct tg_buf batch;
    pthread_t thread;
};

static void wake(struct tg_log_sink *sink)
{
    uint64_t one = 1;

    if (write(sink->wake_fd, &one, sizeof(one)) < 0)
        return;                                          /* only when it is full: the thread wakes anyway */
}

static _Atomic uint64_t *header_at(const struct tg_log_sink *sink, uint64_t offset)
{
    return (_Atomic uint64_t *)(void *)(sink->ring + (offset & (sink->cap - 1)));
}

static uint64_t record_size(uint64_t len)
{
    return 8 + ((len + 7) & ~(uint64_t)7);
}

void tg_log_sink_write(struct tg_log_sink *sink, struct tg_slice line)
{
    uint64_t head = atomic_load_explicit(&sink->head, memory_order_relaxed), size, at;
    size_t first;
    int mood;

    if (line.len > sink->cap / 2) {
        atomic_fetch_add_explicit(&sink->dropped, 1, memory_order_relaxed);
        return;
    }
    size = record_size(line.len);
    do {
        if (head + size - atomic_load_explicit(&sink->tail, memory_order_acquire) > sink->cap) {
            atomic_fetch_add_explicit(&sink->dropped, 1, memory_order_relaxed);
            return;
        }
    } while (!atomic_compare_exchange_weak(&sink->head, &head, head + size));
    at = (head + 8) & (sink->cap - 1);
    first = line.len < sink->cap - at ? line.len : sink->cap - at;
    if (line.len) {
        memcpy(sink->ring + at, line.ptr, first);
        memcpy(sink->ring, line.ptr + first, line.len - first);
    }
    atomic_store_explicit(header_at(sink, head), (uint64_t)line.len << 1 | 1, memory_order_release);
    /* In the one order of seq_cst either this sees the mood, or the thread sees the moved head before it sleeps. */
    mood = atomic_load(&sink->mood);
    if (mood == ASLEEP || (mood == NAPPING && head + size - atomic_load_explicit(&sink->tail, memory_order_relaxed) >
                                                  sink->cap / 2)) {
        if (atomic_compare_exchange_strong(&sink->mood, &mood, AWAKE))
            wake(sink);
    }
}

/* Moves published lines from the ring into the batch. False when there was none. */
static bool collect(struct tg_log_sink *sink)
{
    uint64_t tail = atomic_load_explicit(&sink->tail, memory_order_relaxed);

    while (sink->batch.len < BATCH) {
        uint64_t header = 0, size;
        size_t len, at, first;
        char *text;

        if (tail != atomic_load(&sink->head))            /* beyond the head the ring may be full of others */
            header = atomic_load_explicit(header_at(sink, tail), memory_order_acquire);
        if (header == 0)
            break;
        len = (size_t)(header >> 1);
        size = record_size(len);
        at = (tail + 8) & (sink->cap - 1);
        first = len < sink->cap - at ? len : sink->cap - at;
        tg_buf_reserve(&sink->batch, len + 1);
        text = sink->batch.data + sink->batch.len;
        memcpy(text, sink->ring + at, first);
        memcpy(text + first, sink->ring, len - first);
        for (size_t i = 0; i < len; i++)
            if (text[i] == '\n' || text[i] == '\r')
                text[i] = ' ';
        text[len] = '\n';
        sink->batch.len += len + 1;
        atomic_store_explicit(header_at(sink, tail), 0, memory_order_relaxed);
        memset(sink->ring + at, 0, first);               /* a later header may come to lie anywhere in it */
        memset(sink->ring, 0, len - first);
        tail += size;
        atomic_store_explicit(&sink->tail, tail, memory_order_release);
    }
    return sink->batch.len > 0;
}

static uint64_t waiting_bytes(const struct tg_log_sink *sink)
{
    return atomic_load(&sink->head) - atomic_load(&sink->tail);
}

static bool out_of_time(const struct tg_log_sink *sink)
{
    return atomic_load(&sink->stop) && tg_clock_mono_ms() >= atomic_load(&sink->stop_by_ms);
}

/* As much as goes without waiting, whole lines where possible; -1 with errno EAGAIN when nothing does now. */
static ssize_t write_some(const struct tg_log_sink *sink, struct tg_slice data)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
    const char *end;

    if (sink->is_socket)
        return send(sink->fd, data.ptr, data.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!sink->waits)
        return write(sink->fd, data.ptr, data.len);
    if (poll(&ready, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    if (data.len > PIPE_SAFE) {
        end = memrchr(data.ptr, '\n', PIPE_SAFE);
        data.len = end ? (size_t)(end - data.ptr) + 1 : PIPE_SAFE;
    }
    return write(sink->fd, data.ptr, data.len);
}

static uint64_t count_lines(struct tg_slice data)
{
    uint64_t n = 0;

    for (const char *p = data.ptr; data.len && (p = memchr(p, '\n', (size_t)(data.ptr + data.len - p))); p++)
        n++;
    return n;
}

/* The rest of the batch is lost. Told once, until a write succeeds again. */
static void give_up(struct tg_log_sink *sink, struct tg_slice rest, int why)
{
    atomic_fetch_add_explicit(&sink->dropped, count_lines(rest), memory_order_relaxed);
    if (!sink->failing)
        tg_log(TG_LOG_ERROR, "log lines are lost", TG_F_STR("output", sink->path ? sink->path : "standard output"),
               TG_F_STR("error", strerror(why)));
    sink->failing = true;
}

static void flush(struct tg_log_sink *sink)
{
    struct tg_slice rest = tg_buf_slice(&sink->batch);
    bool close_line = sink->mid_line;                    /* what a failure cut must not run into the next line */

    while (rest.len) {
        ssize_t n;

        if (out_of_time(sink)) {
            give_up(sink, rest, ETIMEDOUT);
            break;
        }
        n = write_some(sink, close_line ? TG_S("\n") : rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};

            poll(&ready, 1, NAP_MS);
            continue;
        }
        if (n <= 0) {
            give_up(sink, rest, n < 0 ? errno : EIO);
            break;
        }
        sink->failing = false;
        if (close_line) {
            close_line = sink->mid_line = false;
            continue;
        }
        rest.ptr += n;
        rest.len -= (size_t)n;
        sink->mid_line = rest.ptr[-1] != '\n';
    }
    sink->batch.len = 0;
}

static void look_at_fd(struct tg_log_sink *sink)
{
    struct stat st;
    bool known = fstat(sink->fd, &st) == 0;

    sink->is_socket = known && S_ISSOCK(st.st_mode);
    sink->waits = !known || !S_ISREG(st.st_mode);
}

static int open_path(const char *path)
{
    /* A pipe whose reader is not there yet must not hold up the start: O_NONBLOCK fails with ENXIO instead. */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static void reopen_file(struct tg_log_sink *sink)
{
    int fd = open_path(sink->path);

    if (fd < 0) {
        tg_log(TG_LOG_ERROR, "log file not opened again, the former is kept", TG_F_STR("output", sink->path),
               TG_F_STR("error", strerror(errno)));
        return;
    }
    close(sink->fd);
    sink->fd = fd;
    sink->mid_line = false;
    look_at_fd(sink);
}

/* Waits in the given mood until woken or `timeout_ms`; does not wait when something was written meanwhile. */
static bool wait_for_lines(struct tg_log_sink *sink, enum mood mood, int timeout_ms)
{
    struct pollfd woken = {.fd = sink->wake_fd, .events = POLLIN};
    uint64_t ignored;
    bool early;

    atomic_store(&sink->mood, mood);
    early = atomic_load(&sink->stop) || atomic_load(&sink->reopen) ||
            (mood == ASLEEP && atomic_load(&sink->head) != atomic_load_explicit(&sink->tail, memory_order_relaxed));
    if (!early && poll(&woken, 1, timeout_ms) > 0)
        early = read(sink->wake_fd, &ignored, sizeof(ignored)) > 0;
    atomic_store(&sink->mood, AWAKE);
    return early;
}

static void *run(void *arg)
{
    struct tg_log_sink *sink = arg;

    pthread_setname_np(pthread_self(), "tollgate-log");
    for (;;) {
        bool stopping = atomic_load(&sink->stop);        /* before the ring is looked at: nothing comes after it */

        if (atomic_exchange(&sink->reopen, false) && sink->path)
            reopen_file(sink);
        if (collect(sink)) {
            flush(sink);
            if (!stopping && waiting_bytes(sink) < sink->cap / 2)
                wait_for_lines(sink, NAPPING, NAP_MS);   /* traffic: gather, so that a write carries many lines */
            continue;
        }
        if (stopping && (waiting_bytes(sink) == 0 || out_of_time(sink)))
            return NULL;
        if (waiting_bytes(sink) > 0)
            wait_for_lines(sink, NAPPING, 1);            /* reserved, not yet published */
        else
            wait_for_lines(sink, ASLEEP, -1);
    }
}

static void free_sink(struct tg_log_sink *sink)
{
    if (sink->path && sink->fd >= 0)
        close(sink->fd);
    if (sink->wake_fd >= 0)
        close(sink->wake_fd);
    tg_buf_fini(&sink->batch);
    free(sink->path);
    free(sink->ring);
    free(sink);
}

static int start_thread(struct tg_log_sink *sink)
{
    sigset_t all, before;
    int e;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);           /* signals are for the threads that expect them */
    e = pthread_create(&sink->thread, NULL, run, sink);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

enum tg_status tg_log_sink_open(struct tg_slice output, size_t ring_bytes, struct tg_log_sink **out, struct tg_err *err)
{
    struct tg_log_sink *sink;
    enum tg_status st;
    int e;

    if (output.len == 0 || memchr(output.ptr, '\0', output.len))
        return tg_fail(err, TG_BAD_INPUT, "a log output is stdout, stderr or a file path");
    sink = aligned_alloc(_Alignof(struct tg_log_sink), sizeof(*sink));
    if (!sink)
        tg_panic(__FILE__, __LINE__, "out of memory");
    memset(sink, 0, sizeof(*sink));
    sink->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (tg_slice_eq(output, TG_S("stdout"))) {
        sink->fd = STDOUT_FILENO;
    } else if (tg_slice_eq(output, TG_S("stderr"))) {
        sink->fd = STDERR_FILENO;
    } else {
        sink->path = tg_slice_dup(output);
        sink->fd = open_path(sink->path);
    }
    if (sink->fd < 0 || sink->wake_fd < 0) {
        st = tg_fail(err, errno == EACCES || errno == EPERM ? TG_DENIED : TG_IO, "%s: cannot be opened: %s",
                     sink->path ? sink->path : "eventfd", strerror(errno));
        free_sink(sink);
        return st;
    }
    look_at_fd(sink);
    ring_bytes = ring_bytes == 0 ? RING_DEFAULT : ring_bytes > RING_MAX ? RING_MAX : ring_bytes;
    for (sink->cap = RING_MIN; sink->cap < ring_bytes;)
        sink->cap *= 2;
    sink->ring = tg_alloc(sink->cap);
    e = start_thread(sink);
    if (e != 0) {
        free_sink(sink);
        return tg_fail(err, TG_IO, "no thread for the log: %s", strerror(e));
    }
    *out = sink;
    return TG_OK;
}

void tg_log_sink_reopen(struct tg_log_sink *sink)
{
    atomic_store(&sink->reopen, true);
    wake(sink);
}

uint64_t tg_log_sink_dropped(const struct tg_log_sink *sink)
{
    return atomic_load_explicit(&sink->dropped, memory_order_relaxed);
}

void tg_log_sink_close(struct tg_log_sink *sink)
{
    struct timespec by;

    if (!sink)
        return;
    atomic_store(&sink->stop_by_ms, tg_clock_mono_ms() + CLOSE_MS);
    atomic_store(&sink->stop, true);
    wake(sink);
    clock_gettime(CLOCK_REALTIME, &by);
    by.tv_sec += CLOSE_MS / 1000 + 1;
    if (pthread_timedjoin_np(sink->thread, NULL, &by) == 0)
        free_sink(sink);
    else
        pthread_detach(sink->thread);                    /* it hangs in a write and still uses the sink */
}
