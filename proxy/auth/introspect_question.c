/*
 * introspect_question - one question on the control thread: find the endpoint, send the token, judge the answer, keep
 * it, tell who waits.
 *
 * Whatever happens ends in `finish`. So many questions run at a time; others queue, and give up when they have waited
 * as long as an answer may take.
 */
#include "introspect_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include <stdio.h>

#define FLYING_MAX 128
#define ANSWER_BYTES ((size_t)64 << 10)
#define LOG_MS 60000

static void start_next(struct tg_introspection *i);

/* ---- what comes out of a question ---- */

static void set_trouble(struct tg_introspection *i, const char *words)
{
    pthread_mutex_lock(&i->lock);
    snprintf(i->trouble, sizeof(i->trouble), "%s", words);
    pthread_mutex_unlock(&i->lock);
}

static bool is_due(int64_t *told_ms)
{
    int64_t now_ms = tg_clock_mono_ms();

    if (*told_ms != INT64_MIN && now_ms - *told_ms < LOG_MS)
        return false;
    *told_ms = now_ms;
    return true;
}

static void note_success(struct tg_introspection *i)
{
    if (!i->failures)
        return;
    tg_log(TG_LOG_INFO, "the provider answers about tokens again", TG_F_SLICE("provider", i->name),
           TG_F_INT("failures", i->failures));
    i->failures = 0;
    i->logged_ms = INT64_MIN;
    set_trouble(i, "");
}

static void note_failure(struct tg_introspection *i, const char *why)
{
    i->failures++;
    set_trouble(i, why);
    if (is_due(&i->logged_ms))
        tg_log(TG_LOG_ERROR, "the provider does not answer about tokens, whose callers get 503",
               TG_F_SLICE("provider", i->name), TG_F_STR("error", why), TG_F_INT("failures", i->failures));
}

/* A mistake in `audiences` or `required_claims` looks like this, and junk is never active. */
static void note_rejected(struct tg_introspection *i, const char *why)
{
    if (is_due(&i->rejected_ms))
        tg_log(TG_LOG_WARN, "a token that the provider says is active was refused",
               TG_F_SLICE("provider", i->name), TG_F_STR("reason", why));
}

static void finish(struct tg_question *q)
{
    struct tg_introspection *i = q->of;

    if (q->flying) {
        q->flying = false;
        i->flying--;
    }
    tg_question_settle(q);
    if (!q->launched) {                                  /* its post is still to run */
        q->over = true;
        return;
    }
    tg_introspection_ref(i);                             /* the question's own may be the last */
    tg_question_free(q);
    start_next(i);
    tg_introspection_unref(i);
}

static void fail(struct tg_question *q, struct tg_series *series, const char *why)
{
    struct tg_introspection *i = q->of;

    tg_metric_add(series, 0, 1);
    note_failure(i, why);
    tg_answers_put_failed(i->answers, i->owner, q->digest, tg_clock_wall_ms());
    finish(q);
}

static void take_inactive(struct tg_question *q, int64_t now_ms)
{
    struct tg_introspection *i = q->of;

    tg_metric_add(i->series.inactive, 0, 1);
    tg_answers_put_inactive(i->answers, i->owner, q->digest, q->asked_ms, q->asked_ms + i->negative_ttl_ms, now_ms);
    tg_answers_shown_junk(i->answers, i->owner, q->digest, tg_clock_mono_ms() / 1000);
}

static void answered(void *arg, const struct tg_fetch_answer *answer)
{
    struct tg_question *q = arg;
    struct tg_introspection *i = q->of;
    int64_t now_ms = tg_clock_wall_ms();
    struct tg_judging judging = {&i->rules, i->ttl_ms, q->asked_ms, now_ms};
    struct tg_introspection_answer *said = NULL;
    struct tg_err err = {0};
    enum tg_judged judged = tg_introspection_judge(&judging, answer, &said, &err);

    q->fetch = NULL;
    if (judged == TG_JUDGED_FAILED || judged == TG_JUDGED_REFUSED) {
        tg_endpoint_doubt(i->endpoint);
        fail(q, judged == TG_JUDGED_REFUSED ? i->series.refused : i->series.failed, tg_err_text(&err));
        return;
    }
    note_success(i);
    if (judged == TG_JUDGED_ACTIVE) {
        tg_metric_add(i->series.active, 0, 1);
        tg_answers_put_active(i->answers, i->owner, q->digest, said, q->asked_ms, now_ms);
    } else {
        if (judged == TG_JUDGED_NOT_OURS)
            note_rejected(i, tg_err_text(&err));
        take_inactive(q, now_ms);
    }
    finish(q);
}

/* ---- asking ---- */

static enum tg_status send(struct tg_question *q, const char *url, struct tg_err *err)
{
    struct tg_introspection *i = q->of;
    struct tg_buf form = {0}, line = {0};
    const char *headers[] = {"Accept: application/json", "Content-Type: application/x-www-form-urlencoded", NULL, NULL};
    struct tg_fetch_request request = {.url = url, .method = "POST", .headers = headers, .ca_file = i->ca_file,
                                       .proxy = i->proxy, .timeout_ms = i->timeout_ms, .max_bytes = ANSWER_BYTES};
    enum tg_status st;

    tg_form_add(&form, "token", tg_slice(q->token, q->token_len));
    q->asked_ms = tg_clock_wall_ms();
    st = tg_client_auth_apply(&i->client, i->issuer, q->asked_ms / 1000, &form, &line, err);
    if (st == TG_OK) {
        if (line.len)
            headers[2] = line.data;
        request.body = tg_buf_slice(&form);
        q->fetch = tg_fetch_start(i->fetcher, &request, answered, q);
        explicit_bzero(q->token, q->token_len);
        q->token_len = 0;
    }
    tg_buf_wipe(&form);
    tg_buf_wipe(&line);
    return st;
}

static void found(void *arg, const char *url, const char *trouble)
{
    struct tg_question *q = arg;
    struct tg_err err = {0};

    if (!url)
        fail(q, q->of->series.failed, trouble);
    else if (send(q, url, &err) != TG_OK)
        fail(q, q->of->series.refused, tg_err_text(&err));
}

static void start(struct tg_question *q)
{
    struct tg_introspection *i = q->of;

    q->flying = true;
    i->flying++;
    if (tg_clock_mono_ms() >= q->late_ms)
        fail(q, i->series.failed, "too many questions, no turn in time");
    else
        tg_endpoint_find(i->endpoint, found, q);
}

/* A question that fails at once comes here again by `finish`; then the loop that started it goes on. */
static void start_next(struct tg_introspection *i)
{
    struct tg_question *q;

    if (i->starting)
        return;
    i->starting = true;
    tg_introspection_ref(i);                             /* the last question's may be the last */
    while (i->control && i->flying < FLYING_MAX && (q = i->queue)) {
        i->queue = q->queued;
        if (!i->queue)
            i->queue_last = &i->queue;
        start(q);
    }
    i->starting = false;
    tg_introspection_unref(i);
}

void tg_question_launch(struct tg_worker *control, void *question)
{
    struct tg_question *q = question;
    struct tg_introspection *i = q->of;

    (void)control;
    q->launched = true;
    if (q->over) {
        tg_question_free(q);
        return;
    }
    q->late_ms = tg_clock_mono_ms() + i->timeout_ms;
    *i->queue_last = q;
    i->queue_last = &q->queued;
    start_next(i);
}

static struct tg_question *any(struct tg_introspection *i)
{
    struct tg_question *q = NULL;

    pthread_mutex_lock(&i->lock);
    for (size_t n = 0; n < TG_QUESTION_BUCKETS && !q; n++)
        q = i->questions[n];
    pthread_mutex_unlock(&i->lock);
    return q;
}

void tg_questions_give_up(struct tg_introspection *i)
{
    struct tg_question *q;

    pthread_mutex_lock(&i->lock);
    i->control = NULL;                                   /* from here on nobody adds a question */
    pthread_mutex_unlock(&i->lock);
    i->queue = NULL;
    i->queue_last = &i->queue;
    while ((q = any(i))) {
        if (q->fetch)
            tg_fetch_cancel(q->fetch);
        else
            tg_endpoint_cancel(i->endpoint, q);
        q->fetch = NULL;
        tg_answers_put_failed(i->answers, i->owner, q->digest, tg_clock_wall_ms());
        finish(q);
    }
}
