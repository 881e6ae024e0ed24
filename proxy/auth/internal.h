/*
 * internal - what only the files of this folder share: reading a provider, and the inside of a key source.
 */
#pragma once
#include "auth/keys.h"
#include "auth/providers.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/metric.h"
#include "waiters.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- providers.c, provider_keys.c ---- */

struct tg_provider_section {                             /* as the settings table fills it */
    struct tg_slice issuer, jwks_url, proxy, groups_claim;
    struct tg_slice jwks_file, public_key_file, secret_file, ca_file, token_file;
    struct tg_strings audiences, algs, required_claims, required_scopes;
    const cJSON *jwks, *introspection;
    int64_t leeway_ms, max_stale_ms, timeout_ms, max_lifetime_ms, max_age_ms;
    int token_use, profile;
    bool allow_http;
};
struct tg_provider_reading {
    const struct tg_tree *tree;
    const cJSON *node;                                   /* the provider's mapping */
    struct tg_arena *arena;
    struct tg_problems *problems;
    struct tg_slice where;                               /* "identity_providers.NAME", with a NUL */
};
/* The keys that stand in the configuration or beside it; NULL (and problems) when none of them is usable. */
struct tg_jwks *tg_provider_local_keys(const struct tg_provider_reading *r, const struct tg_provider_section *s,
                                       tg_algs algs);

/* ---- client_auth.c, introspect_settings.c, credential_settings.c: settings of one section ---- */

struct tg_section {
    const struct tg_tree *tree;
    const cJSON *node;                                   /* its mapping */
    const char *where;                                   /* "route api.upstream_auth" */
    struct tg_arena *arena;
    struct tg_problems *problems;
};
/* Always false, so that `return tg_section_problem(...)` reads well. */
static inline bool tg_section_problem(const struct tg_section *r, const char *setting, const char *words)
{
    const cJSON *node = tg_json_get(r->node, setting);

    tg_problem_at(r->problems, r->tree, node ? node : r->node, "%s.%s: %s", r->where, setting, words);
    return false;
}

/* RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ); one with a space in it would never be granted. */
static inline bool tg_is_scope(struct tg_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '"' || s.ptr[i] == '\\')
            return false;
    return s.len > 0;
}

/* ---- key_source.c, key_disk.c, key_refresh.c, keys.c ---- */

struct tg_key_periods {                                  /* milliseconds; tests shorten them */
    int64_t refetch;                                     /* between two refetches for unknown kids */
    int64_t absent;                                      /* between two for the same kid */
    int64_t retry_first, retry_last, retry_last_empty;
    int64_t age_least, age_most, age_unsaid;             /* between two good fetches */
    int64_t discovery;                                   /* how long a discovery document is believed */
    int64_t log;                                         /* between two lines about the same trouble */
    int64_t timeout;                                     /* of one exchange, when the provider has none */
};

/* What is measured of an issuer; made once per issuer and never freed, as its series are not. */
struct tg_key_gauges {
    struct tg_key_gauges *next;
    char *issuer;
    struct tg_series *keys, *refresh_ok, *refresh_error;
    _Atomic int64_t fresh_ms;                            /* monotonic time of the last good fetch; INT64_MIN: none */
};

#define TG_KEY_ABSENT_MAX 8                              /* more than refetches happen in the time one is remembered */
struct tg_key_absent {                                   /* a kid that a fetch for it did not bring */
    uint64_t kid;                                        /* tg_hash: a chance hit costs one refetch less */
    int64_t until_ms;
};

struct tg_key_source {
    atomic_uint refs;
    _Atomic uint64_t version;                            /* of what is published */
    pthread_mutex_t lock;                                /* of this paragraph */
    struct tg_jwks *set;
    uint64_t generation;
    struct tg_worker *control;                           /* NULL: given up, nobody fetches any more */
    bool flying;                                         /* a fetch runs or was asked for */
    int64_t asked_ms;                                    /* last refetch for an unknown kid; INT64_MIN: never */
    bool asked;                                          /* the fetch that flies is one, for asked_kid */
    uint64_t asked_kid;
    struct tg_key_absent absent[TG_KEY_ABSENT_MAX];
    size_t absent_next;
    struct tg_waiters waiters;
    char trouble[320];                                   /* why the last fetch failed; "": it did not */
    unsigned troubles;                                   /* failures in a row */
    int64_t due_ms;                                      /* the next fetch; INT64_MAX: none is planned */

    /* fixed when made */
    char *issuer, *url, *ca_file;                        /* url: of the JWK set, or of the discovery document */
    bool discovery;
    struct tg_key_gauges *gauges;
    struct tg_key_periods periods;
    void (*refetch)(struct tg_worker *control, void *source); /* how an unknown kid starts a fetch */

    /* the control thread's own */
    struct tg_key_source *next;
    struct tg_fetcher *fetcher;
    char *token_file, *proxy, *state_file;               /* NULL: none */
    bool allow_http;
    int64_t max_stale_ms, timeout_ms;
    struct tg_fetch *fetch;
    bool asking_discovery;
    char *jwks_uri;                                      /* as discovered */
    int64_t discovered_ms;
    struct tg_deadline due, stale;
    unsigned failures;                                   /* in a row */
    int64_t logged_ms;                                   /* when trouble was last told; INT64_MIN: not yet */
    size_t skipped_told;                                 /* how many skipped keys the last warning was about */
};

struct tg_key_source *tg_key_source_new(const char *issuer, const char *url, bool discovery, const char *ca_file);
struct tg_key_source *tg_key_source_ref(struct tg_key_source *s);
void tg_key_source_unref(struct tg_key_source *s);
/* Swaps the set (NULL: none is usable; takes over the reference) and tells whether a key vanished or changed. */
bool tg_key_source_publish(struct tg_key_source *s, struct tg_jwks *set);
bool tg_key_source_has_keys(struct tg_key_source *s);
void tg_key_source_set_trouble(struct tg_key_source *s, unsigned failures, const char *words);
void tg_key_source_set_due(struct tg_key_source *s, int64_t due_ms);
void tg_key_source_flight_begins(struct tg_key_source *s);
/* Posts what waited. `good`: an answer came; a kid it was asked for is not asked for again soon. */
void tg_key_source_flight_ends(struct tg_key_source *s, bool good);
/* Nobody will fetch again; who waits is told. */
void tg_key_source_give_up(struct tg_key_source *s);

struct tg_key_gauges *tg_key_gauges_of(const char *issuer);

/* The last good answer kept in a file: {issuer, url, fetched_at, jwks}. */
char *tg_key_file_name(const char *state_dir, const char *issuer); /* free() it */
enum tg_status tg_key_file_save(const char *path, const struct tg_key_source *s, struct tg_slice jwks,
                                int64_t fetched_s,
                                struct tg_err *err);
/* TG_NOT_FOUND: none, or of another URL. */
enum tg_status tg_key_file_load(const char *path, const struct tg_key_source *s, struct tg_jwks **set,
                                int64_t *fetched_s,
                                struct tg_err *err);

/* ---- key_refresh.c: on the control thread ---- */
void tg_key_refresh_start(struct tg_key_source *s);      /* from the state file when there is one, and then by asking */
void tg_key_refresh_now(struct tg_key_source *s);        /* unless a fetch runs */
void tg_key_refresh_stop(struct tg_key_source *s);

/* ---- keys.c: for tests, before tg_keys_bind ---- */
void tg_keys_set_periods(struct tg_keys *keys, const struct tg_key_periods *periods);

/* ---- endpoint.c: on the control thread ---- */

/*
 * Where an OAuth server takes questions: a URL that is configured, or what the discovery document of its issuer says,
 * which is asked for when it is first needed, believed for an hour, and asked for by one exchange at a time. After
 * trouble it is not asked for again within a second.
 */
struct tg_endpoint_settings {                            /* copied */
    struct tg_slice url;                                 /* configured; empty: `member` of the issuer's document */
    struct tg_slice issuer;
    const char *member;                                  /* "token_endpoint", "introspection_endpoint" */
    struct tg_slice ca_file, token_file, proxy;          /* of the exchange; empty: none */
    bool allow_http;
    int64_t timeout_ms;
};
struct tg_endpoint;
struct tg_endpoint *tg_endpoint_new(struct tg_fetcher *fetcher, const struct tg_endpoint_settings *settings);
void tg_endpoint_free(struct tg_endpoint *e);            /* who waits is not called; not from inside `found` */
/*
 * Calls found(arg, url, NULL), or found(arg, NULL, why), once: from inside this call when that is known already, else
 * later. Both texts are good inside the call only.
 */
void tg_endpoint_find(struct tg_endpoint *e, void (*found)(void *arg, const char *url, const char *trouble),
                      void *arg);
void tg_endpoint_cancel(struct tg_endpoint *e, const void *arg); /* `found` of that arg will not be called */
/* It did not answer as it should: what was discovered is not believed any more. Not from inside `found`. */
void tg_endpoint_doubt(struct tg_endpoint *e);
