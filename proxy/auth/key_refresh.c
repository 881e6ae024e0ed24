/*
 * key_refresh - one source's cycle on the control thread: ask, take or fail, plan the next asking.
 *
 * One exchange at a time: the discovery document when none is believed, then the JWK set. Whatever happens ends in
 * `succeed` or `fail`, which plan the next turn and wake who waits.
 */
#include "internal.h"
#include "auth/discovery.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include <stddef.h>
#include <stdio.h>

#define ANSWER_BYTES ((size_t)1 << 20)
#define CLOCK_SKEW_S 300                                 /* a state file from further ahead than this is not believed */

static struct tg_slice issuer_of(const struct tg_key_source *s)
{
    return tg_slice_str(s->issuer);
}

static void plan(struct tg_key_source *s, int64_t delay_ms)
{
    int64_t due_ms = tg_clock_mono_ms() + tg_with_jitter(delay_ms);

    tg_deadline_set(&s->control->wheel, &s->due, due_ms);
    tg_key_source_set_due(s, due_ms);
}

/* ---- what comes out of a turn ---- */

static void fail(struct tg_key_source *s, const char *what, const char *why)
{
    bool keys = tg_key_source_has_keys(s);
    int64_t now_ms = tg_clock_mono_ms();
    int64_t last = keys ? s->periods.retry_last : s->periods.retry_last_empty;
    int64_t delay = s->periods.retry_first << (s->failures < 16 ? s->failures : 16);
    char words[320];

    snprintf(words, sizeof(words), "%s: %s", what, why);
    s->failures++;
    s->discovered_ms = INT64_MIN;                        /* perhaps the keys moved */
    tg_key_source_set_trouble(s, s->failures, words);
    tg_metric_add(s->gauges->refresh_error, 0, 1);
    if (s->logged_ms == INT64_MIN || now_ms - s->logged_ms >= s->periods.log) {
        s->logged_ms = now_ms;
        tg_log(keys ? TG_LOG_WARN : TG_LOG_ERROR,
               keys ? "signing keys not refreshed, the last good ones serve on"
                    : "no signing keys, this issuer's tokens get 503 until they are there",
               TG_F_SLICE("issuer", issuer_of(s)), TG_F_STR("error", words), TG_F_INT("failures", s->failures));
    }
    plan(s, delay < last ? delay : last);
    tg_key_source_flight_ends(s, false);
}

static void tell_skipped(struct tg_key_source *s, const struct tg_jwks *set)
{
    size_t skipped = tg_jwks_skipped(set);

    if (skipped && skipped != s->skipped_told)
        tg_log(TG_LOG_WARN, "signing keys skipped", TG_F_SLICE("issuer", issuer_of(s)), TG_F_INT("skipped", skipped),
               TG_F_STR("first", tg_jwks_skip_reason(set, 0)));
    s->skipped_told = skipped;
}

/* `age_ms`: how long ago `set` was fetched. Takes over the reference. */
static void put_in_force(struct tg_key_source *s, struct tg_jwks *set, int64_t age_ms, const char *message)
{
    size_t count = tg_jwks_count(set);
    int64_t fresh_ms = tg_clock_mono_ms() - age_ms;
    bool had = tg_key_source_has_keys(s), lost;

    tell_skipped(s, set);
    if (count == 0) {
        tg_jwks_unref(set);
        set = NULL;
    }
    lost = tg_key_source_publish(s, set);
    atomic_store_explicit(&s->gauges->fresh_ms, fresh_ms, memory_order_relaxed);
    tg_metric_set(s->gauges->keys, (int64_t)count);
    if (set)
        tg_deadline_set(&s->control->wheel, &s->stale, fresh_ms + s->max_stale_ms);
    else
        tg_deadline_clear(&s->control->wheel, &s->stale);
    if (!had && set)
        tg_log(TG_LOG_INFO, message, TG_F_SLICE("issuer", issuer_of(s)), TG_F_INT("keys", count),
               TG_F_INT("age_s", age_ms / 1000));
    else if (lost)
        tg_log(TG_LOG_INFO, "signing keys changed, tokens of the old ones are verified anew",
               TG_F_SLICE("issuer", issuer_of(s)), TG_F_INT("keys", count));
}

static void save(struct tg_key_source *s, struct tg_slice jwks)
{
    struct tg_err err;

    if (!s->state_file || tg_key_file_save(s->state_file, s, jwks, tg_clock_wall_ms() / 1000, &err) == TG_OK)
        return;
    tg_log(TG_LOG_WARN, "signing keys not kept on disk", TG_F_SLICE("issuer", issuer_of(s)),
           TG_F_STR("error", tg_err_text(&err)));
    free(s->state_file);                                 /* told once; a reload may try again */
    s->state_file = NULL;
}

static void succeed(struct tg_key_source *s, struct tg_jwks *set, const struct tg_fetch_answer *answer)
{
    const struct tg_key_periods *p = &s->periods;
    int64_t delay = answer->max_age_s < 0 ? p->age_unsaid : answer->max_age_s * 1000;
    bool usable = tg_jwks_count(set) > 0;

    if (s->failures && usable)
        tg_log(TG_LOG_INFO, "signing keys refreshed again", TG_F_SLICE("issuer", issuer_of(s)),
               TG_F_INT("failures", s->failures));
    put_in_force(s, set, 0, "signing keys fetched");
    save(s, answer->body);
    if (!usable) {                                       /* obeyed, and asked again soon: it may be a slip */
        fail(s, "key set", "it holds no usable key");
        return;
    }
    s->failures = 0;
    s->logged_ms = INT64_MIN;
    tg_key_source_set_trouble(s, 0, "");
    tg_metric_add(s->gauges->refresh_ok, 0, 1);
    delay = delay < p->age_least ? p->age_least : delay > p->age_most ? p->age_most : delay;
    if (delay > s->max_stale_ms / 2)
        delay = s->max_stale_ms / 2;
    plan(s, delay);
    tg_key_source_flight_ends(s, true);
}

/* ---- answers ---- */

static bool is_answer(struct tg_key_source *s, const char *what, const struct tg_fetch_answer *answer)
{
    char words[128];

    if (answer->status != TG_OK) {
        fail(s, what, answer->error);
        return false;
    }
    if (answer->http_status == 200)
        return true;
    snprintf(words, sizeof(words), "the provider answers with status %u%s", answer->http_status,
             answer->http_status / 100 == 3 ? "; redirects are not followed" : "");
    fail(s, what, words);
    return false;
}

static void take_keys(struct tg_key_source *s, const struct tg_fetch_answer *answer)
{
    struct tg_jwks *set = NULL;
    struct tg_err err;

    if (!is_answer(s, "key set", answer))
        return;
    if (tg_jwks_parse(answer->body, false, &set, &err) != TG_OK)
        fail(s, "key set", tg_err_text(&err));
    else
        succeed(s, set, answer);
}

static void ask(struct tg_key_source *s, const char *url);

/* OpenID Connect Discovery §4.3: another issuer's document would let it sign for this one. */
static enum tg_status read_discovery(struct tg_key_source *s, struct tg_slice body, struct tg_err *err)
{
    struct tg_discovery d = {0};
    enum tg_status st = tg_discovery_read(body, &d, err);

    if (st == TG_OK)
        st = tg_discovery_check(&d, issuer_of(s), s->allow_http, err);
    if (st == TG_OK) {
        free(s->jwks_uri);
        s->jwks_uri = d.jwks_uri;
        d.jwks_uri = NULL;
        s->discovered_ms = tg_clock_mono_ms();
    }
    tg_discovery_fini(&d);
    return st;
}

static void take_discovery(struct tg_key_source *s, const struct tg_fetch_answer *answer)
{
    struct tg_err err;

    if (!is_answer(s, "discovery document", answer))
        return;
    if (read_discovery(s, answer->body, &err) != TG_OK)
        fail(s, "discovery document", tg_err_text(&err));
    else
        ask(s, s->jwks_uri);
}

static void answered(void *arg, const struct tg_fetch_answer *answer)
{
    struct tg_key_source *s = arg;

    s->fetch = NULL;
    if (s->asking_discovery)
        take_discovery(s, answer);
    else
        take_keys(s, answer);
}

/* ---- asking ---- */

static void ask(struct tg_key_source *s, const char *url)
{
    struct tg_buf bearer = {0};
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    struct tg_fetch_request request = {.url = url, .headers = headers, .ca_file = s->ca_file, .proxy = s->proxy,
                                       .timeout_ms = s->timeout_ms, .max_bytes = ANSWER_BYTES};
    struct tg_err err;

    s->asking_discovery = s->discovery && url == s->url;
    if (s->token_file && tg_bearer_line(s->token_file, &bearer, &err) != TG_OK) {
        fail(s, "token_file", tg_err_text(&err));
        return;
    }
    if (bearer.len)
        headers[1] = bearer.data;
    s->fetch = tg_fetch_start(s->fetcher, &request, answered, s);
    tg_buf_wipe(&bearer);
}

void tg_key_refresh_now(struct tg_key_source *s)
{
    bool believed = s->jwks_uri && s->discovered_ms != INT64_MIN &&
                    tg_clock_mono_ms() - s->discovered_ms < s->periods.discovery;

    if (s->fetch)
        return;
    tg_deadline_clear(&s->control->wheel, &s->due);
    tg_key_source_set_due(s, INT64_MAX);
    tg_key_source_flight_begins(s);
    ask(s, s->discovery && believed ? s->jwks_uri : s->url);
}

/* ---- time ---- */

static void on_due(struct tg_deadline *d)
{
    struct tg_key_source *s = (struct tg_key_source *)(void *)((char *)d - offsetof(struct tg_key_source, due));

    if (atomic_load_explicit(&s->refs, memory_order_acquire) > 1)
        tg_key_refresh_now(s);                           /* else only tg_keys knows it: nobody asks for its keys */
}

static void on_stale(struct tg_deadline *d)
{
    struct tg_key_source *s = (struct tg_key_source *)(void *)((char *)d - offsetof(struct tg_key_source, stale));

    tg_key_source_publish(s, NULL);
    tg_metric_set(s->gauges->keys, 0);
    tg_log(TG_LOG_ERROR, "signing keys withdrawn: they could not be refreshed within max_stale",
           TG_F_SLICE("issuer", issuer_of(s)), TG_F_INT("max_stale_s", s->max_stale_ms / 1000));
}

static void start_from_disk(struct tg_key_source *s)
{
    struct tg_jwks *set = NULL;
    int64_t fetched_s = 0, age_s;
    struct tg_err err;
    enum tg_status st = tg_key_file_load(s->state_file, s, &set, &fetched_s, &err);

    if (st != TG_OK && st != TG_NOT_FOUND)
        tg_log(TG_LOG_WARN, "signing keys on disk not used", TG_F_SLICE("issuer", issuer_of(s)),
               TG_F_STR("error", tg_err_text(&err)));
    if (st != TG_OK)
        return;
    age_s = tg_clock_wall_ms() / 1000 - fetched_s;
    if (age_s < -CLOCK_SKEW_S || age_s > s->max_stale_ms / 1000 || tg_jwks_count(set) == 0) {
        tg_jwks_unref(set);
        return;
    }
    put_in_force(s, set, age_s > 0 ? age_s * 1000 : 0, "signing keys taken from disk until they are fetched");
}

void tg_key_refresh_start(struct tg_key_source *s)
{
    s->due.expired = on_due;
    s->stale.expired = on_stale;
    if (s->state_file)
        start_from_disk(s);
    tg_key_refresh_now(s);
}

void tg_key_refresh_stop(struct tg_key_source *s)
{
    if (s->fetch)
        tg_fetch_cancel(s->fetch);
    s->fetch = NULL;
    tg_deadline_clear(&s->control->wheel, &s->due);
    tg_deadline_clear(&s->control->wheel, &s->stale);
}
