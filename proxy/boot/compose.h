/*
 * compose - a set of policies and routes laid over the file's own configuration.
 */
#pragma once
#include "boot/settings.h"

/*
 * A configuration of `base` (a file's own) and `set` (NULL: nothing was loaded yet): routes, policies and what depends
 * on them are made anew, all else is the base's. NULL: it does not compile; `problems` say why. One reference.
 */
struct tg_config *tg_config_compose(struct tg_config *base, struct tg_set *set, const struct tg_set_rules *rules,
                                    struct tg_problems *problems);
/* The first error, for whoever tells one sentence. */
const char *compose_trouble(const struct tg_problems *problems);
/* Tells what only the set brings: its warnings, and routes whose policies are not there. `source`: "sync". */
void compose_tell(const struct tg_config *config, const char *source, const struct tg_problems *problems);
/*
 * For a command beside a running process: lays what that has kept over s->config. False: it does not compile with this
 * file; then the file alone is left, and `problems` say why.
 */
bool compose_kept(struct tg_settings *s, struct tg_problems *problems);
