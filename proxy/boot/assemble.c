/*
 * assemble - services in order up, in reverse order down.
 */
#include "boot/assemble.h"
#include "assemble_parts.h"
#include "auth/assertion.h"
#include "auth/credential.h"
#include "auth/introspect.h"
#include "auth/pat.h"
#include "base/hash.h"
#include "certificates.h"
#include "unverified.h"
#include <stdio.h>
#include <sys/resource.h>

/* ---- a worker ---- */

static enum tg_status init_serving(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct tg_serving *s = arg;
    struct tg_server *server = s->server;

    s->gate = tg_gate_new(w, &server->shared, NULL, err);
    if (!s->gate)
        return TG_IO;
    tg_gate_bind(s->gate, server->config);
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

static void count_serving(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;

    (void)w;
    s->connections = tg_gate_connections(s->gate);
}

/* ---- the control thread ---- */

struct sources_home server_home(struct tg_server *server, struct tg_worker *control)
{
    return (struct sources_home){control, server->fetcher, &server->shared};
}

static void describe_sources(void *arg, struct tg_buf *out)
{
    sources_describe(arg, out);
}

struct tg_settings server_view(const struct tg_server *server, struct tg_config *config)
{
    struct tg_settings view = server->settings;

    view.config = config;
    return view;
}

static void fini_control(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;

    (void)w;
    tg_listener_free(server->health_listener, false);
    tg_gate_free(server->health_gate);
    server->health.keys = NULL;
    server->health.describe = NULL;
    sources_stop(server->sources);
    tg_exposure_free(server->exposure);
    server->exposure = NULL;
    tg_credentials_free(server->shared.auth.credentials);
    server->shared.auth.credentials = NULL;
    tg_introspector_free(server->shared.auth.introspector);
    server->shared.auth.introspector = NULL;
    if (server->keys)
        tg_keys_free(server->keys);
    server->keys = NULL;
    if (server->fetcher)
        tg_fetcher_free(server->fetcher);
    server->fetcher = NULL;
}

static enum tg_status init_control(struct tg_worker *w, void *arg, struct tg_err *err)
{
    struct tg_server *server = arg;
    struct tg_settings view = server_view(server, server->config);
    char *state_dir = server->settings.state_dir.ptr ? tg_slice_dup(server->settings.state_dir) : NULL;
    enum tg_status st = tg_fetcher_new(w, &server->fetcher, err);

    if (st == TG_OK) {
        server->keys = tg_keys_new(w, server->fetcher, state_dir);
        tg_keys_bind(server->keys, &server->settings.config->providers);
        server->health.keys = server->keys;
        server->shared.auth.introspector = tg_introspector_new(w, server->fetcher);
        tg_introspector_bind(server->shared.auth.introspector, &server->settings.config->providers);
        server->shared.auth.credentials = tg_credentials_new(w, server->fetcher);
        server_bind_credentials(w, &(struct credential_binding){server->shared.auth.credentials, server->config});
        st = tg_exposure_new(w, &server->exposure, err);
    }
    if (st == TG_OK) {
        struct sources_home home = server_home(server, w);

        tg_exposure_bind(server->exposure, &view);
        server->health.describe = describe_sources;
        server->health.describe_arg = server->sources;
        st = sources_start(server->sources, &home, &server->settings, err);
    }
    free(state_dir);
    if (st == TG_OK && server->health_socket.count > 0) {
        server->health_gate = tg_gate_new(w, &server->shared, &server->health.service, err);
        server->health_listener = tg_listener_new(w, server->health_socket.fds[0], tg_gate_accept, server->health_gate);
    }
    if (st != TG_OK)
        fini_control(w, server);
    return st;
}

static void look_around(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;

    (void)w;
    if (server->exposure)                                /* else posted to a thread that is about to end */
        tg_exposure_look(server->exposure);
}

/* ---- up ---- */

static enum tg_status start_sources(struct tg_server *server, struct tg_err *err)
{
    enum tg_status st = sources_new(&server->settings, &server->sources, err);

    server->config = tg_config_ref(server->settings.config);
    server->shared.supply = sources_supply(server->sources);
    if (st == TG_OK)
        tg_server_adopt(server);                         /* what was kept, before anybody is served */
    return st;
}

/* ---- sockets, threads ---- */

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
    return st == TG_OK ? sources_open(server->sources, s, err) : st;
}

static void raise_descriptor_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static enum tg_status start_threads(struct tg_server *server, struct tg_err *err)
{
    struct tg_worker_hooks control = {init_control, fini_control, server};
    enum tg_status st = tg_worker_start(server->worker_count, "control", &control, &server->control, err);

    if (st == TG_OK) {
        sources_await(server->sources, &server->settings);
        tg_server_adopt(server);                         /* what the source had at hand */
    }
    for (unsigned i = 0; st == TG_OK && i < server->worker_count; i++) {
        struct tg_serving *s = &server->serving[i];
        struct tg_worker_hooks hooks = {init_serving, fini_serving, s};
        char name[24];

        s->server = server;
        snprintf(name, sizeof(name), "worker-%u", i);
        st = tg_worker_start(i, name, &hooks, &s->worker, err);
    }
    return st;
}

enum tg_status tg_server_start(struct tg_server *server, struct tg_settings *settings, struct tg_err *err)
{
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
    server->shared.limiter = tg_limiter_new(server->settings.config->limits.max_keys);
    tg_health_init(&server->health, &server->shared);
    if (!tg_slice_eq(log, TG_S("off")))
        st = tg_log_sink_open(log, 0, &server->shared.access_log, err);
    if (st == TG_OK)
        st = server_refuse_exposed(server, &server->settings, err);
    if (st == TG_OK)
        st = start_sources(server, err);
    if (st == TG_OK)
        st = server_start_signing(server, err);
    if (st == TG_OK)
        st = server_start_audit(server, err);
    if (st == TG_OK)
        st = server_open_pats(server, &server->settings, err);
    if (st == TG_OK)
        st = server_start_possession(server, err);
    if (st == TG_OK)
        st = open_sockets(server, err);
    if (st == TG_OK)
        st = start_threads(server, err);
    if (st != TG_OK) {
        tg_server_stop(server);
        return st;
    }
    tell_unverified(NULL, server->config);
    tell_certificates(NULL, &server->settings);
    atomic_store(&server->health.started, true);
    return TG_OK;
}

/* ---- down ---- */

static void drain_sources(struct tg_worker *w, void *arg)
{
    (void)w;
    sources_drain(arg);
}

void tg_server_stop_accepting(struct tg_server *server)
{
    tg_worker_call(server->control, drain_sources, server->sources);
    for (unsigned i = 0; i < server->worker_count; i++)
        tg_worker_call(server->serving[i].worker, drain_serving, &server->serving[i]);
    for (size_t i = 0; i < server->socket_count; i++) {
        if (server->sockets[i].at.local) /* shared by all workers, so it is closed after the last of them */
            tg_listen_close(&server->sockets[i]);
    }
}

struct counted_sources {
    const struct sources *sources;
    size_t connections;
};

static void count_sources(struct tg_worker *w, void *arg)
{
    struct counted_sources *c = arg;

    (void)w;
    c->connections = sources_connections(c->sources);
}

size_t tg_server_connections(struct tg_server *server)
{
    struct counted_sources managing = {.sources = server->sources};
    size_t n;

    tg_worker_call(server->control, count_sources, &managing);
    n = managing.connections;
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
    sources_free(server->sources);
    tg_audit_free(server->shared.audit);
    tg_log_sink_close(server->shared.access_log);
    tg_limiter_free(server->shared.limiter);
    tg_revocations_free(server->shared.auth.revocations);
    tg_dpop_free(server->shared.auth.dpop);
    tg_pats_free(server->shared.auth.pats);
    tg_signing_free(server->shared.auth.signing);
    tg_gate_shared_fini(&server->shared);
    free(server->sockets);
    free(server->serving);
    tg_config_unref(server->config);
    tg_settings_fini(&server->settings);
    memset(server, 0, sizeof(*server));
}
