/*
 * check_online - `check --online`: the configuration held against the world, one line a finding.
 *
 * On standard output, as findings.h says; no token, no secret. Files: check_online.c has the services behind, the store
 * of rate limits and what a running process says; check_provider.c who signs; check_identity.c what else is asked about
 * identities, and tollgate's own; check_token.c one token.
 */
#pragma once
#include "auth/introspect.h"
#include "findings.h"

/* `token`: NULL, or one to be judged. Returns an exit code. */
int check_online(const struct tg_settings *settings, const char *token);

/* ---- parts of it ---- */
void check_providers(struct online_check *c);
void check_identity(struct online_check *c);
/* What provider `p`, which introspects, says of the token; when it says nothing, `trouble` gets why. */
enum tg_introspect_state check_ask(struct online_check *c, const struct tg_provider *p, struct tg_slice token,
                                   struct tg_buf *trouble);
void check_token(struct online_check *c, struct tg_slice token);
