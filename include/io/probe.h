/*
 * probe - which addresses this host has, and whether something accepts connections at an address.
 *
 * Threads: tg_host_addresses any; a probe belongs to one worker.
 */
#pragma once
#include "io/stream.h"

#define TG_PROBE_MAX 32

/*
 * Addresses of the host's interfaces that are up, each once, loopback ones included; without link-local ones (RFC 4291
 * §2.5.6, RFC 3927), which mean something only together with an interface. At most `max` are written; 0 too when the
 * system does not tell.
 */
size_t tg_host_addresses(struct tg_ip *out, size_t max);

struct tg_probe;
/*
 * Connects to all `to` at once (at most TG_PROBE_MAX) and closes what opened, sending nothing. `done` is called from
 * the loop, never from inside, when all have answered or after `timeout_ms`: bit i of `opened` for to[i]. The probe is
 * gone then.
 */
struct tg_probe *tg_probe_start(struct tg_worker *w, const struct tg_address *to, size_t count, int64_t timeout_ms,
                                void (*done)(void *arg, uint32_t opened), void *arg);
void tg_probe_cancel(struct tg_probe *p);                /* `done` is not called any more; NULL is fine */
