/*
 * exposure - can others reach an upstream without passing the gate?
 *
 * An app beside tollgate that listens on all addresses answers everybody who knows its port. For every upstream on this
 * host (loopback, or an address of one of its interfaces) its port is tried on every other address of the host; where a
 * connection opens, the gate can be walked around. Nothing is tried for unix sockets, `echo:` and other hosts, nor on
 * what tollgate listens on itself. The attempts come from this host: a firewall or a NetworkPolicy is not seen by them.
 */
#pragma once
#include "base/ip.h"
#include "boot/settings.h"
#include "io/listener.h"

/* Of the host, that are looked at. Where there are more, some of both families: an app on all answers on each. */
#define TG_EXPOSURE_ADDRESSES 32

struct tg_exposure_finding {
    struct tg_slice upstream;                            /* "127.0.0.1:3000", as in the metric's label */
    struct tg_ip address;                                /* where it answers */
    bool configured;                                     /* the upstream is named by that address itself: not tried */
    const char *text;                                    /* what is wrong and what helps, for people */
};

/*
 * Looks once, and tells of every upstream that is exposed, each once, on the caller's thread, which is no worker. Waits
 * (a second where nothing answers, the time of a look-up for names): for `check --online`, the start and a reload.
 * Returns how many were found; a name that is not found is not exposed. `found` may be NULL. `may_wait`, unless NULL,
 * is called again and again in the meantime; false from it ends the wait, and then nothing was found.
 */
size_t tg_exposure_check(const struct tg_settings *settings,
                         void (*found)(void *arg, const struct tg_exposure_finding *f), bool (*may_wait)(void *arg),
                         void *arg);

/* ---- while serving: on the control thread ---- */
struct tg_exposure;

/*
 * What has changed since the last look is logged once; the gauge tollgate_upstream_exposed tells always, of every
 * upstream that was seen on this host.
 */
enum tg_status tg_exposure_new(struct tg_worker *w, struct tg_exposure **out, struct tg_err *err);
void tg_exposure_free(struct tg_exposure *x);            /* NULL is fine */
/* From now on the upstreams of these settings; looks at once. Copies what it needs. */
void tg_exposure_bind(struct tg_exposure *x, const struct tg_settings *settings);
/* Looks again, unless a look is under way: an app may start later than its sidecar. */
void tg_exposure_look(struct tg_exposure *x);
/* Any thread: refuse_exposed_upstream is set and an exposed upstream was found (and logged as an error). */
bool tg_exposure_refuses(const struct tg_exposure *x);

/* ---- the decision, with nothing asked of the system ---- */
struct tg_exposure_host {
    struct tg_ip addresses[TG_EXPOSURE_ADDRESSES];       /* of its interfaces, without loopback and link-local ones */
    size_t count;
};
/* Of all addresses of the host those that are looked at. */
void tg_exposure_choose(const struct tg_ip *all, size_t count, struct tg_exposure_host *out);

enum tg_exposure_case {
    TG_EXPOSURE_ELSEWHERE,                               /* none of these addresses is this host */
    TG_EXPOSURE_TRY,                                     /* exposed if a connection to one of out[] opens */
    TG_EXPOSURE_CONFIGURED,                              /* out[0] is the upstream's address, which others can reach */
};
/*
 * What to do about an upstream at `ips`, `port`. `own`: what tollgate listens on. Writes the addresses to try to `out`
 * (room for TG_EXPOSURE_ADDRESSES); *out_count 0 with TG_EXPOSURE_TRY: there is nowhere it could be reached.
 */
enum tg_exposure_case tg_exposure_decide(const struct tg_ip *ips, size_t count, uint16_t port,
                                         const struct tg_exposure_host *host, const struct tg_listen_address *own,
                                         size_t own_count, struct tg_ip *out, size_t *out_count);
