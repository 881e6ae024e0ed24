/*
 * refusal - every way in which tollgate itself says no: its name, its status, its words, and what it means.
 *
 * One row each, for all who tell of it: the answer (gate/step_reply), the log, and `explain` and `why`, which tell what
 * a client got. Words come from here alone, so nothing of a token, a field or a key is ever echoed.
 */
#pragma once
#include "policy/ppl.h"

enum tg_refusal {
    TG_REFUSE_NONE,
    TG_REFUSE_HEAD,                                      /* framing: the status is the parser's */
    TG_REFUSE_PATH,
    TG_REFUSE_SLOW_HEAD,
    TG_REFUSE_SLOW_BODY,
    TG_REFUSE_BODY_FRAMING,
    TG_REFUSE_BODY_SIZE,
    TG_REFUSE_CONTENT_CODING,                            /* 415: a policy asks about content that cannot be read */
    TG_REFUSE_MALFORMED_CALL,                            /* 400: or that two readers might read in two ways */
    TG_REFUSE_METHOD,
    TG_REFUSE_NO_ROUTE,
    TG_REFUSE_CREDENTIAL,                                /* 400 invalid_request */
    TG_REFUSE_NO_TOKEN,
    TG_REFUSE_EXPIRED,
    TG_REFUSE_INVALID,
    TG_REFUSE_PROOF,                                     /* 401 invalid_dpop_proof (RFC 9449 §7.1) */
    TG_REFUSE_NONCE,                                     /* 401 use_dpop_nonce (§9) */
    TG_REFUSE_SCOPE,                                     /* 403 insufficient_scope */
    TG_REFUSE_LIMIT,
    TG_REFUSE_NO_COUNTER,                                /* 503: nobody can count now, and when_store_fails is deny */
    TG_REFUSE_DENIED,
    TG_REFUSE_CERTIFICATE_MISSING,                       /* denied because there is no client certificate */
    TG_REFUSE_CERTIFICATE_INVALID,
    TG_REFUSE_WEBSOCKET,
    TG_REFUSE_NO_KEYS,
    TG_REFUSE_NO_ANSWER,                                 /* 503: nobody can say now what an opaque token is */
    TG_REFUSE_NO_CREDENTIAL,                             /* 503: tollgate's own token for the service */
    TG_REFUSE_NOT_READY,
    TG_REFUSE_NOT_LOADED,                                /* 503: no route, and the control plane was never heard */
    TG_REFUSE_NO_POLICY,                                 /* 503: the route names a policy that is not loaded */
    TG_REFUSE_STALE,                                     /* 503: its policies are stale, and when_stale is deny */
    TG_REFUSE_UPSTREAM,                                  /* 502 */
    TG_REFUSE_UPSTREAM_SLOW,                             /* 504 */
    TG_REFUSE_COUNT
};
/* Of WWW-Authenticate (RFC 6750 §3, RFC 9449 §7.1): none, the bare scheme, or with an error of that name. */
enum tg_challenge {
    TG_CHALLENGE_NONE, TG_CHALLENGE_BARE, TG_CHALLENGE_REQUEST, TG_CHALLENGE_TOKEN, TG_CHALLENGE_SCOPE,
    TG_CHALLENGE_PROOF, TG_CHALLENGE_NONCE
};

struct tg_refusal_row {
    const char *name;                                    /* in the log */
    unsigned status;
    const char *details;                                 /* what the client is told */
    enum tg_challenge challenge;
    const char *description;                             /* error_description of TG_CHALLENGE_TOKEN */
    bool close;                                          /* the connection is closed behind the answer */
    const char *means;                                   /* for whoever runs the service */
};
extern const struct tg_refusal_row tg_refusals[TG_REFUSE_COUNT];

const struct tg_refusal_row *tg_refusal_find(struct tg_slice name); /* NULL: none is called so */
/* How this verdict is refused; TG_REFUSE_NONE: it allows. */
enum tg_refusal tg_refusal_of(const struct tg_verdict *verdict);
/* "invalid_token"; NULL: a challenge without an error. */
const char *tg_challenge_error(enum tg_challenge challenge);
/* What a challenge tells beside its error; all may be empty. */
struct tg_challenge_words {
    struct tg_slice realm;
    const char *fault;                                   /* of a malformed credential, of a fixed list */
    struct tg_slice scope;                               /* of insufficient_scope: what the route needs */
    struct tg_slice resource_metadata;                   /* RFC 9728 §5.1: a URL; empty: not published */
    bool bearer, dpop;                                   /* which schemes the route takes from this caller */
    struct tg_slice dpop_algs;                           /* "ES256 EdDSA" */
};
/* The values of WWW-Authenticate, one a scheme; returns how many (0 with TG_CHALLENGE_NONE, at most 2). */
size_t tg_refusal_challenge(const struct tg_refusal_row *r, const struct tg_challenge_words *words,
                            struct tg_buf out[static 2]);
