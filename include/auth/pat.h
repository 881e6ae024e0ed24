/*
 * pat - personal access tokens of tollgate itself: made, kept as digests, known on every worker, withdrawn at once.
 *
 * A token is "tgp_", 43 characters base64url of 256 random bits and 6 of a checksum, so that a typing error and a
 * secret scanner need no store. Only its SHA-256 is kept, in a table of state_dir/tollgate.db (SQLite, WAL), with id,
 * name, the claims of its owner, times. A change bumps state_dir/generation, a counter mapped by every process, after
 * the commit: what a worker knows is good at the generation it was read at only, so a token that was revoked is 401
 * from the next request on, on connections that are open too.
 *
 * An identity of a PAT has the issuer TG_PAT_ISSUER and as subject the claim `sub` of its owner, else "pat:" and its
 * id.
 */
#pragma once
#include "auth/providers.h"
#include "base/digest.h"
#include "io/worker.h"
#include <cjson/cJSON.h>

#define TG_PAT_ISSUER "urn:tollgate:pat"
#define TG_PAT_PROVIDER "personal_access_tokens"         /* its name in a route's identity_providers, and in logs */

/* Its form: prefix, length, characters and checksum. No store is asked. */
bool tg_pat_is_wellformed(struct tg_slice token);
bool tg_pat_has_prefix(struct tg_slice token);           /* meant to be one, whatever else is wrong */

/* ---- the process: all known tokens in memory, an immutable set at a time ---- */
struct tg_pats;
/* Reads state_dir/tollgate.db (made when missing) and starts its thread. */
enum tg_status tg_pats_new(const char *state_dir, struct tg_pats **out, struct tg_err *err);
void tg_pats_free(struct tg_pats *pats);                 /* writes what was used last; NULL is fine */

void tg_pats_describe(struct tg_pats *pats, struct tg_buf *out); /* one line, for readiness; any thread */

struct tg_pat_view;                                      /* one worker's */
struct tg_pat_view *tg_pat_view_new(struct tg_pats *pats, struct tg_worker *w);
void tg_pat_view_free(struct tg_pat_view *view);
enum tg_pat_state {
    TG_PAT_UNKNOWN,                                      /* not in the store, or revoked */
    TG_PAT_EXPIRED,
    TG_PAT_KNOWN,
    TG_PAT_STALE,                                        /* the store changed: wait */
    TG_PAT_FAILED,                                       /* it cannot be read: 503 */
};
struct tg_pat_known {                                    /* borrowed until the view is asked again */
    struct tg_slice claims;                              /* a JSON object with iss, sub, jti, iat and exp */
    int64_t exp_s;                                       /* INT64_MAX: never */
};
/*
 * Looks the digest up, in constant time as to the secret, and notes that it was used. No system call, and no lock when
 * current. After STALE and its wait it may be STALE again: the store has changed once more.
 */
enum tg_pat_state tg_pat_view_look(struct tg_pat_view *view, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms,
                                   struct tg_pat_known *out);
/* The generation that now holds: what was learned from the store at another one is void. No system call. */
uint64_t tg_pat_generation(const struct tg_pats *pats);
/* A token of a worker's first-level cache was used (last use, to the minute). */
void tg_pat_view_used(struct tg_pat_view *view, const uint8_t digest[TG_SHA256_LEN], int64_t now_ms);
/* After STALE: done(arg) will be posted when the view can be current again (or the store has failed). */
void tg_pat_view_wait(struct tg_pat_view *view, void (*done)(struct tg_worker *w, void *arg), void *arg);
bool tg_pat_view_forget(struct tg_pat_view *view, const void *arg); /* true: done of that arg will not be called */

/* ---- the store: for commands, beside running processes too; on a thread that may wait ---- */
struct tg_pat_store;
/* The sentence says what is wrong with which file. TG_DENIED: state_dir is not there or not writable. */
enum tg_status tg_pat_store_open(const char *state_dir, struct tg_pat_store **out, struct tg_err *err);
void tg_pat_store_close(struct tg_pat_store *store);     /* NULL is fine */

#define TG_PAT_ID 37                                     /* a UUID and its NUL */
#define TG_PAT_NAME_MAX 128
#define TG_PAT_CLAIMS_MAX 16384
#define TG_PAT_KEPT_S (90 * INT64_C(86400))              /* how long what was revoked or expired is listed */
struct tg_pat_order {
    struct tg_slice name;                                /* no two live tokens have the same */
    const cJSON *claims;                                 /* of its owner: an object; NULL: none */
    int64_t now_s, expires_s;                            /* expires_s INT64_MAX: never */
};
/* A name that a claim of a token's owner must not have: tollgate's own to say (iss, aud, exp, ...). */
bool tg_pat_is_reserved_claim(struct tg_slice name);
/*
 * Makes a token: the only time it is seen; wipe *token after use. TG_BAD_INPUT: name or claims are none; TG_LIMIT: a
 * live token has that name.
 */
enum tg_status tg_pat_create(struct tg_pat_store *store, const struct tg_pat_order *order, struct tg_buf *token,
                             char id[TG_PAT_ID], struct tg_err *err);
/* TG_NOT_FOUND: there is no such token. *name (may be NULL) is appended to; *already: it had been revoked before. */
enum tg_status tg_pat_revoke(struct tg_pat_store *store, struct tg_slice id, int64_t now_s, struct tg_buf *name,
                             bool *already, struct tg_err *err);
struct tg_pat_row {
    struct tg_slice id, name, sub, claims;               /* sub ptr NULL: none; claims: an object, without sub */
    int64_t created_s, expires_s;                        /* INT64_MAX: never */
    int64_t used_s, revoked_s;                           /* -1: not */
};
/* Every token in the order of their making; neither they nor their digests are there to be had. */
enum tg_status tg_pat_list(struct tg_pat_store *store, void (*each)(void *arg, const struct tg_pat_row *row), void *arg,
                           struct tg_err *err);
