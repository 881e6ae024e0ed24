/*
 * remote_table - all leases of one store: found by id, bounded, looked after when their time comes.
 *
 * Threads: any; 64 stripes with a lock each, and two of them are never locked together.
 */
#pragma once
#include "remote_lease.h"

#define TG_LEASE_STRIPES 64

struct tg_leases;
struct tg_lease_kind { uint64_t id; int64_t length_us; bool sliding; };

struct tg_leases *tg_leases_new(size_t max_entries);
void tg_leases_free(struct tg_leases *t);
size_t tg_leases_count(const struct tg_leases *t);
/* Locks the stripe of `id` and returns its entry, or NULL. */
struct tg_lease *tg_leases_lock(struct tg_leases *t, uint64_t id);
void tg_leases_unlock(struct tg_leases *t, uint64_t id);
/*
 * A new entry, the stripe being locked. When there is no room the one that was not used for longest is forgotten; it is
 * returned in *evicted, with a reference, if it has something to give back.
 */
struct tg_lease *tg_leases_add(struct tg_leases *t, const struct tg_lease_kind *kind,
                               const uint8_t digest[TG_LEASE_DIGEST], const struct tg_lease_moment *m,
                               struct tg_lease **evicted);
void tg_lease_lock(struct tg_lease *l);
void tg_lease_unlock(struct tg_lease *l);
/* Under its lock, which it leaves: the last reference frees an entry that is in no table. */
void tg_lease_unref_unlock(struct tg_lease *l);
/* Looks at the entries whose time has come: `wish` is called, under the lock, for those with something to tell. */
void tg_leases_sweep(struct tg_leases *t, const struct tg_lease_moment *m,
                     void (*wish)(void *arg, struct tg_lease *l, unsigned wishes), void *arg);
/* All entries with permits or debts; `each` under the lock. */
void tg_leases_each(struct tg_leases *t, void (*each)(void *arg, struct tg_lease *l), void *arg);
