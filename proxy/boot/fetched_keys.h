/*
 * fetched_keys - the keys of a provider for a command that ends at once: those at hand, else fetched now.
 */
#pragma once
#include "auth/providers.h"

/*
 * A new reference to the keys of `p`, by the same discovery and fetching as a running tollgate does, within
 * twice its `timeout`. TG_UNAVAILABLE: they could not be had; the sentence says why, in words.
 */
enum tg_status tg_fetched_keys(const struct tg_provider *p, struct tg_jwks **out, struct tg_err *err);
