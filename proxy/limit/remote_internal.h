/* remote_internal - what the files of remote share. */
#pragma once
#include "base/metric.h"
#include "io/alarm.h"
#include "io/redis.h"
#include "remote.h"
#include "remote_table.h"
#include <stdatomic.h>

#define TG_FLIGHT_ITEMS 64
#define TG_REMOTE_WORKERS 64                             /* bits to tell them apart; more share one */
#define TG_WHY_MAX 161
#define TG_STORE_NAME (TG_STORE_PREFIX_MAX + 1 + 24)

struct tg_remote_waker {                                /* woken by other workers; outlives its link if need be */
    atomic_uint refs;
    atomic_bool woken;
    struct tg_remote_link *link;                         /* of its own thread; NULL: it has left */
    struct tg_worker *worker;
    uint64_t bit;
    struct tg_remote_waker *next;
};

enum tg_remote_commands { TG_COMMAND_OK, TG_COMMAND_ERROR, TG_COMMAND_LOST, TG_COMMAND_RESULTS };
struct tg_remote_metrics {
    struct tg_series *commands[TG_COMMAND_RESULTS], *leased, *returned, *used, *waits, *alone;
};

struct tg_remote {
    struct tg_leases *leases;
    struct tg_arena arena;                               /* the following texts */
    struct tg_slice store, password, secret, ca_file, prefix;
    struct tg_redis_address address;
    bool address_ok;
    struct tg_slice name_key;                            /* of the digests that are names */
    struct tg_remote_metrics metrics;
    pthread_mutex_t lock;                                /* clock, wakers, and why it is away */
    struct tg_store_clock clock;
    int64_t offset_ms;                                   /* the store's clock is ahead of our wall clock by it */
    atomic_uint clock_version;
    struct tg_remote_waker *wakers;
    unsigned joined;
    atomic_uint links, links_up, links_away;
    int64_t away_since_ms, away_told_ms;
    char away_why[TG_WHY_MAX], away_told[TG_WHY_MAX];    /* the last reason, and the one last logged */
    bool fails_deny;                                     /* of the configuration bound last */
};

/* One request's place in one window. */
enum tg_hold { TG_HOLD_NONE, TG_HOLD_PERMIT, TG_HOLD_ALONE };
struct tg_remote_holds {
    uint64_t ids[TG_TIER_WINDOWS];
    enum tg_hold how[TG_TIER_WINDOWS];
    struct tg_lease_taken taken[TG_TIER_WINDOWS];
};
struct tg_limit_wait {
    struct tg_limit_wait *next, *prev;
    struct tg_limit_ask *ask;
    int64_t since_us;
    bool decided, let_go;                                /* let_go: it is with tg_remote_let_ask; no `ask`: cancelled */
    struct tg_charge charge;
    struct tg_remote_holds holds;
};
struct tg_wait_list { struct tg_limit_wait *first, *last; };

struct tg_flight {
    bool in_air;
    int64_t sent_us;
    size_t count, asked;                                 /* items; keys: one more than none for a probe */
    struct tg_lease_item items[TG_FLIGHT_ITEMS];
};

struct tg_remote_link {
    struct tg_remote *remote;
    struct tg_worker *worker;
    const struct tg_limit_settings *settings;
    struct tg_redis *redis;
    struct tg_remote_waker *waker;
    struct tg_store_clock clock;                         /* as of `clock_version` */
    int64_t offset_ms;
    unsigned clock_version;
    bool linked;                                         /* the link is up */
    bool away;                                           /* nobody waits */
    bool is_up;                                          /* as counted in links_up */
    bool refused;                                        /* away by an error: asked at the probe's time only */
    unsigned probes;
    struct tg_deadline probe, sweep;
    struct tg_deferred send, tell;
    struct tg_alarm *timeout;
    struct tg_wait_list waiting, ready;
    struct tg_lease **queue;                             /* with a reference each */
    size_t queue_count, queue_room;
    bool probe_now;
    struct tg_flight flight;
    void *words;                                         /* of remote_flight, to write a command with */
};

/* remote: */
void tg_remote_moment(struct tg_remote_link *link, int64_t mono_us, struct tg_lease_moment *out);
void tg_remote_learn(struct tg_remote_link *link, int64_t sent_us, int64_t answered_us, int64_t store_us);
void tg_remote_wake(struct tg_remote_link *link, uint64_t workers); /* not this one */
void tg_remote_away(struct tg_remote_link *link, struct tg_slice why);
void tg_remote_back(struct tg_remote_link *link);
int64_t tg_remote_timeout_us(const struct tg_remote_link *link);

/* remote_flight: */
void tg_flight_init(struct tg_remote_link *link);
void tg_flight_land(struct tg_remote_link *link);        /* waits a moment for what is in the air */
void tg_flight_fini(struct tg_remote_link *link, bool last);
/* Under the entry's lock: it is asked for with the next flight. */
void tg_flight_wish(struct tg_remote_link *link, struct tg_lease *l, unsigned wishes);
void tg_flight_forget(struct tg_remote_link *link);      /* all wishes */
void tg_flight_probe(struct tg_remote_link *link);       /* at once, with whatever is there */
void tg_flight_sweeps(struct tg_remote_link *link);      /* there are entries to look after */

/* remote_wait: */
void tg_wait_init(struct tg_remote_link *link);
struct tg_limit_wait *tg_wait_fini(struct tg_remote_link *link); /* who was waiting: for tg_remote_let_ask */
void tg_wait_enqueue(struct tg_remote_link *link, struct tg_limit_ask *ask, int64_t now_us);
/* Decides those that can be: with `m` those that wait since `since_us` or longer, the others by the time it is. */
void tg_wait_wake(struct tg_remote_link *link, const struct tg_lease_moment *m, int64_t since_us);

/* remote_charge: */
/* False: it has to wait. *holds: what was taken. */
bool tg_remote_decide(struct tg_remote_link *link, const struct tg_limit_ask *ask, const struct tg_lease_moment *m,
                      bool first, bool may_wait, struct tg_charge *out, struct tg_remote_holds *holds);
void tg_remote_undo(struct tg_remote_link *link, struct tg_remote_holds *holds);
