/*
 * limit_words - what counts requests, in words for people: for `run`, `check`, `explain` and `why`.
 */
#pragma once
#include "gate/config.h"

/* The store's URL without user and password. False, and nothing is added: counters are in memory. */
bool limit_store_words(const struct tg_limit_settings *settings, struct tg_buf *out);
/* How many routes have `rate_limits` of their own. */
size_t limit_routes_count(const struct tg_config *config);
/* A line for each of them: "rate limits of route api: members 50/1s by subject, ..." */
void limit_routes_words(const struct tg_config *config, struct tg_buf *out);
