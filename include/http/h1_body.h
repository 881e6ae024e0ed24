/*
 * h1_body - where a message body ends and which octets are content (RFC 9112 §6, §7).
 *
 * A pull reader: feed it what arrived; it says which part is content, so that the caller forwards it without copying.
 * Chunk extensions are read strictly by grammar (bounded) and dropped; chunk sizes up to 2^63-1; lines end in CRLF
 * only. Trailers are collected up to a bound and handed out parsed. No socket, no clock.
 */
#pragma once
#include "base/err.h"
#include "http/message.h"

struct tg_h1_body {
    uint8_t framing;                                     /* enum tg_framing */
    uint8_t state;                                       /* private */
    bool done;                                           /* the whole body was read */
    uint64_t left;                                       /* of the body or the current chunk */
    unsigned line_bytes;                                 /* of the chunk-size line so far, bounded */
    unsigned extension_bytes;                            /* of all chunk extensions, bounded */
    struct tg_buf trailer;                               /* raw trailer lines, bounded; freed by fini */
};

void tg_h1_body_init(struct tg_h1_body *b, enum tg_framing framing, uint64_t length);
void tg_h1_body_fini(struct tg_h1_body *b);
/*
 * Reads from *in: *in is advanced past everything understood, *content is the next run of content (empty: none in this
 * call). TG_OK: call again while in->len > 0 and !done (framing octets may yield an empty content). TG_AGAIN: all of
 * *in was used and more is needed. TG_BAD_INPUT: broken framing; nothing more may be read as HTTP from this connection.
 * After `done`, *in is left at the first octet behind the body. TG_BODY_CLOSE is never done: the caller ends it at EOF.
 */
enum tg_status tg_h1_body_read(struct tg_h1_body *b, struct tg_slice *in, struct tg_slice *content, struct tg_err *err);
/* The trailers after `done` (field_count 0: none). Slices point into the body reader. */
enum tg_status tg_h1_body_trailers(struct tg_h1_body *b, struct tg_head *out, struct tg_err *err);

/* The line that opens a chunk of `n` octets: writes at most 18 bytes, returns their number. */
#define TG_CHUNK_LINE 18
size_t tg_h1_chunk_line(uint64_t n, char out[TG_CHUNK_LINE]);
