/*
 * reload - the main thread's loop: signals in, reload and drain out.
 */
#include "boot/reload.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "boot/commands.h"
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#define POLL_MS 20
#define WATCH_MS 1000
#define WATCH_RETRY_MS 15000

static sigset_t watched;

void tg_signals_block(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

    sigemptyset(&watched);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&watched, numbers[i]);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool reload(struct tg_server *server, const char *path)
{
    enum tg_log_level level;
    struct tg_problems problems = {0};
    struct tg_settings fresh;
    struct tg_err err = {0};
    bool ok = path != NULL;

    memset(&fresh, 0, sizeof(fresh));
    if (!path) {
        tg_log(TG_LOG_WARN, "there is no configuration file to reload");
        return false;
    }
    ok = tg_settings_load(path, &fresh, &problems);
    for (size_t i = 0; i < problems.count; i++)
        tg_log(problems.items[i].warning ? TG_LOG_WARN : TG_LOG_ERROR, "configuration",
               TG_F_STR("problem", problems.items[i].text));
    if (ok)
        ok = tg_server_reload(server, &fresh, &err) == TG_OK;
    if (ok && tg_log_level_parse(server->settings.log_level, &level))
        tg_log_set_level(level);
    atomic_store(&server->health.reload_ok, ok);
    if (ok) {
        atomic_store(&server->health.reload_at_s, tg_clock_wall_ms() / 1000);
        tg_log(TG_LOG_INFO, "reloaded", TG_F_INT("routes", tg_routes_count(server->settings.config->routes)),
               TG_F_INT("providers", server->settings.config->providers.count));
    } else {
        tg_log(TG_LOG_ERROR, "not reloaded; the old configuration stays in force",
               TG_F_STR("error", tg_err_text(&err)));
    }
    tg_settings_fini(&fresh);
    tg_problems_fini(&problems);
    return ok;
}

/* Waits for a signal at most until `until_ms` (negative: for ever). 0: time is up. */
static int wait_signal(int64_t until_ms)
{
    for (;;) {
        int64_t left = until_ms < 0 ? 3600000 : until_ms - tg_clock_mono_ms();
        struct timespec ts;

        if (left <= 0)
            return 0;
        ts.tv_sec = left / 1000;
        ts.tv_nsec = left % 1000 * 1000000;
        int sig = sigtimedwait(&watched, NULL, &ts);
        if (sig > 0)
            return sig;
    }
}

/* ---- files the configuration names: read again when they change, without a signal ---- */

/*
 * A value that changes when one of the files is written or replaced: also behind symbolic links, as Kubernetes swaps
 * them, since stat() follows them.
 */
static uint64_t files_signature(const struct tg_config *config)
{
    uint64_t sum = 1;
    const char *path;

    for (size_t i = 0; (path = tg_tree_noted_file(config->tree, i)); i++) {
        struct stat st;

        memset(&st, 0, sizeof(st));
        if (stat(path, &st) == 0)
            sum = tg_hash2(tg_hash2(sum, (uint64_t)st.st_ino),
                           tg_hash2((uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec,
                                    (uint64_t)st.st_size));
    }
    return sum;
}

/* Two looks that agree make a change: a file that is being written is left alone until it rests. */
struct watch {
    uint64_t in_force, last;
    int64_t retry_ms;                                    /* after a reload that failed: not before */
};

static bool files_changed(struct watch *w, const struct tg_config *config)
{
    uint64_t now = files_signature(config);
    bool changed = now != w->in_force && now == w->last && tg_clock_mono_ms() >= w->retry_ms;

    w->last = now;
    return changed;
}

static void look_at_files(struct watch *w, struct tg_server *server, const char *path)
{
    if (!path || !files_changed(w, server->settings.config))
        return;
    tg_log(TG_LOG_INFO, "a file that the configuration names has changed");
    if (reload(server, path))
        w->in_force = w->last = files_signature(server->settings.config);
    else
        w->retry_ms = tg_clock_mono_ms() + WATCH_RETRY_MS;
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

    tg_log(TG_LOG_INFO, "draining", TG_F_INT("delay_ms", server->settings.drain_delay_ms),
           TG_F_INT("timeout_ms", server->settings.drain_timeout_ms));
    atomic_store(&server->health.draining, true);
    for (int sig = 1; sig;) {
        sig = wait_signal(delay_end_ms);
        if (stops(sig))
            return false;
    }
    tg_server_stop_accepting(server);
    while (tg_server_connections(server) > 0) {
        if (tg_clock_mono_ms() >= end_ms || stops(wait_signal(tg_clock_mono_ms() + POLL_MS)))
            return false;
    }
    return true;
}

int tg_serve(struct tg_server *server, const char *path)
{
    struct watch watch = {0};

    watch.in_force = watch.last = files_signature(server->settings.config);
    for (;;) {
        int sig = wait_signal(tg_clock_mono_ms() + WATCH_MS);

        if (sig == 0)
            look_at_files(&watch, server, path);
        if (sig == SIGHUP && reload(server, path))
            watch.in_force = watch.last = files_signature(server->settings.config);
        if (sig == SIGUSR1 && server->shared.access_log)
            tg_log_sink_reopen(server->shared.access_log);
        if (stops(sig))
            break;
    }
    bool clean = drain(server);
    size_t left = tg_server_connections(server);

    tg_log(TG_LOG_INFO, clean ? "stopped" : "stopped with connections open", TG_F_INT("connections", left));
    tg_server_stop(server);
    return TG_EXIT_OK;
}
