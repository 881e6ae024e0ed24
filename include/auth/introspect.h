/*
 * introspect - opaque tokens: their provider is asked what they are (RFC 7662), and its answers are kept for a while.
 *
 * One tg_introspector per process; it asks from the control thread. Answers are kept by the SHA-256 of the token, never
 * the token: an active one for min(ttl, exp - now), an inactive one for negative_ttl; trouble is not kept. Bounded by
 * entries and octets, the least recently used go first, inactive ones never push out active ones. One question at a
 * time about a token, however many requests wait for it. 400 and 401 of the provider mean that our own credential is
 * bad: TG_INTROSPECT_FAILED, like a timeout, a 5xx or an answer that is no JSON object with a boolean `active`.
 *
 * What it may cost: questions about tokens that nobody vouched for (not signed, not active a moment ago) have a budget
 * of `rate` a second, of which a quarter is kept for tokens that are shown again (within minutes, and not known to be
 * junk), so that junk, which is new each time, does not starve a newcomer who tries twice; the more often a token is
 * shown, the more of it is open to it, so that junk which is shown again does not either. A token active within the
 * last hour may always be asked about again.
 *
 * An answer is checked like a signed token before it counts: `iss`, when said, is the provider's (else it is added),
 * `aud`, when said, one of `audiences` (RFC 7662 §2.2; a PAT of ZITADEL has the asker's own in it: it proves nothing),
 * exp, nbf, iat with leeway, `sub` when said (else the client is the subject, auth/authn), required_claims,
 * max_lifetime, max_age.
 */
#pragma once
#include "auth/client_auth.h"
#include "auth/providers.h"
#include "base/digest.h"
#include "io/fetch.h"

struct tg_introspector;
struct tg_introspection;                                 /* of one provider */

struct tg_introspector *tg_introspector_new(struct tg_worker *control, struct tg_fetcher *fetcher);
void tg_introspector_free(struct tg_introspector *x);    /* on the control thread; NULL is fine */
/* Gives every introspecting provider its tg_introspection, an old one kept when nothing of it has changed. Control
 * thread. The providers hold a reference until tg_providers_fini. */
void tg_introspector_bind(struct tg_introspector *x, struct tg_providers *providers);
void tg_introspector_describe(struct tg_introspector *x, struct tg_buf *out); /* one line a provider, for readiness */

/* ---- any thread ---- */
enum tg_introspect_state {
    TG_INTROSPECT_UNKNOWN,                               /* has to be asked */
    TG_INTROSPECT_ACTIVE,
    TG_INTROSPECT_INACTIVE,
    TG_INTROSPECT_FAILED,                                /* was asked just now, without an answer */
};
struct tg_introspection_answer {                         /* immutable, counted by atomics */
    atomic_uint refs;
    struct tg_slice claims;                              /* a JSON object as text, with `iss` */
    int64_t exp_s;                                       /* INT64_MAX: not said */
    int64_t until_ms;                                    /* wall: when it has to be asked again */
};
void tg_introspection_answer_unref(struct tg_introspection_answer *answer); /* NULL is fine */
/*
 * What is known of the token with this digest; ACTIVE gives a reference. `asked`: who waited for the question asks
 * again, so that FAILED is told (and told only to him).
 */
enum tg_introspect_state tg_introspection_look(struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN],
                                               int64_t now_ms, bool asked, struct tg_introspection_answer **out);
enum tg_vouched {
    TG_VOUCHED_SIGNED,                                   /* its signature was verified: no budget */
    TG_VOUCHED_ROOM,                                     /* by nobody; the caller's address has room in its bucket */
    TG_VOUCHED_NO_ROOM,                                  /* by nobody, and it has none */
};
enum tg_introspect_asking {
    TG_INTROSPECT_ASKED,                                 /* done will be posted to `w`, once, well or not */
    TG_INTROSPECT_NO_ROOM,                               /* 429 */
    TG_INTROSPECT_NO_BUDGET,                             /* 503 */
};
enum tg_introspect_asking tg_introspection_ask(struct tg_introspection *i, struct tg_slice token,
                                               const uint8_t digest[TG_SHA256_LEN], enum tg_vouched vouched,
                                               int64_t now_ms, struct tg_worker *w,
                                               void (*done)(struct tg_worker *w, void *arg), void *arg);
/* Whether this token was active a short while ago, so that it may be asked about with an empty address bucket too. */
bool tg_introspection_was_active(struct tg_introspection *i, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms);
/* Takes a question back. True: `done` of that arg will not be called; false: it was posted already. */
bool tg_introspection_forget(struct tg_introspection *i, const void *arg);

/* ---- settings: `introspection` of a provider ---- */
struct tg_introspection_settings {                       /* in the arena of the configuration */
    struct tg_slice url;                                 /* empty: introspection_endpoint of the discovery document */
    struct tg_client_auth client;
    bool always;                                         /* for: always: signed tokens too, once they are verified */
    bool accept_opaque;
    int64_t ttl_ms, negative_ttl_ms, timeout_ms;
    uint64_t rate;                                       /* questions a second about tokens nobody vouched for */
};
extern const struct tg_setting tg_introspection_rows[];
extern const size_t tg_introspection_row_count;
/*
 * Reads `introspection` of `p`, whose issuer and allow_http are known already. False when it added an error; `out` is
 * to be finished all the same.
 */
bool tg_introspection_settings_read(const struct tg_tree *tree, const cJSON *node, const char *where,
                                    const struct tg_provider *p, struct tg_arena *arena,
                                    struct tg_introspection_settings *out, struct tg_problems *problems);
void tg_introspection_settings_fini(struct tg_introspection_settings *s); /* NULL is fine */
