/*
 * audit_internal - what the files of the audit log share: bounds of an entry, the table, what is thrown away.
 */
#pragma once
#include "store/audit.h"

#define TG_AUDIT_TEXT 512                                /* of an actor and a resource; other texts: a quarter */
#define TG_AUDIT_DETAILS 8192                            /* of a change; of a decision what its record leaves */
#define TG_AUDIT_RECORD 4096                             /* a decision on its way to the thread */

/* Longest texts, cut where a character ends; details that are too long are replaced, for half an object is none. */
void tg_audit_cut(struct tg_audit_entry *e, size_t details_max);

/* `count` entries as one transaction of its own. */
enum tg_status tg_audit_put_all(struct tg_db *db, const struct tg_audit_entry *entries, size_t count,
                                struct tg_err *err);
/*
 * Throws away, in steps so that nobody waits for long, what is older than the retention or more than fits: the oldest
 * of what strangers can cause first, as long as that holds half of the room; then the oldest of all. So nobody washes
 * a change out of the log by having himself refused often enough. *removed (may be NULL): how many.
 */
enum tg_status tg_audit_trim(struct tg_db *db, const struct tg_audit_settings *settings, int64_t now_us,
                             uint64_t *removed, struct tg_err *err);
/* How many entries there are and how much room they take, about. */
enum tg_status tg_audit_totals(struct tg_db *db, uint64_t *entries, uint64_t *bytes, struct tg_err *err);
