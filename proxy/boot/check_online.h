/*
 * check_online - `check --online`: the configuration held against the world, one line a finding.
 *
 * On standard output, as findings.h says; no token, no secret. Files: check_online.c has the services behind and what a
 * running process says; check_provider.c who signs; check_token.c one token.
 */
#pragma once
#include "findings.h"

/* `token`: NULL, or one to be judged. Returns an exit code. */
int check_online(const struct tg_settings *settings, const char *token);

/* ---- parts of it ---- */
void check_providers(struct online_check *c);
void check_token(struct online_check *c, struct tg_slice token);
