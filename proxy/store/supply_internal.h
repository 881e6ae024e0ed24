/*
 * supply_internal - the supply, for the files that keep it on disk and tell of it.
 */
#pragma once
#include "supply_file.h"
#include <pthread.h>
#include <stdatomic.h>

#define WHY_BYTES 320

struct held {
    struct tg_set *set;                                  /* a reference; NULL: none */
    struct tg_supply_meta meta;
};
struct counts {
    _Atomic uint64_t accepted, refused, unchanged, failed;
};
struct tg_supply {
    pthread_mutex_t lock;
    pthread_cond_t heard;                                /* the source has said something */
    bool spoke;
    void (*wake)(void *arg);
    void *arg;
    const char *source;
    char *path;                                          /* NULL: nothing is kept */
    char origin[SUPPLY_ORIGIN];
    int64_t max_stale_ms;
    bool deny_stale;
    struct held current, waiting, taken, refused;
    uint64_t reached;                                    /* the highest sequence that was in force */
    char why[WHY_BYTES];                                 /* the last trouble; "": the source is well */
    bool unwritten;                                      /* meta changed since it was written */
    int64_t written_ms;                                  /* monotonic */
    bool unwritable;                                     /* told */
    atomic_bool missing, stale, denies;
    struct counts counts;
};

/* Its name, kept for ever. */
const char *supply_source(const char *name);
void supply_origin(const char *words, char out[static SUPPLY_ORIGIN]);
char *supply_path(const char *state_dir);                /* of the file; NULL: there is no folder */
void supply_drop(struct held *h);
void supply_reach(struct tg_supply *s, uint64_t sequence); /* with the lock */
/* Never in the future, where the clock was set back since: it would stay fresh for longer than it may. */
int64_t supply_heard(int64_t then_ms);
/* Writes the file when that is due; without the lock. Main thread. */
void supply_keep(struct tg_supply *s);
