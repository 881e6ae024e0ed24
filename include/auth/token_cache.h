/*
 * token_cache - bearer tokens that were verified a moment ago.
 *
 * Why: the signature check is the dearest step of a request and clients repeat the same token.
 * Invariants: an entry never outlives the token's "exp" (and leeway) nor the key set that verified it; the token itself
 * is not kept, only its SHA-256; only tokens that were accepted are here, so junk cannot push good ones out. "nbf" and
 * "iat" are not looked at again: a token valid once stays valid.
 * Memory: bounded twice, by entries and by the bytes their claims hold (told by the caller); the least recently used go
 * first.
 * Threads: one cache per worker, no locks.
 */
#pragma once
#include "auth/identity.h"

struct tg_token_cache;

/*
 * A cache of at most `max_entries` (> 0) tokens holding at most `max_bytes` together. `generation(arg, provider)` tells
 * the current key generation of a provider (keys.h); it is asked at every hit.
 */
struct tg_token_cache *tg_token_cache_new(size_t max_entries, size_t max_bytes,
                                          uint64_t (*generation)(void *arg,
                                                                 const struct tg_provider *provider), void *arg);

/* Frees the cache and drops its references to identities. NULL is fine. */
void tg_token_cache_free(struct tg_token_cache *cache);

/*
 * The identity the token with this SHA-256 proved, or NULL when unknown, over, or verified by keys that have changed
 * since. `now_s`: wall clock, seconds since 1970 (NumericDate, RFC 7519 §2). The result is borrowed: take
 * tg_identity_ref() to keep it beyond the next call on this cache.
 */
const struct tg_identity *tg_token_cache_get(struct tg_token_cache *cache, const uint8_t digest[TG_SHA256_LEN],
                                             int64_t now_s);

/*
 * Keeps `identity` (takes a reference) until `until_s`, while its provider's keys stay at `generation`: the one they
 * had when the signature was checked. `bytes`: what the identity holds in memory. Not kept when alone above
 * `max_bytes`.
 */
void tg_token_cache_put(struct tg_token_cache *cache, const uint8_t digest[TG_SHA256_LEN],
                        const struct tg_identity *identity,
                        uint64_t generation, int64_t until_s, size_t bytes);

size_t tg_token_cache_count(const struct tg_token_cache *cache);
