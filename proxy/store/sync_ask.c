/*
 * sync_ask - one question to the control plane: a token, the request, and what an answer means that is no answer.
 *
 * 401 renews the token once in a round. What was asked is noted, with its ETag, so that the next round can ask whether
 * anything is different before it reads everything anew.
 */
#include "base/clock.h"
#include "sync_internal.h"
#include <stdio.h>

#define QUESTIONS 20000                                  /* of one round */

/* ---- what was asked ---- */

void sync_visits_fini(struct sync_visits *v)
{
    for (size_t i = 0; i < v->count; i++) {
        free(v->items[i].path);
        free(v->items[i].etag);
    }
    free(v->items);
    *v = (struct sync_visits){0};
}

static void note(struct tg_sync *s, const struct tg_fetch_answer *answer)
{
    struct sync_visits *v = &s->visits;
    bool good = answer->http_status == 200;

    if (v->count == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 16;
        v->items = tg_realloc(v->items, v->cap * sizeof(*v->items));
    }
    v->items[v->count++] = (struct sync_visit){tg_slice_dup(tg_buf_slice(&s->path)),
                                               good && answer->etag.len ? tg_slice_dup(answer->etag) : NULL,
                                               answer->http_status};
    if (good && !answer->etag.len)
        v->lookable = false;
}

/* ---- the answer ---- */

/* Nothing of a body: it may hold anything. */
static void fail_of_status(struct tg_sync *s, const struct tg_fetch_answer *answer)
{
    unsigned status = answer->http_status;
    const char *more = status == 400   ? ": it does not take the question; sync.url and what is asked for have to fit"
                       : status == 401 ? ": it does not take the token"
                       : status == 403 ? ": the credential of sync may not read this"
                       : status == 404 ? ": it is not there"
                       : status == 429 ? ": too many questions"
                       : status / 100 == 3 ? ": redirects are not followed"
                                           : "";
    bool final = status == 400 || status == 403;
    char words[320];

    snprintf(words, sizeof(words), "%s%.*s answers with status %u%s", s->base, (int)strcspn(s->path.data, "?"),
             s->path.data, status, more);
    sync_fail(s, final ? SYNC_REFUSED : SYNC_AWAY, words, answer->retry_after_s > 0 ? answer->retry_after_s * 1000 : 0);
}

static void on_token(void *arg)
{
    struct tg_sync *s = arg;

    s->waiting = false;
    sync_ask(s);
}

/* False: there is no hope of another token now. */
static bool renew(struct tg_sync *s)
{
    if (!s->bearer || s->renewed || !s->bearer->renew(s->bearer->arg, on_token, s))
        return false;
    s->renewed = s->waiting = true;
    return true;
}

static void fail_of_fetch(struct tg_sync *s, const char *error)
{
    char words[640];

    snprintf(words, sizeof(words), "%s%.*s: %s", s->base, (int)strcspn(s->path.data, "?"), s->path.data, error);
    sync_fail(s, SYNC_AWAY, words, 0);
}

static void answered(void *arg, const struct tg_fetch_answer *answer)
{
    struct tg_sync *s = arg;
    bool expected;

    s->fetch = NULL;
    if (answer->status != TG_OK) {
        fail_of_fetch(s, answer->error);
        return;
    }
    expected = answer->http_status == 200 || sync_steps_expect(s, answer->http_status);
    if (answer->http_status == 401 && renew(s))
        return;
    if (!expected) {
        fail_of_status(s, answer);
        return;
    }
    s->bytes += answer->body.len;
    if (s->step >= SYNC_POLICIES)
        note(s, answer);
    sync_steps_take(s, answer);
}

/* ---- the question ---- */

static void send_question(struct tg_sync *s, struct tg_slice bearer)
{
    struct tg_buf authorization = {0}, condition = {0};
    const char *headers[] = {"Accept: application/json", NULL, NULL, NULL};
    struct tg_buf url = {0};
    struct tg_fetch_request request = {.headers = headers, .ca_file = s->ca_file, .proxy = s->proxy,
                                       .timeout_ms = s->timeout_ms, .max_bytes = TG_SET_BYTES - s->bytes};
    size_t n = 1;

    tg_buf_addf(&url, "%s%s", s->base, tg_buf_cstr(&s->path));
    request.url = tg_buf_cstr(&url);
    if (bearer.len) {
        tg_buf_addf(&authorization, "Authorization: " TG_S_FMT, TG_S_ARG(bearer));
        headers[n++] = tg_buf_cstr(&authorization);
    }
    if (s->step == SYNC_LOOK && s->visits.items[s->at].etag) {
        tg_buf_addf(&condition, "If-None-Match: %s", s->visits.items[s->at].etag);
        headers[n++] = tg_buf_cstr(&condition);
    }
    s->fetch = tg_fetch_start(s->fetcher, &request, answered, s);
    tg_buf_wipe(&authorization);
    tg_buf_fini(&condition);
    tg_buf_fini(&url);
}

void sync_ask(struct tg_sync *s)
{
    struct tg_slice bearer = {NULL, 0};

    if (tg_clock_mono_ms() >= s->until_ms) {
        sync_fail(s, SYNC_AWAY, "the control plane is too slow: all of its lists were not read in time", 0);
        return;
    }
    if (s->bytes >= TG_SET_BYTES || s->visits.count >= QUESTIONS) {
        sync_fail(s, SYNC_AWAY, "the lists of the control plane are larger than a set may be", 0);
        return;
    }
    if (s->bearer)
        bearer = s->bearer->value(s->bearer->arg);
    if (s->bearer && !bearer.len) {
        if (!renew(s))
            sync_fail(s, SYNC_AWAY, "there is no token for the control plane: see the credential of sync", 0);
        return;
    }
    send_question(s, bearer);
}

void sync_ask_stop(struct tg_sync *s)
{
    if (s->fetch)
        tg_fetch_cancel(s->fetch);
    s->fetch = NULL;
    if (s->waiting)
        s->bearer->cancel(s->bearer->arg, s);
    s->waiting = false;
}
