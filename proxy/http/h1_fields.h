/*
 * h1_fields - field lines and the framing they declare: what requests, responses and trailers have in common.
 */
#pragma once
#include "base/err.h"
#include "http/h1_parse.h"

/* A place in the input and how to complain. */
struct reader {
    const char *p, *end;                                 /* end: of the input, or of what the limit lets in */
    bool limited;                                        /* `end` is the limit: nothing more may come */
    unsigned *refusal;                                   /* NULL: nobody asks for a status */
    struct tg_err *err;
    uint64_t repeated;                                   /* bits of field ids seen more than once */
};

/* More input is needed: TG_AGAIN, or 431 at the limit. */
enum tg_status tg_h1_need_more(struct reader *r);
/* `answer`: the status for the client. */
enum tg_status tg_h1_refuse(struct reader *r, unsigned answer, const char *why);

/* Field lines up to and with the empty line. At most `max`. */
enum tg_status tg_h1_read_fields(struct reader *r, struct tg_head *h, unsigned max);
/* Content-Length and Transfer-Encoding: sets framing (TG_BODY_NONE when neither is there) and content_length. */
enum tg_status tg_h1_read_framing(struct reader *r, struct tg_head *h);
/* Connection: sets keep_alive. */
enum tg_status tg_h1_read_connection(struct reader *r, struct tg_head *h);
