/*
 * revoked_set - the entries of one feed, as a counted value that is made once and then only read.
 *
 * An entry's text is kept whole and compared whole, so none stands for another.
 */
#pragma once
#include "auth/revoked.h"
#include "base/err.h"
#include "base/json.h"

#define TG_REVOKED_ENTRIES 4000000
#define TG_REVOKED_FILE_BYTES ((size_t)256 << 20)
#define TG_REVOKED_TEXT 65535                            /* of one iss, jti or sub */
/* Tokens are taken until their exp and the longest leeway there is: an entry that ends with its token covers that. */
#define TG_REVOKED_GRACE_S 300

enum tg_revoked_kind { TG_REVOKED_JTI, TG_REVOKED_SUB };
struct tg_revoked_entry {
    struct tg_slice issuer, text;                        /* text: the jti or sub */
    enum tg_revoked_kind kind;
    uint32_t not_before_s;                               /* UINT32_MAX: every token */
    uint32_t until_s;                                    /* with the grace; UINT32_MAX: for ever */
};

struct tg_revoked_set *tg_revoked_set_new(void);         /* one reference; entries are added by its maker alone */
/*
 * An entry that another of the same token covers is not kept. TG_LIMIT: above TG_REVOKED_ENTRIES, or too many that do
 * not cover one another for the same token.
 */
enum tg_status tg_revoked_set_add(struct tg_revoked_set *set, const struct tg_revoked_entry *entry, struct tg_err *err);
void tg_revoked_set_seal(struct tg_revoked_set *set);    /* the last was added: gives unused memory back */
/* One that can be added to again, without what is past when that is much. NULL: an empty one. */
struct tg_revoked_set *tg_revoked_set_copy(const struct tg_revoked_set *set, int64_t now_s);
struct tg_revoked_set *tg_revoked_set_ref(struct tg_revoked_set *set);
void tg_revoked_set_unref(struct tg_revoked_set *set);   /* NULL is fine */
size_t tg_revoked_set_count(const struct tg_revoked_set *set);
size_t tg_revoked_set_bytes(const struct tg_revoked_set *set); /* of memory */
/* iat_s: -1: not said. */
bool tg_revoked_set_has(const struct tg_revoked_set *set, enum tg_revoked_kind kind, struct tg_slice issuer,
                        struct tg_slice text, int64_t iat_s, int64_t now_s);

/* ---- revoked.c: for tests, before tg_revocations_bind ---- */
void tg_revocations_set_pace(struct tg_revocations *r, int64_t look_ms);

/* What was told: of the thread that tells. */
struct tg_revoked_set *tg_revocations_told(struct tg_revocations *r); /* borrowed; NULL: nothing */
void tg_revocations_publish_told(struct tg_revocations *r, struct tg_revoked_set *set); /* takes it over */

/* ---- revoked_read.c ---- */

/* An entry's members; its slices point into them. NULL, or what is wrong with it. */
const char *tg_revoked_entry_read(const cJSON *root, struct tg_revoked_entry *out);

/* What was read of a file, to tell whether it has only grown since. */
struct tg_revoked_extent {
    uint64_t bytes;                                      /* up to here its entries are in the set; 0: nothing */
    uint64_t digest;                                     /* of these, under this process's seed */
};
struct tg_revoked_feed {
    struct tg_revoked_set *set;                          /* a reference */
    struct tg_revoked_extent extent;
    bool grown;                                          /* it begins with what was read before */
    bool ended;                                          /* false: its last line has no end and is no entry: left out */
};
/* Reads a feed. With `ended` false, `err` says what is wrong with its last line although TG_OK is returned. */
enum tg_status tg_revoked_read(const char *file, const struct tg_revoked_extent *before, int64_t now_s,
                               struct tg_revoked_feed *out, struct tg_err *err);
