/*
 * sources - what brings policies and routes besides the file: the supply, and sync, bundle or the management API in
 * front of it.
 *
 * Made before any thread, run on the control thread, freed after it.
 */
#pragma once
#include "auth/credential.h"
#include "boot/settings.h"
#include "io/listener.h"
#include "store/audit.h"

struct sources;
/* *out NULL: the file has everything. What was kept of a former run waits in the supply already. */
enum tg_status sources_new(const struct tg_settings *s, struct sources **out, struct tg_err *err);
/* For a command: the policies that a process of these settings has put in force last. TG_NOT_FOUND, TG_BAD_INPUT. */
enum tg_status sources_read_kept(const struct tg_settings *s, struct tg_set **out, struct tg_err *err);
void sources_free(struct sources *x);                    /* NULL is fine, here and below */
struct tg_supply *sources_supply(const struct sources *x);
enum tg_status sources_open(struct sources *x, const struct tg_settings *s, struct tg_err *err); /* its listener */

/* Main thread, after the start: waits a moment for a source that has everything at hand. */
void sources_await(struct sources *x, const struct tg_settings *s);

struct sources_home {                                    /* what they run with; all of the control thread */
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    struct tg_gate_shared *shared;
};
/* ---- on the control thread ---- */
enum tg_status sources_start(struct sources *x, const struct sources_home *home, const struct tg_settings *s,
                             struct tg_err *err);
/* Other settings of the same source. */
void sources_bind(struct sources *x, const struct sources_home *home, const struct tg_settings *s);
void sources_drain(struct sources *x);                   /* the management API: no new connections, and these end */
size_t sources_connections(const struct sources *x);     /* of the management API */
void sources_stop(struct sources *x);
void sources_describe(struct sources *x, struct tg_buf *out); /* lines for readiness */
