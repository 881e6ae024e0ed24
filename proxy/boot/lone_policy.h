/*
 * lone_policy - one policy file without a configuration: for `explain`, `test` and `replay`.
 */
#pragma once
#include "store/route.h"

struct lone_policy {                                     /* in the caller's arena but for tree and route */
    struct tg_tree *tree;                                /* root: {name, ppl, ...}, whatever the file's form; NULL: the
                                                            file cannot be read */
    struct tg_route *route;                              /* the policy is its only one */
    const struct tg_program *program;                    /* NULL: it has errors */
    const struct tg_fact_set *reads;
};
enum {
    LONE_POLICY_WARNS = 1,                               /* what `check` would warn about becomes a problem, too */
    LONE_POLICY_WITHOUT_CA = 2,                          /* no client is asked for a certificate; else all are */
};
/*
 * Bare PPL, or an item {ppl, explanation, ...}, as policies_dir takes it, called as it says itself or as its file.
 * `mode: shadow` is judged as if it were enforced. Errors become problems. End it in any case.
 */
void lone_policy_read(const char *path, unsigned flags, struct tg_arena *arena, struct lone_policy *out,
                      struct tg_problems *problems);
void lone_policy_fini(struct lone_policy *p);            /* before the arena goes */

/* A document of policies or cases; NULL: a problem was added, or there is no such file and it `may_lack`. */
struct tg_tree *lone_tree_read(const char *path, bool may_lack, struct tg_problems *problems);
