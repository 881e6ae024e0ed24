/*
 * redis_reply - octets of a server to whole answers (hiredis' reader), with a bound on what one of them may take.
 *
 * The reader alone keeps a string of any length, and makes room for an array as large as the server says. What
 * is of no use here is not kept: answers are short lists of numbers.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include <hiredis/hiredis.h>

#define TG_REDIS_ELEMENTS 4096                           /* of one answer, all its arrays together */
#define TG_REDIS_DEPTH 7                                /* of arrays in arrays */
#define TG_REDIS_TEXT (16 * 1024)                        /* octets of one answer, all its strings together */

struct tg_redis_reader;
struct tg_redis_reader *tg_redis_reader_new(void);
void tg_redis_reader_free(struct tg_redis_reader *r);    /* NULL is fine */
void tg_redis_reader_feed(struct tg_redis_reader *r, const char *bytes, size_t n);
/* TG_OK: *out is the next one, for freeReplyObject. TG_AGAIN: not whole yet. Else the reader is of no use any more. */
enum tg_status tg_redis_reader_next(struct tg_redis_reader *r, struct redisReply **out, struct tg_err *err);
/* Of an array of integers: into `numbers` (room for TG_REDIS_ELEMENTS). False: it is something else. */
bool tg_redis_reply_numbers(const struct redisReply *reply, int64_t *numbers, size_t *count);
