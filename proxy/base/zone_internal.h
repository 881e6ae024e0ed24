/*
 * zone_internal - what zone.c (the content of a file) and zone_names.c (which file) share.
 */
#pragma once
#include "base/zone.h"

#define TG_ZONE_BYTES ((size_t)1 << 20)                  /* of a file */

extern const struct tg_zone tg_zone_utc;                 /* that of no file */
