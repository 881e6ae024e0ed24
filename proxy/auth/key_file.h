/*
 * key_file - a private key that was made here, kept for the next start.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/*
 * Whole or not at all, mode 0600, and never over a file that is there: of two processes that start at once on one
 * folder the second takes the first's key. TG_DENIED: there is one now.
 */
enum tg_status tg_key_file_keep(const char *path, struct tg_slice pem, struct tg_err *err);
