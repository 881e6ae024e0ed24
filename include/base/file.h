/*
 * file - bounded reading, atomic replacing, paths relative to another file.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <sys/types.h>

/*
 * The whole file; TG_LIMIT above `max` bytes, TG_NOT_FOUND, TG_DENIED, TG_IO. The sentence names the path. What `out`
 * held before is replaced on success. A pipe is waited for, ten seconds in all.
 */
enum tg_status tg_file_read(const char *path, size_t max, struct tg_buf *out, struct tg_err *err);
/*
 * The same in parts, for those that look at the descriptor first: tg_file_open is open() for reading without waiting
 * for a pipe's writer, tg_file_take is read() that waits for what the writer says until `until_ms`: ETIMEDOUT.
 */
#define TG_FILE_PATIENCE_MS 10000
int tg_file_open(const char *path);
ssize_t tg_file_take(int fd, void *into, size_t room, bool first, int64_t until_ms);
/* A secret: as tg_file_read, one trailing newline (LF or CRLF) cut; empty is TG_BAD_INPUT. */
enum tg_status tg_file_read_secret(const char *path, struct tg_buf *out, struct tg_err *err);
/*
 * Moves when the file does: what is behind the name, also behind symbolic links (a mounted ConfigMap is swapped by
 * renaming a link), with its size and times. 1: nothing is there; never 0.
 */
uint64_t tg_file_stamp(const char *path);
bool tg_file_is_open_to_all(const char *path);           /* everybody may read it */
/* Writes beside, fsyncs, renames: readers see the old or the new, also after a crash. */
enum tg_status tg_file_replace(const char *path, struct tg_slice data, unsigned mode, struct tg_err *err);
/*
 * As tg_fail, of errno: "PATH: WHAT: Permission denied". TG_NOT_FOUND, TG_DENIED (a read-only file system too), TG_IO.
 */
enum tg_status tg_file_fail(struct tg_err *err, const char *path, const char *what);
/* `path` as seen from the folder of `base_file`; absolute paths unchanged. free() it. */
char *tg_file_beside(const char *base_file, const char *path);
