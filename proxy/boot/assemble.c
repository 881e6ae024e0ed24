/*
 * assemble - services in order up, in reverse order down.
 */
#include "boot/assemble.h"
#include "auth/assertion.h"
#include "auth/credential.h"
#include "auth/introspect.h"
#include "auth/pat.h"
#include "auth/revoked.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "certificates.h"
#include "gate/gate.h"
#include "unverified.h"
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

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

/* ---- tollgate's own credentials for the services ---- */

struct credential_binding {
    struct tg_credentials *credentials;
    struct tg_config *config;
};

/* By route index; the configuration keeps the references. */
static void bind_credentials(struct tg_worker *w, void *arg)
{
    const struct credential_binding *b = arg;
    struct tg_config *c = b->config;
    size_t count = c->routes ? tg_routes_count(c->routes) : 0;

    (void)w;
    if (!c->upstream_auth)
        return;
    c->credentials = TG_ARENA_ARRAY(&c->arena, struct tg_credential_source *, count);
    for (size_t i = 0; i < count; i++)
        if (c->has_upstream_auth[i])
            c->credentials[i] = tg_credentials_bind(b->credentials, &c->upstream_auth[i]);
}

static void sweep_credentials(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_credentials_sweep(arg);
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
        server->shared.auth.introspector = tg_introspector_new(w, server->fetcher);
        tg_introspector_bind(server->shared.auth.introspector, &server->settings.config->providers);
        server->shared.auth.credentials = tg_credentials_new(w, server->fetcher);
        bind_credentials(w, &(struct credential_binding){server->shared.auth.credentials, server->settings.config});
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
    tg_credentials_free(server->shared.auth.credentials);
    server->shared.auth.credentials = NULL;
    tg_introspector_free(server->shared.auth.introspector);
    server->shared.auth.introspector = NULL;
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

/* Only when nothing can refuse the new configuration any more: what is kept takes on its settings. */
static void bind_introspector(struct tg_worker *w, void *arg)
{
    struct key_binding *b = arg;

    (void)w;
    tg_introspector_bind(b->server->shared.auth.introspector, b->providers);
}

/* ---- the keys that sign for the services ---- */

static enum tg_status read_signing(struct tg_server *server, const struct tg_config *config,
                                   struct tg_signing_keys **keys, struct tg_err *err)
{
    return tg_signing_read(server->shared.auth.signing, config->signing_pem, config->signs, keys, err);
}

static enum tg_status start_signing(struct tg_server *server, struct tg_err *err)
{
    const struct tg_settings *s = &server->settings;
    char *state_dir = s->state_dir.ptr ? tg_slice_dup(s->state_dir) : NULL;
    struct tg_signing_keys *keys = NULL;
    enum tg_status st;

    server->shared.auth.signing = tg_signing_new(state_dir);
    free(state_dir);
    st = read_signing(server, s->config, &keys, err);
    if (st == TG_OK)
        tg_signing_bind(server->shared.auth.signing, keys, tg_clock_wall_ms());
    return st;
}

/* ---- personal access tokens ---- */

/*
 * Opened when a configuration first takes them, and then kept to the end. Workers see it when they bind that
 * configuration, which is after this.
 */
static enum tg_status open_pats(struct tg_server *server, const struct tg_settings *s, struct tg_err *err)
{
    enum tg_status st;
    char *state_dir;

    if (!s->config->pats || server->shared.auth.pats)
        return TG_OK;
    if (!s->state_dir.ptr)
        return tg_fail(err, TG_DENIED, "personal_access_tokens are kept in state_dir, and none is set");
    state_dir = tg_slice_dup(s->state_dir);
    st = tg_pats_new(state_dir, &server->shared.auth.pats, err);
    free(state_dir);
    return st == TG_UNSUPPORTED ? TG_IO : st;            /* it is the database that is too new, not the settings */
}

/* ---- proofs of possession, and tokens withdrawn ---- */

/* A feed that cannot be read is a mistake of the configuration, but for the permission to read it. */
static enum tg_status read_revocations(struct tg_server *server, const struct tg_config *config,
                                       struct tg_revocations_next **next, struct tg_err *err)
{
    enum tg_status st = tg_revocations_read(server->shared.auth.revocations, config->revoked_tokens_file, next, err);
    struct tg_err why;

    if (st == TG_OK)
        return TG_OK;
    why = *err;
    return tg_fail(err, st == TG_DENIED ? st : TG_UNSUPPORTED, "revoked_tokens_file: %s", why.text);
}

static enum tg_status start_possession(struct tg_server *server, struct tg_err *err)
{
    const struct tg_config *config = server->settings.config;
    struct tg_revocations_next *next = NULL;
    enum tg_status st;

    server->shared.auth.dpop = tg_dpop_new();
    tg_dpop_bind(server->shared.auth.dpop, &config->dpop);
    server->shared.auth.revocations = tg_revocations_new();
    st = read_revocations(server, config, &next, err);
    if (st == TG_OK)
        tg_revocations_put(server->shared.auth.revocations, next);
    return st;
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

static enum tg_status start_threads(struct tg_server *server, struct tg_err *err)
{
    struct tg_worker_hooks control = {init_control, fini_control, server};
    enum tg_status st = tg_worker_start(server->worker_count, "control", &control, &server->control, err);

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
        st = refuse_exposed(server, &server->settings, err);
    if (st == TG_OK)
        st = start_signing(server, err);
    if (st == TG_OK)
        st = open_pats(server, &server->settings, err);
    if (st == TG_OK)
        st = start_possession(server, err);
    if (st == TG_OK)
        st = open_sockets(server, err);
    if (st == TG_OK)
        st = start_threads(server, err);
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

struct coming {                                          /* read for a new configuration, not in force yet */
    struct tg_signing_keys *keys;
    struct tg_revocations_next *feed;
};

/* All that can refuse, before anything takes effect. A store that was opened is asked by nobody yet. */
static enum tg_status may_reload(struct tg_server *server, const struct tg_settings *settings, struct coming *coming,
                                 struct tg_err *err)
{
    const char *differs = tg_settings_differs(&server->settings, settings);
    enum tg_status st;

    if (differs)
        return tg_fail(err, TG_UNSUPPORTED, "%s can only change with a restart", differs);
    st = refuse_exposed(server, settings, err);
    if (st == TG_OK)
        st = open_pats(server, settings, err);
    if (st == TG_OK)
        st = read_signing(server, settings->config, &coming->keys, err);
    if (st == TG_OK)
        st = read_revocations(server, settings->config, &coming->feed, err);
    if (st == TG_OK)
        return TG_OK;
    tg_signing_keys_unref(coming->keys);
    return TG_UNSUPPORTED;
}

enum tg_status tg_server_reload(struct tg_server *server, struct tg_settings *settings, struct tg_err *err)
{
    struct key_binding binding = {server, &settings->config->providers};
    struct coming coming = {0};

    if (may_reload(server, settings, &coming, err) != TG_OK)
        return TG_UNSUPPORTED;
    tg_worker_call(server->control, bind_keys, &binding);
    await_keys(server);
    if (coming.keys)                                     /* else the old ones sign until the last worker is over */
        tg_signing_bind(server->shared.auth.signing, coming.keys, tg_clock_wall_ms());
    tg_worker_call(server->control, bind_introspector, &binding);
    tg_revocations_put(server->shared.auth.revocations, coming.feed);
    tg_dpop_bind(server->shared.auth.dpop, &settings->config->dpop);
    struct credential_binding own = {server->shared.auth.credentials, settings->config};

    tg_worker_call(server->control, bind_credentials, &own);
    struct tg_settings old = server->settings;

    settings->config->limits.max_keys = old.config->limits.max_keys; /* what is in force */
    server->settings = *settings;
    memset(settings, 0, sizeof(*settings));
    for (unsigned i = 0; i < server->worker_count; i++)
        tg_worker_call(server->serving[i].worker, bind_serving, &server->serving[i]);
    if (!coming.keys)
        tg_signing_bind(server->shared.auth.signing, NULL, tg_clock_wall_ms());
    tg_worker_call(server->control, bind_exposure, server);
    tell_unverified(old.config, server->settings.config);
    tell_certificates(&old, &server->settings);
    tg_settings_fini(&old);
    tg_worker_call(server->control, sweep_credentials, server->shared.auth.credentials);
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
    tg_revocations_free(server->shared.auth.revocations);
    tg_dpop_free(server->shared.auth.dpop);
    tg_pats_free(server->shared.auth.pats);
    tg_signing_free(server->shared.auth.signing);
    tg_gate_shared_fini(&server->shared);
    free(server->sockets);
    free(server->serving);
    tg_settings_fini(&server->settings);
    memset(server, 0, sizeof(*server));
}
