/*
 * sources - one source of policies, from its settings to its end.
 */
#include "sources.h"
#include "settings_tables.h"
#include <signal.h>
#include <unistd.h>

#define FILE_WAIT_MS 2000

struct sources {
    enum tg_set_source kind;
    struct tg_supply *supply;
    struct tg_credential_source *credential;             /* references; NULL: none */
    struct tg_credential_bearer *bearer;
    struct tg_sync *sync;
    struct tg_bundle_source *bundle;
    struct tg_management *management;
    struct tg_listen_socket socket;                      /* of the management API */
    struct tg_gate *gate;
    struct tg_listener *listener;
};

/* ---- the supply ---- */

/* The main thread waits for signals; a set that waits is one more. Blocked everywhere, it stays until looked at. */
static void wake_main(void *arg)
{
    (void)arg;
    kill(getpid(), SIGUSR2);
}

static void add_part(struct tg_buf *out, struct tg_slice part)
{
    tg_buf_addf(out, "%zu:", part.len);
    tg_buf_add_slice(out, part);
}

/* Whose policies they are. A bundle is known by who signed it, wherever it lies. */
static void name_origin(const struct tg_settings *s, struct tg_buf *out)
{
    if (s->source != TG_SOURCE_SYNC)
        return;
    add_part(out, s->sync.url);
    add_part(out, s->sync.organization);
    add_part(out, s->sync.namespace);
}

/* Of these settings; the strings are the caller's. */
static struct tg_supply_settings supply_settings(const struct tg_settings *s, const char *state_dir, const char *origin)
{
    struct tg_supply_settings o = {.source = settings_source_name(s->source), .origin = origin, .state_dir = state_dir};

    if (s->source == TG_SOURCE_SYNC) {
        o.max_stale_ms = s->sync.max_stale_ms;
        o.deny_stale = s->sync.when_stale == 1;
    } else if (s->source == TG_SOURCE_BUNDLE) {
        o.max_stale_ms = s->bundle.max_stale_ms;
        o.deny_stale = s->bundle.when_stale == 1;
    }
    return o;
}

/* Settings with the memory of their strings. */
struct kept_settings {
    struct tg_supply_settings settings;
    struct tg_buf origin;
    char *state_dir;
};

static void kept_init(struct kept_settings *k, const struct tg_settings *s)
{
    *k = (struct kept_settings){.state_dir = s->state_dir.ptr ? tg_slice_dup(s->state_dir) : NULL};
    name_origin(s, &k->origin);
    k->settings = supply_settings(s, k->state_dir, tg_buf_cstr(&k->origin));
}

static void kept_fini(struct kept_settings *k)
{
    tg_buf_fini(&k->origin);
    free(k->state_dir);
}

enum tg_status sources_new(const struct tg_settings *s, struct sources **out, struct tg_err *err)
{
    struct kept_settings kept;
    struct sources *x;

    if (s->source == TG_SOURCE_NONE)
        return TG_OK;
    if (s->source == TG_SOURCE_MANAGEMENT && !s->state_dir.ptr)
        return tg_fail(err, TG_DENIED, "management: it is kept in state_dir, and none is set");
    kept_init(&kept, s);
    x = TG_NEW(struct sources);
    x->kind = s->source;
    x->supply = tg_supply_new(&kept.settings, wake_main, NULL);
    tg_supply_metrics_init(x->supply);
    /* What is wrong with it was told, and its source is asked anyway. The management API has it in its own store. */
    if (s->source != TG_SOURCE_MANAGEMENT && s->state_dir.ptr)
        tg_supply_restore(x->supply, NULL);
    kept_fini(&kept);
    *out = x;
    return TG_OK;
}

enum tg_status sources_read_kept(const struct tg_settings *s, struct tg_set **out, struct tg_err *err)
{
    struct kept_settings kept;
    struct tg_supply_meta meta;
    enum tg_status st;

    if (s->source == TG_SOURCE_NONE)
        return tg_fail(err, TG_NOT_FOUND, "the file has everything");
    kept_init(&kept, s);
    st = tg_supply_read(&kept.settings, out, &meta, err);
    kept_fini(&kept);
    return st;
}

void sources_free(struct sources *x)
{
    if (!x)
        return;
    if (x->socket.count)
        tg_listen_close(&x->socket);
    tg_supply_free(x->supply);
    free(x);
}

/* A file is there at once or not at all. */
void sources_await(struct sources *x, const struct tg_settings *s)
{
    if (x && x->kind == TG_SOURCE_BUNDLE && s->bundle.file.len)
        tg_supply_await(x->supply, FILE_WAIT_MS);
}

struct tg_supply *sources_supply(const struct sources *x)
{
    return x ? x->supply : NULL;
}

/* ---- sync and bundle ---- */

/* Before what asks it. */
static const struct tg_bearer *take_credential(struct sources *x, const struct sources_home *home,
                                               const struct tg_settings *s)
{
    if (!s->credential)
        return NULL;
    x->credential = tg_credentials_bind(home->shared->auth.credentials, s->credential);
    x->bearer = tg_credential_bearer_new(x->credential, home->control);
    return tg_credential_bearer_of(x->bearer);
}

static void start_asking(struct sources *x, const struct sources_home *home, const struct tg_settings *s)
{
    const struct tg_bearer *bearer = take_credential(x, home, s);

    if (x->kind == TG_SOURCE_SYNC)
        x->sync = tg_sync_new(home->control, home->fetcher, &s->sync, bearer, x->supply);
    else
        x->bundle = tg_bundle_source_new(home->control, home->fetcher, &s->bundle, bearer, x->supply);
}

static void stop_asking(struct sources *x)
{
    tg_sync_free(x->sync);
    tg_bundle_source_free(x->bundle);
    tg_credential_bearer_free(x->bearer);
    tg_credential_source_unref(x->credential);
    x->sync = NULL;
    x->bundle = NULL;
    x->bearer = NULL;
    x->credential = NULL;
}

/* ---- the management API ---- */

enum tg_status sources_open(struct sources *x, const struct tg_settings *s, struct tg_err *err)
{
    struct tg_listen_address at;
    enum tg_status st;

    if (!x || x->kind != TG_SOURCE_MANAGEMENT)
        return TG_OK;
    st = tg_listen_parse(s->management.address, &at, err);
    return st == TG_OK ? tg_listen_bind(&at, 1, &x->socket, err) : st;
}

static enum tg_status start_managing(struct sources *x, const struct sources_home *home, const struct tg_settings *s,
                                     struct tg_err *err)
{
    char *state_dir = tg_slice_dup(s->state_dir);
    enum tg_status st = tg_management_new(home->control, state_dir, &s->management, x->supply,
                                          home->shared->auth.revocations, &x->management, err);

    free(state_dir);
    if (st != TG_OK)
        return st == TG_UNSUPPORTED ? TG_IO : st;        /* it is the database that is too new, not the settings */
    x->gate = tg_gate_new(home->control, home->shared, tg_management_service(x->management), err);
    if (!x->gate)
        return TG_IO;
    x->listener = tg_listener_new(home->control, x->socket.fds[0], tg_gate_accept, x->gate);
    return TG_OK;
}

static void stop_managing(struct sources *x)
{
    tg_listener_free(x->listener, false);
    tg_gate_free(x->gate);
    tg_management_free(x->management);
    x->listener = NULL;
    x->gate = NULL;
    x->management = NULL;
}

/* ---- on the control thread ---- */

enum tg_status sources_start(struct sources *x, const struct sources_home *home, const struct tg_settings *s,
                             struct tg_err *err)
{
    if (!x)
        return TG_OK;
    if (x->kind == TG_SOURCE_MANAGEMENT)
        return start_managing(x, home, s, err);
    start_asking(x, home, s);
    return TG_OK;
}

/* Who asks begins anew: with what the file says now, and at once. */
void sources_bind(struct sources *x, const struct sources_home *home, const struct tg_settings *s)
{
    struct tg_supply_settings settings = supply_settings(s, NULL, NULL);

    if (!x)
        return;
    tg_supply_bind(x->supply, &settings);
    if (x->management) {
        tg_management_bind(x->management, &s->management);
    } else {
        stop_asking(x);
        start_asking(x, home, s);
    }
}

void sources_drain(struct sources *x)
{
    if (!x || !x->gate)
        return;
    if (x->listener)
        tg_listener_sweep(x->listener);
    tg_listener_free(x->listener, false);
    x->listener = NULL;
    tg_listen_close(&x->socket);
    x->socket = (struct tg_listen_socket){0};
    tg_gate_drain(x->gate);
}

size_t sources_connections(const struct sources *x)
{
    return x && x->gate ? tg_gate_connections(x->gate) : 0;
}

void sources_stop(struct sources *x)
{
    if (!x)
        return;
    stop_asking(x);
    stop_managing(x);
}

void sources_describe(struct sources *x, struct tg_buf *out)
{
    if (!x)
        return;
    tg_supply_describe(x->supply, out);
    if (x->sync)
        tg_sync_describe(x->sync, out);
    if (x->bundle)
        tg_bundle_source_describe(x->bundle, out);
    if (x->management)
        tg_management_describe(x->management, out);
}
