/*
 * api - what the files of this folder share of the management API: one request, its answer, the table of endpoints, a
 * change and what belongs to it.
 *
 * Everything runs on the management thread, one request after another.
 */
#pragma once
#include "admin/management.h"
#include "base/json.h"
#include "store/audit.h"

struct api {                                             /* one per process */
    struct tg_worker *worker;                            /* the management thread */
    struct tg_management_settings settings;
    struct tg_db *db;
    struct tg_catalogue *catalogue;
    struct tg_managers *managers;
    struct tg_supply *supply;
    struct tg_revocations *revocations;
    struct webhooks *webhooks;
    char *state_dir;
    char bare_seen[16][TG_MANAGER_ID];                   /* jti of tokens that came without a scheme, lately */
    unsigned bare_next;
};

#define API_PATIENCE_MS 2000                             /* for another process' lock: then it is 503 */

enum api_view { API_V0, API_V1 };                        /* shapes errors: {"error"}, {code, message, details} */

#define API_PARAMS 3
struct api_request {
    enum api_view view;
    unsigned method_id;
    struct tg_slice path, query;                         /* canonical path; raw query */
    struct tg_slice params[API_PARAMS];                  /* {…} of the endpoint's path, in order */
    struct tg_slice raw_body;
    const cJSON *body;                                   /* parsed when the endpoint takes JSON; else NULL */
    struct tg_slice if_match, if_none_match;             /* ptr NULL: absent */
    struct tg_slice signature;                           /* X-Zero-Signature; ptr NULL: absent */
    struct tg_slice accept;
    struct tg_slice source_ip, request_id;
    const struct tg_manager *caller;                     /* NULL: a public endpoint */
    int64_t now_us;                                      /* wall clock */
    struct work *work;                                   /* of the dispatcher: api_charge */
};
struct api_answer {
    unsigned status;                                     /* 0: 200 */
    struct tg_buf body;                                  /* JSON unless content_type says otherwise */
    const char *content_type;
    struct tg_buf location, etag;                        /* empty: none; the ETag with its quotes */
    const char *scope;                                   /* of a 403: the role that would do; NULL: admin */
    const char *state_dir;                               /* where the store is: what is said of it is for the log */
};

/* The shape of a failure. `details` may be NULL; never holds a token. Sets status and body, drops what body held. */
void api_fail(struct api_answer *out, enum api_view view, unsigned status, const char *details);
/*
 * The status that goes with `st`: BAD_INPUT 400, NOT_FOUND 404, LIMIT 409, EXPIRED 412, DENIED 403, UNAVAILABLE 503,
 * else 500. What is wrong with the store is logged, and 503 without a word of it.
 */
void api_fail_of(struct api_answer *out, enum api_view view, enum tg_status st, const struct tg_err *err);

/*
 * Of a public endpoint, before it does anything: the request has proved to be from `id`, who pays for it, not its
 * address. False: there is nothing left, which is in `out`.
 */
bool api_charge(const struct api_request *req, const char *id, struct api_answer *out);

enum api_need { API_PUBLIC, API_READ, API_AUDIT, API_WRITE }; /* nobody; any role; all but member; admin and owner */
enum api_body { API_NO_BODY, API_JSON, API_RAW };        /* JSON: 415 and 400 are the dispatcher's */
struct api_endpoint {
    unsigned method_id;
    const char *path;                                    /* "/api/v0/organizations/{organization}/policies/{id}" */
    enum api_need need;
    enum api_body body;
    void (*run)(struct api *api, const struct api_request *req, struct api_answer *out);
};
struct api_group {
    const struct api_endpoint *items;
    size_t count;
};
extern const struct api_group api_v0_organizations, api_v0_policies, api_v0_routes, api_v0_users, api_v1_policies,
    api_v1_tokens, api_v1_webhooks, api_v1_audit, api_v1_health;

/* ---- api_query.c ---- */
/* Percent-decoded; `plus`: "+" is a blank. False: a malformed escape, a NUL, no UTF-8. */
bool api_decode(struct tg_slice text, bool plus, struct tg_buf *out);
bool api_query_is_valid(struct tg_slice query);          /* each name and value can be decoded */
/* A member of the query, decoded into *out (init'd by the caller); false: absent. */
bool api_query_get(const struct api_request *req, const char *name, struct tg_buf *out);
/* page and page_size of v1, or limit and offset of v0, checked: false, and the failure is in `out`. */
bool api_query_page(const struct api_request *req, uint64_t *page, uint64_t *page_size, struct api_answer *out);
bool api_query_window(const struct api_request *req, uint64_t *limit, uint64_t *offset, struct api_answer *out);
/* {"data":[ITEMS],"total":..,"page":..,"page_size":..,"total_pages":..}; `items` without brackets. */
void api_page_write(struct api_answer *out, struct tg_slice items, uint64_t total, uint64_t page, uint64_t page_size);
void api_add_time_us(struct tg_buf *out, int64_t us);    /* "2026-02-12T10:30:00.123456Z" with its quotes: v0 */
void api_add_time_s(struct tg_buf *out, int64_t s);      /* "2026-02-12T10:30:00Z": v1 */
/* Whether if_none_match names `etag` (304 is then in `out`); what If-Match asks: 0: nothing, else a version. */
bool api_not_modified(const struct api_request *req, struct tg_slice etag, struct api_answer *out);
bool api_if_match(const struct api_request *req, int64_t *version, struct api_answer *out);

/* ---- change.c: a change, its audit entry and its webhooks in one transaction ---- */
struct api_change {
    const char *action;                                  /* "policy.create": of the audit log */
    const char *event;                                   /* "policy.created": of webhooks; NULL: none */
    struct tg_slice resource;                            /* "policy:ID" */
    struct tg_slice details;                             /* JSON object of the audit entry; empty: {} */
    struct tg_slice data;                                /* JSON object of the event; empty: {} */
    bool republish;                                      /* the set has changed: it is offered to the supply */
};
/* Opens the transaction; false: the failure is in `out`. */
bool api_change_begin(struct api *api, const struct api_request *req, struct api_answer *out);
/* Writes entry and events, commits, offers the set; false: rolled back, and the failure is in `out`. */
bool api_change_commit(struct api *api, const struct api_request *req, const struct api_change *change,
                       struct api_answer *out);
void api_change_abort(struct api *api);
void api_publish(struct api *api);                       /* offers the set as it is in the store now */
/* An entry without a change: a refused login, a denied attempt. Waits for nobody: it may be lost, which is logged. */
void api_note(struct api *api, const struct api_request *req, const char *action, const char *result,
              struct tg_slice details);

/* ---- webhooks.h: see there; deliveries ---- */
enum tg_status webhooks_open(struct api *api, struct tg_err *err);
void webhooks_free(struct webhooks *w);                  /* NULL is fine */
/* Inside the transaction of a change: a delivery for everybody who asked for `event`. `data`: a JSON object. */
enum tg_status webhooks_enqueue(struct webhooks *w, const char *event, struct tg_slice data, int64_t now_us,
                                struct tg_err *err);
void webhooks_kick(struct webhooks *w);                  /* after the commit: there is something to send */
