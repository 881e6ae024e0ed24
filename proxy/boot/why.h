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

/* Every line of `file`, compared with what the files decide; the sum is printed. An exit code. */
int why_all(const char *file, const struct tg_config *config, bool json);
