/*
 * sync_internal - what the files of sync share: the pages of a list, what is found in lists, and one sync.
 */
#pragma once
#include "base/metric.h"
#include "store/sync.h"

/* ---- sync_page.c: one answer with a list, and the list that grows from them; no socket, no clock ---- */

#define SYNC_LIMIT 500                                   /* elements asked for at once, of v0 */
#define SYNC_PAGE_SIZE 100                               /* the same of v1, which allows no more */
#define SYNC_ELEMENTS 200000                             /* of one list */

struct sync_list {
    cJSON *items;                                        /* NULL: not begun */
    size_t count;
    bool by_page;                                        /* page and page_size, else limit and offset */
    uint64_t page;                                       /* the last one that came */
    uint64_t page_size;                                  /* as the answers say */
    int64_t total;                                       /* -1: not said */
    size_t full;                                         /* of a bare array: as long as one that is not the last */
    size_t nodes;                                        /* of JSON in all of its pages, at most */
    bool done;
};
void sync_list_init(struct sync_list *list, bool by_page);
void sync_list_fini(struct sync_list *list);
/* Query members of the next page, "limit=500&offset=0". */
void sync_list_query(const struct sync_list *list, struct tg_buf *out);
/*
 * Takes the next page. TG_AGAIN: the list moved since the page before, it has to be read anew; TG_BAD_INPUT: no list of
 * objects with ids; TG_LIMIT.
 */
enum tg_status sync_list_take(struct sync_list *list, struct tg_slice body, struct tg_err *err);
/* One JSON object; cJSON_Delete it. */
enum tg_status sync_object_read(struct tg_slice body, cJSON **out, struct tg_err *err);

/* ---- sync_find.c: what lists hold; no socket, no clock ---- */

/* The organization whose id is `wanted`, else the only one of that name; with `wanted` empty the only one. */
enum tg_status sync_pick_organization(const cJSON *items, struct tg_slice wanted, const cJSON **out,
                                      struct tg_err *err);
/* The namespace's id, found likewise; with `wanted` empty the root's, which is the organization's. */
enum tg_status sync_pick_namespace(const cJSON *items, struct tg_slice wanted, struct tg_slice organization,
                                   struct tg_slice *out, struct tg_err *err);
/* Older control planes list clusters alone: each has a namespace below the organization's. */
cJSON *sync_namespaces_of_clusters(const cJSON *clusters, const char *organization);
/* The ids of policies that routes name and the list lacks, each once, as an array of strings. */
cJSON *sync_missing(const cJSON *policies, const cJSON *routes);
/* Enforced policies into enforcedPolicyIds of the routes of their namespaces and below; the organization's: of all. */
enum tg_status sync_spread_enforced(const cJSON *policies, cJSON *routes, const cJSON *namespaces,
                                    struct tg_slice organization, struct tg_err *err);
/* v1's members into v0's, without what is no access policy, and inactive routes. `active` of a policy is the set's. */
void sync_from_v1(struct sync_list *policies, struct sync_list *routes);

/* ---- one sync ---- */

enum sync_step { SYNC_IDLE, SYNC_LOOK, SYNC_ORGANIZATIONS, SYNC_NAMESPACES, SYNC_CLUSTERS, SYNC_POLICIES, SYNC_ROUTES,
                 SYNC_REFERRED };

#define SYNC_ID 128                                      /* the longest id of an organization or namespace */

struct sync_visit {                                      /* a question about policies or routes of the last reading */
    char *path;
    char *etag;                                          /* NULL: none came */
    unsigned status;
};
struct sync_visits {
    struct sync_visit *items;
    size_t count, cap;
    bool lookable;                                       /* all can be asked again conditionally */
};

struct tg_sync {
    struct tg_worker *control;
    struct tg_fetcher *fetcher;
    const struct tg_bearer *bearer;                      /* NULL: none */
    struct tg_supply *supply;
    char *base;                                          /* "https://cp.example.com/api/v0" */
    char *organization, *namespace;                      /* as configured, NULL: not */
    char *ca_file, *proxy;
    int64_t interval_ms, timeout_ms;
    bool v1;

    /* between rounds */
    struct tg_deadline due;
    unsigned failures;                                   /* in a row */
    int64_t heard_ms;                                    /* monotonic, of the last good round; INT64_MIN: none */
    char trouble[320];                                   /* of the last round; "": it went well */
    struct sync_visits visits;
    uint64_t lost_print;                                 /* which references could not be had; 0: none */

    /* of a round */
    enum sync_step step;
    struct tg_fetch *fetch;
    bool waiting;                                        /* for a token */
    bool renewed;                                        /* one was asked for already */
    int64_t until_ms;
    size_t bytes;                                        /* read so far */
    unsigned moves;                                      /* how often it began anew because something moved */
    size_t at;                                           /* SYNC_LOOK: visit; SYNC_REFERRED: reference */
    char organization_id[SYNC_ID + 1], namespace_id[SYNC_ID + 1];
    cJSON *namespaces;
    struct sync_list policy_list, route_list;
    cJSON *referred;                                     /* ids that are asked for one by one */
    uint64_t lost_now;                                   /* as lost_print */
    struct tg_buf path;                                  /* of the question that runs */
};

/* ---- sync_steps.c: which question comes next, and what its answer means ---- */
void sync_round_begin(struct tg_sync *s);
void sync_round_clear(struct tg_sync *s);
void sync_steps_take(struct tg_sync *s, const struct tg_fetch_answer *answer); /* 200, 304 and what is expected */
/* Whether the step knows what to do with a status that is no 200. */
bool sync_steps_expect(const struct tg_sync *s, unsigned status);

/* ---- sync_ask.c: one question ---- */
void sync_ask(struct tg_sync *s);                        /* s->path */
void sync_ask_stop(struct tg_sync *s);
void sync_visits_fini(struct sync_visits *v);

/* ---- sync.c: how a round ends ---- */
enum sync_trouble { SYNC_AWAY, SYNC_REFUSED };           /* REFUSED: only another configuration mends it */
void sync_succeed(struct tg_sync *s, const char *result);
/* `least_ms`: not asked again before. */
void sync_fail(struct tg_sync *s, enum sync_trouble kind, const char *why, int64_t least_ms);
