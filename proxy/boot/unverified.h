/*
 * unverified - says, for as long as it lasts, that routes do not verify the service they forward to (tls_skip_verify).
 */
#pragma once
#include "gate/config.h"

/* A line in the log for `fresh`, and a gauge for each of its routes; those of `old` (NULL: none) no longer stand. */
void tell_unverified(const struct tg_config *old, const struct tg_config *fresh);
