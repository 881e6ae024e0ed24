/*
 * check_online - `check --online`: the configuration held against the world, one line a finding.
 *
 * "ok       what: sentence", "warning  …", "FAILED   …" on standard output; no token, no secret. Files: check_online.c
 * has the lines, the services behind and what a running process says; check_provider.c who signs; check_token.c one
 * token.
 */
#pragma once
#include "boot/settings.h"
#include "provider_visit.h"

/* `token`: NULL, or one to be judged. Returns an exit code. */
int check_online(const struct tg_settings *settings, const char *token);

/* ---- shared by the three files ---- */
enum finding { FINDING_OK, FINDING_WARNING, FINDING_FAILED };
struct online_check {
    const struct tg_settings *settings;
    struct inquiry *q;
    struct tg_buf out;
    unsigned failed, warnings;
    bool token_refused;
    struct tg_jwks *keys[TG_PROVIDERS_MAX];              /* by provider; NULL: could not be had */
};
void online_say(struct online_check *c, enum finding finding, const char *what, struct tg_slice name, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));
void check_providers(struct online_check *c);
void check_token(struct online_check *c, struct tg_slice token);
