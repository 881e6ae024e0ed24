/*
 * plain - words of a stranger (a provider, a certificate, a token) on somebody's terminal.
 */
#pragma once
#include "base/buf.h"

/*
 * From byte `from` on: control characters, those of Unicode too (C1, and what turns the direction of writing), and
 * bytes that are no UTF-8 become "?". So a line stays one line, and nothing is drawn over it.
 */
void make_plain(struct tg_buf *text, size_t from);
/* Of the character that `s`, which is not empty, begins with; 0: with none of UTF-8 (RFC 3629). */
size_t character_length(struct tg_slice s);
/* At most `max` bytes of it, and no part of a character. */
struct tg_slice cut_text(struct tg_slice s, size_t max);
