/*
 * bundle_internal - what the files of the bundle share: the source and its two ways to the octets.
 */
#pragma once
#include "base/clock.h"
#include "base/log.h"
#include "store/bundle.h"

#define BUNDLE_TYP "tollgate-bundle"

struct tg_bundle_source {
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    struct tg_supply *supply;
    struct tg_bearer bearer;                             /* value NULL: none */
    struct tg_jwks *keys;                                /* a reference */
    char *file, *url, *ca_file, *proxy;                  /* NULL: not said */
    char *name;                                          /* for people: the file, or the URL without its query */
    int64_t interval_ms, timeout_ms;
    struct tg_deadline due;
    struct tg_bundle_facts facts;                        /* of the last that was good; sequence 0: none yet */
    char digest[65];                                     /* of its set */
    char trouble[320];                                   /* why the last look did not count; "": it did */

    /* a file */
    uint64_t taken, refused, last;                       /* signatures: of what is good, of what is not, of the look */
    bool restless;                                       /* it had changed at the last look */
    int64_t again_ms;                                    /* monotonic: when to confirm, or to try again */

    /* a URL */
    struct tg_fetch *fetch;                              /* runs */
    char *etag;                                          /* of what is good; NULL: none */
    unsigned failures;
    bool renewing;                                       /* the credential's answer is awaited */
    bool renewed;                                        /* in this turn */
};

/* bundle_source.c. Judges the octets and hands them to the supply; else why not. `name` is of the file or URL. */
enum tg_status bundle_take(struct tg_bundle_source *s, const char *name, struct tg_slice text, struct tg_err *err);
void bundle_confirm(struct tg_bundle_source *s);         /* what is there is what was taken last */
void bundle_fail(struct tg_bundle_source *s, const char *why);
void bundle_plan(struct tg_bundle_source *s, int64_t delay_ms);

/* bundle_file.c, bundle_url.c: one turn, which plans the next. */
void bundle_file_look(struct tg_bundle_source *s);
void bundle_url_ask(struct tg_bundle_source *s);
void bundle_url_end(struct tg_bundle_source *s);         /* nothing comes back any more */
