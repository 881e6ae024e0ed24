/*
 * content - what the fields of a request say about how its content is to be read.
 */
#pragma once
#include "http/message.h"

/*
 * The octets are UTF-8 text for whoever reads them: no content coding but identity (RFC 9110 §8.4), no other charset
 * (RFC 8259 §8.1), also in fields that only some readers take for these.
 */
bool tg_content_is_plain(const struct tg_head *h);
