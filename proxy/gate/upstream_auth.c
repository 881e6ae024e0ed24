/*
 * upstream_auth - tollgate's own token for the service behind a route: put into the request, waited for when there is
 * none yet, renewed once when the service refuses it.
 *
 * It replaces the caller's credentials, which the route's forwarding rules leave out. Without a token nothing is sent.
 */
#include "internal.h"

struct tg_own_wait {                                     /* outlives an exchange that is gone before it is called */
    struct tg_exchange *ex;                              /* NULL: it is gone */
};

static bool wants_one(const struct tg_exchange *ex)
{
    const struct tg_config *c = ex->rt->config;

    return c->has_upstream_auth && c->has_upstream_auth[ex->route->index];
}

/* NULL: the configuration was never bound. */
static struct tg_credential_source *source_of(const struct tg_exchange *ex)
{
    const struct tg_config *c = ex->rt->config;

    return c->credentials ? c->credentials[ex->route->index] : NULL;
}

static bool take_current(struct tg_exchange *ex, struct tg_credential_source *source)
{
    struct tg_credential_view *view = &ex->rt->own[ex->route->index];
    struct tg_slice value;
    bool usable = tg_credential_view_update(source, view, &value);

    ex->own_version = view->version;
    ex->own_authorization = usable ? tg_arena_dup(&ex->arena, value) : (struct tg_slice){NULL, 0};
    return usable;
}

/* ---- waiting ---- */

static void renewed(struct tg_worker *w, void *arg)
{
    struct tg_own_wait *wait = arg;
    struct tg_exchange *ex = wait->ex;

    (void)w;
    free(wait);
    if (!ex)
        return;
    ex->own_wait = NULL;
    tg_exchange_run(ex);
}

static bool renew_and_wait(struct tg_exchange *ex, struct tg_credential_source *source)
{
    struct tg_own_wait *wait = TG_NEW(struct tg_own_wait);

    if (!tg_credential_renew(source, ex->own_version, ex->gate->worker, renewed, wait)) {
        free(wait);
        return false;
    }
    wait->ex = ex;
    ex->own_wait = wait;
    return true;
}

void tg_upstream_auth_cancel(struct tg_exchange *ex)
{
    struct tg_own_wait *wait = ex->own_wait;

    if (!wait)
        return;
    ex->own_wait = NULL;
    if (tg_credential_forget(source_of(ex), wait))
        free(wait);
    else
        wait->ex = NULL;                                 /* posted already: `renewed` frees it */
}

/* ---- before a request goes out ---- */

enum tg_own tg_upstream_auth_ready(struct tg_exchange *ex)
{
    struct tg_credential_source *source;

    if (!wants_one(ex))
        return TG_OWN_READY;
    source = source_of(ex);
    if (!source)
        return TG_OWN_NONE;
    if (take_current(ex, source))
        return TG_OWN_READY;
    if (ex->own_asked || !renew_and_wait(ex, source))
        return TG_OWN_NONE;
    ex->own_asked = true;
    return TG_OWN_WAIT;
}

size_t tg_upstream_auth_add(struct tg_exchange *ex, struct tg_field **fields, size_t count)
{
    struct tg_field *more;
    size_t kept = 0;

    if (!wants_one(ex) || !(ex->own_authorization.len || (source_of(ex) && take_current(ex, source_of(ex)))))
        return count;                                    /* the echo alone comes here without one */
    more = tg_arena_raw(&ex->arena, sizeof(*more) * (count + 1));
    for (size_t i = 0; i < count; i++)                   /* a claim may have been given that name */
        if (!tg_slice_eq_nocase((*fields)[i].name, TG_S("Authorization")))
            more[kept++] = (*fields)[i];
    more[kept++] = (struct tg_field){TG_S("Authorization"), ex->own_authorization, TG_FIELD_AUTHORIZATION};
    *fields = more;
    return kept;
}

/* ---- behind a 401 ---- */

bool tg_upstream_auth_refused(struct tg_exchange *ex)
{
    if (ex->own_refused || !ex->own_authorization.len)
        return false;
    ex->own_refused = ex->own_asked = true;              /* once */
    if (ex->replayable)
        return renew_and_wait(ex, source_of(ex));
    tg_credential_renew(source_of(ex), ex->own_version, ex->gate->worker, NULL, NULL); /* for the next request */
    return false;
}
