/*
 * file - bounded reading, atomic replacing, paths relative to another file.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* The whole file; TG_LIMIT above `max` bytes, TG_NOT_FOUND, TG_DENIED, TG_IO. The sentence names the path. What `out`
 * held before is replaced on success. */
enum tg_status tg_file_read(const char *path, size_t max, struct tg_buf *out, struct tg_err *err);
/* A secret: as tg_file_read, one trailing newline (LF or CRLF) cut; empty is TG_BAD_INPUT. */
enum tg_status tg_file_read_secret(const char *path, struct tg_buf *out, struct tg_err *err);
/* Writes beside, fsyncs, renames: readers see the old or the new, also after a crash. */
enum tg_status tg_file_replace(const char *path, struct tg_slice data, unsigned mode, struct tg_err *err);
/* `path` as seen from the folder of `base_file`; absolute paths unchanged. free() it. */
char *tg_file_beside(const char *base_file, const char *path);
