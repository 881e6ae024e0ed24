/*
 * assemble_adopt - what comes in force while the server runs: policies from elsewhere, and a file that was read again.
 *
 * Both end in a tg_config: the file's own, or policies laid over it. All that can refuse it is done before anything
 * takes effect; then every worker binds it in turn, and what is under way ends under the old one.
 */
#include "assemble_parts.h"
#include "auth/assertion.h"
#include "auth/credential.h"
#include "auth/dpop.h"
#include "auth/introspect.h"
#include "base/clock.h"
#include "base/log.h"
#include "certificates.h"
#include "compose.h"
#include "unverified.h"
#include <time.h>

#define KEYS_WAIT_MS 5000

/* ---- posted ---- */

static void bind_serving(struct tg_worker *w, void *arg)
{
    struct tg_serving *s = arg;

    (void)w;
    tg_gate_bind(s->gate, s->server->config);
}

static void bind_exposure(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;
    struct tg_settings view = server_view(server, server->config);

    (void)w;
    tg_exposure_bind(server->exposure, &view);
}

static void sweep_credentials(struct tg_worker *w, void *arg)
{
    (void)w;
    tg_credentials_sweep(arg);
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

/* ---- policies from elsewhere, laid over the file's own configuration ---- */

/* What was composed, before anything takes effect: what it forwards to must not be exposed. */
static enum tg_status may_serve(struct tg_server *server, const struct tg_settings *s, struct tg_config *config,
                                struct tg_err *err)
{
    struct tg_settings view = *s;

    view.config = config;
    return server_refuse_exposed(server, &view, err);
}

/* NULL: `set` cannot be in force with these settings, and `err` says why. What it warns of is told. */
static struct tg_config *compose(struct tg_server *server, const struct tg_settings *s, struct tg_set *set,
                                 struct tg_err *err)
{
    struct tg_problems problems = {0};
    struct tg_config *config = tg_config_compose(s->config, set, tg_settings_rules(s), &problems);

    if (!config) {
        tg_fail(err, TG_BAD_INPUT, "%s", compose_trouble(&problems));
    } else if (may_serve(server, s, config, err) != TG_OK) {
        tg_config_unref(config);
        config = NULL;
    } else {
        compose_tell(config, tg_supply_source(server->shared.supply), &problems);
    }
    tg_problems_fini(&problems);
    return config;
}

/* Some route passes an assertion on, and none did before. */
static enum tg_status begin_signing(struct tg_server *server, const struct tg_config *config, struct tg_err *err)
{
    struct tg_signing_keys *keys = NULL;
    enum tg_status st;

    if (!config->signs || server->config->signs || !server->shared.auth.signing)
        return TG_OK;
    st = server_read_signing(server, config, &keys, err);
    if (st == TG_OK)
        tg_signing_bind(server->shared.auth.signing, keys, tg_clock_wall_ms());
    return st;
}

/* Takes the reference over. Threads that have not been started yet find it when they begin. */
static void put_in_force(struct tg_server *server, struct tg_config *config)
{
    struct credential_binding own = {server->shared.auth.credentials, config};
    struct tg_config *old = server->config;

    if (server->control)
        tg_worker_call(server->control, server_bind_credentials, &own);
    server->config = config;
    for (unsigned i = 0; i < server->worker_count; i++)
        if (server->serving[i].worker)
            tg_worker_call(server->serving[i].worker, bind_serving, &server->serving[i]);
    if (server->control)
        tg_worker_call(server->control, bind_exposure, server);
    tell_unverified(old, config);
    tg_config_unref(old);
    if (server->control)
        tg_worker_call(server->control, sweep_credentials, server->shared.auth.credentials);
}

static void adopt(struct tg_server *server, struct tg_set *set)
{
    struct tg_supply *supply = server->shared.supply;
    int64_t began_us = tg_clock_mono_us();
    struct tg_err err = {0};
    struct tg_config *config = compose(server, &server->settings, set, &err);

    if (config && begin_signing(server, config, &err) != TG_OK) {
        tg_config_unref(config);
        config = NULL;
    }
    if (!config) {
        tg_supply_settle(supply, set, tg_err_text(&err));
        return;
    }
    put_in_force(server, config);
    tg_supply_settle(supply, set, NULL);
    tg_log(TG_LOG_INFO, "policies in force", TG_F_STR("source", tg_supply_source(supply)),
           TG_F_INT("policies", tg_set_policies(set)), TG_F_INT("routes", tg_set_routes(set)),
           TG_F_STR("policy_set", config->policy_set),
           TG_F_INT("took_ms", (tg_clock_mono_us() - began_us) / 1000));
}

void tg_server_adopt(struct tg_server *server)
{
    struct tg_set *set = server->shared.supply ? tg_supply_take(server->shared.supply) : NULL;

    if (!set)
        return;
    adopt(server, set);                                  /* one that came meanwhile has woken us again */
    tg_set_unref(set);
}

/* ---- a file that was read again ---- */

/*
 * Keys of a provider that is new, or whose URL changed, are fetched before the workers change over: else its tokens
 * would be 503 in between. Bounded: a provider that is away must not keep a new configuration from taking effect.
 */
static void await_keys(struct tg_server *server)
{
    int64_t until_ms = tg_clock_mono_ms() + KEYS_WAIT_MS;
    struct timespec pause = {0, 20 * 1000000};

    while (!tg_keys_ready(server->keys)) {
        if (tg_clock_mono_ms() >= until_ms || !server_may_wait(server)) {
            tg_log(TG_LOG_WARN, "reloading before every provider's keys are there");
            return;
        }
        nanosleep(&pause, NULL);
    }
}

struct coming {                                          /* read for a new configuration, not in force yet */
    struct tg_config *config;                            /* the file's own, or a set over it; a reference */
    struct tg_set *taken;                                /* to be settled; a reference; NULL: none was waiting */
    struct tg_err refused;                               /* why `taken` is not part of `config`; zeroed: it is */
    struct tg_signing_keys *keys;
    struct tg_revocations_next *feed;
};

/* The newest policies there are, which may compile now even if they did not before; else those in force. */
static enum tg_status compose_coming(struct tg_server *server, const struct tg_settings *s, struct coming *c,
                                     struct tg_err *err)
{
    struct tg_supply *supply = server->shared.supply;
    struct tg_set *current;

    if (supply && (c->taken = tg_supply_take_again(supply)) &&
        (c->config = compose(server, s, c->taken, &c->refused)))
        return TG_OK;
    current = supply ? tg_supply_current(supply) : NULL;
    if (current)
        c->config = compose(server, s, current, err);
    else if (may_serve(server, s, s->config, err) == TG_OK)
        c->config = tg_config_ref(s->config);
    tg_set_unref(current);
    return c->config ? TG_OK : TG_UNSUPPORTED;
}

/* All that can refuse, before anything takes effect. A store that was opened is asked by nobody yet. */
static enum tg_status may_reload(struct tg_server *server, const struct tg_settings *settings, struct coming *coming,
                                 struct tg_err *err)
{
    const char *differs = tg_settings_differs(&server->settings, settings);
    enum tg_status st;

    if (differs)
        return tg_fail(err, TG_UNSUPPORTED, "%s can only change with a restart", differs);
    settings->config->limits.max_keys = server->settings.config->limits.max_keys; /* what is in force, limits off too */
    st = compose_coming(server, settings, coming, err);
    if (st == TG_OK)
        st = server_open_pats(server, settings, err);
    if (st == TG_OK)
        st = server_read_signing(server, coming->config, &coming->keys, err);
    if (st == TG_OK)
        st = server_read_revocations(server, settings->config, &coming->feed, err);
    if (st == TG_OK)
        return TG_OK;
    if (coming->taken)
        tg_supply_put_back(server->shared.supply, coming->taken);
    tg_set_unref(coming->taken);
    tg_config_unref(coming->config);
    tg_signing_keys_unref(coming->keys);
    return TG_UNSUPPORTED;
}

static void bind_sources(struct tg_worker *w, void *arg)
{
    struct tg_server *server = arg;
    struct sources_home home = server_home(server, w);

    sources_bind(server->sources, &home, &server->settings);
}

enum tg_status tg_server_reload(struct tg_server *server, struct tg_settings *settings, struct tg_err *err)
{
    struct key_binding binding = {server, &settings->config->providers};
    struct tg_settings old = server->settings;
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
    server->settings = *settings;
    memset(settings, 0, sizeof(*settings));
    put_in_force(server, coming.config);
    if (coming.taken)
        tg_supply_settle(server->shared.supply, coming.taken, coming.refused.text[0] ? coming.refused.text : NULL);
    tg_set_unref(coming.taken);
    if (!coming.keys)
        tg_signing_bind(server->shared.auth.signing, NULL, tg_clock_wall_ms());
    tg_worker_call(server->control, bind_sources, server);
    if (server->shared.audit)
        tg_audit_bind(server->shared.audit, &server->settings.audit);
    tell_certificates(&old, &server->settings);
    tg_settings_fini(&old);
    tg_worker_call(server->control, sweep_credentials, server->shared.auth.credentials);
    return TG_OK;
}
