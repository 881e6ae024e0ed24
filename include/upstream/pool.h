/*
 * pool - endpoints and their connections, per worker: connecting, keeping idle ones, giving them out again.
 *
 * An endpoint is a host and port (or a unix socket) that routes name, and with TLS whom they trust there, under which
 * name, and the certificate they show: routes that differ in one of these never share a connection. It lives as long
 * as somebody holds it, so a reload that names it again keeps its connections. An idle connection has its read event
 * armed: the moment the other side closes or says anything unasked, it is gone. The latest one used is given out first.
 * Threads: one pool per worker.
 */
#pragma once
#include "http/uri.h"
#include "io/resolve.h"
#include "io/stream.h"

struct tg_pool;
struct tg_endpoint;

struct tg_pool *tg_pool_new(struct tg_worker *w, struct tg_resolver *resolver);
void tg_pool_free(struct tg_pool *pool);                 /* every call is over by then; NULL is fine */
/*
 * The endpoint of a URL: a new reference. `client`: TLS is spoken there, to whom can prove to be `name`, also when the
 * URL does not say https; NULL: plain.
 */
struct tg_endpoint *tg_pool_endpoint(struct tg_pool *pool, const struct tg_url *url, struct tg_tls_client *client,
                                     struct tg_slice name);
void tg_endpoint_unref(struct tg_endpoint *ep);          /* NULL is fine; idle connections close with the last one */
size_t tg_endpoint_idle(const struct tg_endpoint *ep);
size_t tg_endpoint_open(const struct tg_endpoint *ep);   /* idle ones included */
