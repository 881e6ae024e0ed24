/*
 * token_format - the form of tollgate's own opaque tokens, and of the names that they have.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define TG_PAT_LEN 53                                    /* of both kinds */
#define TG_TOKEN_SHOWN 12                                /* the first characters, which tell tokens apart in lists */

void tg_pat_make(struct tg_buf *out);                    /* appends a new one */
void tg_api_token_make(struct tg_buf *out);              /* likewise */

/* Other octets would be replaced when they are written as JSON, and two texts become one. */
bool tg_token_is_utf8(struct tg_slice text);
enum tg_status tg_token_check_name(struct tg_slice name, struct tg_err *err);
