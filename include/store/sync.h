/*
 * sync - policies and routes pulled from a control plane that speaks the Zero API (v0, or the enveloped lists of v1).
 *
 * Every `interval` (with jitter; after trouble at that pace a few times, then with back-off up to a minute; Retry-After
 * is obeyed): the organization and the namespace are found by id or name, then policies and routes are read page by
 * page; when a list has an ETag it is asked for conditionally. A referenced policy that the lists do not hold is asked
 * for by its id; one that cannot be had leaves a route that fails closed. 400 and 403 are told as errors of the
 * configuration and asked again rarely. The result is one set, offered to the supply; an unchanged one costs no
 * compile. Lists are read in pages that overlap by one element, so that a list that moves meanwhile is noticed and read
 * anew. An enforced policy is put into the routes of its namespace and of those below it.
 * Threads: control only.
 */
#pragma once
#include "io/credential.h"
#include "io/fetch.h"
#include "store/supply.h"

struct tg_sync_settings {                                /* in the arena of the configuration */
    struct tg_slice url;                                 /* base, with /api/v0 or /api/v1; without: /api/v0 is added */
    struct tg_slice organization, namespace;             /* id or name; organization empty: the only one there is;
                                                            namespace empty: the root and all below */
    struct tg_slice ca_file, proxy;
    bool allow_http;
    int64_t interval_ms, timeout_ms, max_stale_ms;
    int when_stale;                                      /* keep | deny */
    struct tg_set_rules rules;
    const cJSON *credential;                             /* read by auth/credential */
};
extern const struct tg_setting tg_sync_rows[];
extern const size_t tg_sync_row_count;
/* `namespace` and `organization` are v0's: v1 has neither, and what its lists hold is taken. */
bool tg_sync_settings_read(const struct tg_tree *tree, const cJSON *node, struct tg_arena *arena,
                           struct tg_sync_settings *out, struct tg_problems *problems);

struct tg_sync;
/* Strings are copied; `bearer` and `supply` outlive it. Asks at once. */
struct tg_sync *tg_sync_new(struct tg_worker *control, struct tg_fetcher *fetcher, const struct tg_sync_settings *s,
                            const struct tg_bearer *bearer, struct tg_supply *supply);
void tg_sync_free(struct tg_sync *s);                    /* NULL is fine */
void tg_sync_describe(struct tg_sync *s, struct tg_buf *out); /* lines for readiness */
