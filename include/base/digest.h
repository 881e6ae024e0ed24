/*
 * digest - SHA-256, HMAC, random bytes, base64url, comparing without a timing trace. OpenSSL EVP underneath.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

#define TG_SHA256_LEN 32

void tg_sha256(struct tg_slice data, uint8_t out[TG_SHA256_LEN]); /* nothing is fetched after the first call */
void tg_hmac_sha256(struct tg_slice key, struct tg_slice data, uint8_t out[TG_SHA256_LEN]);
void tg_random(void *out, size_t len);                   /* ends the process when the system has none */
/* Many processes start together: an interval up to a tenth shorter, so that they do not ask together for ever. */
int64_t tg_with_jitter(int64_t ms);
void tg_uuid(char out[37]);                              /* version 4, lower case; from a per-thread random pool */
bool tg_equal_ct(struct tg_slice a, struct tg_slice b);  /* time depends on the lengths only */

/* RFC 4648 §5 without padding, canonical: no other character, unused bits zero. `out` has room for len * 3 / 4. */
bool tg_base64url_decode(struct tg_slice in, uint8_t *out, size_t *out_len);
void tg_base64url_encode(struct tg_slice in, struct tg_buf *out);
/* RFC 4648 §4 with padding, strict. */
bool tg_base64_decode(struct tg_slice in, uint8_t *out, size_t *out_len);
void tg_base64_encode(struct tg_slice in, struct tg_buf *out);
void tg_hex(const uint8_t *in, size_t len, char *out);   /* lower case; writes 2 * len characters and a NUL */
int tg_hex_digit(char c);                                /* its value, of either case; -1: it is none */
