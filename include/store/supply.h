/*
 * supply - which set is in force, where it came from, how fresh it is, and which one is waiting to be taken.
 *
 * Between the one source of sets (sync, bundle, the management API) and boot, which compiles and swaps them. The source
 * offers, confirms or fails; boot is woken, takes the newest offer, and settles it: in force or refused. What is in
 * force is kept in state_dir/policies.set (atomic, with a SHA-256 over everything, mode 0600) so that the next start
 * needs no source; a damaged file is told and passed over. Commands beside a process find there what it goes by.
 *
 * Stale: the source was last heard (offer settled, or confirm) longer ago than max_stale, or the set's own end has
 * passed; the time of day is kept with the set, so a restart does not make it young. Then when_stale says whether the
 * set's routes go on (keep) or answer 503 (deny).
 * Threads: any; tg_supply_stale and _missing are one atomic load.
 */
#pragma once
#include "store/set.h"

struct tg_supply;

struct tg_supply_settings {
    const char *source;                                  /* "sync", "bundle", "management": for words and labels */
    const char *origin;                                  /* where in particular ("URL ORGANIZATION NAMESPACE"), never
                                                            shown: of another one nothing kept is taken; NULL: none */
    const char *state_dir;                               /* NULL: nothing is kept */
    int64_t max_stale_ms;                                /* 0: never stale but by its own end */
    bool deny_stale;                                     /* when_stale: deny */
};
struct tg_supply_meta {                                  /* kept with a set, and given back at the next start */
    uint64_t sequence;                                   /* of a bundle; else 0 */
    int64_t expires_ms;                                  /* wall clock; INT64_MAX: no end of its own */
    int64_t heard_ms;                                    /* wall clock, of the last confirm */
};

/* Strings are copied. `wake` is called from the source's thread when an offer waits. */
struct tg_supply *tg_supply_new(const struct tg_supply_settings *settings, void (*wake)(void *arg), void *arg);
void tg_supply_free(struct tg_supply *s);                /* NULL is fine */
void tg_supply_bind(struct tg_supply *s, const struct tg_supply_settings *settings); /* max_stale, when_stale */
/* What was kept, as an offer, if it is whole. TG_NOT_FOUND: nothing is; TG_BAD_INPUT: damaged, already logged. */
enum tg_status tg_supply_restore(struct tg_supply *s, struct tg_err *err);

/* The same for a command: what a process of these settings has kept. TG_NOT_FOUND, TG_BAD_INPUT. */
enum tg_status tg_supply_read(const struct tg_supply_settings *settings, struct tg_set **out,
                              struct tg_supply_meta *meta, struct tg_err *err);

/* ---- the source ---- */
/* A reference to `set` is taken over. The digest of what is in force already (or waits): as tg_supply_confirm. */
void tg_supply_offer(struct tg_supply *s, struct tg_set *set, const struct tg_supply_meta *meta);
void tg_supply_confirm(struct tg_supply *s);             /* the source was asked: nothing has changed */
void tg_supply_fail(struct tg_supply *s, const char *why); /* it was away, or what it said is refused; told once */
/* Of what is in force or waits; zero when there is nothing: a bundle must not go back. */
void tg_supply_meta(struct tg_supply *s, struct tg_supply_meta *out);
/* The highest sequence that was ever in force, also in the run that kept it: nothing goes back behind it. */
uint64_t tg_supply_reached(struct tg_supply *s);

/* ---- boot: the main thread ---- */
/* The newest offer that waits, once: a reference; NULL: none. */
struct tg_set *tg_supply_take(struct tg_supply *s);
/* The same for a new configuration: also what was refused last, which may compile now. */
struct tg_set *tg_supply_take_again(struct tg_supply *s);
/* Until the source has offered, confirmed or failed for the first time, at most `ms`. */
void tg_supply_await(struct tg_supply *s, int64_t ms);
/* What was taken is not tried after all: it waits again, unless a newer one does. */
void tg_supply_put_back(struct tg_supply *s, struct tg_set *set);
/* It is in force (`why` NULL), and kept on disk; or it does not compile, and the old one stays: `why` is told. */
void tg_supply_settle(struct tg_supply *s, struct tg_set *set, const char *why);
struct tg_set *tg_supply_current(struct tg_supply *s);   /* in force: a reference; NULL: none yet */

/* ---- who asks ---- */
bool tg_supply_missing(const struct tg_supply *s);       /* there has never been a set */
bool tg_supply_stale(const struct tg_supply *s);         /* ... and when_stale is deny: its routes are 503 */
/* What is known of the source: "sync", ... */
const char *tg_supply_source(const struct tg_supply *s);
/* Brings `stale` up to date, and writes down now and then when the source was last heard. Main thread, each second. */
void tg_supply_look(struct tg_supply *s);
void tg_supply_describe(struct tg_supply *s, struct tg_buf *out); /* lines for readiness */
void tg_supply_metrics_init(struct tg_supply *s);        /* tollgate_policy_set_* */
