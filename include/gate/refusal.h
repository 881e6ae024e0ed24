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
    TG_REFUSE_LIMIT,
    TG_REFUSE_DENIED,
    TG_REFUSE_CERTIFICATE_MISSING,                       /* denied because there is no client certificate */
    TG_REFUSE_CERTIFICATE_INVALID,
    TG_REFUSE_WEBSOCKET,
    TG_REFUSE_NO_KEYS,
    TG_REFUSE_NOT_READY,
    TG_REFUSE_UPSTREAM,                                  /* 502 */
    TG_REFUSE_UPSTREAM_SLOW,                             /* 504 */
    TG_REFUSE_COUNT
};
/* Of WWW-Authenticate (RFC 6750 §3): none, the bare scheme, invalid_request, invalid_token. */
enum tg_challenge { TG_CHALLENGE_NONE, TG_CHALLENGE_BARE, TG_CHALLENGE_REQUEST, TG_CHALLENGE_TOKEN };

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
/*
 * The value of WWW-Authenticate; nothing with TG_CHALLENGE_NONE. `fault`: what is wrong with a credential that is
 * malformed, of a fixed list; NULL: it is not told.
 */
void tg_refusal_challenge(const struct tg_refusal_row *r, struct tg_slice realm, const char *fault, struct tg_buf *out);
