/*
 * reload - from signals to what they mean, while the server runs.
 *
 * SIGHUP: read the file again and swap, or keep the old and say why. SIGUSR1: reopen the access log. SIGTERM, SIGINT:
 * drain; a second one stops now. SIGUSR2: policies wait (tollgate sends it to itself). A file that the configuration
 * names and whose content is part of it (keys, certificates) causes the same reload within seconds when it changes;
 * what was refused is tried again from time to time, and told once. Signals are blocked from the very start of the
 * process, so that none is lost and none kills before it can be obeyed.
 */
#pragma once
#include "boot/assemble.h"

/* Blocks the signals tg_serve waits for, ignores SIGPIPE. Before any thread is started. */
void tg_signals_block(void);
/* Serves until stopped; `path` is what SIGHUP reads again (NULL: reload is refused). Returns an exit code. */
int tg_serve(struct tg_server *server, const char *path);
