/*
 * remote_charge - one request and the windows of its tier: a permit of each, or of none.
 *
 * Windows that are applied come first; one that is full refuses, and what was taken of others goes back to where it
 * was. A window in shadow mode never makes anybody wait: without a permit here the request is counted and told to the
 * store later.
 */
#include "base/clock.h"
#include "base/digest.h"
#include "base/hash.h"
#include "remote_internal.h"

struct decision {
    struct tg_remote_link *link;
    const struct tg_limit_ask *ask;
    const struct tg_lease_moment *m;
    struct tg_limit_key key;
    struct tg_charge *out;
    struct tg_remote_holds *holds;
    bool first, may_wait, look;
    bool full, waits, alone;
    bool lacks[TG_TIER_WINDOWS];
};

/* ---- entries ---- */

static void digest_of(const struct decision *d, const struct tg_window *w, uint8_t out[TG_SHA256_LEN])
{
    struct tg_buf text = {0};

    tg_buf_add_slice(&text, w->path);
    tg_buf_addc(&text, '\0');
    tg_limit_key_text(d->ask->tier, &d->ask->caller, &text);
    tg_hmac_sha256(d->link->remote->name_key, tg_buf_slice(&text), out);
    tg_buf_wipe(&text);
}

/* Locked. */
static struct tg_lease *open_lease(struct decision *d, unsigned i)
{
    struct tg_leases *leases = d->link->remote->leases;
    const struct tg_window *w = d->out->windows[i].window;
    struct tg_lease_kind kind = {d->holds->ids[i], (int64_t)w->length_s * 1000000, w->sliding};
    struct tg_lease *l = tg_leases_lock(leases, kind.id), *evicted = NULL;
    uint8_t digest[TG_SHA256_LEN];

    if (!l) {
        digest_of(d, w, digest);
        l = tg_leases_add(leases, &kind, digest, d->m, &evicted);
    }
    if (evicted) {                                       /* it has a wish and a reference already: into the queue */
        evicted->wishes = 0;
        tg_flight_wish(d->link, evicted, TG_WISH_BACK | TG_WISH_LAST);
        if (--evicted->refs == 0)
            free(evicted);                               /* no room there: what it held is lost for its window */
    }
    return l;
}

static void tell_window(const struct decision *d, unsigned i, const struct tg_lease *l)
{
    struct tg_charge_window *out = &d->out->windows[i];

    out->remaining = out->limit ? tg_lease_remaining(l, out->limit) : 0;
    out->reset_ms = tg_lease_reset_us(l, d->m) / 1000 - (d->m->known ? d->link->offset_ms : 0);
}

/* ---- taking ---- */

static void hold(struct decision *d, unsigned i, const struct tg_lease *l, enum tg_hold how)
{
    d->holds->how[i] = how;
    d->holds->taken[i] = (struct tg_lease_taken){l->number, l->incarnation, how == TG_HOLD_ALONE};
}

static void wish(struct decision *d, struct tg_lease *l, enum tg_lease_take took)
{
    if (took != TG_NONE) {
        tg_flight_wish(d->link, l, tg_lease_wishes(l, took, d->m));
        return;
    }
    if (d->may_wait) {                                   /* under this lock: an answer may come at any time */
        l->waiting++;
        l->waiting_workers |= d->link->waker->bit;
    }
    if (l->asked_until_us <= d->m->mono_us)
        tg_flight_wish(d->link, l, TG_WISH_PERMITS);
}

static enum tg_lease_take take(struct decision *d, unsigned i)
{
    struct tg_charge_window *w = &d->out->windows[i];
    struct tg_lease *l = open_lease(d, i);
    enum tg_lease_take took;

    if (d->first && !d->look)
        tg_lease_touch(l, w->limit, d->m);
    took = tg_lease_take(l, w->limit, d->m, d->look);
    if (took == TG_TOOK && !d->look)
        hold(d, i, l, TG_HOLD_PERMIT);
    w->full = took == TG_FULL;
    if (!d->look)
        wish(d, l, took);
    tell_window(d, i, l);
    tg_lease_unlock(l);
    return took;
}

static bool take_alone(struct decision *d, unsigned i, bool look)
{
    struct tg_charge_window *w = &d->out->windows[i];
    struct tg_lease *l = open_lease(d, i);
    bool ok = tg_lease_take_alone(l, w->limit, d->m, look);

    if (ok && !look) {
        hold(d, i, l, TG_HOLD_ALONE);
        tg_lease_schedule(l, d->m);
    }
    w->full = !ok;
    tell_window(d, i, l);
    tg_lease_unlock(l);
    return ok;
}

static void owe(struct decision *d, unsigned i)
{
    struct tg_lease *l = open_lease(d, i);

    tg_lease_owe(l, d->m);
    hold(d, i, l, TG_HOLD_ALONE);
    tg_lease_schedule(l, d->m);
    tell_window(d, i, l);
    tg_lease_unlock(l);
}

static void release(struct tg_remote_link *link, struct tg_remote_holds *holds, unsigned i)
{
    struct tg_lease *l;

    if (holds->how[i] == TG_HOLD_NONE)
        return;
    l = tg_leases_lock(link->remote->leases, holds->ids[i]);
    if (l)
        tg_lease_untake(l, &holds->taken[i]);
    tg_leases_unlock(link->remote->leases, holds->ids[i]);
    holds->how[i] = TG_HOLD_NONE;
}

void tg_remote_undo(struct tg_remote_link *link, struct tg_remote_holds *holds)
{
    for (unsigned i = 0; i < TG_TIER_WINDOWS; i++)
        release(link, holds, i);
}

static void take_back_all(struct decision *d)
{
    for (unsigned i = 0; i < d->out->count; i++) {
        if (d->holds->how[i] == TG_HOLD_NONE)
            continue;
        release(d->link, d->holds, i);
        d->out->windows[i].remaining += d->out->windows[i].remaining < d->out->windows[i].limit;
    }
}

/* ---- deciding ---- */

static void begin(struct decision *d)
{
    const struct tg_tier *tier = d->ask->tier;

    tg_limit_key_of(tier, &d->ask->caller, &d->key);
    *d->out = (struct tg_charge){.tier = tier, .by = (uint8_t)d->key.by, .count = (uint8_t)tier->window_count,
                                 .counter = TG_COUNTER_REDIS};
    *d->holds = (struct tg_remote_holds){0};
    for (unsigned i = 0; i < d->out->count; i++) {
        const struct tg_window *w = &tier->windows[i];

        d->out->windows[i].window = w;
        d->out->windows[i].limit = w->claim.ptr ? tg_window_limit(w, d->ask->caller.claims, NULL) : w->limit;
        d->holds->ids[i] = tg_hash2(w->salt, d->key.hash);
    }
}

static void take_applied(struct decision *d)
{
    for (unsigned i = 0; i < d->out->count; i++) {
        enum tg_lease_take took;

        if (d->out->windows[i].window->shadow)
            continue;
        took = take(d, i);
        d->full = d->full || took == TG_FULL;
        d->lacks[i] = took == TG_NONE;
        d->waits = d->waits || took == TG_NONE;
    }
}

static void take_shadow(struct decision *d, bool admitted)
{
    bool look = d->look;

    d->look = look || !admitted;
    for (unsigned i = 0; i < d->out->count; i++) {
        if (!d->out->windows[i].window->shadow)
            continue;
        if (take(d, i) == TG_NONE && !d->look)
            owe(d, i);
    }
    d->look = look;
}

/* Nobody is asked: as many as this process has left of its own. All windows are looked at before one is counted. */
static void decide_alone(struct decision *d)
{
    d->alone = true;
    for (int look = 1; look >= 0 && !d->full; look--)
        for (unsigned i = 0; i < d->out->count; i++)
            if (d->lacks[i] && !d->full)
                d->full = !take_alone(d, i, look || d->look);
}

static void finish(struct decision *d)
{
    struct tg_remote *r = d->link->remote;
    unsigned cell = d->link->worker->index + 1;

    d->out->counter = d->out->failed ? TG_COUNTER_NONE : d->alone ? TG_COUNTER_LOCAL : TG_COUNTER_REDIS;
    tg_charge_settle(d->out, tg_clock_wall_ms());
    if (d->look)
        return;
    if (d->alone)
        tg_metric_add(r->metrics.alone, cell, 1);
    for (unsigned i = 0; i < d->out->count; i++)
        if (d->holds->how[i] == TG_HOLD_PERMIT)
            tg_metric_add(r->metrics.used, cell, 1);
}

static bool decide(struct decision *d)
{
    const struct tg_limit_settings *s = d->link->settings;

    begin(d);
    take_applied(d);
    if (!d->full && d->waits && d->may_wait) {
        take_back_all(d);
        return false;
    }
    if (!d->full && d->waits) {
        if (s->store_fails_deny && !d->look)
            d->out->failed = true;
        else if (!s->store_fails_deny)
            decide_alone(d);
    }
    if (d->full || d->out->failed)
        take_back_all(d);
    take_shadow(d, !d->full && !d->out->failed);
    finish(d);
    return true;
}

bool tg_remote_decide(struct tg_remote_link *link, const struct tg_limit_ask *ask, const struct tg_lease_moment *m,
                      bool first, bool may_wait, struct tg_charge *out, struct tg_remote_holds *holds)
{
    struct decision d = {.link = link, .ask = ask, .m = m, .out = out, .holds = holds, .first = first,
                         .may_wait = may_wait};

    return decide(&d);
}

/* Without a permit it is counted all the same, unless the window is known to be full. */
void tg_remote_note(struct tg_remote_link *link, const struct tg_limit_ask *ask, struct tg_charge *out)
{
    struct tg_remote_holds holds;
    struct tg_lease_moment m;
    struct decision d = {.link = link, .ask = ask, .m = &m, .out = out, .holds = &holds, .first = true};

    tg_remote_moment(link, tg_clock_mono_us(), &m);
    begin(&d);
    take_applied(&d);
    for (unsigned i = 0; i < out->count && !d.full; i++)
        if (d.lacks[i])
            owe(&d, i);
    if (d.full)
        take_back_all(&d);
    take_shadow(&d, !d.full);
    d.alone = d.waits && link->away;
    finish(&d);
}

bool tg_remote_has_room(struct tg_remote_link *link, const struct tg_limit_ask *ask)
{
    struct tg_remote_holds holds;
    struct tg_lease_moment m;
    struct tg_charge out;
    struct decision d = {.link = link, .ask = ask, .m = &m, .out = &out, .holds = &holds, .look = true};

    tg_remote_moment(link, tg_clock_mono_us(), &m);
    if (!link->away || link->settings->store_fails_deny) {
        begin(&d);
        take_applied(&d);
        return !d.full;                                  /* what is not known here has room */
    }
    decide(&d);
    return out.admitted;
}
