/*
 * token_cache - bearer tokens that were verified a moment ago.
 *
 * Why: the signature check is the dearest step of a request and clients repeat the same token.
 * Invariants: an entry never outlives the token's "exp" (and leeway) nor the key set that verified it; the token itself
 * is not kept, only its SHA-256; only tokens that somebody trusted vouched for are here, so junk cannot push good ones
 * out. "nbf" and "iat" are not looked at again: a token valid once stays valid. Whether it was withdrawn meanwhile is
 * the caller's matter: each entry has a number of his for it, so that nothing is cleared when a list of such changes.
 * Memory: bounded twice, by entries and by the bytes their claims hold (told by the caller); the least recently used go
 * first.
 * Threads: one cache per worker, no locks.
 */
#pragma once
#include "auth/identity.h"

struct tg_token_cache;

/*
 * A cache of at most `max_entries` (> 0) tokens holding at most `max_bytes` together. `generation(arg, identity)` tells
 * the generation that now holds of what vouched for it (keys of its provider, the store); it is asked at every hit.
 */
struct tg_token_cache *tg_token_cache_new(size_t max_entries, size_t max_bytes,
                                          uint64_t (*generation)(void *arg,
                                                                 const struct tg_identity *identity), void *arg);

/* Frees the cache and drops its references to identities. NULL is fine. */
void tg_token_cache_free(struct tg_token_cache *cache);

/*
 * The identity the token with this SHA-256 proved, or NULL when unknown, over, or vouched for at a generation that is
 * over. `now_s`: wall clock, seconds since 1970 (NumericDate, RFC 7519 §2). `stamp`: the entry's number, the caller's
 * own; TG_TOKEN_CACHE_NEW at first. Both are borrowed: take tg_identity_ref() to keep the identity beyond the next call
 * on this cache.
 */
#define TG_TOKEN_CACHE_NEW UINT64_MAX
const struct tg_identity *tg_token_cache_get(struct tg_token_cache *cache, const uint8_t digest[TG_SHA256_LEN],
                                             int64_t now_s, uint64_t **stamp);

/*
 * Keeps `identity` (takes a reference) until `until_s`, while what vouches for it stays at `generation`: the one
 * it was at before that was asked. `bytes`: what the identity holds in memory. Not kept when alone above
 * `max_bytes`.
 */
void tg_token_cache_put(struct tg_token_cache *cache, const uint8_t digest[TG_SHA256_LEN],
                        const struct tg_identity *identity,
                        uint64_t generation, int64_t until_s, size_t bytes);

size_t tg_token_cache_count(const struct tg_token_cache *cache);
