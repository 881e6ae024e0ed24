/*
 * token_check - one token against keys and rules at hand, step by step, for `verify` and `explain`.
 *
 * The same steps in the same order as on a request; here each is told.
 */
#pragma once
#include "base/clock.h"
#include "jose/jwt.h"

enum token_step {
    TOKEN_FORM,                                          /* three parts, a header that can be read */
    TOKEN_PAYLOAD,                                       /* one JSON object */
    TOKEN_ALGORITHM,                                     /* allowed, and fit for the key */
    TOKEN_KEY,                                           /* a key of that id */
    TOKEN_SIGNATURE,
    TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_SUBJECT, TOKEN_TYPE, TOKEN_REQUIRED, TOKEN_TIMES, TOKEN_EXPIRES,
    TOKEN_NOT_BEFORE, TOKEN_ISSUED,
    TOKEN_LIFETIME, TOKEN_AGE,                           /* max_lifetime and max_age of the provider */
    TOKEN_DONE                                           /* none broken */
};
const char *token_step_name(enum token_step step);
const char *token_step_rule(enum token_step step);       /* the RFC's section */

struct token_check {
    struct tg_jws jws;                                   /* header NULL: not even that could be read */
    cJSON *claims;                                       /* NULL: not read */
    bool opaque;                                         /* it has not the form of a signed token at all */
    enum token_step broken;                              /* TOKEN_DONE: the token is good */
    struct tg_err err;                                   /* why it is broken */
    int64_t exp_s;
};

/* Takes the token apart: false when that breaks a rule. `any_payload`: claims are not read. token_check_fini ends it.
 */
bool token_check_open(struct token_check *c, struct tg_slice token, bool any_payload, struct tg_arena *arena);
/* The signature; then, with `rules`, the claims. */
bool token_check_signature(struct token_check *c, const struct tg_jwks *keys, tg_algs algs);
bool token_check_claims(struct token_check *c, const struct tg_jwt_rules *rules, int64_t now_s);
void token_check_fini(struct token_check *c);

/* A token as an argument, or "-": one line of standard input. TG_IO: nothing could be read; TG_LIMIT: too long. */
enum tg_status token_read(const char *argument, struct tg_buf *out, struct tg_err *err);
/* What was pasted or came from a file may have white space around it: the text without, within the buffer. */
const char *token_trim(struct tg_buf *text);
