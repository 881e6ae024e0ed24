/*
 * introspect_internal - what the files of introspection share: the table of answers, the budget, the inside of an
 * introspection.
 */
#pragma once
#include "auth/introspect.h"
#include "base/digest.h"
#include "base/metric.h"
#include "base/shard.h"
#include "internal.h"

/* ---- introspect_cache.c: what is known of tokens, of all providers; any thread ---- */

struct tg_answer_limits {                                /* tests narrow them */
    unsigned parts;                                      /* locks; a power of two */
    size_t active, active_bytes;                         /* answers kept, and what they hold together */
    size_t inactive;
    size_t remembered;                                   /* digests of tokens that were active a while ago */
    size_t shown;                                        /* digests of tokens shown without being asked about */
};
extern const struct tg_answer_limits tg_answer_limits_usual;

#define TG_ANSWER_GRACE_MS 5000                          /* who waited for an answer finds it that long, kept or not */
#define TG_ANSWER_REMEMBERED_MS 3600000                  /* so long a token counts as recently active */

struct tg_answers;                                       /* counted by atomics */
struct tg_answers *tg_answers_new(const struct tg_answer_limits *limits);
struct tg_answers *tg_answers_ref(struct tg_answers *t);
void tg_answers_unref(struct tg_answers *t);             /* NULL is fine */
/* `owner`: one introspection; its answers are nobody else's. All times are wall time in ms. */
enum tg_introspect_state tg_answers_look(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN],
                                         int64_t now_ms, bool asked, struct tg_introspection_answer **out);
bool tg_answers_was_active(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms);
/* Known from known_ms (when it was asked) to the answer's until_ms. Takes over the reference. */
void tg_answers_put_active(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN],
                           struct tg_introspection_answer *answer, int64_t known_ms, int64_t now_ms);
void tg_answers_put_inactive(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN],
                             int64_t known_ms, int64_t until_ms, int64_t now_ms);
void tg_answers_put_failed(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms);
void tg_answers_sweep(struct tg_answers *t, int64_t now_ms); /* lets go of what is over */
size_t tg_answers_count(const struct tg_answers *t);     /* answers, not what is only remembered */
/*
 * Notes that a token was shown that nobody vouched for. How often it was, within minutes; 1 as well when its provider
 * has said meanwhile that it is none of its own. `mono_s`: monotonic.
 */
unsigned tg_answers_shown(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t mono_s);
void tg_answers_shown_junk(struct tg_answers *t, uint64_t owner, const uint8_t digest[TG_SHA256_LEN], int64_t mono_s);

struct tg_introspection_answer *tg_answer_new(struct tg_slice claims, int64_t exp_s, int64_t until_ms);

/* ---- introspect_budget.c ---- */

struct tg_budget {                                       /* `rate` questions a second */
    uint64_t rate;
    int64_t of_new, of_again;                            /* what is left, in parts of a question */
    int64_t at_ms;                                       /* monotonic: when that was */
};
void tg_budget_init(struct tg_budget *b, uint64_t rate, int64_t now_ms);
void tg_budget_set_rate(struct tg_budget *b, uint64_t rate);
bool tg_budget_take(struct tg_budget *b, unsigned shown, int64_t now_ms); /* shown: 1: for the first time */

/* ---- introspect_answer.c ---- */

enum tg_judged {
    TG_JUDGED_ACTIVE,
    TG_JUDGED_INACTIVE,
    TG_JUDGED_NOT_OURS,                                  /* active, but against the rules: as inactive */
    TG_JUDGED_FAILED,
    TG_JUDGED_REFUSED,                                   /* of our own credential */
};
struct tg_judging {
    const struct tg_jwt_rules *rules;
    int64_t ttl_ms;
    int64_t asked_ms, now_ms;                            /* wall */
};
/* `err` says why for all but ACTIVE and INACTIVE. */
enum tg_judged tg_introspection_judge(const struct tg_judging *j, const struct tg_fetch_answer *answer,
                                      struct tg_introspection_answer **out, struct tg_err *err);

/* ---- introspect.c, introspect_ask.c, introspect_question.c ---- */

#define TG_QUESTION_BUCKETS 256

struct tg_introspection_series {
    struct tg_series *active, *inactive, *failed, *refused, *budget;
};
struct tg_question_waiter {
    struct tg_question_waiter *next, **prev;             /* of the same question */
    struct tg_question_waiter *chain, **chain_prev;      /* in `waiters` */
    struct tg_worker *worker;
    void (*done)(struct tg_worker *w, void *arg);
    void *arg;
};
struct tg_question {                                     /* about one token */
    struct tg_introspection *of;                         /* a reference */
    uint8_t digest[TG_SHA256_LEN];
    struct tg_question *chain;                           /* under the lock of `of`, as the next member */
    struct tg_question_waiter *waiters;

    /* the control thread's own */
    char *token;                                         /* wiped as soon as it is sent */
    size_t token_len;
    struct tg_question *queued;
    int64_t late_ms;                                     /* monotonic: when it is too late to be asked */
    int64_t asked_ms;                                    /* wall */
    struct tg_fetch *fetch;
    bool launched, over, flying;
};
struct tg_introspection {
    atomic_uint refs;
    struct tg_answers *answers;
    uint64_t owner;                                      /* of its answers */
    pthread_mutex_t lock;                                /* of this paragraph */
    struct tg_worker *control;                           /* NULL: given up, nobody asks any more */
    struct tg_question *questions[TG_QUESTION_BUCKETS];  /* by digest */
    struct tg_question_waiter *waiters[TG_QUESTION_BUCKETS]; /* by arg */
    size_t open;                                         /* questions */
    struct tg_budget budget;
    char trouble[320];                                   /* why the last question failed; "": it did not */

    /* fixed when made */
    struct tg_arena arena;                               /* of the rules, and of names */
    char *fingerprint;                                   /* what its answers depend on */
    struct tg_slice name, issuer;
    struct tg_jwt_rules rules;
    int64_t ttl_ms, negative_ttl_ms;
    struct tg_introspection_series series;

    /* the control thread's own */
    struct tg_introspection *next;
    struct tg_fetcher *fetcher;
    struct tg_arena client_arena;
    struct tg_client_auth client;                        /* may change without a new introspection */
    struct tg_endpoint *endpoint;
    char *ca_file, *proxy;                               /* NULL: none */
    int64_t timeout_ms;
    size_t flying;
    bool starting;
    struct tg_question *queue, **queue_last;
    unsigned failures;                                   /* in a row */
    int64_t logged_ms, rejected_ms;                      /* when trouble was last told; INT64_MIN: not yet */
};
struct tg_introspection *tg_introspection_ref(struct tg_introspection *i);
void tg_introspection_unref(struct tg_introspection *i);
void tg_question_free(struct tg_question *q);
/* Takes it off the table and tells who waits. The lock is not held. */
void tg_question_settle(struct tg_question *q);
/* On the control thread: how a question starts, and how all of them end when nobody is left to ask. */
void tg_question_launch(struct tg_worker *control, void *question);
void tg_questions_give_up(struct tg_introspection *i);
