/*
 * reload - the main thread's loop: signals in, reload and drain out.
 */
#include "boot/reload.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "boot/commands.h"
#include "store/supply.h"
#include "watchdog.h"
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#define POLL_MS 20
#define WATCH_MS 1000
#define WATCH_RETRY_MS 15000
#define RESTLESS_LOOKS 10
#define FILE_CLOCK_MS 20                                 /* a file's times are up to a tick older than the clock */
#define LOOK_FIRST_MS 5000                               /* an app may start a little later than its sidecar, */
#define LOOK_LAST_MS 60000                               /* or much later */

static sigset_t watched;
static struct tg_notify notify = {.fd = -1};
static struct tg_watchdog watchdog;
static uint64_t refusal_told;                            /* a hash of its words; 0: what was tried last worked */

void tg_signals_block(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

    sigemptyset(&watched);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&watched, numbers[i]);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);                            /* a limit on files is a failed write, not the end */
}

static void log_problems(const struct tg_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        tg_log(problems->items[i].warning ? TG_LOG_WARN : TG_LOG_ERROR, "configuration",
               TG_F_STR("problem", problems->items[i].text));
}

/* Why a reload was refused is told once, not at each attempt, until something else is wrong. `asked`: by a signal. */
static void tell_refusal(const struct tg_problems *problems, const struct tg_err *err, bool asked)
{
    uint64_t words = tg_hash_slice(tg_slice_str(tg_err_text(err)));

    for (size_t i = 0; i < problems->count; i++)
        words = tg_hash2(words, tg_hash_slice(tg_slice_str(problems->items[i].text)));
    if (words == refusal_told && !asked)
        return;
    refusal_told = words;
    log_problems(problems);
    tg_log(TG_LOG_ERROR, "not reloaded; the old configuration stays in force",
           TG_F_STR("error", problems->errors ? "the configuration has errors" : tg_err_text(err)));
}

static bool reload(struct tg_server *server, const char *path, bool asked)
{
    enum tg_log_level level;
    struct tg_problems problems = {0};
    struct tg_settings fresh;
    struct tg_err err = {0};
    bool ok;

    memset(&fresh, 0, sizeof(fresh));
    if (!path) {
        tg_log(TG_LOG_WARN, "there is no configuration file to reload");
        return false;
    }
    ok = tg_settings_load(path, &fresh, &problems) && tg_server_reload(server, &fresh, &err) == TG_OK;
    if (ok && tg_log_level_parse(server->settings.log_level, &level))
        tg_log_set_level(level);
    atomic_store(&server->health.reload_ok, ok);
    if (ok) {
        refusal_told = 0;
        log_problems(&problems);
        atomic_store(&server->health.reload_at_s, tg_clock_wall_ms() / 1000);
        tg_log(TG_LOG_INFO, "reloaded", TG_F_INT("routes", tg_routes_count(server->config->routes)),
               TG_F_INT("providers", server->settings.config->providers.count));
    } else {
        tell_refusal(&problems, &err, asked);
    }
    tg_settings_fini(&fresh);
    tg_problems_fini(&problems);
    return ok;
}

/* systemd's word for "wait with whatever needs the new configuration", and the end of that. */
static bool reload_told(struct tg_server *server, const char *path, bool asked)
{
    bool ok;

    tg_notify_send(&notify, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)tg_clock_mono_us());
    ok = reload(server, path, asked);
    tg_notify_send(&notify, "READY=1\nSTATUS=%s", ok ? "serving, reloaded"
                   : "serving by the old configuration; the log says what is wrong with the new one");
    return ok;
}

/* Whoever waits inside of a reload feeds the watchdog, and gives up as soon as the process is to stop. */
static bool meanwhile(void *arg)
{
    sigset_t pending;

    tg_watchdog_turn(arg);
    return sigpending(&pending) != 0 || (!sigismember(&pending, SIGTERM) && !sigismember(&pending, SIGINT));
}

/*
 * Of several signals the kernel gives out the one with the lowest number, and SIGTERM has a high one: policies that
 * change faster than they can be put in force would keep the process from ever being stopped.
 */
static int next_signal(const struct timespec *wait)
{
    static const struct timespec at_once;
    sigset_t first;
    int sig;

    sigemptyset(&first);
    sigaddset(&first, SIGTERM);
    sigaddset(&first, SIGINT);
    sig = sigtimedwait(&first, NULL, &at_once);
    return sig > 0 ? sig : sigtimedwait(&watched, NULL, wait);
}

/* Waits for a signal at most until `until_ms`. 0: time is up. */
static int wait_any(int64_t until_ms)
{
    for (;;) {
        int64_t now_ms, left;
        struct timespec ts;

        tg_watchdog_turn(&watchdog);
        now_ms = tg_clock_mono_ms();
        left = until_ms - now_ms;
        if (left <= 0)
            return 0;
        if (watchdog.period_ms && watchdog.next_ms - now_ms < left)
            left = watchdog.next_ms > now_ms ? watchdog.next_ms - now_ms : 1;
        ts.tv_sec = left / 1000;
        ts.tv_nsec = left % 1000 * 1000000;
        int sig = next_signal(&ts);
        if (sig > 0)
            return sig;
    }
}

/* The same; policies that wait are taken meanwhile, also while draining: requests are judged to the end. */
static int wait_signal(struct tg_server *server, int64_t until_ms)
{
    int sig;

    while ((sig = wait_any(until_ms)) == SIGUSR2)
        tg_server_adopt(server);
    return sig;
}

/* ---- files the configuration names: read again when they change, without a signal ---- */

static uint64_t nanoseconds(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

/*
 * A value that changes when one of the files is written or replaced, or who may read it: also behind symbolic links, as
 * Kubernetes swaps them, since stat() follows them.
 */
static uint64_t files_signature(const struct tg_config *config)
{
    uint64_t sum = 1;
    const char *path;

    for (size_t i = 0; (path = tg_tree_noted_file(config->tree, i)); i++) {
        struct stat st;

        memset(&st, 0, sizeof(st));
        if (stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
            sum = tg_hash2(sum, (uint64_t)st.st_ino);    /* a pipe's times change with every reading of it */
        } else if (st.st_ino != 0) {
            sum = tg_hash2(tg_hash2(sum, (uint64_t)st.st_ino), nanoseconds(&st.st_mtim));
            /* ctime: chmod, and a copy that keeps the time of its source. */
            sum = tg_hash2(tg_hash2(sum, (uint64_t)st.st_size), nanoseconds(&st.st_ctim));
        }
    }
    return sum;
}

static bool same_files(const struct tg_config *a, const struct tg_config *b)
{
    const char *one, *other;

    for (size_t i = 0;; i++) {
        one = tg_tree_noted_file(a->tree, i);
        other = tg_tree_noted_file(b->tree, i);
        if (!one || !other)
            return one == other;
        if (strcmp(one, other) != 0)
            return false;
    }
}

/* Two looks that agree make a change: a file that is being written is left alone until it rests, but not for ever. */
struct watch {
    uint64_t in_force, last;
    unsigned restless;                                   /* looks in a row that did not agree */
    uint64_t failed;                                     /* what was tried last and refused */
    int64_t retry_ms;                                    /* that again: not before */
};

static bool files_changed(struct watch *w, const struct tg_config *config)
{
    uint64_t now = files_signature(config);
    bool due = now != w->failed || tg_clock_mono_ms() >= w->retry_ms;

    w->restless = now == w->last ? 0 : w->restless + 1;
    w->last = now;
    if (now == w->in_force || !due || (w->restless > 0 && w->restless < RESTLESS_LOOKS))
        return false;
    w->restless = 0;
    return true;
}

/* Whether one of the files may have changed since `began_ms`; it may even be gone. */
static bool touched_since(const struct tg_config *config, int64_t began_ms)
{
    const char *path;
    struct stat st;

    for (size_t i = 0; (path = tg_tree_noted_file(config->tree, i)); i++)
        if (stat(path, &st) != 0 || (int64_t)(nanoseconds(&st.st_ctim) / 1000000u) >= began_ms - FILE_CLOCK_MS)
            return true;
    return false;
}

/*
 * What was seen before the files were read is in force: a change in between is one more change. Files that only the new
 * configuration names could not be seen before; when one of them has changed meanwhile, nothing is taken for known.
 */
static void reload_and_watch(struct watch *w, struct tg_server *server, const char *path, bool asked)
{
    struct tg_config *old = tg_config_ref(server->settings.config);
    uint64_t before = files_signature(old);
    int64_t began_ms = tg_clock_wall_ms();

    if (reload_told(server, path, asked)) {
        w->last = files_signature(server->settings.config);
        if (same_files(old, server->settings.config))
            w->in_force = w->last = before;
        else
            w->in_force = touched_since(server->settings.config, began_ms) ? 0 : w->last;
        w->failed = 0;
    } else {
        w->failed = before;
        w->retry_ms = tg_clock_mono_ms() + WATCH_RETRY_MS;
    }
    tg_config_unref(old);
}

static void look_at_files(struct watch *w, struct tg_server *server, const char *path)
{
    if (!path || !files_changed(w, server->settings.config))
        return;
    if (w->last != w->failed)
        tg_log(TG_LOG_INFO, "a file that the configuration names has changed");
    reload_and_watch(w, server, path, false);
}

static bool stops(int sig)
{
    return sig == SIGTERM || sig == SIGINT;
}

/* Readiness goes first, then after drain.delay the listeners, then connections one by one. True: nothing was cut off.
 */
static bool drain(struct tg_server *server)
{
    int64_t now_ms = tg_clock_mono_ms();
    int64_t end_ms = now_ms + server->settings.drain_delay_ms + server->settings.drain_timeout_ms;
    int64_t delay_end_ms = now_ms + server->settings.drain_delay_ms;

    tg_notify_send(&notify, "STOPPING=1\nSTATUS=draining");
    tg_log(TG_LOG_INFO, "draining", TG_F_INT("delay_ms", server->settings.drain_delay_ms),
           TG_F_INT("timeout_ms", server->settings.drain_timeout_ms));
    atomic_store(&server->health.draining, true);
    for (int sig = 1; sig;) {
        sig = wait_signal(server, delay_end_ms);
        if (stops(sig))
            return false;
    }
    tg_server_stop_accepting(server);
    while (tg_server_connections(server) > 0) {
        if (tg_clock_mono_ms() >= end_ms || stops(wait_signal(server, tg_clock_mono_ms() + POLL_MS)))
            return false;
    }
    return true;
}

/* ---- upstreams that others can reach ---- */

struct look {
    int64_t at_ms, pause_ms;                             /* when the next one is, and how long after that */
};

static void look_around(struct look *l, struct tg_server *server)
{
    int64_t now_ms = tg_clock_mono_ms();

    if (now_ms < l->at_ms)
        return;
    tg_server_look_around(server);
    l->pause_ms = 2 * l->pause_ms < LOOK_LAST_MS ? 2 * l->pause_ms : LOOK_LAST_MS;
    l->at_ms = now_ms + l->pause_ms;
}

/* ---- from start to end ---- */

static const char *get_env(const char *name)
{
    return getenv(name);
}

static void begin(struct tg_server *server)
{
    tg_notify_init(&notify, get_env);
    tg_watchdog_init(&watchdog, &notify, server);
    server->meanwhile = meanwhile;
    server->meanwhile_arg = &watchdog;
    tg_notify_send(&notify, "READY=1\nSTATUS=serving");
}

static void end(struct tg_server *server)
{
    tg_server_stop(server);
    tg_watchdog_fini(&watchdog);
    tg_notify_fini(&notify);
}

int tg_serve(struct tg_server *server, const char *path)
{
    struct look look = {tg_clock_mono_ms() + LOOK_FIRST_MS, LOOK_FIRST_MS};
    bool refused = false;
    struct watch watch = {0};

    begin(server);
    watch.in_force = watch.last = files_signature(server->settings.config);
    for (;;) {
        int sig = wait_signal(server, tg_clock_mono_ms() + WATCH_MS);

        if (sig == 0)
            look_at_files(&watch, server, path);
        if (sig == SIGHUP)
            reload_and_watch(&watch, server, path, true);
        if (sig == SIGUSR1 && server->shared.access_log)
            tg_log_sink_reopen(server->shared.access_log);
        look_around(&look, server);
        if (server->shared.supply)
            tg_supply_look(server->shared.supply);
        refused = tg_exposure_refuses(server->exposure);
        if (refused)
            tg_log(TG_LOG_ERROR, "stopping: refuse_exposed_upstream is set, and an upstream is exposed");
        if (refused || stops(sig))
            break;
    }
    bool clean = drain(server);
    size_t left = tg_server_connections(server);

    tg_log(TG_LOG_INFO, clean ? "stopped" : "stopped with connections open", TG_F_INT("connections", left));
    end(server);
    return refused ? TG_EXIT_CONFIG : TG_EXIT_OK;
}
