/*
 * remote - counters in a store that several processes share, by permits on lease.
 *
 * What holds, with "window" being one that the store's clock numbers:
 * - All processes together admit at most the limit in a window. Each of its permits was counted in the store before it
 *   was used, is used while the store's clock is in that window for certain, and comes back, if at all, unused.
 * - A store that forgot (wiped, evicted, restarted from an older copy): at most what other processes had been granted
 *   in that window, and have not said again, is granted anew. When each of them has asked once more it is exact again.
 * - A store that is away: `deny` admits what is leased and no more. `local` admits at most the limit at each process in
 *   a window, what it had used before included, and what is leased is part of it; known to the store as soon as it is
 *   back, if that is in the same window (sliding: within the last one).
 * - A clock of the store that is set forward ends windows early; permits in hand then may be used for a window that the
 *   store takes for over, until the next answer. Set back, it opens no window anew.
 * - Too few: permits that wait here unused while others are refused. At most what was granted last (an eighth of a
 *   window at the key's rate, or 64 if that is more, and a fair part of what was left, unless the key is known to use
 *   more); for as long as the key is used, and when it is not, tg_pace_idle_us. An answer that was lost takes its
 *   permits along for that window; so does a process that is killed.
 * - Nobody waits for longer than store_timeout, and nobody at all from the moment on when somebody waited in vain, the
 *   link broke, or an answer was an error or late, until an answer is in time again.
 */
#pragma once
#include "limit/limiter.h"

struct tg_remote;                                        /* one store; of all workers */
struct tg_remote_link;                                   /* one worker's part in it */

struct tg_remote *tg_remote_new(const struct tg_limit_settings *settings, size_t max_keys);
void tg_remote_free(struct tg_remote *r);                /* when all have left; NULL is fine */
bool tg_remote_is(const struct tg_remote *r, const struct tg_limit_settings *settings); /* the same store and names */
void tg_remote_links(const struct tg_remote *r, unsigned *links, unsigned *up);
void tg_remote_describe(struct tg_remote *r, struct tg_buf *out); /* one line, for readiness */

struct tg_remote_link *tg_remote_join(struct tg_remote *r, struct tg_worker *w, struct tg_resolver *resolver,
                                      const struct tg_limit_settings *settings);
/*
 * No requests come any more. What is in the air is waited for, for a moment. Returns who was waiting: they go to
 * tg_remote_let_ask once there is somebody else to ask; until then they may be cancelled, and nothing else.
 */
struct tg_limit_wait *tg_remote_stop(struct tg_remote_link *link);
/* When stopped. `last`: nobody else is there: all permits go back, as far as that is done in a moment. */
void tg_remote_leave(struct tg_remote_link *link, bool last);
void tg_remote_let_ask(struct tg_limit_wait *left, bool told); /* calls `done`, or with not `told` only frees */
void tg_remote_bind(struct tg_remote_link *link, const struct tg_limit_settings *settings); /* of the same store */

/* As in limit/limiter.h. */
bool tg_remote_charge(struct tg_remote_link *link, struct tg_limit_ask *ask, struct tg_charge *out);
void tg_remote_cancel(struct tg_remote_link *link, struct tg_limit_ask *ask);
void tg_remote_note(struct tg_remote_link *link, const struct tg_limit_ask *ask, struct tg_charge *out);
bool tg_remote_has_room(struct tg_remote_link *link, const struct tg_limit_ask *ask);
