/*
 * h1_write - heads to bytes. Every message is written anew from its parsed form (RFC 9112 §3 to §6).
 *
 * Framing fields are the writer's: Content-Length and Transfer-Encoding in `head->fields` are ignored and written from
 * head->framing, as are Connection and the like, which tg_forward has removed. The fast path appends to one buffer.
 */
#pragma once
#include "http/message.h"

/* "METHOD target HTTP/1.1", fields, framing, empty line. `target`: origin-form to send. */
void tg_h1_write_request(struct tg_buf *out, const struct tg_head *head, struct tg_slice target);

enum tg_h1_connection { TG_H1_KEEP, TG_H1_CLOSE, TG_H1_UPGRADE };
/*
 * "HTTP/1.1 status reason", fields, framing, Connection when needed, empty line. `to_minor`: the client's version: an
 * HTTP/1.0 client never gets chunked (the caller then uses TG_BODY_CLOSE) and gets "Connection: keep-alive" on KEEP.
 * A 1xx or 204 never carries framing fields; a response to HEAD and a 304 carry Content-Length when `has_length`.
 */
void tg_h1_write_response(struct tg_buf *out, const struct tg_head *head, unsigned to_minor,
                          enum tg_h1_connection connection, bool to_head, bool has_length);
/* The last chunk, the trailers in `trailers` (may be NULL) and the end. */
void tg_h1_write_last_chunk(struct tg_buf *out, const struct tg_head *trailers);
