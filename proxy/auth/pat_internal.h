/*
 * pat_internal - what the files about personal access tokens share: the form of one, the set of those that are known,
 * and how the store is read into it.
 */
#pragma once
#include "auth/pat.h"
#include "base/digest.h"
#include "token_format.h"
#include <stdatomic.h>

#define TG_PAT_ID_LEN 36

/* ---- pat_set.c: tokens by digest; a set never changes once it is shared, its entries live in several ---- */
struct tg_pat_entry {
    atomic_uint refs;
    uint8_t digest[TG_SHA256_LEN];
    int64_t row;                                         /* of the table */
    int64_t created_s, exp_s;                            /* exp_s INT64_MAX: never */
    _Atomic int64_t used_min;                            /* minutes since 1970; -1: never */
    int64_t written_min;                                 /* what the table has; the store's thread only */
    uint32_t sub_len, claims_len;                        /* sub_len 0: none of its owner */
    char id[TG_PAT_ID_LEN];
    char text[];                                         /* sub, then the claims */
};
struct tg_pat_set;
struct tg_pat_set *tg_pat_set_new(size_t room);          /* one reference; for `room` entries */
struct tg_pat_set *tg_pat_set_ref(struct tg_pat_set *set);
void tg_pat_set_unref(struct tg_pat_set *set);           /* NULL is fine */
void tg_pat_set_add(struct tg_pat_set *set, struct tg_pat_entry *entry); /* takes over the reference */
/* NULL: not in it. How long it takes says nothing about the digests of others. */
struct tg_pat_entry *tg_pat_set_find(const struct tg_pat_set *set, const uint8_t digest[TG_SHA256_LEN]);
size_t tg_pat_set_count(const struct tg_pat_set *set);
/* for (size_t i = 0; (entry = tg_pat_set_next(set, &i));) ... */
struct tg_pat_entry *tg_pat_set_next(const struct tg_pat_set *set, size_t *i);
void tg_pat_entry_used(struct tg_pat_entry *entry, int64_t now_ms);
void tg_pat_entry_claims(const struct tg_pat_entry *entry, struct tg_buf *out); /* the whole object */

/* ---- pat_load.c ---- */
/*
 * Brings `old` (NULL: none) up to date: *out is a new set, or another reference to the old one when nothing changed.
 * *seen: the last change that is in it; -1: none is known.
 */
enum tg_status tg_pat_load(struct tg_pat_store *store, struct tg_pat_set *old, int64_t *seen, struct tg_pat_set **out,
                           struct tg_err *err);
/* Writes the times of last use that the table has not got, `most` at most; *more: there are others. */
enum tg_status tg_pat_write_used(struct tg_pat_store *store, const struct tg_pat_set *set, size_t most, bool *more,
                                 struct tg_err *err);

/* ---- pat_store.c ---- */
struct tg_db *tg_pat_store_db(struct tg_pat_store *store);
char *tg_pat_path(const char *state_dir, const char *name); /* free() it */
/* The tables alone, without the counter: for a process that has mapped it already. */
enum tg_status tg_pat_store_open_db(const char *state_dir, struct tg_pat_store **out, struct tg_err *err);

/* ---- pat.c ---- */
#define TG_PAT_POLL_MS 1000                              /* how soon trouble from outside is noticed */
