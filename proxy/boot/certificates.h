/* certificates - the ends of the listeners' certificates as a metric. */
#pragma once
#include "boot/settings.h"

/* `old`: the settings before a reload; NULL at start. */
void tell_certificates(const struct tg_settings *old, const struct tg_settings *now);
