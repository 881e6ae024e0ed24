/*
 * lost_page - a mapped file may be cut by somebody else, and touching what it lost raises SIGBUS. That must not end a
 * proxy: a page of zeros is put in the place of the lost one, and the program goes on.
 *
 * Which pages: those that were named, and any that a thread touches while it says so.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>

#define TG_LOST_PAGE 4096

void tg_lost_page_catch(void);                           /* before _note; _watch does it itself */

/* One page of a mapping, from now on until it is forgotten. What reads it has to understand zeros. */
void tg_lost_page_watch(void *page);
void tg_lost_page_forget(void *page);

/*
 * From now on until it is called with NULL, for this thread: *lost is set when a page of any mapping was lost. What was
 * read since is worth nothing then.
 */
void tg_lost_page_note(atomic_bool *lost);
