/*
 * plain - words of a stranger (a provider, a certificate, a token) on somebody's terminal.
 */
#pragma once
#include "base/buf.h"

/*
 * From byte `from` on: control characters, those of Unicode too (C1, and what turns the direction of writing), become
 * "?". So a line stays one line, and nothing is drawn over it.
 */
void make_plain(struct tg_buf *text, size_t from);
