/*
 * proof_target - whether the htu of a proof means this request (RFC 9449 §4.3): scheme, host, port and path after
 * syntax-based and scheme-based normalisation (RFC 3986 §6.2.2, §6.2.3); its query and fragment do not count.
 */
#pragma once
#include "base/arena.h"

struct tg_proof_target {
    struct tg_slice scheme;                              /* "https" or "http"; empty: either */
    struct tg_slice authority;                           /* host[:port], as the client sent it */
    struct tg_slice path;                                /* canonical (http/uri.h) */
};
bool tg_proof_target_is(struct tg_slice htu, const struct tg_proof_target *target, struct tg_arena *arena);
