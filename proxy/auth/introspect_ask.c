/*
 * introspect_ask - what any thread does: look an answer up, ask, wait, take it back.
 *
 * One question about a token at a time: whoever asks while it runs waits for it. An answer is in the table before its
 * question leaves it, both seen under the lock, so that nobody asks again in between.
 */
#include "introspect_internal.h"
#include "base/clock.h"
#include "base/hash.h"

#define QUESTIONS_MAX 4096                               /* of one provider, running or waiting to be */

static size_t bucket_of_digest(const uint8_t digest[TG_SHA256_LEN])
{
    return tg_hash(digest, TG_SHA256_LEN) % TG_QUESTION_BUCKETS;
}

static size_t bucket_of_arg(const void *arg)
{
    uintptr_t n = (uintptr_t)arg;

    return tg_hash(&n, sizeof(n)) % TG_QUESTION_BUCKETS;
}

enum tg_introspect_state tg_introspection_look(struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN],
                                               int64_t now_ms, bool asked, struct tg_introspection_answer **out)
{
    return tg_answers_look(i->answers, i->owner, digest, now_ms, asked, out);
}

bool tg_introspection_was_active(struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms)
{
    return tg_answers_was_active(i->answers, i->owner, digest, now_ms);
}

/* ---- questions and who waits for them, under the lock ---- */

static struct tg_question *find_question(const struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN])
{
    struct tg_question *q = i->questions[bucket_of_digest(digest)];

    while (q && memcmp(q->digest, digest, TG_SHA256_LEN) != 0)
        q = q->chain;
    return q;
}

static struct tg_question *new_question(struct tg_introspection *i, struct tg_slice token,
                                        const uint8_t digest[TG_SHA256_LEN])
{
    struct tg_question *q = TG_NEW(struct tg_question), **bucket = &i->questions[bucket_of_digest(digest)];

    q->of = tg_introspection_ref(i);
    memcpy(q->digest, digest, TG_SHA256_LEN);
    q->token = tg_slice_dup(token);
    q->token_len = token.len;
    q->chain = *bucket;
    *bucket = q;
    i->open++;
    return q;
}

void tg_question_free(struct tg_question *q)
{
    if (q->token) {
        explicit_bzero(q->token, q->token_len);
        free(q->token);
    }
    tg_introspection_unref(q->of);
    free(q);
}

static void add_waiter(struct tg_question *q, struct tg_worker *w, void (*done)(struct tg_worker *w, void *arg),
                       void *arg)
{
    struct tg_question_waiter *waiter = TG_NEW(struct tg_question_waiter), **link = &q->waiters;

    waiter->worker = w;
    waiter->done = done;
    waiter->arg = arg;
    waiter->next = *link;
    waiter->prev = link;
    if (waiter->next)
        waiter->next->prev = &waiter->next;
    *link = waiter;
    link = &q->of->waiters[bucket_of_arg(arg)];
    waiter->chain = *link;
    waiter->chain_prev = link;
    if (waiter->chain)
        waiter->chain->chain_prev = &waiter->chain;
    *link = waiter;
}

static void drop_waiter(struct tg_question_waiter *waiter)
{
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    *waiter->prev = waiter->next;
    if (waiter->chain)
        waiter->chain->chain_prev = waiter->chain_prev;
    *waiter->chain_prev = waiter->chain;
    free(waiter);
}

void tg_question_settle(struct tg_question *q)
{
    struct tg_introspection *i = q->of;
    struct tg_question **link;

    pthread_mutex_lock(&i->lock);
    link = &i->questions[bucket_of_digest(q->digest)];
    while (*link != q)
        link = &(*link)->chain;
    *link = q->chain;
    i->open--;
    while (q->waiters) {                                 /* under the lock: who forgets in time is never called */
        tg_worker_post(q->waiters->worker, q->waiters->done, q->waiters->arg);
        drop_waiter(q->waiters);
    }
    pthread_mutex_unlock(&i->lock);
}

bool tg_introspection_forget(struct tg_introspection *i, const void *arg)
{
    struct tg_question_waiter *waiter;

    pthread_mutex_lock(&i->lock);
    waiter = i->waiters[bucket_of_arg(arg)];
    while (waiter && waiter->arg != arg)
        waiter = waiter->chain;
    if (waiter)
        drop_waiter(waiter);
    pthread_mutex_unlock(&i->lock);
    return waiter != NULL;
}

/* ---- asking ---- */

static enum tg_introspect_asking refused(const struct tg_introspection *i, enum tg_vouched vouched)
{
    tg_metric_add(i->series.budget, 0, 1);
    return vouched == TG_VOUCHED_NO_ROOM ? TG_INTROSPECT_NO_ROOM : TG_INTROSPECT_NO_BUDGET;
}

/* Whether one more question may be asked. */
static enum tg_introspect_asking allow(struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN],
                                       enum tg_vouched vouched, int64_t now_ms)
{
    int64_t mono_ms = tg_clock_mono_ms();
    unsigned shown;

    if (i->open >= QUESTIONS_MAX) {
        tg_metric_add(i->series.budget, 0, 1);
        return TG_INTROSPECT_NO_BUDGET;
    }
    if (vouched == TG_VOUCHED_SIGNED || tg_answers_was_active(i->answers, i->owner, digest, now_ms))
        return TG_INTROSPECT_ASKED;
    shown = tg_answers_shown(i->answers, i->owner, digest, mono_ms / 1000);
    if (vouched == TG_VOUCHED_NO_ROOM && shown <= 1)
        return TG_INTROSPECT_NO_ROOM;
    return tg_budget_take(&i->budget, shown, mono_ms) ? TG_INTROSPECT_ASKED : refused(i, vouched);
}

/* An answer came, or nobody is left to ask, since the caller looked. */
static bool is_settled(struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms)
{
    struct tg_introspection_answer *answer = NULL;

    if (!i->control) {
        tg_answers_put_failed(i->answers, i->owner, digest, now_ms);
        return true;
    }
    if (tg_answers_look(i->answers, i->owner, digest, now_ms, false, &answer) == TG_INTROSPECT_UNKNOWN)
        return false;
    tg_introspection_answer_unref(answer);
    return true;
}

enum tg_introspect_asking tg_introspection_ask(struct tg_introspection *i, struct tg_slice token,
                                               const uint8_t digest[TG_SHA256_LEN], enum tg_vouched vouched,
                                               int64_t now_ms, struct tg_worker *w,
                                               void (*done)(struct tg_worker *w, void *arg), void *arg)
{
    enum tg_introspect_asking asking = TG_INTROSPECT_ASKED;
    struct tg_question *q;

    pthread_mutex_lock(&i->lock);
    q = find_question(i, digest);
    if (!q && is_settled(i, digest, now_ms)) {
        tg_worker_post(w, done, arg);
    } else if (!q && (asking = allow(i, digest, vouched, now_ms)) == TG_INTROSPECT_ASKED) {
        q = new_question(i, token, digest);
        tg_worker_post(i->control, tg_question_launch, q);
    }
    if (q)
        add_waiter(q, w, done, arg);
    pthread_mutex_unlock(&i->lock);
    return asking;
}
