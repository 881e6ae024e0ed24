/*
 * findings - what `check --online` has found so far: one line each, and how many of them are bad.
 *
 * "ok       what: sentence", "warning  …", "FAILED   …".
 */
#pragma once
#include "boot/settings.h"
#include "provider_visit.h"

enum finding { FINDING_OK, FINDING_WARNING, FINDING_FAILED };
struct online_check {
    const struct tg_settings *settings;
    struct inquiry *q;
    struct tg_buf out;
    unsigned failed, warnings;
    bool token_refused;
    struct tg_jwks *keys[TG_PROVIDERS_MAX];              /* by provider; NULL: could not be had */
};

/* Adds a line; control characters in it, which a stranger may have chosen, become "?". */
void online_say(struct online_check *c, enum finding finding, const char *what, struct tg_slice name, const char *fmt,
                ...) __attribute__((format(printf, 5, 6)));
