/*
 * webhooks - deliveries: taken from the queue in order, signed, sent, tried again, given up.
 *
 * `pump` looks at the first delivery of each webhook and sends those that are due, FLIGHTS at most at once; it runs
 * after every change, every answer, and when the next one is due. When the database cannot be written, what was sent
 * cannot be noted: nothing is sent for a while then, so that nobody is told the same thing without end.
 */
#include "webhooks.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/metric.h"
#include "http/uri.h"
#include "io/alarm.h"
#include "io/fetch.h"
#include <stdio.h>

#define FLIGHTS 8
#define TIMEOUT_MS 10000
#define HOLD_MS 5000
#define LOOK_MS 60000                                    /* for what has grown old */
#define ANSWER_BYTES ((size_t)1 << 20)

/* After the first failure, the second, ...: within a day all WEBHOOK_TRIES are over. */
static const int64_t default_pauses_ms[WEBHOOK_TRIES - 1] = {1000,    5000,    30000,    120000,  600000,
                                                             3600000, 7200000, 14400000, 28800000};

struct flight {                                          /* a delivery that was sent and is not answered yet */
    struct flight *next;
    struct webhooks *owner;
    struct tg_fetch *fetch;
    int64_t seq, webhook, tries;
    char id[37], webhook_id[37];
    char *event, *url;
    struct tg_slice host;                                /* in `url` */
};
enum { DELIVERED, RETRIED, DROPPED, RESULTS };
struct webhooks {
    struct api *api;
    struct tg_fetcher *fetcher;
    struct tg_alarm *alarm;
    struct flight *flights;
    size_t flight_count;
    int64_t hold_until_ms, look_at_ms;                   /* monotonic */
    const int64_t *pauses_ms;
    size_t pause_count;
    int64_t timeout_ms;
    struct tg_series *results[RESULTS];
};

/* ---- the octets ---- */

void webhook_sign(struct tg_slice secret, struct tg_slice body, char out[WEBHOOK_SIGNATURE])
{
    uint8_t mac[TG_SHA256_LEN];

    tg_hmac_sha256(secret, body, mac);
    memcpy(out, "sha256=", 7);
    tg_hex(mac, sizeof(mac), out + 7);
}

void webhook_body(const char *event, struct tg_slice data, int64_t now_s, struct tg_buf *out)
{
    tg_buf_adds(out, "{\"event\":");
    tg_json_add_string(out, tg_slice_str(event));
    tg_buf_adds(out, ",\"timestamp\":");
    api_add_time_s(out, now_s);
    tg_buf_adds(out, ",\"data\":");
    tg_buf_add_slice(out, data);
    tg_buf_addc(out, '}');
}

/* ---- what is told of them ---- */

static void note_dropped(struct tg_db *db, struct tg_slice webhook, struct tg_slice event, int64_t tries,
                         const char *why)
{
    struct tg_buf details = {0}, resource = {0};
    struct tg_audit_entry entry = {.time_us = tg_clock_wall_us(), .actor = TG_S("tollgate"),
                                   .action = TG_S("webhook.drop"), .result = TG_S("failure")};
    struct tg_err err = {0};

    tg_buf_adds(&details, "{\"event\":");
    tg_json_add_string(&details, event);
    tg_buf_addf(&details, ",\"tries\":%lld,\"why\":\"%s\"}", (long long)tries, why);
    tg_buf_addf(&resource, "webhook:" TG_S_FMT, TG_S_ARG(webhook));
    entry.details = tg_buf_slice(&details);
    entry.resource = tg_buf_slice(&resource);
    if (tg_audit_put(db, &entry, &err) != TG_OK)         /* the transaction fails with it, and is tried again */
        tg_log(TG_LOG_WARN, "audit entry not written", TG_F_STR("error", err.text));
    tg_log(TG_LOG_ERROR, "a webhook was not told of a change", TG_F_SLICE("webhook", webhook),
           TG_F_SLICE("event", event), TG_F_INT("tries", tries), TG_F_STR("why", why));
    tg_buf_fini(&details);
    tg_buf_fini(&resource);
}

/* What goes wrong is told once a delivery: at its first try, and when it is given up. */
static void tell_failed(const struct flight *f, const struct tg_fetch_answer *a)
{
    if (f->tries > 0)
        return;
    if (a->status == TG_OK)
        tg_log(TG_LOG_WARN, "a webhook did not take a delivery; it is tried again",
               TG_F_STR("webhook", f->webhook_id), TG_F_SLICE("host", f->host), TG_F_INT("status", a->http_status));
    else
        tg_log(TG_LOG_WARN, "a webhook cannot be reached; it is tried again", TG_F_STR("webhook", f->webhook_id),
               TG_F_SLICE("host", f->host), TG_F_STR("error", a->error));
}

static void pump(struct webhooks *w);

/* ---- one flight ---- */

static void unlink_flight(struct flight *f)
{
    struct webhooks *w = f->owner;

    for (struct flight **at = &w->flights; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            w->flight_count--;
            break;
        }
    free(f->event);
    free(f->url);
    free(f);
}

static bool may_connect(void *arg, const struct tg_ip *ip)
{
    const struct flight *f = arg;
    const struct tg_strings *allowed = &f->owner->api->settings.webhook_networks;

    /* What was allowed when it was written down may be so no longer. */
    return webhook_target_check(allowed, tg_slice_str(f->url), NULL) == TG_OK &&
           webhook_may_connect(allowed, f->host, ip);
}

/* Jitter, so that webhooks that failed together do not come back together. */
static int64_t pause_of(const struct webhooks *w, int64_t tries)
{
    size_t i = (size_t)tries < w->pause_count ? (size_t)tries : w->pause_count - 1;
    uint16_t random;

    tg_random(&random, sizeof(random));
    return w->pauses_ms[i] + w->pauses_ms[i] * (random % 100) / 1000;
}

/* Of the delivery that ended so: in the queue, and in its webhook. */
static enum tg_status write_end(struct flight *f, const struct tg_fetch_answer *a, bool taken, bool last)
{
    struct webhooks *w = f->owner;
    struct tg_db *db = w->api->db;
    unsigned status = a->status == TG_OK ? a->http_status : 0;
    int64_t now_ms = tg_clock_wall_ms();
    struct tg_err err = {0};
    enum tg_status st = db ? tg_db_begin(db, &err) : tg_fail(&err, TG_UNAVAILABLE, "the database is not open");

    if (st != TG_OK)
        goto out;
    if (taken || last)
        st = webhook_queue_remove(db, f->seq, &err);
    else
        st = webhook_queue_delay(db, f->seq, now_ms + pause_of(w, f->tries), &err);
    if (st == TG_OK)
        st = webhook_tell_tried(db, f->webhook, now_ms / 1000, status, &err);
    if (st == TG_OK && last && !taken)
        note_dropped(db, tg_slice_str(f->webhook_id), tg_slice_str(f->event), f->tries + 1, "the last try failed");
    if (st == TG_OK)
        st = tg_db_commit(db, &err);
    else
        tg_db_rollback(db);
out:
    if (st != TG_OK) {
        w->hold_until_ms = tg_clock_mono_ms() + HOLD_MS;
        tg_log(TG_LOG_ERROR, "what became of a webhook's delivery cannot be noted; it may be sent twice",
               TG_F_STR("webhook", f->webhook_id), TG_F_STR("error", err.text));
    }
    return st;
}

static void on_answer(void *arg, const struct tg_fetch_answer *a)
{
    struct flight *f = arg;
    struct webhooks *w = f->owner;
    bool taken = a->status == TG_OK && a->http_status >= 200 && a->http_status < 300;
    bool last = f->tries >= (int64_t)w->pause_count;

    if (write_end(f, a, taken, last) == TG_OK)
        tg_metric_add(w->results[taken ? DELIVERED : last ? DROPPED : RETRIED], 0, 1);
    if (!taken)
        tell_failed(f, a);
    unlink_flight(f);
    pump(w);
}

static void deliver(struct webhooks *w, const struct delivery *d)
{
    char signature[WEBHOOK_SIGNATURE], lines[4][128];
    struct flight *f = TG_NEW(struct flight);
    struct tg_url url = {0};

    webhook_sign(d->secret, d->body, signature);
    snprintf(lines[0], sizeof(lines[0]), "X-Zero-Signature: %s", signature);
    snprintf(lines[1], sizeof(lines[1]), "X-Zero-Delivery: " TG_S_FMT, TG_S_ARG(d->id));
    snprintf(lines[2], sizeof(lines[2]), "X-Zero-Timestamp: %lld", (long long)tg_clock_wall_ms() / 1000);
    snprintf(lines[3], sizeof(lines[3]), "X-Zero-Event: " TG_S_FMT, TG_S_ARG(d->event));
    f->owner = w;
    f->seq = d->seq;
    f->webhook = d->webhook;
    f->tries = d->tries;
    snprintf(f->id, sizeof(f->id), TG_S_FMT, TG_S_ARG(d->id));
    snprintf(f->webhook_id, sizeof(f->webhook_id), TG_S_FMT, TG_S_ARG(d->webhook_id));
    f->event = tg_slice_dup(d->event);
    f->url = tg_slice_dup(d->url);
    if (tg_url_parse(tg_slice_str(f->url), false, &url, NULL) == TG_OK)
        f->host = url.host;
    const char *const headers[] = {"Content-Type: application/json", "Accept: */*", lines[0], lines[1], lines[2],
                                   lines[3], NULL};

    f->next = w->flights;
    w->flights = f;
    w->flight_count++;
    f->fetch = tg_fetch_start(w->fetcher, &(struct tg_fetch_request){
        .url = f->url, .method = "POST", .body = d->body, .headers = headers, .timeout_ms = w->timeout_ms,
        .max_bytes = ANSWER_BYTES, .may_connect = may_connect, .may_connect_arg = f}, on_answer, f);
}

/* ---- what is due ---- */

struct pumping {
    struct webhooks *w;
    int64_t now_ms;                                      /* wall clock */
    int64_t next_ms;                                     /* until the next is due; -1: nothing waits */
};

static bool is_in_flight(const struct webhooks *w, int64_t webhook)
{
    for (const struct flight *f = w->flights; f; f = f->next)
        if (f->webhook == webhook)
            return true;
    return false;
}

static void look_at(void *arg, const struct delivery *d)
{
    struct pumping *p = arg;
    struct webhooks *w = p->w;
    int64_t left = d->due_ms - p->now_ms, longest = 2 * w->pauses_ms[w->pause_count - 1];

    if (is_in_flight(w, d->webhook))
        return;
    if (left > longest)                                  /* the clock was set back */
        left = 0;
    if (left > 0)
        p->next_ms = p->next_ms < 0 || left < p->next_ms ? left : p->next_ms;
    else if (w->flight_count < FLIGHTS)
        deliver(w, d);                                      /* else the next answer brings us back */
}

struct old {
    struct webhooks *w;
    struct tg_err err;
    enum tg_status st;
    int64_t seqs[100];
    size_t count;
};

static void drop_one(void *arg, const struct delivery *d)
{
    struct old *o = arg;

    if (is_in_flight(o->w, d->webhook) || o->count == ARRAY_LEN(o->seqs))
        return;                                          /* looked at again later */
    o->seqs[o->count++] = d->seq;
    note_dropped(o->w->api->db, d->webhook_id, d->event, d->tries, "it waited for a day");
}

/* What is too old, of paused webhooks too. */
static void drop_old(struct webhooks *w)
{
    struct tg_db *db = w->api->db;
    struct old o = {.w = w};

    w->look_at_ms = tg_clock_mono_ms() + LOOK_MS;
    o.st = tg_db_begin(db, &o.err);
    if (o.st == TG_OK)
        o.st = webhook_queue_old(db, tg_clock_wall_ms() - WEBHOOK_LIFE_MS, drop_one, &o, &o.err);
    for (size_t i = 0; i < o.count && o.st == TG_OK; i++)
        o.st = webhook_queue_remove(db, o.seqs[i], &o.err);
    if (o.st == TG_OK && o.count > 0)
        o.st = tg_db_commit(db, &o.err);
    if (o.st == TG_OK)
        tg_metric_add(w->results[DROPPED], 0, (int64_t)o.count);
    tg_db_rollback(db);
}

static void pump(struct webhooks *w)
{
    struct pumping p = {.w = w, .now_ms = tg_clock_wall_ms(), .next_ms = -1};
    int64_t now_ms = tg_clock_mono_ms();
    struct tg_err err = {0};

    if (!w->api->db || now_ms < w->hold_until_ms) {
        tg_alarm_set(w->alarm, HOLD_MS * 1000);
        return;
    }
    if (now_ms >= w->look_at_ms)
        drop_old(w);
    if (webhook_queue_heads(w->api->db, look_at, &p, &err) != TG_OK) {
        tg_log(TG_LOG_ERROR, "webhooks cannot be read", TG_F_STR("error", err.text));
        w->hold_until_ms = now_ms + HOLD_MS;
    }
    if (p.next_ms < 0 || p.next_ms > LOOK_MS)
        p.next_ms = LOOK_MS;
    tg_alarm_set(w->alarm, p.next_ms * 1000);
}

static void on_alarm(void *arg)
{
    pump(arg);
}

void webhooks_kick(struct webhooks *w)
{
    if (w)
        tg_alarm_set(w->alarm, 0);                       /* who made the change is answered first */
}

enum tg_status webhooks_enqueue(struct webhooks *w, const char *event, struct tg_slice data, int64_t now_us,
                                struct tg_err *err)
{
    struct tg_buf body = {0};
    struct webhook_ids full;
    enum tg_status st;

    webhook_body(event, data, now_us / 1000000, &body);
    st = webhook_queue_add(w->api->db, event, tg_buf_slice(&body), now_us / 1000, &full, err);
    tg_buf_fini(&body);
    if (st != TG_OK)
        return st;
    for (size_t i = 0; i < full.count; i++)
        note_dropped(w->api->db, tg_slice_str(full.ids[i]), tg_slice_str(event), 0,
                     "too many deliveries wait already");
    tg_metric_add(w->results[DROPPED], 0, (int64_t)full.count);
    return TG_OK;
}

void webhooks_cancel(struct webhooks *w, struct tg_slice id)
{
    for (struct flight *f = w->flights; f; f = f->next)
        if (tg_slice_eq(tg_slice_str(f->webhook_id), id)) {
            tg_fetch_cancel(f->fetch);
            unlink_flight(f);
            webhooks_kick(w);                            /* another may have waited for its place */
            return;
        }
}

/* ---- from start to end ---- */

void webhooks_set_pace(struct webhooks *w, const int64_t *pauses_ms, size_t count, int64_t timeout_ms)
{
    w->pauses_ms = pauses_ms;
    w->pause_count = count;
    w->timeout_ms = timeout_ms;
}

static struct tg_series *series_of(const char *result)
{
    struct tg_slice value = tg_slice_str(result);

    return tg_metric_series(tg_metric_family(TG_COUNTER, "tollgate_webhook_deliveries_total",
                                             "Deliveries to webhooks by what became of them.", "result"), &value);
}

enum tg_status webhooks_open(struct api *api, struct tg_err *err)
{
    struct webhooks *w = TG_NEW(struct webhooks);
    enum tg_status st = webhook_prepare(api->db, err);

    w->api = api;
    webhooks_set_pace(w, default_pauses_ms, ARRAY_LEN(default_pauses_ms), TIMEOUT_MS);
    w->results[DELIVERED] = series_of("delivered");
    w->results[RETRIED] = series_of("retried");
    w->results[DROPPED] = series_of("dropped");
    if (st == TG_OK)
        st = tg_revocations_prepare(api->db, err);
    if (st == TG_OK)
        st = tg_fetcher_new(api->worker, &w->fetcher, err);
    if (st != TG_OK) {
        webhooks_free(w);
        return st;
    }
    w->alarm = tg_alarm_new(api->worker, on_alarm, w);
    tg_alarm_set(w->alarm, 0);                           /* what waited when the last process ended */
    api->webhooks = w;
    return TG_OK;
}

void webhooks_free(struct webhooks *w)
{
    if (!w)
        return;
    tg_alarm_free(w->alarm);
    tg_fetcher_free(w->fetcher);
    while (w->flights)
        unlink_flight(w->flights);
    free(w);
}
