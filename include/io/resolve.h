/*
 * resolve - names to addresses without blocking (c-ares): hosts file, search domains, TCP when an answer is cut, by
 * TTL.
 *
 * localhost is loopback without asking (RFC 6761 §6.3). One resolver per worker. Answers are kept for their TTL (1 s to
 * 300 s); failures for 1 s; askers of one name share a query.
 */
#pragma once
#include "base/ip.h"
#include "io/worker.h"

struct tg_resolver;
struct tg_resolve_query;

enum tg_status tg_resolver_new(struct tg_worker *w, struct tg_resolver **out, struct tg_err *err);
void tg_resolver_free(struct tg_resolver *r);            /* NULL is fine; pending queries are dropped without a call */
/*
 * Addresses of `host` (an IP literal too). `done` is called from the loop later with count 0 on failure, unless the
 * answer is known now: then TG_OK, `done` is not called and the answer is in *ips (valid until the next call) and
 * *count. TG_AGAIN: `done` will be called; *query cancels it.
 */
enum tg_status tg_resolve(struct tg_resolver *r, struct tg_slice host,
                          void (*done)(void *arg, const struct tg_ip *ips, size_t count), void *arg,
                          const struct tg_ip **ips, size_t *count, struct tg_resolve_query **query);
void tg_resolve_cancel(struct tg_resolve_query *query);
