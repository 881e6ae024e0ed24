/*
 * assemble_services - what is opened or read before anything takes effect: keys that sign, stores, feeds; and whether
 * an upstream may be served.
 */
#include "assemble_parts.h"
#include "auth/assertion.h"
#include "auth/credential.h"
#include "auth/dpop.h"
#include "auth/pat.h"
#include "base/clock.h"

/* ---- tollgate's own credentials for the services ---- */

void server_bind_credentials(struct tg_worker *w, void *arg)
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

/* ---- the keys that sign for the services ---- */

enum tg_status server_read_signing(struct tg_server *server, const struct tg_config *config,
                                   struct tg_signing_keys **keys, struct tg_err *err)
{
    return tg_signing_read(server->shared.auth.signing, config->signing_pem, config->signs, keys, err);
}

enum tg_status server_start_signing(struct tg_server *server, struct tg_err *err)
{
    const struct tg_settings *s = &server->settings;
    char *state_dir = s->state_dir.ptr ? tg_slice_dup(s->state_dir) : NULL;
    struct tg_signing_keys *keys = NULL;
    enum tg_status st;

    server->shared.auth.signing = tg_signing_new(state_dir);
    free(state_dir);
    st = server_read_signing(server, server->config, &keys, err);
    if (st == TG_OK)
        tg_signing_bind(server->shared.auth.signing, keys, tg_clock_wall_ms());
    return st;
}

/* ---- personal access tokens ---- */

enum tg_status server_open_pats(struct tg_server *server, const struct tg_settings *s, struct tg_err *err)
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
enum tg_status server_read_revocations(struct tg_server *server, const struct tg_config *config,
                                       struct tg_revocations_next **next, struct tg_err *err)
{
    enum tg_status st = tg_revocations_read(server->shared.auth.revocations, config->revoked_tokens_file, next, err);
    struct tg_err why;

    if (st == TG_OK)
        return TG_OK;
    why = *err;
    return tg_fail(err, st == TG_DENIED ? st : TG_UNSUPPORTED, "revoked_tokens_file: %s", why.text);
}

/* Those that the revocation hook was told of count whether there is a hook now or not. */
static enum tg_status restore_revocations(struct tg_server *server, struct tg_err *err)
{
    struct tg_slice folder = server->settings.state_dir;
    char *state_dir = folder.ptr ? tg_slice_dup(folder) : NULL;
    enum tg_status st = TG_OK;

    if (state_dir)
        st = tg_revocations_restore(server->shared.auth.revocations, state_dir, err);
    free(state_dir);
    return st == TG_UNSUPPORTED ? TG_IO : st;            /* it is the database that is too new, not the settings */
}

enum tg_status server_start_possession(struct tg_server *server, struct tg_err *err)
{
    const struct tg_config *config = server->settings.config;
    struct tg_revocations_next *next = NULL;
    enum tg_status st;

    server->shared.auth.dpop = tg_dpop_new();
    tg_dpop_bind(server->shared.auth.dpop, &config->dpop);
    server->shared.auth.revocations = tg_revocations_new();
    st = server_read_revocations(server, config, &next, err);
    if (st == TG_OK)
        tg_revocations_put(server->shared.auth.revocations, next);
    return st == TG_OK ? restore_revocations(server, err) : st;
}

/* ---- the audit log ---- */

enum tg_status server_start_audit(struct tg_server *server, struct tg_err *err)
{
    const struct tg_settings *s = &server->settings;
    enum tg_status st;
    char *state_dir;

    if (!s->audit.set)
        return TG_OK;
    if (!s->state_dir.ptr)
        return tg_fail(err, TG_DENIED, "audit: it is kept in state_dir, and none is set");
    state_dir = tg_slice_dup(s->state_dir);
    st = tg_audit_new(state_dir, &s->audit, server->worker_count, &server->shared.audit, err);
    if (st == TG_NOT_FOUND)
        st = tg_fail(err, TG_DENIED, "state_dir %s: there is no such folder", state_dir);
    free(state_dir);
    return st == TG_UNSUPPORTED ? TG_IO : st;            /* it is the database that is too new, not the settings */
}

/* ---- upstreams that others can reach ---- */

struct exposure_refusal {
    struct tg_server *server;
    struct tg_err *err;
};

static void keep_sentence(void *arg, const struct tg_exposure_finding *f)
{
    const struct exposure_refusal *r = arg;

    tg_fail(r->err, TG_UNSUPPORTED, "refuse_exposed_upstream: %s", f->text);
}

bool server_may_wait(struct tg_server *server)
{
    return !server->meanwhile || server->meanwhile(server->meanwhile_arg);
}

static bool may_wait_for_look(void *arg)
{
    const struct exposure_refusal *r = arg;

    return server_may_wait(r->server);
}

enum tg_status server_refuse_exposed(struct tg_server *server, const struct tg_settings *s, struct tg_err *err)
{
    struct exposure_refusal r = {server, err};

    if (!s->refuse_exposed_upstream || tg_exposure_check(s, keep_sentence, may_wait_for_look, &r) == 0)
        return TG_OK;
    return TG_UNSUPPORTED;
}
