/*
 * revoked - foreign tokens withdrawn before their exp: by a feed file that somebody else writes
 * (`revoked_tokens_file`), and by whoever tells us (the revocation hook of the management API).
 *
 * JSON lines, or one JSON list, of {iss, jti} or {iss, sub} and optionally not_before (NumericDate: tokens issued
 * before it, or without iat; absent: every token of that jti or subject) and exp (after which, and the longest leeway
 * there is, the entry means nothing any more). Other members mean nothing. Exact: no entry stands for another.
 *
 * The file is looked at each second, also behind symbolic links, by a thread of its own. What was appended counts at
 * that look; its last line, while it is not ended and no whole entry, is left for the next. Any other change counts
 * once two looks agree, so that a file that is being written is not taken for a shorter one. A file that cannot be read
 * or has a line that is no entry keeps the last good set, and says so in log, metric and readiness. At the start it
 * must be good. At most 256 MiB and 4,000,000 entries; a million of {iss, jti (a UUID), exp} are read in two seconds
 * and hold 70 MiB, twice that while the next set is read.
 *
 * What we are told is kept in state_dir/tollgate.db, at most TG_REVOCATIONS_TOLD entries, until it means nothing any
 * more, and counts besides the file.
 */
#pragma once
#include "auth/identity.h"
#include "io/db.h"

struct tg_revocations;
struct tg_revocations *tg_revocations_new(void);
void tg_revocations_free(struct tg_revocations *r);      /* NULL is fine; views may outlive it */
/*
 * The file of a configuration; empty: none. One that is new is read: TG_OK or why it cannot be. Nothing has changed
 * before tg_revocations_put, which takes over what was read. Never from two threads at once; not on a worker, for a
 * million entries take two seconds. tg_revocations_bind: both, one after the other.
 */
struct tg_revocations_next;
enum tg_status tg_revocations_read(struct tg_revocations *r, struct tg_slice file, struct tg_revocations_next **out,
                                   struct tg_err *err);
void tg_revocations_put(struct tg_revocations *r, struct tg_revocations_next *next);
void tg_revocations_next_free(struct tg_revocations_next *next); /* NULL is fine */
enum tg_status tg_revocations_bind(struct tg_revocations *r, struct tg_slice file, struct tg_err *err);
/* Any thread. For readiness; nothing: no file. */
void tg_revocations_describe(struct tg_revocations *r, struct tg_buf *out);
/* Reads a file for `check`: the number of entries, or the first mistake as FILE:LINE. */
enum tg_status tg_revocations_check(const char *file, size_t *entries, struct tg_err *err);

/* ---- told ---- */
#define TG_REVOCATIONS_TOLD 1000000
/* What was told before, from the database in that folder, if there is one. Before the first worker asks. */
enum tg_status tg_revocations_restore(struct tg_revocations *r, const char *state_dir, struct tg_err *err);
enum tg_status tg_revocations_prepare(struct tg_db *db, struct tg_err *err); /* the table brought up to date */
/*
 * Writes an entry, or a list of them, in the caller's transaction; on failure it is rolled back. TG_BAD_INPUT: one is
 * none, the sentence says which and why; TG_LIMIT: too many of one token; TG_UNAVAILABLE: there is no room for so many.
 * *count: how many were told.
 */
enum tg_status tg_revocations_keep(struct tg_db *db, const cJSON *told, int64_t now_s, size_t *count,
                                   struct tg_err *err);
/* After the commit: in force from the next request of any worker on. One thread at a time. */
void tg_revocations_tell(struct tg_revocations *r, const cJSON *told, int64_t now_s);

/* ---- any worker ---- */
struct tg_revoked_view {
    struct tg_revoked_set *set;                          /* of the file; NULL: none */
    struct tg_revoked_set *told;                         /* NULL: none */
    uint64_t version;                                    /* moves when one of them changes */
};
/* One atomic load when nothing changed. `r` NULL: none. */
void tg_revoked_view_update(struct tg_revocations *r, struct tg_revoked_view *view);
void tg_revoked_view_fini(struct tg_revoked_view *view);
/* Whether this token was withdrawn. No allocation. */
bool tg_is_revoked(const struct tg_revoked_view *view, const struct tg_identity *id, int64_t now_s);
