/*
 * hash - SipHash-1-3 with a seed drawn once per process, for tables whose keys a peer may choose.
 *
 * Not for anything that leaves the process or outlives it.
 */
#pragma once
#include "base/buf.h"

/* Draws the seed; called before any thread starts, idempotent (tg_hash calls it when nobody did). */
void tg_hash_init(void);
uint64_t tg_hash(const void *p, size_t n);
uint64_t tg_hash2(uint64_t a, uint64_t b);               /* mixes two words */
static inline uint64_t tg_hash_slice(struct tg_slice s) { return tg_hash(s.ptr, s.len); }
/* SipHash-1-3 under a given key (two little-endian words): what tg_hash is made of, for test vectors. */
uint64_t tg_siphash13(uint64_t k0, uint64_t k1, const void *p, size_t n);
