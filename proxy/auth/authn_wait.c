/*
 * authn_wait - who waits for what: fresh keys, a provider's answer, the store of personal access tokens.
 *
 * A waiter is handed to whoever is asked and comes back once: by `told`, posted to this worker, or because it was taken
 * back in time. One that was posted already when its request went away stays until then and tells nobody; it must not
 * touch the verifier any more, which may be gone.
 */
#include "authn_internal.h"
#include "base/hash.h"

struct tg_authn_waiter {
    struct tg_authn_waiter *next, **prev;
    struct tg_authn *authn;
    unsigned kind;                                       /* TG_WAITED_*: who was asked */
    struct tg_key_source *source;
    struct tg_introspection *introspection;
    struct tg_waited waited;                             /* with this time */
    void (*done)(void *arg);                             /* NULL: cancelled after it was posted */
    void *arg;
};

static void unlink_waiter(struct tg_authn_waiter *waiter)
{
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    *waiter->prev = waiter->next;
}

static void told(struct tg_worker *w, void *arg)
{
    struct tg_authn_waiter *waiter = arg;
    struct tg_authn_waiter it = *waiter;

    (void)w;
    if (it.done)
        unlink_waiter(waiter);
    free(waiter);
    if (!it.done)
        return;
    it.authn->told = it.waited;
    it.done(it.arg);                                     /* the request may end in it, and the verifier with it */
}

static bool may_wait(const struct tg_asking *q, unsigned kind)
{
    bool again = (q->waited.kinds & kind) != 0;

    return q->waited.times < TG_WAITS_MAX && (!again || kind == TG_WAITED_STORE);
}

static struct tg_authn_waiter *new_waiter(const struct tg_asking *q, unsigned kind)
{
    struct tg_authn_waiter *waiter = TG_NEW(struct tg_authn_waiter);

    waiter->authn = q->a;
    waiter->kind = kind;
    waiter->waited = (struct tg_waited){q->request->arg, q->waited.kinds | kind, q->waited.times + 1};
    waiter->done = q->request->done;
    waiter->arg = q->request->arg;
    return waiter;
}

static struct tg_authn_waiter **bucket_of(struct tg_authn *a, const void *arg)
{
    uintptr_t bits = (uintptr_t)arg;

    return &a->waiters[tg_hash(&bits, sizeof(bits)) % TG_WAITER_BUCKETS];
}

static void link_waiter(struct tg_authn *a, struct tg_authn_waiter *waiter)
{
    struct tg_authn_waiter **link = bucket_of(a, waiter->arg);

    waiter->next = *link;
    waiter->prev = link;
    if (waiter->next)
        waiter->next->prev = &waiter->next;
    *link = waiter;
}

bool tg_authn_wait_keys(const struct tg_asking *q, const struct tg_provider *p, struct tg_slice kid)
{
    struct tg_authn_waiter *waiter;

    if (!p->source || !may_wait(q, TG_WAITED_KEYS))
        return false;
    waiter = new_waiter(q, TG_WAITED_KEYS);
    waiter->source = p->source;
    if (!tg_key_source_refetch_for(p->source, kid, q->a->worker, told, waiter)) {
        free(waiter);
        return false;
    }
    link_waiter(q->a, waiter);
    return true;
}

bool tg_authn_wait_answer(const struct tg_asking *q, struct tg_introspection *i, enum tg_vouched vouched,
                          enum tg_introspect_asking *refused)
{
    struct tg_authn_waiter *waiter;

    *refused = TG_INTROSPECT_ASKED;                      /* it was, and that is all that can be done */
    if (!may_wait(q, TG_WAITED_ANSWER))
        return false;
    waiter = new_waiter(q, TG_WAITED_ANSWER);
    waiter->introspection = i;
    *refused = tg_introspection_ask(i, q->request->token, q->digest, vouched, q->request->now_ms, q->a->worker, told,
                                    waiter);
    if (*refused != TG_INTROSPECT_ASKED) {
        free(waiter);
        return false;
    }
    link_waiter(q->a, waiter);
    return true;
}

bool tg_authn_wait_store(const struct tg_asking *q)
{
    struct tg_authn_waiter *waiter;

    if (!may_wait(q, TG_WAITED_STORE))
        return false;
    waiter = new_waiter(q, TG_WAITED_STORE);
    link_waiter(q->a, waiter);
    tg_pat_view_wait(q->a->pat_view, told, waiter);
    return true;
}

static bool take_back(const struct tg_authn *a, const struct tg_authn_waiter *waiter)
{
    if (waiter->kind == TG_WAITED_KEYS)
        return tg_key_source_forget(waiter->source, waiter);
    if (waiter->kind == TG_WAITED_ANSWER)
        return tg_introspection_forget(waiter->introspection, waiter);
    return tg_pat_view_forget(a->pat_view, waiter);
}

void tg_authn_cancel(struct tg_authn *a, void *arg)
{
    struct tg_authn_waiter *waiter = *bucket_of(a, arg);

    while (waiter && waiter->arg != arg)
        waiter = waiter->next;
    if (!waiter)
        return;
    unlink_waiter(waiter);
    if (take_back(a, waiter))
        free(waiter);
    else
        waiter->done = NULL;                             /* posted already: `told` frees it */
}
