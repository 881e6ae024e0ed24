/*
 * webhooks - who is told of changes, what waits to be told, and where that may go.
 *
 * A delivery is written in the transaction of the change that it tells of, and goes when it was taken (2xx) or given
 * up: whatever ends this process, none is forgotten, and one may come twice, with the same X-Zero-Delivery. Deliveries
 * of one webhook go one at a time, in the order of the changes. Nobody waits for them: the management thread sends and
 * answers without blocking.
 *
 * The secret has to be kept as it is, for it signs; it is in the database (mode 0600) and nowhere else: in no answer,
 * log or audit entry.
 */
#pragma once
#include "api.h"
#include "auth/revoked.h"
#include "base/digest.h"

#define WEBHOOKS_MAX 100
#define WEBHOOK_URL 2048
#define WEBHOOK_SECRET 256
#define WEBHOOK_EVENTS 50
#define WEBHOOK_QUEUE 1000                               /* deliveries of one webhook that may wait */
#define WEBHOOK_QUEUE_BYTES (16 << 20)                   /* and the octets of them */
#define WEBHOOK_LIFE_MS INT64_C(86400000)                /* after that a delivery is given up */
#define WEBHOOK_TRIES 10

/* ---- webhooks_store.c: the tables ---- */
struct webhook {                                         /* slices: until the next row */
    int64_t n;
    struct tg_slice id, url, events, secret;             /* events: a JSON list */
    bool active;
    int64_t created_s, updated_s;
    int64_t last_s, last_status;                         /* of the last attempt; -1: none yet, or no answer */
    uint64_t pending;
};
enum tg_status webhook_prepare(struct tg_db *db, struct tg_err *err);
/* By id, or all (id empty) in the order of their making. TG_NOT_FOUND: no such id. *total may be NULL. */
enum tg_status webhook_list(struct tg_db *db, struct tg_slice id, uint64_t limit, uint64_t offset,
                            void (*each)(void *arg, const struct webhook *w), void *arg, uint64_t *total,
                            struct tg_err *err);
/* In the caller's transaction. TG_LIMIT: there are WEBHOOKS_MAX. Read: id, url, events, secret, active, created_s. */
enum tg_status webhook_create(struct tg_db *db, const struct webhook *w, struct tg_err *err);
/* secret.ptr NULL: stays. Read: id, url, events, secret, active, updated_s. */
enum tg_status webhook_replace(struct tg_db *db, const struct webhook *w, struct tg_err *err);
enum tg_status webhook_delete(struct tg_db *db, struct tg_slice id, struct tg_err *err); /* and what waits */

struct delivery {
    int64_t seq, webhook;
    struct tg_slice id, event, body;
    int64_t tries, due_ms, made_ms;                      /* wall clock */
    struct tg_slice webhook_id, url, secret;
};
struct webhook_ids {
    char ids[WEBHOOKS_MAX][37];
    size_t count;
};
/* *full: the webhooks that had no room for it, in the order of their making. */
enum tg_status webhook_queue_add(struct tg_db *db, const char *event, struct tg_slice body, int64_t now_ms,
                                 struct webhook_ids *full, struct tg_err *err);
/* The first delivery of each active webhook. */
enum tg_status webhook_queue_heads(struct tg_db *db, void (*each)(void *arg, const struct delivery *d), void *arg,
                                   struct tg_err *err);
/* Those made before that time. */
enum tg_status webhook_queue_old(struct tg_db *db, int64_t before_ms,
                                 void (*each)(void *arg, const struct delivery *d), void *arg, struct tg_err *err);
enum tg_status webhook_queue_remove(struct tg_db *db, int64_t seq, struct tg_err *err);
enum tg_status webhook_queue_delay(struct tg_db *db, int64_t seq, int64_t due_ms, struct tg_err *err); /* a try more */
/* status 0: there was no answer. */
enum tg_status webhook_tell_tried(struct tg_db *db, int64_t webhook, int64_t now_s, unsigned status,
                                  struct tg_err *err);

/* ---- webhooks_target.c: where they may go ---- */
/*
 * `allowed`: management.webhooks.allowed_networks. https, and http to what is allowed there; no address that is not of
 * the public Internet unless it is allowed; a name that resolves to one is refused when it is connected to.
 */
enum tg_status webhook_target_check(const struct tg_strings *allowed, struct tg_slice url, struct tg_err *err);
/* Whether an element of `allowed` is one: a network, an address, or a host name. */
bool webhook_network_is_good(struct tg_slice text);
/* Whether a webhook to `host` may connect to that address of it. */
bool webhook_may_connect(const struct tg_strings *allowed, struct tg_slice host, const struct tg_ip *ip);

/* ---- webhooks.c ---- */
/* "sha256=" and 64 hex digits. */
#define WEBHOOK_SIGNATURE (7 + 2 * TG_SHA256_LEN + 1)
void webhook_sign(struct tg_slice secret, struct tg_slice body, char out[WEBHOOK_SIGNATURE]);
/* {"event":..,"timestamp":..,"data":..} */
void webhook_body(const char *event, struct tg_slice data, int64_t now_s, struct tg_buf *out);
void webhooks_set_pace(struct webhooks *w, const int64_t *pauses_ms, size_t count, int64_t timeout_ms); /* for tests */
void webhooks_cancel(struct webhooks *w, struct tg_slice id); /* it was deleted: nothing of it is on its way */

/* ---- v1_hooks.c ---- */
void hook_revocations(struct api *api, const struct api_request *req, struct api_answer *out);
