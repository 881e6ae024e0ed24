/*
 * zone - IANA time zones: the local time of an instant, from the system's zone files (TZif, RFC 9636).
 *
 * By our own reader, since the C library's has one zone a process and is not for threads. Immutable once read.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

struct tg_zone;

/*
 * `name`: as "Europe/Prague"; "UTC" needs no file. Files are looked for in $TZDIR or /usr/share/zoneinfo; a name that
 * would leave that folder is refused. TG_NOT_FOUND: there is no such zone; TG_BAD_INPUT: its file is not usable.
 */
enum tg_status tg_zone_load(struct tg_slice name, struct tg_arena *arena, const struct tg_zone **out,
                            struct tg_err *err);
/*
 * The same from what the process has read before; a file that was replaced is read again (it is looked at once a second
 * at most). Zones live as long as the process: there are a few hundred names, and only those of usable files are kept.
 * Any thread.
 */
enum tg_status tg_zone_get(struct tg_slice name, const struct tg_zone **out, struct tg_err *err);
/* What the last tg_zone_get of that name gave, which there must have been. The file is not looked at. */
const struct tg_zone *tg_zone_kept(struct tg_slice name);
/* The content of a zone's file. TG_BAD_INPUT: it breaks a rule of RFC 9636, or it counts leap seconds. */
enum tg_status tg_zone_read(struct tg_slice content, struct tg_arena *arena, const struct tg_zone **out,
                            struct tg_err *err);
/* Seconds to add to UTC at that instant (seconds since 1970), also beyond the file's last transition. */
int32_t tg_zone_offset_s(const struct tg_zone *zone, int64_t utc_s);
