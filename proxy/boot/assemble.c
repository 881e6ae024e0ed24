/*
 * assemble - services in order up, in reverse order down.
 */
#include "boot/assemble.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "certificates.h"
#include "gate/gate.h"
#include "unverified.h"
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#define LIMIT_KEYS (1u << 20)
#define KEYS_WAIT_MS 5000

struct tg_serving {                                      /* one worker and what it serves with */
    struct tg_server *server;
    struct tg_worker *worker;
    struct tg_gate *gate;
    struct tg_listener **listeners;                      /* one an address */
    size_t connections;                                  /* answer of a question */
};

/* ---- a worker ---- */

static enum tg_status init_serving(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct tg_serving *s = arg;
    struct tg_server *server = s->server;

    s->gate = tg_gate_new(w, &server->shared, NULL, err);
    if (!s->gate)
        return TG_IO;
    tg_gate_bind(s->gate, server->settings.config);
    s->listeners = TG_NEW_ARRAY(struct tg_listener *, server->socket_count);
    for (size_t i = 0; i < server->socket_count; i++)
        s->listeners[i] = tg_listener_new(w, server->sockets[i].fds[w->index], tg_gate_accept, s->gate);
    return TG_OK;
}

static void stop_listening(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;
    struct tg_server *server = s->server;

    for (size_t i = 0; i < server->socket_count; i++) {
        bool own = !server->sockets[i].at.local;

        if (!s->listeners[i])
            continue;
        tg_listener_sweep(s->listeners[i]);
        tg_listener_free(s->listeners[i], own);
        s->listeners[i] = NULL;
        if (own)
            server->sockets[i].fds[w->index] = -1;
    }
}

static void fini_serving(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;

    stop_listening(w, s);
    tg_gate_free(s->gate);
    free(s->listeners);
    s->gate = NULL;
}

static void drain_serving(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;

    stop_listening(w, s);
    tg_gate_drain(s->gate);
}

static void bind_serving(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;

    (void)w;
    tg_gate_bind(s->gate, s->server->settings.config);
}

static void count_serving(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;

    (void)w;
    s->connections = tg_gate_connections(s->gate);
}

/* ---- the control thread ---- */

static enum tg_status init_control(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct tg_server *server = arg;
    char *state_dir = server->settings.state_dir.ptr ? tg_slice_dup(server->settings.state_dir) : NULL;
    enum tg_status st = tg_fetcher_new(w, &server->fetcher, err);

    if (st == TG_OK) {
        server->keys = tg_keys_new(w, server->fetcher, state_dir);
        tg_keys_bind(server->keys, &server->settings.config->providers);
        server->health.keys = server->keys;
        st = tg_exposure_new(w, &server->exposure, err);
    }
    if (st == TG_OK)
        tg_exposure_bind(server->exposure, &server->settings);
    free(state_dir);
    if (st == TG_OK && server->health_socket.count > 0) {
        server->health_gate = tg_gate_new(w, &server->shared, &server->health.service, err);
        server->health_listener = tg_listener_new(w, server->health_socket.fds[0], tg_gate_accept, server->health_gate);
    }
    return st;
}

static void fini_control(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;

    (void)w;
    tg_listener_free(server->health_listener, false);
    tg_gate_free(server->health_gate);
    server->health.keys = NULL;
    tg_exposure_free(server->exposure);
    server->exposure = NULL;
    tg_keys_free(server->keys);
    tg_fetcher_free(server->fetcher);
}

static void bind_exposure(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;

    (void)w;
    tg_exposure_bind(server->exposure, &server->settings);
}

static void look_around(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;

    (void)w;
    if (server->exposure)                                /* else posted to a thread that is about to end */
        tg_exposure_look(server->exposure);
}

struct key_binding {
    struct tg_server *server;
    struct tg_providers *providers;
};

static void bind_keys(struct tg_worker *w, void *arg)
{
    struct key_binding *b = arg;

    (void)w;
    tg_keys_bind(b->server->keys, b->providers);
}

/* ---- up ---- */

struct exposure_refusal {
    struct tg_server *server;
    struct tg_err *err;
};

static void keep_sentence(void *arg, const struct tg_exposure_finding *f)
{
    const struct exposure_refusal *r = arg;

    tg_fail(r->err, TG_UNSUPPORTED, "refuse_exposed_upstream: %s", f->text);
}

static bool may_wait(struct tg_server *server)
{
    return !server->meanwhile || server->meanwhile(server->meanwhile_arg);
}

static bool may_wait_for_look(void *arg)
{
    const struct exposure_refusal *r = arg;

    return may_wait(r->server);
}

static enum tg_status refuse_exposed(struct tg_server *server, const struct tg_settings *s, struct tg_err *err)
{
    struct exposure_refusal r = {server, err};

    if (!s->refuse_exposed_upstream || tg_exposure_check(s, keep_sentence, may_wait_for_look, &r) == 0)
        return TG_OK;
    return TG_UNSUPPORTED;
}

static enum tg_status open_sockets(struct tg_server *server, struct tg_err *err)
{
    const struct tg_settings *s = &server->settings;
    struct tg_listen_address at;
    enum tg_status st = TG_OK;

    server->sockets = TG_NEW_ARRAY(struct tg_listen_socket, s->addresses.count);
    for (size_t i = 0; st == TG_OK && i < s->addresses.count; i++) {
        st = tg_listen_parse(s->addresses.items[i], &at, err);
        if (st == TG_OK)
            st = tg_listen_bind(&at, server->worker_count, &server->sockets[i], err);
        if (st == TG_OK)
            server->socket_count++;
    }
    if (st == TG_OK && s->health_address.ptr) {
        st = tg_listen_parse(s->health_address, &at, err);
        if (st == TG_OK)
            st = tg_listen_bind(&at, 1, &server->health_socket, err);
    }
    return st;
}

static void raise_descriptor_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

enum tg_status tg_server_start(struct tg_server *server, struct tg_settings *settings, struct tg_err *err)
{
    struct tg_worker_hooks control = {init_control, fini_control, server};
    struct tg_slice log = settings->access_log_output;
    enum tg_status st = TG_OK;

    memset(server, 0, sizeof(*server));
    server->settings = *settings;
    memset(settings, 0, sizeof(*settings));
    server->worker_count = (unsigned)server->settings.workers;
    server->serving = TG_NEW_ARRAY(struct tg_serving, server->worker_count);
    raise_descriptor_limit();
    tg_hash_init();
    tg_gate_shared_init(&server->shared);
    server->shared.limiter = tg_limiter_new(LIMIT_KEYS);
    tg_health_init(&server->health, &server->shared);
    if (!tg_slice_eq(log, TG_S("off")))
        st = tg_log_sink_open(log, 0, &server->shared.access_log, err);
    if (st == TG_OK)
        st = refuse_exposed(server, &server->settings, err);
    if (st == TG_OK)
        st = open_sockets(server, err);
    if (st == TG_OK)
        st = tg_worker_start(server->worker_count, "control", &control, &server->control, err);
    for (unsigned i = 0; st == TG_OK && i < server->worker_count; i++) {
        struct tg_serving *s = &server->serving[i];
        struct tg_worker_hooks hooks = {init_serving, fini_serving, s};
        char name[24];

        s->server = server;
        snprintf(name, sizeof(name), "worker-%u", i);
        st = tg_worker_start(i, name, &hooks, &s->worker, err);
    }
    if (st != TG_OK) {
        tg_server_stop(server);
        return st;
    }
    tell_unverified(NULL, server->settings.config);
    tell_certificates(NULL, &server->settings);
    atomic_store(&server->health.started, true);
    return TG_OK;
}

/*
 * Keys of a provider that is new, or whose URL changed, are fetched before the workers change over: else its tokens
 * would be 503 in between. Bounded: a provider that is away must not keep a new configuration from taking effect.
 */
static void await_keys(struct tg_server *server)
{
    int64_t until_ms = tg_clock_mono_ms() + KEYS_WAIT_MS;
    struct timespec pause = {0, 20 * 1000000};

    while (!tg_keys_ready(server->keys)) {
        if (tg_clock_mono_ms() >= until_ms || !may_wait(server)) {
            tg_log(TG_LOG_WARN, "reloading before every provider's keys are there");
            return;
        }
        nanosleep(&pause, NULL);
    }
}

enum tg_status tg_server_reload(struct tg_server *server, struct tg_settings *settings, struct tg_err *err)
{
    const char *differs = tg_settings_differs(&server->settings, settings);
    struct key_binding binding = {server, &settings->config->providers};

    if (differs)
        return tg_fail(err, TG_UNSUPPORTED, "%s can only change with a restart", differs);
    if (refuse_exposed(server, settings, err) != TG_OK)
        return TG_UNSUPPORTED;
    tg_worker_call(server->control, bind_keys, &binding);
    await_keys(server);
    struct tg_settings old = server->settings;

    server->settings = *settings;
    memset(settings, 0, sizeof(*settings));
    for (unsigned i = 0; i < server->worker_count; i++)
        tg_worker_call(server->serving[i].worker, bind_serving, &server->serving[i]);
    tg_worker_call(server->control, bind_exposure, server);
    tell_unverified(old.config, server->settings.config);
    tell_certificates(&old, &server->settings);
    tg_settings_fini(&old);
    return TG_OK;
}

/* ---- down ---- */

void tg_server_stop_accepting(struct tg_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        tg_worker_call(server->serving[i].worker, drain_serving, &server->serving[i]);
    for (size_t i = 0; i < server->socket_count; i++) {
        if (server->sockets[i].at.local) /* shared by all workers, so it is closed after the last of them */
            tg_listen_close(&server->sockets[i]);
    }
}

size_t tg_server_connections(struct tg_server *server)
{
    size_t n = 0;

    for (unsigned i = 0; i < server->worker_count; i++) {
        tg_worker_call(server->serving[i].worker, count_serving, &server->serving[i]);
        n += server->serving[i].connections;
    }
    return n;
}

struct tg_worker *tg_server_thread(const struct tg_server *server, unsigned i)
{
    return i < server->worker_count ? server->serving[i].worker : server->control;
}

void tg_server_look_around(struct tg_server *server)
{
    tg_worker_post(server->control, look_around, server);
}

void tg_server_stop(struct tg_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        tg_worker_stop(server->serving[i].worker);
    tg_worker_stop(server->control);
    for (size_t i = 0; i < server->socket_count; i++)
        tg_listen_close(&server->sockets[i]);
    if (server->health_socket.count)
        tg_listen_close(&server->health_socket);
    tg_log_sink_close(server->shared.access_log);
    tg_limiter_free(server->shared.limiter);
    tg_gate_shared_fini(&server->shared);
    free(server->sockets);
    free(server->serving);
    tg_settings_fini(&server->settings);
    memset(server, 0, sizeof(*server));
}
