/*
 * generation - one counter for all processes that share a state_dir: what was learned at another value is void.
 *
 * It is a file of sixteen bytes that everybody maps: whoever changes the store bumps it after the commit, whoever keeps
 * something of the store in memory compares it with what it was before reading: an atomic load, no system call.
 * The file may be deleted, replaced or cut while it is mapped: tg_generation_renew finds out and maps what is there
 * now, and until then the value moves no more than it would by itself.
 *
 * Threads: tg_generation_renew and _close are one thread's at a time; the others any.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

struct tg_generation;

/* Maps the file, made (mode 0600) when missing. The sentence begins with the path. */
enum tg_status tg_generation_open(const char *path, struct tg_generation **out, struct tg_err *err);
void tg_generation_close(struct tg_generation *g);       /* NULL is fine */
/* Never the same again after a bump, of this process or another, nor after tg_generation_renew had something to do. */
uint64_t tg_generation_now(const struct tg_generation *g);
/* Made a moment ago, by whomever: those who had mapped another file of that name may not have renewed it yet. */
#define TG_GENERATION_YOUNG_MS 2000
bool tg_generation_is_young(const struct tg_generation *g);
void tg_generation_is_first(struct tg_generation *g);    /* nobody had: it is not young */
void tg_generation_bump(struct tg_generation *g);
/* What this process knows is void; the others are not told. Returns by how much the value has moved. */
uint64_t tg_generation_void(struct tg_generation *g);
/*
 * Maps the file that the path names now when that is another one, a shortened one, or none (then it is made again).
 * *renewed: it had to. A system call or two. On failure the old mapping stays.
 */
enum tg_status tg_generation_renew(struct tg_generation *g, bool *renewed, struct tg_err *err);
