/*
 * why - a log line explained by the files: what `tollgate why` does for one line and, with --all, for each.
 */
#pragma once
#include "boot/settings.h"
#include "explain.h"
#include "log_line.h"

/* What the line says and what the files of `config` make of it. `r` points into `l`, `config` and `arena`. */
void why_line(struct explain_result *r, const struct tg_config *config, struct log_line *l, struct tg_arena *arena);

/* The groups are read from the claim that the files name now. */
void why_take_groups(struct log_line *l, const struct tg_config *config);
enum explain_comparison why_compare(const struct tg_verdict *v, struct tg_slice decision, tg_reasons reasons);

/* What counted the request: no such tier, key or limit is in the files. What cannot be told does not differ. */
bool why_limits_differ(const struct explain_result *r);
bool why_is_limit(const struct log_line *l);             /* refused for a limit that was used up or not countable */
/* Why in a sentence, and what to do in r->advice. NULL: the line says too little. */
const char *why_limit(struct explain_result *r, struct tg_arena *arena);

/* Every line of `file`, compared with what the files decide; the sum is printed. An exit code. */
int why_all(const char *file, const struct tg_config *config, bool json);
