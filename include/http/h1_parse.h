/*
 * h1_parse - HTTP/1.1 heads, read strictly (RFC 9112, RFC 9110 §5).
 *
 * What is refused: bare CR or LF, NUL and other controls, obs-fold, white space before a colon or at a line's start,
 * names that are no tokens, an HTTP-version other than HTTP/1.0 and HTTP/1.1, more than one SP in the request line,
 * targets with characters outside RFC 3986, missing, repeated or malformed Host, an authority that differs from Host,
 * userinfo, repeated or odd Content-Length (a list of one and the same value too), Content-Length with
 * Transfer-Encoding, Transfer-Encoding in HTTP/1.0, any coding but a single "chunked". A part of a head is TG_AGAIN
 * wherever it is cut, or refused as soon as it cannot become valid; it is never whole. Empty lines before a request
 * line are skipped (at most one CRLF). No socket, no clock, no allocation. Threads: any.
 */
#pragma once
#include "base/err.h"
#include "http/message.h"

struct tg_h1_limits {
    size_t head_bytes;                                   /* start line and fields with their line ends; over: 431 */
    size_t target_bytes;                                 /* over: 414 */
    unsigned fields;                                     /* over: 431; at most head->field_cap */
};

/*
 * Parses a request head at the start of `in`. TG_OK: `head` is filled (its `fields` and `field_cap` are the caller's),
 * *used is the length of the head with its empty line. TG_AGAIN: not whole yet. Anything else: *refusal is the status
 * to answer (400, 414, 431 also for more than 64 Connection options, 501 unknown transfer coding or endless method,
 * 505) and the connection must close.
 * head->authority, path and query are set; OPTIONS * has path "*"; CONNECT has an empty path. The target's form fits
 * the method (absolute-form http/https or origin-form; asterisk only OPTIONS; authority only CONNECT).
 * `scanned`: state for a head that arrives in parts, 0 at first; keeps re-reading linear.
 */
enum tg_status tg_h1_parse_request(struct tg_slice in, const struct tg_h1_limits *limits, size_t *scanned,
                                   struct tg_head *head, size_t *used, unsigned *refusal, struct tg_err *err);

/*
 * Parses a response head to a request with `method`. framing is what RFC 9112 §6.3 says: none for HEAD, 1xx, 204, 304
 * (content_length is kept for HEAD and 304 so that the field can be passed on), else chunked, length or close. Bad
 * framing, status outside 100..599, versions other than 1.0 and 1.1: TG_BAD_INPUT. A CONNECT's 2xx is not supported. A
 * 101 has framing none; whether it was asked for is the caller's to check. Repeated equal Content-Length is refused
 * too.
 */
enum tg_status tg_h1_parse_response(struct tg_slice in, const struct tg_h1_limits *limits, size_t *scanned,
                                    unsigned method_id, struct tg_head *head, size_t *used, struct tg_err *err);

/* Field lines only (trailers), ended by an empty line; names and values as strict as in heads. */
enum tg_status tg_h1_parse_trailers(struct tg_slice in, struct tg_head *head, size_t *used, struct tg_err *err);

bool tg_is_token(struct tg_slice s);                     /* RFC 9110 §5.6.2, not empty */
bool tg_is_field_value(struct tg_slice s);               /* HTAB, SP, VCHAR, obs-text; no surrounding white space */
