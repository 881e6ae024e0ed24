/*
 * token_store - what the token commands share: the store they work on, and times as they print them.
 */
#pragma once
#include "auth/managers.h"
#include "auth/pat.h"

enum token_kind { TOKEN_PAT, TOKEN_API_USER, TOKEN_NONE }; /* NONE: it is about the audit log */
bool token_kind_parse(const char *text, enum token_kind *out); /* pat, api-user */

/*
 * TG_EXIT_OK and the store is open, or a complaint was made: the exit code. `config` of -c, may be NULL; `making`: a
 * token, which whoever serves should take.
 */
int token_store_open(const char *config, bool making, struct tg_pat_store **store);
int token_users_open(const char *config, bool making, struct tg_db **db); /* likewise, API users' */
int token_audit_open(const char *config, struct tg_db **db); /* likewise, the audit log */
int token_store_fail(enum tg_status st, const struct tg_err *err); /* complains; the exit code */

int token_list(int argc, char **argv);                   /* `tollgate token list` */

/* ---- token_users.c: API users of the management API, by exit codes ---- */
int token_users_create(const char *config, const struct tg_api_user_order *order);
/* TG_EXIT_OK and *found says whether there was one of that id; then it is gone, and that was told. */
int token_users_revoke(const char *config, const char *id, bool *found);
/* Prints what was made, alone, on standard output. False: that failed, and was complained about. */
bool token_print(struct tg_buf *token);
void token_tell_made(const char *what, const char *id, int64_t expires_s); /* to standard error */
