/*
 * replay - what the files behind `tollgate replay` share: the access of a logged request by another policy, and counts
 * of what would change.
 *
 * The way: cmd_replay.c reads the lines, replay_judge.c decides each again, replay_count.c counts, replay_print.c
 * tells.
 */
#pragma once
#include "base/map.h"
#include "boot/settings.h"
#include "log_line.h"
#include "lone_policy.h"

enum replay_access { REPLAY_ALLOW, REPLAY_DENY, REPLAY_UNAUTHENTICATED, REPLAY_NO_ROUTE, REPLAY_ACCESS_COUNT };
const char *replay_access_name(enum replay_access access); /* "allow", "deny", "unauthenticated", "no-route" */

/* Who decides now: one policy, or the route that a new configuration finds. */
struct replay_judge {
    struct lone_policy policy;                           /* program NULL: by the configuration */
    const struct tg_config *config;
    const struct tg_fact_set **reads;                    /* of each of its routes, by index */
    struct tg_arena *arena;                              /* of what outlives a line */
};
struct replay_decision {
    enum replay_access before, now;
    tg_reasons reasons;                                  /* of `now` */
    enum explain_scopes scopes;                          /* what became of the scopes that are required now */
    bool unknown;                                        /* it hangs on what was not logged: see `trace` */
    const struct tg_trace_node *trace;                   /* in the line's arena; NULL: everything was known */
};
/* Compiles what a configuration's routes read. */
void replay_judge_prepare(struct replay_judge *j);
/* The line was judged before. Its facts are changed where the new configuration has them differently. */
void replay_decide(struct replay_judge *j, struct log_line *l, struct replay_decision *out);

/* ---- counts ---- */
struct replay_entry {                                    /* of a tally; texts are owned */
    size_t count;
    char *name, *issuer;                                 /* the caller (issuer NULL: no token), or "METHOD /path" */
    int64_t wall_ms;                                     /* of its earliest request, as what follows */
    char *request_id, *ts, *request, *route;
};
struct replay_tally {                                    /* how often each came; bounded */
    struct tg_map *entries;
    bool full;                                           /* there were more: not all of them are counted one by one */
};
struct replay_change {                                   /* one of before-now */
    size_t requests;
    size_t reasons[TG_REASON_COUNT];
    size_t scopes;                                       /* for want of a scope, which is no policy's reason */
    struct replay_tally callers, paths;
};
struct replay_counts {
    size_t lines, replayed, unchanged, unknown, other_routes, unreadable;
    struct replay_change changes[REPLAY_ACCESS_COUNT][REPLAY_ACCESS_COUNT];
    size_t lost, gained;                                 /* requests whose access changes */
    struct replay_tally losers, gainers;                 /* their callers */
    struct tg_map *not_judged;                           /* why: a count (size_t) */
    struct tg_map *lacking;                              /* criterion that could not be told: a count (size_t) */
    struct tg_map *claims;                               /* access_log.claims that would tell: a count (size_t) */
    size_t without_facts;                                /* of the unknown: access_log.facts was off */
};
void replay_counts_init(struct replay_counts *c);
void replay_counts_fini(struct replay_counts *c);
void replay_count_not_judged(struct replay_counts *c, const struct log_line *l);
void replay_count(struct replay_counts *c, const struct log_line *l, const struct replay_decision *d);
/* The `max` largest, largest first; returns how many there are. */
size_t replay_top(const struct replay_tally *t, size_t max, const struct replay_entry **out);

/* ---- told ---- */
struct replay_report {
    const struct replay_counts *counts;
    const char *by;                                      /* "policy new.yaml", "configuration t.yaml" */
    const char *first_unreadable;                        /* "FILE:LINE: why"; NULL: none */
    size_t top;
    bool colour;
};
void replay_print_text(const struct replay_report *r, struct tg_buf *out);
void replay_print_json(const struct replay_report *r, struct tg_buf *out);
