/*
 * token_store - what the token commands share: the store they work on, and times as they print them.
 */
#pragma once
#include "auth/pat.h"

/*
 * TG_EXIT_OK and the store is open, or a complaint was made: the exit code. `config` of -c, may be NULL; `making`: a
 * token, which whoever serves should take.
 */
int token_store_open(const char *config, bool making, struct tg_pat_store **store);
int token_store_fail(enum tg_status st, const struct tg_err *err); /* complains; the exit code */
void token_add_time(struct tg_buf *out, int64_t seconds); /* RFC 3339 */

int token_list(int argc, char **argv);                   /* `tollgate token list` */
