/*
 * bundle_url - a bundle behind a URL: asked every interval, with the ETag of the one that was good.
 *
 * A refused answer's ETag is not kept: 304 then would say no more than that it is still the refused one.
 */
#include "base/digest.h"
#include "bundle_internal.h"
#include <stdio.h>

#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS 60000
#define RETRY_AFTER_MAX_MS 3600000

static void wait_interval(struct tg_bundle_source *s)
{
    s->failures = 0;
    s->renewed = false;
    bundle_plan(s, tg_with_jitter(s->interval_ms));
}

/* It is away. `wait_ms`: at least so long; 0: not said. */
static void retry(struct tg_bundle_source *s, int64_t wait_ms, const char *what)
{
    int64_t delay = RETRY_FIRST_MS << (s->failures < 6 ? s->failures : 6);
    char why[320];

    snprintf(why, sizeof(why), "%s: %s", s->name, what);
    bundle_fail(s, why);
    s->failures++;
    s->renewed = false;
    delay = tg_with_jitter(delay < RETRY_LAST_MS ? delay : RETRY_LAST_MS);
    wait_ms = wait_ms < RETRY_AFTER_MAX_MS ? wait_ms : RETRY_AFTER_MAX_MS;
    bundle_plan(s, delay > wait_ms ? delay : wait_ms);
}

static void forget_etag(struct tg_bundle_source *s)
{
    free(s->etag);
    s->etag = NULL;
}

/* ---- the credential ---- */

static void on_renewed(void *arg)
{
    struct tg_bundle_source *s = arg;

    s->renewing = false;
    bundle_url_ask(s);
}

/* False: there is no hope of another one yet. */
static bool renew(struct tg_bundle_source *s)
{
    if (s->renewed || !s->bearer.renew(s->bearer.arg, on_renewed, s))
        return false;
    s->renewed = s->renewing = true;
    return true;
}

/* ---- answers ---- */

static void take_body(struct tg_bundle_source *s, const struct tg_fetch_answer *answer)
{
    struct tg_err err = {0};
    enum tg_status st = bundle_take(s, s->name, answer->body, &err);

    forget_etag(s);
    if (st == TG_OK && answer->etag.len > 0)
        s->etag = tg_slice_dup(answer->etag);
    else if (st == TG_AGAIN)
        return bundle_plan(s, RETRY_FIRST_MS);
    else if (st != TG_OK)
        bundle_fail(s, err.text);
    wait_interval(s);
}

static void take_unchanged(struct tg_bundle_source *s)
{
    if (!s->etag)
        return retry(s, 0, "HTTP 304, and no ETag was sent");
    bundle_confirm(s);
    wait_interval(s);
}

static void on_answer(void *arg, const struct tg_fetch_answer *answer)
{
    struct tg_bundle_source *s = arg;
    char words[64];

    s->fetch = NULL;
    if (answer->status != TG_OK)
        return retry(s, 0, answer->error);
    if (answer->http_status == 200)
        return take_body(s, answer);
    if (answer->http_status == 304)
        return take_unchanged(s);
    if (answer->http_status == 401 && s->bearer.value && renew(s))
        return;
    snprintf(words, sizeof(words), "HTTP %u", answer->http_status);
    retry(s, answer->retry_after_s > 0 ? answer->retry_after_s * 1000 : 0, words);
}

static void start(struct tg_bundle_source *s, struct tg_slice authorization)
{
    struct tg_buf auth = {0}, match = {0};
    const char *headers[4] = {"Accept: application/jose, */*"};
    size_t n = 1;

    if (authorization.len > 0) {
        tg_buf_addf(&auth, "Authorization: " TG_S_FMT, TG_S_ARG(authorization));
        headers[n++] = tg_buf_cstr(&auth);
    }
    if (s->etag) {
        tg_buf_addf(&match, "If-None-Match: %s", s->etag);
        headers[n++] = tg_buf_cstr(&match);
    }
    s->fetch = tg_fetch_start(s->fetcher, &(struct tg_fetch_request){
        .url = s->url, .headers = headers, .ca_file = s->ca_file, .proxy = s->proxy, .timeout_ms = s->timeout_ms,
        .max_bytes = TG_BUNDLE_BYTES}, on_answer, s);
    tg_buf_wipe(&auth);
    tg_buf_fini(&match);
}

void bundle_url_ask(struct tg_bundle_source *s)
{
    struct tg_slice authorization = {0};

    if (s->fetch || s->renewing)
        return;
    if (s->bearer.value)
        authorization = s->bearer.value(s->bearer.arg);
    if (s->bearer.value && authorization.len == 0) {
        if (!renew(s))
            retry(s, 0, "there is no credential to ask with");
        return;
    }
    start(s, authorization);
}

void bundle_url_end(struct tg_bundle_source *s)
{
    if (s->fetch)
        tg_fetch_cancel(s->fetch);
    if (s->renewing)
        s->bearer.cancel(s->bearer.arg, s);
    s->fetch = NULL;
    s->renewing = false;
}
