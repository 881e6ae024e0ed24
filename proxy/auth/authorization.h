/*
 * authorization - parts of an Authorization field, for those who know other schemes than the data plane.
 */
#pragma once
#include "base/buf.h"

size_t tg_scheme_length(struct tg_slice value);          /* of `value`, without white space around it */
/* What follows the scheme, when it is a token by its form; else what is wrong, for the client. */
const char *tg_token_after_scheme(struct tg_slice value, size_t scheme, size_t max_token, struct tg_slice *token);
