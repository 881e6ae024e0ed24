/*
 * credential_bearer - one of tollgate's own credentials as the control thread's outgoing calls take it
 * (io/credential.h).
 *
 * Who waits is called by a post, which cannot be taken back once it is under way: the one who gave up meanwhile is
 * crossed out of a list instead.
 */
#include "credential_internal.h"

struct wait {
    struct wait *next;
    struct tg_credential_bearer *bearer;                 /* NULL: it was freed meanwhile */
    void (*done)(void *arg);                             /* NULL: taken back */
    void *arg;
};
struct tg_credential_bearer {
    struct tg_credential_source *source;
    struct tg_credential_view view;
    struct tg_worker *control;
    struct tg_bearer face;
    struct wait *waits;
};

static struct tg_slice current(void *arg)
{
    struct tg_credential_bearer *b = arg;
    struct tg_slice value = {NULL, 0};

    tg_credential_view_update(b->source, &b->view, &value);
    return value;
}

static void unlink_wait(struct tg_credential_bearer *b, const struct wait *gone)
{
    struct wait **link = &b->waits;

    while (*link != gone)
        link = &(*link)->next;
    *link = gone->next;
}

static void ended(struct tg_worker *w, void *arg)
{
    struct wait *wait = arg;
    void (*done)(void *) = wait->done;
    void *done_arg = wait->arg;

    (void)w;
    if (wait->bearer)
        unlink_wait(wait->bearer, wait);
    free(wait);
    if (done)
        done(done_arg);
}

static bool renew(void *arg, void (*done)(void *done_arg), void *done_arg)
{
    struct tg_credential_bearer *b = arg;
    struct wait *wait = TG_NEW(struct wait);

    *wait = (struct wait){.next = b->waits, .bearer = b, .done = done, .arg = done_arg};
    b->waits = wait;
    if (tg_credential_renew(b->source, b->view.version, b->control, ended, wait))
        return true;
    b->waits = wait->next;
    free(wait);
    return false;
}

/* The one whose call is posted already stays, without anybody to tell, until it comes. */
static void give_up(struct tg_credential_bearer *b, struct wait *wait)
{
    wait->done = NULL;
    if (tg_credential_forget(b->source, wait)) {
        unlink_wait(b, wait);
        free(wait);
    }
}

static void cancel(void *arg, void *done_arg)
{
    struct tg_credential_bearer *b = arg;
    struct wait *next;

    for (struct wait *w = b->waits; w; w = next) {
        next = w->next;
        if (w->arg == done_arg)
            give_up(b, w);
    }
}

struct tg_credential_bearer *tg_credential_bearer_new(struct tg_credential_source *s, struct tg_worker *control)
{
    struct tg_credential_bearer *b = TG_NEW(struct tg_credential_bearer);

    b->source = tg_credential_source_ref(s);
    b->control = control;
    b->face = (struct tg_bearer){current, renew, cancel, b};
    return b;
}

const struct tg_bearer *tg_credential_bearer_of(struct tg_credential_bearer *b) { return &b->face; }

void tg_credential_bearer_free(struct tg_credential_bearer *b)
{
    struct wait *next;

    if (!b)
        return;
    for (struct wait *w = b->waits; w; w = next) {
        next = w->next;
        give_up(b, w);
    }
    for (struct wait *w = b->waits; w; w = w->next)
        w->bearer = NULL;
    tg_credential_view_fini(&b->view);
    tg_credential_source_unref(b->source);
    free(b);
}
