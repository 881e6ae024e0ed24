/*
 * credential_internal - what the files about tollgate's own credentials share: the inside of a source.
 */
#pragma once
#include "auth/credential.h"
#include "base/digest.h"
#include "base/metric.h"
#include "internal.h"
#include <pthread.h>
#include <stdatomic.h>

struct tg_credential_periods {                           /* milliseconds; tests shorten them */
    int64_t look;                                        /* between two looks at a token file */
    int64_t retry_first, retry_last, retry_last_empty;
    int64_t retry_bad;                                   /* after an answer that says our credential is bad */
    int64_t retry_final;                                 /* the same of an API user: nothing but a new token mends it */
    int64_t retry_after_most;                            /* of what Retry-After asks for */
    int64_t again;                                       /* between two renewals because a service said 401 */
    int64_t hopeless, hopeless_bad;                      /* after trouble: nobody needs to wait for another attempt */
    int64_t life_unsaid, life_most;                      /* of a token, as far as renewing it is concerned */
    int64_t renew_least;                                 /* from one token to the next */
    int64_t log;                                         /* between two lines about the same trouble */
};

struct tg_credential_text {                              /* immutable, counted by atomics, wiped when freed */
    atomic_uint refs;
    size_t len;
    char value[];                                        /* "Bearer ..." */
};
struct tg_credential_text *tg_credential_text_new(struct tg_slice token);
void tg_credential_text_unref(struct tg_credential_text *text); /* NULL is fine */
/* Visible ASCII, not too long: it will stand in a field. A fixed sentence says what is wrong; NULL: nothing. */
const char *tg_credential_token_fault(struct tg_slice token);

/* What is measured of a credential; made once per name and never freed, as its series are not. */
struct tg_credential_gauges {
    struct tg_credential_gauges *next;
    char *name;
    struct tg_series *ok, *error, *refused;
    unsigned users;                                      /* sources of this name; the control thread's */
    _Atomic int64_t until_ms;                            /* monotonic; INT64_MIN: none is usable, INT64_MAX: no user */
};

#define TG_CREDENTIAL_SEEN 96

struct tg_credential_source {
    atomic_uint refs;
    _Atomic uint64_t version;                            /* of what is published */
    pthread_mutex_t lock;                                /* of this paragraph */
    struct tg_credential_text *text;
    struct tg_worker *control;                           /* NULL: given up, nobody asks any more */
    bool flying;                                         /* somebody is asked, or will be at once */
    int64_t refused_until_ms, hopeless_until_ms;         /* not asked again before, by requests */
    struct tg_waiters waiters;
    char trouble[320];                                   /* why the last attempt failed; "": it did not */

    /* fixed when made */
    struct tg_arena arena;
    struct tg_credential_settings settings;              /* a copy in `arena` */
    uint8_t print[TG_SHA256_LEN];                        /* of the settings */
    char *name;                                          /* in logs, readiness and metrics */
    struct tg_credential_gauges *gauges;
    struct tg_credential_periods periods;
    void (*ask)(struct tg_worker *control, void *source); /* how a request starts an attempt */

    /* the control thread's own */
    struct tg_credential_source *next;
    struct tg_fetcher *fetcher;
    struct tg_endpoint *endpoint;                        /* of a grant */
    bool finding;                                        /* the endpoint is being looked for */
    struct tg_fetch *fetch;
    int64_t asked_ms;                                    /* when the question that runs was sent */
    struct tg_deadline due, ends;
    unsigned failures;                                   /* in a row */
    int64_t logged_ms;                                   /* when trouble was last told; INT64_MIN: not yet */
    bool logged_bad;
    bool final;                                          /* refused for good: until retry_ms, or another file */
    int64_t retry_ms;
    char seen[TG_CREDENTIAL_SEEN];                       /* of the token file, by stat() */
};

/* ---- credential_source.c ---- */
struct tg_credential_source *tg_credential_source_new(const struct tg_credential_settings *settings,
                                                      const struct tg_credential_periods *periods);
struct tg_credential_source *tg_credential_source_ref(struct tg_credential_source *s);
/* Nobody but tg_credentials knows it: it belongs to a configuration that is gone. */
bool tg_credential_source_is_forsaken(struct tg_credential_source *s);
void tg_credential_print(const struct tg_credential_settings *settings, uint8_t out[TG_SHA256_LEN]);
/* NULL: none is usable. Takes over the reference. False: it was the same before. */
bool tg_credential_source_publish(struct tg_credential_source *s, struct tg_credential_text *text);
bool tg_credential_source_has_text(struct tg_credential_source *s);
void tg_credential_flight_begins(struct tg_credential_source *s);
/* `trouble` NULL: it went well. For `hopeless_ms` from now nobody needs to wait for another attempt. */
void tg_credential_flight_ends(struct tg_credential_source *s, const char *trouble, int64_t hopeless_ms);
void tg_credential_give_up(struct tg_credential_source *s);

/* ---- credential_ask.c: on the control thread ---- */
void tg_credential_ask_start(struct tg_credential_source *s);
void tg_credential_ask_now(struct tg_credential_source *s); /* unless an attempt runs */
void tg_credential_ask_stop(struct tg_credential_source *s);

/* The token in a file, checked; wipe it. */
enum tg_status tg_credential_token_read(const char *path, struct tg_buf *out, struct tg_err *err);

/* ---- credential_answer.c: no socket, no clock ---- */
struct tg_credential_answer {
    struct tg_credential_text *text;
    int64_t life_s;                                      /* -1: not said */
};
/* A 200 of a token endpoint (RFC 6749 §5.1). Nothing of the body stands in the sentence. */
enum tg_status tg_credential_answer_read(struct tg_slice body, struct tg_credential_answer *out, struct tg_err *err);
/* A 200 of the Zero API's POST /token: {"idToken", "expiresInSeconds"}, the latter a number or text of one. */
enum tg_status tg_credential_id_token_read(struct tg_slice body, struct tg_credential_answer *out, struct tg_err *err);
/* The `error` of another one (§5.2) when it is a registered word, else "". */
const char *tg_credential_answer_error(struct tg_slice body);

/* ---- credential.c: for tests, before the first bind ---- */
void tg_credentials_set_periods(struct tg_credentials *c, const struct tg_credential_periods *periods);
