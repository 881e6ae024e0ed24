/*
 * supply_file - a set as it is kept: lines of what is known about it, under a digest, then its text.
 */
#pragma once
#include "store/supply.h"

#define SUPPLY_FILE "policies.set"
#define SUPPLY_ORIGIN 65                                 /* SHA-256 in hex */

struct supply_kept {
    struct tg_set *set;                                  /* read: a reference, the caller's */
    struct tg_supply_meta meta;
    const char *source;                                  /* "sync" */
    char origin[SUPPLY_ORIGIN];                          /* digest of the words for it */
};
/* Appends the file's text. */
void supply_write(const struct supply_kept *kept, struct tg_buf *out);
/*
 * TG_NOT_FOUND: no such file, or one of another source or origin than `kept` says (the sentence tells); TG_BAD_INPUT:
 * it is damaged.
 */
enum tg_status supply_read(const char *path, struct supply_kept *kept, struct tg_err *err);
